/* clock.h: the only source of time.
 *
 * Why         the simulator replaces it, so that a seed replays a run.
 * Units       clock_mono_ns never goes back; clock_wall_us is Unix time and may.
 * Cost        a vDSO call, about 25 ns: shards read it once per turn and keep the value.
 */
#ifndef SHARDS_CLOCK_H
#define SHARDS_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void);
int64_t clock_wall_us(void);

/* clock_fine_ns: nanoseconds for the difference of two moments on one thread, about 8 ns a call where the
 * processor counts time evenly (clock_calibrate found out), else as clock_mono_ns. */
uint64_t clock_fine_ns(void);
/* clock_calibrate: takes 2 ms; call before any shard starts. Without it clock_fine_ns is the slow way. */
void clock_calibrate(void);

/* clock_replace: both functions are answered by these from now on; NULL restores the real ones.
 * Call before any shard starts. clock_fine_ns then answers as clock_mono_ns. */
void clock_replace(uint64_t (*mono_ns)(void), int64_t (*wall_us)(void));

#endif
