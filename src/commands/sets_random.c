/* sets_random.c: members by chance: SPOP, SRANDMEMBER. */
#include "set_impl.h"
#include "shards/assert.h"
#include <limits.h>

/* A reply with repetitions has no natural end: more than this many are not asked for in earnest. */
enum { REPEATS_MAX = 1 << 24 };

/* purge: takes out what is dead, so that all that is left can be drawn. */
static void purge(struct val *v, int64_t now_ms) {
    while (setval_due_ms(v) <= now_ms) {
        struct object *o = val_object(v);
        unsigned budget = UINT_MAX;
        if (val_ops_of(v->form)->expire_some(v->mem, o, now_ms, &budget) == 0)
            break;
        val_of_object(v, v->mem, o);
    }
}

/* --- SPOP --- */

/* pop: one member, into the reply; false: there is none. */
static ON_SHARD bool pop(struct ctx *c, struct val *v, const struct set_kind *k) {
    struct set_draw d;
    struct lp_item item;
    setval_draw_begin(&d, v, k, c->now_ms);
    if (!setval_draw(&d, &c->shard->rng, &item))
        return false;
    set_reply_item(&c->reply, &item);
    bool taken = setval_take(v, k, &item, c->now_ms);
    ASSERT(taken);
    return true;
}

static ON_SHARD void pop_one(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct coll o;
    if (!coll_open(c, 1, VALUE_SET, &o))
        return;
    if (pop(c, &o.val, &kind)) {
        bool stored = coll_store(c, &o);
        ASSERT(stored); /* it takes no memory to hold less */
        return;
    }
    coll_leave(c, &o);
    reply_null(&c->reply);
}

static ON_SHARD void pop_all(struct ctx *c, struct coll *o, const struct set_kind *k) {
    struct val none;
    sets_reply_all(c, &o->val, k);
    coll_leave(c, o);
    val_init(&none, keyspace_mem(c->keyspace), VALUE_SET);
    bool stored = coll_replace(c, 1, &none);
    ASSERT(stored);
}

static ON_SHARD void pop_many(struct ctx *c, uint64_t count) {
    struct set_kind kind = set_kind(c);
    struct coll o;
    if (!coll_open(c, 1, VALUE_SET, &o))
        return;
    purge(&o.val, c->now_ms);
    uint64_t all = setval_living(&o.val, &kind, c->now_ms);
    if (count == 0 || all == 0) {
        coll_leave(c, &o);
        reply_set(&c->reply, 0);
    } else if (count >= all) {
        pop_all(c, &o, &kind);
    } else {
        reply_set(&c->reply, count);
        while (count > 0 && pop(c, &o.val, &kind))
            count--;
        ASSERT(count == 0);
        bool stored = coll_store(c, &o);
        ASSERT(stored);
    }
}

static ON_SHARD void spop_run(struct ctx *c) {
    int64_t count;
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
    } else if (c->argc == 2) {
        pop_one(c);
    } else if (!strval_parse_int(c->argv[2], &count) || count < 0) {
        reply_error(&c->reply, "ERR value is out of range, must be positive");
    } else {
        pop_many(c, (uint64_t)count);
    }
}

/* --- SRANDMEMBER --- */

/* show_again: n members, any of them any number of times. Of a listpack, where finding one takes a walk, all are listed
 * first, and of a set that is mostly dead once that has cost as much. */
static ON_SHARD void show_again(struct ctx *c, const struct val *v, const struct set_kind *k,
                                uint64_t n) {
    struct rng *rng = &c->shard->rng;
    struct set_draw d;
    struct set_found all = {.v = {.form = VAL_NONE}};
    struct lp_item item = {0};
    bool list = val_is_flat(v) && v->form != VAL_INTSET && n > 1;
    if (list && !setval_pick(&all, v, k, rng, UINT64_MAX, c->now_ms)) {
        ctx_oom(c);
        return;
    }
    setval_draw_begin(&d, v, k, c->now_ms);
    if (n > 0 && !(list ? all.n > 0 : setval_draw(&d, rng, &item)))
        n = 0;
    reply_array(&c->reply, n);
    for (uint64_t i = 0; i < n && !c->reply.out->failed; i++) {
        if (unlikely(d.refused > setval_count(v))) {
            d.refused = 0;
            list = setval_pick(&all, v, k, rng, UINT64_MAX, c->now_ms);
        }
        if (list)
            item = all.items[rng_below(rng, all.n)];
        else if (i > 0 && !setval_draw(&d, rng, &item))
            ASSERT(false);
        set_reply_item(&c->reply, &item);
    }
    if (list)
        setval_found_free(&all, keyspace_mem(c->keyspace));
}

/* show_distinct: n different members, or all. */
static ON_SHARD void show_distinct(struct ctx *c, const struct val *v, const struct set_kind *k,
                                   uint64_t n) {
    struct set_found f;
    if (!setval_pick(&f, v, k, &c->shard->rng, n, c->now_ms)) {
        ctx_oom(c);
        return;
    }
    reply_array(&c->reply, f.n);
    for (size_t i = 0; i < f.n; i++)
        set_reply_item(&c->reply, &f.items[i]);
    setval_found_free(&f, keyspace_mem(c->keyspace));
}

/* read_count: replies what is wrong with it. */
static bool read_count(struct ctx *c, int64_t *count) {
    if (!ctx_get_int(c, 2, count))
        return false;
    if (*count == INT64_MIN) {
        reply_errorf(&c->reply, "ERR value is out of range, value must between %lld and %lld",
                     (long long)-INT64_MAX, (long long)INT64_MAX);
        return false;
    }
    if (*count < -REPEATS_MAX) {
        reply_error(&c->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

static ON_SHARD void srandmember_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct set_draw d;
    struct lp_item item;
    struct val v;
    int64_t count = 1;
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if ((c->argc == 3 && !read_count(c, &count)) || !coll_read(c, 1, VALUE_SET, &v))
        return;
    if (c->argc == 2) {
        setval_draw_begin(&d, &v, &kind, c->now_ms);
        if (setval_draw(&d, &c->shard->rng, &item))
            set_reply_item(&c->reply, &item);
        else
            reply_null(&c->reply);
    } else if (count < 0) {
        show_again(c, &v, &kind, (uint64_t)-count);
    } else {
        show_distinct(c, &v, &kind, (uint64_t)count);
    }
}

static const struct command rows[] = {
    {"SPOP", spop_run, -2, KEY(1), CMD_WRITE | CMD_FAST, ACL_SET, "set", "1.0.0",
     "O(1) for one, O(N) for N members", "Takes members out of a set by chance, and returns them.",
     .tips = "nondeterministic_output", .key_access = "RW access delete",
     .syntax = "key [count:integer]"},
    {"SRANDMEMBER", srandmember_run, -2, KEY(1), CMD_READ, ACL_SET, "set", "1.0.0",
     "O(1) for one, O(N) for N members", "Returns members of a set by chance.",
     .tips = "nondeterministic_output", .key_access = "RO access", .syntax = "key [count:integer]"},
};

void sets_random_register(void) {
    command_register(rows, COUNT_OF(rows));
}
