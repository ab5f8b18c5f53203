/* expiry_model.c: two databases as they must be at a time. */
#include "expiry_impl.h"
#include <string.h>

static bool dead(int64_t expire_ms, int64_t now_ms) {
    return expire_ms != 0 && now_ms > expire_ms;
}

static void age_fields(struct key *k, int64_t now_ms) {
    for (unsigned i = 0; i < EXPIRY_FIELDS; i++)
        if (k->fields[i].there && dead(k->fields[i].expire_ms, now_ms))
            k->fields[i] = (struct field){0};
}

void model_age(struct model *m, int64_t now_ms) {
    m->now_ms = now_ms;
    for (unsigned db = 0; db < EXPIRY_DBS; db++) {
        for (unsigned i = 0; i < EXPIRY_KEYS; i++) {
            struct key *k = &m->keys[db][i];
            if (k->kind != KIND_NONE && dead(k->expire_ms, now_ms)) {
                int64_t died_ms = k->expire_ms;
                model_forget(k);
                k->died_ms = died_ms;
                m->deaths++;
            }
            age_fields(k, now_ms);
        }
    }
}

void model_forget(struct key *k) {
    memset(k, 0, sizeof *k);
}

unsigned model_live(const struct model *m, unsigned db) {
    unsigned n = 0;
    for (unsigned i = 0; i < EXPIRY_KEYS; i++)
        n += m->keys[db][i].kind != KIND_NONE;
    return n;
}

unsigned model_unswept(const struct model *m, unsigned db, int64_t since_ms) {
    unsigned n = 0;
    for (unsigned i = 0; i < EXPIRY_KEYS; i++)
        n += m->keys[db][i].died_ms > since_ms;
    return n;
}

int64_t model_next_ms(struct model *m) {
    int64_t at_ms[EXPIRY_DBS * EXPIRY_KEYS * (1 + EXPIRY_FIELDS)];
    unsigned n = 0;
    for (unsigned db = 0; db < EXPIRY_DBS; db++) {
        for (unsigned i = 0; i < EXPIRY_KEYS; i++) {
            const struct key *k = &m->keys[db][i];
            if (k->expire_ms != 0)
                at_ms[n++] = k->expire_ms;
            for (unsigned f = 0; f < EXPIRY_FIELDS; f++)
                if (k->fields[f].expire_ms != 0)
                    at_ms[n++] = k->fields[f].expire_ms;
        }
    }
    return n == 0 ? 0 : at_ms[sim_world_below(m->world, n)];
}

void model_copy(struct key *to, const struct key *from) {
    if (to != from)
        *to = *from;
}

void model_set_text(struct key *k, const char *text, size_t len) {
    int64_t expire_ms = k->expire_ms;
    model_forget(k);
    k->kind = KIND_STRING;
    k->expire_ms = expire_ms;
    k->len = (unsigned)len;
    memcpy(k->text, text, len);
}
