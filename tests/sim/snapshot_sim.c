/* snapshot_sim.c: snapshots of all shards while clients write; each must be one state between two transactions. In half of the
 * seeds a sink is told, here; in the others files are written, on a disk that fails, and loaded again (snapshot_files.c).
 *
 * What clients do keeps things in balance, so that a state that never was shows at once:
 *   accounts   MULTI moves an amount from one counter to another: the sum of all is 0
 *   pairs      MSET gives both keys of a pair the same number, which grows: they are equal, in all databases, whichever is
 *              swapped with which; FLUSHDB takes all pairs of a database at once
 *   twins      MULTI pushes to two long lists, or takes from both: they are equal
 *   travellers RENAME gives a long list another name, on any shard: it is there once
 *   passing    keys with a short time to live come and go
 *   any        commands of all kinds on keys of their own (snapshot_any.c)
 * Told to a sink, each entry of all of them is compared with what it was at the cut (snapshot_exact.c). In some seeds clients are
 * careless: nothing is in balance, everything may be flushed and evicted, maxmemory is near, and memory fails.
 * And in time: what was acknowledged before a snapshot was asked for is in it, what was sent after it is not.
 */
#include "shards/defrag.h"
#include "shards/evict.h"
#include "shards/tx.h"
#include "snapshot_impl.h"
#include <stdio.h>
#include <string.h>

enum { CUTS = 4, STEPS = 500 };

struct part {
    struct snapshot_sink sink;
    unsigned shard, slices;
    bool hurried;    /* since it was told that somebody waits for the heavy value that comes next */
    uint64_t digest; /* of the heavy value that is told, as it was at its first slice */
};

static struct part parts[SHARDS_MAX];
static struct tx cut;
static struct tx_part cut_parts[SHARDS_MAX];
static bool cutting, hopped, mute;
static struct progress before, after;
static bool walking;

struct sim_world snapshot_world;
static uint64_t snapshots, heavy_told, waited_for_heavy, told_by_writes, told_all, lost_some;

_Noreturn void snapshot_fail(const char *what) {
    sim_world_fail(&snapshot_world, what);
}

static void note(unsigned db, const struct entry *e) {
    told_all++;
    told_by_writes += !walking;
    snapshot_exact_note(db, e);
    if (!snapshot_progress.careless)
        snapshot_note(db, e);
}

static void tell(struct snapshot_sink *s, unsigned db, const struct entry *e) {
    (void)s;
    note(db, e);
}

static bool tell_some(struct snapshot_sink *s, unsigned db, const struct entry *e) {
    struct part *p = CONTAINER_OF(s, struct part, sink);
    uint64_t digest = snapshot_digest(e);
    if (p->slices++ == 0)
        p->digest = digest;
    if (p->digest != digest)
        snapshot_fail("a value changed while it was told");
    if (p->slices < 4)
        return false;
    p->slices = 0;
    p->hurried = false;
    heavy_told++;
    note(db, e);
    return true;
}

static bool room(struct snapshot_sink *s) {
    (void)s;
    return snapshot_below(3) != 0;
}

static void hurry(struct snapshot_sink *s) {
    CONTAINER_OF(s, struct part, sink)->hurried = true;
}

static void cut_hop(struct shard *at, struct tx_part *p) {
    (void)p;
    shard_claim();
    struct part *mine = &parts[at->id];
    *mine = (struct part){.sink = {tell, tell_some, room, hurry}, .shard = at->id};
    snapshot_exact_take(at->keyspace);
    if (!snapshot_start(&at->snapshot, &mine->sink))
        snapshot_fail("a snapshot cannot start");
}

static void cut_next(struct shard *home, struct tx *t) {
    shard_claim();
    if (t->failed)
        snapshot_fail("no memory for the cut");
    if (hopped) {
        tx_end(home, t);
        return;
    }
    hopped = true;
    for (unsigned i = 0; i < snapshot_world.n; i++)
        t->parts[i].run = t->parts[i].release = true;
    tx_hop(home, t);
}

static void cut_ended(struct shard *home, struct tx *t) {
    (void)home;
    (void)t;
    cutting = false;
}

static ON_SHARD void memory_again(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++)
        shards_get(snapshot_world.shards, i)->mem.fail_in = 0;
}

static void start_cut(void) {
    static const struct tx_ops ops = {NULL, cut_hop, cut_next, cut_ended};
    unsigned home = snapshot_below(snapshot_world.n);
    shard_claim();
    memory_again();
    if (!snapshot_world.awake[home])
        (void)sim_world_turn(&snapshot_world, home); /* may doze again */
    if (!snapshot_world.awake[home])
        shard_rouse(shards_get(snapshot_world.shards, home));
    snapshot_world.awake[home] = true;
    snapshot_forget();
    snapshot_exact_forget();
    before = snapshot_progress;
    memset(cut_parts, 0, sizeof cut_parts);
    for (unsigned i = 0; i < snapshot_world.n; i++)
        cut_parts[i] = (struct tx_part){.shard = (uint16_t)i, .whole = TX_SHARED};
    cut = (struct tx){.ops = &ops, .parts = cut_parts, .part_count = (uint16_t)snapshot_world.n};
    cutting = true;
    hopped = false;
    mute = snapshot_below(8) == 0;
    tx_start(shards_get(snapshot_world.shards, home), &cut);
}

static bool snapshot_over(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++)
        if (keyspace_cut_open(shards_get(snapshot_world.shards, i)->keyspace))
            return false;
    return !cutting;
}

/* walk: a slice on one shard, by its owner. */
static void walk(unsigned shard) {
    struct shard *s = shards_get(snapshot_world.shards, shard);
    shard_claim();
    if (!snapshot_world.awake[shard])
        shard_rouse(s);
    snapshot_world.awake[shard] = true;
    waited_for_heavy += snapshot_hurried(&s->snapshot);
    if (snapshot_hurried(&s->snapshot) && !parts[shard].hurried)
        snapshot_fail("nobody was told that somebody waits");
    walking = true;
    (void)snapshot_some(&s->snapshot, 0);
    walking = false;
    (void)sim_world_turn(&snapshot_world, shard); /* sends what it has set free */
}

static void walk_all(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++)
        walk(i);
}

/* chores: what a shard does by itself, more often than its timers would: keys and members expire, things move, and where nobody keeps
 * anything in balance, keys go for want of room. */
static void chores(struct shard *s) {
    static struct defrag walks[SHARDS_MAX];
    shard_claim();
    if (!snapshot_world.awake[s->id])
        shard_rouse(s);
    snapshot_world.awake[s->id] = true;
    (void)keyspace_expire_some(s->keyspace, s->wall_ms, 1 + snapshot_below(50));
    walks[s->id].mover.everything = true;
    (void)defrag_some(s->keyspace, &walks[s->id], 1 + snapshot_below(200));
    (void)keyspace_free_some(s->keyspace, 1 + snapshot_below(100));
    if (snapshot_progress.careless && !cutting && snapshot_below(3) == 0)
        s->mem.fail_in = s->mem.fail_every = 1 + snapshot_below(20);
    struct evicted gone = {0};
    if (snapshot_progress.careless && snapshot_below(2) == 0)
        (void)keyspace_evict(s->keyspace, s->wall_ms, &gone);
}

static void step(void) {
    unsigned what = snapshot_below(12);
    if (what < 5)
        (void)sim_world_turn(&snapshot_world, snapshot_below(snapshot_world.n));
    else if (what < 9)
        snapshot_client_step();
    else if (what < 11)
        walk(snapshot_below(snapshot_world.n));
    else if (snapshot_below(2) == 0)
        chores(shards_get(snapshot_world.shards, snapshot_below(snapshot_world.n)));
    else if (snapshot_below(2) == 0)
        sim_advance(snapshot_world.net, snapshot_below(300000));
}

/* any_lost: only for want of memory. */
static bool any_lost(void) {
    bool lost = false;
    for (unsigned i = 0; i < snapshot_world.n; i++)
        lost |= snapshot_lost(&shards_get(snapshot_world.shards, i)->snapshot);
    if (lost && !snapshot_progress.careless)
        snapshot_fail("a key is lost");
    lost_some += lost;
    return lost;
}

/* one_cut: from the moment to the last entry. */
static ON_SHARD void one_cut(void) {
    start_cut();
    for (unsigned steps = 0; cutting; steps++) {
        step();
        if (steps == STEPS_MAX)
            snapshot_fail("the cut does not get on");
    }
    after = snapshot_progress;
    for (unsigned steps = 0; !snapshot_over(); steps++) {
        step();
        for (unsigned i = 0; mute && steps == 50 && i < snapshot_world.n; i++)
            snapshot_give_up(&shards_get(snapshot_world.shards, i)->snapshot);
        if (steps == STEPS_MAX)
            snapshot_fail("a snapshot does not get on");
    }
    if (mute)
        return;
    if (any_lost())
        return;
    snapshot_exact_check();
    if (!snapshot_progress.careless)
        snapshot_check(&before, &after);
    snapshots++;
}

static void choose_eviction(void) {
    struct evict_options o = {EVICT_ALLKEYS_LRU + snapshot_below(EVICT_VOLATILE_TTL), 5, 10, 1};
    shard_claim();
    for (unsigned i = 0; i < snapshot_world.n; i++)
        keyspace_set_eviction(shards_get(snapshot_world.shards, i)->keyspace, &o);
}

static void run_sink(uint64_t seed) {
    shard_claim();
    sim_world_begin(&snapshot_world, seed);
    snapshot_clients_begin(walk_all);
    if (snapshot_progress.careless)
        choose_eviction();
    for (unsigned n = 0; n < CUTS; n++) {
        sim_world_faults(&snapshot_world);
        for (unsigned i = snapshot_below(STEPS); i > 0; i--)
            step();
        one_cut();
    }
    sim_world_no_faults(&snapshot_world);
    memory_again();
    snapshot_clients_settle(walk_all);
    snapshot_clients_end();
    sim_world_quiet(&snapshot_world);
    sim_world_end(&snapshot_world);
}

/* A seed's remainder by 4 chooses the number of shards. */
static void run_seed(uint64_t seed) {
    if (seed / 4 % 2 == 0)
        run_sink(seed);
    else if (seed / 8 % 16 == 0)
        snapshot_bound_run(seed);
    else
        snapshot_files_run(seed);
}

static bool reached(uint64_t seeds) {
    const struct snapshot_files_totals *f = &snapshot_files_totals;
    (void)printf("%lu snapshots, %lu keys told, %lu of them by writes, %lu heavy; %lu slices were "
                 "waited for; %lu snapshots lost something; ",
                 (unsigned long)snapshots, (unsigned long)told_all, (unsigned long)told_by_writes,
                 (unsigned long)heavy_told, (unsigned long)waited_for_heavy,
                 (unsigned long)lost_some);
    (void)printf("%lu files, %lu failed, %lu cancelled, %lu kills, %lu crashes, %lu loaded; %lu of "
                 "%lu saves on a disk that took nothing gave up\n",
                 (unsigned long)f->saves, (unsigned long)f->failed, (unsigned long)f->cancelled,
                 (unsigned long)f->kills, (unsigned long)f->crashes, (unsigned long)f->loaded,
                 (unsigned long)snapshot_bound_gave_up, (unsigned long)snapshot_bound_runs);
    return seeds < 100 ||
           (snapshots != 0 && heavy_told != 0 && waited_for_heavy != 0 && told_by_writes != 0 &&
            told_by_writes < told_all && f->saves != 0 && f->failed != 0 && f->kills != 0 &&
            f->crashes != 0 && f->loaded != 0 && snapshot_bound_gave_up != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, NULL, reached);
}
