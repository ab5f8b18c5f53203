/* client_impl.h: what the load generators of this folder share: how they connect, give up and end. */
#ifndef BENCH_CLIENT_IMPL_H
#define BENCH_CLIENT_IMPL_H

#include <signal.h>
#include <stdint.h>

/* Set by SIGTERM, once client_ends_on_term was called: a run ends early, and tells what it has. */
extern volatile sig_atomic_t client_stopping;
void client_ends_on_term(void);
/* client_die: tells why on stderr, after the program's name, and exits with 1. */
__attribute__((noreturn, format(printf, 1, 2))) void client_die(const char *format, ...);
/* client_connect: a socket to a server on this machine that sends at once; blocking. */
int client_connect(long port);
/* client_watch: poll tells of the events by `what`. */
void client_watch(int poll, int fd, uint32_t events, void *what);

#endif
