/* unit.c: batches that are transactions: one command for several shards, or the body of MULTI.
 *
 * The commands are carried out in their order. Those with keys on one shard only run in rounds: up to the next
 * that several shards take part in, each shard runs its own, side by side. One for several shards is a few steps
 * (command.h, struct across), each a hop. What reads and comes first is done with the grant already.
 *
 * With the grant each shard makes room for what is to be stored there, and keeps it out of its budget until that has happened: a promise,
 * which anybody can give back. What only other shards can make room for is a hop of its own before all others.
 */
#include "net_impl.h"

enum { ROUNDS_AT_ONCE = 3 };
enum stage { STAGE_BEGIN, STAGE_ROOM, STAGE_LOOK, STAGE_RUN, STAGE_AFTER };

struct unit {
    struct tx tx;
    struct batch *batch;
    uint32_t at;   /* the command that is carried out, or the first of a round */
    uint32_t to;   /* of a round: where it ends */
    uint8_t stage; /* the last that was begun */
    bool early;    /* the first stage of the only command runs with the grants */
    bool replied;  /* by decide */
    bool dropping; /* no memory: what look kept goes, and nothing else is done */
    bool paused;   /* between two rounds of CMD_ROUNDS */
    bool freed;    /* it is answered when what it dropped is freed */
    uint32_t rounds;
    struct bus_msg pause;
    uint64_t ns; /* what the command took so far */
    size_t reply_from;
    struct tx_part parts[];
};

static struct unit *unit_of(struct tx *t) {
    return CONTAINER_OF(t, struct unit, tx);
}

static struct part *part_of(const struct unit *u, const struct tx_part *p) {
    return &u->batch->parts[p->shard];
}

static struct part *home_part(const struct unit *u) {
    return &u->batch->parts[u->batch->net->shard->id];
}

static bool has_keys(const struct op *op, uint16_t shard) {
    return op->slots->first[shard] != SLOT_END;
}

/* --- on the shards --- */

static ON_SHARD void step(struct unit *u, struct part *p, struct shard *at, struct op *op,
                          bool locked) {
    if (op->kind == OP_ALL) {
        run_step(u->batch, p, at, op, op->cmd->each, &p->raw, locked);
        return;
    }
    const struct across *a = op->cmd->across;
    command_fn *fn = u->stage == STAGE_RUN     ? op->cmd->run
                     : u->stage == STAGE_AFTER ? a->after
                                               : a->look;
    run_step(u->batch, p, at, op, fn, &p->out, locked);
}

static void unit_hop_on(struct shard *at, void *arg) {
    shard_claim();
    tx_hop_on(at, arg);
}

/* redeem: so much of what was promised is stored now, or will not be. */
static void redeem(struct part *p, struct shard *at, int64_t bytes) {
    if (bytes > p->promised_bytes)
        bytes = p->promised_bytes;
    if (likely(bytes <= 0))
        return;
    budget_get(&at->share, bytes);
    p->promised_bytes -= bytes;
}

/* forget: what an earlier look replied. */
static void forget(struct part *p, struct shard *at) {
    for (uint32_t i = 0; i < p->out.ref_count; i++)
        blob_unpin(&at->mem, p->out.refs[i].blob);
    p->out.ref_count = 0;
    p->out.ref_bytes = 0;
    p->out.len = p->raw.len = 0;
}

/* look_with_room: asks for room, and then does what can be done early. */
static ON_SHARD void look_with_room(struct unit *u, struct part *p, struct shard *at) {
    struct batch *b = u->batch;
    redeem(p, at, INT64_MAX);
    int64_t bytes = run_bytes(b, at), before = at->mem.used_bytes;
    enum room r = bytes == 0 ? ROOM_THERE : room_ask(at, bytes, &p->room);
    p->full = r == ROOM_NONE;
    p->later = r == ROOM_LATER;
    if (r != ROOM_THERE)
        return;
    if (u->early && (b->ops[0].kind != OP_ACROSS || has_keys(&b->ops[0], at->id))) {
        part_enter(p, at);
        forget(p, at);
        step(u, p, at, &b->ops[0], false);
        part_leave(p, at);
    }
    bytes -= at->mem.used_bytes - before;
    p->promised_bytes = bytes <= 0 ? 0 : budget_give(&at->share, at->mem.used_bytes, bytes);
}

static void unit_room_came(struct shard *at, struct room_wait *w) {
    shard_claim();
    struct part *p = CONTAINER_OF(w, struct part, room);
    struct unit *u = p->batch->unit;
    unsigned i = 0;
    while (u->parts[i].shard != at->id)
        i++;
    tx_hop_on(at, &u->parts[i]);
}

static void unit_hop(struct shard *at, struct tx_part *tp) {
    shard_claim();
    struct unit *u = unit_of(tp->tx);
    struct part *p = part_of(u, tp);
    if (unlikely(u->stage == STAGE_ROOM)) {
        look_with_room(u, p, at);
        tp->more = p->later;
        if (p->later)
            room_wait(at, &p->room, unit_room_came);
        return;
    }
    struct op *op = &u->batch->ops[u->at];
    int64_t before = at->mem.used_bytes;
    part_enter(p, at);
    if (op->kind == OP_ACROSS || op->kind == OP_ALL) {
        step(u, p, at, op, true);
    } else {
        struct run how = {.out = &p->out,
                          .to = u->to,
                          .granted = true,
                          .locked = true,
                          .roomy = true,
                          .now_ms = u->batch->now_ms};
        if (at == u->batch->net->shard)
            how.session = &u->batch->conn->session;
        (void)run_part(u->batch, p, at, &how);
    }
    part_leave(p, at);
    redeem(p, at, tp->release ? INT64_MAX : at->mem.used_bytes - before);
    tp->more = p->work != NULL;
    if (unlikely(tp->more))
        work_start(at, p->work, unit_hop_on, tp);
}

static void unit_look(struct shard *at, struct tx_part *tp) {
    shard_claim();
    struct unit *u = unit_of(tp->tx);
    struct part *p = part_of(u, tp);
    struct batch *b = u->batch;
    if (b->exec)
        p->aborted = exec_changed(b, at);
    if (!u->dropping)
        look_with_room(u, p, at);
}

/* --- at home --- */

/* hop_all: a stage on every shard that takes part in this command. */
static ON_SHARD void hop_all(struct unit *u, enum stage stage, bool last) {
    const struct op *op = &u->batch->ops[u->at];
    for (unsigned i = 0; i < u->tx.part_count; i++) {
        struct tx_part *p = &u->tx.parts[i];
        p->run = op->kind == OP_ALL || has_keys(op, p->shard);
        p->release = p->run && last;
    }
    u->stage = (uint8_t)stage;
    tx_hop(u->batch->net->shard, &u->tx);
}

static ON_SHARD void hop_one(struct unit *u, enum stage stage, uint16_t shard, bool last) {
    for (unsigned i = 0; i < u->tx.part_count; i++) {
        struct tx_part *p = &u->tx.parts[i];
        p->run = p->shard == shard;
        p->release = p->run && last;
    }
    u->stage = (uint8_t)stage;
    tx_hop(u->batch->net->shard, &u->tx);
}

/* stage_sum: what the shards counted in the stage that is over; the longest of them is what it took. */
static int64_t stage_sum(struct unit *u, const struct op *op) {
    int64_t sum = 0;
    uint64_t longest = 0;
    for (unsigned i = 0; i < u->tx.part_count; i++) {
        const struct tx_part *tp = &u->tx.parts[i];
        if (op->kind == OP_ACROSS && !has_keys(op, tp->shard))
            continue;
        const struct part *p = part_of(u, tp);
        sum += p->tally;
        longest = p->ns > longest ? p->ns : longest;
    }
    u->ns += longest;
    return sum;
}

static void op_begin(struct unit *u, struct op *op) {
    struct batch *b = u->batch;
    shard_claim();
    u->ns = u->rounds = 0;
    u->replied = false;
    u->reply_from = home_part(u)->out.len;
    op->shard = b->net->shard->id;
    if (b->exec && b->holds_input)
        op->muted = b->conn->session.reply_off;
    if (monitor_any(b->net))
        monitor_show(b->net, b->conn, op, op->db);
}

/* op_end: its reply is there. */
static ON_SHARD void op_end(struct unit *u, struct op *op) {
    const struct part *p = &u->batch->parts[op->shard];
    bool from_home = op->kind == OP_ALL || op->cmd->across->at == 0 || u->replied;
    op->reply_end = p->out.len;
    op->refs_end = p->out.ref_count;
    run_note(u->batch, op, u->ns, from_home ? &p->out : NULL, u->reply_from);
    u->at++;
    u->stage = STAGE_BEGIN;
}

static bool is_last(const struct unit *u, uint32_t to) {
    return to == u->batch->op_count;
}

/* decide: false when the command has been refused, or has come to nothing, and has replied. */
static ON_SHARD bool decide(struct unit *u, struct op *op, int64_t sum) {
    const struct across *a = op->cmd->across;
    op->slots->go = a->at == 0; /* else run says so */
    if (a->decide == NULL)
        return true;
    struct ctx c = run_home_ctx(u->batch, op, &home_part(u)->out);
    c.tally = sum;
    op->slots->go = false;
    size_t from = c.reply.out->len;
    bool goes_on = a->decide(&c);
    u->replied = c.reply.out->len != from;
    return goes_on;
}

static ON_SHARD void join(struct unit *u, const struct op *op, int64_t sum) {
    struct reply r = {&home_part(u)->out, u->batch->proto, op->shard};
    switch (op->cmd->across->join) {
    case JOIN_NONE:
    case JOIN_KEYS: /* whoever gathers takes them in their order */
        break;
    case JOIN_SUM:
        reply_int(&r, sum);
        break;
    case JOIN_OK:
        reply_ok(&r);
        break;
    }
}

static bool anything_kept(const struct op *op) {
    for (uint32_t i = 0; i < op->slots->count; i++)
        if (op->slots->slot[i].kept != NULL)
            return true;
    return false;
}

static uint16_t shard_of_arg(const struct op *op, uint32_t arg) {
    const struct key_slots *s = op->slots;
    if (arg == ACROSS_LAST_KEY)
        return s->slot[s->count - 1].shard;
    return s->slot[command_key_index(op->cmd, s->first_arg, s->step, arg)].shard;
}

/* across_looked: home decides what comes next; true when that is nothing. */
static ON_SHARD bool across_looked(struct unit *u, struct op *op) {
    const struct across *a = op->cmd->across;
    int64_t sum = a->look != NULL ? stage_sum(u, op) : 0;
    bool goes_on = decide(u, op, sum), last = is_last(u, u->at + 1);
    if (goes_on && a->at != 0) {
        op->shard = shard_of_arg(op, a->at);
        hop_one(u, STAGE_RUN, op->shard, last && a->after == NULL);
        return false;
    }
    if (a->after != NULL && (op->slots->go || anything_kept(op))) {
        hop_all(u, STAGE_AFTER, last);
        return false;
    }
    if (!u->replied)
        join(u, op, sum);
    return true;
}

/* across_go: true when the command is done, false when a hop is under way. */
static ON_SHARD bool across_go(struct unit *u, struct op *op) {
    const struct across *a = op->cmd->across;
    switch ((enum stage)u->stage) {
    case STAGE_BEGIN:
    case STAGE_ROOM:
        op_begin(u, op);
        if (a->look != NULL && !u->early) {
            hop_all(u, STAGE_LOOK, false);
            return false;
        }
        return across_looked(u, op);
    case STAGE_LOOK:
        return across_looked(u, op);
    case STAGE_RUN:
        u->ns += u->batch->parts[op->shard].ns;
        if (a->after == NULL || !op->slots->go)
            return true;
        hop_all(u, STAGE_AFTER, is_last(u, u->at + 1));
        return false;
    case STAGE_AFTER: {
        int64_t sum = stage_sum(u, op);
        if (!u->replied && a->at == 0)
            join(u, op, sum);
        return true;
    }
    }
    return true;
}

static void unit_work_done(struct shard *home, void *arg) {
    shard_claim();
    tx_unhold(home, &((struct unit *)arg)->tx);
}

enum gathered { GATHERED, GATHER_AGAIN, GATHER_WORKS };

/* all_gather: GATHER_AGAIN: it wants to ask all shards once more. */
static ON_SHARD enum gathered all_gather(struct unit *u, struct op *op) {
    struct batch *b = u->batch;
    struct outbuf *raws[SHARDS_MAX], *out = &home_part(u)->out;
    unsigned n = shards_count(b->net->shard->all);
    struct ctx c = run_home_ctx(b, op, out);
    struct work **work = c.work = &home_part(u)->work;
    c.locked = true;
    if (*work == NULL)
        (void)stage_sum(u, op);
    else
        u->ns += (*work)->job.ns;
    for (unsigned i = 0; i < n; i++) {
        raws[i] = &b->parts[i].raw;
        out->failed |= raws[i]->failed;
    }
    if (!out->failed || op->state != NULL || *work != NULL) /* what it keeps is its own to free */
        op->cmd->gather(&c, raws, n);
    if (c.more) {
        tx_hold(&u->tx);
        work_start(b->net->shard, *work, unit_work_done, u);
        return GATHER_WORKS;
    }
    u->freed |= c.freed;
    for (unsigned i = 0; i < n; i++)
        raws[i]->len = 0;
    return c.again && !out->failed ? GATHER_AGAIN : GATHERED;
}

static void nothing_run(struct shard *at, struct bus_msg *m) {
    (void)at;
    (void)m;
}

static void pause_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    tx_unhold(home, &CONTAINER_OF(m, struct unit, pause)->tx);
}

/* all_pause: many rounds let the commands of others in between. */
static ON_SHARD void all_pause(struct unit *u) {
    struct shard *home = u->batch->net->shard;
    u->pause = (struct bus_msg){.run = nothing_run, .done = pause_done, .to = home->id};
    u->paused = true;
    tx_hold(&u->tx);
    shard_post(home, &u->pause);
}

static ON_SHARD bool all_go(struct unit *u, struct op *op) {
    if (u->stage == STAGE_BEGIN)
        op_begin(u, op);
    if (u->stage == STAGE_BEGIN && !u->early) {
        uint32_t once = op->cmd->flags & (CMD_WHOLE | CMD_ROUNDS);
        hop_all(u, STAGE_LOOK, once == CMD_WHOLE && is_last(u, u->at + 1));
        return false;
    }
    if (!u->paused) {
        enum gathered g = all_gather(u, op);
        if (g != GATHER_AGAIN)
            return g == GATHERED;
        if (++u->rounds > ROUNDS_AT_ONCE) {
            all_pause(u);
            return false;
        }
    }
    u->paused = false;
    hop_all(u, STAGE_LOOK, false);
    return false;
}

/* round_go: commands that run on one shard each, up to the next that does not; one that changes the connection ends
 * the round. */
static ON_SHARD bool round_go(struct unit *u) {
    struct batch *b = u->batch;
    if (u->stage != STAGE_BEGIN) {
        if (b->holds_input)
            b->proto = b->conn->session.proto; /* HELLO may have changed it */
        u->at = u->to;
        u->stage = STAGE_BEGIN;
        return true;
    }
    for (u->to = u->at; u->to < b->op_count; u->to++) {
        struct op *op = &b->ops[u->to];
        if (b->holds_input)
            op->muted = b->conn->session.reply_off;
        if (op->kind == OP_ACROSS || op->kind == OP_ALL)
            break;
        if (op->kind == OP_RUN && op->cmd->flags & CMD_HOME) {
            u->to++;
            break;
        }
    }
    for (unsigned i = 0; i < u->tx.part_count; i++) {
        struct tx_part *p = &u->tx.parts[i];
        const struct part *bp = part_of(u, p);
        p->run = bp->used && bp->at < u->to;
        p->release = p->run && is_last(u, u->to);
    }
    u->stage = STAGE_RUN;
    tx_hop(b->net->shard, &u->tx);
    return false;
}

/* go: carries out commands; false when a hop is under way. */
static ON_SHARD bool go(struct unit *u) {
    struct batch *b = u->batch;
    while (u->at < b->op_count) {
        struct op *op = &b->ops[u->at];
        bool round = op->kind != OP_ACROSS && op->kind != OP_ALL;
        bool done = round ? round_go(u) : op->kind == OP_ACROSS ? across_go(u, op) : all_go(u, op);
        if (!done)
            return false;
        if (!round)
            op_end(u, op);
    }
    return true;
}

static bool changed(const struct unit *u) {
    for (unsigned i = 0; i < u->tx.part_count; i++)
        if (part_of(u, &u->tx.parts[i])->aborted)
            return true;
    return false;
}

/* full: some shard has no room for its part. Then nothing of it is done, but what early looks have kept goes. */
static bool full(struct unit *u) {
    struct op *op = &u->batch->ops[0];
    bool any = false;
    for (unsigned i = 0; i < u->tx.part_count; i++)
        any |= part_of(u, &u->tx.parts[i])->full;
    if (!any || u->batch->full)
        return u->batch->full;
    u->batch->full = u->batch->refused = true;
    if (!u->batch->exec && op->kind == OP_ACROSS && op->cmd->across->after != NULL) {
        op->slots->go = false;
        u->dropping = anything_kept(op);
    }
    return true;
}

/* hop_for_room: to the shards that wait for room; false: there are none, or it is refused anyway. */
static ON_SHARD bool hop_for_room(struct unit *u) {
    bool any = false, none = false;
    for (unsigned i = 0; i < u->tx.part_count; i++) {
        struct tx_part *p = &u->tx.parts[i];
        none |= part_of(u, p)->full;
        any |= p->run = part_of(u, p)->later;
        p->release = false;
    }
    u->stage = u->stage == STAGE_ROOM ? STAGE_BEGIN : u->stage;
    if (!any || none || u->dropping)
        return false;
    u->stage = STAGE_ROOM;
    tx_hop(u->batch->net->shard, &u->tx);
    return true;
}

static ON_SHARD void take_home(struct unit *u) {
    for (unsigned i = 0; i < u->tx.part_count; i++)
        part_home(part_of(u, &u->tx.parts[i]));
}

static void unit_next(struct shard *home, struct tx *t) {
    shard_claim();
    struct unit *u = unit_of(t);
    struct batch *b = u->batch;
    if (t->failed) { /* other shards may still look: it replies when that is over */
        tx_end(home, t);
        return;
    }
    take_home(u);
    if (hop_for_room(u))
        return;
    bool refused = full(u);
    if (u->dropping) {
        if (u->stage != STAGE_AFTER)
            hop_all(u, STAGE_AFTER, false);
        else
            tx_end(home, t);
        return;
    }
    if (!refused && !(b->exec && changed(u)) && !go(u))
        return;
    if (unlikely(u->freed))
        freed_wait(b);
    else
        batch_unit_done(b); /* the client has its reply before the locks are gone */
    tx_end(home, t);
}

/* drop_kept: starts once more, without wants, which takes no memory. False: there is nothing to drop. */
static ON_SHARD bool drop_kept(struct unit *u) {
    struct op *op = &u->batch->ops[0];
    if (u->dropping || u->batch->exec || op->kind != OP_ACROSS || op->cmd->across->after == NULL ||
        !anything_kept(op))
        return false;
    op->slots->go = u->early = false;
    u->dropping = true;
    for (unsigned i = 0; i < u->tx.part_count; i++)
        u->parts[i].count = u->parts[i].whole = 0;
    tx_start(u->batch->net->shard, &u->tx);
    return true;
}

/* give_back: what was promised to it and it has not used. */
static void give_back(struct unit *u, struct shard *home) {
    for (unsigned i = 0; i < u->tx.part_count; i++) {
        struct part *p = part_of(u, &u->tx.parts[i]);
        redeem(p, home, INT64_MAX);
        room_forgo(home, &p->room);
    }
}

static void unit_ended(struct shard *home, struct tx *t) {
    shard_claim();
    struct unit *u = unit_of(t);
    struct batch *b = u->batch;
    bool failed = t->failed || u->dropping;
    give_back(u, home);
    if (failed)
        take_home(u);
    if (failed && drop_kept(u))
        return;
    if (b->unit_room_bytes > NET_UNIT_KEEP_BYTES)
        unit_free(b);
    batch_unit_ended(b);
    if (failed) {
        b->refused = true;
        batch_unit_done(b);
    }
}

/* --- what it touches --- */

struct plan {
    uint32_t wants[SHARDS_MAX]; /* how many; then where the next goes */
    bool takes_part[SHARDS_MAX];
    uint8_t whole;
    unsigned parts;
    uint32_t want_count;
};

static uint8_t whole_of(const struct command *cmd) {
    return !(cmd->flags & CMD_WHOLE) ? TX_NONE : cmd->flags & CMD_WRITE ? TX_EXCLUSIVE : TX_SHARED;
}

static void plan_op(struct plan *p, const struct op *op, unsigned shards) {
    if (op->kind == OP_ALL) {
        uint8_t whole = whole_of(op->cmd);
        p->whole = whole > p->whole ? whole : p->whole;
        for (unsigned i = 0; i < shards; i++)
            p->takes_part[i] = true;
    } else if (op->kind == OP_ACROSS) {
        for (uint32_t i = 0; i < op->slots->count; i++) {
            p->wants[op->slots->slot[i].shard]++;
            p->takes_part[op->slots->slot[i].shard] = true;
        }
    } else {
        p->wants[op->shard] += run_wants(op, NULL);
        p->takes_part[op->shard] = true;
    }
}

static void plan_make(struct plan *p, const struct batch *b, unsigned shards) {
    memset(p, 0, sizeof *p);
    for (uint32_t i = 0; i < b->op_count; i++)
        plan_op(p, &b->ops[i], shards);
    for (struct list *l = b->watched.next; l != &b->watched; l = l->next) {
        uint16_t shard = CONTAINER_OF(l, struct watched, link)->shard;
        p->wants[shard]++;
        p->takes_part[shard] = true;
    }
    for (unsigned i = 0; i < shards; i++) {
        p->parts += p->takes_part[i];
        p->want_count += p->wants[i];
    }
}

static void fill_wants(const struct batch *b, struct tx_want **next) {
    for (uint32_t i = 0; i < b->op_count; i++) {
        const struct op *op = &b->ops[i];
        if (op->kind == OP_ACROSS)
            for (uint32_t k = 0; k < op->slots->count; k++)
                *next[op->slots->slot[k].shard]++ = run_slot_want(op, &op->slots->slot[k]);
        else if (op->kind != OP_ALL)
            next[op->shard] += run_wants(op, next[op->shard]);
    }
    for (struct list *l = b->watched.next; l != &b->watched; l = l->next) {
        const struct watched *w = CONTAINER_OF(l, const struct watched, link);
        *next[w->shard]++ = watch_want(w->watch);
    }
}

static void fill_parts(struct unit *u, const struct plan *plan, unsigned shards) {
    struct batch *b = u->batch;
    struct tx_want *next[SHARDS_MAX], *wants = (void *)(u->parts + plan->parts);
    struct tx_part *p = u->parts;
    for (unsigned i = 0; i < shards; i++) {
        next[i] = wants;
        wants += plan->wants[i];
        if (!plan->takes_part[i])
            continue;
        *p++ = (struct tx_part){
            .shard = (uint16_t)i, .wants = next[i], .count = plan->wants[i], .whole = plan->whole};
        struct part *bp = &b->parts[i];
        if (!bp->used)
            bp->at = bp->first = OP_END;
        bp->used = true;
    }
    fill_wants(b, next);
}

/* looks_early: does a batch's only command begin with what changes nothing? */
static bool looks_early(const struct batch *b) {
    const struct op *op = &b->ops[0];
    if (b->exec || op->cmd->flags & CMD_LONG)
        return false;
    return op->kind == OP_ALL ? whole_of(op->cmd) != TX_EXCLUSIVE : op->cmd->across->look != NULL;
}

static bool reads_in_place(const struct batch *b) {
    for (uint32_t i = 0; i < b->op_count; i++) {
        const struct op *op = &b->ops[i];
        if (op->kind == OP_ALL && op->cmd->flags & CMD_LONG)
            return true; /* a worker may read it */
        if (op->kind == OP_ACROSS && (op->cmd->across->at != 0 || op->cmd->across->decide != NULL))
            return true;
    }
    return false;
}

void unit_free(struct batch *b) {
    mem_free(&b->net->shard->mem, b->unit_room, b->unit_room_bytes);
    b->unit_room = NULL;
    b->unit_room_bytes = 0;
}

/* unit_room: for a unit of this many bytes; NULL: no memory. */
static struct unit *unit_room(struct batch *b, size_t bytes) {
    if (likely(b->unit_room_bytes >= bytes))
        return b->unit_room;
    unit_free(b);
    bytes = mem_size(bytes);
    b->unit_room = mem_alloc(&b->net->shard->mem, bytes);
    b->unit_room_bytes = b->unit_room == NULL ? 0 : bytes;
    return b->unit_room;
}

bool unit_start(struct batch *b) {
    static const struct tx_ops ops = {unit_look, unit_hop, unit_next, unit_ended};
    struct shard *home = b->net->shard;
    unsigned shards = shards_count(home->all);
    struct plan plan;
    plan_make(&plan, b, shards);
    size_t bytes = sizeof(struct unit) + plan.parts * sizeof(struct tx_part) +
                   plan.want_count * sizeof(struct tx_want);
    struct unit *u = unit_room(b, bytes);
    if (u == NULL)
        return false;
    *u = (struct unit){.batch = b, .early = looks_early(b)};
    fill_parts(u, &plan, shards);
    if (!b->parts[home->id].used)
        b->parts[home->id].at = b->parts[home->id].first = OP_END;
    b->parts[home->id].used = true; /* replies that are put together here */
    u->tx.ops = &ops;
    u->tx.parts = u->parts;
    u->tx.part_count = (uint16_t)plan.parts;
    u->tx.pins = b->exec || reads_in_place(b); /* time stands still in a transaction */
    u->tx.client = b->conn->session.id;
    u->tx.ordered = b->ordered;
    b->unit = u;
    b->now_ms = home->wall_ms;
    tx_start(home, &u->tx);
    return true;
}
