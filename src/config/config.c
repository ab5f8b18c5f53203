#include "anax/config.h"
#include "anax/glob.h"
#include "config_impl.h"
#include "shards/assert.h"
#include "shards/log.h"
#include "shards/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* --- the table --- */

static const char *const log_levels[] = {
    [LOG_DEBUG] = "debug",     [LOG_VERBOSE] = "verbose", [LOG_NOTICE] = "notice",
    [LOG_WARNING] = "warning", [LOG_NOTHING] = "nothing", NULL};
static const char *const policies[] = {[CONFIG_VOLATILE_LRU] = "volatile-lru",
                                       [CONFIG_VOLATILE_LFU] = "volatile-lfu",
                                       [CONFIG_VOLATILE_RANDOM] = "volatile-random",
                                       [CONFIG_VOLATILE_TTL] = "volatile-ttl",
                                       [CONFIG_ALLKEYS_LRU] = "allkeys-lru",
                                       [CONFIG_ALLKEYS_LFU] = "allkeys-lfu",
                                       [CONFIG_ALLKEYS_RANDOM] = "allkeys-random",
                                       [CONFIG_NOEVICTION] = "noeviction",
                                       [CONFIG_VOLATILE_LRM] = "volatile-lrm",
                                       [CONFIG_ALLKEYS_LRM] = "allkeys-lrm",
                                       [CONFIG_VOLATILE_S3FIFO] = "volatile-s3fifo",
                                       [CONFIG_ALLKEYS_S3FIFO] = "allkeys-s3fifo",
                                       NULL};
static const char *const backends[] = {
    [CONFIG_IO_AUTO] = "auto", [CONFIG_IO_URING] = "uring", [CONFIG_IO_EPOLL] = "epoll", NULL};

static const char *const supervisors[] = {"no", "upstart", "systemd", "auto", NULL};
static const char *const debug_choices[] = {"no", "yes", "local", NULL};
static const char *const facilities[] = {"user",   "local0", "local1", "local2", "local3",
                                         "local4", "local5", "local6", "local7", NULL};

static const char *const sanitizers[] = {"no", "yes", "clients", NULL};
static const char *const fsyncs[] = {"everysec", "always", "no", NULL};
static const char *const diskless[] = {"disabled", "on-empty-db", "swapdb", NULL};
static const char *const oom_scores[] = {"no", "yes", "relative", "absolute", NULL};

#define AT(field)         offsetof(struct config, field)
#define TEXT_BYTES(field) ((int64_t)sizeof(((struct config *)NULL)->field) - 1)

#define INT(name, field, initial, low, high, flags)                                                \
    { name, &int_kind, flags, AT(field), initial, low, high, NULL }
#define OCTAL(name, field, initial, low, high, flags)                                              \
    { name, &octal_kind, flags, AT(field), initial, low, high, NULL }
#define MEMORY(name, field, initial, low, flags)                                                   \
    { name, &memory_kind, flags, AT(field), initial, low, INT64_MAX, NULL }
#define BOOL(name, field, initial, flags)                                                          \
    { name, &bool_kind, flags, AT(field), initial, 0, 1, NULL }
#define ENUM(name, field, initial, choices, flags)                                                 \
    { name, &enum_kind, flags, AT(field), initial, 0, 0, choices }
#define TEXT(name, field, initial, flags)                                                          \
    { name, &text_kind, flags, AT(field), initial, 0, TEXT_BYTES(field), NULL }

/* Redis's default is what we do, and all that can be asked for. */
#define FIXED_BOOL(name, initial, flags)                                                           \
    { name, &bool_kind, CONFIG_FIXED | (flags), CONFIG_NO_FIELD, initial, 0, 1, NULL }
#define FIXED_INT(name, initial, low, high, flags)                                                 \
    { name, &int_kind, CONFIG_FIXED | (flags), CONFIG_NO_FIELD, initial, low, high, NULL }

/* Rows of what is for later. */
enum { LATER = CONFIG_UNUSED | CONFIG_MUTABLE, LATER_AT_START = CONFIG_UNUSED };

static const struct config_row rows[] = {
    TEXT("bind", bind, "127.0.0.1", CONFIG_MULTI),
    INT("port", port, "6379", 0, 65535, 0),
    INT("tcp-backlog", tcp_backlog, "511", 0, INT32_MAX, 0),
    TEXT("unixsocket", unixsocket, "", 0),
    OCTAL("unixsocketperm", unixsocketperm, "0", 0, 0777, 0),
    INT("timeout", timeout_s, "0", 0, INT32_MAX, CONFIG_MUTABLE),
    INT("tcp-keepalive", tcp_keepalive_s, "300", 0, INT32_MAX, CONFIG_MUTABLE),
    INT("maxclients", maxclients, "10000", 1, UINT32_MAX, CONFIG_MUTABLE),
    MEMORY("proto-max-bulk-len", bulk_bytes_max, "512mb", 1 << 20, CONFIG_MUTABLE),
    MEMORY("client-query-buffer-limit", query_bytes_max, "1gb", 1 << 20, CONFIG_MUTABLE),
    {"client-output-buffer-limit", &limit_kind, CONFIG_MUTABLE | CONFIG_MULTI, AT(output_limit),
     "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", 0, 0, NULL},
    BOOL("daemonize", daemonize, "no", 0),
    TEXT("pidfile", pidfile, "", 0),
    TEXT("logfile", logfile, "", 0),
    ENUM("loglevel", loglevel, "notice", log_levels, CONFIG_MUTABLE),
    BOOL("protected-mode", protected_mode, "yes", CONFIG_MUTABLE),
    ENUM("supervised", supervised, "no", supervisors, 0),
    BOOL("set-proc-title", set_proc_title, "yes", 0),
    {"proc-title-template", &template_kind, CONFIG_MUTABLE, AT(proc_title_template),
     "{title} {listen-addr} {server-mode}", 0, TEXT_BYTES(proc_title_template), NULL},
    BOOL("crash-log-enabled", crash_log, "yes", 0),
    BOOL("crash-memcheck-enabled", crash_memcheck, "no", CONFIG_FIXED),
    BOOL("syslog-enabled", syslog, "no", 0),
    TEXT("syslog-ident", syslog_ident, "anax", 0),
    ENUM("syslog-facility", syslog_facility, "local0", facilities, 0),
    INT("slowlog-log-slower-than", slow_us, "10000", -1, INT64_MAX, CONFIG_MUTABLE),
    INT("slowlog-max-len", slow_len_max, "128", 0, INT64_MAX, CONFIG_MUTABLE),
    INT("commandlog-execution-slower-than", slow_us, "10000", -1, INT64_MAX,
        CONFIG_MUTABLE | CONFIG_ALIAS),
    INT("commandlog-slow-execution-max-len", slow_len_max, "128", 0, INT64_MAX,
        CONFIG_MUTABLE | CONFIG_ALIAS),
    INT("commandlog-request-larger-than", request_bytes, "1048576", -1, INT64_MAX, CONFIG_MUTABLE),
    INT("commandlog-large-request-max-len", request_len_max, "128", 0, INT64_MAX, CONFIG_MUTABLE),
    INT("commandlog-reply-larger-than", reply_bytes, "1048576", -1, INT64_MAX, CONFIG_MUTABLE),
    INT("commandlog-large-reply-max-len", reply_len_max, "128", 0, INT64_MAX, CONFIG_MUTABLE),
    INT("latency-monitor-threshold", latency_ms, "0", 0, INT64_MAX, CONFIG_MUTABLE),
    BOOL("latency-tracking", latency_tracking, "yes", CONFIG_MUTABLE),
    {"latency-tracking-info-percentiles", &percentiles_kind,
     CONFIG_MUTABLE | CONFIG_MULTI | CONFIG_MAY_LACK_VALUE, AT(latency_percentiles), "50 99 99.9",
     0, TEXT_BYTES(latency_percentiles), NULL},
    ENUM("enable-debug-command", debug_command, "no", debug_choices, 0),
    ENUM("enable-protected-configs", protected_configs, "no", debug_choices, 0),
    INT("databases", databases, "16", 1, 65536, 0),
    MEMORY("maxmemory", maxmemory_bytes, "0", 0, CONFIG_MUTABLE),
    {"maxmemory-clients", &memory_or_percent_kind, CONFIG_MUTABLE, AT(maxmemory_clients), "0", -100,
     INT64_MAX, NULL},
    ENUM("maxmemory-policy", maxmemory_policy, "noeviction", policies, CONFIG_MUTABLE),
    INT("maxmemory-samples", maxmemory_samples, "5", 1, INT32_MAX, CONFIG_MUTABLE),
    INT("lfu-log-factor", lfu_log_factor, "10", 0, INT32_MAX, CONFIG_MUTABLE),
    INT("lfu-decay-time", lfu_decay_time, "1", 0, INT32_MAX, CONFIG_MUTABLE),
    INT("hz", hz, "10", 1, 500, CONFIG_MUTABLE | CONFIG_CLAMPED),
    INT("active-expire-effort", active_expire_effort, "1", 1, 10, CONFIG_MUTABLE),
    {"save", &save_kind, CONFIG_MUTABLE | CONFIG_MULTI | CONFIG_MAY_LACK_VALUE, AT(save),
     "3600 1 300 100 60 10000", 0, 0, NULL},
    FIXED_BOOL("appendonly", "no", CONFIG_MUTABLE),
    BOOL("activedefrag", activedefrag, "yes", CONFIG_MUTABLE),
    MEMORY("active-defrag-ignore-bytes", defrag_ignore_bytes, "100mb", 1, CONFIG_MUTABLE),
    INT("active-defrag-threshold-lower", defrag_lower_percent, "10", 0, 1000, CONFIG_MUTABLE),
    INT("active-defrag-threshold-upper", defrag_upper_percent, "100", 0, 1000, CONFIG_MUTABLE),
    INT("active-defrag-cycle-min", defrag_cycle_min, "1", 1, 99, CONFIG_MUTABLE),
    INT("active-defrag-cycle-max", defrag_cycle_max, "25", 1, 99, CONFIG_MUTABLE),
    INT("active-defrag-max-scan-fields", defrag_scan_max, "1000", 1, INT64_MAX, CONFIG_MUTABLE),
    TEXT("requirepass", requirepass, "", CONFIG_MUTABLE | CONFIG_SECRET),
    INT("shards", shards, "0", 0, SHARDS_MAX, 0),
    {"shard-cpus", &cpus_kind, 0, AT(shard_cpus), "", 0, TEXT_BYTES(shard_cpus), NULL},
    ENUM("io", io, "auto", backends, 0),
    BOOL("shard-borrow", shard_borrow, "yes", 0),
    BOOL("disable-thp", disable_thp, "no", 0),
    /* what Redis can be told not to do, and we do not */
    FIXED_BOOL("cluster-enabled", "no", 0),
    FIXED_INT("tls-port", "0", 0, 65535, CONFIG_MUTABLE),
    {"notify-keyspace-events", &events_kind, CONFIG_MUTABLE | CONFIG_FIXED, CONFIG_NO_FIELD, "", 0,
     CONFIG_TEXT_MAX, NULL},
    {"oom-score-adj-values", &oom_values_kind, CONFIG_MUTABLE | CONFIG_MULTI | CONFIG_FIXED,
     CONFIG_NO_FIELD, "0 200 800", -2000, 2000, NULL},
    FIXED_BOOL("jemalloc-bg-thread", "yes", CONFIG_MUTABLE),
    /* freeing never stops a shard, and a write makes the room that it needs, whatever these say */
    BOOL("lazyfree-lazy-eviction", lazy_eviction, "no", CONFIG_MUTABLE),
    BOOL("lazyfree-lazy-expire", lazy_expire, "no", CONFIG_MUTABLE),
    BOOL("lazyfree-lazy-server-del", lazy_server_del, "no", CONFIG_MUTABLE),
    BOOL("lazyfree-lazy-user-del", lazy_user_del, "no", CONFIG_MUTABLE),
    BOOL("lazyfree-lazy-user-flush", lazy_user_flush, "no", CONFIG_MUTABLE),
    INT("maxmemory-eviction-tenacity", eviction_tenacity, "10", 0, 100, CONFIG_MUTABLE),
    BOOL("rdb-strict", rdb_strict, "no", CONFIG_MUTABLE),
    /* payloads and files are always looked at to the last byte, whatever this says */
    ENUM("sanitize-dump-payload", sanitize_dump, "no", sanitizers, CONFIG_MUTABLE),
    INT("key-load-delay", key_load_delay_us, "0", INT32_MIN, INT32_MAX, CONFIG_MUTABLE),
    INT("rdb-key-save-delay", key_save_delay_us, "0", INT32_MIN, INT32_MAX, CONFIG_MUTABLE),
    INT("loading-process-events-interval-bytes", loading_events_bytes, "2097152", 1024, INT32_MAX,
        CONFIG_MUTABLE),
    /* taken, not used yet */
    BOOL("always-show-logo", always_show_logo, "no", LATER_AT_START),
    ENUM("oom-score-adj", oom_score_adj, "no", oom_scores, LATER),
    INT("io-threads", io_threads, "1", 1, 128, LATER_AT_START),
    BOOL("io-threads-do-reads", io_threads_do_reads, "no", LATER_AT_START),
    BOOL("dynamic-hz", dynamic_hz, "yes", LATER),
    BOOL("activerehashing", active_rehashing, "yes", LATER),
    INT("acllog-max-len", acl_log_len_max, "128", 0, INT64_MAX, LATER),
    {"dir", &dir_kind, CONFIG_MUTABLE | CONFIG_PROTECTED, AT(dir), "./", 0, TEXT_BYTES(dir), NULL},
    {"dbfilename", &name_kind, CONFIG_MUTABLE | CONFIG_PROTECTED, AT(rdb_name), "dump.rdb", 0,
     TEXT_BYTES(rdb_name), NULL},
    BOOL("stop-writes-on-bgsave-error", rdb_stop_writes, "yes", CONFIG_MUTABLE),
    BOOL("rdbcompression", rdb_compression, "yes", CONFIG_MUTABLE),
    BOOL("rdbchecksum", rdb_checksum, "yes", 0),
    BOOL("rdb-del-sync-files", rdb_del_sync_files, "no", LATER),
    BOOL("rdb-save-incremental-fsync", rdb_incremental_fsync, "yes", CONFIG_MUTABLE),
    TEXT("appendfilename", aof_name, "appendonly.aof", LATER_AT_START),
    TEXT("appenddirname", aof_dir, "appendonlydir", LATER_AT_START),
    ENUM("appendfsync", aof_fsync, "everysec", fsyncs, LATER),
    BOOL("no-appendfsync-on-rewrite", aof_no_fsync_on_rewrite, "no", LATER),
    INT("auto-aof-rewrite-percentage", aof_rewrite_percentage, "100", 0, INT32_MAX, LATER),
    MEMORY("auto-aof-rewrite-min-size", aof_rewrite_bytes_min, "64mb", 0, LATER),
    BOOL("aof-load-truncated", aof_load_truncated, "yes", LATER),
    BOOL("aof-use-rdb-preamble", aof_rdb_preamble, "yes", LATER),
    BOOL("aof-timestamp-enabled", aof_timestamps, "no", LATER),
    BOOL("aof-rewrite-incremental-fsync", aof_incremental_fsync, "yes", LATER),
    BOOL("replica-serve-stale-data", replica_serve_stale, "yes", LATER),
    BOOL("replica-read-only", replica_read_only, "yes", LATER),
    BOOL("replica-lazy-flush", replica_lazy_flush, "no", LATER),
    BOOL("replica-ignore-maxmemory", replica_ignore_maxmemory, "yes", LATER),
    INT("replica-priority", replica_priority, "100", 0, INT32_MAX, LATER),
    BOOL("repl-diskless-sync", repl_diskless_sync, "yes", LATER),
    INT("repl-diskless-sync-delay", repl_diskless_delay_s, "5", 0, INT32_MAX, LATER),
    INT("repl-diskless-sync-max-replicas", repl_diskless_replicas_max, "0", 0, INT32_MAX, LATER),
    ENUM("repl-diskless-load", repl_diskless_load, "disabled", diskless, LATER),
    BOOL("repl-disable-tcp-nodelay", repl_delay, "no", LATER),
    MEMORY("repl-backlog-size", repl_backlog_bytes, "1mb", 1, LATER),
    INT("repl-timeout", repl_timeout_s, "60", 1, INT32_MAX, LATER),
    INT("hash-max-listpack-entries", hash_listpack_entries_max, "512", 0, INT64_MAX,
        CONFIG_MUTABLE),
    MEMORY("hash-max-listpack-value", hash_listpack_bytes_max, "64", 0, CONFIG_MUTABLE),
    INT("list-max-listpack-size", list_listpack_size_max, "-2", INT32_MIN, INT32_MAX,
        CONFIG_MUTABLE),
    INT("list-compress-depth", list_compress_depth, "0", 0, INT32_MAX, LATER),
    INT("set-max-intset-entries", set_intset_entries_max, "512", 0, INT64_MAX, CONFIG_MUTABLE),
    INT("set-max-listpack-entries", set_listpack_entries_max, "128", 0, INT64_MAX, CONFIG_MUTABLE),
    MEMORY("set-max-listpack-value", set_listpack_bytes_max, "64", 0, CONFIG_MUTABLE),
    INT("zset-max-listpack-entries", zset_listpack_entries_max, "128", 0, INT64_MAX,
        CONFIG_MUTABLE),
    MEMORY("zset-max-listpack-value", zset_listpack_bytes_max, "64", 0, CONFIG_MUTABLE),
    MEMORY("hll-sparse-max-bytes", hll_sparse_bytes_max, "3000", 0, LATER),
    MEMORY("stream-node-max-bytes", stream_node_bytes_max, "4096", 0, LATER),
    INT("stream-node-max-entries", stream_node_entries_max, "100", 0, INT64_MAX, LATER),
    /* what was called so before Redis 5 and 7, and in many a file still is */
    INT("hash-max-ziplist-entries", hash_listpack_entries_max, "512", 0, INT64_MAX,
        CONFIG_MUTABLE | CONFIG_ALIAS),
    MEMORY("hash-max-ziplist-value", hash_listpack_bytes_max, "64", 0,
           CONFIG_MUTABLE | CONFIG_ALIAS),
    INT("list-max-ziplist-size", list_listpack_size_max, "-2", INT32_MIN, INT32_MAX,
        CONFIG_MUTABLE | CONFIG_ALIAS),
    INT("zset-max-ziplist-entries", zset_listpack_entries_max, "128", 0, INT64_MAX,
        CONFIG_MUTABLE | CONFIG_ALIAS),
    MEMORY("zset-max-ziplist-value", zset_listpack_bytes_max, "64", 0,
           CONFIG_MUTABLE | CONFIG_ALIAS),
    BOOL("slave-serve-stale-data", replica_serve_stale, "yes", LATER | CONFIG_ALIAS),
    BOOL("slave-read-only", replica_read_only, "yes", LATER | CONFIG_ALIAS),
    BOOL("slave-lazy-flush", replica_lazy_flush, "no", LATER | CONFIG_ALIAS),
    BOOL("slave-ignore-maxmemory", replica_ignore_maxmemory, "yes", LATER | CONFIG_ALIAS),
    INT("slave-priority", replica_priority, "100", 0, INT32_MAX, LATER | CONFIG_ALIAS),
};
static_assert(COUNT_OF(rows) <= CONFIG_ROWS_MAX, "each row has a bit in given");

/* For the value of a row without a field, which is always its default. */
union fixed_value {
    bool yes;
    int choice;
    int64_t number;
    char text[CONFIG_TEXT_MAX + 1];
};

static void *field_of(const struct config_row *row, struct config *c) {
    return (char *)c + row->at;
}

static void show(const struct config_row *row, const struct config *c, struct text *out) {
    union fixed_value fixed;

    if (row->at != CONFIG_NO_FIELD) {
        row->kind->get(row, (const char *)c + row->at, out);
        return;
    }
    struct span initial = {row->initial, strlen(row->initial)};
    enum problem problem = row->kind->set(row, &fixed, &initial, 1);
    ASSERT(problem == FINE);
    row->kind->get(row, &fixed, out);
}

static enum problem apply(const struct config_row *row, struct config *c, const struct span *values,
                          unsigned n) {
    union fixed_value fixed;

    if (n == 0 || (n > 1 && !(row->flags & CONFIG_MULTI)))
        return WRONG_COUNT;
    void *field = row->at == CONFIG_NO_FIELD ? &fixed : field_of(row, c);
    enum problem problem = row->kind->set(row, field, values, n);
    if (problem != FINE || !(row->flags & CONFIG_FIXED))
        return problem;
    char buf[VALUE_TEXT_MAX];
    struct text text = {buf, 0, sizeof(buf)};
    row->kind->get(row, field, &text);
    return strcmp(buf, row->initial) == 0 ? FINE : NOT_AVAILABLE;
}

void config_defaults(struct config *c) {
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span initial = {rows[i].initial, strlen(rows[i].initial)};
        enum problem problem = apply(&rows[i], c, &initial, 1);
        ASSERT(problem == FINE);
    }
}

struct config *config_clone(const struct config *c) {
    struct config *copy = malloc(sizeof(*copy));

    if (copy != NULL)
        *copy = *c;
    return copy;
}

void config_free(struct config *c) {
    free(c);
}

static config_changed_fn *changed; /* written before shards start */

void config_on_change(config_changed_fn *fn) {
    changed = fn;
}

void config_changed(const struct config *c) {
    if (changed != NULL)
        changed(c);
}

const struct config_row *config_row_find(struct span name) {
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (span_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

const struct config_row *config_row_at(size_t i) {
    return i < COUNT_OF(rows) ? &rows[i] : NULL;
}

size_t config_row_main(const struct config_row *row) {
    size_t i = (size_t)(row - rows);

    if (row->flags & CONFIG_ALIAS)
        for (i = 0; rows[i].at != row->at;)
            i++;
    return i;
}

bool config_row_set(const struct config_row *row, struct config *c, const struct span *values,
                    unsigned n, struct config_error *e) {
    static const struct span empty = {"", 0};
    struct text out = {e->text, 0, sizeof(e->text)};

    if (n == 0 && row->flags & CONFIG_MAY_LACK_VALUE) {
        values = &empty;
        n = 1;
    }
    size_t i = (size_t)(row - rows);
    if (row->kind->adds && !(c->given[i / 64] >> i % 64 & 1))
        (void)apply(row, c, &empty, 1); /* the default */
    enum problem problem = apply(row, c, values, n);
    if (problem == FINE) {
        c->given[i / 64] |= 1ULL << i % 64;
        return true;
    }
    if (problem == WRONG_COUNT)
        text_addf(&out, "takes one value, ");
    if (problem == NOT_AVAILABLE)
        text_addf(&out, "only '%s' can be had so far", row->initial);
    else if (problem == ZERO_BYTE)
        text_addf(&out, "a text without zero bytes");
    else
        row->kind->allowed(row, &out);
    return false;
}

unsigned config_row_parts(const struct config_row *row) {
    return row->kind->parts == 0 ? 1 : row->kind->parts;
}

void config_row_line(const struct config_row *row, const struct config *c, unsigned part,
                     struct text *out) {
    if (row->kind->line != NULL && row->at != CONFIG_NO_FIELD)
        row->kind->line(row, (const char *)c + row->at, part, out);
    else
        show(row, c, out);
}

/* --- what is taken and not used --- */

bool config_is_unused(struct span name) {
    const struct config_row *row = config_row_find(name);
    return row != NULL && (row->flags & CONFIG_UNUSED) != 0;
}

void config_log_unused(const struct config *c) {
    char names[LOG_LINE_MAX];
    struct text out = {names, 0, sizeof(names)};
    unsigned left_out = 0;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum { BESIDE_NAMES = 128 }; /* what else a log line holds */
        if (!(rows[i].flags & CONFIG_UNUSED) || !(c->given[i / 64] >> i % 64 & 1))
            continue;
        if (out.len + strlen(rows[i].name) + BESIDE_NAMES < sizeof(names))
            text_addf(&out, " %s", rows[i].name);
        else
            left_out++;
    }
    if (left_out != 0)
        text_addf(&out, " and %u more", left_out);
    if (out.len != 0)
        LOGW("options that are not used yet:%s", names);
}

/* --- CONFIG GET and SET --- */

static bool has_wildcard(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '*' || s.ptr[i] == '?' || s.ptr[i] == '[')
            return true;
    return false;
}

/* The name under which the patterns ask for the row; ptr NULL when they do not. */
static struct span asked_as(const struct config_row *row, const struct span *patterns, unsigned n) {
    struct span name = {row->name, strlen(row->name)};

    for (unsigned i = 0; i < n; i++) {
        if (!has_wildcard(patterns[i])) {
            if (span_is(patterns[i], row->name))
                return patterns[i];
        } else if (glob_match(patterns[i], name, true)) {
            return name;
        }
    }
    return (struct span){NULL, 0};
}

void config_get(const struct config *c, const struct span *patterns, unsigned n,
                config_value_fn *fn, void *arg) {
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span name = asked_as(&rows[i], patterns, n);
        if (name.ptr == NULL)
            continue;
        char buf[VALUE_TEXT_MAX];
        struct text text = {buf, 0, sizeof(buf)};
        show(&rows[i], c, &text);
        fn(arg, name, (struct span){buf, text.len});
    }
}

static void add_choice_problem(const struct config_row *row, struct text *out) {
    if (row->choices == NULL) {
        text_addf(out, "argument must be 'yes' or 'no'");
        return;
    }
    text_addf(out, "argument(s) must be one of the following: ");
    config_add_choices(row, out);
}

/* Redis's words for a value that CONFIG SET refuses, where they name no bound and no option. */
static const char *const redis_problems[] = {
    [WRONG_COUNT] = "wrong number of arguments",
    [NOT_A_NUMBER] = "argument couldn't be parsed into an integer",
    [NOT_MEMORY] = "argument must be a memory value",
    [NOT_MEMORY_OR_PERCENT] = "argument must be a memory or percent value",
    [ZERO_BYTE] = "argument must not contain zero bytes",
    [BAD_CLASS] = "Invalid client class specified in buffer limit configuration.",
    [BAD_LIMIT] = "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    [LIMIT_COUNT] = "Wrong number of arguments in buffer limit configuration.",
    [BAD_TEMPLATE] = "template format is invalid or contains unknown variables",
    [BAD_SAVE] = "Invalid save parameters",
    [BAD_OOM_VALUE] = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
};

static void add_redis_problem(const struct config_row *row, enum problem problem,
                              struct text *out) {
    switch (problem) {
    case FINE:
        break;
    case OUT_OF_RANGE:
        text_addf(out, "argument must be between %" PRId64 " and %" PRId64 " inclusive", row->min,
                  row->max);
        break;
    case PERCENT_TOO_LARGE:
        text_addf(out, "percentage argument must be less or equal to %" PRId64, -row->min);
        break;
    case NOT_A_CHOICE:
        add_choice_problem(row, out);
        break;
    case TOO_LONG:
        text_addf(out, "argument must be at most %" PRId64 " bytes long", row->max);
        break;
    case BAD_CPUS:
        row->kind->allowed(row, out);
        break;
    case BAD_PERCENTILE:
        text_addf(out, "Invalid %s parameters", row->name);
        break;
    case PERCENTILE_RANGE:
        text_addf(out, "%s parameters should sit between [0.0,100.0]", row->name);
        break;
    case BAD_DIRECTORY:
        text_addf(out, "%s", strerror(errno));
        break;
    case NOT_A_NAME:
        text_addf(out, "%s can't be a path, just a filename", row->name);
        break;
    case BAD_EVENT_CLASS:
        text_addf(out, "Invalid event class character. Use '%s'.", CONFIG_EVENT_CLASSES);
        break;
    case NOT_AVAILABLE:
        text_addf(out, "only '%s' can be had so far", row->initial);
        break;
    default:
        ASSERT((size_t)problem < COUNT_OF(redis_problems));
        ASSERT(redis_problems[problem] != NULL);
        text_addf(out, "%s", redis_problems[problem]);
    }
}

/* Names are cut in errors: a client may send anything as one. */
static int shown_len(struct span s) {
    enum { NAME_SHOWN_MAX = 128 };
    return s.len < NAME_SHOWN_MAX ? (int)s.len : NAME_SHOWN_MAX;
}

static bool is_repeated(const struct span *words, unsigned pair) {
    const struct config_row *row = config_row_find(words[pair * 2]);

    for (unsigned i = 0; i < pair; i++)
        if (config_row_main(config_row_find(words[i * 2])) == config_row_main(row))
            return true;
    return false;
}

static bool refuse_set(struct span name, struct text *out, const struct config_row *row,
                       enum problem problem, const char *why) {
    text_addf(out, "CONFIG SET failed (possibly related to argument '%.*s') - %s", shown_len(name),
              name.ptr, why);
    add_redis_problem(row, problem, out);
    return false;
}

static bool may_set_protected(const struct config *c, bool local) {
    return c->protected_configs == CONFIG_DEBUG_YES ||
           (c->protected_configs == CONFIG_DEBUG_LOCAL && local);
}

bool config_set_many(const struct config *from, const struct span *words, unsigned pairs,
                     bool local, struct config *to, struct config_error *e) {
    struct text out = {e->text, 0, sizeof(e->text)};

    e->text[0] = '\0';
    for (unsigned i = 0; i < pairs; i++) {
        struct span name = words[i * 2];
        const struct config_row *row = config_row_find(name);
        if (row == NULL) {
            text_addf(&out, "Unknown option or number of arguments for CONFIG SET - '%.*s'",
                      shown_len(name), name.ptr);
            return false;
        }
        if (row->flags & CONFIG_PROTECTED && !may_set_protected(from, local))
            return refuse_set(name, &out, row, FINE, "can't set protected config");
        if (!(row->flags & CONFIG_MUTABLE))
            return refuse_set(name, &out, row, FINE, "can't set immutable config");
        if (is_repeated(words, i))
            return refuse_set(name, &out, row, FINE, "duplicate parameter");
    }
    *to = *from;
    for (unsigned i = 0; i < pairs; i++) {
        const struct config_row *row = config_row_find(words[i * 2]);
        if (row->kind->adds)
            (void)apply(row, to, &(struct span){"", 0}, 1);
        enum problem problem = apply(row, to, &words[i * 2 + 1], 1);
        if (problem != FINE)
            return refuse_set((struct span){row->name, strlen(row->name)}, &out, row, problem, "");
    }
    return true;
}
