#include "anax/reply.h"
#include "shards/assert.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    INT_CHARS_MAX = 20,                     /* "-9223372036854775808" */
    LINE_BYTES_MAX = 1 + INT_CHARS_MAX + 2, /* a type byte, a number, CRLF */
    DOUBLE_CHARS_MAX = 32,
    DOUBLE_DIGITS_MAX = 17,
    ERROR_TEXT_USUAL = 256,
};

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

/* Writes v in decimal and returns what follows it. Two digits per division. */
static char *put_uint(char *to, uint64_t v) {
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

static char *put_int(char *to, int64_t v) {
    if (v < 0) {
        *to++ = '-';
        return put_uint(to, 0 - (uint64_t)v);
    }
    return put_uint(to, (uint64_t)v);
}

static char *put_crlf(char *to) {
    to[0] = '\r';
    to[1] = '\n';
    return to + 2;
}

static char *put_bytes(char *to, const char *p, size_t n) {
    memcpy(to, p, n);
    return to + n;
}

/* The caller got `from` by outbuf_room and wrote up to `to`. */
static void advance(struct outbuf *o, const char *to) {
    o->len = (size_t)(to - o->buf);
    ASSERT_SLOW(o->len <= o->cap);
}

/* A line of a type byte and a number: lengths of aggregates, and integers. */
static void add_number_line(struct outbuf *o, char type, int64_t v) {
    char *to = outbuf_room(o, LINE_BYTES_MAX);

    if (unlikely(to == NULL))
        return;
    *to++ = type;
    advance(o, put_crlf(put_int(to, v)));
}

static void add_literal(struct outbuf *o, struct span s) {
    outbuf_add(o, s.ptr, s.len);
}

static bool is_line_end(char c) {
    return c == '\r' || c == '\n';
}

/* One line. A CR or LF inside it would end it early and let a client's own bytes speak for us, so
 * they become blanks; at the edges they are dropped. */
static void add_text_line(struct outbuf *o, char type, const char *text, size_t len) {
    while (len > 0 && is_line_end(text[len - 1]))
        len--;
    while (len > 0 && is_line_end(text[0])) {
        text++;
        len--;
    }
    char *to = outbuf_room(o, 1 + len + 2);
    if (unlikely(to == NULL))
        return;
    *to++ = type;
    for (size_t i = 0; i < len; i++)
        *to++ = is_line_end(text[i]) ? ' ' : text[i];
    advance(o, put_crlf(to));
}

void reply_ok(struct reply *r) {
    add_literal(r->out, SPAN("+OK\r\n"));
}

void reply_status(struct reply *r, const char *text) {
    add_text_line(r->out, '+', text, strlen(text));
}

void reply_error(struct reply *r, const char *text) {
    add_text_line(r->out, '-', text, strlen(text));
}

void reply_errorf(struct reply *r, const char *fmt, ...) {
    char usual[ERROR_TEXT_USUAL];
    char *text = usual;
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(usual, sizeof(usual), fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    size_t len = (size_t)n;
    if (len >= sizeof(usual)) {
        text = mem_alloc(r->out->mem, len + 1);
        if (text == NULL) {
            text = usual; /* the beginning of it is better than no reply */
            len = sizeof(usual) - 1;
        } else {
            va_start(args, fmt);
            n = vsnprintf(text, len + 1, fmt, args);
            va_end(args);
            ASSERT(n >= 0 && (size_t)n == len);
        }
    }
    add_text_line(r->out, '-', text, len);
    if (text != usual)
        mem_free(r->out->mem, text, len + 1);
}

void reply_int(struct reply *r, int64_t v) {
    add_number_line(r->out, ':', v);
}

void reply_bulk(struct reply *r, struct span s) {
    struct outbuf *o = r->out;
    char *to = outbuf_room(o, LINE_BYTES_MAX + s.len + 2);

    if (unlikely(to == NULL))
        return;
    *to++ = '$';
    to = put_crlf(put_uint(to, s.len));
    if (likely(s.len > 0))
        memcpy(to, s.ptr, s.len);
    advance(o, put_crlf(to + s.len));
}

void reply_bulk_cstr(struct reply *r, const char *s) {
    reply_bulk(r, (struct span){s, strlen(s)});
}

void reply_bulk_int(struct reply *r, int64_t v) {
    char text[INT_CHARS_MAX];
    const char *end = put_int(text, v);

    reply_bulk(r, (struct span){text, (size_t)(end - text)});
}

void reply_blob(struct reply *r, struct blob *b, size_t offset, size_t len) {
    ASSERT(offset <= b->len && len <= b->len - offset);
    if (len < OUTBUF_REF_MIN) {
        reply_bulk(r, (struct span){b->data + offset, len});
        return;
    }
    add_number_line(r->out, '$', (int64_t)len);
    outbuf_ref(r->out, b, offset, len, r->owner);
    add_literal(r->out, SPAN("\r\n"));
}

void reply_null(struct reply *r) {
    add_literal(r->out, r->proto >= 3 ? SPAN("_\r\n") : SPAN("$-1\r\n"));
}

void reply_null_array(struct reply *r) {
    add_literal(r->out, r->proto >= 3 ? SPAN("_\r\n") : SPAN("*-1\r\n"));
}

void reply_array(struct reply *r, size_t n) {
    add_number_line(r->out, '*', (int64_t)n);
}

void reply_map(struct reply *r, size_t pairs) {
    if (r->proto >= 3)
        add_number_line(r->out, '%', (int64_t)pairs);
    else
        add_number_line(r->out, '*', (int64_t)pairs * 2);
}

void reply_set(struct reply *r, size_t n) {
    add_number_line(r->out, r->proto >= 3 ? '~' : '*', (int64_t)n);
}

void reply_bool(struct reply *r, bool v) {
    if (r->proto >= 3)
        add_literal(r->out, v ? SPAN("#t\r\n") : SPAN("#f\r\n"));
    else
        add_literal(r->out, v ? SPAN(":1\r\n") : SPAN(":0\r\n"));
}

/* The fewest significant digits that read back as v, without a point, and the power of ten of the
 * last one. v is finite and positive. */
static unsigned shortest_digits(double v, char digits[DOUBLE_DIGITS_MAX], int *exponent) {
    char text[DOUBLE_CHARS_MAX];
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

/* Where Redis 7.2 and later put the point: numbers up to 7 zeros longer than their digits are
 * written out, so are fractions of few digits; the rest is d.ddde+x. */
static char *put_positive_double(char *to, double v) {
    char digits[DOUBLE_DIGITS_MAX];
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
    return put_uint(to, (uint64_t)abs(leading));
}

static char *put_double(char *to, double v) {
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
        return put_uint(to, (uint64_t)v);
    return put_positive_double(to, v);
}

void reply_double(struct reply *r, double v) {
    char text[DOUBLE_CHARS_MAX];
    const char *end = put_double(text, v);
    size_t len = (size_t)(end - text);

    ASSERT(len <= sizeof(text));
    if (r->proto < 3) {
        reply_bulk(r, (struct span){text, len});
        return;
    }
    char *to = outbuf_room(r->out, 1 + len + 2);
    if (unlikely(to == NULL))
        return;
    *to++ = ',';
    advance(r->out, put_crlf(put_bytes(to, text, len)));
}

void reply_verbatim(struct reply *r, const char *format, struct span s) {
    if (r->proto < 3) {
        reply_bulk(r, s);
        return;
    }
    ASSERT(strlen(format) == 3);
    char *to = outbuf_room(r->out, LINE_BYTES_MAX + 4 + s.len + 2);
    if (unlikely(to == NULL))
        return;
    *to++ = '=';
    to = put_crlf(put_uint(to, s.len + 4));
    to = put_bytes(to, format, 3);
    *to++ = ':';
    if (s.len > 0)
        memcpy(to, s.ptr, s.len);
    advance(r->out, put_crlf(to + s.len));
}
