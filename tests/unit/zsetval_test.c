#include "../../src/types/btree_impl.h"
#include "anax/zsetval.h"
#include "shards/assert.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A model: an array in order. */
enum { MODEL_MAX = 4096, LONG_MEMBER = 300 };
struct model_item {
    char member[LONG_MEMBER];
    size_t len;
    double score;
};
struct model {
    struct model_item items[MODEL_MAX];
    size_t count;
};

static struct mem mem;
static struct rng rng;
static struct model *model, *backup;
static const struct zset_kind kind = {.entries_max = 16, .bytes_max = 64};
static const struct zset_kind kind_large = {.entries_max = 100000, .bytes_max = 10000};

static void setup(void) {
    uint64_t seed = 7;
    cr_assert_eq(hash_seed(&seed), OK);
    rng_seed(&rng, 42);
    mem = (struct mem){0};
    model = calloc(1, sizeof *model);
    backup = calloc(1, sizeof *backup);
    cr_assert_not_null(model);
    cr_assert_not_null(backup);
}

static void teardown(void) {
    free(model);
    free(backup);
}

TestSuite(zsetval, .init = setup, .fini = teardown);

static struct span text_of(const struct model_item *i) {
    return (struct span){i->member, i->len};
}

static size_t model_find(const struct model *m, struct span member) {
    size_t i = 0;
    while (i < m->count && !span_eq(text_of(&m->items[i]), member))
        i++;
    return i;
}

static void model_remove(struct model *m, size_t at, size_t n) {
    memmove(&m->items[at], &m->items[at + n], (m->count - at - n) * sizeof m->items[0]);
    m->count -= n;
}

static void model_put(struct model *m, struct span member, double score) {
    size_t at = model_find(m, member);
    if (at < m->count)
        model_remove(m, at, 1);
    for (at = 0; at < m->count; at++)
        if (zsetval_order(m->items[at].score, text_of(&m->items[at]), score, member) > 0)
            break;
    memmove(&m->items[at + 1], &m->items[at], (m->count - at) * sizeof m->items[0]);
    m->items[at].len = member.len;
    memcpy(m->items[at].member, member.ptr, member.len);
    m->items[at].score = score;
    m->count++;
}

/* model_add: what ZADD does to one pair. */
static enum zset_outcome model_add(struct model *m, unsigned flags, struct zset_pair *p) {
    size_t at = model_find(m, p->member);
    bool there = at < m->count;
    double is = there ? m->items[at].score : 0, score = p->score;
    if (there ? flags & ZSET_NX : flags & ZSET_XX)
        return ZSET_NOP;
    if (there && flags & ZSET_INCR)
        score += is;
    if (isnan(score))
        return ZSET_NAN;
    if (there && ((flags & ZSET_GT && !(score > is)) || (flags & ZSET_LT && !(score < is))))
        return ZSET_NOP;
    if (there && score == is)
        return ZSET_SAME;
    model_put(m, p->member, score);
    p->score = score;
    return there ? ZSET_UPDATED : ZSET_ADDED;
}

/* --- comparing --- */

static void check_item(const struct zset_item *item, const struct model_item *want) {
    cr_assert(span_eq(item->member, text_of(want)), "%.*s, not %.*s", (int)item->member.len,
              item->member.ptr, (int)want->len, want->member);
    cr_assert(item->score == want->score, "%.*s: %.17g, not %.17g", (int)want->len, want->member,
              item->score, want->score);
}

static void check_all(const struct val *v, const struct model *m) {
    struct zset_iter i;
    struct zset_item item;
    size_t n = 0;
    cr_assert_eq(zsetval_count(v), m->count);
    for (zsetval_begin(&i, v, 0, false); zsetval_next(&i, &item); n++)
        check_item(&item, &m->items[n]);
    cr_assert_eq(n, m->count);
    n = 0;
    for (zsetval_begin(&i, v, m->count - 1, true); zsetval_next(&i, &item); n++)
        check_item(&item, &m->items[m->count - 1 - n]);
    cr_assert_eq(n, m->count);
    if (v->form == VAL_TREE)
        btree_check((const struct btree *)v->big);
    cr_assert_eq(val_bytes(v), (size_t)mem.used_bytes);
}

/* check_some: one of everything that can be asked. */
static void check_some(const struct val *v, const struct model *m, struct span member,
                       double score) {
    size_t at = model_find(m, member);
    uint64_t rank;
    double is;
    cr_assert_eq(zsetval_score(v, member, &is), at < m->count);
    if (at < m->count)
        cr_assert(is == m->items[at].score);
    bool reverse = rng_below(&rng, 2);
    cr_assert_eq(zsetval_rank(v, member, reverse, &rank, &is), at < m->count);
    if (at < m->count) {
        cr_assert_eq(rank, reverse ? m->count - 1 - at : at);
        cr_assert(is == m->items[at].score);
    }
    size_t below = 0, not_above = 0;
    for (size_t i = 0; i < m->count; i++) {
        below += m->items[i].score < score;
        not_above += m->items[i].score <= score;
    }
    cr_assert_eq(zsetval_rank_of_score(v, score, false), below);
    cr_assert_eq(zsetval_rank_of_score(v, score, true), not_above);
    struct zset_item item;
    at = rng_below(&rng, m->count + 2);
    cr_assert_eq(zsetval_at(v, at, &item), at < m->count);
    if (at < m->count)
        check_item(&item, &m->items[at]);
}

/* --- random operations --- */

enum scores { FEW_SCORES, ANY_SCORES, ONE_SCORE };

static double random_score(enum scores s) {
    static const double odd[] = {0,   -0.0, INFINITY, -INFINITY, 1e300, -1e-300, 0.1,
                                 3.5, 1e20, 5e-324,   0x1p62,    1e15,  -0x1p62};
    switch (s) {
    case ONE_SCORE:
        return 7;
    case FEW_SCORES:
        return rng_below(&rng, 4) ? (double)rng_below(&rng, 12)
                                  : odd[rng_below(&rng, COUNT_OF(odd))];
    default:
        return (double)rng_below(&rng, 1000000) / 16 - 20000;
    }
}

static struct span random_member(unsigned names, char text[LONG_MEMBER]) {
    unsigned n = (unsigned)rng_below(&rng, names);
    size_t len;
    if (n % 31 == 7) {
        len = 60 + n % 200;
        memset(text, 'x', len);
        len -= (size_t)snprintf(text, 16, "%u", n) % 3;
    } else if (n % 5 == 1) {
        len = (size_t)snprintf(text, LONG_MEMBER, "common-beginning-%u", n);
    } else if (n % 5 == 2) {
        len = (size_t)snprintf(text, LONG_MEMBER, "m%c%c%u", 0, 0, n);
    } else {
        len = (size_t)snprintf(text, LONG_MEMBER, "%u", n);
    }
    return (struct span){text, len};
}

static void random_add(struct val *v, struct model *m, const struct zset_kind *k, unsigned names,
                       enum scores scores) {
    static const unsigned flags_of[] = {
        0, 0, 0, 0, ZSET_NX, ZSET_XX, ZSET_GT, ZSET_LT, ZSET_XX | ZSET_GT};
    enum { PAIRS = 24 };
    struct zset_pair pairs[PAIRS], want[PAIRS];
    char texts[PAIRS][LONG_MEMBER];
    size_t n = rng_below(&rng, 3) ? 1 : 1 + rng_below(&rng, PAIRS);
    unsigned flags = flags_of[rng_below(&rng, COUNT_OF(flags_of))];
    if (n == 1 && rng_below(&rng, 4) == 0)
        flags |= ZSET_INCR;
    for (size_t i = 0; i < n; i++) {
        pairs[i].member =
            random_member(i > 0 && rng_below(&rng, 4) ? names : names / 16 + 1, texts[i]);
        pairs[i].score = random_score(scores);
        want[i] = pairs[i];
    }
    *backup = *m;
    for (size_t i = 0; i < n; i++)
        want[i].outcome = model_add(m, flags, &want[i]);
    struct zset_added sum;
    int64_t used = mem.used_bytes;
    size_t bytes = val_bytes(v);
    if (rng_below(&rng, 3) == 0)
        mem.fail_in = 1 + rng_below(&rng, 4);
    bool added = zsetval_add(v, k, flags, pairs, n, &sum);
    mem.fail_in = 0;
    if (!added) {
        *m = *backup;
        cr_assert_eq(mem.used_bytes - used, (int64_t)val_bytes(v) - (int64_t)bytes);
        check_all(v, m);
        return;
    }
    uint64_t news = 0, updates = 0;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(pairs[i].outcome, want[i].outcome, "%zu: %d, not %d", i, pairs[i].outcome,
                     want[i].outcome);
        if (want[i].outcome == ZSET_ADDED || want[i].outcome == ZSET_UPDATED)
            cr_assert(pairs[i].score == want[i].score);
        news += want[i].outcome == ZSET_ADDED;
        updates += want[i].outcome == ZSET_UPDATED;
    }
    cr_assert_eq(sum.added, news);
    cr_assert_eq(sum.updated, updates);
    cr_assert_eq(sum.nan, n == 1 && want[0].outcome == ZSET_NAN);
}

static void random_take(struct val *v, struct model *m, unsigned names) {
    char text[LONG_MEMBER];
    if (m->count > 0 && rng_below(&rng, 8) == 0) {
        size_t from = rng_below(&rng, m->count), n = rng_below(&rng, m->count / 3 + 2);
        n = n < m->count - from ? n : m->count - from;
        zsetval_remove_range(v, from, from + n);
        model_remove(m, from, n);
        return;
    }
    struct span member = random_member(names, text);
    size_t at = model_find(m, member);
    if (m->count > 0 && rng_below(&rng, 2)) {
        at = rng_below(&rng, m->count);
        memcpy(text, m->items[at].member, m->items[at].len);
        member = (struct span){text, m->items[at].len};
    }
    cr_assert_eq(zsetval_remove(v, member), at < m->count);
    if (at < m->count)
        model_remove(m, at, 1);
}

static void run_model(const struct zset_kind *k, unsigned names, unsigned steps,
                      enum scores scores) {
    struct val v;
    char text[LONG_MEMBER];
    val_init(&v, &mem, VALUE_ZSET);
    for (unsigned step = 0; step < steps; step++) {
        bool fill = step / 300 % 3 != 2;
        if (rng_below(&rng, 10) < (fill ? 7 : 2))
            random_add(&v, model, k, names, scores);
        else if (v.form != VAL_NONE)
            random_take(&v, model, names);
        struct span member = random_member(names, text);
        check_some(&v, model, member, random_score(scores));
        if (v.form == VAL_TREE)
            btree_check((const struct btree *)v.big);
        if (step % 16 == 0)
            check_all(&v, model);
        if (v.form == VAL_LISTPACK)
            cr_assert_leq(model->count, k->entries_max);
    }
    check_all(&v, model);
    val_destroy(&v);
    cr_assert_eq(mem.used_bytes, 0);
}

Test(zsetval, small_is_like_its_model) {
    run_model(&kind_large, 40, 6000, FEW_SCORES);
}
Test(zsetval, small_becomes_a_tree) {
    for (unsigned i = 0; i < 60; i++) {
        *model = (struct model){0};
        run_model(&kind, 60, 60, FEW_SCORES);
    }
}
Test(zsetval, tree_is_like_its_model_with_equal_scores) {
    run_model(&kind, 1500, 4000, FEW_SCORES);
}
Test(zsetval, tree_is_like_its_model_with_any_scores) {
    run_model(&kind, 3000, 4000, ANY_SCORES);
}
Test(zsetval, tree_is_like_its_model_with_one_score) {
    run_model(&kind, 1500, 3000, ONE_SCORE);
}

/* --- all or nothing --- */

static void fill(struct val *v, const struct zset_kind *k, unsigned n, enum scores scores) {
    struct zset_added sum;
    char text[LONG_MEMBER];
    for (unsigned i = 0; i < n; i++) {
        struct zset_pair p = {.member = random_member(4 * n, text), .score = random_score(scores)};
        model_put(model, p.member, p.score);
        cr_assert(zsetval_add(v, k, 0, &p, 1, &sum));
    }
}

/* Every allocation of one large addition fails once, members that change their score several times included. */
static void fail_everywhere(const struct zset_kind *k, unsigned n, bool is_tree) {
    enum { PAIRS = 120 };
    struct zset_pair pairs[PAIRS];
    static char texts[PAIRS][LONG_MEMBER];
    struct zset_added sum;
    struct val v;
    unsigned failed = 0;
    val_init(&v, &mem, VALUE_ZSET);
    fill(&v, k, n, FEW_SCORES);
    for (unsigned round = 0; round < 12; round++) {
        for (uint64_t fail_in = 1;; fail_in++) {
            for (size_t i = 0; i < PAIRS; i++) {
                bool again = i > 0 && rng_below(&rng, 3) == 0;
                pairs[i].member =
                    again ? pairs[rng_below(&rng, i)].member : random_member(4 * n, texts[i]);
                pairs[i].score = random_score(FEW_SCORES);
            }
            mem.fail_in = fail_in;
            bool added = zsetval_add(&v, k, 0, pairs, PAIRS, &sum);
            bool reached = mem.fail_in == 0;
            mem.fail_in = 0;
            if (added) {
                for (size_t i = 0; i < PAIRS; i++)
                    model_put(model, pairs[i].member, pairs[i].score);
            } else {
                failed++;
            }
            check_all(&v, model);
            if (!reached)
                break;
        }
    }
    cr_assert_gt(failed, is_tree ? 50 : 1);
    cr_assert_eq(v.form, is_tree ? VAL_TREE : VAL_LISTPACK);
    val_destroy(&v);
    cr_assert_eq(mem.used_bytes, 0);
}

Test(zsetval, val_inv2_all_or_none_in_a_tree) {
    fail_everywhere(&kind, 300, true);
}
Test(zsetval, val_inv2_all_or_none_in_a_listpack) {
    fail_everywhere(&kind_large, 30, false);
}

Test(zsetval, a_conversion_that_fails_changes_nothing) {
    struct zset_added sum;
    struct val v;
    val_init(&v, &mem, VALUE_ZSET);
    struct zset_pair p = {.member = SPAN("a"), .score = 1};
    cr_assert(zsetval_add(&v, &kind, 0, &p, 1, &sum));
    model_put(model, p.member, 1);
    char text[65];
    memset(text, 'l', sizeof text);
    p = (struct zset_pair){.member = {text, 65}, .score = 0.5};
    uint64_t fails = 0;
    for (;;) {
        mem.fail_in = ++fails;
        bool added = zsetval_add(&v, &kind, 0, &p, 1, &sum);
        mem.fail_in = 0;
        if (added)
            break;
        cr_assert_eq(v.form, VAL_LISTPACK);
        check_all(&v, model);
    }
    cr_assert_gt(fails, 4);
    cr_assert_eq(v.form, VAL_TREE);
    model_put(model, p.member, 0.5);
    check_all(&v, model);
    val_destroy(&v);
}

/* --- forms --- */

Test(zsetval, forms_follow_the_thresholds) {
    struct zset_pair pairs[40];
    char texts[40][8];
    struct zset_added sum;
    struct val v;
    val_init(&v, &mem, VALUE_ZSET);
    /* 40 pairs of 10 members stay a listpack of at most 16, and so do 16 members. */
    for (unsigned i = 0; i < 40; i++)
        pairs[i] = (struct zset_pair){
            .member = {texts[i], (size_t)snprintf(texts[i], 8, "%u", i % 10)}, .score = i};
    cr_assert(zsetval_add(&v, &kind, 0, pairs, 40, &sum));
    cr_assert_eq(v.form, VAL_LISTPACK);
    cr_assert_eq(sum.added, 10);
    cr_assert_eq(sum.updated, 30);
    for (unsigned i = 0; i < 40; i++)
        pairs[i] = (struct zset_pair){
            .member = {texts[i], (size_t)snprintf(texts[i], 8, "%u", i % 16)}, .score = 1};
    cr_assert(zsetval_add(&v, &kind, 0, pairs, 16, &sum));
    cr_assert_eq(v.form, VAL_LISTPACK);
    cr_assert_eq(zsetval_count(&v), 16);
    /* A member may be as long as the threshold. One that is longer and not added makes no tree. */
    char text[65];
    memset(text, 'l', sizeof text);
    cr_assert(zsetval_remove(&v, SPAN("1")));
    struct zset_pair p = {.member = {text, 64}, .score = 1};
    cr_assert(zsetval_add(&v, &kind, 0, &p, 1, &sum));
    cr_assert_eq(p.outcome, ZSET_ADDED);
    cr_assert_eq(v.form, VAL_LISTPACK);
    p = (struct zset_pair){.member = {text, 65}, .score = 1};
    cr_assert(zsetval_add(&v, &kind, ZSET_XX, &p, 1, &sum));
    cr_assert_eq(p.outcome, ZSET_NOP);
    cr_assert_eq(v.form, VAL_LISTPACK);
    p = (struct zset_pair){.member = SPAN("one more"), .score = 1};
    cr_assert(zsetval_add(&v, &kind, 0, &p, 1, &sum));
    cr_assert_eq(v.form, VAL_TREE);
    /* It stays one. */
    zsetval_remove_range(&v, 1, 100);
    cr_assert_eq(zsetval_count(&v), 1);
    cr_assert_eq(v.form, VAL_TREE);
    zsetval_remove_range(&v, 0, 100);
    cr_assert_eq(zsetval_count(&v), 0);
    btree_check((const struct btree *)v.big);
    val_destroy(&v);
    cr_assert_eq(mem.used_bytes, 0);
}

Test(zsetval, nothing_is_made_of_nothing) {
    struct zset_added sum;
    struct val v;
    struct zset_item item;
    struct zset_iter i;
    uint64_t rank;
    double score;
    val_init(&v, &mem, VALUE_ZSET);
    struct zset_pair p = {.member = SPAN("a"), .score = 1};
    cr_assert(zsetval_add(&v, &kind, ZSET_XX, &p, 1, &sum));
    cr_assert_eq(p.outcome, ZSET_NOP);
    cr_assert_eq(v.form, VAL_NONE);
    cr_assert(zsetval_build(&v, &kind, NULL, 0));
    cr_assert_eq(v.form, VAL_NONE);
    cr_assert_eq(zsetval_count(&v), 0);
    cr_assert_not(zsetval_score(&v, p.member, &score));
    cr_assert_not(zsetval_rank(&v, p.member, false, &rank, NULL));
    cr_assert_not(zsetval_at(&v, 0, &item));
    cr_assert_not(zsetval_random(&v, &rng, &item));
    cr_assert_not(zsetval_remove(&v, p.member));
    zsetval_remove_range(&v, 0, 5);
    zsetval_begin(&i, &v, 0, false);
    cr_assert_not(zsetval_next(&i, &item));
    cr_assert_eq(zsetval_rank_of_score(&v, 0, true), 0);
    cr_assert_eq(zsetval_rank_of_lex(&v, p.member, true), 0);
    cr_assert_eq(zsetval_scan(&v, 0, 10, NULL, NULL), 0);
    cr_assert_eq(mem.used_bytes, 0);
}

/* As Redis lays it out: whole scores are integers, -0 is 0, others their shortest text. */
Test(zsetval, a_listpack_has_redis_bytes) {
    static const uint8_t want[] = {32, 0,    0,   0,   8,    0,   0x84, '-',  'i', 'n', 'f',
                                   5,  0x84, '-', 'i', 'n',  'f', 5,    0x81, 'z', 2,   0,
                                   1,  0x81, 'a', 2,   0x83, '3', '.',  '1',  4,   0xff};
    struct zset_pair pairs[] = {{.member = SPAN("a"), .score = 3.1},
                                {.member = SPAN("z"), .score = -0.0},
                                {.member = SPAN("-inf"), .score = -INFINITY}};
    struct zset_added sum;
    struct val v;
    val_init(&v, &mem, VALUE_ZSET);
    cr_assert(zsetval_add(&v, &kind, 0, pairs, 3, &sum));
    /* 3 elements */
    cr_assert_eq(v.bytes[4], 6);
    cr_assert_eq(v.len, sizeof want);
    cr_assert_eq(memcmp(v.bytes + 6, want + 6, sizeof want - 6), 0);
    val_destroy(&v);
}

/* --- bounds by member, with one score --- */

Test(zsetval, rank_of_lex_counts_what_is_below) {
    for (unsigned n = 5; n <= 1500; n *= 17) {
        struct val v;
        char text[LONG_MEMBER];
        *model = (struct model){0};
        val_init(&v, &mem, VALUE_ZSET);
        fill(&v, &kind, n, ONE_SCORE);
        for (unsigned i = 0; i < 500; i++) {
            struct span member = random_member(8 * n, text);
            size_t below = 0, not_above = 0;
            for (size_t k = 0; k < model->count; k++) {
                int order = span_order(text_of(&model->items[k]), member);
                below += order < 0;
                not_above += order <= 0;
            }
            cr_assert_eq(zsetval_rank_of_lex(&v, member, false), below);
            cr_assert_eq(zsetval_rank_of_lex(&v, member, true), not_above);
        }
        val_destroy(&v);
    }
}

/* --- scan --- */

enum { STAYING = 700 };
static unsigned seen[STAYING];

/* number_of: of "stay-<number>", -1: it is another one. */
static int number_of(struct span member) {
    int n = 0;
    if (member.len < 6 || memcmp(member.ptr, "stay-", 5) != 0)
        return -1;
    for (size_t i = 5; i < member.len; i++)
        n = n * 10 + member.ptr[i] - '0';
    return n;
}

static void see(void *arg, const struct zset_item *e) {
    uint64_t *visited = arg;
    ++*visited;
    if (number_of(e->member) >= 0)
        seen[number_of(e->member)]++;
}

static struct span staying(unsigned i, char text[LONG_MEMBER]) {
    return (struct span){text, (size_t)snprintf(text, LONG_MEMBER, "stay-%u", i)};
}

Test(zsetval, inv6_scan_returns_all_that_stays) {
    struct zset_added sum;
    char text[LONG_MEMBER];
    for (unsigned round = 0; round < 40; round++) {
        struct val v;
        val_init(&v, &mem, VALUE_ZSET);
        for (unsigned i = 0; i < STAYING; i++) {
            struct zset_pair p = {.member = staying(i, text), .score = random_score(ANY_SCORES)};
            cr_assert(zsetval_add(&v, &kind, 0, &p, 1, &sum));
        }
        memset(seen, 0, sizeof seen);
        uint64_t cursor = 0, visited = 0, steps = 0;
        bool growing = round % 2;
        do {
            cursor = zsetval_scan(&v, cursor, 1 + rng_below(&rng, 20), see, &visited);
            for (unsigned i = rng_below(&rng, 60) & 63; i > 0; i--) {
                struct zset_pair p = {.score = random_score(ANY_SCORES)};
                p.member = rng_below(&rng, 2) ? staying((unsigned)rng_below(&rng, STAYING), text)
                                              : random_member(3000, text);
                bool stays = text[0] == 's';
                if (stays || rng_below(&rng, 10) < (growing ? 8 : 2))
                    cr_assert(zsetval_add(&v, &kind, stays ? ZSET_XX : 0, &p, 1, &sum));
                else
                    (void)zsetval_remove(&v, p.member);
            }
            if (steps == 20)
                growing = !growing;
            cr_assert_lt(++steps, 20000);
        } while (cursor != 0);
        for (unsigned i = 0; i < STAYING; i++)
            cr_assert_gt(seen[i], 0, "round %u: %u", round, i);
        val_destroy(&v);
    }
}

Test(zsetval, scan_at_rest_visits_each_once) {
    struct zset_added sum;
    char text[LONG_MEMBER];
    struct val v;
    val_init(&v, &mem, VALUE_ZSET);
    for (unsigned i = 0; i < STAYING; i++) {
        struct zset_pair p = {.member = staying(i, text), .score = 1};
        cr_assert(zsetval_add(&v, &kind, 0, &p, 1, &sum));
    }
    uint64_t cursor = 0, visited = 0;
    memset(seen, 0, sizeof seen);
    do
        cursor = zsetval_scan(&v, cursor, 10, see, &visited);
    while (cursor != 0);
    cr_assert_eq(visited, STAYING);
    for (unsigned i = 0; i < STAYING; i++)
        cr_assert_eq(seen[i], 1);
    cr_assert_eq(zsetval_scan(&v, UINT64_MAX, 10, see, &visited), 0);
    cr_assert_eq(visited, STAYING);
    val_destroy(&v);
}

/* --- random --- */

Test(zsetval, random_is_fair) {
    enum { MEMBERS = 200, DRAWS = MEMBERS * 500 };
    static unsigned drawn[MEMBERS];
    for (unsigned form = 0; form < 2; form++) {
        struct zset_added sum;
        char text[LONG_MEMBER];
        struct val v;
        struct zset_item item;
        val_init(&v, &mem, VALUE_ZSET);
        for (unsigned i = 0; i < MEMBERS; i++) {
            struct zset_pair p = {.member = staying(i, text), .score = i / 3};
            cr_assert(zsetval_add(&v, form ? &kind : &kind_large, 0, &p, 1, &sum));
        }
        memset(drawn, 0, sizeof drawn);
        for (unsigned i = 0; i < DRAWS; i++) {
            cr_assert(zsetval_random(&v, &rng, &item));
            drawn[number_of(item.member)]++;
        }
        double chi = 0;
        for (unsigned i = 0; i < MEMBERS; i++)
            chi += (drawn[i] - 500.0) * (drawn[i] - 500.0) / 500;
        /* 199 degrees of freedom: mean 199, deviation 20. */
        cr_assert_lt(chi, 299);
        cr_assert_gt(chi, 99);
        val_destroy(&v);
    }
}

/* --- whole sets --- */

Test(zsetval, sort_orders) {
    static struct zset_pair pairs[5000];
    static char texts[5000][8];
    for (size_t n = 0; n < 5000; n = n * 3 / 2 + 1)
        for (unsigned shape = 0; shape < 5; shape++) {
            double sum = 0, sorted_sum = 0;
            for (size_t i = 0; i < n; i++) {
                double score = shape == 0   ? (double)rng_below(&rng, n)
                               : shape == 1 ? (double)i
                               : shape == 2 ? (double)(n - i)
                               : shape == 3 ? 1
                                            : (double)(i % 2 ? i : n - i);
                pairs[i].member =
                    (struct span){texts[i], (size_t)snprintf(texts[i], 8, "%u",
                                                             (unsigned)rng_below(&rng, 100000))};
                pairs[i].score = score;
                sum += score;
            }
            zsetval_sort(pairs, n);
            for (size_t i = 0; i < n; i++) {
                sorted_sum += pairs[i].score;
                if (i > 0)
                    cr_assert_leq(zsetval_order(pairs[i - 1].score, pairs[i - 1].member,
                                                pairs[i].score, pairs[i].member),
                                  0);
            }
            cr_assert(sum == sorted_sum);
        }
}

/* What makes the middle of three the second lowest every time: without another way out it would take 10^9 steps. */
Test(zsetval, sort_of_the_worst_order) {
    enum { N = 1 << 16, HALF = N / 2 };
    struct zset_pair *pairs = calloc(N, sizeof *pairs);
    cr_assert_not_null(pairs);
    for (size_t i = 1; i <= HALF; i++) {
        if (i % 2 == 1) {
            pairs[i - 1].score = (double)i;
            pairs[i].score = (double)(HALF + i);
        }
        pairs[HALF + i - 1].score = (double)(2 * i);
    }
    for (size_t i = 0; i < N; i++)
        pairs[i].member = SPAN("m");
    zsetval_sort(pairs, N);
    for (size_t i = 0; i < N; i++)
        cr_assert(pairs[i].score == (double)(i + 1), "%zu: %f", i, pairs[i].score);
    free(pairs);
}

Test(zsetval, build_and_copy_fail_without_a_trace) {
    enum { MEMBERS = 900 };
    static struct zset_pair pairs[MEMBERS];
    static char texts[MEMBERS][LONG_MEMBER];
    for (size_t n = 3; n <= MEMBERS; n *= 300) {
        *model = (struct model){0};
        for (size_t i = 0; i < n; i++) {
            size_t len = (size_t)snprintf(texts[i], LONG_MEMBER, "member-%zu", i);
            if (i % 100 == 99) {
                memset(texts[i] + len, '.', 200);
                len += 200;
            }
            pairs[i] =
                (struct zset_pair){.member = {texts[i], len}, .score = random_score(FEW_SCORES)};
            model_put(model, pairs[i].member, pairs[i].score);
        }
        zsetval_sort(pairs, n);
        struct val v, w;
        for (uint64_t fail_in = 1;; fail_in++) {
            val_init(&v, &mem, VALUE_ZSET);
            mem.fail_in = fail_in;
            if (zsetval_build(&v, &kind, pairs, n))
                break;
            cr_assert_eq(v.form, VAL_NONE);
            cr_assert_eq(mem.used_bytes, 0);
        }
        mem.fail_in = 0;
        check_all(&v, model);
        cr_assert_eq(v.form, n > 16 ? VAL_TREE : VAL_LISTPACK);
        int64_t used = mem.used_bytes;
        struct mem other = {0};
        for (uint64_t fail_in = 1;; fail_in++) {
            val_init(&w, &other, VALUE_ZSET);
            other.fail_in = fail_in;
            if (val_copy(&w, &v))
                break;
            cr_assert_eq(other.used_bytes, 0);
        }
        other.fail_in = 0;
        cr_assert_eq(mem.used_bytes, used);
        val_destroy(&v);
        cr_assert_eq(mem.used_bytes, 0);
        mem = other;
        w.mem = &mem;
        check_all(&w, model);
        struct zset_added sum;
        struct zset_pair p = {.member = SPAN("later"), .score = 3};
        cr_assert(zsetval_add(&w, &kind, 0, &p, 1, &sum));
        model_put(model, p.member, 3);
        check_all(&w, model);
        val_destroy(&w);
        cr_assert_eq(mem.used_bytes, 0);
    }
}
