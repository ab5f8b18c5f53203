/* types_bench.c: what the structures of src/types cost per operation, from 100 elements to ten million.
 *
 * Use         types_bench [elements max [structure|all [file for JSON]]]; bench/micro/types_plot.py draws the file
 * Method      A structure is built of n elements. Then, CHUNK at a time, others are put in and taken out again, and
 *             elements at random are looked for; what they are is made ready before the clock is read, in memory
 *             that stays in the first-level cache as a request would. The lower quartile of the chunks is shown: the
 *             machine is shared, and what others take away is no property of a structure. So what is rare
 *             (a table that grows, a node that is split) shows up in "build", which is the mean of all.
 */
#include "anax/intset.h"
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHUNK = 64, CHUNKS = 2000, TEXT_BYTES = 16, RANGE = 10, OPS_MAX = 5, BUILD_MIN = 100000 };

struct bench {
    struct mem mem;
    struct rng rng;
    struct val v;
    uint64_t n, sink;
    uint64_t ids[CHUNK];
    char texts[CHUNK][TEXT_BYTES]; /* of the ids */
    uint64_t times_ns[OPS_MAX][CHUNKS];
};

typedef void op_fn(struct bench *b, unsigned i);

struct op {
    const char *name;
    op_fn *run;
};
/* Of the operations the first puts a new element in, the second takes it out; the rest leaves as many as there were and
 * gets elements that are there. */
struct structure {
    const char *name;
    uint8_t type;
    uint64_t elements_max; /* where an operation is O(N) more would take too long */
    struct op ops[OPS_MAX];
};

static struct span text_at(struct bench *b, unsigned i) {
    return (struct span){b->texts[i], TEXT_BYTES};
}

/* Every number below 2^30 once, in an order that looks random. */
static uint32_t scatter(uint64_t id) {
    return (uint32_t)(id * 2654435761U) & ((1U << 30) - 1);
}

/* --- lists --- */

static struct listval_limits list_limits;

static void list_push(struct bench *b, unsigned i) {
    struct span text = text_at(b, i);
    ASSERT(listval_push(&b->v, LISTVAL_TAIL, &text, 1, &list_limits));
}

static void list_pop(struct bench *b, unsigned i) {
    (void)i;
    listval_pop(&b->v, LISTVAL_HEAD, 1, &list_limits);
}

static void list_index(struct bench *b, unsigned i) {
    struct lp_item item;
    ASSERT(listval_at(&b->v, b->ids[i], &item));
    b->sink += item.len;
}

static void list_range(struct bench *b, unsigned i) {
    struct listval_iter it;
    struct lp_item item;
    listval_begin(&it, &b->v, b->ids[i], false);
    for (unsigned n = 0; n < RANGE && listval_next(&it, &item); n++)
        b->sink += item.len;
}

static void list_insert(struct bench *b, unsigned i) {
    ASSERT(listval_insert(&b->v, b->ids[i], text_at(b, i), &list_limits));
    list_pop(b, i);
}

/* --- hashes --- */

static const struct fields_kind table_kind = {.valued = true},
                                pack_kind = {.valued = true,
                                             .entries_max = UINT32_MAX,
                                             .bytes_max = TEXT_BYTES};

static void put_fields(struct bench *b, unsigned i, const struct fields_kind *k) {
    struct span row[] = {text_at(b, i), text_at(b, i)};
    struct fields_put p = {.names = row, .n = 1};
    uint64_t added;
    ASSERT(fields_put(&b->v, k, &p, 1, &added));
    b->sink += added;
}

static void find_fields(struct bench *b, unsigned i, const struct fields_kind *k) {
    struct field f;
    ASSERT(fields_find(&b->v, k, text_at(b, i), 1, &f));
    b->sink += (uint64_t)f.value.ptr[0];
}

static void table_put(struct bench *b, unsigned i) {
    put_fields(b, i, &table_kind);
}

static void table_remove(struct bench *b, unsigned i) {
    ASSERT(fields_remove(&b->v, &table_kind, text_at(b, i), 1));
}

static void table_find(struct bench *b, unsigned i) {
    find_fields(b, i, &table_kind);
}

static void pack_put(struct bench *b, unsigned i) {
    put_fields(b, i, &pack_kind);
}

static void pack_remove(struct bench *b, unsigned i) {
    ASSERT(fields_remove(&b->v, &pack_kind, text_at(b, i), 1));
}

static void pack_find(struct bench *b, unsigned i) {
    find_fields(b, i, &pack_kind);
}

/* --- sets of integers --- */

static void intset_put(struct bench *b, unsigned i) {
    struct val *v = &b->v;
    int64_t id = scatter(b->ids[i]);
    if (v->form == VAL_NONE) {
        ASSERT(val_room(v, INTSET_HEADER));
        intset_init(v->bytes);
        v->form = VAL_INTSET;
    }
    ASSERT(val_room(v, intset_bytes_with(v->bytes, id)));
    b->sink += intset_add(v->bytes, id);
    val_set_len(v, (uint32_t)intset_bytes(v->bytes));
}

static void intset_take(struct bench *b, unsigned i) {
    b->sink += intset_remove(b->v.bytes, scatter(b->ids[i]));
    val_set_len(&b->v, (uint32_t)intset_bytes(b->v.bytes));
}

static void intset_look(struct bench *b, unsigned i) {
    uint32_t at;
    ASSERT(intset_find(b->v.bytes, scatter(b->ids[i]), &at));
    b->sink += at;
}

static const struct set_kind set_kind = {.fields = {.bytes_max = 64}};

static struct span id_text(uint64_t id, char digits[STRVAL_INT_BYTES]) {
    return (struct span){digits, strval_format_int(digits, (int64_t)id)};
}

static void add_id(struct bench *b, uint64_t id) {
    char digits[STRVAL_INT_BYTES];
    struct span text = id_text(id, digits);
    uint64_t added;
    ASSERT(setval_add(&b->v, &set_kind, &text, 1, 1, &added));
    b->sink += added;
}

static void remove_id(struct bench *b, uint64_t id) {
    char digits[STRVAL_INT_BYTES];
    ASSERT(setval_remove(&b->v, &set_kind, id_text(id, digits), 1));
}

static void find_id(struct bench *b, uint64_t id) {
    char digits[STRVAL_INT_BYTES];
    ASSERT(setval_find(&b->v, &set_kind, id_text(id, digits), 1, NULL));
}

static void random_add(struct bench *b, unsigned i) {
    add_id(b, scatter(b->ids[i]));
}

static void random_remove(struct bench *b, unsigned i) {
    remove_id(b, scatter(b->ids[i]));
}

static void random_find(struct bench *b, unsigned i) {
    find_id(b, scatter(b->ids[i]));
}

static void dense_add(struct bench *b, unsigned i) {
    add_id(b, b->ids[i]);
}

static void dense_remove(struct bench *b, unsigned i) {
    remove_id(b, b->ids[i]);
}

static void dense_find(struct bench *b, unsigned i) {
    find_id(b, b->ids[i]);
}

/* Enough consecutive ones that bitmaps they are and bitmaps they stay; what comes then is 64 bits wide, and no two share
 * their upper half. */
enum { SPREAD_FROM = 100000 };

static uint64_t spread(uint64_t id) {
    return id < SPREAD_FROM ? id : id * 0x9e3779b97f4a7c15ULL;
}

static void spread_add(struct bench *b, unsigned i) {
    add_id(b, spread(b->ids[i]));
}

static void spread_remove(struct bench *b, unsigned i) {
    remove_id(b, spread(b->ids[i]));
}

static void spread_find(struct bench *b, unsigned i) {
    find_id(b, spread(b->ids[i]));
}

/* --- sets of members with a time, of which each tenth has come when one is drawn --- */

enum { EARLY_MS = 10, LATE_MS = 1000000, DRAW_MS = 20 };

static void timed_add(struct bench *b, unsigned i) {
    struct span text = text_at(b, i);
    uint64_t added;
    ASSERT(setval_add_timed(&b->v, &set_kind, &text, 1, false,
                            b->ids[i] % 10 == 0 ? EARLY_MS : LATE_MS, 1, &added));
    b->sink += added;
}

static void timed_remove(struct bench *b, unsigned i) {
    ASSERT(setval_remove(&b->v, &set_kind, text_at(b, i), 1));
}

static void timed_find(struct bench *b, unsigned i) {
    int64_t expire_ms;
    ASSERT(setval_find(&b->v, &set_kind, text_at(b, i), 1, &expire_ms));
    b->sink += (uint64_t)expire_ms;
}

static void timed_draw(struct bench *b, unsigned i) {
    struct set_draw d;
    struct lp_item item;
    (void)i;
    setval_draw_begin(&d, &b->v, &set_kind, DRAW_MS);
    ASSERT(setval_draw(&d, &b->rng, &item));
    b->sink += item.len;
}

/* --- sorted sets --- */

static const struct zset_kind tree_kind;

static void tree_add(struct bench *b, unsigned i) {
    struct zset_pair pair = {.member = text_at(b, i), .score = scatter(b->ids[i])};
    struct zset_added added;
    ASSERT(zsetval_add(&b->v, &tree_kind, 0, &pair, 1, &added));
    b->sink += added.added;
}

static void tree_remove(struct bench *b, unsigned i) {
    ASSERT(zsetval_remove(&b->v, text_at(b, i)));
}

static void tree_score(struct bench *b, unsigned i) {
    double score;
    ASSERT(zsetval_score(&b->v, text_at(b, i), &score));
    b->sink += score > 0;
}

static void tree_rank(struct bench *b, unsigned i) {
    uint64_t rank;
    ASSERT(zsetval_rank(&b->v, text_at(b, i), false, &rank, NULL));
    b->sink += rank;
}

static void tree_range(struct bench *b, unsigned i) {
    struct zset_iter it;
    struct zset_item item;
    zsetval_begin(&it, &b->v, b->ids[i], false);
    for (unsigned n = 0; n < RANGE && zsetval_next(&it, &item); n++)
        b->sink += item.member.len;
}

static const struct structure structures[] = {
    {"list",
     VALUE_LIST,
     UINT64_MAX,
     {{"push", list_push},
      {"pop", list_pop},
      {"index", list_index},
      {"range of 10", list_range},
      {"insert and pop", list_insert}}},
    {"table",
     VALUE_HASH,
     UINT64_MAX,
     {{"put", table_put}, {"remove", table_remove}, {"find", table_find}}},
    {"listpack",
     VALUE_HASH,
     1000,
     {{"put", pack_put}, {"remove", pack_remove}, {"find", pack_find}}},
    {"intset",
     VALUE_SET,
     100000,
     {{"add", intset_put}, {"remove", intset_take}, {"find", intset_look}}},
    {"ids-random",
     VALUE_SET,
     UINT64_MAX,
     {{"add", random_add}, {"remove", random_remove}, {"find", random_find}}},
    {"ids-dense",
     VALUE_SET,
     UINT64_MAX,
     {{"add", dense_add}, {"remove", dense_remove}, {"find", dense_find}}},
    {"ids-spread",
     VALUE_SET,
     UINT64_MAX,
     {{"add", spread_add}, {"remove", spread_remove}, {"find", spread_find}}},
    {"timed",
     VALUE_SET,
     UINT64_MAX,
     {{"add", timed_add}, {"remove", timed_remove}, {"find", timed_find}, {"draw", timed_draw}}},
    {"tree",
     VALUE_ZSET,
     UINT64_MAX,
     {{"add", tree_add},
      {"remove", tree_remove},
      {"score", tree_score},
      {"rank", tree_rank},
      {"range of 10", tree_range}}},
};

/* --- measuring --- */

struct row {
    uint64_t n;
    const char *form;
    double build_ns, bytes, ns[OPS_MAX];
};

static void set_id(struct bench *b, unsigned i, uint64_t id) {
    b->ids[i] = id;
    for (size_t at = TEXT_BYTES; at-- > 0; id /= 10)
        b->texts[i][at] = (char)(id > 0 ? '0' + id % 10 : 'm');
}

/* timed: nanoseconds that op takes for the first `count` of a chunk. */
static uint64_t timed(struct bench *b, op_fn *run, unsigned count) {
    uint64_t start_ns = clock_mono_ns();
    for (unsigned i = 0; i < count; i++)
        run(b, i);
    return clock_mono_ns() - start_ns;
}

/* cpu_ns: of this thread alone, for a mean, which an interruption would be part of. Asking takes 0.2 us. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        abort();
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static double build(struct bench *b, const struct structure *s) {
    uint64_t sum_ns = 0;
    for (uint64_t done = 0; done < b->n; done += CHUNK) {
        unsigned count = b->n - done < CHUNK ? (unsigned)(b->n - done) : CHUNK;
        for (unsigned i = 0; i < count; i++)
            set_id(b, i, done + i);
        uint64_t start_ns = cpu_ns();
        (void)timed(b, s->ops[0].run, count);
        sum_ns += cpu_ns() - start_ns;
    }
    return (double)sum_ns / (double)b->n;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *b, const struct structure *s, struct row *r) {
    b->mem = (struct mem){0};
    b->n = r->n;
    val_init(&b->v, &b->mem, s->type);
    /* A few elements are built several times: the first time everything is cold. */
    unsigned rounds = r->n < BUILD_MIN ? (unsigned)(BUILD_MIN / r->n) : 1;
    for (unsigned round = 0; round < rounds; round++) {
        val_destroy(&b->v);
        r->build_ns += build(b, s) / rounds;
    }
    r->bytes = (double)b->mem.used_bytes / (double)b->n;
    r->form = val_form_name(b->v.form);
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        for (unsigned i = 0; i < CHUNK; i++)
            set_id(b, i, b->n + (uint64_t)chunk * CHUNK + i);
        for (unsigned op = 0; op < OPS_MAX && s->ops[op].run != NULL; op++) {
            for (unsigned i = 0; i < CHUNK && op >= 2; i++)
                set_id(b, i, rng_below(&b->rng, b->n));
            b->times_ns[op][chunk] = timed(b, s->ops[op].run, CHUNK);
        }
    }
    for (unsigned op = 0; op < OPS_MAX && s->ops[op].run != NULL; op++) {
        qsort(b->times_ns[op], CHUNKS, sizeof b->times_ns[op][0], by_value);
        r->ns[op] = (double)b->times_ns[op][CHUNKS / 4] / CHUNK;
    }
    val_destroy(&b->v);
    ASSERT(b->mem.used_bytes == 0);
}

static void print_head(const struct structure *s) {
    printf("\n%s: ns per operation\n\n| elements | form | B each | build |", s->name);
    unsigned columns = 4;
    for (unsigned op = 0; op < OPS_MAX && s->ops[op].run != NULL; op++, columns++)
        printf(" %s |", s->ops[op].name);
    printf("\n|");
    while (columns-- > 0)
        printf(" --- |");
    printf("\n");
}

static void print_row(const struct structure *s, const struct row *r) {
    printf("| %llu | %s | %.2f | %.1f |", (unsigned long long)r->n, r->form, r->bytes, r->build_ns);
    for (unsigned op = 0; op < OPS_MAX && s->ops[op].run != NULL; op++)
        printf(" %.1f |", r->ns[op]);
    printf("\n");
    if (fflush(stdout) != 0)
        abort();
}

static void write_json(FILE *f, const struct structure *s, const struct row *r) {
    static const char *comma = "";
    (void)fprintf(f,
                  "%s\n{\"structure\": \"%s\", \"form\": \"%s\", \"elements\": %llu, "
                  "\"bytes_each\": %.3f, \"ns\": {\"build\": %.2f",
                  comma, s->name, r->form, (unsigned long long)r->n, r->bytes, r->build_ns);
    for (unsigned op = 0; op < OPS_MAX && s->ops[op].run != NULL; op++)
        (void)fprintf(f, ", \"%s\": %.2f", s->ops[op].name, r->ns[op]);
    (void)fprintf(f, "}}");
    comma = ",";
}

int main(int argc, char **argv) {
    static struct bench b;
    const uint64_t seed = 1;
    uint64_t elements_max = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    const char *which = argc > 2 ? argv[2] : "all";
    FILE *json = argc > 3 ? fopen(argv[3], "w") : NULL;
    if (hash_seed(&seed) != OK || (argc > 3 && json == NULL))
        return 1;
    rng_seed(&b.rng, seed);
    list_limits = listval_limits_of(-2);
    if (json != NULL)
        (void)fprintf(json, "[");
    for (size_t i = 0; i < COUNT_OF(structures); i++) {
        const struct structure *s = &structures[i];
        if (strcmp(which, "all") != 0 && strcmp(which, s->name) != 0)
            continue;
        print_head(s);
        for (uint64_t n = 100; n <= elements_max && n <= s->elements_max; n *= 10) {
            struct row r = {.n = n};
            measure(&b, s, &r);
            print_row(s, &r);
            if (json != NULL)
                write_json(json, s, &r);
        }
    }
    if (json != NULL && (fprintf(json, "\n]\n") < 0 || fclose(json) != 0))
        return 1;
    return 0;
}
