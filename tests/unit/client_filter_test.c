#include "../../src/net/client_impl.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 32, TEXT_MAX = 512 };

/* A shard without anything but an account, a parsed filter, and what was replied. */
struct fixture {
    struct shard shard;
    struct outbuf out;
    struct ctx ctx;
    char text[TEXT_MAX];
    struct span argv[WORDS_MAX];
    struct client_filter filter;
};

static bool parse(struct fixture *f, const char *line) {
    memset(f, 0, sizeof *f);
    outbuf_init(&f->out, &f->shard.mem);
    f->ctx = (struct ctx){.shard = &f->shard, .argv = f->argv, .reply = {&f->out, 2, 0}};
    (void)snprintf(f->text, sizeof f->text, "%s", line);
    char *rest = f->text;
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
        f->argv[f->ctx.argc++] = (struct span){word, strlen(word)};
    return client_filter_parse(&f->ctx, span_is(f->argv[1], "kill"), &f->filter);
}

static void done(struct fixture *f, bool parsed) {
    if (parsed)
        client_filter_free(&f->ctx, &f->filter);
    outbuf_deinit(&f->out);
    cr_assert_eq(f->shard.mem.used_bytes, 0);
}

static void refuses(const char *line, const char *error) {
    struct fixture f;

    cr_assert(!parse(&f, line), "%s", line);
    cr_assert_eq(f.out.len, strlen(error), "%s: %.*s", line, (int)f.out.len, f.out.buf);
    cr_assert_eq(memcmp(f.out.buf, error, f.out.len), 0, "%s: %.*s", line, (int)f.out.len,
                 f.out.buf);
    done(&f, false);
}

static bool matches(const char *line, const struct conn *conn, uint64_t me) {
    struct fixture f;

    cr_assert(parse(&f, line), "%s: %.*s", line, (int)f.out.len, f.out.buf);
    bool yes = client_filter_matches(&f.filter, conn, me);
    done(&f, true);
    return yes;
}

static struct conn from_ip6(uint64_t id, const char *ip) {
    struct conn c = {.session = {.id = id, .proto = 2}};

    c.peer.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(5000)};
    cr_assert_eq(inet_pton(AF_INET6, ip, &c.peer.in6.sin6_addr), 1);
    return c;
}

Test(client_filter, errors_leave_nothing_behind) {
    refuses("CLIENT KILL ID 1 2 x", "-ERR syntax error\r\n");
    refuses("CLIENT KILL ID 1 2 NOT-ID 3 4 0", "-ERR client-id should be greater than 0\r\n");
    refuses("CLIENT LIST ID 1 2 x", "-ERR Invalid client ID\r\n");
    refuses("CLIENT LIST ID 1 NOT-ID 2 TYPE x", "-ERR Unknown client type 'x'\r\n");
    refuses("CLIENT LIST NOT-ID 2 USER x", "-ERR No such user 'x'\r\n");
}

Test(client_filter, every_allocation_may_fail) {
    const char *line = "CLIENT LIST ID 3 1 NOT-ID 2 5 ID 9";

    for (unsigned nth = 1; nth <= 3; nth++) {
        struct fixture f;
        bool parsed = parse(&f, line);
        cr_assert(parsed);
        client_filter_free(&f.ctx, &f.filter);
        f.shard.mem.fail_in = nth;
        parsed = client_filter_parse(&f.ctx, false, &f.filter);
        cr_assert_eq(parsed, nth == 3); /* two arrays, whatever the number of ids */
        done(&f, parsed);
    }
}

Test(client_filter, ids_add_up_in_any_order) {
    for (uint64_t id = 1; id <= 12; id++) {
        struct conn c = from_ip6(id, "::1");
        bool is = id == 1 || id == 3 || id == 9 || id == 12, is_not = id == 3 || id == 4;
        cr_expect_eq(matches("CLIENT LIST ID 12 3 1 NOT-ID 4 ID 9 NOT-ID 3", &c, 99),
                     is && !is_not);
        cr_expect_eq(matches("CLIENT KILL NOT-ID 4 3", &c, 99), !is_not);
    }
}

Test(client_filter, ip6_is_compared_without_brackets) {
    struct conn c = from_ip6(1, "2001:db8::7");

    cr_expect(matches("CLIENT LIST IP 2001:db8::7", &c, 2));
    cr_expect(matches("CLIENT LIST ADDR [2001:db8::7]:5000", &c, 2));
    cr_expect(matches("CLIENT KILL [2001:db8::7]:5000", &c, 1));
    cr_expect(!matches("CLIENT LIST IP [2001:db8::7]", &c, 2));
    cr_expect(!matches("CLIENT LIST IP 2001:db8::", &c, 2));
    cr_expect(!matches("CLIENT LIST ADDR [2001:db8::7]:500", &c, 2));
    cr_expect(!matches("CLIENT LIST NOT-IP 2001:db8::7", &c, 2));
}

Test(client_filter, only_kill_spares_the_one_who_asks) {
    struct conn c = from_ip6(7, "::1");

    cr_expect(matches("CLIENT LIST", &c, 7));
    cr_expect(matches("CLIENT LIST TYPE normal", &c, 7));
    cr_expect(!matches("CLIENT LIST SKIPME yes", &c, 7));
    cr_expect(!matches("CLIENT KILL TYPE normal", &c, 7));
    cr_expect(matches("CLIENT KILL TYPE normal", &c, 8));
    cr_expect(matches("CLIENT KILL TYPE normal SKIPME no", &c, 7));
    cr_expect(matches("CLIENT KILL [::1]:5000", &c, 7));
}
