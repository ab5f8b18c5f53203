/* intset_fuzz: bytes that intset_valid takes can be used by every function, whatever they are; and a stream of edits
 * does to an intset what it does to a sorted array. The first byte of the input chooses which of the two. */
#include "../unit/intset_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct model m;

/* With `frame` the header is made right for that length, which is hard to guess. */
static void use_bytes(const uint8_t *data, size_t size, bool frame) {
    static const uint8_t widths[] = {2, 4, 8};
    uint8_t *is = malloc(size + (size == 0));
    ASSERT(is != NULL);
    if (size > 0)
        memcpy(is, data, size);
    if (frame && size >= INTSET_HEADER) {
        uint8_t width = widths[is[0] % sizeof widths];
        uint32_t n = (uint32_t)((size - INTSET_HEADER) / width);
        size = INTSET_HEADER + n * width;
        memset(is, 0, INTSET_HEADER);
        is[0] = width;
        for (unsigned i = 0; i < 4; i++)
            is[4 + i] = (uint8_t)(n >> (8 * i));
    }
    if (intset_valid(is, size))
        model_use(&m, is, size);
    free(is);
}

/* An operation: a byte that says what and how many bytes of a number follow. */
static const uint8_t *edit(const uint8_t *at, const uint8_t *end) {
    unsigned what = *at++;
    uint64_t num = 0;
    for (unsigned i = 0; i < 1 + (what >> 4 & 7) && at < end; i++)
        num = num << 8 | *at++;
    int64_t v = (int64_t)(what & 128 ? ~num : num);
    switch (what % 4) {
    case 0:
    case 1:
        (void)model_add(&m, v);
        break;
    case 2:
        if (m.n > 0)
            (void)model_remove(&m, m.v[num % m.n]);
        break;
    default:
        (void)model_remove(&m, v);
        break;
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] % 3 < 2) {
        use_bytes(data + 1, size - 1, data[0] % 3 == 1);
        return 0;
    }
    model_init(&m);
    const uint8_t *at = data + 1, *end = data + size;
    for (unsigned step = 0; at < end; step++) {
        at = edit(at, end);
        if (step % 8 == 0)
            model_check(&m);
    }
    model_check(&m);
    model_deinit(&m);
    return 0;
}
