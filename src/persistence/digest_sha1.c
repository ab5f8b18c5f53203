/* digest_sha1.c: SHA-1, and the two ways to take bytes into a digest. See digest_impl.h. Source: FIPS 180-4. */
#include "digest_impl.h"
#include <endian.h>

enum { BLOCK_BYTES = 64, ROUNDS = 80, LENGTH_BYTES = 8 };

static uint32_t rotl(uint32_t x, unsigned n) {
    return x << n | x >> (32 - n);
}

static void take_block(uint32_t state[5], const uint8_t *block) {
    uint32_t w[ROUNDS];
    for (unsigned i = 0; i < 16; i++) {
        uint32_t word;
        memcpy(&word, block + 4 * i, sizeof word);
        w[i] = be32toh(word);
    }
    for (unsigned i = 16; i < ROUNDS; i++)
        w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
#define ROUND(f, k)                                                                                \
    do {                                                                                           \
        uint32_t t = rotl(a, 5) + (f) + e + (k) + w[i];                                            \
        e = d;                                                                                     \
        d = c;                                                                                     \
        c = rotl(b, 30);                                                                           \
        b = a;                                                                                     \
        a = t;                                                                                     \
    } while (0)
    unsigned i = 0;
    for (; i < 20; i++)
        ROUND(d ^ (b & (c ^ d)), 0x5a827999U);
    for (; i < 40; i++)
        ROUND(b ^ c ^ d, 0x6ed9eba1U);
    for (; i < 60; i++)
        ROUND((b & c) | (d & (b | c)), 0x8f1bbcdcU);
    for (; i < ROUNDS; i++)
        ROUND(b ^ c ^ d, 0xca62c1d6U);
#undef ROUND
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void digest_sha1(struct digest *out, const void *bytes, size_t len) {
    uint32_t state[5] = {0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U};
    const uint8_t *at = bytes;
    size_t left = len;
    for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, at += BLOCK_BYTES)
        take_block(state, at);
    /* What is left, a bit that ends it, and the number of bits: one block, or two. */
    uint8_t tail[2 * BLOCK_BYTES] = {0};
    size_t tail_len = left + 1 + LENGTH_BYTES <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    if (left > 0)
        memcpy(tail, at, left);
    tail[left] = 0x80;
    uint64_t bits = htobe64((uint64_t)len * 8);
    memcpy(tail + tail_len - LENGTH_BYTES, &bits, sizeof bits);
    for (size_t i = 0; i < tail_len; i += BLOCK_BYTES)
        take_block(state, tail + i);
    for (unsigned i = 0; i < 5; i++) {
        uint32_t word = htobe32(state[i]);
        memcpy(out->bytes + 4 * i, &word, sizeof word);
    }
}

void digest_join(struct digest *d, const struct digest *other) {
    for (unsigned i = 0; i < DIGEST_BYTES; i++)
        d->bytes[i] ^= other->bytes[i];
}

void digest_add(struct digest *d, const void *bytes, size_t len) {
    struct digest of_bytes;
    digest_sha1(&of_bytes, bytes, len);
    digest_join(d, &of_bytes);
}

void digest_mix(struct digest *d, const void *bytes, size_t len) {
    digest_add(d, bytes, len);
    digest_sha1(d, d->bytes, DIGEST_BYTES);
}
