/* command_info.c: COMMAND, COMMAND INFO and COMMAND GETKEYS: rows as Redis 7 tells them. */
#include "command_info_impl.h"

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
    {CMD_NO_ASYNC_LOADING, "no_async_loading"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_ALLOW_BUSY, "allow_busy"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
    {CMD_SKIP_MONITOR, "skip_monitor"},
    {CMD_SKIP_SLOWLOG, "skip_slowlog"},
};

static const struct bit_name acl_names[] = {
    {ACL_KEYSPACE, "@keyspace"},
    {ACL_READ, "@read"},
    {ACL_WRITE, "@write"},
    {ACL_SET, "@set"},
    {ACL_SORTEDSET, "@sortedset"},
    {ACL_LIST, "@list"},
    {ACL_HASH, "@hash"},
    {ACL_STRING, "@string"},
    {ACL_BITMAP, "@bitmap"},
    {ACL_ADMIN, "@admin"},
    {ACL_FAST, "@fast"},
    {ACL_SLOW, "@slow"},
    {ACL_BLOCKING, "@blocking"},
    {ACL_DANGEROUS, "@dangerous"},
    {ACL_CONNECTION, "@connection"},
    {ACL_TRANSACTION, "@transaction"},
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

uint32_t command_acl_bit(struct span category) {
    for (size_t i = 0; i < COUNT_OF(acl_names); i++) {
        if (span_is(category, acl_names[i].name + 1))
            return acl_names[i].bit;
    }
    return 0;
}

void command_reply_name(struct reply *r, const struct command *cmd) {
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

const char *command_unknown_keys(const struct command *cmd) {
    return cmd->key_access == NULL ? NULL : strstr(cmd->key_access, ";?");
}

/* access_of: what is done to the first key (rest false) or to those behind it. */
static struct span access_of(const struct command *cmd, bool rest) {
    struct span all = command_span(cmd->key_access);
    const char *unknown = command_unknown_keys(cmd);
    if (unknown != NULL)
        all.len = (size_t)(unknown - all.ptr);
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

/* begin_spec: what is done to the keys, and that they are searched from an argument on. */
static void begin_spec(struct reply *r, struct span access, int from) {
    reply_map(r, 3);
    reply_bulk_cstr(r, "flags");
    reply_words(r, access, true);
    reply_typed(r, "begin_search", "index", 1);
    reply_pair(r, "index", from);
}

static void reply_range(struct reply *r, struct span access, int first, int last, int step) {
    begin_spec(r, access, first);
    reply_typed(r, "find_keys", "range", 3);
    reply_pair(r, "lastkey", last);
    reply_pair(r, "keystep", step);
    reply_pair(r, "limit", 0);
}

/* reply_counted: keys behind the argument that says how many they are. */
static void reply_counted(struct reply *r, const struct command *cmd) {
    begin_spec(r, access_of(cmd, true), cmd->numkeys.at);
    reply_typed(r, "find_keys", "keynum", 3);
    reply_pair(r, "keynumidx", 0);
    reply_pair(r, "firstkey", 1);
    reply_pair(r, "keystep", cmd->numkeys.step);
}

static size_t known_specs(const struct command *cmd) {
    if (cmd->keys.first == 0)
        return cmd->find_keys != NULL;
    struct span access = access_of(cmd, false);
    bool differ =
        access.len != 0 && access.ptr[access.len] == ';' && access.ptr[access.len + 1] != '?';
    return differ || cmd->numkeys.at != 0 ? 2 : 1;
}

static void reply_unknown(struct reply *r, const char *type) {
    reply_bulk_cstr(r, type);
    reply_map(r, 2);
    reply_bulk_cstr(r, "type");
    reply_bulk_cstr(r, "unknown");
    reply_bulk_cstr(r, "spec");
    reply_map(r, 0);
}

/* reply_keyword: of keys behind the word that the note begins with, to the end. */
static void reply_keyword(struct reply *r, struct span note) {
    const char *end = memchr(note.ptr, ' ', note.len);
    size_t len = end == NULL ? note.len : (size_t)(end - note.ptr);
    reply_map(r, 3);
    reply_bulk_cstr(r, "flags");
    reply_words(r, (struct span){note.ptr + len + 1, note.len - len - 1}, true);
    reply_typed(r, "begin_search", "keyword", 2);
    reply_bulk_cstr(r, "keyword");
    reply_bulk(r, (struct span){note.ptr, len});
    reply_pair(r, "startfrom", -2);
    reply_typed(r, "find_keys", "range", 3);
    reply_pair(r, "lastkey", -1);
    reply_pair(r, "keystep", 1);
    reply_pair(r, "limit", 0);
}

static void reply_unknown_specs(struct reply *r, const struct command *cmd) {
    for (const char *at = command_unknown_keys(cmd); at != NULL; at = strstr(at + 1, ";?")) {
        const char *end = strstr(at + 1, ";?");
        size_t len = end == NULL ? strlen(at + 2) : (size_t)(end - at) - 2;
        if (at[2] == '=') {
            reply_keyword(r, (struct span){at + 3, len - 1});
            continue;
        }
        reply_map(r, 3);
        reply_bulk_cstr(r, "flags");
        reply_words(r, (struct span){at + 2, len}, true);
        reply_unknown(r, "begin_search");
        reply_unknown(r, "find_keys");
    }
}

static size_t count_unknown(const struct command *cmd) {
    size_t n = 0;
    for (const char *at = command_unknown_keys(cmd); at != NULL; at = strstr(at + 1, ";?"))
        n++;
    return n;
}

size_t command_key_specs(const struct command *cmd) {
    return known_specs(cmd) + count_unknown(cmd);
}

static void reply_known_specs(struct reply *r, const struct command *cmd, size_t specs) {
    struct keys keys = cmd->keys;
    if (keys.first == 0) {
        if (specs > 0)
            reply_counted(r, cmd);
        return;
    }
    if (specs == 2) {
        reply_range(r, access_of(cmd, false), keys.first, 0, keys.step);
        if (cmd->numkeys.at != 0) {
            reply_counted(r, cmd);
            return;
        }
        keys.first = (int8_t)(keys.first + keys.step);
    }
    int last = keys.last < 0 ? (int)keys.last : keys.last - keys.first;
    reply_range(r, access_of(cmd, true), keys.first, last, keys.step);
}

static void reply_specs(struct reply *r, const struct command *cmd) {
    reply_set(r, command_key_specs(cmd));
    reply_known_specs(r, cmd, known_specs(cmd));
    reply_unknown_specs(r, cmd);
}

/* --- COMMAND INFO --- */

const struct command *command_next(const struct command *container, const struct command *row) {
    for (unsigned id = row == NULL ? 0 : row->id + 1U; (row = command_at(id)) != NULL; id++) {
        const struct command *above = row->parent == row->id ? NULL : command_at(row->parent);
        if (above == container)
            return row;
    }
    return NULL;
}

size_t command_count_next(const struct command *container) {
    size_t n = 0;
    for (const struct command *row = NULL; (row = command_next(container, row)) != NULL;)
        n++;
    return n;
}

static void reply_info(struct reply *r, const struct command *cmd);

/* reply_all: the subcommands of a container, or the commands that are none. */
static void reply_all(struct reply *r, const struct command *container) {
    reply_array(r, command_count_next(container));
    for (const struct command *row = NULL; (row = command_next(container, row)) != NULL;)
        reply_info(r, row);
}

/* reply_info: subcommands have none of their own, so this goes one level deep. */
static void reply_info(struct reply *r, const struct command *cmd) {
    reply_array(r, 10);
    command_reply_name(r, cmd);
    reply_int(r, cmd->arity);
    reply_names(r, cmd->flags, flag_names, COUNT_OF(flag_names));
    reply_int(r, cmd->keys.first);
    reply_int(r, cmd->keys.last);
    reply_int(r, cmd->keys.step);
    reply_names(r, cmd->acl, acl_names, COUNT_OF(acl_names));
    reply_words(r, command_span(cmd->tips), false);
    reply_specs(r, cmd);
    if (cmd->flags & CMD_CONTAINER)
        reply_all(r, cmd);
    else
        reply_set(r, 0);
}

static void command_run(struct ctx *c) {
    reply_all(&c->reply, NULL);
}

static void info_run(struct ctx *c) {
    if (c->argc == 2) {
        reply_all(&c->reply, NULL);
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
    reply_int(&c->reply, (int64_t)command_count_next(NULL));
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
    reply_array(&c->reply, command_key_index(cmd, first, step, last) + 1);
    for (uint32_t i = first; i <= last; i = command_next_key(cmd, i, step))
        reply_bulk(&c->reply, c->argv[2 + i]);
}

/* access_of_key: of the first key that a call names, or of another one: where no position tells those, the last note is
 * about them. */
static struct span access_of_key(const struct command *cmd, bool first) {
    const char *note = command_unknown_keys(cmd);
    if (first || note == NULL)
        return access_of(cmd, !first);
    for (const char *next; (next = strstr(note + 1, ";?")) != NULL;)
        note = next;
    return command_span(note + 2);
}

static void getkeysandflags_run(struct ctx *c) {
    const struct command *cmd;
    uint32_t first, last, step;
    if (!find_call(c, &cmd, &first, &last, &step))
        return;
    reply_array(&c->reply, command_key_index(cmd, first, step, last) + 1);
    const char *decided = NULL;
    if (cmd->find_access != NULL)
        decided = cmd->find_access(c->argv + 2, c->argc - 2);
    for (uint32_t i = first; i <= last; i = command_next_key(cmd, i, step)) {
        reply_array(&c->reply, 2);
        reply_bulk(&c->reply, c->argv[2 + i]);
        struct span access = access_of_key(cmd, i == first);
        reply_words(&c->reply, decided == NULL ? access : command_span(decided), true);
    }
}

#define COMMAND_FLAGS (CMD_LOADING | CMD_STALE | CMD_HOME)

static const struct command rows[] = {
    {"COMMAND", command_run, -1, NO_KEYS, COMMAND_FLAGS | CMD_CONTAINER, ACL_CONNECTION, "server",
     "2.8.13", "O(N) in the commands", "Returns details of all commands.",
     .tips = "nondeterministic_output_order"},
    {"COMMAND|COUNT", count_run, 2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "2.8.13",
     "O(1)", "Returns how many commands there are.", .tips = NULL},
    {"COMMAND|DOCS", command_docs_run, -2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server",
     "7.0.0", "O(N) in the commands", "Returns the documentation of commands.",
     .tips = "nondeterministic_output_order", .syntax = "[command-name...]"},
    {"COMMAND|GETKEYS", getkeys_run, -3, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "2.8.13",
     "O(N) in the arguments", "Returns the keys of a call.", .syntax = "command [arg...]"},
    {"COMMAND|GETKEYSANDFLAGS", getkeysandflags_run, -3, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION,
     "server", "7.0.0", "O(N) in the arguments",
     "Returns the keys of a call, and what is done to each.", .syntax = "command [arg...]"},
    {"COMMAND|HELP", command_help_run, 2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "5.0.0",
     "O(1)", "Returns what COMMAND's subcommands do.", .tips = NULL},
    {"COMMAND|INFO", info_run, -2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server", "2.8.13",
     "O(N) in the commands", "Returns details of commands.",
     .tips = "nondeterministic_output_order", .syntax = "[command-name...]"},
    {"COMMAND|LIST", command_list_run, -2, NO_KEYS, COMMAND_FLAGS, ACL_CONNECTION, "server",
     "7.0.0", "O(N) in the commands", "Returns the names of commands.",
     .tips = "nondeterministic_output_order",
     .syntax = "[FILTERBY=filterby(MODULE=module-name|ACLCAT=category|PATTERN=pattern)]"},
};

void command_info_register(void) {
    command_register(rows, COUNT_OF(rows));
}
