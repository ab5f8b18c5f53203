/* metrics.h: numbers that modules export; INFO sums them over the shards.
 *
 * Why         a module that counts something declares it beside the counter; INFO and /metrics walk the
 *             tables and know no module. What INFO has to do ten times a second, or once for all
 *             modules, is asked for here too, so that net need not know of INFO.
 * Threads     metrics_register and the like before any shard starts; read, tick and reset on the
 *             holder of the shard.
 * Limits      METRICS_MAX rows, METRIC_HOOKS_MAX functions of a kind.
 */
#ifndef ANAX_METRICS_H
#define ANAX_METRICS_H

#include "shards/shard.h"

enum { METRICS_MAX = 128, METRIC_HOOKS_MAX = 8, RATE_SAMPLES = 16, METRIC_TICK_MS = 100 };

struct metric {
    const char *section; /* as INFO names it: "clients", "memory", "stats", ... */
    const char *name;    /* Redis's field name where Redis has one */
    int64_t (*read)(struct shard *s);
};

/* What INFO's instantaneous_* fields tell of; each shard has one of each in its instance. */
enum metric_rate { RATE_COMMANDS, RATE_INPUT, RATE_OUTPUT, RATE_TURNS, RATE_TURN_US, RATES };

/* How fast a counter grew of late: the mean of the last RATE_SAMPLES ticks. */
struct rate {
    int64_t last;
    uint64_t last_ns;
    int64_t per_second[RATE_SAMPLES];
    unsigned next;
};

typedef void metrics_fn(struct shard *s);

void metrics_register(const struct metric *rows, size_t n);
size_t metrics_count(void);
const struct metric *metrics_at(size_t i);
/* metrics_find: its index, or -1. */
int metrics_find(const char *section, const char *name);

/* metrics_tick_register: fn is called every METRIC_TICK_MS on every shard, by metrics_tick, which who owns
 * the shard's timer calls. */
void metrics_tick_register(metrics_fn *fn);
void metrics_tick(struct shard *s) ON_SHARD;
/* metrics_reset_register: fn sets to 0 what CONFIG RESETSTAT resets, when metrics_reset is called. */
void metrics_reset_register(metrics_fn *fn);
void metrics_reset(struct shard *s) ON_SHARD;

/* rate_note: the counter stands at `count` now. */
void rate_note(struct rate *r, int64_t count, uint64_t now_ns);
int64_t rate_per_second(const struct rate *r);

#endif
