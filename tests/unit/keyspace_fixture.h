/* keyspace_fixture.h: a keyspace for tests, objects that count themselves, and a walk over a whole
 * table that checks everything keyspace.h and the private headers promise about its bytes. */
#ifndef KEYSPACE_FIXTURE_H
#define KEYSPACE_FIXTURE_H

#include "../../shards/keyspace/fifo_impl.h"
#include "../../shards/keyspace/resize_impl.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* A test is the only thread there is. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

enum { THING = 3, CROWD = 5, THING_BYTES = 40, KEY_BYTES_MAX = 600 };

/* A time in 2033; stamps count from 2020. */
#define NOW_MS 2000000000000LL

struct fixture {
    struct mem mem;
    struct keyspace *k;
    struct rng rng;
};

static int64_t things_alive;

static inline void *thing_create(struct mem *m, uint64_t id) {
    uint64_t *thing = mem_alloc(m, THING_BYTES);
    if (thing != NULL) {
        *thing = id;
        things_alive++;
    }
    return thing;
}

static inline void thing_destroy(struct mem *m, void *object) {
    things_alive--;
    mem_free(m, object, THING_BYTES);
}

static inline size_t thing_bytes(const void *object) {
    (void)object;
    return mem_size(THING_BYTES);
}

/* A crowd: an object with members, some of which have a time. Each is an allocation of its own; they are ordered by
 * time, those without one last. */
struct member {
    struct member *next;
    int64_t due_ms;
};

struct crowd {
    struct object head;
    uint64_t id;
    struct member *first;
};

static inline void crowd_update(struct crowd *c, int64_t members) {
    c->head.count += (uint64_t)members;
    c->head.bytes += (size_t)(members * (int64_t)mem_size(sizeof(struct member)));
    c->head.weight = (uint32_t)c->head.count + 1;
    c->head.due_ms = c->first == NULL ? OBJECT_NEVER : c->first->due_ms;
}

static inline bool crowd_add(struct mem *m, struct crowd *c, int64_t due_ms) {
    struct member *new = mem_alloc(m, sizeof *new), **at = &c->first;
    if (new == NULL)
        return false;
    while (*at != NULL && (*at)->due_ms < due_ms)
        at = &(*at)->next;
    *new = (struct member){*at, due_ms};
    *at = new;
    crowd_update(c, 1);
    return true;
}

static inline void crowd_drop_first(struct mem *m, struct crowd *c) {
    struct member *gone = c->first;
    c->first = gone->next;
    mem_free(m, gone, sizeof *gone);
    crowd_update(c, -1);
}

static inline bool crowd_destroy_some(struct mem *m, struct object *o, unsigned *budget) {
    struct crowd *c = (struct crowd *)o;
    for (; c->first != NULL && *budget != 0; --*budget)
        crowd_drop_first(m, c);
    if (*budget == 0)
        return false;
    cr_assert(o->bytes == mem_size(sizeof *c), "object.h, invariant (1)");
    --*budget;
    things_alive--;
    mem_free(m, c, sizeof *c);
    return true;
}

static inline void crowd_destroy(struct mem *m, void *object) {
    unsigned budget = UINT32_MAX;
    cr_assert(crowd_destroy_some(m, object, &budget));
}

static inline size_t crowd_bytes(const void *object) {
    return ((const struct object *)object)->bytes;
}

static inline unsigned crowd_expire_some(struct mem *m, struct object *o, int64_t now_ms,
                                         unsigned *budget) {
    struct crowd *c = (struct crowd *)o;
    unsigned expired = 0;
    cr_assert(*budget != 0);
    for (; c->first != NULL && now_ms > c->first->due_ms && *budget != 0; --*budget, expired++)
        crowd_drop_first(m, c);
    return expired;
}

/* crowd_create: of n members without a time; without memory NULL. */
static inline struct crowd *crowd_create(struct mem *m, uint64_t id, uint64_t n) {
    struct crowd *c = mem_alloc(m, sizeof *c);
    if (c == NULL)
        return NULL;
    *c = (struct crowd){.head = {.type = CROWD, .bytes = mem_size(sizeof *c)}, .id = id};
    crowd_update(c, 0);
    things_alive++;
    for (uint64_t i = 0; i < n; i++) {
        if (!crowd_add(m, c, OBJECT_NEVER)) {
            crowd_destroy(m, c);
            return NULL;
        }
    }
    return c;
}

static inline struct value value_of_crowd(struct crowd *c) {
    return (struct value){.type = CROWD, .repr = REPR_OBJECT, .object = c};
}

static inline struct value value_of_int(int64_t v) {
    return (struct value){.repr = REPR_INT, .integer = v};
}

static inline struct value value_of_bytes(struct span bytes) {
    return (struct value){.repr = REPR_INLINE, .bytes = bytes};
}

static inline struct value value_of_thing(void *thing) {
    return (struct value){.type = THING, .repr = REPR_OBJECT, .object = thing};
}

static inline void fixture_init(struct fixture *f, uint64_t seed) {
    static const struct value_ops ops = {thing_destroy, thing_bytes, NULL, NULL};
    static const struct value_ops crowd_ops = {crowd_destroy, crowd_bytes, crowd_destroy_some,
                                               crowd_expire_some};
    *f = (struct fixture){0};
    things_alive = 0;
    keyspace_register_type(THING, &ops);
    keyspace_register_type(CROWD, &crowd_ops);
    rng_seed(&f->rng, seed);
    cr_assert(hash_seed(&seed) == OK);
    cr_assert(keyspace_create(&f->k, &f->mem, 16) == OK);
}

static inline void fixture_deinit(struct fixture *f) {
    keyspace_destroy(f->k);
    cr_assert(f->mem.used_bytes == 0, "%lld bytes leaked", (long long)f->mem.used_bytes);
    cr_assert(things_alive == 0);
}

/* key_name: "k<n>", padded with a pattern to len bytes if it is longer. */
static inline struct span key_name(char *out, uint64_t n, size_t len) {
    int used = snprintf(out, KEY_BYTES_MAX, "k%llu:", (unsigned long long)n);
    for (size_t i = (size_t)used; i < len; i++)
        out[i] = (char)('a' + (i + n) % 26);
    return (struct span){out, len > (size_t)used ? len : (size_t)used};
}

/* A key whose hash is `want` in the bits of `mask`; *n is the number to try first, and left behind
 * the one that was found. */
static inline struct span key_search(char *out, uint64_t *n, uint64_t mask, uint64_t want) {
    for (;; (*n)++) {
        struct span key = key_name(out, *n, 0);
        if ((hash_of(key) & mask) == want) {
            (*n)++;
            return key;
        }
    }
}

struct tally {
    uint64_t entries, expires, overflows;
    int64_t bytes;       /* what all of it counts for in mem */
    int64_t entry_bytes; /* of which the entries are */
    __int128 expire_ms_sum;
    uint64_t lengths[TABLE_LENGTHS]; /* of strings, as table_lengths counts them */
};

/* tally_length: by writing the string down and halving its length, as slowly as can be. */
static inline void tally_length(const struct entry *e, struct tally *tally) {
    char digits[32];
    size_t len, bin = 0;
    if (entry_type(e) != VALUE_STRING)
        return;
    if (entry_repr(e) == REPR_INT)
        len = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)entry_int(e));
    else if (entry_repr(e) == REPR_OBJECT)
        len = ((const struct blob *)entry_object(e))->len;
    else
        len = entry_bytes(e).len;
    for (; len != 0; len /= 2)
        bin++;
    tally->lengths[bin]++;
}

static inline void check_entry(const struct table *t, uint32_t i, const struct bucket *b,
                               unsigned place, struct tally *tally) {
    const struct entry *e = bucket_address(b, place);
    uint64_t hash = hash_of(entry_key(e));
    cr_assert(table_index(t, hash) == i, "entry in the wrong bucket");
    cr_assert(bucket_print_at(b, place) == bucket_print(hash));
    cr_assert(table_find(t, entry_key(e), hash) == e, "key is there twice or cannot be found");
    tally->entries++;
    tally->bytes += (int64_t)entry_bytes_total(e);
    tally->entry_bytes += (int64_t)entry_bytes_total(e);
    tally->expire_ms_sum += entry_expire_ms(e);
    tally_length(e, tally);
    tally->expires += entry_expire_ms(e) != EXPIRE_NEVER;
    int64_t due_ms = entry_expire_ms(e) == EXPIRE_NEVER ? OBJECT_NEVER : entry_expire_ms(e);
    if (entry_type(e) == CROWD) {
        const struct object *o = entry_object(e);
        due_ms = o->due_ms < due_ms ? o->due_ms : due_ms;
        cr_assert(o->due_ms == OBJECT_NEVER || t->inner);
    }
    if (due_ms == OBJECT_NEVER)
        return;
    const uint32_t *due = t->due[i / TABLE_SEGMENT].groups;
    cr_assert(due != NULL);
    cr_assert(due[i % TABLE_SEGMENT / TABLE_GROUP] <= tick_of(due_ms));
}

static inline void check_chain(const struct table *t, uint32_t i, struct tally *tally) {
    for (const struct bucket *b = table_bucket(t, i), *head = b; b != NULL; b = bucket_next(b)) {
        unsigned used = bucket_used(b);
        if (bucket_next(b) != NULL)
            cr_assert(used == BUCKET_ALL >> 1, "a bucket that links has 8 entries");
        else if (b != head)
            cr_assert((used & (used - 1)) != 0, "a last overflow bucket has two entries or more");
        if (b != head) {
            tally->overflows++;
            tally->bytes += (int64_t)mem_size(sizeof *b);
        }
        cr_assert((b->bytes[BUCKET_CTL] & ~BUCKET_LINKED) == 0);
        for (; used != 0; used &= used - 1)
            check_entry(t, i, b, (unsigned)__builtin_ctz(used), tally);
    }
}

/* check_table: keyspace.h's invariants (2), (4) and (6), chain.h's arithmetic, and the account to
 * the byte. */
static inline struct tally check_table(const struct table *t) {
    struct tally tally = {.bytes = (int64_t)(mem_size(sizeof *t) + fifo_bytes(t))};
    for (uint32_t i = 0; i < t->bucket_count; i++)
        check_chain(t, i, &tally);
    cr_assert(tally.entries == t->count, "%llu entries, count says %llu",
              (unsigned long long)tally.entries, (unsigned long long)t->count);
    cr_assert(tally.expires == t->expires);
    cr_assert(tally.expire_ms_sum == t->expire_ms_sum);
    cr_assert(memcmp(tally.lengths, table_lengths(t), sizeof tally.lengths) == 0,
              "strings are not as long as counted");
    cr_assert((t->count == 0 && t->prepared == 0) == (t->bucket_count == 0));
    if (t->bucket_count != 0) {
        cr_assert((t->base & (t->base - 1)) == 0);
        cr_assert(t->base <= t->bucket_count && t->bucket_count <= t->base * 2);
    }
    for (uint32_t s = 0; s < t->segment_cap; s++) {
        size_t buckets = s + 1 == table_segments(t) ? t->last_cap : TABLE_SEGMENT;
        cr_assert((t->segments[s] != NULL) == (s < table_segments(t)));
        if (t->segments[s] != NULL)
            tally.bytes += (int64_t)mem_size(buckets * sizeof(struct bucket));
        uint32_t least = TICK_NEVER;
        for (uint32_t g = 0; t->due[s].groups != NULL && g < TABLE_GROUPS; g++)
            least = t->due[s].groups[g] < least ? t->due[s].groups[g] : least;
        cr_assert(t->due[s].least == least);
        cr_assert(t->due_first <= least, "the sweep would not come by");
        if (t->due[s].groups == NULL)
            continue;
        tally.bytes += (int64_t)mem_size(TABLE_GROUPS * sizeof(uint32_t));
    }
    if (t->segment_cap != 0)
        tally.bytes += (int64_t)(mem_size(t->segment_cap * sizeof(void *)) +
                                 mem_size(t->segment_cap * sizeof(struct stamps)));
    /* Each write that is prepared lies in a bucket. */
    int64_t prepared = (int64_t)(t->prepared * sizeof(struct bucket));
    cr_assert((int64_t)table_bytes(t) == tally.bytes - tally.entry_bytes + prepared);
    return tally;
}

/* check_keyspace: every table that is in use, and that nothing but they holds memory. Not while
 * flushed tables wait to be freed. */
static inline void check_keyspace(const struct fixture *f, int64_t bytes_without_tables) {
    int64_t bytes = bytes_without_tables;
    for (unsigned db = 0; db < keyspace_databases(f->k); db++) {
        const struct table *t = keyspace_peek_table(f->k, db);
        if (t != NULL)
            bytes += check_table(t).bytes;
    }
    cr_assert(bytes == f->mem.used_bytes, "tables hold %lld bytes, %lld are counted",
              (long long)bytes, (long long)f->mem.used_bytes);
}

#endif
