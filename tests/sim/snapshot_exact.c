/* snapshot_exact.c: what is told is what there was at the cut, byte by byte, whatever clients have done since. */
#include "anax/rdb.h"
#include "snapshot_impl.h"
#include <string.h>

enum { PLACES = 16384 };

/* An entry at the cut. */
struct was {
    bool there, told;
    unsigned db;
    uint64_t key, digest;
};

static struct was places[PLACES];
static unsigned count, told;

/* What an entry would be in a file, hashed. */
struct sum {
    struct rdb_out out;
    uint64_t hash;
    uint8_t bytes[4096];
};

static void sum_take(struct sum *s) {
    struct span part = {(const char *)s->bytes, (size_t)(s->out.at - s->bytes)};
    s->hash = s->hash * 31 + hash_of(part);
    s->out.at = s->bytes;
}

static bool sum_more(struct rdb_out *o) {
    sum_take(CONTAINER_OF(o, struct sum, out));
    return true;
}

uint64_t snapshot_digest(const struct entry *e) {
    static struct rdb_encoder enc;
    static struct sum s;
    struct value v = {.type = (uint8_t)entry_type(e), .repr = (uint8_t)entry_repr(e)};
    if (v.repr == REPR_INT)
        v.integer = entry_int(e);
    else if (v.repr == REPR_OBJECT)
        v.object = entry_object(e);
    else
        v.bytes = entry_bytes(e);
    s.hash = 1;
    s.out = (struct rdb_out){.at = s.bytes, .end = s.bytes + sizeof s.bytes, .more = sum_more};
    rdb_encode_begin(&enc, &v, false);
    rdb_encode_key(&enc, &s.out, entry_key(e), entry_expire_ms(e));
    while (!rdb_encode_some(&enc, &s.out, SIZE_MAX)) {
    }
    sum_take(&s);
    return s.hash;
}

static struct was *place_of(unsigned db, uint64_t key) {
    uint64_t i = (key + db) % PLACES;
    while (places[i].there && (places[i].key != key || places[i].db != db))
        i = (i + 1) % PLACES;
    return &places[i];
}

void snapshot_exact_forget(void) {
    memset(places, 0, sizeof places);
    count = told = 0;
}

static void visit(void *arg, struct entry *e) {
    unsigned db = *(const unsigned *)arg;
    uint64_t key = hash_of(entry_key(e));
    if (++count == PLACES)
        snapshot_fail("there are more keys than this simulation has room for");
    *place_of(db, key) = (struct was){true, false, db, key, snapshot_digest(e)};
}

void snapshot_exact_take(const struct keyspace *k) {
    for (unsigned db = 0; db < keyspace_databases(k); db++) {
        const struct table *t = keyspace_peek_table(k, db);
        for (uint64_t at = 0; t != NULL && at != TABLE_SCAN_END;)
            at = table_scan(t, at, visit, &db);
    }
}

void snapshot_exact_note(unsigned db, const struct entry *e) {
    struct was *w = place_of(db, hash_of(entry_key(e)));
    if (!w->there)
        snapshot_fail("a key is told that was not there at the cut");
    if (w->told)
        snapshot_fail("a key is told twice");
    if (w->digest != snapshot_digest(e))
        snapshot_fail("a key is told as it was not at the cut");
    w->told = true;
    told++;
}

void snapshot_exact_check(void) {
    if (told != count)
        snapshot_fail("a key that was there at the cut is not told");
}
