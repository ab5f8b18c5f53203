"""checker.py: is this history possible under strict serializability?

    python3 checker.py FILE...      prints what is wrong; exit 1 when something is, 2 when it cannot be decided
"""

import sys

import exact
import graph
from history import GRAPH_OPS, LIST_OPS, REGISTER_OPS, WHOLE_OPS, Tx, keys_of, read

SECOND_OPINION_MAX = 2000  # transactions; registers whose order the graph cannot know for certain
SECOND_OPINION_BUDGET = 50_000


def graph_part(txs):
    """What the graph can judge: only the keys that nothing but append and r, or nothing but w and rr, touches."""
    kinds, written = {}, set()
    for tx in txs:
        for f, key, value in tx.ops:
            if f in WHOLE_OPS - {"dbsize", "keys"}:
                return []
            kind = "list" if f in LIST_OPS else "register" if f in REGISTER_OPS else "moved"
            if f == "w" and (key, value) in written:
                kind = "moved"
            written.add((key, value) if f == "w" else None)
            for name in keys_of((f, key, value)):
                kinds[name] = kind if kinds.get(name, kind) == kind else "moved"
    out = []
    for tx in txs:
        ops = [op for op in tx.ops if op[0] in GRAPH_OPS and kinds[op[1]] != "moved"]
        part = Tx(tx.client, tx.start, tx.end, tx.type, ops, tx.index)
        out.append(part)
    return out


def check(txs, budget=exact.BUDGET):
    """Violations of a history from history.read() or history.number(). Raises exact.Undecided."""
    part = graph_part(txs)
    analysis = graph.Analysis(part)
    found = analysis.run() if part else []
    if found:
        return found
    before = analysis.before()
    if not part or any(len(p.ops) != len(tx.ops) for p, tx in zip(part, txs)):
        return [graph.Violation("impossible", text) for text in exact.check(txs, budget, before)]
    if len(txs) <= SECOND_OPINION_MAX and any(op[0] in REGISTER_OPS for tx in txs for op in tx.ops):
        try:
            return [graph.Violation("impossible", text) for text in exact.check(txs, SECOND_OPINION_BUDGET, before)]
        except exact.Undecided:
            pass  # the graph has found nothing, which is all that can be said at this price
    return []


def main(paths):
    status = 0
    for path in paths:
        try:
            found = check(read(path))
        except exact.Undecided as e:
            print("%s: undecided: %s" % (path, e))
            status = status or 2
            continue
        for violation in found:
            print("%s: %s" % (path, violation))
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
