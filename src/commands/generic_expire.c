/* generic_expire.c: when keys expire. */
#include "generic_expire_impl.h"
#include "set_options_impl.h"

unsigned generic_expire_condition(struct span word) {
    static const struct {
        const char *word;
        unsigned condition;
    } all[] = {{"NX", EXPIRE_IF_NONE},
               {"XX", EXPIRE_IF_SOME},
               {"GT", EXPIRE_IF_GREATER},
               {"LT", EXPIRE_IF_LESS}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (span_is(word, all[i].word))
            return all[i].condition;
    }
    return 0;
}

const char *generic_expire_clash(unsigned conditions) {
    if (conditions & EXPIRE_IF_NONE && conditions != EXPIRE_IF_NONE)
        return "ERR NX and XX, GT or LT options at the same time are not compatible";
    if (conditions & EXPIRE_IF_GREATER && conditions & EXPIRE_IF_LESS)
        return "ERR GT and LT options at the same time are not compatible";
    return NULL;
}

bool generic_expire_allowed(unsigned conditions, int64_t now_expires_ms, int64_t wanted_ms) {
    bool never = now_expires_ms == EXPIRE_NEVER;
    if (conditions & EXPIRE_IF_NONE && !never)
        return false;
    if (conditions & EXPIRE_IF_SOME && never)
        return false;
    if (conditions & EXPIRE_IF_GREATER && (never || wanted_ms <= now_expires_ms))
        return false;
    return !(conditions & EXPIRE_IF_LESS) || never || wanted_ms < now_expires_ms;
}

static bool parse_conditions(struct ctx *c, unsigned *conditions) {
    *conditions = 0;
    for (uint32_t i = 3; i < c->argc; i++) {
        unsigned one = generic_expire_condition(c->argv[i]);
        if (one == 0) {
            reply_errorf(&c->reply, "ERR Unsupported option %.*s", (int)c->argv[i].len,
                         c->argv[i].ptr);
            return false;
        }
        *conditions |= one;
    }
    const char *clash = generic_expire_clash(*conditions);
    if (clash != NULL)
        reply_error(&c->reply, clash);
    return clash == NULL;
}

/* expire_at: argv[2] counts unit_ms each, from base_ms on. Times that have passed delete the key.
 */
static ON_SHARD void expire_at(struct ctx *c, int64_t unit_ms, int64_t base_ms) {
    unsigned conditions;
    int64_t when;
    if (!parse_conditions(c, &conditions) || !ctx_get_int(c, 2, &when))
        return;
    if (__builtin_mul_overflow(when, unit_ms, &when) ||
        __builtin_add_overflow(when, base_ms, &when)) {
        set_options_bad_time(c);
        return;
    }
    if (when > EXPIRE_MS_MAX)
        when = EXPIRE_MS_MAX;
    struct entry *e = ctx_find(c, 1);
    if (e == NULL || !generic_expire_allowed(conditions, entry_expire_ms(e), when)) {
        reply_int(&c->reply, 0);
        return;
    }
    if (when <= c->now_ms) {
        ctx_delete(c, 1);
    } else if (table_set_expire(ctx_table(c), e, ctx_hash(c, 1), when) == NULL) {
        ctx_oom(c);
        return;
    }
    ctx_changed(c, 1);
    reply_int(&c->reply, 1);
}

static ON_SHARD void expire_run(struct ctx *c) {
    expire_at(c, 1000, c->now_ms);
}

static ON_SHARD void pexpire_run(struct ctx *c) {
    expire_at(c, 1, c->now_ms);
}

static ON_SHARD void expireat_run(struct ctx *c) {
    expire_at(c, 1000, 0);
}

static ON_SHARD void pexpireat_run(struct ctx *c) {
    expire_at(c, 1, 0);
}

static ON_SHARD void persist_run(struct ctx *c) {
    struct entry *e = ctx_find(c, 1);
    if (e == NULL || entry_expire_ms(e) == EXPIRE_NEVER) {
        reply_int(&c->reply, 0);
    } else if (table_set_expire(ctx_table(c), e, ctx_hash(c, 1), EXPIRE_NEVER) == NULL) {
        ctx_oom(c);
    } else {
        ctx_changed(c, 1);
        reply_int(&c->reply, 1);
    }
}

/* reply_time: the expiry, counted from base_ms on; -2: no such key, -1: it never expires. */
static ON_SHARD void reply_time(struct ctx *c, bool in_seconds, int64_t base_ms) {
    const struct entry *e = ctx_peek(c, 1);
    if (e == NULL) {
        reply_int(&c->reply, -2);
        return;
    }
    int64_t ms = entry_expire_ms(e);
    if (ms == EXPIRE_NEVER) {
        reply_int(&c->reply, -1);
        return;
    }
    ms = ms > base_ms ? ms - base_ms : 0;
    reply_int(&c->reply, in_seconds ? (ms + 500) / 1000 : ms);
}

static ON_SHARD void ttl_run(struct ctx *c) {
    reply_time(c, true, c->now_ms);
}

static ON_SHARD void pttl_run(struct ctx *c) {
    reply_time(c, false, c->now_ms);
}

static ON_SHARD void expiretime_run(struct ctx *c) {
    reply_time(c, true, 0);
}

static ON_SHARD void pexpiretime_run(struct ctx *c) {
    reply_time(c, false, 0);
}

static const struct command rows[] = {
    {"EXPIRE", expire_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "1.0.0",
     "O(1)", "Makes a key expire after some seconds.", .key_access = "RW update",
     .syntax = "key seconds [condition(NX|XX|GT|LT)]"},
    {"PEXPIRE", pexpire_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "2.6.0",
     "O(1)", "Makes a key expire after some milliseconds.", .key_access = "RW update",
     .syntax = "key milliseconds [condition(NX|XX|GT|LT)]"},
    {"EXPIREAT", expireat_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "1.2.0",
     "O(1)", "Makes a key expire at a Unix time in seconds.", .key_access = "RW update",
     .syntax = "key unix-time-seconds [condition(NX|XX|GT|LT)]"},
    {"PEXPIREAT", pexpireat_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "2.6.0",
     "O(1)", "Makes a key expire at a Unix time in milliseconds.", .key_access = "RW update",
     .syntax = "key unix-time-milliseconds [condition(NX|XX|GT|LT)]"},
    {"PERSIST", persist_run, 2, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "2.2.0",
     "O(1)", "Makes a key that would expire stay.", .key_access = "RW update", .syntax = "key"},
    {"TTL", ttl_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "1.0.0", "O(1)",
     "Returns after how many seconds a key expires.", .tips = "nondeterministic_output",
     .key_access = "RO access", .syntax = "key"},
    {"PTTL", pttl_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "2.6.0", "O(1)",
     "Returns after how many milliseconds a key expires.", .tips = "nondeterministic_output",
     .key_access = "RO access", .syntax = "key"},
    {"EXPIRETIME", expiretime_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "7.0.0",
     "O(1)", "Returns the Unix time in seconds at which a key expires.", .key_access = "RO access",
     .syntax = "key"},
    {"PEXPIRETIME", pexpiretime_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic",
     "7.0.0", "O(1)", "Returns the Unix time in milliseconds at which a key expires.",
     .key_access = "RO access", .syntax = "key"},
};

void generic_expire_register(void) {
    command_register(rows, COUNT_OF(rows));
}
