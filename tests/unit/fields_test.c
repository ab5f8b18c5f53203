/* fields_test: rows of names with optional values and times, in all forms, against a model and with memory that fails. */
#include "fields_model.h"
#include <criterion/criterion.h>

static struct model model;

static uint32_t draw(void *arg, uint32_t below) {
    return (uint32_t)rng_below(arg, below);
}

static void init(void) {
    static const uint64_t seed = 5;
    cr_assert(hash_seed(&seed) == OK);
}

static void run(uint64_t seed, bool valued, uint64_t entries_max, uint32_t names, bool fails,
                unsigned steps) {
    struct rng r;
    rng_seed(&r, seed);
    model_begin(&model, valued, entries_max);
    model.names = names;
    model.fails = fails;
    model.draw = draw;
    model.arg = &r;
    for (unsigned i = 0; i < steps; i++) {
        model_step(&model);
        if (names <= 64 || i % 64 == 0)
            model_check(&model);
    }
    model_end(&model);
}

TestSuite(fields, .init = init);

Test(fields, small_ones_do_what_a_model_does) {
    for (uint64_t seed = 0; seed < 60; seed++)
        run(seed, seed % 2 != 0, 128, 1 + (uint32_t)seed % 40, false, 300);
}

Test(fields, small_ones_with_memory_that_fails) {
    uint64_t failed = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        run(seed, seed % 2 != 0, 128, 1 + (uint32_t)seed % 40, true, 300);
        failed += model.failed;
    }
    cr_assert(failed > 100);
}

Test(fields, conversions_do_what_a_model_does) {
    for (uint64_t seed = 0; seed < 60; seed++)
        run(seed, seed % 2 != 0, seed % 30, 64, seed % 3 == 0, 300);
}

Test(fields, tables_do_what_a_model_does) {
    for (uint64_t seed = 0; seed < 4; seed++)
        run(seed, seed % 2 != 0, 16, MODEL_NAMES_MAX, false, 6000);
}

Test(fields, tables_with_memory_that_fails) {
    uint64_t failed = 0;
    for (uint64_t seed = 0; seed < 4; seed++) {
        run(seed, seed % 2 != 0, 16, 600, true, 3000);
        failed += model.failed;
    }
    cr_assert(failed > 100);
}

/* --- when it becomes what --- */

struct fixture {
    struct mem mem;
    struct val v;
    struct fields_kind kind;
};

static void fixture_init(struct fixture *f, bool valued) {
    *f = (struct fixture){.kind = {valued, 4, 10}};
    val_init(&f->v, &f->mem, valued ? VALUE_HASH : VALUE_SET);
}

static void fixture_deinit(struct fixture *f) {
    val_destroy(&f->v);
    cr_assert(f->mem.used_bytes == 0);
}

static struct span text(const char *s) {
    return (struct span){s, strlen(s)};
}

/* Returns how many were added. */
static uint64_t put(struct fixture *f, const char *name, const char *value) {
    struct span names[2] = {text(name), text(value)};
    struct fields_put p = {.names = names, .n = 1};
    uint64_t added;
    cr_assert(fields_put(&f->v, &f->kind, &p, 1, &added));
    return added;
}

static bool has(const struct fixture *f, const char *name, const char *value) {
    struct field out;
    return fields_find(&f->v, &f->kind, text(name), 1, &out) && span_eq(out.value, text(value));
}

Test(fields, becomes_a_table_with_one_entry_too_many) {
    struct fixture f;
    fixture_init(&f, true);
    for (char name[] = "a"; name[0] < 'e'; name[0]++)
        cr_assert(put(&f, name, "1") == 1);
    cr_assert(put(&f, "b", "2") == 0);
    cr_assert(f.v.form == VAL_LISTPACK);
    cr_assert(put(&f, "e", "1") == 1);
    cr_assert(f.v.form == VAL_TABLE);
    cr_assert(has(&f, "b", "2"));
    cr_assert(has(&f, "e", "1"));
    for (char name[] = "a"; name[0] <= 'e'; name[0]++)
        cr_assert(fields_remove(&f.v, &f.kind, text(name), 1));
    cr_assert(f.v.form == VAL_TABLE);
    cr_assert(fields_count(&f.v, &f.kind) == 0);
    fixture_deinit(&f);
}

Test(fields, becomes_a_table_with_a_long_text) {
    struct fixture f;
    fixture_init(&f, true);
    cr_assert(put(&f, "a", "0123456789") == 1);
    cr_assert(f.v.form == VAL_LISTPACK);
    cr_assert(put(&f, "a", "01234567890") == 0);
    cr_assert(f.v.form == VAL_TABLE);
    cr_assert(has(&f, "a", "01234567890"));
    fixture_deinit(&f);
    fixture_init(&f, false);
    cr_assert(put(&f, "01234567890", "") == 1);
    cr_assert(f.v.form == VAL_TABLE);
    fixture_deinit(&f);
}

Test(fields, counts_different_names_before_it_becomes_a_table) {
    struct fixture f;
    fixture_init(&f, false);
    uint64_t added;
    const struct span names[] = {SPAN("a"), SPAN("b"), SPAN("a"), SPAN("c")};
    struct fields_put p = {.names = names, .n = 4};
    cr_assert(put(&f, "a", "") == 1);
    cr_assert(put(&f, "x", "") == 1);
    cr_assert(fields_put(&f.v, &f.kind, &p, 1, &added));
    cr_assert(added == 2);
    cr_assert(f.v.form == VAL_LISTPACK);
    p.only_new = true;
    cr_assert(fields_put(&f.v, &f.kind, &p, 1, &added));
    cr_assert(added == 0);
    cr_assert(f.v.form == VAL_LISTPACK);
    fixture_deinit(&f);
}

Test(fields, has_times_from_the_first_one_on) {
    struct fixture f;
    fixture_init(&f, true);
    (void)put(&f, "a", "1");
    (void)put(&f, "b", "2");
    struct field_time times[] = {{SPAN("z"), 50}, {SPAN("a"), FIELDS_NEVER}};
    cr_assert(fields_set_times(&f.v, &f.kind, times, 2, 1));
    cr_assert(f.v.form == VAL_LISTPACK);
    times[0].name = text("b");
    cr_assert(fields_set_times(&f.v, &f.kind, times, 2, 1));
    cr_assert(f.v.form == VAL_LISTPACK_TTL);
    cr_assert(fields_due_ms(&f.v) == 50);
    cr_assert(fields_count(&f.v, &f.kind) == 2);
    /* It is there at its time, and not afterwards. */
    struct field out;
    cr_assert(fields_find(&f.v, &f.kind, text("b"), 50, &out));
    cr_assert(!fields_find(&f.v, &f.kind, text("b"), 51, &out));
    cr_assert(!fields_remove(&f.v, &f.kind, text("b"), 51));
    cr_assert(fields_count(&f.v, &f.kind) == 1);
    cr_assert(fields_due_ms(&f.v) == OBJECT_NEVER);
    cr_assert(f.v.form == VAL_LISTPACK_TTL);
    fixture_deinit(&f);
}

Test(fields, long_rows_move_to_where_their_time_belongs) {
    static char values[5][1000];
    static const int64_t orders[][5] = {
        {50, 40, 30, 20, 10}, {10, 50, 20, 40, 30}, {30, 0, 10, 0, 20}};
    for (unsigned i = 0; i < 5; i++)
        model_fill(values[i], sizeof values[i], i);
    for (unsigned o = 0; o < COUNT_OF(orders); o++) {
        struct fixture f;
        fixture_init(&f, true);
        f.kind = (struct fields_kind){true, 5, 1000};
        for (unsigned round = 0; round < 5; round++)
            for (unsigned i = 0; i < 5; i++) {
                char name[] = {(char)('a' + i), 0};
                const struct span row[] = {text(name), {values[i], 200 * (i + 1)}};
                struct fields_put p = {.names = row, .n = 1, .time = FIELDS_TIME_SET};
                uint64_t added;
                p.expire_ms = orders[o][(i + round) % 5];
                cr_assert(fields_put(&f.v, &f.kind, &p, 1, &added));
                cr_assert(added == (round == 0));
            }
        cr_assert(f.v.form == VAL_LISTPACK_TTL);
        struct fields_iter i;
        struct field out;
        int64_t before_ms = 0;
        unsigned rows = 0;
        for (fields_begin(&i, &f.v, &f.kind, 1); fields_next(&i, &out); rows++) {
            unsigned n = (unsigned)(out.name.ptr[0] - 'a');
            int64_t ms = out.expire_ms == FIELDS_NEVER ? OBJECT_NEVER : out.expire_ms;
            cr_assert(out.expire_ms == orders[o][(n + 4) % 5]);
            cr_assert(span_eq(out.value, (struct span){values[n], 200 * (n + 1)}));
            cr_assert(ms >= before_ms);
            before_ms = ms;
        }
        cr_assert(rows == 5);
        fixture_deinit(&f);
    }
}

Test(fields, a_row_that_has_no_time_pays_nothing_for_losing_it) {
    struct fixture f;
    fixture_init(&f, true);
    f.kind.entries_max = 0;
    (void)put(&f, "0123456", "0123456"); /* with a time it would not be 16 bytes */
    int64_t used = f.mem.used_bytes;
    struct field_time time = {SPAN("0123456"), FIELDS_NEVER};
    cr_assert(fields_set_times(&f.v, &f.kind, &time, 1, 1));
    cr_assert(f.mem.used_bytes == used);
    fixture_deinit(&f);
}

Test(fields, times_that_are_too_late_are_the_last_one) {
    struct fixture f;
    struct field out;
    for (f.kind.entries_max = 0; f.kind.entries_max <= 4; f.kind.entries_max += 4) {
        uint64_t entries_max = f.kind.entries_max;
        fixture_init(&f, true);
        f.kind.entries_max = entries_max;
        (void)put(&f, "a", "1");
        struct field_time time = {SPAN("a"), INT64_MAX};
        cr_assert(fields_set_times(&f.v, &f.kind, &time, 1, 1));
        cr_assert(fields_find(&f.v, &f.kind, text("a"), 1, &out));
        cr_assert(out.expire_ms == FIELDS_TIME_MAX);
        fixture_deinit(&f);
    }
}

/* --- what a put costs when memory fails --- */

Test(fields, inv1_each_allocation_of_a_put_may_fail) {
    static char texts[3][200];
    for (unsigned i = 0; i < 3; i++)
        memset(texts[i], 'a' + (int)i, sizeof texts[i]);
    const struct span rows[] = {SPAN("old"),      {texts[0], 200}, SPAN("new"), {texts[1], 200},
                                {texts[2], 200},  SPAN("1"),       SPAN("old"), SPAN("2"),
                                SPAN("same len"), SPAN("b")};
    for (unsigned times = 0; times < 2; times++) {
        struct fixture f;
        fixture_init(&f, true);
        (void)put(&f, "old", "0123456789");
        (void)put(&f, "same len", "a");
        struct fields_put p = {.names = rows,
                               .n = 5,
                               .time = times != 0 ? FIELDS_TIME_SET : FIELDS_TIME_KEEP,
                               .expire_ms = 70};
        uint64_t added;
        unsigned failed = 0;
        int64_t used = f.mem.used_bytes;
        for (unsigned n = 1;; n++, failed++) {
            f.mem.fail_in = n;
            if (fields_put(&f.v, &f.kind, &p, 1, &added))
                break;
            cr_assert(f.mem.fail_in == 0);
            cr_assert(f.mem.used_bytes == used);
            cr_assert(fields_count(&f.v, &f.kind) == 2);
            cr_assert(has(&f, "old", "0123456789"));
            cr_assert(has(&f, "same len", "a"));
        }
        f.mem.fail_in = 0;
        /* table, bucket, two rows that are there; then each new item but the one of the same length: and a time
         * takes two arrays and more room in this one too. */
        cr_assert(failed == (times != 0 ? 11 : 8), "%u: %u", times, failed);
        cr_assert(added == 2);
        cr_assert(has(&f, "old", "2"));
        cr_assert(has(&f, "same len", "b"));
        fixture_deinit(&f);
    }
}

Test(fields, inv5_a_dead_row_is_replaced_and_counts_as_new) {
    for (unsigned form = 0; form < 2; form++) {
        struct fixture f;
        struct field out;
        fixture_init(&f, true);
        f.kind.entries_max = form == 0 ? 4 : 0;
        (void)put(&f, "a", "1");
        (void)put(&f, "b", "1");
        struct field_time time = {SPAN("a"), 50};
        cr_assert(fields_set_times(&f.v, &f.kind, &time, 1, 1));
        const struct span rows[] = {SPAN("a"), SPAN("2"), SPAN("a"), SPAN("3")};
        struct fields_put p = {.names = rows, .n = 2, .only_new = true, .time = FIELDS_TIME_KEEP};
        uint64_t added;
        cr_assert(fields_put(&f.v, &f.kind, &p, 51, &added));
        cr_assert(added == 1);
        cr_assert(fields_find(&f.v, &f.kind, text("a"), 1000, &out));
        cr_assert(out.expire_ms == FIELDS_NEVER);
        cr_assert(span_eq(out.value, text("2")));
        fixture_deinit(&f);
    }
}

Test(fields, random_is_fair_among_the_living) {
    enum { NAMES = 40, DRAWS = 40000 };
    for (unsigned form = 0; form < 2; form++) {
        struct fixture f;
        struct field out;
        struct rng r;
        unsigned drawn[NAMES] = {0};
        rng_seed(&r, 1);
        fixture_init(&f, false);
        f.kind.entries_max = form == 0 ? NAMES : 0;
        for (unsigned i = 0; i < NAMES; i++) {
            char name[12];
            (void)snprintf(name, sizeof name, "%u", i);
            (void)put(&f, name, "");
            struct field_time time = {text(name), 10 + i};
            cr_assert(fields_set_times(&f.v, &f.kind, &time, 1, 1));
        }
        for (unsigned i = 0; i < DRAWS; i++) {
            cr_assert(fields_random(&f.v, &f.kind, &r, 30, &out));
            char name[12] = ""; /* what follows a name in memory may be a digit */
            memcpy(name, out.name.ptr, out.name.len);
            drawn[atoi(name)]++;
        }
        /* 20 are alive; chi-square with 19 degrees of freedom, 1 in 10,000 */
        double expected = DRAWS / 20.0, chi = 0;
        for (unsigned i = 0; i < 20; i++)
            cr_assert(drawn[i] == 0);
        for (unsigned i = 20; i < NAMES; i++)
            chi += (drawn[i] - expected) * (drawn[i] - expected) / expected;
        cr_assert(chi < 50.8, "%f", chi);
        cr_assert(!fields_random(&f.v, &f.kind, &r, 1000, &out));
        fixture_deinit(&f);
    }
}
