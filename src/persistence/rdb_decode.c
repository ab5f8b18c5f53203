/* rdb_decode.c: values of RDB: strings, and what all other types share. See anax/rdb.h and rdb_decode_impl.h. */
#include "anax/listpack.h"
#include "rdb_decode_impl.h"
#include "shards/blob.h"
#include "shards/decimal.h"
#include "shards/hash.h"
#include "streamval_impl.h"

/* --- strings --- */

static enum rdb_result decode_large(struct rdb_decode *d, const struct rdb_text *t,
                                    struct value *out) {
    struct blob *b = blob_create(d->s->mem, t->len);
    if (b == NULL)
        return RDB_NOMEM;
    b->len = t->len;
    if (t->kind == RDB_TEXT_PLAIN) {
        memcpy(b->data, t->bytes, t->len);
    } else if (!rdb_unpack(t, b->data)) {
        blob_unpin(d->s->mem, b);
        return rdb_corrupt(d->in, "a compressed string that cannot be unpacked", t->bytes);
    }
    out->repr = REPR_OBJECT;
    out->object = b;
    return RDB_OK;
}

static enum rdb_result decode_string(struct rdb_decode *d, struct value *out) {
    struct rdb_text t;
    enum rdb_result r = rdb_get_text(d->in, &t);
    if (unlikely(r != RDB_OK))
        return r;
    if (t.kind == RDB_TEXT_INT) {
        out->repr = REPR_INT;
        out->integer = t.num;
        return RDB_OK;
    }
    if (unlikely(t.len > ENTRY_INLINE_MAX))
        return decode_large(d, &t, out);
    r = rdb_text_span(d->in, &t, d->s, &out->bytes);
    out->repr = REPR_INLINE;
    if (r == RDB_OK && t.len <= STRVAL_INT_BYTES && strval_parse_int(out->bytes, &out->integer))
        out->repr = REPR_INT;
    return r;
}

/* --- batches --- */

enum { BATCH_BYTES = 64 * 1024 };

enum rdb_result rdb_batch_add(struct rdb_batch *b, struct rdb_in *in, const struct rdb_text *t) {
    struct span *to = &b->texts[b->n];
    if (likely(t->kind == RDB_TEXT_PLAIN)) {
        *to = (struct span){(const char *)t->bytes, t->len};
        b->n++;
        return RDB_OK;
    }
    size_t len = t->kind == RDB_TEXT_INT ? DECIMAL_INT_BYTES : t->len;
    if (!rdb_scratch_room(&b->room, b->used + len + 1))
        return RDB_NOMEM;
    char *at = b->room.bytes + b->used;
    if (t->kind == RDB_TEXT_INT)
        len = (size_t)(decimal_put_int(at, t->num) - at);
    else if (!rdb_unpack(t, at))
        return rdb_corrupt(in, "a compressed string that cannot be unpacked", t->bytes);
    *to = (struct span){(const char *)b->used, len}; /* the room may move until all are in */
    b->moved |= 1ULL << b->n++;
    b->used += len;
    return RDB_OK;
}

bool rdb_batch_full(const struct rdb_batch *b, unsigned more) {
    return b->n + more > RDB_BATCH || b->used > BATCH_BYTES;
}

const struct span *rdb_batch_texts(struct rdb_batch *b) {
    for (; b->moved != 0; b->moved &= b->moved - 1) {
        struct span *s = &b->texts[__builtin_ctzll(b->moved)];
        s->ptr = b->room.bytes + (uintptr_t)s->ptr;
    }
    return b->texts;
}

/* --- no text twice --- */

static const struct span *span_at(const void *items, size_t stride, size_t i) {
    return (const struct span *)((const char *)items + i * stride);
}

static bool distinct_few(const void *items, size_t stride, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (span_eq(*span_at(items, stride, i), *span_at(items, stride, j)))
                return false;
    return true;
}

/* distinct_slots: each slot has the upper half of a hash and the number of its item, from 1 on. */
static bool distinct_slots(uint64_t *slots, size_t mask, const void *items, size_t stride,
                           size_t n) {
    static const uint64_t print_bits = 0xffffffff00000000ULL;
    for (size_t i = 0; i < n; i++) {
        const struct span *s = span_at(items, stride, i);
        uint64_t hash = hash_of(*s);
        size_t at = (size_t)hash & mask;
        for (; slots[at] != 0; at = (at + 1) & mask) {
            if (((slots[at] ^ hash) & print_bits) != 0)
                continue;
            if (span_eq(*span_at(items, stride, (size_t)(uint32_t)slots[at] - 1), *s))
                return false;
        }
        slots[at] = (hash & print_bits) | (i + 1);
    }
    return true;
}

enum rdb_result rdb_distinct(struct mem *m, const void *items, size_t stride, size_t n) {
    enum { FEW = 8, SLOTS_ON_STACK = 256 };
    uint64_t few_slots[SLOTS_ON_STACK], *slots = few_slots;
    if (n <= FEW)
        return distinct_few(items, stride, n) ? RDB_OK : RDB_CORRUPT;
    if (n >= UINT32_MAX)
        return RDB_NOMEM;
    size_t count = (size_t)1 << (64 - __builtin_clzll(n + n / 2));
    if (count <= SLOTS_ON_STACK)
        memset(few_slots, 0, count * sizeof *slots);
    else if ((slots = mem_zalloc(m, count * sizeof *slots)) == NULL)
        return RDB_NOMEM;
    bool distinct = distinct_slots(slots, count - 1, items, stride, n);
    if (slots != few_slots)
        mem_free(m, slots, count * sizeof *slots);
    return distinct ? RDB_OK : RDB_CORRUPT;
}

/* --- blobs --- */

enum rdb_result rdb_get_blob(struct rdb_decode *d, struct span *blob, const uint8_t **place) {
    *place = d->in->at;
    return rdb_get_string(d->in, d->s, blob);
}

enum rdb_result rdb_adopt(struct rdb_decode *d, uint8_t form, struct span blob) {
    struct val *v = &d->v;
    uint8_t *bytes = (uint8_t *)(uintptr_t)blob.ptr;
    uint32_t len = (uint32_t)blob.len;
    if (blob.len <= ENTRY_INLINE_MAX && form != VAL_LISTPACK_TTL) {
        val_of_bytes(v, v->mem, v->type, form, bytes, len, len);
        return RDB_OK;
    }
    if (!val_room(v, blob.len))
        return RDB_NOMEM;
    memcpy(v->bytes, bytes, blob.len);
    v->form = form;
    val_set_len(v, len);
    return RDB_OK;
}

enum rdb_result rdb_adoptable(struct rdb_decode *d, struct span blob, const uint8_t *place,
                              unsigned stride, uint64_t rows_max, uint64_t bytes_max, bool *fits) {
    enum { FLAT_BYTES_MAX = 1 << 29, NAMES_ON_STACK = 160 };
    struct span on_stack[NAMES_ON_STACK], *names = on_stack;
    uint8_t *lp = (uint8_t *)(uintptr_t)blob.ptr;
    *fits = blob.len <= FLAT_BYTES_MAX && lp_valid(lp, blob.len);
    size_t entries = *fits ? lp_count(lp) : 0, rows = entries / stride, n = 0;
    *fits = *fits && entries > 0 && entries % stride == 0 && rows <= rows_max;
    if (!*fits)
        return RDB_OK;
    if (rows > NAMES_ON_STACK && (names = mem_alloc(d->v.mem, rows * sizeof *names)) == NULL)
        return RDB_NOMEM;
    unsigned column = 0;
    for (uint8_t *p = lp_first(lp); p != NULL; p = lp_next(p), column++) {
        struct lp_item item;
        lp_entry_get(p, &item);
        if (item.str != NULL && item.len > bytes_max)
            *fits = false;
        column = column == stride ? 0 : column;
        if (column == 0) /* equal texts have equal entries */
            names[n++] = (struct span){(const char *)p, lp_entry_bytes(p)};
    }
    enum rdb_result r = rdb_distinct(d->v.mem, names, sizeof *names, n);
    if (names != on_stack)
        mem_free(d->v.mem, names, rows * sizeof *names);
    if (r == RDB_CORRUPT)
        return rdb_corrupt(d->in, "a listpack that has the same twice", place);
    return r;
}

/* --- all of them --- */

/* deliver: d->v as an entry takes it. */
static enum rdb_result deliver(struct rdb_decode *d, struct value *out) {
    struct val *v = &d->v;
    out->repr = REPR_OBJECT;
    out->object = NULL;
    if (v->form == VAL_NONE || val_count(v) == 0) {
        val_destroy(v);
        return RDB_OK;
    }
    bool is_intset = v->form == VAL_INTSET;
    if ((v->form != VAL_LISTPACK && !is_intset) || v->len > ENTRY_INLINE_MAX) {
        out->object = val_object(v);
        return RDB_OK;
    }
    out->repr = is_intset ? REPR_RAW : REPR_INLINE;
    out->bytes = (struct span){(const char *)v->bytes, v->len};
    if (v->owned) {
        if (!rdb_scratch_room(d->s, v->len))
            return RDB_NOMEM;
        memcpy(d->s->bytes, v->bytes, v->len);
        out->bytes.ptr = d->s->bytes;
        val_destroy(v);
    }
    return RDB_OK;
}

/* value_type: what a type of RDB is a value of; 0: a string, or nothing that is known. */
static uint8_t value_type(const struct rdb_in *in, uint8_t type) {
    static const uint8_t types[] = {
        [RDB_LIST] = VALUE_LIST,
        [RDB_SET] = VALUE_SET,
        [RDB_ZSET] = VALUE_ZSET,
        [RDB_HASH] = VALUE_HASH,
        [RDB_ZSET_2] = VALUE_ZSET,
        [RDB_HASH_ZIPMAP] = VALUE_HASH,
        [RDB_LIST_ZIPLIST] = VALUE_LIST,
        [RDB_SET_INTSET] = VALUE_SET,
        [RDB_ZSET_ZIPLIST] = VALUE_ZSET,
        [RDB_HASH_ZIPLIST] = VALUE_HASH,
        [RDB_LIST_QUICKLIST] = VALUE_LIST,
        [RDB_STREAM_LISTPACKS] = VALUE_STREAM,
        [RDB_HASH_LISTPACK] = VALUE_HASH,
        [RDB_ZSET_LISTPACK] = VALUE_ZSET,
        [RDB_LIST_QUICKLIST_2] = VALUE_LIST,
        [RDB_STREAM_LISTPACKS_2] = VALUE_STREAM,
        [RDB_SET_LISTPACK] = VALUE_SET,
        [RDB_STREAM_LISTPACKS_3] = VALUE_STREAM,
        [RDB_HASH_METADATA_PRE_GA] = VALUE_HASH, /* RDB_HASH_2 */
        [RDB_HASH_LISTPACK_EX_PRE_GA] = VALUE_HASH,
        [RDB_HASH_METADATA] = VALUE_HASH,
        [RDB_HASH_LISTPACK_EX] = VALUE_HASH,
    };
    if (in->valkey && type > RDB_HASH_2)
        return 0;
    return type < COUNT_OF(types) ? types[type] : 0;
}

static enum rdb_result decode_stream(struct rdb_decode *d) {
    struct object *o;
    enum rdb_result r = streamval_of(d->in, d->type, d->s, &o);
    if (r == RDB_OK)
        val_of_object(&d->v, d->v.mem, o);
    return r;
}

/* decode_rest: what is no string. Streams may be empty, other values may not. */
static enum rdb_result decode_rest(struct rdb_decode *d, struct value *out) {
    enum rdb_result r;
    switch (out->type) {
    case VALUE_LIST:
        r = rdb_decode_list(d);
        break;
    case VALUE_SET:
        r = rdb_decode_set(d);
        break;
    case VALUE_ZSET:
        r = rdb_decode_zset(d);
        break;
    case VALUE_HASH:
        r = d->type >= RDB_HASH_METADATA_PRE_GA ? rdb_decode_hash_timed(d) : rdb_decode_hash(d);
        break;
    case VALUE_STREAM:
        r = decode_stream(d);
        out->repr = REPR_OBJECT;
        out->object = r == RDB_OK ? d->v.big : NULL;
        return r;
    default: /* a module's, or an error */
        r = rdb_skip_value(d->in, d->type);
        return r == RDB_OK ? RDB_MODULE : r;
    }
    return r == RDB_OK ? deliver(d, out) : r;
}

enum rdb_result rdb_decode_value(struct rdb_in *in, uint8_t type, struct rdb_scratch *s,
                                 const struct config *limits, int64_t now_ms, struct value *out) {
    const uint8_t *from = in->at;
    struct rdb_decode d;
    enum rdb_result r;
    *out = (struct value){.type = value_type(in, type)};
    in->why = NULL;
    d.in = in;
    d.s = s;
    if (type == RDB_STRING) {
        r = decode_string(&d, out);
    } else {
        d.limits = limits;
        d.now_ms = now_ms;
        d.type = type;
        val_init(&d.v, s->mem, out->type);
        r = decode_rest(&d, out);
        if (unlikely(r != RDB_OK)) {
            val_destroy(&d.v);
            *out = (struct value){.type = out->type}; /* nothing to be freed */
        }
    }
    if (unlikely(r != RDB_OK && r != RDB_MODULE))
        in->at = from;
    return r;
}
