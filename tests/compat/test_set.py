"""Sets against redis-server 7.0: random streams, encodings, chance, what is wrong with arguments.

7.0 has no sets in listpacks, and its sets keep no times: OBJECT ENCODING is compared with a model of what Redis 8 says
(class Model), times are test_set_ttl.py's.
"""

import collections
import random

import pytest

from harness import Error, Server, Set, SLOW, encode

STEPS = 700 if SLOW else 1800
USUAL = {"set-max-intset-entries": 512, "set-max-listpack-entries": 128, "set-max-listpack-value": 64}
SMALL = {"set-max-intset-entries": 16, "set-max-listpack-entries": 8, "set-max-listpack-value": 20}
KEYS = [b"s%d" % i for i in range(10)]
WRONG = b"text"  # holds a string
BORDERS = [n + d for n in (-2**63, -2**32, -2**31, -2**15, 0, 2**15, 2**31, 2**32, 2**63 - 1) for d in (-1, 0, 1)]


@pytest.fixture(scope="module")
def servers():
    made = {}

    def get(shards, options):
        key = shards, tuple(options.items())
        if key not in made:
            made[key] = Server("anax", shards=shards, options=options)
        return made[key]

    yield get
    for server in made.values():
        server.stop()


# --- what Redis 8 calls a set ---


def is_int(member):
    try:
        return str(int(member)).encode() == member and -2**63 <= int(member) < 2**63
    except ValueError:
        return False


class Model:
    """key -> [members, encoding]"""

    def __init__(self, options):
        self.ints, self.entries, self.bytes = options.values()
        self.sets = {}

    def members(self, key):
        return self.sets[key][0] if key in self.sets else set()

    def add(self, key, members):
        n = len(members)
        if key not in self.sets:
            first = "intset" if is_int(members[0]) and n <= self.ints else \
                "listpack" if n <= self.entries else "hashtable"
            self.sets[key] = [set(), first]
        else:
            most = {"intset": self.ints, "listpack": self.entries}
            if n > most.get(self.sets[key][1], n):
                self.sets[key][1] = "hashtable"
        for m in members:
            if m not in self.sets[key][0]:
                self.sets[key][1] = self.encoding_with(*self.sets[key], m)
                self.sets[key][0].add(m)

    def encoding_with(self, members, encoding, m):
        fits = len(members) < self.entries and len(m) <= self.bytes
        if encoding == "intset" and is_int(m):
            return "intset" if len(members) < self.ints else "hashtable"
        if encoding == "intset":
            return "listpack" if fits and all(len(o) <= self.bytes for o in members) else "hashtable"
        return encoding if encoding == "hashtable" or fits else "hashtable"

    def remove(self, key, members):
        if key in self.sets:
            self.sets[key][0] -= set(members)
            if not self.sets[key][0]:
                del self.sets[key]

    def store(self, key, members):
        """What a *STORE command leaves: the form of a set with these members."""
        self.sets.pop(key, None)
        if members:
            small = len(members) <= self.entries and all(len(m) <= self.bytes for m in members)
            self.sets[key] = [set(members), "intset" if all(map(is_int, members)) and len(members) <= self.ints
                              else "listpack" if small else "hashtable"]

    def apply(self, args, reply):
        """A command that has not failed."""
        name, keys = args[0], args[1:]
        sources = [self.members(k) for k in args[2:]]
        if name == b"SADD":
            self.add(args[1], args[2:])
        elif name == b"SREM":
            self.remove(args[1], args[2:])
        elif name == b"SMOVE":
            if reply == 1 and args[1] != args[2]:
                self.remove(args[1], [args[3]])
                if args[3] not in self.members(args[2]):
                    self.add(args[2], [args[3]])
        elif name == b"SPOP":
            self.remove(args[1], reply if isinstance(reply, list) else [reply])
        elif name == b"DEL":
            self.sets.pop(args[1], None)
        elif name == b"SINTERSTORE":
            self.store(args[1], set.intersection(*sources))
        elif name == b"SUNIONSTORE":
            self.store(args[1], set.union(*sources))
        elif name == b"SDIFFSTORE":
            self.store(args[1], sources[0].difference(*sources[1:]))
        elif name == b"RENAME":
            self.sets[keys[1]] = self.sets.pop(keys[0])
        elif name == b"COPY" and reply == 1:
            self.sets[keys[1]] = [set(self.members(keys[0])), self.sets[keys[0]][1]]


# --- streams ---


class Draw:
    def __init__(self, rng):
        self.rng = rng
        self.kind = {k: rng.randrange(5) for k in KEYS}

    def key(self):
        return self.rng.choice(KEYS) if self.rng.random() < 0.97 else self.rng.choice([WRONG, b"none"])

    def set_key(self):
        return self.rng.choice(KEYS)

    def keys(self, most=4):
        return [self.key() for _ in range(self.rng.randint(1, most))]

    def member(self, key=None):
        r = self.rng
        kind = self.kind.get(key, r.randrange(5)) if r.random() < 0.97 else r.randrange(5)
        if kind == 0:
            return b"%d" % r.randrange(40)
        if kind == 1:
            return b"%d" % r.randrange(3000)
        if kind == 2:
            return b"%d" % r.choice(BORDERS) if r.random() < 0.5 else b"%d" % r.randrange(-10**6, 10**6)
        if kind == 3:
            return r.choice([b"a", b"bc", b"", b"007", b"+1", b"-0", b" 1", b"1.0", b"x\x00y\xff", b"18446744073709551616",
                             b"v" * r.randrange(70)])
        return b"member:%d" % r.randrange(900)

    def members(self, key):
        n = self.rng.choice([1, 1, 1, 2, 3, 5, 12, 40 if self.rng.random() < 0.5 else 200])
        return [self.member(key) for _ in range(n)]

    def number(self):
        return self.rng.choice([b"0", b"1", b"2", b"3", b"10", b"100", b"9223372036854775807", b"-1", b"x", b"",
                                b"9223372036854775808", b"01"])


def card_options(d):
    words = d.rng.choice([[], [], [b"LIMIT", d.number()], [b"limit", b"2"], [b"LIMIT"], [b"ZZ"]])
    keys = d.keys()
    count = b"%d" % len(keys) if d.rng.random() < 0.9 else d.rng.choice([b"0", b"-1", b"x", b"99", b"1"])
    return [count] + keys + words


def draw_command(d):
    r = d.rng
    key = d.key()
    makers = [
        (30, lambda: [b"SADD", key] + d.members(key)),
        (14, lambda: [b"SREM", key] + d.members(key)),
        (4, lambda: [b"SCARD", key]),
        (6, lambda: [b"SISMEMBER", key, d.member(key)]),
        (4, lambda: [b"SMISMEMBER", key] + d.members(key)),
        (4, lambda: [b"SMEMBERS", key]),
        (8, lambda: [b"SMOVE", key, d.key(), d.member(key)]),
        (5, lambda: [b"SINTER"] + d.keys()),
        (5, lambda: [b"SUNION"] + d.keys()),
        (5, lambda: [b"SDIFF"] + d.keys()),
        (5, lambda: [b"SINTERCARD"] + card_options(d)),
        (3, lambda: [b"SINTERSTORE", d.set_key()] + d.keys()),
        (2, lambda: [b"SUNIONSTORE", d.set_key()] + d.keys()),
        (3, lambda: [b"SDIFFSTORE", d.set_key()] + d.keys()),
        (2, lambda: [b"SPOP", key, r.choice([b"0", b"9223372036854775807", b"-1", b"x", b"-9223372036854775808"])]),
        (2, lambda: [b"SRANDMEMBER", key, r.choice([b"0", b"9223372036854775807", b"x", b"-9223372036854775808"])]),
        (3, lambda: [b"DEL", d.set_key()]),
        (1, lambda: [b"RENAME", d.set_key(), d.set_key()]),
        (1, lambda: [b"COPY", d.set_key(), d.set_key(), b"REPLACE"]),
        (1, lambda: [b"TYPE", key]),
        (1, lambda: [b"EXISTS", key]),
        (1, lambda: [r.choice([b"SADD", b"SREM", b"SISMEMBER", b"SMOVE", b"SINTER", b"SUNIONSTORE", b"SINTERCARD", b"SSCAN",
                               b"SPOP", b"SRANDMEMBER"])] + [key] * r.choice([0, 1, 4])),
    ]
    args = r.choices(makers, [w for w, _ in makers])[0][1]()
    # SPOP and SRANDMEMBER of one member choose for themselves
    return args if args[0] not in (b"SPOP", b"SRANDMEMBER") or len(args) != 2 else [b"SCARD", key]


UNORDERED = {b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"SPOP", b"SRANDMEMBER"}


def same(args, ours, theirs):
    if ours.raw == theirs.raw:
        return True
    return args[0] in UNORDERED and type(ours.value) is type(theirs.value) and isinstance(ours.value, list) and \
        sorted(ours.value) == sorted(theirs.value)


def show(args):
    return " ".join(repr(a)[1:] for a in args)[:300]


class Pair:
    def __init__(self, anax, redis, proto, model):
        self.conns = [anax.connect(), redis.connect()]
        self.model = model
        for c in self.conns:
            c.ok("FLUSHALL")
            if proto == 3:
                c.cmd("HELLO", "3")
            c.ok("SET", WRONG, "x")

    def close(self):
        for c in self.conns:
            c.close()

    def run(self, commands):
        ours, theirs = [c.pipeline(commands) for c in self.conns]
        for args, a, b in zip(commands, ours, theirs):
            assert same(args, a, b), "%s\n  anax:  %r\n  redis: %r" % (show(args), a.raw[:400], b.raw[:400])
            if not isinstance(a.value, Error):
                self.model.apply(args, a.value)

    def chance(self, rng):
        """What a server chooses: from what is there, as many as wanted; Redis then loses what Anax popped."""
        key = rng.choice(KEYS)
        members = self.model.members(key)
        anax, redis = self.conns
        count = rng.choice([None, 1, 2, 5, len(members) // 2, max(len(members) - 1, 0), -1, -7, -200])
        pops = rng.random() < 0.5 and (count is None or 0 <= count)
        reply = anax.cmd("SPOP" if pops else "SRANDMEMBER", key, *([] if count is None else [count]))
        if count is None:
            assert (reply is None) == (not members)
            got = [] if reply is None else [reply]
        else:
            assert isinstance(reply, list) and isinstance(reply, Set) == (pops and self.proto(anax) == 3)
            got = list(reply)
            want = min(count, len(members)) if count >= 0 else -count if members else 0
            assert len(got) == want
        assert set(got) <= members
        if count is None or count >= 0:
            assert len(set(got)) == len(got), "one twice"
        if pops and got:
            self.model.remove(key, got)
            assert redis.cmd("SREM", key, *got) == len(got)

    def proto(self, c):
        return dict(c.cmd("HELLO") if isinstance(c.cmd("HELLO"), list) and isinstance(c.cmd("HELLO")[0], tuple)
                    else zip(*[iter(c.cmd("HELLO"))] * 2))[b"proto"]

    def scan(self, rng):
        key = rng.choice(KEYS)
        c, seen, cursor = self.conns[0], [], b"0"
        for _ in range(100000):
            cursor, some = c.cmd("SSCAN", key, cursor, "COUNT", rng.choice([1, 10, 100, 10**9]))
            seen += some
            if cursor == b"0":
                break
        assert set(seen) == self.model.members(key)
        assert len(seen) == len(set(seen)), "nothing was written meanwhile"
        some = self.conns[0].cmd("SSCAN", key, "0", "MATCH", "*1*", "COUNT", 10**6)[1]
        some_model = {m for m in self.model.members(key) if b"1" in m}
        assert set(some) <= some_model

    def check(self):
        anax, redis = self.conns
        for key in KEYS:
            members, encoding = self.model.sets.get(key, (set(), None))
            for c in self.conns:
                assert set(c.cmd("SMEMBERS", key)) == members, (key, c is anax)
            reply = anax.cmd("OBJECT", "ENCODING", key)
            assert reply == (encoding and encoding.encode()), (key, len(members), sorted(members)[:20])


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
@pytest.mark.parametrize("proto,options", [(2, USUAL), (3, SMALL)], ids=["usual", "small"])
def test_streams(servers, redis, shards, proto, options):
    rng = random.Random(1000 * shards + proto)
    pair = Pair(servers(shards, options), redis, proto, Model(options))
    d = Draw(rng)
    at = 0
    while at < STEPS:
        n = rng.choice([1, 2, 10, 50, 200])
        pair.run([draw_command(d) for _ in range(n)])
        pair.chance(rng)
        if rng.random() < 0.3:
            pair.scan(rng)
        if rng.random() < 0.3:
            pair.check()
        at += n
    pair.check()
    pair.close()


# --- one thing each ---


ARGUMENTS = [
    "SINTERCARD 0 k1", "SINTERCARD -1 k1", "SINTERCARD x k1", "SINTERCARD 3 k1 k2", "SINTERCARD 1 k1 LIMIT", "SINTERCARD 1 k1 LIMIT -1",
    "SINTERCARD 1 k1 LIMIT x", "SINTERCARD 1 k1 LIMIT 1 LIMIT 2", "SINTERCARD 2 k1 LIMIT 1", "SINTERCARD 1 k1 ZZ 1",
    "SINTERCARD 1 k1 LIMIT 9223372036854775808", "SINTERCARD 2 k1 k2 LIMIT 0", "SINTERCARD 9223372036854775807 k1",
    "SPOP k1 -1", "SPOP k1 x", "SPOP k1 1 2", "SPOP k1 9223372036854775808", "SPOP none", "SPOP none 3", "SPOP k1 0",
    "SRANDMEMBER k1 x", "SRANDMEMBER k1 1 2", "SRANDMEMBER k1 -9223372036854775808", "SRANDMEMBER none", "SRANDMEMBER none 3",
    "SRANDMEMBER none -3", "SRANDMEMBER k1 0", "SRANDMEMBER k1 9223372036854775808",
    "SSCAN k1 x", "SSCAN k1 0 COUNT 0", "SSCAN k1 0 COUNT x", "SSCAN k1 0 COUNT", "SSCAN k1 0 ZZ 1", "SSCAN none 0", "SSCAN text 0",
    "SSCAN none x", "SSCAN none 0 ZZ", "SSCAN k1 -1", "SSCAN k1 18446744073709551616", "SSCAN text 0 ZZ",
    "SMOVE none text 1", "SMOVE k1 text 1", "SMOVE text k1 1", "SMOVE k1 k1 1", "SMOVE k1 k1 99", "SMOVE k1 none2 99", "SMOVE text text 1",
    "SINTER none text", "SINTER text none", "SUNION none text", "SDIFF text none", "SDIFF none text", "SINTERSTORE k9 none text",
    "SINTERSTORE text none none2", "EXISTS text", "SADD text 1", "SREM text 1", "SCARD text", "SISMEMBER text 1", "SMISMEMBER text 1",
    "SMEMBERS text", "SPOP text", "SRANDMEMBER text", "SPOP text 1", "SRANDMEMBER text 1", "SPOP text 0", "SMISMEMBER none 1 2",
    "SUNIONSTORE k8 k1 k2", "SMEMBERS k8", "SDIFFSTORE k1 k1 k1", "EXISTS k1", "SINTERSTORE k2 k2", "SCARD k2", "SUNIONSTORE k2 none",
    "EXISTS k2",
]


@pytest.mark.parametrize("proto", [2, 3])
def test_arguments(servers, redis, proto):
    for tag in ("", "{t}"):
        pair = Pair(servers(3, USUAL), redis, proto, Model(USUAL))
        pair.run([[b"SADD", tag.encode() + b"k1", b"1", b"2"], [b"SADD", tag.encode() + b"k2", b"2", b"c"],
                  [b"SET", tag.encode() + b"text", b"x"]])
        wrong = []
        for line in ARGUMENTS:
            args = [(tag + w if w[0] == "k" or w in ("none", "none2", "text") else w).encode() for w in line.split()]
            replies = []
            for c in pair.conns:
                c.send(encode(args))
                replies.append(c.read())
            if not same(args, *replies):
                wrong.append("%s\n  anax:  %r\n  redis: %r" % (line, replies[0].raw, replies[1].raw))
        pair.close()
        assert not wrong, "\n".join(wrong)


def test_more_repetitions_than_anybody_wants(servers):
    c = servers(1, USUAL).connect()
    c.cmd("SADD", "k", "1")
    assert c.cmd("SRANDMEMBER", "k", -2**62) == Error(b"ERR value is out of range")
    assert len(c.cmd("SRANDMEMBER", "k", -100000)) == 100000
    c.close()


@pytest.mark.parametrize("shards", [1, 3])
def test_large_sets(servers, redis, shards):
    """Bitmaps and tables, whole and against each other; texts beside bitmaps, and ids that are too many and too far apart."""
    rng = random.Random(shards)
    pair = Pair(servers(shards, USUAL), redis, 2, Model(USUAL))
    ints = [b"%d" % n for n in rng.sample(range(30000), 6000)]
    more = [b"%d" % n for n in rng.sample(range(100000), 9000)]
    wide = [b"%d" % rng.randrange(-2**63, 2**63) for _ in range(2000)]
    texts = [b"member:%d" % n for n in range(3000)]
    sets = {b"s0": ints, b"s1": more, b"s2": wide + ints[:100], b"s3": texts, b"s4": texts[1500:] + ints[3000:],
            b"s5": ints[::-2] + texts[:3], b"s6": [b"7"], b"s7": list(map(b"%d".__mod__, range(12000))),
            b"s8": list(map(b"%d".__mod__, range(66000))) + [b"%d" % rng.randrange(-2**63, 2**63) for _ in range(2500)] + wide}
    for key, members in sets.items():
        for at in range(0, len(members), 700):
            pair.run([[b"SADD", key] + members[at:at + 700]])
    pair.check()
    two = [[a, b] for a in sets for b in sets]
    pair.run([[b"SINTER"] + rng.choice([[a, b], [a, b] + rng.sample(list(sets), 2)]) for a, b in two])
    pair.run([[b"SDIFF"] + rng.choice([[a, b], [a, b] + rng.sample(list(sets), 2)]) for a, b in rng.sample(two, 30)])
    pair.run([[b"SUNION", a, b] for a, b in rng.sample(two, 12)] + [[b"SUNION"] + rng.sample(list(sets), 4)])
    pair.run([[b"SINTERCARD", b"2", a, b, b"LIMIT", b"%d" % n] for a, b in two for n in (0, 50)])
    for name in (b"SINTERSTORE", b"SDIFFSTORE", b"SUNIONSTORE"):
        for _ in range(4):
            pair.run([[name, b"s9"] + rng.sample(list(sets), rng.choice([1, 2, 3]))])
        pair.check()
    for _ in range(12):
        pair.chance(rng)
        pair.scan(rng)
    for key, members in sets.items():
        rng.shuffle(members)
        pair.run([[b"SREM", key] + members[at:at + 500] for at in range(0, len(members) - 300, 500)])
    pair.check()
    pair.close()


def test_scan_sees_what_stays(servers):
    """Members come and go between the steps, and the set changes its form; those that stay are all seen."""
    rng = random.Random(5)
    with servers(2, USUAL).connect() as c:
        for start in ([b"%d" % (i * 1000003) for i in range(900)], [b"%d" % i for i in range(900)], [b"m%d" % i for i in range(900)]):
            c.cmd("DEL", "k")
            c.cmd("SADD", "k", *start)
            stay, others, seen, cursor = set(start[::2]), start[1::2], set(), b"0"
            while True:
                cursor, some = c.cmd("SSCAN", "k", cursor)
                seen.update(some)
                if cursor == b"0":
                    break
                c.cmd("SREM", "k", *[rng.choice(others) for _ in range(5)])
                c.cmd("SADD", "k", *[b"%d" % rng.randrange(30000) for _ in range(60)])
            assert stay <= seen


@pytest.mark.parametrize("make", [lambda i: b"%d" % i, lambda i: b"%d" % (i * 70001), lambda i: b"m%d" % i],
                         ids=["dense", "spread", "texts"])
@pytest.mark.parametrize("n", [60, 300, 3000])
def test_chance_is_fair(servers, make, n):
    """Chi square of how often each member comes, five deviations above its mean at most."""
    with servers(1, USUAL).connect() as c:
        c.cmd("DEL", "k")
        for at in range(0, n, 500):
            c.cmd("SADD", "k", *map(make, range(at, min(at + 500, n))))
        came = collections.Counter(c.cmd("SRANDMEMBER", "k", -40 * n))
        for _ in range(20):
            came.update(c.cmd("SRANDMEMBER", "k", n // 2))
        assert len(came) == n
        mean = (40 * n + 20 * (n // 2)) / n
        square = sum((x - mean) ** 2 for x in came.values()) / mean
        assert square < n + 5 * (2 * n) ** 0.5, square


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_changes_are_watched(servers, shards):
    """WATCH sees what changed, and not what did not."""
    cases = [("SADD k 1", False), ("SADD k 9", True), ("SREM k 9", False), ("SREM k 1", True), ("SMOVE k k2 1", True), ("SMOVE k2 k 1", False),
             ("SMOVE k2 k 5", True), ("SPOP k", True), ("SPOP k 0", False), ("SPOP k 100", True), ("SINTERSTORE k k2", True),
             ("SINTERSTORE none none2", False), ("SMOVE k none 77", False), ("SADDEX k 100 7", True), ("SADDEX k KEEPTTL 100 1", False)]
    server = servers(shards, USUAL)
    with server.connect() as a, server.connect() as b:
        for line, changes in cases:
            a.ok("FLUSHALL")
            a.cmd("SADD", "k", "1", "2", "x")
            a.cmd("SADD", "k2", "1", "5")
            a.ok("WATCH", "k", "none")
            before = a.cmd("SMEMBERS", "k")
            b.cmd(*line.split())
            a.ok("MULTI")
            a.cmd("PING")
            done = a.cmd("EXEC")
            watched_changed = changes and (line.startswith("SMOVE") is False or set(a.cmd("SMEMBERS", "k")) != set(before))
            assert isinstance(done, list) == (not watched_changed), line
