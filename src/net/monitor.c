/* monitor.c: MONITOR: a line for each command, from the shard that runs it to the connections that watch.
 *
 * A shard writes the lines of a turn one behind the other and sends them, at the end of the turn, to each
 * shard that has monitors, by one message: so the order per shard is the order in which commands ran. When
 * nobody watches, a part of a batch costs one load. Lines that a shard cannot hold are dropped and counted.
 */
#include "net_impl.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <stdio.h>

enum { SEEN_BYTES_MAX = 64 << 20 }; /* of lines, waiting and on their way from one shard */

/* Lines on their way to one shard. */
struct lines {
    struct bus_msg msg;
    struct net *from;
    size_t len;
    char text[];
};

/* --- the line --- */

/* escape: how a byte is shown that cannot stand for itself; 0 bytes: it can. */
static size_t escape(unsigned char ch, char *to) {
    static const char named[] = "\\\\\"\"\nn\rr\tt\aa\bb", hex[] = "0123456789abcdef";
    if (ch >= ' ' && ch <= '~' && ch != '\\' && ch != '"')
        return 0;
    to[0] = '\\';
    for (size_t k = 0; k < sizeof named - 1; k += 2) {
        if ((unsigned char)named[k] == ch) {
            to[1] = named[k + 1];
            return 2;
        }
    }
    to[1] = 'x';
    to[2] = hex[ch >> 4];
    to[3] = hex[ch & 15];
    return 4;
}

static void add_quoted(struct outbuf *out, struct span s) {
    size_t plain = 0; /* where the bytes begin that are still to be copied */
    outbuf_add(out, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        char text[4];
        size_t n = escape((unsigned char)s.ptr[i], text);
        if (n == 0)
            continue;
        outbuf_add(out, s.ptr + plain, i - plain);
        outbuf_add(out, text, n);
        plain = i + 1;
    }
    outbuf_add(out, s.ptr + plain, s.len - plain);
    outbuf_add(out, "\"", 1);
}

void monitor_show(struct net *n, const struct conn *from, const struct op *op, uint32_t db) {
    char head[NET_ADDRESS_BYTES + 64], address[NET_ADDRESS_BYTES];
    if (op->cmd->flags & (CMD_ADMIN | CMD_SKIP_MONITOR))
        return;
    if (n->seen.len + n->seen_bytes_out > SEEN_BYTES_MAX) {
        n->stats.monitor_lost++;
        return;
    }
    int64_t now_us = clock_wall_us();
    if (from->is_unix) /* the path alone, without the port that CLIENT LIST shows */
        (void)snprintf(address, sizeof address, "unix:%s", n->shared->config->unixsocket);
    else
        conn_address(from, address, sizeof address);
    int len = snprintf(head, sizeof head, "+%ld.%06ld [%u %s]", (long)(now_us / 1000000),
                       (long)(now_us % 1000000), db, address);
    outbuf_add(&n->seen, head, len < (int)sizeof head ? (size_t)len : sizeof head - 1);
    for (uint32_t i = 0; i < op->argc; i++) {
        outbuf_add(&n->seen, " ", 1);
        if (observe_redacts(op->cmd, op->argv, op->argc, i))
            outbuf_add(&n->seen, "\"(redacted)\"", 12);
        else
            add_quoted(&n->seen, op->argv[i]);
    }
    outbuf_add(&n->seen, "\r\n", 2);
}

/* --- from shard to shard --- */

static ON_SHARD void deliver(struct net *n, const char *text, size_t len) {
    for (struct list *l = n->monitors.next; l != &n->monitors; l = l->next) {
        struct conn *c = CONTAINER_OF(l, struct conn, monitor);
        if (c->closing)
            continue;
        output_begin(c);
        outbuf_add(&c->out, text, len);
        conn_touch(c);
    }
}

static void lines_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    const struct lines *l = CONTAINER_OF(m, struct lines, msg);
    deliver(instance_of(at)->net, l->text, l->len);
}

static void lines_done(struct shard *home, struct bus_msg *m) {
    struct lines *l = CONTAINER_OF(m, struct lines, msg);
    l->from->seen_bytes_out -= l->len;
    mem_free(&home->mem, l, sizeof *l + l->len);
}

static ON_SHARD void post(struct net *n, unsigned to) {
    struct lines *l = mem_alloc(&n->shard->mem, sizeof *l + n->seen.len);
    if (l == NULL) {
        n->stats.monitor_lost++;
        return;
    }
    l->msg = (struct bus_msg){.run = lines_run, .done = lines_done, .to = (uint16_t)to};
    l->from = n;
    l->len = n->seen.len;
    memcpy(l->text, n->seen.buf, n->seen.len);
    n->seen_bytes_out += l->len;
    shard_post(n->shard, &l->msg);
}

void monitor_send(struct net *n) {
    if (likely(n->seen.len == 0 && !n->seen.failed))
        return;
    if (n->seen.failed)
        n->stats.monitor_lost++;
    unsigned shards = shards_count(n->shard->all);
    for (unsigned to = 0; to < shards && !n->seen.failed; to++) {
        if (atomic_load(&n->shared->monitors_at[to]) == 0)
            continue;
        if (to == n->shard->id)
            deliver(n, n->seen.buf, n->seen.len);
        else
            post(n, to);
    }
    n->seen.len = 0;
    if (n->seen.failed || n->seen.cap > NET_OUT_KEEP_BYTES)
        outbuf_deinit(&n->seen); /* which leaves it empty, ready to be used */
}

void monitor_trim(struct net *n) {
    if (!monitor_any(n) && n->seen.len == 0)
        outbuf_deinit(&n->seen);
}

/* --- who watches --- */

static void monitor_run(struct ctx *c) {
    struct conn *conn = conn_of_session(c->session);
    struct net_shared *shared = conn->net->shared;
    if (c->session->in_exec) {
        reply_error(&c->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if (!c->session->monitor) {
        c->session->monitor = true;
        list_add_tail(&conn->net->monitors, &conn->monitor);
        atomic_fetch_add(&shared->monitors_at[c->shard->id], 1);
        atomic_fetch_add(&shared->monitors, 1);
    }
    reply_ok(&c->reply);
}

void monitor_stop(struct conn *c) {
    if (!c->session.monitor)
        return;
    c->session.monitor = false;
    list_del(&c->monitor);
    atomic_fetch_sub(&c->net->shared->monitors, 1);
    atomic_fetch_sub(&c->net->shared->monitors_at[c->net->shard->id], 1);
}

static const struct command rows[] = {
    {"MONITOR", monitor_run, 1, NO_KEYS,
     CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME, ACL_ADMIN | ACL_DANGEROUS,
     "server", "1.0.0", "O(1)", "Shows every command that the server runs, as it runs."},
};

void monitor_register(void) {
    command_register(rows, COUNT_OF(rows));
}
