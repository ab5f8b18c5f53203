/* hash_ex.c: values and times of fields in one call: HGETDEL, HGETEX, HSETEX.
 *
 * Grammar and texts are Redis 8's. Valkey's NX and XX of HSETEX, about the key, are taken too.
 * Where the two differ about fields whose new time has passed, Redis is followed: HSETEX replies 1,
 * whether they were there or not. */
#include "hash_impl.h"
#include "set_options_impl.h"

/* reply_value: of a live field, or a null. */
static bool reply_value(struct ctx *c, const struct val *v, const struct fields_kind *k,
                        struct span name, struct field *f) {
    bool found = v->form != VAL_NONE && fields_find(v, k, name, c->now_ms, f);
    if (found)
        reply_bulk(&c->reply, f->value);
    else
        reply_null(&c->reply);
    return found;
}

static ON_SHARD void hgetdel_run(struct ctx *c) {
    struct coll o;
    struct field f;
    struct fields_kind kind = hash_kind(c);
    bool removed = false;
    if (!coll_open(c, 1, VALUE_HASH, &o))
        return;
    if (hash_fields(c, 2, HASH_BAD_COUNT)) {
        reply_array(&c->reply, c->argc - 4);
        for (uint32_t i = 4; i < c->argc; i++) {
            if (reply_value(c, &o.val, &kind, c->argv[i], &f))
                removed |= fields_remove(&o.val, &kind, c->argv[i], c->now_ms);
        }
    }
    if (removed)
        (void)coll_store(c, &o); /* with fewer fields than before it does not fail */
    else
        coll_leave(c, &o);
}

/* --- the options that have times --- */

/* time_option: EX, PX, EXAT or PXAT with the number behind it; *is: the word is one of them. */
static bool time_option(struct ctx *c, uint32_t i, bool *is, int64_t *when_ms) {
    static const struct {
        const char *word;
        int64_t unit_ms;
        bool relative;
    } words[] = {{"EX", 1000, true}, {"PX", 1, true}, {"EXAT", 1000, false}, {"PXAT", 1, false}};
    *is = false;
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (!span_is(c->argv[i], words[w].word))
            continue;
        *is = true;
        if (i + 1 < c->argc)
            return hash_time(c, i + 1, words[w].unit_ms, words[w].relative ? c->now_ms : 0,
                             when_ms);
        reply_error(&c->reply, "ERR missing expire time");
        return false;
    }
    return true;
}

/* --- HGETEX --- */

struct getex {
    bool timed, persists;
    int64_t when_ms;
    uint32_t first; /* field */
};

static bool getex_parse(struct ctx *c, struct getex *g) {
    *g = (struct getex){.persists = span_is(c->argv[2], "PERSIST")};
    if (!time_option(c, 2, &g->timed, &g->when_ms))
        return false;
    uint32_t at = 2 + (g->timed ? 2 : g->persists);
    g->first = at + 2;
    return hash_fields(c, at, HASH_BAD_COUNT);
}

static ON_SHARD void hgetex_run(struct ctx *c) {
    struct coll o;
    struct getex g;
    struct hash_times times;
    struct field f;
    struct fields_kind kind = hash_kind(c);
    uint64_t removed = 0;
    if (!coll_open(c, 1, VALUE_HASH, &o))
        return;
    if (!getex_parse(c, &g)) {
        coll_leave(c, &o);
        return;
    }
    if (!hash_times_begin(c, &times, &o, c->argc - g.first, false))
        return;
    reply_array(&c->reply, c->argc - g.first);
    for (uint32_t i = g.first; i < c->argc; i++) {
        if (!reply_value(c, &o.val, &kind, c->argv[i], &f))
            continue;
        if (g.timed && g.when_ms <= c->now_ms)
            removed += fields_remove(&o.val, &kind, c->argv[i], c->now_ms);
        else if (g.timed || (g.persists && f.expire_ms != FIELDS_NEVER))
            hash_times_add(&times, c->argv[i], g.timed ? g.when_ms : FIELDS_NEVER);
    }
    hash_count_expired(c, removed);
    hash_times_end(c, &times, &o, &kind, removed > 0);
}

/* --- HSETEX --- */

struct setex {
    bool key_new, key_there;       /* NX, XX */
    bool fields_new, fields_there; /* FNX, FXX */
    enum fields_time time;
    int64_t when_ms;
    bool timed; /* by an option; KEEPTTL is one */
    uint32_t first;
};

/* setex_condition: *is: the word is one of the conditions. */
static bool setex_condition(struct ctx *c, struct setex *s, struct span word, bool *is) {
    *is = true;
    if (span_is(word, "FNX") || span_is(word, "FXX")) {
        if (s->fields_new || s->fields_there) {
            reply_error(&c->reply, "ERR Only one of FXX or FNX arguments can be specified");
            return false;
        }
        s->fields_new = span_is(word, "FNX");
        s->fields_there = !s->fields_new;
    } else if (span_is(word, "NX") || span_is(word, "XX")) {
        if (s->key_new || s->key_there) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        s->key_new = span_is(word, "NX");
        s->key_there = !s->key_new;
    } else {
        *is = false;
    }
    return true;
}

/* setex_time: the same of what tells a time; *i stands at its last word then. */
static bool setex_time(struct ctx *c, struct setex *s, uint32_t *i, bool *is) {
    int64_t when_ms;
    bool keeps = span_is(c->argv[*i], "KEEPTTL");
    if (s->timed) {
        static const char *const words[] = {"EX", "PX", "EXAT", "PXAT", "KEEPTTL"};
        *is = false;
        for (size_t w = 0; w < COUNT_OF(words); w++)
            *is |= span_is(c->argv[*i], words[w]);
        if (*is)
            reply_error(&c->reply, "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can "
                                   "be specified");
        return !*is;
    }
    if (!time_option(c, *i, is, &when_ms))
        return false;
    if (*is) {
        s->time = FIELDS_TIME_SET;
        s->when_ms = when_ms;
        ++*i;
    } else if (keeps) {
        s->time = FIELDS_TIME_KEEP;
        *is = true;
    }
    s->timed = *is;
    return true;
}

/* setex_pairs: argv[at] says FIELDS; as many pairs follow as the number behind it says. */
static bool setex_pairs(struct ctx *c, struct setex *s, uint32_t at) {
    int64_t n;
    if (at + 3 >= c->argc) {
        command_reply_arity(&c->reply, c->cmd);
        return false;
    }
    if (!strval_parse_int(c->argv[at + 1], &n) || n < 1 || n > INT32_MAX) {
        reply_error(&c->reply, "ERR invalid number of fields");
        return false;
    }
    s->first = at + 2;
    if (2 * n == (int64_t)c->argc - s->first)
        return true;
    command_reply_arity(&c->reply, c->cmd);
    return false;
}

static bool setex_parse(struct ctx *c, struct setex *s) {
    *s = (struct setex){.time = FIELDS_TIME_CLEAR};
    for (uint32_t i = 2; i < c->argc; i++) {
        bool is;
        if (span_is(c->argv[i], "FIELDS"))
            return setex_pairs(c, s, i);
        if (!setex_condition(c, s, c->argv[i], &is))
            return false;
        if (is)
            continue;
        if (!setex_time(c, s, &i, &is))
            return false;
        if (is)
            continue;
        reply_errorf(&c->reply, "ERR unknown argument: %.*s", (int)c->argv[i].len, c->argv[i].ptr);
        return false;
    }
    reply_error(&c->reply, HASH_NO_FIELDS);
    return false;
}

static ON_SHARD bool setex_allowed(struct ctx *c, const struct setex *s, const struct val *v,
                                   const struct fields_kind *k) {
    struct field f;
    bool there = v->form != VAL_NONE;
    if ((s->key_new && there) || (s->key_there && !there))
        return false;
    if (!s->fields_new && !s->fields_there)
        return true;
    for (uint32_t i = s->first; i < c->argc; i += 2) {
        bool found = there && fields_find(v, k, c->argv[i], c->now_ms, &f);
        if (found == s->fields_new)
            return false;
    }
    return true;
}

/* setex_past: what would be set is gone at once. */
static ON_SHARD void setex_past(struct ctx *c, const struct setex *s, struct coll *o,
                                const struct fields_kind *k) {
    uint64_t removed = 0;
    for (uint32_t i = s->first; i < c->argc && o->val.form != VAL_NONE; i += 2)
        removed += fields_remove(&o->val, k, c->argv[i], c->now_ms);
    hash_count_expired(c, removed);
    if (removed == 0)
        coll_leave(c, o);
    else if (!coll_store(c, o))
        return;
    reply_int(&c->reply, 1);
}

static ON_SHARD void hsetex_run(struct ctx *c) {
    struct coll o;
    struct setex s;
    struct fields_kind kind = hash_kind(c);
    uint64_t added;
    if (!setex_parse(c, &s) || !coll_open(c, 1, VALUE_HASH, &o))
        return;
    if (!setex_allowed(c, &s, &o.val, &kind)) {
        coll_leave(c, &o);
        reply_int(&c->reply, 0);
        return;
    }
    if (s.time == FIELDS_TIME_SET && s.when_ms <= c->now_ms) {
        setex_past(c, &s, &o, &kind);
        return;
    }
    const struct fields_put p = {.names = c->argv + s.first,
                                 .n = (c->argc - s.first) / 2,
                                 .time = s.time,
                                 .expire_ms = s.when_ms};
    if (!fields_put(&o.val, &kind, &p, c->now_ms, &added))
        coll_fail(c, &o);
    else if (coll_store(c, &o))
        reply_int(&c->reply, 1);
}

static const struct command rows[] = {
    {"HGETDEL", hgetdel_run, -5, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "8.0.0",
     "O(N) in the fields that are named", "Returns the values of fields and deletes the fields.",
     .key_access = "RW access delete", .syntax = "key " HASH_FIELDS_SYNTAX},
    {"HGETEX", hgetex_run, -5, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "8.0.0",
     "O(N) in the fields that are named",
     "Returns the values of fields and changes when the fields expire.",
     .key_access = "RW access update",
     .syntax = "key [expiration(" SET_OPTIONS_TIMES "|PERSIST)] " HASH_FIELDS_SYNTAX},
    {"HSETEX", hsetex_run, -6, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_HASH, "hash",
     "8.0.0", "O(N) in the fields that are set",
     "Sets fields of a hash, on conditions if wanted, and when they expire.",
     .key_access = "RW update",
     .syntax = "key [key-condition(NX|XX)] [condition(FNX|FXX)] "
               "[expiration(" SET_OPTIONS_TIMES "|KEEPTTL)] "
               "FIELDS=fields(numfields:integer data(field value)...)"},
};

void hash_ex_register(void) {
    command_register(rows, COUNT_OF(rows));
}
