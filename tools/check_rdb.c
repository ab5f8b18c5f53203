/* check_rdb.c: anax-check-rdb: what is in an RDB file, and what is wrong with it.
 *
 *     anax-check-rdb [--json | --values] FILE
 *
 * Reads what Anax, Redis and Valkey write, every value to its last byte, and tells where it stops to be right: the offset, what
 * was being read there, of which key. --json: the same as one object. --values: one object for each key, with its value.
 * Ends with 0 when the file is right, with 1 when it is not, with 2 when it cannot be looked at.
 */
#include "anax/config.h"
#include "anax/rdb.h"
#include "anax/val.h"
#include "check_rdb_impl.h"
#include "shards/blob.h"
#include "shards/clock.h"
#include "shards/hash.h"
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    EXIT_WRONG = 1,
    EXIT_UNREADABLE = 2,
    MAGIC_BYTES = 9,
    CHECKSUM_FROM = 5, /* version */
    REDIS_VERSION_MAX = 12,
    DATABASES_MAX = 16384,
    TYPES = VALUE_STREAM + 1,
    MODULES_MAX = 64,
    AUX_MAX = 64,
    SHOWN_BYTES_MAX = 128
};

enum output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_VALUES };

struct db {
    uint64_t keys, expires, past, types[TYPES], modules;
};
struct module {
    char name[10];
    unsigned version;
    uint64_t values, aux;
};
struct aux {
    char *name, *value; /* as JSON */
};

/* Hashes of database and key: which came already. */
struct seen {
    uint64_t *slots;
    size_t cap, n;
};

struct check {
    const char *path;
    enum output output;
    struct mem mem;
    struct rdb_in in;
    struct rdb_scratch scratch, key_scratch;
    struct config limits;
    const uint8_t *begin;
    size_t bytes;
    int64_t now_ms;
    unsigned version;
    /* what was found */
    struct db *dbs[DATABASES_MAX];
    struct module modules[MODULES_MAX];
    struct aux aux[AUX_MAX];
    unsigned module_n, aux_n;
    uint64_t functions, empty, member_times;
    struct seen seen;
    const char *checksum;
    /* where it is */
    unsigned db;
    struct span key;
    const char *reading;
    uint8_t type;
    bool in_value, in_key;
};

static _Noreturn void out_of_memory(void) {
    fputs("anax-check-rdb: out of memory\n", stderr);
    exit(EXIT_UNREADABLE);
}

static void *allocated(void *p) {
    if (p == NULL)
        out_of_memory();
    return p;
}

static const char *type_name(unsigned type) {
    static const char *const names[TYPES] = {
        [VALUE_STRING] = "string", [VALUE_LIST] = "list", [VALUE_SET] = "set",
        [VALUE_ZSET] = "zset",     [VALUE_HASH] = "hash", [VALUE_STREAM] = "stream"};
    return type < TYPES ? names[type] : NULL;
}

/* --- keys that came already --- */

static bool seen_put(struct seen *s, uint64_t hash) {
    size_t i = (size_t)hash & (s->cap - 1);
    for (; s->slots[i] != 0; i = (i + 1) & (s->cap - 1))
        if (s->slots[i] == hash)
            return false;
    s->slots[i] = hash;
    s->n++;
    return true;
}

static bool seen_add(struct seen *s, unsigned db, struct span key) {
    uint64_t hash = hash_of(key) + (uint64_t)db * 0x9e3779b97f4a7c15ULL;
    if (s->n >= s->cap / 2) {
        struct seen grown = {.cap = s->cap == 0 ? 1024 : 2 * s->cap};
        grown.slots = allocated(calloc(grown.cap, sizeof *grown.slots));
        for (size_t i = 0; i < s->cap; i++)
            if (s->slots[i] != 0 && !seen_put(&grown, s->slots[i]))
                break;
        free(s->slots);
        *s = grown;
    }
    return seen_put(s, hash == 0 ? 1 : hash);
}

/* --- records --- */

static struct db *db_of(struct check *c) {
    if (c->dbs[c->db] == NULL)
        c->dbs[c->db] = allocated(calloc(1, sizeof(struct db)));
    return c->dbs[c->db];
}

static enum rdb_result wrong(struct check *c, const char *why, const uint8_t *bad) {
    c->in.why = why;
    c->in.bad = bad;
    return RDB_CORRUPT;
}

static enum rdb_result get_fixed(struct check *c, void *to, size_t n) {
    if ((size_t)(c->in.end - c->in.at) < n)
        return RDB_MORE;
    memcpy(to, c->in.at, n);
    c->in.at += n;
    return RDB_OK;
}

static char *quoted(struct span s) {
    char *text = NULL;
    size_t len;
    FILE *to = allocated(open_memstream(&text, &len));
    check_rdb_quote(to, s);
    if (fclose(to) != 0)
        out_of_memory();
    return text;
}

/* read_times: of members of the set that follows: length, member, 8 bytes of time, and so on. */
static enum rdb_result read_times(struct check *c, struct span value, const uint8_t *place) {
    struct rdb_in in = {.at = (const uint8_t *)value.ptr};
    in.end = in.at + value.len;
    while (in.at < in.end) {
        uint64_t len;
        if (rdb_get_len(&in, &len) != RDB_OK || (size_t)(in.end - in.at) < sizeof(int64_t) ||
            len > (size_t)(in.end - in.at) - sizeof(int64_t))
            return wrong(c, "times of members that have no end", place);
        in.at += len + sizeof(int64_t);
    }
    c->member_times++;
    return RDB_OK;
}

static enum rdb_result read_aux(struct check *c) {
    struct span name, value;
    const uint8_t *place = c->in.at;
    enum rdb_result r = rdb_get_string(&c->in, &c->key_scratch, &name);
    if (r != RDB_OK || (r = rdb_get_string(&c->in, &c->scratch, &value)) != RDB_OK)
        return r;
    if (span_eq(name, SPAN("anax-member-ttls")))
        return read_times(c, value, place);
    if (c->aux_n < AUX_MAX) {
        if (value.len > SHOWN_BYTES_MAX)
            value.len = SHOWN_BYTES_MAX;
        c->aux[c->aux_n++] = (struct aux){quoted(name), quoted(value)};
    }
    return RDB_OK;
}

static enum rdb_result skip_lens(struct check *c, uint64_t n) {
    uint64_t len;
    enum rdb_result r = RDB_OK;
    while (r == RDB_OK && n-- > 0)
        r = rdb_get_len(&c->in, &len);
    return r;
}

static enum rdb_result read_slot_import(struct check *c) {
    uint64_t n;
    enum rdb_result r = rdb_skip_string(&c->in);
    if (r != RDB_OK || (r = rdb_get_len(&c->in, &n)) != RDB_OK)
        return r;
    return n > UINT64_MAX / 2 ? wrong(c, "too many ranges of slots", c->in.at)
                              : skip_lens(c, 2 * n);
}

/* module_of: the module whose data begins at p. */
static struct module *module_of(struct check *c, const uint8_t *p) {
    struct rdb_in in = {.at = p, .end = c->in.end};
    uint64_t id;
    char name[10];
    if (rdb_get_len(&in, &id) != RDB_OK)
        return NULL;
    unsigned version = rdb_module_name(id, name), i = 0;
    while (i < c->module_n &&
           (strcmp(c->modules[i].name, name) != 0 || c->modules[i].version != version))
        i++;
    if (i == MODULES_MAX)
        return NULL;
    if (i == c->module_n) {
        c->modules[c->module_n++].version = version;
        memcpy(c->modules[i].name, name, sizeof name);
    }
    return &c->modules[i];
}

static enum rdb_result read_module_aux(struct check *c) {
    enum { AS_VALUE_OF = 7 };
    const uint8_t *from = c->in.at;
    enum rdb_result r = rdb_skip_value(&c->in, AS_VALUE_OF);
    struct module *m = r == RDB_OK ? module_of(c, from) : NULL;
    if (m != NULL)
        m->aux++;
    return r;
}

static enum rdb_result read_db(struct check *c) {
    uint64_t n;
    const uint8_t *from = c->in.at;
    enum rdb_result r = rdb_get_len(&c->in, &n);
    if (r == RDB_OK && n >= DATABASES_MAX)
        return wrong(c, "a database with a number that is too high", from);
    if (r == RDB_OK)
        c->db = (unsigned)n;
    return r;
}

/* --- keys --- */

static void show_value(struct check *c, const struct value *v, int64_t expire_ms) {
    printf("{\"db\":%u,\"key\":", c->db);
    check_rdb_quote(stdout, c->key);
    printf(",\"type\":\"%s\",\"expire_ms\":%" PRId64 ",\"value\":", type_name(v->type), expire_ms);
    check_rdb_value(stdout, &c->mem, v);
    fputs("}\n", stdout);
}

static void drop_value(struct check *c, const struct value *v) {
    struct val val;
    if (v->repr != REPR_OBJECT)
        return;
    if (v->type == VALUE_STRING) {
        blob_unpin(&c->mem, v->object);
        return;
    }
    val_of_object(&val, &c->mem, v->object);
    val_destroy(&val);
}

static enum rdb_result read_key(struct check *c, uint8_t type, int64_t expire_ms) {
    struct value v;
    c->reading = "a key";
    c->type = type;
    const uint8_t *from = c->in.at;
    enum rdb_result r = rdb_get_string(&c->in, &c->key_scratch, &c->key);
    if (r != RDB_OK)
        return r;
    c->in_key = true;
    if (!seen_add(&c->seen, c->db, c->key))
        return wrong(c, "a key that came already", from);
    c->reading = "a value";
    c->in_value = true;
    const uint8_t *value = c->in.at;
    r = rdb_decode_value(&c->in, type, &c->scratch, &c->limits, 0, &v);
    struct db *db = db_of(c);
    db->keys += r == RDB_OK || r == RDB_MODULE;
    db->expires += expire_ms != EXPIRE_NEVER;
    db->past += expire_ms != EXPIRE_NEVER && expire_ms < c->now_ms;
    if (r == RDB_MODULE) {
        struct module *m = module_of(c, value);
        db->modules++;
        if (m != NULL)
            m->values++;
        r = RDB_OK;
    } else if (r == RDB_OK && v.repr == REPR_OBJECT && v.object == NULL) {
        c->empty++;
    } else if (r == RDB_OK) {
        db->types[v.type]++;
        if (c->output == OUTPUT_VALUES)
            show_value(c, &v, expire_ms);
        drop_value(c, &v);
    }
    if (r == RDB_OK)
        c->in_key = c->in_value = false;
    return r;
}

/* --- the whole file --- */

static enum rdb_result read_head(struct check *c) {
    char digits[MAGIC_BYTES + 1] = {0};
    c->reading = "the magic";
    enum rdb_result r = get_fixed(c, digits, MAGIC_BYTES);
    if (r != RDB_OK)
        return r;
    c->in.valkey = memcmp(digits, "VALKEY", 6) == 0;
    if (!c->in.valkey && memcmp(digits, "REDIS", 5) != 0)
        return wrong(c, "this is no RDB file", c->begin);
    const char *number = digits + (c->in.valkey ? 6 : 5);
    if (strspn(number, "0123456789") != strlen(number))
        return wrong(c, "a version that is no number", c->begin);
    c->version = (unsigned)strtoul(number, NULL, 10);
    if (c->in.valkey ? c->version < RDB_VERSION_MAX || c->version > RDB_VERSION_MAX
                     : c->version < 1 || c->version > REDIS_VERSION_MAX)
        return wrong(c, "a version that is not known", c->begin);
    return RDB_OK;
}

static enum rdb_result read_checksum(struct check *c) {
    uint64_t is, want;
    const uint8_t *from = c->in.at;
    c->reading = "the checksum";
    c->checksum = "absent";
    if (c->version < CHECKSUM_FROM)
        return c->in.at == c->in.end ? RDB_OK : wrong(c, "bytes behind the end", c->in.at);
    enum rdb_result r = get_fixed(c, &want, sizeof want);
    if (r != RDB_OK)
        return r;
    is = rdb_crc(0, c->begin, (size_t)(from - c->begin));
    want = le64toh(want);
    c->checksum = want == 0 ? "none" : is == want ? "right" : "wrong";
    if (want != 0 && is != want)
        return wrong(c, "a checksum of other bytes", from);
    return c->in.at == c->in.end ? RDB_OK : wrong(c, "bytes behind the end", c->in.at);
}

/* read_op: what is no key and no expiry. */
static enum rdb_result read_op(struct check *c, uint8_t op) {
    uint8_t byte;
    switch (op) {
    case RDB_OP_SELECTDB:
        c->reading = "the number of a database";
        return read_db(c);
    case RDB_OP_RESIZEDB:
        c->reading = "sizes of a database";
        return skip_lens(c, 2);
    case RDB_OP_AUX:
        c->reading = "an auxiliary field";
        return read_aux(c);
    case RDB_OP_FREQ:
        c->reading = "how often a key is used";
        return get_fixed(c, &byte, 1);
    case RDB_OP_IDLE:
        c->reading = "how long a key was not used";
        return skip_lens(c, 1);
    case RDB_OP_MODULE_AUX:
        c->reading = "data of a module";
        return read_module_aux(c);
    case RDB_OP_FUNCTION2:
        c->reading = "a library of functions";
        c->functions++;
        return rdb_skip_string(&c->in);
    case RDB_OP_FUNCTION:
        return wrong(c, "a library of functions as Redis 7.0 wrote it before its release",
                     c->in.at - 1);
    case RDB_OP_SLOT_INFO:
        c->reading = "sizes of a slot";
        return skip_lens(c, 3);
    case RDB_OP_SLOT_IMPORT:
        c->reading = "slots that are imported";
        return read_slot_import(c);
    default:
        return wrong(c, "a byte that begins nothing that is known", c->in.at - 1);
    }
}

static enum rdb_result read_all(struct check *c) {
    int64_t expire_ms = EXPIRE_NEVER, ms;
    int32_t s;
    enum rdb_result r = read_head(c);
    while (r == RDB_OK) {
        uint8_t op;
        c->reading = "what comes next";
        if ((r = get_fixed(c, &op, 1)) != RDB_OK || op == RDB_OP_END)
            break;
        if (op == RDB_OP_EXPIRE_MS || op == RDB_OP_EXPIRE) {
            c->reading = "an expiry";
            if (op == RDB_OP_EXPIRE_MS && (r = get_fixed(c, &ms, sizeof ms)) == RDB_OK)
                expire_ms = (int64_t)le64toh((uint64_t)ms);
            if (op == RDB_OP_EXPIRE && (r = get_fixed(c, &s, sizeof s)) == RDB_OK)
                expire_ms = (int64_t)(int32_t)le32toh((uint32_t)s) * 1000;
        } else if (rdb_type_known(op)) {
            r = read_key(c, op, expire_ms);
            expire_ms = EXPIRE_NEVER;
        } else {
            r = read_op(c, op);
        }
    }
    return r == RDB_OK ? read_checksum(c) : r;
}

/* --- what is told --- */

static void tell_db(const struct check *c, unsigned i) {
    const struct db *db = c->dbs[i];
    bool json = c->output == OUTPUT_JSON, some = false;
    printf(json ? "{\"db\":%u,\"keys\":%" PRIu64 ",\"expires\":%" PRIu64 ",\"past\":%" PRIu64
                  ",\"types\":{"
                : "db %-8u %" PRIu64 " keys, %" PRIu64 " with an expiry (%" PRIu64
                  " of these in the past):",
           i, db->keys, db->expires, db->past);
    for (unsigned t = 0; t <= TYPES; t++) {
        uint64_t n = t < TYPES ? db->types[t] : db->modules;
        const char *name = t < TYPES ? type_name(t) : "module";
        if (n == 0)
            continue;
        if (json)
            printf("%s\"%s\":%" PRIu64, some ? "," : "", name, n);
        else
            printf("%s %" PRIu64 " %s", some ? "," : "", n, name);
        some = true;
    }
    fputs(json ? "}}" : "\n", stdout);
}

static void tell_text(const struct check *c) {
    printf("file        %s, %zu bytes\nversion     %s %u\n", c->path, c->bytes,
           c->in.valkey ? "VALKEY" : "REDIS", c->version);
    for (unsigned i = 0; i < c->aux_n; i++)
        printf("auxiliary   %s = %s\n", c->aux[i].name, c->aux[i].value);
    for (unsigned i = 0; i < DATABASES_MAX; i++)
        if (c->dbs[i] != NULL)
            tell_db(c, i);
    if (c->functions > 0)
        printf("libraries   %" PRIu64 " of functions\n", c->functions);
    for (unsigned i = 0; i < c->module_n; i++)
        printf("module      %s, encoding %u: %" PRIu64 " values, %" PRIu64 " other records\n",
               c->modules[i].name, c->modules[i].version, c->modules[i].values, c->modules[i].aux);
    if (c->member_times > 0)
        printf("times       of members of sets: %" PRIu64 " records\n", c->member_times);
    if (c->empty > 0)
        printf("empty       %" PRIu64 " keys, which servers pass over\n", c->empty);
    if (c->checksum != NULL)
        printf("checksum    %s\n", c->checksum);
}

static void tell_json(const struct check *c) {
    fputs("{\"file\":", stdout);
    check_rdb_quote(stdout, (struct span){c->path, strlen(c->path)});
    printf(",\"bytes\":%zu,\"magic\":\"%s\",\"version\":%u,\"aux\":[", c->bytes,
           c->in.valkey ? "VALKEY" : "REDIS", c->version);
    for (unsigned i = 0; i < c->aux_n; i++)
        printf("%s[%s,%s]", i == 0 ? "" : ",", c->aux[i].name, c->aux[i].value);
    fputs("],\"dbs\":[", stdout);
    bool some = false;
    for (unsigned i = 0; i < DATABASES_MAX; i++) {
        if (c->dbs[i] == NULL)
            continue;
        if (some)
            fputc(',', stdout);
        tell_db(c, i);
        some = true;
    }
    printf("],\"functions\":%" PRIu64 ",\"empty\":%" PRIu64 ",\"member_times\":%" PRIu64
           ",\"modules\":[",
           c->functions, c->empty, c->member_times);
    for (unsigned i = 0; i < c->module_n; i++)
        printf("%s{\"name\":\"%s\",\"encoding\":%u,\"values\":%" PRIu64 ",\"aux\":%" PRIu64 "}",
               i == 0 ? "" : ",", c->modules[i].name, c->modules[i].version, c->modules[i].values,
               c->modules[i].aux);
    printf("],\"checksum\":\"%s\"", c->checksum == NULL ? "unread" : c->checksum);
}

static void tell_error(const struct check *c, enum rdb_result r) {
    bool more = r == RDB_MORE, json = c->output == OUTPUT_JSON;
    const char *why = more ? "the file ends here" : c->in.why;
    size_t offset = more ? c->bytes : (size_t)(c->in.bad - c->begin);
    FILE *to = json ? stdout : stderr;
    fprintf(to,
            json ? ",\"error\":{\"offset\":%zu,\"why\":\"%s\",\"reading\":\"%s\",\"began\":%zu"
                 : "anax-check-rdb: offset %zu: %s\nanax-check-rdb: while reading %s that begins "
                   "at offset %zu",
            offset, why, c->reading, (size_t)(c->in.at - c->begin));
    if (c->in_value)
        fprintf(to, json ? ",\"type\":%u" : ", of type %u of RDB", c->type);
    if (c->in_key) {
        fputs(json ? ",\"key\":" : ", of key ", to);
        check_rdb_quote(to, c->key);
        fprintf(to, json ? ",\"db\":%u" : " of database %u", c->db);
    }
    fputs(json ? "}" : "\n", to);
}

static int tell(const struct check *c, enum rdb_result r) {
    if (r == RDB_NOMEM)
        out_of_memory();
    if (c->output == OUTPUT_JSON)
        tell_json(c);
    else if (c->output == OUTPUT_TEXT)
        tell_text(c);
    if (fflush(stdout) != 0)
        return EXIT_UNREADABLE;
    if (r != RDB_OK)
        tell_error(c, r);
    if (c->output == OUTPUT_JSON)
        puts("}");
    else if (c->output == OUTPUT_TEXT && r == RDB_OK)
        puts("the file is right");
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return EXIT_UNREADABLE;
    return r == RDB_OK ? EXIT_SUCCESS : EXIT_WRONG;
}

static int unreadable(const char *path) {
    fprintf(stderr, "anax-check-rdb: %s: %s\n", path, strerror(errno));
    return EXIT_UNREADABLE;
}

static void deinit(struct check *c) {
    for (unsigned i = 0; i < DATABASES_MAX; i++)
        free(c->dbs[i]);
    for (unsigned i = 0; i < c->aux_n; i++) {
        free(c->aux[i].name);
        free(c->aux[i].value);
    }
    free(c->seen.slots);
    mem_free(&c->mem, c->scratch.bytes, c->scratch.cap);
    mem_free(&c->mem, c->key_scratch.bytes, c->key_scratch.cap);
}

static int check_file(const char *path, enum output output) {
    struct stat st;
    uint64_t seed = 1; /* nobody chooses keys against a checker */
    struct check *c = allocated(calloc(1, sizeof *c));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        free(c);
        return unreadable(path);
    }
    c->path = path;
    c->output = output;
    c->bytes = (size_t)st.st_size;
    void *bytes = c->bytes == 0 ? NULL : mmap(NULL, c->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED || hash_seed(&seed) != OK) {
        int code = unreadable(path);
        close(fd);
        free(c);
        return code;
    }
    c->begin = c->in.at = bytes;
    c->in.end = c->begin + c->bytes;
    c->scratch.mem = c->key_scratch.mem = &c->mem;
    c->now_ms = clock_wall_us() / 1000;
    config_defaults(&c->limits);
    int code = tell(c, read_all(c));
    deinit(c);
    if (bytes != NULL)
        munmap(bytes, c->bytes);
    close(fd);
    free(c);
    return code;
}

int main(int argc, char **argv) {
    enum output output = OUTPUT_TEXT;
    int at = 1;
    if (argc > 2 && strcmp(argv[1], "--json") == 0)
        output = OUTPUT_JSON;
    else if (argc > 2 && strcmp(argv[1], "--values") == 0)
        output = OUTPUT_VALUES;
    at += output != OUTPUT_TEXT;
    if (argc != at + 1 || argv[at][0] == '-') {
        fputs("usage: anax-check-rdb [--json | --values] FILE\n", stderr);
        return EXIT_UNREADABLE;
    }
    return check_file(argv[at], output);
}
