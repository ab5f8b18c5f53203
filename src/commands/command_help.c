/* command_help.c: HELP of containers, told from the rows of their subcommands.
 *
 * A subcommand has a line with its arguments, and an indented one with its summary. A group of
 * arguments that would make the line long is only named there, and listed below:
 *
 *     KILL <filter> [<filter> ...]
 *         Closes connections.
 *         <filter> is one of:
 *         * ID <client-id>
 *         * USER <username>
 */
#include "command_info_impl.h"
#include "command_syntax_impl.h"

enum { GROUP_BYTES_MAX = 80 }; /* of a syntax: what is longer is listed below */

struct help {
    struct outbuf line, text; /* the line that is being written; lines as replies */
    struct reply reply;       /* to text */
    size_t lines;
};

static void add(struct help *h, struct span s) {
    outbuf_add(&h->line, s.ptr, s.len);
}

static void add_cstr(struct help *h, const char *s) {
    add(h, command_span(s));
}

static void end_line(struct help *h) {
    outbuf_add(&h->line, "", 1);
    if (h->line.failed)
        return;
    reply_status(&h->reply, h->line.buf);
    h->line.len = 0;
    h->lines++;
}

static void add_line(struct help *h, const char *indent, const char *s) {
    add_cstr(h, indent);
    add_cstr(h, s);
    end_line(h);
}

/* --- arguments --- */

static bool is_group(const struct syntax_arg *a) {
    return a->type == SYNTAX_ONEOF || a->type == SYNTAX_BLOCK;
}

static bool is_listed(const struct syntax_arg *a) {
    return is_group(a) && a->body.len > GROUP_BYTES_MAX;
}

static void add_args(struct help *h, struct span syntax, char separator);

static void add_group(struct help *h, const struct syntax_arg *a) {
    /* An optional choice has its brackets already: [A|B], but [TYPE (A|B)]. */
    bool enclosed = a->type == SYNTAX_ONEOF && (!a->optional || a->token.len > 0 || a->multiple);
    add_cstr(h, enclosed ? "(" : "");
    add_args(h, a->body, command_syntax_separator(a));
    add_cstr(h, enclosed ? ")" : "");
}

static void add_value(struct help *h, const struct syntax_arg *a) {
    if (is_group(a) && !is_listed(a)) {
        add_group(h, a);
    } else if (a->type != SYNTAX_PURE_TOKEN) {
        add_cstr(h, "<");
        add(h, a->shown);
        add_cstr(h, ">");
    }
}

static void add_token(struct help *h, const struct syntax_arg *a) {
    add(h, a->token);
    if (a->token.len > 0 && a->type != SYNTAX_PURE_TOKEN)
        add_cstr(h, " ");
}

/* add_arg: <arg>, [<arg>], <arg> [<arg> ...] or [<arg> ...], each with its token. */
static void add_arg(struct help *h, const struct syntax_arg *a) {
    bool again = a->multiple && (!a->optional || a->token.len > 0);
    add_cstr(h, a->optional ? "[" : "");
    add_token(h, a);
    add_value(h, a);
    if (again) {
        add_cstr(h, " [");
        if (a->multiple_token)
            add_token(h, a);
        add_value(h, a);
        add_cstr(h, " ...]");
    } else if (a->multiple) {
        add_cstr(h, " ...");
    }
    add_cstr(h, a->optional ? "]" : "");
}

static void add_args(struct help *h, struct span syntax, char separator) {
    struct syntax_arg a;
    for (bool first = true; command_syntax_next(&syntax, separator, &a); first = false) {
        if (!first)
            add(h, (struct span){&separator, 1});
        add_arg(h, &a);
    }
}

/* list_groups: what the lines above only named. */
static void list_groups(struct help *h, struct span syntax, char separator) {
    struct syntax_arg a, member;
    while (command_syntax_next(&syntax, separator, &a)) {
        if (!is_listed(&a))
            continue;
        add_cstr(h, "    <");
        add(h, a.shown);
        add_line(h, "", a.type == SYNTAX_ONEOF ? "> is one of:" : "> is, in this order:");
        struct span body = a.body;
        while (command_syntax_next(&body, command_syntax_separator(&a), &member)) {
            add_cstr(h, "    * ");
            add_arg(h, &member);
            end_line(h);
        }
        list_groups(h, a.body, command_syntax_separator(&a));
    }
}

/* --- subcommands --- */

static void add_subcommand(struct help *h, const struct command *sub) {
    struct span syntax = command_span(sub->syntax);
    add_cstr(h, strchr(sub->name, '|') + 1);
    add_cstr(h, syntax.len > 0 ? " " : "");
    add_args(h, syntax, ' ');
    end_line(h);
    add_line(h, "    ", sub->summary);
    list_groups(h, syntax, ' ');
}

static void add_container(struct help *h, const struct command *container,
                          const struct command *help) {
    const struct command *row = NULL;
    add_line(h, container->name, " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    if (container->arity == -1) { /* it does something without a subcommand */
        add_line(h, "", "(no subcommand)");
        add_line(h, "    ", container->summary);
    }
    while ((row = command_next(container, row)) != NULL) {
        if (row != help)
            add_subcommand(h, row);
    }
    add_subcommand(h, help);
}

void command_help_run(struct ctx *c) {
    struct help h = {.reply = c->reply};
    outbuf_init(&h.line, &c->shard->mem);
    outbuf_init(&h.text, &c->shard->mem);
    h.reply.out = &h.text;
    add_container(&h, command_at(c->cmd->parent), c->cmd);
    if (h.line.failed || h.text.failed) {
        ctx_oom(c);
    } else {
        reply_array(&c->reply, h.lines);
        outbuf_add(c->reply.out, h.text.buf, h.text.len);
    }
    outbuf_deinit(&h.line);
    outbuf_deinit(&h.text);
}
