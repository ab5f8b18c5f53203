/* listpack_test.c: the contract of anax/listpack.h. */
#include "listpack_model.h"
#include "shards/attr.h"
#include "shards/rng.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct span text_of(const char *s) {
    return (struct span){s, strlen(s)};
}

/* A value, once in the listpack that redis-server 7.0 made of it (DUMP of a list). */
static const struct {
    const char *text, *bytes;
    size_t len;
} known[] = {
#define KNOWN(text, bytes)                                                                         \
    { text, bytes, sizeof(bytes) - 1 }
    KNOWN("0", "\x00\x01"),
    KNOWN("127", "\x7f\x01"),
    KNOWN("128", "\xc0\x80\x02"),
    KNOWN("-1", "\xdf\xff\x02"),
    KNOWN("-4096", "\xd0\x00\x02"),
    KNOWN("4095", "\xcf\xff\x02"),
    KNOWN("4096", "\xf1\x00\x10\x03"),
    KNOWN("-4097", "\xf1\xff\xef\x03"),
    KNOWN("32767", "\xf1\xff\x7f\x03"),
    KNOWN("-32768", "\xf1\x00\x80\x03"),
    KNOWN("32768", "\xf2\x00\x80\x00\x04"),
    KNOWN("-32769", "\xf2\xff\x7f\xff\x04"),
    KNOWN("8388607", "\xf2\xff\xff\x7f\x04"),
    KNOWN("-8388608", "\xf2\x00\x00\x80\x04"),
    KNOWN("8388608", "\xf3\x00\x00\x80\x00\x05"),
    KNOWN("-8388609", "\xf3\xff\xff\x7f\xff\x05"),
    KNOWN("2147483647", "\xf3\xff\xff\xff\x7f\x05"),
    KNOWN("-2147483648", "\xf3\x00\x00\x00\x80\x05"),
    KNOWN("2147483648", "\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09"),
    KNOWN("-2147483649", "\xf4\xff\xff\xff\x7f\xff\xff\xff\xff\x09"),
    KNOWN("9223372036854775807", "\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09"),
    KNOWN("-9223372036854775808", "\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09"),
    KNOWN("", "\x80\x01"),
    KNOWN("a", "\x81\x61\x02"),
    KNOWN("01", "\x82\x30\x31\x03"),
    KNOWN("-0", "\x82\x2d\x30\x03"),
    KNOWN("9223372036854775808", "\x93"
                                 "9223372036854775808\x14"),
};

Test(listpack, entries_are_redis_s) {
    uint8_t lp[1024], entry[64];
    lp_init(lp);
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct lp_key k = lp_key_of(text_of(known[i].text));
        cr_assert_eq(lp_entry_bytes_of(&k), known[i].len, "%s", known[i].text);
        cr_assert(lp_entry_put(entry, &k) == entry + known[i].len);
        cr_assert(memcmp(entry, known[i].bytes, known[i].len) == 0, "%s", known[i].text);
        cr_assert_eq(lp_entry_valid(entry, entry + known[i].len), known[i].len);
        cr_assert_eq(lp_entry_valid(entry, entry + known[i].len - 1), 0);
        uint8_t *p = lp_insert(lp, NULL, &k);
        cr_assert(memcmp(p, known[i].bytes, known[i].len) == 0);
        cr_assert(model_is(p, k.text));
        cr_assert(lp_entry_is(p, &k));
    }
    cr_assert(lp_valid(lp, lp_bytes(lp)));
    /* inv 1: none of them is taken for another */
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct lp_key k = lp_key_of(text_of(known[i].text));
        cr_assert(lp_find(lp_first(lp), &k, 0) == lp_at(lp, (int64_t)i));
    }
}

Test(listpack, empty_bytes) {
    uint8_t lp[LP_EMPTY_BYTES];
    struct lp_key k = lp_key_of(SPAN("x"));
    lp_init(lp);
    cr_assert(memcmp(lp, "\x07\0\0\0\0\0\xff", sizeof lp) == 0);
    cr_assert_null(lp_first(lp));
    cr_assert_null(lp_last(lp));
    cr_assert_null(lp_at(lp, 0));
    cr_assert_null(lp_at(lp, -1));
    cr_assert_null(lp_find(lp_first(lp), &k, 0));
    cr_assert(lp_valid(lp, sizeof lp));
    cr_assert_not(lp_valid(lp, sizeof lp - 1));
    cr_assert_not(lp_valid(lp, 0));
}

/* What comes before a text of len bytes, and what behind it. */
static const struct {
    size_t len;
    unsigned head, backlen;
    uint8_t first;
} lengths[] = {
    {62, 1, 1, 0xbe},          {63, 1, 1, 0xbf},          {64, 2, 1, 0xe0},
    {125, 2, 1, 0xe0},         {126, 2, 2, 0xe0},         {255, 2, 2, 0xe0},
    {256, 2, 2, 0xe1},         {4095, 2, 2, 0xef},        {4096, 5, 2, 0xf0},
    {16382 - 5, 5, 2, 0xf0},   {16383 - 5, 5, 3, 0xf0}, /* redis-server 7.0 does it, too */
    {2097150 - 5, 5, 3, 0xf0}, {2097151 - 5, 5, 4, 0xf0}, {2097152 - 5, 5, 4, 0xf0},
};

static void check_length(uint8_t *lp, const char *text, size_t len, unsigned head, unsigned backlen,
                         uint8_t first) {
    struct lp_key before = lp_key_of(SPAN("12345")), behind = lp_key_of(SPAN("behind"));
    struct lp_key k = lp_key_of((struct span){text, len});
    lp_init(lp);
    (void)lp_insert(lp, NULL, &before);
    const uint8_t *p = lp_insert(lp, NULL, &k);
    const uint8_t *last = lp_insert(lp, NULL, &behind);
    cr_assert_eq(lp_entry_bytes_of(&k), head + len + backlen, "%zu", len);
    cr_assert_eq(lp_entry_bytes(p), head + len + backlen, "%zu", len);
    cr_assert_eq(*p, first, "%zu", len);
    cr_assert(lp_next((uint8_t *)(uintptr_t)p) == last);
    cr_assert(lp_last(lp) == last);
    cr_assert(lp_prev(lp, lp_last(lp)) == p);
    cr_assert(lp_prev(lp, lp_prev(lp, lp_last(lp))) == lp_first(lp));
    cr_assert(model_is(p, k.text));
    cr_assert(lp_find(lp_first(lp), &k, 0) == p);
    cr_assert(lp_valid(lp, lp_bytes(lp)));
    k.text.len--;
    cr_assert_null(lp_find(lp_first(lp), &k, 0));
}

Test(listpack, lengths_at_each_boundary) {
    size_t room = lengths[COUNT_OF(lengths) - 1].len + 64;
    uint8_t *lp = malloc(room);
    char *text = malloc(room);
    memset(text, 't', room);
    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        check_length(lp, text, lengths[i].len, lengths[i].head, lengths[i].backlen,
                     lengths[i].first);
    free(lp);
    free(text);
}

Test(listpack, lengths_of_five_bytes) {
    size_t len = (1U << 28) - 1 - 5;
    uint8_t *lp = malloc(len + 64);
    char *text = calloc(len, 1);
    check_length(lp, text, len - 1, 5, 4, 0xf0);
    check_length(lp, text, len, 5, 5, 0xf0);
    free(lp);
    free(text);
}

/* --- against the model --- */

static struct span random_text(struct rng *r, char *room) {
    static const size_t edges[] = {0, 1, 62, 63, 64, 125, 126, 127, 4094, 4095, 4096, 16377, 16378};
    size_t len;
    int64_t num;
    switch (rng_below(r, 8)) {
    case 0:
        len = edges[rng_below(r, COUNT_OF(edges))];
        break;
    case 1:
    case 2:
        len = rng_below(r, 24);
        break;
    case 3: /* few, so that they come again */
        return (struct span){"aaabbb", rng_below(r, 7)};
    default:
        num = (int64_t)(rng_next(r) >> rng_below(r, 64));
        len = strval_format_int(room, rng_below(r, 2) ? num : -num);
        if (rng_below(r, 8) == 0)
            room[rng_below(r, len)] = '-';
        return (struct span){room, len};
    }
    for (size_t i = 0; i < len; i++)
        room[i] = (char)('a' + rng_below(r, 3));
    return (struct span){room, len};
}

Test(listpack, does_what_a_list_of_texts_does) {
    static struct lp_model m;
    static char room[20000];
    struct rng r;
    rng_seed(&r, 5);
    model_init(&m);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned at = (unsigned)rng_below(&r, m.n + 1);
        struct span text = random_text(&r, room);
        switch (rng_below(&r, 5)) {
        case 0:
        case 1:
            if (m.n < 200)
                model_insert(&m, at, text);
            break;
        case 2:
            if (at < m.n)
                model_replace(&m, at, text);
            break;
        case 3:
            if (at < m.n)
                model_remove(&m, at, 1 + (unsigned)rng_below(&r, step % 100 == 0 ? 300 : 2));
            break;
        default:
            model_find(&m, at, (unsigned)rng_below(&r, 3), at < m.n ? m.items[m.n - 1 - at] : text);
            break;
        }
        if (step % 16 == 0)
            model_check(&m);
    }
    model_deinit(&m);
}

/* --- counts --- */

Test(listpack, count_beyond_what_the_header_tells) {
    enum { N = LP_COUNT_UNKNOWN + 3 };
    uint8_t *lp = malloc(LP_EMPTY_BYTES + (N + 1) * LP_GROWTH(1)), *p = NULL;
    struct lp_key k = lp_key_of(SPAN("7")), last = lp_key_of(SPAN("z"));
    lp_init(lp);
    for (uint32_t n = 0; n <= N; n++) {
        if (n >= LP_COUNT_UNKNOWN - 2) {
            cr_assert_eq(lp_count(lp), n);
            cr_assert(lp_valid(lp, lp_bytes(lp)));
            cr_assert(lp_at(lp, (int64_t)n - 1) == lp_last(lp));
            cr_assert(lp_at(lp, -(int64_t)n) == lp_first(lp));
            cr_assert_null(lp_at(lp, n));
            cr_assert_null(lp_at(lp, -(int64_t)n - 1));
            cr_assert_null(lp_at(lp, INT64_MAX));
            cr_assert_null(lp_at(lp, INT64_MIN));
        }
        p = lp_insert(lp, NULL, n < N ? &k : &last);
    }
    cr_assert(lp_find(lp_first(lp), &last, 0) == p);
    cr_assert_null(lp_remove(lp, lp_at(lp, 1), UINT32_MAX));
    cr_assert_eq(lp_count(lp), 1, "once it is not known it is counted");
    cr_assert(lp_valid(lp, lp_bytes(lp)));
    free(lp);
}

Test(listpack, valid_knows_the_count) {
    uint8_t lp[64];
    struct lp_key k = lp_key_of(SPAN("a"));
    lp_init(lp);
    (void)lp_insert(lp, NULL, &k);
    cr_assert(lp_valid(lp, lp_bytes(lp)));
    lp[4] = 2;
    cr_assert_not(lp_valid(lp, lp_bytes(lp)));
    lp[4] = lp[5] = 0xff;
    cr_assert(lp_valid(lp, lp_bytes(lp)));
    cr_assert_eq(lp_count(lp), 1);
}

/* --- inv 3: what is valid can be used --- */

Test(listpack, inv3_of_every_corruption_the_valid_ones_can_be_used) {
    uint8_t lp[1024];
    lp_init(lp);
    for (size_t i = 0; i < COUNT_OF(known); i += 2) {
        struct lp_key k = lp_key_of(text_of(known[i].text));
        (void)lp_insert(lp, NULL, &k);
    }
    char text[130];
    memset(text, 't', sizeof text);
    for (size_t len = 62; len <= 130; len += 34) {
        struct lp_key k = lp_key_of((struct span){text, len});
        (void)lp_insert(lp, NULL, &k);
    }
    size_t len = lp_bytes(lp), taken = 0;
    uint8_t *bad = malloc(len); /* not a byte more */
    memcpy(bad, lp, len);
    for (size_t at = 0; at < len; at++) {
        for (unsigned x = 1; x < 256; x++) {
            bad[at] = (uint8_t)(lp[at] ^ x);
            if (lp_valid(bad, len)) {
                model_use(bad, len);
                taken++;
            }
        }
        bad[at] = lp[at];
    }
    cr_assert_gt(taken, len, "other texts are valid as well");
    free(bad);
    for (size_t cut = 0; cut < len; cut++) {
        bad = malloc(cut + (cut == 0));
        memcpy(bad, lp, cut);
        if (cut >= 4)
            memcpy(bad, &(uint32_t){(uint32_t)cut}, 4);
        cr_assert_not(lp_valid(bad, cut));
        free(bad);
    }
}

Test(listpack, inv1_no_text_has_two_encodings) {
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
#define BAD(bytes) {bytes, sizeof(bytes) - 1}
        BAD("\xc0\x05\x02"),                             /* 5, in 13 bits */
        BAD("\xf1\xff\x0f\x03"),                         /* 4095, in 16 */
        BAD("\xf2\xff\x7f\x00\x04"),                     /* 32767, in 24 */
        BAD("\xf3\x00\x00\x80\xff\x05"),                 /* -8388608, in 32 */
        BAD("\xf4\xff\xff\xff\x7f\x00\x00\x00\x00\x09"), /* 2^31 - 1, in 64 */
        BAD("\x81\x35\x02"),                             /* "5" as a text */
        BAD("\xe0\x01\x61\x03"),                         /* "a" with a length of 12 bits */
        BAD("\xf0\x01\x00\x00\x00\x61\x06"),             /* ... of 32 */
        BAD("\x81\x61\x03"),                             /* a wrong length behind it */
        BAD("\x81\x61\x82"),
        BAD("\xf5\x01"),
        BAD("\xff\x01"),
        BAD("\xf0\xff\xff\xff\xff\x61\x06"),
        BAD("\xe0"),
        BAD("\xf0\x00\x10"),
        BAD(""),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint8_t *p = malloc(bad[i].len + (bad[i].len == 0));
        memcpy(p, bad[i].bytes, bad[i].len);
        cr_assert_eq(lp_entry_valid(p, p + bad[i].len), 0, "%zu", i);
        free(p);
    }
}
