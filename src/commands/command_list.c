/* command_list.c: COMMAND LIST: the names of commands. */
#include "anax/glob.h"
#include "command_info_impl.h"

struct filter {
    bool none;
    struct span pattern;
    uint32_t acl;
    bool by_pattern;
};

static bool passes(const struct command *cmd, const struct filter *f) {
    char name[COMMAND_NAME_MAX + 1];
    if (f->none)
        return true;
    if (!f->by_pattern)
        return (cmd->acl & f->acl) != 0;
    command_name_lower(cmd, name);
    return glob_match(f->pattern, command_span(name), true);
}

/* parse_filter: FILTERBY (MODULE name | ACLCAT category | PATTERN pattern). No command is a
 * module's. */
static bool parse_filter(struct ctx *c, struct filter *f) {
    *f = (struct filter){.none = c->argc == 2};
    if (c->argc == 2)
        return true;
    if (c->argc != 5 || !span_is(c->argv[2], "FILTERBY"))
        return false;
    f->by_pattern = span_is(c->argv[3], "PATTERN");
    if (f->by_pattern)
        f->pattern = c->argv[4];
    else if (span_is(c->argv[3], "ACLCAT"))
        f->acl = command_acl_bit(c->argv[4]);
    else
        return span_is(c->argv[3], "MODULE");
    return true;
}

void command_list_run(struct ctx *c) {
    struct filter f;
    if (!parse_filter(c, &f)) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    size_t n = 0;
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++)
        n += passes(row, &f);
    reply_array(&c->reply, n);
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        if (passes(row, &f))
            command_reply_name(&c->reply, row);
    }
}
