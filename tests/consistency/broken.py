"""broken.py: can the suite fail? Builds servers that are wrong on purpose and shows that each is caught.

    python3 tests/consistency/broken.py [--rounds N] [--build DIR] [--io epoll] [--shards 2,3,8] [--workloads mix,...]

grant     -DANAX_TX_BREAK_GRANT: a transaction runs before all shards have granted its locks
release   -DANAX_TX_BREAK_RELEASE: it lets go of them one hop early
right     the same build without either: nothing may be found in as many rounds as the longest of the others took,
          and in at least --least

Builds go to DIR/broken-grant and so on (default: build/). Exit 0 when both are caught and the right one is not.
"""

import argparse
import collections
import os
import shutil
import subprocess
import sys

import run  # first: it makes harness importable
import harness

DEADLINE_S = 5  # a server that is wrong on purpose may well stop to answer
FLAGS = {"grant": "-DANAX_TX_BREAK_GRANT", "release": "-DANAX_TX_BREAK_RELEASE", "right": ""}


def build(name, root, jobs):
    where = os.path.join(root, "broken-" + name)
    configure = ["cmake", "--preset", "dev", "-B", where, "-DCMAKE_C_FLAGS=" + FLAGS[name]]
    if shutil.which("ccache"):
        configure.append("-DCMAKE_C_COMPILER_LAUNCHER=ccache")
    subprocess.run(configure, cwd=harness.ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", where, "-j%d" % jobs, "anax"], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(where, "anax")


def one_round(shards, io, task, seed, counts):
    """What is wrong with one history."""
    server = run.start(shards, io)
    found = True
    try:
        found = run.one_round(server, task, seed, counts, deadline_s=DEADLINE_S)
    finally:
        server.kill() if found else server.stop()
    return found


def hunt(name, binary, args, rounds):
    """The round in which something was found, or None."""
    harness.ANAX, harness.ANAX_IS_REDIS = binary, False
    kinds = [(s, io, task) for s in map(int, args.shards.split(",")) for io in args.io.split(",") for task in args.workloads.split(",")]
    counts = collections.Counter()
    for n in range(1, rounds + 1):
        shards, io, task = kinds[(n - 1) % len(kinds)]
        found = one_round(shards, io, task, n, counts)
        for violation in found[:1]:
            print("%s: round %d, %s over %d shards, %s: %s" % (name, n, task, shards, io, violation), flush=True)
        if any(v.kind not in ("unexpected", "undecided") for v in found) or found and name == "right":
            return n
    print("%s: nothing found in %d rounds, %s" % (name, rounds, dict(counts)), flush=True)
    return None


def main(argv):
    parser = argparse.ArgumentParser(description="Shows that the suite catches servers that are wrong on purpose.")
    parser.add_argument("--rounds", type=int, default=60, help="to give up after")
    parser.add_argument("--least", type=int, default=18, help="rounds of the right build")
    parser.add_argument("--build", default=os.path.join(harness.ROOT, "build"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shards", default="2,3,8")
    parser.add_argument("--io", default="uring,epoll")
    parser.add_argument("--workloads", default=",".join(run.WORKLOADS))
    args = parser.parse_args(argv)
    took = {name: hunt(name, build(name, args.build, args.jobs), args, args.rounds) for name in ("grant", "release")}
    least = max([args.least] + [n for n in took.values() if n])
    right = hunt("right", build("right", args.build, args.jobs), args, least)
    return 0 if all(took.values()) and right is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
