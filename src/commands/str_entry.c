/* str_entry.c: string values in entries. See str_entry_impl.h. */
#include "shards/assert.h"
#include "str_entry_impl.h"

struct span str_entry_bytes(const struct entry *e, char scratch[STRVAL_INT_BYTES]) {
    switch (entry_repr(e)) {
    case REPR_INT:
        return (struct span){scratch, strval_format_int(scratch, entry_int(e))};
    case REPR_OBJECT: {
        const struct blob *b = entry_object(e);
        return (struct span){b->data, b->len};
    }
    case REPR_INLINE:
    case REPR_RAW:
        break;
    }
    return entry_bytes(e);
}

size_t str_entry_len(const struct entry *e) {
    switch (entry_repr(e)) {
    case REPR_INT:
        return strval_int_len(entry_int(e));
    case REPR_OBJECT:
        return ((const struct blob *)entry_object(e))->len;
    case REPR_INLINE:
    case REPR_RAW:
        break;
    }
    return entry_bytes(e).len;
}

void str_entry_reply(struct reply *r, const struct entry *e) {
    enum repr repr = entry_repr(e);
    if (repr == REPR_INT) {
        reply_bulk_int(r, entry_int(e));
    } else if (repr == REPR_OBJECT) {
        struct blob *b = entry_object(e);
        reply_blob(r, b, 0, b->len);
    } else {
        reply_bulk(r, entry_bytes(e));
    }
}

void str_entry_reply_range(struct reply *r, const struct entry *e, size_t from, size_t len) {
    if (entry_repr(e) == REPR_OBJECT) {
        reply_blob(r, entry_object(e), from, len);
        return;
    }
    char scratch[STRVAL_INT_BYTES];
    struct span all = str_entry_bytes(e, scratch);
    ASSERT(from + len <= all.len);
    reply_bulk(r, (struct span){all.ptr + from, len});
}

/* put: stores v under argv[key], or replies that there is no memory. */
static ON_SHARD struct entry *put(struct ctx *c, uint32_t key, struct value *v, int64_t expire_ms) {
    v->access = ctx_access_now(c);
    struct table *t = ctx_table(c);
    struct entry *e = t == NULL ? NULL : table_put(t, c->argv[key], ctx_hash(c, key), v, expire_ms);
    if (unlikely(e == NULL)) {
        ctx_oom(c);
        return NULL;
    }
    keyspace_count_gone(c->keyspace, t, c->now_ms);
    return e;
}

/* put_blob: a blob that was made for this; it is given up when the put fails. */
static ON_SHARD struct entry *put_blob(struct ctx *c, uint32_t key, struct blob *b,
                                       int64_t expire_ms) {
    struct value v = {.type = VALUE_STRING, .repr = REPR_OBJECT, .object = b};
    struct entry *e = put(c, key, &v, expire_ms);
    if (unlikely(e == NULL))
        blob_unpin(keyspace_mem(c->keyspace), b);
    return e;
}

/* set_large: bytes that do not fit into an entry. */
static ON_SHARD bool set_large(struct ctx *c, uint32_t key, struct span bytes, int64_t expire_ms) {
    struct blob *big = c->big;
    if (big != NULL && bytes.ptr == big->data && bytes.len == big->len) {
        struct value v = {.type = VALUE_STRING, .repr = REPR_OBJECT, .object = big};
        if (put(c, key, &v, expire_ms) == NULL)
            return false;
        c->big = NULL;
        return true;
    }
    struct blob *b = blob_create(keyspace_mem(c->keyspace), bytes.len);
    if (b == NULL) {
        ctx_oom(c);
        return false;
    }
    memcpy(b->data, bytes.ptr, bytes.len);
    b->len = bytes.len;
    return put_blob(c, key, b, expire_ms) != NULL;
}

bool str_entry_set_as(struct ctx *c, uint32_t key, struct span bytes, enum repr repr,
                      int64_t expire_ms) {
    if (unlikely(bytes.len > ENTRY_INLINE_MAX))
        return set_large(c, key, bytes, expire_ms);
    struct value v = {.type = VALUE_STRING, .repr = (uint8_t)repr, .bytes = bytes};
    return put(c, key, &v, expire_ms) != NULL;
}

bool str_entry_set_int(struct ctx *c, uint32_t key, int64_t integer, int64_t expire_ms) {
    struct value v = {.type = VALUE_STRING, .repr = REPR_INT, .integer = integer};
    return put(c, key, &v, expire_ms) != NULL;
}

bool str_entry_set(struct ctx *c, uint32_t key, struct span bytes, int64_t expire_ms) {
    int64_t integer;
    if (strval_parse_int(bytes, &integer))
        return str_entry_set_int(c, key, integer, expire_ms);
    return str_entry_set_as(c, key, bytes, REPR_INLINE, expire_ms);
}

/* create_zeros: a new raw value of len zero bytes. */
static ON_SHARD char *create_zeros(struct ctx *c, uint32_t key, size_t len) {
    if (len <= ENTRY_INLINE_MAX) {
        char zeros[ENTRY_INLINE_MAX];
        memset(zeros, 0, len);
        struct value v = {.type = VALUE_STRING, .repr = REPR_RAW, .bytes = {zeros, len}};
        struct entry *e = put(c, key, &v, EXPIRE_NEVER);
        return e == NULL ? NULL : entry_bytes_mut(e);
    }
    struct blob *b = blob_create(keyspace_mem(c->keyspace), len);
    if (b == NULL) {
        ctx_oom(c);
        return NULL;
    }
    memset(b->data, 0, len);
    b->len = len;
    return put_blob(c, key, b, EXPIRE_NEVER) == NULL ? NULL : b->data;
}

/* edit_blob: in place when nobody else reads the blob and it has room. */
static ON_SHARD char *edit_blob(struct ctx *c, struct entry *e, size_t len) {
    struct blob *b = entry_object(e);
    size_t before = b->len;
    struct blob *grown = strval_grow(keyspace_mem(c->keyspace), b, len < before ? before : len);
    if (grown == NULL) {
        ctx_oom(c);
        return NULL;
    }
    if (grown != b)
        entry_set_object(e, grown);
    if (grown->len != before)
        table_length_changed(ctx_table(c), e, before);
    return grown->data;
}

/* edit_inline: an integer or inline bytes, which become raw and may outgrow the entry. */
static ON_SHARD char *edit_inline(struct ctx *c, uint32_t key, struct entry *e, size_t len) {
    char scratch[STRVAL_INT_BYTES];
    struct span old = str_entry_bytes(e, scratch);
    if (len < old.len)
        len = old.len;
    if (len == old.len && entry_repr(e) == REPR_RAW)
        return entry_bytes_mut(e);
    if (len <= ENTRY_INLINE_MAX) {
        char bytes[ENTRY_INLINE_MAX];
        memcpy(bytes, old.ptr, old.len);
        memset(bytes + old.len, 0, len - old.len);
        struct value v = {.type = VALUE_STRING, .repr = REPR_RAW, .bytes = {bytes, len}};
        struct entry *now = put(c, key, &v, EXPIRE_KEEP);
        return now == NULL ? NULL : entry_bytes_mut(now);
    }
    struct blob *b = blob_create(keyspace_mem(c->keyspace), strval_slack(len));
    if (b == NULL) {
        ctx_oom(c);
        return NULL;
    }
    memcpy(b->data, old.ptr, old.len);
    memset(b->data + old.len, 0, len - old.len);
    b->len = len;
    return put_blob(c, key, b, EXPIRE_KEEP) == NULL ? NULL : b->data;
}

/* growth: what making it that long takes. */
static int64_t growth(const struct entry *e, size_t len) {
    if (e == NULL)
        return (int64_t)len;
    if (entry_repr(e) != REPR_OBJECT)
        return (int64_t)(len > ENTRY_INLINE_MAX ? strval_slack(len) : len);
    const struct blob *b = entry_object(e);
    size_t cap = b->cap < len ? strval_slack(len) : len, has = b->refs > 1 ? 0 : b->cap;
    return cap > has ? (int64_t)(cap - has) : 0;
}

char *str_entry_edit(struct ctx *c, uint32_t key, struct entry *e, size_t len) {
    if (!ctx_room(c, growth(e, len)))
        return NULL;
    if (e == NULL)
        return create_zeros(c, key, len);
    if (entry_repr(e) == REPR_OBJECT)
        return edit_blob(c, e, len);
    return edit_inline(c, key, e, len);
}

void str_held_take(struct str_held *h, struct entry *e, char *inline_bytes) {
    *h = (struct str_held){.exists = e != NULL};
    if (e == NULL)
        return;
    ASSERT(entry_type(e) == VALUE_STRING);
    h->repr = entry_repr(e);
    if (h->repr == REPR_INT) {
        h->integer = entry_int(e);
    } else if (h->repr == REPR_OBJECT) {
        h->blob = entry_object(e);
        blob_pin(h->blob);
    } else {
        struct span bytes = entry_bytes(e);
        memcpy(inline_bytes, bytes.ptr, bytes.len);
        h->len = bytes.len;
    }
}

void str_held_reply(struct reply *r, const struct str_held *h, const char *inline_bytes) {
    if (!h->exists)
        reply_null(r);
    else if (h->repr == REPR_INT)
        reply_bulk_int(r, h->integer);
    else if (h->repr == REPR_OBJECT)
        reply_blob(r, h->blob, 0, h->blob->len);
    else
        reply_bulk(r, (struct span){inline_bytes, h->len});
}

void str_held_drop(struct mem *m, struct str_held *h) {
    if (h->blob != NULL)
        blob_unpin(m, h->blob);
    h->blob = NULL;
}
