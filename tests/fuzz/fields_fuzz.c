/* fields_fuzz: a stream of operations on rows of names does what a model does, whatever is in it and whichever allocation
 * fails. The first bytes choose the kind; each draw takes one or two more. */
#include "../unit/fields_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stream {
    const uint8_t *at, *end;
};

static uint32_t draw(void *arg, uint32_t below) {
    struct stream *s = arg;
    uint32_t v = 0;
    for (uint32_t most = below - 1; most > 0 && s->at < s->end; most >>= 8)
        v = v << 8 | *s->at++;
    return below == 0 ? 0 : v % below;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t names[] = {3, 12, 64, 200};
    static const uint64_t entries_max[] = {0, 4, 20, 128};
    static const uint64_t seed = 1;
    static struct model m;
    static bool seeded;
    if (!seeded)
        ASSERT(hash_seed(&seed) == OK);
    seeded = true;
    if (size < 2)
        return 0;
    struct stream s = {data + 2, data + size};
    model_begin(&m, data[0] & 1, entries_max[data[0] >> 1 & 3]);
    m.names = names[data[1] & 3];
    m.fails = data[1] & 4;
    m.draw = draw;
    m.arg = &s;
    while (s.at < s.end)
        model_step(&m);
    model_end(&m);
    return 0;
}
