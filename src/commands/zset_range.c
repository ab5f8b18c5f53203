/* zset_range.c: runs of sorted sets: read, stored elsewhere, counted, removed. */
#include "shards/assert.h"
#include "zset_impl.h"

/* What a call asks for. ZRANGE's words decide what the name of the older commands says. */
struct range {
    bool by_is_open, reverse_is_open; /* not said by the name */
    bool stores;
    enum zset_by by;
    bool reverse, with_scores;
    int64_t offset, limit; /* limit negative: all */
    struct zset_bounds bounds;
};

static bool open_option(struct span word, struct range *r) {
    if (r->reverse_is_open && span_is(word, "REV")) {
        r->reverse = true;
        r->reverse_is_open = false;
    } else if (r->by_is_open && span_is(word, "BYSCORE")) {
        r->by = ZSET_BY_SCORE;
        r->by_is_open = false;
    } else if (r->by_is_open && span_is(word, "BYLEX")) {
        r->by = ZSET_BY_LEX;
        r->by_is_open = false;
    } else {
        return false;
    }
    return true;
}

static bool range_options(struct ctx *c, uint32_t from, struct range *r) {
    for (uint32_t i = from; i < c->argc; i++) {
        struct span word = c->argv[i];
        if (!r->stores && span_is(word, "WITHSCORES")) {
            r->with_scores = true;
        } else if (i + 2 < c->argc && span_is(word, "LIMIT")) {
            if (!ctx_get_int(c, i + 1, &r->offset) || !ctx_get_int(c, i + 2, &r->limit))
                return false;
            i += 2;
        } else if (!open_option(word, r)) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (r->limit != -1 && r->by == ZSET_BY_RANK) {
        reply_error(&c->reply, "ERR syntax error, LIMIT is only supported in combination with "
                               "either BYSCORE or BYLEX");
        return false;
    }
    if (r->with_scores && r->by == ZSET_BY_LEX) {
        reply_error(&c->reply,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    return true;
}

/* range_parse: bounds at argv[first] and behind it, then options. Replies and returns false when something is wrong. */
static bool range_parse(struct ctx *c, uint32_t first, struct range *r) {
    r->limit = -1;
    if (first + 2 < c->argc && !range_options(c, first + 2, r))
        return false;
    bool swapped = r->reverse && r->by != ZSET_BY_RANK;
    return zset_bounds_parse(c, r->by, first + swapped, first + !swapped, &r->bounds);
}

static struct zset_run limited(const struct range *r, struct zset_run run) {
    uint64_t n = run.to - run.from;
    if (r->offset < 0 || (uint64_t)r->offset >= n)
        return (struct zset_run){0, 0};
    n -= (uint64_t)r->offset;
    if (r->limit >= 0 && (uint64_t)r->limit < n)
        n = (uint64_t)r->limit;
    if (r->reverse) {
        run.to -= (uint64_t)r->offset;
        run.from = run.to - n;
    } else {
        run.from += (uint64_t)r->offset;
        run.to = run.from + n;
    }
    return run;
}

/* range_run: of a range of ranks a LIMIT without a limit has been let pass, and means nothing. */
static struct zset_run range_run(const struct range *r, const struct val *v) {
    struct zset_run run = zset_bounds_run(&r->bounds, v, r->reverse);
    return r->by == ZSET_BY_RANK ? run : limited(r, run);
}

/* --- read --- */

static void reply_run(struct reply *to, const struct val *v, struct zset_run run,
                      const struct range *r) {
    struct zset_iter i;
    struct zset_item e;
    uint64_t left = run.to - run.from;
    zset_reply_begin(to, left, r->with_scores);
    if (left == 0)
        return;
    zsetval_begin(&i, v, r->reverse ? run.to - 1 : run.from, r->reverse);
    for (; left > 0 && zsetval_next(&i, &e); left--)
        zset_reply_item(to, e.member, e.score, r->with_scores);
}

static ON_SHARD void range(struct ctx *c, struct range *r) {
    struct val v;
    if (range_parse(c, 2, r) && coll_read(c, 1, VALUE_ZSET, &v))
        reply_run(&c->reply, &v, range_run(r, &v), r);
}

static ON_SHARD void zrange_run(struct ctx *c) {
    struct range r = {.by_is_open = true, .reverse_is_open = true};
    range(c, &r);
}

static ON_SHARD void zrevrange_run(struct ctx *c) {
    struct range r = {.reverse = true};
    range(c, &r);
}

static ON_SHARD void zrangebyscore_run(struct ctx *c) {
    struct range r = {.by = ZSET_BY_SCORE};
    range(c, &r);
}

static ON_SHARD void zrevrangebyscore_run(struct ctx *c) {
    struct range r = {.by = ZSET_BY_SCORE, .reverse = true};
    range(c, &r);
}

static ON_SHARD void zrangebylex_run(struct ctx *c) {
    struct range r = {.by = ZSET_BY_LEX};
    range(c, &r);
}

static ON_SHARD void zrevrangebylex_run(struct ctx *c) {
    struct range r = {.by = ZSET_BY_LEX, .reverse = true};
    range(c, &r);
}

/* --- stored elsewhere --- */

/* take_run: in ascending order, also of a reverse range: it is stored sorted anyway. */
static bool take_run(struct zset_pairs *to, const struct val *v, struct zset_run run) {
    struct zset_iter i;
    struct zset_item e;
    uint64_t left = run.to - run.from;
    if (left == 0)
        return true;
    if (!zset_pairs_reserve(to, left))
        return false;
    zsetval_begin(&i, v, run.from, false);
    for (; left > 0 && zsetval_next(&i, &e); left--)
        if (!zset_pairs_add_item(to, &e))
            return false;
    return true;
}

struct taking {
    struct val from;
    struct zset_run run;
    struct zset_made made;
};

static void take_beside(void *state, struct mem *m) {
    struct taking *w = state;
    struct zset_pairs pairs;
    zset_pairs_init(&pairs, m);
    if (take_run(&pairs, &w->from, w->run))
        zset_made_fill(&w->made, &pairs);
    zset_pairs_deinit(&pairs);
}

static ON_SHARD void zrangestore_run(struct ctx *c) {
    struct range r = {.by_is_open = true, .reverse_is_open = true, .stores = true};
    struct taking w;
    struct view source;
    if (!ctx_resume(c, &w, sizeof(w))) {
        if (!range_parse(c, 3, &r))
            return;
        w.made = (struct zset_made){.kind = zset_kind_now(c)};
        ctx_view(c, 2, &source);
        if (!coll_of_view(c, &source, VALUE_ZSET, &w.from))
            return;
        w.run = range_run(&r, &w.from);
        uint64_t n = w.run.to - w.run.from;
        if (ctx_long(c, n) || !ctx_work(c, n, take_beside, &w, sizeof(w)))
            return;
    }
    zset_made_store(c, &w.made);
}

/* --- counted --- */

static ON_SHARD void count(struct ctx *c, enum zset_by by) {
    struct zset_bounds b;
    struct val v;
    if (!zset_bounds_parse(c, by, 2, 3, &b) || !coll_read(c, 1, VALUE_ZSET, &v))
        return;
    struct zset_run run = zset_bounds_run(&b, &v, false);
    reply_int(&c->reply, (int64_t)(run.to - run.from));
}

static ON_SHARD void zcount_run(struct ctx *c) {
    count(c, ZSET_BY_SCORE);
}

static ON_SHARD void zlexcount_run(struct ctx *c) {
    count(c, ZSET_BY_LEX);
}

/* --- removed --- */

struct removing {
    struct val from;
    struct zset_run run;
};

static void remove_beside(void *state, struct mem *m) {
    struct removing *w = state;
    w->from.mem = m;
    zsetval_remove_range(&w->from, w->run.from, w->run.to);
}

/* goes_bit_by_bit: some of a tree. All of it goes as a whole, and a listpack is short and may lie in its entry. */
static bool goes_bit_by_bit(const struct removing *w) {
    uint64_t n = w->run.to - w->run.from;
    return w->from.form == VAL_TREE && n > 0 && n < zsetval_count(&w->from);
}

static ON_SHARD void remove_run(struct ctx *c, enum zset_by by) {
    struct zset_bounds b;
    struct removing w;
    struct coll o;
    bool removed = ctx_resume(c, &w, sizeof(w));
    if ((!removed && !zset_bounds_parse(c, by, 2, 3, &b)) || !coll_open(c, 1, VALUE_ZSET, &o))
        return;
    if (!removed)
        w = (struct removing){o.val, zset_bounds_run(&b, &o.val, false)};
    uint64_t n = w.run.to - w.run.from;
    if (!removed && goes_bit_by_bit(&w)) {
        if (ctx_long(c, n) || !ctx_work(c, n, remove_beside, &w, sizeof(w))) {
            coll_leave(c, &o);
            return;
        }
        removed = true;
    }
    if (removed) {
        bool stored = coll_store(c, &o);
        ASSERT(stored); /* there is less of it, where it was */
    } else if (n == 0) {
        coll_leave(c, &o);
    } else {
        zset_take_out(c, &o, w.run);
    }
    reply_int(&c->reply, (int64_t)n);
}

static ON_SHARD void zremrangebyrank_run(struct ctx *c) {
    remove_run(c, ZSET_BY_RANK);
}

static ON_SHARD void zremrangebyscore_run(struct ctx *c) {
    remove_run(c, ZSET_BY_SCORE);
}

static ON_SHARD void zremrangebylex_run(struct ctx *c) {
    remove_run(c, ZSET_BY_LEX);
}

static const struct across zrangestore_across = {
    .look = ctx_look_views, .at = 1, .shared_from = 2, .shared_to = 2};

#define RANGE_OPTIONS "[sortby(BYSCORE|BYLEX)] [REV] [LIMIT=limit(offset:integer count:integer)]"
#define LIMIT         "[LIMIT=limit(offset:integer count:integer)]"
#define LOG_N_M       "O(log(N)+M), M members being returned"

static const struct command rows[] = {
    {"ZRANGE", zrange_run, -4, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set", "1.2.0", LOG_N_M,
     "Returns members of a sorted set in a range of ranks, scores or names.",
     .key_access = "RO access",
     .syntax = "key start:string stop:string " RANGE_OPTIONS " [WITHSCORES]"},
    {"ZREVRANGE", zrevrange_run, -4, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set", "1.2.0",
     LOG_N_M, "Returns members of a sorted set in a range of ranks, the highest score first.",
     .key_access = "RO access", .syntax = "key start:integer stop:integer [WITHSCORES]",
     .deprecated_since = "6.2.0", .replaced_by = "`ZRANGE` with the `REV` argument"},
    {"ZRANGEBYSCORE", zrangebyscore_run, -4, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set", "1.0.5",
     LOG_N_M, "Returns members of a sorted set in a range of scores.", .key_access = "RO access",
     .syntax = "key min:double max:double [WITHSCORES] " LIMIT, .deprecated_since = "6.2.0",
     .replaced_by = "`ZRANGE` with the `BYSCORE` argument"},
    {"ZREVRANGEBYSCORE", zrevrangebyscore_run, -4, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set",
     "2.2.0", LOG_N_M, "Returns members of a sorted set in a range of scores, the highest first.",
     .key_access = "RO access", .syntax = "key max:double min:double [WITHSCORES] " LIMIT,
     .deprecated_since = "6.2.0", .replaced_by = "`ZRANGE` with the `REV` and `BYSCORE` arguments"},
    {"ZRANGEBYLEX", zrangebylex_run, -4, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set", "2.8.9",
     LOG_N_M, "Returns members of a sorted set of equal scores in a range of names.",
     .key_access = "RO access", .syntax = "key min:string max:string " LIMIT,
     .deprecated_since = "6.2.0", .replaced_by = "`ZRANGE` with the `BYLEX` argument"},
    {"ZREVRANGEBYLEX", zrevrangebylex_run, -4, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set",
     "2.8.9", LOG_N_M,
     "Returns members of a sorted set of equal scores in a range of names, the last first.",
     .key_access = "RO access", .syntax = "key max:string min:string " LIMIT,
     .deprecated_since = "6.2.0", .replaced_by = "`ZRANGE` with the `REV` and `BYLEX` arguments"},
    {"ZRANGESTORE", zrangestore_run, -5, KEYS(1, 2, 1), CMD_WRITE | CMD_DENY_OOM | CMD_LONG,
     ACL_SORTEDSET, "sorted-set", "6.2.0", "O(log(N)+M), M members being stored",
     "Stores members of a sorted set in a range of ranks, scores or names under another key.",
     .key_access = "OW update;RO access",
     .syntax = "dst:key src:key min:string max:string " RANGE_OPTIONS,
     .across = &zrangestore_across},
    {"ZCOUNT", zcount_run, 4, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set", "2.0.0",
     "O(log(N))", "Returns how many members of a sorted set have scores in a range.",
     .key_access = "RO access", .syntax = "key min:double max:double"},
    {"ZLEXCOUNT", zlexcount_run, 4, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set",
     "2.8.9", "O(log(N))",
     "Returns how many members of a sorted set of equal scores lie in a range of names.",
     .key_access = "RO access", .syntax = "key min:string max:string"},
    {"ZREMRANGEBYRANK", zremrangebyrank_run, 4, KEY(1), CMD_WRITE | CMD_LONG, ACL_SORTEDSET,
     "sorted-set", "2.0.0", "O(log(N)+M), M members being removed",
     "Removes the members of a sorted set in a range of ranks.", .key_access = "RW delete",
     .syntax = "key start:integer stop:integer"},
    {"ZREMRANGEBYSCORE", zremrangebyscore_run, 4, KEY(1), CMD_WRITE | CMD_LONG, ACL_SORTEDSET,
     "sorted-set", "1.2.0", "O(log(N)+M), M members being removed",
     "Removes the members of a sorted set in a range of scores.", .key_access = "RW delete",
     .syntax = "key min:double max:double"},
    {"ZREMRANGEBYLEX", zremrangebylex_run, 4, KEY(1), CMD_WRITE | CMD_LONG, ACL_SORTEDSET,
     "sorted-set", "2.8.9", "O(log(N)+M), M members being removed",
     "Removes the members of a sorted set of equal scores in a range of names.",
     .key_access = "RW delete", .syntax = "key min:string max:string"},
};

void zset_range_register(void) {
    command_register(rows, COUNT_OF(rows));
}
