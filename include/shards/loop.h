/* loop.h: one event loop per shard: streams, listeners, timers and wake-ups, over three backends.
 *
 * Why         everything above is written once; io_uring, epoll and the simulator differ below.
 *             Received bytes arrive in buffers that the loop owns (with io_uring the kernel picks
 *             them from a provided ring), so an idle connection costs no buffer.
 *             Nothing but loop_poll calls back: start, connect, pause, resume, direct, want_write and close
 *             note what is wanted, and the next loop_poll tells the kernel, once.
 * Threads     owner only: loop_poll, streams' start/connect/pause/resume/direct/close/want_write, timers.
 *             Holder of the shard: stream_send, and buf_retain/buf_release. Any thread, and signal
 *             handlers: loop_wake with `from` NULL.
 * Ownership   on_data lends the buffer until it returns; buf_retain keeps it longer. The memory of
 *             a closed stream, and the destination of its stream_direct, belong to the caller
 *             again at on_released, which comes last and once. A listener's memory is the caller's
 *             again when listener_stop returns.
 * Limits      LOOP_BUF_BYTES per buffer, LOOP_BUFS_MAX buffers per loop: when all are retained,
 *             receiving pauses until one comes back. There are LOOP_BUFS_MIN at first; they double
 *             when they run out, and halve after a second in which a quarter would have done.
 *             LOOP_EVENTS_MAX events of the kernel per loop_poll. Out of descriptors, a listener
 *             pauses for LOOP_ACCEPT_RETRY_MS.
 * Invariants  (1) on_released comes exactly once per stream_close, and no callback after it; after
 *             stream_close it is the only callback.
 *             (2) bytes are delivered in order, none twice, none lost.
 *             (3) no on_data while paused or in direct mode, and no on_end while paused: what the
 *             kernel had delivered by then is kept and comes, by loop_poll, after stream_resume.
 *             (4) a loop_wake after loop_poll began makes it return; one before makes the next one.
 *             (5) timers fire in the order of their due times, never early, and at most once per
 *             timer and loop_poll.
 *             (6) hooks->sleeping is called only when loop_poll was given time to wait, and
 *             hooks->awake exactly when sleeping returned true; no callback runs between them.
 */
#ifndef SHARDS_LOOP_H
#define SHARDS_LOOP_H

#include "shards/attr.h"
#include "shards/err.h"
#include "shards/list.h"
#include "shards/mem.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
    LOOP_BUF_BYTES = 16 * 1024,
    LOOP_BUFS_MIN = 32,
    LOOP_BUFS_MAX = 1024,
    LOOP_EVENTS_MAX = 256,
    LOOP_ACCEPT_RETRY_MS = 100,
};

struct loop;
struct stream;

struct io_buf {
    struct loop *loop;
    char *data;
    uint32_t len;
    uint32_t refs;
    /* the loop's: */
    char *base;
    struct io_buf *next;
    uint32_t cap;
    uint16_t id;
};

struct stream_ops {
    void (*on_data)(struct stream *s, struct io_buf *buf);
    /* n bytes arrived in the destination of stream_direct. */
    void (*on_direct)(struct stream *s, size_t n);
    void (*on_writable)(struct stream *s);
    /* the peer closed (error 0) or the connection failed (an errno); the stream is still open. */
    void (*on_end)(struct stream *s, int error);
    void (*on_released)(struct stream *s);
};

/* A stream is embedded in the connection that it serves. The fields are the loop's. */
struct stream {
    const struct stream_ops *ops;
    int fd;
    uint32_t flags;
    uint32_t inflight; /* kernel operations that still point here */
    int end_error;     /* of an on_end that waits for stream_resume */
    char *direct;
    size_t direct_len;
    struct io_buf *held; /* received while the stream was paused, oldest first */
    struct list link;
};

struct listener {
    /* a connection was accepted; the callee owns fd, which is non-blocking. */
    void (*on_accept)(struct listener *l, int fd);
    void *arg;
    int fd;
    bool paused;               /* out of descriptors, until the retry */
    struct acceptor *acceptor; /* the loop's */
};

struct timer {
    void (*fire)(struct timer *t);
    void *arg;
    uint64_t due_ns; /* monotonic; 0 while it is not set */
    struct list link;
};

enum loop_kind { LOOP_URING, LOOP_EPOLL, LOOP_SIM };

/* loop_create: ERR_UNSUPPORTED when the kernel refuses the backend; *why then says what it refused
 * (static text). `m` is charged for buffers. */
MUST_CHECK enum err loop_create(struct loop **out, enum loop_kind kind, struct mem *m,
                                const char **why);
/* loop_destroy: after every stream was released; on the owner thread, or after it has ended. */
void loop_destroy(struct loop *l);
/* loop_attach: call on the thread that will own the loop, before its first loop_poll (io_uring
 * binds a ring to its submitter). */
MUST_CHECK enum err loop_attach(struct loop *l);
/* loop_kind_name, loop_features: for the log, for example "uring" and "multishot-recv,msg-ring".
 * Complete after loop_attach. */
const char *loop_kind_name(const struct loop *l);
const char *loop_features(const struct loop *l);

/* loop_disable_features: loops created from now on do without these, as on a kernel that lacks
 * them. For tests; call while no other thread creates a loop. */
enum loop_feature {
    LOOP_DEFER_TASKRUN = 1 << 0,
    LOOP_COOP_TASKRUN = 1 << 1,
    LOOP_REGISTERED_RING = 1 << 2,
    LOOP_BUF_RING = 1 << 3,
    LOOP_MULTISHOT_RECV = 1 << 4,
    LOOP_MULTISHOT_ACCEPT = 1 << 5,
    LOOP_MSG_RING = 1 << 6,
    LOOP_EPOLL_PWAIT2 = 1 << 7,
    LOOP_FILE_OPS = 1 << 8,
};
void loop_disable_features(unsigned mask);

/* loop_poll: submits what is pending, waits until something happens but at most timeout_ns (0: does
 * not wait, UINT64_MAX: no bound but the next timer), runs callbacks and due timers. The hooks,
 * when not NULL, run right before and right after the thread may sleep. Returns the number of
 * events handled; it may come back early with none. */
struct loop_hooks {
    /* returns false to make the poll not wait (something arrived meanwhile). */
    bool (*sleeping)(void *arg);
    void (*awake)(void *arg);
    /* whenever the clocks were read: every poll, before the first callback, and when bytes were fetched that may have come since;
     * or NULL. */
    void (*polled)(void *arg);
    void *arg;
    /* may the receive buffers take so many bytes more? If not, streams wait for those that are there. Or NULL. */
    bool (*growing)(void *arg, size_t bytes);
};
unsigned loop_poll(struct loop *l, uint64_t timeout_ns, const struct loop_hooks *hooks);
/* loop_wake: makes `to`'s loop_poll return. `from` is the calling thread's own loop, or NULL; with
 * io_uring the wake-up then travels ring to ring. Wakes that the target has not seen yet count as
 * one and cost no system call. */
void loop_wake(struct loop *from, struct loop *to);

/* listener_start: on a bound and listening descriptor; owns it from now on when it returns OK. */
MUST_CHECK enum err listener_start(struct loop *l, struct listener *ls, int fd);
/* listener_stop: no on_accept after it; closes the descriptor. */
void listener_stop(struct loop *l, struct listener *ls);

/* stream_start: begins to receive on fd (non-blocking, owned by the stream from now on). `s` need
 * not be initialised. What the kernel then refuses comes as on_end. */
MUST_CHECK enum err stream_start(struct loop *l, struct stream *s, const struct stream_ops *ops,
                                 int fd);
/* stream_connect: a stream to an address (AF_INET, AF_INET6, AF_UNIX; of the simulator, the port of a sim_listen).
 * on_writable comes once when it is connected, on_end with the errno if that fails, whatever it was that failed; until then
 * stream_send takes nothing. From then on it is like any other. There is no timeout but the kernel's: close it. */
void stream_connect(struct loop *l, struct stream *s, const struct stream_ops *ops,
                    const struct sockaddr *addr, socklen_t addr_len);
void stream_pause(struct loop *l, struct stream *s);
void stream_resume(struct loop *l, struct stream *s);
/* stream_direct: the next `len` > 0 bytes go to dst, reported by on_direct as they come; then
 * normal receiving goes on. Bytes that were already received are copied to dst first, and what lies
 * beyond `len` comes by on_data. Called within on_data, it is about what follows that buffer. It
 * costs two operations more than normal receiving, so it pays above some 64 KiB. A receive that was
 * under way when the stream was paused may still be reported by on_direct. */
void stream_direct(struct loop *l, struct stream *s, char *dst, size_t len);
/* stream_send: sends now what fits; returns the bytes taken, 0 when the socket is full, or -errno;
 * the caller then waits for on_end or closes. */
ssize_t stream_send(struct loop *l, struct stream *s, const struct iovec *iov, int iov_len);
/* stream_want_write: one on_writable when the socket has room again, or has failed. */
void stream_want_write(struct loop *l, struct stream *s);
/* stream_close: closes the descriptor. Idempotent until on_released. */
void stream_close(struct loop *l, struct stream *s);

void buf_retain(struct io_buf *b);
void buf_release(struct io_buf *b);

/* timer_set: (re)arms it for `due_ns` on the monotonic clock, exact to the nanosecond. O(1), but
 * for timers that share a millisecond and are not set in order. A zeroed timer is one that is not
 * set. timer_clear: idempotent. */
void timer_set(struct loop *l, struct timer *t, uint64_t due_ns);
void timer_clear(struct loop *l, struct timer *t);

/* loop_now_ns, loop_wall_ms: read at least once per poll, and no earlier than what is delivered had arrived. */
uint64_t loop_now_ns(const struct loop *l);
int64_t loop_wall_ms(const struct loop *l);

#endif
