/* batch.c: where commands go to run, and how their replies come together. */
#include "net_impl.h"

static size_t batch_bytes(unsigned shards) {
    return sizeof(struct batch) + shards * sizeof(struct part);
}

static struct mem *mem_of(const struct batch *b) {
    return &b->net->shard->mem;
}

static struct batch *batch_create(struct net *n) {
    unsigned shards = shards_count(n->shard->all);
    struct batch *b = mem_alloc(&n->shard->mem, batch_bytes(shards));
    if (b == NULL)
        return NULL;
    memset(b, 0, offsetof(struct batch, own_ops));
    list_init(&b->watched);
    b->parts = (struct part *)(void *)(b + 1);
    memset(b->parts, 0, shards * sizeof *b->parts);
    b->net = n;
    outbuf_init(&b->refusal, &n->shard->mem);
    for (unsigned i = 0; i < shards; i++) {
        b->parts[i].batch = b;
        b->parts[i].shard = (uint16_t)i;
        outbuf_init(&b->parts[i].out, &n->shard->mem);
        outbuf_init(&b->parts[i].raw, &n->shard->mem);
    }
    return b;
}

struct batch *batch_begin(struct conn *c, struct io_buf *buf, struct inbuf *in) {
    struct net *n = c->net;
    struct batch *b = n->spare_batches;
    if (likely(b != NULL)) {
        n->spare_batches = b->next;
        if (--n->spare_batch_count < n->spare_batch_least)
            n->spare_batch_least = n->spare_batch_count;
    } else if ((b = batch_create(n)) == NULL) {
        return NULL;
    }
    b->conn = c;
    b->next = NULL;
    b->buf = buf;
    b->in = in;
    b->args = b->own_args;
    b->args_cap = NET_BATCH_ARGS;
    b->args_len = 0;
    b->ops = b->own_ops;
    b->ops_cap = NET_BATCH_COMMANDS;
    b->op_count = b->gathered = 0;
    b->parts_waiting = b->parts_live = 0;
    b->proto = c->session.proto;
    b->as_unit = b->exec = b->exec_begun = b->aborted = b->refused = b->full = false;
    b->holds_input = false;
    b->done = b->writes = false;
    b->no_touch = c->session.no_touch;
    b->quiet = c->session.reply_off || c->session.reply_skip;
    return b;
}

static void batch_destroy(struct batch *b) {
    struct mem *m = mem_of(b);
    unsigned shards = shards_count(b->net->shard->all);
    for (unsigned i = 0; i < shards; i++)
        outbuf_deinit(&b->parts[i].out);
    outbuf_deinit(&b->refusal);
    unit_free(b);
    mem_free(m, b->bigs, b->big_cap * sizeof *b->bigs);
    mem_free(m, b, batch_bytes(shards));
}

void batch_free_spares(struct net *n, unsigned keep) {
    for (; n->spare_batch_count > keep; n->spare_batch_count--) {
        struct batch *b = n->spare_batches;
        n->spare_batches = b->next;
        batch_destroy(b);
    }
}

/* part_reset: nothing of it is in use; a large buffer is not kept. */
static void part_reset(struct part *p) {
    struct mem *m = mem_of(p->batch);
    p->out.len = p->taken = 0;
    p->out.ref_count = p->refs_taken = 0;
    p->out.ref_bytes = 0;
    p->used = p->slow = p->aborted = p->full = false;
    p->lengthy = p->begun = p->going = false;
    p->now_ms = 0;
    if (unlikely(p->raw.buf != NULL || p->raw.failed))
        outbuf_deinit(&p->raw);
    if (p->out.cap > NET_OUT_KEEP_BYTES || p->out.failed) {
        p->out.mem = m;
        outbuf_deinit(&p->out);
        outbuf_init(&p->out, m);
    }
}

static void batch_recycle(struct batch *b) {
    struct net *n = b->net;
    unsigned shards = shards_count(n->shard->all);
    for (unsigned i = 0; i < shards; i++)
        if (b->parts[i].used)
            part_reset(&b->parts[i]);
    if (n->spare_batch_count == NET_BATCHES_KEPT) {
        batch_destroy(b);
        return;
    }
    b->next = n->spare_batches;
    n->spare_batches = b;
    n->spare_batch_count++;
}

static void free_slots(struct batch *b) {
    unsigned shards = shards_count(b->net->shard->all);
    for (uint32_t i = 0; i < b->op_count; i++)
        if (b->ops[i].slots != NULL)
            input_free_slots(mem_of(b), &b->ops[i], shards);
}

/* drop_input: the arguments are not needed any more. */
static ON_SHARD void drop_input(struct batch *b, bool retained) {
    struct mem *m = mem_of(b);
    for (uint32_t i = 0; i < b->big_count; i++)
        if (b->bigs[i].blob != NULL)
            blob_unpin(m, b->bigs[i].blob);
    b->big_count = 0;
    outbuf_deinit(&b->refusal);
    if (unlikely(b->as_unit))
        free_slots(b);
    if (b->args != b->own_args)
        mem_free(m, b->args, b->args_cap * sizeof *b->args);
    b->args = b->own_args;
    if (b->ops != b->own_ops)
        mem_free(m, b->ops, b->ops_cap * sizeof *b->ops);
    b->ops = b->own_ops;
    for (struct text *t = b->texts, *next; unlikely(t != NULL); t = next) {
        next = t->next;
        mem_free(m, t, sizeof *t + t->cap);
    }
    b->texts = NULL;
    b->kept_bytes = 0;
    if (unlikely(!list_empty(&b->watched)))
        exec_unwatch(b->net, &b->watched);
    if (retained && b->buf != NULL)
        buf_release(b->buf);
    if (retained && b->in != NULL)
        inbuf_release(b->in);
    b->buf = NULL;
    b->in = NULL;
}

void batch_discard(struct batch *b) {
    drop_input(b, false);
    batch_recycle(b);
}

/* op_add: there is room for it and its arguments. */
static struct op *op_add(struct batch *b, uint32_t argc) {
    struct op *op = &b->ops[b->op_count++];
    op->argv = b->args + b->args_len;
    op->argc = argc;
    op->db = b->conn->session.db;
    op->hash = 0;
    op->slots = NULL;
    op->slow_us = 0;
    op->kind = OP_RUN;
    b->args_len += argc;
    return op;
}

struct op *batch_room(struct batch *b, uint32_t argc) {
    if (b->op_count == NET_BATCH_COMMANDS)
        return NULL;
    if (unlikely(b->args_cap - b->args_len < argc)) {
        if (b->op_count != 0)
            return NULL;
        struct span *args = mem_alloc(mem_of(b), argc * sizeof *args);
        if (args == NULL)
            return NULL;
        b->args = args;
        b->args_cap = argc;
    }
    return op_add(b, argc);
}

static bool grow_ops(struct batch *b) {
    uint32_t cap = 2 * b->ops_cap;
    bool own = b->ops == b->own_ops;
    struct op *ops = mem_realloc(mem_of(b), own ? NULL : b->ops, own ? 0 : b->ops_cap * sizeof *ops,
                                 cap * sizeof *ops);
    if (ops == NULL)
        return false;
    if (own)
        memcpy(ops, b->own_ops, sizeof b->own_ops);
    b->ops = ops;
    b->ops_cap = cap;
    return true;
}

static bool grow_args(struct batch *b, uint32_t argc) {
    uint32_t cap = 2 * b->args_cap > b->args_len + argc ? 2 * b->args_cap : b->args_len + argc;
    struct span *args = mem_alloc(mem_of(b), cap * sizeof *args);
    if (args == NULL)
        return false;
    memcpy(args, b->args, b->args_len * sizeof *args);
    for (uint32_t i = 0; i < b->op_count; i++)
        b->ops[i].argv = args + (b->ops[i].argv - b->args);
    if (b->args != b->own_args)
        mem_free(mem_of(b), b->args, b->args_cap * sizeof *args);
    b->args = args;
    b->args_cap = cap;
    return true;
}

struct op *batch_room_for_body(struct batch *b, uint32_t argc) {
    if (b->op_count == b->ops_cap && !grow_ops(b))
        return NULL;
    if (b->args_cap - b->args_len < argc && !grow_args(b, argc))
        return NULL;
    return op_add(b, argc);
}

void batch_drop_op(struct batch *b) {
    b->op_count--;
    b->args_len -= b->ops[b->op_count].argc;
}

bool batch_big(struct batch *b, const struct op *op, uint32_t arg, struct blob *blob) {
    if (b->big_count == b->big_cap) {
        uint32_t cap = b->big_cap ? b->big_cap * 2 : 1;
        struct big *bigs =
            mem_realloc(mem_of(b), b->bigs, b->big_cap * sizeof *bigs, cap * sizeof *bigs);
        if (bigs == NULL)
            return false;
        b->bigs = bigs;
        b->big_cap = cap;
    }
    b->bigs[b->big_count++] = (struct big){blob, (uint32_t)(op - b->ops), arg};
    return true;
}

void batch_link(struct batch *b, struct op *op) {
    struct part *p = &b->parts[op->shard];
    uint32_t i = (uint32_t)(op - b->ops);
    op->next = OP_END;
    if (op->kind == OP_RUN) {
        b->writes |= (op->cmd->flags & CMD_WRITE) != 0;
        p->lengthy |= (op->cmd->flags & CMD_LONG) != 0;
    }
    if (!p->used) {
        p->used = true;
        p->first = p->at = i;
    } else {
        b->ops[p->last].next = i;
    }
    p->last = i;
    if (op->hash != 0 && op->shard == b->net->shard->id) {
        shard_claim();
        const struct table *t = keyspace_peek_table(b->net->shard->keyspace, op->db);
        if (t != NULL)
            table_prefetch(t, op->hash);
    }
}

/* --- parts, where they run --- */

static int64_t part_bytes(const struct part *p) {
    return (int64_t)(outbuf_bytes(&p->out) + outbuf_bytes(&p->raw));
}

void part_enter(struct part *p, struct shard *at) {
    p->held_before = part_bytes(p);
    p->out.mem = p->raw.mem = &at->mem;
}

void part_leave(struct part *p, struct shard *at) {
    int64_t grown = part_bytes(p) - p->held_before;
    mem_charge(&at->mem, -grown);
    p->moved_bytes += grown;
}

void part_home(struct part *p) {
    struct mem *m = mem_of(p->batch);
    p->out.mem = p->raw.mem = m;
    mem_charge(m, p->moved_bytes);
    p->moved_bytes = 0;
    if (unlikely(p->carried_bytes != 0))
        room_receive(p->batch->net->shard, p->carried_bytes, p->carried_room);
    p->carried_bytes = p->carried_room = 0;
}

/* carry, carry_on, carry_back: large arguments change accounts with the part: what its commands store stays where it is stored, the
 * rest comes home. */
static ON_SHARD void carry(struct part *p) {
    p->carried_bytes = run_brings(p);
    if (unlikely(p->carried_bytes != 0))
        p->carried_room = room_send(p->batch->net->shard, p->carried_bytes);
}

static ON_SHARD void carry_on(struct part *p, struct shard *at) {
    if (unlikely(p->carried_bytes != 0))
        room_receive(at, p->carried_bytes, p->carried_room);
}

static ON_SHARD void carry_back(struct part *p, struct shard *at) {
    if (unlikely(p->carried_bytes != 0))
        p->carried_room = room_send(at, p->carried_bytes);
}

/* body_has_room: for all of MULTI's body, on one shard; false: none, or, if it has not begun, not yet. */
static ON_SHARD bool body_has_room(struct part *p, struct shard *at) {
    int64_t bytes = run_bytes(p->batch, at);
    enum room r = bytes == 0 ? ROOM_THERE : room_ask(at, bytes, &p->room);
    p->full = r == ROOM_NONE;
    p->begun = r != ROOM_LATER;
    return r == ROOM_THERE;
}

/* part_run_rest: its commands from p->at on; false when they have to wait, or, granted, when one has left work to be done
 * beside the shard, or waits for room. MULTI's body waits as a whole; what may take long in it must find the locks held. */
static ON_SHARD bool part_run_rest(struct part *p, struct shard *at, bool granted) {
    struct batch *b = p->batch;
    struct run how = {.out = &p->out,
                      .to = OP_END,
                      .granted = granted || b->exec,
                      .locked = granted,
                      .roomy = b->exec,
                      .waits = true};
    if (at == b->net->shard)
        how.session = &b->conn->session;
    if (b->exec && !granted && (p->lengthy || (tx_busy(&at->tx) && run_blocked(at, b, p->at))))
        return false;
    if (p->lengthy && granted) {
        if (!p->begun || (!b->exec && !p->going))
            p->now_ms = at->wall_ms;
        how.now_ms = p->now_ms;
    }
    bool begins = !p->begun;
    p->begun = granted || b->exec;
    if (b->exec && begins && (p->aborted = exec_changed(b, at)))
        return true;
    if (b->exec && begins && !body_has_room(p, at))
        return p->begun;
    return run_part(b, p, at, &how);
}

static void step_go_on(struct shard *at, void *arg) {
    shard_claim();
    tx_go_on(at, ((struct part *)arg)->claim);
}

static void step_room_came(struct shard *at, struct room_wait *w) {
    step_go_on(at, CONTAINER_OF(w, struct part, room));
}

static bool step_run(struct shard *at, void *arg, struct tx_claim *self) {
    shard_claim();
    struct part *p = arg;
    part_enter(p, at);
    bool all = part_run_rest(p, at, true);
    part_leave(p, at);
    if (all)
        carry_back(p, at);
    p->claim = self;
    if (!all && p->work != NULL)
        work_start(at, p->work, step_go_on, p);
    else if (!all)
        room_wait(at, &p->room, step_room_came);
    return all;
}

static ON_SHARD void part_event(struct part *p);

static void step_done(struct shard *home, void *arg) {
    shard_claim();
    (void)home;
    part_event(arg);
}

/* wait_for: the rest of the part, from p->at on, becomes a step that waits for its turn; false: no memory. */
static ON_SHARD bool wait_for(struct part *p, struct shard *at) {
    struct batch *b = p->batch;
    uint32_t count = 0;
    for (uint32_t i = p->at; i != OP_END; i = b->ops[i].next)
        count += run_wants(&b->ops[i], NULL);
    struct tx_want *wants = mem_alloc(&at->mem, count * sizeof *wants);
    if (wants == NULL)
        return false;
    uint32_t n = 0;
    for (uint32_t i = p->at; i != OP_END; i = b->ops[i].next)
        n += run_wants(&b->ops[i], wants + n);
    struct tx_step step = {.id = b->id,
                           .client = b->conn->session.id,
                           .ordered = b->ordered,
                           .home = b->net->shard->id,
                           .wants = wants,
                           .count = count,
                           .pins = p->lengthy, /* it may be read over many turns */
                           .run = step_run,
                           .done = step_done,
                           .arg = p};
    part_leave(p, at); /* the step enters for itself, maybe at once */
    bool waits = tx_wait(at, &step) == OK;
    part_enter(p, at);
    mem_free(&at->mem, wants, count * sizeof *wants);
    return waits;
}

/* part_go: what a shard does for a part of a batch that is no transaction; false: the rest of it is a step. */
static ON_SHARD bool part_go(struct part *p, struct shard *at) {
    struct batch *b = p->batch;
    bool waits = false;
    part_enter(p, at);
    if (unlikely(!part_run_rest(p, at, false))) {
        p->awaited++;
        waits = wait_for(p, at);
        if (!waits) {
            p->awaited--;
            room_forgo(at, &p->room);
            for (uint32_t i = p->at; i != OP_END; i = b->ops[i].next)
                b->ops[i].kind = OP_NOMEM;
            (void)part_run_rest(p, at, true);
        }
    }
    part_leave(p, at);
    return !waits;
}

static void part_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct part *p = CONTAINER_OF(m, struct part, msg);
    /* Its turn may have begun before the client sent this. */
    if (at->wall_ms < p->batch->asked_ms)
        at->wall_ms = p->batch->asked_ms;
    run_prefetch(at, p->batch, p->at);
    carry_on(p, at);
    if (part_go(p, at))
        carry_back(p, at);
}

/* --- references to values of other shards --- */

static void unpin_run(struct shard *at, struct bus_msg *m) {
    struct part *p = CONTAINER_OF(m, struct part, msg);
    for (uint32_t i = 0; i < p->out.ref_count; i++)
        blob_unpin(&at->mem, p->out.refs[i].blob);
}

static void unpin_done(struct shard *home, struct bus_msg *m) {
    struct part *p = CONTAINER_OF(m, struct part, msg);
    struct batch *b = p->batch;
    (void)home;
    ASSERT(b->done && b->parts_live > 0);
    if (--b->parts_live == 0)
        batch_recycle(b);
}

void part_ref_sent(struct part *p) {
    ASSERT(p->refs_live > 0);
    if (--p->refs_live != 0)
        return;
    struct batch *b = p->batch;
    struct shard *home = b->net->shard;
    if (p->shard == home->id) {
        unpin_run(home, &p->msg);
        unpin_done(home, &p->msg);
        return;
    }
    p->msg.run = unpin_run;
    p->msg.done = unpin_done;
    p->msg.to = p->shard;
    shard_post(home, &p->msg);
}

/* --- gathering --- */

static ON_SHARD void batch_finish(struct batch *b) {
    struct net *n = b->net;
    unsigned shards = shards_count(n->shard->all);
    drop_input(b, true);
    b->done = true;
    b->conn = NULL;
    n->batches_out--;
    b->parts_live = b->unit != NULL ? 2 : 1; /* ours, until the loop is done */
    for (unsigned i = 0; i < shards; i++) {
        struct part *p = &b->parts[i];
        if (!p->used || p->out.ref_count == 0)
            continue;
        b->parts_live++;
        /* The share that gather held; what has been sent by now may end here. Of what was never asked for, all does. */
        if (p->refs_live == 0)
            p->refs_live = 1;
        part_ref_sent(p);
    }
    if (--b->parts_live == 0)
        batch_recycle(b);
}

static void take_bytes(struct conn *c, struct part *p, size_t end, bool mute) {
    if (end != p->taken && !mute)
        outbuf_add(&c->out, p->out.buf + p->taken, end - p->taken);
    p->taken = end;
}

/* take_slice: moves the next replies of a part, up to an end, to the connection. */
static ON_SHARD void take_slice(struct conn *c, struct part *p, size_t end, uint32_t refs_end,
                                bool mute) {
    if (p->refs_taken == 0 && p->taken == 0) {
        c->out.failed |= p->out.failed;
        if (p->out.ref_count != 0)
            p->refs_live = 1; /* ours, until batch_finish */
    }
    while (p->refs_taken < refs_end) {
        const struct outref *ref = &p->out.refs[p->refs_taken++];
        take_bytes(c, p, ref->at, mute);
        p->refs_live++;
        if (c->broken || mute || !outbuf_move_ref(&c->out, ref, p))
            part_ref_sent(p);
    }
    take_bytes(c, p, end, mute);
}

static ON_SHARD void take_reply(struct conn *c, struct batch *b, const struct op *op) {
    bool mute = unlikely(b->exec) ? op->muted : b->quiet;
    if (likely(op->kind != OP_ACROSS) || op->cmd->across->join != JOIN_KEYS) {
        take_slice(c, &b->parts[op->shard], op->reply_end, op->refs_end, mute);
        return;
    }
    struct reply r = {&c->out, b->proto, b->net->shard->id};
    if (!mute)
        reply_array(&r, op->slots->count);
    for (uint32_t i = 0; i < op->slots->count; i++) {
        const struct key_slot *k = &op->slots->slot[i];
        take_slice(c, &b->parts[k->shard], k->reply_end, k->refs_end, mute);
    }
}

/* exec_head: what stands before the replies of MULTI's body, or in the place of a unit's. */
static void exec_head(struct conn *c, struct batch *b) {
    struct shard *home = b->net->shard;
    struct reply r = {&c->out, b->proto, home->id};
    shard_claim();
    for (unsigned i = 0; i < shards_count(home->all); i++) {
        b->aborted |= b->parts[i].used && b->parts[i].aborted;
        b->full |= b->parts[i].used && b->parts[i].full;
    }
    b->refused |= b->full;
    b->exec_begun = true;
    if (b->aborted || b->refused)
        b->gathered = b->op_count;
    if (b->quiet)
        return;
    if (b->full)
        run_refuse(b, &r);
    else if (b->refused)
        reply_error(&r, "ERR out of memory");
    else if (b->aborted)
        reply_null_array(&r);
    else
        reply_array(&r, b->op_count);
}

/* gather_batch: sends on what is ready of it, in order; true when that is all. */
static ON_SHARD bool gather_batch(struct conn *c, struct batch *b) {
    if (unlikely(b->as_unit || b->exec) && b->parts_waiting != 0)
        return false;
    if (unlikely(b->exec || b->refused) && !b->exec_begun)
        exec_head(c, b);
    for (; b->gathered < b->op_count; b->gathered++) {
        const struct op *op = &b->ops[b->gathered];
        if (b->parts[op->shard].waiting)
            return false;
        take_reply(c, b, op);
    }
    return b->parts_waiting == 0;
}

/* gather: sends on what is ready, in order. */
static ON_SHARD void gather(struct conn *c) {
    output_begin(c);
    for (struct batch *b; (b = c->first) != NULL;) {
        if (!gather_batch(c, b))
            break;
        c->first = b->next;
        if (c->first == NULL)
            c->last = NULL;
        c->batches--;
        c->input_waits -= b->holds_input;
        if (!b->aborted && !b->refused)
            slow_batch(b, NULL, NULL);
        if (unlikely(b->exec))
            exec_note(b);
        batch_finish(b);
        output_look(c);
    }
    conn_touch(c);
}

static void wait_begin(struct batch *b) {
    if (b->parts_waiting++ == 0)
        b->net->writes_out += b->writes;
}

static ON_SHARD void wait_end(struct batch *b) {
    struct conn *c = b->conn;
    if (--b->parts_waiting == 0)
        b->net->writes_out -= b->writes;
    gather(c);
    if (c->paused || c->closing || c->broken)
        conn_todo(c);
}

/* part_event: one that it waits for; a step may tell that it is done before the message of the part is back. */
static void part_event(struct part *p) {
    if (--p->awaited != 0)
        return;
    p->waiting = false;
    part_home(p);
    wait_end(p->batch);
}

static void part_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    (void)home;
    part_event(CONTAINER_OF(m, struct part, msg));
}

static ON_SHARD void post_part(struct batch *b, struct part *p) {
    p->msg.run = part_run;
    p->msg.done = part_done;
    p->msg.to = p->shard;
    p->waiting = true;
    p->awaited = 1;
    wait_begin(b);
    carry(p);
    shard_post(b->net->shard, &p->msg);
}

/* run_mine: the part of the connection's own shard. */
static ON_SHARD void run_mine(struct batch *b, struct part *p) {
    p->awaited = 0;
    (void)part_go(p, b->net->shard);
    part_home(p);
    if (unlikely(p->awaited != 0)) {
        p->waiting = true;
        wait_begin(b);
    }
}

void batch_unit_done(struct batch *b) {
    struct conn *c = b->conn;
    c->closing |= c->session.close_after_reply;
    wait_end(b);
}

void batch_unit_ended(struct batch *b) {
    b->unit = NULL;
    if (b->done && --b->parts_live == 0)
        batch_recycle(b);
}

static void enqueue(struct batch *b) {
    struct conn *c = b->conn;
    if (c->last != NULL)
        c->last->next = b;
    else
        c->first = b;
    c->last = b;
    c->batches++;
    c->input_waits += b->holds_input;
    b->net->batches_out++;
    if (b->buf != NULL)
        buf_retain(b->buf);
    if (b->in != NULL)
        b->in->refs++;
    if (c->batches >= NET_BATCHES_MAX && !c->paused) {
        c->paused = true;
        stream_pause(b->net->shard->loop, &c->stream);
    }
}

void batch_hold_input(struct conn *c) {
    if (likely(c->input_waits == 0 || c->paused))
        return;
    c->paused = true;
    stream_pause(c->net->shard->loop, &c->stream);
}

static bool all_here(const struct batch *b, unsigned shards, unsigned here) {
    for (unsigned i = 0; i < shards; i++)
        if (i != here && b->parts[i].used)
            return false;
    return true;
}

/* start_unit: what has no memory to be one is answered with an error. */
static ON_SHARD void start_unit(struct batch *b) {
    wait_begin(b);
    if (unit_start(b))
        return;
    b->refused = true;
    batch_unit_done(b);
}

/* fits_here: this shard has room, or can make it alone, for all that the batch may store; or other shards would not help. Else it
 * must not run directly: there it cannot wait. */
static ON_SHARD bool fits_here(const struct batch *b, struct shard *here, bool *roomy) {
    if (likely(room_plenty(here)) || !room_of_others(here))
        return true;
    int64_t bytes = run_bytes(b, here);
    *roomy = bytes == 0 || room_here(here, bytes);
    return *roomy;
}

void batch_dispatch(struct batch *b) {
    struct conn *c = b->conn;
    struct shard *here = b->net->shard;
    unsigned shards = shards_count(here->all);
    struct part *mine = &b->parts[here->id];
    if (b->op_count == 0 && !b->exec) {
        batch_discard(b);
        return;
    }
    b->id = tx_next_id(&here->tx);
    b->ordered = c->first != NULL;
    b->net->stats.commands += b->op_count;
    c->commands += b->op_count;
    if (likely(!b->exec))
        c->last_cmd = b->ops[b->op_count - 1].cmd;
    bool direct = !b->as_unit && !b->exec && !b->quiet && c->first == NULL && !mine->lengthy;
    bool roomy = false;
    if (likely(direct && !tx_busy(&here->tx) && all_here(b, shards, here->id) &&
               fits_here(b, here, &roomy))) {
        output_begin(c);
        struct slow_from from = {c->out.len, c->out.ref_count};
        struct run how = {
            .out = &c->out, .session = &c->session, .to = OP_END, .granted = true, .roomy = roomy};
        (void)run_part(b, mine, here, &how);
        slow_batch(b, &c->out, &from);
        c->closing |= c->session.close_after_reply;
        batch_discard(b);
        conn_touch(c);
        output_look(c);
        return;
    }
    enqueue(b);
    if (b->as_unit) {
        start_unit(b);
        return;
    }
    b->asked_ms = here->wall_ms;
    for (unsigned i = 0; i < shards; i++)
        if (i != here->id && b->parts[i].used)
            post_part(b, &b->parts[i]);
    if (mine->used)
        run_mine(b, mine);
    c->closing |= c->session.close_after_reply;
    gather(c);
}
