/* chain_impl.h: a bucket and its overflow buckets, for this room only.
 *
 * A full chain of b buckets holds 8b + 1 entries, since every bucket but the last spends a place on
 * its link. Splitting a chain therefore never needs more overflow buckets than it sets free: k1 +
 * k2 <= 8b + 1 entries need at most (k1 + k2 - 4) / 8 < b of them. Splits need no memory.
 */
#ifndef KEYSPACE_CHAIN_IMPL_H
#define KEYSPACE_CHAIN_IMPL_H

#include "bucket_impl.h"

/* Where an entry is. */
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

/* chain_insert: adds an entry where there is room. Takes overflow buckets from *pool (linked by
 * their first 8 bytes) first, then from memory; false when neither has one. */
bool chain_insert(struct bucket *head, const void *entry, uint8_t print, struct bucket **pool,
                  struct overflows *o);
/* chain_remove: empties a place, keeps the chain dense and as short as it can be. */
void chain_remove(struct bucket *head, struct place at, struct overflows *o);
/* chain_prefetch: fetches all entries. */
static inline void chain_prefetch(const struct bucket *b) {
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1)
            prefetch(bucket_address(b, (unsigned)__builtin_ctz(used)));
}

/* chain_len: buckets, and through *entries how many entries. */
unsigned chain_len(const struct bucket *head, unsigned *entries);

void chain_pool_put(struct bucket **pool, struct bucket *b);
struct bucket *chain_pool_take(struct bucket **pool);
void chain_pool_free(struct bucket *pool, struct overflows *o);

#endif
