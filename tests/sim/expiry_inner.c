/* expiry_inner.c: commands on hashes and sets, and what each must say and do. */
#include "expiry_impl.h"
#include <stdio.h>

/* open: key i as one of a kind; NULL: it is of another, and the reply says so, or `nothing` when there is none. */
static struct key *open(struct talk *t, unsigned i, enum kind kind, const char *nothing) {
    struct key *k = ops_key(t, i);
    if (k->kind == kind)
        return k;
    talk_expect(t, "%s", k->kind == KIND_NONE ? nothing : OPS_WRONG_TYPE);
    return NULL;
}

/* create: the same, of one that is made when there is none; f0 and m0 are there from then on. */
static struct key *create(struct talk *t, unsigned i, enum kind kind) {
    struct key *k = ops_key(t, i);
    if (k->kind != KIND_NONE && k->kind != kind) {
        talk_expect(t, OPS_WRONG_TYPE);
        return NULL;
    }
    if (k->kind == KIND_NONE)
        model_forget(k);
    k->kind = kind;
    return k;
}

static unsigned key(const struct talk *t) {
    return ops_below(t, EXPIRY_KEYS);
}

static unsigned field(const struct talk *t) {
    return 1 + ops_below(t, EXPIRY_FIELDS - 1);
}

/* give: what HEXPIRE says of a field. */
static int give(const struct talk *t, struct field *f, unsigned conditions, int64_t when) {
    if (!f->there)
        return -2;
    if (!ops_allowed(conditions, f->expire_ms, when))
        return 0;
    if (when <= t->m->now_ms) {
        *f = (struct field){0};
        return 2;
    }
    f->expire_ms = when;
    return 1;
}

/* --- hashes --- */

static void hset(struct talk *t) {
    unsigned i = key(t), f = field(t), v = 1 + ops_below(t, 1000);
    talk_ask(t, "HSET k%u f0 0 f%u %u\r\n", i, f, v);
    struct key *k = create(t, i, KIND_HASH);
    if (k == NULL)
        return;
    talk_expect(t, ":%d\r\n", !k->fields[0].there + !k->fields[f].there);
    k->fields[0] = (struct field){.there = true};
    k->fields[f] = (struct field){.there = true, .value = v};
}

static void hget(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "HMGET k%u f%u f0\r\n", i, f);
    struct key *k = open(t, i, KIND_HASH, "*2\r\n$-1\r\n$-1\r\n");
    if (k == NULL)
        return;
    char text[24];
    int len = snprintf(text, sizeof text, "%ld", k->fields[f].value);
    if (k->fields[f].there)
        talk_expect(t, "*2\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len, text);
    else
        talk_expect(t, "*2\r\n$-1\r\n$1\r\n0\r\n");
}

/* HLEN and SCARD are left out: they count, as in Redis 8, what is dead inside and not swept yet. */
static void hexists(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "HEXISTS k%u f%u\r\n", i, f);
    struct key *k = open(t, i, KIND_HASH, ":0\r\n");
    if (k != NULL)
        talk_expect(t, ":%d\r\n", k->fields[f].there);
}

static void hdel(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "HDEL k%u f%u\r\n", i, f);
    struct key *k = open(t, i, KIND_HASH, ":0\r\n");
    if (k == NULL)
        return;
    talk_expect(t, ":%d\r\n", k->fields[f].there);
    k->fields[f] = (struct field){0};
}

static void hincrby(struct talk *t) {
    unsigned i = key(t), f = field(t);
    if (ops_key(t, i)->kind != KIND_HASH)
        return;
    struct field *at = &ops_key(t, i)->fields[f];
    talk_ask(t, "HINCRBY k%u f%u 3\r\n", i, f);
    at->there = true;
    at->value += 3;
    talk_expect(t, ":%ld\r\n", at->value);
}

static void hexpire(struct talk *t) {
    char words[16];
    unsigned i = key(t), f = field(t), conditions = ops_conditions(t, words), by = ops_below(t, 3);
    int64_t now = t->m->now_ms, when = ops_when(t);
    if (conditions >= 5 || (conditions & 3) == 3)
        words[0] = 0, conditions = 0; /* HEXPIRE takes one condition */
    if (by == 0)
        when = now + (1 + ops_below(t, 3)) * 1000;
    if (by == 1 && when < now)
        when = now;
    if (by == 0)
        talk_ask(t, "HEXPIRE k%u %ld%s FIELDS 2 f%u none\r\n", i, (when - now) / 1000, words, f);
    else if (by == 1)
        talk_ask(t, "HPEXPIRE k%u %ld%s FIELDS 2 f%u none\r\n", i, when - now, words, f);
    else
        talk_ask(t, "HPEXPIREAT k%u %ld%s FIELDS 2 f%u none\r\n", i, when, words, f);
    struct key *k = open(t, i, KIND_HASH, "*2\r\n:-2\r\n:-2\r\n");
    if (k != NULL)
        talk_expect(t, "*2\r\n:%d\r\n:-2\r\n", give(t, &k->fields[f], conditions, when));
}

static void hpersist(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "HPERSIST k%u FIELDS 2 f%u f0\r\n", i, f);
    struct key *k = open(t, i, KIND_HASH, "*2\r\n:-2\r\n:-2\r\n");
    if (k == NULL)
        return;
    struct field *at = &k->fields[f];
    talk_expect(t, "*2\r\n:%d\r\n:-1\r\n", !at->there ? -2 : at->expire_ms == 0 ? -1 : 1);
    at->expire_ms = 0;
}

static void hpttl(struct talk *t) {
    unsigned i = key(t), f = field(t), which = ops_below(t, 2);
    talk_ask(t, "%s k%u FIELDS 2 f%u f0\r\n", which == 0 ? "HPTTL" : "HPEXPIRETIME", i, f);
    struct key *k = open(t, i, KIND_HASH, "*2\r\n:-2\r\n:-2\r\n");
    if (k == NULL)
        return;
    const struct field *at = &k->fields[f];
    int64_t ms = which == 0 ? at->expire_ms - t->m->now_ms : at->expire_ms;
    talk_expect(t, "*2\r\n:%ld\r\n:-1\r\n", !at->there ? -2 : at->expire_ms == 0 ? -1 : ms);
}

static void hgetex(struct talk *t) {
    unsigned i = key(t), f = field(t);
    int64_t when = ops_when(t);
    talk_ask(t, "HGETEX k%u PXAT %ld FIELDS 1 f%u\r\n", i, when, f);
    struct key *k = open(t, i, KIND_HASH, "*1\r\n$-1\r\n");
    if (k == NULL)
        return;
    char text[24];
    int len = snprintf(text, sizeof text, "%ld", k->fields[f].value);
    if (k->fields[f].there)
        talk_expect(t, "*1\r\n$%d\r\n%s\r\n", len, text);
    else
        talk_expect(t, "*1\r\n$-1\r\n");
    (void)give(t, &k->fields[f], 0, when);
}

static void hsetex(struct talk *t) {
    unsigned i = key(t), f = field(t), v = 1 + ops_below(t, 1000), keep = ops_below(t, 2);
    int64_t when = t->m->now_ms + 1 + ops_below(t, 500);
    if (ops_key(t, i)->kind != KIND_HASH)
        return;
    if (keep != 0)
        talk_ask(t, "HSETEX k%u KEEPTTL FIELDS 1 f%u %u\r\n", i, f, v);
    else
        talk_ask(t, "HSETEX k%u PXAT %ld FIELDS 1 f%u %u\r\n", i, when, f, v);
    talk_expect(t, ":1\r\n");
    struct field *at = &ops_key(t, i)->fields[f];
    *at = (struct field){.there = true, .value = v, .expire_ms = keep != 0 ? at->expire_ms : when};
}

/* --- sets --- */

static void sadd(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "SADD k%u m0 m%u\r\n", i, f);
    struct key *k = create(t, i, KIND_SET);
    if (k == NULL)
        return;
    talk_expect(t, ":%d\r\n", !k->fields[0].there + !k->fields[f].there);
    k->fields[0] = (struct field){.there = true};
    k->fields[f].there = true;
}

static void saddex(struct talk *t) {
    unsigned i = key(t), f = field(t), seconds = 1 + ops_below(t, 2);
    if (ops_key(t, i)->kind != KIND_SET)
        return;
    struct field *at = &ops_key(t, i)->fields[f];
    talk_ask(t, "SADDEX k%u %u m%u\r\n", i, seconds, f);
    talk_expect(t, ":%d\r\n", !at->there);
    *at = (struct field){.there = true, .expire_ms = t->m->now_ms + seconds * 1000};
}

static void srem(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "SREM k%u m%u\r\n", i, f);
    struct key *k = open(t, i, KIND_SET, ":0\r\n");
    if (k == NULL)
        return;
    talk_expect(t, ":%d\r\n", k->fields[f].there);
    k->fields[f] = (struct field){0};
}

static void smismember(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "SMISMEMBER k%u m%u m0\r\n", i, f);
    struct key *k = open(t, i, KIND_SET, "*2\r\n:0\r\n:0\r\n");
    if (k != NULL)
        talk_expect(t, "*2\r\n:%d\r\n:1\r\n", k->fields[f].there);
}

static void sismember(struct talk *t) {
    unsigned i = key(t), f = field(t);
    talk_ask(t, "SISMEMBER k%u m%u\r\n", i, f);
    struct key *k = open(t, i, KIND_SET, ":0\r\n");
    if (k != NULL)
        talk_expect(t, ":%d\r\n", k->fields[f].there);
}

void inner_one(struct talk *t) {
    static void (*const all[])(struct talk * t) = {
        hset,    hset,    hset,    hget,     hget,  hexists,    hdel,       hincrby,
        hexpire, hexpire, hexpire, hpersist, hpttl, hpttl,      hgetex,     hsetex,
        sadd,    sadd,    saddex,  saddex,   srem,  smismember, smismember, sismember,
    };
    all[ops_below(t, COUNT_OF(all))](t);
}
