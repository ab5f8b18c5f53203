/* set_impl.h: what the files of the set commands share. */
#ifndef SET_IMPL_H
#define SET_IMPL_H

#include "anax/setval.h"
#include "coll_impl.h"

/* set_kind: when a set becomes larger than its form is for, as the options say now. */
static inline struct set_kind set_kind(const struct ctx *c) {
    const struct config *g = instance_of(c->shard)->config;
    return (struct set_kind){.intset_max = (uint64_t)g->set_intset_entries_max,
                             .fields = {.entries_max = (uint64_t)g->set_listpack_entries_max,
                                        .bytes_max = (uint64_t)g->set_listpack_bytes_max}};
}

/* set_reply_item: a member as a bulk string. */
static inline void set_reply_item(struct reply *r, const struct lp_item *i) {
    if (i->str == NULL)
        reply_bulk_int(r, i->num);
    else
        reply_bulk(r, (struct span){i->str, i->len});
}

/* sets_reply_all: all members that are alive. */
void sets_reply_all(struct ctx *c, const struct val *v, const struct set_kind *k);

/* Registrations of the family's parts. */
void sets_random_register(void);
void sets_algebra_register(void);

#endif
