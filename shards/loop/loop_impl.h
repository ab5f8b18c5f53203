/* loop_impl.h: what the backends of the loop share. Only for shards/loop.
 *
 * A stream says what it wants in its flags. loop_touch puts it on `todo`; the next loop_poll calls
 * arm() for everything there, which brings the kernel's idea of the stream in line with the flags.
 * So a stream that is paused and resumed within one turn costs no system call.
 *
 *     any call  --loop_touch-->  todo  --arm()-->  kernel
 *                                  |
 *                                  +--> ready: held bytes, a held end or on_released to deliver,
 *                                       done in the same loop_poll after the (then zero) wait
 *     no buffer --loop_starve--> todo --> starved --a buffer came back--> todo
 */
#ifndef SHARDS_LOOP_IMPL_H
#define SHARDS_LOOP_IMPL_H

#include "shards/assert.h"
#include "shards/file.h"
#include "shards/loop.h"
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum stream_flag {
    STREAM_PAUSED = 1 << 0,
    STREAM_CLOSED = 1 << 1,
    STREAM_DIRECT = 1 << 2, /* direct_len > 0 */
    STREAM_HELD = 1 << 3,   /* held != NULL */
    STREAM_ENDED = 1 << 4,  /* nothing more comes from the kernel */
    STREAM_END_HELD = 1 << 5,
    STREAM_WANT_WRITE = 1 << 6,
    STREAM_STARVED = 1 << 7,    /* found no buffer; on `starved` once it has been disarmed */
    STREAM_QUEUED = 1 << 8,     /* on the list `todo` */
    STREAM_CONNECTING = 1 << 9, /* writable means connected, or that it failed */
    STREAM_NOT_RECEIVING = STREAM_PAUSED | STREAM_CLOSED | STREAM_HELD | STREAM_ENDED |
                           STREAM_STARVED | STREAM_CONNECTING,
    STREAM_BACKEND_BIT = 16, /* flags from here up are the backend's */
};

/* A timer wheel: 8 levels of 64 places, a tick of 2^20 ns at the lowest. A timer lies at the level
 * of the highest digit in which its tick differs from `tick`, so all of a level's timers come after
 * all of the level below. Places of the lowest level are sorted, the others keep the order of
 * arrival. */
enum { WHEEL_LEVELS = 8, WHEEL_PLACES = 64, WHEEL_TICK_SHIFT = 20 };

struct wheel {
    uint64_t tick;               /* no timer's place is before it */
    uint64_t used[WHEEL_LEVELS]; /* a bit per place that may have timers */
    struct list places[WHEEL_LEVELS][WHEEL_PLACES];
    struct list firing;
};

void wheel_init(struct wheel *w, uint64_t now_ns);
/* wheel_run: fires what is due at now_ns; returns how many. */
unsigned wheel_run(struct wheel *w, uint64_t now_ns);
/* wheel_next_ns: no timer is due before; UINT64_MAX: there is none. Exact for the next millisecond,
 * at most early beyond. */
uint64_t wheel_next_ns(struct wheel *w);

/* The pool of receive buffers. Chunk 0 has LOOP_BUFS_MIN of them, each further one as many as there
 * were before. Buffers start BUF_STRIDE apart, one line more than their size: 16 KiB apart, the
 * first lines of all of them would share one set of the caches. */
enum { BUF_CHUNKS_MAX = 6, BUF_STRIDE = LOOP_BUF_BYTES + CACHE_LINE, BUF_ID_HEAP = 0xffff };
static_assert(LOOP_BUFS_MIN << (BUF_CHUNKS_MAX - 1) == LOOP_BUFS_MAX, "doubling ends at the bound");

struct io_uring_buf_ring;

struct buf_pool {
    struct io_buf *bufs; /* LOOP_BUFS_MAX headers, untouched beyond `count` */
    char *chunks[BUF_CHUNKS_MAX];
    unsigned count;   /* buffers that have memory */
    unsigned used;    /* of these, taken and not yet given back */
    unsigned keep;    /* those with an id from here on are retired when they come back */
    unsigned retired; /* of these, came back */
    unsigned peak;    /* most that were used or waiting for us since window_ns */
    uint64_t window_ns;
    bool released;       /* no buffer in the pool has pages */
    struct io_buf *idle; /* a stack, when there is no ring */
    struct io_uring_buf_ring *ring;
};

MUST_CHECK enum err buf_pool_init(struct loop *l, struct io_uring_buf_ring *ring);
void buf_pool_deinit(struct loop *l);
/* buf_take: a buffer with one reference, NULL when all are retained. Only without a ring. */
struct io_buf *buf_take(struct loop *l);
/* buf_taken: the kernel took buffer `id` from the ring. */
struct io_buf *buf_taken(struct loop *l, unsigned id);
/* buf_grow: false when the bound is reached or there is no memory. */
bool buf_grow(struct loop *l);
/* buf_trim: halves the population if it was four times what was needed. Once per second. */
void buf_trim(struct loop *l);
/* buf_free_count: how many are there to be taken. */
unsigned buf_free_count(const struct buf_pool *p);
/* buf_spill: a copy of `b` outside the pool in exchange for it; `b` itself without memory. */
struct io_buf *buf_spill(struct loop *l, struct io_buf *b);

/* A listener as the backend sees it. It outlives the listener while the kernel points to it. */
struct acceptor {
    struct listener *listener; /* NULL: stopped */
    struct loop *loop;
    struct list link;
    struct timer retry;
    int fd;
    bool armed;
    bool cancelling;
    bool logged; /* that we are out of descriptors, since the last connection */
};

/* Requests of files. What is begun is the backend's, or the thread's, until loop_file_over or _done. */
struct file_thread {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list todo;            /* under the lock, as is stop */
    _Atomic(struct list *) over; /* done, the newest first, linked by next */
    cpu_set_t cpus;
    bool started, stop;
};

enum { FILE_PART_MAX = 1 << 30 }; /* bytes: io_uring's field has 32 bits */

struct files {
    struct list waiting; /* not begun, or to be gone on with */
    struct list refused; /* begun, and over with an error that is told after the wait */
    unsigned under_way;  /* begun and not told */
    bool stopped;
    struct file_thread thread;
};

struct io_ops {
    const char *name;
    enum err (*create)(struct loop *l, const char **why);
    void (*destroy)(struct loop *l);
    enum err (*attach)(struct loop *l);
    /* arm: false when the kernel has no room now; the next poll tries again. */
    bool (*arm)(struct loop *l, struct stream *s);
    bool (*arm_acceptor)(struct loop *l, struct acceptor *a);
    /* stop_acceptor: before its descriptor is closed. May be NULL. */
    void (*stop_acceptor)(struct loop *l, struct acceptor *a);
    /* prepare: before the wait. Returns true when there is something to dispatch already. */
    bool (*prepare)(struct loop *l);
    void (*wait)(struct loop *l, uint64_t timeout_ns);
    unsigned (*dispatch)(struct loop *l);
    /* quiet: no buffer holds bytes that dispatch has not seen, and none gets any before the next wait. */
    bool (*quiet)(const struct loop *l);
    /* empty_ring: takes all provided buffers back, when quiet. False: there is no ring any more, and receiving
     * goes on with buffers from the stack. Only with a ring. */
    bool (*empty_ring)(struct loop *l);
    void (*wake)(struct loop *from, struct loop *to);
    ssize_t (*send)(struct stream *s, const struct iovec *iov, int iov_len);
    /* receive: recv(2), but -errno. Used by loop_receive. */
    ssize_t (*receive)(struct stream *s, char *dst, size_t len);
    void (*close)(int fd);
    /* connect: begins to; a descriptor, or -errno. connected: how it ended: 0, or an errno. */
    int (*connect)(struct loop *l, const struct sockaddr *addr, socklen_t addr_len);
    int (*connected)(const struct stream *s);
    /* file_begin: false when the kernel has no room now. */
    bool (*file_begin)(struct loop *l, struct file_request *r);
    int64_t (*file_size)(int fd);
    /* file_wait: until nothing is under way. No callback but loop_file_over. */
    void (*file_wait)(struct loop *l);
};

extern const struct io_ops uring_ops, epoll_ops, sim_ops;

struct loop {
    const struct io_ops *ops;
    void *backend;
    struct mem *mem;
    uint64_t now_ns;
    int64_t wall_ms;
    const struct loop_hooks *hooks; /* of this poll */
    struct list todo, ready, starved;
    struct list acceptors;
    bool asleep;         /* between sleeping() and awake() */
    bool retry;          /* something could not be armed */
    bool woken_self;     /* loop_wake by the owner itself */
    bool acceptors_todo; /* arm_acceptor has something to do */
    bool grown;          /* the pool, in this poll */
    bool attached;
    enum loop_kind kind;
    unsigned disabled; /* enum loop_feature */
    atomic_bool woken; /* a doorbell is on its way */
    struct buf_pool pool;
    struct wheel wheel;
    struct files files;
    char features[160];
};

/* loop_touch: the stream's flags changed. */
void loop_touch(struct loop *l, struct stream *s);
/* loop_starve: the stream wants a buffer and there is none. */
void loop_starve(struct loop *l, struct stream *s);
/* loop_deliver: bytes that arrived; takes over the reference. */
void loop_deliver(struct loop *l, struct stream *s, struct io_buf *b);
/* loop_deliver_direct: n bytes that arrived in place. */
void loop_deliver_direct(struct stream *s, size_t n);
/* loop_deliver_end: nothing more comes. */
void loop_deliver_end(struct loop *l, struct stream *s, int error);
/* loop_receive: the descriptor is readable; for backends that ask for readiness. */
void loop_receive(struct loop *l, struct stream *s);
/* loop_writable: there is room, or the connection has failed; the backend waits for it no longer. */
void loop_writable(struct loop *l, struct stream *s);
/* loop_accepted: fd >= 0, or -errno. */
void loop_accepted(struct loop *l, struct acceptor *a, int fd);
/* loop_socket_...: for backends with real descriptors. */
ssize_t loop_socket_send(struct stream *s, const struct iovec *iov, int iov_len);
ssize_t loop_socket_receive(struct stream *s, char *dst, size_t len);
void loop_socket_close(int fd);
int loop_socket_connect(struct loop *l, const struct sockaddr *addr, socklen_t addr_len);
int loop_socket_connected(const struct stream *s);
/* loop_files_init, loop_files_begin: what is waiting goes to the backend. loop_files_finish: tells what the thread has done and
 * what was refused; returns how many. */
void loop_files_init(struct loop *l);
void loop_files_begin(struct loop *l);
unsigned loop_files_finish(struct loop *l);
/* loop_file_over: the backend did `result` bytes of a request, all else that is to be done, or -errno. */
void loop_file_over(struct loop *l, struct file_request *r, ssize_t result);
/* loop_file_done: r->result is final. */
void loop_file_done(struct loop *l, struct file_request *r);
/* loop_file_refuse: by file_begin: it fails before it is begun. */
void loop_file_refuse(struct loop *l, struct file_request *r, int error);
/* file_goes_on: counts `result`; false: r->result is final. */
bool file_goes_on(struct file_request *r, ssize_t result);
/* file_part: the bytes that are to be read or written next. */
static inline size_t file_part(const struct file_request *r) {
    size_t left = r->len - r->did;
    return left < FILE_PART_MAX ? left : FILE_PART_MAX;
}
/* file_fstat: io_ops.file_size for backends with real descriptors. */
int64_t file_fstat(int fd);
/* file_act: does all of it here and now. Any thread. */
void file_act(struct file_request *r);
void file_thread_init(struct file_thread *t);
/* file_thread_begin: io_ops.file_begin for who has no kernel that does it. */
bool file_thread_begin(struct loop *l, struct file_request *r);
unsigned file_thread_finish(struct loop *l);
void file_thread_stop(struct loop *l);
/* loop_add_feature: a word for loop_features. */
void loop_add_feature(struct loop *l, const char *word);

#endif
