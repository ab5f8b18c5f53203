/* sets_algebra.c: intersections, unions and differences of sets, wherever they lie. */
#include "set_impl.h"
#include "shards/assert.h"

enum { SOURCES_ON_STACK = 8 };

enum op { INTER, UNION, DIFF };

/* What is wanted of it. */
enum want { FOUND, KEPT, COUNT };

/* A call: its sets, argv[first] and so on, and what came of them. What was found lies in them. */
struct algebra {
    enum op op;
    enum want want;
    struct set_kind kind;
    int64_t now_ms;
    uint64_t limit;
    uint32_t n;
    struct val few[SOURCES_ON_STACK];
    struct val *many; /* more than that, or NULL */
    bool fine;        /* else there was no memory, and nothing came of them */
    struct set_found found;
    struct val kept;
    uint64_t count;
};

static struct val *sources(struct algebra *a) {
    return a->many == NULL ? a->few : a->many;
}

static void sources_free(struct algebra *a, struct mem *m) {
    mem_free(m, a->many, a->n * sizeof(*a->many));
}

/* sources_open: false: replied why not. */
static ON_SHARD bool sources_open(struct ctx *c, struct algebra *a, uint32_t first) {
    struct mem *m = keyspace_mem(c->keyspace);
    a->many = NULL;
    if (a->n > SOURCES_ON_STACK && (a->many = mem_alloc(m, a->n * sizeof(*a->many))) == NULL) {
        ctx_oom(c);
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        struct view view;
        ctx_view(c, first + i, &view);
        if (!coll_of_view(c, &view, VALUE_SET, &sources(a)[i])) {
            sources_free(a, m);
            return false;
        }
    }
    return true;
}

static uint64_t elements_of(struct algebra *a) {
    if (a->op == INTER)
        return setval_inter_work(sources(a), a->n);
    if (a->op == UNION)
        return setval_union_work(sources(a), a->n, &a->kind);
    return setval_diff_work(sources(a), a->n, &a->kind);
}

/* compute: maybe beside the shard. */
static void compute(void *state, struct mem *m) {
    struct algebra *a = state;
    const struct val *from = sources(a);
    struct set_found *f = &a->found;
    if (a->op == INTER)
        a->fine = setval_inter(f, m, from, a->n, &a->kind, a->now_ms, a->limit);
    else if (a->op == UNION)
        a->fine = setval_union(f, m, from, a->n, &a->kind, a->now_ms);
    else
        a->fine = setval_diff(f, m, from, a->n, &a->kind, a->now_ms);
    if (!a->fine || a->want == FOUND)
        return;
    if (a->want == COUNT) {
        a->count = f->v.form != VAL_NONE ? setval_count(&f->v) : f->n;
    } else {
        val_init(&a->kept, m, VALUE_SET);
        a->fine = setval_keep(&a->kept, &a->kind, f, a->now_ms);
    }
    setval_found_free(f, m);
}

/* combine: false: it has replied why not, or is called again. Else the caller calls sources_free. */
static ON_SHARD bool combine(struct ctx *c, struct algebra *a, uint32_t first) {
    struct mem *m = keyspace_mem(c->keyspace);
    if (ctx_resume(c, a, sizeof(*a))) {
        a->found.v.mem = a->kept.mem = m;
    } else {
        if (!sources_open(c, a, first))
            return false;
        uint64_t elements = elements_of(a);
        if (ctx_long(c, elements)) {
            sources_free(a, m);
            return false;
        }
        if (!ctx_work(c, elements, compute, a, sizeof(*a)))
            return false;
    }
    if (a->fine)
        return true;
    ctx_oom(c);
    sources_free(a, m);
    return false;
}

/* algebra_begin: the rest is as it comes: it is larger than what most calls touch of it. */
static ON_SHARD void algebra_begin(struct algebra *a, const struct ctx *c, enum op op,
                                   enum want want, uint32_t n) {
    a->op = op;
    a->want = want;
    a->kind = set_kind(c);
    a->now_ms = c->now_ms;
    a->limit = 0;
    a->n = n;
}

/* found_drop: a large val of its own is freed bit by bit. */
static ON_SHARD void found_drop(struct ctx *c, struct set_found *f) {
    struct mem *m = keyspace_mem(c->keyspace);
    struct object *o = f->v.form == VAL_NONE ? NULL : val_object(&f->v);
    if (o != NULL) {
        keyspace_bury(c->keyspace, o);
        val_init(&f->v, m, VALUE_SET);
    }
    setval_found_free(f, m);
}

static ON_SHARD void show(struct ctx *c, enum op op) {
    struct algebra a;
    algebra_begin(&a, c, op, FOUND, c->argc - 1);
    const struct set_found *f = &a.found;
    if (!combine(c, &a, 1))
        return;
    if (f->v.form != VAL_NONE) {
        sets_reply_all(c, &f->v, &a.kind);
    } else {
        reply_set(&c->reply, f->n);
        for (size_t i = 0; i < f->n; i++)
            set_reply_item(&c->reply, &f->items[i]);
    }
    found_drop(c, &a.found);
    sources_free(&a, keyspace_mem(c->keyspace));
}

/* store: under argv[1]. What it holds may be one of the sources: it goes when the result is whole. */
static ON_SHARD void store(struct ctx *c, enum op op) {
    struct algebra a;
    algebra_begin(&a, c, op, KEPT, c->argc - 2);
    if (!combine(c, &a, 2))
        return;
    sources_free(&a, keyspace_mem(c->keyspace));
    uint64_t count = setval_count(&a.kept);
    if (coll_replace(c, 1, &a.kept))
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
    struct algebra a;
    int64_t keys, limit;
    if (!read_arguments(c, &keys, &limit))
        return;
    algebra_begin(&a, c, INTER, COUNT, (uint32_t)keys);
    a.limit = (uint64_t)limit;
    if (!combine(c, &a, 2))
        return;
    sources_free(&a, keyspace_mem(c->keyspace));
    bool less = a.limit > 0 && a.limit < a.count;
    reply_int(&c->reply, (int64_t)(less ? a.limit : a.count));
}

static const struct across show_across = {.look = ctx_look_views, .at = 1};
static const struct across card_across = {.look = ctx_look_views, .at = 2};
static const struct across store_across = {
    .look = ctx_look_views, .at = 1, .shared_from = 2, .shared_to = UINT32_MAX};

#define SHOW       (CMD_READ | CMD_LONG)
#define STORE      (CMD_WRITE | CMD_DENY_OOM | CMD_LONG)
#define UNORDERED  "nondeterministic_output_order"
#define INTER_COST "O(N*K), of K sets and N members in the smallest"
#define ALL_COST   "O(N) in the members of all sets"

static const struct command rows[] = {
    {"SINTER", sinter_run, -2, KEYS(1, -1, 1), SHOW, ACL_SET, "set", "1.0.0", INTER_COST,
     "Returns the intersection of sets.", .tips = UNORDERED, .key_access = "RO access",
     .syntax = "key...", .across = &show_across},
    {"SUNION", sunion_run, -2, KEYS(1, -1, 1), SHOW, ACL_SET, "set", "1.0.0", ALL_COST,
     "Returns the union of sets.", .tips = UNORDERED, .key_access = "RO access", .syntax = "key...",
     .across = &show_across},
    {"SDIFF", sdiff_run, -2, KEYS(1, -1, 1), SHOW, ACL_SET, "set", "1.0.0", ALL_COST,
     "Returns what the first of several sets has and no other.", .tips = UNORDERED,
     .key_access = "RO access", .syntax = "key...", .across = &show_across},
    {"SINTERCARD", sintercard_run, -3, NO_KEYS, SHOW | CMD_MOVABLE_KEYS, ACL_SET, "set", "7.0.0",
     INTER_COST, "Returns the number of members of the intersection of sets.",
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
