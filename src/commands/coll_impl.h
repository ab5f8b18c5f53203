/* coll_impl.h: lists, hashes, sets and sorted sets in entries: finding, storing back, making anew.
 *
 * Why         handlers work on a struct val (anax/val.h) and never look how an entry holds it.
 *
 *                 struct coll o;                                   struct val v;
 *                 if (!coll_open(c, 1, VALUE_HASH, &o))            if (!coll_read(c, 1, VALUE_HASH, &v))
 *                     return;      // has replied WRONGTYPE            return;
 *                 if (!fields_put(&o.val, ...)) {                  if (v.form == VAL_NONE)
 *                     coll_fail(c, &o);                                ... there is no such key
 *                     return;      // has replied ERR out of memory
 *                 }
 *                 if (coll_store(c, &o))
 *                     reply_int(&c->reply, (int64_t)added);
 *
 *             Small values lie in their entry (REPR_INLINE: a listpack; REPR_RAW: an intset), up to ENTRY_INLINE_MAX bytes;
 *             the rest is a struct object.
 * Threads     the holder of the shard in ctx.
 * Invariants  (1) a function that says false has replied, and the key holds what it held. (2) an empty value is no key.
 *             (3) every coll that was opened is stored, left or failed, once, before the same key is looked up again. (4) what
 *             lies inline says its own length: its entry may have some bytes more, when there was no memory to move it.
 */
#ifndef COLL_IMPL_H
#define COLL_IMPL_H

#include "anax/val.h"
#include "ctx_impl.h"

enum { COLL_SCRATCH = 192 };
struct coll {
    struct val val;
    struct entry *entry; /* NULL: no such key */
    uint32_t key;        /* argv[key] */
    uint8_t form;        /* as it was opened */
    const uint8_t *bytes;
    const struct object *object;
    uint8_t scratch
        [COLL_SCRATCH]; /* where a new value begins: most are put into their entry from here */
};

/* coll_read: what argv[key] holds, for reading; VAL_NONE: nothing. Counts a hit or miss. Replies WRONGTYPE. One lookup. */
bool coll_read(struct ctx *c, uint32_t key, uint8_t type, struct val *v) ON_SHARD;
/* coll_of_view: the same of a view (ctx_view), also on another shard. */
bool coll_of_view(struct ctx *c, const struct view *w, uint8_t type, struct val *v);
/* coll_of_entry: of an entry that is no string. */
void coll_of_entry(const struct entry *e, struct mem *m, struct val *v);

/* coll_open: for writing; VAL_NONE: nothing there yet. One lookup. */
bool coll_open(struct ctx *c, uint32_t key, uint8_t type, struct coll *o) ON_SHARD;
/* coll_store: the key holds o->val from now on, with the expiry that it had; an empty one deletes the key. Tells WATCH
 * (ctx_changed). False: replied that memory is out. One lookup more only when an inline value outgrows its size class. */
bool coll_store(struct ctx *c, struct coll *o) ON_SHARD;
/* coll_leave: nothing was changed, but maybe dead rows were taken out. coll_fail: an operation said that there is no memory: replies so. */
void coll_leave(struct ctx *c, struct coll *o) ON_SHARD;
void coll_fail(struct ctx *c, struct coll *o) ON_SHARD;
/* coll_replace: argv[key] holds v from now on and nothing of what it was, without an expiry; an empty v deletes it. v is
 * taken over, or destroyed on false (replied that memory is out, or that maxmemory has no room for it). Tells WATCH when something changed. */
bool coll_replace(struct ctx *c, uint32_t key, struct val *v) ON_SHARD;

#endif
