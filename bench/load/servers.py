"""servers.py: the servers that are measured, and how their CPU is read.

Every server is pinned to given cores. While one is measured the others are suspended (SIGSTOP), so that
all of them can stay filled from round to round without disturbing each other.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ANAX = os.environ.get("ANAX_BIN", os.path.join(ROOT, "build", "release", "anax"))
FLOOR = os.environ.get("FLOOR_BIN", os.path.join(ROOT, "build", "release", "bench", "floor_server"))
PORTS = os.environ.get("ANAX_TEST_PORTS", "21700-21799")

_next = [int(PORTS.split("-")[0])]


def free_port():
    while True:
        port = _next[0]
        _next[0] += 1
        assert port <= int(PORTS.split("-")[1]), "no free port in " + PORTS
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port


class Server:
    """name: how it is called in the tables; protocol: memtier's."""

    def __init__(self, name, args, port, cores, protocol="redis"):
        self.name, self.port, self.protocol, self.cores = name, port, protocol, cores
        self.log = tempfile.TemporaryFile()
        command = ["taskset", "-c", cores] + [str(a) for a in args] if cores else [str(a) for a in args]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, cwd=tempfile.gettempdir())
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise RuntimeError("%s does not start:\n%s" % (name, self.log.read().decode()))
            time.sleep(0.05)

    def cpu_ns(self):
        """CPU of all its threads so far, in nanoseconds."""
        total = 0
        base = "/proc/%d/task" % self.process.pid
        for tid in os.listdir(base):
            with contextlib.suppress(FileNotFoundError), open("%s/%s/schedstat" % (base, tid)) as f:
                total += int(f.read().split()[0])
        return total

    def rss_bytes(self):
        with open("/proc/%d/statm" % self.process.pid) as f:
            return int(f.read().split()[1]) * 4096

    def huge_bytes(self):
        with open("/proc/%d/smaps_rollup" % self.process.pid) as f:
            return sum(int(line.split()[1]) * 1024 for line in f if line.startswith("AnonHugePages:"))

    def suspend(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.resume()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def anax(shards, cores, borrow=None, io=None, name=None, extra=()):
    port = free_port()
    args = [ANAX, "--port", port, "--bind", "127.0.0.1", "--save", "", "--shards", shards]
    if borrow is not None:
        args += ["--shard-borrow", "yes" if borrow else "no"]
    if io:
        args += ["--io", io]
    return Server(name or "anax", args + list(extra), port, cores)


def redis(cores, binary="redis-server", name="redis-server"):
    port = free_port()
    return Server(name, [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                         "--daemonize", "no"], port, cores)


def floor(cores):
    port = free_port()
    return Server("floor", [FLOOR, "--port", port], port, cores)


def memcached(cores):
    port = free_port()
    user = ["-u", "root"] if os.getuid() == 0 else []
    return Server("memcached", ["memcached", "-p", port, "-U", 0, "-l", "127.0.0.1", "-t", 1, "-m", 2048, "-c", 4096]
                  + user, port, cores, protocol="memcache_text")


def single(cores):
    """All that take part in the comparison at one shard."""
    out = [anax(1, cores)]
    if shutil.which("redis-server"):
        out.append(redis(cores))
    if shutil.which("valkey-server"):
        out.append(redis(cores, "valkey-server", "valkey-server"))
    if os.access(FLOOR, os.X_OK):
        out.append(floor(cores))
    if shutil.which("memcached"):
        out.append(memcached(cores))
    return out


def memtier_path():
    for path in (os.environ.get("MEMTIER"), shutil.which("memtier_benchmark"),
                 "/work/bench-peers/memtier/memtier_benchmark"):
        if path and os.access(path, os.X_OK):
            return path
    raise SystemExit("memtier_benchmark is needed (https://github.com/RedisLabs/memtier_benchmark): put it on "
                     "PATH or name it in $MEMTIER")
