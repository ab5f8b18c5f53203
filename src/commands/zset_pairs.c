/* zset_pairs.c: members and scores that a command gathers. See zset_impl.h. */
#include "shards/assert.h"
#include "zset_impl.h"

enum { PAIRS_MIN = 16, TEXTS_BYTES = 4096 };

struct zset_texts {
    struct zset_texts *next;
    size_t used, room;
    char bytes[];
};

void zset_pairs_init(struct zset_pairs *p, struct mem *m) {
    *p = (struct zset_pairs){.mem = m};
}

void zset_pairs_deinit(struct zset_pairs *p) {
    mem_free(p->mem, p->list, p->cap * sizeof(*p->list));
    while (p->texts != NULL) {
        struct zset_texts *t = p->texts;
        p->texts = t->next;
        mem_free(p->mem, t, sizeof(*t) + t->room);
    }
    zset_pairs_init(p, p->mem);
}

bool zset_pairs_reserve(struct zset_pairs *p, size_t n) {
    if (n <= p->cap)
        return true;
    struct zset_pair *list =
        mem_realloc(p->mem, p->list, p->cap * sizeof(*list), n * sizeof(*list));
    if (list == NULL)
        return false;
    p->list = list;
    p->cap = n;
    return true;
}

bool zset_pairs_add(struct zset_pairs *p, struct span member, double score) {
    if (unlikely(p->count == p->cap) &&
        !zset_pairs_reserve(p, p->cap == 0 ? PAIRS_MIN : 2 * p->cap))
        return false;
    p->list[p->count++] = (struct zset_pair){.member = member, .score = score};
    return true;
}

/* keep: the same bytes, which stay. */
static const char *keep(struct zset_pairs *p, struct span s) {
    struct zset_texts *t = p->texts;
    if (t == NULL || t->room - t->used < s.len) {
        size_t room = s.len > TEXTS_BYTES - sizeof(*t) ? s.len : TEXTS_BYTES - sizeof(*t);
        t = mem_alloc(p->mem, sizeof(*t) + room);
        if (t == NULL)
            return NULL;
        *t = (struct zset_texts){.next = p->texts, .room = room};
        p->texts = t;
    }
    char *to = t->bytes + t->used;
    if (s.len > 0)
        memcpy(to, s.ptr, s.len);
    t->used += s.len;
    return to;
}

bool zset_pairs_copy(struct zset_pairs *p, struct span member, double score) {
    const char *kept = keep(p, member);
    return kept != NULL && zset_pairs_add(p, (struct span){kept, member.len}, score);
}

bool zset_pairs_add_item(struct zset_pairs *p, const struct zset_item *e) {
    bool fleeting = e->member.ptr >= e->digits && e->member.ptr < e->digits + sizeof(e->digits);
    return (fleeting ? zset_pairs_copy : zset_pairs_add)(p, e->member, e->score);
}

void zset_made_fill(struct zset_made *made, const struct zset_pairs *p) {
    val_init(&made->val, p->mem, VALUE_ZSET);
    made->count = p->count;
    made->done = zsetval_build(&made->val, &made->kind, p->list, p->count);
}

void zset_made_store(struct ctx *c, struct zset_made *made) {
    made->val.mem = keyspace_mem(c->keyspace);
    if (!made->done)
        ctx_oom(c);
    else if (coll_replace(c, 1, &made->val))
        reply_int(&c->reply, (int64_t)made->count);
}
