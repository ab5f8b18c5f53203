/* evict.c: (EVICT: thin first version by the founder, yours from here.) */
#include "shards/evict.h"

static struct evict_options chosen;
static struct rng dice = {{1, 2, 3, 4}};

void keyspace_set_eviction(struct keyspace *k, const struct evict_options *o) {
    (void)k;
    chosen = *o;
}

bool keyspace_evict(struct keyspace *k, int64_t now_ms, struct evicted *out) {
    struct table *t = keyspace_peek_table(k, 0);
    struct entry *e = t == NULL || chosen.policy == EVICT_NONE ? NULL : table_random(t, &dice);
    (void)now_ms;
    if (e == NULL)
        return false;
    struct span key = entry_key(e);
    *out = (struct evicted){.hash = hash_of(key)};
    return table_delete(t, key, out->hash);
}
