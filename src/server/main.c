/* main.c: wires everything, owns nothing else: options, log, sockets, shards, signals. */
#include "anax/admin.h"
#include "anax/command.h"
#include "anax/config.h"
#include "anax/net.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { OTHER_DESCRIPTORS = 64 }; /* beside connections: rings, listeners, files */

static struct config config;
static _Atomic bool ended; /* the shards have stopped */
static struct net_shared shared = {.config = &config};

static void usage(void) {
    (void)printf("Usage: anax [/path/to/anax.conf | -] [--option value]...\n"
                 "       anax -v | --version\n"
                 "       anax -h | --help\n"
                 "Options have the names and the syntax of redis.conf, and besides:\n"
                 "  --shards N          threads, each with its part of the keys (0: one per core)\n"
                 "  --shard-cpus LIST   the cores to pin them to, as 0,1 or 0-3\n"
                 "  --shard-borrow yes|no\n"
                 "  --io auto|uring|epoll\n"
                 "Examples:\n"
                 "  anax --port 7777\n"
                 "  anax /etc/anax.conf --loglevel verbose\n");
}

/* raise_descriptors: room for maxclients; where the system refuses, maxclients comes down to what there is. */
static void raise_descriptors(void) {
    struct rlimit limit;
    rlim_t need = (rlim_t)config.maxclients + OTHER_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return;
    limit.rlim_cur = need;
    if (limit.rlim_max < need)
        limit.rlim_max = need;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return;
    int64_t room = (int64_t)limit.rlim_cur - OTHER_DESCRIPTORS;
    config.maxclients = room > 1 ? room : 1;
    LOGW("maxclients is %ld: the system allows %lu open files; raise it with ulimit -n",
         (long)config.maxclients, (unsigned long)limit.rlim_cur);
}

static unsigned cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > SHARDS_MAX ? SHARDS_MAX : (unsigned)n;
}

/* create_shards: with io auto, epoll takes over where io_uring cannot be had. */
static enum err create_shards(struct shards **out, struct shards_config *c) {
    const char *why = "";
    c->io = config.io == CONFIG_IO_EPOLL ? LOOP_EPOLL : LOOP_URING;
    enum err e = shards_create(out, c, &why);
    if (e == ERR_UNSUPPORTED && config.io == CONFIG_IO_AUTO) {
        LOGW("io_uring cannot be used (%s); epoll takes over", why);
        c->io = LOOP_EPOLL;
        e = shards_create(out, c, &why);
    }
    if (e != OK)
        LOGW("cannot start: %s: %s", err_name(e), why);
    return e;
}

static void say_hello(struct shards *all) {
    struct utsname os;
    if (uname(&os) != 0)
        memset(&os, 0, sizeof os);
    const struct shard *first = shards_get(all, 0);
    LOGN("anax %s, port %ld, %u shard%s, io %s (%s), %s %s, pid %d", ANAX_VERSION,
         (long)config.port, shards_count(all), shards_count(all) == 1 ? "" : "s",
         loop_kind_name(first->loop), loop_features(first->loop), os.sysname, os.release,
         (int)getpid());
}

/* daemonize: the parent leaves once the child has a session of its own. */
static void daemonize(void) {
    pid_t pid = fork();
    if (pid < 0) {
        (void)fprintf(stderr, "anax: daemonize: %s\n", strerror(errno));
        exit(1);
    }
    if (pid > 0)
        _exit(0);
    (void)setsid();
    int fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        return;
    (void)dup2(fd, STDIN_FILENO);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    if (fd > STDERR_FILENO)
        (void)close(fd);
}

static void write_pidfile(void) {
    const char *path = config.pidfile;
    if (*path == '\0')
        return;
    FILE *f = fopen(path, "we");
    if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0)
        LOGW("pidfile %s: %s", path, strerror(errno));
    if (f != NULL && fclose(f) != 0)
        LOGW("pidfile %s: %s", path, strerror(errno));
}

/* signal_set: those the waiting thread takes; SIGUSR1 only tells it to look at `ended`. */
static sigset_t signal_set(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGUSR1);
    return set;
}

/* wait_for_signal: what SIGTERM and SIGINT do; SHUTDOWN stops the shards by itself. */
static void *wait_for_signal(void *arg) {
    const sigset_t set = signal_set();
    int signal = SIGUSR1;
    while (signal == SIGUSR1 && !atomic_load(&ended))
        if (sigwait(&set, &signal) != 0)
            return NULL;
    if (signal != SIGUSR1) {
        LOGN("Received %s, shutting down", signal == SIGINT ? "SIGINT" : "SIGTERM");
        shards_stop(arg);
    }
    return NULL;
}

static void block_signals(void) {
    const sigset_t set = signal_set();
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
}

static int run(void) {
    static int cpus[SHARDS_MAX];
    struct shards_config c = {.count = config.shards != 0 ? (unsigned)config.shards : cores(),
                              .databases = (unsigned)config.databases,
                              .borrow = config.shard_borrow,
                              .huge_pages = !config.disable_thp,
                              .hooks = &net_hooks,
                              .arg = &shared};
    if (config_cpus(&config, cpus, c.count))
        c.cpus = cpus;
    struct shards *all;
    pthread_t signals;
    if (net_listen(&shared) != OK)
        return 1;
    if (create_shards(&all, &c) != OK) {
        net_close_listeners(&shared);
        return 1;
    }
    say_hello(all);
    int status = 1;
    if (shards_start(all) == OK && pthread_create(&signals, NULL, wait_for_signal, all) == 0) {
        LOGN("Ready to accept connections");
        shards_join(all);
        /* The thread that waits for signals must not touch shards that are gone. */
        atomic_store(&ended, true);
        (void)pthread_kill(signals, SIGUSR1);
        (void)pthread_join(signals, NULL);
        status = 0;
    }
    shards_destroy(all);
    net_close_listeners(&shared);
    if (config.unixsocket[0] != '\0')
        (void)unlink(config.unixsocket);
    if (config.pidfile[0] != '\0')
        (void)unlink(config.pidfile);
    LOGN("bye");
    return status;
}

static void register_commands(void) {
    string_register();
    bitmap_register();
    generic_register();
    server_register();
    client_register();
    admin_register();
}

static bool parse_options(int argc, char **argv) {
    struct config_error e;
    config_defaults(&config);
    if (config_parse_args(&config, argc, argv, &e))
        return true;
    (void)fprintf(stderr, "anax: %s\n", e.text);
    return false;
}

int main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)) {
        (void)printf("anax %s\n", ANAX_VERSION);
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        usage();
        return 0;
    }
    if (!parse_options(argc, argv))
        return 1;
    if (config.daemonize)
        daemonize();
    if (log_open(config.logfile) != OK) {
        (void)fprintf(stderr, "anax: --logfile '%s': %s\n", config.logfile, strerror(errno));
        return 1;
    }
    log_set_level((enum log_level)config.loglevel);
    block_signals();
    raise_descriptors();
    if (keyspace_seed_hash(NULL) != OK) {
        LOGW("cannot start: no entropy");
        return 1;
    }
    register_commands();
    write_pidfile();
    return run();
}
