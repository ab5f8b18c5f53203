/* strtab_walk.c: scan, whose guarantee shards/bucket.h proves, and random choice. */
#include "strtab_impl.h"

uint64_t strtab_scan(const struct strtab *t, uint64_t cursor,
                     void (*visit)(void *arg, uint8_t *item), void *arg) {
    if (cursor >= BUCKET_SCAN_END)
        return BUCKET_SCAN_END;
    uint32_t i = strtab_index(t, bucket_scan_hash(cursor));
    const struct bucket *b = strtab_bucket(t, i);
    chain_prefetch(b);
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1)
            visit(arg, bucket_address(b, (unsigned)__builtin_ctz(used)));
    return bucket_scan_next(cursor, i, strtab_base(t->bucket_count), t->bucket_count);
}

/* any_of_all: reads every item; each that is alive has the same chance. */
static uint8_t *any_of_all(const struct strtab *t, struct rng *r, int64_t now_ms) {
    uint8_t *any = NULL;
    uint64_t alive = 0;
    for (uint32_t i = 0; i < t->bucket_count; i++)
        for (const struct bucket *b = strtab_bucket(t, i); b != NULL; b = bucket_next(b))
            for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
                uint8_t *p = bucket_address(b, (unsigned)__builtin_ctz(used));
                if (!item_dead(item_expire_ms(p), now_ms) && rng_below(r, ++alive) == 0)
                    any = p;
            }
    return any;
}

uint8_t *strtab_random(const struct strtab *t, struct rng *r, int64_t now_ms) {
    /* Any place that a chain could have, refused when it is empty, so that every item has the same chance: about one try in
     * six finds something when chains are up to 5 buckets long, as they are at 85% load. */
    enum { TRIES = 256 };
    unsigned tries = t->depth == UINT16_MAX ? TRIES : 0;
    uint64_t places = (uint64_t)t->depth * BUCKET_PLACES;
    for (; tries < TRIES; tries++) {
        uint64_t any = rng_below(r, t->bucket_count * places);
        const struct bucket *b = strtab_bucket(t, (uint32_t)(any / places));
        unsigned place = (unsigned)(any % places);
        for (; place >= BUCKET_PLACES && b != NULL; place -= BUCKET_PLACES)
            b = bucket_next(b);
        if (b == NULL || (bucket_used(b) >> place & 1) == 0)
            continue;
        uint8_t *p = bucket_address(b, place);
        if (!item_dead(item_expire_ms(p), now_ms))
            return p;
    }
    /* Nearly all of them are dead, or the table could not shrink for want of memory. */
    return any_of_all(t, r, now_ms);
}
