/* fields.h: names, with or without a value, with or without a time to live: hashes, and sets of strings.
 *
 * Why         a hash is a set whose members have values. Both are rows of a listpack while they are few and short, then
 *             a compact table (strtab.c). A row that has no time pays nothing for those that have:
 *
 *                 VAL_LISTPACK       | name | value? | name | value? | ...            stride 1 or 2
 *                 VAL_LISTPACK_TTL   | name | value? | ms | name | value? | ms | ...  ms 0: none; ordered by ms, 0 last
 *                 VAL_TABLE          buckets of item addresses; an item is one allocation:
 *                                    its lengths, its time if it has one, its name, its value
 * Threads     as val.h says. Invariants: those of val.h; (5) a row whose time has come (now_ms > its time) is not found, not
 *             iterated, not drawn and not counted as there by a write, which replaces or takes it out; fields_count
 *             counts it until then. (6) a scan from 0 to its end returns every name that was there all the time.
 * Source      Redis's HSET, HEXPIRE and their kin; thresholds as redis.conf tells them; it never goes back from a table
 *             to a listpack.
 */
#ifndef ANAX_FIELDS_H
#define ANAX_FIELDS_H

#include "anax/strval.h"
#include "anax/val.h"
#include "shards/rng.h"

#define FIELDS_NEVER 0 /* a time: none */
/* The last time that a row can have; what is later is kept as this. */
#define FIELDS_TIME_MAX ((1LL << 48) - 1)

/* What kind of rows, and when they become a table: with more than entries_max, or a text longer than bytes_max. */
struct fields_kind {
    bool valued;
    uint64_t entries_max, bytes_max;
};

/* A row, good until the next write. Texts of integers lie in digits. */
struct field {
    struct span name, value;
    int64_t expire_ms; /* Unix time; FIELDS_NEVER */
    char digits[2][STRVAL_INT_BYTES];
};

uint64_t fields_count(const struct val *v, const struct fields_kind *k);
/* fields_find: a live row, whose name is told as `name` itself. O(1), O(N) in a listpack. */
bool fields_find(const struct val *v, const struct fields_kind *k, struct span name, int64_t now_ms,
                 struct field *out);
/* fields_find_batch: the same for up to FIELDS_BATCH names; bit i of what it returns: names[i] is there, and out[i] it. out
 * may be NULL. In a large table that is not in the cache it takes a third of the time of as many fields_find. */
enum { FIELDS_BATCH = 16 };
uint32_t fields_find_batch(const struct val *v, const struct fields_kind *k,
                           const struct span *names, uint32_t n, int64_t now_ms, struct field *out);

/* What a put does to the time of a row that is there, or is new. */
enum fields_time {
    FIELDS_TIME_KEEP,  /* as it was; a new one has none */
    FIELDS_TIME_CLEAR, /* none */
    FIELDS_TIME_SET    /* expire_ms */
};
struct fields_put {
    const struct span
        *names; /* n names; of a valued kind each is followed by its value: names[2 * i + 1] */
    uint32_t n;
    bool only_new; /* rows that are there stay as they are */
    enum fields_time time;
    int64_t expire_ms; /* >= 0; FIELDS_NEVER: as FIELDS_TIME_CLEAR */
};
/* fields_put: all rows or none; a name may come twice: the last value stands. *added: how many were not there. Texts must
 * not lie in v, but a struct field's digits may be among them. False: no memory; rows are as they were, though a table may
 * have grown. O(n), in a listpack O(n * N). */
MUST_CHECK bool fields_put(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                           int64_t now_ms, uint64_t *added);
/* fields_remove: false when it was not there (a dead one goes, and was not there). Cannot fail. */
bool fields_remove(struct val *v, const struct fields_kind *k, struct span name, int64_t now_ms);
/* fields_set_times: rows that are there get these times (FIELDS_NEVER: none), all of them or none of them; names that are not
 * there are passed over, and one that comes twice gets the last time. False: no memory. */
struct field_time {
    struct span name;
    int64_t expire_ms;
};
MUST_CHECK bool fields_set_times(struct val *v, const struct fields_kind *k,
                                 const struct field_time *times, uint32_t n, int64_t now_ms);

/* All live rows, in no order: fields_begin, then fields_next until it says false. No write meanwhile. */
struct fields_iter {
    const struct val *v;
    const struct fields_kind *k;
    int64_t now_ms;
    uint8_t *at;
    uint64_t bucket;
    void *chain;
    uint32_t place;
};
void fields_begin(struct fields_iter *i, const struct val *v, const struct fields_kind *k,
                  int64_t now_ms);
bool fields_next(struct fields_iter *i, struct field *out);
/* fields_random: each live row with the same chance; false when there is none. O(1) on average while most are alive. */
bool fields_random(const struct val *v, const struct fields_kind *k, struct rng *r, int64_t now_ms,
                   struct field *out);
/* fields_scan: visits live rows of about `count` places and returns where to go on, 0 at the end. A listpack is visited
 * whole. visit must not write. */
uint64_t fields_scan(const struct val *v, const struct fields_kind *k, uint64_t cursor,
                     uint64_t count, int64_t now_ms,
                     void (*visit)(void *arg, const struct field *f), void *arg);
/* fields_due_ms: a time not later than when the first row expires; OBJECT_NEVER. O(1). */
int64_t fields_due_ms(const struct val *v);

/* For val.c. */
extern const struct val_ops fields_ttl_ops, fields_table_ops;

#endif
