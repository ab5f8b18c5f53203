/* What expires inside of objects: the sweep takes it out in time, wherever the entry has moved meanwhile. */
#include "keyspace_fixture.h"

enum { SLICE = 50 };

static struct span name_of(uint64_t n) {
    static char name[KEY_BYTES_MAX];
    return key_name(name, n, 0);
}

static struct entry *find(struct fixture *f, unsigned db, uint64_t n) {
    struct span key = name_of(n);
    return table_find(keyspace_table(f->k, db), key, hash_of(key));
}

static struct crowd *crowd_of(struct fixture *f, uint64_t n) {
    return entry_object(find(f, 0, n));
}

/* make: a crowd of `timed` members that go at due_ms and as many as `staying` that do not. */
static struct value make(struct fixture *f, uint64_t timed, int64_t due_ms, uint64_t staying) {
    struct crowd *c = crowd_create(&f->mem, 1, staying);
    for (uint64_t i = 0; i < timed; i++)
        cr_assert(crowd_add(&f->mem, c, due_ms));
    return value_of_crowd(c);
}

static void put(struct fixture *f, uint64_t n, struct value v, int64_t expire_ms) {
    struct span key = name_of(n);
    cr_assert(table_put(keyspace_table(f->k, 0), key, hash_of(key), &v, expire_ms) != NULL);
}

static unsigned sweep(struct fixture *f, int64_t now_ms) {
    unsigned slices = 1;
    for (; keyspace_expire_some(f->k, now_ms, SLICE); slices++)
        cr_assert(slices < 1000000, "a sweep does not end");
    return slices;
}

Test(keyspace_inner, inv10_members_go_in_time_and_the_last_takes_the_key_along) {
    struct fixture f;
    fixture_init(&f, 1);
    put(&f, 1, make(&f, 2, NOW_MS, 0), EXPIRE_NEVER);
    put(&f, 2, make(&f, 2, NOW_MS, 1), EXPIRE_NEVER);
    put(&f, 3, make(&f, 2, NOW_MS + 5000, 0), EXPIRE_NEVER);
    put(&f, 4, make(&f, 0, 0, 3), EXPIRE_NEVER);
    struct table *t = keyspace_table(f.k, 0);
    cr_assert(table_expires(t) == 0);
    sweep(&f, NOW_MS);
    cr_assert(crowd_of(&f, 1)->head.count == 2, "a time is over when it is past");
    sweep(&f, NOW_MS + EXPIRE_TICK_MS);
    cr_assert(find(&f, 0, 1) == NULL);
    cr_assert(crowd_of(&f, 2)->head.count == 1);
    cr_assert(crowd_of(&f, 3)->head.count == 2);
    cr_assert(crowd_of(&f, 4)->head.count == 3);
    cr_assert(table_count(t) == 3);
    cr_assert(keyspace_stats(f.k)->expired_inner == 4);
    cr_assert(keyspace_stats(f.k)->expired == 0);
    check_table(t);
    sweep(&f, NOW_MS + 5000 + EXPIRE_TICK_MS);
    cr_assert(find(&f, 0, 3) == NULL);
    cr_assert(keyspace_stats(f.k)->expired_inner == 6);
    check_table(t);
    fixture_deinit(&f);
}

/* A key that is dead itself is one key that expired, whatever it held. */
Test(keyspace_inner, a_dead_key_counts_as_a_key) {
    struct fixture f;
    fixture_init(&f, 1);
    put(&f, 1, make(&f, 5, NOW_MS - 9, 5), NOW_MS);
    sweep(&f, NOW_MS + EXPIRE_TICK_MS);
    cr_assert(keyspace_stats(f.k)->expired == 1);
    cr_assert(keyspace_stats(f.k)->expired_inner == 0);
    cr_assert(things_alive == 0);
    fixture_deinit(&f);
}

Test(keyspace_inner, a_huge_object_is_swept_in_slices) {
    enum { MEMBERS = 10000 };
    struct fixture f;
    fixture_init(&f, 1);
    put(&f, 1, make(&f, MEMBERS, NOW_MS, 7), EXPIRE_NEVER);
    put(&f, 2, make(&f, 1, NOW_MS, 1), EXPIRE_NEVER);
    uint64_t before = MEMBERS + 7, cuts = 0;
    while (keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, SLICE)) {
        uint64_t now = crowd_of(&f, 1)->head.count;
        cr_assert(before - now <= SLICE);
        cr_assert(before - now >= SLICE - 10, "most of a slice is work");
        before = now;
        cuts++;
        check_table(keyspace_table(f.k, 0));
    }
    cr_assert(cuts >= MEMBERS / SLICE && cuts <= MEMBERS / SLICE * 5 / 4);
    cr_assert(crowd_of(&f, 1)->head.count == 7);
    cr_assert(crowd_of(&f, 2)->head.count == 1);
    cr_assert(keyspace_stats(f.k)->expired_inner == MEMBERS + 1);
    fixture_deinit(&f);
}

/* Whatever the slice, even one that is smaller than a chain. */
Test(keyspace_inner, the_smallest_slice_gets_on) {
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < 200; n++)
        put(&f, n, make(&f, 3, NOW_MS, n % 2), EXPIRE_NEVER);
    unsigned slices = 0;
    for (; keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, 1); slices++)
        cr_assert(slices < 10000);
    cr_assert(table_count(keyspace_table(f.k, 0)) == 100);
    cr_assert(keyspace_stats(f.k)->expired_inner == 600);
    fixture_deinit(&f);
}

/* --- wherever the entry goes --- */

static void by_note(struct fixture *f) {
    put(f, 1, make(f, 0, 0, 1), EXPIRE_NEVER);
    struct entry *e = find(f, 0, 1);
    cr_assert(crowd_add(&f->mem, entry_object(e), NOW_MS));
    cr_assert(table_note_due(keyspace_table(f->k, 0), e, hash_of(name_of(1)), NOW_MS));
    cr_assert(table_note_due(keyspace_table(f->k, 0), e, hash_of(name_of(1)), OBJECT_NEVER));
}

static void by_overwrite(struct fixture *f) {
    put(f, 1, value_of_int(5), EXPIRE_NEVER);
    put(f, 1, make(f, 1, NOW_MS, 1), EXPIRE_KEEP);
}

static void by_expiry(struct fixture *f) {
    put(f, 1, make(f, 1, NOW_MS, 1), NOW_MS + 100000);
    struct table *t = keyspace_table(f->k, 0);
    struct entry *e = table_set_expire(t, find(f, 0, 1), hash_of(name_of(1)), NOW_MS + 200000);
    cr_assert(table_set_expire(t, e, hash_of(name_of(1)), EXPIRE_NEVER) != NULL);
}

/* move: what a key of database 0 holds goes elsewhere, as RENAME and MOVE do it. */
static void move(struct fixture *f, uint64_t from, unsigned db, uint64_t to) {
    char scratch[ENTRY_INLINE_MAX];
    struct value v;
    int64_t expire_ms;
    struct table *t = keyspace_table(f->k, 0);
    cr_assert(table_take(t, name_of(from), hash_of(name_of(from)), scratch, &v, &expire_ms));
    t = keyspace_table(f->k, db);
    cr_assert(table_put(t, name_of(to), hash_of(name_of(to)), &v, expire_ms) != NULL);
}

static void by_move(struct fixture *f) {
    put(f, 1, make(f, 1, NOW_MS, 1), EXPIRE_NEVER);
    move(f, 1, 3, 1);
    keyspace_swap(f->k, 3, 0);
}

static void by_rename(struct fixture *f) {
    put(f, 77, make(f, 1, NOW_MS, 1), EXPIRE_NEVER);
    move(f, 77, 0, 1);
}

static void by_commit(struct fixture *f, int64_t expire_ms) {
    struct value v = make(f, 1, NOW_MS, 1);
    struct table *t = keyspace_table(f->k, 0);
    struct prepared *p = table_prepare(t, name_of(1), hash_of(name_of(1)), &v, expire_ms);
    sweep(f, NOW_MS - 1000); /* which renews stamps */
    f->mem.fail_in = f->mem.fail_every = 1;
    cr_assert(table_commit(p, NOW_MS) != NULL);
    f->mem.fail_in = f->mem.fail_every = 0;
}

static void by_commit_new(struct fixture *f) {
    by_commit(f, EXPIRE_NEVER);
}

static void by_commit_keep(struct fixture *f) {
    put(f, 1, value_of_int(1), NOW_MS + 100000);
    by_commit(f, EXPIRE_KEEP);
}

static void by_commit_after_flush(struct fixture *f) {
    struct value v = make(f, 1, NOW_MS, 1);
    for (uint64_t n = 2; n < 2000; n++)
        put(f, n, value_of_int(1), EXPIRE_NEVER);
    struct prepared *p =
        table_prepare(keyspace_table(f->k, 0), name_of(1), hash_of(name_of(1)), &v, EXPIRE_NEVER);
    keyspace_flush(f->k, 0);
    f->mem.fail_in = f->mem.fail_every = 1;
    cr_assert(table_commit(p, NOW_MS) != NULL);
    f->mem.fail_in = f->mem.fail_every = 0;
}

static void by_growth(struct fixture *f) {
    put(f, 1, make(f, 1, NOW_MS, 1), EXPIRE_NEVER);
    for (uint64_t n = 2; n < 30000; n++)
        put(f, n, value_of_int(1), EXPIRE_NEVER);
}

static void by_shrinking(struct fixture *f) {
    by_growth(f);
    for (uint64_t n = 2; n < 30000; n++)
        cr_assert(table_delete(keyspace_table(f->k, 0), name_of(n), hash_of(name_of(n))));
}

/* What was abandoned had stamps; those of others stay. */
static void by_abandon(struct fixture *f) {
    put(f, 1, make(f, 1, NOW_MS, 1), EXPIRE_NEVER);
    struct value v = value_of_int(1);
    table_abandon(
        table_prepare(keyspace_table(f->k, 0), name_of(2), hash_of(name_of(2)), &v, NOW_MS));
}

Test(keyspace_inner, inv6_inv10_the_sweep_finds_it_wherever_it_went) {
    static const struct {
        const char *name;
        void (*go)(struct fixture *f);
    } ways[] = {{"note", by_note},
                {"overwrite", by_overwrite},
                {"expiry", by_expiry},
                {"move", by_move},
                {"rename", by_rename},
                {"commit", by_commit_new},
                {"commit that keeps", by_commit_keep},
                {"commit after a flush", by_commit_after_flush},
                {"growth", by_growth},
                {"shrinking", by_shrinking},
                {"abandon", by_abandon}};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct fixture f;
        fixture_init(&f, i);
        ways[i].go(&f);
        check_table(keyspace_table(f.k, 0));
        sweep(&f, NOW_MS + EXPIRE_TICK_MS);
        cr_assert(crowd_of(&f, 1)->head.count == 1, "after %s the sweep passes by", ways[i].name);
        cr_assert(keyspace_stats(f.k)->expired_inner == 1);
        check_table(keyspace_table(f.k, 0));
        fixture_deinit(&f);
    }
}

/* --- pinned keys --- */

static uint64_t pinned_hash;

static bool pinned(void *arg, uint64_t hash) {
    (void)arg;
    return hash == pinned_hash;
}

/* Not even looked at: it may be another shard's by now. */
Test(keyspace_inner, inv8_what_is_pinned_is_left_alone) {
    struct fixture f;
    fixture_init(&f, 1);
    pinned_hash = hash_of(name_of(1));
    keyspace_guard(f.k, pinned, NULL);
    put(&f, 1, make(&f, 2, NOW_MS, 1), EXPIRE_NEVER);
    put(&f, 2, make(&f, 2, NOW_MS, 1), EXPIRE_NEVER);
    struct crowd *elsewhere = crowd_of(&f, 1);
    entry_set_object(find(&f, 0, 1), (void *)8);
    for (int64_t i = 1; i < 4; i++)
        sweep(&f, NOW_MS + i * EXPIRE_TICK_MS);
    cr_assert(elsewhere->head.count == 3);
    cr_assert(crowd_of(&f, 2)->head.count == 1);
    entry_set_object(find(&f, 0, 1), elsewhere);
    pinned_hash = 0;
    sweep(&f, NOW_MS + 4 * EXPIRE_TICK_MS);
    cr_assert(elsewhere->head.count == 1, "it was forgotten");
    fixture_deinit(&f);
}

/* --- without memory --- */

/* Every allocation fails once; what failed has changed nothing, to the byte. */
Test(keyspace_inner, without_memory_nothing_changes) {
    for (unsigned how = 0; how < 4; how++) {
        for (uint64_t fail = 1;; fail++) {
            struct fixture f;
            fixture_init(&f, how);
            struct table *t = keyspace_table(f.k, 0);
            if (how != 0)
                put(&f, 1, make(&f, 0, 0, 1), EXPIRE_NEVER);
            struct value v = how == 3 ? value_of_int(0) : make(&f, 2, NOW_MS, 1);
            struct span key = name_of(1);
            int64_t before = f.mem.used_bytes;
            f.mem.fail_in = fail;
            bool done;
            if (how == 2) {
                struct prepared *p = table_prepare(t, key, hash_of(key), &v, EXPIRE_NEVER);
                done = p != NULL;
                f.mem.fail_in = 0;
                if (done)
                    cr_assert(table_commit(p, NOW_MS) != NULL);
            } else if (how == 3) {
                done = table_note_due(t, find(&f, 0, 1), hash_of(key), NOW_MS);
            } else {
                done = table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL;
            }
            f.mem.fail_in = 0;
            if (!done)
                cr_assert(f.mem.used_bytes == before, "way %u, allocation %llu", how,
                          (unsigned long long)fail);
            if (!done && v.object != NULL)
                crowd_destroy(&f.mem, v.object);
            check_table(t);
            fixture_deinit(&f);
            if (done) {
                cr_assert(fail > 1, "way %u takes memory", how);
                break;
            }
        }
    }
}

/* Taking out what is dead needs none. */
Test(keyspace_inner, a_sweep_needs_no_memory) {
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < 5000; n++)
        put(&f, n, make(&f, 1 + n % 3, NOW_MS, n % 2), EXPIRE_NEVER);
    f.mem.fail_in = f.mem.fail_every = 1;
    sweep(&f, NOW_MS + EXPIRE_TICK_MS);
    f.mem.fail_in = f.mem.fail_every = 0;
    cr_assert(table_count(keyspace_table(f.k, 0)) == 2500);
    check_table(keyspace_table(f.k, 0));
    fixture_deinit(&f);
}

/* --- whole tables --- */

/* A table where nothing is due costs a sweep nothing: the slice of one entry is enough for it. */
Test(keyspace_inner, a_table_where_nothing_is_due_is_passed_over) {
    enum { KEYS = 100000 };
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < KEYS; n++)
        put(&f, n, n % 2 ? make(&f, 1, NOW_MS + 50000, 0) : value_of_int(1),
            n % 4 ? EXPIRE_NEVER : NOW_MS + 50000);
    cr_assert(!keyspace_expire_some(f.k, NOW_MS, 1));
    put(&f, 1, make(&f, 1, NOW_MS, 1), EXPIRE_NEVER);
    cr_assert(keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, 1), "it has 12 segments");
    sweep(&f, NOW_MS + EXPIRE_TICK_MS);
    cr_assert(crowd_of(&f, 1)->head.count == 1);
    cr_assert(!keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, 1), "swept, and still due");
    sweep(&f, NOW_MS + 50000 + EXPIRE_TICK_MS);
    cr_assert(table_count(keyspace_table(f.k, 0)) == KEYS / 4 + 1);
    fixture_deinit(&f);
}

/* What is stored where a sweep has been already, before that sweep has ended. */
Test(keyspace_inner, inv6_what_comes_while_a_sweep_is_on_is_not_forgotten) {
    enum { KEYS = 20000 };
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < KEYS; n++)
        put(&f, n, make(&f, 1, NOW_MS, 1), EXPIRE_NEVER);
    for (unsigned i = 0; i < KEYS / SLICE; i++) /* about half of it */
        cr_assert(keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, SLICE));
    uint64_t first = 0;
    while (crowd_of(&f, first)->head.count != 1) /* which is where the sweep has been */
        first++;
    put(&f, first, make(&f, 1, NOW_MS + 5000, 1), EXPIRE_NEVER);
    sweep(&f, NOW_MS + EXPIRE_TICK_MS);
    cr_assert(crowd_of(&f, first)->head.count == 2);
    sweep(&f, NOW_MS + 5000 + EXPIRE_TICK_MS);
    cr_assert(crowd_of(&f, first)->head.count == 1);
    check_table(keyspace_table(f.k, 0));
    fixture_deinit(&f);
}

/* A sweep that is half done, and then its table has another number, or is emptied and filled again. */
Test(keyspace_inner, inv6_a_sweep_that_is_interrupted_forgets_nothing) {
    enum { KEYS = 20000 };
    for (unsigned how = 0; how < 4; how++) {
        struct fixture f;
        fixture_init(&f, how);
        for (unsigned db = 0; db < 2; db++) {
            for (uint64_t n = 0; n < KEYS; n++)
                put(&f, n, n % 2 ? make(&f, 1, NOW_MS, 0) : value_of_int(1),
                    n % 2 ? EXPIRE_NEVER : NOW_MS);
            keyspace_swap(f.k, 0, 1);
        }
        for (unsigned i = 0; i < 100; i++)
            cr_assert(keyspace_expire_some(f.k, NOW_MS + EXPIRE_TICK_MS, SLICE));
        if (how & 1)
            keyspace_swap(f.k, 0, 1);
        if (how & 2) {
            keyspace_flush(f.k, 0);
            for (uint64_t n = 0; n < KEYS; n++)
                put(&f, n, make(&f, 1, NOW_MS, 0), EXPIRE_NEVER);
        }
        sweep(&f, NOW_MS + EXPIRE_TICK_MS);
        sweep(&f, NOW_MS + 2 * EXPIRE_TICK_MS);
        cr_assert(table_count(keyspace_table(f.k, 0)) == 0);
        cr_assert(table_count(keyspace_table(f.k, 1)) == 0);
        fixture_deinit(&f);
    }
}
