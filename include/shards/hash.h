/* hash.h: the one hash of keys, fields and members.
 *
 * Why         all shards of the process must agree on which of them a key belongs to, and who sends keys must not be
 *             able to choose where they fall: a secret drawn at the start goes into it.
 * Threads     hash_seed before the first shard starts; hash_of: any.
 * Source      XXH3, 64 bits, with a secret.
 */
#ifndef SHARDS_HASH_H
#define SHARDS_HASH_H

#include "shards/attr.h"
#include "shards/err.h"
#include "shards/span.h"
#include <stdint.h>

/* hash_seed: once per process, before the first hash; ERR_IO without entropy. A fixed seed is for
 * the simulator. */
MUST_CHECK enum err hash_seed(const uint64_t *fixed_seed);
uint64_t hash_of(struct span bytes);

#endif
