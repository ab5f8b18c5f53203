/* client_list.c: CLIENT LIST, INFO, KILL and UNBLOCK: connections looked at from other connections. */
#include "anax/words.h"
#include "client_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define GROUP "connection"
#define FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ACL   (ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS | ACL_CONNECTION)

/* --- a connection --- */

void client_laddr(const struct conn *c, char *text, size_t size) {
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    if (c->is_unix) {
        conn_address(c, text, size); /* both ends have the socket's name */
        return;
    }
    if (getsockname(c->stream.fd, (struct sockaddr *)&sa, &len) != 0)
        sa.ss_family = AF_UNSPEC;
    net_address((const struct sockaddr *)&sa, text, size);
}

static int64_t seconds_since(const struct conn *c, uint64_t then_ns) {
    uint64_t now = c->net->shard->now_ns;
    return now > then_ns ? (int64_t)((now - then_ns) / 1000000000ULL) : 0;
}

int64_t client_age_s(const struct conn *c) {
    return seconds_since(c, c->created_ns);
}

int64_t client_idle_s(const struct conn *c) {
    return seconds_since(c, c->active_ns);
}

/* client_flags: in Redis's order. "A" is not among them: whoever has to go at once is not listed any more. */
void client_flags(const struct conn *c, char *text) {
    const struct {
        bool on;
        char letter;
    } flags[] = {{c->session.monitor, 'O'},
                 {c->body != NULL || c->session.in_exec, 'x'},
                 {!list_empty(&c->held), 'b'},
                 {c->closing, 'c'},
                 {c->is_unix, 'U'},
                 {c->session.no_evict, 'e'},
                 {c->session.no_touch, 'T'}};
    static_assert(COUNT_OF(flags) <= CLIENT_LETTERS_MAX, "all of them fit");
    char *end = text;
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        if (flags[i].on)
            *end++ = flags[i].letter;
    if (end == text)
        *end++ = 'N';
    *end = '\0';
}

const char *client_capa(const struct conn *c) {
    return c->session.capa_redirect ? "r" : "";
}

/* Bytes that a connection's input takes: waiting, unused, and in arguments that came on their own. */
struct input_use {
    size_t waiting, unused, args;
};

static struct input_use input_use(const struct conn *c) {
    const struct partial *pt = c->partial;
    if (pt == NULL)
        return (struct input_use){0};
    struct input_use use = {pt->in->len - pt->start, pt->in->cap - pt->in->len, 0};
    for (uint32_t i = 0; i < pt->big_count; i++)
        use.args += pt->bigs[i].blob->cap;
    return use;
}

static size_t text_bytes(const char *text) {
    return text == NULL ? 0 : strlen(text) + 1;
}

static size_t total_bytes(const struct conn *c, const struct input_use *in) {
    const struct session *s = &c->session;
    size_t parser = c->partial == NULL ? 0 : c->partial->parser.args_cap * sizeof(struct resp_arg);
    return sizeof *c + parser + in->waiting + in->unused + in->args + c->out.held +
           c->out.ref_cap * sizeof *c->out.refs + c->batches * sizeof(struct batch) +
           exec_bytes(c) + text_bytes(s->name) + text_bytes(s->lib_name) + text_bytes(s->lib_ver);
}

struct client_use client_use(const struct conn *c) {
    struct input_use in = input_use(c);
    return (struct client_use){in.waiting + in.unused + in.args + exec_bytes(c), c->out.held,
                               total_bytes(c, &in)};
}

/* add_text: what a client named, as long as it likes. */
static void add_text(struct outbuf *out, const char *field, const char *text) {
    outbuf_printf(out, " %s=", field);
    if (text != NULL)
        outbuf_add(out, text, strlen(text));
}

/* queued: the commands of MULTI; -1: there is none. */
static long queued(const struct conn *c) {
    if (c->session.in_exec)
        return c->exec_count;
    return c->body == NULL ? -1 : (long)c->body->op_count;
}

/* client_describe: the line of Redis 8, and `capa` of Valkey. What does not exist here yet has the value of
 * a connection that does not use it. */
void client_describe(const struct conn *c, struct outbuf *out) {
    char addr[NET_ADDRESS_BYTES], laddr[NET_ADDRESS_BYTES], flags[CLIENT_LETTERS_MAX + 1];
    char cmd[COMMAND_NAME_MAX + 1] = "NULL";
    const struct session *s = &c->session;
    struct input_use in = input_use(c);
    size_t own = c->out.len - c->out_sent, unsent = output_bytes(c);
    conn_address(c, addr, sizeof addr);
    client_laddr(c, laddr, sizeof laddr);
    client_flags(c, flags);
    if (c->last_cmd != NULL)
        command_name_lower(c->last_cmd, cmd);
    outbuf_printf(out, "id=%lu addr=%s laddr=%s fd=%d", (unsigned long)s->id, addr, laddr,
                  c->stream.fd);
    add_text(out, "name", s->name);
    outbuf_printf(out, " age=%ld idle=%ld flags=%s db=%u sub=0 psub=0 ssub=0 multi=%ld watch=%u",
                  (long)client_age_s(c), (long)client_idle_s(c), flags, s->db, queued(c),
                  c->watch_count);
    outbuf_printf(out, " qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=%zu rbp=%zu",
                  in.waiting, in.unused, in.args, exec_bytes(c), c->out.held, c->out.held);
    outbuf_printf(out, " obl=%zu oll=%u omem=%zu tot-mem=%zu", own, c->out.ref_count - c->refs_sent,
                  unsent, total_bytes(c, &in) + unsent - own);
    outbuf_printf(out, " events=%s%s cmd=%s user=default redir=-1 resp=%u", c->paused ? "" : "r",
                  c->want_write ? "w" : "", cmd, s->proto);
    add_text(out, "lib-name", s->lib_name);
    add_text(out, "lib-ver", s->lib_ver);
    outbuf_printf(out, " io-thread=%u tot-net-in=%lu tot-net-out=%lu tot-cmds=%lu capa=%s\n",
                  c->net->shard->id, (unsigned long)c->bytes_in, (unsigned long)c->bytes_out,
                  (unsigned long)c->commands, client_capa(c));
}

static void client_info_run(struct ctx *c) {
    struct outbuf text;
    outbuf_init(&text, &c->shard->mem);
    client_describe(conn_of_session(c->session), &text);
    ctx_reply_text(c, &text);
}

/* --- over all shards --- */

/* next_conn: the one behind `after`, or the first. Those that are gone but for their end are passed over. */
static struct conn *next_conn(const struct net *n, const struct conn *after) {
    struct list *l = after == NULL ? n->conns.next : after->link.next;
    for (; l != &n->conns; l = l->next) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (!c->broken)
            return c;
    }
    return NULL;
}

/* passed_error: a shard that could not answer has replied why. */
static bool passed_error(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->len != 0 && parts[i]->buf[0] == '-') {
            outbuf_add(c->reply.out, parts[i]->buf, parts[i]->len);
            return true;
        }
    }
    return false;
}

static bool filter_check(struct ctx *c, bool killing) {
    struct client_filter f;
    bool ok = client_filter_parse(c, killing, &f);
    if (ok)
        client_filter_free(c, &f);
    return ok;
}

/* --- LIST --- */

static bool client_list_check(struct ctx *c) {
    return filter_check(c, false);
}

static ON_SHARD void client_list_each(struct ctx *c) {
    struct client_filter f;
    const struct net *n = instance_of(c->shard)->net;
    if (!client_filter_parse(c, false, &f))
        return;
    for (struct conn *conn = NULL; (conn = next_conn(n, conn)) != NULL;)
        if (client_filter_matches(&f, conn, c->client_id))
            client_describe(conn, c->reply.out);
    client_filter_free(c, &f);
}

/* line_id: of the line that begins at `at`; UINT64_MAX at the end. */
static uint64_t line_id(const struct outbuf *part, size_t at) {
    enum { BEHIND_NAME = 3 }; /* "id=" */
    return at == part->len ? UINT64_MAX : strtoull(part->buf + at + BEHIND_NAME, NULL, 10);
}

/* merge: the lines of all shards by id, which is the order in which clients came. A shard's own lines are
 * in that order, because its connections come to it in the order in which they were accepted. */
static void merge(struct outbuf *text, struct outbuf *const *parts, unsigned n) {
    size_t at[SHARDS_MAX] = {0};
    uint64_t next[SHARDS_MAX];
    ASSERT(n > 0);
    for (unsigned i = 0; i < n; i++)
        next[i] = line_id(parts[i], 0);
    for (;;) {
        unsigned first = 0;
        for (unsigned i = 1; i < n; i++)
            if (next[i] < next[first])
                first = i;
        if (next[first] == UINT64_MAX)
            return;
        const char *line = parts[first]->buf + at[first];
        const char *end = memchr(line, '\n', parts[first]->len - at[first]);
        ASSERT(end != NULL);
        outbuf_add(text, line, (size_t)(end + 1 - line));
        at[first] += (size_t)(end + 1 - line);
        next[first] = line_id(parts[first], at[first]);
    }
}

static void client_list_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct outbuf text;
    if (passed_error(c, parts, n))
        return;
    outbuf_init(&text, &c->shard->mem);
    merge(&text, parts, n);
    ctx_reply_text(c, &text);
}

/* --- KILL --- */

static bool client_kill_check(struct ctx *c) {
    return filter_check(c, true);
}

/* kill_one: this may be a borrowed shard: what needs the owner is done at the end of its turn. */
static void kill_one(struct conn *conn, uint64_t me) {
    if (conn->session.id != me) {
        conn_break(conn);
        return;
    }
    conn->closing = true; /* no more commands; the reply to this one still leaves */
    conn_touch(conn);
}

static ON_SHARD void client_kill_each(struct ctx *c) {
    struct client_filter f;
    const struct net *n = instance_of(c->shard)->net;
    int64_t killed = 0;
    if (!client_filter_parse(c, true, &f))
        return;
    for (struct conn *conn = NULL; (conn = next_conn(n, conn)) != NULL;) {
        if (client_filter_matches(&f, conn, c->client_id)) {
            kill_one(conn, c->client_id);
            killed++;
        }
    }
    client_filter_free(c, &f);
    reply_int(&c->reply, killed);
}

static int64_t sum(struct outbuf *const *parts, unsigned n) {
    int64_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += strtol(parts[i]->buf + 1, NULL, 10); /* ":3\r\n" */
    return total;
}

static void client_kill_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    bool old_form = c->argc == 3;
    if (passed_error(c, parts, n))
        return;
    int64_t killed = sum(parts, n);
    if (!old_form)
        reply_int(&c->reply, killed);
    else if (killed == 0)
        reply_error(&c->reply, "ERR No such client");
    else
        reply_ok(&c->reply);
}

/* --- UNBLOCK --- */

static bool client_unblock_check(struct ctx *c) {
    int64_t id;
    if (c->argc > 4)
        reply_error(&c->reply, "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. "
                               "Try CLIENT HELP.");
    else if (c->argc == 4 && !span_is(c->argv[3], "timeout") && !span_is(c->argv[3], "error"))
        reply_error(&c->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    else if (!words_int(c->argv[2], &id))
        reply_error(&c->reply, ERR_NOT_INT);
    else
        return true;
    return false;
}

/* blocked: does it wait for a key? No command makes it wait yet. */
static bool blocked(const struct conn *conn) {
    (void)conn;
    return false;
}

static ON_SHARD void client_unblock_each(struct ctx *c) {
    const struct net *n = instance_of(c->shard)->net;
    int64_t id, unblocked = 0;
    ASSERT(words_int(c->argv[2], &id));
    for (struct conn *conn = NULL; (conn = next_conn(n, conn)) != NULL;)
        unblocked += conn->session.id == (uint64_t)id && blocked(conn);
    reply_int(&c->reply, unblocked);
}

static void client_unblock_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    reply_int(&c->reply, sum(parts, n));
}

/* --- rows --- */

#define TYPES "client-type(NORMAL|MASTER|PRIMARY|SLAVE|REPLICA|PUBSUB)"
#define FILTERS                                                                                    \
    "ID=client-id...|TYPE=" TYPES "|USER=username|ADDR=addr<ip:port>|LADDR=laddr<ip:port>|IP=ip|"  \
    "NAME=name|LIB-NAME=lib-name|LIB-VER=lib-ver|FLAGS=flags|CAPA=capa|DB=db|"                     \
    "SKIPME=skipme(YES|NO)|MAXAGE=maxage:integer|IDLE=idle:integer|"                               \
    "NOT-ID=client-id...|NOT-TYPE=" TYPES "|NOT-USER=username|NOT-ADDR=addr<ip:port>|"             \
    "NOT-LADDR=laddr<ip:port>|NOT-IP=ip|NOT-NAME=name|NOT-LIB-NAME=lib-name|NOT-LIB-VER=lib-ver|"  \
    "NOT-FLAGS=flags|"                                                                             \
    "NOT-CAPA=capa|NOT-DB=db"

static const struct command rows[] = {
    {"CLIENT|INFO", client_info_run, 2, NO_KEYS, FLAGS | CMD_HOME, ACL_SLOW | ACL_CONNECTION, GROUP,
     "6.2.0", "O(1)", "Describes the connection.", .tips = "nondeterministic_output"},
    {"CLIENT|LIST", NULL, -2, NO_KEYS, FLAGS | CMD_ADMIN | CMD_FANOUT, ACL, GROUP, "2.4.0",
     "O(N) where N is the number of connections", "Describes the open connections.",
     .check = client_list_check, .each = client_list_each, .gather = client_list_gather,
     .tips = "nondeterministic_output", .syntax = "[filter(" FILTERS ")...]"},
    {"CLIENT|KILL", NULL, -3, NO_KEYS, FLAGS | CMD_ADMIN | CMD_FANOUT, ACL, GROUP, "2.4.0",
     "O(N) where N is the number of connections", "Closes connections.", .check = client_kill_check,
     .each = client_kill_each, .gather = client_kill_gather,
     .syntax = "filter(old-format<ip:port>|new-format(" FILTERS ")...)"},
    {"CLIENT|UNBLOCK", NULL, -3, NO_KEYS, FLAGS | CMD_ADMIN | CMD_FANOUT, ACL, GROUP, "5.0.0",
     "O(N) where N is the number of connections", "Ends the wait of a blocked connection.",
     .check = client_unblock_check, .each = client_unblock_each, .gather = client_unblock_gather,
     .syntax = "client-id [unblock-type(TIMEOUT|ERROR)]"},
};

void client_list_register(void) {
    command_register(rows, COUNT_OF(rows));
}
