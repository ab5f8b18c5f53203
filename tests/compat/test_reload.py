"""DEBUG RELOAD: the dataset goes into a file and comes back the same; and what its options make of what is there."""

import pytest

import values
from harness import Server, encode

OPTIONS = {"enable-debug-command": "yes"}


@pytest.fixture(scope="module", params=[(1, "uring"), (2, "epoll"), (3, "uring"), (8, "epoll")], ids=str)
def ours(request, tmp_path_factory):
    shards, io = request.param
    directory = tmp_path_factory.mktemp("reload")
    with Server("anax", shards=shards, io=io, options={**OPTIONS, "dir": str(directory)}) as server:
        yield server


@pytest.fixture
def a(ours):
    with ours.connect() as conn:
        conn.ok("FLUSHALL")
        yield conn


def fill(conn):
    keys = values.fill(conn, [*values.plain(), *values.with_times()])
    conn.ok("SELECT", "9")
    conn.ok("SET", "k", "in 9")
    conn.ok("SELECT", "0")
    conn.cmd("HSET", "ttl", "f", "v", "g", "w")
    conn.cmd("HPEXPIREAT", "ttl", "9999999999999", "FIELDS", "1", "f")
    conn.cmd("SADDEX", "members", "100000", "a", "b")
    conn.cmd("SADD", "members", "c")
    return keys + ["ttl", "members"]


def test_all_of_it(a):
    fill(a)
    want, size = a.cmd("DEBUG", "DIGEST"), a.cmd("DBSIZE")
    for _ in range(2):
        a.ok("DEBUG", "RELOAD")
        assert a.cmd("DEBUG", "DIGEST") == want and a.cmd("DBSIZE") == size
    assert a.cmd("HPEXPIRETIME", "ttl", "FIELDS", "2", "f", "g") == [9999999999999, -1]
    assert 99000 < a.cmd("FIELDTTL", "members", "a") <= 100000 and a.cmd("FIELDTTL", "members", "c") == -1
    a.ok("SELECT", "9")
    assert a.cmd("GET", "k") == b"in 9"


def test_a_stream(a, redis):
    with redis.connect() as b:
        b.ok("FLUSHALL")
        for i in range(250):
            b.cmd("XADD", "s", "%d-1" % (i + 1), "f", i)
        a.ok("RESTORE", "s", "0", b.cmd("DUMP", "s"))
    want = a.cmd("DEBUG", "DIGEST")
    a.ok("DEBUG", "RELOAD")
    assert a.cmd("DEBUG", "DIGEST") == want


def test_options(a):
    a.ok("SET", "saved", "1")
    a.ok("DEBUG", "RELOAD")
    a.ok("SET", "later", "2")
    a.ok("DEBUG", "RELOAD", "NOSAVE")
    assert (a.cmd("GET", "saved"), a.cmd("EXISTS", "later")) == (b"1", 0)
    a.ok("FLUSHALL")
    a.ok("SET", "later", "2")
    a.ok("DEBUG", "RELOAD", "noflush", "nosave")
    assert (a.cmd("GET", "saved"), a.cmd("GET", "later")) == (b"1", b"2")
    a.ok("SET", "saved", "other")
    a.ok("DEBUG", "RELOAD", "NOSAVE", "MERGE")
    assert (a.cmd("GET", "saved"), a.cmd("GET", "later")) == (b"1", b"2")
    assert a.cmd("DEBUG", "RELOAD", "NO") == \
        b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."


def test_keys_that_are_there_already(a):
    """Without MERGE that is an error, which Redis does not survive."""
    a.ok("SET", "k", "v")
    assert a.cmd("DEBUG", "RELOAD", "NOFLUSH") == b"ERR Error trying to load the RDB dump, check server logs"
    a.ok("SET", "k", "v")
    a.ok("DEBUG", "RELOAD")


def test_in_a_pipeline(a):
    """What was sent before is saved; what was sent behind it finds what was loaded."""
    commands = []
    for i in range(200):
        commands += [["SET", "k%d" % i, i], ["RPUSH", "list", i]]
    commands += [["DEBUG", "RELOAD"], ["DBSIZE"], ["LLEN", "list"], ["RPUSH", "list", "more"]]
    replies = [r.value for r in a.pipeline(commands)]
    assert replies[-4:] == [b"OK", 201, 200, 201]


def test_others_are_told_to_wait(a, ours):
    """Commands of others run before it or after it, or hear that a dataset is being loaded; none is lost."""
    values.fill(a, values.plain())
    with ours.connect() as other:
        for _ in range(5):
            a.send(encode(["DEBUG", "RELOAD"]))
            seen = [other.cmd("INCR", "counter") for _ in range(40)]
            assert a.read().value == b"OK"
            numbers = [n for n in seen if isinstance(n, int)]
            assert all(n.startswith(b"LOADING ") for n in seen if not isinstance(n, int))
            assert numbers == sorted(numbers)


def test_not_within_multi(a):
    a.ok("MULTI")
    assert a.cmd("DEBUG", "RELOAD").startswith(b"ERR Command not allowed inside a transaction")
    assert a.cmd("EXEC").startswith(b"EXECABORT")


def test_nowhere_to_save_to(tmp_path):
    directory = tmp_path / "gone"
    directory.mkdir()
    with Server("anax", shards=2, options={**OPTIONS, "dir": str(directory)}) as server, server.connect() as conn:
        conn.ok("SET", "k", "v")
        directory.rmdir()
        assert conn.cmd("DEBUG", "RELOAD") == b"ERR"
        assert conn.cmd("GET", "k") == b"v"
        assert conn.cmd("DEBUG", "RELOAD", "NOSAVE") == b"ERR Error trying to load the RDB dump, check server logs"
