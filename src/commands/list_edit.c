/* list_edit.c: lists in the middle: LSET, LINSERT, LREM, LTRIM. */
#include "list_impl.h"

static ON_SHARD void lset_run(struct ctx *c) {
    struct coll o;
    int64_t index;
    if (!coll_open(c, 1, VALUE_LIST, &o))
        return;
    int64_t count = (int64_t)listval_count(&o.val);
    if (count == 0) {
        coll_leave(c, &o);
        reply_error(&c->reply, ERR_NO_KEY);
        return;
    }
    if (!ctx_get_int(c, 2, &index)) {
        coll_leave(c, &o);
        return;
    }
    if (index < 0)
        index += count;
    if (index < 0 || index >= count) {
        coll_leave(c, &o);
        reply_error(&c->reply, "ERR index out of range");
        return;
    }
    struct listval_limits limits = list_limits(c);
    if (!listval_set(&o.val, (uint64_t)index, c->argv[3], &limits))
        coll_fail(c, &o);
    else if (coll_store(c, &o))
        reply_ok(&c->reply);
}

/* --- LINSERT, LREM: what is far is looked for beside the shard --- */

struct search {
    struct val list;
    struct span text;
    enum listval_end from; /* LREM: the end that `max` are removed from */
    uint64_t max;
    struct listval_limits limits;
    bool found;
    uint64_t index, removed;
};

static void find_first(void *state, struct mem *m) {
    struct search *s = state;
    struct lp_key k = lp_key_of(s->text);
    uint64_t all = UINT64_MAX;
    struct listval_iter i;
    (void)m;
    listval_begin(&i, &s->list, 0, false);
    s->found = listval_find(&i, &k, &all);
    s->index = i.index;
}

static void remove_equal(void *state, struct mem *m) {
    struct search *s = state;
    s->list.mem = m;
    s->removed = listval_remove_equal(&s->list, s->text, s->from, s->max, &s->limits);
}

/* is_near: all that the search is for is among as many elements as take no time. */
static ON_SHARD bool is_near(struct ctx *c, const struct search *s) {
    uint64_t soon = instance_of(c->shard)->long_elements, count = listval_count(&s->list);
    struct lp_key k = lp_key_of(s->text);
    struct listval_iter i;
    if (count < soon)
        return true;
    if (s->max > soon)
        return false;
    bool backward = s->from == LISTVAL_TAIL;
    uint64_t n = s->max;
    listval_begin(&i, &s->list, backward ? count - 1 : 0, backward);
    while (n > 0 && listval_find(&i, &k, &soon))
        n--;
    return n == 0;
}

/* search: fn on the list that was opened. False: it is not open any more, and the command is called again. What lies in
 * an entry is short, and not to be touched from elsewhere. */
static ON_SHARD bool search(struct ctx *c, struct coll *o, struct search *s, work_fn *fn) {
    s->list = o->val;
    if (o->object == NULL || is_near(c, s)) {
        fn(s, o->val.mem);
        o->val = s->list;
        return true;
    }
    uint64_t elements = listval_count(&o->val);
    if (ctx_long(c, elements) || !ctx_work(c, elements, fn, s, sizeof *s)) {
        coll_leave(c, o);
        return false;
    }
    return true;
}

static ON_SHARD void linsert_run(struct ctx *c) {
    struct coll o;
    struct search s;
    bool resumed = ctx_resume(c, &s, sizeof s), after = span_is(c->argv[2], "AFTER");
    if (!after && !span_is(c->argv[2], "BEFORE")) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (!coll_open(c, 1, VALUE_LIST, &o))
        return;
    if (!resumed) {
        s = (struct search){.text = c->argv[3], .from = LISTVAL_HEAD, .max = 1};
        if (!search(c, &o, &s, find_first))
            return;
    }
    if (!s.found) {
        reply_int(&c->reply, o.val.form == VAL_NONE ? 0 : -1);
        coll_leave(c, &o);
        return;
    }
    struct listval_limits limits = list_limits(c);
    if (!listval_insert(&o.val, s.index + after, c->argv[4], &limits)) {
        coll_fail(c, &o);
        return;
    }
    uint64_t count = listval_count(&o.val);
    if (coll_store(c, &o))
        reply_int(&c->reply, (int64_t)count);
}

static ON_SHARD void lrem_run(struct ctx *c) {
    struct coll o;
    struct search s;
    int64_t n;
    bool resumed = ctx_resume(c, &s, sizeof s);
    if (!ctx_get_int(c, 2, &n) || !coll_open(c, 1, VALUE_LIST, &o))
        return;
    if (!resumed) {
        s = (struct search){.text = c->argv[3],
                            .from = n < 0 ? LISTVAL_TAIL : LISTVAL_HEAD,
                            .max = n == 0  ? UINT64_MAX
                                   : n > 0 ? (uint64_t)n
                                           : -(uint64_t)n,
                            .limits = list_limits(c)};
        if (o.val.form != VAL_NONE && !search(c, &o, &s, remove_equal))
            return;
    }
    if (s.removed == 0) {
        coll_leave(c, &o);
    } else {
        listval_settle(&o.val, &s.limits);
        if (!coll_store(c, &o))
            return;
    }
    reply_int(&c->reply, (int64_t)s.removed);
}

/* keep: of what was opened; some stay and some go. */
static ON_SHARD void keep(struct ctx *c, struct coll *o, uint64_t from, uint64_t to) {
    struct listval_limits limits = list_limits(c);
    struct object *rest;
    listval_keep(&o->val, from, to, &limits, &rest);
    if (rest != NULL)
        keyspace_bury(c->keyspace, rest);
    if (coll_store(c, o))
        reply_ok(&c->reply);
}

static ON_SHARD void ltrim_run(struct ctx *c) {
    struct coll o;
    int64_t from, to;
    if (!ctx_get_int(c, 2, &from) || !ctx_get_int(c, 3, &to) || !coll_open(c, 1, VALUE_LIST, &o))
        return;
    int64_t count = (int64_t)listval_count(&o.val);
    from = from >= 0 ? from : from + count < 0 ? 0 : from + count;
    to = to < 0 ? to + count : to < count ? to : count - 1;
    if (count == 0 || (from == 0 && to + 1 == count)) {
        coll_leave(c, &o);
        if (count != 0) /* Redis tells WATCH of every LTRIM */
            ctx_changed(c, 1);
        reply_ok(&c->reply);
    } else if (from > to) {
        list_take(c, &o, LISTVAL_HEAD, (uint64_t)count);
        reply_ok(&c->reply);
    } else {
        keep(c, &o, (uint64_t)from, (uint64_t)to + 1);
    }
}

static const struct command rows[] = {
    {"LSET", lset_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM, ACL_LIST, "list", "1.0.0",
     "O(log N) to find the element, O(N) in bytes near it", "Replaces the element at an index.",
     .key_access = "RW update", .syntax = "key index:integer element"},
    {"LINSERT", linsert_run, 5, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_LONG, ACL_LIST, "list",
     "2.2.0", "O(N) in the elements before the pivot",
     "Puts an element before or behind another one.", .key_access = "RW insert",
     .syntax = "key where(BEFORE|AFTER) pivot element"},
    {"LREM", lrem_run, 4, KEY(1), CMD_WRITE | CMD_LONG, ACL_LIST, "list", "1.0.0",
     "O(N) in the elements of the list", "Removes elements that are equal to one.",
     .key_access = "RW delete", .syntax = "key count element"},
    {"LTRIM", ltrim_run, 4, KEY(1), CMD_WRITE, ACL_LIST, "list", "1.0.0",
     "O(N) in the elements removed", "Removes all elements but those of a range of indexes.",
     .key_access = "RW delete", .syntax = "key start:integer stop:integer"},
};

void list_edit_register(void) {
    command_register(rows, COUNT_OF(rows));
}
