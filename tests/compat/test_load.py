"""Loading RDB files at the start: everybody's files hold here what they held there, on any number of shards."""

import codecs
import datetime
import glob
import json
import os
import random
import shutil
import struct
import time

import pytest

import harness
import rdb_maker as made
import values
from harness import Error, Server

FILES = os.path.join(harness.ROOT, "tests", "data", "rdb")
DEBUG = {"enable-debug-command": "yes"}
PLACES = [(1, "uring"), (2, "epoll"), (3, "uring"), (8, "epoll")]


def each_byte(error):
    """Go writes a replacement for each byte that is no UTF-8."""
    return "\ufffd", error.start + 1


codecs.register_error("each-byte", each_byte)


def loaded(path_or_bytes, tmp_path, shards=1, io=None, options=None, wait=True, kind="anax"):
    """A server that starts with this file."""
    target = tmp_path / "dump.rdb"
    if isinstance(path_or_bytes, bytes):
        target.write_bytes(path_or_bytes)
    elif str(path_or_bytes) != str(target):
        shutil.copyfile(path_or_bytes, target)
    return Server(kind, shards=shards, io=io, options={**DEBUG, **(options or {})}, dir=str(tmp_path), wait=wait)


def said(text):
    """A text as the JSON files have it."""
    return text.decode("utf-8", "each-byte")


def keys_of(c):
    """Keys of the selected database, as the JSON files name them."""
    return {said(k): k for k in c.cmd("KEYS", "*")}


# --- what the JSON files say ---


def moment(text):
    """The Unix time in ms of "2022-12-25T18:11:12.573+08:00"."""
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def pairs(flat):
    return list(zip(flat[::2], flat[1::2]))


def check_stream(c, key, want, file_bytes, redis):
    """There are no commands on streams: what DUMP gives is what the file had, and a redis-server that knows the type reads it."""
    payload = c.cmd("DUMP", key)
    assert payload[1:-10] in file_bytes
    if payload[0] not in (15, 19):
        return
    redis.cmd("DEL", "stream")
    redis.ok("RESTORE", "stream", 0, payload)
    got = [(i.decode(), [(said(f), said(v)) for f, v in pairs(fields)]) for i, fields in redis.cmd("XRANGE", "stream", "-", "+")]
    entries = [m for e in want["entries"] or [] for m in e["msgs"] or [] if not m["deleted"]]
    assert [i for i, _ in got] == [m["id"] for m in entries]
    for (_, fields), m in zip(got, entries):
        assert dict(fields) == m["fields"]
    assert redis.cmd("XLEN", "stream") == want["len"]
    groups = redis.cmd("XINFO", "GROUPS", "stream")
    assert [said(g[1]) for g in groups] == [g["name"] for g in want.get("groups") or []]


def check_value(c, key, want, file_bytes, redis):
    kind = want["type"]
    assert c.cmd("TYPE", key) == kind.encode()
    if kind == "string":
        assert said(c.cmd("GET", key)) == want["value"]
    elif kind == "list":
        assert [said(v) for v in c.cmd("LRANGE", key, 0, -1)] == want["values"]
    elif kind == "set":
        assert sorted(said(m) for m in c.cmd("SMEMBERS", key)) == sorted(want["members"])
    elif kind == "zset":
        got = [(said(m), float(s)) for m, s in pairs(c.cmd("ZRANGE", key, 0, -1, "WITHSCORES"))]
        assert sorted(got) == sorted((e["member"], float(e["score"])) for e in want["entries"])
    elif kind == "hash":
        assert {said(f): said(v) for f, v in pairs(c.cmd("HGETALL", key))} == want["hash"]
        for name, at in want.get("expire", {}).items():
            assert c.cmd("HPEXPIRETIME", key, "FIELDS", 1, name) == [at if at > 0 else -1]
    else:
        assert kind == "stream"
        check_stream(c, key, want, file_bytes, redis)


@pytest.fixture(scope="module")
def redis():
    with Server("redis", options=DEBUG) as server, server.connect() as c:
        yield c


NAMES = sorted(os.path.basename(p)[:-4] for p in glob.glob(FILES + "/*.rdb"))
TOLD = [name for name in NAMES if os.path.exists("%s/%s.json" % (FILES, name))]


def test_there_are_files():
    assert len(TOLD) >= 38


@pytest.mark.parametrize("name", TOLD)
def test_a_file_holds_what_its_json_says(name, tmp_path, redis):
    path = "%s/%s.rdb" % (FILES, name)
    shards, io = PLACES[TOLD.index(name) % len(PLACES)]
    with open("%s/%s.json" % (FILES, name)) as f:
        wanted = [w for w in json.load(f) if w["type"] not in ("aux", "functions", "dbsize")]
    with open(path, "rb") as f:
        file_bytes = f.read()
    now = time.time() * 1000
    with loaded(path, tmp_path, shards, io) as server, server.connect() as c:
        alive = [w for w in wanted if "expiration" not in w or moment(w["expiration"]) > now]
        info = c.info("persistence")
        assert int(info["rdb_last_load_keys_loaded"]) == len(alive)
        assert int(info["rdb_last_load_keys_expired"]) == len(wanted) - len(alive)
        for db in sorted({w["db"] for w in wanted}):
            c.ok("SELECT", db)
            keys = keys_of(c)
            assert sorted(keys) == sorted(w["key"] for w in alive if w["db"] == db)
            for w in (w for w in alive if w["db"] == db):
                check_value(c, keys[w["key"]], w, file_bytes, redis)
                at = c.cmd("PEXPIRETIME", keys[w["key"]])
                assert at == (moment(w["expiration"]) if "expiration" in w else -1)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(TOLD) - {"redis-8.0.6-all", "valkey-9.1.2-all"}))
def test_a_file_without_json_holds_what_redis_finds_in_it(name, tmp_path):
    with open("%s/%s.rdb" % (FILES, name), "rb") as f:
        file = f.read()
    file = file[:5] + b"0010" + file[9:-8] + bytes(8)  # what is in it is older than its version
    with loaded(file, tmp_path, 2) as ours, loaded(file, tmp_path, kind="redis") as peer:
        assert ours.cmd("DEBUG", "DIGEST") == peer.cmd("DEBUG", "DIGEST")
        assert ours.cmd("DBSIZE") == peer.cmd("DBSIZE") > 0


# --- what servers of today write ---


def everything(c):
    """Each key of each database: its type, and the digest of its value."""
    out = {}
    for db in range(16):
        c.ok("SELECT", db)
        for key in sorted(c.cmd("KEYS", "*")):
            out[db, key] = bytes(c.cmd("TYPE", key)), c.cmd("DEBUG", "DIGEST-VALUE", key)[0]
    return out


def test_files_of_redis_8_and_valkey_9(tmp_path, redis):
    """Both were filled by the same commands. What redis-server 7.0 can hold it takes from our DUMP, with the same digest."""
    seen = {}
    for name, shards in (("redis-8.0.6-all", 3), ("valkey-9.1.2-all", 2), ("redis-8.0.6-all", 1), ("valkey-9.1.2-all", 8)):
        with loaded("%s/%s.rdb" % (FILES, name), tmp_path, shards) as server, server.connect() as c:
            found = everything(c)
            assert seen.setdefault(name, found) == found
            old = 0
            for db, key in found:
                c.ok("SELECT", db)
                payload = c.cmd("DUMP", key)
                redis.cmd("DEL", "copy")
                ttl = max(c.cmd("PTTL", key), 0)  # that there is one is part of the digest
                if redis.cmd("RESTORE", "copy", ttl, payload) != b"OK":
                    assert found[db, key][0] in (b"hash", b"stream"), key  # with times; of a newer layout
                    continue
                old += 1
                assert redis.cmd("DEBUG", "DIGEST-VALUE", "copy")[0] == found[db, key][1], key
            assert old >= 20
            assert ("the module" in server.log()) == (name == "redis-8.0.6-all")
    first, second = seen.values()
    assert {t for t, _ in first.values()} == {b"string", b"list", b"set", b"zset", b"hash", b"stream"}
    same = [k for k in first if first[k] == second.get(k)]
    assert set(first) == set(second)
    assert len(same) >= 20


@pytest.fixture(scope="module")
def of_redis(tmp_path_factory):
    """What redis-server 7.0 saves of every type and encoding, in some databases, with what DEBUG DIGEST says of it."""
    where = tmp_path_factory.mktemp("redis")
    out = {}
    for compress in ("yes", "no"):
        with Server("redis", options={**DEBUG, "rdbcompression": compress}, dir=str(where)) as s, s.connect() as c:
            c.ok("FLUSHALL")
            for db, command_list in ((0, [*values.plain(), *values.with_times()]), (1, values.with_times()), (15, values.lists())):
                c.ok("SELECT", db)
                values.fill(c, command_list)
            c.cmd("XADD", "stream", "1-1", "a", "b")
            c.ok("XGROUP", "CREATE", "stream", "group", "0")
            c.ok("SAVE")
            out[compress] = (where / "dump.rdb").read_bytes(), c.cmd("DEBUG", "DIGEST")
    return out


@pytest.mark.parametrize("compress", ["yes", "no"])
@pytest.mark.parametrize("shards, io", PLACES + [(1, "epoll")])
def test_a_file_of_redis_7(of_redis, tmp_path, compress, shards, io):
    file_bytes, digest = of_redis[compress]
    with loaded(file_bytes, tmp_path, shards, io) as server:
        assert server.cmd("DEBUG", "DIGEST") == digest


def test_large_values_and_keys_across_pieces(tmp_path):
    """Records around the sizes in which the file is read, and longer ones; most of them lie in two pieces."""
    rng = random.Random(7)
    noise = rng.randbytes(9 << 20)
    with Server("redis", options={**DEBUG, "rdbcompression": "no"}, dir=str(tmp_path)) as s, s.connect() as c:
        for i, size in enumerate([4 << 20, (4 << 20) - 40, 65536, 65500, 65400, 9 << 20, 1 << 20, 70000, 5, 3 << 20, 60000]):
            c.ok("SET", "string-%d-%d" % (i, size), noise[i:i + size])
            c.ok("SET", b"key" + noise[i:i + 66000 + i * 40000], "of a long key")
        c.cmd("RPUSH", "list", *[noise[i * 7000:i * 7000 + 6500] for i in range(1000)])
        c.cmd("HSET", "hash", *[noise[i * 20:i * 20 + 18] for i in range(60000)])
        c.cmd("SADD", "set", *range(0, 200000, 3))
        digest = c.cmd("DEBUG", "DIGEST")
        c.ok("SAVE")
    for shards, io in ((1, "uring"), (3, "epoll")):
        with loaded(tmp_path / "dump.rdb", tmp_path, shards, io) as server:
            assert server.cmd("DEBUG", "DIGEST") == digest


# --- what is beside values ---


def test_databases_expiries_and_all_kinds_of_records(tmp_path):
    future, past = int(time.time()) + 100000, int(time.time()) - 100
    file = made.rdb(
        made.aux("redis-ver", "99.9.9"), made.aux("unknown", "whatever"), made.aux("used-mem", "1234"),
        made.op(made.AUX, b"\xc0\x05", b"\xc1\x10\x27"),  # names and values may be integers
        made.op(made.SLOT_INFO, 1, 2, 3), made.op(made.SLOT_IMPORT, made.text("job"), 2, 0, 5, 7, 9),
        made.op(made.MODULE_AUX, made.module_id("graphdata"), 2, 1, made.length(5), made.text("aux"), 0),
        made.op(made.FUNCTION2, made.text("#!lua name=lib\nredis.register_function('f', function() end)")),
        made.op(made.SELECTDB, 2), made.op(made.RESIZEDB, 300, 70000),
        made.expire_ms(future * 1000 + 7), made.string("ms", "v"),
        made.op(made.EXPIRE, struct.pack("<i", future)), made.string("s", "v"),
        made.expire_ms(past * 1000), made.string("gone", "v"), made.expire_ms(0), made.string("gone too", "v"),
        made.op(made.IDLE, 1000), made.string("idle", "v"), made.op(made.FREQ, b"\x64"), made.string("freq", "v"),
        made.op(made.SELECTDB, 15), made.op(made.STRING, b"\xc2" + struct.pack("<i", -70000), b"\xc0\xff"),
        made.aux("between", "keys"), made.string("last", ""))
    for shards in (1, 3):
        with loaded(file, tmp_path, shards) as server, server.connect() as c:
            assert c.cmd("DBSIZE") == 0
            c.ok("SELECT", 2)
            assert c.cmd("PEXPIRETIME", "ms") == future * 1000 + 7
            assert c.cmd("PEXPIRETIME", "s") == future * 1000
            assert sorted(c.cmd("KEYS", "*")) == [b"freq", b"idle", b"ms", b"s"]
            assert 1000 <= c.cmd("OBJECT", "IDLETIME", "idle") < 1100
            assert c.cmd("OBJECT", "IDLETIME", "freq") < 100
            c.ok("SELECT", 15)
            assert c.cmd("GET", "-70000") == b"-1"
            assert c.cmd("GET", "last") == b""
            info = c.info("persistence")
            assert (info["rdb_last_load_keys_loaded"], info["rdb_last_load_keys_expired"]) == ("6", "2")
            assert "#!lua name=lib" in server.log()


def test_access_times_of_redis_by_its_policies(tmp_path):
    """LRU and LFU policies of redis-server write what they know of each key."""
    for policy, ask in (("allkeys-lfu", "FREQ"), ("allkeys-lru", "IDLETIME")):
        options = {"maxmemory-policy": policy, "maxmemory": "1gb", "lfu-log-factor": 0, "lfu-decay-time": 0}
        with Server("redis", options={**DEBUG, **options}, dir=str(tmp_path)) as s, s.connect() as c:
            for i in range(20):
                c.ok("SET", "key%d" % i, "v")
                if ask == "FREQ":
                    c.pipeline([["GET", "key%d" % i]] * i)
                else:
                    c.ok("RESTORE", "key%d" % i, 0, c.cmd("DUMP", "key%d" % i), "REPLACE", "IDLETIME", i * 1000)
            wanted = [c.cmd("OBJECT", ask, "key%d" % i) for i in range(20)]
            assert len(set(wanted)) == 20
            c.ok("SAVE")
        with loaded(tmp_path / "dump.rdb", tmp_path, 3, options=options) as server, server.connect() as c:
            got = [c.cmd("OBJECT", ask, "key%d" % i) for i in range(20)]
            assert all(abs(a - b) <= (0 if ask == "FREQ" else 60) for a, b in zip(got, wanted)), (got, wanted)


def test_times_of_members_of_sets(tmp_path):
    at = int(time.time() * 1000) + 1000000

    def times(*pairs):
        return made.aux("anax-member-ttls", b"".join(made.text(m) + struct.pack("<q", ms) for m, ms in pairs))

    many = [b"member-%d" % i for i in range(3000)]
    file = made.rdb(
        times((b"a", at), (b"12", at + 1)), made.members("mixed", "a", "b", "12", "13"),
        times((b"1", at + 2)), made.expire_ms(at * 2), made.members("ints", "1", "2", "3"),
        made.op(made.IDLE, 5), times((b"1", at)), made.expire_ms(at * 2), made.members("behind others", "1", "2"),
        times(*[(m, at + i) for i, m in enumerate(many[:1500])]), times((many[2000], at), (b"no such", at)),
        made.members("many", *many), made.members("plain", "x"))
    for shards in (1, 3):
        with loaded(file, tmp_path, shards) as server, server.connect() as c:
            assert sorted(c.cmd("SMEMBERS", "mixed")) == [b"12", b"13", b"a", b"b"]

            def left(key, member):
                """What is left to live, as seconds; -1: for ever."""
                return c.cmd("FIELDTTL", key, member)

            assert 990 <= left("mixed", "a") <= 1000 and 990 <= left("mixed", "12") <= 1001
            assert left("mixed", "b") == left("mixed", "13") == -1
            assert 990 <= left("ints", "1") <= 1001 and left("ints", "2") == -1
            assert 990 <= left("behind others", "1") <= 1000 and left("behind others", "2") == -1
            assert c.cmd("PEXPIRETIME", "ints") == c.cmd("PEXPIRETIME", "behind others") == at * 2
            assert c.cmd("SCARD", "many") == 3000
            assert 990 <= left("many", many[0]) <= left("many", many[1499]) <= 1003
            assert left("many", many[1500]) == -1 and 990 <= left("many", many[2000]) <= 1000
            assert left("plain", "x") == -1


def test_values_of_modules(tmp_path):
    file = made.rdb(made.string("a", "1"), made.module_key("m1"), made.module_key("m2"), made.module_key("m3", "ReJSON-RL"),
                    made.string("b", "2"))
    with loaded(file, tmp_path, 2) as server, server.connect() as c:
        assert sorted(c.cmd("KEYS", "*")) == [b"a", b"b"]
        assert "2 keys of the module vectorset were left out" in server.log()
        assert "1 keys of the module ReJSON-RL were left out" in server.log()
    strict = loaded(file, tmp_path, 2, options={"rdb-strict": "yes"}, wait=False)
    assert strict.process.wait(harness.DEADLINE_S) == 1
    assert "offset %d" % file.index(made.length(made.module_id("vectorset"))) in strict.log()
    assert "the module vectorset" in strict.log() and "m1" in strict.log()


def test_checksums(tmp_path):
    good = made.rdb(made.string("k", "v"))
    with loaded(made.rdb(made.string("k", "v"), checksum=0), tmp_path) as server:
        assert server.cmd("GET", "k") == b"v"
        assert "checksum disabled" in server.log()
    wrong = good[:-1] + bytes([good[-1] ^ 1])
    refused = loaded(wrong, tmp_path, wait=False)
    assert refused.process.wait(harness.DEADLINE_S) == 1
    assert "Wrong RDB checksum" in refused.log()
    with loaded(wrong, tmp_path, options={"rdbchecksum": "no"}) as server:
        assert server.cmd("GET", "k") == b"v"
    with loaded(b"REDIS0004" + made.string("old", "v") + b"\xff", tmp_path) as server:  # there was none then
        assert server.cmd("GET", "old") == b"v"
    with loaded(good + b"something behind", tmp_path) as server:
        assert server.cmd("GET", "k") == b"v"


# --- what clients see meanwhile ---


@pytest.mark.parametrize("shards, io", [(1, "uring"), (3, "epoll")])
def test_clients_are_told_of_the_load(tmp_path, shards, io):
    """Only what is allowed then runs; INFO tells how far it is, and in the end everything is there."""
    n = 400 if not harness.SLOW else 800
    file = made.rdb(*[made.string("key-%d" % i, "v") for i in range(n)])
    with loaded(file, tmp_path, shards, io, {"key-load-delay": 2000}, wait=False) as server:
        harness.wait_until(lambda: not harness.is_free(server.port), "it listens")
        with server.connect() as c:
            loading = b"LOADING Redis is loading the dataset in memory"
            for command in (["PING"], ["GET", "key-1"], ["SET", "key-1", "w"], ["DBSIZE"], ["FLUSHALL"], ["MGET", "a", "b", "c"],
                            ["BGSAVE"], ["SAVE"]):
                assert c.cmd(*command) == loading, command
                assert isinstance(c.cmd(*command), Error)
            c.ok("MULTI")
            assert c.cmd("INCR", "n") == loading
            assert c.cmd("EXEC").startswith(b"EXECABORT")
            for command in (["CONFIG", "GET", "port"], ["CLIENT", "ID"], ["COMMAND", "COUNT"]):
                assert not isinstance(c.cmd(*command), Error), command
            c.ok("SELECT", 1)
            harness.wait_until(lambda: c.info("persistence").get("loading_total_bytes") != "0", "the file is open")
            first = c.info("persistence")
            assert first["loading"] == "1" and first["async_loading"] == "0"
            assert int(first["loading_total_bytes"]) == len(file)
            harness.wait_until(lambda: c.info("persistence").get("loading_loaded_bytes", "0") not in ("0", "9"), "it gets on")
            later = c.info("persistence")
            if later["loading"] == "1":
                assert 0 < int(later["loading_loaded_bytes"]) <= len(file)
                assert 0 < float(later["loading_loaded_perc"]) <= 100
                assert abs(int(later["loading_start_time"]) - time.time()) < 100
                assert int(later["loading_eta_seconds"]) >= 0 and later["loading_rdb_used_mem"] == "0"
            assert "Ready to accept connections" not in server.log()
            c.ok("CONFIG", "SET", "key-load-delay", 0)
            server.wait_ready()
            assert c.info("persistence")["loading"] == "0"
            assert "loading_total_bytes" not in c.info("persistence")
            c.ok("SELECT", 0)
            assert c.cmd("DBSIZE") == n
            assert c.cmd("GET", "key-%d" % (n - 1)) == b"v"
        assert "Ready to accept connections" in server.log()


def test_nothing_is_evicted_while_it_is_loaded(tmp_path):
    """As in Redis: what is over maxmemory then is a matter for the next write."""
    file = made.rdb(*[made.string("key-%d" % i, "v" * 1000) for i in range(3000)])
    with loaded(file, tmp_path, 2, options={"maxmemory": "2mb"}) as server, server.connect() as c:
        assert c.cmd("DBSIZE") == 3000
        assert c.cmd("SET", "more", "v").startswith(b"OOM")
        assert c.cmd("GET", "key-5") == b"v" * 1000
    with loaded(file, tmp_path, 2, options={"maxmemory": "2mb", "maxmemory-policy": "allkeys-lru"}) as server:
        assert server.info("persistence")["rdb_last_load_keys_loaded"] == "3000"
        harness.wait_until(lambda: server.used_memory() <= 2 << 20, "then it is")
        assert server.cmd("SET", "more", "v") == b"OK"


def test_no_file_and_an_empty_dataset(tmp_path):
    with Server("anax", shards=2, dir=str(tmp_path)) as server:
        assert server.cmd("DBSIZE") == 0
        assert server.cmd("SET", "k", "v") == b"OK"
    with loaded(made.rdb(made.string("k", "v")), tmp_path, options={"dbfilename": ""}) as server:
        assert server.cmd("DBSIZE") == 0
    with loaded(made.rdb(), tmp_path, 2) as server:
        assert server.cmd("DBSIZE") == 0


def test_the_file_that_the_options_name(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other.rdb").write_bytes(made.rdb(made.string("k", "v")))
    with Server("anax", dir=str(tmp_path), options={"dir": "data", "dbfilename": "other.rdb"}) as server:
        assert server.cmd("GET", "k") == b"v"


# --- our own files ---


def test_what_we_save_comes_back_on_any_number_of_shards(tmp_path):
    """Also what other servers do not have: times of fields and of members; and libraries of functions, which are kept as they came."""
    at = int(time.time() * 1000) + 10_000_000
    library = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)"
    digest = None
    with loaded(made.rdb(made.op(made.FUNCTION2, made.text(library))), tmp_path, 2) as server, server.connect() as c:
        values.fill(c, [*values.plain(), *values.with_times()])
        c.cmd("SADDEX", "members", 5000, "a", "b", "7")
        c.cmd("SADD", "members", "for ever")
        c.cmd("SADDEX", "many members", 6000, *["member-%d" % i for i in range(2000)])
        c.cmd("HSET", "fields", "f", "v", "g", "w")
        c.cmd("HPEXPIREAT", "fields", at, "FIELDS", 1, "g")
        c.cmd("HSET", "many fields", *range(4000))
        c.cmd("HPEXPIREAT", "many fields", at, "FIELDS", 2, 0, 2)
        digest = c.cmd("DEBUG", "DIGEST")
        c.ok("SAVE")
    for shards, io in PLACES:
        with loaded(tmp_path / "dump.rdb", tmp_path, shards, io) as server, server.connect() as c:
            assert c.cmd("DEBUG", "DIGEST") == digest
            assert 4900 <= c.cmd("FIELDTTL", "members", "a") <= 5000 and c.cmd("FIELDTTL", "members", "for ever") == -1
            assert 4900 <= c.cmd("FIELDTTL", "members", "7") <= 5000
            assert 5900 <= c.cmd("FIELDTTL", "many members", "member-1999") <= 6000
            assert c.cmd("HPEXPIRETIME", "fields", "FIELDS", 2, "f", "g") == [-1, at]
            assert c.cmd("HPEXPIRETIME", "many fields", "FIELDS", 3, 0, 2, 4) == [at, at, -1]
            c.ok("SAVE")  # the next one loads what this one saves
        assert library in (tmp_path / "dump.rdb").read_bytes()
