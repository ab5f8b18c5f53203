/* expiry_sim.c: keys, fields and members that expire, in the simulator's time, against a model that knows the time too.
 *
 * Usage       expiry_sim [--seeds N] [--first SEED] [--verbose]; a failure prints its seed, what was asked and what came.
 *
 * Every request begins with a millisecond and is answered within it, so each reply is known byte by byte: what is there in
 * its last millisecond, and is not in the next. Between requests time passes by nothing, by a few milliseconds, by seconds, or
 * to the very millisecond in which something dies, or the one after. A third of it is in MULTI. What nobody asks for is looked
 * for in memory: dead keys have to go within two ticks and one of the server's timer. In some seeds the sweep is off
 * (DEBUG SET-ACTIVE-EXPIRE 0), and only those who ask find what is dead. At the end each death must have been counted once.
 */
#include "anax/instance.h"
#include "expiry_impl.h"
#include "shards/clock.h"
#include "shards/keyspace.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS = 3,
    STEPS = 500,
    ROUNDS_MAX = 20000,
    STEP_MS = 40, /* the longest that time passes without turns */
    SWEPT_MS = 2 * EXPIRE_TICK_MS + 100 + 2 * STEP_MS
};

static struct sim_world w;
static struct model model;
static struct talk talk;
static struct {
    struct sim_client *end;
    unsigned db;
} connections[CONNECTIONS];
static char heard[EXPIRY_SPOKEN_MAX];
static size_t heard_len;
static bool sweeps;
static struct { uint64_t replies, deaths, last_ms, first_ms_after, swept; } totals;

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(&w, n);
}

static int64_t wall_ms(void) {
    return clock_wall_us() / 1000;
}

static _Noreturn void fail(const char *what) {
    (void)printf("at %ld in database %u asked:\n%.*s\nheard:\n%.*s\nexpected:\n%.*s\n",
                 (long)model.now_ms, talk.db, (int)talk.asked_len, talk.asked, (int)heard_len,
                 heard, (int)talk.expected_len, talk.expected);
    sim_world_fail(&w, what);
}

/* --- time --- */

static void turn_all(void) {
    for (unsigned i = 0; i < w.n; i++)
        (void)sim_world_turn(&w, i);
}

/* pass_until: the beginning of that millisecond; the server gets its turns on the way. */
static void pass_until(int64_t ms) {
    int64_t left_us;
    while ((left_us = ms * 1000 - clock_wall_us()) > 0) {
        int64_t step_us = left_us < STEP_MS * 1000 ? left_us : STEP_MS * 1000;
        sim_advance(w.net, (uint64_t)step_us * 1000);
        turn_all();
    }
    model_age(&model, wall_ms());
}

static void pass(void) {
    static const unsigned some_ms[] = {1, 1, 3, 20, 150, 400, 3000};
    int64_t now = wall_ms() + 1, next = model_next_ms(&model);
    if (next != 0 && below(2) == 0) {
        bool after = below(2) == 0;
        if (next + after < now || next - now > 200000)
            return pass_until(now);
        *(after ? &totals.first_ms_after : &totals.last_ms) += 1;
        return pass_until(next + after);
    }
    pass_until(now + below(some_ms[below(COUNT_OF(some_ms))]));
}

/* --- talking --- */

static void talk_begin(unsigned db) {
    talk.m = &model;
    talk.db = db;
    talk.asked_len = talk.expected_len = 0;
    heard_len = 0;
}

static unsigned lines(const char *text, size_t len) {
    unsigned n = 0;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

/* reply_end: of the reply at `from`; 0: it is not all there. */
static size_t reply_end(size_t from) {
    const char *line = memchr(heard + from, '\n', heard_len - from);
    if (line == NULL)
        return 0;
    size_t at = (size_t)(line - heard) + 1;
    long n = atol(heard + from + 1);
    if (heard[from] == '$' && n >= 0)
        return at + (size_t)n + 2 <= heard_len ? at + (size_t)n + 2 : 0;
    for (; heard[from] == '*' && n > 0 && at != 0; n--)
        at = reply_end(at);
    return at;
}

static bool heard_all(unsigned replies) {
    size_t at = 0;
    for (; replies > 0; replies--) {
        at = at < heard_len ? reply_end(at) : 0;
        if (at == 0)
            return false;
    }
    return true;
}

/* hear: what has arrived. */
static void hear(unsigned connection) {
    for (ssize_t n = 1; n > 0; heard_len += (size_t)n) {
        n = sim_client_read(connections[connection].end, heard + heard_len,
                            sizeof heard - 1 - heard_len);
        if (n < 0)
            fail("a connection was closed");
    }
    heard[heard_len] = 0;
}

/* speak: what is asked, on a connection; until all is answered, within the millisecond. */
static void speak(unsigned connection) {
    unsigned replies = lines(talk.asked, talk.asked_len);
    if (!sim_client_write(connections[connection].end, talk.asked, talk.asked_len))
        fail("a connection is over");
    heard_len = 0;
    for (unsigned rounds = 0; !heard_all(replies); rounds++) {
        if (rounds == ROUNDS_MAX || heard_len == sizeof heard - 1)
            fail("no answer");
        sim_world_round(&w);
        hear(connection);
    }
    totals.replies += replies;
    if (sim_verbose)
        (void)printf("%ld, database %u:\n%.*s%s\n", (long)model.now_ms, talk.db,
                     (int)talk.asked_len, talk.asked, heard);
    if (wall_ms() != model.now_ms)
        fail("not answered at once");
}

static void check(unsigned connection) {
    speak(connection);
    if (heard_len != talk.expected_len || memcmp(heard, talk.expected, heard_len) != 0)
        fail("a wrong reply");
}

/* --- what is asked --- */

static void some(unsigned n) {
    for (; n > 0; n--)
        (below(3) == 0 ? inner_one : ops_one)(&talk);
}

static void ask(unsigned connection) {
    some(1 + below(3));
    if (talk.asked_len != 0)
        check(connection);
}

/* ask_multi: the replies come with EXEC. */
static void ask_multi(unsigned connection) {
    static char body[EXPIRY_SPOKEN_MAX], replies[EXPIRY_SPOKEN_MAX];
    some(1 + below(5));
    unsigned n = lines(talk.asked, talk.asked_len);
    size_t body_len = talk.asked_len, replies_len = talk.expected_len;
    memcpy(body, talk.asked, body_len);
    memcpy(replies, talk.expected, replies_len);
    talk.asked_len = talk.expected_len = 0;
    talk_ask(&talk, "MULTI\r\n%.*sEXEC\r\n", (int)body_len, body);
    talk_expect(&talk, "+OK\r\n");
    for (unsigned i = 0; i < n; i++)
        talk_expect(&talk, "+QUEUED\r\n");
    talk_expect(&talk, "*%u\r\n%.*s", n, (int)replies_len, replies);
    check(connection);
}

/* names: which of k0 to k9 were heard, from `at` on; each once, but for SCAN. */
static unsigned names(const char *at, bool once) {
    unsigned set = 0;
    while ((at = strstr(at, "\r\nk")) != NULL) {
        at += 3;
        unsigned bit = 1U << (*at - '0');
        if (once && (set & bit) != 0)
            fail("a key was told twice");
        set |= bit;
    }
    return set;
}

static unsigned live_names(void) {
    unsigned set = 0;
    for (unsigned i = 0; i < EXPIRY_KEYS; i++)
        set |= (unsigned)(ops_key(&talk, i)->kind != KIND_NONE) << i;
    return set;
}

static void scan(unsigned connection) {
    char cursor[32] = "0";
    unsigned set = 0, calls = 0;
    do {
        talk.asked_len = 0;
        talk_ask(&talk, "SCAN %s COUNT %u\r\n", cursor, 1 + below(10));
        speak(connection);
        const char *from = strchr(heard + 4, '\n');
        if (from == NULL || ++calls > 10000)
            fail("SCAN does not end");
        (void)snprintf(cursor, sizeof cursor, "%.*s", (int)strcspn(from + 1, "\r"), from + 1);
        set |= names(from + 1 + strlen(cursor), false);
    } while (strcmp(cursor, "0") != 0);
    if (set != live_names())
        fail("SCAN tells what is dead, or not all");
}

static unsigned stored_most(unsigned db) {
    int64_t since_ms = sweeps ? model.now_ms - SWEPT_MS : 0;
    return model_live(&model, db) + model_unswept(&model, db, since_ms);
}

static void ask_whole(unsigned connection) {
    switch (below(6)) {
    case 0:
        talk_ask(&talk, "DBSIZE\r\n");
        speak(connection);
        unsigned n = (unsigned)atol(heard + 1);
        if (n < model_live(&model, talk.db) || n > stored_most(talk.db))
            fail("DBSIZE counts what is long dead, or not all");
        break;
    case 1:
        talk_ask(&talk, "KEYS *\r\n");
        speak(connection);
        if (names(heard, true) != live_names())
            fail("KEYS tells what is dead, or not all");
        break;
    case 2:
        scan(connection);
        break;
    case 3:
        talk_ask(&talk, "RANDOMKEY\r\n");
        speak(connection);
        unsigned one = names(heard, true);
        if ((one & live_names()) != one || (one == 0) != (live_names() == 0))
            fail("RANDOMKEY tells what is dead, or nothing");
        break;
    default:
        talk_ask(&talk, "SWAPDB 0 1\r\n");
        talk_expect(&talk, "+OK\r\n");
        for (unsigned i = 0; i < EXPIRY_KEYS; i++) {
            struct key k = model.keys[0][i];
            model.keys[0][i] = model.keys[1][i];
            model.keys[1][i] = k;
        }
        check(connection);
    }
}

static void step(void) {
    unsigned connection = below(CONNECTIONS), how = below(12);
    pass();
    talk_begin(connections[connection].db);
    if (how == 0)
        ask_whole(connection);
    else if (how < 5)
        ask_multi(connection);
    else
        ask(connection);
}

/* --- what is left --- */

static ON_SHARD unsigned stored(unsigned db) {
    uint64_t n = 0;
    for (unsigned i = 0; i < w.n; i++) {
        const struct table *t = keyspace_peek_table(shards_get(w.shards, i)->keyspace, db);
        n += t == NULL ? 0 : table_count(t);
    }
    return (unsigned)n;
}

/* idle: nobody asks anything, and what dies meanwhile goes. */
static ON_SHARD void idle(void) {
    pass_until(wall_ms() + 1 + SWEPT_MS + below(3000));
    talk_begin(0);
    for (unsigned db = 0; sweeps && db < EXPIRY_DBS; db++) {
        unsigned n = stored(db);
        if (n < model_live(&model, db))
            fail("keys were lost");
        if (n > stored_most(db))
            fail("dead keys are still stored");
        totals.swept += model_unswept(&model, db, 0);
    }
}

/* count_deaths: every key whose time has come is gone when all have been asked for, and was counted once. */
static ON_SHARD void count_deaths(void) {
    uint64_t expired = 0;
    for (unsigned c = 0; c < CONNECTIONS; c++) {
        talk_begin(connections[c].db);
        talk_ask(&talk, "EXISTS");
        for (unsigned i = 0; i < EXPIRY_KEYS; i++)
            talk_ask(&talk, " k%u", i);
        talk_ask(&talk, "\r\n");
        talk_expect(&talk, ":%u\r\n", model_live(&model, talk.db));
        check(c);
    }
    for (unsigned i = 0; i < w.n; i++)
        expired += keyspace_stats(shards_get(w.shards, i)->keyspace)->expired;
    if (expired != model.deaths) {
        (void)printf("%lu of %lu\n", (unsigned long)expired, (unsigned long)model.deaths);
        fail("deaths are not counted once");
    }
    totals.deaths += expired;
}

/* --- a seed --- */

/* Slow enough that requests are cut in pieces, fast enough for a millisecond. */
static void faults(void) {
    struct sim_faults f = {.delay_max_ns = below(1500),
                           .short_read_in = below(4),
                           .short_write_in = below(2) == 0 ? 0 : 4};
    sim_set_faults(w.net, &f);
}

static ON_SHARD void begin(uint64_t seed) {
    sim_world_begin(&w, seed);
    memset(&model, 0, sizeof model);
    model.world = &w;
    sweeps = below(4) != 0;
    for (unsigned i = 0; i < w.n; i++)
        instance_of(shards_get(w.shards, i))->expire_off = !sweeps;
    sim_world_no_faults(&w);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connections[i].end = sim_world_connect(&w);
        connections[i].db = i / 2;
        pass_until(wall_ms() + 1);
        talk_begin(connections[i].db);
        talk_ask(&talk, "SELECT %u\r\n", talk.db);
        talk_expect(&talk, "+OK\r\n");
        check(i);
    }
    faults();
}

static void run_seed(uint64_t seed) {
    shard_claim();
    begin(seed);
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        if (below(60) == 0)
            idle();
    }
    pass_until(wall_ms() + 1);
    count_deaths();
    idle();
    for (unsigned i = 0; i < CONNECTIONS; i++)
        sim_client_free(connections[i].end);
    sim_world_quiet(&w);
    sim_world_end(&w);
}

static bool reached(uint64_t seeds) {
    (void)printf("%lu replies, %lu deaths, %lu keys met in their last millisecond, %lu in the one "
                 "after, %lu were swept "
                 "while idle, %lu borrowings\n",
                 (unsigned long)totals.replies, (unsigned long)totals.deaths,
                 (unsigned long)totals.last_ms, (unsigned long)totals.first_ms_after,
                 (unsigned long)totals.swept, (unsigned long)sim_totals.borrows);
    return seeds < 20 ||
           (totals.deaths != 0 && totals.last_ms != 0 && totals.first_ms_after != 0 &&
            totals.swept != 0 && sim_totals.borrows != 0 && sim_totals.transactions != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, NULL, reached);
}
