"""coll_workload.py: clients of lists, sets and sorted sets. See workload.py."""

from harness import NULL_ARRAY, Error
from history import WRONG_TYPE
from workload import UNKNOWN, Command, Flight, Mix, Transaction, Unexpected, copy, counted, get, put, rename, renamenx, wire


class Op(Command):
    """A command that is one op, `[f, key, given + [what it said]]`, or just what it said; it may be refused for a wrong type."""

    def __init__(self, args, f, key, given, read=int):
        self.args, self.op, self.given, self.read = args, [f, key], given, read

    def ops(self, reply):
        said = None if reply is UNKNOWN else self.said(reply)
        return [self.op + [said if self.given is None else self.given + [said]]]

    def said(self, reply):
        if isinstance(reply, Error):
            if reply.startswith(WRONG_TYPE.encode()):
                return WRONG_TYPE
            raise Unexpected("%s: %r" % (self.args, reply))
        try:
            return self.read(None if reply is NULL_ARRAY else reply)
        except (ValueError, TypeError, AttributeError) as e:
            raise Unexpected("%s: %r" % (self.args, reply)) from e


# --- replies --------------------------------------------------------------------------------------------------


def element(reply):
    """A number if it looks like one."""
    if reply is None:
        return None
    text = reply.decode()
    return int(text) if text.lstrip("-").isdigit() else text


def row(reply):
    return None if reply is None else [element(e) for e in reply]


def members(reply):
    return sorted(row(reply), key=str)


def scored(reply):
    return [[element(m), int(score)] for m, score in zip(reply[::2], reply[1::2])]


def popped(read):
    return lambda reply: None if reply is None else [reply[0].decode(), read(reply[1])]


def pairs(reply):
    return [[element(m), int(score)] for m, score in reply]


# --- commands -------------------------------------------------------------------------------------------------

END = {"L": "LEFT", "R": "RIGHT"}


def named(f, key, *given, read=int):
    """The command of that name with these arguments, of which it takes the lists apart; None is nothing."""
    args = [x for g in given for x in (g if isinstance(g, list) else [g]) if x is not None]
    return Op([f.upper(), wire(key)] + args, f, key, list(given), read)


def push(f, key, elements):
    return named(f, key, elements)


def pop(f, key, count):
    if count == 1:
        return Op([f.upper(), wire(key)], f, key, [1], lambda r: None if r is None else [element(r)])
    return named(f, key, count, read=row)


def lmove(a, b, ends):
    name = ["RPOPLPUSH", a, b] if ends == "RL" else ["LMOVE", a, b, END[ends[0]], END[ends[1]]]
    return Op(name, "lmove", a, [b, ends], element)


def lmpop(keys, end, count):
    return Op(["LMPOP", len(keys)] + keys + [END[end], "COUNT", count], "lmpop", keys, [end, count], popped(row))


def lrange(key):
    return Op(["LRANGE", key, 0, -1], "lrange", key, None, row)


def smembers(key):
    return Op(["SMEMBERS", key], "smembers", key, None, members)


def zrange(key):
    return Op(["ZRANGE", key, 0, -1, "WITHSCORES"], "zrange", key, None, scored)


def size(f, key):
    return Op([f.upper(), key], f, key, None)


def smove(a, b, member):
    return named("smove", a, b, member)


def zadd(key, scores):
    return Op(["ZADD", key] + [x for m, score in scores for x in (score, m)], "zadd", key, [scores])


def zincrby(key, member, delta):
    return Op(["ZINCRBY", key, delta, member], "zincrby", key, [member, delta])


def zmpop(keys, end, count):
    return Op(["ZMPOP", len(keys)] + keys + [end, "COUNT", count], "zmpop", keys, [end, count], popped(pairs))


def algebra(f, keys):
    if f[0] == "s":
        return Op([f.upper()] + keys, f, keys, None, members)
    return Op([f.upper(), len(keys)] + keys + ["WITHSCORES"], f, keys, None, scored)


def algebra_card(f, keys, limit):
    return Op([f.upper(), len(keys)] + keys + ["LIMIT", limit], f, keys, [limit])


def algebra_store(f, to, keys):
    return Op([f.upper(), to] + ([len(keys)] if f[0] == "z" else []) + keys, f, to, [keys])


def zrangestore(to, key, first, last):
    return Op(["ZRANGESTORE", to, key, first, last], "zrangestore", to, [key, first, last])


def sort(key, by, gets, to):
    args = ["BY", by] if by else []
    args += [x for g in gets for x in ("GET", g)] + (["STORE", to] if to else [])
    return Op(["SORT", key] + args, "sort", key, [by, gets, to], int if to else row)


# --- scripts --------------------------------------------------------------------------------------------------

ALGEBRA = ("inter", "union", "diff")


class Collections(Mix):
    """Everything that lists, sets and sorted sets have between keys, now and then on one of the wrong type."""

    PIPELINED = (1, 1, 1, 1, 1, 2, 3)
    RESET_EVERY = 60
    MARKED = True
    ROWS, SETS, SCORES = (["%s%d" % (c, i) for i in range(3)] for c in "qsz")
    ANY = "x"  # a key that is of this type now and of that one then
    POPULATION = range(1, 7)
    WEIGHTS = ["w%d" % m for m in POPULATION]  # what SORT looks up
    LIST_ENDS = ("LL", "LR", "RL", "RL", "RR")

    def one(self, keys):
        return self.ANY if self.rng.random() < 0.04 else self.rng.choice(keys)

    def few(self, keys):
        return [self.one(keys) for _ in range(self.rng.choice((1, 2, 2, 3)))]

    def member(self):
        return self.rng.choice(self.POPULATION)

    def crowd(self):
        return self.rng.sample(self.POPULATION, self.rng.randint(1, 3))

    def on_rows(self):
        rng, pick = self.rng, self.rng.randrange(10)
        if pick < 3:
            return push(rng.choice(("lpush", "rpush")), self.one(self.ROWS), [self.value() for _ in range(rng.randint(1, 3))])
        if pick == 3:
            return pop(rng.choice(("lpop", "rpop")), self.one(self.ROWS), rng.randint(1, 3))
        if pick < 7:
            return lmove(self.one(self.ROWS), self.one(self.ROWS), rng.choice(self.LIST_ENDS))
        if pick == 7:
            return lmpop(self.few(self.ROWS), rng.choice("LR"), rng.randint(1, 3))
        return lrange(self.one(self.ROWS)) if pick == 8 else size("llen", self.one(self.ROWS))

    def on_sets(self):
        rng, pick, name = self.rng, self.rng.randrange(10), "s" + self.rng.choice(ALGEBRA)
        if pick < 2:
            return named("sadd", self.one(self.SETS), self.crowd())
        if pick == 2:
            return named("srem", self.one(self.SETS), self.crowd())
        if pick < 5:
            return smove(self.one(self.SETS), self.one(self.SETS), self.member())
        if pick == 5:
            return algebra(name, self.few(self.SETS))
        if pick < 8:
            return algebra_store(name + "store", self.one(self.SETS), self.few(self.SETS))
        if pick == 8:
            return algebra_card("sintercard", self.few(self.SETS), rng.choice((0, 0, 2)))
        return smembers(self.one(self.SETS)) if rng.random() < 0.6 else size("scard", self.one(self.SETS))

    def on_scores(self):
        rng, pick, name = self.rng, self.rng.randrange(10), "z" + self.rng.choice(ALGEBRA)
        if pick < 2:
            return zadd(self.one(self.SCORES), [[m, rng.randint(-50, 50)] for m in self.crowd()])
        if pick == 2:
            return named("zrem", self.one(self.SCORES), self.crowd())
        if pick == 3:
            return zincrby(self.one(self.SCORES), self.member(), rng.randint(1, 9))
        if pick == 4:
            return algebra(name, self.few(self.SCORES + self.SETS[:1]))
        if pick < 7:  # nothing may grow for ever
            name = rng.choice(("zinter", "zdiff", "zunion")) if rng.random() < 0.5 else "zdiff"
            return algebra_store(name + "store", self.one(self.SCORES), self.few(self.SCORES + self.SETS[:1]))
        if pick == 7:
            return zmpop(self.few(self.SCORES), rng.choice(("MIN", "MAX")), rng.randint(1, 3))
        if pick == 8:
            first = rng.randint(-3, 1)
            return zrangestore(self.one(self.SCORES), self.one(self.SCORES), first, first + 3 if first >= 0 else -1)
        return zrange(self.one(self.SCORES)) if rng.random() < 0.7 else algebra_card("zintercard", self.few(self.SCORES), 0)

    def on_whole_keys(self):
        rng, keys = self.rng, self.rng.choice((self.ROWS, self.SETS, self.SCORES))
        a, b = rng.sample(keys + [self.ANY] * (rng.random() < 0.2), 2)
        pick = rng.randrange(10)
        if pick < 3:
            return (rename if rng.random() < 0.7 else renamenx)(a, b)
        if pick < 6:
            return copy(a, b, rng.random() < 0.7)
        if pick == 6:
            return counted(rng.choice(["DEL", "UNLINK"]), [a, b])
        if pick == 7:
            return counted("EXISTS", self.few(self.ROWS + self.SETS + self.SCORES))
        return put(rng.choice(self.WEIGHTS), self.value())

    def sorting(self):
        """Of sets and sorted sets by the keys of their members, of lists, which hold other numbers, as they are."""
        to = self.rng.choice(self.ROWS) if self.rng.random() < 0.5 else None
        if self.rng.random() < 0.3:
            return sort(self.one(self.ROWS), None, [], to)
        by, gets = self.rng.choice((("w*", []), ("w*", ["w*", "#"]), (None, ["w*"]), (None, [])))
        return sort(self.one(self.SETS + self.SCORES), by, gets, to)

    def command(self):
        pick = self.rng.random()
        kind = (self.on_rows if pick < 0.3 else self.on_sets if pick < 0.58 else self.on_scores if pick < 0.83 else
                self.on_whole_keys if pick < 0.95 else self.sorting)
        return kind()

    def to_watch(self):
        return self.rng.sample(self.rng.choice([self.ROWS, self.SETS]), 2)

    def readers(self, keys):
        return [Transaction([lrange(key) if key in self.ROWS else smembers(key)]) for key in keys]

    def change(self, seen):
        """Carries from one to the other, by hand, or adds some."""
        (f, a, has), (_, b, _) = seen
        if not has or has == WRONG_TYPE:
            return [push("rpush", b, [self.value()]) if f == "lrange" else named("sadd", b, self.crowd())]
        if f == "lrange":
            return [pop("lpop", a, 1), push("rpush", b, has[:1])]
        moved = [self.rng.choice(has)]
        return [named("srem", a, moved), named("sadd", b, moved)]

    def all(self):
        reads = list(map(lrange, self.ROWS)) + list(map(smembers, self.SETS)) + list(map(zrange, self.SCORES)) + list(map(get, self.WEIGHTS))
        return [Transaction([r]) for r in reads] + [self.marks()]


class Carry(Mix):
    """Elements go from list to list, members from set to set. No read may see one twice, or miss one."""

    PIPELINED = (1, 1, 1, 2, 4)
    RESET_EVERY = 60
    MARKED = True
    ROWS, SETS = (["%s%d" % (c, i) for i in range(4)] for c in "qs")
    UNION, SCORED = "u", "v"  # where SUNIONSTORE and ZUNIONSTORE of all sets go
    ELEMENTS = list(range(1, 6))
    MEMBERS = list(range(11, 17))

    @classmethod
    def opening(cls):
        return [Transaction([push("rpush", cls.ROWS[0], cls.ELEMENTS), named("sadd", cls.SETS[0], cls.MEMBERS[:3]),
                             named("sadd", cls.SETS[1], cls.MEMBERS[3:])], multi=True)]

    def moving(self):
        rng, pick = self.rng, self.rng.randrange(8)
        a, b = rng.sample(self.ROWS if pick < 4 else self.SETS, 2)
        if pick == 3:
            return Transaction([renamenx(a, b)])
        if pick < 3:
            return Transaction([lmove(a, rng.choice((a, b, b, b)), rng.choice(("LL", "LR", "RL", "RR")))])
        if pick == 7:
            return Transaction([renamenx(a, b)])
        member = rng.choice(self.MEMBERS)
        if pick == 6:
            return Transaction([smove(a, b, member)])
        return Transaction([smove(key, b, member) for key in self.SETS if key != b], multi=True)

    def to_watch(self):
        return self.rng.sample(self.rng.choice((self.ROWS, self.SETS)), 2)

    readers = Collections.readers

    def change(self, seen):
        (f, a, has), (_, b, _) = seen
        if not has:
            return [lrange(b) if f == "lrange" else smembers(b)]
        if f == "lrange":
            return [pop("lpop", a, 1), push("rpush", b, has[:1])]
        moved = [self.rng.choice(has)]
        return [named("sadd", b, moved), named("srem", a, moved)]

    def looking(self):
        what = self.rng.randrange(8)
        if what < 2:
            return Transaction([lrange(key) for key in self.rng.sample(self.ROWS, len(self.ROWS))], multi=True)
        sets = self.rng.sample(self.SETS, len(self.SETS))
        if what == 2:
            return Transaction([algebra_card("sintercard", [a, b], 0) for a, b in zip(sets, sets[1:])], multi=True)
        if what == 3:
            return Transaction([smembers(key) for key in sets], multi=True)
        if what == 4:
            return Transaction([algebra("zunion", sets)])
        if what == 5:
            store = self.rng.choice((algebra_store("sunionstore", self.UNION, sets), algebra_store("zunionstore", self.SCORED, sets)))
            return Transaction([store])
        return Transaction([algebra("sunion", sets)] if what == 6 else [smembers(self.UNION), zrange(self.SCORED)], multi=what == 7)

    def transaction(self):
        return self.moving() if self.rng.random() < 0.55 else self.looking()

    def all(self):
        return [Transaction(list(map(lrange, self.ROWS)), multi=True), Transaction(list(map(smembers, self.SETS)), multi=True), self.marks()]

    @classmethod
    def whole(cls, tx):
        """Of what read everything: (does it hold each once, was it such a reading)."""
        rows = {key: value for f, key, value in tx.ops if f == "lrange"}
        sets = {key: value for f, key, value in tx.ops if f == "smembers" and key != cls.UNION}
        once, read = True, False
        for found, keys, all_there in ((rows, cls.ROWS, cls.ELEMENTS), (sets, cls.SETS, cls.MEMBERS)):
            if len(found) == len(keys):
                once, read = once and sorted(e for value in found.values() for e in value) == all_there, True
        for f, key, value in tx.ops:
            if f == "sunion" or f == "smembers" and key == cls.UNION and value:
                once, read = once and value == cls.MEMBERS, True
            elif f == "zunion" or f == "zrange" and value:
                once, read = once and value == [[m, 1] for m in cls.MEMBERS], True
            elif f in ("sunionstore", "zunionstore"):
                once, read = once and value[-1] == len(cls.MEMBERS), True
            elif f == "sintercard":
                once, read = once and value[-1] == 0, True
        return once, read

    @classmethod
    def sums(cls, history):
        """Reads that saw an element twice or not at all, and how many reads of all there were."""
        judged = [(tx, *cls.whole(tx)) for tx in history if tx.type == "ok"]
        return ["not each once: %s" % tx for tx, once, _ in judged if not once], sum(read for _, _, read in judged)
