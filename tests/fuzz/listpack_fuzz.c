/* listpack_fuzz: bytes that lp_valid takes can be used by every function, whatever they are; and a stream of edits
 * does to a listpack what it does to a list of texts. The first byte of the input chooses which of the two. */
#include "../unit/listpack_model.h"

/* Each edit copies all of it. */
enum { STEPS_MAX = 256, BYTES_MAX = 40000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- bytes --- */

/* With `frame` the length and the end are made right, which are hard to guess. */
static void use_bytes(const uint8_t *data, size_t size, bool frame) {
    uint8_t *lp = malloc(size + (size == 0));
    ASSERT(lp != NULL);
    if (size > 0)
        memcpy(lp, data, size);
    if (frame && size >= LP_EMPTY_BYTES) {
        for (unsigned i = 0; i < 4; i++)
            lp[i] = (uint8_t)(size >> (8 * i));
        lp[4] = lp[5] = lp[size - 1] = 0xff;
    }
    if (lp_valid(lp, size))
        model_use(lp, size);
    free(lp);
}

/* --- edits --- */

struct stream {
    const uint8_t *at, *end;
};

static unsigned next(struct stream *s) {
    return s->at < s->end ? *s->at++ : 0;
}

/* Texts of every length that is encoded in another way, integers of every width, and what the input says. */
static struct span next_text(struct stream *s, char *room, size_t room_bytes) {
    static const uint16_t edges[] = {0, 1, 62, 63, 64, 125, 126, 127, 4095, 4096, 16377, 16378};
    unsigned kind = next(s), len = kind >> 3;
    switch (kind & 7) {
    case 0:
    case 1: {
        uint64_t num = 0;
        for (unsigned i = 0; i < 1 + len % 8; i++)
            num = num << 8 | next(s);
        return (struct span){room, strval_format_int(room, (int64_t)(len & 8 ? num : ~num))};
    }
    case 2: {
        int64_t edge = (int64_t)((UINT64_C(1) << (next(s) & 63)) + len % 5 - 2);
        return (struct span){room, strval_format_int(room, len & 16 ? edge : ~edge)};
    }
    case 3:
        len = edges[len % (sizeof edges / sizeof edges[0])];
        ASSERT(len <= room_bytes);
        memset(room, (int)next(s), len);
        return (struct span){room, len};
    default: /* of the input itself, in memory of its own */
        len = len < s->end - s->at ? len : (unsigned)(s->end - s->at);
        s->at += len;
        return (struct span){(const char *)s->at - len, len};
    }
}

static void edit(struct lp_model *m, struct stream *s) {
    static char room[20000];
    unsigned what = next(s), at = next(s) % (m->n + 1);
    switch (what % 5) {
    case 0:
    case 1:
        if (m->n < MODEL_ITEMS_MAX / 2 && lp_bytes(m->lp) < BYTES_MAX)
            model_insert(m, at, next_text(s, room, sizeof room));
        break;
    case 2:
        if (at < m->n)
            model_replace(m, at, next_text(s, room, sizeof room));
        break;
    case 3:
        if (at < m->n)
            model_remove(m, at, 1 + what / 5 % 8);
        break;
    default:
        model_find(m, at, what / 5 % 4,
                   at < m->n ? m->items[next(s) % m->n] : next_text(s, room, sizeof room));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct lp_model m;

    if (size == 0)
        return 0;
    if (data[0] % 3 < 2) {
        use_bytes(data + 1, size - 1, data[0] % 3 == 1);
        return 0;
    }
    struct stream s = {data + 1, data + size};
    model_init(&m);
    for (unsigned step = 0; s.at < s.end && step < STEPS_MAX; step++) {
        edit(&m, &s);
        if (step % 8 == 0)
            model_check(&m);
    }
    model_check(&m);
    model_deinit(&m);
    return 0;
}
