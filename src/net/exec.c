/* exec.c: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * What MULTI collects is a batch that is filled over any number of reads, with arguments of its own; EXEC dispatches it: as
 * one message when all its keys lie on one shard, else as a unit. No lock is taken before EXEC, so a client that
 * never comes to it holds nothing but memory.
 */
#include "anax/metrics.h"
#include "anax/words.h"
#include "net_impl.h"
#include "shards/clock.h"

enum { TEXT_BYTES = 4096 };

static const struct command *exec_row; /* written before shards start */

/* --- the body --- */

bool exec_takes(const struct op *op) {
    return op->kind != OP_RUN || !(op->cmd->flags & CMD_AT_ONCE);
}

bool exec_is_row(const struct command *cmd) {
    return cmd == exec_row;
}

const struct command *exec_command(void) {
    return exec_row;
}

bool exec_is(const struct op *op) {
    return op->kind == OP_RUN && op->cmd == exec_row;
}

bool exec_writes(const struct conn *c) {
    return c->body != NULL && c->body->writes;
}

size_t exec_bytes(const struct conn *c) {
    const struct batch *b = c->body;
    if (b == NULL)
        return 0;
    return b->kept_bytes + sizeof *b + (b->ops != b->own_ops ? b->ops_cap * sizeof *b->ops : 0) +
           (b->args != b->own_args ? b->args_cap * sizeof *b->args : 0);
}

/* text_room: where `len` bytes of arguments can stay until EXEC; NULL: no memory. */
static char *text_room(struct batch *b, size_t len) {
    struct mem *m = &b->net->shard->mem;
    struct text *t = b->texts;
    if (t == NULL || t->cap - t->len < len) {
        size_t cap = len > TEXT_BYTES ? len : TEXT_BYTES;
        if ((t = mem_alloc(m, sizeof *t + cap)) == NULL)
            return NULL;
        *t = (struct text){.next = b->texts, .cap = cap};
        b->texts = t;
        b->kept_bytes += sizeof *t + cap;
    }
    t->len += len;
    return t->bytes + t->len - len;
}

static struct big *big_at(struct batch *b, const struct op *op, uint32_t arg) {
    for (uint32_t i = 0; i < b->big_count; i++)
        if (&b->ops[b->bigs[i].op] == op && b->bigs[i].arg == arg)
            return &b->bigs[i];
    return NULL;
}

/* keep: the command with its arguments; large ones change hands, all others are copied. */
static bool keep(struct batch *body, struct batch *from, const struct op *op) {
    struct op *mine = batch_room_for_body(body, op->argc);
    if (mine == NULL)
        return false;
    mine->cmd = op->cmd;
    for (uint32_t i = 0; i < op->argc; i++) {
        struct big *big = from->big_count == 0 ? NULL : big_at(from, op, i);
        char *to = NULL;
        if (big != NULL ? !batch_big(body, mine, i, big->blob)
                        : (to = text_room(body, op->argv[i].len)) == NULL)
            return false;
        mine->argv[i] = op->argv[i];
        if (big != NULL) {
            body->kept_bytes += big->blob->cap;
            big->blob = NULL;
            continue;
        }
        memcpy(to, op->argv[i].ptr, op->argv[i].len);
        mine->argv[i].ptr = to;
    }
    body->writes |= (op->cmd->flags & CMD_WRITE) != 0;
    return true;
}

void exec_queue(struct conn *c, struct batch *from, struct op *op, bool has_room) {
    if (op->kind != OP_RUN) {
        c->body_refused = true;
        return;
    }
    if (unlikely(!has_room)) {
        c->body_refused = true;
        op->kind = OP_OOM;
        return;
    }
    if (op->cmd->flags & CMD_NO_MULTI) {
        c->body_refused = true;
        op->kind = OP_NOT_IN_EXEC;
        return;
    }
    op->kind = OP_QUEUED;
    c->net->stats.commands--; /* it counts when it runs */
    if (c->body_refused)      /* it will not run: nothing need be kept */
        return;
    if (!keep(c->body, from, op)) {
        c->body_refused = true;
        op->kind = OP_NOMEM;
    }
}

/* --- EXEC --- */

/* resolve_db: SELECT decides for what follows it, as it will when it runs. */
static void resolve_db(const struct conn *c, const struct op *op, uint32_t *db) {
    int64_t n;
    if (strcmp(op->cmd->name, "SELECT") == 0 && words_int(op->argv[1], &n) && n >= 0 &&
        n < (int64_t)keyspace_databases(c->net->shard->keyspace))
        *db = (uint32_t)n;
}

/* resolve: where everything runs, and whether one shard is all that is needed. */
static ON_SHARD void resolve(struct conn *c, struct batch *b) {
    uint32_t db = c->session.db;
    for (uint32_t i = 0; i < b->op_count; i++) {
        struct op *op = &b->ops[i];
        op->db = db;
        op->shard = c->net->shard->id;
        op->muted = c->session.reply_off;
        b->holds_input |= (op->cmd->flags & (CMD_HOME | CMD_FANOUT)) != 0;
        resolve_db(c, op, &db);
        if (op->cmd->check == NULL || !input_refused(c, b, op))
            input_route(c, op);
        if (op->kind == OP_ACROSS && !input_slots(c, op))
            op->kind = OP_NOMEM;
        if (op->kind == OP_ACROSS || op->kind == OP_ALL)
            b->as_unit = true;
        else
            batch_link(b, op);
    }
}

/* one_shard: everything that has keys, and all that is watched, lies on one; and nothing that changes the connection
 * runs beside it. */
static bool one_shard(const struct batch *b) {
    int one = -1;
    unsigned parts = 0;
    bool home = false;
    for (unsigned i = 0; i < shards_count(b->net->shard->all); i++)
        parts += b->parts[i].used;
    for (uint32_t i = 0; i < b->op_count; i++) {
        const struct op *op = &b->ops[i];
        home |= op->kind == OP_RUN && op->cmd->flags & CMD_HOME;
        if (run_wants(op, NULL) == 0)
            continue;
        if (one >= 0 && one != op->shard)
            return false;
        one = op->shard;
    }
    if (list_empty(&b->watched))
        return parts <= 1 || !home;
    for (struct list *l = b->watched.next; l != &b->watched; l = l->next)
        if (one != CONTAINER_OF(l, const struct watched, link)->shard)
            return false;
    return parts == 1;
}

static void move_watched(struct conn *c, struct list *to) {
    while (!list_empty(&c->watched)) {
        struct list *l = c->watched.next;
        list_del(l);
        list_add_tail(to, l);
    }
    c->net->watching -= c->watch_count != 0;
    c->watch_count = 0;
}

struct batch *exec_body(struct conn *c, struct span word) {
    struct batch *b = c->body;
    memcpy(b->exec_word, word.ptr, sizeof b->exec_word);
    c->body = NULL;
    b->exec = true;
    b->exec_from_ns = clock_fine_ns();
    b->proto = c->session.proto;
    b->no_touch = c->session.no_touch;
    b->quiet = c->session.reply_off || c->session.reply_skip;
    move_watched(c, &b->watched);
    resolve(c, b);
    b->as_unit |= !one_shard(b);
    c->last_cmd = exec_row;
    c->session.in_exec = b->holds_input; /* else nobody can ask before it is done */
    c->exec_count = b->op_count;
    return b;
}

void exec_note(struct batch *b) {
    struct span word = {b->exec_word, sizeof b->exec_word};
    struct op op = {.cmd = exec_row, .argv = &word, .argc = 1};
    if (monitor_any(b->net))
        monitor_show(b->net, b->conn, &op, b->conn->session.db);
    b->conn->session.in_exec = false;
    b->net->stats.commands++;
    if (b->aborted || b->refused)
        b->net->stats.commands -= b->op_count;
    observe_calls(b->net->shard, exec_row, 1, clock_fine_ns() - b->exec_from_ns);
}

bool exec_changed(const struct batch *b, struct shard *at) {
    for (struct list *l = b->watched.next; l != &b->watched; l = l->next) {
        const struct watched *w = CONTAINER_OF(l, const struct watched, link);
        if (w->shard == at->id && watch_fired(at, w->watch))
            return true;
    }
    return false;
}

/* --- watches --- */

static void unwatch_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    watch_remove(at, CONTAINER_OF(m, struct watched, msg)->watch);
}

static void unwatch_done(struct shard *home, struct bus_msg *m) {
    struct watched *w = CONTAINER_OF(m, struct watched, msg);
    w->net->unwatching--;
    mem_free(&home->mem, w, sizeof *w);
}

void exec_unwatch(struct net *n, struct list *watched) {
    while (!list_empty(watched)) {
        struct watched *w = CONTAINER_OF(watched->next, struct watched, link);
        list_del(&w->link);
        n->unwatching++;
        w->msg = (struct bus_msg){.run = unwatch_run, .done = unwatch_done, .to = w->shard};
        if (w->shard != n->shard->id) {
            shard_post(n->shard, &w->msg);
            continue;
        }
        unwatch_run(n->shard, &w->msg);
        unwatch_done(n->shard, &w->msg);
    }
}

static ON_SHARD void unwatch(struct conn *c) {
    struct list watched;
    list_init(&watched);
    move_watched(c, &watched);
    exec_unwatch(c->net, &watched);
}

void exec_end(struct conn *c) {
    if (c->body != NULL)
        batch_discard(c->body);
    c->body = NULL;
    c->body_refused = false;
    unwatch(c);
}

/* watch_look: where the key lies, before anything that comes later can change it. */
static ON_SHARD void watch_look(struct ctx *c) {
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        if (k->kept ==
            NULL) /* a second look: what changed since the first, the watch has heard of */
            k->kept = watch_add(c->shard, c->db, c->argv[k->arg], k->hash);
        k->failed = k->kept == NULL;
    }
}

static bool watches(const struct conn *c, uint32_t db, uint64_t hash) {
    for (struct list *l = c->watched.next; l != &c->watched; l = l->next) {
        const struct watched *w = CONTAINER_OF(l, const struct watched, link);
        if (w->hash == hash && w->db == db)
            return true;
    }
    return false;
}

/* watch_adopt: false: no memory. A key that is watched already stays as it is. */
static bool watch_adopt(struct conn *c, uint32_t db, struct key_slot *k) {
    if (watches(c, db, k->hash))
        return true;
    struct watched *w = mem_alloc(&c->net->shard->mem, sizeof *w);
    if (w == NULL)
        return false;
    *w = (struct watched){
        .watch = k->kept, .hash = k->hash, .db = db, .net = c->net, .shard = k->shard};
    list_add_tail(&c->watched, &w->link);
    c->net->watching += c->watch_count++ == 0;
    k->kept = NULL;
    return true;
}

/* watch_decide: the connection takes over what its shards have noted. */
static bool watch_decide(struct ctx *c) {
    struct conn *conn = conn_of_session(c->session);
    bool ok = true;
    for (uint32_t i = 0; i < c->slots->count; i++)
        ok = ok && !c->slots->slot[i].failed;
    for (uint32_t i = 0; i < c->slots->count && ok; i++)
        ok = watch_adopt(conn, c->db, &c->slots->slot[i]);
    if (ok)
        reply_ok(&c->reply);
    else
        ctx_oom(c);
    return false;
}

static ON_SHARD void watch_drop(struct ctx *c) {
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k))
        if (k->kept != NULL)
            watch_remove(c->shard, k->kept);
}

static bool watch_check(struct ctx *c) {
    if (conn_of_session(c->session)->body == NULL)
        return true;
    reply_error(&c->reply, "ERR WATCH inside MULTI is not allowed");
    return false;
}

/* --- the commands --- */

static ON_SHARD void multi_run(struct ctx *c) {
    struct conn *conn = conn_of_session(c->session);
    if (conn->body != NULL) {
        reply_error(&c->reply, "ERR MULTI calls can not be nested");
        return;
    }
    conn->body = batch_begin(conn, NULL, NULL);
    conn->body_refused = false;
    if (conn->body == NULL)
        ctx_oom(c);
    else
        reply_ok(&c->reply);
}

static void exec_run(struct ctx *c) {
    reply_error(&c->reply, "ERR EXEC without MULTI");
}

static ON_SHARD void discard_run(struct ctx *c) {
    struct conn *conn = conn_of_session(c->session);
    if (conn->body == NULL) {
        reply_error(&c->reply, "ERR DISCARD without MULTI");
        return;
    }
    exec_end(conn);
    reply_ok(&c->reply);
}

static ON_SHARD void unwatch_all_run(struct ctx *c) {
    unwatch(conn_of_session(c->session));
    reply_ok(&c->reply);
}

#define GROUP "transactions"
#define FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY)
#define EXEC_FLAGS                                                                                 \
    (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG | CMD_HOME | CMD_AT_ONCE)
#define ACL (ACL_FAST | ACL_TRANSACTION)

static const struct across watch_across = {
    .look = watch_look, .decide = watch_decide, .after = watch_drop};

static const struct command rows[] = {
    {"MULTI", multi_run, 1, NO_KEYS, FLAGS | CMD_HOME | CMD_AT_ONCE, ACL, GROUP, "1.2.0", "O(1)",
     "Begins a transaction: the commands that follow wait for EXEC."},
    {"EXEC", exec_run, 1, NO_KEYS, EXEC_FLAGS, ACL_SLOW | ACL_TRANSACTION, GROUP, "1.2.0",
     "Depends on the commands.", "Runs the commands since MULTI as one step."},
    {"DISCARD", discard_run, 1, NO_KEYS, FLAGS | CMD_HOME | CMD_AT_ONCE, ACL, GROUP, "2.0.0",
     "O(N) in the commands that waited", "Forgets the commands since MULTI."},
    {"WATCH", NULL, -2, KEYS(1, -1, 1), FLAGS | CMD_ACROSS | CMD_AT_ONCE, ACL, GROUP, "2.2.0",
     "O(N) in the keys", "Lets the next EXEC do nothing if one of the keys changes before it.",
     .check = watch_check, .across = &watch_across, .key_access = "RO", .syntax = "key..."},
    {"UNWATCH", unwatch_all_run, 1, NO_KEYS, FLAGS | CMD_HOME, ACL, GROUP, "2.2.0",
     "O(N) in the watched keys", "Forgets what was watched."},
};

static int64_t read_watching(struct shard *s) {
    return (int64_t)instance_of(s)->net->watching;
}

static int64_t read_watched(struct shard *s) {
    return (int64_t)watch_count(s);
}

static const struct metric metrics[] = {
    {"clients", "watching_clients", read_watching},
    {"clients", "total_watched_keys", read_watched},
};

void exec_register(void) {
    command_register(rows, COUNT_OF(rows));
    exec_row = command_find(SPAN("EXEC"));
    metrics_register(metrics, COUNT_OF(metrics));
}
