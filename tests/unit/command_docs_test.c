/* command_docs_test.c: the grammar of syntaxes (command_syntax_impl.h), and what COMMAND DOCS and
 * HELP tell from them. */
#include "../../src/commands/command_syntax_impl.h"
#include "command_fixture.h"

/* --- the grammar --- */

Test(command_docs, a_syntax_is_valid_or_not) {
    static const char *const good[] = {
        "",
        "key",
        "[key]",
        "key value...",
        "[NX]",
        "sorting:ALPHA",
        "EX=seconds",
        "[GET=pattern,...]",
        "ID=client-id...",
        "addr<ip:port>",
        "ADDR=addr<ip:port>:string",
        "increment:double",
        "condition(NX|XX)",
        "[TYPE=kind(NORMAL|PUBSUB)]",
        "data(key value)...",
        "one(member)",
        "a(b(c|[D]) [E=f(g h)...])",
        "x(SET=a|B1|C-D|E_F)",
    };
    static const char *const bad[] = {
        " ",          "key ",       " key",    "key  value", "key|value",    "[key",    "key]",
        "[]",         "()",         "a()",     "a(b",        "a(b))",        "a(b |c)", "a(|b)",
        "a(b|)",      "a(b c|d)",   "a(b| c)", "EX=",        "EX=PX",        "=a",      "EX=a:B",
        "a:",         "a:nosuch",   "a:block", "a:oneof",    "a:pure-token", "a:B..",   "a..",
        "a....",      "a,...",      "NX...",   "a<>",        "a<b",          "a<B>",    "a?",
        "[[a]]",      "[a] [b",     "a(b)c",   "Aa",         "a(b(c)",       "a B)",    "a\tb",
        "a...:block", "a(b [c ]d)",
    };
    cr_assert(command_syntax_valid(NULL));
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_assert(command_syntax_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert_not(command_syntax_valid(bad[i]), "%s", bad[i]);
}

static struct syntax_arg only(const char *text) {
    struct span rest = {text, strlen(text)};
    struct syntax_arg a;
    cr_assert(command_syntax_next(&rest, ' ', &a), "%s", text);
    cr_assert_eq(rest.len, 0, "%s", text);
    return a;
}

#define IS(span, text) (span_eq((span), SPAN(text)))

Test(command_docs, an_argument_has_a_name_a_type_and_a_token) {
    struct syntax_arg a = only("key");
    cr_assert(IS(a.name, "key") && IS(a.shown, "key") && a.type == SYNTAX_KEY && a.token.len == 0);
    cr_assert(!a.optional && !a.multiple && !a.multiple_token);
    a = only("[EX=seconds]");
    cr_assert(IS(a.name, "seconds") && IS(a.token, "EX") && a.type == SYNTAX_INTEGER && a.optional);
    a = only("EXAT=unix-time-seconds");
    cr_assert(a.type == SYNTAX_UNIX_TIME && !a.optional);
    a = only("name");
    cr_assert_eq(a.type, SYNTAX_STRING);
    a = only("seconds:string");
    cr_assert(IS(a.name, "seconds") && a.type == SYNTAX_STRING);
    a = only("KEEPTTL");
    cr_assert(IS(a.token, "KEEPTTL") && IS(a.name, "KEEPTTL") && a.type == SYNTAX_PURE_TOKEN);
    a = only("[sorting:ALPHA]");
    cr_assert(IS(a.token, "ALPHA") && IS(a.name, "sorting") && a.type == SYNTAX_PURE_TOKEN);
    cr_assert(a.optional);
    a = only("ADDR=addr<ip:port>");
    cr_assert(IS(a.name, "addr") && IS(a.shown, "ip:port") && IS(a.token, "ADDR"));
    a = only("key...");
    cr_assert(a.multiple && !a.multiple_token);
    a = only("[GET=pattern,...]");
    cr_assert(a.multiple && a.multiple_token && a.optional && a.type == SYNTAX_PATTERN);
}

Test(command_docs, a_group_is_one_of_several_or_a_block) {
    struct syntax_arg a = only("[TYPE=kind(A|b(c|d)|e(f g))...]");
    cr_assert(a.type == SYNTAX_ONEOF && IS(a.body, "A|b(c|d)|e(f g)") && a.multiple);
    cr_assert_eq(command_syntax_count(a.body, command_syntax_separator(&a)), 3);
    a = only("data(key x(A|B))");
    cr_assert(a.type == SYNTAX_BLOCK && IS(a.body, "key x(A|B)"));
    cr_assert_eq(command_syntax_count(a.body, command_syntax_separator(&a)), 2);
    a = only("one(member)");
    cr_assert_eq(a.type, SYNTAX_BLOCK);
}

/* --- rows --- */

Test(command_docs, every_row_has_a_valid_syntax_that_names_its_keys) {
    register_all();
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        cr_assert(command_syntax_valid(row->syntax), "%s: %s", row->name, row->syntax);
        bool keys = row->keys.first != 0 || row->find_keys != NULL;
        cr_assert_eq(row->key_access != NULL, keys, "%s: key_access", row->name);
        cr_assert(!keys || row->syntax != NULL, "%s: no syntax", row->name);
        bool unknown = row->key_access != NULL && strstr(row->key_access, ";?OW") != NULL;
        cr_assert_eq(row->find_keys != NULL, row->numkeys.at != 0 || unknown, "%s: numkeys",
                     row->name);
        cr_assert_eq(row->deprecated_since != NULL, row->replaced_by != NULL, "%s", row->name);
    }
}

/* --- replies --- */

Test(command_docs, docs_tell_arguments_in_both_protocols) {
    struct server s;
    server_start(&s, 1);
    expect(&s, "command docs ttl",
           "*2\r\n$3\r\nttl\r\n*10\r\n$7\r\nsummary\r\n$45\r\nReturns after how many seconds a key "
           "expires.\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$7\r\ngeneric\r\n$10\r\n"
           "complexity\r\n$4\r\nO(1)\r\n$9\r\narguments\r\n*1\r\n*8\r\n$4\r\nname\r\n$3\r\nkey\r\n"
           "$4\r\ntype\r\n$3\r\nkey\r\n$12\r\ndisplay_text\r\n$3\r\nkey\r\n$14\r\nkey_spec_index"
           "\r\n:0\r\n");
    s.proto = 3;
    const char *text = run(&s, "command docs flushdb");
    cr_assert(strstr(text, "%5\r\n$7\r\nsummary\r\n") != NULL, "%s", text);
    cr_assert(strstr(text,
                     "*1\r\n%4\r\n$4\r\nname\r\n$10\r\nflush-type\r\n$4\r\ntype\r\n$5\r\noneof\r\n"
                     "$5\r\nflags\r\n~1\r\n+optional\r\n$9\r\narguments\r\n*2\r\n"
                     "%4\r\n$4\r\nname\r\n$5\r\nasync\r\n$4\r\ntype\r\n$10\r\npure-token\r\n"
                     "$12\r\ndisplay_text\r\n$5\r\nasync\r\n$5\r\ntoken\r\n$5\r\nASYNC\r\n") !=
                  NULL,
              "%s", text);
    text = run(&s, "command docs bitop");
    cr_assert(strstr(text, "destkey\r\n$14\r\nkey_spec_index\r\n:0\r\n") != NULL, "%s", text);
    cr_assert(
        strstr(text, "key\r\n$14\r\nkey_spec_index\r\n:1\r\n$5\r\nflags\r\n~1\r\n+multiple") !=
            NULL,
        "%s", text);
    text = run(&s, "command docs getset");
    cr_assert(strstr(text, "$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n"
                           "$5\r\n6.2.0\r\n$11\r\nreplaced_by\r\n") != NULL,
              "%s", text);
    server_stop(&s);
}

Test(command_docs, help_tells_subcommands_and_itself_last) {
    struct server s;
    server_start(&s, 1);
    static const char first[] =
        "*17\r\n+COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
        "+(no subcommand)\r\n+    Returns details of all commands.\r\n+COUNT\r\n";
    const char *text = run(&s, "command help");
    cr_assert(strncmp(text, first, strlen(first)) == 0, "%s", text);
    cr_assert(strstr(text, "\r\n+DOCS [<command-name> ...]\r\n+    Returns") != NULL);
    cr_assert(strstr(text, "\r\n+GETKEYS <command> [<arg> ...]\r\n") != NULL);
    cr_assert(strstr(text, "\r\n+LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|"
                           "PATTERN <pattern>)]\r\n") != NULL,
              "%s", text);
    cr_assert(strcmp(strstr(text, "\r\n+HELP"),
                     "\r\n+HELP\r\n+    Returns what COMMAND's subcommands do.\r\n") == 0,
              "%s", text);
    text = run(&s, "object help");
    cr_assert(strncmp(text, "*11\r\n+OBJECT <subcommand>", 24) == 0, "%s", text);
    cr_assert(strstr(text, "(no subcommand)") == NULL, "%s", text);
    server_stop(&s);
}

/* help_lines: what tells a syntax, of a container that this process alone has: the line with the
 * arguments, and what is listed below the summary. */
static void help_lines(const char *container, const char *syntax, const char *line,
                       const char *below, unsigned lines) {
    static char names[2][COMMAND_NAME_MAX + 1];
    static char reply[1024];
    struct server s;
    server_start(&s, 1);
    snprintf(names[0], sizeof(names[0]), "%s|SUB", container);
    snprintf(names[1], sizeof(names[1]), "%s|HELP", container);
    const struct command rows[] = {
        {container, NULL, -2, NO_KEYS, CMD_CONTAINER, 0, "server", "1.0.0", "O(1)", "s"},
        {names[0], NULL, -2, NO_KEYS, 0, 0, "server", "1.0.0", "O(1)", "t", .syntax = syntax},
        {names[1], command_help_run, 2, NO_KEYS, 0, 0, "server", "1.0.0", "O(1)", "u"},
    };
    command_register(rows, COUNT_OF(rows));
    snprintf(reply, sizeof(reply),
             "*%u\r\n+%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
             "+SUB %s\r\n+    t\r\n%s+HELP\r\n+    u\r\n",
             lines, container, line, below);
    char call[64];
    snprintf(call, sizeof(call), "%s help", container);
    expect(&s, call, reply);
    server_stop(&s);
}

static void help_line(const char *container, const char *syntax, const char *line) {
    help_lines(container, syntax, line, "", 5);
}

Test(command_docs, help_writes_options_choices_and_repetitions) {
    help_line("HA", "key [NX] [sorting:ALPHA]", "<key> [NX] [ALPHA]");
}
Test(command_docs, help_writes_choices) {
    help_line("HB", "mode(ON|OFF) [unit(A|B)] [TYPE=kind(A|B)] [LIMIT=l(offset count)]",
              "(ON|OFF) [A|B] [TYPE (A|B)] [LIMIT <offset> <count>]");
}
Test(command_docs, help_writes_repetitions) {
    help_line("HC", "event... [name...] data(key value)... [ID=id...] [GET=g,...] [x(A|B)...]",
              "<event> [<event> ...] [<name> ...] <key> <value> [<key> <value> ...] "
              "[ID <id> [<id> ...]] [GET <g> [GET <g> ...]] [(A|B) ...]");
}
Test(command_docs, help_shows_what_is_shown) {
    help_line("HD", "addr<ip:port> [ADDR=addr<ip:port>]", "<ip:port> [ADDR <ip:port>]");
}

Test(command_docs, help_lists_long_groups_below) {
    help_lines("HE",
               "[kind(AAAAAAAAAAAAAAAAAAAA=a|[BBBBBBBBBBBBBBBBBBBB=b...]|"
               "inner(CCCCCCCCCCCCCCCCCCCCCCC=c DDDDDDDDDDDDDDDDDDDDDDD=d EEEEEEEEEEEEEEEEE "
               "FFFFFFFFFFFFFFFFFFFFF)...)...] last",
               "[<kind> ...] <last>",
               "+    <kind> is one of:\r\n+    * AAAAAAAAAAAAAAAAAAAA <a>\r\n"
               "+    * [BBBBBBBBBBBBBBBBBBBB <b> [<b> ...]]\r\n"
               "+    * <inner> [<inner> ...]\r\n"
               "+    <inner> is, in this order:\r\n+    * CCCCCCCCCCCCCCCCCCCCCCC <c>\r\n"
               "+    * DDDDDDDDDDDDDDDDDDDDDDD <d>\r\n+    * EEEEEEEEEEEEEEEEE\r\n"
               "+    * FFFFFFFFFFFFFFFFFFFFF\r\n",
               14);
}

Test(command_docs, help_without_memory_is_refused) {
    struct server s;
    unsigned refused = 0;
    server_start(&s, 1);
    char *whole = strdup(run(&s, "command help"));
    int64_t used = s.home->mem.used_bytes;
    for (unsigned site = 1;; site++) {
        s.home->mem.fail_in = site;
        const char *reply = run(&s, "command help");
        bool reached = s.home->mem.fail_in == 0;
        s.home->mem.fail_in = 0;
        cr_assert_eq(s.home->mem.used_bytes, used, "failing at %u", site);
        if (!reached) {
            cr_assert(strcmp(reply, whole) == 0);
            break;
        }
        cr_assert(strcmp(reply, "-ERR out of memory\r\n") == 0, "failing at %u: %s", site, reply);
        refused++;
    }
    cr_assert_geq(refused, 2);
    free(whole);
    server_stop(&s);
}
