/* command.c: the registry, and what every family of commands shares. See anax/command.h. */
#include "anax/command.h"
#include "command_syntax_impl.h"
#include "ctx_impl.h"
#include "shards/assert.h"
#include <assert.h>
#include <ctype.h>
#include <stdio.h>

const char ERR_SYNTAX[] = "ERR syntax error";
const char ERR_NOT_INT[] = "ERR value is not an integer or out of range";
const char ERR_NOT_FLOAT[] = "ERR value is not a valid float";
const char ERR_WRONG_TYPE[] = "WRONGTYPE Operation against a key holding the wrong kind of value";
const char ERR_NO_KEY[] = "ERR no such key";
const char ERR_CROSS_SHARD[] =
    "CROSSSLOT Keys in request don't hash to the same shard; give them a common {hashtag}";
const char ERR_OUT_OF_MEMORY[] = "OOM command not allowed when used memory > 'maxmemory'.";

/* Names are found by a word made of their bytes: whole for up to 8 bytes, a mix of all of them
 * beyond. Slots are twice the rows, so that a miss ends soon. */
enum { SLOTS = 2 * COMMANDS_MAX, SLOT_BITS = 10, WORD_NAME_MAX = 8 };
static_assert(SLOTS == 1 << SLOT_BITS, "slots are chosen by the top SLOT_BITS of a product");

struct slot {
    uint64_t word;
    uint16_t row; /* id + 1; 0: free */
    uint8_t len;
    bool exact_word; /* equal words of equal length are equal names */
    bool sub;
};

/* Written by command_register before any shard starts, read-only ever after. */
static struct {
    struct command rows[COMMANDS_MAX];
    unsigned count;
    struct slot slots[SLOTS];
} registry;

static uint64_t load_word(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t load_half(const char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Clearing this bit of each byte makes letters upper case. Other bytes are folded too ('_' and
 * DEL), which is why names that have such bytes are compared again. */
#define UPPER_MASK 0xDFDFDFDFDFDFDFDFULL

/* name_word: bytes are read twice rather than beyond the end, which may be the end of a page. */
static uint64_t name_word(const char *p, size_t n) {
    if (n >= 4 && n <= WORD_NAME_MAX)
        return (load_half(p) | (uint64_t)load_half(p + n - 4) << 32) & UPPER_MASK;
    if (n == 0)
        return 0;
    if (n < 4) {
        uint64_t first = (unsigned char)p[0], middle = (unsigned char)p[n / 2];
        return (first | middle << 8 | (uint64_t)(unsigned char)p[n - 1] << 16) & UPPER_MASK;
    }
    uint64_t word = 0;
    size_t at = 0;
    for (; n - at > WORD_NAME_MAX; at += WORD_NAME_MAX)
        word = (word ^ (load_word(p + at) & UPPER_MASK)) * 0x9E3779B97F4A7C15ULL;
    return word ^ (load_word(p + n - WORD_NAME_MAX) & UPPER_MASK);
}

static unsigned slot_of(uint64_t word, size_t len) {
    return (unsigned)(((word + len) * 0x9E3779B97F4A7C15ULL) >> (64 - SLOT_BITS));
}

static const struct slot *find_slot(struct span name) {
    if (unlikely(name.len > COMMAND_NAME_MAX))
        return NULL;
    uint64_t word = name_word(name.ptr, name.len);
    for (unsigned i = slot_of(word, name.len); registry.slots[i].row != 0; i = (i + 1) % SLOTS) {
        const struct slot *s = &registry.slots[i];
        if (s->word != word || s->len != name.len)
            continue;
        if (likely(s->exact_word) || span_is(name, registry.rows[s->row - 1].name))
            return s;
    }
    return NULL;
}

static bool is_all_letters(const char *name) {
    for (; *name != '\0'; name++) {
        if (*name < 'A' || *name > 'Z')
            return false;
    }
    return true;
}

static void add_slot(unsigned id) {
    const char *name = registry.rows[id].name;
    size_t len = strlen(name);
    uint64_t word = name_word(name, len);
    unsigned i = slot_of(word, len);
    while (registry.slots[i].row != 0)
        i = (i + 1) % SLOTS;
    registry.slots[i] = (struct slot){
        .word = word,
        .row = (uint16_t)(id + 1),
        .len = (uint8_t)len,
        .exact_word = len <= WORD_NAME_MAX && is_all_letters(name),
        .sub = strchr(name, '|') != NULL,
    };
}

/* implied_acl: the categories that say the same as a flag. */
static uint32_t implied_acl(uint32_t flags) {
    uint32_t acl = flags & CMD_FAST ? ACL_FAST : ACL_SLOW;
    if (flags & CMD_WRITE)
        acl |= ACL_WRITE;
    if (flags & CMD_READ)
        acl |= ACL_READ;
    if (flags & CMD_ADMIN)
        acl |= ACL_ADMIN | ACL_DANGEROUS;
    if (flags & CMD_BLOCKING)
        acl |= ACL_BLOCKING;
    return acl;
}

void command_register(const struct command *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ASSERT(registry.count < COMMANDS_MAX);
        unsigned id = registry.count;
        struct command *row = &registry.rows[id];
        *row = rows[i];
        struct span name = {row->name, strlen(row->name)};
        ASSERT(name.len > 0 && name.len <= COMMAND_NAME_MAX);
        ASSERT(find_slot(name) == NULL);
        ASSERT(command_syntax_valid(row->syntax));
        row->id = (uint16_t)id;
        row->parent = (uint16_t)id;
        row->acl |= implied_acl(row->flags);
        const char *bar = strchr(row->name, '|');
        if (bar != NULL) {
            const struct slot *up = find_slot((struct span){name.ptr, (size_t)(bar - name.ptr)});
            ASSERT(up != NULL);
            row->parent = (uint16_t)(up->row - 1);
        }
        registry.count++;
        add_slot(id);
    }
}

void command_variant(struct command *row) {
    const struct command *of = command_find((struct span){row->name, strlen(row->name)});
    ASSERT(of != NULL);
    ASSERT(of->variant != NULL);
    row->id = of->id;
    row->parent = of->parent;
    row->acl = of->acl;
}

const struct command *command_find(struct span name) {
    const struct slot *s = find_slot(name);
    return s == NULL || s->sub ? NULL : &registry.rows[s->row - 1];
}

const struct command *command_find_any(struct span name) {
    const struct slot *s = find_slot(name);
    return s == NULL ? NULL : &registry.rows[s->row - 1];
}

const struct command *command_find_sub(const struct command *container, struct span sub) {
    char name[COMMAND_NAME_MAX];
    size_t len = strlen(container->name);
    if (len + 1 + sub.len > sizeof(name))
        return NULL;
    memcpy(name, container->name, len);
    name[len] = '|';
    memcpy(name + len + 1, sub.ptr, sub.len);
    const struct slot *s = find_slot((struct span){name, len + 1 + sub.len});
    return s == NULL ? NULL : &registry.rows[s->row - 1];
}

const struct command *command_at(unsigned id) {
    return id < registry.count ? &registry.rows[id] : NULL;
}

unsigned command_count(void) {
    return registry.count;
}

void command_name_lower(const struct command *cmd, char *out) {
    size_t i = 0;
    for (; cmd->name[i] != '\0'; i++)
        out[i] = (char)tolower((unsigned char)cmd->name[i]);
    out[i] = '\0';
}

bool command_key_range(const struct command *cmd, uint32_t argc, uint32_t *first, uint32_t *last,
                       uint32_t *step) {
    if (cmd->keys.first == 0)
        return false;
    /* A last group that is not whole has no key to route by: the command itself refuses it. */
    int64_t surplus = ((int64_t)argc - cmd->keys.first) % cmd->keys.step;
    int64_t end = cmd->keys.last < 0 ? argc - surplus + cmd->keys.last : cmd->keys.last;
    if (end >= argc || end < cmd->keys.first)
        return false;
    *first = (uint32_t)cmd->keys.first;
    *last = (uint32_t)end;
    *step = (uint32_t)cmd->keys.step;
    return true;
}

bool command_keys(const struct command *cmd, const struct span *argv, uint32_t argc,
                  uint32_t *first, uint32_t *last, uint32_t *step) {
    if (cmd->find_keys != NULL)
        return cmd->find_keys(argv, argc, first, last, step);
    return command_key_range(cmd, argc, first, last, step);
}

uint64_t command_route_hash(struct span key, uint64_t key_hash) {
    const char *open = memchr(key.ptr, '{', key.len);
    if (likely(open == NULL))
        return key_hash;
    const char *tag = open + 1;
    const char *close = memchr(tag, '}', key.len - (size_t)(tag - key.ptr));
    if (close == NULL || close == tag)
        return key_hash;
    return hash_of((struct span){tag, (size_t)(close - tag)});
}

/* shown_len: how much of an argument an error shows: up to max bytes, and none behind a NUL. */
static int shown_len(struct span s, size_t max) {
    size_t len = s.len < max ? s.len : max;
    const char *nul = memchr(s.ptr, '\0', len);
    return (int)(nul == NULL ? len : (size_t)(nul - s.ptr));
}

enum { SHOWN_MAX = 128 };

void command_reply_unknown(struct reply *r, const struct span *argv, uint32_t argc) {
    char args[SHOWN_MAX + 8];
    size_t len = 0;
    args[0] = '\0';
    for (uint32_t i = 1; i < argc && len < SHOWN_MAX; i++) {
        int shown = shown_len(argv[i], SHOWN_MAX - len);
        len += (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ", shown, argv[i].ptr);
    }
    reply_errorf(r, "ERR unknown command '%.*s', with args beginning with: %s",
                 shown_len(argv[0], SHOWN_MAX), argv[0].ptr, args);
}

void command_reply_unknown_sub(struct reply *r, const struct command *container, struct span sub) {
    reply_errorf(r, "ERR unknown subcommand '%.*s'. Try %s HELP.", shown_len(sub, SHOWN_MAX),
                 sub.ptr, container->name);
}

void command_ok_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    (void)parts;
    (void)n;
    reply_ok(&c->reply);
}

void command_container_run(struct ctx *c) {
    command_reply_arity(&c->reply, c->cmd);
}

void command_reply_arity(struct reply *r, const struct command *cmd) {
    char name[COMMAND_NAME_MAX + 1];
    command_name_lower(cmd, name);
    reply_errorf(r, "ERR wrong number of arguments for '%s' command", name);
}

/* --- shared by handlers --- */

uint64_t ctx_hash(const struct ctx *c, uint32_t i) {
    if (likely((int64_t)i == c->cmd->keys.first))
        return c->hash;
    return hash_of(c->argv[i]);
}

struct table *ctx_table(struct ctx *c) {
    return keyspace_table(c->keyspace, c->db);
}

struct entry *ctx_peek_at(struct ctx *c, struct span key, uint64_t hash) {
    struct entry *e = keyspace_find(c->keyspace, c->db, key, hash, c->now_ms);
    if (c->cmd->flags & CMD_READ) {
        struct keyspace_stats *stats = keyspace_stats(c->keyspace);
        if (e != NULL)
            stats->hits++;
        else
            stats->misses++;
    }
    return e;
}

struct entry *ctx_find_at(struct ctx *c, struct span key, uint64_t hash) {
    struct entry *e = ctx_peek_at(c, key, hash);
    if (e != NULL)
        ctx_touch(c, e);
    return e;
}

struct entry *ctx_peek(struct ctx *c, uint32_t i) {
    return ctx_peek_at(c, c->argv[i], ctx_hash(c, i));
}

struct entry *ctx_find(struct ctx *c, uint32_t i) {
    return ctx_find_at(c, c->argv[i], ctx_hash(c, i));
}

bool ctx_find_string(struct ctx *c, uint32_t i, struct entry **e) {
    *e = ctx_find(c, i);
    if (likely(*e == NULL || entry_type(*e) == VALUE_STRING))
        return true;
    reply_error(&c->reply, ERR_WRONG_TYPE);
    return false;
}

bool ctx_get_int(struct ctx *c, uint32_t i, int64_t *out) {
    if (likely(strval_parse_int(c->argv[i], out)))
        return true;
    reply_error(&c->reply, ERR_NOT_INT);
    return false;
}

void ctx_reply_text(struct ctx *c, struct outbuf *text) {
    if (text->failed)
        ctx_oom(c);
    else
        reply_verbatim(&c->reply, "txt", (struct span){text->buf, text->len});
    outbuf_deinit(text);
}

void ctx_oom(struct ctx *c) {
    reply_error(&c->reply, "ERR out of memory");
}

bool ctx_delete(struct ctx *c, uint32_t i) {
    struct table *t = keyspace_peek_table(c->keyspace, c->db);
    if (t == NULL || !table_delete(t, c->argv[i], ctx_hash(c, i)))
        return false;
    keyspace_count_gone(c->keyspace, t, c->now_ms);
    return true;
}

void ctx_fetch_ahead(struct ctx *c, uint32_t first, uint32_t step, unsigned n, uint64_t *hashes) {
    const struct table *t = keyspace_peek_table(c->keyspace, c->db);
    for (unsigned i = 0; i < n; i++)
        hashes[i] = ctx_hash(c, first + i * step);
    if (t == NULL)
        return;
    for (unsigned i = 0; i < n; i++)
        table_prefetch(t, hashes[i]);
    for (unsigned i = 0; i < n; i++)
        table_prefetch_entry(t, hashes[i]);
}
