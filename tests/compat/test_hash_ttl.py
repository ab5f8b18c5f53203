"""Fields of hashes that expire, and HGETDEL, HGETEX, HSETEX, which redis-server 7.0 lacks, against hash_model.py.

Sources: the documentation of Redis 8.0 and Valkey 9; FIELDTTL and FIELDEXPIRE: Dragonfly's.
"""

import random
import time

import pytest

from harness import Error, Map, SLOW, Server, wait_until
from hash_model import FUTURE_MS, LIMIT_MS, Model
from test_hash import big_hash, scan_all, thresholds

KEYS = [b"h0", b"h1", b"{t}h2", b"h3\x00"]
NAMES = [b"", b"0", b"17", b"-1", b"9223372036854775807", b"x" * 64, b"y" * 65] + [b"f%d" % i for i in range(12)]
VALUES = [b"", b"1", b"-5", b"127", b"70000", b"text", b"01", b"v" * 64, b"w" * 65, b"u" * 300]
LENGTH = 500 if SLOW else 1500


class Stream:
    """Random calls with what the model replies to them."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.model = Model()

    def names(self, most=4):
        return [self.rng.choice(NAMES) for _ in range(self.rng.randint(1, most))]

    def pairs(self):
        most = 4 if self.rng.random() < 0.95 else 40
        return [(f if most == 4 else b"many%d" % self.rng.randrange(200), self.rng.choice(VALUES))
                for f in self.names(most)]

    def time_ms(self):
        r = self.rng
        return r.choice([0, 1000, 5000]) if r.random() < 0.12 else FUTURE_MS + 1000 * r.randrange(6)

    def expire(self, key):
        names, ms = self.names(), self.time_ms()
        conditions = self.rng.choice([[], [], [], ["NX"], ["XX"], ["GT"], ["LT"], ["XX", "GT"], ["LT", "XX"]])
        name, number = self.rng.choice([("HPEXPIREAT", ms), ("HEXPIREAT", ms // 1000)])
        return [name, key, number] + conditions + ["FIELDS", len(names)] + names, \
            self.model.expire(key, names, ms, conditions)

    def getex(self, key):
        names, ms = self.names(), self.time_ms()
        option, ms, persist = self.rng.choice([
            ([], None, False), (["PXAT", ms], ms, False), (["exat", ms // 1000], ms, False), (["PERSIST"], None, True)])
        return ["HGETEX", key] + option + ["FIELDS", len(names)] + names, self.model.getex(key, names, ms, persist)

    def setex(self, key):
        r = self.rng
        pairs, ms = self.pairs(), self.time_ms()
        option, ms, keep = r.choice([
            ([], None, False), (["PXAT", ms], ms, False), (["EXAT", ms // 1000], ms, False), (["KEEPTTL"], None, True)])
        words, field_condition, key_condition = [option], None, None
        if r.random() < 0.4:
            field_condition = r.choice(["FNX", "FXX"])
            words.append([field_condition])
        if r.random() < 0.2:
            key_condition = r.choice(["NX", "XX"])
            words.append([key_condition])
        r.shuffle(words)
        call = ["HSETEX", key] + sum(words, []) + ["FIELDS", len(pairs)] + [x for p in pairs for x in p]
        return call, self.model.setex(key, pairs, ms, keep, field_condition, key_condition)

    def plain(self, key):
        """Calls that know nothing of times."""
        r, m, names, pairs = self.rng, self.model, self.names(), self.pairs()
        pick = r.randrange(9)
        if pick < 3:
            return ["HSET", key] + [x for p in pairs for x in p], m.hset(key, pairs)
        if pick == 3:
            return ["HSETNX", key, names[0], b"new"], m.hsetnx(key, names[0], b"new")
        if pick == 4:
            return ["HINCRBY", key, names[0], 5], m.hincrby(key, names[0], 5)
        if pick == 5:
            return ["HDEL", key] + names, m.hdel(key, names)
        if pick == 6:
            return ["HMGET", key] + names, m.values(key, names)
        if pick == 7:
            return ["HLEN", key], len(m.fields(key))
        return ["HEXISTS", key, names[0]], int(names[0] in m.fields(key))

    def whole(self, key):
        """Calls about the key."""
        m, other = self.model, self.rng.choice(KEYS)
        pick = self.rng.randrange(4)
        if pick == 0:
            return ["DEL", key], int(m.keys.pop(key, None) is not None)
        if pick == 1 and key in m.keys:
            m.keys[other] = m.keys.pop(key)
            return ["RENAME", key, other], b"OK"
        if pick == 2 and key != other:
            if key in m.keys:
                m.keys[other] = m.keys[key]
            return ["COPY", key, other, "REPLACE"], int(key in m.keys)
        return ["EXISTS", key], int(key in m.keys)

    def call(self):
        r, m = self.rng, self.model
        key, names = r.choice(KEYS), self.names()
        pick = r.random()
        if pick < 0.3:
            return self.plain(key)
        if pick < 0.5:
            return self.expire(key)
        if pick < 0.6:
            return self.getex(key)
        if pick < 0.72:
            return self.setex(key)
        if pick < 0.8:
            return ["HPERSIST", key, "FIELDS", len(names)] + names, m.persist(key, names)
        if pick < 0.86:
            return ["HGETDEL", key, "FIELDS", len(names)] + names, m.getdel(key, names)
        if pick < 0.95:
            return ["HPEXPIRETIME", key, "FIELDS", len(names)] + names, m.times(key, names)
        return self.whole(key)


def check_state(c, model):
    for key in KEYS:
        want = model.fields(key)
        got = c.cmd("HGETALL", key)
        assert dict(zip(got[::2], got[1::2])) == {f: v for f, (v, _) in want.items()}, key
        assert scan_all(c, key, "COUNT", "3") == sorted((f, v) for f, (v, _) in want.items()), key
        assert c.cmd("EXISTS", key) == int(bool(want)), key
        if want:
            names = sorted(want)
            assert c.cmd("HPEXPIRETIME", key, "FIELDS", len(names), *names) == model.times(key, names), key


@pytest.mark.parametrize("entries,value", [(512, 64), (8, 64), (0, 64)])
@pytest.mark.parametrize("seed", range(2))
def test_random_streams(pool, shards, seed, entries, value):
    anax = pool.get("anax", shards)
    with thresholds([anax], entries, value), anax.connect() as c:
        c.ok("FLUSHALL")
        stream = Stream(100 * shards + 10 * entries + seed)
        calls = [stream.call() for _ in range(LENGTH)]
        for i, (reply, (call, want)) in enumerate(zip(c.pipeline([call for call, _ in calls]), calls)):
            assert reply.value == want, (i, call, reply.value, want)
        check_state(c, stream.model)
        for key in KEYS:
            c.cmd("DEL", key)
        assert c.cmd("DBSIZE") == 0


# --- arguments ------------------------------------------------------------------------------------

NOT_INT = b"ERR value is not an integer or out of range"
NEGATIVE = b"ERR invalid expire time, must be >= 0"
NO_FIELDS = b"ERR Mandatory argument FIELDS is missing or not at the right position"
NOT_POSITIVE = b"ERR Parameter `numFields` should be greater than 0"
BAD_COUNT = b"ERR Number of fields must be a positive integer"
MISMATCH = b"ERR The `numfields` parameter must match the number of arguments"
WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
ONE_TIME = b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
ONE_CONDITION = b"ERR Only one of FXX or FNX arguments can be specified"
BAD_TIME = b"ERR invalid expire time in '%s' command"
ARITY = b"ERR wrong number of arguments for '%s' command"
TIMES = {"limit": LIMIT_MS, "too_late": LIMIT_MS + 1, "too_late_s": LIMIT_MS // 1000 + 1}

ERRORS = {  # with the times of TIMES in their places
    NOT_INT: """
        HEXPIRE h x FIELDS 1 a
        HEXPIRE h 9223372036854775808 FIELDS 1 a
        HGETEX h EX x FIELDS 1 a
        HSETEX h EX x FIELDS 1 a 1
        FIELDEXPIRE h x a
    """,
    NEGATIVE: """
        HEXPIRE h -1 FIELDS 1 a
        HPEXPIRE h -9223372036854775808 FIELDS 1 a
        HGETEX h PX -1 FIELDS 1 a
        HSETEX h EX -1 FIELDS 1 a 1
        FIELDEXPIRE h -1 a
    """,
    NO_FIELDS: """
        HEXPIRE h 10 FIELD 1 a
        HEXPIRE h 10 NX 1 a b
        HEXPIRE h 10 YY FIELDS 1 a
        HEXPIRE h 10 NX XX FIELDS 1 a
        HEXPIRE h 10 GT LT FIELDS 1 a
        HEXPIRE h 10 NX GT XX LT
        HTTL h FIELD 1 a
        HPERSIST h 1 a b
        HGETDEL h FIELD 1 a
        HGETEX h EX 10 PX 10 FIELDS 1 a
        HGETEX h KEEPTTL FIELDS 1 a
        HGETEX h PERSIST EX 10 FIELDS 1 a
        HSETEX h NX FXX EX 10
    """,
    NOT_POSITIVE: """
        HEXPIRE h 10 FIELDS 0 a
        HEXPIRE h 10 FIELDS -1 a
        HEXPIRE h 10 FIELDS x a
    """,
    MISMATCH: """
        HEXPIRE h 10 FIELDS 2 a
        HEXPIRE h 10 NX FIELDS 1 a b
        HEXPIRE h 10 NX FIELDS 1
        HEXPIRE h 10 FIELDS 9223372036854775807 a
        HEXPIRETIME h FIELDS 2 a
        HPEXPIRETIME h FIELDS 1 a b
        HPERSIST h FIELDS 3 a
        HGETDEL h FIELDS 2 a
        HGETEX h PERSIST FIELDS 2 a
    """,
    WRONG_TYPE: """
        HEXPIRE s x FIELDS 0 a
        HTTL s FIELDS 0 a
        HPERSIST s FIELDS 0 a
        HGETDEL s FIELDS 0 a
        HGETEX s EX x FIELDS 0 a
        HSETEX s FIELDS 1 a 1
        FIELDTTL s a
        FIELDEXPIRE s 10 a
    """,
    BAD_COUNT: """
        HTTL h FIELDS x a
        HPTTL h FIELDS 0 a
        HPERSIST h FIELDS 1.5 a
        HGETDEL h FIELDS 0 a
        HGETEX h FIELDS 0 a
    """,
    b"ERR invalid number of fields": """
        HSETEX h FIELDS 0 a 1
        HSETEX h FIELDS x a 1
        HSETEX h FIELDS 2147483648 a 1
    """,
    ONE_TIME: """
        HSETEX h EX 10 PX 5 FIELDS 1 a 1
        HSETEX h KEEPTTL EX 5 FIELDS 1 a 1
        HSETEX h KEEPTTL KEEPTTL FIELDS 1 a 1
        HSETEX h FNX KEEPTTL XX EX
        HSETEX h EX 10 FNX EX
    """,
    ONE_CONDITION: """
        HSETEX h FNX FXX FIELDS 1 a 1
        HSETEX h FXX FXX FIELDS 1 a 1
    """,
    b"ERR syntax error": """
        HSETEX h NX XX FIELDS 1 a 1
    """,
    b"ERR unknown argument: what": """
        HSETEX h what FIELDS 1 a 1
        HSETEX h FNX XX KEEPTTL what
    """,
    b"ERR unknown argument: PERSIST": """
        HSETEX h PERSIST FIELDS 1 a 1
    """,
    b"ERR unknown argument: nosuch": """
        HSETEX h FNX XX nosuch EX
    """,
    BAD_TIME: """
        HEXPIRE h {too_late} FIELDS 1 a
        HPEXPIRE h {limit} FIELDS 1 a
        HEXPIREAT h {too_late_s} FIELDS 1 a
        HPEXPIREAT h {too_late} FIELDS 1 a
        HPEXPIREAT h 9223372036854775807 FIELDS 1 a
        HGETEX h PXAT {too_late} FIELDS 1 a
        HSETEX h EXAT {too_late} FIELDS 1 a 1
        FIELDEXPIRE h {too_late} a
    """,
    ARITY: """
        HEXPIRE h 10 FIELDS 1
        HEXPIRE s x NX
        HTTL h FIELDS 1
        HGETDEL h FIELDS 1
        HGETEX h EX 10
        HGETEX h EX 10 FIELDS
        HSETEX h FIELDS 1 a
        HSETEX h EX 10 FIELDS 1 a
        HSETEX h FIELDS 1 a 1 b
        HSETEX h FIELDS 2 a 1
        HSETEX h FIELDS 1 a 1 b 2
        HSETEX h FNX XX KEEPTTL FIELDS
        HSETEX h FNX NX PX
        HSETEX h NX FXX PX
        FIELDTTL h
        FIELDEXPIRE h 10
    """,
}


def test_invalid(anax2):
    with anax2.connect() as c:
        c.ok("SET", "s", "1")
        c.cmd("HSET", "h", "a", "1", "b", "2")
        for error, lines in ERRORS.items():
            for line in lines.strip().split("\n"):
                words = line.format(**TIMES).split()
                want = error % words[0].lower().encode() if b"%s" in error else error
                got = c.cmd(*words)
                assert isinstance(got, Error) and got == want, (line, got, want)
        assert c.cmd("HGETALL", "h") == [b"a", b"1", b"b", b"2"]
        assert c.cmd("HTTL", "h", "FIELDS", "2", "a", "b") == [-1, -1]
        assert c.cmd("DBSIZE") == 2


def test_missing_keys(anax2):
    with anax2.connect() as c:
        for name in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST"):
            assert c.cmd(name, "no", "FIELDS", "2", "a", "b") == [-2, -2]
        for name in ("HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"):
            assert c.cmd(name, "no", "0", "FIELDS", "1", "a") == [-2]
        assert c.cmd("HGETDEL", "no", "FIELDS", "2", "a", "b") == [None, None]
        assert c.cmd("HGETEX", "no", "EX", "10", "FIELDS", "1", "a") == [None]
        assert c.cmd("HSETEX", "no", "FXX", "FIELDS", "1", "a", "1") == 0
        assert c.cmd("HSETEX", "no", "XX", "FIELDS", "1", "a", "1") == 0
        assert c.cmd("HSETEX", "no", "PX", "0", "FIELDS", "1", "a", "1") == 1
        assert c.cmd("FIELDTTL", "no", "a") == -2
        assert c.cmd("FIELDEXPIRE", "no", "10", "a", "b") == [-2, -2]
        assert c.cmd("DBSIZE") == 0


def test_the_latest_time(anax2):
    with anax2.connect() as c:
        c.cmd("HSET", "h", "a", "1")
        assert c.cmd("HPEXPIREAT", "h", LIMIT_MS, "FIELDS", "1", "a") == [1]
        assert c.cmd("HPEXPIRETIME", "h", "FIELDS", "1", "a") == [LIMIT_MS]
        assert c.cmd("HEXPIREAT", "h", LIMIT_MS // 1000, "FIELDS", "1", "a") == [1]
        assert c.cmd("HEXPIRETIME", "h", "FIELDS", "1", "a") == [LIMIT_MS // 1000]


@pytest.mark.parametrize("entries", [512, 0])
def test_relative_times(anax2, entries):
    """Each within the time that the call took."""
    def between(call, unit_ms, amount):
        before = time.time() * 1000
        assert c.cmd(*call) in ([1], 1, [b"1"]), call
        at = c.cmd("HPEXPIRETIME", "h", "FIELDS", "1", "a")[0]
        after = time.time() * 1000
        assert before - 1 <= at - amount * unit_ms <= after + 1, call
        left_ms, left_s = c.cmd("HPTTL", "h", "FIELDS", "1", "a")[0], c.cmd("HTTL", "h", "FIELDS", "1", "a")[0]
        now = time.time() * 1000
        assert at - now - 1 <= left_ms <= amount * unit_ms and at - now - 1 <= left_s * 1000 < amount * unit_ms + 1000
        assert c.cmd("HEXPIRETIME", "h", "FIELDS", "1", "a")[0] == (at + 999) // 1000

    with thresholds([anax2], entries, 64), anax2.connect() as c:
        c.cmd("HSET", "h", "a", "1", "b", "2")
        between(["HEXPIRE", "h", 1000, "FIELDS", 1, "a"], 1000, 1000)
        between(["HPEXPIRE", "h", 123_456, "FIELDS", 1, "a"], 1, 123_456)
        between(["HGETEX", "h", "EX", 50, "FIELDS", 1, "a"], 1000, 50)
        between(["HGETEX", "h", "PX", 54_321, "FIELDS", 1, "a"], 1, 54_321)
        between(["HSETEX", "h", "EX", 70, "FIELDS", 1, "a", "1"], 1000, 70)
        between(["HSETEX", "h", "PX", 70_001, "FIELDS", 1, "a", "1"], 1, 70_001)
        between(["FIELDEXPIRE", "h", 80, "a"], 1000, 80)
        assert c.cmd("FIELDTTL", "h", "a") in range(70, 81)
        assert c.cmd("FIELDTTL", "h", "b") == -1 and c.cmd("FIELDTTL", "h", "c") == -3


def test_encodings(anax2):
    """As Redis 8 names them."""
    with anax2.connect() as c:
        c.cmd("HSET", "h", "a", "1")
        assert c.cmd("OBJECT", "ENCODING", "h") == b"listpack"
        c.cmd("HEXPIRE", "h", "100", "FIELDS", "1", "a")
        assert c.cmd("OBJECT", "ENCODING", "h") == b"listpackex"
        big_hash(c, "h", 600)
        assert c.cmd("OBJECT", "ENCODING", "h") == b"hashtable"
        assert c.cmd("HPTTL", "h", "FIELDS", "1", "a")[0] > 0 and c.cmd("HLEN", "h") == 601


@pytest.mark.parametrize("call", [
    "HGETDEL h FIELDS 1 a", "HGETEX h FIELDS 1 a", "HSETEX h FIELDS 1 b 1", "HTTL h FIELDS 1 a",
    "HEXPIRE h 100 FIELDS 1 a", "HPERSIST h FIELDS 1 a"])
def test_resp3(anax2, call):
    with anax2.connect() as c:
        c.cmd("HELLO", "3")
        got = c.cmd(*call.split(" "))
        assert got in ([None], [-2], 1) and not isinstance(got, Map)


# --- gone by itself -------------------------------------------------------------------------------


def expired(c, name="expired_subkeys"):
    return int(c.info("stats")[name])


@pytest.mark.parametrize("entries", [512, 0])
def test_fields_go_by_themselves(pool, shards, entries):
    anax = pool.get("anax", shards)
    anax.cmd("FLUSHALL")
    with thresholds([anax], entries, 64), anax.connect() as c:
        before = expired(c)
        for i in range(8):
            big_hash(c, "h%d" % i, 100)
            c.cmd("HSET", "h%d" % i, "stays", "1")
        big_hash(c, "all", 100)
        names = [b"f%d" % i for i in range(100)]
        keys = ["h%d" % i for i in range(8)] + ["all"]
        for key in keys:
            assert c.cmd("HPEXPIRE", key, "20", "FIELDS", "100", *names) == [1] * 100
        wait_until(lambda: all(c.cmd("HGET", key, "f0") is None for key in keys), "their time has come")
        for i in range(8):
            assert c.cmd("HGETALL", "h%d" % i) == [b"stays", b"1"]
            assert c.cmd("HKEYS", "h%d" % i) == [b"stays"] and c.cmd("HRANDFIELD", "h%d" % i, "5") == [b"stays"]
            assert c.cmd("HRANDFIELD", "h%d" % i, "-2") == [b"stays"] * 2
            assert scan_all(c, "h%d" % i) == [(b"stays", b"1")]
        assert c.cmd("HGETALL", "all") == c.cmd("HRANDFIELD", "all", "-3") == []
        assert c.cmd("HRANDFIELD", "all") is None
        wait_until(lambda: c.cmd("EXISTS", "all") == 0, "nobody looked, and the key has gone")
        wait_until(lambda: all(c.cmd("HLEN", "h%d" % i) == 1 for i in range(8)), "the fields have gone")
        wait_until(lambda: expired(c) - before == 900, "INFO counts them")


@pytest.mark.parametrize("entries", [512, 0])
def test_writes_meet_dead_fields(entries):
    """Active expiry is off: what is dead is still in the hash when a write comes."""
    options = {"enable-debug-command": "yes", "hash-max-listpack-entries": entries}
    with Server("anax", shards=2, options=options) as anax, anax.connect() as c:
        c.ok("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        names = [b"a", b"b", b"c", b"n", b"d", b"x"]
        c.cmd("HSET", "h", *[x for f in names for x in (f, b"7")], "stays", "1")
        c.cmd("HSET", "gone", "a", "1")
        c.cmd("HPEXPIRE", "h", "20", "FIELDS", len(names), *names)
        c.cmd("HPEXPIRE", "gone", "20", "FIELDS", "1", "a")
        wait_until(lambda: c.cmd("HEXISTS", "h", "x") + c.cmd("HEXISTS", "gone", "a") == 0, "their time has come")
        assert c.cmd("HDEL", "h", "a") == 0
        assert c.cmd("HSETNX", "h", "b", "new") == 1
        assert c.cmd("HSET", "h", "c", "new") == 1
        assert c.cmd("HINCRBY", "h", "n", "5") == 5
        assert c.cmd("HEXPIRE", "h", "100", "FIELDS", "2", "d", "c") == [-2, 1]
        assert c.cmd("HPERSIST", "h", "FIELDS", "2", "d", "n") == [-2, -1]
        assert c.cmd("HGETDEL", "h", "FIELDS", "2", "d", "b") == [None, b"new"]
        assert c.cmd("HGETEX", "h", "EX", "10", "FIELDS", "1", "x") == [None]
        assert c.cmd("HSETEX", "h", "FXX", "FIELDS", "1", "x", "1") == 0
        assert c.cmd("HSETEX", "h", "FNX", "FIELDS", "1", "x", "1") == 1
        got = c.cmd("HGETALL", "h")
        assert dict(zip(got[::2], got[1::2])) == {b"stays": b"1", b"c": b"new", b"n": b"5", b"x": b"1"}
        assert c.cmd("HTTL", "h", "FIELDS", "2", "n", "x") == [-1, -1]
        assert c.cmd("HDEL", "gone", "a") == 0 and c.cmd("EXISTS", "gone") == 0


# --- the last field -------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    "HDEL h a b", "HGETDEL h FIELDS 2 a b", "HGETDEL h FIELDS 3 a a b", "HGETEX h PX 0 FIELDS 2 a b",
    "HGETEX h EXAT 1 FIELDS 2 b a", "HEXPIRE h 0 FIELDS 2 a b", "HPEXPIREAT h 1 FIELDS 2 a b",
    "HSETEX h PXAT 1 FIELDS 2 a 1 b 2", "FIELDEXPIRE h 0 a b", "HEXPIREAT h 1 LT FIELDS 2 a b"])
@pytest.mark.parametrize("entries", [512, 0])
def test_the_key_goes_with_its_last_field(anax2, entries, call):
    with thresholds([anax2], entries, 64), anax2.connect() as c, anax2.connect() as other:
        c.cmd("HSET", "h", "a", "1", "b", "2")
        c.cmd("HEXPIRE", "h", "100", "FIELDS", "1", "a")
        c.ok("WATCH", "h")
        assert not isinstance(other.cmd(*call.split(" ")), Error)
        assert c.cmd("EXISTS", "h") == 0 and c.cmd("TYPE", "h") == b"none" and c.cmd("DBSIZE") == 0
        c.ok("MULTI")
        assert not isinstance(c.cmd("EXEC"), list), "WATCH has not seen it"
        c.ok("SET", "h", "string")


@pytest.mark.parametrize("call,changes", [
    ("HEXPIRE h 100 FIELDS 1 a", True), ("HEXPIRE h 100 FIELDS 1 nosuch", False),
    ("HEXPIRE h 100 XX FIELDS 1 a", False), ("HPERSIST h FIELDS 1 a", False), ("HPERSIST h FIELDS 2 a t", True),
    ("HGETEX h FIELDS 1 a", False), ("HGETEX h PERSIST FIELDS 1 a", False), ("HGETEX h PERSIST FIELDS 1 t", True),
    ("HGETEX h EX 10 FIELDS 1 a", True), ("HGETDEL h FIELDS 1 nosuch", False), ("HSETEX h FNX FIELDS 1 a 1", False),
    ("HSETEX h FIELDS 1 a 1", True), ("HTTL h FIELDS 1 t", False), ("FIELDTTL h t", False),
    ("HSETEX h EXAT 1 FIELDS 1 nosuch 1", False), ("FIELDEXPIRE h 10 nosuch", False), ("FIELDEXPIRE h 10 a", True),
    ("HEXPIRE h 0 FIELDS 1 a", True), ("HGETEX h PX 0 FIELDS 1 a", True), ("HSETEX h PX 0 FIELDS 1 a 1", True),
    ("HGETDEL h FIELDS 1 a", True), ("HEXPIRE h 0 XX FIELDS 1 a", False)])
def test_watch_sees_changes_only(anax2, call, changes):
    with anax2.connect() as c, anax2.connect() as other:
        c.cmd("HSET", "h", "a", "1", "t", "2")
        c.cmd("HEXPIRE", "h", "100", "FIELDS", "1", "t")
        c.ok("WATCH", "h")
        assert not isinstance(other.cmd(*call.split(" ")), Error)
        c.ok("MULTI")
        assert isinstance(c.cmd("EXEC"), list) != changes, call


# --- sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [["1", "2", "30000"], ["a", "b", "2"], [str(i) for i in range(2000)],
                                     ["m%d" % i for i in range(600)]])
def test_members_of_sets(anax2, members):
    first, second, last = members[0], members[1], members[-1]
    with anax2.connect() as c:
        c.cmd("SADD", "s", *members)
        assert c.cmd("FIELDTTL", "s", first) == -1 and c.cmd("FIELDTTL", "s", "nosuch") == -3
        assert c.cmd("FIELDEXPIRE", "s", "100", "nosuch") == [-2]
        assert c.cmd("FIELDEXPIRE", "s", "100", first, "nosuch", last) == [1, -2, 1]
        assert c.cmd("FIELDTTL", "s", first) in range(90, 101) and c.cmd("FIELDTTL", "s", second) == -1
        assert sorted(c.cmd("SMEMBERS", "s")) == sorted(m.encode() for m in members)
        assert c.cmd("FIELDEXPIRE", "s", "0", second, second) == [2, -2]
        assert c.cmd("SISMEMBER", "s", second) == 0 and c.cmd("SCARD", "s") == len(members) - 1
        left = [m for m in members if m != second]
        assert c.cmd("FIELDEXPIRE", "s", "0", *left) == [2] * len(left)
        assert c.cmd("EXISTS", "s") == 0
