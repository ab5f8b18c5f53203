/* sets.c: members of one set: SADD, SREM, SISMEMBER and what is close to them; SMOVE. The rest of the family stands in
 * sets_*.c. */
#include "set_impl.h"
#include "set_options_impl.h"
#include "shards/assert.h"
#include "walk_impl.h"

/* A set that is new lies here until it is stored: what fits into an entry takes no block of its own. */
enum { NEW_BYTES = 128 };

static ON_SHARD void sadd_run(struct ctx *c) {
    uint8_t fresh[NEW_BYTES];
    struct set_kind kind = set_kind(c);
    struct coll o;
    uint64_t added;
    if (!coll_open(c, 1, VALUE_SET, &o))
        return;
    if (o.val.form == VAL_NONE)
        val_of_bytes(&o.val, o.val.mem, VALUE_SET, VAL_NONE, fresh, 0, sizeof(fresh));
    if (unlikely(!setval_add(&o.val, &kind, c->argv + 2, c->argc - 2, c->now_ms, &added))) {
        coll_fail(c, &o);
        return;
    }
    if (added == 0)
        coll_leave(c, &o);
    else if (!coll_store(c, &o))
        return;
    reply_int(&c->reply, (int64_t)added);
}

static ON_SHARD void srem_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct coll o;
    int64_t removed = 0;
    if (!coll_open(c, 1, VALUE_SET, &o))
        return;
    for (uint32_t i = 2; i < c->argc; i++)
        removed += setval_remove(&o.val, &kind, c->argv[i], c->now_ms);
    if (removed == 0)
        coll_leave(c, &o);
    else if (!coll_store(c, &o))
        return;
    reply_int(&c->reply, removed);
}

static ON_SHARD void scard_run(struct ctx *c) {
    struct val v;
    if (coll_read(c, 1, VALUE_SET, &v))
        reply_int(&c->reply, (int64_t)setval_count(&v));
}

static ON_SHARD void sismember_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct val v;
    if (coll_read(c, 1, VALUE_SET, &v))
        reply_int(&c->reply, setval_find(&v, &kind, c->argv[2], c->now_ms, NULL));
}

static ON_SHARD void smismember_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct val v;
    if (!coll_read(c, 1, VALUE_SET, &v))
        return;
    reply_array(&c->reply, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++)
        reply_int(&c->reply, setval_find(&v, &kind, c->argv[i], c->now_ms, NULL));
}

static ON_SHARD void smembers_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct val v;
    if (coll_read(c, 1, VALUE_SET, &v))
        sets_reply_all(c, &v, &kind);
}

void sets_reply_all(struct ctx *c, const struct val *v, const struct set_kind *k) {
    struct set_iter i;
    struct lp_item item;
    reply_set(&c->reply, setval_living(v, k, c->now_ms));
    setval_begin(&i, v, k, c->now_ms);
    while (setval_next(&i, &item))
        set_reply_item(&c->reply, &item);
}

/* --- SMOVE --- */

/* take_source: out of argv[1], where it is; that takes no memory. */
static ON_SHARD void take_source(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct coll o;
    bool taken = coll_open(c, 1, VALUE_SET, &o) &&
                 setval_remove(&o.val, &kind, c->argv[3], c->now_ms) && coll_store(c, &o);
    ASSERT(taken);
}

/* put_destination: into argv[2], with the time that it had; one that is there stays as it is. False: replied. */
static ON_SHARD bool put_destination(struct ctx *c, int64_t expire_ms) {
    struct set_kind kind = set_kind(c);
    struct coll o;
    uint64_t added;
    if (!coll_open(c, 2, VALUE_SET, &o))
        return false;
    bool fine =
        expire_ms == FIELDS_NEVER
            ? setval_add(&o.val, &kind, &c->argv[3], 1, c->now_ms, &added)
            : setval_add_timed(&o.val, &kind, &c->argv[3], 1, true, expire_ms, c->now_ms, &added);
    if (!fine) {
        coll_fail(c, &o);
        return false;
    }
    if (added > 0)
        return coll_store(c, &o);
    coll_leave(c, &o);
    return true;
}

/* smove_run: where the destination lies. */
static ON_SHARD void smove_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct view from, to;
    struct val v, ignored;
    int64_t expire_ms;
    ctx_view(c, 1, &from);
    ctx_view(c, 2, &to);
    if (!from.exists) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!coll_of_view(c, &from, VALUE_SET, &v) || !coll_of_view(c, &to, VALUE_SET, &ignored))
        return;
    bool there = setval_find(&v, &kind, c->argv[3], c->now_ms, &expire_ms);
    if (there && !span_eq(c->argv[1], c->argv[2])) {
        if (!put_destination(c, expire_ms))
            return;
        if (c->slots != NULL)
            c->slots->go = true;
        else
            take_source(c);
    }
    reply_int(&c->reply, there);
}

static ON_SHARD void smove_after(struct ctx *c) {
    if (c->slots->go && ctx_slot(c, 1)->shard == c->shard->id)
        take_source(c);
}

/* --- SSCAN --- */

static void visit(void *arg, const struct lp_item *i) {
    struct walk *w = arg;
    char digits[STRVAL_INT_BYTES];
    if (!w->all && !walk_matches(w, lp_item_text(i, digits)))
        return;
    set_reply_item(&w->reply, i);
    w->replied++;
}

static ON_SHARD void sscan_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    struct val v;
    struct walk w;
    if (!walk_begin(c, VALUE_SET, &v, &w))
        return;
    w.cursor = setval_scan(&v, &kind, w.cursor, w.count, c->now_ms, visit, &w);
    walk_end(c, &w);
}

/* --- SADDEX --- */

static ON_SHARD void saddex_run(struct ctx *c) {
    struct set_kind kind = set_kind(c);
    bool keep = span_is(c->argv[2], "KEEPTTL");
    uint32_t first = keep ? 4 : 3;
    struct coll o;
    int64_t expire_ms;
    uint64_t added;
    if (first >= c->argc) {
        command_reply_arity(&c->reply, c->cmd);
        return;
    }
    if (!set_options_time(c, EXPIRY_EX, first - 1, &expire_ms) || !coll_open(c, 1, VALUE_SET, &o))
        return;
    if (!setval_add_timed(&o.val, &kind, c->argv + first, c->argc - first, keep, expire_ms,
                          c->now_ms, &added)) {
        coll_fail(c, &o);
        return;
    }
    if (added == 0 && keep)
        coll_leave(c, &o);
    else if (!coll_store(c, &o))
        return;
    reply_int(&c->reply, (int64_t)added);
}

static const struct across smove_across = {.look = ctx_look_views, .at = 2, .after = smove_after};

static const struct command rows[] = {
    {"SADD", sadd_run, -3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_SET, "set", "1.0.0",
     "O(N) in the members that are named", "Adds members to a set.", .key_access = "RW insert",
     .syntax = "key member..."},
    {"SREM", srem_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_SET, "set", "1.0.0",
     "O(N) in the members that are named", "Takes members out of a set.", .key_access = "RW delete",
     .syntax = "key member..."},
    {"SCARD", scard_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_SET, "set", "1.0.0", "O(1)",
     "Returns how many members a set has.", .key_access = "RO", .syntax = "key"},
    {"SISMEMBER", sismember_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_SET, "set", "1.0.0", "O(1)",
     "Tells whether a set has a member.", .key_access = "RO", .syntax = "key member"},
    {"SMISMEMBER", smismember_run, -3, KEY(1), CMD_READ | CMD_FAST, ACL_SET, "set", "6.2.0",
     "O(N) in the members that are named", "Tells which of several members a set has.",
     .key_access = "RO access", .syntax = "key member..."},
    {"SMEMBERS", smembers_run, 2, KEY(1), CMD_READ, ACL_SET, "set", "1.0.0",
     "O(N) in the members of the set", "Returns all members of a set.",
     .tips = "nondeterministic_output_order", .key_access = "RO access", .syntax = "key"},
    {"SMOVE", smove_run, 4, KEYS(1, 2, 1), CMD_WRITE | CMD_FAST, ACL_SET, "set", "1.0.0", "O(1)",
     "Moves a member from one set to another.", .key_access = "RW access delete;RW insert",
     .syntax = "source:key destination:key member", .across = &smove_across},
    {"SSCAN", sscan_run, -3, KEY(1), CMD_READ, ACL_SET, "set", "2.8.0",
     "O(1) for a step, O(N) for all of them", "Returns some members of a set, and where to go on.",
     .tips = "nondeterministic_output", .key_access = "RO access",
     .syntax = "key cursor:integer [MATCH=pattern:pattern] [COUNT=count:integer]"},
    {"SADDEX", saddex_run, -4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_SET, "set", "1.0.0",
     "O(N) in the members that are named",
     "Adds members to a set, and makes them expire after some seconds.", .key_access = "RW insert",
     .syntax = "key [KEEPTTL] seconds member..."},
};

void set_register(void) {
    command_register(rows, COUNT_OF(rows));
    sets_random_register();
    sets_algebra_register();
}
