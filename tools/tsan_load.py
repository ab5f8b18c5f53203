#!/usr/bin/python3
"""tsan_load.py: a short, checked load on a server built with ThreadSanitizer ($ANAX_BIN), on both backends,
with borrowing on and off; a report in its log is a failure. Called by .ci/run."""

import os
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "clients")]

import load
from harness import Closed, Server

RUN_S = 6


def whole_server_commands(server, stop):
    """Commands that visit every shard, beside the load."""
    try:
        with server.connect() as c:
            while time.monotonic() < stop:
                for call in (["DBSIZE"], ["INFO"], ["SCAN", "0"], ["RANDOMKEY"], ["CLIENT", "LIST"],
                             ["CONFIG", "SET", "timeout", "0"], ["KEYS", "load:1:1:*"]):
                    c.cmd(*call)
                time.sleep(0.02)
    except (Closed, OSError):
        pass


def main():
    bad = 0
    for io in ("uring", "epoll"):
        for borrow in (True, False):
            server = Server("anax", shards=4, io=io, borrow=borrow)
            beside = threading.Thread(target=whole_server_commands, args=(server, time.monotonic() + RUN_S))
            beside.start()
            wrong = []
            for seed, shape in enumerate((dict(clients=20, requests=4000, pipeline=1), dict(clients=8, requests=20000, pipeline=50),
                          dict(clients=1, requests=500), dict(clients=20, requests=4000, ttl=(1, 2), pipeline=4))):
                stats = load.run(server.address, ratio=(1, 1), seed=seed, **shape)
                if stats["wrong"]:
                    wrong.append(stats)
            beside.join()
            log_before_stop = server.log()
            try:
                server.stop()
                text = log_before_stop
            except AssertionError as e:
                text = str(e)
                bad += 1
            if wrong or "WARNING: ThreadSanitizer" in text:
                bad += 1
            print("%s, borrowing %s: %s" % (io, "on" if borrow else "off", "wrong: %s" % wrong if wrong else
                                            text[-6000:] if "ThreadSanitizer" in text else "clean"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
