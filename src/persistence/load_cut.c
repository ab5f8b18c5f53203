/* load_cut.c: pieces of a file into records, dealt to the shards of their keys; and all that is in a file beside keys. */
#include "anax/words.h"
#include "load_impl.h"
#include "shards/bytes.h"
#include "shards/log.h"
#include <endian.h>
#include <string.h>

enum {
    SIGNATURE_BYTES = 9,
    REDIS_VERSION_MAX = 12,
    VERSION_WITH_CHECKSUM = 5,
    CHECKSUM_BYTES = 8,
    SHOWN_MAX = 128 /* bytes of a text in the log */
};

static size_t left_of(const struct rdb_in *in) {
    return (size_t)(in->end - in->at);
}

static enum rdb_result corrupt(struct rdb_in *in, const char *why, const uint8_t *bad) {
    in->why = why;
    in->bad = bad;
    return RDB_CORRUPT;
}

static enum rdb_result take_bytes(struct rdb_in *in, void *to, size_t n) {
    if (left_of(in) < n)
        return RDB_MORE;
    memcpy(to, in->at, n);
    in->at += n;
    return RDB_OK;
}

static int shown(struct span s) {
    return (int)(s.len < SHOWN_MAX ? s.len : SHOWN_MAX);
}

/* --- the head --- */

/* number: of digits alone, else 0. */
static unsigned number(const uint8_t *digits, unsigned n) {
    unsigned v = 0;
    for (unsigned i = 0; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        v = v * 10 + digits[i] - '0';
    }
    return v;
}

static enum rdb_result cut_head(struct load *l, struct rdb_in *in) {
    const uint8_t *p = in->at;
    if (left_of(in) < SIGNATURE_BYTES)
        return RDB_MORE;
    bool redis = memcmp(p, "REDIS", 5) == 0, valkey = memcmp(p, "VALKEY", 6) == 0;
    if (!redis && !valkey)
        return corrupt(in, "it does not begin as RDB files do", p);
    l->version = redis ? number(p + 5, 4) : number(p + 6, 3);
    l->valkey = valkey;
    bool known = redis ? l->version >= 1 && l->version <= REDIS_VERSION_MAX
                       : l->version >= RDB_VALKEY_FROM && l->version <= RDB_VERSION_MAX;
    if (!known) {
        load_fail_at(l, piece_offset(l->piece, p),
                     "a version of the format that is not known: %.9s", (const char *)p);
        return RDB_CORRUPT;
    }
    in->at += SIGNATURE_BYTES;
    l->begun = true;
    return RDB_OK;
}

/* --- what is no key --- */

static enum rdb_result cut_expiry(struct rdb_in *in, struct record *r, bool in_ms) {
    uint64_t v = 0;
    enum rdb_result result = take_bytes(in, &v, in_ms ? 8 : 4);
    int64_t t = in_ms ? (int64_t)le64toh(v) : (int64_t)(int32_t)le32toh((uint32_t)v) * 1000;
    if (result == RDB_OK) {
        r->expires = true;
        r->expire_ms = t;
    }
    return result;
}

static void note_aux(struct load *l, struct span name, struct span value) {
    int64_t n;
    if (span_is(name, "redis-ver") || span_is(name, "valkey-ver")) {
        LOGN("Loading RDB produced by %s version %.*s", l->valkey ? "Valkey" : "Redis",
             shown(value), value.ptr);
    } else if (span_is(name, "ctime") && words_int(value, &n)) {
        int64_t age = l->home->wall_ms / 1000 - n;
        LOGN("RDB age %ld seconds", (long)(age < 0 ? 0 : age));
    } else if (span_is(name, "used-mem") && words_int(value, &n)) {
        l->used_mem = (uint64_t)n;
        LOGN("RDB memory usage when created %.2f Mb", (double)n / (1 << 20));
    } else {
        LOGD("RDB auxiliary field %.*s: %.*s", shown(name), name.ptr, shown(value), value.ptr);
    }
}

/* cut_aux: what we know is noted; times of a set's members belong to the key that follows; the rest is passed over. */
static enum rdb_result cut_aux(struct load *l, struct rdb_in *in, struct record *r) {
    struct span name, value;
    const uint8_t *from = in->at;
    enum rdb_result result = rdb_get_string(in, &l->scratch, &name);
    if (result != RDB_OK)
        return result;
    if (name.len == strlen(RDB_AUX_MEMBER_TTLS) &&
        memcmp(name.ptr, RDB_AUX_MEMBER_TTLS, name.len) == 0) {
        if (r->member_times == NULL)
            r->member_times = from - 1;
        return rdb_skip_string(in);
    }
    const uint8_t *value_at = in->at;
    if ((result = rdb_skip_string(in)) != RDB_OK)
        return result;
    if ((const uint8_t *)name.ptr < from || (const uint8_t *)name.ptr >= value_at)
        return RDB_OK; /* a name that was packed is none that we know */
    struct rdb_in again = {.at = value_at, .end = in->at};
    if ((result = rdb_get_string(&again, &l->scratch, &value)) == RDB_OK)
        note_aux(l, name, value);
    else
        corrupt(in, again.why, again.bad);
    return result;
}

static enum rdb_result cut_db(struct load *l, struct rdb_in *in) {
    uint64_t db;
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_get_len(in, &db);
    if (r != RDB_OK)
        return r;
    if (db >= keyspace_databases(l->home->keyspace)) {
        load_fail_at(l, piece_offset(l->piece, from),
                     "database %lu: there are only %u, see the option databases", (unsigned long)db,
                     keyspace_databases(l->home->keyspace));
        return RDB_CORRUPT;
    }
    l->db = (uint32_t)db;
    return RDB_OK;
}

static enum rdb_result cut_lens(struct rdb_in *in, unsigned n) {
    uint64_t ignored;
    enum rdb_result r = RDB_OK;
    for (unsigned i = 0; i < n && r == RDB_OK; i++)
        r = rdb_get_len(in, &ignored);
    return r;
}

static enum rdb_result cut_slot_import(struct rdb_in *in) {
    uint64_t ranges;
    enum rdb_result r = rdb_skip_string(in);
    if (r == RDB_OK)
        r = rdb_get_len(in, &ranges);
    for (; r == RDB_OK && ranges > 0; ranges--)
        r = cut_lens(in, 2);
    return r;
}

/* cut_function: kept as it came. */
static enum rdb_result cut_function(struct load *l, struct rdb_in *in) {
    struct span code;
    enum rdb_result r = rdb_get_string(in, &l->scratch, &code);
    if (r != RDB_OK)
        return r;
    struct library *lib = mem_alloc(&l->home->mem, sizeof *lib + code.len);
    if (lib == NULL)
        return RDB_NOMEM;
    lib->next = NULL;
    lib->len = code.len;
    memcpy(lib->bytes, code.ptr, code.len);
    *l->libraries_end = lib;
    l->libraries_end = &lib->next;
    size_t line = 0;
    while (line < code.len && code.ptr[line] != '\n')
        line++;
    LOGN("a library of functions is kept, and saved again, but cannot be called: %.*s",
         shown((struct span){code.ptr, line}), code.ptr);
    return RDB_OK;
}

/* --- modules --- */

static void note_module(struct load *l, const uint8_t *value, const uint8_t *end, struct span key) {
    struct rdb_in in = {.at = value, .end = end};
    uint64_t id;
    char name[10];
    if (rdb_get_len(&in, &id) != RDB_OK)
        return; /* it was just read */
    (void)rdb_module_name(id, name);
    if (instance_of(l->home)->config->rdb_strict) {
        load_fail_at(l, piece_offset(l->piece, value),
                     "key '%.*s' holds a value of the module %s, and rdb-strict is yes", shown(key),
                     key.ptr, name);
        return;
    }
    unsigned i = 0;
    while (i < l->module_count && strcmp(l->modules[i].name, name) != 0)
        i++;
    if (i == LOAD_MODULES)
        return;
    if (i == l->module_count) {
        memcpy(l->modules[l->module_count++].name, name, sizeof name);
        LOGW("values of the module %s are left out: there is no such module here", name);
    }
    l->modules[i].values++;
}

void cut_report_modules(const struct load *l) {
    for (unsigned i = 0; i < l->module_count; i++)
        LOGW("%lu keys of the module %s were left out", (unsigned long)l->modules[i].values,
             l->modules[i].name);
}

/* --- the end --- */

void cut_sum(struct load *l) {
    if (l->piece == NULL || l->at <= l->summed)
        return;
    l->crc = rdb_crc(l->crc, l->piece->bytes + l->summed, l->at - l->summed);
    l->summed = l->at;
}

static enum rdb_result cut_end(struct load *l, struct rdb_in *in) {
    uint64_t wanted;
    l->at = (size_t)(in->at - l->piece->bytes);
    if (l->version >= VERSION_WITH_CHECKSUM) {
        if (left_of(in) < CHECKSUM_BYTES) {
            l->at--; /* the whole of it comes again */
            return RDB_MORE;
        }
        cut_sum(l);
        wanted = load_le64(in->at);
        in->at += sizeof wanted;
        if (!instance_of(l->home)->config->rdb_checksum) {
            LOGV("the RDB file's checksum is not looked at, as rdbchecksum says");
        } else if (wanted == 0) {
            LOGN("RDB file was saved with checksum disabled: no check performed.");
        } else if (wanted != l->crc) {
            load_fail_at(l, piece_offset(l->piece, in->at - sizeof wanted),
                         "Wrong RDB checksum expected: (%lx) but got (%lx)", (unsigned long)wanted,
                         (unsigned long)l->crc);
            return RDB_CORRUPT;
        }
    }
    l->ended = true;
    return RDB_OK;
}

/* --- records --- */

/* cut_opcode: what it is was read already. */
static enum rdb_result cut_opcode(struct load *l, struct rdb_in *in, struct record *r,
                                  uint8_t opcode) {
    switch (opcode) {
    case RDB_OP_EXPIRE_MS:
    case RDB_OP_EXPIRE:
        return cut_expiry(in, r, opcode == RDB_OP_EXPIRE_MS);
    case RDB_OP_IDLE:
        return rdb_get_len(in, &r->idle_s);
    case RDB_OP_FREQ: {
        uint8_t freq;
        enum rdb_result result = take_bytes(in, &freq, 1);
        r->freq = result == RDB_OK ? freq : FREQ_NONE;
        return result;
    }
    case RDB_OP_AUX:
        return cut_aux(l, in, r);
    case RDB_OP_SELECTDB:
        return cut_db(l, in);
    case RDB_OP_RESIZEDB:
        return cut_lens(in, 2);
    default:
        break;
    }
    if (in->at - r->start != 1)
        return corrupt(in, "no key follows the expiry or the like that belongs to one", r->start);
    switch (opcode) {
    case RDB_OP_SLOT_INFO:
        return cut_lens(in, 3);
    case RDB_OP_SLOT_IMPORT:
        return cut_slot_import(in);
    case RDB_OP_FUNCTION2:
        return cut_function(l, in);
    case RDB_OP_FUNCTION:
        return corrupt(in, "functions as a release candidate of Redis 7.0 wrote them", in->at - 1);
    case RDB_OP_MODULE_AUX:
        return rdb_skip_value(in, RDB_MODULE_2);
    default:
        return cut_end(l, in);
    }
}

static bool belongs_to_a_key(const struct record *r) {
    return r->expires || r->idle_s != IDLE_NONE || r->freq != FREQ_NONE || r->member_times != NULL;
}

/* cut_key: key and value; *shard is theirs. */
static enum rdb_result cut_key(struct load *l, struct rdb_in *in, struct record *r,
                               unsigned *shard) {
    struct span key;
    r->key = in->at;
    enum rdb_result result = rdb_get_string(in, &l->scratch, &key);
    if (result != RDB_OK)
        return result;
    const uint8_t *value = in->at;
    if ((result = rdb_skip_value(in, r->type)) != RDB_OK) {
        uint64_t len;
        struct rdb_in ahead = {.at = value, .end = in->end};
        if (result == RDB_MORE && r->type == RDB_STRING && rdb_get_len(&ahead, &len) == RDB_OK &&
            len <= RDB_STRING_MAX)
            l->want = (size_t)(ahead.at - r->start) + len; /* no more than that is needed */
        return result;
    }
    r->end = in->at;
    if (r->type == RDB_MODULE_2) {
        note_module(l, value, r->end, key);
        r->key = NULL;
        return RDB_OK;
    }
    r->hash = hash_of(key);
    r->db = l->db;
    *shard = keyspace_shard_of(command_route_hash(key, r->hash), shards_count(l->home->all));
    return RDB_OK;
}

/* cut_unit: a key with all that belongs to it, or one thing that is no key; r->key tells. */
static enum rdb_result cut_unit(struct load *l, struct rdb_in *in, struct record *r,
                                unsigned *shard) {
    *r = (struct record){.start = in->at, .idle_s = IDLE_NONE, .freq = FREQ_NONE};
    if (unlikely(!l->begun))
        return cut_head(l, in);
    do {
        enum rdb_result result = take_bytes(in, &r->type, 1);
        if (result != RDB_OK)
            return result;
        if (likely(r->type < RDB_OP_SLOT_IMPORT))
            return rdb_type_known(r->type)
                       ? cut_key(l, in, r, shard)
                       : corrupt(in, "a kind of record that is not known", in->at - 1);
        if ((result = cut_opcode(l, in, r, r->type)) != RDB_OK)
            return result;
    } while (belongs_to_a_key(r));
    return RDB_OK;
}

/* --- dealing --- */

/* batch_for: the one that the shard's next record goes to; NULL: not now. */
static struct batch *batch_for(struct load *l, unsigned shard) {
    struct batch *b = l->filling[shard];
    if (likely(b != NULL))
        return b;
    if (l->out[shard] == LOAD_BATCHES)
        return NULL;
    if ((b = l->spares[shard]) != NULL) {
        l->spares[shard] = b->next;
    } else if ((b = mem_zalloc(&l->home->mem, sizeof *b)) == NULL) {
        if (l->batches_out == 0)
            load_fail(l, "no memory to load it with");
        return NULL;
    }
    b->load = l;
    b->piece = l->piece;
    b->piece->batches++;
    b->shard = (uint16_t)shard;
    b->valkey = l->valkey;
    b->replace = l->request->replace;
    b->count = b->done = b->expired = b->empty = 0;
    b->result = RDB_OK;
    l->filling[shard] = b;
    l->out[shard]++;
    l->batches_out++;
    return b;
}

static ON_SHARD void batch_send(struct load *l, struct batch *b) {
    l->filling[b->shard] = NULL;
    if (b->shard == l->home->id) {
        put_receive(persistence_of(l->home)->load_at, b);
        return;
    }
    b->go = (struct bus_msg){.run = put_go, .done = put_gone, .to = b->shard};
    shard_post(l->home, &b->go);
}

void cut_flush(struct load *l) {
    for (unsigned i = 0; i < shards_count(l->home->all); i++)
        if (l->filling[i] != NULL)
            batch_send(l, l->filling[i]);
}

/* more: the next piece. */
static ON_SHARD enum cut more(struct load *l) {
    cut_flush(l); /* a batch points into one piece */
    if (read_next(l))
        return CUT_MORE;
    if (read_over(l) && !l->giving_up)
        load_fail_at(l, l->bytes, "the file ends too early");
    return CUT_WAITS;
}

static void say_corrupt(struct load *l, const struct rdb_in *in, const struct record *r) {
    const struct piece *p = l->piece;
    bool inside = in->bad >= p->bytes && in->bad <= p->bytes + p->to;
    if (!l->giving_up)
        load_fail_at(l, piece_offset(p, inside ? in->bad : r->start), "%s", in->why);
}

/* deal: the record goes to its shard, or is held until that can take it. */
static ON_SHARD enum cut deal(struct load *l, const struct record *r, unsigned shard) {
    struct batch *b = batch_for(l, shard);
    if (unlikely(b == NULL)) {
        l->held = *r; /* what is long is not cut again and again */
        l->held_shard = shard;
        return CUT_FULL;
    }
    b->record[b->count++] = *r;
    if (b->count == LOAD_BATCH_RECORDS)
        batch_send(l, b);
    l->at = (size_t)(r->end - l->piece->bytes);
    return CUT_MORE;
}

enum cut cut_some(struct load *l) {
    struct piece *p = l->piece;
    if (unlikely(l->held.key != NULL)) {
        struct record held = l->held;
        l->held.key = NULL;
        return deal(l, &held, l->held_shard);
    }
    /* What was guessed to be wanted may be more than there is. */
    if (p == NULL || l->at == p->to || (p->to - l->at < l->want && !read_over(l)))
        return more(l);
    struct rdb_in in = {.at = p->bytes + l->at, .end = p->bytes + p->to, .valkey = l->valkey};
    struct record r;
    unsigned shard = 0;
    size_t have = p->to - l->at;
    l->want = 0;
    enum rdb_result result = cut_unit(l, &in, &r, &shard);
    if (unlikely(result == RDB_MORE)) {
        if (l->want == 0)
            l->want = have > LOAD_HEAD_BYTES ? 2 * have : have + 1;
        return more(l);
    }
    if (unlikely(result != RDB_OK)) {
        if (result == RDB_NOMEM)
            load_fail(l, "no memory to load it with");
        else
            say_corrupt(l, &in, &r);
        return CUT_WAITS;
    }
    if (likely(r.key != NULL))
        return deal(l, &r, shard);
    l->at = (size_t)(in.at - p->bytes);
    return l->ended ? CUT_END : CUT_MORE;
}

void cut_free(struct load *l) {
    for (unsigned i = 0; i < shards_count(l->home->all); i++) {
        for (struct batch *b = l->spares[i], *next; b != NULL; b = next) {
            next = b->next;
            mem_free(&l->home->mem, b, sizeof *b);
        }
    }
    mem_free(&l->home->mem, l->scratch.bytes, l->scratch.cap);
}
