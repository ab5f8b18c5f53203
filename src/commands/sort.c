/* sort.c: SORT and SORT_RO: options, order, and what comes out. See sort_impl.h. */
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "shards/assert.h"
#include "shards/decimal.h"
#include "sort_impl.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { NUMBER_TEXT_MAX = 512 };

const char SORT_NOT_NUMBERS[] = "ERR One or more scores can't be converted into double";

/* --- options --- */

static bool has_star(struct span s) {
    return s.len != 0 && memchr(s.ptr, '*', s.len) != NULL;
}

/* words_of: how many arguments an option takes, itself included. */
static uint32_t words_of(struct span word) {
    if (span_is(word, "LIMIT"))
        return 3;
    return span_is(word, "BY") || span_is(word, "GET") || span_is(word, "STORE") ? 2 : 1;
}

static bool parse_limit(const struct span *argv, uint32_t i, struct sort_spec *s,
                        const char **error) {
    if (strval_parse_int(argv[i + 1], &s->start) && strval_parse_int(argv[i + 2], &s->count))
        return true;
    *error = ERR_NOT_INT;
    return false;
}

bool sort_parse(const struct span *argv, uint32_t argc, bool may_store, struct sort_spec *s,
                const char **error) {
    *s = (struct sort_spec){.count = -1};
    for (uint32_t i = 2, n; i < argc; i += n) {
        n = words_of(argv[i]);
        if (i + n > argc) {
            *error = ERR_SYNTAX;
            return false;
        }
        if (span_is(argv[i], "ASC")) {
            s->desc = false;
        } else if (span_is(argv[i], "DESC")) {
            s->desc = true;
        } else if (span_is(argv[i], "ALPHA")) {
            s->alpha = true;
        } else if (span_is(argv[i], "LIMIT")) {
            if (!parse_limit(argv, i, s, error))
                return false;
        } else if (span_is(argv[i], "BY")) {
            s->by = has_star(argv[i + 1]) ? i + 1 : 0;
            s->as_they_come |= s->by == 0;
        } else if (span_is(argv[i], "GET")) {
            s->gets++;
            s->found |= has_star(argv[i + 1]);
        } else if (span_is(argv[i], "STORE") && may_store) {
            s->store = i + 1;
        } else {
            *error = ERR_SYNTAX;
            return false;
        }
    }
    if (s->as_they_come)
        s->by = 0;
    s->lookups = s->found || s->by != 0;
    return true;
}

uint32_t sort_next_get(const struct span *argv, uint32_t argc, uint32_t from) {
    for (uint32_t i = 2; i < argc; i += words_of(argv[i]))
        if (i + 1 > from && span_is(argv[i], "GET"))
            return i + 1;
    return 0;
}

static bool may_store(const struct command *cmd) {
    return (cmd->flags & CMD_WRITE) != 0;
}

bool sort_check(struct ctx *c) {
    struct sort_spec s;
    const char *error;
    if (sort_parse(c->argv, c->argc, may_store(c->cmd), &s, &error))
        return true;
    reply_error(&c->reply, error);
    return false;
}

/* sort_keys: the key and, behind STORE, another, whatever else is wrong with the arguments. */
static bool sort_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                      uint32_t *step) {
    *first = *last = *step = 1;
    for (uint32_t i = 2; i + 1 < argc; i += words_of(argv[i])) {
        if (span_is(argv[i], "STORE")) {
            *last = i + 1;
            *step = i;
        }
    }
    return argc >= 2;
}

/* --- elements --- */

void sort_spec_for(struct sort_spec *s, uint8_t type) {
    if (!s->as_they_come || type != VALUE_SET || s->store == 0)
        return;
    s->as_they_come = false;
    s->alpha = true;
}

/* limit: which of n elements are delivered, as Redis reads LIMIT. */
static void limit(const struct sort_spec *s, uint64_t n, uint64_t *from, uint64_t *to) {
    uint64_t start = s->start < 0 ? 0 : (uint64_t)s->start;
    *from = start < n ? start : n;
    *to = s->count < 0 || (uint64_t)s->count > n - *from ? n : *from + (uint64_t)s->count;
}

/* limits_early: only what is delivered is collected. Of sets nobody knows how many are alive. */
static bool limits_early(const struct sort_spec *s, uint8_t type) {
    return s->as_they_come && type != VALUE_SET;
}

/* Which elements are collected: n from index on, backward: towards the head, where DESC turns what comes as it comes. */
struct stretch {
    uint64_t index, n;
    bool backward;
};

static struct stretch stretch_of(const struct val *v, const struct sort_spec *s) {
    uint64_t count = val_count(v), from = 0, to = count;
    bool backward = limits_early(s, v->type) && s->desc;
    if (limits_early(s, v->type))
        limit(s, count, &from, &to);
    return (struct stretch){backward ? count - 1 - from : from, to - from, backward};
}

uint64_t sort_elements(const struct val *v, const struct sort_spec *s) {
    return v->form == VAL_NONE ? 0 : stretch_of(v, s).n;
}

static void add_text(struct outbuf *texts, struct span text) {
    uint32_t len = (uint32_t)text.len;
    outbuf_add(texts, (const char *)&len, sizeof len);
    outbuf_add(texts, text.ptr, text.len);
}

static void collect_list(const struct val *v, struct stretch s, struct outbuf *texts) {
    struct listval_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    listval_begin(&i, v, s.index, s.backward);
    for (; s.n > 0 && listval_next(&i, &item); s.n--)
        add_text(texts, lp_item_text(&item, digits));
}

static void collect_set(const struct val *v, int64_t now_ms, struct outbuf *texts) {
    static const struct set_kind any; /* reading asks for no threshold */
    struct set_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    setval_begin(&i, v, &any, now_ms);
    while (setval_next(&i, &item))
        add_text(texts, lp_item_text(&item, digits));
}

/* collect_zset: they come in the order of their scores. */
static void collect_zset(const struct val *v, struct stretch s, struct outbuf *texts) {
    struct zset_iter i;
    struct zset_item item;
    zsetval_begin(&i, v, s.index, s.backward);
    for (; s.n > 0 && zsetval_next(&i, &item); s.n--)
        add_text(texts, item.member);
}

void sort_collect(const struct val *v, const struct sort_spec *s, int64_t now_ms,
                  struct outbuf *texts) {
    if (sort_elements(v, s) == 0)
        return;
    if (v->type == VALUE_LIST)
        collect_list(v, stretch_of(v, s), texts);
    else if (v->type == VALUE_SET)
        collect_set(v, now_ms, texts);
    else
        collect_zset(v, stretch_of(v, s), texts);
}

void sort_init(struct sorting *s, struct ctx *c, uint8_t type) {
    const char *error;
    *s = (struct sorting){.mem = &c->shard->mem, .argv = c->argv, .argc = c->argc, .type = type};
    bool valid = sort_parse(c->argv, c->argc, may_store(c->cmd), &s->spec, &error);
    ASSERT(valid);
    sort_spec_for(&s->spec, type);
    outbuf_init(&s->texts, s->mem);
}

void sort_charge_to(struct sorting *s, struct mem *m) {
    s->mem = s->texts.mem = m;
}

void sort_deinit(struct sorting *s) {
    outbuf_deinit(&s->texts);
    mem_free(s->mem, s->items, s->item_count * sizeof *s->items);
    s->items = NULL;
    s->item_count = 0;
}

/* next_text: of a run of them at *at. */
static struct span next_text(const struct outbuf *texts, size_t *at) {
    uint32_t len;
    memcpy(&len, texts->buf + *at, sizeof len);
    struct span text = {texts->buf + *at + sizeof len, len};
    *at += sizeof len + len;
    return text;
}

bool sort_load(struct sorting *s) {
    if (s->texts.failed)
        return false;
    uint32_t n = 0;
    for (size_t at = s->texts_at; at < s->texts.len; n++)
        (void)next_text(&s->texts, &at);
    if (n == 0)
        return true;
    s->items = mem_alloc(s->mem, n * sizeof *s->items);
    if (s->items == NULL)
        return false;
    s->item_count = n;
    size_t at = s->texts_at;
    for (uint32_t i = 0; i < n; i++) {
        struct span text = next_text(&s->texts, &at);
        s->items[i] = (struct sort_item){.text = text, .index = i};
        if (s->spec.by == 0)
            s->items[i].by = text;
    }
    return true;
}

/* --- order --- */

/* What Redis takes for a number here: all that strtod reads to the end, also nothing at all. */
bool sort_weigh(struct sort_item *i) {
    char text[NUMBER_TEXT_MAX];
    if (i->by.ptr == NULL) /* BY found nothing */
        return true;
    if (decimal_parse_double(i->by, &i->score))
        return true;
    if (i->by.len >= sizeof text)
        return false;
    memcpy(text, i->by.ptr, i->by.len);
    text[i->by.len] = '\0';
    char *end;
    errno = 0;
    i->score = strtod(text, &end);
    return *end == '\0' && errno != ERANGE && !isnan(i->score);
}

static int compare_text(struct span a, struct span b) {
    size_t least = a.len < b.len ? a.len : b.len;
    int order = least == 0 ? 0 : memcmp(a.ptr, b.ptr, least);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_by_text(const struct sort_item *a, const struct sort_item *b) {
    if (a->by.ptr == NULL || b->by.ptr == NULL)
        return (a->by.ptr != NULL) - (b->by.ptr != NULL);
    return compare_text(a->by, b->by);
}

static int compare_items(const void *left, const void *right, void *arg) {
    const struct sort_item *a = left, *b = right;
    const struct sort_spec *s = arg;
    int order;
    if (s->alpha)
        order = compare_by_text(a, b);
    else if (a->score != b->score)
        order = a->score < b->score ? -1 : 1;
    else
        order = compare_text(a->text, b->text);
    if (order != 0)
        return s->desc ? -order : order;
    return (a->index > b->index) - (a->index < b->index);
}

bool sort_order(struct sorting *s) {
    uint64_t from = 0, to = s->item_count;
    if (!limits_early(&s->spec, s->type))
        limit(&s->spec, s->item_count, &from, &to);
    s->from = (uint32_t)from;
    s->to = (uint32_t)to;
    if (s->spec.as_they_come)
        return true;
    if (!s->spec.alpha)
        for (uint32_t i = 0; i < s->item_count; i++)
            if (!sort_weigh(&s->items[i]))
                return false;
    if (s->item_count > 1)
        qsort_r(s->items, s->item_count, sizeof *s->items, compare_items, &s->spec);
    return true;
}

/* --- what comes out --- */

void sort_sink_init(struct sort_sink *k, struct ctx *c, const struct sort_spec *s) {
    *k = (struct sort_sink){
        .proto = c->reply.proto, .is_list = s->store != 0, .limits = list_limits(c)};
    outbuf_init(&k->made, &c->shard->mem);
    val_init(&k->list, keyspace_mem(c->keyspace), VALUE_LIST);
}

void sort_sink_deinit(struct sort_sink *k, struct ctx *c) {
    struct object *o = val_object(&k->list);
    outbuf_deinit(&k->made);
    if (o != NULL)
        keyspace_bury(c->keyspace, o);
    val_init(&k->list, k->list.mem, VALUE_LIST);
}

void sort_sink_charge_to(struct sort_sink *k, struct mem *m) {
    k->made.mem = k->list.mem = m;
}

void sort_deliver_head(const struct sorting *s, struct sort_sink *k) {
    struct reply r = {&k->made, k->proto, 0};
    uint32_t per_item = s->spec.gets == 0 ? 1 : s->spec.gets;
    if (k->is_list)
        return;
    reply_array(&r, (size_t)(s->to - s->from) * per_item);
    k->failed |= k->made.failed;
}

/* Texts on their way to a sink; a list takes them by batches. */
struct batch {
    struct sort_sink *sink;
    struct span texts[SORT_SINK_TEXTS];
    uint32_t n;
};

static void flush(struct batch *b) {
    struct sort_sink *k = b->sink;
    if (b->n != 0 && !k->failed)
        k->failed = !listval_push(&k->list, LISTVAL_TAIL, b->texts, b->n, &k->limits);
    b->n = 0;
}

static void deliver_one(struct batch *b, struct span text) {
    struct reply r = {&b->sink->made, b->sink->proto, 0};
    if (b->sink->is_list) {
        b->texts[b->n++] = text.ptr == NULL ? SPAN("") : text;
        if (b->n == SORT_SINK_TEXTS)
            flush(b);
    } else if (text.ptr == NULL) {
        reply_null(&r);
    } else {
        reply_bulk(&r, text);
    }
}

void sort_deliver(const struct sorting *s, uint32_t from, uint32_t to, const struct span *values,
                  struct sort_sink *k) {
    struct batch b = {.sink = k};
    for (uint32_t i = from; i < to; i++) {
        if (s->spec.gets == 0)
            deliver_one(&b, s->items[i].text);
        uint32_t arg = sort_next_get(s->argv, s->argc, 0);
        for (; arg != 0; arg = sort_next_get(s->argv, s->argc, arg)) {
            struct span value = values == NULL ? (struct span){NULL, 0} : *values++;
            deliver_one(&b, span_eq(s->argv[arg], SPAN("#")) ? s->items[i].text : value);
        }
    }
    flush(&b);
    k->failed |= k->made.failed;
}

void sort_store(const struct sort_spec *s, struct ctx *c, struct val *list) {
    int64_t count = (int64_t)val_count(list);
    if (coll_replace(c, s->store, list))
        reply_int(&c->reply, count);
}

/* --- without lookups: the key is here or, with STORE, in view --- */

enum outcome { SORTED, NO_MEMORY, NOT_NUMBERS };

struct sort_work {
    struct sorting s;
    struct val from;
    int64_t now_ms;
    struct outbuf *to; /* where it is replied; NULL: into the sink */
    struct sort_sink sink;
    enum outcome outcome;
};

static void sort_all(void *state, struct mem *m) {
    struct sort_work *w = state;
    struct sorting *s = &w->s;
    struct sort_sink *k = &w->sink;
    sort_charge_to(s, m);
    sort_sink_charge_to(k, m);
    sort_collect(&w->from, &s->spec, w->now_ms, &s->texts);
    w->outcome = !sort_load(s) ? NO_MEMORY : !sort_order(s) ? NOT_NUMBERS : SORTED;
    if (w->outcome == SORTED) {
        if (w->to != NULL)
            k->made = *w->to; /* as its owner would go on with it */
        sort_deliver_head(s, k);
        sort_deliver(s, s->from, s->to, NULL, k);
        if (w->to != NULL) {
            *w->to = k->made;
            outbuf_init(&k->made, m);
        } else if (k->failed) {
            w->outcome = NO_MEMORY;
        }
    }
    sort_deinit(s);
}

/* sort_begin: false: it has replied, or is called again. */
static ON_SHARD bool sort_begin(struct ctx *c, struct sort_work *w) {
    struct view view;
    ctx_view(c, 1, &view);
    if (view.exists && !sort_takes(view.value.type)) {
        reply_error(&c->reply, ERR_WRONG_TYPE);
        return false;
    }
    *w = (struct sort_work){.now_ms = c->now_ms, .outcome = SORTED};
    uint8_t type = view.exists ? view.value.type : VALUE_LIST;
    bool readable = coll_of_view(c, &view, type, &w->from);
    ASSERT(readable);
    sort_init(&w->s, c, type);
    sort_sink_init(&w->sink, c, &w->s.spec);
    if (!c->locked && w->s.spec.store == 0)
        w->to = c->reply.out;
    uint64_t elements = sort_elements(&w->from, &w->s.spec);
    return !ctx_long(c, elements) && ctx_work(c, elements, sort_all, w, sizeof *w);
}

static ON_SHARD void sort_run(struct ctx *c) {
    struct sort_work w;
    if (!ctx_resume(c, &w, sizeof w) && !sort_begin(c, &w))
        return;
    sort_sink_charge_to(&w.sink, keyspace_mem(c->keyspace));
    if (w.outcome == NO_MEMORY) {
        ctx_oom(c);
    } else if (w.outcome == NOT_NUMBERS) {
        reply_error(&c->reply, SORT_NOT_NUMBERS);
    } else if (w.sink.is_list) {
        sort_store(&w.s.spec, c, &w.sink.list);
        val_init(&w.sink.list, w.sink.list.mem, VALUE_LIST);
    } else if (w.to == NULL) {
        list_give(c->reply.out, &w.sink.made);
    }
    sort_sink_deinit(&w.sink, c);
}

#define OPTIONS                                                                                    \
    "key [BY=by-pattern<pattern>:pattern] [LIMIT=limit(offset:integer count:integer)] "            \
    "[GET=get-pattern<pattern>:pattern,...] [order(ASC|DESC)] [sorting:ALPHA]"
static const struct across across = {
    .look = ctx_look_views, .at = ACROSS_LAST_KEY, .shared_from = 1, .shared_to = 1};
static const struct command rows[] = {
    {"SORT", sort_run, -2, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_MOVABLE_KEYS | CMD_LONG,
     ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS, "generic", "1.0.0",
     "O(N+M*log(M)) in the elements and those that are returned",
     "Sorts the elements of a list, set or sorted set, and may store them as a list.",
     .key_access = "RO access;?RO access;?OW update", .syntax = OPTIONS " [STORE=destination:key]",
     .find_keys = sort_keys, .across = &across, .check = sort_check, .variant = sort_variant},
    {"SORT_RO", sort_run, -2, KEY(1), CMD_READ | CMD_MOVABLE_KEYS | CMD_LONG,
     ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS, "generic", "7.0.0",
     "O(N+M*log(M)) in the elements and those that are returned",
     "Returns the elements of a list, set or sorted set in order.",
     .key_access = "RO access;?RO access", .syntax = OPTIONS, .check = sort_check,
     .variant = sort_variant},
};

void sort_register(void) {
    command_register(rows, COUNT_OF(rows));
    sort_lookup_register();
}
