/* zsetval_fuzz: a listpack and a tree are told the same, and must say the same. The input is a program: each operation is a byte
 * and what it needs; some of them run with an allocation that fails. */
#include "../../src/types/btree_impl.h"
#include "anax/listpack.h"
#include "anax/zsetval.h"
#include "shards/assert.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAIRS_MAX = 8, MEMBER_MAX = 160, FORMS = 2, ELEMENTS_MAX = 400 };

struct program {
    const uint8_t *at, *end;
};

struct world {
    struct mem mem[FORMS];
    struct val val[FORMS];
};

static const struct zset_kind kinds[FORMS] = {{.entries_max = 1 << 20, .bytes_max = 1 << 20}, {0}};

static uint8_t next(struct program *p) {
    return p->at < p->end ? *p->at++ : 0;
}

static double next_score(struct program *p) {
    static const double some[] = {0, 1, -1, 0.5, 1e17, INFINITY, -INFINITY, -0.0};
    uint8_t b = next(p);
    return b < 128 ? b / 4 : b < 192 ? some[b % COUNT_OF(some)] : (double)b * next(p) / 7;
}

/* next_member: a few bytes say which of many names, some of them long, some with the same beginning. */
static struct span next_member(struct program *p, char text[MEMBER_MAX]) {
    uint8_t a = next(p), b = next(p);
    size_t len = 0;
    if (a % 8 == 7) {
        len = 8 + b % 140;
        memset(text, 'x', len);
    } else if (a % 8 == 6) {
        memcpy(text, "123456789", len = 9);
    }
    text[len++] = (char)('0' + a / 8 % 10);
    text[len++] = (char)('0' + b % 10);
    if (a % 8 == 5)
        text[len++] = (char)b;
    return (struct span){text, len};
}

static void check(const struct world *w) {
    const struct val *flat = &w->val[0], *tree = &w->val[1];
    struct zset_iter i, j;
    struct zset_item a, b;
    ASSERT(zsetval_count(flat) == zsetval_count(tree));
    zsetval_begin(&i, flat, 0, false);
    zsetval_begin(&j, tree, 0, false);
    while (zsetval_next(&i, &a)) {
        ASSERT(zsetval_next(&j, &b));
        ASSERT(a.score == b.score);
        ASSERT(span_eq(a.member, b.member));
    }
    ASSERT(!zsetval_next(&j, &b));
    for (unsigned form = 0; form < FORMS; form++)
        ASSERT(val_bytes(&w->val[form]) == (size_t)w->mem[form].used_bytes);
    if (flat->form == VAL_LISTPACK)
        ASSERT(lp_valid(flat->bytes, flat->len));
    if (tree->form == VAL_TREE)
        btree_check((const struct btree *)tree->big);
}

static void add(struct world *w, struct program *p) {
    static const unsigned all_flags[] = {
        0, ZSET_NX, ZSET_XX, ZSET_GT, ZSET_LT, ZSET_INCR, ZSET_INCR | ZSET_GT, ZSET_XX | ZSET_LT};
    struct zset_pair pairs[FORMS][PAIRS_MAX];
    char texts[PAIRS_MAX][MEMBER_MAX];
    struct zset_added sum[FORMS];
    uint8_t b = next(p);
    unsigned flags = all_flags[b % COUNT_OF(all_flags)];
    size_t n = flags & ZSET_INCR ? 1 : 1 + b / 8 % PAIRS_MAX;
    uint64_t fail_in = b >= 192 ? 1 + b % 7 : 0;
    for (size_t i = 0; i < n; i++) {
        pairs[0][i].member = next_member(p, texts[i]);
        pairs[0][i].score = next_score(p);
        pairs[1][i] = pairs[0][i];
    }
    if (zsetval_count(&w->val[0]) + n > ELEMENTS_MAX)
        return;
    /* First the tree, with the failure; what it refused the listpack is not told. */
    w->mem[1].fail_in = fail_in;
    bool added = zsetval_add(&w->val[1], &kinds[1], flags, pairs[1], n, &sum[1]);
    w->mem[1].fail_in = 0;
    if (!added)
        return;
    added = zsetval_add(&w->val[0], &kinds[0], flags, pairs[0], n, &sum[0]);
    ASSERT(added);
    ASSERT(sum[0].added == sum[1].added);
    ASSERT(sum[0].updated == sum[1].updated);
    ASSERT(sum[0].nan == sum[1].nan);
    for (size_t i = 0; i < n; i++) {
        ASSERT(pairs[0][i].outcome == pairs[1][i].outcome);
        if (pairs[0][i].outcome != ZSET_NAN && pairs[0][i].outcome != ZSET_NOP)
            ASSERT(pairs[0][i].score == pairs[1][i].score);
    }
}

static void take(struct world *w, struct program *p) {
    char text[MEMBER_MAX];
    uint8_t b = next(p);
    if (b < 200) {
        struct span member = next_member(p, text);
        bool was = w->val[0].form != VAL_NONE && zsetval_remove(&w->val[0], member);
        ASSERT(zsetval_remove(&w->val[1], member) == was);
        return;
    }
    uint64_t from = next(p), to = from + next(p) / 4;
    for (unsigned form = 0; form < FORMS; form++) {
        w->mem[form].fail_in = b % 2; /* it needs none */
        zsetval_remove_range(&w->val[form], from, to);
        w->mem[form].fail_in = 0;
    }
}

static void ask(const struct world *w, struct program *p) {
    char text[MEMBER_MAX];
    struct span member = next_member(p, text);
    double score[FORMS] = {next_score(p), 0}, bound = score[0];
    uint64_t rank[FORMS] = {0, 0};
    bool reverse = next(p) % 2, there[FORMS];
    score[1] = score[0];
    for (unsigned form = 0; form < FORMS; form++)
        there[form] = zsetval_rank(&w->val[form], member, reverse, &rank[form], &score[form]);
    ASSERT(there[0] == there[1]);
    ASSERT(rank[0] == rank[1]);
    ASSERT(score[0] == score[1]);
    for (unsigned or_equal = 0; or_equal < 2; or_equal++)
        ASSERT(zsetval_rank_of_score(&w->val[0], bound, or_equal) ==
               zsetval_rank_of_score(&w->val[1], bound, or_equal));
}

static void count_visit(void *arg, const struct zset_item *e) {
    ASSERT(e->member.len > 0);
    ++*(uint64_t *)arg;
}

/* renew: scans the tree, and makes it anew of a copy. */
static void renew(struct world *w, struct program *p) {
    uint64_t cursor = 0, visited = 0;
    struct val copy;
    do
        cursor = zsetval_scan(&w->val[1], cursor, 1 + next(p) % 16, count_visit, &visited);
    while (cursor != 0);
    ASSERT(visited == zsetval_count(&w->val[1]));
    int64_t used = w->mem[1].used_bytes;
    val_init(&copy, &w->mem[1], VALUE_ZSET);
    w->mem[1].fail_in = next(p) % 16;
    bool copied = val_copy(&copy, &w->val[1]);
    w->mem[1].fail_in = 0;
    if (!copied) {
        ASSERT(w->mem[1].used_bytes == used);
        return;
    }
    val_destroy(&w->val[1]);
    w->val[1] = copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t seed = 1;
    struct program p = {data, data + size};
    struct world w = {0};
    if (hash_seed(&seed) != OK)
        return 0;
    for (unsigned form = 0; form < FORMS; form++)
        val_init(&w.val[form], &w.mem[form], VALUE_ZSET);
    while (p.at < p.end) {
        switch (next(&p) % 8) {
        case 5:
            take(&w, &p);
            break;
        case 6:
            ask(&w, &p);
            break;
        case 7:
            renew(&w, &p);
            break;
        default:
            add(&w, &p);
        }
        check(&w);
    }
    for (unsigned form = 0; form < FORMS; form++) {
        val_destroy(&w.val[form]);
        ASSERT(w.mem[form].used_bytes == 0);
    }
    return 0;
}
