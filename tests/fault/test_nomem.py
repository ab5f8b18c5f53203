"""The allocator refuses: every 7th, 50th or 1000th request (DEBUG FAIL-ALLOC). The server lives on; a reply is right,
or says that memory is out, or does not come because the connection ends; what was acknowledged is there.

What is right is redis-server's answer: it is told the commands that Anax carried out, and not those that Anax
refused, which must not have done anything.
"""

import contextlib
import os
import random
import sys
import threading

import pytest

from harness import ROOT, SLOW, Closed, Conn, Error, Server, encode, leak_checked, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "compat"))

import compare  # noqa: E402
import grammar  # noqa: E402
import streams  # noqa: E402

SCALE = 5 if SLOW else 1
CONFIGS = [(1, "epoll"), (2, "uring"), (3, "epoll"), (8, "uring")]
EVERY = {7: (300 // SCALE, [1, 1, 1, 2, 20]),  # and how many commands are run, in pipelines of what depths
         50: (1500 // SCALE, [1, 1, 1, 2, 20]),
         1000: (20000, [1, 100, 300])}  # a shard needs few allocations: its spare buffers serve
OUT_OF_MEMORY = (b"ERR out of memory", b"ERR Insufficient memory")
OPTIONS = {"enable-debug-command": "yes"}
CONTROLS = 8  # connections by which the test gives its orders


def connected(server):
    """A connection that got through."""
    found = []

    def connects():
        c = server.connect()
        try:
            if c.cmd("PING") == b"PONG":
                found.append(c)
                return True
        except (Closed, ConnectionError):
            pass
        c.close()
        return False

    wait_until(connects, "a connection is accepted")
    return found[0]


def all_succeed(server):
    """No allocation fails any more. The order takes some itself. It comes by connections that were there before, since those that
    want memory may be closed and none may come while every second allocation fails; it is carried out even when there is no memory
    for the reply, and others connect in between, so that the failure falls on another allocation each time."""
    rng = random.Random(1)

    def told():
        try:
            for _ in range(rng.randrange(4)):
                Conn(server.address).close()
            return server.controls[0].cmd("DEBUG", "FAIL-ALLOC", "0") == b"OK"
        except (Closed, ConnectionError):
            server.controls.pop(0).close()
            if not server.controls:
                server.controls.append(connected(server))
            return False

    wait_until(told, "DEBUG FAIL-ALLOC 0")
    while len(server.controls) < CONTROLS:
        server.controls.append(server.connect())


def fail_alloc(server, every):
    """From now on every so many-th allocation of each shard fails; 0: none."""
    all_succeed(server)
    if every == 0:
        return
    with server.connect() as c, contextlib.suppress(Closed, ConnectionError):  # for the reply it holds already
        c.cmd("DEBUG", "FAIL-ALLOC", every)


def refused(value):
    return isinstance(value, Error) and value.startswith(OUT_OF_MEMORY)


class Lockstep(streams.Pair):
    """A client of both servers."""

    def __init__(self, anax, redis):
        super().__init__(anax, redis, 2)
        self.every = 0
        self.refused = self.closed = self.carried_out = 0
        self.flush()

    def flush(self):
        for server in self.servers:
            server.cmd("FLUSHALL")

    def close(self):
        for c in self.conns:
            c.close()
        self.conns = []

    def fail_every(self, every):
        self.every = every
        fail_alloc(self.servers[0], every)
        self.close()
        self.conns = [connected(self.servers[0]), self.servers[1].connect()]

    def ask(self, commands):
        """Anax's replies, as far as they came."""
        ours, replies = self.conns[0], []
        try:
            ours.send(b"".join(encode(args) for _, args in commands))
            for _ in commands:
                replies.append(ours.read())
        except (Closed, ConnectionError):
            self.closed += 1
        return replies

    def run(self, commands):
        replies = self.ask(commands)
        done = [(row, args, reply) for (row, args), reply in zip(commands, replies) if not refused(reply.value)]
        self.refused += len(replies) - len(done)
        self.carried_out += len(done)
        for (row, args, ours), theirs in zip(done, self.conns[1].pipeline([args for _, args, _ in done])):
            assert compare.same(row, args, ours, theirs), "%s\n  anax:  %s\n  redis: %s" % (
                streams.show(args), streams.clip(ours), streams.clip(theirs))
        if len(replies) < len(commands):
            self.resume(commands[len(replies) :])

    def resume(self, unanswered):
        """The connection ended: the one command that is not answered was carried out, or was not; nothing else
        may have happened. Of several each may have been: then both start anew."""
        fail_alloc(self.servers[0], 0)
        if len(unanswered) > 1:
            self.flush()
        elif not self.same_state():
            self.conns[1].cmd(*unanswered[0][1])
            assert self.same_state(), "neither done nor not done: %s" % streams.show(unanswered[0][1])
        self.fail_every(self.every)

    def same_state(self):
        try:
            self.compare_state()
            return True
        except AssertionError:
            return False


def warm_up(server):
    """All commands once, and some more."""
    server.controls = [server.connect() for _ in range(CONTROLS)]
    with server.connect() as c:
        drawn = grammar.stream(grammar.Draw(random.Random(0)), 3000)
        for at in range(0, len(drawn), 500):
            c.pipeline([args for _, args in drawn[at : at + 500] if args[0].upper() != b"HELLO"])
        for db in range(16):  # a shard's first key in a database makes its table
            c.ok("SELECT", db)
            c.pipeline([["SET", "warm:%d" % i, "w"] for i in range(200)])
    all_succeed(server)
    for name in OBSERVERS:
        server.cmd(*name.split())
    for limit in (1, 0):
        server.cmd("CONFIG", "SET", "maxmemory", limit)


@pytest.fixture(scope="module")
def servers():
    with leak_checked(CONFIGS, warm_up, OPTIONS) as running:
        yield running


@pytest.fixture(params=CONFIGS, ids=lambda c: "%d-%s" % c)
def anax(request, servers):
    server = servers[request.param]
    assert server.alive(), server.log()
    try:
        yield server
    finally:
        if server.alive():
            fail_alloc(server, 0)
    assert server.alive(), server.log()
    server.cmd("FLUSHALL")
    server.returns_to(server.held_before, slack_bytes=16 << 20)


@pytest.fixture(scope="module")
def redis():
    with Server("redis") as server:
        yield server


@pytest.fixture
def pair(anax, redis):
    p = Lockstep(anax, redis)
    yield p
    p.close()


@pytest.mark.parametrize("every", EVERY)
def test_every_command(pair, every):
    rng = random.Random(every)
    pair.fail_every(every)
    count, depths = EVERY[every]
    commands = grammar.stream(grammar.Draw(rng), count)
    while commands:
        depth = rng.choice(depths)
        pair.run(commands[:depth])
        del commands[:depth]
    print("%d carried out, %d refused, %d connections ended" % (pair.carried_out, pair.refused, pair.closed))
    assert pair.carried_out and pair.refused + pair.closed, "nothing failed"
    pair.fail_every(0)
    pair.compare_state()
    failures = pair.refused + pair.closed
    pair.run(grammar.stream(grammar.Draw(rng), 500 // SCALE))
    assert pair.refused + pair.closed == failures, "memory is there again, and yet it was refused"
    pair.compare_state()


class Owner(threading.Thread):
    """A client with keys of its own, and what they must hold: one value, or one of two where the connection ended
    before the answer."""

    def __init__(self, server, n, count):
        super().__init__()
        self.server, self.n, self.count = server, n, count
        self.rng = random.Random(n)
        self.held = {}
        self.answered = self.refused = self.closed = 0
        self.error = None

    def draw(self):
        """A command, its reply, and what its keys hold when it was carried out."""
        r = self.rng
        key = b"own:%d:%d" % (self.n, r.randrange(20))
        now = self.held.get(key, (None,))
        value = b"%d" % r.randrange(1000) * r.choice([1, 1, 10, 1000, 20_000])
        if len(now) > 1 or r.random() < 0.3:
            return ["GET", key], now, {key: None}
        old = now[0]
        kind = r.randrange(5)
        if kind == 0:
            return ["APPEND", key, value[:100]], (len((old or b"") + value[:100]),), {key: (old or b"") + value[:100]}
        if kind == 1:
            return ["DEL", key], (int(old is not None),), {key: None}
        if kind == 2:
            tag = b"{own:%d}" % self.n
            pairs = {tag + b"%d" % r.randrange(9): value for _ in range(4)}
            return ["MSET"] + [x for pair in pairs.items() for x in pair], (b"OK",), pairs
        if kind == 3:
            return ["GETSET", key, value], (old,), {key: value}
        return ["SET", key, value], (b"OK",), {key: value}

    def note(self, args, wanted, after, got):
        if args[0] == "GET":
            assert got in wanted, (args, wanted, got)
            self.held[args[1]] = (got,)
            return
        assert got == wanted[0], (args, wanted, got)
        for key, value in after.items():
            self.held[key] = (value,)

    def unsure(self, args, after):
        """MSET is one command: done or not done. Its keys are read at once, as long as that is known."""
        if args[0] == "GET":
            return
        before = {key: self.held.get(key, (None,)) for key in after}
        for key, value in after.items():
            self.held[key] = before[key] + (value,)
        if args[0] == "MSET" and all(len(v) == 1 for v in before.values()):
            self.check_whole({k: v[0] for k, v in before.items()}, after)

    def check_whole(self, before, after):
        while True:
            c = connected(self.server)
            try:
                got = c.cmd("MGET", *after)
            except (Closed, ConnectionError):
                continue
            finally:
                c.close()
            if not isinstance(got, Error):
                break
        assert got in ([before[k] for k in after], [after[k] for k in after]), "half an MSET"
        self.held.update({k: (v,) for k, v in zip(after, got)})

    def run(self):
        try:
            c = connected(self.server)
            for _ in range(self.count):
                args, wanted, after = self.draw()
                try:
                    got = c.cmd(*args)
                except (Closed, ConnectionError):
                    self.closed += 1
                    c.close()
                    self.unsure(args, after)
                    c = connected(self.server)
                    continue
                if isinstance(got, Error):
                    assert refused(got), (args, got)
                    self.refused += 1
                else:
                    self.answered += 1
                    self.note(args, wanted, after, got)
            c.close()
        except BaseException as e:  # noqa: the thread must tell
            self.error = e


@pytest.mark.parametrize("every", [11, 200])
def test_what_was_acknowledged_is_there(anax, every):
    """Many clients at once, each of which knows what its keys hold."""
    fail_alloc(anax, every)
    owners = [Owner(anax, n, 600 // SCALE) for n in range(8)]
    for o in owners:
        o.start()
    for o in owners:
        o.join()
    fail_alloc(anax, 0)
    for o in owners:
        if o.error:
            raise o.error
    print([(o.answered, o.refused, o.closed) for o in owners])
    assert sum(o.answered for o in owners) > 0 and sum(o.refused + o.closed for o in owners) > 0
    with anax.connect() as c:
        for o in owners:
            for key, values in o.held.items():
                assert c.cmd("GET", key) in values, key
        assert c.cmd("DBSIZE") == sum(c.cmd("EXISTS", key) for o in owners for key in o.held)


OBSERVERS = ["INFO", "INFO everything", "INFO commandstats", "INFO shards", "CLIENT LIST", "CLIENT INFO", "CONFIG GET *",
             "COMMAND", "COMMAND DOCS", "COMMAND LIST", "COMMAND GETKEYS MSET a b c d", "SLOWLOG GET", "LATENCY LATEST",
             "LATENCY HISTOGRAM", "LATENCY DOCTOR", "CLIENT SETNAME someone", "CLIENT SETINFO lib-name some", "DEBUG HELP",
             "CONFIG SET slowlog-max-len 0", "RESET"]


def test_observers(anax):
    """What asks all shards and writes much: whole, or refused."""
    rng = random.Random(5)
    wanted = {}
    for name in OBSERVERS:
        value = anax.cmd(*name.split())
        assert not isinstance(value, Error), (name, value)
        wanted[name] = compare.kind(value)
    came = failed = 0
    for every in (2, 3, 5, 13, 40):
        fail_alloc(anax, every)
        c = connected(anax) if every > 3 else anax.connect()
        for name in rng.choices(OBSERVERS, k=100 // SCALE):
            try:
                value = c.cmd(*name.split())
            except (Closed, ConnectionError):
                failed += 1
                c.close()
                c = anax.connect()
                continue
            came += not isinstance(value, Error)
            failed += isinstance(value, Error)
            assert compare.kind(value) == wanted[name] or refused(value), (name, value)
        c.close()
    assert came and failed


def test_config_set_is_all_or_nothing(anax):
    """An option has one value: on all shards the new one, or on all the old one."""
    name, now, taken = "slowlog-log-slower-than", b"10000", 0
    anax.cmd("CONFIG", "SET", name, now)
    for i in range(200 // SCALE):
        fail_alloc(anax, 3 + i % 9)
        try:
            with anax.connect() as c:
                reply = c.cmd("CONFIG", "SET", name, b"%d" % (20000 + i))
        except (Closed, ConnectionError):
            reply = None
        fail_alloc(anax, 0)
        conns = [anax.connect() for _ in range(8)]  # on every shard
        values = {c.cmd("CONFIG", "GET", name)[1] for c in conns}
        for c in conns:
            c.close()
        assert len(values) == 1, "shards differ: %s after %s" % (values, reply)
        value = values.pop()
        if reply == b"OK":
            assert value == b"%d" % (20000 + i)
            taken += 1
        elif isinstance(reply, Error):
            assert refused(reply) and value == now, (reply, value, now)
        now = value
    anax.cmd("CONFIG", "SET", name, "10000")
    assert taken  # it asks for next to no memory: mostly none of them is refused


def test_refused_for_maxmemory_and_no_memory_to_say_so(anax):
    """A write over several shards for which no shard has room; there may be no memory for that reply either."""
    words = [x for i in range(300) for x in ("key:%d" % i, "v" * 100)]
    few, many = words[:40], words
    anax.cmd("CONFIG", "SET", "maxmemory", "1")
    told = ended = 0
    try:
        for i in range(200 // SCALE):
            fail_alloc(anax, 2 + i % 5)
            c = anax.connect()
            try:
                for _ in range(3):
                    c.cmd("MULTI") if i % 3 == 0 else None
                    reply = c.cmd("MSET", *(many if i % 2 else few))
                    told += isinstance(reply, Error) and b"OOM command not allowed" in reply
                    assert isinstance(reply, Error), reply
                    c.cmd("EXEC") if i % 3 == 0 else None
            except (Closed, ConnectionError):
                ended += 1
            c.close()
            assert anax.alive(), anax.log()
    finally:
        if anax.alive():
            fail_alloc(anax, 0)
            anax.cmd("CONFIG", "SET", "maxmemory", "0")
    assert told and ended
    assert anax.cmd("DBSIZE") == 0
