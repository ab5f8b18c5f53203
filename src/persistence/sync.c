/* sync.c: SYNC and PSYNC, which redis-cli --rdb and replicas begin with. There is no replication yet: they are told so,
 * rather than that nobody knows the command. */
#include "anax/command.h"
#include "dump_impl.h"

static void sync_run(struct ctx *c) {
    reply_error(&c->reply, "ERR there is no replication yet, so no full sync to have a file from: "
                           "BGSAVE writes one");
}

#define FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI)

static const struct command rows[] = {
    {"PSYNC", sync_run, -3, NO_KEYS, FLAGS, 0, "server", "2.8.0", "O(1)",
     "Of replication, which is not there yet.", .syntax = "replicationid offset"},
    {"SYNC", sync_run, 1, NO_KEYS, FLAGS, 0, "server", "1.0.0", "O(1)",
     "Of replication, which is not there yet."},
};

void sync_register(void) {
    command_register(rows, COUNT_OF(rows));
}
