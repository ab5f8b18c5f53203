/* item.c: see item_impl.h. */
#include "item_impl.h"
#include "shards/assert.h"

static unsigned name_len_bytes(size_t len) {
    return len < ITEM_NAME_16 ? 0 : len <= UINT16_MAX ? 2 : 4;
}

size_t item_bytes(const struct item *i) {
    size_t bytes = 1 + name_len_bytes(i->name.len) + i->name.len + (i->timed ? ITEM_TIME : 0U);
    if (i->valued)
        bytes += (i->value.len < ITEM_VALUE_32 ? 1 : 5) + i->value.len;
    return bytes;
}

static uint8_t *put_bytes(uint8_t *p, const void *from, size_t n) {
    if (n != 0)
        memcpy(p, from, n);
    return p + n;
}

void item_write(uint8_t *p, const struct item *i) {
    uint32_t name_len = (uint32_t)i->name.len, value_len = (uint32_t)i->value.len;
    unsigned more = name_len_bytes(name_len);
    unsigned told = more == 0 ? name_len : more == 2 ? ITEM_NAME_16 : ITEM_NAME_32;
    *p++ = (uint8_t)(told << ITEM_NAME_SHIFT | (i->valued ? ITEM_VALUED : 0U) |
                     (i->timed ? ITEM_TIMED : 0U));
    p = put_bytes(p, &name_len, more);
    if (i->valued) {
        *p++ = value_len < ITEM_VALUE_32 ? (uint8_t)value_len : ITEM_VALUE_32;
        p = put_bytes(p, &value_len, value_len < ITEM_VALUE_32 ? 0 : 4);
    }
    if (i->timed)
        p = put_bytes(p, &i->expire_ms, ITEM_TIME);
    p = put_bytes(p, i->name.ptr, name_len);
    if (i->valued)
        (void)put_bytes(p, i->value.ptr, value_len);
}

void item_set_time(uint8_t *p, int64_t expire_ms) {
    struct item i;
    uint8_t *name = p + (item_head(p, &i) - p);
    ASSERT(i.timed);
    memcpy(name - ITEM_TIME, &expire_ms, ITEM_TIME);
}

/* item_alloc: asks for the whole size class, since a row may be written over by one that uses all of it. */
static uint8_t *item_alloc(struct mem *m, size_t size) {
    return mem_alloc(m, mem_size(size));
}

uint8_t *item_create(struct mem *m, const struct item *i) {
    uint8_t *p = item_alloc(m, item_bytes(i));
    if (likely(p != NULL))
        item_write(p, i);
    return p;
}

size_t item_size(const uint8_t *p) {
    struct item i;
    (void)item_head(p, &i);
    return item_bytes(&i);
}

void item_free(struct mem *m, uint8_t *p) {
    mem_free(m, p, item_size(p));
}

uint8_t *item_copy(struct mem *m, const uint8_t *from) {
    size_t size = item_size(from);
    uint8_t *p = item_alloc(m, size);
    if (likely(p != NULL))
        memcpy(p, from, size);
    return p;
}
