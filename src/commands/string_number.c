/* string_number.c: strings as numbers. */
#include "set_options_impl.h"
#include "str_entry_impl.h"
#include <math.h>

/* number_of: the integer that an entry holds; 0 for a missing key. */
static bool number_of(struct ctx *c, const struct entry *e, int64_t *out) {
    *out = 0;
    if (e == NULL)
        return true;
    if (likely(entry_repr(e) == REPR_INT)) {
        *out = entry_int(e);
        return true;
    }
    char scratch[STRVAL_INT_BYTES];
    if (strval_parse_int(str_entry_bytes(e, scratch), out))
        return true;
    reply_error(&c->reply, ERR_NOT_INT);
    return false;
}

static ON_SHARD void add(struct ctx *c, int64_t delta) {
    struct entry *e;
    int64_t v;
    if (unlikely(!ctx_find_string(c, 1, &e)) || unlikely(!number_of(c, e, &v)))
        return;
    if (unlikely(__builtin_add_overflow(v, delta, &v))) {
        reply_error(&c->reply, "ERR increment or decrement would overflow");
        return;
    }
    if (likely(e != NULL && entry_repr(e) == REPR_INT))
        table_set_int(ctx_table(c), e, v);
    else if (!str_entry_set_int(c, 1, v, e == NULL ? EXPIRE_NEVER : EXPIRE_KEEP))
        return;
    ctx_changed(c, 1);
    reply_int(&c->reply, v);
}

static ON_SHARD void incr_run(struct ctx *c) {
    add(c, 1);
}

static ON_SHARD void decr_run(struct ctx *c) {
    add(c, -1);
}

static ON_SHARD void incrby_run(struct ctx *c) {
    int64_t delta;
    if (ctx_get_int(c, 2, &delta))
        add(c, delta);
}

static ON_SHARD void decrby_run(struct ctx *c) {
    int64_t delta;
    if (!ctx_get_int(c, 2, &delta))
        return;
    if (delta == INT64_MIN) {
        reply_error(&c->reply, "ERR decrement would overflow");
        return;
    }
    add(c, -delta);
}

static ON_SHARD void incrbyfloat_run(struct ctx *c) {
    struct entry *e;
    if (!ctx_find_string(c, 1, &e))
        return;
    char text[STRVAL_FLOAT_BYTES];
    char scratch[STRVAL_INT_BYTES];
    long double v = 0, delta;
    if ((e != NULL && !strval_parse_float(str_entry_bytes(e, scratch), &v)) ||
        !strval_parse_float(c->argv[2], &delta)) {
        reply_error(&c->reply, ERR_NOT_FLOAT);
        return;
    }
    v += delta;
    if (isnan(v) || isinf(v)) {
        reply_error(&c->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct span sum = {text, strval_format_float(text, v)};
    int64_t expire_ms = e == NULL ? EXPIRE_NEVER : EXPIRE_KEEP;
    if (!str_entry_set_as(c, 1, sum, REPR_INLINE, expire_ms))
        return;
    ctx_changed(c, 1);
    reply_bulk(&c->reply, sum);
}

static const struct command rows[] = {
    {"INCR", incr_run, 2, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_STRING, "string",
     "1.0.0", "O(1)", "Adds one to the integer that a key holds; a missing key counts as 0.",
     .key_access = "RW access update", .syntax = "key"},
    {"DECR", decr_run, 2, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_STRING, "string",
     "1.0.0", "O(1)", "Takes one from the integer that a key holds; a missing key counts as 0.",
     .key_access = "RW access update", .syntax = "key"},
    {"INCRBY", incrby_run, 3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_STRING, "string",
     "1.0.0", "O(1)", "Adds an integer to the one that a key holds.",
     .key_access = "RW access update", .syntax = "key increment"},
    {"DECRBY", decrby_run, 3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_STRING, "string",
     "1.0.0", "O(1)", "Takes an integer from the one that a key holds.",
     .key_access = "RW access update", .syntax = "key decrement"},
    {"INCRBYFLOAT", incrbyfloat_run, 3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_STRING,
     "string", "2.6.0", "O(1)", "Adds a decimal number to the one that a key holds.",
     .key_access = "RW access update", .syntax = "key increment:double"},
};

void string_number_register(void) {
    command_register(rows, COUNT_OF(rows));
}
