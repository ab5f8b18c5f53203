/* history_sim.c: clients that share few keys, on simulated loops; what they saw goes to files for tests/consistency.
 *
 * Usage       history_sim [--seeds N] [--first SEED] [--out DIR] [--verbose]; DIR gets seed-N.jsonl of each seed, whose
 *             format is told in tests/consistency/README.md; then tests/consistency/check_files.py DIR.
 *
 * Beside what sim_world.h says, a seed chooses the clients, how much each sends before it reads, resets, and one of three
 * kinds: strings that grow and registers (APPEND, GET, SET, MGET, MSET, MULTI, WATCH), which a graph decides, in long
 * histories; or everything that moves, copies and counts keys, or that and what lists, sets and sorted sets have, in
 * short ones, which a search decides. Time is the number of the step: a command starts in the step that sends it and
 * ends in the one that has read its reply.
 */
#include "history_impl.h"
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS_MAX = 6,
    DEPTH_MAX = 4, /* records of a client that wait for replies */
    RECORDS_MAX = 1200,
    RECORDS_GRAPH = 250,
    RECORDS_SEARCH = 70,
    LISTS = 3,
    REGISTERS = 4,
    OF_A_TYPE = 2, /* keys of each type of collection */
    DBS = 2,
    REPLY_MAX = 256 * 1024,
    STEPS_MAX = 1000000,
    SETTLE_MAX = 200000
};

struct client {
    struct sim_client *end;
    unsigned id, db, depth;
    bool greeted;                      /* SELECT, the first it sends, has been answered */
    struct record *waiting[DEPTH_MAX]; /* in the order sent */
    unsigned waiting_count;
    char in[REPLY_MAX];
    size_t in_len;
};

static struct sim_world w;
static struct client clients[CLIENTS_MAX];
static struct record records[RECORDS_MAX];
static unsigned client_count, next_client, record_count, record_limit;
static bool search, collections, resets;
static uint64_t now;
static long next_value;
static const char *out_dir;
static uint64_t outcomes[4];

static _Noreturn void fail(const char *what) {
    sim_world_fail(&w, what);
}

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(&w, n);
}

/* --- what clients do --- */

/* send_stage: a client that was reset learns it when it reads. */
static void send_stage(struct client *c, struct record *r) {
    struct span bytes = history_request(r);
    r->start = ++now;
    (void)sim_client_write(c->end, bytes.ptr, bytes.len);
}

static void choose_register(char *to) {
    (void)snprintf(to, HISTORY_NAME_MAX, "k%u", below(REGISTERS));
}

static void choose_simple(struct op *op, bool write, bool list) {
    op->kind = list ? (write ? OP_APPEND : OP_CSV) : (write ? OP_SET : OP_GET);
    op->v = ++next_value;
    if (list)
        (void)snprintf(op->key, sizeof op->key, "l%u", below(LISTS));
    else
        choose_register(op->key);
}

static void choose_key(char *to, char letter) {
    if (below(16) == 0)
        (void)snprintf(to, HISTORY_NAME_MAX, "x"); /* of this type now, of that one then */
    else
        (void)snprintf(to, HISTORY_NAME_MAX, "%c%u", letter, below(OF_A_TYPE));
}

static char letter_of(enum kind kind) {
    return kind < OP_SADD ? 'q' : kind < OP_ZADD ? 's' : 'z';
}

/* choose_collection: sorted sets are combined with sets as well, and a SORT makes lists. */
static void choose_collection(struct op *op) {
    static const enum kind often[] = {OP_RPUSH, OP_RPUSH, OP_LMOVE,       OP_RPOPLPUSH,
                                      OP_SADD,  OP_SMOVE, OP_SUNIONSTORE, OP_ZADD};
    op->kind = below(3) == 0 ? often[below(COUNT_OF(often))]
                             : (enum kind)(OP_RPUSH + below(OP_KINDS - OP_RPUSH));
    char letter = letter_of(op->kind);
    bool makes_list = op->kind == OP_SORT_STORE;
    bool sources = op->kind >= OP_ZUNION && op->kind <= OP_ZDIFFSTORE;
    op->v = letter == 'q' ? ++next_value : below(REGISTERS);
    op->score = 1 + below(50);
    choose_key(op->key, letter);
    choose_key(op->to, makes_list ? 'q' : sources && below(4) == 0 ? 's' : letter);
    choose_key(op->store, letter);
}

/* choose_whole: a value of any type goes somewhere else. */
static void choose_whole(struct op *op) {
    static const enum kind kinds[] = {OP_DEL,    OP_EXISTS,       OP_RENAME, OP_RENAME, OP_RENAMENX,
                                      OP_COPY,   OP_COPY_REPLACE, OP_COPY,   OP_RENAME, OP_SWAPDB,
                                      OP_MSETNX, OP_DBSIZE,       OP_FLUSHDB};
    char letter = "qsz"[below(3)];
    op->kind = kinds[below(COUNT_OF(kinds) - (below(3) != 0))];
    op->v = ++next_value;
    do {
        choose_key(op->key, letter);
        choose_key(op->to, op->kind == OP_MSETNX ? 'x' : letter);
    } while (strcmp(op->key, op->to) == 0);
}

/* choose_look: what is read under WATCH. */
static void choose_look(struct op *op) {
    static const enum kind kinds[] = {OP_LRANGE, OP_SMEMBERS, OP_ZRANGE};
    op->kind = kinds[below(COUNT_OF(kinds))];
    choose_key(op->key, letter_of(op->kind));
}

static void choose_op(struct op *op, unsigned db) {
    *op = (struct op){0};
    if (collections && below(8) != 0) {
        if (below(8) == 0)
            choose_whole(op);
        else
            choose_collection(op);
        return;
    }
    if (!search || below(3) == 0) {
        choose_simple(op, below(2) == 0, !search && below(2) == 0);
        return;
    }
    static const enum kind kinds[] = {OP_DEL,    OP_EXISTS,  OP_RENAME, OP_RENAME,  OP_RENAMENX,
                                      OP_COPY,   OP_COPY,    OP_INCRBY, OP_GETSET,  OP_COPY_REPLACE,
                                      OP_GETDEL, OP_MSETNX,  OP_RENAME, OP_COPY,    OP_MOVE,
                                      OP_SWAPDB, OP_FLUSHDB, OP_DBSIZE, OP_FLUSHALL};
    op->kind = kinds[below(COUNT_OF(kinds))];
    if (op->kind >= OP_SWAPDB && op->kind != OP_DBSIZE && below(3) != 0)
        op->kind = OP_RENAME; /* keys should live a while */
    op->v = ++next_value;
    if (op->kind == OP_INCRBY) /* what it makes is nothing that was ever written */
        op->v *= 1000000;
    choose_register(op->key);
    do
        choose_register(op->to);
    while (strcmp(op->key, op->to) == 0);
    if (op->kind == OP_MOVE)
        (void)snprintf(op->to, sizeof op->to, "%u", 1 - db);
}

static bool has_key(const struct record *r, const char *key) {
    for (unsigned i = 0; i < r->count; i++)
        if (strcmp(r->ops[i].key, key) == 0)
            return true;
    return false;
}

/* choose_many: different keys of the kind that MGET or MSET takes. */
static void choose_many(struct record *r) {
    bool write = r->form == FORM_MSET;
    unsigned wanted = 2 + below(3);
    for (unsigned tries = 0; tries < 20 && r->count < wanted; tries++) {
        struct op op = {0};
        choose_simple(&op, write, !write && !search && below(2) == 0);
        if (!has_key(r, op.key))
            r->ops[r->count++] = op;
    }
}

static void choose(struct record *r) {
    static const enum form all[] = {FORM_EACH,  FORM_EACH,  FORM_EACH,  FORM_MGET,  FORM_MSET,
                                    FORM_MULTI, FORM_WATCH, FORM_MULTI, FORM_WATCH, FORM_DISCARD};
    r->form = below(12) == 0 ? FORM_DISCARD : all[below(COUNT_OF(all) - 1)];
    if (r->form == FORM_MGET || r->form == FORM_MSET) {
        choose_many(r);
        return;
    }
    if (r->form == FORM_WATCH) {
        r->watched = 1 + below(2);
        for (; r->count < r->watched; r->count++)
            if (collections)
                choose_look(&r->ops[r->count]);
            else
                choose_simple(&r->ops[r->count], false, !search && below(2) == 0);
    }
    unsigned more = r->form == FORM_EACH ? 1 : 1 + below(3);
    for (; more > 0; more--)
        choose_op(&r->ops[r->count++], r->db);
    r->late_exec = (r->form == FORM_MULTI || r->form == FORM_DISCARD) && below(3) == 0;
}

/* has_stages: nothing else may be sent before it is over. */
static bool has_stages(const struct record *r) {
    return r->form == FORM_WATCH || r->late_exec;
}

static void client_send(struct client *c) {
    if (record_count == record_limit || c->waiting_count == c->depth)
        return;
    if (c->waiting_count != 0 && has_stages(c->waiting[c->waiting_count - 1]))
        return;
    struct record *r = &records[record_count++];
    memset(r, 0, sizeof *r);
    r->client = c->id;
    r->db = c->db;
    choose(r);
    c->waiting[c->waiting_count++] = r;
    if (!has_stages(r) || c->waiting_count == 1)
        send_stage(c, r);
    else
        r->start = 0; /* sent when it is the first */
}

static void client_connect(struct client *c, unsigned db) {
    c->end = sim_world_connect(&w);
    c->id = next_client++;
    c->db = db;
    c->depth =
        1 + below(search ? DEPTH_MAX / 2 : DEPTH_MAX); /* the search has to try all that is open */
    c->waiting_count = 0;
    c->in_len = 0;
    c->greeted = false;
    const char *select = c->db == 0 ? "SELECT 0\r\n" : "SELECT 1\r\n";
    (void)sim_client_write(c->end, select, strlen(select));
}

/* lost: what had been sent may have taken effect; what lacks its EXEC has not. */
static void lost(struct client *c) {
    for (unsigned i = 0; i < c->waiting_count; i++) {
        struct record *r = c->waiting[i];
        bool sent = r->start != 0;
        bool whole = r->stage == 1 || (r->form != FORM_WATCH && !r->late_exec);
        r->outcome = !sent                              ? OUTCOME_NOTHING
                     : whole && r->form != FORM_DISCARD ? OUTCOME_INFO
                                                        : OUTCOME_FAIL;
        r->end = now;
    }
    sim_client_free(c->end);
    client_connect(c, c->db);
}

/* take_greeting: the reply to SELECT. */
static size_t take_greeting(struct client *c) {
    size_t len = history_reply_len(c->in, c->in_len);
    if (len != 0 && (len != 5 || memcmp(c->in, "+OK\r\n", len) != 0))
        fail("SELECT was refused");
    c->greeted = len != 0;
    return len;
}

/* take_replies: of as many stages as are whole. */
static void take_replies(struct client *c) {
    size_t at = c->greeted ? 0 : take_greeting(c);
    while (c->greeted && c->waiting_count != 0 && c->waiting[0]->start != 0) {
        struct record *r = c->waiting[0];
        bool complete;
        size_t len = history_take(&w, r, (struct span){c->in + at, c->in_len - at}, &complete);
        if (len == 0)
            break;
        at += len;
        if (!complete) {
            r->stage = 1;
            send_stage(c, r);
            continue;
        }
        r->end = now;
        c->waiting_count--;
        memmove(c->waiting, c->waiting + 1, c->waiting_count * sizeof(struct record *));
        if (c->waiting_count != 0 && c->waiting[0]->start == 0)
            send_stage(c, c->waiting[0]);
    }
    if (c->greeted && c->waiting_count == 0 && at != c->in_len)
        fail("more was answered than was asked");
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void client_read(struct client *c) {
    now++;
    for (;;) {
        size_t room = sizeof c->in - c->in_len;
        ssize_t n = sim_client_read(c->end, c->in + c->in_len, 1 + below((unsigned)room - 1));
        if (n == 0)
            return;
        if (n < 0) {
            if (!sim_client_was_reset(c->end))
                fail("the server closed a connection");
            lost(c);
            return;
        }
        c->in_len += (size_t)n;
        take_replies(c);
    }
}

/* --- steps --- */

static void step(void) {
    struct client *c = &clients[below(client_count)];
    unsigned what = below(10);
    if (what < 5)
        (void)sim_world_turn(&w, below(w.n));
    else if (what < 7)
        client_read(c);
    else if (what < 9)
        client_send(c);
    else if (below(4) == 0) /* rarely far: what was refused to be accepted is tried again */
        sim_advance(w.net, below(below(40) == 0 ? 50000000 : 300000));
    if (resets && c->greeted && below(400) == 0)
        sim_client_reset(c->end);
}

static bool all_answered(void) {
    bool all = true;
    for (unsigned i = 0; i < client_count; i++) {
        client_read(&clients[i]);
        all = all && clients[i].greeted && clients[i].waiting_count == 0;
    }
    return all;
}

static void settle(void) {
    sim_world_no_faults(&w);
    for (unsigned rounds = 0; !all_answered(); rounds++) {
        sim_world_round(&w);
        if (rounds == SETTLE_MAX)
            fail("not everything was answered");
    }
}

static void read_one(struct client *c, enum kind kind, char letter, unsigned number) {
    struct record *r = &records[record_count++];
    memset(r, 0, sizeof *r);
    r->client = c->id;
    r->db = c->db;
    r->count = 1;
    r->ops[0].kind = kind;
    (void)snprintf(r->ops[0].key, sizeof r->ops[0].key, "%c%u", letter, number);
    c->waiting[c->waiting_count++] = r;
    send_stage(c, r);
    settle();
}

/* read_all: what is there after everything else has ended, so that no lost write stays unseen. */
static void read_all(void) {
    struct client *c = &clients[0];
    for (unsigned db = 0; db < (search ? DBS : 1); db++) {
        sim_client_free(c->end);
        client_connect(c, db);
        settle();
        for (unsigned i = 0; i < REGISTERS; i++)
            read_one(c, OP_GET, 'k', i);
        for (unsigned i = 0; i < LISTS && !search; i++)
            read_one(c, OP_CSV, 'l', i);
        for (unsigned i = 0; i < OF_A_TYPE && collections; i++) {
            read_one(c, OP_LRANGE, 'q', i);
            read_one(c, OP_SMEMBERS, 's', i);
            read_one(c, OP_ZRANGE, 'z', i);
        }
    }
}

static void write_file(void) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/seed-%lu.jsonl", out_dir, (unsigned long)w.seed);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        fail("the history cannot be written");
    for (unsigned i = 0; i < record_count; i++)
        if (records[i].outcome != OUTCOME_NOTHING)
            history_write(f, &records[i]);
    if (fclose(f) != 0)
        fail("the history was not written");
}

/* --- a seed --- */

static void begin_seed(uint64_t seed) {
    sim_world_begin(&w, seed);
    search = below(3) != 0;
    collections = search && below(2) == 0;
    resets = below(3) == 0;
    client_count = 2 + below(CLIENTS_MAX - 1);
    next_client = record_count = 0;
    record_limit = search ? RECORDS_SEARCH : RECORDS_GRAPH;
    next_value = 0;
    now = 0;
    for (unsigned i = 0; i < client_count; i++)
        client_connect(&clients[i], search && below(4) == 0);
    sim_world_faults(&w);
}

static void end_seed(void) {
    for (unsigned i = 0; i < client_count; i++)
        sim_client_free(clients[i].end);
    sim_world_quiet(&w);
    for (unsigned i = 0; i < record_count; i++) {
        outcomes[records[i].outcome]++;
        for (unsigned k = 0; k < records[i].count; k++)
            free(records[i].ops[k].result);
    }
    sim_world_end(&w);
}

static void run_seed(uint64_t seed) {
    shard_claim();
    begin_seed(seed);
    for (unsigned steps = 0; record_count < record_limit; steps++) {
        step();
        if (steps == STEPS_MAX)
            fail("clients do not get on");
    }
    settle();
    read_all();
    if (out_dir != NULL)
        write_file();
    end_seed();
}

static bool extra(const char *name, const char *value) {
    if (strcmp(name, "--out") != 0)
        return false;
    out_dir = value;
    return true;
}

/* reached: what must have happened for the files to be worth checking. */
static bool reached(uint64_t seeds) {
    const struct sim_totals *t = &sim_totals;
    (void)printf("%lu took effect, %lu did not, %lu unknown; ", (unsigned long)outcomes[OUTCOME_OK],
                 (unsigned long)outcomes[OUTCOME_FAIL], (unsigned long)outcomes[OUTCOME_INFO]);
    (void)printf("%lu transactions, %lu claims waited, %lu yielded, %lu overtook, %lu steps "
                 "waited, %lu jobs\n",
                 (unsigned long)t->transactions, (unsigned long)t->claims_waited,
                 (unsigned long)t->yielded, (unsigned long)t->overtook,
                 (unsigned long)t->steps_waited, (unsigned long)t->jobs);
    return seeds < 50 || (outcomes[OUTCOME_FAIL] != 0 && outcomes[OUTCOME_INFO] != 0 &&
                          t->claims_waited != 0 && t->yielded != 0 && t->overtook != 0 &&
                          t->steps_waited != 0 && t->borrows != 0 && t->jobs != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, extra, reached);
}
