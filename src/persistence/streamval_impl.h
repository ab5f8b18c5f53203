/* streamval_impl.h: streams as values: the bytes of a file, checked, and a walk over their entries.
 *
 *     struct val_flat | head: type VALUE_STREAM, form VAL_STREAM, flags: the type of RDB (15, 19 or 21), count: entries
 *                     | len 4 | body: the value as it stands in a file, behind its type and key
 *
 * Why         there are no commands on streams yet, and what was loaded must not be lost: it is kept as it came, saved and
 *             dumped again as that, and can be compared by DEBUG DIGEST.
 * Threads     as val.h says. Limits: bodies of less than 4 GiB.
 * Invariants  (1) a body that streamval_of made is valid: rdb_decode_value of it gives the same stream.
 */
#ifndef STREAMVAL_IMPL_H
#define STREAMVAL_IMPL_H

#include "anax/listpack.h"
#include "anax/val.h"
#include "rdb_read_impl.h"

struct stream_id {
    uint64_t ms, seq;
};

/* streamval_type: of RDB. streamval_body: good as long as the object. */
static inline uint8_t streamval_type(const struct object *o) {
    return (uint8_t)o->flags;
}
static inline struct span streamval_body(const struct object *o) {
    const struct val_flat *f = CONTAINER_OF(o, const struct val_flat, head);
    return (struct span){(const char *)f->bytes, f->len};
}
static inline uint64_t streamval_count(const struct object *o) {
    return o->count;
}

/* streamval_of: a stream of what in->at begins with, of one of the three types, checked: IDs ascend, counts are right, every
 * pending entry has one consumer. in->at is behind it then. s: for nodes that are compressed. */
enum rdb_result streamval_of(struct rdb_in *in, uint8_t type, struct rdb_scratch *s,
                             struct object **out);

/* Entries that were not deleted, in order: streamval_next, then streamval_field for each field, or for none of them.
 *
 *     struct stream_iter i;
 *     for (streamval_begin(&i, object, mem); streamval_next(&i, &id);)
 *         while (streamval_field(&i, &name, &value))     // good until the next streamval_next
 *             ...
 *     if (!streamval_end(&i))
 *         ... there was no memory to unpack all of it
 */
struct stream_iter {
    struct rdb_in in;
    struct rdb_scratch scratch;
    uint64_t nodes; /* to come */
    struct stream_id master;
    const uint8_t *at, *end; /* of a node */
    const uint8_t *names;    /* those of its first entry */
    uint64_t names_n;
    const uint8_t *name, *value; /* of the next field */
    uint64_t fields;             /* of this entry, to come */
    bool same_names;
    enum rdb_result result;
    char digits[2][STRVAL_INT_BYTES];
};
void streamval_begin(struct stream_iter *i, const struct object *o, struct mem *m);
bool streamval_next(struct stream_iter *i, struct stream_id *id);
bool streamval_field(struct stream_iter *i, struct span *name, struct span *value);
MUST_CHECK bool streamval_end(struct stream_iter *i);

#endif
