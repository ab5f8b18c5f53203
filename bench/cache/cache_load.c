/* cache_load.c: a trace of requests replayed as a cache is used: GET, and SET when there was nothing.
 *
 * Why         What a policy is worth is how often a request finds its key, on a real server with its real accounting.
 * Use         cache_load PORT [TTL_MS] < trace; a line is a key and the bytes of its value. With a TTL each SET has it.
 * How         One connection, one request at a time: whether there is a SET depends on the reply.
 * Output      one line of JSON: requests, hits, errors (SETs that were refused).
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VALUE_MAX = 64 << 20, READ_BYTES = 1 << 18, KEY_MAX = 255 };

static struct {
    int fd;
    char *out; /* VALUE_MAX, and some for what stands around a value */
    char in[READ_BYTES];
    size_t in_len, in_at;
} load;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void send_all(const char *bytes, size_t len) {
    while (len != 0) {
        ssize_t n = write(load.fd, bytes, len);
        if (n <= 0)
            die("cache_load: write");
        bytes += n;
        len -= (size_t)n;
    }
}

static void fill(void) {
    ssize_t n = read(load.fd, load.in, sizeof load.in);
    if (n <= 0)
        die("cache_load: read");
    load.in_len = (size_t)n;
    load.in_at = 0;
}

static char next_byte(void) {
    if (load.in_at == load.in_len)
        fill();
    return load.in[load.in_at++];
}

static void skip(size_t bytes) {
    while (bytes != 0) {
        if (load.in_at == load.in_len)
            fill();
        size_t n = load.in_len - load.in_at;
        n = n < bytes ? n : bytes;
        load.in_at += n;
        bytes -= n;
    }
}

/* reply: its first character; *bulk: the length of a bulk string, which is passed over; -1: null. */
static char reply(long *bulk) {
    char line[256], first = next_byte();
    size_t len = 0;
    for (char c; (c = next_byte()) != '\n';)
        if (len < sizeof line - 1)
            line[len++] = c;
    line[len] = '\0';
    if (first != '$')
        return first;
    *bulk = strtol(line, NULL, 10);
    if (*bulk >= 0)
        skip((size_t)*bulk + 2);
    return first;
}

static bool get(const char *key) {
    char text[KEY_MAX + 64];
    int n = snprintf(text, sizeof text, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
    long bulk = -1;
    send_all(text, (size_t)n);
    return reply(&bulk) == '$' && bulk >= 0;
}

static bool set(const char *key, size_t bytes, const char *ttl_ms) {
    int n = sprintf(load.out, "*%d\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", ttl_ms ? 5 : 3,
                    strlen(key), key, bytes);
    size_t len = (size_t)n;
    memset(load.out + len, 'v', bytes);
    len += bytes;
    len += (size_t)sprintf(load.out + len, "\r\n");
    if (ttl_ms != NULL)
        len +=
            (size_t)sprintf(load.out + len, "$2\r\nPX\r\n$%zu\r\n%s\r\n", strlen(ttl_ms), ttl_ms);
    long bulk;
    send_all(load.out, len);
    return reply(&bulk) == '+';
}

int main(int argc, char **argv) {
    if (argc < 2) {
        (void)fprintf(stderr, "cache_load PORT [TTL_MS] < trace\n");
        return 1;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    int one = 1;
    (void)inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    load.out = malloc(VALUE_MAX + 4096);
    load.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (load.out == NULL || load.fd < 0 || connect(load.fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cache_load: connect");
    (void)setsockopt(load.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    unsigned long requests = 0, hits = 0, errors = 0, bytes;
    for (char key[KEY_MAX + 1]; scanf("%255s %lu", key, &bytes) == 2; requests++) {
        if (bytes > VALUE_MAX)
            die("cache_load: value too large");
        if (get(key))
            hits++;
        else
            errors += !set(key, bytes, argc > 2 ? argv[2] : NULL);
    }
    printf("{\"requests\": %lu, \"hits\": %lu, \"errors\": %lu}\n", requests, hits, errors);
    return 0;
}
