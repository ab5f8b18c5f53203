#include "shards/rng.h"
#include "shards/assert.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

/* splitmix64: spreads a seed over the whole state, which must not be all zero. */
static uint64_t splitmix_next(uint64_t *x) {
    uint64_t z = (*x += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix_next(&seed);
}

uint64_t rng_next(struct rng *r) {
    uint64_t *s = r->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire, "Fast Random Integer Generation in an Interval", 2019: the high half of a 128-bit
 * product, with the few low halves rejected that would make some results likelier than others. */
uint64_t rng_below(struct rng *r, uint64_t bound) {
    ASSERT(bound > 0);
    unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;

    if (unlikely((uint64_t)product < bound)) {
        uint64_t threshold = -bound % bound;
        while ((uint64_t)product < threshold)
            product = (unsigned __int128)rng_next(r) * bound;
    }
    return (uint64_t)(product >> 64);
}

enum err rng_entropy(void *out, size_t len) {
    char *to = out;

    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return ERR_IO;
        }
        to += n;
        len -= (size_t)n;
    }
    return OK;
}
