/* watch.h: keys that connections watch (WATCH), on the shard where the keys lie.
 *
 * Why         EXEC does nothing when a key that was watched has changed since. A watch is told of every change
 *             (ctx_changed, SWAPDB), and remembers whether its key was there: so one that went by itself, by
 *             expiry, eviction or FLUSHALL, is found out when it is asked.
 * Threads     the holder of the shard.
 * Ownership   the shard's; the connection keeps the address and gives it back with watch_remove.
 * Limits      memory: watch_add may say NULL. As many watches per key and connection as WATCH names it.
 * Invariants  (1) a watch fires when its key was changed by anyone, its own connection included, after
 *             watch_add; not by a command that changed nothing. (2) it fires when a key that was there is
 *             not there any more, but not for one whose time had come before watch_add. (3) a watch on a key in
 *             another database does not fire. (4) with no watches, a change costs one load.
 */
#ifndef ANAX_WATCH_H
#define ANAX_WATCH_H

#include "shards/shard.h"

struct watch;
struct watch_table;

/* watch_table_create: with the instance of a shard; tiny until something is watched. watch_table_destroy: of one
 * that has no watches any more. */
MUST_CHECK struct watch_table *watch_table_create(struct shard *s);
void watch_table_destroy(struct watch_table *t, struct mem *m);

/* watch_add: copies the key. NULL: no memory. O(1). */
MUST_CHECK struct watch *watch_add(struct shard *at, uint32_t db, struct span key,
                                   uint64_t hash) ON_SHARD;
bool watch_fired(struct shard *at, const struct watch *w) ON_SHARD;
void watch_remove(struct shard *at, struct watch *w) ON_SHARD;

/* watch_want: what a transaction must lock (shared) so that watch_fired stays true to what it said. */
struct tx_want watch_want(const struct watch *w);

/* watch_changed: something was changed under this key. watch_swapped: two databases of this shard changed
 * places: a watch in either fires when its key is in one of them (Redis's rule). watch_flushing: all keys of this
 * database go: fires those whose key is there. */
void watch_changed(struct shard *at, uint32_t db, uint64_t hash) ON_SHARD;
void watch_swapped(struct shard *at, uint32_t a, uint32_t b) ON_SHARD;
void watch_flushing(struct shard *at, uint32_t db) ON_SHARD;

/* watch_count: watches on this shard, for INFO. */
uint64_t watch_count(const struct shard *s);

#endif
