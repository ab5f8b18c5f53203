"""The checker against histories that are known to be possible or not, by hand and at random."""

import itertools
import random

import pytest

import check_files
import checker
import exact
import graph
from history import NEVER, Malformed, Tx, number, read, write


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
    tx(0, 0, 1, (R, "x", None)), tx(0, 0, 1, (W, "x", 1), type="maybe"), tx(0, 0, 1, ("del", "x", None))], ids=str)
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
        return [f, key, value]


def some_op(rng, mix, n):
    lists, registers = ["l%d" % i for i in range(3)], ["r%d" % i for i in range(3)]
    f = rng.choice(mix)
    if f in (A, R):
        return (f, rng.choice(lists), n)
    if f in ("rename", "copyr"):
        a, b = rng.sample(rng.choice([lists, registers]), 2)
        return (f, a, [b, None])
    if f == "incrby":
        return (f, "n%d" % rng.randrange(2), [rng.randrange(-3, 4), None])
    if f == "msetnx":
        return (f, rng.sample(registers, 2), [[n, n], None])
    return (f, rng.choice(registers), n)


MIXES = {"lists": [A, R], "registers": [W, RR], "both": [A, R, W, RR],
         "moves": [A, R, W, RR, RR, R, "rename", "copyr", "del", "incrby", "msetnx"]}


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
    if f in (R, RR, "del"):
        return [f, key, None]
    return [f, key, [value[0], None]] if isinstance(value, list) else op


@pytest.mark.parametrize("mix", MIXES)
def test_what_a_serial_keyspace_answers_is_possible(mix):
    for seed in range(60):
        assert checker.check(serial_history(seed, mix, 200)) == [], (mix, seed)
        assert exact.check(serial_history(seed, mix, 50)) == [], (mix, seed)


def mutate(rng, history):
    """Changes one reply into one that may still be possible: to what it was before or is after. Says whether it did."""
    reads = [(t, op) for t in history if t.type == "ok" for op in t.ops if op[0] in (R, RR, "incrby", "rename", "del")]
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
    for seed in range(150):
        history = serial_history(seed, mix, 40)
        if not mutate(random.Random(seed), history):
            continue
        wrong = bool(exact.check(history))
        assert bool(checker.check(history)) == wrong, (mix, seed)
        if mix != "moves":
            assert bool(graph.check(history)) == wrong, (mix, seed)
        found, possible = found + wrong, possible + (not wrong)
    assert found > 50 and possible > 0, (found, possible)


def swapped(history, rng):
    """Moves one transaction's interval to after everything that is open with it: real time alone is wrong then."""
    t = rng.choice([t for t in history if t.type == "ok"])
    t.start, t.end, t.client = t.end + 200, t.end + 210, "late"


@pytest.mark.parametrize("mix", MIXES)
def test_graph_and_search_agree_on_wrong_times(mix):
    found = 0
    for seed in range(100):
        history = serial_history(seed, mix, 60)
        swapped(history, random.Random(seed))
        wrong = bool(exact.check(history))
        assert bool(checker.check(history)) == wrong, (mix, seed)
        found += wrong
    assert found > 30, found


def test_twenty_thousand_transactions():
    for mix in ("lists", "registers"):
        history = serial_history(1, mix, 20000, clients=16)
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
            if a.client == b.client and b.index < a.index and a.keys() & b.keys():
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
    for seed in range(400):
        rng = random.Random(seed)
        history = serial_history(seed, mix, 5, clients=3, lost=0.15)
        for t in history:
            if t.type == "ok" and rng.random() < 0.3:
                t.end = t.start + rng.randrange(20)
        for _ in range(2):
            mutate(rng, history)
        possible = explained_by_some_order(history)
        told = "\n".join(map(str, history))
        assert (exact.check(history) == []) == possible, told
        assert (checker.check(history) == []) == possible, told
        found[possible] += 1
    assert min(found.values()) > 40, found


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
