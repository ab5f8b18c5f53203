/* server_impl.h: shared by the files of this room.
 *
 *   main.c      the wiring                               process.c   what init systems and shells see
 *   checks.c    what of the system will hurt             title.c     what ps shows
 *   crash.c     the report of a crash                    symbols.c   names for addresses
 */
#ifndef SERVER_IMPL_H
#define SERVER_IMPL_H

#include "anax/config.h"
#include "shards/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct net_shared;
struct shards;

/* --- process.c: daemon, pid file, supervision, descriptors, signals. The main thread's, unless it says
 * otherwise --- */

/* process_supervisor: who is there of those that the option `supervised` asks for. */
enum config_supervised process_supervisor(int asked);
/* process_say_unsupervised: to the log, when somebody was named who is not there. */
void process_say_unsupervised(int asked, enum config_supervised by);
/* process_daemonize: returns in the child, which has a session of its own. The parent lives until
 * process_ready, then exits with 0, or until the child has ended, then with its exit code. */
void process_daemonize(void);
/* process_write_pidfile: removed by process_remove_pidfile, from any thread. */
void process_write_pidfile(const char *path);
void process_remove_pidfile(void);
/* process_raise_descriptors: room for maxclients; where the system refuses, maxclients comes down to what
 * there is. */
void process_raise_descriptors(struct config *c);
/* process_block_signals: before other threads start; only process_signals_start's thread gets them. */
void process_block_signals(void);
/* process_signals_start, process_signals_stop: the thread that waits for signals, while there are shards. */
MUST_CHECK bool process_signals_start(struct shards *all);
void process_signals_stop(void);
/* process_ready: the server listens; supervisor and daemon's parent are told. process_stopping: it will not
 * for much longer; any thread. */
void process_ready(enum config_supervised by);
void process_stopping(void);

/* --- title.c --- */

/* title_init: before anything keeps a pointer into argv or the environment; takes over their memory. */
void title_init(int argc, char **argv);
/* title_set: from the configuration, unless set-proc-title is off. One thread at a time. */
void title_set(const struct config *c);

/* --- checks.c --- */

enum { CHECK_LINE_MAX = 512 };
typedef void check_say_fn(void *arg, const char *line);
/* checks_run: says, in a line each with the remedy, what of this system will hurt a server with these
 * options and so many shards. `root` comes before "/proc" and "/sys": "", or a test's folder. */
void checks_run(const char *root, const struct config *c, unsigned shards, check_say_fn *say,
                void *arg);
/* check_io_uring: what to do about an io_uring_setup that failed with `error`; "" when nothing is known. */
void check_io_uring(const char *root, int error, char *line, size_t size);
/* check_io_uring_error: the errno of io_uring_setup on this system, or 0. */
int check_io_uring_error(void);

/* --- crash.c --- */

/* crash_install: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, from outside or within, write a report to the
 * log and then do what they would have done. */
void crash_install(void);
/* crash_thread_begin, crash_thread_end: a stack of its own for a thread's report, so that it can report the
 * overflow of its stack. */
void crash_thread_begin(void);
void crash_thread_end(void);
/* crash_watch: the shards that a report tells of; NULL when they go. */
void crash_watch(struct shards *all, const struct net_shared *net);

/* --- symbols.c --- */

enum { SYMBOL_NAME_MAX = 96, SYMBOL_MODULE_MAX = 48 };
struct symbol {
    char module[SYMBOL_MODULE_MAX]; /* file name; "" when the address lies in none */
    char name[SYMBOL_NAME_MAX];     /* of the function; "" when it is not known */
    uint64_t name_offset;           /* behind its beginning */
    uint64_t offset;                /* of the address in the module's file, for addr2line */
    bool own;                       /* the module is this program */
};
/* symbols_load: remembers where the program and its libraries are. Before threads. */
void symbols_load(void);
/* symbols_open: reads this program's own table of functions; async-signal-safe. */
void symbols_open(void);
/* symbols_find: async-signal-safe; names only after symbols_open, and only of this program. */
struct symbol symbols_find(uint64_t address);
/* symbols_build_id: hex digits of this program's, "" when it has none; after symbols_load. */
const char *symbols_build_id(void);

#endif
