/* rdb_lzf_test.c: what is compressed is unpacked by liblzf, as Redis and Valkey do. */
#include "../../src/persistence/rdb_encode_impl.h"
#include "shards/rng.h"
#include <criterion/criterion.h>
#include <liblzf/lzf.h>
#include <stdio.h>
#include <stdlib.h>

static struct rng rng;
static uint8_t text[RDB_WHOLE_MAX], unpacked[RDB_WHOLE_MAX];

static void setup(void) {
    rng_seed(&rng, 5);
}

TestSuite(rdb_lzf, .init = setup);

/* make: a text of pieces that are new or came before, near or far, in a mixture of its own; letters: how many there are. */
static void make(size_t len, unsigned letters, unsigned again_of_100) {
    for (size_t i = 0; i < len;) {
        size_t n = 1 + rng_below(&rng, rng_below(&rng, 4) == 0 ? 400 : 12);
        n = n < len - i ? n : len - i;
        size_t back = i == 0 ? 0
                             : 1 + rng_below(&rng, rng_below(&rng, 2) == 0 ? i
                                                   : i < 40                ? i
                                                                           : 40);
        bool again = back > 0 && rng_below(&rng, 100) < again_of_100;
        for (; n > 0; n--, i++)
            text[i] = again ? text[i - back] : (uint8_t)('a' + rng_below(&rng, letters));
    }
}

/* check: returns how many bytes it takes; 0: there is no room. */
static size_t check(size_t len, size_t room) {
    uint8_t *out = malloc(room),
            *in = malloc(len); /* so that the sanitizer sees what lies beyond */
    memcpy(in, text, len);
    size_t n = rdb_lzf_pack(in, len, out, room);
    cr_assert_leq(n, room);
    if (n > 0) {
        cr_assert_eq(lzf_decompress(out, (unsigned)n, unpacked, (unsigned)len), len);
        cr_assert(memcmp(unpacked, text, len) == 0);
    }
    free(out);
    free(in);
    return n;
}

Test(rdb_lzf, liblzf_unpacks_it) {
    for (unsigned i = 0; i < 6000; i++) {
        size_t len = 1 + rng_below(&rng, i % 10 == 0 ? 20000 : 300);
        make(len, 1 + (unsigned)rng_below(&rng, 120), (unsigned)rng_below(&rng, 100));
        size_t n = check(len, RDB_LZF_ROOM(len));
        cr_assert_neq(n, 0, "it never takes so much");
        cr_assert_eq(check(len, n + 4), n, "a little more than it takes is enough");
        if (n > 1)
            cr_assert_eq(check(len, n - 1), 0);
        cr_assert_eq(check(len, RDB_LZF_ROOM(len)), n, "the same each time");
    }
}

Test(rdb_lzf, copies_of_every_length_and_distance) {
    for (size_t n = 3; n < 600; n++) {
        size_t far = n % 5 == 0 ? 8192 : n % 5 == 1 ? 8193 : 1 + rng_below(&rng, 9000);
        make(far + n + 10, 120, 0);
        memcpy(text + far, text, n < far ? n : far);
        cr_assert_gt(check(far + n + 10, 10000 + 1000), 0U);
    }
}

Test(rdb_lzf, one_letter_and_the_longest) {
    memset(text, 'x', sizeof text);
    cr_assert_leq(check(sizeof text, 1000), 3 * (RDB_WHOLE_MAX / 264 + 2));
    for (size_t len = 1; len < 700; len++)
        cr_assert_gt(check(len, RDB_LZF_ROOM(len)), 0U);
    make(sizeof text, 20, 60);
    cr_assert_gt(check(sizeof text, RDB_LZF_ROOM(sizeof text)), 0U);
}

Test(rdb_lzf, is_about_as_short_as_what_liblzf_makes) {
    static uint8_t out[RDB_WHOLE_MAX];
    size_t ours = 0, theirs = 0;
    for (unsigned i = 0; i < 300; i++) {
        size_t len = 100 + rng_below(&rng, 8000), at = 0;
        while (at + 100 < len)
            at +=
                (size_t)sprintf((char *)text + at, "{\"id\":%u,\"name\":\"user %u\",\"on\":true},",
                                (unsigned)rng_below(&rng, 100000), (unsigned)rng_below(&rng, 900));
        ours += check(at, RDB_LZF_ROOM(at));
        theirs += lzf_compress(text, (unsigned)at, out, sizeof out);
    }
    cr_assert_leq(ours, theirs + theirs / 50);
}
