/* cut.h: what a keyspace held at one moment, handed out while it changes.
 *
 * Why         A snapshot needs each entry as it was at the cut. So from then on whoever is about to change an entry, or to
 *             take it out, first tells it, and a walk tells what nobody has changed. Each place of a bucket
 *             has a mark that says whether its entry was told (bucket.h); it moves with the entry when buckets are split and joined,
 *             and the cut turns the meaning of all marks around at once. Nothing is copied and nothing grows.
 *
 *             A heavy value takes longer than a write may wait. It is told in slices by the walk, in place; until it is told it
 *             stays as it is: its key is not granted for writing (tx.h, the gate), does not expire, is not evicted and not moved.
 * Threads     the holder of the shard.
 * Ownership   a flushed table is kept until it was walked.
 * Limits      none; a cut takes O(databases).
 * Invariants  (1) each entry of the cut is told once, as it was then. (2) what came later is never told. (3) what is heavy and untold
 *             does not change.
 */
#ifndef SHARDS_CUT_H
#define SHARDS_CUT_H

#include "shards/keyspace.h"

/* What is heavy: longer than this, or of more elements. */
enum { CUT_HEAVY_BYTES = 32 * 1024, CUT_HEAVY_ELEMENTS = 1024 };

/* Tells a light entry, all of it, now. `db` is where it was at the cut. */
typedef void cut_tell_fn(void *arg, unsigned db, const struct entry *e);

/* keyspace_cut: now. The last one must have been walked to its end. Returns how many entries there are. */
uint64_t keyspace_cut(struct keyspace *k, cut_tell_fn *tell, void *arg) ON_SHARD;
/* keyspace_cut_mute: what is untold is only marked from now on, and nothing is heavy any more. */
void keyspace_cut_mute(struct keyspace *k) ON_SHARD;
/* keyspace_cut_open: is there anything that has not been walked? keyspace_cut_lost: something went untold for want of memory. */
bool keyspace_cut_open(const struct keyspace *k);
bool keyspace_cut_lost(const struct keyspace *k);
/* keyspace_cut_touch: tells what is light under this hash, in any database, and is going to be changed: who locks keys does not
 * tell databases apart. False: something heavy has to be told first, and comes next. O(databases) and what telling costs. */
bool keyspace_cut_touch(struct keyspace *k, uint64_t hash) ON_SHARD;
/* keyspace_cut_walk: tells entries of a few buckets, of one when clock_fine_ns() is until_ns already; true when more is left. It
 * stops at what is heavy. */
bool keyspace_cut_walk(struct keyspace *k, uint64_t until_ns) ON_SHARD;
/* keyspace_cut_heavy: the heavy entry that is to be told next, and where it was at the cut; NULL: none. The same one until
 * keyspace_cut_told says that it was told. */
const struct entry *keyspace_cut_heavy(struct keyspace *k, unsigned *db) ON_SHARD;
void keyspace_cut_told(struct keyspace *k) ON_SHARD;

#endif
