/* server_soon.c: clients that share keys which expire soon, in the middle of whatever happens to them.
 *
 * Every key is made whole, of three elements, with a few milliseconds to live. It may be gone at any time; so each request has a few
 * replies that are possible, and no other is: all of a key is there or nothing, and for one command, or in one EXEC,
 * on however many shards and over however many turns, no time passes.
 */
#include "server_impl.h"
#include <stdio.h>
#include <string.h>

enum { SOON_CLIENTS_MAX = 3, SOON_KEYS = 4, SAYS_MAX = 8, TEXT_MAX = 1024, WORD_BYTES = 200 };

/* The server looks for what has expired every 100 ms. */
static const unsigned times_ms[] = {1, 2, 3, 5, 8, 12, 95, 110};

/* $a, $b, $c are keys, $b unlike the others, and the letter before tells the type; $t is a time, $x, $y, $z are too long to lie in an entry. In `says` a
 * number is an integer, [n] an array of it, ok a status, nil a null; of MULTI it is what EXEC says. */
static const struct shape {
    const char *asks, *says[SAYS_MAX];
} shapes[] = {
    {"MULTI|DEL s$a|SADD s$a $x $y $z|PEXPIRE s$a $t|EXEC", {"0 3 1", "1 3 1"}},
    {"MULTI|DEL s$a|SADD s$a $x $y $z|PEXPIRE s$a $t|EXEC", {"0 3 1", "1 3 1"}},
    {"COPY s$a s$b REPLACE", {"0", "1"}},
    {"MULTI|SCARD s$a|COPY s$a s$b REPLACE|SCARD s$a|SCARD s$b|EXEC",
     {"3 1 3 3", "0 0 0 0", "0 0 0 3"}},
    {"MULTI|SCARD s$a|COPY s$a s$b|EXISTS s$b|COPY s$a s$b|EXEC",
     {"3 1 1 0", "3 0 1 0", "0 0 0 0", "0 0 1 0"}},
    {"COPY s$c s$b REPLACE|COPY s$a s$b|COPY s$a s$b",
     {"0 0 0", "1 0 0", "0 1 0", "1 1 0", "0 0 1", "1 0 1", "0 1 1", "1 1 1"}},
    {"SCARD s$a", {"0", "3"}},
    {"EXISTS s$a", {"0", "1"}},
    {"SUNIONSTORE s$b s$a s$c", {"0", "3"}},
    {"SINTERSTORE s$b s$a s$c", {"0", "3"}},
    {"MULTI|SCARD s$a|SUNIONSTORE s$b s$a s$a|SCARD s$a|SCARD s$b|PEXPIRE s$b $t|EXEC",
     {"3 3 3 3 1", "0 0 0 0 0"}},
    {"SINTERCARD 2 s$a s$b", {"0", "3"}},
    {"WATCH s$a|MULTI|COPY s$a s$b REPLACE|SCARD s$b|EXEC", {"1 3", "0 0", "0 3", "nil"}},
    {"MULTI|SORT s$a ALPHA STORE q$a|SCARD s$a|LLEN q$a|DEL q$a|EXEC", {"3 3 3 1", "0 0 0 0"}},
    {"MULTI|DEL h$a|HSET h$a f $x g $y i $z|HPEXPIRE h$a $t FIELDS 1 g|EXEC",
     {"0 3 [1]", "1 3 [1]"}},
    {"MULTI|DEL h$a|HSET h$a f $x g $y i $z|PEXPIRE h$a $t|EXEC", {"0 3 1", "1 3 1"}},
    {"MULTI|HEXISTS h$a g|COPY h$a h$b REPLACE|HEXISTS h$a g|HEXISTS h$b g|EXEC",
     {"1 1 1 1", "0 1 0 0", "0 0 0 0", "0 0 0 1"}},
    {"COPY h$a h$b REPLACE", {"0", "1"}},
    {"HEXISTS h$a g", {"0", "1"}},
    {"HDEL h$a g", {"0", "1"}},
    {"MULTI|DEL l$a|RPUSH l$a $x $y $x|PEXPIRE l$a $t|EXEC", {"0 3 1", "1 3 1"}},
    {"MULTI|LLEN l$a|LREM l$a 0 $x|LLEN l$a|DEL l$a|EXEC", {"3 2 1 1", "0 0 0 0"}},
    {"MULTI|COPY l$a l$b REPLACE|LLEN l$a|EXEC", {"1 3", "0 0"}},
    {"MULTI|DEL z$a|ZADD z$a 1 $x 2 $y 3 $z|PEXPIRE z$a $t|EXEC", {"0 3 1", "1 3 1"}},
    {"MULTI|ZCARD z$a|ZUNIONSTORE z$b 2 z$a z$a|ZCARD z$a|ZCARD z$b|PEXPIRE z$b $t|EXEC",
     {"3 3 3 3 1", "0 0 0 0 0"}},
    {"MULTI|ZCARD z$a|ZREMRANGEBYRANK z$a 0 1|ZCARD z$a|DEL z$a|EXEC", {"3 2 1 1", "0 0 0 0"}},
    {"MULTI|ZCARD z$a|ZRANGESTORE z$b z$a 0 -1|ZCARD z$b|DEL z$b|EXEC", {"3 3 3 1", "0 0 0 0"}},
};
static const struct shape cleaning = {
    "UNLINK s0 s1 s2 s3 q0 q1 q2 q3 h0 h1 h2 h3 l0 l1 l2 l3 z0 z1 z2 z3",
    {NULL}}; /* nobody knows how many are left */

static struct soon {
    struct sim_client *end;
    const struct shape *waits_for; /* or NULL */
    char text[TEXT_MAX];           /* what was sent, for whoever looks for the mistake */
    char in[TEXT_MAX];
    size_t len;
} clients[SOON_CLIENTS_MAX];
static unsigned count;
static struct sim_world *world;

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(world, n);
}

void server_soon_begin(struct sim_world *w, unsigned n) {
    world = w;
    count = n;
    memset(clients, 0, sizeof clients);
    for (unsigned i = 0; i < n; i++)
        clients[i].end = sim_world_connect(w);
}

static void ask(struct soon *c, const struct shape *s) {
    unsigned b = below(SOON_KEYS), key[] = {(b + 1 + below(SOON_KEYS - 1)) % SOON_KEYS, b,
                                            (b + 1 + below(SOON_KEYS - 1)) % SOON_KEYS};
    size_t n = 0;
    for (const char *p = s->asks; *p != 0; p++) {
        if (*p == '|') {
            n += (size_t)snprintf(c->text + n, TEXT_MAX - n, "\r\n");
        } else if (*p != '$') {
            c->text[n++] = *p;
        } else if (*++p >= 'x') {
            memset(c->text + n, *p, WORD_BYTES);
            n += WORD_BYTES;
        } else {
            unsigned v = *p == 't' ? times_ms[below(COUNT_OF(times_ms))] : key[*p - 'a'];
            n += (size_t)snprintf(c->text + n, TEXT_MAX - n, "%u", v);
        }
    }
    n += (size_t)snprintf(c->text + n, TEXT_MAX - n, "\r\n");
    c->waits_for = s;
    c->len = 0;
    (void)sim_client_write(c->end, c->text, n);
}

/* reply_of: one of those that are possible, byte by byte; returns its length. */
static size_t reply_of(const struct shape *s, const char *says, char *to) {
    size_t n = 0;
    unsigned words = 1, queued = 0;
    const char *body = strstr(s->asks, "MULTI|");
    for (const char *p = says; *p != 0; p++)
        words += *p == ' ';
    for (const char *p = body == NULL ? "" : body; *p != 0; p++)
        queued += *p == '|';
    if (body != NULL && body != s->asks)
        n += (size_t)snprintf(to + n, TEXT_MAX - n, "+OK\r\n"); /* to WATCH */
    if (body != NULL)
        n += (size_t)snprintf(to + n, TEXT_MAX - n, "+OK\r\n");
    for (unsigned i = 1; body != NULL && i < queued; i++)
        n += (size_t)snprintf(to + n, TEXT_MAX - n, "+QUEUED\r\n");
    if (strcmp(says, "nil") == 0)
        return n + (size_t)snprintf(to + n, TEXT_MAX - n, "*-1\r\n");
    if (body != NULL)
        n += (size_t)snprintf(to + n, TEXT_MAX - n, "*%u\r\n", words);
    for (const char *p = says; *p != 0; p += strcspn(p, " "), p += *p == ' ') {
        bool row = *p == '[';
        n += (size_t)snprintf(to + n, TEXT_MAX - n, "%s:%d\r\n", row ? "*1\r\n" : "", p[row] - '0');
    }
    return n;
}

/* heard: what came so far; true when it is all of a reply that is possible. */
static bool heard(const struct soon *c) {
    char reply[TEXT_MAX];
    bool possible = false;
    for (unsigned i = 0; i < SAYS_MAX && c->waits_for->says[i] != NULL; i++) {
        size_t len = reply_of(c->waits_for, c->waits_for->says[i], reply);
        if (len == c->len && memcmp(reply, c->in, len) == 0)
            return true;
        possible |= c->len < len && memcmp(reply, c->in, c->len) == 0;
    }
    if (c->waits_for == &cleaning)
        return c->in[c->len - 1] == '\n';
    if (!possible) {
        (void)printf("asked:\n%s\nheard:\n%.*s\n", c->text, (int)c->len, c->in);
        sim_world_fail(world, "a key that expires was there in part, or time passed in a command");
    }
    return false;
}

static bool hear(struct soon *c) {
    ssize_t n = sim_client_read(c->end, c->in + c->len, sizeof c->in - c->len);
    if (n < 0)
        sim_world_fail(world, "a connection was closed");
    c->len += (size_t)n;
    if (n > 0 && heard(c))
        c->waits_for = NULL;
    return c->waits_for == NULL;
}

void server_soon_step(void) {
    if (count == 0)
        return;
    struct soon *c = &clients[below(count)];
    if (c->waits_for != NULL && !hear(c))
        return;
    ask(c, &shapes[below(COUNT_OF(shapes))]);
}

bool server_soon_answered(void) {
    bool all = true;
    for (unsigned i = 0; i < count; i++)
        all = (clients[i].waits_for == NULL || hear(&clients[i])) && all;
    return all;
}

void server_soon_clean(void) {
    if (count != 0)
        ask(&clients[0], &cleaning);
}

void server_soon_end(void) {
    for (unsigned i = 0; i < count; i++)
        sim_client_free(clients[i].end);
    count = 0;
}
