/* tx_test.c: the invariants of tx.h, each by the shortest sequence of messages that could break it. The shards 0 and 1
 * have keys, 2 and 3 are homes; tx_sim_test.c does the same at random.
 */
#include "tx_script.h"

enum { WANTS_MAX = 2 };

/* A transaction: one hop to all its parts, which also releases, or none; then the end. */
struct unit {
    struct tx tx;
    struct tx_part parts[2];
    struct tx_want wants[2][WANTS_MAX];
    char name;
    bool no_hop;
    unsigned home, looks[SHARDS], nexts, ends;
};

static struct unit *unit_of(struct tx *t) {
    return CONTAINER_OF(t, struct unit, tx);
}

static void unit_look(struct shard *s, struct tx_part *p) {
    unit_of(p->tx)->looks[s->id]++;
}

static void unit_hop(struct shard *s, struct tx_part *p) {
    note(s->id, unit_of(p->tx)->name);
}

static void unit_next(struct shard *home, struct tx *t) {
    struct unit *u = unit_of(t);
    u->nexts++;
    if (t->failed || u->no_hop || u->nexts > 1) {
        tx_end(home, t);
        return;
    }
    for (unsigned i = 0; i < t->part_count; i++)
        t->parts[i].run = t->parts[i].release = true;
    tx_hop(home, t);
}

static void unit_ended(struct shard *home, struct tx *t) {
    (void)home;
    unit_of(t)->ends++;
}

static const struct tx_ops ops = {
    .look = unit_look, .hop = unit_hop, .next = unit_next, .ended = unit_ended};

static struct unit unit(char name, unsigned home) {
    return (struct unit){.name = name, .home = home};
}

static struct tx_part *part(struct unit *u, unsigned shard) {
    for (unsigned i = 0; i < u->tx.part_count; i++)
        if (u->parts[i].shard == shard)
            return &u->parts[i];
    struct tx_part *p = &u->parts[u->tx.part_count++];
    p->shard = (uint16_t)shard;
    return p;
}

static void want(struct unit *u, unsigned shard, uint64_t hash, enum tx_mode mode) {
    struct tx_part *p = part(u, shard);
    struct tx_want *wants = u->wants[p - u->parts];
    wants[p->count++] = (struct tx_want){.hash = hash, .mode = (uint8_t)mode};
}

static void want_all(struct unit *u, unsigned shard, enum tx_mode mode) {
    part(u, shard)->whole = (uint8_t)mode;
}

static void start(struct unit *u) {
    for (unsigned i = 0; i < u->tx.part_count; i++)
        u->parts[i].wants = u->wants[i];
    u->tx.ops = &ops;
    u->tx.parts = u->parts;
    tx_start(&toy.shard[u->home], &u->tx);
}

/* wait_behind: somebody has the key already. */
static void wait_behind(struct single *s, unsigned shard) {
    cr_assert(tx_conflicts(at(shard), &s->want, 0));
    wait_at(s, shard);
}

/* --- (1) --- */

Test(tx, inv1_runs_when_every_shard_has_granted) {
    begin();
    struct unit a = unit('a', HOME);
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    want(&a, B, KEY_Y, TX_EXCLUSIVE);
    start(&a);
    move(HOME, A, 1);
    move(A, HOME, 1);
    cr_assert_eq(a.looks[A], 1);
    cr_assert_eq(a.nexts, 0, "B has not granted");
    move(HOME, B, 1);
    cr_assert_eq(a.nexts, 0, "home does not know");
    move(B, HOME, 1);
    cr_assert_eq(a.nexts, 1);
    move(HOME, A, 1);
    move(HOME, B, 1);
    cr_assert_str_eq(ran[A], "a");
    cr_assert_str_eq(ran[B], "a");
    cr_assert(!tx_busy(at(A)), "the last hop releases");
    end();
    cr_assert_eq(a.ends, 1);
}

/* late_pair: b is granted at A; then a comes there, which has the lower id. */
static void late_pair(struct unit *a, struct unit *b) {
    *a = unit('a', HOME);
    want(a, A, KEY_X, TX_EXCLUSIVE);
    *b = unit('b', OTHER);
    want(b, A, KEY_X, TX_EXCLUSIVE);
    want(b, B, KEY_Y, TX_EXCLUSIVE);
    (void)tx_next_id(at(OTHER));
    start(a);
    start(b);
    cr_assert_lt(a->tx.id, b->tx.id);
    move(OTHER, A, 1);
    move(A, OTHER, 1);
    move(HOME, A, 1); /* A asks b to yield */
    cr_assert_eq(at(A)->stats.asked, 1);
}

Test(tx, inv1_who_does_not_run_yields) {
    struct unit a, b;
    begin();
    late_pair(&a, &b);
    cr_assert_eq(b.looks[A], 1);
    move(A, OTHER, 1); /* the question */
    move(OTHER, B, 1);
    move(B, OTHER, 1);
    cr_assert_eq(b.nexts, 0, "it has yielded, so not all is granted");
    move(OTHER, A, 1); /* yes */
    cr_assert_eq(at(A)->stats.yielded, 1);
    move(A, HOME, 2); /* what a's home was told at first, and the grant */
    cr_assert_eq(a.nexts, 1);
    cr_assert_eq(b.looks[A], 1);
    move(HOME, A, 2); /* the notice comes back, and the hop */
    cr_assert_str_eq(ran[A], "a");
    cr_assert_eq(b.looks[A], 2, "what it saw may have changed");
    end();
    cr_assert_str_eq(ran[A], "ab");
    cr_assert_str_eq(ran[B], "b");
}

Test(tx, inv1_who_runs_does_not_yield) {
    struct unit a, b;
    begin();
    late_pair(&a, &b);
    move(OTHER, B, 1);
    move(B, OTHER, 1);
    cr_assert_eq(b.nexts, 1, "the question has not come");
    move(A, OTHER, 1);
    move(OTHER, B, 1);
    cr_assert_str_eq(ran[B], "b");
    end();
    cr_assert_eq(at(A)->stats.yielded, 0);
    cr_assert_str_eq(ran[A], "ba");
    cr_assert_eq(b.looks[A], 1);
    cr_assert_eq(a.ends + b.ends, 2);
}

/* Who was asked has yielded, and who asked is gone: it is granted again. */
Test(tx, inv1_yields_to_nobody) {
    for (unsigned whole = 0; whole < 2; whole++) {
        begin();
        struct unit a = unit('a', HOME), b = unit('b', OTHER);
        want(&a, A, KEY_X, TX_EXCLUSIVE);
        want(&a, B, KEY_Z, TX_EXCLUSIVE);
        if (whole)
            want_all(&b, A, TX_EXCLUSIVE);
        else
            want(&b, A, KEY_X, TX_EXCLUSIVE);
        want(&b, B, KEY_Y, TX_EXCLUSIVE);
        (void)tx_next_id(at(OTHER));
        start(&a);
        start(&b);
        move(OTHER, A, 1);
        move(A, OTHER, 1);
        move(HOME, A, 1);
        toy.shard[B].mem.fail_in = 1;
        move(HOME, B, 1); /* no memory for a */
        move(B, HOME, 1);
        move(A, HOME, 1);
        cr_assert(a.tx.failed && a.nexts == 1);
        move(A, OTHER, 1); /* the question to b */
        move(HOME, A, 1);  /* a goes */
        cr_assert_eq(at(A)->claims, 1);
        move(OTHER, A, 1); /* yes */
        cr_assert_eq(at(A)->stats.yielded, 1);
        cr_assert_eq(b.looks[A], 2);
        end();
        cr_assert_str_eq(ran[A], "b");
        cr_assert_str_eq(ran[B], "b");
        cr_assert_eq(a.ends + b.ends, 2);
    }
}

/* Three that ask one: it is asked once, and goes last. */
Test(tx, inv1_asked_once_by_many) {
    begin();
    struct unit a = unit('a', HOME), b = unit('b', HOME), c = unit('c', HOME), d = unit('d', OTHER);
    struct unit *all[] = {&a, &b, &c, &d};
    for (unsigned i = 0; i < 9; i++)
        (void)tx_next_id(at(OTHER));
    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        want(all[i], A, KEY_X, TX_EXCLUSIVE);
        want(all[i], B, KEY_X, TX_EXCLUSIVE);
        start(all[i]);
    }
    move(OTHER, A, 1);
    move(A, OTHER, 1);
    move(HOME, A, 3);
    cr_assert_eq(at(A)->stats.asked, 1);
    end();
    cr_assert_str_eq(ran[A], "abcd");
    cr_assert_str_eq(ran[B], "abcd");
}

/* --- (2) --- */

static const struct {
    enum tx_mode a, b;
    bool conflict;
} modes[] = {{TX_SHARED, TX_SHARED, false},
             {TX_SHARED, TX_EXCLUSIVE, true},
             {TX_EXCLUSIVE, TX_SHARED, true},
             {TX_EXCLUSIVE, TX_EXCLUSIVE, true}};

Test(tx, inv2_modes) {
    for (unsigned whole = 0; whole < 4; whole++) {
        for (unsigned i = 0; i < COUNT_OF(modes); i++) {
            begin();
            struct unit a = unit('a', HOME), b = unit('b', OTHER);
            if (whole & 1)
                want_all(&a, A, modes[i].a);
            else
                want(&a, A, KEY_X, modes[i].a);
            if (whole & 2)
                want_all(&b, A, modes[i].b);
            else
                want(&b, A, KEY_X, modes[i].b);
            (void)tx_next_id(at(OTHER));
            start(&a);
            start(&b);
            move(HOME, A, 1);
            move(OTHER, A, 1);
            cr_assert_eq(b.looks[A], modes[i].conflict ? 0 : 1, "case %u, %u", whole, i);
            end();
            cr_assert_str_eq(ran[A], modes[i].conflict ? "ab" : ran[A]);
            cr_assert_eq(strlen(ran[A]), 2);
        }
    }
}

Test(tx, inv2_single_steps) {
    for (unsigned i = 0; i < COUNT_OF(modes); i++) {
        begin();
        struct unit a = unit('a', HOME);
        want(&a, A, KEY_X, modes[i].a);
        start(&a);
        move(HOME, A, 1);
        struct tx_want x = {.hash = KEY_X, .mode = (uint8_t)modes[i].b};
        cr_assert_eq(tx_conflicts(at(A), &x, 0), modes[i].conflict);
        cr_assert_eq(tx_conflicts_whole(at(A), modes[i].b), modes[i].conflict);
        x.db = 1;
        cr_assert(!tx_conflicts(at(A), &x, 0), "another database");
        x = (struct tx_want){.hash = KEY_Y, .mode = TX_EXCLUSIVE};
        cr_assert(!tx_conflicts(at(A), &x, 0), "another key");
        struct unit w = unit('w', OTHER);
        want_all(&w, A, modes[i].a);
        start(&w);
        move(OTHER, A, 1);
        x.mode = (uint8_t)modes[i].b;
        cr_assert_eq(tx_conflicts(at(A), &x, 0), modes[i].conflict, "everything");
        end();
        cr_assert(!tx_busy(at(A)));
    }
}

/* A step goes behind what waits for its key, granted or not, and what one home sent keeps its order. */
Test(tx, inv2_steps_wait_in_line) {
    begin();
    struct unit a = unit('a', HOME);
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    want(&a, B, KEY_X, TX_EXCLUSIVE);
    start(&a);
    move(HOME, A, 1);
    struct single r = single('r', HOME, KEY_X, TX_SHARED);
    struct single s = single('s', HOME, KEY_X, TX_EXCLUSIVE);
    struct single t = single('t', HOME, KEY_X, TX_SHARED);
    wait_behind(&r, A);
    wait_behind(&s, A);
    wait_behind(&t, A);
    cr_assert_eq(at(A)->stats.steps_waited, 3);
    cr_assert_str_eq(ran[A], "");
    end();
    cr_assert_str_eq(ran[A], "arst");
    cr_assert_eq(r.done + s.done + t.done, 3);
}

/* A step with a lower id than a transaction that does not run yet goes first. */
Test(tx, inv2_transactions_yield_to_older_steps) {
    begin();
    struct single s = single('s', HOME, KEY_X, TX_EXCLUSIVE);
    struct unit b = unit('b', OTHER);
    want(&b, A, KEY_X, TX_SHARED);
    want(&b, B, KEY_X, TX_SHARED);
    start(&b);
    (void)tx_next_id(at(OTHER));
    move(OTHER, A, 1);
    wait_behind(&s, A);
    cr_assert_str_eq(ran[A], "");
    end();
    cr_assert_str_eq(ran[A], "sb");
    cr_assert_eq(b.looks[A], 2);
}

/* A step that waits only for what waits itself, and has a higher id, goes at once. */
Test(tx, inv2_older_step_passes_who_waits) {
    begin();
    struct single s = single('s', HOME, KEY_Y, TX_EXCLUSIVE);
    struct unit a = unit('a', OTHER), b = unit('b', OTHER);
    for (unsigned i = 0; i < 3; i++)
        (void)tx_next_id(at(OTHER));
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    want(&a, B, KEY_X, TX_EXCLUSIVE);
    want(&b, A, KEY_X, TX_EXCLUSIVE);
    want(&b, A, KEY_Y, TX_EXCLUSIVE);
    start(&a);
    start(&b);
    move(OTHER, A, 2);
    wait_behind(&s, A);
    cr_assert_str_eq(ran[A], "s");
    cr_assert_eq(s.done, 0, "its home hears of it by message");
    move(A, HOME, 1);
    cr_assert_eq(s.done, 1);
    end();
    cr_assert_str_eq(ran[A], "sab");
}

/* --- (3) --- */

Test(tx, inv3_same_order_everywhere) {
    for (unsigned way = 0; way < 2; way++) {
        begin();
        struct unit a = unit('a', HOME), b = unit('b', OTHER);
        want(&a, A, KEY_X, TX_EXCLUSIVE);
        want(&a, B, KEY_Y, TX_EXCLUSIVE);
        want(&b, A, KEY_X, TX_EXCLUSIVE);
        want(&b, B, KEY_Y, TX_EXCLUSIVE);
        start(&a);
        start(&b);
        move(way ? HOME : OTHER, A, 1); /* each is the first on one shard */
        move(way ? OTHER : HOME, B, 1);
        move(way ? OTHER : HOME, A, 1);
        move(way ? HOME : OTHER, B, 1);
        end();
        cr_assert_str_eq(ran[A], "ab");
        cr_assert_str_eq(ran[B], "ab");
    }
}

/* --- (4) --- */

Test(tx, inv4_who_does_not_conflict_does_not_wait) {
    begin();
    struct unit a = unit('a', HOME), b = unit('b', OTHER), c = unit('c', OTHER);
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    want(&a, B, KEY_X, TX_EXCLUSIVE);
    want(&b, A, KEY_X, TX_EXCLUSIVE);
    want(&c, A, KEY_Y, TX_EXCLUSIVE);
    want(&c, B, KEY_Y, TX_EXCLUSIVE);
    start(&a);
    start(&b);
    start(&c);
    move(HOME, A, 1);
    move(OTHER, A, 2);
    move(OTHER, B, 1);
    move(A, OTHER, 2);
    move(B, OTHER, 1);
    cr_assert_eq(c.nexts, 1, "a is in nobody's way but b's");
    cr_assert_eq(at(A)->stats.overtook, 1);
    end();
    cr_assert_str_eq(ran[A], "cab");
}

/* All that only read go together, when the last that writes before them is gone. */
Test(tx, inv4_readers_go_together) {
    begin();
    struct unit a = unit('a', HOME), u[4];
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    start(&a);
    move(HOME, A, 1);
    for (unsigned i = 0; i < COUNT_OF(u); i++) {
        u[i] = unit((char)('r' + (char)i), OTHER);
        want(&u[i], A, KEY_X, i == 3 ? TX_EXCLUSIVE : TX_SHARED);
        want(&u[i], B, KEY_X, TX_SHARED);
        (void)tx_next_id(at(OTHER));
        start(&u[i]);
    }
    move(OTHER, A, 4);
    move(A, HOME, 1);
    move(HOME, A, 1);
    cr_assert_str_eq(ran[A], "a");
    for (unsigned i = 0; i < COUNT_OF(u); i++)
        cr_assert_eq(u[i].looks[A], i == 3 ? 0 : 1);
    end();
    cr_assert_eq(ran[A][4], 'u');
}

/* --- (5) --- */

/* A question that is on its way when the transaction has ended on all shards is waited for. */
Test(tx, inv5_ended_after_the_last_message) {
    struct unit a, b;
    begin();
    toy.bound = 1;
    late_pair(&a, &b);
    move(OTHER, B, 1);
    move(B, OTHER, 1);
    cr_assert_eq(b.nexts, 1);
    toy_flush(&toy, OTHER, A);
    toy_flush(&toy, OTHER, B);
    struct toy_fifo question =
        toy.line[A][OTHER]; /* held up; the answers pass it in the test only */
    toy.line[A][OTHER] = (struct toy_fifo){0};
    move(OTHER, A, 1);
    move(OTHER, B, 1);
    move(A, OTHER, 1);
    move(B, OTHER, 1);
    cr_assert_eq(b.nexts, 2, "it has run everywhere");
    cr_assert_eq(b.ends, 0);
    toy_push(&toy.line[A][OTHER], question.first);
    move(A, OTHER, 1);
    cr_assert_eq(b.ends, 1);
    end();
    cr_assert_eq(b.ends, 1);
}

Test(tx, inv5_alone_it_ends_at_once) {
    for (unsigned no_hop = 0; no_hop < 2; no_hop++) {
        begin();
        struct unit a = unit('a', A);
        a.no_hop = no_hop;
        want(&a, A, KEY_X, TX_EXCLUSIVE);
        start(&a);
        cr_assert_eq(a.ends, 1, "all was here");
        cr_assert_eq(a.looks[A], 1);
        cr_assert_eq(strlen(ran[A]), 1 - no_hop);
        cr_assert_eq(toy.delivered, 0);
        end();
    }
}

Test(tx, inv5_ends_without_a_hop) {
    begin();
    struct unit a = unit('a', A); /* its home has a part too */
    a.no_hop = true;
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    want(&a, B, KEY_X, TX_EXCLUSIVE);
    start(&a);
    move(A, B, 1);
    move(B, A, 1);
    cr_assert_eq(a.nexts, 1);
    cr_assert(!tx_busy(at(A)) && tx_busy(at(B)), "one release is on its way");
    cr_assert_eq(a.ends, 0);
    end();
    cr_assert_eq(a.ends, 1);
    cr_assert_str_eq(ran[A], "");
}

/* --- (6) --- */

Test(tx, inv6_no_memory_leaves_nothing) {
    for (unsigned refusing = A; refusing <= B; refusing++) {
        begin();
        struct unit a = unit('a', HOME), b = unit('b', OTHER);
        want(&a, A, KEY_X, TX_EXCLUSIVE);
        want(&a, B, KEY_X, TX_EXCLUSIVE);
        want(&b, A, KEY_X, TX_EXCLUSIVE);
        want(&b, B, KEY_X, TX_EXCLUSIVE);
        (void)tx_next_id(at(OTHER));
        start(&a);
        start(&b);
        toy.shard[refusing].mem.fail_in = 1;
        end();
        cr_assert_neq(a.tx.failed, b.tx.failed);
        cr_assert_eq(a.ends + b.ends, 2);
        cr_assert_eq(strlen(ran[A]) + strlen(ran[B]), 2);
    }
}

/* Given up while it waits on one of two shards, at every point of what is on its way; whoever waits behind it goes. */
Test(tx, inv6_given_up_leaves_nothing) {
    for (unsigned steps = 0; steps <= 4; steps++) {
        begin();
        struct unit a = unit('a', HOME), b = unit('b', OTHER);
        struct single first = single('1', HOME, KEY_X, TX_EXCLUSIVE);
        struct single last = single('2', HOME, KEY_X, TX_EXCLUSIVE);
        first.turns = 1;
        wait_at(&first, A); /* it goes on when told to */
        want(&a, A, KEY_X, TX_EXCLUSIVE);
        want(&a, B, KEY_X, TX_EXCLUSIVE);
        want(&b, B, KEY_X, TX_EXCLUSIVE);
        start(&a);
        for (unsigned i = 0; i < steps; i++)
            move(i % 2 == 0 ? HOME : i == 1 ? A : B, i % 2 != 0 ? HOME : i == 0 ? A : B, 1);
        tx_give_up(&toy.shard[HOME], &a.tx);
        last.step.id = tx_next_id(at(HOME));
        start(&b);
        toy_settle(&toy);
        cr_assert(a.tx.failed);
        cr_assert_eq(a.ends, 1);
        cr_assert_str_eq(ran[B], "b");
        cr_assert_str_eq(ran[A], "1");
        wait_at(&last, A);
        tx_go_on(&toy.shard[A], first.self);
        end();
        cr_assert_str_eq(ran[A], "112");
        cr_assert_eq(first.done + last.done, 2);
    }
}

Test(tx, who_runs_cannot_be_given_up) {
    begin();
    struct unit a = unit('a', HOME);
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    start(&a);
    move(HOME, A, 1);
    move(A, HOME, 1);
    tx_give_up(&toy.shard[HOME], &a.tx);
    end();
    cr_assert(!a.tx.failed);
    cr_assert_str_eq(ran[A], "a");
}

Test(tx, inv6_step_without_memory) {
    begin();
    struct unit a = unit('a', HOME);
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    start(&a);
    move(HOME, A, 1);
    struct single s = single('s', HOME, KEY_X, TX_EXCLUSIVE);
    s.step.wants = &s.want;
    toy.shard[A].mem.fail_in = 1;
    enum err e = tx_wait(&toy.shard[A], &s.step);
    cr_assert_eq(e, ERR_NOMEM);
    cr_assert_eq(at(A)->claims, 1);
    end();
    cr_assert_str_eq(ran[A], "a");
}

/* Thousands of keys: more chains, which go with the last claim, also when memory was refused meanwhile. */
Test(tx, inv6_chains_grow_and_shrink) {
    enum { MANY = 3000 };
    static struct tx_want wants[MANY];
    for (unsigned refuse = 0; refuse < 3; refuse++) {
        begin();
        int64_t empty = at(A)->mem->used_bytes;
        for (unsigned i = 0; i < MANY; i++)
            wants[i] = (struct tx_want){.hash = i * 64, .mode = TX_EXCLUSIVE};
        struct unit a = unit('a', HOME), b = unit('b', HOME);
        want(&b, A, KEY_X, TX_EXCLUSIVE);
        (void)part(&a, A);
        start(&b);
        a.parts[0].wants = wants;
        a.parts[0].count = MANY;
        a.tx.ops = &ops;
        a.tx.parts = a.parts;
        tx_start(&toy.shard[HOME], &a.tx);
        move(HOME, A, 1);
        toy.shard[A].mem.fail_in = refuse == 1 ? 2 : 0;
        move(HOME, A, 1);
        cr_assert_eq(at(A)->chain_count, refuse == 1 ? 64 : 256);
        struct tx_want w = {.hash = 64 * (MANY - 1), .mode = TX_SHARED};
        cr_assert(tx_conflicts(at(A), &w, 0));
        w.hash += 64;
        cr_assert(!tx_conflicts(at(A), &w, 0));
        w.hash = KEY_X;
        cr_assert(tx_conflicts(at(A), &w, 0));
        move(A, HOME, 1);
        move(HOME, A, 1); /* b runs */
        cr_assert_eq(a.looks[A], 1, "its turn has come");
        toy.shard[A].mem.fail_in = refuse == 2;
        toy_settle(&toy);
        cr_assert_str_eq(ran[A], "ba");
        toy.shard[A].mem.fail_in = 0;
        struct unit c = unit('c', HOME);
        want(&c, A, KEY_X, TX_EXCLUSIVE);
        start(&c);
        toy_settle(&toy);
        cr_assert_eq(at(A)->mem->used_bytes, empty, "what many needed is not kept");
        end();
    }
}

/* --- starvation --- */

/* A home whose clock is far behind sends one transaction after the other: after the first answer they come
 * behind one that waits. */
Test(tx, starvation_by_transactions) {
    enum { STREAM = 40, AT_ONCE = 4 };
    begin();
    at(HOME)->clock = 1000000;
    struct unit holder = unit('h', OTHER), old = unit('o', HOME);
    want(&holder, A, KEY_X, TX_EXCLUSIVE);
    want(&holder, B, KEY_Z, TX_EXCLUSIVE);
    want(&old, A, KEY_X, TX_EXCLUSIVE);
    want(&old, B, KEY_X, TX_EXCLUSIVE);
    start(&holder);
    start(&old);
    move(OTHER, A, 1);
    move(HOME, A, 1);
    static struct unit stream[STREAM];
    for (unsigned i = 0; i < STREAM; i++) {
        stream[i] = unit('s', OTHER);
        want(&stream[i], A, KEY_X, TX_EXCLUSIVE);
        start(&stream[i]);
        if (i < AT_ONCE)
            continue;
        if (i == AT_ONCE)
            move(OTHER, B, 1);
        while (toy_deliver(&toy, OTHER, A) || toy_deliver(&toy, A, OTHER) ||
               toy_deliver(&toy, B, OTHER) || toy_deliver(&toy, OTHER, B) ||
               toy_deliver(&toy, HOME, A) || toy_deliver(&toy, A, HOME))
            ; /* all but what the old one needs of B: it yields whenever it is asked */
    }
    size_t before = strlen(ran[A]);
    cr_assert_leq(before, 1 + AT_ONCE + 1, "%zu ran before one that came earlier", before);
    end();
    cr_assert_eq(ran[A][before], 'o');
    cr_assert_eq(strlen(ran[A]), STREAM + 2);
}

/* The same with single steps: their home learns the time when one had to wait. */
Test(tx, starvation_by_steps) {
    enum { STREAM = 40 };
    begin();
    at(HOME)->clock = 1000000;
    struct unit holder = unit('h', HOME), old = unit('o', HOME);
    want(&holder, A, KEY_X, TX_SHARED);
    want(&holder, B, KEY_Z, TX_EXCLUSIVE);
    want(&old, A, KEY_X, TX_EXCLUSIVE);
    want(&old, B, KEY_X, TX_EXCLUSIVE);
    start(&holder);
    start(&old);
    move(HOME, A, 2);
    unsigned went = 0;
    static struct single s[STREAM];
    for (unsigned i = 0; i < STREAM; i++) {
        s[i] = single('s', OTHER, KEY_X, TX_SHARED);
        wait_behind(&s[i], A);
        while (toy_deliver(&toy, A, OTHER) || toy_deliver(&toy, OTHER, A))
            ;
        went += s[i].done;
    }
    cr_assert_leq(went, 1, "%u of %u steps went before one that came earlier", went, STREAM);
    end();
    cr_assert_eq(strlen(ran[A]), STREAM + 2);
}

/* --- the order of a client --- */

/* It reads a key in a transaction, then alone; the transaction yields to a write, which both see or neither. The same with a
 * second transaction in the place of the single step. */
Test(tx, order_of_a_client) {
    enum { CLIENT = 7, SOMEBODY = 8 };
    for (unsigned kind = 0; kind < 2; kind++) {
        begin();
        struct unit a = unit('a', HOME), b = unit('b', OTHER), c = unit('c', OTHER);
        (void)tx_next_id(at(OTHER));
        want(&a, A, KEY_X, TX_EXCLUSIVE);
        start(&a);
        want(&b, A, KEY_X, TX_SHARED);
        want(&b, B, KEY_X, TX_SHARED);
        b.tx.client = c.tx.client = CLIENT;
        start(&b);
        move(OTHER, A, 1);
        cr_assert_eq(b.looks[A], 1);
        struct tx_want x = {.hash = KEY_X, .mode = TX_SHARED};
        cr_assert(!tx_conflicts(at(A), &x, 0));
        cr_assert(!tx_conflicts(at(A), &x, SOMEBODY));
        cr_assert(tx_conflicts(at(A), &x, CLIENT));
        struct single s = single('s', OTHER, KEY_X, TX_SHARED);
        s.step.client = CLIENT;
        s.step.ordered = c.tx.ordered = true;
        s.step.wants = &s.want;
        s.step.arg = &s;
        want(&c, A, KEY_X, TX_SHARED);
        if (kind == 0) {
            enum err e = tx_wait(&toy.shard[A], &s.step);
            cr_assert_eq(e, OK);
        } else {
            start(&c);
            move(OTHER, A, 1);
        }
        cr_assert_str_eq(ran[A], "");
        cr_assert_eq(c.looks[A], 0);
        move(HOME, A, 1);         /* a asks b to yield, */
        move(A, OTHER, 2 + kind); /* which has not been granted everywhere */
        end();
        cr_assert_str_eq(ran[A], kind == 0 ? "abs" : "abc");
    }
}

/* --- reading in place, and for an operator --- */

Test(tx, pins_what_it_reads) {
    begin();
    struct unit a = unit('a', HOME), b = unit('b', HOME);
    a.tx.pins = true;
    want(&a, A, KEY_X, TX_SHARED);
    want(&b, A, KEY_Y, TX_EXCLUSIVE);
    start(&b);
    start(&a);
    cr_assert(!tx_pinned(at(A), KEY_X));
    move(HOME, A, 2);
    cr_assert(tx_pinned(at(A), KEY_X));
    cr_assert(!tx_pinned(at(A), KEY_Y), "nobody reads it in place");
    toy_settle(&toy);
    cr_assert(!tx_pinned(at(A), KEY_X));
    struct unit w = unit('w', HOME);
    w.tx.pins = true;
    want_all(&w, A, TX_SHARED);
    start(&w);
    move(HOME, A, 1);
    cr_assert(tx_pinned(at(A), KEY_Z), "it may read everything");
    end();
    cr_assert(!tx_pinned(at(A), KEY_Z));
}

/* A shard is idle when the last message about a claim is back, for that frees it. */
Test(tx, inv6_idle_when_all_is_freed) {
    begin();
    struct unit a = unit('a', HOME);
    want(&a, A, KEY_X, TX_EXCLUSIVE);
    start(&a);
    cr_assert(!tx_idle(at(HOME)) && tx_idle(at(A)));
    move(HOME, A, 1);
    struct single s = single('s', HOME, KEY_X, TX_EXCLUSIVE);
    wait_behind(&s, A);
    move(A, HOME, 1);
    move(HOME, A, 1);
    move(A, HOME, 2);
    cr_assert(a.ends == 1 && s.done == 1);
    cr_assert(tx_idle(at(HOME)) && !tx_busy(at(A)) && !tx_idle(at(A)));
    move(HOME, A, 1);
    cr_assert(tx_idle(at(A)));
    end();
}

struct seen {
    unsigned n;
    struct tx_info info[4];
};

static void see(void *arg, const struct tx_info *i) {
    struct seen *s = arg;
    cr_assert_lt(s->n, COUNT_OF(s->info));
    s->info[s->n++] = *i;
}

Test(tx, tells_who_waits_for_whom) {
    struct unit a, b;
    struct seen seen = {0};
    begin();
    late_pair(&a, &b);
    struct single s = single('s', OTHER, KEY_X, TX_SHARED);
    wait_behind(&s, A);
    struct unit w = unit('w', OTHER);
    want_all(&w, A, TX_EXCLUSIVE);
    start(&w);
    move(OTHER, A, 1);
    tx_each(at(A), see, &seen);
    cr_assert_eq(seen.n, 4);
    const struct tx_info *i = seen.info;
    cr_assert(i[0].home == HOME && !i[0].granted && !i[0].step && i[0].exclusive == 1);
    cr_assert_eq(i[0].waits_for, b.tx.id, "the one that has to yield");
    cr_assert(i[1].home == OTHER && i[1].granted && i[1].yielding && i[1].waits_for == 0);
    cr_assert(i[2].step && i[2].shared == 1 && i[2].exclusive == 0 && !i[2].granted);
    cr_assert(i[2].waits_for == a.tx.id || i[2].waits_for == b.tx.id);
    cr_assert(i[3].whole == TX_EXCLUSIVE && i[3].shared + i[3].exclusive == 0);
    cr_assert_neq(i[3].waits_for, 0);
    cr_assert_lt(i[0].time, i[1].time);
    cr_assert(!tx_idle(at(A)) && !tx_idle(at(HOME)));
    end();
    cr_assert(tx_idle(at(A)) && tx_idle(at(HOME)));
}
