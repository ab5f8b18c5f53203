/* expiry_impl.h: what expiry_sim's files share.
 *
 *   expiry_sim.c    the run of a seed: time, connections, what is said, and what is left in memory
 *   expiry_model.c  what a database holds and when it is gone
 *   expiry_ops.c    commands on strings and keys, each with the reply that it must have
 *   expiry_inner.c  the same of hashes and sets, whose fields and members have times of their own
 *
 * A hash always has field f0, and a set member m0, without a time, so that these keys go by their own time only.
 */
#ifndef EXPIRY_IMPL_H
#define EXPIRY_IMPL_H

#include "sim_world.h"

enum {
    EXPIRY_DBS = 2,
    EXPIRY_KEYS = 10, /* few: most commands meet one that is there, or that died a moment ago */
    EXPIRY_FIELDS = 4,
    EXPIRY_TEXT_MAX = 1500,        /* longer than what lies in an entry */
    EXPIRY_APPEND_FROM_MAX = 1400, /* longer strings are not made longer */
    EXPIRY_SPOKEN_MAX = 64 * 1024
};

enum kind { KIND_NONE, KIND_STRING, KIND_LIST, KIND_HASH, KIND_SET };

struct field {
    bool there;
    long value;
    int64_t expire_ms; /* 0: never */
};

struct key {
    enum kind kind;
    int64_t expire_ms; /* 0: never */
    int64_t died_ms;   /* of KIND_NONE: its time came, and nobody has overwritten it; or 0 */
    unsigned len;      /* of text; or elements of a list, which are all "x" */
    char text[EXPIRY_TEXT_MAX];
    struct field fields[EXPIRY_FIELDS];
};

struct model {
    struct sim_world *world;
    int64_t now_ms;
    uint64_t deaths; /* keys whose time has come */
    struct key keys[EXPIRY_DBS][EXPIRY_KEYS];
};

/* model_age: it is now_ms by now; what is dead goes. */
void model_age(struct model *m, int64_t now_ms);
void model_forget(struct key *k); /* deleted by a command */
unsigned model_live(const struct model *m, unsigned db);
/* model_unswept: those that may still be stored, because they died after `since_ms`. */
unsigned model_unswept(const struct model *m, unsigned db, int64_t since_ms);
/* model_next_ms: the time of something that is to die, chosen at random; 0: nothing will. */
int64_t model_next_ms(struct model *m);
void model_copy(struct key *to, const struct key *from);
void model_set_text(struct key *k, const char *text, size_t len);

/* What is being said: lines of a request, and the reply to all of them. */
struct talk {
    struct model *m;
    unsigned db;
    char asked[EXPIRY_SPOKEN_MAX], expected[EXPIRY_SPOKEN_MAX];
    size_t asked_len, expected_len;
};

void talk_ask(struct talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void talk_expect(struct talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void talk_expect_text(struct talk *t, const struct key *k); /* a bulk string; NULL: none */

/* ops_one: one command, of those that may stand in MULTI. inner_one: of hashes and sets. */
void ops_one(struct talk *t);
void inner_one(struct talk *t);

/* Shared by both. */
unsigned ops_below(const struct talk *t, unsigned n);
struct key *ops_key(struct talk *t, unsigned i);
/* ops_when: a time to expire at: soon, later, or over. */
int64_t ops_when(const struct talk *t);
/* ops_conditions: perhaps one or two of NX, XX, GT, LT, with a space before; ops_allowed: whether they let the time
 * change from the first to the second, where 0 is never. */
unsigned ops_conditions(const struct talk *t, char text[16]);
bool ops_allowed(unsigned conditions, int64_t now, int64_t wanted);
#define OPS_WRONG_TYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

#endif
