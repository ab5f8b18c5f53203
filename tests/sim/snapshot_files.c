/* snapshot_files.c: SAVE and BGSAVE on a disk that is slow, full or broken; the process dies, or the machine loses its power; and what
 * is loaded then is a state between two transactions, not older than the last SAVE that was answered with OK.
 */
#include "../../src/persistence/saves_impl.h"
#include "shards/sim.h"
#include "snapshot_impl.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LIVES = 4, STEPS = 1500 };

struct snapshot_files_totals snapshot_files_totals;

/* Who asks for saves, one at a time. */
static struct sim_client *saver;
static char answer[512];
static size_t answer_len;
static bool asked, is_save, is_gone; /* until the next life */
/* As it was when the SAVE was sent that is asked for, and the last that succeeded. */
static struct progress at_asked, saved;

static void turn(void) {
}

static void take_answer(void) {
    asked = false;
    if (is_save && strcmp(answer, "+OK\r\n") == 0) {
        saved = at_asked;
        snapshot_files_totals.saves++;
    } else if (answer[0] == '-') {
        snapshot_files_totals.failed++;
    }
    answer_len = 0;
}

/* gone: for want of memory the server may close a connection. */
static void gone(void) {
    if (!snapshot_progress.careless)
        snapshot_fail("the server closed the connection of who saves");
    is_gone = true;
    asked = false;
}

static void saver_step(void) {
    static const char *const words[] = {
        "SAVE\r\n",         "SAVE\r\n", "SAVE\r\n", "BGSAVE\r\n", "BGSAVE SCHEDULE\r\n",
        "BGSAVE CANCEL\r\n"};
    if (asked) {
        ssize_t n = sim_client_read(saver, answer + answer_len, sizeof answer - 1 - answer_len);
        if (n < 0) {
            gone();
            return;
        }
        answer_len += (size_t)n;
        answer[answer_len] = '\0';
        if (answer_len > 0 && answer[answer_len - 1] == '\n')
            take_answer();
        return;
    }
    if (is_gone)
        return;
    const char *word = words[snapshot_below(COUNT_OF(words))];
    is_save = strcmp(word, words[0]) == 0;
    snapshot_files_totals.cancelled += strstr(word, "CANCEL") != NULL;
    at_asked = snapshot_progress;
    asked = sim_client_write(saver, word, strlen(word));
}

/* break_disk: something that fails, now or soon; mostly nothing. */
static void break_disk(void) {
    static const enum file_op ops[] = {FILE_OPEN, FILE_WRITE, FILE_WRITE,
                                       FILE_SYNC, FILE_CLOSE, FILE_RENAME};
    struct sim_disk_faults faults = {.delay_max_ns = snapshot_below(2000000),
                                     .short_in = snapshot_below(3),
                                     .room_bytes = snapshot_below(4) ? 0 : snapshot_below(200000)};
    sim_disk_set_faults(snapshot_world.net, &faults);
    if (snapshot_below(3) == 0)
        sim_disk_fail(snapshot_world.net, ops[snapshot_below(COUNT_OF(ops))], 1 + snapshot_below(6),
                      snapshot_below(2) ? EIO : ENOSPC);
}

static void break_memory(void) {
    struct mem *m = &shards_get(snapshot_world.shards, snapshot_below(snapshot_world.n))->mem;
    m->fail_in = m->fail_every = snapshot_below(2) ? 0 : 1 + snapshot_below(20);
}

static void mend_all(void) {
    static const struct sim_disk_faults none = {0};
    sim_world_no_faults(&snapshot_world);
    sim_disk_set_faults(snapshot_world.net, &none);
    for (int op = FILE_OPEN; op <= FILE_REMOVE; op++)
        sim_disk_fail(snapshot_world.net, (enum file_op)op, 0, 0);
    for (unsigned i = 0; i < snapshot_world.n; i++)
        shards_get(snapshot_world.shards, i)->mem.fail_in = 0;
}

/* come_to_end: whatever has failed, a save ends, and nobody waits for it any longer. */
static void come_to_end(void) {
    mend_all();
    snapshot_clients_settle(turn);
    for (unsigned rounds = 0; asked || saves_busy(saves_of(shards_get(snapshot_world.shards, 0)));
         rounds++) {
        sim_world_round(&snapshot_world);
        if (asked)
            saver_step();
        if (rounds == STEPS_MAX)
            snapshot_fail("a save does not end by itself");
    }
}

static void step(void) {
    unsigned what = snapshot_below(12);
    if (what < 5)
        (void)sim_world_turn(&snapshot_world, snapshot_below(snapshot_world.n));
    else if (what < 9)
        snapshot_client_step();
    else if (what < 11)
        saver_step();
    else
        sim_advance(snapshot_world.net, snapshot_below(3000000));
}

/* die: what is on the disk then is all that there is. */
static void die(void) {
    if (snapshot_below(2) == 0) {
        sim_disk_kill(snapshot_world.net);
        snapshot_files_totals.kills++;
    } else {
        sim_disk_crash(snapshot_world.net);
        snapshot_files_totals.crashes++;
    }
}

/* leave: the dead server's loops come to an orderly end: nothing of that reaches the disk. */
static void leave(void) {
    mend_all();
    snapshot_clients_settle(turn);
    for (unsigned rounds = 0; asked; rounds++) {
        sim_world_round(&snapshot_world);
        saver_step();
        if (rounds == STEPS_MAX)
            snapshot_fail("a save does not end");
    }
    snapshot_clients_end();
    sim_client_free(saver);
    sim_world_quiet(&snapshot_world);
}

static void connect_saver(void) {
    saver = sim_world_connect(&snapshot_world);
    asked = is_gone = false;
    answer_len = 0;
    for (unsigned rounds = 0; rounds < 50; rounds++) /* it is accepted while there is memory */
        sim_world_round(&snapshot_world);
}

/* restart: from what the disk has; with nothing saved yet there is nothing to compare. */
static ON_SHARD void restart(const struct progress *last) {
    sim_disk_boot(snapshot_world.net);
    mend_all();
    size_t len;
    bool has_file = sim_disk_file(snapshot_world.net, "./dump.rdb", &len) != NULL;
    sim_world_restart(&snapshot_world);
    if (!has_file)
        snapshot_fail("a file that was saved is gone");
    snapshot_files_totals.loaded++;
    if (snapshot_progress.careless)
        return;
    snapshot_forget();
    snapshot_note_all();
    snapshot_check(&saved, last);
}

/* first_save: nothing goes wrong yet. */
static void first_save(void) {
    is_save = true;
    at_asked = snapshot_progress;
    asked = sim_client_write(saver, "SAVE\r\n", 6);
    for (unsigned rounds = 0; asked; rounds++) {
        sim_world_round(&snapshot_world);
        saver_step();
        if (rounds == STEPS_MAX)
            snapshot_fail("the first save does not end");
    }
}

void snapshot_files_run(uint64_t seed) {
    shard_claim();
    sim_world_begin_with_files(&snapshot_world, seed);
    snapshot_world.config.rdb_compression = snapshot_below(2) == 0;
    snapshot_clients_begin(turn);
    connect_saver();
    first_save();
    for (unsigned n = 0; n < LIVES; n++) {
        sim_world_faults(&snapshot_world);
        for (unsigned i = snapshot_below(STEPS); i > 0; i--) {
            if (snapshot_below(200) == 0)
                break_disk();
            if (snapshot_progress.careless && snapshot_below(50) == 0)
                break_memory();
            step();
        }
        if (snapshot_below(2) == 0)
            come_to_end();
        struct progress last = snapshot_progress, then = saved;
        die();
        leave();
        saved = then; /* what was answered since is a dead server's */
        restart(&last);
        /* What was loaded is what there is from now on. */
        saved.flushes = snapshot_progress.flushes;
        memcpy(snapshot_progress.acked, saved.acked, sizeof saved.acked);
        snapshot_clients_connect(turn);
        connect_saver();
    }
    leave();
    sim_world_end(&snapshot_world);
}
