/* snapshot_any.c: commands of all kinds on keys that nobody keeps in balance: any:0 and so on, light ones and heavy ones, with
 * times and with times inside; snapshot_exact.c knows what there was at the cut.
 *
 *   %k a key   %m a member   %n a small number   %t a time to live in ms   %c a long value to be copied (db 0)   %d a database
 */
#include "snapshot_impl.h"
#include <stdio.h>
#include <string.h>

enum { KEYS = 16, MEMBERS = 12, TTL_MAX_MS = 4, NUMBER_MAX = 40 };

static const char *const writes[] = {
    /* what makes long ones, and moves and drops them */
    "COPY %c %k REPLACE", "COPY %c %k REPLACE", "COPY %c %k REPLACE", "COPY %c %k DB %d REPLACE",
    "SETRANGE %k 40000 %m", "COPY %k %k REPLACE", "COPY %k %k DB %d REPLACE", "MOVE %k %d",
    "RENAME %k %k", "RENAME %k %k", "RENAMENX %k %k", "DEL %k %k", "UNLINK %k", "PERSIST %k",
    "PEXPIRE %k %t", "PEXPIRE %k %t", "PEXPIRE %k 0", "EXPIREAT %k 1", "PEXPIRE %k %t GT",
    "TOUCH %k %k", "SORT %k ALPHA LIMIT 0 20 STORE %k", "SORT %k BY nosort STORE %k",
    /* strings */
    "SET %k %m", "SET %k %n PX %t", "SET %k %n KEEPTTL", "SET %k %m GET", "SETNX %k %n",
    "PSETEX %k %t %n", "GETSET %k %n", "GETDEL %k", "GETEX %k PX %t", "GETEX %k PERSIST",
    "DELIFEQ %k %n", "MSET %k %n %k %m", "MSETNX %k %n %k %m", "MSETEX 2 %k %n %k %m PX %t",
    "INCRBY %k %n", "INCRBYFLOAT %k 1.5", "APPEND %k %m", "SETRANGE %k %n %m", "SETBIT %k %n 1",
    "BITFIELD %k SET u8 %n %n INCRBY i5 %n 1", "BITOP OR %k %k %k", "BITOP NOT %k %k",
    /* lists */
    "LPUSH %k %m %m", "RPUSH %k %m %n", "LPUSHX %k %m", "LPOP %k", "RPOP %k %n", "LSET %k %n %m",
    "LINSERT %k BEFORE %m %n", "LREM %k 0 %m", "LTRIM %k 1 -2", "LTRIM %k 0 %n",
    "LMOVE %k %k LEFT RIGHT", "RPOPLPUSH %k %k", "LMPOP 2 %k %k RIGHT COUNT %n",
    /* sets */
    "SADD %k %m %m %n", "SADDEX %k 1 %m", "SREM %k %m %n", "SMOVE %k %k %m", "SPOP %k",
    "SPOP %k %n", "SINTERSTORE %k %k %k", "SUNIONSTORE %k %k %k", "SDIFFSTORE %k %k %k",
    /* hashes */
    "HSET %k %m %n %m %m", "HSETNX %k %m %n", "HDEL %k %m %n", "HINCRBY %k %m 2",
    "HINCRBYFLOAT %k %m 0.5", "HGETDEL %k FIELDS 1 %m", "HGETEX %k PX %t FIELDS 2 %m %n",
    "HGETEX %k PERSIST FIELDS 1 %m", "HSETEX %k PX %t FIELDS 1 %m %n", "HSETEX %k FIELDS 1 %m %n",
    "HPEXPIRE %k %t FIELDS 2 %m %n", "HPEXPIRE %k 0 FIELDS 1 %m", "HPERSIST %k FIELDS 1 %m",
    "FIELDEXPIRE %k 1 %m", "HPEXPIRE %k %t FIELDS 3 1 2 3",
    /* sorted sets */
    "ZADD %k %n %m %n %m", "ZADD %k XX CH %n %m", "ZINCRBY %k 1 %m", "ZREM %k %m %n", "ZPOPMIN %k",
    "ZPOPMAX %k %n", "ZMPOP 2 %k %k MIN COUNT %n", "ZREMRANGEBYRANK %k 0 %n",
    "ZREMRANGEBYSCORE %k 0 %n", "ZREMRANGEBYLEX %k [a [m3", "ZUNIONSTORE %k 2 %k %k",
    "ZINTERSTORE %k 2 %k %k", "ZDIFFSTORE %k 2 %k %k", "ZRANGESTORE %k %k 0 %n"};

/* What only reads, and must leave alone what is dead or has another form by now. */
static const char *const reads[] = {"GET %k",
                                    "MGET %k %k",
                                    "STRLEN %k",
                                    "GETRANGE %k 0 5",
                                    "BITCOUNT %k",
                                    "LRANGE %k 0 %n",
                                    "LINDEX %k %n",
                                    "LPOS %k %m",
                                    "SISMEMBER %k %m",
                                    "SRANDMEMBER %k %n",
                                    "SCARD %k",
                                    "SINTER %k %k",
                                    "SINTERCARD 2 %k %k",
                                    "HGET %k %m",
                                    "HMGET %k %m %n",
                                    "HLEN %k",
                                    "HRANDFIELD %k %n",
                                    "HSCAN %k 0 COUNT %n",
                                    "HPTTL %k FIELDS 2 %m %n",
                                    "SSCAN %k 0 COUNT %n",
                                    "ZSCORE %k %m",
                                    "ZRANK %k %m",
                                    "ZRANGE %k 0 %n",
                                    "ZRANDMEMBER %k %n",
                                    "ZSCAN %k 0",
                                    "ZCOUNT %k 0 %n",
                                    "OBJECT ENCODING %k",
                                    "TYPE %k",
                                    "PTTL %k",
                                    "EXISTS %k %k",
                                    "RANDOMKEY",
                                    "SCAN 0 COUNT %n",
                                    "LCS %k %k LEN"};

static const char *const LONG_ONES[] = {"big:string", "big:list", "big:set",
                                        "big:hash",   "big:zset", "big:times"};

static size_t put(char *text, char what) {
    enum { WORD_MAX = 32 };
    static const unsigned top[] = {
        ['k'] = KEYS,       ['m'] = MEMBERS, ['n'] = NUMBER_MAX,
        ['t'] = TTL_MAX_MS, ['d'] = DBS,     ['c'] = COUNT_OF(LONG_ONES)};
    unsigned n = snapshot_below(top[(unsigned char)what]);
    int len = what == 'k'   ? snprintf(text, WORD_MAX, "any:%u", n)
              : what == 'm' ? snprintf(text, WORD_MAX, "m%u", n)
              : what == 'c' ? snprintf(text, WORD_MAX, "%s", LONG_ONES[n])
                            : snprintf(text, WORD_MAX, "%u", what == 't' ? n + 1 : n);
    return (size_t)len;
}

static size_t expand(char *text, const char *format) {
    size_t len = 0;
    for (; *format != '\0'; format++) {
        if (*format == '%')
            len += put(text + len, *++format);
        else
            text[len++] = *format;
    }
    memcpy(text + len, "\r\n", 3);
    return len + 2;
}

static size_t one(char *text, unsigned db) {
    if (snapshot_progress.careless && snapshot_below(40) == 0)
        return expand(text, snapshot_below(2) == 0 ? "FLUSHALL" : "SWAPDB %d %d");
    if (db != 0 && snapshot_below(20) == 0)
        return expand(text, snapshot_progress.flushes ? "FLUSHDB" : "DBSIZE");
    return snapshot_below(4) == 0 ? expand(text, reads[snapshot_below(COUNT_OF(reads))])
                                  : expand(text, writes[snapshot_below(COUNT_OF(writes))]);
}

unsigned snapshot_any(char *text, unsigned db) {
    if (snapshot_below(4) != 0) {
        (void)one(text, db);
        return 1;
    }
    unsigned n = 1 + snapshot_below(SNAPSHOT_ANY_MAX);
    size_t len = expand(text, "MULTI");
    for (unsigned i = 0; i < n; i++)
        len += one(text + len, db);
    (void)expand(text + len, "EXEC");
    return n + 2;
}

/* What follows the beginning of a command that makes a long value, again and again. */
enum follows { NOTHING, MEMBERS_FOLLOW, PAIRS_FOLLOW, SCORES_FOLLOW };

static size_t put_more(char *text, size_t room, enum follows what, unsigned n) {
    int len = what == MEMBERS_FOLLOW ? snprintf(text, room, " m%u", n)
              : what == PAIRS_FOLLOW ? snprintf(text, room, " m%u %u", n, n)
                                     : snprintf(text, room, " %u m%u", n, n);
    return (size_t)len;
}

bool snapshot_any_long(char *text, size_t cap, unsigned i) {
    const struct {
        const char *begin;
        enum follows what;
    } making[] = {{snapshot_progress.floor ? "SETRANGE big:string 500000 x" /* it takes the floor */
                                           : "SETRANGE big:string 50000 x",
                   NOTHING},
                  {"RPUSH big:list", MEMBERS_FOLLOW},
                  {"SADD big:set", MEMBERS_FOLLOW},
                  {"HSET big:hash", PAIRS_FOLLOW},
                  {"ZADD big:zset", SCORES_FOLLOW},
                  {"HSET big:times", PAIRS_FOLLOW},
                  {"HPEXPIRE big:times 3 FIELDS 4 m1 m2 m3 m4", NOTHING},
                  {"HPEXPIRE big:times 100000 FIELDS 4 m5 m6 m7 m8", NOTHING}};
    enum { MORE = 1100 }; /* than CUT_HEAVY_ELEMENTS */
    if (i == COUNT_OF(making))
        return false;
    size_t len = (size_t)snprintf(text, cap, "%s", making[i].begin);
    for (unsigned n = 0; n < MORE && making[i].what != NOTHING; n++)
        len += put_more(text + len, cap - len, making[i].what, n);
    (void)snprintf(text + len, cap - len, "\r\n");
    return true;
}
