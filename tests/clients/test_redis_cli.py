"""redis-cli's own features, each beside the same run against redis-server: what users see must be the same.

The outputs are compared after what must differ is replaced: ports, times, addresses.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import SLOW, Conn, Server, encode, wait_until

SCALE = 10 if SLOW else 1
OPTIONS = {"enable-debug-command": "yes"}
PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    with Server("anax", shards=2, options={**OPTIONS, "unixsocket": str(folder / "anax.sock")}) as anax, \
            Server("redis", options={**OPTIONS, "unixsocket": str(folder / "redis.sock")}) as redis:
        anax.path, redis.path = str(folder / "anax.sock"), str(folder / "redis.sock")
        yield anax, redis


@pytest.fixture
def pair(running):
    for server in running:
        server.cmd("FLUSHALL")
    yield running
    assert running[0].alive(), running[0].log()


@pytest.fixture(scope="module")
def guarded():
    with Server("anax", shards=2, options={"requirepass": PASSWORD}) as anax, \
            Server("redis", options={"requirepass": PASSWORD}) as redis:
        yield anax, redis


def cli(server, *args, stdin=None, env=None, at=None):
    """(exit code, standard output, standard error)"""
    at = at if at is not None else ["-p", str(server.port)]
    done = subprocess.run(["redis-cli"] + at + [str(a) if not isinstance(a, bytes) else a for a in args], input=stdin,
                          capture_output=True, timeout=300, env={**os.environ, **(env or {})},
                          stdin=None if stdin is not None else subprocess.DEVNULL)
    return done.returncode, plain(server, done.stdout), plain(server, done.stderr)


def plain(server, output):
    """Without what names the server, and with the text that a later Redis has for HELLO without a password."""
    return output.decode("utf-8", "backslashreplace").replace(str(server.port), "PORT").replace(
        "HELLO <proto> AUTH", "HELLO AUTH")


def same(pair, *args, **kw):
    """Runs it against both; returns what both said."""
    ours, theirs = [cli(server, *args, **kw) for server in pair]
    assert ours == theirs, args
    return ours


# --- one command -----------------------------------------------------------------------------------

FORMATS = [[], ["--raw"], ["--no-raw"], ["--csv"], ["--json"], ["--quoted-json"], ["-3"], ["-3", "--no-raw"],
           ["-3", "--csv"], ["-2", "--json"], ["-d", "|", "--raw"], ["-D", "<>", "--raw"]]
COMMANDS = [["PING"], ["ECHO", "a b"], ["GET", "missing"], ["GET", "{t}ext"], ["GET", "{t}binary"], ["GET", "{t}empty"],
            ["MGET", "{t}ext", "{t}missing", "{t}binary"], ["INCR", "{t}number"], ["STRLEN", "{t}ext"], ["INCR", "{t}ext"], ["NOSUCH", "x"],
            ["GET"], ["CONFIG", "GET", "maxclient*"], ["LCS", "{t}ext", "{t}ext", "IDX", "WITHMATCHLEN"],
            ["KEYS", "nosuch*"], ["OBJECT", "ENCODING", "{t}number"], ["KEYS", "{t}ex*"], ["TYPE", "{t}ext"],
            ["EXISTS", "{t}ext"], ["COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"], ["INCRBYFLOAT", "{t}float", "0.5"],
            ["BITFIELD", "bits", "GET", "u8", "0", "OVERFLOW", "FAIL", "INCRBY", "u2", "0", "9"]]
COMMANDS += [["DEBUG", "PROTOCOL", kind] for kind in (
    "string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "false", "bignum")]


@pytest.mark.parametrize("form", FORMATS, ids=" ".join)
def test_formats(pair, form):
    for server in pair:
        with server.connect() as c:
            c.ok("MSET", "{t}ext", "some text", "{t}binary", bytes(range(256)), "{t}empty", "", "{t}number", "41",
                 "{t}float", "1.25")
    for command in COMMANDS:
        same(pair, *form, *command)


def test_exit_codes(pair):
    assert same(pair, "-e", "NOSUCH")[0] == 1
    assert same(pair, "-e", "PING")[0] == 0


def test_arguments_from_standard_input(pair):
    value = bytes(range(256)) * 300
    assert same(pair, "-x", "SET", "k", stdin=value)[1] == "OK\n"
    assert same(pair, "-X", "TAG", "SET", "TAG", "v", stdin=b"a name\n")[1] == "OK\n"
    for server in pair:
        assert server.cmd("GET", "k") == value and server.cmd("GET", "a name\n") == b"v"


def test_repeat(pair):
    assert same(pair, "-r", 5, "-i", 0.01, "INCR", "n")[1] == "1\n2\n3\n4\n5\n"


def test_database_uri_and_socket(pair):
    assert same(pair, "-n", 3, "SET", "k", "in3")[1] == "OK\n"
    for server in pair:
        assert cli(server, "GET", "k", at=["-u", "redis://127.0.0.1:%d/3" % server.port])[1] == "in3\n"
        assert cli(server, "-n", 3, "GET", "k", at=["-s", server.path])[1] == "in3\n"
        assert cli(server, "GET", "k", at=["-s", server.path])[1] == "\n"


def test_commands_from_a_file(pair):
    same(pair, stdin=b"SET a 1\nINCR a\n\nGET a\nSELECT 2\nGET a\n\"SET\" 'b c' \"\\x41\\n\"\nGET 'b c'\nNOSUCH\n2 PING\n")


# --- passwords -------------------------------------------------------------------------------------

AUTHS = [([], {}), (["-a", PASSWORD], {}), (["-a", PASSWORD, "--no-auth-warning"], {}), (["--pass", PASSWORD], {}),
         ([], {"REDISCLI_AUTH": PASSWORD}), (["--user", "default", "--pass", PASSWORD], {}), (["-a", "wrong"], {}),
         ([], {"REDISCLI_AUTH": "wrong"}), (["--user", "nobody", "--pass", PASSWORD], {}), (["-3", "-a", PASSWORD], {}),
         (["-3"], {}), (["-a", "wrong"], {"REDISCLI_AUTH": PASSWORD})]


@pytest.mark.parametrize("args,env", AUTHS, ids=str)
def test_passwords(guarded, args, env):
    _, out, _ = same(guarded, *args, "PING", env=env)
    right = args[-1:] == [PASSWORD] and "nobody" not in args or "--no-auth-warning" in args or \
        not args and env.get("REDISCLI_AUTH") == PASSWORD
    assert (out == "PONG\n") == right, out


def test_password_in_uri(guarded):
    for user, out in (("default:", "PONG\n"), ("", "PONG\n"), ("nobody:", "NOAUTH Authentication required.\n\n")):
        for server in guarded:
            at = ["-u", "redis://%s%s@127.0.0.1:%d" % (user, PASSWORD, server.port), "--no-auth-warning"]
            assert cli(server, "PING", at=at)[1] == out


# --- modes -----------------------------------------------------------------------------------------


def lines_of(server, count, *args):
    """The first lines of a mode that goes on for ever."""
    with subprocess.Popen(["stdbuf", "-oL", "redis-cli", "-p", str(server.port)] + [str(a) for a in args],
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as p:
        try:
            return [p.stdout.readline().decode() for _ in range(count)]
        finally:
            p.kill()


def test_stat(pair):
    for server in pair:
        with server.connect() as c:
            c.pipeline([["SET", "stat:%d" % i, "v"] for i in range(123)])
    ours, theirs = [lines_of(server, 7, "--stat", "-i", 0.05) for server in pair]
    assert ours[:2] == theirs[:2], "headings"
    total = 0
    for line in ours[2:]:  # keys, memory, clients, blocked, requests (+more), connections
        keys, memory, clients, blocked, requests, more, connections = line.split()
        assert keys == "123" and int(clients) >= 1 and blocked == "0" and int(connections) >= 1, line
        assert re.fullmatch(r"[0-9.]+[BKMG]", memory) and re.fullmatch(r"\(\+[0-9]+\)", more), line
        assert int(requests) > total, "its own INFO is not counted"
        total = int(requests)


def test_latency(pair):
    for server in pair:
        code, out, _ = cli(server, "--latency", "-i", 0.3)
        least, most, average, samples = out.split()
        assert code == 0 and 0 <= int(least) <= float(average) <= int(most) and int(samples) > 3, out


def test_latency_history(pair):
    for server in pair:
        for line in lines_of(server, 2, "--latency-history", "--no-raw", "-i", 0.2):
            assert re.search(r"min: \d+, max: \d+, avg: [\d.]+ \(\d+ samples\) -- [\d.]+ seconds range", line), line


def test_latency_dist(pair):
    """It draws a legend and then a line of colors for each interval."""
    ours, theirs = [lines_of(server, 12, "--latency-dist", "-i", 0.1) for server in pair]

    def drawing(lines):
        return [re.sub(r"\x1b\[[0-9;]*m.", "#", line) for line in lines]

    assert [re.sub("#+", "#", x) for x in drawing(ours)][:8] == [re.sub("#+", "#", x) for x in drawing(theirs)][:8]


def test_scan(pair):
    names = ["s%d" % i for i in range(2000 // SCALE)] + ["other:%d" % i for i in range(50)] + ["with space", "q\"uote"]
    for server in pair:
        with server.connect() as c:
            c.pipeline([["SET", name, "v"] for name in names])
    for args in (["--scan"], ["--scan", "--pattern", "s*"], ["--scan", "--pattern", "*1?"], ["--scan", "-i", "0.0001"],
                 ["--scan", "--pattern", "nosuch"], ["--scan", "--quoted-pattern", '"\\x6fther*"'],
                 ["--scan", "--no-raw", "--pattern", "q*"]):
        ours, theirs = [cli(server, *args) for server in pair]
        assert (ours[0], sorted(ours[1].splitlines()), ours[2]) == (theirs[0], sorted(theirs[1].splitlines()), theirs[2])


def test_pipe(pair):
    n = 100_000 // SCALE
    commands = []
    for i in range(n):
        commands.append(encode(["SET", "pipe%d" % i, "v%d" % i]) if i % 10 else
                        [encode(["INCR", "pipe%d" % (i + 1 - 20)]), b"SET inline%d x\r\n" % i,
                         encode(["NOSUCH", "y" * 500])][i // 10 % 3])
    for shown in ("errors: ", "All data transferred", "Last reply received"):
        assert shown in same(pair, "--pipe", stdin=b"".join(commands))[1]
    ours, theirs = [cli(server, "--pipe", stdin=b"".join(commands)) for server in pair]
    assert ours == theirs
    errors, replies = map(int, re.search(r"errors: (\d+), replies: (\d+)", ours[1]).groups())
    assert replies == n and n // 30 < errors < n // 10, ours[1]
    assert pair[0].cmd("DBSIZE") == pair[1].cmd("DBSIZE")


def test_bigkeys(pair):
    for server in pair:
        with server.connect() as c:
            c.pipeline([["SET", "big:%d" % i, b"x" * (i * 7)] for i in range(1, 400)])
    reports = []
    for server in pair:
        code, out, err = cli(server, "--bigkeys", "-i", 0.001)
        reports.append((code, out[out.index("-------- summary") :], err))
        assert "[100.00%]" not in out or "Biggest string found" in out
    assert reports[0] == reports[1]
    assert re.search("big:399.* has 2793 bytes", reports[0][1]) and "399 strings with" in reports[0][1]


def test_hotkeys_need_a_policy(pair):
    same(pair, "--hotkeys")


@pytest.fixture(scope="module", params=[1, 3])
def cached(request):
    with Server("anax", shards=request.param) as anax, Server("redis") as redis:
        for server in (anax, redis):
            with server.connect() as c:
                c.pipeline([["SET", "string:%d" % i, b"x" * (i * 3)] for i in range(1, 1000 // SCALE)])
                for i in range(1, 60):
                    for command, word in (("RPUSH", "list"), ("SADD", "set")):
                        c.cmd(command, "%s:%d" % (word, i), *["element:%d" % j for j in range(i * 5)])
                    c.cmd("HSET", "hash:%d" % i, *["field:%d" % j for j in range(i * 4)])
                    c.cmd("ZADD", "zset:%d" % i, *[x for j in range(i * 3) for x in (str(j), "element:%d" % j)])
        yield anax, redis


def summary(out):
    """What stands behind the listing of keys as they were found, whose order is the server's own."""
    return out[out.index("-------- summary") :]


def test_bigkeys_of_all_types(cached):
    reports = [cli(server, "--bigkeys") for server in cached]
    assert summary(reports[0][1]) == summary(reports[1][1]) and reports[0][2] == reports[1][2] == ""
    for key, size in (("list:59", "295 items"), ("set:59", "295 members"), ("hash:59", "118 fields"), ("zset:59", "177 members")):
        assert re.search('%s["\']+ has %s' % (key, size), reports[0][1]), (key, reports[0][1])
    assert "Sampled %d keys" % cached[0].cmd("DBSIZE") in reports[0][1]


def test_memkeys(cached):
    """The largest of each type, by what it takes here."""
    for server in cached:
        code, out, err = cli(server, "--memkeys")
        assert code == 0 and err == ""
        found = re.findall(r'Biggest +(\w+) found \'?"([^"]+)"\'? has (\d+) bytes', summary(out))
        assert {name for name, _, _ in found} == {"string", "list", "set", "hash", "zset"}, out
        with server.connect() as c:
            for name, key, took in found:
                sizes = {"%s:%d" % (name, i): c.cmd("MEMORY", "USAGE", "%s:%d" % (name, i), "SAMPLES", "0")
                         for i in range(1, 1000 // SCALE if name == "string" else 60)}
                if server.is_anax:
                    assert int(took) == sizes[key] == max(sizes.values()), name
                assert key.startswith(name)
        assert "Sampled %d keys" % server.cmd("DBSIZE") in out
    sampled = cli(cached[0], "--memkeys", "--memkeys-samples", "3")
    assert sampled[0] == 0 and "Biggest" in sampled[1]


def test_hotkeys(cached):
    for server in cached:
        with server.connect() as c:
            c.ok("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
            for _ in range(20):
                c.pipeline([["GET", "string:7"]] * 300 + [["LLEN", "list:5"]] * 200)
        code, out, err = cli(server, "--hotkeys")
        server.cmd("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert code == 0 and err == "" and "Sampled %d keys" % server.cmd("DBSIZE") in out, out
        hot = re.findall(r"hot key found with counter: (\d+)\tkeyname: \"?([^\"\n]+)", summary(out))
        assert {name for _, name in hot[:2]} == {"string:7", "list:5"}, out
        assert int(hot[0][0]) > 15


def test_info(pair):
    ours, theirs = [cli(server, "INFO", "server")[1] for server in pair]
    assert ours.startswith("# Server") and theirs.startswith("# Server")
    for field in ("redis_version:", "process_id:", "tcp_port:PORT", "uptime_in_seconds:", "run_id:"):
        assert field in ours and field in theirs, field
    headings = {line for line in cli(pair[0], "INFO")[1].splitlines() if line.startswith("#")}
    assert {"# Server", "# Clients", "# Memory", "# Stats", "# Keyspace"} - headings <= {"# Keyspace"}


def test_no_replica_yet(pair):
    """What it cannot do it says at once."""
    anax, _ = pair
    for args in (["--replica"], ["--rdb", os.devnull]):
        code, out, err = cli(anax, *args)
        assert code != 0 and "ERR" in out + err, (args, code, out, err)


# --- MONITOR ---------------------------------------------------------------------------------------

WATCHED = [["SET", "k", "v"], ["GET", "k"], ["get", "missing"], ["SET", "binary", b"\x00\xff\"\\\r\n\t\a\b'"], ["SELECT", "3"],
           ["SET", "in3", "x" * 500], ["MSET", "{t}a", "1", "{t}b", "2"], ["INCR", "binary"], ["ECHO", "a b"],
           ["OBJECT", "ENCODING", "k"], ["DEL", "k"], ["HELLO", "3", "SETNAME", "me"], ["SELECT", "0"], ["PING"], ["DBSIZE"]]


class Watcher:
    """redis-cli monitor, and the lines it has printed."""

    def __init__(self, server, *args):
        self.lines = []
        self.process = subprocess.Popen(["redis-cli", "-p", str(server.port), *args, "monitor"],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        wait_until(lambda: self.lines, "MONITOR has answered")

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


def watched(server, commands, until="the end"):
    """What MONITOR shows of commands from another connection, without times and ports."""
    with Watcher(server) as w, server.connect() as c:
        for command in commands:
            c.cmd(*command)
        c.cmd("ECHO", until)
        wait_until(lambda: any(until in line for line in w.lines), "the last command is shown")
        assert w.lines[0] == "OK\n"
        stamps = [float(line.split()[0]) for line in w.lines[1:]]
        assert all(abs(s - time.time()) < 3600 for s in stamps)
        return [re.sub(r"^[0-9]+\.[0-9]{6} \[(\d+) 127\.0\.0\.1:[0-9]+\]", r"T [\1 PEER]", line) for line in w.lines[1:]]


def test_monitor(pair):
    """One connection that waits for each answer: the same lines in the same order."""
    ours, theirs = [watched(server, WATCHED) for server in pair]
    assert ours == theirs


def test_monitor_keeps_the_order_of_each_key(pair):
    """Pipelines run on all shards; what is shown of a key is in the order in which it happened."""
    anax, _ = pair
    n = 3000 // SCALE
    with Watcher(anax) as w:
        with anax.connect() as c:
            replies = c.pipeline([["APPEND", "key:%d" % (i % 10), "%d," % i] for i in range(n)])
            assert len(replies) == n
            for k in range(10):
                c.cmd("ECHO", "end of %d" % k)
        wait_until(lambda: sum("APPEND" in x for x in w.lines) == n, "all are shown")
        for k in range(10):
            shown = "".join(re.search(r'"(\d+,)"$', x).group(1) for x in w.lines if '"key:%d"' % k in x)
            assert shown.encode() == anax.cmd("GET", "key:%d" % k)


def test_monitor_hides_passwords(guarded):
    def shown(server):
        with Watcher(server, "-a", PASSWORD, "--no-auth-warning") as w, Conn(server.address) as c:
            c.ok("AUTH", "default", PASSWORD)
            c.cmd("HELLO", "3", "AUTH", "default", PASSWORD)
            c.cmd("ECHO", "the end")
            wait_until(lambda: "the end" in w.lines[-1], "the last command is shown")
            return [re.sub(r"^.*\] ", "", line) for line in w.lines]

    ours, theirs = [shown(server) for server in guarded]
    assert ours == theirs and PASSWORD not in "".join(ours)


# --- a terminal ------------------------------------------------------------------------------------

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]")


class Terminal:
    """redis-cli at a pseudo-terminal. A dumb one has no line editing, so that what is read is what is printed."""

    def __init__(self, server, *args, term="dumb", env=None):
        self.server = server
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 50, 250, 0, 0))
                os.environ.update({"TERM": term, "HOME": "/nonexistent", "REDISCLI_RCFILE": "/nonexistent", **(env or {})})
                os.execvp("redis-cli", ["redis-cli", "-p", str(server.port)] + list(args))
            finally:
                os._exit(127)
        self.seen = ""

    def until(self, wanted):
        """What is printed up to and with the pattern, and takes it away."""
        deadline = time.monotonic() + (120 if SLOW else 30)
        while not re.search(wanted, self.seen):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], "no %r in %r" % (wanted, self.seen)
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, "it ended without %r: %r" % (wanted, self.seen)
            self.seen += data.decode("utf-8", "backslashreplace").replace(str(self.server.port), "PORT")
        end = re.search(wanted, self.seen).end()
        taken, self.seen = self.seen[:end], self.seen[end:]
        return taken

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text, prompt=r"(?m)^(127\.0\.0\.1:PORT|not connected)(\[\d+\])?(\(TX\))?> "):
        """Sends a line; returns what is printed up to the next prompt, and that."""
        self.type(text + "\n")
        return self.until(prompt)

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


PROMPT = r"(?m)^127\.0\.0\.1:PORT> "


def session(server, lines, *args, **kw):
    """The whole of what a user sees."""
    with Terminal(server, *args, **kw) as t:
        seen = [t.until(PROMPT)]
        for line in lines:
            seen.append(t.line(line))
        return seen


SESSION = ["PING", "SET k 'a value'", "GET k", "GET missing", "INCR n", "MGET {k} {k}missing", "NOSUCH", "GET", "SELECT 3", "GET k",
           "SELECT 0", "SELECT 99", "3 INCR n", "SET k \"unbalanced", "HELLO 3", "GET missing", "CONFIG GET maxclients", "HELLO 2",
           "CONFIG GET maxclients", ":set nohints", ":set hints", "KEYS *", "RESET", "CLIENT GETNAME", "DEBUG PROTOCOL push",
           "DEBUG PROTOCOL map", "DEBUG PROTOCOL attrib", "LCS k k IDX"]


@pytest.mark.parametrize("args", [[], ["-3"], ["-n", "2"]], ids=str)
def test_session(pair, args):
    def told(server):
        with Terminal(server, *args) as t:
            seen = [t.until(r"> ")]
            for line in SESSION:
                seen.append(t.line(line))
        return [re.sub(r'("version"|"id") ?(=>)? ?|\d+\) "(server|version|id)"', "", x) for x in seen]

    ours, theirs = [told(server) for server in pair]
    for line, a, b in zip(["the start"] + SESSION, ours, theirs):
        if line == "HELLO 3" or line == "HELLO 2":  # names the version and the connection
            assert [x.split()[:2] for x in a.splitlines() if "proto" in x] == \
                [x.split()[:2] for x in b.splitlines() if "proto" in x]
        elif line == "KEYS *":
            assert sorted(re.findall(r'"[^"]*"', a)) == sorted(re.findall(r'"[^"]*"', b))
        else:
            assert a == b, line


ENTRY = re.compile(r"(?m)^  ([A-Z][A-Z0-9 -]*?)(?: (\S.*?))?\r*\n  summary: (\S.*?)\r*\n  since: ([0-9.]+)\r*\n"
                   r"(?:  group: (\S+)\r*\n)?")


def entries(text):
    """name -> (parameters, summary, since, group) of what help prints."""
    return {name: rest for name, *rest in ENTRY.findall(ANSI.sub("", text))}


def test_help(pair):
    """redis-cli prints what COMMAND DOCS tells it: Redis's names, groups and versions, and no command without an
    explanation; of options there are those of a newer Redis too."""
    lines = ["help set", "help getrange", "help lcs", "help config set", "help @string", "help @bitmap", "help @connection"]
    ours, theirs = [dict(zip(["start"] + lines, session(server, lines))) for server in pair]
    for line in lines:
        mine, reference = entries(ours[line]), entries(theirs[line])
        assert reference and reference.keys() <= mine.keys(), (line, reference.keys() - mine.keys())
        for name, (parameters, summary, since, group) in reference.items():
            assert mine[name][2:] == [since, group] and mine[name][1], (name, mine[name])
            assert bool(mine[name][0]) == bool(parameters), (name, mine[name])
    anax, redis = pair
    for name in ("MSETEX", "DELIFEQ"):  # newer than this redis-cli
        assert name in entries(session(anax, ["help " + name])[1])
        assert name not in entries(session(redis, ["help " + name])[1])
    ours, theirs = [session(server, ["help", "?", "help nosuch"])[1:] for server in pair]
    assert ours == theirs


def hint(server, text):
    """What is shown behind the cursor once the text is typed."""
    gray = r"\x1b\[0;90;49m"
    with Terminal(server, term="xterm") as t:
        t.until(r"PORT> ")
        for c in text:
            t.type(c)
        t.until(re.escape(text) + gray)
        return t.until(r"\x1b\[0m")[: -len("\x1b[0m")].strip()


def test_hints_can_be_turned_off(pair):
    gray, prompt = "\x1b[0;90;49m", r"\n127\.0\.0\.1:PORT> $"
    with Terminal(pair[0], term="xterm") as t:
        t.until(r"PORT> ")
        for choice, shown in (("nohints", False), ("hints", True)):
            t.type(":set %s\r" % choice)
            t.until(choice + r"\r[^\n]*" + prompt)
            t.type("get \r")
            assert (gray in t.until(r"wrong number of arguments[^>]*" + prompt)) == shown


@pytest.mark.parametrize("text", ["get ", "mset ", "config set ", "select ", "append k ", "setrange k 1 ", "mset k "])
def test_hints(pair, text):
    """The rest of the command's syntax behind the cursor."""
    ours, theirs = [hint(server, text) for server in pair]
    assert ours == theirs and ours


def test_hint_of_options(pair):
    shown = hint(pair[0], "set k v ")
    for option in ("NX", "XX", "GET", "EX seconds", "KEEPTTL"):
        assert option in shown, shown


def test_asks_for_the_password(guarded):
    for server in guarded:
        with Terminal(server, "--askpass") as t:
            t.until("Please input password: ")
            t.type(PASSWORD + "\n")
            t.until(PROMPT)
            assert "PONG" in t.line("PING")
    ours, theirs = [session(server, ["PING", "AUTH wrong", "PING", "AUTH default wrong", "AUTH " + PASSWORD, "PING",
                                     "AUTH default " + PASSWORD]) for server in guarded]
    assert ours == theirs and "NOAUTH" in ours[1] and "PONG" in ours[6]


def test_connects_again(pair):
    """Its connection is killed: the next command goes by a new one, in the same database."""

    def told(server):
        with Terminal(server) as t:
            t.until(PROMPT)
            seen = [t.line("SELECT 3"), t.line("SET k v")]
            number = re.search(r"\(integer\) (\d+)", t.line("CLIENT ID")).group(1)
            assert server.cmd("CLIENT", "KILL", "ID", number) == 1
            # Whether the command still went out before the end was seen is up to the kernel.
            lost = t.line("GET k").replace("Connection reset by peer", "Server closed the connection")
            return seen + [lost, t.line("GET k"), t.line("exit", "(?s).*")]

    ours, theirs = [told(server) for server in pair]
    assert ours == theirs


def test_server_goes_while_it_is_used():
    def told(kind):
        with Server(kind) as server:
            with Terminal(server) as t:
                t.until(PROMPT)
                seen = [t.line("SET k v")]
                seen.append(t.line("SHUTDOWN NOSAVE"))
                assert server.process.wait(60) == 0
                seen.append(t.line("PING"))
                server.process = subprocess.Popen(server.args, stdout=server.log_file, stderr=subprocess.STDOUT,
                                                  stdin=subprocess.DEVNULL)
                server.wait_ready()
                seen.append(t.line("PING"))
                return seen

    assert told("anax") == told("redis")
