/* bitop.c: BITOP: bitwise operations between strings, the shorter ones followed by zeros.
 *
 * The sources are folded into the result one after the other, so that no more than one of them has
 * to be looked at a time. DIFF, DIFF1 and ANDOR set the first source against the OR of the others.
 */
#include "shards/assert.h"
#include "str_entry_impl.h"

enum op { OP_AND, OP_OR, OP_XOR, OP_NOT, OP_DIFF, OP_DIFF1, OP_ANDOR, OP_ONE, OPS };

static bool parse_op(struct span word, enum op *op) {
    static const char *const names[OPS] = {
        [OP_AND] = "AND",   [OP_OR] = "OR",       [OP_XOR] = "XOR",     [OP_NOT] = "NOT",
        [OP_DIFF] = "DIFF", [OP_DIFF1] = "DIFF1", [OP_ANDOR] = "ANDOR", [OP_ONE] = "ONE",
    };
    for (unsigned i = 0; i < OPS; i++) {
        if (span_is(word, names[i])) {
            *op = (enum op)i;
            return true;
        }
    }
    return false;
}

static bool check_sources(struct ctx *c, enum op op) {
    uint32_t sources = c->argc - 3;
    if (op == OP_NOT && sources != 1) {
        reply_error(&c->reply, "ERR BITOP NOT must be called with a single source key.");
        return false;
    }
    if (op >= OP_DIFF && op <= OP_ANDOR && sources < 2) {
        static const char *const names[] = {"DIFF", "DIFF1", "ANDOR"};
        reply_errorf(&c->reply, "ERR BITOP %s must be called with at least two source keys.",
                     names[op - OP_DIFF]);
        return false;
    }
    return true;
}

/* longest: of all sources; false after having replied that one is no string. */
static ON_SHARD bool longest(struct ctx *c, size_t *len) {
    char scratch[STRVAL_INT_BYTES];
    *len = 0;
    for (uint32_t i = 3; i < c->argc; i++) {
        struct view v;
        ctx_view(c, i, &v);
        if (v.exists && v.value.type != VALUE_STRING) {
            reply_error(&c->reply, ERR_WRONG_TYPE);
            return false;
        }
        size_t own = view_text(&v, scratch).len;
        *len = own > *len ? own : *len;
    }
    return true;
}

static ON_SHARD struct span source(struct ctx *c, uint32_t i, char scratch[STRVAL_INT_BYTES]) {
    struct view v;
    ctx_view(c, i, &v);
    return view_text(&v, scratch);
}

/* fold: takes s into acc. `twice` holds, for ONE, the bits that were set in two sources or more. */
static void fold(enum op op, uint8_t *restrict acc, uint8_t *restrict twice, size_t len,
                 struct span s) {
    const uint8_t *restrict p = (const uint8_t *)s.ptr;
    switch (op) {
    case OP_AND:
        for (size_t i = 0; i < s.len; i++)
            acc[i] &= p[i];
        memset(acc + s.len, 0, len - s.len);
        return;
    case OP_XOR:
        for (size_t i = 0; i < s.len; i++)
            acc[i] ^= p[i];
        return;
    case OP_ONE:
        for (size_t i = 0; i < s.len; i++) {
            twice[i] |= acc[i] & p[i];
            acc[i] |= p[i];
        }
        return;
    default:
        for (size_t i = 0; i < s.len; i++)
            acc[i] |= p[i];
    }
}

/* finish: what is left to do when acc holds the fold of the sources (of all but the first, for
 * those that set the first apart). */
static void finish(enum op op, uint8_t *restrict acc, const uint8_t *restrict twice, size_t len,
                   struct span first) {
    for (size_t i = 0; i < len; i++) {
        uint8_t x = i < first.len ? (uint8_t)first.ptr[i] : 0;
        if (op == OP_NOT)
            acc[i] = (uint8_t)~x;
        else if (op == OP_DIFF)
            acc[i] = (uint8_t)(x & ~acc[i]);
        else if (op == OP_DIFF1)
            acc[i] = (uint8_t)(acc[i] & ~x);
        else if (op == OP_ANDOR)
            acc[i] = (uint8_t)(acc[i] & x);
        else if (op == OP_ONE)
            acc[i] = (uint8_t)(acc[i] & ~twice[i]);
    }
}

static ON_SHARD void combine(struct ctx *c, enum op op, uint8_t *acc, uint8_t *twice, size_t len) {
    char scratch[STRVAL_INT_BYTES], other_scratch[STRVAL_INT_BYTES];
    struct span first = source(c, 3, scratch);
    bool first_apart = op == OP_NOT || op == OP_DIFF || op == OP_DIFF1 || op == OP_ANDOR;
    memset(acc, 0, len);
    if (!first_apart)
        memcpy(acc, first.ptr, first.len);
    for (uint32_t i = 4; i < c->argc; i++)
        fold(op, acc, twice, len, source(c, i, other_scratch));
    if (first_apart || op == OP_ONE)
        finish(op, acc, twice, len, first);
}

/* combine_large: the result is made in the blob that will hold it. */
static ON_SHARD bool combine_large(struct ctx *c, enum op op, size_t len) {
    struct mem *m = keyspace_mem(c->keyspace);
    if (!ctx_room(c, (int64_t)len))
        return false;
    struct blob *result = blob_create(m, len);
    uint8_t *twice = result != NULL && op == OP_ONE ? mem_zalloc(m, len) : NULL;
    bool stored = false;
    if (result == NULL || (op == OP_ONE && twice == NULL)) {
        ctx_oom(c);
    } else {
        combine(c, op, (uint8_t *)result->data, twice, len);
        result->len = len;
        c->big = result;
        struct span bytes = {result->data, len};
        stored = str_entry_set_as(c, 2, bytes, REPR_RAW, EXPIRE_NEVER);
        c->big = NULL;
    }
    mem_free(m, twice, len);
    if (!stored && result != NULL)
        blob_unpin(m, result);
    return stored;
}

static ON_SHARD bool combine_small(struct ctx *c, enum op op, size_t len) {
    ASSERT(len <= ENTRY_INLINE_MAX);
    if (!ctx_room(c, (int64_t)len))
        return false;
    uint8_t result[ENTRY_INLINE_MAX], twice[ENTRY_INLINE_MAX];
    memset(twice, 0, len);
    combine(c, op, result, twice, len);
    return str_entry_set_as(c, 2, (struct span){(char *)result, len}, REPR_RAW, EXPIRE_NEVER);
}

/* delete_dest: true when it was there. */
static ON_SHARD bool delete_dest(struct ctx *c) {
    return keyspace_find(c->keyspace, c->db, c->argv[2], ctx_hash(c, 2), c->now_ms) != NULL &&
           ctx_delete(c, 2);
}

static ON_SHARD void bitop_run(struct ctx *c) {
    enum op op;
    size_t len;
    if (!parse_op(c->argv[1], &op)) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (!check_sources(c, op) || !longest(c, &len))
        return;
    bool changed = true;
    if (len == 0)
        changed = delete_dest(c);
    else if (!(len <= ENTRY_INLINE_MAX ? combine_small(c, op, len) : combine_large(c, op, len)))
        return;
    if (changed)
        ctx_changed(c, 2);
    reply_int(&c->reply, (int64_t)len);
}

static const struct across across = {
    .look = ctx_look_views, .at = 2, .shared_from = 3, .shared_to = UINT32_MAX};

static const struct command rows[] = {
    {"BITOP", bitop_run, -4, KEYS(2, -1, 1), CMD_WRITE | CMD_DENY_OOM, ACL_BITMAP, "bitmap",
     "2.6.0", "O(N) in the bytes of all sources",
     "Stores the result of a bitwise operation between strings.",
     .key_access = "OW update;RO access",
     .syntax = "operation(AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE) destkey key...", .across = &across},
};

void bitop_register(void) {
    command_register(rows, COUNT_OF(rows));
}
