/* setval_algebra.c: intersections, unions and differences of sets. See anax/setval.h.
 *
 * What is found lies in the sources, so it is told by items and nothing is copied; only unions, and what two sets of bitmaps
 * have in common or not, are vals of their own. */
#include "setval_impl.h"
#include "shards/assert.h"
#include <stdlib.h>

enum { BATCH = FIELDS_BATCH };

/* --- what was found --- */

void setval_found_free(struct set_found *f, struct mem *m) {
    mem_free(m, f->items, f->cap * sizeof(*f->items));
    val_destroy(&f->v);
    *f = (struct set_found){.v = f->v};
}

static void found_init(struct set_found *f, struct mem *m) {
    *f = (struct set_found){0};
    val_init(&f->v, m, VALUE_SET);
}

bool setval_found_room(struct set_found *f, struct mem *m, size_t n) {
    if (likely(f->cap - f->n >= n))
        return true;
    size_t cap = f->cap * 2 > f->n + n ? f->cap * 2 : f->n + n + SETVAL_FETCH;
    struct lp_item *items = mem_realloc(m, f->items, f->cap * sizeof(*items), cap * sizeof(*items));
    if (items == NULL)
        return false;
    f->items = items;
    f->cap = cap;
    return true;
}

/* --- who of a batch is in a set --- */

/* probe_table: all of them in one go. */
static void probe_table(const struct val *v, const struct set_kind *k, int64_t now_ms,
                        const struct lp_item *items, uint64_t *alive) {
    char digits[BATCH][STRVAL_INT_BYTES];
    struct span names[BATCH];
    uint64_t left = *alive, found;
    uint32_t n = 0;
    ASSERT(left != 0);
    for (uint64_t bits = *alive; bits != 0; bits &= bits - 1, n++)
        names[n] = lp_item_text(&items[__builtin_ctzll(bits)], digits[n]);
    found = fields_find_batch(v, &k->fields, names, n, now_ms, NULL);
    for (; left != 0; left &= left - 1, found >>= 1) {
        if ((found & 1) == 0)
            *alive &= ~(left & -left);
    }
}

/* probe: of those items whose bits are set only the members of v keep them. */
static void probe(const struct val *v, const struct set_kind *k, int64_t now_ms,
                  const struct lp_item *items, uint64_t *alive) {
    if (v->form == VAL_TABLE) {
        probe_table(v, k, now_ms, items, alive);
        return;
    }
    for (uint64_t bits = *alive; bits != 0; bits &= bits - 1) {
        int i = __builtin_ctzll(bits);
        if (!setval_has(v, k, &items[i], now_ms))
            *alive &= ~(1ULL << i);
    }
}

static unsigned next_batch(struct set_iter *i, struct lp_item items[BATCH]) {
    unsigned n = 0;
    while (n < BATCH && setval_next(i, &items[n]))
        n++;
    return n;
}

static void keep(struct set_found *f, const struct lp_item *items, uint64_t bits) {
    for (; bits != 0; bits &= bits - 1)
        f->items[f->n++] = items[__builtin_ctzll(bits)];
}

/* --- intersection --- */

static int by_count(const void *a, const void *b) {
    uint64_t x = setval_count(*(const struct val *const *)a);
    uint64_t y = setval_count(*(const struct val *const *)b);
    return (x > y) - (x < y);
}

/* sorted: addresses of the sources, the smallest first; NULL: no memory. */
static const struct val **sorted(struct mem *m, const struct val *from, uint32_t n) {
    const struct val **list = mem_alloc(m, n * sizeof(*list));
    for (uint32_t i = 0; list != NULL && i < n; i++)
        list[i] = &from[i];
    if (list != NULL)
        qsort(list, n, sizeof(*list), by_count);
    return list;
}

/* inter_intsets: two sorted runs of integers, one walk. */
static bool inter_intsets(struct set_found *f, struct mem *m, const struct val *a,
                          const struct val *b, uint64_t limit) {
    uint32_t i = 0, j = 0, na = intset_count(a->bytes), nb = intset_count(b->bytes);
    if (!setval_found_room(f, m, na < nb ? na : nb))
        return false;
    while (i < na && j < nb && (limit == 0 || f->n < limit)) {
        int64_t x = intset_at(a->bytes, i), y = intset_at(b->bytes, j);
        if (x == y)
            f->items[f->n++] = (struct lp_item){.num = x};
        i += x <= y;
        j += y <= x;
    }
    return true;
}

/* filter: members of `first` that are in all of the list. */
static bool filter(struct set_found *f, struct mem *m, const struct val *first,
                   const struct val *const *list, uint32_t n, const struct set_kind *k,
                   int64_t now_ms, uint64_t limit) {
    struct set_iter at;
    struct lp_item items[BATCH];
    unsigned got;
    setval_begin(&at, first, k, now_ms);
    while ((limit == 0 || f->n < limit) && (got = next_batch(&at, items)) > 0) {
        uint64_t alive = (1ULL << got) - 1;
        for (uint32_t i = 0; i < n && alive != 0; i++)
            probe(list[i], k, now_ms, items, &alive);
        if (!setval_found_room(f, m, got))
            return false;
        keep(f, items, alive);
    }
    return true;
}

/* refine: of what was found only those stay that are in all of the list. */
static void refine(struct set_found *f, const struct val *const *list, uint32_t n,
                   const struct set_kind *k, int64_t now_ms) {
    size_t all = f->n;
    f->n = 0;
    for (size_t at = 0; at < all; at += BATCH) {
        unsigned some = all - at < BATCH ? (unsigned)(all - at) : BATCH;
        uint64_t alive = (1ULL << some) - 1;
        for (uint32_t i = 0; i < n && alive != 0; i++)
            probe(list[i], k, now_ms, f->items + at, &alive);
        keep(f, f->items + at, alive);
    }
}

static bool inter_bitmaps(struct set_found *f, struct mem *m, const struct val *a,
                          const struct val *b) {
    struct roaring *r = roaring_set_combine(m, setval_roaring(a), setval_roaring(b), ROARING_AND);
    if (r != NULL)
        val_become(&f->v, VAL_ROARING, &r->o);
    return r != NULL;
}

/* inter_list: of sources ordered by size, none of them empty. */
static bool inter_list(struct set_found *f, struct mem *m, const struct val *const *list,
                       uint32_t n, const struct set_kind *k, int64_t now_ms, uint64_t limit) {
    if (n == 2 && list[0]->form == VAL_INTSET && list[1]->form == VAL_INTSET)
        return inter_intsets(f, m, list[0], list[1], limit);
    if (n >= 2 && setval_joinable(list[1], list[0])) {
        if (!setval_join(f, m, list[1], list[0], true, now_ms, n == 2 ? limit : 0))
            return false;
        refine(f, list + 2, n - 2, k, now_ms);
        return true;
    }
    if (n < 2 || !setval_plain(list[0]) || !setval_plain(list[1]))
        return filter(f, m, list[0], list + 1, n - 1, k, now_ms, limit);
    if (!inter_bitmaps(f, m, list[0], list[1]))
        return false;
    for (uint32_t i = 2; i < n; i++) {
        struct set_found both;
        found_init(&both, m);
        bool fine = setval_plain(list[i])
                        ? inter_bitmaps(&both, m, &f->v, list[i])
                        : filter(&both, m, &f->v, list + i, n - i, k, now_ms, limit);
        setval_found_free(f, m);
        *f = both;
        if (!fine || !setval_plain(list[i]))
            return fine;
    }
    return true;
}

bool setval_inter(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                  const struct set_kind *k, int64_t now_ms, uint64_t limit) {
    found_init(f, m);
    for (uint32_t i = 0; i < n; i++) {
        if (setval_count(&from[i]) == 0)
            return true;
    }
    const struct val **list = sorted(m, from, n);
    bool fine = list != NULL && inter_list(f, m, list, n, k, now_ms, limit);
    if (limit != 0 && f->n > limit)
        f->n = limit;
    if (!fine)
        setval_found_free(f, m);
    mem_free(m, list, n * sizeof(*list));
    return fine;
}

/* --- difference --- */

/* diff_each: members of the first that are in none of the others. */
static bool diff_each(struct set_found *f, struct mem *m, const struct val *first,
                      const struct val *others, uint32_t n, const struct set_kind *k,
                      int64_t now_ms) {
    struct set_iter at;
    struct lp_item items[BATCH];
    unsigned got;
    setval_begin(&at, first, k, now_ms);
    while ((got = next_batch(&at, items)) > 0) {
        uint64_t alive = (1ULL << got) - 1;
        for (uint32_t i = 0; i < n && alive != 0; i++) {
            uint64_t there = alive;
            probe(&others[i], k, now_ms, items, &there);
            alive &= ~there;
        }
        if (!setval_found_room(f, m, got))
            return false;
        keep(f, items, alive);
    }
    return true;
}

/* copied_sooner: all that `whole` has is copied before each of `ints` integers is added to it, or taken out. */
static bool copied_sooner(const struct val *whole, uint64_t ints) {
    return whole->big->bytes <= SETVAL_COPY_BYTES * ints;
}

static void take_each(struct val *v, const struct set_kind *k, const struct val *gone,
                      int64_t now_ms) {
    struct set_iter at;
    struct lp_item item;
    setval_begin(&at, gone, k, now_ms);
    while (setval_next(&at, &item))
        setval_take(v, k, &item, now_ms);
}

static bool diff_bitmaps(struct set_found *f, struct mem *m, const struct val *a,
                         const struct val *b) {
    struct roaring *r =
        roaring_set_combine(m, setval_roaring(a), setval_roaring(b), ROARING_ANDNOT);
    if (r == NULL)
        return false;
    val_destroy(&f->v);
    val_become(&f->v, VAL_ROARING, &r->o);
    return true;
}

/* diff_union: the others are one set first, so that each member of the first is looked for once. */
static bool diff_union(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                       const struct set_kind *k, int64_t now_ms) {
    struct set_found others;
    if (!setval_union(&others, m, from + 1, n - 1, k, now_ms))
        return false;
    bool fine = diff_each(f, m, from, &others.v, 1, k, now_ms);
    setval_found_free(&others, m);
    return fine;
}

bool setval_diff(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                 const struct set_kind *k, int64_t now_ms) {
    uint64_t others = 0, first = setval_count(from);
    bool fine = true;
    found_init(f, m);
    for (uint32_t i = 1; i < n; i++)
        others += setval_count(&from[i]);
    if (setval_plain(from) && others > 0 && setval_all_plain(from + 1, n - 1)) {
        const struct val *left = from;
        for (uint32_t i = 1; i < n && fine; i++) {
            if (from[i].form == VAL_NONE)
                continue;
            if (left == from || copied_sooner(left, setval_count(&from[i])))
                fine = diff_bitmaps(f, m, left, &from[i]);
            else
                take_each(&f->v, k, &from[i], now_ms);
            left = &f->v;
        }
    } else if (n == 2 && setval_joinable(from, from + 1)) {
        fine = setval_join(f, m, from, from + 1, false, now_ms, 0);
    } else if (n > 2 && first * (n - 2) > others) {
        fine = diff_union(f, m, from, n, k, now_ms);
    } else {
        fine = diff_each(f, m, from, from + 1, n - 1, k, now_ms);
    }
    if (!fine)
        setval_found_free(f, m);
    return fine;
}

/* --- union --- */

/* add_items: to the union; small ones are made whole at the end, by setval_keep. */
static bool add_items(struct val *v, const struct set_kind *k, const struct lp_item *items,
                      uint32_t n, int64_t now_ms) {
    char digits[BATCH][STRVAL_INT_BYTES];
    struct span names[BATCH];
    uint64_t added;
    for (uint32_t i = 0; i < n; i++)
        names[i] = lp_item_text(&items[i], digits[i]);
    return setval_add(v, k, names, n, now_ms, &added);
}

/* by_bitmaps: they can be joined with what there is, and should be. */
static bool by_bitmaps(const struct val *v, const struct set_kind *k, const struct val *from) {
    if (v->form == VAL_NONE)
        return true;
    return setval_plain(v) && copied_sooner(v, setval_count(from)) &&
           roaring_set_parts(setval_roaring(v), setval_roaring(from)) <= setval_parts_max(k);
}

static bool union_bitmaps(struct val *v, struct mem *m, const struct val *from) {
    static const struct roaring none;
    const struct roaring *so_far = v->form == VAL_NONE ? &none : setval_roaring(v);
    struct roaring *r = roaring_set_combine(m, so_far, setval_roaring(from), ROARING_OR);
    if (r == NULL)
        return false;
    val_destroy(v);
    val_become(v, VAL_ROARING, &r->o);
    return true;
}

static bool union_one(struct val *v, const struct val *from, const struct set_kind *k,
                      int64_t now_ms) {
    struct set_iter at;
    struct lp_item items[BATCH];
    unsigned got;
    setval_begin(&at, from, k, now_ms);
    while ((got = next_batch(&at, items)) > 0) {
        if (!add_items(v, k, items, got, now_ms))
            return false;
    }
    return true;
}

bool setval_union(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                  const struct set_kind *k, int64_t now_ms) {
    bool fine = true;
    found_init(f, m);
    /* Bitmaps first: integers of the others join them. */
    for (uint32_t i = 0; i < n && fine; i++) {
        if (setval_plain(&from[i]))
            fine = by_bitmaps(&f->v, k, &from[i]) ? union_bitmaps(&f->v, m, &from[i])
                                                  : union_one(&f->v, &from[i], k, now_ms);
    }
    for (uint32_t i = 0; i < n && fine; i++) {
        if (!setval_plain(&from[i]))
            fine = union_one(&f->v, &from[i], k, now_ms);
    }
    if (!fine)
        setval_found_free(f, m);
    return fine;
}

/* --- keeping it --- */

static bool are_ints(const struct set_found *f) {
    int64_t num;
    for (size_t i = 0; i < f->n; i++) {
        if (!setval_item_num(&f->items[i], &num))
            return false;
    }
    return true;
}

static bool keep_ints(struct val *v, const struct set_kind *k, const struct set_found *f) {
    int64_t *nums = mem_alloc(v->mem, 2 * f->n * sizeof(*nums));
    if (nums == NULL)
        return false;
    for (size_t i = 0; i < f->n; i++) {
        bool is_int = setval_item_num(&f->items[i], &nums[i]);
        ASSERT(is_int);
    }
    size_t n = setval_sort(nums, f->n);
    bool fine = n <= k->intset_max ? setval_intset_of(v, nums, n) : setval_big_of(v, k, nums, n);
    mem_free(v->mem, nums, 2 * f->n * sizeof(*nums));
    return fine;
}

/* list_val: the members of f's val as items, so that they can become a smaller form. */
static bool list_val(struct set_found *f, struct mem *m, const struct set_kind *k, int64_t now_ms) {
    struct set_iter at;
    struct lp_item item;
    setval_begin(&at, &f->v, k, now_ms);
    while (setval_next(&at, &item)) {
        if (!setval_found_room(f, m, 1))
            return false;
        f->items[f->n++] = item;
    }
    return true;
}

bool setval_keep(struct val *v, const struct set_kind *k, struct set_found *f, int64_t now_ms) {
    ASSERT(v->form == VAL_NONE);
    if (f->v.form != VAL_NONE) {
        uint64_t small =
            k->intset_max > k->fields.entries_max ? k->intset_max : k->fields.entries_max;
        if (val_is_flat(&f->v) || setval_count(&f->v) > small) {
            *v = f->v;
            val_init(&f->v, v->mem, VALUE_SET);
            return true;
        }
        if (!list_val(f, v->mem, k, now_ms))
            return false;
    }
    if (f->n == 0)
        return true;
    if ((f->n <= k->intset_max || f->n > k->fields.entries_max) && are_ints(f))
        return keep_ints(v, k, f);
    struct fields_kind kind = k->fields;
    if (f->n > kind.entries_max)
        kind.entries_max = 0;
    if (setval_put_items(v, &kind, f->items, f->n, now_ms))
        return true;
    val_destroy(v);
    return false;
}
