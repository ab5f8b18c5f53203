/* across_test.c: commands whose keys lie on several shards, step by step (struct across in
 * anax/command.h).
 *
 * What they reply and leave behind must be what one shard would have: every script here runs on a
 * server with one shard and on others beside it. */
#include "command_fixture.h"
#include "shards/rng.h"

enum { NAMED = 4, NAME_BYTES = 16, LINE_BYTES = 256 };

/* Names of keys by the shard on which they lie, of 3. */
static char names[3][NAMED][NAME_BYTES];

/* start3: three shards, whose tables exist already: an empty one that stays is no trace of a
 * command. */
static void start3(struct server *s) {
    unsigned have[3] = {0};
    server_start(s, 3);
    for (unsigned i = 0; have[0] < NAMED || have[1] < NAMED || have[2] < NAMED; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof(name), "k%u", i);
        unsigned at = shard_of_key(s, (struct span){name, strlen(name)});
        for (s->db = 0; s->db < 2; s->db++) {
            char line[LINE_BYTES];
            snprintf(line, sizeof(line), "set %s 1", name);
            expect(s, line, DONE);
            snprintf(line, sizeof(line), "del %s", name);
            expect(s, line, INT(1));
        }
        if (have[at] < NAMED)
            strcpy(names[at][have[at]++], name);
    }
    s->db = 0;
}

/* named: a line in which A0 ... C3 stand for keys of the first, second and third shard. */
static const char *named(const char *line) {
    static char text[LINE_BYTES];
    size_t len = 0;
    for (; *line != '\0'; line++) {
        bool is_name = line[0] >= 'A' && line[0] <= 'C' && line[1] >= '0' && line[1] < '0' + NAMED;
        cr_assert(len + NAME_BYTES < sizeof(text));
        if (!is_name) {
            text[len++] = *line;
            continue;
        }
        len += (size_t)sprintf(text + len, "%s", names[line[0] - 'A'][line[1] - '0']);
        line++;
    }
    text[len] = '\0';
    return text;
}

static void expect_named(struct server *s, const char *line, const char *reply) {
    expect(s, named(line), reply);
}

static struct entry *entry_at(struct server *s, unsigned shard, unsigned i) {
    shard_claim();
    struct span key = {names[shard][i], strlen(names[shard][i])};
    struct table *t = keyspace_peek_table(shards_get(s->all, shard)->keyspace, s->db);
    return t == NULL ? NULL : table_find(t, key, hash_of(key));
}

static int64_t used(struct server *s, unsigned shard) {
    return shards_get(s->all, shard)->mem.used_bytes;
}

/* begin: a call as far as its first step. The words stay good until the next call of begin. */
static struct ctx *begin(struct across_call *a, struct server *s, const char *line) {
    static char text[LINE_BYTES];
    static struct span argv[ARGS_MAX];
    static struct ctx c;
    uint32_t argc = 0, first, last, step;
    snprintf(text, sizeof(text), "%s", named(line));
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = (struct span){word, strlen(word)};
    c = (struct ctx){.shard = s->home,
                     .keyspace = s->home->keyspace,
                     .cmd = command_find(argv[0]),
                     .argv = argv,
                     .argc = argc,
                     .db = s->db,
                     .now_ms = s->now_ms,
                     .reply = {.out = &s->out, .proto = s->proto}};
    cr_assert(command_keys(c.cmd, argv, argc, &first, &last, &step));
    across_begin(a, s, &c, first, last, step);
    return &c;
}

static void expect_reply(struct server *s, const char *reply) {
    take_reply(s);
    cr_assert_str_eq(s->text, reply);
}

/* --- views --- */

Test(across, views_show_what_keys_of_other_shards_hold) {
    struct server s;
    struct across_call a;
    start3(&s);
    expect_named(&s, "set A0 text px 5000", DONE);
    expect_named(&s, "set B0 -12", DONE);
    expect_named(&s, "set C0 ~3000~", DONE);
    struct ctx *c = begin(&a, &s, "bitop or A1 A0 B0 C0 B1");
    across_all(&a, c->cmd->across->look);
    struct view v;
    shard_claim();
    ctx_view(c, 3, &v);
    cr_assert(v.exists && v.value.repr == REPR_INLINE && span_eq(v.value.bytes, SPAN("text")));
    cr_assert_eq(v.expire_ms, NOW_MS + 5000);
    cr_assert(v.value.bytes.ptr == entry_bytes(entry_at(&s, 0, 0)).ptr, "read in place");
    ctx_view(c, 4, &v);
    cr_assert(v.exists && v.value.repr == REPR_INT && v.value.integer == -12);
    ctx_view(c, 5, &v);
    cr_assert(v.exists && v.value.repr == REPR_OBJECT);
    cr_assert(v.value.object == entry_object(entry_at(&s, 2, 0)), "read in place");
    ctx_view(c, 6, &v);
    cr_assert_not(v.exists);
    ctx_view(c, 2, &v);
    cr_assert_not(v.exists);
    across_end(&a);
    server_stop(&s);
}

Test(across, looking_counts_and_touches_where_the_key_lies) {
    struct server s;
    struct across_call a;
    start3(&s);
    expect_named(&s, "set A0 x", DONE);
    expect_named(&s, "set B0 y", DONE);
    uint32_t before = entry_access(entry_at(&s, 0, 0));
    s.now_ms += 10000;
    begin(&a, &s, "lcs A0 C0");
    a.c->no_touch = true;
    across_all(&a, ctx_look_views);
    across_end(&a);
    const struct keyspace_stats *stats[3];
    for (unsigned i = 0; i < 3; i++)
        stats[i] = keyspace_stats(shards_get(s.all, i)->keyspace);
    cr_assert(stats[0]->hits == 1 && stats[0]->misses == 0);
    cr_assert(stats[1]->hits == 0 && stats[1]->misses == 0);
    cr_assert(stats[2]->hits == 0 && stats[2]->misses == 1);
    cr_assert_eq(entry_access(entry_at(&s, 0, 0)), before);
    begin(&a, &s, "lcs A0 B0");
    across_all(&a, ctx_look_views);
    across_end(&a);
    cr_assert(stats[0]->hits == 2 && stats[1]->hits == 1);
    cr_assert_eq(entry_access(entry_at(&s, 0, 0)), before + 10);
    expect_named(&s, "bitop and C0 A0 B0", INT(1));
    cr_assert(stats[0]->hits == 2 && stats[1]->hits == 1, "a row that writes counts none");
    server_stop(&s);
}

Test(across, a_dead_key_is_no_key) {
    struct server s;
    start3(&s);
    expect_named(&s, "set A0 x px 10", DONE);
    expect_named(&s, "set B0 y px 10", DONE);
    s.now_ms += 11;
    expect_named(&s, "exists A0 B0 C0", INT(0));
    expect_named(&s, "set A0 x px 10", DONE);
    expect_named(&s, "set B0 y", DONE);
    s.now_ms += 11;
    expect_named(&s, "rename A0 C0", "-ERR no such key\r\n");
    expect_named(&s, "set A0 x px 10", DONE);
    s.now_ms += 11;
    expect_named(&s, "renamenx B0 A0", INT(1));
    expect_named(&s, "set B0 x px 10", DONE);
    s.now_ms += 11;
    expect_named(&s, "del B0 A0", INT(1));
    server_stop(&s);
}

/* --- RENAME: an object changes its shard --- */

Test(across, rename_moves_a_blob_and_its_charge) {
    struct server s;
    start3(&s);
    int64_t empty[2] = {used(&s, 0), used(&s, 1)};
    expect_named(&s, "set A0 ~3000~ px 7000", DONE);
    struct blob *b = entry_object(entry_at(&s, 0, 0));
    expect_named(&s, "rename A0 B0", DONE);
    cr_assert(entry_at(&s, 0, 0) == NULL);
    cr_assert(entry_object(entry_at(&s, 1, 0)) == b, "the same bytes");
    cr_assert_eq(used(&s, 0), empty[0]);
    cr_assert(used(&s, 1) >= empty[1] + (int64_t)blob_bytes(b));
    expect_named(&s, "pttl B0", INT(7000));
    expect_named(&s, "append B0 x", INT(3001));
    expect_named(&s, "rename B0 A0", DONE);
    expect_named(&s, "strlen A0", INT(3001));
    expect_named(&s, "set B0 ~2000~", DONE);
    expect_named(&s, "rename B0 A0", DONE);
    expect_named(&s, "strlen A0", INT(2000));
    expect_named(&s, "del A0 B0", INT(1));
    cr_assert_eq(used(&s, 0), empty[0]);
    cr_assert_eq(used(&s, 1), empty[1]);
    server_stop(&s);
}

Test(across, rename_copies_a_blob_that_is_pinned) {
    struct server s;
    start3(&s);
    int64_t empty[2] = {used(&s, 0), used(&s, 1)};
    expect_named(&s, "set A0 ~3000~", DONE);
    struct blob *b = entry_object(entry_at(&s, 0, 0));
    blob_pin(b); /* as a reply on its way */
    expect_named(&s, "rename A0 B0", DONE);
    cr_assert(entry_object(entry_at(&s, 1, 0)) != b);
    cr_assert(b->refs == 1 && b->len == 3000);
    expect_named(&s, "setrange B0 0 x", INT(3000));
    cr_assert(b->data[0] == 'v');
    blob_unpin(&shards_get(s.all, 0)->mem, b);
    cr_assert_eq(used(&s, 0), empty[0]);
    expect_named(&s, "getrange B0 0 2", "$3\r\nxvv\r\n");
    expect_named(&s, "del B0", INT(1));
    cr_assert_eq(used(&s, 1), empty[1]);
    server_stop(&s);
}

/* The new key may be let go before `after` has run on the old one's shard. */
Test(across, after_does_not_look_into_what_has_moved) {
    struct server s;
    struct across_call a;
    start3(&s);
    expect_named(&s, "set A1 ~9~", DONE);
    int64_t empty[2] = {used(&s, 0), used(&s, 1)};
    expect_named(&s, "set A0 ~3000~", DONE);
    expect_named(&s, "append A0 x", INT(3001));
    struct ctx *c = begin(&a, &s, "rename A0 B0");
    across_all(&a, c->cmd->across->look);
    across_run(&a);
    across_at(&a, 1, c->cmd->across->after, &a.parts[1]);
    expect_reply(&s, DONE);
    struct blob *b = entry_object(entry_at(&s, 1, 0));
    expect_named(&s, "append B0 ~2000~", INT(5001));
    cr_assert(entry_object(entry_at(&s, 1, 0)) == b, "in place");
    across_at(&a, 0, c->cmd->across->after, &a.parts[0]);
    across_end(&a);
    cr_assert(entry_at(&s, 0, 0) == NULL);
    cr_assert_eq(used(&s, 0), empty[0]);
    expect_named(&s, "strlen B0", INT(5001));
    expect_named(&s, "del B0", INT(1));
    cr_assert_eq(used(&s, 1), empty[1]);
    shard_claim();
    const uint64_t *lengths = table_lengths(keyspace_peek_table(s.home->keyspace, 0));
    for (unsigned i = 0; i < TABLE_LENGTHS; i++)
        cr_assert_eq(lengths[i], i == 4 ? 1 : 0, "of 2^%u bytes: %lu", i, lengths[i]);
    server_stop(&s);
}

Test(across, a_second_look_forgets_the_first) {
    struct server s;
    struct across_call a;
    start3(&s);
    expect_named(&s, "set A0 ~3000~", DONE);
    struct ctx *c = begin(&a, &s, "rename A0 B0");
    across_all(&a, c->cmd->across->look);
    cr_assert(a.slots.slot[0].kept != NULL);
    struct blob *b = entry_object(entry_at(&s, 0, 0));
    blob_pin(b);
    across_all(&a, c->cmd->across->look);
    cr_assert(a.slots.slot[0].kept == NULL, "pinned meanwhile");
    blob_unpin(&s.home->mem, b);
    across_all(&a, c->cmd->across->look);
    cr_assert(a.slots.slot[0].kept == b);
    expect_named(&s, "set A0 short", DONE);
    across_all(&a, c->cmd->across->look);
    cr_assert(a.slots.slot[0].kept == NULL);
    expect_named(&s, "del A0", INT(1));
    across_all(&a, c->cmd->across->look);
    across_run(&a);
    expect_reply(&s, "-ERR no such key\r\n");
    cr_assert_not(a.slots.go);
    expect_named(&s, "set A0 new", DONE);
    across_all(&a, c->cmd->across->after);
    expect_named(&s, "exists A0", INT(1));
    across_end(&a);
    server_stop(&s);
}

Test(across, copy_reads_in_place_and_leaves_the_source) {
    struct server s;
    start3(&s);
    expect_named(&s, "set A0 ~3000~ px 7000", DONE);
    struct blob *b = entry_object(entry_at(&s, 0, 0));
    expect_named(&s, "copy A0 B0", INT(1));
    cr_assert(entry_object(entry_at(&s, 0, 0)) == b && b->refs == 1, "no pin of another shard");
    cr_assert(entry_object(entry_at(&s, 1, 0)) != b);
    expect_named(&s, "pttl B0", INT(7000));
    expect_named(&s, "copy A0 B0", INT(0));
    expect_named(&s, "copy A0 B0 db 1", INT(1));
    expect_named(&s, "copy A0 B0 db 16", "-ERR DB index is out of range\r\n");
    expect_named(&s, "append A0 x", INT(3001));
    expect_named(&s, "copy A0 B0 replace", INT(1));
    expect_named(&s, "strlen B0", INT(3001));
    s.db = 1;
    expect_named(&s, "strlen B0", INT(3000));
    server_stop(&s);
}

/* --- the same as on one shard --- */

static const char *const lines[] = {
    "set A0 1",
    "set B0 text",
    "set C0 ~1000~",
    "set A1 ~3000~",
    "set B1 ~20000~",
    "set C1 -5 px 900000",
    "append B0 ~700~",
    "append A0 x",
    "setbit C1 100 1",
    "pexpire A1 50000",
    "persist A1",
    "get A0",
    "get C1",
    "strlen B1",
    "object encoding C0",
    "del A0 B0 C0",
    "del A0 A0 B1",
    "unlink C1 B0 C1",
    "exists A0 B0 C0 A0",
    "exists A1 B1 C1 B1 B1",
    "touch A0 B1 C0 B1",
    "rename A0 B0",
    "rename B0 C0",
    "rename C0 A0",
    "rename A1 B1",
    "rename B1 C1",
    "rename C1 A1",
    "renamenx A0 C1",
    "renamenx C1 B0",
    "renamenx B1 A0",
    "rename A0 A0",
    "renamenx A0 A0",
    "copy A0 B0",
    "copy B1 C1 replace",
    "copy C1 A1 replace",
    "copy A1 B0 db 1",
    "copy A1 B0 db 1 replace",
    "copy A0 B0 foo",
    "copy A0 B0 db 77",
    "move B0 1",
    "bitop and A0 B0 C0",
    "bitop or B0 A0 C0 A1",
    "bitop xor C0 C0 B1",
    "bitop not A1 B1",
    "bitop diff C1 A0 B0",
    "bitop one A0 A1 B1 C1",
    "bitop or C0 A2 B2",
    "bitop foo C0 A0",
    "bitop not C0 A0 B0",
    "lcs A0 B0",
    "lcs A0 C1 idx withmatchlen",
    "lcs B0 C0 len idx",
    "swapdb 0 1",
    "swapdb 1 1",
    "swapdb 0 99",
    "dbsize",
    "flushdb",
    "flushall foo",
};

static char *state_of(struct server *s) {
    static const char *const questions[] = {"get", "pexpiretime", "object encoding"};
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    uint32_t db = s->db;
    for (s->db = 0; s->db < 2; s->db++) {
        for (unsigned i = 0; i < 3 * NAMED * COUNT_OF(questions); i++) {
            char line[LINE_BYTES];
            unsigned name = i / COUNT_OF(questions);
            snprintf(line, sizeof(line), "%s %s", questions[i % COUNT_OF(questions)],
                     names[name / NAMED][name % NAMED]);
            fputs(run(s, line), f);
        }
        fputs(run(s, "dbsize"), f);
    }
    s->db = db;
    fclose(f);
    return text;
}

Test(across, replies_and_values_are_those_of_one_shard, .timeout = 60) {
    struct server several, one;
    struct rng r;
    rng_seed(&r, 5);
    start3(&several);
    server_start(&one, 1);
    int64_t empty[3];
    for (unsigned i = 0; i < 3; i++)
        empty[i] = used(&several, i);
    for (unsigned i = 0; i < 20000; i++) {
        const char *line = lines[rng_below(&r, COUNT_OF(lines))];
        several.db = one.db = rng_below(&r, 8) == 0;
        expect(&several, named(line), run(&one, named(line)));
        if (i % 100 != 0)
            continue;
        char *a = state_of(&several), *b = state_of(&one);
        cr_assert(strcmp(a, b) == 0, "after %s\n%s\n%s", line, a, b);
        free(a);
        free(b);
    }
    expect(&several, "flushall sync", DONE);
    for (several.db = 0; several.db < 2; several.db++)
        for (unsigned i = 0; i < 3; i++) {
            expect_named(&several, i == 0 ? "set A0 1" : i == 1 ? "set B0 1" : "set C0 1", DONE);
            expect_named(&several, i == 0 ? "del A0" : i == 1 ? "del B0" : "del C0", INT(1));
        }
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(used(&several, i), empty[i], "shard %u", i);
    server_stop(&several);
    server_stop(&one);
}

/* --- memory that fails --- */

static void prepare(struct server *s) {
    static const char *const setup[] = {
        "set A0 text",    "set B0 12",           "set C0 ~1000~",       "set A1 ~3000~ px 50000",
        "set B1 ~20000~", "set C1 -5 px 900000", "set A2 ~40~ px 9000", "bitop not C2 C0"};
    expect(s, "flushall sync", DONE);
    for (s->db = 0; s->db < 2; s->db++)
        for (unsigned i = 0; i < 3; i++) {
            char line[LINE_BYTES];
            snprintf(line, sizeof(line), "set %s 1", names[i][3]);
            expect(s, line, DONE);
        }
    s->db = 0;
    for (size_t i = 0; i < COUNT_OF(setup); i++)
        run(s, named(setup[i]));
}

static int64_t used_by_all(struct server *s) {
    int64_t sum = 0;
    for (unsigned i = 0; i < 3; i++)
        sum += used(s, i);
    return sum;
}

/* fail_on: each allocation that the command makes on this shard fails once; returns how often it
 * was refused. */
static unsigned fail_on(struct server *s, const char *line, unsigned shard) {
    unsigned refused = 0;
    for (unsigned site = 1; site < 1000; site++) {
        struct mem *m = &shards_get(s->all, shard)->mem;
        prepare(s);
        char *whole = strdup(run(s, named(line)));
        char *after = state_of(s);
        prepare(s);
        char *before = state_of(s);
        int64_t used_before = used_by_all(s);
        m->fail_in = site;
        char *reply = strdup(run(s, named(line)));
        bool reached = m->fail_in == 0;
        m->fail_in = 0;
        int64_t used_now = used_by_all(s);
        char *now = state_of(s);
        if (strstr(reply, "memory") != NULL) {
            refused++;
            cr_assert(strcmp(now, before) == 0, "%s, failing at %u, changed something", line, site);
            cr_assert_eq(used_now, used_before, "%s, failing at %u", line, site);
        } else {
            cr_assert(strcmp(reply, whole) == 0, "%s, failing at %u: %s", line, site, reply);
            cr_assert(strcmp(now, after) == 0, "%s, failing at %u", line, site);
        }
        free(whole);
        free(after);
        free(before);
        free(reply);
        free(now);
        if (!reached)
            break;
    }
    return refused;
}

Test(across, memory_that_fails_changes_nothing, .timeout = 60) {
    static const char *const calls[] = {
        "rename A0 B2",          "rename C0 B2",       "rename A1 B2",      "rename A1 B0",
        "rename B1 C1",          "renamenx A1 B2",     "copy A0 B2",        "copy A1 B2",
        "copy A1 B2 db 1",       "copy B1 C1 replace", "bitop or B2 A0 C0", "bitop or B0 A1 B1 C0",
        "bitop one C1 A0 B1 C0", "bitop not A0 B2",    "lcs A0 C0",         "lcs A0 C0 idx",
        "del A0 B0 C0",          "exists A0 B0 C2",    "touch A1 B1 C1",
    };
    struct server s;
    start3(&s);
    unsigned refused = 0;
    for (size_t i = 0; i < COUNT_OF(calls); i++)
        for (unsigned shard = 0; shard < 3; shard++)
            refused += fail_on(&s, calls[i], shard);
    cr_assert(refused >= COUNT_OF(calls), "only %u failures were felt", refused);
    server_stop(&s);
}

/* --- who watches --- */

struct watching {
    const char *line;
    const char
        *fires; /* the keys whose watches it fires, of A0 B0 C0 A1 and C2, which is not there */
};

static unsigned fired(struct server *s, const char *line, const char *key) {
    char name[LINE_BYTES];
    snprintf(name, sizeof(name), "%s", named(key));
    struct span span = {name, strlen(name)};
    struct shard *at = shards_get(s->all, shard_of_key(s, span));
    shard_claim();
    struct watch *w = watch_add(at, 0, span, hash_of(span));
    cr_assert(w != NULL);
    run(s, named(line));
    bool is = watch_fired(at, w);
    watch_remove(at, w);
    return is;
}

Test(across, watches_hear_of_what_changed) {
    static const struct watching list[] = {
        {"del A0 B0 C2", "A0 B0"},
        {"unlink C2 A1 B2", "A1"},
        {"del C2 B2", "-"},
        {"exists A0 B0", "-"},
        {"touch A0 B0", "-"},
        {"rename A0 B0", "A0 B0"},
        {"rename A1 C0", "A1 C0"},
        {"rename A0 A1", "A0 A1"},
        {"rename A0 A0", "-"},
        {"rename C2 A0", "-"},
        {"renamenx A0 B0", "-"},
        {"renamenx A0 A1", "-"},
        {"copy A0 B0", "-"},
        {"copy A0 B0 replace", "B0"},
        {"copy A0 A1 replace", "A1"},
        {"copy A0 B0 db 1", "-"},
        {"move A0 1", "A0"},
        {"move C2 1", "-"},
        {"bitop or C0 A0 B0", "C0"},
        {"bitop or C0 A1 A0", "C0"},
        {"bitop or C0 A2 B2", "C0"},
        {"bitop or C2 A0 B0", "C2"},
        {"bitop or C2 A2 B2", "-"},
        {"rename B0 C2", "B0 C2"},
        {"copy A1 C2", "C2"},
        {"bitop foo C0 A0 B0", "-"},
        {"lcs A0 B0", "-"},
        {"flushdb", "A0 B0 C0 A1"},
        {"flushall async", "A0 B0 C0 A1"},
        {"flushall foo", "-"},
        {"swapdb 0 1", "A0 B0 C0 A1"},
        {"swapdb 0 0", "-"},
        {"swapdb 2 3", "-"},
        {"swapdb 0 x", "-"},
        {"dbsize", "-"},
        {"keys *", "-"},
    };
    static const char *const keys[] = {"A0", "B0", "C0", "A1", "C2"};
    struct server s;
    start3(&s);
    for (size_t i = 0; i < COUNT_OF(list); i++)
        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            expect(&s, "flushall", DONE);
            expect_named(&s, "set A0 text", DONE);
            expect_named(&s, "set B0 12", DONE);
            expect_named(&s, "set C0 ~1000~", DONE);
            expect_named(&s, "set A1 ~3000~", DONE);
            bool should = strstr(list[i].fires, keys[k]) != NULL;
            cr_assert_eq(fired(&s, list[i].line, keys[k]), should, "%s: %s", list[i].line, keys[k]);
        }
    server_stop(&s);
}

Test(across, watches_hear_of_a_swap_that_leaves_their_key_there) {
    struct server s;
    start3(&s);
    expect_named(&s, "set A0 0", DONE);
    expect_named(&s, "set B0 0", DONE);
    s.db = 1;
    expect_named(&s, "set B0 1", DONE);
    expect_named(&s, "set C0 1", DONE);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(fired(&s, "swapdb 1 0", "A0"), "gone, or come");
        cr_assert(fired(&s, "swapdb 0 1", "B0"), "another one");
        cr_assert(fired(&s, "swapdb 1 0", "C0"), "come, or gone");
        cr_assert_not(fired(&s, "swapdb 0 1", "A1"), "in neither");
        cr_assert_not(fired(&s, "swapdb 2 3", "B0"), "others");
        run(&s, "swapdb 0 1");
    }
    server_stop(&s);
}

Test(across, watches_hear_of_another_database) {
    struct server s;
    start3(&s);
    expect_named(&s, "set A0 text", DONE);
    s.db = 1;
    expect_named(&s, "set A0 other", DONE);
    struct exchange list[] = {
        {"move A1 0", "A1"},       {"copy A1 B1 db 0", "B1"},
        {"copy A1 A2 db 0", "A2"}, {"copy A1 A0 db 0 replace", "A0"},
        {"copy A1 A0 db 2", NULL}, {"move A0 0", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(list); i++) {
        expect_named(&s, "set A1 x", DONE);
        bool is = fired(&s, list[i].line, list[i].reply == NULL ? "A0" : list[i].reply);
        cr_assert_eq(is, list[i].reply != NULL, "%s", list[i].line);
    }
    server_stop(&s);
}
