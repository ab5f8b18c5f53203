/* command_docs.c: COMMAND DOCS: what redis-cli's help and hints, and other tools, are told. The
 * arguments come from a row's `syntax`, whose grammar command_syntax_impl.h describes. */
#include "command_info_impl.h"
#include "command_syntax_impl.h"
#include <ctype.h>

static void reply_field(struct reply *r, const char *name, const char *text) {
    if (text == NULL)
        return;
    reply_bulk_cstr(r, name);
    reply_bulk_cstr(r, text);
}

static void reply_span_field(struct reply *r, const char *name, struct span text) {
    reply_bulk_cstr(r, name);
    reply_bulk(r, text);
}

/* --- arguments --- */

/* Which specification of keys the next key belongs to: the first key may have its own. */
struct keys_told {
    size_t specs, told;
    bool
        last_next; /* the next one is of the last specification: those between are of no argument */
};

/* reply_arg_name: a lone token's name is its lower case. */
static void reply_arg_name(struct reply *r, const char *field, struct span name) {
    char lower[64];
    size_t len = name.len < sizeof(lower) ? name.len : sizeof(lower);
    for (size_t i = 0; i < len; i++)
        lower[i] = (char)tolower((unsigned char)name.ptr[i]);
    reply_span_field(r, field, (struct span){lower, len});
}

static void reply_arg_flags(struct reply *r, const struct syntax_arg *a) {
    reply_bulk_cstr(r, "flags");
    reply_set(r, (size_t)a->optional + a->multiple + a->multiple_token);
    if (a->optional)
        reply_status(r, "optional");
    if (a->multiple)
        reply_status(r, "multiple");
    if (a->multiple_token)
        reply_status(r, "multiple_token");
}

static void reply_args(struct reply *r, struct span syntax, char separator, struct keys_told *k);

static void reply_arg(struct reply *r, const struct syntax_arg *a, struct keys_told *k) {
    bool flags = a->optional || a->multiple;
    bool group = a->type == SYNTAX_ONEOF || a->type == SYNTAX_BLOCK;
    bool spec = a->type == SYNTAX_KEY && k->specs > 0;
    reply_map(r, 3 + (size_t)spec + (a->token.len > 0) + flags); /* group: shown or arguments */
    reply_arg_name(r, "name", a->name);
    reply_bulk_cstr(r, "type");
    reply_bulk_cstr(r, command_syntax_types[a->type]);
    if (!group)
        reply_arg_name(r, "display_text", a->shown);
    if (spec) {
        reply_bulk_cstr(r, "key_spec_index");
        reply_int(r, (int64_t)k->told);
        k->told = !k->last_next && k->told + 1 < k->specs ? k->told + 1 : k->specs - 1;
    }
    if (a->token.len > 0)
        reply_span_field(r, "token", a->token);
    if (flags)
        reply_arg_flags(r, a);
    if (group) {
        reply_bulk_cstr(r, "arguments");
        reply_args(r, a->body, command_syntax_separator(a), k);
    }
}

static void reply_args(struct reply *r, struct span syntax, char separator, struct keys_told *k) {
    struct syntax_arg a;
    reply_array(r, command_syntax_count(syntax, separator));
    while (command_syntax_next(&syntax, separator, &a))
        reply_arg(r, &a, k);
}

/* --- commands --- */

static void reply_doc_flags(struct reply *r, bool system, bool deprecated) {
    reply_bulk_cstr(r, "doc_flags");
    reply_set(r, (size_t)system + deprecated);
    if (system)
        reply_status(r, "syscmd");
    if (deprecated)
        reply_status(r, "deprecated");
}

static void reply_docs(struct reply *r, const struct command *cmd) {
    bool system = (cmd->flags & CMD_SYSTEM) != 0, deprecated = cmd->deprecated_since != NULL;
    bool container = (cmd->flags & CMD_CONTAINER) != 0;
    command_reply_name(r, cmd);
    reply_map(r, (size_t)(cmd->summary != NULL) + (cmd->since != NULL) + (cmd->group != NULL) +
                     (cmd->complexity != NULL) + (system || deprecated) + deprecated +
                     (cmd->replaced_by != NULL) + (cmd->syntax != NULL) + container);
    reply_field(r, "summary", cmd->summary);
    reply_field(r, "since", cmd->since);
    reply_field(r, "group", cmd->group);
    reply_field(r, "complexity", cmd->complexity);
    if (system || deprecated)
        reply_doc_flags(r, system, deprecated);
    reply_field(r, "deprecated_since", cmd->deprecated_since);
    reply_field(r, "replaced_by", cmd->replaced_by);
    if (cmd->syntax != NULL) {
        struct keys_told told = {.specs = command_key_specs(cmd),
                                 .last_next = command_unknown_keys(cmd) != NULL};
        reply_bulk_cstr(r, "arguments");
        reply_args(r, command_span(cmd->syntax), ' ', &told);
    }
    if (!container)
        return;
    reply_bulk_cstr(r, "subcommands");
    reply_map(r, command_count_next(cmd));
    for (const struct command *row = NULL; (row = command_next(cmd, row)) != NULL;)
        reply_docs(r, row);
}

void command_docs_run(struct ctx *c) {
    const struct command *row = NULL;
    if (c->argc == 2) {
        reply_map(&c->reply, command_count_next(NULL));
        while ((row = command_next(NULL, row)) != NULL)
            reply_docs(&c->reply, row);
        return;
    }
    size_t known = 0;
    for (uint32_t i = 2; i < c->argc; i++)
        known += command_find_any(c->argv[i]) != NULL;
    reply_map(&c->reply, known);
    for (uint32_t i = 2; i < c->argc; i++) {
        if ((row = command_find_any(c->argv[i])) != NULL)
            reply_docs(&c->reply, row);
    }
}
