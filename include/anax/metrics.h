/* metrics.h: numbers that modules export; INFO sums them over the shards.
 *
 * Why         a module that counts something declares it beside the counter; INFO and /metrics walk the
 *             tables and know no module.
 * Threads     metrics_register before any shard starts; read on the holder of the shard.
 */
#ifndef ANAX_METRICS_H
#define ANAX_METRICS_H

#include "shards/shard.h"

enum { METRICS_MAX = 128 };

struct metric {
    const char *section; /* as INFO names it: "clients", "memory", "stats", ... */
    const char *name;    /* Redis's field name where Redis has one */
    int64_t (*read)(struct shard *s);
};

void metrics_register(const struct metric *rows, size_t n);
size_t metrics_count(void);
const struct metric *metrics_at(size_t i);

#endif
