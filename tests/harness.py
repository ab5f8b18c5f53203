"""harness.py: starts servers and speaks RESP to them byte for byte.

Why        compat compares raw replies, so no client library may stand between; and every suite starts
           servers, which must end even when a test fails.
Use        ANAX_BIN names the server under test (default: build/dev/anax). When it names a
           redis-server, the options that only Anax has are left out: a suite that fails against
           Redis itself is wrong about Redis.
           ANAX_TEST_PORTS=first-last bounds the ports (default: what the kernel hands out).
           ANAX_TEST_SLOW=1 says that the build is instrumented: deadlines stretch, and numbers of
           bytes are not judged (sanitizers pad every allocation).
"""

import collections
import concurrent.futures
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ANAX = os.environ.get("ANAX_BIN", os.path.join(ROOT, "build", "dev", "anax"))
REDIS = os.environ.get("REDIS_BIN", "redis-server")
SLOW = os.environ.get("ANAX_TEST_SLOW", "") == "1"
ANAX_IS_REDIS = "redis" in os.path.basename(ANAX)
DEADLINE_S = 120 if SLOW else 40


# --- replies ---------------------------------------------------------------------------------------


class Status(bytes):
    """A simple string, which must not compare equal to a bulk string by accident of type."""


class Error(bytes):
    pass


class Double(bytes):
    """Kept as its digits: how a number is written is part of the protocol's behaviour."""


class Verbatim(bytes):
    pass


class BigNumber(bytes):
    pass


class Map(list):
    """Pairs in the order sent."""


class Set(list):
    pass


class Push(list):
    pass


class NullArray:
    def __repr__(self):
        return "NullArray"


NULL_ARRAY = NullArray()

Reply = collections.namedtuple("Reply", "raw value")


def encode(args):
    """A request as a RESP array of bulk strings."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode()
        elif isinstance(arg, int):
            arg = b"%d" % arg
        out.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(out)


class Closed(Exception):
    """The server closed the connection while a reply was awaited."""


class Conn:
    """One connection; replies are parsed strictly and their bytes kept."""

    def __init__(self, address, timeout_s=None, rcvbuf_bytes=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf_bytes)
        self.sock.settimeout(timeout_s or DEADLINE_S)
        self.sock.connect(address)
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()
        self.start = 0  # of the reply that is being read
        self.pos = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _fill(self):
        if self.start > 1 << 20:
            del self.buf[: self.start]
            self.pos -= self.start
            self.start = 0
        data = self.sock.recv(1 << 18)
        if not data:
            raise Closed()
        self.buf += data

    def _line(self):
        while True:
            end = self.buf.find(b"\r\n", self.pos)
            if end >= 0:
                line = bytes(self.buf[self.pos : end])
                self.pos = end + 2
                return line
            self._fill()

    def _bulk(self, n):
        while len(self.buf) - self.pos < n + 2:
            self._fill()
        data = bytes(self.buf[self.pos : self.pos + n])
        assert self.buf[self.pos + n : self.pos + n + 2] == b"\r\n", "bulk string without its CRLF"
        self.pos += n + 2
        return data

    def _values(self, n):
        """So many values. Strings that are there already are cut out some at a time, which takes a quarter of the time: what
        begins with its own length, and has no line break in it, is one."""
        out, most = [], 8
        while len(out) < n:
            if most > 1 and self.buf.startswith(b"$", self.pos):
                wanted = min(n - len(out), most)
                strings = self._strings(wanted)
                out += strings
                most = min(4 * most, 256) if len(strings) == wanted else most // 2
            if len(out) < n:
                out.append(self._value())
        return out

    def _strings(self, most):
        parts = bytes(self.buf[self.pos : self.pos + 32 * most]).split(b"\r\n", 2 * most)[:-1]
        strings = parts[1::2]
        heads = [b"$%d" % len(s) for s in strings]
        if heads != parts[: 2 * len(strings) : 2]:
            good = next(i for i, head in enumerate(heads) if head != parts[2 * i])
            del strings[good:], heads[good:]
        self.pos += sum(map(len, strings)) + sum(map(len, heads)) + 4 * len(strings)
        return strings

    def _value(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            return Error(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self._bulk(n)
        if kind == b"*":
            n = int(rest)
            return NULL_ARRAY if n < 0 else self._values(n)
        if kind == b"%":
            flat = self._values(2 * int(rest))
            return Map(zip(flat[::2], flat[1::2]))
        if kind == b"~":
            return Set(self._values(int(rest)))
        if kind == b">":
            return Push(self._value() for _ in range(int(rest)))
        if kind == b"_":
            assert rest == b"", line
            return None
        if kind == b"#":
            return {b"t": True, b"f": False}[rest]
        if kind == b",":
            return Double(rest)
        if kind == b"(":
            return BigNumber(rest)
        if kind == b"=":
            return Verbatim(self._bulk(int(rest)))
        raise AssertionError("not a RESP reply: %r" % line[:80])

    def read(self):
        """The next reply."""
        if self.pos == len(self.buf):
            self.buf.clear()
            self.pos = 0
        self.start = self.pos
        value = self._value()
        return Reply(bytes(self.buf[self.start : self.pos]), value)

    def cmd(self, *args):
        """Sends one command and returns the value of its reply."""
        self.send(encode(args))
        return self.read().value

    def ok(self, *args):
        value = self.cmd(*args)
        assert value == b"OK" and isinstance(value, Status), (args, value)

    def pipeline(self, commands):
        """Sends all, reads all. A thread sends, because a server may stop reading from a client
        that does not read."""
        data = b"".join(encode(c) if isinstance(c, (list, tuple)) else c for c in commands)
        if len(data) < 1 << 16:
            self.send(data)
            return [self.read() for _ in commands]
        sender = threading.Thread(target=self.send_quietly, args=(data,))
        sender.start()
        try:
            return [self.read() for _ in commands]
        finally:
            sender.join(DEADLINE_S)

    def info(self, section="everything"):
        """INFO as a dictionary."""
        text = self.cmd("INFO", section)
        assert not isinstance(text, Error), text
        pairs = (line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
        return {k: v for k, v in pairs}

    def send_quietly(self, data):
        """For a thread beside the one that reads, which will see what went wrong."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def until_closed(self, timeout_s=None):
        """Bytes until the server closes; fails when it does not."""
        self.sock.settimeout(timeout_s or DEADLINE_S)
        out = bytes(self.buf[self.pos :])
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return out
            if not data:
                return out
            out += data


# --- servers ---------------------------------------------------------------------------------------

Held = collections.namedtuple("Held", "descriptors clients bytes")
SILENCE_S = 2.5  # two of the server's ticks of a second

_next_port = None


def free_port():
    """A port nobody listens on."""
    global _next_port
    bounds = os.environ.get("ANAX_TEST_PORTS")
    if not bounds:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]
    first, last = map(int, bounds.split("-"))
    for _ in range(last - first + 1):
        if _next_port is None or _next_port > last:
            _next_port = first
        port = _next_port
        _next_port += 1
        if is_free(port):
            return port
    raise RuntimeError("no free port in " + bounds)


def is_free(port):
    """Whether a server could listen there: after a kill the kernel still holds the sockets of an io_uring for a while."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def raise_fd_limit(n):
    """Room for n descriptors, in this process and in the servers it starts; returns what there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        soft = n if hard == resource.RLIM_INFINITY else min(n, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


running = weakref.WeakSet()  # servers that were started and not yet ended


class Server:
    """A server process. `options` are redis.conf names: {"maxclients": 10}. It runs in a directory of its own, `dir`, which goes
    with it, unless one is given; without save points, unless `options` or the configuration file have some."""

    def __init__(self, kind="anax", shards=1, io=None, borrow=None, options=None, port=None,
                 launcher=(), config_text=None, wait=True, dir=None):
        self.kind, self.shards = kind, shards
        self.dir = dir
        if dir is None:
            self.dir = tempfile.mkdtemp(prefix="anax-test-")
            os.chmod(self.dir, 0o755)  # a server may run as somebody else
            weakref.finalize(self, shutil.rmtree, self.dir, ignore_errors=True)
        self.warm_up = None  # of those that leak_checked() compares
        if port:
            wait_until(lambda: is_free(port), "whoever had port %d before is gone" % port)
        self.port = port or free_port()
        self.address = ("127.0.0.1", self.port)
        self.password = (options or {}).get("requirepass")
        self.is_anax = kind == "anax" and not ANAX_IS_REDIS
        self.log_file = tempfile.NamedTemporaryFile(prefix="%s-%d-" % (kind, self.port),
                                                    suffix=".log", delete=False)
        args = list(launcher) + [ANAX if kind == "anax" else REDIS]
        if config_text is not None:
            self.config = tempfile.NamedTemporaryFile("w", suffix=".conf")
            self.config.write(config_text)
            self.config.flush()
            args.append(self.config.name)
        args += ["--port", str(self.port), "--bind", "127.0.0.1"]
        if self.is_anax:
            args += ["--shards", str(shards)]
            if io:
                args += ["--io", io]
            if borrow is not None:
                args += ["--shard-borrow", "yes" if borrow else "no"]
            if config_text is None and "save" not in (options or {}):
                args += ["--save", ""]
        else:
            args += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        for name, value in (options or {}).items():
            args.append("--" + name)
            args += value if isinstance(value, (list, tuple)) else [str(value)]
        self.args = args
        self.launch()
        if wait:
            self.wait_ready()

    def launch(self):
        self.process = subprocess.Popen(self.args, stdout=self.log_file, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, cwd=self.dir)
        running.add(self)

    def restart(self):
        """Kills it and starts it again as it was started first."""
        self.kill()
        wait_until(lambda: is_free(self.port), "port %d is free again" % self.port)
        self.launch()
        self.wait_ready()
        if self.warm_up:
            self.warm_up(self)
            self.cmd("FLUSHALL")
            self.held_before = self.settled()

    def wait_ready(self):
        deadline = time.monotonic() + DEADLINE_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError("%s exited with %s:\n%s" %
                                   (" ".join(self.args), self.process.returncode, self.log()))
            try:
                with Conn(self.address, 5) as c:
                    if self.password:
                        c.cmd("AUTH", self.password)
                    c.send(b"PING\r\n")
                    if not c.read().raw.startswith(b"-LOADING"):
                        return
            except (OSError, Closed):
                if time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError("%s does not answer:\n%s" % (" ".join(self.args), self.log()))
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def connect(self, **kw):
        c = Conn(self.address, **kw)
        if self.password:
            c.ok("AUTH", self.password)
        return c

    def cmd(self, *args):
        with self.connect() as c:
            return c.cmd(*args)

    def info(self, section="everything"):
        with self.connect() as c:
            return c.info(section)

    def used_memory(self):
        return int(self.info("memory")["used_memory"])

    def pid(self):
        """The server's own pid, also behind a launcher that forks."""
        return int(self.info("server")["process_id"])

    def rss_bytes(self):
        with open("/proc/%d/statm" % self.process.pid) as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def descriptors(self):
        """Numbers of the server's open files."""
        return [int(name) for name in os.listdir("/proc/%d/fd" % self.process.pid)]

    def cpu_s(self):
        """Seconds that its threads have run."""
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def held(self):
        """What it holds: Held(descriptors, clients, bytes), the asking connection included."""
        with self.connect() as c:
            info = c.info()
            return Held(len(self.descriptors()), int(info["connected_clients"]), int(info["used_memory"]))

    def held_alone(self):
        """held() when nobody else is connected any more: who asked before may not have left yet."""
        deadline = time.monotonic() + DEADLINE_S
        now = self.held()
        while now.clients != 1:
            assert time.monotonic() < deadline, "still connected: %s" % (now,)
            time.sleep(0.02)
            now = self.held()
        return now

    def settled(self):
        """held() after a silence: buffers that nobody needed for a second or two are given back in it."""
        time.sleep(SILENCE_S)
        return self.held()

    def returns_to(self, before, slack_bytes=0):
        """Waits until descriptors and clients are as before, and no more memory is used than then."""
        deadline = time.monotonic() + DEADLINE_S
        now = self.held()
        while now[:2] != before[:2]:
            assert time.monotonic() < deadline, "not given back: %s, now %s" % (before, now)
            time.sleep(0.02)
            now = self.held()
        while not SLOW and now.bytes > before.bytes + slack_bytes:
            assert time.monotonic() < deadline, "not given back: %s, now %s" % (before, now)
            now = self.settled()

    def alive(self):
        return self.process.poll() is None

    def log(self):
        with open(self.log_file.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        running.discard(self)

    def stop(self):
        """SIGTERM; returns the exit code. A server that died before is an error: its log says why."""
        running.discard(self)
        died = not self.alive()
        if not died:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("does not end on SIGTERM:\n" + self.log())
        code = self.process.returncode
        self.log_file.close()
        text = self.log()
        if died or code != 0 or "bytes of memory were lost" in text:
            os.unlink(self.log_file.name)
            raise AssertionError("%s: exit code %s\n%s" % (" ".join(self.args), code, text[-8000:]))
        os.unlink(self.log_file.name)
        return code


def wait_until(condition, what, timeout_s=None):
    """Polls until condition() holds."""
    deadline = time.monotonic() + (timeout_s or DEADLINE_S)
    while not condition():
        assert time.monotonic() < deadline, "still not: " + what
        time.sleep(0.02)


# Nothing that a server keeps of commands to show them later: memory that a leak check had to explain.
FORGETFUL = {"slowlog-max-len": 0, "latency-tracking": "no"}
if not ANAX_IS_REDIS:
    FORGETFUL.update({"commandlog-large-request-max-len": 0, "commandlog-large-reply-max-len": 0})


def for_all(servers, do):
    """do(server) for each of a dictionary of servers at once, because it waits; returns what it gave."""
    with concurrent.futures.ThreadPoolExecutor(len(servers)) as pool:
        return dict(zip(servers, pool.map(do, servers.values())))


@contextlib.contextmanager
def leak_checked(configs, warm_up, options=None):
    """A server per (shards, io), as a dictionary. In the end, after FLUSHALL, they hold exactly what they held
    after warm_up(server): server.held_before."""
    with contextlib.ExitStack() as stack:
        servers = {c: stack.enter_context(Server("anax", shards=c[0], io=c[1], options={**FORGETFUL, **(options or {})}))
                   for c in configs}
        for server in servers.values():
            server.warm_up = warm_up
            warm_up(server)
            server.cmd("FLUSHALL")
        for c, held in for_all(servers, Server.settled).items():
            servers[c].held_before = held
        yield servers
        for_all(servers, lambda server: server.cmd("FLUSHALL"))
        for_all(servers, lambda server: server.returns_to(server.held_before))


class Prober:
    """An honest client beside a fault: a thread that sets, gets and pings, and checks every reply.

    with Prober(server) as p: ...; p.goes_on(n) returns after n more of its round trips, so only a server
    that stalls fails it. How long the longest one took is printed, never judged.
    """

    KEYS = 16  # on every shard

    def __init__(self, server):
        self.server = server
        self.rounds = 0
        self.longest_s = 0.0
        self.error = None
        self.shards = ""
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            with self.server.connect() as c:
                while not self.ended.is_set():
                    start = time.monotonic()
                    key, value = "prober:%d" % (self.rounds % self.KEYS), b"%d" % self.rounds
                    c.ok("SET", key, value)
                    got = c.cmd("GET", key), c.cmd("PING")
                    assert got == (value, b"PONG"), (got, value)
                    self.longest_s = max(self.longest_s, time.monotonic() - start)
                    self.rounds += 1
                for i in range(self.KEYS):
                    c.cmd("DEL", "prober:%d" % i)
                self.shards = c.cmd("INFO", "shards").decode()
        except BaseException as e:  # noqa: the thread must tell
            self.error = e

    def goes_on(self, n=20):
        target = self.rounds + n
        wait_until(lambda: self.error or self.rounds >= target, "%d round trips of an honest client" % n)
        self.check()

    def check(self):
        if self.error is not None:
            raise AssertionError("the honest client: %r" % self.error) from self.error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ended.set()
        self.thread.join()
        print("honest client: %d round trips, the longest %.1f ms" % (self.rounds, self.longest_s * 1000))
        if kind is None:
            self.check()
            print("\n".join(line for line in self.shards.splitlines() if "longest" in line))
