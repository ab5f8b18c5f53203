/* server_cmds.c: PING, ECHO, TIME; COMMAND stands in command_info.c. */
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

static const struct command rows[] = {
    {"PING", ping_run, -1, NO_KEYS, CMD_FAST | CMD_HOME, ACL_CONNECTION, "connection", "1.0.0",
     "O(1)", "Replies PONG, or its argument: the server is there.",
     .tips = "request_policy:all_shards response_policy:all_succeeded"},
    {"ECHO", echo_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME, ACL_CONNECTION,
     "connection", "1.0.0", "O(1)", "Replies its argument.", .tips = NULL},
    {"TIME", time_run, 1, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_HOME, 0, "server",
     "2.6.0", "O(1)", "Returns the server's clock: Unix time in seconds, and microseconds.",
     .tips = "nondeterministic_output"},
};

void server_register(void) {
    command_register(rows, COUNT_OF(rows));
    command_info_register();
}
