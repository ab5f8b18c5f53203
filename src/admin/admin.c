#include "admin_impl.h"
#include "anax/instance.h"
#include "shards/clock.h"
#include "shards/log.h"
#include "shards/rng.h"
#include <stdio.h>

enum { RUN_ID_BYTES = 20 };

/* Set once by admin_register, read-only from then on. */
static uint64_t start_ns;
static char run_id[2 * RUN_ID_BYTES + 1], replication_id[2 * RUN_ID_BYTES + 1];

uint64_t admin_start_ns(void) {
    return start_ns;
}

const char *admin_run_id(void) {
    return run_id;
}

const char *admin_replication_id(void) {
    return replication_id;
}

static void random_id(char id[2 * RUN_ID_BYTES + 1]) {
    unsigned char bytes[RUN_ID_BYTES] = {0};
    if (rng_entropy(bytes, sizeof bytes) != OK)
        LOGW("no entropy for the ids of this run");
    for (unsigned i = 0; i < RUN_ID_BYTES; i++)
        (void)snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

/* SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]: there is no file to save to yet, so only ABORT and SAVE
 * differ from the rest. */
static void shutdown_run(struct ctx *c) {
    bool save = false, nosave = false;
    for (uint32_t i = 1; i < c->argc; i++) {
        if (span_is(c->argv[i], "abort") && c->argc == 2) {
            reply_error(&c->reply, "ERR No shutdown in progress.");
            return;
        }
        save |= span_is(c->argv[i], "save");
        nosave |= span_is(c->argv[i], "nosave");
        if (!span_is(c->argv[i], "save") && !span_is(c->argv[i], "nosave") &&
            !span_is(c->argv[i], "now") && !span_is(c->argv[i], "force")) {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
    }
    if (save && nosave) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (save) {
        reply_error(&c->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
        LOGW("SHUTDOWN SAVE refused: this version cannot save");
        return;
    }
    LOGN("User requested shutdown...");
    c->session->close_after_reply = true;
    shards_stop(c->shard->all);
}

static const struct command rows[] = {
    {"SHUTDOWN", shutdown_run, -1, NO_KEYS,
     CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY | CMD_HOME,
     ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS, "server", "1.0.0", "O(N)",
     "Answers what was received, closes and exits.",
     .syntax = "[save-selector(NOSAVE|SAVE)] [NOW] [FORCE] [ABORT]"},
};

void admin_register(void) {
    start_ns = clock_mono_ns();
    random_id(run_id);
    random_id(replication_id);
    command_register(rows, COUNT_OF(rows));
    info_register();
    config_cmds_register();
    slowlog_register();
    latency_register();
    debug_register();
    memory_register();
}
