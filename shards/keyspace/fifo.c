/* fifo.c: S3-FIFO. fifo_impl.h draws it. */
#include "evict_impl.h"

enum {
    SMALL,
    MAIN,
    SMALL_PART = 10, /* the small queue is one of so many parts */
    USES = 3,
    MAIN_BIT = 4,
    STAMP_SHIFT = 3,
    PRINT_SHIFT = 24,
    STEPS_MAX = 256, /* slots that one eviction looks at */
    PACK_STEPS = 4,  /* slots that are packed with each that is added */
    FILL_CHAINS = 4, /* chains that get places with each eviction */
    AHEAD_BUCKET = 8,
    AHEAD_ENTRY = 4
};

static uint32_t slot_of(uint64_t hash) {
    return ((uint32_t)hash & ((1U << PRINT_SHIFT) - 1)) | (uint32_t)bucket_print(hash)
                                                              << PRINT_SHIFT;
}

static uint32_t access_of(unsigned q, uint64_t position, uint32_t uses) {
    return ((uint32_t)position << STAMP_SHIFT & ACCESS_MASK) | (q == MAIN ? MAIN_BIT : 0) | uses;
}

/* --- a queue --- */

static uint32_t **chunk_at(const struct fifo_queue *q, uint64_t position) {
    return &q->chunks[position / FIFO_CHUNK & (q->cap - 1)];
}

static uint32_t *slot_at(const struct fifo_queue *q, uint64_t position) {
    return &(*chunk_at(q, position))[position % FIFO_CHUNK];
}

enum { CHUNK_BYTES = FIFO_CHUNK * sizeof(uint32_t) };

/* free_chunks: those that lie whole between two positions. */
static void free_chunks(struct fifo_queue *q, struct mem *m, uint64_t from, uint64_t to) {
    uint64_t first = (from + FIFO_CHUNK - 1) / FIFO_CHUNK;
    for (uint64_t i = first; (i + 1) * FIFO_CHUNK <= to; i++) {
        mem_free(m, *chunk_at(q, i * FIFO_CHUNK), CHUNK_BYTES);
        *chunk_at(q, i * FIFO_CHUNK) = NULL;
    }
}

static void queue_end(struct fifo_queue *q, struct mem *m) {
    for (uint32_t i = 0; i < q->cap; i++)
        mem_free(m, q->chunks[i], CHUNK_BYTES);
    mem_free(m, q->chunks, q->cap * sizeof *q->chunks);
    *q = (struct fifo_queue){0};
}

static bool ring_room(struct fifo_queue *q, struct mem *m) {
    uint64_t first = q->head / FIFO_CHUNK, next = q->tail / FIFO_CHUNK;
    if (next - first < q->cap)
        return true;
    uint32_t cap = q->cap == 0 ? 1 : q->cap * 2;
    uint32_t **chunks = mem_zalloc(m, cap * sizeof *chunks);
    if (chunks == NULL)
        return false;
    for (uint64_t i = first; i < next; i++)
        chunks[i & (cap - 1)] = *chunk_at(q, i * FIFO_CHUNK);
    mem_free(m, q->chunks, q->cap * sizeof *q->chunks);
    q->chunks = chunks;
    q->cap = cap;
    return true;
}

static bool queue_add(struct fifo_queue *q, struct mem *m, uint32_t slot) {
    if (q->tail % FIFO_CHUNK == 0) {
        if (!ring_room(q, m))
            return false;
        if ((*chunk_at(q, q->tail) = mem_alloc(m, CHUNK_BYTES)) == NULL)
            return false;
    }
    *slot_at(q, q->tail++) = slot;
    return true;
}

/* queue_move_head: what lies before `to` is done with. */
static void queue_move_head(struct fifo_queue *q, struct mem *m, uint64_t to) {
    if (q->packing && to >= q->gap) {
        to = to > q->gap_end ? to : q->gap_end;
        q->gap = q->gap_end = to;
    }
    free_chunks(q, m, q->head - q->head % FIFO_CHUNK, to);
    q->head = to;
}

/* --- what a slot names --- */

/* named: the entry that a slot at a position is for, and its place; false: it has gone. */
static ON_SHARD bool named(struct table *t, unsigned q, uint64_t position, struct victim *out) {
    const struct fifo *f = t->fifo;
    uint32_t slot = *slot_at(&f->queue[q], position), expected = access_of(q, position, 0);
    uint8_t print = (uint8_t)(slot >> PRINT_SHIFT);
    for (uint64_t h = slot & ((1U << PRINT_SHIFT) - 1);
         h < (uint64_t)t->base * 2 || h >> PRINT_SHIFT == 0; h += 1U << PRINT_SHIFT) {
        uint32_t index = table_index(t, h);
        for (struct bucket *b = table_bucket(t, index); b != NULL; b = bucket_next(b)) {
            for (unsigned match = bucket_match(b, print); match != 0; match &= match - 1) {
                unsigned i = (unsigned)__builtin_ctz(match);
                const struct entry *e = bucket_address(b, i);
                if ((entry_access(e) & ~(uint32_t)USES) != expected ||
                    (f->only_volatile && !entry_has_expiry(e)))
                    continue;
                uint64_t hash = hash_of(entry_key(e));
                if (bucket_scan_hash(hash) >= f->fill)
                    continue; /* those are not its access bits */
                *out = (struct victim){t, 0, index, {b, i}, hash};
                return true;
            }
        }
    }
    return false;
}

/* fetch_ahead: what `named` will look at soon. */
static ON_SHARD void fetch_ahead(const struct table *t, const struct fifo_queue *q,
                                 uint64_t position) {
    if (position + AHEAD_BUCKET < q->tail)
        prefetch(table_bucket(t, table_index(t, *slot_at(q, position + AHEAD_BUCKET))));
    if (position + AHEAD_ENTRY >= q->tail)
        return;
    uint32_t slot = *slot_at(q, position + AHEAD_ENTRY);
    const struct bucket *b = table_bucket(t, table_index(t, slot));
    unsigned match = bucket_match(b, (uint8_t)(slot >> PRINT_SHIFT));
    if (match != 0)
        prefetch(bucket_address(b, (unsigned)__builtin_ctz(match)));
}

/* --- places --- */

static bool wants(const struct fifo *f, const struct entry *e) {
    return !f->only_volatile || entry_has_expiry(e);
}

/* forget: nobody has a place any more, and all get new ones. */
static void forget(struct fifo *f) {
    queue_end(&f->queue[SMALL], f->mem);
    queue_end(&f->queue[MAIN], f->mem);
    f->fill = 0;
}

static ON_SHARD void pack(struct table *t, unsigned which) {
    struct fifo *f = t->fifo;
    struct fifo_queue *q = &f->queue[which];
    if (!q->packing) {
        if (q->tail - q->head <= 2 * q->live + FIFO_CHUNK)
            return;
        q->packing = true;
        q->gap = q->gap_end = q->head;
    }
    for (unsigned n = 0; n < PACK_STEPS && q->gap_end != q->tail; n++, q->gap_end++) {
        struct victim v;
        fetch_ahead(t, q, q->gap_end);
        if (!named(t, which, q->gap_end, &v))
            continue;
        struct entry *e = bucket_address(v.at.bucket, v.at.i);
        *slot_at(q, q->gap) = *slot_at(q, q->gap_end);
        entry_set_access(e, access_of(which, q->gap++, entry_access(e) & USES));
    }
    if (q->gap_end == q->tail) {
        free_chunks(q, f->mem, q->gap, q->tail + FIFO_CHUNK - 1);
        q->tail = q->gap;
        q->packing = false;
    }
}

/* append: e's place is at the end of a queue. False: without memory all places are forgotten. */
static bool append(struct fifo *f, unsigned which, struct entry *e, uint64_t hash, uint32_t uses) {
    struct fifo_queue *q = &f->queue[which];
    uint64_t position = q->tail;
    if (!queue_add(q, f->mem, slot_of(hash))) {
        forget(f);
        return false;
    }
    entry_set_access(e, access_of(which, position, uses));
    q->live++;
    return true;
}

static ON_SHARD void settle(struct table *t, unsigned which, struct entry *e, uint64_t hash,
                            uint32_t uses) {
    if (append(t->fifo, which, e, hash, uses))
        pack(t, which);
}

struct filling {
    struct table *table;
    uint64_t from;
    bool failed;
};

static void fill_visit(void *arg, struct entry *e) {
    shard_claim();
    struct filling *fill = arg;
    struct fifo *f = fill->table->fifo;
    uint64_t hash = hash_of(entry_key(e));
    if (fill->failed || bucket_scan_hash(hash) < fill->from || !wants(f, e))
        return;
    fill->failed = !append(f, MAIN, e, hash, 0);
}

static ON_SHARD void fill_some(struct table *t, unsigned chains) {
    struct fifo *f = t->fifo;
    for (; chains != 0 && f->fill != TABLE_SCAN_END; chains--) {
        struct filling fill = {t, f->fill, false};
        uint64_t next = table_scan(t, f->fill, fill_visit, &fill);
        if (fill.failed)
            return;
        f->fill = next;
        pack(t, MAIN); /* not before: it takes those right of `fill` for gone */
    }
}

/* begin: the queues of a table that has none; false: no memory. */
static ON_SHARD bool begin(struct table *t) {
    struct fifo *f = mem_zalloc(t->mem, sizeof *f);
    if (f == NULL)
        return false;
    f->mem = t->mem;
    f->only_volatile = t->evict->only_volatile;
    t->fifo = f;
    return true;
}

void fifo_join(struct table *t, struct entry *e, uint64_t hash) {
    if (t->fifo == NULL) {
        if (!begin(t))
            return;
        if (t->count == 1)
            t->fifo->fill = TABLE_SCAN_END;
    }
    struct fifo *f = t->fifo;
    bool here = bucket_scan_hash(hash) < f->fill;
    if (here && wants(f, e))
        settle(t, ghost_take(&f->ghost, hash) ? MAIN : SMALL, e, hash, 0);
    if (unlikely(f->fill != TABLE_SCAN_END))
        fill_some(t, 1);
}

void fifo_leave(struct table *t, const struct entry *e) {
    struct fifo *f = t->fifo;
    if (f == NULL || !wants(f, e))
        return;
    if (unlikely(f->fill != TABLE_SCAN_END) && bucket_scan_hash(hash_of(entry_key(e))) >= f->fill)
        return;
    struct fifo_queue *q = &f->queue[entry_access(e) & MAIN_BIT ? MAIN : SMALL];
    ASSERT(q->live != 0);
    q->live--;
}

/* --- eviction --- */

static bool small_turn(const struct fifo *f) {
    uint64_t small = f->queue[SMALL].live, all = small + f->queue[MAIN].live;
    return small == all || small * SMALL_PART > all;
}

/* goes: what the queue's first key has earned: to go, or another place. */
static ON_SHARD bool goes(struct table *t, unsigned which, const struct victim *v, int64_t now_ms,
                          bool held) {
    struct fifo *f = t->fifo;
    struct entry *e = bucket_address(v->at.bucket, v->at.i);
    uint32_t uses = entry_access(e) & USES;
    if (!held && (uses == 0 || entry_dead(e, now_ms))) {
        if (which == SMALL)
            ghost_put(&f->ghost, f->mem, v->hash, f->queue[SMALL].live + f->queue[MAIN].live);
        return true;
    }
    f->queue[which].live--;
    settle(t, MAIN, e, v->hash, which == MAIN && uses != 0 ? uses - 1 : 0);
    return false;
}

bool fifo_victim(struct table *t, int64_t now_ms, bool (*held)(void *arg, uint64_t hash), void *arg,
                 struct victim *out) {
    if (t->fifo == NULL && !begin(t))
        return false;
    struct fifo *f = t->fifo;
    if (unlikely(f->fill != TABLE_SCAN_END))
        fill_some(t, FILL_CHAINS);
    for (unsigned step = 0; step < STEPS_MAX; step++) {
        if (f->queue[SMALL].live + f->queue[MAIN].live == 0) {
            if (f->fill == TABLE_SCAN_END)
                return false;
            fill_some(t, FILL_CHAINS);
            continue;
        }
        unsigned which = small_turn(f) ? SMALL : MAIN;
        struct fifo_queue *q = &f->queue[which];
        uint64_t position = q->head;
        ASSERT(position != q->tail);
        fetch_ahead(t, q, position);
        bool there = named(t, which, position, out);
        queue_move_head(q, f->mem, position + 1);
        if (there && goes(t, which, out, now_ms, held(arg, out->hash)))
            return true;
    }
    return false;
}

void fifo_end(struct table *t) {
    struct fifo *f = t->fifo;
    if (f == NULL)
        return;
    forget(f);
    ghost_end(&f->ghost, f->mem);
    mem_free(f->mem, f, sizeof *f);
    t->fifo = NULL;
}

static size_t queue_bytes(const struct fifo_queue *q) {
    size_t bytes = q->cap == 0 ? 0 : mem_size(q->cap * sizeof *q->chunks);
    for (uint32_t i = 0; i < q->cap; i++)
        bytes += q->chunks[i] == NULL ? 0 : mem_size(CHUNK_BYTES);
    return bytes;
}

size_t fifo_bytes(const struct table *t) {
    const struct fifo *f = t->fifo;
    return f == NULL ? 0
                     : mem_size(sizeof *f) + queue_bytes(&f->queue[SMALL]) +
                           queue_bytes(&f->queue[MAIN]) + ghost_bytes(&f->ghost);
}
