/* history_file.c: records as tests/consistency/README.md wants them. */
#include "history_impl.h"

/* put_key: "k", or "1:k" in database 1. */
static void put_key(FILE *f, const struct record *r, const char *key) {
    (void)fprintf(f, r->db == 0 ? "\"%s\"" : "\"1:%s\"", key);
}

static const char *result_of(const struct record *r, const struct op *op) {
    return r->outcome == OUTCOME_OK && op->result != NULL ? op->result : "null";
}

/* put_pair: an operation with two keys, and what it said. */
static void put_pair(FILE *f, const struct record *r, const struct op *op, const char *name) {
    (void)fprintf(f, "[\"%s\", ", name);
    put_key(f, r, op->key);
    (void)fputs(", [", f);
    put_key(f, r, op->to);
    (void)fprintf(f, ", %s]]", result_of(r, op));
}

/* put_set: one that takes two keys alike. */
static void put_set(FILE *f, const struct record *r, const struct op *op, const char *name) {
    (void)fprintf(f, "[\"%s\", [", name);
    put_key(f, r, op->key);
    (void)fputs(", ", f);
    put_key(f, r, op->to);
    if (op->kind == OP_MSETNX)
        (void)fprintf(f, "], [[%ld, %ld], %s]]", op->v, op->v, result_of(r, op));
    else
        (void)fprintf(f, "], %s]", result_of(r, op));
}

/* put_one: one key and what it said; with a value that was given when `given`. */
static void put_one(FILE *f, const struct record *r, const struct op *op, const char *name,
                    bool given) {
    (void)fprintf(f, "[\"%s\", ", name);
    put_key(f, r, op->key);
    if (given)
        (void)fprintf(f, ", [%ld, %s]]", op->v, result_of(r, op));
    else
        (void)fprintf(f, ", %s]", result_of(r, op));
}

static void put_op(FILE *f, const struct record *r, const struct op *op) {
    switch (op->kind) {
    case OP_APPEND:
    case OP_SET:
        (void)fprintf(f, "[\"%s\", ", op->kind == OP_SET ? "w" : "append");
        put_key(f, r, op->key);
        (void)fprintf(f, ", %ld]", op->v);
        return;
    case OP_LIST:
        put_one(f, r, op, "r", false);
        return;
    case OP_GET:
        put_one(f, r, op, "rr", false);
        return;
    case OP_GETDEL:
        put_one(f, r, op, "getdel", false);
        return;
    case OP_INCRBY:
        put_one(f, r, op, "incrby", true);
        return;
    case OP_GETSET:
        put_one(f, r, op, "getset", true);
        return;
    case OP_DEL:
        put_set(f, r, op, "del");
        return;
    case OP_EXISTS:
        put_set(f, r, op, "exists");
        return;
    case OP_MSETNX:
        put_set(f, r, op, "msetnx");
        return;
    case OP_RENAME:
        put_pair(f, r, op, "rename");
        return;
    case OP_RENAMENX:
        put_pair(f, r, op, "renamenx");
        return;
    case OP_COPY:
        put_pair(f, r, op, "copy");
        return;
    case OP_COPY_REPLACE:
        put_pair(f, r, op, "copyr");
        return;
    case OP_MOVE:
        (void)fputs("[\"move\", ", f);
        put_key(f, r, op->key);
        (void)fprintf(f, ", [%s, %s]]", op->to, result_of(r, op));
        return;
    case OP_SWAPDB:
        (void)fputs("[\"swapdb\", 0, 1]", f);
        return;
    case OP_FLUSHDB:
        (void)fprintf(f, "[\"flushdb\", %u, null]", r->db);
        return;
    case OP_FLUSHALL:
        (void)fputs("[\"flushall\", null, null]", f);
        return;
    case OP_DBSIZE:
        (void)fprintf(f, "[\"dbsize\", %u, %s]", r->db, result_of(r, op));
        return;
    }
}

void history_write(FILE *f, const struct record *r) {
    static const char *const types[] = {"ok", "fail", "info"};
    (void)fprintf(f, "{\"client\": %u, \"start\": %lu, \"end\": ", r->client,
                  (unsigned long)r->start);
    if (r->outcome == OUTCOME_INFO)
        (void)fputs("null", f);
    else
        (void)fprintf(f, "%lu", (unsigned long)r->end);
    (void)fprintf(f, ", \"type\": \"%s\", \"ops\": [", types[r->outcome]);
    for (unsigned i = 0; i < r->count; i++) {
        (void)fputs(i == 0 ? "" : ", ", f);
        put_op(f, r, &r->ops[i]);
    }
    (void)fputs("]}\n", f);
}
