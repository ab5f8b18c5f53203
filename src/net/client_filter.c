/* client_filter.c: the filters of CLIENT LIST and CLIENT KILL. */
#include "anax/words.h"
#include "client_impl.h"
#include <stdlib.h>

enum { SHOWN_MAX = 128 };

static const char *const names[CLIENT_PROPERTIES] = {
    [CLIENT_ID] = "id",         [CLIENT_TYPE] = "type",         [CLIENT_USER] = "user",
    [CLIENT_ADDR] = "addr",     [CLIENT_LADDR] = "laddr",       [CLIENT_IP] = "ip",
    [CLIENT_NAME] = "name",     [CLIENT_LIB_NAME] = "lib-name", [CLIENT_LIB_VER] = "lib-ver",
    [CLIENT_FLAGS] = "flags",   [CLIENT_CAPA] = "capa",         [CLIENT_DB] = "db",
    [CLIENT_MAXAGE] = "maxage", [CLIENT_IDLE] = "idle",
};

/* Every letter that Redis documents for the field `flags`, and for `capa`. */
static const char known_flags[] = "AbBcdeiMNOPrRStTuUx", known_capa[] = "r";

/* --- values --- */

static void refuse_shown(struct ctx *c, const char *what, struct span shown, const char *end) {
    reply_errorf(&c->reply, "ERR %s%.*s%s", what,
                 (int)(shown.len < SHOWN_MAX ? shown.len : SHOWN_MAX), shown.ptr, end);
}

/* read_type: there are only normal connections yet, so all that counts is whether those are asked for. */
static bool read_type(struct ctx *c, struct client_wanted *w) {
    static const char *const types[] = {"normal",  "master", "primary",
                                        "replica", "slave",  "pubsub"};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (span_is(w->text, types[i])) {
            w->number = (int64_t)i;
            return true;
        }
    }
    refuse_shown(c, "Unknown client type '", w->text, "'");
    return false;
}

static bool read_user(struct ctx *c, struct client_wanted *w) {
    if (span_eq(w->text, SPAN("default")))
        return true;
    refuse_shown(c, "No such user '", w->text, "'");
    return false;
}

static bool read_letters(struct ctx *c, const struct client_wanted *w, const char *known,
                         const char *error) {
    for (size_t i = 0; i < w->text.len; i++) {
        if (w->text.ptr[i] == '\0' || strchr(known, w->text.ptr[i]) == NULL) {
            refuse_shown(c, error, w->text, "");
            return false;
        }
    }
    return true;
}

static bool read_db(struct ctx *c, struct client_wanted *w) {
    int64_t end = keyspace_databases(c->keyspace);
    if (!words_int(w->text, &w->number))
        reply_error(&c->reply, ERR_NOT_INT);
    else if (w->number < 0 || w->number >= end)
        reply_errorf(&c->reply, "ERR DB number should be between 0 and %ld", (long)end - 1);
    else
        return true;
    return false;
}

static bool read_seconds(struct ctx *c, struct client_wanted *w, const char *name) {
    if (!words_int(w->text, &w->number))
        reply_errorf(&c->reply, "ERR %s is not an integer or out of range", name);
    else if (w->number < 1)
        reply_errorf(&c->reply, "ERR %s should be greater than 0", name);
    else
        return true;
    return false;
}

static bool read_value(struct ctx *c, enum client_property p, struct client_wanted *w) {
    switch (p) {
    case CLIENT_TYPE:
        return read_type(c, w);
    case CLIENT_USER:
        return read_user(c, w);
    case CLIENT_FLAGS:
        return read_letters(c, w, known_flags, "Unknown flags found in the provided filter: ");
    case CLIENT_CAPA:
        return read_letters(c, w, known_capa, "Unknown capa found in the provided filter: ");
    case CLIENT_DB:
        return read_db(c, w);
    case CLIENT_MAXAGE:
    case CLIENT_IDLE:
        return read_seconds(c, w, names[p]);
    default:
        return true;
    }
}

/* --- ids --- */

static bool add_id(struct ctx *c, struct client_wanted *w, int64_t id, uint32_t at_most) {
    if (w->ids == NULL) {
        if ((w->ids = mem_alloc(&c->shard->mem, at_most * sizeof *w->ids)) == NULL) {
            ctx_oom(c);
            return false;
        }
        w->id_cap = at_most;
    }
    ASSERT(w->id_count < w->id_cap);
    w->ids[w->id_count++] = (uint64_t)id;
    return true;
}

/* read_ids: as many numbers as follow, from argv[*i] on, but one at least. What Redis says about others
 * depends on the command. */
static bool read_ids(struct ctx *c, bool killing, bool negated, struct client_wanted *w,
                     uint32_t *i) {
    static const char too_small[] = "ERR client-id should be greater than 0";
    uint32_t from = *i;
    int64_t id;
    for (; *i < c->argc && words_int(c->argv[*i], &id); ++*i) {
        if (id < 1 && (killing || negated)) {
            reply_error(&c->reply, too_small);
            return false;
        }
        if (!add_id(c, w, id, c->argc - from))
            return false;
    }
    if (*i != from)
        return true;
    if (negated)
        reply_error(&c->reply, ERR_SYNTAX);
    else
        reply_error(&c->reply, killing ? too_small : "ERR Invalid client ID");
    return false;
}

static int compare_ids(const void *a, const void *b) {
    uint64_t left, right;
    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    return left < right ? -1 : left > right;
}

static void sort_ids(struct client_wanted *w) {
    if (w->id_count > 1)
        qsort(w->ids, w->id_count, sizeof *w->ids, compare_ids);
}

static bool has_id(const struct client_wanted *w, uint64_t id) {
    return bsearch(&id, w->ids, w->id_count, sizeof *w->ids, compare_ids) != NULL;
}

/* --- parsing --- */

/* find_property: CLIENT_PROPERTIES when the word is none. Ages have no NOT-. */
static enum client_property find_property(struct span word, bool *negated) {
    struct span not = SPAN("not-");
    *negated = word.len > not .len && span_is((struct span){word.ptr, not .len}, "not-");
    if (*negated)
        word = (struct span){word.ptr + not .len, word.len - not .len};
    unsigned p = 0, end = *negated ? CLIENT_MAXAGE : CLIENT_PROPERTIES;
    while (p < end && !span_is(word, names[p]))
        p++;
    return p < end ? (enum client_property)p : CLIENT_PROPERTIES;
}

static bool read_skip_me(struct ctx *c, struct span value, struct client_filter *f) {
    f->skip_me = span_is(value, "yes");
    if (f->skip_me || span_is(value, "no"))
        return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* read_filter: the filter whose name is argv[*i]; *i moves behind its values. */
static bool read_filter(struct ctx *c, bool killing, struct client_filter *f, uint32_t *i) {
    bool negated;
    struct span name = c->argv[*i], value = c->argv[*i + 1];
    if (span_is(name, "skipme")) {
        *i += 2;
        return read_skip_me(c, value, f);
    }
    enum client_property p = find_property(name, &negated);
    if (p == CLIENT_PROPERTIES) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    struct client_wanted *w = negated ? &f->is_not[p] : &f->is[p];
    w->given = true;
    if (p == CLIENT_ID) {
        ++*i;
        return read_ids(c, killing, negated, w, i);
    }
    *i += 2;
    w->text = value;
    return read_value(c, p, w);
}

bool client_filter_parse(struct ctx *c, bool killing, struct client_filter *f) {
    *f = (struct client_filter){.skip_me = killing && c->argc > 3};
    if (killing && c->argc == 3) { /* the old form: an address */
        f->is[CLIENT_ADDR] = (struct client_wanted){.given = true, .text = c->argv[2]};
        return true;
    }
    for (uint32_t i = 2; i < c->argc;) {
        bool ids_before = i > 2 && !killing && f->is[CLIENT_ID].given, negated;
        bool value_missing = i + 1 == c->argc;
        if (value_missing || (ids_before && !span_is(c->argv[i], "skipme") &&
                              find_property(c->argv[i], &negated) == CLIENT_PROPERTIES)) {
            /* Redis takes it for one more id. */
            reply_error(&c->reply, ids_before ? "ERR Invalid client ID" : ERR_SYNTAX);
            goto fail;
        }
        if (!read_filter(c, killing, f, &i))
            goto fail;
    }
    sort_ids(&f->is[CLIENT_ID]);
    sort_ids(&f->is_not[CLIENT_ID]);
    return true;
fail:
    client_filter_free(c, f);
    return false;
}

void client_filter_free(struct ctx *c, struct client_filter *f) {
    struct client_wanted *both[] = {&f->is[CLIENT_ID], &f->is_not[CLIENT_ID]};
    for (size_t i = 0; i < COUNT_OF(both); i++)
        mem_free(&c->shard->mem, both[i]->ids, both[i]->id_cap * sizeof *both[i]->ids);
}

/* --- matching --- */

/* is_text: a text that was never set is no text, not even an empty one. */
static bool is_text(const char *text, struct span wanted) {
    return text != NULL && span_eq((struct span){text, strlen(text)}, wanted);
}

static bool has_letters(const char *letters, struct span wanted) {
    for (size_t i = 0; i < wanted.len; i++)
        if (strchr(letters, wanted.ptr[i]) == NULL)
            return false;
    return true;
}

/* has_ip: the address without its port and, for IPv6, without brackets. */
static bool has_ip(const struct conn *conn, struct span wanted) {
    char text[NET_ADDRESS_BYTES], *ip = text;
    conn_address(conn, text, sizeof text);
    char *end = strrchr(text, ':');
    ASSERT(end != NULL);
    if (*ip == '[') {
        ip++;
        end--;
    }
    return span_eq((struct span){ip, (size_t)(end - ip)}, wanted);
}

static bool has_address(const struct conn *conn, bool local, struct span wanted) {
    char text[NET_ADDRESS_BYTES];
    if (local)
        client_laddr(conn, text, sizeof text);
    else
        conn_address(conn, text, sizeof text);
    return is_text(text, wanted);
}

static bool has(const struct conn *conn, enum client_property p, const struct client_wanted *w) {
    char flags[CLIENT_LETTERS_MAX + 1];
    switch (p) {
    case CLIENT_ID:
        return has_id(w, conn->session.id);
    case CLIENT_TYPE:
        return w->number == 0;
    case CLIENT_USER:
        return true; /* there is one */
    case CLIENT_ADDR:
        return has_address(conn, false, w->text);
    case CLIENT_LADDR:
        return has_address(conn, true, w->text);
    case CLIENT_IP:
        return has_ip(conn, w->text);
    case CLIENT_NAME:
        return is_text(conn->session.name, w->text);
    case CLIENT_LIB_NAME:
        return is_text(conn->session.lib_name, w->text);
    case CLIENT_LIB_VER:
        return is_text(conn->session.lib_ver, w->text);
    case CLIENT_FLAGS:
        client_flags(conn, flags);
        return has_letters(flags, w->text);
    case CLIENT_CAPA:
        return has_letters(client_capa(conn), w->text);
    case CLIENT_DB:
        return conn->session.db == w->number;
    case CLIENT_MAXAGE:
        return client_age_s(conn) >= w->number;
    case CLIENT_IDLE:
        return client_idle_s(conn) >= w->number;
    case CLIENT_PROPERTIES:
        break;
    }
    ASSERT(false);
    return false;
}

bool client_filter_matches(const struct client_filter *f, const struct conn *conn, uint64_t me) {
    if (f->skip_me && conn->session.id == me)
        return false;
    for (unsigned i = 0; i < CLIENT_PROPERTIES; i++) {
        enum client_property p = (enum client_property)i;
        if (f->is[p].given && !has(conn, p, &f->is[p]))
            return false;
        if (f->is_not[p].given && has(conn, p, &f->is_not[p]))
            return false;
    }
    return true;
}
