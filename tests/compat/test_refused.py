"""What differences.py says that is refused is refused, one less is not, and Redis's own bound has the same text."""

import pytest

from differences import REFUSED
from harness import Error


@pytest.mark.parametrize("setup,call", REFUSED)
def test_refused(anax, redis, setup, call):
    words, end = call.split(), "-9223372036854775808"
    with anax.connect() as a, redis.connect() as b:
        for c in (a, b):
            c.cmd("FLUSHALL")
            assert c.cmd(*setup.split()) == 1
        refused = a.cmd(*words)
        assert isinstance(refused, Error) and refused.startswith(b"ERR value is out of range")
        assert a.cmd(*words[:2], end) == b.cmd(*words[:2], end)
        assert len(a.cmd(*words[:2], "-1000")) == len(b.cmd(*words[:2], "-1000")) == 1000
