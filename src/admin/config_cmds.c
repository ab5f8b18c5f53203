/* config_cmds.c: CONFIG. A shard reads its own snapshot; SET replaces the snapshots of all shards. */
#include "admin_impl.h"
#include "anax/instance.h"
#include "shards/log.h"
#include <stdio.h>

#define GROUP "server"
#define FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ACL   (ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS)

static void config_run(struct ctx *c) {
    command_reply_arity(&c->reply,
                        c->cmd); /* registration made the subcommands rows of their own */
}

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

/* config_set_each: every shard decides the same, since all have the same values; what it says is the error,
 * or nothing. */
static void config_set_each(struct ctx *c) {
    struct instance *in = instance_of(c->shard);
    struct config_error e;
    struct config *changed = config_clone(in->config);
    if (changed == NULL) {
        outbuf_add(c->reply.out, ERR_OUT_OF_MEMORY, strlen(ERR_OUT_OF_MEMORY));
        return;
    }
    if (!config_set_many(in->config, c->argv + 2, (c->argc - 2) / 2, changed, &e)) {
        outbuf_add(c->reply.out, e.text, strlen(e.text));
        config_free(changed);
        return;
    }
    if (c->shard->id == 0)
        log_set_level((enum log_level)changed->loglevel);
    config_free(in->config);
    in->config = changed;
}

static void config_set_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->len == 0)
            continue;
        bool coded = parts[i]->len > 4 && memcmp(parts[i]->buf, "ERR ", 4) == 0;
        reply_errorf(&c->reply, "%s%.*s", coded ? "" : "ERR ", (int)parts[i]->len, parts[i]->buf);
        return;
    }
    reply_ok(&c->reply);
}

static void config_help_run(struct ctx *c) {
    static const char *const lines[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern> [<pattern> ...]",
        "    Return the parameters that match, and their values.",
        "SET <parameter> <value> [<parameter> <value> ...]",
        "    Change parameters, all of them or none.",
        "HELP",
        "    Print this help.",
    };
    reply_array(&c->reply, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        reply_status(&c->reply, lines[i]);
}

static const struct command rows[] = {
    {"CONFIG", config_run, -2, NO_KEYS, CMD_CONTAINER, ACL_SLOW, GROUP, "2.0.0",
     "Depends on subcommand.", "Holds the commands about configuration."},
    {"CONFIG|GET", config_get_run, -3, NO_KEYS, FLAGS, ACL, GROUP, "2.0.0",
     "O(N) where N is the number of parameters", "Returns parameters and their values."},
    {"CONFIG|SET", NULL, -4, NO_KEYS, FLAGS | CMD_FANOUT, ACL, GROUP, "2.0.0",
     "O(N) where N is the number of parameters given", "Changes parameters while the server runs.",
     .each = config_set_each, .gather = config_set_gather},
    {"CONFIG|HELP", config_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, ACL_SLOW, GROUP, "5.0.0",
     "O(1)", "Lists the subcommands."},
};

void config_cmds_register(void) {
    command_register(rows, COUNT_OF(rows));
}
