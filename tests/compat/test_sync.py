"""SYNC and PSYNC: there is no replication yet, and who asks for a file by it is told so."""

import subprocess

from harness import ANAX_IS_REDIS

TOLD = b"ERR there is no replication yet, so no full sync to have a file from: BGSAVE writes one"


def test_both_say_so(anax2):
    if not ANAX_IS_REDIS:
        assert anax2.cmd("SYNC") == anax2.cmd("PSYNC", "?", "-1") == TOLD
    assert anax2.cmd("PSYNC").startswith(b"ERR wrong number of arguments")


def test_redis_cli_shows_it(anax2, tmp_path):
    if not ANAX_IS_REDIS:
        run = subprocess.run(["redis-cli", "-p", str(anax2.port), "--rdb", str(tmp_path / "file")], capture_output=True,
                             timeout=60)
        assert run.returncode != 0 and TOLD in run.stdout + run.stderr
