/* decimal.c: numbers to text and back. See shards/decimal.h. */
#include "shards/decimal.h"
#include "shards/assert.h"
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DOUBLE_DIGITS_MAX = 17,
    DOUBLE_TEXT_MAX = 1024,
    PLAIN_DIGITS_MAX = 19, /* no sum of them overflows 64 bits */
    FEW_DIGITS = 15,       /* so many are below 2^51 */
    FAST_LEADING_MAX = 15,
    DOUBLE_MANTISSA_BITS = 52,
    DOUBLE_BIAS = 1023 + DOUBLE_MANTISSA_BITS
};
#define DOUBLE_HIDDEN_BIT (1ULL << DOUBLE_MANTISSA_BITS)
#define DOUBLE_EXACT_MAX  (1ULL << 53) /* whole numbers up to here are doubles */
#define FAST_MIN          1e-8
#define FAST_MAX          0x1p53

/* All that are doubles; all that are 63 bits. */
static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define FIVE_9 1953125ULL
#define FIVES(from)                                                                                \
    (from), (from)*5, (from)*25, (from)*125, (from)*625, (from)*3125, (from)*15625, (from)*78125,  \
        (from)*390625
static const uint64_t fives[] = {FIVES(1ULL), FIVES(FIVE_9), FIVES(FIVE_9 *FIVE_9)};

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

static unsigned count_digits(uint64_t v) {
    unsigned n = 1;

    for (;;) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
        v /= 10000;
        n += 4;
    }
}

/* Two digits per division. */
char *decimal_put_uint(char *to, uint64_t v) {
    if (v < 10) {
        *to = (char)('0' + v);
        return to + 1;
    }
    char *end = to + count_digits(v);
    char *c = end;
    while (v >= 100) {
        c -= 2;
        memcpy(c, digit_pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10)
        memcpy(c - 2, digit_pairs + v * 2, 2);
    else
        c[-1] = (char)('0' + v);
    return end;
}

char *decimal_put_int(char *to, int64_t v) {
    if (v < 0) {
        *to++ = '-';
        return decimal_put_uint(to, 0 - (uint64_t)v);
    }
    return decimal_put_uint(to, (uint64_t)v);
}

static char *put_bytes(char *to, const char *p, size_t n) {
    memcpy(to, p, n);
    return to + n;
}

/* --- digits of doubles: the fewest of which the nearest decimal reads back as v, which is finite and positive --- */

/* nearest: the decimal with s digits behind the point that is nearest to m * 2^e, as a whole number; 0: it does not read
 * back, or it takes more bits to tell. All is counted in quarters of m, so that half a step below a power of two is a whole
 * number; 55 bits times 63 are exact. */
static uint64_t nearest(uint64_t m, int e, int s) {
    int shift = 2 - e - s;
    if (s < 0 || s >= (int)COUNT_OF(fives) || shift < 1 || shift > 120)
        return 0;
    __uint128_t v = (__uint128_t)(m * 4) * fives[s], up = (__uint128_t)2 * fives[s];
    __uint128_t down = m == DOUBLE_HIDDEN_BIT ? up / 2 : up;
    uint64_t d = (uint64_t)(v >> shift);
    __uint128_t rest = v - ((__uint128_t)d << shift), one = (__uint128_t)1 << shift;
    bool above = rest * 2 > one || (rest * 2 == one && (d & 1) != 0);
    d += above;
    /* A decimal on the border reads back when m is even. */
    __uint128_t off = above ? one - rest : rest, most = (above ? up : down) - (m & 1);
    return off <= most ? d : 0;
}

/* fast_digits: as a whole number; *exponent: the power of ten of its last digit. 0: it cannot say. */
static uint64_t fast_digits(double v, int *exponent) {
    uint64_t bits;
    if (v < FAST_MIN || v >= FAST_MAX)
        return 0;
    memcpy(&bits, &v, sizeof bits);
    int e = (int)(bits >> DOUBLE_MANTISSA_BITS) - DOUBLE_BIAS;
    uint64_t m = (bits & (DOUBLE_HIDDEN_BIT - 1)) | DOUBLE_HIDDEN_BIT;
    /* The power of ten of the first digit, from that of two: log10(2) * 2^16. */
    int leading = (e + DOUBLE_MANTISSA_BITS) * 19728 >> 16;
    leading += leading < FAST_LEADING_MAX &&
               v >= (leading < 0 ? 1 / tens[-leading - 1] : tens[leading + 1]);
    /* Most have few digits. With r below 2^51 the nearest one is not missed; r / 10^k is rounded correctly, since both are
     * exact, so what reads back is told from what does not. What has fewer digits has zeros at its end here. */
    int k = FEW_DIGITS - 1 - leading;
    if (k > 0) {
        double r = nearbyint(v * tens[k]);
        *exponent = -k;
        if (r / tens[k] == v)
            return (uint64_t)r;
    }
    for (int n = FEW_DIGITS + 1; n <= DOUBLE_DIGITS_MAX; n++) {
        uint64_t d = nearest(m, e, n - 1 - leading);
        *exponent = leading - n + 1;
        if (d != 0)
            return d;
    }
    return 0;
}

static unsigned slow_digits(double v, char digits[DOUBLE_DIGITS_MAX], int *exponent) {
    char text[DECIMAL_DOUBLE_BYTES];
    unsigned n = 0;

    /* Every double is told apart by 17 digits and many by 15; fewer come out as trailing zeros,
     * except below the normal range, where a double has fewer digits than that. */
    for (int precision = v < DBL_MIN ? 1 : 15; precision <= DOUBLE_DIGITS_MAX; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision - 1, v);
        if (strtod(text, NULL) == v)
            break;
    }
    const char *c = text;
    for (; *c != 'e'; c++)
        if (*c != '.')
            digits[n++] = *c;
    ASSERT(n > 0);
    *exponent = (int)strtol(c + 1, NULL, 10) - (int)n + 1;
    while (n > 1 && digits[n - 1] == '0') {
        n--;
        ++*exponent;
    }
    return n;
}

/* shortest_digits: without a point. */
static unsigned shortest_digits(double v, char digits[DECIMAL_INT_BYTES], int *exponent) {
    uint64_t d = fast_digits(v, exponent);
    if (unlikely(d == 0))
        return slow_digits(v, digits, exponent);
    for (; d % 10 == 0; d /= 10)
        ++*exponent;
    return (unsigned)(decimal_put_uint(digits, d) - digits);
}

/* Where Redis 7.2 and later put the point: numbers up to 7 zeros longer than their digits are
 * written out, so are fractions of few digits; the rest is d.ddde+x. */
static char *put_positive_double(char *to, double v) {
    char digits[DECIMAL_INT_BYTES];
    int exponent;
    int n = (int)shortest_digits(v, digits, &exponent);
    int leading = exponent + n - 1; /* power of ten of the first digit */

    if (exponent >= 0 && leading < n + 7) {
        to = put_bytes(to, digits, (size_t)n);
        memset(to, '0', (size_t)exponent);
        return to + exponent;
    }
    if (exponent < 0 && (exponent > -7 || abs(leading) < 4)) {
        if (leading >= 0) {
            to = put_bytes(to, digits, (size_t)leading + 1);
            *to++ = '.';
            return put_bytes(to, digits + leading + 1, (size_t)(n - leading - 1));
        }
        to = put_bytes(to, "0.", 2);
        memset(to, '0', (size_t)(-leading - 1));
        return put_bytes(to + (-leading - 1), digits, (size_t)n);
    }
    *to++ = digits[0];
    if (n > 1) {
        *to++ = '.';
        to = put_bytes(to, digits + 1, (size_t)n - 1);
    }
    *to++ = 'e';
    *to++ = leading < 0 ? '-' : '+';
    return decimal_put_uint(to, (uint64_t)abs(leading));
}

char *decimal_put_double(char *to, double v) {
    if (isnan(v))
        return put_bytes(to, "nan", 3);
    if (signbit(v)) {
        *to++ = '-';
        v = -v;
    }
    if (isinf(v))
        return put_bytes(to, "inf", 3);
    /* Whole numbers, which scores often are, take the short way; 2^62 bounds them as in Redis. */
    if (v < 0x1p62 && v == (double)(uint64_t)v)
        return decimal_put_uint(to, (uint64_t)v);
    return put_positive_double(to, v);
}

static bool is_digit(const char *c, const char *end) {
    return c < end && *c >= '0' && *c <= '9';
}

/* parse_exponent: all of what is left, or nothing of it. */
static bool parse_exponent(const char *c, const char *end, int *out) {
    if (c == end)
        return true;
    if (*c != 'e' && *c != 'E')
        return false;
    bool negative = ++c < end && *c == '-';
    c += negative || (c < end && *c == '+');
    if (c == end || end - c > 2)
        return false;
    int e = 0;
    for (; is_digit(c, end); c++)
        e = e * 10 + (*c - '0');
    *out += negative ? -e : e;
    return c == end;
}

/* parse_plain: digits, maybe a point, maybe an exponent. One multiplication or division of numbers that are exact rounds as
 * strtod does. False: it may still be a number. */
static bool parse_plain(struct span s, double *out) {
    const char *c = s.ptr, *end = c + s.len;
    bool negative = c < end && *c == '-';
    uint64_t m = 0;
    int exponent = 0, digits = 0;
    for (c += negative; is_digit(c, end); c++, digits++)
        m = m * 10 + (unsigned)(*c - '0');
    if (c < end && *c == '.')
        for (c++; is_digit(c, end); c++, digits++, exponent--)
            m = m * 10 + (unsigned)(*c - '0');
    if (digits == 0 || digits > PLAIN_DIGITS_MAX || m > DOUBLE_EXACT_MAX)
        return false;
    if (!parse_exponent(c, end, &exponent) || abs(exponent) >= (int)COUNT_OF(tens))
        return false;
    double v = exponent < 0 ? (double)m / tens[-exponent] : (double)m * tens[exponent];
    *out = negative ? -v : v;
    return true;
}

bool decimal_parse_double(struct span s, double *out) {
    if (likely(parse_plain(s, out)))
        return true;
    char text[DOUBLE_TEXT_MAX];
    if (s.len == 0 || s.len >= sizeof text || isspace((unsigned char)s.ptr[0]))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end != text + s.len || isnan(v))
        return false;
    if (errno == ERANGE && (isinf(v) || fpclassify(v) == FP_ZERO))
        return false;
    *out = v;
    return true;
}
