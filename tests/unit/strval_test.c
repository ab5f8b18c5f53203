/* strval_test.c: the contract of anax/strval.h. */
#include "anax/strval.h"
#include "shards/attr.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct span text_of(const char *s) {
    return (struct span){s, strlen(s)};
}

Test(strval, parse_int_takes_canonical_decimals_only) {
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"7", 7},
                {"-1", -1},
                {"10", 10},
                {"1234567890123456789", 1234567890123456789},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        int64_t v = 99;
        cr_assert(strval_parse_int(text_of(good[i].text), &v), "%s", good[i].text);
        cr_assert_eq(v, good[i].value);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "00",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "1e3",
                                      "abc",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "123456789012345678901"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t v;
        cr_assert_not(strval_parse_int(text_of(bad[i]), &v), "%s", bad[i]);
    }
    int64_t v;
    cr_assert_not(strval_parse_int((struct span){"1\0", 2}, &v));
}

Test(strval, format_int_is_what_parse_int_takes) {
    int64_t samples[64 * 4 + 2] = {INT64_MIN, INT64_MAX};
    size_t n = 2;
    for (unsigned bit = 0; bit < 64; bit++) {
        int64_t power = (int64_t)(1ULL << bit);
        samples[n++] = power;
        samples[n++] = (int64_t)(0 - (uint64_t)power);
        samples[n++] = (int64_t)((uint64_t)power - 1);
        samples[n++] = (int64_t)((uint64_t)power * 5 / 3);
    }
    for (size_t i = 0; i < n; i++) {
        char text[STRVAL_INT_BYTES], expected[32];
        size_t len = strval_format_int(text, samples[i]);
        int64_t back;
        snprintf(expected, sizeof(expected), "%lld", (long long)samples[i]);
        cr_assert_eq(len, strlen(expected));
        cr_assert(memcmp(text, expected, len) == 0, "%s", expected);
        cr_assert_eq(strval_int_len(samples[i]), len);
        cr_assert(strval_parse_int((struct span){text, len}, &back));
        cr_assert_eq(back, samples[i]);
    }
}

Test(strval, floats_round_to_17_decimals_without_trailing_zeros) {
    static const struct {
        const char *a, *b, *sum;
    } sums[] = {
        {"10.50", "0.1", "10.6"},
        {"3.0", "2", "5"},
        {"5.0e3", "200", "5200"},
        {"0.1", "0.2", "0.3"},
        {"-1", "1", "0"},
        {"-0.0", "-0.0", "0"},
        {"1e17", "1", "100000000000000001"},
        {"0x10", "0", "16"},
    };
    for (size_t i = 0; i < COUNT_OF(sums); i++) {
        long double a, b;
        char text[STRVAL_FLOAT_BYTES];
        cr_assert(strval_parse_float(text_of(sums[i].a), &a));
        cr_assert(strval_parse_float(text_of(sums[i].b), &b));
        size_t len = strval_format_float(text, a + b);
        cr_assert_eq(len, strlen(sums[i].sum), "%.*s", (int)len, text);
        cr_assert(memcmp(text, sums[i].sum, len) == 0, "%.*s", (int)len, text);
    }
}

Test(strval, parse_float_refuses_what_is_no_number) {
    static const char *const bad[] = {"",    " 1",   "1 ",      "abc",     "1x",
                                      "nan", "-nan", "1e99999", "1e-99999"};
    long double v;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert_not(strval_parse_float(text_of(bad[i]), &v), "%s", bad[i]);
    cr_assert(strval_parse_float(SPAN("inf"), &v));
    char longest[STRVAL_FLOAT_BYTES];
    memset(longest, '1', sizeof(longest));
    cr_assert_not(strval_parse_float((struct span){longest, sizeof(longest)}, &v));
}

Test(strval, grow_fills_with_zeros_and_never_writes_shared_bytes) {
    struct mem m = {0};
    struct blob *b = blob_create(&m, 8);
    memcpy(b->data, "abc", 3);
    b->len = 3;
    cr_assert(strval_grow(&m, b, 8) == b, "room is used in place");
    cr_assert(memcmp(b->data, "abc\0\0\0\0\0", 8) == 0);

    blob_pin(b);
    struct blob *copy = strval_grow(&m, b, 8);
    cr_assert(copy != b);
    copy->data[0] = 'X';
    cr_assert(b->data[0] == 'a');
    cr_assert_eq(b->refs, 1);
    blob_unpin(&m, b);

    struct blob *grown = strval_grow(&m, copy, 100);
    cr_assert(grown->cap >= 200, "what grows once will grow again");
    cr_assert_eq(grown->len, 100);
    for (size_t i = 3; i < 100; i++)
        cr_assert(grown->data[i] == 0);
    blob_unpin(&m, grown);
    cr_assert_eq(m.used_bytes, 0);
}

Test(strval, grow_without_memory_leaves_the_blob) {
    struct mem m = {0};
    struct blob *b = blob_create(&m, 4);
    memcpy(b->data, "abcd", 4);
    b->len = 4;
    m.fail_in = 1;
    cr_assert(strval_grow(&m, b, 1000) == NULL);
    cr_assert_eq(b->len, 4);
    cr_assert(memcmp(b->data, "abcd", 4) == 0);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}
