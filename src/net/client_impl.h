/* client_impl.h: which connections CLIENT LIST and CLIENT KILL mean, and what a connection looks like.
 *
 * Why         both commands take the same filters, and a filter asks about what a line of CLIENT LIST shows.
 * Threads     the holder of the shard that the connections live on.
 * Source      Redis 8: TYPE, ID, USER, ADDR, LADDR, SKIPME, MAXAGE. Valkey 9: the others, several ids, and
 *             NOT- before each filter that is about a property. Filters are joined by "and"; of one that is
 *             given twice the last counts, except that ids add up.
 */
#ifndef CLIENT_IMPL_H
#define CLIENT_IMPL_H

#include "net_impl.h"

enum client_property {
    CLIENT_ID, /* first: it alone has several values */
    CLIENT_TYPE,
    CLIENT_USER,
    CLIENT_ADDR,
    CLIENT_LADDR,
    CLIENT_IP,
    CLIENT_NAME,
    CLIENT_LIB_NAME,
    CLIENT_LIB_VER,
    CLIENT_FLAGS,
    CLIENT_CAPA,
    CLIENT_DB, /* from here on: numbers */
    CLIENT_MAXAGE,
    CLIENT_IDLE,
    CLIENT_PROPERTIES
};

/* What one filter wants: text or a number, or for ids both ends of a sorted array. */
struct client_wanted {
    bool given;
    struct span text;
    int64_t number;
    uint64_t *ids;
    uint32_t id_count, id_cap;
};

struct client_filter {
    struct client_wanted is[CLIENT_PROPERTIES], is_not[CLIENT_PROPERTIES];
    bool skip_me;
};

/* client_filter_parse: reads the arguments behind the subcommand; false after having replied what is wrong
 * with them. `killing`: by the rules of CLIENT KILL, else of CLIENT LIST. */
MUST_CHECK bool client_filter_parse(struct ctx *c, bool killing, struct client_filter *f);
void client_filter_free(struct ctx *c, struct client_filter *f);
/* client_filter_matches: `me` is the id of the connection that asks. */
bool client_filter_matches(const struct client_filter *f, const struct conn *conn, uint64_t me);

/* client_flags, client_capa: as letters, at most CLIENT_LETTERS_MAX of them. */
enum { CLIENT_LETTERS_MAX = 7 };
void client_flags(const struct conn *c, char *text);
const char *client_capa(const struct conn *c);
/* client_laddr: the local end, as conn_address tells the other one. */
void client_laddr(const struct conn *c, char *text, size_t size);
int64_t client_age_s(const struct conn *c);
int64_t client_idle_s(const struct conn *c);

void client_list_register(void);

#endif
