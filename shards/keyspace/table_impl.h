/* table_impl.h: the linear hash table, for this room only.
 *
 * With base = 2^L <= bucket_count <= 2^(L+1), a hash names bucket h mod 2^(L+1) if there is
 * such a bucket, else h mod 2^L. Growing splits bucket (count - base) in two, shrinking joins the
 * last bucket with the one it was split from. Buckets lie in segments that never move, but for the
 * last one of a small table, which is as large as it has to be: eight shards with a thousand keys each
 * would waste a tenth of their memory on buckets that are not in use yet.
 *
 * A group is TABLE_GROUP neighbouring buckets of a segment; due[segment].groups[group] is a lower bound of
 * the earliest expiry in it, of keys and of what is inside objects, in EXPIRE_TICK_MS units since TICK_BASE_MS. A
 * segment without expiries has no stamps. due[segment].least is the least of them, so that a sweep, and who looks for what
 * expires first, need not read all; due_first is a lower bound of all stamps: a table where nothing is due is not
 * swept. A sweep that has seen every stamp renews it.
 *
 * A prepared write with an expiry lowers the stamp of its group at once, and while anything is prepared no stamp
 * goes back to TICK_NEVER. Splitting and joining hand stamps on, or do not happen: so wherever the
 * write's bucket is when it is committed, there are stamps. A table that is emptied meanwhile begins with stamps
 * for all of its buckets.
 */
#ifndef KEYSPACE_TABLE_IMPL_H
#define KEYSPACE_TABLE_IMPL_H

#include "entry_impl.h"
#include "morgue_impl.h"
#include "shards/assert.h"
#include "shards/chain.h"

enum {
    TABLE_SEGMENT = 64, /* buckets: 4 KiB, by which memory grows at a time */
    TABLE_FIRST = 4,    /* buckets of a new table, or segment */
    TABLE_STEPS = 16,   /* segments that grow in steps; behind them a whole one is at most 6% */
    TABLE_GROUP = 2,    /* buckets; with 16, keys that go one by one cost twice as much */
    TABLE_GROUPS = TABLE_SEGMENT / TABLE_GROUP,
    /* Grown above 85% of the places, shrunk below 50%: keys per 20 buckets. bench/micro/table_bench
     * has bytes per key and time at other loads. */
    TABLE_GROW_PER_20 = 153,
    TABLE_SHRINK_PER_20 = 90
};
#define TICK_BASE_MS 1577836800000LL /* 2020-01-01 */
#define TICK_NEVER   UINT32_MAX

/* Of a segment. */
struct stamps {
    uint32_t *groups; /* NULL: without expiries */
    uint32_t least;
};

struct table {
    struct mem *mem;
    struct morgue *morgue; /* the keyspace's: where objects go */
    struct evict *evict;   /* the keyspace's: what new entries bear */
    struct fifo *fifo;     /* the queues of s3fifo; NULL: none */
    struct bucket **segments;
    struct stamps *due; /* per segment */
    uint32_t segment_cap;
    uint32_t last_cap; /* buckets allocated for the last segment; all others are whole */
    uint32_t bucket_count;
    uint32_t base;
    uint32_t merged_due;  /* the earliest stamp that a merge has moved since a sweep took note */
    uint32_t due_first;   /* no stamp is earlier */
    uint32_t sweep_group; /* where the sweep goes on; 0: it has not begun */
    uint32_t
        sweep_due; /* due_first of what it has passed, and of what was stamped since it began */
    bool inner;    /* something inside an object has a time, or had */
    struct overflows overflows;
    uint64_t count;
    uint64_t
        prepared; /* writes that are not committed yet: the table keeps its first buckets for them */
    uint64_t expires;
    __int128 expire_ms_sum;              /* of all expiries */
    uint64_t lengths[TABLE_LENGTHS + 1]; /* the last one: of what is no string, for nobody */
    uint64_t growth_ns; /* the longest that making room took, until somebody asks */
    int64_t gone_ms;    /* the expiry of what the last put, commit or delete replaced or deleted */
    struct cut *cut;    /* whose walk has not come to this table's end; NULL: none */
    uint64_t cut_cursor;
    unsigned cut_db;   /* where the table was at the cut */
    uint8_t told_mark; /* of places whose entries have been told, or came after the cut */
};

static inline uint32_t table_index(const struct table *t, uint64_t hash) {
    uint32_t i = (uint32_t)hash & (t->base * 2 - 1);
    return i < t->bucket_count ? i : i - t->base;
}

static inline struct bucket *table_bucket(const struct table *t, uint32_t i) {
    return &t->segments[i / TABLE_SEGMENT][i % TABLE_SEGMENT];
}

static inline uint32_t table_segments(const struct table *t) {
    return (t->bucket_count + TABLE_SEGMENT - 1) / TABLE_SEGMENT;
}

/* table_item: an entry with the mark of one that is none of the cut's any more, as bucket_set takes it. */
static inline void *table_item(const struct table *t, struct entry *e) {
    return (char *)e + t->told_mark;
}

static inline bool table_told(const struct table *t, const struct bucket *b, unsigned i) {
    return bucket_mark(b, i) == t->told_mark;
}

/* table_before: what lies at a place is going to be changed or taken out. */
void cut_tell(struct table *t, struct bucket *b, unsigned i) ON_SHARD;
static inline ON_SHARD void table_before(struct table *t, struct bucket *b, unsigned i) {
    if (unlikely(t->cut != NULL) && !table_told(t, b, i))
        cut_tell(t, b, i);
}

/* table_holds: what lies at a place has to stay as it is until it was told. */
bool cut_holds(const struct table *t, const struct bucket *b, unsigned i);
static inline bool table_holds(const struct table *t, const struct bucket *b, unsigned i) {
    return unlikely(t->cut != NULL) && !table_told(t, b, i) && cut_holds(t, b, i);
}

/* tick_of: rounds down, so a stamp is never late. */
static inline uint32_t tick_of(int64_t ms) {
    int64_t tick = (ms - TICK_BASE_MS) / EXPIRE_TICK_MS;
    if (tick < 0)
        return 0;
    return tick >= (int64_t)TICK_NEVER ? TICK_NEVER - 1 : (uint32_t)tick;
}

/* table_stamp: of a group, counted from the first one of the table. */
static inline uint32_t table_stamp(const struct table *t, uint32_t group) {
    const uint32_t *due = t->due[group / TABLE_GROUPS].groups;
    return due == NULL ? TICK_NEVER : due[group % TABLE_GROUPS];
}

/* table_set_stamp: of one with stamps that has been looked through. While anything is prepared `tick` is not TICK_NEVER. */
void table_set_stamp(struct table *t, uint32_t group, uint32_t tick);

/* table_fetch_group: its buckets, or what is in them. */
static inline void table_fetch_group(const struct table *t, uint32_t group, bool entries) {
    uint32_t first = group * TABLE_GROUP;
    for (uint32_t i = first; i < first + TABLE_GROUP && i < t->bucket_count; i++) {
        if (entries)
            chain_prefetch(table_bucket(t, i));
        else
            prefetch(table_bucket(t, i));
    }
}

MUST_CHECK struct table *table_create(struct morgue *g, struct evict *v);
/* table_release: frees the table itself; it must be empty. */
void table_release(struct table *t);
/* table_end_if_empty: a table without entries has no buckets, unless some are wanted soon. */
bool table_end_if_empty(struct table *t);
/* table_remove_at: deletes the entry at a place of bucket `index`. */
void table_remove_at(struct table *t, uint32_t index, struct place at) ON_SHARD;
/* table_count_expiry: of an entry that comes, goes or gets another one. */
static inline void table_count_expiry(struct table *t, int64_t before_ms, int64_t after_ms) {
    t->expires += (uint64_t)(after_ms != EXPIRE_NEVER) - (uint64_t)(before_ms != EXPIRE_NEVER);
    t->expire_ms_sum += after_ms - before_ms;
}
/* table_drop_object: of an entry that goes; as morgue_bring. */
unsigned table_drop_object(struct table *t, const struct entry *e) ON_SHARD;

/* --- reap.c --- */

/* Who goes, and what that may cost. */
struct reaper {
    int64_t now_ms;    /* those that are dead by then, but for pinned ones */
    pinned_fn *pinned; /* NULL: none is */
    void *arg;
    bool all; /* everyone goes */
    bool cut; /* the budget ended within an object of the group */
    unsigned
        budget; /* entries to look at and allocations to free; may end a little below 0, which is 0 */
    uint64_t deleted, expired,
        expired_inner; /* entries; those whose own time had come; what was inside others */
};
static inline void reaper_spend(struct reaper *r, unsigned n) {
    r->budget -= n < r->budget ? n : r->budget;
}
/* table_prefetch_groups: fetches what table_expire_group will look at in these groups. */
void table_prefetch_groups(const struct table *t, uint32_t segment, const uint32_t *groups,
                           unsigned n) ON_SHARD;
/* table_expire_group: deletes what has to go in group g of a segment, inside objects too, and renews its stamp. With
 * r->cut it is to be called for the same group again; else more than the budget is spent rather than to stop. */
void table_expire_group(struct table *t, uint32_t segment, uint32_t group,
                        struct reaper *r) ON_SHARD;
/* table_settle: after table_expire_group deleted that many: shrinks as they would have. */
void table_settle(struct table *t, uint64_t deleted) ON_SHARD;
/* Emptying a table that stays, since writes to it are prepared. table_move_out: O(1), by giving all that it
 * holds to a new one; NULL: no memory, and nothing has changed. table_clear: deletes it all, here and now. */
struct table *table_move_out(struct table *t) ON_SHARD;
void table_clear(struct table *t) ON_SHARD;
/* table_drain: frees entries from the end until about *budget is spent, which it takes off; true while some are left. */
bool table_drain(struct table *t, unsigned *budget) ON_SHARD;

#endif
