/* debug_impl.h: subcommands of DEBUG that belong to this room. */
#ifndef DEBUG_IMPL_H
#define DEBUG_IMPL_H

#include "anax/command.h"

enum { DEBUG_FLAGS = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE };

/* debug_add: registers them with the check that the container has. After the container. */
void debug_add(const struct command *rows, size_t n);

#endif
