/* setval_draw_test.c: members of anax/setval.h by chance: each that is alive as likely as the others. */
#include "setval_model.h"

TestSuite(setval_draw, .init = setup);

static void check_fair_at(const struct val *v, unsigned rounds, struct rng *g, int64_t now_ms) {
    struct set_draw d;
    struct lp_item item;
    uint64_t all = setval_living(v, &usual, now_ms);
    unsigned *times = calloc(all, sizeof(*times));
    struct set_iter at;
    struct lp_item *list = calloc(all, sizeof(*list));
    uint64_t n = 0;
    setval_begin(&at, v, &usual, now_ms);
    while (n < all && setval_next(&at, &list[n]))
        n++;
    cr_assert_eq(n, all);
    cr_assert_not(setval_next(&at, &item));
    setval_draw_begin(&d, v, &usual, now_ms);
    for (uint64_t i = 0; i < rounds * all; i++) {
        cr_assert(setval_draw(&d, g, &item));
        uint64_t j = 0;
        while (list[j].str != item.str || list[j].num != item.num)
            j++;
        times[j]++;
    }
    /* chi square of all - 1 degrees of freedom: five deviations above its mean */
    double sum = 0;
    for (uint64_t j = 0; j < all; j++)
        sum += ((double)times[j] - rounds) * ((double)times[j] - rounds) / rounds;
    double over = sum - (double)(all - 1);
    cr_assert_lt(over * over, 25.0 * 2.0 * (double)(all - 1), "%s: chi square %f of %lu",
                 val_form_name(v->form), sum, all);
    free(times);
    free(list);
}

static void check_fair(const struct val *v, unsigned rounds, struct rng *g) {
    check_fair_at(v, rounds, g, START_MS);
}

/* add_doomed: texts from one number to another; of `of` of them only one does not die at START_MS + 10. */
static void add_doomed(struct val *v, unsigned from, unsigned to, unsigned of) {
    for (unsigned i = from; i < to; i++) {
        char text[24];
        struct span name = {text, (size_t)snprintf(text, sizeof(text), "doomed %u", i)};
        uint64_t added;
        int64_t ms = START_MS + (i % of == 0 ? 1000 : 10);
        cr_assert(setval_add_timed(v, &usual, &name, 1, false, ms, START_MS, &added));
    }
}

/* No place has been given up yet by those that are dead. */
Test(setval_draw, draws_are_fair_when_some_have_died) {
    static const struct {
        int64_t ints;
        unsigned texts, of;
    } sets[] = {{0, 60, 3},   {0, 600, 2},    {0, 2000, 100},  {0, 30000, 15000},
                {600, 60, 3}, {600, 2000, 4}, {40, 5000, 2500}};
    struct rng g;
    rng_seed(&g, 22);
    for (unsigned i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        struct mem m = {0};
        struct val v;
        fill(&v, &m, sets[i].ints == 0 ? 0 : 600, 0, &g);
        for (int64_t j = sets[i].ints; sets[i].ints > 0 && j < 600; j++)
            cr_assert(remove_int(&v, j));
        add_doomed(&v, 0, sets[i].texts, sets[i].of);
        cr_assert_eq(v.form, sets[i].ints > 0        ? VAL_ROARING
                             : sets[i].texts <= 128u ? VAL_LISTPACK_TTL
                                                     : VAL_TABLE);
        uint64_t alive = (uint64_t)sets[i].ints + (sets[i].texts + sets[i].of - 1) / sets[i].of;
        cr_assert_eq(setval_living(&v, &usual, START_MS + 11), alive);
        cr_assert_eq(setval_count(&v), (uint64_t)sets[i].ints + sets[i].texts);
        check_fair_at(&v, alive < 100 ? 60 : 30, &g, START_MS + 11);
        check_fair_at(&v, 1, &g, START_MS + 10);
        val_destroy(&v);
        cr_assert_eq(m.used_bytes, 0);
    }
}

Test(setval_draw, of_the_dead_none_is_drawn) {
    struct rng g;
    struct set_draw d;
    struct lp_item item;
    struct set_found f;
    rng_seed(&g, 23);
    for (unsigned i = 0; i < 3; i++) {
        struct mem m = {0};
        struct val v;
        fill(&v, &m, i == 2 ? 600 : 0, 0, &g);
        add_doomed(&v, 1, i == 0 ? 50 : 5000, 10000);
        for (int64_t j = 0; i == 2 && j < 600; j++)
            cr_assert(remove_int(&v, j));
        setval_draw_begin(&d, &v, &usual, START_MS + 11);
        cr_assert_not(setval_draw(&d, &g, &item));
        cr_assert(setval_pick(&f, &v, &usual, &g, 3, START_MS + 11));
        cr_assert_eq(f.n, 0);
        setval_found_free(&f, &m);
        setval_draw_begin(&d, &v, &usual, START_MS + 10);
        cr_assert(setval_draw(&d, &g, &item));
        cr_assert_eq(d.refused, 0);
        val_destroy(&v);
        cr_assert_eq(m.used_bytes, 0);
    }
}

/* Few are refused when few are dead; when nearly all are, those that live are found all the same. */
Test(setval_draw, pick_passes_over_the_dead) {
    struct rng g;
    struct mem m = {0};
    struct val v;
    struct set_draw d;
    struct lp_item item;
    struct set_found f;
    rng_seed(&g, 24);
    val_init(&v, &m, VALUE_SET);
    add_doomed(&v, 0, 20000, 2000);
    for (uint64_t want = 1; want < 20; want++) {
        bool seen[20000] = {0};
        cr_assert(setval_pick(&f, &v, &usual, &g, want, START_MS + 11));
        cr_assert_eq(f.n, want < 10 ? want : 10);
        for (size_t i = 0; i < f.n; i++) {
            unsigned long id = strtoul(f.items[i].str + sizeof("doomed"), NULL, 10);
            cr_assert_eq(id % 2000, 0);
            cr_assert_not(seen[id]);
            seen[id] = true;
        }
        setval_found_free(&f, &m);
    }
    val_destroy(&v);
    val_init(&v, &m, VALUE_SET);
    add_doomed(&v, 0, 10000, 1);
    add_doomed(&v, 10001, 10003, 3);
    setval_draw_begin(&d, &v, &usual, START_MS + 11);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert(setval_draw(&d, &g, &item));
    cr_assert_leq(d.refused, 10);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(setval_draw, draws_are_fair) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    rng_seed(&g, 6);
    fill(&v, &m, 300, 0, &g);
    check_fair(&v, 100, &g);
    /* containers of all sizes, parts of all sizes, and texts beside them */
    for (int64_t i = 0; i < 300; i++)
        add_int(&v, i * 65536);
    for (int64_t i = 0; i < 100; i++)
        add_int(&v, i * i * 7 - (5LL << 32));
    for (int64_t i = 0; i < 600; i++)
        add_int(&v, (i / 3 << 32) + i * 1001);
    cr_assert_eq(v.form, VAL_ROARING);
    check_fair(&v, 100, &g);
    struct span some[2] = {SPAN("one"), SPAN("two")};
    uint64_t added;
    cr_assert(setval_add(&v, &usual, some, 2, START_MS, &added));
    check_fair(&v, 100, &g);
    val_destroy(&v);
    val_init(&v, &m, VALUE_SET);
    cr_assert(setval_add(&v, &usual, &names[NAMES - 60], 60, START_MS, &added));
    check_fair(&v, 200, &g);
    val_destroy(&v);
}

/* Of a bitset a member is found by trying: each of the few has its chance all the same. */
Test(setval_draw, draws_from_a_bitset_are_fair) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    struct set_draw d;
    struct lp_item item;
    unsigned times[16] = {0};
    rng_seed(&g, 7);
    fill(&v, &m, 20000, 0, &g);
    setval_draw_begin(&d, &v, &usual, START_MS);
    for (int i = 0; i < 160000; i++) {
        cr_assert(setval_draw(&d, &g, &item));
        times[item.num * 16 / 20000]++;
    }
    for (int i = 0; i < 16; i++)
        cr_assert(times[i] > 9500 && times[i] < 10500, "%u", times[i]);
    val_destroy(&v);
}

Test(setval_draw, pick_gives_different_members_each_with_the_same_chance) {
    struct rng g;
    rng_seed(&g, 8);
    for (unsigned form = 0; form < 3; form++) {
        struct mem m = {0};
        struct val v;
        uint64_t added;
        fill(&v, &m, form == 0 ? 90 : form == 1 ? 900 : 0, 0, &g);
        if (form == 2)
            cr_assert(setval_add(&v, &usual, &names[NAMES - 90], 90, START_MS, &added));
        uint64_t all = setval_count(&v);
        unsigned *times = calloc(NAMES, sizeof(*times));
        uint64_t picked = 0;
        for (unsigned round = 0; round < 3000; round++) {
            struct set_found f;
            uint64_t want = rng_below(&g, 20) == 0 ? rng_below(&g, all + 9) : rng_below(&g, 9);
            cr_assert(setval_pick(&f, &v, &usual, &g, want, START_MS));
            cr_assert_eq(f.n, want < all ? want : all);
            for (size_t i = 0; i < f.n; i++) {
                for (size_t j = 0; j < i; j++)
                    cr_assert(f.items[i].str != f.items[j].str || f.items[i].num != f.items[j].num);
                times[form == 2 ? index_of(&f.items[i]) : (unsigned)f.items[i].num]++;
            }
            picked += f.n;
            setval_found_free(&f, &m);
        }
        unsigned first = form == 2 ? NAMES - 90 : 0;
        double mean = (double)picked / (double)all;
        for (uint64_t i = 0; i < all; i++) {
            double off = times[first + i] - mean;
            cr_assert_lt(off * off, 30 * mean, "%f of %f", off, mean);
        }
        free(times);
        val_destroy(&v);
        cr_assert_eq(m.used_bytes, 0);
    }
}
