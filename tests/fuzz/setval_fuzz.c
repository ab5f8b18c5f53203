/* setval_fuzz: whatever is done to two sets, they hold what arrays say; also when memory fails. Three bytes are an
 * operation: what, on which set, and two numbers. */
#include "anax/setval.h"
#include "shards/assert.h"
#include "shards/attr.h"
#include "shards/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NAMES = 1024, SETS = 2 };
static const int64_t NOW_MS = 1700000000000;
static const struct set_kind kinds[] = {
    {512, {.entries_max = 128, .bytes_max = 64}},
    {8, {.entries_max = 4, .bytes_max = 6}},
    {512, {.entries_max = 128, .bytes_max = 64}, .parts_max = 2},
    {8, {.entries_max = 4, .bytes_max = 6}, .parts_max = 2}};
static char texts[NAMES][STRVAL_INT_BYTES + 4];
static struct span names[NAMES];

struct world {
    struct mem mem;
    const struct set_kind *k;
    struct val v[SETS];
    bool in[SETS][NAMES];
};

/* Dense integers, sparse ones, and texts. */
static void name_all(void) {
    uint64_t seed = 1;
    if (names[0].ptr != NULL)
        return;
    if (hash_seed(&seed) != OK)
        abort();
    for (int i = 0; i < NAMES; i++) {
        int64_t n = i < 700 ? i : (int64_t)((uint64_t)i * 0x9e3779b97f4a7c15ULL);
        int len = snprintf(texts[i], sizeof(texts[i]), i < 900 ? "%lld" : "x%llx", (long long)n);
        names[i] = (struct span){texts[i], (size_t)len};
    }
}

static void check(const struct world *w, unsigned s) {
    const struct val *v = &w->v[s];
    struct set_iter at;
    struct lp_item item;
    uint64_t n = 0, want = 0;
    setval_begin(&at, v, w->k, NOW_MS);
    while (setval_next(&at, &item))
        n++;
    for (unsigned i = 0; i < NAMES; i++) {
        want += w->in[s][i];
        ASSERT(setval_find(v, w->k, names[i], NOW_MS, NULL) == w->in[s][i]);
    }
    ASSERT(n == want);
    ASSERT(setval_count(v) == want);
    ASSERT(setval_living(v, w->k, NOW_MS) == want);
    ASSERT(w->mem.used_bytes == (int64_t)(val_bytes(&w->v[0]) + val_bytes(&w->v[1])));
}

static void add(struct world *w, unsigned s, unsigned from, unsigned n, bool timed) {
    uint64_t added, want = 0;
    n = from + n > NAMES ? NAMES - from : n;
    for (unsigned i = from; i < from + n; i++)
        want += !w->in[s][i];
    bool fine = timed ? setval_add_timed(&w->v[s], w->k, names + from, n, from % 2, NOW_MS + 1000,
                                         NOW_MS, &added)
                      : setval_add(&w->v[s], w->k, names + from, n, NOW_MS, &added);
    if (!fine)
        return;
    ASSERT(added == want);
    for (unsigned i = from; i < from + n; i++)
        w->in[s][i] = true;
}

static void take_out(struct world *w, unsigned s, unsigned from, unsigned n) {
    for (unsigned i = from; i < from + n && i < NAMES; i++) {
        ASSERT(setval_remove(&w->v[s], w->k, names[i], NOW_MS) == w->in[s][i]);
        w->in[s][i] = false;
    }
}

static void combine(struct world *w, unsigned what, unsigned s) {
    struct set_found f;
    struct val from[SETS] = {w->v[s], w->v[1 - s]}, v;
    bool fine = what == 0   ? setval_inter(&f, &w->mem, from, SETS, w->k, NOW_MS, 0)
                : what == 1 ? setval_union(&f, &w->mem, from, SETS, w->k, NOW_MS)
                            : setval_diff(&f, &w->mem, from, SETS, w->k, NOW_MS);
    val_init(&v, &w->mem, VALUE_SET);
    fine = fine && setval_keep(&v, w->k, &f, NOW_MS);
    setval_found_free(&f, &w->mem);
    if (!fine)
        return;
    val_destroy(&w->v[s]);
    w->v[s] = v;
    for (unsigned i = 0; i < NAMES; i++) {
        bool a = w->in[s][i], b = w->in[1 - s][i];
        w->in[s][i] = what == 0 ? a && b : what == 1 ? a || b : a && !b;
    }
}

struct seen {
    bool in[NAMES];
};

static void see(void *arg, const struct lp_item *i) {
    char digits[STRVAL_INT_BYTES];
    struct seen *seen = arg;
    struct span text = lp_item_text(i, digits);
    for (unsigned j = 0; j < NAMES; j++)
        if (span_eq(names[j], text))
            seen->in[j] = true;
}

static void scan(const struct world *w, unsigned s) {
    struct seen seen = {0};
    uint64_t cursor = 0;
    do
        cursor = setval_scan(&w->v[s], w->k, cursor, 20, NOW_MS, see, &seen);
    while (cursor != 0);
    ASSERT(memcmp(seen.in, w->in[s], sizeof(seen.in)) == 0);
}

static void pop(struct world *w, unsigned s, unsigned n) {
    struct rng g;
    rng_seed(&g, n);
    for (; n > 0; n--) {
        struct set_draw d;
        struct lp_item item;
        struct seen seen = {0};
        setval_draw_begin(&d, &w->v[s], w->k, NOW_MS);
        if (!setval_draw(&d, &g, &item))
            return;
        see(&seen, &item);
        ASSERT(setval_take(&w->v[s], w->k, &item, NOW_MS));
        for (unsigned i = 0; i < NAMES; i++)
            w->in[s][i] = w->in[s][i] && !seen.in[i];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world w;
    name_all();
    if (size == 0)
        return 0;
    memset(&w, 0, sizeof(w));
    w.k = &kinds[data[0] % COUNT_OF(kinds)];
    for (unsigned s = 0; s < SETS; s++)
        val_init(&w.v[s], &w.mem, VALUE_SET);
    for (size_t at = 1; at + 3 <= size && at < 400; at += 3) {
        unsigned what = data[at] % 8, s = data[at] / 8 % SETS, from = data[at + 1] * 4U,
                 n = data[at + 2];
        w.mem.fail_in = data[at] / 16 % 4 == 3 ? data[at] / 64 + 1U : 0;
        if (what < 3)
            add(&w, s, from, what == 0 ? n : n % 4 + 1, false);
        else if (what == 3)
            add(&w, s, from, n % 8 + 1, true);
        else if (what == 4)
            take_out(&w, s, from, n);
        else if (what == 5)
            combine(&w, n % 3, s);
        else if (what == 6)
            pop(&w, s, n % 16);
        w.mem.fail_in = 0;
        if (what == 7)
            scan(&w, s);
        check(&w, s);
    }
    for (unsigned s = 0; s < SETS; s++)
        val_destroy(&w.v[s]);
    ASSERT(w.mem.used_bytes == 0);
    return 0;
}
