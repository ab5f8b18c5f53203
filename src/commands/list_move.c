/* list_move.c: from one list to another, and from the first of several: LMOVE, RPOPLPUSH, LMPOP.
 *
 * Between two shards an element is pushed where the destination lies, read in place from the source, and `after` takes
 * it off that: pushing is all that can fail, and nobody else sees either key until both are done. */
#include "list_impl.h"
#include "shards/assert.h"

/* --- LMOVE, RPOPLPUSH --- */

static ON_SHARD void take_one(struct ctx *c, enum listval_end end) {
    struct coll o;
    bool is_list = coll_open(c, 1, VALUE_LIST, &o);
    ASSERT(is_list);
    list_take(c, &o, end, 1);
}

/* rotate: source and destination are one list, which is not empty. */
static ON_SHARD void rotate(struct ctx *c, enum listval_end from, enum listval_end to) {
    struct coll o;
    struct lp_item item;
    struct listval_limits limits = list_limits(c);
    if (!coll_open(c, 1, VALUE_LIST, &o))
        return;
    if (from != to && !listval_rotate(&o.val, from, &limits)) {
        coll_fail(c, &o);
        return;
    }
    bool there = listval_at(&o.val, to == LISTVAL_HEAD ? 0 : listval_count(&o.val) - 1, &item);
    ASSERT(there);
    list_reply_item(&c->reply, &item);
    bool stored = coll_store(c, &o);
    ASSERT(stored); /* nothing grew */
}

static ON_SHARD void move(struct ctx *c, enum listval_end from, enum listval_end to) {
    struct view view;
    struct val source;
    struct coll o;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    ctx_view(c, 1, &view);
    if (!coll_of_view(c, &view, VALUE_LIST, &source))
        return;
    uint64_t count = listval_count(&source);
    if (count == 0) {
        reply_null(&c->reply);
        return;
    }
    if (span_eq(c->argv[1], c->argv[2])) {
        rotate(c, from, to);
        return;
    }
    bool there = listval_at(&source, from == LISTVAL_HEAD ? 0 : count - 1, &item);
    ASSERT(there);
    struct span text = lp_item_text(&item, digits);
    struct listval_limits limits = list_limits(c);
    if (!coll_open(c, 2, VALUE_LIST, &o))
        return;
    if (!listval_push(&o.val, to, &text, 1, &limits)) {
        coll_fail(c, &o);
        return;
    }
    if (!coll_store(c, &o))
        return;
    reply_bulk(&c->reply, text);
    if (c->slots != NULL)
        c->slots->go = true;
    else
        take_one(c, from);
}

static ON_SHARD void after_move(struct ctx *c, enum listval_end from) {
    if (c->slots->go && ctx_slot(c, 1)->shard == c->shard->id)
        take_one(c, from);
}

static ON_SHARD void lmove_run(struct ctx *c) {
    enum listval_end from, to;
    if (list_parse_end(c, 3, &from) && list_parse_end(c, 4, &to))
        move(c, from, to);
}

static ON_SHARD void lmove_after(struct ctx *c) {
    after_move(c, span_is(c->argv[3], "RIGHT") ? LISTVAL_TAIL : LISTVAL_HEAD);
}

static ON_SHARD void rpoplpush_run(struct ctx *c) {
    move(c, LISTVAL_TAIL, LISTVAL_HEAD);
}

static ON_SHARD void rpoplpush_after(struct ctx *c) {
    after_move(c, LISTVAL_TAIL);
}

/* --- LMPOP --- */

enum { LMPOP_KEY = 2 }; /* the first one's argument */
struct lmpop {
    uint32_t keys;
    enum listval_end end;
    uint64_t count;
};

static bool lmpop_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                       uint32_t *step) {
    int64_t keys;
    if (argc < 3 || !strval_parse_int(argv[1], &keys) || keys < 1 || keys > argc - 2)
        return false;
    *first = LMPOP_KEY;
    *last = (uint32_t)keys + 1;
    *step = 1;
    return true;
}

static bool lmpop_parse(struct ctx *c, struct lmpop *p) {
    int64_t keys, count = 1;
    if (!strval_parse_int(c->argv[1], &keys) || keys < 1) {
        reply_error(&c->reply, "ERR numkeys should be greater than 0");
        return false;
    }
    if (keys > c->argc - 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    uint32_t at = (uint32_t)keys + 2;
    if (!list_parse_end(c, at++, &p->end))
        return false;
    for (bool counted = false; at < c->argc; at += 2, counted = true) {
        if (counted || at + 1 == c->argc || !span_is(c->argv[at], "COUNT")) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        if (!strval_parse_int(c->argv[at + 1], &count) || count < 1) {
            reply_error(&c->reply, "ERR count should be greater than 0");
            return false;
        }
    }
    p->keys = (uint32_t)keys;
    p->count = (uint64_t)count;
    return true;
}

/* reply_popped: what will be taken from the list under argv[key]; returns how many that are. */
static uint64_t reply_popped(struct ctx *c, const struct lmpop *p, uint32_t key,
                             const struct val *v) {
    uint64_t count = listval_count(v), n = p->count < count ? p->count : count;
    reply_array(&c->reply, 2);
    reply_bulk(&c->reply, c->argv[key]);
    list_reply_end(c, v, p->end, n);
    return n;
}

static ON_SHARD void lmpop_run(struct ctx *c) {
    struct lmpop p;
    struct coll o;
    if (!lmpop_parse(c, &p))
        return;
    for (uint32_t i = 0; i < p.keys; i++) {
        if (!coll_open(c, LMPOP_KEY + i, VALUE_LIST, &o))
            return;
        if (o.val.form != VAL_NONE) {
            list_take(c, &o, p.end, reply_popped(c, &p, LMPOP_KEY + i, &o.val));
            return;
        }
        coll_leave(c, &o);
    }
    reply_null_array(&c->reply);
}

static ON_SHARD void lmpop_look(struct ctx *c) {
    ctx_look_views(c);
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k))
        k->kept = NULL;
}

/* lmpop_decide: which key it is, of whose slot `kept` tells `after` so. */
static bool lmpop_decide(struct ctx *c) {
    struct lmpop p;
    struct val v;
    if (!lmpop_parse(c, &p))
        return false;
    for (uint32_t i = 0; i < p.keys; i++) {
        struct key_slot *k = ctx_slot(c, LMPOP_KEY + i);
        if (!coll_of_view(c, &k->view, VALUE_LIST, &v))
            return false;
        if (v.form == VAL_NONE)
            continue;
        (void)reply_popped(c, &p, LMPOP_KEY + i, &v);
        k->kept = k;
        c->slots->go = true;
        return true;
    }
    reply_null_array(&c->reply);
    return false;
}

static ON_SHARD void lmpop_after(struct ctx *c) {
    struct lmpop p;
    struct coll o;
    struct key_slot *k = ctx_first_slot(c);
    while (k != NULL && k->kept == NULL)
        k = ctx_next_slot(c, k);
    if (!c->slots->go || k == NULL)
        return;
    k->kept = NULL;
    bool valid = lmpop_parse(c, &p) && coll_open(c, k->arg, VALUE_LIST, &o);
    ASSERT(valid);
    uint64_t count = listval_count(&o.val);
    list_take(c, &o, p.end, p.count < count ? p.count : count);
}

static const struct across lmove_across = {.look = ctx_look_views, .at = 2, .after = lmove_after};
static const struct across rpoplpush_across = {
    .look = ctx_look_views, .at = 2, .after = rpoplpush_after};
static const struct across lmpop_across = {
    .look = lmpop_look, .decide = lmpop_decide, .after = lmpop_after};

static const struct command rows[] = {
    {"LMOVE", lmove_run, 5, KEYS(1, 2, 1), CMD_WRITE | CMD_DENY_OOM, ACL_LIST, "list", "6.2.0",
     "O(1)", "Takes an element from one end of a list, puts it at one of another and returns it.",
     .key_access = "RW access delete;RW insert",
     .syntax = "source:key destination:key wherefrom(LEFT|RIGHT) whereto(LEFT|RIGHT)",
     .across = &lmove_across},
    {"RPOPLPUSH", rpoplpush_run, 3, KEYS(1, 2, 1), CMD_WRITE | CMD_DENY_OOM, ACL_LIST, "list",
     "1.2.0", "O(1)", "Takes the last element of a list, puts it first in another and returns it.",
     .key_access = "RW access delete;RW insert", .syntax = "source:key destination:key",
     .deprecated_since = "6.2.0", .replaced_by = "`LMOVE` with the `RIGHT` and `LEFT` arguments",
     .across = &rpoplpush_across},
    {"LMPOP", lmpop_run, -4, NO_KEYS, CMD_WRITE | CMD_MOVABLE_KEYS, ACL_LIST, "list", "7.0.0",
     "O(N + M) for N keys and M elements returned",
     "Takes elements from the first list of several that has any, and returns them.",
     .find_keys = lmpop_keys, .key_access = "RW access delete",
     .syntax = "numkeys key... where(LEFT|RIGHT) [COUNT=count]", .numkeys = {1, 1},
     .across = &lmpop_across},
};

void list_move_register(void) {
    command_register(rows, COUNT_OF(rows));
}
