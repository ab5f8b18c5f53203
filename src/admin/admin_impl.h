/* admin_impl.h: shared by the files of this room. */
#ifndef ADMIN_IMPL_H
#define ADMIN_IMPL_H

#include "anax/admin.h"
#include <stdint.h>

/* When the process began, and a random name for this run of it: 40 hex digits. */
uint64_t admin_start_ns(void);
const char *admin_run_id(void);
/* A random name for the history of the data: 40 hex digits. */
const char *admin_replication_id(void);

void info_register(void);
void config_cmds_register(void);
void slowlog_register(void);
void latency_register(void);
void debug_register(void);
void memory_register(void);

#endif
