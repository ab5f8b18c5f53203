"""check_files.py: checks histories that are in files, such as those of the simulator.

    python3 tests/consistency/check_files.py [--jobs N] [--shown N] DIR or FILE ...

Of a directory every *.jsonl in it and below. Exit 1 when a history is impossible or no history at all, 2 when one
cannot be decided, 0 when all are possible.
"""

import argparse
import concurrent.futures
import os
import sys

import checker
import exact
import history

JOBS = 2


def judge(path):
    """(path, transactions, what is wrong as texts, was it decided)"""
    try:
        txs = history.read(path)
        return path, len(txs), [str(v) for v in checker.check(txs)], True
    except exact.Undecided as e:
        return path, len(txs), [str(e)], False
    except (history.Malformed, OSError) as e:
        return path, 0, ["malformed: %s" % e], True


def files_of(paths):
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        for folder, _, names in sorted(os.walk(path)):
            yield from sorted(os.path.join(folder, n) for n in names if n.endswith(".jsonl"))


def judge_all(paths, jobs=JOBS):
    if jobs < 2 or len(paths) < 2:
        yield from map(judge, paths)
        return
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(judge, paths, chunksize=max(1, min(16, len(paths) // (4 * jobs))))


def main(argv):
    parser = argparse.ArgumentParser(description="Checks histories that are in files.")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--shown", type=int, default=3, help="violations to print of each file")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args(argv)
    paths = list(files_of(args.paths))
    count = impossible = undecided = 0
    for path, n, found, decided in judge_all(paths, args.jobs):
        count += n
        impossible += decided and bool(found)
        undecided += not decided
        for text in found[:args.shown]:
            print("%s: %s" % (path, text), flush=True)
    print("%d histories, %d transactions: %d impossible, %d undecided" % (len(paths), count, impossible, undecided))
    return 1 if impossible or not paths else 2 if undecided else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
