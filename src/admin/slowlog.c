/* slowlog.c: SLOWLOG, and COMMANDLOG, which has the same for large requests and replies.
 *
 * A shard keeps the commands of its own connections. GET lets each shard write its newest entries as they
 * will be replied, a head before each; at home they are merged by the time in the head.
 */
#include "admin_impl.h"
#include "anax/instance.h"
#include "anax/words.h"

enum { GET_DEFAULT = 10 };

struct head {
    int64_t wall_us;
    uint64_t id;
    size_t bytes; /* of the entry that follows */
};

static const char ERR_COUNT[] = "ERR count should be greater than or equal to -1";
static const char ERR_KIND[] =
    "ERR type should be one of the following: slow, large-request, large-reply";

/* read_kind: COMMANDLOG says which log it means, in its last argument. */
static bool read_kind(const struct ctx *c, enum slow_kind *kind) {
    static const char *const names[SLOW_KINDS] = {
        [SLOW_TIME] = "slow", [SLOW_REQUEST] = "large-request", [SLOW_REPLY] = "large-reply"};
    *kind = SLOW_TIME;
    if (c->cmd->name[0] == 'S')
        return true;
    for (unsigned i = 0; i < SLOW_KINDS; i++) {
        if (span_is(c->argv[c->argc - 1], names[i])) {
            *kind = (enum slow_kind)i;
            return true;
        }
    }
    return false;
}

/* read_count: how many entries GET wants; -1 is all. */
static bool read_count(const struct ctx *c, uint64_t *count) {
    int64_t n = GET_DEFAULT;
    if (c->argc > 2 && (!words_int(c->argv[2], &n) || n < -1))
        return false;
    *count = (uint64_t)n;
    return true;
}

static struct slow_log *log_of(const struct ctx *c, enum slow_kind kind) {
    return &instance_of(c->shard)->observed.slow[kind];
}

/* length_max: what all shards together may show: each keeps as many, since it cannot know which of its
 * entries the others' will push out. */
static uint64_t length_max(const struct ctx *c, enum slow_kind kind) {
    const struct config *config = instance_of(c->shard)->config;
    const int64_t max[SLOW_KINDS] = {[SLOW_TIME] = config->slow_len_max,
                                     [SLOW_REQUEST] = config->request_len_max,
                                     [SLOW_REPLY] = config->reply_len_max};
    return (uint64_t)max[kind];
}

/* --- GET --- */

static void write_entry(struct reply *r, const struct slow *e) {
    reply_array(r, 6);
    reply_int(r, (int64_t)e->id);
    reply_int(r, e->wall_us / 1000000);
    reply_int(r, e->value);
    reply_array(r, e->argc);
    for (uint32_t i = 0; i < e->argc; i++)
        reply_bulk(r, e->args[i]);
    reply_bulk(r, e->client);
    reply_bulk(r, e->name);
}

static ON_SHARD void get_each(struct ctx *c) {
    struct outbuf *out = c->reply.out;
    enum slow_kind kind;
    uint64_t count;
    if (!read_kind(c, &kind) || !read_count(c, &count))
        return;
    const struct slow_log *log = log_of(c, kind);
    for (struct list *l = log->entries.next; l != &log->entries && count > 0; l = l->next) {
        const struct slow *e = CONTAINER_OF(l, struct slow, link);
        struct head head = {.wall_us = e->wall_us, .id = e->id};
        size_t at = out->len;
        outbuf_add(out, (const char *)&head, sizeof head);
        write_entry(&c->reply, e);
        if (out->failed)
            return;
        head.bytes = out->len - at - sizeof head;
        memcpy(out->buf + at, &head, sizeof head);
        count--;
    }
}

/* Where merging has come to in each shard's part. */
struct merge {
    struct outbuf *const *parts;
    unsigned n;
    size_t at[SHARDS_MAX];
};

static bool peek(const struct merge *m, unsigned part, struct head *head) {
    if (m->parts[part]->len - m->at[part] < sizeof *head)
        return false;
    memcpy(head, m->parts[part]->buf + m->at[part], sizeof *head);
    return true;
}

static uint64_t count_entries(struct outbuf *const *parts, unsigned n) {
    struct merge m = {.parts = parts, .n = n};
    struct head head;
    uint64_t count = 0;
    for (unsigned i = 0; i < n; i++)
        for (; peek(&m, i, &head); m.at[i] += sizeof head + head.bytes)
            count++;
    return count;
}

/* take_newest: false when there is no more. */
static bool take_newest(struct merge *m, struct span *entry) {
    struct head head, best = {0};
    unsigned from = m->n;
    for (unsigned i = 0; i < m->n; i++) {
        if (!peek(m, i, &head))
            continue;
        if (from == m->n || head.wall_us > best.wall_us ||
            (head.wall_us == best.wall_us && head.id > best.id)) {
            best = head;
            from = i;
        }
    }
    if (from == m->n)
        return false;
    *entry = (struct span){m->parts[from]->buf + m->at[from] + sizeof best, best.bytes};
    m->at[from] += sizeof best + best.bytes;
    return true;
}

static void get_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    struct merge m = {.parts = parts, .n = n};
    struct span entry;
    enum slow_kind kind;
    uint64_t count;
    if (c->cmd->name[0] == 'S' && c->argc > 3) {
        reply_errorf(&c->reply,
                     "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try SLOWLOG "
                     "HELP.",
                     (int)c->argv[1].len, c->argv[1].ptr);
        return;
    }
    if (!read_count(c, &count)) {
        reply_error(&c->reply, ERR_COUNT);
        return;
    }
    if (!read_kind(c, &kind)) {
        reply_error(&c->reply, ERR_KIND);
        return;
    }
    uint64_t there = count_entries(parts, n), max = length_max(c, kind);
    count = count < there ? count : there;
    count = count < max ? count : max;
    reply_array(&c->reply, count);
    for (; count > 0 && take_newest(&m, &entry); count--)
        outbuf_add(c->reply.out, entry.ptr, entry.len);
}

/* --- LEN, RESET --- */

static ON_SHARD void len_each(struct ctx *c) {
    enum slow_kind kind;
    if (!read_kind(c, &kind))
        return;
    uint64_t count = log_of(c, kind)->count;
    outbuf_add(c->reply.out, (const char *)&count, sizeof count);
}

static void len_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    enum slow_kind kind;
    uint64_t sum = 0, count;
    if (!read_kind(c, &kind)) {
        reply_error(&c->reply, ERR_KIND);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(&count, parts[i]->buf, sizeof count);
        sum += count;
    }
    uint64_t max = length_max(c, kind);
    reply_int(&c->reply, (int64_t)(sum < max ? sum : max));
}

static ON_SHARD void reset_each(struct ctx *c) {
    enum slow_kind kind;
    if (read_kind(c, &kind))
        observe_reset_slow(log_of(c, kind), &c->shard->mem);
}

static void reset_gather(struct ctx *c, struct outbuf *const *parts, unsigned n) {
    enum slow_kind kind;
    (void)parts;
    (void)n;
    if (read_kind(c, &kind))
        reply_ok(&c->reply);
    else
        reply_error(&c->reply, ERR_KIND);
}

/* --- rows --- */

#define GROUP      "server"
#define FLAGS      (CMD_ADMIN | CMD_LOADING | CMD_STALE | CMD_FANOUT)
#define TIPS_GET   "request_policy:all_nodes nondeterministic_output"
#define TIPS_LEN   "request_policy:all_nodes response_policy:agg_sum nondeterministic_output"
#define TIPS_RESET "request_policy:all_nodes response_policy:all_succeeded"
#define KIND       "type(SLOW|LARGE-REQUEST|LARGE-REPLY)"

static const struct command rows[] = {
    {"SLOWLOG", command_container_run, -2, NO_KEYS, CMD_CONTAINER, 0, GROUP, "2.2.12",
     "Depends on subcommand.", "Holds the commands about slow commands."},
    {"SLOWLOG|GET", NULL, -2, NO_KEYS, FLAGS, 0, GROUP, "2.2.12",
     "O(N) in the entries that are returned", "Returns the newest slow commands, 10 or [count].",
     .each = get_each, .gather = get_gather, .tips = TIPS_GET, .syntax = "[count]"},
    {"SLOWLOG|LEN", NULL, 2, NO_KEYS, FLAGS, 0, GROUP, "2.2.12", "O(1)",
     "Returns how many slow commands there are to see.", .each = len_each, .gather = len_gather,
     .tips = TIPS_LEN},
    {"SLOWLOG|RESET", NULL, 2, NO_KEYS, FLAGS, 0, GROUP, "2.2.12", "O(N) in the entries",
     "Forgets all slow commands.", .each = reset_each, .gather = reset_gather, .tips = TIPS_RESET},
    {"SLOWLOG|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, 0, GROUP, "6.2.0",
     "O(1)", "Lists the subcommands."},
    {"COMMANDLOG", command_container_run, -2, NO_KEYS, CMD_CONTAINER, 0, GROUP, "8.1.0",
     "Depends on subcommand.", "Holds the commands about slow and large commands."},
    {"COMMANDLOG|GET", NULL, 4, NO_KEYS, FLAGS, 0, GROUP, "8.1.0",
     "O(N) in the entries that are returned",
     "Returns the newest commands that were slow, or had a large request or reply.",
     .each = get_each, .gather = get_gather, .tips = TIPS_GET, .syntax = "count " KIND},
    {"COMMANDLOG|LEN", NULL, 3, NO_KEYS, FLAGS, 0, GROUP, "8.1.0", "O(1)",
     "Returns how many such commands there are to see.", .each = len_each, .gather = len_gather,
     .tips = TIPS_LEN, .syntax = KIND},
    {"COMMANDLOG|RESET", NULL, 3, NO_KEYS, FLAGS, 0, GROUP, "8.1.0", "O(N) in the entries",
     "Forgets all such commands.", .each = reset_each, .gather = reset_gather, .tips = TIPS_RESET,
     .syntax = KIND},
    {"COMMANDLOG|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, 0, GROUP, "8.1.0",
     "O(1)", "Lists the subcommands."},
};

void slowlog_register(void) {
    command_register(rows, COUNT_OF(rows));
}
