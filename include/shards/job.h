/* job.h: work that takes long, done beside the shard.
 *
 * Why         What a command does with a huge value (copying, intersecting, sorting it) takes as long as it takes, and a shard
 *             runs to completion: everybody else would wait. So a thread of the shard's does it, while the
 *             transaction or step that the command is (tx.h) holds its locks: what is locked may be read in place from
 *             any thread, and what is locked exclusively, written.
 *
 *             shard   | job_start ............ other commands, turn after turn ............ done
 *             worker            | work: reads what is locked, makes what is new |
 *
 * Threads     job_start: the holder of the shard. work: the shard's worker, which owns nothing of the shard: memory is charged to an
 *             account of the job's. done: the shard's owner, in a later turn.
 * Limits      one worker per shard, started by its first job; its jobs run one after the other. It has less priority than the
 *             shards have. Where no thread can be had, or there are none (the simulator), work runs on the owner in a
 *             turn of its own.
 * Invariants  (1) done runs once, after work, never within job_start.
 */
#ifndef SHARDS_JOB_H
#define SHARDS_JOB_H

#include "shards/attr.h"
#include <stdint.h>

struct shard;

struct job {
    void (*work)(struct job *j);
    void (*done)(struct shard *s, struct job *j);
    uint64_t ns; /* what work took */
    struct job *next;
};

/* job_start: the memory of j is the job's until done. O(1). */
void job_start(struct shard *s, struct job *j) ON_SHARD;

#endif
