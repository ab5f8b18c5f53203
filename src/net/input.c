/* input.c: received bytes to batches of commands.
 *
 * Whole commands are parsed where they were received. Only what is left over is copied, to an inbuf that
 * lives until its command is complete; a large argument is received into a blob of its own.
 */
#include "net_impl.h"
#include "shards/log.h"

/* Where the commands that are being parsed lie. */
struct source {
    struct conn *conn;
    struct batch *batch;
    struct io_buf *buf;
    struct inbuf *in;
};

bool parser_grow(struct resp_parser *p, uint32_t need) {
    enum { FIRST = 16 };
    struct mem *m = p->arg;
    uint32_t cap = p->args_cap ? p->args_cap : FIRST;
    while (cap < need)
        cap *= 2;
    struct resp_arg *args = mem_realloc(m, p->args, p->args_cap * sizeof *args, cap * sizeof *args);
    if (args == NULL)
        return false;
    p->args = args;
    p->args_cap = cap;
    return true;
}

static void parser_free(struct resp_parser *p) {
    mem_free(p->arg, p->args, p->args_cap * sizeof *p->args);
    p->args = NULL;
    p->args_cap = 0;
}

void input_trim(struct net *n) {
    parser_free(&n->parser);
}

static struct inbuf *inbuf_create(struct mem *m, size_t cap) {
    struct inbuf *in = mem_alloc(m, sizeof *in + cap);
    if (in != NULL)
        *in = (struct inbuf){.mem = m, .refs = 1, .cap = cap};
    return in;
}

void inbuf_release(struct inbuf *in) {
    if (--in->refs == 0)
        mem_free(in->mem, in, sizeof *in + in->cap);
}

static void out_of_memory(struct conn *c) {
    LOGW("client %lu: closed, no memory for its input", (unsigned long)c->session.id);
    conn_break(c);
}

static ON_SHARD void flush_batch(struct source *s) {
    struct batch *b = s->batch;
    s->batch = NULL;
    if (b != NULL)
        batch_dispatch(b);
}

static bool needs_auth(const struct conn *c) {
    return !c->session.authenticated && c->net->instance->config->requirepass[0] != '\0';
}

/* misconf: the last save has failed, and so nothing is to be written. PING tells of it too, as in Redis. */
static bool misconf(const struct conn *c, const struct op *op) {
    const struct config *config = c->net->instance->config;
    if (!config->rdb_stop_writes || config->save.count == 0)
        return false;
    return op->cmd->flags & CMD_WRITE || span_is(op->argv[0], "ping") ||
           (exec_is(op) && exec_writes(c));
}

/* resolve: which command, and whether it may run. */
static void resolve(const struct conn *c, struct op *op) {
    op->kind = OP_RUN;
    op->cmd = command_find(op->argv[0]);
    if (unlikely(op->cmd == NULL)) {
        op->kind = OP_UNKNOWN;
        return;
    }
    int argc = (int)op->argc;
    if (unlikely(op->cmd->flags & CMD_CONTAINER) && argc > 1) {
        const struct command *sub = command_find_sub(op->cmd, op->argv[1]);
        if (sub == NULL) {
            op->kind = OP_UNKNOWN;
            return;
        }
        op->cmd = sub;
    }
    int arity = op->cmd->arity;
    if (unlikely(arity > 0 ? argc != arity : argc < -arity))
        op->kind = OP_ARITY;
    else if (unlikely(needs_auth(c)) && !(op->cmd->flags & CMD_NO_AUTH))
        op->kind = OP_NOAUTH;
    else if (unlikely(c->net->instance->loading) && !(op->cmd->flags & CMD_LOADING))
        op->kind = OP_LOADING;
    else if (unlikely(c->net->instance->save_failed) && misconf(c, op))
        op->kind = OP_MISCONF;
}

/* A browser that was tricked into talking to us (cross-protocol scripting) sends these lines; nothing of
 * what follows must run. */
static bool is_http(struct conn *c, const struct op *op) {
    if (likely(op->kind != OP_UNKNOWN) || op->cmd != NULL ||
        (!span_is(op->argv[0], "post") && !span_is(op->argv[0], "host:")))
        return false;
    LOGW("client %lu: closed, it speaks HTTP: somebody may be attacking through a browser",
         (unsigned long)c->session.id);
    conn_break(c);
    return true;
}

/* home_ctx: to ask a row before the command runs. */
static struct ctx home_ctx(struct conn *c, const struct op *op, struct outbuf *out) {
    struct shard *here = c->net->shard;
    return (struct ctx){.shard = here,
                        .keyspace = here->keyspace,
                        .cmd = op->cmd,
                        .argv = op->argv,
                        .argc = op->argc,
                        .db = op->db,
                        .now_ms = here->wall_ms,
                        .client_id = c->session.id,
                        .session = &c->session,
                        .reply = {out, c->session.proto, here->id}};
}

/* route_by_row: the row says where it runs. */
static ON_SHARD void route_by_row(struct conn *c, struct op *op) {
    struct outbuf nowhere;
    outbuf_init(&nowhere, &c->net->shard->mem);
    struct ctx ctx = home_ctx(c, op, &nowhere);
    int to = op->cmd->route(&ctx);
    outbuf_deinit(&nowhere);
    if (to < 0)
        op->kind = OP_NOTHING;
    else
        op->shard = (uint16_t)to;
}

/* input_route: the hash of the first key travels with the command. */
void input_route(struct conn *c, struct op *op) {
    const struct command *cmd = op->cmd;
    unsigned n = shards_count(c->net->shard->all);
    uint32_t first, last, step;
    op->shard = c->net->shard->id;
    if (unlikely(cmd->variant != NULL) && (cmd = cmd->variant(op->argv, op->argc)) != op->cmd)
        op->cmd = cmd;
    if (unlikely(cmd->flags & (CMD_FANOUT | CMD_ROUTED))) {
        if (cmd->flags & CMD_FANOUT)
            op->kind = OP_ALL;
        else
            route_by_row(c, op);
        return;
    }
    if (!command_keys(cmd, op->argv, op->argc, &first, &last, &step))
        return;
    op->hash = hash_of(op->argv[first]);
    if (unlikely(cmd->flags & CMD_ACROSS))
        op->kind = OP_ACROSS;
    if (n == 1)
        return;
    unsigned to = keyspace_shard_of(command_route_hash(op->argv[first], op->hash), n);
    for (uint32_t i = command_next_key(cmd, first, step); i <= last && op->kind == OP_RUN;
         i = command_next_key(cmd, i, step)) {
        uint64_t hash = hash_of(op->argv[i]);
        if (keyspace_shard_of(command_route_hash(op->argv[i], hash), n) != to)
            op->kind = cmd->across != NULL ? OP_ACROSS : OP_CROSS;
    }
    if (likely(op->kind == OP_RUN))
        op->shard = (uint16_t)to;
}

static size_t slots_bytes(uint32_t count, unsigned shards) {
    return sizeof(struct key_slots) + count * sizeof(struct key_slot) + shards * sizeof(uint32_t);
}

bool input_slots(struct conn *c, struct op *op) {
    unsigned shards = shards_count(c->net->shard->all);
    uint32_t first, last, step;
    bool any = command_keys(op->cmd, op->argv, op->argc, &first, &last, &step);
    ASSERT(any);
    uint32_t count = command_key_index(op->cmd, first, step, last) + 1;
    struct key_slots *s = mem_zalloc(&c->net->shard->mem, slots_bytes(count, shards));
    if (s == NULL)
        return false;
    s->count = count;
    s->first_arg = first;
    s->step = step;
    s->slot = (void *)(s + 1);
    s->first = (void *)(s->slot + count);
    for (unsigned i = 0; i < shards; i++)
        s->first[i] = SLOT_END;
    for (uint32_t i = 0, arg = first; i < count; i++, arg = command_next_key(op->cmd, arg, step))
        s->slot[i].arg = arg;
    for (uint32_t i = count; i-- > 0;) {
        struct key_slot *k = &s->slot[i];
        k->hash = i == 0 ? op->hash : hash_of(op->argv[k->arg]);
        k->shard =
            (uint16_t)keyspace_shard_of(command_route_hash(op->argv[k->arg], k->hash), shards);
        k->next = s->first[k->shard];
        s->first[k->shard] = i;
    }
    op->slots = s;
    return true;
}

void input_free_slots(struct mem *m, struct op *op, unsigned shards) {
    mem_free(m, op->slots, slots_bytes(op->slots->count, shards));
    op->slots = NULL;
}

static ON_SHARD struct op *room_for(struct source *s, uint32_t argc) {
    struct conn *c = s->conn;
    for (int tries = 0; tries < 2; tries++) {
        if (s->batch == NULL && (s->batch = batch_begin(c, s->buf, s->in)) == NULL)
            break;
        struct op *op = batch_room(s->batch, argc);
        if (op != NULL)
            return op;
        flush_batch(s);
    }
    out_of_memory(c);
    return NULL;
}

static ON_SHARD struct op *add_op(struct source *s, const struct resp_parser *p, const char *data) {
    struct op *op = room_for(s, p->argc);
    if (op == NULL)
        return NULL;
    for (uint32_t i = 0; i < p->argc; i++)
        op->argv[i] = (struct span){data + p->args[i].at, p->args[i].len};
    struct partial *pt = s->conn->partial;
    if (unlikely(pt != NULL && pt->big_count != 0)) {
        for (uint32_t i = 0; i < pt->big_count; i++) {
            struct big *big = &pt->bigs[i];
            op->argv[big->arg] = (struct span){big->blob->data, big->blob->len};
            if (!batch_big(s->batch, op, big->arg, big->blob)) {
                batch_drop_op(s->batch);
                out_of_memory(s->conn);
                return NULL;
            }
            big->blob = NULL;
        }
        pt->big_count = 0;
    }
    return op;
}

bool input_refused(struct conn *c, struct batch *b, struct op *op) {
    struct outbuf *out = &b->refusal;
    size_t from = out->len;
    struct ctx ctx = home_ctx(c, op, out);
    if (op->cmd->check(&ctx))
        return false;
    op->kind = OP_REFUSED;
    op->shard = c->net->shard->id;
    op->refusal_at = (uint32_t)from;
    op->refusal_len = (uint32_t)(out->len - from);
    return true;
}

/* own_batch: the command just added moves to a batch of its own, which NULL says could not be had. */
static ON_SHARD struct op *own_batch(struct source *s, struct op *op, const struct resp_parser *p,
                                     const char *data) {
    if (s->batch->op_count == 1)
        return op;
    struct op was = *op;
    batch_drop_op(s->batch);
    flush_batch(s);
    if ((op = add_op(s, p, data)) == NULL)
        return NULL;
    op->cmd = was.cmd;
    op->kind = was.kind;
    op->shard = was.shard;
    op->hash = was.hash;
    return op;
}

/* held: CLIENT PAUSE is on and this command has to wait; nothing of it has been taken then. */
static ON_SHARD bool held(struct source *s, const struct resp_parser *p, const char *data) {
    struct conn *c = s->conn;
    struct span argv[2];
    struct op op = {.argv = argv, .argc = p->argc};
    for (uint32_t i = 0; i < p->argc && i < COUNT_OF(argv); i++)
        argv[i] = (struct span){data + p->args[i].at, p->args[i].len};
    resolve(c, &op);
    bool writes = exec_is(&op) && exec_writes(c);
    if (op.kind != OP_RUN || !pause_holds(c, op.cmd, writes))
        return false;
    c->last_cmd = op.cmd;
    pause_hold(c);
    return true;
}

/* unit: the command, which several shards take part in, is a batch of its own. */
static ON_SHARD void unit(struct source *s, struct op *op, const struct resp_parser *p,
                          const char *data) {
    struct conn *c = s->conn;
    if ((op = own_batch(s, op, p, data)) == NULL)
        return;
    s->batch->as_unit = true;
    s->batch->holds_input = (op->cmd->flags & CMD_ACROSS) != 0;
    s->batch->writes = (op->cmd->flags & CMD_WRITE) != 0;
    if (op->kind == OP_ACROSS && !input_slots(c, op)) {
        op->kind = OP_NOMEM;
        op->shard = c->net->shard->id;
        s->batch->as_unit = false;
        batch_link(s->batch, op);
    }
    flush_batch(s);
    batch_hold_input(c);
}

/* exec: false when it is refused, and only has to say so. What is in the batch before it goes first. */
static ON_SHARD bool exec(struct source *s, struct op *op) {
    struct conn *c = s->conn;
    if (op->kind != OP_RUN || c->body_refused) {
        op->kind = op->kind == OP_NOAUTH ? OP_EXEC_NOAUTH : OP_NO_EXEC;
        exec_end(c);
        return false;
    }
    struct batch *body = exec_body(c, op->argv[0]);
    batch_drop_op(s->batch);
    flush_batch(s);
    batch_dispatch(body);
    batch_hold_input(c);
    return true;
}

/* home_batch: one that looks at or changes its connection ends its batch: what follows in the input must see what it
 * did. Nor may it wait, with what came before it, behind a lock, for what takes long, or for room. */
static ON_SHARD struct op *home_batch(struct source *s, struct op *op, const struct resp_parser *p,
                                      const char *data) {
    const struct shard *here = s->conn->net->shard;
    bool waits = tx_busy(&here->tx) || s->batch->parts[here->id].lengthy ||
                 (!room_plenty(here) && room_of_others(here));
    bool alone = op->cmd->flags & CMD_ALONE || waits;
    if (alone && (op = own_batch(s, op, p, data)) == NULL)
        return NULL;
    if (op->cmd->flags & CMD_ALONE)
        s->batch->quiet = false; /* it decides by itself whether to reply */
    return op;
}

/* awaits: it comes when all before it is done: until then it is held, and the last batch that is under way wakes the input; and
 * nothing behind it is parsed before it is done itself. */
static ON_SHARD bool awaits(struct source *s, struct op *op, const struct resp_parser *p,
                            const char *data) {
    struct conn *c = s->conn;
    if ((op = own_batch(s, op, p, data)) == NULL)
        return true;
    bool waits = c->first != NULL;
    if (waits) {
        batch_drop_op(s->batch);
        c->input_waits += !c->last->holds_input;
        c->last->holds_input = true;
    } else {
        s->batch->holds_input = true;
        batch_link(s->batch, op);
        flush_batch(s);
        c->session.reply_skip = false;
    }
    batch_hold_input(c);
    return !waits;
}

/* held_for_room: the connection reads on when there may be room for what it has begun to send; false: there is, or there will not
 * be, which after a while is taken to be so. */
static bool held_for_room(struct conn *c, enum room room) {
    static const uint64_t wait_ns_max = 3000000000ULL;
    if (likely(room != ROOM_LATER) || c->net->shard->now_ns > c->active_ns + wait_ns_max)
        return false;
    if (!c->paused)
        stream_pause(c->net->shard->loop, &c->stream);
    c->paused = true;
    list_add_tail(&c->net->lacking, &c->held);
    return true;
}

void input_try_room(struct net *n) {
    while (!list_empty(&n->lacking)) {
        struct conn *c = CONTAINER_OF(n->lacking.next, struct conn, held);
        list_del(&c->held);
        conn_todo(c);
    }
}

/* body_room: for what MULTI's body keeps of a command: all but large arguments, which are in memory already. */
static ON_SHARD enum room body_room(const struct conn *c, const struct resp_parser *p) {
    struct shard *home = c->net->shard;
    int64_t bytes = ROOM_PER_KEY;
    if (likely(room_plenty(home)))
        return ROOM_THERE;
    const struct partial *pt = c->partial;
    for (uint32_t i = 0; i < p->argc; i++)
        bytes += (int64_t)p->args[i].len;
    for (uint32_t i = 0; pt != NULL && i < pt->big_count; i++)
        bytes -= (int64_t)pt->bigs[i].blob->len;
    return room_for_input(home, bytes);
}

/* command: false when it must wait. */
static ON_SHARD bool command(struct source *s, const struct resp_parser *p, const char *data) {
    struct conn *c = s->conn;
    enum room room = ROOM_THERE;
    if (unlikely(c->net->instance->pause_until_ms != 0) && held(s, p, data))
        return false;
    if (unlikely(c->body != NULL) && held_for_room(c, room = body_room(c, p)))
        return false;
    struct op *op = add_op(s, p, data);
    if (op == NULL)
        return true;
    op->shard = c->net->shard->id;
    resolve(c, op);
    if (unlikely(is_http(c, op))) {
        batch_drop_op(s->batch);
        return true;
    }
    bool skip = c->session.reply_skip, end = false, linked = true;
    if (unlikely(exec_is_row(op->cmd) && !exec_is(op)) ||
        unlikely(c->body != NULL && exec_is(op))) {
        linked = !exec(s, op);
    } else if (unlikely(c->body != NULL) && exec_takes(op)) {
        exec_queue(c, s->batch, op, room == ROOM_THERE);
    } else if (likely(op->kind == OP_RUN)) {
        if (unlikely(op->cmd->check != NULL) && input_refused(c, s->batch, op))
            end = true;
        else
            input_route(c, op);
        if (unlikely(op->kind == OP_ACROSS || op->kind == OP_ALL)) {
            unit(s, op, p, data);
            linked = false;
        } else if (unlikely(op->kind == OP_RUN && op->cmd->flags & CMD_AWAITS)) {
            return awaits(s, op, p, data);
        } else if (unlikely(op->kind == OP_RUN && op->cmd->flags & (CMD_HOME | CMD_ALONE))) {
            if ((op = home_batch(s, op, p, data)) == NULL)
                return true;
            end = true;
        }
    }
    bool alone = linked && op->kind == OP_RUN && op->cmd->flags & CMD_ALONE;
    if (linked)
        batch_link(s->batch, op);
    if (linked && unlikely(end || skip))
        flush_batch(s);
    if (unlikely(skip) && !alone) /* CLIENT REPLY has decided anew */
        c->session.reply_skip = false;
    return true;
}

static ON_SHARD void protocol_error(struct source *s, const struct resp_parser *p) {
    struct conn *c = s->conn;
    struct op *op = room_for(s, 1);
    c->net->stats.protocol_errors++;
    c->closing = true;
    if (op == NULL)
        return;
    op->kind = OP_PROTOCOL;
    op->cmd = NULL;
    op->shard = c->net->shard->id;
    /* The text is the parser's, whose next use is after this batch has run. */
    op->argv[0] = (struct span){p->error, strlen(p->error)};
    batch_link(s->batch, op);
    flush_batch(s);
}

static bool may_go_on(struct conn *c) {
    return !c->closing && !c->broken && !c->paused;
}

static void limits_refresh(struct conn *c) {
    c->limits.bulk_max = c->net->instance->config->bulk_bytes_max;
    c->limits.unauthenticated = needs_auth(c);
}

/* --- incomplete commands --- */

static struct partial *partial_begin(struct conn *c, const char *data, size_t len) {
    enum { ROOM = 256 };
    struct mem *m = &c->net->shard->mem;
    struct partial *pt = mem_zalloc(m, sizeof *pt);
    if (pt == NULL || (pt->in = inbuf_create(m, len + ROOM)) == NULL) {
        mem_free(m, pt, sizeof *pt);
        out_of_memory(c);
        return NULL;
    }
    memcpy(pt->in->data, data, len);
    pt->in->len = len;
    pt->parser.grow = parser_grow;
    pt->parser.arg = m;
    resp_reset(&pt->parser);
    c->partial = pt;
    return pt;
}

void input_drop(struct conn *c) {
    struct partial *pt = c->partial;
    if (pt == NULL)
        return;
    struct mem *m = &c->net->shard->mem;
    for (uint32_t i = 0; i < pt->big_count; i++)
        if (pt->bigs[i].blob != NULL)
            blob_unpin(m, pt->bigs[i].blob);
    mem_free(m, pt->bigs, pt->big_cap * sizeof *pt->bigs);
    inbuf_release(pt->in);
    parser_free(&pt->parser);
    mem_free(m, pt, sizeof *pt);
    c->partial = NULL;
}

size_t input_bytes(const struct conn *c) {
    const struct partial *pt = c->partial;
    if (pt == NULL)
        return 0;
    size_t bytes = pt->in->len - pt->start;
    for (uint32_t i = 0; i < pt->big_count; i++)
        bytes += pt->bigs[i].blob->cap;
    return bytes;
}

static bool within_limit(struct conn *c, size_t more) {
    if (likely(input_bytes(c) + more <= (size_t)c->net->instance->config->query_bytes_max))
        return true;
    c->net->stats.query_limit++;
    LOGW("client %lu: closed, its query buffer limit is reached", (unsigned long)c->session.id);
    conn_break(c);
    return false;
}

/* input_room: for more of an incomplete command. Nothing is evicted for one that only asks. */
static ON_SHARD enum room input_room(const struct conn *c, size_t bytes) {
    const struct partial *pt = c->partial;
    const struct resp_arg *name = pt->parser.args;
    const struct command *cmd = NULL;
    if (pt->parser.argc != 0 && name->len < RESP_BIG_MIN) /* else it is not here, and no name */
        cmd = command_find((struct span){pt->in->data + pt->start + name->at, name->len});
    if (c->body == NULL && (cmd == NULL || !(cmd->flags & CMD_DENY_OOM)))
        return ROOM_THERE;
    return room_for_input(c->net->shard, (int64_t)bytes);
}

/* partial_append: what lies before `start` may still be in use by batches, so bytes never move within an
 * inbuf that is shared; a new one takes the rest. */
static ON_SHARD bool partial_append(struct conn *c, const char *data, size_t n) {
    enum { GROW_MIN = 256 * 1024 }; /* then by a quarter: keys go for it */
    struct partial *pt = c->partial;
    struct inbuf *in = pt->in;
    if (!within_limit(c, n))
        return false;
    if (in->cap - in->len < n) {
        size_t need = in->len - pt->start + n, more = need < GROW_MIN ? need : GROW_MIN;
        size_t cap = need + (more > need / 4 ? more : need / 4);
        (void)input_room(c, cap); /* without it too: the bytes are here */
        struct inbuf *larger = inbuf_create(in->mem, cap);
        if (larger == NULL) {
            out_of_memory(c);
            return false;
        }
        larger->len = need - n;
        memcpy(larger->data, in->data + pt->start, larger->len);
        inbuf_release(in);
        pt->in = in = larger;
        pt->start = 0;
    }
    memcpy(in->data + in->len, data, n);
    in->len += n;
    return true;
}

static bool big_push(struct conn *c, struct blob *blob, uint32_t arg) {
    struct partial *pt = c->partial;
    if (pt->big_count == pt->big_cap) {
        uint32_t cap = pt->big_cap ? pt->big_cap * 2 : 1;
        struct big *bigs = mem_realloc(&c->net->shard->mem, pt->bigs, pt->big_cap * sizeof *bigs,
                                       cap * sizeof *bigs);
        if (bigs == NULL)
            return false;
        pt->bigs = bigs;
        pt->big_cap = cap;
    }
    pt->bigs[pt->big_count++] = (struct big){.blob = blob, .arg = arg};
    return true;
}

/* big_begin: the argument that comes next is large: its bytes go to a blob, those that are here by copying,
 * the others straight from the socket. */
static ON_SHARD void big_begin(struct conn *c) {
    enum { CRLF = 2 };
    struct partial *pt = c->partial;
    struct mem *m = &c->net->shard->mem;
    size_t whole = (size_t)pt->parser.big_len + CRLF;
    size_t at = pt->start + pt->parser.pos, here = pt->in->len - at;
    if (!within_limit(c, whole))
        return;
    if (held_for_room(c, input_room(c, whole)))
        return;
    struct blob *blob = blob_create(m, whole);
    if (blob == NULL || !big_push(c, blob, pt->parser.argc)) {
        if (blob != NULL)
            blob_unpin(m, blob);
        out_of_memory(c);
        return;
    }
    ASSERT(here < whole);
    memcpy(blob->data, pt->in->data + at, here);
    blob->len = here;
    pt->in->len = at;
    pt->direct_left = whole - here;
    stream_direct(c->net->shard->loop, &c->stream, blob->data + here, pt->direct_left);
}

static ON_SHARD void parse_partial(struct conn *c) {
    struct partial *pt = c->partial;
    struct source s = {.conn = c, .in = pt->in};
    enum resp_status st = RESP_COMMAND;
    while (may_go_on(c)) {
        if (!pt->held)
            st = resp_parse(&pt->parser, pt->in->data + pt->start, pt->in->len - pt->start,
                            &c->limits);
        if (st != RESP_COMMAND)
            break;
        const char *data = pt->in->data + pt->start;
        if (pt->parser.argc != 0) {
            pt->held = !command(&s, &pt->parser, data);
            if (pt->held)
                break;
            limits_refresh(c);
        }
        pt->start += pt->parser.pos;
        resp_reset(&pt->parser);
        if (pt->start == pt->in->len)
            break;
    }
    flush_batch(&s);
    if (st == RESP_ERROR && !c->broken)
        protocol_error(&s, &pt->parser);
    else if (st == RESP_NOMEM)
        out_of_memory(c);
    else if (st == RESP_BIG && !c->broken)
        big_begin(c);
    bool whole = st == RESP_COMMAND && pt->start == pt->in->len;
    if (whole || c->closing || c->broken)
        input_drop(c);
}

/* --- whole commands --- */

static ON_SHARD void parse_in_place(struct conn *c, struct io_buf *buf) {
    struct resp_parser *p = &c->net->parser;
    struct source s = {.conn = c, .buf = buf};
    enum resp_status st = RESP_COMMAND;
    size_t pos = 0;
    while (pos < buf->len && may_go_on(c)) {
        resp_reset(p);
        st = resp_parse(p, buf->data + pos, buf->len - pos, &c->limits);
        if (unlikely(st != RESP_COMMAND))
            break;
        const char *data = buf->data + pos;
        if (likely(p->argc != 0) && unlikely(!command(&s, p, data)))
            break;
        pos += p->pos;
        if (unlikely(c->limits.unauthenticated))
            limits_refresh(c);
    }
    flush_batch(&s);
    if (unlikely(st == RESP_ERROR)) {
        protocol_error(&s, p);
    } else if (unlikely(st == RESP_NOMEM)) {
        out_of_memory(c);
    } else if (pos < buf->len && !c->closing && !c->broken) {
        struct partial *pt = partial_begin(c, buf->data + pos, buf->len - pos);
        if (pt != NULL && !c->paused)
            parse_partial(c);
    }
}

void input_data(struct conn *c, struct io_buf *buf) {
    struct net *n = c->net;
    n->stats.bytes_in += buf->len;
    n->stats.reads++;
    c->bytes_in += buf->len;
    c->active_ns = loop_now_ns(n->shard->loop);
    if (c->closing || c->broken)
        return;
    limits_refresh(c);
    if (likely(c->partial == NULL))
        parse_in_place(c, buf);
    else if (partial_append(c, buf->data, buf->len) && !c->paused)
        parse_partial(c);
}

void input_direct(struct conn *c, size_t n) {
    enum { CRLF = 2 };
    struct partial *pt = c->partial;
    c->net->stats.bytes_in += n;
    c->net->stats.reads++;
    c->bytes_in += n;
    c->active_ns = loop_now_ns(c->net->shard->loop);
    if (pt == NULL || c->closing || c->broken)
        return;
    ASSERT(n <= pt->direct_left && pt->big_count > 0);
    struct blob *blob = pt->bigs[pt->big_count - 1].blob;
    blob->len += n;
    pt->direct_left -= n;
    if (pt->direct_left != 0)
        return;
    blob->len -= CRLF;
    resp_big_done(&pt->parser);
    limits_refresh(c);
    parse_partial(c);
}

void input_go_on(struct conn *c) {
    if (c->partial == NULL || c->partial->direct_left != 0)
        return;
    limits_refresh(c);
    parse_partial(c);
}
