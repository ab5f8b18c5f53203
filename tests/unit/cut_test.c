/* Cuts: whatever happens to a keyspace while it is walked, what is told is what it held at the cut, each entry once. */
#include "keyspace_fixture.h"
#include "shards/cut.h"
#include "shards/defrag.h"
#include "shards/evict.h"

enum { KEYS = 600, DBS = 3, CUTS = 24, STEPS = 3000, HEAVY_MEMBERS = 2000 };

/* What a key of a database held at the cut; 0: nothing. Told ones are marked. */
struct held {
    uint64_t digest;
    unsigned told;
};

struct world {
    struct fixture f;
    struct held held[DBS][KEYS];
    struct prepared *prepared;
    uint64_t prepared_hash;
    unsigned prepared_db;
    struct defrag defrag;
    int64_t now_ms;
    uint64_t heavy_seen, slices, shut, told, by_walk;
    bool walking;
    unsigned slice; /* of the heavy entry that is being told */
    uint64_t heavy_digest;
};

static uint64_t mix(uint64_t h, const void *bytes, size_t len) {
    return h * 31 + hash_of((struct span){bytes, len});
}

/* digest_of: of all that a snapshot tells of an entry; never 0. */
static uint64_t digest_of(const struct entry *e) {
    int64_t expire_ms = entry_expire_ms(e);
    uint64_t h = mix(entry_type(e) + 7, &expire_ms, sizeof expire_ms);
    if (entry_repr(e) == REPR_INT) {
        int64_t v = entry_int(e);
        h = mix(h, &v, sizeof v);
    } else if (entry_repr(e) != REPR_OBJECT) {
        h = mix(h, entry_bytes(e).ptr, entry_bytes(e).len);
    } else if (entry_type(e) == VALUE_STRING) {
        const struct blob *b = entry_object(e);
        h = mix(h, b->data, b->len);
    } else {
        const struct crowd *c = entry_object(e);
        h = mix(h, &c->id, sizeof c->id);
        for (const struct member *m = c->first; m != NULL; m = m->next)
            h = mix(h, &m->due_ms, sizeof m->due_ms);
    }
    return h | 1;
}

static uint64_t number_of(const struct entry *e) {
    char text[KEY_BYTES_MAX + 1];
    struct span key = entry_key(e);
    memcpy(text, key.ptr, key.len);
    text[key.len] = '\0';
    return strtoull(text + 1, NULL, 10);
}

static void note_told(struct world *w, unsigned db, const struct entry *e, uint64_t digest) {
    uint64_t n = number_of(e);
    cr_assert(db < DBS && n < KEYS);
    struct held *h = &w->held[db][n];
    cr_assert(h->digest != 0, "key %llu of %u came after the cut", (unsigned long long)n, db);
    cr_assert(h->digest == digest, "key %llu of %u is not as it was", (unsigned long long)n, db);
    cr_assert(h->told++ == 0, "key %llu of %u was told before", (unsigned long long)n, db);
    w->told++;
    w->by_walk += w->walking;
}

static void tell(void *arg, unsigned db, const struct entry *e) {
    note_told(arg, db, e, digest_of(e));
}

static struct span name_of(char *out, uint64_t n) {
    return key_name(out, n, n % 5 == 0 ? 300 : 0);
}

static void note_held(struct world *w) {
    char name[KEY_BYTES_MAX];
    memset(w->held, 0, sizeof w->held);
    for (unsigned db = 0; db < DBS; db++) {
        const struct table *t = keyspace_peek_table(w->f.k, db);
        for (uint64_t n = 0; t != NULL && n < KEYS; n++) {
            struct span key = name_of(name, n);
            const struct entry *e = table_find(t, key, hash_of(key));
            w->held[db][n].digest = e == NULL ? 0 : digest_of(e);
        }
    }
}

/* tell_heavy: a slice of what is heavy; its value must not have changed since the last one. */
static bool tell_heavy(struct world *w) {
    unsigned db;
    const struct entry *e = keyspace_cut_heavy(w->f.k, &db);
    if (e == NULL)
        return false;
    if (w->slice == 0)
        w->heavy_digest = digest_of(e);
    cr_assert(digest_of(e) == w->heavy_digest);
    w->slices++;
    if (++w->slice < 3)
        return true;
    w->slice = 0;
    w->heavy_seen++;
    note_told(w, db, e, w->heavy_digest);
    keyspace_cut_told(w->f.k);
    return true;
}

static int64_t some_expiry(struct world *w) {
    return rng_below(&w->f.rng, 3) ? EXPIRE_NEVER : w->now_ms + (int64_t)rng_below(&w->f.rng, 4000);
}

/* some_value: of any kind; about one in twelve is heavy. */
static struct value some_value(struct world *w, char *bytes) {
    struct mem *m = &w->f.mem;
    struct rng *r = &w->f.rng;
    size_t len = rng_below(r, 100);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)rng_next(r);
    struct value v = value_of_bytes((struct span){bytes, len});
    bool heavy = rng_below(r, 5) == 0;
    struct crowd *c;
    switch (rng_below(r, 5)) {
    case 0:
        v = value_of_int((int64_t)rng_next(r));
        break;
    case 1:
        c = crowd_create(m, rng_next(r), 1 + rng_below(r, heavy ? HEAVY_MEMBERS : 5));
        cr_assert(crowd_add(m, c, w->now_ms + 1 + (int64_t)rng_below(r, 3000)));
        v = value_of_crowd(c);
        break;
    case 2:
        v = (struct value){.repr = REPR_OBJECT, .object = blob_create(m, heavy ? 50000 : 2000)};
        ((struct blob *)v.object)->len = heavy ? 50000 : 2000;
        memset(((struct blob *)v.object)->data, (int)rng_below(r, 256), heavy ? 50000 : 2000);
        break;
    default:
        break;
    }
    v.access = (uint32_t)rng_below(r, 1U << 23);
    return v;
}

/* may_write: what a command asks before it changes a key. */
static bool may_write(struct world *w, uint64_t hash) {
    if (keyspace_cut_touch(w->f.k, hash))
        return true;
    w->shut++;
    return false;
}

/* change_in_place: as commands do it, behind the back of the table. */
static void change_in_place(struct world *w, struct table *t, struct entry *e, uint64_t hash) {
    if (entry_repr(e) == REPR_INT) {
        table_set_int(t, e, entry_int(e) + 1);
    } else if (entry_repr(e) != REPR_OBJECT) {
        if (entry_bytes(e).len != 0)
            entry_bytes_mut(e)[0]++;
    } else if (entry_type(e) == VALUE_STRING) {
        ((struct blob *)entry_object(e))->data[5]++;
    } else {
        struct crowd *c = entry_object(e);
        int64_t due_ms = w->now_ms + 1 + (int64_t)rng_below(&w->f.rng, 3000);
        cr_assert(crowd_add(&w->f.mem, c, due_ms));
        cr_assert(table_note_due(t, e, hash, due_ms));
    }
}

static void commit(struct world *w) {
    if (w->prepared == NULL)
        return;
    if (!may_write(w, w->prepared_hash))
        return;
    if (rng_below(&w->f.rng, 4))
        (void)table_commit(w->prepared, w->now_ms);
    else
        table_abandon(w->prepared);
    w->prepared = NULL;
}

static void write_key(struct world *w) {
    char name[KEY_BYTES_MAX], bytes[128], scratch[ENTRY_INLINE_MAX];
    struct rng *r = &w->f.rng;
    uint64_t n = rng_below(r, KEYS);
    unsigned db = (unsigned)rng_below(r, DBS);
    struct span key = name_of(name, n);
    uint64_t hash = hash_of(key);
    struct table *t = keyspace_table(w->f.k, db);
    if (!may_write(w, hash))
        return;
    struct entry *e = table_find(t, key, hash);
    struct value v;
    int64_t expire_ms;
    switch (rng_below(r, 8)) {
    case 0:
        (void)table_delete(t, key, hash);
        break;
    case 1:
        if (e != NULL)
            cr_assert(table_set_expire(t, e, hash, some_expiry(w)) != NULL);
        break;
    case 2:
        if (e != NULL)
            change_in_place(w, t, e, hash);
        break;
    case 3:
        if (table_take(t, key, hash, scratch, &v, &expire_ms) && v.repr == REPR_OBJECT) {
            if (v.type == VALUE_STRING)
                blob_unpin(&w->f.mem, v.object);
            else
                keyspace_bury(w->f.k, v.object);
        }
        break;
    case 4:
        if (w->prepared == NULL) {
            v = some_value(w, bytes);
            w->prepared = table_prepare(t, key, hash, &v, some_expiry(w));
            w->prepared_hash = hash;
            w->prepared_db = db;
            cr_assert(w->prepared != NULL);
        }
        break;
    default:
        v = some_value(w, bytes);
        cr_assert(table_put(t, key, hash, &v, some_expiry(w)) != NULL);
    }
}

static void nothing(void *arg, const struct evicted *what) {
    (void)arg;
    (void)what;
}

/* step: something that happens to a keyspace. */
static void step(struct world *w) {
    struct rng *r = &w->f.rng;
    unsigned a = (unsigned)rng_below(r, DBS), b = (unsigned)rng_below(r, DBS);
    struct evicted gone = {.going = nothing};
    char name[KEY_BYTES_MAX];
    struct span key = name_of(name, rng_below(r, KEYS));
    switch (rng_below(r, 60)) {
    case 0:
        if (rng_below(r, 12) == 0)
            (void)keyspace_flush(w->f.k, a);
        break;
    case 1:
        if (w->prepared ==
            NULL) /* a prepared write goes with its table; this test does not follow it */
            keyspace_swap(w->f.k, a, b);
        break;
    case 2:
    case 3:
        (void)keyspace_evict(w->f.k, w->now_ms, &gone);
        break;
    case 4:
    case 5:
        w->now_ms += (int64_t)rng_below(r, 300);
        (void)keyspace_expire_some(w->f.k, w->now_ms, 1 + (unsigned)rng_below(r, 200));
        break;
    case 6:
        (void)keyspace_free_some(w->f.k, 1 + (unsigned)rng_below(r, 100));
        break;
    case 7:
        (void)defrag_some(w->f.k, &w->defrag, 1 + (unsigned)rng_below(r, 50));
        break;
    case 8:
    case 9:
        (void)keyspace_find(w->f.k, a, key, hash_of(key), w->now_ms);
        break;
    case 10:
    case 11:
    case 12:
        commit(w);
        break;
    default:
        write_key(w);
    }
}

static void walk_some(struct world *w) {
    w->walking = true;
    if (!tell_heavy(w))
        (void)keyspace_cut_walk(w->f.k, rng_below(&w->f.rng, 2) ? 0 : UINT64_MAX);
    w->walking = false;
}

static void check_all_told(struct world *w) {
    for (unsigned db = 0; db < DBS; db++)
        for (uint64_t n = 0; n < KEYS; n++)
            cr_assert(w->held[db][n].told == (w->held[db][n].digest != 0),
                      "key %llu of %u was not told", (unsigned long long)n, db);
}

/* one_cut: `rate` steps in 100 are the walk's. */
static void one_cut(struct world *w, unsigned rate, bool mute) {
    note_held(w);
    uint64_t before = w->told, total = keyspace_cut(w->f.k, tell, w);
    for (unsigned i = 0; i < STEPS && keyspace_cut_open(w->f.k); i++) {
        if (rng_below(&w->f.rng, 100) < rate)
            walk_some(w);
        else
            step(w);
        if (mute && i == STEPS / 8) {
            keyspace_cut_mute(w->f.k);
            cr_assert(keyspace_cut_touch(w->f.k, rng_next(&w->f.rng)));
            memset(w->held, 0, sizeof w->held); /* nothing may be told any more */
            w->slice = 0;
        }
    }
    while (keyspace_cut_open(w->f.k))
        walk_some(w);
    cr_assert(!keyspace_cut_lost(w->f.k));
    cr_assert(mute || w->told - before == total);
    if (!mute)
        check_all_told(w);
}

static void blob_gone(struct mem *m, void *object) {
    blob_unpin(m, object);
}

static size_t blob_size(const void *object) {
    return blob_bytes(object);
}

static void run(struct world *w, uint64_t seed, enum evict_policy policy) {
    static const struct value_ops blobs = {blob_gone, blob_size};
    memset(w, 0, sizeof *w);
    fixture_init(&w->f, seed);
    keyspace_register_type(VALUE_STRING, &blobs);
    w->now_ms = NOW_MS;
    const struct evict_options o = {
        .policy = policy, .samples = 5, .lfu_log_factor = 10, .lfu_decay_minutes = 1};
    keyspace_set_eviction(w->f.k, &o);
    for (unsigned i = 0; i < CUTS; i++) {
        for (unsigned n = 0; n < STEPS / 2; n++)
            step(w);
        unsigned rates[] = {0, 1, 10, 50, 95};
        one_cut(w, rates[i % COUNT_OF(rates)], i % 7 == 6);
    }
    if (w->prepared != NULL)
        table_abandon(w->prepared);
    cr_assert(w->heavy_seen > CUTS / 2, "%llu heavy ones", (unsigned long long)w->heavy_seen);
    cr_assert(w->shut > 0);
    cr_assert(w->by_walk > w->told / 10 && w->by_walk < w->told);
    fixture_deinit(&w->f);
}

static struct world world;

Test(cut, what_is_told_is_what_there_was_whatever_happens) {
    run(&world, 1, EVICT_ALLKEYS_LRU);
}

Test(cut, also_with_queues) {
    run(&world, 2, EVICT_ALLKEYS_S3FIFO);
}

Test(cut, many_seeds) {
    for (uint64_t seed = 10; seed < 16; seed++)
        run(&world, seed, seed % 2 ? EVICT_VOLATILE_TTL : EVICT_ALLKEYS_RANDOM);
}

static uint64_t told_count;

static void count(void *arg, unsigned db, const struct entry *e) {
    (void)arg;
    (void)db;
    (void)e;
    told_count++;
}

static void put(struct fixture *f, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct value v = value_of_int((int64_t)n);
    cr_assert(table_put(keyspace_table(f->k, 0), key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
}

Test(cut, of_nothing_is_over_at_once) {
    struct fixture f;
    fixture_init(&f, 1);
    told_count = 0;
    cr_assert(keyspace_cut(f.k, count, NULL) == 0);
    cr_assert(!keyspace_cut_open(f.k));
    put(&f, 1);
    cr_assert(keyspace_cut(f.k, count, NULL) == 1);
    cr_assert(keyspace_cut_open(f.k));
    cr_assert(!keyspace_cut_walk(f.k, UINT64_MAX));
    cr_assert(told_count == 1);
    fixture_deinit(&f);
}

Test(cut, takes_no_memory) {
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < 1000; n++)
        put(&f, n);
    told_count = 0;
    f.mem.fail_in = f.mem.fail_every = 1;
    cr_assert(keyspace_cut(f.k, count, NULL) == 1000);
    while (keyspace_cut_walk(f.k, 0)) {
    }
    f.mem.fail_in = f.mem.fail_every = 0;
    cr_assert(told_count == 1000);
    fixture_deinit(&f);
}

/* Without memory for the grave a flush frees at once what the cut has not told: light entries are told on the way. */
Test(cut, a_flush_without_memory_tells_what_is_light_and_owns_up_to_the_rest) {
    struct fixture f;
    fixture_init(&f, 1);
    for (int heavy = 0; heavy < 2; heavy++) {
        for (uint64_t n = 0; n < 100; n++)
            put(&f, n);
        char name[KEY_BYTES_MAX];
        struct span key = key_name(name, 1000, 0);
        struct value v = value_of_crowd(crowd_create(&f.mem, 1, 3000));
        if (heavy)
            cr_assert(table_put(keyspace_table(f.k, 0), key, hash_of(key), &v, EXPIRE_NEVER));
        else
            crowd_destroy(&f.mem, v.object);
        told_count = 0;
        (void)keyspace_cut(f.k, count, NULL);
        unsigned db;
        cr_assert(keyspace_cut_touch(f.k, hash_of(key)) == (heavy == 0));
        cr_assert((keyspace_cut_heavy(f.k, &db) != NULL) == (heavy == 1));
        f.mem.fail_in = f.mem.fail_every = 1;
        cr_assert(keyspace_flush(f.k, 0) == 100U + (unsigned)heavy);
        f.mem.fail_in = f.mem.fail_every = 0;
        cr_assert(!keyspace_cut_open(f.k));
        cr_assert(told_count == 100);
        cr_assert(keyspace_cut_lost(f.k) == (heavy == 1));
        cr_assert(keyspace_cut_heavy(f.k, &db) == NULL);
        while (keyspace_free_some(f.k, 1000)) {
        }
    }
    fixture_deinit(&f);
}

/* Who makes room asks what may be freed, and would ask for ever if a flushed table counted that the cut still keeps. */
Test(cut, what_it_keeps_may_not_be_freed) {
    struct fixture f;
    fixture_init(&f, 1);
    for (uint64_t n = 0; n < 100; n++)
        put(&f, n);
    cr_assert(!keyspace_can_free(f.k));
    told_count = 0;
    (void)keyspace_cut(f.k, count, NULL);
    cr_assert(keyspace_flush(f.k, 0) == 100);
    cr_assert(!keyspace_free_some(f.k, 1000));
    cr_assert(keyspace_stats(f.k)->pending_free == 100);
    cr_assert(!keyspace_can_free(f.k));
    put(&f, 1);
    cr_assert(keyspace_flush(f.k, 0) == 1); /* this one came after the cut */
    cr_assert(keyspace_can_free(f.k));
    while (keyspace_free_some(f.k, 1000)) {
    }
    cr_assert(!keyspace_can_free(f.k));
    while (keyspace_cut_walk(f.k, UINT64_MAX)) {
    }
    cr_assert(told_count == 100);
    cr_assert(keyspace_can_free(f.k));
    while (keyspace_free_some(f.k, 1000)) {
    }
    cr_assert(keyspace_stats(f.k)->pending_free == 0);
    fixture_deinit(&f);
}
