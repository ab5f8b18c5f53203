/* evict_ttl.c: the key that expires first, or nearly, by the stamps of groups (table_impl.h).
 *
 * A call compares the least stamps of a window of segments, another one each time, and takes the key that expires first out of
 * the group with the least of all; in a table of no more segments that is the first there is, to a tick. The stamp then says what is
 * left in the group, so that nobody comes for what has gone. One that is too low, since a key got another time or was deleted,
 * is put right, and the next group is looked at. A group is chosen two calls before it is looked at, and fetched meanwhile.
 *
 * A pool of keys, as other policies have it, was worse and cost twice as much: stamps were not put right, so that after a while the
 * least of them were of keys that had gone long ago, and what went was left to chance.
 */
#include "evict_impl.h"

enum {
    LOOKS_MAX = 4,
    WINDOW = 8,      /* segments, of 490 keys each, for one of the samples */
    SAMPLES_MAX = 64 /* more are as many */
};

/* What a group holds. */
struct look {
    struct place at; /* its key that expires first and may go, unless first_ms is NEVER_MS */
    uint32_t index;
    int64_t first_ms;
    uint32_t rest; /* the stamp of all others */
};
#define NEVER_MS INT64_MAX

static uint32_t window(const struct evict *v) {
    uint32_t samples = v->options.samples;
    return (samples < SAMPLES_MAX ? samples : SAMPLES_MAX) * WINDOW;
}

/* soonest: the group with the least stamp, from a tick on, of a window of segments, or of more, where those have none. They are
 * spread over the table: in one place all chains may be half as long as elsewhere, and would lose as many keys. */
static struct soon soonest(struct evict *v, const struct table *t, uint32_t from) {
    struct soon best = {0, TICK_NEVER};
    uint32_t where = 0, segments = table_segments(t), step = segments / window(v) + 1;
    for (uint32_t n = 0; n < step && best.tick == TICK_NEVER; n++) {
        v->hand = v->hand + 1 < step ? v->hand + 1 : 0;
        for (uint32_t i = v->hand; i < segments; i += step)
            if (t->due[i].least < best.tick && t->due[i].least >= from) {
                best.tick = t->due[i].least;
                where = i;
            }
    }
    if (best.tick == TICK_NEVER)
        return best;
    while (t->due[where].groups[best.group] != best.tick)
        best.group++;
    best.group += where * TABLE_GROUPS;
    return best;
}

/* next_soon: out of a small table, which is in cache, the first of all from a tick on. */
static ON_SHARD struct soon next_soon(struct evict *v, const struct table *t, uint32_t from) {
    if (table_segments(t) < window(v))
        return soonest(v, t, from);
    struct soon next = v->soon[0];
    v->soon[0] = v->soon[1];
    v->soon[1] = soonest(v, t, 0);
    table_fetch_group(t, v->soon[0].group, true);
    table_fetch_group(t, v->soon[1].group, false);
    return next;
}

/* still: the group is there, and nothing has been taken out of it since it was chosen. */
static bool still(const struct table *t, struct soon s) {
    return s.tick != TICK_NEVER && s.group / TABLE_GROUPS < table_segments(t) &&
           table_stamp(t, s.group) <= s.tick;
}

/* inner_tick: of what expires inside an entry's object. One that somebody holds is not looked at, and may be due by the stamp
 * that its group has. */
static ON_SHARD uint32_t inner_tick(const struct entry *e, uint32_t stamp, held_fn *held,
                                    void *arg) {
    if (!entry_may_have_times(e))
        return TICK_NEVER;
    if (held(arg, hash_of(entry_key(e))))
        return stamp;
    int64_t inner_ms = entry_inner_ms(e);
    return inner_ms == OBJECT_NEVER ? TICK_NEVER : tick_of(inner_ms);
}

/* look_at: with `ask`, keys that somebody holds are among the others. */
static ON_SHARD struct look look_at(const struct table *t, uint32_t group, bool ask, held_fn *held,
                                    void *arg) {
    struct look l = {.first_ms = NEVER_MS, .rest = t->prepared == 0 ? TICK_NEVER : TICK_NEVER - 1};
    uint32_t first = group * TABLE_GROUP, stamp = table_stamp(t, group);
    int64_t rest_ms = NEVER_MS;
    for (uint32_t i = first; i < first + TABLE_GROUP && i < t->bucket_count; i++) {
        for (struct bucket *b = table_bucket(t, i); b != NULL; b = bucket_next(b))
            for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
                unsigned place = (unsigned)__builtin_ctz(used);
                const struct entry *e = bucket_address(b, place);
                if (unlikely(t->inner)) {
                    uint32_t tick = inner_tick(e, stamp, held, arg);
                    l.rest = tick < l.rest ? tick : l.rest;
                }
                if (!entry_has_expiry(e))
                    continue;
                int64_t later_ms = entry_expiry(e);
                if (later_ms < l.first_ms && !(ask && held(arg, hash_of(entry_key(e))))) {
                    int64_t ms = l.first_ms;
                    l.at = (struct place){b, place};
                    l.index = i;
                    l.first_ms = later_ms;
                    later_ms = ms;
                }
                rest_ms = later_ms < rest_ms ? later_ms : rest_ms;
            }
    }
    uint32_t tick = rest_ms == NEVER_MS ? TICK_NEVER : tick_of(rest_ms);
    l.rest = tick < l.rest ? tick : l.rest;
    return l;
}

static uint64_t first_hash(const struct look *l) {
    return hash_of(entry_key(bucket_address(l->at.bucket, l->at.i)));
}

static uint32_t first_tick(const struct look *l) {
    return l->first_ms == NEVER_MS ? TICK_NEVER : tick_of(l->first_ms);
}

bool ttl_victim(struct evict *v, struct table *t, uint32_t db, held_fn *held, void *arg,
                struct victim *out) {
    struct look best = {.first_ms = NEVER_MS};
    uint32_t group = 0, from = 0;
    for (unsigned n = 0; n < LOOKS_MAX; n++) {
        struct soon s = next_soon(v, t, from);
        if (!still(t, s))
            continue;
        struct look l = look_at(t, s.group, false, held, arg);
        if (l.first_ms != NEVER_MS && held(arg, first_hash(&l)))
            l = look_at(t, s.group, true, held, arg);
        uint32_t tick = first_tick(&l);
        table_set_stamp(t, s.group, tick < l.rest ? tick : l.rest);
        if (l.first_ms < best.first_ms) {
            best = l;
            group = s.group;
        }
        if (tick <= s.tick)
            break;
        if (l.rest <= s.tick) /* of what is held, or inside an object: it stays the least of all */
            from = s.tick + 1;
    }
    if (best.first_ms == NEVER_MS)
        return false;
    table_set_stamp(t, group, best.rest);
    *out = (struct victim){t, db, best.index, best.at, first_hash(&best)};
    return true;
}
