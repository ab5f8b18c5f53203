/* debug.c: what DEBUG does with datasets: RELOAD. Who may use it is admin's business (enable-debug-command). */
#include "anax/work.h"
#include "debug_impl.h"
#include "dump_impl.h"
#include "saves_impl.h"
#include "shards/assert.h"
#include "shards/log.h"
#include <stdio.h>

void debug_add(const struct command *rows, size_t n) {
    const struct command *container = command_find(SPAN("DEBUG"));
    ASSERT(container != NULL);
    for (size_t i = 0; i < n; i++) {
        struct command row = rows[i];
        row.check = container->check;
        command_register(&row, 1);
    }
}

/* --- RELOAD: saves, and loads what was saved --- */

struct reloading {
    struct save_call save;
    struct load_request load;
    bool not_saved, busy;
    char path[2 * CONFIG_TEXT_MAX + 2];
};

static struct work *work_of(struct reloading *r) {
    return (struct work *)(void *)((char *)r - offsetof(struct work, state));
}

static void loaded(struct shard *home, struct load_request *l) {
    shard_claim();
    work_end(home, work_of(CONTAINER_OF(l, struct reloading, load)));
}

static void saved(struct shard *home, struct save_call *s, const char *error) {
    shard_claim();
    struct reloading *r = CONTAINER_OF(s, struct reloading, save);
    r->not_saved = error != NULL;
    r->load.failed |= r->not_saved;
    load_go_on(home);
}

/* held: nobody writes between what is saved and what is loaded. A save that began meanwhile is in our way. */
static bool held(struct shard *home, struct load_request *l) {
    shard_claim();
    struct reloading *r = CONTAINER_OF(l, struct reloading, load);
    r->busy = l->failed = saves_busy(saves_of(home));
    if (!r->busy)
        saves_begin(saves_of(home), SAVE_HELD, &r->save);
    return !r->busy;
}

static bool read_options(struct ctx *c, struct reloading *r) {
    for (uint32_t i = 2; i < c->argc; i++) {
        bool merge = span_is(c->argv[i], "MERGE");
        if (merge || span_is(c->argv[i], "NOFLUSH")) {
            r->load.keep = true;
            r->load.replace |= merge;
        } else if (span_is(c->argv[i], "NOSAVE")) {
            r->load.held = NULL;
        } else {
            reply_error(&c->reply, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE "
                                   "options.");
            return false;
        }
    }
    return true;
}

static const char BUSY[] = "ERR Background save already in progress";

static void reply_reloaded(struct ctx *c, const struct reloading *r) {
    if (r->busy) {
        reply_error(&c->reply, BUSY);
    } else if (r->not_saved) {
        reply_error(&c->reply, "ERR");
    } else if (r->load.failed) {
        reply_error(&c->reply, "ERR Error trying to load the RDB dump, check server logs");
    } else {
        LOGW("DB reloaded by DEBUG RELOAD");
        reply_ok(&c->reply);
    }
}

static ON_SHARD void reload_run(struct ctx *c) {
    struct saves *v = saves_of(c->shard);
    const struct config *config = instance_of(c->shard)->config;
    struct reloading r = {.save = {.done = saved}, .load = {.held = held, .done = loaded}};
    if (ctx_resume(c, &r, sizeof r)) {
        reply_reloaded(c, &r);
        return;
    }
    if (!read_options(c, &r) || ctx_long(c, UINT64_MAX))
        return;
    if (saves_busy(v) || v->stopping || load_running(c->shard)) {
        reply_error(&c->reply, BUSY);
        return;
    }
    (void)snprintf(r.path, sizeof r.path, "%s/%s", config->dir, config->rdb_name);
    struct work *w = ctx_await(c, &r, sizeof r);
    if (w == NULL) {
        ctx_oom(c);
        return;
    }
    struct reloading *at = (struct reloading *)(void *)w->state;
    at->load.path = at->path;
    load_start(c->shard, &at->load);
}

static int route_home(struct ctx *c) {
    (void)c;
    return 0;
}

static const struct command rows[] = {
    {"DEBUG|RELOAD", reload_run, -2, NO_KEYS,
     CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_MULTI | CMD_ROUTED | CMD_LONG | CMD_AWAITS, 0, "server",
     "1.0.0", "O(N) in all that the server holds",
     "Saves the dataset and loads it again: after emptying the databases, unless told otherwise.",
     .route = route_home, .syntax = "[MERGE] [NOFLUSH] [NOSAVE]"},
};

void reload_register(void) {
    debug_add(rows, COUNT_OF(rows));
}
