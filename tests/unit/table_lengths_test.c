/* What a table knows of its strings' lengths and its entries' time to live, after each kind of change. The
 * fixture's check_table compares both with a walk over all entries, here and in the tests of its own. */
#include "keyspace_fixture.h"

static void string_destroy(struct mem *m, void *object) {
    blob_unpin(m, object);
}

static size_t string_bytes(const void *object) {
    return blob_bytes(object);
}

/* The only string that there is lies in this bin. */
static void expect_bin(const struct table *t, unsigned bin, const char *what) {
    for (unsigned i = 0; i < TABLE_LENGTHS; i++)
        cr_assert(table_lengths(t)[i] == (i == bin), "%s: bin %u has %llu", what, i,
                  (unsigned long long)table_lengths(t)[i]);
    (void)check_table(t);
}

Test(table_lengths, integers_count_by_their_digits) {
    static const struct {
        int64_t v;
        unsigned bin;
    } cases[] = {{0, 1},
                 {9, 1},
                 {10, 2},
                 {-1, 2},
                 {999, 2},
                 {-99, 2},
                 {-100, 3},
                 {1000, 3},
                 {9999999, 3},
                 {-999999, 3},
                 {-1000000, 4},
                 {10000000, 4},
                 {999999999999999, 4},
                 {-99999999999999, 4},
                 {-100000000000000, 5},
                 {1000000000000000, 5},
                 {INT64_MAX, 5},
                 {INT64_MIN, 5}};
    struct fixture f;
    fixture_init(&f, 41);
    struct table *t = keyspace_table(f.k, 0);
    struct span key = SPAN("k");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct value v = value_of_int(cases[i].v), zero = value_of_int(0);
        cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
        expect_bin(t, cases[i].bin, "put");
        struct entry *e = table_put(t, key, hash_of(key), &zero, EXPIRE_NEVER);
        table_set_int(t, e, cases[i].v);
        expect_bin(t, cases[i].bin, "set in place");
        cr_assert(table_delete(t, key, hash_of(key)));
        expect_bin(t, TABLE_LENGTHS, "deleted");
    }
    fixture_deinit(&f);
}

Test(table_lengths, bytes_and_blobs_count_by_their_length) {
    static char bytes[ENTRY_INLINE_MAX];
    static const size_t lens[] = {0, 1, 2, 3, 4, 255, 256, 1023};
    struct fixture f;
    static const struct value_ops string_ops = {string_destroy, string_bytes};
    fixture_init(&f, 42);
    keyspace_register_type(VALUE_STRING, &string_ops);
    struct table *t = keyspace_table(f.k, 0);
    struct span key = SPAN("k");
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        struct value v = value_of_bytes((struct span){bytes, lens[i]});
        cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
        (void)check_table(t);
    }
    expect_bin(t, 10, "1023 bytes");
    struct blob *b = blob_create(&f.mem, 5000);
    cr_assert(b != NULL);
    b->len = 4095;
    struct value big = {.type = VALUE_STRING, .repr = REPR_OBJECT, .object = b};
    struct entry *e = table_put(t, key, hash_of(key), &big, NOW_MS);
    expect_bin(t, 12, "a blob");
    b->len = 4096;
    table_length_changed(t, e, 4095);
    expect_bin(t, 13, "a blob that grew in place");
    char scratch[ENTRY_INLINE_MAX];
    int64_t expire_ms;
    cr_assert(table_take(t, key, hash_of(key), scratch, &big, &expire_ms));
    expect_bin(t, TABLE_LENGTHS, "taken");
    blob_unpin(&f.mem, b);
    fixture_deinit(&f);
}

Test(table_lengths, what_is_no_string_does_not_count) {
    struct fixture f;
    fixture_init(&f, 43);
    struct table *t = keyspace_table(f.k, 0);
    struct span key = SPAN("k");
    struct value one = value_of_int(1), thing = value_of_thing(thing_create(&f.mem, 1));
    cr_assert(table_put(t, key, hash_of(key), &one, EXPIRE_NEVER) != NULL);
    cr_assert(table_put(t, key, hash_of(key), &thing, EXPIRE_NEVER) != NULL);
    expect_bin(t, TABLE_LENGTHS, "a thing over a string");
    cr_assert(table_put(t, key, hash_of(key), &one, EXPIRE_NEVER) != NULL);
    expect_bin(t, 1, "a string over a thing");
    fixture_deinit(&f);
}

Test(table_lengths, time_to_live_adds_up) {
    struct fixture f;
    fixture_init(&f, 44);
    struct table *t = keyspace_table(f.k, 0);
    struct span a = SPAN("a"), b = SPAN("b"), c = SPAN("c");
    struct value v = value_of_int(1);
    cr_assert(table_ttl_sum_ms(t, NOW_MS) == 0);
    cr_assert(table_put(t, a, hash_of(a), &v, NOW_MS + 10) != NULL);
    cr_assert(table_put(t, b, hash_of(b), &v, NOW_MS + 5) != NULL);
    cr_assert(table_put(t, c, hash_of(c), &v, EXPIRE_NEVER) != NULL);
    cr_assert(table_ttl_sum_ms(t, NOW_MS) == 15);
    cr_assert(table_ttl_sum_ms(t, NOW_MS + 8) == -1);
    cr_assert(table_put(t, a, hash_of(a), &v, EXPIRE_KEEP) != NULL);
    cr_assert(table_set_expire(t, table_find(t, b, hash_of(b)), hash_of(b), EXPIRE_NEVER) != NULL);
    cr_assert(table_ttl_sum_ms(t, NOW_MS) == 10);
    cr_assert(table_set_expire(t, table_find(t, c, hash_of(c)), hash_of(c), NOW_MS + 1) != NULL);
    cr_assert(table_ttl_sum_ms(t, NOW_MS) == 11);
    cr_assert(table_delete(t, a, hash_of(a)));
    cr_assert(table_ttl_sum_ms(t, NOW_MS) == 1);
    (void)check_table(t);
    fixture_deinit(&f);
}

/* Sums of the latest times do not overflow: they stop at the largest number. */
Test(table_lengths, time_to_live_saturates) {
    enum { KEYS = 40000 };
    char name[KEY_BYTES_MAX];
    struct fixture f;
    fixture_init(&f, 45);
    struct table *t = keyspace_table(f.k, 0);
    struct value v = value_of_int(1);
    for (uint64_t n = 0; n < KEYS; n++) {
        struct span key = key_name(name, n, 0);
        cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_MS_MAX) != NULL);
    }
    cr_assert(table_ttl_sum_ms(t, 0) == INT64_MAX);
    (void)check_table(t);
    fixture_deinit(&f);
}

Test(table_lengths, expiring_and_flushing_take_away) {
    char name[KEY_BYTES_MAX];
    struct fixture f;
    fixture_init(&f, 46);
    for (uint64_t n = 0; n < 3000; n++) {
        struct span key = key_name(name, n, 0);
        struct value v = value_of_int((int64_t)(n * n * n));
        cr_assert(table_put(keyspace_table(f.k, 0), key, hash_of(key), &v,
                            n % 3 ? NOW_MS + (int64_t)n : EXPIRE_NEVER) != NULL);
    }
    for (int64_t after_ms = 0; after_ms < 4000; after_ms += 500) {
        while (keyspace_expire_some(f.k, NOW_MS + after_ms, 100)) {
        }
        (void)check_table(keyspace_peek_table(f.k, 0));
    }
    cr_assert(keyspace_flush(f.k, 0) == 1000);
    cr_assert_null(keyspace_peek_table(f.k, 0));
    fixture_deinit(&f);
}
