/* strtab_resize.c: how a strtab grows and shrinks. */
#include "shards/assert.h"
#include "strtab_resize_impl.h"

/* --- segments --- */

static struct bucket **segment_at(struct strtab *t, uint32_t segment) {
    return t->directory_log == 0 ? &t->one : &t->many[segment];
}

static uint32_t segment_cap(const struct strtab *t, uint32_t segment) {
    return segment + 1 == strtab_resize_segments(t) ? t->last_cap : STRTAB_SEGMENT;
}

/* cap_for: room in the last segment for n buckets: the next size class, so four steps to each doubling. It
 * depends on n alone, since a table that has just grown does not shrink: half of its items have to go before. */
static uint32_t cap_for(uint32_t n) {
    if (n <= 4)
        return n;
    uint32_t step = strtab_base(n - 1) / 4;
    return (n + step - 1) & ~(step - 1);
}

static void free_last_segment(struct strtab *t, struct mem *m, uint32_t segment) {
    mem_free_lines(m, *segment_at(t, segment), t->last_cap * sizeof(struct bucket));
    if (t->due == NULL)
        return;
    mem_free(m, t->due[segment].stamps, t->last_cap * sizeof(int64_t));
    t->due[segment] = (struct strtab_due){.first_ms = OBJECT_NEVER};
}

/* last_resize: the last segment moves to where there is room for cap buckets. */
static bool last_resize(struct strtab *t, struct mem *m, uint32_t cap) {
    uint32_t segment = strtab_resize_segments(t) - 1;
    size_t kept = t->bucket_count - segment * STRTAB_SEGMENT;
    struct bucket **last = segment_at(t, segment);
    int64_t **stamps =
        t->due != NULL && t->due[segment].stamps != NULL ? &t->due[segment].stamps : NULL;
    struct bucket *moved = mem_alloc_lines(m, cap * sizeof *moved);
    int64_t *moved_stamps = stamps == NULL ? NULL : mem_alloc(m, cap * sizeof *moved_stamps);
    if (moved == NULL || (stamps != NULL && moved_stamps == NULL)) {
        mem_free_lines(m, moved, cap * sizeof *moved);
        mem_free(m, moved_stamps, cap * sizeof *moved_stamps);
        return false;
    }
    memcpy(moved, *last, kept * sizeof *moved);
    memset(moved + kept, 0, (cap - kept) * sizeof *moved);
    mem_free_lines(m, *last, t->last_cap * sizeof *moved);
    *last = moved;
    if (stamps != NULL) {
        memcpy(moved_stamps, *stamps, kept * sizeof *moved_stamps);
        for (size_t i = kept; i < cap; i++)
            moved_stamps[i] = OBJECT_NEVER;
        mem_free(m, *stamps, t->last_cap * sizeof *moved_stamps);
        *stamps = moved_stamps;
    }
    t->last_cap = (uint8_t)cap;
    return true;
}

static bool directory_resize(struct strtab *t, struct mem *m, unsigned log) {
    size_t had = (size_t)1 << t->directory_log, cap = (size_t)1 << log;
    size_t kept = had < cap ? had : cap;
    struct bucket **many = log == 0 ? NULL : mem_zalloc(m, cap * sizeof(*many));
    struct strtab_due *due = t->due == NULL ? NULL : mem_alloc(m, cap * sizeof *due);
    if ((log != 0 && many == NULL) || (t->due != NULL && due == NULL)) {
        mem_free(m, many, cap * sizeof(*many));
        mem_free(m, due, cap * sizeof *due);
        return false;
    }
    if (due != NULL) {
        memcpy(due, t->due, kept * sizeof *due);
        for (size_t i = kept; i < cap; i++)
            due[i] = (struct strtab_due){.first_ms = OBJECT_NEVER};
        mem_free(m, t->due, had * sizeof *due);
        t->due = due;
    }
    struct bucket *one = *segment_at(t, 0);
    if (many != NULL)
        memcpy(many, segment_at(t, 0), kept * sizeof(*many));
    if (t->directory_log != 0)
        mem_free(m, t->many, had * sizeof(*many));
    if (many != NULL)
        t->many = many;
    else
        t->one = one;
    t->directory_log = (uint8_t)log;
    return true;
}

/* room: for one bucket more. */
static bool room(struct strtab *t, struct mem *m) {
    uint32_t segment = t->bucket_count / STRTAB_SEGMENT, i = t->bucket_count % STRTAB_SEGMENT;
    if (i != 0)
        return i < t->last_cap || last_resize(t, m, cap_for(i + 1));
    if (segment >> t->directory_log != 0 && !directory_resize(t, m, t->directory_log + 1U))
        return false;
    struct bucket *fresh = mem_alloc_lines(m, sizeof *fresh);
    if (fresh == NULL)
        return false;
    memset(fresh, 0, sizeof *fresh);
    t->many[segment] = fresh;
    t->last_cap = 1;
    return true;
}

bool strtab_resize_add_bucket(struct strtab *t, struct mem *m) {
    if (!room(t, m))
        return false;
    t->bucket_count++;
    return true;
}

void strtab_resize_drop_last(struct strtab *t, struct mem *m) {
    uint32_t i = --t->bucket_count;
    if (i % STRTAB_SEGMENT != 0 || i == 0)
        return;
    free_last_segment(t, m, i / STRTAB_SEGMENT);
    t->last_cap = STRTAB_SEGMENT;
}

void strtab_resize_end(struct strtab *t, struct mem *m) {
    size_t cap = (size_t)1 << t->directory_log;
    free_last_segment(t, m, 0);
    mem_free(m, t->due, cap * sizeof *t->due);
    if (t->directory_log != 0)
        mem_free(m, t->many, cap * sizeof(*t->many));
}

/* fit: gives back what a table that has shrunk has too much of. */
static void fit(struct strtab *t, struct mem *m) {
    uint32_t cap = cap_for((t->bucket_count - 1) % STRTAB_SEGMENT + 1);
    if (cap < t->last_cap && !last_resize(t, m, cap))
        return;
    unsigned log = t->directory_log;
    if (log != 0 && strtab_resize_segments(t) <= 1U << (log - 1) &&
        !directory_resize(t, m, log - 1))
        return;
}

/* --- stamps --- */

bool strtab_resize_stamp(struct strtab *t, struct mem *m, uint32_t i, int64_t expire_ms) {
    size_t segments = (size_t)1 << t->directory_log;
    if (unlikely(t->due == NULL)) {
        if ((t->due = mem_alloc(m, segments * sizeof *t->due)) == NULL)
            return false;
        for (size_t s = 0; s < segments; s++)
            t->due[s] = (struct strtab_due){.first_ms = OBJECT_NEVER};
    }
    struct strtab_due *due = &t->due[i / STRTAB_SEGMENT];
    if (unlikely(due->stamps == NULL)) {
        size_t cap = segment_cap(t, i / STRTAB_SEGMENT);
        if ((due->stamps = mem_alloc(m, cap * sizeof *due->stamps)) == NULL)
            return false;
        for (size_t b = 0; b < cap; b++)
            due->stamps[b] = OBJECT_NEVER;
    }
    int64_t *stamp = &due->stamps[i % STRTAB_SEGMENT];
    *stamp = expire_ms < *stamp ? expire_ms : *stamp;
    due->first_ms = expire_ms < due->first_ms ? expire_ms : due->first_ms;
    t->head.due_ms = expire_ms < t->head.due_ms ? expire_ms : t->head.due_ms;
    return true;
}

int64_t strtab_resize_stamp_of(const struct strtab *t, uint32_t i) {
    if (likely(t->due == NULL))
        return OBJECT_NEVER;
    const int64_t *stamps = t->due[i / STRTAB_SEGMENT].stamps;
    return stamps == NULL ? OBJECT_NEVER : stamps[i % STRTAB_SEGMENT];
}

void strtab_resize_drop_stamps(struct strtab *t, struct mem *m) {
    for (uint32_t s = 0; s < strtab_resize_segments(t); s++)
        mem_free(m, t->due[s].stamps, segment_cap(t, s) * sizeof(int64_t));
    mem_free(m, t->due, ((size_t)1 << t->directory_log) * sizeof *t->due);
    t->due = NULL;
}

/* --- moving --- */

void strtab_resize_defrag_all(struct strtab *t, struct mover *v) {
    size_t cap = (size_t)1 << t->directory_log;
    t->due = move_small(v, t->due, cap * sizeof *t->due);
    if (t->directory_log != 0)
        t->many = move_small(v, t->many, cap * sizeof(*t->many));
}

void strtab_resize_defrag_segment(struct strtab *t, struct mover *v, uint32_t segment) {
    struct bucket **s = segment_at(t, segment);
    *s = move_lines(v, *s, segment_cap(t, segment) * sizeof **s);
    if (t->due == NULL)
        return;
    int64_t **stamps = &t->due[segment].stamps;
    *stamps = move_small(v, *stamps, segment_cap(t, segment) * sizeof **stamps);
}

/* --- by one bucket --- */

void strtab_resize_note_depth(struct strtab *t, const struct bucket *head) {
    unsigned depth = chain_len(head, NULL);
    if (depth > t->depth)
        t->depth = depth < UINT16_MAX ? (uint16_t)depth : UINT16_MAX;
}

/* split: moves what now belongs to the last bucket there; it needs no memory. Both have the stamp that the one had,
 * but what moves is looked at anyway. */
static void split(struct strtab *t, struct mem *m, uint32_t from, uint32_t to, bool exact) {
    struct overflows o = {.mem = m};
    struct bucket *heads[2] = {strtab_bucket(t, from), strtab_bucket(t, to)}, *pool = NULL, copy;
    int64_t due_ms[2] = {OBJECT_NEVER, OBJECT_NEVER};
    chain_prefetch(heads[0]);
    for (struct bucket *b = heads[0]; b != NULL;) {
        b = chain_take(heads[0], b, &copy, &pool);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            uint8_t *p = bucket_address(&copy, i);
            struct item item;
            item_get(p, &item);
            bool up = (hash_of(item.name) & (to - from)) != 0;
            bool fits = chain_insert(heads[up], p, bucket_print_at(&copy, i), &pool, &o);
            ASSERT(fits); /* shards/chain.h says why */
            if (item.expire_ms != 0 && item.expire_ms < due_ms[up])
                due_ms[up] = item.expire_ms;
        }
    }
    chain_pool_free(pool, &o);
    if (!exact || strtab_resize_stamp_of(t, from) == OBJECT_NEVER)
        return;
    t->due[from / STRTAB_SEGMENT].stamps[from % STRTAB_SEGMENT] = due_ms[0];
    t->due[to / STRTAB_SEGMENT].stamps[to % STRTAB_SEGMENT] = due_ms[1];
}

void strtab_resize_grow(struct strtab *t, struct mem *m, bool exact) {
    uint32_t to = t->bucket_count;
    if (likely(t->head.count * 20 <= (uint64_t)to * STRTAB_GROW_PER_20) || to == UINT32_MAX / 2)
        return;
    uint32_t from = to - strtab_base(to);
    int64_t due_ms = strtab_resize_stamp_of(t, from);
    if (!strtab_resize_add_bucket(t, m))
        return;
    if (due_ms != OBJECT_NEVER && !strtab_resize_stamp(t, m, to, due_ms)) {
        strtab_resize_drop_last(t, m);
        return;
    }
    split(t, m, from, to, exact);
}

void strtab_resize_shrink(struct strtab *t, struct mem *m) {
    struct overflows o = {.mem = m};
    if (likely(t->head.count * 20 >= (uint64_t)t->bucket_count * STRTAB_SHRINK_PER_20) ||
        t->bucket_count == 1)
        return;
    uint32_t last = t->bucket_count - 1, into = last - strtab_base(last);
    int64_t due_ms = strtab_resize_stamp_of(t, last);
    if (due_ms != OBJECT_NEVER && !strtab_resize_stamp(t, m, into, due_ms))
        return;
    if (!chain_merge(strtab_bucket(t, into), strtab_bucket(t, last), &o))
        return;
    strtab_resize_note_depth(t, strtab_bucket(t, into));
    if (due_ms != OBJECT_NEVER) /* the bucket that comes back here has none */
        t->due[last / STRTAB_SEGMENT].stamps[last % STRTAB_SEGMENT] = OBJECT_NEVER;
    strtab_resize_drop_last(t, m);
    fit(t, m);
}
