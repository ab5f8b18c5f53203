"""workload.py: clients that run random transactions against a server and write down what they saw.

Why        Races need many connections with something on its way at once, and Python threads would mostly wait for
           each other: so there are a few processes, each with several connections in one event loop.
Scripts    What a connection does is a generator: it yields a Flight (transactions that leave in one send) and is
           resumed when all of it has been answered, or at once when the connection was thrown away.
Times      CLOCK_MONOTONIC, which all processes share: before the send, after the last byte of a reply.
Values     are unique in a history, whatever the key, so that a value found anywhere tells who wrote it.
"""

import contextlib
import multiprocessing
import random
import selectors
import time

from harness import NULL_ARRAY, Closed, Conn, Error, encode
from history import Tx, number, split_key

UNKNOWN = object()  # instead of a reply that never came
CONNECTIONS_MAX = 1000


class Unexpected(Exception):
    """A reply that no correct server gives here, or none. `history`: what was seen nevertheless."""

    def __init__(self, text, history=()):
        super().__init__(text)
        self.history = list(history)


# --- commands and what their replies mean --------------------------------------------------------------------


class Command:
    """One command, and how its reply becomes ops of the history."""

    def __init__(self, args, ops):
        self.args, self._ops = args, ops

    def ops(self, reply):
        if isinstance(reply, Error) and not reply.startswith(b"ERR no such key"):
            raise Unexpected("%s: %r" % (self.args, reply))
        try:
            return self._ops(reply)
        except (ValueError, TypeError, AttributeError) as e:
            raise Unexpected("%s: %r" % (self.args, reply)) from e


def wire(key):
    """Its name in whatever database it is."""
    return split_key(key)[1]


def list_of(reply):
    if reply is UNKNOWN:
        return None
    if reply is None:
        return []
    if not reply.endswith(b","):
        raise ValueError(reply)
    return [int(v) for v in reply.split(b",")[:-1]]


def int_of(reply):
    return None if reply is UNKNOWN or reply is None else int(reply)


def count_of(reply):
    if reply is not UNKNOWN and type(reply) is not int:
        raise ValueError(reply)
    return None if reply is UNKNOWN else reply


def ok(reply, ops):
    if reply is not UNKNOWN and reply != b"OK":
        raise ValueError(reply)
    return ops


def parts_of(reply, n):
    if reply is UNKNOWN:
        return [UNKNOWN] * n
    if len(reply) != n:
        raise ValueError(reply)
    return reply


def append(key, n):
    return Command(["APPEND", wire(key), "%d," % n], lambda r: (count_of(r), [["append", key, n]])[1])


def read_op(key, reply):
    return ["r", key, list_of(reply)] if wire(key)[0] == "l" else ["rr", key, int_of(reply)]


def get(key):
    return Command(["GET", wire(key)], lambda r: [read_op(key, r)])


def mget(keys):
    return Command(["MGET"] + keys, lambda r: [read_op(k, v) for k, v in zip(keys, parts_of(r, len(keys)))])


def put(key, n):
    return Command(["SET", key, n], lambda r: ok(r, [["w", key, n]]))


def mset(pairs):
    args = [x for pair in pairs for x in pair]
    return Command(["MSET"] + args, lambda r: ok(r, [["w", k, n] for k, n in pairs]))


def msetnx(pairs):
    args = [x for pair in pairs for x in pair]
    keys, values = [k for k, _ in pairs], [n for _, n in pairs]
    return Command(["MSETNX"] + args, lambda r: [["msetnx", keys, [values, count_of(r)]]])


def counted(name, keys):
    return Command([name] + keys, lambda r: [["exists" if name == "EXISTS" else "del", keys, count_of(r)]])


def rename(a, b):
    def ops(r):
        outcome = -1 if isinstance(r, Error) else ok(r, 1)
        return [["rename", a, [b, None if r is UNKNOWN else outcome]]]
    return Command(["RENAME", a, b], ops)


def renamenx(a, b):
    return Command(["RENAMENX", a, b], lambda r: [["renamenx", a, [b, -1 if isinstance(r, Error) else count_of(r)]]])


def copy(a, b, replace):
    return Command(["COPY", a, b] + ["REPLACE"] * replace,
                   lambda r: [["copyr" if replace else "copy", a, [b, count_of(r)]]])


def incrby(key, delta):
    return Command(["INCRBY", key, delta], lambda r: [["incrby", key, [delta, count_of(r)]]])


def getset(key, n):
    return Command(["SET", key, n, "GET"], lambda r: [["getset", key, [n, int_of(r)]]])


def getdel(key):
    return Command(["GETDEL", key], lambda r: [["getdel", key, int_of(r)]])


def swapdb(a, b):
    return Command(["SWAPDB", a, b], lambda r: ok(r, [["swapdb", a, b]]))


def flushdb():
    return Command(["FLUSHDB"], lambda r: ok(r, [["flushdb", 0, None]]))


def select(db):
    return Command(["SELECT", db], lambda r: ok(r, []))


def dbsize():
    return Command(["DBSIZE"], lambda r: [["dbsize", 0, count_of(r)]])


def keys_all():
    return Command(["KEYS", "*"], lambda r: [["keys", 0, None if r is UNKNOWN else sorted(k.decode() for k in r)]])


class Transaction:
    """One Command, or several in MULTI and EXEC. `seen`: ops that were read under WATCH before."""

    def __init__(self, commands, multi=False, seen=()):
        self.commands, self.multi, self.seen = commands, multi, list(seen)
        self.reply_count = len(commands) + 2 if multi else 1

    def requests(self):
        bodies = [c.args for c in self.commands]
        return [["MULTI"]] + bodies + [["EXEC"]] if self.multi else bodies

    def outcome(self, replies):
        """(type, ops)"""
        if replies is UNKNOWN:
            return "info", self.seen + [op for c in self.commands for op in c.ops(UNKNOWN)]
        if self.multi:
            if replies[0] != b"OK" or any(r != b"QUEUED" for r in replies[1:-1]):
                raise Unexpected("%s: %r" % (self.requests(), replies))
            replies = replies[-1]
            if replies is None or replies is NULL_ARRAY:
                return "fail", self.seen + [op for c in self.commands for op in c.ops(UNKNOWN)]
            if isinstance(replies, Error) or len(replies) != len(self.commands):
                raise Unexpected("%s: %r" % (self.requests(), replies))
        return "ok", self.seen + [op for c, r in zip(self.commands, replies) for op in c.ops(r)]


class Flight:
    """What leaves in one send. `plain`: requests before the transactions that are no part of the history (WATCH).
    `cut`: how many bytes are sent before the connection is reset; None: it is not."""

    def __init__(self, transactions, plain=(), cut=None):
        self.transactions, self.plain, self.cut = transactions, list(plain), cut


# --- connections ---------------------------------------------------------------------------------------------


class Partial(Exception):
    """The rest of a reply has not arrived."""


class Link(Conn):
    """A connection that never waits for a reply."""

    def _fill(self):
        try:
            super()._fill()
        except BlockingIOError:
            raise Partial from None

    def arrived(self):
        """The values of the replies that are there."""
        out = []
        while True:
            try:
                out.append(self.read().value)
            except Partial:
                self.pos = self.start
                return out


class Player:
    """One connection and the script that it plays."""

    def __init__(self, world, script):
        self.world, self.script = world, script
        self.link = None
        self.connect()
        self.flight = None

    def connect(self):
        self.client = self.world.new_client()
        self.link = Link(self.world.address)

    def go(self, answer=None):
        """Sends the next flight; False when the script is over."""
        try:
            self.flight = flight = self.script.send(answer)
        except StopIteration:
            self.flight = None
            return False
        self.txs, self.replies, self.whole = [], [], list(flight.plain)
        for t in flight.transactions:
            self.whole += t.requests()
        data = b"".join(map(encode, self.whole))
        self.started = time.monotonic_ns()
        if flight.cut is None:
            self.link.sock.setblocking(True)
            self.link.send(data)
            self.link.sock.setblocking(False)
            return True
        return self.lose(data[:flight.cut] if flight.cut < len(data) else data)

    def lose(self, data):
        """Sends, resets the connection, and goes on with another one."""
        with contextlib.suppress(OSError):
            self.link.send(data)
        self.world.unregister(self)
        self.link.reset()
        for t in self.flight.transactions:
            self.note(t, *t.outcome(UNKNOWN), None)
        self.connect()
        self.world.register(self)
        return self.go([])

    def note(self, t, type, ops, end):
        tx = Tx(self.client, self.started, end, type, ops)
        self.world.history.append(tx)
        self.txs.append(tx)

    def hear(self):
        """Takes what has arrived; sends the next flight when this one is answered. False when the script is over."""
        got = self.link.arrived()
        now = time.monotonic_ns()
        self.replies += got
        done = len(self.txs)
        at = len(self.flight.plain) + sum(t.reply_count for t in self.flight.transactions[:done])
        for t in self.flight.transactions[done:]:
            if len(self.replies) < at + t.reply_count:
                break
            self.note(t, *t.outcome(self.replies[at:at + t.reply_count]), now)
            at += t.reply_count
        if len(self.replies) > len(self.whole):
            raise Unexpected("more replies than requests: %s: %r" % (self.whole, self.replies))
        if len(self.replies) < len(self.whole):
            return True
        return self.go((self.replies[:len(self.flight.plain)], self.txs))


class World:
    """The connections of one process."""

    def __init__(self, address, seed, index, scripts):
        self.address, self.history, self.index = address, [], index
        self.client_count = 0
        self.selector = selectors.DefaultSelector()
        self.players = [Player(self, script) for script in scripts(random.Random(seed), index)]

    def new_client(self):
        self.client_count += 1
        return self.index + 100 * self.client_count

    def register(self, player):
        self.selector.register(player.link.sock, selectors.EVENT_READ, player)

    def unregister(self, player):
        self.selector.unregister(player.link.sock)

    def run(self, deadline_s):
        playing = 0
        for p in self.players:
            self.register(p)
        for p in self.players:
            playing += p.go()
        while playing:
            ready = self.selector.select(deadline_s)
            if not ready:
                raise Unexpected("no reply to %s" % "; ".join(str(p.whole)[:400] for p in self.players if p.flight))
            for entry, _ in ready:
                try:
                    going = entry.data.hear()
                except (Closed, ConnectionError) as e:
                    raise Unexpected("the server closed a connection: %s" % entry.data.whole) from e
                if not going:
                    self.unregister(entry.data)
                    playing -= 1
        for p in self.players:
            p.link.close()

    def give_up(self):
        """What has not been answered will not be."""
        for p in self.players:
            for t in p.flight.transactions[len(p.txs):] if p.flight else ():
                p.note(t, *t.outcome(UNKNOWN), None)
            p.link.reset()


def run_world(*args, deadline_s):
    """(history, None or what went wrong)"""
    world = World(*args)
    try:
        world.run(deadline_s)
        return world.history, None
    except Unexpected as e:
        world.give_up()
        return world.history, str(e)


def one_process(pipe, *args, deadline_s):
    try:
        pipe.send(run_world(*args, deadline_s=deadline_s))
    except BaseException as e:  # noqa: the parent must hear of it
        pipe.send(([], "%s: %s" % (type(e).__name__, e)))
    pipe.close()


def play(server, scripts, seed, processes=2, before=(), after=(), deadline_s=40):
    """Runs `processes` processes with the scripts that scripts(rng, index) gives each; returns their history.
    before, after: transactions that run alone, on one connection, first and last."""
    context = multiprocessing.get_context("fork")
    history, error = run_world(server.address, 0, 98, lambda rng, index: [iter_of(before)], deadline_s=deadline_s)
    workers, errors = [], [error]
    for i in range(processes):
        ours, theirs = context.Pipe(False)
        args = (theirs, server.address, seed * processes + i, i, scripts)
        workers.append((context.Process(target=one_process, args=args, kwargs={"deadline_s": deadline_s}), ours))
        workers[-1][0].start()
        theirs.close()
    for process, pipe in workers:
        try:
            part, error = pipe.recv()
        except EOFError:
            part, error = [], "a client process died"
        process.join()
        history += part
        errors.append(error)
    if not any(errors):
        part, error = run_world(server.address, 0, 99, lambda rng, index: [iter_of(after)], deadline_s=deadline_s)
        history += part
        errors.append(error)
    history = number(sorted(history, key=lambda tx: tx.start))
    if any(errors):
        raise Unexpected("; ".join(filter(None, errors)), history)
    return history


def iter_of(transactions):
    for t in transactions:
        yield Flight([t])


# --- scripts -------------------------------------------------------------------------------------------------


class Values:
    """Numbers that no other connection has."""

    def __init__(self, place):
        self.next = place

    def __call__(self):
        self.next += CONNECTIONS_MAX
        return self.next


def scripts_of(make, connections, flights):
    """For play(): each of `connections` plays make(rng, values) until it has given `flights` flights."""
    def scripts(rng, index):
        return [limited(make(random.Random(rng.random()), Values(index * connections + i)).play(), flights) for i in range(connections)]
    return scripts


def limited(script, flights):
    """The first of a script's flights, and on to where nothing is watched: there it yields None."""
    next(script)
    while flights > 0:
        flight = next(script)
        while flight is not None:
            flights -= 1
            flight = script.send((yield flight))


class Mix:
    """Random transactions over lists and registers: the graph can judge them."""

    PIPELINED = (1, 1, 1, 2, 3, 6)  # transactions of a flight
    RESET_EVERY = 100  # flights, the first one earlier
    MARKED = False  # what is cut off leaves a mark
    MARKS = "2:l0"  # in a database where nothing else is

    def __init__(self, rng, values, lists=3, registers=3):
        self.rng, self.value = rng, values
        self.until_reset = rng.randint(1, self.RESET_EVERY // 3) if rng else 0
        self.lists = ["l%d" % i for i in range(lists)]
        self.registers = ["r%d" % i for i in range(registers)]

    def some(self, keys, least=1):
        return self.rng.sample(keys, self.rng.randint(least, len(keys)))

    def single(self):
        f = self.rng.randrange(4)
        if f == 0:
            return append(self.rng.choice(self.lists), self.value())
        if f == 1:
            return put(self.rng.choice(self.registers), self.value())
        return get(self.rng.choice(self.lists + self.registers))

    def several(self):
        if self.rng.random() < 0.5:
            return mset([(k, self.value()) for k in self.some(self.registers, 2)])
        return mget(self.some(self.lists + self.registers, 2))

    def command(self):
        return self.single() if self.rng.random() < 0.6 else self.several()

    def transaction(self):
        if self.rng.random() < 0.35:
            return Transaction([self.command() for _ in range(self.rng.randint(1, 4))], multi=True)
        return Transaction([self.command()])

    def watched(self, keys):
        """Reads keys under WATCH, then changes them in MULTI, until EXEC does not say nil, or three times."""
        for _ in range(3):
            _, txs = yield Flight(self.readers(keys), plain=[["WATCH"] + keys])
            seen = [op for tx in txs for op in tx.ops]
            _, txs = yield Flight([Transaction(self.change(seen), multi=True, seen=seen)])
            if txs[0].type == "ok":
                return

    def readers(self, keys):
        return [Transaction([mget(keys)])]

    def change(self, seen):
        """Writes all that has been read."""
        return [append(key, self.value()) if f == "r" else put(key, self.value()) for f, key, _ in seen]

    def flight(self):
        return Flight([self.transaction() for _ in range(self.rng.choice(self.PIPELINED))])

    def marked(self, t):
        """The same with an append that tells whether it took effect, and, roughly, when: the search needs that."""
        return Transaction(t.commands + [select(2), append(self.MARKS, self.value()), select(0)], multi=True)

    def marks(self):
        return Transaction([select(2), get(self.MARKS), select(0)], multi=True)

    def cut_off(self, transactions):
        """The connection is reset behind its last byte, or anywhere."""
        if self.MARKED:
            transactions = [self.marked(t) for t in transactions]
        size = sum(len(encode(r)) for t in transactions for r in t.requests())
        return Flight(transactions, cut=size if self.rng.random() < 0.7 else self.rng.randrange(size))

    def to_watch(self):
        return self.some(self.rng.choice([self.lists, self.registers]))[:2]

    def play(self):
        while True:
            yield None
            if self.rng.random() < 0.2:
                yield from self.watched(self.to_watch())
                continue
            flight = self.flight()
            self.until_reset -= 1
            if self.until_reset > 0:
                yield flight
                continue
            self.until_reset = self.RESET_EVERY
            yield self.cut_off(flight.transactions)
            yield Flight([self.marks()])

    def all(self):
        return [Transaction([mget(self.lists + self.registers)]), self.marks()]


class Moves(Mix):
    """With commands that move values: the search has to judge them, so not too many may be open at once."""

    PIPELINED = (1, 1, 1, 1, 1, 2, 3)
    RESET_EVERY = 60
    MARKED = True

    def two(self):
        return self.rng.sample(self.rng.choice([self.lists, self.registers]), 2)

    def command(self):
        rng = self.rng
        if rng.random() < 0.5:
            return super().command()
        pick = rng.random()
        if pick < 0.25:
            return rename(*self.two())
        if pick < 0.35:
            return renamenx(*self.two())
        if pick < 0.6:
            return copy(*self.two(), rng.random() < 0.7)
        if pick < 0.66:
            return msetnx([(k, self.value()) for k in self.some(self.registers)])
        if pick < 0.72:
            return counted(rng.choice(["DEL", "UNLINK"]), self.some(self.lists + self.registers)[:3])
        if pick < 0.8:
            return counted("EXISTS", self.some(self.lists + self.registers))
        if pick < 0.84:
            return getset(rng.choice(self.registers), self.value())
        if pick < 0.87:
            return getdel(rng.choice(self.registers))
        if pick < 0.9:
            return swapdb(*rng.choice([(0, 1), (1, 0)]))
        if pick < 0.91:
            return flushdb()
        return dbsize() if pick < 0.96 else keys_all()


class Bank(Mix):
    """Money goes from account to account; names go from place to place. No read may see one on its way."""

    PIPELINED = (1, 1, 1, 2, 4)
    RESET_EVERY = 60
    MARKED = True
    ACCOUNTS = ["a%d" % i for i in range(6)]
    PLACES = ["p%d" % i for i in range(5)]
    TAKEN = 3
    EACH = 100

    @classmethod
    def opening(cls):
        pairs = [(a, cls.EACH) for a in cls.ACCOUNTS] + [(p, i + 1) for i, p in enumerate(cls.PLACES[:cls.TAKEN])]
        return [Transaction([mset(pairs)])]

    def by_adding(self):
        a, b = self.rng.sample(self.ACCOUNTS, 2)
        amount = self.rng.randint(1, 30)
        return Transaction([incrby(a, -amount), incrby(b, amount)], multi=True)

    def to_watch(self):
        return self.rng.sample(self.ACCOUNTS, 2)

    def change(self, seen):
        amount = self.rng.randint(1, 30)
        (_, a, has), (_, b, had) = seen
        new = [(a, has - amount), (b, had + amount)]
        return [mset(new)] if self.rng.random() < 0.5 else [put(k, v) for k, v in new]

    def moving(self):
        return Transaction([renamenx(*self.rng.sample(self.PLACES, 2))])

    def looking(self):
        what = self.rng.randrange(6)
        everything = self.ACCOUNTS + self.PLACES
        if what < 2:
            return Transaction([mget(everything)])
        if what == 2:
            return Transaction([get(k) for k in everything], multi=True)
        if what == 3:
            half = len(everything) // 2
            return Transaction([mget(everything[:half]), dbsize(), mget(everything[half:])], multi=True)
        return Transaction([dbsize() if what == 4 else keys_all()])

    def transaction(self):
        pick = self.rng.random()
        return self.by_adding() if pick < 0.4 else self.moving() if pick < 0.55 else self.looking()

    def all(self):
        return [Transaction([mget(self.ACCOUNTS + self.PLACES)]), Transaction([keys_all()]), self.marks()]

    @classmethod
    def sums(cls, history):
        """Reads that saw money or names on their way, and how many reads of all there were."""
        wrong, count = [], 0
        size = len(cls.ACCOUNTS) + cls.TAKEN
        for tx in history:
            if tx.type != "ok":
                continue
            read = {op[1]: op[2] for op in tx.ops if op[0] == "rr"}
            if set(read) >= set(cls.ACCOUNTS):
                count += 1
                money = sum(read[a] for a in cls.ACCOUNTS)
                taken = sorted(read[p] for p in cls.PLACES if read[p] is not None)
                if money != cls.EACH * len(cls.ACCOUNTS) or taken != list(range(1, cls.TAKEN + 1)):
                    wrong.append("%d in all, %s taken: %s" % (money, taken, tx))
            for f, _, value in tx.ops:
                if f == "dbsize" and value != size or f == "keys" and len(value) != size:
                    wrong.append("not %d names: %s" % (size, tx))
        return wrong, count
