/* resize_impl.h: growing and shrinking a table by one bucket, for this room only. */
#ifndef KEYSPACE_RESIZE_IMPL_H
#define KEYSPACE_RESIZE_IMPL_H

#include "table_impl.h"

/* resize_begin: the first segment of an empty table; false without memory. */
bool resize_begin(struct table *t);
/* resize_grow, resize_shrink: one step if the load asks for it. Without memory they do nothing, and
 * the next operation tries again: chains are longer meanwhile. */
void resize_grow(struct table *t) ON_SHARD;
void resize_shrink(struct table *t) ON_SHARD;
/* resize_drop_last: forgets the last bucket, which is empty, of a table that is being drained. */
void resize_drop_last(struct table *t);
/* resize_end: frees all buckets of a table without entries. */
void resize_end(struct table *t);
/* resize_stamp: lowers the stamp of bucket i's group; false, and nothing has changed, when the
 * segment has none and there is no memory. */
MUST_CHECK bool resize_stamp(struct table *t, uint32_t i, uint32_t tick);
bool resize_has_stamps(const struct table *t, uint32_t i);
/* resize_drop_stamps: frees those of bucket i's segment, which has no entry with an expiry. */
void resize_drop_stamps(struct table *t, uint32_t i);
/* resize_drop_all_stamps: of a table where nothing has an expiry, nor will by what is prepared. */
void resize_drop_all_stamps(struct table *t);

#endif
