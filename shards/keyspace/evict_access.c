/* evict_access.c: what the access bits of an entry say. evict.h draws them. */
#include "evict_impl.h"

enum {
    COUNT_BITS = 8,
    COUNT_MAX = (1 << COUNT_BITS) - 1,
    COUNT_NEW = 5, /* so that a new key is not the first to go */
    MINUTE_MASK = (1 << (ACCESS_BITS - COUNT_BITS)) - 1,
    MINUTE_MS = 60000,
    USES_MASK = 3
};

static void renew_now(struct access *a) {
    uint64_t minute = (uint64_t)a->second / 60;
    a->now = a->kind == ACCESS_COUNTED ? (uint32_t)(minute & MINUTE_MASK) << COUNT_BITS
                                       : (uint32_t)a->tick & ACCESS_MASK;
}

void access_init(struct access *a) {
    *a = (struct access){.kind = ACCESS_USED, .log_factor = 10, .decay_minutes = 1};
    rng_seed(&a->rng, 1);
}

/* mark: that this tick was in this second. When there is no room every second of the older half is forgotten: what is long
 * ago is known less exactly. */
static void mark(struct access *a, uint64_t tick, int64_t second) {
    if (a->mark_count == ACCESS_MARKS) {
        for (uint32_t i = 0; i < ACCESS_MARKS / 4; i++)
            a->marks[i] = a->marks[2 * i];
        memmove(&a->marks[ACCESS_MARKS / 4], &a->marks[ACCESS_MARKS / 2],
                ACCESS_MARKS / 2 * sizeof a->marks[0]);
        a->mark_count = ACCESS_MARKS - ACCESS_MARKS / 4;
    }
    a->marks[a->mark_count++] = (struct access_mark){(uint32_t)tick, (uint32_t)second};
}

void access_renew(struct access *a, int64_t now_ms) {
    int64_t second = now_ms / 1000;
    if (second > a->second) {
        /* Where ticks came faster, and from where on they are seconds again. */
        bool pressed = a->tick != a->second_tick;
        if (pressed && (a->mark_count == 0 || a->marks[a->mark_count - 1].tick != (uint32_t)a->second_tick))
            mark(a, a->second_tick, a->second);
        a->tick += (uint64_t)(second - a->second);
        a->second_tick = a->tick;
        a->second = second;
        if (pressed)
            mark(a, a->tick, second);
    }
    renew_now(a);
    a->due_ms = (a->second + 1) * 1000;
}

void access_press(struct access *a) {
    a->tick++;
    renew_now(a);
}

uint64_t access_idle_s(const struct access *a, uint32_t access) {
    uint32_t age = ((uint32_t)a->tick - access) & ACCESS_MASK, idle = 0;
    uint32_t in_this_second = (uint32_t)(a->tick - a->second_tick);
    if (age <= in_this_second)
        return 0;
    age -= in_this_second;
    struct access_mark later = {(uint32_t)a->second_tick, (uint32_t)a->second};
    for (uint32_t i = a->mark_count; i-- > 0; later = a->marks[i]) {
        uint32_t ticks = later.tick - a->marks[i].tick, seconds = later.second - a->marks[i].second;
        if (age <= ticks)
            return idle + (ticks == 0 ? 0 : (uint64_t)age * seconds / ticks);
        age -= ticks;
        idle += seconds;
    }
    return idle + age;
}

/* access_frequency: the count, less one for each period that the key was not used. */
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
