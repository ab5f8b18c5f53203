"""Lists: every reply is redis-server's, in every form that a list has here; encodings are those of Redis 8."""

import contextlib
import random
import threading

import pytest

import grammar
import streams
from harness import Error, SLOW, Server, encode, wait_until

ROW = grammar.Row("any", None, "exact", 0, "none")
KEYS = [b"list:%d" % i for i in range(10)]
SIZE_OPTION = "list-max-listpack-size"


@pytest.fixture
def server(pool, shards):
    """Every number of shards, the default backend."""
    s = pool.get("anax", shards)
    s.cmd("FLUSHALL")
    yield s
    assert s.alive(), s.log()


@contextlib.contextmanager
def listpack_size(value, *servers):
    """The option, on all of them, for as long as it takes."""
    for s in servers:
        assert s.cmd("CONFIG", "SET", SIZE_OPTION, str(value)) == b"OK"
    try:
        yield
    finally:
        for s in servers:
            s.cmd("CONFIG", "SET", SIZE_OPTION, "-2")


# --- random streams against redis-server ---

INTS = [0, 1, -1, 127, 128, 4095, 4096, -4096, -4097, 32767, 32768, 2**23, 2**31 - 1, 2**31, 2**63 - 1, -(2**63)]
RANK_MIN = b"%d" % -(2**63)  # 7.0 negates it, which does not work out
HUGE = [2**63 - 1, -(2**63), 2**32, -(2**32), 2**31]


class Draw:
    """Elements of a few kinds, so that equal ones are found: integers, one length, many lengths, long ones."""

    def __init__(self, rng, long_max):
        self.rng, self.long_max = rng, long_max

    def element(self):
        r = self.rng
        pick = r.random()
        if pick < 0.2:
            return b"%d" % (r.choice(INTS) if r.random() < 0.5 else r.randrange(200))
        if pick < 0.7:
            return b"element-%012d" % r.randrange(30)
        if pick < 0.9:
            return b"x" * r.randrange(80)
        if pick < 0.95:
            return r.choice([b"", b"01", b"-0", b"+1", b"1.0", b"\r\n", b"9223372036854775808", b"\x00\xff"])
        return b"%c" % r.randrange(97, 123) * r.randrange(self.long_max)

    def elements(self):
        r = self.rng
        return [self.element() for _ in range(1 if r.random() < 0.5 else r.randint(1, 12))]

    def key(self):
        return self.rng.choice(KEYS) if self.rng.random() < 0.97 else b"no list"

    def index(self):
        r = self.rng
        pick = r.random()
        if pick < 0.93:
            return b"%d" % r.randint(-150, 150)
        return b"%d" % r.choice(HUGE) if pick < 0.98 else r.choice(grammar.BAD_NUMBERS)

    def end(self):
        return self.rng.choice([b"LEFT", b"RIGHT", b"left", b"Right"]) if self.rng.random() < 0.99 else b"UP"

    def count(self):
        r = self.rng
        return b"%d" % r.choice([0, 1, 1, 2, 3, 5, 40, -1, -2, -30]) if r.random() < 0.95 else \
            r.choice(grammar.BAD_NUMBERS + [b"%d" % n for n in HUGE])

    def lpos(self):
        r = self.rng
        parts = []
        for word in (b"RANK", b"COUNT", b"MAXLEN"):
            n = self.count()
            if r.random() < 0.4 and (word != b"RANK" or n != RANK_MIN):
                parts += [word, n]
        return parts + ([r.choice([b"RANK", b"NOSUCH", b"COUNT"])] if r.random() < 0.02 else [])

    def lmpop(self):
        r = self.rng
        keys = [self.key() for _ in range(r.randint(1, 5))]
        count = len(keys) if r.random() < 0.96 else r.choice([0, -1, len(keys) + 1, len(keys) - 1, 2**40])
        return [b"LMPOP", b"%d" % count] + keys + [self.end()] + \
            ([b"COUNT", self.count()] if r.random() < 0.6 else []) + ([b"COUNT"] if r.random() < 0.01 else [])

    def command(self):
        r = self.rng
        k = self.key()
        grow = [lambda: [r.choice([b"LPUSH", b"RPUSH"]), k] + self.elements(),
                lambda: [r.choice([b"LPUSHX", b"RPUSHX"]), k] + self.elements(),
                lambda: [b"LINSERT", k, r.choice([b"BEFORE", b"AFTER", b"after"]), self.element(), self.element()],
                lambda: [b"LSET", k, self.index(), self.element()]]
        read = [lambda: [b"LRANGE", k, self.index(), self.index()], lambda: [b"LLEN", k],
                lambda: [b"LINDEX", k, self.index()], lambda: [b"LPOS", k, self.element()] + self.lpos()]
        move = [lambda: [b"LMOVE", k, self.key(), self.end(), self.end()], lambda: [b"RPOPLPUSH", k, self.key()],
                lambda: [b"RENAME", k, self.key()], lambda: [b"COPY", k, self.key(), b"REPLACE"]]
        take = [lambda: [r.choice([b"LPOP", b"RPOP"]), k], lambda: [r.choice([b"LPOP", b"RPOP"]), k, self.count()],
                lambda: [b"LREM", k, self.count(), self.element()], lambda: [b"LTRIM", k, self.index(), self.index()],
                self.lmpop]
        rare = [lambda: [b"SET", k, b"text"], lambda: [b"DEL", k], lambda: [b"LINSERT", k, b"NEAR", b"a", b"b"],
                lambda: [b"TYPE", k], lambda: [b"LPOP", k, b"1", b"2"], lambda: [b"PEXPIREAT", k, b"4102444800000"]]
        group = r.choices([grow, read, move, take, rare], [45, 25, 12, 16, 2])[0]
        return r.choice(group)()


def same_lists(pair):
    states = []
    for c in pair.conns:
        states.append([c.cmd("LRANGE", k, "0", "-1") for k in KEYS] + [c.cmd("PEXPIRETIME", k) for k in KEYS] +
                      [c.cmd("DBSIZE")])
    assert states[0] == states[1]


@pytest.mark.parametrize("size, long_max", [(-2, 100), (-1, 3000), (3, 10)])
@pytest.mark.parametrize("proto", [2, 3])
def test_streams(server, pool, proto, size, long_max):
    redis = pool.get("redis")
    draw = Draw(random.Random("%d %d %d" % (server.shards, proto, size)), long_max)
    pair = streams.Pair(server, redis, proto)
    pair.reset()
    with listpack_size(size, server, redis):
        for depth in ([1, 20, 300] if SLOW else [1, 1, 20, 300, 700, 900]):
            pair.run([(ROW, draw.command()) for _ in range(depth)])
            same_lists(pair)


@pytest.mark.parametrize("proto", [2, 3])
def test_in_transactions(server, pool, proto):
    draw = Draw(random.Random(proto), 2000)
    pair = streams.Pair(server, pool.get("redis"), proto)
    pair.reset()
    for _ in range(10 if SLOW else 60):
        pair.run([(ROW, c) for c in [[b"MULTI"]] + [draw.command() for _ in range(5)] + [[b"EXEC"]]])
    same_lists(pair)


def test_a_long_list_through_everything(server, pool):
    """Many chunks, uniform and not, and what cuts across them."""
    redis = pool.get("redis")
    rng = random.Random(server.shards)
    pair = streams.Pair(server, redis, 2)
    pair.reset()
    k = KEYS[0]
    fill = [[b"RPUSH", k] + [b"%032d" % (i * 100 + j) for j in range(100)] for i in range(40)] + \
        [[b"LPUSH", k] + [b"%d" % (i * 100 + j) for j in range(100)] for i in range(40)]

    def somewhere():
        return b"%d" % rng.randint(-9000, 9000)

    def edit():
        odd = b"odd" * rng.randrange(40)
        return rng.choice([[b"LSET", k, somewhere(), odd], [b"LSET", k, somewhere(), b"%032d" % rng.randrange(4000)],
                           [b"LINSERT", k, b"BEFORE", b"%032d" % rng.randrange(4000), odd],
                           [b"LINSERT", k, b"AFTER", b"%d" % rng.randrange(4000), b"%032d" % rng.randrange(4000)],
                           [b"LINDEX", k, somewhere()], [b"LREM", k, rng.choice([b"0", b"1", b"-1"]), odd],
                           [b"LPOS", k, b"%032d" % rng.randrange(4000), b"RANK", b"-1"],
                           [b"LRANGE", k, somewhere(), somewhere()] if rng.random() < 0.1 else [b"LLEN", k]])

    with listpack_size(-5, server):  # chunks that are larger than what is allowed later
        pair.run([(ROW, c) for c in fill])
    pair.run([(ROW, edit()) for _ in range(200 if SLOW else 1000)])
    same_lists(pair)
    pair.run([(ROW, c) for c in ([b"LTRIM", k, b"500", b"-300"], [b"LPOP", k, b"1500"], [b"RPOP", k, b"2000"],
                                 [b"COPY", k, KEYS[1]], [b"LREM", k, b"0", b"odd"], [b"LTRIM", k, b"1", b"100"])])
    same_lists(pair)


ODD_CALLS = [
    ["LPUSH"], ["LPUSH", "l"], ["LPUSH", "s", "a"], ["RPUSHX", "none", "a"], ["RPUSHX", "s", "a"], ["LLEN", "s"],
    ["LLEN", "none"], ["LPOP", "none"], ["LPOP", "none", "0"], ["LPOP", "none", "5"], ["LPOP", "l", "0"],
    ["LPOP", "l", "-1"], ["LPOP", "l", "x"], ["LPOP", "none", "-1"], ["LPOP", "s"], ["LPOP", "s", "1"],
    ["LPOP", "l", "1", "2"], ["RPOP", "l", "1", "2", "3"], ["RPOP", "l", "9223372036854775807"], ["RPOP", "l"],
    ["RPOP", "l", "9223372036854775808"], ["LRANGE", "l", "0", "x"], ["LRANGE", "l", "x", "0"],
    ["LRANGE", "none", "0", "x"], ["LRANGE", "s", "0", "1"], ["LRANGE", "s", "x", "1"], ["LRANGE", "none", "0", "-1"],
    ["LRANGE", "l", "-9223372036854775808", "9223372036854775807"], ["LRANGE", "l", "2", "1"], ["LRANGE", "l", "1", "1"],
    ["LRANGE", "l", "-1", "-9223372036854775808"], ["LRANGE", "l", "5", "9"], ["LINDEX", "l", "x"],
    ["LINDEX", "none", "x"], ["LINDEX", "s", "x"], ["LINDEX", "l", "-9223372036854775808"], ["LINDEX", "l", "3"],
    ["LINDEX", "l", "-3"], ["LSET", "l", "x", "v"], ["LSET", "none", "x", "v"], ["LSET", "l", "3", "v"],
    ["LSET", "l", "-4", "v"], ["LSET", "s", "0", "v"], ["LSET", "l", "-9223372036854775808", "v"],
    ["LINSERT", "l", "NEAR", "a", "b"], ["LINSERT", "none", "NEAR", "a", "b"], ["LINSERT", "s", "BEFORE", "a", "b"],
    ["LINSERT", "l", "BEFORE", "none", "b"], ["LINSERT", "none", "AFTER", "a", "b"], ["LREM", "l", "x", "a"],
    ["LREM", "s", "x", "a"], ["LREM", "s", "1", "a"], ["LREM", "none", "0", "a"], ["LREM", "l", "0", "none"],
    ["LREM", "l", "-9223372036854775808", "a"], ["LTRIM", "l", "x", "1"], ["LTRIM", "s", "0", "1"],
    ["LTRIM", "none", "0", "1"], ["LTRIM", "none", "x", "1"], ["LTRIM", "l", "5", "3"], ["LTRIM", "l", "0", "-1"],
    ["LTRIM", "l", "-9223372036854775808", "-9223372036854775808"], ["LPOS", "l", "a", "RANK", "0"],
    ["LPOS", "l", "a", "RANK", "x"], ["LPOS", "l", "a", "RANK"],
    ["LPOS", "l", "a", "COUNT", "-1"], ["LPOS", "l", "a", "COUNT", "x"], ["LPOS", "l", "a", "MAXLEN", "-1"],
    ["LPOS", "l", "a", "MAXLEN", "x"], ["LPOS", "l", "a", "NOSUCH", "1"], ["LPOS", "none", "a"],
    ["LPOS", "none", "a", "COUNT", "0"], ["LPOS", "none", "a", "COUNT", "-1"], ["LPOS", "s", "a"],
    ["LPOS", "l", "none", "COUNT", "2"], ["LPOS", "l", "a", "COUNT", "9223372036854775807", "RANK", "-1"],
    ["LPOS", "l", "a", "RANK", "2"], ["LPOS", "l", "a", "RANK", "-9223372036854775807"],
    ["LPOS", "l", "a", "COUNT", "1", "COUNT", "0"],
    ["LMOVE", "l", "m", "UP", "LEFT"], ["LMOVE", "l", "m", "LEFT", "UP"], ["LMOVE", "none", "m", "LEFT", "LEFT"],
    ["LMOVE", "none", "s", "LEFT", "LEFT"], ["LMOVE", "s", "m", "LEFT", "LEFT"], ["LMOVE", "l", "s", "LEFT", "RIGHT"],
    ["LMOVE", "s", "s", "LEFT", "LEFT"], ["LMOVE", "none", "none", "LEFT", "LEFT"], ["LMOVE", "s", "m", "UP", "LEFT"],
    ["RPOPLPUSH", "l", "s"], ["RPOPLPUSH", "s", "l"], ["RPOPLPUSH", "none", "l"], ["RPOPLPUSH", "l"],
    ["LMPOP", "0", "l", "LEFT"], ["LMPOP", "x", "l", "LEFT"], ["LMPOP", "-1", "l", "LEFT"], ["LMPOP", "2", "l", "LEFT"],
    ["LMPOP", "1", "l", "UP"], ["LMPOP", "1", "l", "m", "LEFT"], ["LMPOP", "1", "l", "LEFT", "COUNT"],
    ["LMPOP", "1", "l", "LEFT", "COUNT", "0"], ["LMPOP", "1", "l", "LEFT", "COUNT", "x"],
    ["LMPOP", "1", "l", "LEFT", "COUNT", "1", "COUNT", "1"], ["LMPOP", "1", "l", "LEFT", "COUNT", "0", "COUNT", "1"],
    ["LMPOP", "1", "l", "LEFT", "NOSUCH", "1"], ["LMPOP", "9223372036854775807", "l", "LEFT"],
    ["LMPOP", "2", "none", "nor", "LEFT"], ["LMPOP", "2", "none", "s", "LEFT"], ["LMPOP", "2", "l", "s", "RIGHT"],
    ["LMPOP", "3", "none", "l", "l", "RIGHT", "COUNT", "100"], ["LMPOP", "2", "l"], ["LMPOP", "2", "l", "m"],
    ["COMMAND", "GETKEYS", "LMPOP", "2", "a", "b", "LEFT"], ["COMMAND", "GETKEYS", "LMOVE", "a", "b", "LEFT", "LEFT"],
    ["GET", "l"], ["APPEND", "l", "x"], ["INCR", "l"], ["STRLEN", "l"], ["GETRANGE", "l", "0", "1"], ["SETBIT", "l", "1", "1"],
]


@pytest.mark.parametrize("proto", [2, 3])
def test_what_is_odd(server, pool, proto):
    replies = []
    for s in (server, pool.get("redis")):
        with s.connect() as c:
            if proto == 3:
                c.cmd("HELLO", "3")
            got = []
            for call in ODD_CALLS:
                c.pipeline([["FLUSHALL"], ["RPUSH", "l", "a", "b", "a"], ["RPUSH", "m", "1"], ["SET", "s", "text"]])
                c.send(encode(call))
                got.append((call, c.read().raw, c.cmd("LRANGE", "l", "0", "-1"), c.cmd("LRANGE", "m", "0", "-1"),
                            c.cmd("GET", "s"), c.cmd("DBSIZE")))
            replies.append(got)
    for ours, theirs in zip(*replies):
        assert ours == theirs


def test_rank_that_cannot_be_negated(anax2):
    with anax2.connect() as c:
        assert c.cmd("LPOS", "l", "a", "RANK", RANK_MIN) == \
            b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"


# --- encodings: Redis 8's rule (t_list.c), which 7.0 does not have yet ---

LIMITS = {-1: 4096, -2: 8192, -3: 16384, -4: 32768, -5: 65536}


def as_int(text):
    try:
        n = int(text)
    except ValueError:
        return None
    return n if b"%d" % n == text and -(2**63) <= n < 2**63 else None


def entry_bytes(text):
    """What a listpack takes for it."""
    n = as_int(text)
    if n is None:
        size = len(text) + (1 if len(text) < 64 else 2 if len(text) < 4096 else 5)
    elif 0 <= n < 128:
        size = 1
    else:
        size = next(s for bits, s in ((12, 2), (15, 3), (23, 4), (31, 5), (63, 9)) if -(1 << bits) <= n < 1 << bits)
    return size + (1 if size < 128 else 2 if size < 16383 else 3)


class Model:
    """One list and its encoding. A quicklist of several nodes that could be one is taken for one."""

    def __init__(self, size):
        self.size, self.items, self.quick = size, [], False

    def total(self):
        return 7 + sum(map(entry_bytes, self.items))

    def grow(self, texts):
        """Before these are added: their own lengths count, not those of entries."""
        size, count = self.total() + sum(map(len, texts)), len(self.items) + len(texts)
        if self.size < 0:
            self.quick = self.quick or size > LIMITS[self.size]
        else:
            self.quick = self.quick or size > 8192 or count > self.size

    def shrink(self):
        if self.size < 0:
            small = self.total() <= LIMITS[self.size] // 2
        else:
            small = self.total() <= 8192 and len(self.items) <= self.size // 2
        self.quick = self.quick and not small

    def encoding(self):
        return None if not self.items else b"quicklist" if self.quick else b"listpack"


def step(rng, m, text):
    """One command and what it does to the model."""
    k, n = b"list", len(m.items)
    growing = rng.random() < (0.75 if not m.quick else 0.4)
    at = rng.randrange(n) if n else 0
    if not n or growing:
        pick, new = rng.randrange(4) if n else 0, [text() for _ in range(rng.randint(1, 4))]
        m.grow(new if pick < 2 else new[:1])
        if pick == 0:
            m.items += new
            return [b"RPUSH", k] + new
        if pick == 1:
            m.items[:0] = new[::-1]
            return [b"LPUSH", k] + new
        if pick == 2:
            pivot = m.items[at]
            m.items.insert(m.items.index(pivot), new[0])
            return [b"LINSERT", k, b"BEFORE", pivot, new[0]]
        m.items[at] = new[0]
        m.shrink()
        return [b"LSET", k, b"%d" % at, new[0]]
    pick = rng.randrange(4)
    count = rng.randint(1, 1 + n // (3 if m.quick else 30))
    if pick == 0:
        m.items = m.items[count:]
        call = [b"LPOP", k, b"%d" % count]
    elif pick == 1:
        m.items = m.items[:-1]
        call = [b"RPOP", k]
    elif pick == 2:
        gone = m.items[at]
        m.items = [x for x in m.items if x != gone]
        call = [b"LREM", k, b"0", gone]
    else:
        m.items = m.items[count:]
        call = [b"LTRIM", k, b"%d" % count, b"-1"]
    m.shrink()
    if not m.items:
        m.quick = False
    return call


@pytest.mark.parametrize("size", [-1, -2, -5, 1, 5, 128])
def test_encoding(anax2, size):
    rng = random.Random(size)
    lengths = [5, 30, 31, 32, LIMITS[size] // 30] if size < 0 else [5, 10]
    texts = [b"%d" % rng.randrange(-3000, 3000) for _ in range(10)] + \
        [bytes(rng.choices(b"abcdef", k=rng.choice(lengths))) for _ in range(20)]
    seen = set()
    with listpack_size(size, anax2), anax2.connect() as c:
        m = Model(size)
        for _ in range(100 if SLOW else 1500):
            if rng.random() < 0.3:
                texts[rng.randrange(10, 30)] = bytes(rng.choices(b"abcdef", k=rng.choice(lengths) * rng.randint(1, 4)))
            c.cmd(*step(rng, m, lambda: rng.choice(texts)))
            assert c.cmd("OBJECT", "ENCODING", "list") == m.encoding()
            seen.add(m.encoding())
        assert c.cmd("LRANGE", "list", "0", "-1") == m.items
    assert SLOW or seen >= {b"quicklist", b"listpack"}


def test_encoding_of_what_is_moved(anax2):
    """LMOVE makes the destination what RPUSH would."""
    with listpack_size(4, anax2), anax2.connect() as c:
        c.cmd("RPUSH", "a", *"12345678")
        for n in range(1, 8):
            c.cmd("LMOVE", "a", "b", "LEFT", "RIGHT")
            assert c.cmd("OBJECT", "ENCODING", "b") == (b"listpack" if n <= 4 else b"quicklist")
            assert c.cmd("OBJECT", "ENCODING", "a") == (b"listpack" if 8 - n <= 2 else b"quicklist")


# --- what changed is told, what did not is not ---


@pytest.mark.parametrize("call, changes", [
    (["LPUSH", "{k}l", "x"], True), (["LPUSHX", "{k}none", "x"], False), (["LPOP", "{k}l"], True),
    (["LPOP", "{k}l", "0"], False), (["LPOP", "{k}none"], False), (["LSET", "{k}l", "0", "x"], True),
    (["LSET", "{k}l", "9", "x"], False), (["LINSERT", "{k}l", "BEFORE", "b", "x"], True),
    (["LINSERT", "{k}l", "BEFORE", "none", "x"], False), (["LREM", "{k}l", "0", "b"], True),
    (["LREM", "{k}l", "0", "none"], False), (["LTRIM", "{k}l", "1", "1"], True), (["LTRIM", "{k}l", "5", "9"], True),
    (["LTRIM", "{k}l", "0", "-1"], True), (["LMOVE", "{k}l", "{k}m", "LEFT", "LEFT"], True),
    (["LMOVE", "{k}none", "{k}l", "LEFT", "LEFT"], False), (["LMOVE", "{k}m", "{k}l", "LEFT", "LEFT"], True),
    (["LMPOP", "1", "{k}l", "LEFT"], True), (["LMPOP", "1", "{k}none", "LEFT"], False),
    (["LRANGE", "{k}l", "0", "-1"], False), (["LPOS", "{k}l", "b"], False)])
def test_watch(anax2, call, changes):
    with anax2.connect() as c, anax2.connect() as other:
        c.cmd("RPUSH", "{k}l", "a", "b", "c")
        c.cmd("RPUSH", "{k}m", "1", "2")
        c.ok("WATCH", "{k}l")
        other.cmd(*call)
        c.ok("MULTI")
        c.cmd("LLEN", "{k}l")
        assert isinstance(c.cmd("EXEC"), list) != changes


# --- over shards, at once ---

MOVERS, MOVES = 4, 300 if SLOW else 2000


def test_a_moved_element_is_in_one_list(server):
    """Threads move elements between lists on all shards; at every moment that a transaction sees, all are there once."""
    names = [b"m:%d" % i for i in range(6)]
    elements = sorted([b"%d" % i for i in range(60)] + [b"%040d" % i for i in range(600)])
    wrong, looks = [], []
    done = threading.Event()
    with server.connect() as c:
        for i, k in enumerate(names):
            c.cmd("RPUSH", k, *elements[i::len(names)])

    def run(seed):
        rng = random.Random(seed)
        with server.connect() as c:
            for _ in range(MOVES // 10):
                calls = []
                for _ in range(10):
                    a, b = rng.choice(names), rng.choice(names)
                    calls.append(["LMOVE", a, b, rng.choice(["LEFT", "RIGHT"]), rng.choice(["LEFT", "RIGHT"])]
                                 if rng.random() < 0.8 else ["RPOPLPUSH", a, b])
                wrong.extend(r.value for r in c.pipeline(calls) if isinstance(r.value, Error))

    def look():
        with server.connect() as c:
            while not done.is_set() or len(looks) < 10:
                found = c.pipeline([["MULTI"]] + [["LRANGE", k, "0", "-1"] for k in names] + [["EXEC"]])[-1].value
                if sorted(x for part in found for x in part) != elements:
                    wrong.append(found)
                looks.append(1)

    movers = [threading.Thread(target=run, args=(i,)) for i in range(MOVERS)]
    watcher = threading.Thread(target=look)
    for t in movers + [watcher]:
        t.start()
    for t in movers:
        t.join()
    done.set()
    watcher.join()
    assert not wrong, wrong[:1]
    with server.connect() as c:
        assert sorted(x for k in names for x in c.cmd("LRANGE", k, "0", "-1")) == elements


def test_popped_by_one(server):
    """Clients that empty lists on all shards with LMPOP get each element once."""
    names = [b"p:%d" % i for i in range(5)]
    got = []
    with server.connect() as c:
        for k in names:
            c.cmd("RPUSH", k, *[k + b":%d" % i for i in range(300)])

    def run(seed):
        rng = random.Random(seed)
        mine = []
        with server.connect() as c:
            while True:
                keys = rng.sample(names, len(names))
                popped = c.cmd("LMPOP", str(len(keys)), *keys, "LEFT", "COUNT", str(rng.randint(1, 9)))
                if not isinstance(popped, list):
                    break
                mine += popped[1]
        got.append(mine)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(MOVERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(x for part in got for x in part) == sorted(k + b":%d" % i for k in names for i in range(300))
    assert server.cmd("DBSIZE") == 0


# --- large ---


def test_large_elements(server):
    big = [b"%c" % (97 + i) * (300_000 + i) for i in range(5)]
    with server.connect() as c:
        assert c.cmd("RPUSH", "big", *big) == 5
        assert c.cmd("LRANGE", "big", "0", "-1") == big
        assert c.cmd("LMOVE", "big", "to", "LEFT", "RIGHT") == big[0]
        assert c.cmd("LMOVE", "big", "big", "LEFT", "RIGHT") == big[1]
        assert c.cmd("LINSERT", "big", "AFTER", big[2], "small") == 5
        c.ok("LSET", "big", "0", "tiny")
        assert c.cmd("LRANGE", "big", "0", "-1") == [b"tiny", b"small", big[3], big[4], big[1]]
        assert c.cmd("LREM", "big", "0", big[3]) == 1
        assert c.cmd("LPOP", "to") == big[0]


def test_memory_of_a_long_list():
    """32 bytes an item cost less than 34, and trimming gives them back."""
    n = 200_000
    with Server("anax", shards=1) as s, s.connect() as c:
        def fill(key):
            """By a client that is gone afterwards, with its buffers."""
            with s.connect() as filler:
                filler.pipeline([["RPUSH", key] + [b"%032d" % (i + j) for j in range(1000)] for i in range(0, n, 1000)])

        fill("warm up")
        assert c.cmd("DEL", "warm up") == 1
        wait_until(lambda: int(c.info("memory")["used_memory"]) < 16 * n, "freed")
        before = int(c.info("memory")["used_memory"])
        fill("l")
        used = int(c.info("memory")["used_memory"]) - before
        assert SLOW or used / n < 34
        c.ok("LTRIM", "l", "0", "999")
        wait_until(lambda: int(c.info("memory")["used_memory"]) - before < used / 10, "freed")
        assert c.cmd("LLEN", "l") == 1000
