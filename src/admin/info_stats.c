/* info_stats.c: the sections of INFO that have a line for each command, error, database or shard. */
#include "info_impl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- commands --- */

void info_commandstats(struct info *in) {
    char name[COMMAND_NAME_MAX + 1];
    int64_t n[COMMAND_NUMBERS];
    for (unsigned id = 0; id < command_count(); id++) {
        if (!info_collect(in, RECORD_COMMAND, id, n, COMMAND_NUMBERS))
            continue;
        int64_t us = n[COMMAND_NS] / 1000;
        double us_per_call =
            n[COMMAND_CALLS] == 0 ? 0 : (double)n[COMMAND_NS] / 1000 / (double)n[COMMAND_CALLS];
        command_name_lower(command_at(id), name);
        outbuf_printf(&in->out, "cmdstat_%s:calls=%ld,usec=%ld,usec_per_call=%.2f,", name,
                      (long)n[COMMAND_CALLS], (long)us, us_per_call);
        outbuf_printf(&in->out, "rejected_calls=%ld,failed_calls=%ld\r\n",
                      (long)n[COMMAND_REJECTED], (long)n[COMMAND_FAILED]);
    }
}

/* percentile_us: the longest time that a share of all calls did not take longer than. */
static double percentile_us(const int64_t *buckets, int64_t total, double percentile) {
    int64_t wanted = (int64_t)(percentile / 100 * (double)total + 0.5), passed = 0;
    unsigned b = 0;
    for (; b + 1 < HISTOGRAM_BUCKETS; b++)
        if ((passed += buckets[b]) >= (wanted > 0 ? wanted : 1))
            break;
    uint64_t next = b + 1 < HISTOGRAM_BUCKETS ? histogram_floor(b + 1) : histogram_floor(b) + 1;
    return (double)(next - 1) / 1000;
}

/* print_label: a percentile as short as it can be written: "50", "99.9". */
static void print_label(struct info *in, double percentile) {
    char text[32];
    int len = snprintf(text, sizeof text, "%f", percentile);
    while (text[len - 1] == '0')
        len--;
    outbuf_printf(&in->out, "p%.*s=", text[len - 1] == '.' ? len - 1 : len, text);
}

void info_latencystats(struct info *in) {
    char name[COMMAND_NAME_MAX + 1];
    int64_t buckets[HISTOGRAM_BUCKETS];
    for (unsigned id = 0; id < command_count(); id++) {
        if (!info_collect(in, RECORD_TIME, id, buckets, HISTOGRAM_BUCKETS))
            continue;
        int64_t total = 0;
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
            total += buckets[b];
        command_name_lower(command_at(id), name);
        outbuf_printf(&in->out, "latency_percentiles_usec_%s:", name);
        const char *at = in->config->latency_percentiles;
        for (bool first = true; *at != '\0'; first = false) {
            char *end;
            double percentile = strtod(at, &end);
            if (!first)
                outbuf_printf(&in->out, ",");
            print_label(in, percentile);
            outbuf_printf(&in->out, "%.3f", percentile_us(buckets, total, percentile));
            at = end + (*end == ' ');
        }
        outbuf_printf(&in->out, "\r\n");
    }
}

/* --- errors --- */

static int by_code(const void *a, const void *b) {
    return strcmp(((const struct error_count *)a)->code, ((const struct error_count *)b)->code);
}

/* info_errorstats: as many codes as one shard can tell apart; what shards do not share beyond that is left
 * out of the list, not of total_error_replies. */
void info_errorstats(struct info *in) {
    struct error_count all[ERROR_CODES_MAX];
    size_t count = 0;
    for (unsigned part = 0; part < in->n; part++) {
        uint64_t errors = info_head(in, part).errors;
        for (uint64_t i = 0; i < errors; i++) {
            struct error_count e = info_error_of(in, part, i);
            size_t k = 0;
            while (k < count && strcmp(all[k].code, e.code) != 0)
                k++;
            if (k == COUNT_OF(all))
                continue;
            if (k == count)
                all[count++] = (struct error_count){0};
            memcpy(all[k].code, e.code, sizeof e.code);
            all[k].count += e.count;
        }
    }
    qsort(all, count, sizeof all[0], by_code);
    for (size_t k = 0; k < count; k++)
        if (all[k].count != 0)
            outbuf_printf(&in->out, "errorstat_%s:count=%lu\r\n", all[k].code,
                          (unsigned long)all[k].count);
}

/* --- keys --- */

void info_keyspace(struct info *in) {
    int64_t n[DB_NUMBERS];
    for (unsigned db = 0; db < keyspace_databases(in->ctx->keyspace); db++) {
        if (!info_collect(in, RECORD_DB, db, n, DB_NUMBERS))
            continue;
        int64_t ttl_ms = n[DB_EXPIRES] == 0 ? 0 : n[DB_TTL_MS] / n[DB_EXPIRES];
        outbuf_printf(&in->out, "db%u:keys=%ld,expires=%ld,avg_ttl=%ld\r\n", db, (long)n[DB_KEYS],
                      (long)n[DB_EXPIRES], (long)ttl_ms);
    }
}

/* print_bin: the shortest string of a bin: 0, 1, 2, 4, ... 512, 1K, ... */
static void print_bin(struct info *in, unsigned bin) {
    static const char *const units[] = {"", "K", "M", "G", "T"};
    unsigned doublings = bin == 0 ? 0 : bin - 1;
    unsigned least = bin == 0 ? 0 : 1U << doublings % 10;
    outbuf_printf(&in->out, "%u%s=", least, units[doublings / 10]);
}

void info_keysizes(struct info *in) {
    int64_t lengths[TABLE_LENGTHS];
    for (unsigned db = 0; db < keyspace_databases(in->ctx->keyspace); db++) {
        if (!info_collect(in, RECORD_LENGTH, db, lengths, TABLE_LENGTHS))
            continue;
        outbuf_printf(&in->out, "db%u_distrib_strings_sizes:", db);
        bool first = true;
        for (unsigned bin = 0; bin < TABLE_LENGTHS; bin++) {
            if (lengths[bin] == 0)
                continue;
            if (!first)
                outbuf_printf(&in->out, ",");
            first = false;
            print_bin(in, bin);
            outbuf_printf(&in->out, "%ld", (long)lengths[bin]);
        }
        outbuf_printf(&in->out, "\r\n");
    }
}

/* --- shards --- */

void info_shards(struct info *in) {
    int used = metrics_find("memory", "used_memory");
    int connections = metrics_find("clients", "connected_clients");
    int evicted = metrics_find("stats", "evicted_keys");
    for (unsigned part = 0; part < in->n; part++) {
        struct part_head h = info_head(in, part);
        outbuf_printf(&in->out, "shard%u:keys=%lu,expires=%lu,ops=%lu,bytes=%ld,connections=%ld,",
                      part, (unsigned long)h.keys, (unsigned long)h.expires,
                      (unsigned long)h.commands,
                      used < 0 ? 0L : (long)info_metric_of(in, part, (size_t)used),
                      connections < 0 ? 0L : (long)info_metric_of(in, part, (size_t)connections));
        outbuf_printf(
            &in->out, "messages_sent=%lu,messages_received=%lu,borrows=%lu,longest_turn_usec=%lu,",
            (unsigned long)h.stats.messages_out, (unsigned long)h.stats.messages_in,
            (unsigned long)h.stats.borrows, (unsigned long)(h.stats.longest_turn_ns / 1000));
        outbuf_printf(&in->out, "share=%ld,evicted=%ld,", (long)h.share_bytes,
                      evicted < 0 ? 0L : (long)info_metric_of(in, part, (size_t)evicted));
        outbuf_printf(&in->out, "claims=%lu,claims_waiting=%lu,", (unsigned long)h.claims,
                      (unsigned long)h.claims_waiting);
        outbuf_printf(&in->out,
                      "transactions_started=%lu,transactions_yielded=%lu,steps_waited=%lu\r\n",
                      (unsigned long)h.tx.started, (unsigned long)h.tx.yielded,
                      (unsigned long)h.tx.steps_waited);
    }
}
