/* val.h: a list, hash, set or sorted set while somebody works on it.
 *
 * Why         a small value is a flat string of bytes (a listpack, sorted integers) that lies in the entry of its key, or in
 *             a block of its own when it outgrows that; a large one is a structure behind a struct object. A struct val
 *             is the handle of all of these, so that the operations of a type do not know where a value lies, and
 *             whoever keeps values (src/commands/coll.c) does not know what they are.
 *
 *                 entry, inline          | header | key | flat bytes .... room of the size class |
 *                                                         ^ val.bytes, cap; owned = false
 *                 entry, REPR_OBJECT     | header | key | address |  -> | struct object | len 4 | flat bytes ... room |
 *                                                                                               ^ owned = true
 *                                                                    -> | struct object | of its form ...
 * Life        coll_open (or val_init for a new one), operations, coll_store. Between them the entry is out of step
 *             when bytes moved or the form changed, so a val that was opened for writing must be stored or left.
 * Threads     the holder of the shard of `mem`; a val for reading may be of another shard's value that a
 *             transaction holds: reading functions never write, not even to drop what is dead.
 * Limits      2^30 bytes in a flat value.
 * Invariants  (1) an operation that fails (no memory) has changed nothing that a reader could see.
 *             (2) an operation on several elements is done whole or not at all.
 *             (3) len <= cap; owned bytes are those of a struct val_flat, whose len and form are the
 *             val's: val_set_len is called whenever either changed. (4) a form with times is never inline.
 */
#ifndef ANAX_VAL_H
#define ANAX_VAL_H

#include "shards/attr.h"
#include "shards/move.h"
#include "shards/object.h"
#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

/* Types of values; 0 is VALUE_STRING. The numbers are those of RDB. */
enum { VALUE_LIST = 1, VALUE_SET = 2, VALUE_ZSET = 3, VALUE_HASH = 4, VALUE_STREAM = 15 };

enum val_form {
    VAL_NONE,         /* there is no such value */
    VAL_LISTPACK,     /* flat: all types */
    VAL_LISTPACK_TTL, /* flat: hash, set: rows with a time, never inline */
    VAL_INTSET,       /* flat: set */
    VAL_CHUNKS,       /* list */
    VAL_TABLE,        /* hash, set */
    VAL_ROARING,      /* set */
    VAL_TREE,         /* sorted set */
    VAL_STREAM,       /* stream: a struct val_flat of what a file says of it */
    VAL_FORMS
};

struct val {
    struct mem *mem;
    uint8_t type;
    uint8_t form;       /* enum val_form */
    bool owned;         /* flat: bytes are a block of ours, behind a struct object */
    uint32_t len, cap;  /* flat */
    uint8_t *bytes;     /* flat */
    struct object *big; /* other forms */
};

/* A block of a flat value: head.bytes is all of it, so cap is what that leaves. count is 0, but for VAL_LISTPACK_TTL. */
struct val_flat {
    struct object head;
    uint32_t len;
    uint8_t bytes[];
};

static inline bool val_is_flat(const struct val *v) {
    return v->form >= VAL_LISTPACK && v->form <= VAL_INTSET;
}

/* val_init: no value yet. */
static inline void val_init(struct val *v, struct mem *m, uint8_t type) {
    *v = (struct val){.mem = m, .type = type};
}
/* val_object: what an entry is to hold: the object behind owned bytes, or big; NULL: the value is inline or none. */
struct object *val_object(const struct val *v);
/* val_of_object: the handle of what an entry holds. O(1). */
void val_of_object(struct val *v, struct mem *m, struct object *o);
/* val_of_bytes: the handle of an inline value: len bytes at `bytes`, which may grow to cap in place. */
void val_of_bytes(struct val *v, struct mem *m, uint8_t type, uint8_t form, uint8_t *bytes,
                  uint32_t len, uint32_t cap);

/* --- for the operations of types/ --- */
/* val_room: makes room for len bytes, in a block of ours if they do not fit where they are; what is there stays, but may
 * move. A val of VAL_NONE or of a form that is not flat begins an empty block then; the caller sets form, and then
 * val_set_len. False: no memory, and nothing has changed. O(len) when they move, else O(1). */
MUST_CHECK bool val_room(struct val *v, size_t len);
/* val_set_len: after an edit in place, also of the form; gives room back that a block of ours has too much of, so bytes may
 * move. */
void val_set_len(struct val *v, uint32_t len);
/* val_become: takes `big`, of another form, for what it was; frees a block of ours. An old structure is the caller's to
 * have emptied and freed. */
void val_become(struct val *v, uint8_t form, struct object *big);
/* val_destroy: frees whatever it holds that is its own, and makes it VAL_NONE. O(weight). */
void val_destroy(struct val *v);

/* --- for whoever keeps values --- */
/* val_count: elements, those whose time has come included. O(1), but for a list or sorted set in a listpack of more than
 * 65,534 entries, which there is none of. */
uint64_t val_count(const struct val *v);
/* val_bytes: what it counts for in mem when it is not inline. O(1). */
size_t val_bytes(const struct val *v);
/* val_copy: `to` becomes a value of its own like `from`, of the account of `to`. False: no memory. O(N). */
MUST_CHECK bool val_copy(struct val *to, const struct val *from);
/* val_encoding: what OBJECT ENCODING calls it in Redis 8, for a value of this type and size; val_form_name: what we do. */
const char *val_encoding(const struct val *v);
const char *val_form_name(uint8_t form);

/* What each structure supplies, by form; val.c has the table. */
struct val_ops {
    /* destroy_some: frees about *budget allocations and takes them off it; true when all of it, `o` too, is gone. */
    bool (*destroy_some)(struct mem *m, struct object *o, unsigned *budget);
    struct object *(*copy)(struct mem *m, const struct object *from);
    /* expire_some: takes out what is dead, about *budget elements; sets due_ms. NULL: nothing in it has times. Returns how
     * many it took out. */
    unsigned (*expire_some)(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget);
    /* defrag_some: as struct value_ops has it. */
    struct object *(*defrag_some)(struct mover *v, struct object *o, uint64_t *cursor);
};
const struct val_ops *val_ops_of(uint8_t form);
/* These, for blocks of flat values. */
bool val_flat_destroy(struct mem *m, struct object *o, unsigned *budget);
struct object *val_flat_copy(struct mem *m, const struct object *from);
struct object *val_flat_defrag(struct mover *v, struct object *o, uint64_t *cursor);

#endif
