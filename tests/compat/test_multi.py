"""MULTI, EXEC, DISCARD: reply by reply as redis-server; test_watch.py has WATCH, test_multi_seen.py what others see."""

import random

import pytest

from harness import SLOW, Error, Server, encode, wait_until
from talk import TAGS, Talk, check_all

SCRIPTS = {
    "without MULTI": """
        a EXEC
        a DISCARD
        a EXEC x
        a DISCARD x
        a MULTI x
        a PING""",
    "empty": """
        a MULTI
        a EXEC
        a EXEC
        a MULTI
        a DISCARD
        a DISCARD""",
    "one key": """
        a MULTI
        a SET k 1
        b GET k
        a INCR k
        a GET k
        b GET k
        a EXEC
        b GET k
        a GET k""",
    "many keys": """
        a MULTI
        a SET k1 1
        a SET k2 2
        a SET k3 3
        a SET k4 4
        a INCRBY k1 5
        a GET k4
        a GET k5
        a EXEC
        b MGET k1 k2 k3 k4 k5""",
    "discarded": """
        a SET k1 1
        a MULTI
        a SET k1 2
        a SET k2 2
        a DISCARD
        a MGET k1 k2
        a EXEC""",
    "three at once": """
        a MULTI
        b MULTI
        c MULTI
        a SET k1 a
        b SET k1 b
        c SET k2 c
        a APPEND k2 a
        b APPEND k2 b
        c APPEND k1 c
        b EXEC
        c EXEC
        a EXEC
        a MGET k1 k2""",
    "one after the other": """
        a MULTI
        a INCR k1
        a EXEC
        a MULTI
        a INCR k1
        a INCR k2
        a EXEC
        a MULTI
        a INCR k2
        a DISCARD
        a MGET k1 k2""",
    "nested": """
        a MULTI
        a MULTI
        a SET k 1
        a MULTI
        a EXEC
        a GET k""",
    "WATCH inside": """
        a MULTI
        a WATCH k
        a SET k 1
        a EXEC
        a SET k 2
        a MULTI
        a GET k
        a EXEC""",
    "UNWATCH inside": """
        a MULTI
        a UNWATCH
        a EXEC""",
    "unknown command": """
        a MULTI
        a SET k 1
        a NOSUCH a b c
        a SET k 2
        a PING
        a EXEC
        a GET k
        a EXEC""",
    "unknown command first": """
        a MULTI
        a nosuch
        a EXEC
        a PING""",
    "wrong arity": """
        a MULTI
        a SET k 1
        a GET
        a EXEC
        a EXISTS k""",
    "wrong arity of MULTI": """
        a MULTI
        a MULTI x
        a EXEC""",
    "wrong arity of WATCH": """
        a MULTI
        a WATCH
        a EXEC""",
    "wrong arity of DISCARD": """
        a MULTI
        a DISCARD x
        a EXEC""",
    "wrong arity of UNWATCH": """
        a MULTI
        a UNWATCH x
        a EXEC""",
    "wrong arity of EXEC ends it": """
        a MULTI
        a SET k 1
        a EXEC x
        a EXEC
        a GET k
        a SET k 2
        a GET k""",
    "wrong subcommand": """
        a MULTI
        a CLIENT NOSUCH
        a EXEC
        a MULTI
        a CLIENT
        a EXEC
        a MULTI
        a OBJECT ENCODING
        a EXEC
        a MULTI
        a CONFIG GET
        a EXEC""",
    "discarded after an error": """
        a MULTI
        a NOSUCH
        a DISCARD
        a MULTI
        a PING
        a EXEC""",
    "run-time errors do not roll back": """
        a SET k1 x
        a MULTI
        a SET k2 1
        a INCR k1
        a SET k3 1
        a SETRANGE k2 -1 x
        a BITOP NOT k4 k1 k2
        a MSET k1 y k2
        a SET k2 2 XYZ
        a PING a b
        a EXPIRE k2 abc
        a SET k4 1
        a EXEC
        a MGET k1 k2 k3 k4""",
    "errors of keys that are not there": """
        a MULTI
        a RENAME k1 k2
        a SET k1 1
        a RENAME k1 k2
        a RENAMENX k1 k2
        a EXEC
        a MGET k1 k2""",
    "several keys": """
        a MULTI
        a MSET k1 1 k2 2 k3 3 k4 4 k5 5 k6 6 k7 7 k8 8
        a MGET k1 k2 k3 k4 k5 k6 k7 k8 k9
        a MSETNX k8 x k9 x
        a MSETNX k9 9 k10 10
        a EXISTS k1 k2 k9 k10 k11
        a TOUCH k1 k11 k2
        a DEL k1 k2 k11
        a UNLINK k3 k4
        a MGET k1 k2 k3 k4 k5
        a EXEC
        a MGET k1 k2 k3 k4 k5 k6 k7 k8 k9 k10""",
    "values that move": """
        a MULTI
        a SET k1 abc EX 1000
        a RENAME k1 k2
        a COPY k2 k3
        a COPY k2 k3
        a COPY k2 k3 REPLACE
        a TTL k3
        a RENAMENX k2 k3
        a RENAMENX k2 k4
        a MOVE k4 1
        a SELECT 1
        a GET k4
        a COPY k4 k5 DB 0
        a SELECT 0
        a MGET k1 k2 k3 k4 k5
        a EXEC
        a MGET k1 k2 k3 k4 k5""",
    "bits and subsequences": """
        a MULTI
        a SET k1 ohmytext
        a SET k2 mynewtext
        a LCS k1 k2
        a LCS k1 k2 LEN
        a LCS k1 k2 IDX
        a BITOP AND k3 k1 k2
        a BITOP OR k1 k1 k2 k3
        a BITOP NOT k2 k4
        a BITCOUNT k3
        a BITPOS k1 0
        a BITFIELD k5 SET u8 0 200 GET u4 0 OVERFLOW FAIL INCRBY u8 0 100
        a SETBIT k5 7 1
        a MGET k1 k2 k3 k5
        a EXEC
        b MGET k1 k2 k3 k5""",
    "one key many times": """
        a MULTI
        a SET k 1
        a DEL k
        a GET k
        a SETNX k 2
        a GETSET k 3
        a GETDEL k
        a APPEND k abc
        a STRLEN k
        a GETEX k EX 1000
        a PERSIST k
        a TTL k
        a OBJECT ENCODING k
        a TYPE k
        a EXEC""",
    "SELECT": """
        a MULTI
        a SET k1 0
        a SELECT 3
        a SET k1 3
        a SELECT 99
        a SET k2 3
        a SELECT x
        a GET k1
        a EXEC
        a MGET k1 k2
        b MGET k1 k2
        a SELECT 0
        a MGET k1 k2
        a MULTI
        a SELECT 3
        a DISCARD
        a GET k1
        a MULTI
        a SELECT 3
        a NOSUCH
        a EXEC
        a GET k1
        a MULTI
        a SELECT 3
        a SELECT 0
        a GET k1
        a EXEC
        a GET k1""",
    "everything": """
        a MSET k1 1 k2 2 k3 3
        a MULTI
        a DBSIZE
        a FLUSHDB
        a DBSIZE
        a SET k1 1
        a RANDOMKEY
        a KEYS *
        a SELECT 1
        a DBSIZE
        a SET k1 one
        a SELECT 0
        a SWAPDB 0 1
        a GET k1
        a DBSIZE
        a SELECT 1
        a GET k1
        a FLUSHALL
        a GET k1
        a DBSIZE
        a SELECT 0
        a DBSIZE
        a KEYS *
        a SET k9 9
        a EXEC
        a KEYS *
        b KEYS *""",
    "FLUSHALL between writes": """
        b MSET k1 1 k2 2 k3 3
        a MULTI
        a SET k4 4
        a FLUSHALL ASYNC
        a SET k5 5
        a FLUSHDB SYNC
        a SET k6 6
        a FLUSHALL WRONG
        a EXEC
        a MGET k1 k2 k3 k4 k5 k6""",
    "SWAPDB": """
        a SET k1 zero
        a MULTI
        a SWAPDB 0 1
        a SET k2 other
        a SWAPDB 0 99
        a SWAPDB 1 1
        a SWAPDB 0 x
        a GET k1
        a EXEC
        b GET k2
        b SELECT 1
        b GET k1""",
    "no keys": """
        a MULTI
        a PING
        a PING hello
        a ECHO hello
        a CLIENT GETNAME
        a CLIENT SETNAME transaction
        a CLIENT GETNAME
        a CLIENT SETNAME 'not valid'
        a CONFIG GET maxclients
        a CONFIG SET nosuch 1
        a COMMAND GETKEYS SET k1 v
        a CLIENT UNBLOCK 123456789
        a CLIENT KILL ID 123456789
        a CLIENT NO-EVICT wrong
        a CLIENT PAUSE 0
        a CLIENT UNPAUSE
        a EXEC
        a CLIENT GETNAME""",
    "HELLO": """
        a MULTI
        a GET k
        a HELLO
        a HELLO 3
        a GET k
        a HELLO 2
        a GET k
        a HELLO 9
        a HELLO x
        a HELLO 3
        a EXEC
        a GET k
        a MULTI
        a HELLO 2
        a DISCARD
        a GET k""",
    "AUTH without a password": """
        a MULTI
        a AUTH x
        a AUTH nobody x
        a AUTH default x
        a GET k
        a EXEC""",
    "MONITOR": """
        a MULTI
        a MONITOR
        a GET k
        a EXEC
        a PING""",
    "RESET": """
        a SELECT 2
        a WATCH k
        a MULTI
        a SET k 1
        a RESET
        a EXEC
        a GET k
        b SET k 2
        a MULTI
        a GET k
        a EXEC""",
    "expiry inside": """
        a SET k1 1
        a MULTI
        a EXPIRE k1 1000
        a TTL k1
        a PEXPIREAT k1 1
        a EXISTS k1
        a SET k2 1 EX 1000
        a EXPIRE k2 -1
        a EXISTS k2
        a SET k3 1 PXAT 1
        a EXISTS k3
        a EXEC
        a EXISTS k1 k2 k3""",
    "empty arguments": """
        a MULTI
        a SET '' ''
        a GET ''
        a ECHO ''
        a SET k ''
        a APPEND k ''
        a EXEC
        a GET ''""",
    "names in any case": """
        a mUlTi
        a sEt k 1
        a gEt k
        a ExEc
        a multi
        a discard
        a watch k
        a unwatch""",
}


UNORDERED = {"everything"}


def test_scripts(anax, redis):
    check_all(anax, redis, SCRIPTS, unordered=UNORDERED)


REFUSED = ["SHUTDOWN NOSAVE"]


@pytest.mark.parametrize("line", REFUSED)
def test_refused_inside(anax, redis, line):
    for server in (anax, redis):
        with Talk(server) as t:
            assert t.all("a MULTI\na %s\na PING\na EXEC" % line) == [
                b"OK", b"ERR Command not allowed inside a transaction", b"QUEUED",
                b"EXECABORT Transaction discarded because of previous errors."], server.kind


@pytest.mark.parametrize("tag", TAGS)
def test_scan(anax, tag):
    """A walk whose steps are in transactions, which write while it goes on."""
    keys = {b"%ss%d" % (tag.encode(), i) for i in range(300)}
    with anax.connect() as c:
        c.cmd("MSET", *[x for k in keys for x in (k, "1")])
        seen, cursor = set(), b"0"
        while True:
            commands = [["MULTI"], ["SET", "extra", cursor], ["SCAN", cursor, "MATCH", tag + "s*", "COUNT", "50"], ["EXEC"]]
            cursor, batch = c.pipeline(commands)[-1].value[1]
            seen.update(batch)
            if cursor == b"0":
                break
        assert seen == keys


def test_quit(anax, redis):
    """Nothing of it has happened, and the connection ends."""
    for server in (anax, redis):
        with Talk(server) as t:
            assert t.all("a SET k 1\na MULTI\na SET k 2\na QUIT") == [b"OK", b"OK", b"QUEUED", b"OK"]
            assert t.conn("a").until_closed() == b""
            assert t.cmd("b GET k") == b"1"


def test_types_of_aborts(anax, redis):
    """EXEC of what a watch prevented: null; RESP2 writes it as an array."""
    for server in (anax, redis):
        for proto, raw in ((2, b"*-1\r\n"), (3, b"_\r\n")):
            with Talk(server, proto) as t:
                t.all("a WATCH k1 k2\nb SET k2 x\na MULTI\na SET k1 x")
                assert t.say("a EXEC").raw == raw


# --- much ------------------------------------------------------------------------------------------

MANY = 10_000


@pytest.mark.parametrize("tag", TAGS)
def test_many_commands(anax, redis, tag):
    commands = [["MULTI"]]
    for i in range(MANY // 2):
        key = "%sn%d" % (tag, i % 100)
        commands += [["INCR", key], ["GET", "%sn%d" % (tag, (i * 7) % 100)]]
    commands += [["EXEC"], ["GET", tag + "n0"]]
    replies = []
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with server.connect() as c:
            replies.append([r.raw for r in c.pipeline(commands)])
    assert replies[0] == replies[1]
    assert replies[0][-2].startswith(b"*%d\r\n" % MANY)


def check_large_values(anax, size):
    values = [bytes([65 + i]) * size for i in range(3)]
    keys = ["k1", "k2", "{k1}3"]
    with anax.connect() as c:
        commands = [["MULTI"]] + [["SET", k, v] for k, v in zip(keys, values)]
        commands += [["APPEND", "k1", values[1]], ["GET", "k1"], ["MGET"] + keys, ["STRLEN", "k1"], ["EXEC"]]
        replies = [r.value for r in c.pipeline(commands)]
        assert replies[:-1] == [b"OK"] + [b"QUEUED"] * 7
        joined = values[0] + values[1]
        assert replies[-1] == [b"OK"] * 3 + [2 * size, joined, [joined, values[1], values[2]], 2 * size]
        assert c.cmd("MGET", *keys) == [joined, values[1], values[2]]
        c.ok("MULTI")
        assert c.cmd("SET", "k1", values[2]) == b"QUEUED"
        c.ok("DISCARD")
        assert c.cmd("STRLEN", "k1") == 2 * size
        anax.cmd("FLUSHALL")


@pytest.mark.parametrize("size", [100, 5000, 1 << 20])
def test_large_values(anax, size):
    """What is queued is kept byte for byte, whichever way it was received, and replied from where it lies."""
    check_large_values(anax, size)


def test_very_large_values(anax2):
    check_large_values(anax2, 20 << 20)


def transactions(rng, tag):
    """A pipeline of some transactions, and single commands between them."""
    keys = [tag + "p%d" % i for i in range(6)]
    out = []
    for _ in range(12):
        body = []
        for _ in range(rng.randrange(6)):
            a, b = rng.choice(keys), rng.choice(keys)
            body.append(rng.choice([["INCR", a], ["SET", a, str(rng.randrange(100))], ["MGET", a, b],
                                    ["MSET", a, "5", b, "6"], ["GET", a], ["DEL", a, b], ["RENAME", a, b],
                                    ["SET", a, "9" * 15 + "8" * 3], ["APPEND", b, "7" * rng.randrange(300)],
                                    ["SET", b, "x" * rng.choice([10, 3000])], ["NOSUCH"], ["PING"], ["DBSIZE"]]))
        out += rng.choice([[["MULTI"]] + body + [["EXEC"]], body, [["WATCH", rng.choice(keys)]],
                           [["MULTI"]] + body + [["DISCARD"]], [["WATCH"] + keys, ["MULTI"]] + body + [["EXEC"]]])
    return out


@pytest.mark.parametrize("tag", TAGS)
def test_any_pieces(anax, redis, tag):
    """The bytes of pipelined transactions come in pieces that end anywhere."""
    for seed in range(3 if SLOW else 10):
        rng = random.Random(seed)
        commands = transactions(rng, tag)
        data = b"".join(encode(c) for c in commands)
        cuts = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.choice([1, 7, 40]))))
        pieces = [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]
        replies = []
        for server, sent in ((anax, pieces), (redis, [data])):
            server.cmd("FLUSHALL")
            with server.connect() as c:
                for piece in sent:
                    c.send(piece)
                    if server is anax and rng.random() < 0.3:
                        anax.cmd("PING")  # so that pieces are not joined again on their way
                replies.append([(command, c.read().raw) for command in commands])
        assert replies[0] == replies[1], seed


# --- the end of a connection -------------------------------------------------------------------------


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_disconnect_anywhere(anax, tag, end):
    """A transaction whose EXEC has not come whole has not happened, and nothing of it is left."""
    keys = [tag + "d%d" % i for i in range(4)]
    commands = [["WATCH"] + keys, ["MULTI"]] + [["SET", k, "new" * 50] for k in keys] + [["EXEC"]]
    data = b"".join(encode(c) for c in commands)
    ends = {len(b"".join(encode(c) for c in commands[:n])) for n in range(1, len(commands))}
    with anax.connect() as other:
        for at in sorted(ends | set(range(1, len(data) - 1, 67)) | {len(data) - 1}):
            other.cmd("MSET", *[x for k in keys for x in (k, "old")])
            with anax.connect() as c:
                c.send(data[:at])
                if at in ends:  # all that was sent is answered
                    for _ in range(sum(1 for e in ends if e <= at)):
                        assert not isinstance(c.read().value, Error)
                c.reset() if end == "reset" else c.close()
            assert other.cmd("MGET", *keys) == [b"old"] * 4, at
            assert other.pipeline([["MULTI"]] + [["INCR", "n"], ["GET", keys[3]]] + [["EXEC"]])[-1].value[1] == b"old"
        for k in keys:  # nobody holds them
            assert other.cmd("SET", k, "1") == b"OK"
    wait_until(lambda: int(anax.info("clients")["connected_clients"]) == 1, "clients that went away")


def test_disconnect_with_replies_unread(anax):
    """EXEC has come, its client has not waited: all of it happens, or nothing."""
    with anax.connect() as other:
        for i in range(30):
            c = anax.connect()
            c.send(b"".join(encode(x) for x in (["MULTI"], ["SET", "u1", str(i)], ["SET", "u2", str(i)],
                                                ["SET", "u3", str(i)], ["EXEC"])))
            c.reset() if i % 2 else c.close()
            seen = other.cmd("MGET", "u1", "u2", "u3")
            assert len(set(seen)) == 1, seen


def test_protocol_error_inside(anax, redis):
    for server in (anax, redis):
        with Talk(server) as t:
            t.cmd("b SET k old")
            t.all("a MULTI\na SET k new")
            t.conn("a").send(b"*1\r\n+3\r\n")
            assert t.conn("a").until_closed() == b"-ERR Protocol error: expected '$', got '+'\r\n"
            assert t.cmd("b GET k") == b"old"


def test_inline(anax, redis):
    for server in (anax, redis):
        with server.connect() as c:
            c.send(b"MULTI\r\nSET q 1\r\nget q\r\n\r\nEXEC\r\n")
            assert [c.read().raw for _ in range(4)] == [b"+OK\r\n", b"+QUEUED\r\n", b"+QUEUED\r\n",
                                                        b"*2\r\n+OK\r\n$1\r\n1\r\n"]


# --- replies that are not wanted -----------------------------------------------------------------------

REPLIES = {
    "skip before": ["CLIENT REPLY SKIP", "MULTI", "SET q 1", "EXEC"],
    "skip before EXEC's body": ["MULTI", "SET q 1", "CLIENT REPLY SKIP", "EXEC", "PING x", "PING y"],
    "skip inside": ["MULTI", "CLIENT REPLY SKIP", "PING a", "EXEC", "PING x", "PING y"],
    "off before": ["CLIENT REPLY OFF", "MULTI", "SET q 1", "EXEC"],
    "off, DISCARD": ["CLIENT REPLY OFF", "MULTI", "SET q 1", "DISCARD"],
    "off inside": ["MULTI", "PING z", "CLIENT REPLY OFF", "PING a", "EXEC", "PING x"],
    "off inside, keys": ["MULTI", "SET q 2", "CLIENT REPLY OFF", "GET q", "GET r", "EXEC", "PING x"],
    "on inside": ["MULTI", "CLIENT REPLY ON", "PING a", "EXEC"],
    "off, on inside": ["CLIENT REPLY OFF", "MULTI", "PING a", "CLIENT REPLY ON", "PING b", "EXEC"],
    "off, errors": ["CLIENT REPLY OFF", "MULTI", "NOSUCH", "EXEC", "EXEC", "MULTI", "SET q 3", "EXEC"],
    "skip WATCH": ["CLIENT REPLY SKIP", "WATCH q", "SET q 5", "MULTI", "PING", "EXEC"],
    "wrong inside": ["MULTI", "CLIENT REPLY WRONG", "EXEC"],
}


@pytest.mark.parametrize("name", REPLIES)
def test_client_reply(anax, redis, name):
    """Byte for byte what comes between, with GET q as the end of it."""
    seen = []
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with server.connect() as c:
            for line in REPLIES[name] + ["CLIENT REPLY ON", "ECHO the-end"]:
                c.send(encode(line.split()))
            got = b""
            while not got.endswith(b"the-end\r\n"):
                got += c.sock.recv(1 << 16)
            seen.append((got, c.cmd("GET", "q")))
    assert seen[0] == seen[1]


# --- who may -------------------------------------------------------------------------------------------


def test_password(shards):
    """What is queued was allowed when it came; AUTH inside counts for what comes after."""
    script = """
        a MULTI
        a EXEC
        a AUTH wrong
        a AUTH secret
        a MULTI
        a AUTH wrong
        a SET k 1
        a AUTH default secret
        a GET k
        a EXEC
        a GET k
        a MULTI
        a HELLO 3 AUTH default wrong
        a GET k
        a EXEC"""
    said = []
    for kind in ("anax", "redis"):
        with Server(kind, shards=shards, options={"requirepass": "secret"}) as server:
            server.password = None  # connections of this test authenticate themselves
            with Talk(server) as t:
                said.append(t.all(script))
            server.password = "secret"
    assert said[0] == said[1]


def test_command_info(anax2, redis):
    """The rows are as in 7.0; test_rows.py compares them with Redis 8 and Valkey 9."""
    with anax2.connect() as a, redis.connect() as b:
        for name in ("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"):
            ours, theirs = a.cmd("COMMAND", "INFO", name)[0], b.cmd("COMMAND", "INFO", name)[0]
            assert ours[:2] + ours[3:6] == theirs[:2] + theirs[3:6], name
            assert sorted(ours[2]) == sorted(theirs[2]), name
            assert sorted(ours[6]) == sorted(theirs[6]), name
