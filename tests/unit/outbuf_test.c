#include "anax/outbuf.h"
#include "shards/rng.h"

#include <criterion/criterion.h>

static struct blob *make_blob(struct mem *m, size_t len) {
    struct blob *b = blob_create(m, len);

    cr_assert_not_null(b);
    memset(b->data, 'b', len);
    b->len = len;
    return b;
}

static void give_back(struct outbuf *o) {
    for (uint32_t i = 0; i < o->ref_count; i++)
        blob_unpin(o->mem, o->refs[i].blob);
    o->ref_count = 0;
    o->ref_bytes = 0;
}

Test(outbuf, starts_empty_and_costs_nothing) {
    struct mem m = {0};
    struct outbuf o;

    outbuf_init(&o, &m);
    cr_assert_eq(o.len, 0);
    cr_assert_eq(m.used_bytes, 0);
    outbuf_deinit(&o);
}

Test(outbuf, bytes_come_out_as_they_went_in) {
    enum { TOTAL = 100000 };
    static char expected[TOTAL];
    struct mem m = {0};
    struct rng r;
    struct outbuf o;
    size_t len = 0;

    rng_seed(&r, 2);
    outbuf_init(&o, &m);
    for (size_t i = 0; i < TOTAL; i++)
        expected[i] = (char)rng_next(&r);
    while (len < TOTAL) {
        size_t n = rng_below(&r, 300);
        n = n > TOTAL - len ? TOTAL - len : n;
        outbuf_add(&o, expected + len, n);
        len += n;
        cr_assert_eq(m.used_bytes, (int64_t)mem_size(o.held));
    }
    cr_assert_eq(o.len, TOTAL);
    cr_assert_eq(memcmp(o.buf, expected, TOTAL), 0);
    outbuf_deinit(&o);
    cr_assert_eq(m.used_bytes, 0);
}

Test(outbuf, growth_is_geometric) {
    struct mem m = {0};
    struct outbuf o;
    unsigned growths = 0;

    outbuf_init(&o, &m);
    for (int i = 0; i < 1000000; i++) {
        size_t before = o.cap;
        outbuf_add(&o, "x", 1);
        growths += o.cap != before;
    }
    cr_assert_lt(growths, 20);
    outbuf_deinit(&o);
}

Test(outbuf, account_may_change_between_appends) {
    struct mem a = {0}, b = {0};
    struct outbuf o;

    outbuf_init(&o, &a);
    outbuf_add(&o, "abc", 3);
    o.mem = &b;
    cr_assert(outbuf_grow(&o, 100000));
    cr_assert_eq(a.used_bytes + b.used_bytes, (int64_t)mem_size(o.held));
    outbuf_deinit(&o);
    cr_assert_eq(a.used_bytes + b.used_bytes, 0);
}

Test(outbuf, inv1_refs_are_ordered_and_within) {
    struct mem m = {0};
    struct outbuf o;
    struct blob *b = make_blob(&m, 1000);
    size_t sum = 0;

    outbuf_init(&o, &m);
    for (size_t i = 0; i < 100; i++) {
        if (i % 3 != 0)
            outbuf_add(&o, "abc", i % 4);
        outbuf_ref(&o, b, i, 900 - i, (unsigned)i);
        sum += 900 - i;
    }
    cr_assert_eq(o.ref_count, 100);
    cr_assert_eq(o.ref_bytes, sum);
    cr_assert_eq(b->refs, 101);
    for (uint32_t i = 0; i < o.ref_count; i++) {
        cr_assert_leq(o.refs[i].at, o.len);
        cr_assert(i == 0 || o.refs[i].at >= o.refs[i - 1].at);
        cr_assert(o.refs[i].blob == b && o.refs[i].offset == i && o.refs[i].len == 900 - i);
        cr_assert_eq(o.refs[i].owner, i);
    }
    give_back(&o);
    outbuf_deinit(&o);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(outbuf, inv2_nothing_follows_a_failure) {
    struct mem m = {0};
    struct outbuf o;

    outbuf_init(&o, &m);
    outbuf_add(&o, "whole", 5);
    size_t room = o.cap - o.len;
    cr_assert_gt(room, 10);
    m.fail_in = 1;
    cr_assert_null(outbuf_room(&o, room + 1));
    cr_assert(o.failed);
    outbuf_add(&o, "x", 1); /* would have fitted */
    cr_assert_null(outbuf_room(&o, 1));
    cr_assert_not(outbuf_grow(&o, 1));
    cr_assert_eq(o.len, 5);
    cr_assert_arr_eq(o.buf, "whole", 5);
    outbuf_deinit(&o);
    cr_assert_eq(m.used_bytes, 0);
}

Test(outbuf, inv2_failed_ref_pins_nothing) {
    struct mem m = {0};
    struct outbuf o;
    struct blob *b = make_blob(&m, 100);

    outbuf_init(&o, &m);
    outbuf_add(&o, "whole", 5);
    m.fail_in = 1;
    outbuf_ref(&o, b, 0, 100, 0);
    cr_assert(o.failed);
    outbuf_ref(&o, b, 0, 100, 0);
    outbuf_add(&o, "x", 1);
    cr_assert_eq(b->refs, 1);
    cr_assert_eq(o.ref_count, 0);
    cr_assert_eq(o.ref_bytes, 0);
    cr_assert_eq(o.len, 5);
    outbuf_deinit(&o);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(outbuf, size_that_cannot_be_turns_failed) {
    struct mem m = {0};
    struct outbuf o;

    outbuf_init(&o, &m);
    outbuf_add(&o, "abc", 3);
    cr_assert_null(outbuf_room(&o, SIZE_MAX - 1));
    cr_assert(o.failed);
    outbuf_deinit(&o);
}

Test(outbuf, move_ref_takes_the_pin_over) {
    struct mem m = {0};
    struct outbuf from, to;
    struct blob *b = make_blob(&m, 100);
    int origin;

    outbuf_init(&from, &m);
    outbuf_init(&to, &m);
    outbuf_ref(&from, b, 10, 50, 7);
    outbuf_add(&to, "abc", 3);
    cr_assert(outbuf_move_ref(&to, &from.refs[0], &origin));
    from.ref_count = 0;
    cr_assert_eq(b->refs, 2);
    cr_assert(to.refs[0].at == 3 && to.refs[0].offset == 10 && to.refs[0].len == 50);
    cr_assert(to.refs[0].owner == 7 && to.refs[0].origin == &origin && to.ref_bytes == 50);
    give_back(&to);
    outbuf_deinit(&from);
    outbuf_deinit(&to);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(outbuf, inv2_failed_move_leaves_the_ref_where_it_was) {
    struct mem m = {0};
    struct outbuf from, to;
    struct blob *b = make_blob(&m, 100);

    outbuf_init(&from, &m);
    outbuf_init(&to, &m);
    outbuf_ref(&from, b, 0, 100, 0);
    outbuf_add(&to, "abc", 3);
    m.fail_in = 1;
    cr_assert_not(outbuf_move_ref(&to, &from.refs[0], NULL));
    cr_assert(to.failed && to.ref_count == 0 && to.ref_bytes == 0);
    outbuf_add(&to, "d", 1);
    cr_assert_eq(to.len, 3);
    cr_assert_not(outbuf_move_ref(&to, &from.refs[0], NULL));
    cr_assert_eq(b->refs, 2);
    give_back(&from);
    outbuf_deinit(&from);
    outbuf_deinit(&to);
    blob_unpin(&m, b);
    cr_assert_eq(m.used_bytes, 0);
}

Test(outbuf, lent_bytes_are_used_grow_and_come_back) {
    struct mem m = {0};
    struct outbuf o;
    char *lent = mem_alloc(&m, 512);

    outbuf_init(&o, &m);
    outbuf_lend(&o, lent, 512);
    outbuf_add(&o, "abc", 3);
    cr_assert_eq(o.buf, lent);
    o.len = 0;
    cr_assert_eq(outbuf_take_back(&o), lent);
    cr_assert_null(o.buf);
    outbuf_lend(&o, lent, 512);
    cr_assert(outbuf_grow(&o, 10000));
    outbuf_deinit(&o);
    cr_assert_eq(m.used_bytes, 0);
}
