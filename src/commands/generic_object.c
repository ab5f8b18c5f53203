/* generic_object.c: OBJECT: how a value is kept. */
#include "coll_impl.h"
#include "str_entry_impl.h"

/* find: the entry of argv[2], which being looked at does not make look used; null is replied for
 * none. */
static ON_SHARD const struct entry *find(struct ctx *c) {
    const struct entry *e = ctx_peek(c, 2);
    if (e == NULL)
        reply_null(&c->reply);
    return e;
}

const char *object_encoding(const struct entry *e) {
    enum repr repr = entry_repr(e);
    if (entry_type(e) != VALUE_STRING) {
        struct val v;
        coll_of_entry(e, NULL, &v); /* which is only looked at */
        return val_encoding(&v);
    }
    if (repr == REPR_INT)
        return "int";
    return repr == REPR_INLINE && entry_bytes(e).len <= STRVAL_EMBSTR_MAX ? "embstr" : "raw";
}

static ON_SHARD void encoding_run(struct ctx *c) {
    const struct entry *e = find(c);
    if (e != NULL)
        reply_bulk_cstr(&c->reply, object_encoding(e));
}

/* access_kept: what the policy makes an entry remember. */
static ON_SHARD struct access *access_kept(struct ctx *c) {
    struct access *a = keyspace_access(c->keyspace);
    access_at(a, c->now_ms);
    return a;
}

#define MAY_TAKE_TIME                                                                              \
    " Please note that when switching between policies at runtime LRU and LFU data will take "     \
    "some "                                                                                        \
    "time to adjust."

static ON_SHARD void freq_run(struct ctx *c) {
    const struct entry *e = find(c);
    const struct access *a = access_kept(c);
    if (e == NULL)
        return;
    if (a->kind == ACCESS_COUNTED)
        reply_int(&c->reply, access_frequency(a, entry_access(e)));
    else
        reply_error(&c->reply, "ERR An LFU maxmemory policy is not selected, access frequency not "
                               "tracked." MAY_TAKE_TIME);
}

static ON_SHARD void idletime_run(struct ctx *c) {
    const struct entry *e = find(c);
    const struct access *a = access_kept(c);
    if (e == NULL)
        return;
    if (a->kind == ACCESS_COUNTED)
        reply_error(
            &c->reply,
            "ERR An LFU maxmemory policy is selected, idle time not tracked." MAY_TAKE_TIME);
    else if (a->kind == ACCESS_PLACED)
        reply_error(&c->reply,
                    "ERR An S3-FIFO maxmemory policy is selected, idle time not tracked.");
    else
        reply_int(&c->reply, (int64_t)access_idle_s(a, entry_access(e)));
}

void object_describe(const struct entry *e, struct object_info *out) {
    if (entry_type(e) == VALUE_STRING) {
        size_t len = str_entry_len(e);
        *out = (struct object_info){.form = "string", .bytes = len, .flat = true};
        return;
    }
    struct val v;
    coll_of_entry(e, NULL, &v);
    const struct object *o = val_object(&v);
    *out = (struct object_info){.form = val_form_name(v.form),
                                .elements = val_count(&v),
                                .flat = val_is_flat(&v),
                                .bytes = val_is_flat(&v) ? v.len : val_bytes(&v),
                                .weight = o == NULL ? 0 : o->weight,
                                .due_ms = o == NULL ? OBJECT_NEVER : o->due_ms};
}

/* Redis keeps one object for each of the integers below SHARED_INTEGERS and tells that it has
 * countless owners. */
int object_refcount(const struct entry *e) {
    enum { SHARED_INTEGERS = 10000 };
    bool shared = entry_repr(e) == REPR_INT && entry_int(e) >= 0 && entry_int(e) < SHARED_INTEGERS;
    return shared ? INT32_MAX : 1;
}

static ON_SHARD void refcount_run(struct ctx *c) {
    const struct entry *e = find(c);
    if (e != NULL)
        reply_int(&c->reply, object_refcount(e));
}

static const struct command rows[] = {
    {"OBJECT", NULL, -2, NO_KEYS, CMD_CONTAINER, 0, "generic", "2.2.3", "depends on the subcommand",
     "Tells how values are kept.", .key_access = NULL},
    {"OBJECT|ENCODING", encoding_run, 3, KEY(2), CMD_READ, ACL_KEYSPACE, "generic", "2.2.3", "O(1)",
     "Returns how the value of a key is kept.", .tips = "nondeterministic_output",
     .key_access = "RO", .syntax = "key"},
    {"OBJECT|FREQ", freq_run, 3, KEY(2), CMD_READ, ACL_KEYSPACE, "generic", "4.0.0", "O(1)",
     "Returns how often a key is accessed.", .tips = "nondeterministic_output", .key_access = "RO",
     .syntax = "key"},
    {"OBJECT|IDLETIME", idletime_run, 3, KEY(2), CMD_READ, ACL_KEYSPACE, "generic", "2.2.3", "O(1)",
     "Returns the seconds since a key was accessed last.", .tips = "nondeterministic_output",
     .key_access = "RO", .syntax = "key"},
    {"OBJECT|REFCOUNT", refcount_run, 3, KEY(2), CMD_READ, ACL_KEYSPACE, "generic", "2.2.3", "O(1)",
     "Returns how many owners the value of a key has.", .tips = "nondeterministic_output",
     .key_access = "RO", .syntax = "key"},
    {"OBJECT|HELP", command_help_run, 2, NO_KEYS, CMD_LOADING | CMD_STALE, ACL_KEYSPACE, "generic",
     "6.2.0", "O(1)", "Returns what OBJECT's subcommands do.", .key_access = NULL},
};

void generic_object_register(void) {
    command_register(rows, COUNT_OF(rows));
}
