/* file_thread.c: one thread per loop that does requests of files in their order, where the kernel
 * does not do them for us. It is started by the first request and ends with the loop.
 *
 *     owner  --todo, under the lock-->  thread  --over, a stack without a lock; loop_wake-->  owner
 */
#include "loop_impl.h"
#include "shards/log.h"
#include <stddef.h>
#include <string.h>

void file_thread_init(struct file_thread *t) {
    list_init(&t->todo);
    int failed = pthread_mutex_init(&t->lock, NULL) | pthread_cond_init(&t->more, NULL);
    ASSERT(failed == 0); /* neither takes anything that could be lacking */
    /* Where this thread may run, so may ours, though the owner is pinned to one core later. */
    if (sched_getaffinity(0, sizeof(t->cpus), &t->cpus) != 0)
        CPU_ZERO(&t->cpus); /* then setting it is refused, and nothing changes */
}

static void hand_over(struct loop *l, struct file_request *r) {
    struct file_thread *t = &l->files.thread;
    r->link.next = atomic_load_explicit(&t->over, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&t->over, &r->link.next, &r->link,
                                                  memory_order_release, memory_order_relaxed))
        ;
    loop_wake(NULL, l);
}

static void *thread_main(void *arg) {
    struct loop *l = arg;
    struct file_thread *t = &l->files.thread;
    (void)pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        if (list_empty(&t->todo)) {
            (void)pthread_cond_wait(&t->more, &t->lock);
            continue;
        }
        struct file_request *r = CONTAINER_OF(t->todo.next, struct file_request, link);
        list_del(&r->link);
        (void)pthread_mutex_unlock(&t->lock);
        file_act(r);
        hand_over(l, r);
        (void)pthread_mutex_lock(&t->lock);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return NULL;
}

static int start(struct loop *l) {
    struct file_thread *t = &l->files.thread;
    int failed = pthread_create(&t->id, NULL, thread_main, l);
    if (failed != 0) {
        LOGW("no thread for files: %s", strerror(failed));
        return failed;
    }
    t->started = true;
    (void)pthread_setaffinity_np(t->id, sizeof(t->cpus), &t->cpus);
    (void)pthread_setname_np(t->id, "files");
    return 0;
}

bool file_thread_begin(struct loop *l, struct file_request *r) {
    struct file_thread *t = &l->files.thread;
    int failed = t->started ? 0 : start(l);
    if (failed != 0) {
        loop_file_refuse(l, r, failed);
        return true;
    }
    (void)pthread_mutex_lock(&t->lock);
    list_add_tail(&t->todo, &r->link);
    (void)pthread_cond_signal(&t->more);
    (void)pthread_mutex_unlock(&t->lock);
    return true;
}

/* take_over: what the thread has done, the oldest first. */
static struct list *take_over(struct file_thread *t) {
    struct list *node = atomic_exchange_explicit(&t->over, NULL, memory_order_acquire);
    struct list *oldest = NULL;
    while (node != NULL) {
        struct list *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}

unsigned file_thread_finish(struct loop *l) {
    struct file_thread *t = &l->files.thread;
    unsigned n = 0;
    if (!t->started)
        return 0;
    for (struct list *node = take_over(t), *next; node != NULL; node = next, n++) {
        next = node->next;
        struct file_request *r = CONTAINER_OF(node, struct file_request, link);
        list_init(&r->link);
        loop_file_done(l, r);
    }
    return n;
}

void file_thread_stop(struct loop *l) {
    struct file_thread *t = &l->files.thread;
    if (t->started) {
        (void)pthread_mutex_lock(&t->lock);
        t->stop = true;
        (void)pthread_cond_signal(&t->more);
        (void)pthread_mutex_unlock(&t->lock);
        (void)pthread_join(t->id, NULL);
    }
    for (; !list_empty(&t->todo); l->files.under_way--)
        list_del(t->todo.next);
    (void)file_thread_finish(l);
    t->started = false;
    (void)pthread_cond_destroy(&t->more);
    (void)pthread_mutex_destroy(&t->lock);
}
