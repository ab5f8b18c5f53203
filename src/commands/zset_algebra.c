/* zset_algebra.c: commands that combine several sorted sets and sets, wherever they lie. */
#include "shards/decimal.h"
#include "zset_algebra_impl.h"

enum { SOURCES_FEW = 8 };

/* What a command allows and does with what it finds. */
struct form {
    enum zset_op op;
    bool stores; /* under argv[1] */
    bool counts;
};

/* A call: the words behind its keys, the sources, and what came of them. It may be moved. */
struct call {
    struct form form;
    struct zset_algebra algebra;
    uint32_t options; /* argv[options] follows the last key */
    bool with_scores;
    int64_t limit;
    bool done;                /* false: no memory */
    uint64_t count;           /* when it counts */
    struct zset_made made;    /* when it stores */
    struct zset_pairs found;  /* when it does neither */
    struct zset_source *many; /* sources, when they are more than SOURCES_FEW */
    struct zset_source few[SOURCES_FEW];
};

/* --- keys: [destination] numkeys key [key ...] --- */

static bool counted_keys(const struct span *argv, uint32_t argc, uint32_t at, uint32_t *last,
                         uint32_t *step) {
    int64_t keys;
    if (!strval_parse_int(argv[at], &keys) || keys < 1 || keys > argc - at - 1)
        return false;
    *last = (uint32_t)(at + keys);
    *step = 1;
    return true;
}

static bool read_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                      uint32_t *step) {
    *first = 2;
    return counted_keys(argv, argc, 1, last, step);
}

static bool store_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                       uint32_t *step) {
    *first = 1;
    return counted_keys(argv, argc, 2, last, step);
}

/* --- arguments --- */

/* parse_numkeys: replies and returns false when there are no such keys. */
static bool parse_numkeys(struct ctx *c, struct call *call) {
    uint32_t at = call->form.stores ? 2 : 1;
    int64_t n;
    if (!ctx_get_int(c, at, &n))
        return false;
    if (n < 1) {
        char name[COMMAND_NAME_MAX + 1];
        command_name_lower(c->cmd, name);
        reply_errorf(&c->reply, "ERR at least 1 input key is needed for '%s' command", name);
        return false;
    }
    if (n > c->argc - at - 1) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    call->algebra.n = (uint32_t)n;
    call->options = at + 1 + (uint32_t)n;
    return true;
}

static ON_SHARD bool open_source(struct ctx *c, uint32_t arg, struct zset_source *s) {
    struct view view;
    ctx_view(c, arg, &view);
    *s = (struct zset_source){.arg = arg, .weight = 1};
    s->is_set = view.exists && view.value.type == VALUE_SET;
    if (!coll_of_view(c, &view, s->is_set ? VALUE_SET : VALUE_ZSET, &s->val))
        return false;
    if (view.exists)
        s->count = s->is_set ? setval_count(&s->val) : zsetval_count(&s->val);
    return true;
}

static bool parse_weights(struct ctx *c, struct call *call, uint32_t first) {
    struct zset_algebra *a = &call->algebra;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!decimal_parse_double(c->argv[first + i], &a->sources[i].weight)) {
            reply_error(&c->reply, "ERR weight value is not a float");
            return false;
        }
    }
    return true;
}

static bool parse_aggregate(struct span word, enum zset_aggregate *how) {
    static const char *const names[] = {
        [ZSET_SUM] = "SUM", [ZSET_MIN] = "MIN", [ZSET_MAX] = "MAX", [ZSET_COUNT] = "COUNT"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        if (span_is(word, names[i])) {
            *how = (enum zset_aggregate)i;
            return true;
        }
    }
    return false;
}

/* parse_limit: of ZINTERCARD. */
static bool parse_limit(struct ctx *c, uint32_t i, int64_t *limit) {
    if (strval_parse_int(c->argv[i], limit) && *limit >= 0)
        return true;
    reply_error(&c->reply, "ERR LIMIT can't be negative");
    return false;
}

static bool parse_options(struct ctx *c, struct call *call) {
    bool weighs = call->form.op != ZSET_DIFF && !call->form.counts;
    for (uint32_t i = call->options; i < c->argc; i++) {
        uint32_t behind = c->argc - i - 1;
        if (weighs && behind >= call->algebra.n && span_is(c->argv[i], "WEIGHTS")) {
            if (!parse_weights(c, call, i + 1))
                return false;
            i += call->algebra.n;
        } else if (weighs && behind >= 1 && span_is(c->argv[i], "AGGREGATE") &&
                   parse_aggregate(c->argv[i + 1], &call->algebra.aggregate)) {
            i++;
        } else if (!call->form.stores && !call->form.counts && span_is(c->argv[i], "WITHSCORES")) {
            call->with_scores = true;
        } else if (call->form.counts && behind >= 1 && span_is(c->argv[i], "LIMIT")) {
            if (!parse_limit(c, ++i, &call->limit))
                return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* --- what is done --- */

/* sources_here: wherever the call has been moved to. */
static void sources_here(struct call *call) {
    call->algebra.sources = call->many != NULL ? call->many : call->few;
}

static ON_SHARD bool sources_alloc(struct ctx *c, struct call *call) {
    uint32_t n = call->algebra.n;
    call->many = NULL;
    if (n > SOURCES_FEW) {
        call->many = mem_alloc(keyspace_mem(c->keyspace), n * sizeof(*call->many));
        if (call->many == NULL) {
            ctx_oom(c);
            return false;
        }
    }
    sources_here(call);
    return true;
}

static ON_SHARD void sources_free(struct ctx *c, struct call *call) {
    mem_free(keyspace_mem(c->keyspace), call->many, call->algebra.n * sizeof(*call->many));
}

static ON_SHARD bool open_sources(struct ctx *c, struct call *call) {
    struct zset_algebra *a = &call->algebra;
    for (uint32_t i = 0; i < a->n; i++)
        if (!open_source(c, call->options - a->n + i, &a->sources[i]))
            return false;
    return true;
}

static void combine(void *state, struct mem *m) {
    struct call *call = state;
    sources_here(call);
    if (call->form.counts) {
        call->count = zset_inter_count(&call->algebra, (uint64_t)call->limit);
        return;
    }
    zset_pairs_init(&call->found, m);
    call->done = zset_combine(&call->algebra, &call->found);
    if (call->done && call->form.stores)
        zset_made_fill(&call->made, &call->found);
    if (!call->done || call->form.stores)
        zset_pairs_deinit(&call->found);
}

static ON_SHARD void reply_pairs(struct ctx *c, struct call *call) {
    struct zset_pairs *p = &call->found;
    zset_reply_begin(&c->reply, p->count, call->with_scores);
    for (size_t i = 0; i < p->count; i++)
        zset_reply_item(&c->reply, p->list[i].member, p->list[i].score, call->with_scores);
    p->mem = keyspace_mem(c->keyspace);
    zset_pairs_deinit(p);
}

static ON_SHARD void answer(struct ctx *c, struct call *call) {
    if (call->form.counts)
        reply_int(&c->reply, (int64_t)call->count);
    else if (call->form.stores)
        zset_made_store(c, &call->made);
    else if (call->done)
        reply_pairs(c, call);
    else
        ctx_oom(c);
}

static ON_SHARD void run(struct ctx *c, struct form form) {
    struct call call;
    if (!ctx_resume(c, &call, sizeof(call))) {
        call.form = form;
        call.algebra = (struct zset_algebra){.op = form.op, .now_ms = c->now_ms};
        call.with_scores = false;
        call.limit = 0;
        call.made = (struct zset_made){.kind = zset_kind_now(c)};
        if (!parse_numkeys(c, &call) || !sources_alloc(c, &call))
            return;
        bool valid = open_sources(c, &call) && parse_options(c, &call);
        uint64_t work = valid ? zset_combine_work(&call.algebra) : 0;
        if (!valid || ctx_long(c, work)) {
            sources_free(c, &call);
            return;
        }
        if (!ctx_work(c, work, combine, &call, sizeof(call)))
            return;
    }
    answer(c, &call);
    sources_free(c, &call);
}

static ON_SHARD void zunion_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_UNION});
}

static ON_SHARD void zinter_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_INTER});
}

static ON_SHARD void zdiff_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_DIFF});
}

static ON_SHARD void zintercard_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_INTER, .counts = true});
}

static ON_SHARD void zunionstore_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_UNION, .stores = true});
}

static ON_SHARD void zinterstore_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_INTER, .stores = true});
}

static ON_SHARD void zdiffstore_run(struct ctx *c) {
    run(c, (struct form){.op = ZSET_DIFF, .stores = true});
}

static const struct across read_across = {.look = ctx_look_views, .at = 2};
static const struct across store_across = {
    .look = ctx_look_views, .at = 1, .shared_from = 3, .shared_to = UINT32_MAX};

#define STORE      (CMD_WRITE | CMD_DENY_OOM | CMD_MOVABLE_KEYS | CMD_LONG)
#define READ       (CMD_READ | CMD_MOVABLE_KEYS | CMD_LONG)
#define WEIGHED    " [WEIGHTS=weight:integer...] [AGGREGATE=aggregate(SUM|MIN|MAX|COUNT)]"
#define UNION_COST "O(N)+O(M*log(M)), of N members in all and M in the result"
#define INTER_COST "O(N*K)+O(M*log(M)), of K sets, N members in the smallest and M in the result"
#define DIFF_COST  "O(L+M*log(M)), of L members in all and M in the result"

static const struct command rows[] = {
    {"ZUNION", zunion_run, -3, NO_KEYS, READ, ACL_SORTEDSET, "sorted-set", "6.2.0", UNION_COST,
     "Returns the union of sorted sets.", .find_keys = read_keys, .key_access = "RO access",
     .syntax = "numkeys key..." WEIGHED " [WITHSCORES]", .numkeys = {1, 1}, .across = &read_across},
    {"ZINTER", zinter_run, -3, NO_KEYS, READ, ACL_SORTEDSET, "sorted-set", "6.2.0", INTER_COST,
     "Returns the intersection of sorted sets.", .find_keys = read_keys, .key_access = "RO access",
     .syntax = "numkeys key..." WEIGHED " [WITHSCORES]", .numkeys = {1, 1}, .across = &read_across},
    {"ZDIFF", zdiff_run, -3, NO_KEYS, READ, ACL_SORTEDSET, "sorted-set", "6.2.0", DIFF_COST,
     "Returns what the first of several sorted sets has and no other.", .find_keys = read_keys,
     .key_access = "RO access", .syntax = "numkeys key... [WITHSCORES]", .numkeys = {1, 1},
     .across = &read_across},
    {"ZINTERCARD", zintercard_run, -3, NO_KEYS, READ, ACL_SORTEDSET, "sorted-set", "7.0.0",
     "O(N*K), of K sets and N members in the smallest",
     "Returns the number of members of the intersection of sorted sets.", .find_keys = read_keys,
     .key_access = "RO access", .syntax = "numkeys key... [LIMIT=limit:integer]", .numkeys = {1, 1},
     .across = &read_across},
    {"ZUNIONSTORE", zunionstore_run, -4, KEY(1), STORE, ACL_SORTEDSET, "sorted-set", "2.0.0",
     UNION_COST, "Stores the union of sorted sets.", .find_keys = store_keys,
     .key_access = "OW update;RO access", .syntax = "destination:key numkeys key..." WEIGHED,
     .numkeys = {2, 1}, .across = &store_across},
    {"ZINTERSTORE", zinterstore_run, -4, KEY(1), STORE, ACL_SORTEDSET, "sorted-set", "2.0.0",
     INTER_COST, "Stores the intersection of sorted sets.", .find_keys = store_keys,
     .key_access = "OW update;RO access", .syntax = "destination:key numkeys key..." WEIGHED,
     .numkeys = {2, 1}, .across = &store_across},
    {"ZDIFFSTORE", zdiffstore_run, -4, KEY(1), STORE, ACL_SORTEDSET, "sorted-set", "6.2.0",
     DIFF_COST, "Stores what the first of several sorted sets has and no other.",
     .find_keys = store_keys, .key_access = "OW update;RO access",
     .syntax = "destination:key numkeys key...", .numkeys = {2, 1}, .across = &store_across},
};

void zset_algebra_register(void) {
    command_register(rows, COUNT_OF(rows));
}
