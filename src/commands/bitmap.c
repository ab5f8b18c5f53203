/* bitmap.c: strings as arrays of bits; BITFIELD stands in bitfield.c, BITOP in bitop.c. */
#include "bits_impl.h"
#include "str_entry_impl.h"

static ON_SHARD void setbit_run(struct ctx *c) {
    uint64_t at;
    int64_t bit;
    struct entry *e;
    if (!bits_offset(c, 2, 0, &at))
        return;
    if (!strval_parse_int(c->argv[3], &bit) || (bit != 0 && bit != 1)) {
        reply_error(&c->reply, "ERR bit is not an integer or out of range");
        return;
    }
    if (!ctx_find_string(c, 1, &e))
        return;
    size_t needed = at / 8 + 1;
    bool grows = e == NULL || str_entry_len(e) < needed;
    char *bytes = str_entry_edit(c, 1, e, needed);
    if (bytes == NULL)
        return;
    bool old = bits_get((struct span){bytes, needed}, at);
    bits_set(bytes, at, bit);
    if (grows || bit != old)
        ctx_changed(c, 1);
    reply_int(&c->reply, old);
}

static ON_SHARD void getbit_run(struct ctx *c) {
    uint64_t at;
    struct entry *e;
    char scratch[STRVAL_INT_BYTES];
    if (!bits_offset(c, 2, 0, &at) || !ctx_find_string(c, 1, &e))
        return;
    reply_int(&c->reply, e != NULL && bits_get(str_entry_bytes(e, scratch), at));
}

struct range {
    int64_t from, to; /* as given: may be negative */
    bool in_bits;
    bool has_end;
};

static bool parse_unit(struct ctx *c, uint32_t i, bool *in_bits) {
    *in_bits = span_is(c->argv[i], "BIT");
    if (*in_bits || span_is(c->argv[i], "BYTE"))
        return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* settle: the range as bits [from, to] of a string of len bytes; false when it is empty. */
static bool settle(const struct range *r, size_t len, uint64_t *from, uint64_t *to) {
    int64_t unit = r->in_bits ? 1 : 8;
    int64_t total = (int64_t)len * 8 / unit, first = r->from, last = r->to;
    if (first < 0)
        first = first + total < 0 ? 0 : first + total;
    if (last < 0)
        last = last + total < 0 ? 0 : last + total;
    if (last >= total)
        last = total - 1;
    if (first > last)
        return false;
    *from = (uint64_t)(first * unit);
    *to = (uint64_t)(last * unit + unit - 1);
    return true;
}

/* count_range: BITCOUNT's [start end [BYTE | BIT]]; false when it has replied already. */
static bool count_range(struct ctx *c, struct range *r) {
    *r = (struct range){.from = 0, .to = -1};
    if (c->argc == 2)
        return true;
    if (c->argc != 4 && c->argc != 5) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (!ctx_get_int(c, 2, &r->from) || !ctx_get_int(c, 3, &r->to))
        return false;
    if (r->from < 0 && r->to < 0 && r->from > r->to) {
        reply_int(&c->reply, 0);
        return false;
    }
    return c->argc == 4 || parse_unit(c, 4, &r->in_bits);
}

static ON_SHARD void bitcount_run(struct ctx *c) {
    struct range r;
    struct entry *e;
    char scratch[STRVAL_INT_BYTES];
    uint64_t from, to;
    if (!ctx_find_string(c, 1, &e))
        return;
    if (e == NULL) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!count_range(c, &r))
        return;
    struct span bytes = str_entry_bytes(e, scratch);
    bool any = settle(&r, bytes.len, &from, &to);
    reply_int(&c->reply, any ? (int64_t)bits_count(bytes, from, to) : 0);
}

/* find_range: BITPOS's [start [end [BYTE | BIT]]]; false when it has replied an error. */
static bool find_range(struct ctx *c, struct range *r) {
    *r = (struct range){.from = 0, .to = -1, .has_end = c->argc > 4};
    if (c->argc > 6) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (c->argc > 3 && !ctx_get_int(c, 3, &r->from))
        return false;
    if (c->argc > 5 && !parse_unit(c, 5, &r->in_bits))
        return false;
    return !r->has_end || ctx_get_int(c, 4, &r->to);
}

static ON_SHARD void bitpos_run(struct ctx *c) {
    struct range r;
    struct entry *e;
    char scratch[STRVAL_INT_BYTES];
    int64_t bit;
    uint64_t from, to;
    if (!ctx_get_int(c, 2, &bit))
        return;
    if (bit != 0 && bit != 1) {
        reply_error(&c->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!ctx_find_string(c, 1, &e))
        return;
    if (e == NULL) {
        reply_int(&c->reply, bit == 1 ? -1 : 0);
        return;
    }
    if (!find_range(c, &r))
        return;
    struct span bytes = str_entry_bytes(e, scratch);
    if (!settle(&r, bytes.len, &from, &to)) {
        reply_int(&c->reply, -1);
        return;
    }
    uint64_t at = bits_find(bytes, from, to, bit);
    /* Without an end the string counts as followed by zeros for ever. */
    bool found = at <= to || (bit == 0 && !r.has_end);
    reply_int(&c->reply, found ? (int64_t)at : -1);
}

static const struct command rows[] = {
    {"SETBIT", setbit_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM, ACL_BITMAP, "bitmap", "2.2.0",
     "O(1)", "Sets or clears a bit of a string and returns what it was.",
     .key_access = "RW access update", .syntax = "key offset value:integer"},
    {"GETBIT", getbit_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_BITMAP, "bitmap", "2.2.0", "O(1)",
     "Returns a bit of a string.", .key_access = "RO access", .syntax = "key offset"},
    {"BITCOUNT", bitcount_run, -2, KEY(1), CMD_READ, ACL_BITMAP, "bitmap", "2.6.0",
     "O(N) in the bytes", "Counts the set bits of a string.", .key_access = "RO access",
     .syntax = "key [range(start end [unit(BYTE|BIT)])]"},
    {"BITPOS", bitpos_run, -3, KEY(1), CMD_READ, ACL_BITMAP, "bitmap", "2.8.7", "O(N) in the bytes",
     "Finds the first set or clear bit of a string.", .key_access = "RO access",
     .syntax = "key bit [range(start [end-unit-block(end [unit(BYTE|BIT)])])]"},
};

void bitmap_register(void) {
    command_register(rows, COUNT_OF(rows));
    bitfield_register();
    bitop_register();
}
