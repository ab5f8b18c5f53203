/* migrate.c: MIGRATE: keys go to another server, as RESTORE makes them there,
 * and are gone here when it has said so.
 *
 *     run        keys locked, found; what they hold is looked at in place
 *     beside     payloads and commands are made, and the other server's address
 * is looked up wait       the commands go out, their answers come
 * (migrate_link.c) run again  keys that were restored are deleted, here or, by
 * `after`, on their shards
 *
 * The keys stay locked from the beginning to the end; the shard serves others
 * meanwhile. */
#include "anax/instance.h"
#include "anax/strval.h"
#include "dump_impl.h"
#include "migrate_impl.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include <netdb.h>
#include <stdio.h>

enum {
    HOST = 1,
    PORT = 2,
    ONE_KEY = 3,
    DB = 4,
    TIMEOUT = 5,
    OPTIONS = 6,
    TIMEOUT_MS = 1000,    /* when it is not positive */
    HEAD_BYTES_MAX = 128, /* of a command, beside its key */
    PORT_BYTES_MAX = 16,
    HOST_BYTES_MAX = 1024
};

struct options {
    bool copy, replace;
    struct span user, password;
    bool has_user, has_password;
    uint32_t first_key, keys;
    int64_t timeout_ms, db;
};

/* A key that is there. */
struct parcel {
    struct value value;
    int64_t expire_ms;
    uint32_t arg;
    bool restored;
    size_t from, to; /* its payload */
};

struct migrating {
    struct exchange x;
    struct options o;
    struct span host, port;
    struct parcel *parcels;
    struct message *commands; /* behind the parcels */
    const struct span *argv;
    uint32_t count;
    int64_t now_ms;
    bool compress;
    /* what was made beside the shard */
    bool ready; /* else there was no memory */
    char *heads;
    size_t heads_bytes;
    struct blob *payloads;
    /* what came of it */
    struct work *work;
    uint64_t began_ns;
    enum exchange_end end;
    bool denied, refused; /* AUTH or SELECT was; anything was */
    char why[LINK_LINE_MAX + 1];
};

/* --- the call --- */

static uint32_t option_words(struct span word) {
    return span_is(word, "AUTH") ? 2 : span_is(word, "AUTH2") ? 3 : 1;
}

/* find_keys: those behind KEYS, where the one key is empty; false: none, or
 * both. */
static bool find_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                      uint32_t *step) {
    *first = *last = ONE_KEY;
    *step = 1;
    for (uint32_t i = OPTIONS; i < argc; i += option_words(argv[i])) {
        if (!span_is(argv[i], "KEYS"))
            continue;
        *first = i + 1;
        *last = argc - 1;
        return *first <= *last && argv[ONE_KEY].len == 0;
    }
    return true;
}

/* read_option: argv[*i], and what belongs to it; false: replied that it is
 * wrong. */
static bool read_option(struct ctx *c, uint32_t *i, struct options *o) {
    struct span word = c->argv[*i];
    uint32_t words = option_words(word);
    if (*i + words > c->argc) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (span_is(word, "COPY")) {
        o->copy = true;
    } else if (span_is(word, "REPLACE")) {
        o->replace = true;
    } else if (words > 1) {
        o->has_password = true;
        o->has_user = words == 3;
        o->user = c->argv[*i + 1];
        o->password = c->argv[*i + words - 1];
    } else if (!span_is(word, "KEYS")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    } else if (c->argv[ONE_KEY].len != 0) {
        reply_error(&c->reply,
                    "ERR When using MIGRATE KEYS option, the key argument must be set to "
                    "the empty string");
        return false;
    } else {
        o->first_key = *i + 1;
        o->keys = c->argc - o->first_key;
        words = c->argc - *i;
    }
    *i += words;
    return true;
}

static bool read_options(struct ctx *c, struct options *o) {
    *o = (struct options){.first_key = ONE_KEY, .keys = 1};
    for (uint32_t i = OPTIONS; i < c->argc;)
        if (!read_option(c, &i, o))
            return false;
    if (!ctx_get_int(c, TIMEOUT, &o->timeout_ms) || !ctx_get_int(c, DB, &o->db))
        return false;
    if (o->timeout_ms <= 0)
        o->timeout_ms = TIMEOUT_MS;
    if (o->timeout_ms > INT32_MAX) /* 24 days */
        o->timeout_ms = INT32_MAX;
    return true;
}

/* --- beside the shard --- */

static void look_up(struct migrating *w) {
    char host[HOST_BYTES_MAX], port[PORT_BYTES_MAX];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    w->x.address_len = 0;
    if (w->host.len >= sizeof host || w->port.len >= sizeof port)
        return;
    memcpy(host, w->host.ptr, w->host.len);
    host[w->host.len] = '\0';
    memcpy(port, w->port.ptr, w->port.len);
    port[w->port.len] = '\0';
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return;
    memcpy(&w->x.address, found->ai_addr, found->ai_addrlen);
    w->x.address_len = found->ai_addrlen;
    freeaddrinfo(found);
}

static char *put(char *to, struct span s) {
    if (s.len > 0)
        memcpy(to, s.ptr, s.len);
    return to + s.len;
}

static char *put_bulk(char *to, struct span s) {
    to += sprintf(to, "$%zu\r\n", s.len);
    to = put(to, s);
    return put(to, SPAN("\r\n"));
}

static char *put_bulk_int(char *to, int64_t v) {
    char digits[STRVAL_INT_BYTES];
    return put_bulk(to, (struct span){digits, strval_format_int(digits, v)});
}

static struct span since(const char *from, const char *to) {
    return (struct span){from, (size_t)(to - from)};
}

/* write_restore: all of a key's RESTORE but its payload. */
static char *write_restore(const struct migrating *w, const struct parcel *p, char *to,
                           struct message *m) {
    static const struct span with_replace = {"\r\n$7\r\nREPLACE\r\n", 15}, without = {"\r\n", 2};
    const char *from = to;
    int64_t ttl = 0;
    if (p->expire_ms != EXPIRE_NEVER)
        ttl = p->expire_ms > w->now_ms ? p->expire_ms - w->now_ms : 1;
    to = put(to, w->o.replace ? SPAN("*5\r\n") : SPAN("*4\r\n"));
    to = put_bulk(to, SPAN("RESTORE"));
    to = put_bulk(to, w->argv[p->arg]);
    to = put_bulk_int(to, ttl);
    to += sprintf(to, "$%zu\r\n", p->to - p->from);
    m->part[0] = since(from, to);
    m->part[1] = (struct span){w->payloads->data + p->from, p->to - p->from};
    m->part[2] = w->o.replace ? with_replace : without;
    return to;
}

static bool make_payloads(struct migrating *w, struct mem *m) {
    struct dump d;
    dump_begin(&d, m, NULL, 0);
    for (uint32_t i = 0; i < w->count; i++) {
        struct parcel *p = &w->parcels[i];
        p->from = (size_t)(d.out.at - d.begin);
        if (!dump_value(&d, &p->value, w->compress))
            return false;
        p->to = (size_t)(d.out.at - d.begin);
    }
    w->payloads = dump_blob(&d);
    return w->payloads != NULL;
}

static bool make_heads(struct migrating *w, struct mem *m) {
    w->heads_bytes = 2 * HEAD_BYTES_MAX + w->o.user.len + w->o.password.len;
    for (uint32_t i = 0; i < w->count; i++)
        w->heads_bytes += HEAD_BYTES_MAX + w->argv[w->parcels[i].arg].len;
    char *to = w->heads = mem_alloc(m, w->heads_bytes), *from = to;
    if (to == NULL)
        return false;
    if (w->o.has_password) {
        to = put(to, w->o.has_user ? SPAN("*3\r\n") : SPAN("*2\r\n"));
        to = put_bulk(to, SPAN("AUTH"));
        if (w->o.has_user)
            to = put_bulk(to, w->o.user);
        to = put_bulk(to, w->o.password);
    }
    w->commands[EXCHANGE_AUTH] = (struct message){.part = {since(from, to)}};
    from = to;
    to = put_bulk(put(to, SPAN("*2\r\n")), SPAN("SELECT"));
    to = put_bulk_int(to, w->o.db);
    w->commands[EXCHANGE_SELECT] = (struct message){.part = {since(from, to)}};
    for (uint32_t i = 0; i < w->count; i++)
        to = write_restore(w, &w->parcels[i], to, &w->commands[EXCHANGE_FIRST + i]);
    ASSERT(to <= w->heads + w->heads_bytes);
    return true;
}

static void prepare(void *state, struct mem *m) {
    struct migrating *w = state;
    w->ready = make_payloads(w, m) && make_heads(w, m);
    if (w->ready)
        look_up(w);
}

/* --- the exchange --- */

static struct migrating *migrating_of(struct exchange *x) {
    return CONTAINER_OF(x, struct migrating, x);
}

static void on_line(struct exchange *x, uint32_t command, struct span line) {
    struct migrating *w = migrating_of(x);
    bool error = line.len > 0 && line.ptr[0] == '-';
    if (error && !w->refused) {
        memcpy(w->why, line.ptr + 1, line.len - 1);
        w->why[line.len - 1] = '\0';
    }
    if (command < EXCHANGE_FIRST)
        w->denied |= error;
    else
        w->parcels[command - EXCHANGE_FIRST].restored = !error && !w->denied;
    w->refused |= error;
}

static void on_over(struct exchange *x, enum exchange_end end) {
    shard_claim();
    struct migrating *w = migrating_of(x);
    w->end = end;
    w->work->job.ns += clock_fine_ns() - w->began_ns;
    work_end(x->shard, w->work);
}

static void wait(struct shard *s, struct work *work) {
    shard_claim();
    struct migrating *w = (struct migrating *)work->state;
    if (!w->ready) {
        work_end(s, work);
        return;
    }
    w->work = work;
    w->began_ns = clock_fine_ns();
    w->x.host = w->host;
    w->x.port = w->port;
    w->x.db = w->o.db;
    w->x.timeout_ns = (uint64_t)w->o.timeout_ms * 1000000;
    w->x.commands = w->commands;
    w->x.count = EXCHANGE_FIRST + w->count;
    w->x.line = on_line;
    w->x.over = on_over;
    exchange_start(s, &w->x);
}

/* --- on the shard --- */

static size_t room_for(uint32_t keys) {
    return keys * sizeof(struct parcel) + (EXCHANGE_FIRST + keys) * sizeof(struct message);
}

static ON_SHARD void delete_one(struct ctx *c, uint32_t arg, uint64_t hash) {
    struct table *t = keyspace_peek_table(c->keyspace, c->db);
    if (t == NULL || !table_delete(t, c->argv[arg], hash))
        return; /* it was named twice */
    keyspace_count_gone(c->keyspace, t, c->now_ms);
    ctx_changed(c, arg);
}

/* take_out: what the other server has. Of keys on several shards `after` does
 * it. */
static ON_SHARD void take_out(struct ctx *c, const struct migrating *w) {
    for (uint32_t i = 0; i < w->count; i++) {
        const struct parcel *p = &w->parcels[i];
        if (!p->restored)
            continue;
        if (c->slots == NULL) {
            delete_one(c, p->arg, ctx_hash(c, p->arg));
        } else {
            c->slots->slot[p->arg - c->slots->first_arg].kept = c->slots;
            c->slots->go = true;
        }
    }
}

static ON_SHARD void migrate_after(struct ctx *c) {
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        if (k->kept != NULL)
            delete_one(c, k->arg, k->hash);
        k->kept = NULL;
    }
}

static void reply_end(struct ctx *c, const struct migrating *w) {
    if (!w->ready)
        ctx_oom(c);
    else if (w->refused)
        reply_errorf(&c->reply, "ERR Target instance replied with error: %s", w->why);
    else if (w->end == EXCHANGE_DONE)
        reply_ok(&c->reply);
    else if (w->end == EXCHANGE_CONNECT)
        reply_error(&c->reply, "IOERR error or timeout connecting to the client");
    else
        reply_errorf(&c->reply, "IOERR error or timeout %s to target instance",
                     w->end == EXCHANGE_WRITE ? "writing" : "reading");
}

static ON_SHARD void finish(struct ctx *c, struct migrating *w) {
    struct mem *m = &c->shard->mem;
    if (w->ready && !w->o.copy)
        take_out(c, w);
    reply_end(c, w);
    if (w->payloads != NULL)
        blob_unpin(m, w->payloads);
    mem_free(m, w->heads, w->heads_bytes);
    mem_free(m, w->parcels, room_for(w->o.keys));
}

/* find: the keys that are there. */
static ON_SHARD void find(struct ctx *c, struct migrating *w) {
    for (uint32_t i = 0; i < w->o.keys; i++) {
        struct view v;
        ctx_view(c, w->o.first_key + i, &v);
        if (v.exists)
            w->parcels[w->count++] = (struct parcel){
                .value = v.value, .expire_ms = v.expire_ms, .arg = w->o.first_key + i};
    }
}

static ON_SHARD void migrate_run(struct ctx *c) {
    struct migrating w;
    struct mem *m = &c->shard->mem;
    if (ctx_resume(c, &w, sizeof w)) {
        finish(c, &w);
        return;
    }
    memset(&w, 0, sizeof w);
    if (!read_options(c, &w.o) || ctx_lock(c))
        return;
    w.host = c->argv[HOST];
    w.port = c->argv[PORT];
    w.argv = c->argv;
    w.now_ms = c->now_ms;
    w.compress = instance_of(c->shard)->config->rdb_compression;
    w.parcels = mem_zalloc(m, room_for(w.o.keys));
    if (w.parcels == NULL) {
        ctx_oom(c);
        return;
    }
    w.commands = (struct message *)(w.parcels + w.o.keys);
    find(c, &w);
    if (w.count == 0)
        reply_status(&c->reply, "NOKEY");
    else if (ctx_wait(c, prepare, wait, &w, sizeof w))
        return;
    else
        ctx_oom(c);
    mem_free(m, w.parcels, room_for(w.o.keys));
}

static const struct across migrate_across = {
    .look = ctx_look_views, .at = ACROSS_LAST_KEY, .after = migrate_after};

static const struct command rows[] = {
    {"MIGRATE", migrate_run, -6, KEY(3), CMD_WRITE | CMD_MOVABLE_KEYS | CMD_LONG,
     ACL_KEYSPACE | ACL_DANGEROUS, "generic", "2.6.0",
     "O(N) in what the keys hold, here and on the other server", "Moves keys to another server.",
     .tips = "nondeterministic_output",
     .key_access = "RW access delete;?=KEYS RW access delete incomplete", .find_keys = find_keys,
     .syntax = "host port:integer key-selector(key|empty-string:\"\") destination-db timeout "
               "[COPY] "
               "[REPLACE] [authentication(AUTH=auth<password>|AUTH2=auth2(username "
               "password))] "
               "[KEYS=keys<key>:key...]",
     .across = &migrate_across},
};

void migrate_register(void) {
    command_register(rows, COUNT_OF(rows));
}
