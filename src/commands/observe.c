/* observe.c: what is noted about commands as they run. See anax/observe.h. */
#include "anax/observe.h"
#include "anax/instance.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include <ctype.h>
#include <stdio.h>

#define NS_PER_MS 1000000ULL

const char *const latency_event_names[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] = "command",
    [LATENCY_FAST_COMMAND] = "fast-command",
    [LATENCY_EXPIRE_CYCLE] = "expire-cycle",
    [LATENCY_LAZYFREE] = "lazyfree",
    [LATENCY_DEFRAG_CYCLE] = "active-defrag-cycle",
    [LATENCY_EVICTION_CYCLE] = "eviction-cycle",
    [LATENCY_EVICTION_DEL] = "eviction-del",
    [LATENCY_TABLE_GROWTH] = "table-growth",
    [LATENCY_LOOP_TURN] = "loop-turn",
};

/* --- times --- */

enum { HISTOGRAM_EXACT = 2 << HISTOGRAM_SUB_BITS }; /* the times that have a bucket each */

unsigned histogram_bucket(uint64_t ns) {
    if (ns < HISTOGRAM_EXACT)
        return (unsigned)ns;
    /* The top bit, and the HISTOGRAM_SUB_BITS bits behind it. */
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    unsigned bucket = (shift << HISTOGRAM_SUB_BITS) + (unsigned)(ns >> shift);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_floor(unsigned bucket) {
    ASSERT(bucket < HISTOGRAM_BUCKETS);
    if (bucket < HISTOGRAM_EXACT)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t top = bucket - (shift << HISTOGRAM_SUB_BITS);
    return top << shift;
}

void observe_calls(struct shard *s, const struct command *cmd, uint64_t calls, uint64_t ns) {
    struct instance *in = instance_of(s);
    const struct config *config = in->config;
    struct command_stats *stats = &in->commands[cmd->id];
    uint64_t share = ns / calls;
    stats->calls += calls;
    stats->ns += ns;
    if (config->latency_tracking) {
        if (unlikely(stats->times == NULL))
            stats->times = mem_zalloc(&s->mem, sizeof *stats->times);
        if (likely(stats->times != NULL))
            stats->times->buckets[histogram_bucket(share)] += calls;
    }
    if (unlikely(config->latency_ms != 0))
        observe_event(s, cmd->flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, share);
}

/* --- errors --- */

/* read_code: the word before the first space; "ERR" when there is none. INFO prints it into a line of its
 * own syntax, so other bytes than those of a word become '_'. */
static void read_code(struct span text, char code[ERROR_CODE_BYTES]) {
    const char *space =
        memchr(text.ptr, ' ', text.len < ERROR_CODE_BYTES ? text.len : ERROR_CODE_BYTES);
    struct span word = SPAN("ERR");
    if (space != NULL && space != text.ptr)
        word = (struct span){text.ptr, (size_t)(space - text.ptr)};
    memset(code, 0, ERROR_CODE_BYTES);
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        code[i] = (char)(isalnum(c) || c == '-' || c == '.' ? c : '_');
    }
}

/* place_of: where this code is counted: the last place is for all that find no other. */
static struct error_count *place_of(struct observed *o, const char code[ERROR_CODE_BYTES]) {
    for (unsigned i = 0; i < o->error_codes; i++)
        if (memcmp(o->errors[i].code, code, ERROR_CODE_BYTES) == 0)
            return &o->errors[i];
    if (o->error_codes == ERROR_CODES_MAX)
        return &o->errors[ERROR_CODES_MAX - 1];
    struct error_count *e = &o->errors[o->error_codes++];
    if (o->error_codes == ERROR_CODES_MAX)
        memcpy(e->code, ERROR_CODE_REST, sizeof ERROR_CODE_REST);
    else
        memcpy(e->code, code, ERROR_CODE_BYTES);
    return e;
}

void observe_error(struct shard *s, const struct command *cmd, bool rejected, struct span text) {
    struct instance *in = instance_of(s);
    char code[ERROR_CODE_BYTES];
    read_code(text, code);
    place_of(&in->observed, code)->count++;
    in->observed.total_errors++;
    if (cmd == NULL)
        return;
    if (rejected)
        in->commands[cmd->id].rejected++;
    else
        in->commands[cmd->id].failed++;
}

/* --- slow commands --- */

/* config_secret: options whose value CONFIG SET must not leave in a log. */
static bool config_secret(struct span name) {
    static const char *const names[] = {"requirepass",
                                        "masterauth",
                                        "primaryauth",
                                        "masteruser",
                                        "primaryuser",
                                        "tls-key-file-pass",
                                        "tls-client-key-file-pass"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

/* after_word: does `word` stand `back` arguments before i, behind argument `from`? */
static bool after_word(const struct span *argv, uint32_t i, uint32_t from, uint32_t back,
                       const char *word) {
    return i > from + back && span_is(argv[i - back], word);
}

/* What an unfinished or wrong call shows of a password is hidden too, which Redis does not always do. */
bool observe_redacts(const struct command *cmd, const struct span *argv, uint32_t argc,
                     uint32_t i) {
    ASSERT(i < argc);
    const char *name = cmd->name;
    if (i == 0)
        return false;
    if (strcmp(name, "AUTH") == 0)
        return true;
    if (strcmp(name, "HELLO") == 0)
        return after_word(argv, i, 1, 1, "AUTH") || after_word(argv, i, 1, 2, "AUTH");
    if (strcmp(name, "CONFIG|SET") == 0)
        return i >= 3 && i % 2 == 1 && config_secret(argv[i - 1]);
    if (strcmp(name, "ACL|SETUSER") == 0)
        return i >= 2;
    if (strcmp(name, "MIGRATE") == 0)
        return after_word(argv, i, 5, 1, "AUTH") || after_word(argv, i, 5, 1, "AUTH2") ||
               after_word(argv, i, 5, 2, "AUTH2");
    return false;
}

/* An argument as it is stored: some of its bytes, and a text that says how many more there were. */
struct cut {
    struct span head;
    char tail[48];
    size_t tail_len;
};

static void cut_tail(struct cut *c, size_t more, const char *of_what) {
    int n = snprintf(c->tail, sizeof c->tail, "... (%zu more %s)", more, of_what);
    ASSERT(n > 0 && (size_t)n < sizeof c->tail);
    c->tail_len = (size_t)n;
}

static void cut_arg(struct cut *c, struct span arg) {
    size_t keep = arg.len < SLOW_ARG_BYTES_MAX ? arg.len : SLOW_ARG_BYTES_MAX;
    if (arg.ptr == NULL)
        keep = 0;
    c->head = (struct span){arg.ptr, keep};
    c->tail_len = 0;
    if (arg.len > keep)
        cut_tail(c, arg.len - keep, "bytes");
}

/* cut_args: returns how many there are then. */
static uint32_t cut_args(const struct command *cmd, const struct span *argv, uint32_t argc,
                         struct cut cuts[SLOW_ARGS_MAX]) {
    uint32_t n = argc < SLOW_ARGS_MAX ? argc : SLOW_ARGS_MAX;
    for (uint32_t i = 0; i < n; i++) {
        if (n < argc && i == n - 1) {
            cuts[i].head.len = 0;
            cut_tail(&cuts[i], argc - n + 1, "arguments");
        } else {
            cut_arg(&cuts[i], observe_redacts(cmd, argv, argc, i) ? SPAN("(redacted)") : argv[i]);
        }
    }
    return n;
}

static char *put(char *to, struct span s) {
    if (s.len > 0)
        memcpy(to, s.ptr, s.len);
    return to + s.len;
}

static struct slow *slow_create(struct mem *m, const struct cut *cuts, uint32_t n,
                                struct span client, struct span name) {
    size_t bytes = sizeof(struct slow) + n * sizeof(struct span) + client.len + name.len;
    for (uint32_t i = 0; i < n; i++)
        bytes += cuts[i].head.len + cuts[i].tail_len;
    struct slow *e = mem_alloc(m, bytes);
    if (e == NULL)
        return NULL;
    char *to = (char *)&e->args[n];
    e->bytes = bytes;
    e->argc = n;
    for (uint32_t i = 0; i < n; i++) {
        e->args[i] = (struct span){to, cuts[i].head.len + cuts[i].tail_len};
        to = put(to, cuts[i].head);
        to = put(to, (struct span){cuts[i].tail, cuts[i].tail_len});
    }
    e->client = (struct span){to, client.len};
    to = put(to, client);
    e->name = (struct span){to, name.len};
    to = put(to, name);
    ASSERT(to == (char *)e + bytes);
    return e;
}

static void slow_trim(struct slow_log *log, struct mem *m, uint64_t keep) {
    for (; log->count > keep; log->count--) {
        struct slow *oldest = CONTAINER_OF(log->entries.prev, struct slow, link);
        list_del(&oldest->link);
        mem_free(m, oldest, oldest->bytes);
    }
}

void observe_slow(struct shard *s, enum slow_kind kind, int64_t value, const struct command *cmd,
                  const struct span *argv, uint32_t argc, struct span client, struct span name) {
    const struct instance *in = instance_of(s);
    const int64_t max[SLOW_KINDS] = {in->config->slow_len_max, in->config->request_len_max,
                                     in->config->reply_len_max};
    struct slow_log *log = &instance_of(s)->observed.slow[kind];
    struct cut cuts[SLOW_ARGS_MAX];
    uint32_t n = cut_args(cmd, argv, argc, cuts);
    struct slow *e = slow_create(&s->mem, cuts, n, client, name);
    if (e == NULL)
        return;
    e->id = log->next++ * shards_count(s->all) + s->id;
    e->wall_us = clock_wall_us();
    e->value = value;
    list_add_tail(log->entries.next, &e->link); /* before the first */
    log->count++;
    slow_trim(log, &s->mem, (uint64_t)max[kind]);
}

void observe_reset_slow(struct slow_log *log, struct mem *m) {
    slow_trim(log, m, 0);
}

/* --- events --- */

void observe_event(struct shard *s, enum latency_event event, uint64_t ns) {
    struct instance *in = instance_of(s);
    struct latency_series *series = &in->observed.latency[event];
    uint64_t limit_ms = (uint64_t)in->config->latency_ms, ms = ns / NS_PER_MS;
    if (limit_ms == 0 || ms < limit_ms)
        return;
    if (series->samples == NULL) {
        series->samples = mem_alloc(&s->mem, LATENCY_SAMPLES * sizeof *series->samples);
        if (series->samples == NULL)
            return;
    }
    uint32_t shown_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
    int64_t wall_s = clock_wall_us() / 1000000;
    if (shown_ms > series->max_ms)
        series->max_ms = shown_ms;
    struct latency_sample *last =
        &series->samples[(series->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
    if (series->count > 0 && last->wall_s == wall_s) {
        if (shown_ms > last->ms)
            last->ms = shown_ms;
        return;
    }
    series->samples[series->next] = (struct latency_sample){wall_s, shown_ms};
    series->next = (series->next + 1) % LATENCY_SAMPLES;
    if (series->count < LATENCY_SAMPLES)
        series->count++;
}

void observe_reset_latency(struct latency_series *series, struct mem *m) {
    mem_free(m, series->samples, LATENCY_SAMPLES * sizeof *series->samples);
    *series = (struct latency_series){0};
}

/* --- begin and end --- */

void observe_start(struct instance *in) {
    for (unsigned i = 0; i < SLOW_KINDS; i++)
        list_init(&in->observed.slow[i].entries);
}

void observe_reset_stats(struct instance *in, struct mem *m) {
    for (unsigned i = 0; i < COMMANDS_MAX; i++) {
        mem_free(m, in->commands[i].times, sizeof *in->commands[i].times);
        in->commands[i] = (struct command_stats){0};
    }
    in->observed.error_codes = 0;
    in->observed.total_errors = 0;
    memset(in->observed.errors, 0, sizeof in->observed.errors);
}

void observe_stop(struct instance *in, struct mem *m) {
    observe_reset_stats(in, m);
    for (unsigned i = 0; i < SLOW_KINDS; i++)
        observe_reset_slow(&in->observed.slow[i], m);
    for (unsigned i = 0; i < LATENCY_EVENTS; i++)
        observe_reset_latency(&in->observed.latency[i], m);
}
