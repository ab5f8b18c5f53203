"""What goes wrong while a dataset is saved: it is told, tried again, and loses nothing; the file that was there stays whole."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from harness import SLOW, Closed, Error, Server, encode, is_free, wait_until

IO = ["uring", "epoll"]


def dump_of(server):
    return os.path.join(server.dir, "dump.rdb")


def check(path):
    done = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "RDB looks OK" in done.stdout, done.stdout[-2000:]
    return done.stdout


def info(c):
    return c.info("persistence")


def ended(c):
    wait_until(lambda: info(c)["rdb_bgsave_in_progress"] == "0", "the save has ended")


def save_fails(s, c, why):
    """SAVE says why; BGSAVE begins, and its end is an error; nothing is left behind."""
    before = contents(s)
    for _ in range(2):
        reply = c.cmd("SAVE")
        assert isinstance(reply, Error) and reply.startswith(b"ERR ") and why.encode() in reply, reply
        assert c.cmd("BGSAVE") == b"Background saving started"
        ended(c)
        assert info(c)["rdb_last_bgsave_status"] == "err"
        assert why in s.log()
        assert contents(s) == before


def contents(s):
    """Of the file, or nothing; there is no other one."""
    names = [n for n in os.listdir(s.dir) if n.endswith(".rdb")] if os.path.isdir(s.dir) else []
    assert names in ([], ["dump.rdb"]), names
    if not names or os.path.isdir(dump_of(s)):
        return None
    with open(dump_of(s), "rb") as f:
        return f.read()


def save_works(s, c):
    assert c.cmd("BGSAVE") == b"Background saving started"
    ended(c)
    assert info(c)["rdb_last_bgsave_status"] == "ok"
    c.ok("SAVE")
    check(dump_of(s))


@pytest.fixture(params=IO)
def server(request):
    with Server("anax", shards=3, io=request.param) as s, s.connect() as c:
        for i in range(500):
            c.ok("SET", "key:%d" % i, "x" * 2000)
        yield s, c


def temporary(s):
    return os.path.join(s.dir, "temp-%d.rdb" % s.pid())


def test_disk_full(server):
    """The temporary file is a device that never has room."""
    s, c = server
    c.ok("SAVE")
    os.symlink("/dev/full", temporary(s))
    before = contents_but(s, temporary(s))
    reply = c.cmd("SAVE")
    assert isinstance(reply, Error) and b"No space left on device" in reply
    assert contents(s) == before  # the link was removed
    os.symlink("/dev/full", temporary(s))
    assert c.cmd("BGSAVE") == b"Background saving started"
    ended(c)
    assert info(c)["rdb_last_bgsave_status"] == "err"
    assert contents(s) == before
    save_works(s, c)


def contents_but(s, path):
    """contents(), with that file there too."""
    assert os.path.islink(path)
    with open(dump_of(s), "rb") as f:
        return f.read()


@pytest.mark.parametrize("io", IO)
def test_file_too_large(io):
    """Writes are cut short where the limit is, and then refused."""
    with Server("anax", shards=2, io=io, launcher=["prlimit", "--fsize=300000:300000"]) as s, s.connect() as c:
        c.ok("SET", "small", "value")
        save_works(s, c)
        for i in range(300):
            c.ok("SET", "key:%d" % i, random.Random(i).randbytes(2000))
        save_fails(s, c, "File too large")
        c.cmd("DEL", *["key:%d" % i for i in range(200)])
        save_works(s, c)


def test_no_directory(server):
    s, c = server
    c.ok("SAVE")
    away = s.dir + ".away"
    os.rename(s.dir, away)
    save_fails(s, c, "No such file or directory")
    os.rename(away, s.dir)
    save_works(s, c)


def test_no_permission():
    """Root is never refused: it runs as somebody else."""
    with Server("anax", shards=2, launcher=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]) as s, s.connect() as c:
        os.chmod(s.dir, 0o755)
        save_fails(s, c, "Permission denied")
        os.chmod(s.dir, 0o777)
        save_works(s, c)


def test_name_is_taken(server):
    """All is written, and then it cannot take its name."""
    s, c = server
    os.mkdir(dump_of(s))
    with open(os.path.join(dump_of(s), "something"), "w", encoding="utf-8"):
        pass
    save_fails(s, c, "Is a directory")
    shutil.rmtree(dump_of(s))
    save_works(s, c)


def attempt(s, *command):
    """The reply, or None when there was no memory even for the connection."""
    with contextlib.suppress(Closed, OSError), s.connect() as c:
        return c.cmd(*command)


@pytest.mark.parametrize("io", IO)
def test_no_memory(io):
    """Requests for memory are refused in the middle of saves: these fail, or do without, and the next one goes well."""
    with Server("anax", shards=3, io=io, options={"enable-debug-command": "yes"}) as s, s.connect() as c:
        for i in range(2000):
            c.ok("SET", "key:%d" % i, "x" * 500)
        c.cmd("SADD", "set", *range(100_000), "text")
        failures = 0
        for every in (5, 6, 7, 8, 9, 11, 13, 17, 20, 30, 40):
            attempt(s, "DEBUG", "FAIL-ALLOC", every)
            for command in ("SAVE", "BGSAVE"):
                failures += isinstance(attempt(s, command), Error)
                attempt(s, "INCR", "between")
            wait_until(lambda: attempt(s, "DEBUG", "FAIL-ALLOC", "0") == b"OK", "DEBUG FAIL-ALLOC 0")
            ended(c)
        assert failures > 0
        save_works(s, c)
        assert "2002 keys read" in check(dump_of(s))


def misconf(kind):
    """Replies while saving fails, and after that; and what is refused."""
    points = {"save": "100000 1"} if kind == "anax" else {}
    with Server(kind, shards=3, options={**points, "enable-protected-configs": "yes"}) as s, s.connect() as c:
        c.ok("CONFIG", "SET", "save", "100000 1")
        c.ok("SET", "k", "v")
        os.mkdir(dump_of(s))
        seen = [c.cmd("BGSAVE")]
        wait_until(lambda: info(c)["rdb_last_bgsave_status"] == "err", "it has failed")
        ended(c)
        for command in (["SET", "k", "w"], ["DEL", "k"], ["GET", "k"], ["PING"], ["MSET", "a", 1, "b", 2], ["FLUSHALL"], ["MULTI"],
                        ["SET", "a", 1], ["EXEC"], ["EXISTS", "k", "a", "b"], ["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"],
                        ["SET", "k", "x"], ["PING"], ["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"], ["SET", "k", "y"],
                        ["CONFIG", "SET", "save", ""], ["SET", "k", "z"], ["CONFIG", "SET", "save", "100000 1"], ["SET", "k", "0"]):
            seen.append((command, c.cmd(*command)))
        os.rmdir(dump_of(s))
        seen.append(c.cmd("BGSAVE"))
        wait_until(lambda: info(c)["rdb_last_bgsave_status"] == "ok", "it has gone well")
        ended(c)
        seen += [c.cmd("SET", "k", "again"), c.cmd("PING"), c.cmd("CONFIG", "SET", "save", "")]
        return seen


def test_writes_are_refused_after_a_failure():
    assert misconf("anax") == misconf("redis")


def test_tried_again_at_the_next_point():
    """After a failure no sooner than five seconds later."""
    with Server("anax", shards=2, options={"save": "1 1"}) as s, s.connect() as c:
        os.mkdir(dump_of(s))
        c.ok("SET", "k", "v")
        wait_until(lambda: info(c)["rdb_last_bgsave_status"] == "err", "the point is reached, and fails")
        tries = s.log().count("Background saving error")
        time.sleep(2)
        assert s.log().count("Background saving error") == tries
        os.rmdir(dump_of(s))
        wait_until(lambda: info(c)["rdb_saves"] == "1", "it is tried again")
        assert info(c)["rdb_last_bgsave_status"] == "ok" and info(c)["rdb_changes_since_last_save"] == "0"
        check(dump_of(s))
        c.ok("CONFIG", "SET", "save", "")


def test_shutdown_that_cannot_save():
    """It does not take place, unless it is forced to."""
    s = Server("anax", shards=2, options={"save": "10000 1"})
    with s.connect() as c:
        c.ok("SET", "k", "v")
        os.mkdir(dump_of(s))
        assert c.cmd("SHUTDOWN").startswith(b"ERR Errors trying to SHUTDOWN. Check logs.")
        c.ok("SET", "k", "w")
        s.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "errors trying to shut down" in s.log(), "SIGTERM is told")
        c.ok("SET", "k", "x")
        s.process.send_signal(signal.SIGINT)  # each is another try, and none an order to leave at once
        wait_until(lambda: s.log().count("errors trying to shut down") == 2, "SIGINT is told")
        c.ok("SET", "k", "y")
        c.send(encode(["SHUTDOWN", "FORCE"]))
        assert s.process.wait(60) == 0
    assert "bytes of memory were lost" not in s.log()
    s.kill()


def test_signals_that_could_not_end_it_do_when_it_can_save():
    s = Server("anax", shards=2, options={"save": "10000 1"})
    with s.connect() as c:
        c.ok("SET", "k", "v")
        os.mkdir(dump_of(s))
        s.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "errors trying to shut down" in s.log(), "SIGTERM is told")
        os.rmdir(dump_of(s))
        s.process.send_signal(signal.SIGTERM)
        assert s.process.wait(60) == 0
    assert "1 keys read" in check(dump_of(s))
    s.kill()


def test_stopped_while_it_starts():
    """The end of a server that has not loaded everything saves nothing over what it was to load."""
    rng = random.Random(4)
    s = Server("anax", shards=8, options={"save": "10000 1"})
    with s.connect() as c:
        c.pipeline([("SET", "key:%d" % i, "x" * 100) for i in range(5000)])
        c.ok("SAVE")
    s.kill()
    for _ in range(4 if SLOW else 15):
        wait_until(lambda: is_free(s.port), "its port is free")
        s.launch()
        time.sleep(rng.random() * 0.06)
        s.process.send_signal(signal.SIGTERM)
        assert s.process.wait(60) in (0, -signal.SIGTERM)  # before it listens to signals it just ends
        assert "5000 keys read" in check(dump_of(s))
    s.kill()


def test_killed_in_the_middle():
    """The file is the last one that was finished, or the one before it, whole; what was begun goes with the next start."""
    rounds, keys = (9 if SLOW else 30), 600
    rng = random.Random(3)
    s = Server("anax", shards=3)
    finished = 0  # the file has this generation, or the next one
    leftovers = 0

    def temporaries():
        return [n for n in os.listdir(s.dir) if n.startswith("temp-")]

    for generation in range(1, rounds + 1):
        with s.connect() as c:
            c.pipeline([("SET", "key:%d" % i, "%d %s" % (generation, "x" * 3000)) for i in range(keys)])
            if generation % 3 == 0:
                c.ok("SAVE")
                finished = generation
            c.ok("CONFIG", "SET", "rdb-key-save-delay", [30, 0, 2000][generation % 3])
            c.send(encode(["SAVE"]))
            if generation % 3 == 2:
                wait_until(temporaries, "it has begun")
            time.sleep(rng.random() * rng.choice([0.002, 0.01, 0.04]))
            s.process.kill()
            s.process.wait()
        leftovers += len(temporaries())
        if os.path.exists(dump_of(s)):
            check(dump_of(s))
        s.restart()
        assert temporaries() == []
        with s.connect() as c:
            found = {r.value.split()[0] for r in c.pipeline([("GET", "key:%d" % i) for i in range(keys)]) if r.value is not None}
            assert len(found) == (1 if os.path.exists(dump_of(s)) else 0)
            now = int(found.pop()) if found else 0
            assert finished <= now <= generation
            finished = now
    assert finished > 0 and leftovers > 0
    s.stop()
