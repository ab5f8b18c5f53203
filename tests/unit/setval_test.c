/* setval_test.c: the contract of anax/setval.h, against an array of what is in it. */
#include "setval_model.h"
#include <limits.h>

static const struct set_kind nothing = {0, {.entries_max = 0, .bytes_max = 0}};
static const struct set_kind lists = {0, {.entries_max = 20, .bytes_max = 30}};

TestSuite(setval, .init = setup);

/* --- the model --- */

struct model {
    struct val v;
    struct mem mem;
    const struct set_kind *k;
    int64_t now_ms;
    bool in[NAMES];
    int64_t expire_ms[NAMES];
    bool full, beside; /* there were as many parts as may be; an integer that is in none of them */
    bool timed;        /* some member has or had a time: the encoding is not Redis's then */
    const char *encoding;
};

static bool alive(const struct model *o, unsigned i) {
    return o->in[i] && (o->expire_ms[i] == 0 || o->now_ms <= o->expire_ms[i]);
}

static uint64_t count_alive(const struct model *o) {
    uint64_t n = 0;
    for (unsigned i = 0; i < NAMES; i++)
        n += alive(o, i);
    return n;
}

static void begin(struct model *o, const struct set_kind *k) {
    memset(o, 0, sizeof(*o));
    o->k = k;
    o->now_ms = START_MS;
    val_init(&o->v, &o->mem, VALUE_SET);
}

static void end(struct model *o) {
    val_destroy(&o->v);
    cr_assert_eq(o->mem.used_bytes, 0);
}

/* invariants (8), which the walk has seen, and (9). */
static void check_parts(struct model *o) {
    struct set_iter at;
    struct lp_item item;
    int64_t num;
    if (o->v.form != VAL_ROARING)
        return;
    const struct roaring *r = setval_roaring(&o->v);
    cr_assert_leq(r->parts, setval_parts_max(o->k));
    o->full = o->full || r->parts == setval_parts_max(o->k);
    setval_begin(&at, &o->v, o->k, o->now_ms);
    while (setval_next(&at, &item))
        if (setval_item_num(&item, &num) && !roaring_set_has_part(r, num))
            o->beside = true;
}

/* invariant (1) of object.h: bytes are what it holds. */
static void check_bytes(const struct model *o) {
    cr_assert_eq(o->mem.used_bytes, (int64_t)val_bytes(&o->v));
}

static void check_all(struct model *o) {
    struct set_iter at;
    struct lp_item item;
    uint64_t n = 0, want = count_alive(o);
    bool seen[NAMES] = {0};
    setval_begin(&at, &o->v, o->k, o->now_ms);
    while (setval_next(&at, &item)) {
        unsigned i = index_of(&item);
        cr_assert(alive(o, i));
        cr_assert_not(seen[i], "twice");
        seen[i] = true;
        n++;
    }
    cr_assert_eq(n, want, "%lu of %lu, %s", n, want, val_form_name(o->v.form));
    cr_assert_eq(setval_living(&o->v, o->k, o->now_ms), want);
    cr_assert_geq(setval_count(&o->v), want);
    for (unsigned i = 0; i < NAMES; i++) {
        int64_t expire_ms;
        bool found = setval_find(&o->v, o->k, names[i], o->now_ms, &expire_ms);
        cr_assert_eq(found, alive(o, i), "%s", texts[i]);
        if (found)
            cr_assert_eq(expire_ms, o->expire_ms[i]);
        if (alive(o, i) && o->expire_ms[i] != 0)
            cr_assert_leq(setval_due_ms(&o->v), o->expire_ms[i]);
    }
    check_bytes(o);
    check_parts(o);
}

/* What Redis 8 would call a set that is made by such SADDs. */
static void model_encoding(struct model *o, const unsigned *list, unsigned n) {
    const struct set_kind *k = o->k;
    uint64_t count = count_alive(o), longest = 0;
    if (o->encoding == NULL)
        o->encoding = is_int(list[0]) && n <= k->intset_max ? "intset"
                      : n <= k->fields.entries_max          ? "listpack"
                                                            : "hashtable";
    else if ((strcmp(o->encoding, "listpack") == 0 && n > k->fields.entries_max) ||
             (strcmp(o->encoding, "intset") == 0 && n > k->intset_max))
        o->encoding = "hashtable";
    bool in[NAMES];
    for (unsigned i = 0; i < NAMES; i++) {
        in[i] = alive(o, i);
        if (in[i] && names[i].len > longest)
            longest = names[i].len;
    }
    for (unsigned j = 0; j < n; j++) {
        unsigned i = list[j];
        if (in[i])
            continue;
        bool fits = count < k->fields.entries_max && names[i].len <= k->fields.bytes_max;
        if (strcmp(o->encoding, "intset") == 0) {
            if (is_int(i))
                o->encoding = count + 1 > k->intset_max ? "hashtable" : "intset";
            else
                o->encoding = fits && longest <= k->fields.bytes_max ? "listpack" : "hashtable";
        } else if (strcmp(o->encoding, "listpack") == 0 && !fits) {
            o->encoding = "hashtable";
        }
        in[i] = true;
        count++;
        if (names[i].len > longest)
            longest = names[i].len;
    }
}

/* --- what is done to both --- */

enum { MOST = 40 };

static unsigned pick_names(struct rng *g, unsigned *list, struct span *spans) {
    unsigned n = 1 + (rng_below(g, 4) == 0 ? (unsigned)rng_below(g, MOST) : 0);
    unsigned base = rng_below(g, 2) ? (unsigned)rng_below(g, NAMES) : 0;
    unsigned span = rng_below(g, 2) ? NAMES : SMALL + 60;
    for (unsigned i = 0; i < n; i++) {
        list[i] = (base + (unsigned)rng_below(g, span)) % NAMES;
        spans[i] = names[list[i]];
    }
    return n;
}

static void do_add(struct model *o, struct rng *g, bool fails) {
    unsigned list[MOST + 1], n;
    struct span spans[MOST + 1];
    uint64_t added = 0, want = 0;
    n = pick_names(g, list, spans);
    o->mem.fail_in = fails ? 1 + rng_below(g, 4) : 0;
    bool fine = setval_add(&o->v, o->k, spans, n, o->now_ms, &added);
    o->mem.fail_in = 0;
    cr_assert(fine || fails);
    if (!fine)
        return;
    model_encoding(o, list, n);
    for (unsigned i = 0; i < n; i++) {
        want += !alive(o, list[i]);
        if (!alive(o, list[i]))
            o->expire_ms[list[i]] = 0;
        o->in[list[i]] = true;
    }
    cr_assert_eq(added, want);
    /* a conversion that had no memory is none */
    if (!o->timed && !fails)
        cr_assert_str_eq(val_encoding(&o->v), o->encoding, "%lu members", count_alive(o));
}

static void do_remove(struct model *o, struct rng *g) {
    unsigned list[MOST + 1];
    struct span spans[MOST + 1];
    unsigned n = pick_names(g, list, spans);
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(setval_remove(&o->v, o->k, spans[i], o->now_ms), alive(o, list[i]));
        o->in[list[i]] = false;
    }
}

static void do_add_timed(struct model *o, struct rng *g, bool fails) {
    unsigned list[MOST + 1];
    struct span spans[MOST + 1];
    uint64_t added = 0, want = 0;
    unsigned n = pick_names(g, list, spans);
    int64_t expire_ms = o->now_ms + (int64_t)rng_below(g, 3000);
    bool keep = rng_below(g, 2);
    o->mem.fail_in = fails ? 1 + rng_below(g, 4) : 0;
    bool fine = setval_add_timed(&o->v, o->k, spans, n, keep, expire_ms, o->now_ms, &added);
    o->mem.fail_in = 0;
    cr_assert(fine || fails);
    if (!fine)
        return;
    o->timed = true;
    for (unsigned i = 0; i < n; i++) {
        bool was = alive(o, list[i]);
        want += !was;
        if (!was || !keep)
            o->expire_ms[list[i]] = expire_ms;
        o->in[list[i]] = true;
    }
    cr_assert_eq(added, want);
}

static void do_set_times(struct model *o, struct rng *g, bool fails) {
    unsigned list[MOST + 1];
    struct span spans[MOST + 1];
    struct field_time times[MOST + 1];
    unsigned n = pick_names(g, list, spans);
    for (unsigned i = 0; i < n; i++) {
        times[i].name = spans[i];
        times[i].expire_ms =
            rng_below(g, 3) == 0 ? FIELDS_NEVER : o->now_ms + (int64_t)rng_below(g, 3000);
        for (unsigned j = 0; j < i; j++) /* which of two counts is not what this is about */
            if (list[j] == list[i])
                times[i] = times[j];
    }
    o->mem.fail_in = fails ? 1 + rng_below(g, 4) : 0;
    bool fine = setval_set_times(&o->v, o->k, times, n, o->now_ms);
    o->mem.fail_in = 0;
    cr_assert(fine || fails);
    if (!fine)
        return;
    o->timed = true;
    for (unsigned i = 0; i < n; i++)
        if (alive(o, list[i]))
            o->expire_ms[list[i]] = times[i].expire_ms;
}

static void do_expire(struct model *o, struct rng *g) {
    unsigned budget = 1 + (unsigned)rng_below(g, 1000);
    o->now_ms += (int64_t)rng_below(g, 200);
    struct object *big = o->v.form == VAL_NONE ? NULL : val_object(&o->v);
    if (big == NULL || val_ops_of(big->form)->expire_some == NULL)
        return;
    uint64_t before = big->count;
    unsigned gone = val_ops_of(big->form)->expire_some(&o->mem, big, o->now_ms, &budget);
    val_of_object(&o->v, &o->mem, big);
    cr_assert_eq(big->count + gone, before);
}

static void do_pop(struct model *o, struct rng *g) {
    struct set_draw d;
    struct lp_item item;
    setval_draw_begin(&d, &o->v, o->k, o->now_ms);
    bool any = setval_draw(&d, g, &item);
    cr_assert_eq(any, count_alive(o) > 0);
    if (!any)
        return;
    unsigned i = index_of(&item);
    cr_assert(alive(o, i));
    cr_assert(setval_take(&o->v, o->k, &item, o->now_ms));
    o->in[i] = false;
}

static void do_copy(struct model *o, struct rng *g, bool fails) {
    struct mem other = {.fail_in = fails ? 1 + rng_below(g, 4) : 0};
    struct val copy;
    val_init(&copy, &other, VALUE_SET);
    bool fine = val_copy(&copy, &o->v);
    other.fail_in = 0;
    cr_assert(fine || fails);
    if (!fine) {
        cr_assert_eq(other.used_bytes, 0);
        return;
    }
    cr_assert_eq(other.used_bytes, (int64_t)val_bytes(&copy));
    val_destroy(&o->v); /* the copy goes on, on this account */
    cr_assert_eq(o->mem.used_bytes, 0);
    o->v = copy;
    o->v.mem = &o->mem;
    mem_charge(&o->mem, other.used_bytes);
}

/* add_ids: all that are consecutive, in one call: bitmaps from the start. */
static void add_ids(struct model *o) {
    uint64_t added;
    cr_assert(setval_add(&o->v, o->k, names, SMALL, o->now_ms, &added));
    cr_assert_eq(added, SMALL);
    cr_assert_eq(o->v.form, VAL_ROARING);
    for (unsigned i = 0; i < SMALL; i++)
        o->in[i] = true;
    o->encoding = "hashtable";
}

static void play(const struct set_kind *k, uint64_t seed, unsigned steps, bool times) {
    struct model o;
    struct rng g;
    bool full = false, beside = false;
    rng_seed(&g, seed);
    begin(&o, k);
    if (k == &few_parts)
        add_ids(&o);
    for (unsigned i = 0; i < steps; i++) {
        bool fails = rng_below(&g, 8) == 0;
        unsigned what = (unsigned)rng_below(&g, 100);
        /* it fills, then empties, and so on */
        bool fills = i / 400 % 3 != 2;
        if (what < (fills ? 60 : 20))
            do_add(&o, &g, fails);
        else if (what < 80)
            do_remove(&o, &g);
        else if (what < 84)
            do_pop(&o, &g);
        else if (what < 85)
            do_copy(&o, &g, fails);
        else if (times && what < 90)
            do_add_timed(&o, &g, fails);
        else if (times && what < 94)
            do_set_times(&o, &g, fails);
        else if (times)
            do_expire(&o, &g);
        check_bytes(&o);
        if (o.v.form != VAL_NONE && setval_count(&o.v) == 0) {
            end(&o);
            begin(&o, k);
            if (k == &few_parts)
                add_ids(&o);
        }
        if (i % 40 == 0 || fails)
            check_all(&o);
        full = full || o.full;
        beside = beside || o.beside;
    }
    cr_assert(k != &few_parts || (full && beside));
    end(&o);
}

Test(setval, is_what_an_array_is_while_members_come_and_go) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        play(&usual, seed, 3000, false);
        play(&tiny, seed, 1500, false);
        play(&nothing, seed, 500, false);
        play(&lists, seed, 500, false);
        play(&few_parts, seed, 1000, false);
    }
}

Test(setval, is_what_an_array_is_while_members_expire) {
    for (uint64_t seed = 11; seed <= 13; seed++) {
        play(&usual, seed, 3000, true);
        play(&tiny, seed, 1500, true);
        play(&nothing, seed, 500, true);
        play(&few_parts, seed, 1000, true);
    }
}

/* --- large ones --- */

Test(setval, takes_few_bytes) {
    static const struct {
        uint64_t n, below;
        unsigned form;
        double most; /* bytes each */
    } want[] = {
        {1000000, 0, VAL_ROARING, 0.2},
        {1000000, 1000000000, VAL_ROARING, 3.2},
        {300000, 1ULL << 32, VAL_ROARING, 12},
        {10000, UINT64_MAX, VAL_TABLE, 50},
    };
    struct rng g;
    rng_seed(&g, 1);
    for (unsigned i = 0; i < sizeof(want) / sizeof(*want); i++) {
        struct mem m = {0};
        struct val v;
        fill(&v, &m, want[i].n, want[i].below, &g);
        cr_assert_eq(v.form, want[i].form);
        cr_assert_eq(m.used_bytes, (int64_t)val_bytes(&v));
        double each = (double)val_bytes(&v) / (double)want[i].n;
        cr_assert_lt(each, want[i].most, "%f bytes each", each);
        val_destroy(&v);
        cr_assert_eq(m.used_bytes, 0);
    }
}

Test(setval, integers_that_are_sparse_after_all_become_a_table) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    rng_seed(&g, 2);
    fill(&v, &m, 600, 0, &g);
    cr_assert_eq(v.form, VAL_ROARING);
    while (setval_count(&v) < 20000)
        add_int(&v, (int64_t)rng_next(&g));
    cr_assert_eq(v.form, VAL_TABLE);
    for (int64_t i = 0; i < 600; i++)
        cr_assert(has_int(&v, i));
    val_destroy(&v);
}

/* A part costs four times as much as a row, and a new one moves the others: there are not many. */
Test(setval, inv9_integers_without_a_part_lie_beside_the_bitmaps) {
    enum { DENSE = 70000, SPREAD = 10000 };
    struct mem m = {0};
    struct rng g;
    struct val v;
    int64_t *spread = calloc(SPREAD, sizeof(*spread));
    rng_seed(&g, 20);
    fill(&v, &m, DENSE, 0, &g);
    size_t before = val_bytes(&v);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < SPREAD; i++) {
            spread[i] = (int64_t)rng_next(&g);
            add_int(&v, spread[i]);
            add_int(&v, spread[i / 2]); /* is there */
        }
        const struct roaring *r = setval_roaring(&v);
        cr_assert_eq(v.form, VAL_ROARING);
        cr_assert_eq(r->parts, SETVAL_PARTS_MAX);
        cr_assert_eq(setval_count(&v), DENSE + SPREAD);
        cr_assert_eq(r->ints, DENSE + SETVAL_PARTS_MAX - 1);
        cr_assert_lt(val_bytes(&v) - before, SPREAD * 75);
        cr_assert_eq(m.used_bytes, (int64_t)val_bytes(&v));
        add_int(&v, spread[0] ^ 1); /* joins a part that is there */
        cr_assert_eq(r->ints, DENSE + SETVAL_PARTS_MAX);
        cr_assert_eq(r->rest->count, SPREAD - SETVAL_PARTS_MAX + 1);
        cr_assert(remove_int(&v, spread[0] ^ 1));
        for (unsigned i = SPREAD; i-- > 0;) {
            cr_assert(has_int(&v, spread[i]));
            cr_assert(remove_int(&v, spread[i]));
            cr_assert_not(remove_int(&v, spread[i]));
            cr_assert_not(has_int(&v, spread[i]));
        }
        cr_assert_eq(r->parts, 1);
        cr_assert_null(r->rest);
        cr_assert_eq(setval_count(&v), DENSE);
        cr_assert_leq(val_bytes(&v), before + 200);
    }
    free(spread);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

/* Up to SETVAL_TURN_MAX members it is looked at whether bitmaps pay; integers beside them count, too. */
Test(setval, inv9_small_sets_of_many_parts_become_a_table) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    rng_seed(&g, 21);
    fill(&v, &m, 5000, 0, &g);
    while (setval_count(&v) < 5000 + SETVAL_PARTS_MAX + 100)
        add_int(&v, (int64_t)rng_next(&g));
    cr_assert_eq(v.form, VAL_ROARING);
    cr_assert_not_null(setval_roaring(&v)->rest);
    while (setval_count(&v) < 17000)
        add_int(&v, (int64_t)rng_next(&g));
    cr_assert_eq(v.form, VAL_TABLE);
    for (int64_t i = 0; i < 5000; i++)
        cr_assert(has_int(&v, i));
    val_destroy(&v);
    /* pairs of them: dense, but in too many parts */
    fill(&v, &m, 0, 0, &g);
    for (int64_t i = 0; i < 40000; i++)
        add_int(&v, ((i / 2) << 32) + i % 2);
    cr_assert_eq(v.form, VAL_TABLE);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(setval, memory_goes_down_when_members_go) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    struct set_draw d;
    struct lp_item item;
    rng_seed(&g, 3);
    fill(&v, &m, 200000, 1000000, &g);
    size_t full = val_bytes(&v);
    while (setval_count(&v) > 2000) {
        setval_draw_begin(&d, &v, &usual, START_MS);
        cr_assert(setval_draw(&d, &g, &item));
        cr_assert(setval_take(&v, &usual, &item, START_MS));
    }
    cr_assert_lt(val_bytes(&v), full / 10);
    cr_assert_eq(m.used_bytes, (int64_t)val_bytes(&v));
    val_destroy(&v);
}

Test(setval, inv7_taking_out_needs_no_memory) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    struct set_draw d;
    struct lp_item item;
    rng_seed(&g, 4);
    fill(&v, &m, 100000, 300000, &g);
    m.fail_in = m.fail_every = 1;
    for (uint64_t left = setval_count(&v); left > 0; left--) {
        setval_draw_begin(&d, &v, &usual, START_MS);
        cr_assert_eq(d.ints, left);
        cr_assert(setval_draw(&d, &g, &item));
        cr_assert(setval_take(&v, &usual, &item, START_MS));
    }
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

/* An intset keeps the width of its integers when they have gone. */
Test(setval, an_intset_that_was_emptied_takes_others) {
    struct mem m = {0};
    struct val v;
    uint64_t added;
    const struct span wide = SPAN("9223372036854775807");
    const struct span some[] = {SPAN("1"), SPAN("2"), SPAN("3"), SPAN("4"), SPAN("5"), SPAN("6")};
    val_init(&v, &m, VALUE_SET);
    cr_assert(setval_add(&v, &usual, &wide, 1, START_MS, &added));
    cr_assert(setval_remove(&v, &usual, wide, START_MS));
    cr_assert(setval_add(&v, &usual, some, 6, START_MS, &added));
    cr_assert_eq(added, 6);
    cr_assert_leq(v.len, v.cap);
    for (unsigned i = 0; i < 6; i++)
        cr_assert(setval_find(&v, &usual, some[i], START_MS, NULL));
    val_destroy(&v);
}

Test(setval, is_freed_in_slices) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    struct span text = SPAN("and a text");
    uint64_t added;
    rng_seed(&g, 5);
    fill(&v, &m, 60000, 1000000000, &g);
    cr_assert(setval_add(&v, &usual, &text, 1, START_MS, &added));
    cr_assert_eq(v.form, VAL_ROARING);
    struct object *o = val_object(&v);
    unsigned slices = 1, budget = 100;
    uint32_t weight = o->weight;
    for (; !val_ops_of(v.form)->destroy_some(&m, o, &budget); budget = 100)
        slices++;
    cr_assert_geq(slices, weight / 100);
    cr_assert_leq(slices, weight / 90 + 3);
    cr_assert_eq(m.used_bytes, 0);
}

/* --- in steps --- */

struct seen {
    bool *name;
    uint64_t visits;
};

static void see(void *arg, const struct lp_item *i) {
    struct seen *s = arg;
    int64_t num = i->num;
    s->visits++;
    if (i->str == NULL || strval_parse_int((struct span){i->str, i->len}, &num))
        if (num >= 0 && num < 200000)
            s->name[num] = true;
}

/* inv of fields.h (6): what was there all the time is seen, though the form changes in the middle. */
static void scan_while_it_changes(struct val *v, int64_t step, uint64_t grow_to,
                                  int64_t grow_step) {
    bool *name = calloc(200000, sizeof(*name));
    struct seen s = {name, 0};
    uint64_t cursor = 0, before = setval_count(v), calls = 0;
    uint8_t form = v->form;
    do {
        cursor = setval_scan(v, &usual, cursor, 10, START_MS, see, &s);
        if (++calls == 5)
            for (int64_t i = 0; setval_count(v) < grow_to; i++)
                add_int(v, 1000000 + i * grow_step);
        cr_assert_lt(calls, 100000);
    } while (cursor != 0);
    cr_assert_neq(v->form, form);
    for (uint64_t i = 0; i < before; i++)
        cr_assert(s.name[i * (uint64_t)step], "%lu was not seen", i);
    free(name);
}

Test(setval, scan_sees_all_when_a_table_becomes_bitmaps_and_back) {
    struct mem m = {0};
    struct val v;
    val_init(&v, &m, VALUE_SET);
    for (int64_t i = 0; i < 700; i++)
        add_int(&v, i < 20 ? i : i * 1000003);
    cr_assert_eq(v.form, VAL_TABLE);
    /* the first 20 are what is looked for */
    bool *name = calloc(200000, sizeof(*name));
    struct seen s = {name, 0};
    uint64_t cursor = setval_scan(&v, &usual, 0, 10, START_MS, see, &s);
    cr_assert_neq(cursor, 0);
    for (int64_t i = 100; i < 9000; i++)
        add_int(&v, i);
    cr_assert_eq(v.form, VAL_ROARING);
    while (cursor != 0)
        cursor = setval_scan(&v, &usual, cursor, 10, START_MS, see, &s);
    for (int64_t i = 0; i < 20; i++)
        cr_assert(name[i]);
    free(name);
    val_destroy(&v);

    val_init(&v, &m, VALUE_SET);
    for (int64_t i = 0; i < 600; i++)
        add_int(&v, i);
    cr_assert_eq(v.form, VAL_ROARING);
    scan_while_it_changes(&v, 1, 9000, 1LL << 20);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(setval, scan_walks_bitmaps_in_steps_of_about_count) {
    struct mem m = {0};
    struct rng g;
    struct val v;
    bool *name = calloc(200000, sizeof(*name));
    struct seen s = {name, 0};
    uint64_t cursor = 0, calls = 0, added;
    rng_seed(&g, 10);
    fill(&v, &m, 10000, 200000, &g);
    for (unsigned i = SMALL; i < SMALL + 72; i++)
        cr_assert(setval_add(&v, &usual, &names[i], 1, START_MS, &added));
    cr_assert(setval_add(&v, &usual, &names[NAMES - 200], 200, START_MS, &added));
    cr_assert_eq(v.form, VAL_ROARING);
    do {
        uint64_t before = s.visits;
        cursor = setval_scan(&v, &usual, cursor, 10, START_MS, see, &s);
        cr_assert_leq(s.visits - before, 10 + 3 + 30);
        calls++;
    } while (cursor != 0);
    cr_assert_eq(s.visits, setval_count(&v));
    cr_assert_geq(calls, setval_count(&v) / 13 / 2);
    for (int64_t i = 0; i < 200000; i++)
        cr_assert_eq(name[i], has_int(&v, i));
    /* whatever a client sends */
    for (int i = 0; i < 2000; i++)
        (void)setval_scan(&v, &usual, rng_next(&g), 10, START_MS, see, &s);
    free(name);
    val_destroy(&v);
}
