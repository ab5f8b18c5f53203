/* Writes in two steps: whatever happens between them, the second cannot fail and is exact. */
#include "keyspace_fixture.h"

static char big[ENTRY_INLINE_MAX];

static void put(struct table *t, uint64_t n, struct value v, int64_t expire_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    cr_assert(table_put(t, key, hash_of(key), &v, expire_ms) != NULL);
}

static struct prepared *prepare(struct table *t, uint64_t n, struct value v, int64_t expire_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return table_prepare(t, key, hash_of(key), &v, expire_ms);
}

static struct entry *find(const struct table *t, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return table_find(t, key, hash_of(key));
}

static bool drop(struct table *t, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return table_delete(t, key, hash_of(key));
}

/* commit: with no memory at all. */
static struct entry *commit(struct fixture *f, struct prepared *p) {
    f->mem.fail_in = f->mem.fail_every = 1;
    struct entry *e = table_commit(p, NOW_MS);
    f->mem.fail_in = f->mem.fail_every = 0;
    return e;
}

static struct value bytes_of(size_t len) {
    return value_of_bytes((struct span){big, len});
}

Test(table_prepare, nobody_sees_what_is_prepared) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    put(t, 1, bytes_of(10), EXPIRE_NEVER);
    struct prepared *replaces = prepare(t, 1, bytes_of(500), NOW_MS);
    struct prepared *adds = prepare(t, 2, value_of_int(5), NOW_MS);
    cr_assert(find(t, 2) == NULL);
    cr_assert(entry_bytes(find(t, 1)).len == 10);
    cr_assert(table_expires(t) == 0);
    check_table(t); /* one entry, and its length is counted */
    cr_assert(t->count == 1);
    cr_assert(commit(&f, replaces) == find(t, 1));
    cr_assert(commit(&f, adds) == find(t, 2));
    cr_assert(entry_bytes(find(t, 1)).len == 500);
    cr_assert(entry_int(find(t, 2)) == 5);
    check_table(t);
    cr_assert(t->count == 2 && t->expires == 2);
    fixture_deinit(&f);
}

/* Every way to hold a value, over every other and over nothing, with and without an expiry. */
Test(table_prepare, a_commit_does_what_a_put_does) {
    enum { KINDS = 5 };
    struct fixture f;
    fixture_init(&f, 1);
    int64_t bare = f.mem.used_bytes;
    struct table *t = keyspace_table(f.k, 0);
    for (unsigned from = 0; from <= KINDS * 2; from++) {
        for (unsigned to = 0; to < KINDS * 2; to++) {
            struct value v[2];
            unsigned kinds[2] = {from % KINDS, to % KINDS};
            for (unsigned i = 0; i < 2; i++)
                v[i] = kinds[i] == 0   ? value_of_int(-12)
                       : kinds[i] == 1 ? bytes_of(0)
                       : kinds[i] == 2 ? bytes_of(40)
                       : kinds[i] == 3 ? bytes_of(ENTRY_INLINE_MAX)
                                       : value_of_thing(thing_create(&f.mem, from * 100 + to));
            if (from < KINDS * 2)
                put(t, 1, v[0], from < KINDS ? EXPIRE_NEVER : NOW_MS + 5);
            else if (v[0].object != NULL)
                thing_destroy(&f.mem, v[0].object);
            v[1].access = 77;
            int64_t expire_ms = to < KINDS ? EXPIRE_NEVER : NOW_MS + 9;
            const struct entry *e = commit(&f, prepare(t, 1, v[1], expire_ms));
            cr_assert(e == find(t, 1));
            cr_assert(entry_repr(e) == v[1].repr && entry_type(e) == v[1].type);
            cr_assert(entry_access(e) == 77);
            cr_assert(entry_expire_ms(e) == expire_ms);
            if (v[1].object != NULL)
                cr_assert(entry_object(e) == v[1].object);
            else if (v[1].repr == REPR_INT)
                cr_assert(entry_int(e) == -12);
            else
                cr_assert(span_eq(entry_bytes(e), v[1].bytes));
            cr_assert(things_alive == (v[1].object != NULL));
            check_keyspace(&f, bare);
            cr_assert(drop(t, 1));
        }
    }
    fixture_deinit(&f);
}

Test(table_prepare, the_last_commit_of_a_key_stands) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct prepared *p[4];
    for (int64_t i = 0; i < 4; i++)
        p[i] = prepare(t, 1, value_of_int(i), i % 2 ? NOW_MS : EXPIRE_NEVER);
    static const unsigned order[] = {2, 0, 3, 1};
    for (unsigned i = 0; i < 4; i++) {
        commit(&f, p[order[i]]);
        cr_assert(entry_int(find(t, 1)) == order[i]);
        cr_assert(t->count == 1);
        check_table(t);
    }
    fixture_deinit(&f);
}

Test(table_prepare, abandoning_leaves_no_trace) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    int64_t empty = f.mem.used_bytes;
    for (unsigned filled = 0; filled < 2; filled++) {
        if (filled)
            put(t, 7, value_of_int(1), EXPIRE_NEVER);
        int64_t used = f.mem.used_bytes;
        struct prepared *p[] = {prepare(t, 1, value_of_thing(thing_create(&f.mem, 1)), NOW_MS),
                                prepare(t, 2, bytes_of(900), EXPIRE_KEEP),
                                prepare(t, 7, value_of_thing(thing_create(&f.mem, 2)), EXPIRE_KEEP),
                                prepare(t, 3, value_of_int(1), NOW_MS)};
        for (unsigned i = 0; i < COUNT_OF(p); i++)
            table_abandon(p[i]);
        cr_assert(things_alive == 0);
        cr_assert(f.mem.used_bytes == used, "%lld bytes stay",
                  (long long)(f.mem.used_bytes - used));
        cr_assert(check_table(t).entries == filled);
    }
    drop(t, 7);
    cr_assert(f.mem.used_bytes == empty);
    fixture_deinit(&f);
}

Test(table_prepare, keep_means_the_expiry_at_the_commit) {
    struct fixture f;
    fixture_init(&f, 1);
    int64_t bare = f.mem.used_bytes;
    struct table *t = keyspace_table(f.k, 0);
    /* What is there when it is prepared, when it is committed, and what is to come of it: -1: no key. */
    static const int64_t cases[][3] = {
        {-1, -1, 0},
        {0, 0, 0},
        {NOW_MS, NOW_MS, NOW_MS},
        {-1, NOW_MS, NOW_MS},
        {NOW_MS, -1, 0},
        {0, NOW_MS + 5, NOW_MS + 5},
        {NOW_MS, NOW_MS + 5, NOW_MS + 5},
        {NOW_MS, 0, 0},
        {0, NOW_MS - 1, 0},
        {NOW_MS - 1, NOW_MS - 1, 0}, /* dead */
    };
    /* 8 bytes; 50 bytes in 64, which with an expiry are 56 in 64; 56 and 62; 300 in 320 */
    static const size_t lens[] = {1, 41, 54, 290};
    for (size_t i = 0; i < COUNT_OF(cases) * COUNT_OF(lens); i++) {
        const int64_t *c = cases[i / COUNT_OF(lens)];
        if (c[0] >= 0)
            put(t, 1, value_of_int(1), c[0]);
        struct prepared *p = prepare(t, 1, bytes_of(lens[i % COUNT_OF(lens)]), EXPIRE_KEEP);
        if (c[1] >= 0)
            put(t, 1, value_of_int(1), c[1]);
        else
            drop(t, 1);
        const struct entry *e = commit(&f, p);
        cr_assert(entry_expire_ms(e) == c[2], "case %zu", i / COUNT_OF(lens));
        cr_assert(entry_bytes(e).len == lens[i % COUNT_OF(lens)]);
        check_keyspace(&f, bare);
        drop(t, 1);
    }
    fixture_deinit(&f);
}

Test(table_prepare, keep_of_an_object_owns_it_once) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    for (unsigned expires = 0; expires < 2; expires++) {
        put(t, 1, value_of_thing(thing_create(&f.mem, 1)), expires ? NOW_MS : EXPIRE_NEVER);
        struct prepared *p = prepare(t, 1, value_of_thing(thing_create(&f.mem, 2)), EXPIRE_KEEP);
        cr_assert(things_alive == 2);
        const struct entry *e = commit(&f, p);
        cr_assert(things_alive == 1);
        cr_assert(*(uint64_t *)entry_object(e) == 2);
        cr_assert((entry_expire_ms(e) != EXPIRE_NEVER) == expires);
        drop(t, 1);
        cr_assert(things_alive == 0);
    }
    fixture_deinit(&f);
}

/* More of them in one chain than it has places, and no memory when they come. */
Test(table_prepare, inv7_a_chain_has_room_for_all) {
    enum { MANY = 60 };
    struct fixture f;
    fixture_init(&f, 3);
    struct table *t = keyspace_table(f.k, 0);
    for (unsigned there = 0; there <= 2 * BUCKET_PLACES; there++) {
        struct prepared *p[MANY];
        uint64_t n = 0;
        char name[KEY_BYTES_MAX];
        for (unsigned i = 0; i < there + MANY; i++) {
            struct span key = key_search(name, &n, 0xff, 0x5a);
            struct value v = value_of_int(i);
            if (i < there)
                cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
            else
                p[i - there] = table_prepare(t, key, hash_of(key), &v, EXPIRE_NEVER);
        }
        for (unsigned i = 0; i < MANY; i++) {
            cr_assert(commit(&f, p[i]) != NULL);
            check_table(t);
        }
        cr_assert(t->count == there + MANY);
        keyspace_flush(f.k, 0);
        t = keyspace_table(f.k, 0);
    }
    fixture_deinit(&f);
}

/* --- stamps --- */

enum { FEW = 20, SEVERAL_SEGMENTS = 5 * TABLE_SEGMENT * BUCKET_PLACES, LATER = 1000000 };

static void prepare_few(struct table *t, struct prepared *p[FEW]) {
    for (unsigned i = 0; i < FEW; i++)
        p[i] = prepare(t, LATER + i, value_of_int(i), NOW_MS + 1000 * i);
}

/* commit_few: all of them find stamps, without memory, and then go when their time comes. */
static void commit_few(struct fixture *f, struct table *t, struct prepared *p[FEW]) {
    for (unsigned i = 0; i < FEW; i++)
        cr_assert(commit(f, p[i]) != NULL);
    check_table(t);
    cr_assert(t->expires == FEW);
    while (keyspace_expire_some(f->k, NOW_MS + 1000 * FEW, 1000)) {
    }
    cr_assert(t->expires == 0);
    for (unsigned i = 0; i < FEW; i++)
        cr_assert(find(t, LATER + i) == NULL);
}

static void fill(struct table *t, uint64_t from, uint64_t to) {
    for (uint64_t n = from; n < to; n++)
        put(t, n, value_of_int(1), EXPIRE_NEVER);
}

static void empty(struct table *t, uint64_t from, uint64_t to) {
    for (uint64_t n = from; n < to; n++)
        cr_assert(drop(t, n));
}

Test(table_prepare, inv6_inv7_a_table_that_grows_has_stamps) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct prepared *p[FEW];
    fill(t, 0, 10);
    prepare_few(t, p);
    fill(t, 10, SEVERAL_SEGMENTS);
    cr_assert(table_segments(t) > 4);
    commit_few(&f, t, p);
    fixture_deinit(&f);
}

Test(table_prepare, inv6_inv7_a_table_that_shrinks_has_stamps) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct prepared *p[FEW];
    fill(t, 0, SEVERAL_SEGMENTS);
    prepare_few(t, p);
    empty(t, 10, SEVERAL_SEGMENTS);
    cr_assert(table_segments(t) == 1);
    commit_few(&f, t, p);
    fixture_deinit(&f);
}

/* A sweep that finds nothing in a group must not make it one that never expires, from which a split would hand on
 * no stamps. */
Test(table_prepare, inv6_inv7_a_sweep_before_the_commit_leaves_stamps) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct prepared *p[FEW];
    fill(t, 0, 10);
    prepare_few(t, p);
    put(t, 10, value_of_int(1), NOW_MS);
    while (keyspace_expire_some(f.k, NOW_MS + 10000000, 1000)) {
    }
    cr_assert(t->expires == 0);
    fill(t, 10, SEVERAL_SEGMENTS);
    commit_few(&f, t, p);
    fixture_deinit(&f);
}

/* --- a table that loses all that it has --- */

Test(table_prepare, inv7_a_table_that_becomes_empty_keeps_buckets) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    int64_t bare = f.mem.used_bytes - (int64_t)mem_size(sizeof *t);
    for (unsigned how = 0; how < 3; how++) {
        struct prepared *p[FEW];
        if (how != 0)
            fill(t, 0, 3000);
        if (how == 2)
            for (uint64_t n = 0; n < 3000; n++)
                put(t, n, value_of_int(1), NOW_MS - 100000);
        prepare_few(t, p);
        if (how == 1)
            empty(t, 0, 3000);
        while (how == 2 && keyspace_expire_some(f.k, NOW_MS, 1000)) {
        }
        cr_assert(t->count == 0 && t->bucket_count >= TABLE_FIRST);
        check_table(t);
        commit_few(&f, t, p);
        check_keyspace(&f, bare);
        cr_assert(t->bucket_count == 0);
    }
    fixture_deinit(&f);
}

/* A flush is put off if there is memory, done at once if not, and what is prepared stays good. */
Test(table_prepare, inv7_flush_leaves_a_table_for_what_is_prepared) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    int64_t bare = f.mem.used_bytes - (int64_t)mem_size(sizeof *t);
    unsigned put_off = 0, at_once = 0;
    for (unsigned site = 1; put_off == 0; site++) {
        struct prepared *p[FEW];
        fill(t, 0, 20000);
        put(t, 20000, value_of_thing(thing_create(&f.mem, 1)), NOW_MS);
        prepare_few(t, p);
        f.mem.fail_in = site;
        cr_assert(keyspace_flush(f.k, 0) == 20001);
        if (f.mem.fail_in == 0)
            at_once++;
        else
            put_off++;
        f.mem.fail_in = 0;
        cr_assert((keyspace_stats(f.k)->pending_free == 0) == (put_off == 0));
        cr_assert(keyspace_table(f.k, 0) == t);
        cr_assert(t->count == 0 && t->expires == 0 && t->prepared == FEW);
        check_table(t);
        fill(t, 0, site % 2 ? 20000 : 0);
        for (unsigned i = 0; i < FEW; i++)
            cr_assert(commit(&f, p[i]) != NULL);
        check_table(t);
        while (keyspace_free_some(f.k, 1000)) {
        }
        cr_assert(things_alive == 0);
        check_keyspace(&f, bare);
        keyspace_flush(f.k, 0);
        while (keyspace_free_some(f.k, 1000)) {
        }
        t = keyspace_table(f.k, 0);
    }
    /* the grave, its table, first buckets, two directories, stamps */
    cr_assert(at_once == 6, "%u", at_once);
    fixture_deinit(&f);
}

Test(table_prepare, flush_of_an_empty_table_leaves_it_for_what_is_prepared) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct prepared *p = prepare(t, 1, value_of_int(1), NOW_MS);
    cr_assert(keyspace_flush(f.k, 0) == 0);
    cr_assert(keyspace_table(f.k, 0) == t);
    commit(&f, p);
    cr_assert(find(t, 1) != NULL);
    check_table(t);
    fixture_deinit(&f);
}

Test(table_prepare, swapping_takes_it_along) {
    struct fixture f;
    fixture_init(&f, 1);
    struct prepared *p = prepare(keyspace_table(f.k, 0), 1, value_of_int(1), EXPIRE_NEVER);
    keyspace_swap(f.k, 0, 1);
    commit(&f, p);
    cr_assert(keyspace_peek_table(f.k, 0) == NULL);
    cr_assert(find(keyspace_table(f.k, 1), 1) != NULL);
    fixture_deinit(&f);
}

/* --- without memory --- */

static unsigned fail_each_prepare(struct fixture *f, struct value v, int64_t expire_ms) {
    struct table *t = keyspace_table(f->k, 0);
    int64_t used = f->mem.used_bytes;
    for (unsigned n = 1;; n++) {
        f->mem.fail_in = n;
        struct prepared *p = prepare(t, 1, v, expire_ms);
        bool failed = f->mem.fail_in == 0;
        f->mem.fail_in = 0;
        check_table(t);
        cr_assert((p == NULL) == failed);
        if (!failed) {
            table_abandon(p);
            cr_assert(f->mem.used_bytes == used);
            return n - 1;
        }
        cr_assert(f->mem.used_bytes == used, "site %u", n);
    }
}

Test(table_prepare, each_allocation_fails_without_a_trace) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    /* a bucket, the entry, first buckets, two directories */
    cr_assert(fail_each_prepare(&f, value_of_int(1), EXPIRE_NEVER) == 5);
    cr_assert(fail_each_prepare(&f, value_of_int(1), NOW_MS) == 6);
    cr_assert(fail_each_prepare(&f, value_of_int(1), EXPIRE_KEEP) == 6);
    put(t, 2, value_of_int(1), EXPIRE_NEVER);
    cr_assert(fail_each_prepare(&f, value_of_int(1), EXPIRE_NEVER) == 2);
    cr_assert(fail_each_prepare(&f, value_of_int(1), NOW_MS) == 3);
    put(t, 3, value_of_int(1), NOW_MS);
    cr_assert(fail_each_prepare(&f, value_of_int(1), NOW_MS) == 2);
    cr_assert(fail_each_prepare(&f, value_of_int(1), EXPIRE_KEEP) == 3);
    /* One that fails leaves its object to the caller, and others that are prepared alone. */
    struct prepared *other = prepare(t, 1, bytes_of(100), NOW_MS);
    void *thing = thing_create(&f.mem, 1);
    f.mem.fail_in = 2;
    cr_assert(prepare(t, 1, value_of_thing(thing), NOW_MS) == NULL);
    cr_assert(things_alive == 1);
    thing_destroy(&f.mem, thing);
    commit(&f, other);
    cr_assert(entry_bytes(find(t, 1)).len == 100);
    check_table(t);
    fixture_deinit(&f);
}
