/* fields_table.c: writing of rows in a table.
 *
 * A write of several rows goes in two steps. First everything that needs memory: new items are made and take their places,
 * so that a name that comes again finds them; what they take the place of is kept aside. Then what cannot
 * fail: rows whose item has the right size are written over, and what was kept aside is freed. When the first step fails,
 * what it did is undone from its end, which needs no memory.
 */
#include "fields_impl.h"
#include "shards/assert.h"

struct edit {
    uint8_t *old;      /* NULL: the name is new */
    uint8_t *fresh;    /* NULL: old is to be written over, if there is one */
    int64_t expire_ms; /* what its row is to have */
    uint64_t hash;
};

enum { EDITS_INLINE = 8, EDITS_AHEAD = 16 };

struct edits {
    struct strtab *t;
    struct mem *m;
    int64_t now_ms, used_bytes;
    uint32_t n;
    struct edit *all, few[EDITS_INLINE];
};

static bool edits_begin(struct edits *e, struct val *v, uint32_t n, int64_t now_ms) {
    e->t = fields_table(v);
    e->m = v->mem;
    e->now_ms = now_ms;
    e->used_bytes = v->mem->used_bytes;
    e->n = n;
    e->all = n <= EDITS_INLINE ? e->few : mem_alloc(v->mem, n * sizeof(*e->all));
    return e->all != NULL;
}

static void edits_end(struct edits *e) {
    if (e->all != e->few)
        mem_free(e->m, e->all, e->n * sizeof(*e->all));
    strtab_settle(e->t, e->m, e->used_bytes);
}

/* edits_undo: the first n of them. */
static void edits_undo(struct edits *e, uint32_t n) {
    while (n-- > 0) {
        struct edit *each = &e->all[n];
        struct place at;
        struct item i;
        if (each->fresh == NULL)
            continue;
        item_get(each->fresh, &i);
        bool there = strtab_find(e->t, i.name, each->hash, &at);
        ASSERT(there);
        if (each->old != NULL)
            strtab_swap(at, each->old);
        else
            strtab_take(e->t, e->m, each->hash, at);
        item_free(e->m, each->fresh);
    }
}

/* look_ahead: the hashes of the next few rows, and what finding them will touch. Names come every `stride` bytes. */
static void look_ahead(struct edits *e, uint32_t from, const struct span *name, size_t stride) {
    uint32_t n = e->n - from < EDITS_AHEAD ? e->n - from : EDITS_AHEAD;
    for (uint32_t i = 0; i < n; i++) {
        const struct span *each = (const void *)((const char *)name + i * stride);
        e->all[from + i] = (struct edit){.hash = hash_of(*each)};
        if (n > 1)
            strtab_prefetch(e->t, e->all[from + i].hash);
    }
    for (uint32_t i = 0; n > 1 && i < n; i++)
        strtab_prefetch_item(e->t, e->all[from + i].hash);
}

/* make: the row of an edit is to be like this; a new item takes the place of the old one, or a place of its own. */
static bool make(struct edits *e, struct edit *each, const struct item *want, struct place at) {
    uint8_t *fresh = item_create(e->m, want);
    if (fresh == NULL)
        return false;
    if (each->old != NULL)
        strtab_swap(at, fresh);
    else if (!strtab_insert(e->t, e->m, fresh, each->hash, e->n == 1)) {
        item_free(e->m, fresh);
        return false;
    }
    each->fresh = fresh;
    return true;
}

/* --- put --- */

static struct item wanted(const struct fields_put *p, bool valued, uint32_t i, int64_t expire_ms) {
    return (struct item){.name = p->names[valued ? 2 * i : i],
                         .value = valued ? p->names[2 * i + 1] : (struct span){"", 0},
                         .expire_ms = expire_ms,
                         .valued = valued,
                         .timed = expire_ms != FIELDS_NEVER};
}

/* prepare: the first step of row i. *added grows by one if it is new. */
static bool prepare(struct edits *e, const struct fields_put *p, bool valued, uint32_t i,
                    uint64_t *added) {
    struct edit *each = &e->all[i];
    struct place at;
    struct item was = {.expire_ms = FIELDS_NEVER};
    uint8_t *old =
        strtab_find(e->t, p->names[valued ? 2 * i : i], each->hash, &at) ? strtab_item(at) : NULL;
    if (old != NULL)
        item_get(old, &was);
    bool alive = old != NULL && !item_dead(was.expire_ms, e->now_ms);
    each->expire_ms = p->time == FIELDS_TIME_SET ? fields_time(p->expire_ms) : FIELDS_NEVER;
    if (p->time == FIELDS_TIME_KEEP && alive)
        each->expire_ms = was.expire_ms;
    if (alive && (p->only_new || (!valued && each->expire_ms == was.expire_ms)))
        return true;
    struct item want = wanted(p, valued, i, each->expire_ms);
    if (want.timed && !strtab_stamp(e->t, e->m, each->hash, want.expire_ms))
        return false;
    *added += !alive;
    each->old = old;
    /* A dead one is never written over: if its name comes again, it must be found alive. */
    if (alive && mem_size(item_bytes(&want)) == mem_size(item_bytes(&was)))
        return true;
    return make(e, each, &want, at);
}

bool fields_table_put(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                      int64_t now_ms, uint64_t *added) {
    struct edits e;
    uint32_t done = 0;
    *added = 0;
    if (!edits_begin(&e, v, p->n, now_ms))
        return false;
    for (; done < p->n; done++) {
        if (done % EDITS_AHEAD == 0)
            look_ahead(&e, done, &p->names[k->valued ? 2 * done : done],
                       sizeof(struct span) << k->valued);
        if (unlikely(!prepare(&e, p, k->valued, done, added)))
            break;
    }
    if (unlikely(done < p->n))
        edits_undo(&e, done);
    for (uint32_t i = 0; done == p->n && i < p->n; i++) {
        struct edit *each = &e.all[i];
        if (each->old == NULL)
            continue;
        if (each->fresh == NULL) {
            struct item want = wanted(p, k->valued, i, each->expire_ms);
            item_write(each->old, &want);
        } else {
            item_free(e.m, each->old);
        }
    }
    edits_end(&e);
    return done == p->n;
}

/* --- times --- */

static bool prepare_time(struct edits *e, const struct field_time *time, struct edit *each) {
    struct place at;
    if (!strtab_find(e->t, time->name, each->hash, &at))
        return true;
    struct item want;
    item_get(strtab_item(at), &want);
    each->expire_ms = fields_time(time->expire_ms);
    if (item_dead(want.expire_ms, e->now_ms) || (!want.timed && each->expire_ms == FIELDS_NEVER))
        return true;
    if (each->expire_ms != FIELDS_NEVER && !strtab_stamp(e->t, e->m, each->hash, each->expire_ms))
        return false;
    each->old = strtab_item(at);
    if (want.timed) /* one that loses its time keeps the room for it */
        return true;
    want.timed = true;
    want.expire_ms = each->expire_ms;
    return make(e, each, &want, at);
}

bool fields_table_set_times(struct val *v, const struct field_time *times, uint32_t n,
                            int64_t now_ms) {
    struct edits e;
    uint32_t done = 0;
    if (!edits_begin(&e, v, n, now_ms))
        return false;
    for (; done < n; done++) {
        if (done % EDITS_AHEAD == 0)
            look_ahead(&e, done, &times[done].name, sizeof *times);
        if (unlikely(!prepare_time(&e, &times[done], &e.all[done])))
            break;
    }
    if (unlikely(done < n))
        edits_undo(&e, done);
    for (uint32_t i = 0; done == n && i < n; i++) {
        struct edit *each = &e.all[i];
        if (each->old == NULL)
            continue;
        if (each->fresh == NULL)
            item_set_time(each->old, each->expire_ms);
        else
            item_free(e.m, each->old);
    }
    edits_end(&e);
    return done == n;
}

/* --- the rest --- */

bool fields_table_remove(struct val *v, struct span name, int64_t now_ms) {
    struct strtab *t = fields_table(v);
    int64_t used_bytes = v->mem->used_bytes;
    uint64_t hash = hash_of(name);
    struct place at;
    if (!strtab_find(t, name, hash, &at))
        return false;
    uint8_t *item = strtab_item(at);
    bool alive = !item_dead(item_expire_ms(item), now_ms);
    strtab_take(t, v->mem, hash, at);
    item_free(v->mem, item);
    strtab_settle(t, v->mem, used_bytes);
    return alive;
}

struct object *fields_table_of(const struct val *v, const struct fields_kind *k) {
    struct strtab *t = strtab_create(v->mem, v->type);
    if (t == NULL || v->form == VAL_NONE)
        return t == NULL ? NULL : &t->head;
    int64_t used_bytes = v->mem->used_bytes;
    struct fields_iter rows;
    struct field f;
    bool done = true;
    /* Nothing has died by the time 0. */
    for (fields_begin(&rows, v, k, 0); done && fields_next(&rows, &f);) {
        struct item i = {.name = f.name,
                         .value = f.value,
                         .expire_ms = f.expire_ms,
                         .valued = k->valued,
                         .timed = f.expire_ms != FIELDS_NEVER};
        uint8_t *item = item_create(v->mem, &i);
        done = item != NULL && strtab_insert(t, v->mem, item, hash_of(i.name), true);
        if (!done && item != NULL)
            item_free(v->mem, item);
    }
    strtab_settle(t, v->mem, used_bytes);
    if (done)
        return &t->head;
    val_destroy(&(struct val){.mem = v->mem, .type = v->type, .form = VAL_TABLE, .big = &t->head});
    return NULL;
}

const struct val_ops fields_table_ops = {.destroy_some = strtab_destroy_some,
                                         .copy = strtab_copy,
                                         .expire_some = strtab_expire_some,
                                         .defrag_some = strtab_defrag_some};
