"""history.py: what clients saw, as README.md defines it. One Tx per transaction or single command."""

import json

ARITY = {  # of the value: how many things it lists, None: it is one thing or nothing
    "append": None, "r": None, "w": None, "rr": None, "del": None, "exists": None, "getdel": None, "swapdb": None,
    "flushdb": None, "flushall": None, "dbsize": None, "keys": None,
    "msetnx": 2, "rename": 2, "renamenx": 2, "copy": 2, "copyr": 2, "move": 2, "incrby": 2, "getset": 2,
}
COLLECTION_ARITY = {  # of those that take or make lists, sets and sorted sets; the last thing is what was said
    "lpush": 2, "rpush": 2, "lpop": 2, "rpop": 2, "lmove": 3, "lmpop": 3, "lrange": None, "llen": None,
    "sadd": 2, "srem": 2, "smove": 3, "smembers": None, "scard": None, "sintercard": 2,
    "sinter": None, "sunion": None, "sdiff": None, "sinterstore": 2, "sunionstore": 2, "sdiffstore": 2,
    "zadd": 2, "zincrby": 3, "zrem": 2, "zmpop": 3, "zrange": None, "zcard": None, "zintercard": 2,
    "zinter": None, "zunion": None, "zdiff": None, "zinterstore": 2, "zunionstore": 2, "zdiffstore": 2,
    "zrangestore": 4, "sort": 4,
}
ARITY.update(COLLECTION_ARITY)
WRONG_TYPE = "WRONGTYPE"  # instead of what a collection's op said
LIST_OPS = {"append", "r"}
REGISTER_OPS = {"w", "rr"}
GRAPH_OPS = LIST_OPS | REGISTER_OPS
WHOLE_OPS = {"swapdb", "flushdb", "flushall", "dbsize", "keys"}
READ_ONLY_OPS = {"r", "rr", "exists", "dbsize", "keys", "lrange", "llen", "smembers", "scard", "sintercard", "sinter", "sunion",
                 "sdiff", "zrange", "zcard", "zintercard", "zinter", "zunion", "zdiff"}
MANY_KEYS = {"del", "exists", "msetnx", "lmpop", "zmpop"} | {s + a for s in "sz" for a in ("inter", "union", "diff", "intercard")}
# Where more keys are: value[this], one or a list of them.
MORE_KEYS = {"rename": 0, "renamenx": 0, "copy": 0, "copyr": 0, "lmove": 0, "smove": 0, "zrangestore": 0, "sort": 2,
             **{s + a + "store": 0 for s in "sz" for a in ("inter", "union", "diff")}}
MAY_SAY_NOTHING = {"getset", "lpop", "rpop", "lmove", "lmpop", "zmpop"}
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
        """Every key that it touches; None: any."""
        return None if any(op[0] in WHOLE_OPS or looks_up(op) for op in self.ops) else self.named()

    def named(self):
        """The keys that are named, whatever else it touches."""
        return {key for op in self.ops for key in keys_of(op)}

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


def several(keys):
    return keys if isinstance(keys, list) else [keys]


def keys_of(op):
    """The keys that an op names."""
    f, key, value = op
    if f in WHOLE_OPS:
        return []
    if f == "move":
        return [key, join_key(value[0], split_key(key)[1])]
    more = several(value[MORE_KEYS[f]]) if f in MORE_KEYS else []
    return several(key) + [k for k in more if k is not None]


def looks_up(op):
    """Does it look at keys that it does not name?"""
    f, _, value = op
    return f == "sort" and (value[0] is not None or any("*" in get for get in value[1]))


def reads_only(op):
    f, _, value = op
    return f in READ_ONLY_OPS or f == "sort" and value[2] is None


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
        need(f in WHOLE_OPS or isinstance(key, str) or f in MANY_KEYS and isinstance(key, list), "the key of %s" % f)
        if ARITY[f]:
            need(isinstance(value, list) and len(value) == ARITY[f], "the value of %s is a list of %d" % (f, ARITY[f] or 0))
            need(not known or f in MAY_SAY_NOTHING or value[-1] is not None, "the outcome of %s" % f)
            need(all(isinstance(k, str) for k in keys_of(op)), "the keys of %s" % f)
        elif f in COLLECTION_ARITY:
            need(not known or value is not None, "the value of %s" % f)
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
