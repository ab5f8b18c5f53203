/* batch.c: where commands run and how their replies come together. */
#include "net_impl.h"
#include "shards/clock.h"
#include "shards/log.h"

enum { LOOK_AHEAD = 6 };

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
    memset(b, 0, offsetof(struct batch, ops));
    b->parts = (struct part *)(void *)(b + 1);
    memset(b->parts, 0, shards * sizeof *b->parts);
    b->net = n;
    outbuf_init(&b->refusal, &n->shard->mem);
    for (unsigned i = 0; i < shards; i++) {
        b->parts[i].batch = b;
        b->parts[i].shard = (uint16_t)i;
        outbuf_init(&b->parts[i].out, &n->shard->mem);
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
    b->op_count = b->gathered = b->parts_waiting = b->parts_live = 0;
    b->proto = c->session.proto;
    b->fanout = b->done = b->writes = false;
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
    p->used = p->slow = false;
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

/* drop_input: the arguments are not needed any more. */
static void drop_input(struct batch *b, bool retained) {
    struct mem *m = mem_of(b);
    for (uint32_t i = 0; i < b->big_count; i++)
        if (b->bigs[i].blob != NULL)
            blob_unpin(m, b->bigs[i].blob);
    b->big_count = 0;
    outbuf_deinit(&b->refusal);
    if (b->args != b->own_args)
        mem_free(m, b->args, b->args_cap * sizeof *b->args);
    b->args = b->own_args;
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
    struct op *op = &b->ops[b->op_count++];
    op->argv = b->args + b->args_len;
    op->argc = argc;
    op->db = b->conn->session.db;
    op->hash = 0;
    op->slow_us = 0;
    b->args_len += argc;
    return op;
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
    uint16_t i = (uint16_t)(op - b->ops);
    op->next = OP_END;
    if (op->kind == OP_RUN)
        b->writes |= (op->cmd->flags & CMD_WRITE) != 0;
    if (!p->used) {
        p->used = true;
        p->first = i;
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

/* --- running --- */

static void run_error(struct ctx *c, const struct batch *b, const struct op *op) {
    struct reply *r = &c->reply;
    switch ((enum op_kind)op->kind) {
    case OP_UNKNOWN:
        if (op->cmd != NULL)
            command_reply_unknown_sub(r, op->cmd, op->argv[1]);
        else
            command_reply_unknown(r, op->argv, op->argc);
        break;
    case OP_ARITY:
        command_reply_arity(r, op->cmd);
        break;
    case OP_NOAUTH:
        reply_error(r, "NOAUTH Authentication required.");
        break;
    case OP_CROSS:
        reply_error(r, ERR_CROSS_SHARD);
        break;
    case OP_NOTHING:
        ASSERT(op->cmd != NULL);
        (void)op->cmd->route(c);
        break;
    case OP_REFUSED:
        outbuf_add(r->out, b->refusal.buf, b->refusal.len);
        r->out->failed |= b->refusal.failed;
        break;
    case OP_PROTOCOL:
        reply_errorf(r, "ERR %.*s", (int)op->argv[0].len, op->argv[0].ptr);
        break;
    case OP_RUN:
        ASSERT(false);
    }
}

static struct big *big_of(const struct batch *b, const struct op *op) {
    if (likely(b->big_count == 0))
        return NULL;
    for (uint32_t i = 0; i < b->big_count; i++)
        if (&b->ops[b->bigs[i].op] == op && b->bigs[i].arg == op->argc - 1)
            return &b->bigs[i];
    return NULL;
}

static ON_SHARD void run_op(struct ctx *c, struct batch *b, struct op *op) {
    c->cmd = op->cmd;
    c->argv = op->argv;
    c->argc = op->argc;
    c->db = op->db;
    c->hash = op->hash;
    if (unlikely(op->kind != OP_RUN)) {
        run_error(c, b, op);
        return;
    }
    struct big *big = big_of(b, op);
    c->big = big != NULL && op->cmd->flags & CMD_BIG_LAST ? big->blob : NULL;
    if (unlikely(c->big != NULL)) {
        struct span *arg = &op->argv[op->argc - 1];
        memcpy(big->head, arg->ptr, arg->len < sizeof big->head ? arg->len : sizeof big->head);
        int64_t bytes = (int64_t)blob_bytes(c->big);
        op->cmd->run(c);
        big->blob = c->big;
        if (c->big != NULL)
            return;
        arg->ptr = big->head; /* of which nobody reads more than there is */
        if (c->shard != b->net->shard) {
            mem_charge(&c->shard->mem, bytes);
            b->parts[op->shard].moved_bytes -= bytes;
        }
        return;
    }
    op->cmd->run(c);
}

/* note_error: the reply that begins at `from` of the output is an error. */
static ON_SHARD void note_error(struct shard *at, const struct command *cmd, bool rejected,
                                const struct outbuf *out, size_t from) {
    struct span text = {out->buf + from + 1, out->len - from - 1};
    observe_error(at, cmd, rejected, text);
}

static bool is_error(const struct outbuf *out, size_t from) {
    return out->len > from && out->buf[from] == '-';
}

/* Commands of one kind that follow each other and are too short to be timed one by one. */
struct timed {
    const struct command *cmd;
    uint64_t from_ns;
    uint32_t count;
    uint16_t first;
};

static ON_SHARD void timed_end(struct timed *t, struct batch *b, struct part *p, struct shard *at) {
    if (t->count == 0)
        return;
    uint64_t now = clock_fine_ns(), ns = now - t->from_ns;
    observe_calls(at, t->cmd, t->count, ns);
    /* -1, which turns it off, is more than any time. */
    uint64_t us = ns / t->count / 1000, limit = (uint64_t)instance_of(at)->config->slow_us;
    if (unlikely(us >= limit)) {
        p->slow = true;
        for (uint16_t i = t->first; t->count != 0; i = b->ops[i].next, t->count--)
            b->ops[i].slow_us = us < UINT32_MAX ? (uint32_t)us + 1 : UINT32_MAX;
    }
    t->count = 0;
    t->from_ns = now;
}

static ON_SHARD void timed_add(struct timed *t, struct batch *b, struct part *p, struct shard *at,
                               const struct op *op) {
    ASSERT(op->cmd != NULL);
    if (t->cmd != op->cmd || !(op->cmd->flags & (CMD_FAST | CMD_CONSTANT)))
        timed_end(t, b, p, at);
    t->cmd = op->cmd;
    if (t->count++ == 0)
        t->first = (uint16_t)(op - b->ops);
}

/* run_part: runs the commands of a part on its shard, replies to `out`. What the commands after the next few
 * will touch is fetched meanwhile. */
static ON_SHARD void run_part(struct batch *b, struct part *p, struct shard *at, struct outbuf *out,
                              struct session *session) {
    struct instance *in = instance_of(at);
    struct ctx c = {.shard = at,
                    .keyspace = at->keyspace,
                    .now_ms = at->wall_ms,
                    .reply = {out, b->proto, at->id},
                    .client_id = b->conn->session.id,
                    .no_touch = b->no_touch,
                    .session = session};
    struct timed timed = {.from_ns = clock_fine_ns()};
    bool watched = monitor_any(in->net);
    uint16_t ahead = p->first;
    for (unsigned i = 0; i < LOOK_AHEAD && ahead != OP_END; i++, ahead = b->ops[ahead].next) {
        const struct table *t = keyspace_peek_table(at->keyspace, b->ops[ahead].db);
        if (t != NULL)
            table_prefetch_entry(t, b->ops[ahead].hash);
    }
    in->running = &c;
    for (uint16_t i = p->first; i != OP_END; i = b->ops[i].next) {
        if (ahead != OP_END) {
            const struct table *t = keyspace_peek_table(at->keyspace, b->ops[ahead].db);
            if (t != NULL)
                table_prefetch_entry(t, b->ops[ahead].hash);
            ahead = b->ops[ahead].next;
        }
        struct op *op = &b->ops[i];
        size_t from = out->len;
        /* One that its own check refuses counts as a call that failed, like one that found out later. */
        bool rejected = op->kind != OP_RUN && op->kind != OP_REFUSED;
        if (likely(!rejected))
            timed_add(&timed, b, p, at, op);
        else
            timed_end(&timed, b, p, at);
        /* One that changes its connection is shown as Redis does, with the database after it. */
        bool after = !rejected && (op->cmd->flags & CMD_HOME);
        if (unlikely(watched) && !rejected && !after)
            monitor_show(in->net, b->conn, op, op->db);
        run_op(&c, b, op);
        if (unlikely(watched) && after)
            monitor_show(in->net, b->conn, op, session->db);
        if (unlikely(is_error(out, from)))
            note_error(at, op->kind == OP_UNKNOWN ? NULL : op->cmd, rejected, out, from);
        op->reply_end = out->len;
        op->refs_end = out->ref_count;
    }
    timed_end(&timed, b, p, at);
    in->running = NULL;
}

static ON_SHARD void run_each(struct batch *b, struct part *p, struct shard *at) {
    struct op *op = &b->ops[0];
    struct ctx c = {.shard = at,
                    .keyspace = at->keyspace,
                    .now_ms = at->wall_ms,
                    .reply = {&p->out, b->proto, at->id},
                    .client_id = b->conn->session.id,
                    .cmd = op->cmd,
                    .argv = op->argv,
                    .argc = op->argc,
                    .db = op->db};
    uint64_t from = clock_fine_ns();
    instance_of(at)->running = &c;
    op->cmd->each(&c);
    instance_of(at)->running = NULL;
    p->ns = clock_fine_ns() - from;
}

static ON_SHARD void run_there(struct batch *b, struct part *p, struct shard *at) {
    if (b->fanout) {
        run_each(b, p, at);
        return;
    }
    /* The buckets first, all of them: the sender could only fetch its own. */
    for (uint16_t i = p->first; i != OP_END; i = b->ops[i].next) {
        const struct table *t = keyspace_peek_table(at->keyspace, b->ops[i].db);
        if (t != NULL)
            table_prefetch(t, b->ops[i].hash);
    }
    run_part(b, p, at, &p->out, NULL);
}

/* part_run: what the part's output grows by is charged to this shard, and to its home once it is there. */
static void part_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct part *p = CONTAINER_OF(m, struct part, msg);
    int64_t before = (int64_t)outbuf_bytes(&p->out);
    p->out.mem = &at->mem;
    p->moved_bytes = 0;
    run_there(p->batch, p, at);
    int64_t grown = (int64_t)outbuf_bytes(&p->out) - before;
    mem_charge(&at->mem, -grown);
    p->moved_bytes += grown;
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
    b->parts_live = 1; /* ours, until the loop is done */
    for (unsigned i = 0; i < shards; i++) {
        struct part *p = &b->parts[i];
        if (!p->used || p->out.ref_count == 0)
            continue;
        b->parts_live++;
        /* The share that gather held; what has been sent by now may end here. */
        part_ref_sent(p);
    }
    if (--b->parts_live == 0)
        batch_recycle(b);
}

static void take_bytes(struct conn *c, struct part *p, size_t end) {
    if (end != p->taken && !p->batch->quiet)
        outbuf_add(&c->out, p->out.buf + p->taken, end - p->taken);
    p->taken = end;
}

/* take_slice: moves the next replies of a part, up to where `op` ends, to the connection. */
static ON_SHARD void take_slice(struct conn *c, struct part *p, const struct op *op) {
    while (p->refs_taken < op->refs_end) {
        const struct outref *ref = &p->out.refs[p->refs_taken++];
        take_bytes(c, p, ref->at);
        p->refs_live++;
        if (c->broken || p->batch->quiet || !outbuf_move_ref(&c->out, ref, p))
            part_ref_sent(p);
    }
    take_bytes(c, p, op->reply_end);
}

/* fanout_reply: the reply of all shards' parts; false when another round is needed first. */
static ON_SHARD bool fanout_reply(struct conn *c, struct batch *b, struct outbuf *out) {
    struct shard *home = b->net->shard;
    unsigned n = shards_count(home->all);
    struct outbuf *outs[SHARDS_MAX];
    struct op *op = &b->ops[0];
    uint64_t longest_ns = 0, from_ns = clock_fine_ns();
    size_t from = out->len;
    for (unsigned i = 0; i < n; i++) {
        outs[i] = &b->parts[i].out;
        out->failed |= outs[i]->failed;
        if (b->parts[i].ns > longest_ns)
            longest_ns = b->parts[i].ns;
    }
    struct ctx ctx = {.shard = home,
                      .keyspace = home->keyspace,
                      .now_ms = home->wall_ms,
                      .reply = {out, b->proto, home->id},
                      .client_id = c->session.id,
                      .cmd = op->cmd,
                      .argv = op->argv,
                      .argc = op->argc,
                      .db = op->db,
                      .session = &c->session};
    if (!out->failed)
        op->cmd->gather(&ctx, outs, n);
    if (ctx.again && !out->failed)
        return false;
    uint64_t ns = longest_ns + clock_fine_ns() - from_ns, us = ns / 1000;
    observe_calls(home, op->cmd, 1, ns);
    if (us >= (uint64_t)instance_of(home)->config->slow_us) {
        op->slow_us = us < UINT32_MAX ? (uint32_t)us + 1 : UINT32_MAX;
        b->parts[home->id].slow = true;
    }
    if (is_error(out, from))
        note_error(home, op->cmd, false, out, from);
    return true;
}

static ON_SHARD void post_part(struct batch *b, struct part *p);

static ON_SHARD void fanout_start(struct batch *b) {
    struct shard *here = b->net->shard;
    unsigned shards = shards_count(here->all);
    for (unsigned i = 0; i < shards; i++) {
        b->parts[i].used = true;
        b->parts[i].out.len = 0;
        if (i != here->id)
            post_part(b, &b->parts[i]);
    }
    run_each(b, &b->parts[here->id], here);
}

/* gather_fanout: false when the shards were asked once more. */
static ON_SHARD bool gather_fanout(struct conn *c, struct batch *b) {
    struct outbuf dropped, *out = &c->out;
    if (unlikely(b->quiet)) {
        outbuf_init(&dropped, &b->net->shard->mem);
        out = &dropped;
    }
    struct watch_from from = {out->len, out->ref_count};
    bool done = fanout_reply(c, b, out);
    if (done) {
        b->ops[0].reply_end = out->len;
        b->ops[0].refs_end = out->ref_count;
        b->gathered = 1;
        watch_batch(b, out, &from);
        c->closing |= c->session.close_after_reply;
    }
    if (unlikely(b->quiet))
        outbuf_deinit(&dropped);
    return done;
}

/* gather: sends on what is ready, in order. */
static ON_SHARD void gather(struct conn *c) {
    output_begin(c);
    for (struct batch *b; (b = c->first) != NULL;) {
        if (b->fanout) {
            while (b->parts_waiting == 0 && b->gathered == 0 && !gather_fanout(c, b))
                fanout_start(b);
            if (b->parts_waiting != 0)
                break;
        }
        for (; b->gathered < b->op_count; b->gathered++) {
            const struct op *op = &b->ops[b->gathered];
            struct part *p = &b->parts[op->shard];
            if (p->waiting)
                break;
            if (b->gathered == 0 || p->refs_taken == 0)
                c->out.failed |= p->out.failed;
            if (p->refs_taken == 0 && p->out.ref_count != 0)
                p->refs_live = 1; /* ours, until batch_finish */
            take_slice(c, p, op);
        }
        if (b->gathered < b->op_count || b->parts_waiting != 0)
            break;
        c->first = b->next;
        if (c->first == NULL)
            c->last = NULL;
        c->batches--;
        if (!b->fanout)
            watch_batch(b, NULL, NULL);
        batch_finish(b);
    }
    conn_touch(c);
}

static void part_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct part *p = CONTAINER_OF(m, struct part, msg);
    struct batch *b = p->batch;
    struct conn *c = b->conn;
    p->waiting = false;
    p->out.mem = &home->mem;
    mem_charge(&home->mem, p->moved_bytes);
    if (--b->parts_waiting == 0)
        b->net->writes_out -= b->writes;
    gather(c);
    if (c->paused || c->closing || c->broken)
        conn_todo(c);
}

static ON_SHARD void post_part(struct batch *b, struct part *p) {
    p->msg.run = part_run;
    p->msg.done = part_done;
    p->msg.to = p->shard;
    p->waiting = true;
    if (b->parts_waiting++ == 0)
        b->net->writes_out += b->writes;
    shard_post(b->net->shard, &p->msg);
}

static void enqueue(struct batch *b) {
    struct conn *c = b->conn;
    if (c->last != NULL)
        c->last->next = b;
    else
        c->first = b;
    c->last = b;
    c->batches++;
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

static bool all_here(const struct batch *b, unsigned shards, unsigned here) {
    for (unsigned i = 0; i < shards; i++)
        if (i != here && b->parts[i].used)
            return false;
    return true;
}

void batch_dispatch(struct batch *b) {
    struct conn *c = b->conn;
    struct shard *here = b->net->shard;
    unsigned shards = shards_count(here->all);
    struct part *mine = &b->parts[here->id];
    if (b->op_count == 0) {
        batch_discard(b);
        return;
    }
    b->net->stats.commands += b->op_count;
    c->commands += b->op_count;
    c->last_cmd = b->ops[b->op_count - 1].cmd;
    if (likely(!b->fanout && !b->quiet && c->first == NULL && all_here(b, shards, here->id))) {
        output_begin(c);
        struct watch_from from = {c->out.len, c->out.ref_count};
        run_part(b, mine, here, &c->out, &c->session);
        watch_batch(b, &c->out, &from);
        c->closing |= c->session.close_after_reply;
        batch_discard(b);
        conn_touch(c);
        return;
    }
    enqueue(b);
    if (b->fanout) {
        if (monitor_any(b->net))
            monitor_show(b->net, c, &b->ops[0], b->ops[0].db);
        fanout_start(b);
    } else {
        for (unsigned i = 0; i < shards; i++)
            if (i != here->id && b->parts[i].used)
                post_part(b, &b->parts[i]);
        if (mine->used)
            run_part(b, mine, here, &mine->out, &c->session);
    }
    c->closing |= c->session.close_after_reply;
    gather(c);
}
