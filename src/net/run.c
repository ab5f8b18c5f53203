/* run.c: runs commands on the shard where their keys are. */
#include "net_impl.h"
#include "shards/clock.h"

enum { LOOK_AHEAD = 6 };

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
    case OP_LOADING:
        reply_error(r, "LOADING Redis is loading the dataset in memory");
        break;
    case OP_MISCONF:
        reply_error(r,
                    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable "
                    "to persist to disk. Commands that may modify the data set are disabled, "
                    "because this instance is configured to report errors during writes if RDB "
                    "snapshotting fails (stop-writes-on-bgsave-error option). Please check the "
                    "Redis logs for details about the RDB error.");
        break;
    case OP_EXEC_NOAUTH:
        reply_error(r, "EXECABORT Transaction discarded because of: NOAUTH Authentication "
                       "required.");
        break;
    case OP_CROSS:
        reply_error(r, ERR_CROSS_SHARD);
        break;
    case OP_QUEUED:
        reply_status(r, "QUEUED");
        break;
    case OP_NOT_IN_EXEC:
        reply_error(r, "ERR Command not allowed inside a transaction");
        break;
    case OP_NOMEM:
        ctx_oom(c);
        break;
    case OP_OOM:
        reply_error(r, ERR_OUT_OF_MEMORY);
        break;
    case OP_NO_EXEC:
        reply_error(r, op->argc == 1
                           ? "EXECABORT Transaction discarded because of previous errors."
                           : "EXECABORT Transaction discarded because of: wrong number of "
                             "arguments for 'exec' command");
        break;
    case OP_NOTHING:
        ASSERT(op->cmd != NULL);
        (void)op->cmd->route(c);
        break;
    case OP_REFUSED:
        outbuf_add(r->out, b->refusal.buf + op->refusal_at, op->refusal_len);
        r->out->failed |= b->refusal.failed;
        break;
    case OP_PROTOCOL:
        reply_errorf(r, "ERR %.*s", (int)op->argv[0].len, op->argv[0].ptr);
        break;
    case OP_RUN:
    case OP_ACROSS:
    case OP_ALL:
        ASSERT(false);
    }
}

/* big_of: the op's last argument, if it is a large one which its command may store as it is. */
static struct big *big_of(const struct batch *b, const struct op *op) {
    if (likely(b->big_count == 0) || op->kind != OP_RUN || !(op->cmd->flags & CMD_BIG_LAST))
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
    c->big = big != NULL ? big->blob : NULL;
    if (unlikely(c->big != NULL)) {
        struct span *arg = &op->argv[op->argc - 1];
        memcpy(big->head, arg->ptr, arg->len < sizeof big->head ? arg->len : sizeof big->head);
        int64_t bytes = (int64_t)blob_bytes(c->big);
        op->cmd->run(c);
        big->blob = c->big;
        if (c->big != NULL)
            return;
        arg->ptr = big->head; /* of which nobody reads more than there is */
        struct part *p = &b->parts[op->shard];
        if (p->carried_bytes != 0) { /* it is in this shard's account, and stays there */
            p->carried_bytes -= bytes;
        } else if (c->shard != b->net->shard) {
            mem_charge(&c->shard->mem, bytes);
            p->moved_bytes -= bytes;
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
    uint32_t first;
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
        for (uint32_t i = t->first; t->count != 0; i = b->ops[i].next, t->count--)
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
        t->first = (uint32_t)(op - b->ops);
}

/* --- what transactions hold --- */

static uint8_t mode_of(const struct command *cmd, uint32_t arg) {
    const struct across *a = cmd->across;
    if (!(cmd->flags & CMD_WRITE))
        return TX_SHARED;
    return a != NULL && a->shared_to != 0 && arg >= a->shared_from && arg <= a->shared_to
               ? TX_SHARED
               : TX_EXCLUSIVE;
}

/* run_wants: of keys in all databases alike: to tell those apart would gain nothing. */
uint32_t run_wants(const struct op *op, struct tx_want *to) {
    uint32_t first, last, step, n = 0;
    if (op->kind != OP_RUN || !command_keys(op->cmd, op->argv, op->argc, &first, &last, &step))
        return 0;
    for (uint32_t i = first; i <= last; i = command_next_key(op->cmd, i, step), n++) {
        if (to == NULL)
            continue;
        uint64_t hash = i == first && op->hash != 0 ? op->hash : hash_of(op->argv[i]);
        to[n] = (struct tx_want){.hash = hash, .mode = mode_of(op->cmd, i)};
    }
    return n;
}

struct tx_want run_slot_want(const struct op *op, const struct key_slot *slot) {
    return (struct tx_want){.hash = slot->hash, .mode = mode_of(op->cmd, slot->arg)};
}

static ON_SHARD bool blocked(const struct shard *at, const struct batch *b, const struct op *op) {
    uint64_t client = b->ordered ? b->conn->session.id : 0;
    uint32_t first, last, step;
    if (op->kind != OP_RUN || !command_keys(op->cmd, op->argv, op->argc, &first, &last, &step))
        return false;
    for (uint32_t i = first; i <= last; i = command_next_key(op->cmd, i, step)) {
        uint64_t hash = i == first && op->hash != 0 ? op->hash : hash_of(op->argv[i]);
        struct tx_want w = {.hash = hash, .mode = mode_of(op->cmd, i)};
        if (tx_conflicts(&at->tx, &w, client))
            return true;
    }
    return false;
}

bool run_blocked(const struct shard *at, const struct batch *b, uint32_t from) {
    for (uint32_t i = from; i != OP_END; i = b->ops[i].next)
        if (blocked(at, b, &b->ops[i]))
            return true;
    return false;
}

/* --- room --- */

static bool may_store(const struct op *op) {
    return (op->kind == OP_RUN || op->kind == OP_ACROSS) && op->cmd->flags & CMD_DENY_OOM;
}

static ON_SHARD int64_t growth(const struct shard *at, uint32_t db) {
    const struct table *t = keyspace_peek_table(at->keyspace, db);
    return t == NULL ? 0 : (int64_t)table_growth(t);
}

/* bytes_of: what is to be stored of an op with keys on one shard, beside a large argument that is in memory already. */
static int64_t bytes_of(const struct batch *b, const struct op *op) {
    const struct big *big = big_of(b, op);
    uint32_t last = op->argc - (big != NULL && big->blob != NULL);
    return room_of_args(op->argv, 1, last);
}

int64_t run_brings(const struct part *p) {
    const struct batch *b = p->batch;
    int64_t bytes = 0;
    for (uint32_t i = 0; i < b->big_count; i++) {
        const struct op *op = &b->ops[b->bigs[i].op];
        if (op->shard == p->shard && b->bigs[i].blob != NULL && big_of(b, op) == &b->bigs[i])
            bytes += (int64_t)blob_bytes(b->bigs[i].blob);
    }
    return bytes;
}

/* has_room: it, or the OOM error, can go on; false: not yet: p->room waits. */
static ON_SHARD bool has_room(struct shard *at, struct part *p, struct op *op,
                              const struct run *how) {
    if (likely(room_plenty(at)) || how->roomy || p->going || !may_store(op))
        return true;
    int64_t bytes = bytes_of(p->batch, op) + growth(at, op->db);
    enum room r = room_ask(at, bytes, how->waits ? &p->room : NULL);
    if (r == ROOM_NONE)
        op->kind = OP_OOM;
    return r != ROOM_LATER;
}

/* bytes_here: of the keys that lie here, with what stands behind each. */
static int64_t bytes_here(const struct op *op, const struct shard *at) {
    int64_t bytes = 0;
    const struct key_slots *s = op->slots;
    for (uint32_t i = s->first[at->id]; i != SLOT_END; i = s->slot[i].next) {
        uint32_t from = s->slot[i].arg, to = from + s->step;
        bytes += room_of_args(op->argv, from, to < op->argc ? to : op->argc);
    }
    return bytes;
}

int64_t run_bytes(const struct batch *b, const struct shard *at) {
    int64_t bytes = 0, grows = 0;
    bool counted =
        at == b->net->shard || !b->as_unit; /* with the part, its large arguments have come */
    if (likely(at->share.bytes == BUDGET_UNLIMITED))
        return 0;
    for (uint32_t i = 0; i < b->op_count; i++) {
        const struct op *op = &b->ops[i];
        if (!may_store(op))
            continue;
        int64_t more = op->kind == OP_ACROSS ? bytes_here(op, at)
                       : op->shard != at->id ? 0
                       : counted             ? bytes_of(b, op)
                                             : room_of_args(op->argv, 1, op->argc);
        if (more != 0 && grows == 0)
            grows = growth(at, op->db);
        bytes += more;
    }
    return bytes + grows;
}

void run_refuse(struct batch *b, struct reply *r) {
    size_t from = r->out->len;
    if (b->exec)
        reply_errorf(r, "EXECABORT Transaction discarded because of: %s", ERR_OUT_OF_MEMORY);
    else
        reply_error(r, ERR_OUT_OF_MEMORY);
    if (is_error(r->out, from)) /* there may have been no memory for it */
        note_error(b->net->shard, b->exec ? exec_command() : b->ops[0].cmd, true, r->out, from);
}

/* --- a part --- */

static ON_SHARD void prefetch_entry(const struct shard *at, const struct op *op) {
    const struct table *t = keyspace_peek_table(at->keyspace, op->db);
    if (t != NULL)
        table_prefetch_entry(t, op->hash);
}

void run_prefetch(const struct shard *at, const struct batch *b, uint32_t from) {
    for (uint32_t i = from; i != OP_END; i = b->ops[i].next) {
        const struct table *t = keyspace_peek_table(at->keyspace, b->ops[i].db);
        if (t != NULL)
            table_prefetch(t, b->ops[i].hash);
    }
}

/* A command that is called again looks its keys up again: that counts once. */
struct looked {
    uint64_t hits, misses;
};

static ON_SHARD struct looked look_begin(const struct shard *at) {
    const struct keyspace_stats *k = keyspace_stats(at->keyspace);
    return (struct looked){k->hits, k->misses};
}

static ON_SHARD void look_again(const struct shard *at, const struct looked *before) {
    struct keyspace_stats *k = keyspace_stats(at->keyspace);
    k->hits = before->hits;
    k->misses = before->misses;
}

/* long_pause, long_resume: around what a command leaves to be done beside the shard: it counts as one call. */
static void long_pause(struct part *p, struct timed *t) {
    p->going = true;
    p->long_ns = clock_fine_ns() - t->from_ns;
    t->count = 0;
}

static void long_resume(struct part *p, struct timed *t) {
    p->going = false;
    t->from_ns -= p->long_ns + (p->work != NULL ? p->work->job.ns : 0);
    p->long_ns = 0;
}

/* is_rejected: one that its own check refuses counts as a call that failed, like one that found out later. */
static bool is_rejected(const struct op *op) {
    return op->kind != OP_RUN && op->kind != OP_REFUSED &&
           !(op->kind == OP_NO_EXEC && op->argc == 1);
}

bool run_part(struct batch *b, struct part *p, struct shard *at, const struct run *how) {
    struct instance *in = instance_of(at);
    struct outbuf *out = how->out;
    struct ctx c = {.shard = at,
                    .keyspace = at->keyspace,
                    .now_ms = how->now_ms != 0 ? how->now_ms : at->wall_ms,
                    .reply = {out, b->proto, at->id},
                    .client_id = b->conn->session.id,
                    .no_touch = b->no_touch,
                    .in_exec = b->exec,
                    .work = p->lengthy ? &p->work : NULL,
                    .locked = how->locked,
                    .session = how->session};
    struct timed timed = {.from_ns = clock_fine_ns()};
    bool watched = monitor_any(in->net), check = !how->granted && tx_busy(&at->tx);
    uint32_t i = p->at, ahead = i;
    for (unsigned n = 0; n < LOOK_AHEAD && ahead != OP_END; n++, ahead = b->ops[ahead].next)
        prefetch_entry(at, &b->ops[ahead]);
    in->running = &c;
    for (; i < how->to; i = b->ops[i].next) {
        if (ahead != OP_END) {
            prefetch_entry(at, &b->ops[ahead]);
            ahead = b->ops[ahead].next;
        }
        struct op *op = &b->ops[i];
        if ((unlikely(check) && blocked(at, b, op)) || unlikely(!has_room(at, p, op, how)))
            break;
        size_t from = out->len;
        bool again = p->going;
        bool rejected = is_rejected(op);
        if (likely(!rejected))
            timed_add(&timed, b, p, at, op);
        else
            timed_end(&timed, b, p, at);
        if (unlikely(again))
            long_resume(p, &timed);
        /* One that changes its connection is shown as Redis does, with the database after it. */
        bool after = !rejected && (op->cmd->flags & CMD_HOME);
        if (unlikely(watched) && !rejected && !after && !again)
            monitor_show(in->net, b->conn, op, op->db);
        struct looked looked = {0};
        if (unlikely(again))
            looked = look_begin(at);
        run_op(&c, b, op);
        if (unlikely(again))
            look_again(at, &looked);
        if (unlikely(c.more)) {
            long_pause(p, &timed);
            p->at = i;
            in->running = NULL;
            return false;
        }
        if (unlikely(again) && !b->exec && how->now_ms != b->now_ms)
            c.now_ms = p->now_ms = at->wall_ms; /* for those behind it */
        if (unlikely(watched) && after) {
            ASSERT(how->session != NULL);
            monitor_show(in->net, b->conn, op, how->session->db);
        }
        if (unlikely(is_error(out, from)) && op->kind != OP_QUEUED)
            note_error(at, op->kind == OP_UNKNOWN ? NULL : op->cmd, rejected, out, from);
        if (unlikely(b->exec && b->holds_input) && how->session != NULL)
            op->muted = how->session->reply_off; /* it may be CLIENT REPLY, or come after it */
        op->reply_end = out->len;
        op->refs_end = out->ref_count;
    }
    timed_end(&timed, b, p, at);
    in->running = NULL;
    p->at = i;
    return i >= how->to || i == OP_END;
}

/* --- one step of a command that several shards take part in --- */

static struct ctx step_ctx(struct batch *b, struct op *op, struct shard *at, struct outbuf *out) {
    return (struct ctx){.shard = at,
                        .keyspace = at->keyspace,
                        .now_ms = b->now_ms,
                        .reply = {out, b->proto, at->id},
                        .client_id = b->conn->session.id,
                        .no_touch = b->no_touch,
                        .cmd = op->cmd,
                        .argv = op->argv,
                        .argc = op->argc,
                        .db = op->db,
                        .slots = op->kind == OP_ACROSS ? op->slots : NULL,
                        .state = op->kind == OP_ALL ? &op->state : NULL};
}

void run_step(struct batch *b, struct part *p, struct shard *at, struct op *op, command_fn *fn,
              struct outbuf *out, bool locked) {
    struct ctx c = step_ctx(b, op, at, out);
    uint64_t from = clock_fine_ns(), before = 0;
    size_t began = out->len;
    if (locked && (op->kind == OP_ALL || fn == op->cmd->run)) {
        c.work = &p->work;
        c.locked = true;
        before = p->work == NULL ? 0 : p->ns + p->work->job.ns;
    }
    c.hash = c.slots != NULL ? c.slots->slot[0].hash : op->hash;
    bool again = p->work != NULL;
    struct looked looked = look_begin(at);
    instance_of(at)->running = &c;
    fn(&c);
    instance_of(at)->running = NULL;
    if (unlikely(again))
        look_again(at, &looked);
    p->ns = before + clock_fine_ns() - from;
    p->tally = c.tally;
    if (unlikely(fn == op->cmd->run) && is_error(out, began))
        note_error(at, op->cmd, false, out, began);
}

struct ctx run_home_ctx(struct batch *b, struct op *op, struct outbuf *out) {
    struct ctx c = step_ctx(b, op, b->net->shard, out);
    c.session = &b->conn->session;
    return c;
}

void run_note(struct batch *b, struct op *op, uint64_t ns, const struct outbuf *out, size_t from) {
    struct shard *home = b->net->shard;
    uint64_t us = ns / 1000;
    observe_calls(home, op->cmd, 1, ns);
    if (us >= (uint64_t)instance_of(home)->config->slow_us) {
        op->slow_us = us < UINT32_MAX ? (uint32_t)us + 1 : UINT32_MAX;
        b->parts[home->id].slow = true;
    }
    if (out != NULL && is_error(out, from))
        note_error(home, op->cmd, false, out, from);
}
