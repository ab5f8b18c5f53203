/* intset_model.h: an intset beside a sorted array, for the unit test and the fuzzer. The buffer is exactly as large as it
 * must be, so that the sanitizer sees a step beyond. */
#ifndef INTSET_MODEL_H
#define INTSET_MODEL_H

#include "anax/intset.h"
#include "shards/assert.h"
#include <stdlib.h>
#include <string.h>

enum { MODEL_MAX = 600 };

struct model {
    uint8_t *is;
    uint32_t n;
    int64_t v[MODEL_MAX];
};

static void model_init(struct model *m) {
    m->n = 0;
    m->is = malloc(INTSET_HEADER);
    ASSERT(m->is != NULL);
    intset_init(m->is);
}

static void model_deinit(struct model *m) {
    free(m->is);
}

static bool model_find(const struct model *m, int64_t v) {
    uint32_t expected = 0, at = UINT32_MAX;
    while (expected < m->n && m->v[expected] < v)
        expected++;
    bool there = expected < m->n && m->v[expected] == v;
    ASSERT(intset_find(m->is, v, &at) == there);
    ASSERT(at == expected);
    return there;
}

static void model_fit(struct model *m, size_t bytes) {
    m->is = realloc(m->is, bytes);
    ASSERT(m->is != NULL);
}

static bool model_add(struct model *m, int64_t v) {
    if (model_find(m, v)) {
        ASSERT(!intset_add(m->is, v));
        return false;
    }
    if (m->n == MODEL_MAX)
        return false;
    uint32_t at;
    size_t bytes = intset_bytes_with(m->is, v);
    (void)intset_find(m->is, v, &at);
    model_fit(m, bytes);
    bool added = intset_add(m->is, v);
    ASSERT(added);
    ASSERT(intset_bytes(m->is) == bytes);
    memmove(&m->v[at + 1], &m->v[at], (m->n - at) * sizeof m->v[0]);
    m->v[at] = v;
    m->n++;
    return true;
}

static bool model_remove(struct model *m, int64_t v) {
    uint32_t at;
    if (!model_find(m, v)) {
        ASSERT(!intset_remove(m->is, v));
        return false;
    }
    (void)intset_find(m->is, v, &at);
    bool removed = intset_remove(m->is, v);
    ASSERT(removed);
    model_fit(m, intset_bytes(m->is));
    m->n--;
    memmove(&m->v[at], &m->v[at + 1], (m->n - at) * sizeof m->v[0]);
    return true;
}

static void model_check(const struct model *m) {
    ASSERT(intset_count(m->is) == m->n);
    ASSERT(intset_valid(m->is, intset_bytes(m->is)));
    for (uint32_t i = 0; i < m->n; i++) {
        ASSERT(intset_at(m->is, i) == m->v[i]);
        ASSERT(model_find(m, m->v[i]));
    }
}

/* model_use: every function on bytes that intset_valid takes. */
static void model_use(struct model *m, const uint8_t *bytes, size_t len) {
    m->n = 0;
    m->is = malloc(len);
    ASSERT(m->is != NULL);
    memcpy(m->is, bytes, len);
    uint32_t n = intset_count(m->is);
    for (uint32_t i = 0; i < n && i < MODEL_MAX; i++)
        m->v[m->n++] = intset_at(m->is, i);
    if (m->n == n) {
        model_check(m);
        (void)model_add(m, 7);
        (void)model_add(m, INT64_MAX);
        (void)model_add(m, INT64_MIN);
        model_check(m);
        while (m->n > 0)
            ASSERT(model_remove(m, m->v[m->n / 2]));
        model_check(m);
    }
    model_deinit(m);
}

#endif
