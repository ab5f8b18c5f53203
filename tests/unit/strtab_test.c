/* strtab_test: the table behind large hashes and sets: its bytes, its scan, its choice, its times, and that it stops when it is
 * told. */
#include "fields_model.h"
#include <criterion/criterion.h>

static void init(void) {
    static const uint64_t seed = 7;
    cr_assert(hash_seed(&seed) == OK);
}

TestSuite(strtab, .init = init);

static struct mem mem;

static struct strtab *create(void) {
    struct strtab *t = strtab_create(&mem, VALUE_SET);
    cr_assert(t != NULL);
    return t;
}

static void destroy(struct strtab *t) {
    unsigned budget = UINT32_MAX;
    mem.fail_in = mem.fail_every = 0;
    cr_assert((int64_t)t->head.bytes == mem.used_bytes);
    cr_assert(strtab_destroy_some(&mem, &t->head, &budget));
    cr_assert(mem.used_bytes == 0);
}

static struct span name_of(uint32_t id, char text[16]) {
    return (struct span){text, (size_t)snprintf(text, 16, "%u", id)};
}

static bool insert(struct strtab *t, uint32_t id, int64_t expire_ms) {
    char text[16];
    struct item i = {
        .name = name_of(id, text), .expire_ms = expire_ms, .timed = expire_ms != FIELDS_NEVER};
    int64_t used_bytes = mem.used_bytes;
    uint8_t *item = item_create(&mem, &i);
    bool done = item != NULL && strtab_insert(t, &mem, item, hash_of(i.name), true);
    if (!done && item != NULL)
        item_free(&mem, item);
    strtab_settle(t, &mem, used_bytes);
    return done;
}

static void take_out(struct strtab *t, uint32_t id) {
    char text[16];
    struct span name = name_of(id, text);
    struct place at;
    int64_t used_bytes = mem.used_bytes;
    cr_assert(strtab_find(t, name, hash_of(name), &at));
    uint8_t *item = strtab_item(at);
    strtab_take(t, &mem, hash_of(name), at);
    item_free(&mem, item);
    strtab_settle(t, &mem, used_bytes);
}

static uint32_t id_of(const uint8_t *item) {
    struct item i;
    char text[16] = {0};
    item_get(item, &i);
    memcpy(text, i.name.ptr, i.name.len);
    return (uint32_t)atoi(text);
}

/* --- bytes --- */

Test(strtab, an_item_says_what_was_written) {
    static const size_t names[] = {0, 1, 61, 62, 63, 255, 65535, 65536};
    static const size_t values[] = {0, 1, 254, 255, 256, 70000};
    static char text[70000];
    model_fill(text, sizeof text, 1);
    for (unsigned n = 0; n < COUNT_OF(names); n++)
        for (unsigned v = 0; v < COUNT_OF(values); v++)
            for (unsigned how = 0; how < 4; how++) {
                struct item out, in = {.name = {text, names[n]},
                                       .valued = how & 1,
                                       .timed = how & 2,
                                       .expire_ms = how & 2 ? ITEM_TIME_MAX - 5 : 0};
                in.value = (struct span){text, in.valued ? values[v] : 0};
                uint8_t *p = item_create(&mem, &in);
                item_get(p, &out);
                cr_assert(span_eq(in.name, out.name));
                cr_assert(span_eq(in.value, out.value));
                cr_assert(in.valued == out.valued);
                cr_assert(in.timed == out.timed);
                cr_assert(in.expire_ms == out.expire_ms);
                cr_assert(item_expire_ms(p) == in.expire_ms);
                cr_assert(item_is(p, in.name));
                cr_assert(item_size(p) == item_bytes(&in));
                item_free(&mem, p);
                cr_assert(mem.used_bytes == 0);
            }
}

Test(strtab, a_member_of_14_bytes_takes_16) {
    struct item i = {.name = SPAN("12345678901234")};
    cr_assert(item_bytes(&i) == 15);
    i = (struct item){.name = SPAN("1234567"), .value = SPAN("1234567"), .valued = true};
    cr_assert(item_bytes(&i) == 16);
}

Test(strtab, a_table_of_one_item_takes_two_lines_more) {
    struct strtab *t = create();
    cr_assert(insert(t, 1, FIELDS_NEVER));
    cr_assert(t->head.bytes == 128 + mem_size(2));
    destroy(t);
}

/* 64 bytes for 7.65 items, their overflow buckets, and a segment that is not full. */
Test(strtab, bytes_per_item_are_few_beside_it) {
    struct strtab *t = create();
    for (uint32_t id = 0; id < 100000; id++) {
        cr_assert(insert(t, id, FIELDS_NEVER));
        if (id < 5000 || id % 100 != 0)
            continue;
        double each = (double)t->head.bytes / (id + 1) - (double)mem_size(7);
        cr_assert(each < 13, "%u: %f", id, each);
    }
    destroy(t);
}

/* --- growing and shrinking --- */

Test(strtab, grows_and_shrinks_by_one_bucket) {
    struct strtab *t = create();
    size_t empty = t->head.bytes;
    for (uint32_t id = 0; id < 20000; id++) {
        uint32_t buckets = t->bucket_count;
        cr_assert(insert(t, id, FIELDS_NEVER));
        cr_assert(t->bucket_count - buckets <= 1);
        cr_assert(t->head.count * 20 <= (uint64_t)t->bucket_count * STRTAB_GROW_PER_20);
        if (id % 1000 == 0)
            model_check_table(t);
    }
    for (uint32_t id = 0; id < 20000; id++) {
        uint32_t buckets = t->bucket_count;
        take_out(t, id);
        cr_assert(buckets - t->bucket_count <= 1);
        cr_assert(t->bucket_count == 1 ||
                  t->head.count * 20 >= (uint64_t)t->bucket_count * STRTAB_SHRINK_PER_20);
        if (id % 1000 == 0)
            model_check_table(t);
    }
    cr_assert(t->head.bytes == empty);
    destroy(t);
}

Test(strtab, inv4_moves_without_memory) {
    struct strtab *t = create();
    struct rng r;
    bool there[2000] = {false};
    uint64_t inserted = 0;
    rng_seed(&r, 3);
    for (unsigned i = 0; i < 40000; i++) {
        uint32_t id = (uint32_t)rng_below(&r, 2000);
        /* Whatever is allocated after an item: nearly always nothing. */
        mem.fail_in = i / 4000 % 2 == 0 ? 2 : 0;
        mem.fail_every = mem.fail_in == 0 ? 0 : 1;
        if (there[id]) {
            take_out(t, id);
            there[id] = false;
        } else if (insert(t, id, id % 3 == 0 ? 100 + id : FIELDS_NEVER)) {
            there[id] = true;
            inserted++;
        }
        mem.fail_in = mem.fail_every = 0;
        cr_assert((int64_t)t->head.bytes == mem.used_bytes);
        if (i % 500 == 0)
            model_check_table(t);
    }
    cr_assert(inserted > 10000);
    model_check_table(t);
    destroy(t);
}

/* next_with: the next id from *from on whose hash is `low` in its two lowest bits. */
static uint32_t next_with(unsigned low, uint32_t *from) {
    char text[16];
    for (;; *from += 1)
        if ((hash_of(name_of(*from, text)) & 3) == low)
            return (*from)++;
}

Test(strtab, inv3_a_merge_may_make_the_longest_chain) {
    struct strtab *t = create();
    uint32_t from[4] = {0}, evens[14], even = 0, odd[2] = {0};
    /* Two of four buckets get 17 items, and the others go before they are joined. */
    while (odd[0] < 4 || odd[1] < 4) {
        cr_assert(
            insert(t, next_with(odd[0] < 4 ? 1 : 3, &from[odd[0] < 4 ? 1 : 3]), FIELDS_NEVER));
        odd[odd[0] < 4 ? 0 : 1]++;
    }
    for (; even < 14; even++) {
        evens[even] = next_with(even % 2 * 2, &from[even % 2 * 2]);
        cr_assert(insert(t, evens[even], FIELDS_NEVER));
    }
    while (odd[0] < 9 || odd[1] < 8) {
        unsigned which = odd[0] >= 9 || (odd[0] > odd[1] && odd[1] < 8);
        cr_assert(insert(t, next_with(which ? 3 : 1, &from[which ? 3 : 1]), FIELDS_NEVER));
        odd[which]++;
        if (t->head.count > 24)
            take_out(t, evens[--even]);
    }
    cr_assert(t->bucket_count == 4);
    cr_assert(t->depth == 1);
    while (even > 0)
        take_out(t, evens[--even]);
    cr_assert(t->bucket_count == 3);
    cr_assert(t->depth == 2);
    model_check_table(t);
    destroy(t);
}

Test(strtab, inv2_a_bucket_that_comes_back_has_no_old_stamp) {
    for (uint32_t n = 20; n < 400; n += 3) {
        struct strtab *t = create();
        unsigned budget = UINT32_MAX;
        for (uint32_t id = 0; id < n; id++)
            cr_assert(insert(t, id, id < n * 7 / 10 ? 1000 : id == n - 1 ? 5000 : FIELDS_NEVER));
        for (uint32_t id = 0; id < n * 7 / 10; id++)
            take_out(t, id);
        cr_assert(strtab_expire_some(&mem, &t->head, 1001, &budget) == 0);
        cr_assert(t->head.due_ms == 5000);
        for (uint32_t id = n; id < 2 * n; id++)
            cr_assert(insert(t, id, FIELDS_NEVER));
        model_check_table(t);
        destroy(t);
    }
}

Test(strtab, an_insert_that_fails_changes_nothing) {
    unsigned failed = 0;
    struct strtab *t = create();
    for (uint32_t id = 0; id < 3000; id++)
        for (unsigned n = 1;; n++, failed++) {
            uint64_t count = t->head.count;
            mem.fail_in = n;
            if (insert(t, id, id % 2 == 0 ? FIELDS_NEVER : 1000 + id))
                break;
            cr_assert(t->head.count == count);
            cr_assert((int64_t)t->head.bytes == mem.used_bytes);
        }
    cr_assert(failed > 3000);
    model_check_table(t);
    destroy(t);
}

/* --- scan --- */

enum { STAYS = 700, COMES_AND_GOES = 3000 };

struct seen {
    unsigned times[STAYS];
};

static void see(void *arg, uint8_t *item) {
    struct seen *s = arg;
    uint32_t id = id_of(item);
    if (id < STAYS)
        s->times[id]++;
}

/* Those that stay are seen in every round, while others come in a flood and go. */
static void scan_while_it_changes(uint64_t seed, bool fails) {
    struct strtab *t = create();
    struct rng r;
    uint32_t others = 0;
    rng_seed(&r, seed);
    for (uint32_t id = 0; id < STAYS; id++)
        cr_assert(insert(t, id, FIELDS_NEVER));
    for (unsigned round = 0; round < 40; round++) {
        struct seen s = {{0}};
        bool grows = rng_below(&r, 2) == 0;
        for (uint64_t cursor = 0; cursor != BUCKET_SCAN_END;) {
            cursor = strtab_scan(t, cursor, see, &s);
            if (rng_below(&r, 50) == 0)
                grows = !grows;
            for (uint64_t n = rng_below(&r, 60); n > 0; n--) {
                mem.fail_in = fails ? 2 : 0; /* a split or merge may not be */
                if (grows && others < COMES_AND_GOES && insert(t, STAYS + others, FIELDS_NEVER))
                    others++;
                else if (!grows && others > 0)
                    take_out(t, STAYS + --others);
                mem.fail_in = 0;
            }
        }
        for (uint32_t id = 0; id < STAYS; id++)
            cr_assert(s.times[id] > 0, "seed %lu, round %u: %u", seed, round, id);
    }
    destroy(t);
}

Test(strtab, a_scan_returns_what_was_there_all_the_time) {
    for (uint64_t seed = 0; seed < 20; seed++)
        scan_while_it_changes(seed, seed % 4 == 3);
}

Test(strtab, a_scan_of_a_table_at_rest_returns_each_once) {
    struct strtab *t = create();
    for (uint32_t id = 0; id < STAYS; id++) {
        struct seen s = {{0}};
        cr_assert(insert(t, id, FIELDS_NEVER));
        for (uint64_t cursor = 0; cursor != BUCKET_SCAN_END;)
            cursor = strtab_scan(t, cursor, see, &s);
        for (uint32_t i = 0; i < STAYS; i++)
            cr_assert((s.times[i] == 1) == (i <= id));
        for (uint32_t i = id + 1; i < STAYS; i++)
            cr_assert(s.times[i] == 0);
    }
    destroy(t);
}

/* --- random --- */

/* Chi-square of how often each of n items is drawn, as a distance from what is expected in standard deviations. */
static double unfairness(struct strtab *t, uint32_t n, unsigned draws_each, int64_t now_ms) {
    static unsigned drawn[5000];
    struct rng r;
    double chi = 0;
    rng_seed(&r, 11);
    memset(drawn, 0, sizeof drawn);
    for (uint64_t i = 0; i < (uint64_t)n * draws_each; i++)
        drawn[id_of(strtab_random(t, &r, now_ms))]++;
    for (uint32_t id = 0; id < n; id++) {
        double off = (double)drawn[id] - draws_each;
        chi += off * off / draws_each;
    }
    double freedom = n - 1;
    return (chi - freedom) / __builtin_sqrt(2 * freedom);
}

Test(strtab, random_is_uniform) {
    static const uint32_t sizes[] = {2, 7, 8, 9, 60, 1000, 1500, 5000};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        struct strtab *t = create();
        for (uint32_t id = 0; id < sizes[i]; id++)
            cr_assert(insert(t, id, FIELDS_NEVER));
        double off = unfairness(t, sizes[i], 200, 1);
        cr_assert(off < 4 && off > -4, "%u: %f", sizes[i], off);
        destroy(t);
    }
}

Test(strtab, random_is_uniform_in_long_chains) {
    struct strtab *t = create();
    for (uint32_t id = 0; id < 1000; id++) {
        /* From here on it may not grow: it is the last allocation that fails. */
        mem.fail_in = id >= 40 ? 2 : 0;
        while (!insert(t, id, FIELDS_NEVER))
            mem.fail_in = 3;
        mem.fail_in = 0;
    }
    cr_assert(t->depth > 2);
    double off = unfairness(t, 1000, 200, 1);
    cr_assert(off < 4 && off > -4, "%f", off);
    destroy(t);
}

Test(strtab, random_finds_the_last_one_alive) {
    struct strtab *t = create();
    struct rng r;
    rng_seed(&r, 1);
    for (uint32_t id = 0; id < 5000; id++)
        cr_assert(insert(t, id, id == 1234 ? FIELDS_NEVER : 10));
    for (unsigned i = 0; i < 20; i++)
        cr_assert(id_of(strtab_random(t, &r, 11)) == 1234);
    take_out(t, 1234);
    cr_assert(strtab_random(t, &r, 11) == NULL);
    destroy(t);
}

Test(strtab, random_is_uniform_among_the_few_alive) {
    enum { N = 2000, EACH = 500, DRAWS = N / EACH * 400 };
    struct strtab *t = create();
    struct rng r;
    unsigned drawn[N / EACH] = {0};
    double chi = 0;
    rng_seed(&r, 1);
    for (uint32_t id = 0; id < N; id++)
        cr_assert(insert(t, id, id % EACH == 0 ? FIELDS_NEVER : 10));
    for (unsigned i = 0; i < DRAWS; i++)
        drawn[id_of(strtab_random(t, &r, 11)) / EACH]++;
    for (unsigned i = 0; i < N / EACH; i++)
        chi += ((double)drawn[i] - 400) * ((double)drawn[i] - 400) / 400;
    cr_assert(chi < 21, "%f", chi); /* 3 degrees of freedom, 1 in 10,000 */
    destroy(t);
}

/* --- times --- */

Test(strtab, expiring_costs_what_it_takes_out) {
    enum { N = 20000 };
    struct strtab *t = create();
    for (uint32_t id = 0; id < N; id++)
        cr_assert(insert(t, id, id % 2 == 0 ? 1000 + id : FIELDS_NEVER));
    uint32_t left = N;
    for (int64_t now = 1000; left > N / 2; now += 40) {
        unsigned due = 0, budget;
        for (uint32_t id = 0; id < N; id += 2)
            due += now > 1000 + (int64_t)id && now - 40 <= 1000 + (int64_t)id;
        /* 1 for each bucket, of which there are no more than of the dead, and 1 for each of those */
        budget = 2 * due;
        cr_assert(strtab_expire_some(&mem, &t->head, now, &budget) == due);
        cr_assert(t->head.due_ms >= now);
        left -= due;
        cr_assert(t->head.count == left);
    }
    model_check_table(t);
    /* Without times it has no stamps any more. */
    cr_assert(t->head.due_ms == OBJECT_NEVER);
    cr_assert(t->due == NULL);
    destroy(t);
}

Test(strtab, expiring_stops_and_goes_on) {
    enum { N = 10000, BUDGET = 50 };
    struct strtab *t = create();
    for (uint32_t id = 0; id < N; id++)
        cr_assert(insert(t, id, 1000));
    unsigned removed = 0, calls = 0;
    for (; t->head.count > 0; calls++) {
        unsigned budget = BUDGET;
        unsigned some = strtab_expire_some(&mem, &t->head, 1001, &budget);
        cr_assert(some <= (unsigned)(BUDGET + BUCKET_PLACES * t->depth));
        cr_assert((int64_t)t->head.bytes == mem.used_bytes);
        cr_assert(budget == 0 || t->head.count == 0);
        removed += some;
    }
    cr_assert(removed == N);
    cr_assert(calls > N / BUDGET);
    unsigned budget = 10;
    cr_assert(strtab_expire_some(&mem, &t->head, 2000, &budget) == 0);
    destroy(t);
}

/* --- all of it --- */

Test(strtab, destroying_is_bounded) {
    enum { N = 30000, BUDGET = 64 };
    struct strtab *t = create();
    for (uint32_t id = 0; id < N; id++)
        cr_assert(insert(t, id, id % 5 == 0 ? 1000 + id : FIELDS_NEVER));
    cr_assert(t->head.weight >= N);
    size_t item_most = mem_size(12) + sizeof(struct bucket);
    unsigned slices = 0;
    for (;; slices++) {
        int64_t used = mem.used_bytes;
        unsigned budget = BUDGET, depth = t->depth;
        bool gone = strtab_destroy_some(&mem, &t->head, &budget);
        int64_t freed = used - mem.used_bytes;
        if (gone)
            break;
        cr_assert(budget == 0);
        cr_assert((int64_t)t->head.bytes == mem.used_bytes);
        cr_assert(freed <= (int64_t)((BUDGET + depth * BUCKET_PLACES) * item_most +
                                     2 * STRTAB_SEGMENT * (sizeof(struct bucket) + 8)));
    }
    cr_assert(mem.used_bytes == 0);
    cr_assert(slices > N / BUDGET / 2);
}

Test(strtab, a_copy_is_made_whole_or_not_at_all) {
    struct strtab *t = create();
    for (uint32_t id = 0; id < 1500; id++)
        cr_assert(insert(t, id, id % 5 == 0 ? 1000 + id : FIELDS_NEVER));
    t->head.flags = 77;
    int64_t used = mem.used_bytes;
    for (unsigned n = 1;; n += 1 + n / 8) {
        mem.fail_in = n;
        struct object *o = strtab_copy(&mem, &t->head);
        bool failed = mem.fail_in == 0;
        mem.fail_in = 0;
        cr_assert(failed == (o == NULL));
        if (o == NULL) {
            cr_assert(mem.used_bytes == used);
            continue;
        }
        struct strtab *copy = CONTAINER_OF(o, struct strtab, head);
        model_check_table(copy);
        cr_assert(copy->head.count == t->head.count);
        cr_assert(copy->head.due_ms == t->head.due_ms);
        cr_assert(copy->head.flags == 77);
        cr_assert(copy->head.type == t->head.type);
        cr_assert((int64_t)copy->head.bytes == mem.used_bytes - used);
        for (uint32_t id = 0; id < 1500; id++)
            take_out(copy, id);
        unsigned budget = UINT32_MAX;
        cr_assert(strtab_destroy_some(&mem, o, &budget));
        break;
    }
    destroy(t);
}
