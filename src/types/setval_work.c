/* setval_work.c: how much there is to do for intersections, unions and differences. See anax/setval.h.
 *
 * A member that is looked for in a table, or added to one, is the unit; everything else is measured by the time that
 * it takes beside that. */
#include "setval_impl.h"

enum {
    PASSED_ROWS = 64,   /* of a listpack, on the way to a member */
    MOVED_INTS = 1024,  /* of an intset, to make room for one */
    MERGED_BYTES = 1024 /* of bitmaps */
};

/* probing: one member in v. */
static uint64_t probing(const struct val *v) {
    struct val rest;
    switch (v->form) {
    case VAL_LISTPACK:
    case VAL_LISTPACK_TTL:
        return 1 + setval_count(v) / PASSED_ROWS;
    case VAL_ROARING:
        setval_rest(v, &rest);
        return rest.form == VAL_NONE ? 1 : probing(&rest);
    default:
        return 1;
    }
}

static uint64_t probing_all(const struct val *from, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += probing(&from[i]);
    return sum;
}

static uint64_t count_all(const struct val *from, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += setval_count(&from[i]);
    return sum;
}

/* merging: bitmaps, and what is no bitmap not at all. What was merged so far is copied with each of them that is not
 * small beside it. */
static uint64_t merging(const struct val *from, uint32_t n) {
    uint64_t bytes = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (setval_plain(&from[i]))
            bytes += from[i].big->bytes;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!setval_plain(&from[i]))
            continue;
        uint64_t ints = setval_count(&from[i]);
        sum += bytes > SETVAL_COPY_BYTES * ints ? ints : from[i].big->weight + bytes / MERGED_BYTES;
    }
    return sum;
}

uint64_t setval_inter_work(const struct val *from, uint32_t n) {
    uint64_t smallest = UINT64_MAX, probes = probing_all(from, n), intsets = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t count = setval_count(&from[i]);
        smallest = count < smallest ? count : smallest;
        intsets += from[i].form == VAL_INTSET;
    }
    if (n < 2 || smallest == 0)
        return n == 0 ? 0 : smallest;
    if (setval_all_plain(from, n))
        return merging(from, n);
    if (n == 2 && intsets == 2)
        return count_all(from, n);
    return smallest * (probes - 1); /* it is not looked for where it is from */
}

uint64_t setval_union_work(const struct val *from, uint32_t n, const struct set_kind *k) {
    uint64_t adds = 0, weight = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (setval_plain(&from[i]))
            weight += from[i].big->weight;
        else
            adds += setval_count(&from[i]);
    }
    if (weight > setval_parts_max(k)) /* bitmaps may have more parts together than are merged */
        adds = count_all(from, n);
    uint64_t rows = adds < k->fields.entries_max ? adds : k->fields.entries_max;
    uint64_t ints = adds < k->intset_max ? adds : k->intset_max;
    return adds + rows * rows / PASSED_ROWS + ints * ints / MOVED_INTS + merging(from, n);
}

uint64_t setval_diff_work(const struct val *from, uint32_t n, const struct set_kind *k) {
    uint64_t first = setval_count(from), others = count_all(from + 1, n - 1);
    if (first == 0)
        return 0;
    if (setval_plain(from) && others > 0 && setval_all_plain(from + 1, n - 1))
        return merging(from, n);
    uint64_t each = first * (n < 2 ? 1 : probing_all(from + 1, n - 1));
    if (n <= 2 || first * (n - 2) <= others)
        return each;
    return first + setval_union_work(from + 1, n - 1, k); /* the others are one set first */
}
