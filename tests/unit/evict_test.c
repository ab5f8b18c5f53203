/* Eviction: who may go, who goes first, and what entries remember of their uses. */
#include "../../shards/keyspace/evict_impl.h"
#include "keyspace_fixture.h"

static const enum evict_policy policies[] = {
    EVICT_ALLKEYS_LRU,     EVICT_ALLKEYS_LFU,     EVICT_ALLKEYS_LRM,  EVICT_ALLKEYS_RANDOM,
    EVICT_ALLKEYS_S3FIFO,  EVICT_VOLATILE_LRU,    EVICT_VOLATILE_LFU, EVICT_VOLATILE_LRM,
    EVICT_VOLATILE_RANDOM, EVICT_VOLATILE_S3FIFO, EVICT_VOLATILE_TTL};

static void choose(struct fixture *f, enum evict_policy p) {
    const struct evict_options o = {
        .policy = p, .samples = 5, .lfu_log_factor = 10, .lfu_decay_minutes = 1};
    keyspace_set_eviction(f->k, &o);
    access_at(keyspace_access(f->k), NOW_MS);
    cr_assert(keyspace_eviction(f->k) == p);
}

static bool is_volatile(enum evict_policy p) {
    return p >= EVICT_VOLATILE_LRU;
}

static void put(struct fixture *f, unsigned db, uint64_t n, int64_t expire_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct value v = value_of_int((int64_t)n);
    v.access = ACCESS_AUTO;
    cr_assert(table_put(keyspace_table(f->k, db), key, hash_of(key), &v, expire_ms) != NULL);
}

static struct entry *find_at(struct fixture *f, unsigned db, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct table *t = keyspace_peek_table(f->k, db);
    return t == NULL ? NULL : table_find(t, key, hash_of(key));
}

static void use(struct fixture *f, uint64_t n, int64_t now_ms) {
    access_use(keyspace_access(f->k), find_at(f, 0, n), now_ms);
}

static uint64_t hash_of_name(uint64_t n) {
    char name[KEY_BYTES_MAX];
    return hash_of(key_name(name, n, 0));
}

struct gone {
    struct fixture *f;
    uint64_t n;
    unsigned calls;
};

/* note: the entry is still there, and is the one that is told. */
static void note(void *arg, const struct evicted *what) {
    struct gone *g = arg;
    char text[KEY_BYTES_MAX];
    cr_assert(what->key.len < sizeof text);
    memcpy(text, what->key.ptr, what->key.len);
    text[what->key.len] = '\0';
    g->n = strtoull(text + 1, NULL, 10);
    g->calls++;
    cr_assert(what->hash == hash_of_name(g->n));
    cr_assert(find_at(g->f, what->db, g->n) != NULL);
}

/* evict: the number of the key that went, from database *db; UINT64_MAX: none could. */
static uint64_t evict_from(struct fixture *f, int64_t now_ms, unsigned *db) {
    struct gone g = {f, 0, 0};
    struct evicted e = {.going = note, .arg = &g};
    if (!keyspace_evict(f->k, now_ms, &e)) {
        cr_assert(g.calls == 0);
        return UINT64_MAX;
    }
    cr_assert(g.calls == 1);
    cr_assert(find_at(f, e.db, g.n) == NULL);
    *db = e.db;
    return g.n;
}

static uint64_t evict(struct fixture *f, int64_t now_ms) {
    unsigned db;
    return evict_from(f, now_ms, &db);
}

struct locks {
    uint64_t hash[8];
    unsigned n;
    bool all;
};

static bool locked(void *arg, uint64_t hash) {
    const struct locks *l = arg;
    for (unsigned i = 0; i < l->n; i++)
        if (l->hash[i] == hash)
            return true;
    return l->all;
}

Test(evict, nothing_goes_without_a_policy_or_keys) {
    struct fixture f;
    fixture_init(&f, 1);
    put(&f, 0, 1, EXPIRE_NEVER);
    cr_assert(evict(&f, NOW_MS) == UINT64_MAX);
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        choose(&f, policies[i]);
        cr_assert((evict(&f, NOW_MS) == UINT64_MAX) == is_volatile(policies[i]));
        cr_assert(evict(&f, NOW_MS) == UINT64_MAX);
        put(&f, 0, 1, EXPIRE_NEVER);
    }
    fixture_deinit(&f);
}

Test(evict, inv1_only_volatile_keys_go_to_the_last_and_locked_ones_stay) {
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        struct fixture f;
        struct locks locks = {.n = 2}, pins = {.n = 2};
        fixture_init(&f, i + 1);
        int64_t bare = f.mem.used_bytes;
        choose(&f, policies[i]);
        keyspace_guard_locked(f.k, locked, &locks);
        keyspace_guard(f.k, locked, &pins);
        for (uint64_t n = 0; n < 3000; n++)
            put(&f, n % 3 == 0 ? 5 : 0, n,
                n % 100 < 2 ? NOW_MS + 1000000 + (int64_t)n : EXPIRE_NEVER);
        uint64_t held[] = {100, 200, 301, 401};
        for (unsigned h = 0; h < 2; h++) {
            locks.hash[h] = hash_of_name(held[h]);
            pins.hash[h] = hash_of_name(held[2 + h]);
        }
        uint64_t expected = is_volatile(policies[i]) ? 60 - 4 : 3000 - 4;
        for (uint64_t n = 0; n < expected; n++) {
            unsigned db;
            uint64_t gone = evict_from(&f, NOW_MS, &db);
            cr_assert(gone != UINT64_MAX, "policy %d ended after %lu", policies[i],
                      (unsigned long)n);
            cr_assert(db == (gone % 3 == 0 ? 5 : 0));
            if (is_volatile(policies[i]))
                cr_assert(gone % 100 < 2);
            for (unsigned h = 0; h < 4; h++)
                cr_assert(gone != held[h]);
        }
        cr_assert(evict(&f, NOW_MS) == UINT64_MAX);
        locks.n = pins.n = 0;
        for (unsigned h = 0; h < 4; h++)
            cr_assert(evict(&f, NOW_MS) != UINT64_MAX);
        cr_assert(evict(&f, NOW_MS) == UINT64_MAX);
        check_keyspace(&f, bare);
        fixture_deinit(&f);
    }
}

Test(evict, inv1_false_when_all_are_locked) {
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        struct fixture f;
        struct locks locks = {.all = true};
        fixture_init(&f, i + 1);
        choose(&f, policies[i]);
        keyspace_guard_locked(f.k, locked, &locks);
        for (uint64_t n = 0; n < 500; n++)
            put(&f, 0, n, NOW_MS + 1000000);
        cr_assert(evict(&f, NOW_MS) == UINT64_MAX);
        locks.all = false;
        cr_assert(evict(&f, NOW_MS) != UINT64_MAX);
        fixture_deinit(&f);
    }
}

Test(evict, what_is_dead_goes_and_is_told_apart) {
    struct fixture f;
    struct evicted e = {.going = NULL};
    fixture_init(&f, 1);
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        choose(&f, policies[i]);
        put(&f, 0, 1, NOW_MS - 1);
        cr_assert(keyspace_evict(f.k, NOW_MS, &e));
        cr_assert(e.expired);
        put(&f, 0, 1, NOW_MS + 1);
        cr_assert(keyspace_evict(f.k, NOW_MS, &e));
        cr_assert_not(e.expired);
    }
    fixture_deinit(&f);
}

Test(evict, inv4_what_a_policy_keeps_goes_with_it_and_with_the_last_key) {
    struct fixture f;
    fixture_init(&f, 1);
    int64_t bare = f.mem.used_bytes;
    for (uint64_t n = 0; n < 5000; n++)
        put(&f, 0, n, EXPIRE_NEVER);
    int64_t before = f.mem.used_bytes;
    choose(&f, EVICT_ALLKEYS_S3FIFO);
    for (unsigned n = 0; n < 2500; n++)
        cr_assert(evict(&f, NOW_MS) != UINT64_MAX);
    cr_assert(fifo_bytes(keyspace_peek_table(f.k, 0)) > 2500 * 4);
    for (uint64_t n = 0; n < 5000; n++)
        put(&f, 0, n, EXPIRE_NEVER);
    cr_assert(f.mem.used_bytes > before);
    choose(&f, EVICT_ALLKEYS_LRU);
    cr_assert(f.mem.used_bytes == before);
    choose(&f, EVICT_ALLKEYS_S3FIFO);
    while (evict(&f, NOW_MS) != UINT64_MAX) {
    }
    cr_assert(keyspace_flush(f.k, 0) == 0);
    cr_assert(f.mem.used_bytes == bare);
    fixture_deinit(&f);
}

/* Of 20000 keys those that `kept` says are used, or changed, later than the others. Returns how many of them are among the
 * first 8000 that go; were it left to chance, 4000. */
enum { KEYS = 20000, GO = 8000 };
static bool kept(uint64_t n) {
    return n * 2654435761U >> 7 & 1;
}

static unsigned kept_that_went(struct fixture *f, int64_t now_ms) {
    unsigned wrong = 0;
    for (unsigned i = 0; i < GO; i++) {
        uint64_t n = evict(f, now_ms);
        cr_assert(n != UINT64_MAX);
        wrong += kept(n);
    }
    return wrong;
}

Test(evict, lru_keeps_what_was_used_later_and_lrm_what_was_changed) {
    for (unsigned p = 0; p < 4; p++) {
        static const enum evict_policy tried[] = {EVICT_ALLKEYS_LRU, EVICT_VOLATILE_LRU,
                                                  EVICT_ALLKEYS_LRM, EVICT_VOLATILE_LRM};
        bool lrm = p >= 2;
        struct fixture f;
        fixture_init(&f, p);
        choose(&f, tried[p]);
        for (uint64_t n = 0; n < KEYS; n++)
            put(&f, 0, n, NOW_MS + 1000000);
        for (uint64_t n = 0; n < KEYS; n++) {
            if (lrm)
                use(&f, n, NOW_MS + 2000); /* which does not count */
            if (kept(n) && lrm)
                access_change(keyspace_access(f.k), find_at(&f, 0, n), NOW_MS + 1000);
            else if (kept(n))
                use(&f, n, NOW_MS + 1000);
        }
        unsigned wrong = kept_that_went(&f, NOW_MS + 3000);
        cr_assert(wrong < GO / 50, "policy %d: %u", tried[p], wrong);
        fixture_deinit(&f);
    }
}

/* Strings of 100 to 5000 bytes, all of the same second. */
enum { OF_A_SECOND = 2000, LONG_EVERY = 4, LONG = 5000, LONGER = 50000 };

static void drop_blob(struct mem *m, void *object) {
    blob_unpin(m, object);
}

static size_t count_blob(const void *object) {
    return blob_bytes(object);
}

static void put_string(struct fixture *f, uint64_t n, size_t len) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct value v = {.repr = REPR_OBJECT, .access = ACCESS_AUTO};
    struct blob *b = blob_create(&f->mem, len);
    cr_assert(b != NULL);
    b->len = len;
    v.object = b;
    cr_assert(table_put(keyspace_table(f->k, 0), key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
}

/* long_that_go: of some keys that go for so many bytes each, how many are long ones. */
static unsigned long_that_go(struct fixture *f, uint64_t wanted_bytes) {
    enum { SOME = 200 };
    unsigned n = 0;
    for (unsigned i = 0; i < SOME; i++) {
        struct gone g = {f, 0, 0};
        struct evicted e = {.going = note, .arg = &g, .wanted_bytes = wanted_bytes};
        cr_assert(keyspace_evict(f->k, NOW_MS, &e));
        n += g.n % LONG_EVERY == 0;
    }
    return n;
}

Test(evict, of_the_same_second_goes_what_brings_the_room_that_is_wanted) {
    static const struct value_ops ops = {.destroy = drop_blob, .bytes = count_blob};
    struct fixture f;
    fixture_init(&f, 1);
    keyspace_register_type(VALUE_STRING, &ops);
    choose(&f, EVICT_ALLKEYS_LRU);
    for (uint64_t n = 0; n < OF_A_SECOND; n++)
        put_string(&f, n, n % LONG_EVERY == 0 ? LONG : 100);
    cr_assert(long_that_go(&f, LONG) > 180);
    cr_assert(long_that_go(&f, 50) < 90); /* all bring so much: a quarter, as there are */
    /* What was used later stays, however much it would bring. */
    for (uint64_t n = 0; n < OF_A_SECOND; n++)
        if (n % LONG_EVERY == 0 && find_at(&f, 0, n) != NULL)
            use(&f, n, NOW_MS + 2000);
    struct gone g = {&f, 0, 0};
    for (unsigned i = 0; i < OF_A_SECOND / 2; i++) {
        struct evicted e = {.going = note, .arg = &g, .wanted_bytes = LONGER};
        cr_assert(keyspace_evict(f.k, NOW_MS + 2000, &e));
        cr_assert(g.n % LONG_EVERY != 0);
        g.calls = 0;
    }
    fixture_deinit(&f);
}

Test(evict, lfu_keeps_what_was_used_more) {
    for (unsigned p = 0; p < 2; p++) {
        struct fixture f;
        fixture_init(&f, 5);
        choose(&f, p ? EVICT_VOLATILE_LFU : EVICT_ALLKEYS_LFU);
        for (uint64_t n = 0; n < KEYS; n++)
            put(&f, 0, n, NOW_MS + 1000000);
        for (uint64_t n = 0; n < KEYS; n++)
            for (unsigned times = kept(n) ? 100 : 1; times > 0; times--)
                use(&f, n, NOW_MS);
        cr_assert(kept_that_went(&f, NOW_MS) < GO / 50);
        fixture_deinit(&f);
    }
}

Test(evict, ttl_takes_what_expires_soon) {
    struct fixture f;
    fixture_init(&f, 6);
    choose(&f, EVICT_VOLATILE_TTL);
    for (uint64_t n = 0; n < KEYS; n++)
        put(&f, 0, n, NOW_MS + (kept(n) ? 2000000 : 1000000) + (int64_t)n);
    cr_assert(kept_that_went(&f, NOW_MS) < GO / 50);
    fixture_deinit(&f);
}

/* Keys with a time each, of which the first that is left is asked for. */
struct timed {
    struct fixture f;
    uint64_t keys;
    uint32_t *tick; /* TICK_NEVER: it is gone */
};

static void timed_put(struct timed *t, uint64_t n, int64_t expire_ms) {
    put(&t->f, 0, n, expire_ms);
    t->tick[n] = tick_of(expire_ms);
}

static int64_t soon(struct timed *t, int64_t range_ms) {
    return NOW_MS + 1000000 + (int64_t)rng_below(&t->f.rng, (uint64_t)range_ms);
}

static void timed_init(struct timed *t, uint64_t keys, int64_t range_ms) {
    fixture_init(&t->f, 11);
    choose(&t->f, EVICT_VOLATILE_TTL);
    t->keys = keys;
    t->tick = malloc(keys * sizeof *t->tick);
    for (uint64_t n = 0; n < keys; n++)
        timed_put(t, n, soon(t, range_ms));
}

static void timed_deinit(struct timed *t) {
    check_table(keyspace_peek_table(t->f.k, 0));
    free(t->tick);
    fixture_deinit(&t->f);
}

static uint32_t first_tick_of(const struct timed *t) {
    uint32_t first = TICK_NEVER;
    for (uint64_t n = 0; n < t->keys; n++)
        first = t->tick[n] < first ? t->tick[n] : first;
    return first;
}

Test(evict, ttl_takes_the_first_of_all_where_there_are_few_segments) {
    struct timed t;
    timed_init(&t, 3000, 3600000);
    for (unsigned i = 0; i < 1500; i++) {
        uint32_t first = first_tick_of(&t);
        uint64_t n = evict(&t.f, NOW_MS);
        /* Splits left stamps of what went to the other half, which are put right at first. */
        cr_assert(t.tick[n] == first || i < 100, "%u instead of %u", t.tick[n], first);
        t.tick[n] = TICK_NEVER;
        if (i % 2) /* one that goes at once, or that is seen among the others */
            timed_put(&t, n, soon(&t, 3600000));
    }
    timed_deinit(&t);
}

Test(evict, ttl_asks_for_another_when_the_first_is_locked) {
    struct timed t;
    struct locks locks = {.n = 1};
    unsigned wrong = 0;
    timed_init(&t, 3000, 3600000);
    keyspace_guard_locked(t.f.k, locked, &locks);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t n = 0;
        for (uint32_t first = first_tick_of(&t); t.tick[n] != first;)
            n++;
        locks.hash[0] = hash_of_name(n);
        uint32_t before = t.tick[n];
        t.tick[n] = TICK_NEVER;
        uint32_t second = first_tick_of(&t);
        uint64_t gone = evict(&t.f, NOW_MS);
        cr_assert(gone != n);
        wrong += t.tick[gone] != second;
        t.tick[gone] = TICK_NEVER;
        locks.hash[0] = 0;
        gone = evict(&t.f, NOW_MS);
        wrong += gone != n;
        t.tick[n] = before;
        t.tick[gone] = TICK_NEVER;
    }
    cr_assert(wrong < 1000 / 3, "%u", wrong); /* in its segment none but its group is looked at */
    timed_deinit(&t);
}

/* What is left after a flood: times are even, so the latest 60000 of 240000 are the last quarter of the range. */
Test(evict, ttl_keeps_through_a_flood_what_expires_last) {
    enum { STAY = 60000, COME = 180000, RANGE_MS = 100000000 };
    struct timed t;
    timed_init(&t, STAY, RANGE_MS);
    for (unsigned i = 0; i < COME; i++)
        timed_put(&t, evict(&t.f, NOW_MS), soon(&t, RANGE_MS));
    const struct table *table = keyspace_peek_table(t.f.k, 0);
    cr_assert(table_segments(table) > 100, "so many that not all of them are compared");
    double mean_ms = (double)table_ttl_sum_ms(table, NOW_MS + 1000000) / STAY;
    cr_assert(mean_ms > RANGE_MS * 0.87, "%f of %d", mean_ms, RANGE_MS);
    timed_deinit(&t);
}

/* Every stamp says that something goes soon, but only few keys still do. */
Test(evict, ttl_puts_right_the_stamps_of_keys_that_got_more_time) {
    enum { ALL = 60000, FEW = ALL / 32 };
    struct timed t;
    unsigned wrong = 0;
    timed_init(&t, ALL, 1);
    for (uint64_t n = 0; n < ALL; n++)
        timed_put(&t, n, NOW_MS + (n % 32 == 0 ? 2000000 : 9000000));
    for (unsigned i = 0; i < FEW; i++)
        wrong += evict(&t.f, NOW_MS) % 32 != 0;
    cr_assert(wrong < FEW / 5, "%u of %d", wrong, FEW);
    timed_deinit(&t);
}

/* Most keys have no time, and stamps that are left of those that had one say so from then on. */
Test(evict, ttl_finds_the_few_keys_that_have_a_time) {
    enum { ALL = 60000, FEW = 60 };
    struct fixture f;
    fixture_init(&f, 12);
    choose(&f, EVICT_VOLATILE_TTL);
    for (uint64_t n = 0; n < ALL; n++)
        put(&f, 0, n, NOW_MS + 1000000);
    for (uint64_t n = 0; n < ALL; n++)
        put(&f, 0, n, n % (ALL / FEW) == 7 ? NOW_MS + 2000000 + (int64_t)n : EXPIRE_NEVER);
    for (unsigned i = 0; i < FEW; i++)
        cr_assert(evict(&f, NOW_MS) % (ALL / FEW) == 7);
    cr_assert(evict(&f, NOW_MS) == UINT64_MAX);
    check_table(keyspace_peek_table(f.k, 0));
    fixture_deinit(&f);
}

Test(evict, random_takes_all_alike) {
    struct fixture f;
    fixture_init(&f, 7);
    choose(&f, EVICT_ALLKEYS_RANDOM);
    for (uint64_t n = 0; n < KEYS; n++)
        put(&f, 0, n, EXPIRE_NEVER);
    for (uint64_t n = 0; n < KEYS; n++)
        if (kept(n))
            use(&f, n, NOW_MS + 100000);
    unsigned wrong = kept_that_went(&f, NOW_MS);
    cr_assert(wrong > GO * 45 / 100 && wrong < GO * 55 / 100, "%u", wrong);
    fixture_deinit(&f);
}

Test(evict, s3fifo_is_not_flooded_by_a_scan) {
    for (unsigned p = 0; p < 2; p++) {
        struct fixture f;
        fixture_init(&f, 8);
        choose(&f, p ? EVICT_VOLATILE_S3FIFO : EVICT_ALLKEYS_S3FIFO);
        for (uint64_t n = 0; n < KEYS / 2; n++) {
            put(&f, 0, n, NOW_MS + 1000000);
            use(&f, n, NOW_MS);
        }
        for (uint64_t n = KEYS / 2; n < 10 * KEYS; n++) {
            put(&f, 0, n, NOW_MS + 1000000);
            if (n >= KEYS)
                cr_assert(evict(&f, NOW_MS) != UINT64_MAX);
        }
        unsigned left = 0;
        for (uint64_t n = 0; n < KEYS / 2; n++)
            left += find_at(&f, 0, n) != NULL;
        cr_assert(left + 10 >= KEYS / 2, "%u are left", left);
        fixture_deinit(&f);
    }
}

Test(evict, s3fifo_remembers_what_it_evicted) {
    struct fixture f;
    fixture_init(&f, 9);
    choose(&f, EVICT_ALLKEYS_S3FIFO);
    for (uint64_t n = 0; n < 1000; n++)
        put(&f, 0, n, EXPIRE_NEVER);
    uint64_t gone = evict(&f, NOW_MS);
    cr_assert(gone == 0, "in the order they came");
    put(&f, 0, gone, EXPIRE_NEVER);
    cr_assert(entry_access(find_at(&f, 0, gone)) & 4, "at once to the main queue");
    put(&f, 0, 5000, EXPIRE_NEVER);
    cr_assert_not(entry_access(find_at(&f, 0, 5000)) & 4);
    for (uint64_t n = 1; n < 990; n++)
        cr_assert(evict(&f, NOW_MS) == n);
    fixture_deinit(&f);
}
