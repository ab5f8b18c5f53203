#include "fifo_impl.h"
#include "resize_impl.h"
#include "shards/clock.h"

static size_t segment_bytes(const struct table *t, uint32_t segment) {
    bool last = segment + 1 == table_segments(t);
    return (last ? t->last_cap : TABLE_SEGMENT) * sizeof(struct bucket);
}

static size_t directory_bytes(uint32_t cap) {
    return cap == 0 ? 0 : mem_size(cap * sizeof(void *)) + mem_size(cap * sizeof(struct stamps));
}

/* directory_resize: to `cap` segments, of which `kept` are there. */
static bool directory_resize(struct table *t, uint32_t cap, uint32_t kept) {
    struct bucket **segments = mem_zalloc(t->mem, cap * sizeof *segments);
    struct stamps *due = mem_alloc(t->mem, cap * sizeof *due);
    if (segments == NULL || due == NULL) {
        mem_free(t->mem, segments, cap * sizeof *segments);
        mem_free(t->mem, due, cap * sizeof *due);
        return false;
    }
    if (kept != 0) {
        memcpy(segments, t->segments, kept * sizeof *segments);
        memcpy(due, t->due, kept * sizeof *due);
    }
    for (uint32_t i = kept; i < cap; i++)
        due[i] = (struct stamps){NULL, TICK_NEVER};
    mem_free(t->mem, t->segments, t->segment_cap * sizeof *segments);
    mem_free(t->mem, t->due, t->segment_cap * sizeof *due);
    t->segments = segments;
    t->due = due;
    t->segment_cap = cap;
    return true;
}

static bool directory_room(struct table *t, uint32_t need) {
    return need <= t->segment_cap ||
           directory_resize(t, t->segment_cap ? t->segment_cap * 2 : 1, t->segment_cap);
}

/* directory_shrink: halves it when a quarter of it is in use; without memory it stays. */
static void directory_shrink(struct table *t, uint32_t used) {
    enum { LEAST = 8 };
    if (t->segment_cap >= LEAST && used <= t->segment_cap / 4)
        (void)directory_resize(t, t->segment_cap / 2, t->segment_cap / 2);
}

/* next_cap: the next size of a segment that the allocator has, up to a whole one. */
static uint32_t next_cap(uint32_t cap) {
    size_t next = mem_size((cap + 1) * sizeof(struct bucket)) / sizeof(struct bucket);
    return next < TABLE_SEGMENT ? (uint32_t)next : TABLE_SEGMENT;
}

/* new_cap: of a segment that begins. */
static uint32_t new_cap(uint32_t segment) {
    return segment < TABLE_STEPS ? TABLE_FIRST : TABLE_SEGMENT;
}

/* last_resize: the last segment moves to one of `cap` buckets; false: no memory, and it stays. Copies 4 KiB at most. */
static bool last_resize(struct table *t, uint32_t cap) {
    struct bucket **last = &t->segments[table_segments(t) - 1];
    uint32_t used = (t->bucket_count - 1) % TABLE_SEGMENT + 1;
    struct bucket *moved = mem_alloc_lines(t->mem, cap * sizeof *moved);
    if (moved == NULL)
        return false;
    ASSERT(used <= cap);
    memcpy(moved, *last, used * sizeof *moved);
    memset(moved + used, 0, (cap - used) * sizeof *moved);
    mem_free_lines(t->mem, *last, t->last_cap * sizeof *moved);
    *last = moved;
    t->last_cap = cap;
    return true;
}

/* last_shrink: halves the last segment when a quarter of it is in use; without memory it stays. */
static void last_shrink(struct table *t) {
    uint32_t cap = t->last_cap / 2, used = (t->bucket_count - 1) % TABLE_SEGMENT + 1;
    if (unlikely(used <= cap / 2) && cap >= TABLE_FIRST && table_segments(t) <= TABLE_STEPS)
        (void)last_resize(t, cap);
}

bool resize_has_stamps(const struct table *t, uint32_t i) {
    return t->due[i / TABLE_SEGMENT].groups != NULL;
}

bool resize_stamp(struct table *t, uint32_t i, uint32_t tick) {
    struct stamps *due = &t->due[i / TABLE_SEGMENT];
    if (unlikely(due->groups == NULL)) {
        if ((due->groups = mem_alloc(t->mem, TABLE_GROUPS * sizeof(uint32_t))) == NULL)
            return false;
        memset(due->groups, 0xff, TABLE_GROUPS * sizeof(uint32_t));
    }
    uint32_t *stamp = &due->groups[i % TABLE_SEGMENT / TABLE_GROUP];
    if (tick < *stamp)
        *stamp = tick;
    if (tick < due->least)
        due->least = tick;
    if (tick < t->due_first)
        t->due_first = tick;
    if (tick < t->sweep_due)
        t->sweep_due = tick;
    return true;
}

void table_set_stamp(struct table *t, uint32_t group, uint32_t tick) {
    struct stamps *due = &t->due[group / TABLE_GROUPS];
    uint32_t before = due->groups[group % TABLE_GROUPS], least = TICK_NEVER;
    due->groups[group % TABLE_GROUPS] = tick;
    if (tick < due->least)
        due->least = tick;
    if (before != due->least || tick == before)
        return;
    for (unsigned i = 0; i < TABLE_GROUPS; i++)
        least = due->groups[i] < least ? due->groups[i] : least;
    due->least = least;
}

void resize_drop_stamps(struct table *t, uint32_t i) {
    struct stamps *due = &t->due[i / TABLE_SEGMENT];
    mem_free(t->mem, due->groups, TABLE_GROUPS * sizeof(uint32_t));
    *due = (struct stamps){NULL, TICK_NEVER};
}

void resize_drop_all_stamps(struct table *t) {
    for (uint32_t i = 0; i < t->bucket_count; i += TABLE_SEGMENT)
        resize_drop_stamps(t, i);
}

/* share_stamp: `to` gets entries of `from`; false when there is no memory for its stamp. */
static bool share_stamp(struct table *t, uint32_t from, uint32_t to) {
    uint32_t tick = table_stamp(t, from / TABLE_GROUP);
    return tick == TICK_NEVER || resize_stamp(t, to, tick);
}

/* segment_room: another segment, which is the last one as soon as it has a bucket. */
static bool segment_room(struct table *t, uint32_t segment) {
    size_t bytes = new_cap(segment) * sizeof(struct bucket);
    uint64_t from = clock_fine_ns();
    if (!directory_room(t, segment + 1) ||
        (t->segments[segment] = mem_alloc_lines(t->mem, bytes)) == NULL)
        return false;
    memset(t->segments[segment], 0, bytes);
    uint64_t ns = clock_fine_ns() - from;
    if (ns > t->growth_ns)
        t->growth_ns = ns;
    return true;
}

/* bucket_room: for one more bucket, and for its stamp if the one that it is split from has one. */
static bool bucket_room(struct table *t, uint32_t from) {
    uint32_t i = t->bucket_count, segment = i / TABLE_SEGMENT;
    if (i % TABLE_SEGMENT != 0)
        return (i % TABLE_SEGMENT < t->last_cap || last_resize(t, next_cap(t->last_cap))) &&
               share_stamp(t, from, i);
    if (!segment_room(t, segment))
        return false;
    if (share_stamp(t, from, i)) {
        t->last_cap = new_cap(segment);
        return true;
    }
    mem_free_lines(t->mem, t->segments[segment], new_cap(segment) * sizeof(struct bucket));
    t->segments[segment] = NULL;
    return false;
}

size_t table_growth(const struct table *t) {
    uint32_t i = t->bucket_count, segment = i / TABLE_SEGMENT;
    if (i % TABLE_SEGMENT != 0) {
        bool there = i % TABLE_SEGMENT < t->last_cap;
        return (there ? 1 : next_cap(t->last_cap) - t->last_cap) * sizeof(struct bucket);
    }
    size_t directory = segment < t->segment_cap ? 0 : directory_bytes(2 * t->segment_cap);
    return directory + new_cap(segment) * sizeof(struct bucket);
}

size_t table_bytes(const struct table *t) {
    size_t bytes = mem_size(sizeof *t) + t->overflows.count * sizeof(struct bucket) +
                   fifo_bytes(t) + directory_bytes(t->segment_cap);
    for (uint32_t i = 0; i < t->segment_cap; i++) {
        bytes += t->segments[i] == NULL ? 0 : mem_size(segment_bytes(t, i));
        bytes += t->due[i].groups == NULL ? 0 : mem_size(TABLE_GROUPS * sizeof(uint32_t));
    }
    return bytes;
}

bool resize_begin(struct table *t) {
    if (t->bucket_count != 0)
        return true;
    struct bucket *first = mem_alloc_lines(t->mem, TABLE_FIRST * sizeof *first);
    if (first == NULL)
        return false;
    if (!directory_room(t, 1)) {
        mem_free_lines(t->mem, first, TABLE_FIRST * sizeof *first);
        return false;
    }
    memset(first, 0, TABLE_FIRST * sizeof *first);
    t->segments[0] = first;
    t->last_cap = TABLE_FIRST;
    t->bucket_count = t->base = TABLE_FIRST;
    return true;
}

void resize_end(struct table *t) {
    ASSERT(t->count == 0);
    fifo_end(t);
    for (uint32_t i = 0; i < t->segment_cap; i++) {
        if (t->segments[i] != NULL)
            mem_free_lines(t->mem, t->segments[i], segment_bytes(t, i));
        mem_free(t->mem, t->due[i].groups, TABLE_GROUPS * sizeof(uint32_t));
    }
    mem_free(t->mem, t->segments, t->segment_cap * sizeof *t->segments);
    mem_free(t->mem, t->due, t->segment_cap * sizeof *t->due);
    t->segments = NULL;
    t->due = NULL;
    t->segment_cap = t->last_cap = t->bucket_count = t->base = 0;
}

/* deal: moves the entries of one bucket's copy to the chain that their hash names. */
static void deal(struct table *t, const struct bucket *from, struct bucket *low,
                 struct bucket *high, struct bucket **pool) {
    for (unsigned used = bucket_used(from); used != 0; used &= used - 1) {
        unsigned i = (unsigned)__builtin_ctz(used);
        struct entry *e = bucket_address(from, i);
        bool up = (hash_of(entry_key(e)) & t->base) != 0;
        bool fits = chain_insert(up ? high : low, bucket_item(from, i), bucket_print_at(from, i),
                                 pool, &t->overflows);
        ASSERT(fits); /* shards/chain.h says why */
    }
}

static void split(struct table *t, struct bucket *low, struct bucket *high) {
    struct bucket *pool = NULL, copy;
    chain_prefetch(low);
    for (struct bucket *b = low; b != NULL;) {
        b = chain_take(low, b, &copy, &pool);
        deal(t, &copy, low, high, &pool);
    }
    chain_pool_free(pool, &t->overflows);
}

void resize_grow(struct table *t) {
    if (likely(t->count * 20 <= (uint64_t)t->bucket_count * TABLE_GROW_PER_20) ||
        t->bucket_count == UINT32_MAX / 2)
        return;
    uint32_t i = t->bucket_count;
    uint32_t base = i == t->base * 2 ? i : t->base;
    if (!bucket_room(t, i - base))
        return;
    t->base = base;
    t->bucket_count++;
    split(t, table_bucket(t, i - base), table_bucket(t, i));
}

/* drop_segment_from: frees a segment of which bucket i, the first, has just gone. The one before it is whole. */
static void drop_segment_from(struct table *t, uint32_t i) {
    uint32_t segment = i / TABLE_SEGMENT;
    if (i % TABLE_SEGMENT != 0 || segment == 0)
        return;
    mem_free_lines(t->mem, t->segments[segment], t->last_cap * sizeof(struct bucket));
    t->segments[segment] = NULL;
    t->last_cap = TABLE_SEGMENT;
    resize_drop_stamps(t, i);
    directory_shrink(t, segment);
}

void resize_shrink(struct table *t) {
    if (likely(t->count * 20 >= (uint64_t)t->bucket_count * TABLE_SHRINK_PER_20) ||
        t->bucket_count <= TABLE_FIRST)
        return;
    uint32_t last = t->bucket_count - 1;
    uint32_t base = last < t->base ? t->base / 2 : t->base;
    uint32_t into = last - base;
    if (!share_stamp(t, last, into) ||
        !chain_merge(table_bucket(t, into), table_bucket(t, last), &t->overflows))
        return;
    uint32_t due = table_stamp(t, last / TABLE_GROUP);
    t->merged_due = due < t->merged_due ? due : t->merged_due;
    t->bucket_count = last;
    t->base = base;
    drop_segment_from(t, last);
    last_shrink(t);
}

void resize_drop_last(struct table *t) {
    drop_segment_from(t, --t->bucket_count);
}
