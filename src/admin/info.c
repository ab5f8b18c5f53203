/* info.c: INFO. Each shard sends its numbers; home adds them up and prints what was asked for. */
#include "admin_impl.h"
#include "info_impl.h"
#include "shards/assert.h"

/* --- which sections --- */

enum section_flags {
    BY_DEFAULT = 1 << 0, /* without arguments, and with "default" */
};

static const struct {
    const char *name, *title;
    info_section_fn *print;
    unsigned flags;
} sections[INFO_SECTIONS] = {
    [INFO_SERVER] = {"server", "Server", info_server, BY_DEFAULT},
    [INFO_CLIENTS] = {"clients", "Clients", info_clients, BY_DEFAULT},
    [INFO_MEMORY] = {"memory", "Memory", info_memory, BY_DEFAULT},
    [INFO_PERSISTENCE] = {"persistence", "Persistence", info_persistence, BY_DEFAULT},
    [INFO_STATS] = {"stats", "Stats", info_stats, BY_DEFAULT},
    [INFO_REPLICATION] = {"replication", "Replication", info_replication, BY_DEFAULT},
    [INFO_CPU] = {"cpu", "CPU", info_cpu, BY_DEFAULT},
    [INFO_MODULES] = {"modules", "Modules", info_modules, BY_DEFAULT},
    [INFO_COMMANDSTATS] = {"commandstats", "Commandstats", info_commandstats, 0},
    [INFO_ERRORSTATS] = {"errorstats", "Errorstats", info_errorstats, BY_DEFAULT},
    [INFO_LATENCYSTATS] = {"latencystats", "Latencystats", info_latencystats, 0},
    [INFO_CLUSTER] = {"cluster", "Cluster", info_cluster, BY_DEFAULT},
    [INFO_KEYSPACE] = {"keyspace", "Keyspace", info_keyspace, BY_DEFAULT},
    [INFO_KEYSIZES] = {"keysizes", "Keysizes", info_keysizes, BY_DEFAULT},
    [INFO_SHARDS] = {"shards", "Shards", info_shards, 0},
};
static_assert(INFO_SECTIONS <= 32, "a set of sections is a word");

/* asked: the set of sections that the arguments name; what names none adds none. */
static uint32_t asked(const struct ctx *c) {
    uint32_t set = 0;
    for (size_t s = 0; s < INFO_SECTIONS; s++) {
        bool is_default = (sections[s].flags & BY_DEFAULT) != 0;
        bool in = c->argc == 1 && is_default;
        for (uint32_t i = 1; i < c->argc; i++)
            in |= span_is(c->argv[i], sections[s].name) || span_is(c->argv[i], "all") ||
                  span_is(c->argv[i], "everything") ||
                  (is_default && span_is(c->argv[i], "default"));
        set |= (uint32_t)in << s;
    }
    return set;
}

static bool has(uint32_t set, enum info_section s) {
    return set >> s & 1;
}

/* --- what a shard sends --- */

static void put(struct outbuf *out, enum record_kind kind, size_t index, unsigned sub,
                int64_t value) {
    struct record r = {(uint16_t)kind, (uint16_t)sub, (uint32_t)index, value};
    if (value != 0)
        outbuf_add(out, (const char *)&r, sizeof r);
}

static void put_commands(struct outbuf *out, const struct instance *in) {
    for (unsigned id = 0; id < command_count(); id++) {
        const struct command_stats *s = &in->commands[id];
        put(out, RECORD_COMMAND, id, COMMAND_CALLS, (int64_t)s->calls);
        put(out, RECORD_COMMAND, id, COMMAND_NS, (int64_t)s->ns);
        put(out, RECORD_COMMAND, id, COMMAND_REJECTED, (int64_t)s->rejected);
        put(out, RECORD_COMMAND, id, COMMAND_FAILED, (int64_t)s->failed);
    }
}

static void put_times(struct outbuf *out, const struct instance *in) {
    for (unsigned id = 0; id < command_count(); id++) {
        const struct histogram *times = in->commands[id].times;
        for (unsigned b = 0; times != NULL && b < HISTOGRAM_BUCKETS; b++)
            put(out, RECORD_TIME, id, b, (int64_t)times->buckets[b]);
    }
}

static ON_SHARD void put_databases(struct outbuf *out, const struct ctx *c) {
    for (unsigned db = 0; db < keyspace_databases(c->keyspace); db++) {
        const struct table *t = keyspace_peek_table(c->keyspace, db);
        if (t == NULL)
            continue;
        /* Bounded, so that the sum over all shards cannot overflow. */
        int64_t ttl_ms = table_ttl_sum_ms(t, c->now_ms), most = INT64_MAX / SHARDS_MAX;
        put(out, RECORD_DB, db, DB_KEYS, (int64_t)table_count(t));
        put(out, RECORD_DB, db, DB_EXPIRES, (int64_t)table_expires(t));
        put(out, RECORD_DB, db, DB_TABLE_BYTES, (int64_t)table_bytes(t));
        put(out, RECORD_DB, db, DB_TTL_MS, ttl_ms < 0 ? 0 : ttl_ms < most ? ttl_ms : most);
    }
}

static ON_SHARD void put_lengths(struct outbuf *out, const struct ctx *c) {
    for (unsigned db = 0; db < keyspace_databases(c->keyspace); db++) {
        const struct table *t = keyspace_peek_table(c->keyspace, db);
        for (unsigned i = 0; t != NULL && i < TABLE_LENGTHS; i++)
            put(out, RECORD_LENGTH, db, i, (int64_t)table_lengths(t)[i]);
    }
}

void info_send(struct ctx *c, uint32_t set) {
    struct outbuf *out = c->reply.out;
    const struct instance *in = instance_of(c->shard);
    const struct observed *seen = &in->observed;
    const struct budget_share *share = &c->shard->share;
    const struct tx_shard *tx = &c->shard->tx;
    struct part_head head = {.stats = c->shard->stats,
                             .tx = tx->stats,
                             .claims = tx->claims,
                             .claims_waiting = tx->waiting,
                             .errors = seen->error_codes};
    head.share_bytes = share->bytes == BUDGET_UNLIMITED ? 0 : share->bytes;
    for (unsigned db = 0; db < keyspace_databases(c->keyspace); db++) {
        const struct table *t = keyspace_peek_table(c->keyspace, db);
        if (t == NULL)
            continue;
        head.keys += table_count(t);
        head.expires += table_expires(t);
        head.table_bytes += table_bytes(t);
    }
    for (unsigned id = 0; id < command_count(); id++) {
        head.commands += in->commands[id].calls;
        head.command_ns += in->commands[id].ns;
    }
    outbuf_add(out, (const char *)&head, sizeof head);
    for (size_t i = 0; i < metrics_count(); i++) {
        int64_t v = metrics_at(i)->read(c->shard);
        outbuf_add(out, (const char *)&v, sizeof v);
    }
    outbuf_add(out, (const char *)seen->errors, seen->error_codes * sizeof seen->errors[0]);
    if (has(set, INFO_COMMANDSTATS))
        put_commands(out, in);
    if (has(set, INFO_LATENCYSTATS))
        put_times(out, in);
    if (has(set, INFO_KEYSPACE))
        put_databases(out, c);
    if (has(set, INFO_KEYSIZES))
        put_lengths(out, c);
}

static ON_SHARD void info_each(struct ctx *c) {
    info_send(c, asked(c));
}

/* --- what home reads --- */

struct part_head info_head(const struct info *in, unsigned part) {
    struct part_head head;
    memcpy(&head, in->parts[part]->buf, sizeof head);
    return head;
}

int64_t info_metric_of(const struct info *in, unsigned part, size_t metric) {
    int64_t v;
    memcpy(&v, in->parts[part]->buf + sizeof(struct part_head) + metric * sizeof v, sizeof v);
    return v;
}

int64_t info_metric(struct info *in, const char *section, const char *name) {
    int i = metrics_find(section, name);
    int64_t sum = 0;
    if (i < 0)
        return 0;
    in->printed[i] = true;
    for (unsigned part = 0; part < in->n; part++)
        sum += info_metric_of(in, part, (size_t)i);
    return sum;
}

int64_t info_metric_max(const struct info *in, const char *name) {
    int i = metrics_find("most", name);
    int64_t max = 0;
    for (unsigned part = 0; i >= 0 && part < in->n; part++) {
        int64_t v = info_metric_of(in, part, (size_t)i);
        max = v > max ? v : max;
    }
    return max;
}

static size_t errors_at(void) {
    return sizeof(struct part_head) + metrics_count() * sizeof(int64_t);
}

struct error_count info_error_of(const struct info *in, unsigned part, uint64_t i) {
    struct error_count e;
    memcpy(&e, in->parts[part]->buf + errors_at() + i * sizeof e, sizeof e);
    return e;
}

bool info_collect(struct info *in, enum record_kind kind, uint32_t index, int64_t *sums,
                  unsigned count) {
    bool any = false;
    memset(sums, 0, count * sizeof *sums);
    for (unsigned part = 0; part < in->n; part++) {
        const struct outbuf *from = in->parts[part];
        for (; in->at[part] < from->len; in->at[part] += sizeof(struct record)) {
            struct record r;
            memcpy(&r, from->buf + in->at[part], sizeof r);
            if (r.kind > kind || (r.kind == kind && r.index > index))
                break;
            if (r.kind != kind || r.index != index)
                continue;
            ASSERT(r.sub < count);
            sums[r.sub] += r.value;
            any = true;
        }
    }
    return any;
}

void info_open(struct info *in, const struct ctx *c, struct outbuf *const *parts, unsigned n) {
    *in = (struct info){.ctx = c, .config = instance_of(c->shard)->config, .parts = parts, .n = n};
    outbuf_init(&in->out, &c->shard->mem);
    for (unsigned part = 0; part < n; part++)
        in->at[part] = errors_at() + info_head(in, part).errors * sizeof(struct error_count);
}

static void info_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct info in;
    uint32_t set = asked(c);
    info_open(&in, c, parts, n);
    for (size_t s = 0; s < INFO_SECTIONS; s++) {
        if (!has(set, (enum info_section)s))
            continue;
        outbuf_printf(&in.out, "%s# %s\r\n", in.out.len ? "\r\n" : "", sections[s].title);
        sections[s].print(&in);
    }
    ctx_reply_text(c, &in.out);
}

static const struct command rows[] = {
    {"INFO", NULL, -1, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FANOUT, ACL_SLOW | ACL_DANGEROUS,
     "server", "1.0.0", "O(1)", "Tells the server's state and statistics.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
     .syntax = "[section...]", .each = info_each, .gather = info_gather},
};

void info_register(void) {
    command_register(rows, COUNT_OF(rows));
    info_sample_register();
}
