/* persistence.h: snapshots in files, and loading them.
 *
 * Why         the server, net and admin start, ask and stop it without knowing how it works.
 * Threads     as each function says.
 */
#ifndef ANAX_PERSISTENCE_H
#define ANAX_PERSISTENCE_H

#include "anax/command.h"

/* persistence_register: its commands (BGSAVE, DUMP, ...). Before any shard starts. */
void persistence_register(void);

#endif
