/* command_fixture.h: shards without a network, and a way to call commands as net does and to look
 * at the reply.
 */
#ifndef COMMAND_FIXTURE_H
#define COMMAND_FIXTURE_H

#include "anax/command.h"
#include "anax/instance.h"
#include "shards/attr.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARGS_MAX = 64, DBS = 16 };
static const int64_t NOW_MS = 1700000000000;

struct server {
    struct shards *all;
    struct shard *home;
    struct mem out_mem;
    struct outbuf out;
    char *text; /* of the last reply, references spliced in */
    size_t text_len;
    uint32_t db;
    uint8_t proto;
    int64_t now_ms;
    struct blob *big; /* offered to the next call */
};

static const struct shard_hooks no_hooks;

static inline void register_all(void) {
    uint64_t seed = 7;
    if (command_count() > 0)
        return;
    cr_assert(keyspace_seed_hash(&seed) == OK);
    string_register();
    bitmap_register();
    generic_register();
    server_register();
}

static inline void server_start(struct server *s, unsigned shards) {
    const char *why = NULL;
    struct shards_config config = {
        .count = shards, .databases = DBS, .io = LOOP_EPOLL, .seed = 1, .hooks = &no_hooks};
    register_all();
    *s = (struct server){.proto = 2, .now_ms = NOW_MS};
    cr_assert(shards_create(&s->all, &config, &why) == OK, "%s", why);
    s->home = shards_get(s->all, 0);
    static struct config options;
    static struct instance instance = {.config = &options};
    config_defaults(&options);
    for (unsigned i = 0; i < shards; i++)
        shards_get(s->all, i)->app = &instance;
    outbuf_init(&s->out, &s->out_mem);
}

static inline void server_stop(struct server *s) {
    free(s->text);
    s->out.ref_count = 0;
    outbuf_deinit(&s->out);
    shards_destroy(s->all);
    cr_assert_eq(s->out_mem.used_bytes, 0);
}

/* take_reply: makes the reply one text, and gives its references back. */
static inline void take_reply(struct server *s, struct shard *owner) {
    struct outbuf *o = &s->out;
    cr_assert_not(o->failed);
    free(s->text);
    s->text = malloc(o->len + o->ref_bytes + 1);
    size_t from = 0, to = 0;
    for (uint32_t i = 0; i < o->ref_count; i++) {
        memcpy(s->text + to, o->buf + from, o->refs[i].at - from);
        to += o->refs[i].at - from;
        from = o->refs[i].at;
        memcpy(s->text + to, o->refs[i].blob->data + o->refs[i].offset, o->refs[i].len);
        to += o->refs[i].len;
        blob_unpin(&owner->mem, o->refs[i].blob);
    }
    if (o->len > from)
        memcpy(s->text + to, o->buf + from, o->len - from);
    s->text_len = to + o->len - from;
    s->text[s->text_len] = '\0';
    o->len = 0;
    o->ref_count = 0;
    o->ref_bytes = 0;
}

static inline void run_everywhere(struct server *s, struct ctx *c) {
    unsigned n = shards_count(s->all);
    struct outbuf parts[SHARDS_MAX], *list[SHARDS_MAX];
    for (unsigned i = 0; i < n; i++) {
        struct shard *at = shards_get(s->all, i);
        struct ctx each = *c;
        outbuf_init(&parts[i], &s->out_mem);
        list[i] = &parts[i];
        each.shard = at;
        each.keyspace = at->keyspace;
        each.reply.out = &parts[i];
        each.session = NULL;
        c->cmd->each(&each);
    }
    c->cmd->gather(c, list, n);
    for (unsigned i = 0; i < n; i++)
        outbuf_deinit(&parts[i]);
}

static inline void dispatch(struct server *s, struct ctx *c) {
    uint32_t first, last, step;
    int target = 0;
    if (c->cmd->flags & CMD_FANOUT) {
        run_everywhere(s, c);
        return;
    }
    if (command_key_range(c->cmd, c->argc, &first, &last, &step)) {
        c->hash = keyspace_hash(c->argv[first]);
        target = (int)keyspace_shard_of(command_route_hash(c->argv[first], c->hash),
                                        shards_count(s->all));
    } else if (c->cmd->flags & CMD_ROUTED && (target = c->cmd->route(c)) < 0) {
        return;
    }
    c->shard = shards_get(s->all, (unsigned)target);
    c->keyspace = c->shard->keyspace;
    c->reply.owner = c->shard->id;
    c->cmd->run(c);
}

/* call: what net does with a command; the reply as text. */
static const char *call(struct server *s, const struct span *argv, uint32_t argc) {
    shard_claim();
    struct session session = {.proto = s->proto, .db = s->db};
    struct ctx c = {.shard = s->home,
                    .keyspace = s->home->keyspace,
                    .argv = argv,
                    .argc = argc,
                    .db = s->db,
                    .now_ms = s->now_ms,
                    .reply = {.out = &s->out, .proto = s->proto},
                    .big = s->big,
                    .session = &session};
    const struct command *cmd = command_find(argv[0]);
    if (cmd != NULL && cmd->flags & CMD_CONTAINER && argc > 1) {
        const struct command *sub = command_find_sub(cmd, argv[1]);
        if (sub == NULL)
            command_reply_unknown_sub(&c.reply, cmd, argv[1]);
        cmd = sub;
    } else if (cmd == NULL) {
        command_reply_unknown(&c.reply, argv, argc);
    }
    c.cmd = cmd;
    if (cmd != NULL) {
        if (cmd->arity >= 0 ? argc != (uint32_t)cmd->arity : argc < (uint32_t)-cmd->arity)
            command_reply_arity(&c.reply, cmd);
        else
            dispatch(s, &c);
    }
    s->big = c.big;
    take_reply(s, c.shard);
    return s->text;
}

/* run: the words of a line; '' is an empty word, ~N~ a word of N times 'v'. */
static const char *run(struct server *s, const char *line) {
    static char text[1 << 16];
    struct span argv[ARGS_MAX];
    uint32_t argc = 0;
    char *to = text;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        cr_assert(argc < ARGS_MAX);
        argv[argc].ptr = to;
        if (len > 2 && line[0] == '~') {
            size_t n = (size_t)atoi(line + 1);
            cr_assert(to + n < text + sizeof(text));
            memset(to, 'v', n);
            to += n;
        } else if (!(len == 2 && line[0] == '\'')) {
            memcpy(to, line, len);
            to += len;
        }
        argv[argc].len = (size_t)(to - argv[argc].ptr);
        argc++;
        line += len;
        line += *line == ' ';
    }
    return call(s, argv, argc);
}

static inline void expect(struct server *s, const char *line, const char *reply) {
    const char *got = run(s, line);
    cr_assert(strcmp(got, reply) == 0, "%s\n  replied %s  instead of %s", line, got, reply);
}

/* expect_bulk: the reply is this text as a bulk string. */
static inline void expect_bulk(struct server *s, const char *line, const char *text) {
    char reply[4096];
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(text), text);
    expect(s, line, reply);
}

struct exchange {
    const char *line, *reply;
};

static inline void expect_all(const struct exchange *list, size_t n) {
    struct server s;
    server_start(&s, 1);
    for (size_t i = 0; i < n; i++)
        expect(&s, list[i].line, list[i].reply);
    server_stop(&s);
}

#define ERR_INT "-ERR value is not an integer or out of range\r\n"
#define ERR_SYN "-ERR syntax error\r\n"
#define NIL     "$-1\r\n"
#define DONE    "+OK\r\n"
#define INT(n)  ":" #n "\r\n"

#endif
