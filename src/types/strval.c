/* strval.c: numbers and room of string values. See anax/strval.h. */
#include "anax/strval.h"
#include "shards/assert.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool strval_parse_int(struct span s, int64_t *out) {
    const char *p = s.ptr, *end = s.ptr + s.len;
    if (s.len == 0 || s.len > STRVAL_INT_BYTES)
        return false;
    bool negative = *p == '-';
    p += negative;
    /* 19 digits are what INT64_MAX has, and cannot overflow 64 bits unsigned. */
    if (p == end || end - p > 19)
        return false;
    if (*p == '0') {
        *out = 0;
        return s.len == 1;
    }
    uint64_t v = 0;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9)
            return false;
        v = v * 10 + digit;
    }
    uint64_t limit = (uint64_t)INT64_MAX + negative;
    if (v > limit)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static const char digit_pairs[] = "00010203040506070809"
                                  "10111213141516171819"
                                  "20212223242526272829"
                                  "30313233343536373839"
                                  "40414243444546474849"
                                  "50515253545556575859"
                                  "60616263646566676869"
                                  "70717273747576777879"
                                  "80818283848586878889"
                                  "90919293949596979899";

static size_t digits_of(uint64_t v) {
    size_t n = 1;
    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

static uint64_t magnitude(int64_t v) {
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

size_t strval_int_len(int64_t v) {
    return digits_of(magnitude(v)) + (v < 0);
}

size_t strval_format_int(char out[STRVAL_INT_BYTES], int64_t v) {
    uint64_t left = magnitude(v);
    size_t len = digits_of(left) + (v < 0);
    char *p = out + len;
    while (left >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + left % 100 * 2, 2);
        left /= 100;
    }
    if (left >= 10) {
        p -= 2;
        memcpy(p, digit_pairs + left * 2, 2);
    } else {
        *--p = (char)('0' + left);
    }
    if (v < 0)
        out[0] = '-';
    return len;
}

bool strval_parse_float(struct span s, long double *out) {
    char text[STRVAL_FLOAT_BYTES];
    if (s.len == 0 || s.len >= sizeof(text) || isspace((unsigned char)s.ptr[0]))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    errno = 0;
    long double v = strtold(text, &end);
    if (end != text + s.len || isnan(v))
        return false;
    if (errno == ERANGE && (isinf(v) || fpclassify(v) == FP_ZERO))
        return false;
    *out = v;
    return true;
}

size_t strval_format_float(char out[STRVAL_FLOAT_BYTES], long double v) {
    int printed = snprintf(out, STRVAL_FLOAT_BYTES, "%.17Lf", v);
    ASSERT(printed > 0 && printed < STRVAL_FLOAT_BYTES);
    size_t len = (size_t)printed;
    while (out[len - 1] == '0')
        len--;
    if (out[len - 1] == '.')
        len--;
    if (len == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        len = 1;
    }
    return len;
}

size_t strval_slack(size_t len) {
    return len + (len < STRVAL_SLACK_MAX ? len : STRVAL_SLACK_MAX);
}

struct blob *strval_grow(struct mem *m, struct blob *b, size_t len) {
    ASSERT(len >= b->len);
    if (b->refs > 1 || b->cap < len) {
        b = blob_grow(m, b, b->cap < len ? strval_slack(len) : len);
        if (b == NULL)
            return NULL;
    }
    memset(b->data + b->len, 0, len - b->len);
    b->len = len;
    return b;
}
