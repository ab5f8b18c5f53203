/* fields_model.h: random operations on rows of names (anax/fields.h) against a model, for fields_test.c and the fuzz target.
 * What is drawn comes from a generator or from the fuzzer; what does not hold is an assertion. */
#ifndef FIELDS_MODEL_H
#define FIELDS_MODEL_H

#include "../../src/types/strtab_impl.h"
#include "anax/fields.h"
#include "anax/listpack.h"
#include "shards/assert.h"
#include <stdio.h>
#include <stdlib.h>

enum { MODEL_NAMES_MAX = 4096, MODEL_PUT_MAX = 40, MODEL_TEXT_MAX = 70000, MODEL_INLINE = 200 };

struct model_row {
    bool there;
    uint32_t value;
    int64_t expire_ms;
};

struct model {
    struct mem mem;
    struct val v;
    uint8_t *lent; /* what v lies in, as if it were an entry */
    struct fields_kind kind;
    uint32_t names;
    int64_t now_ms;
    bool fails; /* allocations do, now and then */
    uint64_t failed;
    uint32_t (*draw)(void *arg, uint32_t below);
    void *arg;
    struct model_row rows[MODEL_NAMES_MAX];
};

/* --- texts: of a number, so that they need not be kept --- */

static inline void model_fill(char *to, size_t len, uint32_t id) {
    for (size_t i = 0; i < len; i++, id = id * 1664525 + 1013904223)
        to[i] = (char)(id >> 24);
}

static inline struct span model_name(uint32_t id, char *to) {
    static const size_t lengths[] = {61, 62, 63, 64, 255, 256, 4096, 65535, 65536};
    if (id % 4 == 0)
        return (struct span){to, (size_t)sprintf(to, "%d", (int)(id * 7919) - 20000)};
    size_t len = (size_t)sprintf(to, "name:%u", id);
    if (id % 64 == 3) {
        size_t whole = lengths[id / 64 % (id < 640 ? 9 : 5)];
        model_fill(to + len, whole - len, id);
        len = whole;
    }
    if (id == 1)
        len = 0;
    return (struct span){to, len};
}

static inline struct span model_value(uint32_t seed, char *to) {
    static const size_t lengths[] = {0, 1, 9, 15, 16, 63, 64, 65, 254, 255, 256, 65536};
    size_t len = seed % 16;
    if (seed % 3 == 0)
        return (struct span){to, (size_t)sprintf(to, "%u", seed)};
    if (seed % 32 == 1)
        len = lengths[seed / 32 % 12];
    model_fill(to, len, seed);
    return (struct span){to, len};
}

/* --- what must hold --- */

static inline bool model_alive(const struct model *m, uint32_t id) {
    const struct model_row *r = &m->rows[id];
    return r->there && (r->expire_ms == 0 || m->now_ms <= r->expire_ms);
}

/* model_check_chain: of one bucket; returns how many items. */
static inline uint64_t model_check_chain(const struct strtab *t, uint32_t i) {
    int64_t stamp = OBJECT_NEVER;
    unsigned depth = 0;
    uint64_t items = 0;
    if (t->due != NULL && t->due[i / STRTAB_SEGMENT].stamps != NULL)
        stamp = t->due[i / STRTAB_SEGMENT].stamps[i % STRTAB_SEGMENT];
    if (stamp != OBJECT_NEVER) {
        ASSERT(t->due[i / STRTAB_SEGMENT].first_ms <= stamp);
        ASSERT(t->head.due_ms <= t->due[i / STRTAB_SEGMENT].first_ms);
    }
    for (const struct bucket *b = strtab_bucket(t, i); b != NULL; b = bucket_next(b), depth++)
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1, items++) {
            unsigned place = (unsigned)__builtin_ctz(used);
            struct item item;
            item_get(bucket_address(b, place), &item);
            uint64_t hash = hash_of(item.name);
            ASSERT(strtab_index(t, hash) == i);
            ASSERT(bucket_print_at(b, place) == bucket_print(hash));
            ASSERT(item.expire_ms == 0 || stamp <= item.expire_ms);
        }
    ASSERT(depth <= t->depth);
    return items;
}

static inline void model_check_table(const struct strtab *t) {
    uint64_t items = 0;
    for (uint32_t i = 0; i < t->bucket_count; i++)
        items += model_check_chain(t, i);
    ASSERT(items == t->head.count);
}

/* model_check_listpack: times ascend, none last; the object knows the first of them. */
static inline void model_check_listpack(const struct model *m) {
    const struct val *v = &m->v;
    ASSERT(lp_valid(v->bytes, v->len));
    if (v->form != VAL_LISTPACK_TTL)
        return;
    struct fields_iter i;
    struct field f;
    int64_t before_ms = 0;
    bool first = true;
    for (fields_begin(&i, v, &m->kind, 0); fields_next(&i, &f); first = false) {
        int64_t ms = f.expire_ms == 0 ? OBJECT_NEVER : f.expire_ms;
        ASSERT(ms >= before_ms);
        ASSERT(!first || fields_due_ms(v) == ms);
        before_ms = ms;
    }
}

static inline void model_check_bytes(const struct model *m) {
    const struct object *o = m->v.form == VAL_NONE ? NULL : val_object(&m->v);
    ASSERT(m->mem.used_bytes == (o == NULL ? 0 : (int64_t)o->bytes));
}

static inline void model_check_row(const struct model *m, const struct field *f, uint32_t id) {
    static char text[MODEL_TEXT_MAX];
    ASSERT(span_eq(f->name, model_name(id, text)));
    ASSERT(f->expire_ms == m->rows[id].expire_ms);
    if (m->kind.valued)
        ASSERT(span_eq(f->value, model_value(m->rows[id].value, text)));
    else
        ASSERT(f->value.len == 0);
}

/* model_check: all rows, found one by one and iterated. */
static inline void model_check(const struct model *m) {
    static char text[MODEL_TEXT_MAX];
    struct fields_iter i;
    struct field f;
    uint64_t alive = 0, seen = 0, all = 0;
    for (uint32_t id = 0; id < m->names; id++) {
        bool there = fields_find(&m->v, &m->kind, model_name(id, text), m->now_ms, &f);
        ASSERT(there == model_alive(m, id));
        if (there)
            model_check_row(m, &f, id);
        alive += there;
    }
    for (fields_begin(&i, &m->v, &m->kind, m->now_ms); fields_next(&i, &f);) {
        struct field found;
        ASSERT(fields_find(&m->v, &m->kind, f.name, m->now_ms, &found));
        ASSERT(span_eq(f.value, found.value));
        ASSERT(f.expire_ms == found.expire_ms);
        seen++;
    }
    ASSERT(seen == alive);
    for (fields_begin(&i, &m->v, &m->kind, 0); fields_next(&i, &f); all++)
        ASSERT(f.expire_ms == 0 || f.expire_ms >= fields_due_ms(&m->v));
    ASSERT(all == fields_count(&m->v, &m->kind));
    if (m->v.form == VAL_TABLE)
        model_check_table(CONTAINER_OF(m->v.big, struct strtab, head));
    else if (m->v.form != VAL_NONE)
        model_check_listpack(m);
    model_check_bytes(m);
}

/* --- operations --- */

static inline uint32_t model_draw(struct model *m, uint32_t below) {
    return m->draw(m->arg, below);
}

/* model_fail: lets one of the next allocations fail, or not. */
static inline void model_fail(struct model *m) {
    m->mem.fail_in = m->fails && model_draw(m, 3) == 0 ? 1 + model_draw(m, 8) : 0;
}

/* model_failed: an operation said so: it was told to, and nobody can see it. */
static inline void model_failed(struct model *m) {
    ASSERT(m->fails);
    ASSERT(m->mem.fail_in == 0);
    m->failed++;
    model_check(m);
}

static inline void model_put(struct model *m) {
    static char texts[2 * MODEL_PUT_MAX][MODEL_TEXT_MAX];
    uint32_t ids[MODEL_PUT_MAX], seeds[MODEL_PUT_MAX];
    struct span names[2 * MODEL_PUT_MAX];
    unsigned each = 1U + m->kind.valued;
    struct fields_put p = {.names = names,
                           .n = 1 + model_draw(m, model_draw(m, 4) == 0 ? MODEL_PUT_MAX : 6),
                           .only_new = model_draw(m, 5) == 0,
                           .time = (enum fields_time)model_draw(m, 3)};
    if (p.time == FIELDS_TIME_SET && (m->now_ms < 1000 || model_draw(m, 4) == 0))
        p.time = FIELDS_TIME_CLEAR; /* small ones stay without times for a while */
    p.expire_ms = m->now_ms + model_draw(m, 300);
    for (uint32_t i = 0; i < p.n; i++) {
        ids[i] = model_draw(m, m->names);
        seeds[i] = model_draw(m, UINT32_MAX);
        names[each * i] = model_name(ids[i], texts[each * i]);
        if (m->kind.valued)
            names[2 * i + 1] = model_value(seeds[i], texts[2 * i + 1]);
    }
    uint64_t added, expected = 0;
    model_fail(m);
    while (!fields_put(&m->v, &m->kind, &p, m->now_ms, &added))
        model_failed(m);
    m->mem.fail_in = 0;
    for (uint32_t i = 0; i < p.n; i++) {
        struct model_row *r = &m->rows[ids[i]];
        bool alive = model_alive(m, ids[i]);
        if (alive && p.only_new)
            continue;
        int64_t kept_ms = alive && p.time == FIELDS_TIME_KEEP ? r->expire_ms : 0;
        *r = (struct model_row){true, seeds[i], p.time == FIELDS_TIME_SET ? p.expire_ms : kept_ms};
        expected += !alive;
    }
    ASSERT(added == expected);
}

static inline void model_remove(struct model *m) {
    static char text[MODEL_TEXT_MAX];
    uint32_t id = model_draw(m, m->names);
    model_fail(m);
    bool was = fields_remove(&m->v, &m->kind, model_name(id, text), m->now_ms);
    m->mem.fail_in = 0;
    ASSERT(was == model_alive(m, id));
    m->rows[id].there = false;
}

static inline void model_set_times(struct model *m) {
    static char texts[MODEL_PUT_MAX][MODEL_TEXT_MAX];
    struct field_time times[MODEL_PUT_MAX];
    uint32_t ids[MODEL_PUT_MAX], n = 1 + model_draw(m, 12);
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = model_draw(m, m->names);
        times[i].name = model_name(ids[i], texts[i]);
        times[i].expire_ms = model_draw(m, 4) == 0 ? FIELDS_NEVER : m->now_ms + model_draw(m, 300);
    }
    if (n == 1 && model_draw(m, 4) == 0)
        times[0].expire_ms = 1; /* long ago */
    model_fail(m);
    while (!fields_set_times(&m->v, &m->kind, times, n, m->now_ms))
        model_failed(m);
    m->mem.fail_in = 0;
    for (uint32_t i = 0; i < n; i++)
        if (model_alive(m, ids[i]))
            m->rows[ids[i]].expire_ms = times[i].expire_ms;
}

/* model_expire: with a small budget, or until nothing is due. */
static inline void model_expire(struct model *m) {
    struct object *o = m->v.form == VAL_NONE ? NULL : val_object(&m->v);
    if (o == NULL || val_ops_of(m->v.form)->expire_some == NULL)
        return;
    bool all = model_draw(m, 2) == 0;
    unsigned budget = all ? UINT32_MAX : model_draw(m, 10);
    uint64_t before = o->count;
    model_fail(m);
    unsigned removed = val_ops_of(m->v.form)->expire_some(&m->mem, o, m->now_ms, &budget);
    m->mem.fail_in = 0;
    ASSERT(o->count == before - removed);
    val_of_object(&m->v, &m->mem, o);
    if (!all && budget == 0)
        return;
    ASSERT(o->due_ms >= m->now_ms);
    for (uint32_t id = 0; id < m->names; id++)
        m->rows[id].there = model_alive(m, id);
    uint64_t alive = 0;
    for (uint32_t id = 0; id < m->names; id++)
        alive += m->rows[id].there;
    ASSERT(o->count == alive);
}

/* model_lend: as if a small one were stored in its entry and opened again. */
static inline void model_lend(struct model *m) {
    if (m->v.form != VAL_LISTPACK || m->v.len > MODEL_INLINE)
        return;
    uint32_t len = m->v.len, cap = len + model_draw(m, 16);
    uint8_t *lent = malloc(cap);
    ASSERT(lent != NULL);
    memcpy(lent, m->v.bytes, len);
    val_destroy(&m->v);
    free(m->lent);
    m->lent = lent;
    val_of_bytes(&m->v, &m->mem, m->v.type, VAL_LISTPACK, lent, len, cap);
}

static inline void model_copy(struct model *m) {
    struct val copy;
    val_init(&copy, &m->mem, m->v.type);
    int64_t used = m->mem.used_bytes;
    model_fail(m);
    while (!val_copy(&copy, &m->v)) {
        ASSERT(m->mem.used_bytes == used);
        model_failed(m);
    }
    m->mem.fail_in = 0;
    val_destroy(&m->v);
    m->v = copy;
    model_check(m);
}

static inline void model_count_row(void *arg, const struct field *f) {
    (void)f;
    *(uint64_t *)arg += 1;
}

/* model_read: what reads all or some of it, and finds what is alive. */
static inline void model_read(struct model *m) {
    static char texts[FIELDS_BATCH][MODEL_TEXT_MAX];
    struct span names[FIELDS_BATCH];
    struct field out[FIELDS_BATCH];
    uint32_t ids[FIELDS_BATCH], n = model_draw(m, FIELDS_BATCH + 1);
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = model_draw(m, m->names);
        names[i] = model_name(ids[i], texts[i]);
    }
    uint32_t found = fields_find_batch(&m->v, &m->kind, names, n, m->now_ms, out);
    ASSERT(found == fields_find_batch(&m->v, &m->kind, names, n, m->now_ms, NULL));
    for (uint32_t i = 0; i < n; i++) {
        ASSERT((found >> i & 1) == model_alive(m, ids[i]));
        if (found >> i & 1)
            model_check_row(m, &out[i], ids[i]);
    }
    uint64_t alive = 0, scanned = 0, cursor = 0;
    for (uint32_t id = 0; id < m->names; id++)
        alive += model_alive(m, id);
    do
        cursor = fields_scan(&m->v, &m->kind, cursor, 1 + model_draw(m, 20), m->now_ms,
                             model_count_row, &scanned);
    while (cursor != 0);
    ASSERT(scanned == alive);
    struct rng r;
    rng_seed(&r, model_draw(m, 1000));
    ASSERT(fields_random(&m->v, &m->kind, &r, m->now_ms, &out[0]) == (alive != 0));
    if (alive != 0)
        ASSERT(fields_find(&m->v, &m->kind, out[0].name, m->now_ms, &out[1]));
}

static inline void model_step(struct model *m) {
    uint32_t what = model_draw(m, 64);
    if (what < 24)
        model_put(m);
    else if (what < 44)
        model_remove(m);
    else if (what < 50)
        model_set_times(m);
    else if (what < 54)
        m->now_ms += model_draw(m, 100);
    else if (what < 58)
        model_expire(m);
    else if (what < 61)
        model_lend(m);
    else if (what < 63)
        model_read(m);
    else
        model_copy(m);
    model_check_bytes(m);
}

static inline void model_begin(struct model *m, bool valued, uint64_t entries_max) {
    *m = (struct model){.kind = {valued, entries_max, 64}, .names = 64, .now_ms = 100};
    val_init(&m->v, &m->mem, valued ? VALUE_HASH : VALUE_SET);
}

static inline void model_end(struct model *m) {
    model_check(m);
    val_destroy(&m->v);
    ASSERT(m->mem.used_bytes == 0);
    free(m->lent);
}

#endif
