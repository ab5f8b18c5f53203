/* sim_disk.c: the simulated disk; see sim.h.
 *
 * A file is two images: what its readers see, and what was there when it was synced last. A name is
 * two files: that which is found by it, and that which was when its directory was synced last.
 *
 *     name --now-----> file: now     (what reads and writes are about)
 *          --synced--> file: synced  (what a crash cannot take away)
 *
 * A crash takes of each file some sectors of the one image and some of the other, and of each
 * directory either all of its changes or none.
 */
#include "loop_impl.h"
#include "shards/rng.h"
#include "sim_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

enum { FD_FIRST = 1 << 26, SECTOR_BYTES = 512 };

struct image {
    char *bytes;
    size_t len, cap;
};

struct file {
    struct list link;
    unsigned refs; /* of names, twice if of both ways, and of descriptors */
    bool lost;     /* a sync failed: what was not on the disk by then never gets there */
    struct image now, synced;
};

struct name {
    struct list link;
    struct file *now, *synced;
    char path[SIM_PATH_MAX];
};

struct dir {
    struct list link;
    bool forbidden;
    char path[SIM_PATH_MAX];
};

struct opened {
    struct list link;
    int fd;
    int flags;
    struct file *file; /* or: */
    struct dir *dir;
};

struct sim_disk {
    struct mem mem;
    struct rng rng;
    struct sim_disk_faults faults;
    struct {
        uint64_t done;
        unsigned fail_in;
        int error;
    } ops[FILE_OPS];
    uint64_t used_bytes; /* of all files, as they are now */
    int next_fd;
    bool off;
    struct list files, names, dirs, opened;
};

static bool chance(struct sim_disk *d, uint32_t one_in) {
    return one_in > 0 && rng_below(&d->rng, one_in) == 0;
}

/* --- images --- */

static bool image_reserve(struct sim_disk *d, struct image *im, size_t cap) {
    if (cap <= im->cap)
        return true;
    if (cap < 2 * im->cap)
        cap = 2 * im->cap;
    char *bytes = mem_realloc(&d->mem, im->bytes, im->cap, cap);
    if (bytes == NULL)
        return false;
    im->bytes = bytes;
    im->cap = cap;
    return true;
}

/* What is between the end and `len` is zeros. */
static bool image_resize(struct sim_disk *d, struct image *im, size_t len) {
    if (!image_reserve(d, im, len))
        return false;
    if (len > im->len)
        memset(im->bytes + im->len, 0, len - im->len);
    im->len = len;
    return true;
}

static bool image_copy(struct sim_disk *d, struct image *to, const struct image *from) {
    if (!image_reserve(d, to, from->len))
        return false;
    if (from->len > 0)
        memcpy(to->bytes, from->bytes, from->len);
    to->len = from->len;
    return true;
}

static void image_free(struct sim_disk *d, struct image *im) {
    mem_free(&d->mem, im->bytes, im->cap);
}

/* --- paths --- */

/* The one spelling of a path that we compare. False: it is too long. */
static bool spell(const char *path, char out[SIM_PATH_MAX]) {
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    size_t len = strlen(path);
    if (len >= SIM_PATH_MAX)
        return false;
    memcpy(out, path, len + 1);
    while (len > 1 &&
           (out[len - 1] == '/' || (len > 2 && out[len - 1] == '.' && out[len - 2] == '/')))
        out[--len] = '\0';
    return true;
}

static void dir_path(const char *path, char out[SIM_PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    memcpy(out, path, len);
    out[len] = '\0';
    if (len == 0)
        memcpy(out, slash == NULL ? "." : "/", 2);
}

static struct dir *find_dir(const struct sim_disk *d, const char *path) {
    for (struct list *at = d->dirs.next; at != &d->dirs; at = at->next) {
        struct dir *dir = CONTAINER_OF(at, struct dir, link);
        if (strcmp(dir->path, path) == 0)
            return dir;
    }
    return NULL;
}

static struct name *find_name(const struct sim_disk *d, const char *path) {
    for (struct list *at = d->names.next; at != &d->names; at = at->next) {
        struct name *n = CONTAINER_OF(at, struct name, link);
        if (strcmp(n->path, path) == 0)
            return n;
    }
    return NULL;
}

/* The directory that a path lies in; NULL, and *error says why. */
static struct dir *parent(const struct sim_disk *d, const char *path, int *error) {
    char in[SIM_PATH_MAX];
    dir_path(path, in);
    struct dir *dir = find_dir(d, in);
    const struct name *n = dir == NULL ? find_name(d, in) : NULL;
    *error = n != NULL && n->now != NULL ? ENOTDIR : ENOENT;
    return dir;
}

/* --- files and names --- */

static void unref(struct sim_disk *d, struct file *f) {
    if (f == NULL || --f->refs > 0)
        return;
    d->used_bytes -= f->now.len;
    image_free(d, &f->now);
    image_free(d, &f->synced);
    list_del(&f->link);
    mem_free(&d->mem, f, sizeof(*f));
}

static void point(struct sim_disk *d, struct file **at, struct file *f) {
    struct file *before = *at;
    *at = f;
    if (f != NULL)
        f->refs++;
    unref(d, before);
}

/* A name that nothing is found by yet, unless there is one. */
static struct name *make_name(struct sim_disk *d, const char *path) {
    struct name *n = find_name(d, path);
    if (n != NULL)
        return n;
    n = mem_zalloc(&d->mem, sizeof(*n));
    if (n == NULL)
        return NULL;
    memcpy(n->path, path, strlen(path) + 1);
    list_add_tail(&d->names, &n->link);
    return n;
}

/* A new file under a name; NULL: no memory. */
static struct file *make_file(struct sim_disk *d, struct name *n) {
    struct file *f = mem_zalloc(&d->mem, sizeof(*f));
    if (f == NULL)
        return NULL;
    list_add_tail(&d->files, &f->link);
    point(d, &n->now, f);
    return f;
}

/* A name that nothing is found by, neither now nor after a crash, is none. */
static void name_free_unused(struct sim_disk *d, struct name *n) {
    if (n->now != NULL || n->synced != NULL)
        return;
    list_del(&n->link);
    mem_free(&d->mem, n, sizeof(*n));
}

static void name_set(struct sim_disk *d, struct name *n, struct file *now, struct file *synced) {
    point(d, &n->now, now);
    point(d, &n->synced, synced);
    name_free_unused(d, n);
}

/* --- descriptors --- */

static struct opened *find_opened(const struct sim_disk *d, int fd) {
    for (struct list *at = d->opened.next; at != &d->opened; at = at->next) {
        struct opened *o = CONTAINER_OF(at, struct opened, link);
        if (o->fd == fd)
            return o;
    }
    return NULL;
}

static void opened_free(struct sim_disk *d, struct opened *o) {
    unref(d, o->file);
    list_del(&o->link);
    mem_free(&d->mem, o, sizeof(*o));
}

static ssize_t make_opened(struct sim_disk *d, int flags, struct file *f, struct dir *dir) {
    struct opened *o = mem_zalloc(&d->mem, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    *o = (struct opened){.fd = d->next_fd++, .flags = flags, .dir = dir};
    list_add_tail(&d->opened, &o->link);
    point(d, &o->file, f);
    return o->fd;
}

bool sim_disk_has(const struct sim_disk *d, int fd) {
    return find_opened(d, fd) != NULL;
}

int64_t sim_disk_size(const struct sim_disk *d, int fd) {
    const struct opened *o = find_opened(d, fd);
    if (o == NULL)
        return -EBADF;
    return o->file != NULL ? (int64_t)o->file->now.len : -EINVAL;
}

void sim_disk_close(struct sim_disk *d, int fd) {
    opened_free(d, find_opened(d, fd));
}

/* --- operations --- */

static ssize_t open_path(struct sim_disk *d, const char *path, int flags) {
    int error, access = flags & O_ACCMODE;
    struct dir *dir = find_dir(d, path);
    if (dir != NULL)
        return access == O_RDONLY ? make_opened(d, flags, NULL, dir) : -EISDIR;
    dir = parent(d, path, &error);
    if (dir == NULL)
        return -error;
    struct name *n = find_name(d, path);
    struct file *f = n != NULL ? n->now : NULL;
    if (f == NULL && !(flags & O_CREAT))
        return -ENOENT;
    if (f == NULL && dir->forbidden)
        return -EACCES;
    if (f != NULL && (flags & O_DIRECTORY) == O_DIRECTORY)
        return -ENOTDIR;
    if (f != NULL && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (f == NULL) {
        n = make_name(d, path);
        f = n != NULL ? make_file(d, n) : NULL;
        if (f == NULL)
            return -ENOMEM;
    }
    if ((flags & O_TRUNC) && access != O_RDONLY) {
        d->used_bytes -= f->now.len;
        f->now.len = 0;
        f->lost = false; /* what never gets there is no part of it any more */
    }
    return make_opened(d, flags, f, NULL);
}

/* How much of `n` bytes is done now: at least one of them. */
static size_t some_of(struct sim_disk *d, const struct opened *o, size_t n) {
    if (n < 2 || (o->flags & O_DIRECT) || !chance(d, d->faults.short_in))
        return n;
    return 1 + rng_below(&d->rng, n - 1);
}

static bool aligned(const struct opened *o, const struct file_request *r) {
    uint64_t all = (uintptr_t)r->bytes | r->len | r->offset;
    return !(o->flags & O_DIRECT) || all % SECTOR_BYTES == 0;
}

static ssize_t read_some(struct sim_disk *d, const struct opened *o, const struct file_request *r) {
    if (o->dir != NULL)
        return -EISDIR;
    if ((o->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (!aligned(o, r))
        return -EINVAL;
    const struct image *im = &o->file->now;
    uint64_t at = r->offset + r->did;
    if (at >= im->len)
        return 0;
    size_t n = r->len - r->did;
    n = some_of(d, o, n < im->len - at ? n : im->len - (size_t)at);
    memcpy(r->bytes + r->did, im->bytes + at, n);
    return (ssize_t)n;
}

static ssize_t write_some(struct sim_disk *d, const struct opened *o,
                          const struct file_request *r) {
    if (o->dir != NULL || (o->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (!aligned(o, r))
        return -EINVAL;
    struct image *im = &o->file->now;
    size_t at = (o->flags & O_APPEND) ? im->len : (size_t)(r->offset + r->did);
    size_t n = some_of(d, o, r->len - r->did);
    uint64_t room = d->faults.room_bytes;
    if (room > 0 && at + n > im->len) {
        uint64_t end = im->len + (room > d->used_bytes ? room - d->used_bytes : 0);
        if (end <= at)
            return -ENOSPC;
        n = n < end - at ? n : (size_t)(end - at);
    }
    if (at + n > im->len) {
        size_t grown = at + n - im->len;
        if (!image_resize(d, im, at + n))
            return -ENOMEM;
        d->used_bytes += grown;
    }
    if (n > 0)
        memcpy(im->bytes + at, r->bytes + r->did, n);
    return (ssize_t)n;
}

static ssize_t sync_names(struct sim_disk *d, const struct dir *dir) {
    for (struct list *at = d->names.next, *next = at->next; at != &d->names;
         at = next, next = at->next) {
        struct name *n = CONTAINER_OF(at, struct name, link);
        char in[SIM_PATH_MAX];
        dir_path(n->path, in);
        if (strcmp(in, dir->path) == 0)
            name_set(d, n, n->now, n->now);
    }
    return 0;
}

static ssize_t sync_opened(struct sim_disk *d, const struct opened *o) {
    if (o->dir != NULL)
        return sync_names(d, o->dir);
    struct file *f = o->file;
    return f->lost || image_copy(d, &f->synced, &f->now) ? 0 : -ENOMEM;
}

static ssize_t rename_path(struct sim_disk *d, const char *from, const char *to) {
    int error;
    const struct dir *dir = parent(d, from, &error);
    const struct dir *dir2 = dir != NULL ? parent(d, to, &error) : NULL;
    if (dir == NULL || dir2 == NULL)
        return -error;
    if (dir->forbidden || dir2->forbidden)
        return -EACCES;
    struct name *n = find_name(d, from);
    if (n == NULL || n->now == NULL)
        return -ENOENT;
    if (find_dir(d, to) != NULL)
        return -EISDIR;
    struct name *n2 = make_name(d, to);
    if (n2 == NULL)
        return -ENOMEM;
    if (n == n2)
        return 0;
    point(d, &n2->now, n->now);
    name_set(d, n, NULL, n->synced);
    return 0;
}

static ssize_t remove_path(struct sim_disk *d, const char *path) {
    int error;
    const struct dir *dir = parent(d, path, &error);
    if (find_dir(d, path) != NULL)
        return -EISDIR;
    if (dir == NULL)
        return -error;
    struct name *n = find_name(d, path);
    if (n == NULL || n->now == NULL)
        return -ENOENT;
    if (dir->forbidden)
        return -EACCES;
    name_set(d, n, NULL, n->synced);
    return 0;
}

static ssize_t act_on_path(struct sim_disk *d, const struct file_request *r) {
    char path[SIM_PATH_MAX], path2[SIM_PATH_MAX];
    if (!spell(r->path, path) || (r->op == FILE_RENAME && !spell(r->path2, path2)))
        return -ENAMETOOLONG;
    if (r->op == FILE_OPEN)
        return open_path(d, path, r->flags);
    return r->op == FILE_RENAME ? rename_path(d, path, path2) : remove_path(d, path);
}

static ssize_t act_on_opened(struct sim_disk *d, const struct file_request *r) {
    struct opened *o = find_opened(d, r->fd);
    if (o == NULL)
        return -EBADF;
    switch (r->op) {
    case FILE_READ:
        return read_some(d, o, r);
    case FILE_WRITE:
        return write_some(d, o, r);
    case FILE_SYNC:
        return sync_opened(d, o);
    default:
        opened_free(d, o);
        return 0;
    }
}

/* Does this one fail, as sim_disk_fail wanted it? A sync that fails may have written anything, and the
 * next one finds nothing left to write. */
static int failure(struct sim_disk *d, const struct file_request *r) {
    if (d->ops[r->op].fail_in == 0 || --d->ops[r->op].fail_in > 0)
        return 0;
    struct opened *o = r->op == FILE_SYNC ? find_opened(d, r->fd) : NULL;
    if (o != NULL && o->file != NULL)
        o->file->lost = true;
    return d->ops[r->op].error;
}

ssize_t sim_disk_do(struct sim_disk *d, const struct file_request *r) {
    if (d->off)
        return r->op == FILE_CLOSE ? 0 : -EIO;
    int error = failure(d, r);
    if (error != 0)
        return -error;
    d->ops[r->op].done++;
    if (r->op == FILE_OPEN || r->op == FILE_RENAME || r->op == FILE_REMOVE)
        return act_on_path(d, r);
    return act_on_opened(d, r);
}

void sim_disk_halt(struct sim_disk *d, const struct file_request *r) {
    if (r->op != FILE_READ && !d->off && chance(d, 2))
        (void)sim_disk_do(d, r);
}

uint64_t sim_disk_take_ns(struct sim_disk *d) {
    uint64_t max = d->faults.delay_max_ns;
    return max > 0 ? rng_below(&d->rng, max + 1) : 0;
}

/* --- the end of a machine --- */

/* Where the images differ, each sector is of the one or of the other, or, in one case of two, all are of
 * the same. */
static void tear(struct sim_disk *d, struct file *f) {
    unsigned way = (unsigned)rng_below(&d->rng, 4);
    size_t shorter = f->now.len < f->synced.len ? f->now.len : f->synced.len;
    size_t longer = f->now.len > f->synced.len ? f->now.len : f->synced.len;
    size_t len = way == 0 ? f->synced.len : way == 1 ? f->now.len : shorter;
    if (way > 1 && longer > shorter)
        len += rng_below(&d->rng, longer - shorter + 1);
    size_t now_len = f->now.len;
    d->used_bytes -= now_len;
    if (!image_resize(d, &f->now, len)) /* it has had room for all but what was cut off */
        len = f->now.len;
    d->used_bytes += len;
    for (size_t at = 0; at < len; at += SECTOR_BYTES) {
        bool new = way == 1 || (way > 1 && rng_below(&d->rng, 2) == 0);
        size_t end = at + SECTOR_BYTES < len ? at + SECTOR_BYTES : len;
        size_t synced_end = end < f->synced.len ? end : f->synced.len;
        if (new &&at < now_len)
            continue;
        memset(f->now.bytes + at, 0, end - at);
        if (synced_end > at)
            memcpy(f->now.bytes + at, f->synced.bytes + at, synced_end - at);
    }
}

/* Of each directory all changes, or none. */
static void forget_names(struct sim_disk *d) {
    for (struct list *in = d->dirs.next; in != &d->dirs; in = in->next) {
        const struct dir *dir = CONTAINER_OF(in, struct dir, link);
        bool lost = rng_below(&d->rng, 2) == 0;
        for (struct list *at = d->names.next, *next = at->next; at != &d->names;
             at = next, next = at->next) {
            struct name *n = CONTAINER_OF(at, struct name, link);
            char path[SIM_PATH_MAX];
            dir_path(n->path, path);
            if (strcmp(path, dir->path) != 0)
                continue;
            struct file *f = lost ? n->synced : n->now;
            name_set(d, n, f, f);
        }
    }
}

void sim_disk_off(struct sim_disk *d, bool forget) {
    if (d->off)
        return;
    d->off = true;
    while (!list_empty(&d->opened))
        opened_free(d, CONTAINER_OF(d->opened.next, struct opened, link));
    if (!forget)
        return;
    forget_names(d);
    for (struct list *at = d->files.next; at != &d->files; at = at->next) {
        struct file *f = CONTAINER_OF(at, struct file, link);
        tear(d, f);
        f->lost = !image_copy(d, &f->synced, &f->now);
    }
}

void sim_disk_on(struct sim_disk *d) {
    d->off = false;
}

/* --- for tests --- */

static bool make_dir(struct sim_disk *d, const char *path) {
    char spelled[SIM_PATH_MAX] = "";
    if (!spell(path, spelled))
        return false;
    if (find_dir(d, spelled) != NULL)
        return true;
    struct dir *dir = mem_zalloc(&d->mem, sizeof(*dir));
    if (dir == NULL)
        return false;
    memcpy(dir->path, spelled, sizeof(spelled));
    list_add_tail(&d->dirs, &dir->link);
    return true;
}

bool sim_disk_make_dir(struct sim_net *net, const char *path) {
    return make_dir(sim_disk_of(net), path);
}

void sim_disk_destroy(struct sim_disk *d) {
    while (!list_empty(&d->opened))
        opened_free(d, CONTAINER_OF(d->opened.next, struct opened, link));
    while (!list_empty(&d->names))
        name_set(d, CONTAINER_OF(d->names.next, struct name, link), NULL, NULL);
    while (!list_empty(&d->dirs)) {
        struct dir *dir = CONTAINER_OF(d->dirs.next, struct dir, link);
        list_del(&dir->link);
        mem_free(&d->mem, dir, sizeof(*dir));
    }
    ASSERT(list_empty(&d->files));
    struct mem last = {0};
    mem_free(&last, d, sizeof(*d));
}

struct sim_disk *sim_disk_create(uint64_t seed) {
    struct mem first = {0};
    struct sim_disk *d = mem_zalloc(&first, sizeof(*d));
    if (d == NULL)
        return NULL;
    rng_seed(&d->rng, seed);
    d->next_fd = FD_FIRST;
    list_init(&d->files);
    list_init(&d->names);
    list_init(&d->dirs);
    list_init(&d->opened);
    if (make_dir(d, ".") && make_dir(d, "/"))
        return d;
    sim_disk_destroy(d);
    return NULL;
}

void sim_disk_set_faults(struct sim_net *net, const struct sim_disk_faults *faults) {
    sim_disk_of(net)->faults = *faults;
}

void sim_disk_fail(struct sim_net *net, enum file_op op, unsigned in, int error) {
    struct sim_disk *d = sim_disk_of(net);
    d->ops[op].fail_in = in;
    d->ops[op].error = error;
}

void sim_disk_forbid(struct sim_net *net, const char *dir, bool forbidden) {
    char path[SIM_PATH_MAX];
    struct dir *found = spell(dir, path) ? find_dir(sim_disk_of(net), path) : NULL;
    ASSERT(found != NULL);
    found->forbidden = forbidden;
}

uint64_t sim_disk_done(struct sim_net *net, enum file_op op) {
    return sim_disk_of(net)->ops[op].done;
}

const char *sim_disk_file(struct sim_net *net, const char *path, size_t *len) {
    char spelled[SIM_PATH_MAX];
    const struct name *n = spell(path, spelled) ? find_name(sim_disk_of(net), spelled) : NULL;
    if (n == NULL || n->now == NULL)
        return NULL;
    *len = n->now->now.len;
    return n->now->now.len > 0 ? n->now->now.bytes : "";
}

bool sim_disk_put(struct sim_net *net, const char *path, const char *bytes, size_t len) {
    struct sim_disk *d = sim_disk_of(net);
    char spelled[SIM_PATH_MAX];
    int error;
    if (!spell(path, spelled) || parent(d, spelled, &error) == NULL)
        return false;
    struct name *n = make_name(d, spelled);
    struct file *f = n != NULL ? make_file(d, n) : NULL;
    if (f == NULL)
        return false;
    if (!image_resize(d, &f->now, len))
        return false;
    d->used_bytes += len;
    if (len > 0)
        memcpy(f->now.bytes, bytes, len);
    name_set(d, n, f, f);
    return image_copy(d, &f->synced, &f->now);
}

const char *sim_disk_name(struct sim_net *net, unsigned i) {
    struct sim_disk *d = sim_disk_of(net);
    for (struct list *at = d->names.next; at != &d->names; at = at->next) {
        const struct name *n = CONTAINER_OF(at, struct name, link);
        if (n->now != NULL && i-- == 0)
            return n->path;
    }
    return NULL;
}
