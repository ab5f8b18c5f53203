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
