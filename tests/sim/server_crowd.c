/* server_crowd.c: large lists, hashes, sets and sorted sets of one client.
 *
 * Each holds what is made of the numbers from..to - 1, so that a model of two numbers tells every reply: they grow at one end, lose
 * what is at the other, and an intersection, or a range of ranks, is again such a row. Large enough for every level
 * of their structures, and to be freed in slices.
 */
#include "server_impl.h"
#include <stdio.h>
#include <string.h>

enum { GROW_MAX = 2500, CROWD_MAX = 20000, KEYS_MAX = CROWD_KEYS, SHOWN_MAX = 12 };

static struct sim_world *world;
static struct wire *wire;
static struct crowd *model;

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(world, n);
}

/* --- what each type holds of a number --- */

static struct span text_of(unsigned type, unsigned i) {
    static const char *const before[CROWD_TYPES] = {"item ", "field:", "", "member:"};
    int digits = type == CROWD_LIST || type == CROWD_SCORES ? 6 : 1;
    static char text[32];
    if (type == CROWD_SET)
        i = i / 1000 * 70000 + i % 1000; /* in several parts of a bitmap */
    return (struct span){text,
                         (size_t)snprintf(text, sizeof text, "%s%0*u", before[type], digits, i)};
}

static void put(unsigned type, unsigned i) {
    struct span s = text_of(type, i);
    if (type == CROWD_SCORES)
        server_number((long)i);
    server_arg(s.ptr, s.len);
    if (type == CROWD_HASH)
        server_number((long)i);
}

static void expect_text_of(unsigned type, unsigned i) {
    server_expect_bulk(wire, text_of(type, i));
}

static void expect_number(unsigned i) {
    char text[16];
    server_expect_bulk(wire, (struct span){text, (size_t)snprintf(text, sizeof text, "%u", i)});
}

static unsigned size_of(const struct crowd *c) {
    return c->to - c->from;
}

static const char letters[CROWD_TYPES] = {'L', 'H', 'S', 'Z'};

static struct crowd *crowd_of(unsigned type, unsigned key) {
    return &model[type * KEYS_MAX + key];
}

static void begin(unsigned argc, const char *name, unsigned type, unsigned key) {
    server_begin(argc);
    server_word(name);
    server_key(wire, letters[type], key);
}

/* --- commands --- */

static void key_remove(unsigned type, unsigned key) {
    struct crowd *c = crowd_of(type, key);
    begin(2, below(2) == 0 ? "DEL" : "UNLINK", type, key);
    server_expect_int(wire, size_of(c) != 0);
    *c = (struct crowd){0, 0};
}

static void grow(unsigned type, unsigned key) {
    static const char *const names[CROWD_TYPES] = {"RPUSH", "HSET", "SADD", "ZADD"};
    struct crowd *c = crowd_of(type, key);
    unsigned n = 1 + below(GROW_MAX), words = type == CROWD_HASH || type == CROWD_SCORES ? 2 : 1;
    if (size_of(c) + n > CROWD_MAX) {
        key_remove(type, key);
        return;
    }
    begin(2 + n * words, names[type], type, key);
    for (unsigned i = 0; i < n; i++)
        put(type, c->to++);
    server_expect_int(wire, type == CROWD_LIST ? size_of(c) : n);
}

/* lose: from the lower end. */
static void lose(unsigned type, unsigned key) {
    static const char *const names[CROWD_TYPES] = {"LTRIM", "HDEL", "SREM", "ZREMRANGEBYRANK"};
    struct crowd *c = crowd_of(type, key);
    unsigned n = below(3) == 0 ? size_of(c) : below(GROW_MAX);
    if (n > size_of(c))
        n = size_of(c);
    if (n > 2 * GROW_MAX && (type == CROWD_HASH || type == CROWD_SET))
        n = 2 * GROW_MAX;
    if (n == 0) {
        key_remove(type, key);
        return;
    }
    bool by_rank = type == CROWD_LIST || type == CROWD_SCORES;
    begin(by_rank ? 4 : 2 + n, names[type], type, key);
    if (type == CROWD_LIST) {
        server_number(n);
        server_number(-1);
        server_expect_text(wire, "+OK\r\n");
    } else {
        if (by_rank) {
            server_number(0);
            server_number((long)n - 1);
        }
        for (unsigned i = 0; i < n && !by_rank; i++) {
            struct span s = text_of(type, c->from + i);
            server_arg(s.ptr, s.len);
        }
        server_expect_int(wire, n);
    }
    c->from += n;
}

/* look_one: at a number that may be there. */
static void look_one(unsigned type, unsigned key) {
    static const char *const names[CROWD_TYPES] = {"LINDEX", "HGET", "SISMEMBER", "ZRANK"};
    const struct crowd *c = crowd_of(type, key);
    unsigned i = c->from + below(size_of(c) + 2);
    bool there = i < c->to;
    begin(3, names[type], type, key);
    if (type == CROWD_LIST) {
        server_number((long)i - c->from);
    } else {
        struct span s = text_of(type, i);
        server_arg(s.ptr, s.len);
    }
    if (type == CROWD_SET)
        server_expect_int(wire, there);
    else if (!there)
        server_expect_text(wire, "$-1\r\n");
    else if (type == CROWD_SCORES)
        server_expect_int(wire, (long)i - c->from);
    else if (type == CROWD_LIST)
        expect_text_of(type, i);
    else
        expect_number(i);
}

static void look_size(unsigned type, unsigned key) {
    static const char *const names[CROWD_TYPES] = {"LLEN", "HLEN", "SCARD", "ZCARD"};
    begin(2, names[type], type, key);
    server_expect_int(wire, size_of(crowd_of(type, key)));
}

/* look_some: in the order of a list, or of ranks. */
static void look_some(unsigned type, unsigned key) {
    const struct crowd *c = crowd_of(type, key);
    if (type == CROWD_HASH || type == CROWD_SET) {
        look_one(type, key);
        return;
    }
    unsigned at = below(size_of(c) + 1), n = below(SHOWN_MAX);
    begin(4, type == CROWD_LIST ? "LRANGE" : "ZRANGE", type, key);
    server_number(at);
    server_number((long)at + n);
    unsigned left = size_of(c) - at;
    server_expect_head(wire, left < n + 1 ? left : n + 1);
    for (unsigned i = 0; i < left && i <= n; i++)
        expect_text_of(type, c->from + at + i);
}

static void key_move(unsigned type, unsigned key) {
    unsigned to = (key + 1) % KEYS_MAX;
    bool copy = below(2) == 0;
    struct crowd *c = crowd_of(type, key);
    begin(copy ? 4 : 3, copy ? "COPY" : "RENAME", type, key);
    server_key(wire, letters[type], to);
    if (copy)
        server_word("REPLACE");
    if (copy)
        server_expect_int(wire, size_of(c) != 0);
    else
        server_expect_text(wire, size_of(c) != 0 ? "+OK\r\n" : "-ERR no such key\r\n");
    if (size_of(c) == 0)
        return;
    *crowd_of(type, to) = *c;
    if (!copy)
        *c = (struct crowd){0, 0};
}

/* intersect: with the other one of its type, into one of them. */
static void intersect(unsigned type, unsigned key) {
    struct crowd *a = crowd_of(type, 0), *b = crowd_of(type, 1), both = *a;
    if (type != CROWD_SET) {
        look_size(type, key);
        return;
    }
    both.from = a->from > b->from ? a->from : b->from;
    both.to = a->to < b->to ? a->to : b->to;
    if (both.to <= both.from)
        both = (struct crowd){0, 0};
    begin(4, "SINTERSTORE", type, key);
    server_key(wire, letters[type], 0);
    server_key(wire, letters[type], 1);
    server_expect_int(wire, size_of(&both));
    *crowd_of(type, key) = both;
}

/* store_range: some ranks of the other one. */
static void store_range(unsigned type, unsigned key) {
    struct crowd from = *crowd_of(type, (key + 1) % KEYS_MAX), *c = crowd_of(type, key);
    if (type != CROWD_SCORES) {
        intersect(type, key);
        return;
    }
    unsigned at = below(size_of(&from) + 1), n = 1 + below(GROW_MAX);
    if (n > size_of(&from) - at)
        n = size_of(&from) - at;
    begin(5, "ZRANGESTORE", type, key);
    server_key(wire, letters[type], (key + 1) % KEYS_MAX);
    server_number(at);
    server_number((long)at + n - (n != 0));
    server_expect_int(wire, n);
    *c = n == 0 ? (struct crowd){0, 0} : (struct crowd){from.from + at, from.from + at + n};
}

unsigned server_crowd_count(const struct crowd *m) {
    unsigned n = 0;
    for (unsigned i = 0; i < CROWD_TYPES * CROWD_KEYS; i++)
        n += size_of(&m[i]) != 0;
    return n;
}

void server_crowd_send(struct sim_world *w, struct wire *to, struct crowd *m) {
    static void (*const commands[])(unsigned type, unsigned key) = {
        grow,      grow,      grow,      grow,     lose,       lose,        look_one,   look_one,
        look_size, look_some, look_some, key_move, key_remove, store_range, store_range};
    world = w;
    wire = to;
    model = m;
    commands[below(COUNT_OF(commands))](below(CROWD_TYPES), below(KEYS_MAX));
}
