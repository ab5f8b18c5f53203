/* ctx_view.c: what the keys of a call hold, on whichever shard they lie. See anax/command.h.
 *
 * Of a call over several shards `look` takes the views, each on its key's shard; the addresses in
 * them lead into that shard's entries, which the transaction's locks keep where they are. Entries
 * are allocations of their own: what happens to other keys of their table does not move them. */
#include "ctx_impl.h"
#include "shards/assert.h"

static void view_take(struct view *v, const struct entry *e) {
    *v = (struct view){.exists = e != NULL};
    if (e == NULL)
        return;
    v->expire_ms = entry_expire_ms(e);
    v->value.type = (uint8_t)entry_type(e);
    v->value.repr = (uint8_t)entry_repr(e);
    v->value.access = entry_access(e);
    if (v->value.repr == REPR_INT)
        v->value.integer = entry_int(e);
    else if (v->value.repr == REPR_OBJECT)
        v->value.object = entry_object(e);
    else
        v->value.bytes = entry_bytes(e);
}

struct key_slot *ctx_slot(const struct ctx *c, uint32_t i) {
    const struct key_slots *s = c->slots;
    ASSERT(i >= s->first_arg);
    uint32_t at = command_key_index(c->cmd, s->first_arg, s->step, i);
    ASSERT(at < s->count);
    ASSERT(s->slot[at].arg == i);
    return &s->slot[at];
}

void ctx_view(struct ctx *c, uint32_t i, struct view *v) {
    if (c->slots == NULL)
        view_take(v, ctx_find(c, i));
    else
        *v = ctx_slot(c, i)->view;
}

void ctx_look_views(struct ctx *c) {
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k))
        view_take(&k->view, ctx_find_at(c, c->argv[k->arg], k->hash));
}

void ctx_slot_replied(const struct ctx *c, struct key_slot *k) {
    k->reply_end = c->reply.out->len;
    k->refs_end = c->reply.out->ref_count;
}

struct span view_text(const struct view *v, char scratch[STRVAL_INT_BYTES]) {
    if (!v->exists)
        return SPAN("");
    ASSERT(v->value.type == VALUE_STRING);
    if (v->value.repr == REPR_INT)
        return (struct span){scratch, strval_format_int(scratch, v->value.integer)};
    if (v->value.repr != REPR_OBJECT)
        return v->value.bytes;
    const struct blob *b = v->value.object;
    return (struct span){b->data, b->len};
}
