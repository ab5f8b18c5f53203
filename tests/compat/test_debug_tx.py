"""DEBUG TX and what INFO says of transactions: shapes, counters, and who waits for whom while many clients want the
same keys. No other server has them, so they are compared with what was sent."""

import contextlib
import threading

import pytest

from harness import Closed, Error, Map, Server, wait_until

OPTIONS = {"enable-debug-command": "yes"}
TOTALS = ["total-started", "total-claims", "total-waited", "total-overtook", "total-asked", "total-yielded",
          "total-steps-waited"]
SHARD_FIELDS = ["shard", "claims", "waiting", "from-here"] + TOTALS
CLAIM_FIELDS = ["id", "kind", "state", "shared-keys", "exclusive-keys", "whole", "waits-for"]
INFO_FIELDS = ["claims", "claims_waiting", "transactions_started", "transactions_yielded", "steps_waited"]
MANY = ["k%d" % i for i in range(40)]  # on all shards


@pytest.fixture(scope="module", params=[1, 2, 3, 8])
def server(request):
    with Server("anax", shards=request.param, options=OPTIONS) as s:
        yield s


def as_dict(reply, fields):
    """A map of RESP2 or RESP3."""
    pairs = reply if isinstance(reply, Map) else list(zip(reply[::2], reply[1::2]))
    assert [k.decode() for k, _ in pairs] == fields, reply
    return {k.decode(): v for k, v in pairs}


def debug_tx(c):
    shards = [as_dict(s, SHARD_FIELDS) for s in c.cmd("DEBUG", "TX")]
    for i, shard in enumerate(shards):
        assert shard["shard"] == i
        shard["claims"] = [as_dict(claim, CLAIM_FIELDS) for claim in shard["claims"]]
        assert all(isinstance(v, int) for k, v in shard.items() if k != "claims")
    return shards


def info_shards(c):
    lines = [line.split(":")[1] for line in c.cmd("INFO", "shards").decode().split() if line.startswith("shard")]
    return [{k: int(v) for k, v in (p.split("=") for p in line.split(","))} for line in lines]


def total(shards, field):
    return sum(s[field] for s in shards)


@pytest.mark.parametrize("proto", [2, 3])
def test_shape_of_a_server_at_rest(server, proto):
    with server.connect() as c:
        c.cmd("HELLO", str(proto))
        reply = c.cmd("DEBUG", "TX")
        assert len(reply) == server.shards and all(isinstance(s, Map) == (proto == 3) for s in reply)
        assert all(s["claims"] == [] and s["waiting"] == 0 for s in debug_tx(c)), "the question itself is not shown"
        assert all(s["claims"] == s["claims_waiting"] == 0 for s in info_shards(c))


def test_counts_what_was_sent(server):
    with server.connect() as c:
        c.ok("CONFIG", "RESETSTAT")
        before = debug_tx(c)
        assert total(before, "total-waited") == total(before, "total-yielded") == 0
        for _ in range(5):
            c.ok("MSET", *[word for key in MANY for word in (key, "v")])
        after = debug_tx(c)
        if server.shards == 1:
            return
        started = total(after, "total-started") - total(before, "total-started")
        claims = [a["total-claims"] - b["total-claims"] for a, b in zip(after, before)]
        assert started >= 5 and all(n == 0 or n >= 5 for n in claims), claims  # a shard may have none of the keys
        assert sum(n >= 5 for n in claims) > 1
        assert sum(s["transactions_started"] for s in info_shards(c)) >= started
        c.ok("CONFIG", "RESETSTAT")
        assert total(debug_tx(c), "total-started") < 5


def hammer(server, stop, call):
    with server.connect() as c, contextlib.suppress(Closed):
        while not stop.is_set():
            for reply in c.pipeline(call):
                assert not isinstance(reply.value, Error), reply


def test_tells_who_waits_for_whom():
    """Clients of all shards write the same keys; single steps on one of them wait in between."""
    seen = set()
    with Server("anax", shards=3, options=OPTIONS) as server:
        stop = threading.Event()
        mset = ["MSET"] + [word for key in MANY for word in (key, "v")]
        calls = [[mset] * 4] * 6 + [[["SET", "k0", "v"]] * 8] * 2 + [[["DBSIZE"], ["FLUSHALL"]]]
        threads = [threading.Thread(target=hammer, args=(server, stop, call)) for call in calls]
        for t in threads:
            t.start()
        with server.connect() as c:

            def all_seen():
                for shard in debug_tx(c):
                    ids = [claim["id"] for claim in shard["claims"]]
                    assert len(set(ids)) == len(ids), "an id is there twice"
                    order = [tuple(map(int, i.split(b"."))) for i in ids]
                    assert order == sorted(order) and all(home < 3 for _, home in order)
                    for claim in shard["claims"]:
                        check_claim(claim, ids)
                        seen.add((claim["kind"], claim["state"], claim["whole"]))
                return {(b"transaction", b"granted", b"none"), (b"transaction", b"waiting", b"none"),
                        (b"step", b"waiting", b"none"), (b"transaction", b"waiting", b"exclusive")} <= seen

            try:
                wait_until(all_seen, "claims of each kind; seen: %s" % seen)
            finally:
                stop.set()
                for t in threads:
                    t.join()
            at_rest = debug_tx(c)
            assert all(s["claims"] == [] for s in at_rest)
            assert total(at_rest, "total-waited") > 0 and total(at_rest, "total-steps-waited") > 0
            lines = info_shards(c)
            assert all(list(line)[-len(INFO_FIELDS):] == INFO_FIELDS for line in lines)
            assert [s["steps_waited"] for s in lines] == [s["total-steps-waited"] for s in at_rest]


def check_claim(claim, ids):
    assert claim["kind"] in (b"transaction", b"step") and claim["whole"] in (b"none", b"shared", b"exclusive")
    assert claim["shared-keys"] + claim["exclusive-keys"] > 0 or claim["whole"] != b"none"
    if claim["state"] == b"waiting":
        assert claim["waits-for"] is None or (claim["waits-for"] in ids and claim["waits-for"] != claim["id"])
    else:
        assert claim["state"] in (b"granted", b"asked") and claim["waits-for"] is None


def test_refused_without_permission():
    with Server("anax", shards=2) as server, server.connect() as c:
        assert c.cmd("DEBUG", "TX").startswith(b"ERR DEBUG command not allowed")


def test_arity(server):
    with server.connect() as c:
        assert c.cmd("DEBUG", "TX", "x") == b"ERR wrong number of arguments for 'debug|tx' command"
        helped = b"\n".join(c.cmd("DEBUG", "HELP"))
        assert b"TX" in helped
