/* strtab_impl.h: a hash table of names, each with or without a value and a time: fields.h's large form.
 *
 *     struct strtab  | struct object 40 | buckets or directory 8 | due 8 | bucket count 4 | depth 2 | caps 2 |    64 bytes
 *     segment        128 buckets (the last one grows to that) as shards/bucket.h draws them: nine addresses of items
 *
 * Why         a member of 14 bytes costs 16 bytes and its share of the buckets, 10 to 11; a table of one item costs 128 bytes beside
 *             it. As the keyspace's, which shares shards/bucket.h and shards/chain.h, it is a linear hash table: it grows and
 *             shrinks by one bucket, there is never a second table and never a pause. With base = 2^L <= bucket_count
 *             < 2^(L+1), a hash names bucket h mod 2^(L+1) if there is such a bucket, else h mod 2^L. A segment is 8 KiB:
 *             as the last one grows it is copied, and larger blocks take whole pages from the allocator.
 *
 *             Times: once an item has one, its segment has stamps, 8 bytes for each bucket: a lower bound of the earliest
 *             time in it; `due` has the same of each segment, object.due_ms of all. Expiring reads 16 bytes for each
 *             thousand items, then only buckets in which something is likely to be dead: N / 1,000 cheap steps, and
 *             8 items looked at for each one that goes. A heap would find them exactly, for 16 bytes more an item and
 *             O(log N) in each change of a time.
 * Threads     the holder of the shard; reading functions write nothing.
 * Ownership   the table owns its items, from strtab_insert to strtab_take.
 * Invariants  (1) an item is in the chain of the bucket that its name's hash names, once. (2) a stamp is never later than a
 *             time in its bucket, nor `due` than a stamp, nor due_ms than `due`. (3) no chain is longer than depth. (4) what
 *             moves items because the table grows or shrinks may do without for want of memory, so it never fails.
 *             (5) who changes a table calls strtab_settle when he is done: object.bytes is exact then.
 */
#ifndef STRTAB_IMPL_H
#define STRTAB_IMPL_H

#include "item_impl.h"
#include "shards/chain.h"
#include "shards/hash.h"
#include "shards/move.h"
#include "shards/object.h"
#include "shards/rng.h"

enum {
    STRTAB_SEGMENT = 128, /* buckets */
    /* Grown above 85% of the places, shrunk below 50%: items per 20 buckets. */
    STRTAB_GROW_PER_20 = 153,
    STRTAB_SHRINK_PER_20 = 90
};

struct strtab_due {
    int64_t first_ms; /* of the stamps; OBJECT_NEVER */
    int64_t *stamps;  /* one for each bucket that the segment has room for; NULL: no time yet */
};

struct strtab {
    struct object head;
    union {
        struct bucket *one;   /* directory_log is 0: the only segment */
        struct bucket **many; /* 2^directory_log of them */
    };
    struct strtab_due *due; /* 2^directory_log of them; NULL: no time yet */
    uint32_t bucket_count;
    uint16_t depth;        /* buckets of the longest chain that there was; UINT16_MAX: or more */
    uint8_t last_cap;      /* buckets that the last segment has room for */
    uint8_t directory_log; /* in a table with more than one segment, or that had */
};
static_assert(sizeof(struct strtab) == CACHE_LINE, "as drawn");

/* strtab_base: the largest power of two that is not more than n > 0. */
static inline uint32_t strtab_base(uint32_t n) {
    return 1U << (31 - (unsigned)__builtin_clz(n));
}

static inline uint32_t strtab_index(const struct strtab *t, uint64_t hash) {
    uint32_t base = strtab_base(t->bucket_count);
    uint32_t i = (uint32_t)hash & (base * 2 - 1);
    return i < t->bucket_count ? i : i - base;
}

static inline struct bucket *strtab_bucket(const struct strtab *t, uint32_t i) {
    if (t->directory_log == 0)
        return t->one + i;
    return t->many[i / STRTAB_SEGMENT] + i % STRTAB_SEGMENT;
}

static inline uint8_t *strtab_item(struct place at) {
    return bucket_address(at.bucket, at.i);
}

/* strtab_create: an empty one; NULL: no memory. */
MUST_CHECK struct strtab *strtab_create(struct mem *m, uint8_t type);
/* Two stages of fetching what strtab_find will touch, each for a whole batch before the next. */
void strtab_prefetch(const struct strtab *t, uint64_t hash);
void strtab_prefetch_item(const struct strtab *t, uint64_t hash);
/* strtab_find: whatever its time. O(1). */
bool strtab_find(const struct strtab *t, struct span name, uint64_t hash, struct place *at);
/* strtab_insert: an item whose name is not there; false: no memory, and the item is still the caller's. `exact`: nobody has
 * stamped a time that an item is to get later; stamps are made anew then where the table grows. O(1). */
MUST_CHECK bool strtab_insert(struct strtab *t, struct mem *m, uint8_t *item, uint64_t hash,
                              bool exact);
/* strtab_take: takes an item out, and it is the caller's. O(1). */
void strtab_take(struct strtab *t, struct mem *m, uint64_t hash, struct place at);
/* strtab_swap: another item with the same name. Its time must have been stamped. */
static inline void strtab_swap(struct place at, uint8_t *item) {
    bucket_set(at.bucket, at.i, item, bucket_print_at(at.bucket, at.i));
}
/* strtab_stamp: an item with this hash is about to get this time; false: no memory. */
MUST_CHECK bool strtab_stamp(struct strtab *t, struct mem *m, uint64_t hash, int64_t expire_ms);
/* strtab_settle: counts what m has given or got since it had used_bytes. */
void strtab_settle(struct strtab *t, const struct mem *m, int64_t used_bytes);

/* As struct val_ops says; the table settles. */
bool strtab_destroy_some(struct mem *m, struct object *o, unsigned *budget);
struct object *strtab_copy(struct mem *m, const struct object *from);
unsigned strtab_expire_some(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget);
struct object *strtab_defrag_some(struct mover *v, struct object *o, uint64_t *cursor);

/* --- strtab_walk.c --- */
/* strtab_scan: visits the bucket that a cursor points to and returns where to go on, BUCKET_SCAN_END at the end. */
uint64_t strtab_scan(const struct strtab *t, uint64_t cursor,
                     void (*visit)(void *arg, uint8_t *item), void *arg);
/* strtab_random: each item that is alive with the same chance; NULL: none is. O(1) on average while most are alive. */
uint8_t *strtab_random(const struct strtab *t, struct rng *r, int64_t now_ms);

#endif
