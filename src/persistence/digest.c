/* digest.c: DEBUG DIGEST and DEBUG DIGEST-VALUE. See digest_impl.h for what they compute. */
#include "anax/command.h"
#include "debug_impl.h"
#include "digest_impl.h"
#include "dump_impl.h"
#include <arpa/inet.h>

static void reply_digest(struct reply *r, const struct digest *d) {
    static const char hex[] = "0123456789abcdef";
    char text[2 * DIGEST_BYTES + 1];
    for (unsigned i = 0; i < DIGEST_BYTES; i++) {
        text[2 * i] = hex[d->bytes[i] >> 4];
        text[2 * i + 1] = hex[d->bytes[i] & 15];
    }
    text[2 * DIGEST_BYTES] = '\0';
    reply_status(r, text);
}

/* --- DIGEST: each shard tells what its part of each database adds --- */

struct part {
    uint32_t db;
    struct digest digest;
};

struct walk {
    struct digest sum;
    uint64_t keys;
    int64_t now_ms;
    struct mem *mem;
    bool failed;
};

static void add_entry(void *arg, struct entry *e) {
    struct walk *w = arg;
    int64_t expire_ms = entry_expire_ms(e);
    if (expire_ms != EXPIRE_NEVER && w->now_ms > expire_ms)
        return; /* it is gone, though nobody has looked at it yet */
    struct span key = entry_key(e);
    struct value v = entry_value(e);
    struct digest d = {{0}};
    digest_mix(&d, key.ptr, key.len);
    w->failed |= !digest_value(&d, &v, expire_ms, w->now_ms, w->mem);
    digest_add(&w->sum, d.bytes, DIGEST_BYTES);
    w->keys++;
}

static ON_SHARD void digest_each(struct ctx *c) {
    for (unsigned db = 0; db < keyspace_databases(c->keyspace); db++) {
        const struct table *t = keyspace_peek_table(c->keyspace, db);
        struct walk w = {.now_ms = c->now_ms, .mem = &c->shard->mem};
        for (uint64_t at = 0; t != NULL && at != TABLE_SCAN_END;)
            at = table_scan(t, at, add_entry, &w);
        struct part p = {db, w.sum};
        c->reply.out->failed |= w.failed;
        if (w.keys != 0)
            outbuf_add(c->reply.out, (const char *)&p, sizeof p);
    }
}

/* take_part: a shard's part of db, if it has one; its parts come in the order of databases. */
static bool take_part(const struct outbuf *from, size_t *at, uint32_t db, struct digest *sum) {
    struct part p;
    if (from->len - *at < sizeof p)
        return false;
    memcpy(&p, from->buf + *at, sizeof p);
    if (p.db != db)
        return false;
    *at += sizeof p;
    digest_join(sum, &p.digest);
    return true;
}

static void digest_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    size_t at[SHARDS_MAX] = {0};
    struct digest all = {{0}};
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->failed) {
            ctx_oom(c);
            return;
        }
    }
    for (uint32_t db = 0; db < keyspace_databases(c->keyspace); db++) {
        struct digest sum = {{0}};
        bool any = false;
        for (unsigned i = 0; i < n; i++)
            any |= take_part(parts[i], &at[i], db, &sum);
        if (!any)
            continue;
        uint32_t number = htonl(db);
        digest_mix(&all, &number, sizeof number);
        digest_join(&all, &sum);
    }
    reply_digest(&c->reply, &all);
}

/* --- DIGEST-VALUE --- */

static ON_SHARD void value_one(struct ctx *c, uint32_t i, uint64_t hash) {
    struct digest d = {{0}};
    const struct entry *e = keyspace_find(c->keyspace, c->db, c->argv[i], hash, c->now_ms);
    if (e != NULL) {
        struct value v = entry_value(e);
        if (!digest_value(&d, &v, entry_expire_ms(e), c->now_ms, &c->shard->mem)) {
            ctx_oom(c);
            return;
        }
    }
    reply_digest(&c->reply, &d);
}

static ON_SHARD void value_run(struct ctx *c) {
    reply_array(&c->reply, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++)
        value_one(c, i, ctx_hash(c, i));
}

static ON_SHARD void value_look(struct ctx *c) {
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        value_one(c, k->arg, k->hash);
        ctx_slot_replied(c, k);
    }
}

static const struct across value_across = {.look = value_look, .join = JOIN_KEYS};

static const struct command rows[] = {
    {"DEBUG|DIGEST", NULL, 2, NO_KEYS, DEBUG_FLAGS | CMD_FANOUT | CMD_WHOLE, 0, "server", "1.0.0",
     "O(N) in all that the server holds",
     "Returns a fingerprint of the dataset, which is equal on servers that hold the same.",
     .each = digest_each, .gather = digest_gather},
    {"DEBUG|DIGEST-VALUE", value_run, -3, KEYS(2, -1, 1), DEBUG_FLAGS, 0, "server", "1.0.0",
     "O(N) in what the keys hold", "Returns a fingerprint of what each key holds.",
     .key_access = "RO", .syntax = "key...", .across = &value_across},
};

void digest_register(void) {
    debug_add(rows, COUNT_OF(rows));
}
