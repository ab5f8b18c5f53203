"""SAVE, BGSAVE and what belongs to them: files that redis-server 7.0 loads, of the moment of the cut, whatever is written meanwhile.

What is compared is DEBUG DIGEST, which tests/compat/test_digest.py compares with redis-server's over the same data.
"""

import os
import random
import signal
import subprocess
import threading
import time

import pytest

import values
from harness import SLOW, Server, encode, wait_until

DEBUG = {"enable-debug-command": "yes"}
CONFIGS = [(1, "uring"), (2, "epoll"), (3, "uring"), (8, "epoll")]


@pytest.fixture(scope="module", params=CONFIGS, ids=["%d-%s" % c for c in CONFIGS])
def server(request):
    with Server("anax", shards=request.param[0], io=request.param[1],
                options={**DEBUG, "enable-protected-configs": "yes"}) as s:
        yield s


@pytest.fixture
def conn(server):
    with server.connect() as c:
        c.ok("FLUSHALL")
        yield c


def dump_of(server):
    return os.path.join(server.dir, "dump.rdb")


def check(path):
    """redis-check-rdb's words on the file; it must like it."""
    done = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0 and "RDB looks OK" in done.stdout, done.stdout[-2000:]
    return done.stdout


def in_redis(path, ask):
    """What ask(connection) gives of a redis-server 7.0 that has loaded the file."""
    check(path)
    with Server("redis", options={**DEBUG, "dir": os.path.dirname(path), "dbfilename": os.path.basename(path)}) as r:
        with r.connect() as c:
            return ask(c)


def digest(c):
    return c.cmd("DEBUG", "DIGEST")


def info(c):
    return c.info("persistence")


def saved(c, *how, fails=False):
    """Saves in the background, and waits for the end."""
    before = int(info(c)["rdb_saves"])
    assert c.cmd("BGSAVE", *how) == b"Background saving started"
    wait_until(lambda: info(c)["rdb_bgsave_in_progress"] == "0", "the save has ended")
    assert int(info(c)["rdb_saves"]) == before + (not fails)
    assert info(c)["rdb_last_bgsave_status"] == ("err" if fails else "ok")


# --- what the file holds ---


def test_every_type_and_encoding(server, conn):
    values.fill(conn, [*values.plain(), *values.with_times()])
    conn.ok("SELECT", 7)
    values.fill(conn, values.strings())
    conn.ok("SELECT", 0)
    before = digest(conn)
    for how in ("yes", "no"):
        conn.ok("CONFIG", "SET", "rdbcompression", how)
        conn.ok("SAVE")
        assert in_redis(dump_of(server), digest) == before
    saved(conn)
    assert in_redis(dump_of(server), digest) == before
    assert digest(conn) == before


def test_nothing_at_all(server, conn):
    conn.ok("SAVE")
    assert "0 keys read" in check(dump_of(server))
    assert in_redis(dump_of(server), lambda c: c.cmd("DBSIZE")) == 0


def test_ours_load_it_too(server, conn):
    values.fill(conn, [*values.plain(), *values.with_times()])
    conn.ok("SAVE")
    with Server("anax", shards=2, options={**DEBUG, "dir": server.dir, "dbfilename": "dump.rdb"}) as other, other.connect() as c:
        assert digest(c) == digest(conn)


def test_keys_that_no_block_holds(server, conn):
    rng = random.Random(1)
    for size in (1, 100_000, 130_000, 131_072, 300_000, 3_000_000):
        conn.ok("SET", rng.randbytes(size), rng.randbytes(10))
        conn.ok("SET", rng.randbytes(10), rng.randbytes(size))
    before = digest(conn)
    conn.ok("SAVE")
    assert in_redis(dump_of(server), digest) == before


def huge(c):
    """Values that are told in slices, longer than what a part sends at once; the elements of each have one number in common."""
    for n in range(3):
        members = [b"%d-%d" % (i, n) for i in range(40_000)]
        for kind, command in (("set", "SADD"), ("list", "RPUSH")):
            c.cmd(command, "%s:%d" % (kind, n), *members)
        c.cmd("HSET", "hash:%d" % n, *members)
        c.cmd("ZADD", "zset:%d" % n, *[x for i in range(0, 40_000, 2) for x in (i, members[i])])
        c.ok("SET", "string:%d" % n, random.Random(n).randbytes(900_000))


def change_all(c):
    """Every huge value is changed, taken away, moved or flushed, right behind the cut."""
    for n in range(3):
        c.cmd("SADD", "set:%d" % n, "new")
        c.cmd("SPOP", "set:%d" % n)
        c.cmd("APPEND", "string:%d" % n, "new")
    c.cmd("RENAME", "list:0", "list:other")
    c.cmd("LSET", "list:1", 0, "new")
    c.cmd("DEL", "list:2")
    c.cmd("UNLINK", "hash:0", "zset:0")
    c.cmd("MOVE", "hash:1", 9)
    c.cmd("HSET", "hash:2", "new", "new")
    c.cmd("ZADD", "zset:1", 0, "new")
    c.cmd("EXPIRE", "zset:2", 1000)
    c.cmd("COPY", "set:1", "set:0", "REPLACE")
    c.cmd("SWAPDB", 0, 5)
    c.cmd("SET", "after", "all")
    c.cmd("SELECT", 5)
    c.cmd("SADD", "set:2", "also new")
    c.cmd("FLUSHDB")
    c.cmd("SELECT", 0)


def test_what_is_huge_and_changes_at_once(server, conn):
    huge(conn)
    before = digest(conn)
    assert conn.cmd("BGSAVE") == b"Background saving started"
    change_all(conn)
    wait_until(lambda: info(conn)["rdb_bgsave_in_progress"] == "0", "the save has ended")
    assert in_redis(dump_of(server), digest) == before != digest(conn)


def test_one_moment_of_all_shards(server, conn):
    """Money goes from account to account in transactions, and pairs are set together: each file has all of the money, and equal
    pairs."""
    accounts, pairs, each = 40, 20, 1000
    stop = threading.Event()
    failed = []

    def transfer(seed):
        rng = random.Random(seed)
        try:
            with server.connect() as c:
                while not stop.is_set():
                    a, b = rng.sample(range(accounts), 2)
                    k, v = rng.randrange(pairs), rng.randrange(10**9)
                    n = rng.randrange(1, 10)
                    c.ok("MULTI")
                    c.cmd("DECRBY", "account:%d" % a, n)
                    c.cmd("INCRBY", "account:%d" % b, n)
                    c.cmd("EXEC")
                    c.ok("MSET", "left:%d" % k, v, "right:%d" % k, v)
        except Exception as e:  # noqa: BLE001: shown by the test
            failed.append(e)

    for i in range(accounts):
        conn.ok("SET", "account:%d" % i, each)
    for i in range(2000):
        conn.ok("SET", "filler:%d" % i, "x" * 200)
    threads = [threading.Thread(target=transfer, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    try:
        for _ in range(2 if SLOW else 4):
            saved(conn)

            def moment(c):
                money = sum(int(c.cmd("GET", "account:%d" % i)) for i in range(accounts))
                left = [c.cmd("GET", "left:%d" % k) for k in range(pairs)]
                return money, left, [c.cmd("GET", "right:%d" % k) for k in range(pairs)]

            money, left, right = in_redis(dump_of(server), moment)
            assert money == accounts * each
            assert left == right
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failed


def test_what_comes_behind_in_a_pipeline_is_not_in_it(server, conn):
    """And what came before is, wherever it lies."""
    for round_ in range(10):
        before, behind = ["before:%d:%d" % (round_, i) for i in range(30)], ["behind:%d:%d" % (round_, i) for i in range(30)]
        commands = [("SET", k, 1) for k in before] + [("BGSAVE",)] + [("SET", k, 1) for k in behind]
        replies = conn.pipeline(commands)
        assert replies[30].value == b"Background saving started"
        wait_until(lambda: info(conn)["rdb_bgsave_in_progress"] == "0", "the save has ended")
        if round_ % 5 == 0:
            assert in_redis(dump_of(server), lambda c: (c.cmd("EXISTS", *before), c.cmd("EXISTS", *behind))) == (30, 0)


def test_times_of_members_do_not_keep_others_from_loading(server, conn):
    """A set whose members have times is saved so that redis-server loads it, without the times."""
    assert conn.cmd("SADDEX", "s", "100", *["member-%d" % i for i in range(1000)]) == 1000
    assert conn.cmd("SADD", "s", "for ever") == 1
    conn.ok("SAVE")
    assert in_redis(dump_of(server), lambda c: (c.cmd("SCARD", "s"), c.cmd("TTL", "s"))) == (1001, -1)


@pytest.mark.parametrize("policy, ask, option", [("allkeys-lru", "IDLETIME", "IDLETIME"), ("allkeys-lfu", "FREQ", "FREQ"),
                                                 ("noeviction", "IDLETIME", None)])
def test_uses_are_saved_under_policies_that_count_them(policy, ask, option):
    options = {"maxmemory-policy": policy, "lfu-decay-time": 0}
    with Server("anax", shards=2, options=options) as s, s.connect() as c:
        c.cmd("SADD", "huge", *range(50_000), "text")
        c.ok("SET", "k", "v")
        if option is not None:
            for key in ("k", "huge"):
                c.ok("RESTORE", key, 0, c.cmd("DUMP", key), "REPLACE", option, 200)
        c.ok("SAVE")
        check(dump_of(s))
        with Server("redis", options={**options, "dir": s.dir}) as r, r.connect() as theirs:
            for key in ("k", "huge"):
                seen = theirs.cmd("OBJECT", ask, key)
                assert 190 <= seen <= 210 if option else seen < 100


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "noeviction"])
def test_times_of_members_come_back_under_every_policy(policy):
    """Of a set in one block, and of one in slices."""
    with Server("anax", shards=2, options={"maxmemory-policy": policy}) as s:
        with s.connect() as c:
            for key, n in (("small", 3), ("huge", 20_000)):
                assert c.cmd("SADDEX", key, "1000", *["member-%d" % i for i in range(n)]) == n
                assert c.cmd("SADD", key, "for ever") == 1
            c.ok("SAVE")
        s.restart()
        with s.connect() as c:
            for key, last in (("small", 2), ("huge", 19_999)):
                assert c.cmd("SCARD", key) == last + 2
                assert 900 <= c.cmd("FIELDTTL", key, "member-0") <= 1000
                assert 900 <= c.cmd("FIELDTTL", key, "member-%d" % last) <= 1000
                assert c.cmd("FIELDTTL", key, "for ever") == -1


def test_no_checksum():
    with Server("anax", shards=2, options={"rdbchecksum": "no"}) as s, s.connect() as c:
        c.ok("SET", "k", "v")
        c.ok("SAVE")
        with open(dump_of(s), "rb") as f:
            assert f.read()[-9:] == b"\xff" + bytes(8)
        assert in_redis(dump_of(s), lambda r: r.cmd("GET", "k")) == b"v"


def test_directory_and_name(server, conn):
    """Both can be changed; nothing else is left there."""
    other = os.path.join(server.dir, "other")
    os.makedirs(other, exist_ok=True)
    conn.ok("SET", "k", "v")
    conn.ok("CONFIG", "SET", "dir", other, "dbfilename", "my file.rdb")
    conn.ok("SAVE")
    assert os.listdir(other) == ["my file.rdb"]
    conn.ok("CONFIG", "SET", "dir", server.dir, "dbfilename", "dump.rdb")
    assert in_redis(os.path.join(other, "my file.rdb"), lambda c: c.cmd("GET", "k")) == b"v"


# --- commands ---


@pytest.fixture(scope="module")
def peers():
    options = {**DEBUG, "enable-protected-configs": "yes", "rdb-key-save-delay": 0}
    with Server("anax", shards=3, options=options) as a, Server("redis", options=options) as r:
        yield a, r


REPLIES = [
    ("BGSAVE", "x"), ("BGSAVE", "SCHEDULE", "x"), ("SAVE", "x"), ("LASTSAVE", "x"), ("SHUTDOWN", "x"), ("SHUTDOWN", "ABORT"),
    ("SHUTDOWN", "SAVE", "NOSAVE"), ("SHUTDOWN", "ABORT", "NOW"), ("SAVE",), ("CONFIG", "GET", "save"),
    ("CONFIG", "SET", "save", "900 1 300 10"), ("CONFIG", "GET", "save"), ("CONFIG", "SET", "save", "1"),
    ("CONFIG", "SET", "save", "0 1"), ("CONFIG", "SET", "save", "1 -1"), ("CONFIG", "SET", "save", ""), ("CONFIG", "GET", "save"),
    ("CONFIG", "SET", "dir", "/nonexistent"), ("CONFIG", "SET", "dir", "/etc/passwd"), ("CONFIG", "SET", "dbfilename", "a/b"),
    ("CONFIG", "SET", "rdbchecksum", "no"), ("CONFIG", "SET", "rdbcompression", "maybe"),
    ("CONFIG", "GET", "rdb-save-incremental-fsync"), ("CONFIG", "GET", "stop-writes-on-bgsave-error"),
]


def test_replies(peers):
    a, r = peers
    with a.connect() as ours, r.connect() as theirs:
        for command in REPLIES:
            assert ours.cmd(*command) == theirs.cmd(*command), command


def test_while_one_is_under_way(peers):
    answers = []
    for s in peers:
        with s.connect() as c:
            for i in range(300):
                c.ok("SET", "key:%d" % i, i)
            c.ok("CONFIG", "SET", "rdb-key-save-delay", 3000)
            seen = [c.cmd("BGSAVE"), c.cmd("BGSAVE"), c.cmd("BGSAVE", "SCHEDULE"), c.cmd("SAVE"), info(c)["rdb_bgsave_in_progress"]]
            c.ok("CONFIG", "SET", "rdb-key-save-delay", 0)
            wait_until(lambda: info(c)["rdb_bgsave_in_progress"] == "0", "the save has ended")
            seen += [info(c)["rdb_last_bgsave_status"], info(c)["rdb_changes_since_last_save"]]
            answers.append(seen)
    assert answers[0] == answers[1]


def test_in_a_transaction(peers):
    answers = []
    for s in peers:
        with s.connect() as c:
            wait_until(lambda: c.cmd("SAVE") == b"OK", "no child of a test before this one is left")
            saves = int(info(c)["rdb_saves"])
            c.ok("MULTI")
            seen = [c.cmd("SET", "k", "v"), c.cmd("BGSAVE"), c.cmd("EXEC")]
            c.ok("MULTI")
            seen += [c.cmd("SAVE"), c.cmd("DISCARD")]
            wait_until(lambda: int(info(c)["rdb_saves"]) == saves + 1, "what was scheduled is saved")
            answers.append(seen)
    assert answers[0] == answers[1]


def test_cancel(peers):
    """As Valkey 8.1 has it."""
    s = peers[0]
    with s.connect() as c:
        c.ok("SET", "of", "the file")
        for i in range(300):
            c.ok("SET", "key:%d" % i, i)
        c.ok("SAVE")
        with open(dump_of(s), "rb") as f:
            before = f.read()
        assert c.cmd("BGSAVE", "CANCEL").startswith(b"ERR Background saving is currently not in progress or scheduled")
        c.ok("CONFIG", "SET", "rdb-key-save-delay", 100_000)
        assert c.cmd("BGSAVE") == b"Background saving started"
        now = {k: int(v) for k, v in info(c).items() if k.startswith("current_") and v.isdigit()}
        assert now["current_save_keys_total"] == c.cmd("DBSIZE") >= now["current_save_keys_processed"]
        assert 0 < now["current_cow_size"] <= now["current_cow_peak"] <= 3 * 6 * 128 * 1024
        assert c.cmd("BGSAVE", "CANCEL") == b"Background saving cancelled"
        wait_until(lambda: info(c)["rdb_bgsave_in_progress"] == "0", "it has ended")
        assert info(c)["rdb_last_bgsave_status"] == "ok"
        c.ok("CONFIG", "SET", "rdb-key-save-delay", 0)
        with open(dump_of(s), "rb") as f:
            assert f.read() == before
        assert [n for n in os.listdir(s.dir) if n.startswith("temp")] == []
        saved(c)


def test_info_has_redis_s_names(peers):
    a, r = peers
    theirs = list(r.info("persistence"))
    assert [n for n in a.info("persistence") if n in theirs] == theirs


def test_lastsave_and_changes(peers):
    answers = []
    for s in peers:
        with s.connect() as c:
            wait_until(lambda: info(c)["rdb_bgsave_in_progress"] == "0", "no child of a test before this one is left")
            c.ok("FLUSHALL")
            c.ok("SAVE")
            now = c.cmd("TIME")
            assert 0 <= int(now[0]) - c.cmd("LASTSAVE") <= 2
            seen = []
            for command in (["SET", "a", 1], ["GET", "a"], ["DEL", "none"], ["INCR", "a"], ["DEL", "a"], ["SET", "b", 1, "XX"],
                            ["EXPIRE", "b", 10], ["MSET", "x", 1, "y", 2], ["FLUSHDB"]):
                c.cmd(*command)
                seen.append(info(c)["rdb_changes_since_last_save"])
            c.ok("SAVE")
            seen.append(info(c)["rdb_changes_since_last_save"])
            answers.append(seen)
    assert answers[0] == answers[1]


# --- save points ---


def test_save_points():
    with Server("anax", shards=3, options={"save": "1 5"}) as s, s.connect() as c:
        for i in range(4):
            c.ok("SET", "key:%d" % i, i)
        time.sleep(2.2)  # a point that is not reached
        assert not os.path.exists(dump_of(s)) and info(c)["rdb_saves"] == "0"
        c.ok("SET", "key:4", 4)
        wait_until(lambda: info(c)["rdb_saves"] == "1", "the point is reached")
        assert info(c)["rdb_changes_since_last_save"] == "0"
        assert in_redis(dump_of(s), lambda r: r.cmd("DBSIZE")) == 5
        c.ok("CONFIG", "SET", "save", "")


def test_save_lines_of_a_file_add_up():
    for text, points in (("", "3600 1 300 100 60 10000"), ('save ""', ""), ("save 900 1", "900 1"),
                         ("save 900 1\nsave 300 10 60 5\n", "900 1 300 10 60 5"), ('save 900 1\nsave ""\nsave 7 8', "7 8")):
        with Server("anax", shards=2, config_text=text + "\n") as s, s.connect() as c:
            assert c.cmd("CONFIG", "GET", "save") == [b"save", points.encode()]
            c.ok("CONFIG", "SET", "save", "")


def test_flushall_with_save_points():
    """The file must not bring back what was flushed."""
    with Server("anax", shards=3, options={"save": "10000 1"}) as s, s.connect() as c:
        for i in range(100):
            c.ok("SET", "key:%d" % i, i)
        c.ok("SAVE")
        c.ok("FLUSHALL")
        wait_until(lambda: "0 keys read" in check(dump_of(s)), "the file is empty")
        c.ok("CONFIG", "SET", "save", "")


# --- the end of the server ---


@pytest.mark.parametrize("points", ["", "10000 1"])
@pytest.mark.parametrize("how", ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN SAVE", "SHUTDOWN NOW FORCE", "SIGTERM"])
def test_shutdown(how, points):
    s = Server("anax", shards=2, options={"save": points})
    with s.connect() as c:
        for i in range(50):
            c.ok("SET", "key:%d" % i, i)
        if how == "SIGTERM":
            s.process.send_signal(signal.SIGTERM)
        else:
            c.send(encode(how.split()))
        assert s.process.wait(60) == 0
    wanted = how == "SHUTDOWN SAVE" or (points != "" and how != "SHUTDOWN NOSAVE")
    assert os.path.exists(dump_of(s)) == wanted, s.log()
    if wanted:
        assert in_redis(dump_of(s), lambda r: r.cmd("DBSIZE")) == 50
    assert "bytes of memory were lost" not in s.log()
    s.kill()


@pytest.mark.parametrize("how", ["SHUTDOWN SAVE", "SIGTERM"])
def test_no_write_is_confirmed_and_lost_at_the_end(how):
    s = Server("anax", shards=3, options={"save": "10000 1"})
    confirmed = {}

    def write(n):
        i = 0
        try:
            with s.connect() as c:
                while True:
                    c.ok("SET", "counter:%d" % n, i + 1)
                    i += 1
                    confirmed[n] = i
        except Exception:  # noqa: BLE001: the end of the server
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    with s.connect() as c:
        for i in range(3000):
            c.ok("SET", "key:%d" % i, "x" * 500)
        for t in threads:
            t.start()
        time.sleep(0.2)
        if how == "SIGTERM":
            s.process.send_signal(signal.SIGTERM)
        else:
            c.send(encode(how.split()))
        assert s.process.wait(60) == 0
    for t in threads:
        t.join()
    assert len(confirmed) == 4

    def counters(r):
        return {n: int(r.cmd("GET", "counter:%d" % n)) for n in range(4)}

    found = in_redis(dump_of(s), counters)
    assert all(confirmed[n] <= found[n] <= confirmed[n] + 1 for n in range(4)), (confirmed, found)
    s.kill()


def test_shutdown_during_a_save():
    """The one that is under way is given up for the last one, which has everything."""
    s = Server("anax", shards=3, options={"save": "10000 1", "rdb-key-save-delay": 100_000})
    with s.connect() as c:
        for i in range(200):
            c.ok("SET", "key:%d" % i, i)
        assert c.cmd("BGSAVE") == b"Background saving started"
        c.ok("SET", "later", 1)
        c.ok("CONFIG", "SET", "rdb-key-save-delay", 0)
        c.send(encode(["SHUTDOWN"]))
        assert s.process.wait(60) == 0
    assert in_redis(dump_of(s), lambda r: r.cmd("DBSIZE")) == 201
    assert os.listdir(s.dir) == ["dump.rdb"]
    s.kill()


def test_shutdown_nosave_during_a_save():
    s = Server("anax", shards=3, options={"rdb-key-save-delay": 100_000})
    with s.connect() as c:
        for i in range(200):
            c.ok("SET", "key:%d" % i, i)
        assert c.cmd("BGSAVE") == b"Background saving started"
        c.send(encode(["SHUTDOWN", "NOSAVE"]))
        assert s.process.wait(60) == 0
    assert os.listdir(s.dir) == [], s.log()
    assert "bytes of memory were lost" not in s.log()
    s.kill()


def test_shutdown_can_be_aborted():
    with Server("anax", shards=2, options={"save": "10000 1", "rdb-key-save-delay": 100_000}) as s:
        with s.connect() as c, s.connect() as other:
            for i in range(200):
                c.ok("SET", "key:%d" % i, i)
            c.send(encode(["SHUTDOWN"]))
            wait_until(lambda: other.cmd("SHUTDOWN", "ABORT") == b"OK", "it is under way")
            assert c.read().value.startswith(b"ERR Errors trying to SHUTDOWN. Check logs.")
            with s.connect() as second:  # and several that wait for the same
                for n, waits in ((2, c), (3, second)):
                    waits.send(encode(["SHUTDOWN"]))
                    wait_until(lambda n=n: s.log().count("User requested shutdown") == n, "it has come")
                    wait_until(lambda: s.log().count("Saving started") == 2, "it is under way")
                other.ok("SHUTDOWN", "ABORT")
                for waits in (c, second):
                    assert waits.read().value.startswith(b"ERR Errors trying to SHUTDOWN. Check logs.")
            assert other.cmd("SHUTDOWN", "ABORT").startswith(b"ERR No shutdown in progress")
            c.ok("CONFIG", "SET", "rdb-key-save-delay", 0, "save", "")
            c.ok("SET", "it", "goes on")
