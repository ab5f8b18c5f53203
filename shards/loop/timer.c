/* timer.c: the timer wheel; drawn in loop_impl.h. */
#include "loop_impl.h"
#include <stddef.h>

enum { DIGIT_BITS = 6, DIGIT_MASK = WHEEL_PLACES - 1 };

static struct timer *timer_of(struct list *link) {
    return CONTAINER_OF(link, struct timer, link);
}

void wheel_init(struct wheel *w, uint64_t now_ns) {
    w->tick = now_ns >> WHEEL_TICK_SHIFT;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        w->used[level] = 0;
        for (unsigned i = 0; i < WHEEL_PLACES; i++)
            list_init(&w->places[level][i]);
    }
    list_init(&w->firing);
}

/* The first of a place's list that a timer due at due_ns goes before. Found from the end, because
 * timers are mostly set in the order in which they are due. */
static struct list *sorted_position(struct list *place, uint64_t due_ns) {
    struct list *at = place;
    while (at->prev != place && timer_of(at->prev)->due_ns > due_ns)
        at = at->prev;
    return at;
}

static void wheel_add(struct wheel *w, struct timer *t) {
    uint64_t tick = t->due_ns >> WHEEL_TICK_SHIFT;
    if (tick < w->tick)
        tick = w->tick; /* overdue: due at once, still sorted by due_ns */
    uint64_t differs = tick ^ w->tick;
    unsigned level = differs == 0 ? 0 : (63 - (unsigned)__builtin_clzll(differs)) / DIGIT_BITS;
    unsigned i = (unsigned)(tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
    struct list *place = &w->places[level][i];
    list_add_tail(level == 0 ? sorted_position(place, t->due_ns) : place, &t->link);
    w->used[level] |= 1ULL << i;
}

/* The first place of `level`, from `tick` on, that has timers; clears bits that have gone stale
 * because timer_clear does not know where its timer lies. Returns WHEEL_PLACES when there is none.
 */
static unsigned first_place(struct wheel *w, unsigned level) {
    unsigned from = (unsigned)(w->tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
    uint64_t bits = w->used[level] & (~0ULL << from);
    while (bits != 0) {
        unsigned i = (unsigned)__builtin_ctzll(bits);
        if (!list_empty(&w->places[level][i]))
            return i;
        w->used[level] &= ~(1ULL << i);
        bits &= bits - 1;
    }
    return WHEEL_PLACES;
}

/* The first level with timers, and the tick at which its first place begins. */
static bool first_tick(struct wheel *w, unsigned *level, unsigned *place, uint64_t *tick) {
    for (*level = 0; *level < WHEEL_LEVELS; (*level)++) {
        *place = first_place(w, *level);
        if (*place == WHEEL_PLACES)
            continue;
        unsigned shift = *level * DIGIT_BITS;
        uint64_t above = shift + DIGIT_BITS < 64 ? ~0ULL << (shift + DIGIT_BITS) : 0;
        *tick = (w->tick & above) | (uint64_t)*place << shift;
        return true;
    }
    return false;
}

/* Moves what is due from a place of the lowest level; false when the rest is due later. */
static bool take_due(struct wheel *w, unsigned place, uint64_t now_ns) {
    struct list *from = &w->places[0][place];
    while (!list_empty(from)) {
        struct timer *t = timer_of(from->next);
        if (t->due_ns > now_ns)
            return false;
        list_del(&t->link);
        list_add_tail(&w->firing, &t->link);
    }
    return true;
}

/* Spreads a place of a higher level over the levels below; w->tick has just entered it. */
static void cascade(struct wheel *w, unsigned level, unsigned place) {
    struct list *from = &w->places[level][place];
    w->used[level] &= ~(1ULL << place);
    while (!list_empty(from)) {
        struct timer *t = timer_of(from->next);
        list_del(&t->link);
        wheel_add(w, t);
    }
}

unsigned wheel_run(struct wheel *w, uint64_t now_ns) {
    uint64_t now_tick = now_ns >> WHEEL_TICK_SHIFT;
    unsigned level, place;
    uint64_t tick;
    while (first_tick(w, &level, &place, &tick) && tick <= now_tick) {
        if (tick > w->tick)
            w->tick = tick;
        if (level > 0)
            cascade(w, level, place);
        else if (!take_due(w, place, now_ns))
            break;
    }
    if (now_tick > w->tick)
        w->tick = now_tick;

    /* What a callback sets anew goes to the wheel and waits for the next run; what it clears leaves
     * `firing` before its turn. */
    unsigned fired = 0;
    while (!list_empty(&w->firing)) {
        struct timer *t = timer_of(w->firing.next);
        list_del(&t->link);
        t->due_ns = 0;
        t->fire(t);
        fired++;
    }
    return fired;
}

uint64_t wheel_next_ns(struct wheel *w) {
    unsigned level, place;
    uint64_t tick;
    if (!first_tick(w, &level, &place, &tick))
        return UINT64_MAX;
    if (level > 0)
        return tick << WHEEL_TICK_SHIFT;
    return timer_of(w->places[0][place].next)->due_ns;
}

void timer_set(struct loop *l, struct timer *t, uint64_t due_ns) {
    timer_clear(l, t);
    t->due_ns = due_ns > 0 ? due_ns : 1;
    list_init(&t->link);
    wheel_add(&l->wheel, t);
}

void timer_clear(struct loop *l, struct timer *t) {
    (void)l;
    if (t->due_ns == 0)
        return;
    list_del(&t->link);
    t->due_ns = 0;
}
