/* file.c: requests of files: the queue, what was done in part, and doing one in place. */
#include "loop_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void loop_files_init(struct loop *l) {
    list_init(&l->files.waiting);
    list_init(&l->files.refused);
    file_thread_init(&l->files.thread);
}

void file_start(struct loop *l, struct file_request *r) {
    ASSERT(!l->files.stopped);
    r->did = 0;
    list_init(&r->link);
    list_add_tail(&l->files.waiting, &r->link);
}

void loop_files_begin(struct loop *l) {
    struct files *f = &l->files;
    while (!list_empty(&f->waiting) && f->under_way < FILE_REQUESTS_MAX) {
        struct file_request *r = CONTAINER_OF(f->waiting.next, struct file_request, link);
        list_del(&r->link);
        if (!l->ops->file_begin(l, r)) {
            list_add_tail(f->waiting.next, &r->link); /* before what is first */
            l->retry = true;
            return;
        }
        f->under_way++;
    }
}

void loop_file_refuse(struct loop *l, struct file_request *r, int error) {
    r->result = -error;
    list_add_tail(&l->files.refused, &r->link);
}

unsigned loop_files_finish(struct loop *l) {
    unsigned n = file_thread_finish(l);
    struct list *refused = &l->files.refused;
    for (; !list_empty(refused); n++) {
        struct file_request *r = CONTAINER_OF(refused->next, struct file_request, link);
        list_del(&r->link);
        loop_file_done(l, r);
    }
    return n;
}

bool file_goes_on(struct file_request *r, ssize_t result) {
    /* A descriptor is closed also where closing was interrupted. */
    if (result == -EINTR && r->op != FILE_CLOSE)
        return true;
    r->result = result == -EINTR ? 0 : result;
    if (result < 0 || (r->op != FILE_READ && r->op != FILE_WRITE))
        return false;
    r->did += (size_t)result;
    if (result > 0 && r->did < r->len)
        return true;
    /* Nothing written, and no error: not of a file, and it would go on for ever. */
    r->result = r->op == FILE_WRITE && r->did < r->len ? -EIO : (ssize_t)r->did;
    return false;
}

void loop_file_done(struct loop *l, struct file_request *r) {
    l->files.under_way--;
    if (likely(!l->files.stopped))
        r->done(l, r);
    else if (r->op == FILE_OPEN && r->result >= 0)
        l->ops->close((int)r->result); /* nobody else knows of it */
}

void loop_file_over(struct loop *l, struct file_request *r, ssize_t result) {
    bool more = file_goes_on(r, result);
    if (!more || l->files.stopped) {
        loop_file_done(l, r);
        return;
    }
    l->files.under_way--;
    list_add_tail(l->files.waiting.next, &r->link); /* before what is first */
}

void file_stop(struct loop *l) {
    struct files *f = &l->files;
    if (f->stopped)
        return;
    f->stopped = true;
    for (; !list_empty(&f->refused); f->under_way--)
        list_del(f->refused.next);
    while (!list_empty(&f->waiting))
        list_del(f->waiting.next);
    file_thread_stop(l);
    if (f->under_way > 0)
        l->ops->file_wait(l);
    ASSERT(f->under_way == 0);
}

int64_t file_size(struct loop *l, int fd) {
    return l->ops->file_size(fd);
}

int64_t file_fstat(int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    return S_ISREG(st.st_mode) ? (int64_t)st.st_size : -EINVAL;
}

static ssize_t act(const struct file_request *r) {
    size_t len = file_part(r);
    off_t offset = (off_t)(r->offset + r->did);
    switch (r->op) {
    case FILE_OPEN:
        return open(r->path, r->flags | O_CLOEXEC, (mode_t)r->mode);
    case FILE_READ:
        return pread(r->fd, r->bytes + r->did, len, offset);
    case FILE_WRITE:
        return pwrite(r->fd, r->bytes + r->did, len, offset);
    case FILE_SYNC:
        return fsync(r->fd);
    case FILE_CLOSE:
        return close(r->fd);
    case FILE_RENAME:
        return rename(r->path, r->path2);
    case FILE_REMOVE:
        return unlink(r->path);
    case FILE_OPS:
        break;
    }
    ASSERT(false);
    return -1;
}

void file_act(struct file_request *r) {
    ssize_t result;
    do {
        result = act(r);
        if (result < 0)
            result = -errno;
    } while (file_goes_on(r, result));
}
