/* snapshot_state.c: is it a state between two transactions? */
#include "anax/listval.h"
#include "snapshot_impl.h"
#include <stdio.h>
#include <string.h>

/* A key as it was told. */
struct told {
    bool there;
    long number;     /* of a counter or pair */
    uint64_t digest; /* of a list */
    uint64_t count;
};

static struct told accounts[ACCOUNTS], pairs[DBS][PAIRS][2], twins[TWINS][2],
    travellers[TRAVELLERS][NAMES];

void snapshot_forget(void) {
    memset(accounts, 0, sizeof accounts);
    memset(pairs, 0, sizeof pairs);
    memset(twins, 0, sizeof twins);
    memset(travellers, 0, sizeof travellers);
}

static struct told *place_of(unsigned db, struct span key) {
    unsigned a, b;
    char text[64];
    if (key.len >= sizeof text)
        snapshot_fail("a key is told that nobody has written");
    memcpy(text, key.ptr, key.len);
    text[key.len] = '\0';
    if (sscanf(text, "pair:%u:%u", &a, &b) == 2 && a < PAIRS && b < 2 && db < DBS)
        return &pairs[db][a][b];
    if (strncmp(text, "any:", 4) == 0 || strncmp(text, "big:", 4) == 0)
        return NULL;
    if (db != 0)
        snapshot_fail("a key is told from a database where it never was");
    if (sscanf(text, "account:%u", &a) == 1 && a < ACCOUNTS)
        return &accounts[a];
    if (sscanf(text, "twin:%u:%u", &a, &b) == 2 && a < TWINS && b < 2)
        return &twins[a][b];
    if (sscanf(text, "traveller:%u:%u", &a, &b) == 2 && a < TRAVELLERS && b < NAMES)
        return &travellers[a][b];
    return NULL;
}

static uint64_t digest_list(const struct entry *e, uint64_t *count) {
    struct val v;
    struct listval_iter i;
    struct lp_item item;
    uint64_t h = 1;
    if (entry_repr(e) != REPR_OBJECT || entry_type(e) != VALUE_LIST)
        snapshot_fail("a long list is something else");
    val_of_object(&v, NULL, entry_object(e));
    *count = 0;
    for (listval_begin(&i, &v, 0, false); listval_next(&i, &item); ++*count) {
        char digits[STRVAL_INT_BYTES];
        h = h * 31 + hash_of(lp_item_text(&item, digits));
    }
    return h;
}

void snapshot_note(unsigned db, const struct entry *e) {
    struct told *t = place_of(db, entry_key(e));
    if (t == NULL)
        return; /* one that passes */
    if (t->there)
        snapshot_fail("a key is told twice");
    t->there = true;
    if (entry_type(e) == VALUE_LIST)
        t->digest = digest_list(e, &t->count);
    else if (entry_repr(e) == REPR_INT)
        t->number = entry_int(e);
    else
        snapshot_fail("a number is something else");
}

static void visit(void *arg, struct entry *e) {
    snapshot_note(*(const unsigned *)arg, e);
}

void snapshot_note_all(void) {
    for (unsigned i = 0; i < snapshot_world.n; i++) {
        const struct keyspace *k = shards_get(snapshot_world.shards, i)->keyspace;
        for (unsigned db = 0; db < keyspace_databases(k); db++) {
            const struct table *t = keyspace_peek_table(k, db);
            for (uint64_t at = 0; t != NULL && at != TABLE_SCAN_END;)
                at = table_scan(t, at, visit, &db);
        }
    }
}

static void check_pairs(const struct progress *before, const struct progress *after) {
    for (unsigned p = 0; p < PAIRS; p++) {
        long last = 0;
        for (unsigned db = 0; db < DBS; db++) {
            const struct told *a = &pairs[db][p][0], *b = &pairs[db][p][1];
            if (a->there != b->there || a->number != b->number)
                snapshot_fail("a pair is not equal");
            last = a->number > last ? a->number : last;
        }
        if (!before->flushes && last < before->acked[p])
            snapshot_fail("what was acknowledged is not in a snapshot");
        if (last > after->sent[p])
            snapshot_fail("a snapshot has what was sent after it");
    }
}

void snapshot_check(const struct progress *before, const struct progress *after) {
    long sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++)
        sum += accounts[i].number;
    if (sum != 0)
        snapshot_fail("money was made or lost");
    check_pairs(before, after);
    for (unsigned t = 0; t < TWINS; t++)
        if (twins[t][0].digest != twins[t][1].digest || !twins[t][0].there)
            snapshot_fail("twins are not equal");
    for (unsigned t = 0; t < TRAVELLERS; t++) {
        unsigned there = 0;
        for (unsigned n = 0; n < NAMES; n++)
            there += travellers[t][n].there && travellers[t][n].count == LONG;
        if (there != 1)
            snapshot_fail("what was renamed is not there once");
    }
}
