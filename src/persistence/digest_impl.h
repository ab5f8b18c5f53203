/* digest_impl.h: fingerprints of values and of datasets, as Redis computes them.
 *
 * Why         two servers hold the same when their fingerprints are equal, whatever they run and however they keep it.
 *
 *             mix(d, x)   d = SHA1(d ^ SHA1(x))     where order counts
 *             add(d, x)   d = d ^ SHA1(x)           where it does not
 *
 *             of a value    from 20 zero bytes: mix the number of its type (4 bytes, big endian), then
 *                           string          mix the text
 *                           list            mix each element
 *                           set             add each member
 *                           hash            add, of each field, what mixing its name and its value gives
 *                           sorted set      the same of member and score ("%.17g")
 *                           stream          mix each entry: "ms.seq", then names and values
 *                           and add "!!expire!!" when its key has a time; a field that has one adds "!!hexpire!!" to
 *                           its own
 *             of a database add, of each key, what mixing its name and then its value gives
 *             of all        for each database that is not empty: mix its number (4 bytes, big endian), add its own
 * Source      Redis's DEBUG DIGEST: redis-server 7.0, and of times in hashes Redis 8. From 7.2 on Redis writes scores
 *             in the fewest digits, so sorted sets with fractions differ from 7.0's there.
 */
#ifndef DIGEST_IMPL_H
#define DIGEST_IMPL_H

#include "shards/keyspace.h"

enum { DIGEST_BYTES = 20 };

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

/* digest_sha1: of all of it, in *out. O(len). */
void digest_sha1(struct digest *out, const void *bytes, size_t len);
void digest_mix(struct digest *d, const void *bytes, size_t len);
void digest_add(struct digest *d, const void *bytes, size_t len);
/* digest_join: d ^= other: of two parts of one database. */
void digest_join(struct digest *d, const struct digest *other);

/* digest_value: continues d with a value and what its key's expiry adds; what is dead inside by now_ms is left out.
 * False: no memory of m's to unpack a stream. O(N). */
MUST_CHECK bool digest_value(struct digest *d, const struct value *v, int64_t expire_ms,
                             int64_t now_ms, struct mem *m);

#endif
