"""exact.py: decides strict serializability of a history by trying orders against a model of the keyspace.

Why        RENAME, COPY and SWAPDB move values, INCRBY makes new ones: which transaction a reader depends on
           is not seen in what it read. So orders are tried until one explains every reply, or none is left.
Search     Through the starts and ends in the order of time. Only when a transaction ends that has not taken effect
           yet must something take effect: it, or first others that have started. That loses nothing (what could
           take effect earlier can as well wait), and one that only reads takes effect at once where its
           reply fits (it changes nothing for the others). Where a search has been, (place, who has
           taken effect among the open ones, keyspace), it need not go again.
Parts      Transactions that have no key in common, directly or through others, are decided one by one: strict
           serializability of each is that of all.
Cost       Exponential in how many are open at once, linear in how many there are. BUDGET bounds it; beyond it Undecided.
"""

import collections
import heapq

import coll
from history import ARITY, NEVER, WHOLE_OPS, WRONG_TYPE, Tx, keys_of, reads_only, split_key

BUDGET = 1_000_000  # places
# That one whose fate is unknown took effect is a guess. A wrong order is mostly found out before this many more
# starts and ends, so that far back other orders are tried first; else every mistake would make it try all guesses.
GUESS = 60


class Undecided(Exception):
    pass


class Impossible(Exception):
    """Within a try: the reply would have been another one."""


# --- the model -------------------------------------------------------------------------------------------


class Space:
    """Where each key is in a state, which is a tuple of strings, what coll.py has, and None, database after database."""

    def __init__(self, txs):
        dbs, names = set(), set()
        for tx in txs:
            for f, key, value in tx.ops:
                if f == "swapdb":
                    dbs.update((key, value))
                elif f in ("flushdb", "dbsize", "keys"):
                    dbs.add(key)
                    names.update(value if f == "keys" and value else ())
                elif f != "flushall":
                    for k in keys_of((f, key, value)):
                        db, name = split_key(k)
                        dbs.add(db)
                        names.add(name)
        self.names = sorted(names)
        self.dbs = sorted(dbs)
        self.place = {n: i for i, n in enumerate(self.names)}
        self.first = {db: i * len(self.names) for i, db in enumerate(self.dbs)}
        self.empty = (None,) * (len(self.names) * len(self.dbs))

    def at(self, key):
        db, name = split_key(key)
        return self.first[db] + self.place[name]

    def find(self, beside, name):
        """Where that name is in the database of another key; None: nobody has ever written it."""
        place = self.place.get(name)
        return None if place is None else self.first[split_key(beside)[0]] + place

    def of(self, db):
        return slice(self.first[db], self.first[db] + len(self.names))

    def show(self, state):
        return ", ".join("%s%s=%s" % ("" if db == 0 else "%d:" % db, name, state[self.first[db] + self.place[name]])
                         for db in self.dbs for name in self.names if state[self.first[db] + self.place[name]] is not None)


def text_of(value):
    return None if value is None else str(value)


def text_in(s, i):
    """None or a string, which a list, a set and a sorted set is not."""
    if s[i] is not None and not isinstance(s[i], str):
        raise coll.WrongType
    return s[i]


def number_in(s, i):
    """What INCRBY takes a value for; an absent one is 0."""
    try:
        return int(text_in(s, i) or 0)
    except ValueError:
        raise Impossible from None


def compile_op(space, op, known):
    """A function that changes a list of values, and raises Impossible unless it gives the reply of op, or
    WrongType, before it has changed anything, when that is the reply."""
    f, key, value = op
    return OPS[f](space, key, value, known) if f in OPS else collection_op(space, op, known)


def expect(condition):
    if not condition:
        raise Impossible


def collection_op(space, op, known):
    f, key, value = op
    make, read = coll.OPS[f]
    run = make(space, key, value)
    if not known:
        return run
    said = outcome_of(op)
    if said == WRONG_TYPE:
        def refused(s):
            try:
                run(s)
            except coll.WrongType:
                return
            raise Impossible
        return refused
    said = read(said)

    def compared(s):
        if run(s) != said:
            raise Impossible
    return compared


def op_append(space, key, value, known):
    i, text = space.at(key), "%d," % value

    def run(s):
        s[i] = (text_in(s, i) or "") + text
    return run


def op_read(space, key, value, known):
    i, text = space.at(key), "".join("%d," % v for v in value or ()) or None
    return lambda s: expect(not known or s[i] == text)


def op_write(space, key, value, known):
    i, text = space.at(key), str(value)

    def run(s):
        s[i] = text
    return run


def op_register_read(space, key, value, known):
    i, text = space.at(key), text_of(value)
    return lambda s: expect(not known or s[i] == text)


def op_msetnx(space, keys, value, known):
    at, texts, done = [space.at(k) for k in keys], [str(v) for v in value[0]], value[1]

    def run(s):
        free = all(s[i] is None for i in at)
        expect(not known or bool(done) == free)
        if free:
            for i, text in zip(at, texts):
                s[i] = text
    return run


def places(space, key):
    return [space.at(k) for k in (key if isinstance(key, list) else [key])]


def op_del(space, key, value, known):
    at = places(space, key)

    def run(s):
        n = 0
        for i in at:
            n += s[i] is not None
            s[i] = None
        expect(not known or n == value)
    return run


def op_exists(space, key, value, known):
    at = places(space, key)
    return lambda s: expect(not known or value == sum(s[i] is not None for i in at))


def transfer(keeps, overwrites, missing):
    """RENAME and its kin: does the source stay, does the target go, and what is said when there is no source."""
    def make(space, key, value, known):
        a, b, done = space.at(key), space.at(value[0]), value[1]

        def run(s):
            outcome = missing if s[a] is None else 1 if overwrites or s[b] is None else 0
            expect(not known or done == outcome)
            if outcome == 1:
                moved = s[a]
                if not keeps:
                    s[a] = None
                s[b] = moved
        return run
    return make


def op_move(space, key, value, known):
    return transfer(False, False, 0)(space, key, ["%d:%s" % (value[0], split_key(key)[1]), value[1]], known)


def op_incrby(space, key, value, known):
    i, (delta, result) = space.at(key), value

    def run(s):
        n = number_in(s, i) + delta
        expect(not known or n == result)
        s[i] = str(n)
    return run


def op_getset(space, key, value, known):
    i, new, old = space.at(key), str(value[0]), text_of(value[1])

    def run(s):
        expect(text_in(s, i) == old or not known)
        s[i] = new
    return run


def op_getdel(space, key, value, known):
    i, old = space.at(key), text_of(value)

    def run(s):
        expect(text_in(s, i) == old or not known)
        s[i] = None
    return run


def op_swapdb(space, a, b, known):
    a, b = space.of(a), space.of(b)

    def run(s):
        s[a], s[b] = s[b], s[a]
    return run


def op_flushdb(space, db, value, known):
    where, none = space.of(db), [None] * len(space.names)

    def run(s):
        s[where] = none
    return run


def op_flushall(space, key, value, known):
    def run(s):
        s[:] = space.empty
    return run


def op_dbsize(space, db, value, known):
    where = space.of(db)
    return lambda s: expect(not known or value == sum(v is not None for v in s[where]))


def op_keys(space, db, value, known):
    where, there = space.of(db), [n in set(value or ()) for n in space.names]
    twice = len(set(value or ())) != len(value or ())
    return lambda s: expect(not known or not twice and there == [v is not None for v in s[where]])


OPS = {
    "append": op_append, "r": op_read, "w": op_write, "rr": op_register_read, "msetnx": op_msetnx, "del": op_del,
    "exists": op_exists, "rename": transfer(False, True, -1), "renamenx": transfer(False, False, -1),
    "copy": transfer(True, False, 0), "copyr": transfer(True, True, 0), "move": op_move, "incrby": op_incrby,
    "getset": op_getset, "getdel": op_getdel, "swapdb": op_swapdb, "flushdb": op_flushdb, "flushall": op_flushall,
    "dbsize": op_dbsize, "keys": op_keys,
}


# --- the search ------------------------------------------------------------------------------------------


class Step:
    """One transaction in the search."""

    __slots__ = ("tx", "known", "run_ops", "reads_only", "slot", "first", "starts_at", "ends_at")

    def __init__(self, space, tx):
        self.known = tx.type == "ok"
        self.tx = tx
        self.run_ops = [compile_op(space, op, self.known) for op in tx.ops]
        self.reads_only = all(map(reads_only, tx.ops))
        self.slot = 0  # its bit, while it is open, in the set of those that have taken effect
        self.starts_at, self.ends_at = 0, NEVER  # places in the events
        self.first = []  # those that must go first

    def apply(self, state):
        """The state after it; None when its reply would have been another one."""
        s = list(state)
        for run in self.run_ops:
            try:
                run(s)
            except Impossible:
                return None
            except (coll.WrongType, coll.Unordered):
                if self.known:
                    return None
        return tuple(s)


def shares(a, b):
    """Have they a key in common that both name? Order is promised for a key, so not against what asks for all."""
    if any(op[0] in WHOLE_OPS for tx in (a, b) for op in tx.ops):
        return False
    return not a.named().isdisjoint(b.named())


class Search:
    def __init__(self, txs, before):
        self.space = Space(txs)
        self.steps = [Step(self.space, tx) for tx in txs]
        self.events = []  # (step, is it its end, who is open then), in the order of time
        self.heap, self.pushed = [], 0  # where to go on
        self._order()
        by_index = {step.tx.index: step for step in self.steps}
        for a, b in before:
            if a in by_index and b in by_index and by_index[a].ends_at > by_index[b].starts_at:
                by_index[b].first.append(by_index[a])

    def _order(self):
        """A start at the time of an end comes before it."""
        moments = [(step.tx.start, 0, i) for i, step in enumerate(self.steps)]
        moments += [(step.tx.end, 1, i) for i, step in enumerate(self.steps) if step.tx.end != NEVER]
        opened, free, slots = [], [], 0
        for _, is_end, i in sorted(moments):
            step = self.steps[i]
            if is_end:
                self.events.append((step, True, sorted(opened, key=lambda s: (s.tx.end, s.tx.start))))
                opened.remove(step)
                free.append(step.slot)
                step.ends_at = len(self.events) - 1
                continue
            if not free:
                free.append(1 << slots)
                slots += 1
            step.slot = free.pop()
            step.first = [s for s in opened  # pipelined behind them
                          if s.tx.client == step.tx.client and s.tx.index < step.tx.index and s.tx.end != NEVER and shares(s.tx, step.tx)]
            opened.append(step)
            step.starts_at = len(self.events)
            self.events.append((step, False, None))

    def run(self, budget):
        """None, or where the search came to its end: (index of the event, states in which it did)."""
        been = set()
        furthest, stuck = -1, []
        self._push(0, 0, self.space.empty, 0)
        while self.heap:
            _, _, at, done, state, guesses = heapq.heappop(self.heap)
            at, done, state = self._advance(at, done, state)
            if at == len(self.events):
                return None
            if (at, done, state) in been:
                continue
            been.add((at, done, state))
            if len(been) > budget:
                raise Undecided("no order found in %d places, of %d transactions the search has come to the end of %s"
                                % (budget, len(self.steps), self.events[max(at, furthest)][0].tx))
            if at > furthest:
                furthest, stuck = at, []
            if at == furthest:
                stuck.append((done, state))
            self._branch(at, done, state, guesses)
        return furthest, stuck

    def _advance(self, at, done, state):
        """To the next end of one that has not taken effect. Readers whose reply fits do so at once."""
        while at < len(self.events):
            step, is_end, _ = self.events[at]
            if is_end:
                if not done & step.slot:
                    break
                done &= ~step.slot
            elif step.reads_only and self._may(step, at, done) and step.apply(state) is not None:
                done |= step.slot
            at += 1
        return at, done, state

    @staticmethod
    def _may(step, at, done):
        """Those that had to go first have gone."""
        return all(s.ends_at < at or s.starts_at <= at and done & s.slot for s in step.first)

    def _push(self, at, done, state, guesses):
        """The furthest is looked at first, the last of these before the others; but see GUESS."""
        self.pushed += 1
        heapq.heappush(self.heap, (guesses * GUESS - at, -self.pushed, at, done, state, guesses))

    def _branch(self, at, done, state, guesses):
        step, _, opened = self.events[at]
        waiting = [s for s in opened if not done & s.slot]
        for s in reversed(waiting):  # the last pushed is tried first: the one that must
            if s is not step:
                self._try(at, done, state, guesses, s, waiting)
        self._try(at, done, state, guesses, step, waiting)

    def _try(self, at, done, state, guesses, step, waiting):
        if not self._may(step, at, done):
            return
        after = step.apply(state)
        if after is None or after == state and step.tx.type == "info":
            return
        done |= step.slot
        for s in waiting:
            if s.reads_only and not done & s.slot and self._may(s, at, done) and s.apply(after) is not None:
                done |= s.slot
        self._push(at, done, after, guesses + (step.tx.end == NEVER))


def parts(txs):
    """Groups that have no key in common."""
    parent = list(range(len(txs)))

    def find(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    keys = [tx.keys() for tx in txs]
    if any(k is None for k in keys):
        return [txs]
    owner = {}
    for i, ks in enumerate(keys):
        for k in ks:
            parent[find(i)] = find(owner.setdefault(k, i))
    groups = collections.defaultdict(list)
    for i, tx in enumerate(txs):
        groups[find(i)].append(tx)
    return list(groups.values())


SHOWN_MAX = 8


def outcome_of(op):
    f, _, value = op
    return value[-1] if ARITY[f] else value


GIVEN = {"append", "w", "getset", "msetnx", "lpush", "rpush", "sadd", "zadd", "zincrby"}
SEEN_AS_ONE = {"rr", "getdel", "getset", "lmove"}
SEEN_AS_ROW = {"r", "lpop", "rpop", "lrange", "smembers", "sinter", "sunion", "sdiff", "sort"}
SEEN_WITH_SCORES = {"zrange", "zinter", "zunion", "zdiff"}


def written(op):
    """The values that an op may write: whoever finds one knows that it was written."""
    f, _, value = op
    if f not in GIVEN:
        return []
    given = value[0] if ARITY[f] else value
    if f == "zadd":
        given = [member for member, _ in given]
    return map(str, given if isinstance(given, list) else [given])


def seen(op):
    """The values that an op has found."""
    f, said = op[0], outcome_of(op)
    if said is None or said == WRONG_TYPE or f == "sort" and isinstance(said, int):
        return []
    if f in ("lmpop", "zmpop"):
        f, said = "zrange" if f == "zmpop" else "lrange", said[1]
    if f in SEEN_WITH_SCORES:
        said = [member for member, _ in said]
    elif f not in SEEN_AS_ROW:
        said = [said] if f in SEEN_AS_ONE else []
    return map(str, said)


def append_only(txs):
    """Lists from which nothing is ever taken."""
    grown, changed, emptied = set(), set(), set()
    for tx in txs:
        for f, key, value in tx.ops:
            if f == "flushall":
                return set()
            if f in ("swapdb", "flushdb"):
                emptied.update((key, value))
            elif f in ("append", "r"):
                grown.add(key)
            else:
                changed.update(keys_of((f, key, value)))
    return {key for key in grown - changed if split_key(key)[0] not in emptied}


def settle(txs):
    """Those whose fate is unknown cost the most, because they are open for ever. But one that wrote what is written only
    once took effect before the first who saw that had ended; and after the last began who saw a list, which
    nothing is ever taken from, without it. Returns copies that begin and end then."""
    count, first_seen, lists = collections.Counter(), {}, collections.defaultdict(list)
    only = append_only(txs)
    for tx in txs:
        for op in tx.ops:
            count.update(written(op))
            if tx.type == "ok":
                for v in seen(op):
                    first_seen[v] = min(first_seen.get(v, NEVER), tx.end)
                if op[0] == "r" and op[1] in only:
                    lists[op[1]].append((tx.start, op[2]))
    out = []
    for tx in txs:
        if tx.type == "info":
            start, end = tx.start, NEVER
            for op in tx.ops:
                for v in written(op):
                    end = min(end, first_seen.get(v, NEVER) if count[v] == 1 else NEVER)
                if op[0] == "append":
                    start = max([start] + [at for at, values in lists[op[1]] if op[2] not in values])
            tx = Tx(tx.client, start, None, "info", tx.ops, tx.index)
            tx.end = max(start, end)
        out.append(tx)
    return out


def check(txs, budget=BUDGET, before=()):
    """What makes the history impossible, as text; an empty list when it is possible. Raises Undecided.
    before: (a, b) of indexes, when it is known that a took effect before b, which saves the search much."""
    out = []
    for group in parts([tx for tx in txs if tx.type != "fail"]):
        search = Search(settle(group), before)
        stop = search.run(budget)
        if stop is not None:
            out.append(explain(search, *stop))
    return out


def explain(search, at, stuck):
    step, _, opened = search.events[at]
    lines = ["no order of the transactions explains that this one ended:", "    %s" % step.tx, "  also open were:"]
    lines += ["    %s" % s.tx for s in opened if s is not step]
    lines.append("  the keyspace, at most %d ways that explain all that ended before:" % SHOWN_MAX)
    for done, state in stuck[:SHOWN_MAX]:
        gone = [str(s.tx.index) for s in opened if done & s.slot]
        lines.append("    %s%s" % (search.space.show(state) or "empty", gone and ", after T" + ", T".join(gone) or ""))
    return "\n".join(lines)
