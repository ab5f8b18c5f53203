/* tx_sim_test.c: transactions and steps in seeded random order, with a model that knows who may run when.
 *
 * A seed chooses shards, keys, the bound of the bus, who wants what in how many hops, which of these, and which steps, go on
 * for some turns, which message arrives next, which allocation fails and who is given up. A node of the model is a transaction or a step. What is checked, by the numbers of tx.h:
 * (1) at every hop all its claims are granted; (2) nobody runs beside one that it conflicts with, and what `look` saw is
 * still so when it runs; (3) what nodes did to keys, what one home sent in order, and what ended before another
 * began never contradict each other: the graph of all that has no cycle; (4) who met no conflict did not wait; (5) ended comes
 * once, and whatever comes later finds poison; (6) all end, after a bounded number of messages, and no byte is left.
 */
#include "../../shards/tx/claim_impl.h"
#include "tx_fixture.h"

enum {
    NODES_MAX = 128,
    KEYS_MAX = 4,
    WANTS_MAX = 3,
    DBS = 2,
    LOG_MAX = 512,
    POISON = 0xa5,
    DELIVERIES_PER_NODE_MAX = 400
};

struct sim_tx {
    struct tx tx;
    struct tx_part parts[TOY_SHARDS_MAX];
    struct tx_want wants[TOY_SHARDS_MAX][WANTS_MAX];
    uint64_t looked[TOY_SHARDS_MAX][KEYS_MAX][DBS]; /* versions that look saw */
    bool has_looked[TOY_SHARDS_MAX];
    unsigned node, hops, hops_done, holds_left;
    bool runs, releases_last, releases_early;
};

struct sim_step {
    struct bus_msg msg;
    struct tx_step step;
    struct tx_want want;
    unsigned node;
    unsigned left; /* times that it runs again */
    bool at_once, ran, finished;
};

/* What goes on in a later turn of a shard: a hop, a step, or a transaction that its home holds. */
struct later {
    struct shard *at;
    struct tx_part *part;
    struct sim_step *step;
    struct tx_claim *self; /* of the step */
    struct tx *held;
};

/* What a transaction or a step wants, for the model; it outlives the thing itself. */
struct node {
    unsigned home;
    uint64_t client;
    bool ordered; /* sent while something that its client sent before was under way */
    uint8_t mode[TOY_SHARDS_MAX][KEYS_MAX][DBS];
    bool named[TOY_SHARDS_MAX][KEYS_MAX][DBS]; /* not only as part of a whole shard */
    bool here[TOY_SHARDS_MAX], whole[TOY_SHARDS_MAX], writes[TOY_SHARDS_MAX];
    uint64_t began, ended; /* ended 0: not yet */
    bool is_step, met_conflict, dropped;
    unsigned running; /* of a transaction: parts that it holds */
    bool holds[TOY_SHARDS_MAX];
    struct sim_tx *tx;
    struct sim_step *step;
};

struct access {
    uint16_t node;
    uint8_t mode;
};

struct sim {
    uint64_t seed, now;
    struct rng rng;
    struct toy toy;
    unsigned keys, nodes, nodes_max, alive;
    bool no_memory, may_pin, whole, lengthy, gives_up;
    struct later later[NODES_MAX * TOY_SHARDS_MAX];
    unsigned later_count;
    struct node node[NODES_MAX];
    uint64_t version[TOY_SHARDS_MAX][KEYS_MAX][DBS];
    struct access log[TOY_SHARDS_MAX][KEYS_MAX][DBS][LOG_MAX];
    unsigned logged[TOY_SHARDS_MAX][KEYS_MAX][DBS];
    uint64_t follows[NODES_MAX][NODES_MAX / 64];
    uint64_t reach[12]; /* of what happened in all seeds */
};
enum {
    SAW_YIELD,
    SAW_WAIT,
    SAW_STEP_WAIT,
    SAW_FAILED,
    SAW_OVERTAKING,
    SAW_LONG_STEP,
    SAW_LONG_RELEASE,
    SAW_HELD,
    SAW_BACKLOG,
    SAW_LONG_HOP,
    SAW_NOTICING, /* a hop ended while the notice of the grant was on its way back */
    SAW_GIVEN_UP
};

static struct sim sim;

static void check(bool ok, const char *what) {
    if (!ok)
        cr_assert_fail("seed %lu, after %lu messages: %s", (unsigned long)sim.seed,
                       (unsigned long)sim.toy.delivered, what);
}

static unsigned below(unsigned n) {
    return (unsigned)rng_below(&sim.rng, n);
}

/* Keys of one shard share a chain of intents at first. */
static uint64_t hash_of_key(unsigned key) {
    return (uint64_t)key << 32 | 7;
}

static void later(struct later l) {
    if (sim.later_count == COUNT_OF(sim.later))
        cr_assert_fail("seed %lu: too much goes on", (unsigned long)sim.seed);
    sim.later[sim.later_count++] = l;
}

/* --- the model --- */

static bool conflict_at(const struct node *a, const struct node *b, unsigned at) {
    for (unsigned k = 0; k < KEYS_MAX * DBS; k++)
        if (a->mode[at][k / DBS][k % DBS] + b->mode[at][k / DBS][k % DBS] > 2 &&
            a->mode[at][k / DBS][k % DBS] != 0 && b->mode[at][k / DBS][k % DBS] != 0)
            return true;
    return false;
}

static bool conflict(const struct node *a, const struct node *b) {
    for (unsigned at = 0; at < sim.toy.n; at++)
        if (conflict_at(a, b, at))
            return true;
    return false;
}

/* may_wait: one that wants everything waits for whoever writes anything, and the other way round. */
static bool may_wait(const struct node *a, const struct node *b) {
    for (unsigned at = 0; at < sim.toy.n; at++)
        if (conflict_at(a, b, at) || ((a->whole[at] || b->whole[at]) && a->here[at] &&
                                      b->here[at] && (a->writes[at] || b->writes[at])))
            return true;
    return false;
}

/* names_same: have they a key in common that both name, even if both only read it? */
static bool names_same(const struct node *a, const struct node *b) {
    for (unsigned at = 0; at < sim.toy.n; at++)
        for (unsigned k = 0; k < KEYS_MAX * DBS; k++)
            if (a->named[at][k / DBS][k % DBS] && b->named[at][k / DBS][k % DBS])
                return true;
    return false;
}

static void add_edge(unsigned before, unsigned after) {
    sim.follows[before][after / 64] |= 1ULL << after % 64;
}

/* node_begin: what was sent from the same home and is in its way takes effect before it; so does all that
 * its client sent before, if they have a key in common that both name. */
static void node_begin(unsigned id) {
    struct node *n = &sim.node[id];
    for (unsigned at = 0; at < sim.toy.n; at++)
        for (unsigned k = 0; k < KEYS_MAX * DBS; k++)
            n->writes[at] |= n->mode[at][k / DBS][k % DBS] == TX_EXCLUSIVE;
    n->began = ++sim.now;
    sim.alive++;
    for (unsigned i = 0; i < id; i++) {
        struct node *other = &sim.node[i];
        bool alive = other->ended == 0, own = other->client == n->client;
        n->ordered |= alive && own;
        if (alive && (may_wait(n, other) || (own && names_same(n, other))))
            n->met_conflict = other->met_conflict = true;
        if ((other->home == n->home && conflict(n, other)) || (own && names_same(n, other)))
            add_edge(i, id);
    }
}

static void node_end(unsigned id) {
    struct node *n = &sim.node[id];
    check(n->ended == 0, "ended twice");
    n->ended = ++sim.now;
    sim.alive--;
}

/* nobody_else: of those that run now, none is in the way. */
static void nobody_else(unsigned id, unsigned at) {
    for (unsigned i = 0; i < sim.nodes; i++)
        if (i != id && sim.node[i].holds[at])
            check(!conflict_at(&sim.node[id], &sim.node[i], at), "(2) two that conflict run");
}

static void log_access(unsigned id, unsigned at, unsigned k, unsigned db) {
    unsigned *n = &sim.logged[at][k][db];
    struct access a = {.node = (uint16_t)id, .mode = sim.node[id].mode[at][k][db]};
    struct access *log = sim.log[at][k][db];
    if (a.mode == TX_EXCLUSIVE)
        sim.version[at][k][db]++;
    if (*n != 0 && log[*n - 1].node == id)
        return;
    for (unsigned i = 0; i < *n; i++)
        if (log[i].node != id && log[i].mode + a.mode > 2)
            add_edge(log[i].node, id);
    check(*n < LOG_MAX, "the log is full");
    log[(*n)++] = a;
}

static void touch(unsigned id, unsigned at) {
    for (unsigned k = 0; k < KEYS_MAX; k++)
        for (unsigned db = 0; db < DBS; db++)
            if (sim.node[id].mode[at][k][db] != TX_NONE)
                log_access(id, at, k, db);
}

/* real_time: what ended before another began is before it; what was dropped is before nobody. */
static void real_time(void) {
    for (unsigned a = 0; a < sim.nodes; a++) {
        if (sim.node[a].dropped)
            memset(sim.follows[a], 0, sizeof sim.follows[a]);
        for (unsigned b = 0; b < sim.nodes && !sim.node[a].dropped; b++)
            if (sim.node[a].ended < sim.node[b].began)
                add_edge(a, b);
    }
}

static void no_cycle(void) {
    for (unsigned via = 0; via < sim.nodes; via++)
        for (unsigned a = 0; a < sim.nodes; a++)
            if (sim.follows[a][via / 64] >> via % 64 & 1)
                for (unsigned word = 0; word < NODES_MAX / 64; word++)
                    sim.follows[a][word] |= sim.follows[via][word];
    for (unsigned a = 0; a < sim.nodes; a++)
        check(!(sim.follows[a][a / 64] >> a % 64 & 1), "(3) what happened has no order");
}

/* --- transactions --- */

static struct sim_tx *sim_tx_of(struct tx *t) {
    return CONTAINER_OF(t, struct sim_tx, tx);
}

static void look(struct shard *at, struct tx_part *p) {
    struct sim_tx *t = sim_tx_of(p->tx);
    check(!t->runs, "it looks while it runs");
    nobody_else(t->node, at->id);
    memcpy(t->looked[at->id], sim.version[at->id], sizeof t->looked[0]);
    t->has_looked[at->id] = true;
}

struct granted {
    uint64_t id;
    bool found, granted;
};

static void find_granted(void *arg, const struct tx_info *i) {
    struct granted *g = arg;
    if ((i->time << 8 | i->home) != g->id)
        return;
    g->found = true;
    g->granted = i->granted;
}

static ON_SHARD void all_granted(const struct sim_tx *t) {
    for (unsigned i = 0; i < t->tx.part_count; i++) {
        unsigned at = t->parts[i].shard;
        struct granted g = {.id = t->tx.id};
        bool wants = t->parts[i].count != 0 || t->parts[i].whole != TX_NONE;
        if (!sim.node[t->node].holds[at] || !wants)
            continue;
        tx_each(&sim.toy.shard[at].tx, find_granted, &g);
        check(g.found && g.granted, "(1) it runs without a grant");
    }
}

static void let_go(unsigned id, unsigned at) {
    struct node *n = &sim.node[id];
    n->running -= n->holds[at];
    n->holds[at] = false;
}

static void hop(struct shard *at, struct tx_part *p) {
    shard_claim();
    struct sim_tx *t = sim_tx_of(p->tx);
    check(t->runs && sim.node[t->node].holds[at->id], "a hop of one that does not run");
    all_granted(t);
    nobody_else(t->node, at->id);
    touch(t->node, at->id);
    if (p->claim != NULL && sim.lengthy && below(3) == 0) {
        p->more = true;
        later((struct later){.at = at, .part = p});
    } else if (p->release) {
        let_go(t->node, at->id);
    }
}

static ON_SHARD void check_pins(const struct sim_tx *t, unsigned at) {
    for (unsigned k = 0; k < sim.keys && t->tx.pins; k++)
        if (sim.node[t->node].mode[at][k][0] != TX_NONE)
            check(tx_pinned(&sim.toy.shard[at].tx, hash_of_key(k)), "a key in use is not pinned");
}

/* begin_to_run: all is granted; what was looked at is still so. */
static ON_SHARD void begin_to_run(struct sim_tx *t) {
    struct node *n = &sim.node[t->node];
    t->runs = true;
    for (unsigned i = 0; i < t->tx.part_count; i++) {
        unsigned at = t->parts[i].shard;
        check(t->tx.ops->look == NULL || t->has_looked[at], "it runs without having looked");
        check(n->met_conflict || t->parts[i].granted_at_once, "(4) it waited for nobody");
        nobody_else(t->node, at);
        check_pins(t, at);
        n->holds[at] = true;
        n->running++;
        for (unsigned k = 0; k < KEYS_MAX * DBS; k++)
            check(t->tx.ops->look == NULL || n->mode[at][k / DBS][k % DBS] == TX_NONE ||
                      t->looked[at][k / DBS][k % DBS] == sim.version[at][k / DBS][k % DBS],
                  "(2) what it looked at has changed");
    }
    all_granted(t);
}

static void next(struct shard *home, struct tx *tx) {
    shard_claim();
    struct sim_tx *t = sim_tx_of(tx);
    struct node *n = &sim.node[t->node];
    check(n->home == home->id, "next at a shard that is not its home");
    if (tx->failed) {
        check(!t->runs, "it ran and failed");
        n->dropped = true;
        sim.reach[SAW_FAILED]++;
        tx_end(home, tx);
        return;
    }
    if (!t->runs)
        begin_to_run(t);
    if (t->holds_left != 0 && below(2) == 0) {
        t->holds_left--;
        sim.reach[SAW_HELD]++;
        tx_hold(tx);
        later((struct later){.at = home, .held = tx});
        return;
    }
    bool any = false, last = t->hops_done + 1 == t->hops;
    for (unsigned i = 0; i < tx->part_count && t->hops_done < t->hops; i++) {
        struct tx_part *p = &t->parts[i];
        if (!n->holds[p->shard])
            continue;
        p->run = last || below(2) == 0;
        p->release = (last && t->releases_last) || (t->releases_early && below(4) == 0);
        any = any || p->run;
    }
    if (any) {
        t->hops_done++;
        tx_hop(home, tx);
        return;
    }
    for (unsigned at = 0; at < sim.toy.n; at++)
        let_go(t->node, at);
    tx_end(home, tx);
}

static void send_something(unsigned home);

static void ended(struct shard *home, struct tx *tx) {
    struct sim_tx *t = sim_tx_of(tx);
    unsigned id = t->node;
    for (unsigned i = 0; i < sim.later_count; i++)
        check(sim.later[i].held != tx && (sim.later[i].part == NULL || sim.later[i].part->tx != tx),
              "(5) it ended and something of it goes on");
    node_end(id);
    check(sim.node[id].running == 0, "it ended and runs");
    memset(t, POISON, sizeof *t);
    if (below(4) == 0)
        send_something(home->id); /* its client's next command */
}

static const struct tx_ops ops = {.look = look, .hop = hop, .next = next, .ended = ended};
static const struct tx_ops ops_blind = {.hop = hop, .next = next, .ended = ended};

static void choose_wants(struct sim_tx *t, struct tx_part *p, struct node *n) {
    unsigned at = p->shard;
    struct tx_want *wants = t->wants[at];
    p->wants = wants;
    p->count = below(8) == 0 ? 0 : 1 + below(WANTS_MAX);
    n->here[at] = p->count != 0;
    for (unsigned i = 0; i < p->count; i++) {
        unsigned k = below(sim.keys), db = below(8) == 0 ? 1 : 0;
        wants[i] = (struct tx_want){
            .hash = hash_of_key(k), .db = db, .mode = (uint8_t)(TX_SHARED + below(2))};
        uint8_t *mode = &n->mode[at][k][db];
        n->named[at][k][db] = true;
        *mode = *mode > wants[i].mode ? *mode : wants[i].mode;
    }
    p->whole = TX_NONE;
    if (!sim.whole || below(6) != 0)
        return;
    p->whole = (uint8_t)(TX_SHARED + below(2));
    n->here[at] = n->whole[at] = true;
    for (unsigned k = 0; k < KEYS_MAX * DBS; k++)
        if (n->mode[at][k / DBS][k % DBS] < p->whole)
            n->mode[at][k / DBS][k % DBS] = p->whole;
}

/* client_of: each home has two. */
static uint64_t client_of(unsigned home) {
    return 1 + home * 2 + below(2);
}

static ON_SHARD void start_tx(unsigned home) {
    unsigned id = sim.nodes++;
    struct node *n = &sim.node[id];
    struct sim_tx *t = calloc(1, sizeof *t);
    check(t != NULL, "no memory for the test");
    n->home = home;
    n->client = client_of(home);
    n->tx = t;
    t->node = id;
    t->hops = below(4);
    t->holds_left = sim.lengthy ? below(3) : 0;
    t->releases_last = below(4) != 0;
    t->releases_early = below(6) == 0;
    unsigned first = below(sim.toy.n), count = 1 + below(sim.toy.n);
    for (unsigned i = 0; i < count; i++) {
        t->parts[i].shard = (uint16_t)((first + i) % sim.toy.n);
        choose_wants(t, &t->parts[i], n);
    }
    t->tx = (struct tx){.ops = below(8) == 0 ? &ops_blind : &ops,
                        .parts = t->parts,
                        .part_count = (uint16_t)count,
                        .pins = sim.may_pin && below(3) == 0};
    node_begin(id);
    t->tx.client = n->client;
    t->tx.ordered = n->ordered;
    tx_start(&sim.toy.shard[home], &t->tx);
}

/* --- steps --- */

static void step_finish(struct sim_step *s) {
    check(!s->finished, "a step is done twice");
    s->finished = true;
    node_end(s->node);
}

static void step_effect(struct shard *at, struct sim_step *s) {
    check(!s->ran, "a step runs twice");
    s->ran = s->left == 0;
    nobody_else(s->node, at->id);
    touch(s->node, at->id);
}

/* step_run: it keeps what it wants until the last time. */
static bool step_run(struct shard *at, void *arg, struct tx_claim *self) {
    struct sim_step *s = arg;
    step_effect(at, s);
    sim.node[s->node].holds[at->id] = !s->ran;
    if (s->ran)
        return true;
    sim.reach[SAW_LONG_STEP]++;
    s->left--;
    later((struct later){.at = at, .step = s, .self = self});
    return false;
}

static void step_done(struct shard *home, void *arg) {
    struct sim_step *s = arg;
    check(home->id == sim.node[s->node].home && s->ran, "a step is done without having run");
    step_finish(s);
    if (below(4) == 0)
        send_something(home->id);
}

static bool somebody_runs(unsigned id, unsigned at) {
    for (unsigned i = 0; i < sim.nodes; i++)
        if (i != id && sim.node[i].holds[at] && conflict_at(&sim.node[id], &sim.node[i], at))
            return true;
    return false;
}

static void step_drop(struct sim_step *s) {
    sim.node[s->node].dropped = true;
    step_finish(s);
}

/* step_arrive: at its shard: runs, or becomes a claim. True: it was answered. */
static ON_SHARD bool step_arrive(struct shard *at, struct sim_step *s) {
    bool ordered = s->step.ordered;
    bool waits = s->step.whole != TX_NONE
                     ? tx_conflicts_whole(&at->tx, s->step.whole)
                     : tx_conflicts(&at->tx, &s->want, ordered ? s->step.client : 0);
    check(waits || !somebody_runs(s->node, at->id), "(2) a step may run beside a transaction");
    check(!waits || sim.node[s->node].met_conflict, "(4) a step waits for nobody");
    check(!waits || tx_busy(&at->tx), "there is a conflict and no claim");
    bool is_long = sim.lengthy && below(4) == 0; /* such a one has to hold what it wants */
    if (!waits && !is_long) {
        step_effect(at, s);
        return true;
    }
    s->left = is_long ? 1 + below(3) : 0;
    if (tx_wait(at, &s->step) == OK)
        return false;
    step_drop(s);
    return false;
}

static void step_msg_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct sim_step *s = CONTAINER_OF(m, struct sim_step, msg);
    s->at_once = step_arrive(at, s);
}

/* step_msg_done: what waited is finished by its done(), which may come before this or after. */
static void step_msg_done(struct shard *home, struct bus_msg *m) {
    struct sim_step *s = CONTAINER_OF(m, struct sim_step, msg);
    (void)home;
    if (s->at_once)
        step_finish(s);
}

static ON_SHARD void send_step(unsigned home) {
    unsigned id = sim.nodes++, at = below(sim.toy.n), k = below(sim.keys);
    struct node *n = &sim.node[id];
    struct sim_step *s = calloc(1, sizeof *s);
    check(s != NULL, "no memory for the test");
    struct shard *from = &sim.toy.shard[home];
    *s =
        (struct sim_step){.msg = {.run = step_msg_run, .done = step_msg_done, .to = (uint16_t)at},
                          .want = {.hash = hash_of_key(k), .mode = (uint8_t)(TX_SHARED + below(2))},
                          .step = {.id = tx_next_id(&from->tx),
                                   .home = (uint16_t)home,
                                   .run = step_run,
                                   .done = step_done},
                          .node = id};
    s->step.arg = s;
    n->home = home;
    n->client = client_of(home);
    n->is_step = true;
    n->step = s;
    n->here[at] = true;
    if (sim.whole && below(10) == 0) {
        s->step.whole = s->want.mode;
        n->whole[at] = true;
        memset(n->mode[at], s->want.mode, sizeof n->mode[at]);
    } else {
        s->step.wants = &s->want;
        s->step.count = 1;
        n->mode[at][k][0] = s->want.mode;
        n->named[at][k][0] = true;
    }
    node_begin(id);
    s->step.client = n->client;
    s->step.ordered = n->ordered;
    if (at != home)
        toy_post(from, &s->msg);
    else if (step_arrive(from, s))
        step_finish(s);
}

/* --- a seed --- */

static void send_something(unsigned home) {
    shard_claim();
    if (sim.nodes == sim.nodes_max)
        return;
    if (below(2) == 0)
        start_tx(home);
    else
        send_step(home);
}

static bool deliver_one(void) {
    unsigned n = sim.toy.n, lines = n * n, from = below(lines);
    for (unsigned i = 0; i < lines; i++) {
        unsigned line = (from + i) % lines;
        if (below(2) == 0 || sim.alive == 0)
            toy_flush(&sim.toy, line / n, line % n);
        else if (sim.toy.backlog[line / n][line % n].first != NULL)
            sim.reach[SAW_BACKLOG]++;
        if (toy_deliver(&sim.toy, line / n, line % n))
            return true;
    }
    return false;
}

static ON_SHARD void hop_goes_on(const struct later *l) {
    struct tx_part *p = l->part;
    const struct tx_claim *c = p->claim;
    bool noticing = c->noticing, releases = p->release;
    sim.reach[SAW_LONG_HOP]++;
    tx_hop_on(l->at, p);
    if (p->more)
        return;
    sim.reach[SAW_NOTICING] += noticing;
    sim.reach[SAW_LONG_RELEASE] += releases;
}

/* go_on: something that takes several turns; false: nothing does. */
static ON_SHARD bool go_on(void) {
    if (sim.later_count == 0)
        return false;
    unsigned i = below(sim.later_count);
    struct later l = sim.later[i];
    sim.later[i] = sim.later[--sim.later_count];
    if (l.step != NULL)
        tx_go_on(l.at, l.self);
    else if (l.held != NULL)
        tx_unhold(l.at, l.held);
    else
        hop_goes_on(&l);
    return true;
}

/* give_one_up: a transaction that does not run yet may go, whatever is on its way. */
static ON_SHARD void give_one_up(void) {
    const struct node *n = &sim.node[below(sim.nodes)];
    if (n->tx == NULL || n->ended != 0 || n->tx->runs || n->tx->tx.failed)
        return;
    struct tx *t = &n->tx->tx;
    sim.reach[SAW_GIVEN_UP] += t->state == TX_SCHEDULING;
    tx_give_up(&sim.toy.shard[n->home], t);
}

/* something_happens: a message arrives, or what takes long goes on. */
static ON_SHARD bool something_happens(void) {
    if (below(4) == 0)
        return go_on() || deliver_one();
    return deliver_one() || go_on();
}

static void sim_begin(uint64_t seed, unsigned shards) {
    uint64_t reach[COUNT_OF(sim.reach)];
    memcpy(reach, sim.reach, sizeof reach);
    memset(&sim, 0, sizeof sim);
    memcpy(sim.reach, reach, sizeof reach);
    sim.seed = seed;
    rng_seed(&sim.rng, seed);
    toy_begin(&sim.toy, shards, 1 + below(6));
    sim.keys = 1 + below(KEYS_MAX);
    sim.nodes_max = 8 + below(NODES_MAX - 8);
    sim.no_memory = below(5) == 0;
    sim.may_pin = below(2) == 0;
    sim.whole = below(2) == 0;
    sim.lengthy = below(3) != 0;
    sim.gives_up = below(4) == 0;
    for (unsigned i = 0; i < shards; i++) /* homes whose clocks differ */
        sim.toy.shard[i].tx.clock = below(3) == 0 ? below(100) : 0;
}

static void free_all(void) {
    for (unsigned i = 0; i < sim.nodes; i++) {
        const struct node *n = &sim.node[i];
        const unsigned char *bytes = (const unsigned char *)n->tx;
        check(n->ended != 0, "(6) it never ended");
        for (size_t b = 0; n->tx != NULL && b < sizeof *n->tx; b++)
            check(bytes[b] == POISON, "(5) it was written to after it had ended");
        free(n->tx);
        free(n->step);
    }
}

static void count_what_was_seen(void) {
    for (unsigned i = 0; i < sim.toy.n; i++) {
        const struct tx_stats *s = &sim.toy.shard[i].tx.stats;
        sim.reach[SAW_YIELD] += s->yielded;
        sim.reach[SAW_WAIT] += s->waited;
        sim.reach[SAW_STEP_WAIT] += s->steps_waited;
        sim.reach[SAW_OVERTAKING] += s->overtook;
    }
}

static ON_SHARD void run_seed(uint64_t seed, unsigned shards) {
    sim_begin(seed, shards);
    unsigned hurry = 1 + below(8); /* how many messages arrive for each that is sent */
    while (sim.nodes < sim.nodes_max) {
        if (below(1 + hurry) == 0 || !something_happens())
            send_something(below(shards));
        if (sim.no_memory && below(20) == 0)
            sim.toy.shard[below(shards)].mem.fail_in = 1 + below(5);
        if (sim.gives_up && sim.nodes != 0 && below(10) == 0)
            give_one_up();
    }
    for (unsigned idle = 0; idle < 64; idle = something_happens() ? 0 : idle + 1)
        check(sim.toy.delivered < (uint64_t)sim.nodes * DELIVERIES_PER_NODE_MAX,
              "(6) messages go on for ever");
    check(sim.alive == 0 && sim.later_count == 0, "(6) something waits for ever");
    for (unsigned i = 0; i < shards; i++) {
        const struct tx_shard *s = &sim.toy.shard[i].tx;
        check(!tx_busy(s) && s->waiting == 0 && s->intents == 0, "claims are left");
        check(s->whole_claims == 0 && s->pinned_claims == 0, "claims of a kind are left");
    }
    real_time();
    no_cycle();
    free_all();
    count_what_was_seen();
    toy_end(&sim.toy);
}

static void run_seeds(unsigned shards, unsigned seeds) {
    shard_claim();
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(seed * 1000 + shards, shards);
    for (unsigned i = 0; i < COUNT_OF(sim.reach); i++)
        cr_assert(sim.reach[i] != 0 || shards == 1, "the seeds never reached case %u", i);
}

/* Alone, every transaction runs and ends before tx_start returns. */
Test(tx_sim, one_shard) {
    run_seeds(1, 500);
}

Test(tx_sim, two_shards) {
    run_seeds(2, 1500);
}

Test(tx_sim, three_shards) {
    run_seeds(3, 1500);
}

Test(tx_sim, eight_shards) {
    run_seeds(8, 500);
}
