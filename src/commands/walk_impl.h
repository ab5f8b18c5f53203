/* walk_impl.h: what HSCAN, SSCAN and ZSCAN share: cursor, options, the reply of what was found.
 *
 *     struct val v;
 *     struct walk w;
 *     if (!walk_begin(c, VALUE_SET, &v, &w))
 *         return;       // has replied: an error, or that there is no such key
 *     w.cursor = fields_scan(&v, &kind, w.cursor, w.count, c->now_ms, visit, &w);
 *     walk_end(c, &w);
 *
 *     and in visit:
 *     if (walk_matches(w, name)) {
 *         reply_bulk(&w->reply, name);
 *         w->replied++;
 *     }
 *
 * Why         how many elements a step finds is known when they are found, so they are written
 *             beside the reply.
 * Threads     the holder of the shard in ctx.
 * Limits      a step looks at WALK_COUNT_MAX places, whatever its COUNT.
 */
#ifndef WALK_IMPL_H
#define WALK_IMPL_H

#include "coll_impl.h"

enum { WALK_COUNT_MAX = 65536 };

struct walk {
    uint64_t cursor, count;
    struct span pattern;
    bool all;       /* the pattern matches everything */
    bool no_values; /* NOVALUES of HSCAN, NOSCORES of ZSCAN */
    struct outbuf found;
    struct reply reply; /* into found */
    uint64_t replied;   /* elements written there */
};

/* walk_begin: reads argv[2] as the cursor, argv[1] as the key and the options behind. False: has
 * replied. */
bool walk_begin(struct ctx *c, uint8_t type, struct val *v, struct walk *w) ON_SHARD;
bool walk_matches(const struct walk *w, struct span name);
/* walk_end: replies the cursor and what was found. */
void walk_end(struct ctx *c, struct walk *w) ON_SHARD;

#endif
