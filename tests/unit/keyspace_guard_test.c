/* Keys that are pinned, and databases that change places. */
#include "keyspace_fixture.h"

static struct entry *put_int(struct fixture *f, unsigned db, uint64_t n, int64_t expire_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct value v = value_of_int((int64_t)n);
    return table_put(keyspace_table(f->k, db), key, hash_of(key), &v, expire_ms);
}

static struct entry *find_at(struct fixture *f, unsigned db, uint64_t n, int64_t now_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return keyspace_find(f->k, db, key, hash_of(key), now_ms);
}

static void sweep(struct fixture *f, int64_t now_ms) {
    while (keyspace_expire_some(f->k, now_ms, 50)) {
    }
}

struct pins {
    uint64_t hash;
    bool any;
    unsigned asked;
};

static bool pinned(void *arg, uint64_t hash) {
    struct pins *p = arg;
    p->asked++;
    return p->any && p->hash == hash;
}

static uint64_t hash_of_name(uint64_t n) {
    char name[KEY_BYTES_MAX];
    return hash_of(key_name(name, n, 0));
}

Test(keyspace_guard, inv8_a_pinned_key_is_dead_and_stays) {
    struct fixture f;
    struct pins pins = {0};
    fixture_init(&f, 1);
    keyspace_guard(f.k, pinned, &pins);
    pins.hash = hash_of_name(1);
    pins.any = true;
    for (unsigned db = 0; db < 2; db++) {
        const struct entry *e = put_int(&f, db, 1, NOW_MS);
        put_int(&f, db, 2, NOW_MS);
        cr_assert(find_at(&f, db, 1, NOW_MS) == e);
        cr_assert(find_at(&f, db, 1, NOW_MS + 1) == NULL);
        cr_assert(find_at(&f, db, 2, NOW_MS + 1) == NULL);
        cr_assert(table_count(keyspace_table(f.k, db)) == 1);
        cr_assert(keyspace_stats(f.k)->expired == db + 1);
        cr_assert(entry_int(e) == 1);
    }
    pins.any = false;
    cr_assert(find_at(&f, 0, 1, NOW_MS + 1) == NULL);
    cr_assert(find_at(&f, 1, 1, NOW_MS + 1) == NULL);
    cr_assert(keyspace_stats(f.k)->expired == 4);
    cr_assert(table_count(keyspace_table(f.k, 0)) == 0);
    fixture_deinit(&f);
}

Test(keyspace_guard, inv8_sweeps_leave_a_pinned_key_and_come_back_for_it) {
    enum { MANY = 2000 };
    struct fixture f;
    struct pins pins = {0};
    fixture_init(&f, 1);
    keyspace_guard(f.k, pinned, &pins);
    pins.any = true;
    for (uint64_t n = 0; n < MANY; n++)
        put_int(&f, 0, n, NOW_MS);
    struct table *t = keyspace_table(f.k, 0);
    int64_t now_ms = NOW_MS + EXPIRE_TICK_MS;
    for (uint64_t n = 0; n < 50; n++, now_ms += EXPIRE_TICK_MS) {
        pins.hash = hash_of_name(n);
        const struct entry *e = put_int(&f, 0, n, NOW_MS);
        for (unsigned turn = 0; turn < 3; turn++)
            sweep(&f, now_ms);
        cr_assert(table_count(t) == 1);
        cr_assert(table_find(t, entry_key(e), pins.hash) == e);
        check_table(t);
    }
    pins.any = false;
    sweep(&f, now_ms);
    cr_assert(table_count(t) == 0);
    cr_assert(keyspace_stats(f.k)->expired == MANY + 49);
    fixture_deinit(&f);
}

Test(keyspace_guard, only_dead_keys_are_asked_about) {
    struct fixture f;
    struct pins pins = {0};
    fixture_init(&f, 1);
    keyspace_guard(f.k, pinned, &pins);
    for (uint64_t n = 0; n < 1000; n++)
        put_int(&f, 0, n, n % 2 ? NOW_MS + 100000 : EXPIRE_NEVER);
    for (uint64_t n = 0; n < 1000; n++)
        cr_assert(find_at(&f, 0, n, NOW_MS) != NULL);
    sweep(&f, NOW_MS);
    cr_assert(pins.asked == 0);
    keyspace_guard(f.k, NULL, NULL);
    sweep(&f, NOW_MS + 200000);
    cr_assert(pins.asked == 0);
    cr_assert(table_count(keyspace_table(f.k, 0)) == 500);
    fixture_deinit(&f);
}

Test(keyspace_guard, a_pinned_key_can_be_written_to) {
    struct fixture f;
    struct pins pins = {hash_of_name(1), true, 0};
    fixture_init(&f, 1);
    keyspace_guard(f.k, pinned, &pins);
    put_int(&f, 0, 1, NOW_MS);
    cr_assert(find_at(&f, 0, 1, NOW_MS + 1) == NULL);
    put_int(&f, 0, 1, EXPIRE_NEVER);
    cr_assert(find_at(&f, 0, 1, NOW_MS + 1) != NULL);
    /* What is dead has no expiry to be kept, deleted or not. */
    put_int(&f, 0, 1, NOW_MS);
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, 1, 0);
    struct value v = value_of_int(7);
    struct prepared *p = table_prepare(keyspace_table(f.k, 0), key, hash_of(key), &v, EXPIRE_KEEP);
    cr_assert(entry_expire_ms(table_commit(p, NOW_MS + 1)) == EXPIRE_NEVER);
    check_table(keyspace_table(f.k, 0));
    fixture_deinit(&f);
}

Test(keyspace_swap, databases_change_places) {
    struct fixture f;
    fixture_init(&f, 1);
    put_int(&f, 0, 1, EXPIRE_NEVER);
    put_int(&f, 1, 2, EXPIRE_NEVER);
    put_int(&f, 1, 3, EXPIRE_NEVER);
    f.mem.fail_in = f.mem.fail_every = 1;
    int64_t used = f.mem.used_bytes;
    keyspace_swap(f.k, 0, 1);
    cr_assert(find_at(&f, 1, 1, NOW_MS) != NULL && find_at(&f, 0, 1, NOW_MS) == NULL);
    cr_assert(find_at(&f, 0, 2, NOW_MS) != NULL && find_at(&f, 0, 3, NOW_MS) != NULL);
    keyspace_swap(f.k, 0, 0);
    cr_assert(table_count(keyspace_table(f.k, 0)) == 2);
    keyspace_swap(f.k, 15, 0); /* with one that was never used */
    cr_assert(keyspace_peek_table(f.k, 0) == NULL);
    cr_assert(table_count(keyspace_table(f.k, 15)) == 2);
    cr_assert(f.mem.used_bytes == used);
    f.mem.fail_in = f.mem.fail_every = 0;
    fixture_deinit(&f);
}

/* In the middle of a sweep too: what it has passed over goes with the next one. */
Test(keyspace_swap, what_is_due_goes_wherever_it_is) {
    enum { MANY = 20000 };
    struct fixture f;
    for (unsigned slices = 0; slices < 40; slices++) {
        fixture_init(&f, slices);
        for (uint64_t n = 0; n < MANY; n++)
            put_int(&f, (unsigned)(n % 3), n, n % 4 ? NOW_MS : EXPIRE_NEVER);
        for (unsigned i = 0; i < slices; i++)
            (void)keyspace_expire_some(f.k, NOW_MS + 1000, 400);
        keyspace_swap(f.k, slices % 3, (slices / 3) % 3);
        sweep(&f, NOW_MS + 1000);
        sweep(&f, NOW_MS + 1000 + EXPIRE_TICK_MS);
        uint64_t left = 0;
        for (unsigned db = 0; db < 3; db++) {
            left += table_count(keyspace_table(f.k, db));
            cr_assert(table_expires(keyspace_table(f.k, db)) == 0);
            check_table(keyspace_table(f.k, db));
        }
        cr_assert(left == MANY / 4);
        fixture_deinit(&f);
    }
}
