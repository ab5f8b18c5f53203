/* tx_script.h: tests that say message by message what arrives. The shards 0 and 1 have keys, 2 and 3 are homes; what runs
 * leaves its name. And single steps, which may go on for some turns.
 */
#ifndef TX_SCRIPT_H
#define TX_SCRIPT_H

#include "tx_fixture.h"

#if defined(__clang__) /* a test is the only thread there is */
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

enum { A, B, HOME, OTHER, SHARDS };
enum { KEY_X = 64, KEY_Y = 128, KEY_Z = 1 }; /* X and Y share a chain of intents */

static struct toy toy;
static char ran[SHARDS][512]; /* names, in the order of what ran there */

static inline struct tx_shard *at(unsigned shard) {
    return &toy.shard[shard].tx;
}

static inline void note(unsigned shard, char name) {
    ran[shard][strlen(ran[shard])] = name;
}

/* move: the next `count` messages of one line. */
static inline void move(unsigned from, unsigned to, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        cr_assert(toy_deliver(&toy, from, to), "no message from %u to %u", from, to);
}

static inline void begin(void) {
    toy_begin(&toy, SHARDS, 100);
    memset(ran, 0, sizeof ran);
}

static inline void end(void) {
    toy_settle(&toy);
    toy_end(&toy);
}

/* --- steps --- */

struct single {
    struct tx_step step;
    struct tx_want want;
    struct tx_claim *self;
    char name;
    unsigned turns, done; /* it ends after so many turns more */
};

static inline bool single_run(struct shard *s, void *arg, struct tx_claim *self) {
    struct single *one = arg;
    note(s->id, one->name);
    one->self = self;
    return one->turns-- == 0;
}

static inline void single_done(struct shard *home, void *arg) {
    struct single *s = arg;
    cr_assert_eq(home->id, s->step.home);
    s->done++;
}

static inline struct single single(char name, unsigned home, uint64_t hash, enum tx_mode mode) {
    return (struct single){.step = {.id = tx_next_id(at(home)),
                                    .home = (uint16_t)home,
                                    .count = 1,
                                    .run = single_run,
                                    .done = single_done},
                           .want = {.hash = hash, .mode = (uint8_t)mode},
                           .name = name};
}

static inline void wait_at(struct single *s, unsigned shard) {
    s->step.wants = &s->want;
    s->step.arg = s;
    enum err e = tx_wait(&toy.shard[shard], &s->step);
    cr_assert_eq(e, OK);
}

#endif
