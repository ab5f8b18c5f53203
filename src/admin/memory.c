/* memory.c: MEMORY: what memory is used for, and what could be done about it. */
#include "admin_impl.h"
#include "anax/words.h"
#include "info_impl.h"
#include <stdio.h>

#define GROUP "server"

/* --- USAGE --- */

/* check_usage: SAMPLES is about how closely to look; what a key takes is known exactly here. */
static bool check_usage(struct ctx *c) {
    for (uint32_t i = 3; i < c->argc; i += 2) {
        int64_t samples;
        if (!span_is(c->argv[i], "samples") || i + 1 == c->argc) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        if (!ctx_get_int(c, i + 1, &samples))
            return false;
        if (samples < 0) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* usage_run: being looked at does not make a key look used. */
static ON_SHARD void usage_run(struct ctx *c) {
    if (!check_usage(c))
        return;
    const struct entry *e = keyspace_find(c->keyspace, c->db, c->argv[2], c->hash, c->now_ms);
    if (e == NULL)
        reply_null(&c->reply);
    else
        reply_int(&c->reply, (int64_t)entry_bytes_total(e));
}

/* --- STATS --- */

static ON_SHARD void stats_each(struct ctx *c) {
    info_send(c, 1U << INFO_KEYSPACE);
}

static void add_int(struct reply *r, const char *name, int64_t v) {
    reply_bulk_cstr(r, name);
    reply_int(r, v);
}

static void add_double(struct reply *r, const char *name, double v) {
    reply_bulk_cstr(r, name);
    reply_double(r, v);
}

/* add_databases: those that have keys; returns how many. Times lie in the entries, so there is no second table for them. */
static size_t add_databases(struct info *in, struct reply *r) {
    int64_t n[DB_NUMBERS];
    size_t count = 0;
    for (unsigned db = 0; db < keyspace_databases(in->ctx->keyspace); db++) {
        char name[32];
        if (!info_collect(in, RECORD_DB, db, n, DB_NUMBERS) || n[DB_KEYS] == 0)
            continue;
        (void)snprintf(name, sizeof name, "db.%u", db);
        reply_bulk_cstr(r, name);
        reply_map(r, 3);
        add_int(r, "overhead.hashtable.main", n[DB_TABLE_BYTES]);
        add_int(r, "overhead.hashtable.expires", 0);
        add_int(r, "overhead.hashtable.slot-to-keys", 0);
        count++;
    }
    return count;
}

/* add_allocator: returns how many pairs. */
static size_t add_allocator(struct reply *r, const struct memory_report *m) {
    static const struct {
        const char *ratio, *bytes;
    } names[MEMORY_LOSSES] = {
        [LOSS_IN_PAGES] = {"allocator-fragmentation.ratio", "allocator-fragmentation.bytes"},
        [LOSS_FREE_PAGES] = {"allocator-rss.ratio", "allocator-rss.bytes"},
        [LOSS_BESIDE] = {"rss-overhead.ratio", "rss-overhead.bytes"},
        [LOSS_ALL] = {"fragmentation", "fragmentation.bytes"}};
    add_int(r, "allocator.allocated", (int64_t)m->allocator.allocated_bytes);
    add_int(r, "allocator.active", (int64_t)m->allocator.active_bytes);
    add_int(r, "allocator.resident", (int64_t)m->allocator.resident_bytes);
    for (unsigned i = 0; i < MEMORY_LOSSES; i++) {
        add_double(r, names[i].ratio, memory_loss_ratio(m, i));
        add_int(r, names[i].bytes, memory_lost(m, i));
    }
    return 3 + 2 * MEMORY_LOSSES;
}

static void add_shards(struct info *in, struct reply *r) {
    int used = metrics_find("memory", "used_memory");
    int clients = metrics_find("memory", "mem_clients_normal");
    int evicted = metrics_find("stats", "evicted_keys");
    for (unsigned part = 0; part < in->n; part++) {
        struct part_head head = info_head(in, part);
        char name[32];
        (void)snprintf(name, sizeof name, "shard.%u", part);
        reply_bulk_cstr(r, name);
        reply_map(r, 6);
        add_int(r, "used", info_metric_of(in, part, (size_t)used));
        add_int(r, "share", head.share_bytes);
        add_int(r, "keys", (int64_t)head.keys);
        add_int(r, "overhead.hashtable.main", (int64_t)head.table_bytes);
        add_int(r, "clients.normal", info_metric_of(in, part, (size_t)clients));
        add_int(r, "evicted", info_metric_of(in, part, (size_t)evicted));
    }
}

/* add_all: Redis's fields in its order, then ours; returns how many pairs. Nobody has replicas, scripts, a cluster or an
 * AOF. */
static size_t add_all(struct info *in, struct reply *r) {
    static const char *const none[] = {"cluster.links", "aof.buffer", "lua.caches",
                                       "functions.caches"};
    struct memory_report m;
    memory_report(in, &m);
    int64_t beyond = m.used - m.startup;
    add_int(r, "peak.allocated", m.peak);
    add_int(r, "total.allocated", m.used);
    add_int(r, "startup.allocated", m.startup);
    add_int(r, "replication.backlog", 0);
    add_int(r, "clients.slaves", 0);
    add_int(r, "clients.normal", m.clients);
    for (size_t i = 0; i < COUNT_OF(none); i++)
        add_int(r, none[i], 0);
    size_t pairs = 6 + COUNT_OF(none) + add_databases(in, r);
    add_int(r, "overhead.total", m.overhead);
    add_int(r, "keys.count", m.keys);
    add_int(r, "keys.bytes-per-key", m.keys == 0 || beyond < 0 ? 0 : beyond / m.keys);
    add_int(r, "dataset.bytes", m.dataset);
    add_double(r, "dataset.percentage", beyond > 0 ? 100 * info_ratio(m.dataset, beyond) : 0);
    add_double(r, "peak.percentage", 100 * info_ratio(m.used, m.peak));
    pairs += 6 + add_allocator(r, &m);
    add_shards(in, r);
    return pairs + in->n;
}

static void stats_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct info in;
    info_open(&in, c, parts, n);
    struct reply r = c->reply;
    r.out = &in.out;
    size_t pairs = add_all(&in, &r);
    if (in.out.failed) {
        ctx_oom(c);
    } else {
        reply_map(&c->reply, pairs);
        outbuf_add(c->reply.out, in.out.buf, in.out.len);
    }
    outbuf_deinit(&in.out);
}

/* --- DOCTOR --- */

/* What is worth a remark, and the remark. Small numbers say nothing: there, what the process is made of counts most. */
enum { SMALL_BYTES = 5 << 20, LOST_BYTES = 10 << 20, CLIENT_BYTES = 200 << 10 };

struct symptom {
    bool found;
    const char *remark;
};

static void advise(struct outbuf *out, const struct symptom *symptoms, size_t n) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (!symptoms[i].found)
            continue;
        if (found++ == 0)
            outbuf_printf(out, "What stands out about the memory of this server:\n");
        outbuf_printf(out, "\n * %s\n", symptoms[i].remark);
    }
    if (found == 0)
        outbuf_printf(out, "Nothing stands out about the memory of this server.\n");
}

static bool much_lost(const struct memory_report *m, enum memory_loss which, double ratio) {
    return memory_loss_ratio(m, which) > ratio && memory_lost(m, which) > LOST_BYTES;
}

static void diagnose(struct info *in, struct outbuf *out) {
    struct memory_report m;
    memory_report(in, &m);
    if (m.used < SMALL_BYTES) {
        outbuf_printf(out, "This server is empty, or holds too little to tell anything from: ask "
                           "again when there is some data in it.\n");
        return;
    }
    const int64_t limit = in->config->maxmemory_bytes;
    const struct symptom symptoms[] = {
        {info_ratio(m.peak, m.used) > 1.5,
         "Peak: there was a time when this server used more than one and a half times of what it "
         "uses now. The allocator gives pages back that are wholly free, so the process may be "
         "larger than its data for as long as values lie scattered over the pages of then. MEMORY "
         "PURGE hands back what can be had at once, activedefrag works on the rest."},
        {much_lost(&m, LOSS_ALL, 1.4),
         "Fragmentation: the process takes more than 1.4 times of what its data needs. See the "
         "lines of INFO memory from allocator_frag_ratio on for where it goes, and whether "
         "activedefrag is on."},
        {much_lost(&m, LOSS_IN_PAGES, 1.1),
         "Pages in use: of the pages that hold values more than a tenth is free. That is usual "
         "after many deletions; it becomes less as new values come, or by activedefrag."},
        {much_lost(&m, LOSS_FREE_PAGES, 1.1),
         "Free pages: the allocator keeps more than a tenth beyond the pages that hold values. It "
         "gives them back after a second or so; MEMORY PURGE does it now."},
        {much_lost(&m, LOSS_BESIDE, 1.1),
         "Beside the allocator: the process takes more than a tenth beyond what its allocator "
         "has. Program code and thread stacks are small, so look for a library or a module that "
         "is not the allocator's customer."},
        {m.connections > 0 && m.clients / m.connections > CLIENT_BYTES,
         "Clients: connections take more than 200 kB on average. Some may send commands faster "
         "than they read the replies, or send very large ones; see tot-mem in CLIENT LIST, and "
         "limit them by maxmemory-clients or client-output-buffer-limit."},
        {limit > 0 && m.used > limit,
         "Limit: more is used than maxmemory allows, and there may be nothing that the "
         "maxmemory-policy lets go; see evicted_keys and current_eviction_exceeded_time in INFO."},
    };
    advise(out, symptoms, COUNT_OF(symptoms));
}

static void doctor_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct info in;
    info_open(&in, c, parts, n);
    diagnose(&in, &in.out);
    ctx_reply_text(c, &in.out);
}

/* --- MALLOC-STATS, PURGE --- */

static void add_text(void *arg, const char *text) {
    outbuf_add(arg, text, strlen(text));
}

static void malloc_stats_run(struct ctx *c) {
    struct outbuf text;
    outbuf_init(&text, &c->shard->mem);
    if (!mem_describe(add_text, &text))
        add_text(&text, "Stats not supported for the current allocator");
    ctx_reply_text(c, &text);
}

/* purge_each: on each shard, because each thread has a cache of its own in the allocator. */
static ON_SHARD void purge_each(struct ctx *c) {
    instance_of(c->shard)->trim(c->shard);
    mem_release_idle();
}

static const struct command rows[] = {
    {"MEMORY", command_container_run, -2, NO_KEYS, CMD_CONTAINER, ACL_SLOW, GROUP, "4.0.0",
     "Depends on subcommand.", "Holds the commands about memory."},
    {"MEMORY|DOCTOR", NULL, 2, NO_KEYS, CMD_FANOUT, ACL_SLOW, GROUP, "4.0.0", "O(1)",
     "Tells what stands out about the use of memory, and what to do about it.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
     .each = stats_each, .gather = doctor_gather},
    {"MEMORY|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, ACL_SLOW, GROUP, "4.0.0",
     "O(1)", "Lists the subcommands."},
    {"MEMORY|MALLOC-STATS", malloc_stats_run, 2, NO_KEYS, 0, ACL_SLOW, GROUP, "4.0.0",
     "Depends on how much memory is allocated.", "Returns the allocator's own statistics.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special"},
    {"MEMORY|PURGE", NULL, 2, NO_KEYS, CMD_FANOUT, ACL_SLOW, GROUP, "4.0.0",
     "Depends on how much memory is free.", "Gives free pages back to the system.",
     .tips = "request_policy:all_shards response_policy:all_succeeded", .each = purge_each,
     .gather = command_ok_gather},
    {"MEMORY|STATS", NULL, 2, NO_KEYS, CMD_FANOUT, ACL_SLOW, GROUP, "4.0.0", "O(1)",
     "Tells what memory is used for.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
     .each = stats_each, .gather = stats_gather},
    {"MEMORY|USAGE", usage_run, -3, KEY(2), CMD_READ, ACL_SLOW, GROUP, "4.0.0", "O(1)",
     "Returns the bytes that a key and its value take.", .key_access = "RO",
     .syntax = "key [SAMPLES=count:integer]"},
};

void memory_register(void) {
    command_register(rows, COUNT_OF(rows));
}
