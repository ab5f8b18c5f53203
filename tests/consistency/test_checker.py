"""The checker against histories that are known to be possible or not, by hand and at random."""

import itertools
import random
from collections import deque

import pytest

import check_files
import checker
import exact
import graph
from harness import SLOW
from history import COLLECTION_ARITY, NEVER, Malformed, Tx, number, read, write


def seeds(n):
    """How many are tried: this tests no server, so a slow build of one gains nothing by more."""
    return n // 2 if SLOW else n


def tx(client, start, end, *ops, type="ok"):
    return Tx(client, start, end, type, [list(op) for op in ops])


def kinds(*txs, **kw):
    return [v.kind for v in checker.check(number(list(txs)), **kw)]


def together(*bodies, type="ok"):
    """One transaction for each body, each of another client, all open at once."""
    return [tx(i, 0, 100, *body) for i, body in enumerate(bodies)]


def one_after_another(*bodies):
    return [tx(i, 10 * i, 10 * i + 5, *body) for i, body in enumerate(bodies)]


A, R, W, RR = "append", "r", "w", "rr"

# Each: what it is, the start of the kind that must be found, the history.
IMPOSSIBLE = [
    ("G0: two transactions append to two lists, in different orders", "G0",
     together([(A, "x", 1), (A, "y", 1)], [(A, "x", 2), (A, "y", 2)], [(R, "x", [1, 2]), (R, "y", [2, 1])])),
    ("G0 through three", "G0",
     together([(A, "x", 1), (A, "y", 1)], [(A, "y", 2), (A, "z", 2)], [(A, "z", 3), (A, "x", 3)],
              [(R, "x", [3, 1])], [(R, "y", [1, 2])], [(R, "z", [2, 3])])),
    ("G1a: a list shows what a failed transaction appended", "aborted read",
     [tx(0, 0, 5, (A, "x", 1), type="fail"), tx(1, 0, 5, (R, "x", [1]))]),
    ("G1a of a register", "aborted read",
     [tx(0, 0, 5, (W, "x", 1), type="fail"), tx(1, 0, 5, (RR, "x", 1))]),
    ("G1b: half of what a transaction appended to one list", "intermediate read",
     together([(A, "x", 1), (A, "x", 2)], [(R, "x", [1])])),
    ("G1b in the middle", "intermediate read",
     together([(A, "x", 1), (A, "x", 2)], [(A, "x", 3)], [(R, "x", [1, 2, 3])], [(R, "x", [1])])),
    ("G1b of a register", "intermediate read",
     together([(W, "x", 1), (W, "x", 2)], [(RR, "x", 1)])),
    ("G1c: two transactions see each other", "G1c",
     together([(A, "x", 1), (R, "y", [1])], [(A, "y", 1), (R, "x", [1])])),
    ("G1c of registers", "G1c",
     together([(W, "x", 1), (RR, "y", 2)], [(W, "y", 2), (RR, "x", 1)])),
    ("G-single: one list before, the other after a transaction", "G-single",
     together([(A, "x", 1), (A, "y", 1)], [(R, "x", [1]), (R, "y", [])])),
    ("G-single: a torn MSET", "G-single",
     together([(W, "x", 1), (W, "y", 1)], [(RR, "x", 1), (RR, "y", None)])),
    ("a torn MSET over older values, whose order only real time tells", "",
     [tx(0, 0, 5, (W, "x", 1), (W, "y", 1)), tx(1, 10, 20, (W, "x", 2), (W, "y", 2)),
      tx(2, 10, 20, (RR, "x", 2), (RR, "y", 1))]),
    ("a torn MSET over older values, whose order another reader tells", "",
     together([(W, "x", 1), (W, "y", 1)], [(RR, "x", 1), (W, "x", 2), (W, "y", 2)], [(RR, "x", 2), (RR, "y", 1)])),
    ("G-single: read skew through a third", "G-single",
     together([(A, "x", 1), (A, "y", 1)], [(R, "y", [1]), (A, "z", 1)], [(R, "z", [1]), (R, "x", [])])),
    ("lost update of a list", "lost update",
     together([(R, "x", []), (A, "x", 1)], [(R, "x", []), (A, "x", 2)], [(R, "x", [1, 2])])),
    ("lost update of a register", "lost update",
     together([(W, "x", 1)], [(RR, "x", 1), (W, "x", 2)], [(RR, "x", 1), (W, "x", 3)])),
    ("lost update of an absent register", "lost update",
     together([(RR, "x", None), (W, "x", 2)], [(RR, "x", None), (W, "x", 3)])),
    ("write skew of lists", "G2",
     together([(R, "x", []), (A, "y", 1)], [(R, "y", []), (A, "x", 1)], [(R, "x", [1]), (R, "y", [1])])),
    ("write skew of registers", "G2",
     together([(RR, "x", None), (RR, "y", None), (W, "x", 1)], [(RR, "x", None), (RR, "y", None), (W, "y", 2)])),
    ("long fork: two readers see two appends in different orders", "G2",
     together([(A, "x", 1)], [(A, "y", 1)], [(R, "x", [1]), (R, "y", [])], [(R, "x", []), (R, "y", [1])])),
    ("long fork of registers", "G2",
     together([(W, "x", 1)], [(W, "y", 1)], [(RR, "x", 1), (RR, "y", None)], [(RR, "x", None), (RR, "y", 1)])),
    ("stale read of a list", "stale read", one_after_another([(A, "x", 1)], [(A, "x", 2)], [(R, "x", [1])], [(R, "x", [1, 2])])),
    ("stale read of a register", "", one_after_another([(W, "x", 1)], [(W, "x", 2)], [(RR, "x", 1)])),
    ("a register goes back", "", [tx(0, 0, 100, (W, "x", 1)), tx(1, 0, 100, (W, "x", 2)),
                                  tx(2, 10, 20, (RR, "x", 1)), tx(2, 30, 40, (RR, "x", 2)), tx(2, 50, 60, (RR, "x", 1))]),
    ("a read from the future", "G1c",
     [tx(0, 0, 5, (R, "x", [1])), tx(1, 10, 15, (A, "x", 1))]),
    ("writes against real time", "G0",
     [tx(0, 0, 5, (A, "x", 1)), tx(1, 10, 15, (A, "x", 2)), tx(2, 20, 25, (R, "x", [2, 1]))]),
    ("real time through a transaction on other keys", "",
     [tx(0, 0, 5, (A, "x", 1)), tx(1, 10, 15, (A, "y", 1)), tx(2, 0, 100, (R, "y", [1]), (R, "x", []))]),
    ("a lost append", "lost append", one_after_another([(A, "x", 1)], [(A, "x", 2)], [(R, "x", [2])])),
    ("an append that is lost again", "incompatible order",
     one_after_another([(A, "x", 1)], [(R, "x", [1])], [(A, "x", 2)], [(R, "x", [2])])),
    ("a duplicate", "duplicate", one_after_another([(A, "x", 1)], [(R, "x", [1, 1])])),
    ("incompatible orders", "incompatible order",
     together([(A, "x", 1)], [(A, "x", 2)], [(R, "x", [1, 2])], [(R, "x", [2, 1])])),
    ("another's append within those of one transaction", "incompatible order",
     together([(A, "x", 1), (A, "x", 2)], [(A, "x", 3)], [(R, "x", [1, 3, 2])])),
    ("appends of one transaction in the wrong order", "incompatible order",
     together([(A, "x", 1), (A, "x", 2)], [(R, "x", [2, 1])])),
    ("from nowhere", "garbage read", together([(R, "x", [7])])),
    ("a register from nowhere", "garbage read", together([(RR, "x", 7)])),
    ("its own append is not seen", "internal", together([(A, "x", 1), (R, "x", [])])),
    ("its own write is not seen", "internal", together([(W, "x", 1)], [(W, "x", 2), (RR, "x", 1)])),
    ("two reads within one transaction differ", "internal",
     together([(A, "x", 1)], [(R, "x", []), (R, "x", [1])])),
    ("two reads of a register within one transaction differ", "internal",
     together([(W, "x", 1)], [(RR, "x", None), (RR, "x", 1)])),
    ("something between a read and the append that follows it", "",
     together([(R, "x", []), (A, "x", 2)], [(A, "x", 1)], [(R, "x", [1, 2])])),
    ("half of what a lost connection sent", "G-single",
     [tx(0, 0, None, (A, "x", 1), (A, "y", 1), type="info"), tx(1, 10, 20, (R, "x", [1]), (R, "y", []))]),
    ("a lost connection's transaction is seen, then not any more", "",
     [tx(0, 0, None, (W, "x", 1), (W, "y", 1), type="info"), tx(1, 10, 20, (RR, "y", 1)), tx(1, 30, 40, (RR, "x", None))]),
    ("the order of a pipeline", "", [tx(0, 0, 100, (A, "x", 1)), tx(0, 1, 100, (A, "x", 2)), tx(1, 0, 100, (R, "x", [2, 1]))]),
    ("the order of a pipeline: it does not see its own", "",
     [tx(0, 0, 100, (W, "x", 1)), tx(0, 1, 100, (RR, "x", None))]),
    ("the order of a pipeline: its second read is older", "",
     [tx(0, 0, 100, (R, "x", [1]), (RR, "y", None)), tx(0, 0, 100, (R, "x", [])), tx(1, 0, 100, (A, "x", 1))]),
    # what only the search can judge
    ("a lost RENAME is seen before the mark beside it can have been left", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 6, None, ("rename", "x", ["y", None]), (A, "2:l", 9), type="info"),
      tx(2, 10, 15, (RR, "y", 1)), tx(2, 20, 25, (R, "2:l", [])), tx(2, 30, 35, (R, "2:l", [9]))]),
    ("half a RENAME: both are there", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 10, 100, (RR, "x", 1), (RR, "y", 1))]),
    ("half a RENAME: neither is there", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 10, 100, (RR, "x", None), (RR, "y", None))]),
    ("a RENAME is seen backwards", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 20, 30, (RR, "y", 1)), tx(2, 40, 50, (RR, "x", 1))]),
    ("a RENAME loses an append", "impossible",
     [tx(0, 0, 5, (A, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 10, 100, (A, "x", 2)), tx(3, 200, 210, (R, "y", [1]), (R, "x", []))]),
    ("two RENAMEs of one key succeed", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 10, 100, ("rename", "x", ["z", 1]))]),
    ("a COPY copies what was never there together with what is", "impossible",
     [tx(0, 0, 5, (W, "x", 1), (W, "z", 1)), tx(1, 10, 100, (W, "x", 2), (W, "z", 2)), tx(2, 10, 100, ("copy", "x", ["y", 1]), (RR, "z", 2)),
      tx(3, 200, 210, (RR, "y", 1))]),
    ("two COPYs without REPLACE to one key", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("copy", "x", ["y", 1])), tx(2, 10, 100, ("copy", "x", ["y", 1]))]),
    ("two MSETNX with a key in common", "impossible",
     together([("msetnx", ["x", "y"], [[1, 1], 1])], [("msetnx", ["y", "z"], [[2, 2], 1])])),
    ("a torn MSETNX", "impossible", together([("msetnx", ["x", "y"], [[1, 2], 1])], [(RR, "x", 1), (RR, "y", None)])),
    ("an MSETNX that had no reason to do nothing", "impossible", together([("msetnx", ["x", "y"], [[1, 2], 0])])),
    ("two clients add and get the same", "impossible", together([("incrby", "x", [1, 1])], [("incrby", "x", [1, 1])])),
    ("money is on its way", "impossible",
     [tx(0, 0, 5, (W, "x", 10), (W, "y", 10)), tx(1, 10, 100, ("incrby", "x", [-3, 7]), ("incrby", "y", [3, 13])), tx(2, 10, 100, (RR, "x", 7), (RR, "y", 10))]),
    ("half a SWAPDB", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("swapdb", 0, 1)), tx(2, 10, 100, (RR, "x", 1), (RR, "1:x", 1))]),
    ("half a FLUSHDB", "impossible",
     [tx(0, 0, 5, (W, "x", 1), (W, "y", 1)), tx(1, 10, 100, ("flushdb", 0, None)), tx(2, 10, 100, (RR, "x", 1), (RR, "y", None))]),
    ("FLUSHDB in another database", "impossible",
     [tx(0, 0, 5, (W, "1:x", 1)), tx(1, 10, 15, ("flushdb", 0, None)), tx(2, 20, 25, (RR, "1:x", None))]),
    ("half a DEL", "impossible",
     [tx(0, 0, 5, (W, "x", 1), (W, "y", 1)), tx(1, 10, 100, ("del", ["x", "y"], 2)), tx(2, 10, 100, ("exists", ["x", "y"], 1))]),
    ("two DELs take the same key", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("del", "x", 1)), tx(2, 10, 100, ("del", ["x"], 1))]),
    ("DBSIZE in the middle of an MSET", "impossible", together([(W, "x", 1), (W, "y", 1)], [("dbsize", 0, 1)])),
    ("KEYS in the middle of a RENAME", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 10, 100, ("keys", 0, ["x", "y"]))]),
    ("half a MOVE", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("move", "x", [1, 1])), tx(2, 10, 100, (RR, "x", None), (RR, "1:x", None))]),
    ("an ABA of registers, the last read of which is late", "impossible",
     one_after_another([(W, "x", 1)], [(W, "x", 2)], [(W, "x", 1)], [(RR, "x", 2)])),
    ("the order of a pipeline with RENAME", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(1, 11, 100, ("exists", ["x"], 1))]),
    ("GETSET gives a value twice", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("getset", "x", [2, 1])), tx(2, 10, 100, ("getset", "x", [3, 1]))]),
    ("GETDEL gives a value twice", "impossible",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("getdel", "x", 1)), tx(2, 10, 100, ("getdel", "x", 1))]),
]

Q = ("rpush", "q", [[1, 2], 2])
LMOVE = ("lmove", "q", ["p", "RL", 2])
SETS = [("sadd", "s", [[1, 2], 2]), ("sadd", "t", [[2, 3], 2])]
SCORES = [("zadd", "z", [[[1, 5], [2, 7]], 2]), ("zadd", "y", [[[2, 1]], 1])]


def meanwhile(first, *bodies):
    """The first alone, then the rest, all open at once."""
    return [tx(0, 0, 5, *first)] + [tx(i, 10, 100, *body) for i, body in enumerate(bodies, 1)]


# The first of each is what is there; the rest happens at once.
IMPOSSIBLE += [(what, "impossible", meanwhile(*bodies)) for what, *bodies in [
    ("LMOVE: an element is in two lists", [Q], [LMOVE], [("lrange", "q", [1, 2]), ("lrange", "p", [2])]),
    ("LMOVE: an element is in no list", [Q], [LMOVE], [("lrange", "q", [1]), ("lrange", "p", [])]),
    ("LMOVE is seen backwards by two", [Q], [LMOVE], [("lrange", "p", [2]), ("lpush", "w", [[9], 1])], [("lrange", "w", ["9"]), ("lrange", "q", [1, 2])]),
    ("two LMOVEs take the same element", [Q], [LMOVE], [("lmove", "q", ["w", "RL", 2])]),
    ("LMOVE puts it at the wrong end", [Q, ("rpush", "p", [[3], 1])], [LMOVE], [("lrange", "p", [3, 2])]),
    ("LMOVE overwrites a push", [Q], [LMOVE], [("rpush", "p", [[3], 1])], [("lrange", "p", [3]), ("lrange", "q", [1])]),
    ("LMOVE onto itself loses the element", [Q], [("lmove", "q", ["q", "RL", 2])], [("lrange", "q", [1])]),
    ("LMOVE onto another type took the element", [Q, SETS[0]], [("lmove", "q", ["s", "LL", "WRONGTYPE"])], [("lrange", "q", [2])]),
    ("LMOVE without a source is no error", [SETS[0]], [("lmove", "q", ["s", "LL", "WRONGTYPE"])]),
    ("WRONGTYPE of a key that was never of that type", [Q], [("rpush", "q", [[3], "WRONGTYPE"])]),
    ("two LPOPs give one element twice", [Q], [("lpop", "q", [1, [1]])], [("lpop", "q", [2, [1, 2]])]),
    ("RPOP gives elements in the wrong order", [Q], [("rpop", "q", [2, [1, 2]])]),
    ("LPUSH in the wrong order", [("lpush", "q", [[1, 2], 2])], [("lrange", "q", [1, 2])]),
    ("pushes that interleave", [], [("rpush", "q", [[1, 2], 2])], [("rpush", "q", [[3], 2])], [("lrange", "q", [1, 3])]),
    ("two pushes find the same length", [], [("rpush", "q", [[1], 1])], [("rpush", "q", [[2], 1])]),
    ("LMPOP from the second while the first has some", [Q, ("rpush", "p", [[3], 1])], [("lmpop", ["q", "p"], ["L", 1, ["p", [3]]])]),
    ("LMPOP finds nothing though one always has it", [Q], [("lmove", "q", ["p", "LL", 1]), ("lmove", "q", ["p", "LL", 2])], [("lmpop", ["q", "p"], ["L", 1, None])]),
    ("a popped list is still there", [("rpush", "q", [[1], 1])], [("rpop", "q", [1, [1]]), ("exists", "q", 1)]),
    ("SMOVE: a member is in two sets", SETS, [("smove", "s", ["t", 1, 1])], [("sunion", ["s", "t"], [1, 2, 3]), ("sintercard", ["s", "t"], [0, 2])]),
    ("SMOVE: a member is in no set", SETS, [("smove", "s", ["t", 1, 1])], [("sunion", ["s", "t"], [2, 3])]),
    ("two SMOVEs take the same member", SETS, [("smove", "s", ["t", 1, 1])], [("smove", "s", ["u", 1, 1])]),
    ("a member is added twice", [], [("sadd", "s", [[1], 1])], [("sadd", "s", [[1], 1])]),
    ("a member is removed twice", SETS, [("srem", "s", [[1], 1])], [("srem", "s", [[1], 1])]),
    ("half of what one SADD adds", [], [("sadd", "s", [[1, 2], 2])], [("smembers", "s", [1])]),
    ("SMEMBERS says one twice", SETS, [("smembers", "s", [1, 2, 2])]),
    ("SINTER of two moments", SETS, [("smove", "t", ["s", 3, 1])], [("sinter", ["s", "t"], [2, 3])]),
    ("SUNION of two moments", SETS, [("smove", "s", ["t", 1, 1])], [("sunion", ["t", "s"], [2, 3])]),
    ("SDIFF of two moments", SETS, [("smove", "s", ["t", 1, 1])], [("sdiff", ["s", "t"], [])], [("sdiff", ["s", "t"], [1, 2])]),
    ("SINTERCARD beyond its limit", SETS, [("sintercard", ["s", "s"], [1, 2])]),
    ("SUNIONSTORE shows half of its sources", SETS, [("sunionstore", "u", [["s", "t"], 3])], [("smembers", "u", [1, 2])]),
    ("SUNIONSTORE of sources of different times", SETS, [("sadd", "s", [[8], 1]), ("sadd", "t", [[9], 1])], [("sunionstore", "u", [["s", "t"], 4]), ("smembers", "u", [1, 2, 3, 9])]),
    ("SINTERSTORE loses a change of its target", SETS + [("sadd", "u", [[7], 1])], [("sinterstore", "u", [["s", "t"], 1])], [("sadd", "u", [[8], 1])],
     [("smembers", "u", [2, 7])]),
    ("SINTERSTORE of nothing leaves what was there", [SETS[0], ("sadd", "u", [[7], 1])], [("sinterstore", "u", [["s", "t"], 0]), ("smembers", "u", [7])]),
    ("SDIFFSTORE into one of its sources took what it had stored", SETS, [("sdiffstore", "s", [["t", "s"], 1]), ("smembers", "s", [2, 3])]),
    ("ZUNIONSTORE shows half of its sources", SCORES, [("zunionstore", "x", [["z", "y"], 2])], [("zrange", "x", [[1, 5], [2, 7]])]),
    ("ZUNIONSTORE of sources of different times", SCORES, [("zincrby", "z", [2, 10, 17]), ("zincrby", "y", [2, 100, 101])],
     [("zunion", ["z", "y"], [[1, 5], [2, 108]])]),
    ("ZINTERSTORE of a set and a sorted set", SETS[:1] + SCORES[:1], [("zinterstore", "x", [["s", "z"], 2]), ("zrange", "x", [[1, 5], [2, 7]])]),
    ("ZRANGE out of order", SCORES, [("zrange", "z", [[2, 7], [1, 5]])]),
    ("ZDIFF with the other's score", SCORES, [("zdiff", ["y", "x"], [[2, 7]])]),
    ("two ZMPOPs take the same", SCORES, [("zmpop", ["z"], ["MIN", 1, ["z", [[1, 5]]]])], [("zmpop", ["x", "z"], ["MIN", 2, ["z", [[1, 5], [2, 7]]]])]),
    ("ZMPOP of the wrong end", SCORES, [("zmpop", ["z"], ["MAX", 1, ["z", [[1, 5]]]])]),
    ("two ZINCRBYs see the same score", SCORES, [("zincrby", "z", [1, 1, 6])], [("zincrby", "z", [1, 1, 6])]),
    ("ZRANGESTORE of something that never was", SCORES, [("zadd", "z", [[[1, 9]], 0])], [("zrangestore", "x", ["z", 0, 0, 1]), ("zrange", "x", [[2, 9]])]),
    ("ZRANGESTORE of the wrong ranks", SCORES, [("zrangestore", "x", ["z", -1, -1, 1]), ("zrange", "x", [[1, 5]])]),
    ("RENAME of a list: it is in two places", [Q], [("rename", "q", ["p", 1])], [("lrange", "q", [1, 2]), ("lrange", "p", [1, 2])]),
    ("COPY of a set goes on with it", SETS, [("copyr", "s", ["t", 1])], [("sadd", "s", [[9], 1])], [("smembers", "t", [1, 2]), ("smembers", "s", [1, 2])], [("smembers", "t", [1, 2, 9]), ("scard", "s", 2)]),
    ("DEL of a sorted set and what is left of it", SCORES, [("del", ["z", "y"], 2)], [("zcard", "z", 0), ("zcard", "y", 1)]),
    ("SORT in the wrong order", [("sadd", "s", [[10, 9], 2])], [("sort", "s", [None, [], None, [10, 9]])]),
    ("SORT BY keys of two moments", [Q, (W, "w1", 1), (W, "w2", 2)], [(W, "w1", 9), (W, "w2", 8)], [("sort", "q", ["w*", ["w*"], None, [9, 2]])]),
    ("SORT GET of keys of two moments", [Q, (W, "w1", 1), (W, "w2", 2)], [(W, "w1", 9), (W, "w2", 8)], [("sort", "q", [None, ["w*"], None, [1, 8]])]),
    ("SORT STORE shows half", [Q], [("sort", "q", [None, [], "p", 2])], [("lrange", "p", [1])]),
    ("SORT of a string", [(W, "x", 1)], [("sort", "x", [None, [], None, []])]),
]]
IMPOSSIBLE += [
    ("LMOVE is seen backwards", "impossible",
     [tx(0, 0, 5, Q), tx(1, 10, 100, LMOVE), tx(2, 20, 30, ("lrange", "p", [2])), tx(2, 40, 50, ("lrange", "q", [1, 2]))]),
    ("an element that a lost LMOVE carried goes back", "impossible",
     [tx(0, 0, 5, Q), tx(1, 10, None, ("lmove", "q", ["p", "RL", None]), type="info"), tx(2, 20, 30, ("lrange", "q", [1])), tx(2, 40, 50, ("lrange", "p", []))]),
    ("the order of a pipeline with LMOVE", "impossible", [tx(0, 0, 5, Q), tx(1, 10, 100, LMOVE), tx(1, 11, 100, ("llen", "p", 0))]),
    ("the order of a pipeline with SORT BY", "impossible",
     [tx(0, 0, 5, Q), tx(1, 10, 100, ("rpush", "q", [[3], 3])), tx(1, 11, 100, ("sort", "q", ["w*", [], None, [1, 2]]))]),
    ("a lost push is seen before it can have taken effect", "impossible",
     [tx(0, 5, 6, ("lrange", "q", [1])), tx(1, 10, None, ("rpush", "q", [[1], None]), type="info")]),
]

POSSIBLE = [
    ("nothing", []),
    ("write skew that one order explains", together([(R, "x", []), (A, "y", 1)], [(R, "y", [1]), (A, "x", 1)])),
    ("a read of the old value while the write is open", [tx(0, 0, 100, (A, "x", 1)), tx(1, 10, 20, (R, "x", [])), tx(1, 30, 40, (R, "x", [1]))]),
    ("an end at the time of a start: they overlap", [tx(0, 0, 10, (A, "x", 1)), tx(1, 10, 20, (R, "x", [])), tx(1, 30, 40, (R, "x", [1]))]),
    ("a long one sees nothing of those that came and went", [tx(0, 0, 100, (R, "x", [])), tx(1, 10, 20, (A, "x", 1)), tx(1, 30, 40, (R, "x", [1]))]),
    ("registers in the only order", together([(W, "x", 1), (W, "y", 1)], [(W, "x", 2), (W, "y", 2)], [(RR, "x", 1), (RR, "y", 1)], [(RR, "x", 2), (RR, "y", 2)])),
    ("a read, then a write of the same", together([(RR, "x", None), (W, "x", 1)], [(RR, "x", 1), (W, "x", 2)], [(RR, "x", 2)])),
    ("written twice, read once", together([(W, "x", 1), (W, "x", 2)], [(RR, "x", 2)])),
    ("lost connections: one happened, one late, one never",
     [tx(0, 0, None, (A, "x", 1), type="info"), tx(1, 0, None, (A, "x", 2), type="info"), tx(2, 0, None, (A, "x", 3), (R, "x", None), type="info"),
      tx(3, 10, 20, (R, "x", [2])), tx(3, 30, 40, (R, "x", [2])), tx(3, 50, 60, (R, "x", [2, 1]))]),
    ("a lost connection's register", [tx(0, 0, None, (W, "x", 1), type="info"), tx(1, 10, 20, (RR, "x", None)), tx(1, 30, 40, (RR, "x", 1))]),
    ("a failed one", [tx(0, 0, 5, (A, "x", 1), type="fail"), tx(1, 10, 15, (R, "x", []))]),
    ("two in one pipeline without a common key, the other way round",
     [tx(0, 0, 100, (A, "x", 1)), tx(0, 1, 100, (A, "y", 1)), tx(1, 0, 100, (R, "x", []), (R, "y", [1]))]),
    ("a RENAME at any time", [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("rename", "x", ["y", 1])), tx(2, 10, 100, (RR, "x", 1), (RR, "y", None)),
                              tx(3, 10, 100, (RR, "x", None), (RR, "y", 1))]),
    ("RENAME chases RENAME", [tx(0, 0, 5, (W, "x", 1))] + [tx(i, 10, 100, ("rename", "xyz"[i % 3], ["xyz"[(i + 1) % 3], 1])) for i in range(1, 7)] +
     [tx(9, 10, 100, ("renamenx", "x", ["x", -1]))]),
    ("RENAME onto itself", one_after_another([(W, "x", 1)], [("rename", "x", ["x", 1])], [("renamenx", "x", ["x", 0])], [(RR, "x", 1)])),
    ("COPY, then each goes its way", one_after_another([(A, "x", 1)], [("copy", "x", ["y", 1])], [(A, "y", 2)], [("copy", "x", ["y", 0])], [(R, "y", [1, 2]), (R, "x", [1])],
                                                       [("copyr", "x", ["y", 1])], [("copyr", "z", ["y", 0])], [(R, "y", [1])])),
    ("MSETNX fails because of the other", together([("msetnx", ["x", "y"], [[1, 1], 1])], [("msetnx", ["y", "z"], [[2, 2], 0])])),
    ("SWAPDB twice", [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 100, ("swapdb", 0, 1)), tx(2, 10, 100, ("swapdb", 1, 0)), tx(3, 10, 100, (RR, "1:x", 1)), tx(3, 200, 210, (RR, "x", 1))]),
    ("FLUSHALL and what comes after", one_after_another([(W, "x", 1), (W, "1:y", 1)], [("dbsize", 1, 1)], [("flushall", None, None)], [("keys", 0, []), ("dbsize", 1, 0)])),
    ("a lost RENAME happens late", [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, None, ("rename", "x", ["y", None]), type="info"), tx(2, 20, 30, (RR, "x", 1)), tx(2, 40, 50, (RR, "y", 1))]),
    ("a lost RENAME with a mark beside it",
     [tx(0, 0, 5, (W, "x", 1)), tx(1, 6, None, ("rename", "x", ["y", None]), (A, "2:l", 9), type="info"),
      tx(2, 10, 15, (RR, "x", 1)), tx(2, 20, 25, (R, "2:l", [])), tx(2, 20, 25, (RR, "y", 1)), tx(2, 30, 35, (R, "2:l", [9]))]),
    ("lost ones with outcomes that nobody knows", [tx(0, 0, None, ("incrby", "x", [1, None]), ("msetnx", ["y"], [[1], None]), ("del", "z", None), type="info"),
                                                   tx(1, 10, 20, (RR, "x", 1), (RR, "y", 1))]),
    ("adders", together([("incrby", "x", [1, 3])], [("incrby", "x", [1, 1])], [("incrby", "x", [1, 2])])),
    ("an ABA of registers", [tx(0, 0, 5, (W, "x", 1)), tx(1, 10, 15, (W, "x", 2)), tx(1, 20, 25, (W, "x", 1)), tx(2, 0, 50, (RR, "x", 2)), tx(3, 30, 40, (RR, "x", 1))]),
    ("MOVE, GETSET, GETDEL", one_after_another([(W, "x", 1)], [("move", "x", [1, 1])], [("move", "x", [1, 0])], [("getset", "1:x", [2, 1])], [("getdel", "1:x", 2)],
                                               [("getdel", "1:x", None)], [("getset", "x", [5, None])], [("exists", ["x", "x", "1:x"], 2)])),
]
POSSIBLE += [(what, one_after_another(*[[op] for op in ops])) for what, *ops in [
    ("lists", ("lpush", "q", [[1, 2], 2]), ("rpush", "q", [["three"], 3]), ("lrange", "q", [2, 1, "three"]), ("rpop", "q", [2, ["three", 1]]), ("lpop", "q", [5, [2]]),
     ("lpop", "q", [1, None]), ("exists", "q", 0), ("lrange", "q", []), ("llen", "q", 0), ("lmove", "q", ["p", "LR", None]), ("lmpop", ["q", "p"], ["L", 2, None]),
     ("rpush", "p", [[1, 2, 3], 3]), ("lmpop", ["q", "p"], ["R", 2, ["p", [3, 2]]]), ("lmove", "p", ["p", "LL", 1])),
    ("LMOVE from end to end", ("rpush", "q", [[1, 2, 3], 3]), ("lmove", "q", ["q", "RL", 3]), ("lrange", "q", [3, 1, 2]), ("lmove", "q", ["p", "LR", 3]), ("lmove", "q", ["p", "RR", 2]),
     ("lrange", "p", [3, 2])),
    ("sets", *SETS, ("sadd", "s", [[1, 5], 1]), ("srem", "s", [[5, 6], 1]), ("smembers", "s", [2, 1]), ("scard", "u", 0), ("smove", "s", ["t", 2, 1]), ("smove", "s", ["t", 2, 0]),
     ("smove", "t", ["t", 2, 1]), ("smove", "u", ["t", 2, 0]), ("sinter", ["s", "t"], []), ("sunion", ["s", "u", "t"], [3, 1, 2]), ("sdiff", ["t", "s", "u"], [2, 3]),
     ("sinter", ["t", "u"], []), ("sintercard", ["t", "t"], [0, 2]), ("sintercard", ["t", "t"], [1, 1]), ("sunionstore", "s", [["s", "t"], 3]), ("smembers", "s", [1, 2, 3]),
     ("sdiffstore", "s", [["s", "t"], 1]), ("sinterstore", "t", [["s", "t"], 0]), ("exists", ["s", "t"], 1), ("srem", "s", [[1], 1]), ("exists", "s", 0)),
    ("sorted sets", *SCORES, ("zadd", "z", [[[1, 7], [3, 6]], 1]), ("zrange", "z", [[3, 6], [1, 7], [2, 7]]), ("zincrby", "z", [3, -10, -4]), ("zincrby", "w", [9, 2, 2]),
     ("zrem", "w", [[9, 8], 1]), ("zcard", "w", 0), ("zunion", ["z", "y"], [[3, -4], [1, 7], [2, 8]]), ("zinter", ["z", "y"], [[2, 8]]), ("zdiff", ["z", "y"], [[3, -4], [1, 7]]),
     ("zintercard", ["z", "y"], [0, 1]), ("zunionstore", "x", [["z", "z"], 3]), ("zrange", "x", [[3, -8], [1, 14], [2, 14]]), ("zdiffstore", "x", [["x", "z"], 0]), ("exists", "x", 0),
     ("zmpop", ["x", "z"], ["MAX", 2, ["z", [[2, 7], [1, 7]]]]), ("zmpop", ["x"], ["MIN", 1, None]), ("zrangestore", "x", ["y", 0, -1, 1]), ("zrangestore", "y", ["y", 1, 5, 0]),
     ("zrange", "y", [])),
    ("algebra of sets and sorted sets", SETS[0], SCORES[1], ("zunionstore", "x", [["s", "y"], 2]), ("zrange", "x", [[1, 1], [2, 2]]), ("zinter", ["y", "s"], [[2, 2]]),
     ("zdiff", ["s", "y"], [[1, 1]]), ("sunion", ["s", "y"], "WRONGTYPE")),
    ("wrong types", Q, SETS[0], SCORES[0], (W, "v", 1), ("sadd", "q", [[1], "WRONGTYPE"]), ("lpop", "s", [1, "WRONGTYPE"]), ("zadd", "s", [[[1, 1]], "WRONGTYPE"]),
     ("lrange", "v", "WRONGTYPE"), ("smove", "s", ["q", 1, "WRONGTYPE"]), ("smove", "absent", ["q", 1, 0]), ("sinter", ["absent", "q"], "WRONGTYPE"),
     ("sinterstore", "q", [["s"], 2]), ("smembers", "q", [1, 2]), ("lmpop", ["absent", "s", "v"], ["L", 1, "WRONGTYPE"]), ("sort", "v", [None, [], "q", "WRONGTYPE"]),
     ("zrangestore", "v", ["s", 0, 1, "WRONGTYPE"]), ("zrangestore", "v", ["absent", 0, 1, 0]), ("exists", "v", 0), ("msetnx", ["v", "s"], [[1, 2], 0]), (W, "s", 3), (RR, "s", 3)),
    ("RENAME, COPY, MOVE, SWAPDB", Q, SETS[0], SCORES[0], ("rename", "q", ["s", 1]), ("lrange", "s", [1, 2]), ("copy", "s", ["z", 0]), ("copyr", "z", ["s", 1]), ("zcard", "s", 2),
     ("move", "s", [1, 1]), ("zrange", "1:s", [[1, 5], [2, 7]]), ("swapdb", 0, 1), ("zrange", "s", [[1, 5], [2, 7]]), ("zcard", "1:z", 2), ("dbsize", 0, 1)),
    ("SORT", ("sadd", "s", [[10, 9, -1], 3]), ("sort", "s", [None, [], None, [-1, 9, 10]]), (W, "w9", 50), (W, "w-1", 7), ("sort", "s", ["w*", ["#", "w*"], None, [10, None, -1, 7, 9, 50]]),
     ("sort", "s", ["w*", ["w*", "#"], "s", 6]), ("lrange", "s", ["", 10, 7, -1, 50, 9]), ("sort", "s", [None, [], None, [-1, "", 7, 9, 10, 50]]), ("sort", "none", [None, ["w*"], "s", 0]),
     ("exists", "s", 0), ("rpush", "w9", [[1], "WRONGTYPE"]), ("zadd", "z", [[[9, 1], [7, 2]], 2]), ("sort", "z", ["none*", [], None, [7, 9]])),
]]
POSSIBLE += [
    ("LMOVE in time", meanwhile([Q], [LMOVE], [("lrange", "q", [1]), ("lrange", "p", [2])], [("lrange", "p", []), ("lrange", "q", [1, 2])])),
    ("a lost LMOVE took effect late", [tx(0, 0, 5, Q), tx(1, 10, None, ("lmove", "q", ["p", "RL", None]), type="info"), tx(2, 20, 30, ("lrange", "q", [1, 2])), tx(2, 40, 50, ("lrange", "p", [2]))]),
    ("a lost LMOVE of nothing, of a wrong type", [tx(0, 0, 5, SETS[0]), tx(1, 10, None, ("lmove", "s", ["p", "RL", None]), ("append", "s", 5), (W, "k", 3), type="info"),
                                                  tx(2, 20, 30, (RR, "k", 3)), tx(2, 40, 50, ("smembers", "s", [1, 2]))]),
    ("a lost push", [tx(0, 0, None, ("rpush", "q", [[1], None]), ("sadd", "q", [[2], None]), type="info"), tx(1, 10, 20, ("llen", "q", 0)), tx(1, 30, 40, ("lrange", "q", [1]))]),
    ("two in one pipeline, SORT looks at another's key", [tx(0, 0, 5, Q), tx(1, 10, 100, (W, "w1", 5)), tx(1, 11, 100, ("sort", "q", ["w*", [], None, [1, 2]]))]),
]


@pytest.mark.parametrize("kind, history", [c[1:] for c in IMPOSSIBLE], ids=[c[0] for c in IMPOSSIBLE])
def test_impossible(kind, history):
    found = checker.check(number(history))
    assert found
    assert any(v.kind.startswith(kind) for v in found), found
    assert exact.check(history), "the search must find it as well"


@pytest.mark.parametrize("history", [c[1] for c in POSSIBLE], ids=[c[0] for c in POSSIBLE])
def test_possible(history):
    assert checker.check(number(history)) == []
    assert exact.check(history) == []


def test_a_cycle_is_told_with_its_transactions_and_edges():
    found, = checker.check(number(together([(A, "x", 1), (A, "y", 2)], [(R, "x", [1]), (R, "y", [])], [(R, "y", [2])])))
    text = str(found)
    assert "T0 client 0 [0, 100]: append x 1; append y 2\n      before (wr) x: read 1\n" in text, text
    assert "T1 client 1 [0, 100]: r x [1]; r y []\n      before (rw) y: did not see 2\n" in text, text


def test_the_search_tells_where_it_ended():
    found, = checker.check(number(dict((c[0], c[2]) for c in IMPOSSIBLE)["half a RENAME: both are there"]))
    assert "T2 client 2 [10, 100]: rr x 1; rr y 1" in str(found)
    assert str(found).endswith("\n    y=1")


@pytest.mark.parametrize("bad", [
    tx(0, 5, 1, (W, "x", 1)), tx(0, 0, None, (W, "x", 1)), tx(0, 0, 1, ("set", "x", 1)), tx(0, 0, 1, (W, "x", None)),
    tx(0, 0, 1, ("rename", "x", "y")), tx(0, 0, 1, ("rename", "x", ["y", None])), tx(0, 0, 1, ("append", 3, 1)),
    tx(0, 0, 1, ("lpush", "x", [1])), tx(0, 0, 1, ("lmove", "x", ["y", 1])), tx(0, 0, 1, ("lmove", "x", [3, "LR", None])), tx(0, 0, 1, ("sadd", "x", [[1], None])),
    tx(0, 0, 1, ("smembers", ["x"], [])), tx(0, 0, 1, ("zrange", "x", None)), tx(0, 0, 1, (R, "x", None)), tx(0, 0, 1, (W, "x", 1), type="maybe"), tx(0, 0, 1, ("del", "x", None))], ids=str)
def test_malformed_is_refused(bad):
    with pytest.raises(Malformed):
        number([bad])


def test_the_same_append_twice_is_a_mistake_of_the_client():
    assert kinds(*together([(A, "x", 1)], [(A, "x", 1)])) == ["malformed"]


def test_who_is_lost_is_open_no_longer_than_nobody_can_tell():
    history = number([tx(1, 6, None, ("rename", "x", ["y", None]), (A, "2:l", 9), type="info"), tx(2, 20, 25, (R, "2:l", [])),
                      tx(2, 30, 35, (R, "2:l", [9])), tx(3, 7, None, (A, "2:l", 8), type="info"), tx(4, 8, None, (A, "l", 7), type="info")])
    settled = exact.settle(history)
    assert [(t.start, t.end) for t in settled if t.type == "info"] == [(20, 35), (30, NEVER), (8, NEVER)]


@pytest.mark.parametrize("lost, saw, end", [
    (("rpush", "q", [[1, 2], None]), ("lrange", "q", [3, 2]), 35), (("lpush", "q", [["a"], None]), ("lpop", "p", [1, ["a"]]), 35),
    (("rpush", "q", [[1], None]), ("lmove", "q", ["p", "LL", 1]), 35), (("rpush", "q", [[1], None]), ("lmpop", ["q"], ["L", 1, ["q", [1]]]), 35),
    (("sadd", "s", [[7], None]), ("sinter", ["s", "t"], ["7"]), 35), (("zadd", "z", [[[7, 1]], None]), ("zrange", "z", [[7, 2]]), 35),
    (("zincrby", "z", [7, 1, None]), ("zmpop", ["z"], ["MIN", 1, ["z", [[7, 1]]]]), 35), (("sadd", "s", [[7], None]), ("sort", "s", [None, [], None, [7]]), 35),
    (("zadd", "z", [[[7, 1]], None]), ("zunion", ["z"], [[1, 7]]), NEVER), (("rpush", "q", [[1], None]), ("lrange", "q", "WRONGTYPE"), NEVER),
    (("sadd", "s", [[5], None]), ("smembers", "s", [5]), NEVER), (("rpush", "q", [[1], None]), ("sort", "q", [None, [], "p", 1]), NEVER)], ids=str)
def test_who_is_lost_and_what_others_find_of_it(lost, saw, end):
    """But for 5, which another one has written as well."""
    history = number([tx(1, 6, None, lost, type="info"), tx(2, 7, 8, ("zadd", "w", [[[5, 1]], 1])), tx(3, 30, 35, saw)])
    assert exact.settle(history)[0].end == end


def test_what_is_too_much_is_not_decided():
    history = number(together(*[[(W, "z", i)] for i in range(12)], [(RR, "z", 99)]))
    with pytest.raises(exact.Undecided):
        exact.check(history, 50)


def test_files(tmp_path):
    history = dict((c[0], c[1]) for c in POSSIBLE)["lost connections: one happened, one late, one never"]
    write(tmp_path / "h", history)
    again = read(tmp_path / "h")
    assert [str(t) for t in number(history)] == [str(t) for t in again]
    for line in ("{", "[]", '{"client": 1}'):
        (tmp_path / "h").write_text(line)
        with pytest.raises(Malformed):
            read(tmp_path / "h")


# --- at random -------------------------------------------------------------------------------------------


class Serial:
    """A keyspace that does one thing after the other: what it answers is right by definition."""

    def __init__(self):
        self.values = {}

    def do(self, f, key, value):
        v = self.values
        if f == A:
            v[key] = v.get(key, []) + [value]
        elif f == R:
            return [f, key, list(v.get(key, []))]
        elif f == W:
            v[key] = value
        elif f == RR:
            return [f, key, v.get(key)]
        elif f == "rename":
            done = 1 if key in v else -1
            if done == 1:
                v[value[0]] = v.pop(key)
            return [f, key, [value[0], done]]
        elif f == "copyr":
            if key in v:
                v[value[0]] = v[key]
            return [f, key, [value[0], int(key in v)]]
        elif f == "del":
            return [f, key, int(v.pop(key, None) is not None)]
        elif f == "incrby":
            v[key] = v.get(key, 0) + value[0]
            return [f, key, [value[0], v[key]]]
        elif f == "msetnx":
            done = not any(k in v for k in key)
            if done:
                v.update(zip(key, value[0]))
            return [f, key, [value[0], int(done)]]
        elif f in COLLECTIONS:
            given = value if COLLECTION_ARITY[f] else []
            try:
                said = COLLECTIONS[f](self, key, *given)
            except TypeError as e:
                if str(e) != "WRONGTYPE":
                    raise
                said = "WRONGTYPE"
            return [f, key, given[:-1] + [said] if given else said]
        return [f, key, value]

    def get(self, key, kind):
        if key in self.values and type(self.values[key]) is not kind:
            raise TypeError("WRONGTYPE")
        return self.values.get(key, kind())

    def put(self, key, value):
        self.values.pop(key, None)
        if value:
            self.values[key] = value
        return len(value)

    # lists: deque; sets: set; sorted sets: dict
    def push(self, key, elements, _, left=False):
        q = deque(self.get(key, deque))
        (q.extendleft if left else q.extend)(elements)
        return self.put(key, q)

    def pop(self, key, count, _, end="L"):
        q = deque(self.get(key, deque))
        out = [q.popleft() if end == "L" else q.pop() for _ in range(min(count, len(q)))]
        self.put(key, q)
        return out or None

    def lmove(self, key, to, ends, _):
        if not self.get(key, deque):
            return None
        self.get(to, deque)
        (e,) = self.pop(key, 1, None, ends[0])
        self.push(to, [e], None, ends[1] == "L")
        return e

    def lmpop(self, keys, end, count, _):
        return next(([k, self.pop(k, count, None, end)] for k in keys if self.get(k, deque)), None)

    def change(self, key, by, _, remove=False):
        s = self.get(key, set)
        return abs(len(s) - self.put(key, s - set(by) if remove else s | set(by)))

    def smove(self, key, to, m, _):
        s = self.get(key, set)
        if not s:
            return 0
        t = self.get(to, set)
        if m not in s:
            return 0
        if key != to:
            self.put(key, s - {m})
            self.put(to, t | {m})
        return 1

    def algebra(self, keys, f):
        sets = [self.get(k, set) for k in keys]
        for s in sets[1:]:
            sets[0] = sets[0] & s if f == "inter" else sets[0] | s if f == "union" else sets[0] - s
        return sets[0]

    def scored(self, key):
        if isinstance(self.values.get(key), set):
            return {m: 1 for m in self.values[key]}
        return self.get(key, dict)

    def zalgebra(self, keys, f):
        first, *rest = [self.scored(k) for k in keys]
        out = dict(first)
        for z in rest:
            both = {m: out.get(m, 0) + z.get(m, 0) for m in out.keys() | z.keys()}
            out = both if f == "union" else {m: v for m, v in both.items() if (m in out and m in z)} if f == "inter" else \
                {m: v for m, v in out.items() if m not in z}
        return out

    def zadd(self, key, pairs, _):
        z = self.get(key, dict)
        return self.put(key, {**z, **dict(map(tuple, pairs))}) - len(z)

    def zmpop(self, keys, end, count, _):
        for k in keys:
            z = self.get(k, dict)
            if z:
                out = in_order(z)[::-1 if end == "MAX" else 1][:count]
                self.put(k, {m: v for m, v in z.items() if [m, v] not in out})
                return [k, out]
        return None

    def sort(self, key, by, gets, to, _):
        if isinstance(self.values.get(key), int):
            raise TypeError("WRONGTYPE")
        out = sorted(self.values.get(key, ()))
        return out if to is None else self.put(to, deque(out))


def in_order(z):
    return [list(p) for p in sorted(z.items(), key=lambda p: (p[1], str(p[0])))]


COLLECTIONS = {
    "lpush": lambda s, *a: s.push(*a, left=True), "rpush": Serial.push, "lpop": Serial.pop, "rpop": lambda s, *a: s.pop(*a, end="R"),
    "lmove": Serial.lmove, "lmpop": Serial.lmpop, "lrange": lambda s, k: list(s.get(k, deque)), "llen": lambda s, k: len(s.get(k, deque)),
    "sadd": Serial.change, "srem": lambda s, *a: s.change(*a, remove=True), "smove": Serial.smove, "smembers": lambda s, k: list(s.get(k, set)),
    "sunion": lambda s, k: list(s.algebra(k, "union")), "sinter": lambda s, k: list(s.algebra(k, "inter")), "sdiff": lambda s, k: list(s.algebra(k, "diff")),
    "sintercard": lambda s, k, limit, _: min(limit or 99, len(s.algebra(k, "inter"))), "sunionstore": lambda s, k, a, _: s.put(k, s.algebra(a, "union")),
    "sinterstore": lambda s, k, a, _: s.put(k, s.algebra(a, "inter")), "sdiffstore": lambda s, k, a, _: s.put(k, s.algebra(a, "diff")),
    "zadd": Serial.zadd, "zmpop": Serial.zmpop, "zrange": lambda s, k: in_order(s.get(k, dict)), "zunion": lambda s, k: in_order(s.zalgebra(k, "union")),
    "zunionstore": lambda s, k, a, _: s.put(k, s.zalgebra(a, "union")), "zinterstore": lambda s, k, a, _: s.put(k, s.zalgebra(a, "inter")),
    "zdiffstore": lambda s, k, a, _: s.put(k, s.zalgebra(a, "diff")), "zrangestore": lambda s, k, a, lo, hi, _: s.put(k, dict(map(tuple, in_order(s.get(a, dict))[lo:hi + 1]))),
    "sort": Serial.sort,
}


def some_op(rng, mix, n):
    lists, registers = ["l%d" % i for i in range(3)], ["r%d" % i for i in range(3)]
    f = rng.choice(mix)
    if f in COLLECTIONS:
        return some_collection_op(rng, f, n)
    if f in (A, R):
        return (f, rng.choice(lists), n)
    if f in ("rename", "copyr"):
        a, b = rng.sample(rng.choice([lists, registers] + [["q0", "q1", "x"], ["s0", "z0", "x"]] * ("lpush" in mix)), 2)
        return (f, a, [b, None])
    if f == "incrby":
        return (f, "n%d" % rng.randrange(2), [rng.randrange(-3, 4), None])
    if f == "msetnx":
        return (f, rng.sample(registers, 2), [[n, n], None])
    return (f, rng.choice(registers), n)


def some_collection_op(rng, f, n):
    def key(letter=f[0]):
        return "x" if rng.random() < 0.1 else rng.choice("qsz") + "0" if f == "sort" else rng.choice("sz") + "0" if letter == "z" and "st" in f[-5:] \
            and rng.random() < 0.3 else ("q" if letter in "lr" else letter) + rng.choice("01")

    def some_keys():
        return [key() for _ in range(rng.randrange(1, 4))]

    member, ends = rng.randrange(1, 5), rng.choice(["LL", "LR", "RL", "RR"])
    if f in ("lpush", "rpush"):
        return (f, key("q"), [[n, -n][:rng.randrange(1, 3)], None])
    if f in ("sadd", "srem"):
        return (f, key("s"), [rng.sample(range(1, 5), 2), None])
    if f == "rpop":
        return (f, key("q"), [rng.randrange(1, 3), None])
    return {
        "lpop": lambda: (f, key(), [rng.randrange(1, 3), None]), "lmove": lambda: (f, key(), [key(), ends, None]), "lmpop": lambda: (f, some_keys(), [ends[0], 1, None]),
        "smove": lambda: (f, key(), [key(), member, None]), "sintercard": lambda: (f, some_keys(), [rng.randrange(3), None]),
        "zadd": lambda: (f, key(), [[[member, n]], None]), "zmpop": lambda: (f, some_keys(), [rng.choice(["MIN", "MAX"]), 2, None]),
        "zrangestore": lambda: (f, key(), [key(), 0, 1, None]), "sort": lambda: (f, key(), [None, [], rng.choice([None, "q0", "x"]), None]),
        "zunion": lambda: (f, some_keys(), None), "sunion": lambda: (f, some_keys(), None), "sinter": lambda: (f, some_keys(), None), "sdiff": lambda: (f, some_keys(), None),
    }.get(f, lambda: (f, key(), [some_keys(), None] if f.endswith("store") else None))()


MIXES = {"lists": [A, R], "registers": [W, RR], "both": [A, R, W, RR],
         "moves": [A, R, W, RR, RR, R, "rename", "copyr", "del", "incrby", "msetnx"],
         "collections": [A, R, W, RR, "rename", "copyr", "del"] + list(COLLECTIONS) + 4 * ["rpush", "lpush", "sadd", "zadd", "lmove", "lrange"]}


def serial_history(seed, mix, count, clients=5, lost=0.03):
    """A history that is possible: each takes effect at one moment, somewhere between a start and an end."""
    rng, space, out, n = random.Random(seed), Serial(), [], 0
    free_at, last_moment = [0] * clients, [0] * clients
    moment = 0
    for _ in range(count):
        moment += 10
        client = rng.randrange(clients)
        failed = rng.random() < 0.03
        gone = not failed and rng.random() < lost
        ops = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            n += 1
            ops.append(list(some_op(rng, MIXES[mix], n)))
        if not failed and (not gone or rng.random() < 0.5):
            ops = [space.do(*op) for op in ops]
        # a pipelined one may have been sent before the one before it was answered
        earliest = last_moment[client] if rng.random() < 0.3 else free_at[client]
        start = min(moment, max(earliest, moment - rng.randrange(60)))
        end = moment + rng.randrange(60)
        type = "fail" if failed else "info" if gone else "ok"
        if type != "ok":
            ops = [hide_outcome(op) for op in ops]
        name = client if type == "ok" else "%d lost %d" % (client, n)
        out.append(Tx(name, start, None if gone else end, type, ops))
        free_at[client], last_moment[client] = max(free_at[client], end + 1), moment
    return number(out)


def hide_outcome(op):
    f, key, value = op
    if f in (R, RR, "del") or COLLECTION_ARITY.get(f, 1) is None:
        return [f, key, None]
    return [f, key, value[:-1] + [None]] if isinstance(value, list) else op


@pytest.mark.parametrize("mix", MIXES)
def test_what_a_serial_keyspace_answers_is_possible(mix):
    for seed in range(seeds(60)):
        assert checker.check(serial_history(seed, mix, 200)) == [], (mix, seed)
        assert exact.check(serial_history(seed, mix, 50)) == [], (mix, seed)


def mutate(rng, history):
    """Changes one reply into one that may still be possible: to what it was before or is after. Says whether it did."""
    reads = [(t, op) for t in history if t.type == "ok" for op in t.ops if op[0] in (R, RR, "incrby", "rename", "del") or op[0] in COLLECTIONS]
    if not reads:
        return False
    t, op = rng.choice(reads)
    f, key, value = op
    if f == R:
        others = [o[2] for u in history if u.type == "ok" for o in u.ops if o[0] == R and o[1] == key and o[2] != value]
    elif f == RR:
        others = [o[2] for u in history if u.type == "ok" for o in u.ops if o[0] == RR and o[1] == key and o[2] != value]
    elif f == "incrby":
        others = [[value[0], value[1] + d] for d in (-1, 1)]
    elif f == "rename":
        others = [[value[0], -value[1]]]
    elif f in COLLECTIONS:
        others = [o[2] for u in history if u.type == "ok" for o in u.ops if o[0] == f and o[2] != value]
        if COLLECTION_ARITY[f] and value[-1] != "WRONGTYPE":
            others = [value[:-1] + [o[-1]] for o in others if o[-1] != value[-1] and (f not in ("lmpop", "zmpop", "sort"))]
    else:
        others = [1 - value]
    if not others:
        return False
    op[2] = rng.choice(others)
    return True


@pytest.mark.parametrize("mix", MIXES)
def test_graph_and_search_agree_on_wrong_replies(mix):
    """Neither can be right by accepting everything, nor by rejecting everything: some of these are possible."""
    found = possible = 0
    for seed in range(seeds(150)):
        history = serial_history(seed, mix, 40)
        if not mutate(random.Random(seed), history):
            continue
        wrong = bool(exact.check(history))
        assert bool(checker.check(history)) == wrong, (mix, seed)
        if mix not in ("moves", "collections"):
            assert bool(graph.check(history)) == wrong, (mix, seed)
        found, possible = found + wrong, possible + (not wrong)
    assert found > seeds(50) and possible > 0, (found, possible)


def swapped(history, rng):
    """Moves one transaction's interval to after everything that is open with it: real time alone is wrong then."""
    t = rng.choice([t for t in history if t.type == "ok"])
    t.start, t.end, t.client = t.end + 200, t.end + 210, "late"


@pytest.mark.parametrize("mix", MIXES)
def test_graph_and_search_agree_on_wrong_times(mix):
    found = 0
    for seed in range(seeds(100)):
        history = serial_history(seed, mix, 60)
        swapped(history, random.Random(seed))
        wrong = bool(exact.check(history))
        assert bool(checker.check(history)) == wrong, (mix, seed)
        found += wrong
    assert found > seeds(30), found


def test_thousands_of_transactions():
    for mix in ("lists", "registers"):
        history = serial_history(1, mix, seeds(10_000), clients=16)
        assert graph.check(history) == []


# --- against all orders that there are -------------------------------------------------------------------


def explained_by_some_order(history):
    """The definition itself, for a handful of transactions: an order, a subset of those whose fate is unknown."""
    took = [t for t in history if t.type == "ok"]
    unknown = [t for t in history if t.type == "info"]
    for n in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, n):
            if any(map(explains, itertools.permutations(took + list(some)))):
                return True
    return False


def explains(order):
    for i, a in enumerate(order):
        for b in order[i + 1:]:
            if b.end < a.start:
                return False
            if a.client == b.client and b.index < a.index and a.named() & b.named():
                return False
    space = Serial()
    for t in order:
        for f, key, value in t.ops:
            got = space.do(f, key, value)
            if t.type == "ok" and got is not None and got != [f, key, value]:
                return False
    return True


@pytest.mark.parametrize("mix", MIXES)
def test_all_orders_agree(mix):
    found = {True: 0, False: 0}
    for seed in range(seeds(400)):
        rng = random.Random(seed)
        history = serial_history(seed, mix, 5, clients=3, lost=0.15)
        for t in history:
            if t.type == "ok" and rng.random() < 0.3:
                t.end = t.start + rng.randrange(20)
        for _ in range(4 if mix == "collections" else 2):  # more of its replies are nothing
            mutate(rng, history)
        possible = explained_by_some_order(history)
        told = "\n".join(map(str, history))
        assert (exact.check(history) == []) == possible, told
        assert (checker.check(history) == []) == possible, told
        found[possible] += 1
    assert min(found.values()) > seeds(36), found


def test_the_check_of_files(tmp_path, capsys):
    good = serial_history(1, "both", 50)
    (tmp_path / "below").mkdir()
    write(tmp_path / "a.jsonl", good)
    write(tmp_path / "below" / "b.jsonl", good)
    assert check_files.main([str(tmp_path)]) == 0
    assert "2 histories, 100 transactions: 0 impossible, 0 undecided" in capsys.readouterr().out
    write(tmp_path / "below" / "c.jsonl", IMPOSSIBLE[0][2])
    assert check_files.main([str(tmp_path)]) == 1
    assert "below/c.jsonl: G0" in capsys.readouterr().out
    (tmp_path / "d.jsonl").write_text("no history")
    assert check_files.main([str(tmp_path / "d.jsonl")]) == 1
    assert check_files.main([str(tmp_path / "nothing.jsonl")]) == 1
