/* observe.h: what is noted about commands as they run: counts, times, errors, slow ones, events.
 *
 * Why         INFO commandstats, latencystats, errorstats, SLOWLOG, COMMANDLOG and LATENCY answer from
 *             here; who runs commands calls in here and knows nothing of them.
 * Threads     the holder of the shard. Calls, times and errors are noted where a command runs; slow
 *             commands where its connection lives, which knows the client.
 * Ownership   what is noted is copied and charged to the shard.
 * Limits      ERROR_CODES_MAX codes (all that come when only one is left count as ERROR_CODE_REST),
 *             LATENCY_SAMPLES per event, the *-max-len options for slow commands; arguments are cut as
 *             Redis cuts them. When memory is out, a note is dropped.
 * Invariants  (1) total_errors = sum of the counts of all codes. (2) ids of slow commands grow with time
 *             on each shard and differ between shards.
 */
#ifndef ANAX_OBSERVE_H
#define ANAX_OBSERVE_H

#include "shards/attr.h"
#include "shards/list.h"
#include "shards/mem.h"
#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

struct instance;
struct shard;
struct command;

enum {
    ERROR_CODES_MAX = 128,
    ERROR_CODE_BYTES = 32,
    LATENCY_SAMPLES = 160,
    SLOW_ARGS_MAX = 32,       /* of a command; of more, the last place says how many */
    SLOW_ARG_BYTES_MAX = 128, /* of an argument; of a longer one, what follows says how many */
    HISTOGRAM_SUB_BITS = 3,   /* 8 buckets to each doubling: within 12.5% */
    HISTOGRAM_BUCKETS = 42 << HISTOGRAM_SUB_BITS, /* up to 2^44 ns, five hours */
};

/* Times in ns: a bucket for each of 0..15, then 8 for each doubling. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

unsigned histogram_bucket(uint64_t ns);
/* histogram_floor: the smallest time of a bucket. */
uint64_t histogram_floor(unsigned bucket);

struct command_stats {
    uint64_t calls, rejected, failed, ns;
    struct histogram *times; /* made at the first call, when latency-tracking is on */
};

enum slow_kind { SLOW_TIME, SLOW_REQUEST, SLOW_REPLY, SLOW_KINDS };

/* A slow command: one allocation; args point behind it. */
struct slow {
    struct list link;
    uint64_t id;
    int64_t wall_us;
    int64_t value; /* microseconds, or bytes */
    struct span client, name;
    uint32_t argc;
    size_t bytes; /* of the allocation */
    struct span args[];
};

struct slow_log {
    struct list entries;  /* newest first */
    uint64_t count, next; /* how many; how many there ever were */
};

enum latency_event {
    LATENCY_COMMAND, /* not declared fast */
    LATENCY_FAST_COMMAND,
    LATENCY_EXPIRE_CYCLE,
    LATENCY_LAZYFREE,
    LATENCY_EVICTION_CYCLE,
    LATENCY_EVICTION_DEL,
    LATENCY_DEFRAG_CYCLE,
    LATENCY_TABLE_GROWTH,
    LATENCY_LOOP_TURN,
    LATENCY_EVENTS
};
extern const char *const latency_event_names[LATENCY_EVENTS]; /* Redis's where it has one */

struct latency_sample {
    int64_t wall_s;
    uint32_t ms;
};

/* A ring of samples, one per second at most: the worst of that second. */
struct latency_series {
    struct latency_sample *samples; /* LATENCY_SAMPLES, made at the first */
    unsigned next, count;
    uint32_t max_ms;
};

/* The code of all errors that found no place of their own. */
#define ERROR_CODE_REST "ERRORSTATS_OVERFLOW"

struct error_count {
    char code[ERROR_CODE_BYTES]; /* zeros behind it */
    uint64_t count;
};

struct observed {
    struct error_count errors[ERROR_CODES_MAX];
    unsigned error_codes;
    uint64_t total_errors;
    struct slow_log slow[SLOW_KINDS];
    struct latency_series latency[LATENCY_EVENTS];
};

/* observe_start, observe_stop: with the instance. */
void observe_start(struct instance *in);
void observe_stop(struct instance *in, struct mem *m);
/* observe_reset_stats: CONFIG RESETSTAT: calls, times, errors; slow commands and events stay. */
void observe_reset_stats(struct instance *in, struct mem *m);
/* observe_reset_slow, observe_reset_latency: SLOWLOG RESET, LATENCY RESET of one. */
void observe_reset_slow(struct slow_log *log, struct mem *m);
void observe_reset_latency(struct latency_series *series, struct mem *m);

/* observe_calls: `calls` calls (one at least) of a command took `ns` together; each counts for its share.
 * O(1). Notes a latency event when the share reaches latency-monitor-threshold. */
void observe_calls(struct shard *s, const struct command *cmd, uint64_t calls,
                   uint64_t ns) ON_SHARD;
/* observe_error: an error reply, from behind its '-'. `rejected`: the command did not run; cmd may be NULL.
 */
void observe_error(struct shard *s, const struct command *cmd, bool rejected,
                   struct span text) ON_SHARD;
/* observe_slow: of kind `kind` with `value`, cut and stored; arguments that must not be seen become
 * "(redacted)". An argument whose ptr is NULL is gone, only its length is told. */
void observe_slow(struct shard *s, enum slow_kind kind, int64_t value, const struct command *cmd,
                  const struct span *argv, uint32_t argc, struct span client,
                  struct span name) ON_SHARD;
/* observe_redacts: must argument i of this call (AUTH, HELLO, CONFIG SET requirepass, ...) be hidden from
 * SLOWLOG and MONITOR? */
bool observe_redacts(const struct command *cmd, const struct span *argv, uint32_t argc, uint32_t i);
/* observe_event: took this long; nothing when latency-monitor-threshold is 0 or higher. */
void observe_event(struct shard *s, enum latency_event event, uint64_t ns) ON_SHARD;

#endif
