/* admin.h: what an operator asks of the server: INFO, CONFIG, and others.
 *
 * Threads     handlers run as all handlers do. admin_register: before any shard starts.
 */
#ifndef ANAX_ADMIN_H
#define ANAX_ADMIN_H

void admin_register(void);

#endif
