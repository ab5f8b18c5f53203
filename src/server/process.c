/* process.c: what init systems, shells and operators see of the process. */
#include "anax/persistence.h"
#include "server_impl.h"
#include "shards/log.h"
#include "shards/shard.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int parent = -1; /* the pipe to it, until it was told */
static char pidfile[CONFIG_TEXT_MAX + 1];
static atomic_bool notify; /* systemd wants to know what comes */
static atomic_bool ended;  /* the shards have stopped */
static pthread_t signal_thread;

/* --- daemon --- */

/* wait_for_child: never returns. */
static _Noreturn void wait_for_child(pid_t child, int from_child) {
    char ready;
    ssize_t n;
    do
        n = read(from_child, &ready, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(0);
    int status = 0;
    if (waitpid(child, &status, 0) == child && WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    _exit(1);
}

void process_daemonize(void) {
    int ends[2];
    pid_t child = -1;
    if (pipe2(ends, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0) {
        (void)fprintf(stderr, "anax: daemonize: %s\n", strerror(errno));
        exit(1);
    }
    if (child > 0) {
        (void)close(ends[1]);
        wait_for_child(child, ends[0]);
    }
    (void)close(ends[0]);
    parent = ends[1];
    (void)setsid();
}

/* release_parent: until now the terminal was still there for what goes wrong at start. */
static void release_parent(void) {
    if (parent < 0)
        return;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDIN_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        if (fd > STDERR_FILENO)
            (void)close(fd);
    }
    if (write(parent, "", 1) != 1)
        LOGV("daemonize: nobody waits for this process to be ready");
    (void)close(parent);
    parent = -1;
}

/* --- pid file --- */

void process_write_pidfile(const char *path) {
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        LOGW("pidfile %s: %s", path, strerror(errno));
        return;
    }
    bool written = fprintf(f, "%d\n", (int)getpid()) > 0;
    if (fclose(f) != 0 || !written)
        LOGW("pidfile %s: %s", path, strerror(errno));
    (void)snprintf(pidfile, sizeof pidfile, "%s", path);
}

void process_remove_pidfile(void) {
    if (pidfile[0] != '\0')
        (void)unlink(pidfile);
}

/* --- supervision --- */

enum config_supervised process_supervisor(int asked) {
    bool any = asked == CONFIG_SUPERVISED_AUTO;
    if ((any || asked == CONFIG_SUPERVISED_UPSTART) && getenv("UPSTART_JOB") != NULL)
        return CONFIG_SUPERVISED_UPSTART;
    if ((any || asked == CONFIG_SUPERVISED_SYSTEMD) && getenv("NOTIFY_SOCKET") != NULL)
        return CONFIG_SUPERVISED_SYSTEMD;
    return CONFIG_SUPERVISED_NO;
}

void process_say_unsupervised(int asked, enum config_supervised by) {
    if (by != CONFIG_SUPERVISED_NO)
        return;
    if (asked == CONFIG_SUPERVISED_UPSTART)
        LOGW("supervised is upstart, but UPSTART_JOB is not set: upstart has not started this");
    if (asked == CONFIG_SUPERVISED_SYSTEMD)
        LOGW(
            "supervised is systemd, but NOTIFY_SOCKET is not set: Type=notify in the unit sets it");
}

/* tell_systemd: one datagram of lines NAME=value to NOTIFY_SOCKET, which is a path, or with an @ for its
 * zero byte a name in the abstract namespace (sd_notify(3) describes the protocol). */
static void tell_systemd(const char *lines) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = path == NULL ? 0 : strlen(path);
    if (len < 2 || len > sizeof to.sun_path || (path[0] != '/' && path[0] != '@')) {
        LOGW("systemd: NOTIFY_SOCKET is not the name of a Unix socket");
        return;
    }
    memcpy(to.sun_path, path, len);
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (struct sockaddr *)&to, to_len) < 0)
        LOGW("systemd: NOTIFY_SOCKET %s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

void process_ready(enum config_supervised by) {
    release_parent();
    if (by == CONFIG_SUPERVISED_SYSTEMD) {
        atomic_store(&notify, true);
        tell_systemd("READY=1\nSTATUS=Ready to accept connections\n");
    } else if (by == CONFIG_SUPERVISED_UPSTART) {
        LOGN("supervised by upstart: stopping until it lets this process go on");
        (void)raise(SIGSTOP);
    }
}

void process_stopping(void) {
    if (atomic_exchange(&notify, false))
        tell_systemd("STOPPING=1\nSTATUS=Shutting down\n");
}

/* --- descriptors --- */

void process_raise_descriptors(struct config *c) {
    int64_t room = config_client_room(c->maxclients);
    if (room == c->maxclients)
        return;
    c->maxclients = room > 1 ? room : 1;
    LOGW("maxclients is %ld: the system allows no more open files; raise it with ulimit -n",
         (long)c->maxclients);
}

/* --- signals --- */

/* signal_set: those the waiting thread takes; SIGUSR1 only tells it to look at `ended`. */
static sigset_t signal_set(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    return set;
}

static void reopen_log(void) {
    if (log_reopen() == OK)
        LOGN("Received SIGHUP, the log goes on in the file at its path");
    else
        LOGW("Received SIGHUP, but the log cannot be reopened: %s", strerror(errno));
}

/* stop_or_leave: the first signal stops the shards in order; SIGINT while they do is somebody at a terminal
 * who does not want to wait. */
static void stop_or_leave(struct shards *all, int signal) {
    const char *name = signal == SIGINT ? "SIGINT" : "SIGTERM";
    bool stopping = persistence_terminating();
    if (stopping && signal == SIGINT) {
        LOGW("Received %s again, exiting at once", name);
        process_remove_pidfile();
        _exit(1);
    }
    if (stopping)
        return;
    LOGN("Received %s, shutting down", name);
    process_stopping();
    persistence_terminate(all);
}

/* wait_for_signal: SHUTDOWN stops the shards by itself. */
static void *wait_for_signal(void *arg) {
    const sigset_t set = signal_set();
    int signal;
    crash_thread_begin();
    while (!atomic_load(&ended) && sigwait(&set, &signal) == 0) {
        if (signal == SIGHUP)
            reopen_log();
        else if (signal != SIGUSR1)
            stop_or_leave(arg, signal);
    }
    crash_thread_end();
    return NULL;
}

void process_block_signals(void) {
    const sigset_t set = signal_set();
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error of the write */
}

bool process_signals_start(struct shards *all) {
    int failed = pthread_create(&signal_thread, NULL, wait_for_signal, all);
    if (failed) {
        LOGW("no thread for signals: %s", strerror(failed));
        return false;
    }
    (void)pthread_setname_np(signal_thread, "signals");
    return true;
}

void process_signals_stop(void) {
    atomic_store(&ended, true);
    (void)pthread_kill(signal_thread, SIGUSR1);
    (void)pthread_join(signal_thread, NULL);
}
