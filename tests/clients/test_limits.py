"""Large values, many connections, and how the server ends."""

import hashlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import ANAX, SLOW, Closed, Conn, Error, Server, encode, raise_fd_limit, wait_until

BULK_MAX = 512 << 20
LARGE = 64 << 20 if SLOW else BULK_MAX


def blocks(total, size=1 << 20):
    """A stream of bytes that does not repeat per block, made without holding it all."""
    block = os.urandom(size)
    for i in range(0, total, size):
        yield i.to_bytes(8, "big") + block[8 : min(size, total - i)]


@pytest.mark.parametrize("io", ["uring", "epoll"])
def test_largest_value(io):
    """A value of exactly proto-max-bulk-len is stored and comes back unchanged."""
    options = {} if LARGE == BULK_MAX else {"proto-max-bulk-len": LARGE}
    with Server("anax", shards=2, io=io, options=options) as server, server.connect(timeout_s=300) as c:
        sent = hashlib.blake2b()
        c.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % LARGE)
        for block in blocks(LARGE):
            sent.update(block)
            c.send(block)
        c.send(b"\r\n")
        assert c.read().value == b"OK"
        assert c.cmd("STRLEN", "big") == LARGE
        c.send(encode(["GET", "big"]))
        got = hashlib.blake2b()
        header = b"$%d\r\n" % LARGE
        file = c.sock.makefile("rb", buffering=1 << 20)
        assert file.read(len(header)) == header
        left = LARGE
        while left:
            data = file.read(min(left, 1 << 20))
            assert data
            got.update(data)
            left -= len(data)
        assert file.read(2) == b"\r\n"
        assert got.digest() == sent.digest()
        with server.connect() as d:  # one byte more is refused before it is sent
            d.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % (LARGE + 1))
            assert d.until_closed() == b"-ERR Protocol error: invalid bulk length\r\n"
        with server.connect(timeout_s=300) as d:
            value = d.cmd("APPEND", "big", "x")
            assert isinstance(value, Error) and value.startswith(b"ERR string exceeds maximum")
            assert d.cmd("GETRANGE", "big", "0", "7") == bytes(8)
            before = server.rss_bytes()
            d.cmd("DEL", "big")
            if LARGE == BULK_MAX:
                wait_until(lambda: server.rss_bytes() < before - LARGE // 2, "memory returned")


@pytest.mark.parametrize("io", ["uring", "epoll"])
def test_5000_connections(io):
    n = 5000
    room = raise_fd_limit(n + 200)
    assert room >= n + 200, "RLIMIT_NOFILE is %d: raise the hard limit to run the suite" % room
    with Server("anax", shards=4, io=io) as server:
        conns = []
        try:
            for i in range(n):
                conns.append(Conn(server.address))
            for c in conns:
                c.send(b"PING\r\n")
            for c in conns:
                assert c.read().value == b"PONG"
            assert int(server.info("clients")["connected_clients"]) >= n
            for i, c in enumerate(conns):
                c.send(encode(["SET", b"k%d" % i, b"%d" % i]) + encode(["GET", b"k%d" % i]))
            for i, c in enumerate(conns):
                assert c.read().value == b"OK" and c.read().value == b"%d" % i
        finally:
            for c in conns:
                c.close()
        wait_until(lambda: int(server.info("clients")["connected_clients"]) < 10, "connections gone")


def admitted(server):
    """A connection that is served, or None when there are too many."""
    c = Conn(server.address)
    try:
        if c.cmd("PING") == b"PONG":
            return c
    except (Closed, OSError):
        pass
    c.close()
    return None


def test_maxclients():
    with Server("anax", shards=2, options={"maxclients": 10}) as server:
        conns = []

        def one_more():  # the connection that waited for the start may still be going
            c = admitted(server)
            if c:
                conns.append(c)
            return len(conns) == 10

        wait_until(one_more, "10 connections are served")
        with Conn(server.address) as c:
            assert c.until_closed() == b"-ERR max number of clients reached\r\n"
        assert all(c.cmd("PING") == b"PONG" for c in conns)
        conns.pop().close()
        wait_until(one_more, "a place is free again")
        for c in conns:
            c.close()


def test_timeout_closes_idle_connections():
    with Server("anax", shards=2, options={"timeout": 1}) as server:
        with Conn(server.address) as idle, Conn(server.address) as busy:
            idle.sock.settimeout(0.3)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                assert busy.cmd("PING") == b"PONG"
                try:
                    if idle.sock.recv(1) == b"":
                        break
                except socket.timeout:
                    continue
            else:
                raise AssertionError("an idle connection outlived its timeout")
            assert busy.cmd("PING") == b"PONG"


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("verb", [["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"]])
def test_shutdown_ends_with_0(shards, verb):
    server = Server("anax", shards=shards)
    with server.connect() as c:
        c.ok("SET", "k", "v")
        c.send(encode(verb))
        with pytest.raises((Closed, ConnectionResetError)):
            c.read()
    assert server.process.wait(60) == 0, server.log()


@pytest.mark.parametrize("io", ["uring", "epoll"])
@pytest.mark.parametrize("shards", [1, 3])
def test_sigterm_answers_what_was_received(shards, io):
    """A server under load is told to end: no connection sees a torn reply, and what came back is a
    prefix of the right answers."""
    server = Server("anax", shards=shards, io=io)
    answered, errors = [], []

    def client(n):
        done = 0
        try:
            with Conn(server.address) as c:
                while True:
                    replies = c.pipeline([["SET", b"%d:%d" % (n, i % 50), b"x" * 100] for i in range(100)])
                    if not all(r.value == b"OK" for r in replies):
                        errors.append(replies)
                    done += 1
        except (Closed, OSError):
            if c.buf[c.start :] and not b"+OK\r\n".startswith(bytes(c.buf[c.start :])):
                errors.append(bytes(c.buf[c.start :]))
        answered.append(done)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    with server.connect() as last:
        last.send(encode(["SET", "last", "v"]) + encode(["GET", "last"]))
        assert last.read().value == b"OK" and last.read().value == b"v"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0, server.log()
    for t in threads:
        t.join(60)
    assert len(answered) == 8 and sum(answered) > 0 and not errors, (answered, errors[:3])


def test_sigint_ends_with_0():
    server = Server("anax", shards=2)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 0, server.log()


BAD_OPTIONS = [["--nosuch", "1"], ["--port", "abc"], ["--port", "70000"], ["--maxclients", "-1"],
               ["--shards", "-1"], ["--shards", "100000"], ["--io", "magic"], ["--shard-borrow", "maybe"],
               ["--shard-cpus", "x"], ["--loglevel", "loud"], ["--timeout", "x"], ["--databases", "0"],
               ["--client-output-buffer-limit", "normal 1"], ["/no/such/file.conf"], ["--port"]]


@pytest.mark.parametrize("args", BAD_OPTIONS, ids=lambda a: " ".join(a))
def test_bad_option_is_one_clear_line(args):
    done = subprocess.run([ANAX] + args, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if "redis" not in os.path.basename(ANAX):
        assert len(lines) == 1, lines
        assert args[0].lstrip("-") in lines[0], lines
        if len(args) > 1:
            assert args[1].split()[-1] in lines[0], lines


def test_config_file_and_startup_line(tmp_path):
    log = tmp_path / "anax.log"
    text = ("# a comment\n\nmaxclients 123\ndatabases 4\ntimeout 7\n"
            "client-output-buffer-limit normal 1mb 512kb 5\nlogfile \"%s\"\nloglevel notice\n" % log)
    with Server("anax", shards=2, config_text=text, options={"timeout": 9}) as server:
        with server.connect() as c:
            assert c.cmd("CONFIG", "GET", "maxclients") == [b"maxclients", b"123"]
            assert c.cmd("CONFIG", "GET", "timeout") == [b"timeout", b"9"]  # the command line wins
            assert isinstance(c.cmd("SELECT", "4"), Error)
            assert c.cmd("CONFIG", "GET", "client-output-buffer-limit")[1].startswith(
                b"normal 1048576 524288 5")
        written = log.read_text()
        assert str(server.port) in written
        if server.is_anax:
            for word in ("shards", os.uname().release):
                assert word in written, written


def test_listen_fails_clearly():
    with Server("anax", shards=2) as server:
        args = [ANAX, "--port", str(server.port), "--bind", "127.0.0.1"]
        done = subprocess.run(args, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and str(server.port) in done.stdout + done.stderr
