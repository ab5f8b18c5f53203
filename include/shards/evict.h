/* evict.h: which key goes when memory is short, and what an entry remembers of its uses for that.
 *
 * Why         a cache keeps what will be asked for again. Redis's policies are here under their names, and S3-FIFO, which
 * is not flooded by keys that are asked for once (bench/cache/RESULTS.md).
 *
 *             What the 23 access bits of an entry hold, by the policy:
 *
 *             lru, random, ttl, none   second of the last use 23
 *             lrm                      second of the last change 23
 *             lfu                      minute of the last use 15 | logarithm of uses 8
 *             s3fifo                   place in its queue 20 | main queue? 1 | uses since, up to three 2
 *
 *             Seconds, as in Redis, though many keys may come and go within one: finer units were tried, and hit less often on
 *             the trace of bench/cache. Of keys of the same second the one goes that brings most of the room that is wanted; what it
 *             would bring beyond that does not count, so a small write does not cost a huge key. So fewer keys go, and it matters
 *             less where in a second a burst begins: which made 3 points of difference there, in redis-server too.
 * Threads     the holder of the shard.
 * Ownership   inside a keyspace. What the policy keeps beside the entries is charged to its struct mem: s3fifo 4
 *             bytes for each key and 2 for each key that it remembers to have evicted, as many as there are keys.
 * Limits      seconds wrap after 97 days, minutes after 22. When the policy is changed, entries keep
 *             what they bear until they are used again, and s3fifo takes them as they lie.
 * Invariants  (1) an eviction takes one key, which the policy allows to go and nobody has locked or pinned.
 *             (2) it looks at a bounded number of keys, unless nearly all of them may not go.
 *             (3) a read changes an entry's first bytes at most.
 *             (4) what a policy keeps goes with it, and with the last key of a table.
 * Source      Redis's maxmemory-policy; Yang et al., FIFO queues are all you need for cache eviction, SOSP 2023.
 */
#ifndef SHARDS_EVICT_H
#define SHARDS_EVICT_H

#include "shards/keyspace.h"

enum evict_policy {
    EVICT_NONE,
    EVICT_ALLKEYS_LRU,
    EVICT_ALLKEYS_LFU,
    EVICT_ALLKEYS_LRM,
    EVICT_ALLKEYS_RANDOM,
    EVICT_ALLKEYS_S3FIFO,
    EVICT_VOLATILE_LRU,
    EVICT_VOLATILE_LFU,
    EVICT_VOLATILE_LRM,
    EVICT_VOLATILE_RANDOM,
    EVICT_VOLATILE_S3FIFO,
    EVICT_VOLATILE_TTL
};

struct evict_options {
    enum evict_policy policy;
    uint32_t samples, lfu_log_factor, lfu_decay_minutes;
};

/* A key that goes. `going` is called, unless it is NULL, while the entry is still there; `key` is good within it only. */
struct evicted {
    void (*going)(void *arg, const struct evicted *what);
    void *arg;
    uint64_t wanted_bytes; /* room, for which it goes */
    struct span key;
    uint64_t hash;
    uint32_t db;
    bool expired; /* its time had come anyway */
};

/* keyspace_set_eviction: from now on. O(1), and for s3fifo's queues O(keys / 500) to drop them. Those of keys that are
 * there already are made as keys come and go. */
void keyspace_set_eviction(struct keyspace *k, const struct evict_options *o) ON_SHARD;
enum evict_policy keyspace_eviction(const struct keyspace *k);
/* keyspace_evict: deletes one key by the policy; false: there is none that may go. The caller sets out->going, out->arg
 * and out->wanted_bytes (0: not known), the rest is told. What the key held may be left to keyspace_free_some. */
bool keyspace_evict(struct keyspace *k, int64_t now_ms, struct evicted *out) ON_SHARD;

/* --- access bits --- */

enum { ACCESS_BITS = 23, ACCESS_MASK = (1 << ACCESS_BITS) - 1 };
/* ACCESS_AUTO: as struct value's access: what the policy gives to a key that is stored now. */
#define ACCESS_AUTO UINT32_MAX

enum access_kind { ACCESS_USED, ACCESS_CHANGED, ACCESS_COUNTED, ACCESS_PLACED };

struct access {
    enum access_kind kind;
    uint32_t now;   /* what a key that is used now bears; COUNTED: without its count */
    int64_t due_ms; /* when it has to be renewed */
    int64_t second;
    uint32_t log_factor, decay_minutes;
    struct rng rng;
};

struct access *keyspace_access(struct keyspace *k);
void access_renew(struct access *a, int64_t now_ms);
void access_count(struct access *a, struct entry *e);
/* access_at: what it remembers is right for now_ms, Unix time. A clock that was set back a little is waited for; else what
 * was used in between looks long unused, until it is used again. */
enum { ACCESS_SET_BACK_MS_MAX = 3600 * 1000 };
static inline void access_at(struct access *a, int64_t now_ms) {
    if (unlikely((uint64_t)(a->due_ms - 1 - now_ms) > ACCESS_SET_BACK_MS_MAX))
        access_renew(a, now_ms);
}
/* access_use: e is read, or looked up to be changed. Stores only what is new, so that mostly the line stays clean. */
static inline void access_use(struct access *a, struct entry *e, int64_t now_ms) {
    access_at(a, now_ms);
    if (unlikely(a->kind != ACCESS_USED))
        access_count(a, e);
    else if (entry_access(e) != a->now)
        entry_set_access(e, a->now);
}
/* access_change: e is changed. Matters to ACCESS_CHANGED only. */
static inline void access_change(struct access *a, struct entry *e, int64_t now_ms) {
    access_at(a, now_ms);
    if (a->kind == ACCESS_CHANGED)
        entry_set_access(e, a->now);
}
/* access_told: for a key that was idle for so long elsewhere, or used so often, as far as the policy keeps that; less than 0: it was not
 * told. */
uint32_t access_told(struct access *a, int64_t now_ms, int64_t idle_s, int64_t frequency);
/* access_idle_s: seconds since the last use (CHANGED: change) of an entry that bears `access`. access_frequency: COUNTED: the
 * logarithm of uses, decayed. */
uint64_t access_idle_s(const struct access *a, uint32_t access);
uint32_t access_frequency(const struct access *a, uint32_t access);

#endif
