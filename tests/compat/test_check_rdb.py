"""anax-check-rdb: it tells what is in a file, with every value, and what is wrong with it and where; of files of redis-server 7.0
it says what redis-check-rdb says. Files: tests/data/rdb."""

import concurrent.futures
import glob
import json
import math
import os
import random
import re
import subprocess
import tempfile

import pytest

from harness import ANAX, ROOT, SLOW, Server

CHECKER = os.path.join(os.path.dirname(os.path.abspath(ANAX)), "anax-check-rdb")
FOLDER = os.path.join(ROOT, "tests", "data", "rdb")
FILES = sorted(os.path.basename(f)[:-4] for f in glob.glob(os.path.join(FOLDER, "*.rdb")))
TOLD = [f for f in FILES if os.path.exists(os.path.join(FOLDER, f + ".json"))]
RIGHT, WRONG, UNREADABLE = 0, 1, 2


def check(path, *options):
    """Exit code, standard output, standard error. Anything but the three codes is a crash."""
    p = subprocess.run([CHECKER, *options, path], capture_output=True, timeout=60)
    assert p.returncode in (RIGHT, WRONG, UNREADABLE), (path, p.returncode, p.stderr[-2000:])
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def path_of(name):
    return os.path.join(FOLDER, name + ".rdb")


def summary(path):
    code, out, err = check(path, "--json")
    return code, json.loads(out)


def values(name):
    """{(db, key): record}"""
    code, out, err = check(path_of(name), "--values")
    assert code == RIGHT, err
    records = [json.loads(line) for line in out.splitlines()]
    return {(r["db"], r["key"]): r for r in records}


# --- what the other servers' files hold ---


def latin(text):
    """What their JSON has as UTF-8, or as a replacement for what is none, as bytes told one by one."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def same_text(ours, theirs):
    if "\ufffd" in theirs:  # they could not tell the bytes
        return re.fullmatch(".+".join(re.escape(latin(p)) for p in theirs.split("\ufffd")), ours, re.S) is not None
    return ours == latin(theirs)


def same_score(ours, theirs):
    return math.isclose(float(ours), float(theirs), rel_tol=1e-15) or float(ours) == float(theirs)


def same_hash(ours, want):
    times = want.get("expire", {})
    assert len(ours) == len(want["hash"])
    for name, value in want["hash"].items():
        row = [r for r in ours if same_text(r[0], name)]
        assert len(row) == 1 and same_text(row[0][1], value), name
        assert row[0][2] == times.get(name, 0), name


def same_zset(ours, want):
    entries = want["entries"]
    assert len(ours) == len(entries)
    scores = dict(ours)
    for e in entries:
        assert same_score(scores[latin(e["member"])], e["score"]), e
    assert [float(s) for _, s in ours] == sorted(float(s) for _, s in ours)


def same_stream(ours, want):
    told = []
    for node in want["entries"] or []:
        for m in node["msgs"]:
            if not m["deleted"]:
                told.append((m["id"], m["fields"]))
    assert [e[0] for e in ours] == [i for i, _ in told]
    for e, (_, fields) in zip(ours, told):
        assert dict(zip(e[1::2], e[2::2])) == {latin(k): latin(v) for k, v in fields.items()}


def same_value(ours, want):
    value = ours["value"]
    assert ours["type"] == want["type"]
    if want["type"] == "string":
        assert same_text(value, want["value"])
    elif want["type"] == "list":
        assert len(value) == len(want["values"])
        assert all(same_text(a, b) for a, b in zip(value, want["values"]))
    elif want["type"] == "set":
        assert sorted(value) == sorted(latin(m) for m in want["members"])
    elif want["type"] == "hash":
        same_hash(value, want)
    elif want["type"] == "zset":
        same_zset(value, want)
    else:
        same_stream(value, want)


@pytest.mark.parametrize("name", TOLD)
def test_files_hold_what_their_json_says(name):
    with open(os.path.join(FOLDER, name + ".json"), encoding="utf-8") as f:
        told = json.load(f)
    ours = values(name)
    keys = [r for r in told if r["type"] not in ("aux", "functions")]
    assert len(ours) == len(keys)
    for want in keys:
        key = [k for k in ours if k[0] == want["db"] and same_text(k[1], want["key"])]
        assert len(key) == 1, want["key"]
        same_value(ours[key[0]], want)
        assert (ours[key[0]]["expire_ms"] != 0) == ("expiration" in want)
    code, about = summary(path_of(name))
    assert code == RIGHT
    assert sum(d["keys"] for d in about["dbs"]) == len(keys)
    assert about["functions"] == sum(r["type"] == "functions" for r in told)
    aux = {r["key"]: r["value"] for r in told if r["type"] == "aux"}
    assert not aux or dict(about["aux"]) == aux


def test_the_newest_servers_files():
    """All types and encodings of Redis 8.0.6 and Valkey 9.1.2: 26 keys that are the same in both, and a vector set."""
    redis, valkey = values("redis-8.0.6-all"), values("valkey-9.1.2-all")
    assert len(redis) == len(valkey) == 27
    assert sorted(redis) == sorted(valkey)
    # Two streams got their IDs, and one key its expiry, at different times; tables have no order.
    for key, r in redis.items():
        v = valkey[key]
        assert r["type"] == v["type"]
        if r["type"] in ("set", "hash"):
            assert sorted(r["value"]) == sorted(v["value"]), key
        elif r["type"] != "stream":
            assert r["value"] == v["value"], key
    _, about = summary(path_of("redis-8.0.6-all"))
    assert about["magic"] == "REDIS" and about["version"] == 12 and about["checksum"] == "right"
    assert about["modules"] == [{"name": "vectorset", "encoding": 0, "values": 1, "aux": 0}]
    assert [d["db"] for d in about["dbs"]] == [0, 3] and about["functions"] == 1
    assert about["dbs"][0]["types"] == {"string": 10, "list": 3, "set": 4, "zset": 3, "hash": 4, "stream": 2,
                                        "module": 1}
    _, about = summary(path_of("valkey-9.1.2-all"))
    assert about["magic"] == "VALKEY" and about["version"] == 80 and not about["modules"]


# --- what is wrong ---


@pytest.fixture
def scratch():
    with tempfile.TemporaryDirectory() as d:
        yield d


def written(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def content(name):
    with open(path_of(name), "rb") as f:
        return f.read()


def judge_all(folder, cases, judge):
    """cases: (name, bytes); judge(name, data, exit code, summary)."""

    def one(numbered):
        i, (name, data) = numbered
        path = written(folder, "%d.rdb" % i, data)
        code, about = summary(path)
        os.unlink(path)
        return name, data, code, about

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for result in pool.map(one, enumerate(cases)):
            judge(*result)


# One of each kind of value, small ones; and the two large ones in fewer places.
SAMPLE = ["listpack", "ziplist_with_integers", "zipmap_that_compresses_easily", "intset_64", "hash_with_hfe",
          "hash_as_listpack_with_hfe", "valkey_hash2_with_hfe", "stream_listoacks_3", "quicklist", "regular_set",
          "set_listpack", "sorted_set_as_ziplist", "integer_keys", "function"]


def test_files_that_end_too_early_are_told_where(scratch):
    """At each fiftieth of every file, and at each byte of a small one: the file ends there, or a text of a fixed size is cut."""
    cases = []
    for name in FILES:
        data = content(name)
        parts = 4 if SLOW else 50 if name in SAMPLE else 8
        for at in sorted({len(data) * i // parts for i in range(parts)}):
            cases.append(("%s at %d" % (name, at), data[:at]))
    data = content("hash_with_hfe")
    cases += [("hash_with_hfe at %d" % at, data[:at]) for at in range(0, len(data), 8 if SLOW else 1)]

    def judge(name, data, code, about):
        assert code == WRONG, name
        error = about["error"]
        assert error["why"] == "the file ends here", (name, error)
        assert error["offset"] == len(data) and 0 <= error["began"] <= len(data), (name, error)
        assert error["reading"], name

    judge_all(scratch, cases, judge)


def test_flipped_bits_are_told_where(scratch):
    """A file with a checksum is never right with a bit flipped; one without may be, but it is looked at whole."""
    rng = random.Random(7)
    cases = []
    for name in SAMPLE:
        data = content(name)
        for _ in range(8 if SLOW else 25):
            at, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
            cases.append(("%s at %d ^ %d" % (name, at, bit), data[:at] + bytes([data[at] ^ bit]) + data[at + 1:]))

    def judge(name, data, code, about):
        if about["version"] >= 5 and about["checksum"] != "none":
            assert code == WRONG, name
        if code == WRONG:
            assert 0 <= about["error"]["offset"] <= len(data), (name, about)

    judge_all(scratch, cases, judge)


def test_an_error_names_the_key_and_the_place(scratch):
    data = bytearray(content("multiple_databases"))
    at = data.index(b"key_in_second_database") + len(b"key_in_second_database")
    data[at] = 0xc4  # a string in an encoding that there is none of
    code, about = summary(written(scratch, "a.rdb", bytes(data)))
    assert code == WRONG
    assert about["error"] == {"offset": at, "why": "a string in an encoding that is not known", "reading": "a value",
                              "began": at, "type": 0, "key": "key_in_second_database", "db": 2}
    code, out, err = check(os.path.join(scratch, "a.rdb"))
    assert code == WRONG
    assert "offset %d: a string in an encoding that is not known" % at in err
    assert 'of key "key_in_second_database" of database 2' in err
    assert "db 0" in out and "1 string" in out


@pytest.mark.parametrize("data, why", [
    (b"", "the file ends here"),
    (b"REDIS", "the file ends here"),
    (b"XEDIS0011", "this is no RDB file"),
    (b"REDIS00x1", "a version that is no number"),
    (b"REDIS0000", "a version that is not known"),
    (b"REDIS0099", "a version that is not known"),
    (b"VALKEY081", "a version that is not known"),
    (b"REDIS0003\xf0", "a byte that begins nothing that is known"),
    (b"REDIS0003\xfe\x00\x00\x01a\x01b\x00\x01a\x01c\xff", "a key that came already"),
    (b"REDIS0003\x00\x01a\x01b\xffx", "bytes behind the end"),
    (b"REDIS0010\x00\x01a\x01b\xff" + b"\x00" * 8 + b"x", "bytes behind the end"),
    (b"REDIS0010\x00\x01a\x01b\xff" + b"\x01" * 8, "a checksum of other bytes"),
    (b"REDIS0010\xfa\x10anax-member-ttls\x05\x01a123", "times of members that have no end"),
    (b"REDIS0010\x06\x01a", "a module's value as Redis 4.0 wrote it before its release"),
    (b"REDIS0010\xf6", "a library of functions as Redis 7.0 wrote it before its release"),
    (b"VALKEY080\x18\x01a", "a value of a type that is not known of Valkey"),
    (b"REDIS0010\xfe\x81" + b"\xff" * 8, "a database with a number that is too high"),
])
def test_what_is_no_file(scratch, data, why):
    code, about = summary(written(scratch, "a.rdb", data))
    assert code == WRONG and about["error"]["why"] == why


def test_what_is_passed_over(scratch):
    """Records that are no keys: of slots, modules, times of members; and keys that are empty."""
    data = (b"REDIS0012\xf4\x01\x02\x00\xf7\x81\x04\x10\x41\x04\x10\x41\x04\x01\x02\x02\x01\x05\x00"
            b"\xfa\x10anax-member-ttls\x00\xf9\x05\xf8\x07\x02\x01s\x00\xfc\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v\xff")
    code, about = summary(written(scratch, "a.rdb", data + b"\x00" * 8))
    assert code == RIGHT, about
    assert about["empty"] == 1 and about["member_times"] == 1 and about["checksum"] == "none"
    assert about["modules"] == [{"name": "BBBBBBBBB", "encoding": 1, "values": 0, "aux": 1}]
    assert about["dbs"] == [{"db": 0, "keys": 2, "expires": 1, "past": 1, "types": {"string": 1}}]
    code, about = summary(written(scratch, "b.rdb", b"VALKEY080\xf3\x02id\x01\x05\x07\xff" + b"\x00" * 8))
    assert code == RIGHT, about


def test_files_that_cannot_be_looked_at(scratch):
    assert check(os.path.join(scratch, "nothing"))[0] == UNREADABLE
    assert check(scratch)[0] == UNREADABLE
    assert subprocess.run([CHECKER], capture_output=True).returncode == UNREADABLE
    assert subprocess.run([CHECKER, "--no-such", "x"], capture_output=True).returncode == UNREADABLE


# --- redis-server 7.0 and its checker ---


def fill(c):
    """Every type in every encoding that 7.0 has."""
    c.ok("CONFIG", "SET", "list-max-listpack-size", "4")
    c.cmd("SET", "int", "-123456")
    c.cmd("SET", "text", "x" * 3000)
    c.cmd("SET", "dead", "1", "PX", "600000")
    c.cmd("RPUSH", "list", *["e%d" % i for i in range(100)], "y" * 20000)
    c.cmd("SADD", "ints", *range(0, 1000, 7))
    c.cmd("SADD", "many", *["m%d" % i for i in range(1000)])
    c.cmd("HSET", "few", "a", "1", "b", "two")
    c.cmd("HSET", "fields", *[t for i in range(600) for t in ("f%d" % i, i)])
    c.cmd("ZADD", "low", "1", "a", "-2.5", "b", "inf", "c")
    c.cmd("ZADD", "high", *[t for i in range(300) for t in (repr(i / 7), "m%d" % i)])
    c.cmd("XADD", "stream", "5-1", "f", "v", "g", "w")
    c.cmd("XADD", "stream", "6-1", "other", "v")
    c.cmd("XGROUP", "CREATE", "stream", "g", "0")
    c.cmd("XREADGROUP", "GROUP", "g", "me", "COUNT", "1", "STREAMS", "stream", ">")
    c.cmd("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    c.cmd("SELECT", "5")
    c.cmd("SET", "other", "db")


def test_redis_check_rdb_agrees(scratch):
    with Server("redis", options={"dir": scratch, "dbfilename": "r.rdb"}) as server:
        with server.connect() as c:
            fill(c)
            c.ok("SAVE")
    path = os.path.join(scratch, "r.rdb")
    code, about = summary(path)
    theirs = subprocess.run(["redis-check-rdb", path], capture_output=True, timeout=60)
    assert code == RIGHT and theirs.returncode == 0
    out = theirs.stdout.decode()
    assert int(re.search(r"(\d+) keys read", out).group(1)) == sum(d["keys"] for d in about["dbs"]) == 12
    assert int(re.search(r"(\d+) expires", out).group(1)) == sum(d["expires"] for d in about["dbs"]) == 1
    assert about["functions"] == 1 and about["checksum"] == "right" and about["version"] == 10
    with open(path, "rb") as f:
        data = f.read()
    for at in (20, len(data) // 3, len(data) // 2, len(data) - 4):
        bad = written(scratch, "bad.rdb", data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:])
        theirs = subprocess.run(["redis-check-rdb", bad], capture_output=True, timeout=60)
        assert theirs.returncode == 1 and summary(bad)[0] == WRONG
