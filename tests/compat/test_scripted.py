"""Scenarios that need a clock, state of the connection, or a particular order."""

import random
import time

import pytest

import compare
import grammar
import streams
from harness import Closed, Double, Error, Map, SLOW, encode, wait_until

ROW = {name: grammar.Row(name, None, name, 0, "none") for name in
       ("exact", "seconds", "millis", "shape", "unordered", "hello", "scan")}
TICK_S = 1.0 if SLOW else 0.15


def both(anax, redis, script, proto=2):
    """Runs (comparison, command...) rows on both and compares; a number sleeps so many ticks."""
    conns = [anax.connect(), redis.connect()]
    try:
        for c in conns:
            c.ok("FLUSHALL")
            if proto == 3:
                c.cmd("HELLO", "3")
        for step in script:
            if isinstance(step, (int, float)):
                time.sleep(step * TICK_S)
                continue
            how, *args = step
            replies = []
            for c in conns:
                c.send(encode(args))
                replies.append(c.read())
            named = [a.encode() if isinstance(a, str) else a for a in args]
            assert compare.same(ROW[how], named, *replies), (args, replies[0].raw, replies[1].raw)
    finally:
        for c in conns:
            c.close()


MS = str(int(TICK_S * 1000))


def exact(*commands):
    return [("exact",) + tuple(c.split(" ")) if isinstance(c, str) else c for c in commands]


EXPIRY = {
    "px": exact("SET k v PX " + MS, "GET k", 2, "GET k", "TTL k", "EXISTS k", "TYPE k", "GETDEL k"),
    "set clears": exact("SET k v PX " + MS, "SET k w", 2, "GET k", "TTL k"),
    "keepttl": exact("SET k v PX " + MS, "SET k w KEEPTTL", "GET k", 2, "GET k"),
    "incr keeps": exact("SET k 1 PX " + MS, "INCR k", "INCRBYFLOAT k 1.5", 2, "INCR k", "TTL k"),
    "append keeps": exact("SET k 1 PX " + MS, "APPEND k xx", "SETRANGE k 1 yy", "SETBIT k 3 1", 2, "GET k"),
    "getset clears": exact("SET k 1 PX " + MS, "GETSET k 2", 2, "GET k", "TTL k"),
    "getex": exact("SET k 1", "GETEX k PX " + MS, 2, "GET k", "SET k 1 PX " + MS, "GETEX k PERSIST", 2, "GET k"),
    "rename carries": exact("SET a 1 PX " + MS, "RENAME a b", "GET b", 2, "GET b", "GET a"),
    "copy carries": exact("SET a 1 PX " + MS, "COPY a b", 2, "EXISTS a b"),
    "move carries": exact("SET k 1 PX " + MS, "MOVE k 1", "SELECT 1", "GET k", 2, "GET k"),
    "move onto dead": exact("SELECT 1", "SET k 9 PX " + MS, "SELECT 0", "SET k 1", 2, "MOVE k 1", "SELECT 1",
                            "GET k", "TTL k"),
    "nx after death": exact("SET k 1 PX " + MS, "SET k 2 NX", 2, "SET k 3 NX", "GET k", "TTL k"),
    "xx after death": exact("SET k 1 PX " + MS, 2, "SET k 3 XX", "GET k"),
    "setnx after death": exact("SET k 1 PX " + MS, 2, "SETNX k 3", "TTL k"),
    "get option after death": exact("SET k 1 PX " + MS, 2, "SET k 3 GET", "GET k"),
    "bits after death": exact("SETBIT k 7 1", "PEXPIRE k " + MS, 2, "GETBIT k 7", "SETBIT k 6 1", "GET k", "TTL k",
                              "BITCOUNT k", "BITPOS k 1", "BITFIELD k GET u8 0"),
    "append after death": exact("SET k 1 PX " + MS, 2, "APPEND k 2", "GET k", "TTL k"),
    "strlen after death": exact("SET k 123 PX " + MS, 2, "STRLEN k", "GETRANGE k 0 -1", "OBJECT ENCODING k"),
    "expire dead": exact("SET k 1 PX " + MS, 2, "EXPIRE k 100", "PERSIST k", "PTTL k"),
    "copy onto dead": exact("SET b 1 PX " + MS, "SET a 2", 2, "COPY a b", "GET b"),
    "renamenx onto dead": exact("SET b 1 PX " + MS, "SET a 2", 2, "RENAMENX a b", "GET b"),
    "mget dead": exact("MSET a 1 b 2", "PEXPIRE a " + MS, 2, "MGET a b", "EXISTS a a b",
                       "DEL a b"),
    "msetnx over dead": exact("SET a 1 PX " + MS, 2, "MSETNX a 3 b 4", "MGET a b"),
    "past at once": exact("SET k 1", "EXPIRE k -1", "GET k", "SET k 1", "EXPIREAT k 1", "GET k", "SET k 1",
                          "PEXPIRE k 0", "EXISTS k", "DBSIZE"),
    "set in the past": exact("SET k 1 EXAT 1", "GET k", "SET k 1 PXAT 1", "EXISTS k", "SET k 1 PXAT 1", "TTL k"),
    "getex in the past": exact("SET k 1", "GETEX k EXAT 1", "GET k", "DBSIZE"),
    "conditions": exact("SET k 1", "EXPIRE k 100 XX", "EXPIRE k 100 GT", "EXPIRE k 100 LT", "EXPIRE k 50 GT",
                        "EXPIRE k 50 LT", "EXPIRE k 70 NX", "EXPIRE k 7000 GT", "EXPIRE k 9000 XX GT",
                        "EXPIRE k 9000 NX XX", "EXPIRE k 9000 GT LT", "EXPIRE k 9000 NX GT", "PERSIST k",
                        "PERSIST k", "EXPIRE k 9000 NX", "EXPIRE k -1 GT", "EXPIRE k -1 LT", "EXISTS k")
    + [("seconds", "TTL", "k")],
    "scan hides dead": exact("SET k 1 PX " + MS, "SET l 2", 2) + [("unordered", "KEYS", "*")],
    "bitop clears": exact("SET d 1 PX " + MS, "SET a x", "BITOP OR d a", "TTL d", 2, "GET d"),
    "mset clears": exact("SET d 1 PX " + MS, "MSET d 2", "TTL d", 2, "GET d"),
    "type of dead in scan": exact("SET k v PX " + MS, 2)
    + [("scan", "SCAN", "0", "MATCH", "k", "COUNT", "1000")],
}


@pytest.mark.parametrize("name", EXPIRY)
def test_expiry(anax2, redis, name):
    both(anax2, redis, EXPIRY[name])


def test_active_expiry(anax):
    """Keys that nobody reads disappear, within a second of their time."""
    n = 2000 if SLOW else 20000
    with anax.connect() as c:
        c.pipeline([["SET", "k%d" % i, "v", "PX", "300"] for i in range(n)])
        c.pipeline([["SET", "stay%d" % i, "v"] for i in range(100)])
        time.sleep(1.3)
        wait_until(lambda: c.cmd("DBSIZE") <= 100 + n // 100, "99% of the keys expired", 30 if SLOW else 1)
        wait_until(lambda: c.cmd("DBSIZE") == 100, "all of the keys expired", 30)


def test_large_strings(anax2, redis):
    """Lengths around every limit where the representation changes."""
    rng = random.Random(9)
    script = []
    for n in [44, 45, 1022, 1023, 1024, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 1 << 20]:
        data = rng.randbytes(n)
        script += [("exact", "SET", "k", data), ("exact", "GET", "k"), ("exact", "OBJECT", "ENCODING", "k"),
                   ("exact", "APPEND", "k", b"x"), ("exact", "GET", "k"), ("exact", "GETRANGE", "k", "5", "-5"),
                   ("exact", "SETRANGE", "k", str(n + 10), b"end"), ("exact", "GETRANGE", "k", str(n - 5), "-1"),
                   ("exact", "BITCOUNT", "k"), ("exact", "BITPOS", "k", "0"), ("exact", "STRLEN", "k"),
                   ("exact", "GETSET", "k", data[::-1]), ("exact", "GETDEL", "k"),
                   ("exact", "SETEX", "k", "100", data), ("exact", "SET", "k", data + b"y", "KEEPTTL", "GET"),
                   ("exact", "SET", "k", "EX", "PX", "100000"), ("exact", "GETEX", "k", "PERSIST"),
                   ("exact", "ECHO", data), ("exact", "SETNX", "k", data), ("exact", "MSET", "a", data, "b", data),
                   ("exact", "MGET", "a", "b", "a"), ("exact", "APPEND", "a", data),
                   ("exact", "GET", "a"), ("exact", "RENAME", "a", "b"), ("exact", "GET", "b"),
                   ("exact", "COPY", "b", "c"), ("exact", "SETRANGE", "b", "1", "zz"),
                   ("exact", "GET", "c"), ("exact", "GET", "b"), ("exact", "SETBIT", "b", "100000", "1"),
                   ("exact", "GET", "b")]
    both(anax2, redis, script)


def test_large_keys(anax2, redis):
    script = []
    for n in [254, 255, 256, 1000, 16384, 32768, 40000, 100000]:
        key = b"K" * n
        script += [("exact", "SET", key, "v"), ("exact", "GET", key), ("exact", "EXISTS", key), ("exact", "INCR", key),
                   ("exact", "EXPIRE", key, "100"), ("exact", "SET", key, b"w" * n), ("exact", "GET", key),
                   ("exact", "TYPE", key), ("unordered", "KEYS", "K*"), ("exact", "DEL", key)]
    both(anax2, redis, script)


@pytest.mark.parametrize("proto", [2, 3])
def test_connection_state(anax2, redis, proto):
    both(anax2, redis, exact(
        "CLIENT GETNAME", "CLIENT SETNAME abc", "CLIENT GETNAME", "SELECT 3", "SET k v", "RESET",
        "CLIENT GETNAME", "GET k", "SELECT 3", "GET k", "CLIENT NO-EVICT on", "CLIENT NO-EVICT off",
        "CLIENT NO-EVICT x", "PING", "PING x", "PING x y", "ECHO x", "SELECT 16", "SELECT -1", "SELECT x",
        "GET missing", "MGET 1 2", "CONFIG GET databases", "CONFIG GET nosuch", "CONFIG GET",
        "CONFIG GET maxmemory", "CONFIG GET maxmemory-policy", "CONFIG GET timeout", "CONFIG GET tcp-keepalive",
        "CONFIG GET proto-max-bulk-len", "CONFIG GET maxclients", "CONFIG GET save", "CONFIG GET appendonly",
        "CONFIG GET client-output-buffer-limit", "CONFIG SET timeout abc", "CONFIG SET timeout -1",
        "CONFIG SET nosuch 1", "CONFIG SET databases 3", "CONFIG SET timeout 0 timeout 0",
        "CONFIG SET timeout", "CONFIG SET timeout 0", "CONFIG SET tcp-keepalive 300",
        "OBJECT NOSUCH k", "OBJECT", "OBJECT ENCODING", "OBJECT ENCODING missing", "OBJECT FREQ missing",
        "CLIENT", "CLIENT NOSUCH", "CLIENT SETNAME", "CLIENT ID x", "COMMAND NOSUCH", "CONFIG",
        "FLUSHALL x", "FLUSHDB x y", "DBSIZE x") + [
        ("shape", "CLIENT", "ID"), ("shape", "CLIENT", "LIST"), ("shape", "CLIENT", "INFO"), ("shape", "TIME"),
        ("shape", "COMMAND", "COUNT"), ("shape", "COMMAND", "DOCS", "GET"), ("exact", "COMMAND", "INFO", "nosuch"),
        ("shape", "COMMAND", "LIST"), ("shape", "INFO"), ("shape", "INFO", "server"), ("shape", "CLIENT", "HELP"),
        ("shape", "OBJECT", "HELP"), ("hello", "HELLO"), ("hello", "HELLO", "2"), ("hello", "HELLO", "3"),
        ("hello", "HELLO", "4"), ("hello", "HELLO", "2", "SETNAME", "x"), ("exact", "CLIENT", "GETNAME"),
        ("hello", "HELLO", "3", "AUTH", "default", "pw"), ("hello", "HELLO", "3", "AUTH", "nobody", "pw"),
        ("hello", "HELLO", "3", "AUTH"), ("hello", "HELLO", "3", "SETNAME"), ("hello", "HELLO", "x"),
        ("exact", "HELLO", "3", "SETNAME", "a b"), ("exact", "AUTH", "pw"), ("exact", "AUTH", "a", "b")], proto)


def test_client_list_fields(anax2):
    with anax2.connect() as c:
        c.ok("CLIENT", "SETNAME", "findme")
        c.ok("CLIENT", "SETINFO", "LIB-NAME", "lib")
        c.ok("CLIENT", "SETINFO", "LIB-VER", "1.2")
        c.cmd("SELECT", "2")
        mine = [line for line in c.cmd("CLIENT", "LIST").decode().splitlines() if "name=findme" in line]
        assert len(mine) == 1
        fields = dict(f.split("=", 1) for f in mine[0].split(" "))
        assert fields["id"] == str(c.cmd("CLIENT", "ID")) and fields["db"] == "2"
        assert fields["lib-name"] == "lib" and fields["lib-ver"] == "1.2"
        assert fields["addr"].startswith("127.0.0.1:") and int(fields["age"]) >= 0


def test_client_list_sees_every_shard(anax):
    conns = [anax.connect() for _ in range(20)]
    try:
        for i, c in enumerate(conns):
            c.ok("CLIENT", "SETNAME", "c%d" % i)
        names = {f.split("=", 1)[1] for line in conns[0].cmd("CLIENT", "LIST").decode().splitlines()
                 for f in line.split(" ") if f.startswith("name=")}
        assert {"c%d" % i for i in range(20)} <= names
        ids = [c.cmd("CLIENT", "ID") for c in conns]
        assert len(set(ids)) == len(ids)
    finally:
        for c in conns:
            c.close()


def test_config_set_is_seen_everywhere(anax):
    with anax.connect() as c:
        c.ok("CONFIG", "SET", "timeout", "1234")
        for _ in range(20):
            with anax.connect() as other:
                assert other.cmd("CONFIG", "GET", "timeout") == [b"timeout", b"1234"]
        c.ok("CONFIG", "SET", "timeout", "0")


def test_proto_max_bulk_len(anax2):
    with anax2.connect() as c:
        c.ok("CONFIG", "SET", "proto-max-bulk-len", "1mb")
        try:
            with anax2.connect() as d:
                d.ok("SET", "k", b"x" * (1 << 20))
                d.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
                assert d.until_closed() == b"-ERR Protocol error: invalid bulk length\r\n"
            value = c.cmd("APPEND", "k", "y")
            assert isinstance(value, Error) and b"proto-max-bulk-len" in value
            assert c.cmd("STRLEN", "k") == 1 << 20
        finally:
            c.ok("CONFIG", "SET", "proto-max-bulk-len", "512mb")


def test_scan_while_growing_and_shrinking(anax):
    """SCAN's guarantee: what is there all the time is returned, and only keys that exist are."""
    rng = random.Random(4)
    stay = {b"stay%d" % i for i in range(2000)}
    with anax.connect() as c:
        c.pipeline([["SET", k, "v"] for k in stay])
        for phase in range(4):
            seen, cursor, n = set(), b"0", 0
            while True:
                cursor, keys = c.cmd("SCAN", cursor, "COUNT", str(rng.choice([1, 10, 100])))
                seen.update(keys)
                n += 1
                if n % 3 == 0:
                    lo = rng.randrange(20000)
                    verb = "SET" if phase % 2 == 0 else "DEL"
                    c.pipeline([["SET", b"x%d" % i, "v"] if verb == "SET" else ["DEL", b"x%d" % i]
                                for i in range(lo, lo + 200)])
                if cursor == b"0":
                    break
            assert stay <= seen, len(stay - seen)
            assert all(k in stay or k.startswith(b"x") for k in seen)


def test_scan_options(anax):
    with anax.connect() as c:
        keys = {b"a%d" % i for i in range(100)} | {b"b%d" % i for i in range(100)}
        c.pipeline([["SET", k, "v"] for k in keys])
        assert streams.scan_all(c, "MATCH", "a*") == {k for k in keys if k[:1] == b"a"}
        assert streams.scan_all(c, "COUNT", "1") == keys
        assert streams.scan_all(c, "COUNT", "100000") == keys
        assert streams.scan_all(c, "TYPE", "string") == keys
        assert streams.scan_all(c, "TYPE", "list") == set()
        assert set(c.cmd("KEYS", "*")) == keys
        for _ in range(50):
            assert c.cmd("RANDOMKEY") in keys
        assert len({c.cmd("RANDOMKEY") for _ in range(300)}) > 60
        assert c.cmd("DBSIZE") == 200
        c.ok("SELECT", "1")
        assert c.cmd("RANDOMKEY") is None and c.cmd("KEYS", "*") == [] and c.cmd("DBSIZE") == 0
        assert streams.scan_all(c) == set()
        c.ok("SET", "only", "v")
        c.ok("FLUSHDB")
        c.ok("SELECT", "0")
        assert c.cmd("DBSIZE") == 200
        c.ok("FLUSHALL", "ASYNC")
        assert c.cmd("DBSIZE") == 0 and streams.scan_all(c) == set()


def test_order_on_one_key_within_a_pipeline(anax):
    with anax.connect() as c:
        commands, expected = [], []
        for i in range(3000):
            key = b"k%d" % (i % 7)
            commands += [["SET", key, b"%d" % i], ["INCR", key], ["GET", key]]
            expected += [b"OK", i + 1, b"%d" % (i + 1)]
        assert [r.value for r in c.pipeline(commands)] == expected


def test_pipeline_order_with_errors_between(anax):
    with anax.connect() as c:
        commands, expected = [], []
        for i in range(1000):
            commands += [["SET", b"k%d" % i, b"v%d" % i], ["NOSUCH"], ["GET", b"k%d" % i], ["GET"], ["PING"],
                         ["ECHO", b"%d" % i]]
            expected += [b"OK", None, b"v%d" % i, None, b"PONG", b"%d" % i]
        for got, want in zip(c.pipeline(commands), expected):
            assert got.value == want if want is not None else isinstance(got.value, Error)


def test_resp3_types(anax2):
    with anax2.connect() as c:
        hello = c.cmd("HELLO", "3")
        assert isinstance(hello, Map) and dict(hello)[b"proto"] == 3
        c.send(encode(["GET", "missing"]))
        assert c.read().raw == b"_\r\n"
        assert isinstance(c.cmd("CONFIG", "GET", "databases"), Map)
        assert isinstance(c.cmd("COMMAND", "DOCS", "GET"), Map)
        c.send(encode(["INFO", "server"]))
        assert c.read().raw.startswith(b"=") and not isinstance(c.cmd("PING"), Double)
        c.ok("SET", "n", "10.5")
        assert c.cmd("INCRBYFLOAT", "n", "0.1") == b"10.6"
        value = c.cmd("LCS", "x", "y", "IDX")
        assert isinstance(value, (Map, Error))


def test_dump_restore(anax2, redis):
    """DUMP's payload is read by redis-server and the other way round."""
    with anax2.connect() as a, redis.connect() as r:
        if isinstance(a.cmd("COMMAND", "INFO", "DUMP")[0], list):
            for value in [b"", b"abc", b"12345", b"-7", b"2147483648", b"x" * 5000, bytes(range(256)) * 300]:
                for src, dst in ((a, r), (r, a)):
                    for c in (a, r):
                        c.ok("FLUSHALL")
                    src.ok("SET", "k", value)
                    payload = src.cmd("DUMP", "k")
                    dst.ok("RESTORE", "k", "0", payload)
                    assert dst.cmd("GET", "k") == value
                    again = dst.cmd("RESTORE", "k", "0", payload)
                    assert isinstance(again, Error) and again.startswith(b"BUSYKEY")
                    dst.ok("RESTORE", "k", "100000", payload, "REPLACE")
                    assert 90000 < dst.cmd("PTTL", "k") <= 100000
                    bad = dst.cmd("RESTORE", "l", "0", payload[:-1] + bytes([payload[-1] ^ 1]))
                    assert bad == b"ERR DUMP payload version or checksum are wrong"
        else:  # not a feature yet: then it must say so as for any unknown command
            assert a.cmd("DUMP", "k").startswith(b"ERR unknown command 'DUMP'")


def test_quit(anax):
    with anax.connect() as c:
        c.send(encode(["SET", "k", "v"]) + encode(["QUIT"]) + encode(["SET", "k", "w"]))
        assert c.read().value == b"OK" and c.read().value == b"OK"
        try:
            c.read()
            raise AssertionError("still open after QUIT")
        except (Closed, ConnectionResetError):
            pass
        assert anax.cmd("GET", "k") == b"v"


def test_password_set_later_asks_only_later_connections(anax2, redis):
    seen = []
    for server in (anax2, redis):
        with server.connect() as first:
            replies = [first.cmd("CONFIG", "SET", "requirepass", "secret"), first.cmd("PING")]
            try:
                with server.connect() as second:
                    replies += [second.cmd("PING"), second.cmd("AUTH", "wrong"), second.cmd("AUTH", "secret"),
                                second.cmd("PING"), second.cmd("RESET"), second.cmd("PING")]
            finally:
                replies.append(first.cmd("CONFIG", "SET", "requirepass", ""))
        with server.connect() as third:
            replies.append(third.cmd("PING"))
        seen.append([bytes(r) if isinstance(r, bytes) else str(r) for r in replies])
    assert seen[0] == seen[1]
    assert "NOAUTH" in repr(seen[0][2]) and "PONG" in repr(seen[0][1])
