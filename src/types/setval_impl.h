/* setval_impl.h: what the files of setval share. Private to types/. */
#ifndef SETVAL_IMPL_H
#define SETVAL_IMPL_H

#include "anax/intset.h"
#include "anax/setval.h"
#include "roaring_impl.h"

static inline struct roaring *setval_roaring(const struct val *v) {
    return (struct roaring *)v->big;
}
static inline uint32_t setval_parts_max(const struct set_kind *k) {
    return k->parts_max == 0 ? SETVAL_PARTS_MAX : k->parts_max;
}

/* The members of a roaring set that are not in its bitmaps, opened to be read (setval_rest), or to be written: between
 * setval_rest_open and _close the set's numbers are out of step. */
struct set_rest {
    struct val val;
    size_t bytes;
    uint64_t count;
    uint32_t weight;
};
static inline void setval_rest(const struct val *v, struct val *rest) {
    struct object *o = setval_roaring(v)->rest;
    if (o == NULL)
        val_init(rest, v->mem, VALUE_SET);
    else
        val_of_object(rest, v->mem, o);
}
void setval_rest_open(struct mem *m, const struct roaring *r, struct set_rest *rest);
void setval_rest_close(struct roaring *r, struct set_rest *rest);

/* Copied in the time that it takes to add an integer to bitmaps, and less: rather than copy more, they are added one by one. */
enum { SETVAL_COPY_BYTES = 128 };

/* setval_plain: nothing but bitmaps. setval_all_plain: each of them, or empty. */
static inline bool setval_plain(const struct val *v) {
    return v->form == VAL_ROARING && setval_roaring(v)->rest == NULL;
}
static inline bool setval_all_plain(const struct val *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (from[i].form != VAL_NONE && !setval_plain(&from[i]))
            return false;
    }
    return true;
}

/* setval_item: of a row; integers are told from texts where the form does. */
struct lp_item setval_item(const struct field *f);
/* setval_item_num: false: it is no integer. */
static inline bool setval_item_num(const struct lp_item *i, int64_t *num) {
    *num = i->num;
    return i->str == NULL || strval_parse_int((struct span){i->str, i->len}, num);
}
bool setval_has(const struct val *v, const struct set_kind *k, const struct lp_item *i,
                int64_t now_ms);

/* setval_found_room: for n items more; false: no memory. */
MUST_CHECK bool setval_found_room(struct set_found *f, struct mem *m, size_t n);

/* setval_joinable: both are tables, the first has not fewer buckets, and not many more. setval_join: finds
 * what is in both, or only in the larger one. limit: about when to stop; 0: at the end. O(buckets). */
bool setval_joinable(const struct val *large, const struct val *small);
MUST_CHECK bool setval_join(struct set_found *f, struct mem *m, const struct val *large,
                            const struct val *small, bool common, int64_t now_ms, uint64_t limit);

/* setval_sort: n numbers, ascending, without doubles; returns how many are left. There is room for 2 * n.
 * O(n). */
size_t setval_sort(int64_t *nums, size_t n);
/* setval_big_of: v, VAL_NONE, becomes roaring or a table of n sorted integers; false: no memory. */
MUST_CHECK bool setval_big_of(struct val *v, const struct set_kind *k, const int64_t *sorted,
                              size_t n);
MUST_CHECK bool setval_intset_of(struct val *v, const int64_t *sorted, size_t n);
/* setval_put_items: into a fields form or VAL_NONE, which becomes one. */
MUST_CHECK bool setval_put_items(struct val *v, const struct fields_kind *k,
                                 const struct lp_item *items, size_t n, int64_t now_ms);

#endif
