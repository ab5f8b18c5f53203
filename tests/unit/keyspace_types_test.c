/* Keys of all types under the commands that move, copy and drop values, on one shard and over several: what memory that
 * fails leaves behind, and that every byte is charged to the shard that holds it. */
#include "anax/val.h"
#include "command_fixture.h"

static const char *const keys[] = {"l",  "h",  "s",  "z",  "i",  "ht", "bl",
                                   "bh", "bs", "bz", "bi", "bt", "x",  "new"};
enum { SOURCES = COUNT_OF(keys) - 2 };

enum { LINE_MAX_BYTES = 64 };

/* line_for: a pattern with the key in place of its %. */
static const char *line_for(char line[LINE_MAX_BYTES], const char *pattern, const char *key) {
    const char *at = strchr(pattern, '%');
    snprintf(line, LINE_MAX_BYTES, "%.*s%s%s", (int)(at - pattern), pattern, key, at + 1);
    return line;
}

/* state_of: everything that clients can see of the keys. */
static char *state_of(struct server *s) {
    static const char *const questions[] = {"type %",
                                            "object encoding %",
                                            "pexpiretime %",
                                            "get %",
                                            "lrange % 0 -1",
                                            "hgetall %",
                                            "smembers %",
                                            "zrange % 0 -1 withscores",
                                            "hpexpiretime % fields 2 f1 f2"};
    char *text = NULL, line[LINE_MAX_BYTES];
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (s->db = 0; s->db < 2; s->db++) {
        fputs(run(s, "dbsize"), f);
        for (size_t i = 0; i < COUNT_OF(keys); i++)
            for (size_t q = 0; q < COUNT_OF(questions); q++)
                fputs(run(s, line_for(line, questions[q], keys[i])), f);
    }
    s->db = 0;
    fclose(f);
    return text;
}

static void prepare(struct server *s) {
    static const char *const lines[] = {"flushall sync",
                                        "rpush l a 12 b",
                                        "hset h f1 v f2 12 f3 w",
                                        "sadd s a b 12",
                                        "zadd z 1 a 2.5 b",
                                        "sadd i 1 2 300",
                                        "hset ht f1 v f2 12",
                                        "hpexpire ht 100000 fields 1 f1",
                                        "rpush bl ~5000~ ~5000~ a",
                                        "hset bh f1 ~70~ f2 w",
                                        "sadd bs ~70~ a 12",
                                        "zadd bz 1 ~70~ 2 b",
                                        "hset bt f1 ~70~ f2 v",
                                        "hpexpire bt 100000 fields 1 f2",
                                        "set x ~100~",
                                        "pexpire h 60000",
                                        "pexpire bz 60000"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        run(s, lines[i]);
    for (unsigned from = 0; from < 600; from += 40) {
        char line[512] = "sadd bi";
        for (unsigned n = from; n < from + 40; n++)
            snprintf(line + strlen(line), sizeof line - strlen(line), " %u", n * 3);
        run(s, line);
    }
    /* An empty table that stays is no trace of a failed command. */
    s->db = 1;
    run(s, "mset l 1 h 1 s 1 z 1 i 1 ht 1 bl 1 bh 1 bs 1 bz 1 bi 1 bt 1 x 1 new 1");
    run(s, "del l h s z i ht bl bh bs bz bi bt x new");
    s->db = 0;
}

static int64_t used_by_all(const struct server *s) {
    int64_t used = 0;
    for (unsigned i = 0; i < shards_count(s->all); i++)
        used += shards_get(s->all, i)->mem.used_bytes;
    return used;
}

/* fail_on_all: the site-th allocation from now of each shard; returns whether any was due to fail before. */
static bool fail_on_all(const struct server *s, uint64_t site) {
    bool reached = false;
    for (unsigned i = 0; i < shards_count(s->all); i++) {
        struct mem *m = &shards_get(s->all, i)->mem;
        reached |= m->fail_in == 0;
        m->fail_in = site;
    }
    return reached;
}

/* fail_everywhere: each allocation of the command fails once: it is refused and nothing has changed, or it went through
 * as if nothing had been. Returns how often it was refused. */
static unsigned fail_everywhere(struct server *s, const char *line) {
    unsigned refused = 0;
    prepare(s);
    char *before = state_of(s);
    char *whole_reply = strdup(run(s, line));
    char *after = state_of(s);
    cr_assert(strcmp(before, after) != 0, "%s does nothing", line);
    for (uint64_t site = 1, more = true; more; site++) {
        prepare(s);
        int64_t used = used_by_all(s);
        fail_on_all(s, site);
        char *reply = strdup(run(s, line));
        more = fail_on_all(s, 0);
        int64_t used_now = used_by_all(s);
        char *state = state_of(s);
        if (strcmp(reply, "-ERR out of memory\r\n") == 0) {
            refused++;
            cr_assert(strcmp(state, before) == 0, "%s, failing at %lu", line, (unsigned long)site);
            cr_assert_eq(used_now, used, "%s, failing at %lu", line, (unsigned long)site);
        } else {
            cr_assert(strcmp(reply, whole_reply) == 0, "%s at %lu: %s", line, (unsigned long)site,
                      reply);
            cr_assert(strcmp(state, after) == 0, "%s, failing at %lu", line, (unsigned long)site);
        }
        free(reply);
        free(state);
    }
    free(before);
    free(after);
    free(whole_reply);
    return refused;
}

static void fail_on(unsigned shards) {
    /* And whether it takes memory, so that it is refused when there is none. */
    static const struct {
        const char *line;
        bool refusable;
    } calls[] = {{"rename % new", true},
                 {"rename % x", false},
                 {"renamenx % new", true},
                 {"copy % new", true},
                 {"copy % x replace", false},
                 {"copy % new db 1", true},
                 {"copy % x db 1 replace", true},
                 {"move % 1", true},
                 {"set % ~2000~", true},
                 {"del % x", false},
                 {"unlink %", false}};
    struct server s;
    server_start(&s, shards);
    prepare(&s);
    run(&s, "flushall sync");
    int64_t empty[SHARDS_MAX];
    for (unsigned i = 0; i < shards; i++)
        empty[i] = shards_get(s.all, i)->mem.used_bytes;
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        for (unsigned k = 0; k < SOURCES; k++) {
            char line[LINE_MAX_BYTES];
            line_for(line, calls[i].line, keys[k]);
            unsigned refused = fail_everywhere(&s, line);
            cr_assert(!calls[i].refusable || refused > 0, "%s takes no memory", line);
        }
        run(&s, "flushall sync");
        for (unsigned at = 0; at < shards; at++)
            cr_assert_eq(shards_get(s.all, at)->mem.used_bytes, empty[at],
                         "%s: shard %u is charged for what is not its own", calls[i].line, at);
    }
    server_stop(&s);
}

Test(keyspace_types, memory_that_fails_changes_nothing_on_one_shard, .timeout = 120) {
    fail_on(1);
}

Test(keyspace_types, memory_that_fails_changes_nothing_on_three_shards, .timeout = 120) {
    fail_on(3);
}

/* --- slices --- */

/* grow: a value of n elements more, by commands of this form. */
static void grow(struct server *s, const char *command, const char *element, unsigned n) {
    enum { EACH = 20, TEXT_BYTES = 4096 };
    for (unsigned from = 0; from < n; from += EACH) {
        char line[TEXT_BYTES];
        size_t len = (size_t)snprintf(line, sizeof line, "%s", command);
        for (unsigned i = from; i < from + EACH; i++) {
            const char *at = element;
            line[len++] = ' ';
            for (; *at != '\0'; at++) { /* each # is the number */
                if (*at == '#')
                    len += (size_t)snprintf(line + len, sizeof line - len, "%u", i * 11);
                else
                    line[len++] = *at;
            }
            line[len] = '\0';
        }
        (void)run(s, line);
    }
}

#define LONG "an-element-of-a-list-that-has-a-text-of-which-not-many-fit-into-one-chunk-of-it-"

static const struct {
    const char *name, *command, *element;
    bool large; /* takes many allocations */
} forms[] = {{"list", "rpush k", LONG LONG "#", true},
             {"hash", "hset k", "f# v#", true},
             {"set", "sadd k", "m#", true},
             {"integers", "sadd k", "#", false},
             {"integers and texts", "sadd k", "# m#", true},
             {"sorted set", "zadd k", "# a-member-that-is-not-short-#", true},
             {"hash with times", "hsetex k ex 100 fields 20", "f# v#", true},
             {"set with times", "saddex k 100", "m#", true},
             {"integers with times", "saddex k 100", "#", true}};

/* take: the object that k held, which nothing holds any more. */
static struct object *take(struct server *s) {
    shard_claim();
    char scratch[ENTRY_INLINE_MAX];
    struct value v;
    int64_t expire_ms;
    struct span name = SPAN("k");
    struct table *t = keyspace_table(s->home->keyspace, 0);
    cr_assert(table_take(t, name, hash_of(name), scratch, &v, &expire_ms));
    cr_assert(v.repr == REPR_OBJECT);
    return v.object;
}

/* What object.h and val.h promise about freeing: as much as was asked for, no more, and the account is right
 * before each slice. */
Test(keyspace_types, inv9_every_form_is_freed_within_its_budget) {
    static const unsigned budgets[] = {1, 2, 3, 64, 1000000};
    enum { A_FEW = 10 }; /* more than it was asked for: the rest of a chain or leaf */
    struct server s;
    server_start(&s, 1);
    struct mem *m = &s.home->mem;
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        for (size_t b = 0; b < COUNT_OF(budgets); b++) {
            grow(&s, forms[i].command, forms[i].element, 4000);
            struct object *o = take(&s);
            unsigned calls = 0, weight = o->weight;
            int64_t used = m->used_bytes, bytes = (int64_t)o->bytes;
            cr_assert((weight > OBJECT_WEIGHT_NOW) == forms[i].large, "%s: %u", forms[i].name,
                      weight);
            for (bool gone = false; !gone; calls++) {
                unsigned budget = budgets[b];
                gone = val_ops_of(o->form)->destroy_some(m, o, &budget);
                cr_assert(budget <= budgets[b], "%s takes more than there is", forms[i].name);
                cr_assert(gone || budget == 0, "%s stops early", forms[i].name);
            }
            cr_assert_eq(used - m->used_bytes, bytes, "%s", forms[i].name);
            cr_assert(calls >= weight / (budgets[b] + A_FEW) / 2,
                      "%s: %u calls for %u allocations, %u each", forms[i].name, calls, weight,
                      budgets[b]);
            cr_assert(calls <= weight * 2 / budgets[b] + 2, "%s: %u calls for %u, %u each",
                      forms[i].name, calls, weight, budgets[b]);
        }
    server_stop(&s);
}

/* The same of taking out what is dead. */
Test(keyspace_types, inv10_every_form_is_swept_within_its_budget) {
    static const unsigned budgets[] = {1, 2, 3, 64, 1000000};
    enum { TIMED = 4000 };
    struct server s;
    server_start(&s, 1);
    struct mem *m = &s.home->mem;
    for (size_t i = 6; i < COUNT_OF(forms); i++)
        for (size_t b = 0; b < COUNT_OF(budgets); b++) {
            grow(&s, forms[i].command, forms[i].element, TIMED);
            (void)run(&s, i == 6 ? "hset k stays v" : "sadd k stays");
            struct object *o = take(&s);
            int64_t now_ms = NOW_MS + 100001;
            unsigned calls = 0, expired = 0, budget = 0;
            cr_assert_eq(o->count, TIMED + 1);
            cr_assert(o->due_ms <= NOW_MS + 100000);
            for (; o->due_ms < now_ms; calls++) {
                budget = budgets[b];
                unsigned some = val_ops_of(o->form)->expire_some(m, o, now_ms, &budget);
                expired += some;
                cr_assert(budget < budgets[b], "%s gets nowhere", forms[i].name);
                cr_assert(some <= budgets[b] + 64, "%s: %u with %u", forms[i].name, some,
                          budgets[b]);
                cr_assert_eq(o->count, TIMED + 1 - expired);
                cr_assert(calls < 100 * TIMED);
            }
            cr_assert_eq(expired, TIMED, "%s", forms[i].name);
            cr_assert_eq(o->due_ms, OBJECT_NEVER);
            cr_assert(calls <= TIMED * 4 / budgets[b] + 2, "%s: %u calls of %u", forms[i].name,
                      calls, budgets[b]);
            budget = UINT32_MAX;
            int64_t used = m->used_bytes, bytes = (int64_t)o->bytes;
            cr_assert(val_ops_of(o->form)->destroy_some(m, o, &budget));
            cr_assert_eq(used - m->used_bytes, bytes, "%s", forms[i].name);
        }
    server_stop(&s);
}

/* object_of: NULL: it lies in its entry. */
static const void *object_of(const struct server *s, const char *key) {
    shard_claim();
    struct span name = {key, strlen(key)};
    struct keyspace *k = shards_get(s->all, shard_of_key(s, name))->keyspace;
    const struct entry *e = keyspace_find(k, 0, name, hash_of(name), NOW_MS);
    return entry_repr(e) == REPR_OBJECT ? entry_object(e) : NULL;
}

/* However often values have moved; and they are the same ones, not copies. */
Test(keyspace_types, what_moves_is_charged_where_it_lies) {
    enum { SHARDS = 3, ROUNDS = 30 };
    struct server s;
    int64_t empty[SHARDS];
    server_start(&s, SHARDS);
    prepare(&s);
    run(&s, "flushall sync");
    for (unsigned i = 0; i < SHARDS; i++)
        empty[i] = shards_get(s.all, i)->mem.used_bytes;
    prepare(&s);
    char *before = state_of(&s);
    const void *objects[SOURCES];
    for (unsigned k = 0; k < SOURCES; k++)
        objects[k] = object_of(&s, keys[k]);
    for (unsigned round = 0; round <= ROUNDS; round++)
        for (unsigned k = 0; k < SOURCES; k++) {
            char from[32], to[32], line[80];
            snprintf(from, sizeof from, round == 0 ? "%s" : "%s-%u", keys[k], round);
            snprintf(to, sizeof to, round == ROUNDS ? "%s" : "%s-%u", keys[k], round + 1);
            snprintf(line, sizeof line, "rename %s %s", from, to);
            cr_assert_str_eq(run(&s, line), "+OK\r\n");
        }
    char *after = state_of(&s);
    cr_assert_str_eq(after, before);
    unsigned kept = 0;
    for (unsigned k = 0; k < SOURCES; k++) {
        cr_assert(object_of(&s, keys[k]) == objects[k], "%s was copied", keys[k]);
        kept += objects[k] != NULL;
    }
    cr_assert(kept >= SOURCES / 2);
    free(before);
    free(after);
    run(&s, "flushall sync");
    for (unsigned i = 0; i < SHARDS; i++)
        cr_assert_eq(shards_get(s.all, i)->mem.used_bytes, empty[i]);
    server_stop(&s);
}
