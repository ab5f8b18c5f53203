/* save_cmds.c: SAVE, BGSAVE, LASTSAVE and SHUTDOWN. They run on shard 0, which knows of all saves. */
#include "anax/work.h"
#include "saves_impl.h"
#include "shards/log.h"
#include <stddef.h>
#include <string.h>

static int route_home(struct ctx *c) {
    (void)c;
    return 0;
}

/* What a command waits with. */
struct waiting {
    struct save_call call;
    bool failed;
    char error[SAVE_ERROR_MAX];
};

static struct work *work_of(struct save_call *c) {
    char *state = (char *)CONTAINER_OF(c, struct waiting, call);
    return (struct work *)(void *)(state - offsetof(struct work, state));
}

static void waiting_done(struct shard *home, struct save_call *c, const char *error) {
    shard_claim();
    struct waiting *w = CONTAINER_OF(c, struct waiting, call);
    if (error != NULL) {
        w->failed = true;
        memccpy(w->error, error, '\0', sizeof w->error - 1);
    }
    work_end(home, work_of(c));
}

/* await: where the call stands that is to be waited for; NULL: it has replied. */
static ON_SHARD struct save_call *await(struct ctx *c, bool at_cut) {
    const struct waiting fresh = {.call = {.at_cut = at_cut, .done = waiting_done}};
    struct work *w = ctx_await(c, &fresh, sizeof fresh);
    if (w != NULL)
        return &((struct waiting *)(void *)w->state)->call;
    ctx_oom(c);
    return NULL;
}

/* --- SAVE, BGSAVE, LASTSAVE --- */

static const char BUSY[] = "ERR Background save already in progress";

static ON_SHARD void save_run(struct ctx *c) {
    struct saves *v = saves_of(c->shard);
    struct waiting w;
    if (ctx_resume(c, &w, sizeof w)) {
        if (w.failed)
            reply_errorf(&c->reply, "ERR %s", w.error);
        else
            reply_ok(&c->reply);
        return;
    }
    if (ctx_long(c, UINT64_MAX))
        return;
    if (saves_busy(v) || v->stopping) {
        reply_error(&c->reply, BUSY);
        return;
    }
    struct save_call *call = await(c, false);
    if (call != NULL)
        saves_begin(v, SAVE_ASKED, call);
}

static ON_SHARD void bgsave_cancel(struct ctx *c) {
    struct saves *v = saves_of(c->shard);
    if (v->kind == SAVE_BACKGROUND && saves_cancel(v)) {
        LOGN("Background saving will be aborted due to user request");
        reply_status(&c->reply, "Background saving cancelled");
    } else if (v->scheduled) {
        v->scheduled = false;
        LOGN("Scheduled background saving will be cancelled due to user request");
        reply_status(&c->reply, "Scheduled background saving cancelled");
    } else {
        reply_error(&c->reply, "ERR Background saving is currently not in progress or scheduled");
    }
}

/* bgsave_run: there is nothing but another save that SCHEDULE could wait for, and MULTI's body holds locks that the cut wants. */
static ON_SHARD void bgsave_run(struct ctx *c) {
    struct saves *v = saves_of(c->shard);
    struct waiting w;
    bool cancel = c->argc == 2 && span_is(c->argv[1], "cancel");
    bool schedule = c->argc == 2 && span_is(c->argv[1], "schedule");
    if (c->argc > 1 && !cancel && !schedule) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (ctx_resume(c, &w, sizeof w)) {
        if (w.failed)
            reply_errorf(&c->reply, "ERR %s", w.error);
        else
            reply_status(&c->reply, "Background saving started");
        return;
    }
    if (!c->in_exec && ctx_long(c, UINT64_MAX))
        return;
    if (cancel) {
        bgsave_cancel(c);
    } else if (saves_busy(v) || v->stopping) {
        reply_error(&c->reply, BUSY);
    } else if (c->in_exec) {
        v->scheduled = true;
        reply_status(&c->reply, "Background saving scheduled");
    } else {
        struct save_call *call = await(c, true);
        if (call != NULL)
            saves_begin(v, SAVE_BACKGROUND, call);
    }
}

static ON_SHARD void lastsave_run(struct ctx *c) {
    reply_int(&c->reply, saves_of(c->shard)->last_save_s);
}

/* --- SHUTDOWN --- */

struct shutdown {
    bool save, nosave, force, abort;
};

static bool shutdown_options(const struct ctx *c, struct shutdown *s) {
    bool now = false;
    *s = (struct shutdown){0};
    for (uint32_t i = 1; i < c->argc; i++) {
        bool *option = span_is(c->argv[i], "save")     ? &s->save
                       : span_is(c->argv[i], "nosave") ? &s->nosave
                       : span_is(c->argv[i], "now")    ? &now
                       : span_is(c->argv[i], "force")  ? &s->force
                       : span_is(c->argv[i], "abort")  ? &s->abort
                                                       : NULL;
        if (option == NULL)
            return false;
        *option = true;
    }
    bool any = s->save || s->nosave || s->force || now;
    return !(s->save && s->nosave) && !(s->abort && any);
}

static ON_SHARD void shutdown_abort(struct ctx *c) {
    struct saves *v = saves_of(c->shard);
    if (v->stopping && v->kind == SAVE_LAST && saves_cancel(v)) {
        LOGN("Shutdown is aborted");
        reply_ok(&c->reply);
    } else {
        reply_error(&c->reply, "ERR No shutdown in progress.");
    }
}

/* shutdown_run: whoever sent it is cut off with all others, and gets no reply. */
static ON_SHARD void shutdown_run(struct ctx *c) {
    struct shutdown s;
    struct waiting w;
    if (!shutdown_options(c, &s)) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (ctx_resume(c, &w, sizeof w)) {
        if (!w.failed || s.force)
            shards_stop(c->shard->all);
        else
            reply_error(&c->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
        return;
    }
    if (ctx_long(c, UINT64_MAX))
        return;
    if (s.abort) {
        shutdown_abort(c);
        return;
    }
    LOGN("User requested shutdown...");
    bool loading = instance_of(c->shard)->loading;
    if (s.nosave || loading || (!s.save && !save_wanted_at_end(c->shard))) {
        shards_stop(c->shard->all);
        return;
    }
    struct save_call *call = await(c, false);
    if (call != NULL)
        save_last(saves_of(c->shard), call);
}

#define FLAGS   (CMD_ADMIN | CMD_NOSCRIPT)
#define AWAITS  (CMD_ROUTED | CMD_LONG | CMD_AWAITS)
#define ACL_ALL (ACL_ADMIN | ACL_SLOW | ACL_DANGEROUS)
static const struct command rows[] = {
    {"SAVE", save_run, 1, NO_KEYS, FLAGS | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI | AWAITS, ACL_ALL,
     "server", "1.0.0", "O(N) where N is the number of keys of all databases",
     "Saves the dataset, and replies when that is done. Others are served meanwhile.",
     .route = route_home},
    {"BGSAVE", bgsave_run, -1, NO_KEYS, FLAGS | CMD_NO_ASYNC_LOADING | AWAITS, ACL_ALL, "server",
     "1.0.0", "O(1)", "Begins to save the dataset as it is now.", .route = route_home,
     .syntax = "[operation(SCHEDULE|CANCEL)]"},
    {"LASTSAVE", lastsave_run, 1, NO_KEYS, CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ROUTED,
     ACL_ADMIN | ACL_DANGEROUS, "server", "1.0.0", "O(1)",
     "Returns the Unix time of the last save that went well.", .route = route_home,
     .tips = "nondeterministic_output"},
    {"SHUTDOWN", shutdown_run, -1, NO_KEYS,
     FLAGS | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY | AWAITS, ACL_ALL, "server",
     "1.0.0", "O(N) when saving, where N is the number of keys of all databases",
     "Saves the dataset, when there are save points, closes and exits.", .route = route_home,
     .syntax = "[save-selector(NOSAVE|SAVE)] [NOW] [FORCE] [ABORT]"},
};

void save_cmds_register(void) {
    command_register(rows, COUNT_OF(rows));
}
