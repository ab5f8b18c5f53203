/* val_test.c: the contract of anax/val.h. */
#include "anax/intset.h"
#include "anax/listpack.h"
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/val.h"
#include "anax/zsetval.h"
#include "shards/hash.h"
#include "shards/rng.h"
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>

/* A value of n numbered texts. */
static void fill(struct val *v, unsigned n) {
    cr_assert(val_room(v, LP_EMPTY_BYTES));
    lp_init(v->bytes);
    v->form = VAL_LISTPACK;
    val_set_len(v, LP_EMPTY_BYTES);
    for (unsigned i = 0; i < n; i++) {
        char text[24];
        struct lp_key k =
            lp_key_of((struct span){text, (size_t)snprintf(text, sizeof text, "text %u", i)});
        cr_assert(val_room(v, v->len + LP_GROWTH(k.text.len)));
        (void)lp_insert(v->bytes, NULL, &k);
        val_set_len(v, lp_bytes(v->bytes));
    }
}

static void check_block(const struct val *v) {
    const struct object *o = val_object(v);
    cr_assert_not_null(o);
    cr_assert(v->owned);
    cr_assert_eq(o->type, v->type);
    cr_assert_eq(o->form, v->form);
    cr_assert_eq(o->weight, 1);
    cr_assert_eq(o->bytes, mem_size(o->bytes), "the whole of a size class");
    cr_assert_eq(v->cap + offsetof(struct val_flat, bytes), o->bytes);
    cr_assert_eq(val_bytes(v), o->bytes);
    cr_assert_eq(v->mem->used_bytes, (int64_t)o->bytes);
}

Test(val, a_block_is_what_val_of_object_reads_back) {
    struct mem m = {0};
    struct val v, back;
    val_init(&v, &m, VALUE_HASH);
    cr_assert_null(val_object(&v));
    cr_assert_eq(val_count(&v), 0);
    cr_assert_eq(val_bytes(&v), 0);
    for (unsigned n = 0; n < 300; n += 2) {
        fill(&v, n);
        check_block(&v);
        cr_assert_eq(val_object(&v)->due_ms, OBJECT_NEVER);
        cr_assert_eq(val_object(&v)->count, 0);
        val_of_object(&back, &m, val_object(&v));
        cr_assert(back.bytes == v.bytes);
        cr_assert_eq(back.len, v.len);
        cr_assert_eq(back.cap, v.cap);
        cr_assert_eq(back.form, VAL_LISTPACK);
        cr_assert_eq(back.type, VALUE_HASH);
        cr_assert(back.owned);
        cr_assert_eq(val_count(&back), n / 2);
        val_destroy(&back);
        cr_assert_eq(back.form, VAL_NONE);
        cr_assert_eq(m.used_bytes, 0);
        val_init(&v, &m, VALUE_HASH);
    }
}

Test(val, room_grows_by_a_size_class_and_from_a_page_on_by_a_quarter) {
    struct mem m = {0};
    struct val v;
    val_init(&v, &m, VALUE_LIST);
    fill(&v, 0);
    size_t before = val_bytes(&v);
    while (val_bytes(&v) < 1 << 20) {
        uint32_t cap = v.cap;
        cr_assert(val_room(&v, cap));
        cr_assert_eq(v.cap, cap, "there was room");
        cr_assert(val_room(&v, (size_t)cap + 1));
        check_block(&v);
        if (before < 4096)
            cr_assert_eq(val_bytes(&v), mem_size(before + 1));
        else
            cr_assert_geq(val_bytes(&v), before + before / 4);
        before = val_bytes(&v);
    }
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(val, room_moves_inline_bytes_into_a_block) {
    struct mem m = {0};
    struct val v;
    uint8_t entry[64];
    lp_init(entry);
    val_of_bytes(&v, &m, VALUE_SET, VAL_LISTPACK, entry, LP_EMPTY_BYTES, sizeof entry);
    struct lp_key k = lp_key_of(SPAN("a"));
    cr_assert(val_room(&v, sizeof entry));
    cr_assert(v.bytes == entry);
    (void)lp_insert(v.bytes, NULL, &k);
    val_set_len(&v, lp_bytes(entry));
    cr_assert_null(val_object(&v));
    cr_assert_eq(val_bytes(&v), 0);
    cr_assert_eq(val_count(&v), 1);

    m.fail_in = 1;
    cr_assert_not(val_room(&v, sizeof entry + 1));
    cr_assert(v.bytes == entry);
    cr_assert_not(v.owned);
    cr_assert_eq(v.cap, sizeof entry);

    cr_assert(val_room(&v, sizeof entry + 1));
    cr_assert(v.bytes != entry);
    check_block(&v);
    cr_assert_eq(v.len, lp_bytes(entry));
    cr_assert(memcmp(v.bytes, entry, v.len) == 0);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(val, inv1_room_without_memory_changes_nothing) {
    struct mem m = {0};
    struct val v;
    val_init(&v, &m, VALUE_ZSET);
    m.fail_in = 1;
    cr_assert_not(val_room(&v, 100));
    cr_assert_eq(v.form, VAL_NONE);
    cr_assert_not(v.owned);
    cr_assert_eq(v.cap, 0);
    cr_assert_eq(m.used_bytes, 0);

    fill(&v, 20);
    struct val was = v;
    m.fail_in = 1;
    cr_assert_not(val_room(&v, 5000));
    cr_assert(memcmp(&v, &was, sizeof v) == 0);
    check_block(&v);
    cr_assert_eq(val_count(&v), 10);
    cr_assert_not(val_room(&v, SIZE_MAX / 2), "more than any flat value has");
    cr_assert_not(val_room(&v, UINT32_MAX));
    cr_assert(memcmp(&v, &was, sizeof v) == 0);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(val, set_len_gives_back_what_is_less_than_half_used) {
    struct mem m = {0};
    struct val v;
    val_init(&v, &m, VALUE_LIST);
    fill(&v, 500);
    for (uint32_t count = 500; count > 0; count--) {
        (void)lp_remove(v.bytes, lp_first(v.bytes), 1);
        size_t before = val_bytes(&v);
        uint32_t len = lp_bytes(v.bytes);
        if (count % 7 == 0) {
            m.fail_in = 1; /* then the block that is there will do */
            val_set_len(&v, len);
            m.fail_in = 0;
        }
        val_set_len(&v, len);
        check_block(&v);
        size_t need = len + offsetof(struct val_flat, bytes);
        cr_assert(need >= before / 2 ? val_bytes(&v) == before : val_bytes(&v) == mem_size(need));
        cr_assert(lp_valid(v.bytes, v.len));
        cr_assert_eq(val_count(&v), count - 1);
    }
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

/* Only what val.h says of every structure. */
static struct object big = {.type = VALUE_SET, .form = VAL_TABLE, .count = 12, .bytes = 34};

Test(val, become_takes_an_object_for_a_block) {
    struct mem m = {0};
    struct val v;
    val_init(&v, &m, VALUE_SET);
    fill(&v, 9);
    val_become(&v, VAL_TABLE, &big);
    cr_assert_eq(m.used_bytes, 0, "the block is gone");
    cr_assert(val_object(&v) == &big);
    cr_assert_eq(val_count(&v), 12);
    cr_assert_eq(val_bytes(&v), 34);
    cr_assert_eq(v.type, VALUE_SET);
    cr_assert_not(val_is_flat(&v));

    /* and a flat value can take the place of it */
    cr_assert(val_room(&v, INTSET_HEADER));
    cr_assert(val_object(&v) == &big, "until it has a form");
    v.form = VAL_INTSET;
    intset_init(v.bytes);
    val_set_len(&v, INTSET_HEADER);
    check_block(&v);
    cr_assert_eq(val_count(&v), 0);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(val, destroy_leaves_what_is_an_entry_s) {
    struct mem m = {0};
    struct val v;
    uint8_t entry[LP_EMPTY_BYTES];
    lp_init(entry);
    val_of_bytes(&v, &m, VALUE_LIST, VAL_LISTPACK, entry, sizeof entry, sizeof entry);
    val_set_len(&v, sizeof entry); /* all of the room */
    val_destroy(&v);
    cr_assert_eq(v.form, VAL_NONE);
    cr_assert_eq(v.type, VALUE_LIST);
    cr_assert(lp_valid(entry, sizeof entry));
    val_destroy(&v);
}

static void check_copy(const struct val *from) {
    struct mem m = {0};
    struct val to;
    val_init(&to, &m, from->type);
    m.fail_in = 1;
    cr_assert_not(val_copy(&to, from));
    cr_assert_eq(to.form, VAL_NONE);
    cr_assert_eq(m.used_bytes, 0);
    cr_assert(val_copy(&to, from));
    check_block(&to);
    cr_assert_eq(to.form, from->form);
    cr_assert_eq(to.len, from->len);
    cr_assert(to.bytes != from->bytes);
    cr_assert(memcmp(to.bytes, from->bytes, to.len) == 0);
    val_destroy(&to);
    cr_assert_eq(m.used_bytes, 0);
}

Test(val, copy_is_a_value_of_its_own) {
    struct mem m = {0};
    struct val v, to;
    val_init(&v, &m, VALUE_LIST);
    val_init(&to, &m, VALUE_LIST);
    cr_assert(val_copy(&to, &v));
    cr_assert_eq(to.form, VAL_NONE);
    fill(&v, 50);
    check_copy(&v);
    struct val inlined = v;
    inlined.owned = false;
    check_copy(&inlined);
    val_destroy(&v);

    uint8_t ids[64];
    intset_init(ids);
    cr_assert(intset_add(ids, 70000));
    val_of_bytes(&v, &m, VALUE_SET, VAL_INTSET, ids, (uint32_t)intset_bytes(ids), sizeof ids);
    cr_assert_eq(val_count(&v), 1);
    check_copy(&v);
}

Test(val, flat_copy_keeps_what_rows_with_times_need) {
    struct mem m = {0};
    struct val v;
    unsigned budget = 5;
    val_init(&v, &m, VALUE_HASH);
    fill(&v, 6);
    v.form = VAL_LISTPACK_TTL;
    val_set_len(&v, v.len);
    val_object(&v)->count = 2;
    val_object(&v)->due_ms = 1234;
    cr_assert_eq(val_count(&v), 2);
    struct object *copy = val_flat_copy(&m, val_object(&v));
    cr_assert_eq(copy->count, 2);
    cr_assert_eq(copy->due_ms, 1234);
    cr_assert_eq(copy->form, VAL_LISTPACK_TTL);
    cr_assert_eq(copy->type, VALUE_HASH);
    cr_assert(val_flat_destroy(&m, copy, &budget));
    cr_assert_eq(budget, 4);
    budget = 0;
    cr_assert(val_flat_destroy(&m, val_object(&v), &budget));
    cr_assert_eq(budget, 0);
    cr_assert_eq(m.used_bytes, 0);
}

/* --- structures: what they supply, seen through the handle --- */

enum { ROWS = 3000, NOW_MS = 1000 };

static struct span number(unsigned i, char text[24]) {
    return (struct span){text, (size_t)snprintf(text, 24, "%u", i)};
}

static void put_list(struct val *v, struct span text) {
    const struct listval_limits limits = listval_limits_of(100);
    cr_assert(listval_push(v, LISTVAL_TAIL, &text, 1, &limits));
}

static void put_row(struct val *v, struct span text, uint64_t entries_max, enum fields_time time) {
    const struct fields_kind kind = {
        .valued = v->type == VALUE_HASH, .entries_max = entries_max, .bytes_max = 64};
    struct span row[] = {text, text};
    struct fields_put put = {.names = row, .n = 1, .time = time, .expire_ms = NOW_MS + 1000};
    uint64_t added;
    cr_assert(fields_put(v, &kind, &put, NOW_MS, &added));
}

static void put_table(struct val *v, struct span text) {
    put_row(v, text, 0, FIELDS_TIME_KEEP);
}

static void put_timed(struct val *v, struct span text) {
    put_row(v, text, ROWS, FIELDS_TIME_SET);
}

static void put_id(struct val *v, struct span text) {
    const struct set_kind kind = {.fields = {.bytes_max = 64}};
    uint64_t added;
    cr_assert(setval_add(v, &kind, &text, 1, NOW_MS, &added));
}

static void put_scored(struct val *v, struct span text) {
    const struct zset_kind kind = {0};
    struct zset_pair pair = {.member = text, .score = (double)text.len};
    struct zset_added added;
    cr_assert(zsetval_add(v, &kind, 0, &pair, 1, &added));
}

static const struct {
    uint8_t type, form;
    void (*put)(struct val *v, struct span text);
} structures[] = {
    {VALUE_LIST, VAL_CHUNKS, put_list},       {VALUE_HASH, VAL_TABLE, put_table},
    {VALUE_SET, VAL_TABLE, put_table},        {VALUE_HASH, VAL_LISTPACK_TTL, put_timed},
    {VALUE_SET, VAL_LISTPACK_TTL, put_timed}, {VALUE_SET, VAL_ROARING, put_id},
    {VALUE_ZSET, VAL_TREE, put_scored}};

static void build_structure(struct val *v, struct mem *m, size_t which, unsigned rows) {
    const uint64_t seed = 1;
    cr_assert_eq(hash_seed(&seed), OK);
    val_init(v, m, structures[which].type);
    for (unsigned i = 0; i < rows; i++) {
        char text[24];
        structures[which].put(v, number(i, text));
    }
    cr_assert_eq(v->form, structures[which].form);
}

Test(val, structures_count_themselves_and_go_in_slices) {
    for (size_t which = 0; which < COUNT_OF(structures); which++) {
        struct mem m = {0};
        struct val v;
        build_structure(&v, &m, which, ROWS);
        cr_assert_eq(val_count(&v), ROWS);
        cr_assert_eq(m.used_bytes, (int64_t)val_bytes(&v), "%s", val_form_name(v.form));
        struct object *o = val_object(&v);
        cr_assert_eq(o->type, v.type);
        cr_assert_eq(o->form, v.form);
        unsigned slices = 0, budget = 0;
        const struct val_ops *ops = val_ops_of(v.form);
        uint32_t weight = o->weight;
        do {
            budget = 16;
            slices++;
        } while (!ops->destroy_some(&m, o, &budget));
        cr_assert_eq(m.used_bytes, 0);
        cr_assert_leq(slices, weight / 4 + 2, "each slice frees about its budget");
        cr_assert_geq(slices, weight / 64, "and not much more");
    }
}

Test(val, copies_of_structures_need_all_of_their_memory) {
    for (size_t which = 0; which < COUNT_OF(structures); which++) {
        struct mem m = {0}, other = {0};
        struct val v, to;
        build_structure(&v, &m, which, 700);
        val_init(&to, &other, v.type);
        unsigned failures = 0;
        for (;; failures++) {
            other.fail_in = failures + 1;
            if (val_copy(&to, &v))
                break;
            cr_assert_eq(other.used_bytes, 0, "%s", val_form_name(v.form));
            cr_assert_eq(to.form, VAL_NONE);
        }
        other.fail_in = 0;
        cr_assert_geq(failures, 1);
        int64_t used = m.used_bytes;
        val_destroy(&v);
        cr_assert_eq(m.used_bytes, 0);
        cr_assert_eq(val_count(&to), 700);
        cr_assert_eq(other.used_bytes, (int64_t)val_bytes(&to));
        cr_assert_leq(other.used_bytes, used + used / 4);
        val_destroy(&to);
        cr_assert_eq(other.used_bytes, 0);
    }
}

Test(val, what_has_a_time_goes_when_it_has_come) {
    struct mem m = {0};
    struct val v;
    build_structure(&v, &m, 3, 100);
    struct object *o = val_object(&v);
    const struct val_ops *ops = val_ops_of(v.form);
    cr_assert_eq(o->due_ms, NOW_MS + 1000);
    unsigned budget = 1000;
    cr_assert_eq(ops->expire_some(&m, o, NOW_MS, &budget), 0);
    budget = 1000;
    cr_assert_eq(ops->expire_some(&m, o, NOW_MS + 2000, &budget), 100);
    cr_assert_eq(o->count, 0);
    cr_assert_eq(o->due_ms, OBJECT_NEVER);
    val_of_object(&v, &m, o);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}

Test(val, names) {
    static const struct {
        uint8_t type, form;
        const char *encoding, *name;
    } cases[] = {{VALUE_LIST, VAL_LISTPACK, "listpack", "listpack"},
                 {VALUE_LIST, VAL_CHUNKS, "quicklist", "chunks"},
                 {VALUE_HASH, VAL_LISTPACK, "listpack", "listpack"},
                 {VALUE_HASH, VAL_LISTPACK_TTL, "listpackex", "listpack-ttl"},
                 {VALUE_HASH, VAL_TABLE, "hashtable", "table"},
                 {VALUE_SET, VAL_INTSET, "intset", "intset"},
                 {VALUE_SET, VAL_LISTPACK, "listpack", "listpack"},
                 {VALUE_SET, VAL_LISTPACK_TTL, "listpack", "listpack-ttl"},
                 {VALUE_SET, VAL_TABLE, "hashtable", "table"},
                 {VALUE_SET, VAL_ROARING, "hashtable", "roaring"},
                 {VALUE_ZSET, VAL_LISTPACK, "listpack", "listpack"},
                 {VALUE_ZSET, VAL_TREE, "skiplist", "tree"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct val v = {.type = cases[i].type, .form = cases[i].form};
        cr_assert_str_eq(val_encoding(&v), cases[i].encoding);
        cr_assert_str_eq(val_form_name(v.form), cases[i].name);
        const struct val_ops *ops = val_ops_of(v.form);
        cr_assert_not_null(ops->copy);
        cr_assert_not_null(ops->destroy_some);
    }
    cr_assert_null(val_ops_of(VAL_LISTPACK)->expire_some, "nothing in it has a time");
}

/* --- under random edits, with memory that fails now and then --- */

Test(val, a_listpack_in_a_val_survives_failures) {
    struct mem m = {0};
    struct rng r;
    struct val v;
    unsigned count = 0, failures = 0;
    char text[200];
    rng_seed(&r, 3);
    memset(text, 'x', sizeof text);
    val_init(&v, &m, VALUE_LIST);
    fill(&v, 0);
    m.fail_every = 3;
    m.fail_in = 1;
    for (unsigned step = 0; step < 20000; step++) {
        struct lp_key k = lp_key_of((struct span){text, rng_below(&r, sizeof text)});
        if (rng_below(&r, step / 2000 % 2 ? 3 : 2) == 0) {
            if (!val_room(&v, v.len + LP_GROWTH(k.text.len))) {
                failures++;
                continue;
            }
            (void)lp_insert(v.bytes, rng_below(&r, 2) ? lp_first(v.bytes) : NULL, &k);
            count++;
        } else if (count > 0) {
            (void)lp_remove(v.bytes, lp_at(v.bytes, (int64_t)rng_below(&r, count)), 1);
            count--;
        }
        val_set_len(&v, lp_bytes(v.bytes));
        if (step % 8 == 0) {
            check_block(&v);
            cr_assert(lp_valid(v.bytes, v.len));
            cr_assert_eq(val_count(&v), count);
        }
    }
    cr_assert_gt(failures, 10);
    val_destroy(&v);
    cr_assert_eq(m.used_bytes, 0);
}
