/* snapshot_sim.c: snapshots of all shards while clients write; each must be one state between two transactions.
 *
 * What clients do keeps things in balance, so that a state that never was shows at once:
 *   accounts   MULTI moves an amount from one counter to another: the sum of all is 0
 *   pairs      MSET gives both keys of a pair the same number, which grows: they are equal, in all databases, whichever is
 *              swapped with which; FLUSHDB takes all pairs of a database at once
 *   twins      MULTI pushes to two long lists, or takes from both: they are equal
 *   travellers RENAME gives a long list another name, on any shard: it is there once
 *   passing    keys with a short time to live come and go
 * And in time: what was acknowledged before a snapshot was asked for is in it, what was sent after it is not.
 */
#include "anax/instance.h"
#include "anax/listval.h"
#include "shards/tx.h"
#include "sim_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS_MAX = 5,
    WAITING_MAX = 4,
    ACCOUNTS = 6,
    PAIRS_EACH = 2, /* of a client, which alone writes them */
    PAIRS = PAIRS_EACH * CLIENTS_MAX,
    DBS = 3, /* of pairs: 0 to 2 */
    TWINS = 2,
    TRAVELLERS = 2,
    NAMES = 3,   /* that a traveller has */
    LONG = 4000, /* more than fits into a listpack */
    CUTS = 4,
    STEPS = 500,
    STEPS_MAX = 200000,
    TEXT_MAX = 512
};

/* What a client waits for. */
struct op {
    unsigned lines; /* of the reply, that are still to come */
    bool refused;   /* one of them was an error */
    long value;     /* of a pair's MSET */
    unsigned db, pair;
    bool is_pair;
};

struct client {
    struct sim_client *end;
    unsigned db;
    struct op waiting[WAITING_MAX];
    unsigned waiting_count;
    char line[TEXT_MAX];
    size_t line_len;
};

/* A key as it was told. */
struct told {
    bool there;
    long number;     /* of a counter or pair */
    uint64_t digest; /* of a list */
    uint64_t count;
};

static struct sim_world w;
static struct client clients[CLIENTS_MAX];
static unsigned client_count;
static long next_value;
static long acked[PAIRS], sent[PAIRS]; /* of a pair, in whichever database */
static bool flushes, swaps;
static uint64_t snapshots, heavy_told, waited_for_heavy, told_by_writes, told_all;

static struct told accounts[ACCOUNTS], pairs[DBS][PAIRS][2], twins[TWINS][2],
    travellers[TRAVELLERS][NAMES];

static _Noreturn void fail(const char *what) {
    sim_world_fail(&w, what);
}

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(&w, n);
}

/* --- clients --- */

static void send_op(struct client *c, struct op op, const char *text) {
    c->waiting[c->waiting_count++] = op;
    (void)sim_client_write(c->end, text, strlen(text));
}

static void send_pair(struct client *c) {
    char text[TEXT_MAX];
    unsigned p = (unsigned)(c - clients) * PAIRS_EACH + below(PAIRS_EACH);
    struct op op = {.lines = 1, .value = ++next_value, .db = c->db, .pair = p, .is_pair = true};
    sent[p] = op.value;
    (void)snprintf(text, sizeof text, "MSET pair:%u:0 %ld pair:%u:1 %ld\r\n", p, op.value, p,
                   op.value);
    send_op(c, op, text);
}

static void send_transfer(struct client *c) {
    char text[TEXT_MAX];
    unsigned amount = below(100), from = below(ACCOUNTS), to = below(ACCOUNTS);
    (void)snprintf(text, sizeof text,
                   "MULTI\r\nDECRBY account:%u %u\r\nINCRBY account:%u %u\r\nEXEC\r\n", from,
                   amount, to, amount);
    send_op(c, (struct op){.lines = 6}, text);
}

static void send_twins(struct client *c) {
    char text[TEXT_MAX];
    unsigned t = below(TWINS);
    if (below(3) != 0)
        (void)snprintf(text, sizeof text,
                       "MULTI\r\nRPUSH twin:%u:0 %ld\r\nRPUSH twin:%u:1 %ld\r\nEXEC\r\n", t,
                       next_value, t, next_value);
    else
        (void)snprintf(text, sizeof text,
                       "MULTI\r\nLTRIM twin:%u:0 1 -1\r\nLTRIM twin:%u:1 1 -1\r\nEXEC\r\n", t, t);
    next_value++;
    send_op(c, (struct op){.lines = 6}, text);
}

static void send_rename(struct client *c) {
    char text[TEXT_MAX];
    unsigned t = below(TRAVELLERS);
    (void)snprintf(text, sizeof text, "RENAMENX traveller:%u:%u traveller:%u:%u\r\n", t,
                   below(NAMES), t, below(NAMES));
    send_op(c, (struct op){.lines = 1}, text);
}

static void send_passing(struct client *c) {
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, "SET passing:%u x PX %u\r\n", below(40), 1 + below(5));
    send_op(c, (struct op){.lines = 1}, text);
}

static void send_whole(struct client *c) {
    char text[TEXT_MAX];
    if (swaps && below(2) == 0)
        (void)snprintf(text, sizeof text, "SWAPDB 1 2\r\n");
    else if (flushes && c->db != 0) /* where only pairs are */
        (void)snprintf(text, sizeof text, "FLUSHDB\r\n");
    else
        (void)snprintf(text, sizeof text, "DEL passing:1 passing:2 passing:3\r\n");
    send_op(c, (struct op){.lines = 1}, text);
}

/* In other databases than the first there are only pairs. */
static void client_send(struct client *c) {
    if (c->waiting_count == WAITING_MAX)
        return;
    unsigned what = below(12);
    if (what == 0)
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
    if (op->is_pair && !op->refused && acked[op->pair] < op->value)
        acked[op->pair] = op->value;
}

static void take_line(struct client *c) {
    if (c->waiting_count == 0)
        fail("more was answered than was asked");
    struct op *op = &c->waiting[0];
    op->refused |= c->line[0] == '-';
    if (op->refused && strncmp(c->line, "-ERR no such key", 16) != 0)
        fail(c->line);
    if (--op->lines != 0)
        return;
    ended(op);
    c->waiting_count--;
    memmove(c->waiting, c->waiting + 1, c->waiting_count * sizeof(struct op));
}

static void client_read(struct client *c) {
    char bytes[256];
    ssize_t n;
    while ((n = sim_client_read(c->end, bytes, 1 + below(sizeof bytes - 1))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
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
        fail("the server closed a connection");
}

/* --- a snapshot of all shards --- */

struct part {
    struct snapshot_sink sink;
    unsigned shard, slices;
    uint64_t digest; /* of the heavy value that is told, as it was at its first slice */
};

static struct part parts[SHARDS_MAX];
static struct tx cut;
static struct tx_part cut_parts[SHARDS_MAX];
static bool cutting, hopped, mute;
static long acked_before[PAIRS], sent_before[PAIRS];
static bool walking;

static struct told *place_of(unsigned db, struct span key) {
    unsigned a, b;
    char text[64];
    if (key.len >= sizeof text)
        fail("a key is told that nobody has written");
    memcpy(text, key.ptr, key.len);
    text[key.len] = '\0';
    if (sscanf(text, "pair:%u:%u", &a, &b) == 2 && a < PAIRS && b < 2 && db < DBS)
        return &pairs[db][a][b];
    if (db != 0)
        fail("a key is told from a database where it never was");
    if (sscanf(text, "account:%u", &a) == 1 && a < ACCOUNTS)
        return &accounts[a];
    if (sscanf(text, "twin:%u:%u", &a, &b) == 2 && a < TWINS && b < 2)
        return &twins[a][b];
    if (sscanf(text, "traveller:%u:%u", &a, &b) == 2 && a < TRAVELLERS && b < NAMES)
        return &travellers[a][b];
    return NULL;
}

static uint64_t digest_list(const struct entry *e, uint64_t *count) {
    struct val v;
    struct listval_iter i;
    struct lp_item item;
    uint64_t h = 1;
    if (entry_repr(e) != REPR_OBJECT || entry_type(e) != VALUE_LIST)
        fail("a long list is something else");
    val_of_object(&v, NULL, entry_object(e));
    *count = 0;
    for (listval_begin(&i, &v, 0, false); listval_next(&i, &item); ++*count) {
        char digits[STRVAL_INT_BYTES];
        h = h * 31 + hash_of(lp_item_text(&item, digits));
    }
    return h;
}

static void note(unsigned db, const struct entry *e) {
    struct told *t = place_of(db, entry_key(e));
    told_all++;
    told_by_writes += !walking;
    if (t == NULL)
        return; /* one that passes */
    if (t->there)
        fail("a key is told twice");
    t->there = true;
    if (entry_type(e) == VALUE_LIST)
        t->digest = digest_list(e, &t->count);
    else if (entry_repr(e) == REPR_INT)
        t->number = entry_int(e);
    else
        fail("a number is something else");
}

static void tell(struct snapshot_sink *s, unsigned db, const struct entry *e) {
    (void)s;
    note(db, e);
}

static bool tell_some(struct snapshot_sink *s, unsigned db, const struct entry *e) {
    struct part *p = CONTAINER_OF(s, struct part, sink);
    uint64_t count, digest = digest_list(e, &count);
    if (p->slices++ == 0)
        p->digest = digest;
    if (p->digest != digest)
        fail("a value changed while it was told");
    if (p->slices < 4)
        return false;
    p->slices = 0;
    heavy_told++;
    note(db, e);
    return true;
}

static bool room(struct snapshot_sink *s) {
    (void)s;
    return below(3) != 0;
}

static void cut_hop(struct shard *at, struct tx_part *p) {
    (void)p;
    shard_claim();
    struct part *mine = &parts[at->id];
    *mine = (struct part){.sink = {tell, tell_some, room}, .shard = at->id};
    if (!snapshot_start(&at->snapshot, &mine->sink))
        fail("a snapshot cannot start");
}

static void cut_next(struct shard *home, struct tx *t) {
    shard_claim();
    if (t->failed)
        fail("no memory for the cut");
    if (hopped) {
        tx_end(home, t);
        return;
    }
    hopped = true;
    for (unsigned i = 0; i < w.n; i++)
        t->parts[i].run = t->parts[i].release = true;
    tx_hop(home, t);
}

static void cut_ended(struct shard *home, struct tx *t) {
    (void)home;
    (void)t;
    cutting = false;
}

static void start_cut(void) {
    static const struct tx_ops ops = {NULL, cut_hop, cut_next, cut_ended};
    unsigned home = below(w.n);
    shard_claim();
    if (!w.awake[home])
        (void)sim_world_turn(&w, home); /* may doze again */
    if (!w.awake[home])
        shard_rouse(shards_get(w.shards, home));
    w.awake[home] = true;
    memset(accounts, 0, sizeof accounts);
    memset(pairs, 0, sizeof pairs);
    memset(twins, 0, sizeof twins);
    memset(travellers, 0, sizeof travellers);
    memcpy(acked_before, acked, sizeof acked);
    memset(cut_parts, 0, sizeof cut_parts);
    for (unsigned i = 0; i < w.n; i++)
        cut_parts[i] = (struct tx_part){.shard = (uint16_t)i, .whole = TX_SHARED};
    cut = (struct tx){.ops = &ops, .parts = cut_parts, .part_count = (uint16_t)w.n};
    cutting = true;
    hopped = false;
    mute = below(8) == 0;
    tx_start(shards_get(w.shards, home), &cut);
}

static bool snapshot_over(void) {
    for (unsigned i = 0; i < w.n; i++)
        if (keyspace_cut_open(shards_get(w.shards, i)->keyspace))
            return false;
    return !cutting;
}

/* walk: a slice on one shard, by its owner. */
static void walk(unsigned shard) {
    struct shard *s = shards_get(w.shards, shard);
    shard_claim();
    if (!w.awake[shard])
        shard_rouse(s);
    w.awake[shard] = true;
    waited_for_heavy += snapshot_hurried(&s->snapshot);
    walking = true;
    (void)snapshot_some(&s->snapshot, 0);
    walking = false;
    (void)sim_world_turn(&w, shard); /* sends what it has set free */
}

static void check_pairs(void) {
    for (unsigned p = 0; p < PAIRS; p++) {
        long last = 0;
        for (unsigned db = 0; db < DBS; db++) {
            const struct told *a = &pairs[db][p][0], *b = &pairs[db][p][1];
            if (a->there != b->there || a->number != b->number)
                fail("a pair is not equal");
            last = a->number > last ? a->number : last;
        }
        if (!flushes && last < acked_before[p])
            fail("what was acknowledged is not in a snapshot");
        if (last > sent_before[p])
            fail("a snapshot has what was sent after it");
    }
}

static void check(void) {
    long sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++)
        sum += accounts[i].number;
    if (sum != 0)
        fail("money was made or lost");
    check_pairs();
    for (unsigned t = 0; t < TWINS; t++)
        if (twins[t][0].digest != twins[t][1].digest || !twins[t][0].there)
            fail("twins are not equal");
    for (unsigned t = 0; t < TRAVELLERS; t++) {
        unsigned there = 0;
        for (unsigned n = 0; n < NAMES; n++)
            there += travellers[t][n].there && travellers[t][n].count == LONG;
        if (there != 1)
            fail("what was renamed is not there once");
    }
    snapshots++;
}

/* --- steps --- */

static void step(void) {
    struct client *c = &clients[below(client_count)];
    unsigned what = below(12);
    if (what < 5)
        (void)sim_world_turn(&w, below(w.n));
    else if (what < 7)
        client_read(c);
    else if (what < 9)
        client_send(c);
    else if (what < 11)
        walk(below(w.n));
    else if (below(4) == 0)
        sim_advance(w.net, below(300000));
}

static void settle(void) {
    sim_world_no_faults(&w);
    for (unsigned rounds = 0;; rounds++) {
        bool all = true;
        for (unsigned i = 0; i < client_count; i++) {
            client_read(&clients[i]);
            all = all && clients[i].waiting_count == 0;
        }
        if (all)
            return;
        for (unsigned i = 0; i < w.n; i++)
            walk(i);
        sim_world_round(&w);
        if (rounds == STEPS_MAX)
            fail("not everything was answered");
    }
}

/* fill: the long lists, from one client. */
static void fill(void) {
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
        settle();
    }
}

static void run_seed(uint64_t seed) {
    sim_world_begin(&w, seed);
    flushes = below(2) == 0;
    swaps = below(2) == 0;
    next_value = 1;
    memset(acked, 0, sizeof acked);
    memset(sent, 0, sizeof sent);
    client_count = 2 + below(CLIENTS_MAX - 1);
    for (unsigned i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        *c = (struct client){.end = sim_world_connect(&w), .db = i < 2 ? 0 : below(DBS)};
        char text[32];
        (void)snprintf(text, sizeof text, "SELECT %u\r\n", c->db);
        send_op(c, (struct op){.lines = 1}, text);
    }
    settle();
    fill();
    for (unsigned n = 0; n < CUTS; n++) {
        sim_world_faults(&w);
        for (unsigned i = below(STEPS); i > 0; i--)
            step();
        start_cut();
        for (unsigned steps = 0; cutting; steps++) {
            step();
            if (steps == STEPS_MAX)
                fail("the cut does not get on");
        }
        memcpy(sent_before, sent, sizeof sent);
        for (unsigned steps = 0; !snapshot_over(); steps++) {
            step();
            if (mute && steps == 50)
                for (unsigned i = 0; i < w.n; i++)
                    snapshot_give_up(&shards_get(w.shards, i)->snapshot);
            if (steps == STEPS_MAX)
                fail("a snapshot does not get on");
        }
        if (!mute)
            check();
    }
    settle();
    for (unsigned i = 0; i < client_count; i++)
        sim_client_free(clients[i].end);
    sim_world_quiet(&w);
    sim_world_end(&w);
}

static bool reached(uint64_t seeds) {
    (void)printf("%lu snapshots, %lu keys told, %lu of them by writes, %lu heavy; %lu slices were "
                 "waited for\n",
                 (unsigned long)snapshots, (unsigned long)told_all, (unsigned long)told_by_writes,
                 (unsigned long)heavy_told, (unsigned long)waited_for_heavy);
    return seeds < 20 || (snapshots != 0 && heavy_told != 0 && waited_for_heavy != 0 &&
                          told_by_writes != 0 && told_by_writes < told_all);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, NULL, reached);
}
