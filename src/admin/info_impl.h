/* info_impl.h: INFO, between the files that print its sections.
 *
 *   info.c           the command: what each shard sends, which sections are asked for, sums
 *   info_sections.c  the sections of fields: server, clients, stats, ...
 *   info_memory.c    section memory
 *   memory.c         MEMORY, which asks for the same numbers
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
    int64_t share_bytes;             /* of maxmemory; 0: there is none */
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
enum db_number { DB_KEYS, DB_EXPIRES, DB_TTL_MS, DB_TABLE_BYTES, DB_NUMBERS };

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
/* info_line_*: a field of a section; _bytes: the number, and again for people as <name>_human; _metric, and _max of section
 * "most": when somebody has registered it. info_rest: the metrics of a section that have no place of their own. */
void info_line_int(struct info *in, const char *name, int64_t v);
void info_line_text(struct info *in, const char *name, const char *text);
void info_line_bytes(struct info *in, const char *name, int64_t bytes);
void info_line_metric(struct info *in, const char *section, const char *name);
void info_line_max(struct info *in, const char *name);
void info_rest(struct info *in, const char *section);
/* info_text_of: the value of an option, as CONFIG GET shows it. */
struct option_text {
    char text[CONFIG_TEXT_MAX + 1];
};
struct option_text info_text_of(const struct info *in, struct span option);
/* info_collect: adds the records of one kind and index to sums[sub]; false when there are none. Asked for
 * in rising order only. */
bool info_collect(struct info *in, enum record_kind kind, uint32_t index, int64_t *sums,
                  unsigned count);

typedef void info_section_fn(struct info *in);
info_section_fn info_server, info_clients, info_persistence, info_stats, info_replication, info_cpu,
    info_modules, info_cluster; /* info_sections.c */
info_section_fn info_memory;    /* info_memory.c */
info_section_fn info_commandstats, info_errorstats, info_latencystats, info_keyspace, info_keysizes,
    info_shards; /* info_stats.c */

/* --- info_sample.c --- */
void info_sample_register(void);
/* info_peak_note: all shards together use that much now. */
void info_peak_note(int64_t used_bytes, int64_t now_s);
int64_t info_peak_bytes(void);
int64_t info_peak_s(void);
/* info_over_ms: for how long more than maxmemory has been used by now, on the clock of shard->now_ns; 0: it is not.
 * info_over_total_ms: since the statistics began. As seen ten times a second. */
int64_t info_over_ms(int64_t now_ms);
int64_t info_over_total_ms(int64_t now_ms);

/* --- info_memory.c --- */
/* What INFO memory, MEMORY STATS and MEMORY DOCTOR tell of, of all shards. */
enum memory_loss {
    LOSS_IN_PAGES,   /* pages that hold values, beyond these */
    LOSS_FREE_PAGES, /* the allocator's other pages in RAM */
    LOSS_BESIDE,     /* of the process, beside the allocator */
    LOSS_ALL,        /* of the process, beyond used_memory */
    MEMORY_LOSSES
};

struct memory_report {
    int64_t used, startup, peak, resident;
    int64_t tables, clients; /* tables: beside their entries */
    int64_t overhead;        /* what is there without data: startup, tables and connections */
    int64_t dataset;         /* the rest: data, and some logs */
    int64_t keys, connections;
    struct mem_usage allocator;
    /* Where memory is lost on the way from what was asked for to what the kernel counts. */
    struct memory_step {
        int64_t has, needs;
    } loss[MEMORY_LOSSES];
};
void memory_report(struct info *in, struct memory_report *r);
/* memory_lost, memory_loss_ratio: what is there beyond what is needed; and what is there to what is needed. */
int64_t memory_lost(const struct memory_report *r, enum memory_loss which);
double memory_loss_ratio(const struct memory_report *r, enum memory_loss which);
double info_ratio(int64_t of, int64_t to); /* 0 when there is nothing to compare with */

/* --- info.c, for who asks all shards for the same numbers as INFO does --- */
/* info_send: what a shard sends; the records of `sections`, a bit for each. info_open: at home. */
void info_send(struct ctx *c, uint32_t sections) ON_SHARD;
void info_open(struct info *in, const struct ctx *c, struct outbuf *const *parts, unsigned n);

#endif
