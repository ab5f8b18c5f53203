#include "../../src/types/btree_impl.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static struct mem mem;
static struct rng rng;

static void setup(void) {
    uint64_t seed = 7;
    cr_assert_eq(hash_seed(&seed), OK);
    rng_seed(&rng, 42);
    mem = (struct mem){0};
}

TestSuite(btree, .init = setup);

enum { NAME_BYTES = 400 };

static struct span name_of(unsigned i, char text[NAME_BYTES]) {
    return (struct span){text, (size_t)snprintf(text, NAME_BYTES, "member%08u", i)};
}

static void put(struct btree *t, double score, struct span member) {
    struct spot at;
    cr_assert(btree_insert(t, score, member, hash_of(member), false, &at));
    cr_assert(leaf_score(at.leaf, at.place) == score);
    cr_assert(span_eq(leaf_member(at.leaf, at.place), member));
}

static void end(struct btree *t) {
    unsigned budget = UINT_MAX;
    cr_assert(btree_destroy_some(&mem, &t->o, &budget));
    cr_assert_eq(mem.used_bytes, 0);
}

/* --- leaves --- */

Test(btree, leaf_match_is_what_each_print_says) {
    struct leaf l;
    char text[NAME_BYTES];
    for (unsigned n = 0; n <= LEAF_ELEMENTS_MAX; n++) {
        btree_leaf_init(&l);
        for (unsigned i = 0; i < n; i++)
            btree_leaf_put(&l, (unsigned)rng_below(&rng, i + 1), i,
                           (uint16_t)(rng_below(&rng, 3) << 8 | rng_below(&rng, 3)),
                           (struct span){text, rng_below(&rng, 2)}, NULL);
        for (unsigned want = 0; want < 0x300; want++) {
            uint64_t all = 0, low = 0;
            for (unsigned i = 0; i < n; i++) {
                all |= (uint64_t)(leaf_print(&l, i) == want) << i;
                low |= (uint64_t)((leaf_print(&l, i) & 0xff) == want) << i;
            }
            cr_assert_eq(btree_leaf_match(&l, 0xffff, (uint16_t)want), all);
            cr_assert_eq(btree_leaf_match(&l, 0xff, (uint16_t)want), low);
        }
    }
}

/* --- density --- */

static double fill(unsigned n, unsigned order, struct btree **out) {
    char text[NAME_BYTES];
    struct btree *t = btree_create(&mem);
    cr_assert_not_null(t);
    for (unsigned i = 0; i < n; i++) {
        /* An odd factor and a power of two: every number once. */
        unsigned id = order == 0 ? i : i * 2654435761U % n;
        put(t, order == 2 ? 7 : (double)id, name_of(id, text));
    }
    cr_assert_eq(t->o.count, n);
    btree_check(t);
    *out = t;
    return (double)mem.used_bytes / n;
}

Test(btree, a_member_of_14_bytes_takes_46) {
    struct btree *t;
    cr_assert_lt(fill(1 << 17, 1, &t), 46.5);
    end(t);
    cr_assert_lt(fill(1 << 17, 2, &t), 46.5);
    end(t);
    cr_assert_lt(fill(1 << 17, 0, &t), 41);
    end(t);
}

Test(btree, what_is_taken_out_gives_memory_back) {
    struct btree *t;
    struct spot at;
    char text[NAME_BYTES];
    enum { N = 1 << 14 };
    (void)fill(N, 1, &t);
    for (unsigned i = 0; i < N; i++) {
        struct span member = name_of(i * 40503U % N, text);
        cr_assert(btree_find(t, member, hash_of(member), &at));
        btree_drop(t, at, 1);
        if (i % 2048 == 0)
            btree_check(t);
        if (i == N / 2)
            cr_assert_lt(mem.used_bytes, N / 2 * 75);
        if (i == N - N / 16)
            cr_assert_lt(mem.used_bytes, N / 16 * 90);
    }
    btree_check(t);
    cr_assert_eq(t->o.count, 0);
    cr_assert_lt(mem.used_bytes, 4096);
    end(t);
}

/* Long members make many leaves of few elements: regions fill and empty, so that inner nodes are split and joined beside
 * separators that are out of date. */
Test(btree, inv1_inv2_while_regions_fill_and_empty) {
    static char texts[4096][100];
    static bool is_in[4096];
    struct btree *t = btree_create(&mem);
    for (unsigned i = 0; i < COUNT_OF(texts); i++) {
        memset(texts[i], '.', sizeof texts[i]);
        (void)snprintf(texts[i], sizeof texts[i], "%u", i);
    }
    for (unsigned phase = 0; phase < 300; phase++) {
        unsigned at = (unsigned)rng_below(&rng, COUNT_OF(texts));
        unsigned len = 100 + (unsigned)rng_below(&rng, 900),
                 odds = (unsigned)rng_below(&rng, 4) + 1;
        bool adds = rng_below(&rng, 100) < (phase < 150 ? 60 : 40);
        for (unsigned i = at; i < at + len && i < COUNT_OF(texts); i++) {
            struct span member = {texts[i], sizeof texts[i]};
            uint64_t hash = hash_of(member);
            struct spot spot;
            cr_assert_eq(btree_find(t, member, hash, &spot), is_in[i]);
            if (is_in[i] == adds || rng_below(&rng, odds) != 0)
                continue;
            if (adds)
                put(t, i / 7, member);
            else
                btree_drop(t, spot, 1);
            is_in[i] = adds;
        }
        btree_check(t);
    }
    end(t);
}

/* --- equal beginnings: what separators cannot tell apart --- */

Test(btree, inv1_order_of_long_equal_beginnings) {
    static char texts[3000][64];
    struct btree *t = btree_create(&mem);
    for (unsigned i = 0; i < 3000; i++) {
        unsigned id = i * 7919U % 3000;
        put(t, 1,
            (struct span){texts[i], (size_t)snprintf(texts[i], 64, "the same beginning %04u", id)});
        if (i % 100 == 0)
            btree_check(t);
    }
    for (unsigned id = 0; id < 3000; id++) {
        char text[64];
        struct span member = {text, (size_t)snprintf(text, 64, "the same beginning %04u", id)};
        struct bound b = btree_bound(1, member);
        struct spot at;
        uint64_t rank;
        (void)btree_seek(t, &b, &rank);
        cr_assert_eq(rank, id);
        cr_assert(btree_find(t, member, hash_of(member), &at));
        cr_assert_eq(btree_rank(at), id);
        at = btree_at(t, id);
        cr_assert(span_eq(leaf_member(at.leaf, at.place), member));
    }
    end(t);
}

/* --- hidden elements --- */

Test(btree, inv3_hidden_elements_are_in_order_and_not_in_the_index) {
    char text[NAME_BYTES];
    struct btree *t;
    (void)fill(1 << 10, 1, &t);
    for (unsigned i = 0; i < 2000; i++) {
        struct span member = name_of((unsigned)rng_below(&rng, 1 << 10), text);
        uint64_t hash = hash_of(member);
        struct spot is, at;
        double score = (double)rng_below(&rng, 1 << 12) + 0.5;
        struct bound b = btree_bound(score, member);
        cr_assert(btree_find(t, member, hash, &is));
        at = btree_seek(t, &b, NULL);
        double was = leaf_score(is.leaf, is.place);
        if (was == score)
            continue;
        cr_assert(btree_insert(t, score, member, hash, true, &at));
        btree_check(t);
        cr_assert(btree_find(t, member, hash, &is));
        cr_assert(leaf_score(is.leaf, is.place) == was);
        btree_show(t, at, is, hash);
        btree_check(t);
        struct spot now;
        cr_assert(btree_find(t, member, hash, &now));
        cr_assert(leaf_score(now.leaf, now.place) == score);
        btree_drop(t, is, 1);
        btree_check(t);
    }
    cr_assert_eq(t->o.count, 1 << 10);
    end(t);
}

/* --- memory --- */

/* Every allocation of an insert fails once: to the byte nothing has changed. */
Test(btree, inserting_fails_without_a_trace) {
    static char texts[1500][NAME_BYTES];
    uint64_t failures[8] = {0};
    struct btree *t = btree_create(&mem);
    for (unsigned i = 0; i < 1500; i++) {
        size_t len = (size_t)snprintf(texts[i], NAME_BYTES, "%u", i * 7919U % 1500);
        if (i % 3 == 0) {
            memset(texts[i] + len, '-', 100);
            len += i % 9 == 0 ? 250 : 100;
        }
        struct span member = {texts[i], len};
        struct spot at;
        for (uint64_t fail_in = 1;; fail_in++) {
            int64_t used = mem.used_bytes;
            uint64_t count = t->o.count;
            uint32_t buckets = t->index.bucket_count;
            mem.fail_in = fail_in;
            if (btree_insert(t, (double)rng_below(&rng, 50), member, hash_of(member), false, &at))
                break;
            cr_assert_eq(mem.fail_in, 0);
            cr_assert_eq(mem.used_bytes, used);
            cr_assert_eq(t->o.count, count);
            cr_assert_eq(t->index.bucket_count, buckets);
            cr_assert_lt(fail_in, COUNT_OF(failures));
            failures[fail_in]++;
        }
        mem.fail_in = 0;
        if (i % 10 == 0)
            btree_check(t);
    }
    /* The place in the index, the long member, a leaf, inner nodes. */
    cr_assert_gt(failures[1], 300);
    cr_assert_gt(failures[2], 20);
    cr_assert_gt(failures[3], 1);
    btree_check(t);
    end(t);
}

Test(btree, an_index_that_cannot_grow_still_finds) {
    char text[NAME_BYTES];
    struct btree *t;
    struct spot at;
    (void)fill(1 << 8, 1, &t);
    for (unsigned i = 1 << 8; i < 1 << 11; i++) {
        struct span member = name_of(i, text);
        /* Every other allocation fails; an insert is tried until it works. */
        mem.fail_in = 1 + i % 2;
        mem.fail_every = 2;
        while (!btree_insert(t, i, member, hash_of(member), false, &at))
            mem.fail_in = 2 + rng_below(&rng, 4);
        mem.fail_in = mem.fail_every = 0;
    }
    btree_check(t);
    mem.fail_in = mem.fail_every = 1; /* nothing can be allocated */
    while (t->o.count > 10)
        btree_drop(t, btree_at(t, rng_below(&rng, t->o.count)), 1);
    mem.fail_in = 0;
    btree_check(t);
    while (t->o.count > 0)
        btree_drop(t, btree_at(t, 0), 1);
    btree_check(t);
    end(t);
}

Test(btree, destroying_keeps_to_its_budget) {
    static char text[NAME_BYTES];
    struct btree *t;
    (void)fill(1 << 13, 1, &t);
    memset(text, 'x', sizeof text);
    for (size_t len = 128; len < NAME_BYTES; len++)
        put(t, 5, (struct span){text, len});
    btree_check(t);
    uint32_t weight = t->o.weight;
    unsigned slices = 0;
    for (bool done = false; !done; slices++) {
        enum { SLICE = 8, OVER = LEAF_ELEMENTS_MAX + 4 };
        uint32_t before = t->o.weight;
        int64_t used = mem.used_bytes;
        size_t bytes = t->o.bytes;
        unsigned budget = SLICE;
        done = btree_destroy_some(&mem, &t->o, &budget);
        cr_assert_leq(budget, SLICE);
        if (done)
            break;
        cr_assert_leq(before - t->o.weight, SLICE + OVER);
        cr_assert_eq(used - mem.used_bytes, (int64_t)(bytes - t->o.bytes));
    }
    cr_assert_gt(slices, weight / 32);
    cr_assert_eq(mem.used_bytes, 0);
}

/* --- elements that come in order --- */

enum { LOADED_MAX = 20000 };

/* text_of: ascending, some of them longer than a leaf takes. */
static struct span text_of(unsigned i, char text[NAME_BYTES]) {
    size_t len = (size_t)snprintf(text, NAME_BYTES, "%08u", i);
    if (i % 50 == 7) {
        memset(text + len, '-', 300);
        len += 300;
    }
    return (struct span){text, len};
}

/* load: n elements, of which some scores are equal; NULL: memory failed. */
static struct btree *load(unsigned n, unsigned expected) {
    char text[NAME_BYTES];
    struct btree_load b;
    if (!btree_load_begin(&b, &mem, expected))
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        struct span member = text_of(i, text);
        if (!btree_load_add(&b, i / 3, member))
            return NULL;
        memset(text, '#', sizeof text); /* it has its own copy */
    }
    return btree_load_end(&b);
}

static void check_loaded(const struct btree *t, unsigned n) {
    char text[NAME_BYTES];
    btree_check(t);
    cr_assert_eq(t->o.count, n);
    cr_assert_eq(t->o.bytes, (size_t)mem.used_bytes);
    for (unsigned i = 0; i < n; i += 1 + i % 7) {
        struct span member = text_of(i, text);
        struct spot at;
        cr_assert(btree_find(t, member, hash_of(member), &at));
        cr_assert_eq(btree_rank(at), i);
        cr_assert(leaf_score(at.leaf, at.place) == i / 3);
    }
}

/* A tree that was loaded is the one that adding the same at the end makes, to the byte. */
Test(btree, what_is_loaded_is_what_adding_makes) {
    static const unsigned counts[] = {0,   1,    2,    30,   31,   33,   100,  979,  980,
                                      981, 1200, 7833, 7834, 7835, 7840, 8812, 8900, LOADED_MAX};
    char text[NAME_BYTES];
    for (size_t k = 0; k < COUNT_OF(counts); k++) {
        unsigned n = counts[k];
        struct btree *t = btree_create(&mem);
        for (unsigned i = 0; i < n; i++)
            put(t, i / 3, text_of(i, text));
        int64_t used = mem.used_bytes;
        uint64_t overflows = t->index.overflows.count;
        uint32_t buckets = t->index.bucket_count, room = t->index.last_cap;
        end(t);
        t = load(n, n);
        cr_assert_not_null(t);
        check_loaded(t, n);
        cr_assert_eq(t->index.bucket_count, buckets, "%u", n);
        cr_assert_eq(t->index.last_cap, room, "%u", n);
        cr_assert_eq(t->index.overflows.count, overflows, "%u", n);
        /* The directory of segments is as long as it must be, and not the next power of two. */
        cr_assert_leq(mem.used_bytes, used, "%u", n);
        end(t);
    }
}

Test(btree, what_is_loaded_grows_and_shrinks) {
    char text[NAME_BYTES];
    static const unsigned expected[] = {0, 10, 3000, 8000, LOADED_MAX};
    for (size_t k = 0; k < COUNT_OF(expected); k++) {
        struct btree *t = load(8000, expected[k]);
        cr_assert_not_null(t);
        check_loaded(t, 8000);
        for (unsigned i = 0; i < 4000; i++) {
            (void)snprintf(text, sizeof text, "new%u", i);
            put(t, i * 7919U % 4000, (struct span){text, strlen(text)});
        }
        btree_check(t);
        while (t->o.count > 0)
            btree_drop(t, btree_at(t, rng_below(&rng, t->o.count)), 1);
        btree_check(t);
        end(t);
    }
}

Test(btree, loading_fails_without_a_trace) {
    uint64_t fail_in = 1;
    for (;; fail_in++) {
        mem.fail_in = fail_in;
        struct btree *t = load(9000, 9000);
        if (t != NULL) {
            mem.fail_in = 0;
            check_loaded(t, 9000);
            end(t);
            break;
        }
        cr_assert_eq(mem.fail_in, 0);
        cr_assert_eq(mem.used_bytes, 0);
    }
    /* The tree, its index, leaves and inner nodes, long members, and overflow buckets. */
    cr_assert_gt(fail_in, 500);
}

/* --- the index --- */

struct scanned {
    unsigned *seen;
};

static void see(void *arg, struct spot at) {
    struct scanned *s = arg;
    struct span member = leaf_member(at.leaf, at.place);
    unsigned n = 0;
    for (size_t i = 6; i < member.len; i++)
        n = n * 10 + (unsigned)(member.ptr[i] - '0');
    s->seen[n]++;
}

Test(btree, a_scan_of_the_index_visits_each_element_once) {
    for (unsigned n = 1; n <= 1 << 13; n *= 2) {
        struct btree *t;
        (void)fill(n, 1, &t);
        struct scanned s = {calloc(n, sizeof *s.seen)};
        cr_assert_not_null(s.seen);
        for (uint64_t cursor = 0; cursor < BUCKET_SCAN_END;)
            cursor = btree_index_scan(t, cursor, see, &s);
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(s.seen[i], 1);
        free(s.seen);
        end(t);
    }
}
