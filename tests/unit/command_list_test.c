/* command_list_test.c: list commands on one shard and on several: memory that fails, and what long lists leave behind. */
#include "nomem.h"
#include "shards/rng.h"

static const unsigned shard_counts[] = {1, 2, 3, 8};

/* Keys of every form; a, b, c, ... lie on different shards where there are several. */
static const char *const state_keys[] = {"a", "b", "c", "d", "chunks", "long", "new"};

/* state_of: all that clients can see; encodings only when they are compared: without memory to make a listpack of it a
 * list stays in chunks. */
static char *state_of(struct server *s, bool encodings) {
    char *text = NULL, line[64];
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(state_keys); i++) {
        snprintf(line, sizeof(line), "lrange %s 0 -1", state_keys[i]);
        fputs(run(s, line), f);
        snprintf(line, sizeof(line), "object encoding %s", state_keys[i]);
        if (encodings)
            fputs(run(s, line), f);
    }
    fputs(run(s, "dbsize"), f);
    fclose(f);
    return text;
}

static void prepare(struct server *s) {
    run(s, "flushall sync");
    run(s, "rpush a 1 2 3 one two three");
    run(s, "rpush b ~20~ ~40~ ~60~ ~800~");
    run(s, "rpush c ~500~ ~600~ 7");
    run(s, "rpush d x");
    for (unsigned i = 0; i < 12; i++)
        run(s, "rpush chunks ~999~ ~999~ 5");
    run(s, "rpush long ~20000~ ~9000~ small ~3000~ ~9000~");
}

static const char *const lines[] = {
    "lpush new x",
    "lpush new ~2000~ ~9000~ y",
    "rpush a ~1000~",
    "rpush a ~3000~ ~3000~ ~3000~",
    "lpush b ~300~",
    "lpush d 1 2 3 4 5 6 7 8 9 ~20~ ~2000~ ~200~ ~9000~ 1 ~7000~ ~8000~ ~5000~",
    "rpush chunks ~4000~",
    "lpush chunks ~9000~ 1 ~9000~ 2",
    "lpushx a ~900~",
    "lset a 1 ~900~",
    "lset a 1 ~9000~",
    "lset chunks 7 ~20~",
    "lset chunks 7 ~5000~",
    "lset long 2 ~9000~",
    "linsert a before two ~990~",
    "linsert a after two ~9990~",
    "linsert chunks before 5 ~9000~",
    "linsert chunks after ~999~ 12",
    "linsert long before small ~3000~",
    "lmove a new left left",
    "lmove b a right left",
    "lmove c a left right",
    "lmove a d right right",
    "lmove a b left right",
    "lmove b d right right",
    "lmove chunks a left right",
    "lmove chunks chunks left right",
    "lmove long long right left",
    "lmove long new left left",
    "lmove long chunks left left",
    "rpoplpush d chunks",
    "lmpop 3 new chunks long left count 2",
    "lpop chunks 30",
    "ltrim chunks 3 5",
    "lrem chunks 0 ~999~",
    "copy chunks new",
    "copy long new",
    "copy c new",
};

static const struct nomem how = {prepare, state_of, .slack_bytes = 8192, .shard = NOMEM_ALL_SHARDS};

Test(command_list, memory_that_fails_changes_nothing, .timeout = 60) {
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        unsigned refused = 0;
        server_start(&s, shard_counts[n]);
        for (size_t i = 0; i < COUNT_OF(lines); i++)
            refused += nomem_each(&s, &how, lines[i]);
        cr_assert(refused > COUNT_OF(lines), "only %u failures were felt", refused);
        server_stop(&s);
    }
}
