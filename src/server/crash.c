/* crash.c: what is known when this process is about to die of its own fault.
 *
 * Everything here runs in a signal handler, on a stack of its own, after anything may have happened. So it
 * takes no lock and no memory: bytes are formatted by hand into one buffer and go to the log's descriptor by
 * write(2). What other threads are changing meanwhile, and pointers that nobody vouches for, are read by the
 * kernel (`peek`), which says no where we would crash again. The sections come in the order of their worth;
 * should one of them crash all the same, what is written stays and the process ends there.
 *
 * At the end the signal's default action is put back and the signal raised, so that the exit status and the
 * core dump are those that the crash would have had without us.
 */
#include "anax/instance.h"
#include "anax/net.h"
#include "server_impl.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

enum {
    STACK_BYTES = 256 * 1024, /* generous: it is only touched in a crash */
    FRAMES_MAX = 64,
    STACK_WORDS = 128,  /* looked through when the frames cannot be followed */
    ARGS_MAX = 16,      /* shown of a command */
    ARG_BYTES_MAX = 64, /* and of each */
    MESSAGES_MAX = 16,  /* to a shard */
    OUT_BYTES = 4096,
};

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static _Atomic pid_t reporter; /* the thread that writes the report; 0: nobody yet */
static struct shards *_Atomic watched;
static const struct net_shared *_Atomic watched_net;

/* --- text --- */

static char out[OUT_BYTES];
static size_t out_len;

static void flush(void) {
    log_raw(out, out_len);
    out_len = 0;
}

static void put(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (out_len == sizeof out)
            flush();
        out[out_len++] = text[i];
    }
}

static void say(const char *text) {
    put(text, strlen(text));
}

static void say_number(uint64_t v, unsigned base, unsigned digits_min) {
    char digits[24];
    size_t at = sizeof digits;
    for (; v != 0 || digits_min != 0; v /= base, digits_min -= digits_min != 0)
        digits[--at] = "0123456789abcdef"[v % base];
    put(digits + at, sizeof digits - at);
}

static void say_int(int64_t v) {
    if (v < 0)
        say("-");
    say_number(v < 0 ? -(uint64_t)v : (uint64_t)v, 10, 1);
}

static void say_hex(uint64_t v) {
    say("0x");
    say_number(v, 16, 1);
}

/* say_field: " name 12" */
static void say_field(const char *name, int64_t v) {
    say(" ");
    say(name);
    say(" ");
    say_int(v);
}

/* say_bytes: a client's, as they could stand in a string constant. */
static void say_bytes(const char *bytes, size_t len) {
    say("\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            say("\\");
        if (c >= ' ' && c < 127) {
            put(&bytes[i], 1);
        } else {
            say("\\x");
            say_number(c, 16, 2);
        }
    }
    say("\"");
}

/* say_address: an address and where that is. `back` 1: the call before a return address. */
static void say_address(uint64_t address, uint64_t back) {
    struct symbol s = symbols_find(address - back);
    say_hex(address);
    if (s.module[0] == '\0')
        return;
    say(" ");
    say(s.module);
    say("+");
    say_hex(s.offset);
    if (s.name[0] == '\0')
        return;
    say(" ");
    say(s.name);
    say("+");
    say_hex(s.name_offset + back);
}

/* --- memory that may not be there --- */

static bool peek(void *to, const void *from, size_t len) {
    struct iovec mine = {to, len}, theirs = {(void *)(uintptr_t)from, len};
    ssize_t n = process_vm_readv(getpid(), &mine, 1, &theirs, 1, 0);
    if (n < 0 && (errno == EPERM || errno == ENOSYS)) {
        /* a container's policy; then it is a risk worth taking, or nothing could be told */
        memcpy(to, from, len);
        return true;
    }
    return n == (ssize_t)len;
}

/* --- what happened --- */

static void say_time(void) {
    /* Days to a date of the civil calendar: years are counted from March, so that the leap day is the last
     * of its year, in eras of 400 years or 146097 days. */
    int64_t seconds = clock_wall_us() / 1000000;
    uint64_t day = (uint64_t)seconds / 86400 + 719468, in_day = (uint64_t)seconds % 86400;
    uint64_t era = day / 146097, of_era = day % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100),
             march = (5 * of_year + 2) / 153;
    uint64_t month = march < 10 ? march + 3 : march - 9;
    say_number(year + era * 400 + (month <= 2), 10, 4);
    say("-");
    say_number(month, 10, 2);
    say("-");
    say_number(of_year - (153 * march + 2) / 5 + 1, 10, 2);
    say("T");
    say_number(in_day / 3600, 10, 2);
    say(":");
    say_number(in_day / 60 % 60, 10, 2);
    say(":");
    say_number(in_day % 60, 10, 2);
    say("Z");
}

static const char *signal_name(int signal) {
    switch (signal) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    default:
        return "SIGABRT";
    }
}

static void say_what(int signal, const siginfo_t *info) {
    char thread[16] = "";
    say("\n=== anax has crashed: report begins ===\n"
        "version:  " ANAX_VERSION ", build id ");
    say(symbols_build_id());
    say("\ntime:     ");
    say_time();
    say("\nsignal:   ");
    say(signal_name(signal));
    if (info->si_code <= 0) { /* by kill(2) and its kin */
        say(", sent by process ");
        say_int(info->si_pid);
    } else {
        say(", code ");
        say_int(info->si_code);
        say(", at address ");
        say_hex((uintptr_t)info->si_addr);
    }
    (void)prctl(PR_GET_NAME, thread, 0, 0, 0);
    say("\nthread:   ");
    say(thread);
    say_field("of process", getpid());
    if (assert_reason() != NULL) {
        say("\nreason:   ");
        say(assert_reason());
    }
    say("\n");
    flush();
}

/* --- where --- */

struct frames {
    unsigned count;
    uint64_t at[FRAMES_MAX];
};

/* Where the interrupted thread stood. */
struct place {
    uint64_t pc, sp, caller; /* caller: 0, or where a call left its return address */
};

#if defined(__x86_64__)

static void say_registers(const ucontext_t *u) {
    static const struct {
        const char *name;
        int index;
    } registers[] = {
        {"rip", REG_RIP}, {"rsp", REG_RSP}, {"rbp", REG_RBP}, {"efl", REG_EFL}, {"rax", REG_RAX},
        {"rbx", REG_RBX}, {"rcx", REG_RCX}, {"rdx", REG_RDX}, {"rsi", REG_RSI}, {"rdi", REG_RDI},
        {"r8 ", REG_R8},  {"r9 ", REG_R9},  {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12},
        {"r13", REG_R13}, {"r14", REG_R14}, {"r15", REG_R15}, {"err", REG_ERR}, {"cr2", REG_CR2},
    };
    for (size_t i = 0; i < COUNT_OF(registers); i++) {
        say(i % 4 == 0 ? "\n " : " ");
        say(registers[i].name);
        say(" ");
        say_number((uint64_t)u->uc_mcontext.gregs[registers[i].index], 16, 16);
    }
}

static struct place place_of(const ucontext_t *u) {
    struct place p = {(uint64_t)u->uc_mcontext.gregs[REG_RIP],
                      (uint64_t)u->uc_mcontext.gregs[REG_RSP], 0};
    if (!peek(&p.caller, (const void *)p.sp, sizeof p.caller))
        p.caller = 0;
    return p;
}

#elif defined(__aarch64__)

static void say_registers(const ucontext_t *u) {
    for (unsigned i = 0; i < 31; i++) {
        say(i % 4 == 0 ? "\n x" : " x");
        say_number(i, 10, 2);
        say(" ");
        say_number(u->uc_mcontext.regs[i], 16, 16);
    }
    say("\n sp  ");
    say_number(u->uc_mcontext.sp, 16, 16);
    say(" pc  ");
    say_number(u->uc_mcontext.pc, 16, 16);
    say(" pst ");
    say_number(u->uc_mcontext.pstate, 16, 16);
}

static struct place place_of(const ucontext_t *u) {
    return (struct place){u->uc_mcontext.pc, u->uc_mcontext.sp, u->uc_mcontext.regs[30]};
}

#else
#error "say which registers this processor has"
#endif

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *arg) {
    struct frames *f = arg;
    uint64_t at = _Unwind_GetIP(context);
    if (f->count == FRAMES_MAX || at == 0) /* a thread's first frame was called from 0 */
        return _URC_END_OF_STACK;
    f->at[f->count++] = at;
    return _URC_NO_REASON;
}

/* say_stack: what looks like return addresses, for when the frames cannot be followed. */
static void say_stack(uint64_t sp) {
    say("\nthe stack's words that lie in the program, since its frames cannot be followed:\n");
    for (unsigned i = 0; i < STACK_WORDS; i++) {
        uint64_t word;
        if (!peek(&word, (const void *)(sp + i * sizeof word), sizeof word))
            return;
        if (!symbols_find(word).own)
            continue;
        say("  ");
        say_address(word, 1);
        say("\n");
    }
}

static void say_backtrace(const ucontext_t *u) {
    static struct frames f;
    const struct place p = place_of(u);
    f.count = 0;
    (void)_Unwind_Backtrace(note_frame, &f);
    unsigned first = 0; /* behind the handler's own frames */
    while (first < f.count && f.at[first] != p.pc)
        first++;
    say("\nbacktrace:\n  ");
    say_address(p.pc, 0);
    say("\n");
    /* A call to where no function is leaves nothing but the address it came from. */
    if (first + 1 >= f.count && symbols_find(p.caller).module[0] != '\0') {
        say("  ");
        say_address(p.caller, 1);
        say(" (perhaps)\n");
    }
    for (unsigned i = first + 1; i < f.count; i++) {
        say("  ");
        say_address(f.at[i], 1);
        say("\n");
    }
    if (first + 1 >= f.count)
        say_stack(p.sp);
}

static void say_where(const ucontext_t *u) {
    say("\nregisters:");
    say_registers(u);
    say("\n");
    flush();
    symbols_open();
    say_backtrace(u);
    say("source lines: addr2line -fipe anax 0x... with the offsets behind anax+\n");
    flush();
}

/* --- what the shards were doing --- */

/* An array of arguments that is ours, of bytes that are ours: nobody can take them away. */
struct call {
    struct ctx ctx;
    uint32_t argc; /* of which the first are here */
    struct span argv[ARGS_MAX];
    size_t whole[ARGS_MAX]; /* their lengths before they were cut */
    char bytes[ARGS_MAX][ARG_BYTES_MAX];
};

static bool is_row(const struct command *cmd) {
    for (unsigned i = 0; i < command_count(); i++)
        if (command_at(i) == cmd)
            return true;
    return false;
}

/* copy_call: false when the shard runs none, or what it runs is not to be made out. */
static bool copy_call(const struct instance *in, struct call *c) {
    const struct ctx *running;
    if (!peek(&running, &in->running, sizeof running) || running == NULL ||
        !peek(&c->ctx, running, sizeof c->ctx) || !is_row(c->ctx.cmd))
        return false;
    unsigned n = c->ctx.argc < ARGS_MAX ? c->ctx.argc : ARGS_MAX;
    if (!peek(c->argv, c->ctx.argv, n * sizeof *c->argv))
        n = 0;
    for (unsigned i = 0; i < n; i++) {
        struct span *arg = &c->argv[i];
        c->whole[i] = arg->len;
        arg->len = arg->len < ARG_BYTES_MAX ? arg->len : ARG_BYTES_MAX;
        if (!peek(c->bytes[i], arg->ptr, arg->len))
            arg->len = 0;
        arg->ptr = c->bytes[i];
    }
    c->argc = c->ctx.argc;
    c->ctx.argv = c->argv;
    c->ctx.argc = n;
    return true;
}

static void say_call(const struct instance *in) {
    static struct call c;
    if (!copy_call(in, &c)) {
        say("  runs no command\n");
        return;
    }
    say("  runs ");
    say(c.ctx.cmd->name);
    say_field("in database", c.ctx.db);
    say_field("for client", (int64_t)c.ctx.client_id);
    say(":");
    for (unsigned i = 0; i < c.ctx.argc; i++) {
        say(" ");
        if (observe_redacts(c.ctx.cmd, c.ctx.argv, c.ctx.argc, i)) {
            say("(redacted)");
            continue;
        }
        say_bytes(c.argv[i].ptr, c.argv[i].len);
        if (c.whole[i] > c.argv[i].len)
            say_field("... of bytes", (int64_t)c.whole[i]);
    }
    if (c.argc > c.ctx.argc)
        say_field("... of arguments", c.argc);
    say("\n");
}

static ON_SHARD uint64_t keys_of(const struct shard *s) {
    uint64_t keys = 0;
    for (unsigned db = 0; db < keyspace_databases(s->keyspace); db++) {
        const struct table *t = keyspace_peek_table(s->keyspace, db);
        if (t != NULL)
            keys += table_count(t);
    }
    return keys;
}

static void say_numbers(const struct shard *s) {
    const struct net_shared *net = atomic_load(&watched_net);
    shard_claim(); /* not so, but nothing is written, and nothing comes after this */
    say(" ");
    say_field("keys", (int64_t)keys_of(s));
    say_field("used_memory", s->mem.used_bytes);
    say_field("connections", atomic_load(&net->live[s->id]));
    say_field("turns", (int64_t)s->stats.turns);
    say_field("messages out", (int64_t)s->stats.messages_out);
    say_field("in", (int64_t)s->stats.messages_in);
    say_field("borrows", (int64_t)s->stats.borrows);
    say("\n");
}

/* say_message: m went from `from` to `to`, unless its memory has become something else since. */
static void say_message(const struct bus_msg *m, unsigned from, unsigned to, bool waiting) {
    struct bus_msg copy;
    say("  message");
    say_field("from", from);
    say_field("to", to);
    say(waiting ? ", waiting, " : ", ");
    if (!peek(&copy, m, sizeof copy)) {
        say("gone\n");
    } else if (copy.from == from && copy.to == to && !(from == to && copy.answered)) {
        say("runs ");
        say_address((uintptr_t)copy.run, 0);
    } else if (copy.from == to && copy.to == from) {
        say("is answered to ");
        say_address((uintptr_t)copy.done, 0);
    } else {
        say("gone");
    }
    say("\n");
}

/* say_messages: the last that were sent to this shard, as the rings still hold them. */
static void say_messages(const struct shard *at) {
    const struct bus_msg *recent[MESSAGES_MAX];
    unsigned n = shards_count(at->all), said = 0, waiting;
    unsigned of_each = n > MESSAGES_MAX ? 1 : MESSAGES_MAX / n;
    for (unsigned from = 0; from < n && said < MESSAGES_MAX; from++) {
        unsigned count = bus_recent(at->bus, from, at->id, recent, of_each, &waiting);
        for (unsigned i = 0; i < count; i++)
            say_message(recent[i], from, at->id, i < waiting);
        said += count;
    }
}

static void say_shards(void) {
    struct shards *all = atomic_load(&watched);
    if (all == NULL)
        return;
    say("\ncommands:\n");
    for (unsigned i = 0; i < shards_count(all); i++) {
        const struct instance *in = instance_of(shards_get(all, i));
        say_field("shard", i);
        if (in == NULL)
            say("  is starting or stopping\n");
        else
            say_call(in);
    }
    flush();
    say("\nmessages, at most ");
    say_number(MESSAGES_MAX, 10, 1);
    say(" to each shard, the newest of each sender first:\n");
    for (unsigned i = 0; i < shards_count(all); i++)
        say_messages(shards_get(all, i));
    flush();
    say("\nnumbers:\n");
    for (unsigned i = 0; i < shards_count(all); i++) {
        say_field("shard", i);
        say_numbers(shards_get(all, i));
    }
    flush();
}

/* --- the handler --- */

/* leave: the signal is blocked here, so it comes with its default action when the handler has returned, and
 * a core dump shows the thread where it crashed. */
static void leave(int signal) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigaction(signal, &action, NULL);
    (void)raise(signal);
}

static void on_crash(int signal, siginfo_t *info, void *context) {
    pid_t me = gettid(), nobody = 0;
    if (!atomic_compare_exchange_strong(&reporter, &nobody, me)) {
        while (nobody != me) /* another thread's report is being written; its end is ours */
            (void)pause();
        leave(signal); /* abort() in the report; what the kernel raises in it is fatal at once */
        return;
    }
    say_what(signal, info);
    say_where(context);
    say_shards();
    say("=== report ends ===\n");
    flush();
    leave(signal);
}

void crash_watch(struct shards *all, const struct net_shared *net) {
    atomic_store(&watched_net, net);
    atomic_store(&watched, all);
}

void crash_thread_begin(void) {
    stack_t stack;
    if (sigaltstack(NULL, &stack) != 0 || !(stack.ss_flags & SS_DISABLE))
        return; /* a sanitizer's: it will do */
    void *memory = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return; /* then only the overflow of this thread's stack goes without a report */
    stack = (stack_t){.ss_sp = memory, .ss_size = STACK_BYTES};
    (void)sigaltstack(&stack, NULL);
}

void crash_thread_end(void) {
    stack_t stack, none = {.ss_flags = SS_DISABLE};
    if (sigaltstack(NULL, &stack) != 0 || stack.ss_size != STACK_BYTES ||
        (stack.ss_flags & SS_DISABLE) || sigaltstack(&none, NULL) != 0)
        return;
    (void)munmap(stack.ss_sp, STACK_BYTES);
}

void crash_install(void) {
    static struct frames warm_up;
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    /* The first walk may load or resolve something; later ones do not. */
    (void)_Unwind_Backtrace(note_frame, &warm_up);
    (void)sigfillset(&action.sa_mask);
    for (size_t i = 0; i < COUNT_OF(crash_signals); i++)
        (void)sigaction(crash_signals[i], &action, NULL);
}
