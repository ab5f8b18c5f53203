/* sort.c: SORT and SORT_RO: options, order, and what comes out. See sort_impl.h. */
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "shards/assert.h"
#include "shards/decimal.h"
#include "sort_impl.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { NUMBER_TEXT_MAX = 512, STORE_BATCH = 64 };

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
            s->lookups |= has_star(argv[i + 1]);
        } else if (span_is(argv[i], "STORE") && may_store) {
            s->store = i + 1;
        } else {
            *error = ERR_SYNTAX;
            return false;
        }
    }
    if (s->as_they_come)
        s->by = 0;
    s->lookups |= s->by != 0;
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

static void add_text(struct outbuf *texts, struct span text) {
    uint32_t len = (uint32_t)text.len;
    outbuf_add(texts, (const char *)&len, sizeof len);
    outbuf_add(texts, text.ptr, text.len);
}

/* backward: where DESC turns what comes as it comes, as Redis does for lists and sorted sets. */
static bool backward(const struct sort_spec *s) {
    return s->as_they_come && s->desc;
}

static void collect_list(const struct val *v, const struct sort_spec *s, struct outbuf *texts) {
    struct listval_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    bool back = backward(s);
    listval_begin(&i, v, back ? listval_count(v) - 1 : 0, back);
    while (listval_next(&i, &item))
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
static void collect_zset(const struct val *v, const struct sort_spec *s, struct outbuf *texts) {
    struct zset_iter i;
    struct zset_item item;
    bool back = backward(s);
    zsetval_begin(&i, v, back ? zsetval_count(v) - 1 : 0, back);
    while (zsetval_next(&i, &item))
        add_text(texts, item.member);
}

void sort_collect(const struct val *v, const struct sort_spec *s, int64_t now_ms,
                  struct outbuf *texts) {
    if (v->form == VAL_NONE)
        return;
    if (v->type == VALUE_LIST)
        collect_list(v, s, texts);
    else if (v->type == VALUE_SET)
        collect_set(v, now_ms, texts);
    else
        collect_zset(v, s, texts);
}

void sort_init(struct sorting *s, struct ctx *c) {
    const char *error;
    *s = (struct sorting){.mem = &c->shard->mem, .argv = c->argv, .argc = c->argc};
    bool valid = sort_parse(c->argv, c->argc, may_store(c->cmd), &s->spec, &error);
    ASSERT(valid);
    outbuf_init(&s->texts, s->mem);
    outbuf_init(&s->wants, s->mem);
    outbuf_init(&s->found, s->mem);
}

void sort_deinit(struct sorting *s) {
    outbuf_deinit(&s->texts);
    outbuf_deinit(&s->wants);
    outbuf_deinit(&s->found);
    mem_free(s->mem, s->items, s->item_count * sizeof *s->items);
    mem_free(s->mem, s->values, (size_t)s->item_count * s->width * sizeof *s->values);
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
    for (size_t at = 0; at < s->texts.len; n++)
        (void)next_text(&s->texts, &at);
    if (n == 0)
        return true;
    s->items = mem_alloc(s->mem, n * sizeof *s->items);
    if (s->items == NULL)
        return false;
    s->item_count = n;
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct span text = next_text(&s->texts, &at);
        s->items[i] = (struct sort_item){.text = text, .by = text, .index = i};
    }
    return true;
}

/* --- order --- */

/* weigh: what Redis takes for a number here: all that strtod reads to the end, also nothing at all. */
static bool weigh(struct sort_item *i) {
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

/* limit: from and to, as Redis reads LIMIT. */
static void limit(struct sorting *s) {
    int64_t n = s->item_count, start = s->spec.start < 0 ? 0 : s->spec.start;
    int64_t count = s->spec.count;
    start = start < n ? start : n;
    count = count < 0 || count > n - start ? n - start : count;
    s->from = (uint32_t)start;
    s->to = (uint32_t)(start + count);
}

bool sort_order(struct sorting *s, uint8_t type) {
    struct sort_spec how = s->spec;
    limit(s);
    /* What is stored of a set must have an order that every server agrees upon. */
    bool as_they_come = how.as_they_come;
    if (as_they_come && type == VALUE_SET && how.store != 0) {
        as_they_come = false;
        how.alpha = true;
    }
    if (as_they_come)
        return true;
    if (!how.alpha)
        for (uint32_t i = 0; i < s->item_count; i++)
            if (!weigh(&s->items[i]))
                return false;
    if (s->item_count > 1)
        qsort_r(s->items, s->item_count, sizeof *s->items, compare_items, &how);
    return true;
}

/* --- what comes out --- */

/* value_of: of an item, for the GET pattern argv[arg], the column-th; ptr NULL: nothing. */
static struct span value_of(const struct sorting *s, const struct sort_item *i, uint32_t arg,
                            uint32_t column) {
    if (span_eq(s->argv[arg], SPAN("#")))
        return i->text;
    if (s->values == NULL)
        return (struct span){NULL, 0};
    return s->values[(size_t)i->index * s->width + column];
}

void sort_reply(const struct sorting *s, struct reply *r) {
    uint32_t per_item = s->spec.gets == 0 ? 1 : s->spec.gets;
    reply_array(r, (size_t)(s->to - s->from) * per_item);
    for (uint32_t i = s->from; i < s->to; i++) {
        if (s->spec.gets == 0)
            reply_bulk(r, s->items[i].text);
        uint32_t arg = sort_next_get(s->argv, s->argc, 0);
        for (uint32_t column = 0; arg != 0; column++) {
            struct span value = value_of(s, &s->items[i], arg, column);
            if (value.ptr == NULL)
                reply_null(r);
            else
                reply_bulk(r, value);
            arg = sort_next_get(s->argv, s->argc, arg);
        }
    }
}

/* A list that grows by batches. */
struct growing {
    struct val list;
    struct listval_limits limits;
    struct span texts[STORE_BATCH];
    uint32_t n;
    bool failed;
};

static void grow_flush(struct growing *g) {
    if (g->n != 0 && !g->failed)
        g->failed = !listval_push(&g->list, LISTVAL_TAIL, g->texts, g->n, &g->limits);
    g->n = 0;
}

static void grow(struct growing *g, struct span text) {
    g->texts[g->n++] = text.ptr == NULL ? SPAN("") : text;
    if (g->n == STORE_BATCH)
        grow_flush(g);
}

bool sort_store(const struct sorting *s, struct ctx *c) {
    struct growing g = {.n = 0};
    g.limits = listval_limits_of(instance_of(c->shard)->config->list_listpack_size_max);
    val_init(&g.list, keyspace_mem(c->keyspace), VALUE_LIST);
    for (uint32_t i = s->from; i < s->to; i++) {
        if (s->spec.gets == 0)
            grow(&g, s->items[i].text);
        uint32_t arg = sort_next_get(s->argv, s->argc, 0);
        for (uint32_t column = 0; arg != 0; column++) {
            grow(&g, value_of(s, &s->items[i], arg, column));
            arg = sort_next_get(s->argv, s->argc, arg);
        }
    }
    grow_flush(&g);
    if (g.failed) {
        val_destroy(&g.list);
        ctx_oom(c);
        return false;
    }
    int64_t count = (int64_t)val_count(&g.list);
    if (!coll_replace(c, s->spec.store, &g.list))
        return false;
    reply_int(&c->reply, count);
    return true;
}

/* sort_run: without lookups: the key is here or, with STORE, in view. */
static ON_SHARD void sort_run(struct ctx *c) {
    struct view w;
    struct val v;
    struct sorting s;
    ctx_view(c, 1, &w);
    bool sortable = !w.exists || (w.value.type != VALUE_STRING && w.value.type != VALUE_HASH);
    if (!sortable) {
        reply_error(&c->reply, ERR_WRONG_TYPE);
        return;
    }
    uint8_t type = w.exists ? w.value.type : VALUE_LIST;
    bool readable = coll_of_view(c, &w, type, &v);
    ASSERT(readable);
    sort_init(&s, c);
    sort_collect(&v, &s.spec, c->now_ms, &s.texts);
    if (!sort_load(&s))
        ctx_oom(c);
    else if (!sort_order(&s, type))
        reply_error(&c->reply, SORT_NOT_NUMBERS);
    else if (s.spec.store != 0)
        (void)sort_store(&s, c);
    else
        sort_reply(&s, &c->reply);
    sort_deinit(&s);
}

#define OPTIONS                                                                                    \
    "key [BY=by-pattern<pattern>:pattern] [LIMIT=limit(offset:integer count:integer)] "            \
    "[GET=get-pattern<pattern>:pattern,...] [order(ASC|DESC)] [sorting:ALPHA]"
static const struct across across = {
    .look = ctx_look_views, .at = ACROSS_LAST_KEY, .shared_from = 1, .shared_to = 1};
static const struct command rows[] = {
    {"SORT", sort_run, -2, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_MOVABLE_KEYS,
     ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS, "generic", "1.0.0",
     "O(N+M*log(M)) in the elements and those that are returned",
     "Sorts the elements of a list, set or sorted set, and may store them as a list.",
     .key_access = "RO access;?RO access;?OW update", .syntax = OPTIONS " [STORE=destination:key]",
     .find_keys = sort_keys, .across = &across, .check = sort_check, .variant = sort_variant},
    {"SORT_RO", sort_run, -2, KEY(1), CMD_READ | CMD_MOVABLE_KEYS,
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
