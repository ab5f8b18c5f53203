/* listval: random operations against a plain array, in every form and kind of chunk, with memory that fails. */
#include "anax/listval.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXTS_MAX = 1 << 16 };

/* The model: texts in a row. */
struct model {
    struct span text[TEXTS_MAX];
    uint32_t n;
};

struct world {
    struct mem mem;
    struct rng rng;
    struct val v;
    struct listval_limits limits;
    struct model model;
    bool memory_was_there;
    bool uniform; /* most texts have one length */
    uint32_t len_max;
};

static struct world *world_create(uint64_t seed, uint32_t chunk_bytes, uint32_t flat_count) {
    struct world *w = calloc(1, sizeof(*w));
    rng_seed(&w->rng, seed);
    w->limits = (struct listval_limits){.chunk_bytes = chunk_bytes,
                                        .flat_bytes = chunk_bytes,
                                        .flat_count = flat_count,
                                        .flat_again_bytes = chunk_bytes / 2,
                                        .flat_again_count = flat_count / 2};
    val_init(&w->v, &w->mem, VALUE_LIST);
    w->memory_was_there = true;
    w->len_max = 40;
    return w;
}

static void model_insert(struct model *m, uint32_t at, struct span text) {
    char *copy = malloc(text.len + 1);
    cr_assert(m->n < TEXTS_MAX);
    memcpy(copy, text.ptr, text.len);
    memmove(m->text + at + 1, m->text + at, (m->n - at) * sizeof(*m->text));
    m->text[at] = (struct span){copy, text.len};
    m->n++;
}

static void model_remove(struct model *m, uint32_t at) {
    free((void *)(uintptr_t)m->text[at].ptr);
    memmove(m->text + at, m->text + at + 1, (m->n - at - 1) * sizeof(*m->text));
    m->n--;
}

static void world_destroy(struct world *w) {
    val_destroy(&w->v);
    cr_assert_eq(w->mem.used_bytes, 0);
    while (w->model.n > 0)
        model_remove(&w->model, w->model.n - 1);
    free(w);
}

static uint32_t below(struct world *w, uint64_t n) {
    return (uint32_t)rng_below(&w->rng, n);
}

/* some_text: integers, texts of one length and of many, few enough for finds to find some. */
static struct span some_text(struct world *w, char *to) {
    uint32_t len = w->uniform && below(w, 50) != 0 ? 12 : below(w, w->len_max);
    if (below(w, 200) == 0)
        len = below(w, 2 * w->limits.chunk_bytes);
    if (!w->uniform && below(w, 3) == 0) {
        int64_t n = (int64_t)(rng_next(&w->rng) >> below(w, 64));
        return (struct span){to, (size_t)sprintf(to, "%ld", below(w, 2) == 0 ? n : -n)};
    }
    for (uint32_t i = 0; i < len; i++)
        to[i] = (char)('0' + (i + 2 < len ? 5 : below(w, 12)));
    return (struct span){to, len};
}

static void compare_item(const struct lp_item *item, struct span text) {
    char digits[STRVAL_INT_BYTES];
    struct span s = lp_item_text(item, digits);
    cr_assert(span_eq(s, text), "%.*s instead of %.*s", (int)s.len, s.ptr, (int)text.len, text.ptr);
}

/* The whole list, both ways, and a few by index. */
static void compare(struct world *w) {
    const struct model *m = &w->model;
    struct listval_iter i;
    struct lp_item item;
    listval_check(&w->v, &w->limits, w->memory_was_there);
    cr_assert_eq(listval_count(&w->v), m->n);
    cr_assert_eq(val_object(&w->v) == NULL ? 0 : (int64_t)val_bytes(&w->v), w->mem.used_bytes);
    if (m->n == 0)
        return;
    uint32_t at = below(w, m->n);
    listval_begin(&i, &w->v, at, false);
    for (uint32_t j = at; j < m->n; j++) {
        cr_assert(listval_next(&i, &item));
        cr_assert_eq(i.index, j);
        compare_item(&item, m->text[j]);
    }
    cr_assert_not(listval_next(&i, &item));
    listval_begin(&i, &w->v, at, true);
    for (uint32_t j = at + 1; j-- > 0;) {
        cr_assert(listval_next(&i, &item));
        cr_assert_eq(i.index, j);
        compare_item(&item, m->text[j]);
    }
    cr_assert_not(listval_next(&i, &item));
    cr_assert(listval_at(&w->v, at, &item));
    compare_item(&item, m->text[at]);
    cr_assert_not(listval_at(&w->v, m->n, &item));
}

/* --- operations, each on both --- */

static void do_push(struct world *w) {
    enum { MANY = 8 };
    static char text[MANY][1 << 18];
    struct span spans[MANY];
    enum listval_end end = below(w, 2) == 0 ? LISTVAL_HEAD : LISTVAL_TAIL;
    uint32_t n = below(w, 3) == 0 ? 1 + below(w, MANY) : 1;
    for (uint32_t i = 0; i < n; i++)
        spans[i] = some_text(w, text[i]);
    if (!listval_push(&w->v, end, spans, n, &w->limits)) {
        w->memory_was_there = false;
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        model_insert(&w->model, end == LISTVAL_HEAD ? 0 : w->model.n, spans[i]);
}

static void do_insert(struct world *w) {
    static char text[1 << 18];
    uint32_t at = below(w, w->model.n + 1);
    struct span s = some_text(w, text);
    if (listval_insert(&w->v, at, s, &w->limits))
        model_insert(&w->model, at, s);
}

static void do_set(struct world *w) {
    static char text[1 << 18];
    uint32_t at = below(w, w->model.n);
    struct span s = some_text(w, text);
    if (!listval_set(&w->v, at, s, &w->limits))
        return;
    model_remove(&w->model, at);
    model_insert(&w->model, at, s);
}

static void do_rotate(struct world *w) {
    enum listval_end from = below(w, 2) == 0 ? LISTVAL_HEAD : LISTVAL_TAIL;
    struct model *m = &w->model;
    if (!listval_rotate(&w->v, from, &w->limits))
        return;
    struct span s = m->text[from == LISTVAL_HEAD ? 0 : m->n - 1];
    char *copy = malloc(s.len + 1);
    memcpy(copy, s.ptr, s.len);
    model_remove(m, from == LISTVAL_HEAD ? 0 : m->n - 1);
    model_insert(m, from == LISTVAL_HEAD ? m->n : 0, (struct span){copy, s.len});
    free(copy);
}

static void do_pop(struct world *w) {
    enum listval_end end = below(w, 2) == 0 ? LISTVAL_HEAD : LISTVAL_TAIL;
    struct model *m = &w->model;
    uint32_t n = below(w, 30) == 0 ? below(w, m->n + 1) : below(w, 3);
    n = n < m->n ? n : m->n;
    listval_pop(&w->v, end, n, &w->limits);
    for (; n > 0; n--)
        model_remove(m, end == LISTVAL_HEAD ? 0 : m->n - 1);
}

static void destroy_in_slices(struct world *w, struct object *rest) {
    unsigned budget = 3, turns = 1;
    for (uint32_t weight = rest->weight; !listval_ops.destroy_some(&w->mem, rest, &budget);) {
        cr_assert_eq(budget, 0);
        budget = 3;
        turns++;
        cr_assert(turns <= weight);
    }
}

static void do_keep(struct world *w) {
    struct model *m = &w->model;
    uint32_t from = below(w, below(w, 10) == 0 ? m->n : (m->n + 7) / 8), to;
    to = m->n - below(w, (m->n - from + 7) / 8);
    struct object *rest;
    listval_keep(&w->v, from, to, &w->limits, &rest);
    if (rest != NULL)
        destroy_in_slices(w, rest);
    while (m->n > to)
        model_remove(m, m->n - 1);
    for (; from > 0; from--)
        model_remove(m, 0);
}

/* remove_equal_settled: until it is settled, the object that an entry may hold stays where it is. */
static uint64_t remove_equal_settled(struct val *v, struct span text, enum listval_end from,
                                     uint64_t max, const struct listval_limits *l) {
    const struct object *was = val_object(v);
    uint64_t removed = listval_remove_equal(v, text, from, max, l);
    cr_assert_eq(val_object(v), was);
    listval_settle(v, l);
    return removed;
}

static void do_remove_equal(struct world *w) {
    static char text[1 << 18];
    struct model *m = &w->model;
    enum listval_end from = below(w, 2) == 0 ? LISTVAL_HEAD : LISTVAL_TAIL;
    struct span s = m->text[below(w, m->n)];
    memcpy(text, s.ptr, s.len);
    s.ptr = text;
    uint64_t max = below(w, 3) == 0 ? UINT64_MAX : 1 + below(w, 3), removed = 0;
    uint64_t got = remove_equal_settled(&w->v, s, from, max, &w->limits);
    for (uint32_t i = 0, n = m->n, gone = 0; i < n && removed < max; i++) {
        uint32_t at = from == LISTVAL_HEAD ? i - gone : n - 1 - i;
        if (span_eq(m->text[at], s)) {
            model_remove(m, at);
            gone++;
            removed++;
        }
    }
    cr_assert_eq(got, removed);
    cr_assert_eq(remove_equal_settled(&w->v, SPAN("not there"), from, max, &w->limits), 0);
}

static void do_find(struct world *w) {
    const struct model *m = &w->model;
    uint32_t at = below(w, m->n), start = below(w, m->n);
    struct lp_key k = lp_key_of(m->text[at]);
    uint64_t compare_max = below(w, 2) == 0 ? UINT64_MAX : below(w, m->n + 1), left = compare_max;
    bool backward = below(w, 2) == 0;
    struct listval_iter i;
    listval_begin(&i, &w->v, start, backward);
    for (uint32_t j = start; j < m->n && left > 0; j = backward ? j - 1 : j + 1) {
        left--;
        if (!span_eq(m->text[j], m->text[at]))
            continue;
        cr_assert(listval_find(&i, &k, &compare_max));
        cr_assert_eq(i.index, j);
        cr_assert_eq(compare_max, left);
    }
    cr_assert_not(listval_find(&i, &k, &compare_max));
    cr_assert_eq(compare_max, left);
}

static void do_copy(struct world *w) {
    struct val to;
    val_init(&to, &w->mem, VALUE_LIST);
    if (!val_copy(&to, &w->v))
        return;
    struct val was = w->v;
    w->v = to;
    int64_t used = w->mem.used_bytes;
    w->mem.used_bytes = val_object(&to) == NULL ? 0 : (int64_t)val_bytes(&to);
    compare(w);
    w->mem.used_bytes = used;
    val_destroy(&was);
}

typedef void operation_fn(struct world *w);

static void run_random(struct world *w, uint32_t operations, uint32_t grow_until, bool fail) {
    /* what adds comes more often until the list is long, then what takes away */
    static operation_fn *const growing[] = {do_push, do_push,   do_push, do_insert, do_insert,
                                            do_set,  do_rotate, do_find, do_pop};
    static operation_fn *const all[] = {do_push, do_insert,       do_set, do_rotate,
                                        do_pop,  do_pop,          do_pop, do_keep,
                                        do_find, do_remove_equal, do_copy};
    bool up = true;
    for (uint32_t i = 0; i < operations; i++) {
        if (w->model.n > grow_until)
            up = false;
        else if (w->model.n < grow_until / 10)
            up = true;
        operation_fn *op = do_push;
        if (w->model.n > 0)
            op = up && below(w, 40) != 0 ? growing[below(w, COUNT_OF(growing))]
                                         : all[below(w, COUNT_OF(all))];
        if (fail) {
            w->mem.fail_in = 1 + below(w, 1 + below(w, 4));
            w->memory_was_there = false;
        }
        op(w);
        w->mem.fail_in = 0;
        if (w->v.form != VAL_NONE && listval_count(&w->v) == 0)
            val_destroy(&w->v);
        compare(w);
    }
}

Test(listval, model_mixed) {
    struct world *w = world_create(1, 256, UINT32_MAX);
    run_random(w, 6000, 400, false);
    world_destroy(w);
}

Test(listval, model_uniform) {
    struct world *w = world_create(2, 256, UINT32_MAX);
    w->uniform = true;
    run_random(w, 6000, 400, false);
    world_destroy(w);
}

Test(listval, model_counted) {
    struct world *w = world_create(3, 512, 16);
    w->uniform = true;
    run_random(w, 4000, 200, false);
    world_destroy(w);
}

Test(listval, model_long_texts) {
    struct world *w = world_create(4, 512, UINT32_MAX);
    w->len_max = 700;
    run_random(w, 3000, 200, false);
    world_destroy(w);
}

Test(listval, model_flat) {
    struct world *w = world_create(6, 4096, UINT32_MAX);
    w->len_max = 20;
    run_random(w, 4000, 60, false);
    world_destroy(w);
}

/* Many chunks: the directory grows and shrinks, trims hand over what they drop. */
Test(listval, model_many_chunks) {
    struct world *w = world_create(5, 64, UINT32_MAX);
    w->limits.chunk_bytes = 128;
    run_random(w, 4000, 3000, false);
    world_destroy(w);
}

/* A refused allocation leaves the list as it was. */
Test(listval, nothing_changes_without_memory) {
    for (uint64_t seed = 10; seed < 14; seed++) {
        struct world *w = world_create(seed, 256, seed % 2 == 0 ? UINT32_MAX : 20);
        w->uniform = seed >= 12;
        run_random(w, 3000, 300, true);
        world_destroy(w);
    }
}

Test(listval, nothing_changes_without_memory_of_any_size) {
    for (uint32_t len_max = 20; len_max < 2000; len_max *= 6) {
        struct world *w = world_create(len_max, len_max == 20 ? 64 : 1024, UINT32_MAX);
        w->limits.chunk_bytes = len_max == 20 ? 128 : 1024;
        w->len_max = len_max;
        run_random(w, 3000, len_max == 20 ? 3000 : 60, true);
        world_destroy(w);
    }
}

/* --- what it costs --- */

static struct span numbered(char *to, uint32_t i, int width) {
    return (struct span){to, (size_t)sprintf(to, "%0*u", width, i)};
}

static void fill(struct world *w, uint32_t n, int width, enum listval_end end) {
    char text[64];
    for (uint32_t i = 0; i < n; i++) {
        struct span s = numbered(text, i, width);
        cr_assert(listval_push(&w->v, end, &s, 1, &w->limits));
    }
}

Test(listval, items_of_one_length_cost_their_bytes) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    enum { N = 100000 };
    fill(w, N, 32, LISTVAL_TAIL);
    listval_check(&w->v, &w->limits, true);
    double each = (double)w->mem.used_bytes / N;
    cr_assert_lt(each, 32.4, "%g bytes", each);
    val_destroy(&w->v);
    fill(w, N, 32, LISTVAL_HEAD);
    each = (double)w->mem.used_bytes / N;
    cr_assert_lt(each, 32.4, "%g bytes", each);
    world_destroy(w);
}

Test(listval, a_queue_keeps_its_size) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    char text[64];
    fill(w, 2000, 32, LISTVAL_TAIL);
    int64_t most = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        struct span s = numbered(text, i, 32);
        cr_assert(listval_push(&w->v, LISTVAL_TAIL, &s, 1, &w->limits));
        listval_pop(&w->v, LISTVAL_HEAD, 1, &w->limits);
        most = most > w->mem.used_bytes ? most : w->mem.used_bytes;
    }
    cr_assert_lt(most, 2000 * 32 + 3 * 8192);
    world_destroy(w);
}

/* (7): a list of which most was removed here and there takes what its elements take, about. */
Test(listval, inv7_removals_do_not_fragment) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    enum { N = 50000 };
    char text[64];
    for (uint32_t i = 0; i < N; i++) {
        struct span s =
            i % 50 == 0 ? numbered(text, i, 32) : SPAN("0123456789012345678901234567890x");
        cr_assert(listval_push(&w->v, LISTVAL_TAIL, &s, 1, &w->limits));
    }
    cr_assert_eq(remove_equal_settled(&w->v, SPAN("0123456789012345678901234567890x"), LISTVAL_TAIL,
                                      UINT64_MAX, &w->limits),
                 N - N / 50);
    listval_check(&w->v, &w->limits, true);
    cr_assert_lt(w->mem.used_bytes, 2 * 32 * (N / 50) + 8192);
    world_destroy(w);
}

/* Chunks that stay half full, too full to be joined, give back what they do not use. */
Test(listval, removals_give_memory_back) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    enum { N = 50000 };
    char text[64];
    struct span often = SPAN("0123456789012345678901234567890x");
    for (uint32_t i = 0; i < N; i++) {
        struct span s = i % 5 < 2 ? numbered(text, i, 32) : often;
        cr_assert(listval_push(&w->v, LISTVAL_TAIL, &s, 1, &w->limits));
    }
    remove_equal_settled(&w->v, often, LISTVAL_HEAD, UINT64_MAX, &w->limits);
    cr_assert_lt(w->mem.used_bytes, 40 * (N / 5 * 2));
    world_destroy(w);
}

/* A chunk that the next element does not fit into is as large as it has to be. */
Test(listval, long_items_cost_little_more) {
    static char text[3000];
    struct span s = {text, sizeof(text)};
    struct world *w = world_create(1, 8192, UINT32_MAX);
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert(listval_push(&w->v, i % 2 == 0 ? LISTVAL_TAIL : LISTVAL_HEAD, &s, 1, &w->limits));
    cr_assert_lt(w->mem.used_bytes, 1000 * 3300);
    world_destroy(w);
}

/* Insertions in one place fill the chunks there. */
Test(listval, inv7_insertions_do_not_fragment) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    char text[64];
    fill(w, 1000, 32, LISTVAL_TAIL);
    for (uint32_t i = 0; i < 50000; i++) {
        struct span s = numbered(text, i, 32);
        cr_assert(listval_insert(&w->v, 500, s, &w->limits));
    }
    listval_check(&w->v, &w->limits, true);
    cr_assert_lt(w->mem.used_bytes, 2 * 32 * 51000);
    world_destroy(w);
}

Test(listval, a_large_trim_is_freed_in_slices) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    struct object *rest;
    fill(w, 200000, 32, LISTVAL_TAIL);
    for (uint32_t keep = 0; keep < 2; keep++) { /* the smaller part stays, then the larger one */
        uint64_t count = listval_count(&w->v), n = keep == 0 ? count / 3 : count / 3 * 2;
        listval_keep(&w->v, 100, 100 + n, &w->limits, &rest);
        cr_assert_eq(listval_count(&w->v), n);
        cr_assert_not_null(rest);
        cr_assert_eq((int64_t)(rest->bytes + val_bytes(&w->v)), w->mem.used_bytes);
        listval_check(&w->v, &w->limits, true);
        destroy_in_slices(w, rest);
    }
    struct lp_item item;
    cr_assert(listval_at(&w->v, 0, &item));
    compare_item(&item, SPAN("00000000000000000000000000000200"));
    world_destroy(w);
}

/* Without memory for a list of what is dropped, that is freed at once. */
Test(listval, a_large_trim_without_memory) {
    struct lp_item item;
    struct object *rest;
    for (uint64_t site = 1; site <= 2; site++) {
        struct world *w = world_create(1, 8192, UINT32_MAX);
        fill(w, 100000, 32, LISTVAL_TAIL);
        w->mem.fail_in = site;
        listval_keep(&w->v, 1000, 50000, &w->limits, &rest);
        cr_assert_eq(w->mem.fail_in, 0);
        cr_assert_null(rest);
        listval_check(&w->v, &w->limits, true);
        cr_assert_eq(listval_count(&w->v), 49000);
        cr_assert(listval_at(&w->v, 0, &item));
        compare_item(&item, SPAN("00000000000000000000000000001000"));
        world_destroy(w);
    }
}

/* Empty texts are elements too, however many. */
Test(listval, empty_texts) {
    struct world *w = world_create(1, 4096, UINT32_MAX);
    struct span s = SPAN("");
    struct lp_item item;
    for (uint32_t i = 0; i < 10000; i++)
        cr_assert(listval_push(&w->v, LISTVAL_TAIL, &s, 1, &w->limits));
    listval_check(&w->v, &w->limits, true);
    cr_assert(listval_at(&w->v, 9999, &item));
    compare_item(&item, s);
    cr_assert_eq(remove_equal_settled(&w->v, s, LISTVAL_HEAD, UINT64_MAX, &w->limits), 10000);
    world_destroy(w);
}

Test(listval, too_long_a_text_is_refused) {
    struct world *w = world_create(1, 4096, UINT32_MAX);
    for (uint32_t i = 0; i < 2; i++) { /* flat, then in chunks */
        struct span texts[] = {SPAN("x"), SPAN("y"), {"too long", LISTVAL_TEXT_MAX}};
        uint64_t count = listval_count(&w->v);
        cr_assert_not(listval_push(&w->v, LISTVAL_HEAD, texts, 3, &w->limits));
        cr_assert_eq(listval_count(&w->v), count);
        fill(w, 1 + 1000 * i, 32, LISTVAL_TAIL);
        cr_assert_not(listval_insert(&w->v, 0, texts[2], &w->limits));
        cr_assert_not(listval_set(&w->v, 0, texts[2], &w->limits));
        listval_check(&w->v, &w->limits, true);
    }
    world_destroy(w);
}

/* The name of the encoding changes where Redis 7.2 and later change it. */
Test(listval, limits_are_those_of_redis) {
    static const struct {
        int64_t size;
        struct listval_limits want;
    } rows[] = {
        {-1, {4096, 4096, UINT32_MAX, 2048, UINT32_MAX}},
        {-2, {8192, 8192, UINT32_MAX, 4096, UINT32_MAX}},
        {-5, {65536, 65536, UINT32_MAX, 32768, UINT32_MAX}},
        {-9, {65536, 65536, UINT32_MAX, 32768, UINT32_MAX}},
        {INT32_MIN, {65536, 65536, UINT32_MAX, 32768, UINT32_MAX}},
        {0, {8192, 8192, 1, 8192, 0}},
        {128, {8192, 8192, 128, 8192, 64}},
        {INT32_MAX, {8192, 8192, INT32_MAX, 8192, INT32_MAX / 2}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct listval_limits l = listval_limits_of(rows[i].size);
        cr_assert_eq(memcmp(&l, &rows[i].want, sizeof(l)), 0, "%ld", rows[i].size);
    }
}

static void expect_form(struct world *w, enum val_form form) {
    cr_assert_eq(w->v.form, form, "%u elements: %u", (unsigned)listval_count(&w->v), w->v.form);
}

Test(listval, a_listpack_until_it_outgrows_and_again_at_half) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    w->limits = listval_limits_of(-2);
    /* 7 bytes and 34 for each; one more of 32 would exceed 8192 */
    fill(w, 240, 32, LISTVAL_TAIL);
    cr_assert_eq(w->v.len, 7 + 240 * 34);
    expect_form(w, VAL_LISTPACK);
    fill(w, 1, 32, LISTVAL_HEAD);
    expect_form(w, VAL_CHUNKS);
    listval_pop(&w->v, LISTVAL_TAIL, 241 - 121, &w->limits); /* 7 + 121 * 34 = 4121 */
    expect_form(w, VAL_CHUNKS);
    listval_pop(&w->v, LISTVAL_TAIL, 1, &w->limits);
    expect_form(w, VAL_LISTPACK);
    world_destroy(w);
}

/* Exactly the limit is still, and again, a listpack. */
Test(listval, limits_are_reached) {
    struct world *w = world_create(1, 8192, UINT32_MAX);
    w->limits.flat_bytes = 7 + 3 * 34 + 32;
    w->limits.flat_again_bytes = 7 + 2 * 34;
    fill(w, 4, 32, LISTVAL_TAIL);
    expect_form(w, VAL_LISTPACK);
    fill(w, 1, 32, LISTVAL_TAIL);
    expect_form(w, VAL_CHUNKS);
    listval_pop(&w->v, LISTVAL_HEAD, 3, &w->limits);
    expect_form(w, VAL_LISTPACK);
    fill(w, 3, 32, LISTVAL_TAIL);
    expect_form(w, VAL_CHUNKS);
    listval_pop(&w->v, LISTVAL_HEAD, 2, &w->limits);
    cr_assert(listval_set(&w->v, 1, SPAN("33 bytes, which is one too many..."), &w->limits));
    expect_form(w, VAL_CHUNKS);
    cr_assert(listval_set(&w->v, 0, SPAN("short"), &w->limits));
    expect_form(w, VAL_CHUNKS);
    cr_assert(listval_set(&w->v, 2, SPAN("short"), &w->limits));
    expect_form(w, VAL_LISTPACK);
    world_destroy(w);
}

/* Redis takes what is set, and what is inserted, for one more. */
Test(listval, limits_of_counts) {
    for (uint32_t insert = 0; insert < 2; insert++) {
        struct world *w = world_create(1, 8192, UINT32_MAX);
        w->limits = listval_limits_of(10);
        fill(w, 10, 1, LISTVAL_TAIL);
        expect_form(w, VAL_LISTPACK);
        cr_assert((insert ? listval_insert : listval_set)(&w->v, 4, SPAN("x"), &w->limits));
        expect_form(w, VAL_CHUNKS);
        listval_pop(&w->v, LISTVAL_HEAD, 4 + insert, &w->limits);
        expect_form(w, VAL_CHUNKS);
        listval_pop(&w->v, LISTVAL_HEAD, 1, &w->limits);
        expect_form(w, VAL_LISTPACK);
        world_destroy(w);
    }
}
