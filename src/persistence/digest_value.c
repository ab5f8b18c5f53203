/* digest_value.c: the digest of one value. See digest_impl.h. */
#include "anax/fields.h"
#include "anax/intset.h"
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "digest_impl.h"
#include "shards/assert.h"
#include "shards/decimal.h"
#include "streamval_impl.h"
#include <arpa/inet.h>
#include <stdio.h>

static void mix_span(struct digest *d, struct span s) {
    digest_mix(d, s.ptr, s.len);
}

static void mix_number(struct digest *d, uint32_t n) {
    uint32_t big_endian = htonl(n);
    digest_mix(d, &big_endian, sizeof big_endian);
}

static void mix_string(struct digest *d, const struct value *v) {
    char digits[STRVAL_INT_BYTES];
    if (v->repr == REPR_INT) {
        digest_mix(d, digits, strval_format_int(digits, v->integer));
    } else if (v->repr == REPR_OBJECT) {
        const struct blob *b = v->object;
        digest_mix(d, b->data, b->len);
    } else {
        mix_span(d, v->bytes);
    }
}

static void mix_list(struct digest *d, const struct val *v) {
    struct listval_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    listval_begin(&i, v, 0, false);
    while (listval_next(&i, &item))
        mix_span(d, lp_item_text(&item, digits));
}

static const char FIELD_EXPIRES[] = "!!hexpire!!";

/* Members that have a time are known to Anax and Dragonfly only: they count like fields that have one. */
static void add_set(struct digest *d, const struct val *v, int64_t now_ms) {
    static const struct set_kind kind = {.fields = {.valued = false}};
    struct set_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    setval_begin(&i, v, &kind, now_ms);
    while (setval_next(&i, &item)) {
        struct span member = lp_item_text(&item, digits);
        digest_add(d, member.ptr, member.len);
        if (i.expire_ms != FIELDS_NEVER)
            digest_add(d, FIELD_EXPIRES, strlen(FIELD_EXPIRES));
    }
}

static void add_hash(struct digest *d, const struct val *v, int64_t now_ms) {
    static const struct fields_kind kind = {.valued = true};
    struct fields_iter i;
    struct field f;
    fields_begin(&i, v, &kind, now_ms);
    while (fields_next(&i, &f)) {
        struct digest one = {{0}};
        mix_span(&one, f.name);
        mix_span(&one, f.value);
        if (f.expire_ms != FIELDS_NEVER)
            digest_add(&one, FIELD_EXPIRES, strlen(FIELD_EXPIRES));
        digest_add(d, one.bytes, DIGEST_BYTES);
    }
}

static void add_zset(struct digest *d, const struct val *v) {
    struct zset_iter i;
    struct zset_item item;
    char text[DECIMAL_DOUBLE_BYTES];
    zsetval_begin(&i, v, 0, false);
    while (zsetval_next(&i, &item)) {
        struct digest one = {{0}};
        mix_span(&one, item.member);
        int n = snprintf(text, sizeof text, "%.17g", item.score);
        ASSERT(n > 0 && n < (int)sizeof text);
        digest_mix(&one, text, (size_t)n);
        digest_add(d, one.bytes, DIGEST_BYTES);
    }
}

static bool mix_stream(struct digest *d, const struct object *o, struct mem *m) {
    struct stream_iter i;
    struct stream_id id;
    struct span name, value;
    char text[2 * DECIMAL_INT_BYTES + 1];
    for (streamval_begin(&i, o, m); streamval_next(&i, &id);) {
        char *end = decimal_put_uint(text, id.ms);
        *end++ = '.';
        end = decimal_put_uint(end, id.seq);
        digest_mix(d, text, (size_t)(end - text));
        while (streamval_field(&i, &name, &value)) {
            mix_span(d, name);
            mix_span(d, value);
        }
    }
    return streamval_end(&i);
}

/* val_of: the handle of a value that is only read. */
static struct val val_of(const struct value *v) {
    struct val out;
    if (v->repr == REPR_OBJECT) {
        val_of_object(&out, NULL, v->object);
        return out;
    }
    uint8_t *bytes = (uint8_t *)(uintptr_t)v->bytes.ptr;
    bool ints = v->repr == REPR_RAW;
    uint32_t len = ints ? (uint32_t)intset_bytes(bytes) : lp_bytes(bytes);
    val_of_bytes(&out, NULL, v->type, ints ? VAL_INTSET : VAL_LISTPACK, bytes, len, len);
    return out;
}

/* type_number: of Redis. */
static uint32_t type_number(uint8_t type) {
    enum { STREAM_OF_REDIS = 6 };
    return type == VALUE_STREAM ? STREAM_OF_REDIS : type;
}

static void add_collection(struct digest *d, const struct value *v, int64_t now_ms) {
    struct val val = val_of(v);
    switch (v->type) {
    case VALUE_LIST:
        mix_list(d, &val);
        break;
    case VALUE_SET:
        add_set(d, &val, now_ms);
        break;
    case VALUE_HASH:
        add_hash(d, &val, now_ms);
        break;
    default:
        ASSERT(v->type == VALUE_ZSET);
        add_zset(d, &val);
    }
}

bool digest_value(struct digest *d, const struct value *v, int64_t expire_ms, int64_t now_ms,
                  struct mem *m) {
    bool whole = true;
    mix_number(d, type_number(v->type));
    if (v->type == VALUE_STRING)
        mix_string(d, v);
    else if (v->type == VALUE_STREAM)
        whole = mix_stream(d, v->object, m);
    else
        add_collection(d, v, now_ms);
    if (expire_ms != EXPIRE_NEVER)
        digest_add(d, "!!expire!!", strlen("!!expire!!"));
    return whole;
}
