/* Each allocation that a table makes is made to fail once: the operation fails and has changed
 * nothing, or succeeds without it. */
#include "keyspace_fixture.h"

static char big[ENTRY_INLINE_MAX];

struct step {
    struct span key;
    struct value v;
    int64_t expire_ms;
};

/* Does the step with the n-th allocation failing, n = 1, 2, ... until it has no n-th one. What
 * fails leaves every byte of the account as it was; returns how many sites failed. */
static unsigned fail_each_put(struct fixture *f, const struct step *s) {
    struct table *t = keyspace_table(f->k, 0);
    uint64_t hash = hash_of(s->key);
    const struct entry *old = table_find(t, s->key, hash);
    for (unsigned n = 1;; n++) {
        int64_t used = f->mem.used_bytes;
        uint64_t count = t->count, expires = t->expires;
        f->mem.fail_in = n;
        struct entry *e = table_put(t, s->key, hash, &s->v, s->expire_ms);
        bool failed = f->mem.fail_in == 0;
        f->mem.fail_in = 0;
        check_table(t);
        if (e != NULL) {
            cr_assert(entry_repr(e) == s->v.repr);
            return n - 1 + failed;
        }
        cr_assert(failed);
        cr_assert(f->mem.used_bytes == used, "site %u: %lld bytes more", n,
                  (long long)(f->mem.used_bytes - used));
        cr_assert(t->count == count);
        cr_assert(t->expires == expires);
        cr_assert(table_find(t, s->key, hash) == old);
    }
}

Test(table_nomem, first_key_of_a_table) {
    struct fixture f;
    fixture_init(&f, 1);
    struct step s = {SPAN("key"), value_of_int(1), NOW_MS};
    /* buckets, two directories, stamps, entry */
    cr_assert(fail_each_put(&f, &s) == 5);
    fixture_deinit(&f);
}

Test(table_nomem, first_expiry_of_a_segment) {
    struct fixture f;
    fixture_init(&f, 1);
    struct step s = {SPAN("key"), value_of_int(1), EXPIRE_NEVER};
    cr_assert(fail_each_put(&f, &s) == 4);
    s = (struct step){SPAN("other"), value_of_int(1), NOW_MS};
    cr_assert(fail_each_put(&f, &s) == 2);
    fixture_deinit(&f);
}

Test(table_nomem, overwrite_with_another_size_and_a_first_expiry) {
    struct fixture f;
    fixture_init(&f, 1);
    struct step s = {SPAN("key"), value_of_int(1), EXPIRE_NEVER};
    fail_each_put(&f, &s);
    s.v = value_of_bytes((struct span){big, 300});
    cr_assert(fail_each_put(&f, &s) == 1);
    s.v = value_of_bytes((struct span){big, 900});
    s.expire_ms = NOW_MS;
    cr_assert(fail_each_put(&f, &s) == 2);
    s.v = value_of_bytes((struct span){big, 899});
    cr_assert(fail_each_put(&f, &s) == 0);
    fixture_deinit(&f);
}

Test(table_nomem, overwrite_of_an_object_leaves_it_alone) {
    struct fixture f;
    fixture_init(&f, 1);
    struct step s = {SPAN("key"), value_of_thing(thing_create(&f.mem, 1)), EXPIRE_NEVER};
    fail_each_put(&f, &s);
    s.v = value_of_bytes((struct span){big, 700});
    cr_assert(fail_each_put(&f, &s) == 1);
    cr_assert(things_alive == 0);
    /* A put that fails leaves the new object to its owner. */
    s.v = value_of_thing(thing_create(&f.mem, 2));
    cr_assert(fail_each_put(&f, &s) == 1);
    cr_assert(things_alive == 1);
    fixture_deinit(&f);
}

Test(table_nomem, set_expire) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct span key = SPAN("key");
    uint64_t hash = hash_of(key);
    struct value v = value_of_bytes((struct span){big, 55}); /* 64 bytes; 70 with an expiry */
    struct entry *e = table_put(t, key, hash, &v, EXPIRE_NEVER);
    int64_t used = f.mem.used_bytes;
    for (unsigned n = 1; n <= 2; n++) {
        f.mem.fail_in = n;
        cr_assert(table_set_expire(t, e, hash, NOW_MS) == NULL);
        cr_assert(f.mem.used_bytes == used);
        cr_assert(table_find(t, key, hash) == e);
        check_table(t);
    }
    e = table_set_expire(t, e, hash, NOW_MS);
    cr_assert(e != NULL && entry_expire_ms(e) == NOW_MS);
    fixture_deinit(&f);
}

/* Every k-th allocation fails while a table grows far and shrinks again: puts that were refused are
 * tried again, splits and merges that were not possible wait. */
Test(table_nomem, growing_and_shrinking_under_failures) {
    char name[KEY_BYTES_MAX];
    for (unsigned every = 1; every <= 7; every += 2) {
        struct fixture f;
        fixture_init(&f, every);
        int64_t bare = f.mem.used_bytes;
        struct table *t = keyspace_table(f.k, 0);
        unsigned refused = 0;
        for (uint64_t n = 0; n < 20000; n++) {
            struct span key = key_name(name, n, 0);
            struct value v = value_of_int((int64_t)n);
            f.mem.fail_in = 1 + rng_below(&f.rng, every);
            while (table_put(t, key, hash_of(key), &v, n % 3 ? NOW_MS : EXPIRE_NEVER) == NULL)
                refused++;
            f.mem.fail_in = 0;
        }
        check_keyspace(&f, bare);
        cr_assert(refused > 2000);
        for (uint64_t n = 0; n < 20000; n++) {
            struct span key = key_name(name, n, 0);
            f.mem.fail_in = 1 + rng_below(&f.rng, every);
            cr_assert(table_delete(t, key, hash_of(key)), "a delete never fails");
            f.mem.fail_in = 0;
            if (n % 1000 == 0)
                check_keyspace(&f, bare);
        }
        fixture_deinit(&f);
    }
}

/* The n-th allocation from a point on fails and all after it, for the whole of a growth: the table
 * answers on with longer chains, and takes up growing when there is memory. */
Test(table_nomem, growth_catches_up) {
    char name[KEY_BYTES_MAX];
    struct fixture f;
    fixture_init(&f, 9);
    struct table *t = keyspace_table(f.k, 0);
    for (uint64_t n = 0; n < 8000; n++) {
        struct span key = key_name(name, n, 0);
        struct value v = value_of_int((int64_t)n);
        struct entry *e = NULL;
        while (e == NULL) {
            /* The entry may be had, what growing takes may not. */
            f.mem.fail_in = n > 20 ? 2 : 0;
            e = table_put(t, key, hash_of(key), &v, EXPIRE_NEVER);
            f.mem.fail_in = 0;
            if (e == NULL) /* an overflow bucket it was */
                e = table_put(t, key, hash_of(key), &v, EXPIRE_NEVER);
        }
    }
    check_table(t);
    for (uint64_t n = 0; n < 8000; n++) {
        struct span key = key_name(name, n + 8000, 0);
        struct value v = value_of_int(1);
        cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
    }
    check_table(t);
    cr_assert(t->count * 20 <= (uint64_t)t->bucket_count * TABLE_GROW_PER_20);
    fixture_deinit(&f);
}

Test(table_nomem, flush_needs_none) {
    char name[KEY_BYTES_MAX];
    for (unsigned n = 1; n <= 3; n++) {
        struct fixture f;
        fixture_init(&f, n);
        struct table *t = keyspace_table(f.k, 3);
        int64_t empty = f.mem.used_bytes;
        for (uint64_t i = 0; i < 3000; i++) {
            struct span key = key_name(name, i, 0);
            struct value v = i % 2 ? value_of_int(1) : value_of_thing(thing_create(&f.mem, i));
            cr_assert(table_put(t, key, hash_of(key), &v, i % 3 ? NOW_MS : 0) != NULL);
        }
        f.mem.fail_in = n;
        cr_assert(keyspace_flush(f.k, 3) == 3000);
        f.mem.fail_in = 0;
        t = keyspace_table(f.k, 3);
        cr_assert(t->count == 0 && t->expires == 0);
        struct span key = SPAN("after");
        struct value v = value_of_int(1);
        cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
        check_table(t);
        while (keyspace_free_some(f.k, 100)) {
        }
        cr_assert(table_delete(t, key, hash_of(key)));
        cr_assert(f.mem.used_bytes == empty);
        cr_assert(things_alive == 0);
        fixture_deinit(&f);
    }
}

Test(table_nomem, create) {
    struct mem m = {.fail_in = 1};
    struct keyspace *k;
    cr_assert(keyspace_create(&k, &m, 16) == ERR_NOMEM);
    cr_assert(m.used_bytes == 0);
    cr_assert(keyspace_create(&k, &m, 16) == OK);
    m.fail_in = 1;
    cr_assert(keyspace_table(k, 0) == NULL);
    cr_assert(keyspace_table(k, 0) != NULL);
    keyspace_destroy(k);
    cr_assert(m.used_bytes == 0);
}
