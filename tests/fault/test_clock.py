"""A wall clock that jumps. Expiry is a matter of wall-clock time, as in Redis: what is compared here with redis-server
under the same clock. Everything else runs by the monotonic clock and must not notice.

The clock is a shim, preloaded into the server, that adds to CLOCK_REALTIME what a file says.
"""

import mmap
import struct
import subprocess
import threading
import time

import pytest

from harness import Prober, Server, wait_until

HOUR_MS = 3600 * 1000
SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset_ms;

__attribute__((constructor)) static void shim_start(void) {
    int fd = open(getenv("CLOCK_SHIM_FILE"), O_RDONLY | O_CLOEXEC);
    void *at = mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (fd < 0 || at == MAP_FAILED)
        _exit(99);
    close(fd);
    offset_ms = at;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    int failed = (int)syscall(SYS_clock_gettime, id, t);
    if (failed == 0 && offset_ms != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = t->tv_nsec + *offset_ms % 1000 * 1000000;
        t->tv_sec += *offset_ms / 1000 + (ns >= 1000000000) - (ns < 0);
        t->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    struct timespec t;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &t) != 0)
        return -1;
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL)
        *out = t.tv_sec;
    return t.tv_sec;
}
"""


class Clock:
    """How far servers' wall clocks are from the real one."""

    def __init__(self, folder):
        source, self.library, self.path = folder / "shim.c", folder / "shim.so", folder / "offset"
        source.write_text(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library, source], check=True)
        self.path.write_bytes(bytes(8))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8)
        # asan wants to be the first library; here it may be the second
        self.launcher = ["env", "LD_PRELOAD=%s" % self.library, "CLOCK_SHIM_FILE=%s" % self.path, "sh", "-c",
                         'ASAN_OPTIONS="$ASAN_OPTIONS:verify_asan_link_order=0" exec "$@"', "sh"]

    def set(self, offset_ms):
        self.map[:8] = struct.pack("=q", offset_ms)


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(params=[(1, "epoll"), (2, "uring"), (3, "epoll"), (8, "uring")], ids=lambda c: "%d-%s" % c)
def pair(request, clock):
    """The server, redis-server and the clock of both."""
    shards, io = request.param
    clock.set(0)
    with Server("anax", shards=shards, io=io, launcher=clock.launcher) as anax, \
            Server("redis", launcher=clock.launcher) as redis:
        yield anax, redis, clock
        assert anax.alive(), anax.log()


def now_ms(server):
    seconds, micros = server.cmd("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def test_shim_shifts_the_wall_clock_only(pair):
    """The others mean nothing if it does not."""
    anax, redis, clock = pair
    for offset_ms in (5 * HOUR_MS + 1, -5 * HOUR_MS - 1, -1, 0):
        clock.set(offset_ms)
        for server in (anax, redis):
            assert abs(now_ms(server) - time.time() * 1000 - offset_ms) < HOUR_MS / 60
    clock.set(5 * HOUR_MS)
    assert int(anax.info("server")["uptime_in_seconds"]) < 3600


TTLS_MS = [1, 40, 3000, HOUR_MS // 2, HOUR_MS, 2 * HOUR_MS, 10 * HOUR_MS, None]


def fill(server, epoch_ms):
    """Keys whose expiries are absolute, so that both servers have the same; 20 of each, on every shard."""
    with server.connect() as c:
        for ttl_ms in TTLS_MS:
            at = [] if ttl_ms is None else ["PXAT", epoch_ms + ttl_ms]
            for r in c.pipeline([["SET", "ttl:%s:%d" % (ttl_ms, i), "v%d" % i] + at for i in range(20)]):
                assert r.value == b"OK"


def seen(server, name="GET"):
    """Which of them are there, as reads tell: GET, or what PTTL says to the minute."""
    with server.connect() as c:
        commands = [[name, "ttl:%s:%d" % (ttl_ms, i)] for ttl_ms in TTLS_MS for i in range(20)]
        replies = [r.value for r in c.pipeline(commands)]
    return [r // 60000 if isinstance(r, int) and r > 0 else r for r in replies]


# Far from every TTL above, so that the moment of asking does not matter.
JUMPS_MS = [-4 * HOUR_MS, -HOUR_MS // 4, HOUR_MS // 4, 3 * HOUR_MS // 4, -100 * HOUR_MS, 3 * HOUR_MS, -3 * HOUR_MS,
            20 * HOUR_MS, 0]


def test_jumps_back_and_forth(pair):
    """After every jump both servers say the same of every key: what has expired, and how long the others live."""
    anax, redis, clock = pair
    base_ms = int(time.time() * 1000) + 90_000  # nobody sees the minute change
    for server in (anax, redis):
        fill(server, base_ms)
    clock.set(30_000)
    with Prober(anax) as honest:
        for offset_ms in JUMPS_MS:
            clock.set(offset_ms + 30_000)
            honest.goes_on(20)
            want = seen(redis)
            assert seen(anax) == want, "after a jump to %d ms" % offset_ms
            ours, theirs = seen(anax, "PTTL"), seen(redis, "PTTL")
            assert all(a == b or abs(a - b) <= 1 for a, b in zip(ours, theirs)), (offset_ms, ours, theirs)
            gone = sum(value is None for value in want)
            if offset_ms == 20 * HOUR_MS:
                assert gone == 20 * (len(TTLS_MS) - 1)
        assert gone == 20 * (len(TTLS_MS) - 1), "the dead came back"


def test_back_keeps_alive(pair):
    """What has not expired lives on by as much as the clock went back, and nothing is expired by the wait."""
    anax, redis, clock = pair
    for server in (anax, redis):
        with server.connect() as c:
            c.ok("SET", "k", "v", "PX", 100_000)
            c.ok("SET", "soon", "v", "PX", 1000)
            clock.set(-10 * HOUR_MS)
            wait_until(lambda: c.cmd("PTTL", "k") > 10 * HOUR_MS, "it lives longer now")
            assert c.cmd("PTTL", "k") <= 10 * HOUR_MS + 100_000
            assert c.cmd("GET", "soon") == b"v" and c.cmd("PTTL", "soon") > 9 * HOUR_MS
            c.ok("SET", "new", "v", "PX", 50_000)  # counts from the clock of now
            assert 0 < c.cmd("PTTL", "new") <= 50_000
            clock.set(0)
            wait_until(lambda: c.cmd("PTTL", "new") == -2, "it is long over by the right clock")
            assert 0 < c.cmd("PTTL", "k") <= 100_000


def test_active_expiry_goes_on(pair):
    """Keys that nobody reads go by the new time, whichever way it went."""
    anax, _, clock = pair
    n = 5000
    with Prober(anax) as honest, anax.connect() as c:
        for offset_ms in (-7 * HOUR_MS, 0, 7 * HOUR_MS, -HOUR_MS):
            clock.set(offset_ms)
            honest.goes_on(5)
            expired = int(anax.info("stats")["expired_keys"])
            c.pipeline([["SET", "active:%d" % i, "v", "PX", 20 + i % 100] for i in range(n)])
            wait_until(lambda: int(anax.info("stats")["expired_keys"]) >= expired + n, "all expire unseen")
            assert c.cmd("EXISTS", "active:1") == 0
        # A jump forward expires at once what a cycle finds; a table full of it stops nobody.
        clock.set(0)
        c.pipeline([["SET", "later:%d" % i, "v", "EX", 3600] for i in range(n)])
        expired = int(anax.info("stats")["expired_keys"])
        clock.set(2 * HOUR_MS)
        wait_until(lambda: int(anax.info("stats")["expired_keys"]) >= expired + n, "all expire unseen")
        honest.goes_on(20)


@pytest.mark.parametrize("offset_ms", [-1000 * HOUR_MS, 1000 * HOUR_MS], ids=["back", "forward"])
def test_timers_are_monotonic(clock, offset_ms):
    """`timeout` and soft limits count real seconds: a jump closes nobody, nor does it keep anybody open."""
    clock.set(0)
    with Server("anax", shards=2, launcher=clock.launcher, options={"timeout": 1000}) as server, \
            Prober(server) as honest, server.connect() as idle:
        idle.ok("SET", "k", "v")
        clock.set(offset_ms)
        honest.goes_on(50)
        assert server.info("clients")["connected_clients"] == "3"
        assert idle.cmd("GET", "k") == b"v"
        with server.connect() as c:
            c.ok("CONFIG", "SET", "timeout", 1)
            ended = threading.Event()
            waiter = threading.Thread(target=lambda: (idle.until_closed(), ended.set()))
            waiter.start()
            wait_until(lambda: c.cmd("PING") == b"PONG" and ended.is_set(), "an idle client is closed all the same")
            waiter.join()
            line = c.cmd("CLIENT", "INFO").decode()
            assert int(line.split(" age=")[1].split()[0]) < 3600, line
            assert int(line.split(" idle=")[1].split()[0]) < 3600, line
