/* zset_combine.c: see zset_algebra_impl.h.
 *
 * An intersection walks the smallest source and asks the others for each of its members. A union walks all of them, from
 * the smallest on, and finds in an index what it has met before. A difference does the one or the other, whichever
 * is less work: it asks the others for each member of the first, or gathers the first and strikes out what the others
 * have. Scores are added in the order of the sources' sizes, as Redis does, so that they round alike. */
#include "shards/assert.h"
#include "zset_algebra_impl.h"
#include <math.h>
#include <stdlib.h>

/* --- sources --- */

struct source_iter {
    const struct zset_source *source;
    struct zset_iter sorted;
    struct set_iter set;
};

static void source_begin(struct source_iter *i, const struct zset_algebra *a,
                         const struct zset_source *s) {
    i->source = s;
    if (s->count == 0)
        return;
    if (s->is_set)
        setval_begin(&i->set, &s->val, &a->set_kind, a->now_ms);
    else
        zsetval_begin(&i->sorted, &s->val, 0, false);
}

static bool source_next(struct source_iter *i, struct zset_item *out) {
    struct lp_item member;
    if (i->source->count == 0)
        return false;
    if (!i->source->is_set)
        return zsetval_next(&i->sorted, out);
    if (!setval_next(&i->set, &member))
        return false;
    out->member = lp_item_text(&member, out->digits);
    out->score = 1;
    return true;
}

static bool source_find(const struct zset_algebra *a, const struct zset_source *s,
                        struct span member, double *score) {
    if (s->count == 0)
        return false;
    if (!s->is_set)
        return zsetval_score(&s->val, member, score);
    *score = 1;
    return setval_find(&s->val, &a->set_kind, member, a->now_ms, NULL);
}

static int by_count(const void *x, const void *y) {
    const struct zset_source *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return a->arg < b->arg ? -1 : a->arg > b->arg;
}

static void smallest_first(const struct zset_algebra *a) {
    qsort(a->sources, a->n, sizeof(*a->sources), by_count);
}

/* --- scores --- */

static double weighted(const struct zset_algebra *a, const struct zset_source *s, double score) {
    return a->aggregate == ZSET_COUNT ? s->weight : s->weight * score;
}

/* or_zero: infinities that cancel out leave 0. */
static double or_zero(double score) {
    return isnan(score) ? 0 : score;
}

static double aggregated(enum zset_aggregate how, double score, double other) {
    switch (how) {
    case ZSET_MIN:
        return other < score ? other : score;
    case ZSET_MAX:
        return other > score ? other : score;
    case ZSET_SUM:
    case ZSET_COUNT:
        break;
    }
    return or_zero(score + other);
}

/* --- intersection --- */

/* in_all: whether the others have that member of the first; *score is aggregated. */
static bool in_all(const struct zset_algebra *a, struct span member, double *score) {
    double other;
    *score = or_zero(weighted(a, &a->sources[0], *score));
    for (uint32_t i = 1; i < a->n; i++) {
        if (!source_find(a, &a->sources[i], member, &other))
            return false;
        *score = aggregated(a->aggregate, *score, weighted(a, &a->sources[i], other));
    }
    return true;
}

static bool intersect(const struct zset_algebra *a, struct zset_pairs *to) {
    struct source_iter i;
    struct zset_item e;
    smallest_first(a);
    for (source_begin(&i, a, &a->sources[0]); source_next(&i, &e);)
        if (in_all(a, e.member, &e.score) && !zset_pairs_add_item(to, &e))
            return false;
    return true;
}

uint64_t zset_inter_count(struct zset_algebra *a, uint64_t limit) {
    struct source_iter i;
    struct zset_item e;
    uint64_t found = 0;
    smallest_first(a);
    for (source_begin(&i, a, &a->sources[0]); source_next(&i, &e);) {
        found += in_all(a, e.member, &e.score);
        if (found == limit && limit != 0)
            break;
    }
    return found;
}

/* --- an index of what was found, by member --- */

enum { INDEX_SLOTS_MIN = 64 };

struct index_slot {
    uint32_t hash;
    uint32_t pair; /* its place in the list, and 1; 0: free */
};
struct index {
    struct zset_pairs *pairs;
    struct index_slot *slots;
    size_t count; /* of slots, a power of two; more than half of them are free */
};

static void index_deinit(struct index *x) {
    mem_free(x->pairs->mem, x->slots, x->count * sizeof(*x->slots));
}

/* index_place: the slot of that member, or the free one where it belongs. */
static struct index_slot *index_place(const struct index *x, uint32_t hash, struct span member) {
    ASSERT(x->slots != NULL);
    size_t at = hash & (x->count - 1);
    for (; x->slots[at].pair != 0; at = (at + 1) & (x->count - 1)) {
        const struct index_slot *s = &x->slots[at];
        if (s->hash == hash && span_eq(x->pairs->list[s->pair - 1].member, member))
            break;
    }
    return &x->slots[at];
}

static bool index_resize(struct index *x, size_t count) {
    struct index_slot *slots = mem_zalloc(x->pairs->mem, count * sizeof(*slots));
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < x->count; i++) {
        if (x->slots[i].pair == 0)
            continue;
        size_t at = x->slots[i].hash & (count - 1);
        while (slots[at].pair != 0)
            at = (at + 1) & (count - 1);
        slots[at] = x->slots[i];
    }
    index_deinit(x);
    x->slots = slots;
    x->count = count;
    return true;
}

/* index_begin: for the pairs, and for at least n. */
static bool index_begin(struct index *x, struct zset_pairs *pairs, uint64_t n) {
    size_t count = INDEX_SLOTS_MIN;
    *x = (struct index){.pairs = pairs};
    while (count < 2 * n)
        count *= 2;
    return zset_pairs_reserve(pairs, n) && index_resize(x, count);
}

/* index_add: *pair is what was found before of that member; or NULL, and e was added. False: no memory. */
static bool index_add(struct index *x, const struct zset_item *e, struct zset_pair **pair) {
    struct zset_pairs *pairs = x->pairs;
    ASSERT(pairs->count < UINT32_MAX);
    if (2 * (pairs->count + 1) > x->count && !index_resize(x, 2 * x->count))
        return false;
    uint32_t hash = (uint32_t)hash_of(e->member);
    struct index_slot *s = index_place(x, hash, e->member);
    *pair = s->pair == 0 ? NULL : &pairs->list[s->pair - 1];
    if (*pair != NULL)
        return true;
    if (!zset_pairs_add_item(pairs, e))
        return false;
    *s = (struct index_slot){hash, (uint32_t)pairs->count};
    return true;
}

static struct zset_pair *index_find(const struct index *x, struct span member) {
    const struct index_slot *s = index_place(x, (uint32_t)hash_of(member), member);
    return s->pair == 0 ? NULL : &x->pairs->list[s->pair - 1];
}

/* --- union --- */

/* unite_last: of the only source that has anything: no member comes twice. */
static bool unite_last(const struct zset_algebra *a, struct zset_pairs *to) {
    const struct zset_source *s = &a->sources[a->n - 1];
    struct source_iter i;
    struct zset_item e;
    if (!zset_pairs_reserve(to, s->count))
        return false;
    for (source_begin(&i, a, s); source_next(&i, &e);) {
        e.score = or_zero(weighted(a, s, e.score));
        if (!zset_pairs_add_item(to, &e))
            return false;
    }
    return true;
}

static bool unite_source(const struct zset_algebra *a, const struct zset_source *s,
                         struct index *x) {
    struct source_iter i;
    struct zset_item e;
    struct zset_pair *before;
    for (source_begin(&i, a, s); source_next(&i, &e);) {
        e.score = or_zero(weighted(a, s, e.score));
        if (!index_add(x, &e, &before))
            return false;
        if (before != NULL)
            before->score = aggregated(a->aggregate, before->score, e.score);
    }
    return true;
}

static bool unite(const struct zset_algebra *a, struct zset_pairs *to) {
    smallest_first(a);
    if (a->n == 1 || a->sources[a->n - 2].count == 0)
        return unite_last(a, to);
    struct index x;
    bool done = index_begin(&x, to, a->sources[a->n - 1].count);
    for (uint32_t i = 0; i < a->n && done; i++)
        done = unite_source(a, &a->sources[i], &x);
    index_deinit(&x);
    return done;
}

/* --- difference --- */

static bool in_others(const struct zset_algebra *a, struct span member) {
    double score;
    for (uint32_t i = 1; i < a->n; i++)
        if (source_find(a, &a->sources[i], member, &score))
            return true;
    return false;
}

static bool subtract_asking(const struct zset_algebra *a, struct zset_pairs *to) {
    struct source_iter i;
    struct zset_item e;
    for (source_begin(&i, a, &a->sources[0]); source_next(&i, &e);)
        if (!in_others(a, e.member) && !zset_pairs_add_item(to, &e))
            return false;
    return true;
}

/* strike_out: marks by NaN, which no score is, what the others have, and closes the gaps. */
static void strike_out(const struct zset_algebra *a, const struct index *x) {
    struct zset_pairs *p = x->pairs;
    struct source_iter i;
    struct zset_item e;
    for (uint32_t at = 1; at < a->n; at++) {
        for (source_begin(&i, a, &a->sources[at]); source_next(&i, &e);) {
            struct zset_pair *found = index_find(x, e.member);
            if (found != NULL)
                found->score = NAN;
        }
    }
    size_t left = 0;
    for (size_t at = 0; at < p->count; at++)
        if (!isnan(p->list[at].score))
            p->list[left++] = p->list[at];
    p->count = left;
}

static bool subtract_striking(const struct zset_algebra *a, struct zset_pairs *to) {
    struct index x;
    struct source_iter i;
    struct zset_item e;
    struct zset_pair *before;
    bool done = index_begin(&x, to, a->sources[0].count);
    for (source_begin(&i, a, &a->sources[0]); done && source_next(&i, &e);)
        done = index_add(&x, &e, &before);
    if (done)
        strike_out(a, &x);
    index_deinit(&x);
    return done;
}

static bool subtract(const struct zset_algebra *a, struct zset_pairs *to) {
    uint64_t first = a->sources[0].count, others = 0;
    for (uint32_t i = 1; i < a->n; i++)
        others += a->sources[i].count;
    /* Half, since a member that is found is not asked for again. */
    bool striking = first / 2 * a->n > first + others;
    return (striking ? subtract_striking : subtract_asking)(a, to);
}

/* --- all of them --- */

static bool is_sorted(const struct zset_pairs *p) {
    for (size_t i = 1; i < p->count; i++) {
        const struct zset_pair *a = &p->list[i - 1], *b = &p->list[i];
        if (zsetval_order(a->score, a->member, b->score, b->member) > 0)
            return false;
    }
    return true;
}

uint64_t zset_combine_work(const struct zset_algebra *a) {
    uint64_t all = 0, smallest = UINT64_MAX, asking;
    for (uint32_t i = 0; i < a->n; i++) {
        all += a->sources[i].count;
        smallest = a->sources[i].count < smallest ? a->sources[i].count : smallest;
    }
    if (a->op == ZSET_UNION)
        return all;
    asking = (a->op == ZSET_INTER ? smallest : a->sources[0].count) * a->n;
    return a->op == ZSET_INTER || asking < all ? asking : all;
}

bool zset_combine(struct zset_algebra *a, struct zset_pairs *to) {
    static bool (*const combine[])(const struct zset_algebra *, struct zset_pairs *) = {
        [ZSET_UNION] = unite, [ZSET_INTER] = intersect, [ZSET_DIFF] = subtract};
    if (!combine[a->op](a, to))
        return false;
    if (!is_sorted(to))
        zsetval_sort(to->list, to->count);
    return true;
}
