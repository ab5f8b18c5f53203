"""Makes harness.py importable from every suite; a test that fails leaves no server behind for the next ones to fail on; and a
slow build takes each test to one kind of server."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402

failed = False

# Parameters that say what kind of server a test gets.
KINDS = {"anax", "fresh", "io", "ours", "pair", "running", "server", "shards", "victim"}


def pytest_collection_modifyitems(items):
    """A slow build (tools/nightly apart) runs a test on one of the kinds of server that it is written for, the next test on the next
    one: a fault that only the sanitizers see is seldom one of a number of shards, and the fast build runs all. EVERY_KIND in a
    module says that its tests need them all."""
    if not harness.SLOW or os.environ.get("ANAX_TEST_ALL") == "1":
        return
    alike = {}
    for item in items:
        if hasattr(item, "callspec") and not hasattr(item.module, "EVERY_KIND"):
            params = item.callspec.params
            others = [(name, repr(value)) for name, value in sorted(params.items()) if name not in KINDS]
            alike.setdefault((item.nodeid.split("[")[0], *others), []).append(item)
    left_out = set()
    for i, group in enumerate(alike.values()):
        ours = [item for item in group if "redis" not in item.callspec.id] or group
        left_out |= set(group) - {ours[i % len(ours)]}
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """A failure tells the logs of servers that have died."""
    global failed
    report = (yield).get_result()
    if report.failed:
        failed = True
        for server in harness.running:
            if not server.alive():
                report.sections.append(("log of " + " ".join(server.args), server.log()[-8000:]))


def pytest_runtest_logfinish():
    """What a failed test shared with the others may be paused, full or dead: they get it fresh."""
    global failed
    if failed:
        failed = False
        for server in list(harness.running):
            try:
                server.restart()
            except (RuntimeError, AssertionError) as e:
                print("does not start again:", e)
                server.kill()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    for server in list(harness.running):
        server.kill()
