/* net_impl.h: connections and batches, for this room only.
 *
 *   conn.c     a connection from accept to release     input.c   bytes -> commands -> batches
 *   batch.c    batches: run here, run there, gather    output.c  replies -> socket
 *   listen.c   sockets, accept, which shard            client*.c CLIENT, HELLO, SELECT, ...
 *   watch.c    slow and large commands                 monitor.c MONITOR
 *   pause.c    CLIENT PAUSE, UNPAUSE, REPLY
 *
 * A batch holds up to NET_BATCH_COMMANDS commands of one connection. Its commands are dealt to parts, one
 * per shard; a part is one message and collects the replies of its commands in one outbuf. The batch's
 * commands remember where their reply ends in their part, so that gathering walks the commands in order
 * and takes the next slice of the part each belongs to.
 */
#ifndef NET_IMPL_H
#define NET_IMPL_H

#include "anax/command.h"
#include "anax/config.h"
#include "anax/instance.h"
#include "anax/net.h"
#include "anax/resp.h"
#include "shards/assert.h"
#include "shards/list.h"
#include "shards/loop.h"
#include <netinet/in.h>

enum {
    NET_SPARE_BYTES = 16 * 1024, /* output buffers that are kept for the next connection */
    NET_SPARES_MAX = 32,
    NET_IOV_MAX = 64,
    NET_TICK_MS = 100,
    NET_SLICE_ENTRIES = 4000, /* of expiry and of freeing: well under a millisecond */
    NET_OUT_KEEP_BYTES = 64 * 1024,
    NET_BATCHES_KEPT = 64,
    NET_ADDRESS_BYTES = CONFIG_SOCKET_PATH_MAX + 8 /* a path and "unix:" or ":0" */
};

enum op_kind {
    OP_RUN,     /* cmd->run where the keys are */
    OP_UNKNOWN, /* no such command, or subcommand */
    OP_ARITY,
    OP_NOAUTH,
    OP_CROSS,   /* keys on several shards */
    OP_NOTHING, /* route() replies the error */
    OP_REFUSED, /* check() did: batch->refusal */
    OP_PROTOCOL /* malformed input: conn->protocol_error */
};

struct op {
    const struct command *cmd;
    struct span *argv;
    uint64_t hash;
    uint32_t argc;
    uint32_t db;
    size_t reply_end;  /* in the outbuf of its part */
    uint32_t refs_end; /* likewise */
    uint32_t slow_us;  /* what it took, plus one; 0: not slow */
    uint16_t next;     /* of the same part; OP_END at the end */
    uint16_t shard;
    uint8_t kind;
};
static_assert(sizeof(struct op) <= CACHE_LINE, "an op crosses to another core as one line");
enum { OP_END = UINT16_MAX };

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
    size_t taken; /* of out: what has been gathered */
    uint32_t refs_taken;
    uint32_t refs_live; /* references to that shard's blobs that are not sent yet */
    uint16_t first, last;
    uint16_t shard;
    bool waiting; /* the message is out */
    bool used;
    bool slow;           /* some command of it was */
    uint64_t ns;         /* fan-out: what `each` took */
    int64_t moved_bytes; /* memory that came home with it, or, negative, stayed there */
};

struct batch {
    struct conn *conn;
    struct batch *next;
    struct net *net;
    struct io_buf *buf; /* what the arguments point into: one of these two, or neither */
    struct inbuf *in;
    struct span *args; /* own_args, or a larger array */
    uint32_t args_cap, args_len;
    uint16_t op_count, gathered;
    uint16_t parts_waiting; /* messages that are not back */
    uint16_t parts_live;    /* parts with refs_live, each keeps the batch */
    uint16_t first_part;
    uint8_t proto;
    bool fanout;
    bool quiet;            /* CLIENT REPLY: the replies are dropped */
    bool no_touch;         /* CLIENT NO-TOUCH */
    bool writes;           /* some command may write */
    bool done;             /* no longer in the connection's queue */
    struct outbuf refusal; /* what check() replied to its last command */
    struct big *bigs;
    uint32_t big_count, big_cap;
    struct part *parts; /* one per shard */
    struct op ops[NET_BATCH_COMMANDS];
    struct span own_args[NET_BATCH_ARGS];
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
    struct list held;    /* net->held: waits for the end of CLIENT PAUSE */
    struct list monitor; /* net->monitors */
    struct partial *partial;
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

struct net_stats {
    uint64_t connections, rejected, commands, protocol_errors, query_limit, output_limit;
    uint64_t bytes_in, bytes_out, reads, writes, monitor_lost;
};

struct net {
    struct shard *shard;
    struct instance *instance;
    struct net_shared *shared;
    struct list conns, dirty, todo, adopt, held, monitors;
    uint64_t conn_count;
    uint64_t batches_out;      /* in any connection's queue */
    uint64_t writes_out;       /* of these, those that may write and are not done everywhere */
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
    struct outbuf seen;     /* lines for monitors, since the last turn end */
    size_t seen_bytes_out;  /* of lines on their way to other shards */
    uint64_t next_second_ns;
    bool stopping;
    struct net_stats stats;
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

/* --- input.c --- */
void input_data(struct conn *c, struct io_buf *buf) ON_SHARD;
void input_direct(struct conn *c, size_t n) ON_SHARD;
/* input_go_on: parses what was left when the connection paused. */
void input_go_on(struct conn *c) ON_SHARD;
void input_drop(struct conn *c);
size_t input_bytes(const struct conn *c);
bool parser_grow(struct resp_parser *p, uint32_t need);
/* input_trim: gives back the room for arguments of the shard's parser, between two commands. */
void input_trim(struct net *n);
void inbuf_release(struct inbuf *in);

/* --- batch.c --- */
struct batch *batch_begin(struct conn *c, struct io_buf *buf, struct inbuf *in);
/* batch_room: for one more command of argc arguments; NULL: start another batch (or no memory). */
struct op *batch_room(struct batch *b, uint32_t argc);
/* batch_link: the op just filled goes to the part of its shard. */
void batch_link(struct batch *b, struct op *op);
/* batch_big: an argument of op lies in a blob, which the batch owns from now on; false: no memory. */
bool batch_big(struct batch *b, const struct op *op, uint32_t arg, struct blob *blob);
/* batch_dispatch: routes, runs and posts; the batch belongs to its connection's queue, or is gone. */
void batch_dispatch(struct batch *b) ON_SHARD;
void batch_discard(struct batch *b);
/* batch_free_spares: all but `keep` of them. */
void batch_free_spares(struct net *n, unsigned keep);
/* part_ref_sent: one reference of a part in another shard was sent or dropped. */
void part_ref_sent(struct part *p) ON_SHARD;

/* --- output.c --- */
void output_begin(struct conn *c);
/* output_flush: sends what there is. */
void output_flush(struct conn *c) ON_SHARD;
/* output_check_limit: breaks the connection when its client-output-buffer-limit is reached. */
void output_check_limit(struct conn *c);
void output_drop(struct conn *c) ON_SHARD;
/* output_free_spares: all but `keep` of them. */
void output_free_spares(struct net *n, unsigned keep);
size_t output_bytes(const struct conn *c);

/* --- listen.c --- */
enum err listen_start(struct net *n);
void listen_stop(struct net *n);

/* conn_address: "ip:port", "[ip6]:port" or "path:0". Any thread while the connection lives. */
void conn_address(const struct conn *c, char *text, size_t size);

/* --- watch.c --- */
/* watch_batch: logs its slow and its large commands, before the arguments go. `direct`: the replies went
 * to this output, which ended at `from` before; NULL: they are in the parts. */
struct watch_from {
    size_t len;
    uint32_t refs;
};
void watch_batch(struct batch *b, const struct outbuf *direct,
                 const struct watch_from *from) ON_SHARD;

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
/* pause_holds: must this command wait for the end of CLIENT PAUSE? */
bool pause_holds(const struct conn *c, const struct command *cmd);
/* pause_hold: the connection reads on when the pause ends. Owner only. */
void pause_hold(struct conn *c) ON_SHARD;
void pause_start(struct net *n);
void pause_register(void);

/* --- client.c --- */
void client_describe(const struct conn *c, struct outbuf *out);

static inline struct conn *conn_of_session(struct session *s) {
    return CONTAINER_OF(s, struct conn, session);
}

#endif
