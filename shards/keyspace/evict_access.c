/* evict_access.c: what the access bits of an entry say. evict.h draws them. */
#include "evict_impl.h"

enum {
    COUNT_BITS = 8,
    COUNT_MAX = (1 << COUNT_BITS) - 1,
    COUNT_NEW = 5, /* so that a new key is not the first to go */
    MINUTE_MASK = (1 << (ACCESS_BITS - COUNT_BITS)) - 1,
    USES_MASK = 3
};

void access_init(struct access *a) {
    *a = (struct access){.kind = ACCESS_USED, .log_factor = 10, .decay_minutes = 1};
    rng_seed(&a->rng, 1);
}

void access_renew(struct access *a, int64_t now_ms) {
    int64_t second = now_ms / 1000;
    a->second = second;
    a->due_ms = (a->second + 1) * 1000;
    a->now = a->kind == ACCESS_COUNTED ? (uint32_t)(a->second / 60 & MINUTE_MASK) << COUNT_BITS
                                       : (uint32_t)a->second & ACCESS_MASK;
}

uint64_t access_idle_s(const struct access *a, uint32_t access) {
    return ((uint64_t)a->second - access) & ACCESS_MASK;
}

/* access_frequency: the count, less one for each period that the key was not used. */
uint32_t access_told(struct access *a, int64_t now_ms, int64_t idle_s, int64_t frequency) {
    access_at(a, now_ms);
    if (a->kind == ACCESS_COUNTED && frequency >= 0)
        return a->now | ((uint32_t)frequency & COUNT_MAX);
    if ((a->kind == ACCESS_USED || a->kind == ACCESS_CHANGED) && idle_s >= 0)
        return (uint32_t)(a->second - (idle_s < ACCESS_MASK ? idle_s : ACCESS_MASK)) & ACCESS_MASK;
    return ACCESS_AUTO;
}

uint32_t access_frequency(const struct access *a, uint32_t access) {
    uint32_t count = access & COUNT_MAX;
    if (a->decay_minutes == 0)
        return count;
    uint32_t minutes = ((a->now >> COUNT_BITS) - (access >> COUNT_BITS)) & MINUTE_MASK;
    uint32_t periods = minutes / a->decay_minutes;
    return count > periods ? count - periods : 0;
}

/* counted: one use more. The higher the count the less likely it rises, so that 8 bits last for a million uses. */
static uint32_t counted(struct access *a, uint32_t access) {
    uint32_t count = access_frequency(a, access);
    uint64_t above = count > COUNT_NEW ? count - COUNT_NEW : 0;
    if (count < COUNT_MAX && rng_below(&a->rng, above * a->log_factor + 1) == 0)
        count++;
    return a->now | count;
}

void access_count(struct access *a, struct entry *e) {
    uint32_t before = entry_access(e), after = before;
    if (a->kind == ACCESS_COUNTED)
        after = counted(a, before);
    else if (a->kind == ACCESS_PLACED && (before & USES_MASK) != USES_MASK)
        after = before + 1;
    if (after != before)
        entry_set_access(e, after);
}

uint32_t access_new(const struct access *a, uint32_t wanted) {
    if (wanted != ACCESS_AUTO)
        return wanted & ACCESS_MASK;
    return a->kind == ACCESS_COUNTED ? a->now | COUNT_NEW : a->now;
}
