/* instance.h: what shard->app points to: the upper layers' part of one shard.
 *
 * Why         commands, net and admin share a shard's configuration and statistics without including each
 *             other.
 * Threads     the holder of the shard.
 */
#ifndef ANAX_INSTANCE_H
#define ANAX_INSTANCE_H

#include "anax/command.h"
#include "anax/config.h"

struct command_stats {
    uint64_t calls, rejected, failed;
};

struct net;

struct instance {
    struct config *config; /* this shard's snapshot; CONFIG SET replaces it by message */
    struct net *net;
    struct command_stats commands[COMMANDS_MAX];
};

static inline struct instance *instance_of(const struct shard *s) {
    return s->app;
}

#endif
