/* rdb_read.c: lengths, strings, and where a value ends. See anax/rdb.h.
 *
 * Where a value ends is told by its layout, a text of one letter for each part:
 *
 *     s string   l length   8, 16: so many bytes (16 is written x)   t score as text   ( ... ) a count, and as many of these
 */
#include "rdb_read_impl.h"
#include "shards/bytes.h"
#include "shards/decimal.h"
#include <endian.h>
#include <liblzf/lzf.h>

enum {
    LZF_RATIO_MAX = 88, /* three bytes stand for 264 at most */
    INT_BYTES = DECIMAL_INT_BYTES
};

/* --- lengths --- */

/* read_len: *encoded: it is none, but the first byte of a string that is kept in another way, and in->at is behind it. */
static inline enum rdb_result read_len(struct rdb_in *in, uint64_t *len, bool *encoded) {
    const uint8_t *p = in->at;
    size_t left = rdb_left(in);
    *encoded = false;
    if (unlikely(left == 0))
        return RDB_MORE;
    switch (*p & 0xc0) {
    case RDB_LEN_6:
        *len = *p;
        in->at += 1;
        return RDB_OK;
    case RDB_LEN_14:
        if (left < 2)
            return RDB_MORE;
        *len = (uint64_t)(*p & 63) << 8 | p[1];
        in->at += 2;
        return RDB_OK;
    case RDB_LEN_ENCODED:
        *len = *p;
        *encoded = true;
        in->at += 1;
        return RDB_OK;
    default:
        break;
    }
    if (*p != RDB_LEN_32 && *p != RDB_LEN_64)
        return rdb_corrupt(in, "a length of a kind that is not known", p);
    size_t bytes = *p == RDB_LEN_32 ? 4 : 8;
    if (left < 1 + bytes)
        return RDB_MORE;
    *len = bytes == 4 ? load_be32(p + 1) : load_be64(p + 1);
    in->at += 1 + bytes;
    return RDB_OK;
}

enum rdb_result rdb_get_len(struct rdb_in *in, uint64_t *len) {
    bool encoded;
    const uint8_t *from = in->at;
    enum rdb_result r = read_len(in, len, &encoded);
    if (r == RDB_OK && unlikely(encoded)) {
        in->at = from;
        return rdb_corrupt(in, "a string where a length should be", from);
    }
    return r;
}

enum rdb_result rdb_get_int64(struct rdb_in *in, int64_t *out) {
    const uint8_t *p;
    enum rdb_result r = rdb_get_fixed(in, 8, &p);
    if (r == RDB_OK)
        *out = (int64_t)load_le64(p);
    return r;
}

/* --- strings --- */

static enum rdb_result get_int(struct rdb_in *in, uint8_t encoding, struct rdb_text *out) {
    size_t bytes = (size_t)1 << (encoding & 3);
    uint32_t v = 0;
    if (rdb_left(in) < bytes)
        return RDB_MORE;
    memcpy(&v, in->at, bytes);
    v = le32toh(v);
    out->kind = RDB_TEXT_INT;
    out->num = bytes == 1 ? (int8_t)v : bytes == 2 ? (int16_t)v : (int32_t)v;
    in->at += bytes;
    return RDB_OK;
}

static enum rdb_result get_packed(struct rdb_in *in, struct rdb_text *out) {
    uint64_t packed, len;
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_get_len(in, &packed);
    if (r != RDB_OK || (r = rdb_get_len(in, &len)) != RDB_OK)
        return r;
    if (packed > RDB_STRING_MAX || len > RDB_STRING_MAX)
        return rdb_corrupt(in, "a compressed string of more than 512 MiB", from);
    if (len > packed * LZF_RATIO_MAX)
        return rdb_corrupt(in, "a compressed string that claims to be longer than it can be", from);
    out->kind = RDB_TEXT_LZF;
    out->len = (size_t)len;
    out->packed = (size_t)packed;
    return rdb_get_fixed(in, (size_t)packed, &out->bytes);
}

static enum rdb_result get_encoded(struct rdb_in *in, uint8_t encoding, struct rdb_text *out) {
    if (encoding < RDB_ENCODED_LZF)
        return get_int(in, encoding, out);
    if (encoding == RDB_ENCODED_LZF)
        return get_packed(in, out);
    return rdb_corrupt(in, "a string in an encoding that is not known", in->at - 1);
}

enum rdb_result rdb_get_text(struct rdb_in *in, struct rdb_text *out) {
    bool encoded;
    uint64_t len;
    const uint8_t *from = in->at;
    enum rdb_result r = read_len(in, &len, &encoded);
    if (unlikely(r != RDB_OK))
        return r;
    if (unlikely(encoded)) {
        r = get_encoded(in, (uint8_t)len, out);
    } else if (unlikely(len > RDB_STRING_MAX)) {
        r = rdb_corrupt(in, "a string of more than 512 MiB", from);
    } else {
        out->kind = RDB_TEXT_PLAIN;
        out->len = (size_t)len;
        r = rdb_get_fixed(in, (size_t)len, &out->bytes);
    }
    if (unlikely(r != RDB_OK))
        in->at = from;
    return r;
}

bool rdb_unpack(const struct rdb_text *t, char *to) {
    return t->len == 0
               ? t->packed == 0
               : lzf_decompress(t->bytes, (unsigned)t->packed, to, (unsigned)t->len) == t->len;
}

bool rdb_scratch_room(struct rdb_scratch *s, size_t need) {
    if (likely(need <= s->cap))
        return true;
    size_t cap = need < 2 * s->cap ? 2 * s->cap : need;
    char *grown = mem_realloc(s->mem, s->bytes, s->cap, cap);
    if (grown == NULL)
        return false;
    s->bytes = grown;
    s->cap = cap;
    return true;
}

void rdb_scratch_free(struct rdb_scratch *s) {
    mem_free(s->mem, s->bytes, s->cap);
    *s = (struct rdb_scratch){.mem = s->mem};
}

enum rdb_result rdb_text_span(struct rdb_in *in, const struct rdb_text *t, struct rdb_scratch *s,
                              struct span *out) {
    if (likely(t->kind == RDB_TEXT_PLAIN)) {
        *out = (struct span){(const char *)t->bytes, t->len};
        return RDB_OK;
    }
    if (!rdb_scratch_room(s, t->kind == RDB_TEXT_INT ? INT_BYTES : t->len + 1))
        return RDB_NOMEM;
    if (t->kind == RDB_TEXT_INT) {
        *out = (struct span){s->bytes, (size_t)(decimal_put_int(s->bytes, t->num) - s->bytes)};
        return RDB_OK;
    }
    if (!rdb_unpack(t, s->bytes))
        return rdb_corrupt(in, "a compressed string that cannot be unpacked", t->bytes);
    *out = (struct span){s->bytes, t->len};
    return RDB_OK;
}

enum rdb_result rdb_get_string(struct rdb_in *in, struct rdb_scratch *s, struct span *out) {
    struct rdb_text t;
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_get_text(in, &t);
    if (r == RDB_OK)
        r = rdb_text_span(in, &t, s, out);
    if (r != RDB_OK)
        in->at = from;
    return r;
}

enum rdb_result rdb_skip_string(struct rdb_in *in) {
    struct rdb_text t;
    return rdb_get_text(in, &t);
}

/* --- where values end --- */

#define STREAM_NODES      "(ss)lll"
#define STREAM_NODES_2    STREAM_NODES "lllll"
#define CONSUMERS(times)  "(s" times "(x))"
#define PENDING           "(x8l)"
#define STREAM            STREAM_NODES "(sll" PENDING CONSUMERS("8") ")"
#define STREAM_2          STREAM_NODES_2 "(slll" PENDING CONSUMERS("8") ")"
#define STREAM_3          STREAM_NODES_2 "(slll" PENDING CONSUMERS("88") ")"
#define VALKEY_HASH_TIMES "(ss8)"

static const char *const layouts[] = {
    [RDB_STRING] = "s",
    [RDB_LIST] = "(s)",
    [RDB_SET] = "(s)",
    [RDB_ZSET] = "(st)",
    [RDB_HASH] = "(ss)",
    [RDB_ZSET_2] = "(s8)",
    [RDB_HASH_ZIPMAP] = "s",
    [RDB_LIST_ZIPLIST] = "s",
    [RDB_SET_INTSET] = "s",
    [RDB_ZSET_ZIPLIST] = "s",
    [RDB_HASH_ZIPLIST] = "s",
    [RDB_LIST_QUICKLIST] = "(s)",
    [RDB_STREAM_LISTPACKS] = STREAM,
    [RDB_HASH_LISTPACK] = "s",
    [RDB_ZSET_LISTPACK] = "s",
    [RDB_LIST_QUICKLIST_2] = "(ls)",
    [RDB_STREAM_LISTPACKS_2] = STREAM_2,
    [RDB_SET_LISTPACK] = "s",
    [RDB_STREAM_LISTPACKS_3] = STREAM_3,
    [RDB_HASH_METADATA_PRE_GA] = "(lss)",
    [RDB_HASH_LISTPACK_EX_PRE_GA] = "s",
    [RDB_HASH_METADATA] = "8(lss)",
    [RDB_HASH_LISTPACK_EX] = "8s",
};

bool rdb_type_known(uint8_t type) {
    return type == RDB_MODULE_PRE_GA || type == RDB_MODULE_2 ||
           (type < COUNT_OF(layouts) && layouts[type] != NULL);
}

static enum rdb_result skip_score(struct rdb_in *in) {
    const uint8_t *p;
    enum rdb_result r = rdb_get_fixed(in, 1, &p);
    return r != RDB_OK || *p >= RDB_SCORE_NAN ? r : rdb_get_fixed(in, *p, &p);
}

/* behind: the part of a layout that follows the parenthesis that `body` is in. */
static const char *behind(const char *body) {
    for (unsigned depth = 1; depth > 0; body++) {
        depth += *body == '(';
        depth -= *body == ')';
    }
    return body;
}

static enum rdb_result skip_part(struct rdb_in *in, char part) {
    const uint8_t *p;
    uint64_t len;
    switch (part) {
    case 's':
        return rdb_skip_string(in);
    case 'l':
        return rdb_get_len(in, &len);
    case '8':
        return rdb_get_fixed(in, 8, &p);
    case 'x':
        return rdb_get_fixed(in, 16, &p);
    default:
        return skip_score(in);
    }
}

/* skip_layout: as deep as parentheses go, which is three. */
static enum rdb_result skip_layout(struct rdb_in *in, const char *layout) {
    enum rdb_result r = RDB_OK;
    while (r == RDB_OK && *layout != '\0' && *layout != ')') {
        if (*layout != '(') {
            r = skip_part(in, *layout++);
            continue;
        }
        uint64_t n;
        r = rdb_get_len(in, &n);
        for (; r == RDB_OK && n > 0; n--)
            r = skip_layout(in, layout + 1);
        layout = behind(layout + 1);
    }
    return r;
}

static enum rdb_result skip_module(struct rdb_in *in) {
    static const char parts[] = {[RDB_MODULE_OP_SINT] = 'l',
                                 [RDB_MODULE_OP_UINT] = 'l',
                                 [RDB_MODULE_OP_DOUBLE] = '8',
                                 [RDB_MODULE_OP_STRING] = 's'};
    uint64_t op;
    enum rdb_result r = rdb_get_len(in, &op); /* its id */
    while (r == RDB_OK) {
        const uint8_t *from = in->at;
        if ((r = rdb_get_len(in, &op)) != RDB_OK || op == RDB_MODULE_OP_END)
            break;
        if (op == RDB_MODULE_OP_FLOAT)
            r = rdb_get_fixed(in, 4, &from);
        else if (op >= sizeof parts)
            r = rdb_corrupt(in, "data of a module of a kind that is not known", from);
        else
            r = skip_part(in, parts[op]);
    }
    return r;
}

enum rdb_result rdb_skip_value(struct rdb_in *in, uint8_t type) {
    const uint8_t *from = in->at;
    enum rdb_result r;
    if (type == RDB_MODULE_2)
        r = skip_module(in);
    else if (type == RDB_MODULE_PRE_GA)
        r = rdb_corrupt(in, "a module's value as Redis 4.0 wrote it before its release", from);
    else if (!rdb_type_known(type))
        r = rdb_corrupt(in, "a value of a type that is not known", from);
    else if (in->valkey && type > RDB_STREAM_LISTPACKS_3)
        r = type == RDB_HASH_2
                ? skip_layout(in, VALKEY_HASH_TIMES)
                : rdb_corrupt(in, "a value of a type that is not known of Valkey", from);
    else
        r = skip_layout(in, layouts[type]);
    if (r != RDB_OK)
        in->at = from;
    return r;
}

unsigned rdb_module_name(uint64_t id, char out[10]) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (unsigned i = 0; i < 9; i++)
        out[i] = letters[id >> (58 - 6 * i) & 63];
    out[9] = '\0';
    return (unsigned)(id & 1023);
}
