"""Streams that were loaded or restored, before there are commands for them: kept as they came, known by their type, and refused by
all commands that are for another."""

import os
import random

import pytest

from harness import ANAX_IS_REDIS, ROOT, Error, Server

WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
OPTIONS = {"enable-debug-command": "yes", "latency-tracking": "no"}  # histograms would come with time

# s is a stream, {s}... are others on its shard, none exists. Each line is given to both servers on a fresh s.
BOTH = """
TYPE s|EXISTS s s|OBJECT ENCODING s|OBJECT REFCOUNT s|TTL s|EXPIRETIME s|KEYS *|DBSIZE|RANDOMKEY|TOUCH s
GET s|SET s v|SET s v GET|SETNX s v|GETSET s v|GETDEL s|GETEX s|APPEND s v|STRLEN s|INCR s|DECRBY s 2
INCRBYFLOAT s 1.5|GETRANGE s 0 -1|SETRANGE s 1 x|SUBSTR s 0 1|MGET s s|MSET s v|MSETNX s v|LCS s s|SETBIT s 1 1|GETBIT s 1
BITCOUNT s|BITPOS s 1|BITFIELD s GET u8 0|BITFIELD_RO s GET u8 0|BITOP NOT d s|BITOP AND d s s|BITOP OR s s
LPUSH s a|RPUSH s a|LPUSHX s a|RPUSHX s a|LPOP s|RPOP s 2|LLEN s|LRANGE s 0 -1|LINDEX s 0|LSET s 0 a|LINSERT s BEFORE a b
LREM s 0 a|LTRIM s 0 1|LPOS s a|LMOVE s d LEFT LEFT|LMOVE d s LEFT LEFT|RPOPLPUSH s d|RPOPLPUSH s s|LMPOP 1 s LEFT
HSET s a b|HSETNX s a b|HGET s a|HMGET s a|HGETALL s|HDEL s a|HLEN s|HKEYS s|HVALS s|HEXISTS s a|HSTRLEN s a|HINCRBY s a 1
HINCRBYFLOAT s a 1|HRANDFIELD s|HSCAN s 0
SADD s a|SREM s a|SCARD s|SISMEMBER s a|SMISMEMBER s a|SMEMBERS s|SPOP s|SRANDMEMBER s|SMOVE s d a|SINTER s s|SINTER d s
SUNION s d|SDIFF s d|SINTERSTORE d s|SUNIONSTORE d s d|SDIFFSTORE s d|SINTERCARD 1 s|SSCAN s 0
ZADD s 1 a|ZINCRBY s 1 a|ZREM s a|ZCARD s|ZCOUNT s 0 1|ZSCORE s a|ZMSCORE s a|ZRANK s a|ZREVRANK s a|ZRANGE s 0 -1
ZRANGESTORE d s 0 -1|ZRANGEBYSCORE s 0 1|ZRANGEBYLEX s - +|ZREMRANGEBYRANK s 0 1|ZPOPMIN s|ZPOPMAX s 2|ZRANDMEMBER s|ZMPOP 1 s MIN
ZUNION 1 s|ZINTER 2 s d|ZDIFF 2 d s|ZUNIONSTORE d 1 s|ZINTERSTORE s 1 d|ZDIFFSTORE d 1 s|ZINTERCARD 1 s|ZLEXCOUNT s - +|ZSCAN s 0
SORT s|SORT_RO s|SORT s BY nosort|SORT s STORE d|SORT s BY w_* GET #
RENAME s d|RENAMENX s d|RENAME s s|COPY s d|COPY s d REPLACE|MOVE s 3|DEL s|UNLINK s d|EXPIRE s 100|PERSIST s|PEXPIREAT s 1
EXPIRE s -1
""".replace("\n", "|")

OURS = """HEXPIRE s 100 FIELDS 1 a|HTTL s FIELDS 1 a|HPERSIST s FIELDS 1 a|HGETDEL s FIELDS 1 a|HGETEX s FIELDS 1 a|HSETEX s FIELDS 1 a b
SADDEX s 100 a|FIELDTTL s a|ZRANGEBYSCORE s (1 5 LIMIT 0 1""".replace("\n", "|")


@pytest.fixture(scope="module")
def redis_server():
    with Server("redis", options=OPTIONS) as s:
        yield s


@pytest.fixture(scope="module", params=[1, 2, 3, 8])
def anax(request):
    with Server("redis" if ANAX_IS_REDIS else "anax", shards=request.param, options=OPTIONS) as s:
        yield s


@pytest.fixture(scope="module")
def payload(redis_server):
    """Of a stream of several nodes with deleted entries, groups, and pending entries of two consumers."""
    with redis_server.connect() as c:
        c.ok("FLUSHALL")
        c.ok("CONFIG", "SET", "stream-node-max-entries", "10")
        for i in range(64):
            fields = ("n", i, "text", "v%d" % i) if i % 3 else ("other", "x" * (i * 10))
            c.cmd("XADD", "s", "%d-%d" % (i // 5 + 1, i % 5 + 1), *fields)
        c.cmd("XDEL", "s", "3-1", "7-2")
        for group in ("g", "h"):
            c.cmd("XGROUP", "CREATE", "s", group, "0")
            c.cmd("XREADGROUP", "GROUP", group, "me", "COUNT", "20", "STREAMS", "s", ">")
            c.cmd("XREADGROUP", "GROUP", group, "you", "COUNT", "5", "STREAMS", "s", ">")
            c.cmd("XACK", "s", group, "1-1", "4-1")
        return bytes(c.cmd("DUMP", "s"))


def test_what_comes_goes_out_again(anax, redis_server, payload):
    """By DUMP and RESTORE, byte for byte; with an expiry; copied; and in the eyes of DEBUG DIGEST."""
    with anax.connect() as a, redis_server.connect() as r:
        for c in (a, r):
            c.ok("FLUSHALL")
            c.ok("RESTORE", "s", "0", payload)
            c.ok("RESTORE", "ttl", "4102444800000", payload, "ABSTTL")
            assert c.cmd("COPY", "s", "copy") == 1
            c.ok("RENAME", "s", "t")
        for key in ("t", "copy", "ttl"):
            assert a.cmd("DUMP", key) == payload
            assert a.cmd("DEBUG", "DIGEST-VALUE", key) == r.cmd("DEBUG", "DIGEST-VALUE", key)
            assert a.cmd("TYPE", key) == b"stream" and a.cmd("OBJECT", "ENCODING", key) == b"stream"
        assert a.cmd("DEBUG", "DIGEST") == r.cmd("DEBUG", "DIGEST")
        assert a.cmd("MEMORY", "USAGE", "t") > len(payload)
        told = r.cmd("XINFO", "STREAM", "t", "FULL", "COUNT", "0")
        r.ok("RESTORE", "back", "0", a.cmd("DUMP", "copy"))
        assert r.cmd("XINFO", "STREAM", "back", "FULL", "COUNT", "0") == told


@pytest.mark.parametrize("kind, version, goes", [(15, 10, True), (19, 10, True), (21, 11, False)])
def test_streams_of_all_versions_come_and_go(anax, redis_server, kind, version, goes):
    """Those of Redis 5 and 7.0 go to 7.0 again, that of 7.2 comes back here alone."""
    with open(os.path.join(ROOT, "tests", "fuzz", "corpus", "rdb", "type%d-redis0" % kind), "rb") as f:
        seed = f.read()
    made = seed[:1] + seed[2:] + bytes([version, 0])
    made += crc(made).to_bytes(8, "little")
    with anax.connect() as a, redis_server.connect() as r:
        for c in (a, r):
            c.ok("FLUSHALL")
        a.ok("RESTORE", "s", "0", made)
        assert a.cmd("DUMP", "s") == made
        assert isinstance(r.cmd("RESTORE", "s", "0", made), Error) != goes
        if goes:
            assert a.cmd("DEBUG", "DIGEST-VALUE", "s") == r.cmd("DEBUG", "DIGEST-VALUE", "s")


def crc(data):
    """CRC-64 of Redis (Jones, reflected), bit by bit."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x95ac9329ac4bc9b5 if value & 1 else 0)
    return value


def run(c, payload, text):
    for key in ("s", "d"):
        c.cmd("DEL", key)
    c.ok("RESTORE", "s", "0", payload)
    reply = c.cmd(*text.split())
    left = [c.cmd("TYPE", key) for key in ("s", "d")]
    return reply, left


def test_commands_answer_as_redis_does(anax, redis_server, payload):
    seen = set()
    with anax.connect() as a, redis_server.connect() as r:
        for c in (a, r):
            c.ok("FLUSHALL")
        for text in filter(None, BOTH.split("|")):
            ours, theirs = run(a, payload, text), run(r, payload, text)
            assert ours == theirs, text
            seen.add(bytes(theirs[0])[:9] if isinstance(theirs[0], Error) else b"")
        assert b"WRONGTYPE" in seen
        for text in OURS.split("|"):
            ours = run(a, payload, text)
            assert isinstance(ours[0], Error) and ours[0] == WRONG_TYPE, (text, ours)
            assert ours[1] == [b"stream", b"none"], text


def test_scan_finds_it_by_its_type(anax, payload):
    with anax.connect() as a:
        a.ok("FLUSHALL")
        a.ok("RESTORE", "s", "0", payload)
        for wanted, found in (("stream", [b"s"]), ("string", []), ("list", [])):
            cursor, keys = b"0", []
            while True:
                cursor, some = a.cmd("SCAN", cursor, "TYPE", wanted)
                keys += some
                if cursor == b"0":
                    break
            assert keys == found


def shuffle(a, payload):
    """Many of them, overwritten, copied, moved and deleted at random, and all of them looked at."""
    rng = random.Random(3)
    for _ in range(300):
        key, other = "k%d" % rng.randrange(20), "k%d" % rng.randrange(20)
        pick = rng.randrange(5)
        if pick < 2:
            a.ok("RESTORE", key, "0", payload, "REPLACE")
        elif pick == 2:
            a.cmd("COPY", key, other, "REPLACE")
        elif pick == 3:
            a.cmd("RENAME", key, other)
        else:
            a.cmd("DEL", key)
    for key in a.cmd("KEYS", "*"):
        assert a.cmd("DUMP", key) == payload
        assert not isinstance(a.cmd("DEBUG", "OBJECT", key), Error)
    assert a.cmd("DBSIZE") > 0
    a.ok("FLUSHALL")


@pytest.mark.parametrize("anax", [3], indirect=True)
def test_it_is_freed_moved_and_looked_at(anax, payload):
    """What it took is given back: a second time takes no more than the first."""
    for again in (False, True):
        with anax.connect() as a:
            a.ok("FLUSHALL")
            shuffle(a, payload)
        if not again:
            before = anax.settled()
    anax.returns_to(before)
