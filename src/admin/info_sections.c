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
    info_print(in, "%s:%ld\r\n", name, (long)v);
}

static void line_text(struct info *in, const char *name, const char *text) {
    info_print(in, "%s:%s\r\n", name, text);
}

/* line_bytes: the number, and again for people as <name>_human. */
static void line_human(struct info *in, const char *name, int64_t bytes) {
    static const char units[] = "BKMGTPE";
    double v = (double)bytes;
    size_t unit = 0;
    for (; v >= 1024 && units[unit + 1] != '\0'; unit++)
        v /= 1024;
    if (unit == 0)
        info_print(in, "%s_human:%ldB\r\n", name, (long)bytes);
    else
        info_print(in, "%s_human:%.2f%c\r\n", name, v, units[unit]);
}

static void line_bytes(struct info *in, const char *name, int64_t bytes) {
    line_int(in, name, bytes);
    line_human(in, name, bytes);
}

static void line_metric(struct info *in, const char *section, const char *name) {
    if (metrics_find(section, name) >= 0)
        line_int(in, name, info_metric(in, section, name));
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
        info_print(in, "listener%u:name=tcp", n++);
        for (const char *at = c->bind; *at != '\0';) {
            size_t len = strcspn(at, " ");
            info_print(in, ",bind=%.*s", (int)len, at);
            at += len + (at[len] == ' ');
        }
        info_print(in, ",port=%ld\r\n", (long)c->port);
    }
    if (c->unixsocket[0] != '\0')
        info_print(in, "listener%u:name=unix,bind=%s\r\n", n, c->unixsocket);
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
    info_print(in, "redis_version:%s\r\nserver_name:anax\r\nanax_version:%s\r\n",
               COMMAND_COMPATIBLE_VERSION, ANAX_VERSION);
    info_print(in, "redis_mode:standalone\r\nos:%s %s %s\r\narch_bits:64\r\n", os.sysname,
               os.release, os.machine);
    line_text(in, "monotonic_clock", "POSIX clock_gettime");
    line_text(in, "multiplexing_api", loop_kind_name(c->shard->loop));
    line_text(in, "atomicvar_api", "c11-builtin");
    info_print(in, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
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
    line_metric(in, "clients", "connected_clients");
    line_int(in, "maxclients", in->config->maxclients);
    line_int(in, "blocked_clients", info_metric(in, "clients", "blocked_clients"));
    rest(in, "clients");
}

/* print_allocator: "jemalloc-5.3.0", of what may be "5.3.0-0-g54eaed1d..." */
static void print_allocator(struct info *in) {
    const char *name = mem_allocator();
    bool version = *name >= '0' && *name <= '9';
    info_print(in, "mem_allocator:%s%.*s\r\n", version ? "jemalloc-" : "", (int)strcspn(name, "-"),
               name);
}

void info_memory(struct info *in) {
    int64_t used = info_metric(in, "memory", "used_memory"), resident = (int64_t)mem_resident();
    int64_t physical = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    info_peak_note(used, in->ctx->now_ms / 1000);
    int64_t peak = info_peak_bytes();
    line_bytes(in, "used_memory", used);
    line_bytes(in, "used_memory_rss", resident);
    line_bytes(in, "used_memory_peak", peak);
    line_int(in, "used_memory_peak_time", info_peak_s());
    info_print(in, "used_memory_peak_perc:%.2f%%\r\n", (double)used * 100 / (double)peak);
    line_bytes(in, "total_system_memory", physical);
    line_bytes(in, "maxmemory", in->config->maxmemory_bytes);
    line_text(in, "maxmemory_policy", text_of(in, SPAN("maxmemory-policy")).text);
    info_print(in, "mem_fragmentation_ratio:%.2f\r\n", (double)resident / (double)used);
    line_int(in, "mem_fragmentation_bytes", resident - used);
    print_allocator(in);
    line_metric(in, "memory", "lazyfree_pending_objects");
    rest(in, "memory");
}

/* --- persistence, stats, replication, cpu --- */

void info_persistence(struct info *in) {
    static const char *const zeros[] = {"loading", "async_loading", "rdb_bgsave_in_progress",
                                        "rdb_saves"};
    for (size_t i = 0; i < COUNT_OF(zeros); i++)
        line_int(in, zeros[i], 0);
    info_print(in, "aof_enabled:0\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n");
    line_int(in, "aof_rewrites", 0);
}

static void line_rate(struct info *in, const char *name, const char *rate) {
    info_print(in, "%s:%.2f\r\n", name, (double)info_metric(in, "rates", rate) / 1024);
}

void info_stats(struct info *in) {
    static const char *const last[] = {"rejected_connections",
                                       "expired_keys",
                                       "keyspace_hits",
                                       "keyspace_misses",
                                       "total_error_replies",
                                       "client_query_buffer_limit_disconnections",
                                       "client_output_buffer_limit_disconnections"};
    line_metric(in, "stats", "total_connections_received");
    line_metric(in, "stats", "total_commands_processed");
    line_int(in, "instantaneous_ops_per_sec", info_metric(in, "rates", "commands"));
    line_metric(in, "stats", "total_net_input_bytes");
    line_metric(in, "stats", "total_net_output_bytes");
    line_rate(in, "instantaneous_input_kbps", "input");
    line_rate(in, "instantaneous_output_kbps", "output");
    for (size_t i = 0; i < COUNT_OF(last); i++)
        line_metric(in, "stats", last[i]);
    rest(in, "stats");
}

void info_replication(struct info *in) {
    info_print(in, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n");
    info_print(in, "master_replid:%s\r\nmaster_replid2:%040d\r\n", admin_replication_id(), 0);
    info_print(in, "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n");
    info_print(in, "repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n");
}

static void print_usage(struct info *in, const char *suffix, int who) {
    struct rusage u;
    if (getrusage(who, &u) != 0)
        return;
    info_print(in, "used_cpu_sys%s:%ld.%06ld\r\nused_cpu_user%s:%ld.%06ld\r\n", suffix,
               (long)u.ru_stime.tv_sec, (long)u.ru_stime.tv_usec, suffix, (long)u.ru_utime.tv_sec,
               (long)u.ru_utime.tv_usec);
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
