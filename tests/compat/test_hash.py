"""Hashes against redis-server 7.0: random streams, both encodings and the conversion, odd arguments.

What 7.0 lacks (times of fields, HGETDEL, HGETEX, HSETEX) is in test_hash_ttl.py.
"""

import collections
import contextlib
import random

import pytest

import compare
import grammar
import streams
from harness import Error, Map, SLOW, encode

KEYS = [b"h0", b"h1", b"h2", b"{t}h3", b"{t}h4", b"h5\x00\r\n"]
FIELDS = [b"", b"f", b"field", b"0", b"1", b"-1", b"01", b"127", b"128", b"65536", b"9223372036854775807",
          b"-9223372036854775808", b"9223372036854775808", b"bin\x00\xff", b"x" * 63, b"x" * 64, b"y" * 65, b"z" * 300]
LENGTH = 800 if SLOW else 2500


class Hashes(grammar.Draw):
    """Arguments of commands on a few hashes with a few dozen fields."""

    def key(self):
        return self.rng.choice(KEYS)

    def field(self):
        r = self.rng
        return r.choice(FIELDS) if r.random() < 0.4 else b"f%d" % r.randrange(30)

    def fields(self, most=5):
        return [self.field() for _ in range(self.rng.randint(1, most))]

    def content(self):
        """A field's value: mostly short, so that hashes stay listpacks for a while."""
        r = self.rng
        if r.random() < 0.5:
            return b"%d" % r.choice(grammar.INTS)
        return r.choice(grammar.FLOATS) if r.random() < 0.4 else self.short() if r.random() < 0.8 else self.value()

    def pairs(self, most=4):
        r = self.rng
        n = r.randint(1, most) if r.random() < 0.95 else r.choice([10, 40, 600])
        named = self.field if n <= 40 else lambda: b"many:%d" % r.randrange(2000)
        return [x for _ in range(n) for x in (named(), self.content())]


def random_options(d):
    """HRANDFIELD's; a negative count is as long as the reply."""
    r = d.rng
    if r.random() < 0.3:
        return []
    count = r.choice([b"0", b"1", b"2", b"5", b"-1", b"-3", b"-40", b"1000", b"9223372036854775807",
                      b"4611686018427387903", b"4611686018427387904", b"-9223372036854775808", b"x", b"", b"1.5"])
    tail = r.choice([[], [b"WITHVALUES"], [b"withvalues"], [b"WITHVALUE"], [b"WITHVALUES", b"x"]])
    return [count] + tail


def scan_options(d):
    r = d.rng
    out = [r.choice([b"0", b"0", b"0", b"00", b"-1", b"x", b"", b" 0", b"0 ", b"18446744073709551616", b"1.5"])]
    if r.random() < 0.4:
        out += [d.word(b"MATCH"), r.choice([b"*", b"f*", b"f[12]*", b"", b"nosuch", b"\\*"])]
    if r.random() < 0.4:
        out += [d.word(b"COUNT"), r.choice([b"1", b"3", b"1000", b"0", b"-1", b"x", b"9223372036854775807"])]
    if r.random() < 0.1:
        out.append(r.choice([b"MATCH", b"COUNT", b"TYPE", b"x"]))
    return out


Row = grammar.Row
ROWS = [
    Row("HSET", lambda d: [d.key()] + d.pairs(), "exact", 10, "any"),
    Row("HMSET", lambda d: [d.key()] + d.pairs(), "exact", 2, "any"),
    Row("HSETNX", lambda d: [d.key(), d.field(), d.content()], "exact", 4, "any"),
    Row("HGET", lambda d: [d.key(), d.field()], "exact", 4, "any"),
    Row("HMGET", lambda d: [d.key()] + d.fields(), "exact", 4, "any"),
    Row("HDEL", lambda d: [d.key()] + d.fields(12), "exact", 8, "any"),
    Row("HEXISTS", lambda d: [d.key(), d.field()], "exact", 3, "any"),
    Row("HLEN", lambda d: [d.key()], "exact", 4, "any"),
    Row("HSTRLEN", lambda d: [d.key(), d.field()], "exact", 4, "any"),
    Row("HINCRBY", lambda d: [d.key(), d.field(), d.integer()], "exact", 8, "any"),
    Row("HINCRBYFLOAT", lambda d: [d.key(), d.field(), d.float()], "exact", 8, "any"),
    Row("HGETALL", lambda d: [d.key()], "pairs", 5, "any"),
    Row("HKEYS", lambda d: [d.key()], "unordered", 3, "any"),
    Row("HVALS", lambda d: [d.key()], "unordered", 3, "any"),
    Row("HRANDFIELD", lambda d: [d.key()] + random_options(d), "drawn", 6, "none"),
    Row("HSCAN", lambda d: [d.key()] + scan_options(d), "scan", 6, "any"),
    Row("OBJECT", lambda d: [b"ENCODING", d.key()], "exact", 5, "none"),
    Row("TYPE", lambda d: [d.key()], "exact", 2, "any"),
    Row("EXISTS", lambda d: [d.key()], "exact", 2, "any"),
    Row("DEL", lambda d: [d.key()], "exact", 2, "any"),
    Row("UNLINK", lambda d: [d.key()], "exact", 0.5, "any"),
    Row("SET", lambda d: [d.key(), d.short()], "exact", 1.5, "none"),
    Row("GET", lambda d: [d.key()], "exact", 1, "any"),
    Row("APPEND", lambda d: [d.key(), d.short()], "exact", 0.5, "none"),
    Row("EXPIRE", lambda d: [d.key(), d.seconds()], "exact", 1, "none"),
    Row("TTL", lambda d: [d.key()], "seconds", 1, "any"),
    Row("PERSIST", lambda d: [d.key()], "exact", 0.5, "any"),
    Row("RENAME", lambda d: [d.key(), d.key()], "exact", 1.5, "any"),
    Row("COPY", lambda d: [d.key(), d.key()] + d.some(0.5, b"REPLACE"), "exact", 1.5, "any"),
]
WEIGHTS = [row.weight for row in ROWS]


def draw_stream(seed, n):
    d = Hashes(random.Random(seed))
    out = []
    for _ in range(n):
        row = d.rng.choices(ROWS, WEIGHTS)[0]
        args = [row.name.encode() if d.rng.random() < 0.9 else row.name.lower().encode()] + row.parts(d)
        if d.rng.random() < 0.06:
            args = grammar.mutate(d, row, args)
        out.append((row, args))
    return out


def pairs_of(value):
    flat = [x for pair in value for x in pair] if isinstance(value, Map) else list(value)
    return sorted(zip(flat[::2], flat[1::2]))


def drawn(ours, theirs):
    """As many, of the same shape; what may be drawn is another test's."""
    if not isinstance(theirs, list):
        return compare.kind(ours) == compare.kind(theirs) and (not isinstance(theirs, Error) or ours == theirs)
    return isinstance(ours, list) and len(ours) == len(theirs) and \
        {isinstance(x, list) and len(x) for x in ours} == {isinstance(x, list) and len(x) for x in theirs}


def same(row, args, ours, theirs):
    same_kind = compare.kind(ours.value) == compare.kind(theirs.value)
    if row.compare == "pairs" and isinstance(theirs.value, list) and same_kind:
        return pairs_of(ours.value) == pairs_of(theirs.value)
    if row.compare == "drawn":
        return drawn(ours.value, theirs.value)
    return compare.same(row, args, ours, theirs)


class Pair(streams.Pair):
    def check(self, commands, ours, theirs, base):
        for i, ((row, args), a, b) in enumerate(zip(commands, ours, theirs)):
            if not same(row, args, a, b):
                raise streams.Mismatch(base + i, row, args, a, b)

    def run(self, commands, base=0):
        ours, theirs = (c.pipeline([args for _, args in commands]) for c in self.conns)
        self.check(commands, ours, theirs, base)

    def compare_state(self):
        for key in KEYS:
            questions = [["TYPE", key], ["HGETALL", key], ["OBJECT", "ENCODING", key], ["HLEN", key]]
            ours, theirs = ([r.value for r in c.pipeline(questions)] for c in self.conns)
            if isinstance(theirs[1], list):
                ours[1], theirs[1] = pairs_of(ours[1]), pairs_of(theirs[1])
            assert ours == theirs, (key, streams.clip(ours), streams.clip(theirs))
            if theirs[0] == b"hash":
                found = [scan_all(c, key, "COUNT", "7") for c in self.conns]
                assert found[0] == found[1] == theirs[1], key


def scan_all(c, key, *options):
    """A whole iteration; a field may come twice, with the same value."""
    pairs, cursor = set(), b"0"
    for _ in range(100_000):
        cursor, batch = c.cmd("HSCAN", key, cursor, *options)
        pairs.update(zip(batch[::2], batch[1::2]))
        if cursor == b"0":
            return sorted(pairs)
    raise AssertionError("HSCAN does not end")


THRESHOLDS = {"hash-max-listpack-entries": 512, "hash-max-listpack-value": 64}


@contextlib.contextmanager
def thresholds(servers, entries, value):
    """Both servers make tables of larger hashes."""
    wanted = dict(zip(THRESHOLDS, (entries, value)))
    try:
        for s in servers:
            for name, number in wanted.items():
                with s.connect() as c:
                    c.ok("CONFIG", "SET", name, number)
        yield
    finally:
        for s in servers:
            for name, number in THRESHOLDS.items():
                with s.connect() as c:
                    c.ok("CONFIG", "SET", name, number)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("entries,value", [(512, 64), (6, 20), (0, 64)])
def test_random_streams(pool, redis, shards, proto, entries, value):
    anax = pool.get("anax", shards)
    pair = Pair(anax, redis, proto)
    seed = 1000 * shards + 100 * proto + entries
    commands = draw_stream(seed, LENGTH)
    with thresholds(pair.servers, entries, value):
        pair.reset()
        try:
            for at, depth in streams.depths(random.Random(seed), len(commands)):
                pair.run(commands[at:at + depth], at)
            pair.compare_state()
        except streams.Mismatch as m:
            short, last = streams.shrink(pair, commands[:m.index + 1], m)
            pytest.fail("seed %d, command %d\n%s\nshortest stream:\n%s" % (
                seed, m.index, last, "\n".join("  " + streams.show(a) for _, a in short[-25:])), pytrace=False)
    assert anax.alive(), anax.log()


# --- exact replies ---------------------------------------------------------------------------------

SCRIPT = """
set s 1
hset h a 1 b 2
hset h a 1 b
hmset h a 1 b
hset h a
hset s a 1
hsetnx s a 1
hincrby s a 1
hincrby s a x
hincrbyfloat s a x
hget s a
hmget s a b
hgetall s
hkeys s
hvals s
hlen s
hstrlen s a
hexists s a
hdel s a
hscan s 0
hscan s x
hscan s 0 nosuch
hscan no 0 nosuch
hscan no x
hrandfield s
hrandfield s 0
hrandfield s 1
hrandfield s x
hrandfield no
hrandfield no 5
hrandfield no -5 withvalues
hrandfield h 0
hrandfield h 0 withvalues
hrandfield h 5 nosuch
hrandfield h 5 withvalues x
hrandfield h x withvalues x
hrandfield h -9223372036854775808
hrandfield h 9223372036854775808
hrandfield h 4611686018427387904 withvalues
hrandfield h -4611686018427387904 withvalues
hgetall no
hkeys no
hvals no
hlen no
hmget no a b
hget no a
hdel no a
hstrlen no a
hexists no a
hincrby h n 9223372036854775807
hincrby h n 1
hincrby h n -1
hincrby h m -9223372036854775808
hincrby h m -1
hincrby h m 9223372036854775808
hincrby h a 1.5
hset h t text
hincrby h t 1
hincrbyfloat h t 1
hset h sp 01
hincrby h sp 1
hincrbyfloat h sp 1
hset h i inf
hincrbyfloat h i 1
hset h i -inf
hincrbyfloat h i 1
hset h i nan
hincrbyfloat h i 1
hincrbyfloat h a inf
hincrbyfloat h a -inf
hincrbyfloat h a nan
hincrbyfloat h a 1e5000
hincrbyfloat h big 1e4931
hincrbyfloat h big 1e308
hincrbyfloat h f 3.0e3
hincrbyfloat h f 0x10
hincrbyfloat h f 1e-17
hincrbyfloat h g 0.1
hincrbyfloat h g 0.2
hincrbyfloat h g -0.3
hincrbyfloat h z 0
hstrlen h big
hgetall h
hdel h a b a nosuch
object encoding h
exists h
hscan h 5
hscan h 0 count 0
hscan h 0 count -1
hscan h 0 match
hscan h 0 type hash
del h
hincrby h a 5
hget h a
hdel h a
exists h
type h
"""


@pytest.mark.parametrize("proto", [2, 3])
def test_scripted_replies(anax2, redis, proto):
    for s in (anax2, redis):
        s.cmd("FLUSHALL")
    with anax2.connect() as a, redis.connect() as r:
        if proto == 3:
            a.cmd("HELLO", "3"), r.cmd("HELLO", "3")
        for line in SCRIPT.split("\n")[1:-1]:
            for c in (a, r):
                c.send(encode(line.split(" ")))
            ours, theirs = a.read(), r.read()
            row = Row("", None, "pairs" if line.startswith("hgetall") else "scan" if "scan" in line else "exact", 1, "")
            assert same(row, [b"x"], ours, theirs), (line, ours.raw, theirs.raw)


def test_newer_options_of_hscan(anax2, against_redis_itself):
    with anax2.connect() as c:
        c.cmd("HSET", "h", *[x for i in range(5) for x in ("f%d" % i, "v")])
        if not against_redis_itself:
            cursor, names = c.cmd("HSCAN", "h", "0", "NOVALUES", "MATCH", "f[123]", "COUNT", "100")
            assert (cursor, sorted(names)) == (b"0", [b"f1", b"f2", b"f3"])


# --- the table ------------------------------------------------------------------------------------


def big_hash(c, key, n, value=b"v"):
    """n fields f0.., and their number as the value's end."""
    for at in range(0, n, 1000):
        c.cmd("HSET", key, *[x for i in range(at, min(n, at + 1000)) for x in (b"f%d" % i, value + b"%d" % i)])
    return {b"f%d" % i: value + b"%d" % i for i in range(n)}


@pytest.mark.parametrize("n,encoding", [(10, b"listpack"), (512, b"listpack"), (513, b"hashtable"),
                                        (20_000, b"hashtable")])
def test_whole_hash(anax2, n, encoding):
    with anax2.connect() as c:
        want = big_hash(c, "h", n)
        assert c.cmd("OBJECT", "ENCODING", "h") == encoding
        assert c.cmd("HLEN", "h") == n
        got = c.cmd("HGETALL", "h")
        assert len(got) == 2 * n and dict(zip(got[::2], got[1::2])) == want
        assert sorted(c.cmd("HKEYS", "h")) == sorted(want)
        assert sorted(c.cmd("HVALS", "h")) == sorted(want.values())
        assert c.cmd("HMGET", "h", "f0", "nosuch", "f%d" % (n - 1)) == [b"v0", None, b"v%d" % (n - 1)]
        for i in range(n):
            c.send(encode(["HDEL", "h", "f%d" % i]))
        assert all(c.read().value == 1 for _ in range(n))
        assert c.cmd("EXISTS", "h") == 0


@pytest.mark.parametrize("n", [100, 5000])
def test_hscan_returns_all_that_stays(anax2, n):
    """Whatever comes and goes meanwhile, and whatever the form becomes."""
    rng = random.Random(n)
    with anax2.connect() as c:
        want = big_hash(c, "h", n)
        seen, cursor, steps = {}, b"0", 0
        while True:
            cursor, batch = c.cmd("HSCAN", "h", cursor, "COUNT", rng.choice([1, 10, 50]))
            seen.update(zip(batch[::2], batch[1::2]))
            if cursor == b"0":
                break
            c.cmd("HSET", "h", *[x for i in range(60) for x in (b"new%d-%d" % (steps, i), b"x")])
            if steps % 2:
                c.cmd("HDEL", "h", *[b"new%d-%d" % (steps - 1, i) for i in range(60)])
            steps += 1
            assert steps < 50 * n
        assert want.items() <= seen.items()


def test_hscan_goes_as_far_as_it_is_told(anax2):
    def steps(count):
        cursor, n = b"0", 0
        while n == 0 or cursor != b"0":
            cursor, _ = c.cmd("HSCAN", "h", cursor, "COUNT", count)
            n += 1
        return n

    with anax2.connect() as c:
        big_hash(c, "h", 5000)
        assert steps("10000000") == 1 and 10 < steps("100") < steps("1") / 10


def test_hscan_takes_any_cursor(anax2):
    rng = random.Random(1)
    with anax2.connect() as c:
        big_hash(c, "h", 3000)
        for _ in range(300):
            cursor, batch = c.cmd("HSCAN", "h", rng.getrandbits(rng.randrange(1, 65)))
            assert len(batch) % 2 == 0 and int(cursor) < 1 << 64


# --- chance ---------------------------------------------------------------------------------------


def chi_square(counts, n, draws):
    expected = draws / n
    return sum((counts.get(i, 0) - expected) ** 2 / expected for i in range(n))


# With n - 1 degrees of freedom; beyond it about once in 10^6 runs.
CHI_SQUARE_MAX = {20: 66, 600: 780}


@pytest.mark.parametrize("count", [None, 1, -1, 7, -50, "most"])
@pytest.mark.parametrize("n", [20, 600])
def test_hrandfield_is_fair(anax2, n, count, against_redis_itself):
    per_call = 1 if count is None else abs(n - 3 if count == "most" else count)
    calls = max(1, 40 * n // per_call)
    count = n - 3 if count == "most" else count
    counts = collections.Counter()
    with anax2.connect() as c:
        want = big_hash(c, "h", n)
        args = ["HRANDFIELD", "h"] + ([] if count is None else [str(count), "WITHVALUES"])
        for reply in c.pipeline([args] * calls):
            if count is None:
                counts[int(reply.value[1:])] += 1
                continue
            got = list(zip(reply.value[::2], reply.value[1::2]))
            assert all(want[name] == value for name, value in got)
            assert len(got) == per_call and (count < 0 or len(set(got)) == per_call)
            counts.update(int(name[1:]) for name, _ in got)
    assert sum(counts.values()) == calls * per_call and set(counts) <= set(range(n))
    if not against_redis_itself:  # whose chances depend on the chain that a field is in
        assert chi_square(counts, n, calls * per_call) < CHI_SQUARE_MAX[n]


@pytest.mark.parametrize("n", [20, 600])
def test_hrandfield_shapes(anax2, n):
    with anax2.connect() as c:
        want = big_hash(c, "h", n)
        c.cmd("HELLO", "3")
        for count in (1, 5, n, n + 5, -1, -5, -3 * n):
            got = c.cmd("HRANDFIELD", "h", count, "WITHVALUES")
            assert len(got) == (min(count, n) if count > 0 else -count)
            assert all(want[name] == value for name, value in got)
            names = c.cmd("HRANDFIELD", "h", count)
            assert set(names) <= set(want) and (count < 0 or len(set(names)) == len(names) == min(count, n))
        assert set(c.cmd("HRANDFIELD", "h", n)) == set(want)


def test_hrandfield_of_more_than_anybody_reads(anax2, against_redis_itself):
    """A negative count is the length of the reply: Redis tries to make any."""
    if against_redis_itself:
        return
    with anax2.connect() as c:
        big_hash(c, "h", 5)
        for count in (-(2**24) - 1, -(2**62), -(2**63) + 1):
            for tail in ([], ["WITHVALUES"]):
                assert c.cmd("HRANDFIELD", "h", count, *tail) == b"ERR value is out of range"


# --- what watches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command,changes", [
    ("HSET h a 1", True), ("HSET h a 2", True), ("HSETNX h a 5", False), ("HSETNX h new 5", True),
    ("HDEL h nosuch", False), ("HDEL h a", True), ("HDEL h a b t", True), ("HINCRBY h a 0", True),
    ("HINCRBY h a x", False), ("HINCRBYFLOAT h t 1", False), ("HMSET h a", False), ("HGETALL h", False),
    ("HRANDFIELD h 1", False), ("HSCAN h 0", False)])
def test_watch_sees_changes_only(anax2, command, changes):
    with anax2.connect() as c, anax2.connect() as other:
        c.cmd("HSET", "h", "a", "1", "b", "2", "t", "text")
        c.ok("WATCH", "h")
        other.cmd(*command.split(" "))
        c.ok("MULTI")
        c.cmd("PING")
        got = c.cmd("EXEC")
        assert isinstance(got, list) != changes, (command, got)
