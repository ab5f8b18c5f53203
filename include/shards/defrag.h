/* defrag.h: a walk over all keys that moves what lies in nearly empty slabs.
 *
 * Why         shards/move.h says what is gained. An entry is referred to by one place of one bucket, an object by one
 *             entry and what it holds by itself, so all of it can be moved between two commands.
 * What stays  what somebody reads in place: keys that are pinned or locked (keyspace_held), with all that they hold,
 *             and blobs with more than one reference. Writes that are prepared, flushed tables and dead objects are not
 *             walked over, nor are the segments of tables, which have pages of their own.
 * Threads     the holder of the shard, between two commands.
 * Invariants  (1) nothing changes but where things lie. (2) a walk ends, and looks at every entry that was there all the
 *             time at least once, but for entries of a chain that was changed while the walk was inside of one of its
 *             objects.
 *             (3) a call goes beyond its budget by one chain, or what a type's defrag_some does at once.
 */
#ifndef SHARDS_DEFRAG_H
#define SHARDS_DEFRAG_H

#include "shards/keyspace.h"
#include "shards/move.h"

/* Where a walk is, and what it has done; begins with cursor, db, object and inner 0. */
struct defrag {
    struct mover mover;
    uint64_t cursor; /* of the table, as table_scan's */
    unsigned db;
    const void *object; /* the walk stopped inside of it, at `inner`; NULL: between two chains */
    uint64_t inner;
    uint64_t keys_moved, keys_stayed; /* keys of which something moved, and of which nothing did */
};

/* defrag_some: goes on for about `budget` allocations; false: the walk is at its end, and begins again with the next
 * call. */
bool defrag_some(struct keyspace *k, struct defrag *d, unsigned budget) ON_SHARD;

#endif
