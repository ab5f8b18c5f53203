/* list_impl.h: what the list commands share. */
#ifndef LIST_IMPL_H
#define LIST_IMPL_H

#include "anax/listval.h"
#include "coll_impl.h"

static inline struct listval_limits list_limits(const struct ctx *c) {
    return listval_limits_of(instance_of(c->shard)->config->list_listpack_size_max);
}

static inline void list_reply_item(struct reply *r, const struct lp_item *i) {
    if (i->str != NULL)
        reply_bulk(r, (struct span){i->str, i->len});
    else
        reply_bulk_int(r, i->num);
}

/* list_reply_some: an array of n elements, which there are, from index on, backward: towards the head. */
void list_reply_some(struct ctx *c, const struct val *v, uint64_t index, bool backward, uint64_t n);
/* list_reply_end: the n elements that list_take would take. */
void list_reply_end(struct ctx *c, const struct val *v, enum listval_end end, uint64_t n);
/* list_take: takes n elements, of which there are as many, from one end of what was opened, and stores it. */
void list_take(struct ctx *c, struct coll *o, enum listval_end end, uint64_t n) ON_SHARD;
/* list_give: what was made beside the shard, and for its account is the shard's by now, goes to the end of a reply or
 * part; as it is when that is empty. It has not failed. */
void list_give(struct outbuf *to, struct outbuf *made);
/* list_parse_end: LEFT or RIGHT; replies and returns false when it is neither. */
bool list_parse_end(struct ctx *c, uint32_t arg, enum listval_end *end);

void list_edit_register(void);
void list_move_register(void);

#endif
