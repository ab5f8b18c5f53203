/* Everything that a keyspace can do, at random, against an array that does the same. */
#include "keyspace_fixture.h"

enum { KEYS = 3000, STEPS = 400000, DB = 2 };

struct model_key {
    bool there;
    uint8_t repr;
    uint32_t access;
    uint64_t token; /* the integer, the object's id, or what the bytes are made from */
    size_t len;
    int64_t expire_ms;
};

struct model {
    struct fixture f;
    struct model_key keys[KEYS];
    int64_t now_ms;
    int64_t bare_bytes;
    uint64_t live, seen;
    uint64_t mark[KEYS];
};

static struct span model_name(char *out, uint64_t i) {
    static const size_t lens[] = {0, 0, 0, 20, 100, 254, 255, 256, 600};
    return key_name(out, i, lens[i % COUNT_OF(lens)]);
}

static void fill(char *bytes, uint64_t token, size_t len) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(token + i * 13);
}

static bool dead(const struct model *m, const struct model_key *k) {
    return k->expire_ms != EXPIRE_NEVER && m->now_ms > k->expire_ms;
}

static void check_same(const struct entry *e, const struct model_key *k) {
    char bytes[ENTRY_INLINE_MAX];
    cr_assert(entry_repr(e) == k->repr);
    cr_assert(entry_expire_ms(e) == k->expire_ms);
    cr_assert(entry_access(e) == k->access);
    if (k->repr == REPR_INT) {
        cr_assert(entry_int(e) == (int64_t)k->token);
    } else if (k->repr == REPR_OBJECT) {
        cr_assert(entry_type(e) == THING);
        cr_assert(*(uint64_t *)entry_object(e) == k->token);
    } else {
        fill(bytes, k->token, k->len);
        cr_assert(span_eq(entry_bytes(e), (struct span){bytes, k->len}));
    }
}

static int64_t random_expiry(struct model *m) {
    switch (rng_below(&m->f.rng, 4)) {
    case 0:
        return EXPIRE_KEEP;
    case 1:
        return m->now_ms + (int64_t)rng_below(&m->f.rng, 2000);
    default:
        return EXPIRE_NEVER;
    }
}

static void step_put(struct model *m, struct model_key *k, struct span key, uint64_t hash) {
    char bytes[ENTRY_INLINE_MAX];
    struct model_key next = {.there = true,
                             .repr = (uint8_t)rng_below(&m->f.rng, 4),
                             .access = (uint32_t)rng_below(&m->f.rng, 1U << 23),
                             .token = rng_next(&m->f.rng),
                             .len = rng_below(&m->f.rng, rng_below(&m->f.rng, 8) ? 40 : 1024),
                             .expire_ms = random_expiry(m)};
    struct value v = {.repr = next.repr, .access = next.access};
    fill(bytes, next.token, next.len);
    if (next.repr == REPR_OBJECT)
        v = (struct value){THING, REPR_OBJECT, next.access, 0, {0}, NULL};
    if (next.repr == REPR_OBJECT)
        v.object = thing_create(&m->f.mem, next.token);
    else if (next.repr == REPR_INT)
        v.integer = (int64_t)next.token;
    else
        v.bytes = (struct span){bytes, next.len};
    struct entry *e = table_put(keyspace_table(m->f.k, DB), key, hash, &v, next.expire_ms);
    cr_assert(e != NULL);
    if (next.expire_ms == EXPIRE_KEEP)
        next.expire_ms = k->there ? k->expire_ms : EXPIRE_NEVER;
    m->live += !k->there;
    *k = next;
    check_same(e, k);
}

static void step_expire(struct model *m, struct model_key *k, struct entry *e, uint64_t hash) {
    int64_t expire_ms = random_expiry(m);
    if (e == NULL || expire_ms == EXPIRE_KEEP)
        return;
    e = table_set_expire(keyspace_table(m->f.k, DB), e, hash, expire_ms);
    k->expire_ms = expire_ms;
    check_same(e, k);
}

static void step_take(struct model *m, struct model_key *k, struct span key, uint64_t hash) {
    char scratch[ENTRY_INLINE_MAX], bytes[ENTRY_INLINE_MAX];
    struct value v;
    int64_t expire_ms;
    bool taken = table_take(keyspace_table(m->f.k, DB), key, hash, scratch, &v, &expire_ms);
    cr_assert(taken == k->there);
    if (!taken)
        return;
    cr_assert(v.repr == k->repr);
    cr_assert(v.access == k->access);
    cr_assert(expire_ms == k->expire_ms);
    if (v.repr == REPR_OBJECT) {
        cr_assert(*(uint64_t *)v.object == k->token);
        thing_destroy(&m->f.mem, v.object);
    } else if (v.repr == REPR_INT) {
        cr_assert(v.integer == (int64_t)k->token);
    } else {
        fill(bytes, k->token, k->len);
        cr_assert(span_eq(v.bytes, (struct span){bytes, k->len}));
    }
    k->there = false;
    m->live--;
}

static void step_time(struct model *m) {
    m->now_ms += (int64_t)rng_below(&m->f.rng, 300);
    while (keyspace_expire_some(m->f.k, m->now_ms, 50)) {
    }
    for (unsigned i = 0; i < KEYS; i++) {
        struct model_key *k = &m->keys[i];
        if (!k->there || !dead(m, k))
            continue;
        char name[KEY_BYTES_MAX];
        struct span key = model_name(name, i);
        k->there = table_find(keyspace_table(m->f.k, DB), key, keyspace_hash(key)) != NULL;
        m->live -= !k->there;
        if (k->there)
            cr_assert(m->now_ms < k->expire_ms + EXPIRE_TICK_MS, "due, and still there");
    }
    cr_assert(table_count(keyspace_table(m->f.k, DB)) == m->live);
}

static void step_flush(struct model *m) {
    cr_assert(keyspace_flush(m->f.k, DB) == m->live);
    for (unsigned i = 0; i < KEYS; i++)
        m->keys[i].there = false;
    m->live = 0;
    if (rng_below(&m->f.rng, 2))
        while (keyspace_free_some(m->f.k, 64)) {
        }
}

static void visit(void *arg, struct entry *e) {
    struct model *m = arg;
    struct span key = entry_key(e);
    uint64_t i = strtoull(key.ptr + 1, NULL, 10);
    cr_assert(i < KEYS && m->keys[i].there);
    cr_assert(m->mark[i] == 0, "a still table is scanned without repetition");
    m->mark[i] = 1;
    m->seen++;
    check_same(e, &m->keys[i]);
}

static void step_scan(struct model *m) {
    const struct table *t = keyspace_table(m->f.k, DB);
    memset(m->mark, 0, sizeof m->mark);
    m->seen = 0;
    for (uint64_t cursor = 0; cursor != TABLE_SCAN_END;)
        cursor = table_scan(t, cursor, visit, m);
    cr_assert(m->seen == m->live);
    while (keyspace_free_some(m->f.k, 100)) {
    }
    check_keyspace(&m->f, m->bare_bytes);
}

static void step_one_key(struct model *m, unsigned put_weight) {
    char name[KEY_BYTES_MAX];
    uint64_t i = rng_below(&m->f.rng, KEYS);
    struct model_key *k = &m->keys[i];
    struct span key = model_name(name, i);
    uint64_t hash = keyspace_hash(key);
    struct entry *e = keyspace_find(m->f.k, DB, key, hash, m->now_ms);
    if (k->there && dead(m, k)) {
        k->there = false;
        m->live--;
    }
    cr_assert((e != NULL) == k->there);
    if (e != NULL)
        check_same(e, k);
    uint64_t what = rng_below(&m->f.rng, put_weight + 40);
    if (what < put_weight) {
        step_put(m, k, key, hash);
    } else if (what % 4 == 0) {
        step_expire(m, k, e, hash);
    } else if (what % 4 == 1) {
        step_take(m, k, key, hash);
    } else {
        cr_assert(table_delete(keyspace_table(m->f.k, DB), key, hash) == k->there);
        m->live -= k->there;
        k->there = false;
    }
}

static void run(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    fixture_init(&m->f, seed);
    m->bare_bytes = m->f.mem.used_bytes;
    m->now_ms = NOW_MS;
    keyspace_table(m->f.k, DB);
    for (unsigned step = 0; step < STEPS; step++) {
        /* Now it fills, now it empties. */
        unsigned put_weight = step / 20000 % 2 ? 8 : 120;
        step_one_key(m, put_weight);
        if (rng_below(&m->f.rng, 200) == 0)
            step_time(m);
        if (rng_below(&m->f.rng, 1000) == 0)
            step_scan(m);
        if (rng_below(&m->f.rng, 30000) == 0)
            step_flush(m);
    }
    fixture_deinit(&m->f);
    free(m);
}

Test(keyspace_model, inv2_inv5_inv6_random_operations_seed_1) {
    run(1);
}

Test(keyspace_model, inv2_inv5_inv6_random_operations_seed_2) {
    run(2);
}

Test(keyspace_model, inv2_inv5_inv6_random_operations_seed_3) {
    run(3);
}
