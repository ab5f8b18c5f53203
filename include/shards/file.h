/* file.h: files, by a shard's loop and without stopping it.
 *
 * Why         a snapshot is written, and a file loaded, while the shard serves. io_uring does it in the kernel, with epoll a
 *             thread of the loop's does, and the simulator has a disk of its own (sim.h) that fails, and forgets in a crash
 *             what was not synced.
 * Threads     the loop's owner. `done` runs there too, by a later loop_poll, never within file_start.
 * Ownership   a request, its paths and its bytes are the loop's from file_start to done, or to file_stop.
 * Limits      FILE_REQUESTS_MAX of a loop are under way at a time; others wait in the order in which they came.
 * Invariants  (1) done comes once, but for what file_stop found: for that it never comes.
 *             (2) a read or write is whole, but at the end of the file or after an error: what the kernel did in part is gone
 *             on with.
 *             (3) requests of one file are not ordered among themselves.
 *             (4) a request costs no allocation.
 */
#ifndef SHARDS_FILE_H
#define SHARDS_FILE_H

#include "shards/attr.h"
#include "shards/list.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

enum { FILE_REQUESTS_MAX = 64 };

enum file_op {
    FILE_OPEN,  /* path, flags (O_CLOEXEC is added), mode: a descriptor */
    FILE_READ,  /* fd, bytes, len, offset: how many bytes there were */
    FILE_WRITE, /* fd, bytes, len, offset: len, or an error */
    FILE_SYNC, /* fd: its data and what is needed to find it are on the disk; of a directory its names */
    FILE_CLOSE,  /* fd: it is gone, whatever the result is */
    FILE_RENAME, /* path to path2, which it replaces */
    FILE_REMOVE, /* path */
    FILE_OPS
};

struct file_request {
    enum file_op op;
    int fd;
    int flags;
    unsigned mode;
    const char *path, *path2;
    char *bytes;
    size_t len;
    uint64_t offset;
    void (*done)(struct loop *l, struct file_request *r);
    void *arg;
    ssize_t result; /* what the operation gives, or -errno */
    size_t did;     /* bytes read or written, also before an error */
    /* the loop's: */
    struct list link;
};

/* file_start: done may start it again. */
void file_start(struct loop *l, struct file_request *r);
/* file_stop: waits for what the kernel is about to do, forgets the rest, and closes what was opened and not yet told. No
 * request is the loop's any more, and none may be started. loop_destroy does it, too, but where requests may be under way it
 * has to be the owner who does. Idempotent. */
void file_stop(struct loop *l);
/* file_size: of an open file, at once; -EINVAL: it is no regular file. */
int64_t file_size(struct loop *l, int fd);

#endif
