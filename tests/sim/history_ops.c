/* history_ops.c: what each kind of operation sends, and how it is written down. */
#include "history_impl.h"
#include <string.h>

#define PAIR_SAYS "[%k, %t], %r]"

static const struct shape shapes[OP_KINDS] = {
    [OP_APPEND] = {"APPEND %k %v,", "[\"append\", %k, %v]", SAID_LENGTH},
    [OP_CSV] = {"GET %k", "[\"r\", %k, %r]", SAID_CSV},
    [OP_SET] = {"SET %k %v", "[\"w\", %k, %v]", SAID_OK},
    [OP_GET] = {"GET %k", "[\"rr\", %k, %r]", SAID_TEXT},
    [OP_DEL] = {"DEL|UNLINK %k %t", "[\"del\", " PAIR_SAYS, SAID_INT},
    [OP_EXISTS] = {"EXISTS|TOUCH %k %t", "[\"exists\", " PAIR_SAYS, SAID_INT},
    [OP_RENAME] = {"RENAME %k %t", "[\"rename\", %k, [%t, %r]]", SAID_DONE},
    [OP_RENAMENX] = {"RENAMENX %k %t", "[\"renamenx\", %k, [%t, %r]]", SAID_DONE},
    [OP_COPY] = {"COPY %k %t", "[\"copy\", %k, [%t, %r]]", SAID_INT},
    [OP_COPY_REPLACE] = {"COPY %k %t REPLACE", "[\"copyr\", %k, [%t, %r]]", SAID_INT},
    [OP_INCRBY] = {"INCRBY %k %v", "[\"incrby\", %k, [%v, %r]]", SAID_INT},
    [OP_GETSET] = {"SET %k %v GET", "[\"getset\", %k, [%v, %r]]", SAID_TEXT},
    [OP_GETDEL] = {"GETDEL %k", "[\"getdel\", %k, %r]", SAID_TEXT},
    [OP_MOVE] = {"MOVE %k %t", "[\"move\", %k, [%T, %r]]", SAID_INT},
    [OP_MSETNX] = {"MSETNX %k %v %t %v", "[\"msetnx\", [%k, %t], [[%v, %v], %r]]", SAID_INT},
    [OP_SWAPDB] = {"SWAPDB 0 1", "[\"swapdb\", 0, 1]", SAID_OK},
    [OP_FLUSHDB] = {"FLUSHDB", "[\"flushdb\", %d, null]", SAID_OK},
    [OP_FLUSHALL] = {"FLUSHALL", "[\"flushall\", null, null]", SAID_OK},
    [OP_DBSIZE] = {"DBSIZE", "[\"dbsize\", %d, %r]", SAID_INT},
    [OP_RPUSH] = {"RPUSH %k %v -%v", "[\"rpush\", %k, [[%v, -%v], %r]]", SAID_INT},
    [OP_LPUSH] = {"LPUSH %k %v", "[\"lpush\", %k, [[%v], %r]]", SAID_INT},
    [OP_LPOP] = {"LPOP %k", "[\"lpop\", %k, [1, %r]]", SAID_ONE},
    [OP_RPOP] = {"RPOP %k 2", "[\"rpop\", %k, [2, %r]]", SAID_ROW},
    [OP_LMOVE] = {"LMOVE %k %t LEFT RIGHT", "[\"lmove\", %k, [%t, \"LR\", %r]]", SAID_TEXT},
    [OP_RPOPLPUSH] = {"RPOPLPUSH %k %t", "[\"lmove\", %k, [%t, \"RL\", %r]]", SAID_TEXT},
    [OP_LMPOP] = {"LMPOP 2 %k %t LEFT COUNT 2", "[\"lmpop\", [%k, %t], [\"L\", 2, %r]]", SAID_POP},
    [OP_LRANGE] = {"LRANGE %k 0 -1", "[\"lrange\", %k, %r]", SAID_ROW},
    [OP_SORT_LIST] = {"SORT %k STORE %t", "[\"sort\", %k, [null, [], %t, %r]]", SAID_INT},
    [OP_SADD] = {"SADD %k %v 0", "[\"sadd\", %k, [[%v, 0], %r]]", SAID_INT},
    [OP_SREM] = {"SREM %k %v", "[\"srem\", %k, [[%v], %r]]", SAID_INT},
    [OP_SMOVE] = {"SMOVE %k %t %v", "[\"smove\", %k, [%t, %v, %r]]", SAID_INT},
    [OP_SMEMBERS] = {"SMEMBERS %k", "[\"smembers\", %k, %r]", SAID_ROW},
    [OP_SINTER] = {"SINTER %k %t", "[\"sinter\", " PAIR_SAYS, SAID_ROW},
    [OP_SUNION] = {"SUNION %k %t", "[\"sunion\", " PAIR_SAYS, SAID_ROW},
    [OP_SDIFF] = {"SDIFF %k %t", "[\"sdiff\", " PAIR_SAYS, SAID_ROW},
    [OP_SINTERCARD] = {"SINTERCARD 2 %k %t", "[\"sintercard\", [%k, %t], [0, %r]]", SAID_INT},
    [OP_SINTERSTORE] = {"SINTERSTORE %s %k %t", "[\"sinterstore\", %s, [" PAIR_SAYS "]", SAID_INT},
    [OP_SUNIONSTORE] = {"SUNIONSTORE %s %k %t", "[\"sunionstore\", %s, [" PAIR_SAYS "]", SAID_INT},
    [OP_SDIFFSTORE] = {"SDIFFSTORE %s %k %t", "[\"sdiffstore\", %s, [" PAIR_SAYS "]", SAID_INT},
    [OP_SORT] = {"SORT %k BY k* GET k* GET #",
                 "[\"sort\", %k, [\"k*\", [\"k*\", \"#\"], null, %r]]", SAID_ROW},
    [OP_SORT_STORE] = {"SORT %k BY k* GET # GET k* STORE %t",
                       "[\"sort\", %k, [\"k*\", [\"#\", \"k*\"], %t, %r]]", SAID_INT},
    [OP_ZADD] = {"ZADD %k %n %v %v 0", "[\"zadd\", %k, [[[%v, %n], [0, %v]], %r]]", SAID_INT},
    [OP_ZINCRBY] = {"ZINCRBY %k %n %v", "[\"zincrby\", %k, [%v, %n, %r]]", SAID_TEXT},
    [OP_ZREM] = {"ZREM %k %v", "[\"zrem\", %k, [[%v], %r]]", SAID_INT},
    [OP_ZMPOP] = {"ZMPOP 2 %k %t MIN", "[\"zmpop\", [%k, %t], [\"MIN\", 1, %r]]", SAID_ZPOP},
    [OP_ZRANGE] = {"ZRANGE %k 0 -1 WITHSCORES", "[\"zrange\", %k, %r]", SAID_PAIRS},
    [OP_ZUNION] = {"ZUNION 2 %k %t WITHSCORES", "[\"zunion\", " PAIR_SAYS, SAID_PAIRS},
    [OP_ZUNIONSTORE] = {"ZUNIONSTORE %s 2 %k %t", "[\"zunionstore\", %s, [" PAIR_SAYS "]",
                        SAID_INT},
    [OP_ZINTERSTORE] = {"ZINTERSTORE %s 2 %k %t", "[\"zinterstore\", %s, [" PAIR_SAYS "]",
                        SAID_INT},
    [OP_ZDIFFSTORE] = {"ZDIFFSTORE %s 2 %k %t", "[\"zdiffstore\", %s, [" PAIR_SAYS "]", SAID_INT},
    [OP_ZRANGESTORE] = {"ZRANGESTORE %t %k 0 1", "[\"zrangestore\", %t, [%k, 0, 1, %r]]", SAID_INT},
};

const struct shape *history_shape(enum kind kind) {
    return &shapes[kind];
}

static const char *key_of(const struct op *op, char which) {
    return which == 'k' ? op->key : which == 't' ? op->to : op->store;
}

size_t history_argument(const struct op *op, const char *word, size_t len, char *to, size_t size) {
    const char *bar = memchr(word, '|', len), *end = word + len;
    if (bar != NULL && op->v % 2 != 0)
        end = bar;
    else if (bar != NULL)
        word = bar + 1;
    size_t n = 0;
    for (; word < end; word++) {
        int more = 1;
        if (*word != '%')
            to[n] = *word;
        else if (*++word == 'v' || *word == 'n')
            more = snprintf(to + n, size - n, "%ld", *word == 'v' ? op->v : op->score);
        else
            more = snprintf(to + n, size - n, "%s", key_of(op, *word));
        n += (size_t)more;
    }
    return n;
}
