"""Lists, hashes, sets and sorted sets as values: what every command on keys does with them, beside redis-server
7.0; and huge ones, which go in slices: their keys at once, their memory soon."""

import random
import time

import pytest

from harness import SLOW, Error, Server, encode, wait_until

SHARDS = [1, 2, 3]
HUGE = 100_000 if SLOW else 200_000
MEMORY_SLACK_BYTES = 200_000  # what connections keep of buffers for a second or two
TYPES = ["list", "hash", "set", "ints", "zset"]


@pytest.fixture(params=SHARDS)
def server(request, pool):
    server = pool.get("anax", request.param)
    server.cmd("FLUSHALL", "SYNC")
    yield server
    assert server.alive(), server.log()


def write(kind, key, n, salt=""):
    """Commands that make a value of n elements."""
    step = 500
    for first in range(0, n, step):
        ids = range(first, min(first + step, n))
        names = ["m%d%s" % (i, salt) for i in ids]
        if kind == "list":
            yield ["RPUSH", key] + names
        elif kind == "hash":
            yield ["HSET", key] + [w for name in names for w in (name, "v" + name)]
        elif kind == "set":
            yield ["SADD", key] + names
        elif kind == "ints":
            yield ["SADD", key] + [str(i * 7 + len(salt)) for i in ids]
        elif kind == "zset":
            yield ["ZADD", key] + [w for i, name in zip(ids, names) for w in (str(i % 1000), name)]
        else:
            assert kind == "string"
            yield ["APPEND", key, "".join(names)]


def fill(c, kind, key, n, salt=""):
    """One command at a time, so that buffers stay small."""
    for call in write(kind, key, n, salt):
        reply = c.cmd(*call)
        assert not isinstance(reply, Error), reply


READERS = {
    b"list": lambda c, key: c.cmd("LRANGE", key, "0", "-1"),
    b"hash": lambda c, key: sorted(pairs(c.cmd("HGETALL", key))),
    b"set": lambda c, key: sorted(c.cmd("SMEMBERS", key)),
    b"zset": lambda c, key: c.cmd("ZRANGE", key, "0", "-1", "WITHSCORES"),
    b"string": lambda c, key: c.cmd("GET", key),
    b"none": lambda c, key: None,
}


def pairs(flat):
    return list(zip(flat[::2], flat[1::2]))


def value(c, key):
    kind = c.cmd("TYPE", key)
    return bytes(kind), READERS[bytes(kind)](c, key)


# --- commands for strings, on what is none --------------------------------------------------------------

STRING_CALLS = [line.split() for line in """
    APPEND k x | DECR k | DECRBY k 3 | GET k | GETDEL k | GETEX k EX 100 | GETRANGE k 0 3 | GETSET k v | INCR k
    INCRBY k 2 | INCRBYFLOAT k 1.5 | LCS k s | LCS s k | LCS k k | MGET k | MGET s k k2 | MSETNX k v k2 v
    MSETNX k3 v k v | SET k v NX | SET k v GET | SET k v XX GET | SETNX k v | SETRANGE k 2 xx | SETRANGE k 0 | STRLEN k
    SUBSTR k 0 1 | BITCOUNT k | BITCOUNT k 0 -1 BIT | BITFIELD k GET u8 0 | BITFIELD k SET u8 0 1
    BITFIELD k INCRBY u4 1 1 | BITFIELD_RO k GET u8 0 | BITOP AND d k | BITOP NOT d k | BITOP OR d s k | BITOP XOR d k s
    BITPOS k 1 | BITPOS k 0 0 -1 | GETBIT k 7 | SETBIT k 7 1
    PSETEX k2 1000000 v | SETEX k2 1000 v | MSET k2 v | SET k2 v KEEPTTL | SET k v XX KEEPTTL | SET k v
    SETEX k 1000 v | PSETEX k 1000000 v | MSET k v | BITOP OR k s s | BITOP AND k none none
    """.replace("|", "\n").splitlines() if line.strip()]
NOT_IN_REDIS_7 = {"DELIFEQ", "MSETEX"}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("n", [3, 700])
def test_string_commands_refuse_other_types(server, redis, kind, n):
    """Each on a fresh value: the same reply, and the same left behind."""
    with server.connect() as ours, redis.connect() as theirs:
        for call in STRING_CALLS:
            seen = []
            for c in ours, theirs:
                c.ok("FLUSHALL", "SYNC")
                c.ok("SET", "s", "text")
                fill(c, kind, "k", n)
                reply = c.cmd(*call)
                left = [value(c, key) for key in ("k", "k2", "k3", "s", "d")]
                seen.append((type(reply), reply, left, c.cmd("TTL", "k") > 0, c.cmd("DBSIZE")))
            assert seen[0] == seen[1], call


def test_no_string_command_is_left_out(server):
    with server.connect() as c:
        known = {name.decode().upper() for group in ("string", "bitmap")
                 for name in c.cmd("COMMAND", "LIST", "FILTERBY", "ACLCAT", group)}
        assert "GET" in known and "SETBIT" in known
        # The category @string and @bitmap have commands that make something else of their keys, of other families.
        assert known - {call[0] for call in STRING_CALLS} <= NOT_IN_REDIS_7


def test_what_redis_7_lacks_refuses_too(server):
    with server.connect() as c:
        names = {name.upper() for name in c.cmd("COMMAND", "LIST")}
        for kind in TYPES:
            fill(c, kind, kind, 3)
            for name in NOT_IN_REDIS_7 & {n.decode() for n in names}:
                call = {"DELIFEQ": ["DELIFEQ", kind, "v"], "MSETEX": ["MSETEX", "2", kind, "v", "x", "v", "NX"]}[name]
                before = value(c, kind)
                reply = c.cmd(*call)
                assert (isinstance(reply, Error) and reply.startswith(b"WRONGTYPE")) or reply == 0, (call, reply)
                assert value(c, kind) == before


# --- commands for keys, on all types --------------------------------------------------------------------

KEYS = ["k%d" % i for i in range(9)]
ENCODINGS_OF_REDIS_7 = {"hash", "ints", "zset"}  # sets and lists got listpacks later


def random_call(r):
    a, b = r.choice(KEYS), r.choice(KEYS)
    return r.choice([
        lambda: ["RENAME", a, b], lambda: ["RENAMENX", a, b], lambda: ["COPY", a, b],
        lambda: ["COPY", a, b, "REPLACE"], lambda: ["COPY", a, b, "DB", "1"],
        lambda: ["COPY", a, b, "DB", "1", "REPLACE"], lambda: ["MOVE", a, "1"],
        lambda: ["DEL", a, b], lambda: ["UNLINK", a], lambda: ["EXISTS", a, b, a], lambda: ["TYPE", a],
        lambda: ["EXPIRE", a, "1000"], lambda: ["PERSIST", a], lambda: ["TTL", a], lambda: ["TOUCH", a, b],
        lambda: ["OBJECT", "REFCOUNT", a], lambda: ["SET", a, "some text"], lambda: ["DBSIZE"],
        lambda: ["SET", a, "text", "XX", "KEEPTTL"], lambda: ["SWAPDB", "0", "1"],
    ])()


@pytest.mark.parametrize("seed", range(4))
def test_keys_of_all_types_are_moved_and_copied_like_in_redis(server, redis, seed):
    r = random.Random(seed)
    with server.connect() as ours, redis.connect() as theirs:
        for c in ours, theirs:
            c.ok("FLUSHALL", "SYNC")
        for step in range(400):
            if r.random() < 0.35:
                calls = list(write(r.choice(TYPES + ["string"]), r.choice(KEYS), r.choice([1, 3, 40, 600]),
                                   "-%d" % step))
            else:
                calls = [random_call(r)]
            for call in calls:
                replies = [c.cmd(*call) for c in (ours, theirs)]
                if call[0] == "TTL" and replies[1] > 0:
                    replies = [reply // 100 for reply in replies]
                assert replies[0] == replies[1], (step, call)
            if step % 40 == 39:
                for db in "1", "0":
                    for c in ours, theirs:
                        c.ok("SELECT", db)
                    for key in KEYS:
                        assert value(ours, key) == value(theirs, key), (step, db, key)


def test_types_and_encodings(server, redis):
    with server.connect() as ours, redis.connect() as theirs:
        theirs.ok("FLUSHALL")
        for n in 3, 700:
            for kind in TYPES:
                for c in ours, theirs:
                    c.cmd("DEL", kind)
                    fill(c, kind, kind, n)
                    c.cmd("COPY", kind, "copy", "REPLACE")
                asked = [["TYPE", kind], ["TYPE", "copy"], ["OBJECT", "REFCOUNT", kind]]
                if kind in ENCODINGS_OF_REDIS_7:
                    asked += [["OBJECT", "ENCODING", kind], ["OBJECT", "ENCODING", "copy"]]
                for call in asked:
                    assert ours.cmd(*call) == theirs.cmd(*call), (call, n)
                assert ours.cmd("OBJECT", "ENCODING", kind) == ours.cmd("OBJECT", "ENCODING", "copy")
        for kind in "list", "hash", "set", "zset", "string", "stream":
            found = [sorted(scan_all(c, kind)) for c in (ours, theirs)]
            assert found[0] == found[1], kind


def scan_all(c, kind):
    cursor = b"0"
    while True:
        cursor, keys = c.cmd("SCAN", cursor, "TYPE", kind)
        yield from keys
        if cursor == b"0":
            return


FORMS = {("list", 3): b"listpack", ("list", 3000): b"chunks", ("hash", 3): b"listpack", ("hash", 3000): b"table",
         ("set", 3): b"listpack", ("set", 3000): b"table", ("ints", 3): b"intset", ("ints", 3000): b"roaring",
         ("zset", 3): b"listpack", ("zset", 3000): b"tree"}


def test_debug_object_tells_how_each_is_kept():
    with Server("anax", shards=2, options={"enable-debug-command": "yes"}) as server, server.connect() as c:
        for (kind, n), form in FORMS.items():
            fill(c, kind, "k", n)
            words = dict(w.split(b":", 1) for w in c.cmd("DEBUG", "OBJECT", "k")[len("Value "):].split())
            assert words[b"form"] == form, kind
            assert int(words[b"elements"]) == n
            assert words[b"encoding"] == c.cmd("OBJECT", "ENCODING", "k")
            assert int(words[b"serializedlength"]) >= n
            assert words[b"inner_expire_ms"] == b"0"
            c.cmd("DEL", "k")
        c.cmd("HSET", "k", "f", "v", "g", "w")
        c.cmd("HPEXPIREAT", "k", "60000000000000", "FIELDS", "1", "f")
        words = dict(w.split(b":", 1) for w in c.cmd("DEBUG", "OBJECT", "k")[len("Value "):].split())
        assert words[b"form"] == b"listpack-ttl"
        assert words[b"inner_expire_ms"] == b"60000000000000"


def in_time(c, make):
    """Calls make(ms), which has things expire then, on an empty server; again with more time where it took too long."""
    for delay_ms in 700, 3000, 12_000, 48_000:
        c.ok("FLUSHALL", "SYNC")
        c.ok("CONFIG", "RESETSTAT")
        at = int(time.time() * 1000) + delay_ms
        make(at)
        if time.time() * 1000 < at - 100:
            return
    raise AssertionError("the machine is too slow for anything")


# --- times inside values --------------------------------------------------------------------------------


def field_times(c, key, n):
    return c.cmd("HPEXPIRETIME", key, "FIELDS", str(n), *["m%d" % i for i in range(n)])


@pytest.mark.parametrize("n", [3, 700])
def test_times_of_fields_go_along(server, n):
    """RENAME, COPY and MOVE between all pairs of shards; and afterwards the fields expire where they are."""
    at = 60_000_000_000_000
    with server.connect() as c:
        fill(c, "hash", "k0", n)
        c.cmd("HPEXPIREAT", "k0", str(at), "FIELDS", "1", "m0")
        c.cmd("HPEXPIREAT", "k0", str(at + 1), "FIELDS", "1", "m%d" % (n - 1))
        want = [at] + [-1] * (n - 2) + [at + 1]
        assert field_times(c, "k0", n) == want
        fields = value(c, "k0")
        for i in range(12):
            c.ok("RENAME", "k%d" % i, "k%d" % (i + 1))
            assert c.cmd("COPY", "k%d" % (i + 1), "copy%d" % i) == 1
            assert field_times(c, "copy%d" % i, n) == want
            assert value(c, "copy%d" % i) == fields
        assert c.cmd("MOVE", "k12", "3") == 1
        c.ok("SELECT", "3")
        assert field_times(c, "k12", n) == want
        assert value(c, "k12") == fields
        c.ok("FLUSHALL", "SYNC")


@pytest.mark.parametrize("n", [3, 700])
def test_what_went_along_expires_unseen(server, n):
    """Nobody looks at them: only the sweep can take them out."""
    names = ["m%d" % i for i in range(n)]
    with server.connect() as c:
        def make(at):
            fill(c, "hash", "k", n)
            for first in range(0, n, 100):
                some = names[first:first + 100]
                c.cmd("HPEXPIREAT", "k", str(at), "FIELDS", str(len(some)), *some)
            for i in range(8):
                assert c.cmd("COPY", "k", "copy%d" % i) == 1
                c.ok("RENAME", "copy%d" % i, "renamed%d" % i)
                assert c.cmd("MOVE", "renamed%d" % i, str(1 + i % 3)) == 1
            c.ok("SWAPDB", "1", "4")
            fill(c, "hash", "stays", 2)
            c.cmd("HPEXPIREAT", "stays", str(at), "FIELDS", "1", "m0")

        in_time(c, make)
        wait_until(lambda: int(c.info("stats")["expired_subkeys"]) == 9 * n + 1, "all fields have expired")
        assert c.cmd("DBSIZE") == 1
        assert c.cmd("HGETALL", "stays") == [b"m1", b"vm1"]
        for db in "2", "3", "4":
            c.ok("SELECT", db)
            assert c.cmd("DBSIZE") == 0
        assert int(c.info("stats")["expired_keys"]) == 0


def test_members_of_sets_expire_unseen(server):
    with server.connect() as c:
        def make(at):
            for key, names in (("few", ["a", "b"]), ("many", ["m%d" % i for i in range(600)])):
                seconds = max(1, int(at / 1000 - time.time()))
                assert c.cmd("SADDEX", key, str(seconds), *names) == len(names)
                assert c.cmd("COPY", key, key + "-copy") == 1
                c.ok("RENAME", key + "-copy", key + "-moved")
            c.cmd("SADD", "few", "stays")

        in_time(c, make)
        wait_until(lambda: int(c.info("stats")["expired_subkeys"]) == 2 * 602, "all members have expired")
        assert c.cmd("DBSIZE") == 1
        assert c.cmd("SMEMBERS", "few") == [b"stays"]


# --- huge values ----------------------------------------------------------------------------------------

# How a key goes, or what it held; and how many keys of db 0 are left besides the original.
WAYS = {
    "DEL": ([["DEL", "k"]], 0),
    "UNLINK": ([["UNLINK", "k"]], 0),
    "SET": ([["SET", "k", "v"]], 1),
    "SET EX": ([["SET", "k", "a longer text", "EX", "1000"]], 1),
    "EXPIRE": ([["PEXPIRE", "k", "1"]], 0),
    "EXPIREAT the past": ([["EXPIREAT", "k", "1"]], 0),
    "RENAME over it": ([["SET", "other", "v"], ["RENAME", "other", "k"]], 1),
    "COPY over it": ([["SET", "other", "v"], ["COPY", "other", "k", "REPLACE"]], 2),
    "MSET": ([["MSET", "k", "v", "other", "v", "third", "v"]], 3),
    "SUNIONSTORE": ([["SUNIONSTORE", "k", "none"]], 0),
    "MOVE and DEL": ([["MOVE", "k", "2"], ["SELECT", "2"], ["DEL", "k"], ["SELECT", "0"]], 0),
    "RENAME and DEL": ([["RENAME", "k", "elsewhere"], ["DEL", "elsewhere"]], 0),
    "MULTI": ([["MULTI"], ["DEL", "k"], ["SET", "k", "v"], ["EXEC"]], 1),
}
PUT_OFF = {"list", "hash", "set", "zset"}  # sets of integers take a few dozen allocations


def used(c):
    return int(c.info("memory")["used_memory"])


def wait_used(c, before, what):
    wait_until(lambda: SLOW or used(c) <= before + MEMORY_SLACK_BYTES, "memory returns after " + what)


@pytest.mark.parametrize("kind", TYPES)
def test_huge_values_go_and_their_memory_returns(server, kind):
    with server.connect() as c:
        c.ok("CONFIG", "RESETSTAT")
        empty = used(c)
        fill(c, kind, "original", HUGE)
        one = used(c)
        assert SLOW or one - empty > HUGE // 2
        for way, (calls, left) in WAYS.items():
            assert c.cmd("COPY", "original", "k") == 1
            for reply in c.pipeline(calls):
                assert not isinstance(reply.value, Error), (way, reply)
            if way == "EXPIRE":
                wait_until(lambda: c.cmd("DBSIZE") == 1, "it expires")
            assert c.cmd("DBSIZE") == 1 + left, way
            c.cmd("DEL", "k", "other", "third")
        wait_until(lambda: int(c.info("memory")["lazyfree_pending_objects"]) == 0, "all is freed")
        assert int(c.info("memory")["lazyfreed_objects"]) == (len(WAYS) if kind in PUT_OFF else 0)
        wait_used(c, one, "all ways to go")
        c.ok("FLUSHALL")
        wait_used(c, empty, "FLUSHALL")


def test_what_is_put_off_is_told(server):
    """In one pipeline: freeing takes many turns of the shard, and has hardly begun."""
    with server.connect() as c:
        fill(c, "hash", "k", HUGE)
        with_it = used(c)
        replies = c.pipeline([["UNLINK", "k"], ["DBSIZE"], ["INFO", "memory"], ["EXISTS", "k"]])
        assert [replies[i].value for i in (0, 1, 3)] == [1, 0, 0]
        assert b"lazyfree_pending_objects:1\r\n" in replies[2].value
        wait_until(lambda: int(c.info("memory")["lazyfree_pending_objects"]) == 0, "it is freed")
        assert SLOW or used(c) < with_it - HUGE * 10


@pytest.mark.parametrize("kind", ["hash", "set"])
def test_a_huge_value_expires_field_by_field(server, kind):
    """All at one moment: the sweep takes them out in slices, and the key goes with the last."""
    n = HUGE // 4
    names = ["m%d" % i for i in range(n)]
    with server.connect() as c:
        empty = used(c)

        def make(at):
            if kind == "hash":
                fill(c, "hash", "k", n)
            for i in range(0, n, 500):
                if kind == "hash":
                    c.cmd("HPEXPIREAT", "k", str(at), "FIELDS", "500", *names[i:i + 500])
                else:
                    c.cmd("SADDEX", "k", str(max(1, int(at / 1000 - time.time()))), *names[i:i + 500])

        in_time(c, make)
        wait_until(lambda: c.cmd("DBSIZE") == 0, "the key goes")
        assert int(c.info("stats")["expired_subkeys"]) == n
        wait_used(c, empty, "expiry")


@pytest.mark.parametrize("kind", TYPES)
def test_flushed_huge_values_are_freed_and_counted_once(server, kind):
    with server.connect() as c:
        c.ok("CONFIG", "RESETSTAT")
        empty = used(c)
        for i in range(5):
            fill(c, kind, "k%d" % i, HUGE // 10)
        fill(c, kind, "small", 10)
        c.ok("FLUSHALL", "ASYNC")
        assert c.cmd("DBSIZE") == 0
        wait_until(lambda: int(c.info("memory")["lazyfree_pending_objects"]) == 0, "all is freed")
        assert int(c.info("memory")["lazyfreed_objects"]) == 6
        wait_used(c, empty, "FLUSHALL")


def test_other_clients_are_served_meanwhile(server):
    """While millions of bytes are being freed, every turn of the shard answers who asks."""
    with server.connect() as c, server.connect() as other:
        other.ok("SET", "x", "0")
        for i in range(4):
            fill(c, "hash", "k%d" % i, HUGE // 2)
        c.send(encode(["UNLINK", "k0", "k1", "k2", "k3"]))
        assert c.read().value == 4
        seen = 0
        while int(c.info("memory")["lazyfree_pending_objects"]) != 0:
            assert other.cmd("INCR", "x") == seen + 1
            seen += 1
        assert seen > 5
