/* info.c: INFO. Each shard writes its numbers in the order of the metric tables; the sums are printed. */
#include "admin_impl.h"
#include "anax/instance.h"
#include "anax/metrics.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 512, SECTION_MAX_BYTES = 32 };

/* What each shard sends per database. */
struct db_numbers {
    uint64_t keys, expires;
};

static void print(struct outbuf *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void print(struct outbuf *out, const char *fmt, ...) {
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n > 0)
        outbuf_add(out, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

/* --- metrics of this room --- */

static int64_t read_used(struct shard *s) {
    return s->mem.used_bytes;
}

#define KEYSPACE_METRIC(field)                                                                     \
    static int64_t read_##field(struct shard *s) {                                                 \
        return (int64_t)keyspace_stats(s->keyspace)->field;                                        \
    }
KEYSPACE_METRIC(hits)
KEYSPACE_METRIC(misses)
KEYSPACE_METRIC(expired)
KEYSPACE_METRIC(pending_free)

#define SHARD_METRIC(field)                                                                        \
    static int64_t read_##field(struct shard *s) {                                                 \
        return (int64_t)s->stats.field;                                                            \
    }
SHARD_METRIC(turns)
SHARD_METRIC(messages_out)
SHARD_METRIC(borrows)
SHARD_METRIC(doorbells)

static const struct metric metrics[] = {
    {"memory", "used_memory", read_used},
    {"memory", "lazyfree_pending_objects", read_pending_free},
    {"stats", "expired_keys", read_expired},
    {"stats", "keyspace_hits", read_hits},
    {"stats", "keyspace_misses", read_misses},
    {"stats", "shard_turns", read_turns},
    {"stats", "shard_messages", read_messages_out},
    {"stats", "shard_borrows", read_borrows},
    {"stats", "shard_doorbells", read_doorbells},
};

static ON_SHARD void info_each(struct ctx *c) {
    for (size_t i = 0; i < metrics_count(); i++) {
        int64_t v = metrics_at(i)->read(c->shard);
        outbuf_add(c->reply.out, (const char *)&v, sizeof v);
    }
    for (unsigned db = 0; db < keyspace_databases(c->keyspace); db++) {
        const struct table *t = keyspace_peek_table(c->keyspace, db);
        struct db_numbers d = {0};
        if (t != NULL)
            d = (struct db_numbers){table_count(t), table_expires(t)};
        outbuf_add(c->reply.out, (const char *)&d, sizeof d);
    }
}

static int64_t metric_sum(struct outbuf *const *parts, unsigned n, size_t i) {
    int64_t sum = 0;
    for (unsigned part = 0; part < n; part++) {
        int64_t v;
        memcpy(&v, parts[part]->buf + i * sizeof v, sizeof v);
        sum += v;
    }
    return sum;
}

static struct db_numbers db_sum(struct outbuf *const *parts, unsigned n, unsigned db) {
    struct db_numbers sum = {0};
    size_t at = metrics_count() * sizeof(int64_t) + db * sizeof sum;
    for (unsigned part = 0; part < n; part++) {
        struct db_numbers d;
        memcpy(&d, parts[part]->buf + at, sizeof d);
        sum.keys += d.keys;
        sum.expires += d.expires;
    }
    return sum;
}

/* --- sections --- */

struct info {
    struct ctx *ctx;
    struct outbuf *const *parts;
    unsigned n;
    struct outbuf out;
};

static void print_metrics(struct info *in, const char *section) {
    for (size_t i = 0; i < metrics_count(); i++)
        if (strcmp(metrics_at(i)->section, section) == 0)
            print(&in->out, "%s:%ld\r\n", metrics_at(i)->name,
                  (long)metric_sum(in->parts, in->n, i));
}

static void print_server(struct info *in) {
    struct utsname os;
    const struct config *config = instance_of(in->ctx->shard)->config;
    uint64_t up_s = (in->ctx->shard->now_ns - admin_start_ns()) / 1000000000ULL;
    if (uname(&os) != 0)
        memset(&os, 0, sizeof os);
    print(&in->out, "redis_version:%s\r\nserver_name:anax\r\nanax_version:%s\r\n", "8.0.0",
          ANAX_VERSION);
    print(&in->out, "redis_mode:standalone\r\nos:%s %s %s\r\narch_bits:64\r\n", os.sysname,
          os.release, os.machine);
    print(&in->out, "multiplexing_api:%s\r\nprocess_id:%d\r\nrun_id:%s\r\ntcp_port:%ld\r\n",
          loop_kind_name(in->ctx->shard->loop), (int)getpid(), admin_run_id(), (long)config->port);
    print(&in->out, "server_time_usec:%ld\r\nuptime_in_seconds:%lu\r\nuptime_in_days:%lu\r\n",
          (long)clock_wall_us(), (unsigned long)up_s, (unsigned long)(up_s / 86400));
    print(&in->out, "hz:%ld\r\nshards:%u\r\n", (long)config->hz, in->n);
}

static void print_clients(struct info *in) {
    const struct config *config = instance_of(in->ctx->shard)->config;
    print_metrics(in, "clients");
    print(&in->out, "maxclients:%ld\r\n", (long)config->maxclients);
}

static void print_memory(struct info *in) {
    const struct config *config = instance_of(in->ctx->shard)->config;
    print_metrics(in, "memory");
    print(&in->out, "used_memory_rss:%zu\r\nmaxmemory:%ld\r\nmaxmemory_policy:noeviction\r\n",
          mem_resident(), (long)config->maxmemory_bytes);
    print(&in->out, "mem_allocator:%s\r\n", mem_allocator());
}

static void print_stats(struct info *in) {
    print_metrics(in, "stats");
}

static void print_replication(struct info *in) {
    print(&in->out, "role:master\r\nconnected_slaves:0\r\n");
}

static void print_cpu(struct info *in) {
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return;
    print(&in->out, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
          (long)u.ru_stime.tv_sec, (long)u.ru_stime.tv_usec, (long)u.ru_utime.tv_sec,
          (long)u.ru_utime.tv_usec);
}

static void print_keyspace(struct info *in) {
    for (unsigned db = 0; db < keyspace_databases(in->ctx->keyspace); db++) {
        struct db_numbers d = db_sum(in->parts, in->n, db);
        if (d.keys != 0)
            print(&in->out, "db%u:keys=%lu,expires=%lu,avg_ttl=0\r\n", db, (unsigned long)d.keys,
                  (unsigned long)d.expires);
    }
}

static const struct {
    const char *name, *title;
    void (*print)(struct info *in);
} sections[] = {
    {"server", "Server", print_server},
    {"clients", "Clients", print_clients},
    {"memory", "Memory", print_memory},
    {"stats", "Stats", print_stats},
    {"replication", "Replication", print_replication},
    {"cpu", "CPU", print_cpu},
    {"keyspace", "Keyspace", print_keyspace},
};

static bool section_asked(const struct ctx *c, const char *name) {
    if (c->argc == 1)
        return true;
    for (uint32_t i = 1; i < c->argc; i++)
        if (span_is(c->argv[i], name) || span_is(c->argv[i], "all") ||
            span_is(c->argv[i], "default") || span_is(c->argv[i], "everything"))
            return true;
    return false;
}

static void info_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct info in = {.ctx = c, .parts = parts, .n = n};
    outbuf_init(&in.out, &c->shard->mem);
    for (size_t i = 0; i < COUNT_OF(sections); i++) {
        if (!section_asked(c, sections[i].name))
            continue;
        print(&in.out, "%s# %s\r\n", in.out.len ? "\r\n" : "", sections[i].title);
        sections[i].print(&in);
    }
    if (in.out.failed)
        ctx_oom(c);
    else
        reply_verbatim(&c->reply, "txt", (struct span){in.out.buf, in.out.len});
    outbuf_deinit(&in.out);
}

static const struct command rows[] = {
    {"INFO", NULL, -1, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FANOUT, ACL_SLOW | ACL_DANGEROUS,
     "server", "1.0.0", "O(1)", "Tells the server's state and statistics.", .each = info_each,
     .gather = info_gather},
};

void info_register(void) {
    command_register(rows, COUNT_OF(rows));
    metrics_register(metrics, COUNT_OF(metrics));
}
