#include "anax/reply.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct fixture {
    struct mem m;
    struct outbuf o;
    struct reply r;
};

static void begin(struct fixture *f, uint8_t proto) {
    f->m = (struct mem){0};
    outbuf_init(&f->o, &f->m);
    f->r = (struct reply){.out = &f->o, .proto = proto, .owner = 3};
}

static void end(struct fixture *f) {
    for (uint32_t i = 0; i < f->o.ref_count; i++)
        blob_unpin(&f->m, f->o.refs[i].blob);
    f->o.ref_count = 0;
    outbuf_deinit(&f->o);
    cr_assert_eq(f->m.used_bytes, 0);
}

static void expect_bytes(struct fixture *f, const char *want, size_t len) {
    cr_assert(f->o.len == len && memcmp(f->o.buf, want, len) == 0, "got '%.*s', not '%s'",
              (int)f->o.len, f->o.buf, want);
    f->o.len = 0;
}

#define EXPECT(f, literal) expect_bytes((f), literal, sizeof(literal) - 1)

Test(reply, lines) {
    struct fixture f;

    begin(&f, 2);
    reply_ok(&f.r);
    EXPECT(&f, "+OK\r\n");
    reply_status(&f.r, "PONG");
    EXPECT(&f, "+PONG\r\n");
    reply_error(&f.r, "ERR no such key");
    EXPECT(&f, "-ERR no such key\r\n");
    reply_errorf(&f.r, "ERR '%s' %d", "x", 7);
    EXPECT(&f, "-ERR 'x' 7\r\n");
    end(&f);
}

Test(reply, line_ends_inside_text_become_blanks) {
    struct fixture f;

    begin(&f, 2);
    reply_error(&f.r, "ERR a\r\nb\rc\nd\r\n");
    EXPECT(&f, "-ERR a  b c d\r\n");
    reply_errorf(&f.r, "ERR '%s'", "\r\n+OK");
    EXPECT(&f, "-ERR '  +OK'\r\n");
    reply_status(&f.r, "a\nb");
    EXPECT(&f, "+a b\r\n");
    end(&f);
}

Test(reply, long_error_is_whole) {
    static char text[5000], want[5010];
    struct fixture f;

    begin(&f, 2);
    for (size_t len = 250; len < sizeof(text); len = len < 262 ? len + 1 : len * 2) {
        memset(text, 'x', len);
        text[len] = '\0';
        reply_errorf(&f.r, "%s", text);
        int n = snprintf(want, sizeof(want), "-%s\r\n", text);
        expect_bytes(&f, want, (size_t)n);
    }
    end(&f);
}

static void expect_int(struct fixture *f, int64_t v) {
    char want[64], digits[32];

    reply_int(&f->r, v);
    int n = snprintf(want, sizeof(want), ":%" PRId64 "\r\n", v);
    expect_bytes(f, want, (size_t)n);
    reply_bulk_int(&f->r, v);
    int digits_len = snprintf(digits, sizeof(digits), "%" PRId64, v);
    n = snprintf(want, sizeof(want), "$%d\r\n%s\r\n", digits_len, digits);
    expect_bytes(f, want, (size_t)n);
}

Test(reply, ints_of_all_lengths) {
    struct fixture f;
    struct rng r;

    begin(&f, 3);
    expect_int(&f, 0);
    expect_int(&f, INT64_MIN);
    expect_int(&f, INT64_MAX);
    for (int64_t v = 1; v < INT64_MAX / 10; v *= 10)
        for (int64_t d = -1; d <= 1; d++) {
            expect_int(&f, v + d);
            expect_int(&f, -v + d);
        }
    rng_seed(&r, 9);
    for (int i = 0; i < 20000; i++)
        expect_int(&f, (int64_t)(rng_next(&r) >> (i % 64)));
    end(&f);
}

Test(reply, bulks) {
    struct fixture f;
    static char big[70000], want[70020];

    begin(&f, 2);
    reply_bulk(&f.r, SPAN("a\0b"));
    EXPECT(&f, "$3\r\na\0b\r\n");
    reply_bulk(&f.r, SPAN(""));
    EXPECT(&f, "$0\r\n\r\n");
    reply_bulk(&f.r, (struct span){NULL, 0});
    EXPECT(&f, "$0\r\n\r\n");
    reply_bulk_cstr(&f.r, "text");
    EXPECT(&f, "$4\r\ntext\r\n");
    memset(big, 'z', sizeof(big));
    reply_bulk(&f.r, (struct span){big, sizeof(big)});
    memcpy(want, "$70000\r\n", 8);
    memcpy(want + 8, big, sizeof(big));
    memcpy(want + 8 + sizeof(big), "\r\n", 2);
    expect_bytes(&f, want, sizeof(big) + 10);
    end(&f);
}

Test(reply, forms_of_resp2) {
    struct fixture f;

    begin(&f, 2);
    reply_null(&f.r);
    reply_null_array(&f.r);
    reply_array(&f.r, 12);
    reply_map(&f.r, 12);
    reply_set(&f.r, 12);
    reply_bool(&f.r, true);
    reply_bool(&f.r, false);
    reply_double(&f.r, 1.5);
    reply_verbatim(&f.r, "txt", SPAN("hi"));
    EXPECT(&f, "$-1\r\n*-1\r\n*12\r\n*24\r\n*12\r\n:1\r\n:0\r\n$3\r\n1.5\r\n$2\r\nhi\r\n");
    end(&f);
}

Test(reply, forms_of_resp3) {
    struct fixture f;

    begin(&f, 3);
    reply_null(&f.r);
    reply_null_array(&f.r);
    reply_array(&f.r, 0);
    reply_map(&f.r, 12);
    reply_set(&f.r, 12);
    reply_bool(&f.r, true);
    reply_bool(&f.r, false);
    reply_double(&f.r, 1.5);
    reply_verbatim(&f.r, "txt", SPAN("hi"));
    reply_verbatim(&f.r, "mkd", SPAN(""));
    EXPECT(&f, "_\r\n_\r\n*0\r\n%12\r\n~12\r\n#t\r\n#f\r\n,1.5\r\n=6\r\ntxt:hi\r\n=4\r\nmkd:\r\n");
    end(&f);
}

Test(reply, doubles_as_redis_8_prints_them) {
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1, "-1"},
        {3.141, "3.141"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {-2.5, "-2.5"},
        {0.001234, "0.001234"},
        {0.0001, "0.0001"},
        {1e-7, "1e-7"},
        {1.5e-10, "1.5e-10"},
        {1e15, "1000000000000000"},
        {1e18, "1000000000000000000"},
        {123456789012345680.0, "123456789012345680"},
        {1e21, "1e+21"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {5e-324, "5e-324"},
        {1.2345678901, "1.2345678901"},
        {0x1p53, "9007199254740992"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
    };
    struct fixture f;

    begin(&f, 3);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char want[64];
        int n = snprintf(want, sizeof(want), ",%s\r\n", cases[i].text);
        reply_double(&f.r, cases[i].v);
        expect_bytes(&f, want, (size_t)n);
    }
    end(&f);
}

Test(reply, doubles_read_back_the_same) {
    struct fixture f;
    struct rng r;

    begin(&f, 3);
    rng_seed(&r, 4);
    for (int i = 0; i < 50000; i++) {
        union {
            uint64_t bits;
            double v;
        } u = {.bits = rng_next(&r)};
        if (i % 2 == 0) /* decimal fractions, as scores are */
            u.v = (double)(int64_t)(u.bits % 100000000) / pow(10, (int)(u.bits >> 61));
        if (!isfinite(u.v))
            continue;
        reply_double(&f.r, u.v);
        char *stop;
        f.o.buf[f.o.len - 2] = '\0';
        cr_assert_eq(strtod(f.o.buf + 1, &stop), u.v, "%.17g became %s", u.v, f.o.buf + 1);
        cr_assert_eq(*stop, '\0');
        char longest[64];
        cr_assert_leq(strlen(f.o.buf + 1),
                      (size_t)snprintf(longest, sizeof(longest), "%.17g", u.v) + 8);
        f.o.len = 0;
    }
    end(&f);
}

Test(reply, large_blob_is_spliced_not_copied) {
    struct fixture f;

    begin(&f, 2);
    struct blob *b = blob_create(&f.m, 40000);
    memset(b->data, 'v', 40000);
    b->len = 40000;
    reply_blob(&f.r, b, 100, OUTBUF_REF_MIN);
    cr_assert_eq(f.o.ref_count, 1);
    cr_assert_eq(f.o.refs[0].at, 8);
    cr_assert_eq(f.o.refs[0].offset, 100);
    cr_assert_eq(f.o.refs[0].len, OUTBUF_REF_MIN);
    cr_assert_eq(f.o.refs[0].owner, 3);
    cr_assert_eq(b->refs, 2);
    EXPECT(&f, "$16384\r\n\r\n");
    reply_blob(&f.r, b, 100, 3);
    cr_assert_eq(f.o.ref_count, 1);
    EXPECT(&f, "$3\r\nvvv\r\n");
    blob_unpin(&f.m, b);
    end(&f);
}

/* Whatever fails, what stands in the buffer is a sequence of whole replies up to the failure. */
Test(reply, every_failing_allocation_is_survived) {
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct fixture f;
        static char text[2000];

        begin(&f, 3);
        memset(text, 'x', sizeof(text) - 1);
        struct blob *b = blob_create(&f.m, 20000);
        b->len = 20000;
        f.m.fail_in = nth;
        for (int i = 0; i < 20; i++) {
            reply_int(&f.r, i);
            reply_errorf(&f.r, "%s", text);
            reply_blob(&f.r, b, 0, 20000);
            reply_double(&f.r, 0.5);
            reply_verbatim(&f.r, "txt", SPAN("hi"));
            reply_map(&f.r, 1);
        }
        cr_assert_eq(f.m.fail_in, 0, "allocation %" PRIu64 " never came", nth);
        blob_unpin(&f.m, b);
        end(&f);
    }
}
