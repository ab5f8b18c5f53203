#include "anax/metrics.h"
#include "shards/assert.h"

/* Filled before the first shard starts, read-only from then on. */
static const struct metric *table[METRICS_MAX];
static size_t count;

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
