/* symbols.c: names for addresses, without a lock and without memory, for use in a signal handler.
 *
 * The libraries' places are noted at start. The names are those of the program's own .symtab, read from
 * /proc/self/exe, which also names static functions and needs no -rdynamic; a stripped program has none, and
 * then `addr2line` takes module and offset to a file that has them: the build id says which.
 */
#include "server_impl.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODULES_MAX = 48, BUILD_ID_BYTES_MAX = 32 };

static struct module {
    uint64_t base, from, to;
    char name[SYMBOL_MODULE_MAX];
} modules[MODULES_MAX];
static unsigned module_count;

static char build_id[2 * BUILD_ID_BYTES_MAX + 1];

static const ElfW(Sym) * symtab;
static size_t symtab_len;
static const char *strings;
static size_t strings_len;

/* --- at start --- */

static void copy_name(char *to, size_t size, const char *from) {
    size_t len = strnlen(from, size - 1);
    memcpy(to, from, len);
    to[len] = '\0';
}

static void hex_of(const unsigned char *bytes, size_t n, char *to) {
    for (size_t i = 0; i < n; i++) {
        *to++ = "0123456789abcdef"[bytes[i] >> 4];
        *to++ = "0123456789abcdef"[bytes[i] & 15];
    }
    *to = '\0';
}

static size_t note_padded(size_t n) {
    return (n + 3) & ~(size_t)3;
}

/* find_build_id: notes are a header, a name and a description, each padded to four bytes. */
static void find_build_id(const char *notes, size_t len) {
    while (len >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)notes;
        size_t name_len = note_padded(note->n_namesz), bytes = note_padded(note->n_descsz);
        const char *name = notes + sizeof *note;
        if (name_len > len || bytes > len || sizeof *note + name_len + bytes > len)
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof ELF_NOTE_GNU &&
            memcmp(name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0 &&
            note->n_descsz <= BUILD_ID_BYTES_MAX)
            hex_of((const unsigned char *)name + name_len, note->n_descsz, build_id);
        notes += sizeof *note + name_len + bytes;
        len -= sizeof *note + name_len + bytes;
    }
}

static int note_module(struct dl_phdr_info *info, size_t size, void *arg) {
    (void)size;
    (void)arg;
    if (module_count == MODULES_MAX)
        return 1;
    bool own = module_count == 0;
    struct module *m = &modules[module_count++];
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    *m = (struct module){.base = info->dlpi_addr, .from = UINT64_MAX};
    copy_name(m->name, sizeof m->name, own ? "anax" : name);
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uint64_t from = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            m->from = from < m->from ? from : m->from;
            m->to = from + p->p_memsz > m->to ? from + p->p_memsz : m->to;
        } else if (p->p_type == PT_NOTE && own) {
            find_build_id((const char *)(uintptr_t)from, p->p_memsz);
        }
    }
    return 0;
}

void symbols_load(void) {
    module_count = 0;
    (void)dl_iterate_phdr(note_module, NULL);
}

const char *symbols_build_id(void) {
    return build_id;
}

/* --- in a handler --- */

/* within: does [offset, offset + count * unit) lie in a file of `size` bytes? */
static bool within(size_t size, uint64_t offset, uint64_t count, uint64_t unit) {
    return offset <= size && count <= (size - offset) / unit;
}

static void find_tables(const char *file, size_t size) {
    const ElfW(Ehdr) *head = (const void *)file;
    if (size < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_shentsize != sizeof(ElfW(Shdr)) ||
        !within(size, head->e_shoff, head->e_shnum, sizeof(ElfW(Shdr))))
        return;
    const ElfW(Shdr) *sections = (const void *)(file + head->e_shoff);
    for (unsigned i = 0; i < head->e_shnum; i++) {
        const ElfW(Shdr) *s = &sections[i];
        if (s->sh_type != SHT_SYMTAB || s->sh_link >= head->e_shnum ||
            !within(size, s->sh_offset, s->sh_size, 1))
            continue;
        const ElfW(Shdr) *names = &sections[s->sh_link];
        if (!within(size, names->sh_offset, names->sh_size, 1))
            continue;
        strings = file + names->sh_offset;
        strings_len = names->sh_size;
        symtab = (const void *)(file + s->sh_offset);
        symtab_len = s->sh_size / sizeof *symtab;
    }
}

void symbols_open(void) {
    struct stat st;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        /* for the rest of the process, which is short */
        void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file != MAP_FAILED)
            find_tables(file, (size_t)st.st_size);
    }
    (void)close(fd);
}

static void name_function(struct symbol *out) {
    for (size_t i = 0; i < symtab_len; i++) {
        const ElfW(Sym) *s = &symtab[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || out->offset < s->st_value ||
            out->offset - s->st_value >= s->st_size || s->st_name >= strings_len)
            continue;
        copy_name(out->name, sizeof out->name, strings + s->st_name);
        out->name_offset = out->offset - s->st_value;
        return;
    }
}

struct symbol symbols_find(uint64_t address) {
    struct symbol out = {.own = false};
    for (unsigned i = 0; i < module_count; i++) {
        const struct module *m = &modules[i];
        if (address < m->from || address >= m->to)
            continue;
        copy_name(out.module, sizeof out.module, m->name);
        out.offset = address - m->base;
        out.own = i == 0;
        if (out.own)
            name_function(&out);
        return out;
    }
    return out;
}
