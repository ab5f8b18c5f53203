/* server_coll.c: lists, hashes, sets and sorted sets of one client, and what the replies about them must be.
 *
 * Only what has one right reply is asked: sets are read by SORT ALPHA, hashes field by field. Values and members are of all
 * lengths, so that every type has each of its encodings and changes between them.
 */
#include "server_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTEGERS = 14, LONG_FROM = 28, HUGE = 40000, RARE = 40, MEMBER_MAX = 20000, TEXT_HEAD = 14 };

static struct sim_world *world;
static struct wire *wire;
static struct coll_model *model;

static const char wrong_type[] =
    "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(world, n);
}

/* --- texts --- */

/* value_text: different ones of different numbers; every third is an integer. */
static struct span value_text(uint32_t v) {
    static char bytes[HUGE];
    static const size_t lens[] = {8, 12, 20, 62, 63, 64, 65, 66, 200, 1000};
    size_t at = (size_t)snprintf(bytes, sizeof bytes, v % 2 == 0 ? "%u" : "-%u", v), len = at;
    if (v % 3 != 0)
        len = v % RARE == 1 ? (v % 7 == 0 ? sizeof bytes : 9000) : lens[v % COUNT_OF(lens)];
    for (; at < len; at++)
        bytes[at] = (char)('a' + (char)((at + v) % 26));
    return (struct span){v == 0 ? NULL : bytes, at > len ? at : len};
}

static uint32_t new_value(void) {
    return 1 + below(100000);
}

/* member_text: the first are integers, the last ones too long for a listpack. */
static struct span member_text(unsigned m) {
    static char bytes[MEMBER_MAX];
    static const size_t lens[COLL_MEMBERS - LONG_FROM] = {65, 66, 3000, MEMBER_MAX};
    if (m < INTEGERS)
        return (struct span){bytes, (size_t)snprintf(bytes, sizeof bytes, "%u", m * m * m * 1000)};
    size_t at = (size_t)snprintf(bytes, sizeof bytes, "member:%u", m);
    if (m < LONG_FROM)
        return (struct span){bytes, at};
    size_t len = lens[m - LONG_FROM];
    memset(bytes + at, 'm', len - at);
    return (struct span){bytes, len};
}

/* new_member: of some keys all are integers for long. */
static unsigned new_member(unsigned key) {
    return below(key == 0 && below(20) != 0 ? INTEGERS : below(8) == 0 ? COLL_MEMBERS : LONG_FROM);
}

static void put_value(uint32_t v) {
    struct span s = value_text(v);
    server_arg(s.ptr, s.len);
}

static void put_member(unsigned m) {
    struct span s = member_text(m);
    server_arg(s.ptr, s.len);
}

static void begin(unsigned argc, const char *name, char kind, unsigned key) {
    server_begin(argc);
    server_word(name);
    server_key(wire, kind, key);
}

static void expect_int(long v) {
    server_expect_int(wire, v);
}

static void expect_value(uint32_t v) {
    server_expect_bulk(wire, value_text(v));
}

static void expect_member(unsigned m) {
    server_expect_bulk(wire, member_text(m));
}

static bool has(uint32_t members, unsigned m) {
    return (members >> m & 1) != 0;
}

static unsigned size_of(uint32_t members) {
    return (unsigned)__builtin_popcount(members);
}

/* --- lists --- */

static void list_insert(struct list_model *l, unsigned at, uint32_t v) {
    memmove(l->values + at + 1, l->values + at, (l->count - at) * sizeof *l->values);
    l->values[at] = v;
    l->count++;
}

static uint32_t list_remove(struct list_model *l, unsigned at) {
    uint32_t v = l->values[at];
    l->count--;
    memmove(l->values + at, l->values + at + 1, (l->count - at) * sizeof *l->values);
    return v;
}

static void list_push(unsigned key) {
    struct list_model *l = &model->lists[key];
    bool left = below(2) == 0;
    unsigned n = below(10) == 0 ? 40 : 1 + below(4);
    if (l->count + n > COLL_LIST_MAX)
        n = 0;
    begin(2 + (n == 0 ? 1 : n), n == 0 ? "LPOP" : left ? "LPUSH" : "RPUSH", 'l', key);
    if (n == 0) {
        server_number(l->count);
        server_expect_head(wire, l->count);
        while (l->count != 0)
            expect_value(list_remove(l, 0));
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        uint32_t v = n < 5 ? new_value() : 3 * (1 + below(1000));
        put_value(v);
        list_insert(l, left ? 0 : l->count, v);
    }
    expect_int(l->count);
}

static void list_pop(unsigned key) {
    struct list_model *l = &model->lists[key];
    bool left = below(2) == 0;
    unsigned n = below(4), take = n < l->count ? n : l->count;
    begin(3, left ? "LPOP" : "RPOP", 'l', key);
    server_number(n);
    server_expect_head(wire, l->count == 0 ? -1 : (long)take);
    for (unsigned i = 0; i < take; i++)
        expect_value(list_remove(l, left ? 0 : l->count - 1));
}

static void list_range(unsigned key) {
    const struct list_model *l = &model->lists[key];
    unsigned from = l->count == 0 ? 0 : below(l->count), to = from + below(10);
    begin(4, "LRANGE", 'l', key);
    server_number(from);
    server_number(to);
    if (to >= l->count)
        to = l->count - 1;
    server_expect_head(wire, l->count == 0 ? 0 : (long)to - from + 1);
    for (unsigned i = from; l->count != 0 && i <= to; i++)
        expect_value(l->values[i]);
}

static void list_one(unsigned key) {
    struct list_model *l = &model->lists[key];
    long at = (long)below(l->count + 2) - (below(2) == 0 ? l->count : 0);
    long place = at < 0 ? at + l->count : at;
    bool there = place >= 0 && place < l->count, set = below(3) == 0;
    begin(set ? 4 : 3, set ? "LSET" : "LINDEX", 'l', key);
    server_number(at);
    if (!set) {
        expect_value(there ? l->values[place] : 0);
        return;
    }
    uint32_t v = new_value();
    put_value(v);
    if (there)
        l->values[place] = v;
    server_expect_text(wire, there           ? "+OK\r\n"
                             : l->count == 0 ? "-ERR no such key\r\n"
                                             : "-ERR index out of range\r\n");
}

static void list_insert_at(unsigned key) {
    struct list_model *l = &model->lists[key];
    if (l->count == 0 || l->count == COLL_LIST_MAX) {
        list_range(key);
        return;
    }
    unsigned at = 0;
    uint32_t pivot = l->values[below(l->count)], v = new_value();
    bool after = below(2) == 0;
    while (l->values[at] != pivot)
        at++;
    begin(5, "LINSERT", 'l', key);
    server_word(after ? "AFTER" : "BEFORE");
    put_value(pivot);
    put_value(v);
    list_insert(l, at + after, v);
    expect_int(l->count);
}

static void list_remove_some(unsigned key) {
    struct list_model *l = &model->lists[key];
    uint32_t v = l->count == 0 ? 3 : l->values[below(l->count)];
    long n = 0, most = below(3);
    begin(4, "LREM", 'l', key);
    server_number(most);
    put_value(v);
    for (unsigned i = 0; i < l->count;)
        if (l->values[i] == v && (most == 0 || n < most)) {
            (void)list_remove(l, i);
            n++;
        } else {
            i++;
        }
    expect_int(n);
}

static void list_trim(unsigned key) {
    struct list_model *l = &model->lists[key];
    unsigned from = below(3), keep = l->count > from ? l->count - from : 0;
    if (keep > 60 && below(2) == 0)
        keep = 1 + below(30); /* to -1 would be all */
    begin(4, "LTRIM", 'l', key);
    server_number(from);
    server_number((long)(from + keep) - 1);
    server_expect_text(wire, "+OK\r\n");
    memmove(l->values, l->values + from, keep * sizeof *l->values);
    l->count = keep;
}

static void list_move(unsigned key) {
    unsigned to = below(COLL_KEYS);
    struct list_model *a = &model->lists[key], *b = &model->lists[to];
    bool from_left = below(2) == 0, to_left = below(2) == 0;
    if (b->count == COLL_LIST_MAX) {
        list_trim(to);
        return;
    }
    begin(5, "LMOVE", 'l', key);
    server_key(wire, 'l', to);
    server_word(from_left ? "LEFT" : "RIGHT");
    server_word(to_left ? "LEFT" : "RIGHT");
    uint32_t v = a->count == 0 ? 0 : list_remove(a, from_left ? 0 : a->count - 1);
    expect_value(v);
    if (v != 0)
        list_insert(b, to_left ? 0 : b->count, v);
}

static void list_mpop(unsigned key) {
    unsigned keys[2] = {key, below(COLL_KEYS)}, n = 1 + below(3);
    server_begin(7);
    server_word("LMPOP");
    server_number(2);
    server_key(wire, 'l', keys[0]);
    server_key(wire, 'l', keys[1]);
    server_word("RIGHT");
    server_word("COUNT");
    server_number(n);
    struct list_model *l = &model->lists[keys[model->lists[key].count == 0]];
    if (l->count == 0) {
        server_expect_head(wire, -1);
        return;
    }
    char name[64];
    size_t len = server_key_text(wire, 'l', (unsigned)(l - model->lists), name, sizeof name);
    server_expect_head(wire, 2);
    server_expect_bulk(wire, (struct span){name, len});
    server_expect_head(wire, n < l->count ? n : l->count);
    for (; n > 0 && l->count != 0; n--)
        expect_value(list_remove(l, l->count - 1));
}

/* --- hashes --- */

static void hash_set(unsigned key) {
    struct hash_model *h = &model->hashes[key];
    unsigned n = 1 + below(3), added = 0;
    begin(2 + 2 * n, "HSET", 'h', key);
    for (unsigned i = 0; i < n; i++) {
        unsigned f = new_member(key);
        put_member(f);
        added += h->values[f] == 0;
        h->values[f] = new_value();
        put_value(h->values[f]);
    }
    expect_int(added);
}

static void hash_get(unsigned key) {
    const struct hash_model *h = &model->hashes[key];
    unsigned n = 1 + below(4);
    begin(2 + n, "HMGET", 'h', key);
    server_expect_head(wire, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned f = new_member(key);
        put_member(f);
        expect_value(h->values[f]);
    }
}

static void hash_look(unsigned key) {
    static const char *const names[] = {"HGET", "HEXISTS", "HSTRLEN", "HSETNX"};
    struct hash_model *h = &model->hashes[key];
    unsigned f = new_member(key), kind = below(COUNT_OF(names));
    begin(kind == 3 ? 4 : 3, names[kind], 'h', key);
    put_member(f);
    if (kind == 0)
        expect_value(h->values[f]);
    else if (kind == 2)
        expect_int((long)(h->values[f] == 0 ? 0 : value_text(h->values[f]).len));
    else
        expect_int((h->values[f] != 0) == (kind == 1));
    if (kind != 3)
        return;
    uint32_t v = new_value();
    put_value(v);
    if (h->values[f] == 0)
        h->values[f] = v;
}

static unsigned hash_count(const struct hash_model *h) {
    unsigned n = 0;
    for (unsigned f = 0; f < COLL_MEMBERS; f++)
        n += h->values[f] != 0;
    return n;
}

static void hash_remove(unsigned key) {
    struct hash_model *h = &model->hashes[key];
    unsigned n = 1 + below(3), gone = 0;
    begin(2 + n, "HDEL", 'h', key);
    for (unsigned i = 0; i < n; i++) {
        unsigned f = new_member(key);
        put_member(f);
        gone += h->values[f] != 0;
        h->values[f] = 0;
    }
    expect_int(gone);
}

static void hash_len(unsigned key) {
    begin(2, "HLEN", 'h', key);
    expect_int(hash_count(&model->hashes[key]));
}

/* hash_time: far away, or taken back. -2: no such field, -1: it has no time. */
static void hash_time(unsigned key) {
    struct hash_model *h = &model->hashes[key];
    unsigned f = new_member(key);
    bool far = below(2) == 0, there = h->values[f] != 0;
    begin(far ? 6 : 5, far ? "HEXPIRE" : "HGETDEL", 'h', key);
    if (far)
        server_number(10000);
    server_word("FIELDS");
    server_number(1);
    put_member(f);
    server_expect_head(wire, 1);
    if (far) {
        expect_int(there ? 1 : -2);
        return;
    }
    expect_value(h->values[f]);
    h->values[f] = 0;
}

/* --- sets --- */

static void set_change(unsigned key) {
    bool add = below(3) != 0;
    unsigned n = 1 + below(5);
    uint32_t before = model->sets[key], *s = &model->sets[key];
    begin(2 + n, add ? "SADD" : "SREM", 's', key);
    for (unsigned i = 0; i < n; i++) {
        unsigned m = new_member(key);
        put_member(m);
        *s = add ? *s | 1U << m : *s & ~(1U << m);
    }
    expect_int(size_of(before ^ *s));
}

static void set_look(unsigned key) {
    unsigned n = 1 + below(3);
    if (below(3) == 0) {
        begin(2, "SCARD", 's', key);
        expect_int(size_of(model->sets[key]));
        return;
    }
    begin(2 + n, "SMISMEMBER", 's', key);
    server_expect_head(wire, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned m = new_member(key);
        put_member(m);
        expect_int(has(model->sets[key], m));
    }
}

static void set_move(unsigned key) {
    unsigned to = below(COLL_KEYS), m = new_member(key);
    bool there = has(model->sets[key], m);
    begin(4, "SMOVE", 's', key);
    server_key(wire, 's', to);
    put_member(m);
    expect_int(there);
    if (!there)
        return;
    model->sets[key] &= ~(1U << m);
    model->sets[to] |= 1U << m;
}

static uint32_t combined(unsigned kind, uint32_t a, uint32_t b) {
    return kind == 0 ? a & b : kind == 1 ? a | b : a & ~b;
}

static void set_algebra(unsigned key) {
    static const char *const names[] = {"SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE", "SINTERCARD"};
    unsigned a = below(COLL_KEYS), b = below(COLL_KEYS), kind = below(COUNT_OF(names));
    uint32_t out = combined(kind % 3, model->sets[a], model->sets[b]);
    server_begin(4);
    server_word(names[kind]);
    if (kind == 3)
        server_number(2);
    else
        server_key(wire, 's', key);
    server_key(wire, 's', a);
    server_key(wire, 's', b);
    expect_int(size_of(out));
    if (kind != 3)
        model->sets[key] = out;
}

/* sorted: the members in the order of their bytes, or of their scores first. TEXT_HEAD bytes tell them apart. */
static unsigned sorted(uint32_t members, const int *quarters, unsigned order[COLL_MEMBERS]) {
    unsigned n = 0;
    for (unsigned m = 0; m < COLL_MEMBERS; m++) {
        if (!has(members, m))
            continue;
        char text[TEXT_HEAD];
        struct span s = member_text(m);
        size_t len = s.len < sizeof text ? s.len : sizeof text;
        memcpy(text, s.ptr, len);
        unsigned at = n++;
        for (; at > 0; at--) {
            unsigned o = order[at - 1];
            struct span t = member_text(o);
            int c = memcmp(t.ptr, text, len < t.len ? len : t.len);
            bool less = c != 0 ? c < 0 : t.len < len;
            if (quarters != NULL && quarters[o] != quarters[m])
                less = quarters[o] < quarters[m];
            if (less)
                break;
            order[at] = o;
        }
        order[at] = m;
    }
    return n;
}

static void set_all(unsigned key) {
    unsigned order[COLL_MEMBERS], n = sorted(model->sets[key], NULL, order);
    begin(3, "SORT", 's', key);
    server_word("ALPHA");
    server_expect_head(wire, n);
    for (unsigned i = 0; i < n; i++)
        expect_member(order[i]);
}

/* --- sorted sets --- */

static void put_score(int quarters) {
    char text[32];
    server_arg(text, (size_t)snprintf(text, sizeof text, "%.17g", quarters / 4.0));
}

static void expect_score(int quarters) {
    char text[32];
    size_t len = (size_t)snprintf(text, sizeof text, "%.17g", quarters / 4.0);
    server_expect_bulk(wire, (struct span){text, len});
}

static void scores_add(unsigned key) {
    struct scores_model *z = &model->scores[key];
    unsigned n = 1 + below(4);
    uint32_t before = z->members;
    begin(2 + 2 * n, "ZADD", 'z', key);
    for (unsigned i = 0; i < n; i++) {
        unsigned m = new_member(key);
        z->quarters[m] = (int)below(200) - 100;
        z->members |= 1U << m;
        put_score(z->quarters[m]);
        put_member(m);
    }
    expect_int(size_of(z->members ^ before));
}

static void scores_change(unsigned key) {
    struct scores_model *z = &model->scores[key];
    unsigned m = new_member(key);
    bool add = below(2) == 0;
    begin(add ? 4 : 3, add ? "ZINCRBY" : "ZREM", 'z', key);
    if (!add) {
        put_member(m);
        expect_int(has(z->members, m));
        z->members &= ~(1U << m);
        return;
    }
    int delta = (int)below(40) - 20;
    put_score(delta);
    put_member(m);
    z->quarters[m] = (has(z->members, m) ? z->quarters[m] : 0) + delta;
    z->members |= 1U << m;
    expect_score(z->quarters[m]);
}

static void scores_look(unsigned key) {
    const struct scores_model *z = &model->scores[key];
    unsigned m = new_member(key), kind = below(3), order[COLL_MEMBERS];
    if (kind == 2) {
        begin(2, "ZCARD", 'z', key);
        expect_int(size_of(z->members));
        return;
    }
    begin(3, kind == 0 ? "ZSCORE" : "ZRANK", 'z', key);
    put_member(m);
    if (!has(z->members, m)) {
        server_expect_text(wire, "$-1\r\n");
    } else if (kind == 0) {
        expect_score(z->quarters[m]);
    } else {
        (void)sorted(z->members, z->quarters, order);
        long rank = 0;
        while (order[rank] != m)
            rank++;
        expect_int(rank);
    }
}

static void scores_range(unsigned key) {
    const struct scores_model *z = &model->scores[key];
    unsigned order[COLL_MEMBERS], n = sorted(z->members, z->quarters, order);
    unsigned from = below(4), to = from + below(COLL_MEMBERS);
    begin(5, "ZRANGE", 'z', key);
    server_number(from);
    server_number(to);
    server_word("WITHSCORES");
    if (to >= n)
        to = n - 1;
    server_expect_head(wire, from >= n ? 0 : 2 * ((long)to - from + 1));
    for (unsigned i = from; from < n && i <= to; i++) {
        expect_member(order[i]);
        expect_score(z->quarters[order[i]]);
    }
}

static void scores_pop(unsigned key) {
    struct scores_model *z = &model->scores[key];
    unsigned order[COLL_MEMBERS], n = sorted(z->members, z->quarters, order), count = below(4);
    bool max = below(2) == 0;
    begin(3, max ? "ZPOPMAX" : "ZPOPMIN", 'z', key);
    server_number(count);
    count = count < n ? count : n;
    server_expect_head(wire, 2 * (long)count);
    for (unsigned i = 0; i < count; i++) {
        unsigned m = order[max ? n - 1 - i : i];
        expect_member(m);
        expect_score(z->quarters[m]);
        z->members &= ~(1U << m);
    }
}

static void scores_algebra(unsigned key) {
    static const char *const names[] = {"ZINTERSTORE", "ZUNIONSTORE", "ZDIFFSTORE"};
    unsigned a = below(COLL_KEYS), b = below(COLL_KEYS), kind = below(COUNT_OF(names));
    const struct scores_model x = model->scores[a], y = model->scores[b];
    struct scores_model *z = &model->scores[key];
    begin(kind == 2 ? 5 : 7, names[kind], 'z', key);
    server_number(2);
    server_key(wire, 'z', a);
    server_key(wire, 'z', b);
    if (kind != 2) {
        server_word("AGGREGATE");
        server_word("MAX");
    }
    z->members = combined(kind, x.members, y.members);
    for (unsigned m = 0; m < COLL_MEMBERS; m++) {
        int higher = x.quarters[m] > y.quarters[m] ? x.quarters[m] : y.quarters[m];
        bool both = has(x.members & y.members, m);
        z->quarters[m] = both && kind != 2   ? higher
                         : has(x.members, m) ? x.quarters[m]
                                             : y.quarters[m];
    }
    expect_int(size_of(z->members));
}

static void scores_store_range(unsigned key) {
    unsigned from = below(COLL_KEYS), first = below(3), order[COLL_MEMBERS];
    const struct scores_model x = model->scores[from];
    struct scores_model *z = &model->scores[key];
    begin(5, "ZRANGESTORE", 'z', key);
    server_key(wire, 'z', from);
    server_number(first);
    server_number(first + 5);
    unsigned n = sorted(x.members, x.quarters, order);
    *z = x;
    z->members = 0;
    for (unsigned i = first; i < n && i <= first + 5; i++)
        z->members |= 1U << order[i];
    expect_int(size_of(z->members));
}

/* --- whole keys --- */

struct type {
    char letter;
    size_t offset, size;
};
#define TYPE(letter, field)                                                                        \
    { letter, offsetof(struct coll_model, field), sizeof((struct coll_model *)NULL)->field[0] }
static const struct type types[] = {TYPE('l', lists), TYPE('h', hashes), TYPE('s', sets),
                                    TYPE('z', scores)};

static void *model_of(const struct type *t, unsigned key) {
    return (char *)model + t->offset + key * t->size;
}

static bool is_there(const struct coll_model *m, char letter, unsigned key) {
    switch (letter) {
    case 'l':
        return m->lists[key].count != 0;
    case 'h':
        return hash_count(&m->hashes[key]) != 0;
    case 's':
        return m->sets[key] != 0;
    default:
        return m->scores[key].members != 0;
    }
}

unsigned server_coll_count(const struct coll_model *m) {
    unsigned n = server_crowd_count(m->crowds);
    for (unsigned i = 0; i < COUNT_OF(types); i++)
        for (unsigned k = 0; k < COLL_KEYS; k++)
            n += is_there(m, types[i].letter, k);
    return n;
}

static void key_remove(const struct type *t, unsigned key) {
    begin(2, below(2) == 0 ? "DEL" : "UNLINK", t->letter, key);
    expect_int(is_there(model, t->letter, key));
    memset(model_of(t, key), 0, t->size);
}

static void key_move(const struct type *t, unsigned key) {
    unsigned to = (key + 1 + below(COLL_KEYS - 1)) % COLL_KEYS;
    bool copy = below(2) == 0, there = is_there(model, t->letter, key);
    begin(copy ? 4 : 3, copy ? "COPY" : "RENAME", t->letter, key);
    server_key(wire, t->letter, to);
    if (copy) {
        server_word("REPLACE");
        expect_int(there);
    } else {
        server_expect_text(wire, there ? "+OK\r\n" : "-ERR no such key\r\n");
    }
    if (!there)
        return;
    memcpy(model_of(t, to), model_of(t, key), t->size);
    if (!copy)
        memset(model_of(t, key), 0, t->size);
}

/* key_wrong: a command of a list on something else; of one that is not there, it is about nothing. */
static void key_wrong(const struct type *t, unsigned key) {
    bool list = t->letter == 'l', there = is_there(model, t->letter, key);
    begin(2, list ? "SCARD" : "LLEN", t->letter, key);
    server_expect_text(wire, there ? wrong_type : ":0\r\n");
}

static void key_any(unsigned key) {
    const struct type *t = &types[below(COUNT_OF(types))];
    unsigned what = below(5);
    if (what == 0)
        key_wrong(t, key);
    else if (what < 4)
        key_move(t, key);
    else
        key_remove(t, key);
}

void server_coll_send(struct sim_world *w, struct wire *to, struct coll_model *m) {
    static void (*const commands[])(unsigned key) = {
        list_push,          list_push,       list_pop,       list_range,  list_one,
        list_insert_at,     list_trim,       list_move,      list_move,   list_mpop,
        hash_set,           hash_set,        hash_get,       hash_get,    hash_look,
        hash_remove,        hash_len,        hash_time,      set_change,  set_change,
        set_look,           set_move,        set_algebra,    set_algebra, set_all,
        scores_add,         scores_add,      scores_change,  scores_look, scores_range,
        scores_pop,         scores_range,    scores_algebra, key_any,     key_any,
        scores_store_range, list_remove_some};
    if (sim_world_below(w, 12) == 0) {
        server_crowd_send(w, to, m->crowds);
        return;
    }
    world = w;
    wire = to;
    model = m;
    commands[below(COUNT_OF(commands))](below(COLL_KEYS));
}

/* --- fields and members that expire --- */

enum { SOON = 9, MANY = 8 }; /* keys that nothing else uses */

void server_coll_soon_gone(struct wire *to) {
    wire = to;
    begin(6, "HSET", 'h', SOON);
    for (unsigned f = 0; f < 2; f++) {
        put_member(f);
        put_value(f + 1);
    }
    expect_int(2);
    begin(6, "HPEXPIRE", 'h', SOON);
    server_number(50);
    server_word("FIELDS");
    server_number(1);
    put_member(0);
    server_expect_head(wire, 1);
    expect_int(1);
    begin(4, "SADDEX", 's', SOON);
    server_number(1);
    put_member(0);
    expect_int(1);
    begin(3, "SADD", 's', SOON);
    put_member(1);
    expect_int(1);
}

void server_coll_gone(struct wire *to, bool later) {
    wire = to;
    begin(4, "HMGET", 'h', SOON);
    put_member(0);
    put_member(1);
    server_expect_head(wire, 2);
    expect_value(0);
    expect_value(2);
    if (!later)
        return;
    begin(4, "SMISMEMBER", 's', SOON);
    put_member(0);
    put_member(1);
    server_expect_head(wire, 2);
    expect_int(0);
    expect_int(1);
    begin(3, "DEL", 'h', SOON);
    server_key(wire, 's', SOON);
    expect_int(2);
}

void server_coll_many(struct wire *to, unsigned n) {
    wire = to;
    begin(6 + 2 * n, "HSETEX", 'h', MANY);
    server_word("PX");
    server_number(300);
    server_word("FIELDS");
    server_number(n);
    for (unsigned i = 0; i < n; i++) {
        server_number(i);
        server_number(-(long)i);
    }
    expect_int(1);
    begin(3 + n, "SADDEX", 's', MANY);
    server_number(1);
    for (unsigned i = 0; i < n; i++)
        server_number(i);
    expect_int(n);
}
