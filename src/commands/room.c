/* room.c: see anax/room.h. */
#include "anax/room.h"
#include "anax/instance.h"
#include "shards/clock.h"
#include "shards/evict.h"

enum { FREE_AT_ONCE = 64, SLICE_KEYS = 16, SLICE_NS = 150000 };

/* --- asking all shards for what they do not use --- */

/* Messages to all other shards, once in a while. */
struct pressing {
    unsigned out; /* not back */
    struct bus_msg msg[];
};

static void settle_run(struct shard *at, struct bus_msg *m) {
    (void)m;
    shard_claim();
    instance_of(at)->trim(at);
    room_settle(at);
}

static void settle_done(struct shard *home, struct bus_msg *m) {
    (void)m;
    instance_of(home)->pressing->out--;
}

static ON_SHARD void press(struct shard *s) {
    struct instance *in = instance_of(s);
    unsigned n = shards_count(s->all);
    if (!budget_press(s->share.budget))
        return;
    in->trim(s);
    if (in->pressing == NULL || in->pressing->out != 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        if (i == s->id)
            continue;
        struct bus_msg *m = &in->pressing->msg[i];
        *m = (struct bus_msg){.run = settle_run, .done = settle_done, .to = (uint16_t)i};
        in->pressing->out++;
        shard_post(s, m);
    }
}

static size_t pressing_bytes(const struct shard *s) {
    return sizeof(struct pressing) + shards_count(s->all) * sizeof(struct bus_msg);
}

void room_end(struct shard *s) {
    mem_free(&s->mem, instance_of(s)->pressing, pressing_bytes(s));
}

void room_configure(struct shard *s) {
    struct instance *in = instance_of(s);
    const struct config *g = in->config;
    static const enum evict_policy policies[] = {[CONFIG_VOLATILE_LRU] = EVICT_VOLATILE_LRU,
                                                 [CONFIG_VOLATILE_LFU] = EVICT_VOLATILE_LFU,
                                                 [CONFIG_VOLATILE_RANDOM] = EVICT_VOLATILE_RANDOM,
                                                 [CONFIG_VOLATILE_TTL] = EVICT_VOLATILE_TTL,
                                                 [CONFIG_ALLKEYS_LRU] = EVICT_ALLKEYS_LRU,
                                                 [CONFIG_ALLKEYS_LFU] = EVICT_ALLKEYS_LFU,
                                                 [CONFIG_ALLKEYS_RANDOM] = EVICT_ALLKEYS_RANDOM,
                                                 [CONFIG_NOEVICTION] = EVICT_NONE,
                                                 [CONFIG_VOLATILE_LRM] = EVICT_VOLATILE_LRM,
                                                 [CONFIG_ALLKEYS_LRM] = EVICT_ALLKEYS_LRM,
                                                 [CONFIG_VOLATILE_S3FIFO] = EVICT_VOLATILE_S3FIFO,
                                                 [CONFIG_ALLKEYS_S3FIFO] = EVICT_ALLKEYS_S3FIFO};
    const struct evict_options o = {.policy = policies[g->maxmemory_policy],
                                    .samples = (uint32_t)g->maxmemory_samples,
                                    .lfu_log_factor = (uint32_t)g->lfu_log_factor,
                                    .lfu_decay_minutes = (uint32_t)g->lfu_decay_time};
    keyspace_set_eviction(s->keyspace, &o);
    if (g->maxmemory_bytes != 0 && in->pressing == NULL)
        in->pressing = mem_zalloc(&s->mem, pressing_bytes(s)); /* without it nobody is asked */
    budget_limit(s->share.budget, g->maxmemory_bytes);
    budget_join(&s->share, s->mem.used_bytes);
}

/* --- eviction --- */

static ON_SHARD bool evict_one(struct shard *s) {
    struct evicted e = {0};
    uint64_t before = clock_fine_ns();
    if (!keyspace_evict(s->keyspace, s->wall_ms, &e))
        return false;
    keyspace_stats(s->keyspace)->evicted++;
    watch_changed(s, e.db, e.hash);
    observe_event(s, LATENCY_EVICTION_DEL, clock_fine_ns() - before);
    return true;
}

/* free_one: what is dropped already goes first, then a key; false: there is nothing that may go. */
static ON_SHARD bool free_one(struct shard *s) {
    if (keyspace_stats(s->keyspace)->pending_free != 0) {
        (void)keyspace_free_some(s->keyspace, FREE_AT_ONCE);
        return true;
    }
    return evict_one(s);
}

bool room_make_slow(struct shard *s, int64_t bytes) {
    int64_t lack;
    while (!budget_take(&s->share, s->mem.used_bytes, bytes, &lack)) {
        press(s);
        if (!free_one(s))
            return false;
        /* What is freed beyond our own need pays the debt that others have made. */
        if (s->mem.used_bytes + bytes <= s->share.bytes)
            (void)budget_settle(&s->share, s->mem.used_bytes + bytes);
    }
    press(s);
    return true;
}

int64_t room_of_args(const struct span *argv, uint32_t from, uint32_t to) {
    int64_t bytes = ROOM_PER_KEY;
    for (uint32_t i = from; i < to; i++)
        bytes += (int64_t)argv[i].len;
    return bytes;
}

/* --- between turns --- */

void room_settle(struct shard *s) {
    (void)budget_settle(&s->share, s->mem.used_bytes);
}

bool room_slice(struct shard *s) {
    uint64_t from = clock_fine_ns(), ns = 0;
    bool debt;
    while ((debt = budget_settle(&s->share, s->mem.used_bytes)) && ns < SLICE_NS) {
        for (unsigned i = 0; i < SLICE_KEYS; i++)
            if (!free_one(s))
                return false;
        ns = clock_fine_ns() - from;
    }
    if (ns != 0)
        observe_event(s, LATENCY_EVICTION_CYCLE, ns);
    return debt;
}
