/* history_impl.h: what history_sim's files share.
 *
 *   history_sim.c    clients, and the run of a seed
 *   history_wire.c   a record as requests, and its replies
 *   history_file.c   a record as a line of JSON
 */
#ifndef HISTORY_IMPL_H
#define HISTORY_IMPL_H

#include "shards/span.h"
#include "sim_world.h"
#include <stdio.h>

enum { HISTORY_OPS_MAX = 5, HISTORY_NAME_MAX = 24 };

enum kind {
    OP_APPEND,
    OP_LIST, /* reads one */
    OP_SET,
    OP_GET,
    OP_DEL,
    OP_EXISTS,
    OP_RENAME,
    OP_RENAMENX,
    OP_COPY,
    OP_COPY_REPLACE,
    OP_INCRBY,
    OP_GETSET,
    OP_GETDEL,
    OP_MOVE,
    OP_MSETNX,
    OP_SWAPDB,
    OP_FLUSHDB,
    OP_FLUSHALL,
    OP_DBSIZE
};

struct op {
    enum kind kind;
    char key[HISTORY_NAME_MAX], to[HISTORY_NAME_MAX]; /* without database */
    long v;
    char *result; /* as JSON, of what read or counted; NULL: not known */
};

/* How the operations of a record are sent. */
enum form {
    FORM_EACH, /* one command */
    FORM_MGET,
    FORM_MSET,
    FORM_MULTI,
    FORM_DISCARD,
    FORM_WATCH /* the first are read under WATCH; when that is answered, the rest goes in MULTI */
};
enum outcome { OUTCOME_OK, OUTCOME_FAIL, OUTCOME_INFO, OUTCOME_NOTHING };

struct record {
    enum form form;
    enum outcome outcome;
    unsigned client, db;
    uint64_t start, end;
    struct op ops[HISTORY_OPS_MAX];
    unsigned count, watched;
    bool late_exec; /* EXEC is sent when what came before it has been answered */
    unsigned stage; /* stages answered */
};

/* history_request: the bytes of the stage that is next, which the caller sends before it calls again. */
struct span history_request(const struct record *r);
/* history_take: the replies to that stage; returns how many bytes they are, 0 while they are not all there. Sets *complete
 * when no stage is left. Of a reply that cannot be, fails. */
size_t history_take(const struct sim_world *w, struct record *r, struct span in, bool *complete);
/* history_reply_len: of the first whole reply, or 0. */
size_t history_reply_len(const char *p, size_t len);

void history_write(FILE *f, const struct record *r);

#endif
