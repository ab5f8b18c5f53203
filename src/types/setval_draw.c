/* setval_draw.c: members by chance, and sets walked in steps. See anax/setval.h.
 *
 * A cursor of setval_scan, 64 bits:
 *
 *     | 00 | of fields_scan |     a fields form
 *     | 01 | group          |     bitmaps: the next integer, its sign bit flipped, without its last two bits
 *     | 10 | of fields_scan |     what is beside the bitmaps
 *
 * Integers are visited in numeric order, so what is added or taken out meanwhile does not matter. A cursor of another form
 * than the set has by now starts again: then everything is visited again, which the guarantee allows. */
#include "setval_impl.h"
#include "shards/assert.h"

/* --- by chance ---
 *
 * A place is drawn, and refused when who holds it is dead, so each living member has the same chance and nobody needs to know
 * how many there are. When that has cost as much as a walk, most are dead: then they are counted. */

enum { TRIES = 64, TRIES_SHARE = 32 /* in the time of one try as many rows are walked over */ };

static uint64_t living_rows(const struct val *v, const struct set_kind *k, int64_t now_ms) {
    struct fields_iter i;
    struct field f;
    uint64_t n = 0;
    if (v->form == VAL_NONE)
        return 0;
    if (likely(setval_due_ms(v) >= now_ms))
        return fields_count(v, &k->fields);
    fields_begin(&i, v, &k->fields, now_ms);
    while (fields_next(&i, &f))
        n++;
    return n;
}

uint64_t setval_living(const struct val *v, const struct set_kind *k, int64_t now_ms) {
    struct val rest;
    if (v->form == VAL_INTSET)
        return intset_count(v->bytes);
    if (v->form != VAL_ROARING)
        return living_rows(v, k, now_ms);
    setval_rest(v, &rest);
    return setval_roaring(v)->ints + living_rows(&rest, k, now_ms);
}

void setval_draw_begin(struct set_draw *d, const struct val *v, const struct set_kind *k,
                       int64_t now_ms) {
    *d = (struct set_draw){.v = v, .k = k, .now_ms = now_ms};
    if (v->form == VAL_INTSET)
        d->ints = intset_count(v->bytes);
    else if (v->form == VAL_ROARING)
        d->ints = setval_roaring(v)->ints;
    d->others = v->form == VAL_NONE ? 0 : setval_count(v) - d->ints;
}

/* rows_of: where members are that are not among the ints; `rest` is room for it. */
static const struct val *rows_of(const struct set_draw *d, struct val *rest) {
    if (d->v->form != VAL_ROARING)
        return d->v;
    setval_rest(d->v, rest);
    return rest;
}

static struct lp_item draw_int(const struct set_draw *d, struct rng *r) {
    if (d->v->form == VAL_INTSET)
        return (struct lp_item){.num = intset_at(d->v->bytes, (uint32_t)rng_below(r, d->ints))};
    return (struct lp_item){.num = roaring_set_draw(setval_roaring(d->v), r)};
}

/* draw_row: of those that are alive at now_ms; at 0 nothing has died yet. */
static bool draw_row(const struct set_draw *d, struct rng *r, int64_t now_ms, struct lp_item *out) {
    struct val rest;
    struct field f;
    if (!fields_random(rows_of(d, &rest), &d->k->fields, r, now_ms, &f))
        return false;
    *out = setval_item(&f);
    return f.expire_ms == FIELDS_NEVER || f.expire_ms >= d->now_ms;
}

/* draw_counted: O(N). */
static bool draw_counted(const struct set_draw *d, struct rng *r, struct lp_item *out) {
    struct val rest;
    uint64_t rows = living_rows(rows_of(d, &rest), d->k, d->now_ms);
    if (rows == 0 || rng_below(r, d->ints + rows) < d->ints) {
        if (d->ints == 0)
            return false;
        *out = draw_int(d, r);
        return true;
    }
    return draw_row(d, r, d->now_ms, out);
}

bool setval_draw(struct set_draw *d, struct rng *r, struct lp_item *out) {
    uint64_t places = d->ints + d->others;
    if (places == 0)
        return false;
    for (uint64_t tries = TRIES + places / TRIES_SHARE; tries > 0; tries--) {
        if (d->others == 0 || (d->ints > 0 && rng_below(r, places) < d->ints)) {
            *out = draw_int(d, r);
            return true;
        }
        if (draw_row(d, r, 0, out))
            return true;
        d->refused++;
    }
    return draw_counted(d, r, out);
}

/* --- without replacement --- */

static bool same(const struct lp_item *a, const struct lp_item *b) {
    return a->str == b->str && (a->str != NULL || a->num == b->num);
}

/* One of these is in a listpack, bitmaps or a table, where no two members have the same address. */
static uint64_t mix(const struct lp_item *i) {
    uint64_t x = i->str == NULL ? (uint64_t)i->num : (uint64_t)(uintptr_t)i->str;
    x = (x ^ x >> 32) * 0x9e3779b97f4a7c15ULL;
    return x ^ x >> 29;
}

/* pick_few: draws until `want` different ones have come; slots: an empty table of places in f->items, plus one. False: so
 * many are dead that a walk would have cost as much. */
static bool pick_few(struct set_found *f, struct set_draw *d, struct rng *r, uint64_t want,
                     uint32_t *slots, size_t mask) {
    while (f->n < want) {
        struct lp_item item;
        if (d->refused > d->ints + d->others || !setval_draw(d, r, &item)) {
            f->n = 0;
            return false;
        }
        size_t at = mix(&item) & mask;
        while (slots[at] != 0 && !same(&f->items[slots[at] - 1], &item))
            at = (at + 1) & mask;
        if (slots[at] != 0)
            continue;
        f->items[f->n++] = item;
        slots[at] = (uint32_t)f->n;
    }
    return true;
}

/* pick_many: walks all of them; each is taken with the chance that what is wanted has of what is left. */
static void pick_many(struct set_found *f, const struct set_draw *d, struct rng *r, uint64_t want) {
    struct set_iter i;
    struct lp_item item;
    uint64_t left = setval_living(d->v, d->k, d->now_ms);
    want = want < left ? want : left;
    setval_begin(&i, d->v, d->k, d->now_ms);
    for (; f->n < want && setval_next(&i, &item); left--) {
        if (rng_below(r, left) < want - f->n)
            f->items[f->n++] = item;
    }
    ASSERT(f->n == want);
}

bool setval_pick(struct set_found *f, const struct val *v, const struct set_kind *k, struct rng *r,
                 uint64_t want, int64_t now_ms) {
    struct set_draw d;
    setval_draw_begin(&d, v, k, now_ms);
    uint64_t all = d.ints + d.others;
    *f = (struct set_found){0};
    val_init(&f->v, v->mem, VALUE_SET);
    want = want < all ? want : all;
    if (want == 0)
        return true;
    f->cap = want;
    f->items = mem_alloc(v->mem, f->cap * sizeof(*f->items));
    if (f->items == NULL)
        return false;
    size_t slots_n = 4;
    while (slots_n < want * 2)
        slots_n *= 2;
    uint32_t *slots = NULL;
    bool list = v->form == VAL_LISTPACK || v->form == VAL_LISTPACK_TTL;
    bool few = want < all / 3 && want < UINT32_MAX && !list;
    if (few && (slots = mem_zalloc(v->mem, slots_n * sizeof(*slots))) == NULL) {
        setval_found_free(f, v->mem);
        return false;
    }
    if (!few || !pick_few(f, &d, r, want, slots, slots_n - 1))
        pick_many(f, &d, r, want);
    mem_free(v->mem, slots, slots_n * sizeof(*slots));
    return true;
}

/* --- in steps --- */

enum { TAG_SHIFT = 62, TAG_FIELDS = 0, TAG_INTS = 1, TAG_REST = 2, GROUP_SHIFT = 2 };
#define PAYLOAD ((1ULL << TAG_SHIFT) - 1)

struct visitor {
    void (*visit)(void *arg, const struct lp_item *i);
    void *arg;
};

static void visit_row(void *arg, const struct field *f) {
    const struct visitor *to = arg;
    struct lp_item item = setval_item(f);
    to->visit(to->arg, &item);
}

static uint64_t tagged(uint64_t tag, uint64_t payload) {
    ASSERT(payload <= PAYLOAD);
    return tag << TAG_SHIFT | payload;
}

static uint64_t group_of(int64_t v) {
    return ((uint64_t)v ^ 1ULL << 63) >> GROUP_SHIFT;
}

static int64_t first_of(uint64_t group) {
    return (int64_t)(group << GROUP_SHIFT ^ 1ULL << 63);
}

/* scan_ints: whole groups. Returns the cursor of the next one; false: there is none. */
static bool scan_ints(const struct roaring *r, uint64_t *group, uint64_t count,
                      const struct visitor *to) {
    int64_t ints[SETVAL_FETCH];
    struct roaring_place at = roaring_set_seek(r, first_of(*group));
    uint64_t visited = 0, last = *group;
    uint32_t n;
    while ((n = roaring_set_read(r, &at, ints, SETVAL_FETCH)) > 0) {
        for (uint32_t i = 0; i < n; i++, visited++) {
            struct lp_item item = {.num = ints[i]};
            *group = group_of(ints[i]);
            if (visited >= count && *group != last)
                return true;
            last = *group;
            to->visit(to->arg, &item);
        }
    }
    return false;
}

static uint64_t scan_roaring(const struct val *v, const struct set_kind *k, uint64_t cursor,
                             uint64_t count, int64_t now_ms, const struct visitor *to) {
    const struct roaring *r = setval_roaring(v);
    uint64_t tag = cursor >> TAG_SHIFT, payload = cursor & PAYLOAD;
    struct val rest;
    if (tag != TAG_REST) {
        payload = tag == TAG_INTS ? payload : 0;
        if (scan_ints(r, &payload, count, to))
            return tagged(TAG_INTS, payload);
        return r->rest == NULL ? 0 : tagged(TAG_REST, 0);
    }
    if (r->rest == NULL)
        return 0;
    setval_rest(v, &rest);
    uint64_t next =
        fields_scan(&rest, &k->fields, payload, count, now_ms, visit_row, (void *)(uintptr_t)to);
    return next == 0 ? 0 : tagged(TAG_REST, next);
}

uint64_t setval_scan(const struct val *v, const struct set_kind *k, uint64_t cursor, uint64_t count,
                     int64_t now_ms, void (*visit)(void *arg, const struct lp_item *i), void *arg) {
    struct visitor to = {visit, arg};
    switch (v->form) {
    case VAL_NONE:
        return 0;
    case VAL_INTSET:
        for (uint32_t i = 0; i < intset_count(v->bytes); i++) {
            struct lp_item item = {.num = intset_at(v->bytes, i)};
            visit(arg, &item);
        }
        return 0;
    case VAL_ROARING:
        return scan_roaring(v, k, cursor, count, now_ms, &to);
    default:
        if (cursor >> TAG_SHIFT != TAG_FIELDS)
            cursor = 0;
        return tagged(TAG_FIELDS,
                      fields_scan(v, &k->fields, cursor, count, now_ms, visit_row, &to));
    }
}
