"""What is not a well-formed request: the same bytes come back as from redis-server, and then the
connection is closed when Redis closes it."""

import random
import select
import socket
import time

import pytest

import differences
from harness import DEADLINE_S, Conn, Server, encode

RAW = [
    b"\r\n", b"\n", b"\r\n\r\nPING\r\n", b"PING\n", b"PING\r\n", b"  PING  \r\n", b"PING hello\r\n",
    b"PING 'a b'\r\n", b'PING "a\\x41\\n\\t\\"b"\r\n', b'PING "a\r\n', b"PING 'a\r\n", b'PING "a"b\r\n',
    b"PING 'a'b\r\n", b'PING ""\r\n', b"PING 'it\\'s'\r\n", b"SET a b\r\nGET a\r\n", b"nosuch a b\r\n",
    b'"PING"\r\n', b"'PING'\r\n", b"PING\ta\r\n", b"PING\x00a\r\n", b"echo \x00\r\n", b'echo "\\xzz"\r\n',
    b'echo "\\b\\a\\r\\q"\r\n',
    b"*0\r\n", b"*0\r\nPING\r\n", b"*-1\r\n", b"*-1\r\nPING\r\n", b"*-2147483648\r\nPING\r\n",
    b"*\r\n", b"* 1\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n", b"*1 \r\n$4\r\nPING\r\n",
    b"*a\r\n", b"*1a\r\n", b"*1048576\r\n", b"*2147483648\r\n",
    b"*9223372036854775807\r\n", b"*9223372036854775808\r\n", b"*99999999999999999999\r\n", b"*1.5\r\n",
    b"*1\r\nPING\r\n", b"*1\r\n+PING\r\n", b"*1\r\n:1\r\n", b"*1\r\n*1\r\n", b"*1\r\n\r\n", b"*1\r\n$\r\n",
    b"*1\r\n$-1\r\n", b"*1\r\n$-2\r\n", b"*1\r\n$a\r\n", b"*1\r\n$4a\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$536870912\r\n", b"*1\r\n$536870913\r\n",
    b"*1\r\n$9223372036854775807\r\n", b"*1\r\n$99999999999999999999\r\n", b"*1\r\n$0\r\n\r\n",
    b"*1\r\n$4\r\nPINGxx", b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", b"*1\r\n$3\r\nPING\r\n*1\r\n",
    b"*2\r\n$4\r\nECHO\r\n$-1\r\n", b"*2\r\n$4\r\nECHO\r\n$x\r\n", b"*2\r\n$4\r\nECHO\r\nfoo\r\n",
    b"*1\n$4\nPING\n", b"*1\r\n$4\nPING\r\n", b"*1\r$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n", b"PING\r\n*1\r\n$-5\r\nPING\r\n",
    b"$4\r\nPING\r\n", b"+PING\r\n", b"-ERR\r\n", b":1\r\n", b"%1\r\n", b"~1\r\n", b"_\r\n",
    b"\x00\r\n", b"\xff\xfe\r\n", b"GET\r\n", b"*1\r\n$3\r\nGET\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"Host: x\r\n", b"post\r\nPING\r\n", b"HOST:\r\nPING\r\n",
    b"x" * 65535 + b"\r\n", b"x" * 65536, b"x" * 65537, b"*" + b"1" * 65536,
    b"*1\r\n$" + b"1" * 65536, b"*1\r\n$" + b"1" * 70000, b"*" + b"0" * 40 + b"1\r\n$4\r\nPING\r\n",
    b"PING " + b"a" * 60000 + b"\r\n", b"QUIT\r\n", b"QUIT\r\nPING\r\n", b"QUIT a b\r\n",
    encode(["QUIT"]) + encode(["PING"]), b"quit\nPING\r\n",
    encode(["SET", "k", "v" * 40000]) + b"*1\r\n$x\r\n",
    encode(["ECHO", "v" * 40000]) + encode(["ECHO", "w" * 100]),
    b"*2\r\n$4\r\nECHO\r\n$40000\r\n" + b"z" * 40000 + b"xx" + encode(["PING"]),
]


class Talk:
    """A connection that collects what comes back."""

    def __init__(self, server):
        self.sock = socket.create_connection(server.address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        self.closed = False

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # it may have closed already; what it said is still there to be read

    def pump(self, wait_s):
        if self.closed or not select.select([self.sock], [], [], wait_s)[0]:
            return False
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.closed = not data
        self.got += data
        return True


def both(anax, redis, chunks, quiet_s=0.03):
    """Sends the chunks to both servers; returns what each said and whether it closed. Waits until
    redis-server has been quiet for a while, then until Anax has said as much and is quiet too."""
    talks = [Talk(anax), Talk(redis)]
    for t in talks:
        for chunk in chunks:
            t.send(chunk)
            if len(chunks) > 1:
                time.sleep(0.002)
    ours, theirs = talks
    while theirs.pump(quiet_s):
        pass
    deadline = time.monotonic() + DEADLINE_S  # on a busy machine either may get no processor for seconds
    while time.monotonic() < deadline:
        said = [ours.pump(0.01), theirs.pump(0)]  # either may have been late
        if not any(said) and (ours.got, ours.closed) == (theirs.got, theirs.closed):
            break
    for t in talks:
        t.sock.close()
    return (ours.got, ours.closed), (theirs.got, theirs.closed)


def clip(data):
    return repr(data) if len(data) < 300 else "%r...%r (%d bytes)" % (data[:100], data[-100:], len(data))


def check(anax, redis, chunks):
    ours, theirs = both(anax, redis, chunks)
    assert ours == theirs, "sent: %s\nanax:  %s closed=%s\nredis: %s closed=%s" % (
        [clip(c) for c in chunks], clip(ours[0]), ours[1], clip(theirs[0]), theirs[1])


@pytest.mark.parametrize("case", range(len(RAW)))
def test_malformed(anax2, redis, case):
    check(anax2, redis, [RAW[case]])


@pytest.mark.parametrize("raw", differences.RAW, ids=repr)
def test_intended_difference(anax2, raw, against_redis_itself):
    want, reason = differences.RAW[raw]
    talk = Talk(anax2)
    talk.send(raw)
    while not talk.closed and talk.pump(2):
        pass
    if not against_redis_itself:
        assert talk.got == want and talk.closed, reason


def test_malformed_in_pieces(pool, redis, io):
    anax = pool.get("anax", 2, io)
    rng = random.Random(5)
    for raw in RAW:
        if len(raw) > 300 or len(raw) < 2:
            continue
        cuts = sorted(rng.sample(range(1, len(raw)), min(3, len(raw) - 1)))
        chunks = [raw[a:b] for a, b in zip([0] + cuts, cuts + [len(raw)])]
        check(anax, redis, chunks)


def valid(rng):
    """A few small single-key commands."""
    out = b""
    for _ in range(rng.randint(1, 6)):
        out += encode(rng.choice([["SET", "k", "v"], ["GET", "k"], ["PING"], ["ECHO", "x" * rng.randrange(30)],
                                  ["INCR", "n"], ["STRLEN", "k"], ["DEL", "k"], ["APPEND", "k", "ab"]]))
    return out


@pytest.mark.parametrize("seed", range(60))
def test_mutated(pool, redis, seed):
    """Valid pipelines with a few bytes changed, dropped or repeated, in random pieces."""
    rng = random.Random(seed)
    anax = pool.get("anax", 2, rng.choice(["uring", "epoll"]))
    for server in (anax, redis):
        server.cmd("FLUSHALL")
    data = bytearray(valid(rng))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        pick = rng.randrange(3)
        if pick == 0:
            data[at] = rng.choice(b"*$\r\n0123456789-+ \x00\xffaZ\"'")
        elif pick == 1:
            del data[at]
        else:
            data[at:at] = data[at : at + rng.randrange(4)] or b"\n"
        data = data or bytearray(b"\n")
    pieces, at = [], 0
    while at < len(data):
        n = rng.choice([1, 2, 5, 20, 1000])
        pieces.append(bytes(data[at : at + n]))
        at += n
    check(anax, redis, pieces)


def test_unauthenticated_limits(redis, pool):
    """Before AUTH a request may have 10 arguments of 16384 bytes."""
    with Server("anax", shards=2, options={"requirepass": "pw"}) as a, \
            Server("redis", options={"requirepass": "pw"}) as r:
        for raw in [b"*10\r\n", b"*11\r\n", b"*1\r\n$16384\r\n", b"*1\r\n$16385\r\n", b"PING\r\n",
                    encode(["GET", "k"]), encode(["AUTH", "no"]),
                    encode(["AUTH", "pw"]) + encode(["PING"]), encode(["AUTH", "nobody", "pw"]),
                    encode(["AUTH", "default", "pw"]) + encode(["GET", "k"]),
                    encode(["AUTH"]), encode(["AUTH", "a", "b", "c"]), encode(["NOSUCH"]), encode(["QUIT"]),
                    encode(["RESET"]) + encode(["GET", "k"]), encode(["AUTH", "pw"]) + encode(["RESET"])
                    + encode(["GET", "k"]), encode(["AUTH", "pw"]) + b"*11\r\n" + b"$1\r\na\r\n" * 11,
                    encode(["GET"]), encode(["CLIENT", "SETNAME", "x"]), encode(["COMMAND"]),
                    encode(["HELLO", "2", "AUTH", "default", "no"]), encode(["HELLO", "9"]),
                    encode(["SHUTDOWN"]), encode(["HELLO", "x"])]:
            check(a, r, [raw])


def test_others_unharmed(anax2):
    with anax2.connect() as good:
        for _ in range(50):
            with Conn(anax2.address) as bad:
                bad.send(b"*1\r\n$x\r\n")
                assert bad.until_closed().startswith(b"-ERR Protocol error")
            assert good.cmd("PING") == b"PONG"
