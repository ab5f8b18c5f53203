/* claim_impl.h: one shard's claims, in the order of their ids; for this room only.
 *
 *   claims.c   who is before whom, who conflicts with whom, who may be granted
 *   tx.c       what travels between a transaction's home and its claims
 *
 * Every key of a claim is an intent, in a chain of intents whose keys have the same low bits of the hash; a chain is
 * two lists, of shared and of exclusive ones, also in the order of ids. A claim is granted as a whole or not at
 * all, so nobody holds one key while waiting for another.
 */
#ifndef TX_CLAIM_IMPL_H
#define TX_CLAIM_IMPL_H

#include "shards/tx.h"

struct tx_intent {
    struct tx_intent *prev, *next; /* of the chain */
    struct tx_claim *claim;
    struct tx_want want;
};

struct tx_line {
    struct tx_intent *first, *last;
};

struct tx_chain {
    struct tx_line shared, exclusive;
};

struct tx_claim {
    struct list queue; /* tx_shard.queue */
    struct list ready;
    struct tx_shard *shard;
    uint64_t id;
    struct tx_part *part; /* NULL: a step */
    struct tx_step step;
    uint64_t client;
    bool ordered;
    bool granted, asking, released, ask_yes, exclusive;
    bool noticing,
        ends_hop; /* the notice is on its way; it goes once more when it is back, to tell of the end of a hop */
    uint8_t whole;
    bool pins;
    uint32_t out, sent; /* messages to its home: on their way; in all */
    uint64_t clock;     /* of a step, for its home to learn */
    struct bus_msg notice, ask;
    uint32_t count, room; /* intents in their lines; of `intents` */
    struct tx_intent intents[];
};

/* claim_add: a claim in its place, not granted, without client and order; NULL: no memory. */
struct tx_claim *claim_add(struct tx_shard *s, uint64_t id, const struct tx_want *wants,
                           uint32_t count, uint8_t whole, bool pins);
/* claim_unlock: its keys are free. claim_remove: takes it out of the queue and the chains; claim_free comes later. */
void claim_unlock(struct tx_claim *c);
void claim_remove(struct tx_claim *c);
void claim_free(struct tx_claim *c);
/* claim_blocked: by whom; NULL: it may be granted. When nobody is before it, `behind` gets every granted one with a
 * higher id that is in its way, and may take the grant back. */
struct tx_claim *claim_blocked(const struct tx_claim *c, void (*behind)(struct tx_claim *other));
/* claim_next: calls `may_go` with those that may have become first now that c is gone or yields. */
void claim_next(struct tx_claim *c, void (*may_go)(struct tx_claim *other));

#endif
