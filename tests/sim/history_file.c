/* history_file.c: records as tests/consistency/README.md wants them. */
#include "history_impl.h"

/* put_key: "k", or "1:k" in database 1. */
static void put_key(FILE *f, const struct record *r, const char *key) {
    (void)fprintf(f, r->db == 0 ? "\"%s\"" : "\"1:%s\"", key);
}

static void put_part(FILE *f, const struct record *r, const struct op *op, char which) {
    switch (which) {
    case 'k':
        put_key(f, r, op->key);
        return;
    case 't':
        put_key(f, r, op->to);
        return;
    case 's':
        put_key(f, r, op->store);
        return;
    case 'T':
        (void)fputs(op->to, f);
        return;
    case 'd':
        (void)fprintf(f, "%u", r->db);
        return;
    case 'r':
        (void)fputs(r->outcome == OUTCOME_OK && op->result != NULL ? op->result : "null", f);
        return;
    default:
        (void)fprintf(f, "%ld", which == 'v' ? op->v : op->score);
    }
}

static void put_op(FILE *f, const struct record *r, const struct op *op) {
    for (const char *p = history_shape(op->kind)->json; *p != '\0'; p++)
        if (*p == '%')
            put_part(f, r, op, *++p);
        else
            (void)fputc(*p, f);
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
