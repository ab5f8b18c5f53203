/* list.c: lists at their ends, and what is read of them. */
#include "list_impl.h"
#include "shards/assert.h"
#include <inttypes.h>

void list_reply_some(struct ctx *c, const struct val *v, uint64_t index, bool backward,
                     uint64_t n) {
    struct listval_iter i;
    struct lp_item item;
    reply_array(&c->reply, n);
    if (n == 0)
        return;
    listval_begin(&i, v, index, backward);
    for (; n > 0 && listval_next(&i, &item); n--)
        list_reply_item(&c->reply, &item);
    ASSERT(n == 0);
}

void list_reply_end(struct ctx *c, const struct val *v, enum listval_end end, uint64_t n) {
    bool backward = end == LISTVAL_TAIL;
    list_reply_some(c, v, backward ? listval_count(v) - 1 : 0, backward, n);
}

void list_take(struct ctx *c, struct coll *o, enum listval_end end, uint64_t n) {
    if (n == listval_count(&o->val)) { /* as a whole, so that a long one is freed in slices */
        coll_leave(c, o);
        if (ctx_delete(c, o->key))
            ctx_changed(c, o->key);
        return;
    }
    struct listval_limits limits = list_limits(c);
    listval_pop(&o->val, end, n, &limits);
    bool stored = coll_store(c, o);
    ASSERT(stored); /* nothing grew */
}

void list_give(struct outbuf *to, struct outbuf *made) {
    struct mem *m = to->mem;
    ASSERT(!made->failed);
    made->mem = m;
    if (to->len == 0 && to->ref_count == 0 && !to->failed) {
        outbuf_deinit(to);
        *to = *made;
        outbuf_init(made, m);
        return;
    }
    outbuf_add(to, made->buf, made->len);
    outbuf_deinit(made);
}

bool list_parse_end(struct ctx *c, uint32_t arg, enum listval_end *end) {
    *end = span_is(c->argv[arg], "RIGHT") ? LISTVAL_TAIL : LISTVAL_HEAD;
    if (*end == LISTVAL_TAIL || span_is(c->argv[arg], "LEFT"))
        return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* --- pushing and popping --- */

static ON_SHARD void push(struct ctx *c, enum listval_end end, bool create) {
    struct coll o;
    if (!coll_open(c, 1, VALUE_LIST, &o))
        return;
    if (o.val.form == VAL_NONE && !create) {
        coll_leave(c, &o);
        reply_int(&c->reply, 0);
        return;
    }
    struct listval_limits limits = list_limits(c);
    if (!listval_push(&o.val, end, c->argv + 2, c->argc - 2, &limits)) {
        coll_fail(c, &o);
        return;
    }
    uint64_t count = listval_count(&o.val);
    if (coll_store(c, &o))
        reply_int(&c->reply, (int64_t)count);
}

static ON_SHARD void lpush_run(struct ctx *c) {
    push(c, LISTVAL_HEAD, true);
}

static ON_SHARD void rpush_run(struct ctx *c) {
    push(c, LISTVAL_TAIL, true);
}

static ON_SHARD void lpushx_run(struct ctx *c) {
    push(c, LISTVAL_HEAD, false);
}

static ON_SHARD void rpushx_run(struct ctx *c) {
    push(c, LISTVAL_TAIL, false);
}

/* get_count: of LPOP and RPOP; 1 when there is none. */
static bool get_count(struct ctx *c, uint64_t *count) {
    int64_t n = 1;
    if (c->argc > 3) {
        command_reply_arity(&c->reply, c->cmd);
        return false;
    }
    if (c->argc == 3 && (!strval_parse_int(c->argv[2], &n) || n < 0)) {
        reply_error(&c->reply, "ERR value is out of range, must be positive");
        return false;
    }
    *count = (uint64_t)n;
    return true;
}

static ON_SHARD void pop(struct ctx *c, enum listval_end end) {
    struct coll o;
    uint64_t n;
    if (!get_count(c, &n) || !coll_open(c, 1, VALUE_LIST, &o))
        return;
    uint64_t count = listval_count(&o.val);
    if (count == 0 || n == 0) {
        coll_leave(c, &o);
        if (c->argc == 2)
            reply_null(&c->reply);
        else if (count == 0)
            reply_null_array(&c->reply);
        else
            reply_array(&c->reply, 0);
        return;
    }
    n = n < count ? n : count;
    if (c->argc == 2) {
        struct lp_item item;
        bool there = listval_at(&o.val, end == LISTVAL_HEAD ? 0 : count - 1, &item);
        ASSERT(there);
        list_reply_item(&c->reply, &item);
    } else {
        list_reply_end(c, &o.val, end, n);
    }
    list_take(c, &o, end, n);
}

static ON_SHARD void lpop_run(struct ctx *c) {
    pop(c, LISTVAL_HEAD);
}

static ON_SHARD void rpop_run(struct ctx *c) {
    pop(c, LISTVAL_TAIL);
}

/* --- reading --- */

static ON_SHARD void llen_run(struct ctx *c) {
    struct val v;
    if (coll_read(c, 1, VALUE_LIST, &v))
        reply_int(&c->reply, (int64_t)listval_count(&v));
}

static ON_SHARD void lrange_run(struct ctx *c) {
    int64_t from, to;
    struct val v;
    if (!ctx_get_int(c, 2, &from) || !ctx_get_int(c, 3, &to) || !coll_read(c, 1, VALUE_LIST, &v))
        return;
    int64_t count = (int64_t)listval_count(&v);
    from = from >= 0 ? from : from + count < 0 ? 0 : from + count;
    to = to < 0 ? to + count : to < count ? to : count - 1;
    if (from > to)
        reply_array(&c->reply, 0);
    else
        list_reply_some(c, &v, (uint64_t)from, false, (uint64_t)(to - from) + 1);
}

static ON_SHARD void lindex_run(struct ctx *c) {
    int64_t index = 0;
    struct val v;
    struct lp_item item;
    if (!coll_read(c, 1, VALUE_LIST, &v) || (v.form != VAL_NONE && !ctx_get_int(c, 2, &index)))
        return;
    if (index < 0)
        index += (int64_t)listval_count(&v);
    if (index >= 0 && listval_at(&v, (uint64_t)index, &item))
        list_reply_item(&c->reply, &item);
    else
        reply_null(&c->reply);
}

/* --- LPOS --- */

struct lpos {
    int64_t rank, count, compare_max; /* count -1: not an array */
};

static bool lpos_options(struct ctx *c, struct lpos *o) {
    *o = (struct lpos){1, -1, 0};
    for (uint32_t i = 3; i < c->argc; i += 2) {
        int64_t *to = span_is(c->argv[i], "RANK")     ? &o->rank
                      : span_is(c->argv[i], "COUNT")  ? &o->count
                      : span_is(c->argv[i], "MAXLEN") ? &o->compare_max
                                                      : NULL;
        if (to == NULL || i + 1 == c->argc) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        if (to == &o->rank) {
            if (!ctx_get_int(c, i + 1, to))
                return false;
            if (o->rank == INT64_MIN) {
                reply_errorf(&c->reply,
                             "ERR value is out of range, value must between %" PRId64
                             " and %" PRId64,
                             -INT64_MAX, INT64_MAX);
                return false;
            }
            if (o->rank == 0) {
                reply_error(&c->reply,
                            "ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                            "the second ... or use negative to start from the end of the list");
                return false;
            }
        } else if (!strval_parse_int(c->argv[i + 1], to) || *to < 0) {
            reply_errorf(&c->reply, "ERR %s can't be negative",
                         to == &o->count ? "COUNT" : "MAXLEN");
            return false;
        }
    }
    return true;
}

/* put_array_head: what was replied since the reply was `begin` bytes long becomes an array of n. */
static void put_array_head(struct reply *r, size_t begin, size_t n) {
    char head[32];
    struct outbuf *o = r->out;
    size_t end = o->len;
    reply_array(r, n);
    size_t bytes = o->len - end;
    if (o->failed)
        return;
    ASSERT(bytes <= sizeof(head));
    memcpy(head, o->buf + end, bytes);
    memmove(o->buf + begin + bytes, o->buf + begin, end - begin);
    memcpy(o->buf + begin, head, bytes);
}

/* What is left to be found. */
struct finding {
    struct listval_iter i;
    struct lp_key k;
    uint64_t skip, wanted, found, compare_max;
    struct outbuf *to; /* where the indexes are replied; NULL: to `made` */
    struct outbuf made;
};

static void find_all(void *state, struct mem *m) {
    struct finding *f = state;
    struct reply r = {.out = f->to != NULL ? f->to : &f->made};
    f->made.mem = m;
    while (f->found < f->wanted && listval_find(&f->i, &f->k, &f->compare_max)) {
        if (f->skip > 0) {
            f->skip--;
            continue;
        }
        reply_int(&r, (int64_t)f->i.index);
        f->found++;
    }
}

static void finding_begin(struct ctx *c, struct finding *f, const struct lpos *o,
                          const struct val *v) {
    bool backward = o->rank < 0;
    *f =
        (struct finding){.k = lp_key_of(c->argv[2]),
                         .skip = (uint64_t)(backward ? -o->rank : o->rank) - 1,
                         .wanted = o->count < 0    ? 1
                                   : o->count == 0 ? UINT64_MAX
                                                   : (uint64_t)o->count,
                         .compare_max = o->compare_max == 0 ? UINT64_MAX : (uint64_t)o->compare_max,
                         .to = c->locked ? NULL : c->reply.out};
    listval_begin(&f->i, v, backward ? listval_count(v) - 1 : 0, backward);
}

/* found_near: all that is wanted is found before it takes long; else nothing has been replied, and f is as it was. */
static ON_SHARD bool found_near(struct ctx *c, struct finding *f) {
    struct finding near = *f;
    size_t begin = c->reply.out->len;
    uint64_t soon = instance_of(c->shard)->long_elements;
    if (f->to == NULL || f->compare_max < soon || f->i.left < soon)
        return false;
    near.compare_max = soon;
    find_all(&near, &c->shard->mem);
    if (near.found < near.wanted) {
        c->reply.out->len = begin;
        return false;
    }
    *f = near;
    return true;
}

/* find: false: it is called again. */
static ON_SHARD bool find(struct ctx *c, struct finding *f) {
    uint64_t elements = f->compare_max < f->i.left ? f->compare_max : f->i.left;
    return found_near(c, f) ||
           (!ctx_long(c, elements) && ctx_work(c, elements, find_all, f, sizeof *f));
}

static ON_SHARD void lpos_run(struct ctx *c) {
    struct lpos o;
    struct finding f;
    struct val v;
    size_t begin = c->reply.out->len;
    bool resumed = ctx_resume(c, &f, sizeof f);
    if (!lpos_options(c, &o) || (!resumed && !coll_read(c, 1, VALUE_LIST, &v)))
        return;
    if (!resumed) {
        finding_begin(c, &f, &o, &v);
        if (!find(c, &f))
            return;
    }
    if (f.to == NULL && f.made.failed) {
        f.made.mem = &c->shard->mem;
        outbuf_deinit(&f.made);
        ctx_oom(c);
        return;
    }
    if (f.to == NULL)
        list_give(c->reply.out, &f.made);
    if (o.count >= 0)
        put_array_head(&c->reply, begin, f.found);
    else if (f.found == 0)
        reply_null(&c->reply);
}

/* --- */

static const struct command rows[] = {
    {"LPUSH", lpush_run, -3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_LIST, "list", "1.0.0",
     "O(1) for each element added", "Puts elements before the first of a list, one after another.",
     .key_access = "RW insert", .syntax = "key element..."},
    {"RPUSH", rpush_run, -3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_LIST, "list", "1.0.0",
     "O(1) for each element added", "Puts elements behind the last of a list.",
     .key_access = "RW insert", .syntax = "key element..."},
    {"LPUSHX", lpushx_run, -3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_LIST, "list",
     "2.2.0", "O(1) for each element added", "As LPUSH, if there is such a list.",
     .key_access = "RW insert", .syntax = "key element..."},
    {"RPUSHX", rpushx_run, -3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_LIST, "list",
     "2.2.0", "O(1) for each element added", "As RPUSH, if there is such a list.",
     .key_access = "RW insert", .syntax = "key element..."},
    {"LPOP", lpop_run, -2, KEY(1), CMD_WRITE | CMD_FAST, ACL_LIST, "list", "1.0.0",
     "O(N) in the elements returned", "Takes the first elements of a list and returns them.",
     .key_access = "RW access delete", .syntax = "key [count]"},
    {"RPOP", rpop_run, -2, KEY(1), CMD_WRITE | CMD_FAST, ACL_LIST, "list", "1.0.0",
     "O(N) in the elements returned",
     "Takes the last elements of a list and returns them, the last one first.",
     .key_access = "RW access delete", .syntax = "key [count]"},
    {"LLEN", llen_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_LIST, "list", "1.0.0", "O(1)",
     "Returns how many elements a list has.", .key_access = "RO", .syntax = "key"},
    {"LRANGE", lrange_run, 4, KEY(1), CMD_READ, ACL_LIST, "list", "1.0.0",
     "O(log L + N) for N elements returned of L", "Returns elements of a list by their indexes.",
     .key_access = "RO access", .syntax = "key start:integer stop:integer"},
    {"LINDEX", lindex_run, 3, KEY(1), CMD_READ, ACL_LIST, "list", "1.0.0",
     "O(log N) in the elements of the list", "Returns the element at an index of a list.",
     .key_access = "RO access", .syntax = "key index:integer"},
    {"LPOS", lpos_run, -3, KEY(1), CMD_READ | CMD_LONG, ACL_LIST, "list", "6.0.6",
     "O(N) in the elements compared", "Returns the indexes of elements that are equal to one.",
     .key_access = "RO access",
     .syntax = "key element [RANK=rank:integer] [COUNT=num-matches:integer] [MAXLEN=len:integer]"},
};

void list_register(void) {
    command_register(rows, COUNT_OF(rows));
    list_edit_register();
    list_move_register();
}
