/* pause.c: CLIENT PAUSE, UNPAUSE and REPLY.
 *
 * A pause is a note on every shard; a connection that comes to a command which must wait stops reading
 * there. The reply to PAUSE is held back until what was under way before it, on any shard, has been done:
 * from then on nothing is written.
 */
#include "anax/words.h"
#include "net_impl.h"

#define GROUP "connection"
#define FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ACL   (ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS | ACL_CONNECTION)

enum { PAUSE_LOOK_MS = 1000000 }; /* a pause may last as long as the clock can count */

/* --- holding --- */

bool pause_holds(const struct conn *c, const struct command *cmd, bool writes) {
    const struct instance *in = c->net->instance;
    if (in->pause_until_ms <= c->net->shard->wall_ms)
        return false;
    return in->pause_all || writes || (cmd->flags & CMD_WRITE) != 0;
}

static void release_all(struct net *n) {
    while (!list_empty(&n->held)) {
        struct conn *c = CONTAINER_OF(n->held.next, struct conn, held);
        list_del(&c->held);
        conn_todo(c);
    }
}

static void pause_over(struct timer *t) {
    shard_claim();
    struct net *n = t->arg;
    int64_t left_ms = n->instance->pause_until_ms - loop_wall_ms(n->shard->loop);
    if (left_ms > 0) { /* it was made longer, or is longer than a timer can be */
        left_ms = left_ms < PAUSE_LOOK_MS ? left_ms : PAUSE_LOOK_MS;
        timer_set(n->shard->loop, t, n->shard->now_ns + (uint64_t)left_ms * 1000000ULL);
        return;
    }
    release_all(n);
}

void pause_start(struct net *n) {
    list_init(&n->held);
    n->pause_end.fire = pause_over;
    n->pause_end.arg = n;
}

void pause_hold(struct conn *c) {
    struct net *n = c->net;
    c->paused = true; /* what comes is kept and not parsed, so that the peer's end is seen */
    list_del(&c->held);
    list_add_tail(&n->held, &c->held);
    int64_t left_ms = n->instance->pause_until_ms - n->shard->wall_ms;
    left_ms = left_ms < PAUSE_LOOK_MS ? left_ms : PAUSE_LOOK_MS;
    uint64_t due_ns = n->shard->now_ns + (uint64_t)(left_ms > 1 ? left_ms : 1) * 1000000ULL;
    if (n->pause_end.due_ns == 0 || due_ns < n->pause_end.due_ns)
        timer_set(n->shard->loop, &n->pause_end, due_ns);
}

/* --- PAUSE and UNPAUSE --- */

static bool pause_parse(const struct ctx *c, int64_t *timeout_ms, bool *all) {
    *all = c->argc == 3 || span_is(c->argv[3], "all");
    return c->argc <= 4 && words_int(c->argv[2], timeout_ms) && *timeout_ms >= 0 &&
           *timeout_ms <= INT64_MAX - c->now_ms && (*all || span_is(c->argv[3], "write"));
}

static bool pause_check(struct ctx *c) {
    int64_t timeout_ms;
    bool all;
    if (pause_parse(c, &timeout_ms, &all))
        return true;
    if (c->argc > 4)
        reply_errorf(&c->reply,
                     "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT "
                     "HELP.",
                     (int)c->argv[1].len, c->argv[1].ptr);
    else if (c->argc == 4 && !all && !span_is(c->argv[3], "write"))
        reply_error(&c->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    else if (!words_int(c->argv[2], &timeout_ms))
        reply_error(&c->reply, "ERR timeout is not an integer or out of range");
    else
        reply_error(&c->reply,
                    timeout_ms < 0 ? "ERR timeout is negative" : "ERR timeout is out of range");
    return false;
}

/* pause_each: a pause never gets shorter or weaker by another one. Answers how many batches that write
 * have been under way since before. */
static ON_SHARD void pause_each(struct ctx *c) {
    struct instance *in = instance_of(c->shard);
    int64_t timeout_ms = 0, until_ms;
    bool all = false;
    (void)pause_parse(c, &timeout_ms, &all);
    until_ms = c->now_ms + timeout_ms;
    bool paused = in->pause_until_ms > c->now_ms;
    in->pause_all = all || (paused && in->pause_all);
    if (!paused || until_ms > in->pause_until_ms)
        in->pause_until_ms = until_ms;
    outbuf_add(c->reply.out, (const char *)&in->net->writes_out, sizeof in->net->writes_out);
}

static void pause_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        uint64_t under_way;
        memcpy(&under_way, parts[i]->buf, sizeof under_way);
        c->again |= under_way != 0 && !c->session->in_exec; /* which is under way itself */
    }
    if (!c->again)
        reply_ok(&c->reply);
}

static ON_SHARD void unpause_each(struct ctx *c) {
    struct instance *in = instance_of(c->shard);
    in->pause_until_ms = 0;
    release_all(in->net);
}

/* --- REPLY --- */

static void client_reply_run(struct ctx *c) {
    struct session *s = c->session;
    if (span_is(c->argv[2], "on")) {
        s->reply_off = s->reply_skip = false;
        reply_ok(&c->reply);
    } else if (span_is(c->argv[2], "off")) {
        s->reply_off = true;
    } else if (span_is(c->argv[2], "skip")) {
        s->reply_skip = !s->reply_off;
    } else if (!s->reply_off) {
        reply_error(&c->reply, ERR_SYNTAX);
    }
}

static const struct command rows[] = {
    {"CLIENT|PAUSE", NULL, -3, NO_KEYS, FLAGS | CMD_FANOUT, ACL, GROUP, "3.0.0", "O(1)",
     "Makes commands, or those that write, wait for a time.", .check = pause_check,
     .each = pause_each, .gather = pause_gather, .syntax = "timeout:integer [mode(WRITE|ALL)]"},
    {"CLIENT|UNPAUSE", NULL, 2, NO_KEYS, FLAGS | CMD_FANOUT, ACL, GROUP, "6.2.0",
     "O(N) where N is the number of connections that wait", "Ends the wait of CLIENT PAUSE.",
     .each = unpause_each, .gather = command_ok_gather},
    {"CLIENT|REPLY", client_reply_run, 3, NO_KEYS,
     CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME | CMD_ALONE, ACL_SLOW | ACL_CONNECTION,
     GROUP, "3.2.0", "O(1)", "Turns replies to the connection on or off, or skips one.",
     .syntax = "action(ON|OFF|SKIP)"},
};

void pause_register(void) {
    command_register(rows, COUNT_OF(rows));
}
