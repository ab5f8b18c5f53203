/* val.c: the handle of a list, hash, set or sorted set. See anax/val.h. */
#include "anax/val.h"
#include "anax/fields.h"
#include "anax/intset.h"
#include "anax/listpack.h"
#include "anax/listval.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "shards/assert.h"
#include <limits.h>

enum {
    GROW_AHEAD_BYTES = 4096, /* from there on a block grows by a quarter at least */
    FLAT_BYTES_MAX = 1 << 30 /* so that no sum of lengths overflows */
};
#define FLAT_AT offsetof(struct val_flat, bytes)

static_assert(FLAT_AT == sizeof(struct object) + 4, "what a flat value costs beside its bytes");

static struct val_flat *flat_of(const struct val *v) {
    return CONTAINER_OF(v->bytes, struct val_flat, bytes);
}

static void take_block(struct val *v, struct val_flat *f) {
    v->owned = true;
    v->bytes = f->bytes;
    v->cap = (uint32_t)(f->head.bytes - FLAT_AT);
}

/* --- where a value lies --- */

struct object *val_object(const struct val *v) {
    if (!val_is_flat(v))
        return v->big;
    if (!v->owned)
        return NULL;
    struct val_flat *f = flat_of(v);
    ASSERT(f->len == v->len);
    ASSERT(f->head.form == v->form);
    return &f->head;
}

void val_of_object(struct val *v, struct mem *m, struct object *o) {
    *v = (struct val){.mem = m, .type = o->type, .form = o->form};
    if (!val_is_flat(v)) {
        v->big = o;
        return;
    }
    struct val_flat *f = CONTAINER_OF(o, struct val_flat, head);
    take_block(v, f);
    v->len = f->len;
}

void val_of_bytes(struct val *v, struct mem *m, uint8_t type, uint8_t form, uint8_t *bytes,
                  uint32_t len, uint32_t cap) {
    *v = (struct val){.mem = m, .type = type, .form = form, .len = len, .cap = cap, .bytes = bytes};
}

/* --- flat values --- */

static struct val_flat *block_create(struct mem *m, uint8_t type, size_t len) {
    size_t bytes = mem_size(FLAT_AT + len);
    struct val_flat *f = mem_alloc(m, bytes);
    if (f != NULL)
        f->head =
            (struct object){.type = type, .weight = 1, .bytes = bytes, .due_ms = OBJECT_NEVER};
    return f;
}

static bool block_resize(struct val *v, size_t bytes) {
    struct val_flat *f = flat_of(v);
    f = mem_realloc(v->mem, f, f->head.bytes, bytes);
    if (f == NULL)
        return false;
    f->head.bytes = bytes;
    take_block(v, f);
    return true;
}

bool val_room(struct val *v, size_t len) {
    if (likely(len <= v->cap))
        return true;
    if (len > FLAT_BYTES_MAX)
        return false;
    if (v->owned) {
        size_t was = flat_of(v)->head.bytes, need = FLAT_AT + len;
        if (need > GROW_AHEAD_BYTES && need < was + was / 4)
            need = was + was / 4;
        return block_resize(v, mem_size(need));
    }
    struct val_flat *f = block_create(v->mem, v->type, len);
    if (f == NULL)
        return false;
    f->head.form = v->form;
    f->len = v->len;
    if (v->len > 0)
        memcpy(f->bytes, v->bytes, v->len);
    take_block(v, f);
    return true;
}

void val_set_len(struct val *v, uint32_t len) {
    ASSERT(val_is_flat(v));
    ASSERT(len <= v->cap);
    v->len = len;
    if (!v->owned)
        return;
    struct val_flat *f = flat_of(v);
    f->head.form = v->form;
    f->len = len;
    size_t need = FLAT_AT + len;
    /* Without memory for a smaller block this one does. */
    if (unlikely(need < f->head.bytes / 2) && !block_resize(v, mem_size(need)))
        return;
}

static void drop_block(struct val *v) {
    if (v->owned)
        mem_free(v->mem, flat_of(v), flat_of(v)->head.bytes);
}

void val_become(struct val *v, uint8_t form, struct object *big) {
    drop_block(v);
    *v = (struct val){.mem = v->mem, .type = v->type, .form = form, .big = big};
}

void val_destroy(struct val *v) {
    struct object *big = val_is_flat(v) ? NULL : v->big;
    unsigned budget = UINT_MAX;
    while (big != NULL && !val_ops_of(big->form)->destroy_some(v->mem, big, &budget))
        budget = UINT_MAX;
    drop_block(v);
    val_init(v, v->mem, v->type);
}

bool val_flat_destroy(struct mem *m, struct object *o, unsigned *budget) {
    *budget -= *budget > 0;
    mem_free(m, o, o->bytes);
    return true;
}

/* copy_bytes: `from` is an object's, or NULL: the bytes lie in an entry. */
static struct val_flat *copy_bytes(struct mem *m, uint8_t type, uint8_t form, const uint8_t *bytes,
                                   uint32_t len, const struct object *from) {
    struct val_flat *f = block_create(m, type, len);
    if (f == NULL)
        return NULL;
    f->head.form = form;
    f->len = len;
    memcpy(f->bytes, bytes, len);
    if (from != NULL) {
        f->head.flags = from->flags;
        f->head.count = from->count;
        f->head.due_ms = from->due_ms;
    }
    return f;
}

struct object *val_flat_copy(struct mem *m, const struct object *from) {
    const struct val_flat *f = (const struct val_flat *)from;
    struct val_flat *copy = copy_bytes(m, from->type, from->form, f->bytes, f->len, from);
    return copy == NULL ? NULL : &copy->head;
}

struct object *val_flat_defrag(struct mover *v, struct object *o, uint64_t *cursor) {
    *cursor = 0;
    return move_small(v, o, o->bytes);
}

/* --- for whoever keeps values --- */

uint64_t val_count(const struct val *v) {
    switch (v->form) {
    case VAL_NONE:
        return 0;
    case VAL_LISTPACK:
        return lp_count(v->bytes) >> (v->type == VALUE_HASH || v->type == VALUE_ZSET);
    case VAL_INTSET:
        return intset_count(v->bytes);
    default:
        return val_object(v)->count;
    }
}

size_t val_bytes(const struct val *v) {
    const struct object *o = val_object(v);
    return o == NULL ? 0 : o->bytes;
}

bool val_copy(struct val *to, const struct val *from) {
    struct mem *m = to->mem;
    const struct object *o = val_object(from);
    struct object *copy;
    if (from->form == VAL_NONE) {
        val_init(to, m, from->type);
        return true;
    }
    if (o != NULL) {
        copy = val_ops_of(from->form)->copy(m, o);
    } else {
        struct val_flat *f = copy_bytes(m, from->type, from->form, from->bytes, from->len, NULL);
        copy = f == NULL ? NULL : &f->head;
    }
    if (copy == NULL)
        return false;
    val_of_object(to, m, copy);
    return true;
}

const char *val_encoding(const struct val *v) {
    switch (v->form) {
    case VAL_INTSET:
        return "intset";
    case VAL_CHUNKS:
        return "quicklist";
    case VAL_TABLE:
    case VAL_ROARING:
        return "hashtable";
    case VAL_TREE:
        return "skiplist";
    case VAL_STREAM:
        return "stream";
    case VAL_LISTPACK_TTL: /* Redis has no such sets; a client sees a small one */
        return v->type == VALUE_HASH ? "listpackex" : "listpack";
    default:
        return "listpack";
    }
}

const char *val_form_name(uint8_t form) {
    static const char *const names[VAL_FORMS] = {
        [VAL_NONE] = "none",       [VAL_LISTPACK] = "listpack", [VAL_LISTPACK_TTL] = "listpack-ttl",
        [VAL_INTSET] = "intset",   [VAL_CHUNKS] = "chunks",     [VAL_TABLE] = "table",
        [VAL_ROARING] = "roaring", [VAL_TREE] = "tree",         [VAL_STREAM] = "stream"};
    ASSERT(form < VAL_FORMS);
    return names[form];
}

const struct val_ops *val_ops_of(uint8_t form) {
    static const struct val_ops flat = {
        .destroy_some = val_flat_destroy, .copy = val_flat_copy, .defrag_some = val_flat_defrag};
    static const struct val_ops *const ops[VAL_FORMS] = {[VAL_LISTPACK] = &flat,
                                                         [VAL_LISTPACK_TTL] = &fields_ttl_ops,
                                                         [VAL_INTSET] = &flat,
                                                         [VAL_CHUNKS] = &listval_ops,
                                                         [VAL_TABLE] = &fields_table_ops,
                                                         [VAL_ROARING] = &setval_roaring_ops,
                                                         [VAL_TREE] = &zsetval_ops,
                                                         [VAL_STREAM] = &flat};
    ASSERT(form > VAL_NONE);
    ASSERT(form < VAL_FORMS);
    return ops[form];
}
