/* hash_ttl.c: fields that expire: HEXPIRE, HTTL, HPERSIST and their kin; FIELDTTL and FIELDEXPIRE,
 * which know sets too.
 *
 * Redis 8 is followed where Valkey 9 differs: what is wrong with a call is told in its words, and a
 * condition that fails keeps a field whose new time has passed. Valkey's conditions that can hold
 * together (XX GT) are taken too. */
#include "generic_expire_impl.h"
#include "hash_impl.h"
#include "set_impl.h"
#include "set_options_impl.h"

/* What is replied for a field. */
enum { NO_FIELD = -2, NO_TIME = -1, CONDITION_FAILED = 0, TIME_SET = 1, TIME_PASSED = 2 };

/* --- shared with hash_ex.c --- */

const char HASH_NO_FIELDS[] =
    "ERR Mandatory argument FIELDS is missing or not at the right position";
const char HASH_BAD_COUNT[] = "ERR Number of fields must be a positive integer";

bool hash_fields(struct ctx *c, uint32_t at, const char *bad_count) {
    int64_t n;
    if (at >= c->argc || !span_is(c->argv[at], "FIELDS"))
        reply_error(&c->reply, HASH_NO_FIELDS);
    else if (at + 1 == c->argc)
        command_reply_arity(&c->reply, c->cmd);
    else if (!strval_parse_int(c->argv[at + 1], &n) || n < 1)
        reply_error(&c->reply, bad_count);
    else if (n != (int64_t)c->argc - at - 2)
        reply_error(&c->reply, "ERR The `numfields` parameter must match the number of arguments");
    else
        return true;
    return false;
}

bool hash_time(struct ctx *c, uint32_t arg, int64_t unit_ms, int64_t base_ms, int64_t *out) {
    if (!ctx_get_int(c, arg, out))
        return false;
    if (*out < 0) {
        reply_error(&c->reply, "ERR invalid expire time, must be >= 0");
        return false;
    }
    if (*out > FIELD_MS_MAX / unit_ms || *out * unit_ms > FIELD_MS_MAX - base_ms) {
        set_options_bad_time(c);
        return false;
    }
    *out = *out * unit_ms + base_ms;
    return true;
}

static void times_free(struct hash_times *t) {
    if (t->list != t->few)
        mem_free(t->mem, t->list, t->cap * sizeof(*t->list));
    if (t->seen.slots != NULL)
        hash_seen_deinit(&t->seen);
}

bool hash_times_begin(struct ctx *c, struct hash_times *t, struct coll *o, uint32_t cap,
                      bool once) {
    t->mem = keyspace_mem(c->keyspace);
    t->set = NULL;
    t->n = 0;
    t->cap = cap;
    t->reply_begin = c->reply.out->len;
    t->seen.slots = NULL;
    t->list = t->few;
    if (cap > COUNT_OF(t->few))
        t->list = mem_alloc(t->mem, cap * sizeof(*t->list));
    if (t->list != NULL && (!once || cap == 1 || hash_seen_init(&t->seen, t->mem, cap)))
        return true;
    times_free(t);
    coll_fail(c, o);
    return false;
}

bool hash_times_add(struct hash_times *t, struct span name, int64_t expire_ms) {
    if (t->seen.slots != NULL && !hash_seen_add(&t->seen, name))
        return false;
    t->list[t->n++] = (struct field_time){name, expire_ms};
    return true;
}

/* take_back: the reply from `begin` to `end` makes room for what is behind it. */
static void take_back(struct outbuf *o, size_t begin, size_t end) {
    memmove(o->buf + begin, o->buf + end, o->len - end);
    o->len -= end - begin;
}

static bool times_write(const struct ctx *c, const struct hash_times *t, struct val *v,
                        const struct fields_kind *k) {
    if (t->set != NULL)
        return setval_set_times(v, t->set, t->list, t->n, c->now_ms);
    return fields_set_times(v, k, t->list, t->n, c->now_ms);
}

void hash_times_end(struct ctx *c, struct hash_times *t, struct coll *o,
                    const struct fields_kind *k, bool removed) {
    size_t reply_end = c->reply.out->len;
    bool done = true;
    if (t->n > 0 && !times_write(c, t, &o->val, k)) {
        coll_fail(c, o);
        done = false;
    } else if (t->n > 0 || removed) {
        done = coll_store(c, o);
    } else {
        coll_leave(c, o);
    }
    if (!done)
        take_back(c->reply.out, t->reply_begin, reply_end);
    times_free(t);
}

/* --- giving times --- */

/* read_conditions: words from argv[*at] on; *at moves behind them. One that excludes those before
 * it is not taken, and hash_fields finds it in its way. */
static unsigned read_conditions(const struct ctx *c, uint32_t *at) {
    unsigned all = 0;
    for (; *at < c->argc; (*at)++) {
        unsigned one = generic_expire_condition(c->argv[*at]);
        if (one == 0 || generic_expire_clash(all | one))
            break;
        all |= one;
    }
    return all;
}

struct giving {
    struct ctx *c;
    struct coll o;
    struct set_kind kind; /* of a hash only .fields counts */
    struct hash_times times;
    unsigned conditions;
    int64_t when_ms;
    bool removed;
};

static bool find(const struct giving *g, struct span name, int64_t *expire_ms) {
    const struct val *v = &g->o.val;
    if (v->form == VAL_NONE)
        return false;
    if (v->type == VALUE_SET)
        return setval_find(v, &g->kind, name, g->c->now_ms, expire_ms);
    struct field f;
    if (!fields_find(v, &g->kind.fields, name, g->c->now_ms, &f))
        return false;
    *expire_ms = f.expire_ms;
    return true;
}

static void take_out(struct giving *g, struct span name) {
    struct val *v = &g->o.val;
    bool taken = v->type == VALUE_SET ? setval_remove(v, &g->kind, name, g->c->now_ms)
                                      : fields_remove(v, &g->kind.fields, name, g->c->now_ms);
    hash_count_expired(g->c, taken);
    g->removed |= taken;
}

static int give_one(struct giving *g, struct span name) {
    int64_t expire_ms;
    if (!find(g, name, &expire_ms))
        return NO_FIELD;
    if (!generic_expire_allowed(g->conditions, expire_ms, g->when_ms))
        return CONDITION_FAILED;
    if (g->when_ms <= g->c->now_ms) {
        take_out(g, name);
        return TIME_PASSED;
    }
    return hash_times_add(&g->times, name, g->when_ms) ? TIME_SET : CONDITION_FAILED;
}

/* give: to the fields from argv[from] on. When it has passed they go. */
static ON_SHARD void give(struct giving *g, uint32_t from) {
    struct ctx *c = g->c;
    /* Named again it has a time, and this one: of the conditions only XX holds then. */
    bool once = g->conditions & ~(unsigned)EXPIRE_IF_SOME && g->when_ms > c->now_ms;
    if (!hash_times_begin(c, &g->times, &g->o, c->argc - from, once))
        return;
    if (g->o.val.type == VALUE_SET)
        g->times.set = &g->kind;
    reply_array(&c->reply, c->argc - from);
    for (uint32_t i = from; i < c->argc; i++)
        reply_int(&c->reply, give_one(g, c->argv[i]));
    hash_times_end(c, &g->times, &g->o, &g->kind.fields, g->removed);
}

static ON_SHARD void expire_at(struct ctx *c, int64_t unit_ms, int64_t base_ms) {
    struct giving g = {.c = c, .kind.fields = hash_kind(c)};
    uint32_t at = 3;
    if (!coll_open(c, 1, VALUE_HASH, &g.o))
        return;
    bool valid = hash_time(c, 2, unit_ms, base_ms, &g.when_ms);
    if (valid) {
        g.conditions = read_conditions(c, &at);
        valid = hash_fields(c, at, "ERR Parameter `numFields` should be greater than 0");
    }
    if (valid)
        give(&g, at + 2);
    else
        coll_leave(c, &g.o);
}

static ON_SHARD void hexpire_run(struct ctx *c) {
    expire_at(c, 1000, c->now_ms);
}

static ON_SHARD void hpexpire_run(struct ctx *c) {
    expire_at(c, 1, c->now_ms);
}

static ON_SHARD void hexpireat_run(struct ctx *c) {
    expire_at(c, 1000, 0);
}

static ON_SHARD void hpexpireat_run(struct ctx *c) {
    expire_at(c, 1, 0);
}

static ON_SHARD int persist_one(struct ctx *c, struct coll *o, const struct fields_kind *k,
                                struct hash_times *t, struct span name) {
    struct field f;
    if (o->val.form == VAL_NONE || !fields_find(&o->val, k, name, c->now_ms, &f))
        return NO_FIELD;
    if (f.expire_ms == FIELDS_NEVER || !hash_times_add(t, name, FIELDS_NEVER))
        return NO_TIME;
    return TIME_SET;
}

static ON_SHARD void hpersist_run(struct ctx *c) {
    struct coll o;
    struct fields_kind kind = hash_kind(c);
    struct hash_times times;
    if (!coll_open(c, 1, VALUE_HASH, &o))
        return;
    if (!hash_fields(c, 2, HASH_BAD_COUNT)) {
        coll_leave(c, &o);
        return;
    }
    if (!hash_times_begin(c, &times, &o, c->argc - 4, true))
        return;
    reply_array(&c->reply, c->argc - 4);
    for (uint32_t i = 4; i < c->argc; i++)
        reply_int(&c->reply, persist_one(c, &o, &kind, &times, c->argv[i]));
    hash_times_end(c, &times, &o, &kind, false);
}

/* --- telling times --- */

/* shown: a field's time, counted from base_ms on; what is left of a second counts whole. */
static int64_t shown(int64_t expire_ms, int64_t unit_ms, int64_t base_ms) {
    if (expire_ms == FIELDS_NEVER)
        return NO_TIME;
    return (expire_ms - base_ms + unit_ms - 1) / unit_ms;
}

static ON_SHARD void reply_times(struct ctx *c, int64_t unit_ms, int64_t base_ms) {
    struct val v;
    struct field f;
    struct fields_kind kind = hash_kind(c);
    if (!coll_read(c, 1, VALUE_HASH, &v) || !hash_fields(c, 2, HASH_BAD_COUNT))
        return;
    reply_array(&c->reply, c->argc - 4);
    for (uint32_t i = 4; i < c->argc; i++) {
        bool found = v.form != VAL_NONE && fields_find(&v, &kind, c->argv[i], c->now_ms, &f);
        reply_int(&c->reply, found ? shown(f.expire_ms, unit_ms, base_ms) : NO_FIELD);
    }
}

static ON_SHARD void httl_run(struct ctx *c) {
    reply_times(c, 1000, c->now_ms);
}

static ON_SHARD void hpttl_run(struct ctx *c) {
    reply_times(c, 1, c->now_ms);
}

static ON_SHARD void hexpiretime_run(struct ctx *c) {
    reply_times(c, 1000, 0);
}

static ON_SHARD void hpexpiretime_run(struct ctx *c) {
    reply_times(c, 1, 0);
}

/* --- Dragonfly's, for hashes and sets --- */

/* kind_of_key: what argv[1] is to be opened as. */
static ON_SHARD uint8_t kind_of_key(struct ctx *c, struct set_kind *k) {
    const struct entry *e = ctx_peek(c, 1);
    if (e != NULL && entry_type(e) == VALUE_SET) {
        *k = set_kind(c);
        return VALUE_SET;
    }
    *k = (struct set_kind){.fields = hash_kind(c)};
    return VALUE_HASH;
}

static ON_SHARD void fieldttl_run(struct ctx *c) {
    enum { NO_KEY = -2, NO_FIELD_OF_KEY = -3 };
    struct giving g = {.c = c};
    int64_t expire_ms;
    if (!coll_read(c, 1, kind_of_key(c, &g.kind), &g.o.val))
        return;
    if (g.o.val.form == VAL_NONE)
        reply_int(&c->reply, NO_KEY);
    else if (!find(&g, c->argv[2], &expire_ms))
        reply_int(&c->reply, NO_FIELD_OF_KEY);
    else
        reply_int(&c->reply, shown(expire_ms, 1000, c->now_ms));
}

static ON_SHARD void fieldexpire_run(struct ctx *c) {
    struct giving g = {.c = c};
    if (hash_time(c, 2, 1000, c->now_ms, &g.when_ms) &&
        coll_open(c, 1, kind_of_key(c, &g.kind), &g.o))
        give(&g, 3);
}

#define CONDITION "[condition(NX|XX|GT|LT)]"

static const struct command rows[] = {
    {"HEXPIRE", hexpire_run, -6, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Makes fields expire after some seconds.",
     .key_access = "RW update", .syntax = "key seconds " CONDITION " " HASH_FIELDS_SYNTAX},
    {"HPEXPIRE", hpexpire_run, -6, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Makes fields expire after some milliseconds.",
     .key_access = "RW update", .syntax = "key milliseconds " CONDITION " " HASH_FIELDS_SYNTAX},
    {"HEXPIREAT", hexpireat_run, -6, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Makes fields expire at a Unix time in seconds.",
     .key_access = "RW update",
     .syntax = "key unix-time-seconds " CONDITION " " HASH_FIELDS_SYNTAX},
    {"HPEXPIREAT", hpexpireat_run, -6, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Makes fields expire at a Unix time in milliseconds.",
     .key_access = "RW update",
     .syntax = "key unix-time-milliseconds " CONDITION " " HASH_FIELDS_SYNTAX},
    {"HPERSIST", hpersist_run, -5, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Makes fields that would expire stay.",
     .key_access = "RW update", .syntax = "key " HASH_FIELDS_SYNTAX},
    {"HTTL", httl_run, -5, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Returns after how many seconds fields expire.",
     .tips = "nondeterministic_output", .key_access = "RO access",
     .syntax = "key " HASH_FIELDS_SYNTAX},
    {"HPTTL", hpttl_run, -5, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named", "Returns after how many milliseconds fields expire.",
     .tips = "nondeterministic_output", .key_access = "RO access",
     .syntax = "key " HASH_FIELDS_SYNTAX},
    {"HEXPIRETIME", hexpiretime_run, -5, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named",
     "Returns the Unix times in seconds at which fields expire.", .key_access = "RO access",
     .syntax = "key " HASH_FIELDS_SYNTAX},
    {"HPEXPIRETIME", hpexpiretime_run, -5, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "7.4.0",
     "O(N) in the fields that are named",
     "Returns the Unix times in milliseconds at which fields expire.", .key_access = "RO access",
     .syntax = "key " HASH_FIELDS_SYNTAX},
    {"FIELDTTL", fieldttl_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "1.0.0",
     "O(1)", "Returns after how many seconds a field of a hash or a member of a set expires.",
     .tips = "nondeterministic_output", .key_access = "RO access", .syntax = "key field"},
    {"FIELDEXPIRE", fieldexpire_run, -4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     ACL_HASH | ACL_SET, "generic", "1.0.0", "O(N) in the fields that are named",
     "Makes fields of a hash or members of a set expire after some seconds.",
     .key_access = "RW update", .syntax = "key seconds field..."},
};

void hash_ttl_register(void) {
    command_register(rows, COUNT_OF(rows));
}
