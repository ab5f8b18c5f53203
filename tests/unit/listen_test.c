#include "anax/config.h"
#include "anax/net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

enum { PORT = 6379 };

static struct sockaddr_storage address(const char *text) {
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;

    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(PORT);
    } else {
        cr_assert_eq(inet_pton(AF_INET6, text, &in6->sin6_addr), 1, "%s", text);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(PORT);
    }
    return sa;
}

static bool is_local(const char *text) {
    struct sockaddr_storage sa = address(text);

    return net_is_local((const struct sockaddr *)&sa);
}

Test(listen, loopback_is_local) {
    static const char *const texts[] = {
        "127.0.0.1", "127.0.0.0",        "127.255.255.255",  "127.1.2.3",
        "::1",       "::ffff:127.0.0.1", "::ffff:127.9.9.9", "::ffff:127.255.255.255"};

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        cr_expect(is_local(texts[i]), "%s", texts[i]);
}

Test(listen, every_other_address_is_not) {
    static const char *const texts[] = {
        "0.0.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "10.0.0.1",
        "192.168.1.127",
        "172.16.0.1",
        "8.8.8.8",
        "1.0.0.127",
        "255.255.255.255",
        "169.254.0.1",
        "::",
        "::2",
        "fe80::1",
        "2001:db8::1",
        "fd00::127",
        "1::1",
        "::127.0.0.1",
        "100::1",
        "::ffff:126.0.0.1",
        "::ffff:10.0.0.127",
        "64:ff9b::7f00:1",
        "::fffe:7f00:1",
        "7f00::1",
        "::1:0:0",
        "::ffff:0.0.0.1",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        cr_expect(!is_local(texts[i]), "%s", texts[i]);
}

Test(listen, a_unix_socket_is_local_and_an_unknown_family_is_not) {
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/tmp/anax.sock"};
    struct sockaddr unknown = {.sa_family = AF_UNSPEC};

    cr_assert(net_is_local((const struct sockaddr *)&un));
    cr_assert(!net_is_local(&unknown));
}

static void assert_shown(const char *text, const char *expected) {
    struct sockaddr_storage sa = address(text);
    char shown[128];

    net_address((const struct sockaddr *)&sa, shown, sizeof shown);
    cr_assert_str_eq(shown, expected);
}

Test(listen, addresses_are_shown_as_redis_shows_them) {
    struct sockaddr unknown = {.sa_family = AF_UNSPEC};
    char shown[128];

    assert_shown("127.0.0.1", "127.0.0.1:6379");
    assert_shown("255.255.255.255", "255.255.255.255:6379");
    assert_shown("::1", "[::1]:6379");
    assert_shown("2001:db8:0:0:1:2:3:4", "[2001:db8::1:2:3:4]:6379");
    assert_shown("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:6379");
    net_address(&unknown, shown, sizeof shown);
    cr_assert_str_eq(shown, "?:0");
}

Test(listen, nobody_from_elsewhere_is_let_in_unless_told_to) {
    struct config c;

    config_defaults(&c);
    cr_assert_str_eq(c.bind, "127.0.0.1");
    cr_assert(c.protected_mode);
    cr_assert_str_eq(c.requirepass, "");
}
