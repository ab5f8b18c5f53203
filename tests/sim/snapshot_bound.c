/* snapshot_bound.c: saves to a disk that takes next to nothing, while clients change all that is to be saved. What a shard has ready and
 * has not written stays under its bound, which is lowered here: writes that bring more end the save, and nobody waits for it; a
 * huge value that somebody waits for does not. And in whatever way a save ends while one shard has the floor and others want it,
 * nobody waits any longer, and the next save goes well.
 *
 * Light keys lie on one shard, huge ones on all. One client writes light keys, another one changes the huge ones, each of which it
 * must wait for, and a third one saves.
 */
#include "../../src/persistence/saves_impl.h"
#include "anax/command.h"
#include "shards/sim.h"
#include "snapshot_impl.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    LIGHT = 450,
    LIGHT_BYTES = 8000,
    HUGE_BYTES = 3500000, /* each: one on each shard */
    BOUND_BYTES = 24 * SAVE_BLOCK_BYTES,
    ROUNDS_MAX = 200000,
    TEXT_MAX = 64,
    STEP_NS = 2000
};
static_assert(LIGHT * LIGHT_BYTES > BOUND_BYTES + SAVE_BLOCK_BYTES, "more than may wait");
static_assert(HUGE_BYTES > BOUND_BYTES + SAVE_BLOCK_BYTES, "more than may wait");
static const uint64_t NEVER_NS = 1000000000000;

enum ending { ENDS_WELL, ENDS_BEHIND, ENDS_DISK, ENDS_CANCEL, ENDS_MEMORY, ENDINGS };
uint64_t snapshot_bound_runs, snapshot_bound_gave_up;

/* A client that counts the lines it gets, and keeps the last one. */
struct talker {
    struct sim_client *end;
    unsigned wanted;
    char line[256];
    size_t len;
    bool ended; /* the line is whole */
    bool gone;  /* for want of memory its connection was closed */
};

static struct talker saver, writer, changer;
static unsigned light_tag, huge_tag[SHARDS_MAX];
static size_t huge_len;                              /* of all, that was asked for */
static char huge_was[SHARDS_MAX][sizeof saver.line]; /* at the last save, as it was told */
static bool memory_refused;

static struct saves *saves(void) {
    return saves_of(shards_get(snapshot_world.shards, 0));
}

static struct save_part *part(unsigned shard) {
    return persistence_of(shards_get(snapshot_world.shards, shard))->part;
}

/* --- clients --- */

static void say(struct talker *t, const char *text, size_t len) {
    if (!sim_client_write(t->end, text, len))
        snapshot_fail("a client cannot write");
    t->wanted++;
}

static void hear(struct talker *t) {
    char bytes[4096];
    ssize_t n;
    if (t->gone)
        return;
    while ((n = sim_client_read(t->end, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (t->ended)
                t->len = 0;
            t->ended = bytes[i] == '\n';
            t->wanted -= t->ended;
            if (t->len + 1 < sizeof t->line)
                t->line[t->len++] = bytes[i];
            t->line[t->len] = '\0';
        }
    if (n >= 0)
        return;
    if (!memory_refused)
        snapshot_fail("the server closed a connection");
    t->gone = true;
    t->wanted = 0;
}

static void hear_all(void) {
    hear(&saver);
    hear(&writer);
    hear(&changer);
}

static bool is_line(const struct talker *t, const char *begins) {
    return t->wanted == 0 && strncmp(t->line, begins, strlen(begins)) == 0;
}

/* --- time --- */

/* within_bound: one block more than the bound may have been made. */
static void within_bound(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++)
        if (part(i)->bytes > BOUND_BYTES + SAVE_BLOCK_BYTES)
            snapshot_fail("more waits to be written than may");
}

/* little_time: nothing comes from a slow disk. */
static void little_time(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++)
        (void)sim_world_turn(&snapshot_world, i);
    sim_advance(snapshot_world.net, STEP_NS);
}

/* until: turns of all shards, until it is over. */
static void until(bool (*over)(void), bool disk_works, const char *what) {
    for (unsigned rounds = 0; !over(); rounds++) {
        if (disk_works)
            sim_world_round(&snapshot_world);
        else
            little_time();
        within_bound();
        hear_all();
        if (rounds == ROUNDS_MAX)
            snapshot_fail(what);
    }
}

static bool all_answered(void) {
    return saver.wanted + writer.wanted + changer.wanted == 0;
}

static bool walks(void) {
    return saves()->stage == SAVE_WALK && saves()->fd >= 0;
}

static bool writer_answered(void) {
    return writer.wanted == 0;
}

static bool floor_given(void) {
    return saves()->floor >= 0 && part((unsigned)saves()->floor)->has_floor;
}

/* floor_wanted: and all others want it, or have as much to be written as the walk may bring. */
static bool floor_wanted(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++)
        if (!part(i)->asked && part(i)->bytes < BOUND_BYTES / 2)
            return false;
    return floor_given();
}

static bool no_save(void) {
    return !saves_busy(saves()) && all_answered();
}

static void disk(uint64_t delay_max_ns) {
    const struct sim_disk_faults faults = {.delay_max_ns = delay_max_ns};
    sim_disk_set_faults(snapshot_world.net, &faults);
}

/* --- what is stored --- */

/* tag_of: a hashtag whose keys lie on that shard. */
static unsigned tag_of(unsigned shard, unsigned from) {
    char text[TEXT_MAX];
    for (;; from++) {
        int len = snprintf(text, sizeof text, "{%u}", from);
        struct span key = {text, (size_t)len};
        if (keyspace_shard_of(command_route_hash(key, hash_of(key)), snapshot_world.n) == shard)
            return from;
    }
}

static void write_light(void) {
    static char text[LIGHT_BYTES + 2 * TEXT_MAX];
    for (unsigned i = 0; i < LIGHT; i++) {
        int len = snprintf(text, sizeof text, "SET {%u}:%u %0*u\r\n", light_tag, i, LIGHT_BYTES,
                           snapshot_below(1000000));
        say(&writer, text, (size_t)len);
    }
}

/* change_huge: each becomes longer. */
static void change_huge(size_t bytes) {
    char text[TEXT_MAX];
    huge_len += bytes;
    for (unsigned i = 0; i < snapshot_world.n; i++) {
        int len =
            snprintf(text, sizeof text, "SETRANGE {%u}:huge %zu x\r\n", huge_tag[i], huge_len - 1);
        say(&changer, text, (size_t)len);
    }
}

/* fill: what is huge stays so in the file, and nothing of another simulated server's options is left. */
static void fill(void) {
    static const char config[] = "CONFIG SET rdbcompression no save \"\" maxmemory 0\r\n";
    say(&saver, config, sizeof config - 1);
    light_tag = tag_of(snapshot_below(snapshot_world.n), 0);
    huge_len = 0;
    for (unsigned i = 0; i < snapshot_world.n; i++)
        huge_tag[i] = tag_of(i, light_tag + 1);
    write_light();
    change_huge(HUGE_BYTES);
    until(all_answered, true, "what is to be saved is not stored");
}

static void connect_all(void) {
    struct talker *all[] = {&saver, &writer, &changer};
    for (unsigned i = 0; i < COUNT_OF(all); i++)
        *all[i] = (struct talker){.end = sim_world_connect(&snapshot_world)};
    for (unsigned i = 0; i < snapshot_world.n; i++)
        part(i)->behind_max = BOUND_BYTES;
}

static void leave_all(void) {
    sim_client_free(saver.end);
    sim_client_free(writer.end);
    sim_client_free(changer.end);
    sim_world_quiet(&snapshot_world);
}

/* --- saves --- */

/* no_memory: one request is refused, again and again, until it was that for the next block; or until there is none, because who
 * waited was refused. */
static bool no_memory(void) {
    const struct save_part *p = part((unsigned)saves()->floor);
    bool stalled = p->floor_out >= SAVE_WALK_BLOCKS && !snapshot_hurried(&p->shard->snapshot);
    p->shard->mem.fail_in = p->gave_up || stalled ? 0 : 1;
    return p->gave_up || stalled;
}

static ON_SHARD const char *end_by(enum ending e) {
    switch (e) {
    case ENDS_BEHIND:
        until(floor_wanted, false, "the floor is not asked for");
        write_light();
        until(writer_answered, false, "writes wait for the disk");
        return "-ERR writes come faster than the disk takes them";
    case ENDS_DISK:
        until(floor_wanted, false, "the floor is not asked for");
        sim_disk_fail(snapshot_world.net, FILE_WRITE, 1, EIO);
        return "-ERR writing the file: ";
    case ENDS_CANCEL:
        until(floor_wanted, false, "the floor is not asked for");
        if (!saves_cancel(saves()))
            snapshot_fail("a save cannot be cancelled");
        return "-ERR cancelled";
    case ENDS_MEMORY:
        memory_refused = true;
        until(no_memory, false, "a save goes on without memory");
        return part((unsigned)saves()->floor)->gave_up ? "-ERR out of memory" : "+OK";
    default:
        until(floor_wanted, false, "the floor is not asked for");
        return "+OK";
    }
}

static void save(void) {
    say(&saver, "SAVE\r\n", 6);
}

/* save_on_slow_disk: it can do nothing from the first block on, until one shard has the floor and the others want it. */
static ON_SHARD void save_on_slow_disk(enum ending e) {
    disk(0);
    save();
    until(walks, true, "a save does not begin");
    disk(NEVER_NS);
    change_huge(1);
    until(floor_given, false, "nobody gets the floor");
    const char *reply = end_by(e);
    disk(100000);
    until(no_save, true, "a save does not end, or somebody waits for it");
    memory_refused = false;
    snapshot_bound_runs++;
    snapshot_bound_gave_up += reply[0] == '-';
    if (!saver.gone && !is_line(&saver, reply))
        snapshot_fail(saver.line);
}

/* ask: the one line of its answer. */
static const char *ask(const char *request, size_t len) {
    say(&changer, request, len);
    until(all_answered, true, "the server does not answer");
    return changer.line;
}

/* look: at what there is: as it was at the last save, or for the next. */
static void look(bool loaded) {
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, ":%u\r\n", LIGHT + snapshot_world.n);
    if (strcmp(ask("DBSIZE\r\n", 8), text) != 0)
        snapshot_fail("not all keys are there");
    for (unsigned i = 0; i < snapshot_world.n; i++) {
        int len = snprintf(text, sizeof text, "STRLEN {%u}:huge\r\n", huge_tag[i]);
        const char *answer = ask(text, (size_t)len);
        if (loaded && strcmp(answer, huge_was[i]) != 0)
            snapshot_fail("a huge value is another one after a restart");
        (void)snprintf(huge_was[i], sizeof huge_was[i], "%s", answer);
    }
}

/* save_well: and start again from that file. */
static void save_well(void) {
    look(false);
    save();
    until(no_save, true, "the next save does not end");
    if (!is_line(&saver, "+OK"))
        snapshot_fail(saver.line);
    leave_all();
    sim_world_restart(&snapshot_world);
    connect_all();
    look(true);
}

void snapshot_bound_run(uint64_t seed) {
    shard_claim();
    sim_world_begin_with_files(&snapshot_world, seed);
    connect_all();
    fill();
    enum ending e = (enum ending)snapshot_below(ENDINGS);
    save_on_slow_disk(e);
    leave_all();
    connect_all();
    save_well();
    leave_all();
    sim_world_end(&snapshot_world);
}
