/* hash_impl.h: what the commands on hashes share.
 *
 * Why         a hash is rows of fields.h; here is what kind of rows, and how a call gives times to
 *             several of them as a whole or not at all, though what it replies for each is known
 *             before.
 * Threads     the holder of the shard in ctx.
 */
#ifndef HASH_IMPL_H
#define HASH_IMPL_H

#include "anax/setval.h"
#include "coll_impl.h"

/* The latest time that a field can have, in the year 4199: Redis's limit. */
#define FIELD_MS_MAX ((1LL << 46) - 1)

static inline struct fields_kind hash_kind(const struct ctx *c) {
    const struct config *g = instance_of(c->shard)->config;
    return (struct fields_kind){.valued = true,
                                .entries_max = (uint64_t)g->hash_listpack_entries_max,
                                .bytes_max = (uint64_t)g->hash_listpack_bytes_max};
}

/* hash_live: fields whose time has not come. O(1) while none has come, else O(N). */
uint64_t hash_live(const struct ctx *c, const struct val *v, const struct fields_kind *k);

/* --- a set of names, to tell those that came before --- */

/* Names are told apart by their 64-bit hashes, whose secret nobody knows. */
struct hash_seen {
    struct mem *mem;
    uint64_t *slots;
    size_t mask;
};
/* hash_seen_init: for n names; false: no memory. hash_seen_add: false when it was in already. */
MUST_CHECK bool hash_seen_init(struct hash_seen *s, struct mem *m, uint64_t n);
bool hash_seen_add(struct hash_seen *s, struct span name);
void hash_seen_deinit(struct hash_seen *s);

/* --- arguments and replies of the commands about times --- */

#define HASH_FIELDS_SYNTAX "FIELDS=fields(numfields:integer field...)"
extern const char HASH_NO_FIELDS[], HASH_BAD_COUNT[]; /* errors */

/* hash_fields: argv[at] says FIELDS, argv[at + 1] how many follow, to the end. Replies what is
 * wrong. */
bool hash_fields(struct ctx *c, uint32_t at, const char *bad_count);
/* hash_time: the Unix time in ms that argv[arg] means, in units of unit_ms since base_ms. Replies
 * what is wrong. */
bool hash_time(struct ctx *c, uint32_t arg, int64_t unit_ms, int64_t base_ms, int64_t *out);

/* hash_count_expired: fields that went because a call gave them a time that has passed count as
 * expired, as in Redis. */
static inline void hash_count_expired(struct ctx *c, uint64_t fields) {
    keyspace_stats(c->keyspace)->expired_inner += fields;
}

/* Times that a call gives to fields, in one write at its end. */
struct hash_times {
    struct mem *mem;
    const struct set_kind *set; /* they are members of a set; NULL: fields of a hash */
    struct field_time *list;
    uint32_t n, cap;
    struct hash_seen seen; /* slots NULL: a field may be named again */
    size_t reply_begin;    /* where the reply was written from */
    struct field_time few[8];
};
/* hash_times_begin: for at most cap fields, each of them once if wanted; false: replied that memory
 * is out, and o was left. hash_times_add: false: it has had its turn. */
bool hash_times_begin(struct ctx *c, struct hash_times *t, struct coll *o, uint32_t cap,
                      bool once) ON_SHARD;
bool hash_times_add(struct hash_times *t, struct span name, int64_t expire_ms);
/* hash_times_end: writes them and stores o. Without memory nothing has changed, and what was
 * replied since hash_times_begin gives way to the error. `removed`: fields were taken out of o
 * meanwhile. */
void hash_times_end(struct ctx *c, struct hash_times *t, struct coll *o,
                    const struct fields_kind *k, bool removed) ON_SHARD;

void hash_walk_register(void);
void hash_ttl_register(void);
void hash_ex_register(void);

#endif
