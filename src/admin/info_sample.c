/* info_sample.c: the metrics of this room, and what INFO must have looked at before it is asked: how fast
 * counters grow, and the most memory there ever was. */
#include "info_impl.h"
#include <stdatomic.h>

/* --- metrics --- */

static int64_t read_used(struct shard *s) {
    return s->mem.used_bytes;
}

static int64_t read_startup(struct shard *s) {
    return instance_of(s)->startup_bytes;
}

static int64_t read_errors(struct shard *s) {
    return (int64_t)instance_of(s)->observed.total_errors;
}

#define KEYSPACE_METRIC(field)                                                                     \
    static int64_t read_##field(struct shard *s) {                                                 \
        return (int64_t)keyspace_stats(s->keyspace)->field;                                        \
    }
KEYSPACE_METRIC(hits)
KEYSPACE_METRIC(misses)
KEYSPACE_METRIC(expired)
KEYSPACE_METRIC(expired_inner)
KEYSPACE_METRIC(evicted)
KEYSPACE_METRIC(pending_free)
KEYSPACE_METRIC(freed_late)
KEYSPACE_METRIC(expiry_cuts)

#define SHARD_METRIC(field)                                                                        \
    static int64_t read_##field(struct shard *s) {                                                 \
        return (int64_t)s->stats.field;                                                            \
    }
SHARD_METRIC(turns)
SHARD_METRIC(messages_out)
SHARD_METRIC(borrows)
SHARD_METRIC(doorbells)

static int64_t read_turn_us(struct shard *s) {
    return (int64_t)(s->stats.turn_ns / 1000);
}

#define RATE_METRIC(name, rate)                                                                    \
    static int64_t read_##name(struct shard *s) {                                                  \
        return rate_per_second(&instance_of(s)->rates[rate]);                                      \
    }
RATE_METRIC(commands_rate, RATE_COMMANDS)
RATE_METRIC(input_rate, RATE_INPUT)
RATE_METRIC(output_rate, RATE_OUTPUT)
RATE_METRIC(turns_rate, RATE_TURNS)
RATE_METRIC(turn_us_rate, RATE_TURN_US)

static const struct metric metrics[] = {
    {"memory", "used_memory", read_used},
    {"memory", "used_memory_startup", read_startup},
    {"memory", "lazyfree_pending_objects", read_pending_free},
    {"memory", "lazyfreed_objects", read_freed_late},
    {"stats", "expired_keys", read_expired},
    {"stats", "expired_subkeys", read_expired_inner},
    {"stats", "expired_time_cap_reached_count", read_expiry_cuts},
    {"stats", "evicted_keys", read_evicted},
    {"stats", "keyspace_hits", read_hits},
    {"stats", "keyspace_misses", read_misses},
    {"stats", "total_error_replies", read_errors},
    {"stats", "eventloop_cycles", read_turns},
    {"stats", "eventloop_duration_sum", read_turn_us},
    {"stats", "shard_messages", read_messages_out},
    {"stats", "shard_borrows", read_borrows},
    {"stats", "shard_doorbells", read_doorbells},
    {"rates", "commands", read_commands_rate},
    {"rates", "input", read_input_rate},
    {"rates", "output", read_output_rate},
    {"rates", "turns", read_turns_rate},
    {"rates", "turn_us", read_turn_us_rate},
};

/* --- the peak of memory --- */

/* A shard sees its own memory only. Each says ten times a second how much it has; the first adds it up. */
static struct {
    _Atomic int64_t used_bytes[SHARDS_MAX];
    _Atomic int64_t peak_bytes, peak_s;
    _Atomic int64_t over_since_ms; /* more than maxmemory is used since then; 0: it is not */
    _Atomic int64_t over_ms;       /* for how long it was before */
} seen;

void info_peak_note(int64_t used_bytes, int64_t now_s) {
    int64_t peak = atomic_load_explicit(&seen.peak_bytes, memory_order_relaxed);
    while (used_bytes > peak)
        if (atomic_compare_exchange_weak(&seen.peak_bytes, &peak, used_bytes)) {
            atomic_store(&seen.peak_s, now_s);
            return;
        }
}

int64_t info_peak_bytes(void) {
    return atomic_load(&seen.peak_bytes);
}

int64_t info_peak_s(void) {
    return atomic_load(&seen.peak_s);
}

/* --- how long there was more than maxmemory --- */

static void note_over(bool over, int64_t now_ms) {
    int64_t since = atomic_load(&seen.over_since_ms);
    if (over == (since != 0))
        return;
    atomic_store(&seen.over_since_ms, over ? now_ms : 0);
    if (!over)
        atomic_fetch_add(&seen.over_ms, now_ms - since);
}

int64_t info_over_ms(int64_t now_ms) {
    int64_t since = atomic_load(&seen.over_since_ms);
    return since == 0 || now_ms < since ? 0 : now_ms - since;
}

int64_t info_over_total_ms(int64_t now_ms) {
    return atomic_load(&seen.over_ms) + info_over_ms(now_ms);
}

/* --- ten times a second --- */

/* sample: a tick that comes early, because the shard had more to do, is passed over. */
static void sample(struct shard *s) {
    enum { SOONEST_NS = METRIC_TICK_MS * 1000000 / 2 };
    static const char *const counters[RATES] = {[RATE_COMMANDS] = "total_commands_processed",
                                                [RATE_INPUT] = "total_net_input_bytes",
                                                [RATE_OUTPUT] = "total_net_output_bytes",
                                                [RATE_TURNS] = "eventloop_cycles",
                                                [RATE_TURN_US] = "eventloop_duration_sum"};
    if (instance_of(s)->startup_bytes == 0)
        instance_of(s)->startup_bytes = s->mem.used_bytes;
    if (s->now_ns - instance_of(s)->rates[0].last_ns < SOONEST_NS)
        return;
    for (size_t i = 0; i < RATES; i++) {
        int metric = metrics_find("stats", counters[i]);
        if (metric >= 0)
            rate_note(&instance_of(s)->rates[i], metrics_at((size_t)metric)->read(s), s->now_ns);
    }
    atomic_store_explicit(&seen.used_bytes[s->id], s->mem.used_bytes, memory_order_relaxed);
    if (s->id != 0)
        return;
    int64_t used = 0;
    for (unsigned i = 0; i < shards_count(s->all); i++)
        used += atomic_load_explicit(&seen.used_bytes[i], memory_order_relaxed);
    int64_t limit = atomic_load_explicit(&s->share.budget->limit, memory_order_relaxed);
    info_peak_note(used, s->wall_ms / 1000);
    note_over(limit != 0 && used > limit, (int64_t)(s->now_ns / 1000000));
}

static void reset(struct shard *s) {
    struct keyspace_stats *k = keyspace_stats(s->keyspace);
    k->hits = k->misses = k->expired = k->expired_inner = k->expiry_cuts = k->freed_late =
        k->evicted = 0;
    s->stats = (struct shard_stats){0};
    s->tx.stats = (struct tx_stats){0};
    memset(instance_of(s)->rates, 0, sizeof instance_of(s)->rates);
    atomic_store(&seen.over_ms, 0);
    atomic_store(&seen.over_since_ms, 0);
}

void info_sample_register(void) {
    metrics_register(metrics, COUNT_OF(metrics));
    metrics_tick_register(sample);
    metrics_reset_register(reset);
}
