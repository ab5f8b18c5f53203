/* snapshot.c: see shards/snapshot.h. */
#include "shards/snapshot.h"
#include "shards/clock.h"

void snapshot_init(struct snapshot *s, struct keyspace *k, const struct snapshot_hooks *hooks) {
    *s = (struct snapshot){.keyspace = k, .hooks = *hooks};
}

static void tell(void *arg, unsigned db, const struct entry *e) {
    struct snapshot *s = arg;
    s->told++;
    s->sink->tell(s->sink, db, e);
}

static void end(struct snapshot *s) {
    s->is_active = s->hurried = false;
    s->sink = NULL;
    s->hooks.active(s->hooks.arg, false);
}

bool snapshot_start(struct snapshot *s, struct snapshot_sink *sink) {
    if (keyspace_cut_open(s->keyspace))
        return false;
    s->sink = sink;
    s->told = 0;
    s->total = keyspace_cut(s->keyspace, tell, s);
    s->is_active = s->total != 0;
    s->hurried = false;
    if (s->is_active)
        s->hooks.active(s->hooks.arg, true);
    return true;
}

void snapshot_give_up(struct snapshot *s) {
    if (!s->is_active)
        return;
    keyspace_cut_mute(s->keyspace);
    end(s);
}

/* heavy_some: a slice of what is told in slices; false: the sink has no room for it, and nobody waits for it. */
static ON_SHARD bool heavy_some(struct snapshot *s, const struct entry *e, unsigned db) {
    if (!s->hurried && !s->sink->room(s->sink))
        return false;
    bool last = s->sink->tell_some(s->sink, db, e);
    if (s->sink == NULL)
        return true;
    if (!last) /* without room a slice is all for now: the sink may have to wait */
        return s->sink->room(s->sink);
    keyspace_cut_told(s->keyspace);
    s->told++;
    s->hurried = false;
    s->hooks.told(s->hooks.arg);
    return true;
}

/* some: false: there is nothing more, or nothing can go on for now. */
static ON_SHARD bool some(struct snapshot *s, uint64_t until_ns) {
    unsigned db;
    if (s->sink != NULL) {
        const struct entry *heavy = keyspace_cut_heavy(s->keyspace, &db);
        if (heavy != NULL)
            return heavy_some(s, heavy, db);
        if (!s->sink->room(s->sink))
            return false;
    }
    return keyspace_cut_walk(s->keyspace, until_ns);
}

bool snapshot_some(struct snapshot *s, uint64_t until_ns) {
    while (some(s, until_ns) && clock_fine_ns() < until_ns) {
    }
    bool more = keyspace_cut_open(s->keyspace);
    if (!more && s->is_active)
        end(s);
    return more;
}

bool snapshot_active(const struct snapshot *s) {
    return s->is_active;
}

uint64_t snapshot_told(const struct snapshot *s) {
    return s->told;
}

uint64_t snapshot_total(const struct snapshot *s) {
    return s->total;
}

bool snapshot_lost(const struct snapshot *s) {
    return keyspace_cut_lost(s->keyspace);
}

bool snapshot_hurried(const struct snapshot *s) {
    return s->hurried;
}

bool snapshot_ready(struct snapshot *s, uint64_t hash) {
    if (keyspace_cut_touch(s->keyspace, hash))
        return true;
    if (!s->hurried) {
        s->hurried = true;
        s->sink->hurry(s->sink);
    }
    return false;
}
