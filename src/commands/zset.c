/* zset.c: sorted sets: adding and removing members, and asking for one of them. */
#include "shards/decimal.h"
#include "zset_impl.h"

enum { PAIRS_ON_STACK = 16 };

void zset_reply_begin(struct reply *r, uint64_t n, bool with_scores) {
    reply_array(r, with_scores && r->proto < 3 ? 2 * n : n);
}

void zset_reply_item(struct reply *r, struct span member, double score, bool with_scores) {
    if (with_scores && r->proto >= 3)
        reply_array(r, 2);
    reply_bulk(r, member);
    if (with_scores)
        reply_double(r, score);
}

/* --- ZADD, ZINCRBY --- */

struct add {
    unsigned flags;     /* ZSET_* */
    bool tells_changed; /* CH */
    uint32_t first;     /* argv[first] is the first score */
};

static bool add_option(struct span word, struct add *a) {
    static const struct {
        const char *word;
        unsigned flag;
    } words[] = {
        {"NX", ZSET_NX}, {"XX", ZSET_XX}, {"GT", ZSET_GT}, {"LT", ZSET_LT}, {"INCR", ZSET_INCR},
    };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (span_is(word, words[i].word)) {
            a->flags |= words[i].flag;
            return true;
        }
    }
    if (!span_is(word, "CH"))
        return false;
    a->tells_changed = true;
    return true;
}

/* may_be_option: most scores begin with a digit, and need not be compared with all options. */
static bool may_be_option(struct span s) {
    return s.len >= 2 && s.ptr[0] > '9';
}

/* add_options: replies and returns false when they do not fit together. */
static bool add_options(struct ctx *c, struct add *a) {
    a->first = 2;
    while (a->first < c->argc && may_be_option(c->argv[a->first]) &&
           add_option(c->argv[a->first], a))
        a->first++;
    uint32_t words = c->argc - a->first;
    unsigned f = a->flags;
    const char *wrong = NULL;
    if (words == 0 || words % 2 != 0)
        wrong = ERR_SYNTAX;
    else if ((f & ZSET_NX) && (f & ZSET_XX))
        wrong = "ERR XX and NX options at the same time are not compatible";
    else if ((f & (ZSET_GT | ZSET_LT)) && (f & ZSET_NX || (f & ZSET_GT && f & ZSET_LT)))
        wrong = "ERR GT, LT, and/or NX options at the same time are not compatible";
    else if ((f & ZSET_INCR) && words != 2)
        wrong = "ERR INCR option supports a single increment-element pair";
    if (wrong != NULL)
        reply_error(&c->reply, wrong);
    return wrong == NULL;
}

static void reply_added(struct reply *r, const struct add *a, const struct zset_added *sum,
                        const struct zset_pair *pair) {
    if (!(a->flags & ZSET_INCR))
        reply_int(r, (int64_t)(a->tells_changed ? sum->added + sum->updated : sum->added));
    else if (pair->outcome == ZSET_NOP)
        reply_null(r);
    else
        reply_double(r, pair->score);
}

static ON_SHARD void add_pairs(struct ctx *c, const struct add *a, struct zset_pair *pairs,
                               uint32_t n) {
    struct coll o;
    struct zset_added sum;
    struct zset_kind kind = zset_kind_now(c);
    for (uint32_t i = 0; i < n; i++) {
        const struct span *word = &c->argv[a->first + 2 * i];
        if (!decimal_parse_double(word[0], &pairs[i].score)) {
            reply_error(&c->reply, ERR_NOT_FLOAT);
            return;
        }
        pairs[i].member = word[1];
    }
    if (!coll_open(c, 1, VALUE_ZSET, &o))
        return;
    if (!zsetval_add(&o.val, &kind, a->flags, pairs, n, &sum)) {
        coll_fail(c, &o);
        return;
    }
    if (unlikely(sum.nan)) {
        coll_leave(c, &o);
        reply_error(&c->reply, "ERR resulting score is not a number (NaN)");
        return;
    }
    if (sum.added + sum.updated == 0)
        coll_leave(c, &o);
    else if (!coll_store(c, &o))
        return;
    reply_added(&c->reply, a, &sum, pairs);
}

static ON_SHARD void add(struct ctx *c, struct add *a) {
    if (!add_options(c, a))
        return;
    struct zset_pair few[PAIRS_ON_STACK];
    uint32_t n = (c->argc - a->first) / 2;
    if (likely(n <= PAIRS_ON_STACK)) {
        add_pairs(c, a, few, n);
        return;
    }
    struct mem *m = keyspace_mem(c->keyspace);
    struct zset_pair *pairs = mem_alloc(m, n * sizeof(*pairs));
    if (pairs == NULL) {
        ctx_oom(c);
        return;
    }
    add_pairs(c, a, pairs, n);
    mem_free(m, pairs, n * sizeof(*pairs));
}

static ON_SHARD void zadd_run(struct ctx *c) {
    struct add a = {.flags = 0};
    add(c, &a);
}

static ON_SHARD void zincrby_run(struct ctx *c) {
    struct add a = {.flags = ZSET_INCR};
    add(c, &a);
}

/* --- ZREM --- */

static ON_SHARD void zrem_run(struct ctx *c) {
    struct coll o;
    int64_t removed = 0;
    if (!coll_open(c, 1, VALUE_ZSET, &o))
        return;
    for (uint32_t i = 2; i < c->argc && zsetval_count(&o.val) > 0; i++)
        removed += zsetval_remove(&o.val, c->argv[i]);
    if (removed == 0)
        coll_leave(c, &o);
    else if (!coll_store(c, &o))
        return;
    reply_int(&c->reply, removed);
}

/* --- one member --- */

static ON_SHARD void zcard_run(struct ctx *c) {
    struct val v;
    if (coll_read(c, 1, VALUE_ZSET, &v))
        reply_int(&c->reply, (int64_t)zsetval_count(&v));
}

static void reply_score(struct reply *r, const struct val *v, struct span member) {
    double score;
    if (v->form != VAL_NONE && zsetval_score(v, member, &score))
        reply_double(r, score);
    else
        reply_null(r);
}

static ON_SHARD void zscore_run(struct ctx *c) {
    struct val v;
    if (coll_read(c, 1, VALUE_ZSET, &v))
        reply_score(&c->reply, &v, c->argv[2]);
}

static ON_SHARD void zmscore_run(struct ctx *c) {
    struct val v;
    if (!coll_read(c, 1, VALUE_ZSET, &v))
        return;
    reply_array(&c->reply, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++)
        reply_score(&c->reply, &v, c->argv[i]);
}

/* rank: ZRANK or ZREVRANK key member [WITHSCORE]. */
static ON_SHARD void rank(struct ctx *c, bool reverse) {
    bool with_score = c->argc > 3;
    struct val v;
    uint64_t at;
    double score;
    if (unlikely(c->argc > 4)) {
        command_reply_arity(&c->reply, c->cmd);
        return;
    }
    if (with_score && !span_is(c->argv[3], "WITHSCORE")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (!coll_read(c, 1, VALUE_ZSET, &v))
        return;
    bool there = v.form != VAL_NONE &&
                 zsetval_rank(&v, c->argv[2], reverse, &at, with_score ? &score : NULL);
    if (!there) {
        (with_score ? reply_null_array : reply_null)(&c->reply);
        return;
    }
    if (with_score)
        reply_array(&c->reply, 2);
    reply_int(&c->reply, (int64_t)at);
    if (with_score)
        reply_double(&c->reply, score);
}

static ON_SHARD void zrank_run(struct ctx *c) {
    rank(c, false);
}

static ON_SHARD void zrevrank_run(struct ctx *c) {
    rank(c, true);
}

static const struct command rows[] = {
    {"ZADD", zadd_run, -4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_SORTEDSET, "sorted-set",
     "1.2.0", "O(log(N)) for each member",
     "Adds members to a sorted set, or gives those that are there other scores.",
     .key_access = "RW update",
     .syntax = "key [condition(NX|XX)] [comparison(GT|LT)] [change:CH] [increment:INCR] "
               "data(score:double member)..."},
    {"ZINCRBY", zincrby_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_SORTEDSET,
     "sorted-set", "1.2.0", "O(log(N))", "Adds to the score of a member of a sorted set.",
     .key_access = "RW access update", .syntax = "key increment:integer member"},
    {"ZREM", zrem_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_SORTEDSET, "sorted-set", "1.2.0",
     "O(log(N)) for each member", "Removes members from a sorted set.", .key_access = "RW delete",
     .syntax = "key member..."},
    {"ZCARD", zcard_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set", "1.2.0",
     "O(1)", "Returns the number of members of a sorted set.", .key_access = "RO", .syntax = "key"},
    {"ZSCORE", zscore_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set", "1.2.0",
     "O(1)", "Returns the score of a member of a sorted set.", .key_access = "RO access",
     .syntax = "key member"},
    {"ZMSCORE", zmscore_run, -3, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set", "6.2.0",
     "O(1) for each member", "Returns the scores of members of a sorted set.",
     .key_access = "RO access", .syntax = "key member..."},
    {"ZRANK", zrank_run, -3, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set", "2.0.0",
     "O(log(N))", "Returns how many members of a sorted set have a lower score than a member.",
     .key_access = "RO access", .syntax = "key member [WITHSCORE]"},
    {"ZREVRANK", zrevrank_run, -3, KEY(1), CMD_READ | CMD_FAST, ACL_SORTEDSET, "sorted-set",
     "2.0.0", "O(log(N))",
     "Returns how many members of a sorted set have a higher score than a member.",
     .key_access = "RO access", .syntax = "key member [WITHSCORE]"},
};

void zset_register(void) {
    command_register(rows, COUNT_OF(rows));
    zset_range_register();
    zset_pop_register();
    zset_walk_register();
    zset_algebra_register();
}
