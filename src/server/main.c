/* main.c: wires everything, owns nothing else: options, log, sockets, shards, signals. */
#include "anax/admin.h"
#include "anax/command.h"
#include "anax/config.h"
#include "anax/net.h"
#include "anax/persistence.h"
#include "server_impl.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DAEMON_PIDFILE "/var/run/anax.pid"

static struct config config;
static struct net_shared shared = {.config = &config};
static enum config_supervised supervisor;
static atomic_bool refused;      /* the dataset could not be loaded */
static struct shard_hooks hooks; /* net's, and what every shard's thread needs */

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

static void version(void) {
    symbols_load();
    (void)printf("anax %s malloc=%s bits=%zu build=%s\n", ANAX_VERSION, mem_allocator(),
                 sizeof(void *) * 8, symbols_build_id());
}

static unsigned cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > SHARDS_MAX ? SHARDS_MAX : (unsigned)n;
}

static void say_epoll_takes_over(const char *why) {
    char remedy[CHECK_LINE_MAX];
    check_io_uring("", check_io_uring_error(), remedy, sizeof remedy);
    LOGW("io_uring cannot be used (%s); epoll takes over%s%s", why, *remedy ? ". Remedy: " : "",
         remedy);
}

/* create_shards: with io auto, epoll takes over where io_uring cannot be had. */
static enum err create_shards(struct shards **out, struct shards_config *c) {
    const char *why = "";
    c->io = config.io == CONFIG_IO_EPOLL ? LOOP_EPOLL : LOOP_URING;
    enum err e = shards_create(out, c, &why);
    if (e == ERR_UNSUPPORTED && config.io == CONFIG_IO_AUTO) {
        say_epoll_takes_over(why);
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
    LOGN("anax %s, port %ld, %u shard%s, io %s, %s %s, pid %d", ANAX_VERSION, (long)config.port,
         shards_count(all), shards_count(all) == 1 ? "" : "s", loop_kind_name(first->loop),
         os.sysname, os.release, (int)getpid());
}

static void say_check(void *arg, const char *line) {
    (void)arg;
    LOGW("%s", line);
}

/* loaded: the dataset is there, or cannot be had; on shard 0. */
static void loaded(struct shard *s, bool all_well) {
    if (all_well) {
        LOGN("Ready to accept connections");
        process_ready(supervisor);
        return;
    }
    atomic_store(&refused, true);
    shards_stop(s->all);
}

static enum err shard_start(struct shard *s) {
    shard_claim();
    crash_thread_begin();
    enum err e = net_hooks.start(s);
    if (e == OK)
        e = persistence_start(s);
    if (e == OK && s->id == shards_count(s->all) - 1) /* they start one after the other */
        load_at_start(s, loaded);
    return e;
}

static void shard_turn_end(struct shard *s) {
    shard_claim();
    net_hooks.turn_end(s);
    persistence_turn_end(s);
}

static void shard_stopping(struct shard *s) {
    shard_claim();
    net_hooks.stopping(s);
    persistence_stopping(s);
}

static bool shard_idle(struct shard *s) {
    shard_claim();
    return net_hooks.idle(s) && persistence_idle(s);
}

static void shard_stop(struct shard *s) {
    shard_claim();
    persistence_stop(s);
    net_hooks.stop(s);
    crash_thread_end();
}

/* serve: until the shards have stopped; false when they do not start. */
static bool serve(struct shards *all) {
    if (!process_signals_start(all))
        return false;
    crash_watch(all, &shared);
    bool started = shards_start(all) == OK;
    if (started) {
        const struct loop *l = shards_get(all, 0)->loop;
        LOGV("io %s: %s", loop_kind_name(l), loop_features(l));
        shards_join(all);
        process_stopping();
    }
    /* The thread that waits for signals must not touch shards that are gone. */
    process_signals_stop();
    crash_watch(NULL, NULL);
    return started && !atomic_load(&refused);
}

static int run(void) {
    static int cpus[SHARDS_MAX];
    struct shards_config c = {.count = config.shards != 0 ? (unsigned)config.shards : cores(),
                              .databases = (unsigned)config.databases,
                              .borrow = config.shard_borrow,
                              .huge_pages = !config.disable_thp,
                              .hooks = &hooks,
                              .arg = &shared};
    if (config_cpus(&config, cpus, c.count))
        c.cpus = cpus;
    checks_run("", &config, c.count, say_check, NULL);
    struct shards *all;
    if (net_listen(&shared) != OK)
        return 1;
    if (create_shards(&all, &c) != OK) {
        net_close_listeners(&shared);
        return 1;
    }
    say_hello(all);
    /* Not before the sockets are ours: another server may be running, and this is its pid file. */
    if (config.pidfile[0] != '\0')
        process_write_pidfile(config.pidfile);
    bool served = serve(all);
    int64_t lost = shards_destroy(all);
    if (lost != 0)
        LOGW("%ld bytes of memory were lost, or charged to the wrong shard", (long)lost);
    net_close_listeners(&shared);
    if (config.unixsocket[0] != '\0')
        (void)unlink(config.unixsocket);
    process_remove_pidfile();
    LOGN("bye");
    return served ? 0 : 1;
}

static void register_commands(void) {
    command_register_families();
    client_register();
    admin_register();
    persistence_register();
}

static bool parse_options(int argc, char **argv) {
    struct config_error e;
    config_defaults(&config);
    if (config_parse_args(&config, argc, argv, &e))
        return true;
    (void)fprintf(stderr, "anax: %s\n", e.text);
    return false;
}

static bool open_log(void) {
    if (config.syslog)
        log_to_syslog(config.syslog_ident, config.syslog_facility);
    log_set_level((enum log_level)config.loglevel);
    if (log_open(config.logfile) == OK)
        return true;
    (void)fprintf(stderr, "anax: --logfile '%s': %s\n", config.logfile, strerror(errno));
    return false;
}

/* set_up: the process, before any thread and any shard. */
static void set_up(void) {
    process_block_signals();
    symbols_load();
    if (config.crash_log)
        crash_install();
    crash_thread_begin();
    (void)pthread_setname_np(pthread_self(), "anax");
    title_set(&config);
    config_on_change(title_set);
    if (config.disable_thp) /* whatever the system prefers */
        (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    process_raise_descriptors(&config);
    config_log_unused(&config);
    clock_calibrate();
    hooks = net_hooks;
    hooks.start = shard_start;
    hooks.turn_end = shard_turn_end;
    hooks.stopping = shard_stopping;
    hooks.idle = shard_idle;
    hooks.stop = shard_stop;
}

int main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)) {
        version();
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        usage();
        return 0;
    }
    if (!parse_options(argc, argv))
        return 1;
    title_init(argc, argv);
    enum config_supervised by = process_supervisor(config.supervised);
    /* A supervisor wants the process that it has started. */
    bool daemon = config.daemonize && by == CONFIG_SUPERVISED_NO;
    if (daemon && config.pidfile[0] == '\0')
        memcpy(config.pidfile, DAEMON_PIDFILE, sizeof DAEMON_PIDFILE);
    if (daemon)
        process_daemonize();
    if (!open_log())
        return 1;
    process_say_unsupervised(config.supervised, by);
    set_up();
    if (hash_seed(NULL) != OK) {
        LOGW("cannot start: no entropy");
        return 1;
    }
    register_commands();
    supervisor = by;
    return run();
}
