/* rdb_fuzz: a value of any type, of whatever bytes: it is refused, or becomes a value that is written and read again as itself;
 * what is skipped ends where decoding ends. The first byte is the type, of Valkey's numbers with bit 7; the second says how often
 * memory fails, and the limits of flat forms. */
#include "../../src/persistence/digest_impl.h"
#include "anax/config.h"
#include "anax/rdb.h"
#include "anax/val.h"
#include "shards/assert.h"
#include "shards/blob.h"
#include "shards/hash.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 64 * 1024 * 1024, SLICE_BYTES = 512 };
static const int64_t NOW_MS = 1700000000000;

static struct config limits[2];
static struct mem mem;

static void begin(void) {
    uint64_t seed = 1;
    static bool begun;
    if (begun)
        return;
    begun = true;
    if (hash_seed(&seed) != OK)
        abort();
    config_defaults(&limits[0]);
    limits[1] = limits[0];
    limits[1].hash_listpack_entries_max = limits[1].set_listpack_entries_max = 2;
    limits[1].zset_listpack_entries_max = limits[1].set_intset_entries_max = 2;
    limits[1].list_listpack_size_max = 2;
}

static void drop(const struct value *v) {
    struct val val;
    if (v->repr != REPR_OBJECT || v->object == NULL)
        return;
    if (v->type == VALUE_STRING) {
        blob_unpin(&mem, v->object);
        return;
    }
    val_of_object(&val, &mem, v->object);
    val_destroy(&val);
}

static bool no_more(struct rdb_out *o) {
    (void)o;
    return false;
}

static struct digest digest_of(const struct value *v) {
    struct digest d = {{0}};
    ASSERT(digest_value(&d, v, EXPIRE_NEVER, NOW_MS, &mem));
    return d;
}

/* again: what it is written as says the same; under the same limits, as a flat sorted set makes 0 of a score of -0. */
static void again(const struct value *v, const struct config *c, bool compress) {
    static uint8_t bytes[OUT_BYTES_MAX];
    struct rdb_out out = {.at = bytes, .end = bytes + sizeof bytes, .more = no_more};
    struct rdb_encoder e;
    struct rdb_scratch s = {.mem = &mem};
    struct value back;
    rdb_encode_begin(&e, v, compress);
    while (!rdb_encode_some(&e, &out, SLICE_BYTES))
        ;
    if (out.failed)
        return;
    struct rdb_in in = {.at = bytes, .end = out.at};
    ASSERT(rdb_decode_value(&in, e.type, &s, c, NOW_MS, &back) == RDB_OK);
    ASSERT(in.at == in.end);
    struct digest was = digest_of(v), is = digest_of(&back);
    ASSERT(memcmp(was.bytes, is.bytes, sizeof was.bytes) == 0);
    drop(&back);
    mem_free(&mem, s.bytes, s.cap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    begin();
    if (size < 2)
        return 0;
    uint8_t type = data[0] & 127;
    struct rdb_in in = {.at = data + 2, .end = data + size, .valkey = (data[0] & 128) != 0};
    struct rdb_in skipped = in;
    struct rdb_scratch s = {.mem = &mem};
    struct value v;
    mem.fail_in = mem.fail_every = data[1] >> 1 & 63;
    enum rdb_result skip = rdb_skip_value(&skipped, type);
    enum rdb_result r = rdb_decode_value(&in, type, &s, &limits[data[1] & 1], NOW_MS, &v);
    mem.fail_in = mem.fail_every = 0;
    if (r == RDB_OK || r == RDB_MODULE) {
        ASSERT(skip == RDB_OK);
        ASSERT(skipped.at == in.at);
    } else {
        ASSERT(in.at == data + 2);
    }
    if (r == RDB_CORRUPT) {
        ASSERT(in.why != NULL);
        ASSERT(in.bad >= data + 2);
        ASSERT(in.bad <= in.end);
    }
    if (r == RDB_OK) {
        if (v.repr != REPR_OBJECT || v.object != NULL)
            again(&v, &limits[data[1] & 1], (data[1] & 128) != 0);
        drop(&v);
    }
    mem_free(&mem, s.bytes, s.cap);
    ASSERT(mem.used_bytes == 0);
    return 0;
}
