"""history.py: what clients saw, as README.md defines it. One Tx per transaction or single command."""

import json

ARITY = {  # of the value: how many things it lists, None: it is one thing or nothing
    "append": None, "r": None, "w": None, "rr": None, "del": None, "exists": None, "getdel": None, "swapdb": None,
    "flushdb": None, "flushall": None, "dbsize": None, "keys": None,
    "msetnx": 2, "rename": 2, "renamenx": 2, "copy": 2, "copyr": 2, "move": 2, "incrby": 2, "getset": 2,
}
LIST_OPS = {"append", "r"}
REGISTER_OPS = {"w", "rr"}
GRAPH_OPS = LIST_OPS | REGISTER_OPS
WHOLE_OPS = {"swapdb", "flushdb", "flushall", "dbsize", "keys"}
READ_ONLY_OPS = {"r", "rr", "exists", "dbsize", "keys"}
TO_KEY = {"rename", "renamenx", "copy", "copyr"}
NEVER = float("inf")


class Malformed(Exception):
    """The history does not follow the format: whoever wrote it is wrong, not the server."""


class Tx:
    """One transaction. `end` is NEVER when no reply came."""

    __slots__ = ("index", "client", "start", "end", "type", "ops")

    def __init__(self, client, start, end, type, ops, index=0):
        self.index, self.client, self.start, self.type, self.ops = index, client, start, type, ops
        self.end = NEVER if end is None or type == "info" else end

    def __str__(self):
        return "T%d client %s [%s, %s]%s: %s" % (
            self.index, self.client, self.start, "never" if self.end == NEVER else self.end,
            "" if self.type == "ok" else " " + self.type, "; ".join(map(describe, self.ops)))

    def keys(self):
        """Every key that it names; None: all keys."""
        return None if any(op[0] in WHOLE_OPS for op in self.ops) else self.named()

    def named(self):
        """The keys that are named, whatever else it touches."""
        out = set()
        for f, key, value in self.ops:
            if f in WHOLE_OPS:
                continue
            out.update(key if isinstance(key, list) else [key])
            if f in TO_KEY:
                out.add(value[0])
            elif f == "move":
                out.add(join_key(value[0], split_key(key)[1]))
        return out

    def to_json(self):
        return json.dumps({"client": self.client, "start": self.start, "end": None if self.end == NEVER else self.end,
                           "type": self.type, "ops": self.ops})


def join_key(db, name):
    """The key as it is written: without the number of database 0."""
    return name if db == 0 else "%d:%s" % (db, name)


def split_key(key):
    """(database, name)"""
    db, colon, name = key.partition(":")
    return (int(db), name) if colon and db.isdigit() else (0, key)


def describe(op):
    f, key, value = op
    if isinstance(value, list) and f == "r" and len(value) > 8:
        value = "[%d more, %s]" % (len(value) - 6, ", ".join(map(str, value[-6:])))
    return "%s %s %s" % (f, key, value)


def check_form(tx):
    def need(condition, what):
        if not condition:
            raise Malformed("%s: %s" % (what, tx))

    need(tx.type in ("ok", "fail", "info"), "type is ok, fail or info")
    need(tx.type != "ok" or tx.end != NEVER, "what is ok has ended")
    need(tx.start <= tx.end, "it ended before it began")
    known = tx.type == "ok"
    for op in tx.ops:
        need(len(op) == 3, "an op is [f, key, value]")
        f, key, value = op
        need(f in ARITY, "an unknown op %r" % (f,))
        need(f in WHOLE_OPS or isinstance(key, str) or f in ("del", "exists", "msetnx") and isinstance(key, list),
             "the key of %s" % f)
        if ARITY[f]:
            need(isinstance(value, list) and len(value) == ARITY[f], "the value of %s is a list of %d" % (f, ARITY[f] or 0))
            need(not known or f == "getset" or value[1] is not None, "the outcome of %s" % f)
        elif f in ("append", "w"):
            need(isinstance(value, int), "the value of %s is an int" % f)
        elif f in ("r", "keys"):
            need(not known or isinstance(value, list), "the value of %s is a list" % f)
        elif f in ("rr", "getdel"):
            need(value is None or isinstance(value, int), "the value of %s is an int or null" % f)
        elif f in ("del", "exists", "dbsize"):
            need(not known or isinstance(value, int), "the value of %s is an int" % f)


def number(txs):
    """Indexes and checks a list of Tx; returns it."""
    began = {}
    for i, tx in enumerate(txs):
        tx.index = i
        check_form(tx)
        if began.setdefault(tx.client, tx.start) > tx.start:
            raise Malformed("one client's lines stand in the order sent: %s" % tx)
        began[tx.client] = tx.start
    return txs


def read(path):
    out = []
    with open(path) as f:
        for n, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                d = json.loads(line)
                out.append(Tx(d["client"], d["start"], d["end"], d["type"], d["ops"]))
            except (ValueError, KeyError, TypeError) as e:
                raise Malformed("%s line %d: %r" % (path, n, e)) from e
    return number(out)


def write(path, txs):
    with open(path, "w") as f:
        for tx in txs:
            f.write(tx.to_json() + "\n")
