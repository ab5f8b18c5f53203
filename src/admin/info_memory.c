/* info_memory.c: section memory of INFO, and what it shares with MEMORY. */
#include "info_impl.h"
#include <unistd.h>

double info_ratio(int64_t of, int64_t to) {
    return to == 0 ? 0 : (double)of / (double)to;
}

void memory_report(struct info *in, struct memory_report *r) {
    *r = (struct memory_report){.used = info_metric(in, "memory", "used_memory"),
                                .startup = info_metric(in, "memory", "used_memory_startup"),
                                .clients = info_metric(in, "memory", "mem_clients_normal"),
                                .connections = info_metric(in, "clients", "connected_clients"),
                                .resident = (int64_t)mem_resident()};
    for (unsigned part = 0; part < in->n; part++) {
        struct part_head head = info_head(in, part);
        r->tables += (int64_t)head.table_bytes;
        r->keys += (int64_t)head.keys;
    }
    r->overhead = r->startup + r->clients + r->tables;
    r->dataset = r->used > r->overhead ? r->used - r->overhead : 0;
    info_peak_note(r->used, in->ctx->now_ms / 1000);
    r->peak = info_peak_bytes();
    size_t used = (size_t)r->used, resident = (size_t)r->resident;
    if (!mem_usage(&r->allocator)) /* then it loses nothing, as far as one can see */
        r->allocator = (struct mem_usage){used, resident, resident};
    const int64_t allocated = (int64_t)r->allocator.allocated_bytes,
                  active = (int64_t)r->allocator.active_bytes,
                  kept = (int64_t)r->allocator.resident_bytes;
    r->loss[LOSS_IN_PAGES] = (struct memory_step){active, allocated};
    r->loss[LOSS_FREE_PAGES] = (struct memory_step){kept, active};
    r->loss[LOSS_BESIDE] = (struct memory_step){r->resident, kept};
    r->loss[LOSS_ALL] = (struct memory_step){r->resident, r->used};
}

int64_t memory_lost(const struct memory_report *r, enum memory_loss which) {
    return r->loss[which].has - r->loss[which].needs;
}

double memory_loss_ratio(const struct memory_report *r, enum memory_loss which) {
    return info_ratio(r->loss[which].has, r->loss[which].needs);
}

/* print_zeros: what other tools read and what there is none of: scripts, replicas, a cluster, an AOF. */
static void print_zeros(struct info *in, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        info_line_int(in, names[i], 0);
}

static void print_scripts(struct info *in) {
    static const char *const first[] = {"used_memory_lua", "used_memory_vm_eval"},
                             *const then[] = {"used_memory_scripts_eval",
                                              "number_of_cached_scripts",
                                              "number_of_functions",
                                              "number_of_libraries",
                                              "used_memory_vm_functions",
                                              "used_memory_vm_total"},
                             *const last[] = {"used_memory_functions", "used_memory_scripts"};
    print_zeros(in, first, COUNT_OF(first));
    info_line_text(in, "used_memory_lua_human", "0B");
    print_zeros(in, then, COUNT_OF(then));
    info_line_text(in, "used_memory_vm_total_human", "0B");
    print_zeros(in, last, COUNT_OF(last));
    info_line_text(in, "used_memory_scripts_human", "0B");
}

static void print_losses(struct info *in, const struct memory_report *r) {
    static const char *const names[] = {"allocator_frag", "allocator_rss", "rss_overhead",
                                        "mem_fragmentation"};
    for (unsigned i = 0; i < MEMORY_LOSSES; i++) {
        outbuf_printf(&in->out, "%s_ratio:%.2f\r\n", names[i], memory_loss_ratio(r, i));
        outbuf_printf(&in->out, "%s_bytes:%ld\r\n", names[i], (long)memory_lost(r, i));
    }
}

static void print_percent(struct info *in, const char *name, double ratio) {
    outbuf_printf(&in->out, "%s:%.2f%%\r\n", name, ratio * 100);
}

static void print_used(struct info *in, const struct memory_report *r) {
    info_line_bytes(in, "used_memory", r->used);
    info_line_bytes(in, "used_memory_rss", r->resident);
    info_line_bytes(in, "used_memory_peak", r->peak);
    info_line_int(in, "used_memory_peak_time", info_peak_s());
    print_percent(in, "used_memory_peak_perc", info_ratio(r->used, r->peak));
    info_line_int(in, "used_memory_overhead", r->overhead);
    info_line_int(in, "used_memory_startup", r->startup);
    info_line_int(in, "used_memory_dataset", r->dataset);
    print_percent(in, "used_memory_dataset_perc",
                  r->used > r->startup ? info_ratio(r->dataset, r->used - r->startup) : 0);
    info_line_int(in, "allocator_allocated", (int64_t)r->allocator.allocated_bytes);
    info_line_int(in, "allocator_active", (int64_t)r->allocator.active_bytes);
    info_line_int(in, "allocator_resident", (int64_t)r->allocator.resident_bytes);
}

void info_memory(struct info *in) {
    static const char *const before[] = {"mem_not_counted_for_evict", "mem_replication_backlog",
                                         "mem_total_replication_buffers", "mem_clients_slaves"},
                             *const after[] = {"mem_cluster_links", "mem_aof_buffer"};
    struct memory_report r;
    memory_report(in, &r);
    print_used(in, &r);
    info_line_bytes(in, "total_system_memory",
                    (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    print_scripts(in);
    info_line_bytes(in, "maxmemory", in->config->maxmemory_bytes);
    info_line_text(in, "maxmemory_policy", info_text_of(in, SPAN("maxmemory-policy")).text);
    print_losses(in, &r);
    print_zeros(in, before, COUNT_OF(before));
    info_line_int(in, "mem_clients_normal", r.clients);
    print_zeros(in, after, COUNT_OF(after));
    info_line_text(in, "mem_allocator", mem_allocator());
    info_line_metric(in, "memory", "active_defrag_running");
    info_line_metric(in, "memory", "lazyfree_pending_objects");
    info_rest(in, "memory");
}
