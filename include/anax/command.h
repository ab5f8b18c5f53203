/* command.h: how commands are declared, found and called.
 *
 * Why         a row beside its handler is all that adds a command: arity, keys, flags, ACL category
 *             and documentation come from it. Handlers are pure of transport: they read argv and the
 *             keyspace of the shard that they run on, and write a reply.
 * Threads     run and each: the holder of the shard in ctx. Rows are immutable after registration.
 * Limits      names up to COMMAND_NAME_MAX bytes.
 * Invariants  (1) run is called with an argc that fits arity, on the shard that owns the keys.
 *             (2) exactly one reply per call.
 */
#ifndef ANAX_COMMAND_H
#define ANAX_COMMAND_H

#include "anax/outbuf.h"
#include "anax/reply.h"
#include "anax/session.h"
#include "anax/work.h"
#include "shards/shard.h"

enum { COMMAND_NAME_MAX = 24, COMMANDS_MAX = 512 };

enum command_flags {
    CMD_WRITE = 1 << 0,
    CMD_READ = 1 << 1,
    CMD_DENY_OOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_FAST = 1 << 4,
    CMD_NOSCRIPT = 1 << 5,
    CMD_LOADING = 1 << 6,
    CMD_STALE = 1 << 7,
    CMD_NO_AUTH = 1 << 8, /* allowed before AUTH */
    CMD_ALLOW_BUSY = 1 << 9,
    CMD_NO_MULTI = 1 << 10,
    CMD_BLOCKING = 1 << 11,
    CMD_CONTAINER = 1 << 12, /* has subcommands: rows named "NAME|SUB" */
    CMD_MOVABLE_KEYS = 1 << 13,
    CMD_SKIP_MONITOR = 1 << 14,
    CMD_SKIP_SLOWLOG = 1 << 15,
    /* ours, not shown to clients: */
    CMD_HOME = 1 << 16,     /* runs where the connection lives and may use ctx->session */
    CMD_FANOUT = 1 << 17,   /* each on every shard, then gather at home */
    CMD_ROUTED = 1 << 18,   /* route() names the shard */
    CMD_BIG_LAST = 1 << 19, /* the last argument can be adopted as a blob (ctx->big) */
    CMD_ALONE = 1 << 20,    /* a batch of its own: nothing before or after it shares its fate */
    CMD_CONSTANT = 1 << 21, /* so short that a run of them is timed as one; CMD_FAST implies it */
    CMD_SYSTEM = 1 << 22,   /* not for applications: COMMAND DOCS calls it "syscmd" */
    CMD_WHOLE = 1 << 23,    /* with CMD_FANOUT: `each` runs on all shards as at one moment */
    CMD_ACROSS = 1 << 24,   /* `across` even when all keys lie on one shard */
    CMD_AT_ONCE = 1 << 25,  /* MULTI does not keep it for EXEC: it runs, or is refused, at once */
    CMD_ROUNDS = 1 << 26,   /* with CMD_WHOLE: gather may want another round, at the same moment */
    CMD_LONG = 1 << 27, /* run may take long with huge values, and knows of ctx_long and ctx_work */
    /* With CMD_LONG: it waits for what others do (ctx_await): it begins when all that its client sent before is done, and
     * what was sent behind it waits. */
    CMD_AWAITS = 1 << 28,
    CMD_NO_ASYNC_LOADING = 1 << 29
};

enum acl_category {
    ACL_KEYSPACE = 1 << 0,
    ACL_READ = 1 << 1,
    ACL_WRITE = 1 << 2,
    ACL_STRING = 1 << 3,
    ACL_BITMAP = 1 << 4,
    ACL_CONNECTION = 1 << 5,
    ACL_ADMIN = 1 << 6,
    ACL_DANGEROUS = 1 << 7,
    ACL_FAST = 1 << 8,
    ACL_SLOW = 1 << 9,
    ACL_BLOCKING = 1 << 10,
    ACL_TRANSACTION = 1 << 11,
    ACL_LIST = 1 << 12,
    ACL_HASH = 1 << 13,
    ACL_SET = 1 << 14,
    ACL_SORTEDSET = 1 << 15
};

struct keys {
    int8_t first, last, step; /* as in COMMAND INFO; first 0: none */
};
#define KEY(i)                                                                                     \
    { (i), (i), 1 }
#define KEYS(f, l, s)                                                                              \
    { (f), (l), (s) }
#define NO_KEYS                                                                                    \
    { 0, 0, 0 }

/* What a key holds, as ctx_view tells it. Bytes and object are to be read only, and are good until the command
 * ends, even when they lie on another shard. */
struct view {
    bool exists;
    struct value value;
    int64_t expire_ms;
};

/* A key of a call whose keys lie on several shards. */
struct key_slot {
    struct view view;
    uint64_t hash;
    uint32_t arg;  /* argv[arg] */
    uint32_t next; /* the next slot of the same shard; SLOT_END */
    uint16_t shard;
    uint32_t refs_end; /* where the reply of `look` or `after` for it ends, by ctx_slot_replied */
    size_t reply_end;
    bool failed; /* `look` had no memory */
    void *kept;  /* what `look` made for `after` */
};
enum { SLOT_END = UINT32_MAX };

/* The keys of such a call, in the order of the arguments. */
struct key_slots {
    uint32_t count, first_arg, step;
    bool go; /* by decide or run: `after` is to do its work, not only to drop what `look` kept */
    struct key_slot *slot;
    uint32_t *first; /* per shard; SLOT_END: it has none of the keys */
};

struct command;

struct ctx {
    struct shard *shard; /* where it runs */
    struct keyspace *keyspace;
    const struct command *cmd;
    const struct span *argv; /* argv[0] is the name; for a subcommand argv[1] is the subcommand */
    uint32_t argc;
    uint32_t db;
    uint64_t hash;  /* of the first key */
    int64_t now_ms; /* Unix time */
    struct reply reply;
    struct blob *big; /* CMD_BIG_LAST: the last argument's bytes, to be taken over by setting it
                         NULL, or NULL */
    bool no_touch;    /* CLIENT NO-TOUCH: access times stay, wherever the key lies */
    bool in_exec;     /* it is part of MULTI's body */
    struct session *session; /* only with CMD_HOME, and in check and gather */
    uint64_t client_id;      /* of the connection that sent it, everywhere */
    bool again; /* CMD_FANOUT: gather wants another round of `each` before it replies */
    bool freed; /* CMD_FANOUT: gather's reply waits until all that was dropped is freed */
    void **
        state; /* CMD_FANOUT: what gather keeps for the next round, where `each` may read it; gather, which comes
                     to its end even when there is no memory for the reply, frees it */
    struct work **work; /* what run, or gather, left to be done beside the shard; NULL: it cannot */
    bool
        locked; /* nobody sees or changes its keys before it has replied, however many turns that takes */
    bool more;               /* it has not replied yet, and is called again */
    struct key_slots *slots; /* keys lie on several shards; NULL: all here */
    int64_t tally;           /* JOIN_SUM: of what look or after counted; in decide: of all shards */
};

typedef void command_fn(struct ctx *c);

/* How a call is carried out whose keys lie on several shards. All its keys are locked: exclusively by a row that
 * writes, but for those that `shared` names. Then, each step on its shards side by side:
 *
 *   look    on every shard that has keys of it (ctx_first_slot, ctx_next_slot): reads. It may run more than once,
 *           and must then forget what it found before.
 *   decide  at home: false when it has replied and nothing more is to be done but `after` without `go`. May read views in
 *           place.
 *   run     the row's, on the shard of one key, argv[at]; sees the others by ctx_view (needs a `look` that is
 *           ctx_look_views). Sets slots->go for `after` to do its work.
 *   after   on every shard that has keys of it: cannot fail. Without slots->go it only drops what look kept.
 *
 * All of them see one time (now_ms), and no key that look found alive goes meanwhile. Any of them may be missing. What look, or without it after, replied is joined. */
enum join {
    JOIN_NONE, /* decide or run replies */
    JOIN_SUM,  /* the sum of the tallies, as an integer */
    JOIN_KEYS, /* an array: what was replied for each key (ctx_slot_replied), in their order */
    JOIN_OK    /* +OK */
};
enum { ACROSS_LAST_KEY = UINT32_MAX };
struct across {
    command_fn *look;
    bool (*decide)(struct ctx *c);
    uint32_t at; /* ACROSS_LAST_KEY: the last key's; 0: run is for calls on one shard only */
    command_fn *after;
    enum join join;
    uint32_t shared_from,
        shared_to; /* arguments from..to are only read; to 0: none, UINT32_MAX: to the end */
};

struct command {
    const char *name; /* upper case; "OBJECT|ENCODING" for a subcommand */
    command_fn *run;
    int16_t arity; /* negative: at least */
    struct keys keys;
    uint32_t flags;
    uint32_t acl;
    /* documentation: what COMMAND DOCS answers */
    const char *group, *since, *complexity, *summary;
    /* CMD_FANOUT: `each` appends anything to ctx->reply.out, whose bytes gather gets, one outbuf
     * per shard, in the order of shard ids. */
    command_fn *each;
    void (*gather)(struct ctx *c, struct outbuf *const *parts, unsigned n);
    /* CMD_ROUTED: the shard to run on, or -1 after having replied an error. */
    int (*route)(struct ctx *c);
    /* Any command: called at home before it is routed; false after having replied why it is refused. */
    bool (*check)(struct ctx *c);
    /* CMD_MOVABLE_KEYS: as command_key_range, from the arguments; false when they are malformed. */
    bool (*find_keys)(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                      uint32_t *step);
    /* COMMAND INFO: hints for clients, separated by spaces; and what is done to the keys ("RO
     * access"), with ';' where the first key differs from the others, and ";?" before each note on keys that no
     * position tells; ";?=WORD " before one on keys that follow a word, to the end. NULL: none. */
    const char *tips, *key_access;
    /* The arguments behind the name, as command_syntax_impl.h (src/commands) writes them: COMMAND
     * DOCS and HELP tell them. NULL: none. */
    const char *syntax;
    /* COMMAND DOCS: since when something else is preferred, and what; NULL: nothing is. */
    const char *deprecated_since, *replaced_by;
    /* COMMAND GETKEYSANDFLAGS: what this call does to its keys, where the arguments decide; else
     * NULL, and key_access tells. */
    const char *(*find_access)(const struct span *argv, uint32_t argc);
    /* Keys on several shards; NULL: such a call is refused. */
    const struct across *across;
    /* The row that carries out a call with these arguments, this one or another, which is no command by itself;
     * NULL: this one does always. command_variant makes the other one. */
    const struct command *(*variant)(const struct span *argv, uint32_t argc);
    /* Keys that an argument counts: argv[at] says how many follow it, `step` apart. With keys.first the one before it
     * is a key too (ZUNIONSTORE), and the count among them is none. */
    struct {
        int8_t at, step;
    } numkeys;
    uint16_t id;     /* set by registration: its place in statistics */
    uint16_t parent; /* id of the container, for a subcommand */
};

/* command_register: adds copies of rows; names must be new, a container comes before its
 * subcommands. ACL categories that follow from flags (@read, @write, @fast, @slow, ...) are added
 * to acl. Before any shard starts. */
void command_register(const struct command *rows, size_t n);
/* command_find: by name, any case; NULL when unknown. command_find_sub: a container's subcommand.
 */
const struct command *command_find(struct span name);
const struct command *command_find_sub(const struct command *container, struct span sub);
/* command_at: rows by id, for COMMAND and statistics; NULL past the end. */
const struct command *command_at(unsigned id);
unsigned command_count(void);

/* command_key_range: positions of the first and last key for this argc; false when it has no keys.
 */
bool command_key_range(const struct command *cmd, uint32_t argc, uint32_t *first, uint32_t *last,
                       uint32_t *step);
/* command_route_hash: the hash that names a key's shard: of its {hashtag}, else of the key.
 * key_hash is the key's own hash, which saves hashing twice. */
uint64_t command_route_hash(struct span key, uint64_t key_hash);

/* command_keys: the keys of this call, movable ones included; step apart. */
bool command_keys(const struct command *cmd, const struct span *argv, uint32_t argc,
                  uint32_t *first, uint32_t *last, uint32_t *step);
/* command_next_key: the argument of the key behind the one at arg. command_key_index: how many keys of the call stand
 * before argv[arg], itself a key; the first stands at `first`. */
static inline uint32_t command_next_key(const struct command *cmd, uint32_t arg, uint32_t step) {
    return arg + step == (uint32_t)cmd->numkeys.at ? arg + step + 1 : arg + step;
}
static inline uint32_t command_key_index(const struct command *cmd, uint32_t first, uint32_t step,
                                         uint32_t arg) {
    uint32_t count_at = (uint32_t)cmd->numkeys.at;
    return (arg - first - (count_at > first && count_at < arg)) / step;
}
/* command_name_lower: as clients see it: "object|encoding"; out has COMMAND_NAME_MAX + 1 bytes. */
void command_name_lower(const struct command *cmd, char *out);

/* command_help_run: what a row named "CONTAINER|HELP" runs: the container's subcommands, told from
 * their rows (syntax and summary). */
void command_help_run(struct ctx *c);

/* Errors of whoever looks a command up. command_reply_unknown_sub: argv[1] names no subcommand. */
void command_reply_unknown(struct reply *r, const struct span *argv, uint32_t argc);
void command_reply_unknown_sub(struct reply *r, const struct command *container, struct span sub);
void command_reply_arity(struct reply *r, const struct command *cmd);

/* command_container_run: of a container called without one of its subcommands, which are rows of their own.
 */
void command_container_run(struct ctx *c);
/* command_ok_gather: OK, when every shard has done its part without anything to tell. */
void command_ok_gather(struct ctx *c, struct outbuf *const *parts, unsigned n);
/* What clients look at to know which commands to expect: a version of Redis. */
#define COMMAND_COMPATIBLE_VERSION "8.0.0"

/* command_variant: makes `row` one for row->variant of the command of the same name: it shares its place in statistics and
 * what is told of it; run, each, gather, keys, across and flags are its own. After command_register. */
void command_variant(struct command *row);
/* command_register_families: all rows of src/commands, once, before any shard starts. */
void command_register_families(void);

/* --- shared by handlers --- */
/* ERR_OUT_OF_MEMORY is the text for a command refused because of maxmemory; what the allocator
 * refuses is ctx_oom. */
extern const char ERR_SYNTAX[], ERR_NOT_INT[], ERR_NOT_FLOAT[], ERR_WRONG_TYPE[], ERR_NO_KEY[],
    ERR_OUT_OF_MEMORY[], ERR_CROSS_SHARD[];

/* ctx_find: the live entry under argv[i] or NULL. Counts a hit or miss when cmd is CMD_READ. */
struct entry *ctx_find(struct ctx *c, uint32_t i) ON_SHARD;
/* ctx_find_string: as ctx_find; replies WRONGTYPE and returns false when it is not a string. */
bool ctx_find_string(struct ctx *c, uint32_t i, struct entry **e) ON_SHARD;
/* ctx_view: what argv[i], a key of this call, holds, on whichever shard. With all keys here it looks it up and
 * counts a hit or miss as ctx_find does; else `look` did. ctx_look_views: the `look` that does. */
void ctx_view(struct ctx *c, uint32_t i, struct view *v) ON_SHARD;
void ctx_look_views(struct ctx *c) ON_SHARD;
/* ctx_first_slot, ctx_next_slot: the keys of the call that lie on this shard, in look and after; NULL at the end. */
static inline struct key_slot *ctx_slot_at(const struct ctx *c, uint32_t i) {
    return i == SLOT_END ? NULL : &c->slots->slot[i];
}
static inline struct key_slot *ctx_first_slot(const struct ctx *c) {
    return ctx_slot_at(c, c->slots->first[c->shard->id]);
}
static inline struct key_slot *ctx_next_slot(const struct ctx *c, const struct key_slot *k) {
    return ctx_slot_at(c, k->next);
}
/* ctx_slot_replied: the reply for this key ends here. */
void ctx_slot_replied(const struct ctx *c, struct key_slot *k);
/* ctx_changed: argv[i], a key of this call in database db, holds something else now, or is gone. Called after
 * every change that a client asked for, on the shard of the key: WATCH hears of it. */
void ctx_changed(struct ctx *c, uint32_t i) ON_SHARD;
/* ctx_changed_in: the same of another database. */
void ctx_changed_in(struct ctx *c, uint32_t db, uint32_t i) ON_SHARD;
/* ctx_hash: the hash of argv[i], which is ctx->hash when it is the first key. */
uint64_t ctx_hash(const struct ctx *c, uint32_t i);
struct table *ctx_table(struct ctx *c) ON_SHARD;
/* ctx_get_int: argv[i] as a 64-bit integer by Redis's rules; replies ERR_NOT_INT and returns false.
 */
bool ctx_get_int(struct ctx *c, uint32_t i, int64_t *out);
/* object_encoding, object_refcount: what OBJECT tells of a value. */
const char *object_encoding(const struct entry *e);
int object_refcount(const struct entry *e);
/* object_describe: how a value is kept. O(1). */
struct object_info {
    const char *form; /* what we call it; a string's is "string" */
    bool flat;        /* a run of bytes, which a dump file would hold as they are */
    size_t bytes;     /* of that run; else of memory */
    uint64_t elements;
    uint32_t weight;
    int64_t due_ms; /* something inside expires then, or later; OBJECT_NEVER */
};
void object_describe(const struct entry *e, struct object_info *out);
/* ctx_reply_text: replies a text for people and frees it; or replies that there was no memory for it. */
void ctx_reply_text(struct ctx *c, struct outbuf *text);
/* What takes long does not stall the shard (shards/job.h). A handler of a CMD_LONG row, or gather, does it so:
 *
 *     struct copying w;
 *     if (!ctx_resume(c, &w, sizeof w)) {
 *         ... looks at keys, and replies errors
 *         if (ctx_long(c, elements))
 *             return;
 *         w = ... what there is to do
 *         if (!ctx_work(c, elements, copy_all, &w, sizeof w))
 *             return;
 *     }
 *     ... stores and replies what copy_all has left in w
 *
 * ctx_long: true: this many elements take long, and the keys are not locked yet: the handler, which has changed and kept
 * nothing, returns, and is called again when they are. ctx_work: true: fn has run over *state. False: the handler returns,
 * and is called again when fn has run beside the shard, over a copy of *state, which must not point into itself.
 * ctx_resume: true: it has, and *state is what it left. Then all is as it was: the keys, the views of them, the time.
 *
 * fn may read what the keys hold, in place, on whichever shard, and of a key that the command has locked exclusively change the
 * object too; no entry, no table. What it allocates and frees it counts on `m`, which after ctx_resume is charged to
 * the shard: a struct val that it made has that account, and gets the shard's before it is used. It must not fail to return. */
bool ctx_long(struct ctx *c, uint64_t elements) ON_SHARD;
bool ctx_work(struct ctx *c, uint64_t elements, work_fn *fn, void *state, size_t bytes) ON_SHARD;
bool ctx_resume(struct ctx *c, void *state, size_t bytes) ON_SHARD;
/* ctx_await: as a ctx_work that was false, but what is waited for happens elsewhere: *state lies there, in a place of its own, until
 * work_end (work.h) was called on this shard. NULL: no memory. Of CMD_AWAITS, with c->locked. */
MUST_CHECK struct work *ctx_await(struct ctx *c, const void *state, size_t bytes) ON_SHARD;
/* For what waits for something outside (another server), with its keys locked: ctx_lock is as ctx_long, however short it
 * is. ctx_wait: as ctx_work, never done at once; when fn has run, `wait` is called on the shard's owner, where it may begin
 * what goes on over many turns of the loop with w->state, until it calls work_end (anax/work.h). True: the handler returns
 * and is called again then. False: no memory, or there is nobody who could wait. */
bool ctx_lock(struct ctx *c) ON_SHARD;
bool ctx_wait(struct ctx *c, work_fn *fn, void (*wait)(struct shard *s, struct work *w),
              void *state, size_t bytes) ON_SHARD;
/* ctx_room: maxmemory has room for so many bytes that the arguments do not tell of, on this shard; or nobody asks. False: replied that it
 * has not; the handler, which has changed nothing that lasts, returns. It may evict, but no key of this call: entries that the handler
 * has found stay where they are. */
bool ctx_room(struct ctx *c, int64_t bytes) ON_SHARD;
/* ctx_oom: replies that memory is out. */
void ctx_oom(struct ctx *c);

#endif
