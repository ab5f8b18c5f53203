/* tx.h: several keys on several shards as one atomic step.
 *
 * Why         A command whose keys lie on one shard runs there at once and needs none of this. What spans
 *             shards (a multi-key command, MULTI/EXEC, whatever all shards do at one moment) is a
 *             transaction: it locks its keys on every shard, runs when all of them are granted, in as
 *             many hops as it needs, and lets go with the last. Nothing is held by who waits for a
 *             client, and nothing that is seen is ever half of it.
 *
 * Protocol    A transaction has an id, (Lamport time, home shard), and on each shard that it touches a
 *             claim: the keys that it wants there, each shared or exclusive, or the whole shard.
 *
 *             home                           shard A          shard B
 *               | schedule ------------------> claim            |
 *               | schedule ----------------------------------> claim
 *               | <------------------ granted  |                |       (at once, or when its turn comes)
 *               | <--------------------------------- granted    |
 *               | all granted: it runs         |                |
 *               | hop -----------------------> |                |       (any number of rounds, each to
 *               | <------------------ answer   |                |        the shards that take part in it)
 *               | last hop, which releases --> x                |
 *               | ... --------------------------------------->  x
 *
 *             A shard keeps its claims in the order of ids. It grants a claim when none before it conflicts
 *             with it, and no granted one behind it does. A claim that comes late, behind the back of a
 *             granted one with a higher id, makes the shard ask that one's home to yield: the home agrees
 *             unless its transaction runs already; then the grant is taken back, and given again
 *             when its turn comes.
 *
 * No deadlock  A claim waits for claims with lower ids; for a granted one with a higher id, until its home
 *             yields or it has run; and who runs waits for nobody. So of all that do not run yet the one with
 *             the lowest id waits only for what runs, and will run.
 * No starvation  ids of a home grow, and a shard tells its time to every home that has a claim there: so
 *             only finitely many that come later have a lower id than one that waits.
 * Looking     What locks protect may be read as soon as they are granted on that shard: `look` runs there
 *             with the grant, which saves a round. It changes nothing that others see, and runs
 *             again when the grant was taken back meanwhile; nobody uses what it found before all is granted.
 * Reading in place  From `look` until its release a transaction may read, on any shard, what the keys that
 *             it has locked hold: the bytes and objects, not the entries around them (whose access time others
 *             may set). With `pins` set, nothing that is not a transaction removes these keys either:
 *             expiry and eviction ask tx_pinned.
 * Single steps  A command on one shard runs at once when no claim there conflicts with it (tx_conflicts),
 *             whether that claim is granted or not; else it becomes a claim of its own (tx_wait) with an
 *             id of its home.
 * Long hops, long steps  What takes longer than a turn may keep its locks meanwhile: a hop that sets p->more is
 *             called again by tx_hop_on, and its transaction goes on when all have ended; a step whose run returns false
 *             is run again by tx_go_on. Whoever waits for them waits for what runs.
 * Order        what a client sends while something that it sent before is still under way (`ordered`) keeps its order
 *             with that on every key, even when both only read: else one that yields to a write could see it while
 *             the later one has not.
 *
 * Threads     a tx and its parts: the holder of the home shard, but for what `look` and `hop` write while
 *             they run elsewhere. A tx_shard: the holder of its shard.
 * Limits      none of its own: there are as many transactions as connections have commands in flight.
 * Invariants  (1) hops run only while every claim of the transaction is granted, and its home does not yield.
 *             (2) two claims that conflict are never both of running transactions.
 *             (3) of two that conflict on several shards one is before the other on all of them.
 *             (4) transactions that do not conflict never wait for each other.
 *             (5) ended runs once, after which no message of the transaction is on its way.
 *             (6) a claim goes with its transaction: nothing a client does or fails to do keeps it.
 */
#ifndef SHARDS_TX_H
#define SHARDS_TX_H

#include "shards/attr.h"
#include "shards/bus.h"
#include "shards/list.h"
#include <stdbool.h>
#include <stddef.h>

struct tx;
struct tx_claim;

/* An id is a Lamport time, and in its low bits the home. */
enum { TX_HOME_BITS = 8 };
static_assert(BUS_SHARDS_MAX <= 1 << TX_HOME_BITS, "a home fits into an id");

enum tx_mode { TX_NONE, TX_SHARED, TX_EXCLUSIVE };

/* What is wanted of one key; keys are told apart by their hash and database alone. */
struct tx_want {
    uint64_t hash;
    uint32_t db;
    uint8_t mode;
};

/* One shard's part. The caller sets shard, wants, count and whole, and for each hop run and release. */
struct tx_part {
    struct tx *tx;
    const struct tx_want *wants; /* the caller's, until ended */
    uint32_t count;
    uint16_t shard;
    uint8_t whole; /* tx_mode: of everything on that shard */
    bool run;      /* takes part in the next hop */
    bool release;  /* lets go of its locks at the end of that hop */
    bool more;     /* set by hop, on the part's shard: it is not over, and tx_hop_on will come */
    /* tx.c's: */
    bool granted, granted_at_once, refused, released, later;
    uint32_t seen, sent; /* messages of that shard about this part */
    uint64_t clock;
    struct tx_claim *claim;
    struct bus_msg msg;
};

struct tx_ops {
    /* On each part's shard, with its grant; NULL: nothing to look at. */
    void (*look)(struct shard *at, struct tx_part *p);
    /* On the shard of each part that takes part in the hop. */
    void (*hop)(struct shard *at, struct tx_part *p);
    /* At home, when all is granted and after every hop: calls tx_hop or tx_end. With t->failed there was no
     * memory for a claim, or it was given up; nothing has run, and only tx_end will do. */
    void (*next)(struct shard *home, struct tx *t);
    /* At home, at last: t and its parts are the caller's again. */
    void (*ended)(struct shard *home, struct tx *t);
};

enum tx_state { TX_SCHEDULING, TX_RUNNING, TX_ENDING };

struct tx {
    const struct tx_ops *ops;
    struct tx_part *parts;
    uint16_t part_count;
    uint64_t client; /* who sent it; 0: nobody */
    bool ordered;    /* behind what the client sent before */
    bool pins;       /* what it looks at is read in place from other shards */
    /* tx.c's: */
    bool failed, in_next;
    uint8_t state;
    uint64_t id;
    uint32_t unanswered, missing;
};

struct tx_stats {
    uint64_t started;  /* transactions of this home */
    uint64_t claims;   /* that came to this shard */
    uint64_t waited;   /* of these, not granted at once */
    uint64_t overtook; /* granted while one that came before still waited */
    uint64_t asked, yielded;
    uint64_t steps_waited; /* single steps that had to wait */
};

/* A gate: may this key be had exclusively now? It is asked right before that would be so. */
typedef bool tx_gate_fn(void *arg, const struct tx_want *w);

/* A shard's side: its claims. The first two fields are for tx_busy; all else is tx.c's. */
struct tx_shard {
    uint32_t claims;
    uint32_t gated; /* 1: there is a gate */
    uint32_t whole_claims, pinned_claims;
    uint32_t waiting;
    uint16_t id;
    bool serving;
    uint64_t clock;
    uint64_t at_home; /* transactions of this home that have not ended */
    struct shard *shard;
    void (*post)(struct shard *s, struct bus_msg *m);
    struct mem *mem;
    tx_gate_fn *gate;
    void *gate_arg;
    struct list queue; /* claims, by id */
    struct list ready; /* granted, and not told yet */
    struct tx_chain *chains;
    uint32_t chain_count, intents;
    uint32_t returning; /* claims that are gone but for a message on its way back */
    struct tx_stats stats;
};

/* tx_shard_init: `post` sends a message to m->to. ERR_NOMEM. */
MUST_CHECK enum err tx_shard_init(struct tx_shard *s, struct shard *shard, uint16_t id,
                                  struct mem *m, void (*post)(struct shard *s, struct bus_msg *m));
void tx_shard_deinit(struct tx_shard *s);
/* tx_of: the shard's side of a shard; whoever owns struct shard supplies it. */
struct tx_shard *tx_of(struct shard *s);

/* tx_set_gate: from now on keys are granted exclusively, and single steps that want one so run, only when `gate` says
 * so; NULL: as they like again. tx_open_gate: it may say something else now; those that wait are tried again. */
void tx_set_gate(struct tx_shard *s, tx_gate_fn *gate, void *arg) ON_SHARD;
void tx_open_gate(struct tx_shard *s) ON_SHARD;

/* tx_busy: are there claims, or a gate? tx_conflicts: must a step that wants this wait? tx_conflicts_whole:
 * one that looks at (TX_SHARED) or changes (TX_EXCLUSIVE) everything here. client: of an ordered step, else 0.
 * O(claims with the key's hash). */
static inline bool tx_busy(const struct tx_shard *s) {
    return unlikely((s->claims | s->gated) != 0);
}
bool tx_conflicts(const struct tx_shard *s, const struct tx_want *w, uint64_t client) ON_SHARD;
bool tx_conflicts_whole(const struct tx_shard *s, enum tx_mode mode) ON_SHARD;
/* tx_pinned: does a transaction that reads in place hold a key with this hash, in any database? */
bool tx_pinned(const struct tx_shard *s, uint64_t hash) ON_SHARD;

/* tx_locked: has anybody who was granted it locked a key with this hash, in any database? */
bool tx_locked(const struct tx_shard *s, uint64_t hash) ON_SHARD;

/* tx_next_id: for what starts at this home now; ids grow. */
uint64_t tx_next_id(struct tx_shard *s) ON_SHARD;

/* tx_start: ops, parts (each shard once at most, one at least), part_count and pins are set. May call
 * ops->next before it returns. O(wants). */
void tx_start(struct shard *home, struct tx *t) ON_SHARD;
/* tx_hop, tx_end: from ops->next only. tx_hop runs ops->hop for the parts that have `run` set; tx_end lets go
 * of what is left, without waiting for it. */
void tx_hop(struct shard *home, struct tx *t) ON_SHARD;
void tx_end(struct shard *home, struct tx *t) ON_SHARD;
/* tx_hop_on: on the shard of a part that wanted it, in a later turn than the hop: calls hop again. */
void tx_hop_on(struct shard *at, struct tx_part *p) ON_SHARD;
/* tx_give_up: of one that still waits for locks: it does not want them any longer. ops->next comes with t->failed, now or when what is
 * on its way is there; once it runs, nothing happens. */
void tx_give_up(struct shard *home, struct tx *t) ON_SHARD;
/* tx_hold: from ops->next, instead of tx_hop or tx_end: next comes again when tx_unhold was called, in a later turn. */
void tx_hold(struct tx *t);
void tx_unhold(struct shard *home, struct tx *t) ON_SHARD;

/* A step on one shard that has to wait. */
struct tx_step {
    uint64_t client; /* as of a transaction */
    bool ordered;
    uint64_t id;   /* from tx_next_id of its home; no other claim on this shard has it */
    uint16_t home; /* where done() runs */
    const struct tx_want *wants;
    uint32_t count;
    uint8_t whole;
    bool pins; /* as of a transaction */
    /* When its turn has come, here; it lets go when that returns true, and else is called again by tx_go_on. */
    bool (*run)(struct shard *at, void *arg, struct tx_claim *self);
    void (*done)(struct shard *home, void *arg); /* then, at home */
    void *arg;
};
/* tx_wait: copies what it needs. ERR_NOMEM: nothing has happened. */
MUST_CHECK enum err tx_wait(struct shard *at, const struct tx_step *step) ON_SHARD;

/* tx_go_on: in a later turn than the run that returned false. */
void tx_go_on(struct shard *at, struct tx_claim *self) ON_SHARD;

/* tx_idle: nothing of this shard waits or runs, and no transaction of its home either. */
bool tx_idle(const struct tx_shard *s);

/* tx_each: the claims here, in the order of their ids, for an operator. */
struct tx_info {
    uint64_t time; /* Lamport's */
    uint16_t home;
    bool granted, step, yielding;
    uint8_t whole;
    uint32_t shared, exclusive; /* keys */
    uint64_t waits_for;         /* id of one that it waits for; 0: of none */
};
void tx_each(const struct tx_shard *s, void (*visit)(void *arg, const struct tx_info *i),
             void *arg) ON_SHARD;

#endif
