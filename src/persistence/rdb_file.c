/* rdb_file.c: what a file holds beside its keys: before them what it is and what its databases will hold, behind them the end and
 * the checksum of all. */
#include "anax/strval.h"
#include "saves_impl.h"
#include <stdio.h>
#include <string.h>

enum { MAGIC_BYTES = 9, HEAD_FIRST = 1024 };

struct head {
    struct rdb_out out;
    struct mem *mem;
    char *bytes;
    size_t cap;
};

/* grow: all that there is moves to a larger place. */
static bool grow(struct rdb_out *o) {
    struct head *h = CONTAINER_OF(o, struct head, out);
    size_t cap = h->cap == 0 ? HEAD_FIRST : 2 * h->cap, len = h->cap;
    char *bytes = mem_realloc(h->mem, h->bytes, h->cap, cap);
    if (bytes == NULL)
        return false;
    h->bytes = bytes;
    h->cap = cap;
    o->at = (uint8_t *)bytes + len;
    o->end = (uint8_t *)bytes + cap;
    return true;
}

static void put_op(struct head *h, uint8_t op) {
    rdb_put(&h->out, &op, 1);
}

static struct span text(const char *s) {
    return (struct span){s, strlen(s)};
}

static void put_aux(struct head *h, const char *name, const char *value) {
    put_op(h, RDB_OP_AUX);
    rdb_put_string(&h->out, text(name), false);
    rdb_put_string(&h->out, text(value), false);
}

static void put_aux_int(struct head *h, const char *name, int64_t value) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%ld", (long)value);
    put_aux(h, name, digits);
}

static const struct save_part *part_of(const struct saves *v, unsigned shard) {
    return persistence_of(shards_get(v->shard->all, shard))->part;
}

/* put_sizes: so that who loads it can make room. */
static void put_sizes(struct head *h, const struct saves *v) {
    unsigned databases = part_of(v, 0)->databases;
    for (unsigned db = 0; db < databases; db++) {
        struct save_db all = {0};
        for (unsigned i = 0; i < v->tx.part_count; i++) {
            const struct save_part *p = part_of(v, i);
            all.keys += p->dbs[db].keys;
            all.expires += p->dbs[db].expires;
        }
        if (all.keys == 0)
            continue;
        put_op(h, RDB_OP_SELECTDB);
        rdb_put_len(&h->out, db);
        put_op(h, RDB_OP_RESIZEDB);
        rdb_put_len(&h->out, all.keys);
        rdb_put_len(&h->out, all.expires);
    }
}

bool rdb_file_head(struct saves *v) {
    struct head h = {.out.more = grow, .mem = &v->shard->mem};
    int64_t used = 0;
    for (unsigned i = 0; i < v->tx.part_count; i++)
        used += part_of(v, i)->used_bytes;
    rdb_put(&h.out, "REDIS0000", MAGIC_BYTES);
    put_aux(&h, "redis-ver", COMMAND_COMPATIBLE_VERSION);
    put_aux_int(&h, "redis-bits", 64);
    put_aux_int(&h, "ctime", v->began_s);
    put_aux_int(&h, "used-mem", used);
    put_aux_int(&h, "aof-base", 0);
    for (const struct library *l = persistence_of(v->shard)->libraries; l != NULL; l = l->next) {
        put_op(&h, RDB_OP_FUNCTION2);
        rdb_put_string(&h.out, (struct span){l->bytes, l->len}, v->compress);
    }
    put_sizes(&h, v);
    v->head = h.bytes;
    v->head_cap = h.cap;
    v->head_len = h.bytes == NULL ? 0 : (size_t)((char *)h.out.at - h.bytes);
    v->offset = v->head_len;
    return !h.out.failed;
}

void rdb_file_finish(struct saves *v) {
    char version[8];
    (void)snprintf(version, sizeof version, "%04u", v->version);
    memcpy(v->head + MAGIC_BYTES - 4, version, 4);
    v->foot[0] = RDB_OP_END;
    uint64_t crc = 0;
    if (v->checksum) {
        crc = rdb_crc_join(rdb_crc(0, v->head, v->head_len), v->crc, v->offset - v->head_len);
        crc = rdb_crc(crc, v->foot, 1);
    }
    for (unsigned i = 0; i < sizeof crc; i++) /* little endian */
        v->foot[1 + i] = (uint8_t)(crc >> 8 * i);
}
