/* sort_lookup.c: SORT with BY and GET patterns, which look keys up on all shards. See sort_impl.h.
 *
 * All of it happens at one moment: everything is locked. Round by round:
 *
 *     each 0    the key's shard: the elements              gather 0   which keys to look up, and where
 *     each 1    every shard: those of them that it has     gather 1   order; replies, or
 *     each 2    the STORE key's shard: stores              gather 2   replies
 */
#include "anax/fields.h"
#include "shards/assert.h"
#include "sort_impl.h"
#include "str_entry_impl.h"

enum round { ROUND_ELEMENTS, ROUND_LOOKUP, ROUND_STORE };

struct lookup_state {
    struct sorting s;
    enum round round;
    uint8_t type;
};

/* What a part begins with in the first round. */
enum elements { ELEMENTS_ELSEWHERE, ELEMENTS_HERE, ELEMENTS_WRONG_TYPE };

/* A key to look up; its bytes, and those of a field, follow. */
struct want {
    uint32_t place; /* of sorting.values */
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

/* --- the first round --- */

static ON_SHARD void elements_each(struct ctx *c) {
    uint8_t head[2] = {ELEMENTS_ELSEWHERE, VALUE_LIST};
    struct outbuf *out = c->reply.out;
    if (shard_of(c, c->argv[1]) != c->shard->id) {
        outbuf_add(out, (const char *)head, sizeof head);
        return;
    }
    const struct entry *e = ctx_find_at(c, c->argv[1], hash_of(c->argv[1]));
    unsigned type = e == NULL ? VALUE_LIST : entry_type(e);
    head[0] = ELEMENTS_HERE;
    head[1] = (uint8_t)type;
    if (type == VALUE_STRING || type == VALUE_HASH)
        head[0] = ELEMENTS_WRONG_TYPE;
    outbuf_add(out, (const char *)head, sizeof head);
    if (e == NULL || head[0] == ELEMENTS_WRONG_TYPE)
        return;
    struct val v;
    struct sort_spec spec;
    const char *error;
    bool valid = sort_parse(c->argv, c->argc, (c->cmd->flags & CMD_WRITE) != 0, &spec, &error);
    ASSERT(valid);
    coll_of_entry(e, keyspace_mem(c->keyspace), &v);
    sort_collect(&v, &spec, c->now_ms, out);
}

/* want_key: the pattern with the element for its '*', and behind "->" a field of a hash. */
static void want_key(struct ctx *c, struct sorting *s, struct span pattern, struct span element,
                     uint32_t place) {
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
    char *to = outbuf_room(&s->wants, bytes);
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
    s->wants.len += bytes;
}

static bool want_all(struct ctx *c, struct sorting *s) {
    s->width = s->spec.gets + 1;
    if (s->item_count == 0)
        return true;
    s->values = mem_zalloc(s->mem, (size_t)s->item_count * s->width * sizeof *s->values);
    if (s->values == NULL)
        return false;
    for (uint32_t i = 0; i < s->item_count; i++) {
        uint32_t column = 0, place = i * s->width;
        for (uint32_t arg = sort_next_get(c->argv, c->argc, 0); arg != 0;
             arg = sort_next_get(c->argv, c->argc, arg))
            want_key(c, s, c->argv[arg], s->items[i].text, place + column++);
        if (s->spec.by != 0)
            want_key(c, s, c->argv[s->spec.by], s->items[i].text, place + column);
    }
    return !s->wants.failed;
}

/* take_elements: false when it has replied, or is to reply that memory is out (*oom). */
static bool take_elements(struct ctx *c, struct lookup_state *state, struct outbuf *const *parts,
                          bool *oom) {
    const struct outbuf *part = parts[shard_of(c, c->argv[1])];
    struct sorting *s = &state->s;
    *oom = true;
    if (part->failed || part->len < 2)
        return false;
    state->type = (uint8_t)part->buf[1];
    if (part->buf[0] == ELEMENTS_WRONG_TYPE) {
        *oom = false;
        reply_error(&c->reply, ERR_WRONG_TYPE);
        return false;
    }
    outbuf_add(&s->texts, part->buf + 2, part->len - 2);
    return sort_load(s) && want_all(c, s);
}

/* --- the second --- */

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

static ON_SHARD void lookup_each(struct ctx *c, const struct lookup_state *state) {
    const struct outbuf *wants = &state->s.wants;
    struct want w;
    for (size_t at = 0; at < wants->len; at += sizeof w + w.key_len + w.field_len) {
        memcpy(&w, wants->buf + at, sizeof w);
        if (w.shard == c->shard->id)
            look_up(c, &w, wants->buf + at + sizeof w);
    }
}

static bool take_found(struct lookup_state *state, struct outbuf *const *parts, unsigned n) {
    struct sorting *s = &state->s;
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->failed)
            return false;
        outbuf_add(&s->found, parts[i]->buf, parts[i]->len);
    }
    if (s->found.failed)
        return false;
    struct found f;
    for (size_t at = 0; at < s->found.len; at += sizeof f + f.len) {
        memcpy(&f, s->found.buf + at, sizeof f);
        s->values[f.place] = (struct span){s->found.buf + at + sizeof f, f.len};
    }
    if (s->spec.by != 0)
        for (uint32_t i = 0; i < s->item_count; i++)
            s->items[i].by = s->values[(size_t)i * s->width + s->spec.gets];
    return true;
}

/* --- rounds --- */

static ON_SHARD void sort_each(struct ctx *c) {
    const struct lookup_state *state = *c->state;
    if (state == NULL)
        elements_each(c);
    else if (state->round == ROUND_LOOKUP)
        lookup_each(c, state);
    else if (shard_of(c, c->argv[state->s.spec.store]) == c->shard->id)
        (void)sort_store(&state->s, c);
}

/* gather_some: true when another round is to come. */
static bool gather_some(struct ctx *c, struct lookup_state *state, struct outbuf *const *parts,
                        unsigned n) {
    struct sorting *s = &state->s;
    bool oom = true;
    switch (state->round) {
    case ROUND_ELEMENTS:
        state->round = ROUND_LOOKUP;
        if (take_elements(c, state, parts, &oom))
            return true;
        break;
    case ROUND_LOOKUP:
        if (!take_found(state, parts, n))
            break;
        oom = false;
        if (!sort_order(s, state->type)) {
            reply_error(&c->reply, SORT_NOT_NUMBERS);
        } else if (s->spec.store != 0) {
            state->round = ROUND_STORE;
            return true;
        } else {
            sort_reply(s, &c->reply);
        }
        break;
    case ROUND_STORE: {
        const struct outbuf *part = parts[shard_of(c, c->argv[s->spec.store])];
        oom = part->failed;
        outbuf_add(c->reply.out, part->buf, part->len);
        break;
    }
    }
    if (oom)
        ctx_oom(c);
    return false;
}

static void sort_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct mem *m = &c->shard->mem;
    struct lookup_state *state = *c->state;
    if (state == NULL) {
        state = mem_zalloc(m, sizeof *state);
        if (state == NULL) {
            ctx_oom(c);
            return;
        }
        *c->state = state;
        sort_init(&state->s, c);
    }
    c->again = !c->reply.out->failed && gather_some(c, state, parts, n);
    if (c->again)
        return;
    sort_deinit(&state->s);
    mem_free(m, state, sizeof *state);
    *c->state = NULL;
}

enum { VARIANT_STORES, VARIANT_REPLIES, VARIANT_READ_ONLY };
static struct command variants[] = {
    {"SORT", NULL, -2, NO_KEYS, CMD_WRITE | CMD_DENY_OOM | CMD_FANOUT | CMD_WHOLE | CMD_ROUNDS,
     .each = sort_each, .gather = sort_gather, .check = sort_check},
    {"SORT", NULL, -2, NO_KEYS, CMD_READ | CMD_FANOUT | CMD_WHOLE | CMD_ROUNDS, .each = sort_each,
     .gather = sort_gather, .check = sort_check},
    {"SORT_RO", NULL, -2, NO_KEYS, CMD_READ | CMD_FANOUT | CMD_WHOLE | CMD_ROUNDS,
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
