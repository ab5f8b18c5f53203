/* session.h: what a connection is to commands: identity, protocol, database. No sockets here. */
#ifndef ANAX_SESSION_H
#define ANAX_SESSION_H

#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

struct session {
    uint64_t id;
    uint32_t db;
    uint8_t proto; /* 2 or 3 */
    bool authenticated;
    bool close_after_reply;
    bool no_evict, no_touch;
    bool capa_redirect;              /* CLIENT CAPA redirect: the client understands -REDIRECT */
    bool local;                      /* the peer is this machine: loopback or a Unix socket */
    bool in_exec;                    /* what runs is part of MULTI's body */
    bool monitor;                    /* gets every command that runs */
    bool reply_off, reply_skip;      /* CLIENT REPLY: no replies; none to the next command */
    char *name, *lib_name, *lib_ver; /* NUL-terminated, or NULL; charged to the shard */
};

#endif
