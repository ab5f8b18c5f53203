/* set_options.c: see set_options_impl.h. */
#include "set_options_impl.h"

void set_options_bad_time(struct ctx *c) {
    char name[COMMAND_NAME_MAX + 1];
    command_name_lower(c->cmd, name);
    reply_errorf(&c->reply, "ERR invalid expire time in '%s' command", name);
}

/* An option may be repeated, but not joined by another of its kind. */
static bool set_expiry(struct set_options *o, enum expiry kind) {
    if (o->expiry != EXPIRY_NONE && o->expiry != kind)
        return false;
    o->expiry = kind;
    return true;
}

static bool set_condition(struct set_options *o, enum condition kind) {
    if (o->condition != SET_ALWAYS && o->condition != kind)
        return false;
    o->condition = kind;
    return true;
}

/* parse_flag: options of one word. */
static bool parse_flag(struct span word, unsigned allowed, struct set_options *o) {
    if (allowed & ALLOW_CONDITION) {
        if (span_is(word, "NX"))
            return set_condition(o, SET_NX);
        if (span_is(word, "XX"))
            return set_condition(o, SET_XX);
    }
    if (allowed & ALLOW_GET && span_is(word, "GET")) {
        o->get = true;
        return true;
    }
    if (allowed & ALLOW_KEEPTTL && span_is(word, "KEEPTTL"))
        return set_expiry(o, EXPIRY_KEEP);
    if (allowed & ALLOW_PERSIST && span_is(word, "PERSIST"))
        return set_expiry(o, EXPIRY_PERSIST);
    return false;
}

/* parse_pair: options of a word and a value, which stands at value_arg. */
static bool parse_pair(struct span word, uint32_t value_arg, unsigned allowed,
                       struct set_options *o) {
    static const struct {
        const char *word;
        enum expiry kind;
    } times[] = {
        {"EX", EXPIRY_EX}, {"PX", EXPIRY_PX}, {"EXAT", EXPIRY_EXAT}, {"PXAT", EXPIRY_PXAT}};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        if (span_is(word, times[i].word)) {
            o->time_arg = value_arg;
            return set_expiry(o, times[i].kind);
        }
    }
    if (allowed & ALLOW_IFEQ && span_is(word, "IFEQ")) {
        o->equal_arg = value_arg;
        return set_condition(o, SET_IFEQ);
    }
    return false;
}

bool set_options_parse(struct ctx *c, uint32_t from, unsigned allowed, struct set_options *o) {
    *o = (struct set_options){.expiry = EXPIRY_NONE};
    for (uint32_t i = from; i < c->argc; i++) {
        if (parse_flag(c->argv[i], allowed, o))
            continue;
        if (i + 1 == c->argc || !parse_pair(c->argv[i], i + 1, allowed, o)) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        i++;
    }
    return true;
}

bool set_options_time(struct ctx *c, enum expiry kind, uint32_t arg, int64_t *expire_ms) {
    int64_t ms;
    if (!ctx_get_int(c, arg, &ms))
        return false;
    bool in_seconds = kind == EXPIRY_EX || kind == EXPIRY_EXAT;
    bool relative = kind == EXPIRY_EX || kind == EXPIRY_PX;
    bool overflow = in_seconds && __builtin_mul_overflow(ms, 1000, &ms);
    if (!overflow && relative && ms > 0)
        overflow = __builtin_add_overflow(ms, c->now_ms, &ms);
    if (overflow || ms <= 0) {
        set_options_bad_time(c);
        return false;
    }
    *expire_ms = ms < EXPIRE_MS_MAX ? ms : EXPIRE_MS_MAX;
    return true;
}
