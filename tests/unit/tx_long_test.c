/* tx_long_test.c: what keeps its locks over many turns (tx.h: long hops, long steps), by the shortest sequence of messages that
 * could go wrong. The shards 0 and 1 have keys, 2 and 3 are homes; tx_sim_test.c does the same at random.
 */
#include "tx_script.h"

/* A transaction of one hop, which on each of its shards goes on `turns` times before it ends. */
struct unit {
    struct tx tx;
    struct tx_part parts[3];
    struct tx_want wants[3];
    char name;
    bool hold, release;
    unsigned turns[SHARDS], nexts, ends;
};

static struct unit *unit_of(struct tx *t) {
    return CONTAINER_OF(t, struct unit, tx);
}

static void unit_hop(struct shard *s, struct tx_part *p) {
    struct unit *u = unit_of(p->tx);
    note(s->id, u->name);
    p->more = u->turns[s->id] != 0;
    u->turns[s->id] -= p->more;
}

static void unit_next(struct shard *home, struct tx *t) {
    struct unit *u = unit_of(t);
    u->nexts++;
    if (u->hold) {
        u->hold = false;
        u->nexts--;
        tx_hold(t);
        return;
    }
    if (u->nexts > 1) {
        tx_end(home, t);
        return;
    }
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].run = true;
        t->parts[i].release = u->release;
    }
    tx_hop(home, t);
}

static void unit_ended(struct shard *home, struct tx *t) {
    (void)home;
    unit_of(t)->ends++;
}

static const struct tx_ops ops = {.hop = unit_hop, .next = unit_next, .ended = unit_ended};

static void want(struct unit *u, unsigned shard, uint64_t hash) {
    unsigned i = u->tx.part_count++;
    u->wants[i] = (struct tx_want){.hash = hash, .mode = TX_EXCLUSIVE};
    u->parts[i] = (struct tx_part){.shard = (uint16_t)shard, .wants = &u->wants[i], .count = 1};
}

static void start(struct unit *u, unsigned home) {
    u->tx.ops = &ops;
    u->tx.parts = u->parts;
    tx_start(&toy.shard[home], &u->tx);
}

static bool locked(unsigned shard, uint64_t hash) {
    struct tx_want w = {.hash = hash, .mode = TX_SHARED};
    return tx_conflicts(at(shard), &w, 0);
}

static void hop_on(struct unit *u, unsigned part) {
    tx_hop_on(&toy.shard[u->parts[part].shard], &u->parts[part]);
}

/* --- hops --- */

Test(tx_long, next_comes_when_every_shard_has_ended) {
    for (unsigned release = 0; release < 2; release++) {
        begin();
        struct unit a = {.name = 'a', .release = release != 0, .turns = {[A] = 2, [HOME] = 1}};
        want(&a, A, KEY_X);
        want(&a, B, KEY_X);
        want(&a, HOME, KEY_X);
        start(&a, HOME);
        toy_settle(&toy);
        cr_assert_eq(a.nexts, 1);
        cr_assert_eq(locked(B, KEY_X), !release, "B ended at once");
        cr_assert(locked(A, KEY_X) && locked(HOME, KEY_X));
        hop_on(&a, 2);
        toy_settle(&toy);
        cr_assert_eq(a.nexts, 1, "A goes on");
        cr_assert_eq(locked(HOME, KEY_X), !release);
        hop_on(&a, 0);
        toy_settle(&toy);
        cr_assert(locked(A, KEY_X) && a.nexts == 1, "A goes on for the second time");
        hop_on(&a, 0);
        cr_assert_eq(locked(A, KEY_X), !release);
        toy_settle(&toy);
        cr_assert_eq(a.nexts, 2);
        cr_assert_eq(a.ends, 1);
        cr_assert_str_eq(ran[A], "aaa");
        cr_assert_str_eq(ran[B], "a");
        cr_assert_str_eq(ran[HOME], "aa");
        end();
    }
}

/* Two that wait for the same key, and what was before them goes on: the lower id is first. */
Test(tx_long, those_behind_it_go_in_their_order) {
    begin();
    struct unit a = {.name = 'a', .release = true, .turns = {[A] = 1}};
    want(&a, A, KEY_X);
    want(&a, B, KEY_Y);
    start(&a, HOME);
    struct single early = single('e', OTHER, KEY_X, TX_EXCLUSIVE);
    toy_settle(&toy);
    struct single late = single('l', HOME, KEY_X, TX_EXCLUSIVE);
    wait_at(&late, A);
    wait_at(&early, A);
    cr_assert_lt(early.step.id, late.step.id);
    struct single beside = single('b', OTHER, KEY_Y, TX_EXCLUSIVE);
    wait_at(&beside, A);
    cr_assert_str_eq(ran[A], "ab", "a key that it does not hold is free");
    hop_on(&a, 0);
    cr_assert_str_eq(ran[A], "abael", "they run when it lets go");
    end();
    cr_assert(early.done == 1 && late.done == 1 && beside.done == 1 && a.ends == 1);
}

/* The hop ends while the notice of the grant, which waited, is not back yet. */
Test(tx_long, ends_while_its_notice_is_on_its_way) {
    for (unsigned release = 0; release < 2; release++) {
        begin();
        struct single first = single('f', OTHER, KEY_X, TX_EXCLUSIVE);
        first.turns = 1;
        wait_at(&first, A);
        struct unit a = {.name = 'a', .release = release != 0, .turns = {[A] = 1}};
        want(&a, A, KEY_X);
        start(&a, HOME);
        move(HOME, A, 1);
        move(A, HOME, 1);
        cr_assert_eq(a.nexts, 0);
        tx_go_on(&toy.shard[A], first.self);
        move(A, HOME, 1); /* the notice: home sends the hop before the notice goes back */
        cr_assert_eq(a.nexts, 1);
        move(HOME, A, 1);
        cr_assert_str_eq(ran[A], "ffa");
        hop_on(&a, 0);
        cr_assert_str_eq(ran[A], "ffaa");
        cr_assert_eq(locked(A, KEY_X), !release);
        move(A, HOME, 1); /* the hop's message is back */
        cr_assert_eq(a.nexts, 1, "which is not its end");
        move(HOME, A, 1); /* the notice is back, and goes again */
        move(A, HOME, 1);
        cr_assert_eq(a.nexts, 2);
        end();
        cr_assert_eq(a.ends, 1);
    }
}

/* Who runs yields to nobody, however long it runs. */
Test(tx_long, does_not_yield) {
    for (unsigned held = 0; held < 2; held++) {
        begin();
        struct unit low = {.name = 'l', .release = true},
                    a = {.name = 'a', .release = true, .hold = held != 0, .turns = {[A] = 1}};
        want(&low, A, KEY_X);
        start(&low, HOME);
        want(&a, A, KEY_X);
        start(&a, OTHER);
        move(OTHER, A, 1);
        move(A, OTHER, 1);
        if (held == 0)
            move(OTHER, A, 1); /* the hop, which goes on */
        cr_assert_lt(low.tx.id, a.tx.id);
        toy_settle(&toy);
        cr_assert_eq(at(A)->stats.asked, 1);
        cr_assert_eq(at(A)->stats.yielded, 0);
        cr_assert_eq(low.nexts, 0);
        if (held != 0) {
            cr_assert(locked(A, KEY_X) && a.nexts == 0 && ran[A][0] == 0);
            tx_unhold(&toy.shard[OTHER], &a.tx);
            toy_settle(&toy);
        }
        cr_assert_str_eq(ran[A], "a");
        hop_on(&a, 0);
        end();
        cr_assert_str_eq(ran[A], "aal");
        cr_assert(low.ends == 1 && a.ends == 1);
    }
}

/* --- steps --- */

Test(tx_long, step_is_not_asked_to_yield) {
    begin();
    struct unit low = {.name = 'l', .release = true};
    want(&low, A, KEY_X);
    start(&low, HOME); /* has the lower id, and is on its way */
    struct single s = single('s', OTHER, KEY_X, TX_EXCLUSIVE);
    s.turns = 2;
    s.step.pins = true;
    wait_at(&s, A);
    cr_assert_str_eq(ran[A], "s");
    cr_assert_lt(low.tx.id, s.step.id);
    toy_settle(&toy);
    cr_assert_eq(at(A)->stats.asked, 0);
    cr_assert_eq(low.nexts, 0);
    cr_assert(tx_pinned(at(A), KEY_X) && locked(A, KEY_X));
    tx_go_on(&toy.shard[A], s.self);
    toy_settle(&toy);
    cr_assert(tx_pinned(at(A), KEY_X) && s.done == 0 && low.nexts == 0);
    tx_go_on(&toy.shard[A], s.self);
    cr_assert(!tx_pinned(at(A), KEY_X));
    end();
    cr_assert_str_eq(ran[A], "sssl");
    cr_assert(s.done == 1 && low.ends == 1);
}

/* One that waits for a step that goes on keeps its place before those behind it. */
Test(tx_long, steps_in_a_row) {
    enum { ROW = 5 };
    static struct single row[ROW];
    begin();
    for (unsigned i = 0; i < ROW; i++) {
        row[i] = single((char)('a' + (char)i), OTHER, KEY_X, TX_EXCLUSIVE);
        row[i].turns = 1;
        wait_at(&row[i], A);
    }
    for (unsigned i = 0; i < ROW; i++) {
        cr_assert_eq(strlen(ran[A]), 2 * i + 1, "the next one runs when the one before it ends");
        toy_settle(&toy);
        cr_assert_eq(row[i].done, 0);
        tx_go_on(&toy.shard[A], row[i].self);
    }
    cr_assert_str_eq(ran[A], "aabbccddee");
    end();
    cr_assert_eq(row[ROW - 1].done, 1);
}
