/* defrag_test: moving (shards/move.h), the walk over a keyspace (shards/defrag.h), and what each type does of it. Everything is
 * moved, so that under a sanitizer whoever still refers to where something was is found. */
#include "../../src/types/btree_impl.h"
#include "../../src/types/roaring_impl.h"
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "keyspace_fixture.h"
#include "shards/assert.h"
#include "shards/defrag.h"

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

static struct mem mem;
static struct rng rng;

static void setup(void) {
    uint64_t seed = 7;
    cr_assert(hash_seed(&seed) == OK);
    rng_seed(&rng, 42);
    mem = (struct mem){0};
}

/* --- shards/move.h --- */

TestSuite(move, .init = setup);

enum { SMALL_BYTES = 48 };

static void fill(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 31 + n);
}

static bool is_filled(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != (uint8_t)(i * 31 + n))
            return false;
    return true;
}

Test(move, inv1_bytes_and_account_stay) {
    struct mover v = {.mem = &mem, .everything = true, .budget = 1000000};
    for (size_t size = 1; size <= MOVE_BYTES_MAX; size += size < 200 ? 1 : 97) {
        uint8_t *p = mem_alloc(&mem, size);
        cr_assert(p != NULL);
        fill(p, size);
        int64_t used = mem.used_bytes;
        uint8_t *q = move_small(&v, p, size);
        cr_assert(is_filled(q, size), "size %zu", size);
        cr_assert(mem.used_bytes == used);
        mem_free(&mem, q, size);
    }
    cr_assert(v.stayed == 0);
    for (size_t size = CACHE_LINE; size <= 8192; size += CACHE_LINE) {
        uint8_t *p = mem_alloc_lines(&mem, size);
        cr_assert(p != NULL);
        fill(p, size);
        uint8_t *q = move_lines(&v, p, size);
        cr_assert(is_filled(q, size));
        cr_assert((uintptr_t)q % CACHE_LINE == 0);
        mem_free_lines(&mem, q, size);
    }
    cr_assert(v.stayed == 0);
    cr_assert(mem.used_bytes == 0);
}

Test(move, inv2_without_memory_everything_stays) {
    struct mover v = {.mem = &mem, .everything = true, .budget = 100};
    void *p = mem_alloc(&mem, SMALL_BYTES);
    mem.fail_in = 1;
    cr_assert(move_small(&v, p, SMALL_BYTES) == p);
    mem.fail_in = 1;
    cr_assert(move_begin(&v, p, SMALL_BYTES) == NULL);
    cr_assert(v.stayed == 2);
    cr_assert(v.moved == 0);
    cr_assert(move_small(&v, NULL, SMALL_BYTES) == NULL);
    mem_free(&mem, p, SMALL_BYTES);
}

Test(move, what_is_large_stays) {
    struct mover v = {.mem = &mem, .everything = true, .budget = 100};
    void *p = mem_alloc(&mem, MOVE_BYTES_MAX + 1);
    cr_assert(move_small(&v, p, MOVE_BYTES_MAX + 1) == p);
    mem_free(&mem, p, MOVE_BYTES_MAX + 1);
}

Test(move, the_budget_ends_at_0) {
    struct mover v = {.mem = &mem, .everything = true, .budget = 9};
    void *p = mem_alloc(&mem, SMALL_BYTES);
    for (int i = 0; i < 10; i++)
        p = move_small(&v, p, SMALL_BYTES);
    cr_assert(v.moved == 10);
    cr_assert(v.budget == 0);
    mem_free(&mem, p, SMALL_BYTES);
}

#ifdef ANAX_SYSTEM_MALLOC

Test(move, an_allocator_that_does_not_tell_moves_nothing) {
    struct mover v = {.mem = &mem};
    struct move_sample s;
    cr_assert(!mover_look(&v, 10, &s));
    void *p = mem_alloc(&mem, SMALL_BYTES);
    cr_assert(move_small(&v, p, SMALL_BYTES) == p);
    mem_free(&mem, p, SMALL_BYTES);
}

#else

/* make_sparse: N allocations of one size, of which one in `of` is left; returns how many. */
static size_t make_sparse(void **all, size_t n, size_t size, unsigned of) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        all[i] = mem_alloc(&mem, size);
        cr_assert(all[i] != NULL);
    }
    for (size_t i = 0; i < n; i++) {
        if (rng_below(&rng, of) != 0) {
            mem_free(&mem, all[i], size);
            continue;
        }
        fill(all[i], size);
        all[left++] = all[i];
    }
    mem_release_idle(); /* what lies in the thread's cache */
    return left;
}

Test(move, sparse_slabs_are_emptied_by_one_walk) {
    enum { N = 600000 };
    static const size_t sizes[] = {16, 48, 112, 320, 1024};
    void **all = malloc(N * sizeof *all);
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        struct mover v = {.mem = &mem};
        struct move_sample before, after;
        size_t size = sizes[k], n = N * 48 / (size + 48), left = make_sparse(all, n, size, 10);
        cr_assert(mover_look(&v, 10, &before));
        cr_assert(before.movable_bytes > n * size / 8, "%zu of %zu", before.movable_bytes,
                  n * size);
        cr_assert(before.movable_bytes <= before.free_bytes);
        for (size_t i = 0; i < left; i++)
            all[i] = move_small(&v, all[i], size);
        cr_assert(v.moved > left * 7 / 10, "%lu of %zu moved", (unsigned long)v.moved, left);
        cr_assert(v.moved_bytes == v.moved * size);
        cr_assert(mover_look(&v, 10, &after));
        cr_assert(after.free_bytes < before.free_bytes / 8, "%zu of %zu are still free",
                  after.free_bytes, before.free_bytes);
        uint64_t moved = v.moved;
        for (size_t i = 0; i < left; i++) {
            cr_assert(is_filled(all[i], size));
            all[i] = move_small(&v, all[i], size);
        }
        cr_assert(v.moved == moved, "nothing is gained by a second walk");
        for (size_t i = 0; i < left; i++)
            mem_free(&mem, all[i], size);
        mem_release_idle();
    }
    cr_assert(mem.used_bytes == 0);
    free(all);
}

/* Each piece in the thread's cache may be the last one of its slab. */
Test(move, what_the_cache_keeps_keeps_slabs_until_it_is_given_back) {
    enum { N = 100000 };
    void **all = malloc(N * sizeof *all);
    struct mover v = {.mem = &mem};
    struct move_sample before, kept, after;
    size_t left = make_sparse(all, N, SMALL_BYTES, 10);
    cr_assert(mover_look(&v, 10, &before));
    /* About 150 more are freed, here and there, which is less than a cache holds. */
    size_t n = 0;
    for (size_t i = 0; i < left; i++)
        if (rng_below(&rng, left) < 150)
            mem_free(&mem, all[i], SMALL_BYTES);
        else
            all[n++] = all[i];
    for (size_t i = 0; i < n; i++)
        all[i] = move_small(&v, all[i], SMALL_BYTES);
    cr_assert(mover_look(&v, 10, &kept));
    mover_uncache();
    cr_assert(mover_look(&v, 10, &after));
    cr_assert(kept.free_bytes > before.free_bytes / 2, "%zu of %zu are still free", kept.free_bytes,
              before.free_bytes);
    cr_assert(after.free_bytes < before.free_bytes / 8, "%zu of %zu are still free",
              after.free_bytes, before.free_bytes);
    for (size_t i = 0; i < n; i++)
        mem_free(&mem, all[i], SMALL_BYTES);
    free(all);
}

Test(move, full_slabs_stay) {
    enum { N = 50000 };
    void **all = malloc(N * sizeof *all);
    struct mover v = {.mem = &mem};
    struct move_sample s;
    size_t left = make_sparse(all, N, SMALL_BYTES, 1);
    cr_assert(left == N);
    cr_assert(mover_look(&v, 10, &s));
    for (size_t i = 0; i < N; i++)
        cr_assert(move_small(&v, all[i], SMALL_BYTES) == all[i]);
    for (size_t i = 0; i < N; i++)
        mem_free(&mem, all[i], SMALL_BYTES);
    free(all);
}

/* Half of the slabs are full and half nearly empty: only what is in those moves. */
Test(move, only_what_lies_in_the_sparse_slabs_moves) {
    enum { N = 100000 };
    void **full = malloc(N * sizeof *full), **sparse = malloc(N * sizeof *sparse);
    struct mover v = {.mem = &mem};
    struct move_sample s;
    cr_assert(make_sparse(full, N, SMALL_BYTES, 1) == N);
    size_t left = make_sparse(sparse, N, SMALL_BYTES, 10);
    cr_assert(mover_look(&v, 10, &s));
    for (size_t i = 0; i < N; i++)
        full[i] = move_small(&v, full[i], SMALL_BYTES);
    cr_assert(v.moved < N / 100, "%lu moved", (unsigned long)v.moved);
    for (size_t i = 0; i < left; i++)
        sparse[i] = move_small(&v, sparse[i], SMALL_BYTES);
    cr_assert(v.moved > left / 2);
    for (size_t i = 0; i < N; i++)
        mem_free(&mem, full[i], SMALL_BYTES);
    for (size_t i = 0; i < left; i++)
        mem_free(&mem, sparse[i], SMALL_BYTES);
    free(full);
    free(sparse);
}

#endif

/* --- shards/defrag.h --- */

TestSuite(defrag, .init = setup);

/* Crowds that can be moved: a member for each step. */
static void *crowd_defrag(struct mover *v, void *object, uint64_t *cursor) {
    struct crowd *c = object;
    if (*cursor == 0)
        c = move_small(v, c, sizeof *c);
    struct member **at = &c->first;
    for (uint64_t i = 0; i < *cursor && *at != NULL; i++)
        at = &(*at)->next;
    uint64_t done = 0;
    for (; *at != NULL && (v->budget > 0 || done == 0); at = &(*at)->next, done++)
        *at = move_small(v, *at, sizeof **at);
    *cursor = *at == NULL ? 0 : *cursor + done;
    return c;
}

static void walk_init(struct fixture *f) {
    static const struct value_ops crowd_ops = {crowd_destroy, crowd_bytes, crowd_destroy_some,
                                               crowd_expire_some, crowd_defrag};
    fixture_init(f, 5);
    keyspace_register_type(CROWD, &crowd_ops);
}

static void put_something(struct fixture *f, unsigned db, uint64_t n) {
    char text[KEY_BYTES_MAX], bytes[ENTRY_INLINE_MAX];
    struct span key = key_name(text, n, n % 50 == 0 ? 300 : 0);
    struct value v = value_of_int((int64_t)n);
    memset(bytes, 'a' + (int)(n % 26), sizeof bytes);
    if (n % 3 == 1)
        v = value_of_bytes((struct span){bytes, n % 200});
    else if (n % 31 == 2)
        v = value_of_crowd(crowd_create(&f->mem, n, n % 20 == 0 ? 400 : n % 7));
    else if (n % 31 == 3)
        v = value_of_thing(thing_create(&f->mem, n));
    struct table *t = keyspace_table(f->k, db);
    cr_assert(t != NULL);
    cr_assert(table_put(t, key, hash_of(key), &v,
                        n % 4 == 0 ? NOW_MS + (int64_t)n : EXPIRE_NEVER) != NULL);
}

/* is_there: the entry of a key, with what it must hold. */
static struct entry *look_at(struct fixture *f, unsigned db, uint64_t n) {
    char text[KEY_BYTES_MAX];
    struct span key = key_name(text, n, n % 50 == 0 ? 300 : 0);
    struct entry *e = table_find(keyspace_peek_table(f->k, db), key, hash_of(key));
    if (e == NULL)
        return NULL;
    cr_assert(entry_expire_ms(e) == (n % 4 == 0 ? NOW_MS + (int64_t)n : EXPIRE_NEVER));
    if (n % 3 == 1) {
        struct span s = entry_bytes(e);
        cr_assert(s.len == n % 200);
        for (size_t i = 0; i < s.len; i++)
            cr_assert(s.ptr[i] == (char)('a' + (int)(n % 26)));
    } else if (n % 31 == 2) {
        const struct crowd *c = entry_object(e);
        cr_assert(c->id == n);
        uint64_t members = 0;
        for (const struct member *m = c->first; m != NULL; m = m->next)
            members++;
        cr_assert(members == (n % 20 == 0 ? 400 : n % 7));
    } else if (n % 31 == 3) {
        cr_assert(*(const uint64_t *)entry_object(e) == n);
    } else {
        cr_assert(entry_int(e) == (int64_t)n);
    }
    return e;
}

static void drop(struct fixture *f, unsigned db, uint64_t n) {
    char text[KEY_BYTES_MAX];
    struct span key = key_name(text, n, n % 50 == 0 ? 300 : 0);
    cr_assert(table_delete(keyspace_peek_table(f->k, db), key, hash_of(key)));
}

Test(defrag, inv1_nothing_changes_but_where_things_lie) {
    enum { N = 20000 };
    struct fixture f;
    walk_init(&f);
    struct defrag d = {.mover.everything = true};
    int64_t without = f.mem.used_bytes;
    cr_assert(!defrag_some(f.k, &d, 1), "there is nothing yet");
    for (uint64_t n = 0; n < N; n++)
        put_something(&f, n % 3 == 0 ? 0 : 7, n);
    int64_t used = f.mem.used_bytes;
    for (unsigned budget = 1; budget < 3000; budget = budget * 5 + 1) {
        uint64_t moved = d.mover.moved, keys = d.keys_moved + d.keys_stayed;
        while (defrag_some(f.k, &d, budget)) {
        }
        cr_assert(d.mover.moved - moved >= N);
        cr_assert(d.keys_moved + d.keys_stayed - keys == N, "inv2: each of them once");
        cr_assert(f.mem.used_bytes == used);
        check_keyspace(&f, without);
        for (uint64_t n = 0; n < N; n++)
            cr_assert(look_at(&f, n % 3 == 0 ? 0 : 7, n) != NULL);
    }
    cr_assert(d.keys_stayed == 0);
    fixture_deinit(&f);
}

Test(defrag, inv2_a_walk_ends_and_passes_over_nothing_while_keys_come_and_go) {
    enum { N = 6000, LASTING = 2000 };
    struct fixture f;
    walk_init(&f);
    bool there[N] = {0};
    const struct entry *was[LASTING];
    for (uint64_t n = 0; n < LASTING; n++) {
        put_something(&f, 0, n);
        was[n] = look_at(&f, 0, n);
    }
    struct defrag d = {.mover.everything = true};
    unsigned calls = 0;
    while (defrag_some(f.k, &d, 1 + (unsigned)rng_below(&rng, 60))) {
        cr_assert(++calls < 100000);
        for (int i = 0; i < 8; i++) {
            uint64_t n = LASTING + rng_below(&rng, N - LASTING);
            if (there[n] && rng_below(&rng, calls % 200 < 100 ? 4 : 1) == 0) {
                drop(&f, 0, n);
                there[n] = false;
            } else if (!there[n]) {
                put_something(&f, 0, n);
                there[n] = true;
            }
        }
        if (calls % 16 == 0)
            f.mem.fail_in = 1 + rng_below(&rng, 3);
        (void)defrag_some(f.k, &d, 1);
        f.mem.fail_in = 0;
        if (calls % 64 == 0)
            (void)keyspace_free_some(f.k, 100000);
    }
    while (keyspace_free_some(f.k, 100000)) {
    }
    (void)check_table(keyspace_peek_table(f.k, 0));
    uint64_t stayed = 0;
    for (uint64_t n = 0; n < N; n++) {
        const struct entry *e = look_at(&f, 0, n);
        cr_assert((e != NULL) == (n < LASTING || there[n]), "key %lu", (unsigned long)n);
        stayed += n < LASTING && e == was[n];
    }
    cr_assert(stayed < LASTING / 20, "%lu keys stayed where they were", (unsigned long)stayed);
    fixture_deinit(&f);
}

static bool every_third(void *arg, uint64_t hash) {
    (void)arg;
    return hash % 3 == 0;
}

Test(defrag, pinned_keys_stay_with_all_that_they_hold) {
    enum { N = 3000 };
    struct fixture f;
    walk_init(&f);
    static const struct entry *was[N];
    static const void *held[N];
    for (uint64_t n = 0; n < N; n++) {
        put_something(&f, 0, n);
        was[n] = look_at(&f, 0, n);
        held[n] = entry_repr(was[n]) == REPR_OBJECT ? entry_object(was[n]) : NULL;
    }
    keyspace_guard(f.k, every_third, NULL);
    struct defrag d = {.mover.everything = true};
    while (defrag_some(f.k, &d, 10)) {
    }
    unsigned pinned = 0;
    for (uint64_t n = 0; n < N; n++) {
        const struct entry *e = look_at(&f, 0, n);
        if (hash_of(entry_key(e)) % 3 != 0)
            continue;
        pinned++;
        cr_assert(e == was[n]);
        cr_assert(held[n] == NULL || entry_object(e) == held[n]);
    }
    cr_assert(pinned > N / 4);
    cr_assert(d.keys_moved == N - pinned);
    cr_assert(d.keys_stayed == pinned);
    fixture_deinit(&f);
}

Test(defrag, what_is_prepared_is_stored_after_a_walk) {
    struct fixture f;
    walk_init(&f);
    struct table *t = keyspace_table(f.k, 0);
    struct value v = value_of_int(1), other = value_of_int(2);
    struct prepared *p[100];
    char text[KEY_BYTES_MAX];
    for (unsigned i = 0; i < COUNT_OF(p); i++) {
        struct span key = key_name(text, i, 0);
        cr_assert(table_put(t, key, hash_of(key), &v, EXPIRE_NEVER) != NULL);
        p[i] = table_prepare(t, key, hash_of(key), &other, EXPIRE_KEEP);
        cr_assert(p[i] != NULL);
    }
    struct defrag d = {.mover.everything = true};
    while (defrag_some(f.k, &d, 3)) {
    }
    for (unsigned i = 0; i < COUNT_OF(p); i++) {
        struct entry *e = table_commit(p[i], NOW_MS);
        cr_assert(entry_int(e) == 2);
    }
    (void)check_table(t);
    fixture_deinit(&f);
}

/* --- the types --- */

enum { IDS = 3000, ROUNDS = 250, NAME_MAX = 200 };

/* A value of one type, and what it must hold. */
struct model {
    struct val v;
    bool there[IDS];
    int64_t list[IDS * 4];
    size_t list_count;
    uint64_t cursor; /* of its defragmentation */
    bool numbers;    /* names are numbers, mostly */
    uint64_t done;   /* walks to its end */
};

static const struct fields_kind hash_kind = {.valued = true, .entries_max = 8, .bytes_max = 64};
static const struct set_kind set_kind = {.intset_max = 8,
                                         .fields = {.entries_max = 8, .bytes_max = 64}};
static const struct zset_kind zset_kind = {.entries_max = 8, .bytes_max = 64};

static struct span name_of(const struct model *m, uint32_t id, char *to) {
    if (m->numbers && id % 50 != 0) /* in two parts, dense and thin containers */
        return (struct span){to, (size_t)sprintf(to, "%lld",
                                                 id % 2 == 0   ? (long long)id
                                                 : id % 3 == 0 ? (long long)id << 14
                                                               : (long long)id << 24)};
    int n = sprintf(to, "name-%u:", id);
    size_t len = id % 20 == 0 ? NAME_MAX : (size_t)n;
    memset(to + n, 'x', len - (size_t)n);
    return (struct span){to, len};
}

/* move_some: as the keyspace does; true when it came to an end. */
static void move_some(struct model *m, unsigned budget) {
    struct mover v = {.mem = &mem, .everything = true, .budget = budget};
    struct object *o = val_object(&m->v);
    if (o == NULL)
        return;
    if (rng_below(&rng, 8) == 0)
        mem.fail_in = 1 + rng_below(&rng, 20);
    o = val_ops_of(m->v.form)->defrag_some(&v, o, &m->cursor);
    mem.fail_in = 0;
    val_of_object(&m->v, &mem, o);
    m->done += m->cursor == 0;
    cr_assert(v.moved + v.stayed > 0 || v.budget < budget || m->cursor == 0);
}

typedef void change_fn(struct model *m, uint32_t id, struct span name);

static void hash_change(struct model *m, uint32_t id, struct span name) {
    uint64_t added;
    struct span pair[2] = {name, name};
    if (m->there[id]) {
        cr_assert(fields_remove(&m->v, &hash_kind, name, 1));
        return;
    }
    struct fields_put put = {.names = pair,
                             .n = 1,
                             .time = id % 5 == 0 ? FIELDS_TIME_SET : FIELDS_TIME_CLEAR,
                             .expire_ms = id % 5 == 0 ? 1000 + (int64_t)id : FIELDS_NEVER};
    cr_assert(fields_put(&m->v, &hash_kind, &put, 1, &added));
    cr_assert(added == 1);
}

static void hash_check(struct model *m, uint32_t id, struct span name) {
    struct field f;
    cr_assert(fields_find(&m->v, &hash_kind, name, 1, &f) == m->there[id]);
    cr_assert(!m->there[id] ||
              (span_eq(f.value, name) && f.expire_ms == (id % 5 == 0 ? 1000 + (int64_t)id : 0)));
}

static void set_change(struct model *m, uint32_t id, struct span name) {
    uint64_t added;
    if (m->there[id])
        cr_assert(setval_remove(&m->v, &set_kind, name, 1));
    else
        cr_assert(setval_add(&m->v, &set_kind, &name, 1, 1, &added));
}

static void set_check(struct model *m, uint32_t id, struct span name) {
    cr_assert(setval_find(&m->v, &set_kind, name, 1, NULL) == m->there[id]);
}

static void zset_change(struct model *m, uint32_t id, struct span name) {
    struct zset_pair p = {.member = name, .score = (double)(id % 700)};
    struct zset_added out;
    if (m->there[id])
        cr_assert(zsetval_remove(&m->v, name));
    else
        cr_assert(zsetval_add(&m->v, &zset_kind, 0, &p, 1, &out));
}

static void zset_check(struct model *m, uint32_t id, struct span name) {
    double score;
    cr_assert(zsetval_score(&m->v, name, &score) == m->there[id]);
    cr_assert(!m->there[id] || score == (double)(id % 700));
}

/* run_model: grows and shrinks; between two changes some of it moves. */
static void run_model(struct model *m, uint8_t type, change_fn *change, change_fn *check) {
    char text[NAME_MAX];
    val_init(&m->v, &mem, type);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool growing = round % 100 < 60;
        for (int i = 0; i < 60; i++) {
            uint32_t id = (uint32_t)rng_below(&rng, IDS);
            if (m->there[id] == growing && rng_below(&rng, 4) != 0)
                continue;
            change(m, id, name_of(m, id, text));
            m->there[id] = !m->there[id];
            if (i % 4 == 0)
                move_some(m, 1 + (unsigned)rng_below(&rng, round % 3 == 0 ? 5 : 400));
        }
        if (m->v.form == VAL_TREE)
            btree_check((const struct btree *)m->v.big);
        cr_assert(mem.used_bytes == (int64_t)val_bytes(&m->v));
        uint32_t some = round % 20 == 0 ? 1 : 37;
        for (uint32_t id = 0; id < IDS; id += some)
            check(m, id, name_of(m, id, text));
    }
    cr_assert(m->done > 10, "walks come to their end");
    val_destroy(&m->v);
    cr_assert(mem.used_bytes == 0);
}

Test(defrag, hashes) {
    static struct model m;
    run_model(&m, VALUE_HASH, hash_change, hash_check);
}

Test(defrag, sets_of_texts) {
    static struct model m;
    run_model(&m, VALUE_SET, set_change, set_check);
}

Test(defrag, sets_of_integers_and_of_some_texts) {
    static struct model m = {.numbers = true};
    run_model(&m, VALUE_SET, set_change, set_check);
}

Test(defrag, sorted_sets) {
    static struct model m;
    run_model(&m, VALUE_ZSET, zset_change, zset_check);
}

Test(defrag, lists) {
    static struct model m;
    struct listval_limits l = listval_limits_of(-1);
    char text[NAME_MAX];
    val_init(&m.v, &mem, VALUE_LIST);
    for (unsigned round = 0; round < 40 * ROUNDS; round++) {
        bool grow = m.list_count < 2 || (round % 4000 < 2500 && m.list_count < COUNT_OF(m.list));
        if (grow) {
            int64_t id = (int64_t)rng_below(&rng, IDS);
            struct span name = name_of(&m, (uint32_t)id, text);
            cr_assert(listval_push(&m.v, LISTVAL_TAIL, &name, 1, &l));
            m.list[m.list_count++] = id;
        } else {
            listval_pop(&m.v, LISTVAL_HEAD, 1, &l);
            memmove(m.list, m.list + 1, --m.list_count * sizeof m.list[0]);
        }
        if (round % 3 == 0)
            move_some(&m, 1 + (unsigned)rng_below(&rng, 30));
        if (round % 100 != 0)
            continue;
        listval_check(&m.v, &l, true);
        cr_assert(mem.used_bytes == (int64_t)val_bytes(&m.v));
        struct listval_iter i;
        struct lp_item item;
        size_t n = 0;
        for (listval_begin(&i, &m.v, 0, false); listval_next(&i, &item); n++)
            cr_assert(
                span_eq((struct span){item.str, item.len}, name_of(&m, (uint32_t)m.list[n], text)));
        cr_assert(n == m.list_count);
    }
    cr_assert(m.done > 10);
    val_destroy(&m.v);
    cr_assert(mem.used_bytes == 0);
}

/* A cursor may come from another object, or from before this one shrank. */
Test(defrag, any_cursor_will_do) {
    static struct model models[3];
    change_fn *const changes[] = {hash_change, set_change, zset_change};
    static const uint8_t types[] = {VALUE_HASH, VALUE_SET, VALUE_ZSET};
    char text[NAME_MAX];
    for (unsigned k = 0; k < COUNT_OF(models); k++) {
        struct model *m = &models[k];
        m->numbers = k == 1;
        val_init(&m->v, &mem, types[k]);
        for (uint32_t id = 0; id < IDS; id++)
            changes[k](m, id, name_of(m, id, text));
        for (int i = 0; i < 3000; i++) {
            struct mover v = {.mem = &mem, .everything = true, .budget = 20};
            uint64_t cursor = rng_next(&rng) >> rng_below(&rng, 64);
            struct object *o = val_object(&m->v);
            val_of_object(&m->v, &mem, val_ops_of(m->v.form)->defrag_some(&v, o, &cursor));
        }
        if (m->v.form == VAL_TREE)
            btree_check((const struct btree *)m->v.big);
        for (uint32_t id = 0; id < IDS; id++)
            m->there[id] = true;
        for (uint32_t id = 0; id < IDS; id++)
            (k == 0 ? hash_check : k == 1 ? set_check : zset_check)(m, id, name_of(m, id, text));
        val_destroy(&m->v);
    }
    cr_assert(mem.used_bytes == 0);
}
