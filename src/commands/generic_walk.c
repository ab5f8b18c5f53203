/* generic_walk.c: commands over all keys of a database: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHDB,
 * FLUSHALL, SWAPDB.
 *
 * What spans all shards runs on each of them and is gathered at home; what must be seen of all
 * shards at one moment is a CMD_WHOLE. SCAN goes through the shards one after the other: its cursor
 * is  shard << 33 | cursor of that shard's table,  so that 0 is the beginning of the first, and 0 is
 * replied at the end of the last.
 */
#include "anax/glob.h"
#include "ctx_impl.h"
#include "shards/assert.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum { CURSOR_SHARD_SHIFT = 33 };
#define CURSOR_TABLE_MASK ((1ULL << CURSOR_SHARD_SHIFT) - 1)

/* One SCAN looks at no more keys than this, whatever its COUNT, and at SCAN_BUCKETS_PER_KEY chains
 * of buckets for each key that is wanted: empty ones must not hold the shard up. */
enum { SCAN_COUNT_MAX = 65536, SCAN_BUCKETS_PER_KEY = 10 };

/* --- KEYS --- */

struct matching {
    struct ctx *c;
    struct reply *to;
    struct span pattern;
    struct span type; /* ptr NULL: any */
    bool all;
    uint64_t seen, replied;
};

static void visit(void *arg, struct entry *e) {
    struct matching *m = arg;
    if (ctx_expired(m->c, e))
        return;
    m->seen++;
    struct span key = entry_key(e);
    if (!m->all && !glob_match(m->pattern, key, false))
        return;
    if (m->type.ptr != NULL && !span_is(m->type, type_name(entry_type(e))))
        return;
    reply_bulk(m->to, key);
    m->replied++;
}

static ON_SHARD void keys_each(struct ctx *c) {
    uint64_t none = 0;
    size_t at = c->reply.out->len;
    outbuf_add(c->reply.out, (const char *)&none, sizeof(none));
    struct matching m = {.c = c, .to = &c->reply, .pattern = c->argv[1]};
    m.all = span_eq(m.pattern, SPAN("*"));
    const struct table *t = keyspace_peek_table(c->keyspace, c->db);
    for (uint64_t cursor = 0; t != NULL && cursor != TABLE_SCAN_END;)
        cursor = table_scan(t, cursor, visit, &m);
    if (!c->reply.out->failed)
        memcpy(c->reply.out->buf + at, &m.replied, sizeof(m.replied));
}

/* read_count: what a part begins with; false when the part is not whole. */
static bool read_count(const struct outbuf *part, uint64_t *n) {
    if (part->failed || part->len < sizeof(*n))
        return false;
    memcpy(n, part->buf, sizeof(*n));
    return true;
}

static void keys_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    uint64_t total = 0, some;
    for (unsigned i = 0; i < n; i++) {
        if (!read_count(parts[i], &some)) {
            ctx_oom(c);
            return;
        }
        total += some;
    }
    reply_array(&c->reply, total);
    for (unsigned i = 0; i < n; i++)
        outbuf_add(c->reply.out, parts[i]->buf + sizeof(some), parts[i]->len - sizeof(some));
}

/* --- SCAN --- */

/* scan_cursor: what strtoull understands, as Redis does; replies and returns false otherwise. */
static bool scan_cursor(struct ctx *c, uint64_t *cursor) {
    char text[32];
    struct span s = c->argv[1];
    char *end = text;
    errno = 0;
    if (s.len < sizeof(text)) {
        memcpy(text, s.ptr, s.len);
        text[s.len] = '\0';
        *cursor = strtoull(text, &end, 10);
    }
    if (s.len >= sizeof(text) || *end != '\0' || isspace((unsigned char)text[0]) ||
        errno == ERANGE) {
        reply_error(&c->reply, "ERR invalid cursor");
        return false;
    }
    return true;
}

static int scan_route(struct ctx *c) {
    uint64_t cursor;
    if (!scan_cursor(c, &cursor))
        return -1;
    uint64_t shard = cursor >> CURSOR_SHARD_SHIFT;
    return shard < shards_count(c->shard->all) ? (int)shard : c->shard->id;
}

static bool scan_options(struct ctx *c, struct matching *m, uint64_t *count) {
    *count = 10;
    m->all = true;
    for (uint32_t i = 2; i < c->argc; i += 2) {
        struct span word = c->argv[i];
        bool paired = i + 1 < c->argc;
        int64_t n;
        if (paired && span_is(word, "COUNT")) {
            if (!ctx_get_int(c, i + 1, &n))
                return false;
            if (n >= 1) {
                *count = n < SCAN_COUNT_MAX ? (uint64_t)n : SCAN_COUNT_MAX;
                continue;
            }
        } else if (paired && span_is(word, "MATCH")) {
            m->pattern = c->argv[i + 1];
            m->all = span_eq(m->pattern, SPAN("*"));
            continue;
        } else if (paired && span_is(word, "TYPE")) {
            m->type = c->argv[i + 1];
            continue;
        }
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

/* scan_some: returns the table's cursor to go on with. */
static ON_SHARD uint64_t scan_some(struct ctx *c, uint64_t at, uint64_t count, struct matching *m) {
    const struct table *t = keyspace_peek_table(c->keyspace, c->db);
    if (t == NULL)
        return TABLE_SCAN_END;
    for (uint64_t left = count * SCAN_BUCKETS_PER_KEY; left > 0 && m->seen < count; left--) {
        at = table_scan(t, at, visit, m);
        if (at == TABLE_SCAN_END)
            break;
    }
    return at;
}

static ON_SHARD void scan_run(struct ctx *c) {
    struct outbuf found;
    struct reply found_reply = {.out = &found, .proto = c->reply.proto, .owner = c->reply.owner};
    struct matching m = {.c = c, .to = &found_reply};
    uint64_t cursor, count;
    if (!scan_cursor(c, &cursor) || !scan_options(c, &m, &count))
        return;
    /* A cursor that this server never gave is at the end. */
    uint64_t at = cursor & CURSOR_TABLE_MASK, shard = cursor >> CURSOR_SHARD_SHIFT;
    if (shard != c->shard->id || at >= TABLE_SCAN_END) {
        shard = shards_count(c->shard->all);
        at = TABLE_SCAN_END;
    }
    outbuf_init(&found, keyspace_mem(c->keyspace));
    if (at != TABLE_SCAN_END)
        at = scan_some(c, at, count, &m);
    if (at == TABLE_SCAN_END)
        cursor = shard + 1 < shards_count(c->shard->all) ? (shard + 1) << CURSOR_SHARD_SHIFT : 0;
    else
        cursor = shard << CURSOR_SHARD_SHIFT | at;
    if (found.failed) {
        ctx_oom(c);
    } else {
        reply_array(&c->reply, 2);
        reply_bulk_int(&c->reply, (int64_t)cursor);
        reply_array(&c->reply, m.replied);
        if (m.replied > 0)
            outbuf_add(c->reply.out, found.buf, found.len);
    }
    outbuf_deinit(&found);
}

/* --- RANDOMKEY --- */

struct alive {
    const struct ctx *c;
    const struct entry *one;
};

static void visit_alive(void *arg, struct entry *e) {
    struct alive *a = arg;
    if (!ctx_expired(a->c, e))
        a->one = e;
}

/* any_alive: dead ones that it comes across go; when it has met nothing else, it looks at all there is. */
static ON_SHARD const struct entry *any_alive(struct ctx *c, const struct table *t) {
    enum { TRIES = 100 };
    struct alive a = {.c = c};
    for (unsigned tries = 0; tries < TRIES; tries++) {
        const struct entry *e = table_random(t, &c->shard->rng);
        if (e == NULL || !ctx_expired(c, e))
            return e;
        struct span key = entry_key(e);
        (void)keyspace_find(c->keyspace, c->db, key, hash_of(key), c->now_ms);
    }
    for (uint64_t cursor = 0; cursor != TABLE_SCAN_END && a.one == NULL;)
        cursor = table_scan(t, cursor, visit_alive, &a);
    return a.one;
}

/* A part is the number of keys here and one of them. */
static ON_SHARD void randomkey_each(struct ctx *c) {
    const struct table *t = keyspace_peek_table(c->keyspace, c->db);
    const struct entry *e = t == NULL ? NULL : any_alive(c, t);
    uint64_t keys = e == NULL ? 0 : table_count(t);
    outbuf_add(c->reply.out, (const char *)&keys, sizeof(keys));
    if (e != NULL)
        outbuf_add(c->reply.out, entry_key(e).ptr, entry_key(e).len);
}

/* randomkey_gather: a shard's key is taken with the probability that the shard's share of keys has.
 */
static void randomkey_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    uint64_t total = 0, some;
    for (unsigned i = 0; i < n; i++) {
        if (!read_count(parts[i], &some)) {
            ctx_oom(c);
            return;
        }
        total += some;
    }
    if (total == 0) {
        reply_null(&c->reply);
        return;
    }
    uint64_t pick = rng_below(&c->shard->rng, total);
    for (unsigned i = 0; i < n && read_count(parts[i], &some); i++) {
        if (pick < some) {
            struct span key = {parts[i]->buf + sizeof(some), parts[i]->len - sizeof(some)};
            reply_bulk(&c->reply, key);
            return;
        }
        pick -= some;
    }
}

/* --- DBSIZE --- */

static ON_SHARD void dbsize_each(struct ctx *c) {
    const struct table *t = keyspace_peek_table(c->keyspace, c->db);
    uint64_t keys = t == NULL ? 0 : table_count(t);
    outbuf_add(c->reply.out, (const char *)&keys, sizeof(keys));
}

static void dbsize_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    uint64_t total = 0, some;
    for (unsigned i = 0; i < n; i++) {
        if (!read_count(parts[i], &some)) {
            ctx_oom(c);
            return;
        }
        total += some;
    }
    reply_int(&c->reply, (int64_t)total);
}

/* --- FLUSHDB, FLUSHALL --- */

static bool flush_options(const struct ctx *c, bool *wait) {
    *wait = c->argc == 2 && span_is(c->argv[1], "SYNC");
    return c->argc == 1 || *wait || (c->argc == 2 && span_is(c->argv[1], "ASYNC"));
}

static bool flush_check(struct ctx *c) {
    bool wait;
    if (flush_options(c, &wait))
        return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* flush_each: the databases are empty at once; freeing what they held goes on in slices between other work. A client that
 * asks for SYNC waits for that, and nobody else does. */
static ON_SHARD void flush_each(struct ctx *c, uint32_t first_db, uint32_t dbs) {
    for (uint32_t db = first_db; db < first_db + dbs; db++) {
        if (keyspace_peek_table(c->keyspace, db) == NULL)
            continue;
        watch_flushing(c->shard, db);
        instance_of(c->shard)->changes += keyspace_flush(c->keyspace, db);
    }
}

static ON_SHARD void flushdb_each(struct ctx *c) {
    flush_each(c, c->db, 1);
}

static ON_SHARD void flushall_each(struct ctx *c) {
    flush_each(c, 0, keyspace_databases(c->keyspace));
    if (instance_of(c->shard)->flushed != NULL)
        instance_of(c->shard)->flushed(c->shard);
}

static void flush_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    bool wait, valid = flush_options(c, &wait);
    ASSERT(valid);
    c->freed = wait;
    command_ok_gather(c, parts, n);
}

/* --- SWAPDB --- */

/* swapdb_args: NULL, or what is wrong with them. Redis tells of both numbers first whether they are
 * any. */
static const char *swapdb_args(const struct ctx *c, uint32_t db[2]) {
    static const char *const wrong[] = {"ERR invalid first DB index",
                                        "ERR invalid second DB index"};
    int64_t n[2];
    for (uint32_t i = 0; i < 2; i++)
        if (!strval_parse_int(c->argv[1 + i], &n[i]) || n[i] < INT32_MIN || n[i] > INT32_MAX)
            return wrong[i];
    for (uint32_t i = 0; i < 2; i++) {
        if (n[i] < 0 || n[i] >= keyspace_databases(c->keyspace))
            return "ERR DB index is out of range";
        db[i] = (uint32_t)n[i];
    }
    return NULL;
}

static bool swapdb_check(struct ctx *c) {
    uint32_t db[2];
    const char *wrong = swapdb_args(c, db);
    if (wrong != NULL)
        reply_error(&c->reply, wrong);
    return wrong == NULL;
}

static ON_SHARD void swapdb_each(struct ctx *c) {
    uint32_t db[2];
    const char *wrong = swapdb_args(c, db);
    ASSERT(wrong == NULL);
    if (db[0] == db[1])
        return;
    keyspace_swap(c->keyspace, db[0], db[1]);
    watch_swapped(c->shard, db[0], db[1]);
    instance_of(c->shard)->changes += c->shard->id == 0; /* one, for all shards */
}

static const struct command rows[] = {
    {"KEYS", NULL, 2, NO_KEYS, CMD_READ | CMD_FANOUT | CMD_WHOLE, ACL_KEYSPACE | ACL_DANGEROUS,
     "generic", "1.0.0", "O(N) in the keys of the database",
     "Returns all keys that match a pattern.", .each = keys_each, .gather = keys_gather,
     .tips = "request_policy:all_shards nondeterministic_output_order", .syntax = "pattern"},
    {"SCAN", scan_run, -2, NO_KEYS, CMD_READ | CMD_ROUTED, ACL_KEYSPACE, "generic", "2.8.0",
     "O(1) for each call, O(N) for all of them", "Returns some keys and where to go on.",
     .route = scan_route,
     .tips = "nondeterministic_output request_policy:special response_policy:special",
     .syntax = "cursor [MATCH=pattern] [COUNT=count] [TYPE=type]"},
    {"RANDOMKEY", NULL, 1, NO_KEYS, CMD_READ | CMD_FANOUT | CMD_WHOLE, ACL_KEYSPACE, "generic",
     "1.0.0", "O(1)", "Returns any key of the database.", .each = randomkey_each,
     .gather = randomkey_gather,
     .tips = "request_policy:all_shards response_policy:special nondeterministic_output"},
    {"DBSIZE", NULL, 1, NO_KEYS, CMD_READ | CMD_FAST | CMD_FANOUT | CMD_WHOLE, ACL_KEYSPACE,
     "server", "1.0.0", "O(1)", "Returns the number of keys in the database.", .each = dbsize_each,
     .gather = dbsize_gather, .tips = "request_policy:all_shards response_policy:agg_sum"},
    {"FLUSHDB", NULL, -1, NO_KEYS, CMD_WRITE | CMD_FANOUT | CMD_WHOLE, ACL_KEYSPACE | ACL_DANGEROUS,
     "server", "1.0.0", "O(1), and O(N) in the keys for freeing them",
     "Deletes all keys of the database.", .each = flushdb_each, .gather = flush_gather,
     .check = flush_check, .tips = "request_policy:all_shards response_policy:all_succeeded",
     .syntax = "[flush-type(ASYNC|SYNC)]"},
    {"FLUSHALL", NULL, -1, NO_KEYS, CMD_WRITE | CMD_FANOUT | CMD_WHOLE,
     ACL_KEYSPACE | ACL_DANGEROUS, "server", "1.0.0", "O(1), and O(N) in the keys for freeing them",
     "Deletes all keys of all databases.", .each = flushall_each, .gather = flush_gather,
     .check = flush_check, .tips = "request_policy:all_shards response_policy:all_succeeded",
     .syntax = "[flush-type(ASYNC|SYNC)]"},
    {"SWAPDB", NULL, 3, NO_KEYS, CMD_WRITE | CMD_FAST | CMD_FANOUT | CMD_WHOLE,
     ACL_KEYSPACE | ACL_DANGEROUS, "server", "4.0.0",
     "O(N) in the keys of both databases that are watched",
     "Exchanges two databases, for all clients at once.", .each = swapdb_each,
     .gather = command_ok_gather, .check = swapdb_check, .syntax = "index1:integer index2:integer"},
};

void generic_walk_register(void) {
    command_register(rows, COUNT_OF(rows));
}
