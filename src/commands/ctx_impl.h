/* ctx_impl.h: what handlers share beyond anax/command.h. */
#ifndef CTX_IMPL_H
#define CTX_IMPL_H

#include "anax/command.h"
#include "anax/instance.h"
#include "anax/strval.h"
#include "shards/evict.h"

/* What LCS may spend on its table. */
#define LCS_BYTES_MAX (512LL * 1024 * 1024)

/* ctx_string_max: strings end where a bulk string could no longer carry them: proto-max-bulk-len. */
static inline uint64_t ctx_string_max(const struct ctx *c) {
    return (uint64_t)instance_of(c->shard)->config->bulk_bytes_max;
}

/* ctx_access_now: what a key that is stored now bears. */
static inline uint32_t ctx_access_now(const struct ctx *c) {
    struct access *a = keyspace_access(c->keyspace);
    access_at(a, c->now_ms);
    return a->kind == ACCESS_COUNTED ? ACCESS_AUTO : a->now;
}

static inline void ctx_touch(const struct ctx *c, struct entry *e) {
    if (!c->no_touch)
        access_use(keyspace_access(c->keyspace), e, c->now_ms);
}

/* ctx_find_at, ctx_peek_at: for keys whose hash is known. Peeking leaves the access time alone. */
struct entry *ctx_find_at(struct ctx *c, struct span key, uint64_t hash) ON_SHARD;
struct entry *ctx_peek_at(struct ctx *c, struct span key, uint64_t hash) ON_SHARD;
struct entry *ctx_peek(struct ctx *c, uint32_t i) ON_SHARD;
/* ctx_delete: the key argv[i]; false when it was not there. */
bool ctx_delete(struct ctx *c, uint32_t i) ON_SHARD;

/* ctx_slot: of argv[i], a key of a call over several shards. view_text: a string as text, which for
 * an integer is written to scratch; of no key the empty string. */
struct key_slot *ctx_slot(const struct ctx *c, uint32_t i);
struct span view_text(const struct view *v, char scratch[STRVAL_INT_BYTES]);

/* ctx_fetch_ahead: hashes of n <= CTX_FETCH_AHEAD keys, argv[first + i * step], whose buckets and
 * entries are on their way into the cache then. */
enum { CTX_FETCH_AHEAD = 16 }; /* about what a core has in flight */
void ctx_fetch_ahead(struct ctx *c, uint32_t first, uint32_t step, unsigned n,
                     uint64_t *hashes) ON_SHARD;

/* ctx_expired: a key whose time has come, and which nobody has deleted yet. */
static inline bool ctx_expired(const struct ctx *c, const struct entry *e) {
    int64_t expire_ms = entry_expire_ms(e);
    return expire_ms != EXPIRE_NEVER && c->now_ms > expire_ms;
}

/* type_name: what TYPE calls a type. */
const char *type_name(unsigned type);

/* command_find_any: as command_find, and "container|sub" too. */
const struct command *command_find_any(struct span name);

/* Registrations of the families, called by command_register_families, and of their parts, called by the family's. */
void string_register(void);
void bitmap_register(void);
void generic_register(void);
void server_register(void);
void coll_register(void);
void hash_register(void);
void list_register(void);
void set_register(void);
void zset_register(void);
void sort_register(void);
void string_number_register(void);
void string_range_register(void);
void string_multi_register(void);
void lcs_register(void);
void generic_expire_register(void);
void generic_move_register(void);
void generic_object_register(void);
void generic_walk_register(void);
void bitfield_register(void);
void bitop_register(void);
void command_info_register(void);

#endif
