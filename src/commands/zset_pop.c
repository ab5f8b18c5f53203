/* zset_pop.c: taking the lowest or highest members out of sorted sets. */
#include "shards/assert.h"
#include "zset_impl.h"

/* popped: the ranks of the n that come first, from the lowest score or from the highest. */
static struct zset_run popped(const struct val *v, uint64_t n, bool highest) {
    uint64_t count = zsetval_count(v);
    n = n < count ? n : count;
    return highest ? (struct zset_run){count - n, count} : (struct zset_run){0, n};
}

/* reply_popped: flat: members and scores in one array. */
static void reply_popped(struct reply *r, const struct val *v, struct zset_run run, bool highest,
                         bool flat) {
    struct zset_iter i;
    struct zset_item e;
    uint64_t left = run.to - run.from;
    reply_array(r, flat ? 2 * left : left);
    if (left == 0)
        return;
    zsetval_begin(&i, v, highest ? run.to - 1 : run.from, highest);
    for (; left > 0 && zsetval_next(&i, &e); left--) {
        if (!flat)
            reply_array(r, 2);
        reply_bulk(r, e.member);
        reply_double(r, e.score);
    }
}

/* --- ZPOPMIN, ZPOPMAX --- */

/* get_count: argv[i] as a number from min on; replies the error and returns false. */
static bool get_count(struct ctx *c, uint32_t i, int64_t min, const char *error, int64_t *out) {
    if (strval_parse_int(c->argv[i], out) && *out >= min)
        return true;
    reply_error(&c->reply, error);
    return false;
}

static ON_SHARD void pop(struct ctx *c, bool highest) {
    int64_t n = 1;
    struct coll o;
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 3 && !get_count(c, 2, 0, "ERR value is out of range, must be positive", &n))
        return;
    if (!coll_open(c, 1, VALUE_ZSET, &o))
        return;
    if (o.val.form == VAL_NONE || n == 0) {
        coll_leave(c, &o);
        reply_array(&c->reply, 0);
        return;
    }
    struct zset_run run = popped(&o.val, (uint64_t)n, highest);
    reply_popped(&c->reply, &o.val, run, highest, c->reply.proto < 3 || c->argc == 2);
    zset_take_out(c, &o, run);
}

static ON_SHARD void zpopmin_run(struct ctx *c) {
    pop(c, false);
}

static ON_SHARD void zpopmax_run(struct ctx *c) {
    pop(c, true);
}

/* --- ZMPOP: of the first of several keys that holds anything --- */

struct mpop {
    uint32_t keys; /* argv[2] and on */
    int64_t count;
    bool highest;
};

/* zmpop_keys: ZMPOP numkeys key [key ...] MIN|MAX [COUNT count]. */
static bool zmpop_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                       uint32_t *step) {
    int64_t keys;
    if (!strval_parse_int(argv[1], &keys) || keys < 1 || keys >= argc - 2)
        return false;
    *first = 2;
    *last = (uint32_t)(1 + keys);
    *step = 1;
    return true;
}

static bool mpop_parse(struct ctx *c, struct mpop *p) {
    int64_t keys;
    if (!get_count(c, 1, 1, "ERR numkeys should be greater than 0", &keys))
        return false;
    *p = (struct mpop){.count = -1};
    bool valid = keys < c->argc - 2;
    if (valid) {
        struct span where = c->argv[2 + keys];
        p->keys = (uint32_t)keys;
        p->highest = span_is(where, "MAX");
        valid = p->highest || span_is(where, "MIN");
    }
    for (uint32_t i = p->keys + 3; valid && i < c->argc; i += 2) {
        valid = p->count < 0 && i + 1 < c->argc && span_is(c->argv[i], "COUNT");
        if (valid && !get_count(c, i + 1, 1, "ERR count should be greater than 0", &p->count))
            return false;
    }
    if (!valid)
        reply_error(&c->reply, ERR_SYNTAX);
    p->count = p->count < 0 ? 1 : p->count;
    return valid;
}

static void reply_mpop(struct ctx *c, uint32_t key, const struct val *v, const struct mpop *p) {
    struct zset_run run = popped(v, (uint64_t)p->count, p->highest);
    reply_array(&c->reply, 2);
    reply_bulk(&c->reply, c->argv[key]);
    reply_popped(&c->reply, v, run, p->highest, false);
}

static ON_SHARD void zmpop_run(struct ctx *c) {
    struct mpop p;
    struct coll o;
    if (!mpop_parse(c, &p))
        return;
    for (uint32_t key = 2; key < 2 + p.keys; key++) {
        if (!coll_open(c, key, VALUE_ZSET, &o))
            return;
        if (o.val.form != VAL_NONE) {
            reply_mpop(c, key, &o.val, &p);
            zset_take_out(c, &o, popped(&o.val, (uint64_t)p.count, p.highest));
            return;
        }
        coll_leave(c, &o);
    }
    reply_null_array(&c->reply);
}

/* zmpop_decide: what is popped is replied from where it lies; then its shard takes it out. */
static bool zmpop_decide(struct ctx *c) {
    struct mpop p;
    if (!mpop_parse(c, &p))
        return false;
    for (uint32_t i = 0; i < c->slots->count; i++) {
        struct key_slot *k = &c->slots->slot[i];
        struct val v;
        k->kept = NULL;
        if (!k->view.exists)
            continue;
        if (!coll_of_view(c, &k->view, VALUE_ZSET, &v))
            return false;
        reply_mpop(c, k->arg, &v, &p);
        k->kept = k;
        c->slots->go = true;
        return true;
    }
    reply_null_array(&c->reply);
    return false;
}

static ON_SHARD void zmpop_after(struct ctx *c) {
    struct mpop p;
    struct coll o;
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        bool chosen = k->kept != NULL;
        k->kept = NULL;
        if (!chosen || !c->slots->go)
            continue;
        bool valid = mpop_parse(c, &p) && coll_open(c, k->arg, VALUE_ZSET, &o);
        ASSERT(valid);
        if (o.val.form == VAL_NONE) /* its time has come meanwhile */
            coll_leave(c, &o);
        else
            zset_take_out(c, &o, popped(&o.val, (uint64_t)p.count, p.highest));
    }
}

static const struct across zmpop_across = {
    .look = ctx_look_views, .decide = zmpop_decide, .after = zmpop_after};

static const struct command rows[] = {
    {"ZPOPMIN", zpopmin_run, -2, KEY(1), CMD_WRITE | CMD_FAST, ACL_SORTEDSET, "sorted-set", "5.0.0",
     "O(log(N)) for each member", "Returns and removes the members with the lowest scores.",
     .key_access = "RW access delete", .syntax = "key [count]"},
    {"ZPOPMAX", zpopmax_run, -2, KEY(1), CMD_WRITE | CMD_FAST, ACL_SORTEDSET, "sorted-set", "5.0.0",
     "O(log(N)) for each member", "Returns and removes the members with the highest scores.",
     .key_access = "RW access delete", .syntax = "key [count]"},
    {"ZMPOP", zmpop_run, -4, NO_KEYS, CMD_WRITE | CMD_MOVABLE_KEYS, ACL_SORTEDSET, "sorted-set",
     "7.0.0", "O(K)+O(M*log(N)), of K keys and M members",
     "Returns and removes the members with the lowest or highest scores of the first sorted set "
     "that there is.",
     .find_keys = zmpop_keys, .key_access = "RW access delete",
     .syntax = "numkeys key... where(MIN|MAX) [COUNT=count]", .numkeys = {1, 1},
     .across = &zmpop_across},
};

void zset_pop_register(void) {
    command_register(rows, COUNT_OF(rows));
}
