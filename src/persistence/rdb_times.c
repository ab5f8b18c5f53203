/* rdb_times.c: the times of a set's members, as files and payloads have them: RDB_AUX_MEMBER_TTLS, rdb_types_impl.h. */
#include "anax/config.h"
#include "anax/setval.h"
#include "rdb_read_impl.h"
#include "shards/bytes.h"

enum { TIMES_AT_ONCE = 64, TIME_BYTES = 8 };

/* take_field: of the value of one field. */
static enum rdb_result take_field(struct val *v, const struct set_kind *kind, struct span field,
                                  int64_t now_ms) {
    struct rdb_in in = {.at = (const uint8_t *)field.ptr,
                        .end = (const uint8_t *)field.ptr + field.len};
    struct field_time times[TIMES_AT_ONCE];
    while (in.at < in.end) {
        uint32_t n = 0;
        for (; n < TIMES_AT_ONCE && in.at < in.end; n++) {
            uint64_t len;
            if (rdb_get_len(&in, &len) != RDB_OK || len > rdb_left(&in) ||
                rdb_left(&in) - len < TIME_BYTES)
                return RDB_CORRUPT;
            times[n].name = (struct span){(const char *)in.at, (size_t)len};
            times[n].expire_ms = (int64_t)load_le64(in.at + len);
            in.at += len + TIME_BYTES;
        }
        if (!setval_set_times(v, kind, times, n, now_ms))
            return RDB_NOMEM;
    }
    return RDB_OK;
}

static enum rdb_result next_field(struct rdb_in *in, struct rdb_scratch *s, bool *is_times,
                                  struct span *field) {
    struct span name;
    in->at++;
    enum rdb_result result = rdb_get_string(in, s, &name);
    *is_times = result == RDB_OK && span_eq(name, SPAN(RDB_AUX_MEMBER_TTLS));
    return result == RDB_OK ? rdb_get_string(in, s, field) : result;
}

enum rdb_result rdb_get_times(struct rdb_in *in, struct rdb_scratch *s, const struct config *limits,
                              int64_t now_ms, struct value *value) {
    const struct set_kind kind = {
        .intset_max = (uint64_t)limits->set_intset_entries_max,
        .fields = {.entries_max = (uint64_t)limits->set_listpack_entries_max,
                   .bytes_max = (uint64_t)limits->set_listpack_bytes_max}};
    struct val v;
    if (value->repr == REPR_OBJECT && value->object == NULL)
        return RDB_OK; /* nothing was left of it */
    if (value->repr == REPR_OBJECT)
        val_of_object(&v, s->mem, value->object);
    else
        val_of_bytes(&v, s->mem, VALUE_SET, value->repr == REPR_RAW ? VAL_INTSET : VAL_LISTPACK,
                     (uint8_t *)(uintptr_t)value->bytes.ptr, (uint32_t)value->bytes.len,
                     (uint32_t)value->bytes.len);
    const uint8_t *start = in->at;
    enum rdb_result result = RDB_OK;
    while (result == RDB_OK && in->at < in->end && *in->at == RDB_OP_AUX) {
        struct span field;
        bool is_times;
        result = next_field(in, s, &is_times, &field);
        if (result == RDB_OK && is_times)
            result = take_field(&v, &kind, field, now_ms);
    }
    if (val_object(&v) != NULL) {
        value->repr = REPR_OBJECT;
        value->object = val_object(&v);
    }
    if (result == RDB_CORRUPT || result == RDB_MORE)
        return rdb_corrupt(in, "the times of a set's members are not what they should be", start);
    return result;
}
