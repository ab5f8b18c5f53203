#include "../../src/persistence/digest_impl.h"
#include "../../src/persistence/streamval_impl.h"
#include "anax/config.h"
#include "anax/val.h"
#include "rdb_file.h"
#include "shards/blob.h"
#include "shards/hash.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 1 << 20, SMALL_BYTES = 1500, FAILURES_MAX = 5000 };
static const int64_t NOW_MS = 1700000000000;

static struct mem mem;
static struct rdb_scratch scratch;
static struct config limits, tight;
static struct rng rng;

static void setup(void) {
    uint64_t seed = 7;
    cr_assert_eq(hash_seed(&seed), OK);
    rng_seed(&rng, 42);
    mem = (struct mem){0};
    scratch = (struct rdb_scratch){.mem = &mem};
    config_defaults(&limits);
    tight = limits; /* nothing fits a flat form */
    tight.hash_listpack_entries_max = tight.set_listpack_entries_max = 0;
    tight.zset_listpack_entries_max = tight.set_intset_entries_max = 0;
    tight.list_listpack_size_max = 1;
}

static void free_scratch(void) {
    mem_free(&mem, scratch.bytes, scratch.cap);
    scratch = (struct rdb_scratch){.mem = &mem};
}

/* teardown: whatever was decoded, or was not, has left nothing behind. */
static void teardown(void) {
    free_scratch();
    cr_assert_eq(mem.used_bytes, 0);
}

TestSuite(rdb_decode, .init = setup, .fini = teardown);

static void drop(const struct value *v) {
    struct val val;
    if (v->repr != REPR_OBJECT || v->object == NULL)
        return;
    if (v->type == VALUE_STRING) {
        blob_unpin(&mem, v->object);
        return;
    }
    val_of_object(&val, &mem, v->object);
    val_destroy(&val);
}

static struct digest digest_of(const struct value *v) {
    struct digest d = {{0}};
    cr_assert(digest_value(&d, v, EXPIRE_NEVER, NOW_MS, &mem));
    return d;
}

/* --- bytes that a test makes --- */

struct bytes {
    uint8_t at[4096];
    size_t len;
};

static void put(struct bytes *b, const void *bytes, size_t len) {
    cr_assert_leq(b->len + len, sizeof b->at);
    memcpy(b->at + b->len, bytes, len);
    b->len += len;
}

static void put_byte(struct bytes *b, unsigned byte) {
    uint8_t v = (uint8_t)byte;
    put(b, &v, 1);
}

static void put_text(struct bytes *b, const char *text) {
    put_byte(b, (unsigned)strlen(text));
    put(b, text, strlen(text));
}

static void put_score(struct bytes *b, double score) {
    put(b, &score, sizeof score);
}

static struct rdb_in in_of(const struct bytes *b) {
    return (struct rdb_in){.at = b->at, .end = b->at + b->len};
}

static enum rdb_result decode(const struct bytes *b, uint8_t type, struct rdb_in *in,
                              struct value *v) {
    *in = in_of(b);
    return rdb_decode_value(in, type, &scratch, &limits, NOW_MS, v);
}

static void refuses(const struct bytes *b, uint8_t type, const char *why) {
    struct rdb_in in;
    struct value v;
    cr_assert_eq(decode(b, type, &in, &v), RDB_CORRUPT, "%s", why);
    cr_assert_str_eq(in.why, why);
    cr_assert_eq(in.at, b->at);
    cr_assert_geq(in.bad, b->at);
    cr_assert_leq(in.bad, in.end);
}

/* takes: and it is what commands would call `encoding`. */
static void takes(const struct bytes *b, uint8_t type, const char *encoding) {
    struct rdb_in in;
    struct value v;
    cr_assert_eq(decode(b, type, &in, &v), RDB_OK, "%s: %s", encoding, in.why);
    cr_assert_eq(in.at, in.end);
    struct val val;
    if (v.repr == REPR_OBJECT)
        val_of_object(&val, &mem, v.object);
    else
        val_of_bytes(&val, &mem, v.type, v.repr == REPR_RAW ? VAL_INTSET : VAL_LISTPACK,
                     (uint8_t *)(uintptr_t)v.bytes.ptr, (uint32_t)v.bytes.len,
                     (uint32_t)v.bytes.len);
    cr_assert_str_eq(val_encoding(&val), encoding);
    drop(&v);
}

/* --- lengths and strings --- */

Test(rdb_decode, lengths) {
    static const struct {
        const char *bytes;
        size_t len;
        uint64_t is;
    } cases[] = {{"\x00", 1, 0},
                 {"\x3f", 1, 63},
                 {"\x40\x40", 2, 64},
                 {"\x7f\xff", 2, 16383},
                 {"\x80\x00\x00\x40\x00", 5, 16384},
                 {"\x80\xff\xff\xff\xff", 5, UINT32_MAX},
                 {"\x81\x00\x00\x00\x01\x00\x00\x00\x00", 9, 1ULL << 32},
                 {"\x81\xff\xff\xff\xff\xff\xff\xff\xff", 9, UINT64_MAX}};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t len = 0; len <= cases[i].len; len++) {
            const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
            struct rdb_in in = {.at = bytes, .end = bytes + len};
            uint64_t n;
            enum rdb_result r = rdb_get_len(&in, &n);
            cr_assert_eq(r, len < cases[i].len ? RDB_MORE : RDB_OK);
            cr_assert_eq(in.at, r == RDB_OK ? in.end : bytes);
            cr_assert(r != RDB_OK || n == cases[i].is);
        }
}

Test(rdb_decode, bad_lengths) {
    static const char *const cases[] = {"\x82", "\xbf", "\xc0", "\xc3", "\xff"};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rdb_in in = {.at = (const uint8_t *)cases[i], .end = (const uint8_t *)cases[i] + 1};
        uint64_t n;
        cr_assert_eq(rdb_get_len(&in, &n), RDB_CORRUPT);
        cr_assert_eq(in.bad, (const uint8_t *)cases[i]);
    }
}

static void string_is(const char *bytes, size_t len, const char *text) {
    struct rdb_in in = {.at = (const uint8_t *)bytes, .end = (const uint8_t *)bytes + len};
    struct span s;
    cr_assert_eq(rdb_get_string(&in, &scratch, &s), RDB_OK);
    cr_assert_eq(in.at, in.end);
    cr_assert(span_eq(s, (struct span){text, strlen(text)}), "%.*s", (int)s.len, s.ptr);
}

Test(rdb_decode, strings) {
    string_is("\x00", 1, "");
    string_is("\x03"
              "abc",
              4, "abc");
    string_is("\xc0\x80", 2, "-128");
    string_is("\xc1\x00\x80", 3, "-32768");
    string_is("\xc2\xff\xff\xff\x7f", 5, "2147483647");
    /* a, then 29 more of it by a reference */
    string_is("\xc3\x05\x1e\x00"
              "a\xe0\x14\x00",
              8, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

Test(rdb_decode, bad_strings) {
    static const struct {
        const char *bytes, *why;
        size_t len;
    } cases[] = {
        {"\xc4", "a string in an encoding that is not known", 1},
        {"\x80\x20\x00\x00\x01", "a string of more than 512 MiB", 5},
        {"\xc3\x01\x80\x00\x00\x00\x59",
         "a compressed string that claims to be longer than it can be", 7},
        {"\xc3\x80\x20\x00\x00\x01\x01", "a compressed string of more than 512 MiB", 7},
        {"\xc3\x02\x05\xe0\x00", "a compressed string that cannot be unpacked", 5},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const uint8_t *at = (const uint8_t *)cases[i].bytes;
        struct rdb_in in = {.at = at, .end = at + cases[i].len};
        struct span s;
        cr_assert_eq(rdb_get_string(&in, &scratch, &s), RDB_CORRUPT, "%s", cases[i].why);
        cr_assert_str_eq(in.why, cases[i].why);
        cr_assert_eq(in.at, at);
    }
}

Test(rdb_decode, strings_become_what_set_makes) {
    struct rdb_in in;
    struct value v;
    struct bytes b = {.len = 0};
    put_text(&b, "12345");
    cr_assert_eq(decode(&b, RDB_STRING, &in, &v), RDB_OK);
    cr_assert_eq(v.repr, REPR_INT);
    cr_assert_eq(v.integer, 12345);
    b.len = 0;
    put_text(&b, "012345");
    cr_assert_eq(decode(&b, RDB_STRING, &in, &v), RDB_OK);
    cr_assert_eq(v.repr, REPR_INLINE);
    for (size_t len = ENTRY_INLINE_MAX; len <= ENTRY_INLINE_MAX + 1; len++) {
        b.len = 0;
        put_byte(&b, 0x40 | (unsigned)len >> 8);
        put_byte(&b, (unsigned)len & 255);
        b.len += len;
        cr_assert_eq(decode(&b, RDB_STRING, &in, &v), RDB_OK);
        cr_assert_eq(v.repr, len <= ENTRY_INLINE_MAX ? REPR_INLINE : REPR_OBJECT);
        drop(&v);
    }
}

/* --- what is wrong in aggregates --- */

Test(rdb_decode, nothing_comes_twice) {
    struct bytes b = {.at = "\x03", .len = 1};
    for (int i = 0; i < 3; i++)
        put_text(&b, i == 1 ? "b" : "a");
    refuses(&b, RDB_SET, "a set with the same member twice");
    b = (struct bytes){.at = "\x02", .len = 1};
    for (int i = 0; i < 4; i++)
        put_text(&b, "a");
    refuses(&b, RDB_HASH, "a hash with the same field twice");
    b = (struct bytes){.at = "\x02", .len = 1};
    for (int i = 0; i < 2; i++) {
        put_text(&b, "a");
        put_score(&b, i);
    }
    refuses(&b, RDB_ZSET_2, "a sorted set with the same member twice");
}

/* as_blob: what is in `b` as one string. */
static void as_blob(struct bytes *b, const char *bytes, size_t len) {
    b->len = 0;
    put_byte(b, (unsigned)len);
    put(b, bytes, len);
}
#define LP(total, count, entries)                                                                  \
    total "\0\0\0" count "\0" entries "\xff", sizeof(total "\0\0\0" count "\0" entries "\xff") - 1

Test(rdb_decode, listpacks) {
    struct bytes b;
    as_blob(&b, LP("\x0d", "\x02",
                   "\x81"
                   "a\x02\x81"
                   "b\x02"));
    takes(&b, RDB_SET_LISTPACK, "listpack");
    takes(&b, RDB_HASH_LISTPACK, "listpack");
    refuses(&b, RDB_ZSET_LISTPACK, "a score that is no number");
    as_blob(&b, LP("\x0d", "\x02",
                   "\x81"
                   "a\x02\x81"
                   "a\x02"));
    refuses(&b, RDB_SET_LISTPACK, "a listpack that has the same twice");
    takes(&b, RDB_HASH_LISTPACK, "listpack");
    as_blob(&b, LP("\x0a", "\x01",
                   "\x81"
                   "a\x02"));
    refuses(&b, RDB_HASH_LISTPACK, "a hash that ends with a name");
    refuses(&b, RDB_ZSET_LISTPACK, "a sorted set that ends with a member");
    as_blob(&b, LP("\x0a", "\x02",
                   "\x81"
                   "a\x02"));
    refuses(&b, RDB_SET_LISTPACK, "a listpack with another number of entries than it says");
    as_blob(&b, LP("\x0b", "\x01",
                   "\x81"
                   "a\x02"));
    refuses(&b, RDB_SET_LISTPACK, "a listpack of a wrong length");
    as_blob(&b, LP("\x0a", "\x01",
                   "\x81"
                   "a\x03"));
    refuses(&b, RDB_SET_LISTPACK, "a listpack with a bad entry");
    as_blob(&b, LP("\x0a", "\x01",
                   "\x82"
                   "a\x02"));
    refuses(&b, RDB_SET_LISTPACK, "a listpack with a bad entry");
}

/* An integer in more bytes than it needs, and one as a text: others may write so, we do not. */
Test(rdb_decode, listpacks_in_other_words_are_put_in_ours) {
    struct bytes b;
    struct rdb_in in;
    struct value v;
    as_blob(&b, LP("\x0f", "\x02",
                   "\xf1\x05\0\x03\x82"
                   "12\x03"));
    takes(&b, RDB_SET_LISTPACK, "intset");
    takes(&b, RDB_HASH_LISTPACK, "listpack");
    cr_assert_eq(decode(&b, RDB_HASH_LISTPACK, &in, &v), RDB_OK);
    cr_assert_eq(v.bytes.len, 11); /* a byte for each, one behind */
    drop(&v);
}

Test(rdb_decode, sorted_sets_come_in_any_order) {
    struct bytes up = {.at = "\x03", .len = 1}, down = up, mixed = up;
    static const double order[3][3] = {{1, 2, 3}, {3, 2, 1}, {2, 3, 1}};
    struct bytes *const all[] = {&up, &down, &mixed};
    struct digest first = {{0}};
    for (int i = 0; i < 3; i++) {
        struct rdb_in in;
        struct value v;
        for (int j = 0; j < 3; j++) {
            char name[2] = {(char)('a' + (int)order[i][j]), 0};
            put_text(all[i], name);
            put_score(all[i], order[i][j] == 3 ? 2 : order[i][j]); /* two are equal */
        }
        cr_assert_eq(decode(all[i], RDB_ZSET_2, &in, &v), RDB_OK);
        struct digest is = digest_of(&v);
        first = i == 0 ? is : first;
        cr_assert_arr_eq(is.bytes, first.bytes, DIGEST_BYTES);
        drop(&v);
    }
}

Test(rdb_decode, scores) {
    struct bytes b = {.at = "\x01", .len = 1};
    put_text(&b, "a");
    put_score(&b, NAN);
    refuses(&b, RDB_ZSET_2, "a score that is no number");
    b.len = 3;
    put_byte(&b, RDB_SCORE_NAN);
    refuses(&b, RDB_ZSET, "a score that is no number");
    b.len = 3;
    put_text(&b, "x");
    refuses(&b, RDB_ZSET, "a score that is no number");
    b.len = 3;
    put_byte(&b, RDB_SCORE_MINUS_INF);
    takes(&b, RDB_ZSET, "listpack");
    b.len = 3;
    put_text(&b, "3.25e-7");
    takes(&b, RDB_ZSET, "listpack");
}

Test(rdb_decode, intsets) {
    struct bytes b;
    as_blob(&b, "\2\0\0\0\2\0\0\0\1\0\2\0", 12);
    takes(&b, RDB_SET_INTSET, "intset");
    as_blob(&b, "\2\0\0\0\2\0\0\0\2\0\1\0", 12);
    refuses(&b, RDB_SET_INTSET, "integers of a set that are not sorted, or of a wrong length");
    as_blob(&b, "\3\0\0\0\2\0\0\0\1\0\2\0", 12);
    refuses(&b, RDB_SET_INTSET, "integers of a set that are not sorted, or of a wrong length");
    as_blob(&b, "\2\0\0\0\3\0\0\0\1\0\2\0", 12);
    refuses(&b, RDB_SET_INTSET, "integers of a set that are not sorted, or of a wrong length");
}

Test(rdb_decode, empty_values_are_nothing_and_say_so) {
    static const uint8_t counted[] = {RDB_LIST,
                                      RDB_SET,
                                      RDB_HASH,
                                      RDB_ZSET,
                                      RDB_ZSET_2,
                                      RDB_LIST_QUICKLIST,
                                      RDB_LIST_QUICKLIST_2},
                         packed[] = {RDB_SET_LISTPACK, RDB_HASH_LISTPACK, RDB_ZSET_LISTPACK};
    struct rdb_in in;
    struct value v;
    struct bytes b = {.at = {0}, .len = 1};
    for (size_t i = 0; i < COUNT_OF(counted); i++) {
        cr_assert_eq(decode(&b, counted[i], &in, &v), RDB_OK);
        cr_assert(v.repr == REPR_OBJECT && v.object == NULL && in.why != NULL);
    }
    as_blob(&b, LP("\x07", "\x00", ""));
    for (size_t i = 0; i < COUNT_OF(packed); i++) {
        cr_assert_eq(decode(&b, packed[i], &in, &v), RDB_OK);
        cr_assert(v.repr == REPR_OBJECT && v.object == NULL && in.why != NULL);
    }
}

/* --- hashes with times --- */

static void put_ms(struct bytes *b, int64_t ms) {
    put(b, &ms, sizeof ms);
}

/* Three fields: one dead, one alive, one without a time: in the words of Redis and of Valkey. */
Test(rdb_decode, what_is_dead_is_left_out) {
    struct bytes redis = {.len = 0}, valkey = {.at = "\x03", .len = 1};
    put_ms(&redis, NOW_MS - 10);
    put_byte(&redis, 3);
    static const unsigned told[] = {1, 30, 0};
    static const int64_t times[] = {NOW_MS - 10, NOW_MS + 19, -1};
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        put_byte(&redis, told[i]);
        put_text(&redis, name);
        put_text(&redis, "v");
        put_text(&valkey, name);
        put_text(&valkey, "v");
        put_ms(&valkey, times[i]);
    }
    struct rdb_in in;
    struct value a, b;
    cr_assert_eq(decode(&redis, RDB_HASH_METADATA, &in, &a), RDB_OK);
    cr_assert_eq(in.at, in.end);
    cr_assert_eq(((struct object *)a.object)->count, 2);
    cr_assert_eq(((struct object *)a.object)->due_ms, NOW_MS + 19);
    in = in_of(&valkey);
    in.valkey = true;
    cr_assert_eq(rdb_decode_value(&in, RDB_HASH_2, &scratch, &limits, NOW_MS, &b), RDB_OK);
    cr_assert_eq(in.at, in.end);
    cr_assert_eq(((struct object *)b.object)->due_ms, NOW_MS + 19);
    struct digest da = digest_of(&a), db = digest_of(&b);
    cr_assert_arr_eq(da.bytes, db.bytes, DIGEST_BYTES);
    drop(&a);
    drop(&b);
    in = in_of(&redis);
    cr_assert_eq(rdb_decode_value(&in, RDB_HASH_METADATA, &scratch, &limits, 0, &a), RDB_OK);
    cr_assert_eq(((struct object *)a.object)->count, 3);
    drop(&a);
}

Test(rdb_decode, all_dead_is_nothing) {
    struct bytes b = {.len = 0};
    struct rdb_in in;
    struct value v;
    put_ms(&b, NOW_MS - 10);
    put_byte(&b, 1);
    put_byte(&b, 1);
    put_text(&b, "a");
    put_text(&b, "v");
    cr_assert_eq(decode(&b, RDB_HASH_METADATA, &in, &v), RDB_OK);
    cr_assert(v.repr == REPR_OBJECT && v.object == NULL && in.why == NULL);
}

Test(rdb_decode, times_out_of_range) {
    struct bytes b = {.at = "\x01", .len = 1};
    put(&b, "\x81\x00\x01\x00\x00\x00\x00\x00\x00", 9); /* 2^48 */
    put_text(&b, "a");
    put_text(&b, "v");
    refuses(&b, RDB_HASH_METADATA_PRE_GA, "a field whose time is out of range");
    b.at[3] = 0;
    b.at[4] = 0x7f;
    takes(&b, RDB_HASH_METADATA_PRE_GA, "listpackex");
}

/* --- modules --- */

Test(rdb_decode, modules_are_skipped_by_name) {
    /* id, SINT 5, DOUBLE, STRING "abc", FLOAT, end; then something else */
    struct bytes b = {.len = 0};
    struct rdb_in in;
    struct value v;
    char name[10];
    put(&b, "\x81\x04\x10\x41\x04\x10\x41\x04\x01", 9);
    put(&b, "\x01\x05\x04", 3);
    put_score(&b, 1.5);
    put_byte(&b, 5);
    put_text(&b, "abc");
    put(&b,
        "\x03"
        "ffff\x00",
        6);
    size_t len = b.len;
    put_text(&b, "behind");
    cr_assert_eq(decode(&b, RDB_MODULE_2, &in, &v), RDB_MODULE);
    cr_assert_eq(in.at, b.at + len);
    cr_assert_eq(rdb_module_name(0x0410410410410401ULL, name), 1);
    cr_assert_str_eq(name, "BBBBBBBBB");
    b.at[9] = 6; /* an operation that there is none of */
    refuses(&b, RDB_MODULE_2, "data of a module of a kind that is not known");
    refuses(&b, RDB_MODULE_PRE_GA, "a module's value as Redis 4.0 wrote it before its release");
    refuses(&b, 99, "a value of a type that is not known");
}

/* --- streams --- */

/* One node of two entries of the same field, one group with a pending entry of its only consumer. */
enum { NODE_AT = 19, NODE_BYTES = 40, TAIL_AT = NODE_AT + NODE_BYTES };
static void put_stream(struct bytes *b) {
    static const char node[] = "\x28\0\0\0\x0f\0\x02\x01\0\x01\x01\x01\x81"
                               "f\x02\0\x01"
                               "\x02\x01\0\x01\0\x01\x81"
                               "a\x02\x04\x01"
                               "\x02\x01\x01\x01\0\x01\x81"
                               "b\x02\x04\x01\xff";
    static_assert(sizeof node - 1 == NODE_BYTES, "as its head says");
    b->len = 0;
    put(b, "\x01\x10\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0", 18);
    put_byte(b, NODE_BYTES);
    put(b, node, NODE_BYTES);
    put(b, "\x02\x06\0\x05\0\0\0\x02", 8); /* length, last 6-0, first 5-0, none deleted, two ever */
    put(b, "\x01\x01g\x05\0\x01\x01", 7);  /* group g at 5-0, one pending */
    put(b, "\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0", 16);
    put_ms(b, NOW_MS);
    put_byte(b, 1);
    put_byte(b, 1);
    put_text(b, "c");
    put_ms(b, NOW_MS);
    put_ms(b, NOW_MS);
    put(b, "\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0", 17);
}

Test(rdb_decode, streams_are_kept_as_they_came) {
    struct bytes b;
    struct rdb_in in;
    struct value v;
    struct stream_iter i;
    struct stream_id id;
    struct span name, value;
    put_stream(&b);
    cr_assert_eq(decode(&b, RDB_STREAM_LISTPACKS_3, &in, &v), RDB_OK, "%s", in.why);
    cr_assert_eq(in.at, in.end);
    const struct object *o = v.object;
    cr_assert_eq(streamval_count(o), 2);
    cr_assert_eq(streamval_type(o), RDB_STREAM_LISTPACKS_3);
    cr_assert(span_eq(streamval_body(o), (struct span){(const char *)b.at, b.len}));
    streamval_begin(&i, o, &mem);
    for (unsigned n = 0; n < 2; n++) {
        cr_assert(streamval_next(&i, &id));
        cr_assert_eq(id.ms, 5 + n);
        cr_assert_eq(id.seq, 0);
        cr_assert(streamval_field(&i, &name, &value));
        cr_assert(span_eq(name, SPAN("f")));
        cr_assert(span_eq(value, n == 0 ? SPAN("a") : SPAN("b")));
        cr_assert_not(streamval_field(&i, &name, &value));
    }
    cr_assert_not(streamval_next(&i, &id));
    cr_assert(streamval_end(&i));
    drop(&v);
}

Test(rdb_decode, deleted_entries_of_streams_are_passed_over) {
    struct bytes b;
    struct rdb_in in;
    struct value v;
    struct stream_iter i;
    struct stream_id id;
    put_stream(&b);
    b.at[NODE_AT + 6] = 1;  /* entries */
    b.at[NODE_AT + 8] = 1;  /* deleted */
    b.at[NODE_AT + 17] = 3; /* flags of the first */
    cr_assert_eq(decode(&b, RDB_STREAM_LISTPACKS_3, &in, &v), RDB_OK, "%s", in.why);
    cr_assert_eq(streamval_count(v.object), 1);
    streamval_begin(&i, v.object, &mem);
    cr_assert(streamval_next(&i, &id));
    cr_assert_eq(id.ms, 6);
    cr_assert_not(streamval_next(&i, &id));
    cr_assert(streamval_end(&i));
    drop(&v);
}

static void stream_refuses(size_t at, unsigned byte, const char *why) {
    struct bytes b;
    put_stream(&b);
    cr_assert_neq(b.at[at], byte);
    b.at[at] = (uint8_t)byte;
    refuses(&b, RDB_STREAM_LISTPACKS_3, why);
}

Test(rdb_decode, streams_are_looked_through) {
    struct bytes b;
    put_stream(&b);
    stream_refuses(1, 15, "a node of a stream whose ID is of a wrong length");
    stream_refuses(NODE_AT + 15, 1, "a node of a stream whose names have no end");
    stream_refuses(NODE_AT + 6, 3, "a node of a stream that lacks a number");
    stream_refuses(NODE_AT + 6, 1, "a node of a stream with more than it says");
    stream_refuses(NODE_AT + 37, 5, "an entry of a stream that cannot be walked backwards");
    stream_refuses(NODE_AT + 30, 0, "entries of a stream that do not ascend");
    stream_refuses(b.len - 1, 1, "a consumer with a pending entry that its group does not have");
    stream_refuses(b.len - 17, 0, "a pending entry of a group without a consumer");
    b = (struct bytes){.len = 0};
    put(&b, "\0\1\0\0\0\0\0\0\0\0", 10);
    refuses(&b, RDB_STREAM_LISTPACKS_3, "a stream that says that it has entries and has none");
    b.at[1] = 0;
    struct rdb_in in;
    struct value v;
    cr_assert_eq(decode(&b, RDB_STREAM_LISTPACKS_3, &in, &v), RDB_OK);
    cr_assert_eq(streamval_count(v.object), 0);
    drop(&v);
}

/* --- every value of every file --- */

static void each_file(rdb_file_fn *each) {
    char folder[512], path[1024];
    static uint8_t bytes[FILE_BYTES_MAX];
    unsigned files = 0;
    const char *slash = strrchr(__FILE__, '/');
    snprintf(folder, sizeof folder, "%.*s/../data/rdb", (int)(slash - __FILE__), __FILE__);
    DIR *d = opendir(folder);
    cr_assert_not_null(d, "%s", folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, ".rdb") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = fopen(path, "r");
        cr_assert_not_null(f, "%s", path);
        size_t len = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        files++;
        rdb_file_walk(bytes, len, each, NULL);
    }
    closedir(d);
    cr_assert_gt(files, 30);
}

static enum rdb_result decode_file_value(const struct rdb_file_value *v, const struct config *c,
                                         size_t len, struct rdb_in *in, struct value *out) {
    *in = (struct rdb_in){.at = v->bytes, .end = v->bytes + len, .valkey = v->valkey};
    return rdb_decode_value(in, v->type, &scratch, c, NOW_MS, out);
}

static void both_forms_agree(void *arg, const struct rdb_file_value *v) {
    struct rdb_in in;
    struct value flat, large;
    (void)arg;
    enum rdb_result r = decode_file_value(v, &limits, v->len, &in, &flat);
    cr_assert_eq(r, v->type == RDB_MODULE_2 ? RDB_MODULE : RDB_OK);
    cr_assert_eq(in.at, in.end);
    if (r != RDB_OK)
        return;
    struct digest a = digest_of(&flat);
    drop(&flat);
    cr_assert_eq(decode_file_value(v, &tight, v->len, &in, &large), RDB_OK);
    struct digest b = digest_of(&large);
    cr_assert_arr_eq(a.bytes, b.bytes, DIGEST_BYTES);
    drop(&large);
}

Test(rdb_decode, values_of_files_are_the_same_in_all_forms) {
    each_file(both_forms_agree);
}

static void cut_short(void *arg, const struct rdb_file_value *v) {
    (void)arg;
    size_t step = v->len <= SMALL_BYTES ? 1 : v->len / 50;
    for (size_t len = 0; len < v->len; len += step) {
        struct rdb_in in = {.at = v->bytes, .end = v->bytes + len, .valkey = v->valkey};
        struct value out;
        cr_assert_eq(rdb_skip_value(&in, v->type), RDB_MORE);
        cr_assert_eq(in.at, v->bytes);
        enum rdb_result r = decode_file_value(v, &limits, len, &in, &out);
        cr_assert_eq(r, RDB_MORE);
        cr_assert_eq(in.at, v->bytes);
    }
}

Test(rdb_decode, inv1_values_that_are_cut_short_want_more) {
    each_file(cut_short);
}

static void without_memory(void *arg, const struct rdb_file_value *v) {
    struct rdb_in in;
    struct value out;
    (void)arg;
    if (v->len > SMALL_BYTES)
        return;
    for (int i = 0; i < 2; i++) {
        const struct config *c = i == 0 ? &limits : &tight;
        enum rdb_result r = RDB_NOMEM;
        for (uint64_t n = 1; r == RDB_NOMEM; n++) {
            cr_assert_lt(n, FAILURES_MAX);
            free_scratch();
            mem.fail_in = n;
            r = decode_file_value(v, c, v->len, &in, &out);
            mem.fail_in = 0;
            cr_assert(r != RDB_NOMEM || mem.used_bytes == (int64_t)mem_size(scratch.cap) ||
                      scratch.cap == 0);
        }
        cr_assert(r == RDB_OK || r == RDB_MODULE);
        drop(&out);
        free_scratch();
        cr_assert_eq(mem.used_bytes, 0);
    }
}

Test(rdb_decode, inv2_without_memory_nothing_is_left) {
    each_file(without_memory);
}

/* changed: a byte at a time, and several; whatever comes of it can be looked at whole, and freed. */
static void changed(void *arg, const struct rdb_file_value *v) {
    static uint8_t bytes[FILE_BYTES_MAX];
    struct rdb_file_value as = *v;
    (void)arg;
    if (v->len > SMALL_BYTES)
        return;
    as.bytes = bytes;
    for (size_t i = 0; i < 8 * v->len; i++) {
        struct rdb_in in;
        struct value out;
        memcpy(bytes, v->bytes, v->len);
        bytes[i % v->len] ^= (uint8_t)(1U << i / v->len);
        if (i % 3 == 0)
            bytes[rng_below(&rng, v->len)] = (uint8_t)rng_next(&rng);
        enum rdb_result r =
            decode_file_value(&as, i % 2 == 0 ? &limits : &tight, v->len, &in, &out);
        cr_assert_neq(r, RDB_NOMEM);
        if (r == RDB_OK && (out.repr != REPR_OBJECT || out.object != NULL))
            (void)digest_of(&out);
        if (r == RDB_OK)
            drop(&out);
        if (r == RDB_CORRUPT)
            cr_assert(in.bad >= bytes && in.bad <= in.end && in.why != NULL);
    }
}

Test(rdb_decode, inv1_changed_values_are_refused_or_valid) {
    each_file(changed);
}
