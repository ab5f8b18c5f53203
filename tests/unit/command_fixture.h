/* command_fixture.h: shards without a network, and a way to call commands as net does and to look
 * at the reply.
 *
 * A call whose keys lie on several shards goes through its steps here one after the other, on all
 * shards in the order of their ids (struct across); across_* are those steps, for tests that look
 * at what is between them. */
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
    cr_assert(hash_seed(&seed) == OK);
    command_register_families();
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
    config_defaults(&options);
    for (unsigned i = 0; i < shards; i++) {
        struct shard *at = shards_get(s->all, i);
        struct instance *in = calloc(1, sizeof(*in));
        at->app = in;
        in->config = &options;
        in->watches = watch_table_create(at);
        cr_assert(in->watches != NULL);
    }
    outbuf_init(&s->out, &s->out_mem);
}

static inline void server_stop(struct server *s) {
    free(s->text);
    s->out.ref_count = 0;
    outbuf_deinit(&s->out);
    for (unsigned i = 0; i < shards_count(s->all); i++) {
        struct shard *at = shards_get(s->all, i);
        struct instance *in = instance_of(at);
        watch_table_destroy(in->watches, &at->mem);
        free(in);
    }
    cr_assert_eq(shards_destroy(s->all), 0, "a shard's account is not what it holds");
    cr_assert_eq(s->out_mem.used_bytes, 0);
}

/* take_reply: makes the reply one text, and gives its references back. */
static inline void take_reply(struct server *s) {
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
        blob_unpin(&shards_get(s->all, o->refs[i].owner)->mem, o->refs[i].blob);
    }
    if (o->len > from)
        memcpy(s->text + to, o->buf + from, o->len - from);
    s->text_len = to + o->len - from;
    s->text[s->text_len] = '\0';
    o->len = 0;
    o->ref_count = 0;
    o->ref_bytes = 0;
}

static inline ON_SHARD void run_everywhere(struct server *s, struct ctx *c) {
    unsigned n = shards_count(s->all);
    struct outbuf parts[SHARDS_MAX], *list[SHARDS_MAX];
    void *state = NULL;
    c->state = &state;
    do {
        c->again = false;
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
    } while (c->again);
    cr_assert(state == NULL);
    for (unsigned i = 0; c->freed && i < n; i++) /* as net does before it replies */
        while (keyspace_free_some(shards_get(s->all, i)->keyspace, UINT32_MAX))
            ;
}

/* --- a call whose keys lie on several shards --- */

struct across_call {
    struct server *s;
    struct ctx *c; /* of home */
    struct key_slots slots;
    uint32_t first[SHARDS_MAX];
    struct outbuf parts[SHARDS_MAX];
    int64_t tally[SHARDS_MAX];
};

static inline unsigned shard_of_key(const struct server *s, struct span key) {
    return keyspace_shard_of(command_route_hash(key, hash_of(key)), shards_count(s->all));
}

static inline void across_begin(struct across_call *a, struct server *s, struct ctx *c,
                                uint32_t first, uint32_t last, uint32_t step) {
    const struct across *row = c->cmd->across;
    uint32_t n = command_key_index(c->cmd, first, step, last) + 1, *end[SHARDS_MAX];
    *a = (struct across_call){.s = s, .c = c};
    a->slots = (struct key_slots){n,
                                  first,
                                  step,
                                  row->decide == NULL && row->look == NULL,
                                  calloc(n, sizeof(struct key_slot)),
                                  a->first};
    for (unsigned i = 0; i < shards_count(s->all); i++) {
        outbuf_init(&a->parts[i], &s->out_mem);
        a->first[i] = SLOT_END;
        end[i] = &a->first[i];
    }
    for (uint32_t i = 0, arg = first; i < n; i++, arg = command_next_key(c->cmd, arg, step)) {
        struct key_slot *k = &a->slots.slot[i];
        k->arg = arg;
        k->hash = hash_of(c->argv[k->arg]);
        k->shard = (uint16_t)shard_of_key(s, c->argv[k->arg]);
        k->next = SLOT_END;
        *end[k->shard] = i;
        end[k->shard] = &k->next;
    }
    c->slots = &a->slots;
    c->hash = a->slots.slot[0].hash;
}

static inline void across_end(struct across_call *a) {
    for (unsigned i = 0; i < shards_count(a->s->all); i++) {
        a->parts[i].ref_count = 0;
        outbuf_deinit(&a->parts[i]);
    }
    free(a->slots.slot);
    a->c->slots = NULL;
}

/* across_at: one step on one shard. */
static inline void across_at(struct across_call *a, unsigned shard, command_fn *fn,
                             struct outbuf *out) {
    shard_claim();
    struct ctx at = *a->c;
    at.shard = shards_get(a->s->all, shard);
    at.keyspace = at.shard->keyspace;
    at.session = NULL;
    at.tally = 0;
    at.reply = (struct reply){.out = out, .proto = a->c->reply.proto, .owner = at.shard->id};
    fn(&at);
    a->tally[shard] = at.tally;
    a->c->big = at.big;
}

/* across_all: one step on every shard that has keys of the call. */
static inline void across_all(struct across_call *a, command_fn *fn) {
    for (unsigned i = 0; i < shards_count(a->s->all); i++) {
        if (a->first[i] != SLOT_END)
            across_at(a, i, fn, &a->parts[i]);
    }
}

static inline int64_t across_tally(const struct across_call *a) {
    int64_t sum = 0;
    for (unsigned i = 0; i < shards_count(a->s->all); i++)
        sum += a->tally[i];
    return sum;
}

/* across_run: where argv[at] lies; its reply is the call's. */
static inline void across_run(struct across_call *a) {
    const struct command *cmd = a->c->cmd;
    uint32_t at = cmd->across->at;
    struct span key =
        a->c->argv[at == ACROSS_LAST_KEY ? a->slots.slot[a->slots.count - 1].arg : at];
    across_at(a, shard_of_key(a->s, key), cmd->run, &a->s->out);
}

/* take_slot: moves the reply for one key behind what has been joined. */
static inline void take_slot(struct across_call *a, const struct key_slot *k, size_t *from,
                             uint32_t *ref) {
    struct outbuf *part = &a->parts[k->shard], *out = &a->s->out;
    for (; *ref < k->refs_end; (*ref)++) {
        const struct outref *r = &part->refs[*ref];
        outbuf_add(out, part->buf + *from, r->at - *from);
        *from = r->at;
        cr_assert(outbuf_move_ref(out, r, NULL));
    }
    outbuf_add(out, part->buf + *from, k->reply_end - *from);
    *from = k->reply_end;
}

static inline void across_join(struct across_call *a) {
    size_t from[SHARDS_MAX] = {0};
    uint32_t ref[SHARDS_MAX] = {0};
    switch (a->c->cmd->across->join) {
    case JOIN_NONE:
        return;
    case JOIN_SUM:
        reply_int(&a->c->reply, across_tally(a));
        return;
    case JOIN_OK:
        reply_ok(&a->c->reply);
        return;
    case JOIN_KEYS:
        reply_array(&a->c->reply, a->slots.count);
        for (uint32_t i = 0; i < a->slots.count; i++) {
            unsigned at = a->slots.slot[i].shard;
            take_slot(a, &a->slots.slot[i], &from[at], &ref[at]);
        }
    }
}

static inline void run_across(struct server *s, struct ctx *c, uint32_t first, uint32_t last,
                              uint32_t step) {
    const struct across *row = c->cmd->across;
    struct across_call a;
    bool goes_on = true;
    across_begin(&a, s, c, first, last, step);
    if (row->look != NULL)
        across_all(&a, row->look);
    if (row->decide != NULL) {
        c->tally = across_tally(&a);
        goes_on = row->decide(c);
    }
    if (goes_on && row->at != 0)
        across_run(&a);
    int64_t looked[SHARDS_MAX];
    memcpy(looked, a.tally, sizeof(looked));
    if (row->after != NULL)
        across_all(&a, row->after);
    if (row->look != NULL)
        memcpy(a.tally, looked, sizeof(looked));
    if (goes_on)
        across_join(&a);
    across_end(&a);
}

static inline bool on_one_shard(const struct server *s, const struct ctx *c, uint32_t first,
                                uint32_t last, uint32_t step) {
    for (uint32_t i = first; i <= last; i = command_next_key(c->cmd, i, step))
        if (shard_of_key(s, c->argv[i]) != shard_of_key(s, c->argv[first]))
            return false;
    return true;
}

static inline void dispatch(struct server *s, struct ctx *c) {
    uint32_t first, last, step;
    int target = 0;
    shard_claim();
    if (c->cmd->check != NULL && !c->cmd->check(c))
        return;
    if (c->cmd->variant != NULL)
        c->cmd = c->cmd->variant(c->argv, c->argc);
    if (c->cmd->flags & CMD_FANOUT) {
        run_everywhere(s, c);
        return;
    }
    if (command_keys(c->cmd, c->argv, c->argc, &first, &last, &step)) {
        bool one = on_one_shard(s, c, first, last, step);
        if (!one || c->cmd->flags & CMD_ACROSS) {
            if (c->cmd->across != NULL)
                run_across(s, c, first, last, step);
            else
                reply_error(&c->reply, ERR_CROSS_SHARD);
            return;
        }
        c->hash = hash_of(c->argv[first]);
        target = (int)shard_of_key(s, c->argv[first]);
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
    take_reply(s);
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
