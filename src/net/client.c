/* client.c: the commands that are about the connection they come by. */
#include "anax/metrics.h"
#include "anax/words.h"
#include "net_impl.h"
#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>

#define GROUP            "connection"
#define FLAGS_CONNECTION (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME)
#define FLAGS_OPEN       (FLAGS_CONNECTION | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY)

/* What clients look at to know which commands to expect. */
#define COMPATIBLE_VERSION "8.0.0"

static struct mem *mem_of(const struct ctx *c) {
    return &c->shard->mem;
}

/* text_set: *field becomes a copy of s, or NULL when s is empty. */
static bool text_set(struct ctx *c, char **field, struct span s) {
    char *copy = NULL;
    if (s.len != 0) {
        if ((copy = mem_alloc(mem_of(c), s.len + 1)) == NULL) {
            ctx_oom(c);
            return false;
        }
        memcpy(copy, s.ptr, s.len);
        copy[s.len] = '\0';
    }
    if (*field != NULL)
        mem_free(mem_of(c), *field, strlen(*field) + 1);
    *field = copy;
    return true;
}

/* printable: what CLIENT LIST can show in one word. */
static bool printable(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '!' || s.ptr[i] > '~')
            return false;
    return true;
}

static const char bad_name[] =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/* --- authentication --- */

/* same_secret: takes as long for every wrong password of a length. */
static bool same_secret(struct span given, const char *secret) {
    size_t len = strlen(secret);
    unsigned char differs = given.len != len;
    for (size_t i = 0; i < given.len; i++)
        differs |= (unsigned char)(given.ptr[i] ^ secret[len == 0 ? 0 : i % len]);
    return differs == 0;
}

static bool authenticate(struct ctx *c, struct span user, struct span password) {
    const char *secret = instance_of(c->shard)->config->requirepass;
    if (span_eq(user, SPAN("default")) && (*secret == '\0' || same_secret(password, secret))) {
        c->session->authenticated = true;
        return true;
    }
    reply_error(&c->reply, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

static void auth_run(struct ctx *c) {
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 2 && instance_of(c->shard)->config->requirepass[0] == '\0') {
        reply_error(&c->reply, "ERR AUTH <password> called without any password configured for the "
                               "default user. Are you sure your configuration is correct?");
        return;
    }
    struct span user = c->argc == 3 ? c->argv[1] : SPAN("default");
    if (authenticate(c, user, c->argv[c->argc - 1]))
        reply_ok(&c->reply);
}

/* --- HELLO --- */

struct hello {
    int64_t proto;
    bool auth, name_given;
    struct span user, password, name;
};

static bool hello_parse(struct ctx *c, struct hello *h) {
    if (c->argc < 2)
        return true;
    if (!words_int(c->argv[1], &h->proto)) {
        reply_error(&c->reply, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (h->proto < 2 || h->proto > 3) {
        reply_error(&c->reply, "NOPROTO unsupported protocol version");
        return false;
    }
    for (uint32_t i = 2; i < c->argc;) {
        uint32_t more = c->argc - i - 1;
        if (span_is(c->argv[i], "auth") && more >= 2) {
            h->auth = true;
            h->user = c->argv[i + 1];
            h->password = c->argv[i + 2];
            i += 3;
        } else if (span_is(c->argv[i], "setname") && more >= 1) {
            h->name = c->argv[i + 1];
            h->name_given = true;
            i += 2;
        } else {
            reply_errorf(&c->reply, "ERR Syntax error in HELLO option '%.*s'",
                         (int)(c->argv[i].len < 128 ? c->argv[i].len : 128), c->argv[i].ptr);
            return false;
        }
    }
    return true;
}

static void hello_run(struct ctx *c) {
    struct hello h = {0};
    if (!hello_parse(c, &h) || (h.auth && !authenticate(c, h.user, h.password)))
        return;
    if (!c->session->authenticated && instance_of(c->shard)->config->requirepass[0] != '\0') {
        reply_error(&c->reply,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return;
    }
    if (h.name_given && !printable(h.name)) {
        reply_error(&c->reply, bad_name);
        return;
    }
    if (h.name_given && !text_set(c, &c->session->name, h.name))
        return;
    if (h.proto != 0)
        c->session->proto = c->reply.proto = (uint8_t)h.proto;
    struct reply *r = &c->reply;
    reply_map(r, 7);
    reply_bulk_cstr(r, "server");
    reply_bulk_cstr(r, "redis");
    reply_bulk_cstr(r, "version");
    reply_bulk_cstr(r, COMPATIBLE_VERSION);
    reply_bulk_cstr(r, "proto");
    reply_int(r, c->session->proto);
    reply_bulk_cstr(r, "id");
    reply_int(r, (int64_t)c->session->id);
    reply_bulk_cstr(r, "mode");
    reply_bulk_cstr(r, "standalone");
    reply_bulk_cstr(r, "role");
    reply_bulk_cstr(r, "master");
    reply_bulk_cstr(r, "modules");
    reply_array(r, 0);
}

/* --- SELECT, QUIT, RESET --- */

static void select_run(struct ctx *c) {
    int64_t db;
    if (!words_int(c->argv[1], &db)) {
        reply_error(&c->reply, ERR_NOT_INT);
        return;
    }
    if (db < INT_MIN || db > INT_MAX) {
        reply_errorf(&c->reply, "ERR value is out of range, value must between %d and %d", INT_MIN,
                     INT_MAX);
        return;
    }
    if (db < 0 || db >= (int64_t)keyspace_databases(c->keyspace)) {
        reply_error(&c->reply, "ERR DB index is out of range");
        return;
    }
    c->session->db = (uint32_t)db;
    reply_ok(&c->reply);
}

static void quit_run(struct ctx *c) {
    c->session->close_after_reply = true;
    reply_ok(&c->reply);
}

static void reset_run(struct ctx *c) {
    struct session *s = c->session;
    s->db = 0;
    s->proto = c->reply.proto = 2;
    s->no_evict = s->no_touch = false;
    s->authenticated = instance_of(c->shard)->config->requirepass[0] == '\0';
    if (!text_set(c, &s->name, SPAN("")))
        return;
    reply_status(&c->reply, "RESET");
}

/* --- CLIENT --- */

static void client_run(struct ctx *c) {
    command_reply_arity(&c->reply,
                        c->cmd); /* registration made the subcommands rows of their own */
}

static void client_id_run(struct ctx *c) {
    reply_int(&c->reply, (int64_t)c->session->id);
}

static void client_getname_run(struct ctx *c) {
    if (c->session->name == NULL)
        reply_null(&c->reply);
    else
        reply_bulk_cstr(&c->reply, c->session->name);
}

static void client_setname_run(struct ctx *c) {
    if (!printable(c->argv[2]))
        reply_error(&c->reply, bad_name);
    else if (text_set(c, &c->session->name, c->argv[2]))
        reply_ok(&c->reply);
}

static void client_setinfo_run(struct ctx *c) {
    bool name = span_is(c->argv[2], "lib-name");
    struct span shown = c->argv[2];
    if (!name && !span_is(c->argv[2], "lib-ver"))
        reply_errorf(&c->reply, "ERR Unrecognized option '%.*s'",
                     (int)(shown.len < 128 ? shown.len : 128), shown.ptr);
    else if (!printable(c->argv[3]))
        reply_errorf(&c->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                     name ? "lib-name" : "lib-ver");
    else if (text_set(c, name ? &c->session->lib_name : &c->session->lib_ver, c->argv[3]))
        reply_ok(&c->reply);
}

static void on_off_run(struct ctx *c, bool *flag) {
    bool on = span_is(c->argv[2], "on");
    if (!on && !span_is(c->argv[2], "off")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    *flag = on;
    reply_ok(&c->reply);
}

static void client_no_evict_run(struct ctx *c) {
    on_off_run(c, &c->session->no_evict);
}

static void client_no_touch_run(struct ctx *c) {
    on_off_run(c, &c->session->no_touch);
}

static void address_text(const struct sockaddr_storage *sa, char *text, size_t size) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        (void)snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)sa;
        (void)inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(in->sin6_port));
    } else {
        (void)snprintf(text, size, "?:0");
    }
}

static void peer_text(const struct conn *c, bool local, char *text, size_t size) {
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    if (c->is_unix) {
        (void)snprintf(text, size, "%s:0", c->net->instance->config->unixsocket);
        return;
    }
    int failed = local ? getsockname(c->stream.fd, (struct sockaddr *)&sa, &len)
                       : getpeername(c->stream.fd, (struct sockaddr *)&sa, &len);
    if (failed)
        sa.ss_family = AF_UNSPEC;
    address_text(&sa, text, size);
}

void client_describe(const struct conn *c, struct outbuf *out) {
    char line[1024], addr[160], laddr[160];
    const struct session *s = &c->session;
    uint64_t now = c->net->shard->now_ns;
    uint64_t age = now > c->created_ns ? (now - c->created_ns) / 1000000000ULL : 0;
    uint64_t idle = now > c->active_ns ? (now - c->active_ns) / 1000000000ULL : 0;
    peer_text(c, false, addr, sizeof addr);
    peer_text(c, true, laddr, sizeof laddr);
    int n =
        snprintf(line, sizeof line,
                 "id=%lu addr=%s laddr=%s fd=%d name=%s age=%lu idle=%lu flags=%s db=%u sub=0 "
                 "psub=0 ssub=0 multi=-1 watch=0 qbuf=%zu qbuf-free=0 obl=%zu oll=%u omem=%zu "
                 "tot-mem=%zu events=r cmd=NULL user=default redir=-1 resp=%u lib-name=%s "
                 "lib-ver=%s shard=%u\n",
                 (unsigned long)s->id, addr, laddr, c->stream.fd, s->name ? s->name : "",
                 (unsigned long)age, (unsigned long)idle, c->is_unix ? "U" : "N", s->db,
                 input_bytes(c), c->out.len - c->out_sent, c->out.ref_count - c->refs_sent,
                 output_bytes(c), sizeof *c + input_bytes(c) + c->out.cap, s->proto,
                 s->lib_name ? s->lib_name : "", s->lib_ver ? s->lib_ver : "", c->net->shard->id);
    outbuf_add(out, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

static void client_info_run(struct ctx *c) {
    struct outbuf text;
    outbuf_init(&text, mem_of(c));
    client_describe(conn_of_session(c->session), &text);
    reply_verbatim(&c->reply, "txt", (struct span){text.buf, text.len});
    outbuf_deinit(&text);
}

/* listed: is this connection asked for? CLIENT LIST [TYPE t] | [ID id ...] */
static bool listed(const struct ctx *c, const struct conn *conn) {
    if (c->argc < 4)
        return true;
    if (span_is(c->argv[2], "type"))
        return span_is(c->argv[3], "normal");
    for (uint32_t i = 3; i < c->argc; i++) {
        int64_t id;
        if (words_int(c->argv[i], &id) && (uint64_t)id == conn->session.id)
            return true;
    }
    return false;
}

static void client_list_each(struct ctx *c) {
    struct net *n = instance_of(c->shard)->net;
    for (struct list *l = n->conns.next; l != &n->conns; l = l->next) {
        struct conn *conn = CONTAINER_OF(l, struct conn, link);
        if (!conn->closing && listed(c, conn))
            client_describe(conn, c->reply.out);
    }
}

/* list_error: the error in the arguments of CLIENT LIST, or NULL. */
static const char *list_error(const struct ctx *c) {
    static const char *const types[] = {"normal", "master", "replica", "slave", "pubsub"};
    if (c->argc == 2)
        return NULL;
    if (c->argc == 4 && span_is(c->argv[2], "type")) {
        for (size_t i = 0; i < COUNT_OF(types); i++)
            if (span_is(c->argv[3], types[i]))
                return NULL;
        return "ERR Unknown client type";
    }
    if (c->argc < 4 || !span_is(c->argv[2], "id"))
        return ERR_SYNTAX;
    for (uint32_t i = 3; i < c->argc; i++) {
        int64_t id;
        if (!words_int(c->argv[i], &id) || id < 1)
            return "ERR Invalid client ID";
    }
    return NULL;
}

static void client_list_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    const char *error = list_error(c);
    if (error != NULL) {
        if (c->argc == 4 && span_is(c->argv[2], "type"))
            reply_errorf(&c->reply, "%s '%.*s'", error,
                         (int)(c->argv[3].len < 128 ? c->argv[3].len : 128), c->argv[3].ptr);
        else
            reply_error(&c->reply, error);
        return;
    }
    struct outbuf text;
    outbuf_init(&text, mem_of(c));
    for (unsigned i = 0; i < n; i++)
        outbuf_add(&text, parts[i]->buf, parts[i]->len);
    if (text.failed)
        ctx_oom(c);
    else
        reply_verbatim(&c->reply, "txt", (struct span){text.buf, text.len});
    outbuf_deinit(&text);
}

static void client_help_run(struct ctx *c) {
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Describe the current connection.",
        "LIST [TYPE <type>] | [ID <id> ...]",
        "    Describe connections, one per line.",
        "NO-EVICT (ON|OFF)",
        "    Keep the current connection out of client eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Leave the access times of keys as they are.",
        "SETINFO <option> <value>",
        "    Tell the name or version of the client library (LIB-NAME, LIB-VER).",
        "SETNAME <name>",
        "    Name the current connection.",
        "HELP",
        "    Print this help.",
    };
    reply_array(&c->reply, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        reply_status(&c->reply, lines[i]);
}

static const struct command rows[] = {
    {"AUTH", auth_run, -2, NO_KEYS, FLAGS_OPEN, ACL_FAST | ACL_CONNECTION, GROUP, "1.0.0", "O(1)",
     "Proves the connection's right to run commands."},
    {"HELLO", hello_run, -1, NO_KEYS, FLAGS_OPEN, ACL_FAST | ACL_CONNECTION, GROUP, "6.0.0", "O(1)",
     "Chooses the protocol version and describes the server."},
    {"SELECT", select_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME,
     ACL_FAST | ACL_CONNECTION, GROUP, "1.0.0", "O(1)", "Chooses the connection's database."},
    {"QUIT", quit_run, -1, NO_KEYS, FLAGS_OPEN, ACL_FAST | ACL_CONNECTION, GROUP, "1.0.0", "O(1)",
     "Closes the connection after the replies before it."},
    {"RESET", reset_run, 1, NO_KEYS, FLAGS_OPEN, ACL_FAST | ACL_CONNECTION, GROUP, "6.2.0", "O(1)",
     "Puts the connection back into the state of a new one."},
    {"CLIENT", client_run, -2, NO_KEYS, CMD_CONTAINER | CMD_HOME, ACL_SLOW, GROUP, "2.4.0",
     "Depends on subcommand.", "Holds the commands about connections."},
    {"CLIENT|ID", client_id_run, 2, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION, GROUP,
     "5.0.0", "O(1)", "Tells the connection's number."},
    {"CLIENT|INFO", client_info_run, 2, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION, GROUP,
     "6.2.0", "O(1)", "Describes the connection."},
    {"CLIENT|GETNAME", client_getname_run, 2, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION,
     GROUP, "2.6.9", "O(1)", "Tells the connection's name."},
    {"CLIENT|SETNAME", client_setname_run, 3, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION,
     GROUP, "2.6.9", "O(1)", "Names the connection."},
    {"CLIENT|SETINFO", client_setinfo_run, 4, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION,
     GROUP, "7.2.0", "O(1)", "Notes the name or version of the client's library."},
    {"CLIENT|NO-EVICT", client_no_evict_run, 3, NO_KEYS, FLAGS_CONNECTION | CMD_ADMIN,
     ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS | ACL_CONNECTION, GROUP, "7.0.0", "O(1)",
     "Keeps the connection out of client eviction."},
    {"CLIENT|NO-TOUCH", client_no_touch_run, 3, NO_KEYS, FLAGS_CONNECTION,
     ACL_SLOW | ACL_CONNECTION, GROUP, "7.2.0", "O(1)",
     "Makes the connection's commands leave access times as they are."},
    {"CLIENT|LIST", NULL, -2, NO_KEYS,
     CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FANOUT,
     ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS | ACL_CONNECTION, GROUP, "2.4.0",
     "O(N) where N is the number of connections", "Describes the open connections.",
     .each = client_list_each, .gather = client_list_gather},
    {"CLIENT|HELP", client_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, ACL_SLOW | ACL_CONNECTION,
     GROUP, "5.0.0", "O(1)", "Lists the subcommands."},
};

/* --- metrics --- */

#define NET_METRIC(field)                                                                          \
    static int64_t read_##field(struct shard *s) {                                                 \
        return (int64_t)instance_of(s)->net->stats.field;                                          \
    }
NET_METRIC(connections)
NET_METRIC(rejected)
NET_METRIC(commands)
NET_METRIC(protocol_errors)
NET_METRIC(query_limit)
NET_METRIC(output_limit)
NET_METRIC(bytes_in)
NET_METRIC(bytes_out)

static int64_t read_live(struct shard *s) {
    return (int64_t)instance_of(s)->net->conn_count;
}

static const struct metric metrics[] = {
    {"clients", "connected_clients", read_live},
    {"stats", "total_connections_received", read_connections},
    {"stats", "total_commands_processed", read_commands},
    {"stats", "total_net_input_bytes", read_bytes_in},
    {"stats", "total_net_output_bytes", read_bytes_out},
    {"stats", "rejected_connections", read_rejected},
    {"stats", "client_query_buffer_limit_disconnections", read_query_limit},
    {"stats", "client_output_buffer_limit_disconnections", read_output_limit},
    {"stats", "protocol_errors", read_protocol_errors},
};

void client_register(void) {
    command_register(rows, COUNT_OF(rows));
    metrics_register(metrics, COUNT_OF(metrics));
}
