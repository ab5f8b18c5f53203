/* config.h: the options: their names, bounds and defaults, and where their values come from.
 *
 * Why         one row declares an option; the command line, the file, CONFIG GET and SET and every
 *             error text come from it. Names and syntax are redis.conf's.
 * Threads     any: a struct config is plain values. Each shard has its own; CONFIG SET writes the
 *             new values over it, on whoever holds the shard.
 * Ownership   the caller's; there is nothing inside to free, so assignment copies it.
 * Limits      texts of CONFIG_TEXT_MAX bytes, files of CONFIG_FILE_BYTES_MAX, CONFIG_FILES_MAX
 *             files by `include`, CONFIG_VALUES_MAX values per option.
 * Invariants  (1) every value lies in its bounds. (2) what config_get gives for an option that can
 *             be set is taken by config_set_many and means the same. (3) config_set_many changes
 *             all or nothing. (4) an error names the option, the value and what is allowed.
 *             (5) what config_rewrite_text gives says what the config holds. (6) a config that was
 *             written by config_rewrite is the old file or the new one, whenever it is looked at.
 * Source      redis.conf of Redis 7; texts of CONFIG SET errors as redis-server 7.0 gives them.
 */
#ifndef ANAX_CONFIG_H
#define ANAX_CONFIG_H

#include "shards/attr.h"
#include "shards/span.h"
#include <stdint.h>

enum {
    CONFIG_TEXT_MAX = 1024,
    CONFIG_SOCKET_PATH_MAX = 107, /* what the kernel takes */
    CONFIG_FILE_BYTES_MAX = 1024 * 1024,
    CONFIG_FILES_MAX = 256,
    CONFIG_INCLUDE_DEPTH_MAX = 16,
    CONFIG_VALUES_MAX = 64,
    CONFIG_ERROR_MAX = 1024,
    CONFIG_CPU_MAX = 1023, /* the highest number of a CPU */
    CONFIG_ROWS_MAX = 192,
    CONFIG_SAVES_MAX = CONFIG_VALUES_MAX / 2,
};

enum config_io { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_EPOLL };

enum config_supervised {
    CONFIG_SUPERVISED_NO,
    CONFIG_SUPERVISED_UPSTART,
    CONFIG_SUPERVISED_SYSTEMD,
    CONFIG_SUPERVISED_AUTO
};

enum config_debug { CONFIG_DEBUG_NO, CONFIG_DEBUG_YES, CONFIG_DEBUG_LOCAL };

enum config_policy {
    CONFIG_VOLATILE_LRU,
    CONFIG_VOLATILE_LFU,
    CONFIG_VOLATILE_RANDOM,
    CONFIG_VOLATILE_TTL,
    CONFIG_ALLKEYS_LRU,
    CONFIG_ALLKEYS_LFU,
    CONFIG_ALLKEYS_RANDOM,
    CONFIG_NOEVICTION,
    CONFIG_VOLATILE_LRM,
    CONFIG_ALLKEYS_LRM,
    CONFIG_VOLATILE_S3FIFO,
    CONFIG_ALLKEYS_S3FIFO,
};

enum config_class {
    CONFIG_CLASS_NORMAL,
    CONFIG_CLASS_REPLICA,
    CONFIG_CLASS_PUBSUB,
    CONFIG_CLASSES
};

/* client-output-buffer-limit of one class; 0 is no limit. */
struct config_output_limit {
    int64_t hard_bytes, soft_bytes, soft_s;
};

/* save: a dataset is saved when, in so many seconds since the last time, it was changed so often. */
struct config_saves {
    unsigned count;
    struct config_save {
        int64_t s, changes;
    } point[CONFIG_SAVES_MAX];
};

/* Beside each field whose name is not its option's: the option. */
struct config {
    /* network */
    char bind[CONFIG_TEXT_MAX + 1]; /* addresses separated by one space; "-x": x may be missing */
    char unixsocket[CONFIG_SOCKET_PATH_MAX + 1]; /* "": none */
    int64_t unixsocketperm;                      /* 0: as umask says */
    int64_t port;                                /* 0: no TCP */
    int64_t tcp_backlog;
    int64_t timeout_s;       /* timeout; 0: never */
    int64_t tcp_keepalive_s; /* tcp-keepalive; 0: off */
    int64_t maxclients;
    int64_t bulk_bytes_max;  /* proto-max-bulk-len */
    int64_t query_bytes_max; /* client-query-buffer-limit */
    struct config_output_limit output_limit[CONFIG_CLASSES];
    /* process */
    int loglevel;        /* enum log_level */
    int supervised;      /* enum config_supervised */
    int syslog_facility; /* 0: user, then local0 to local7 */
    bool daemonize;
    bool protected_mode;
    bool set_proc_title;
    bool crash_log;      /* crash-log-enabled */
    bool crash_memcheck; /* crash-memcheck-enabled */
    bool syslog;         /* syslog-enabled */
    char pidfile[CONFIG_TEXT_MAX + 1];
    char logfile[CONFIG_TEXT_MAX + 1];
    char proc_title_template[CONFIG_TEXT_MAX + 1];
    char syslog_ident[CONFIG_TEXT_MAX + 1];
    /* what is watched */
    int64_t slow_us;       /* slowlog-log-slower-than, commandlog-execution-slower-than; -1: off */
    int64_t slow_len_max;  /* slowlog-max-len, commandlog-slow-execution-max-len */
    int64_t request_bytes; /* commandlog-request-larger-than; -1: off */
    int64_t request_len_max; /* commandlog-large-request-max-len */
    int64_t reply_bytes;     /* commandlog-reply-larger-than; -1: off */
    int64_t reply_len_max;   /* commandlog-large-reply-max-len */
    int64_t latency_ms;      /* latency-monitor-threshold; 0: off */
    bool latency_tracking;
    char latency_percentiles[CONFIG_TEXT_MAX + 1]; /* latency-tracking-info-percentiles */
    int debug_command;                             /* enable-debug-command: enum config_debug */
    int protected_configs; /* enable-protected-configs: likewise; whether CONFIG SET may name files */
    /* data */
    int64_t databases;
    int64_t key_load_delay_us;    /* key-load-delay, for tests */
    int64_t loading_events_bytes; /* loading-process-events-interval-bytes: we look at the time */
    int64_t maxmemory_bytes;      /* maxmemory; 0: no limit */
    int64_t maxmemory_clients;    /* bytes; 0: no limit; below 0: percent of maxmemory */
    int64_t hz;
    int64_t active_expire_effort;
    int64_t defrag_ignore_bytes; /* active-defrag-ignore-bytes; the others alike */
    int64_t defrag_lower_percent, defrag_upper_percent, defrag_cycle_min, defrag_cycle_max;
    int64_t defrag_scan_max;               /* active-defrag-max-scan-fields */
    int maxmemory_policy;                  /* enum config_policy */
    char requirepass[CONFIG_TEXT_MAX + 1]; /* "": none */
    /* ours */
    int64_t shards;                       /* 0: one per core */
    char shard_cpus[CONFIG_TEXT_MAX + 1]; /* read it by config_cpus */
    int io;                               /* enum config_io */
    bool shard_borrow;
    bool disable_thp; /* Redis's name, not its default: nothing here forks */
    bool activedefrag;
    /* lazyfree-*, maxmemory-eviction-tenacity: kept and shown, and there is nothing that they would change */
    bool lazy_eviction, lazy_expire, lazy_server_del, lazy_user_del, lazy_user_flush;
    /* taken, so that files of Redis load; what they are about comes later */
    bool always_show_logo, io_threads_do_reads;
    bool dynamic_hz, active_rehashing;
    bool rdb_strict; /* a file with values of modules is refused */
    bool rdb_stop_writes, rdb_compression, rdb_checksum, rdb_del_sync_files, rdb_incremental_fsync;
    bool aof_no_fsync_on_rewrite, aof_load_truncated, aof_rdb_preamble, aof_timestamps;
    bool aof_incremental_fsync;
    bool replica_serve_stale, replica_read_only, replica_lazy_flush, replica_ignore_maxmemory;
    bool repl_diskless_sync, repl_delay;
    char dir[CONFIG_TEXT_MAX + 1];      /* the absolute path of a directory that is there */
    char rdb_name[CONFIG_TEXT_MAX + 1]; /* dbfilename */
    struct config_saves save;
    char aof_name[CONFIG_TEXT_MAX + 1], aof_dir[CONFIG_TEXT_MAX + 1];
    int sanitize_dump; /* sanitize-dump-payload: kept and shown */
    int oom_score_adj, aof_fsync, repl_diskless_load;
    int64_t eviction_tenacity; /* maxmemory-eviction-tenacity */
    int64_t key_save_delay_us; /* rdb-key-save-delay, likewise */
    int64_t io_threads, maxmemory_samples, lfu_log_factor, lfu_decay_time, acl_log_len_max;
    int64_t aof_rewrite_percentage, aof_rewrite_bytes_min;
    int64_t replica_priority, repl_diskless_delay_s, repl_diskless_replicas_max;
    int64_t repl_backlog_bytes, repl_timeout_s;
    int64_t hash_listpack_entries_max, hash_listpack_bytes_max;
    int64_t list_listpack_size_max, list_compress_depth;
    int64_t set_intset_entries_max, set_listpack_entries_max, set_listpack_bytes_max;
    int64_t zset_listpack_entries_max, zset_listpack_bytes_max, hll_sparse_bytes_max;
    int64_t stream_node_bytes_max, stream_node_entries_max;
    /* where it came from */
    uint64_t given[CONFIG_ROWS_MAX / 64]; /* a bit for each row that a file or argument set */
    char file[CONFIG_TEXT_MAX + 1];       /* absolute path of the file that was named; "": none */
};

/* What is wrong, in one line without its end, ready to be printed behind "anax: " or "-ERR ". */
struct config_error {
    char text[CONFIG_ERROR_MAX];
};

void config_defaults(struct config *c);
/* config_clone: a copy on the heap, or NULL; config_free frees it. */
MUST_CHECK struct config *config_clone(const struct config *c);
void config_free(struct config *c);

/* config_parse_args: argv as main gets it: [file | -] [--name value...]...; "-" is standard input.
 * On false *e says why and *c is not to be used. The same holds for the two below. */
MUST_CHECK bool config_parse_args(struct config *c, int argc, char *const *argv,
                                  struct config_error *e);
/* config_parse_file: lines of redis.conf; `include` takes a pattern relative to the working
 * directory. */
MUST_CHECK bool config_parse_file(struct config *c, const char *path, struct config_error *e);
/* config_parse_text: as config_parse_file, of bytes in memory, where `include` is refused. `name`
 * stands for the file's name in errors. */
MUST_CHECK bool config_parse_text(struct config *c, const char *name, struct span text,
                                  struct config_error *e);

/* config_log_unused: one line in the log that names the options which were given and are not used yet,
 * if there are any. config_is_unused: is this one of them? */
void config_log_unused(const struct config *c);
bool config_is_unused(struct span name);

/* config_rewrite_text: `text`, what a file says, changed so that it says what *c holds, for malloc's
 * free(); NULL: *e says why. Lines that are right already stay byte for byte, comments and blank lines
 * too; wrong ones are replaced where they stand; further lines of an option go; what is missing comes
 * last, behind a line that says so. `path`: the file's name, for errors, when what it includes counts; "":
 * `include` lines are kept and not followed. */
MUST_CHECK char *config_rewrite_text(const struct config *c, const char *path, struct span text,
                                     size_t *len, struct config_error *e);
/* config_rewrite: the same for c->file, which is replaced at once: whatever happens meanwhile, it is
 * the old one or the new one. A file that is gone is made again. Blocks while it writes. */
MUST_CHECK bool config_rewrite(const struct config *c, struct config_error *e);

/* config_client_room: raises the process's limit of descriptors when it is too low for so many clients and the
 * system lets it; returns how many there is room for, at most `clients`. */
int64_t config_client_room(int64_t clients);
/* config_cpus: fills cpus[0..count) from shard-cpus, from its beginning again when the list is
 * shorter; false when there is no list. */
bool config_cpus(const struct config *c, int *cpus, unsigned count);

typedef void config_value_fn(void *arg, struct span name, struct span value);
/* config_get: calls fn once for each option that one of the patterns matches, in the order of the
 * table; a pattern without * ? [ is a name, and is given back as it was written, as Redis does. */
void config_get(const struct config *c, const struct span *patterns, unsigned n,
                config_value_fn *fn, void *arg);

/* config_set_many: *to becomes *from with `pairs` names and values of `words` applied, for a client on this machine, or another. On false *e
 * holds the text behind "-ERR " and *to is not to be used. */
MUST_CHECK bool config_set_many(const struct config *from, const struct span *words, unsigned pairs,
                                bool local, struct config *to, struct config_error *e);

/* config_on_change: fn is called with the new values at each CONFIG SET, by the holder of shard 0: for what
 * belongs to the process and to no shard. Before any shard starts. */
typedef void config_changed_fn(const struct config *c);
void config_on_change(config_changed_fn *fn);
/* config_changed: CONFIG SET says so, on shard 0. */
void config_changed(const struct config *c);

/* config_title: writes the process title that `template` (as of proc-title-template) gives for what *c says;
 * `title` stands for {title}. What does not fit is cut. False: the template is empty, names what is unknown
 * or does not close a brace. */
MUST_CHECK bool config_title(const struct config *c, const char *template, const char *title,
                             char *out, size_t size);

#endif
