/* keyspace.h: one shard's keys: databases, their tables, entries, expiry, scan.
 *
 * Why         A table is a linear hash table of cache-line buckets. It grows and shrinks by one
 * bucket at a time, so there is never a second table and never a pause, and its load stays at what
 * was chosen at every size, not only near powers of two.
 *
 *             bucket (64 bytes)   0              54          63
 *                                 | 9 x 6-byte   | 9 x 1-byte | ctl |
 *                                 | entry address| fingerprint|     |
 *             ctl: bit 7 says that place 8 links to an overflow bucket; the rest is reserved.
 *
 *             entry (one allocation)
 *                | header 6 | expiry 6? | key length 4? | key | value |
 *             header, 48 bits little endian: type 4, repr 2, has expiry 1, key length 8 (255: the
 *             4-byte length follows), inline value length 10, access 23 (for eviction policies).
 *             value: 8 bytes of integer, or the inline bytes, or the address of an object.
 *
 *             The hash has three independent parts: bits 0-31 choose the bucket, 32-39 are the
 *             fingerprint, 40-63 name the shard.
 * Threads     the holder of the shard. No locks, no I/O.
 * Ownership   the table owns entries and, through value_ops, the objects they hold. A pointer to an
 *             entry is good until the next call that may write to the same database. An object that goes with its
 *             entry, or is replaced in it, is freed at once when it is light; a heavy one is only linked to a list (object.h),
 *             which takes no memory, and is freed in slices.
 * Limits      keys up to 512 MiB; inline values up to ENTRY_INLINE_MAX bytes; 2^31 buckets.
 * Invariants  (1) an operation splits or merges at most two buckets.
 *             (2) a key is in the chain of the bucket that its hash names, once.
 *             (3) a scan that starts at 0 and goes on until TABLE_SCAN_END returns every key that
 *             was there all the time at least once, whatever else happens meanwhile.
 *             (4) at most one allocation per entry beside what its object holds.
 *             (5) a key whose time has come is never returned by keyspace_find.
 *             (6) a group's next-expiry stamp is never later than the earliest expiry in it, of keys or inside
 *             objects (object.h, due_ms), and a table's never later than those of its groups.
 *             (7) what is prepared can be committed, whatever happens to the table meanwhile.
 *             (8) a key that is pinned does not go because its time has come, nor does anything inside it.
 *             (9) no call but keyspace_free_some and keyspace_destroy takes time for an object that is heavier than
 *             OBJECT_WEIGHT_NOW, to free it, and the first takes no longer than its slice.
 *             (10) what is dead inside objects goes with the first whole sweep after its tick, and an entry
 *             goes with the last that was inside it.
 */
#ifndef SHARDS_KEYSPACE_H
#define SHARDS_KEYSPACE_H

#include "shards/attr.h"
#include "shards/blob.h"
#include "shards/err.h"
#include "shards/hash.h"
#include "shards/mem.h"
#include "shards/object.h"
#include "shards/rng.h"
#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

enum { ENTRY_INLINE_MAX = 1023, VALUE_TYPES_MAX = 16, VALUE_STRING = 0, OBJECT_WEIGHT_NOW = 64 };

struct entry; /* bytes as drawn above */
struct table; /* one database of one shard */
struct keyspace;
struct mover;

/* How an entry holds its value. INLINE and RAW differ only in what OBJECT ENCODING tells. */
enum repr { REPR_INT, REPR_INLINE, REPR_RAW, REPR_OBJECT };

/* What to store. Bytes are copied, and must not lie in the entry that they replace; an object changes
 * owner when the call succeeds. */
struct value {
    uint8_t type;
    uint8_t repr;
    uint32_t
        access; /* 23 bits: the entry's, whether it is new or overwritten; or ACCESS_AUTO (evict.h) */
    int64_t integer;
    struct span bytes;
    void *object;
};

/* What types/ supplies for the objects of one type. Strings (type 0) hold a struct blob. */
struct value_ops {
    void (*destroy)(struct mem *m, void *object);
    /* bytes that it counts for in mem. */
    size_t (*bytes)(const void *object);
    /* Of types whose objects begin with a struct object; NULL: they do not, and destroying one is quick.
     * destroy_some frees about *budget allocations and takes them off it; true when the object is gone. What is heavier
     * than OBJECT_WEIGHT_NOW is not destroyed when it is dropped, but by keyspace_free_some. */
    bool (*destroy_some)(struct mem *m, struct object *o, unsigned *budget);
    /* expire_some takes out what is dead inside, about *budget elements, which it takes off and which is not 0, and sets o->due_ms, with
     * budget left to what is not due; returns how many. NULL: nothing inside has a time. o->count is what is left then,
     * of a flat one too; the entry goes with 0. */
    unsigned (*expire_some)(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget);
    /* defrag_some moves what the object holds and the object itself (shards/move.h) until the budget is spent, and gets on
     * by something at least; returns where the object is now. *cursor is 0 at the beginning and after the end, else it tells where
     * to go on; it is a hint, and may come from before the object was changed, or from another one. */
    void *(*defrag_some)(struct mover *v, void *object, uint64_t *cursor);
};
void keyspace_register_type(unsigned type, const struct value_ops *ops);

/* keyspace_shard_of: which of n shards a hash names. */
static inline unsigned keyspace_shard_of(uint64_t hash, unsigned n) {
    return (unsigned)(((hash >> 40) * n) >> 24);
}

/* --- entries --- */
struct span entry_key(const struct entry *e);
unsigned entry_type(const struct entry *e);
enum repr entry_repr(const struct entry *e);
int64_t entry_int(const struct entry *e);
struct span entry_bytes(const struct entry *e); /* REPR_INLINE, REPR_RAW */
char *entry_bytes_mut(struct entry *e);
void *entry_object(const struct entry *e);
/* entry_value: what it holds, as table_put takes it; bytes point into the entry. */
struct value entry_value(const struct entry *e);
void entry_set_int(struct entry *e, int64_t v);
/* entry_room: how many inline bytes the allocation of e can hold, ENTRY_INLINE_MAX at most. entry_set_len: it holds len of
 * them from now on; len must be of the same size class: entry_keeps_class. */
size_t entry_room(const struct entry *e);
bool entry_keeps_class(const struct entry *e, size_t len);
void entry_set_len(struct entry *e, size_t len);
/* entry_set_object: the caller has settled what the old one held. */
void entry_set_object(struct entry *e, void *object);
int64_t entry_expire_ms(const struct entry *e); /* Unix time; 0: never */
uint32_t entry_access(const struct entry *e);   /* 23 bits */
void entry_set_access(struct entry *e, uint32_t access);
/* entry_bytes_total: what it counts for in mem, its object included. */
size_t entry_bytes_total(const struct entry *e);

/* --- a table --- */
enum { EXPIRE_NEVER = 0, EXPIRE_KEEP = -1 };
/* The last time that an entry can hold, in the year 10889; what is later is stored as this. */
#define EXPIRE_MS_MAX ((1LL << 48) - 1)

uint64_t table_count(const struct table *t);
uint64_t table_expires(const struct table *t); /* entries that have an expiry */
/* table_bytes: what the table itself counts for in mem, beside its entries. O(1 + keys / 490). */
size_t table_bytes(const struct table *t);
/* table_growth: the most that the next key makes the table itself take more. O(1). */
size_t table_growth(const struct table *t);
/* Two stages of fetching what a lookup will touch: the bucket, then the entry behind it. Each for a
 * whole batch of keys before the next: it halves the time of a lookup (bench/micro/RESULTS.md). */
void table_prefetch(const struct table *t, uint64_t hash) ON_SHARD;
void table_prefetch_entry(const struct table *t, uint64_t hash) ON_SHARD;
/* table_lengths: how many strings are how long: [0] the empty ones, [i] those of 2^(i-1) bytes up to twice
 * that. table_ttl_sum_ms: what the entries that have an expiry have left to live, all together. O(1). */
enum { TABLE_LENGTHS = 40 };
const uint64_t *table_lengths(const struct table *t) ON_SHARD;
int64_t table_ttl_sum_ms(const struct table *t, int64_t now_ms) ON_SHARD;
/* table_find: whatever its expiry. O(1). */
struct entry *table_find(const struct table *t, struct span key, uint64_t hash) ON_SHARD;
/* table_put: inserts or replaces. expire_ms: Unix time after 0, EXPIRE_NEVER or EXPIRE_KEEP (the old
 * one's). NULL: no memory, and nothing has changed. O(1). */
struct entry *table_put(struct table *t, struct span key, uint64_t hash, const struct value *v,
                        int64_t expire_ms) ON_SHARD;
/* table_set_int: as entry_set_int, for an entry of this table. table_length_changed: an entry's object was
 * changed in place and had `before` bytes. Both keep table_lengths right. */
void table_set_int(struct table *t, struct entry *e, int64_t v) ON_SHARD;
void table_length_changed(struct table *t, const struct entry *e, size_t before) ON_SHARD;
/* table_set_expire: e was found under `hash`; returns where it is now, NULL without memory. */
struct entry *table_set_expire(struct table *t, struct entry *e, uint64_t hash,
                               int64_t expire_ms) ON_SHARD;
/* table_note_due: something inside the object of e, which lies under `hash`, expires at due_ms since it was changed in
 * place: the sweep comes by. It may be told again, or of nothing any more; OBJECT_NEVER is allowed. False: no memory, and it
 * is not noted. What table_put, table_prepare and table_set_expire store is noted by themselves. */
MUST_CHECK bool table_note_due(struct table *t, struct entry *e, uint64_t hash,
                               int64_t due_ms) ON_SHARD;
bool table_delete(struct table *t, struct span key, uint64_t hash) ON_SHARD;
/* table_take: like table_delete, but what the entry held goes to *out (bytes copied when inline,
 * into `scratch` of ENTRY_INLINE_MAX bytes), with its expiry. For RENAME and MOVE. */
bool table_take(struct table *t, struct span key, uint64_t hash, char *scratch, struct value *out,
                int64_t *expire_ms) ON_SHARD;
/* A write in two steps, for what must be stored on several tables as a whole or not at all. table_prepare makes
 * everything that table_put would allocate, and nobody sees it; NULL: no memory, and nothing has changed. An object
 * has changed its owner then. table_commit stores it and cannot fail, and table_abandon drops it: one of them, once.
 * Meanwhile anything may happen to the table, and more be prepared, for the same key too: the last commit
 * stands. EXPIRE_KEEP means the expiry of what is there, and alive, at the commit. An object must not be the
 * one that the key holds already, unless it has a reference for each. O(1). */
struct prepared;
MUST_CHECK struct prepared *table_prepare(struct table *t, struct span key, uint64_t hash,
                                          const struct value *v, int64_t expire_ms) ON_SHARD;
struct entry *table_commit(struct prepared *p, int64_t now_ms) ON_SHARD;
void table_abandon(struct prepared *p) ON_SHARD;
/* table_scan: visits at least one chain of buckets, at most a few; returns where to go on,
 * TABLE_SCAN_END at the end. Starts at 0. The callback must not write. */
#define TABLE_SCAN_END (1ULL << 32)
uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*visit)(void *arg, struct entry *e), void *arg) ON_SHARD;
/* table_random: any entry, near uniform; NULL when there is none. */
struct entry *table_random(const struct table *t, struct rng *r) ON_SHARD;

/* --- a shard's databases --- */
struct keyspace_stats {
    uint64_t hits, misses;  /* counted by the commands that read */
    uint64_t expired;       /* keys, lazily and actively */
    uint64_t expired_inner; /* what the sweep took out of objects */
    uint64_t evicted;       /* counted by whoever evicts */
    uint64_t expiry_cuts;   /* turns that ended before all that was due had gone */
    uint64_t pending_free;  /* entries of flushed tables, and objects, that are not freed yet */
    uint64_t freed_late;    /* those that keyspace_free_some has freed */
};

MUST_CHECK enum err keyspace_create(struct keyspace **out, struct mem *m, unsigned databases);
void keyspace_destroy(struct keyspace *k);
unsigned keyspace_databases(const struct keyspace *k);
/* keyspace_table: the database's table, created on first use; NULL: no memory. */
struct table *keyspace_table(struct keyspace *k, unsigned db) ON_SHARD;
/* keyspace_peek_table: NULL when the database was never written. */
struct table *keyspace_peek_table(const struct keyspace *k, unsigned db) ON_SHARD;
struct keyspace_stats *keyspace_stats(struct keyspace *k);
/* keyspace_growth_ns: the longest that a table took to make room since the last call. */
uint64_t keyspace_growth_ns(struct keyspace *k) ON_SHARD;
struct mem *keyspace_mem(struct keyspace *k);

/* keyspace_find: a live entry or NULL; a dead one is deleted on the way, unless it is pinned. */
struct entry *keyspace_find(struct keyspace *k, unsigned db, struct span key, uint64_t hash,
                            int64_t now_ms) ON_SHARD;
/* keyspace_count_gone: after table_put, table_commit or table_delete: what that replaced or deleted is counted as expired if it
 * was dead, so that each key that dies is counted once, also one that nobody has looked at meanwhile. */
void keyspace_count_gone(struct keyspace *k, const struct table *t, int64_t now_ms) ON_SHARD;
enum { EXPIRE_TICK_MS = 256 };
/* keyspace_guard: keys with a hash for which `pinned` is true, in any database, are not deleted when their time
 * comes, and nothing inside them is touched by the sweep: somebody reads in place what they hold. They go with the first
 * look or sweep when it is false again. It is asked about dead keys only, and by the sweep about those that may hold
 * something dead. */
typedef bool pinned_fn(void *arg, uint64_t hash);
void keyspace_guard(struct keyspace *k, pinned_fn *pinned, void *arg);
/* keyspace_guard_locked: keys with a hash for which `locked` is true are not evicted, nor are pinned ones. It is asked about
 * keys that are about to be. */
void keyspace_guard_locked(struct keyspace *k, pinned_fn *locked, void *arg);
/* keyspace_held: is a key with that hash pinned or locked? */
bool keyspace_held(const struct keyspace *k, uint64_t hash) ON_SHARD;
/* keyspace_flush: empties a database at once, whose table goes unless writes to it are prepared; the memory is
 * freed by keyspace_free_some. Returns how many keys there were. */
uint64_t keyspace_flush(struct keyspace *k, unsigned db) ON_SHARD;
/* keyspace_swap: two databases change places, with what is prepared for them. Active expiry that is half done
 * may pass over their keys once: it finds them a tick later. O(1). */
void keyspace_swap(struct keyspace *k, unsigned a, unsigned b) ON_SHARD;
/* keyspace_expire_some, keyspace_free_some: a slice of the work that is due, about `entries`
 * entries, elements taken out of objects and allocations freed (one group of buckets or one chain more); true when more
 * is left. Keys, and what is inside objects, are due for it up to EXPIRE_TICK_MS after their time; keys are for
 * keyspace_find at once. A table where nothing is due costs O(1). */
bool keyspace_expire_some(struct keyspace *k, int64_t now_ms, unsigned entries) ON_SHARD;
bool keyspace_free_some(struct keyspace *k, unsigned entries) ON_SHARD;
/* keyspace_can_free: is there anything that keyspace_free_some would free now? Not all that is pending: a flushed table that a cut has
 * still to walk through stays. O(flushed tables). */
bool keyspace_can_free(struct keyspace *k) ON_SHARD;
/* keyspace_bury: frees an object that no entry holds any more, of a type with destroy_some: at once when it is light, else by
 * keyspace_free_some. O(1). */
void keyspace_bury(struct keyspace *k, struct object *o) ON_SHARD;

#endif
