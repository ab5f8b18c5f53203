/* rdb_encode_test.c: the writing half of anax/rdb.h; what it writes is read by the other half. */
#include "../../src/persistence/rdb_types_impl.h"
#include "anax/config.h"
#include "anax/listval.h"
#include "anax/rdb.h"
#include "anax/setval.h"
#include "anax/strval.h"
#include "anax/zsetval.h"
#include "shards/hash.h"
#include "shards/rng.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int64_t SOON_MS = 1900000000000;

static const struct fields_kind hash_kind = {.valued = true, .entries_max = 512, .bytes_max = 64};
static const struct set_kind set_kind = {512, {.entries_max = 128, .bytes_max = 64}};
static const struct zset_kind zset_kind = {128, 64};

static struct mem mem;
static struct config limits;
static struct rng rng;
static char *letters; /* LETTERS of them, by chance */
enum { LETTERS = 1 << 20 };

static void setup(void) {
    uint64_t seed = 3;
    cr_assert(hash_seed(&seed) == OK);
    rng_seed(&rng, 11);
    config_defaults(&limits);
    letters = malloc(LETTERS);
    for (size_t i = 0; i < LETTERS; i++)
        letters[i] = (char)('a' + rng_below(&rng, 20));
}

static void teardown(void) {
    free(letters);
    cr_assert_eq(mem.used_bytes, 0);
}

TestSuite(rdb_encode, .init = setup, .fini = teardown);

/* --- what is written, in stretches of any length --- */

struct sink {
    struct rdb_out out;
    uint8_t *stretch;
    size_t stretch_max;
    uint8_t *bytes;
    size_t len, cap, limit; /* limit: then there is no more room; 0: there always is */
};

static void keep(struct sink *s) {
    size_t n = s->stretch == NULL ? 0 : (size_t)(s->out.at - s->stretch);
    if (s->bytes == NULL || s->len + n > s->cap)
        s->bytes = realloc(s->bytes, s->cap = 2 * (s->len + n) + 1000);
    if (n > 0)
        memcpy(s->bytes + s->len, s->stretch, n);
    s->len += n;
    free(s->stretch);
    s->stretch = NULL;
}

static bool more(struct rdb_out *o) {
    struct sink *s = (struct sink *)o;
    keep(s);
    o->at = o->end = NULL;
    if (s->limit != 0 && s->len >= s->limit)
        return false;
    size_t n = 1 + rng_below(&rng, s->stretch_max);
    s->stretch = malloc(n); /* of its own, so that the sanitizer sees what lies beyond */
    o->at = s->stretch;
    o->end = o->at + n;
    return true;
}

static struct sink sink_of(size_t stretch_max) {
    return (struct sink){.out.more = more, .stretch_max = stretch_max};
}

/* sink_len: what was written until now. */
static size_t sink_len(const struct sink *s) {
    return s->len + (s->stretch == NULL ? 0 : (size_t)(s->out.at - s->stretch));
}

static void sink_free(struct sink *s) {
    keep(s);
    free(s->bytes);
}

/* write_value: the type, then slices of random lengths up to slice_max. */
static uint8_t write_value(struct sink *s, const struct value *v, bool compress, size_t slice_max) {
    struct rdb_encoder e;
    memset(&e, 0xa5, sizeof e);
    rdb_encode_begin(&e, v, compress);
    while (!rdb_encode_some(&e, &s->out, 1 + rng_below(&rng, slice_max))) {
    }
    cr_assert(!s->out.failed);
    keep(s);
    s->out.at = s->out.end = NULL;
    return e.type;
}

/* --- values --- */

static struct value value_of(const struct val *v) {
    return (struct value){.type = v->type, .repr = REPR_OBJECT, .object = val_object(v)};
}

/* val_of: the handle of what was decoded, which may be inline. */
static void val_of(struct val *v, const struct value *from) {
    if (from->repr == REPR_OBJECT) {
        val_of_object(v, &mem, from->object);
        return;
    }
    uint8_t form = from->repr == REPR_RAW ? VAL_INTSET : VAL_LISTPACK;
    uint32_t len = (uint32_t)from->bytes.len;
    val_of_bytes(v, &mem, from->type, form, (uint8_t *)(uintptr_t)from->bytes.ptr, len, len);
}

/* What the texts of a value are like. */
enum kind { INTS, SHORT, LONG, TIMED, ONE_LENGTH, KINDS };

struct text {
    struct span s;
    char room[40];
};

static void text_of(struct text *t, enum kind kind, unsigned i, bool second) {
    static const int64_t step[] = {1, 300, 70000, 5000000000};
    int n =
        kind == INTS ? snprintf(t->room, sizeof t->room, "%lld", (long long)(i * step[i % 4]) - 100)
        : kind == ONE_LENGTH ? snprintf(t->room, sizeof t->room, "%08x!", i)
                             : snprintf(t->room, sizeof t->room, "%s%u", second ? "" : "no. ", i);
    t->s = (struct span){t->room, (size_t)n};
    if (kind == LONG && i % (second ? 41 : 37) == 3) {
        /* Around what is compressed, and what is written in slices. */
        static const size_t lens[] = {20, 21, 63, 64, 16383, 16384, 65535, 65536, 65537, 200000};
        t->s = (struct span){letters + i, lens[i / 37 % COUNT_OF(lens)]};
    }
}

static void fill(struct val *v, uint8_t type, enum kind kind, unsigned n) {
    struct listval_limits l = listval_limits_of(-2);
    val_init(v, &mem, type);
    for (unsigned i = 0; i < n; i++) {
        struct text a, b;
        uint64_t added;
        text_of(&a, kind, i, false);
        text_of(&b, kind, i, true);
        struct span pair[] = {a.s, b.s};
        struct field_time time = {a.s, SOON_MS + (int64_t)i * 77777};
        struct fields_put put = {.names = pair, .n = 1};
        struct zset_pair element = {a.s, i % 7 == 0 ? (double)i : -10 + i * 0.1};
        struct zset_added zadded;
        bool timed = kind == TIMED && i % 3 == 0;
        if (i % 1000 == 999)
            element.score = i % 2000 == 999 ? INFINITY : -INFINITY;
        if (type == VALUE_HASH)
            cr_assert(fields_put(v, &hash_kind, &put, 0, &added) &&
                      (!timed || fields_set_times(v, &hash_kind, &time, 1, 0)));
        else if (type == VALUE_SET)
            cr_assert(setval_add(v, &set_kind, pair, 1, 0, &added) &&
                      (!timed || setval_set_times(v, &set_kind, &time, 1, 0)));
        else if (type == VALUE_ZSET)
            cr_assert(zsetval_add(v, &zset_kind, 0, &element, 1, &zadded));
        else
            cr_assert(listval_push(v, LISTVAL_TAIL, &b.s, 1, &l));
    }
}

/* --- the same? --- */

static void same_hash(const struct val *a, const struct val *b) {
    struct fields_iter i;
    struct field f, g;
    cr_assert_eq(fields_count(b, &hash_kind), fields_count(a, &hash_kind));
    for (fields_begin(&i, a, &hash_kind, 0); fields_next(&i, &f);) {
        cr_assert(fields_find(b, &hash_kind, f.name, 0, &g));
        cr_assert(span_eq(g.value, f.value));
        cr_assert_eq(g.expire_ms, f.expire_ms);
    }
}

static void same_set(const struct val *a, const struct val *b) {
    struct set_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    cr_assert_eq(setval_count(b), setval_count(a));
    for (setval_begin(&i, a, &set_kind, 0); setval_next(&i, &item);)
        cr_assert(setval_find(b, &set_kind, lp_item_text(&item, digits), 0, NULL));
}

static void same_zset(const struct val *a, const struct val *b) {
    struct zset_iter i, j;
    struct zset_item x, y;
    cr_assert_eq(zsetval_count(b), zsetval_count(a));
    zsetval_begin(&j, b, 0, false);
    for (zsetval_begin(&i, a, 0, false); zsetval_next(&i, &x);) {
        cr_assert(zsetval_next(&j, &y));
        cr_assert(span_eq(x.member, y.member));
        cr_assert_eq(x.score, y.score);
    }
}

static void same_list(const struct val *a, const struct val *b) {
    struct listval_iter i, j;
    struct lp_item x, y;
    char digits[2][STRVAL_INT_BYTES];
    cr_assert_eq(listval_count(b), listval_count(a));
    listval_begin(&j, b, 0, false);
    for (listval_begin(&i, a, 0, false); listval_next(&i, &x);) {
        cr_assert(listval_next(&j, &y));
        cr_assert(span_eq(lp_item_text(&x, digits[0]), lp_item_text(&y, digits[1])));
    }
}

static void same(const struct val *a, const struct val *b) {
    static void (*const by_type[])(const struct val *,
                                   const struct val *) = {[VALUE_LIST] = same_list,
                                                          [VALUE_SET] = same_set,
                                                          [VALUE_ZSET] = same_zset,
                                                          [VALUE_HASH] = same_hash};
    cr_assert_eq(a->type, b->type);
    by_type[a->type](a, b);
}

static void check_round_trip(const struct val *v, bool compress, size_t stretch_max,
                             size_t slice_max) {
    struct value from = value_of(v), to;
    struct sink s = sink_of(stretch_max);
    struct rdb_scratch scratch = {.mem = &mem};
    uint8_t type = write_value(&s, &from, compress, slice_max);
    struct rdb_in in = {.at = s.bytes, .end = s.bytes + s.len};
    cr_assert_eq(rdb_skip_value(&in, type), RDB_OK, "%s", in.why);
    cr_assert(in.at == in.end);
    in.at = s.bytes;
    cr_assert_eq(rdb_decode_value(&in, type, &scratch, &limits, 0, &to), RDB_OK, "%s", in.why);
    cr_assert(in.at == in.end);
    struct val back;
    val_of(&back, &to);
    same(v, &back);
    if (to.repr == REPR_OBJECT)
        val_destroy(&back);
    mem_free(&mem, scratch.bytes, scratch.cap);
    sink_free(&s);
}

static const unsigned counts[] = {1, 2, 50, 128, 129, 600, 3000};

Test(rdb_encode, inv3_every_form_decodes_to_an_equal_value) {
    static const uint8_t types[] = {VALUE_LIST, VALUE_SET, VALUE_ZSET, VALUE_HASH};
    bool seen[VAL_FORMS] = {false};
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (enum kind kind = 0; kind < KINDS; kind++)
            for (size_t n = 0; n < COUNT_OF(counts); n++) {
                struct val v;
                fill(&v, types[t], kind, counts[n]);
                seen[v.form] = true;
                check_round_trip(&v, false, 1 << 20, SIZE_MAX - 1);
                check_round_trip(&v, true, 1 << 20, SIZE_MAX - 1);
                size_t stretch_max = kind == LONG ? 3000 : 1 + rng_below(&rng, 300);
                check_round_trip(&v, n % 2 == 0, stretch_max, 30000);
                check_round_trip(&v, n % 2 == 1, 5000, 1 + rng_below(&rng, 10000));
                val_destroy(&v);
            }
    for (unsigned form = VAL_LISTPACK; form <= VAL_TREE; form++)
        cr_assert(seen[form], "%s", val_form_name((uint8_t)form));
}

Test(rdb_encode, inv3_strings) {
    static const int64_t ints[] = {0,          127,        -128,      128,       32767,    -32769,
                                   2147483647, 2147483648, INT32_MIN, INT64_MIN, INT64_MAX};
    static const size_t lens[] = {0,    1,    11,    20,    21,    63,    64,
                                  1023, 1024, 16383, 16384, 65536, 65537, 1000000};
    struct rdb_scratch scratch = {.mem = &mem};
    for (unsigned i = 0; i < 2 * (COUNT_OF(ints) + COUNT_OF(lens)); i++) {
        unsigned at = i / 2;
        struct value v = {.repr = REPR_INT}, to;
        if (at < COUNT_OF(ints))
            v.integer = ints[at];
        else
            v = (struct value){.repr = REPR_RAW, .bytes = {letters + i, lens[at - COUNT_OF(ints)]}};
        struct sink s = sink_of(i % 3 == 0 ? 9 : 100000);
        uint8_t type = write_value(&s, &v, i % 2 == 0, 3000);
        cr_assert_eq(type, RDB_STRING);
        struct rdb_in in = {.at = s.bytes, .end = s.bytes + s.len};
        cr_assert_eq(rdb_decode_value(&in, type, &scratch, &limits, 0, &to), RDB_OK);
        cr_assert(in.at == in.end);
        if (v.repr == REPR_INT) {
            cr_assert_eq(to.repr, REPR_INT);
            cr_assert_eq(to.integer, v.integer);
        } else if (to.repr == REPR_OBJECT) {
            struct blob *b = to.object;
            cr_assert(span_eq((struct span){b->data, b->len}, v.bytes));
            blob_unpin(&mem, b);
        } else {
            cr_assert(span_eq(to.bytes, v.bytes));
        }
        sink_free(&s);
    }
    mem_free(&mem, scratch.bytes, scratch.cap);
}

/* --- the bytes themselves --- */

static void expect_bytes(const struct val *v, const char *bytes, size_t len) {
    struct value from = value_of(v);
    struct sink s = sink_of(100);
    uint8_t type = write_value(&s, &from, false, 100);
    cr_assert_eq(type, (uint8_t)bytes[0]);
    cr_assert_eq(s.len, len - 1);
    cr_assert(memcmp(s.bytes, bytes + 1, s.len) == 0);
    sink_free(&s);
}
#define EXPECT(v, literal) expect_bytes(v, "" literal, sizeof(literal) - 1)

static void add_fields(struct val *v, const char *const *texts, uint32_t n) {
    uint64_t added;
    val_init(v, &mem, VALUE_HASH);
    for (uint32_t i = 0; i < n; i++) {
        struct span pair[] = {{texts[2 * i], strlen(texts[2 * i])},
                              {texts[2 * i + 1], strlen(texts[2 * i + 1])}};
        struct fields_put put = {.names = pair, .n = 1};
        cr_assert(fields_put(v, &hash_kind, &put, 0, &added));
    }
}

Test(rdb_encode, bytes_are_those_of_redis_7) {
    /* As redis-server 7.0.15 dumps SADD 1 2 70000 and HSET a 1 b two. */
    static const char *const fields[] = {"a", "1", "b", "two"};
    struct span ints[] = {SPAN("1"), SPAN("2"), SPAN("70000")};
    struct val v;
    uint64_t added;
    val_init(&v, &mem, VALUE_SET);
    cr_assert(setval_add(&v, &set_kind, ints, 3, 0, &added));
    cr_assert(val_room(&v, 200), "a block, as an object has it");
    EXPECT(&v, "\x0b\x14\4\0\0\0\3\0\0\0\1\0\0\0\2\0\0\0\x70\x11\1\0");
    val_destroy(&v);
    add_fields(&v, fields, 2);
    cr_assert(val_room(&v, 200));
    EXPECT(&v, "\x10\x14\x14\0\0\0\4\0\x81\x61\2\1\1\x81\x62\2\x83\x74\x77\x6f\4\xff");
    val_destroy(&v);
}

Test(rdb_encode, bytes_of_times_are_those_of_redis_8) {
    static const char *const fields[] = {"a", "1", "b", "two"};
    struct field_time time = {SPAN("b"), 0x0000010203040506};
    static char name[70];
    struct val v;
    memset(name, 'n', sizeof name);
    add_fields(&v, fields, 2);
    cr_assert(fields_set_times(&v, &hash_kind, &time, 1, 0));
    /* Rows by time, those without one last; 6 bytes of time are an integer of 8. */
    EXPECT(&v, "\x19\6\5\4\3\2\1\0\0\x20\x20\0\0\0\6\0"
               "\x81\x62\2\x83\x74\x77\x6f\4\xf4\6\5\4\3\2\1\0\0\x09\x81\x61\2\1\1\0\1\xff");
    val_destroy(&v);
    val_init(&v, &mem, VALUE_HASH);
    uint64_t added;
    struct span pair[] = {{name, sizeof name}, SPAN("1")};
    struct fields_put put = {
        .names = pair, .n = 1, .time = FIELDS_TIME_SET, .expire_ms = 0x0000010203040506};
    cr_assert(fields_put(&v, &hash_kind, &put, 0, &added));
    cr_assert_eq(v.form, VAL_TABLE);
    char expected[1 + 8 + 1 + 1 + 2 + 70 + 2] = "\x18\6\5\4\3\2\1\0\0\1\1\x40\x46";
    memset(expected + 13, 'n', 70);
    memcpy(expected + 83, "\xc0\1", 2);
    struct value from = value_of(&v);
    struct sink s = sink_of(100);
    cr_assert_eq(write_value(&s, &from, false, 1000), RDB_HASH_METADATA);
    cr_assert_eq(s.len, sizeof expected - 1);
    cr_assert(memcmp(s.bytes, expected + 1, s.len) == 0);
    sink_free(&s);
    val_destroy(&v);
}

Test(rdb_encode, bytes_of_lists) {
    struct listval_limits l = listval_limits_of(-2);
    struct span two[] = {SPAN("5"), SPAN("ab")};
    struct val v;
    val_init(&v, &mem, VALUE_LIST);
    cr_assert(listval_push(&v, LISTVAL_TAIL, two, 2, &l));
    /* One packed node. */
    EXPECT(&v, "\x12\1\2\x0d\x0d\0\0\0\2\0\5\1\x82\x61\x62\3\xff");
    val_destroy(&v);
    /* Two of one length, and a long one: in chunks the first are no listpack in memory. */
    struct span long_one = {letters, 20000};
    cr_assert(listval_push(&v, LISTVAL_TAIL, &long_one, 1, &l));
    cr_assert(listval_push(&v, LISTVAL_TAIL, &two[1], 1, &l));
    cr_assert(listval_push(&v, LISTVAL_TAIL, &two[1], 1, &l));
    struct value from = value_of(&v);
    struct sink s = sink_of(100000);
    cr_assert_eq(write_value(&s, &from, false, 100000), RDB_LIST_QUICKLIST_2);
    static const char head[] = "\2\1\x80\0\0\x4e\x20";
    static const char tail[] = "\2\x0f\x0f\0\0\0\2\0\x82\x61\x62\3\x82\x61\x62\3\xff";
    cr_assert_eq(s.len, sizeof head - 1 + 20000 + sizeof tail - 1);
    cr_assert(memcmp(s.bytes, head, sizeof head - 1) == 0);
    cr_assert(memcmp(s.bytes + sizeof head - 1, letters, 20000) == 0);
    cr_assert(memcmp(s.bytes + sizeof head - 1 + 20000, tail, sizeof tail - 1) == 0);
    sink_free(&s);
    val_destroy(&v);
}

Test(rdb_encode, lengths_and_strings) {
    static const struct {
        uint64_t len;
        const char *bytes;
        size_t n;
    } lens[] = {{0, "\0", 1},
                {63, "\x3f", 1},
                {64, "\x40\x40", 2},
                {16383, "\x7f\xff", 2},
                {16384, "\x80\0\0\x40\0", 5},
                {UINT32_MAX, "\x80\xff\xff\xff\xff", 5},
                {1ULL << 32, "\x81\0\0\0\1\0\0\0\0", 9}};
    static const struct {
        const char *text, *bytes;
        size_t n;
    } strings[] = {{"", "\0", 1},
                   {"a", "\1\x61", 2},
                   {"-1", "\xc0\xff", 2},
                   {"128", "\xc1\x80\0", 3},
                   {"-32769", "\xc2\xff\x7f\xff\xff", 5},
                   {"2147483648", "\x0a\x32\x31\x34\x37\x34\x38\x33\x36\x34\x38", 11},
                   {"01", "\2\x30\x31", 3},
                   {"-0", "\2\x2d\x30", 3},
                   {"-", "\1\x2d", 2},
                   {"aaaaaaaaaaaaaaaaaaaaa", "\xc3\4\x15\1\x61\x61\xe0\x0a\0", 8}};
    for (size_t stretch = 1; stretch < 12; stretch++) {
        for (size_t i = 0; i < COUNT_OF(lens); i++) {
            struct sink s = sink_of(stretch);
            rdb_put_len(&s.out, lens[i].len);
            keep(&s);
            cr_assert_eq(s.len, lens[i].n);
            cr_assert(memcmp(s.bytes, lens[i].bytes, s.len) == 0);
            sink_free(&s);
        }
        for (size_t i = 0; i < COUNT_OF(strings); i++) {
            struct sink s = sink_of(stretch);
            rdb_put_string(&s.out, (struct span){strings[i].text, strlen(strings[i].text)}, true);
            keep(&s);
            if ((uint8_t)strings[i].bytes[0] == RDB_ENCODED_LZF) { /* as liblzf finds it */
                cr_assert_eq(s.bytes[0], RDB_ENCODED_LZF);
                cr_assert_eq(s.bytes[2], strlen(strings[i].text));
                cr_assert_eq(s.len, 3U + s.bytes[1]);
            } else {
                cr_assert_eq(s.len, strings[i].n);
                cr_assert(memcmp(s.bytes, strings[i].bytes, s.len) == 0);
            }
            sink_free(&s);
        }
    }
}

/* --- keys, expiries, times of members --- */

static void put_key(struct sink *s, const struct value *v, struct span key, int64_t expire_ms,
                    size_t slice_max) {
    struct rdb_encoder e;
    rdb_encode_begin(&e, v, false);
    while (slice_max != 0 && !rdb_encode_times(&e, &s->out, 1 + rng_below(&rng, slice_max))) {
    }
    rdb_encode_key(&e, &s->out, key, expire_ms);
    while (!rdb_encode_some(&e, &s->out, 1 + rng_below(&rng, 5000))) {
    }
    keep(s);
    s->out.at = s->out.end = NULL;
}

Test(rdb_encode, a_key_has_its_expiry_before_it) {
    struct value v = {.repr = REPR_INT, .integer = 7};
    struct sink s = sink_of(3);
    put_key(&s, &v, SPAN("key"), 0x0102030405060708, 0);
    put_key(&s, &v, SPAN("12"), EXPIRE_NEVER, 0);
    static const char bytes[] = "\xfc\x08\7\6\5\4\3\2\1\0\3key\xc0\7"
                                "\0\xc0\x0c\xc0\7";
    cr_assert_eq(s.len, sizeof bytes - 1);
    cr_assert(memcmp(s.bytes, bytes, s.len) == 0);
    sink_free(&s);
}

/* read_times: gives the members of `back` the times that stand in fields; `in` is at the key's record then. */
static unsigned read_times(struct rdb_in *in, struct rdb_scratch *scratch, struct val *back) {
    unsigned fields = 0;
    struct span s;
    for (; *in->at == RDB_OP_AUX; fields++) {
        in->at++;
        cr_assert_eq(rdb_get_string(in, scratch, &s), RDB_OK);
        cr_assert(span_eq(s, SPAN(RDB_AUX_MEMBER_TTLS)));
        cr_assert_eq(rdb_get_string(in, scratch, &s), RDB_OK);
        struct rdb_in pairs = {.at = (const uint8_t *)s.ptr, .end = (const uint8_t *)s.ptr + s.len};
        cr_assert_lt(pairs.at, pairs.end);
        while (back != NULL && pairs.at < pairs.end) {
            struct field_time t;
            uint64_t len;
            cr_assert_eq(rdb_get_len(&pairs, &len), RDB_OK);
            t.name = (struct span){(const char *)pairs.at, len};
            cr_assert_geq((size_t)(pairs.end - pairs.at), len + 8);
            memcpy(&t.expire_ms, pairs.at + len, 8);
            pairs.at += len + 8;
            cr_assert(setval_set_times(back, &set_kind, &t, 1, 0));
        }
    }
    return fields;
}

static void check_times(const struct val *v, size_t stretch_max, size_t slice_max) {
    struct value from = value_of(v), to;
    struct sink s = sink_of(stretch_max);
    struct rdb_scratch scratch = {.mem = &mem};
    struct val back;
    put_key(&s, &from, SPAN("k"), EXPIRE_NEVER, slice_max);
    struct rdb_in in = {.at = s.bytes, .end = s.bytes + s.len}, again = in;
    unsigned fields = read_times(&in, &scratch, NULL);
    cr_assert_geq(fields, 1U);
    cr_assert_eq(*in.at, RDB_SET);
    in.at += 3;
    cr_assert_eq(rdb_decode_value(&in, RDB_SET, &scratch, &limits, 0, &to), RDB_OK);
    val_of(&back, &to);
    uint8_t copy[ENTRY_INLINE_MAX];
    if (to.repr != REPR_OBJECT) { /* the scratch is used again */
        memcpy(copy, back.bytes, back.len);
        back.bytes = copy;
    }
    cr_assert_eq(read_times(&again, &scratch, &back), fields);
    same_set(v, &back);
    struct set_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    int64_t expire_ms;
    for (setval_begin(&i, v, &set_kind, 0); setval_next(&i, &item);) {
        int64_t was = i.expire_ms;
        cr_assert(setval_find(&back, &set_kind, lp_item_text(&item, digits), 0, &expire_ms));
        cr_assert_eq(expire_ms, was);
    }
    val_destroy(&back);
    mem_free(&mem, scratch.bytes, scratch.cap);
    sink_free(&s);
}

Test(rdb_encode, times_of_members_stand_before_their_set) {
    for (size_t n = 0; n < COUNT_OF(counts); n++) {
        struct val v;
        fill(&v, VALUE_SET, TIMED, counts[n]);
        check_times(&v, 100000, 0);
        check_times(&v, 7, 200);
        check_times(&v, 1000, 100000);
        val_destroy(&v);
    }
}

Test(rdb_encode, times_of_long_members_and_of_some_beside_bitmaps) {
    struct val v;
    uint64_t added;
    fill(&v, VALUE_SET, INTS, 3000);
    cr_assert_eq(v.form, VAL_ROARING);
    static const size_t lens[] = {1, 63, 64, 4000, 4079, 4080, 4096, 16384, 70000, 300000};
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        struct span name = {letters + i, lens[i]};
        cr_assert(
            setval_add_timed(&v, &set_kind, &name, 1, false, SOON_MS + (int64_t)i, 0, &added));
    }
    cr_assert_eq(v.form, VAL_ROARING);
    check_times(&v, 100000, 0);
    check_times(&v, 5000, 3000);
    check_times(&v, 30, 100);
    val_destroy(&v);
}

Test(rdb_encode, without_times_the_oldest_format_does) {
    for (unsigned timed = 0; timed < 2; timed++)
        for (uint8_t type = VALUE_LIST; type <= VALUE_HASH; type++) {
            struct val v;
            struct rdb_encoder e;
            fill(&v, type, timed ? TIMED : SHORT, 200);
            struct value from = value_of(&v);
            rdb_encode_begin(&e, &from, true);
            bool newer = timed && type == VALUE_HASH;
            cr_assert_eq(e.version, newer ? RDB_VERSION_FIELD_TTL : RDB_VERSION_LOW);
            cr_assert_eq(e.type == RDB_HASH_METADATA || e.type == RDB_HASH_LISTPACK_EX, newer);
            val_destroy(&v);
        }
    /* The last time has been taken away. */
    for (unsigned n = 1; n <= 1000; n += 999) {
        struct val v;
        struct rdb_encoder e;
        fill(&v, VALUE_HASH, TIMED, n);
        cr_assert_eq(v.form, n == 1 ? VAL_LISTPACK_TTL : VAL_TABLE);
        for (unsigned i = 0; i < n; i++) {
            struct text name;
            text_of(&name, TIMED, i, false);
            struct field_time never = {name.s, FIELDS_NEVER};
            cr_assert(fields_set_times(&v, &hash_kind, &never, 1, 0));
        }
        struct value from = value_of(&v);
        rdb_encode_begin(&e, &from, true);
        cr_assert_eq(e.type, RDB_HASH);
        cr_assert_eq(e.version, RDB_VERSION_LOW);
        check_round_trip(&v, false, 100, 100);
        val_destroy(&v);
    }
}

/* --- slices, and when there is no more room --- */

Test(rdb_encode, a_slice_is_about_as_long_as_it_is_told) {
    static const uint8_t types[] = {VALUE_LIST, VALUE_SET, VALUE_ZSET, VALUE_HASH};
    enum { CHUNK = 2 * 8192, ROW = 2 * 65600 };
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (enum kind kind = SHORT; kind < KINDS; kind++) {
            struct val v;
            struct rdb_encoder e;
            fill(&v, types[t], kind, 3000);
            struct value from = value_of(&v);
            struct sink s = sink_of(1000000);
            rdb_encode_begin(&e, &from, false);
            size_t whole = types[t] == VALUE_LIST ? CHUNK : kind == LONG ? ROW : 100;
            if (types[t] == VALUE_LIST && kind == LONG)
                whole = ROW;
            unsigned slices = 0;
            for (bool last = false; !last; slices++) {
                size_t before = sink_len(&s);
                last = rdb_encode_some(&e, &s.out, 1000);
                cr_assert_leq(sink_len(&s) - before, 1000 + whole);
            }
            cr_assert_geq(slices, sink_len(&s) / (1000 + whole));
            sink_free(&s);
            val_destroy(&v);
        }
    struct value large = {.repr = REPR_RAW, .bytes = {letters, LETTERS}};
    struct rdb_encoder e;
    struct sink s = sink_of(5000);
    rdb_encode_begin(&e, &large, false);
    unsigned slices = 1;
    for (; !rdb_encode_some(&e, &s.out, 16384); slices++)
        cr_assert_leq(sink_len(&s), slices * 16384U + 5);
    cr_assert_eq(slices, LETTERS / 16384);
    sink_free(&s);
}

Test(rdb_encode, long_texts_are_compressed_in_pieces) {
    /* Piece for piece it is less, or not; a last piece of one byte. */
    static const size_t lens[] = {65537, 65536 * 2 - 1, 65536 * 3 + 1, 65536 * 5 + 30000};
    enum { TEXTS = 4 };
    struct rdb_scratch scratch = {.mem = &mem};
    char *text = malloc(LETTERS);
    for (unsigned i = 0; i < COUNT_OF(lens) * TEXTS; i++) {
        size_t len = lens[i / TEXTS];
        for (size_t at = 0; at < len; at++) {
            bool random = i % TEXTS == 1 || (i % TEXTS == 2 && at / 65536 % 2 == 0);
            text[at] = random ? (char)rng_next(&rng) : i % TEXTS == 3 ? letters[at] : 'x';
        }
        struct value v = {.repr = REPR_RAW, .bytes = {text, len}}, to;
        struct sink s = sink_of(9000);
        struct rdb_encoder e;
        rdb_encode_begin(&e, &v, true);
        unsigned slices = 1;
        for (size_t before = 0; !rdb_encode_some(&e, &s.out, 1000); slices++) {
            cr_assert_leq(sink_len(&s) - before, 65536 + 2048 + 32);
            before = sink_len(&s);
        }
        keep(&s);
        cr_assert_geq(slices, len / 65536 + 1, "measured, and written");
        if (i % TEXTS == 1 || i == 2)
            cr_assert_eq(s.len, len + 5, "of a random piece and one byte, too");
        else if (i % TEXTS == 0)
            cr_assert_leq(s.len, len / 80);
        else
            cr_assert_lt(s.len, len - len / 10);
        struct rdb_in in = {.at = s.bytes, .end = s.bytes + s.len};
        cr_assert_eq(rdb_decode_value(&in, RDB_STRING, &scratch, &limits, 0, &to), RDB_OK);
        cr_assert(in.at == in.end);
        struct blob *b = to.object;
        cr_assert(span_eq((struct span){b->data, b->len}, v.bytes));
        blob_unpin(&mem, b);
        sink_free(&s);
    }
    free(text);
    mem_free(&mem, scratch.bytes, scratch.cap);
}

Test(rdb_encode, what_has_no_room_is_dropped) {
    static const uint8_t types[] = {VALUE_LIST, VALUE_SET, VALUE_ZSET, VALUE_HASH};
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (unsigned i = 0; i < 60; i++) {
            struct val v;
            struct rdb_encoder e;
            fill(&v, types[t], i % KINDS, i % 2 == 0 ? 10 : 1000);
            struct value from = value_of(&v);
            struct sink s = sink_of(300);
            s.limit = 1 + rng_below(&rng, 400);
            rdb_encode_begin(&e, &from, i % 3 == 0);
            rdb_encode_key(&e, &s.out, SPAN("key"), 5);
            while (!rdb_encode_some(&e, &s.out, 500)) {
            }
            keep(&s);
            bool all = !s.out.failed;
            cr_assert(all || s.len >= s.limit);
            cr_assert(all || s.len < s.limit + 300);
            sink_free(&s);
            val_destroy(&v);
        }
}
