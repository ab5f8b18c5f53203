/* server_cmds.c: PING, ECHO, TIME, ROLE, LOLWUT, MODULE; COMMAND stands in command_info.c. */
#include "ctx_impl.h"
#include "shards/clock.h"

static void ping_run(struct ctx *c) {
    if (c->argc > 2)
        command_reply_arity(&c->reply, c->cmd);
    else if (c->argc == 2)
        reply_bulk(&c->reply, c->argv[1]);
    else
        reply_status(&c->reply, "PONG");
}

static void echo_run(struct ctx *c) {
    reply_bulk(&c->reply, c->argv[1]);
}

static void time_run(struct ctx *c) {
    int64_t now_us = clock_wall_us();
    reply_array(&c->reply, 2);
    reply_bulk_int(&c->reply, now_us / 1000000);
    reply_bulk_int(&c->reply, now_us % 1000000);
}

/* role_run: a master that nobody follows, at the offset where its history begins. */
static void role_run(struct ctx *c) {
    reply_array(&c->reply, 3);
    reply_bulk_cstr(&c->reply, "master");
    reply_int(&c->reply, 0);
    reply_array(&c->reply, 0);
}

static void lolwut_run(struct ctx *c) {
    static const char anax[] = "      ________________   ________________\n"
                               "     (________________\\o/________________)\n"
                               "         (____________/|\\____________)\n"
                               "                       |\n"
                               "                       |\n"
                               "                       :\n"
                               "                       :\n"
                               "                       :\n"
                               "                       '\n"
                               "\n"
                               "Anax, the emperor dragonfly. Anax ver. " ANAX_VERSION "\n";
    int64_t version; /* whichever it is, there is one drawing */
    if (c->argc > 2 && span_is(c->argv[1], "VERSION") && !ctx_get_int(c, 2, &version))
        return;
    reply_verbatim(&c->reply, "txt", ((struct span){anax, sizeof(anax) - 1}));
}

/* module_list_run: clients ask; there are no modules. */
static void module_list_run(struct ctx *c) {
    reply_array(&c->reply, 0);
}

static const struct command rows[] = {
    {"PING", ping_run, -1, NO_KEYS, CMD_FAST | CMD_HOME, ACL_CONNECTION, "connection", "1.0.0",
     "O(1)", "Replies PONG, or its argument: the server is there.",
     .tips = "request_policy:all_shards response_policy:all_succeeded", .syntax = "[message]"},
    {"ECHO", echo_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME, ACL_CONNECTION,
     "connection", "1.0.0", "O(1)", "Replies its argument.", .syntax = "message"},
    {"TIME", time_run, 1, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME, 0, "server",
     "2.6.0", "O(1)", "Returns the server's clock: Unix time in seconds, and microseconds.",
     .tips = "nondeterministic_output"},
    {"ROLE", role_run, 1, NO_KEYS, CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME,
     ACL_ADMIN | ACL_DANGEROUS, "server", "2.8.12", "O(1)",
     "Returns the server's part in replication."},
    {"LOLWUT", lolwut_run, -1, NO_KEYS, CMD_READ | CMD_FAST | CMD_HOME, 0, "server", "5.0.0",
     "O(1)", "Draws something and tells the server's version.",
     .syntax = "[VERSION=version:integer]"},
    {"MODULE", NULL, -2, NO_KEYS, CMD_CONTAINER, 0, "server", "4.0.0", "depends on the subcommand",
     "Tells about modules."},
    {"MODULE|LIST", module_list_run, 2, NO_KEYS, CMD_ADMIN | CMD_NOSCRIPT | CMD_HOME, 0, "server",
     "4.0.0", "O(1)", "Returns the loaded modules: none.", .tips = "nondeterministic_output_order"},
    {"MODULE|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_HOME, 0, "server",
     "5.0.0", "O(1)", "Returns what MODULE's subcommands do."},
};

void server_register(void) {
    command_register(rows, COUNT_OF(rows));
    command_info_register();
}
