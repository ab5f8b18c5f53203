#include "shards/blob.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct blob *make(struct mem *m, const char *text) {
    struct blob *b = blob_create(m, strlen(text));

    cr_assert_not_null(b);
    memcpy(b->data, text, strlen(text));
    b->len = strlen(text);
    return b;
}

Test(blob, create_is_empty_and_charged) {
    struct mem m = {0};
    struct blob *b = blob_create(&m, 1000);

    cr_assert_eq(b->refs, 1);
    cr_assert_eq(b->len, 0);
    cr_assert_geq(b->cap, 1000);
    cr_assert_eq(m.used_bytes, (int64_t)blob_bytes(b));
    cr_assert_geq(blob_bytes(b), 1000 + sizeof(*b));
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(blob, inv1_freed_with_the_last_reference) {
    struct mem m = {0};
    struct blob *b = make(&m, "abc");

    blob_pin(b);
    blob_pin(b);
    blob_unpin(&m, b);
    blob_unpin(&m, b);
    cr_assert_eq(b->refs, 1);
    cr_assert_gt(m.used_bytes, 0);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(blob, inv2_grow_of_a_shared_blob_copies) {
    struct mem m = {0};
    struct blob *old = make(&m, "abc");

    blob_pin(old);
    struct blob *fresh = blob_grow(&m, old, 100);
    cr_assert_neq(fresh, old);
    cr_assert_eq(fresh->refs, 1);
    cr_assert_eq(old->refs, 1);
    cr_assert_eq(fresh->len, 3);
    memcpy(fresh->data, "xyz", 3);
    cr_assert_arr_eq(old->data, "abc", 3);
    blob_unpin(&m, old);
    blob_unpin(&m, fresh);
    cr_assert_eq(m.used_bytes, 0);
}

Test(blob, inv2_grow_copies_even_when_there_is_room) {
    struct mem m = {0};
    struct blob *old = make(&m, "abcdef");

    blob_pin(old);
    struct blob *fresh = blob_grow(&m, old, 1);
    cr_assert_neq(fresh, old);
    cr_assert_geq(fresh->cap, 6);
    cr_assert_arr_eq(fresh->data, "abcdef", 6);
    blob_unpin(&m, old);
    blob_unpin(&m, fresh);
    cr_assert_eq(m.used_bytes, 0);
}

Test(blob, grow_keeps_bytes_and_account) {
    struct mem m = {0};
    struct blob *b = make(&m, "abc");

    for (size_t cap = 10; cap < 1000000; cap *= 3) {
        b = blob_grow(&m, b, cap);
        cr_assert_geq(b->cap, cap);
        cr_assert_arr_eq(b->data, "abc", 3);
        cr_assert_eq(m.used_bytes, (int64_t)blob_bytes(b));
    }
    cr_assert_eq(blob_grow(&m, b, 5), b);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(blob, failure_leaves_the_old_one) {
    struct mem m = {.fail_in = 1};

    cr_assert_null(blob_create(&m, 10));
    struct blob *b = make(&m, "abc");
    int64_t used = m.used_bytes;
    m.fail_in = 1;
    cr_assert_null(blob_grow(&m, b, 1000));
    blob_pin(b);
    m.fail_in = 1;
    cr_assert_null(blob_grow(&m, b, 1000));
    cr_assert_null(blob_create(&m, SIZE_MAX - 8));
    cr_assert_null(blob_grow(&m, b, SIZE_MAX - 8));
    cr_assert_eq(m.used_bytes, used);
    cr_assert_eq(b->refs, 2);
    cr_assert_arr_eq(b->data, "abc", 3);
    blob_unpin(&m, b);
    cr_assert_null(blob_grow(&m, b, SIZE_MAX - 8));
    blob_unpin(&m, b);
}

Test(blob, inv1_unpin_below_zero_is_a_bug, .signal = SIGABRT) {
    struct mem m = {0};
    struct blob b = {.refs = 0};

    blob_unpin(&m, &b);
}
