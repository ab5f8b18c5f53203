/* generic_expire_impl.h: the conditions of EXPIRE, for whatever else gives times. */
#ifndef GENERIC_EXPIRE_IMPL_H
#define GENERIC_EXPIRE_IMPL_H

#include "shards/span.h"
#include <stdint.h>

enum {
    EXPIRE_IF_NONE = 1,    /* NX */
    EXPIRE_IF_SOME = 2,    /* XX */
    EXPIRE_IF_GREATER = 4, /* GT */
    EXPIRE_IF_LESS = 8     /* LT */
};

/* generic_expire_condition: what the word says; 0: none of them. */
unsigned generic_expire_condition(struct span word);
/* generic_expire_clash: NULL, or why these cannot hold together, as an error. */
const char *generic_expire_clash(unsigned conditions);
/* generic_expire_allowed: may what expires at now_expires_ms (EXPIRE_NEVER: after everything else) expire at wanted_ms? */
bool generic_expire_allowed(unsigned conditions, int64_t now_expires_ms, int64_t wanted_ms);

#endif
