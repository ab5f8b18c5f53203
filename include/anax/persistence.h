/* persistence.h: snapshots in files, and loading them.
 *
 * Why         the server, net and admin start, ask and stop it without knowing how it works.
 * Threads     as each function says.
 */
#ifndef ANAX_PERSISTENCE_H
#define ANAX_PERSISTENCE_H

#include "anax/command.h"

/* persistence_register: its commands (BGSAVE, DUMP, ...). Before any shard starts. */
void persistence_register(void);
/* The hooks of a shard (shards/shard.h), each after net's but for stop, which comes before. */
MUST_CHECK enum err persistence_start(struct shard *s) ON_SHARD;
void persistence_stopping(struct shard *s) ON_SHARD;
bool persistence_idle(struct shard *s) ON_SHARD;
void persistence_stop(struct shard *s) ON_SHARD;
void persistence_turn_end(struct shard *s) ON_SHARD;
/* persistence_terminate: as SHUTDOWN does: saves when there are save points, and stops the shards; when it cannot save, the server
 * goes on. persistence_terminating: since persistence_terminate, until it goes on. Any thread, and signal-safe. */
void persistence_terminate(struct shards *all);
bool persistence_terminating(void);

/* --- loading --- */

enum { LOAD_ERROR_MAX = 512 };

/* A file to be loaded. Meanwhile clients are told -LOADING, and nobody sees what is there in part. When it fails, nothing
 * of what the databases held, nor of the file, is left. */
struct load_request {
    const char *path; /* the caller's, until done */
    bool keep;        /* what is there stays, else it goes first */
    bool replace;     /* a key that is there already is replaced, else that is an error */
    bool at_start;    /* no command has run yet; no file is an empty one */
    /* On shard 0, once all shards are held and before anything goes: the load goes on with load_go_on, in a later turn, and ends there
     * if r->failed is set; false: it ends now. NULL: it goes on at once. */
    bool (*held)(struct shard *home, struct load_request *r);
    /* On shard 0, once. */
    void (*done)(struct shard *home, struct load_request *r);
    void *arg;
    /* What came of it: */
    bool failed;
    char error[LOAD_ERROR_MAX]; /* for the log, and for people */
    uint64_t keys, expired;
};
/* load_start: on shard 0, while no other load is under way. r is the load's until done. */
void load_start(struct shard *home, struct load_request *r) ON_SHARD;
void load_go_on(struct shard *home) ON_SHARD;
/* load_running: is one under way? Any shard. */
bool load_running(const struct shard *s) ON_SHARD;

/* load_at_start: the dataset of the configuration, after the last shard has started, on that one. `done` is called on shard 0
 * when it is there, or when it cannot be loaded; not when the server is to stop before. */
typedef void load_at_start_fn(struct shard *s, bool loaded);
void load_at_start(struct shard *last, load_at_start_fn *done) ON_SHARD;

#endif
