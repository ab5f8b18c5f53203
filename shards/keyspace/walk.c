/* walk.c: scan and random choice. Why a scan keeps keyspace.h's invariant (3): shards/bucket.h. */
#include "table_impl.h"

uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *e), void *arg) {
    if (cursor >= TABLE_SCAN_END || t->bucket_count == 0)
        return TABLE_SCAN_END;
    uint32_t i = table_index(t, bucket_scan_hash(cursor));
    for (const struct bucket *b = table_bucket(t, i); b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1)
            visit(arg, bucket_address(b, (unsigned)__builtin_ctz(used)));
    return bucket_scan_next(cursor, i, t->base, t->bucket_count);
}

/* chain_skip: to bucket `depth` of a chain, NULL when there is none. What lies deeper than RANDOM_DEPTH
 * shares the last depth. */
enum { RANDOM_DEPTH = 4, RANDOM_TRIES = 4096 };
static const struct bucket *chain_skip(const struct bucket *b, unsigned depth, struct rng *r) {
    for (unsigned i = 0; i < depth && b != NULL; i++)
        b = bucket_next(b);
    if (unlikely(depth == RANDOM_DEPTH - 1 && b != NULL))
        for (uint64_t more = rng_below(r, chain_len(b, NULL)); more > 0; more--)
            b = bucket_next(b);
    return b;
}

struct entry *table_random(const struct table *t, struct rng *r) {
    if (t->count == 0)
        return NULL;
    /* Any place of any bucket, refused when it is empty, so that every entry has the same chance. */
    for (unsigned tries = 0; tries < RANDOM_TRIES; tries++) {
        const struct bucket *head = table_bucket(t, (uint32_t)rng_below(r, t->bucket_count));
        unsigned place = (unsigned)rng_below(r, RANDOM_DEPTH * BUCKET_PLACES);
        const struct bucket *b = chain_skip(head, place / BUCKET_PLACES, r);
        place %= BUCKET_PLACES;
        if (b != NULL && bucket_used(b) >> place & 1)
            return bucket_address(b, place);
    }
    /* A table nearly without entries, which could not shrink for want of memory. */
    uint32_t start = (uint32_t)rng_below(r, t->bucket_count);
    for (uint32_t i = 0; i < t->bucket_count; i++) {
        const struct bucket *b = table_bucket(t, (start + i) % t->bucket_count);
        if (bucket_used(b) != 0)
            return bucket_address(b, (unsigned)__builtin_ctz(bucket_used(b)));
    }
    return NULL;
}
