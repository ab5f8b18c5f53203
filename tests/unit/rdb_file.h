/* rdb_file.h: the values in a file of tests/data/rdb, for tests and fuzzing. */
#ifndef RDB_FILE_H
#define RDB_FILE_H

#include "anax/rdb.h"
#include "shards/assert.h"

struct rdb_file_value {
    uint8_t type;
    bool valkey;
    const uint8_t *bytes;
    size_t len;
};
typedef void rdb_file_fn(void *arg, const struct rdb_file_value *v);

/* rdb_file_skip_op: what is no key; false: it is one. */
static inline bool rdb_file_skip_op(struct rdb_in *in, uint8_t op) {
    static const uint8_t lens[256] = {
        [RDB_OP_IDLE] = 1, [RDB_OP_SELECTDB] = 1, [RDB_OP_RESIZEDB] = 2, [RDB_OP_SLOT_INFO] = 3};
    static const uint8_t fixed[256] = {
        [RDB_OP_FREQ] = 1, [RDB_OP_EXPIRE] = 4, [RDB_OP_EXPIRE_MS] = 8};
    static const uint8_t strings[256] = {[RDB_OP_AUX] = 2, [RDB_OP_FUNCTION2] = 1};
    uint64_t len;
    if (rdb_type_known(op))
        return false;
    ASSERT(lens[op] + fixed[op] + strings[op] > 0);
    for (unsigned i = 0; i < lens[op]; i++)
        ASSERT(rdb_get_len(in, &len) == RDB_OK);
    in->at += fixed[op];
    for (unsigned i = 0; i < strings[op]; i++)
        ASSERT(rdb_skip_string(in) == RDB_OK);
    return true;
}

/* rdb_file_walk: of a whole file that is right. */
static inline void rdb_file_walk(const uint8_t *bytes, size_t len, rdb_file_fn *each, void *arg) {
    enum { MAGIC_BYTES = 9 };
    struct rdb_in in = {.at = bytes + MAGIC_BYTES, .end = bytes + len, .valkey = *bytes == 'V'};
    for (;;) {
        uint8_t op = *in.at++;
        if (op == RDB_OP_END)
            return;
        if (rdb_file_skip_op(&in, op))
            continue;
        ASSERT(rdb_skip_string(&in) == RDB_OK);
        struct rdb_file_value v = {.type = op, .valkey = in.valkey, .bytes = in.at};
        ASSERT(rdb_skip_value(&in, op) == RDB_OK);
        v.len = (size_t)(in.at - v.bytes);
        each(arg, &v);
    }
}

#endif
