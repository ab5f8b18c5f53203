/* config.h: the options: their names, bounds and defaults, and where their values come from.
 *
 * Why         one row declares an option; the command line, the file, CONFIG GET and SET and every
 *             error text come from it. Names and syntax are redis.conf's.
 * Threads     any: a struct config is plain values. Once shards have it it is immutable; a
 *             change is a copy that replaces it.
 * Ownership   the caller's; there is nothing inside to free, so assignment copies it.
 * Limits      texts of CONFIG_TEXT_MAX bytes, files of CONFIG_FILE_BYTES_MAX, CONFIG_FILES_MAX
 *             files by `include`, CONFIG_VALUES_MAX values per option.
 * Invariants  (1) every value lies in its bounds. (2) what config_get gives for an option that can
 *             be set is taken by config_set_many and means the same. (3) config_set_many changes
 *             all or nothing. (4) an error names the option, the value and what is allowed.
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
};

enum config_io { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_EPOLL };

enum config_policy {
    CONFIG_VOLATILE_LRU,
    CONFIG_VOLATILE_LFU,
    CONFIG_VOLATILE_RANDOM,
    CONFIG_VOLATILE_TTL,
    CONFIG_ALLKEYS_LRU,
    CONFIG_ALLKEYS_LFU,
    CONFIG_ALLKEYS_RANDOM,
    CONFIG_NOEVICTION,
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
    bool daemonize;
    char pidfile[CONFIG_TEXT_MAX + 1];
    char logfile[CONFIG_TEXT_MAX + 1];
    int loglevel; /* enum log_level */
    /* data */
    int64_t databases;
    int64_t maxmemory_bytes; /* maxmemory; 0: no limit */
    int maxmemory_policy;    /* enum config_policy */
    int64_t hz;
    int64_t active_expire_effort;
    char save[CONFIG_TEXT_MAX + 1];
    bool appendonly;
    char requirepass[CONFIG_TEXT_MAX + 1]; /* "": none */
    /* ours */
    int64_t shards;                       /* 0: one per core */
    char shard_cpus[CONFIG_TEXT_MAX + 1]; /* read it by config_cpus */
    int io;                               /* enum config_io */
    bool shard_borrow;
    bool disable_thp; /* Redis's name, not its default: nothing here forks */
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

/* config_cpus: fills cpus[0..count) from shard-cpus, from its beginning again when the list is
 * shorter; false when there is no list. */
bool config_cpus(const struct config *c, int *cpus, unsigned count);

typedef void config_value_fn(void *arg, struct span name, struct span value);
/* config_get: calls fn once for each option that one of the patterns matches, in the order of the
 * table; a pattern without * ? [ is a name, and is given back as it was written, as Redis does. */
void config_get(const struct config *c, const struct span *patterns, unsigned n,
                config_value_fn *fn, void *arg);

/* config_set_many: *to becomes *from with `pairs` names and values of `words` applied. On false *e
 * holds the text behind "-ERR " and *to is not to be used. */
MUST_CHECK bool config_set_many(const struct config *from, const struct span *words, unsigned pairs,
                                struct config *to, struct config_error *e);

#endif
