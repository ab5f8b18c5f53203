"""INFO beside redis-server 7.0: sections, fields and their formats, counts that must agree, sums over shards."""

import random
import re
import socket
import time

import pytest

from harness import SLOW, Server, encode, wait_until

NOT_HERE = "there is no such thing here: "
# Fields of Redis 7.0 that INFO leaves out, each with its reason.
ABSENT = {
    "server": {
        "redis_git_sha1": "describes Redis's own build", "redis_git_dirty": "describes Redis's own build",
        "redis_build_id": "describes Redis's own build",
        "io_threads_active": NOT_HERE + "I/O threads; `shards` says how many threads serve",
    },
    "clients": {
        "cluster_connections": NOT_HERE + "a cluster", "tracking_clients": NOT_HERE + "tracking",
        "clients_in_timeout_table": NOT_HERE + "commands that block",
    },
    "stats": {
        "total_net_repl_input_bytes": NOT_HERE + "replication", "total_net_repl_output_bytes": NOT_HERE + "replication",
        "instantaneous_input_repl_kbps": NOT_HERE + "replication",
        "instantaneous_output_repl_kbps": NOT_HERE + "replication",
        "sync_full": NOT_HERE + "replication", "sync_partial_ok": NOT_HERE + "replication",
        "sync_partial_err": NOT_HERE + "replication",
        "expired_stale_perc": "expiry does not sample",
        "pubsub_channels": NOT_HERE + "publishing", "pubsub_patterns": NOT_HERE + "publishing",
        "pubsubshard_channels": NOT_HERE + "publishing",
        "latest_fork_usec": NOT_HERE + "forks", "total_forks": NOT_HERE + "forks",
        "migrate_cached_sockets": NOT_HERE + "a cluster", "slave_expires_tracked_keys": NOT_HERE + "replication",
        "tracking_total_keys": NOT_HERE + "tracking", "tracking_total_items": NOT_HERE + "tracking",
        "tracking_total_prefixes": NOT_HERE + "tracking", "unexpected_error_replies": NOT_HERE + "replication",
        "dump_payload_sanitizations": "every payload is looked at",
        "io_threaded_reads_processed": NOT_HERE + "I/O threads",
        "io_threaded_writes_processed": NOT_HERE + "I/O threads",
        "reply_buffer_shrinks": "replies are kept otherwise", "reply_buffer_expands": "replies are kept otherwise",
    },
    "replication": {"repl_backlog_size": "there is no backlog yet"},
}
# What only newer servers than 7.0 tell, or only this one.
OURS = {
    "server": {"server_name", "anax_version", "listener0", "shards"},
    "clients": {"watching_clients", "total_watched_keys"},
    "memory": {"used_memory_peak_time"},
    "stats": {"expired_subkeys", "client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections",
              "eventloop_cycles", "eventloop_duration_sum", "eventloop_duration_cmd_sum",
              "instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_duration_usec",
              "acl_access_denied_auth", "active_defrag_cpu_milliseconds", "protocol_errors", "monitor_lines_lost",
              "shard_messages", "shard_borrows", "shard_doorbells"},
}
SECTIONS_DEFAULT = ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules",
                    "Errorstats", "Cluster", "Keyspace", "Keysizes"]
SECTIONS_ALL = SECTIONS_DEFAULT[:8] + ["Commandstats", "Errorstats", "Latencystats"] + SECTIONS_DEFAULT[9:] + ["Shards"]


@pytest.fixture(params=[1, 2, 3, 8])
def fresh(request):
    with Server("anax", shards=request.param) as s:
        yield s


def sections(text):
    """INFO's text as {section: [(field, value)]}, in its order; its form is checked on the way."""
    out = {}
    text = text.decode()
    assert text == "" or text.endswith("\r\n"), text[-80:]
    lines = text.split("\r\n")[:-1]
    for i, line in enumerate(lines):
        assert "\n" not in line and "\r" not in line
        if line.startswith("# "):
            assert i == 0 or lines[i - 1] == "", line
            name = line[2:]
            assert name not in out, name
            out[name] = []
        elif line == "":
            assert i + 1 < len(lines) and lines[i + 1].startswith("# "), (i, lines[i : i + 2])
        else:
            field, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[a-z][-|a-zA-Z0-9_]*", field), line
            assert field not in dict(out[name]), field
            out[name].append((field, value))
    return out


def info(conn, *args):
    return sections(conn.cmd("INFO", *args))


def shape(value):
    """A regular expression for values of this form."""
    if re.fullmatch(r"-?\d+", value):
        return r"-?\d+"
    digits = re.fullmatch(r"-?\d+\.(\d+)([%BKMGT]?)", value)
    if digits:
        unit = {"": "", "%": "%"}.get(digits[2], "[KMGT]")
        return r"(-?\d+\.\d{%d}%s|\d+B)" % (len(digits[1]), unit)
    if re.fullmatch(r"\d+B", value):
        return r"(\d+B|\d+\.\d\d[KMGT])"
    if re.fullmatch(r"[0-9a-f]{40}", value):
        return r"[0-9a-f]{40}"
    return None


# --- sections ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args, titles", [
    ((), SECTIONS_DEFAULT), (("default",), SECTIONS_DEFAULT), (("all",), SECTIONS_ALL), (("everything",), SECTIONS_ALL),
    (("ALL", "everything", "default", "server"), SECTIONS_ALL), (("nosuch",), []), (("",), []),
    (("SeRvEr",), ["Server"]), (("shards",), ["Shards"]), (("keysizes",), ["Keysizes"]),
    (("memory", "nosuch", "clients", "memory"), ["Clients", "Memory"]),
    (("commandstats", "default"), SECTIONS_DEFAULT[:8] + ["Commandstats"] + SECTIONS_DEFAULT[8:]),
])
def test_sections_asked_for(anax2, redis, args, titles):
    with anax2.connect() as a, redis.connect() as r:
        got = list(info(a, *args))
        assert got == titles
        assert [t for t in got if t not in ("Keysizes", "Shards")] == list(info(r, *args)), "redis says otherwise"


def test_verbatim_in_resp3(anax2):
    with anax2.connect() as c:
        c.cmd("HELLO", "3")
        text = c.cmd("INFO", "server")
        assert text.startswith(b"txt:# Server\r\n")
        assert c.cmd("INFO", "nosuch") == b"txt:"


# --- fields --------------------------------------------------------------------------------------------

NAMED = ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "cluster"]


@pytest.mark.parametrize("section", NAMED)
def test_fields_are_redis_s(anax2, redis, section):
    """The same names in the same order, but for what the tables above say; and each in the same form."""
    with anax2.connect() as a, redis.connect() as r:
        ours, = info(a, section).values()
        theirs, = info(r, section).values()
    absent, added = ABSENT.get(section, {}), OURS.get(section, set())
    names = [f for f, _ in theirs]
    assert set(absent) <= set(names), "not Redis's: %s" % (set(absent) - set(names))
    if not anax2.is_anax:
        return
    assert [f for f, _ in ours if f not in added] == [f for f in names if f not in absent]
    assert {f for f, _ in ours} & added == added
    wanted = {f: shape(v) for f, v in theirs}
    for field, value in ours:
        if wanted.get(field):
            assert re.fullmatch(wanted[field], value), (field, value, dict(theirs)[field])


def test_values_that_are_known(anax2):
    with anax2.connect() as c:
        got = {f: v for s in info(c).values() for f, v in s}
        port = str(anax2.port)
        assert got["tcp_port"] == port and int(got["process_id"]) == anax2.process.pid
        assert got["role"] == "master" and got["redis_mode"] == "standalone" and got["cluster_enabled"] == "0"
        assert got["master_replid2"] == "0" * 40 and got["run_id"] != got["master_replid"]
        assert int(got["redis_version"].split(".")[0]) >= 7
        assert abs(int(got["server_time_usec"]) / 1e6 - time.time()) < 5
        assert got["maxmemory_policy"] == "noeviction"
        assert re.fullmatch(r"jemalloc-\d+\.\d+\.\d+" if not SLOW else "libc", got["mem_allocator"])
        assert int(got["used_memory_peak"]) >= int(got["used_memory"])
        if anax2.is_anax:
            assert got["listener0"] == "name=tcp,bind=127.0.0.1,port=" + port
            assert got["executable"].endswith("/anax") and got["config_file"] == "" and got["shards"] == "2"


def test_options_show(tmp_path):
    socket_path = str(tmp_path / "s")
    with Server("anax", config_text="maxmemory 3mb\nmaxclients 77\n", options={"unixsocket": socket_path}) as s:
        got = s.info()
        assert got["maxmemory"] == "3145728" and got["maxmemory_human"] == "3.00M" and got["maxclients"] == "77"
        assert got["config_file"] == s.config.name
        if s.is_anax:
            assert got["listener1"] == "name=unix,bind=" + socket_path


def test_run_ids_differ(anax2, pool):
    assert anax2.info()["run_id"] != pool.get("anax", 3).info()["run_id"]


# --- memory --------------------------------------------------------------------------------------------


def numbers(server, section):
    return {f: float(v) for f, v in server.info(section).items() if re.fullmatch(r"-?[0-9.]+", v)}


def test_memory_of_the_start(fresh):
    before = numbers(fresh, "memory")
    assert 0 < before["used_memory_startup"] <= before["used_memory"]
    with fresh.connect() as c:
        c.ok("SET", "k", "v" * (8 << 20))
        now = numbers(fresh, "memory")
    assert now["used_memory_startup"] == before["used_memory_startup"] < now["used_memory"] - (8 << 20)


def test_dataset_and_overhead(fresh):
    """Both together are all there is; the overhead grows by the table of the keys, the dataset by their entries."""

    def tables(memory):
        return memory["used_memory_overhead"] - memory["used_memory_startup"] - memory["mem_clients_normal"]

    with fresh.connect() as c:
        for key in "k", "key:%d":  # batches and buffers that are kept for the next come with the first pipelines
            before = numbers(fresh, "memory")
            for at in range(0, 30_000, 1000):
                c.pipeline([["SET", key.replace("%d", str(i)), "v" * 64] for i in range(at, at + 1000)])
            now = numbers(fresh, "memory")
        if not fresh.is_anax:
            return
        assert now["used_memory_dataset"] + now["used_memory_overhead"] == now["used_memory"]
        if not SLOW:  # 64 + up to 9 + 6 bytes, in a size class of 80 (connections are looked at once a second); buckets of 64 bytes for 9 keys
            assert 30_000 * 79 <= now["used_memory_dataset"] - before["used_memory_dataset"] < 30_000 * 90
            assert 30_000 * 6 <= tables(now) - tables(before) < 30_000 * 13 + fresh.shards * 65536  # a segment
        share = now["used_memory_dataset"] / (now["used_memory"] - now["used_memory_startup"]) * 100
        told = float(fresh.info("memory")["used_memory_dataset_perc"][:-1])
        assert abs(told - share) < 1
        c.ok("FLUSHALL")
        wait_until(lambda: numbers(fresh, "memory")["used_memory_dataset"] < before["used_memory_dataset"] + 200_000,
                   "data has gone")


def test_what_clients_take():
    """Half a command of 100 kB, and replies of 10 MB that are not read, on a dozen connections each."""
    with Server("anax", shards=3) as server:
        server.cmd("SET", "v", "v" * 10_000)
        waiting = [server.connect() for _ in range(12)]
        for c in waiting:
            c.send(b"*1000\r\n" + b"$1000\r\n%s\r\n" % (b"x" * 1000) * 100)
        late = [server.connect(rcvbuf_bytes=4096) for _ in range(12)]
        for c in late:
            c.send(encode(["GET", "v"]) * 1000)

        def seen():
            now, memory = numbers(server, "clients"), numbers(server, "memory")
            return (now["client_recent_max_input_buffer"] >= 100_000 and
                    now["client_recent_max_output_buffer"] >= 1_000_000 and
                    memory["mem_clients_normal"] >= 12 * 1_100_000)

        wait_until(seen, "it is told")
        for c in waiting + late:
            c.close()
        wait_until(lambda: numbers(server, "memory")["mem_clients_normal"] < 500_000, "it is given back")


def test_where_memory_goes(fresh):
    """From what was asked for to what the kernel counts, each step holds the one before and tells how much more."""
    before = numbers(fresh, "memory")
    with fresh.connect() as c:
        c.ok("SET", "k", "v" * (8 << 20))
    now = numbers(fresh, "memory")
    if not fresh.is_anax:  # Redis reads them at different moments
        return
    assert now["used_memory"] <= now["allocator_allocated"] <= now["allocator_active"] <= now["allocator_resident"]
    assert now["allocator_allocated"] >= before["allocator_allocated"] + (8 << 20)
    for name, more, less in (("allocator_frag", "allocator_active", "allocator_allocated"),
                             ("allocator_rss", "allocator_resident", "allocator_active"),
                             ("rss_overhead", "used_memory_rss", "allocator_resident"),
                             ("mem_fragmentation", "used_memory_rss", "used_memory")):
        assert now[name + "_bytes"] == now[more] - now[less], name
        assert abs(now[name + "_ratio"] - now[more] / now[less]) < 0.006, name


# --- counts --------------------------------------------------------------------------------------------

# Sent in order to a fresh server each; none of these depends on time.
STREAM = (
    [("SET", "k%d" % i, "v" * (i % 40)) for i in range(120)] + [("GET", "k%d" % i) for i in range(150)]
    + [("INCR", "k1"), ("INCR", "n"), ("INCR", "n"), ("NOSUCH",), ("GET",), ("SET", "a"), ("SET", "a", "b", "XX"),
       ("EXPIRE", "k2", "1000"), ("DEL", "k3"), ("MGET", "n"), ("OBJECT", "ENCODING", "n"),
       ("OBJECT", "NOSUCH", "n"), ("CONFIG", "SET", "timeout", "x"), ("SELECT", "99"), ("APPEND", "k5", "x"),
       ("SETRANGE", "k6", "100", "z"), ("AUTH", "a", "b"), ("AUTH", "b"), ("HELLO", "9"), ("GETRANGE", "k7", "0", "x")]
)


def stats(lines):
    """{name: {field: value}} of lines like cmdstat_get:calls=1,..."""
    return {f.split("_", 1)[1]: dict(p.split("=") for p in v.split(",")) for f, v in lines}


def test_command_and_error_counts_equal_redis_s(fresh):
    with Server("redis") as redis:
        seen = []
        for server in (fresh, redis):
            with server.connect() as c:
                c.ok("CONFIG", "RESETSTAT")
                for command in STREAM:
                    c.cmd(*command)
                everything = info(c, "everything")
            commands = {name: [int(s[f]) for f in ("calls", "rejected_calls", "failed_calls")]
                        for name, s in stats(everything["Commandstats"]).items()}
            # A server that asks itself whether it is up must not matter here.
            for own in ("ping", "config|resetstat", "info", "command|docs"):
                commands.pop(own, None)
            counts = dict(everything["Stats"])
            seen.append((commands, everything["Errorstats"], [counts[f] for f in (
                "total_error_replies", "keyspace_hits", "keyspace_misses", "expired_keys")],
                [line.split(",avg")[0] for _, line in everything["Keyspace"]]))
        ours, theirs = seen
        assert ours[0] == theirs[0]
        assert ours[1:] == theirs[1:]
        assert ours[0]["get"] == [150, 1, 0] and ("errorstat_NOPROTO", "count=1") in ours[1]


def test_refused_passwords_are_counted():
    with Server("anax", shards=2, options={"requirepass": "right"}) as server, server.connect() as c:
        for call in ("AUTH", "wrong"), ("AUTH", "default", ""), ("HELLO", "3", "AUTH", "default", "wrong"):
            assert c.cmd(*call).startswith(b"WRONGPASS")
        if server.is_anax:
            assert c.info()["acl_access_denied_auth"] == "3"
            c.ok("CONFIG", "RESETSTAT")
            assert c.info()["acl_access_denied_auth"] == "0"


def test_turns_are_counted(fresh):
    if not fresh.is_anax:
        return
    with fresh.connect() as c:
        before = numbers(fresh, "stats")
        c.pipeline([["SET", "k%d" % i, "v" * 100] for i in range(2000)])
        everything = info(c, "everything")
        now = {f: float(v) for f, v in everything["Stats"]}
        assert now["eventloop_cycles"] > before["eventloop_cycles"]
        assert now["eventloop_duration_sum"] > before["eventloop_duration_sum"]
        commands = stats(everything["Commandstats"])
        total_us = sum(int(s["usec"]) for s in commands.values())
        # Each line of commandstats drops a fraction of a microsecond.
        assert total_us <= now["eventloop_duration_cmd_sum"] <= total_us + len(commands)


def test_commandstats_form(fresh):
    with fresh.connect() as c:
        for command in STREAM:
            c.cmd(*command)
        got = info(c, "commandstats", "latencystats")
    for field, value in got["Commandstats"]:
        assert re.fullmatch(r"cmdstat_[a-z|-]+", field)
        assert re.fullmatch(r"calls=\d+,usec=\d+,usec_per_call=\d+\.\d\d,rejected_calls=\d+,failed_calls=\d+", value)
    for field, value in got["Latencystats"]:
        assert re.fullmatch(r"latency_percentiles_usec_[a-z|-]+", field)
        assert re.fullmatch(r"p50=\d+\.\d{3},p99=\d+\.\d{3},p99\.9=\d+\.\d{3}", value)
        p50, p99, p999 = [float(p.split("=")[1]) for p in value.split(",")]
        assert 0 < p50 <= p99 <= p999
    called = {f.split("_", 1)[1] for f, v in got["Commandstats"] if not v.startswith("calls=0")}
    assert {f.split("usec_")[1] for f, _ in got["Latencystats"]} == called


def test_percentiles_follow_the_option(anax2):
    with anax2.connect() as c:
        c.cmd("GET", "x")

        def labels():
            line = dict(info(c, "latencystats")["Latencystats"])["latency_percentiles_usec_get"]
            return [p.split("=")[0] for p in line.split(",") if p]

        try:
            c.ok("CONFIG", "SET", "latency-tracking-info-percentiles", "0 12.50 100 99.999")
            assert labels() == ["p0", "p12.5", "p100", "p99.999"]
            c.ok("CONFIG", "SET", "latency-tracking-info-percentiles", "")
            assert labels() == []
        finally:
            c.ok("CONFIG", "SET", "latency-tracking-info-percentiles", "50 99 99.9")


def test_percentiles_bound_the_times():
    """The times of all calls lie between the lowest and the highest percentile, within a bucket's width."""
    with Server("anax", shards=3) as server, server.connect() as c:
        c.ok("CONFIG", "SET", "latency-tracking-info-percentiles", "0 100")
        for i in range(300):
            c.ok("SET", "k%d" % i, "v" * i)
        got = info(c, "commandstats", "latencystats")
        usec = float(stats(got["Commandstats"])["set"]["usec_per_call"])
        p0, p100 = [float(p.split("=")[1])
                    for p in dict(got["Latencystats"])["latency_percentiles_usec_set"].split(",")]
        assert p0 * 0.8 <= usec <= p100 * 1.25


# --- keys ----------------------------------------------------------------------------------------------


def bin_of(length):
    if length == 0:
        return "0"
    least = 1 << (length.bit_length() - 1)
    for shift, unit in ((30, "G"), (20, "M"), (10, "K"), (0, "")):
        if least >= 1 << shift:
            return "%d%s" % (least >> shift, unit)


def sizes_by_asking(c):
    """What keysizes must say of the chosen database."""
    keys, cursor = set(), b"0"
    while True:
        cursor, some = c.cmd("SCAN", cursor, "COUNT", "1000")
        keys |= set(some)
        if cursor == b"0":
            break
    keys = sorted(keys)
    bins = {}
    for reply in c.pipeline([["STRLEN", k] for k in keys]):
        label = bin_of(reply.value)
        bins[label] = bins.get(label, 0) + 1
    return bins


def sizes_told(c, db=0):
    line = dict(info(c, "keysizes")["Keysizes"]).get("db%d_distrib_strings_sizes" % db, "")
    return {k: int(v) for k, v in (p.split("=") for p in line.split(",") if p)}


def test_keysizes_of_known_lengths(fresh):
    with fresh.connect() as c:
        lengths = [0, 1, 2, 3, 4, 7, 8, 511, 512, 1023, 1024, 2047, 2048, 65536, 1 << 20]
        for n in lengths:
            c.ok("SET", "k%d" % n, "x" * n)
        for v in (0, 9, 10, 999, 1000, 9999999, 10000000, -1, -99, -100, 10**14, 10**15, -10**14, 2**63 - 1, -2**63):
            c.ok("SET", "i%d" % v, v)
        c.ok("SELECT", "3")
        c.ok("SET", "k", "abc")
        told = dict(info(c, "keysizes")["Keysizes"])
        assert told["db3_distrib_strings_sizes"] == "2=1"
        assert list(told) == ["db0_distrib_strings_sizes", "db3_distrib_strings_sizes"]
        labels = [p.split("=")[0] for p in told["db0_distrib_strings_sizes"].split(",")]
        assert labels == ["0", "1", "2", "4", "8", "16", "256", "512", "1K", "2K", "64K", "1M"]
        c.ok("SELECT", "0")
        assert sizes_told(c) == sizes_by_asking(c)


def test_keysizes_stay_exact(fresh):
    """Whatever writes a value, counts follow: compared with asking every key."""
    rng = random.Random(20261121)
    with fresh.connect() as c:
        for _ in range(4):
            batch = []
            for _ in range(1500):
                k, n = "k%d" % rng.randrange(300), rng.randrange(1 << rng.randrange(12))
                batch.append(rng.choice([
                    ["SET", k, "x" * n], ["SET", k, rng.randrange(-10**9, 10**9)], ["APPEND", k, "y" * (n % 50)],
                    ["DEL", k], ["SETRANGE", k, n, "zz"], ["INCRBY", k, rng.choice([1, 10**7, -10**9])],
                    ["SETBIT", k, n, 1], ["GETDEL", k], ["SET", k, "x" * n, "PX", rng.choice([1, 100000])],
                    ["EXPIRE", k, 1000], ["PERSIST", k], ["RENAME", k, k], ["SETEX", k, 1000, "z" * n], ["UNLINK", k],
                    ["INCRBYFLOAT", k, "1.5"], ["SETNX", k, "abc"], ["GETSET", k, "w" * n]]))
            c.pipeline(batch)
            wait_until(lambda: sizes_told(c) == sizes_by_asking(c), "the sizes agree with what STRLEN says")
        c.ok("FLUSHALL")
        assert sizes_told(c) == {}


def test_keyspace_line(fresh):
    with fresh.connect() as c:
        assert info(c, "keyspace") == {"Keyspace": []}
        for i in range(100):
            c.ok("SET", "k%d" % i, "v")
            if i % 2:
                c.ok("SET", "k%d" % i, "v", "EX", 1000 if i % 4 == 1 else 3000)
        c.ok("SELECT", "15")
        c.ok("SET", "a", "b")
        (db0, line), (db15, other) = info(c, "keyspace")["Keyspace"]
        assert (db0, db15) == ("db0", "db15")
        fields = dict(p.split("=") for p in line.split(","))
        assert fields["keys"] == "100" and fields["expires"] == "50"
        assert 1_900_000 < int(fields["avg_ttl"]) <= 2_000_000
        assert other == "keys=1,expires=0,avg_ttl=0"
        c.ok("SELECT", "0")
        c.pipeline([["PERSIST", "k%d" % i] for i in range(100) if i % 4 == 1])
        line, = [v for f, v in info(c, "keyspace")["Keyspace"] if f == "db0"]
        fields = dict(p.split("=") for p in line.split(","))
        assert fields["expires"] == "25" and 2_900_000 < int(fields["avg_ttl"]) <= 3_000_000
        c.ok("FLUSHDB")
        assert [f for f, _ in info(c, "keyspace")["Keyspace"]] == ["db15"]


# --- shards, sums, rates -------------------------------------------------------------------------------


def test_shards_add_up(fresh):
    with fresh.connect() as c:
        replies = c.pipeline([["SET", "k%d" % i, "v"] for i in range(1000)])
        assert all(r.value == b"OK" for r in replies)
        got = info(c, "everything")
        lines = got["Shards"]
        assert [f for f, _ in lines] == ["shard%d" % i for i in range(len(lines))]
        parts = [{k: int(v) for k, v in (p.split("=") for p in line.split(","))} for _, line in lines]
        assert list(parts[0]) == ["keys", "expires", "ops", "bytes", "connections", "messages_sent",
                                  "messages_received", "borrows", "longest_turn_usec", "share", "evicted", "claims",
                                  "claims_waiting", "transactions_started", "transactions_yielded",
                                  "steps_waited"]
        assert len(parts) == int(dict(got["Server"])["shards"])
        total = {k: sum(p[k] for p in parts) for k in parts[0]}
        assert total["keys"] == 1000 and all(p["keys"] > 0 for p in parts)
        assert total["bytes"] == int(dict(got["Memory"])["used_memory"])
        assert total["connections"] == int(dict(got["Clients"])["connected_clients"])
        assert total["ops"] == sum(int(s["calls"]) for s in stats(got["Commandstats"]).values())
        assert total["ops"] >= 1000 and all(p["ops"] > 0 for p in parts)
        if len(parts) > 1:
            assert total["messages_sent"] > 0 and total["messages_received"] > 0
        assert any(p["longest_turn_usec"] > 0 for p in parts)


def test_peak_of_memory_stays(anax2):
    with anax2.connect() as c:
        c.ok("SET", "big", "x" * (8 << 20))
        high = int(dict(info(c, "memory")["Memory"])["used_memory"])
        c.cmd("DEL", "big")
        wait_until(lambda: int(dict(info(c, "memory")["Memory"])["used_memory"]) < high - (7 << 20), "it is freed")
        memory = dict(info(c, "memory")["Memory"])
        assert int(memory["used_memory_peak"]) >= high
        assert abs(int(memory["used_memory_peak_time"]) - time.time()) < 100


def test_peak_is_seen_without_asking():
    """A peak between two INFOs: the sampler sees what lasts a few of its ticks."""
    with Server("anax", shards=3) as server, server.connect() as c:
        before = int(server.info()["used_memory_peak"])
        for i in range(8):
            c.ok("SET", "big%d" % i, "x" * (4 << 20))
        time.sleep(0.5)
        c.ok("FLUSHALL")
        assert int(server.info()["used_memory_peak"]) > before + (30 << 20)


def test_rates(fresh):
    """Rates rise while there is traffic, and are gone after the window of the samples."""
    with fresh.connect() as c:

        def busy():
            c.pipeline([["SET", "k", "v" * 100]] * 200)
            now = dict(info(c, "stats")["Stats"])
            rates = ["instantaneous_ops_per_sec", "instantaneous_input_kbps", "instantaneous_output_kbps"]
            if fresh.is_anax:
                rates += ["instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_duration_usec"]
            return all(float(now[rate]) > 0 for rate in rates)

        wait_until(busy, "the rates have risen")

        def quiet():
            time.sleep(0.2)
            now = dict(info(c, "stats")["Stats"])
            return int(now["instantaneous_ops_per_sec"]) < 50

        wait_until(quiet, "the rates have fallen")


# --- work put off ---------------------------------------------------------------------------------------


def test_keys_freed_later_are_counted(fresh):
    with Server("redis") as redis:
        for server in (fresh, redis):
            with server.connect() as c:
                c.pipeline([["SET", "k%d" % i, "v"] for i in range(5000)])
                c.ok("FLUSHALL", "ASYNC")
                wait_until(lambda: numbers(server, "memory")["lazyfreed_objects"] == 5000, "they are freed")
                assert numbers(server, "memory")["lazyfree_pending_objects"] == 0
                c.ok("CONFIG", "RESETSTAT")
                assert numbers(server, "memory")["lazyfreed_objects"] == 0


def test_expiry_tells_what_it_costs():
    with Server("anax", shards=2) as server, server.connect() as c:
        assert numbers(server, "stats")["expire_cycle_cpu_milliseconds"] < 1000
        for _ in range(4):  # far more at once than a slice takes
            c.pipeline([["SET", "k%d" % i, "v", "PX", "1"] for i in range(40_000)])
            wait_until(lambda: c.cmd("DBSIZE") == 0, "all have expired")
        now = numbers(server, "stats")
        assert now["expire_cycle_cpu_milliseconds"] > 0
        assert now["expired_time_cap_reached_count"] > 0 or not server.is_anax
        c.ok("CONFIG", "RESETSTAT")
        now = numbers(server, "stats")
        assert now["expired_time_cap_reached_count"] == now["expire_cycle_cpu_milliseconds"] == 0


# --- CONFIG RESETSTAT ----------------------------------------------------------------------------------


def test_resetstat_resets_what_redis_resets(fresh):
    with Server("redis") as redis:
        for server in (fresh, redis):
            with server.connect() as c:
                before = dict(info(c, "memory")["Memory"])
                for command in STREAM:
                    c.cmd(*command)
                c.ok("SET", "e", "v", "PX", 1)
                wait_until(lambda: c.cmd("GET", "e") is None, "it expires")
                full = info(c, "everything")
                counts = dict(full["Stats"])
                assert all(int(counts[f]) > 0 for f in (
                    "keyspace_hits", "keyspace_misses", "total_error_replies", "expired_keys"))
                c.ok("CONFIG", "RESETSTAT")
                now = info(c, "everything")
                counts = dict(now["Stats"])
                for field in ("keyspace_hits", "keyspace_misses", "total_error_replies", "expired_keys",
                              "total_connections_received", "rejected_connections"):
                    assert counts[field] == "0", (server.kind, field, counts[field])
                assert int(counts["total_commands_processed"]) <= 2
                assert int(counts["total_net_input_bytes"]) < 200
                assert now["Errorstats"] == []
                assert {f for f, _ in now["Commandstats"]} <= {"cmdstat_config|resetstat", "cmdstat_info"}
                assert {f for f, _ in now["Latencystats"]} <= {"latency_percentiles_usec_config|resetstat",
                                                               "latency_percentiles_usec_info"}
                assert now["Keyspace"] != [] and dict(now["Clients"])["connected_clients"] == "1"
                assert int(dict(now["Memory"])["used_memory_peak"]) >= int(before["used_memory_peak"])


def test_info_while_connections_come_and_go(fresh):
    """Parts of all shards arrive together whatever else happens."""
    with fresh.connect() as c:
        for _ in range(30):
            with socket.create_connection(fresh.address):
                c.send(b"INFO everything\r\nPING\r\n" * 3)
                for _ in range(3):
                    assert list(sections(c.read().value)) == SECTIONS_ALL
                    assert c.read().value == b"PONG"
