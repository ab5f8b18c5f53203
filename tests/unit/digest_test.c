/* digest_test.c: SHA-1 at all lengths around its blocks, and what mixing and adding are. */
#include "../../src/persistence/digest_impl.h"
#include <criterion/criterion.h>
#include <stdio.h>

static void expect_sha1(const void *bytes, size_t len, const char *hex) {
    struct digest d;
    char text[2 * DIGEST_BYTES + 1];
    digest_sha1(&d, bytes, len);
    for (unsigned i = 0; i < DIGEST_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", d.bytes[i]);
    cr_assert_str_eq(text, hex, "%zu bytes", len);
}

Test(digest, sha1_of_fips_180) {
    expect_sha1("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect_sha1("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    static char million[1000000];
    memset(million, 'a', sizeof million);
    expect_sha1(million, sizeof million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

Test(digest, sha1_around_a_block) {
    static const char *const sums[] = {
        "4a9d982c8632e938b295f8080ea5ddc1da61ed87", "5a8c825e7bddd45f0936f3a6c4a34760a190e60c",
        "aaf29dd7fdb380d32791213ae5acf0f6cea0c5e3", "6d9b3d53a09ca31cf40a635d284ce5aa3b81d077",
        "5576b79ef97c211956483848efaaef0c5cae045f", "668cd5ae72f64e8194014f99778081e5ae46df53",
        "b4d0bc233838cba64eeaa151cae9301542498b30", "85843975fc0c4b3f138f1712c37de691d4078286",
        "adb73f20707cc855fdfb8f7dc62491aecce07e49", "ee07a43b8b7f44b7c7c5ad71bcadd33eec5e7947",
        "d253b872e3c164aeda7b7a1ff0c50f745a88dc10"};
    char zs[130];
    memset(zs, 'z', sizeof zs);
    static const size_t lengths[] = {54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 129};
    for (unsigned i = 0; i < COUNT_OF(lengths); i++)
        expect_sha1(zs, lengths[i], sums[i]);
}

Test(digest, order_counts_when_mixing_only) {
    struct digest ab = {{0}}, ba = {{0}};
    digest_mix(&ab, "a", 1);
    digest_mix(&ab, "b", 1);
    digest_mix(&ba, "b", 1);
    digest_mix(&ba, "a", 1);
    cr_assert(memcmp(&ab, &ba, sizeof ab) != 0);
    ab = ba = (struct digest){{0}};
    digest_add(&ab, "a", 1);
    digest_add(&ab, "b", 1);
    digest_add(&ba, "b", 1);
    digest_add(&ba, "a", 1);
    cr_assert(memcmp(&ab, &ba, sizeof ab) == 0);
    digest_join(&ab, &ba);
    cr_assert(memcmp(&ab, &(struct digest){{0}}, sizeof ab) == 0);
}
