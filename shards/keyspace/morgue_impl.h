/* morgue_impl.h: objects that nothing holds any more and that take long to free, for this room only.
 *
 * Why         deleting a set of ten million members must not stop the shard: the object is linked here, which takes no
 *             memory, and keyspace_free_some frees it in slices.
 * Invariants  (1) only objects of types with destroy_some, heavier than OBJECT_WEIGHT_NOW; all others are freed at once.
 */
#ifndef KEYSPACE_MORGUE_IMPL_H
#define KEYSPACE_MORGUE_IMPL_H

#include "shards/keyspace.h"

struct morgue {
    struct mem *mem;
    struct object *first;
    uint64_t *pending; /* counts those that wait */
};

/* morgue_bring: an object of that type, which is freed here and now when it is light; returns about how many allocations
 * that took. */
unsigned morgue_bring(struct morgue *g, unsigned type, void *object);
/* morgue_free_some: about *budget allocations, which it takes off; true while objects are left. */
bool morgue_free_some(struct morgue *g, unsigned *budget);

#endif
