/* listval_fuzz: any sequence of operations leaves a list whose invariants hold and which has the elements that a plain
 * array has. The first byte chooses limits and whether memory fails; then each operation is a few bytes. */
#include "anax/listval.h"
#include "shards/assert.h"

#include <stdlib.h>

enum { MODEL_MAX = 4096, TEXT_MAX = 700 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

/* One element of the model: a byte repeated, or an integer; both are said by these. */
struct element {
    uint16_t len;
    uint8_t what;
    bool is_int;
};

struct world {
    struct mem mem;
    struct val v;
    struct listval_limits limits;
    struct input in;
    struct element model[MODEL_MAX];
    uint32_t n;
    bool fails, memory_was_there;
};

static uint32_t next(struct input *in, uint32_t bound) {
    uint32_t v = 0;
    for (uint32_t span = 1; span < bound && in->at < in->end; span <<= 8)
        v = v << 8 | *in->at++;
    return bound == 0 ? 0 : v % bound;
}

static struct span text_of(const struct element *e, char to[TEXT_MAX]) {
    if (e->is_int)
        return (struct span){to, strval_format_int(to, (int64_t)e->what << e->len)};
    memset(to, 'a' + e->what % 4, e->len);
    return (struct span){to, e->len};
}

static struct element some_element(struct world *w) {
    struct element e = {.what = (uint8_t)next(&w->in, 256)};
    uint32_t kind = next(&w->in, 8);
    e.is_int = kind == 0;
    e.len = (uint16_t)(e.is_int   ? next(&w->in, 48)
                       : kind < 5 ? 12
                       : kind < 7 ? next(&w->in, 60)
                                  : next(&w->in, TEXT_MAX));
    return e;
}

static void model_insert(struct world *w, uint32_t at, struct element e) {
    memmove(w->model + at + 1, w->model + at, (w->n - at) * sizeof(e));
    w->model[at] = e;
    w->n++;
}

static void model_remove(struct world *w, uint32_t from, uint32_t n) {
    memmove(w->model + from, w->model + from + n, (w->n - from - n) * sizeof(*w->model));
    w->n -= n;
}

static bool same(const struct element *a, const struct element *b) {
    char x[TEXT_MAX], y[TEXT_MAX];
    return span_eq(text_of(a, x), text_of(b, y));
}

static void check(struct world *w) {
    struct listval_iter i;
    struct lp_item item;
    char text[TEXT_MAX], digits[STRVAL_INT_BYTES];
    listval_check(&w->v, &w->limits, w->memory_was_there);
    ASSERT(listval_count(&w->v) == w->n);
    bool backward = w->n % 2 == 1;
    listval_begin(&i, &w->v, backward ? w->n - 1 : 0, backward);
    for (uint32_t j = 0; j < w->n; j++) {
        const struct element *e = &w->model[backward ? w->n - 1 - j : j];
        bool there = listval_next(&i, &item);
        ASSERT(there);
        ASSERT(span_eq(lp_item_text(&item, digits), text_of(e, text)));
    }
    ASSERT(!listval_next(&i, &item));
}

static void push(struct world *w, enum listval_end end) {
    enum { MANY = 4 };
    char text[MANY][TEXT_MAX];
    struct span spans[MANY];
    struct element e[MANY];
    uint32_t n = 1 + next(&w->in, MANY);
    for (uint32_t i = 0; i < n; i++) {
        e[i] = some_element(w);
        spans[i] = text_of(&e[i], text[i]);
    }
    if (!listval_push(&w->v, end, spans, n, &w->limits))
        return;
    for (uint32_t i = 0; i < n; i++)
        model_insert(w, end == LISTVAL_HEAD ? 0 : w->n, e[i]);
}

static void edit(struct world *w, bool set) {
    char text[TEXT_MAX];
    struct element e = some_element(w);
    uint32_t at = next(&w->in, w->n + !set);
    if (!(set ? listval_set : listval_insert)(&w->v, at, text_of(&e, text), &w->limits))
        return;
    if (set)
        model_remove(w, at, 1);
    model_insert(w, at, e);
}

static void rotate(struct world *w, enum listval_end from) {
    struct element e = w->model[from == LISTVAL_HEAD ? 0 : w->n - 1];
    if (!listval_rotate(&w->v, from, &w->limits))
        return;
    model_remove(w, from == LISTVAL_HEAD ? 0 : w->n - 1, 1);
    model_insert(w, from == LISTVAL_HEAD ? w->n : 0, e);
}

static void pop(struct world *w, enum listval_end end) {
    uint32_t n = next(&w->in, w->n + 1);
    listval_pop(&w->v, end, n, &w->limits);
    model_remove(w, end == LISTVAL_HEAD ? 0 : w->n - n, n);
}

static void keep(struct world *w) {
    uint32_t from = next(&w->in, w->n), to = from + 1 + next(&w->in, w->n - from);
    unsigned budget = UINT32_MAX;
    struct object *rest;
    listval_keep(&w->v, from, to, &w->limits, &rest);
    if (rest != NULL)
        ASSERT(listval_ops.destroy_some(&w->mem, rest, &budget));
    model_remove(w, to, w->n - to);
    model_remove(w, 0, from);
}

static void remove_equal(struct world *w, enum listval_end from) {
    char text[TEXT_MAX];
    struct element e = w->model[next(&w->in, w->n)];
    uint32_t max = 1 + next(&w->in, 256), removed = 0;
    uint64_t got = listval_remove_equal(&w->v, text_of(&e, text), from, max, &w->limits);
    listval_settle(&w->v, &w->limits);
    for (uint32_t i = w->n, at = 0; i > 0 && removed < max; i--) {
        uint32_t j = from == LISTVAL_HEAD ? at : i - 1;
        if (same(&w->model[j], &e)) {
            model_remove(w, j, 1);
            removed++;
        } else {
            at++;
        }
    }
    ASSERT(got == removed);
}

static void operate(struct world *w) {
    uint32_t op = w->n == 0 ? next(&w->in, 2) : w->n > MODEL_MAX - 8 ? 5 : next(&w->in, 11);
    enum listval_end end = op % 2 == 0 ? LISTVAL_HEAD : LISTVAL_TAIL;
    w->mem.fail_in = w->fails ? next(&w->in, 6) : 0;
    if (op < 2)
        push(w, end);
    else if (op < 4)
        edit(w, op == 2);
    else if (op < 6)
        pop(w, end);
    else if (op < 8)
        rotate(w, end);
    else if (op < 10)
        remove_equal(w, end);
    else
        keep(w);
    w->mem.fail_in = 0;
    if (w->n == 0)
        val_destroy(&w->v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world w;
    w = (struct world){.in = {data, data + size}, .memory_was_there = true};
    uint32_t how = next(&w.in, 256), bytes = 128U << how % 4;
    uint32_t count = how & 4 ? 20 : UINT32_MAX;
    w.limits = (struct listval_limits){bytes, bytes, count, bytes / 2, count / 2};
    w.fails = how & 8;
    w.memory_was_there = !w.fails;
    val_init(&w.v, &w.mem, VALUE_LIST);
    while (w.in.at < w.in.end) {
        operate(&w);
        check(&w);
    }
    val_destroy(&w.v);
    ASSERT(w.mem.used_bytes == 0);
    return 0;
}
