/* loop_file_test.c: the contract of file.h, over every backend; faults of a real kernel here, those of the
 * simulated disk in sim_disk_test.c. */
#include "shards/file.h"
#include "shards/log.h"
#include "shards/loop.h"
#include "shards/sim.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUITE loop_file
#define REAL_VARIANTS(X, test)                                                                     \
    X(test, uring, LOOP_URING, 0)                                                                  \
    X(test, uring_no_file_ops, LOOP_URING, LOOP_FILE_OPS)                                          \
    X(test, uring_plain, LOOP_URING,                                                               \
      LOOP_DEFER_TASKRUN | LOOP_COOP_TASKRUN | LOOP_REGISTERED_RING)                               \
    X(test, epoll, LOOP_EPOLL, 0)
#include "loop_variants.h"

enum { DIR_BYTES = 64, PATH_BYTES = 200 };

static struct world {
    struct mem mem;
    struct loop *loop;
    struct sim_net *net;
    char dir[DIR_BYTES];
    unsigned told;
    bool starting; /* within file_start: no done may come */
} w;

static void setup(const struct variant *v) {
    const char *why = "";
    memset(&w, 0, sizeof(w));
    loop_disable_features(v->disabled);
    (void)snprintf(w.dir, sizeof(w.dir), "/tmp/anax-file-XXXXXX");
    if (v->kind == LOOP_SIM) {
        cr_assert_eq(sim_create(&w.net, 1), OK);
        sim_disk_set_faults(w.net,
                            &(struct sim_disk_faults){.delay_max_ns = 1000000, .short_in = 3});
        cr_assert(sim_disk_make_dir(w.net, w.dir));
    } else {
        cr_assert_not_null(mkdtemp(w.dir));
    }
    cr_assert_eq(loop_create(&w.loop, v->kind, &w.mem, &why), OK, "%s: %s", v->name, why);
    cr_assert_eq(loop_attach(w.loop), OK);
}

static void teardown(void) {
    loop_destroy(w.loop);
    cr_assert_eq(w.mem.used_bytes, 0, "%ld bytes are left", (long)w.mem.used_bytes);
    if (w.net != NULL) {
        sim_destroy(w.net);
    } else {
        char command[PATH_BYTES + 10];
        (void)snprintf(command, sizeof(command), "rm -r %s", w.dir);
        cr_assert_eq(system(command), 0);
    }
}

static const char *in_dir(char out[PATH_BYTES], const char *name) {
    (void)snprintf(out, PATH_BYTES, "%s/%s", w.dir, name);
    return out;
}

static void poll_once(void) {
    unsigned events = loop_poll(w.loop, UINT64_MAX, NULL);
    if (w.net == NULL || events > 0)
        return;
    uint64_t due_ns = sim_next_due_ns(w.net);
    cr_assert_neq(due_ns, UINT64_MAX, "nothing will ever happen");
    sim_advance(w.net, due_ns - sim_now_ns(w.net));
}

static void count_done(struct loop *l, struct file_request *r) {
    cr_assert_eq(l, w.loop);
    cr_assert_not(w.starting);
    cr_assert_eq(r->arg, &w);
    r->arg = NULL; /* a second time would be seen */
    w.told++;
}

static void begin(struct file_request *r) {
    r->done = count_done;
    r->arg = &w;
    w.starting = true;
    file_start(w.loop, r);
    w.starting = false;
}

static ssize_t run(struct file_request r) {
    begin(&r);
    while (r.arg != NULL)
        poll_once();
    return r.result;
}

static int open_file(const char *name, int flags) {
    char path[PATH_BYTES];
    ssize_t fd = run((struct file_request){
        .op = FILE_OPEN, .path = in_dir(path, name), .flags = flags, .mode = 0600});
    cr_assert_geq(fd, 0, "%s: %s", path, strerror((int)-fd));
    return (int)fd;
}

static ssize_t write_at(int fd, const void *bytes, size_t len, uint64_t offset) {
    return run((struct file_request){.op = FILE_WRITE,
                                     .fd = fd,
                                     .bytes = (char *)(uintptr_t)bytes,
                                     .len = len,
                                     .offset = offset});
}

static ssize_t read_at(int fd, void *bytes, size_t len, uint64_t offset) {
    return run((struct file_request){
        .op = FILE_READ, .fd = fd, .bytes = bytes, .len = len, .offset = offset});
}

static ssize_t sync_fd(int fd) {
    return run((struct file_request){.op = FILE_SYNC, .fd = fd});
}

static ssize_t close_fd(int fd) {
    return run((struct file_request){.op = FILE_CLOSE, .fd = fd});
}

static ssize_t open_path(const char *path, int flags) {
    return run((struct file_request){.op = FILE_OPEN, .path = path, .flags = flags, .mode = 0600});
}

static ssize_t rename_in_dir(const char *from, const char *to) {
    char path[PATH_BYTES], path2[PATH_BYTES];
    return run((struct file_request){
        .op = FILE_RENAME, .path = in_dir(path, from), .path2 = in_dir(path2, to)});
}

static ssize_t remove_in_dir(const char *name) {
    char path[PATH_BYTES];
    return run((struct file_request){.op = FILE_REMOVE, .path = in_dir(path, name)});
}

static char byte_of(size_t i) {
    return (char)(i * 31 + i / 251);
}

EVERY_VARIANT(a_file_is_written_renamed_read_and_removed) {
    setup(v);
    enum { LEN = 3000000, PIECE = 700001 };
    static char bytes[LEN], back[LEN + 100];
    for (size_t i = 0; i < LEN; i++)
        bytes[i] = byte_of(i);
    int fd = open_file("temp", O_CREAT | O_WRONLY | O_EXCL);
    for (size_t at = 0; at < LEN; at += PIECE) {
        size_t len = at + PIECE < LEN ? PIECE : LEN - at;
        cr_assert_eq(write_at(fd, bytes + at, len, at), (ssize_t)len);
    }
    cr_assert_eq(sync_fd(fd), 0);
    cr_assert_eq(close_fd(fd), 0);
    cr_assert_eq(rename_in_dir("temp", "kept"), 0);
    fd = open_file(".", O_RDONLY | O_DIRECTORY);
    cr_assert_eq(file_size(w.loop, fd), -EINVAL);
    cr_assert_eq(sync_fd(fd), 0);
    cr_assert_eq(close_fd(fd), 0);

    fd = open_file("kept", O_RDONLY);
    cr_assert_eq(read_at(fd, back, sizeof(back), 0), LEN,
                 "to the end, which is before what was asked");
    cr_assert_arr_eq(back, bytes, LEN);
    cr_assert_eq(read_at(fd, back, 100, 12345), 100);
    cr_assert_arr_eq(back, bytes + 12345, 100);
    cr_assert_eq(read_at(fd, back, 100, LEN), 0);
    cr_assert_eq(file_size(w.loop, fd), LEN);
    cr_assert_eq(read_at(fd, back, 100, LEN + 5), 0);
    cr_assert_eq(read_at(fd, back, 0, 0), 0);
    cr_assert_eq(close_fd(fd), 0);
    cr_assert_eq(remove_in_dir("kept"), 0);
    cr_assert_eq(remove_in_dir("kept"), -ENOENT);
    teardown();
}

EVERY_VARIANT(a_file_is_opened_as_asked) {
    setup(v);
    struct stat st;
    int fd = open_file("a", O_CREAT | O_RDWR | O_EXCL);
    if (w.net == NULL) {
        cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        cr_assert_eq(fstat(fd, &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0600);
    }
    cr_assert_eq(write_at(fd, "abcdef", 6, 0), 6);
    cr_assert_eq(close_fd(fd), 0);
    fd = open_file("a", O_WRONLY | O_APPEND);
    cr_assert_eq(write_at(fd, "gh", 2, 0), 2);
    cr_assert_eq(close_fd(fd), 0);
    char back[10] = "";
    fd = open_file("a", O_RDONLY);
    cr_assert_eq(read_at(fd, back, sizeof(back), 0), 8);
    cr_assert_str_eq(back, "abcdefgh");
    cr_assert_eq(close_fd(fd), 0);
    fd = open_file("a", O_WRONLY | O_TRUNC);
    cr_assert_eq(write_at(fd, "z", 1, 2), 1);
    cr_assert_eq(close_fd(fd), 0);
    fd = open_file("a", O_RDONLY);
    cr_assert_eq(read_at(fd, back, sizeof(back), 0), 3);
    cr_assert_arr_eq(back, "\0\0z", 3);
    cr_assert_eq(close_fd(fd), 0);
    teardown();
}

/* Which of them does it: the kernel, or a thread. */
EVERY_REAL_VARIANT(the_log_tells_who_does_it) {
    setup(v);
    bool kernel = v->kind == LOOP_URING && !(v->disabled & LOOP_FILE_OPS);
    cr_assert_eq(strstr(loop_features(w.loop), "file-ops") != NULL, kernel);
    teardown();
}

/* --- invariants --- */

EVERY_VARIANT(inv1_each_of_many_is_told_once) {
    setup(v);
    enum { REQUESTS = 5 * FILE_REQUESTS_MAX, EACH = 3001 };
    static struct file_request all[REQUESTS];
    static char bytes[REQUESTS * EACH], back[REQUESTS * EACH];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = byte_of(i);
    int fd = open_file("a", O_CREAT | O_RDWR);
    w.told = 0;
    for (enum file_op op = FILE_READ; op <= FILE_WRITE; op++) {
        /* What is written is written first: reading takes the second turn. */
        bool write = op == FILE_READ;
        for (size_t i = 0; i < REQUESTS; i++) {
            all[i] = (struct file_request){.op = write ? FILE_WRITE : FILE_READ,
                                           .fd = fd,
                                           .bytes = (write ? bytes : back) + i * EACH,
                                           .len = EACH,
                                           .offset = i * EACH};
            begin(&all[i]);
        }
        while (w.told < REQUESTS)
            poll_once();
        cr_assert_eq(w.told, REQUESTS);
        for (size_t i = 0; i < REQUESTS; i++)
            cr_assert_eq(all[i].result, EACH);
        w.told = 0;
    }
    cr_assert_arr_eq(back, bytes, sizeof(bytes));
    for (int i = 0; i < 3; i++)
        (void)loop_poll(w.loop, 0, NULL);
    cr_assert_eq(w.told, 0);
    cr_assert_eq(close_fd(fd), 0);
    teardown();
}

static unsigned again;

static void start_again(struct loop *l, struct file_request *r) {
    cr_assert_eq(r->result, 7);
    r->offset += 7;
    if (++again < 20)
        file_start(l, r);
    else
        w.told++;
}

EVERY_VARIANT(done_may_start_it_again) {
    setup(v);
    again = 0;
    int fd = open_file("a", O_CREAT | O_RDWR);
    char seven[] = "1234567", back[200];
    struct file_request r = {
        .op = FILE_WRITE, .fd = fd, .bytes = seven, .len = 7, .done = start_again};
    w.told = 0;
    file_start(w.loop, &r);
    while (w.told == 0)
        poll_once();
    cr_assert_eq(again, 20);
    cr_assert_eq(read_at(fd, back, sizeof(back), 0), 140);
    cr_assert_eq(close_fd(fd), 0);
    teardown();
}

EVERY_VARIANT(inv4_a_request_costs_no_allocation) {
    setup(v);
    int64_t used = w.mem.used_bytes;
    w.mem.fail_in = w.mem.fail_every = 1;
    char back[10] = "";
    int fd = open_file("a", O_CREAT | O_RDWR);
    cr_assert_eq(write_at(fd, "abc", 3, 0), 3);
    cr_assert_eq(read_at(fd, back, 3, 0), 3);
    cr_assert_eq(sync_fd(fd), 0);
    cr_assert_eq(close_fd(fd), 0);
    cr_assert_eq(rename_in_dir("a", "b"), 0);
    cr_assert_eq(remove_in_dir("b"), 0);
    cr_assert_eq(w.mem.used_bytes, used);
    w.mem.fail_in = w.mem.fail_every = 0;
    teardown();
}

/* --- errors --- */

EVERY_VARIANT(errors_of_paths_and_descriptors_are_told) {
    setup(v);
    char path[PATH_BYTES];
    char byte = 'x';
    const int none = 1000000;
    cr_assert_eq(write_at(none, &byte, 1, 0), -EBADF);
    cr_assert_eq(read_at(none, &byte, 1, 0), -EBADF);
    cr_assert_eq(sync_fd(none), -EBADF);
    cr_assert_eq(close_fd(none), -EBADF);
    cr_assert_eq(file_size(w.loop, none), -EBADF);
    cr_assert_eq(open_path(in_dir(path, "a"), O_RDONLY), -ENOENT);
    cr_assert_eq(open_path(in_dir(path, "none/a"), O_WRONLY | O_CREAT), -ENOENT);
    cr_assert_eq(open_path(w.dir, O_WRONLY), -EISDIR);
    int fd = open_file("a", O_CREAT | O_WRONLY);
    cr_assert_eq(read_at(fd, &byte, 1, 0), -EBADF, "it is open for writing only");
    cr_assert_eq(close_fd(fd), 0);
    fd = open_file("a", O_RDONLY);
    cr_assert_eq(write_at(fd, &byte, 1, 0), -EBADF);
    cr_assert_eq(close_fd(fd), 0);
    cr_assert_eq(open_path(in_dir(path, "a/b"), O_WRONLY | O_CREAT), -ENOTDIR);
    cr_assert_eq(open_path(in_dir(path, "a"), O_WRONLY | O_CREAT | O_EXCL), -EEXIST);
    cr_assert_eq(rename_in_dir("none", "b"), -ENOENT);
    cr_assert_eq(rename_in_dir("a", "none/b"), -ENOENT);
    teardown();
}

/* Root may do everything, so for a while we are somebody else. */
EVERY_REAL_VARIANT(a_directory_without_permission_is_told) {
    setup(v);
    char path[PATH_BYTES];
    cr_assert_eq(close_fd(open_file("a", O_CREAT | O_WRONLY)), 0);
    cr_assert_eq(chmod(w.dir, 0555), 0);
    loop_destroy(w.loop); /* a thread that it has started would stay who it is */
    uid_t me = geteuid();
    if (me == 0)
        cr_assert_eq(seteuid(65534), 0);
    const char *why = "";
    cr_assert_eq(loop_create(&w.loop, v->kind, &w.mem, &why), OK);
    cr_assert_eq(loop_attach(w.loop), OK);
    cr_assert_eq(open_path(in_dir(path, "b"), O_CREAT | O_WRONLY), -EACCES);
    cr_assert_eq(rename_in_dir("a", "b"), -EACCES);
    cr_assert_eq(remove_in_dir("a"), -EACCES);
    cr_assert_eq(seteuid(me), 0);
    cr_assert_eq(chmod(w.dir, 0755), 0);
    teardown();
}

EVERY_REAL_VARIANT(a_full_disk_is_told) {
    setup(v);
    ssize_t fd = open_path("/dev/full", O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write_at((int)fd, "abc", 3, 0), -ENOSPC);
    cr_assert_eq(close_fd((int)fd), 0);
    teardown();
}

/* The kernel writes what fits and says so; going on with the rest then fails. */
EVERY_REAL_VARIANT(inv2_a_write_in_part_is_gone_on_with_until_the_error) {
    setup(v);
    enum { FITS = 100000, LEN = 300000 };
    static char bytes[LEN];
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = FITS;
    int fd = open_file("a", O_CREAT | O_WRONLY);
    struct file_request r = {.op = FILE_WRITE, .fd = fd, .bytes = bytes, .len = LEN};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    begin(&r);
    while (r.arg != NULL)
        poll_once();
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(r.result, -EFBIG);
    cr_assert_eq(r.did, FITS);
    cr_assert_eq(write_at(fd, bytes, LEN, 0), LEN, "and then there is room");
    cr_assert_eq(close_fd(fd), 0);
    teardown();
}

/* More than the kernel takes at once; /dev/null looks at none of it. Not of a thread, where sanitizers would look. */
Test(loop_file, inv2_a_write_of_several_parts_is_whole_uring) {
    setup(VARIANT(uring, LOOP_URING, 0));
    const size_t len = ((size_t)3 << 30) + 12345;
    char *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq(bytes, MAP_FAILED);
    ssize_t fd = open_path("/dev/null", O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write_at((int)fd, bytes, len, 0), (ssize_t)len);
    cr_assert_eq(close_fd((int)fd), 0);
    cr_assert_eq(munmap(bytes, len), 0);
    teardown();
}

/* No thread: requests fail, and the next one tries again. A stack as large as all memory is refused. */
static void without_a_thread_requests_fail(const struct variant *v) {
    setup(v);
    char path[PATH_BYTES];
    pthread_attr_t before, huge;
    cr_assert_eq(pthread_getattr_default_np(&before), 0);
    cr_assert_eq(pthread_getattr_default_np(&huge), 0);
    cr_assert_eq(pthread_attr_setstacksize(&huge, (size_t)1 << 47), 0);
    cr_assert_eq(pthread_setattr_default_np(&huge), 0);
    log_set_level(LOG_NOTHING);
    cr_assert_eq(open_path(in_dir(path, "a"), O_CREAT | O_WRONLY), -EAGAIN);
    cr_assert_eq(pthread_setattr_default_np(&before), 0);
    cr_assert_eq(close_fd(open_file("a", O_CREAT | O_WRONLY)), 0);
    teardown();
}

VARIANT_TEST(without_a_thread_requests_fail, epoll, LOOP_EPOLL, 0)
VARIANT_TEST(without_a_thread_requests_fail, uring_no_file_ops, LOOP_URING, LOOP_FILE_OPS)

/* --- the end --- */

static unsigned open_descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

EVERY_VARIANT(file_stop_forgets_what_was_not_begun) {
    setup(v);
    static struct file_request all[3 * FILE_REQUESTS_MAX];
    static char bytes[100];
    int fd = open_file("a", O_CREAT | O_RDWR);
    w.told = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        all[i] = (struct file_request){.op = FILE_WRITE, .fd = fd, .bytes = bytes, .len = 100};
        begin(&all[i]);
    }
    file_stop(w.loop);
    file_stop(w.loop);
    memset(all, 0xff, sizeof(all)); /* ours again */
    for (int i = 0; i < 3; i++)
        (void)loop_poll(w.loop, 0, NULL);
    cr_assert_eq(w.told, 0);
    if (w.net == NULL)
        cr_assert_eq(close(fd), 0);
    teardown();
}

/* A loop ends with requests under way, at every stage of theirs: nobody is told, the memory is ours, and no
 * descriptor is left. */
EVERY_VARIANT(loop_destroy_waits_for_what_is_under_way) {
    enum { OPENS = 20, LEN = 1 << 18 };
    static struct file_request all[3 * OPENS];
    static char path[PATH_BYTES], bytes[2 * OPENS * LEN];
    for (unsigned polls = 0; polls < 4; polls++) {
        unsigned descriptors = open_descriptors();
        setup(v);
        int fd = open_file("a", O_CREAT | O_RDWR);
        cr_assert_eq(write_at(fd, bytes, LEN, 0), LEN);
        (void)in_dir(path, "a");
        w.told = 0;
        for (size_t i = 0; i < 3 * OPENS; i++) {
            all[i] = (struct file_request){.fd = fd, .path = path, .flags = O_RDWR, .len = LEN};
            all[i].op = i < OPENS ? FILE_OPEN : i < 2 * OPENS ? FILE_READ : FILE_WRITE;
            all[i].bytes = i < OPENS ? NULL : bytes + (i - OPENS) * LEN;
            begin(&all[i]);
        }
        for (unsigned i = 0; i < polls; i++)
            (void)loop_poll(w.loop, 0, NULL);
        unsigned told = w.told, opened = 0;
        for (size_t i = 0; i < OPENS; i++) {
            if (all[i].arg != NULL)
                continue;
            opened++;
            if (w.net == NULL)
                cr_assert_eq(close((int)all[i].result), 0);
        }
        file_stop(w.loop);
        memset(all, 0xff, sizeof(all));
        memset(bytes, 0x55, sizeof(bytes));
        (void)loop_poll(w.loop, 0, NULL);
        cr_assert_eq(w.told, told);
        cr_assert_leq(opened, told);
        if (w.net == NULL)
            cr_assert_eq(close(fd), 0);
        teardown();
        bool same = memcmp(bytes, bytes + 1, sizeof(bytes) - 1) == 0 && bytes[0] == 0x55;
        cr_assert(same, "written to by a request of a loop that is gone");
        memset(bytes, 0, sizeof(bytes));
        cr_assert_eq(open_descriptors(), descriptors);
    }
}

/* Both ends of a FIFO are opened at one moment, so the descriptor is there, or as good as, and nobody was told. */
EVERY_REAL_VARIANT(file_stop_closes_what_was_opened_and_not_told) {
    unsigned descriptors = open_descriptors();
    setup(v);
    char path[PATH_BYTES];
    cr_assert_eq(mkfifo(in_dir(path, "fifo"), 0600), 0);
    /* O_CREAT: io_uring tries all else without waiting for the other end. */
    struct file_request r = {.op = FILE_OPEN, .path = path, .flags = O_RDONLY | O_CREAT};
    begin(&r);
    (void)loop_poll(w.loop, 0, NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    file_stop(w.loop);
    cr_assert_eq(w.told, 0);
    cr_assert_eq(close(fd), 0);
    teardown();
    cr_assert_eq(open_descriptors(), descriptors);
}

static void *own_and_leave(void *arg) {
    (void)arg;
    cr_assert_eq(loop_attach(w.loop), OK);
    int fd = open_file("a", O_CREAT | O_RDWR);
    static struct file_request all[FILE_REQUESTS_MAX];
    static char bytes[100000];
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        all[i] = (struct file_request){
            .op = FILE_WRITE, .fd = fd, .bytes = bytes, .len = sizeof(bytes), .offset = i};
        begin(&all[i]);
    }
    (void)loop_poll(w.loop, 0, NULL);
    file_stop(w.loop);
    cr_assert_eq(close(fd), 0);
    return NULL;
}

EVERY_REAL_VARIANT(the_owner_stops_and_another_thread_destroys) {
    setup(v);
    loop_destroy(w.loop);
    const char *why = "";
    cr_assert_eq(loop_create(&w.loop, v->kind, &w.mem, &why), OK);
    pthread_t owner;
    cr_assert_eq(pthread_create(&owner, NULL, own_and_leave, NULL), 0);
    cr_assert_eq(pthread_join(owner, NULL), 0);
    teardown();
}
