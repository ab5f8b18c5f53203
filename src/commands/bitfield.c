/* bitfield.c: BITFIELD: integers of any width at any bit of a string.
 *
 * The arguments are read twice: once to find mistakes and the last bit that is written, before
 * anything changes; then, after the string has its room, to carry the operations out.
 */
#include "bits_impl.h"
#include "shards/assert.h"
#include "str_entry_impl.h"

enum op { OP_GET, OP_SET, OP_INCRBY, OP_OVERFLOW };
enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field_op {
    enum op op;
    enum overflow overflow; /* in force from here on */
    bool is_signed;
    unsigned bits;
    uint64_t at;
    int64_t value;
};

static bool parse_type(struct ctx *c, uint32_t i, struct field_op *f) {
    struct span text = c->argv[i];
    int64_t bits = 0;
    bool typed = text.len > 1 && (text.ptr[0] == 'i' || text.ptr[0] == 'u');
    f->is_signed = typed && text.ptr[0] == 'i';
    if (!typed || !strval_parse_int((struct span){text.ptr + 1, text.len - 1}, &bits) || bits < 1 ||
        bits > (f->is_signed ? 64 : 63)) {
        reply_error(&c->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                               "u64 is not supported but i64 is.");
        return false;
    }
    f->bits = (unsigned)bits;
    return true;
}

static bool parse_overflow(struct ctx *c, uint32_t i, struct field_op *f) {
    f->op = OP_OVERFLOW;
    if (span_is(c->argv[i], "WRAP")) {
        f->overflow = OVERFLOW_WRAP;
    } else if (span_is(c->argv[i], "SAT")) {
        f->overflow = OVERFLOW_SAT;
    } else if (span_is(c->argv[i], "FAIL")) {
        f->overflow = OVERFLOW_FAIL;
    } else {
        reply_error(&c->reply, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* next_op: reads the operation at argv[*i] and moves *i behind it. */
static bool next_op(struct ctx *c, uint32_t *i, struct field_op *f) {
    uint32_t at = *i, left = c->argc - at - 1;
    struct span word = c->argv[at];
    if (span_is(word, "OVERFLOW") && left >= 1) {
        *i = at + 2;
        return parse_overflow(c, at + 1, f);
    }
    if (span_is(word, "GET") && left >= 2) {
        f->op = OP_GET;
    } else if (span_is(word, "SET") && left >= 3) {
        f->op = OP_SET;
    } else if (span_is(word, "INCRBY") && left >= 3) {
        f->op = OP_INCRBY;
    } else {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (!parse_type(c, at + 1, f) || !bits_offset(c, at + 2, f->bits, &f->at))
        return false;
    *i = at + (f->op == OP_GET ? 3 : 4);
    return f->op == OP_GET || ctx_get_int(c, at + 3, &f->value);
}

static uint64_t get_bits(struct span bytes, uint64_t at, unsigned bits) {
    uint64_t v = 0;
    for (unsigned i = 0; i < bits; i++)
        v = v << 1 | bits_get(bytes, at + i);
    return v;
}

static void put_bits(char *bytes, uint64_t at, unsigned bits, uint64_t v) {
    for (unsigned i = 0; i < bits; i++)
        bits_set(bytes, at + i, v >> (bits - 1 - i) & 1);
}

/* as_field: the lowest bits of v as the type reads them: what wrapping around leaves. */
static __int128 as_field(const struct field_op *f, uint64_t v) {
    ASSERT(f->bits >= 1);
    ASSERT(f->bits <= 64);
    unsigned unused = 64 - f->bits;
    return f->is_signed ? (__int128)((int64_t)(v << unused) >> unused)
                        : (__int128)(v << unused >> unused);
}

/* fit: makes *v a value of the type; false when it does not fit and nothing is to be written. */
static bool fit(const struct field_op *f, __int128 *v) {
    unsigned magnitude = f->is_signed ? f->bits - 1 : f->bits;
    __int128 max = ((__int128)1 << magnitude) - 1, min = f->is_signed ? -max - 1 : 0;
    if (*v >= min && *v <= max)
        return true;
    /* Redis takes a SET so far below the least value that max - v leaves 64 bits for one above the
     * greatest. Replicas and dumps would tell the two apart, so we do as it does. */
    bool above =
        *v > max || (f->op == OP_SET && f->is_signed && f->bits < 64 && max - *v > INT64_MAX);
    if (f->overflow == OVERFLOW_SAT)
        *v = above ? max : min;
    else
        *v = as_field(f, (uint64_t)*v);
    return f->overflow != OVERFLOW_FAIL;
}

/* run_op: true when it changed something. bytes is NULL when nothing is written. */
static bool run_op(struct ctx *c, const struct field_op *f, struct span all, char *bytes) {
    __int128 old = as_field(f, get_bits(all, f->at, f->bits));
    if (f->op == OP_GET) {
        reply_int(&c->reply, (int64_t)old);
        return false;
    }
    ASSERT(bytes != NULL);
    __int128 v = f->op == OP_INCRBY ? old + f->value : (__int128)f->value;
    /* A negative number for an unsigned field is a large one, as in C. */
    if (f->op == OP_SET && !f->is_signed)
        v = (__int128)(uint64_t)f->value;
    if (!fit(f, &v)) {
        reply_null(&c->reply);
        return false;
    }
    put_bits(bytes, f->at, f->bits, (uint64_t)v);
    reply_int(&c->reply, (int64_t)(f->op == OP_SET ? old : v));
    return v != old;
}

/* check: counts the operations, and finds how many bytes the writing ones need (0: none writes). */
static bool check(struct ctx *c, size_t *ops, size_t *bytes_needed) {
    struct field_op f = {.overflow = OVERFLOW_WRAP};
    *ops = 0;
    *bytes_needed = 0;
    for (uint32_t i = 2; i < c->argc;) {
        if (!next_op(c, &i, &f))
            return false;
        if (f.op == OP_OVERFLOW)
            continue;
        (*ops)++;
        size_t end = (size_t)((f.at + f.bits + 7) / 8);
        if (f.op != OP_GET && end > *bytes_needed)
            *bytes_needed = end;
    }
    return true;
}

static ON_SHARD void bitfield(struct ctx *c, bool read_only) {
    size_t ops, needed;
    struct entry *e;
    char scratch[STRVAL_INT_BYTES];
    char *bytes = NULL;
    struct span all = SPAN("");
    bool changed = false;
    if (!check(c, &ops, &needed))
        return;
    if (needed > 0 && read_only) {
        reply_error(&c->reply, "ERR BITFIELD_RO only supports the GET subcommand");
        return;
    }
    if (!ctx_find_string(c, 1, &e))
        return;
    if (needed > 0) {
        size_t len = e == NULL ? 0 : str_entry_len(e);
        changed = len < needed;
        if ((bytes = str_entry_edit(c, 1, e, needed)) == NULL)
            return;
        all = (struct span){bytes, len > needed ? len : needed};
    } else if (e != NULL) {
        all = str_entry_bytes(e, scratch);
    }
    struct field_op f = {.overflow = OVERFLOW_WRAP};
    reply_array(&c->reply, ops);
    for (uint32_t i = 2; i < c->argc;) {
        bool valid = next_op(c, &i, &f);
        ASSERT(valid);
        if (f.op != OP_OVERFLOW)
            changed |= run_op(c, &f, all, bytes);
    }
    if (changed)
        ctx_changed(c, 1);
}

static ON_SHARD void bitfield_run(struct ctx *c) {
    bitfield(c, false);
}

static ON_SHARD void bitfield_ro_run(struct ctx *c) {
    bitfield(c, true);
}

/* bitfield_access: a call that only GETs writes nothing; one that is not valid counts as writing. */
static const char *bitfield_access(const struct span *argv, uint32_t argc) {
    for (uint32_t i = 2; i < argc;) {
        uint32_t left = argc - i - 1;
        if (span_is(argv[i], "GET") && left >= 2)
            i += 3;
        else if (span_is(argv[i], "OVERFLOW") && left >= 1)
            i += 2;
        else
            return "RW access update";
    }
    return "RO access";
}

static const struct command rows[] = {
    {"BITFIELD", bitfield_run, -2, KEY(1), CMD_WRITE | CMD_DENY_OOM, ACL_BITMAP, "bitmap", "3.2.0",
     "O(1) for each operation", "Reads and writes integers of any width in a string.",
     .key_access = "RW access update variable_flags",
     .syntax = "key [operation(GET=get-block(encoding offset)|"
               "write([OVERFLOW=overflow-block(WRAP|SAT|FAIL)] "
               "write-operation(SET=set-block(encoding offset value:integer)|"
               "INCRBY=incrby-block(encoding offset increment))))...]",
     .find_access = bitfield_access},
    {"BITFIELD_RO", bitfield_ro_run, -2, KEY(1), CMD_READ | CMD_FAST, ACL_BITMAP, "bitmap", "6.0.0",
     "O(1) for each operation", "Reads integers of any width in a string.",
     .key_access = "RO access", .syntax = "key [GET=get-block(encoding offset),...]"},
};

void bitfield_register(void) {
    command_register(rows, COUNT_OF(rows));
}
