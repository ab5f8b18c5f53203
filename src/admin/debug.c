/* debug.c: DEBUG: for who tests the server or a client of it. Refused unless enable-debug-command allows it.
 */
#include "admin_impl.h"
#include "anax/glob.h"
#include "anax/instance.h"
#include "anax/strval.h"
#include "anax/words.h"
#include "shards/assert.h"
#include "shards/evict.h"
#include "shards/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static bool allowed(struct ctx *c) {
    int choice = instance_of(c->shard)->config->debug_command;
    if (choice == CONFIG_DEBUG_YES || (choice == CONFIG_DEBUG_LOCAL && c->session->local))
        return true;
    reply_error(&c->reply,
                "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
                "\"local\", you can run it from a local connection, otherwise you need to set this "
                "option in the configuration file, and then restart the server.");
    return false;
}

/* --- SLEEP --- */

static double read_seconds(struct span s) {
    enum { TEXT_BYTES = 64 };
    const double max = 1e9;
    char text[TEXT_BYTES];
    size_t len = s.len < sizeof text ? s.len : sizeof text - 1;
    memcpy(text, s.ptr, len);
    text[len] = '\0';
    double seconds = strtod(text, NULL); /* no number is 0, as in Redis */
    return seconds > 0 ? (seconds < max ? seconds : max) : 0;
}

static void wake(void *arg, unsigned id) {
    struct shard *s = arg;
    if (bus_try_wake(s->bus, id))
        loop_wake(NULL, shards_get(s->all, id)->loop);
}

/* sleep_each: what was posted goes out first, to threads that are awake then: else the other shards would
 * sleep after this one, or one after the other on its thread. */
static ON_SHARD void sleep_each(struct ctx *c) {
    double seconds = read_seconds(c->argv[2]);
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    bus_publish(c->shard->bus, c->shard->id, wake, c->shard);
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

/* --- OBJECT --- */

static size_t dump_text_len(size_t len) {
    return len + (len < 64 ? 1 : len < 16384 ? 2 : len <= UINT32_MAX ? 5 : 9);
}

/* dump_len: of the value as an RDB file has it, uncompressed. A large structure is told by what it takes in memory: only
 * dumping it would tell. */
static size_t dump_len(const struct entry *e, const struct object_info *o) {
    enum { INT_TEXT_MAX = 11 }; /* Redis looks for numbers in texts up to this */
    int64_t v = 0;
    bool is_int = entry_repr(e) == REPR_INT;
    if (entry_type(e) != VALUE_STRING)
        return o->flat ? dump_text_len(o->bytes) : o->bytes;
    if (is_int)
        v = entry_int(e);
    else if (entry_repr(e) != REPR_OBJECT && o->bytes <= INT_TEXT_MAX)
        is_int = strval_parse_int(entry_bytes(e), &v);
    if (is_int && v >= INT32_MIN && v <= INT32_MAX)
        return v >= INT8_MIN && v <= INT8_MAX ? 2 : v >= INT16_MIN && v <= INT16_MAX ? 3 : 5;
    return dump_text_len(o->bytes);
}

static ON_SHARD void object_run(struct ctx *c) {
    enum { TEXT_BYTES = 400 };
    char text[TEXT_BYTES];
    struct object_info o;
    const struct entry *e =
        keyspace_find(c->keyspace, c->db, c->argv[2], c->hash, c->now_ms); /* leaves its access */
    if (e == NULL) {
        reply_error(&c->reply, ERR_NO_KEY);
        return;
    }
    struct access *a = keyspace_access(c->keyspace);
    access_at(a, c->now_ms);
    object_describe(e, &o);
    int n =
        snprintf(text, sizeof text,
                 "Value at:%p refcount:%d encoding:%s serializedlength:%zu lru:%u "
                 "lru_seconds_idle:%lu shard:%u entry_bytes:%zu expire_ms:%ld form:%s "
                 "elements:%lu weight:%u inner_expire_ms:%ld",
                 (const void *)e, object_refcount(e), object_encoding(e), dump_len(e, &o),
                 entry_access(e), (unsigned long)access_idle_s(a, entry_access(e)), c->shard->id,
                 entry_bytes_total(e), (long)entry_expire_ms(e), o.form, (unsigned long)o.elements,
                 o.weight, o.due_ms == OBJECT_NEVER ? 0L : (long)o.due_ms);
    ASSERT(n > 0 && n < TEXT_BYTES);
    reply_status(&c->reply, text);
}

/* --- SET-ACTIVE-EXPIRE, LONG-ELEMENTS, DEFRAG, FAIL-ALLOC --- */

static ON_SHARD void set_active_expire_each(struct ctx *c) {
    int64_t on;
    instance_of(c->shard)->expire_off = !words_int(c->argv[2], &on) || on == 0;
}

static ON_SHARD void long_elements_each(struct ctx *c) {
    int64_t n;
    instance_of(c->shard)->long_elements =
        words_int(c->argv[2], &n) && n >= 0 ? (uint64_t)n : WORK_ELEMENTS_MIN;
}

/* defrag_each: with 1 everything moves all the time, however full its slab is. */
static ON_SHARD void defrag_each(struct ctx *c) {
    int64_t on;
    instance_of(c->shard)->defrag_all = words_int(c->argv[2], &on) && on != 0;
}

static bool read_every(const struct ctx *c, uint64_t *every) {
    int64_t n;
    if (!words_int(c->argv[2], &n) || n < 0)
        return false;
    *every = (uint64_t)n;
    return true;
}

static ON_SHARD void fail_alloc_each(struct ctx *c) {
    uint64_t every;
    if (read_every(c, &every))
        c->shard->mem.fail_in = c->shard->mem.fail_every = every;
}

static void fail_alloc_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    uint64_t every;
    (void)parts;
    (void)n;
    if (read_every(c, &every))
        reply_ok(&c->reply);
    else
        reply_error(&c->reply, "ERR value is out of range, must be positive");
}

/* --- PROTOCOL --- */

static void add(struct reply *r, struct span s) {
    outbuf_add(r->out, s.ptr, s.len);
}

static void send_string(struct reply *r) {
    reply_bulk_cstr(r, "Hello World");
}

static void send_integer(struct reply *r) {
    reply_int(r, 12345);
}

static void send_double(struct reply *r) {
    reply_double(r, 3.141);
}

static void send_array(struct reply *r) {
    reply_array(r, 3);
    for (int i = 0; i < 3; i++)
        reply_int(r, i);
}

static void send_set(struct reply *r) {
    reply_set(r, 3);
    for (int i = 0; i < 3; i++)
        reply_int(r, i);
}

static void send_map(struct reply *r) {
    reply_map(r, 3);
    for (int i = 0; i < 3; i++) {
        reply_int(r, i);
        reply_bool(r, i == 1);
    }
}

static void send_attribute(struct reply *r) {
    if (r->proto >= 3)
        add(r, SPAN("|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"));
    reply_bulk_cstr(r, "Some real reply following the attribute");
}

static void send_push(struct reply *r) {
    if (r->proto < 3) {
        reply_error(r, "ERR RESP2 is not supported by this command");
        return;
    }
    add(r, SPAN(">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n"));
    reply_bulk_cstr(r, "Some real reply following the push reply");
}

static void send_verbatim(struct reply *r) {
    reply_verbatim(r, "txt", SPAN("This is a verbatim\nstring"));
}

static void send_true(struct reply *r) {
    reply_bool(r, true);
}

static void send_false(struct reply *r) {
    reply_bool(r, false);
}

static void send_big_number(struct reply *r) {
    if (r->proto >= 3)
        add(r, SPAN("(1234567999999999999999999999999999999\r\n"));
    else
        reply_bulk_cstr(r, "1234567999999999999999999999999999999");
}

static void protocol_run(struct ctx *c) {
    static const struct {
        const char *name;
        void (*send)(struct reply *r);
    } types[] = {
        {"string", send_string},     {"integer", send_integer},  {"double", send_double},
        {"null", reply_null},        {"array", send_array},      {"set", send_set},
        {"map", send_map},           {"attrib", send_attribute}, {"push", send_push},
        {"verbatim", send_verbatim}, {"true", send_true},        {"false", send_false},
        {"bignum", send_big_number},
    };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (span_is(c->argv[2], types[i].name)) {
            types[i].send(&c->reply);
            return;
        }
    }
    reply_error(&c->reply,
                "ERR Wrong protocol type name. Please use one of the following: "
                "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

/* --- LOG, ERROR, STRINGMATCH-LEN --- */

static void log_run(struct ctx *c) {
    LOGW("DEBUG LOG: %.*s", (int)c->argv[2].len, c->argv[2].ptr);
    reply_ok(&c->reply);
}

static void error_run(struct ctx *c) {
    reply_errorf(&c->reply, "%.*s", (int)c->argv[2].len, c->argv[2].ptr);
}

/* stringmatch_len_run: does the pattern match this many a's? */
static void stringmatch_len_run(struct ctx *c) {
    int64_t len;
    if (!ctx_get_int(c, 2, &len))
        return;
    if (len < 0 || len > instance_of(c->shard)->config->bulk_bytes_max) {
        reply_error(&c->reply, "ERR value is out of range");
        return;
    }
    char *text = mem_alloc(&c->shard->mem, (size_t)len);
    if (text == NULL) {
        ctx_oom(c);
        return;
    }
    memset(text, 'a', (size_t)len);
    reply_int(&c->reply, glob_match(c->argv[3], (struct span){text, (size_t)len}, false));
    mem_free(&c->shard->mem, text, (size_t)len);
}

/* --- TX --- */

/* print_id: of a transaction or step: Lamport's time and the shard it came from; time 0: nobody's. */
static void print_id(struct reply *r, uint64_t time, uint64_t home) {
    enum { TEXT_BYTES = 48 };
    char text[TEXT_BYTES];
    int n = snprintf(text, sizeof text, "%lu.%lu", (unsigned long)time, (unsigned long)home);
    if (time == 0)
        reply_null(r);
    else
        reply_bulk(r, (struct span){text, (size_t)n});
}

static void print_count(struct reply *r, const char *name, uint64_t n) {
    reply_bulk_cstr(r, name);
    reply_int(r, (int64_t)n);
}

static void print_claim(void *arg, const struct tx_info *i) {
    static const char *const modes[] = {
        [TX_NONE] = "none", [TX_SHARED] = "shared", [TX_EXCLUSIVE] = "exclusive"};
    struct reply *r = arg;
    reply_map(r, 7);
    reply_bulk_cstr(r, "id");
    print_id(r, i->time, i->home);
    reply_bulk_cstr(r, "kind");
    reply_bulk_cstr(r, i->step ? "step" : "transaction");
    reply_bulk_cstr(r, "state");
    reply_bulk_cstr(r, i->yielding ? "asked" : i->granted ? "granted" : "waiting");
    print_count(r, "shared-keys", i->shared);
    print_count(r, "exclusive-keys", i->exclusive);
    reply_bulk_cstr(r, "whole");
    reply_bulk_cstr(r, modes[i->whole]);
    reply_bulk_cstr(r, "waits-for");
    print_id(r, i->waits_for >> TX_HOME_BITS, i->waits_for & ((1U << TX_HOME_BITS) - 1));
}

/* tx_each_run: the question has no claim itself, so that it is answered whoever waits for whom. */
static ON_SHARD void tx_each_run(struct ctx *c) {
    const struct tx_shard *tx = &c->shard->tx;
    const struct tx_stats *s = &tx->stats;
    struct reply *r = &c->reply;
    reply_map(r, 11);
    print_count(r, "shard", c->shard->id);
    reply_bulk_cstr(r, "claims");
    reply_array(r, tx->claims);
    tx_each(tx, print_claim, r);
    print_count(r, "waiting", tx->waiting);
    print_count(r, "from-here", tx->at_home);
    print_count(r, "total-started", s->started);
    print_count(r, "total-claims", s->claims);
    print_count(r, "total-waited", s->waited);
    print_count(r, "total-overtook", s->overtook);
    print_count(r, "total-asked", s->asked);
    print_count(r, "total-yielded", s->yielded);
    print_count(r, "total-steps-waited", s->steps_waited);
}

static void tx_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->failed) {
            ctx_oom(c);
            return;
        }
    }
    reply_array(&c->reply, n);
    for (unsigned i = 0; i < n; i++)
        outbuf_add(c->reply.out, parts[i]->buf, parts[i]->len);
}

/* --- SEGFAULT, PANIC --- */

static void segfault_run(struct ctx *c) {
    /* Volatile, so that the compiler neither knows the address nor drops the store; not 0, which the
     * undefined behaviour sanitizer would take for itself. */
    volatile int *volatile nowhere = (volatile int *)16;
    (void)c;
    *nowhere = 1; /* NOLINT(clang-analyzer-core.NullDereference): that is what it is for */
}

static void panic_run(struct ctx *c) {
    const bool panic_was_asked_for = c->argc == 2;
    ASSERT(!panic_was_asked_for);
}

/* --- rows --- */

#define GROUP "server"
#define SINCE "1.0.0"
#define FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define TYPE  "type(STRING|INTEGER|DOUBLE|NULL|ARRAY|SET|MAP|ATTRIB|PUSH|VERBATIM|TRUE|FALSE|BIGNUM)"

static const struct command rows[] = {
    {"DEBUG", command_container_run, -2, NO_KEYS, FLAGS | CMD_CONTAINER | CMD_SYSTEM, 0, GROUP,
     SINCE, "Depends on subcommand.", "Holds the commands for tests.", .check = allowed},
    {"DEBUG|DEFRAG", NULL, 3, NO_KEYS, FLAGS | CMD_FANOUT, 0, GROUP, SINCE, "O(1)",
     "With 1 everything in memory is moved all the time, with 0 only what has to.",
     .check = allowed, .each = defrag_each, .gather = command_ok_gather, .syntax = "on:integer"},
    {"DEBUG|ERROR", error_run, 3, NO_KEYS, FLAGS, 0, GROUP, SINCE, "O(1)",
     "Replies an error with this text.", .check = allowed, .syntax = "message"},
    {"DEBUG|FAIL-ALLOC", NULL, 3, NO_KEYS, FLAGS | CMD_FANOUT, 0, GROUP, SINCE, "O(1)",
     "Lets every n-th allocation of each shard fail, none with 0.", .check = allowed,
     .each = fail_alloc_each, .gather = fail_alloc_gather, .syntax = "n:integer"},
    {"DEBUG|LOG", log_run, 3, NO_KEYS, FLAGS, 0, GROUP, SINCE, "O(1)",
     "Writes a message to the log.", .check = allowed, .syntax = "message"},
    {"DEBUG|LONG-ELEMENTS", NULL, 3, NO_KEYS, FLAGS | CMD_FANOUT, 0, GROUP, SINCE, "O(1)",
     "From how many elements on a command is done beside the shard.", .check = allowed,
     .each = long_elements_each, .gather = command_ok_gather, .syntax = "elements:integer"},
    {"DEBUG|OBJECT", object_run, 3, KEY(2), FLAGS, 0, GROUP, SINCE, "O(1)",
     "Tells how the value of a key is kept.", .check = allowed, .key_access = "RO",
     .syntax = "key"},
    {"DEBUG|PANIC", panic_run, 2, NO_KEYS, FLAGS, 0, GROUP, SINCE, "O(1)",
     "Ends the server by an assertion.", .check = allowed},
    {"DEBUG|PROTOCOL", protocol_run, 3, NO_KEYS, FLAGS, 0, GROUP, SINCE, "O(1)",
     "Replies a value of a type of the protocol.", .check = allowed, .syntax = TYPE},
    {"DEBUG|SEGFAULT", segfault_run, 2, NO_KEYS, FLAGS, 0, GROUP, SINCE, "O(1)",
     "Ends the server by writing to an address where nothing is.", .check = allowed},
    {"DEBUG|SET-ACTIVE-EXPIRE", NULL, 3, NO_KEYS, FLAGS | CMD_FANOUT, 0, GROUP, SINCE, "O(1)",
     "With 0 keys expire only when they are looked at, with 1 again by themselves.",
     .check = allowed, .each = set_active_expire_each, .gather = command_ok_gather,
     .syntax = "on:integer"},
    {"DEBUG|SLEEP", NULL, 3, NO_KEYS, FLAGS | CMD_FANOUT, 0, GROUP, SINCE, "O(1)",
     "Stops all shards for this time.", .check = allowed, .each = sleep_each,
     .gather = command_ok_gather, .syntax = "seconds:double"},
    {"DEBUG|STRINGMATCH-LEN", stringmatch_len_run, 4, NO_KEYS, FLAGS, 0, GROUP, SINCE,
     "O(N*M) in both lengths", "Tells whether a pattern matches a text of so many a's.",
     .check = allowed, .syntax = "length:integer pattern"},
    {"DEBUG|TX", NULL, 2, NO_KEYS, FLAGS | CMD_FANOUT, 0, GROUP, SINCE,
     "O(N) in the claims of all shards",
     "Tells for each shard which transactions and steps hold keys, wait, and for whom.",
     .check = allowed, .each = tx_each_run, .gather = tx_gather},
    {"DEBUG|HELP", command_help_run, 2, NO_KEYS, FLAGS, 0, GROUP, SINCE, "O(1)",
     "Lists the subcommands.", .check = allowed},
};

void debug_register(void) {
    command_register(rows, COUNT_OF(rows));
}
