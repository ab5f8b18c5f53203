"""Makes harness.py importable from every suite; and a test that fails leaves no server behind for the next ones to fail on."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402

failed = False


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
