/* Everything that a keyspace can do, at random, against an array that does the same. */
#include "keyspace_fixture.h"
#include "shards/evict.h"

#ifdef ANAX_SYSTEM_MALLOC /* a sanitizer: everything takes longer */
enum { STEPS = 200000 };
#else
enum { STEPS = 400000 };
#endif
enum { KEYS = 3000, DBS = 3, PENDING_MAX = 100, MEMBERS_TIMED = 3 };

struct model_key {
    bool there;
    uint8_t repr;
    uint32_t access;
    uint64_t token; /* the integer, the object's id, or what the bytes are made from */
    size_t len;
    int64_t expire_ms;
    unsigned members; /* of a crowd; 0: it is none */
    int64_t due_ms[MEMBERS_TIMED];
};

/* A write that is prepared: what the key holds when it is committed. */
struct pending {
    struct prepared *prepared;
    uint64_t i;
    struct model_key next;
    int64_t bytes;
    int64_t due_ms; /* of what is inside */
};

struct model {
    struct fixture f;
    struct model_key keys[KEYS];
    struct pending pending[PENDING_MAX];
    unsigned pending_count;
    unsigned db; /* where the keys are now */
    bool half_swept;
    uint64_t pin_low; /* keys whose hash ends in this byte are pinned; 256: none */
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

static struct table *table_of(struct model *m) {
    return keyspace_table(m->f.k, m->db);
}

static bool pinned(void *arg, uint64_t hash) {
    const struct model *m = arg;
    return (hash & 0xff) == m->pin_low;
}

static bool dead(const struct model *m, const struct model_key *k) {
    return k->expire_ms != EXPIRE_NEVER && m->now_ms > k->expire_ms;
}

/* check_crowd: nobody is gone before his time. */
static void check_crowd(const struct model *m, const struct crowd *c, const struct model_key *k) {
    uint64_t due = 0;
    for (unsigned i = 0; i < MEMBERS_TIMED; i++)
        due += m->now_ms > k->due_ms[i];
    cr_assert(c->id == k->token);
    cr_assert(c->head.count <= k->members);
    cr_assert(c->head.count >= k->members - due);
    cr_assert(c->head.count != 0);
}

/* crowd_due: how many members of a crowd a sweep must have taken out by now. */
static unsigned crowd_due(const struct model *m, const struct model_key *k) {
    unsigned due = 0;
    for (unsigned i = 0; k->members != 0 && i < MEMBERS_TIMED; i++)
        due += m->now_ms >= k->due_ms[i] + EXPIRE_TICK_MS;
    return due;
}

static void check_same(const struct model *m, const struct entry *e, const struct model_key *k) {
    char bytes[ENTRY_INLINE_MAX];
    cr_assert(entry_repr(e) == k->repr);
    cr_assert(entry_expire_ms(e) == k->expire_ms);
    cr_assert(entry_access(e) == k->access);
    if (k->repr == REPR_INT) {
        cr_assert(entry_int(e) == (int64_t)k->token);
    } else if (k->members != 0) {
        cr_assert(entry_type(e) == CROWD);
        check_crowd(m, entry_object(e), k);
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

/* random_crowd: mostly small; some of its members have a time. */
static void *random_crowd(struct model *m, struct model_key *next) {
    struct mem *mem = &m->f.mem;
    next->members = MEMBERS_TIMED;
    if (rng_below(&m->f.rng, 2))
        next->members += (unsigned)rng_below(&m->f.rng, rng_below(&m->f.rng, 8) ? 4 : 200);
    struct crowd *c = crowd_create(mem, next->token, next->members - MEMBERS_TIMED);
    for (unsigned i = 0; i < MEMBERS_TIMED; i++) {
        bool timed = rng_below(&m->f.rng, 3) != 0;
        next->due_ms[i] =
            timed ? m->now_ms + 1 + (int64_t)rng_below(&m->f.rng, 3000) : INT64_MAX / 2;
        cr_assert(crowd_add(mem, c, timed ? next->due_ms[i] : OBJECT_NEVER));
    }
    return c;
}

/* random_value: what to store, and as the model notes it. */
static struct value random_value(struct model *m, struct model_key *next, char *bytes) {
    *next = (struct model_key){.there = true,
                               .repr = (uint8_t)rng_below(&m->f.rng, 4),
                               .access = (uint32_t)rng_below(&m->f.rng, 1U << 23),
                               .token = rng_next(&m->f.rng),
                               .len = rng_below(&m->f.rng, rng_below(&m->f.rng, 8) ? 40 : 1024),
                               .expire_ms = random_expiry(m)};
    struct value v = {.repr = next->repr, .access = next->access};
    fill(bytes, next->token, next->len);
    if (next->repr == REPR_OBJECT)
        v.type = rng_below(&m->f.rng, 2) ? THING : CROWD;
    if (v.type == CROWD)
        v.object = random_crowd(m, next);
    else if (next->repr == REPR_OBJECT)
        v.object = thing_create(&m->f.mem, next->token);
    else if (next->repr == REPR_INT)
        v.integer = (int64_t)next->token;
    else
        v.bytes = (struct span){bytes, next->len};
    return v;
}

static void stored(struct model *m, struct model_key *k, const struct model_key *next,
                   const struct entry *e) {
    cr_assert(e != NULL);
    m->live += !k->there;
    *k = *next;
    check_same(m, e, k);
}

static void step_put(struct model *m, struct model_key *k, struct span key, uint64_t hash) {
    char bytes[ENTRY_INLINE_MAX];
    struct model_key next;
    struct value v = random_value(m, &next, bytes);
    const struct entry *e = table_put(table_of(m), key, hash, &v, next.expire_ms);
    if (next.expire_ms == EXPIRE_KEEP)
        next.expire_ms = k->there ? k->expire_ms : EXPIRE_NEVER;
    stored(m, k, &next, e);
}

/* --- writes in two steps --- */

static void step_prepare(struct model *m, uint64_t i, struct span key, uint64_t hash) {
    if (m->pending_count == PENDING_MAX)
        return;
    char bytes[ENTRY_INLINE_MAX];
    struct pending *p = &m->pending[m->pending_count++];
    struct value v = random_value(m, &p->next, bytes);
    bool keep = p->next.expire_ms == EXPIRE_KEEP, expires = p->next.expire_ms > 0;
    p->i = i;
    p->bytes = (int64_t)(mem_size(CACHE_LINE) + mem_size(entry_size_for(key.len, expires, &v)));
    p->bytes += keep ? (int64_t)mem_size(entry_size_for(key.len, true, &v)) : 0;
    if (v.object != NULL)
        p->bytes += (int64_t)(v.type == CROWD ? crowd_bytes(v.object) : mem_size(THING_BYTES));
    p->due_ms = v.type == CROWD ? ((struct object *)v.object)->due_ms : OBJECT_NEVER;
    uint64_t count = table_count(table_of(m));
    p->prepared = table_prepare(table_of(m), key, hash, &v, p->next.expire_ms);
    cr_assert(p->prepared != NULL);
    cr_assert(table_count(table_of(m)) == count);
}

static struct pending take_pending(struct model *m) {
    uint64_t at = rng_below(&m->f.rng, m->pending_count);
    struct pending p = m->pending[at];
    m->pending[at] = m->pending[--m->pending_count];
    return p;
}

static void step_commit(struct model *m) {
    if (m->pending_count == 0)
        return;
    struct pending p = take_pending(m);
    struct model_key *k = &m->keys[p.i];
    /* No memory is needed, be it there or not. */
    m->f.mem.fail_in = rng_below(&m->f.rng, 2);
    m->f.mem.fail_every = 1;
    const struct entry *e = table_commit(p.prepared, m->now_ms);
    m->f.mem.fail_in = m->f.mem.fail_every = 0;
    if (p.next.expire_ms == EXPIRE_KEEP)
        p.next.expire_ms = k->there && !dead(m, k) ? k->expire_ms : EXPIRE_NEVER;
    stored(m, k, &p.next, e);
}

static void step_abandon(struct model *m) {
    if (m->pending_count == 0)
        return;
    struct pending p = take_pending(m);
    table_abandon(p.prepared);
}

/* check_pending: there are stamps wherever what is prepared would go. Returns what it holds. */
static int64_t check_pending(struct model *m) {
    const struct table *t = table_of(m);
    int64_t bytes = 0;
    cr_assert(t->prepared == m->pending_count);
    for (unsigned i = 0; i < m->pending_count; i++) {
        const struct pending *p = &m->pending[i];
        char name[KEY_BYTES_MAX];
        uint32_t at = table_index(t, hash_of(model_name(name, p->i)));
        bytes += p->bytes;
        if (p->next.expire_ms <= 0 && p->due_ms == OBJECT_NEVER)
            continue;
        cr_assert(t->due[at / TABLE_SEGMENT].groups != NULL);
        cr_assert(table_stamp(t, at / TABLE_GROUP) != TICK_NEVER);
    }
    return bytes;
}

static void step_expire(struct model *m, struct model_key *k, struct entry *e, uint64_t hash) {
    int64_t expire_ms = random_expiry(m);
    if (e == NULL || expire_ms == EXPIRE_KEEP)
        return;
    e = table_set_expire(table_of(m), e, hash, expire_ms);
    k->expire_ms = expire_ms;
    check_same(m, e, k);
}

static void step_take(struct model *m, struct model_key *k, struct span key, uint64_t hash) {
    char scratch[ENTRY_INLINE_MAX], bytes[ENTRY_INLINE_MAX];
    struct value v;
    int64_t expire_ms;
    bool taken = table_take(table_of(m), key, hash, scratch, &v, &expire_ms);
    cr_assert(taken == k->there);
    if (!taken)
        return;
    cr_assert(v.repr == k->repr);
    cr_assert(v.access == k->access);
    cr_assert(expire_ms == k->expire_ms);
    if (v.type == CROWD) {
        check_crowd(m, v.object, k);
        crowd_destroy(&m->f.mem, v.object);
    } else if (v.repr == REPR_OBJECT) {
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

/* step_member: one more member of a crowd that is there, in place of one that has had its time, or beside the others. */
static void step_member(struct model *m, struct model_key *k, struct entry *e, uint64_t hash) {
    if (e == NULL || k->members == 0)
        return;
    struct crowd *c = entry_object(e);
    unsigned i = (unsigned)rng_below(&m->f.rng, MEMBERS_TIMED);
    if (m->now_ms <= k->due_ms[i] || crowd_due(m, k) != k->members - c->head.count)
        return; /* which of them are left is not known */
    for (unsigned j = 0; j < MEMBERS_TIMED; j++)
        if (m->now_ms > k->due_ms[j] && m->now_ms < k->due_ms[j] + EXPIRE_TICK_MS)
            return;
    k->due_ms[i] = m->now_ms + 1 + (int64_t)rng_below(&m->f.rng, 3000);
    cr_assert(crowd_add(&m->f.mem, c, k->due_ms[i]));
    cr_assert(table_note_due(table_of(m), e, hash, c->head.due_ms));
}

/* check_inner: what a sweep left of a crowd, a whole one or a slice. */
static void check_inner(struct model *m, struct model_key *k, struct span key, bool whole) {
    const struct entry *e = table_find(table_of(m), key, hash_of(key));
    if (pinned(m, hash_of(key))) {
        cr_assert(e != NULL, "pinned, and gone");
        return;
    }
    if (e == NULL) {
        /* Everybody's time had come. */
        for (unsigned i = 0; i < MEMBERS_TIMED; i++)
            cr_assert(m->now_ms > k->due_ms[i]);
        cr_assert(k->members == MEMBERS_TIMED);
        k->there = false;
        m->live--;
        return;
    }
    check_same(m, e, k);
    uint64_t left = k->members - crowd_due(m, k);
    cr_assert(!whole || ((struct crowd *)entry_object(e))->head.count <= left,
              "due, and still in there");
}

static void step_time(struct model *m) {
    m->now_ms += (int64_t)rng_below(&m->f.rng, 300);
    unsigned slice = (unsigned)rng_below(&m->f.rng, 2) ? 50 : 1;
    bool whole = rng_below(&m->f.rng, 3) != 0;
    /* One that was cut short goes on where it was, and does not see what came due behind it; in databases that changed
     * places neither does the next. */
    unsigned rounds = whole ? (m->half_swept ? 3 : 1) : 0;
    for (unsigned i = 0; i < rounds; i++)
        while (keyspace_expire_some(m->f.k, m->now_ms, slice)) {
        }
    m->half_swept = !whole && (keyspace_expire_some(m->f.k, m->now_ms, slice) || m->half_swept);
    for (unsigned i = 0; i < KEYS; i++) {
        struct model_key *k = &m->keys[i];
        char name[KEY_BYTES_MAX];
        struct span key = model_name(name, i);
        if (k->there && k->members != 0 && !dead(m, k))
            check_inner(m, k, key, whole);
        if (!k->there || !dead(m, k))
            continue;
        k->there = table_find(table_of(m), key, hash_of(key)) != NULL;
        m->live -= !k->there;
        if (pinned(m, hash_of(key)))
            cr_assert(k->there, "pinned, and gone");
        else if (k->there && whole)
            cr_assert(m->now_ms < k->expire_ms + EXPIRE_TICK_MS, "due, and still there");
    }
    cr_assert(table_count(table_of(m)) == m->live);
}

static void step_flush(struct model *m) {
    cr_assert(keyspace_flush(m->f.k, m->db) == m->live);
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
    check_same(m, e, &m->keys[i]);
}

static void step_scan(struct model *m) {
    const struct table *t = table_of(m);
    memset(m->mark, 0, sizeof m->mark);
    m->seen = 0;
    for (uint64_t cursor = 0; cursor != TABLE_SCAN_END;)
        cursor = table_scan(t, cursor, visit, m);
    cr_assert(m->seen == m->live);
    while (keyspace_free_some(m->f.k, 100)) {
    }
    check_keyspace(&m->f, m->bare_bytes + check_pending(m));
}

/* went: it may go, and is not told to be dead before its time. */
static void went(void *arg, const struct evicted *what) {
    struct model *m = arg;
    struct model_key *k = &m->keys[strtoull(what->key.ptr + 1, NULL, 10)];
    cr_assert(what->db == m->db);
    cr_assert(k->there && k->expire_ms != EXPIRE_NEVER);
    cr_assert_not(pinned(m, what->hash));
    cr_assert(what->expired == dead(m, k));
    k->there = false;
    m->live--;
}

static void step_evict(struct model *m) {
    struct evicted what = {.going = went, .arg = m};
    char name[KEY_BYTES_MAX];
    if (keyspace_evict(m->f.k, m->now_ms, &what))
        return;
    for (uint64_t i = 0; i < KEYS; i++)
        cr_assert(!m->keys[i].there || m->keys[i].expire_ms == EXPIRE_NEVER ||
                  pinned(m, hash_of(model_name(name, i))));
}

static void step_swap(struct model *m) {
    unsigned to = (unsigned)rng_below(&m->f.rng, DBS);
    keyspace_swap(m->f.k, m->db, to);
    m->db = to;
}

static void step_one_key(struct model *m, unsigned put_weight) {
    char name[KEY_BYTES_MAX];
    uint64_t i = rng_below(&m->f.rng, KEYS);
    struct model_key *k = &m->keys[i];
    struct span key = model_name(name, i);
    uint64_t hash = hash_of(key);
    struct entry *e = keyspace_find(m->f.k, m->db, key, hash, m->now_ms);
    bool gone = k->there && dead(m, k);
    if (gone && !pinned(m, hash)) {
        k->there = false;
        m->live--;
    }
    cr_assert((e != NULL) == (k->there && !gone));
    if (e != NULL)
        check_same(m, e, k);
    uint64_t what = rng_below(&m->f.rng, put_weight + 40);
    if (what < put_weight) {
        if (what % 4 == 0)
            step_prepare(m, i, key, hash);
        else
            step_put(m, k, key, hash);
    } else if (what % 4 == 0 && e != NULL && k->members != 0) {
        step_member(m, k, e, hash);
    } else if (what % 4 == 0) {
        step_expire(m, k, e, hash);
    } else if (what % 4 == 1) {
        step_take(m, k, key, hash);
    } else {
        cr_assert(table_delete(table_of(m), key, hash) == k->there);
        m->live -= k->there;
        k->there = false;
    }
}

static void run(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    fixture_init(&m->f, seed);
    m->bare_bytes = m->f.mem.used_bytes;
    m->now_ms = NOW_MS;
    m->pin_low = 256;
    keyspace_guard(m->f.k, pinned, m);
    keyspace_set_eviction(m->f.k, &(struct evict_options){EVICT_VOLATILE_TTL, 5, 10, 1});
    for (m->db = DBS; m->db-- > 0;)
        table_of(m);
    m->db = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        /* Now it fills, now it empties. */
        unsigned put_weight = step / 20000 % 2 ? 8 : 120;
        step_one_key(m, put_weight);
        /* Sometimes much is prepared, and mostly little. */
        if (rng_below(&m->f.rng, step / 50000 % 2 ? 2 : 20) == 0)
            step_commit(m);
        if (rng_below(&m->f.rng, 20) == 0)
            step_abandon(m);
        if (rng_below(&m->f.rng, 2000) == 0)
            m->pin_low = rng_below(&m->f.rng, 2) ? rng_below(&m->f.rng, 256) : 256;
        if (rng_below(&m->f.rng, 5000) == 0)
            step_swap(m);
        if (rng_below(&m->f.rng, 50) == 0)
            step_evict(m);
        if (rng_below(&m->f.rng, 200) == 0)
            step_time(m);
        if (rng_below(&m->f.rng, 1000) == 0)
            step_scan(m);
        if (rng_below(&m->f.rng, 30000) == 0)
            step_flush(m);
    }
    while (m->pending_count != 0)
        step_commit(m);
    step_scan(m);
    fixture_deinit(&m->f);
    free(m);
}

Test(keyspace_model, inv2_inv5_to_8_random_operations_seed_1) {
    run(1);
}

Test(keyspace_model, inv2_inv5_to_8_random_operations_seed_2) {
    run(2);
}

Test(keyspace_model, inv2_inv5_to_8_random_operations_seed_3) {
    run(3);
}
