/* net_impl.h: connections and batches, for this room only.
 *
 *   conn.c     a connection from accept to release     input.c   bytes -> commands -> batches
 *   batch.c    batches: to their shards, and back      output.c  replies -> socket
 *   run.c      commands on the shard of their keys     monitor.c MONITOR
 *   unit.c     batches that are transactions           exec.c    MULTI, EXEC, DISCARD, WATCH, UNWATCH
 *   listen.c   sockets, accept, which shard            client*.c CLIENT, HELLO, SELECT, ...
 *   slow.c     slow and large commands                 pause.c   CLIENT PAUSE, UNPAUSE, REPLY
 *   defrag.c   memory of sparse slabs given back     client_evict.c maxmemory-clients
 *   freed.c    replies that wait until memory is free
 *
 * A batch holds up to NET_BATCH_COMMANDS commands of one connection. Its commands are dealt to parts, one
 * per shard; a part is one message and collects the replies of its commands in one outbuf. The batch's
 * commands remember where their reply ends in their part, so that gathering walks the commands in order
 * and takes the next slice of the part each belongs to.
 *
 * A batch that holds one command for several shards, or the body of MULTI, is a unit: a transaction (shards/tx.h)
 * whose hops run its commands. A part that comes upon what a transaction has locked waits where it is, from
 * that command on, until its turn has come (tx_wait).
 */
#ifndef NET_IMPL_H
#define NET_IMPL_H

#include "anax/command.h"
#include "anax/config.h"
#include "anax/instance.h"
#include "anax/net.h"
#include "anax/resp.h"
#include "anax/room.h"
#include "shards/assert.h"
#include "shards/defrag.h"
#include "shards/list.h"
#include "shards/loop.h"
#include <netinet/in.h>

enum {
    NET_SPARE_BYTES = 16 * 1024, /* output buffers that are kept for the next connection */
    NET_SPARES_MAX = 32,
    NET_IOV_MAX = 64,
    NET_TICK_MS = 100,
    NET_SLICE_NS = 150000,   /* of expiry, and of freeing, in one turn */
    NET_SLICE_ENTRIES = 100, /* after which the clock is looked at */
    NET_RELEASE_S = 3, /* the allocator has given back most of what was freed by then, beside us */
    NET_OUT_KEEP_BYTES = 64 * 1024,
    NET_OUT_LOOK_BYTES =
        1 << 20, /* replies of one turn, after which they are not left to its end: output_look */
    NET_BATCHES_KEPT = 1024, /* that many only after a moment of need: net_trim */
    NET_UNIT_KEEP_BYTES = 2048,
    NET_ADDRESS_BYTES = CONFIG_SOCKET_PATH_MAX + 8 /* a path and "unix:" or ":0" */
};

enum op_kind {
    OP_RUN,     /* cmd->run where the keys are */
    OP_REFUSED, /* check() did: batch->refusal */
    OP_ACROSS,  /* keys on several shards: cmd->across; only in a unit */
    OP_ALL, /* all shards: cmd->each and gather; only in a unit; the last of those that are carried out */
    OP_UNKNOWN, /* no such command, or subcommand */
    OP_ARITY,
    OP_NOAUTH,
    OP_LOADING, /* a dataset is being loaded */
    OP_MISCONF, /* stop-writes-on-bgsave-error */
    OP_CROSS,   /* keys on several shards, of a row that cannot have that */
    OP_NOTHING, /* route() replies the error */
    OP_QUEUED,  /* waits for EXEC */
    OP_NOT_IN_EXEC,
    OP_EXEC_NOAUTH,
    OP_NO_EXEC, /* EXEC itself is malformed, or of what was refused when it was queued */
    OP_NOMEM,
    OP_OOM,     /* maxmemory */
    OP_PROTOCOL /* malformed input: conn->protocol_error */
};

struct op {
    const struct command *cmd;
    struct span *argv;
    union {
        uint64_t hash;
        struct { /* OP_REFUSED: in batch->refusal */
            uint32_t refusal_at, refusal_len;
        };
    };
    union {
        struct key_slots *slots; /* OP_ACROSS */
        void *state;             /* OP_ALL: what gather keeps for another round */
    };
    size_t reply_end;  /* in the outbuf of its part */
    uint32_t refs_end; /* likewise */
    uint32_t argc;
    uint32_t db;
    uint32_t slow_us; /* what it took, plus one; 0: not slow */
    uint32_t next;    /* of the same part; OP_END at the end */
    uint16_t shard;
    uint8_t kind;
    bool muted; /* EXEC: CLIENT REPLY says not to send its reply */
};
static_assert(sizeof(struct op) <= CACHE_LINE, "an op crosses to another core as one line");
enum { OP_END = UINT32_MAX };

/* A large argument that was received into its final place. */
struct big {
    struct blob *blob;
    uint32_t op, arg;
    char head[SLOW_ARG_BYTES_MAX]; /* what logs show of it after the keyspace has taken it over */
};

struct batch;

struct part {
    struct bus_msg msg;
    struct batch *batch;
    struct outbuf out;
    struct outbuf raw; /* OP_ALL: what `each` has for gather */
    size_t taken;      /* of out: what has been gathered */
    uint32_t refs_taken;
    uint32_t refs_live; /* references to that shard's blobs that are not sent yet */
    uint32_t first, last;
    uint32_t at; /* the op to go on with */
    uint16_t shard;
    bool waiting;    /* not back yet */
    uint8_t awaited; /* messages that it waits for: its own, and of a step that had to wait */
    bool used;
    bool slow;    /* some command of it was */
    bool aborted; /* EXEC: a watched key of that shard has changed */
    bool full;    /* of what comes as a whole: that shard has no room for its part (room.h) */
    struct room_wait room;  /* what a write waits for */
    bool freeing;           /* that shard has something left to free (freed.c) */
    uint64_t ns;            /* what the last step took */
    int64_t tally;          /* what it counted */
    int64_t promised_bytes; /* of a unit: room that is kept for what it stores on that shard */
    bool later;             /* of a unit: that shard has no room yet for its part, but others may */
    int64_t moved_bytes;    /* memory that came home with it, or, negative, stayed there */
    int64_t held_before;    /* while it runs */
    int64_t carried_bytes;  /* large arguments, which change accounts with it */
    int64_t carried_room;   /* the room for them, on the way */
    /* Of commands that take long (CMD_LONG): */
    bool lengthy;           /* there may be one */
    bool begun;             /* what was watched has been looked at */
    bool going;             /* the command at `at` has begun */
    struct work *work;      /* what it left to be done beside the shard */
    struct tx_claim *claim; /* of the step that waits for it */
    int64_t now_ms;         /* the time, for as long as it takes */
    uint64_t long_ns;       /* what it took so far */
};

struct batch {
    struct conn *conn;
    struct batch *next;
    struct net *net;
    struct io_buf *buf; /* what the arguments point into: one of these two, or neither */
    struct inbuf *in;
    struct text *texts; /* what arguments of MULTI's body point into */
    struct span *args;  /* own_args, or a larger array */
    struct op *ops;     /* own_ops, or, of MULTI's body, a larger array */
    uint32_t args_cap, args_len;
    uint32_t ops_cap, op_count, gathered;
    uint16_t parts_waiting; /* that are not back; of a unit, itself */
    uint16_t parts_live;    /* parts with refs_live, each keeps the batch, and the unit */
    uint64_t id;            /* its place among all that want locks */
    int64_t asked_ms;       /* when it was sent: no shard that runs a part of it is earlier */
    int64_t
        now_ms; /* of a unit: the time of all its steps, on every shard: what one finds alive is alive for all */
    bool ordered;      /* something that its client sent before is still under way */
    bool holds_input;  /* nothing after it is parsed before it is done */
    struct unit *unit; /* while its transaction lives */
    void *unit_room;   /* kept for the next one, or NULL */
    size_t unit_room_bytes;
    struct list watched; /* EXEC: what has to be unchanged */
    struct list freeing; /* net->freeing: its reply waits until memory is free */
    uint16_t looks;      /* shards that are asked about that */
    uint64_t exec_from_ns;
    char exec_word[4]; /* as the client wrote it, for MONITOR */
    uint8_t proto;
    bool as_unit;
    bool exec;             /* MULTI's body: one array is the reply */
    bool exec_begun;       /* its head has been sent */
    bool aborted, refused; /* EXEC: null, for a watched key has changed; no memory */
    bool full;             /* refused because of maxmemory */
    bool quiet;            /* CLIENT REPLY: the replies are dropped */
    bool no_touch;         /* CLIENT NO-TOUCH */
    bool writes;           /* some command may write */
    bool done;             /* no longer in the connection's queue */
    struct outbuf refusal; /* what check() replied */
    struct big *bigs;
    uint32_t big_count, big_cap;
    size_t kept_bytes;  /* of texts, and of bigs that MULTI keeps */
    struct part *parts; /* one per shard */
    struct op own_ops[NET_BATCH_COMMANDS];
    struct span own_args[NET_BATCH_ARGS];
};

/* A piece of what MULTI's body keeps of its commands. */
struct text {
    struct text *next;
    size_t len, cap;
    char bytes[];
};

/* A key that a connection watches. */
struct watched {
    struct bus_msg msg; /* takes the watch back to its shard */
    struct list link;   /* conn->watched, or batch->watched */
    struct watch *watch;
    uint64_t hash; /* of the key, in db */
    uint32_t db;
    struct net *net;
    uint16_t shard;
};

/* Input that did not end with a whole command. */
struct inbuf {
    struct mem *mem;
    uint32_t refs;
    size_t len, cap;
    char data[];
};

/* What a connection needs only while a command is incomplete. */
struct partial {
    struct resp_parser parser;
    struct inbuf *in;
    size_t start; /* of the command, in `in` */
    struct big *bigs;
    uint32_t big_count, big_cap;
    size_t direct_left; /* bytes of the large argument that are still to come, CRLF included */
    bool held;          /* the parser holds a whole command that CLIENT PAUSE keeps from running */
};

struct conn {
    struct stream stream;
    struct session session;
    struct net *net;
    struct list link;    /* net->conns */
    struct list dirty;   /* net->dirty: has output or an end to come to */
    struct list todo;    /* net->todo: the owner has to see it */
    struct list held;    /* net->held: waits for the end of CLIENT PAUSE; net->lacking: for room */
    struct list monitor; /* net->monitors */
    struct list size;    /* net->clients.sizes, when it may be evicted */
    size_t noted_bytes,
        noted_values; /* what it took when it was looked at; large values that it was sent then */
    struct partial *partial;
    struct batch *body;               /* MULTI's, or NULL */
    struct list watched;              /* WATCH */
    uint32_t watch_count, exec_count; /* exec_count: commands of the body, in_exec */
    struct batch *first, *last;
    uint32_t batches;
    struct outbuf out;
    size_t out_sent;    /* bytes of out.buf */
    uint32_t refs_sent; /* references */
    size_t ref_offset;  /* into the next reference */
    uint64_t created_ns, active_ns;
    uint64_t bytes_in, bytes_out, commands;
    const struct command *last_cmd; /* or NULL */
    uint64_t soft_limit_since_ns;
    struct resp_limits limits;
    const char *protocol_error;
    uint32_t input_waits; /* batches that hold_input */
    bool body_refused;    /* something of it was: EXEC does nothing */
    bool paused, want_write, write_armed;
    bool closing;  /* no more input; ends when the output is sent and the batches are back */
    bool broken;   /* ends without sending */
    bool released; /* the loop let go */
    bool close_called;
    bool is_unix;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer; /* as accepted: also other shards' commands read it */
};

/* A connection on its way to its shard. */
struct adopted {
    struct bus_msg msg;
    struct list link;
    int fd;
    uint64_t id;
    bool is_unix;
};

/* What the connections of a shard take, as looked at once a second, and more often for maxmemory-clients. */
enum { NET_RECENT_S = 8, NET_SIZES = 20 };
struct net_clients {
    size_t bytes;                 /* all of them */
    size_t value_bytes;           /* beside these: large values under way to them */
    struct list sizes[NET_SIZES]; /* by what they take */
    bool telling;                 /* the other shards are told */
    size_t input_max[NET_RECENT_S], output_max[NET_RECENT_S]; /* one of them, a place per second */
    unsigned next;
};

struct net_stats {
    uint64_t connections, rejected, commands, protocol_errors, query_limit, output_limit;
    uint64_t evicted; /* clients */
    uint64_t bytes_in, bytes_out, reads, writes, monitor_lost, expire_ns;
};

/* What defrag.c keeps. */
struct net_defrag {
    struct timer timer; /* set while a walk is under way */
    struct defrag walk;
    unsigned percent;             /* of the core, for the walk that is under way; 0: none is */
    unsigned wait_s, last_wait_s; /* seconds until the next walk; the same after the last one */
    bool over;                    /* a walk has ended, and what it gained is not known yet */
    bool again;                   /* it has gained much */
    size_t free_bytes;            /* what slabs had free when it began, and then after it */
    uint64_t moved_bytes;         /* what the mover had moved by then */
    uint64_t began_ns;            /* the walk that is under way */
    uint64_t sliced_ns;           /* its last slice ended, by the fine clock */
    uint64_t over_ns;             /* what all walks took, with their pauses */
    uint64_t used_ns;             /* without these */
};

struct net {
    struct shard *shard;
    struct instance *instance;
    struct net_shared *shared;
    struct list conns, dirty, todo, adopt, held, lacking, monitors;
    uint64_t conn_count;
    uint64_t batches_out;      /* in any connection's queue */
    uint64_t writes_out;       /* of these, those that may write and are not done everywhere */
    uint64_t unwatching;       /* watches on their way back */
    uint64_t watching;         /* connections that watch keys */
    struct resp_parser parser; /* for input that holds whole commands */
    struct batch *spare_batches;
    unsigned spare_batch_count;
    char *spares[NET_SPARES_MAX];
    unsigned spare_count;
    /* the fewest there were since net_trim: those were not needed */
    unsigned spare_batch_least, spare_least;
    uint64_t commands_then; /* as counted at the last net_trim */
    struct listener listeners[NET_LISTENERS_MAX];
    bool listener_unix[NET_LISTENERS_MAX];
    unsigned listener_count;
    struct timer tick;
    struct timer pause_end; /* set while a connection is held */
    struct list freeing;    /* batches whose replies wait until memory is free */
    struct timer freed_look;
    bool freed_looks;      /* it is set */
    struct outbuf seen;    /* lines for monitors, since the last turn end */
    size_t seen_bytes_out; /* of lines on their way to other shards */
    uint64_t next_second_ns;
    unsigned release_s; /* seconds until the pages of what was freed go back; 0: there are none */
    bool stopping;
    struct net_stats stats;
    struct net_clients clients;
    struct net_defrag defrag;
};

/* --- conn.c --- */
void conn_adopt(struct net *n, struct adopted *a) ON_SHARD;
/* conn_touch: the connection is looked at again at the end of this turn. */
void conn_touch(struct conn *c);
/* conn_todo: the owner will look at it. */
void conn_todo(struct conn *c);
void conn_owner_work(struct net *n) ON_SHARD;
/* conn_break: ends it without sending what is left. */
void conn_break(struct conn *c);
/* conn_settle: closes and frees what has come to its end. Owner only. */
void conn_settle(struct conn *c) ON_SHARD;
void conn_check_all(struct net *n) ON_SHARD;
void conn_register(void);
void net_tick_set(struct net *n, uint64_t due_ns);
/* net_free_slice: frees some of what was dropped; true when there is more, which the next ticks go on with, without a pause. */
bool net_free_slice(struct net *n) ON_SHARD;

/* --- input.c --- */
void input_data(struct conn *c, struct io_buf *buf) ON_SHARD;
void input_direct(struct conn *c, size_t n) ON_SHARD;
/* input_go_on: parses what was left when the connection paused. */
void input_go_on(struct conn *c) ON_SHARD;
void input_drop(struct conn *c);
/* input_try_room: those that wait for room for their input ask again, the first first. */
void input_try_room(struct net *n);
/* input_route: which shard the keys lie on, or that they lie on several. input_slots: then where each of them lies;
 * false: no memory. */
void input_route(struct conn *c, struct op *op) ON_SHARD;
bool input_slots(struct conn *c, struct op *op);
void input_free_slots(struct mem *m, struct op *op, unsigned shards);
/* input_refused: asks the row's check; what it replies is kept in b->refusal. */
bool input_refused(struct conn *c, struct batch *b, struct op *op) ON_SHARD;
size_t input_bytes(const struct conn *c);
bool parser_grow(struct resp_parser *p, uint32_t need);
/* input_trim: gives back the room for arguments of the shard's parser, between two commands. */
void input_trim(struct net *n);
void inbuf_release(struct inbuf *in);

/* --- batch.c --- */
struct batch *batch_begin(struct conn *c, struct io_buf *buf, struct inbuf *in);
/* batch_room: for one more command of argc arguments; NULL: start another batch (or no memory). batch_room_for_body:
 * as many as memory has room for. batch_drop_op takes the last one back. */
struct op *batch_room(struct batch *b, uint32_t argc);
struct op *batch_room_for_body(struct batch *b, uint32_t argc);
void batch_drop_op(struct batch *b);
/* batch_link: the op just filled goes to the part of its shard. */
void batch_link(struct batch *b, struct op *op);
/* batch_big: an argument of op lies in a blob, which the batch owns from now on; false: no memory. */
bool batch_big(struct batch *b, const struct op *op, uint32_t arg, struct blob *blob);
/* batch_dispatch: runs and posts; the batch belongs to its connection's queue, or is gone. */
void batch_dispatch(struct batch *b) ON_SHARD;
void batch_discard(struct batch *b) ON_SHARD;
/* batch_hold_input: when the batch just dispatched is not done, the connection reads on when it is. */
void batch_hold_input(struct conn *c) ON_SHARD;
/* batch_unit_done: every command of it has replied. batch_unit_ended: nothing of the transaction is left. */
void batch_unit_done(struct batch *b) ON_SHARD;
void batch_unit_ended(struct batch *b);
/* batch_free_spares: all but `keep` of them. */
void batch_free_spares(struct net *n, unsigned keep);
/* part_ref_sent: one reference of a part in another shard was sent or dropped. */
void part_ref_sent(struct part *p) ON_SHARD;
/* part_enter, part_leave: around what a shard does for a part, so that what the output grows by is charged to that
 * shard, and, from part_home on, to its home. */
void part_enter(struct part *p, struct shard *at) ON_SHARD;
void part_leave(struct part *p, struct shard *at) ON_SHARD;
void part_home(struct part *p) ON_SHARD;

/* --- run.c --- */
struct run {
    struct outbuf *out;
    struct session *session; /* at home */
    uint32_t to;             /* up to this op, not included; OP_END: all */
    bool granted;            /* nothing can be in the way */
    bool locked;             /* nor come before it is over */
    bool roomy;              /* there is room for all of it (room.h) */
    bool waits;              /* what has no room yet may wait for it */
    int64_t now_ms;          /* of a unit; 0: the shard's */
};
/* run_part: runs its commands from p->at on; false when it came upon a lock, or upon a command that takes long: with how->locked
 * p->work is to be done then; or upon one that waits for p->room. What the commands after the next few will
 * touch is fetched meanwhile; run_prefetch fetches the buckets, where the sender could not. */
bool run_part(struct batch *b, struct part *p, struct shard *at, const struct run *how) ON_SHARD;
void run_prefetch(const struct shard *at, const struct batch *b, uint32_t from) ON_SHARD;
/* run_blocked: would any command of this part, from this one on, come upon a lock? */
bool run_blocked(const struct shard *at, const struct batch *b, uint32_t from) ON_SHARD;
/* run_bytes: of what the commands of a batch may store on this shard, beside the large arguments that its account has already; 0:
 * nothing, or there is no limit. run_brings: of large arguments that a part's commands may store as they are. */
int64_t run_bytes(const struct batch *b, const struct shard *at) ON_SHARD;
int64_t run_brings(const struct part *p);
/* run_refuse: the batch, which counts as one, gets an error because of maxmemory in place of its replies. */
void run_refuse(struct batch *b, struct reply *r) ON_SHARD;
/* run_wants: what a command on one shard wants there; returns how many; `to` may be NULL. */
uint32_t run_wants(const struct op *op, struct tx_want *to);
struct tx_want run_slot_want(const struct op *op, const struct key_slot *slot);
/* run_step: fn is a step of a command that several shards take part in; replies to `out`. With `locked` it may leave
 * p->work to be done. */
void run_step(struct batch *b, struct part *p, struct shard *at, struct op *op, command_fn *fn,
              struct outbuf *out, bool locked) ON_SHARD;
/* run_home_ctx: for decide and gather. run_note: such a command is done; its reply, if it came from home, begins at
 * `from` of `out`. */
struct ctx run_home_ctx(struct batch *b, struct op *op, struct outbuf *out);
void run_note(struct batch *b, struct op *op, uint64_t ns, const struct outbuf *out,
              size_t from) ON_SHARD;

/* --- unit.c --- */
/* unit_start: the batch, which is queued, becomes a transaction. False: no memory. unit_free: what it keeps for the
 * next one. */
bool unit_start(struct batch *b) ON_SHARD;
void unit_free(struct batch *b);

/* --- exec.c --- */
/* exec_takes: does MULTI keep this command for EXEC? exec_queue: it does so, if there is room for it; op tells what to reply. */
bool exec_takes(const struct op *op);
void exec_queue(struct conn *c, struct batch *from, struct op *op, bool has_room) ON_SHARD;
bool exec_is(const struct op *op);
bool exec_is_row(const struct command *cmd);
const struct command *exec_command(void);
/* exec_bytes: what the body keeps of memory. */
size_t exec_bytes(const struct conn *c);
/* exec_writes: is there a command in the body that writes? */
bool exec_writes(const struct conn *c);
/* exec_body: takes the body to be dispatched. Every op's shard and kind is known then. */
struct batch *exec_body(struct conn *c, struct span word) ON_SHARD;
/* exec_note: the body has been replied to. */
void exec_note(struct batch *b) ON_SHARD;
/* exec_end: as DISCARD, without a reply: when the connection ends, or starts anew. */
void exec_end(struct conn *c) ON_SHARD;
/* exec_changed: has a key that was watched on this shard changed? */
bool exec_changed(const struct batch *b, struct shard *at) ON_SHARD;
/* exec_unwatch: the watches in this list go back to their shards. */
void exec_unwatch(struct net *n, struct list *watched) ON_SHARD;
void exec_register(void);

/* --- output.c --- */
void output_begin(struct conn *c);
/* output_flush: sends what there is. */
void output_flush(struct conn *c) ON_SHARD;
/* output_check_limit: breaks the connection when its client-output-buffer-limit is reached. */
void output_check_limit(struct conn *c);
/* output_look: commands of it have run. A long pipeline of large replies runs in one turn: what is much is sent, and weighed
 * against the limits, without waiting for its end; else each connection could take as much as it asks for in one turn. */
void output_look(struct conn *c) ON_SHARD;
void output_drop(struct conn *c) ON_SHARD;
/* output_free_spares: all but `keep` of them. */
void output_free_spares(struct net *n, unsigned keep);
size_t output_bytes(const struct conn *c);

/* --- listen.c --- */
enum err listen_start(struct net *n);
void listen_stop(struct net *n);

/* conn_address: "ip:port", "[ip6]:port" or "path:0". Any thread while the connection lives. */
void conn_address(const struct conn *c, char *text, size_t size);

/* --- defrag.c: gives pages of slabs that are nearly empty back, beside everything else --- */
void defrag_init(struct net *n);
/* defrag_look: once a second: is there so much to gain that a walk over all keys shall begin? */
void defrag_look(struct net *n) ON_SHARD;
void defrag_stop(struct net *n);
void defrag_register(void);

/* --- freed.c --- */
/* freed_wait: a unit that has run gets its reply, batch_unit_done, when no shard has anything left to free. */
void freed_wait(struct batch *b) ON_SHARD;
/* freed_turn_end: of the owner. */
void freed_turn_end(struct net *n);
void freed_init(struct net *n);
void freed_stop(struct net *n);

/* --- slow.c --- */
/* slow_batch: logs its slow and its large commands, before the arguments go. `direct`: the replies went
 * to this output, which ended at `from` before; NULL: they are in the parts. */
struct slow_from {
    size_t len;
    uint32_t refs;
};
void slow_batch(struct batch *b, const struct outbuf *direct,
                const struct slow_from *from) ON_SHARD;

/* --- monitor.c --- */
static inline bool monitor_any(const struct net *n) {
    return unlikely(atomic_load_explicit(&n->shared->monitors, memory_order_relaxed) != 0);
}
/* monitor_show: this command runs now, on n's shard. */
void monitor_show(struct net *n, const struct conn *from, const struct op *op,
                  uint32_t db) ON_SHARD;
/* monitor_send: to the shards that have monitors; at the end of a turn. */
void monitor_send(struct net *n) ON_SHARD;
void monitor_stop(struct conn *c) ON_SHARD;
/* monitor_trim: gives back what is kept for lines when nobody watches. */
void monitor_trim(struct net *n) ON_SHARD;
void monitor_register(void);

/* --- pause.c --- */
/* pause_holds: must this command, which may write in spite of its row, wait for the end of CLIENT PAUSE? */
bool pause_holds(const struct conn *c, const struct command *cmd, bool writes);
/* pause_hold: the connection reads on when the pause ends. Owner only. */
void pause_hold(struct conn *c) ON_SHARD;
void pause_start(struct net *n);
void pause_register(void);

/* --- client_list.c --- */
/* client_use: bytes that a connection takes: of input, of output, and all together. O(1). */
struct client_use {
    size_t input, output, total;
};
struct client_use client_use(const struct conn *c);

/* --- client_evict.c --- */
void client_evict_init(struct net *n);
/* client_note: the connection takes that much now. client_forget: it has gone, or is about to. O(1). */
void client_note(struct conn *c, const struct client_use *use);
void client_forget(struct conn *c);
/* client_changed: it may take something else now. */
static inline void client_changed(struct conn *c) {
    if (unlikely(c->net->instance->config->maxmemory_clients != 0)) {
        struct client_use use = client_use(c);
        client_note(c, &use);
    }
}
/* client_evict: ends connections, the largest first, while all shards' together take too much; true when it has ended
 * some. client_evict_due: there is more for it to do. */
bool client_evict(struct net *n);
bool client_evict_due(const struct net *n);

/* --- client.c --- */
void client_describe(const struct conn *c, struct outbuf *out);

static inline struct conn *conn_of_session(struct session *s) {
    return CONTAINER_OF(s, struct conn, session);
}

#endif
