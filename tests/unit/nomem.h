/* nomem.h: a command while memory fails: each of its allocations fails once; either the command is refused and nothing has
 * changed, or it goes through as if nothing had been. */
#ifndef NOMEM_H
#define NOMEM_H

#include "command_fixture.h"

enum { NOMEM_SITES_MAX = 3000, NOMEM_ALL_SHARDS = -1, NOMEM_EXACT = -1 };

struct nomem {
    void (*prepare)(struct server *s);
    /* What clients can see, as a text to be freed. refused: what only a command that goes through may find otherwise is
     * part of it. */
    char *(*state)(struct server *s, bool refused);
    int64_t
        slack_bytes; /* how much more a refused command may leave charged; NOMEM_EXACT: the same to the byte */
    bool empties;       /* after FLUSHALL memory is what it was before, to the byte */
    const char *random; /* commands that begin with it reply by chance; NULL: none */
    int shard;          /* where memory fails, or NOMEM_ALL_SHARDS */
};

static inline int64_t nomem_used(const struct server *s) {
    int64_t used = 0;
    for (unsigned i = 0; i < shards_count(s->all); i++) {
        struct shard *at = shards_get(s->all, i);
        shard_claim();
        while (keyspace_free_some(at->keyspace, 1000)) {
        }
        used += at->mem.used_bytes;
    }
    return used;
}

static inline void nomem_fail(struct server *s, const struct nomem *how, uint64_t site) {
    for (unsigned i = 0; i < shards_count(s->all); i++)
        if (how->shard == NOMEM_ALL_SHARDS || how->shard == (int)i)
            shards_get(s->all, i)->mem.fail_in = site;
}

static inline bool nomem_reached(const struct server *s, const struct nomem *how) {
    bool reached = false;
    for (unsigned i = 0; i < shards_count(s->all); i++)
        if (how->shard == NOMEM_ALL_SHARDS || how->shard == (int)i)
            reached = reached || shards_get(s->all, i)->mem.fail_in == 0;
    return reached;
}

static inline bool nomem_is_refusal(const char *reply) {
    return strcmp(reply, "-ERR out of memory\r\n") == 0 ||
           strcmp(reply,
                  "-ERR Insufficient memory, failed allocating transient memory for LCS\r\n") == 0;
}

/* nomem_same: shows where the texts begin to differ. */
static inline void nomem_same(const char *got, const char *expected, const char *line,
                              unsigned site) {
    const char *a = got, *b = expected;
    while (*a != '\0' && *a == *b)
        a++, b++;
    cr_assert(*a == *b, "%s, failing at %u: %.60s instead of %.60s", line, site, a, b);
}

/* nomem_each: returns how often the command was refused. */
static inline unsigned nomem_each(struct server *s, const struct nomem *how, const char *line) {
    bool draws = how->random != NULL && strncmp(line, how->random, strlen(how->random)) == 0;
    how->prepare(s);
    char *before = how->state(s, true), *whole_reply = strdup(run(s, line));
    char *after = how->state(s, false);
    run(s, "flushall sync");
    int64_t empty = nomem_used(s);
    unsigned refused = 0;
    bool reached = true;
    for (unsigned site = 1; reached; site++) {
        cr_assert_lt(site, (unsigned)NOMEM_SITES_MAX, "%s", line);
        how->prepare(s);
        int64_t used = nomem_used(s);
        nomem_fail(s, how, site);
        char *reply = strdup(run(s, line));
        reached = nomem_reached(s, how);
        nomem_fail(s, how, 0);
        int64_t used_now = nomem_used(s);
        bool is_refusal = nomem_is_refusal(reply);
        char *state = how->state(s, is_refusal);
        if (is_refusal) {
            refused++;
            nomem_same(state, before, line, site);
            if (how->slack_bytes == NOMEM_EXACT)
                cr_assert_eq(used_now, used, "%s, failing at %u", line, site);
            else
                cr_assert_leq(used_now, used + how->slack_bytes, "%s, failing at %u", line, site);
        } else {
            if (!draws)
                nomem_same(reply, whole_reply, line, site);
            nomem_same(state, after, line, site);
        }
        free(reply);
        free(state);
        if (how->empties) {
            run(s, "flushall sync");
            cr_assert_eq(nomem_used(s), empty, "%s, failing at %u, lost memory", line, site);
        }
    }
    free(before);
    free(after);
    free(whole_reply);
    return refused;
}

#endif
