/* history_impl.h: what history_sim's files share.
 *
 *   history_sim.c    clients, and the run of a seed
 *   history_ops.c    what each kind of operation is on the wire and in the file
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
    OP_CSV, /* reads what APPEND made */
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
    OP_DBSIZE,
    /* on lists */
    OP_RPUSH,
    OP_LPUSH,
    OP_LPOP,
    OP_RPOP,
    OP_LMOVE,
    OP_RPOPLPUSH,
    OP_LMPOP,
    OP_LRANGE,
    OP_SORT_LIST,
    /* on sets */
    OP_SADD,
    OP_SREM,
    OP_SMOVE,
    OP_SMEMBERS,
    OP_SINTER,
    OP_SUNION,
    OP_SDIFF,
    OP_SINTERCARD,
    OP_SINTERSTORE,
    OP_SUNIONSTORE,
    OP_SDIFFSTORE,
    OP_SORT,
    OP_SORT_STORE,
    /* on sorted sets */
    OP_ZADD,
    OP_ZINCRBY,
    OP_ZREM,
    OP_ZMPOP,
    OP_ZRANGE,
    OP_ZUNION,
    OP_ZUNIONSTORE,
    OP_ZINTERSTORE,
    OP_ZDIFFSTORE,
    OP_ZRANGESTORE,
    OP_KINDS
};

struct op {
    enum kind kind;
    char key[HISTORY_NAME_MAX], to[HISTORY_NAME_MAX]; /* without database */
    char store[HISTORY_NAME_MAX];                     /* where a third key is */
    long v, score;                                    /* v: a value or a member */
    char *result; /* as JSON, of what read or counted; NULL: not known */
};

/* What is said, and what becomes of it. */
enum said {
    SAID_OK,
    SAID_LENGTH, /* a number that is not kept */
    SAID_INT,
    SAID_DONE,  /* OK or a number; "no such key" is -1 */
    SAID_TEXT,  /* null or a number */
    SAID_CSV,   /* of "1,2," [1,2] */
    SAID_ONE,   /* null or [1] */
    SAID_ROW,   /* null or [1, 2] */
    SAID_PAIRS, /* of members and scores by turns [[1, 5], [2, 6]] */
    SAID_POP,   /* null or [key, [1, 2]] */
    SAID_ZPOP   /* null or [key, [[1, 5], [2, 6]]] */
};

/* history_op: what it sends, words with a space between them, and its line in the file. In both %k, %t and %s are its keys, %v and %n
 * v and score; of a|b the first is sent when v is odd. In the file %T is `to` as it is, %d the database, %r the result. */
struct shape {
    const char *wire, *json;
    enum said said;
};
const struct shape *history_shape(enum kind kind);
/* history_argument: of a word of a shape's wire, what is sent; returns its length, less than size. */
size_t history_argument(const struct op *op, const char *word, size_t len, char *to, size_t size);

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
