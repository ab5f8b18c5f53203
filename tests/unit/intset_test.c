/* intset_test.c: the contract of anax/intset.h. */
#include "intset_model.h"
#include "shards/attr.h"
#include "shards/rng.h"
#include <criterion/criterion.h>

static struct model m;

Test(intset, bytes_are_redis_s) {
    /* DUMP of a set by redis-server 7.0 */
    static const char known[] = "\x04\0\0\0\x03\0\0\0\xff\xff\xff\xff\x05\0\0\0\0\x80\0\0";
    model_init(&m);
    cr_assert(model_add(&m, 5));
    cr_assert(model_add(&m, 32768));
    cr_assert(model_add(&m, -1));
    cr_assert_eq(intset_bytes(m.is), sizeof known - 1);
    cr_assert(memcmp(m.is, known, sizeof known - 1) == 0);
    model_deinit(&m);
}

Test(intset, empty) {
    model_init(&m);
    cr_assert_eq(intset_bytes(m.is), INTSET_HEADER);
    cr_assert_not(model_find(&m, 0));
    cr_assert_not(model_remove(&m, 0));
    model_check(&m);
    model_deinit(&m);
}

Test(intset, inv1_width_at_each_boundary) {
    static const struct {
        int64_t v;
        size_t width;
    } cases[] = {{0, 2},
                 {INT16_MAX, 2},
                 {INT16_MIN, 2},
                 {INT16_MAX + 1, 4},
                 {INT16_MIN - 1, 4},
                 {INT32_MAX, 4},
                 {INT32_MIN, 4},
                 {INT32_MAX + 1LL, 8},
                 {INT32_MIN - 1LL, 8},
                 {INT64_MAX, 8},
                 {INT64_MIN, 8}};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t k = 0; k < COUNT_OF(cases); k++) {
            size_t wider = cases[i].width > cases[k].width ? cases[i].width : cases[k].width;
            model_init(&m);
            cr_assert(model_add(&m, cases[i].v));
            cr_assert_eq(intset_bytes(m.is), INTSET_HEADER + cases[i].width);
            cr_assert_eq(model_add(&m, cases[k].v), i != k);
            cr_assert_eq(intset_bytes(m.is), INTSET_HEADER + (i != k ? 2 * wider : wider));
            model_check(&m);
            cr_assert(model_remove(&m, cases[i].v));
            cr_assert_eq(intset_bytes(m.is), INTSET_HEADER + (i != k ? wider : 0),
                         "no narrower again");
            model_check(&m);
            model_deinit(&m);
        }
}

Test(intset, does_what_a_sorted_array_does) {
    struct rng r;
    rng_seed(&r, 9);
    for (unsigned bits = 4; bits <= 64; bits += 6) {
        model_init(&m);
        for (unsigned step = 0; step < 6000; step++) {
            int64_t v = (int64_t)rng_next(&r) >> (64 - bits);
            if (m.n > 0 && rng_below(&r, 3) == 0)
                v = m.v[rng_below(&r, m.n)];
            if (rng_below(&r, step / 1000 % 2 ? 3 : 2) != 0)
                (void)model_remove(&m, v);
            else
                (void)model_add(&m, v);
            if (step % 256 == 0)
                model_check(&m);
        }
        model_check(&m);
        model_deinit(&m);
    }
}

Test(intset, valid_takes_what_is_sorted_and_of_that_length) {
    static struct model used;
    model_init(&m);
    for (int64_t v = -3; v <= 3; v++)
        (void)model_add(&m, v * 20000);
    uint8_t *is = m.is;
    size_t len = intset_bytes(is), taken = 0;
    cr_assert_not(intset_valid(is, len - 1));
    cr_assert_not(intset_valid(is, 7));
    cr_assert_not(intset_valid(is, 0));
    for (size_t at = 0; at < len; at++) {
        uint8_t was = is[at];
        for (unsigned x = 1; x < 256; x++) {
            is[at] = (uint8_t)(was ^ x);
            if (!intset_valid(is, len))
                continue;
            taken++;
            cr_assert_geq(at, INTSET_HEADER, "no other header goes with that length");
            model_use(&used, is, len);
        }
        is[at] = was;
    }
    cr_assert_gt(taken, 0);
    memcpy(is + INTSET_HEADER, is + INTSET_HEADER + 4, 4);
    cr_assert_not(intset_valid(is, len), "the same twice");
    model_deinit(&m);
    cr_assert_not(intset_valid((const uint8_t *)"\4\0\0\0\0\0\0\x40", 8), "2^30 of 4 bytes");
    cr_assert_not(intset_valid((const uint8_t *)"\3\0\0\0\0\0\0\0", 8));
    cr_assert_not(intset_valid((const uint8_t *)"\0\0\0\0\0\0\0\0", 8));
}
