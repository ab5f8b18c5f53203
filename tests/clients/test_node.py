"""ioredis and node-redis: the suites in node/, one server for each."""

import os
import shutil
import subprocess

import pytest

from harness import Server

NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("suite", ["ioredis.test.js", "node_redis.test.js"])
def test_suite(suite, shards):
    assert shutil.which("node"), "node is missing: tools/test installs it"
    assert os.path.isdir(os.path.join(NODE, "node_modules")), "run `npm ci` in tests/clients/node"
    with Server("anax", shards=shards) as server:
        done = subprocess.run(["node", suite], cwd=NODE, capture_output=True, text=True, timeout=600,
                              env=dict(os.environ, ANAX_PORT=str(server.port)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert " passed, 0 failed" in done.stdout
