#include "shards/decimal.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct rng rng;

static void setup(void) {
    rng_seed(&rng, 42);
}

TestSuite(decimal, .init = setup);

static const char *put(double v, char text[DECIMAL_DOUBLE_BYTES + 1]) {
    char *end = decimal_put_double(text, v);
    cr_assert_leq(end - text, DECIMAL_DOUBLE_BYTES);
    *end = '\0';
    return text;
}

static double any_bits(void) {
    uint64_t bits = rng_next(&rng);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* significant: digits without a point, and without zeros at either end. */
static size_t significant(const char *text, char *digits) {
    size_t n = 0;
    for (; *text != '\0' && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n > 0 || *text != '0'))
            digits[n++] = *text;
    while (n > 0 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    return n;
}

/* The fewest digits of which the nearest decimal reads back, as the C library finds them. */
static void check_shortest(double v) {
    char text[DECIMAL_DOUBLE_BYTES + 1], library[64], digits[64], wanted[64];
    put(v, text);
    cr_assert(strtod(text, NULL) == v, "%.17g: %s", v, text);
    if (v < 0x1p62 && v == floor(v))
        return; /* whole numbers print all their digits */
    size_t n = significant(text, digits);
    cr_assert_leq(n, 17);
    (void)snprintf(library, sizeof library, "%.*e", n > 0 ? (int)n - 1 : 0, v);
    (void)significant(library, wanted);
    cr_assert_str_eq(digits, wanted, "%.17g: %s", v, text);
    if (n > 1) {
        (void)snprintf(library, sizeof library, "%.*e", (int)n - 2, v);
        cr_assert(strtod(library, NULL) != v, "%.17g: %s has a digit too many", v, text);
    }
}

Test(decimal, doubles_print_the_shortest_digits_that_read_back) {
    enum { EACH = 30000 };
    for (unsigned i = 0; i < EACH; i++) {
        double any = any_bits();
        if (isfinite(any) && fabs(any) < 0x1p62)
            check_shortest(any);
        check_shortest((double)(rng_next(&rng) >> 11) * 0x1p-53); /* 0..1, as random() says */
        check_shortest(ldexp((double)(rng_next(&rng) >> 11), -(int)rng_below(&rng, 90)));
        /* What people write. */
        double few = (double)rng_below(&rng, 1ULL << (1 + rng_below(&rng, 50)));
        check_shortest(few / pow(10, (double)rng_below(&rng, 20)));
        check_shortest((double)rng_below(&rng, 1000000) * 0.01);
        check_shortest((double)rng_below(&rng, 1000) * 0.1 + (double)rng_below(&rng, 1000) * 0.7);
    }
}

Test(decimal, doubles_at_powers_and_beside_them) {
    for (int e = -1074; e < 62; e++)
        for (int step = -2; step <= 2; step++) {
            double v = ldexp(1, e);
            for (int i = step; i != 0; i += i < 0 ? 1 : -1)
                v = nextafter(v, i < 0 ? 0 : INFINITY);
            if (v > 0 && v < 0x1p62)
                check_shortest(v);
        }
    for (int e = -320; e < 19; e++)
        for (int step = -2; step <= 2; step++) {
            double v = pow(10, e);
            for (int i = step; i != 0; i += i < 0 ? 1 : -1)
                v = nextafter(v, i < 0 ? 0 : INFINITY);
            check_shortest(v);
            check_shortest(v * 5);
        }
}

/* As redis-server 7.2 and later prints them. */
Test(decimal, doubles_have_redis_shape) {
    static const struct {
        double v;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.0, "-0"},
                 {1, "1"},
                 {-17, "-17"},
                 {0.1, "0.1"},
                 {3.1, "3.1"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1e20, "1e+20"},
                 {4e18, "4000000000000000000"},
                 {123456789012345680, "123456789012345680"},
                 {1.5e300, "1.5e+300"},
                 {1e-5, "0.00001"},
                 {1e-7, "1e-7"},
                 {1.5e-9, "1.5e-9"},
                 {5e-324, "5e-324"},
                 {DBL_MAX, "1.7976931348623157e+308"},
                 {INFINITY, "inf"},
                 {-INFINITY, "-inf"},
                 {NAN, "nan"},
                 {0x1p61, "2305843009213693952"}};
    char text[DECIMAL_DOUBLE_BYTES + 1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_str_eq(put(cases[i].v, text), cases[i].text);
}

/* --- reading --- */

/* check_parse: what strtod takes whole is a number, but for NaN, what does not fit, and a space before it. */
static void check_parse(const char *text) {
    char *end;
    double v = strtod(text, &end), got = 0;
    bool fits = !isinf(v) || strstr(text, "inf") != NULL || strstr(text, "INF") != NULL;
    bool want = *text != '\0' && *text != ' ' && *end == '\0' && !isnan(v) && fits;
    cr_assert_eq(decimal_parse_double((struct span){text, strlen(text)}, &got), want, "'%s'", text);
    if (want) {
        cr_assert(got == v, "'%s' is %.17g, not %.17g", text, v, got);
        cr_assert_eq(signbit(got) != 0, signbit(v) != 0, "'%s'", text);
    }
}

Test(decimal, parses_what_strtod_does) {
    static const char *const cases[] = {"",
                                        "-",
                                        "+",
                                        ".",
                                        "-.",
                                        "0",
                                        "-0",
                                        "00012",
                                        "1.",
                                        ".5",
                                        "-.5",
                                        "+1.5",
                                        "1e5",
                                        "1E5",
                                        "1e+5",
                                        "1e-5",
                                        "1e",
                                        "1e+",
                                        "1e5x",
                                        "1 ",
                                        " 1",
                                        "1..2",
                                        "1.2.3",
                                        "--1",
                                        "inf",
                                        "-inf",
                                        "+inf",
                                        "INF",
                                        "nan",
                                        "0x10",
                                        "0x1p3",
                                        "1e22",
                                        "1e23",
                                        "1e400",
                                        "1e-22",
                                        "1e-23",
                                        "1e007",
                                        "1e-007",
                                        "1e100",
                                        "1_000",
                                        "0.1e1",
                                        "0e0",
                                        "-0e5",
                                        "-0.0",
                                        "1e1.5",
                                        "e5",
                                        ".e5",
                                        "1,5",
                                        "9007199254740993",
                                        "9007199254740992",
                                        "9007199254740991e22",
                                        "18446744073709551616",
                                        "9999999999999999999",
                                        "99999999999999999999",
                                        "0.000000000000000000001",
                                        "123456789.123456789",
                                        "179769313486231580e291"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_parse(cases[i]);
}

Test(decimal, parses_random_texts_as_strtod_does) {
    static const char alphabet[] = "0123456789012345678901234567890123456789..eE+-";
    char text[32];
    for (unsigned i = 0; i < 300000; i++) {
        size_t n = 1 + rng_below(&rng, 24);
        for (size_t k = 0; k < n; k++)
            text[k] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        text[n] = '\0';
        /* A number that is too small is refused, which strtod tells through errno only. */
        const char *e = strpbrk(text, "eE");
        if (e == NULL || strlen(e) <= 4)
            check_parse(text);
        double v =
            (double)(int64_t)rng_next(&rng) / 1e4 * pow(10, (double)rng_below(&rng, 12) - 12);
        (void)snprintf(text, sizeof text, "%.*g", (int)rng_below(&rng, 19), v);
        check_parse(text);
    }
}

Test(decimal, what_is_printed_reads_back) {
    char text[DECIMAL_DOUBLE_BYTES + 1];
    for (unsigned i = 0; i < 100000; i++) {
        double v = any_bits(), got;
        if (isnan(v))
            continue;
        put(v, text);
        cr_assert(decimal_parse_double((struct span){text, strlen(text)}, &got), "%s", text);
        cr_assert(got == v, "%s", text);
    }
}

/* --- integers --- */

Test(decimal, integers_print_as_printf_does) {
    char text[DECIMAL_INT_BYTES + 1], want[32];
    for (unsigned bits = 0; bits <= 64; bits++)
        for (unsigned i = 0; i < 2000; i++) {
            uint64_t v = bits == 0 ? i : rng_next(&rng) >> (64 - bits);
            *decimal_put_uint(text, v) = '\0';
            (void)snprintf(want, sizeof want, "%" PRIu64, v);
            cr_assert_str_eq(text, want);
            *decimal_put_int(text, (int64_t)v) = '\0';
            (void)snprintf(want, sizeof want, "%" PRId64, (int64_t)v);
            cr_assert_str_eq(text, want);
        }
}
