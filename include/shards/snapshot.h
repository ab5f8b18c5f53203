/* snapshot.h: everything that a shard holds at one moment, told to a sink while writes go on.
 *
 * Why         no fork, no copy: an entry is told by the walk, or by the first write that is about to change it,
 *             whichever comes first (keyspace.h, the cut). What is light is told at once; a heavy value is told in slices, and
 *             meanwhile, until it is told, nobody gets it exclusively: tx.h asks snapshot_ready.
 * Threads     the holder of the shard; snapshot_some in turns of the owner.
 *             tell comes from wherever something changes, also on a shard that is lent: it may post messages, and must not touch the loop.
 * The cut of several shards is one moment when all of them are held: a transaction whose parts want each shard as a whole, TX_SHARED
 *             (writers wait, readers do not), and call snapshot_start in one hop.
 * Ownership   the sink's memory is the caller's.
 * Limits      a slice takes about as long as it is told to.
 * Invariants  (1) each entry that was there at the cut is told once, as it was then. (2) the walk stops while the sink has no
 *             room; writes never do: the sink takes what they bring.
 *             (3) a snapshot that was given up still walks to its end, telling nothing: the next one can start after it.
 */
#ifndef SHARDS_SNAPSHOT_H
#define SHARDS_SNAPSHOT_H

#include "shards/attr.h"
#include "shards/cut.h"

enum { SNAPSHOT_HEAVY_BYTES = 16 * 1024 }; /* of a value: about what a slice tells */

struct snapshot_sink {
    /* All of a light entry. `db` is that of the cut. */
    void (*tell)(struct snapshot_sink *s, unsigned db, const struct entry *e);
    /* A slice of a heavy one, of about SNAPSHOT_HEAVY_BYTES; true when that was the last. It is called for the same
     * entry until then, which has not changed or moved meanwhile. tell comes between. */
    bool (*tell_some)(struct snapshot_sink *s, unsigned db, const struct entry *e);
    /* Is there room for more of the walk? */
    bool (*room)(struct snapshot_sink *s);
    /* Somebody waits from now on for the heavy one that comes next: the walk has to go on, room or not. From wherever
     * something is to be changed, as tell. */
    void (*hurry)(struct snapshot_sink *s);
};

/* What whoever grants locks learns of it. */
struct snapshot_hooks {
    void (*active)(void *arg, bool active); /* snapshot_ready has to be asked, or no longer */
    void (*told)(void *arg);                /* it may say something else about what waits */
    void *arg;
};

/* One per shard. The fields are snapshot.c's. */
struct snapshot {
    struct keyspace *keyspace;
    struct snapshot_hooks hooks;
    struct snapshot_sink *sink; /* NULL: given up */
    uint64_t told, total;
    bool is_active, hurried;
};

/* snapshot_init: all that the others work through. Nothing to be freed. */
void snapshot_init(struct snapshot *s, struct keyspace *k, const struct snapshot_hooks *hooks);
/* snapshot_start: the cut is now. False: the last one has not walked to its end. O(databases). */
MUST_CHECK bool snapshot_start(struct snapshot *s, struct snapshot_sink *sink) ON_SHARD;
/* snapshot_give_up: the sink is told nothing more, from now on. */
void snapshot_give_up(struct snapshot *s) ON_SHARD;
/* snapshot_some: a slice of the walk, about until clock_fine_ns() is until_ns; true when there is more to be told or to
 * be walked. */
bool snapshot_some(struct snapshot *s, uint64_t until_ns) ON_SHARD;
/* snapshot_active: is there an entry that has not been told? snapshot_told, snapshot_total: entries told, and those that there
 * were at the cut. */
bool snapshot_active(const struct snapshot *s);
uint64_t snapshot_told(const struct snapshot *s);
uint64_t snapshot_total(const struct snapshot *s);
/* snapshot_lost: something that was to be told is gone, for want of memory: what the sink has is not whole. */
bool snapshot_lost(const struct snapshot *s);
/* snapshot_hurried: somebody waits for what is being told. */
bool snapshot_hurried(const struct snapshot *s);
/* snapshot_ready: what lies under this hash, in any database, is going to be changed: light entries are told now. False: a
 * heavy one has to be told first, which is hurried on. */
bool snapshot_ready(struct snapshot *s, uint64_t hash) ON_SHARD;

#endif
