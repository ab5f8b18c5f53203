/* setval.h: sets of strings and integers.
 *
 * Why         ids are what most sets hold: a few are sorted integers in the entry of the key, many are bits or 16-bit numbers
 *             in roaring bitmaps. Everything else is fields without values (fields.h).
 *
 *                 VAL_INTSET    intset.h; up to intset_max integers
 *                 VAL_LISTPACK, VAL_LISTPACK_TTL, VAL_TABLE    fields.h
 *                 VAL_ROARING   struct object | parts, ordered by high 32 bits -> a bitmap of the low 32 bits (CRoaring)
 *                                             | rest -> a fields form: members that are no integers, or have a time,
 *                                                       and integers that there is no part for
 *
 * Conversions as Redis 8 does them, where its clients see them: an intset that gets a text becomes a listpack of at most
 *             fields.entries_max members, else a table; what Redis calls a hashtable is a table or roaring. Integers go
 *             into bitmaps when these are not larger than a table of their texts would be: decided when they
 *             leave the intset and, up to SETVAL_TURN_MAX members, whenever the set has doubled. Parts are a sorted
 *             array, so a new one moves the others: an integer that would need one part more than parts_max goes
 *             beside the bitmaps, for what it costs in a table, which is a fifth of a part of its own.
 * Threads     as val.h says. Invariants: those of val.h and fields.h; (7) taking out cannot fail. (8) a member is in the
 *             bitmaps or in `rest`, not in both (a dead row of `rest` is no member). (9) there are at most parts_max parts.
 * Source      CRoaring; Redis's SADD and its kin; Dragonfly's SADDEX, FIELDTTL and FIELDEXPIRE.
 */
#ifndef ANAX_SETVAL_H
#define ANAX_SETVAL_H

#include "anax/fields.h"
#include "anax/listpack.h"
#include "anax/val.h"
#include "shards/rng.h"

enum { SETVAL_TURN_MAX = 65536, SETVAL_PARTS_MAX = 2048 };

/* intset_max: set-max-intset-entries. fields: not valued, set-max-listpack-entries and -value. parts_max: 0:
 * SETVAL_PARTS_MAX; tests have less. */
struct set_kind {
    uint64_t intset_max;
    struct fields_kind fields;
    uint32_t parts_max;
};

/* --- members --- */
/* setval_count: those whose time has come included. O(1). */
uint64_t setval_count(const struct val *v);
/* setval_living: without them. O(1) unless something has died and was not swept yet: O(N). */
uint64_t setval_living(const struct val *v, const struct set_kind *k, int64_t now_ms);
/* setval_find: false: no such member. *expire_ms (NULL: not asked for): its time or FIELDS_NEVER. O(1), O(N) in a listpack. */
bool setval_find(const struct val *v, const struct set_kind *k, struct span name, int64_t now_ms,
                 int64_t *expire_ms);
/* setval_add: all names or none. *added: how many were not there. False: no memory. */
MUST_CHECK bool setval_add(struct val *v, const struct set_kind *k, const struct span *names,
                           uint32_t n, int64_t now_ms, uint64_t *added);
/* setval_add_timed: the same with a time for those that are new, and, unless keep, for those that are there. */
MUST_CHECK bool setval_add_timed(struct val *v, const struct set_kind *k, const struct span *names,
                                 uint32_t n, bool keep, int64_t expire_ms, int64_t now_ms,
                                 uint64_t *added);
/* setval_set_times: as fields_set_times. */
MUST_CHECK bool setval_set_times(struct val *v, const struct set_kind *k,
                                 const struct field_time *times, uint32_t n, int64_t now_ms);
/* setval_remove: false when it was not there. Cannot fail. */
bool setval_remove(struct val *v, const struct set_kind *k, struct span name, int64_t now_ms);
/* setval_take: the same of an item that was drawn, or walked over. */
bool setval_take(struct val *v, const struct set_kind *k, const struct lp_item *i, int64_t now_ms);
/* setval_due_ms: as fields_due_ms. */
int64_t setval_due_ms(const struct val *v);

/* --- all of them: begin, then next until it says false; items are good until the next write. --- */
enum { SETVAL_FETCH = 64 };
struct set_iter {
    const struct val *v;
    const struct set_kind *k;
    int64_t now_ms;
    uint8_t form;         /* that is walked now: v's, or that of its `rest` */
    uint8_t *at;          /* the next entry of a listpack */
    uint32_t place, left; /* integers, in an intset or in `ints` */
    uint32_t part;        /* where the bitmaps are read next */
    uint64_t low;
    int64_t expire_ms; /* of the member that was returned last, or FIELDS_NEVER */
    int64_t ints[SETVAL_FETCH];
    struct fields_iter fields;
    struct val rest;
};
void setval_begin(struct set_iter *i, const struct val *v, const struct set_kind *k,
                  int64_t now_ms);
bool setval_next(struct set_iter *i, struct lp_item *out);

/* --- by chance --- */
struct set_draw {
    const struct val *v;
    const struct set_kind *k;
    int64_t now_ms;
    uint64_t ints, others; /* how many of each there are to choose from, the dead included */
    uint64_t refused;      /* dead ones that were drawn so far */
};
/* setval_draw_begin: O(1). setval_draw: each living member with the same chance; false: there is none. O(1) on average
 * while a share of the set is alive, whatever its size; at most O(N). */
void setval_draw_begin(struct set_draw *d, const struct val *v, const struct set_kind *k,
                       int64_t now_ms);
bool setval_draw(struct set_draw *d, struct rng *r, struct lp_item *out);

/* setval_scan: as fields_scan: visits members of about `count` places. The guarantee holds when the form changes, too. */
uint64_t setval_scan(const struct val *v, const struct set_kind *k, uint64_t cursor, uint64_t count,
                     int64_t now_ms, void (*visit)(void *arg, const struct lp_item *i), void *arg);

/* --- sets of sets ---
 * What was found: a val of its own, or items that lie in the sources (v.form is VAL_NONE then). */
struct set_found {
    struct val v;
    struct lp_item *items;
    size_t n, cap;
};
/* Each: false: no memory, and nothing is found. The sources stay as they are. setval_inter: at most limit items (0: all),
 * which a val does not keep to. O(smallest * n); bitmaps against bitmaps: O(containers). setval_diff: what is in the first and in no other. */
MUST_CHECK bool setval_inter(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                             const struct set_kind *k, int64_t now_ms, uint64_t limit);
MUST_CHECK bool setval_union(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                             const struct set_kind *k, int64_t now_ms);
MUST_CHECK bool setval_diff(struct set_found *f, struct mem *m, const struct val *from, uint32_t n,
                            const struct set_kind *k, int64_t now_ms);
/* What each of these has to do, in members that are looked for or added: an estimate. O(n). */
uint64_t setval_inter_work(const struct val *from, uint32_t n);
uint64_t setval_union_work(const struct val *from, uint32_t n, const struct set_kind *k);
uint64_t setval_diff_work(const struct val *from, uint32_t n, const struct set_kind *k);
/* setval_pick: `want` of the members of v, drawn without replacement, each choice with the same chance. */
MUST_CHECK bool setval_pick(struct set_found *f, const struct val *v, const struct set_kind *k,
                            struct rng *r, uint64_t want, int64_t now_ms);
/* setval_keep: v, which is VAL_NONE, becomes a set of what was found, in the form that a set of these members has. False: no
 * memory. setval_found_free: always, at the end. */
MUST_CHECK bool setval_keep(struct val *v, const struct set_kind *k, struct set_found *f,
                            int64_t now_ms);
void setval_found_free(struct set_found *f, struct mem *m);

/* For val.c. */
extern const struct val_ops setval_roaring_ops;

#endif
