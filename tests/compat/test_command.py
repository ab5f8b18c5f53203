"""COMMAND and HELP: what rows tell about commands, beside what redis-server 7.0 tells.

INFO is compared byte by byte. DOCS is compared argument by argument: names are those of Redis 8, which
made them unique within a command (RENAMED), and what differs otherwise is listed with its reason.
"""

import fcntl
import os
import pty
import random
import re
import select
import struct
import subprocess
import termios
import time

import pytest

import grammar
from harness import DEADLINE_S, Error, Map, Server, Status, encode


def raw(server, *args, proto=2):
    with server.connect() as c:
        if proto == 3:
            c.cmd("HELLO", "3")
        c.send(encode(args))
        return c.read()


def named(value):
    """Maps as dictionaries, bytes as text."""
    if isinstance(value, Map):
        return {named(k): named(v) for k, v in value}
    if isinstance(value, list):
        return [named(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value


def infos(server):
    """COMMAND INFO of everything, subcommands too, by name."""
    rows = {}
    for row in named(raw(server, "COMMAND", proto=3).value):
        rows[row[0]] = row
        for sub in row[9]:
            rows[sub[0]] = sub
    return rows


def docs(server):
    """COMMAND DOCS of everything, subcommands too, by name."""
    rows = {}
    for name, doc in named(raw(server, "COMMAND", "DOCS", proto=3).value).items():
        rows[name] = doc
        rows.update(doc.get("subcommands", {}))
    return rows


# --- INFO ------------------------------------------------------------------------------------------

INFO_OTHERWISE = {
    "command|getkeys": "Redis 8 and Valkey 9 take a call without arguments too: arity -3",
    "command|getkeysandflags": "the same",
    "set": "notes on a key specification are prose of Redis's own",
    "getex": "the same",
    "bitfield": "the same",
    "sort": "the same",
    "sort_ro": "the same",
    "zrank": "since 7.2 the score may be asked for: arity -3",
    "zrevrank": "the same",
}

TIPS_OTHERWISE = {  # Redis 8's and Valkey 9's, where 7.0 had others
    "client|setname": ["request_policy:all_nodes", "response_policy:all_succeeded"],
    "config|resetstat": ["request_policy:all_nodes", "response_policy:all_succeeded"],
    "config|rewrite": ["request_policy:all_nodes", "response_policy:all_succeeded"],
    "latency|reset": ["request_policy:all_nodes", "response_policy:agg_sum"],
    "msetnx": [],
    "randomkey": ["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
    "scan": ["nondeterministic_output", "request_policy:special", "response_policy:special"],
}


def without_prose(row):
    """A row without the notes of its key specifications."""
    specs = [{k: v for k, v in spec.items() if k != "notes"} for spec in row[8]]
    return row[:8] + [specs, []]


@pytest.mark.parametrize("proto", [2, 3])
def test_info_is_redis_s_byte_by_byte(anax2, redis, proto):
    known = set(infos(redis))
    wrong = []
    for name, row in infos(anax2).items():
        if name not in known or name in INFO_OTHERWISE or name in TIPS_OTHERWISE:
            continue
        if row[9]:  # subcommands come in any order
            continue
        ours, theirs = (raw(s, "COMMAND", "INFO", name, proto=proto).raw for s in (anax2, redis))
        if ours != theirs:
            wrong.append("%s:\n  %r\n  %r" % (name, ours, theirs))
    assert not wrong, "\n".join(wrong)


def test_info_that_differs_differs_by_its_reason(anax2, redis, against_redis_itself):
    ours, theirs = infos(anax2), infos(redis)
    for name in ("set", "getex", "bitfield", "sort", "sort_ro"):
        assert without_prose(ours[name]) == without_prose(theirs[name])
    for name in ("command|getkeys", "command|getkeysandflags"):
        assert ours[name][1] == (-4 if against_redis_itself else -3)
        assert ours[name][2:] == theirs[name][2:]
    for name in ("zrank", "zrevrank"):
        assert ours[name][1] == (3 if against_redis_itself else -3)
        assert ours[name][2:] == theirs[name][2:]
    for name, row in ours.items():
        if row[9] and name in theirs:
            assert row[:9] == theirs[name][:9], name
    for name, tips in TIPS_OTHERWISE.items():
        assert ours[name][:7] == theirs[name][:7] and ours[name][8:] == theirs[name][8:]
        assert against_redis_itself or sorted(ours[name][7]) == sorted(tips) != sorted(theirs[name][7])


def test_info_of_names(anax2, redis):
    for args in (("nosuch",), ("get", "nosuch", "GET"), ("object|encoding",), ("object|nosuch", "x|y", "|"),
                 ("",), ("get\0",)):
        ours, theirs = (raw(s, "COMMAND", "INFO", *args, proto=3).raw for s in (anax2, redis))
        assert ours == theirs, args


def test_count_list_info_and_docs_tell_the_same_commands(anax2):
    with anax2.connect() as c:
        c.cmd("HELLO", "3")
        count = c.cmd("COMMAND", "COUNT")
        assert count == len(c.cmd("COMMAND")) == len(c.cmd("COMMAND", "INFO")) == len(c.cmd("COMMAND", "DOCS"))
        listed = [name.decode() for name in c.cmd("COMMAND", "LIST")]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(infos(anax2)) == set(docs(anax2))
    assert count == sum("|" not in name for name in listed)


def test_list_filters(anax2, redis):
    rows = infos(anax2)
    with anax2.connect() as a, redis.connect() as r:
        for category in ("string", "bitmap", "keyspace", "read", "write", "fast", "slow", "admin", "dangerous",
                         "connection", "blocking", "STRING", "nosuch", ""):
            listed = {n.decode() for n in a.cmd("COMMAND", "LIST", "FILTERBY", "ACLCAT", category)}
            assert listed == {n for n, row in rows.items() if "@" + category.lower() in row[6]}, category
        for pattern in ("*", "get*", "GET*", "*|h?lp", "[a-d]*", "nosuch", "", "object|*"):
            ours = set(a.cmd("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern))
            theirs = set(r.cmd("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern))
            known = {n.encode() for n in rows}
            newer = ours - set(r.cmd("COMMAND", "LIST"))
            assert ours - newer == theirs & known, pattern


ERRORS = [
    "COMMAND nosuch", "COMMAND COUNT x", "COMMAND HELP x", "COMMAND LIST x", "COMMAND LIST FILTERBY",
    "COMMAND LIST FILTERBY MODULE", "COMMAND LIST FILTERBY MODULE x", "COMMAND LIST FILTERBY nosuch x",
    "COMMAND LIST FILTERBY ACLCAT string x", "COMMAND LIST PATTERN get", "COMMAND LIST FILTERBY PATTERN",
    "COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS", "COMMAND GETKEYS nosuch x", "COMMAND GETKEYS ping x y",
    "COMMAND GETKEYS get x y", "COMMAND GETKEYS object encoding", "COMMAND GETKEYS object nosuch x",
    "COMMAND GETKEYS object|encoding x y", "COMMAND GETKEYS echo x y z", "COMMAND GETKEYSANDFLAGS time x",
    "COMMAND DOCS nosuch", "COMMAND GETKEYSANDFLAGS nosuch x", "COMMAND GETKEYSANDFLAGS get x y",
    "MODULE", "MODULE nosuch", "MODULE LIST", "MODULE LIST x", "ROLE", "ROLE x", "LOLWUT VERSION x",
    "LOLWUT VERSION 99999999999999999999",
]


@pytest.mark.parametrize("proto", [2, 3])
def test_errors_and_short_replies(anax, redis, proto):
    for line in ERRORS:
        ours, theirs = (raw(s, *line.split(" "), proto=proto).raw for s in (anax, redis))
        assert ours == theirs, line


def test_getkeys_of_a_name_alone(anax2, against_redis_itself):
    """Redis 8 and Valkey 9 allow it; 7.0 wants an argument."""
    if not against_redis_itself:
        expected = {"ping": b"ERR The command has no key arguments",
                    "get": b"ERR Invalid number of arguments specified for command",
                    "nosuch": b"ERR Invalid command specified"}
        for name, error in expected.items():
            for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
                reply = anax2.cmd("COMMAND", sub, name)
                assert reply == error and isinstance(reply, Error), name


@pytest.mark.parametrize("seed", range(3))
def test_keys_and_flags_of_random_calls(anax2, redis, seed):
    """Calls are whole, broken, in any case: both servers find the same keys, do the same to them, or
    refuse for the same reason."""
    known = set(infos(redis))
    draw = grammar.Draw(random.Random(seed))
    calls = [args for _, args in grammar.stream(draw, 700, mutations=0.3)
             if len(args) > 1 and args[0].decode().lower() in known]
    assert len(calls) > 400
    requests = [[b"COMMAND", sub] + args for args in calls for sub in (b"GETKEYS", b"GETKEYSANDFLAGS")]
    with anax2.connect() as a, redis.connect() as r:
        for request, ours, theirs in zip(requests, a.pipeline(requests), r.pipeline(requests)):
            assert ours.raw == theirs.raw, (request, ours.raw, theirs.raw)


@pytest.mark.parametrize("call", [
    "bitfield a", "bitfield a get u8 0", "bitfield a get u8", "bitfield a get u8 0 get u8 1", "bitfield a foo",
    "bitfield a overflow sat get u8 0", "bitfield a overflow", "bitfield a set u8 0 1", "bitfield a set u8 0",
    "bitfield a incrby u8 0 1", "bitfield a get u8 0 incrby u8 0 1", "set a b", "set a b get", "set a b GET",
    "set get get", "set a b ex 1 get", "set a b nx", "mset a b c", "mset a b c d", "bitop and a b", "lcs a b",
    "copy a b replace", "rename a b", "object freq a", "touch a b c"])
def test_flags_that_the_arguments_decide(anax2, redis, call):
    for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
        args = ["COMMAND", sub] + call.split(" ")
        assert raw(anax2, *args, proto=3).raw == raw(redis, *args, proto=3).raw


def test_keys_that_are_counted(anax2, against_redis_itself):
    if against_redis_itself:  # 7.0 has no MSETEX
        return
    with anax2.connect() as c:
        assert c.cmd("COMMAND", "GETKEYS", "MSETEX", 2, "a", 1, "b", 2, "EX", 5) == [b"a", b"b"]
        for count in (0, 3, "x", -1):
            assert c.cmd("COMMAND", "GETKEYS", "MSETEX", count, "a", 1, "b", 2) == \
                b"ERR Invalid arguments specified for command"
    (spec,) = infos(anax2)["msetex"][8]
    assert spec == {"flags": ["OW", "update"], "begin_search": {"type": "index", "spec": {"index": 1}},
                    "find_keys": {"type": "keynum", "spec": {"keynumidx": 0, "firstkey": 1, "keystep": 2}}}


# --- DOCS ------------------------------------------------------------------------------------------

RENAMED = {  # "name:type" of 7.0 -> the name that Redis 8 has
    "bitcount": {"index:block": "range", "index_unit:oneof": "unit"},
    "bitfield": {"encoding_offset:block": "get-block", "wrap_sat_fail:oneof": "overflow-block",
                 "write_operation:oneof": "write-operation", "encoding_offset_value:block": "set-block",
                 "encoding_offset_increment:block": "incrby-block"},
    "bitfield_ro": {"encoding_offset:block": "get-block"},
    "bitpos": {"index:block": "range", "end_index:block": "end-unit-block", "index_unit:oneof": "unit"},
    "client|reply": {"on_off_skip:oneof": "action"},
    "client|unblock": {"timeout_error:oneof": "unblock-type"},
    "config|set": {"parameter_value:block": "data"},
    "flushall": {"async:oneof": "flush-type"},
    "flushdb": {"async:oneof": "flush-type"},
    "hello": {"username_password:block": "auth"},
    "hmset": {"field_value:block": "data"},
    "hset": {"field_value:block": "data"},
    "lcs": {"len:integer": "min-match-len"},
    "mset": {"key_value:block": "data"},
    "msetnx": {"key_value:block": "data"},
    "shutdown": {"nosave_save:oneof": "save-selector"},
    "zadd": {"score_member:block": "data"},
    **{name: {"offset_count:block": "limit"} for name in (
        "zrange", "zrangebyscore", "zrevrangebyscore", "zrangebylex", "zrevrangebylex", "zrangestore")},
}

NEWER_OPTIONS = {  # ours that 7.0 lacks
    "hscan": {"novalues": "Redis 7.4: NOVALUES"},
    "set": {"comparison-value": "Valkey 8.1 and Redis 8.4: SET IFEQ"},
    **{name: {"withscore": "7.2"} for name in ("zrank", "zrevrank")},
    "zscan": {"noscores": "Valkey 8.1"},
    **{name: {"count": "Redis 8.8: AGGREGATE COUNT"} for name in ("zunion", "zinter", "zunionstore", "zinterstore")},
}

SORT_ARGUMENTS = (
    "key:key#0 BY=by-pattern:pattern optional LIMIT=limit:block(offset:integer count:integer) optional "
    "GET=get-pattern:pattern optional multiple multiple_token order:oneof(ASC=asc:pure-token DESC=desc:pure-token) optional "
    "ALPHA=sorting:pure-token optional")

ARGUMENTS_OTHERWISE = {  # how ours reads, and why
    "bgsave": ("operation:oneof(SCHEDULE=schedule:pure-token CANCEL=cancel:pure-token) optional", "CANCEL is of Valkey 8.1"),
    "bitop": ("operation:oneof(AND=and:pure-token OR=or:pure-token XOR=xor:pure-token NOT=not:pure-token "
              "DIFF=diff:pure-token DIFF1=diff1:pure-token ANDOR=andor:pure-token ONE=one:pure-token) "
              "destkey:key#0 key:key#1 multiple",
              "since 7.2 the operations are told; the last four are of Redis 8.2"),
    "command|getkeys": ("command:string arg:string optional multiple", "since 7.2 the call is told"),
    "command|getkeysandflags": ("command:string arg:string optional multiple", "the same"),
    "config|get": ("parameter:string multiple", "since 7.2 without a block around one argument"),
    "migrate": ('host:string port:integer key-selector:oneof(key:key#0 ""=empty-string:pure-token) destination-db:integer '
                "timeout:integer COPY=copy:pure-token optional REPLACE=replace:pure-token optional "
                "authentication:oneof(AUTH=auth:string AUTH2=auth2:block(username:string password:string)) optional "
                "KEYS=keys:key#1 optional multiple", "since 7.2 the empty string is told, and other names"),
    "sort": (SORT_ARGUMENTS + " STORE=destination:key#2 optional", "a pattern is not told to be of a key specification that is "
             "unknown; BY and GET are named as since 7.2"),
    "sort_ro": (SORT_ARGUMENTS, "the same"),
}

MORE_FILTERS = {  # all of 7.0's words, and more of them
    "client|kill": "the filters of Valkey 9, and SKIPME's values told since 7.2",
    "client|list": "the filters of Valkey 9",
}


def argument(a, renamed=None, leave_out=()):
    """An argument in one line: TOKEN=name:type#spec(arguments) flags."""
    name = (renamed or {}).get("%s:%s" % (a["name"], a["type"]), a["name"])
    line = "%s%s:%s" % (a["token"] + "=" if "token" in a else "", name, a["type"])
    if "key_spec_index" in a:
        line += "#%d" % a["key_spec_index"]
    if "arguments" in a:
        line += "(%s)" % arguments(a["arguments"], renamed, leave_out)
    return " ".join([line] + sorted(a.get("flags", []), key=["optional", "multiple", "multiple_token"].index))


def arguments(doc_arguments, renamed=None, leave_out=()):
    return " ".join(argument(a, renamed, leave_out) for a in doc_arguments if a["name"] not in leave_out)


def leaves(doc_arguments):
    for a in doc_arguments:
        yield a
        yield from leaves(a.get("arguments", []))


def test_arguments_are_those_of_redis(anax2, redis, against_redis_itself):
    theirs = docs(redis)
    wrong = []
    for name, doc in docs(anax2).items():
        if name not in theirs or against_redis_itself:
            continue
        if name in MORE_FILTERS:
            words = [{a.get("token") for a in leaves(d["arguments"])} for d in (doc, theirs[name])]
            assert words[0] > words[1], name
            continue
        said = arguments(doc.get("arguments", []), leave_out=NEWER_OPTIONS.get(name, ()))
        expected = arguments(theirs[name].get("arguments", []), RENAMED.get(name))
        if name in ARGUMENTS_OTHERWISE:
            assert said != expected, "%s: is listed as different, and is not" % name
            expected = ARGUMENTS_OTHERWISE[name][0]
        if said != expected:
            wrong.append("%s:\n  %s\n  %s" % (name, said, expected))
    assert not wrong, "\n".join(wrong)


def test_newer_options_are_there(anax2, against_redis_itself):
    if not against_redis_itself:
        ours = docs(anax2)
        for name, options in NEWER_OPTIONS.items():
            for option in options:
                assert option in arguments(ours[name]["arguments"])


DEPRECATED_LATER = {"setnx": "2.6.12", "setex": "2.6.12", "psetex": "2.6.12", "quit": "7.2.0"}  # told since 7.2


def test_facts_in_docs(anax2, redis, against_redis_itself):
    theirs = docs(redis)
    for name, doc in docs(anax2).items():
        assert doc["summary"] and (doc.get("complexity") or against_redis_itself), name
        if name not in theirs:
            continue
        if not against_redis_itself:
            assert doc["summary"] != theirs[name]["summary"], "%s: not our own words" % name
        assert doc["group"] == theirs[name]["group"], name
        if name in DEPRECATED_LATER and not against_redis_itself:
            assert doc["doc_flags"] == ["deprecated"] and doc["deprecated_since"] == DEPRECATED_LATER[name]
            assert doc["replaced_by"]
            continue
        for field in ("doc_flags", "deprecated_since", "replaced_by"):
            assert doc.get(field) == theirs[name].get(field), name


def test_arguments_are_well_formed(anax2, against_redis_itself):
    if against_redis_itself:  # display_text came with 7.2
        return
    for name, doc in docs(anax2).items():
        for a in leaves(doc.get("arguments", [])):
            group = a["type"] in ("oneof", "block")
            assert ("arguments" in a) == group and ("display_text" in a) != group, (name, a)
            assert ("token" in a) or a["type"] != "pure-token", (name, a)
            assert len(a.get("arguments", [1, 2])) > (a["type"] == "oneof"), (name, a)
            assert re.fullmatch("[a-z0-9_-]+", a["name"]), (name, a)
            assert ("key_spec_index" in a) == (a["type"] == "key"), (name, a)


def fewest(a):
    """How many words an argument takes at least."""
    if "optional" in a.get("flags", []):
        return 0
    words = 1
    if a["type"] == "pure-token":
        return words
    if a["type"] == "oneof":
        words = min(max(fewest(b), 1) for b in a["arguments"])
    elif a["type"] == "block":
        words = sum(fewest(b) for b in a["arguments"])
    return words + ("token" in a)


def varies(a):
    if {"optional", "multiple"} & set(a.get("flags", [])):
        return True
    inner = a.get("arguments", [])
    return any(varies(b) for b in inner) or (a["type"] == "oneof" and len({fewest(b) for b in inner}) > 1)


def test_arguments_fit_the_arity(anax2, against_redis_itself):
    """What a syntax asks for is what the arity asks for; so a row without one is found out."""
    rows = infos(anax2)
    wrong = []
    for name, doc in docs(anax2).items():
        if "subcommands" in doc or name in ARITY_OTHERWISE or against_redis_itself:
            continue
        said = doc.get("arguments", [])
        words = 1 + ("|" in name) + sum(fewest(a) for a in said)
        arity = -words if any(varies(a) for a in said) else words
        if arity != rows[name][1]:
            wrong.append((name, rows[name][1], arguments(said)))
    assert not wrong, wrong


ARITY_OTHERWISE = {
    "quit": "takes any arguments and ignores them, which no documentation tells",
    "lolwut": "takes any arguments",
    "psync": "takes more arguments, which no documentation tells",
}


def test_docs_of_names(anax2):
    with anax2.connect() as c:
        c.cmd("HELLO", "3")
        reply = named(c.cmd("COMMAND", "DOCS", "GET", "nosuch", "object|freq", "object"))
        assert set(reply) == {"get", "object|freq", "object"}
        assert set(reply["object"]["subcommands"]) >= {"object|freq", "object|help"}
        every = named(c.cmd("COMMAND", "DOCS"))
        assert reply["get"] == every["get"]
        assert reply["object|freq"] == every["object"]["subcommands"]["object|freq"]


# --- HELP ------------------------------------------------------------------------------------------


def test_help_of_every_container(redis, against_redis_itself):
    if against_redis_itself:  # its lists are written by hand, and some lack a subcommand
        return
    with Server("anax", shards=2, options={"enable-debug-command": "yes"}) as server:
        containers = {name: doc["subcommands"] for name, doc in docs(server).items() if "subcommands" in doc}
        assert {"client", "command", "config", "debug", "latency", "object", "slowlog"} <= set(containers)
        for name, subcommands in containers.items():
            lines = server.cmd(name, "HELP")
            assert all(isinstance(line, Status) for line in lines), lines
            theirs = redis.cmd(name, "HELP")
            if not isinstance(theirs, Error):  # 7.0 has no COMMANDLOG, and its DEBUG is locked
                assert lines[0] == theirs[0]
            told = [line.decode() for line in lines[1:]]
            subs = [line.split(" ")[0].lower() for line in told if not line.startswith((" ", "("))]
            assert {name + "|" + sub for sub in subs} == set(subcommands)
            assert subs[-1] == "help" and len(subs) == len(set(subs))
            assert all(re.fullmatch(r" {4}(\* )?\S.*", line) for line in told if line.startswith(" "))


def test_command_as_an_inline_command(anax2):
    """To a client that has not said HELLO: maps are flat arrays."""
    with anax2.connect() as c:
        c.send(b"COMMAND INFO get\r\nCOMMAND DOCS get\r\nPING\r\n")
        assert c.read().value[0][0] == b"get"
        name, doc = c.read().value
        assert name == b"get" and doc[0] == b"summary" and len(doc) % 2 == 0
        assert c.read().value == b"PONG"


def test_lolwut_names_the_version(anax2, against_redis_itself):
    field, product = ("redis_version", "Redis") if against_redis_itself else ("anax_version", "Anax")
    last = "%s ver. %s" % (product, anax2.info("server")[field])
    for args in ([], ["VERSION", "5"], ["VERSION", "6", "1", "2"], ["VERSION"], ["nosuch", "x", "y"]):
        reply = raw(anax2, "LOLWUT", *args, proto=3)
        assert reply.raw.startswith(b"=") and reply.value[:4] == b"txt:", args
        assert reply.value.decode().splitlines()[-1].endswith(last), args


# --- redis-cli -------------------------------------------------------------------------------------

PLAIN = {**os.environ, "REDISCLI_HISTFILE": "/dev/null", "REDISCLI_RCFILE": "/dev/null"}
SHOWN_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def cli_help(server, *words):
    out = subprocess.run(["redis-cli", "-p", str(server.port), "help", *words], env=PLAIN, timeout=DEADLINE_S,
                         capture_output=True, text=True, check=True)
    return SHOWN_COLOUR.sub("", out.stdout)


@pytest.mark.parametrize("words", ["get", "getrange", "bitfield", "setbit", "scan", "object encoding", "expire",
                                   "mset", "copy"])
def test_redis_cli_s_help_reads_as_with_redis(anax2, redis, words):
    """All but the summary, which is in our own words."""
    ours, theirs = ([line for line in cli_help(s, *words.split(" ")).splitlines() if "summary:" not in line]
                    for s in (anax2, redis))
    assert ours == theirs
    assert any("since:" in line for line in ours)


def test_redis_cli_s_help_of_a_group(anax2, redis):
    names = [set(re.findall("^  ([A-Z_]+) ", cli_help(s, "@bitmap"), re.M)) for s in (anax2, redis)]
    assert names[0] == names[1] and len(names[0]) == 7


class Terminal:
    """redis-cli as a person sees it."""

    def __init__(self, server):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
            os.environ.update(PLAIN, TERM="xterm")
            os.execvp("redis-cli", ["redis-cli", "-p", str(server.port)])
        self.out = b""

    def until(self, text):
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.out:
            assert time.monotonic() < deadline, self.out
            if select.select([self.fd], [], [], 0.1)[0]:
                self.out += os.read(self.fd, 65536)
        return self.out

    def type(self, keys):
        self.out = b""
        os.write(self.fd, keys)

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def test_redis_cli_hints_while_one_types(anax2):
    terminal = Terminal(anax2)
    try:
        terminal.until(b"> ")
        terminal.type(b"getex ")
        terminal.until(b"key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]")
        terminal.type(b"k ")
        terminal.until(b"getex k \x1b[0;90;49m[EX seconds|")
        terminal.type(b"\x15object fr")  # ^U: from the start
        terminal.type(b"eq ")
        terminal.until(b"object freq \x1b[0;90;49mkey")
    finally:
        terminal.close()
