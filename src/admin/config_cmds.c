/* config_cmds.c: CONFIG. A shard reads its own snapshot of the options; SET decides at home and hands the
 * new values to all shards. */
#include "admin_impl.h"
#include "anax/instance.h"
#include "anax/metrics.h"
#include "anax/room.h"
#include "shards/log.h"
#include <pthread.h>

#define GROUP "server"
#define FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ACL   (ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS)

/* What CONFIG SET has made of the options. Two of them that come by different shards reach the others in
 * different orders; since each shard takes the newest values instead of applying the command by itself,
 * all end up alike. The lock is held for a copy, by CONFIG SET only. */
static struct {
    pthread_mutex_t lock;
    const struct shards *server; /* whose options these are; NULL: nothing was set yet */
    struct config config;
} newest = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct found {
    struct outbuf out;
    struct reply reply;
    size_t pairs;
};

static void found_one(void *arg, struct span name, struct span value) {
    struct found *f = arg;
    reply_bulk(&f->reply, name);
    reply_bulk(&f->reply, value);
    f->pairs++;
}

static void config_get_run(struct ctx *c) {
    struct found f = {0};
    outbuf_init(&f.out, &c->shard->mem);
    f.reply = c->reply;
    f.reply.out = &f.out;
    config_get(instance_of(c->shard)->config, c->argv + 2, c->argc - 2, found_one, &f);
    if (f.out.failed) {
        ctx_oom(c);
    } else {
        reply_map(&c->reply, f.pairs);
        outbuf_add(c->reply.out, f.out.buf, f.out.len);
    }
    outbuf_deinit(&f.out);
}

/* --- SET --- */

/* decide: what the options are to become; false after having replied why they stay. */
static bool decide(struct ctx *c, const struct config *from, struct config *to) {
    struct config_error e;
    if (!config_set_many(from, c->argv + 2, (c->argc - 2) / 2, c->session->local, to, &e)) {
        reply_errorf(&c->reply, "ERR %s", e.text);
        return false;
    }
    int64_t room =
        to->maxclients > from->maxclients ? config_client_room(to->maxclients) : to->maxclients;
    if (room < to->maxclients) {
        reply_errorf(
            &c->reply,
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating "
            "system is not able to handle the specified number of clients, try with %ld",
            (long)room);
        return false;
    }
    return true;
}

static void note_unused(const struct ctx *c) {
    for (uint32_t i = 2; i < c->argc; i += 2)
        if (config_is_unused(c->argv[i]))
            LOGW("CONFIG SET %.*s: not used yet", (int)c->argv[i].len, c->argv[i].ptr);
}

static bool config_set_check(struct ctx *c) {
    struct config to;
    if (c->argc % 2 != 0) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    (void)pthread_mutex_lock(&newest.lock);
    bool first = newest.server != c->shard->all;
    bool decided = decide(c, first ? instance_of(c->shard)->config : &newest.config, &to);
    if (decided) {
        newest.config = to;
        newest.server = c->shard->all;
    }
    (void)pthread_mutex_unlock(&newest.lock);
    if (decided)
        note_unused(c);
    return decided;
}

static ON_SHARD void config_set_each(struct ctx *c) {
    struct config *config = instance_of(c->shard)->config;
    (void)pthread_mutex_lock(&newest.lock);
    *config = newest.config;
    (void)pthread_mutex_unlock(&newest.lock);
    room_configure(c->shard);
    if (c->shard->id != 0)
        return;
    log_set_level((enum log_level)config->loglevel);
    config_changed(config);
}

/* --- REWRITE, RESETSTAT --- */

/* config_rewrite_run: the shard waits for the disk, for a file of some kilobytes and about as often as
 * somebody types the command. */
static void config_rewrite_run(struct ctx *c) {
    const struct config *config = instance_of(c->shard)->config;
    struct config_error e;
    if (config->file[0] == '\0') {
        reply_error(&c->reply, "ERR The server is running without a config file");
    } else if (config_rewrite(config, &e)) {
        LOGN("CONFIG REWRITE: %s is written", config->file);
        reply_ok(&c->reply);
    } else {
        LOGW("CONFIG REWRITE: %s stays as it was: %s", config->file, e.text);
        reply_errorf(&c->reply, "ERR Rewriting config file: %s", e.text);
    }
}

static ON_SHARD void config_resetstat_each(struct ctx *c) {
    observe_reset_stats(instance_of(c->shard), &c->shard->mem);
    metrics_reset(c->shard);
    c->shard->stats.longest_turn_ns = 0;
}

static const struct command rows[] = {
    {"CONFIG", command_container_run, -2, NO_KEYS, CMD_CONTAINER, ACL_SLOW, GROUP, "2.0.0",
     "Depends on subcommand.", "Holds the commands about configuration."},
    {"CONFIG|GET", config_get_run, -3, NO_KEYS, FLAGS, ACL, GROUP, "2.0.0",
     "O(N) where N is the number of parameters", "Returns parameters and their values.",
     .syntax = "parameter..."},
    {"CONFIG|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, ACL_SLOW, GROUP, "5.0.0",
     "O(1)", "Lists the subcommands."},
    {"CONFIG|RESETSTAT", NULL, 2, NO_KEYS, FLAGS | CMD_FANOUT, ACL, GROUP, "2.0.0", "O(1)",
     "Starts the statistics of INFO again.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .each = config_resetstat_each, .gather = command_ok_gather},
    {"CONFIG|REWRITE", config_rewrite_run, 2, NO_KEYS, FLAGS | CMD_HOME, ACL, GROUP, "2.8.0",
     "O(1)", "Writes the parameters to the configuration file.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {"CONFIG|SET", NULL, -4, NO_KEYS, FLAGS | CMD_FANOUT, ACL, GROUP, "2.0.0",
     "O(N) where N is the number of parameters given", "Changes parameters while the server runs.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .syntax = "data(parameter value)...", .check = config_set_check, .each = config_set_each,
     .gather = command_ok_gather},
};

void config_cmds_register(void) {
    command_register(rows, COUNT_OF(rows));
}
