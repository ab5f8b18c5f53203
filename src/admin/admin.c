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

void admin_register(void) {
    start_ns = clock_mono_ns();
    random_id(run_id);
    random_id(replication_id);
    info_register();
    config_cmds_register();
    slowlog_register();
    latency_register();
    debug_register();
    memory_register();
}
