/* title.c: the process's title, as ps and /proc/PID/cmdline show it.
 *
 * The kernel reads it from where it put the arguments:
 *
 *     argv[0] \0 argv[1] \0 ... \0 | name=value \0 name=value \0 ...
 *     area                                                           area + area_len
 *
 * so the title is written there, over the environment too when it is long; that one is copied before.
 */
#include "server_impl.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The process has one title; written by title_init before threads start, and then by whoever sets it. */
static char *area;
static size_t area_len;
static char *title;

/* move_environment: false without memory, and then the title stays what it is. */
static bool move_environment(void) {
    size_t n = 0;
    while (environ[n] != NULL)
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    if (copy == NULL)
        return false;
    size_t copied = 0;
    while (copied < n && (copy[copied] = strdup(environ[copied])) != NULL)
        copied++;
    if (copied == n) {
        environ = copy;
        return true;
    }
    while (copied > 0)
        free(copy[--copied]);
    free(copy);
    return false;
}

/* end_of: where the strings end that lie without a gap behind `at`. */
static char *end_of(char *at, char *const *strings) {
    for (; *strings != NULL; strings++)
        if (*strings == at)
            at += strlen(at) + 1;
    return at;
}

void title_init(int argc, char **argv) {
    if (argc < 1)
        return;
    char *end = end_of(end_of(argv[0], argv), environ);
    title = strdup(argv[0]);
    if (title == NULL || !move_environment())
        return;
    /* glibc's own pointers to argv[0] */
    program_invocation_name = title;
    char *slash = strrchr(title, '/');
    program_invocation_short_name = slash != NULL ? slash + 1 : title;
    area = argv[0];
    area_len = (size_t)(end - argv[0]);
}

void title_set(const struct config *c) {
    char text[CONFIG_TEXT_MAX + 1];
    if (area == NULL || !c->set_proc_title ||
        !config_title(c, c->proc_title_template, title, text, sizeof text) || text[0] == '\0')
        return;
    size_t len = strnlen(text, area_len - 1);
    memcpy(area, text, len);
    memset(area + len, 0, area_len - len);
}
