/* bucket.h: one cache line of a hash table: nine addresses with their fingerprints.
 *
 *             0              54          63
 *             | 9 x 6-byte   | 9 x 1-byte | ctl |
 *             | address      | fingerprint|     |
 *             ctl: bit 7 says that place 8 links to an overflow bucket; the rest is reserved.
 *             Bit 0 of an address, which is even, is a mark for whoever owns the table.
 *
 * Why         a lookup looks at one line and at what has the right fingerprint, so mostly at nothing that it does not
 *             want; nine items cost 64 bytes.
 * Threads     pure bytes. shards/chain.h has what a bucket and its overflow buckets do together.
 * Limits      addresses of 48 bits.
 */
#ifndef SHARDS_BUCKET_H
#define SHARDS_BUCKET_H

#include "shards/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    BUCKET_PLACES = 9,
    BUCKET_LINK = BUCKET_PLACES - 1, /* the place that links, when linked */
    BUCKET_ADDRESS = 6,
    BUCKET_PRINTS = BUCKET_PLACES * BUCKET_ADDRESS,
    BUCKET_CTL = CACHE_LINE - 1,
    BUCKET_LINKED = 0x80,
    BUCKET_ALL = (1 << BUCKET_PLACES) - 1
};

struct bucket {
    _Alignas(CACHE_LINE) uint8_t bytes[CACHE_LINE];
};
static_assert(sizeof(struct bucket) == CACHE_LINE, "one cache line");
static_assert(BUCKET_PRINTS + BUCKET_PLACES == BUCKET_CTL, "the control byte comes last");

/* prefetch: for gcc a function that does nothing else has no effect, and calls of it are dropped (12,
 * with -flto); the empty statement is one. */
static inline void prefetch(const void *p) {
    __builtin_prefetch(p);
    __asm__ volatile("");
}

/* A fingerprint is never 0: that marks an empty place. */
static inline uint8_t bucket_print(uint64_t hash) {
    uint8_t print = (uint8_t)(hash >> 32);
    return print ? print : 1;
}

static inline void *bucket_address(const struct bucket *b, unsigned place) {
    uint64_t address;
    memcpy(&address, b->bytes + place * BUCKET_ADDRESS, sizeof address);
    return (void *)(uintptr_t)(address & 0xfffffffffffeULL);
}

/* bucket_item: the address with its mark, as bucket_set takes both. */
static inline void *bucket_item(const struct bucket *b, unsigned place) {
    uint64_t address;
    memcpy(&address, b->bytes + place * BUCKET_ADDRESS, sizeof address);
    return (void *)(uintptr_t)(address & 0xffffffffffffULL);
}

static inline bool bucket_mark(const struct bucket *b, unsigned place) {
    return b->bytes[place * BUCKET_ADDRESS] & 1;
}

static inline void bucket_turn_mark(struct bucket *b, unsigned place) {
    b->bytes[place * BUCKET_ADDRESS] ^= 1;
}

static inline void bucket_set(struct bucket *b, unsigned place, const void *p, uint8_t print) {
    uint64_t address = (uint64_t)(uintptr_t)p;
    memcpy(b->bytes + place * BUCKET_ADDRESS, &address, BUCKET_ADDRESS);
    b->bytes[BUCKET_PRINTS + place] = print;
}

static inline uint8_t bucket_print_at(const struct bucket *b, unsigned place) {
    return b->bytes[BUCKET_PRINTS + place];
}

static inline struct bucket *bucket_next(const struct bucket *b) {
    return b->bytes[BUCKET_CTL] & BUCKET_LINKED ? bucket_address(b, BUCKET_LINK) : NULL;
}

/* bucket_match: a bit per place whose fingerprint is `print`. */
static inline unsigned bucket_match_portable(const struct bucket *b, uint8_t print) {
    unsigned mask = 0;
    for (unsigned i = 0; i < BUCKET_PLACES; i++)
        mask |= (unsigned)(b->bytes[BUCKET_PRINTS + i] == print) << i;
    return mask;
}

static inline unsigned bucket_match(const struct bucket *b, uint8_t print) {
#if defined(__SSE2__)
    /* bench/micro/table_bench: about 3 ns less per lookup than the portable loop. */
    __m128i line = _mm_load_si128((const __m128i *)(const void *)(b->bytes + 48));
    __m128i same = _mm_cmpeq_epi8(line, _mm_set1_epi8((char)print));
    return ((unsigned)_mm_movemask_epi8(same) >> (BUCKET_PRINTS - 48)) & BUCKET_ALL;
#else
    return bucket_match_portable(b, print);
#endif
}

/* bucket_free: a bit per empty place. A linking place has print 0 and is not free. */
static inline unsigned bucket_free(const struct bucket *b) {
    unsigned mask = bucket_match(b, 0);
    return b->bytes[BUCKET_CTL] & BUCKET_LINKED ? mask & ~(1U << BUCKET_LINK) : mask;
}

static inline unsigned bucket_used(const struct bucket *b) {
    return ~bucket_match(b, 0) & BUCKET_ALL;
}

/* --- scanning a table that is split and joined bucket by bucket ---
 *
 * A bucket holds the hashes that agree in its low bits, L or L + 1 of them. Read with the bits
 * reversed, hashes form a line of 2^32 points on which every bucket is an interval; splitting
 * halves an interval and joining joins two neighbours. A cursor is a point: all that lies left of it
 * has been returned, whatever the table looks like now. So a scan from 0 to the end returns what was there all the time.
 */
#define BUCKET_SCAN_END (1ULL << 32)

/* bucket_scan_hash: a hash that names the bucket in which the cursor lies. */
static inline uint32_t bucket_scan_hash(uint64_t cursor) {
    uint32_t v = (uint32_t)cursor;
    v = (v >> 1 & 0x55555555U) | (v & 0x55555555U) << 1;
    v = (v >> 2 & 0x33333333U) | (v & 0x33333333U) << 2;
    v = (v >> 4 & 0x0f0f0f0fU) | (v & 0x0f0f0f0fU) << 4;
    return __builtin_bswap32(v);
}

/* bucket_scan_next: where the interval of bucket i ends, in which the cursor lies. base = 2^L <= count <= 2^(L + 1). */
static inline uint64_t bucket_scan_next(uint64_t cursor, uint32_t i, uint32_t base,
                                        uint32_t count) {
    bool split = i >= base || i + base < count;
    uint64_t width = BUCKET_SCAN_END / base / (split ? 2 : 1);
    return (cursor & ~(width - 1)) + width;
}

#endif
