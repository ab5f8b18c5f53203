/* cache_impl.h: what cache_sim's files share.
 *
 *   cache_sim.c    the clients, what they send, and what the memory must be after every turn
 *   cache_model.c  what a client may still find of what it has stored
 *   cache_wire.c   requests, and replies as they come
 */
#ifndef CACHE_IMPL_H
#define CACHE_IMPL_H

#include "shards/evict.h"
#include "sim_world.h"

enum {
    CACHE_KEYS = 64,             /* of each kind, of each client */
    CACHE_MANY = 4,              /* keys of one command */
    CACHE_VALUE_MAX = 48 * 1024, /* some are large arguments */
    CACHE_MEMBERS_MAX = 200,
    CACHE_OPS_MAX = 16 /* in flight */
};

/* --- cache_wire.c --- */

/* request_*: of the client that is being told to send; taken: it was sent. */
void request_begin(unsigned argc);
void request_arg(struct span s);
void request_word(const char *text);
void request_number(uint64_t n);
struct span request_bytes(void);
void request_taken(void);

/* What a client has heard. */
struct heard {
    char *bytes;
    size_t len, cap;
};
void heard_add(struct heard *h, const char *bytes, size_t len);
/* heard_all: n whole replies are there. */
bool heard_all(const struct heard *h, unsigned n);
/* heard_next: the next line of a reply, or the bytes of a bulk (ptr NULL: null). *type: its first character. */
struct span heard_next(struct heard *h, size_t *at, char *type);
void heard_drop(struct heard *h, size_t upto);

/* --- cache_model.c --- */

/* A key: gone for certain, or there, or, when the policy may have taken it since it was seen last, either. A string is its length and
 * its version; a set holds the members 0 to count - 1. */
struct cache_key {
    bool there, may_go, ttl;
    uint32_t version, len;
};

enum cache_kind {
    CACHE_SET,
    CACHE_SETEX,
    CACHE_GET,
    CACHE_DEL,
    CACHE_EXPIRE,
    CACHE_PERSIST,
    CACHE_COPY,
    CACHE_MSET,
    CACHE_MGET,
    CACHE_EXEC,
    CACHE_SADD,
    CACHE_SCARD,
    CACHE_UNION,
    CACHE_KINDS
};

struct cache_op {
    enum cache_kind kind;
    unsigned n;
    unsigned key[CACHE_MANY];
    uint32_t version[CACHE_MANY], len[CACHE_MANY];
};

struct cache_client {
    unsigned id;
    bool skewed; /* large values lie on one shard */
    struct sim_client *end;
    struct heard heard;
    struct cache_key strings[CACHE_KEYS], sets[CACHE_KEYS];
    struct cache_op ops[CACHE_OPS_MAX];
    unsigned op_count;
    int64_t in_flight; /* bytes of its request, and of the replies to it */
};

struct cache_world {
    struct sim_world w;
    enum evict_policy policy;
    uint64_t refused, missed, hits; /* commands refused, keys found gone, keys found */
};

/* model_send: writes the op's request. model_heard: its replies are there: checks them and what they tell; NULL, or what is
 * wrong. model_replies: how many the op gets. */
void model_send(const struct cache_client *c, const struct cache_op *op);
unsigned model_replies(const struct cache_op *op);
const char *model_heard(struct cache_world *cw, struct cache_client *c, const struct cache_op *op,
                        size_t *at);
/* model_policy: what may go under the policy that there is now, may have gone from now on. */
void model_policy(struct cache_client *c, enum evict_policy now);
bool model_may_go(enum evict_policy p, bool ttl);

#endif
