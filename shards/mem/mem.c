#include "mem_impl.h"
#include "shards/assert.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef ANAX_SYSTEM_MALLOC
#include <jemalloc/jemalloc.h>

/* Read by jemalloc before main. Dirty pages go back to the kernel after a second, by a thread of
 * jemalloc's own rather than inside somebody's free; few arenas keep an idle process small, and
 * shards rarely meet in one because their thread caches stand before it. */
/* Slabs of 16 to 112 KiB for small entries: jemalloc spends 128 bytes on each slab and keeps them, and with
 * slabs of a page that was 3% of a full table. */
const char *malloc_conf =
    "background_thread:true,max_background_threads:1,"
    "dirty_decay_ms:1000,muzzy_decay_ms:0,"
    "slab_sizes:32-32:4|48-48:12|64-64:8|80-80:20|96-96:12|112-112:28|128-128:16|4096-4096:16";
#endif

#ifdef ANAX_SYSTEM_MALLOC

size_t mem_size(size_t size) {
    return size == 0 ? 16 : (size + 15) & ~(size_t)15;
}

static void *allocate_lines(size_t size) {
    return aligned_alloc(CACHE_LINE, size);
}

static void release(void *p, size_t size) {
    (void)size;
    free(p);
}

static void release_lines(void *p, size_t size) {
    (void)size;
    free(p);
}

void mem_release_idle(void) {
}

bool mem_usage(struct mem_usage *out) {
    (void)out;
    return false;
}

bool mem_describe(void (*add)(void *arg, const char *text), void *arg) {
    (void)add;
    (void)arg;
    return false;
}

#else

/* jemalloc's size classes, computed instead of asked for: nallocx costs about as much as the
 * allocation itself. 8, multiples of 16 up to 128, then four classes to each doubling. A test
 * compares this with nallocx for every small size and for samples of the large ones. */
size_t mem_size(size_t size) {
    if (size <= 128)
        return size <= 8 ? 8 : (size + 15) & ~(size_t)15;
    unsigned doubling = 63U - (unsigned)__builtin_clzl(size - 1);
    size_t step = (size_t)1 << (doubling - 2);
    return (size + step - 1) & ~(step - 1);
}

static void *allocate_lines(size_t size) {
    return mallocx(size, MALLOCX_ALIGN(CACHE_LINE));
}

static void release(void *p, size_t size) {
    sdallocx(p, size == 0 ? 1 : size, 0);
}

static void release_lines(void *p, size_t size) {
    sdallocx(p, size, MALLOCX_ALIGN(CACHE_LINE));
}

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x

void mem_release_idle(void) {
    /* Both only return memory earlier than it would go anyway; a failure changes nothing. */
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    (void)mallctl("arena." TEXT_OF(MALLCTL_ARENAS_ALL) ".purge", NULL, NULL, NULL, 0);
}

static bool read_size(const char *name, size_t *out) {
    size_t len = sizeof *out;
    return mallctl(name, out, &len, NULL, 0) == 0;
}

bool mem_usage(struct mem_usage *out) {
    uint64_t epoch = 1; /* setting it makes the numbers new */
    return mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) == 0 &&
           read_size("stats.allocated", &out->allocated_bytes) &&
           read_size("stats.active", &out->active_bytes) &&
           read_size("stats.resident", &out->resident_bytes);
}

bool mem_describe(void (*add)(void *arg, const char *text), void *arg) {
    malloc_stats_print(add, arg, NULL);
    return true;
}

#endif

void *mem_alloc(struct mem *m, size_t size) {
    if (mem_must_fail(m))
        return NULL;
    void *p = malloc(size);
    if (likely(p != NULL))
        m->used_bytes += (int64_t)mem_size(size);
    return p;
}

void *mem_zalloc(struct mem *m, size_t size) {
    if (mem_must_fail(m))
        return NULL;
    void *p = calloc(1, size);
    if (likely(p != NULL))
        m->used_bytes += (int64_t)mem_size(size);
    return p;
}

void *mem_alloc_lines(struct mem *m, size_t size) {
    ASSERT(size > 0 && size % CACHE_LINE == 0);
    if (mem_must_fail(m))
        return NULL;
    void *p = allocate_lines(size);
    if (likely(p != NULL))
        m->used_bytes += (int64_t)mem_size(size);
    return p;
}

void mem_free_lines(struct mem *m, void *p, size_t size) {
    if (p == NULL)
        return;
    m->used_bytes -= (int64_t)mem_size(size);
    release_lines(p, size);
}

void *mem_realloc(struct mem *m, void *p, size_t old_size, size_t new_size) {
    if (p == NULL)
        return mem_alloc(m, new_size);
    if (mem_must_fail(m))
        return NULL;
    /* realloc(p, 0) may free; one byte has the same size class and never does. */
    void *q = realloc(p, new_size == 0 ? 1 : new_size);
    if (likely(q != NULL))
        m->used_bytes += (int64_t)mem_size(new_size) - (int64_t)mem_size(old_size);
    return q;
}

void mem_free(struct mem *m, void *p, size_t size) {
    if (p == NULL)
        return;
    m->used_bytes -= (int64_t)mem_size(size);
    release(p, size);
}

size_t mem_resident(void) {
    /* "size resident shared ...", in pages. */
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    long page_bytes = sysconf(_SC_PAGESIZE);
    if (n <= 0 || page_bytes <= 0)
        return 0;
    text[n] = '\0';
    char *end;
    (void)strtoul(text, &end, 10);
    return strtoul(end, NULL, 10) * (size_t)page_bytes;
}

const char *mem_allocator(void) {
#ifdef ANAX_SYSTEM_MALLOC
    return "libc";
#else
    return "jemalloc-" TEXT_OF(JEMALLOC_VERSION_MAJOR) "." TEXT_OF(
        JEMALLOC_VERSION_MINOR) "." TEXT_OF(JEMALLOC_VERSION_BUGFIX);
#endif
}
