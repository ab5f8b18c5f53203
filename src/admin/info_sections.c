/* info_sections.c: the sections of INFO that are lists of fields, with Redis's names in its order. What
 * Redis tells of things that are not here (forks, scripts, replicas, ...) is left out. */
#include "admin_impl.h"
#include "info_impl.h"
#include "shards/clock.h"
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static void line_int(struct info *in, const char *name, int64_t v) {
    outbuf_printf(&in->out, "%s:%ld\r\n", name, (long)v);
}

static void line_text(struct info *in, const char *name, const char *text) {
    outbuf_printf(&in->out, "%s:%s\r\n", name, text);
}

/* line_bytes: the number, and again for people as <name>_human. */
static void line_human(struct info *in, const char *name, int64_t bytes) {
    static const char units[] = "BKMGTPE";
    double v = (double)bytes;
    size_t unit = 0;
    for (; v >= 1024 && units[unit + 1] != '\0'; unit++)
        v /= 1024;
    if (unit == 0)
        outbuf_printf(&in->out, "%s_human:%ldB\r\n", name, (long)bytes);
    else
        outbuf_printf(&in->out, "%s_human:%.2f%c\r\n", name, v, units[unit]);
}

static void line_bytes(struct info *in, const char *name, int64_t bytes) {
    line_int(in, name, bytes);
    line_human(in, name, bytes);
}

static void line_metric(struct info *in, const char *section, const char *name) {
    if (metrics_find(section, name) >= 0)
        line_int(in, name, info_metric(in, section, name));
}

static void line_max(struct info *in, const char *name) {
    if (metrics_find("most", name) >= 0)
        line_int(in, name, info_metric_max(in, name));
}

/* rest: the metrics of a section that have no place of their own. */
static void rest(struct info *in, const char *section) {
    for (size_t i = 0; i < metrics_count(); i++)
        if (strcmp(metrics_at(i)->section, section) == 0 && !in->printed[i])
            line_metric(in, section, metrics_at(i)->name);
}

/* text_of: the value of an option, as CONFIG GET shows it. */
struct option_text {
    char text[CONFIG_TEXT_MAX + 1];
};

static void keep_text(void *arg, struct span name, struct span value) {
    struct option_text *t = arg;
    (void)name;
    (void)snprintf(t->text, sizeof t->text, "%.*s", (int)value.len, value.ptr);
}

static struct option_text text_of(const struct info *in, struct span option) {
    struct option_text t = {""};
    config_get(in->config, &option, 1, keep_text, &t);
    return t;
}

/* --- server --- */

static void print_listeners(struct info *in) {
    const struct config *c = in->config;
    unsigned n = 0;
    if (c->port != 0) {
        outbuf_printf(&in->out, "listener%u:name=tcp", n++);
        for (const char *at = c->bind; *at != '\0';) {
            size_t len = strcspn(at, " ");
            outbuf_printf(&in->out, ",bind=%.*s", (int)len, at);
            at += len + (at[len] == ' ');
        }
        outbuf_printf(&in->out, ",port=%ld\r\n", (long)c->port);
    }
    if (c->unixsocket[0] != '\0')
        outbuf_printf(&in->out, "listener%u:name=unix,bind=%s\r\n", n, c->unixsocket);
}

static void print_files(struct info *in) {
    char path[CONFIG_TEXT_MAX + 1];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    line_text(in, "executable", path);
    line_text(in, "config_file", in->config->file);
}

void info_server(struct info *in) {
    struct utsname os;
    const struct ctx *c = in->ctx;
    uint64_t up_s = (c->shard->now_ns - admin_start_ns()) / 1000000000ULL;
    int64_t now_us = clock_wall_us();
    if (uname(&os) != 0)
        memset(&os, 0, sizeof os);
    outbuf_printf(&in->out, "redis_version:%s\r\nserver_name:anax\r\nanax_version:%s\r\n",
                  COMMAND_COMPATIBLE_VERSION, ANAX_VERSION);
    outbuf_printf(&in->out, "redis_mode:standalone\r\nos:%s %s %s\r\narch_bits:64\r\n", os.sysname,
                  os.release, os.machine);
    line_text(in, "monotonic_clock", "POSIX clock_gettime");
    line_text(in, "multiplexing_api", loop_kind_name(c->shard->loop));
    line_text(in, "atomicvar_api", "c11-builtin");
    outbuf_printf(&in->out, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__,
                  __GNUC_PATCHLEVEL__);
    line_int(in, "process_id", getpid());
    line_text(in, "process_supervised", text_of(in, SPAN("supervised")).text);
    line_text(in, "run_id", admin_run_id());
    line_int(in, "tcp_port", in->config->port);
    line_int(in, "server_time_usec", now_us);
    line_int(in, "uptime_in_seconds", (int64_t)up_s);
    line_int(in, "uptime_in_days", (int64_t)(up_s / 86400));
    line_int(in, "hz", in->config->hz);
    line_int(in, "configured_hz", in->config->hz);
    line_int(in, "lru_clock", now_us / 1000000 & 0xffffff);
    print_files(in);
    print_listeners(in);
    line_int(in, "shards", in->n);
}

/* --- clients, memory --- */

void info_clients(struct info *in) {
    static const char *const most[] = {"client_recent_max_input_buffer",
                                       "client_recent_max_output_buffer"};
    line_metric(in, "clients", "connected_clients");
    line_int(in, "maxclients", in->config->maxclients);
    for (size_t i = 0; i < COUNT_OF(most); i++)
        line_max(in, most[i]);
    line_int(in, "blocked_clients", info_metric(in, "clients", "blocked_clients"));
    rest(in, "clients");
}

static double ratio(int64_t of, int64_t to) {
    return to == 0 ? 0 : (double)of / (double)to;
}

/* Where memory is lost on the way from what was asked for to what the kernel counts. */
static void print_fragmentation(struct info *in, int64_t used, const struct mem_usage *u,
                                int64_t resident) {
    const int64_t allocated = (int64_t)u->allocated_bytes, active = (int64_t)u->active_bytes,
                  kept = (int64_t)u->resident_bytes;
    const struct {
        const char *name;
        int64_t more, less;
    } steps[] = {{"allocator_frag", active, allocated},
                 {"allocator_rss", kept, active},
                 {"rss_overhead", resident, kept},
                 {"mem_fragmentation", resident, used}};
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        outbuf_printf(&in->out, "%s_ratio:%.2f\r\n%s_bytes:%ld\r\n", steps[i].name,
                      ratio(steps[i].more, steps[i].less), steps[i].name,
                      (long)(steps[i].more - steps[i].less));
}

static void print_peak(struct info *in, int64_t used) {
    info_peak_note(used, in->ctx->now_ms / 1000);
    int64_t peak = info_peak_bytes();
    line_bytes(in, "used_memory_peak", peak);
    line_int(in, "used_memory_peak_time", info_peak_s());
    outbuf_printf(&in->out, "used_memory_peak_perc:%.2f%%\r\n", ratio(used, peak) * 100);
}

/* print_overhead: what is there without data: what the server had when it started, connections, and tables
 * beside their entries. The rest is data, and some logs. */
static void print_overhead(struct info *in, int64_t used) {
    int64_t startup = info_metric(in, "memory", "used_memory_startup");
    int64_t overhead = startup + info_metric(in, "memory", "mem_clients_normal");
    for (unsigned part = 0; part < in->n; part++)
        overhead += (int64_t)info_head(in, part).table_bytes;
    int64_t dataset = used > overhead ? used - overhead : 0;
    line_int(in, "used_memory_overhead", overhead);
    line_int(in, "used_memory_startup", startup);
    line_int(in, "used_memory_dataset", dataset);
    outbuf_printf(&in->out, "used_memory_dataset_perc:%.2f%%\r\n",
                  used > startup ? ratio(dataset, used - startup) * 100 : 0);
}

void info_memory(struct info *in) {
    int64_t used = info_metric(in, "memory", "used_memory"), resident = (int64_t)mem_resident();
    int64_t physical = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    struct mem_usage u;
    if (!mem_usage(&u)) /* then it loses nothing, as far as one can see */
        u = (struct mem_usage){(size_t)used, (size_t)resident, (size_t)resident};
    line_bytes(in, "used_memory", used);
    line_bytes(in, "used_memory_rss", resident);
    print_peak(in, used);
    print_overhead(in, used);
    line_int(in, "allocator_allocated", (int64_t)u.allocated_bytes);
    line_int(in, "allocator_active", (int64_t)u.active_bytes);
    line_int(in, "allocator_resident", (int64_t)u.resident_bytes);
    line_bytes(in, "total_system_memory", physical);
    line_bytes(in, "maxmemory", in->config->maxmemory_bytes);
    line_text(in, "maxmemory_policy", text_of(in, SPAN("maxmemory-policy")).text);
    print_fragmentation(in, used, &u, resident);
    line_metric(in, "memory", "mem_clients_normal");
    line_text(in, "mem_allocator", mem_allocator());
    line_metric(in, "memory", "lazyfree_pending_objects");
    rest(in, "memory");
}

/* --- persistence, stats, replication, cpu --- */

void info_persistence(struct info *in) {
    static const char *const zeros[] = {"loading", "async_loading", "rdb_bgsave_in_progress",
                                        "rdb_saves"};
    for (size_t i = 0; i < COUNT_OF(zeros); i++)
        line_int(in, zeros[i], 0);
    outbuf_printf(&in->out,
                  "aof_enabled:0\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n");
    line_int(in, "aof_rewrites", 0);
}

static void line_rate(struct info *in, const char *name, const char *rate) {
    outbuf_printf(&in->out, "%s:%.2f\r\n", name, (double)info_metric(in, "rates", rate) / 1024);
}

/* print_turns: Redis's names, for the turns of all loops. */
static void print_turns(struct info *in) {
    uint64_t command_ns = 0;
    for (unsigned part = 0; part < in->n; part++)
        command_ns += info_head(in, part).command_ns;
    int64_t turns = info_metric(in, "rates", "turns"), us = info_metric(in, "rates", "turn_us");
    line_metric(in, "stats", "eventloop_cycles");
    line_metric(in, "stats", "eventloop_duration_sum");
    line_int(in, "eventloop_duration_cmd_sum", (int64_t)(command_ns / 1000));
    line_int(in, "instantaneous_eventloop_cycles_per_sec", turns);
    line_int(in, "instantaneous_eventloop_duration_usec", turns == 0 ? 0 : us / turns);
}

static int64_t errors_with(const struct info *in, const char *code) {
    uint64_t count = 0;
    for (unsigned part = 0; part < in->n; part++) {
        uint64_t errors = info_head(in, part).errors;
        for (uint64_t i = 0; i < errors; i++) {
            struct error_count e = info_error_of(in, part, i);
            count += strcmp(e.code, code) == 0 ? e.count : 0;
        }
    }
    return (int64_t)count;
}

void info_stats(struct info *in) {
    static const char *const middle[] = {"rejected_connections",
                                         "expired_keys",
                                         "expired_subkeys",
                                         "expired_time_cap_reached_count",
                                         "expire_cycle_cpu_milliseconds",
                                         "keyspace_hits",
                                         "keyspace_misses",
                                         "total_error_replies",
                                         "total_reads_processed",
                                         "total_writes_processed",
                                         "client_query_buffer_limit_disconnections",
                                         "client_output_buffer_limit_disconnections"};
    line_metric(in, "stats", "total_connections_received");
    line_metric(in, "stats", "total_commands_processed");
    line_int(in, "instantaneous_ops_per_sec", info_metric(in, "rates", "commands"));
    line_metric(in, "stats", "total_net_input_bytes");
    line_metric(in, "stats", "total_net_output_bytes");
    line_rate(in, "instantaneous_input_kbps", "input");
    line_rate(in, "instantaneous_output_kbps", "output");
    for (size_t i = 0; i < COUNT_OF(middle); i++)
        line_metric(in, "stats", middle[i]);
    print_turns(in);
    line_int(in, "acl_access_denied_auth", errors_with(in, "WRONGPASS"));
    line_max(in, "total_active_defrag_time");
    line_max(in, "current_active_defrag_time");
    rest(in, "stats");
}

void info_replication(struct info *in) {
    outbuf_printf(&in->out,
                  "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n");
    outbuf_printf(&in->out, "master_replid:%s\r\nmaster_replid2:%040d\r\n", admin_replication_id(),
                  0);
    outbuf_printf(&in->out,
                  "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n");
    outbuf_printf(&in->out, "repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n");
}

static void print_usage(struct info *in, const char *suffix, int who) {
    struct rusage u;
    if (getrusage(who, &u) != 0)
        return;
    outbuf_printf(&in->out, "used_cpu_sys%s:%ld.%06ld\r\nused_cpu_user%s:%ld.%06ld\r\n", suffix,
                  (long)u.ru_stime.tv_sec, (long)u.ru_stime.tv_usec, suffix,
                  (long)u.ru_utime.tv_sec, (long)u.ru_utime.tv_usec);
}

/* info_cpu: the "main thread" is the one that answers. */
void info_cpu(struct info *in) {
    print_usage(in, "", RUSAGE_SELF);
    print_usage(in, "_children", RUSAGE_CHILDREN);
    print_usage(in, "_main_thread", RUSAGE_THREAD);
}

void info_modules(struct info *in) {
    (void)in;
}

void info_cluster(struct info *in) {
    line_int(in, "cluster_enabled", 0);
}
