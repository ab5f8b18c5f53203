/* command_info.c: COMMAND: what commands there are, told from their rows as Redis 7 tells it. */
#include "anax/glob.h"
#include "ctx_impl.h"

struct bit_name {
    uint32_t bit;
    const char *name;
};

static const struct bit_name flag_names[] = {
    {CMD_WRITE, "write"},
    {CMD_READ, "readonly"},
    {CMD_DENY_OOM, "denyoom"},
    {CMD_ADMIN, "admin"},
    {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"},
    {CMD_LOADING, "loading"},
    {CMD_STALE, "stale"},
    {CMD_FAST, "fast"},
    {CMD_NO_AUTH, "no_auth"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_ALLOW_BUSY, "allow_busy"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
};

static const struct bit_name acl_names[] = {
    {ACL_KEYSPACE, "@keyspace"},
    {ACL_READ, "@read"},
    {ACL_WRITE, "@write"},
    {ACL_STRING, "@string"},
    {ACL_BITMAP, "@bitmap"},
    {ACL_ADMIN, "@admin"},
    {ACL_FAST, "@fast"},
    {ACL_SLOW, "@slow"},
    {ACL_BLOCKING, "@blocking"},
    {ACL_DANGEROUS, "@dangerous"},
    {ACL_CONNECTION, "@connection"},
};

static void reply_names(struct reply *r, uint32_t bits, const struct bit_name *names, size_t n) {
    size_t set = 0;
    for (size_t i = 0; i < n; i++)
        set += (bits & names[i].bit) != 0;
    reply_set(r, set);
    for (size_t i = 0; i < n; i++) {
        if (bits & names[i].bit)
            reply_status(r, names[i].name);
    }
}

static void reply_name(struct reply *r, const struct command *cmd) {
    char name[COMMAND_NAME_MAX + 1];
    command_name_lower(cmd, name);
    reply_bulk_cstr(r, name);
}

/* next_word: words are separated by one space; false at the end. */
static bool next_word(struct span *rest, struct span *word) {
    if (rest->len == 0)
        return false;
    const char *space = memchr(rest->ptr, ' ', rest->len);
    size_t len = space == NULL ? rest->len : (size_t)(space - rest->ptr);
    *word = (struct span){rest->ptr, len};
    size_t used = space == NULL ? len : len + 1;
    *rest = (struct span){rest->ptr + used, rest->len - used};
    return true;
}

/* reply_words: a set of the words, as bulk strings or as statuses. */
static void reply_words(struct reply *r, struct span words, bool as_status) {
    struct span rest = words, word;
    size_t n = 0;
    while (next_word(&rest, &word))
        n++;
    reply_set(r, n);
    while (next_word(&words, &word)) {
        char text[32];
        if (!as_status) {
            reply_bulk(r, word);
        } else if (word.len < sizeof(text)) {
            memcpy(text, word.ptr, word.len);
            text[word.len] = '\0';
            reply_status(r, text);
        }
    }
}

static struct span span_of(const char *s) {
    return s == NULL ? SPAN("") : (struct span){s, strlen(s)};
}

/* access_of: what is done to the first key (rest false) or to those behind it. */
static struct span access_of(const struct command *cmd, bool rest) {
    struct span all = span_of(cmd->key_access);
    const char *cut = memchr(all.ptr, ';', all.len);
    if (cut == NULL)
        return all;
    size_t len = (size_t)(cut - all.ptr);
    return rest ? (struct span){cut + 1, all.len - len - 1} : (struct span){all.ptr, len};
}

/* --- key specifications --- */

static void reply_typed(struct reply *r, const char *name, const char *type, size_t pairs) {
    reply_bulk_cstr(r, name);
    reply_map(r, 2);
    reply_bulk_cstr(r, "type");
    reply_bulk_cstr(r, type);
    reply_bulk_cstr(r, "spec");
    reply_map(r, pairs);
}

static void reply_pair(struct reply *r, const char *name, int64_t v) {
    reply_bulk_cstr(r, name);
    reply_int(r, v);
}

static void reply_spec(struct reply *r, struct span access, int first, int last, int step) {
    reply_map(r, 3);
    reply_bulk_cstr(r, "flags");
    reply_words(r, access, true);
    reply_typed(r, "begin_search", "index", 1);
    reply_pair(r, "index", first);
    reply_typed(r, "find_keys", "range", 3);
    reply_pair(r, "lastkey", last);
    reply_pair(r, "keystep", step);
    reply_pair(r, "limit", 0);
}

/* reply_specs: keys that only the arguments tell are left to COMMAND GETKEYS: their specification
 * is "unknown", as Redis has it for such. */
static void reply_specs(struct reply *r, const struct command *cmd) {
    if (cmd->find_keys != NULL) {
        reply_set(r, 1);
        reply_map(r, 3);
        reply_bulk_cstr(r, "flags");
        reply_words(r, access_of(cmd, false), true);
        reply_typed(r, "begin_search", "unknown", 0);
        reply_typed(r, "find_keys", "unknown", 0);
        return;
    }
    struct keys keys = cmd->keys;
    if (keys.first == 0) {
        reply_set(r, 0);
        return;
    }
    bool apart = memchr(span_of(cmd->key_access).ptr, ';', span_of(cmd->key_access).len) != NULL;
    reply_set(r, apart ? 2 : 1);
    if (apart) {
        reply_spec(r, access_of(cmd, false), keys.first, 0, keys.step);
        keys.first = (int8_t)(keys.first + keys.step);
    }
    int last = keys.last < 0 ? (int)keys.last : keys.last - keys.first;
    reply_spec(r, access_of(cmd, true), keys.first, last, keys.step);
}

/* --- COMMAND INFO --- */

static size_t count_subs(const struct command *cmd) {
    size_t n = 0;
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++)
        n += row->parent == cmd->id && row != cmd;
    return n;
}

static bool is_sub(const struct command *cmd) {
    return cmd->parent != cmd->id;
}

static void reply_info(struct reply *r, const struct command *cmd);

static void reply_subs(struct reply *r, const struct command *cmd) {
    size_t subs = count_subs(cmd);
    if (subs == 0) {
        reply_set(r, 0);
        return;
    }
    reply_array(r, subs);
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        if (row->parent == cmd->id && row != cmd)
            reply_info(r, row);
    }
}

/* reply_info: subcommands have none of their own, so this goes one level deep. */
static void reply_info(struct reply *r, const struct command *cmd) {
    reply_array(r, 10);
    reply_name(r, cmd);
    reply_int(r, cmd->arity);
    reply_names(r, cmd->flags, flag_names, COUNT_OF(flag_names));
    reply_int(r, cmd->keys.first);
    reply_int(r, cmd->keys.last);
    reply_int(r, cmd->keys.step);
    reply_names(r, cmd->acl, acl_names, COUNT_OF(acl_names));
    reply_words(r, span_of(cmd->tips), false);
    reply_specs(r, cmd);
    reply_subs(r, cmd);
}

static size_t count_top(void) {
    size_t n = 0;
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++)
        n += !is_sub(row);
    return n;
}

static void reply_all(struct reply *r) {
    reply_array(r, count_top());
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        if (!is_sub(row))
            reply_info(r, row);
    }
}

static void command_run(struct ctx *c) {
    reply_all(&c->reply);
}

static void info_run(struct ctx *c) {
    if (c->argc == 2) {
        reply_all(&c->reply);
        return;
    }
    reply_array(&c->reply, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++) {
        const struct command *cmd = command_find_any(c->argv[i]);
        if (cmd == NULL)
            reply_null(&c->reply);
        else
            reply_info(&c->reply, cmd);
    }
}

static void count_run(struct ctx *c) {
    reply_int(&c->reply, (int64_t)count_top());
}

/* --- COMMAND DOCS --- */

static void reply_doc_field(struct reply *r, const char *name, const char *text) {
    if (text == NULL)
        return;
    reply_bulk_cstr(r, name);
    reply_bulk_cstr(r, text);
}

static void reply_docs(struct reply *r, const struct command *cmd) {
    size_t subs = count_subs(cmd);
    reply_name(r, cmd);
    reply_map(r, (size_t)(cmd->summary != NULL) + (cmd->since != NULL) + (cmd->group != NULL) +
                     (cmd->complexity != NULL) + (subs > 0));
    reply_doc_field(r, "summary", cmd->summary);
    reply_doc_field(r, "since", cmd->since);
    reply_doc_field(r, "group", cmd->group);
    reply_doc_field(r, "complexity", cmd->complexity);
    if (subs == 0)
        return;
    reply_bulk_cstr(r, "subcommands");
    reply_map(r, subs);
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        if (row->parent == cmd->id && row != cmd)
            reply_docs(r, row);
    }
}

static void docs_run(struct ctx *c) {
    const struct command *row;
    if (c->argc == 2) {
        reply_map(&c->reply, count_top());
        for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
            if (!is_sub(row))
                reply_docs(&c->reply, row);
        }
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

/* --- COMMAND LIST --- */

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
    return glob_match(f->pattern, span_of(name), true);
}

static uint32_t acl_bit(struct span category) {
    for (size_t i = 0; i < COUNT_OF(acl_names); i++) {
        if (span_is(category, acl_names[i].name + 1))
            return acl_names[i].bit;
    }
    return 0;
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
        f->acl = acl_bit(c->argv[4]);
    else
        return span_is(c->argv[3], "MODULE");
    return true;
}

static void list_run(struct ctx *c) {
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
            reply_name(&c->reply, row);
    }
}

/* --- COMMAND GETKEYS --- */

/* find_call: the command whose call is argv[2] and on, and its keys; false after having replied
 * why not. */
static bool find_call(struct ctx *c, const struct command **cmd, uint32_t *first, uint32_t *last,
                      uint32_t *step) {
    const struct span *argv = c->argv + 2;
    uint32_t argc = c->argc - 2;
    *cmd = command_find(argv[0]);
    if (*cmd != NULL && (*cmd)->flags & CMD_CONTAINER && argc > 1)
        *cmd = command_find_sub(*cmd, argv[1]);
    if (*cmd == NULL) {
        reply_error(&c->reply, "ERR Invalid command specified");
        return false;
    }
    if ((*cmd)->keys.first == 0 && (*cmd)->find_keys == NULL) {
        reply_error(&c->reply, "ERR The command has no key arguments");
        return false;
    }
    int64_t arity = (*cmd)->arity;
    if (arity >= 0 ? argc != arity : argc < -arity) {
        reply_error(&c->reply, "ERR Invalid number of arguments specified for command");
        return false;
    }
    if (!command_keys(*cmd, argv, argc, first, last, step)) {
        reply_error(&c->reply, "ERR Invalid arguments specified for command");
        return false;
    }
    /* Routing leaves out a last group that is not whole; Redis tells its key. */
    if ((*cmd)->keys.last == -1)
        *last = argc - 1;
    return true;
}

static void getkeys_run(struct ctx *c) {
    const struct command *cmd;
    uint32_t first, last, step;
    if (!find_call(c, &cmd, &first, &last, &step))
        return;
    reply_array(&c->reply, (last - first) / step + 1);
    for (uint32_t i = first; i <= last; i += step)
        reply_bulk(&c->reply, c->argv[2 + i]);
}

static void getkeysandflags_run(struct ctx *c) {
    const struct command *cmd;
    uint32_t first, last, step;
    if (!find_call(c, &cmd, &first, &last, &step))
        return;
    reply_array(&c->reply, (last - first) / step + 1);
    for (uint32_t i = first; i <= last; i += step) {
        reply_array(&c->reply, 2);
        reply_bulk(&c->reply, c->argv[2 + i]);
        reply_words(&c->reply, access_of(cmd, i != first), true);
    }
}

static void help_run(struct ctx *c) {
    static const char *const lines[] = {
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    Return details of all commands.",
        "COUNT",
        "    Return how many commands there are.",
        "DOCS [<command-name> ...]",
        "    Return the documentation of some or all commands.",
        "GETKEYS <full-command>",
        "    Return the keys of a call.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys of a call, and what is done to each.",
        "INFO [<command-name> ...]",
        "    Return details of some or all commands.",
        "LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)]",
        "    Return the names of commands.",
        "HELP",
        "    Print this help.",
    };
    reply_array(&c->reply, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        reply_status(&c->reply, lines[i]);
}

#define COMMAND_FLAGS (CMD_LOADING | CMD_STALE | CMD_HOME)

static const struct command rows[] = {
    {"COMMAND", command_run, -1, NO_KEYS, COMMAND_FLAGS | CMD_CONTAINER, ACL_CONNECTION, "server",
     "2.8.13", "O(N) in the commands", "Returns details of all commands.",
     .tips = "nondeterministic_output_order"},
    {"COMMAND|COUNT", count_run, 2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "2.8.13",
     "O(1)", "Returns how many commands there are.", .tips = NULL},
    {"COMMAND|DOCS", docs_run, -2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "7.0.0",
     "O(N) in the commands", "Returns the documentation of commands.",
     .tips = "nondeterministic_output_order"},
    {"COMMAND|GETKEYS", getkeys_run, -3, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "2.8.13",
     "O(N) in the arguments", "Returns the keys of a call.", .tips = NULL},
    {"COMMAND|GETKEYSANDFLAGS", getkeysandflags_run, -3, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION,
     "server", "7.0.0", "O(N) in the arguments",
     "Returns the keys of a call, and what is done to each.", .tips = NULL},
    {"COMMAND|HELP", help_run, 2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "5.0.0", "O(1)",
     "Returns what COMMAND's subcommands do.", .tips = NULL},
    {"COMMAND|INFO", info_run, -2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "2.8.13",
     "O(N) in the commands", "Returns details of commands.",
     .tips = "nondeterministic_output_order"},
    {"COMMAND|LIST", list_run, -2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "7.0.0",
     "O(N) in the commands", "Returns the names of commands.",
     .tips = "nondeterministic_output_order"},
};

void command_info_register(void) {
    command_register(rows, COUNT_OF(rows));
}
