/* client.c: the commands that are about the connection they come by. */
#include "anax/metrics.h"
#include "anax/words.h"
#include "client_impl.h"
#include <limits.h>

#define GROUP            "connection"
#define FLAGS_CONNECTION (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_HOME)
#define FLAGS_OPEN       (FLAGS_CONNECTION | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY)

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
    reply_bulk_cstr(r, COMMAND_COMPATIBLE_VERSION);
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

/* What says which library is at the other end (lib-name, lib-ver, capa) stays. Replies are on again, this one
 * too, unless CLIENT REPLY SKIP was about this one. */
static ON_SHARD void reset_run(struct ctx *c) {
    struct session *s = c->session;
    bool skipped = s->reply_skip;
    s->db = 0;
    s->proto = c->reply.proto = 2;
    s->no_evict = s->no_touch = s->reply_off = s->reply_skip = false;
    monitor_stop(conn_of_session(s));
    exec_end(conn_of_session(s));
    s->authenticated = instance_of(c->shard)->config->requirepass[0] == '\0';
    if (text_set(c, &s->name, SPAN("")) && !skipped)
        reply_status(&c->reply, "RESET");
}

/* --- CLIENT --- */

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
    struct span option = c->argv[2];
    bool name = span_is(option, "lib-name");
    int shown = (int)(option.len < 128 ? option.len : 128);
    if (!name && !span_is(option, "lib-ver"))
        reply_errorf(&c->reply, "ERR Unrecognized option '%.*s'", shown, option.ptr);
    else if (!printable(c->argv[3]))
        reply_errorf(&c->reply, "ERR %.*s cannot contain spaces, newlines or special characters.",
                     shown, option.ptr);
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

/* client_import_source_run: there is no import mode to be a source in; being none is what a client is. */
static void client_import_source_run(struct ctx *c) {
    if (span_is(c->argv[2], "off"))
        reply_ok(&c->reply);
    else
        reply_error(&c->reply, "ERR Server is not in import mode");
}

static void client_no_touch_run(struct ctx *c) {
    on_off_run(c, &c->session->no_touch);
}

/* Capabilities that nobody here asks about are as good as none. */
static void client_capa_run(struct ctx *c) {
    for (uint32_t i = 2; i < c->argc; i++)
        if (span_is(c->argv[i], "redirect"))
            c->session->capa_redirect = true;
    reply_ok(&c->reply);
}

/* --- rows --- */

static const struct command rows[] = {
    {"AUTH", auth_run, -2, NO_KEYS, FLAGS_OPEN, ACL_FAST | ACL_CONNECTION, GROUP, "1.0.0", "O(1)",
     "Proves the connection's right to run commands.", .syntax = "[username] password"},
    {"HELLO", hello_run, -1, NO_KEYS, FLAGS_OPEN, ACL_FAST | ACL_CONNECTION, GROUP, "6.0.0", "O(1)",
     "Chooses the protocol version and describes the server.",
     .syntax = "[arguments(protover:integer [AUTH=auth(username password)] "
               "[SETNAME=clientname])]"},
    {"SELECT", select_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME,
     ACL_FAST | ACL_CONNECTION, GROUP, "1.0.0", "O(1)", "Chooses the connection's database.",
     .syntax = "index"},
    {"QUIT", quit_run, -1, NO_KEYS, FLAGS_OPEN | CMD_AT_ONCE, ACL_FAST | ACL_CONNECTION, GROUP,
     "1.0.0", "O(1)", "Closes the connection after the replies before it.",
     .deprecated_since = "7.2.0", .replaced_by = "just closing the connection"},
    {"RESET", reset_run, 1, NO_KEYS, FLAGS_OPEN | CMD_ALONE | CMD_AT_ONCE,
     ACL_FAST | ACL_CONNECTION, GROUP, "6.2.0", "O(1)",
     "Puts the connection back into the state of a new one."},
    {"CLIENT", command_container_run, -2, NO_KEYS, CMD_CONTAINER | CMD_HOME, ACL_SLOW, GROUP,
     "2.4.0", "Depends on subcommand.", "Holds the commands about connections."},
    {"CLIENT|ID", client_id_run, 2, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION, GROUP,
     "5.0.0", "O(1)", "Tells the connection's number."},
    {"CLIENT|GETNAME", client_getname_run, 2, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION,
     GROUP, "2.6.9", "O(1)", "Tells the connection's name."},
    {"CLIENT|SETNAME", client_setname_run, 3, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION,
     GROUP, "2.6.9", "O(1)", "Names the connection.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded", .syntax = "connection-name"},
    {"CLIENT|SETINFO", client_setinfo_run, 4, NO_KEYS, FLAGS_CONNECTION, ACL_SLOW | ACL_CONNECTION,
     GROUP, "7.2.0", "O(1)", "Notes the name or version of the client's library.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .syntax = "attr(LIB-NAME=libname|LIB-VER=libver)"},
    {"CLIENT|CAPA", client_capa_run, -3, NO_KEYS, FLAGS_CONNECTION | CMD_ALLOW_BUSY,
     ACL_SLOW | ACL_CONNECTION, GROUP, "8.0.0", "O(1)", "Tells the server what the client can do.",
     .syntax = "capability..."},
    {"CLIENT|NO-EVICT", client_no_evict_run, 3, NO_KEYS, FLAGS_CONNECTION | CMD_ADMIN,
     ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS | ACL_CONNECTION, GROUP, "7.0.0", "O(1)",
     "Keeps the connection out of client eviction.", .syntax = "enabled(ON|OFF)"},
    {"CLIENT|NO-TOUCH", client_no_touch_run, 3, NO_KEYS, FLAGS_CONNECTION,
     ACL_SLOW | ACL_CONNECTION, GROUP, "7.2.0", "O(1)",
     "Makes the connection's commands leave access times as they are.",
     .syntax = "enabled(ON|OFF)"},
    {"CLIENT|IMPORT-SOURCE", client_import_source_run, 3, NO_KEYS, FLAGS_CONNECTION,
     ACL_SLOW | ACL_CONNECTION, GROUP, "8.1.0", "O(1)",
     "Marks the connection as one that imports keys, which need not be alive.",
     .syntax = "enabled(ON|OFF)"},
    {"CLIENT|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE,
     ACL_SLOW | ACL_CONNECTION, GROUP, "5.0.0", "O(1)", "Lists the subcommands."},
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
NET_METRIC(evicted)
NET_METRIC(bytes_in)
NET_METRIC(bytes_out)
NET_METRIC(reads)
NET_METRIC(writes)
NET_METRIC(monitor_lost)

static int64_t read_expire_ms(struct shard *s) {
    return (int64_t)(instance_of(s)->net->stats.expire_ns / 1000000);
}

static int64_t most(const size_t recent[NET_RECENT_S]) {
    size_t max = 0;
    for (unsigned i = 0; i < NET_RECENT_S; i++)
        max = recent[i] > max ? recent[i] : max;
    return (int64_t)max;
}

static int64_t read_input_max(struct shard *s) {
    return most(instance_of(s)->net->clients.input_max);
}

static int64_t read_output_max(struct shard *s) {
    return most(instance_of(s)->net->clients.output_max);
}

static int64_t read_clients_bytes(struct shard *s) {
    return (int64_t)instance_of(s)->net->clients.bytes;
}

static int64_t read_held(struct shard *s) {
    const struct net *n = instance_of(s)->net;
    int64_t held = 0;
    for (const struct list *l = n->held.next; l != &n->held; l = l->next)
        held++;
    return held;
}

static int64_t read_live(struct shard *s) {
    return (int64_t)instance_of(s)->net->conn_count;
}

static const struct metric metrics[] = {
    {"clients", "connected_clients", read_live},
    {"clients", "blocked_clients", read_held},
    {"most", "client_recent_max_input_buffer", read_input_max},
    {"most", "client_recent_max_output_buffer", read_output_max},
    {"memory", "mem_clients_normal", read_clients_bytes},
    {"stats", "expire_cycle_cpu_milliseconds", read_expire_ms},
    {"stats", "total_connections_received", read_connections},
    {"stats", "total_commands_processed", read_commands},
    {"stats", "total_net_input_bytes", read_bytes_in},
    {"stats", "total_net_output_bytes", read_bytes_out},
    {"stats", "total_reads_processed", read_reads},
    {"stats", "total_writes_processed", read_writes},
    {"stats", "monitor_lines_lost", read_monitor_lost},
    {"stats", "rejected_connections", read_rejected},
    {"stats", "client_query_buffer_limit_disconnections", read_query_limit},
    {"stats", "client_output_buffer_limit_disconnections", read_output_limit},
    {"stats", "evicted_clients", read_evicted},
    {"stats", "protocol_errors", read_protocol_errors},
};

void client_register(void) {
    command_register(rows, COUNT_OF(rows));
    client_list_register();
    conn_register();
    monitor_register();
    pause_register();
    defrag_register();
    exec_register();
    metrics_register(metrics, COUNT_OF(metrics));
}
