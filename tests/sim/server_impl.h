/* server_impl.h: what server_sim's files share.
 *
 *   server_sim.c    strings, the clients, and the run of a seed
 *   server_wire.c   what a client sends, and what it must hear
 *   server_coll.c   lists, hashes, sets and sorted sets: random commands, and a model of what they say
 *   server_crowd.c  the same of large ones
 *   server_soon.c   keys that several clients share and that expire in the middle of it
 */
#ifndef SERVER_IMPL_H
#define SERVER_IMPL_H

#include "shards/span.h"
#include "sim_world.h"

enum { SERVER_VALUE_MAX = 100 * 1024, SERVER_REQUEST_MAX = 16 * SERVER_VALUE_MAX };

/* What a client has sent and what the replies must be. */
struct wire {
    char *expected;
    size_t expected_len, expected_cap, matched;
    unsigned id, generation; /* of the client: they are in the names of its keys */
};

void server_expect(struct wire *w, const char *bytes, size_t len);
void server_expect_text(struct wire *w, const char *text);
void server_expect_int(struct wire *w, long v);
void server_expect_head(struct wire *w, long n); /* of an array; negative: there is none */
void server_expect_bulk(struct wire *w, struct span s);

/* The request that is being made, of any number of commands. */
void server_begin(unsigned argc);
void server_arg(const char *bytes, size_t len);
void server_word(const char *text);
void server_number(long v);
void server_inline(const char *line);
/* server_key: `kind` is a letter, none of which the strings have. */
void server_key(const struct wire *w, char kind, unsigned k);
size_t server_key_text(const struct wire *w, char kind, unsigned k, char *to, size_t size);
/* server_request: what has been made so far; taken: it was sent. */
struct span server_request(void);
void server_request_taken(void);

/* --- lists, hashes, sets and sorted sets --- */
enum {
    COLL_KEYS = 3, /* of each type */
    COLL_LIST_MAX = 200,
    COLL_MEMBERS = 32 /* that sets and sorted sets can have, fields that hashes can have */
};

enum crowd_type { CROWD_LIST, CROWD_HASH, CROWD_SET, CROWD_SCORES, CROWD_TYPES };
enum { CROWD_KEYS = 2 };

/* What a large one holds: from, from + 1, ... to - 1. */
struct crowd {
    unsigned from, to;
};

/* Values are numbers, from which their bytes are made; 0: none. */
struct coll_model {
    struct list_model {
        unsigned count;
        uint32_t values[COLL_LIST_MAX];
    } lists[COLL_KEYS];
    struct hash_model {
        uint32_t values[COLL_MEMBERS];
    } hashes[COLL_KEYS];
    uint32_t sets[COLL_KEYS]; /* a bit for each member */
    struct scores_model {
        uint32_t members;
        int quarters[COLL_MEMBERS];
    } scores[COLL_KEYS];
    struct crowd crowds[CROWD_TYPES * CROWD_KEYS];
};

/* server_coll_send: one command; what it must say is expected. */
void server_coll_send(struct sim_world *world, struct wire *w, struct coll_model *m);
unsigned server_coll_count(const struct coll_model *m);
void server_crowd_send(struct sim_world *world, struct wire *w, struct crowd *m);
unsigned server_crowd_count(const struct crowd *m);
/* server_coll_soon_gone: makes fields that live for 50 ms and members that live for a second beside some that stay.
 * server_coll_gone: asks for them when their time is over, of the members as well when `later`, and deletes what is left. */
void server_coll_soon_gone(struct wire *w);
void server_coll_gone(struct wire *w, bool later);
/* server_coll_many: n fields and n members that live for a second at most, and nothing else in their keys. */
void server_coll_many(struct wire *w, unsigned n);

/* --- keys that expire soon --- */
/* server_soon_begin: n more clients, three at most. server_soon_step: one of them reads, or sends something. server_soon_answered:
 * have they read all there is to come? server_soon_clean: they ask for all their keys to go. */
void server_soon_begin(struct sim_world *w, unsigned n);
void server_soon_step(void);
bool server_soon_answered(void);
void server_soon_clean(void);
void server_soon_end(void);

#endif
