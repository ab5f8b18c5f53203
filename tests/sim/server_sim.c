/* server_sim.c: the whole server on simulated loops: many seeds, a model of each client's keys as oracle.
 *
 * Usage       server_sim [--seeds N] [--first SEED] [--verbose]; a failure prints its seed, and
 *             `server_sim --first SEED --seeds 1` replays it.
 *
 * Beside what sim_world.h says, a seed chooses the number of clients and the commands. Every client has keys of its own,
 * so the replies it must see follow from what it sent, whatever the others do; a client that is alone may also
 * use the commands that look at all keys. Replies are compared byte by byte, and everything must be answered.
 */
#include "sim_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS_MAX = 6, KEYS = 12, VALUE_MAX = 100 * 1024, STEPS = 400, QUIET_TURNS_MAX = 200000 };

struct value_model {
    bool there;
    size_t len;
    char bytes[VALUE_MAX];
};

struct client {
    struct sim_client *end;
    unsigned id, generation;
    char *expected;
    size_t expected_len, expected_cap, matched;
    struct value_model keys[KEYS];
    bool lost; /* a reset: what was in flight may or may not have happened */
};

static struct sim_world w;
static unsigned clients;
static bool resets;
static bool
    no_memory; /* allocations fail now and then: replies may be errors, connections may end */
static struct client client[CLIENTS_MAX];
static struct sim_client *watcher; /* runs MONITOR, or NULL */
static uint64_t watched_bytes, bytes_compared;

static _Noreturn void fail(const char *what) {
    sim_world_fail(&w, what);
}

static uint64_t below(uint64_t n) {
    return sim_world_below(&w, n);
}

/* --- the model's side --- */

static void expect(struct client *c, const char *bytes, size_t len) {
    if (c->expected_len + len > c->expected_cap) {
        c->expected_cap = 2 * (c->expected_len + len);
        c->expected = realloc(c->expected, c->expected_cap);
        if (c->expected == NULL)
            abort();
    }
    memcpy(c->expected + c->expected_len, bytes, len);
    c->expected_len += len;
}

static void expect_text(struct client *c, const char *text) {
    expect(c, text, strlen(text));
}

static void expect_int(struct client *c, long v) {
    char text[32];
    (void)snprintf(text, sizeof text, ":%ld\r\n", v);
    expect_text(c, text);
}

static void expect_head(struct client *c, unsigned n) {
    char text[32];
    (void)snprintf(text, sizeof text, "*%u\r\n", n);
    expect_text(c, text);
}

static void expect_bulk(struct client *c, const struct value_model *v) {
    char head[32];
    if (!v->there) {
        expect_text(c, "$-1\r\n");
        return;
    }
    (void)snprintf(head, sizeof head, "$%zu\r\n", v->len);
    expect_text(c, head);
    expect(c, v->bytes, v->len);
    expect_text(c, "\r\n");
}

/* --- sending --- */

static char request[2 * VALUE_MAX];
static size_t request_len;

static void begin(unsigned argc) {
    request_len += (size_t)snprintf(request + request_len, 32, "*%u\r\n", argc);
}

static void arg(const char *bytes, size_t len) {
    request_len += (size_t)snprintf(request + request_len, 32, "$%zu\r\n", len);
    memcpy(request + request_len, bytes, len);
    memcpy(request + request_len + len, "\r\n", 2);
    request_len += len + 2;
}

static void word(const char *text) {
    arg(text, strlen(text));
}

static void key_arg(const struct client *c, unsigned k) {
    char key[64];
    arg(key, (size_t)snprintf(key, sizeof key, "c%u.%u:%u", c->id, c->generation, k));
}

static void flush_request(struct client *c) {
    /* A client that was reset learns it when it reads. */
    (void)sim_client_write(c->end, request, request_len);
    request_len = 0;
}

static size_t random_value(char *to) {
    static const size_t sizes[] = {0, 1, 10, 44, 45, 100, 1000, 1023, 1024, 5000, 16384, 40000};
    size_t len = below(40) == 0 ? below(VALUE_MAX) : sizes[below(COUNT_OF(sizes))];
    if (len > 5000 && below(4) != 0)
        len = below(64);
    for (size_t i = 0; i < len; i++)
        to[i] = (char)('a' + (char)((i * 7 + len) % 26));
    if (len != 0)
        to[0] = (char)('A' + (char)below(26));
    return len;
}

static void send_set(struct client *c, unsigned k) {
    struct value_model *v = &c->keys[k];
    char *bytes = malloc(VALUE_MAX);
    if (bytes == NULL)
        abort();
    size_t len = random_value(bytes);
    unsigned kind = (unsigned)below(4); /* plain, NX, XX, GET */
    static const char *const words[] = {NULL, "NX", "XX", "GET"};
    begin(kind == 0 ? 3 : 4);
    word("SET");
    key_arg(c, k);
    arg(bytes, len);
    if (kind != 0)
        word(words[kind]);
    bool stores = kind == 0 || kind == 3 || (kind == 1) != v->there;
    if (kind == 3)
        expect_bulk(c, v);
    else
        expect_text(c, stores ? "+OK\r\n" : "$-1\r\n");
    if (stores) {
        v->there = true;
        v->len = len;
        memcpy(v->bytes, bytes, len);
    }
    free(bytes);
}

static void send_append(struct client *c, unsigned k) {
    struct value_model *v = &c->keys[k];
    char bytes[300];
    size_t len = below(sizeof bytes), old = v->there ? v->len : 0;
    if (old + len > VALUE_MAX)
        return;
    memset(bytes, 'x', len);
    begin(3);
    word("APPEND");
    key_arg(c, k);
    arg(bytes, len);
    memcpy(v->bytes + old, bytes, len);
    v->len = old + len;
    v->there = true;
    expect_int(c, (long)v->len);
}

static void send_delete(struct client *c, unsigned k) {
    bool get = below(2) == 0;
    begin(2);
    word(get ? "GETDEL" : "DEL");
    key_arg(c, k);
    if (get)
        expect_bulk(c, &c->keys[k]);
    else
        expect_int(c, c->keys[k].there);
    c->keys[k].there = false;
    c->keys[k].len = 0;
}

static void send_look(struct client *c, unsigned k) {
    static const char *const names[] = {"GET", "STRLEN", "EXISTS", "GET", "TTL"};
    unsigned kind = (unsigned)below(COUNT_OF(names));
    const struct value_model *v = &c->keys[k];
    begin(2);
    word(names[kind]);
    key_arg(c, k);
    if (kind == 1)
        expect_int(c, v->there ? (long)v->len : 0);
    else if (kind == 2)
        expect_int(c, v->there);
    else if (kind == 4)
        expect_int(c, v->there ? -1 : -2);
    else
        expect_bulk(c, v);
}

static void send_range(struct client *c, unsigned k) {
    struct value_model *v = &c->keys[k];
    size_t at = below(2000);
    char bytes[200], number[32];
    size_t len = 1 + below(sizeof bytes - 1), old = v->there ? v->len : 0;
    memset(bytes, 'r', len);
    begin(4);
    word("SETRANGE");
    key_arg(c, k);
    (void)snprintf(number, sizeof number, "%zu", at);
    word(number);
    arg(bytes, len);
    if (at > old)
        memset(v->bytes + old, 0, at - old);
    memcpy(v->bytes + at, bytes, len);
    v->there = true;
    v->len = at + len > old ? at + len : old;
    expect_int(c, (long)v->len);
}

static void send_local(struct client *c) {
    begin(2);
    word("ECHO");
    word("hello");
    expect_text(c, "$5\r\nhello\r\n");
    if (below(4) == 0) {
        request_len += (size_t)snprintf(request + request_len, 32, "PING\r\n");
        expect_text(c, "+PONG\r\n");
    }
    if (below(8) == 0) {
        begin(1);
        word("NOSUCH");
        expect_text(c, "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
    }
    if (below(8) == 0) {
        begin(2);
        word("SELECT");
        word("0");
        expect_text(c, "+OK\r\n");
    }
}

/* send_quiet: replies that are not sent, and commands that have to wait for a moment. */
static void send_quiet(struct client *c) {
    static const char *const modes[] = {"WRITE", "ALL"};
    char ms[8];
    begin(3);
    word("CLIENT");
    if (below(2) == 0) {
        word("REPLY");
        word("SKIP");
        begin(2);
        word("ECHO");
        word("unheard");
        return;
    }
    if (below(4) == 0) {
        word("REPLY");
        word("OFF");
        begin(1);
        word(below(2) == 0 ? "DBSIZE" : "PING");
        begin(3);
        word("CLIENT");
        word("REPLY");
        word("ON");
        expect_text(c, "+OK\r\n");
        return;
    }
    if (below(3) == 0) {
        word("PAUSE");
        (void)snprintf(ms, sizeof ms, "%u", (unsigned)below(4));
        word(ms);
        expect_text(c, "+OK\r\n");
        return;
    }
    word("SETNAME");
    word(modes[below(2)]);
    expect_text(c, "+OK\r\n");
    begin(4);
    word("CLIENT");
    word("PAUSE");
    word("2");
    word(modes[below(2)]);
    expect_text(c, "+OK\r\n");
    begin(2);
    word("CLIENT");
    word("UNPAUSE");
    expect_text(c, "+OK\r\n");
}

/* send_all: commands that every shard takes part in; only a lonely client knows the answer. */
static void send_all(struct client *c) {
    unsigned keys = 0;
    for (unsigned k = 0; k < KEYS; k++)
        keys += c->keys[k].there;
    if (below(3) == 0) {
        begin(1);
        word("FLUSHALL");
        expect_text(c, "+OK\r\n");
        memset(c->keys, 0, sizeof c->keys);
        return;
    }
    begin(1);
    word("DBSIZE");
    expect_int(c, (long)keys);
}

/* send_multi: MULTI with a few of the commands above, whose replies come with EXEC. */
static void send_multi(struct client *c) {
    unsigned n = 1 + (unsigned)below(4);
    begin(1);
    word("MULTI");
    expect_text(c, "+OK\r\n");
    for (unsigned i = 0; i < n; i++)
        expect_text(c, "+QUEUED\r\n");
    expect_head(c, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned k = (unsigned)below(KEYS);
        static void (*const send[])(struct client * c, unsigned k) = {send_set, send_delete,
                                                                      send_look, send_range};
        send[below(COUNT_OF(send))](c, k);
    }
    begin(1);
    word("EXEC");
}

static void send_many_set(struct client *c, unsigned from, unsigned n) {
    begin(1 + 2 * n);
    word("MSET");
    for (unsigned i = 0; i < n; i++) {
        struct value_model *v = &c->keys[(from + i) % KEYS];
        key_arg(c, (from + i) % KEYS);
        v->there = true;
        v->len = below(60);
        memset(v->bytes, 'm', v->len);
        arg(v->bytes, v->len);
    }
    expect_text(c, "+OK\r\n");
}

static void send_rename(struct client *c, unsigned from, unsigned to) {
    struct value_model *a = &c->keys[from], *b = &c->keys[to];
    begin(3);
    word("RENAME");
    key_arg(c, from);
    key_arg(c, to);
    expect_text(c, a->there ? "+OK\r\n" : "-ERR no such key\r\n");
    if (!a->there || from == to)
        return;
    *b = *a;
    a->there = false;
    a->len = 0;
}

/* send_across: keys of several shards in one command. */
static void send_across(struct client *c) {
    unsigned from = (unsigned)below(KEYS), n = 2 + (unsigned)below(4), there = 0;
    unsigned kind = (unsigned)below(4);
    if (kind == 0) {
        send_many_set(c, from, n);
        return;
    }
    if (kind == 1) {
        send_rename(c, from, (from + n) % KEYS);
        return;
    }
    begin(1 + n);
    word(kind == 2 ? "MGET" : "DEL");
    if (kind == 2)
        expect_head(c, n);
    for (unsigned i = 0; i < n; i++) {
        struct value_model *v = &c->keys[(from + i) % KEYS];
        key_arg(c, (from + i) % KEYS);
        if (kind == 2) {
            expect_bulk(c, v);
            continue;
        }
        there += v->there;
        v->there = false;
        v->len = 0;
    }
    if (kind == 3)
        expect_int(c, there);
}

static void send_some(struct client *c) {
    unsigned count = below(10) == 0 ? 150 : 1 + (unsigned)below(8);
    for (unsigned i = 0; i < count && request_len < sizeof request / 4; i++) {
        unsigned k = (unsigned)below(KEYS);
        switch (below(clients == 1 && !resets ? 11 : 10)) {
        case 0:
        case 1:
            send_set(c, k);
            break;
        case 2:
            send_append(c, k);
            break;
        case 3:
            send_delete(c, k);
            break;
        case 4:
            send_range(c, k);
            break;
        case 5:
            if (below(6) == 0)
                send_quiet(c);
            else
                send_local(c);
            break;
        case 8:
            send_across(c);
            break;
        case 9:
            send_multi(c);
            break;
        case 10:
            send_all(c);
            break;
        default:
            send_look(c, k);
        }
    }
    flush_request(c);
}

/* --- the server's side --- */

static void client_connect(struct client *c) {
    c->end = sim_world_connect(&w);
    c->expected_len = c->matched = 0;
    c->lost = false;
}

static void client_read(struct client *c) {
    char bytes[4096];
    for (;;) {
        ssize_t n = sim_client_read(c->end, bytes, 1 + below(sizeof bytes));
        if (n == 0)
            return;
        if (n < 0) {
            if (!sim_client_was_reset(c->end) && !no_memory)
                fail("the server closed a connection");
            c->lost = true;
            return;
        }
        if (no_memory)
            continue;
        if (c->matched + (size_t)n > c->expected_len && sim_verbose)
            (void)printf("expected %zu, have %zu, got %zd: %.*s\n", c->expected_len, c->matched, n,
                         (int)n, bytes);
        if (c->matched + (size_t)n > c->expected_len)
            fail("more was answered than was asked");
        if (memcmp(bytes, c->expected + c->matched, (size_t)n) != 0) {
            size_t at = 0;
            while (bytes[at] == c->expected[c->matched + at])
                at++;
            size_t from = at < 60 ? 0 : at - 60;
            (void)printf("byte %zu; got:\n%.*s\nexpected:\n%.*s\n", c->matched + at,
                         (int)((size_t)n - from < 120 ? (size_t)n - from : 120), bytes + from, 120,
                         c->expected + c->matched + from);
            fail("a wrong reply");
        }
        c->matched += (size_t)n;
        bytes_compared += (uint64_t)n;
    }
}

/* A reset client goes on with fresh keys: its old ones are in an unknown state. */
static void client_renew(struct client *c) {
    sim_client_free(c->end);
    memset(c->keys, 0, sizeof c->keys);
    c->generation++;
    client_connect(c);
}

/* watcher_read: what it sees depends on the order of turns, so it is only counted. */
static void watcher_read(void) {
    char bytes[8192];
    for (ssize_t n; watcher != NULL && (n = sim_client_read(watcher, bytes, sizeof bytes)) > 0;)
        watched_bytes += (uint64_t)n;
}

static void step(void) {
    if (below(4) == 0)
        watcher_read();
    unsigned what = (unsigned)below(10);
    struct client *c = &client[below(clients)];
    if (what < 6) {
        (void)sim_world_turn(&w, (unsigned)below(w.n));
    } else if (what < 8) {
        client_read(c);
        if (c->lost)
            client_renew(c);
    } else if (what == 8 && c->expected_len - c->matched < 400000) {
        send_some(c);
    } else if (what == 9 && below(4) == 0) {
        sim_advance(w.net, below(3000000));
    }
    if (resets && below(300) == 0)
        sim_client_reset(c->end);
    if (no_memory && below(10) == 0)
        shards_get(w.shards, (unsigned)below(w.n))->mem.fail_in = 1 + below(40);
}

static bool all_answered(void) {
    bool all = true;
    watcher_read();
    for (unsigned i = 0; i < clients; i++) {
        struct client *c = &client[i];
        client_read(c);
        if (c->lost)
            client_renew(c);
        all = all && c->matched == c->expected_len;
    }
    return all;
}

/* settle: no new requests; everything must be answered in a bounded number of turns. */
static void settle(void) {
    sim_world_no_faults(&w);
    for (unsigned turns = 0; !all_answered(); turns++) {
        sim_world_round(&w);
        if (turns == QUIET_TURNS_MAX)
            fail("not everything was answered");
    }
}

/* expire: a key with a time to live is there before its time, and not after, whether or not anybody looks. */
static void expire(void) {
    struct client *c = &client[0];
    begin(5);
    word("SET");
    key_arg(c, 0);
    word("soon gone");
    word("PX");
    word("50");
    expect_text(c, "+OK\r\n");
    begin(2);
    word("PERSIST");
    key_arg(c, 1);
    expect_int(c, 0);
    flush_request(c);
    settle();
    sim_advance(w.net, 52000000);
    begin(2);
    word(below(2) == 0 ? "GET" : "GETDEL");
    key_arg(c, 0);
    expect_text(c, "$-1\r\n");
    c->keys[0].there = false;
    c->keys[0].len = 0;
    flush_request(c);
    settle();
}

/* expire_many: keys that nobody looks at again are gone a second after their time, in the server's own time. */
static ON_SHARD void expire_many(void) {
    enum { MANY = 3000 };
    struct client *c = &client[0];
    char key[32];
    for (unsigned i = 0; i < MANY; i++) {
        begin(5);
        word("SET");
        arg(key, (size_t)snprintf(key, sizeof key, "many:%u", i));
        word("v");
        word("PX");
        word("300");
        expect_text(c, "+OK\r\n");
        if (i % 500 == 499)
            flush_request(c);
    }
    settle();
    for (unsigned ms = 0; ms < 1300; ms += 10) {
        sim_advance(w.net, 10000000);
        for (unsigned i = 0; i < w.n; i++)
            (void)sim_world_turn(&w, i);
    }
    for (unsigned i = 0; i < w.n; i++) {
        const struct table *t = keyspace_peek_table(shards_get(w.shards, i)->keyspace, 0);
        if (t != NULL && table_expires(t) != 0)
            fail("keys are still there a second after their time");
    }
}

static void begin_seed(uint64_t seed) {
    sim_world_begin(&w, seed);
    memset(client, 0, sizeof client);
    watcher = NULL;
    watched_bytes = 0;
    clients = 1 + (unsigned)below(CLIENTS_MAX);
    resets = below(3) == 0;
    no_memory = below(5) == 0;
    for (unsigned i = 0; i < clients; i++) {
        client[i].id = i;
        client_connect(&client[i]);
    }
    if (below(3) == 0) {
        watcher = sim_world_connect(&w);
        (void)sim_client_write(watcher, "MONITOR\r\n", 9);
    }
    sim_world_faults(&w);
}

static void watcher_end(void) {
    if (watcher == NULL)
        return;
    sim_world_quiet(&w);
    watcher_read();
    if (!resets && !no_memory && watched_bytes < 5)
        fail("MONITOR shows nothing");
    sim_client_free(watcher);
}

static void end_seed(void) {
    watcher_end();
    for (unsigned i = 0; i < clients; i++) {
        sim_client_free(client[i].end);
        free(client[i].expected);
    }
    sim_world_quiet(&w);
    sim_world_end(&w);
}

/* recover: memory is back; a client that was cut off comes again, and all is as with a new server. */
static void recover(void) {
    if (watcher != NULL)
        sim_client_free(watcher);
    watcher = NULL;
    for (unsigned i = 0; i < w.n; i++)
        shards_get(w.shards, i)->mem.fail_in = 0;
    for (unsigned i = 0; i < clients; i++) {
        sim_client_free(client[i].end);
        client[i].end = NULL;
    }
    sim_world_quiet(&w);
    no_memory = false;
    for (unsigned i = 0; i < clients; i++) {
        memset(client[i].keys, 0, sizeof client[i].keys);
        client[i].generation++;
        client_connect(&client[i]);
    }
    if (clients == 1) {
        begin(1);
        word("FLUSHALL");
        expect_text(&client[0], "+OK\r\n");
        flush_request(&client[0]);
    }
    for (unsigned i = 0; i < STEPS / 4; i++)
        step();
}

static void run_seed(uint64_t seed) {
    shard_claim();
    begin_seed(seed);
    for (unsigned i = 0; i < STEPS; i++)
        step();
    if (no_memory)
        recover();
    settle();
    expire();
    if (seed % 64 == 0)
        expire_many();
    end_seed();
}

static bool reached(uint64_t seeds) {
    (void)printf("%lu reply bytes compared, %lu messages, %lu borrowings\n",
                 (unsigned long)bytes_compared, (unsigned long)sim_totals.messages,
                 (unsigned long)sim_totals.borrows);
    return seeds < 20 ||
           (bytes_compared != 0 && sim_totals.messages != 0 && sim_totals.borrows != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, NULL, reached);
}
