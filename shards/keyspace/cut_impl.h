/* cut_impl.h: the state of a cut, for this room only. A table says by cut, cut_db and cut_cursor how far the walk has come in
 * it; they go with it when it is swapped or flushed. */
#ifndef KEYSPACE_CUT_IMPL_H
#define KEYSPACE_CUT_IMPL_H

#include "shards/cut.h"
#include "table_impl.h"

struct cut {
    cut_tell_fn *tell;
    void *arg;
    unsigned open; /* tables that have not been walked to their end */
    bool muted, lost;
    struct table *heavy_table; /* what is told in slices, or comes next; NULL: nothing */
    uint64_t heavy_hash;
};

uint64_t cut_begin(struct cut *c, struct table **tables, unsigned databases, cut_tell_fn *tell,
                   void *arg) ON_SHARD;
/* cut_walk: a few buckets of this table; true: to its end, and the cut is done with it. */
bool cut_walk(struct table *t, uint64_t until_ns) ON_SHARD;
/* cut_leave: the cut is done with this table, whatever it holds. */
void cut_leave(struct table *t) ON_SHARD;
bool cut_touch(struct table *t, uint64_t hash) ON_SHARD;
const struct entry *cut_heavy(struct cut *c, unsigned *db) ON_SHARD;
void cut_heavy_told(struct cut *c) ON_SHARD;
/* cut_keeps: is something heavy under this hash untold? */
bool cut_keeps(struct table *const *tables, unsigned databases, uint64_t hash) ON_SHARD;

#endif
