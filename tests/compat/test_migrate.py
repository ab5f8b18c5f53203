"""MIGRATE: keys go to another server whole, and are gone here when it has said that it has them; whatever the other one does."""

import contextlib
import socket
import threading
import time

import pytest

import values
from harness import DEADLINE_S, Closed, Error, Server, encode, free_port, leak_checked, wait_until


@pytest.fixture(scope="module")
def peer():
    with Server("redis", options={"enable-debug-command": "yes"}) as server:
        yield server


@pytest.fixture(scope="module")
def sibling():
    with Server("anax", shards=2, options={"enable-debug-command": "yes"}) as server:
        yield server


@pytest.fixture(scope="module", params=[(1, "uring"), (2, "epoll"), (3, "uring"), (8, "epoll")], ids=str)
def ours(request):
    shards, io = request.param
    with Server("anax", shards=shards, io=io, options={"enable-debug-command": "yes"}) as server:
        yield server


@pytest.fixture
def a(ours):
    with ours.connect() as conn:
        conn.ok("FLUSHALL")
        yield conn


@pytest.fixture
def b(peer):
    with peer.connect() as conn:
        conn.ok("FLUSHALL")
        yield conn


def migrate(conn, target, key, *options, db=0, timeout_ms=5000):
    return conn.cmd("MIGRATE", "127.0.0.1", target.port, key, db, timeout_ms, *options)


def digests(conn, keys):
    return conn.cmd("DEBUG", "DIGEST-VALUE", *keys)


class Peer:
    """A server that says what it is told to: `talk(conn, read_command)` for each connection."""

    def __init__(self, talk):
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.talk, self.conns, self.threads = talk, [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                self.conns.append(conn)
                t = threading.Thread(target=self.serve, args=(conn,), daemon=True)
                self.threads.append(t)
                t.start()

    def serve(self, conn):
        data = conn.makefile("rb")

        def command():
            line = data.readline()
            if not line:
                raise EOFError
            return [read_bulk(data) for _ in range(int(line[1:]))]

        with contextlib.suppress(OSError, EOFError, ValueError):
            self.talk(conn, command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for conn in self.conns:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
            conn.close()


def read_bulk(data):
    n = int(data.readline()[1:])
    text = data.read(n)
    data.read(2)
    return text


# --- to real servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["peer", "sibling"])
def test_every_type(a, ours, target, request):
    other = request.getfixturevalue(target)
    with other.connect() as b:
        b.ok("FLUSHALL")
        keys = values.fill(a, values.plain())
        want = digests(a, keys)
        for key in keys[::3]:
            assert migrate(a, other, key) == b"OK"
            assert a.cmd("EXISTS", key) == 0
        assert migrate(a, other, "", "KEYS", *[k for k in keys if a.cmd("EXISTS", k)]) == b"OK"
        assert a.cmd("DBSIZE") == 0
        assert digests(b, keys) == want
        # And back, by the other one's MIGRATE.
        assert migrate(b, ours, "", "KEYS", *keys) == b"OK"
        assert digests(a, keys) == want


def test_times_go_along(a, b, peer):
    a.ok("SET", "k", "v", "PX", "5000000")
    a.ok("SET", "l", "v")
    assert migrate(a, peer, "", "KEYS", "k", "l") == b"OK"
    assert 4900000 < b.cmd("PTTL", "k") <= 5000000
    assert b.cmd("PTTL", "l") == -1


def test_database(a, b, peer):
    for db in (3, 0, 3):
        a.ok("SET", "k%d" % db, "v")
        assert migrate(a, peer, "k%d" % db, "REPLACE", db=db) == b"OK"
        b.ok("SELECT", db)
        assert b.cmd("GET", "k%d" % db) == b"v"
    a.ok("SELECT", "2")
    a.ok("SET", "k", "from 2")
    assert migrate(a, peer, "k", db=1) == b"OK"
    b.ok("SELECT", "1")
    assert b.cmd("GET", "k") == b"from 2"


def test_nothing_to_do(a, b, peer):
    assert migrate(a, peer, "no") == b"NOKEY"
    assert migrate(a, peer, "", "KEYS", "no", "none") == b"NOKEY"
    assert migrate(a, peer, "", "COPY", "KEYS") == b"NOKEY"
    a.ok("SET", "k", "v")
    assert migrate(a, peer, "", "KEYS", "no", "k", "none") == b"OK"
    assert b.cmd("GET", "k") == b"v"
    a.ok("SET", "", "empty name")
    assert migrate(a, peer, "") == b"OK"
    assert b.cmd("GET", "") == b"empty name"


def test_copy_and_replace(a, b, peer):
    a.ok("SET", "k", "v")
    assert migrate(a, peer, "k", "COPY") == b"OK"
    assert a.cmd("GET", "k") == b.cmd("GET", "k") == b"v"
    a.ok("SET", "k", "w")
    busy = b"ERR Target instance replied with error: BUSYKEY Target key name already exists."
    assert migrate(a, peer, "k") == busy
    assert (a.cmd("GET", "k"), b.cmd("GET", "k")) == (b"w", b"v")
    assert migrate(a, peer, "k", "COPY", "REPLACE") == b"OK"
    assert a.cmd("GET", "k") == b.cmd("GET", "k") == b"w"
    assert migrate(a, peer, "k", "REPLACE") == b"OK"
    assert (a.cmd("GET", "k"), b.cmd("GET", "k")) == (None, b"w")


def test_what_was_taken_is_gone(a, b, peer):
    """Of several keys those that the other one has taken are its own, the others stay."""
    keys = ["k%d" % i for i in range(20)]
    for key in keys:
        a.ok("SET", key, "v")
    for key in keys[5:7]:
        b.ok("SET", key, "mine")
    assert migrate(a, peer, "", "KEYS", *keys) == \
        b"ERR Target instance replied with error: BUSYKEY Target key name already exists."
    assert [key for key in keys if a.cmd("EXISTS", key)] == keys[5:7]
    assert b.cmd("DBSIZE") == 20 and b.cmd("GET", "k5") == b"mine"
    assert migrate(a, peer, "", "REPLACE", "KEYS", "k5", "k6", "k5") == b"OK"
    assert a.cmd("DBSIZE") == 0


def test_passwords(a):
    with Server("redis", options={"requirepass": "secret"}) as locked, locked.connect() as b:
        b.ok("ACL", "SETUSER", "mover", "on", ">word", "~*", "+@all")
        for options, reply in (((), b"NOAUTH Authentication required."),
                               (("AUTH", "wrong"), b"WRONGPASS invalid username-password pair or user is disabled."),
                               (("AUTH2", "mover", "wrong"), b"WRONGPASS invalid username-password pair or user is disabled.")):
            a.ok("SET", "k", "v")
            assert migrate(a, locked, "k", *options) == b"ERR Target instance replied with error: " + reply, options
            assert a.cmd("GET", "k") == b"v"
        for options in (("AUTH", "secret"), ("AUTH2", "mover", "word")):
            a.ok("SET", "k", "v")
            assert migrate(a, locked, "k", "REPLACE", *options) == b"OK"
            assert a.cmd("EXISTS", "k") == 0 and b.cmd("GET", "k") == b"v"


def test_wrong_calls(a, b, peer):
    for conn in (a, b):
        conn.ok("SET", "k", "v")
    both = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
    for args in (["h", "1", "k", "0"], ["h", "1", "k", "0", "x"], ["h", "1", "k", "x", "1"], ["h", "1", "k", "x", "y"],
                 ["h", "1", "k", "0", "1", "WRONG"], ["h", "1", "k", "0", "1", "AUTH"], ["h", "1", "k", "0", "1", "AUTH2", "x"],
                 ["h", "1", "k", "0", "1", "KEYS", "k"], ["h", "1", "no", "0", "1"], ["h", "1", "no", "x", "1", "WRONG"],
                 ["127.0.0.1", "1", "k", "0", "1000"]):
        want = b.cmd("MIGRATE", *args)
        assert a.cmd("MIGRATE", *args) == want, args
    assert a.cmd("MIGRATE", "h", "1", "k", "0", "1", "KEYS", "k") == both.encode()
    for host, port in (("no.such.host.invalid", "1"), ("127.0.0.1", "x"), ("127.0.0.1", "9" * 20), ("h" * 3000, "1")):
        assert a.cmd("MIGRATE", host, port, "k", "0", "1000") == b"IOERR error or timeout connecting to the client"
    assert a.cmd("GET", "k") == b"v"


def test_getkeys(a, b):
    for args in (["h", "1", "k", "0", "1"], ["h", "1", "", "0", "1", "KEYS", "x", "y"], ["h", "1", "", "0", "1", "COPY", "AUTH", "KEYS"],
                 ["h", "1", "", "0", "1", "AUTH2", "KEYS", "p", "KEYS", "z"], ["h", "1", "k", "0", "1", "KEYS", "x"]):
        want = b.cmd("COMMAND", "GETKEYS", "MIGRATE", *args)
        assert a.cmd("COMMAND", "GETKEYS", "MIGRATE", *args) == want, args


# --- in the middle of other things -----------------------------------------------------------------


def test_large(a, b, peer):
    """More than sockets hold, beside the shard and over its loop."""
    rng_text = bytes(range(256)) * 4096
    keys = []
    for i in range(12):
        a.ok("SET", "large%d" % i, rng_text + b"%d" % i)
        keys.append("large%d" % i)
    a.cmd("RPUSH", "list", *["item:%d" % i for i in range(20000)])
    keys.append("list")
    want = digests(a, keys)
    assert migrate(a, peer, "", "KEYS", *keys) == b"OK"
    assert digests(b, keys) == want and a.cmd("DBSIZE") == 0


def test_many_keys(a, b, peer):
    keys = ["key:%d" % i for i in range(3000)]
    a.pipeline([["SET", key, key * 3] for key in keys])
    want = a.cmd("DEBUG", "DIGEST")
    assert migrate(a, peer, "", "KEYS", *keys) == b"OK"
    assert a.cmd("DBSIZE") == 0 and b.cmd("DEBUG", "DIGEST") == want


def test_pipeline_and_multi(a, b, peer):
    m = ["MIGRATE", "127.0.0.1", peer.port, "k", "0", "5000", "REPLACE"]
    replies = [r.value for r in a.pipeline([["SET", "k", "1"], m, ["GET", "k"], ["SET", "k", "2"], m, m, ["EXISTS", "k"]])]
    assert replies == [b"OK", b"OK", None, b"OK", b"OK", b"NOKEY", 0]
    assert b.cmd("GET", "k") == b"2"
    a.ok("MULTI")
    for command in (["SET", "k", "3"], m, ["GET", "k"], ["SET", "k", "4"]):
        assert a.cmd(*command) == b"QUEUED"
    assert a.cmd("EXEC") == [b"OK", b"OK", None, b"OK"]
    assert (a.cmd("GET", "k"), b.cmd("GET", "k")) == (b"4", b"3")


def test_all_of_one_moment(a, b, peer, ours):
    """Keys on several shards go as they are between two MSETs."""
    ended = threading.Event()
    keys = ["k%d" % i for i in range(6)]

    def write():
        with ours.connect() as conn:
            i = 0
            while not ended.is_set():
                i += 1
                conn.ok("MSET", *[x for key in keys for x in (key, i)])

    a.ok("MSET", *[x for key in keys for x in (key, 0)])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(40):
            assert migrate(a, peer, "", "COPY", "REPLACE", "KEYS", *keys) == b"OK"
            assert len(set(b.cmd("MGET", *keys))) == 1
    finally:
        ended.set()
        writer.join()


def test_watch_sees_it(a, b, peer, ours):
    with ours.connect() as other:
        for options, seen in ((["COPY"], False), (["REPLACE"], True)):
            a.ok("SET", "k", "v")
            a.ok("WATCH", "k")
            assert migrate(other, peer, "k", *options) == b"OK"
            a.ok("MULTI")
            a.cmd("PING")
            assert (a.cmd("EXEC") != [b"PONG"]) == seen


def answer(*lines, then=None):
    """A talk that answers each command with the next line, and in the end does `then`."""

    def talk(conn, command):
        for line in lines:
            command()
            conn.sendall(line)
        if then:
            then(conn, command)

    return talk


def answer_late(go):
    """A talk that takes the key, and answers when `go` is set."""

    def talk(conn, command):
        command()
        command()
        assert go.wait(DEADLINE_S)
        conn.sendall(b"+OK\r\n+OK\r\n")

    return talk


def test_others_go_on_meanwhile(a, ours):
    """While the other server takes its time, the keys are locked and nothing else is."""
    go = threading.Event()
    a.ok("SET", "k", "v")
    with Peer(answer_late(go)) as slow, ours.connect() as mover, ours.connect() as waiter:
        mover.send(encode(["MIGRATE", "127.0.0.1", slow.port, "k", "0", "60000"]))
        wait_until(lambda: slow.conns, "it has connected")
        for i in range(50):
            a.ok("SET", "other%d" % i, "v")
        waiter.send(encode(["GET", "k"]))
        waiter.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiter.read()
        waiter.sock.settimeout(DEADLINE_S)
        assert [a.cmd("GET", "other%d" % i) for i in range(50)] == [b"v"] * 50
        go.set()
        assert mover.read().value == b"OK"
        assert waiter.read().value is None


def test_a_save_waits_for_it_and_nobody_for_the_save(a, ours):
    """A save wants a moment in which nobody is in the middle of a write: until there is one, others write on."""
    go = threading.Event()
    with Peer(answer_late(go)) as silent, ours.connect() as mover, ours.connect() as saver:
        a.ok("SET", "k", "v")
        mover.send(encode(["MIGRATE", "127.0.0.1", silent.port, "k", "0", str(10000 * DEADLINE_S)]))
        wait_until(lambda: silent.conns, "it has connected")
        for cancelled in (True, False):
            saver.send(encode(["BGSAVE"]))
            wait_until(lambda: a.info("persistence")["rdb_bgsave_in_progress"] == "1", "it waits")
            for i in range(100):
                a.ok("SET", "other%d" % i, "v")
            assert a.info("persistence")["current_save_keys_total"] == "0"
            if cancelled:
                assert a.cmd("BGSAVE", "CANCEL") == b"Background saving cancelled"
                assert saver.read().value == b"ERR cancelled"
                wait_until(lambda: a.info("persistence")["rdb_bgsave_in_progress"] == "0", "it is over")
        go.set()
        assert mover.read().value == b"OK"
        assert saver.read().value == b"Background saving started"
        wait_until(lambda: a.info("persistence")["rdb_bgsave_in_progress"] == "0", "it is over")
        assert a.info("persistence")["rdb_last_bgsave_status"] == "ok"


def test_client_that_goes_meanwhile(a, ours):
    """Its MIGRATE goes on without it."""
    go = threading.Event()

    def talk(conn, command):
        command()
        command()
        assert go.wait(DEADLINE_S)
        conn.sendall(b"+OK\r\n+OK\r\n")

    a.ok("SET", "k", "v")
    with Peer(talk) as slow:
        with ours.connect() as mover:
            mover.send(encode(["MIGRATE", "127.0.0.1", slow.port, "k", "0", "60000"]))
            wait_until(lambda: slow.conns, "it has connected")
        go.set()
        assert a.cmd("EXISTS", "k") == 0


# --- others that do wrong --------------------------------------------------------------------------

READING = b"IOERR error or timeout reading to target instance"
WRITING = b"IOERR error or timeout writing to target instance"
CONNECTING = b"IOERR error or timeout connecting to the client"


def test_silence(a):
    a.ok("SET", "k", "v")
    with Peer(lambda conn, command: [command() for _ in range(9)]) as silent:
        assert migrate(a, silent, "k", timeout_ms=100) == READING
        assert len(silent.conns) == 1  # time was up: no second try
    assert a.cmd("GET", "k") == b"v"


def test_who_does_not_read(a):
    a.ok("SET", "k", "v" * 30000000)
    a.ok("CONFIG", "SET", "rdbcompression", "no")
    with Peer(lambda conn, command: time.sleep(DEADLINE_S)) as deaf:
        assert migrate(a, deaf, "k", timeout_ms=200) == WRITING
    a.ok("CONFIG", "SET", "rdbcompression", "yes")
    assert a.cmd("STRLEN", "k") == 30000000


@pytest.mark.parametrize("talk, reply", [
    (answer(then=lambda conn, command: conn.close()), READING),
    (answer(b"+OK\r\n", then=lambda conn, command: (command(), conn.close())), READING),
    (answer(b"+OK\r\n", b"+O", then=lambda conn, command: conn.close()), READING),
    (answer(b"+OK\r\n", b"-ERR no\r\n"), b"ERR Target instance replied with error: ERR no"),
    (answer(b"-ERR no database\r\n", b"+OK\r\n"), b"ERR Target instance replied with error: ERR no database"),
    (answer(b"-ERR " + b"x" * 5000 + b"\r\n", b"+OK\r\n"),
     b"ERR Target instance replied with error: ERR " + b"x" * 1018),
], ids=["hangs-up", "after-select", "half-a-line", "refuses", "no-database", "long-line"])
def test_bad_answers(a, talk, reply):
    a.ok("SET", "k", "v")
    with Peer(talk) as bad:
        assert migrate(a, bad, "k", timeout_ms=20000) == reply
    assert a.cmd("GET", "k") == b"v"


def test_lost_between_two_answers(a):
    """What was answered is gone here; the rest stays."""
    for key in ("x", "y", "z"):
        a.ok("SET", key, "v")
    talk = answer(b"+OK\r\n", b"+OK\r\n", then=lambda conn, command: conn.close())
    with Peer(talk) as bad:
        assert migrate(a, bad, "", "KEYS", "x", "y", "z") == READING
        assert len(bad.conns) == 1  # no second try
    assert [a.cmd("EXISTS", key) for key in ("x", "y", "z")] == [0, 1, 1]


def test_second_try(a):
    """A connection that is lost before anything was answered is made anew, once."""
    seen = []

    def talk(conn, command):
        seen.append(conn)
        if len(seen) == 1:
            command()
            conn.close()
        else:
            answer(b"+OK\r\n", b"+OK\r\n")(conn, command)

    a.ok("SET", "k", "v")
    with Peer(talk) as flaky:
        assert migrate(a, flaky, "k") == b"OK"
    assert len(seen) == 2 and a.cmd("EXISTS", "k") == 0


def test_answers_before_questions(a):
    def talk(conn, command):
        conn.sendall(b"-ERR max number of clients reached\r\n-ERR again\r\n")
        for _ in range(2):
            command()

    a.ok("SET", "k", "v")
    with Peer(talk) as full:
        assert migrate(a, full, "k") == b"ERR Target instance replied with error: ERR max number of clients reached"
    assert a.cmd("GET", "k") == b"v"


# --- connections that are kept ---------------------------------------------------------------------


def test_connection_is_kept(ours, a):
    """For the next key of the same shard, and the database that was selected with it."""
    commands = []

    def talk(conn, command):
        while True:
            commands.append(command())
            conn.sendall(b"+OK\r\n")

    with Peer(talk) as keeper:
        for i in range(5):
            a.ok("SET", "{k}%d" % i, "v")
            assert migrate(a, keeper, "{k}%d" % i, db=4) == b"OK"
        assert len(keeper.conns) == 1
        assert [c[0] for c in commands] == [b"SELECT"] + [b"RESTORE"] * 5
        a.ok("SET", "{k}", "v")
        assert migrate(a, keeper, "{k}", db=5) == b"OK"
        assert [c[0] for c in commands[6:]] == [b"SELECT", b"RESTORE"]
        # It hangs up: the next key goes by another one.
        keeper.conns[0].shutdown(socket.SHUT_RDWR)
        a.ok("SET", "{k}", "v")
        assert migrate(a, keeper, "{k}", db=5) == b"OK"
        assert len(keeper.conns) == 2


def test_several_at_once(ours, a, b, peer):
    """Each has a connection of its own."""
    conns = [ours.connect() for _ in range(10)]
    for i in range(200):
        a.ok("SET", "{k}%d" % i, i)
    for i in range(200):
        conns[i % 10].send(encode(["MIGRATE", "127.0.0.1", peer.port, "{k}%d" % i, "0", "20000"]))
    for i in range(200):
        assert conns[i % 10].read().value == b"OK"
    for conn in conns:
        conn.close()
    assert b.cmd("DBSIZE") == 200 and a.cmd("DBSIZE") == 0


@pytest.mark.parametrize("io", ["uring", "epoll"])
def test_server_stops_meanwhile(io):
    with Peer(lambda conn, command: [command() for _ in range(9)]) as silent:
        with Server("anax", shards=2, io=io) as server:
            conn = server.connect()
            conn.ok("SET", "k", "v")
            conn.send(encode(["MIGRATE", "127.0.0.1", silent.port, "k", "0", "600000"]))
            wait_until(lambda: silent.conns, "it has connected")
        conn.close()


# --- memory ----------------------------------------------------------------------------------------


def agreeable(conn, command):
    while True:
        command()
        conn.sendall(b"+OK\r\n")


def insist(server, *args):
    """The server's answer, however often it has no memory for the question."""
    answers = []

    def asked():
        with contextlib.suppress(OSError, Closed), server.connect() as conn:
            reply = conn.cmd(*args)
            answers.append(reply)
            return not isinstance(reply, Error)

    wait_until(asked, args)
    return answers[-1]


@pytest.fixture(scope="module")
def counted():
    def warm_up(server):
        with Peer(agreeable) as other, server.connect() as conn:
            for key in ("a", "b", "c"):
                conn.ok("SET", key, "v")
                assert migrate(conn, other, key) == b"OK"

    with leak_checked([(1, "uring"), (3, "epoll")], warm_up, {"enable-debug-command": "local"}) as servers:
        yield servers


@pytest.mark.parametrize("shards, io", [(1, "uring"), (3, "epoll")])
def test_no_memory_is_lost(counted, shards, io):
    """To the byte, whatever becomes of it (leak_checked looks when all are done)."""
    server = counted[shards, io]
    for talk in (agreeable, answer(b"+OK\r\n", b"-ERR no\r\n", b"+OK\r\n"), answer(b"+OK\r\n")):
        with Peer(talk) as other, server.connect() as conn:
            keys = values.fill(conn, values.plain())
            for key in keys[:9]:
                migrate(conn, other, key, timeout_ms=50)
            migrate(conn, other, "", "KEYS", *keys, timeout_ms=50)
            conn.ok("FLUSHALL")


@pytest.mark.parametrize("shards, io", [(1, "uring"), (3, "epoll")])
def test_no_memory_to_be_had(counted, shards, io):
    """A key is there, or the other server has said that it has it."""
    server = counted[shards, io]
    refused = 0
    for every in (2, 3, 5, 7, 11, 17):
        taken = []

        def talk(conn, command):
            while True:
                got = command()
                if got[0] == b"RESTORE":
                    taken.append(got[1])
                conn.sendall(b"+OK\r\n")

        insist(server, "MSET", *[x for i in range(20) for x in ("k%d" % i, "v")])
        with Peer(talk) as other:
            insist(server, "DEBUG", "FAIL-ALLOC", every)
            for i in range(20):
                with contextlib.suppress(OSError, Closed), server.connect() as conn:
                    refused += migrate(conn, other, "k%d" % i) == b"ERR out of memory"
            with contextlib.suppress(OSError, Closed), server.connect() as conn:
                migrate(conn, other, "", "KEYS", *["k%d" % i for i in range(20)])
            insist(server, "DEBUG", "FAIL-ALLOC", 0)
        for i in range(20):
            key = b"k%d" % i
            assert insist(server, "EXISTS", key) or key in taken, key
        insist(server, "FLUSHALL")
    assert refused > 0
