/* info_sections.c: the sections of INFO that are lists of fields, with Redis's names in its order. What
 * Redis tells of things that are not here (forks, scripts, replicas, ...) is left out. */
#include "admin_impl.h"
#include "info_impl.h"
#include "shards/clock.h"
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

void info_line_int(struct info *in, const char *name, int64_t v) {
    outbuf_printf(&in->out, "%s:%ld\r\n", name, (long)v);
}

void info_line_text(struct info *in, const char *name, const char *text) {
    outbuf_printf(&in->out, "%s:%s\r\n", name, text);
}

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

void info_line_bytes(struct info *in, const char *name, int64_t bytes) {
    info_line_int(in, name, bytes);
    line_human(in, name, bytes);
}

void info_line_metric(struct info *in, const char *section, const char *name) {
    if (metrics_find(section, name) >= 0)
        info_line_int(in, name, info_metric(in, section, name));
}

void info_line_max(struct info *in, const char *name) {
    if (metrics_find("most", name) >= 0)
        info_line_int(in, name, info_metric_max(in, name));
}

void info_rest(struct info *in, const char *section) {
    for (size_t i = 0; i < metrics_count(); i++)
        if (strcmp(metrics_at(i)->section, section) == 0 && !in->printed[i])
            info_line_metric(in, section, metrics_at(i)->name);
}

static void keep_text(void *arg, struct span name, struct span value) {
    struct option_text *t = arg;
    (void)name;
    (void)snprintf(t->text, sizeof t->text, "%.*s", (int)value.len, value.ptr);
}

struct option_text info_text_of(const struct info *in, struct span option) {
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
    info_line_text(in, "executable", path);
    info_line_text(in, "config_file", in->config->file);
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
    info_line_text(in, "monotonic_clock", "POSIX clock_gettime");
    info_line_text(in, "multiplexing_api", loop_kind_name(c->shard->loop));
    info_line_text(in, "atomicvar_api", "c11-builtin");
    outbuf_printf(&in->out, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__,
                  __GNUC_PATCHLEVEL__);
    info_line_int(in, "process_id", getpid());
    info_line_text(in, "process_supervised", info_text_of(in, SPAN("supervised")).text);
    info_line_text(in, "run_id", admin_run_id());
    info_line_int(in, "tcp_port", in->config->port);
    info_line_int(in, "server_time_usec", now_us);
    info_line_int(in, "uptime_in_seconds", (int64_t)up_s);
    info_line_int(in, "uptime_in_days", (int64_t)(up_s / 86400));
    info_line_int(in, "hz", in->config->hz);
    info_line_int(in, "configured_hz", in->config->hz);
    info_line_int(in, "lru_clock", now_us / 1000000 & 0xffffff);
    print_files(in);
    print_listeners(in);
    info_line_int(in, "shards", in->n);
}

/* --- clients --- */

void info_clients(struct info *in) {
    static const char *const most[] = {"client_recent_max_input_buffer",
                                       "client_recent_max_output_buffer"};
    info_line_metric(in, "clients", "connected_clients");
    info_line_int(in, "maxclients", in->config->maxclients);
    for (size_t i = 0; i < COUNT_OF(most); i++)
        info_line_max(in, most[i]);
    info_line_int(in, "blocked_clients", info_metric(in, "clients", "blocked_clients"));
    info_rest(in, "clients");
}

/* --- persistence, stats, replication, cpu --- */

/* print_loading: how far a load is that is under way. */
static void print_loading(struct info *in) {
    int64_t start = info_metric(in, "loading", "loading_start_time");
    int64_t total = info_metric(in, "loading", "loading_total_bytes");
    int64_t done = info_metric(in, "loading", "loading_loaded_bytes");
    int64_t elapsed = in->ctx->now_ms / 1000 - start,
            eta = 1; /* as Redis says while it cannot know */
    if (elapsed > 0 && done > 0)
        eta = (int64_t)((double)elapsed * (double)(total - done) / (double)done);
    info_line_int(in, "loading_start_time", start);
    info_line_int(in, "loading_total_bytes", total);
    info_line_metric(in, "loading", "loading_rdb_used_mem");
    info_line_int(in, "loading_loaded_bytes", done);
    outbuf_printf(&in->out, "loading_loaded_perc:%.2f\r\n",
                  total == 0 ? 0.0 : 100.0 * (double)done / (double)total);
    info_line_int(in, "loading_eta_seconds", eta);
}

/* print_saving: what Redis's child copies of its memory is here what a save has in blocks. */
static void print_saving(struct info *in) {
    static const char *const first[] = {"current_save_keys_processed", "current_save_keys_total",
                                        "rdb_changes_since_last_save", "rdb_bgsave_in_progress",
                                        "rdb_last_save_time"};
    static const char *const last[] = {
        "rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "rdb_saves",
        "rdb_last_cow_size",        "rdb_last_load_keys_expired",  "rdb_last_load_keys_loaded"};
    int64_t told = info_metric(in, "persistence", "current_save_keys_processed");
    int64_t total = info_metric(in, "persistence", "current_save_keys_total");
    info_line_metric(in, "persistence", "current_cow_peak");
    info_line_metric(in, "persistence", "current_cow_size");
    info_line_int(in, "current_cow_size_age", 0);
    outbuf_printf(&in->out, "current_fork_perc:%.2f\r\n",
                  total == 0 ? 0.0 : 100.0 * (double)told / (double)total);
    for (size_t i = 0; i < COUNT_OF(first); i++)
        info_line_metric(in, "persistence", first[i]);
    info_line_text(in, "rdb_last_bgsave_status",
                   info_metric(in, "saving", "failed") != 0 ? "err" : "ok");
    for (size_t i = 0; i < COUNT_OF(last); i++)
        info_line_metric(in, "persistence", last[i]);
}

/* print_log: there is no append-only file yet. */
static void print_log(struct info *in) {
    outbuf_printf(&in->out,
                  "aof_enabled:0\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
                  "aof_last_rewrite_time_sec:-1\r\naof_current_rewrite_time_sec:-1\r\n"
                  "aof_last_bgrewrite_status:ok\r\naof_rewrites:0\r\n"
                  "aof_rewrites_consecutive_failures:0\r\naof_last_write_status:ok\r\n"
                  "aof_last_cow_size:0\r\n");
    outbuf_printf(&in->out, "module_fork_in_progress:0\r\nmodule_fork_last_cow_size:0\r\n");
}

void info_persistence(struct info *in) {
    info_line_metric(in, "persistence", "loading");
    info_line_int(in, "async_loading", 0);
    print_saving(in);
    print_log(in);
    info_rest(in, "persistence");
    if (info_metric(in, "persistence", "loading") != 0)
        print_loading(in);
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
    info_line_metric(in, "stats", "eventloop_cycles");
    info_line_metric(in, "stats", "eventloop_duration_sum");
    info_line_int(in, "eventloop_duration_cmd_sum", (int64_t)(command_ns / 1000));
    info_line_int(in, "instantaneous_eventloop_cycles_per_sec", turns);
    info_line_int(in, "instantaneous_eventloop_duration_usec", turns == 0 ? 0 : us / turns);
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

static void lines(struct info *in, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        info_line_metric(in, "stats", names[i]);
}

static void print_exceeded(struct info *in) {
    int64_t now_ms = (int64_t)(in->ctx->shard->now_ns / 1000000);
    info_line_int(in, "total_eviction_exceeded_time", info_over_total_ms(now_ms));
    info_line_int(in, "current_eviction_exceeded_time", info_over_ms(now_ms));
}

void info_stats(struct info *in) {
    static const char *const first[] = {"rejected_connections",
                                        "expired_keys",
                                        "expired_subkeys",
                                        "expired_time_cap_reached_count",
                                        "expire_cycle_cpu_milliseconds",
                                        "evicted_keys",
                                        "evicted_clients"};
    static const char *const middle[] = {"keyspace_hits",          "keyspace_misses",
                                         "active_defrag_hits",     "active_defrag_misses",
                                         "active_defrag_key_hits", "active_defrag_key_misses"};
    static const char *const last[] = {
        "total_error_replies", "total_reads_processed", "total_writes_processed",
        "client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections"};
    info_line_metric(in, "stats", "total_connections_received");
    info_line_metric(in, "stats", "total_commands_processed");
    info_line_int(in, "instantaneous_ops_per_sec", info_metric(in, "rates", "commands"));
    info_line_metric(in, "stats", "total_net_input_bytes");
    info_line_metric(in, "stats", "total_net_output_bytes");
    line_rate(in, "instantaneous_input_kbps", "input");
    line_rate(in, "instantaneous_output_kbps", "output");
    lines(in, first, COUNT_OF(first));
    print_exceeded(in);
    lines(in, middle, COUNT_OF(middle));
    info_line_max(in, "total_active_defrag_time");
    info_line_max(in, "current_active_defrag_time");
    lines(in, last, COUNT_OF(last));
    print_turns(in);
    info_line_int(in, "acl_access_denied_auth", errors_with(in, "WRONGPASS"));
    info_rest(in, "stats");
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
    info_line_int(in, "cluster_enabled", 0);
}
