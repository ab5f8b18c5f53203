/* command_info_impl.h: what the parts of COMMAND share: command_info.c, command_docs.c,
 * command_list.c and command_help.c. */
#ifndef COMMAND_INFO_IMPL_H
#define COMMAND_INFO_IMPL_H

#include "ctx_impl.h"

/* command_next: the subcommand of a container behind `row`, in the order of registration; with NULL
 * for the container, the command that is no subcommand. Begins with NULL, ends with NULL. */
const struct command *command_next(const struct command *container, const struct command *row);
/* command_count_next: how many command_next finds. */
size_t command_count_next(const struct command *container);

/* command_reply_name: as clients see it, a bulk string. */
void command_reply_name(struct reply *r, const struct command *cmd);

/* command_acl_bit: "string" is ACL_STRING; 0 for no category. */
uint32_t command_acl_bit(struct span category);

static inline struct span command_span(const char *s) {
    return s == NULL ? SPAN("") : (struct span){s, strlen(s)};
}

/* command_key_specs: how many specifications of keys COMMAND INFO tells: of the first key, of those behind it when they
 * differ, and of those that no position tells. */
size_t command_key_specs(const struct command *cmd);
/* command_unknown_keys: the part of key_access that is about keys which no position tells, from its first ";?" on, or
 * NULL. */
const char *command_unknown_keys(const struct command *cmd);

void command_docs_run(struct ctx *c);
void command_list_run(struct ctx *c);

#endif
