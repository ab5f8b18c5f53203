/* Objects that take long to free: whatever drops them puts them off, without memory, and slices free them. */
#include "keyspace_fixture.h"

enum { HUGE = 5000, SLICE = 100 };

static struct span name_of(uint64_t n) {
    static char name[KEY_BYTES_MAX];
    return key_name(name, n, 0);
}

static void put(struct fixture *f, uint64_t n, struct value v, int64_t expire_ms) {
    struct span key = name_of(n);
    cr_assert(table_put(keyspace_table(f->k, 0), key, hash_of(key), &v, expire_ms) != NULL);
}

static void put_crowd(struct fixture *f, uint64_t n, uint64_t members, int64_t expire_ms) {
    put(f, n, value_of_crowd(crowd_create(&f->mem, n, members)), expire_ms);
}

static bool drop(struct fixture *f, uint64_t n) {
    struct span key = name_of(n);
    return table_delete(keyspace_table(f->k, 0), key, hash_of(key));
}

static struct prepared *prepare(struct fixture *f, uint64_t n, struct value v) {
    struct span key = name_of(n);
    return table_prepare(keyspace_table(f->k, 0), key, hash_of(key), &v, EXPIRE_NEVER);
}

/* --- the ways to go --- */

static void by_delete(struct fixture *f) {
    put_crowd(f, 1, HUGE, EXPIRE_NEVER);
    cr_assert(drop(f, 1));
}

static void by_overwrite(struct fixture *f) {
    put_crowd(f, 1, HUGE, EXPIRE_NEVER);
    put(f, 1, value_of_int(1), EXPIRE_NEVER);
}

static void by_another_object(struct fixture *f) {
    put_crowd(f, 1, HUGE, EXPIRE_NEVER);
    put_crowd(f, 1, 1, EXPIRE_NEVER);
    cr_assert(things_alive == 2);
    cr_assert(drop(f, 1)); /* which is light */
}

static void by_commit(struct fixture *f) {
    put_crowd(f, 1, HUGE, EXPIRE_NEVER);
    struct prepared *p = prepare(f, 1, value_of_int(1));
    cr_assert(keyspace_stats(f->k)->pending_free == 0);
    cr_assert(table_commit(p, NOW_MS) != NULL);
}

static void by_abandon(struct fixture *f) {
    table_abandon(prepare(f, 1, value_of_crowd(crowd_create(&f->mem, 1, HUGE))));
}

static void by_look(struct fixture *f) {
    put_crowd(f, 1, HUGE, NOW_MS);
    struct span key = name_of(1);
    cr_assert(keyspace_find(f->k, 0, key, hash_of(key), NOW_MS + 1) == NULL);
}

static void by_sweep(struct fixture *f) {
    put_crowd(f, 1, HUGE, NOW_MS);
    while (keyspace_expire_some(f->k, NOW_MS + EXPIRE_TICK_MS, 10)) {
    }
    cr_assert(table_count(keyspace_table(f->k, 0)) == 0);
}

static void by_flush_without_memory(struct fixture *f) {
    put_crowd(f, 1, HUGE, EXPIRE_NEVER);
    f->mem.fail_in = f->mem.fail_every = 1;
    cr_assert(keyspace_flush(f->k, 0) == 1);
    f->mem.fail_in = f->mem.fail_every = 0;
}

static void by_flush_under_a_write(struct fixture *f) {
    put_crowd(f, 1, HUGE, EXPIRE_NEVER);
    struct prepared *p = prepare(f, 2, value_of_int(1));
    f->mem.fail_in = f->mem.fail_every = 1;
    cr_assert(keyspace_flush(f->k, 0) == 1);
    f->mem.fail_in = f->mem.fail_every = 0;
    table_abandon(p);
}

static void by_burial(struct fixture *f) {
    keyspace_bury(f->k, &crowd_create(&f->mem, 1, HUGE)->head);
}

/* expect_slices: the only object that is left goes in slices, and then there is nothing more. */
static void expect_slices(struct fixture *f, const char *how) {
    unsigned slices = 0;
    cr_assert(things_alive == 1, "%s has freed it", how);
    cr_assert(keyspace_stats(f->k)->pending_free == 1, "%s: not counted", how);
    for (bool more = true; more; slices++) {
        int64_t before = f->mem.used_bytes;
        f->mem.fail_in = f->mem.fail_every = 1; /* not that it would need any */
        more = keyspace_free_some(f->k, SLICE);
        f->mem.fail_in = f->mem.fail_every = 0;
        int64_t freed = before - f->mem.used_bytes;
        cr_assert(freed > 0, "%s: a slice does nothing", how);
        cr_assert(freed <= SLICE * (int64_t)mem_size(sizeof(struct crowd)));
        cr_assert(keyspace_stats(f->k)->pending_free == more);
    }
    cr_assert(slices == HUGE / SLICE + 1);
    cr_assert(keyspace_stats(f->k)->freed_late == 1, "%s: %llu", how,
              (unsigned long long)keyspace_stats(f->k)->freed_late);
    cr_assert(things_alive == 0);
}

Test(object_free, inv9_whatever_drops_a_heavy_object_puts_it_off) {
    static const struct {
        const char *name;
        void (*go)(struct fixture *f);
    } ways[] = {{"delete", by_delete},
                {"overwrite", by_overwrite},
                {"another object", by_another_object},
                {"commit", by_commit},
                {"abandon", by_abandon},
                {"look", by_look},
                {"sweep", by_sweep},
                {"flush without memory", by_flush_without_memory},
                {"flush under a write", by_flush_under_a_write},
                {"burial", by_burial}};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct fixture f;
        fixture_init(&f, i);
        int64_t bare = f.mem.used_bytes;
        ways[i].go(&f);
        expect_slices(&f, ways[i].name);
        check_keyspace(&f, bare);
        fixture_deinit(&f);
    }
}

/* A crowd weighs one more than it has members. */
Test(object_free, inv9_a_light_one_goes_at_once) {
    struct fixture f;
    fixture_init(&f, 1);
    put_crowd(&f, 1, OBJECT_WEIGHT_NOW - 1, EXPIRE_NEVER);
    cr_assert(drop(&f, 1));
    cr_assert(things_alive == 0);
    cr_assert(keyspace_stats(f.k)->pending_free == 0);
    put_crowd(&f, 1, OBJECT_WEIGHT_NOW, EXPIRE_NEVER);
    cr_assert(drop(&f, 1));
    cr_assert(things_alive == 1);
    cr_assert(keyspace_stats(f.k)->pending_free == 1);
    cr_assert(!keyspace_free_some(f.k, 1000));
    cr_assert(things_alive == 0);
    fixture_deinit(&f);
}

/* An object that cannot be freed in slices is freed at once, however large. */
Test(object_free, types_without_slices_go_at_once) {
    struct fixture f;
    fixture_init(&f, 1);
    put(&f, 1, value_of_thing(thing_create(&f.mem, 1)), EXPIRE_NEVER);
    cr_assert(drop(&f, 1));
    cr_assert(things_alive == 0);
    fixture_deinit(&f);
}

/* Flushed tables bring their heavy objects along: each key counts once, as an entry or as an object. */
Test(object_free, a_flushed_table_counts_each_key_once) {
    enum { KEYS = 300 };
    struct fixture f;
    fixture_init(&f, 1);
    int64_t bare = f.mem.used_bytes;
    for (uint64_t n = 0; n < KEYS; n++) {
        if (n % 3 == 0)
            put(&f, n, value_of_int(1), EXPIRE_NEVER);
        else
            put_crowd(&f, n, n % 3 == 1 ? 10 : 200, n % 2 ? EXPIRE_NEVER : NOW_MS);
    }
    cr_assert(keyspace_flush(f.k, 0) == KEYS);
    for (bool more = true; more;) {
        int64_t before = f.mem.used_bytes;
        uint64_t waiting = keyspace_stats(f.k)->pending_free;
        more = keyspace_free_some(f.k, SLICE);
        cr_assert(keyspace_stats(f.k)->pending_free <= waiting);
        cr_assert(keyspace_stats(f.k)->pending_free + keyspace_stats(f.k)->freed_late == KEYS);
        /* One chain more than the slice: its light objects go with it. */
        cr_assert(before - f.mem.used_bytes < (SLICE + 300) * 64);
    }
    cr_assert(keyspace_stats(f.k)->pending_free == 0);
    cr_assert(things_alive == 0);
    check_keyspace(&f, bare);
    fixture_deinit(&f);
}

/* The sweep, too, pays for the light objects that it frees. */
Test(object_free, a_sweep_counts_what_it_frees) {
    enum { KEYS = 2000, MEMBERS = OBJECT_WEIGHT_NOW - 1 };
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < KEYS; n++)
        put_crowd(&f, n, MEMBERS, NOW_MS);
    for (bool more = true; more;) {
        int64_t before = things_alive;
        more = keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, 1000);
        cr_assert(before - things_alive < 1000 / MEMBERS + 8 * TABLE_GROUP * 3 * BUCKET_PLACES);
    }
    cr_assert(things_alive == 0);
    fixture_deinit(&f);
}

Test(object_free, a_keyspace_that_goes_takes_all_with_it) {
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < 10; n++)
        put_crowd(&f, n, HUGE, EXPIRE_NEVER);
    cr_assert(drop(&f, 1));
    cr_assert(keyspace_flush(f.k, 0) == 9);
    put_crowd(&f, 1, HUGE, EXPIRE_NEVER);
    (void)keyspace_free_some(f.k, SLICE);
    fixture_deinit(&f); /* which looks at the account */
}
