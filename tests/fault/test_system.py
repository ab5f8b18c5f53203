"""A system that refuses: descriptors, locked memory, io_uring."""

import contextlib
import os
import resource
import signal
import subprocess
import time

import pytest

import harness
from harness import Conn, Closed, Server, encode, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
NO_URING = ["/usr/bin/python3", os.path.join(HERE, "no_uring.py")]


@pytest.mark.parametrize("io", ["uring", "epoll"])
def test_out_of_descriptors_and_back(io):
    """accept fails with EMFILE: those who are in are served; all of them go at once, and the next come in."""
    limit, many = 120, 200
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A start with a low limit lowers maxclients, which would refuse them before descriptors run out.
    launcher = ["prlimit", "--nofile=%d:%d" % (limit, hard)]
    with Server("anax", shards=2, io=io, launcher=launcher, options={"maxclients": 10}) as server:
        with server.connect() as control:
            control.ok("CONFIG", "SET", "maxclients", 2 * many)
            _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
            room = limit - len(server.descriptors())
            conns = [Conn(server.address) for _ in range(many)]  # the kernel's queue takes them
            for c in conns:
                c.send(b"PING\r\n")
            assert all(c.read().value == b"PONG" for c in conns[:room])
            wait_until(lambda: "Too many open files" in server.log(), "accept has failed")
            assert len(server.descriptors()) == limit
            assert control.cmd("PING") == b"PONG"
        for c in conns:
            c.close()

        def serves():
            try:
                with Conn(server.address, 2) as c:
                    return c.cmd("PING") == b"PONG"
            except (OSError, Closed):
                return False

        wait_until(serves, "accepts again")
        assert server.cmd("SET", "k", "v") == b"OK"


def test_too_few_descriptors_for_maxclients():
    """maxclients comes down to what there is room for, in one line, and is kept: nobody sees EMFILE."""
    with Server("anax", shards=2, launcher=["prlimit", "--nofile=120:120"], options={"maxclients": 10000}) as server:
        allowed = int(server.cmd("CONFIG", "GET", "maxclients")[1])
        assert 20 <= allowed < 120
        if server.is_anax:
            lines = [line for line in server.log().splitlines() if "maxclients is %d" % allowed in line]
            assert len(lines) == 1 and "ulimit -n" in lines[0], server.log()
        conns = []

        def all_in():  # who asked before may not have left yet
            conns.append(Conn(server.address))
            conns[-1].send(b"PING\r\n")
            try:
                assert conns[-1].read().value == b"PONG"
            except (Closed, AssertionError, OSError):
                conns.pop().close()
            return len(conns) == allowed

        wait_until(all_in, "as many as are allowed are served")
        with Conn(server.address) as c:
            assert c.until_closed() == b"-ERR max number of clients reached\r\n"
        assert "Too many open files" not in server.log()
        for c in conns:
            c.close()


def smoke(server):
    with server.connect() as c:
        c.ok("SET", "k", "v" * 100_000)
        assert c.cmd("GET", "k") == b"v" * 100_000
        replies = c.pipeline([["INCR", "n%d" % (i % 10)] for i in range(2000)])
        assert [r.value for r in replies] == [i // 10 + 1 for i in range(2000)]


def test_no_locked_memory():
    """The rings cannot be had: the server starts on epoll and says why."""
    # Root is above this limit, unless it goes without that capability.
    launcher = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"] if os.geteuid() == 0 else []
    with Server("anax", shards=2, launcher=launcher + ["prlimit", "--memlock=0:0"]) as server:
        smoke(server)
        if server.is_anax:
            lines = [line for line in server.log().splitlines() if "locked memory" in line]
            assert len(lines) == 1 and "epoll takes over" in lines[0] and "ulimit -l" in lines[0], server.log()
            assert server.info("server")["multiplexing_api"] == "epoll"


def test_io_uring_forbidden():
    """Containers often refuse io_uring: the server starts on epoll and says so in one line."""
    with Server("anax", shards=2, launcher=NO_URING) as server:
        smoke(server)
        if server.is_anax:
            lines = [line for line in server.log().splitlines() if "io_uring" in line.lower()
                     and "epoll" in line.lower()]
            assert len(lines) == 1, server.log()


def test_io_uring_forbidden_but_asked_for():
    """With --io uring the user has said what to use: then it is an error, in one clear line."""
    if harness.ANAX_IS_REDIS:
        return
    done = subprocess.run(NO_URING + [harness.ANAX, "--port", str(harness.free_port()), "--io", "uring"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    lines = [x for x in (done.stdout + done.stderr).splitlines() if "uring" in x]
    assert len(lines) >= 1, done


def test_launcher_really_forbids():
    """The other tests mean nothing when the filter does not filter."""
    probe = "import ctypes, sys; l = ctypes.CDLL(None, use_errno=True); b = ctypes.create_string_buffer(256); " \
            "r = l.syscall(425, 1, b); sys.exit(ctypes.get_errno() if r < 0 else 0)"
    assert subprocess.run(["/usr/bin/python3", "-c", probe]).returncode == 0, "this kernel has no io_uring at all"
    done = subprocess.run(NO_URING + ["/usr/bin/python3", "-c", probe])
    assert done.returncode == 1  # EPERM


def test_logfile_on_a_full_disk_does_not_stop_it():
    if not os.path.exists("/dev/full"):
        pytest.fail("/dev/full is missing")
    with Server("anax", shards=2, options={"logfile": "/dev/full"}) as server:
        if server.is_anax:  # Redis opens it for each line
            files = set()
            for fd in server.descriptors():
                with contextlib.suppress(OSError):  # that of a connection that has just ended
                    files.add(os.readlink("/proc/%d/fd/%d" % (server.process.pid, fd)))
            assert "/dev/full" in files, files
        server.cmd("CONFIG", "SET", "appendfsync", "always")  # a warning
        smoke(server)


def test_stdout_closed(tmp_path):
    """Whoever read the log has gone: SIGPIPE must not end the server, nor keep it from an orderly end."""
    port = harness.free_port()
    args = [harness.ANAX, "--port", str(port), "--bind", "127.0.0.1"]
    args += ["--save", ""] if harness.ANAX_IS_REDIS else ["--shards", "2"]
    p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:

        def answers():
            try:
                with Conn(("127.0.0.1", port), 2) as c:
                    return c.cmd("PING") == b"PONG"
            except OSError:
                return False

        wait_until(answers, "answers")
        p.stdout.close()
        with Conn(("127.0.0.1", port)) as c:
            c.ok("CONFIG", "SET", "appendfsync", "always")  # a warning
        assert answers() and p.poll() is None
    finally:
        p.terminate()
        assert p.wait(60) == 0


def thread_states(server):
    """The kernel's letter for each thread: T is stopped."""
    base = "/proc/%d/task" % server.process.pid
    for tid in os.listdir(base):
        with open("%s/%s/stat" % (base, tid)) as f:
            yield f.read().rsplit(")", 1)[1].split()[0]


@pytest.mark.parametrize("io", ["uring", "epoll"])
def test_stopped_and_continued(io):
    """A process that is suspended and goes on loses nothing."""
    with Server("anax", shards=3, io=io) as server, server.connect() as c:
        c.ok("SET", "e", "v", "PX", "200")
        server.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: all(state == "T" for state in thread_states(server)), "every thread has stopped")
        c.send(encode(["SET", "k", "v"]) + encode(["GET", "k"]) + encode(["GET", "e"]))
        time.sleep(0.5)
        server.process.send_signal(signal.SIGCONT)
        assert [c.read().value for _ in range(3)] == [b"OK", b"v", None]
