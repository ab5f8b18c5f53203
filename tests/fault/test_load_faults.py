"""Files that cannot be loaded: the server says where and why, ends with 1, and nothing is lost but the start."""

import contextlib
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

import pytest

import harness
from harness import Server

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "compat"))

import rdb_maker as made  # noqa: E402
import values  # noqa: E402

PLACES = [(1, "uring"), (3, "epoll"), (2, "uring"), (8, "epoll")]


def start(file, where, shards=1, io=None, options=None):
    """A server that starts with this file and is not waited for."""
    (where / "dump.rdb").write_bytes(file)
    return Server("anax", shards=shards, io=io, options=options, dir=str(where), wait=False)


def refused(file, where, shards=1, io=None, options=None):
    """It ends with 1; what it said."""
    server = start(file, where, shards, io, options)
    try:
        assert server.process.wait(harness.DEADLINE_S) == 1, server.log()
    finally:
        server.kill()
    log = server.log()
    assert "memory were lost" not in log and "Ready to accept" not in log, log
    return next(line.split(" # ", 1)[1] for line in log.splitlines() if "Error loading the dataset: " in line)


def outcome(file, where, shards, io):
    """Of a file that may be fine: 0 when it is loaded, 1 when it is refused with the place."""
    server = start(file, where, shards, io)
    try:
        harness.wait_until(lambda: "Ready to accept" in server.log() or not server.alive(), "it has decided")
        if server.alive():
            assert server.stop() == 0
            return 0
    finally:
        server.kill()
    assert server.process.returncode == 1, server.log()
    assert "memory were lost" not in server.log(), server.log()
    assert ": offset " in server.log(), server.log()
    return 1


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file of redis-server with every type and encoding, of some tens of kilobytes."""
    where = tmp_path_factory.mktemp("redis")
    with Server("redis", dir=str(where)) as s, s.connect() as c:
        values.fill(c, [v for v in [*values.plain(), *values.with_times()] if sum(len(str(a)) for a in v) < 4000])
        c.cmd("XADD", "stream", "1-1", "a", "b")
        c.ok("SAVE")
    return (where / "dump.rdb").read_bytes()


def test_truncated(sound, tmp_path):
    rng = random.Random(1)
    lengths = sorted({0, 3, 8, 9, 10, len(sound) - 1, len(sound) - 8, len(sound) - 9} |
                     {rng.randrange(len(sound)) for _ in range(6 if harness.SLOW else 16)})
    for i, n in enumerate(lengths):
        said = refused(sound[:n], tmp_path, *PLACES[i % len(PLACES)])
        assert "offset %d: the file ends too early" % n in said, (n, said)


def test_flipped_bits_with_the_checksum(sound, tmp_path):
    rng = random.Random(2)
    for i in range(6 if harness.SLOW else 16):
        at = rng.randrange(len(sound) - 8)
        flipped = sound[:at] + bytes([sound[at] ^ 1 << rng.randrange(8)]) + sound[at + 1:]
        assert "offset " in refused(flipped, tmp_path, *PLACES[i % len(PLACES)]), at


def test_flipped_bytes_without_the_checksum(sound, tmp_path):
    """Then it may be a file as good as any; never does it take the server down in another way."""
    rng = random.Random(3)
    seen = [0, 0]
    for i in range(10 if harness.SLOW else 40):
        at = rng.randrange(9, len(sound) - 8)
        flipped = sound[:at] + bytes([sound[at] ^ rng.randrange(1, 256)]) + sound[at + 1:-8] + bytes(8)
        seen[outcome(flipped, tmp_path, *PLACES[i % len(PLACES)])] += 1
    assert all(seen)


def test_what_is_wrong_and_where(tmp_path):
    k = made.string("k", "v")
    head = len(b"REDIS0011")
    huge = b"\x81" + struct.pack(">Q", 1 << 62)
    wrong = [
        (made.rdb(k, magic=b"RODIS0011"), "offset 0: it does not begin as RDB files do"),
        (made.rdb(k, magic=b"REDIS00x1"), "offset 0: a version of the format that is not known: REDIS00x1"),
        (made.rdb(k, magic=b"REDIS0013"), "offset 0: a version of the format that is not known: REDIS0013"),
        (made.rdb(k, magic=b"REDIS0099"), "offset 0: a version of the format that is not known: REDIS0099"),
        (made.rdb(k, magic=b"REDIS0000"), "offset 0: a version of the format that is not known: REDIS0000"),
        (made.rdb(k, magic=b"VALKEY099"), "offset 0: a version of the format that is not known: VALKEY099"),
        (made.rdb(k, magic=b"VALKEY011"), "offset 0: a version of the format that is not known: VALKEY011"),
        (made.rdb(k, made.op(150)), "offset %d: a kind of record that is not known" % (head + len(k))),
        (made.rdb(k, made.string("x", "y"), k), "offset %d: a key that is there already (key 'k', database 0)" % (head + len(k) * 2)),
        (made.rdb(made.op(made.SELECTDB, 16), k), "offset %d: database 16: there are only 16" % (head + 1)),
        (made.rdb(made.op(made.FUNCTION, made.text("x"))), "release candidate"),
        (made.rdb(made.op(6, made.text("m"))), "offset %d: a module's value" % (head + 3)),
        (made.rdb(made.expire_ms(5), made.op(made.SLOT_INFO, 1, 2, 3)), "offset %d: no key follows" % head),
        (made.rdb(made.expire_ms(5)), "offset %d: no key follows" % head),
        (made.rdb(made.op(2, made.text("s"), huge)), "offset "),
        (made.rdb(made.op(2, made.text("s"), 2, made.text("a"), made.text("a"))), "(key 's', database 0)"),
        (made.rdb(made.op(0, huge)), "offset %d: a string of more than 512 MiB" % (head + 1)),
        (made.rdb(made.op(0, made.text("k"), made.length(400 << 20), b"x" * 300000)), "the file ends too early"),
        (made.rdb(made.op(11, made.text("ints"), made.text("not an intset"))), "(key 'ints', database 0)"),
        (made.rdb(made.aux("anax-member-ttls", made.text("a") + b"1234"), made.members("s", "a", "b")), "times of a set's members"),
    ]
    for i, (file, text) in enumerate(wrong):
        said = refused(file, tmp_path, *PLACES[i % len(PLACES)])
        assert text in said, (said, text)
        assert "%s/dump.rdb" % tmp_path in said or "./dump.rdb" in said


def test_what_cannot_be_opened(tmp_path):
    (tmp_path / "dump.rdb").mkdir()
    for io in ("uring", "epoll"):
        server = Server("anax", io=io, dir=str(tmp_path), wait=False)
        assert server.process.wait(harness.DEADLINE_S) == 1
        assert "dump.rdb: it is no regular file" in server.log()
    (tmp_path / "file").write_text("")
    server = Server("anax", dir=str(tmp_path), options={"dbfilename": "x" * 300}, wait=False)
    assert server.process.wait(harness.DEADLINE_S) == 1
    assert "cannot be opened: File name too long" in server.log()


def slow(where, shards, io, options=None, keys=2000):
    """A server that takes long to load its file, and has begun to; the file."""
    file = made.rdb(*[made.string("key-%d" % i, "v" * 50) for i in range(keys)])
    server = start(file, where, shards, io, {"key-load-delay": 5000, **(options or {})})

    def begun():
        return int(server.info("persistence").get("loading_loaded_bytes", 0)) > 100

    harness.wait_until(lambda: not harness.is_free(server.port), "it listens")
    harness.wait_until(begun, "it loads")
    return server, file


@pytest.mark.parametrize("shards, io", PLACES)
@pytest.mark.parametrize("how", ["TERM", "SHUTDOWN", "SHUTDOWN SAVE", "KILL"])
def test_the_end_while_it_is_loaded(tmp_path, shards, io, how):
    """It ends at once, with 0, and the file is what it was, whatever the save points say."""
    server, file = slow(tmp_path, shards, io, {"save": "1 1"})
    try:
        if how in ("TERM", "KILL"):
            server.process.send_signal(signal.SIGTERM if how == "TERM" else signal.SIGKILL)
        else:
            with server.connect() as c:
                c.send(harness.encode(how.split()))
                assert c.until_closed() == b""
        assert server.process.wait(harness.DEADLINE_S) == (-signal.SIGKILL if how == "KILL" else 0), server.log()
    finally:
        server.kill()
    assert (tmp_path / "dump.rdb").read_bytes() == file
    assert sorted(os.listdir(tmp_path)) == ["dump.rdb"]
    assert "memory were lost" not in server.log() and "Ready to accept" not in server.log()


def test_a_file_that_becomes_shorter_meanwhile(tmp_path):
    """Of what is read ahead nothing is missed; of the rest it is said where it ended."""
    value = os.urandom(1 << 20)
    file = made.rdb(*[made.string("key-%d" % i, value) for i in range(40)], checksum=0)
    server = start(file, tmp_path, 2, "uring", {"key-load-delay": 50000})
    try:
        harness.wait_until(lambda: not harness.is_free(server.port), "it listens")
        harness.wait_until(lambda: int(server.info("persistence").get("loading_loaded_bytes", 0)) > 100, "it loads")
        os.truncate(tmp_path / "dump.rdb", 30 << 20)
        server.cmd("CONFIG", "SET", "key-load-delay", 0)
        assert server.process.wait(harness.DEADLINE_S) == 1
    finally:
        server.kill()
    assert "offset %d: the file has become shorter meanwhile" % (30 << 20) in server.log(), server.log()


def test_ready_is_told_when_it_is_loaded(tmp_path):
    """systemd hears of it then, and not before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.setblocking(False)
        os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        try:
            server, _ = slow(tmp_path, 2, "uring", {"supervised": "systemd"}, 500)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        with server:
            with pytest.raises(BlockingIOError):
                notify.recv(1000)
            assert server.cmd("CONFIG", "SET", "key-load-delay", 0) == b"OK"
            notify.settimeout(harness.DEADLINE_S)
            assert b"READY=1" in notify.recv(1000)
            assert server.cmd("DBSIZE") == 500


def test_clients_come_and_go_while_it_is_loaded(tmp_path):
    """Connections that end, pipelines and transactions meanwhile: all are answered, and none delays the load."""
    server, _ = slow(tmp_path, 3, "uring", keys=300)
    with server:
        deadline = time.monotonic() + harness.DEADLINE_S
        for i in range(60):
            with server.connect() as c:
                replies = c.pipeline([["GET", "key-%d" % i], ["PING"], ["MULTI"], ["SET", "a", "b"], ["EXEC"], ["MGET", "a", "b"]])
                assert len(replies) == 6
            assert time.monotonic() < deadline
        assert server.cmd("CONFIG", "SET", "key-load-delay", 0) == b"OK"
        server.wait_ready()
        assert server.cmd("DBSIZE") == 300


# --- on a server that runs (DEBUG RELOAD) ---


def one_moment(server, digest, stop, seen):
    """A client that sees all of the dataset, or that it is being loaded, or nothing after a failure."""
    with server.connect() as c:
        while not stop.is_set():
            for reply in c.pipeline([["GET", "string:0"], ["DBSIZE"], ["MGET", "string:0", "string:1", "string:12", "set:none"],
                                     ["MULTI"], ["EXISTS", "string:1", "hash:one"], ["EXEC"]]):
                seen.add(reply.raw)


@pytest.mark.parametrize("shards, io", PLACES)
def test_a_reload_is_one_moment_for_clients(tmp_path, shards, io):
    with Server("anax", shards=shards, io=io, options={"enable-debug-command": "yes"}, dir=str(tmp_path)) as server:
        with server.connect() as c:
            keys = len(values.fill(c, [*values.plain(), *values.with_times()]))
            digest = c.cmd("DEBUG", "DIGEST")
            c.ok("SAVE")
            stop, seen = threading.Event(), set()
            clients = [threading.Thread(target=one_moment, args=(server, digest, stop, seen)) for _ in range(4)]
            for client in clients:
                client.start()
            try:
                for _ in range(2 if harness.SLOW else 8):
                    c.ok("DEBUG", "RELOAD", "NOSAVE")
                    assert c.cmd("DEBUG", "DIGEST") == digest
            finally:
                stop.set()
                for client in clients:
                    client.join()
    whole = {b"$1\r\n0\r\n", b":%d\r\n" % keys, b"*4\r\n$1\r\n0\r\n$1\r\n1\r\n$2\r\n12\r\n$-1\r\n", b"*1\r\n:2\r\n"}
    others = {b"+OK\r\n", b"+QUEUED\r\n", b"-LOADING Redis is loading the dataset in memory\r\n",
              b"-EXECABORT Transaction discarded because of previous errors.\r\n"}
    assert whole <= seen <= whole | others, seen - whole - others


def test_no_memory_for_a_reload(tmp_path):
    """It fails as a whole: then nothing is there, and the next one succeeds; and nothing is lost of memory (which the end of the
    server tells)."""
    rng = random.Random(5)
    with Server("anax", shards=3, options={"enable-debug-command": "yes"}, dir=str(tmp_path)) as server:
        with server.connect() as c:
            values.fill(c, [*values.plain(), *values.with_times()])
            digest = c.cmd("DEBUG", "DIGEST")
            c.ok("SAVE")
        seen = set()
        for i in range(12 if harness.SLOW else 40):
            every = rng.choice([7, 20, 60, 200, 800, 3000, 20000, 100000])
            outcome = None
            with contextlib.suppress(harness.Closed, ConnectionError), server.connect() as c:
                c.cmd("DEBUG", "FAIL-ALLOC", every)
                outcome = c.cmd("DEBUG", "RELOAD", "NOSAVE")

            def healed():
                with contextlib.suppress(harness.Closed, ConnectionError), server.connect() as c:
                    return c.cmd("DEBUG", "FAIL-ALLOC", 0) == b"OK" and c.info("persistence")["loading"] == "0"
                return False

            harness.wait_until(healed, "memory is there again")
            assert server.alive(), server.log()
            with server.connect() as c:
                now = c.cmd("DEBUG", "DIGEST")
                assert now in (digest, b"0" * 40), (every, outcome)
                assert now == digest or outcome != b"OK"
                seen.add(now == digest)
                c.ok("DEBUG", "RELOAD", "NOSAVE")
                assert c.cmd("DEBUG", "DIGEST") == digest
        assert seen == {True, False}


@pytest.mark.parametrize("shards, io", PLACES[:2])
@pytest.mark.parametrize("how", ["TERM", "SHUTDOWN", "SHUTDOWN SAVE"])
def test_the_end_while_it_is_reloaded(tmp_path, shards, io, how):
    """The file has all; the databases have a part of it, which must not take its place."""
    options = {"enable-debug-command": "yes", "save": "1 1"}
    server = Server("anax", shards=shards, io=io, options=options, dir=str(tmp_path))
    try:
        with server.connect() as c, server.connect() as other:
            c.pipeline([["SET", "key-%d" % i, "v"] for i in range(500)])
            c.ok("SAVE")
            file = (tmp_path / "dump.rdb").read_bytes()
            c.ok("CONFIG", "SET", "key-load-delay", 5000)
            c.send(harness.encode(["DEBUG", "RELOAD", "NOSAVE"]))
            harness.wait_until(lambda: int(other.info("persistence").get("loading_loaded_bytes", 0)) > 100, "it loads")
            if how == "TERM":
                server.process.send_signal(signal.SIGTERM)
            else:
                other.send(harness.encode(how.split()))
            assert server.process.wait(harness.DEADLINE_S) == 0, server.log()
    finally:
        server.kill()
    assert (tmp_path / "dump.rdb").read_bytes() == file
    assert sorted(os.listdir(tmp_path)) == ["dump.rdb"]
    assert "memory were lost" not in server.log(), server.log()
