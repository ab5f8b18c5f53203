/* roaring_defrag.c: moving what a set of integers consists of. See shards/move.h.
 *
 * What CRoaring allocates comes from malloc, as what mem.h gives, and goes back by free. */
#include "roaring_impl.h"
#include "shards/assert.h"

/* A cursor is a container of a part, container + 1 in its low half; with this bit, a cursor of what is beside them. */
#define CURSOR_REST (1ULL << 63)

static void *move_container(struct mover *v, void *container, uint8_t type) {
    if (type == BITSET_CONTAINER_TYPE_CODE) {
        bitset_container_t *c = move_small(v, container, sizeof *c);
        c->array = move_lines(v, c->array, BITSET_CONTAINER_SIZE_IN_WORDS * sizeof *c->array);
        return c;
    }
    ASSERT(type == ARRAY_CONTAINER_TYPE_CODE);
    array_container_t *c = move_small(v, container, sizeof *c);
    if (c->capacity > 0)
        c->array = move_small(v, c->array, (size_t)c->capacity * sizeof *c->array);
    return c;
}

/* move_directory: the addresses of containers, behind them their keys and types. */
static void move_directory(struct mover *v, roaring_array_t *ra) {
    size_t each = sizeof(*ra->containers) + sizeof *ra->keys + sizeof *ra->typecodes;
    if (ra->allocation_size == 0)
        return;
    size_t keys_at = (size_t)((char *)ra->keys - (char *)ra->containers);
    size_t types_at = (size_t)((char *)ra->typecodes - (char *)ra->containers);
    char *now = move_small(v, ra->containers, (size_t)ra->allocation_size * each);
    ra->containers = (void **)(void *)now;
    ra->keys = (uint16_t *)(void *)(now + keys_at);
    ra->typecodes = (uint8_t *)now + types_at;
}

/* defrag_part: from container `from` on; returns where to go on, how many there are at the end. */
static uint32_t defrag_part(struct mover *v, struct roaring_part *p, uint32_t from) {
    uint32_t i = from;
    if (i == 0) {
        p->bitmap = move_small(v, p->bitmap, sizeof *p->bitmap);
        p->ranks = move_small(v, p->ranks, sizeof *p->ranks);
        move_directory(v, &p->bitmap->high_low_container);
    }
    roaring_array_t *ra = &p->bitmap->high_low_container;
    for (; i < (uint32_t)ra->size && (v->budget > 0 || i == from); i++)
        ra->containers[i] = move_container(v, ra->containers[i], ra->typecodes[i]);
    return i;
}

/* defrag_ints: true when it is through. */
static bool defrag_ints(struct mover *v, struct roaring *r, uint64_t *cursor) {
    uint64_t part = *cursor >> 32;
    uint32_t container = (uint32_t)*cursor;
    for (bool first = true; part < r->parts; part++, container = 0, first = false) {
        if (!first && v->budget == 0)
            break;
        container = defrag_part(v, &r->part[part], container);
        if (container < (uint32_t)r->part[part].bitmap->high_low_container.size)
            break;
    }
    *cursor = part << 32 | container;
    return part >= r->parts;
}

struct object *roaring_defrag_some(struct mover *v, struct object *o, uint64_t *cursor) {
    struct roaring *r = (struct roaring *)o;
    if (*cursor == 0) {
        r = move_small(v, r, sizeof *r);
        r->part = move_small(v, r->part, r->cap * sizeof *r->part);
        r->group = move_small(v, r->group, r->cap / PART_GROUP * sizeof *r->group);
    }
    if ((*cursor & CURSOR_REST) == 0 && !defrag_ints(v, r, cursor))
        return &r->o;
    uint64_t inner = *cursor & CURSOR_REST ? *cursor & ~CURSOR_REST : 0;
    if (r->rest != NULL)
        r->rest = val_ops_of(r->rest->form)->defrag_some(v, r->rest, &inner);
    *cursor = inner == 0 ? 0 : CURSOR_REST | inner;
    return &r->o;
}
