/* migrate_impl.h: connections to other servers: commands go out, each gets one
 * line back.
 *
 * Why         MIGRATE speaks to a server while its shard serves others: an
 * exchange is a small state machine on the shard's loop. A connection that has
 * done well is kept for LINK_IDLE_MS, for the next exchange with the same
 * server. Threads     the shard's owner. Ownership   an exchange and all that
 * it points to are the caller's, and stay as they are until `over`; links are
 * the shard's. Limits      LINKS_IDLE_MAX links are kept by a shard; a line is
 * told up to LINK_LINE_MAX bytes. x->timeout_ns without any byte going or
 * coming ends an exchange. Invariants  (1) `over` comes once, and nothing after
 * it. (2) what was answered is told, in the order of the commands, before that.
 * (3) an exchange is begun anew, once, on a connection of its own, when the
 * first was lost before any of the commands from EXCHANGE_FIRST on was
 * answered, and it was not for lack of time.
 */
#ifndef MIGRATE_IMPL_H
#define MIGRATE_IMPL_H

#include "anax/command.h"
#include <sys/socket.h>

enum { LINK_IDLE_MS = 10000, LINKS_IDLE_MAX = 64, LINK_LINE_MAX = 1023 };

/* The bytes of a command; all empty: it is not sent. */
struct message {
    struct span part[3];
};

/* What the first two commands of an exchange are. */
enum {
    EXCHANGE_AUTH,
    EXCHANGE_SELECT, /* of x->db; left out where the connection has it already */
    EXCHANGE_FIRST
};

enum exchange_end { EXCHANGE_DONE, EXCHANGE_CONNECT, EXCHANGE_WRITE, EXCHANGE_READ };

struct link;

struct exchange {
    struct span host, port; /* as the user wrote them: what a kept connection is known by */
    struct sockaddr_storage address;
    socklen_t address_len; /* 0: there is no such host */
    int64_t db;
    uint64_t timeout_ns;
    const struct message *commands;
    uint32_t count;
    void (*line)(struct exchange *x, uint32_t command, struct span line);
    void (*over)(struct exchange *x, enum exchange_end end);
    /* migrate_link.c's: */
    struct shard *shard;
    struct link *link;
    bool again; /* it may be begun anew */
};

/* exchange_start: may call `over` before it returns. */
void exchange_start(struct shard *s, struct exchange *x) ON_SHARD;

/* --- for persistence.c --- */
MUST_CHECK enum err links_start(struct shard *s);
/* links_stopping: what is under way ends, nothing new begins. links_idle: all
 * are gone. */
void links_stopping(struct shard *s) ON_SHARD;
bool links_idle(const struct shard *s);
void links_stop(struct shard *s);

#endif
