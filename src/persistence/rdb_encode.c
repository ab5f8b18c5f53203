/* rdb_encode.c: a value, what stands before it, and how its kind is chosen. See anax/rdb.h. */
#include "anax/intset.h"
#include "rdb_encode_impl.h"
#include "shards/assert.h"
#include "streamval_impl.h"

/* --- strings --- */

static struct span string_bytes(const struct value *v) {
    if (v->repr != REPR_OBJECT)
        return v->bytes;
    const struct blob *b = v->object;
    return (struct span){b->data, b->len};
}

static bool some_string(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    if (!e->begun) {
        e->begun = true;
        if (e->value.repr == REPR_INT)
            rdb_put_int(o, e->value.integer);
        else
            rdb_text(e, o, string_bytes(&e->value));
        if (likely(c->rest.len == 0))
            return true;
    }
    return rdb_rest(c, o, &bytes);
}

/* --- what lies in one run of bytes, as Redis lays it out, too --- */

bool rdb_some_flat(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    if (!e->begun) {
        e->begun = true;
        rdb_blob(e, o, (struct span){(const char *)c->val.bytes, c->val.len});
    }
    return rdb_rest(c, o, &bytes);
}

/* --- streams: as they came --- */

static bool some_stream(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    if (!e->begun)
        c->rest = streamval_body(e->value.object);
    e->begun = true;
    return rdb_rest(c, o, &bytes);
}

static void encode_stream(struct rdb_encoder *e) {
    rdb_coding(e)->some = some_stream;
    e->type = streamval_type(e->value.object);
    if (e->type == RDB_STREAM_LISTPACKS_3)
        e->version = RDB_VERSION_STREAM_3;
}

/* --- the kinds --- */

/* open_value: the handle of what is no string. */
static void open_value(struct val *out, const struct value *v) {
    if (v->repr == REPR_OBJECT) {
        val_of_object(out, NULL, v->object);
        return;
    }
    bool ints = v->repr == REPR_RAW;
    uint8_t *bytes = (uint8_t *)(uintptr_t)v->bytes.ptr;
    uint32_t len = ints ? (uint32_t)intset_bytes(bytes) : lp_bytes(bytes);
    val_of_bytes(out, NULL, v->type, ints ? VAL_INTSET : VAL_LISTPACK, bytes, len, len);
}

void rdb_encode_begin(struct rdb_encoder *e, const struct value *v, bool compress) {
    struct rdb_coding *c = rdb_coding(e);
    e->value = *v;
    e->type = RDB_STRING;
    e->version = RDB_VERSION_LOW;
    e->compress = compress;
    e->begun = false;
    c->some = some_string;
    c->rest.len = 0;
    c->how = RDB_REST_RAW;
    c->due = false;
    c->times = RDB_TIMES_NONE;
    if (likely(v->type == VALUE_STRING))
        return;
    if (v->type == VALUE_STREAM) {
        encode_stream(e);
        return;
    }
    open_value(&c->val, v);
    switch (v->type) {
    case VALUE_LIST:
        rdb_encode_list(e);
        return;
    case VALUE_SET:
        rdb_encode_set(e);
        return;
    case VALUE_ZSET:
        rdb_encode_zset(e);
        return;
    case VALUE_HASH:
        rdb_encode_hash(e);
        return;
    default:
        ASSERT(false);
    }
}

bool rdb_encode_some(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    return rdb_coding(e)->some(e, o, bytes);
}

/* --- what stands before it --- */

void rdb_encode_key(struct rdb_encoder *e, struct rdb_out *o, struct span key, int64_t expire_ms) {
    while (unlikely(!rdb_encode_times(e, o, SIZE_MAX))) {
    }
    uint8_t head[1 + sizeof expire_ms + 1], *at = head;
    if (expire_ms != EXPIRE_NEVER) {
        *at++ = RDB_OP_EXPIRE_MS;
        memcpy(at, &expire_ms, sizeof expire_ms);
        at += sizeof expire_ms;
    }
    *at++ = e->type;
    rdb_put(o, head, (size_t)(at - head));
    /* Names are short and have little in them that comes twice. */
    rdb_put_string(o, key, false);
}
