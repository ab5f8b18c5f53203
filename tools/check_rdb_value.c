/* check_rdb_value.c: values as JSON, for anax-check-rdb --values. See check_rdb_impl.h. */
#include "../src/persistence/streamval_impl.h"
#include "anax/fields.h"
#include "anax/intset.h"
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "check_rdb_impl.h"
#include "shards/decimal.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* what was written so far tells whether a comma has to come first */
struct list {
    FILE *to;
    bool some;
};

static FILE *next(struct list *l) {
    if (l->some)
        fputc(',', l->to);
    l->some = true;
    return l->to;
}

void check_rdb_quote(FILE *to, struct span s) {
    fputc('"', to);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 32 || c > 126)
            fprintf(to, "\\u%04x", c);
        else
            fprintf(to, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    fputc('"', to);
}

static void put_item(FILE *to, const struct lp_item *i) {
    char digits[STRVAL_INT_BYTES];
    check_rdb_quote(to, lp_item_text(i, digits));
}

static void put_string(FILE *to, const struct value *v) {
    char digits[STRVAL_INT_BYTES];
    const struct blob *b = v->object;
    if (v->repr == REPR_INT)
        check_rdb_quote(to, (struct span){digits, strval_format_int(digits, v->integer)});
    else
        check_rdb_quote(to, v->repr == REPR_OBJECT ? (struct span){b->data, b->len} : v->bytes);
}

static void put_list(struct list *l, const struct val *v) {
    struct listval_iter i;
    struct lp_item item;
    for (listval_begin(&i, v, 0, false); listval_next(&i, &item);)
        put_item(next(l), &item);
}

static void put_set(struct list *l, const struct val *v) {
    static const struct set_kind kind = {.fields = {.valued = false}};
    struct set_iter i;
    struct lp_item item;
    for (setval_begin(&i, v, &kind, 0); setval_next(&i, &item);)
        put_item(next(l), &item);
}

static void put_zset(struct list *l, const struct val *v) {
    struct zset_iter i;
    struct zset_item item;
    char score[DECIMAL_DOUBLE_BYTES];
    for (zsetval_begin(&i, v, 0, false); zsetval_next(&i, &item);) {
        fputc('[', next(l));
        check_rdb_quote(l->to, item.member);
        fputc(',', l->to);
        if (isinf(item.score)) /* JSON has none */
            fputs(item.score > 0 ? "\"inf\"" : "\"-inf\"", l->to);
        else
            fwrite(score, 1, (size_t)(decimal_put_double(score, item.score) - score), l->to);
        fputc(']', l->to);
    }
}

static void put_hash(struct list *l, const struct val *v) {
    static const struct fields_kind kind = {.valued = true};
    struct fields_iter i;
    struct field f;
    for (fields_begin(&i, v, &kind, 0); fields_next(&i, &f);) {
        fputc('[', next(l));
        check_rdb_quote(l->to, f.name);
        fputc(',', l->to);
        check_rdb_quote(l->to, f.value);
        fprintf(l->to, ",%" PRId64 "]", f.expire_ms);
    }
}

static void put_stream(struct list *l, struct mem *m, const struct object *o) {
    struct stream_iter i;
    struct stream_id id;
    struct span name, value;
    for (streamval_begin(&i, o, m); streamval_next(&i, &id);) {
        fprintf(next(l), "[\"%" PRIu64 "-%" PRIu64 "\"", id.ms, id.seq);
        while (streamval_field(&i, &name, &value)) {
            fputc(',', l->to);
            check_rdb_quote(l->to, name);
            fputc(',', l->to);
            check_rdb_quote(l->to, value);
        }
        fputc(']', l->to);
    }
    if (!streamval_end(&i))
        exit(EXIT_FAILURE);
}

void check_rdb_value(FILE *to, struct mem *m, const struct value *value) {
    struct list l = {.to = to};
    struct val v;
    if (value->type == VALUE_STRING) {
        put_string(to, value);
        return;
    }
    uint8_t *bytes = (uint8_t *)(uintptr_t)value->bytes.ptr;
    if (value->repr == REPR_OBJECT)
        val_of_object(&v, m, value->object);
    else
        val_of_bytes(&v, m, value->type, value->repr == REPR_RAW ? VAL_INTSET : VAL_LISTPACK, bytes,
                     (uint32_t)value->bytes.len, (uint32_t)value->bytes.len);
    fputc('[', to);
    if (v.type == VALUE_LIST)
        put_list(&l, &v);
    else if (v.type == VALUE_SET)
        put_set(&l, &v);
    else if (v.type == VALUE_ZSET)
        put_zset(&l, &v);
    else if (v.type == VALUE_HASH)
        put_hash(&l, &v);
    else
        put_stream(&l, m, v.big);
    fputc(']', to);
}
