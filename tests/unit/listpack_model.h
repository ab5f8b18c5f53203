/* listpack_model.h: a listpack beside a plain list of texts, for the unit test and the fuzzer. The buffer is exactly as
 * large as its listpack, or as an edit is allowed to assume, so that the sanitizer sees a step beyond. */
#ifndef LISTPACK_MODEL_H
#define LISTPACK_MODEL_H

#include "anax/listpack.h"
#include "shards/assert.h"
#include <stdlib.h>

enum { MODEL_ITEMS_MAX = 512 };

struct lp_model {
    uint8_t *lp;
    unsigned n;
    struct span items[MODEL_ITEMS_MAX]; /* each in malloc's memory */
};

static void model_fit(struct lp_model *m, size_t more) {
    m->lp = realloc(m->lp, lp_bytes(m->lp) + more);
    ASSERT(m->lp != NULL);
}

static void model_init(struct lp_model *m) {
    m->n = 0;
    m->lp = malloc(LP_EMPTY_BYTES);
    ASSERT(m->lp != NULL);
    lp_init(m->lp);
}

static void model_deinit(struct lp_model *m) {
    for (unsigned i = 0; i < m->n; i++)
        free((char *)(uintptr_t)m->items[i].ptr);
    free(m->lp);
}

static struct span model_text(struct span text) {
    char *p = malloc(text.len + 1);
    ASSERT(p != NULL);
    memcpy(p, text.ptr, text.len);
    return (struct span){p, text.len};
}

static bool model_is(const uint8_t *p, struct span text) {
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    lp_entry_get(p, &item);
    return lp_item_len(&item) == text.len && span_eq(lp_item_text(&item, digits), text);
}

static void model_insert(struct lp_model *m, unsigned at, struct span text) {
    struct lp_key k = lp_key_of(text);
    size_t was = lp_bytes(m->lp);
    model_fit(m, LP_GROWTH(text.len));
    uint8_t *p = lp_insert(m->lp, at == m->n ? NULL : lp_at(m->lp, at), &k);
    ASSERT(lp_entry_is(p, &k));
    ASSERT(lp_bytes(m->lp) == was + lp_entry_bytes_of(&k));
    model_fit(m, 0);
    memmove(&m->items[at + 1], &m->items[at], (m->n - at) * sizeof m->items[0]);
    m->items[at] = model_text(text);
    m->n++;
}

static void model_replace(struct lp_model *m, unsigned at, struct span text) {
    struct lp_key k = lp_key_of(text);
    model_fit(m, LP_GROWTH(text.len));
    uint8_t *p = lp_replace(m->lp, lp_at(m->lp, at), &k);
    ASSERT(lp_entry_is(p, &k));
    model_fit(m, 0);
    free((char *)(uintptr_t)m->items[at].ptr);
    m->items[at] = model_text(text);
}

static void model_remove(struct lp_model *m, unsigned at, unsigned n) {
    uint8_t *p = lp_remove(m->lp, lp_at(m->lp, at), n);
    n = n < m->n - at ? n : m->n - at;
    ASSERT((p == NULL) == (at + n == m->n));
    ASSERT(p == NULL || model_is(p, m->items[at + n]));
    model_fit(m, 0);
    for (unsigned i = at; i < at + n; i++)
        free((char *)(uintptr_t)m->items[i].ptr);
    m->n -= n;
    memmove(&m->items[at], &m->items[at + n], (m->n - at) * sizeof m->items[0]);
}

static void model_find(const struct lp_model *m, unsigned from, unsigned skip, struct span text) {
    struct lp_key k = lp_key_of(text);
    const uint8_t *p = lp_find(lp_at(m->lp, from), &k, skip);
    unsigned i = from;
    while (i < m->n && !span_eq(m->items[i], text))
        i += skip + 1;
    ASSERT(p == (i < m->n ? lp_at(m->lp, i) : NULL));
}

static void model_check(const struct lp_model *m) {
    ASSERT(lp_valid(m->lp, lp_bytes(m->lp)));
    ASSERT(lp_count(m->lp) == m->n);
    uint8_t *p = lp_first(m->lp);
    for (unsigned i = 0; i < m->n; i++, p = lp_next(p)) {
        ASSERT(p != NULL);
        ASSERT(model_is(p, m->items[i]));
    }
    ASSERT(p == NULL);
    p = lp_last(m->lp);
    for (unsigned i = m->n; i-- > 0; p = lp_prev(m->lp, p)) {
        ASSERT(p != NULL);
        ASSERT(model_is(p, m->items[i]));
        ASSERT(p + lp_entry_bytes(p) <= m->lp + lp_bytes(m->lp) - 1);
    }
    ASSERT(p == NULL);
    ASSERT(lp_at(m->lp, m->n) == NULL);
    ASSERT(lp_at(m->lp, -(int64_t)m->n - 1) == NULL);
}

/* model_of: len valid bytes, as a model. False: more items than a model holds. */
static bool model_of(struct lp_model *m, const uint8_t *bytes, size_t len) {
    m->n = 0;
    m->lp = malloc(len);
    ASSERT(m->lp != NULL);
    memcpy(m->lp, bytes, len);
    for (uint8_t *p = lp_first(m->lp); p != NULL; p = lp_next(p)) {
        struct lp_item item;
        char digits[STRVAL_INT_BYTES];
        if (m->n == MODEL_ITEMS_MAX - 1)
            return false;
        lp_entry_get(p, &item);
        m->items[m->n++] = model_text(lp_item_text(&item, digits));
    }
    return true;
}

/* model_use: every function on bytes that lp_valid takes; what they say is what edits leave behind. */
static void model_use(const uint8_t *bytes, size_t len) {
    struct lp_model m;
    if (!model_of(&m, bytes, len)) {
        model_deinit(&m);
        return;
    }
    model_check(&m);
    unsigned step = 1 + m.n / 16; /* each looks at all of it */
    for (unsigned i = 0; i < m.n; i += step) {
        ASSERT(lp_at(m.lp, i) == lp_at(m.lp, (int64_t)i - m.n));
        ASSERT(lp_at(m.lp, i) == lp_skip(lp_first(m.lp), i));
        model_find(&m, i, 0, m.items[m.n - 1 - i]);
        model_find(&m, 0, i % 3, m.items[i]);
    }
    for (unsigned i = 0; i < m.n; i += step)
        model_replace(&m, i, i % 2 ? SPAN("70000") : SPAN("a text"));
    model_insert(&m, 0, SPAN("first"));
    model_insert(&m, m.n, SPAN("-1"));
    model_check(&m);
    while (m.n > 0)
        model_remove(&m, m.n / 2, 2 * step);
    model_check(&m);
    model_deinit(&m);
}

#endif
