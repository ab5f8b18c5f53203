/* string_range.c: parts of strings. */
#include "str_entry_impl.h"

/* fits: false, with Redis's error, when a string would become longer than a bulk string may be. */
static bool fits(struct ctx *c, uint64_t from, uint64_t len) {
    uint64_t most = ctx_string_max(c);
    if (from <= most && len <= most && from + len <= most)
        return true;
    reply_error(&c->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

static ON_SHARD void append_run(struct ctx *c) {
    struct entry *e;
    if (!ctx_find_string(c, 1, &e))
        return;
    struct span more = c->argv[2];
    if (e == NULL) {
        if (!str_entry_set(c, 1, more, EXPIRE_NEVER))
            return;
        ctx_changed(c, 1);
        reply_int(&c->reply, (int64_t)more.len);
        return;
    }
    size_t old = str_entry_len(e);
    if (!fits(c, old, more.len))
        return;
    char *bytes = str_entry_edit(c, 1, e, old + more.len);
    if (bytes == NULL)
        return;
    memcpy(bytes + old, more.ptr, more.len);
    ctx_changed(c, 1);
    reply_int(&c->reply, (int64_t)(old + more.len));
}

static ON_SHARD void strlen_run(struct ctx *c) {
    struct entry *e;
    if (ctx_find_string(c, 1, &e))
        reply_int(&c->reply, e == NULL ? 0 : (int64_t)str_entry_len(e));
}

static ON_SHARD void setrange_run(struct ctx *c) {
    int64_t offset;
    struct entry *e;
    if (!ctx_get_int(c, 2, &offset))
        return;
    if (offset < 0) {
        reply_error(&c->reply, "ERR offset is out of range");
        return;
    }
    if (!ctx_find_string(c, 1, &e))
        return;
    struct span with = c->argv[3];
    size_t old = e == NULL ? 0 : str_entry_len(e);
    if (with.len == 0) {
        reply_int(&c->reply, (int64_t)old);
        return;
    }
    if (!fits(c, (uint64_t)offset, with.len))
        return;
    size_t end = (size_t)offset + with.len;
    char *bytes = str_entry_edit(c, 1, e, end);
    if (bytes == NULL)
        return;
    memcpy(bytes + offset, with.ptr, with.len);
    ctx_changed(c, 1);
    reply_int(&c->reply, (int64_t)(end > old ? end : old));
}

static ON_SHARD void getrange_run(struct ctx *c) {
    int64_t start, end;
    struct entry *e;
    if (!ctx_get_int(c, 2, &start) || !ctx_get_int(c, 3, &end) || !ctx_find_string(c, 1, &e))
        return;
    int64_t len = e == NULL ? 0 : (int64_t)str_entry_len(e);
    bool backwards = start < 0 && end < 0 && start > end;
    if (start < 0)
        start = start + len < 0 ? 0 : start + len;
    if (end < 0)
        end = end + len < 0 ? 0 : end + len;
    if (end >= len)
        end = len - 1;
    if (backwards || start > end || len == 0)
        reply_bulk(&c->reply, SPAN(""));
    else
        str_entry_reply_range(&c->reply, e, (size_t)start, (size_t)(end - start + 1));
}

static const struct command rows[] = {
    {"APPEND", append_run, 3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST | CMD_BIG_LAST,
     ACL_STRING, "string", "2.0.0", "O(1) amortized, O(N) in the bytes appended",
     "Appends bytes to a string; a missing key counts as empty.", .key_access = "RW insert",
     .syntax = "key value"},
    {"STRLEN", strlen_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_STRING, "string", "2.2.0", "O(1)",
     "Returns the length of a string in bytes.", .key_access = "RO", .syntax = "key"},
    {"SETRANGE", setrange_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM, ACL_STRING, "string", "2.2.0",
     "O(N) in the bytes written and the zeros before them",
     "Overwrites part of a string, filling a gap before it with zeros.", .key_access = "RW update",
     .syntax = "key offset value"},
    {"GETRANGE", getrange_run, 4, KEY(1), CMD_READ, ACL_STRING, "string", "2.4.0",
     "O(N) in the bytes returned", "Returns part of a string.", .key_access = "RO access",
     .syntax = "key start end"},
    {"SUBSTR", getrange_run, 4, KEY(1), CMD_READ, ACL_STRING, "string", "1.0.0",
     "O(N) in the bytes returned", "The former name of GETRANGE.", .key_access = "RO access",
     .syntax = "key start end", .deprecated_since = "2.0.0", .replaced_by = "`GETRANGE`"},
};

void string_range_register(void) {
    command_register(rows, COUNT_OF(rows));
}
