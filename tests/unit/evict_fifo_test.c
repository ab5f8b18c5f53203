/* S3-FIFO's queues: whatever happens to a table, each key that may go has one place, and keys that nobody uses go in the order
 * in which they came. */
#include "../../shards/keyspace/evict_impl.h"
#include "keyspace_fixture.h"

static void choose(struct fixture *f, enum evict_policy p) {
    const struct evict_options o = {.policy = p, .samples = 5};
    keyspace_set_eviction(f->k, &o);
}

static bool put(struct fixture *f, uint64_t n, int64_t expire_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct value v = value_of_int((int64_t)n);
    v.access = keyspace_access(f->k)->now;
    struct table *t = keyspace_table(f->k, 0);
    return t != NULL && table_put(t, key, hash_of(key), &v, expire_ms) != NULL;
}

static bool drop(struct fixture *f, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct table *t = keyspace_peek_table(f->k, 0);
    return t != NULL && table_delete(t, key, hash_of(key));
}

static void note(void *arg, const struct evicted *what) {
    char text[KEY_BYTES_MAX];
    memcpy(text, what->key.ptr, what->key.len);
    text[what->key.len] = '\0';
    *(uint64_t *)arg = strtoull(text + 1, NULL, 10);
}

static uint64_t evict(struct fixture *f) {
    uint64_t n = UINT64_MAX;
    struct evicted e = {.going = note, .arg = &n};
    return keyspace_evict(f->k, NOW_MS, &e) ? n : UINT64_MAX;
}

struct places {
    const struct table *t;
    uint64_t in[2];
};

static void check_place(void *arg, struct entry *e) {
    struct places *p = arg;
    const struct fifo *f = p->t->fifo;
    uint64_t hash = hash_of(entry_key(e));
    if (bucket_scan_hash(hash) >= f->fill || (f->only_volatile && !entry_has_expiry(e)))
        return;
    unsigned which = entry_access(e) >> 2 & 1;
    const struct fifo_queue *q = &f->queue[which];
    uint64_t at = q->head + (((entry_access(e) >> 3) - q->head) & 0xfffff);
    uint32_t slot = ((uint32_t)hash & 0xffffff) | (uint32_t)bucket_print(hash) << 24;
    cr_assert(at < q->tail, "fifo_impl.h, invariant (1): past the end");
    cr_assert(!q->packing || at < q->gap || at >= q->gap_end, "in the gap");
    cr_assert(q->chunks[at / FIFO_CHUNK & (q->cap - 1)][at % FIFO_CHUNK] == slot, "not its slot");
    p->in[which]++;
}

/* check_places: all of both invariants, and that slots without keys are not kept for ever. */
static void check_places(struct fixture *f) {
    const struct table *t = keyspace_peek_table(f->k, 0);
    if (t == NULL || t->fifo == NULL)
        return;
    struct places p = {.t = t};
    for (uint32_t i = 0; i < t->bucket_count; i++)
        for (const struct bucket *b = table_bucket(t, i); b != NULL; b = bucket_next(b))
            for (unsigned used = bucket_used(b); used != 0; used &= used - 1)
                check_place(&p, bucket_address(b, (unsigned)__builtin_ctz(used)));
    for (unsigned q = 0; q < 2; q++) {
        const struct fifo_queue *queue = &t->fifo->queue[q];
        cr_assert(p.in[q] == queue->live, "fifo_impl.h, invariant (2)");
        cr_assert(queue->head + queue->live <= queue->tail);
    }
}

static uint64_t slots(const struct fixture *f) {
    const struct fifo *q = keyspace_peek_table(f->k, 0)->fifo;
    return q->queue[0].tail - q->queue[0].head + q->queue[1].tail - q->queue[1].head;
}

static void walk_key(struct fixture *f, struct prepared **prepared) {
    uint64_t n = rng_below(&f->rng, 4000);
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    uint64_t hash = hash_of(key);
    struct table *t = keyspace_table(f->k, 0);
    struct entry *e = t == NULL ? NULL : table_find(t, key, hash);
    int64_t expire_ms = rng_below(&f->rng, 2) == 0 ? EXPIRE_NEVER : NOW_MS + 5000 + (int64_t)n;
    struct value v = value_of_int((int64_t)n);
    v.access = ACCESS_AUTO;
    if (t == NULL)
        return;
    switch (rng_below(&f->rng, 8)) {
    case 0:
        if (e != NULL)
            e = table_set_expire(t, e, hash, expire_ms);
        break;
    case 1:
        if (*prepared != NULL && rng_below(&f->rng, 4) == 0)
            table_abandon(*prepared);
        else if (*prepared != NULL)
            (void)table_commit(*prepared, NOW_MS);
        *prepared = NULL;
        break;
    case 2:
        if (*prepared == NULL)
            *prepared = table_prepare(t, key, hash, &v,
                                      rng_below(&f->rng, 2) == 0 ? EXPIRE_KEEP : expire_ms);
        break;
    case 3:
        (void)table_delete(t, key, hash);
        break;
    case 4:
        if (e != NULL)
            access_use(keyspace_access(f->k), e, NOW_MS);
        break;
    default:
        (void)table_put(t, key, hash, &v, expire_ms);
    }
}

static void walk(uint64_t seed, bool starve, unsigned steps) {
    struct fixture f;
    struct prepared *prepared = NULL;
    fixture_init(&f, seed);
    int64_t bare = f.mem.used_bytes;
    for (unsigned step = 0; step < steps; step++) {
        if (starve && step % 16 == 0)
            f.mem.fail_in = 1 + rng_below(&f.rng, 16);
        if (step % 1500 == 0)
            choose(&f, step % 4500 == 0   ? EVICT_VOLATILE_S3FIFO
                       : step % 3000 == 0 ? EVICT_ALLKEYS_LRU
                                          : EVICT_ALLKEYS_S3FIFO);
        unsigned what = (unsigned)rng_below(&f.rng, 100);
        bool growing = step / 2000 % 2 == 0;
        if (what < (growing ? 5 : 60))
            (void)evict(&f);
        else
            walk_key(&f, &prepared);
        if (rng_below(&f.rng, 3000) == 0)
            (void)keyspace_flush(f.k, 0);
        if (step % 97 == 0 || starve) {
            if (step % 97 == 0 && prepared == NULL && keyspace_stats(f.k)->pending_free == 0)
                check_keyspace(&f, bare);
            check_places(&f);
        }
        (void)keyspace_free_some(f.k, 100);
    }
    f.mem.fail_in = 0;
    if (prepared != NULL)
        table_abandon(prepared);
    check_places(&f);
    fixture_deinit(&f);
}

Test(evict_fifo, inv1_inv2_through_anything) {
    for (uint64_t seed = 1; seed <= 6; seed++)
        walk(seed, false, 30000);
}

Test(evict_fifo, inv1_inv2_without_memory) {
    for (uint64_t seed = 1; seed <= 3; seed++)
        walk(seed, true, 3000);
}

/* Keys that were there before the policy get places bit by bit, while others come, go, and make the table grow and
 * shrink; all of them, and all can go. */
Test(evict_fifo, keys_that_were_there_before_get_places) {
    for (unsigned shrinks = 0; shrinks < 2; shrinks++) {
        struct fixture f;
        fixture_init(&f, 7);
        for (uint64_t n = 0; n < 20000; n++)
            cr_assert(put(&f, n, EXPIRE_NEVER));
        choose(&f, EVICT_ALLKEYS_S3FIFO);
        uint64_t next = 20000;
        const struct table *t = keyspace_peek_table(f.k, 0);
        while (t->fifo == NULL || t->fifo->fill != TABLE_SCAN_END) {
            for (unsigned i = 0; i < 5; i++)
                (void)drop(&f, rng_below(&f.rng, next));
            for (unsigned i = 0; i < (shrinks ? 1 : 10); i++)
                cr_assert(put(&f, next++, EXPIRE_NEVER));
            if (rng_below(&f.rng, 50) == 0)
                check_places(&f);
        }
        check_places(&f);
        uint64_t left = t->count;
        for (uint64_t n = 0; n < left; n++)
            cr_assert(evict(&f) != UINT64_MAX);
        cr_assert(evict(&f) == UINT64_MAX);
        fixture_deinit(&f);
    }
}

/* What is left goes in its order, though nine of ten were deleted and their slots packed away meanwhile. */
Test(evict_fifo, order_stays_when_slots_are_packed) {
    struct fixture f;
    fixture_init(&f, 8);
    choose(&f, EVICT_ALLKEYS_S3FIFO);
    for (uint64_t n = 0; n < 50000; n++) {
        cr_assert(put(&f, n, EXPIRE_NEVER));
        if (n >= 1000 && (n - 1000) % 10 != 0)
            cr_assert(drop(&f, n - 1000));
        if (n % 1000 == 0)
            check_places(&f);
    }
    uint64_t count = table_count(keyspace_peek_table(f.k, 0));
    cr_assert(slots(&f) < 2 * count + 4 * FIFO_CHUNK, "%lu slots for %lu keys", slots(&f), count);
    for (uint64_t n = 0; n < 48000; n += 10)
        cr_assert(evict(&f) == n);
    check_places(&f);
    fixture_deinit(&f);
}

/* A table of which nothing but the newest is left takes no longer to find it. */
Test(evict_fifo, evict_inv2_many_deleted_keys_do_not_hold_it_up) {
    struct fixture f;
    fixture_init(&f, 9);
    choose(&f, EVICT_ALLKEYS_S3FIFO);
    for (uint64_t n = 0; n < 200000; n++)
        cr_assert(put(&f, n, EXPIRE_NEVER));
    for (uint64_t n = 0; n < 100000; n++)
        cr_assert(drop(&f, n));
    const struct fifo_queue *q = &keyspace_peek_table(f.k, 0)->fifo->queue[0];
    uint64_t head = q->head;
    cr_assert(evict(&f) != UINT64_MAX);
    cr_assert(q->head - head < 1000);
    check_places(&f);
    fixture_deinit(&f);
}

Test(evict_fifo, queues_cost_what_evict_h_says) {
    struct fixture f;
    fixture_init(&f, 10);
    choose(&f, EVICT_ALLKEYS_S3FIFO);
    enum { KEYS = 50000 };
    for (uint64_t n = 0; n < 4ULL * KEYS; n++) {
        cr_assert(put(&f, n, EXPIRE_NEVER));
        if (n >= KEYS)
            cr_assert(evict(&f) != UINT64_MAX);
    }
    double each = (double)fifo_bytes(keyspace_peek_table(f.k, 0)) / KEYS;
    cr_assert(each < 6.2, "%.2f", each);
    fixture_deinit(&f);
}

Test(evict_fifo, the_memory_of_what_went_holds_as_many_and_forgets_the_oldest) {
    struct ghost g = {0};
    struct mem m = {0};
    uint64_t seed = 3;
    cr_assert(hash_seed(&seed) == OK);
    enum { ROOM = 20000, PUT = 100000 };
    for (uint64_t n = 0; n < PUT; n++)
        ghost_put(&g, &m, hash_of((struct span){(const char *)&n, sizeof n}), ROOM);
    cr_assert((int64_t)ghost_bytes(&g) == m.used_bytes);
    cr_assert(ghost_bytes(&g) < ROOM * 2 + 20000);
    unsigned young = 0, old = 0;
    for (uint64_t n = 0; n < PUT; n++) {
        uint64_t hash = hash_of((struct span){(const char *)&n, sizeof n});
        bool known = ghost_take(&g, hash);
        young += known && n >= PUT - ROOM / 4;
        old += known && n < PUT - 3 * ROOM;
    }
    cr_assert(young > ROOM / 4 * 98 / 100, "%u", young);
    cr_assert(old < PUT / 500, "%u", old);
    for (uint64_t n = 0; n < PUT; n++)
        ghost_put(&g, &m, hash_of((struct span){(const char *)&n, sizeof n}), 64);
    cr_assert(ghost_bytes(&g) < 20000);
    ghost_end(&g, &m);
    cr_assert(m.used_bytes == 0);
}
