"""DUMP and RESTORE: what one server says of a key another one makes the same key of, in both directions, whatever the bytes are."""

import random

import pytest

import payloads
import values
from debug_pair import both, ours, peer
from harness import Server, leak_checked

LONG_ELEMENTS_USUAL = "2048"


@pytest.fixture
def a(both):
    return both[0]


def digests(conn, keys):
    return dict(zip(keys, conn.cmd("DEBUG", "DIGEST-VALUE", *keys)))


def carry(source, target, keys, *options):
    """Every key from one server to the other by DUMP and RESTORE."""
    dumps = source.pipeline([["DUMP", key] for key in keys])
    for key, dump in zip(keys, dumps):
        reply = target.cmd("RESTORE", key, "0", dump.value, *options)
        assert reply == b"OK", (key, reply)


@pytest.mark.parametrize("long_elements", ["1", LONG_ELEMENTS_USUAL])
def test_both_ways(both, long_elements):
    a, b = both
    a.ok("DEBUG", "LONG-ELEMENTS", long_elements)
    commands = list(values.plain())
    keys = values.fill(b, commands)
    want = digests(b, keys)
    carry(b, a, keys)
    assert digests(a, keys) == want
    b.ok("FLUSHALL")
    carry(a, b, keys)
    assert digests(b, keys) == want
    a.ok("DEBUG", "LONG-ELEMENTS", LONG_ELEMENTS_USUAL)


def test_what_commands_make(both):
    """A value that was restored is kept as commands would keep it."""
    a, b = both
    keys = values.fill(a, values.plain())
    encodings = [a.cmd("OBJECT", "ENCODING", key) for key in keys]
    used = {key: a.cmd("MEMORY", "USAGE", key) for key in keys}
    want = digests(a, keys)
    carry(a, a, keys, "REPLACE")
    assert digests(a, keys) == want
    for key, before in zip(keys, encodings):
        now = a.cmd("OBJECT", "ENCODING", key)
        # What has outgrown its encoding and shrunk again may be small again.
        assert now == before or now in (b"listpack", b"embstr", b"int"), (key, before, now)
        assert a.cmd("MEMORY", "USAGE", key) <= 1.3 * used[key] + 200, key


@pytest.mark.parametrize("config", [
    {"hash-max-listpack-entries": 4, "set-max-intset-entries": 4,
     "zset-max-listpack-entries": 4, "list-max-listpack-size": 4},
    {"hash-max-listpack-value": 100000, "zset-max-listpack-value": 100000, "hash-max-listpack-entries": 100000,
     "set-max-intset-entries": 100000, "zset-max-listpack-entries": 100000, "list-max-listpack-size": -5},
])
def test_other_limits_there(both, config):
    """Encodings of the source's limits become those of the target's."""
    a, b = both
    keys = values.fill(b, values.plain())
    want = digests(b, keys)
    before = {}
    for name, value in config.items():
        before[name] = b.cmd("CONFIG", "GET", name)[1]
        b.ok("CONFIG", "SET", name, value)
    b.ok("FLUSHALL")
    values.fill(b, values.plain())
    carry(b, a, keys)
    for name, value in before.items():
        b.ok("CONFIG", "SET", name, value)
    assert digests(a, keys) == want
    assert a.cmd("OBJECT", "ENCODING", "hash:ints") == b"listpack"
    assert a.cmd("OBJECT", "ENCODING", "hash:many") == b"hashtable"


def test_without_compression(both):
    a, b = both
    keys = values.fill(a, values.plain())
    want = digests(a, keys)
    a.ok("CONFIG", "SET", "rdbcompression", "no")
    plain = sum(len(a.cmd("DUMP", key)) for key in keys)
    carry(a, b, keys)
    a.ok("CONFIG", "SET", "rdbcompression", "yes")
    assert digests(b, keys) == want
    assert sum(len(a.cmd("DUMP", key)) for key in keys) < 0.7 * plain


def test_bytes_of_a_string(both):
    """Small values are the same bytes as Redis's."""
    a, b = both
    for value in ("", "a", "12", "-129", "70000", "x" * 20, "9223372036854775807", "007"):
        for c in both:
            c.ok("SET", "k", value)
        assert a.cmd("DUMP", "k") == b.cmd("DUMP", "k"), value
    assert a.cmd("DUMP", "none") is None


def test_version_is_the_lowest(a):
    a.cmd("HSET", "h", "f", "v")
    assert payloads.version(a.cmd("DUMP", "h")) == 10
    a.cmd("HEXPIRE", "h", "1000", "FIELDS", "1", "f")
    assert payloads.version(a.cmd("DUMP", "h")) == 12
    a.cmd("HPERSIST", "h", "FIELDS", "1", "f")
    assert payloads.version(a.cmd("DUMP", "h")) == 10


@pytest.mark.parametrize("fields", [5, 3000])
def test_fields_that_expire(a, fields):
    pairs = [x for i in range(fields) for x in ("f%d" % i, "v%d" % i)]
    a.cmd("HSET", "h", *pairs)
    a.cmd("HPEXPIREAT", "h", "9999999999999", "FIELDS", "2", "f1", "f3")
    a.cmd("HPEXPIREAT", "h", "9999999999000", "FIELDS", "1", "f0")
    want = digests(a, ["h"])["h"]
    dump = a.cmd("DUMP", "h")
    assert a.cmd("RESTORE", "i", "0", dump) == b"OK"
    assert digests(a, ["i"])["i"] == want
    names = ["f0", "f1", "f2", "f3", "f4"]
    assert a.cmd("HPEXPIRETIME", "i", "FIELDS", "5", *names) == \
        [9999999999000, 9999999999999, -1, 9999999999999, -1]


def test_fields_that_are_dead_by_then(a):
    a.cmd("HSET", "h", "f", "v", "g", "w")
    a.cmd("HPEXPIRE", "h", "30", "FIELDS", "1", "f")
    some = a.cmd("DUMP", "h")
    a.cmd("HPEXPIRE", "h", "30", "FIELDS", "1", "g")
    all_of_them = a.cmd("DUMP", "h")
    while a.cmd("EXISTS", "h") and a.cmd("HLEN", "h"):
        pass
    assert a.cmd("RESTORE", "some", "0", some) == b"OK"
    assert a.cmd("HGETALL", "some") == [b"g", b"w"]
    a.ok("SET", "none", "v")
    assert a.cmd("RESTORE", "none", "0", all_of_them, "REPLACE") == b"OK"
    assert a.cmd("EXISTS", "none") == 0


@pytest.mark.parametrize("members", [[b"a", b"b", b"c"], [b"1", b"2", b"3"], [b"%d" % i for i in range(3000)],
                                     [b"member%d" % i for i in range(3000)]], ids=["texts", "ints", "bitmaps", "table"])
@pytest.mark.parametrize("long_elements", ["1", LONG_ELEMENTS_USUAL])
def test_members_that_expire(both, members, long_elements):
    """Go along behind the value, where Redis does not look."""
    a, b = both
    a.ok("DEBUG", "LONG-ELEMENTS", long_elements)
    a.cmd("SADD", "s", *members)
    a.cmd("SADDEX", "s", "100000", members[0], "new")
    want = digests(a, ["s"])["s"]
    dump = a.cmd("DUMP", "s")
    assert payloads.version(dump) == 10
    b.ok("RESTORE", "s", "0", dump)
    assert sorted(b.cmd("SMEMBERS", "s")) == sorted(members + [b"new"])
    a.ok("RESTORE", "again", "0", dump)
    assert sorted(a.cmd("SMEMBERS", "again")) == sorted(members + [b"new"])
    assert 90000 < a.cmd("FIELDTTL", "again", "new") <= 100000
    assert [a.cmd("FIELDTTL", "again", m) > 0 for m in members[:2]] == [True, False]
    assert digests(a, ["again"])["again"] == want
    at = dump.index(b"\3new", dump.index(b"anax-member-ttls")) + 4  # its time: it is dead by now
    a.ok("RESTORE", "dead", "0", payloads.seal(dump[:at] + b"\1" + bytes(7) + dump[at + 8 : -10], 10))
    assert sorted(a.cmd("SMEMBERS", "dead")) == sorted(members)
    body = dump[:-10]
    for wrong in (body[:-1], body[:-9], body + b"\0", body.replace(b"anax-member", b"anax-nebmer")[:-3]):
        survive(a, payloads.seal(wrong, 10))
    assert a.cmd("RESTORE", "wrong", "0", payloads.seal(body + b"\0", 10)) == b"ERR Bad data format"
    a.ok("DEBUG", "LONG-ELEMENTS", LONG_ELEMENTS_USUAL)


# --- RESTORE's options -----------------------------------------------------------------------------


def test_errors(both):
    a, b = both
    for c in both:
        c.ok("SET", "there", "v")
    dump = a.cmd("DUMP", "there")
    bad_version = payloads.seal(dump[:-10], 11111)
    bad_crc = dump[:-1] + bytes([dump[-1] ^ 1])
    nonsense = payloads.seal(b"\xf0abc", 10)
    for args in ([], ["k"], ["k", "0"], ["k", "0", dump, "NO"], ["k", "0", dump, "IDLETIME"], ["k", "0", dump, "FREQ"],
                 ["k", "x", dump], ["k", "-1", dump], ["k", "0", ""], ["k", "0", "abc"], ["k", "0", bad_version],
                 ["k", "0", bad_crc], ["k", "0", nonsense], ["there", "0", dump], ["there", "x", "abc"],
                 ["there", "0", dump, "IDLETIME", "-1"], ["k", "0", dump, "IDLETIME", "x"],
                 ["k", "0", dump, "FREQ", "256"], ["k", "0", dump, "FREQ", "-1"], ["k", "0", dump, "FREQ", "1.5"],
                 ["k", "0", dump, "IDLETIME", "1", "FREQ", "1"], ["k", "0", dump, "FREQ", "1", "IDLETIME", "1"],
                 ["k", "0", dump, "FREQ", "1", "FREQ", "2", "IDLETIME"], ["k", "0", dump, "REPLACE", "ABSTTL", "IDLETIME", "x"],
                 ["there", "0", bad_crc, "REPLACE"], ["k", "9" * 30, dump], ["k", "0", payloads.seal(b"", 10)]):
        assert a.cmd("RESTORE", *args) == b.cmd("RESTORE", *args), args
    for c in both:
        assert c.cmd("GET", "there") == b"v" and c.cmd("EXISTS", "k") == 0


def test_times(both):
    a, b = both
    for c in both:
        c.ok("SET", "k", "v")
        dump = c.cmd("DUMP", "k")
        for key, ttl, *options in (("rel", "100000"), ("abs", "9999999999999", "ABSTTL"), ("none", "0", "ABSTTL"),
                                   ("past", "1000", "ABSTTL"), ("k", "1", "ABSTTL", "REPLACE")):
            c.ok("RESTORE", key, ttl, dump, *options)
        assert 90000 < c.cmd("PTTL", "rel") <= 100000
        assert c.cmd("PEXPIRETIME", "abs") == 9999999999999
        assert c.cmd("TTL", "none") == -1
        assert c.cmd("EXISTS", "past", "k") == 0
        assert c.cmd("DBSIZE") == 3


def test_replace_forgets_the_old(both):
    for c in both:
        c.cmd("RPUSH", "list", "a", "b")
        dump = c.cmd("DUMP", "list")
        c.cmd("SET", "k", "v", "EX", "1000")
        c.ok("RESTORE", "k", "0", dump, "REPLACE")
        assert c.cmd("LRANGE", "k", "0", "-1") == [b"a", b"b"]
        assert c.cmd("TTL", "k") == -1


def test_idle_time_and_frequency(both):
    for c in both:
        before = c.cmd("CONFIG", "GET", "maxmemory-policy")[1]
        c.ok("SET", "k", "v")
        dump = c.cmd("DUMP", "k")
        c.ok("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        c.ok("RESTORE", "idle", "0", dump, "IDLETIME", "1000")
        c.ok("RESTORE", "used", "0", dump, "FREQ", "77")
        assert 1000 <= c.cmd("OBJECT", "IDLETIME", "idle") < 1100
        assert c.cmd("OBJECT", "IDLETIME", "used") < 100
        c.ok("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        c.ok("RESTORE", "used", "0", dump, "FREQ", "77", "REPLACE")
        c.ok("RESTORE", "idle", "0", dump, "IDLETIME", "1000", "REPLACE")
        assert c.cmd("OBJECT", "FREQ", "used") == 77
        assert 0 < c.cmd("OBJECT", "FREQ", "idle") <= 5
        c.ok("CONFIG", "SET", "maxmemory-policy", before)


def test_watch_sees_it(both):
    for c in both:
        c.ok("SET", "k", "v")
        dump = c.cmd("DUMP", "k")
        for key, options, seen in (("new", [], True), ("k", ["REPLACE"], True), ("k", [], False), ("other", ["BAD"], False)):
            c.ok("WATCH", "new", "k", "other")
            c.cmd("RESTORE", key, "0", dump, *options)
            c.ok("MULTI")
            c.cmd("PING")
            assert (c.cmd("EXEC") != [b"PONG"]) == seen, (key, options)


# --- what others wrote -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 6, 9, 10, 11, 12, 80])
def test_every_version(a, version):
    assert a.cmd("RESTORE", "k", "0", payloads.seal(b"\0\3abc", version)) == b"OK"
    assert a.cmd("GET", "k") == b"abc"


@pytest.mark.parametrize("name", sorted(payloads.OLD))
def test_old_encodings(both, name):
    """As redis-server 7.0 reads them."""
    a, b = both
    dump = payloads.seal(payloads.OLD[name], 6)
    for c in both:
        c.ok("RESTORE", "k", "0", dump)
    assert digests(a, ["k"]) == digests(b, ["k"])


@pytest.mark.parametrize("name", sorted(payloads.NEW))
def test_newer_encodings(a, name):
    """Of Redis 7.2 to 8 and Valkey 9, which 7.0 does not read."""
    version, body, questions = payloads.NEW[name]
    a.ok("RESTORE", "k", "0", payloads.seal(body, version))
    for command, want in questions:
        got = a.cmd(*command)
        assert (sorted(got) if isinstance(got, list) and command[0] == "SMEMBERS" else got) == want, command
    dump = a.cmd("DUMP", "k")
    a.ok("RESTORE", "again", "0", dump)
    assert digests(a, ["again"])["again"] == digests(a, ["k"])["k"]


def test_numbers_that_mean_other_things(a):
    """What 22 is depends on who wrote it."""
    body = payloads.NEW["valkey-hash"][1]
    assert a.cmd("RESTORE", "k", "0", payloads.seal(body, 12)) == b"ERR Bad data format"
    assert a.cmd("RESTORE", "k", "0", payloads.seal(payloads.NEW["hash-metadata"][1], 80)) == b"ERR Bad data format"


def test_streams_come_and_go(both):
    a, b = both
    for i in range(300):
        b.cmd("XADD", "s", "%d-%d" % (i // 3 + 1, i % 3), "name", "v%d" % i, *(["other", i] if i % 7 == 0 else []))
    b.cmd("XDEL", "s", "5-1", "50-2")
    b.cmd("XGROUP", "CREATE", "s", "group", "0")
    b.cmd("XREADGROUP", "GROUP", "group", "me", "COUNT", "20", "STREAMS", "s", ">")
    dump = b.cmd("DUMP", "s")
    a.ok("RESTORE", "s", "0", dump)
    assert a.cmd("TYPE", "s") == b"stream"
    want = digests(b, ["s"])
    assert digests(a, ["s"]) == want
    again = a.cmd("DUMP", "s")
    b.ok("RESTORE", "s", "0", again, "REPLACE")
    assert digests(b, ["s"]) == want
    assert b.cmd("XPENDING", "s", "group")[0] == 20


# --- bytes that are no payload ---------------------------------------------------------------------

SMALL = [["SET", "k", "hello"], ["SET", "k", "1234"], ["SET", "k", "a" * 60], ["RPUSH", "k", "a", "1", "bb", "70000", "c" * 70],
         ["SADD", "k", "1", "2", "3"], ["SADD", "k", "a", "b"], ["HSET", "k", "f", "v", "g", "1"],
         ["ZADD", "k", "1", "a", "2.5", "b", "inf", "c"], ["XADD", "k", "1-1", "f", "v"],
         ["HSET", "k", "f" * 70, "v", "g", "w"], ["ZADD", "k", "1", "m" * 70, "2", "n"], ["SADD", "k", "1", "90000", "x" * 70]]


def survive(a, payload):
    """The server takes it or refuses it; what it takes is a value that it can tell, copy and dump."""
    reply = a.cmd("RESTORE", "new", "0", payload, "REPLACE")
    if reply != b"OK":
        assert reply in (b"ERR Bad data format", b"ERR DUMP payload version or checksum are wrong"), (payload, reply)
        return False
    if a.cmd("EXISTS", "new"):
        dump = a.cmd("DUMP", "new")
        digest = digests(a, ["new"])["new"]
        assert a.cmd("RESTORE", "again", "0", dump, "REPLACE") == b"OK", payload
        assert digests(a, ["again"])["again"] == digest, payload
        assert a.cmd("COPY", "new", "copy", "REPLACE") == 1
        assert digests(a, ["copy"])["copy"] == digest, payload
    return True


@pytest.fixture(scope="module")
def alone():
    """One shard: the others decode alike."""
    with Server("anax", options={"enable-debug-command": "yes"}) as server, server.connect() as conn:
        yield conn


@pytest.mark.parametrize("command", SMALL, ids=lambda c: "%s-%d" % (c[0], len("".join(c))))
def test_any_byte_wrong(alone, peer, command):
    a = alone
    with peer.connect() as b:
        b.ok("FLUSHALL")
        b.cmd(*command)
        dump = b.cmd("DUMP", "k")
    body, version = dump[:-10], payloads.version(dump)
    rng = random.Random(len(dump))
    taken = 0
    for i in range(len(body)):
        for bit in range(8):
            wrong = bytearray(body)
            wrong[i] ^= 1 << bit
            if bit == 0:
                assert not survive(a, bytes(wrong) + dump[-10:])
            taken += survive(a, payloads.seal(bytes(wrong), version))
        survive(a, payloads.seal(body[:i], version))
        survive(a, payloads.seal(body[:i] + rng.randbytes(4) + body[i:], version))
    assert taken < 8 * len(body)
    assert survive(a, dump)


@pytest.fixture(scope="module")
def counted():
    def warm_up(server):
        with server.connect() as conn:
            churn(conn, ["a", "b"], [conn.cmd("DUMP", key) for key in values.fill(conn, [["SET", "a", "v"], ["SET", "b", "v"]])])

    with leak_checked([(1, "uring"), (3, "epoll")], warm_up, {"enable-debug-command": "local"}) as servers:
        yield servers


def churn(conn, keys, dumps):
    for key, dump in zip(keys, dumps):
        survive(conn, dump)
        survive(conn, payloads.seal(dump[:-11], 10))
        conn.ok("RESTORE", key, "0", dump, "REPLACE")


@pytest.mark.parametrize("shards, io", [(1, "uring"), (3, "epoll")])
@pytest.mark.parametrize("long_elements", ["1", LONG_ELEMENTS_USUAL])
def test_no_memory_is_lost(counted, peer, shards, io, long_elements):
    """Not by what is refused, nor by what is made: to the byte (leak_checked looks when all are done)."""
    with peer.connect() as b, counted[shards, io].connect() as conn:
        b.ok("FLUSHALL")
        keys = values.fill(b, values.plain())
        conn.ok("DEBUG", "LONG-ELEMENTS", long_elements)
        churn(conn, keys, [b.cmd("DUMP", key) for key in keys])
        conn.cmd("SADDEX", "s", "100000", *["m%d" % i for i in range(500)])
        churn(conn, ["s"], [conn.cmd("DUMP", "s")])
        assert conn.cmd("DBSIZE") >= len(keys)


def test_commands_behind_a_long_one(both):
    """A pipeline goes on in its order while values are made beside the shard."""
    a, _ = both
    a.ok("DEBUG", "LONG-ELEMENTS", "1")
    a.cmd("RPUSH", "k", *range(30000))
    dump = a.cmd("DUMP", "k")
    replies = [r.value for r in a.pipeline([["RESTORE", "n", "0", dump], ["LLEN", "n"], ["DEL", "n"], ["EXISTS", "n"],
                                            ["RESTORE", "n", "0", dump], ["RESTORE", "n", "0", dump], ["LLEN", "n"]])]
    assert replies == [b"OK", 30000, 1, 0, b"OK", b"BUSYKEY Target key name already exists.", 30000]
    a.ok("MULTI")
    for command in (["DEL", "n"], ["RESTORE", "n", "0", dump], ["DUMP", "n"], ["LLEN", "n"]):
        assert a.cmd(*command) == b"QUEUED"
    one, ok, again, length = a.cmd("EXEC")
    assert (one, ok, length) == (1, b"OK", 30000) and again == dump
    a.ok("DEBUG", "LONG-ELEMENTS", LONG_ELEMENTS_USUAL)
