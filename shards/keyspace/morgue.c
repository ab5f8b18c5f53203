#include "entry_impl.h"
#include "morgue_impl.h"
#include "shards/assert.h"

unsigned morgue_bring(struct morgue *g, unsigned type, void *object) {
    const struct value_ops *ops = value_ops_of(type);
    if (ops->destroy_some == NULL) {
        ops->destroy(g->mem, object);
        return 1;
    }
    struct object *o = object;
    unsigned weight = o->weight;
    if (likely(weight <= OBJECT_WEIGHT_NOW)) {
        ops->destroy(g->mem, o);
        return weight;
    }
    o->next = g->first;
    g->first = o;
    ++*g->pending;
    return 1;
}

bool morgue_free_some(struct morgue *g, unsigned *budget) {
    while (g->first != NULL && *budget != 0) {
        struct object *o = g->first, *next = o->next;
        unsigned before = *budget;
        bool gone = value_ops_of(o->type)->destroy_some(g->mem, o, budget);
        ASSERT(*budget <= before); /* else the next one would be freed in one go */
        if (!gone)
            break;
        g->first = next;
        --*g->pending;
    }
    return g->first != NULL;
}
