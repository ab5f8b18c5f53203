/* object.h: what begins every large value that is kept outside its entry, but strings.
 *
 *     | next 8 | type 1 | form 1 | flags 2 | weight 4 | count 8 | bytes 8 | due_ms 8 | ...of its form
 *
 * Why         the keyspace drops, counts and expires such values without knowing what they are: what it must know lies
 *             here, so that none of it takes a walk.
 * Threads     the holder of the shard that it is charged to; others may read it while a transaction holds its key.
 * Ownership   an entry's; `next` is the keyspace's alone, once the object is dead.
 * Invariants  (1) bytes is what it and all that it holds counts for in mem, at all times. (2) due_ms is never later than
 *             the earliest time at which something inside expires; OBJECT_NEVER when nothing does.
 *             (3) weight is about how many allocations freeing it takes, so what freeing costs.
 */
#ifndef SHARDS_OBJECT_H
#define SHARDS_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#define OBJECT_NEVER INT64_MAX

struct object {
    struct object *next;
    uint8_t type; /* the entry's */
    uint8_t form; /* its type's business */
    uint16_t flags;
    uint32_t weight;
    uint64_t count; /* elements, those whose time has come included; a flat one says 0 */
    size_t bytes;
    int64_t due_ms;
};

#endif
