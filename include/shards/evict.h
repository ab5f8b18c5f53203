/* evict.h: which key goes when memory is short. (EVICT: thin first version by the founder, yours from here.) */
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

/* A key that went: its bytes are cut to what fits. */
struct evicted {
    uint64_t hash;
    uint32_t db;
};

void keyspace_set_eviction(struct keyspace *k, const struct evict_options *o) ON_SHARD;
bool keyspace_evict(struct keyspace *k, int64_t now_ms, struct evicted *out) ON_SHARD;

#endif
