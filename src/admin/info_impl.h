/* info_impl.h: INFO, between the files that print its sections.
 *
 *   info.c           the command: what each shard sends, which sections are asked for, sums
 *   info_sections.c  the sections of fields: server, clients, memory, ...
 *   info_stats.c     the sections of lists: commandstats, errorstats, latencystats, keyspace, shards, ...
 *   info_sample.c    what is sampled ten times a second: rates and the peak of memory
 */
#ifndef INFO_IMPL_H
#define INFO_IMPL_H

#include "anax/instance.h"
#include "anax/outbuf.h"

/* A shard's part is a head, the metrics in the order of their table, the errors, and records. */
struct part_head {
    uint64_t keys, expires;
    uint64_t table_bytes;
    uint64_t commands; /* that ran there */
    uint64_t command_ns;
    uint64_t errors;                 /* how many struct error_count follow the metrics */
    uint64_t claims, claims_waiting; /* of transactions and of steps behind them */
    struct shard_stats stats;
    struct tx_stats tx;
};

/* What there is of unknown number: one value each, those that are 0 left out, sorted by kind and index. */
enum record_kind {
    RECORD_COMMAND, /* index: command; sub: enum command_number */
    RECORD_TIME,    /* index: command; sub: bucket of its histogram */
    RECORD_DB,      /* index: database; sub: enum db_number */
    RECORD_LENGTH   /* index: database; sub: as in table_lengths */
};
enum command_number {
    COMMAND_CALLS,
    COMMAND_NS,
    COMMAND_REJECTED,
    COMMAND_FAILED,
    COMMAND_NUMBERS
};
enum db_number { DB_KEYS, DB_EXPIRES, DB_TTL_MS, DB_NUMBERS };

struct record {
    uint16_t kind, sub;
    uint32_t index;
    int64_t value;
};

enum info_section {
    INFO_SERVER,
    INFO_CLIENTS,
    INFO_MEMORY,
    INFO_PERSISTENCE,
    INFO_STATS,
    INFO_REPLICATION,
    INFO_CPU,
    INFO_MODULES,
    INFO_COMMANDSTATS,
    INFO_ERRORSTATS,
    INFO_LATENCYSTATS,
    INFO_CLUSTER,
    INFO_KEYSPACE,
    INFO_KEYSIZES,
    INFO_SHARDS,
    INFO_SECTIONS
};

struct info {
    const struct ctx *ctx;
    const struct config *config;
    struct outbuf *const *parts;
    unsigned n;
    struct outbuf out;
    size_t at[SHARDS_MAX];     /* of each part: the record to read next */
    bool printed[METRICS_MAX]; /* metrics that stood in their section already */
};

struct part_head info_head(const struct info *in, unsigned part);
int64_t info_metric_of(const struct info *in, unsigned part, size_t metric);
/* info_metric: the sum over all shards; 0 when nobody registered it. */
int64_t info_metric(struct info *in, const char *section, const char *name);
/* info_metric_max: the largest of all shards; they are in section "most". */
int64_t info_metric_max(const struct info *in, const char *name);
/* info_error_of: an error of one part; it may lie at any address, hence the copy. */
struct error_count info_error_of(const struct info *in, unsigned part, uint64_t i);
/* info_collect: adds the records of one kind and index to sums[sub]; false when there are none. Asked for
 * in rising order only. */
bool info_collect(struct info *in, enum record_kind kind, uint32_t index, int64_t *sums,
                  unsigned count);

typedef void info_section_fn(struct info *in);
info_section_fn info_server, info_clients, info_memory, info_persistence, info_stats,
    info_replication, info_cpu, info_modules, info_cluster; /* info_sections.c */
info_section_fn info_commandstats, info_errorstats, info_latencystats, info_keyspace, info_keysizes,
    info_shards; /* info_stats.c */

/* --- info_sample.c --- */
void info_sample_register(void);
/* info_peak_note: all shards together use that much now. */
void info_peak_note(int64_t used_bytes, int64_t now_s);
int64_t info_peak_bytes(void);
int64_t info_peak_s(void);

#endif
