#include "shards/hash.h"
#include "shards/rng.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Written once, before the first shard starts. */
static unsigned char secret[XXH3_SECRET_SIZE_MIN + 56];

enum err hash_seed(const uint64_t *fixed_seed) {
    if (fixed_seed == NULL)
        return rng_entropy(secret, sizeof secret);
    struct rng r;
    rng_seed(&r, *fixed_seed);
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)rng_next(&r);
    return OK;
}

uint64_t hash_of(struct span bytes) {
    return XXH3_64bits_withSecret(bytes.ptr, bytes.len, secret, sizeof secret);
}
