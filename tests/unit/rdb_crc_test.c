/* rdb_crc_test.c: the checksum of anax/rdb.h. */
#include "anax/rdb.h"
#include "shards/rng.h"
#include <criterion/criterion.h>

enum { BYTES = 3000 };
static uint8_t bytes[BYTES];

static void setup(void) {
    struct rng g;
    rng_seed(&g, 7);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)rng_next(&g);
}

TestSuite(rdb_crc, .init = setup);

Test(rdb_crc, is_what_redis_computes) {
    /* The check value of CRC-64/REDIS; a payload that redis-server 7.0.15 made. */
    static const uint8_t dumped[] = {0x00, 0x0b, 'h', 'e', 'l', 'l', 'o', ' ',
                                     'w',  'o',  'r', 'l', 'd', 10,  0};
    cr_assert_eq(rdb_crc(0, "123456789", 9), 0xe9c6d914c4b8d9caULL);
    cr_assert_eq(rdb_crc(0, dumped, sizeof dumped), 0x34a0c7a6b949fc0bULL);
    cr_assert_eq(rdb_crc(0, "", 0), 0);
    cr_assert_eq(rdb_crc(77, "", 0), 77);
}

/* By the definition, a bit at a time. */
static uint64_t slow(uint64_t crc, const uint8_t *p, size_t len) {
    for (; len > 0; len--) {
        crc ^= *p++;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x95ac9329ac4bc9b5ULL : crc >> 1;
    }
    return crc;
}

Test(rdb_crc, goes_on_from_any_length_and_place) {
    struct rng g;
    rng_seed(&g, 8);
    for (unsigned i = 0; i < 2000; i++) {
        size_t from = rng_below(&g, BYTES), len = rng_below(&g, BYTES - from);
        uint64_t crc = i % 2 == 0 ? 0 : rng_next(&g);
        size_t first = rng_below(&g, len + 1);
        uint64_t whole = rdb_crc(crc, bytes + from, len);
        cr_assert_eq(whole, slow(crc, bytes + from, len));
        crc = rdb_crc(crc, bytes + from, first);
        cr_assert_eq(rdb_crc(crc, bytes + from + first, len - first), whole);
    }
}

Test(rdb_crc, joins_parts_that_were_counted_apart) {
    struct rng g;
    rng_seed(&g, 9);
    for (unsigned i = 0; i < 2000; i++) {
        size_t len = rng_below(&g, BYTES + 1), first = rng_below(&g, len + 1);
        uint64_t a = rdb_crc(0, bytes, first), b = rdb_crc(0, bytes + first, len - first);
        cr_assert_eq(rdb_crc_join(a, b, len - first), rdb_crc(0, bytes, len));
    }
}

Test(rdb_crc, joins_any_length) {
    /* Lengths that nobody has memory for: in one step, and in many. */
    static const uint64_t lengths[] = {1ULL << 32, (1ULL << 40) + 1, UINT64_MAX / 2};
    for (size_t i = 0; i < 3; i++) {
        uint64_t n = lengths[i], once = rdb_crc_join(0x123456789abcdef0ULL, 5, n);
        uint64_t steps = rdb_crc_join(0x123456789abcdef0ULL, 0, n / 3);
        steps = rdb_crc_join(steps, 0, n / 3);
        cr_assert_eq(rdb_crc_join(steps, 5, n - n / 3 * 2), once);
    }
    cr_assert_eq(rdb_crc_join(3, 4, 0), 3 ^ 4, "the second has no bytes, so it would be 0");
}
