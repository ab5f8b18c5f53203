/* streamval.c: streams as values. See streamval_impl.h.
 *
 *     node     | ID of the first entry, big endian 16 | a listpack:
 *              | entries, deleted, n, n names, 0 | flags, ms, seq (beyond the first ID), fields, entries back | ...
 *              fields: the values when flags say SAME_NAMES, else n, name, value, name, value ...
 *     body     count, nodes | length, last ID | first ID, highest deleted ID, entries ever: from 19 on | count, groups
 *     group    name | last ID | entries read: from 19 on | count, (ID 16, time 8, deliveries) | count, consumers
 *     consumer name | seen 8 | active 8: 21 | count, IDs of 16
 * Source      the files themselves; Redis's t_stream.c and rdb.c.
 */
#include "rdb_decode_impl.h"
#include "shards/assert.h"
#include "shards/bytes.h"
#include "streamval_impl.h"

enum { ID_BYTES = 16, ENTRY_DELETED = 1, ENTRY_SAME_NAMES = 2, PENDING_BYTES_MIN = 25 };

static struct stream_id load_id(const uint8_t *p) {
    return (struct stream_id){load_be64(p), load_be64(p + ID_BYTES / 2)};
}

static bool is_after(struct stream_id a, struct stream_id b) {
    return a.ms != b.ms ? a.ms > b.ms : a.seq > b.seq;
}

/* --- checking --- */

struct checking {
    struct rdb_in *in;
    struct rdb_scratch *s;
    const uint8_t *place; /* of the node that is looked at */
    struct stream_id last;
    uint64_t seen, alive; /* entries */
    bool second;          /* types 19 and 21 */
    bool third;
};

static enum rdb_result bad_node(const struct checking *c, const char *why) {
    return rdb_corrupt(c->in, why, c->place);
}

static enum rdb_result node_int(const struct checking *c, struct rdb_texts *t, int64_t *out) {
    struct rdb_text text;
    bool there;
    enum rdb_result r = rdb_texts_next(t, &text, &there);
    if (r == RDB_OK && (!there || text.kind != RDB_TEXT_INT))
        r = bad_node(c, "a node of a stream that lacks a number");
    *out = text.num;
    return r;
}

static enum rdb_result node_count(const struct checking *c, struct rdb_texts *t, uint64_t *out) {
    int64_t n;
    enum rdb_result r = node_int(c, t, &n);
    if (r == RDB_OK && n < 0)
        r = bad_node(c, "a node of a stream with less than nothing of something");
    *out = (uint64_t)n;
    return r;
}

static enum rdb_result node_texts(const struct checking *c, struct rdb_texts *t, uint64_t n) {
    struct rdb_text text;
    enum rdb_result r = RDB_OK;
    for (bool there = true; r == RDB_OK && n > 0; n--)
        if ((r = rdb_texts_next(t, &text, &there)) == RDB_OK && !there)
            r = bad_node(c, "a node of a stream that ends within an entry");
    return r;
}

static enum rdb_result check_entry(struct checking *c, struct rdb_texts *t, struct stream_id first,
                                   uint64_t names) {
    int64_t flags, ms, seq;
    uint64_t n = names, back;
    enum rdb_result r = node_int(c, t, &flags);
    if (r != RDB_OK || (r = node_int(c, t, &ms)) != RDB_OK || (r = node_int(c, t, &seq)) != RDB_OK)
        return r;
    bool same = (flags & ENTRY_SAME_NAMES) != 0;
    if (!same && (r = node_count(c, t, &n)) != RDB_OK)
        return r;
    if (n > (size_t)(t->end - t->at))
        return bad_node(c, "a node of a stream with more fields than there is room for");
    r = node_texts(c, t, same ? n : 2 * n);
    if (r != RDB_OK || (r = node_count(c, t, &back)) != RDB_OK)
        return r;
    if (back != (same ? n + 3 : 2 * n + 4))
        return bad_node(c, "an entry of a stream that cannot be walked backwards");
    struct stream_id id = {first.ms + (uint64_t)ms, first.seq + (uint64_t)seq};
    if (c->seen > 0 && !is_after(id, c->last))
        return bad_node(c, "entries of a stream that do not ascend");
    c->last = id;
    c->seen++;
    c->alive += (flags & ENTRY_DELETED) == 0;
    return RDB_OK;
}

static enum rdb_result check_entries(struct checking *c, struct rdb_texts *t,
                                     struct stream_id first) {
    uint64_t entries, deleted, names, zero;
    struct rdb_text text;
    bool there;
    enum rdb_result r = node_count(c, t, &entries);
    if (r != RDB_OK || (r = node_count(c, t, &deleted)) != RDB_OK ||
        (r = node_count(c, t, &names)) != RDB_OK)
        return r;
    if ((r = node_texts(c, t, names)) != RDB_OK || (r = node_count(c, t, &zero)) != RDB_OK)
        return r;
    if (zero != 0)
        return bad_node(c, "a node of a stream whose names have no end");
    if (entries > INT64_MAX - deleted)
        return bad_node(c, "a node of a stream with too many entries");
    for (uint64_t n = entries + deleted; r == RDB_OK && n > 0; n--)
        r = check_entry(c, t, first, names);
    if (r == RDB_OK && (r = rdb_texts_next(t, &text, &there)) == RDB_OK && there)
        r = bad_node(c, "a node of a stream with more than it says");
    return r;
}

static enum rdb_result check_node(struct checking *c) {
    struct span id, blob;
    struct rdb_texts t;
    c->place = c->in->at;
    enum rdb_result r = rdb_get_string(c->in, c->s, &id);
    if (r != RDB_OK)
        return r;
    if (id.len != ID_BYTES)
        return bad_node(c, "a node of a stream whose ID is of a wrong length");
    struct stream_id first = load_id((const uint8_t *)id.ptr);
    const uint8_t *place = c->in->at;
    r = rdb_get_string(c->in, c->s, &blob);
    if (r == RDB_OK)
        r = rdb_texts_listpack(&t, c->in, blob, place);
    return r == RDB_OK ? check_entries(c, &t, first) : r;
}

static enum rdb_result skip_lens(struct rdb_in *in, unsigned n) {
    uint64_t len;
    enum rdb_result r = RDB_OK;
    while (r == RDB_OK && n-- > 0)
        r = rdb_get_len(in, &len);
    return r;
}

/* --- groups --- */

/* What is pending in a group: IDs ascend, and each has one consumer. */
struct pending {
    const uint8_t **ids;
    bool *owned;
    uint64_t n, owned_n;
};

static enum rdb_result get_count(struct rdb_in *in, size_t bytes_min, uint64_t *n) {
    enum rdb_result r = rdb_get_len(in, n);
    return r == RDB_OK && *n > rdb_left(in) / bytes_min ? RDB_MORE : r;
}

static size_t pending_bytes(uint64_t n) {
    return (size_t)n * (sizeof(uint8_t *) + sizeof(bool));
}

static enum rdb_result read_pending(const struct checking *c, struct pending *p) {
    const uint8_t *time;
    enum rdb_result r = get_count(c->in, PENDING_BYTES_MIN, &p->n);
    if (r != RDB_OK || p->n == 0)
        return r;
    uint64_t n = p->n;
    p->n = 0; /* until there is memory for them */
    if ((p->ids = mem_alloc(c->s->mem, pending_bytes(n))) == NULL)
        return RDB_NOMEM;
    p->n = n;
    p->owned = (bool *)(p->ids + n);
    memset(p->owned, 0, (size_t)n);
    for (uint64_t i = 0; r == RDB_OK && i < n; i++) {
        if ((r = rdb_get_fixed(c->in, ID_BYTES, &p->ids[i])) == RDB_OK &&
            (r = rdb_get_fixed(c->in, 8, &time)) == RDB_OK)
            r = skip_lens(c->in, 1);
        if (r == RDB_OK && i > 0 && memcmp(p->ids[i - 1], p->ids[i], ID_BYTES) >= 0)
            r = rdb_corrupt(c->in, "pending entries of a group that do not ascend", p->ids[i]);
    }
    return r;
}

static enum rdb_result own(const struct checking *c, struct pending *p, const uint8_t *id) {
    uint64_t from = 0, to = p->n;
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        int order = memcmp(p->ids[middle], id, ID_BYTES);
        if (order == 0) {
            if (p->owned[middle])
                return rdb_corrupt(c->in, "a pending entry with two consumers", id);
            p->owned[middle] = true;
            p->owned_n++;
            return RDB_OK;
        }
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return rdb_corrupt(c->in, "a consumer with a pending entry that its group does not have", id);
}

/* get_name: as it stands in the file: equal names stand there alike. */
static enum rdb_result get_name(struct rdb_in *in, struct span *name) {
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_skip_string(in);
    *name = (struct span){(const char *)from, (size_t)(in->at - from)};
    return r;
}

static enum rdb_result check_consumer(const struct checking *c, struct pending *p,
                                      struct span *name) {
    const uint8_t *bytes;
    uint64_t n = 0;
    enum rdb_result r = get_name(c->in, name);
    if (r == RDB_OK)
        r = rdb_get_fixed(c->in, c->third ? 16 : 8, &bytes);
    if (r == RDB_OK)
        r = get_count(c->in, ID_BYTES, &n);
    for (; r == RDB_OK && n > 0; n--)
        if ((r = rdb_get_fixed(c->in, ID_BYTES, &bytes)) == RDB_OK)
            r = own(c, p, bytes);
    return r;
}

/* check_named: n of something that begins with a name, no name twice. */
static enum rdb_result check_named(struct checking *c, uint64_t n, struct pending *p,
                                   enum rdb_result (*check)(const struct checking *c,
                                                            struct pending *p, struct span *name)) {
    const uint8_t *place = c->in->at;
    enum rdb_result r = RDB_OK;
    if (n == 0)
        return RDB_OK;
    struct span *names = mem_alloc(c->s->mem, (size_t)n * sizeof *names);
    if (names == NULL)
        return RDB_NOMEM;
    for (uint64_t i = 0; r == RDB_OK && i < n; i++)
        r = check(c, p, &names[i]);
    if (r == RDB_OK &&
        (r = rdb_distinct(c->s->mem, names, sizeof *names, (size_t)n)) == RDB_CORRUPT)
        r = rdb_corrupt(c->in, "two groups of a stream, or two consumers of a group, of one name",
                        place);
    mem_free(c->s->mem, names, (size_t)n * sizeof *names);
    return r;
}

static enum rdb_result check_group(const struct checking *outer, struct pending *unused,
                                   struct span *name) {
    enum { CONSUMER_BYTES_MIN = 10 };
    struct checking c = *outer;
    struct pending pending = {0};
    uint64_t consumers;
    (void)unused;
    enum rdb_result r = get_name(c.in, name);
    if (r == RDB_OK)
        r = skip_lens(c.in, c.second ? 3 : 2);
    if (r == RDB_OK)
        r = read_pending(&c, &pending);
    if (r == RDB_OK)
        r = get_count(c.in, CONSUMER_BYTES_MIN, &consumers);
    if (r == RDB_OK)
        r = check_named(&c, consumers, &pending, check_consumer);
    if (r == RDB_OK && pending.owned_n != pending.n)
        r = rdb_corrupt(c.in, "a pending entry of a group without a consumer", c.in->at);
    mem_free(c.s->mem, pending.ids, pending_bytes(pending.n));
    return r;
}

static enum rdb_result check_body(struct checking *c) {
    enum { NODE_BYTES_MIN = 2, GROUP_BYTES_MIN = 5 };
    uint64_t nodes, length = 0, groups;
    enum rdb_result r = get_count(c->in, NODE_BYTES_MIN, &nodes);
    for (uint64_t n = nodes; r == RDB_OK && n > 0; n--)
        r = check_node(c);
    const uint8_t *place = c->in->at;
    if (r != RDB_OK || (r = rdb_get_len(c->in, &length)) != RDB_OK)
        return r;
    if (length > 0 && nodes == 0)
        return rdb_corrupt(c->in, "a stream that says that it has entries and has none", place);
    r = skip_lens(c->in, c->second ? 7 : 2);
    if (r == RDB_OK)
        r = get_count(c->in, GROUP_BYTES_MIN, &groups);
    return r == RDB_OK ? check_named(c, groups, NULL, check_group) : r;
}

static struct object *keep(struct mem *m, uint8_t type, const uint8_t *body, size_t len,
                           uint64_t count) {
    size_t bytes = mem_size(offsetof(struct val_flat, bytes) + len);
    struct val_flat *f = mem_alloc(m, bytes);
    if (f == NULL)
        return NULL;
    f->head = (struct object){.type = VALUE_STREAM,
                              .form = VAL_STREAM,
                              .flags = type,
                              .weight = 1,
                              .count = count,
                              .bytes = bytes,
                              .due_ms = OBJECT_NEVER};
    f->len = (uint32_t)len;
    memcpy(f->bytes, body, len);
    return &f->head;
}

enum rdb_result streamval_of(struct rdb_in *in, uint8_t type, struct rdb_scratch *s,
                             struct object **out) {
    const uint8_t *from = in->at;
    struct checking c = {.in = in,
                         .s = s,
                         .second = type != RDB_STREAM_LISTPACKS,
                         .third = type == RDB_STREAM_LISTPACKS_3};
    enum rdb_result r = check_body(&c);
    size_t len = (size_t)(in->at - from);
    if (r == RDB_OK && len > UINT32_MAX)
        r = rdb_corrupt(in, "a stream of more than 4 GiB", from);
    if (r == RDB_OK && (*out = keep(s->mem, type, from, len, c.alive)) == NULL)
        r = RDB_NOMEM;
    return r;
}

/* --- walking --- */

static int64_t take_int(const uint8_t **p) {
    struct lp_item item;
    lp_entry_get(*p, &item);
    *p += lp_entry_bytes(*p);
    return item.num;
}

static struct span take_text(const uint8_t **p, char digits[STRVAL_INT_BYTES]) {
    struct lp_item item;
    lp_entry_get(*p, &item);
    *p += lp_entry_bytes(*p);
    return lp_item_text(&item, digits);
}

static const uint8_t *pass_over(const uint8_t *p, uint64_t n) {
    for (; n > 0; n--)
        p += lp_entry_bytes(p);
    return p;
}

void streamval_begin(struct stream_iter *i, const struct object *o, struct mem *m) {
    struct span body = streamval_body(o);
    *i = (struct stream_iter){.scratch = {.mem = m}};
    i->in.at = (const uint8_t *)body.ptr;
    i->in.end = i->in.at + body.len;
    i->result = rdb_get_len(&i->in, &i->nodes);
}

/* next_node: false: there is none, or no memory for it. */
static bool next_node(struct stream_iter *i) {
    struct span id, blob;
    if (i->result != RDB_OK || i->nodes == 0)
        return false;
    i->nodes--;
    i->result = rdb_get_string(&i->in, &i->scratch, &id);
    if (i->result != RDB_OK)
        return false;
    i->master = load_id((const uint8_t *)id.ptr);
    i->result = rdb_get_string(&i->in, &i->scratch, &blob);
    if (i->result != RDB_OK)
        return false;
    i->end = (const uint8_t *)blob.ptr + blob.len - 1;
    i->at = pass_over((const uint8_t *)blob.ptr + LP_HEADER, 2);
    i->names_n = (uint64_t)take_int(&i->at);
    i->names = i->at;
    i->at = pass_over(i->at, i->names_n + 1);
    return true;
}

/* next_entry: of this node, deleted or not. Returns its flags. */
static int64_t next_entry(struct stream_iter *i, struct stream_id *id) {
    int64_t flags = take_int(&i->at);
    id->ms = i->master.ms + (uint64_t)take_int(&i->at);
    id->seq = i->master.seq + (uint64_t)take_int(&i->at);
    i->same_names = (flags & ENTRY_SAME_NAMES) != 0;
    i->fields = i->same_names ? i->names_n : (uint64_t)take_int(&i->at);
    i->name = i->same_names ? i->names : i->at;
    i->value = i->at;
    i->at = pass_over(i->at, (i->same_names ? i->fields : 2 * i->fields) + 1);
    return flags;
}

bool streamval_next(struct stream_iter *i, struct stream_id *id) {
    do {
        while (i->at == i->end)
            if (!next_node(i))
                return false;
    } while ((next_entry(i, id) & ENTRY_DELETED) != 0);
    return true;
}

bool streamval_field(struct stream_iter *i, struct span *name, struct span *value) {
    if (i->fields == 0)
        return false;
    i->fields--;
    *name = take_text(&i->name, i->digits[0]);
    if (!i->same_names)
        i->value = i->name;
    *value = take_text(&i->value, i->digits[1]);
    if (!i->same_names)
        i->name = i->value;
    return true;
}

bool streamval_end(struct stream_iter *i) {
    ASSERT(i->result == RDB_OK || i->result == RDB_NOMEM);
    rdb_scratch_free(&i->scratch);
    return i->result == RDB_OK;
}
