/* crash_test.c: the report of a crash, of a child for each; a whole server's is tested from outside
 * (tests/fault/test_crash.py). */
#include "../../src/server/server_impl.h"
#include "anax/command.h"
#include "anax/instance.h"
#include "anax/net.h"
#include "shards/assert.h"
#include "shards/log.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char report[1 << 18];

/* crash: runs fn in a child that reports; returns the signal that it died of, 0: none. */
static int crash(void (*fn)(void)) {
    char path[] = "/tmp/anax_crash_test.XXXXXX";
    int fd = mkstemp(path), status = 0;
    cr_assert_geq(fd, 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        if (log_open(path) != OK)
            _exit(2);
        symbols_load();
        crash_install();
        crash_thread_begin();
        fn();
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    ssize_t n = read(fd, report, sizeof report - 1);
    cr_assert_geq(n, 0);
    report[n] = '\0';
    (void)close(fd);
    (void)unlink(path);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool has(const char *text) {
    return strstr(report, text) != NULL;
}

static unsigned times(const char *text) {
    unsigned n = 0;
    for (const char *p = report; (p = strstr(p, text)) != NULL; p++)
        n++;
    return n;
}

#define NEVER_INLINE __attribute__((noinline))

static NEVER_INLINE void write_to_nowhere(void) {
    volatile int *volatile at = (volatile int *)0x10; /* volatile: the compiler does not know it */
    *at = 1;
}

static NEVER_INLINE void caller_of_the_crash(void) {
    write_to_nowhere();
    (void)getpid(); /* not a tail call */
}

Test(crash, report_says_what_and_where) {
    cr_assert_eq(crash(caller_of_the_crash), SIGSEGV, "%s", report);
    cr_assert(has("report begins"));
    cr_assert(has("version:  " ANAX_VERSION), "%s", report);
    cr_assert(has("SIGSEGV, code 1, at address 0x10\n"), "%s", report);
    cr_assert(has("registers:") && has("backtrace:"));
    const char *first = strstr(report, " write_to_nowhere+0x"),
               *second = strstr(report, " caller_of_the_crash+0x");
    cr_assert(first != NULL && second != NULL && first < second, "%s", report);
    cr_assert_eq(times("cannot be followed"), 0);
    cr_assert(has("=== report ends ==="));
}

static int from_outside;

static void be_signalled(void) {
    (void)kill(getpid(), from_outside);
    for (;;)
        (void)pause();
}

Test(crash, signals_from_outside_keep_their_meaning) {
    static const struct {
        int signal;
        const char *name;
    } cases[] = {{SIGSEGV, "SIGSEGV"},
                 {SIGBUS, "SIGBUS"},
                 {SIGFPE, "SIGFPE"},
                 {SIGILL, "SIGILL"},
                 {SIGABRT, "SIGABRT"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        from_outside = cases[i].signal;
        cr_assert_eq(crash(be_signalled), cases[i].signal, "%s", cases[i].name);
        char line[64];
        (void)snprintf(line, sizeof line, "signal:   %s, sent by process ", cases[i].name);
        cr_assert(has(line), "%s", report);
        cr_assert(has("=== report ends ==="));
    }
}

static void fail_an_assertion(void) {
    ASSERT(getpid() == 0);
}

Test(crash, assertion_is_the_reason) {
    cr_assert_eq(crash(fail_an_assertion), SIGABRT);
    cr_assert(has("assertion failed: getpid() == 0\n"));
    cr_assert(has("reason:   ") && has("crash_test.c:"), "%s", report);
    cr_assert(has(" fail_an_assertion+0x"), "%s", report);
}

static void (*volatile nowhere)(void);

static NEVER_INLINE void call_nowhere(void) {
    nowhere();
    (void)getpid();
}

Test(crash, call_to_nowhere_names_the_caller) {
    cr_assert_eq(crash(call_nowhere), SIGSEGV);
    cr_assert(has("backtrace:\n  0x0\n"), "%s", report);
    cr_assert(has(" call_nowhere+0x"), "%s", report);
}

/* --- overflow of a thread's stack --- */

static NEVER_INLINE int dig(volatile char *above, int depth) {
    volatile char bytes[512];
    bytes[0] = above[0];
    if (depth < 0)
        return 0;
    return dig(bytes, depth + 1) + bytes[0];
}

static void *overflow(void *arg) {
    volatile char top[1] = {0};
    crash_thread_begin();
    (void)pthread_setname_np(pthread_self(), "digger");
    (void)dig(top, 0);
    return arg;
}

static void overflow_in_a_thread(void) {
    pthread_t thread;
    pthread_attr_t attr;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    if (pthread_create(&thread, &attr, overflow, NULL) == 0)
        (void)pthread_join(thread, NULL);
}

Test(crash, overflow_of_a_threads_stack) {
    cr_assert_eq(crash(overflow_in_a_thread), SIGSEGV);
    cr_assert(has("thread:   digger"), "%s", report);
    cr_assert_geq(times(" dig"), 10, "%s", report);
    cr_assert(has("=== report ends ==="));
}

/* --- crashes at bad moments --- */

static void *allocate_on_and_on(void *arg) {
    for (size_t n = 16;; n = n * 5 % 100003) {
        void *volatile p = malloc(n);
        free(p);
    }
    return arg;
}

static void *log_on_and_on(void *arg) {
    for (unsigned n = 0;; n++)
        LOGN("line %u", n);
    return arg;
}

static void *(*busy_with)(void *);

static void crash_while_busy(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, busy_with, NULL) != 0)
        _exit(2);
    (void)usleep(300 + (unsigned)getpid() % 700);
    (void)pthread_kill(thread, SIGSEGV);
    (void)pthread_join(thread, NULL);
}

Test(crash, within_the_allocator_or_the_log_does_not_hang, .timeout = 100) {
    enum { ROUNDS = 40 };
    static void *(*const busy[])(void *) = {allocate_on_and_on, log_on_and_on};
    for (size_t i = 0; i < COUNT_OF(busy); i++) {
        busy_with = busy[i];
        for (int round = 0; round < ROUNDS; round++) {
            cr_assert_eq(crash(crash_while_busy), SIGSEGV);
            cr_assert(has("=== report ends ==="), "%s", report);
        }
    }
}

static void crash_in_the_report(void) {
    crash_watch((void *)0x40, NULL); /* as aligned as a real one */
    write_to_nowhere();
}

Test(crash, within_the_report_ends_at_once, .timeout = 100) {
    cr_assert_eq(crash(crash_in_the_report), SIGSEGV);
    cr_assert(has(" write_to_nowhere+0x"), "%s", report);
    cr_assert_eq(times("report begins"), 1);
    cr_assert_eq(times("report ends"), 0);
}

/* --- what the shards run --- */

enum { SHARDS = 6, ARGS = 100 };
static struct instance instances[SHARDS];
static struct net_shared net;
static struct span many[ARGS];

/* Shard 5 has no instance yet; 2 to 4 are as a crash may find them when it is the consequence of another. */
static void crash_while_commands_run(void) {
    static const struct shard_hooks no_hooks;
    static char long_key[1000];
    const struct shards_config config = {
        .count = SHARDS, .databases = 1, .io = LOOP_EPOLL, .hooks = &no_hooks};
    const char *why;
    struct shards *all;
    client_register();
    command_register_families();
    if (shards_create(&all, &config, &why) != OK)
        _exit(3);
    const struct command *set = command_find(SPAN("SET"));
    memset(long_key, 'k', sizeof long_key);
    const struct span auth_argv[] = {SPAN("AUTH"), SPAN("a-user"), SPAN("a-secret")},
                      set_argv[] = {SPAN("set"), {long_key, sizeof long_key}, SPAN("\"\\\0\n\xff")};
    for (unsigned i = 0; i < ARGS; i++)
        many[i] = SPAN("x");
    many[1] = (struct span){(const char *)0x30, 5};
    const struct ctx auth = {.cmd = command_find(SPAN("AUTH")), .argv = auth_argv, .argc = 3},
                     longer = {.cmd = set, .argv = set_argv, .argc = 3, .db = 7, .client_id = 42},
                     no_row = {.cmd = (const struct command *)0x20, .argv = set_argv, .argc = 3},
                     bad_args = {.cmd = set, .argv = many, .argc = ARGS};
    const struct ctx *const running[] = {&auth, &longer, (const struct ctx *)0x10, &no_row,
                                         &bad_args};
    for (unsigned i = 0; i < COUNT_OF(running); i++) {
        instances[i].running = running[i];
        shards_get(all, i)->app = &instances[i];
    }
    crash_watch(all, &net);
    write_to_nowhere();
}

Test(crash, commands_are_shown_cut_and_without_secrets) {
    cr_assert_eq(crash(crash_while_commands_run), SIGSEGV);
    cr_assert(has("=== report ends ==="), "%s", report);
    cr_assert(
        has(" shard 0  runs AUTH in database 0 for client 0: \"AUTH\" (redacted) (redacted)\n"),
        "%s", report);
    cr_assert_not(has("a-secret"), "%s", report);
    cr_assert(has(" shard 1  runs SET in database 7 for client 42: \"set\" \"kkkk"), "%s", report);
    cr_assert(has("kkkk\" ... of bytes 1000 \"\\\"\\\\\\x00\\x0a\\xff\"\n"), "%s", report);
    cr_assert_eq(times("kkkkk"), 64 - 4, "%s", report);
    cr_assert(has(" shard 2  runs no command\n"), "%s", report);
    cr_assert(has(" shard 3  runs no command\n"), "%s", report);
    cr_assert(has(" shard 4  runs SET in database 0 for client 0: \"x\" \"\" ... of bytes 5 \"x\""),
              "%s", report);
    cr_assert(has("\"x\" ... of arguments 100\n"), "%s", report);
    cr_assert(has(" shard 5  is starting or stopping\n"), "%s", report);
}

/* --- several threads --- */

static pthread_barrier_t all_there;

static void *crash_together(void *arg) {
    (void)pthread_barrier_wait(&all_there);
    write_to_nowhere();
    return arg;
}

static void crash_in_many_threads(void) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    (void)pthread_barrier_init(&all_there, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, crash_together, NULL) != 0)
            _exit(2);
    (void)pthread_join(threads[0], NULL);
}

Test(crash, of_many_threads_is_reported_once, .timeout = 100) {
    for (int round = 0; round < 10; round++) {
        cr_assert_eq(crash(crash_in_many_threads), SIGSEGV);
        cr_assert_eq(times("report begins"), 1, "%s", report);
        cr_assert_eq(times("report ends"), 1, "%s", report);
    }
}

/* --- symbols --- */

Test(crash, symbols) {
    symbols_load();
    struct symbol s = symbols_find((uintptr_t)write_to_nowhere);
    cr_assert(s.own);
    cr_assert_str_empty(s.name, "names are not read before symbols_open");
    symbols_open();
    s = symbols_find((uintptr_t)write_to_nowhere + 1);
    cr_assert_str_eq(s.name, "write_to_nowhere");
    cr_assert_eq(s.name_offset, 1);
    cr_assert_str_empty(symbols_find(0).module);
    cr_assert_str_empty(symbols_find(UINT64_MAX).module);
    s = symbols_find((uintptr_t)report);
    cr_assert_str_empty(s.module, "that is data");
}

/* --- stacks --- */

static void *has_a_stack(void *arg) {
    stack_t with, without;
    crash_thread_begin();
    bool ok =
        sigaltstack(NULL, &with) == 0 && !(with.ss_flags & SS_DISABLE) && with.ss_size >= 16384;
    crash_thread_begin(); /* a second time changes nothing */
    stack_t again;
    ok = ok && sigaltstack(NULL, &again) == 0 && again.ss_sp == with.ss_sp;
    crash_thread_end();
    ok = ok && sigaltstack(NULL, &without) == 0;
    return ok ? arg : NULL;
}

Test(crash, threads_get_and_return_their_stack) {
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        void *got = NULL;
        cr_assert_eq(pthread_create(&thread, NULL, has_a_stack, report), 0);
        cr_assert_eq(pthread_join(thread, &got), 0);
        cr_assert_eq(got, report);
    }
}
