/* net.h: connections: from bytes to replies.
 *
 * Why         A connection lives on one shard; its commands run where their keys are. What was received is
 *             parsed once into a batch of commands; those whose keys are here run at once, the others go by
 *             one message per shard, and replies leave in order as soon as the first ones are ready.
 *             A command for several shards, and the body of MULTI, is a transaction (shards/tx.h). What
 *             follows a WATCH, or an EXEC that changes its connection, is parsed when that is done.
 * Threads     net_hooks run on the owner, except turn_end, which also runs while the shard is lent. What
 *             needs the owner's loop then waits in a list for the owner.
 * Limits      NET_BATCH_COMMANDS per batch, NET_BATCHES_MAX unanswered batches per connection: then its
 *             receiving pauses. MULTI keeps as many commands as memory has room for. maxclients, client-query-buffer-limit, client-output-buffer-limit.
 * Invariants  (1) replies leave in the order of the commands. (2) commands of a connection on one key take
 *             effect in that order. (3) a connection's memory goes when the last message that points
 *             into it has come back. (4) a protocol error costs its connection only. (5) a connection holds no lock
 *             while its client, or its socket, is waited for.
 */
#ifndef ANAX_NET_H
#define ANAX_NET_H

#include "shards/shard.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

enum {
    NET_BATCH_COMMANDS = 64,
    NET_BATCH_ARGS = 256,
    NET_BATCHES_MAX = 16,
    NET_LISTENERS_MAX = 17
};

struct config;

/* What a shard tells the others of its connections, for maxmemory-clients (client_evict.c). */
struct net_told {
    _Alignas(64) _Atomic int64_t bytes;
    _Atomic unsigned largest;
};

/* What all shards' connections share; the counters are touched when a connection opens or closes. */
struct net_shared {
    const struct config *config; /* as at start; the shards clone it */
    int listen_fds[NET_LISTENERS_MAX];
    unsigned listen_count;
    _Atomic uint64_t next_id;
    _Atomic int64_t live[SHARDS_MAX]; /* connections per shard */
    _Atomic uint32_t monitors;        /* connections that run MONITOR */
    _Atomic uint32_t monitors_at[SHARDS_MAX];
    uint64_t start_ns;
    _Atomic bool evicting_clients; /* some shard is about to */
    struct net_told clients[SHARDS_MAX];
};

/* net_listen: opens the sockets that the configuration asks for. On failure logs which one and why. */
MUST_CHECK enum err net_listen(struct net_shared *n);
/* net_close_listeners: those that no shard took over. */
void net_close_listeners(struct net_shared *n);

/* net_is_local: does this peer's address mean that it is on this machine? Loopback or a Unix socket. */
bool net_is_local(const struct sockaddr *peer);
/* net_address: "ip:port" or "[ip6]:port"; "?:0" for what is neither. */
void net_address(const struct sockaddr *sa, char *text, size_t size);

/* The hooks to start shards with; shards_arg is a struct net_shared. */
extern const struct shard_hooks net_hooks;

/* client_register: the commands that are about connections. */
void client_register(void);

#endif
