/* sort_lookup.c: SORT with BY and GET patterns, which look keys up on all shards. See sort_impl.h.
 *
 * All of it happens at one moment: everything is locked. Round by round:
 *
 *     ROUND_ELEMENTS   the key's shard: the elements, collected beside it when there are many
 *                      home: an item for each (beside the shard)
 *     ROUND_BY ...     every shard: those that it has of some keys: what so many items are sorted by
 *                      home: order and LIMIT (beside the shard)
 *     ROUND_GET ...    every shard: the same of what is delivered
 *     ROUND_STORE      the STORE key's shard: stores; home replies
 *
 * Lookups touch tables, so they are done on the shards, a round of about WANTS_MAX at a time; between rounds the shards
 * serve whoever is not locked out. What a round brings is used at once: numbers are weighed, what is got is delivered. */
#include "anax/fields.h"
#include "shards/assert.h"
#include "sort_impl.h"
#include "str_entry_impl.h"

enum round { ROUND_ELEMENTS, ROUND_BY, ROUND_GET, ROUND_STORE };
enum {
    WANTS_MAX = 1024, /* keys of a round: about as many microseconds */
    ROUND_BYTES_MANY = 1 << 20,
    ROUND_BYTES_FEW = 1 << 18
};

/* What BY found of a round, for ALPHA. */
struct found_texts {
    struct found_texts *next;
    size_t bytes;
    char data[];
};

struct lookup_state {
    struct sorting s;
    struct sort_sink sink;
    uint64_t elements;
    enum round round;
    bool loaded, ordered, no_memory, not_numbers;
    uint32_t at, end;    /* items of this round */
    uint32_t wants_max;  /* keys of the next round, fewer when they hold much */
    struct outbuf wants; /* struct want, one behind the other */
    struct span *values; /* of this round: what was found, by place; ptr NULL: nothing */
    uint32_t value_count;
    struct found_texts *texts;
};

/* What the part of the key's shard begins with in the first round; the texts follow. */
struct elements_head {
    bool wrong_type;
    uint8_t type;
    uint64_t elements;
};

/* A key to look up; its bytes, and those of a field, follow. */
struct want {
    uint32_t place; /* of values */
    uint32_t key_len, field_len;
    uint32_t shard;
};

/* What was found; its bytes follow. */
struct found {
    uint32_t place, len;
};

static unsigned shard_of(const struct ctx *c, struct span key) {
    return keyspace_shard_of(command_route_hash(key, hash_of(key)), shards_count(c->shard->all));
}

/* --- the elements --- */

struct collecting {
    struct val from;
    struct sort_spec spec;
    int64_t now_ms;
    struct outbuf made;
};

static void collect(void *state, struct mem *m) {
    struct collecting *w = state;
    w->made.mem = m;
    sort_collect(&w->from, &w->spec, w->now_ms, &w->made);
}

/* collect_begin: false: it is called again. */
static ON_SHARD bool collect_begin(struct ctx *c, struct collecting *w) {
    const struct entry *e = ctx_find_at(c, c->argv[1], hash_of(c->argv[1]));
    unsigned type = e == NULL ? VALUE_LIST : entry_type(e);
    struct elements_head head = {.wrong_type = !sort_takes(type), .type = (uint8_t)type};
    const char *error;
    *w = (struct collecting){.now_ms = c->now_ms};
    bool valid = sort_parse(c->argv, c->argc, (c->cmd->flags & CMD_WRITE) != 0, &w->spec, &error);
    ASSERT(valid);
    sort_spec_for(&w->spec, head.type);
    val_init(&w->from, keyspace_mem(c->keyspace), head.type);
    if (e != NULL && !head.wrong_type) {
        coll_of_entry(e, keyspace_mem(c->keyspace), &w->from);
        head.elements = sort_elements(&w->from, &w->spec);
    }
    outbuf_init(&w->made, &c->shard->mem);
    outbuf_add(&w->made, (const char *)&head, sizeof head);
    return head.elements == 0 || ctx_work(c, head.elements, collect, w, sizeof *w);
}

static ON_SHARD void elements_each(struct ctx *c) {
    struct collecting w;
    if (shard_of(c, c->argv[1]) != c->shard->id)
        return;
    if (!ctx_resume(c, &w, sizeof w) && !collect_begin(c, &w))
        return;
    w.made.mem = &c->shard->mem;
    if (w.made.failed) {
        outbuf_deinit(&w.made);
        return; /* a part of no bytes says so */
    }
    list_give(c->reply.out, &w.made);
}

/* take_elements: false: it has replied. */
static ON_SHARD bool take_elements(struct ctx *c, struct lookup_state *t, struct outbuf *part) {
    struct elements_head head;
    if (part->len < sizeof head) {
        t->no_memory = true;
        return true;
    }
    memcpy(&head, part->buf, sizeof head);
    if (head.wrong_type) {
        reply_error(&c->reply, ERR_WRONG_TYPE);
        return false;
    }
    sort_init(&t->s, c, head.type);
    sort_sink_init(&t->sink, c, &t->s.spec);
    t->elements = head.elements;
    list_give(&t->s.texts, part);
    t->s.texts_at = sizeof head;
    return true;
}

/* load_and_order: what takes long at home. What is delivered without more lookups is, too. */
static void load_and_order(void *state, struct mem *m) {
    struct lookup_state *t = *(struct lookup_state **)state;
    struct sorting *s = &t->s;
    sort_charge_to(s, m);
    sort_sink_charge_to(&t->sink, m);
    if (!t->loaded) {
        t->no_memory = !sort_load(s);
        t->loaded = true;
    }
    if (t->no_memory || (s->spec.by != 0 && t->at < s->item_count))
        return;
    t->ordered = true;
    t->not_numbers = !sort_order(s);
    if (t->not_numbers)
        return;
    t->at = s->from;
    sort_deliver_head(s, &t->sink);
    if (!s->spec.found) {
        sort_deliver(s, s->from, s->to, NULL, &t->sink);
        t->at = s->to;
    }
    t->no_memory = t->sink.failed;
}

/* --- what is wanted --- */

/* want_key: the pattern with the element for its '*', and behind "->" a field of a hash. */
static void want_key(struct ctx *c, struct lookup_state *t, struct span pattern,
                     struct span element, uint32_t place) {
    const char *star = memchr(pattern.ptr, '*', pattern.len), *end = pattern.ptr + pattern.len;
    if (star == NULL)
        return;
    const char *arrow = memmem(star + 1, (size_t)(end - star - 1), "->", 2);
    bool has_field = arrow != NULL && arrow + 2 < end;
    const char *key_end = has_field ? arrow : end;
    size_t before = (size_t)(star - pattern.ptr), after = (size_t)(key_end - star - 1);
    struct want w = {.place = place,
                     .key_len = (uint32_t)(before + element.len + after),
                     .field_len = has_field ? (uint32_t)(end - arrow - 2) : 0};
    size_t bytes = sizeof w + w.key_len + w.field_len;
    char *to = outbuf_room(&t->wants, bytes);
    if (to == NULL)
        return;
    char *key = to + sizeof w;
    memcpy(key, pattern.ptr, before);
    if (element.len != 0)
        memcpy(key + before, element.ptr, element.len);
    memcpy(key + before + element.len, star + 1, after);
    if (has_field)
        memcpy(key + w.key_len, arrow + 2, w.field_len);
    w.shard = shard_of(c, (struct span){key, w.key_len});
    memcpy(to, &w, sizeof w);
    t->wants.len += bytes;
}

/* values_room: for that many items, none of which has found anything yet. */
static bool values_room(struct lookup_state *t, size_t count) {
    struct mem *m = t->s.mem;
    if (count > t->value_count) {
        mem_free(m, t->values, t->value_count * sizeof *t->values);
        t->value_count = 0;
        t->values = mem_alloc(m, count * sizeof *t->values);
        if (t->values == NULL)
            return false;
        t->value_count = (uint32_t)count;
    }
    memset(t->values, 0, count * sizeof *t->values);
    return true;
}

/* want_some: the next items up to `last`; false: no memory. */
static bool want_some(struct ctx *c, struct lookup_state *t, enum round round, uint32_t last) {
    struct sorting *s = &t->s;
    uint32_t width = round == ROUND_BY ? 1 : s->spec.gets;
    uint32_t n = t->wants_max / width == 0 ? 1 : t->wants_max / width;
    t->round = round;
    t->wants.len = 0;
    t->end = last - t->at < n ? last : t->at + n;
    if (!values_room(t, (size_t)(t->end - t->at) * width))
        return false;
    for (uint32_t i = t->at, place = 0; i < t->end; i++) {
        if (round == ROUND_BY) {
            want_key(c, t, c->argv[s->spec.by], s->items[i].text, place++);
            continue;
        }
        for (uint32_t arg = sort_next_get(c->argv, c->argc, 0); arg != 0;
             arg = sort_next_get(c->argv, c->argc, arg))
            want_key(c, t, c->argv[arg], s->items[i].text, place++);
    }
    return !t->wants.failed;
}

/* --- looking up --- */

static ON_SHARD void reply_found(struct ctx *c, uint32_t place, struct span value) {
    struct found f = {place, (uint32_t)value.len};
    outbuf_add(c->reply.out, (const char *)&f, sizeof f);
    outbuf_add(c->reply.out, value.ptr, value.len);
}

static ON_SHARD void look_up(struct ctx *c, const struct want *w, const char *bytes) {
    struct span key = {bytes, w->key_len}, name = {bytes + w->key_len, w->field_len};
    const struct entry *e = ctx_find_at(c, key, hash_of(key));
    if (e == NULL)
        return;
    if (w->field_len == 0) {
        char digits[STRVAL_INT_BYTES];
        if (entry_type(e) == VALUE_STRING)
            reply_found(c, w->place, str_entry_bytes(e, digits));
        return;
    }
    struct val v;
    struct field f;
    struct fields_kind kind = {.valued = true};
    if (entry_type(e) != VALUE_HASH)
        return;
    coll_of_entry(e, keyspace_mem(c->keyspace), &v);
    if (fields_find(&v, &kind, name, c->now_ms, &f))
        reply_found(c, w->place, f.value);
}

static ON_SHARD void lookup_each(struct ctx *c, const struct lookup_state *t) {
    const struct outbuf *wants = &t->wants;
    struct want w;
    for (size_t at = 0; at < wants->len; at += sizeof w + w.key_len + w.field_len) {
        memcpy(&w, wants->buf + at, sizeof w);
        if (w.shard == c->shard->id)
            look_up(c, &w, wants->buf + at + sizeof w);
    }
}

/* --- what was found --- */

/* keep_texts: what BY found stays until the items are in order. */
static bool keep_texts(struct lookup_state *t) {
    size_t bytes = 0;
    for (uint32_t i = t->at; i < t->end; i++)
        bytes += t->values[i - t->at].len;
    struct found_texts *f = mem_alloc(t->s.mem, sizeof *f + bytes);
    if (f == NULL)
        return false;
    *f = (struct found_texts){t->texts, bytes};
    t->texts = f;
    char *to = f->data;
    for (uint32_t i = t->at; i < t->end; i++) {
        struct span text = t->values[i - t->at];
        if (text.ptr == NULL)
            continue;
        memcpy(to, text.ptr, text.len);
        t->s.items[i].by = (struct span){to, text.len};
        to += text.len;
    }
    return true;
}

/* take_weights: of numbers nothing is kept. */
static void take_weights(struct lookup_state *t) {
    for (uint32_t i = t->at; i < t->end && !t->not_numbers; i++) {
        struct sort_item *item = &t->s.items[i];
        item->by = t->values[i - t->at];
        t->not_numbers = !sort_weigh(item);
        item->by = (struct span){NULL, 0};
    }
}

static void take_found(struct lookup_state *t, struct outbuf *const *parts, unsigned n) {
    struct sorting *s = &t->s;
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        struct found f;
        for (size_t at = 0; at < parts[i]->len; at += sizeof f + f.len) {
            memcpy(&f, parts[i]->buf + at, sizeof f);
            t->values[f.place] = (struct span){parts[i]->buf + at + sizeof f, f.len};
        }
        bytes += parts[i]->len;
    }
    if (bytes > ROUND_BYTES_MANY && t->wants_max > 1)
        t->wants_max /= 2;
    else if (bytes < ROUND_BYTES_FEW && t->wants_max < WANTS_MAX)
        t->wants_max *= 2;
    if (t->round == ROUND_GET) {
        sort_deliver(s, t->at, t->end, t->values, &t->sink);
        t->no_memory = t->sink.failed;
    } else if (s->spec.alpha) {
        t->no_memory = !keep_texts(t);
    } else {
        take_weights(t);
    }
    t->at = t->end;
}

/* --- storing --- */

/* store_each: the list was home's until now. */
static ON_SHARD void store_each(struct ctx *c, struct lookup_state *t) {
    struct val *list = &t->sink.list;
    if (shard_of(c, c->argv[t->s.spec.store]) != c->shard->id)
        return;
    mem_charge(&c->shard->mem, (int64_t)val_bytes(list));
    list->mem = keyspace_mem(c->keyspace);
    sort_store(&t->s.spec, c, list);
    val_init(list, list->mem, VALUE_LIST);
}

/* --- rounds --- */

static ON_SHARD void sort_each(struct ctx *c) {
    struct lookup_state *t = *c->state;
    if (t == NULL)
        elements_each(c);
    else if (t->round == ROUND_STORE)
        store_each(c, t);
    else
        lookup_each(c, t);
}

/* take: what a round has brought; false: it has replied. */
static ON_SHARD bool take(struct ctx *c, struct lookup_state *t, struct outbuf *const *parts,
                          unsigned n) {
    switch (t->round) {
    case ROUND_ELEMENTS:
        return take_elements(c, t, parts[shard_of(c, c->argv[1])]);
    case ROUND_BY:
    case ROUND_GET:
        take_found(t, parts, n);
        return true;
    case ROUND_STORE: {
        const struct outbuf *part = parts[shard_of(c, c->argv[t->s.spec.store])];
        outbuf_add(c->reply.out, part->buf, part->len);
        return false;
    }
    }
    return false;
}

/* go_on: true: another round is to come; false: it has replied, or works beside the shard. */
static ON_SHARD bool go_on(struct ctx *c, struct lookup_state *t) {
    struct sorting *s = &t->s;
    while (!t->no_memory && !t->not_numbers) {
        if (!t->ordered && (!t->loaded || t->at == s->item_count)) {
            if (!ctx_work(c, t->elements, load_and_order, &t, sizeof t))
                return false;
        } else if (!t->ordered || t->at < s->to) {
            t->no_memory = !want_some(c, t, t->ordered ? ROUND_GET : ROUND_BY,
                                      t->ordered ? s->to : s->item_count);
            if (!t->no_memory)
                return true;
        } else if (s->spec.store != 0) {
            t->round = ROUND_STORE;
            mem_charge(&c->shard->mem, -(int64_t)val_bytes(&t->sink.list));
            return true;
        } else {
            list_give(c->reply.out, &t->sink.made);
            return false;
        }
    }
    if (t->no_memory)
        ctx_oom(c);
    else
        reply_error(&c->reply, SORT_NOT_NUMBERS);
    return false;
}

static ON_SHARD void state_free(struct ctx *c, struct lookup_state *t) {
    struct mem *m = &c->shard->mem;
    sort_deinit(&t->s);
    sort_sink_deinit(&t->sink, c);
    outbuf_deinit(&t->wants);
    mem_free(m, t->values, t->value_count * sizeof *t->values);
    while (t->texts != NULL) {
        struct found_texts *f = t->texts;
        t->texts = f->next;
        mem_free(m, f, sizeof *f + f->bytes);
    }
    mem_free(m, t, sizeof *t);
}

/* state_of: NULL: no memory for it. */
static ON_SHARD struct lookup_state *state_of(struct ctx *c) {
    struct lookup_state *t = *c->state;
    if (t != NULL)
        return t;
    t = mem_zalloc(&c->shard->mem, sizeof *t);
    if (t == NULL)
        return NULL;
    sort_init(&t->s, c, VALUE_LIST);
    sort_sink_init(&t->sink, c, &t->s.spec);
    outbuf_init(&t->wants, &c->shard->mem);
    t->wants_max = WANTS_MAX;
    return *c->state = t;
}

static ON_SHARD void sort_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct lookup_state *t = state_of(c), *worked;
    if (t == NULL) {
        ctx_oom(c);
        return;
    }
    bool goes_on = true;
    if (ctx_resume(c, &worked, sizeof worked)) {
        sort_charge_to(&t->s, &c->shard->mem);
        sort_sink_charge_to(&t->sink, &c->shard->mem);
    } else {
        goes_on = !c->reply.out->failed && take(c, t, parts, n);
    }
    c->again = goes_on && go_on(c, t);
    if (c->again || c->more)
        return;
    state_free(c, t);
    *c->state = NULL;
}

enum { VARIANT_STORES, VARIANT_REPLIES, VARIANT_READ_ONLY };
static struct command variants[] = {
    {"SORT", NULL, -2, NO_KEYS,
     CMD_WRITE | CMD_DENY_OOM | CMD_FANOUT | CMD_WHOLE | CMD_ROUNDS | CMD_LONG, .each = sort_each,
     .gather = sort_gather, .check = sort_check},
    {"SORT", NULL, -2, NO_KEYS, CMD_READ | CMD_FANOUT | CMD_WHOLE | CMD_ROUNDS | CMD_LONG,
     .each = sort_each, .gather = sort_gather, .check = sort_check},
    {"SORT_RO", NULL, -2, NO_KEYS, CMD_READ | CMD_FANOUT | CMD_WHOLE | CMD_ROUNDS | CMD_LONG,
     .each = sort_each, .gather = sort_gather, .check = sort_check},
};

const struct command *sort_variant(const struct span *argv, uint32_t argc) {
    struct sort_spec s;
    const char *error;
    bool read_only = span_is(argv[0], variants[VARIANT_READ_ONLY].name);
    if (sort_parse(argv, argc, !read_only, &s, &error) && s.lookups)
        return &variants[read_only      ? VARIANT_READ_ONLY
                         : s.store != 0 ? VARIANT_STORES
                                        : VARIANT_REPLIES];
    return command_find(argv[0]);
}

void sort_lookup_register(void) {
    for (size_t i = 0; i < COUNT_OF(variants); i++)
        command_variant(&variants[i]);
}
