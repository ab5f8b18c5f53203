/* zsetval_sort.c: results into the order of a sorted set. The C library's qsort may take memory that nobody counts. */
#include "zsetval_impl.h"

enum { FEW = 12 }; /* sorted by insertion */

int zsetval_order(double score, struct span member, double other_score, struct span other_member) {
    if (score != other_score)
        return score < other_score ? -1 : 1;
    return span_order(member, other_member);
}

static bool is_before(const struct zset_pair *a, const struct zset_pair *b) {
    return zsetval_order(a->score, a->member, b->score, b->member) < 0;
}

static void swap(struct zset_pair *a, struct zset_pair *b) {
    struct zset_pair c = *a;
    *a = *b;
    *b = c;
}

static void sort_few(struct zset_pair *p, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct zset_pair pair = p[i];
        size_t at = i;
        for (; at > 0 && is_before(&pair, &p[at - 1]); at--)
            p[at] = p[at - 1];
        p[at] = pair;
    }
}

/* sink: makes a heap of p[i] and the heaps below it; the last one in order is on top. */
static void sink(struct zset_pair *p, size_t i, size_t n) {
    for (size_t child; (child = i * 2 + 1) < n; i = child) {
        if (child + 1 < n && is_before(&p[child], &p[child + 1]))
            child++;
        if (!is_before(&p[i], &p[child]))
            return;
        swap(&p[i], &p[child]);
    }
}

/* sort_heap: for pairs that halving did not halve: slower, but never worse. */
static void sort_heap(struct zset_pair *p, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sink(p, i, n);
    while (n-- > 1) {
        swap(&p[0], &p[n]);
        sink(p, 0, n);
    }
}

/* part: puts what is before some pair on its left; returns where that one is. */
static size_t part(struct zset_pair *p, size_t n) {
    size_t middle = n / 2, last = n - 1;
    if (is_before(&p[middle], &p[0]))
        swap(&p[middle], &p[0]);
    if (is_before(&p[last], &p[0]))
        swap(&p[last], &p[0]);
    if (is_before(&p[last], &p[middle]))
        swap(&p[last], &p[middle]);
    /* p[0] and p[last] stop the two walks. */
    swap(&p[middle], &p[last - 1]);
    const struct zset_pair *pivot = &p[last - 1];
    size_t i = 0, j = last - 1;
    for (;;) {
        while (is_before(&p[++i], pivot)) {
        }
        while (is_before(pivot, &p[--j])) {
        }
        if (i >= j)
            break;
        swap(&p[i], &p[j]);
    }
    swap(&p[i], &p[last - 1]);
    return i;
}

void zsetval_sort(struct zset_pair *pairs, size_t n) {
    unsigned halvings = 0;
    for (size_t m = n; m > 1; m /= 2)
        halvings += 2;
    /* The larger part is sorted by this loop, so there are never more than 64 calls in one another. */
    while (n > FEW) {
        if (halvings == 0) {
            sort_heap(pairs, n);
            return;
        }
        halvings--;
        size_t at = part(pairs, n);
        if (at < n - at - 1) {
            zsetval_sort(pairs, at);
            pairs += at + 1;
            n -= at + 1;
        } else {
            zsetval_sort(pairs + at + 1, n - at - 1);
            n = at;
        }
    }
    sort_few(pairs, n);
}
