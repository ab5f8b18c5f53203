"""CLIENT, AUTH, HELLO, RESET and protected mode: against redis-server 7.0 and, for what is newer, a model."""

import contextlib
import fcntl
import random
import socket
import struct

import pytest

from compare import kind
from harness import DEADLINE_S, Closed, Conn, Error, SLOW, Server, Verbatim, encode, wait_until

NOBODY = "999999999"  # an id that no client has


# --- replies, one command on a fresh connection each ---------------------------------------------------

# Everything that 7.0 answers and Redis 8 and Valkey 9 have not changed since.
LISTED = """
CLIENT
CLIENT NOSUCH
CLIENT NOSUCH x
CLIENT ID
CLIENT ID x
CLIENT INFO x
CLIENT GETNAME
CLIENT GETNAME x
CLIENT SETNAME
CLIENT SETNAME x
CLIENT SETNAME x y
CLIENT HELP x
CLIENT LIST TYPE
CLIENT LIST TYPE x
CLIENT LIST TYPE normal x
CLIENT LIST TYPE master
CLIENT LIST TYPE SLAVE
CLIENT LIST TYPE replica
CLIENT LIST TYPE pubsub
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST ID 0
CLIENT LIST ID -1
CLIENT LIST ID 1.5
CLIENT LIST ID 999999999
CLIENT LIST ID 999999999 999999998 999999999
CLIENT LIST ID 1 2 y
CLIENT LIST ID 99999999999999999999
CLIENT LIST ID 1 99999999999999999999
CLIENT LIST x
CLIENT LIST x y
CLIENT LIST x y z
CLIENT KILL
CLIENT KILL x
CLIENT KILL ID
CLIENT KILL TYPE
CLIENT KILL 127.0.0.1:
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID -1
CLIENT KILL ID 01
CLIENT KILL ID 99999999999999999999
CLIENT KILL ID 999999999
CLIENT KILL ID 999999999 ID 999999998
CLIENT KILL ID 999999999 x
CLIENT KILL TYPE x
CLIENT KILL TYPE master
CLIENT KILL TYPE slave
CLIENT KILL TYPE REPLICA
CLIENT KILL TYPE pubsub
CLIENT KILL TYPE pubsub TYPE x
CLIENT KILL USER x
CLIENT KILL USER DEFAULT
CLIENT KILL USER default ID 999999999
CLIENT KILL USER nosuch SKIPME x
CLIENT KILL SKIPME x
CLIENT KILL SKIPME x ID 999999999
CLIENT KILL SKIPME no ID 999999999
CLIENT KILL skipme YES id 999999999
CLIENT KILL ADDR x
CLIENT KILL ADDR x y
CLIENT KILL ADDR x y z
CLIENT KILL LADDR 1.2.3.4:5
CLIENT KILL foo bar
CLIENT KILL foo bar ID 999999999
CLIENT UNBLOCK
CLIENT UNBLOCK x
CLIENT UNBLOCK 1
CLIENT UNBLOCK 0
CLIENT UNBLOCK -1 ERROR
CLIENT UNBLOCK 1 x
CLIENT UNBLOCK x y
CLIENT UNBLOCK 1 timeout
CLIENT UNBLOCK 1 error
CLIENT UNBLOCK 1 timeout x
CLIENT UNBLOCK 99999999999999999999
CLIENT NO-EVICT
CLIENT NO-EVICT x
CLIENT NO-EVICT on
CLIENT NO-EVICT OFF
CLIENT NO-EVICT on x
CLIENT REPLY x
CLIENT REPLY on
AUTH
AUTH x
AUTH x y
AUTH x y z
AUTH default y
AUTH DEFAULT y
HELLO x
HELLO 1
HELLO 4
HELLO 2 x
HELLO 2 AUTH
HELLO 2 AUTH x
HELLO 2 AUTH x y
HELLO 3 AUTH default
HELLO 2 SETNAME
HELLO 2 SETNAME x AUTH x y
HELLO 99999999999999999999
QUIT
QUIT x
RESET
RESET x
SELECT
SELECT 15
SELECT 16
SELECT -1
SELECT 01
SELECT x
SELECT 2147483648
SELECT -2147483649
SELECT 99999999999999999999
""".strip().splitlines()

BYTES = [["CLIENT", "SETNAME", b""], ["CLIENT", "SETNAME", b"a b"], ["CLIENT", "SETNAME", b"\x01"],
         ["CLIENT", "SETNAME", b"\x7f"], ["CLIENT", "SETNAME", b"!~"], ["CLIENT", "SETNAME", b"x" * 5000],
         ["HELLO", "2", "SETNAME", b"a\nb"], ["CLIENT", "KILL", b""], ["CLIENT", "KILL", "TYPE", b""],
         ["CLIENT", "KILL", "USER", b""], ["CLIENT", "LIST", b""], ["CLIENT", "LIST", "TYPE", b"x" * 100],
         ["CLIENT", "UNBLOCK", b""], ["AUTH", b""], ["AUTH", b"", b""], ["SELECT", b""]]


def one(server, args):
    with Conn(server.address) as c:
        return c.cmd(*args)


def alike(ours, theirs):
    if isinstance(theirs, (Error, int)) or theirs in (b"", None):
        return type(ours) is type(theirs) and ours == theirs
    return kind(ours) == kind(theirs)


@pytest.mark.parametrize("shards", [1, 3])
def test_listed(pool, redis, shards):
    anax = pool.get("anax", shards)
    for args in [line.split(" ") for line in LISTED] + BYTES:
        if args == ["CLIENT", "ID"]:
            continue
        ours, theirs = one(anax, args), one(redis, args)
        assert alike(ours, theirs), (args, ours, theirs)


def test_newer_errors(anax2, against_redis_itself):
    """What only Redis 8 and Valkey 9 know."""
    expected = {
        "CLIENT LIST MAXAGE x": "ERR maxage is not an integer or out of range",
        "CLIENT LIST MAXAGE 99999999999999999999": "ERR maxage is not an integer or out of range",
        "CLIENT KILL MAXAGE 0": "ERR maxage should be greater than 0",
        "CLIENT KILL MAXAGE -1": "ERR maxage should be greater than 0",
        "CLIENT LIST IDLE x": "ERR idle is not an integer or out of range",
        "CLIENT LIST IDLE 0": "ERR idle should be greater than 0",
        "CLIENT LIST FLAGS Q": "ERR Unknown flags found in the provided filter: Q",
        "CLIENT LIST NAME x FLAGS NZ": "ERR Unknown flags found in the provided filter: NZ",
        "CLIENT KILL CAPA x": "ERR Unknown capa found in the provided filter: x",
        "CLIENT KILL NOT-CAPA rx": "ERR Unknown capa found in the provided filter: rx",
        "CLIENT LIST DB x": "ERR value is not an integer or out of range",
        "CLIENT LIST DB 16": "ERR DB number should be between 0 and 15",
        "CLIENT LIST DB -1": "ERR DB number should be between 0 and 15",
        "CLIENT LIST USER x": "ERR No such user 'x'",
        "CLIENT LIST NOT-USER x": "ERR No such user 'x'",
        "CLIENT LIST NOT-TYPE x": "ERR Unknown client type 'x'",
        "CLIENT LIST NOT-ID 0": "ERR client-id should be greater than 0",
        "CLIENT LIST NOT-ID x": "ERR syntax error",
        "CLIENT LIST NOT-ID 1 x": "ERR syntax error",
        "CLIENT KILL NOT-ID -1": "ERR client-id should be greater than 0",
        "CLIENT KILL ID 1 2 0": "ERR client-id should be greater than 0",
        "CLIENT LIST SKIPME x": "ERR syntax error",
        "CLIENT LIST NOT-SKIPME yes": "ERR syntax error",
        "CLIENT LIST NOT-MAXAGE 1": "ERR syntax error",
        "CLIENT LIST NOT- 1": "ERR syntax error",
        "CLIENT LIST NAME": "ERR syntax error",
        "CLIENT LIST ID 1 NAME": "ERR Invalid client ID",
        "CLIENT SETINFO LIB-NAME": "ERR wrong number of arguments for 'client|setinfo' command",
        "CLIENT SETINFO x y": "ERR Unrecognized option 'x'",
        "CLIENT NO-TOUCH x": "ERR syntax error",
        "CLIENT CAPA": "ERR wrong number of arguments for 'client|capa' command",
    }
    for line, error in expected.items():
        reply = one(anax2, line.split(" "))
        assert isinstance(reply, Error) and reply == error.encode(), (line, reply)
    bad = one(anax2, ["CLIENT", "SETINFO", "lib-ver", "1 2"])
    assert bad == b"ERR lib-ver cannot contain spaces, newlines or special characters."
    for good in (["CLIENT", "CAPA", "redirect", "no-such-thing"], ["CLIENT", "SETINFO", "LIB-NAME", ""],
                 ["CLIENT", "NO-TOUCH", "on"]):
        assert one(anax2, good) == b"OK"


# --- random streams ------------------------------------------------------------------------------------


def draw(rng):
    """A command that kills nobody and of which 7.0 knows everything."""
    pick = rng.choice
    kill_filter = [lambda: ["ID", pick([NOBODY, "0", "x", "-5"])],
                   lambda: ["TYPE", pick(["master", "replica", "slave", "pubsub", "normal", "x", ""])],
                   lambda: ["USER", pick(["default", "x", "Default"])],
                   lambda: [pick(["ADDR", "LADDR"]), pick(["x", "127.0.0.1:1", ""])],
                   lambda: ["SKIPME", pick(["yes", "NO", "no", "x"])],
                   lambda: [pick(["junk", "TYPE", "SKIPME", "ADDR"])]]
    kinds = [
        lambda: ["CLIENT", "SETNAME", pick(["a", "b", "", "a b", "long" * 30])],
        lambda: ["CLIENT", "GETNAME"],
        lambda: ["CLIENT", "NO-EVICT", pick(["on", "off", "x"])],
        lambda: ["CLIENT", "LIST"] + pick([[], ["TYPE", pick(["normal", "master", "x", "pubsub"])],
                                           ["ID"] + [pick([NOBODY, "0", "x"]) for _ in range(rng.randint(0, 3))]]),
        lambda: ["CLIENT", "KILL"] + sum([pick(kill_filter)() for _ in range(rng.randint(0, 3))], [])
        + ["ID", NOBODY],
        lambda: ["CLIENT", "UNBLOCK", pick(["1", "x", NOBODY])] + pick([[], ["ERROR"], ["timeout"], ["x"], ["x", "y"]]),
        lambda: ["CLIENT", pick(["INFO", "ID", "GETNAME", "HELP", "NOSUCH"])] + pick([[], [], ["x"]]),
        lambda: ["AUTH"] + pick([["x"], ["default", "x"], ["x", "y"], ["a", "b", "c"], []]),
        lambda: ["HELLO"] + pick([[], ["2"], ["3"], ["4"], ["2", "SETNAME", pick(["n", "n n"])],
                                  ["3", "AUTH", pick(["default", "x"]), "y"]]),
        lambda: ["SELECT", pick(["0", "3", "15", "16", "x"])],
        lambda: ["RESET"],
        lambda: ["PING"],
        lambda: ["SET", "k", pick(["1", "2"])],
        lambda: ["GET", "k"],
    ]
    return pick(kinds)()


def fields_of(line):
    """The names of a line of CLIENT LIST and their values, in order."""
    return [tuple(f.split("=", 1)) for f in line.split(" ")]


def lines_of(text):
    assert text == b"" or text.endswith(b"\n"), text
    return [dict(fields_of(line)) for line in text.decode().splitlines()]


STATE = ("name", "flags", "db", "sub", "psub", "ssub", "multi", "multi-mem", "obl", "oll", "omem", "events", "cmd",
         "user", "redir", "resp")  # what a connection says of itself, whoever the server is


def same_list(ours, theirs):
    if kind(ours) != kind(theirs):
        return False
    ours, theirs = (ours.split(b"txt:")[-1], theirs.split(b"txt:")[-1])
    names = [name for name, _ in fields_of(theirs.decode().split("\n")[0])] if theirs else []
    for line in ours.decode().splitlines():
        mine = [name for name, _ in fields_of(line)]
        if [n for n in mine if n in names] != names:
            return False
    return bool(ours) == bool(theirs)


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(2))
def test_streams(pool, redis, shards, seed):
    rng = random.Random(seed * 100 + shards)
    servers = pool.get("anax", shards), redis
    for server in servers:
        server.cmd("FLUSHALL")
    with servers[0].connect() as a, servers[1].connect() as b:
        history = []
        for _ in range(300 if SLOW else 1000):
            args = draw(rng)
            history = history[-20:] + [args]
            try:
                ours, theirs = a.cmd(*args), b.cmd(*args)
            except Closed:
                raise AssertionError(history) from None
            if args[0] == "HELLO" and not isinstance(theirs, Error):
                same = kind(ours) == kind(theirs)
            elif args[:2] == ["CLIENT", "LIST"] and not isinstance(theirs, Error):
                same = same_list(ours, theirs)
            elif args[:2] == ["CLIENT", "INFO"] and len(args) == 2:
                x, y = lines_of(bytes(ours))[0], lines_of(bytes(theirs))[0]
                ours, theirs = [(n, x[n]) for n in STATE], [(n, y[n]) for n in STATE]
                same = ours == theirs
            elif args in (["CLIENT", "ID"], ["CLIENT", "HELP"]):
                same = kind(ours) == kind(theirs)
            else:
                same = type(ours) is type(theirs) and ours == theirs
            assert same, (seed, history, ours, theirs)
            if args == ["RESET"]:
                b.ok("CLIENT", "NO-EVICT", "off")  # Redis 7.2 and later do that by RESET


# --- a line of CLIENT LIST -----------------------------------------------------------------------------

REDIS_8 = ("id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs "
           "rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver io-thread tot-net-in tot-net-out "
           "tot-cmds").split()


def me(conn):
    return lines_of(bytes(conn.cmd("CLIENT", "INFO")))[0]


def seen(watcher, ident):
    """The line of one client as another one sees it, or None."""
    lines = lines_of(bytes(watcher.cmd("CLIENT", "LIST", "ID", str(ident))))
    assert len(lines) <= 1
    return lines[0] if lines else None


def test_fields_in_order(anax, redis):
    with anax.connect() as a, redis.connect() as b:
        names = [n for n, _ in fields_of(a.cmd("CLIENT", "LIST").decode().split("\n")[0])]
        older = [n for n, _ in fields_of(b.cmd("CLIENT", "LIST").decode().split("\n")[0])]
        assert names == REDIS_8 + ["capa"]
        assert [n for n in names if n in older] == older
        a.cmd("HELLO", "3")
        assert isinstance(a.cmd("CLIENT", "LIST"), Verbatim) and isinstance(a.cmd("CLIENT", "INFO"), Verbatim)


def test_values(anax):
    with anax.connect() as c, anax.connect() as watcher:
        ident = c.cmd("CLIENT", "ID")
        line = me(c)
        host, port = c.sock.getsockname()
        assert line["id"] == str(ident) and line["addr"] == "%s:%d" % (host, port)
        assert line["laddr"] == "127.0.0.1:%d" % anax.port
        assert int(line["fd"]) in anax.descriptors()
        assert (line["flags"], line["db"], line["resp"], line["cmd"], line["events"]) == ("N", "0", "2", "client|info", "r")
        assert line["name"] == line["lib-name"] == line["lib-ver"] == line["capa"] == "" and line["user"] == "default"
        assert 0 <= int(line["io-thread"]) < anax.shards and int(line["tot-mem"]) > 0
        assert int(line["idle"]) == 0 <= int(line["age"])
        c.ok("CLIENT", "SETNAME", "n" * 3000)
        c.ok("CLIENT", "SETINFO", "lib-name", "L" * 2000)
        c.ok("CLIENT", "SETINFO", "lib-ver", "1.2")
        c.ok("CLIENT", "CAPA", "REDIRECT")
        c.ok("CLIENT", "NO-EVICT", "on")
        c.ok("CLIENT", "NO-TOUCH", "on")
        c.ok("SELECT", "7")
        c.cmd("HELLO", "3")
        c.cmd("OBJECT", "ENCODING", "missing")
        line = seen(watcher, ident)
        assert (line["name"], line["lib-name"], line["lib-ver"]) == ("n" * 3000, "L" * 2000, "1.2")
        assert (line["flags"], line["db"], line["resp"], line["capa"]) == ("eT", "7", "3", "r")
        assert line["cmd"] == "object|encoding"
        c.cmd("RESET")
        line = seen(watcher, ident)
        assert (line["name"], line["flags"], line["db"], line["resp"], line["cmd"]) == ("", "N", "0", "2", "reset")
        assert (line["lib-name"], line["capa"]) == ("L" * 2000, "r")  # the library stays the same
        c.cmd("NOSUCH")
        assert seen(watcher, ident)["cmd"] == "NULL"
        c.ok("CLIENT", "SETINFO", "lib-name", "")
        assert seen(watcher, ident)["lib-name"] == ""


def test_totals(anax):
    """tot-net-in, tot-net-out and tot-cmds count what this connection sent and got."""
    with anax.connect() as c, anax.connect() as watcher:
        ident = c.cmd("CLIENT", "ID")
        request = [["SET", "k%d" % i, "v" * i] for i in range(100)] + [["GET", "k%d" % i] for i in range(100)]
        sent = sum(len(encode(r)) for r in request)
        before = seen(watcher, ident)
        got = sum(len(r.raw) for r in c.pipeline(request))
        after = seen(watcher, ident)
        assert int(after["tot-net-in"]) - int(before["tot-net-in"]) == sent
        assert int(after["tot-net-out"]) - int(before["tot-net-out"]) == got
        assert int(after["tot-cmds"]) - int(before["tot-cmds"]) == 200
        assert after["cmd"] == "get"
        for field in ("sub", "psub", "ssub", "watch", "multi-mem", "qbuf", "argv-mem", "obl", "oll", "omem"):
            assert after[field] == "0", field


def test_large_values_under_way_count(anax2):
    """Of a value that is sent from where it lies too: tot-mem is never less than omem, as in Redis."""
    with anax2.connect() as watcher, Conn(anax2.address, rcvbuf_bytes=4096) as late:
        ident = late.cmd("CLIENT", "ID")
        watcher.ok("SET", "large", b"x" * 1_000_000)
        late.send(encode(["GET", "large"]) * 20)
        wait_until(lambda: int(seen(watcher, ident)["omem"]) >= 10_000_000, "most of it waits")
        line = seen(watcher, ident)
        assert int(line["tot-mem"]) >= int(line["omem"]) and int(line["oll"]) >= 10, line


def test_half_a_command_is_seen(anax2):
    with anax2.connect() as c, anax2.connect() as watcher:
        ident = c.cmd("CLIENT", "ID")
        half = b"*2\r\n$3\r\nGET\r\n$100\r\nabc"
        c.send(half)
        wait_until(lambda: int(seen(watcher, ident)["qbuf"]) == len(half), "qbuf is what came")
        assert int(seen(watcher, ident)["argv-mem"]) == 0
        c.send(b"x" * 97 + b"\r\n")
        assert c.read().value is None
        assert seen(watcher, ident)["qbuf"] == "0"
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n" + b"x" * 400_000)
        wait_until(lambda: int(seen(watcher, ident)["argv-mem"]) >= 1_000_000, "a large argument has its place")
        assert int(seen(watcher, ident)["tot-mem"]) >= 1_000_000
        c.send(b"x" * 600_000 + b"\r\n")
        assert c.read().value == b"OK"
        assert seen(watcher, ident)["argv-mem"] == "0"


def test_unread_replies_are_seen(anax2):
    with Conn(anax2.address, rcvbuf_bytes=4096) as c, anax2.connect() as watcher:
        ident = c.cmd("CLIENT", "ID")
        watcher.ok("SET", "large", b"x" * 3_000_000)
        watcher.ok("SET", "small", b"x" * 10_000)
        c.send(encode(["GET", "large"]) * 4 + encode(["GET", "small"]) * 20)
        wait_until(lambda: int(seen(watcher, ident)["omem"]) > 6_000_000, "replies wait")
        wait_until(lambda: seen(watcher, ident)["events"] == "rw", "for the socket")
        line = seen(watcher, ident)
        assert int(line["obl"]) > 0 and int(line["oll"]) > 0 and int(line["rbs"]) >= int(line["obl"])
        assert int(line["rbp"]) >= int(line["rbs"])
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for _ in range(4):
            assert len(c.read().value) == 3_000_000
        for _ in range(20):
            assert len(c.read().value) == 10_000
        line = seen(watcher, ident)
        assert (line["obl"], line["oll"], line["omem"], line["events"]) == ("0", "0", "0", "r")


def test_unix_socket_and_monitor(tmp_path):
    path = str(tmp_path / "anax.sock")
    with Server("anax", shards=3, options={"unixsocket": path}) as server:
        with Conn(path) as c, Conn(path) as m, server.connect() as watcher:
            line = me(c)
            assert (line["flags"], line["addr"], line["laddr"]) == ("U", path + ":0", path + ":0")
            ident = m.cmd("CLIENT", "ID")
            m.ok("MONITOR")
            assert seen(watcher, ident)["flags"] == "OU"
            ids = {x["id"] for x in lines_of(watcher.cmd("CLIENT", "LIST", "IP", path))}
            assert ids == {line["id"], str(ident)}
            watcher.ok("CLIENT", "KILL", path + ":0")  # all that have this address
            assert c.until_closed() == b""
            m.until_closed()
            assert len(lines_of(watcher.cmd("CLIENT", "LIST"))) == 1


def test_reset_ends_monitor(anax2):
    with anax2.connect() as m, anax2.connect() as other:
        ident = m.cmd("CLIENT", "ID")
        m.ok("MONITOR")
        assert seen(other, ident)["flags"] == "O"
        m.send(encode(["RESET"]))
        while (value := m.read().value) != b"RESET":
            assert b"\"RESET\"" not in value and value[:1].isdigit(), value
        assert seen(other, ident)["flags"] == "N"
        assert [other.cmd("PING"), m.cmd("PING")] == [b"PONG", b"PONG"]


def arrived(server, n):
    """Connections that their shards know, which connect() alone does not promise."""
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect()) for _ in range(n)]
        for c in conns:
            assert c.cmd("PING") == b"PONG"
        stack.pop_all()
        return conns


def test_reset_turns_replies_on(anax, redis):
    for server in (anax, redis):
        with server.connect() as c:
            c.send(b"".join(encode(x) for x in [["CLIENT", "REPLY", "OFF"], ["PING"], ["RESET"], ["ECHO", "x"]]))
            assert [c.read().value, c.read().value] == [b"RESET", b"x"], server.kind
            c.send(b"".join(encode(x) for x in [["CLIENT", "REPLY", "SKIP"], ["RESET"], ["ECHO", "y"]]))
            assert c.read().value == b"y", server.kind  # this RESET is what was to be skipped


def test_list_is_in_the_order_of_ids(anax):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(c) for c in arrived(anax, 30)]
        ids = [int(line["id"]) for line in lines_of(conns[3].cmd("CLIENT", "LIST"))]
        assert ids == sorted(ids) and set(ids) >= {c.cmd("CLIENT", "ID") for c in conns}
        wanted = random.Random(1).sample(ids, 10)
        got = lines_of(conns[0].cmd("CLIENT", "LIST", "ID", *map(str, wanted)))
        assert {int(line["id"]) for line in got} == set(wanted)


# --- filters, of LIST and of KILL ----------------------------------------------------------------------


class Crowd:
    """Connections that differ in what filters ask about; whoever is killed is replaced."""

    PEOPLE = 12

    def __init__(self, server):
        self.server = server
        self.conns = {}
        self.watcher = server.connect()
        self.me = self.watcher.cmd("CLIENT", "ID")
        self.fill()

    def fill(self):
        for i in range(self.PEOPLE):
            if i in self.conns:
                continue
            c = self.conns[i] = self.server.connect()
            if i % 3:
                c.ok("CLIENT", "SETNAME", "name%d" % (i % 3))
            if i % 4:
                c.ok("CLIENT", "SETINFO", "lib-name", "lib%d" % (i % 4))
                c.ok("CLIENT", "SETINFO", "lib-ver", "%d.0" % (i % 2))
            if i % 5 == 0:
                c.ok("CLIENT", "CAPA", "redirect")
            c.ok("CLIENT", "NO-EVICT", "on" if i % 2 else "off")
            c.ok("CLIENT", "NO-TOUCH", "on" if i % 6 == 1 else "off")
            c.ok("SELECT", str(i % 4))

    def people(self):
        """Everybody's line, by id."""
        return {int(line["id"]): line for line in lines_of(self.watcher.cmd("CLIENT", "LIST"))}

    def close(self):
        for c in self.conns.values():
            c.close()
        self.watcher.close()


def has(line, name, value):
    """Does this line of CLIENT LIST have what a filter asks for?"""
    name = name.lower()
    if name == "id":
        return line["id"] in value.split()
    if name == "type":
        return value == "normal"
    if name in ("maxage", "idle"):
        return int(line["age" if name == "maxage" else "idle"]) >= int(value)
    if name in ("flags", "capa"):
        return set(value) <= set(line[name])
    if name == "ip":
        return line["addr"].rsplit(":", 1)[0] == value
    return line[name] == value and (value != "" or name not in ("name", "lib-name", "lib-ver"))


def expected(people, filters):
    """filters: (name, value) pairs; of one that comes twice the last counts, but ids add up."""
    last = {}
    for name, value in filters:
        name = name.lower()
        if name in ("id", "not-id"):
            value = (last.get(name, "") + " " + value).strip()
        last[name] = value
    out = set()
    for ident, line in people.items():
        if all(not has(line, n[4:], v) if n.startswith("not-") else has(line, n, v) for n, v in last.items()):
            out.add(ident)
    return out


def draw_filters(rng, people):
    """Filters with values that somebody has, most of the time."""
    line = rng.choice(sorted(people.values(), key=lambda x: int(x["id"])))
    some_ids = " ".join(rng.sample(sorted(x["id"] for x in people.values()), rng.randint(1, 4)))
    values = {"id": some_ids, "type": rng.choice(["normal", "normal", "pubsub", "master"]), "user": "default",
              "addr": line["addr"], "laddr": line["laddr"], "ip": rng.choice(["127.0.0.1", "1.2.3.4"]),
              "name": line["name"] or "name1", "lib-name": line["lib-name"] or "nolib",
              "lib-ver": line["lib-ver"] or "9", "flags": rng.choice(["N", "e", "eT", "Te", "T", "O", "c"]),
              "capa": "r", "db": line["db"], "maxage": "1000000", "idle": "1000000"}
    out = []
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        name = rng.choice(sorted(values))
        no = "not-" if name not in ("maxage", "idle", "user") and rng.random() < 0.4 else ""
        if name in ("maxage", "idle") and rng.random() < 0.7:
            continue
        out.append((rng.choice([str.upper, str.lower])(no + name), values[name]))
    return out or [("ID", some_ids)]


def words(filters):
    return sum(([name] + value.split() if name.lower() in ("id", "not-id") else [name, value]
                for name, value in filters), [])


FIXED = [[("ID", "2 3")], [("NAME", "")], [("NOT-NAME", "")], [("LIB-NAME", "")], [("FLAGS", "")], [("CAPA", "")],
         [("NOT-FLAGS", "N")], [("TYPE", "primary"), ("TYPE", "normal")], [("NAME", "none"), ("NAME", "name1")]]


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_filters(pool, shards):
    """LIST shows and KILL closes exactly those that the model finds in the lines of all."""
    server = pool.get("anax", shards)
    rng = random.Random(shards)
    crowd = Crowd(server)
    try:
        for round_ in range(20 if SLOW else 60):
            crowd.fill()
            people = crowd.people()
            assert len(people) == Crowd.PEOPLE + 1
            filters = FIXED[round_] if round_ < len(FIXED) else draw_filters(rng, people)
            wanted = expected(people, filters)
            args = words(filters)
            listed = {int(line["id"]) for line in lines_of(crowd.watcher.cmd("CLIENT", "LIST", *args))}
            assert listed == wanted, filters
            others = {int(line["id"]) for line in lines_of(crowd.watcher.cmd("CLIENT", "LIST", *args, "SKIPME", "yes"))}
            assert others == wanted - {crowd.me}, filters
            killed = crowd.watcher.cmd("CLIENT", "KILL", *args) if len(args) > 1 else 0
            assert killed == len(others), (filters, killed, others)
            assert set(crowd.people()) == set(people) - others  # at once
            ports = {line["addr"].rsplit(":", 1)[1] for ident, line in people.items() if ident in others}
            for i, c in list(crowd.conns.items()):
                if str(c.sock.getsockname()[1]) in ports:
                    assert c.until_closed() == b""
                    c.close()
                    del crowd.conns[i]
                else:
                    assert c.cmd("PING") == b"PONG"
    finally:
        crowd.close()


def test_ages(anax2):
    """MAXAGE and IDLE in seconds: who is as old as that, or older."""
    with anax2.connect() as old, anax2.connect() as busy, anax2.connect() as watcher:
        ids = [c.cmd("CLIENT", "ID") for c in (old, busy)]

        def found(*args):
            return {int(line["id"]) for line in lines_of(watcher.cmd("CLIENT", "LIST", *args))}

        def aged():
            busy.cmd("PING")
            return set(ids) <= found("MAXAGE", "1") and ids[0] in found("IDLE", "1")

        wait_until(aged, "both are a second old, one of them idle")
        busy.cmd("PING")
        line = seen(watcher, ids[1])
        assert (ids[1] in found("IDLE", "1")) <= (int(line["idle"]) >= 1 or int(seen(watcher, ids[1])["idle"]) >= 1)
        assert not found("MAXAGE", "1000000") and not found("IDLE", "1000000")
        assert watcher.cmd("CLIENT", "KILL", "MAXAGE", "1000000") == 0
        assert watcher.cmd("CLIENT", "KILL", "IDLE", "1", "ID", str(ids[0]), "MAXAGE", "1") == 1
        assert old.until_closed() == b"" and busy.cmd("PING") == b"PONG"


# --- killing oneself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["old", "new", "id", "both"])
def test_killing_oneself_replies_first(anax, redis, form):
    """The reply arrives, replies before it too, then the end; what follows in the pipeline never runs."""
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        c, other = arrived(server, 2)
        with c, other:
            mine = "%s:%d" % c.sock.getsockname()
            kill = {"old": [mine], "new": ["ADDR", mine, "SKIPME", "no"],
                    "id": ["ID", str(c.cmd("CLIENT", "ID")), "SKIPME", "NO"],
                    "both": ["LADDR", "127.0.0.1:%d" % server.port, "SKIPME", "no"]}[form]
            before = [["SET", "before%d" % i, "v"] for i in range(20)]
            after = [["SET", "after%d" % i, "v"] for i in range(20)]
            c.send(b"".join(encode(x) for x in before + [["CLIENT", "KILL"] + kill] + after))
            got = c.until_closed()
            if form == "both":
                assert got.startswith(b"+OK\r\n" * 20 + b":") and other.until_closed() == b""
            else:
                assert got == b"+OK\r\n" * 20 + (b"+OK\r\n" if form == "old" else b":1\r\n")
        with server.connect() as again:
            assert again.cmd("DBSIZE") == 20


def test_skipme_keeps_only_oneself(anax):
    c, a, b = arrived(anax, 3)
    with c, a, b:
        before = len(lines_of(c.cmd("CLIENT", "LIST")))
        assert c.cmd("CLIENT", "KILL", "SKIPME", "yes") == before - 1
        assert a.until_closed() == b.until_closed() == b""
        assert [line["id"] for line in lines_of(c.cmd("CLIENT", "LIST"))] == [str(c.cmd("CLIENT", "ID"))]


# --- AUTH ----------------------------------------------------------------------------------------------

LOCKED = """
PING
CLIENT LIST
CLIENT ID
CLIENT KILL ID 1
CLIENT NOSUCH
AUTH x
AUTH default x
AUTH nouser pw
AUTH pw
AUTH default pw
AUTH pw x
AUTH PW
AUTH pwpw
AUTH p
HELLO x
HELLO 2 AUTH default x
HELLO 2 AUTH nouser pw
HELLO 3 AUTH default pw SETNAME n
HELLO 2 SETNAME n
RESET
QUIT
NOSUCH
GET
SELECT 1
""".strip().splitlines()


def test_password(redis):
    with Server("anax", shards=3, options={"requirepass": "pw"}) as anax, \
            Server("redis", options={"requirepass": "pw"}) as other:
        for args in [line.split(" ") for line in LOCKED] + [["AUTH", ""], ["AUTH", b"pw\0"], ["AUTH", "x" * 3000]]:
            ours, theirs = one(anax, args), one(other, args)
            if args[0] == "HELLO" and theirs.__class__ is Error and theirs.startswith(b"NOAUTH HELLO"):
                assert ours.startswith(b"NOAUTH HELLO"), ours  # the text of 7.2 and later
            else:
                assert alike(ours, theirs), (args, ours, theirs)


def test_password_changes(redis):
    """What a change of requirepass means for those who are there."""
    script = [("a", "AUTH", "pw"), ("a", "PING"), ("b", "PING"), ("a", "CONFIG", "SET", "requirepass", "new"),
              ("a", "PING"), ("a", "AUTH", "pw"), ("a", "PING"), ("b", "AUTH", "pw"), ("b", "AUTH", "new"),
              ("b", "PING"), ("b", "RESET"), ("b", "PING"), ("c", "PING"), ("a", "CONFIG", "SET", "requirepass", ""),
              ("b", "PING"), ("c", "PING"), ("c", "AUTH", "x"), ("c", "AUTH", "default", "x"), ("d", "PING"),
              ("a", "CONFIG", "SET", "requirepass", "last"), ("a", "PING"), ("b", "PING"), ("c", "PING"), ("d", "PING"),
              ("e", "PING"), ("d", "RESET"), ("d", "PING"), ("e", "HELLO", "3", "AUTH", "default", "last"),
              ("e", "PING"), ("a", "CONFIG", "GET", "requirepass")]
    with Server("anax", shards=3, options={"requirepass": "pw"}) as anax, \
            Server("redis", options={"requirepass": "pw"}) as other:
        conns = {}
        for name, *args in script:
            pair = conns.setdefault(name, None) or (Conn(anax.address), Conn(other.address))
            conns[name] = pair
            ours, theirs = (c.cmd(*args) for c in pair)
            same = kind(ours) == kind(theirs) if args[0] == "HELLO" else ours == theirs
            assert same and type(ours) is type(theirs), (name, args, ours, theirs)
        for pair in conns.values():
            for c in pair:
                c.close()


def test_unauthenticated_are_listed_and_killed():
    with Server("anax", shards=2, options={"requirepass": "pw"}) as server:
        with server.connect() as c, Conn(server.address) as stranger:
            assert stranger.cmd("PING") == b"NOAUTH Authentication required."
            # The one by which the harness saw that the server is there may not have left yet.
            wait_until(lambda: len(lines_of(c.cmd("CLIENT", "LIST", "USER", "default"))) <= 2, "two clients are left")
            lines = lines_of(c.cmd("CLIENT", "LIST", "USER", "default"))
            assert len(lines) == 2 and {line["cmd"] for line in lines} == {"ping", "client|list"}
            assert c.cmd("CLIENT", "KILL", "USER", "default") == 1
            assert stranger.until_closed() == b""


# --- protected mode ------------------------------------------------------------------------------------


def own_address():
    """An address of this machine that is not loopback."""
    get_address = 0x8915  # SIOCGIFADDR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                data = fcntl.ioctl(s.fileno(), get_address, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(data[20:24])
                if not address.startswith("127."):
                    return address
    raise AssertionError("this machine has no address but loopback, so nobody can come from elsewhere")


def from_elsewhere(server, say=b""):
    """What the server says first to a connection whose source is not loopback; its destination is."""
    with socket.socket() as s:
        s.settimeout(DEADLINE_S)
        s.bind((own_address(), 0))
        s.connect(server.address)
        s.sendall(say)
        return s.recv(4096)


def test_protected_mode():
    ping = b"PING\r\n"
    for kind_ in ("anax", "redis"):
        with Server(kind_, shards=3) as server, server.connect() as c:
            before = int(c.info("stats")["rejected_connections"])
            assert from_elsewhere(server).startswith(b"-DENIED ")
            c.ok("CONFIG", "SET", "protected-mode", "no")
            assert from_elsewhere(server, ping) == b"+PONG\r\n"
            c.ok("CONFIG", "SET", "protected-mode", "yes")
            assert from_elsewhere(server).startswith(b"-DENIED ")
            c.ok("CONFIG", "SET", "requirepass", "pw")
            assert from_elsewhere(server, ping).startswith(b"-NOAUTH ")
            c.ok("CONFIG", "SET", "requirepass", "")
            assert from_elsewhere(server).startswith(b"-DENIED ")
            assert int(c.info("stats")["rejected_connections"]) == before + 3
            assert c.cmd("PING") == b"PONG"


def test_import_source(anax2):
    """Valkey's; there is no import mode here, so nobody can be its source."""
    with anax2.connect() as c:
        assert c.cmd("CLIENT", "IMPORT-SOURCE", "ON") == b"ERR Server is not in import mode"
        c.ok("CLIENT", "IMPORT-SOURCE", "OFF")
        assert b"wrong number of arguments" in c.cmd("CLIENT", "IMPORT-SOURCE")
