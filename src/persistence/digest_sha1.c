/* digest_sha1.c: SHA-1, by OpenSSL, and what is put together of it. */
#include "digest_impl.h"
#include "shards/assert.h"
#include <openssl/evp.h>

void digest_sha1(struct digest *out, const void *bytes, size_t len) {
    unsigned written = 0;
    int ok = EVP_Digest(bytes, len, out->bytes, &written, EVP_sha1(), NULL);
    ASSERT(ok == 1 && written == sizeof out->bytes);
}

void digest_join(struct digest *d, const struct digest *other) {
    for (unsigned i = 0; i < DIGEST_BYTES; i++)
        d->bytes[i] ^= other->bytes[i];
}

void digest_add(struct digest *d, const void *bytes, size_t len) {
    struct digest of_bytes;
    digest_sha1(&of_bytes, bytes, len);
    digest_join(d, &of_bytes);
}

void digest_mix(struct digest *d, const void *bytes, size_t len) {
    digest_add(d, bytes, len);
    digest_sha1(d, d->bytes, DIGEST_BYTES);
}
