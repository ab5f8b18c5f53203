/* freed.c: replies that leave when what was dropped is freed: of FLUSHALL SYNC and FLUSHDB SYNC.
 *
 * Their transaction is over by then, and everybody else is served: the batch only stays in the queue of its connection, and
 * each shard is asked, at once and then every LOOK_NS, whether it has anything left to free. What others drop meanwhile is
 * waited for too.
 */
#include "net_impl.h"

enum { LOOK_NS = 1000000 };

static void look_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    CONTAINER_OF(m, struct part, msg)->freeing = net_free_slice(instance_of(at)->net);
}

static void look_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct batch *b = CONTAINER_OF(m, struct part, msg)->batch;
    struct net *n = b->net;
    bool freeing = false;
    if (--b->looks != 0)
        return;
    for (unsigned i = 0; i < shards_count(home->all); i++)
        freeing |= b->parts[i].freeing;
    if (!freeing) {
        batch_unit_done(b);
        return;
    }
    list_add_tail(&n->freeing, &b->freeing);
    if (home->lent) /* the timer is the owner's */
        shard_need_owner(home);
}

static ON_SHARD void look(struct batch *b) {
    struct shard *home = b->net->shard;
    for (unsigned i = 0; i < shards_count(home->all); i++) {
        struct part *p = &b->parts[i];
        if (!p->freeing)
            continue;
        p->msg.run = look_run;
        p->msg.done = look_done;
        p->msg.to = p->shard;
        b->looks++;
        shard_post(home, &p->msg);
    }
}

static void fire(struct timer *t) {
    shard_claim();
    struct net *n = t->arg;
    struct list due;
    list_init(&due);
    n->freed_looks = false;
    while (!list_empty(&n->freeing)) { /* one that is looked at may come back at once */
        struct list *l = n->freeing.next;
        list_del(l);
        list_add_tail(&due, l);
    }
    while (!list_empty(&due)) {
        struct list *l = due.next;
        list_del(l);
        look(CONTAINER_OF(l, struct batch, freeing));
    }
}

void freed_turn_end(struct net *n) {
    if (likely(list_empty(&n->freeing)) || n->freed_looks)
        return;
    n->freed_looks = true;
    timer_set(n->shard->loop, &n->freed_look, loop_now_ns(n->shard->loop) + LOOK_NS);
}

void freed_wait(struct batch *b) {
    for (unsigned i = 0; i < shards_count(b->net->shard->all); i++)
        b->parts[i].freeing = true;
    look(b);
}

void freed_init(struct net *n) {
    list_init(&n->freeing);
    n->freed_look.fire = fire;
    n->freed_look.arg = n;
}

void freed_stop(struct net *n) {
    timer_clear(n->shard->loop, &n->freed_look);
}
