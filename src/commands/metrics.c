#include "anax/metrics.h"
#include "shards/assert.h"

/* Filled before the first shard starts, read-only from then on. */
static const struct metric *table[METRICS_MAX];
static size_t count;

struct hooks {
    metrics_fn *fns[METRIC_HOOKS_MAX];
    size_t count;
};
static struct hooks ticks, resets;

void metrics_register(const struct metric *rows, size_t n) {
    ASSERT(count + n <= METRICS_MAX);
    for (size_t i = 0; i < n; i++)
        table[count++] = &rows[i];
}

size_t metrics_count(void) {
    return count;
}

const struct metric *metrics_at(size_t i) {
    ASSERT(i < count);
    return table[i];
}

int metrics_find(const char *section, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i]->name, name) == 0 && strcmp(table[i]->section, section) == 0)
            return (int)i;
    return -1;
}

/* --- hooks --- */

static void hooks_add(struct hooks *h, metrics_fn *fn) {
    ASSERT(h->count < METRIC_HOOKS_MAX);
    h->fns[h->count++] = fn;
}

static void hooks_call(const struct hooks *h, struct shard *s) {
    for (size_t i = 0; i < h->count; i++)
        h->fns[i](s);
}

void metrics_tick_register(metrics_fn *fn) {
    hooks_add(&ticks, fn);
}

void metrics_tick(struct shard *s) {
    hooks_call(&ticks, s);
}

void metrics_reset_register(metrics_fn *fn) {
    hooks_add(&resets, fn);
}

void metrics_reset(struct shard *s) {
    hooks_call(&resets, s);
}

/* --- rates --- */

void rate_note(struct rate *r, int64_t now, uint64_t now_ns) {
    if (r->last_ns != 0 && now_ns > r->last_ns) {
        double seconds = (double)(now_ns - r->last_ns) / 1e9;
        /* A counter that went back was reset. */
        int64_t grown = now > r->last ? now - r->last : 0;
        r->per_second[r->next] = (int64_t)((double)grown / seconds);
        r->next = (r->next + 1) % RATE_SAMPLES;
    }
    r->last = now;
    r->last_ns = now_ns;
}

int64_t rate_per_second(const struct rate *r) {
    int64_t sum = 0;
    for (unsigned i = 0; i < RATE_SAMPLES; i++)
        sum += r->per_second[i];
    return sum / RATE_SAMPLES;
}
