/* errand.h: what runs on a shard that is lent, and needs its loop, leaves it to the owner.
 *
 * Why         files, timers and sockets are the owner's alone (shards/shard.h, invariant 2), and a message may be run by a
 *             borrower.
 * Threads     errand_leave: the holder of the shard. `run`: the owner, at the end of a turn soon.
 * Ownership   an errand is its maker's; between errand_leave and run it must stay where it is.
 * Invariants  (1) run comes once for each errand_leave, in their order; one that is left already is not left twice.
 */
#ifndef ANAX_ERRAND_H
#define ANAX_ERRAND_H

#include "shards/attr.h"
#include <stdbool.h>

struct shard;

struct errand {
    void (*run)(struct shard *s, struct errand *e);
    struct errand *next;
    bool left;
};

void errand_leave(struct shard *s, struct errand *e) ON_SHARD;
/* errands_run: of net, on the owner. */
void errands_run(struct shard *s) ON_SHARD;

#endif
