/* dump.c: payloads, and DUMP. See dump_impl.h. */
#include "anax/command.h"
#include "anax/instance.h"
#include "anax/val.h"
#include "dump_impl.h"
#include "rdb_types_impl.h"
#include "shards/bytes.h"
#include <endian.h>

enum {
    FIRST_BYTES = 2048,    /* of a payload on the stack: most are no longer */
    BLOB_BYTES_MIN = 8192, /* of one that is longer */
    ELEMENT_BYTES = 256    /* encoded, and compressed, in the time that an element takes */
};

static bool more(struct rdb_out *o) {
    struct dump *d = CONTAINER_OF(o, struct dump, out);
    size_t used = (size_t)(o->at - d->begin);
    size_t cap = 2 * used > BLOB_BYTES_MIN ? 2 * used : BLOB_BYTES_MIN;
    struct blob *b = d->blob == NULL ? blob_create(d->mem, cap) : blob_grow(d->mem, d->blob, cap);
    if (b == NULL)
        return false;
    if (d->blob == NULL && used > 0)
        memcpy(b->data, d->begin, used);
    d->blob = b;
    d->begin = (uint8_t *)b->data;
    o->at = d->begin + used;
    o->end = d->begin + b->cap;
    return true;
}

void dump_begin(struct dump *d, struct mem *m, uint8_t *first, size_t room) {
    *d = (struct dump){
        .out = {.at = first, .end = first + room, .more = more}, .mem = m, .begin = first};
}

static void drop(struct dump *d) {
    if (d->blob != NULL)
        blob_unpin(d->mem, d->blob);
    d->blob = NULL;
}

/* Behind a set whose members have times come these, as a file has them before it: other servers look at nothing that is
 * behind a value. */
static bool has_times(const struct value *v) {
    return v->type == VALUE_SET && v->repr == REPR_OBJECT &&
           ((const struct object *)v->object)->due_ms != OBJECT_NEVER;
}

static void put_times(struct rdb_out *o, const struct value *v) {
    struct rdb_encoder e;
    rdb_encode_begin(&e, v, false);
    while (!rdb_encode_times(&e, o, SIZE_MAX) && !o->failed) {
    }
}

bool dump_value(struct dump *d, const struct value *v, bool compress) {
    struct rdb_encoder e;
    size_t from = (size_t)(d->out.at - d->begin);
    rdb_encode_begin(&e, v, compress);
    rdb_put(&d->out, &e.type, sizeof e.type);
    while (!rdb_encode_some(&e, &d->out, SIZE_MAX) && !d->out.failed) {
    }
    if (has_times(v))
        put_times(&d->out, v);
    uint16_t version = htole16(e.version);
    rdb_put(&d->out, &version, sizeof version);
    uint64_t crc = 0;
    if (!d->out.failed)
        crc = htole64(rdb_crc(0, d->begin + from, (size_t)(d->out.at - d->begin) - from));
    rdb_put(&d->out, &crc, sizeof crc);
    if (d->out.failed)
        drop(d);
    return !d->out.failed;
}

struct blob *dump_blob(struct dump *d) {
    if (d->blob == NULL && !more(&d->out))
        return NULL;
    d->blob->len = (size_t)(d->out.at - d->begin);
    return d->blob;
}

uint64_t dump_elements(const struct value *v) {
    if (v->repr != REPR_OBJECT)
        return 0;
    if (v->type == VALUE_STRING)
        return ((const struct blob *)v->object)->len / ELEMENT_BYTES;
    const struct object *o = v->object;
    return o->count + o->bytes / ELEMENT_BYTES;
}

bool dump_open(struct span payload, struct rdb_in *in, uint8_t *type) {
    if (payload.len < DUMP_FOOTER_BYTES)
        return false;
    const uint8_t *bytes = (const uint8_t *)payload.ptr;
    size_t summed = payload.len - DUMP_CRC_BYTES;
    unsigned version = load_le16(bytes + summed - DUMP_VERSION_BYTES);
    if (version > RDB_VERSION_MAX || rdb_crc(0, bytes, summed) != load_le64(bytes + summed))
        return false;
    *in = (struct rdb_in){.at = bytes,
                          .end = bytes + summed - DUMP_VERSION_BYTES,
                          .valkey = version >= RDB_VALKEY_FROM};
    *type = in->at < in->end ? *in->at++ : RDB_OP_END; /* which is no type */
    return true;
}

/* --- DUMP --- */

struct dumping {
    struct value value;
    bool compress;
    struct blob *made; /* NULL: no memory */
};

static void dump_beside(void *state, struct mem *m) {
    struct dumping *w = state;
    struct dump d;
    dump_begin(&d, m, NULL, 0);
    w->made = dump_value(&d, &w->value, w->compress) ? dump_blob(&d) : NULL;
}

static ON_SHARD void reply_made(struct ctx *c, struct blob *made) {
    if (made == NULL) {
        ctx_oom(c);
        return;
    }
    reply_blob(&c->reply, made, 0, made->len);
    blob_unpin(&c->shard->mem, made);
}

/* dump_now: without work beside the shard, mostly without an allocation. */
static ON_SHARD void dump_now(struct ctx *c, const struct value *v, bool compress) {
    uint8_t first[FIRST_BYTES];
    struct dump d;
    dump_begin(&d, &c->shard->mem, first, sizeof first);
    if (!dump_value(&d, v, compress))
        ctx_oom(c);
    else if (d.blob != NULL)
        reply_made(c, dump_blob(&d));
    else
        reply_bulk(&c->reply, (struct span){(char *)first, (size_t)(d.out.at - first)});
}

static ON_SHARD void dump_run(struct ctx *c) {
    struct dumping w;
    if (ctx_resume(c, &w, sizeof w)) {
        reply_made(c, w.made);
        return;
    }
    struct view v;
    ctx_view(c, 1, &v);
    if (!v.exists) {
        reply_null(&c->reply);
        return;
    }
    uint64_t elements = dump_elements(&v.value);
    w = (struct dumping){.value = v.value,
                         .compress = instance_of(c->shard)->config->rdb_compression};
    if (elements < instance_of(c->shard)->long_elements)
        dump_now(c, &w.value, w.compress);
    else if (!ctx_long(c, elements) && ctx_work(c, elements, dump_beside, &w, sizeof w))
        reply_made(c, w.made);
}

static const struct command rows[] = {
    {"DUMP", dump_run, 2, KEY(1), CMD_READ | CMD_LONG, ACL_KEYSPACE, "generic", "2.6.0",
     "O(N) in what the key holds", "Returns what a key holds, for RESTORE here or elsewhere.",
     .tips = "nondeterministic_output", .key_access = "RO access", .syntax = "key"},
};

void dump_register(void) {
    command_register(rows, COUNT_OF(rows));
}
