#include "entry_impl.h"
#include "shards/assert.h"

/* Immutable once the shards run: types register before. */
static struct value_ops type_ops[VALUE_TYPES_MAX];

void keyspace_register_type(unsigned type, const struct value_ops *ops) {
    ASSERT(type < VALUE_TYPES_MAX);
    type_ops[type] = *ops;
}

const struct value_ops *value_ops_of(unsigned type) {
    return &type_ops[type];
}

struct span entry_key(const struct entry *e) {
    return (struct span){(const char *)entry_raw(e) + entry_key_at(e), entry_key_len(e)};
}

unsigned entry_type(const struct entry *e) {
    return entry_raw(e)[0] & 0x0f;
}

enum repr entry_repr(const struct entry *e) {
    return (enum repr)(entry_raw(e)[0] >> 4 & 3);
}

static void *word_of(const struct entry *e) {
    void *word;
    memcpy(&word, entry_raw(e) + entry_value_at(e), sizeof word);
    return word;
}

int64_t entry_int(const struct entry *e) {
    ASSERT(entry_repr(e) == REPR_INT);
    int64_t v;
    memcpy(&v, entry_raw(e) + entry_value_at(e), sizeof v);
    return v;
}

struct span entry_bytes(const struct entry *e) {
    size_t len = entry_tail(e) & ENTRY_INLINE_MAX;
    return (struct span){(const char *)entry_raw(e) + entry_value_at(e), len};
}

char *entry_bytes_mut(struct entry *e) {
    return (char *)e + entry_value_at(e);
}

void *entry_object(const struct entry *e) {
    ASSERT(entry_repr(e) == REPR_OBJECT);
    return word_of(e);
}

void entry_set_int(struct entry *e, int64_t v) {
    ASSERT(entry_repr(e) == REPR_INT);
    memcpy((char *)e + entry_value_at(e), &v, sizeof v);
}

size_t entry_room(const struct entry *e) {
    size_t room = mem_size(entry_size(e)) - entry_value_at(e);
    return room < ENTRY_INLINE_MAX ? room : ENTRY_INLINE_MAX;
}

bool entry_keeps_class(const struct entry *e, size_t len) {
    return len <= ENTRY_INLINE_MAX && mem_size(entry_value_at(e) + len) == mem_size(entry_size(e));
}

void entry_set_len(struct entry *e, size_t len) {
    ASSERT(entry_type(e) != VALUE_STRING); /* table_lengths would not hear of it */
    ASSERT(repr_is_bytes(entry_repr(e)));
    ASSERT(entry_keeps_class(e, len));
    uint32_t tail = (entry_tail(e) & ~(uint32_t)ENTRY_INLINE_MAX) | (uint32_t)len;
    memcpy((char *)e + 2, &tail, sizeof tail);
}

void entry_set_object(struct entry *e, void *object) {
    ASSERT(entry_repr(e) == REPR_OBJECT);
    memcpy((char *)e + entry_value_at(e), &object, sizeof object);
}

int64_t entry_expire_ms(const struct entry *e) {
    return entry_has_expiry(e) ? entry_expiry(e) : EXPIRE_NEVER;
}

uint32_t entry_access(const struct entry *e) {
    return entry_tail(e) >> ENTRY_VLEN_BITS | (uint32_t)(entry_raw(e)[0] >> 7) << 22;
}

void entry_set_access(struct entry *e, uint32_t access) {
    uint8_t *raw = (uint8_t *)e;
    uint32_t tail = (entry_tail(e) & ENTRY_INLINE_MAX) | access << ENTRY_VLEN_BITS;
    memcpy(raw + 2, &tail, sizeof tail);
    raw[0] = (uint8_t)((raw[0] & 0x7f) | ((access >> 22) & 1) << 7);
}

size_t entry_bytes_total(const struct entry *e) {
    size_t bytes = mem_size(entry_size(e));
    if (entry_repr(e) == REPR_OBJECT)
        bytes += type_ops[entry_type(e)].bytes(word_of(e));
    return bytes;
}

struct value entry_value(const struct entry *e) {
    struct value v = {
        .type = (uint8_t)entry_type(e), .repr = (uint8_t)entry_repr(e), .access = entry_access(e)};
    if (v.repr == REPR_INT)
        v.integer = entry_int(e);
    else if (v.repr == REPR_OBJECT)
        v.object = word_of(e);
    else
        v.bytes = entry_bytes(e);
    return v;
}

unsigned entry_word_bin(const struct entry *e) {
    struct value v = entry_value(e);
    return value_bin(&v);
}

void entry_overwrite(struct entry *e, const struct value *v, int64_t expire_ms) {
    uint8_t *raw = (uint8_t *)e;
    bool bytes = repr_is_bytes(v->repr);
    ASSERT(!bytes || v->bytes.len <= ENTRY_INLINE_MAX);
    raw[0] = (uint8_t)(v->type | (uint32_t)v->repr << 4 | (raw[0] & 0x40U) |
                       ((v->access >> 22) & 1) << 7);
    uint32_t tail = (bytes ? (uint32_t)v->bytes.len : 0) | v->access << ENTRY_VLEN_BITS;
    memcpy(raw + 2, &tail, sizeof tail);
    if (raw[0] & 0x40)
        memcpy(raw + ENTRY_HEADER, &expire_ms, ENTRY_EXPIRY);
    char *value = (char *)raw + entry_value_at(e);
    if (v->repr == REPR_INT)
        memcpy(value, &v->integer, ENTRY_WORD);
    else if (v->repr == REPR_OBJECT)
        memcpy(value, &v->object, ENTRY_WORD);
    else if (v->bytes.len != 0) /* an empty span may have no address */
        memcpy(value, v->bytes.ptr, v->bytes.len);
}

void entry_write(struct entry *to, struct span key, const struct value *v, int64_t expire_ms) {
    uint8_t *raw = (uint8_t *)to;
    bool expires = expire_ms != EXPIRE_NEVER, is_long = key.len >= ENTRY_LONG_KEY;
    size_t key_at = ENTRY_HEADER + (expires ? ENTRY_EXPIRY : 0U) + (is_long ? ENTRY_LONG_LEN : 0U);
    /* The key first: it may lie where other parts go now. */
    if (key.len != 0)
        memmove(raw + key_at, key.ptr, key.len);
    if (is_long) {
        uint32_t len = (uint32_t)key.len;
        memcpy(raw + key_at - ENTRY_LONG_LEN, &len, sizeof len);
    }
    raw[0] = expires ? 0x40 : 0;
    raw[1] = (uint8_t)(is_long ? ENTRY_LONG_KEY : key.len);
    entry_overwrite(to, v, expire_ms);
}
