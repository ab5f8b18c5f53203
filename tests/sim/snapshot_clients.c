/* snapshot_clients.c: clients that keep things in balance; snapshot_sim.c says which. */
#include "snapshot_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1024 };

/* What a client waits for. */
struct op {
    unsigned lines; /* of the reply, that are still to come */
    bool refused;   /* one of them was an error */
    long value;     /* of a pair's MSET */
    unsigned db, pair;
    bool is_pair;
    bool is_any; /* of any shape: `lines` are values */
};

struct client {
    struct sim_client *end;
    unsigned db;
    struct op waiting[WAITING_MAX];
    unsigned waiting_count;
    bool gone;
    size_t text_left; /* bytes of a bulk string, whatever they are, and of its end */
    char line[TEXT_MAX];
    size_t line_len;
};

struct progress snapshot_progress;
static struct client clients[CLIENTS_MAX];
static unsigned client_count;
static long next_value;

static void send_op(struct client *c, struct op op, const char *text) {
    c->waiting[c->waiting_count++] = op;
    (void)sim_client_write(c->end, text, strlen(text));
}

static void come(struct client *c, unsigned db) {
    char text[32];
    *c = (struct client){.end = sim_world_connect(&snapshot_world), .db = db};
    (void)snprintf(text, sizeof text, "SELECT %u\r\n", db);
    send_op(c, (struct op){.lines = 1}, text);
}

static void send_pair(struct client *c) {
    char text[TEXT_MAX];
    unsigned p = (unsigned)(c - clients) * PAIRS_EACH + snapshot_below(PAIRS_EACH);
    struct op op = {.lines = 1, .value = ++next_value, .db = c->db, .pair = p, .is_pair = true};
    snapshot_progress.sent[p] = op.value;
    (void)snprintf(text, sizeof text, "MSET pair:%u:0 %ld pair:%u:1 %ld\r\n", p, op.value, p,
                   op.value);
    send_op(c, op, text);
}

/* exec_op: of a MULTI of two commands, of which some have no memory when nobody keeps anything in balance. */
static struct op exec_op(void) {
    return snapshot_progress.careless ? (struct op){.lines = 4, .is_any = true}
                                      : (struct op){.lines = 6};
}

static void send_transfer(struct client *c) {
    char text[TEXT_MAX];
    unsigned amount = snapshot_below(100), from = snapshot_below(ACCOUNTS),
             to = snapshot_below(ACCOUNTS);
    (void)snprintf(text, sizeof text,
                   "MULTI\r\nDECRBY account:%u %u\r\nINCRBY account:%u %u\r\nEXEC\r\n", from,
                   amount, to, amount);
    send_op(c, exec_op(), text);
}

static void send_twins(struct client *c) {
    char text[TEXT_MAX];
    unsigned t = snapshot_below(TWINS);
    if (snapshot_below(3) != 0)
        (void)snprintf(text, sizeof text,
                       "MULTI\r\nRPUSH twin:%u:0 %ld\r\nRPUSH twin:%u:1 %ld\r\nEXEC\r\n", t,
                       next_value, t, next_value);
    else
        (void)snprintf(text, sizeof text,
                       "MULTI\r\nLTRIM twin:%u:0 1 -1\r\nLTRIM twin:%u:1 1 -1\r\nEXEC\r\n", t, t);
    next_value++;
    send_op(c, exec_op(), text);
}

static void send_rename(struct client *c) {
    char text[TEXT_MAX];
    unsigned t = snapshot_below(TRAVELLERS);
    (void)snprintf(text, sizeof text, "RENAMENX traveller:%u:%u traveller:%u:%u\r\n", t,
                   snapshot_below(NAMES), t, snapshot_below(NAMES));
    send_op(c, (struct op){.lines = 1}, text);
}

static void send_passing(struct client *c) {
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, "SET passing:%u x PX %u\r\n", snapshot_below(40),
                   1 + snapshot_below(5));
    send_op(c, (struct op){.lines = 1}, text);
}

static void send_whole(struct client *c) {
    char text[TEXT_MAX];
    if (snapshot_progress.swaps && snapshot_below(2) == 0)
        (void)snprintf(text, sizeof text, "SWAPDB 1 2\r\n");
    else if (snapshot_progress.flushes && c->db != 0) /* where only pairs are */
        (void)snprintf(text, sizeof text, "FLUSHDB\r\n");
    else
        (void)snprintf(text, sizeof text, "DEL passing:1 passing:2 passing:3\r\n");
    send_op(c, (struct op){.lines = 1}, text);
}

static void send_any(struct client *c) {
    char text[TEXT_MAX];
    unsigned values = snapshot_any(text, c->db);
    send_op(c, (struct op){.lines = values, .is_any = true}, text);
}

/* In other databases than the first there are only pairs, and what nobody keeps in balance. */
static void client_send(struct client *c) {
    if (c->waiting_count == WAITING_MAX)
        return;
    unsigned what = snapshot_below(20);
    if (what >= 12)
        send_any(c);
    else if (what == 0)
        send_whole(c);
    else if (c->db != 0 || what < 4)
        send_pair(c);
    else if (what < 7)
        send_transfer(c);
    else if (what < 9)
        send_twins(c);
    else if (what < 11)
        send_rename(c);
    else
        send_passing(c);
}

static void ended(const struct op *op) {
    long *acked = &snapshot_progress.acked[op->pair];
    if (op->is_pair && !op->refused && *acked < op->value)
        *acked = op->value;
}

/* is_refusal: an error that is expected: when the disk has failed, the server refuses writes. */
static bool is_refusal(const char *line) {
    if (snapshot_progress.careless || strncmp(line, "-ERR no such key", 16) == 0)
        return true;
    return snapshot_progress.files &&
           (strncmp(line, "-MISCONF", 8) == 0 || strncmp(line, "-EXECABORT", 10) == 0);
}

static void next_op(struct client *c) {
    c->waiting_count--;
    memmove(c->waiting, c->waiting + 1, c->waiting_count * sizeof(struct op));
}

/* take_any: one more line of values of any shape. */
static void take_any(struct client *c, struct op *op) {
    long n = strtol(c->line + 1, NULL, 10);
    if (c->line[0] == '$' && n >= 0)
        c->text_left = (size_t)n + 2;
    else if (c->line[0] == '*' && n > 0)
        op->lines += (unsigned)n;
    op->lines--;
}

static void take_line(struct client *c) {
    if (c->waiting_count == 0)
        snapshot_fail("more was answered than was asked");
    struct op *op = &c->waiting[0];
    if (op->is_any) {
        take_any(c, op);
        if (op->lines == 0)
            next_op(c);
        return;
    }
    op->refused |= c->line[0] == '-';
    if (strncmp(c->line, "-EXECABORT", 10) == 0)
        op->lines = 1; /* there is no array then */
    if (c->line[0] == '-' && !is_refusal(c->line))
        snapshot_fail(c->line);
    if (--op->lines != 0)
        return;
    ended(op);
    next_op(c);
}

/* closed: for want of memory it may be, and does not come back. */
static void closed(struct client *c) {
    if (!snapshot_progress.careless)
        snapshot_fail("the server closed a connection");
    c->gone = true;
    c->waiting_count = 0;
}

static void client_read(struct client *c) {
    char bytes[256];
    ssize_t n;
    while ((n = sim_client_read(c->end, bytes, 1 + snapshot_below(sizeof bytes - 1))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (c->text_left != 0) {
                c->text_left--;
                continue;
            }
            if (c->line_len + 1 < sizeof c->line)
                c->line[c->line_len++] = bytes[i];
            if (bytes[i] != '\n')
                continue;
            c->line[c->line_len] = '\0';
            take_line(c);
            c->line_len = 0;
        }
    }
    if (n < 0)
        closed(c);
}

void snapshot_client_step(void) {
    struct client *c = &clients[snapshot_below(client_count)];
    if (c->gone)
        return;
    if (snapshot_below(2) == 0)
        client_read(c);
    else
        client_send(c);
}

void snapshot_clients_settle(void (*turn)(void)) {
    for (unsigned rounds = 0;; rounds++) {
        bool all = true;
        for (unsigned i = 0; i < client_count; i++) {
            if (clients[i].gone)
                continue;
            client_read(&clients[i]);
            all = all && clients[i].waiting_count == 0;
        }
        if (all)
            return;
        turn();
        sim_world_round(&snapshot_world);
        if (rounds == STEPS_MAX)
            snapshot_fail("not everything was answered");
    }
}

/* fill: the long lists, from one client. */
static void fill(void (*turn)(void)) {
    struct client *c = &clients[0];
    static char text[LONG * 8 + TEXT_MAX];
    for (unsigned t = 0; t < TWINS * 2 + TRAVELLERS; t++) {
        size_t len = 0;
        if (t < TWINS * 2)
            len = (size_t)snprintf(text, sizeof text, "RPUSH twin:%u:%u", t / 2, t % 2);
        else
            len = (size_t)snprintf(text, sizeof text, "RPUSH traveller:%u:0", t - TWINS * 2);
        for (unsigned i = 0; i < LONG; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, " %u", i * (1 + t / 2));
        (void)snprintf(text + len, sizeof text - len, "\r\n");
        send_op(c, (struct op){.lines = 1}, text);
        snapshot_clients_settle(turn);
    }
    for (unsigned i = 0; snapshot_any_long(text, sizeof text, i); i++) {
        send_op(c, (struct op){.lines = 1, .is_any = true}, text);
        snapshot_clients_settle(turn);
    }
}

/* limit: with maxmemory set, around what there is: keys go for others, or writes are refused. */
static void limit(void (*turn)(void)) {
    static const char *const policies[] = {"allkeys-lru",  "allkeys-s3fifo", "allkeys-lfu",
                                           "volatile-lru", "volatile-ttl",   "noeviction"};
    char text[TEXT_MAX];
    int64_t used = 0;
    for (unsigned i = 0; i < snapshot_world.n; i++)
        used += shards_get(snapshot_world.shards, i)->mem.used_bytes;
    (void)snprintf(text, sizeof text, "CONFIG SET maxmemory %ld maxmemory-policy %s\r\n",
                   (long)used + 1000 * (long)snapshot_below(200) - 50000,
                   policies[snapshot_below(COUNT_OF(policies))]);
    send_op(&clients[0], (struct op){.lines = 1, .is_any = true}, text);
    snapshot_clients_settle(turn);
}

void snapshot_clients_connect(void (*turn)(void)) {
    for (unsigned i = 0; i < client_count; i++) {
        come(&clients[i], i < 2 ? 0 : snapshot_below(DBS));
    }
    snapshot_clients_settle(turn);
}

void snapshot_clients_begin(void (*turn)(void)) {
    snapshot_progress = (struct progress){.flushes = snapshot_below(2) == 0,
                                          .swaps = snapshot_below(2) == 0,
                                          .careless = snapshot_below(3) == 0,
                                          .files = snapshot_world.files};
    snapshot_progress.floor = snapshot_world.files && snapshot_below(8) == 0;
    next_value = 1;
    client_count = 2 + snapshot_below(CLIENTS_MAX - 1);
    snapshot_clients_connect(turn);
    fill(turn);
    if (snapshot_progress.careless && snapshot_below(2) == 0)
        limit(turn);
}

void snapshot_clients_end(void) {
    for (unsigned i = 0; i < client_count; i++)
        sim_client_free(clients[i].end);
}
