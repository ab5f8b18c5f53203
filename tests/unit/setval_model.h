/* setval_model.h: a universe of members, for tests that compare sets with arrays. */
#ifndef SETVAL_MODEL_H
#define SETVAL_MODEL_H

#include "../../src/types/setval_impl.h"
#include "shards/hash.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { SMALL = 400, NAMES = 3000, NAME_BYTES = 100 };
static const int64_t START_MS = 1700000000000;
static char texts[NAMES][NAME_BYTES];
static struct span names[NAMES];
static int64_t numbers[NAMES];
static bool is_number[NAMES];
static uint16_t
    places[8192]; /* by hash, with linear probing: one more than the number of a name; 0: none */

static const struct set_kind usual = {512, {.entries_max = 128, .bytes_max = 64}};
static const struct set_kind tiny = {8, {.entries_max = 4, .bytes_max = 8}};

/* Of the borders and the scattered ones most have no place in bitmaps. */
static const struct set_kind few_parts = {8, {.entries_max = 4, .bytes_max = 8}, .parts_max = 3};

static int64_t border(unsigned i) {
    static const int64_t at[] = {INT64_MIN, -(1LL << 32), INT32_MIN, INT16_MIN, 0,
                                 INT16_MAX, INT32_MAX,    1LL << 32, INT64_MAX};
    uint64_t around = (uint64_t)at[i / 8 % 9] + i % 8 - 4;
    return (int64_t)around;
}

/* The universe: consecutive integers, those at the borders, scattered ones, texts short and long. */
static void name(unsigned i, struct rng *g) {
    size_t len;
    is_number[i] = i < NAMES / 2;
    numbers[i] = i < SMALL            ? (int64_t)i - 50
                 : i < SMALL + 72     ? border(i - SMALL)
                 : i < NAMES / 2 - 50 ? (int64_t)i * 3 + 100000
                                      : (int64_t)rng_next(g);
    if (is_number[i])
        len = strval_format_int(texts[i], numbers[i]);
    else
        len = (size_t)snprintf(texts[i], NAME_BYTES, "%s%u%.*s", i % 7 == 0 ? "0" : "x", i,
                               i % 11 == 0 ? 80 : (int)(i % 20),
                               "........................................"
                               "........................................");
    names[i] = (struct span){texts[i], len};
}

/* place_of: where a text is, or would be. */
static inline uint16_t *place_of(struct span text) {
    uint32_t at = (uint32_t)hash_of(text);
    for (;; at++) {
        uint16_t *place = &places[at % (sizeof places / sizeof *places)];
        if (*place == 0 || span_eq(text, names[*place - 1]))
            return place;
    }
}

static inline void setup(void) {
    uint64_t seed = 3;
    struct rng g;
    cr_assert(hash_seed(&seed) == OK);
    rng_seed(&g, 9);
    for (unsigned i = 0; i < NAMES; i++) {
        name(i, &g);
        if (*place_of(names[i]) != 0) { /* borders lie close to each other */
            names[i].len = (size_t)snprintf(texts[i], NAME_BYTES, "again %u", i);
            is_number[i] = false;
        }
        *place_of(names[i]) = (uint16_t)(i + 1);
    }
}

static inline unsigned index_of(const struct lp_item *item) {
    char digits[STRVAL_INT_BYTES];
    struct span text = lp_item_text(item, digits);
    uint16_t place = *place_of(text);
    cr_assert_neq(place, 0, "a member that nobody has added: %.*s", (int)text.len, text.ptr);
    return place - 1U;
}

static inline bool is_int(unsigned i) {
    return is_number[i];
}

static inline void add_int(struct val *v, int64_t num) {
    char digits[STRVAL_INT_BYTES];
    struct span text = {digits, strval_format_int(digits, num)};
    uint64_t added;
    cr_assert(setval_add(v, &usual, &text, 1, START_MS, &added));
}

static inline bool has_int(const struct val *v, int64_t num) {
    char digits[STRVAL_INT_BYTES];
    struct span text = {digits, strval_format_int(digits, num)};
    return setval_find(v, &usual, text, START_MS, NULL);
}

static inline bool remove_int(struct val *v, int64_t num) {
    char digits[STRVAL_INT_BYTES];
    struct span text = {digits, strval_format_int(digits, num)};
    return setval_remove(v, &usual, text, START_MS);
}

static inline void fill(struct val *v, struct mem *m, uint64_t n, uint64_t below, struct rng *g) {
    val_init(v, m, VALUE_SET);
    for (uint64_t i = 0; n > 0 && (v->form == VAL_NONE || setval_count(v) < n); i++)
        add_int(v, (int64_t)(below == 0 ? i : rng_below(g, below)));
}

#endif
