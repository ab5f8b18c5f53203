/* rdb_encode_text.c: lengths, integers and strings of RDB. See anax/rdb.h. */
#include "anax/strval.h"
#include "rdb_encode_impl.h"
#include "shards/assert.h"
#include "shards/decimal.h"

/* The longest text of an integer that is written as one: "-2147483648". */
enum { INT32_TEXT_MAX = 11 };

/* write_len: returns what follows it. */
static inline uint8_t *write_len(uint8_t *to, uint64_t len) {
    if (likely(len < 1 << 6)) {
        *to = (uint8_t)(RDB_LEN_6 | len);
        return to + 1;
    }
    if (likely(len < 1 << 14)) {
        to[0] = (uint8_t)(RDB_LEN_14 | len >> 8);
        to[1] = (uint8_t)len;
        return to + 2;
    }
    bool is_long = len > UINT32_MAX;
    uint64_t big_endian = __builtin_bswap64(is_long ? len : len << 32);
    *to = is_long ? RDB_LEN_64 : RDB_LEN_32;
    memcpy(to + 1, &big_endian, sizeof big_endian);
    return to + (is_long ? 9 : 5);
}

static inline size_t room(const struct rdb_out *o) {
    return (size_t)(o->end - o->at);
}

void rdb_put_len(struct rdb_out *o, uint64_t len) {
    if (likely(room(o) >= RDB_LEN_BYTES_MAX)) {
        o->at = write_len(o->at, len);
        return;
    }
    uint8_t bytes[RDB_LEN_BYTES_MAX];
    rdb_put(o, bytes, (size_t)(write_len(bytes, len) - bytes));
}

unsigned rdb_len_bytes(uint64_t len) {
    uint8_t bytes[RDB_LEN_BYTES_MAX];
    return (unsigned)(write_len(bytes, len) - bytes);
}

void rdb_put_ms(struct rdb_out *o, int64_t ms) {
    rdb_put(o, &ms, sizeof ms);
}

/* put_raw: the length and the bytes. */
static inline void put_raw(struct rdb_out *o, struct span s) {
    if (likely(s.len < room(o) && room(o) - s.len >= RDB_LEN_BYTES_MAX)) {
        uint8_t *at = write_len(o->at, s.len);
        if (s.len > 0)
            memcpy(at, s.ptr, s.len);
        o->at = at + s.len;
        return;
    }
    rdb_put_len(o, s.len);
    rdb_put(o, s.ptr, s.len);
}

void rdb_put_int(struct rdb_out *o, int64_t v) {
    uint8_t encoded[5];
    int32_t small = (int32_t)v;
    if (unlikely(v != small)) {
        char digits[DECIMAL_INT_BYTES];
        put_raw(o, (struct span){digits, (size_t)(decimal_put_int(digits, v) - digits)});
        return;
    }
    bool one = small == (int8_t)small, two = small == (int16_t)small;
    encoded[0] = one ? RDB_ENCODED_INT8 : two ? RDB_ENCODED_INT16 : RDB_ENCODED_INT32;
    memcpy(encoded + 1, &small, sizeof small);
    rdb_put(o, encoded, one ? 2 : two ? 3 : 5);
}

static void put_lzf_head(struct rdb_out *o, size_t packed, size_t len) {
    uint8_t head[1 + 2 * RDB_LEN_BYTES_MAX] = {RDB_ENCODED_LZF};
    uint8_t *end = write_len(write_len(head + 1, packed), len);
    rdb_put(o, head, (size_t)(end - head));
}

/* put_lzf: false: it would not be shorter, and nothing was written. */
static __attribute__((noinline)) bool put_lzf(struct rdb_out *o, struct span s) {
    uint8_t packed[RDB_WHOLE_MAX];
    size_t n = rdb_lzf_pack((const uint8_t *)s.ptr, s.len, packed, s.len - RDB_LZF_WORTH);
    if (n == 0)
        return false;
    put_lzf_head(o, n, s.len);
    rdb_put(o, packed, n);
    return true;
}

void rdb_put_bytes(struct rdb_out *o, struct span s, bool compress) {
    if (compress && s.len >= RDB_LZF_MIN && s.len <= RDB_WHOLE_MAX && put_lzf(o, s))
        return;
    put_raw(o, s);
}

static inline bool is_int32(struct span s, int64_t *v) {
    return s.len <= INT32_TEXT_MAX && s.len > 0 && (unsigned char)*s.ptr <= '9' &&
           strval_parse_int(s, v) && *v == (int32_t)*v;
}

void rdb_put_string(struct rdb_out *o, struct span s, bool compress) {
    int64_t v;
    if (is_int32(s, &v))
        rdb_put_int(o, v);
    else
        rdb_put_bytes(o, s, compress);
}

/* --- of a value that is written in slices --- */

void rdb_blob(struct rdb_encoder *e, struct rdb_out *o, struct span s) {
    struct rdb_coding *c = rdb_coding(e);
    if (likely(s.len <= RDB_WHOLE_MAX)) {
        rdb_put_bytes(o, s, e->compress);
        return;
    }
    c->rest = s;
    if (e->compress) {
        c->whole = s;
        c->packed = 0;
        c->how = RDB_REST_MEASURE;
    } else {
        rdb_put_len(o, s.len);
    }
}

void rdb_text(struct rdb_encoder *e, struct rdb_out *o, struct span s) {
    int64_t v;
    if (is_int32(s, &v))
        rdb_put_int(o, v);
    else
        rdb_blob(e, o, s);
}

static void pass(struct rdb_coding *c, size_t n, size_t *bytes) {
    c->rest.ptr += n;
    c->rest.len -= n;
    *bytes -= n < *bytes ? n : *bytes;
}

/* measured: is it shorter? */
static void measured(struct rdb_coding *c, struct rdb_out *o) {
    c->rest = c->whole;
    if (c->packed <= c->whole.len - RDB_LZF_WORTH) {
        c->how = RDB_REST_PACK;
        put_lzf_head(o, c->packed, c->whole.len);
    } else {
        c->how = RDB_REST_RAW;
        rdb_put_len(o, c->whole.len);
    }
}

static void pack_piece(struct rdb_coding *c, struct rdb_out *o, size_t *bytes) {
    uint8_t packed[RDB_LZF_ROOM(RDB_WHOLE_MAX)];
    size_t n = c->rest.len < RDB_WHOLE_MAX ? c->rest.len : RDB_WHOLE_MAX;
    size_t len = rdb_lzf_pack((const uint8_t *)c->rest.ptr, n, packed, sizeof packed);
    ASSERT(len > 0);
    pass(c, n, bytes);
    if (c->how == RDB_REST_PACK)
        rdb_put(o, packed, len);
    else
        c->packed += len;
}

/* pack_rest: false: there is more to be packed. True: nothing is left, or all, which is to be written as it is. */
static bool pack_rest(struct rdb_coding *c, struct rdb_out *o, size_t *bytes) {
    while (c->how != RDB_REST_RAW) {
        if (*bytes == 0)
            return false;
        pack_piece(c, o, bytes);
        if (c->rest.len > 0)
            continue;
        if (c->how == RDB_REST_MEASURE)
            measured(c, o);
        else
            c->how = RDB_REST_RAW;
    }
    return true;
}

bool rdb_rest(struct rdb_coding *c, struct rdb_out *o, size_t *bytes) {
    if (unlikely(c->how != RDB_REST_RAW) && !pack_rest(c, o, bytes))
        return false;
    size_t n = c->rest.len < *bytes ? c->rest.len : *bytes;
    rdb_put(o, c->rest.ptr, n);
    pass(c, n, bytes);
    return c->rest.len == 0;
}
