/* chain.h: a bucket and its overflow buckets.
 *
 * Why         tables that grow and shrink by one bucket at a time split and join chains; here is what it takes.
 *             A full chain of b buckets holds 8b + 1 items, since every bucket but the last spends a place on
 *             its link. Splitting a chain therefore never needs more overflow buckets than it sets free: k1 +
 *             k2 <= 8b + 1 items need at most (k1 + k2 - 4) / 8 < b of them. Splits need no memory.
 * Threads     the holder of the shard that the table belongs to.
 * Ownership   items are the table's; overflow buckets belong to their chain.
 */
#ifndef SHARDS_CHAIN_H
#define SHARDS_CHAIN_H

#include "shards/bucket.h"
#include "shards/mem.h"

/* Where an item is. */
struct place {
    struct bucket *bucket;
    unsigned i;
};

/* Where overflow buckets come from, and how many there are. */
struct overflows {
    struct mem *mem;
    uint64_t count;
};

/* overflow_create: an empty one; NULL: no memory. */
MUST_CHECK struct bucket *overflow_create(struct overflows *o);
void overflow_free(struct overflows *o, struct bucket *b);

/* chain_insert: adds an item, with its mark, where there is room. Takes overflow buckets from *pool (linked by
 * their first 8 bytes) first, then from memory; false when neither has one. */
bool chain_insert(struct bucket *head, const void *item, uint8_t print, struct bucket **pool,
                  struct overflows *o);
/* chain_remove: empties a place, keeps the chain dense and as short as it can be. */
void chain_remove(struct bucket *head, struct place at, struct overflows *o);
/* chain_merge: moves all of `from` to `into`; false: no memory, and nothing has changed. */
MUST_CHECK bool chain_merge(struct bucket *into, struct bucket *from, struct overflows *o);
/* chain_prefetch: fetches all items. */
static inline void chain_prefetch(const struct bucket *b) {
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1)
            prefetch(bucket_address(b, (unsigned)__builtin_ctz(used)));
}

/* chain_len: buckets, and through *items how many items. */
unsigned chain_len(const struct bucket *head, unsigned *items);

/* Spare overflow buckets. */
void chain_pool_put(struct bucket **pool, struct bucket *b);
struct bucket *chain_pool_take(struct bucket **pool);
void chain_pool_free(struct bucket *pool, struct overflows *o);

/* chain_take: a step of taking a chain apart: copies bucket b, empties it if it is the head and gives it to the pool if
 * not; returns the next one, NULL at the end. What is in the copies can be inserted again without memory, in one chain or
 * two. */
static inline struct bucket *chain_take(struct bucket *head, struct bucket *b, struct bucket *copy,
                                        struct bucket **pool) {
    *copy = *b;
    if (b == head)
        memset(head, 0, sizeof *head);
    else
        chain_pool_put(pool, b);
    return bucket_next(copy);
}

#endif
