/* sets_algebra.c: intersections, unions and differences of sets, wherever they lie. */
#include "set_impl.h"
#include "shards/assert.h"

enum { SOURCES_ON_STACK = 8 };

enum op { INTER, UNION, DIFF };

/* The sets of a call: argv[first] and so on. */
struct sources {
    struct val on_stack[SOURCES_ON_STACK];
    struct val *list;
    uint32_t n;
};

/* sources_open: false: replied why not. */
static ON_SHARD bool sources_open(struct ctx *c, struct sources *s, uint32_t first, uint32_t n) {
    struct mem *m = keyspace_mem(c->keyspace);
    s->n = n;
    s->list = n > SOURCES_ON_STACK ? mem_alloc(m, n * sizeof(*s->list)) : s->on_stack;
    if (s->list == NULL) {
        ctx_oom(c);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct view view;
        ctx_view(c, first + i, &view);
        if (!coll_of_view(c, &view, VALUE_SET, &s->list[i])) {
            if (s->list != s->on_stack)
                mem_free(m, s->list, n * sizeof(*s->list));
            return false;
        }
    }
    return true;
}

static ON_SHARD void sources_close(struct ctx *c, struct sources *s) {
    if (s->list != s->on_stack)
        mem_free(keyspace_mem(c->keyspace), s->list, s->n * sizeof(*s->list));
}

/* combine: false: replied that memory is out, or why the keys cannot be combined. */
static ON_SHARD bool combine(struct ctx *c, enum op op, uint32_t first, uint32_t n, uint64_t limit,
                             struct sources *s, struct set_found *f) {
    struct mem *m = keyspace_mem(c->keyspace);
    struct set_kind kind = set_kind(c);
    bool fine = false;
    if (!sources_open(c, s, first, n))
        return false;
    if (op == INTER)
        fine = setval_inter(f, m, s->list, n, &kind, c->now_ms, limit);
    else if (op == UNION)
        fine = setval_union(f, m, s->list, n, &kind, c->now_ms);
    else
        fine = setval_diff(f, m, s->list, n, &kind, c->now_ms);
    if (fine)
        return true;
    ctx_oom(c);
    sources_close(c, s);
    return false;
}

static ON_SHARD void show(struct ctx *c, enum op op) {
    struct set_kind kind = set_kind(c);
    struct sources s;
    struct set_found f;
    if (!combine(c, op, 1, c->argc - 1, 0, &s, &f))
        return;
    if (f.v.form != VAL_NONE) {
        sets_reply_all(c, &f.v, &kind);
    } else {
        reply_set(&c->reply, f.n);
        for (size_t i = 0; i < f.n; i++)
            set_reply_item(&c->reply, &f.items[i]);
    }
    setval_found_free(&f, keyspace_mem(c->keyspace));
    sources_close(c, &s);
}

/* store: under argv[1]. What it holds may be one of the sources: it goes when the result is whole. */
static ON_SHARD void store(struct ctx *c, enum op op) {
    struct set_kind kind = set_kind(c);
    struct sources s;
    struct set_found f;
    struct val v;
    if (!combine(c, op, 2, c->argc - 2, 0, &s, &f))
        return;
    val_init(&v, keyspace_mem(c->keyspace), VALUE_SET);
    bool kept = setval_keep(&v, &kind, &f, c->now_ms);
    setval_found_free(&f, keyspace_mem(c->keyspace));
    sources_close(c, &s);
    if (!kept) {
        ctx_oom(c);
        return;
    }
    uint64_t count = setval_count(&v);
    if (coll_replace(c, 1, &v))
        reply_int(&c->reply, (int64_t)count);
}

static ON_SHARD void sinter_run(struct ctx *c) {
    show(c, INTER);
}

static ON_SHARD void sunion_run(struct ctx *c) {
    show(c, UNION);
}

static ON_SHARD void sdiff_run(struct ctx *c) {
    show(c, DIFF);
}

static ON_SHARD void sinterstore_run(struct ctx *c) {
    store(c, INTER);
}

static ON_SHARD void sunionstore_run(struct ctx *c) {
    store(c, UNION);
}

static ON_SHARD void sdiffstore_run(struct ctx *c) {
    store(c, DIFF);
}

/* --- SINTERCARD numkeys key [key ...] [LIMIT limit] --- */

static bool sintercard_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                            uint32_t *step) {
    int64_t keys;
    if (!strval_parse_int(argv[1], &keys) || keys < 1 || keys > argc - 2)
        return false;
    *first = 2;
    *last = (uint32_t)(1 + keys);
    *step = 1;
    return true;
}

/* read_arguments: replies what is wrong with them. */
static bool read_arguments(struct ctx *c, int64_t *keys, int64_t *limit) {
    if (!strval_parse_int(c->argv[1], keys) || *keys < 1) {
        reply_error(&c->reply, "ERR numkeys should be greater than 0");
        return false;
    }
    if (*keys > c->argc - 2) {
        reply_error(&c->reply, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    *limit = 0;
    for (uint32_t i = (uint32_t)(2 + *keys); i < c->argc; i += 2) {
        if (!span_is(c->argv[i], "LIMIT") || i + 1 == c->argc) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        if (!strval_parse_int(c->argv[i + 1], limit) || *limit < 0) {
            reply_error(&c->reply, "ERR LIMIT can't be negative");
            return false;
        }
    }
    return true;
}

static ON_SHARD void sintercard_run(struct ctx *c) {
    struct sources s;
    struct set_found f;
    int64_t keys, limit;
    if (!read_arguments(c, &keys, &limit) ||
        !combine(c, INTER, 2, (uint32_t)keys, (uint64_t)limit, &s, &f))
        return;
    uint64_t count = f.v.form != VAL_NONE ? setval_count(&f.v) : f.n;
    if (limit > 0 && count > (uint64_t)limit)
        count = (uint64_t)limit;
    reply_int(&c->reply, (int64_t)count);
    setval_found_free(&f, keyspace_mem(c->keyspace));
    sources_close(c, &s);
}

static const struct across show_across = {.look = ctx_look_views, .at = 1};
static const struct across card_across = {.look = ctx_look_views, .at = 2};
static const struct across store_across = {
    .look = ctx_look_views, .at = 1, .shared_from = 2, .shared_to = UINT32_MAX};

#define STORE      (CMD_WRITE | CMD_DENY_OOM)
#define UNORDERED  "nondeterministic_output_order"
#define INTER_COST "O(N*K), of K sets and N members in the smallest"
#define ALL_COST   "O(N) in the members of all sets"

static const struct command rows[] = {
    {"SINTER", sinter_run, -2, KEYS(1, -1, 1), CMD_READ, ACL_SET, "set", "1.0.0", INTER_COST,
     "Returns the intersection of sets.", .tips = UNORDERED, .key_access = "RO access",
     .syntax = "key...", .across = &show_across},
    {"SUNION", sunion_run, -2, KEYS(1, -1, 1), CMD_READ, ACL_SET, "set", "1.0.0", ALL_COST,
     "Returns the union of sets.", .tips = UNORDERED, .key_access = "RO access", .syntax = "key...",
     .across = &show_across},
    {"SDIFF", sdiff_run, -2, KEYS(1, -1, 1), CMD_READ, ACL_SET, "set", "1.0.0", ALL_COST,
     "Returns what the first of several sets has and no other.", .tips = UNORDERED,
     .key_access = "RO access", .syntax = "key...", .across = &show_across},
    {"SINTERCARD", sintercard_run, -3, NO_KEYS, CMD_READ | CMD_MOVABLE_KEYS, ACL_SET, "set",
     "7.0.0", INTER_COST, "Returns the number of members of the intersection of sets.",
     .find_keys = sintercard_keys, .key_access = "RO access",
     .syntax = "numkeys key... [LIMIT=limit:integer]", .numkeys = {1, 1}, .across = &card_across},
    {"SINTERSTORE", sinterstore_run, -3, KEYS(1, -1, 1), STORE, ACL_SET, "set", "1.0.0", INTER_COST,
     "Stores the intersection of sets.", .key_access = "RW update;RO access",
     .syntax = "destination:key key...", .across = &store_across},
    {"SUNIONSTORE", sunionstore_run, -3, KEYS(1, -1, 1), STORE, ACL_SET, "set", "1.0.0", ALL_COST,
     "Stores the union of sets.", .key_access = "OW update;RO access",
     .syntax = "destination:key key...", .across = &store_across},
    {"SDIFFSTORE", sdiffstore_run, -3, KEYS(1, -1, 1), STORE, ACL_SET, "set", "1.0.0", ALL_COST,
     "Stores what the first of several sets has and no other.", .key_access = "OW update;RO access",
     .syntax = "destination:key key...", .across = &store_across},
};

void sets_algebra_register(void) {
    command_register(rows, COUNT_OF(rows));
}
