/* latency.c: LATENCY: what took long, and how long commands take.
 *
 * Every shard writes its series of all events, each as a head and the samples behind it, oldest first; at
 * home the series of one event are merged into one, in which a second stands once with its worst sample.
 */
#include "admin_impl.h"
#include "anax/instance.h"
#include "shards/assert.h"
#include <stdio.h>
#include <unistd.h>

static bool find_event(struct span name, enum latency_event *event) {
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        if (span_is(name, latency_event_names[i])) {
            *event = (enum latency_event)i;
            return true;
        }
    }
    return false;
}

/* --- the series of all shards --- */

struct series_head {
    uint32_t count, max_ms;
};

struct merged {
    struct latency_sample samples[LATENCY_SAMPLES]; /* oldest first */
    unsigned count;
    uint32_t max_ms;
};

static ON_SHARD void series_each(struct ctx *c) {
    for (unsigned event = 0; event < LATENCY_EVENTS; event++) {
        const struct latency_series *s = &instance_of(c->shard)->observed.latency[event];
        struct series_head head = {s->count, s->max_ms};
        outbuf_add(c->reply.out, (const char *)&head, sizeof head);
        for (unsigned i = 0; i < s->count; i++) {
            unsigned at = (s->next + LATENCY_SAMPLES - s->count + i) % LATENCY_SAMPLES;
            outbuf_add(c->reply.out, (const char *)&s->samples[at], sizeof s->samples[at]);
        }
    }
}

/* find_series: where the samples of an event begin in a part. */
static const char *find_series(const struct outbuf *part, enum latency_event event,
                               struct series_head *head) {
    const char *at = part->buf;
    for (unsigned i = 0;; i++) {
        memcpy(head, at, sizeof *head);
        at += sizeof *head;
        if (i == event)
            return at;
        at += head->count * sizeof(struct latency_sample);
    }
}

/* What is left to merge of a shard's series: its first `left` samples. */
struct rest {
    const char *samples;
    uint32_t left;
};

static bool newest_of(const struct rest *r, struct latency_sample *out) {
    if (r->left == 0)
        return false;
    memcpy(out, r->samples + (r->left - 1) * sizeof *out, sizeof *out);
    return true;
}

/* take_second: the newest second of all rests, with the worst of it. */
static bool take_second(struct rest *rests, unsigned n, struct latency_sample *out) {
    struct latency_sample s;
    bool any = false;
    for (unsigned i = 0; i < n; i++) {
        if (newest_of(&rests[i], &s) && (!any || s.wall_s > out->wall_s)) {
            *out = s;
            any = true;
        }
    }
    for (unsigned i = 0; any && i < n; i++) {
        if (!newest_of(&rests[i], &s) || s.wall_s != out->wall_s)
            continue;
        out->ms = s.ms > out->ms ? s.ms : out->ms;
        rests[i].left--;
    }
    return any;
}

static void merge(struct outbuf *const *parts, unsigned n, enum latency_event event,
                  struct merged *out) {
    struct rest rests[SHARDS_MAX];
    struct series_head head;
    out->count = out->max_ms = 0;
    for (unsigned i = 0; i < n; i++) {
        rests[i].samples = find_series(parts[i], event, &head);
        rests[i].left = head.count;
        out->max_ms = head.max_ms > out->max_ms ? head.max_ms : out->max_ms;
    }
    while (out->count < LATENCY_SAMPLES && take_second(rests, n, &out->samples[out->count]))
        out->count++;
    for (unsigned i = 0; i < out->count / 2; i++) {
        struct latency_sample s = out->samples[i];
        out->samples[i] = out->samples[out->count - 1 - i];
        out->samples[out->count - 1 - i] = s;
    }
}

/* --- LATEST, HISTORY, RESET --- */

static void latest_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct merged all[LATENCY_EVENTS];
    size_t known = 0;
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        merge(parts, n, (enum latency_event)i, &all[i]);
        known += all[i].count != 0;
    }
    reply_array(&c->reply, known);
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        if (all[i].count == 0)
            continue;
        const struct latency_sample *last = &all[i].samples[all[i].count - 1];
        reply_array(&c->reply, 4);
        reply_bulk_cstr(&c->reply, latency_event_names[i]);
        reply_int(&c->reply, last->wall_s);
        reply_int(&c->reply, last->ms);
        reply_int(&c->reply, all[i].max_ms);
    }
}

static void history_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct merged m = {.count = 0};
    enum latency_event event;
    if (find_event(c->argv[2], &event))
        merge(parts, n, event, &m);
    reply_array(&c->reply, m.count);
    for (unsigned i = 0; i < m.count; i++) {
        reply_array(&c->reply, 2);
        reply_int(&c->reply, m.samples[i].wall_s);
        reply_int(&c->reply, m.samples[i].ms);
    }
}

/* reset_each: writes a bit for each event that had samples here. */
static ON_SHARD void reset_each(struct ctx *c) {
    uint64_t wanted = c->argc == 2 ? (1U << LATENCY_EVENTS) - 1 : 0, reset = 0;
    enum latency_event named;
    for (uint32_t i = 2; i < c->argc; i++)
        if (find_event(c->argv[i], &named))
            wanted |= 1U << named;
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        struct latency_series *s = &instance_of(c->shard)->observed.latency[i];
        if (!(wanted & 1U << i) || s->count == 0)
            continue;
        observe_reset_latency(s, &c->shard->mem);
        reset |= 1U << i;
    }
    outbuf_add(c->reply.out, (const char *)&reset, sizeof reset);
}

static void reset_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    uint64_t all = 0, some;
    for (unsigned i = 0; i < n; i++) {
        memcpy(&some, parts[i]->buf, sizeof some);
        all |= some;
    }
    reply_int(&c->reply, __builtin_popcountll(all));
}

/* --- GRAPH --- */

/* A column per sample, GRAPH_ROWS high and in each row one of three marks, with its age below. */
enum { GRAPH_COLUMNS = 80, GRAPH_ROWS = 4, GRAPH_MARKS = 3, AGE_BYTES = 24 };

struct graph {
    const struct latency_sample *samples;
    unsigned count;
    uint32_t high, low;
    int64_t now_s;
};

static void graph_range(struct graph *g) {
    g->high = 0;
    g->low = UINT32_MAX;
    for (unsigned i = 0; i < g->count; i++) {
        g->high = g->samples[i].ms > g->high ? g->samples[i].ms : g->high;
        g->low = g->samples[i].ms < g->low ? g->samples[i].ms : g->low;
    }
}

/* graph_mark: what stands in a row (0: the lowest) of a sample's column. */
static char graph_mark(const struct graph *g, uint32_t ms, unsigned row) {
    static const char marks[GRAPH_MARKS] = {'_', 'o', '#'};
    uint64_t steps = GRAPH_ROWS * GRAPH_MARKS - 1, range = g->high - g->low;
    uint64_t height = range == 0 ? 0 : (ms - g->low) * steps / range;
    if (row == height / GRAPH_MARKS)
        return marks[height % GRAPH_MARKS];
    return row < height / GRAPH_MARKS ? '#' : ' ';
}

static size_t age_text(int64_t age_s, char text[AGE_BYTES]) {
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    age_s = age_s < 0 ? 0 : age_s; /* the clock went back */
    while (i + 1 < COUNT_OF(units) && age_s < units[i].seconds)
        i++;
    return (size_t)snprintf(text, AGE_BYTES, "%ld%c", (long)(age_s / units[i].seconds),
                            units[i].unit);
}

/* graph_ages: read from top to bottom. */
static void graph_ages(const struct graph *g, struct outbuf *out) {
    char text[AGE_BYTES];
    bool more = true;
    for (size_t row = 0; more; row++) {
        char line[GRAPH_COLUMNS];
        more = false;
        for (unsigned i = 0; i < g->count; i++) {
            size_t len = age_text(g->now_s - g->samples[i].wall_s, text);
            line[i] = row < len ? text[row] : ' ';
            more |= row < len;
        }
        if (more)
            outbuf_printf(out, "%.*s\n", (int)g->count, line);
    }
}

static void graph_draw(const struct graph *g, struct outbuf *out) {
    for (unsigned row = GRAPH_ROWS; row-- > 0;) {
        for (unsigned i = 0; i < g->count; i++)
            outbuf_printf(out, "%c", graph_mark(g, g->samples[i].ms, row));
        outbuf_printf(out, "\n");
    }
    graph_ages(g, out);
}

static void graph_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct merged m = {.count = 0};
    enum latency_event event;
    struct outbuf text;
    if (find_event(c->argv[2], &event))
        merge(parts, n, event, &m);
    if (m.count == 0) {
        reply_errorf(&c->reply, "ERR No samples available for event '%.*s'", (int)c->argv[2].len,
                     c->argv[2].ptr);
        return;
    }
    unsigned shown = m.count < GRAPH_COLUMNS ? m.count : GRAPH_COLUMNS;
    struct graph g = {
        .samples = m.samples + m.count - shown, .count = shown, .now_s = c->now_ms / 1000};
    graph_range(&g);
    outbuf_init(&text, &c->shard->mem);
    outbuf_printf(&text, "%s - high %u ms, low %u ms (all time high %u ms)\n",
                  latency_event_names[event], g.high, g.low, m.max_ms);
    for (unsigned i = 0; i < GRAPH_COLUMNS; i++)
        outbuf_printf(&text, "-");
    outbuf_printf(&text, "\n");
    graph_draw(&g, &text);
    ctx_reply_text(c, &text);
}

/* --- DOCTOR --- */

struct report {
    const struct config *config;
    struct outbuf text;
    unsigned shards;
    long cores;
    int64_t now_s;
};

static uint32_t worst(const struct merged *m) {
    uint32_t ms = 0;
    for (unsigned i = 0; i < m->count; i++)
        ms = m->samples[i].ms > ms ? m->samples[i].ms : ms;
    return ms;
}

static void print_event(struct report *r, enum latency_event event, const struct merged *m) {
    uint64_t sum = 0, deviation = 0;
    for (unsigned i = 0; i < m->count; i++)
        sum += m->samples[i].ms;
    uint64_t average = sum / m->count;
    for (unsigned i = 0; i < m->count; i++)
        deviation +=
            m->samples[i].ms > average ? m->samples[i].ms - average : average - m->samples[i].ms;
    int64_t watched_s = r->now_s - m->samples[0].wall_s;
    outbuf_printf(
        &r->text,
        "- %s: %u spikes (average %lu ms, mean deviation %lu ms, period %.2f s), worst %u ms, all "
        "time high %u ms\n",
        latency_event_names[event], m->count, (unsigned long)average,
        (unsigned long)(deviation / m->count), watched_s <= 0 ? 0.0 : (double)watched_s / m->count,
        worst(m), m->max_ms);
}

static void advise_command(struct report *r, const struct merged *m) {
    int64_t worst_us = (int64_t)worst(m) * 1000, from_us = r->config->latency_ms * 1000;
    if (from_us == 0 || from_us > worst_us)
        from_us = worst_us;
    if (r->config->slow_us < 0)
        outbuf_printf(
            &r->text,
            "- command: the slow log is off; CONFIG SET slowlog-log-slower-than %ld will show "
            "which "
            "commands these are.\n",
            (long)from_us);
    else if (r->config->slow_us > worst_us)
        outbuf_printf(
            &r->text,
            "- command: the slow log has none of these, since slowlog-log-slower-than is %ld; "
            "CONFIG "
            "SET slowlog-log-slower-than %ld will show them.\n",
            (long)r->config->slow_us, (long)from_us);
    else
        outbuf_printf(&r->text, "- command: SLOWLOG GET shows which commands these are.\n");
    outbuf_printf(&r->text,
                  "- command: what goes through all keys or large values takes its time: SCAN in "
                  "place of KEYS, FLUSHALL without SYNC, smaller values.\n");
}

static void advise_fast_command(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(&r->text,
                  "- fast-command: these commands are always short, so the machine was busy with "
                  "something else: other processes on the same cores, a container's CPU limit "
                  "(nr_throttled in cpu.stat), swapping (si and so of vmstat).\n");
    if (r->cores > 0 && r->shards > (unsigned long)r->cores)
        outbuf_printf(
            &r->text,
            "- fast-command: %u shards take turns on %ld cores; start with --shards %ld.\n",
            r->shards, r->cores, r->cores);
}

static void advise_expire_cycle(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(&r->text,
                  "- expire-cycle: many keys expire at the same time; a random part in their times "
                  "spreads the work.\n");
    if (r->config->active_expire_effort > 1)
        outbuf_printf(&r->text,
                      "- expire-cycle: active-expire-effort is %ld; 1 does less of it at once.\n",
                      (long)r->config->active_expire_effort);
}

static void advise_lazyfree(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(&r->text,
                  "- lazyfree: freeing what was flushed takes long for the memory it gives back; "
                  "large values can be deleted one by one instead.\n");
}

static void advise_eviction_cycle(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(&r->text, "- eviction-cycle: more memory was in use than maxmemory allows, and "
                            "much had to go at once; look for "
                            "clients whose buffers grow, or raise maxmemory.\n");
}

static void advise_eviction_del(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(&r->text, "- eviction-del: finding a key to evict took long; volatile policies "
                            "search where few keys have a "
                            "time: an allkeys policy finds one at once.\n");
}

static void advise_defrag_cycle(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(
        &r->text,
        "- active-defrag-cycle: a slice of moving things in memory took this long, which it does "
        "when the shard's thread has to wait for a core.\n");
}

static void advise_table_growth(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(
        &r->text,
        "- table-growth: a step of growth is short unless the system is slow to give memory: "
        "look for swapping and for memory limits that are close.\n");
    if (!r->config->disable_thp)
        outbuf_printf(&r->text, "- table-growth: huge pages are cleared when they are first used; "
                                "disable-thp yes does without them.\n");
}

static void advise_loop_turn(struct report *r, const struct merged *m) {
    (void)m;
    outbuf_printf(&r->text,
                  "- loop-turn: a shard had this much to do before it looked at its sockets again; "
                  "shorter pipelines and smaller replies help.\n");
    if (r->cores > 0 && r->shards < (unsigned long)r->cores)
        outbuf_printf(&r->text, "- loop-turn: %u of %ld cores are used; --shards %ld uses all.\n",
                      r->shards, r->cores, r->cores);
}

static void (*const advise[LATENCY_EVENTS])(struct report *r, const struct merged *m) = {
    [LATENCY_COMMAND] = advise_command,
    [LATENCY_FAST_COMMAND] = advise_fast_command,
    [LATENCY_EXPIRE_CYCLE] = advise_expire_cycle,
    [LATENCY_LAZYFREE] = advise_lazyfree,
    [LATENCY_DEFRAG_CYCLE] = advise_defrag_cycle,
    [LATENCY_TABLE_GROWTH] = advise_table_growth,
    [LATENCY_EVICTION_CYCLE] = advise_eviction_cycle,
    [LATENCY_EVICTION_DEL] = advise_eviction_del,
    [LATENCY_LOOP_TURN] = advise_loop_turn,
};

static void print_nothing(struct report *r) {
    if (r->config->latency_ms == 0)
        outbuf_printf(&r->text,
                      "Latency is not watched. CONFIG SET latency-monitor-threshold <milliseconds> "
                      "begins to note what takes as long or longer; 100 is a good start.\n");
    else
        outbuf_printf(
            &r->text,
            "Nothing has taken %ld ms or longer. CONFIG SET latency-monitor-threshold with a "
            "lower number shows more.\n",
            (long)r->config->latency_ms);
}

static void doctor_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct merged all[LATENCY_EVENTS];
    struct report r = {.config = instance_of(c->shard)->config,
                       .shards = n,
                       .cores = sysconf(_SC_NPROCESSORS_ONLN),
                       .now_s = c->now_ms / 1000};
    bool any = false;
    outbuf_init(&r.text, &c->shard->mem);
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        merge(parts, n, (enum latency_event)i, &all[i]);
        if (all[i].count != 0 && !any)
            outbuf_printf(&r.text, "These took long:\n\n");
        any |= all[i].count != 0;
        if (all[i].count != 0)
            print_event(&r, (enum latency_event)i, &all[i]);
    }
    if (any)
        outbuf_printf(&r.text, "\nWhat can be done:\n\n");
    else
        print_nothing(&r);
    for (unsigned i = 0; i < LATENCY_EVENTS; i++)
        if (all[i].count != 0)
            advise[i](&r, &all[i]);
    ctx_reply_text(c, &r.text);
}

/* --- HISTOGRAM --- */

/* Calls by the power of two that their time stays below: 1024 ns, 2048 ns, ... Redis gives these bounds in
 * microseconds, as the largest time that its own buckets cannot tell from the bound: a 128th more. */
enum { LEVEL_FIRST_BITS = 10, LEVELS = 35 };

struct times {
    uint64_t id; /* of the command */
    uint64_t calls[LEVELS];
};

static int64_t level_us(unsigned level) {
    uint64_t bound_ns = 1ULL << (LEVEL_FIRST_BITS + level);
    return (int64_t)((bound_ns + bound_ns / 128 - 1) / 1000);
}

static unsigned level_of(uint64_t ns) {
    if (ns < 1U << LEVEL_FIRST_BITS)
        return 0;
    unsigned level = 64U - (unsigned)__builtin_clzll(ns) - LEVEL_FIRST_BITS;
    ASSERT(level < LEVELS);
    return level;
}

/* is_asked: by its own name, or by its container's. */
static bool is_asked(const struct ctx *c, const struct command *cmd) {
    const struct command *container = command_at(cmd->parent);
    for (uint32_t i = 2; i < c->argc; i++)
        if (span_is(c->argv[i], cmd->name) || span_is(c->argv[i], container->name))
            return true;
    return c->argc == 2;
}

static ON_SHARD void histogram_each(struct ctx *c) {
    const struct instance *in = instance_of(c->shard);
    for (unsigned id = 0; id < command_count(); id++) {
        const struct histogram *h = in->commands[id].times;
        if (h == NULL || !is_asked(c, command_at(id)))
            continue;
        struct times t = {.id = id};
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
            if (h->buckets[i] != 0)
                t.calls[level_of(histogram_floor(i))] += h->buckets[i];
        outbuf_add(c->reply.out, (const char *)&t, sizeof t);
    }
}

/* Parts are in the order of ids; where merging has come to in each. */
struct times_merge {
    struct outbuf *const *parts;
    unsigned n;
    size_t at[SHARDS_MAX];
};

static bool peek_times(const struct times_merge *m, unsigned part, struct times *out) {
    if (m->parts[part]->len - m->at[part] < sizeof *out)
        return false;
    memcpy(out, m->parts[part]->buf + m->at[part], sizeof *out);
    return true;
}

/* next_times: the sum of all shards for the next command. */
static bool next_times(struct times_merge *m, struct times *sum) {
    struct times t;
    *sum = (struct times){.id = UINT64_MAX};
    for (unsigned i = 0; i < m->n; i++)
        if (peek_times(m, i, &t) && t.id < sum->id)
            sum->id = t.id;
    for (unsigned i = 0; i < m->n; i++) {
        if (!peek_times(m, i, &t) || t.id != sum->id)
            continue;
        m->at[i] += sizeof t;
        for (unsigned level = 0; level < LEVELS; level++)
            sum->calls[level] += t.calls[level];
    }
    return sum->id != UINT64_MAX;
}

static void reply_times(struct ctx *c, const struct times *t) {
    char name[COMMAND_NAME_MAX + 1];
    uint64_t calls = 0;
    size_t used = 0;
    for (unsigned i = 0; i < LEVELS; i++) {
        calls += t->calls[i];
        used += t->calls[i] != 0;
    }
    command_name_lower(command_at((unsigned)t->id), name);
    reply_bulk_cstr(&c->reply, name);
    reply_map(&c->reply, 2);
    reply_bulk_cstr(&c->reply, "calls");
    reply_int(&c->reply, (int64_t)calls);
    reply_bulk_cstr(&c->reply, "histogram_usec");
    reply_map(&c->reply, used);
    calls = 0;
    for (unsigned i = 0; i < LEVELS; i++) {
        if (t->calls[i] == 0)
            continue;
        calls += t->calls[i];
        reply_int(&c->reply, level_us(i));
        reply_int(&c->reply, (int64_t)calls);
    }
}

static void histogram_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct times_merge counting = {.parts = parts, .n = n}, m = counting;
    struct times t;
    size_t commands = 0;
    while (next_times(&counting, &t))
        commands++;
    reply_map(&c->reply, commands);
    while (next_times(&m, &t))
        reply_times(c, &t);
}

/* --- rows --- */

#define GROUP      "server"
#define FLAGS      (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FANOUT)
#define TIPS       "nondeterministic_output request_policy:all_nodes response_policy:special"
#define TIPS_RESET "request_policy:all_nodes response_policy:agg_sum"

static const struct command rows[] = {
    {"LATENCY", command_container_run, -2, NO_KEYS, CMD_CONTAINER, 0, GROUP, "2.8.13",
     "Depends on subcommand.", "Holds the commands about latency."},
    {"LATENCY|DOCTOR", NULL, 2, NO_KEYS, FLAGS, 0, GROUP, "2.8.13", "O(1)",
     "Tells what took long and what can be done about it.", .each = series_each,
     .gather = doctor_gather, .tips = TIPS},
    {"LATENCY|GRAPH", NULL, 3, NO_KEYS, FLAGS, 0, GROUP, "2.8.13", "O(1)",
     "Draws the spikes of an event.", .each = series_each, .gather = graph_gather, .tips = TIPS,
     .syntax = "event"},
    {"LATENCY|HISTOGRAM", NULL, -2, NO_KEYS, FLAGS, 0, GROUP, "7.0.0", "O(N) in the commands",
     "Returns how long the calls of commands took.", .each = histogram_each,
     .gather = histogram_gather, .tips = TIPS, .syntax = "[command...]"},
    {"LATENCY|HISTORY", NULL, 3, NO_KEYS, FLAGS, 0, GROUP, "2.8.13", "O(1)",
     "Returns the spikes of an event.", .each = series_each, .gather = history_gather, .tips = TIPS,
     .syntax = "event"},
    {"LATENCY|LATEST", NULL, 2, NO_KEYS, FLAGS, 0, GROUP, "2.8.13", "O(1)",
     "Returns the latest and the worst spike of each event.", .each = series_each,
     .gather = latest_gather, .tips = TIPS},
    {"LATENCY|RESET", NULL, -2, NO_KEYS, FLAGS, 0, GROUP, "2.8.13", "O(1)",
     "Forgets the spikes of some events, or of all.", .each = reset_each, .gather = reset_gather,
     .tips = TIPS_RESET, .syntax = "[event...]"},
    {"LATENCY|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, 0, GROUP, "2.8.13",
     "O(1)", "Lists the subcommands."},
};

void latency_register(void) {
    command_register(rows, COUNT_OF(rows));
}
