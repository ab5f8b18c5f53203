/* loop_disk_test.c: the contract of the simulated disk (sim.h): what it does wrong, and what it never does. */
#include "shards/loop.h"
#include "shards/rng.h"
#include "shards/sim.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { LEN = 20000, SECTOR = 512 };

static struct mem mem;
static struct sim_net *net;
static struct loop *loop;

static void start_loop(void) {
    const char *why = "";
    cr_assert_eq(loop_create(&loop, LOOP_SIM, &mem, &why), OK);
    cr_assert_eq(loop_attach(loop), OK);
}

static void setup(uint64_t seed) {
    cr_assert_eq(sim_create(&net, seed), OK);
    sim_disk_set_faults(net, &(struct sim_disk_faults){.delay_max_ns = 1000, .short_in = 4});
    cr_assert(sim_disk_make_dir(net, "/d"));
    start_loop();
}

static void teardown(void) {
    loop_destroy(loop);
    cr_assert_eq(mem.used_bytes, 0);
    sim_destroy(net);
}

static void told(struct loop *l, struct file_request *r) {
    (void)l;
    *(bool *)r->arg = true;
}

static void begin(struct file_request *r, bool *is_told) {
    *is_told = false;
    r->done = told;
    r->arg = is_told;
    file_start(loop, r);
}

static void turn(void) {
    unsigned events = loop_poll(loop, 0, NULL);
    uint64_t due_ns = sim_next_due_ns(net);
    if (events == 0 && due_ns != UINT64_MAX)
        sim_advance(net, due_ns - sim_now_ns(net));
}

static ssize_t run(struct file_request r) {
    bool is_told;
    int turns = 0;
    begin(&r, &is_told);
    while (!is_told) {
        cr_assert_lt(turns++, 10000);
        turn();
    }
    return r.result;
}

static ssize_t open_path(const char *path, int flags) {
    return run((struct file_request){.op = FILE_OPEN, .path = path, .flags = flags});
}

static ssize_t write_at(ssize_t fd, const char *bytes, size_t len, uint64_t offset) {
    return run((struct file_request){.op = FILE_WRITE,
                                     .fd = (int)fd,
                                     .bytes = (char *)(uintptr_t)bytes,
                                     .len = len,
                                     .offset = offset});
}

static ssize_t sync_fd(ssize_t fd) {
    return run((struct file_request){.op = FILE_SYNC, .fd = (int)fd});
}

static ssize_t close_fd(ssize_t fd) {
    return run((struct file_request){.op = FILE_CLOSE, .fd = (int)fd});
}

static ssize_t rename_path(const char *from, const char *to) {
    return run((struct file_request){.op = FILE_RENAME, .path = from, .path2 = to});
}

static ssize_t remove_path(const char *path) {
    return run((struct file_request){.op = FILE_REMOVE, .path = path});
}

static ssize_t sync_dir(const char *path) {
    ssize_t fd = open_path(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fd;
    ssize_t result = sync_fd(fd);
    (void)close_fd(fd);
    return result;
}

static const char *filled(char with) {
    static char bytes[LEN];
    memset(bytes, with, LEN);
    return bytes;
}

/* Does the file hold LEN times this byte? */
static bool holds(const char *path, char what) {
    size_t len;
    const char *bytes = sim_disk_file(net, path, &len);
    if (bytes == NULL || len != LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != what)
            return false;
    return true;
}

/* The way to replace a file: safe unless one of the two syncs is left out. 0, or the first error. */
static ssize_t replace(char with, bool file_synced, bool dir_synced) {
    ssize_t fd = open_path("/d/temp", O_CREAT | O_TRUNC | O_WRONLY), e = fd < 0 ? fd : 0;
    for (size_t at = 0; e == 0 && at < LEN; at += LEN / 4) {
        ssize_t n = write_at(fd, filled(with), LEN / 4, at);
        e = n < 0 ? n : 0;
    }
    if (e == 0 && file_synced)
        e = sync_fd(fd);
    ssize_t closed = fd < 0 ? 0 : close_fd(fd);
    if (e == 0)
        e = closed;
    if (e == 0)
        e = rename_path("/d/temp", "/d/file");
    if (e == 0 && dir_synced)
        e = sync_dir("/d");
    return e;
}

/* --- crashes --- */

/* Crashes after some turns of a replacement; returns what of the file is then left. */
static char crash_in_replacement(uint64_t seed, bool file_synced, bool *over) {
    static struct file_request r[8];
    static bool is_told[8];
    struct rng rng;
    rng_seed(&rng, seed);
    setup(seed);
    cr_assert(sim_disk_put(net, "/d/file", filled('o'), LEN));
    uint64_t stop_at = rng_below(&rng, 60);
    ssize_t fd = -1;
    unsigned step = 0;
    memset(r, 0, sizeof(r));
    const char *new = filled('n');
    for (uint64_t turns = 0; turns < stop_at && step < 6; turns++) {
        if (r[step].done == NULL) {
            r[0] = (struct file_request){
                .op = FILE_OPEN, .path = "/d/temp", .flags = O_CREAT | O_WRONLY};
            r[1] = (struct file_request){
                .op = FILE_WRITE, .bytes = (char *)(uintptr_t) new, .len = LEN};
            r[2] = (struct file_request){.op = file_synced ? FILE_SYNC : FILE_READ};
            r[3] = (struct file_request){.op = FILE_RENAME, .path = "/d/temp", .path2 = "/d/file"};
            r[4] = (struct file_request){
                .op = FILE_OPEN, .path = "/d", .flags = O_RDONLY | O_DIRECTORY};
            r[5] = (struct file_request){.op = FILE_SYNC};
            r[step].fd = (int)fd;
            begin(&r[step], &is_told[step]);
        }
        turn();
        if (is_told[step]) {
            fd = r[step].op == FILE_OPEN ? r[step].result : fd;
            step++;
        }
    }
    *over = step == 6;
    sim_disk_crash(net);
    char left = holds("/d/file", 'o') ? 'o' : holds("/d/file", 'n') ? 'n' : '?';
    teardown();
    return left;
}

Test(loop_disk, inv4_a_file_is_replaced_whole_or_not_at_all) {
    unsigned old = 0, new = 0, over_count = 0;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        bool over;
        char left = crash_in_replacement(seed, true, &over);
        cr_assert_neq(left, '?', "seed %lu", (unsigned long)seed);
        cr_assert(!over || left == 'n', "seed %lu", (unsigned long)seed);
        over_count += over;
        old += left == 'o';
        new += left == 'n';
    }
    cr_assert_gt(old, 50);
    cr_assert_gt(new - over_count, 5, "also between the rename and the sync of the directory");
    cr_assert_gt(over_count, 50);
}

Test(loop_disk, a_crash_shows_that_a_sync_was_left_out) {
    unsigned torn = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        bool over;
        torn += crash_in_replacement(seed, false, &over) == '?';
    }
    cr_assert_gt(torn, 10);
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        setup(seed);
        cr_assert(sim_disk_put(net, "/d/file", filled('o'), LEN));
        cr_assert_eq(replace('n', true, false), 0);
        sim_disk_crash(net);
        lost += holds("/d/file", 'o');
        teardown();
    }
    cr_assert_gt(lost, 2);
    cr_assert_lt(lost, 18);
}

Test(loop_disk, what_was_not_synced_is_there_or_not_or_torn_by_sectors) {
    unsigned whole_old = 0, whole_new = 0, mixed = 0, longer = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        setup(seed);
        cr_assert(sim_disk_put(net, "/d/file", filled('o'), LEN));
        ssize_t fd = open_path("/d/file", O_WRONLY);
        cr_assert_eq(write_at(fd, filled('n'), LEN, LEN / 2), LEN);
        sim_disk_crash(net);
        size_t len, counts[2] = {0, 0};
        const char *bytes = sim_disk_file(net, "/d/file", &len);
        cr_assert(len >= LEN && len <= LEN + LEN / 2);
        longer += len > LEN;
        for (size_t i = 0; i < len; i++) {
            if (i < LEN / 2) {
                cr_assert_eq(bytes[i], 'o', "where nothing was written");
                continue;
            }
            char was = i < LEN ? 'o' : '\0';
            cr_assert(bytes[i] == 'n' || bytes[i] == was);
            counts[bytes[i] == 'n']++;
            bool same_sector = i > LEN / 2 && i != LEN && i % SECTOR != 0;
            cr_assert(!same_sector || (bytes[i] == 'n') == (bytes[i - 1] == 'n'));
        }
        whole_old += counts[1] == 0;
        whole_new += counts[0] == 0 && len == LEN + LEN / 2;
        mixed += counts[0] > 0 && counts[1] > 0;
        teardown();
    }
    cr_assert_gt(whole_old, 10);
    cr_assert_gt(whole_new, 10);
    cr_assert_gt(mixed, 50);
    cr_assert_gt(longer, 50);
}

Test(loop_disk, after_a_crash_nothing_works_until_it_is_booted) {
    setup(1);
    ssize_t fd = open_path("/d/file", O_CREAT | O_WRONLY);
    cr_assert_eq(write_at(fd, filled('a'), LEN, 0), LEN);
    cr_assert_eq(sync_fd(fd), 0);
    cr_assert_eq(sync_dir("/d"), 0);
    struct file_request r = {
        .op = FILE_WRITE, .fd = (int)fd, .bytes = (char *)(uintptr_t)filled('a'), .len = LEN};
    bool is_told;
    begin(&r, &is_told);
    (void)loop_poll(loop, 0, NULL);
    sim_disk_crash(net);
    while (!is_told)
        turn();
    cr_assert_eq(r.result, -EIO, "it was under way");
    cr_assert_eq(open_path("/d/file", O_RDONLY), -EIO);
    cr_assert_eq(remove_path("/d/file"), -EIO);
    cr_assert_eq(close_fd(fd), 0);
    loop_destroy(loop);
    sim_disk_boot(net);
    start_loop();
    cr_assert_eq(write_at(fd, "x", 1, 0), -EBADF);
    cr_assert(holds("/d/file", 'a'));
    fd = open_path("/d/file", O_RDONLY);
    char back[LEN];
    cr_assert_eq(run((struct file_request){
                     .op = FILE_READ, .fd = (int)fd, .bytes = back, .len = sizeof(back)}),
                 LEN);
    teardown();
}

Test(loop_disk, a_killed_process_loses_only_what_was_under_way) {
    unsigned done = 0, not_done = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        setup(seed);
        cr_assert_eq(replace('a', false, false), 0);
        struct file_request r = {.op = FILE_RENAME, .path = "/d/file", .path2 = "/d/moved"};
        bool is_told;
        begin(&r, &is_told);
        (void)loop_poll(loop, 0, NULL);
        if (is_told) {
            teardown();
            continue;
        }
        sim_disk_kill(net);
        bool moved = holds("/d/moved", 'a');
        cr_assert_neq(moved, holds("/d/file", 'a'));
        done += moved;
        not_done += !moved;
        teardown();
    }
    cr_assert_gt(done, 5);
    cr_assert_gt(not_done, 5);
}

/* --- faults --- */

Test(loop_disk, a_disk_is_full_at_its_bound_and_has_room_again) {
    setup(1);
    sim_disk_set_faults(net, &(struct sim_disk_faults){.short_in = 3, .room_bytes = 3 * LEN / 2});
    ssize_t fd = open_path("/d/a", O_CREAT | O_WRONLY), fd2 = open_path("/d/b", O_CREAT | O_WRONLY);
    cr_assert_eq(write_at(fd, filled('a'), LEN, 0), LEN);
    cr_assert_eq(write_at(fd2, filled('b'), LEN, 0), -ENOSPC);
    size_t len;
    cr_assert_not_null(sim_disk_file(net, "/d/b", &len));
    cr_assert_eq(len, LEN / 2, "what fits is written");
    cr_assert_eq(write_at(fd, filled('c'), LEN, 0), LEN, "in place there is room");
    cr_assert_eq(remove_path("/d/a"), 0);
    cr_assert_eq(write_at(fd2, filled('b'), LEN, 0), -ENOSPC, "it is still open");
    cr_assert_eq(close_fd(fd), 0);
    cr_assert_eq(write_at(fd2, filled('b'), LEN, 0), LEN);
    cr_assert(holds("/d/b", 'b'));
    teardown();
}

Test(loop_disk, the_nth_of_a_kind_fails) {
    const enum file_op kinds[] = {FILE_OPEN,  FILE_READ,   FILE_WRITE, FILE_SYNC,
                                  FILE_CLOSE, FILE_RENAME, FILE_REMOVE};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        setup(1);
        sim_disk_set_faults(net, &(struct sim_disk_faults){0});
        cr_assert(sim_disk_put(net, "/d/a", filled('a'), LEN));
        ssize_t fd = open_path("/d/a", O_RDWR);
        char byte = 'x';
        sim_disk_fail(net, kinds[i], 3, EIO);
        uint64_t before = sim_disk_done(net, kinds[i]);
        struct file_request r = {.op = kinds[i], .path = "/d/a", .path2 = "/d/a", .bytes = &byte};
        r.len = 1;
        for (unsigned n = 1; n <= 4; n++) {
            r.fd = (int)(kinds[i] == FILE_CLOSE ? open_path("/d/a", O_RDONLY) : fd);
            ssize_t result = run(r);
            cr_assert_eq(result == -EIO, n == 3, "%d, %u: %zd", (int)kinds[i], n, result);
        }
        cr_assert_eq(sim_disk_done(net, kinds[i]), before + 3);
        teardown();
    }
}

Test(loop_disk, after_a_failed_sync_later_ones_promise_nothing) {
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        setup(seed);
        sim_disk_fail(net, FILE_SYNC, 1, EIO);
        cr_assert(sim_disk_put(net, "/d/a", filled('o'), LEN));
        ssize_t fd = open_path("/d/a", O_WRONLY);
        cr_assert_eq(write_at(fd, filled('n'), LEN, 0), LEN);
        cr_assert_eq(sync_fd(fd), -EIO);
        cr_assert_eq(sync_fd(fd), 0);
        sim_disk_crash(net);
        lost += !holds("/d/a", 'n');
        teardown();
    }
    cr_assert_gt(lost, 10);
}

Test(loop_disk, a_forbidden_directory_keeps_its_names) {
    setup(1);
    cr_assert(sim_disk_put(net, "/d/a", filled('a'), LEN));
    sim_disk_forbid(net, "/d", true);
    cr_assert_eq(open_path("/d/b", O_CREAT | O_WRONLY), -EACCES);
    cr_assert_eq(rename_path("/d/a", "/d/b"), -EACCES);
    cr_assert_eq(rename_path("/d/a", "b"), -EACCES);
    cr_assert_eq(remove_path("/d/a"), -EACCES);
    cr_assert_eq(close_fd(open_path("/d/a", O_RDONLY)), 0);
    sim_disk_forbid(net, "/d", false);
    cr_assert_eq(rename_path("/d/a", "./b"), 0);
    cr_assert(holds("b", 'a'));
    cr_assert_str_eq(sim_disk_name(net, 0), "b");
    cr_assert_null(sim_disk_name(net, 1));
    cr_assert_not(sim_disk_put(net, "/none/a", "", 0));
    teardown();
}

Test(loop_disk, direct_writes_want_sectors) {
    setup(1);
    static char bytes[4 * SECTOR] __attribute__((aligned(SECTOR)));
    ssize_t fd = open_path("/d/a", O_CREAT | O_WRONLY | O_DIRECT);
    cr_assert_eq(write_at(fd, bytes, 2 * SECTOR, SECTOR), 2 * SECTOR);
    cr_assert_eq(write_at(fd, bytes, 2 * SECTOR, 1), -EINVAL);
    cr_assert_eq(write_at(fd, bytes, SECTOR + 1, 0), -EINVAL);
    cr_assert_eq(write_at(fd, bytes + 1, SECTOR, 0), -EINVAL);
    teardown();
}

/* --- determinism --- */

static uint64_t hash_of_run(uint64_t seed) {
    struct rng rng;
    rng_seed(&rng, seed);
    setup(1); /* the disk's own seed stays the same: what we do decides, too */
    uint64_t hash = 0;
    for (int i = 0; i < 20; i++) {
        if (rng_below(&rng, 4) == 0)
            sim_disk_fail(net, (enum file_op)rng_below(&rng, FILE_OPS), 1, EIO);
        hash = hash * 31 +
               (uint64_t)replace((char)('a' + i), rng_below(&rng, 2) == 0, rng_below(&rng, 2) == 0);
        hash = hash * 31 + sim_now_ns(net);
    }
    sim_disk_crash(net);
    const char *name;
    for (unsigned i = 0; (name = sim_disk_name(net, i)) != NULL; i++) {
        size_t len;
        const char *bytes = sim_disk_file(net, name, &len);
        for (size_t at = 0; at < len; at++)
            hash = hash * 31 + (unsigned char)bytes[at];
    }
    teardown();
    return hash;
}

Test(loop_disk, a_seed_replays_a_run) {
    for (uint64_t seed = 1; seed <= 5; seed++)
        cr_assert_eq(hash_of_run(seed), hash_of_run(seed));
    cr_assert_neq(hash_of_run(1), hash_of_run(2));
}
