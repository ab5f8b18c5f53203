"""run.py: random clients against servers, for as long as asked; every history is checked.

    python3 tests/consistency/run.py [--seconds N] [--shards 1,2,3,8] [--io uring,epoll] [--workloads mix,moves,bank,...]
                                     [--seed N] [--scale X] [--keep DIR] [--binary ANAX]

--scale makes each history longer. An impossible history stays in DIR (default: /tmp) as a file for check_files.py.
Clients on real threads do not repeat themselves: a seed gives the same scripts, not the same interleaving.
Exit 1 when anything was found.
"""

import argparse
import collections
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import checker  # noqa: E402
import coll_workload  # noqa: E402
import exact  # noqa: E402
import graph  # noqa: E402
import harness  # noqa: E402
import history as histories  # noqa: E402
import workload as w  # noqa: E402

BUDGET = 300_000  # of the search; what it cannot decide with it is recorded anew
TRIES = 3
# From so many elements on, commands on a collection are done beside the shard, which keeps the keys locked; by seed and shards.
LONG_ELEMENTS = [2048, 1, 20]

# name: (class, connections of each of the two processes, flights of each connection)
WORKLOADS = {
    "mix": (w.Mix, 6, 300),
    "moves": (w.Moves, 3, 250),
    "bank": (w.Bank, 4, 250),
    "collections": (coll_workload.Collections, 3, 250),
    "carry": (coll_workload.Carry, 4, 250),
}


def start(shards, io):
    return harness.Server("anax", shards=shards, io=io, options={"enable-debug-command": "local"})


def record(server, workload, seed, scale, deadline_s):
    """A history from an empty keyspace, by the workload's clients."""
    kind, connections, flights = WORKLOADS[workload]
    with server.connect() as c:
        c.ok("FLUSHALL")
        if server.is_anax:
            c.ok("DEBUG", "LONG-ELEMENTS", LONG_ELEMENTS[(seed + server.shards) % len(LONG_ELEMENTS)])
    scripts = w.scripts_of(kind, connections, max(1, int(flights * scale)))
    before = kind.opening() if hasattr(kind, "opening") else []
    return w.play(server, scripts, seed, before=before, after=kind(None, None).all(), deadline_s=deadline_s)


def judge(workload, history):
    """Violations of a history that the workload made. Raises exact.Undecided."""
    found = checker.check(history, BUDGET)
    kind = WORKLOADS[workload][0]
    if hasattr(kind, "sums"):
        wrong, count = kind.sums(history)
        found += [graph.Violation(workload, text) for text in wrong]
        if not count:
            found.append(graph.Violation(workload, "nobody has seen all there is"))
    return found


def tally(history, counts):
    """Counts by type; `together`: those that began while another of their own was not over yet, or one of others."""
    latest = -1
    for tx in history:
        counts[tx.type] = counts.get(tx.type, 0) + 1
        counts["together"] = counts.get("together", 0) + (tx.start < latest)
        if tx.end != histories.NEVER:
            latest = max(latest, tx.end)


def one_round(server, workload, seed, counts, scale=1.0, keep=None, deadline_s=harness.DEADLINE_S):
    """Records and judges one history, another one when it cannot be decided; returns what is wrong with it."""
    for left in reversed(range(TRIES)):
        found = []
        try:
            history = record(server, workload, seed, scale, deadline_s)
        except w.Unexpected as e:
            history = e.history
            found.append(graph.Violation("unexpected", str(e)))
        try:
            found = judge(workload, history) + found
        except exact.Undecided as e:
            counts["undecided"] = counts.get("undecided", 0) + 1
            if left:
                continue
            found.append(graph.Violation("undecided", str(e)))
        break
    tally(history, counts)
    if found and keep:
        path = os.path.join(keep, "history-%s-%d-shards-seed-%d.jsonl" % (workload, server.shards, seed))
        histories.write(path, history)
        print("%s: %d transactions" % (path, len(history)))
    return found


def main(argv):
    parser = argparse.ArgumentParser(description="Random clients against servers; every history is checked.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", default="1,2,3,8")
    parser.add_argument("--io", default="uring,epoll")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--keep", default="/tmp")
    parser.add_argument("--binary")
    args = parser.parse_args(argv)
    if args.binary:
        harness.ANAX = args.binary
        harness.ANAX_IS_REDIS = "redis" in os.path.basename(args.binary)
    end, seed, bad = time.monotonic() + args.seconds, args.seed, 0
    while time.monotonic() < end or seed == args.seed:
        for shards in map(int, args.shards.split(",")):
            for io in args.io.split(","):
                bad += one_server(args, shards, io, seed)
        seed += 1
    print("%d seeds, %d impossible histories" % (seed - args.seed, bad))
    return 1 if bad else 0


def one_server(args, shards, io, seed):
    bad, counts = 0, collections.Counter()
    with start(shards, io) as server:
        for workload in args.workloads.split(","):
            found = one_round(server, workload, seed, counts, args.scale, args.keep)
            bad += bool(found)
            for violation in found[:3]:
                print("%d shards, %s, %s, seed %d: %s" % (shards, io, workload, seed, violation), flush=True)
    print("%d shards, %s, seed %d: %s" % (shards, io, seed, dict(counts)), flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
