/* setval_algebra_test.c: intersections, unions and differences of anax/setval.h, against arrays; what CRoaring takes. */
#include "setval_model.h"

TestSuite(setval_algebra, .init = setup);

/* --- sets of sets --- */

enum { SETS = 5 };

static void check_found(struct set_found *f, struct mem *m, const bool *want, const char *what) {
    struct set_iter at;
    struct lp_item item;
    bool seen[NAMES] = {0};
    uint64_t n = 0, count = 0;
    for (unsigned i = 0; i < NAMES; i++)
        count += want[i];
    setval_begin(&at, &f->v, &usual, START_MS);
    for (size_t i = 0; i < f->n || setval_next(&at, &item); i++) {
        unsigned j = index_of(i < f->n ? &f->items[i] : &item);
        cr_assert(want[j], "%s: %s", what, texts[j]);
        cr_assert_not(seen[j]);
        seen[j] = true;
        n++;
    }
    cr_assert_eq(n, count, "%s: %lu of %lu", what, n, count);
    (void)m;
}

/* The form of a set with these members, whatever it came from. */
static void check_kept(const struct val *v, const struct set_kind *k, const bool *want) {
    uint64_t count = 0, longest = 0;
    bool ints = true;
    for (unsigned i = 0; i < NAMES; i++) {
        count += want[i];
        ints = ints && (!want[i] || is_int(i));
        if (want[i] && names[i].len > longest)
            longest = names[i].len;
        cr_assert_eq(v->form != VAL_NONE && setval_find(v, k, names[i], START_MS, NULL), want[i]);
    }
    if (count == 0) {
        cr_assert_eq(v->form, VAL_NONE);
        return;
    }
    const char *encoding = ints && count <= k->intset_max ? "intset"
                           : count <= k->fields.entries_max && longest <= k->fields.bytes_max
                               ? "listpack"
                               : "hashtable";
    cr_assert_eq(setval_count(v), count);
    cr_assert_str_eq(val_encoding(v), encoding);
    cr_assert_eq(setval_due_ms(v), OBJECT_NEVER, "what is found has no time");
}

typedef bool op_fn(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                   const struct set_kind *k, int64_t now_ms);

static bool inter(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                  const struct set_kind *k, int64_t now_ms) {
    return setval_inter(f, m, from, n, k, now_ms, 0);
}

/* run_op: with each allocation failing once; then what comes is what the arrays say. */
static void run_op(op_fn *op, const char *what, const struct val *from, uint32_t n,
                   const struct set_kind *k, const bool *want) {
    struct mem m = {0};
    for (uint64_t at = 1;; at++) {
        struct set_found f;
        struct val v;
        m.fail_in = at;
        val_init(&v, &m, VALUE_SET);
        bool fine = op(&f, &m, from, n, k, START_MS);
        if (fine)
            check_found(&f, &m, want, what);
        fine = fine && setval_keep(&v, k, &f, START_MS);
        setval_found_free(&f, &m);
        bool failed = m.fail_in == 0;
        m.fail_in = 0;
        cr_assert(fine || failed);
        if (fine)
            check_kept(&v, k, want);
        val_destroy(&v);
        cr_assert_eq(m.used_bytes, 0);
        if (!failed)
            return;
        at += at / 8;
    }
}

/* one of the kinds of sets that there are */
static void make(struct val *v, struct mem *m, bool *in, const struct set_kind *k, struct rng *g) {
    unsigned kind = (unsigned)rng_below(g, 8);
    unsigned from[] = {0, 0, SMALL + 72, NAMES / 2, NAMES / 2, 0, NAMES - 100, NAMES / 2 - 100};
    unsigned to[] = {SMALL,        NAMES / 2 - 50, NAMES / 2, NAMES,
                     NAMES - 1400, NAMES,          NAMES,     NAMES / 2};
    unsigned wanted = 1 + (unsigned)rng_below(g, rng_below(g, 2) ? 30 : 1500);
    uint64_t added;
    memset(in, 0, NAMES * sizeof(*in));
    val_init(v, m, VALUE_SET);
    for (unsigned i = 0; i < SMALL && kind == 7; i++) { /* bitmaps, and what is beside them */
        cr_assert(setval_add(v, k, &names[i], 1, START_MS, &added));
        in[i] = true;
    }
    for (unsigned i = 0; i < wanted && rng_below(g, 300) != 0; i++) {
        unsigned j = from[kind] + (unsigned)rng_below(g, to[kind] - from[kind]);
        if (rng_below(g, 60) == 0 && kind == 3) {
            cr_assert(
                setval_add_timed(v, k, &names[j], 1, false, START_MS - 5, START_MS - 10, &added));
            in[j] = false;
        } else {
            cr_assert(setval_add(v, k, &names[j], 1, START_MS, &added));
            in[j] = true;
        }
    }
}

Test(setval_algebra, algebra_is_what_arrays_say) {
    static bool in[SETS][NAMES], want[NAMES];
    struct rng g;
    rng_seed(&g, 12);
    for (unsigned round = 0; round < 60; round++) {
        struct mem m = {0};
        struct val v[SETS];
        const struct set_kind *k = round % 4 == 3 ? &tiny : round % 4 == 2 ? &few_parts : &usual;
        uint32_t n = 1 + (uint32_t)rng_below(&g, SETS);
        for (uint32_t i = 0; i < n; i++)
            make(&v[i], &m, in[i], k, &g);
        int64_t used = m.used_bytes;
        for (unsigned what = 0; what < 3; what++) {
            static op_fn *const ops[] = {inter, setval_union, setval_diff};
            static const char *const called[] = {"inter", "union", "diff"};
            for (unsigned j = 0; j < NAMES; j++) {
                want[j] = in[0][j];
                for (uint32_t i = 1; i < n; i++)
                    want[j] = what == 0   ? want[j] && in[i][j]
                              : what == 1 ? want[j] || in[i][j]
                                          : want[j] && !in[i][j];
            }
            run_op(ops[what], called[what], v, n, k, want);
        }
        cr_assert_eq(m.used_bytes, used, "the sources are as they were");
        for (uint32_t i = 0; i < n; i++)
            val_destroy(&v[i]);
        cr_assert_eq(m.used_bytes, 0);
    }
}

/* others_with: how many of the sets from one to another have it. */
static unsigned others_with(const struct val *v, unsigned from, unsigned n, int64_t num) {
    unsigned there = 0;
    for (unsigned i = from; i < n; i++)
        there += has_int(&v[i], num);
    return there;
}

/* One of three may be so much smaller than the others that its members are taken one by one. */
Test(setval_algebra, algebra_of_bitmaps_of_all_kinds) {
    struct rng g;
    rng_seed(&g, 13);
    for (unsigned round = 0; round < 30; round++) {
        struct mem m = {0};
        struct val v[3];
        unsigned sets = 2 + round % 2;
        for (unsigned i = 0; i < sets; i++) {
            val_init(&v[i], &m, VALUE_SET);
            int64_t from = (int64_t)rng_below(&g, 70000) - (rng_below(&g, 2) ? 1LL << 33 : 0);
            uint64_t n = 600 + rng_below(&g, i == 2 ? 10 : 70000), gap = 1 + rng_below(&g, 3);
            for (uint64_t j = 0; j < n; j++)
                add_int(&v[i], from + (int64_t)(j * gap));
            cr_assert_eq(v[i].form, VAL_ROARING);
        }
        static op_fn *const ops[] = {inter, setval_union, setval_diff};
        for (unsigned what = 0; what < 3; what++) {
            struct set_found f;
            struct set_iter at;
            struct lp_item item;
            uint64_t n = 0, want = 0;
            cr_assert(ops[what](&f, &m, v, sets, &usual, START_MS));
            for (unsigned i = 0; i < sets; i++) {
                setval_begin(&at, &v[i], &usual, START_MS);
                while (setval_next(&at, &item)) {
                    want += what == 0   ? i == 0 && others_with(v, 1, sets, item.num) == sets - 1
                            : what == 1 ? others_with(v, 0, i, item.num) == 0
                                        : i == 0 && others_with(v, 1, sets, item.num) == 0;
                }
            }
            setval_begin(&at, &f.v, &usual, START_MS);
            for (int64_t last = INT64_MIN; setval_next(&at, &item); last = item.num, n++)
                cr_assert(item.num > last || n == 0);
            cr_assert_eq(n, want);
            cr_assert_eq(setval_count(&f.v), want);
            /* and it can be written to: no runs, which need memory to be taken from */
            m.fail_in = m.fail_every = 1;
            for (int64_t i = 0; i < 140000; i += 7) {
                char digits[STRVAL_INT_BYTES];
                struct span text = {digits, strval_format_int(digits, i)};
                setval_remove(&f.v, &usual, text, START_MS);
            }
            m.fail_in = m.fail_every = 0;
            for (int64_t i = 0; i < 140000; i += 7)
                cr_assert_not(has_int(&f.v, i));
            setval_found_free(&f, &m);
        }
        for (unsigned i = 0; i < sets; i++)
            val_destroy(&v[i]);
        cr_assert_eq(m.used_bytes, 0);
    }
}

/* Parts of several sets together would be more than there may be. */
Test(setval_algebra, inv9_a_union_has_no_more_parts_than_a_set) {
    enum { SETS_OF_PARTS = 5, PARTS = SETVAL_PARTS_MAX / 2 - 1 };
    struct mem m = {0};
    struct val v[SETS_OF_PARTS], kept;
    struct set_found f;
    for (int64_t i = 0; i < SETS_OF_PARTS; i++) {
        val_init(&v[i], &m, VALUE_SET);
        for (int64_t j = 0; j < 70000; j++) /* all have these */
            add_int(&v[i], j);
        for (int64_t j = 0; j < PARTS; j++)
            add_int(&v[i], (j * SETS_OF_PARTS + i + 1) << 32);
        cr_assert_eq(setval_roaring(&v[i])->parts, PARTS + 1);
        cr_assert_null(setval_roaring(&v[i])->rest);
    }
    cr_assert_eq(roaring_set_parts(setval_roaring(&v[0]), setval_roaring(&v[1])), 2 * PARTS + 1);
    cr_assert_eq(roaring_set_parts(setval_roaring(&v[0]), setval_roaring(&v[0])), PARTS + 1);
    cr_assert(setval_union(&f, &m, v, SETS_OF_PARTS, &usual, START_MS));
    val_init(&kept, &m, VALUE_SET);
    cr_assert(setval_keep(&kept, &usual, &f, START_MS));
    setval_found_free(&f, &m);
    cr_assert_eq(kept.form, VAL_ROARING);
    cr_assert_eq(setval_roaring(&kept)->parts, SETVAL_PARTS_MAX);
    cr_assert_eq(setval_count(&kept), 70000 + SETS_OF_PARTS * PARTS);
    for (int64_t j = 1; j <= SETS_OF_PARTS * PARTS; j++)
        cr_assert(has_int(&kept, j << 32));
    /* and back: what is left are the first set's own */
    struct val two[] = {kept, v[1], v[2], v[3], v[4]};
    cr_assert(setval_diff(&f, &m, two, SETS_OF_PARTS, &usual, START_MS));
    cr_assert_eq(f.v.form == VAL_NONE ? f.n : setval_count(&f.v), PARTS);
    setval_found_free(&f, &m);
    val_destroy(&kept);
    for (unsigned i = 0; i < SETS_OF_PARTS; i++)
        val_destroy(&v[i]);
    cr_assert_eq(m.used_bytes, 0);
}

Test(setval_algebra, inter_stops_at_its_limit) {
    struct mem m = {0};
    struct rng g;
    rng_seed(&g, 14);
    for (unsigned round = 0; round < 40; round++) {
        static bool in[2][NAMES];
        struct val v[2];
        make(&v[0], &m, in[0], &usual, &g);
        make(&v[1], &m, in[1], &usual, &g);
        uint64_t both = 0;
        for (unsigned i = 0; i < NAMES; i++)
            both += in[0][i] && in[1][i];
        for (uint64_t limit = 1; limit < 30; limit += 7) {
            struct set_found f;
            cr_assert(setval_inter(&f, &m, v, 2, &usual, START_MS, limit));
            uint64_t n = f.v.form == VAL_NONE ? f.n : setval_count(&f.v);
            cr_assert(f.v.form != VAL_NONE ? n == both : n == (both < limit ? both : limit));
            setval_found_free(&f, &m);
        }
        val_destroy(&v[0]);
        val_destroy(&v[1]);
    }
    cr_assert_eq(m.used_bytes, 0);
}

/* --- what CRoaring takes --- */

#ifndef ANAX_SYSTEM_MALLOC
#include <jemalloc/jemalloc.h>

static int64_t allocated(void) {
    uint64_t got, given;
    size_t len = sizeof(got);
    cr_assert_eq(mallctl("thread.allocated", &got, &len, NULL, 0), 0);
    cr_assert_eq(mallctl("thread.deallocated", &given, &len, NULL, 0), 0);
    return (int64_t)(got - given);
}

Test(setval_algebra, bitmaps_are_counted_to_the_byte) {
    struct mem m = {0};
    struct rng g;
    struct val v[2];
    rng_seed(&g, 15);
    (void)allocated();
    int64_t before = allocated();
    fill(&v[0], &m, 50000, 200000, &g);
    fill(&v[1], &m, 50000, 1ULL << 28, &g);
    cr_assert_eq(allocated() - before, m.used_bytes);
    static op_fn *const ops[] = {inter, setval_union, setval_diff};
    for (unsigned what = 0; what < 3; what++) {
        struct set_found f;
        bool fine = ops[what](&f, &m, v, 2, &usual, START_MS);
        cr_assert(fine);
        cr_assert_eq(allocated() - before, m.used_bytes);
        setval_found_free(&f, &m);
    }
    struct set_draw d;
    struct lp_item item;
    for (unsigned i = 0; i < 2; i++) {
        while (setval_count(&v[i]) > 100) {
            setval_draw_begin(&d, &v[i], &usual, START_MS);
            bool fine = setval_draw(&d, &g, &item) && setval_take(&v[i], &usual, &item, START_MS);
            cr_assert(fine);
        }
        cr_assert_eq(allocated() - before, m.used_bytes);
    }
    val_destroy(&v[0]);
    val_destroy(&v[1]);
    cr_assert_eq(allocated() - before, 0);
    cr_assert_eq(m.used_bytes, 0);
}
#endif
