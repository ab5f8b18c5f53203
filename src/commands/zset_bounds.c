/* zset_bounds.c: the bounds of ranges of sorted sets, and what lies within them. See zset_impl.h. */
#include "shards/assert.h"
#include "shards/decimal.h"
#include "zset_impl.h"
#include <math.h>
#include <stdlib.h>

enum { SCORE_TEXT_MAX = 1024 };

/* parse_score_loosely: bounds are read with less care than scores are, as Redis does: blanks may stand before the number, what
 * is too large is infinite and nothing at all is 0. */
static bool parse_score_loosely(struct span s, double *out) {
    char text[SCORE_TEXT_MAX], *end;
    if (s.len >= sizeof(text))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *out = strtod(text, &end);
    return *end == '\0' && !isnan(*out);
}

static bool parse_score(struct span s, struct zset_bound *b) {
    b->exclusive = s.len > 0 && s.ptr[0] == '(';
    if (b->exclusive)
        s = (struct span){s.ptr + 1, s.len - 1};
    return decimal_parse_double(s, &b->score) || parse_score_loosely(s, &b->score);
}

static bool parse_lex(struct span s, struct zset_bound *b) {
    if (s.len == 0)
        return false;
    b->end = 0;
    b->exclusive = false;
    switch (s.ptr[0]) {
    case '-':
        b->end = -1;
        return s.len == 1;
    case '+':
        b->end = 1;
        return s.len == 1;
    case '(':
    case '[':
        b->exclusive = s.ptr[0] == '(';
        b->member = (struct span){s.ptr + 1, s.len - 1};
        return true;
    default:
        return false;
    }
}

bool zset_bounds_parse(struct ctx *c, enum zset_by by, uint32_t min, uint32_t max,
                       struct zset_bounds *b) {
    struct span low = c->argv[min], high = c->argv[max];
    b->by = by;
    switch (by) {
    case ZSET_BY_RANK:
        return ctx_get_int(c, min, &b->min.rank) && ctx_get_int(c, max, &b->max.rank);
    case ZSET_BY_SCORE:
        if (parse_score(low, &b->min) && parse_score(high, &b->max))
            return true;
        reply_error(&c->reply, "ERR min or max is not a float");
        return false;
    case ZSET_BY_LEX:
        if (parse_lex(low, &b->min) && parse_lex(high, &b->max))
            return true;
        reply_error(&c->reply, "ERR min or max not valid string range item");
        return false;
    }
    return false;
}

static struct zset_run rank_run(const struct zset_bounds *b, uint64_t count, bool reverse) {
    int64_t n = (int64_t)count, first = b->min.rank, last = b->max.rank;
    first = first < 0 ? first + n : first;
    last = last < 0 ? last + n : last;
    first = first < 0 ? 0 : first;
    last = last >= n ? n - 1 : last;
    if (first > last)
        return (struct zset_run){0, 0};
    if (reverse)
        return (struct zset_run){(uint64_t)(n - 1 - last), (uint64_t)(n - first)};
    return (struct zset_run){(uint64_t)first, (uint64_t)last + 1};
}

/* rank_of: how many elements come before the bound; of max, that is how many are within it. */
static uint64_t rank_of(const struct zset_bound *b, enum zset_by by, const struct val *v,
                        bool is_max) {
    bool or_equal = b->exclusive != is_max;
    if (by == ZSET_BY_SCORE)
        return zsetval_rank_of_score(v, b->score, or_equal);
    if (b->end != 0)
        return b->end < 0 ? 0 : zsetval_count(v);
    return zsetval_rank_of_lex(v, b->member, or_equal);
}

struct zset_run zset_bounds_run(const struct zset_bounds *b, const struct val *v, bool reverse) {
    if (v->form == VAL_NONE)
        return (struct zset_run){0, 0};
    if (b->by == ZSET_BY_RANK)
        return rank_run(b, zsetval_count(v), reverse);
    struct zset_run r = {rank_of(&b->min, b->by, v, false), rank_of(&b->max, b->by, v, true)};
    if (r.to < r.from)
        r.to = r.from;
    return r;
}

/* A tree of which nothing is left goes with its key, whose object is freed in slices. */
void zset_take_out(struct ctx *c, struct coll *o, struct zset_run run) {
    ASSERT(run.from < run.to);
    if (o->val.form == VAL_TREE && run.to - run.from == zsetval_count(&o->val)) {
        coll_leave(c, o);
        bool deleted = ctx_delete(c, o->key);
        ASSERT(deleted);
        ctx_changed(c, o->key);
        return;
    }
    zsetval_remove_range(&o->val, run.from, run.to);
    bool stored = coll_store(c, o);
    ASSERT(stored);
}
