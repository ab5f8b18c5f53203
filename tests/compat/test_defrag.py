"""Defragmentation: what it moves is what it was, whatever goes on meanwhile; memory comes back; options and INFO as Redis has them.

DEBUG DEFRAG 1 moves everything all the time, so that a sanitizer sees whoever still refers to where something was. With DEBUG
LONG-ELEMENTS 1 all that can be done beside the shard is, while the shard goes on moving.
"""

import contextlib
import random
import threading
import time

import pytest

import streams
from harness import SLOW, Closed, Error, Server, wait_until

SHARDS = [1, 2, 3, 8]
STEPS = 150 if SLOW else 400
WRITERS = 2
STREAM = 1200 if SLOW else 3000
FAR_MS = 4_102_444_800_000
KEYS = 60_000 if SLOW else 150_000


@pytest.fixture(scope="module")
def servers():
    made = {}

    def get(shards):
        if shards not in made:
            made[shards] = Server("anax", shards=shards, options={"enable-debug-command": "local"})
        s = made[shards]
        s.cmd("FLUSHALL")
        return s

    yield get
    for server in made.values():
        server.stop()


def info(server):
    text = server.cmd("INFO", "everything").decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def moved(server):
    return int(info(server)["active_defrag_hits"])


def move_everything(server, on=True):
    with server.connect() as c:
        c.ok("DEBUG", "DEFRAG", "1" if on else "0")
        c.ok("DEBUG", "LONG-ELEMENTS", "1" if on else "-1")
        c.ok("CONFIG", "SET", "active-defrag-cycle-max", "60" if on else "25")
    running = (lambda: info(server)["active_defrag_running"] != "0")
    wait_until(running if on else lambda: not running(), "running is %s" % on)


class Writer:
    """Random writes to keys of its own, and what they hold, in a model."""

    def __init__(self, name, seed):
        self.name, self.rng = name, random.Random(seed)
        self.data = {}  # key -> value: bytes, dict, set, list, or a dict of scores in a Scores

    def key(self, kind):
        return b"%s:%s%d" % (self.name, kind, self.rng.choice([0, 0, 0, 1, 2, 3, self.rng.randrange(40)]))

    def text(self, long=0.05):
        r = self.rng
        n = r.choice([129, 300, 1200]) if r.random() < long else r.randrange(1, 40)
        return b"%d-" % r.randrange(3000) + b"x" * n

    def number(self):
        r = self.rng
        return r.choice([r.randrange(6000), r.randrange(200_000), r.randrange(10_000) << 20, r.randrange(5) << 33 | 7])

    # each: commands, with the replies they must have, after which the model is what it says
    def string(self):
        r, k = self.rng, self.key(b"s")
        v = b"v" * r.choice([0, 5, 50, 600, 1023, 1024, 3000, 14000, 15000, 50000])
        if r.random() < 0.3:
            self.data[k] = self.data.get(k, b"") + v[:900]
            return [[b"APPEND", k, v[:900]]], [len(self.data[k])]
        self.data[k] = v
        more = [b"PXAT", b"%d" % (FAR_MS + r.randrange(1000))] if r.random() < 0.3 else []
        return [[b"SET", k, v] + more], [b"OK"]

    def hash(self):
        r, k = self.rng, self.key(b"h")
        h = self.data.setdefault(k, {})
        if h and r.random() < 0.3:
            gone = r.sample(sorted(h), min(len(h), r.randrange(1, 60)))
            for f in gone:
                del h[f]
            return [[b"HDEL", k] + gone], [len(gone)]
        new = {self.text(): self.text() for _ in range(r.choice([1, 5, 200]))}
        added = len(new.keys() - h.keys())
        h.update(new)
        commands, want = [[b"HSET", k] + [x for p in new.items() for x in p]], [added]
        if r.random() < 0.3:
            some = list(new)[:20]
            commands.append([b"HPEXPIREAT", k, b"%d" % (FAR_MS + r.randrange(99)), b"FIELDS", b"%d" % len(some)] + some)
            want.append([1] * len(some))
        return commands, want

    def set(self):
        r = self.rng
        k = self.key(r.choice([b"t", b"i", b"m"]))
        s = self.data.setdefault(k, set())
        if s and r.random() < 0.3:
            gone = r.sample(sorted(s), min(len(s), r.randrange(1, 60)))
            s.difference_update(gone)
            return [[b"SREM", k] + gone], [len(gone)]
        kind = k[len(self.name) + 1:][:1]
        new = {self.text() if kind == b"t" or (kind == b"m" and r.random() < 0.02) else b"%d" % self.number()
               for _ in range(r.choice([1, 5, 300]))}
        added = len(new - s)
        s |= new
        return [[b"SADD", k] + sorted(new)], [added]

    def union(self):
        a, b, to = self.key(b"t"), self.key(b"i"), self.key(b"m")
        both = self.data.get(a, set()) | self.data.get(b, set())
        self.data[to] = both
        return [[b"SUNIONSTORE", to, a, b]], [len(both)]

    def zset(self):
        r, k = self.rng, self.key(b"z")
        z = self.data.setdefault(k, {})
        if z and r.random() < 0.3:
            gone = r.sample(sorted(z), min(len(z), r.randrange(1, 60)))
            for m in gone:
                del z[m]
            return [[b"ZREM", k] + gone], [len(gone)]
        new = {self.text(): r.randrange(-1000, 1000) for _ in range(r.choice([1, 5, 200]))}
        added = len(new.keys() - z.keys())
        z.update(new)
        return [[b"ZADD", k] + [x for m, s in new.items() for x in (b"%d" % s, m)]], [added]

    def list(self):
        r, k = self.rng, self.key(b"l")
        v = self.data.setdefault(k, [])
        if v and r.random() < 0.4:
            n = min(len(v), r.randrange(1, 80))
            left = r.random() < 0.5
            gone = v[:n] if left else v[::-1][:n]
            self.data[k] = v[n:] if left else v[:len(v) - n]
            return [[b"LPOP" if left else b"RPOP", k, b"%d" % n]], [gone]
        new = [self.text() for _ in range(r.choice([1, 5, 200]))]
        if r.random() < 0.5:
            v += new
            return [[b"RPUSH", k] + new], [len(v)]
        v[:0] = new[::-1]
        return [[b"LPUSH", k] + new], [len(v)]

    def rename(self):
        kind = self.rng.choice([b"s", b"h", b"t", b"z", b"l"])
        a, b = self.key(kind), self.key(kind)
        if a == b or not self.exists(a):
            return [], []
        if self.rng.random() < 0.5:
            self.data[b] = self.data.pop(a)
            return [[b"RENAME", a, b]], [b"OK"]
        self.data[b] = self.data[a].copy() if not isinstance(self.data[a], bytes) else self.data[a]
        return [[b"COPY", a, b, b"REPLACE"]], [1]

    def delete(self):
        if self.rng.random() < 0.9:
            return [], []
        k = self.key(self.rng.choice([b"s", b"h", b"t", b"i", b"m", b"z", b"l"]))
        want = int(self.exists(k))
        self.data.pop(k, None)
        return [[b"UNLINK", k]], [want]

    def exists(self, k):
        v = self.data.get(k)
        return v is not None and (isinstance(v, bytes) or len(v) > 0)

    def ask(self, k):
        """A command that reads all of a key, and what it must reply, both as they can be compared."""
        v, kind = self.data.get(k), k[len(self.name) + 1:][:1]
        if kind == b"s":
            return [b"GET", k], v, lambda x: x
        if kind == b"h":
            return [b"HGETALL", k], sorted((v or {}).items()), lambda x: sorted(zip(x[::2], x[1::2]))
        if kind == b"z":
            return [b"ZRANGE", k, b"0", b"-1", b"WITHSCORES"], sorted((s, m) for m, s in (v or {}).items()), \
                lambda x: [(int(s), m) for m, s in zip(x[::2], x[1::2])]
        if kind == b"l":
            return [b"LRANGE", k, b"0", b"-1"], v or [], lambda x: x
        return [b"SMEMBERS", k], sorted(v or []), sorted

    def step(self, c):
        commands, want = [], []
        for _ in range(self.rng.choice([1, 2, 5])):
            draw = self.rng.choice([self.string, self.hash, self.set, self.set, self.zset, self.list, self.union,
                                    self.rename, self.delete])
            more, replies = draw()
            commands += more
            want += replies
        if not commands:
            return
        together = self.rng.random() < 0.3
        if together:
            commands = [[b"MULTI"]] + commands + [[b"EXEC"]]
        got = [r.value for r in c.pipeline(commands)]
        got = got[-1] if together else got
        assert got == want, [(q[:3], g, w) for q, g, w in zip(commands[together:], got, want) if g != w][:3]

    def check(self, c, k):
        command, want, as_is = self.ask(k)
        got = c.cmd(*command)
        assert not isinstance(got, Error), (k, got)
        assert as_is(got) == want, k

    def run(self, server, steps):
        with server.connect() as c:
            for i in range(steps):
                self.step(c)
                if i % 4 == 0 and self.data:
                    self.check(c, self.rng.choice(sorted(self.data)))

    def check_all(self, server):
        with server.connect() as c:
            for k in sorted(self.data):
                self.check(c, k)
                assert c.cmd("EXISTS", k) == int(self.exists(k)), k


@pytest.mark.parametrize("shards", SHARDS)
def test_writes_go_on_while_everything_moves(servers, shards):
    server = servers(shards)
    writers = [Writer(b"w%d" % i, 100 * shards + i) for i in range(WRITERS)]
    errors = []

    def run(writer):
        try:
            writer.run(server, STEPS)
        except BaseException as e:  # noqa: BLE001: told by the test
            errors.append(e)

    move_everything(server)
    before = moved(server)
    threads = [threading.Thread(target=run, args=(w,)) for w in writers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert server.alive(), server.log()
    if errors:
        raise errors[0]
    wait_until(lambda: moved(server) > before + 10_000, "10,000 moved")
    for w in writers:
        w.check_all(server)
    move_everything(server, False)
    after = moved(server)
    for w in writers:
        w.check_all(server)
    assert moved(server) == after, "nothing is moved any more"
    server.cmd("FLUSHALL")


@pytest.mark.parametrize("shards", SHARDS)
def test_streams_equal_redis_while_everything_moves(servers, redis, shards):
    server = servers(shards)
    move_everything(server)
    pair = streams.Pair(server, redis, 2)
    before = moved(server)
    for seed in (7000 + shards, 7100 + shards):
        streams.run_seed(pair, seed, STREAM)
    assert moved(server) > before
    move_everything(server, False)


def memory_is_there(server):
    """Without memory it may have to close a connection."""
    try:
        return server.cmd("DEBUG", "FAIL-ALLOC", "0") == b"OK"
    except (Closed, OSError):
        return False


def test_without_memory_everything_stays(servers):
    """Every third allocation fails: what cannot move stays, and nothing is lost."""
    server = servers(2)
    w = Writer(b"n", 5)
    w.run(server, 60)
    move_everything(server)
    for _ in range(5):
        before = moved(server)
        with contextlib.suppress(Closed):
            server.cmd("DEBUG", "FAIL-ALLOC", "3")
        time.sleep(0.05)
        wait_until(lambda: memory_is_there(server), "memory")
        assert moved(server) > before
        w.check_all(server)
    move_everything(server, False)


def fill_and_thin_out(server, keys):
    """Random keys, of which one in ten stays."""
    order = list(range(keys))
    random.Random(3).shuffle(order)
    with server.connect() as c:
        for at in range(0, keys, 5000):
            c.pipeline([[b"SET", b"key:%d" % i, b"v" * (16 + i % 50)] for i in range(at, min(keys, at + 5000))])
        for at in range(0, keys - keys // 10, 5000):
            c.pipeline([[b"DEL", b"key:%d" % i] for i in order[at:min(keys - keys // 10, at + 5000)]])
    return order[keys - keys // 10:]


def slab_bytes_free(server):
    return int(info(server)["allocator_frag_bytes"])


@contextlib.contextmanager
def asked(server, keys):
    """Clients that read: no shard has so little to do that it would tidy up for that reason alone."""
    stop = threading.Event()

    def ask():
        rng = random.Random(4)
        with server.connect() as c:
            while not stop.is_set():
                c.pipeline([[b"GET", b"key:%d" % rng.randrange(keys)] for _ in range(1000)])
                stop.wait(0.1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def walked(server, keys):
    """Each shard has walked over its keys, and moved nearly all of them."""
    i = info(server)
    return int(i["active_defrag_hits"]) > keys * 3 // 4 and i["active_defrag_running"] == "0"


@pytest.mark.parametrize("shards", [1, 3])
def test_memory_comes_back(shards):
    """One walk does it, whatever lies in the threads' caches, each piece of which may keep a slab: without what gives those back, walk
    after walk moved a few keys and gained nothing. With an allocator that does not tell what its slabs hold, nothing moves."""
    with Server("anax", shards=shards, options={"activedefrag": "no", "active-defrag-ignore-bytes": "1mb"}) as server:
        left = fill_and_thin_out(server, KEYS)
        free, before = slab_bytes_free(server), info(server)
        assert before["active_defrag_running"] == before["active_defrag_hits"] == "0"
        can = not before["mem_allocator"].startswith("libc")
        assert free > KEYS * 40 or not can
        with asked(server, KEYS):
            server.cmd("CONFIG", "SET", "activedefrag", "yes")
            if can:
                wait_until(lambda: walked(server, len(left)), "walked over everything")
                assert slab_bytes_free(server) < free / 2, "slabs given back"
        if can:
            wait_until(lambda: info(server)["active_defrag_running"] == "0", "at its end")
            after = info(server)
            assert after["current_active_defrag_time"] == "0" < after["total_active_defrag_time"]
            assert int(after["active_defrag_key_hits"]) >= len(left) / 4
            assert int(after["active_defrag_misses"]) > 0
        else:
            assert info(server)["active_defrag_hits"] == "0"
        with server.connect() as c:
            got = c.pipeline([[b"GET", b"key:%d" % i] for i in left])
            assert [r.value for r in got] == [b"v" * (16 + i % 50) for i in left]
            assert c.cmd("DBSIZE") == len(left)
            c.ok("CONFIG", "SET", "activedefrag", "no")
            c.ok("CONFIG", "RESETSTAT")
            for name in ("hits", "misses", "key_hits", "key_misses"):
                assert info(server)["active_defrag_" + name] == "0"


OPTIONS = {"active-defrag-ignore-bytes": "104857600", "active-defrag-threshold-lower": "10",
           "active-defrag-threshold-upper": "100", "active-defrag-cycle-min": "1", "active-defrag-cycle-max": "25",
           "active-defrag-max-scan-fields": "1000"}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_are_those_of_redis(servers, redis, name):
    ours, theirs = servers(1), redis
    assert ours.cmd("CONFIG", "GET", name) == theirs.cmd("CONFIG", "GET", name) == [name.encode(), OPTIONS[name].encode()]
    for value in ("0", "1", "7", "99", "100", "1000", "1001", "-1", "x", "", "1mb", "1.5"):
        assert ours.cmd("CONFIG", "SET", name, value) == theirs.cmd("CONFIG", "SET", name, value), value
        assert ours.cmd("CONFIG", "GET", name) == theirs.cmd("CONFIG", "GET", name), value
    for server in (ours, theirs):
        assert server.cmd("CONFIG", "SET", name, OPTIONS[name]) == b"OK"


def test_activedefrag_is_on_and_can_be_turned_off(servers):
    server = servers(1)
    assert server.cmd("CONFIG", "GET", "activedefrag") == [b"activedefrag", b"yes"]
    assert server.cmd("CONFIG", "SET", "activedefrag", "x") == \
        b"ERR CONFIG SET failed (possibly related to argument 'activedefrag') - argument must be 'yes' or 'no'"
    server.cmd("CONFIG", "SET", "activedefrag", "no")
    assert server.cmd("CONFIG", "GET", "activedefrag") == [b"activedefrag", b"no"]
    server.cmd("CONFIG", "SET", "activedefrag", "yes")


def test_info_has_what_redis_has(servers, redis):
    ours, theirs = info(servers(1)), info(redis)
    wanted = [name for name in theirs if "active_defrag" in name]
    assert len(wanted) == 7
    assert [name for name in wanted if name not in ours] == []
