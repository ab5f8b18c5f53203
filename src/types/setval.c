/* setval.c: sets: finding, walking, taking out, and what val.h asks of roaring ones. See anax/setval.h. */
#include "setval_impl.h"
#include "shards/assert.h"

/* --- members that are not in the bitmaps --- */

void setval_rest_open(struct mem *m, const struct roaring *r, struct set_rest *rest) {
    *rest = (struct set_rest){0};
    if (r->rest == NULL) {
        val_init(&rest->val, m, VALUE_SET);
        return;
    }
    val_of_object(&rest->val, m, r->rest);
    rest->bytes = r->rest->bytes;
    rest->weight = r->rest->weight;
    rest->count = val_count(&rest->val);
}

void setval_rest_close(struct roaring *r, struct set_rest *rest) {
    struct val *v = &rest->val;
    uint64_t left = val_count(v);
    if (left == 0)
        val_destroy(v);
    r->rest = v->form == VAL_NONE ? NULL : val_object(v);
    r->o.count += left - rest->count;
    r->o.bytes -= rest->bytes;
    r->o.weight -= rest->weight;
    r->o.due_ms = OBJECT_NEVER;
    if (r->rest == NULL)
        return;
    r->o.bytes += r->rest->bytes;
    r->o.weight += r->rest->weight;
    r->o.due_ms = r->rest->due_ms;
}

/* --- one member --- */

struct lp_item setval_item(const struct field *f) {
    struct lp_item i = {.str = f->name.ptr, .len = (uint32_t)f->name.len};
    if (f->name.ptr != f->digits[0])
        return i;
    bool is_int = strval_parse_int(f->name, &i.num);
    ASSERT(is_int);
    i.str = NULL;
    return i;
}

static bool find_row(const struct val *v, const struct set_kind *k, struct span name,
                     int64_t now_ms, int64_t *expire_ms) {
    struct field f;
    if (v->form == VAL_NONE || !fields_find(v, &k->fields, name, now_ms, &f))
        return false;
    *expire_ms = f.expire_ms;
    return true;
}

bool setval_find(const struct val *v, const struct set_kind *k, struct span name, int64_t now_ms,
                 int64_t *expire_ms) {
    int64_t ignored, num;
    uint32_t at;
    if (expire_ms == NULL)
        expire_ms = &ignored;
    *expire_ms = FIELDS_NEVER;
    if (v->form == VAL_INTSET)
        return strval_parse_int(name, &num) && intset_find(v->bytes, num, &at);
    if (v->form != VAL_ROARING)
        return find_row(v, k, name, now_ms, expire_ms);
    if (strval_parse_int(name, &num) && roaring_set_has(setval_roaring(v), num))
        return true;
    struct val rest;
    setval_rest(v, &rest);
    return find_row(&rest, k, name, now_ms, expire_ms);
}

bool setval_has(const struct val *v, const struct set_kind *k, const struct lp_item *i,
                int64_t now_ms) {
    char digits[STRVAL_INT_BYTES];
    int64_t num, expire_ms;
    uint32_t at;
    if (v->form == VAL_INTSET)
        return setval_item_num(i, &num) && intset_find(v->bytes, num, &at);
    if (v->form != VAL_ROARING)
        return find_row(v, k, lp_item_text(i, digits), now_ms, &expire_ms);
    if (setval_item_num(i, &num) && roaring_set_has(setval_roaring(v), num))
        return true;
    struct val rest;
    setval_rest(v, &rest);
    return find_row(&rest, k, lp_item_text(i, digits), now_ms, &expire_ms);
}

static bool take_from_roaring(struct val *v, const struct set_kind *k, const struct lp_item *i,
                              int64_t now_ms) {
    struct roaring *r = setval_roaring(v);
    struct set_rest rest;
    char digits[STRVAL_INT_BYTES];
    int64_t num;
    if (setval_item_num(i, &num) && roaring_set_remove(v->mem, r, num))
        return true;
    if (r->rest == NULL)
        return false;
    setval_rest_open(v->mem, r, &rest);
    bool taken = fields_remove(&rest.val, &k->fields, lp_item_text(i, digits), now_ms);
    setval_rest_close(r, &rest);
    return taken;
}

bool setval_take(struct val *v, const struct set_kind *k, const struct lp_item *i, int64_t now_ms) {
    char digits[STRVAL_INT_BYTES];
    int64_t num;
    switch (v->form) {
    case VAL_NONE:
        return false;
    case VAL_INTSET:
        if (!setval_item_num(i, &num) || !intset_remove(v->bytes, num))
            return false;
        val_set_len(v, (uint32_t)intset_bytes(v->bytes));
        return true;
    case VAL_ROARING:
        return take_from_roaring(v, k, i, now_ms);
    default:
        return fields_remove(v, &k->fields, lp_item_text(i, digits), now_ms);
    }
}

bool setval_remove(struct val *v, const struct set_kind *k, struct span name, int64_t now_ms) {
    struct lp_item i = {.str = name.ptr, .len = (uint32_t)name.len};
    return setval_take(v, k, &i, now_ms);
}

uint64_t setval_count(const struct val *v) {
    return val_count(v);
}

int64_t setval_due_ms(const struct val *v) {
    const struct object *o = v->form == VAL_NONE ? NULL : val_object(v);
    return o == NULL ? OBJECT_NEVER : o->due_ms;
}

/* --- all of them --- */

static void begin_form(struct set_iter *i, const struct val *v) {
    i->form = v->form;
    if (v->form == VAL_LISTPACK)
        i->at = lp_first(v->bytes);
    else if (v->form == VAL_INTSET)
        i->left = intset_count(v->bytes);
    else if (v->form != VAL_NONE && v->form != VAL_ROARING)
        fields_begin(&i->fields, v, &i->k->fields, i->now_ms);
}

void setval_begin(struct set_iter *i, const struct val *v, const struct set_kind *k,
                  int64_t now_ms) {
    i->v = v;
    i->k = k;
    i->now_ms = now_ms;
    i->at = NULL;
    i->place = i->left = i->part = 0;
    i->low = 0;
    i->expire_ms = FIELDS_NEVER;
    begin_form(i, v);
}

/* read_ints: fetches more of the bitmaps; at their end the walk goes on with the rest. */
static bool read_ints(struct set_iter *i) {
    struct roaring_place at = {i->part, i->low};
    i->left = roaring_set_read(setval_roaring(i->v), &at, i->ints, SETVAL_FETCH);
    i->place = 0;
    i->part = at.part;
    i->low = at.low;
    if (i->left > 0)
        return true;
    setval_rest(i->v, &i->rest);
    begin_form(i, &i->rest);
    return false;
}

bool setval_next(struct set_iter *i, struct lp_item *out) {
    struct field f;
    switch (i->form) {
    case VAL_NONE:
        return false;
    case VAL_LISTPACK:
        if (i->at == NULL)
            return false;
        lp_entry_get(i->at, out);
        i->at = lp_next(i->at);
        return true;
    case VAL_INTSET:
        if (i->left == 0)
            return false;
        i->left--;
        *out = (struct lp_item){.num = intset_at(i->v->bytes, i->place++)};
        return true;
    case VAL_ROARING:
        if (i->left == 0 && !read_ints(i))
            return setval_next(i, out);
        i->left--;
        *out = (struct lp_item){.num = i->ints[i->place++]};
        return true;
    default:
        if (!fields_next(&i->fields, &f))
            return false;
        *out = setval_item(&f);
        i->expire_ms = f.expire_ms;
        return true;
    }
}

/* --- what val.h asks of a roaring set --- */

static bool destroy_some(struct mem *m, struct object *o, unsigned *budget) {
    struct roaring *r = (struct roaring *)o;
    if (r->rest != NULL && !val_ops_of(r->rest->form)->destroy_some(m, r->rest, budget))
        return false;
    r->rest = NULL;
    if (!roaring_set_drop(m, r, budget))
        return false;
    mem_free(m, r, sizeof(*r));
    return true;
}

static struct object *copy(struct mem *m, const struct object *o) {
    const struct roaring *from = (const struct roaring *)o;
    struct roaring *r = roaring_set_copy(m, from);
    if (r == NULL || from->rest == NULL)
        return r == NULL ? NULL : &r->o;
    struct set_rest rest;
    setval_rest_open(m, r, &rest);
    struct object *rest_copy = val_ops_of(from->rest->form)->copy(m, from->rest);
    if (rest_copy == NULL) {
        roaring_set_destroy(m, r);
        return NULL;
    }
    val_of_object(&rest.val, m, rest_copy);
    setval_rest_close(r, &rest);
    return &r->o;
}

static unsigned expire_some(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget) {
    struct roaring *r = (struct roaring *)o;
    struct set_rest rest;
    if (r->rest == NULL || val_ops_of(r->rest->form)->expire_some == NULL)
        return 0;
    setval_rest_open(m, r, &rest);
    unsigned gone = val_ops_of(r->rest->form)->expire_some(m, r->rest, now_ms, budget);
    val_of_object(&rest.val, m, r->rest);
    setval_rest_close(r, &rest);
    return gone;
}

const struct val_ops setval_roaring_ops = {.destroy_some = destroy_some,
                                           .copy = copy,
                                           .expire_some = expire_some,
                                           .defrag_some = roaring_defrag_some};
