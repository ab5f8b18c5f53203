/* errand.c: see anax/errand.h. */
#include "anax/errand.h"
#include "anax/instance.h"

void errand_leave(struct shard *s, struct errand *e) {
    struct instance *in = instance_of(s);
    if (e->left)
        return;
    e->left = true;
    e->next = NULL;
    *in->errands_end = e;
    in->errands_end = &e->next;
    shard_need_owner(s);
}

void errands_run(struct shard *s) {
    struct instance *in = instance_of(s);
    struct errand *e = in->errands, *next;
    in->errands = NULL;
    in->errands_end = &in->errands;
    for (; e != NULL; e = next) { /* what these leave is for the next turn */
        next = e->next;
        e->left = false;
        e->run(s, e);
    }
}
