/* config_title_test.c: proc-title-template. What redis-server 7.0 shows for the same templates, beside the
 * name of the program. */
#include "anax/config.h"
#include "shards/attr.h"

#include <criterion/criterion.h>

static struct config config;

static const char *title(const char *template) {
    static char out[256];
    return config_title(&config, template, "anax", out, sizeof out) ? out : NULL;
}

Test(config_title, values) {
    config_defaults(&config);
    config.port = 7000;
    strcpy(config.bind, "127.0.0.1 10.0.0.1");
    strcpy(config.unixsocket, "/run/anax.sock");
    static const struct {
        const char *template, *title;
    } cases[] = {
        {"{title} {listen-addr} {server-mode}", "anax 127.0.0.1:7000"},
        {"{title} {port} {tls-port}", "anax 7000 0"},
        {"{unixsocket}|{config-file}|{server-mode}|", "/run/anax.sock|-||"},
        {"no variables", "no variables"},
        {"  both ends  ", "both ends"},
        {"{server-mode}", ""},
        {"{port}}", "7000}"},
        {"}{{port}", "}{port}"},
        {"{{", "{"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_assert_str_eq(title(cases[i].template), cases[i].title, "%s", cases[i].template);
}

Test(config_title, address) {
    config_defaults(&config);
    strcpy(config.bind, "*");
    cr_assert_str_eq(title("{listen-addr}"), "*:6379");
    strcpy(config.bind, "");
    cr_assert_str_eq(title("{listen-addr}"), "*:6379");
    strcpy(config.bind, "::1");
    cr_assert_str_eq(title("{listen-addr}"), "::1:6379");
    config.port = 0;
    strcpy(config.unixsocket, "/run/anax.sock");
    cr_assert_str_eq(title("{listen-addr}"), "/run/anax.sock");
    strcpy(config.file, "/etc/anax.conf");
    cr_assert_str_eq(title("{config-file}"), "/etc/anax.conf");
}

Test(config_title, malformed) {
    config_defaults(&config);
    static const char *const templates[] = {
        "",      "{",       "{}",       "{title",    "x {title} {",
        "{foo}", "{Title}", "{title }", "{{title}{", "{por t}"};
    for (size_t i = 0; i < COUNT_OF(templates); i++)
        cr_assert_null(title(templates[i]), "'%s'", templates[i]);
}

Test(config_title, cut_where_it_does_not_fit) {
    char out[8];
    config_defaults(&config);
    cr_assert(config_title(&config, "{title}{title}{title}", "anax", out, sizeof out));
    cr_assert_str_eq(out, "anaxana");
}

/* CONFIG SET and the command line refuse what config_title refuses. */
Test(config_title, option) {
    struct config changed;
    struct config_error e;
    config_defaults(&config);
    const struct span good[] = {SPAN("proc-title-template"), SPAN("{title} {port}")};
    cr_assert(config_set_many(&config, good, 1, true, &changed, &e), "%s", e.text);
    cr_assert_str_eq(changed.proc_title_template, "{title} {port}");
    const struct span title_only[] = {SPAN("proc-title-template"), SPAN("{title}")};
    cr_assert(config_set_many(&config, title_only, 1, true, &changed, &e), "%s", e.text);
    const struct span blank[] = {SPAN("proc-title-template"), SPAN(" {server-mode}")};
    cr_assert_not(config_set_many(&config, blank, 1, true, &changed, &e));
    const struct span bad[] = {SPAN("proc-title-template"), SPAN("{foo}")};
    cr_assert_not(config_set_many(&config, bad, 1, true, &changed, &e));
    cr_assert_str_eq(e.text,
                     "CONFIG SET failed (possibly related to argument 'proc-title-template') - "
                     "template format is invalid or contains unknown variables");
}
