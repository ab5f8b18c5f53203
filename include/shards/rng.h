/* rng.h: xoshiro256** by Blackman and Vigna (public domain algorithm), one state per shard.
 *
 * Why         the only source of randomness, so that a seed replays a run.
 * Limits      not for secrets; those come from rng_entropy.
 */
#ifndef SHARDS_RNG_H
#define SHARDS_RNG_H

#include "shards/err.h"
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* rng_below: uniform in [0, bound); bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* rng_entropy: fills `out` from the kernel. ERR_IO when it has none. */
MUST_CHECK enum err rng_entropy(void *out, size_t len);

#endif
