/* tx.c: what travels between a transaction's home and its claims. */
#include "claim_impl.h"
#include "shards/assert.h"

/* Builds that are wrong on purpose, for tests/consistency to find: see its README. */
#ifdef ANAX_TX_BREAK_GRANT
enum { BREAK_GRANT = 1 };
#else
enum { BREAK_GRANT = 0 };
#endif
#ifdef ANAX_TX_BREAK_RELEASE
enum { BREAK_RELEASE = 1 };
#else
enum { BREAK_RELEASE = 0 };
#endif

static ON_SHARD void advance(struct shard *home, struct tx *t);

uint64_t tx_next_id(struct tx_shard *s) {
    return ++s->clock << TX_HOME_BITS | s->id;
}

static void clock_merge(struct tx_shard *s, uint64_t clock) {
    if (clock > s->clock)
        s->clock = clock;
}

bool tx_idle(const struct tx_shard *s) {
    return s->claims == 0 && s->at_home == 0 && s->returning == 0;
}

/* --- from a claim to its home --- */

/* to_home: the claim waits for this message to come back before its memory goes. */
static void to_home(struct tx_claim *c, struct bus_msg *m, uint16_t home) {
    m->to = home;
    c->out++;
    c->sent++;
    c->shard->post(c->shard->shard, m);
}

static void from_home(struct tx_claim *c) {
    ASSERT(c->out > 0);
    if (--c->out != 0 || !c->released)
        return;
    c->shard->returning--;
    claim_free(c);
}

static void part_granted(struct tx_part *p) {
    ASSERT(!p->granted);
    p->granted = true;
    p->tx->missing--;
}

/* may_yield: the home of a granted claim is asked to wait. */
static bool may_yield(struct tx_part *p) {
    struct tx *t = p->tx;
    if (t->state != TX_SCHEDULING || t->failed)
        return false;
    ASSERT(p->granted);
    p->granted = false;
    t->missing++;
    return true;
}

static uint16_t home_of(const struct tx_claim *c) {
    return (uint16_t)(c->id & ((1U << TX_HOME_BITS) - 1));
}

static void notice_run(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct tx_claim *c = CONTAINER_OF(m, struct tx_claim, notice);
    struct tx_part *p = c->part;
    p->seen++;
    part_granted(p);
    advance(home, p->tx);
}

static void hop_ended_run(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct tx_claim *c = CONTAINER_OF(m, struct tx_claim, notice);
    struct tx_part *p = c->part;
    p->seen++;
    p->released |= p->release;
    p->tx->unanswered--;
    advance(home, p->tx);
}

static void notice_done(struct shard *at, struct bus_msg *m);

/* send_notice: counted by the caller. */
static void send_notice(struct tx_claim *c, void (*run)(struct shard *home, struct bus_msg *m),
                        uint16_t home) {
    c->noticing = true;
    c->notice.run = run;
    c->notice.done = notice_done;
    c->notice.to = home;
    c->shard->post(c->shard->shard, &c->notice);
}

static void notice_done(struct shard *at, struct bus_msg *m) {
    struct tx_claim *c = CONTAINER_OF(m, struct tx_claim, notice);
    (void)at;
    c->noticing = false;
    if (unlikely(c->ends_hop)) {
        c->ends_hop = false;
        send_notice(c, hop_ended_run, home_of(c));
    }
    from_home(c);
}

static void notify(struct tx_claim *c, void (*run)(struct shard *home, struct bus_msg *m),
                   uint16_t home) {
    c->out++;
    c->sent++;
    send_notice(c, run, home);
}

static ON_SHARD void may_go(struct tx_claim *c);
static ON_SHARD void serve(struct tx_shard *s);

static ON_SHARD void yield(struct tx_claim *c) {
    struct tx_shard *s = c->shard;
    ASSERT(c->granted);
    c->granted = false;
    s->waiting++;
    s->stats.yielded++;
    claim_next(c, may_go);
    may_go(c); /* whoever asked may be gone by now */
    serve(s);
}

static void ask_run(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct tx_claim *c = CONTAINER_OF(m, struct tx_claim, ask);
    struct tx_part *p = c->part;
    p->seen++;
    c->ask_yes = may_yield(p);
    advance(home, p->tx);
}

static void ask_done(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct tx_claim *c = CONTAINER_OF(m, struct tx_claim, ask);
    (void)at;
    c->asking = false;
    bool yields = c->ask_yes && !c->released;
    from_home(c);
    if (yields)
        yield(c);
}

/* ask: a granted claim is in the way of one with a lower id. One that was not told of its grant yet loses it at
 * once. */
static void ask(struct tx_claim *c) {
    if (!list_empty(&c->ready)) {
        list_del(&c->ready);
        c->granted = false;
        c->shard->waiting++;
        return;
    }
    if (c->part == NULL) /* a step that runs */
        return;
    if (c->asking)
        return;
    c->asking = true;
    c->shard->stats.asked++;
    c->ask.run = ask_run;
    c->ask.done = ask_done;
    to_home(c, &c->ask, home_of(c));
}

/* --- granting --- */

static bool gate_shut(const struct tx_claim *c) {
    const struct tx_shard *s = c->shard;
    if (likely(s->gated == 0) || !c->exclusive)
        return false;
    bool shut = false;
    for (uint32_t i = 0; i < c->count; i++)
        shut |=
            c->intents[i].want.mode == TX_EXCLUSIVE && !s->gate(s->gate_arg, &c->intents[i].want);
    return shut;
}

static bool is_blocked(struct tx_claim *c) {
    return claim_blocked(c, ask) != NULL || unlikely(gate_shut(c));
}

/* may_go: grants a claim if nothing is in its way. */
static void may_go(struct tx_claim *c) {
    struct tx_shard *s = c->shard;
    if (c->granted || is_blocked(c))
        return;
    c->granted = true;
    s->waiting--;
    if (s->queue.next != &c->queue && s->waiting != 0)
        s->stats.overtook++;
    list_add_tail(&s->ready, &c->ready);
}

static ON_SHARD void look(struct tx_shard *s, struct tx_part *p) {
    const struct tx_ops *ops = p->tx->ops;
    if (ops->look != NULL)
        ops->look(s->shard, p);
    if (BREAK_RELEASE && p->claim != NULL) {
        claim_unlock(p->claim);
        claim_next(p->claim, may_go);
    }
}

static ON_SHARD void release(struct tx_claim *c) {
    claim_remove(c);
    c->released = true;
    claim_next(c, may_go);
    if (c->out == 0)
        claim_free(c);
    else
        c->shard->returning++;
}

static void step_done_run(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct tx_claim *c = CONTAINER_OF(m, struct tx_claim, notice);
    clock_merge(tx_of(home), c->clock);
    c->step.done(home, c->step.arg);
}

static ON_SHARD void step_go(struct tx_claim *c) {
    struct tx_shard *s = c->shard;
    if (!c->step.run(s->shard, c->step.arg, c))
        return;
    c->clock = s->clock;
    notify(c, step_done_run, c->step.home);
    release(c);
}

static ON_SHARD void part_go(struct tx_claim *c) {
    look(c->shard, c->part);
    notify(c, notice_run, home_of(c));
}

/* serve: tells those that were granted. What they do may let others go, which then are served here too. */
static void serve(struct tx_shard *s) {
    if (s->serving)
        return;
    s->serving = true;
    while (!list_empty(&s->ready)) {
        struct tx_claim *c = CONTAINER_OF(s->ready.next, struct tx_claim, ready);
        list_del(&c->ready);
        if (c->part == NULL)
            step_go(c);
        else
            part_go(c);
    }
    s->serving = false;
}

void tx_set_gate(struct tx_shard *s, tx_gate_fn *gate, void *arg) {
    s->gate = gate;
    s->gate_arg = arg;
    s->gated = gate != NULL;
    tx_open_gate(s);
}

void tx_open_gate(struct tx_shard *s) {
    for (struct list *l = s->queue.next; s->waiting != 0 && l != &s->queue; l = l->next)
        may_go(CONTAINER_OF(l, struct tx_claim, queue));
    serve(s);
}

/* --- from home to the parts --- */

static ON_SHARD void schedule_at(struct tx_shard *s, struct tx_part *p) {
    struct tx *t = p->tx;
    if (p->count == 0 && p->whole == TX_NONE) { /* what wants nothing needs no claim */
        p->granted_at_once = true;
        look(s, p);
        return;
    }
    s->stats.claims++;
    clock_merge(s, t->id >> TX_HOME_BITS);
    struct tx_claim *c = claim_add(s, t->id, p->wants, p->count, p->whole, t->pins);
    p->claim = c;
    p->refused = c == NULL;
    if (c == NULL)
        return;
    c->part = p;
    c->client = t->client;
    c->ordered = t->ordered;
    if (is_blocked(c)) {
        s->stats.waited++;
        return;
    }
    c->granted = true;
    s->waiting--;
    if (s->waiting != 0)
        s->stats.overtook++;
    p->granted_at_once = true;
    look(s, p);
}

static ON_SHARD void release_at(struct tx_part *p) {
    struct tx_claim *c = p->claim;
    if (c == NULL)
        return;
    struct tx_shard *s = c->shard;
    p->claim = NULL;
    p->sent = c->sent;
    release(c);
    serve(s);
}

static ON_SHARD void hop_at(struct shard *at, struct tx_part *p) {
    p->more = false;
    p->tx->ops->hop(at, p);
    if (p->more)
        p->later = true;
    else if (p->release)
        release_at(p);
}

/* tx_hop_on: the message of the hop is home already, or on its way there: what tells of the end is another one. */
void tx_hop_on(struct shard *at, struct tx_part *p) {
    struct tx_claim *c = p->claim;
    ASSERT(c != NULL && p->later);
    p->more = false;
    p->tx->ops->hop(at, p);
    if (p->more)
        return;
    if (c->noticing) {
        c->ends_hop = true;
        c->out++;
        c->sent++;
    } else {
        notify(c, hop_ended_run, home_of(c));
    }
    if (p->release)
        release_at(p);
}

static void schedule_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct tx_part *p = CONTAINER_OF(m, struct tx_part, msg);
    struct tx_shard *s = tx_of(at);
    schedule_at(s, p);
    p->clock = s->clock;
}

static void hop_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    hop_at(at, CONTAINER_OF(m, struct tx_part, msg));
}

static void release_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    (void)at;
    release_at(CONTAINER_OF(m, struct tx_part, msg));
}

static ON_SHARD void scheduled(struct tx_part *p) {
    if (p->refused)
        p->tx->failed = true;
    else if (p->granted_at_once)
        part_granted(p);
}

static void schedule_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct tx_part *p = CONTAINER_OF(m, struct tx_part, msg);
    clock_merge(tx_of(home), p->clock);
    p->tx->unanswered--;
    scheduled(p);
    advance(home, p->tx);
}

static void part_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct tx_part *p = CONTAINER_OF(m, struct tx_part, msg);
    if (p->later) /* its end comes by another message */
        return;
    p->released |= p->release;
    p->tx->unanswered--;
    advance(home, p->tx);
}

static ON_SHARD void send(struct shard *home, struct tx_part *p,
                          void (*run)(struct shard *at, struct bus_msg *m),
                          void (*done)(struct shard *home, struct bus_msg *m)) {
    p->msg.run = run;
    p->msg.done = done;
    p->msg.to = p->shard;
    p->tx->unanswered++;
    tx_of(home)->post(home, &p->msg);
}

void tx_start(struct shard *home, struct tx *t) {
    struct tx_shard *s = tx_of(home);
    struct tx_part *mine = NULL;
    ASSERT(t->part_count > 0);
    t->id = tx_next_id(s);
    t->state = TX_SCHEDULING;
    t->failed = t->in_next = false;
    t->unanswered = 0;
    t->missing = t->part_count;
    s->at_home++;
    s->stats.started++;
    for (unsigned i = 0; i < t->part_count; i++) {
        struct tx_part *p = &t->parts[i];
        p->tx = t;
        p->claim = NULL;
        p->run = p->release = p->granted = p->granted_at_once = p->refused = p->released = false;
        p->later = false;
        p->seen = p->sent = 0;
        if (p->shard == s->id)
            mine = p;
        else
            send(home, p, schedule_run, schedule_done);
    }
    if (mine != NULL) {
        schedule_at(s, mine);
        scheduled(mine);
    }
    advance(home, t);
}

void tx_hop(struct shard *home, struct tx *t) {
    struct tx_part *mine = NULL;
    ASSERT(t->in_next && t->state == TX_RUNNING && !t->failed);
    for (unsigned i = 0; i < t->part_count; i++) {
        struct tx_part *p = &t->parts[i];
        if (!p->run)
            continue;
        p->run = p->later = false;
        ASSERT(!p->released);
        if (p->shard == tx_of(home)->id)
            mine = p;
        else
            send(home, p, hop_run, part_done);
    }
    if (mine != NULL) {
        hop_at(home, mine);
        if (mine->later)
            t->unanswered++;
        else
            mine->released = mine->release;
    }
}

void tx_hold(struct tx *t) {
    ASSERT(t->in_next && t->state == TX_RUNNING);
    t->unanswered++;
}

void tx_unhold(struct shard *home, struct tx *t) {
    t->unanswered--;
    advance(home, t);
}

void tx_end(struct shard *home, struct tx *t) {
    ASSERT(t->in_next && t->state == TX_RUNNING);
    t->state = TX_ENDING;
    for (unsigned i = 0; i < t->part_count; i++) {
        struct tx_part *p = &t->parts[i];
        if (p->released || p->refused)
            continue;
        p->release = true;
        p->later = false; /* what its last hop was is over */
        if (p->shard == tx_of(home)->id) {
            release_at(p);
            p->released = true;
        } else {
            send(home, p, release_run, part_done);
        }
    }
}

/* settled: no message of any part is on its way. */
static bool settled(const struct tx *t) {
    for (unsigned i = 0; i < t->part_count; i++)
        if (t->parts[i].seen != t->parts[i].sent)
            return false;
    return true;
}

/* may_run: with all that was scheduled answered, so that no part is in an unknown state. */
static bool may_run(const struct tx *t) {
    return t->missing == 0 || t->failed || BREAK_GRANT;
}

static void advance(struct shard *home, struct tx *t) {
    if (t->in_next)
        return;
    t->in_next = true;
    while (t->unanswered == 0) {
        if (t->state == TX_ENDING) {
            if (!settled(t))
                break;
            tx_of(home)->at_home--;
            t->ops->ended(home, t);
            return;
        }
        if (t->state == TX_SCHEDULING && !may_run(t))
            break;
        t->state = TX_RUNNING;
        t->ops->next(home, t);
    }
    t->in_next = false;
}

void tx_give_up(struct shard *home, struct tx *t) {
    if (t->state != TX_SCHEDULING)
        return;
    t->failed = true;
    advance(home, t);
}

/* --- steps --- */

enum err tx_wait(struct shard *at, const struct tx_step *step) {
    struct tx_shard *s = tx_of(at);
    clock_merge(s, step->id >> TX_HOME_BITS);
    struct tx_claim *c = claim_add(s, step->id, step->wants, step->count, step->whole, step->pins);
    if (c == NULL)
        return ERR_NOMEM;
    s->stats.steps_waited++;
    c->step = *step;
    c->client = step->client;
    c->ordered = step->ordered;
    may_go(c);
    serve(s);
    return OK;
}

void tx_go_on(struct shard *at, struct tx_claim *self) {
    ASSERT(self->granted && self->part == NULL);
    step_go(self);
    serve(tx_of(at));
}

/* --- for an operator --- */

static void nothing(struct tx_claim *c) {
    (void)c;
}

void tx_each(const struct tx_shard *s, void (*visit)(void *arg, const struct tx_info *i),
             void *arg) {
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *c = CONTAINER_OF(l, struct tx_claim, queue);
        struct tx_claim *by = c->granted ? NULL : claim_blocked(c, nothing);
        struct tx_info i = {.time = c->id >> TX_HOME_BITS,
                            .home = home_of(c),
                            .granted = c->granted,
                            .step = c->part == NULL,
                            .yielding = c->asking,
                            .whole = c->whole,
                            .waits_for = by == NULL ? 0 : by->id};
        for (uint32_t k = 0; k < c->count; k++) {
            i.shared += c->intents[k].want.mode == TX_SHARED;
            i.exclusive += c->intents[k].want.mode == TX_EXCLUSIVE;
        }
        visit(arg, &i);
    }
}
