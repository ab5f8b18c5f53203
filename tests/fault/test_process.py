"""What init systems, shells, log rotation and ps see of the process."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import Conn, Closed, Error, Server, wait_until

DEBUG = {"enable-debug-command": "yes"}


def read(path):
    with open(path, "rb") as f:
        return f.read().decode("utf-8", "replace")


def answers(address):
    try:
        with Conn(address, 2) as c:
            return c.cmd("PING") == b"PONG"
    except (OSError, Closed):
        return False


def run(*args, **kw):
    """A start that ends by itself."""
    return subprocess.run([harness.ANAX, *args], capture_output=True, text=True, timeout=harness.DEADLINE_S,
                          stdin=subprocess.DEVNULL, **kw)


@contextlib.contextmanager
def environment(**variables):
    old = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# --- pid file ---


def test_pidfile(tmp_path):
    path = tmp_path / "anax.pid"
    with Server(shards=2, options={"pidfile": str(path)}) as server:
        assert path.read_text() == "%d\n" % server.process.pid
    assert not path.exists()


def test_pidfile_of_another_server_stays(tmp_path):
    """A second start by mistake fails at the port and must not take the first one's pid file along."""
    path = tmp_path / "anax.pid"
    with Server(options={"pidfile": str(path)}) as server:
        second = run("--port", str(server.port), "--pidfile", str(path), "--shards", "1")
        assert second.returncode == 1, second
        assert path.read_text() == "%d\n" % server.process.pid


def test_pidfile_that_cannot_be_written(tmp_path):
    path = tmp_path / "missing" / "anax.pid"
    with Server(options={"pidfile": str(path)}) as server:
        lines = [line for line in server.log().splitlines() if str(path) in line]
        assert len(lines) == 1 and "No such file" in lines[0], server.log()


# --- daemon ---


def ended(pid):
    """Gone, or waiting for whatever is pid 1 here to notice."""
    try:
        return re.search(r"\) [ZX] ", read("/proc/%d/stat" % pid)) is not None
    except OSError:
        return True


@contextlib.contextmanager
def daemon(port, *options):
    """Yields its pid and what the parent printed; SIGTERM at the end."""
    parent = run("--port", str(port), "--daemonize", "yes", "--save", "", *options)
    assert parent.returncode == 0, parent
    with Conn(("127.0.0.1", port)) as c:  # it answers as soon as the parent has gone
        pid = int(re.search(rb"process_id:(\d+)", c.cmd("INFO", "server")).group(1))
    try:
        yield pid, parent.stdout + parent.stderr
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: ended(pid), "the daemon has ended")


@pytest.mark.parametrize("shards", ["1", "3"])
def test_daemonize(tmp_path, shards):
    pidfile, log = tmp_path / "anax.pid", tmp_path / "log"
    with daemon(harness.free_port(), "--pidfile", str(pidfile), "--logfile", str(log), "--shards", shards) as (pid, _):
        assert pidfile.read_text() == "%d\n" % pid
        assert os.getsid(pid) == pid
        assert [os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in range(3)] == ["/dev/null"] * 3
        assert "Ready to accept connections" in log.read_text()
    assert not pidfile.exists()
    assert "bye" in log.read_text()


def test_daemonize_without_a_pidfile(tmp_path):
    """As Redis: one has a name of its own. What is logged before it is ready is seen at the terminal."""
    port = harness.free_port()
    with daemon(port, "--shards", "1") as (_, printed):
        assert "Ready to accept connections" in printed
        with Conn(("127.0.0.1", port)) as c:
            assert c.cmd("CONFIG", "GET", "pidfile") == [b"pidfile", b"/var/run/anax.pid"]


def test_daemonize_fails_in_the_parent(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = run("--daemonize", "yes", "--port", str(taken.getsockname()[1]), "--shards", "1",
                   "--pidfile", str(tmp_path / "pid"))
        assert busy.returncode == 1 and "Address already in use" in busy.stdout, busy
        assert not (tmp_path / "pid").exists()
    log = run("--daemonize", "yes", "--port", str(harness.free_port()), "--logfile", str(tmp_path / "no" / "log"))
    assert log.returncode == 1 and "No such file" in log.stderr, log


# --- supervision ---


@contextlib.contextmanager
def notify_socket(tmp_path, abstract):
    name = "@anax-test-%d" % os.getpid() if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0" + name[1:] if abstract else name)
        s.settimeout(harness.DEADLINE_S)
        with environment(NOTIFY_SOCKET=name):
            yield s


@pytest.mark.parametrize("supervised, abstract, end", [("systemd", False, "signal"), ("auto", True, "signal"),
                                                       ("systemd", True, "SHUTDOWN"), ("auto", False, "SHUTDOWN")])
def test_systemd_is_notified(tmp_path, supervised, abstract, end):
    # The title is longer than the arguments, so it is written over the environment that named the socket.
    options = {"supervised": supervised, "daemonize": "yes", "proc-title-template": "{title} " + "x" * 1000}
    with notify_socket(tmp_path, abstract) as s:
        server = Server(shards=2, options=options)
        try:
            assert server.pid() == server.process.pid  # under a supervisor it stays what was started
            ready = s.recv(4096).decode().splitlines()
            assert "READY=1" in ready and any(line.startswith("STATUS=") for line in ready), ready
            if end == "signal":
                server.process.terminate()
            else:
                with server.connect() as c:
                    c.send(b"SHUTDOWN NOSAVE\r\n")
                    c.until_closed()
            assert "STOPPING=1" in s.recv(4096).decode().splitlines()
            assert server.process.wait(harness.DEADLINE_S) == 0
            s.setblocking(False)
            with pytest.raises(BlockingIOError):
                s.recv(4096)
        finally:
            server.kill()
            os.unlink(server.log_file.name)


def test_not_supervised_nobody_is_told(tmp_path):
    with notify_socket(tmp_path, False) as s:
        with Server(shards=1):
            pass
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            s.recv(4096)


@pytest.mark.parametrize("supervised, variable", [("systemd", "NOTIFY_SOCKET"), ("upstart", "UPSTART_JOB")])
def test_supervisor_is_missing(supervised, variable):
    with Server(shards=1, options={"supervised": supervised}) as server:
        assert len([line for line in server.log().splitlines() if variable in line]) == 1, server.log()


@pytest.mark.parametrize("name", ["relative", "/nonexistent/socket", "@" + "x" * 200])
def test_notify_socket_is_unusable(name):
    with environment(NOTIFY_SOCKET=name), Server(shards=1, options={"supervised": "systemd"}) as server:
        wait_until(lambda: "NOTIFY_SOCKET" in server.log(), "says so")


def test_upstart():
    """It stops itself when it is ready, and upstart lets it go on."""

    def stopped():
        return re.search(r"\) T ", read("/proc/%d/stat" % server.process.pid))

    with environment(UPSTART_JOB="anax"):
        server = Server(shards=2, options={"supervised": "auto"}, wait=False)
    try:
        wait_until(stopped, "it stops itself")
        server.process.send_signal(signal.SIGCONT)
        server.wait_ready()
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()


# --- the log ---


def test_log_follows_rotation(tmp_path):
    """Without a signal: after a second lines land in the new file, and none is lost."""
    log, moved = tmp_path / "log", tmp_path / "log.1"
    with Server(shards=2, options={"logfile": str(log), **DEBUG}) as server, server.connect() as c:
        c.ok("DEBUG", "LOG", "before")
        log.rename(moved)
        said = 0

        def say():
            nonlocal said
            c.ok("DEBUG", "LOG", "line-%d-" % said)
            said += 1
            return log.exists()

        wait_until(say, "a new file is there")
        c.ok("DEBUG", "LOG", "after")
        old, new = moved.read_text(), log.read_text()
        assert "before" in old and "before" not in new
        assert "after" in new and "after" not in old
        assert re.findall(r"line-(\d+)-", old + new) == [str(i) for i in range(said)]


def test_log_is_reopened_on_sighup(tmp_path):
    log, moved = tmp_path / "log", tmp_path / "log.1"
    with Server(shards=2, options={"logfile": str(log)}) as server:
        log.rename(moved)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and "SIGHUP" in log.read_text(), "the new file tells of SIGHUP")
        assert answers(server.address)
    assert "bye" in log.read_text() and "bye" not in moved.read_text()


def test_log_that_cannot_be_reopened(tmp_path):
    folder, away = tmp_path / "logs", tmp_path / "away"
    folder.mkdir()
    with Server(shards=1, options={"logfile": str(folder / "log")}) as server:
        folder.rename(away)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "cannot be reopened: No such file" in (away / "log").read_text(), "says so")
        assert answers(server.address)


def test_sighup_without_a_logfile():
    with Server(shards=1) as server:
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP" in server.log(), "it has come")
        assert answers(server.address)


# --- the end ---


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_second_sigint_exits_at_once(tmp_path, first):
    """While a shard is busy for long the orderly end waits; SIGTERM again changes nothing, SIGINT does."""
    pidfile = tmp_path / "pid"
    server = Server(shards=2, options={"pidfile": str(pidfile), **DEBUG})
    try:
        with server.connect() as c:
            c.send(b"DEBUG SLEEP 1000\r\n")

            def asleep():
                try:
                    with Conn(server.address, 0.2) as other:
                        other.cmd("PING")
                        return False
                except (OSError, Closed):
                    return True

            wait_until(asleep, "it is busy")
            server.process.send_signal(first)
            wait_until(lambda: "shutting down" in server.log(), "it wants to end")
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "SIGHUP" in server.log(), "SIGTERM was taken before SIGHUP")
            assert server.alive()
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(harness.DEADLINE_S) == 1
            assert server.log().count("shutting down") == 1
            assert not pidfile.exists()
    finally:
        server.kill()
        os.unlink(server.log_file.name)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_is_an_orderly_end(sig):
    server = Server(shards=3)
    try:
        server.process.send_signal(sig)
        assert server.process.wait(harness.DEADLINE_S) == 0, server.log()
        assert "bye" in server.log()
    finally:
        server.kill()
        os.unlink(server.log_file.name)


# --- titles and names ---


def title(server):
    return read("/proc/%d/cmdline" % server.process.pid).rstrip("\0")


TEMPLATES = ["{title} {listen-addr} {server-mode}", "{title} {port} {tls-port} {config-file}|{unixsocket}|",
             "plain", "  {port}  ", "{server-mode}x", "}{{port}", "{title} " + "long " * 20]
BAD_TEMPLATES = ["", "  ", "{server-mode}", "{", "{foo}", "{title} {", "{Title}"]


def test_title_as_redis():
    with Server("redis") as redis, Server(shards=2) as anax:
        def shown(server):
            name = harness.REDIS if server is redis else harness.ANAX
            text, _, rest = title(server).partition("\0")
            assert rest == "" or server is redis  # which leaves remains of longer titles behind
            return text.replace(name, "NAME").replace(str(server.port), "PORT")

        assert shown(anax) == "NAME 127.0.0.1:PORT"
        assert shown(anax) == shown(redis)
        for template in TEMPLATES:
            for server in redis, anax:
                assert server.cmd("CONFIG", "SET", "proc-title-template", template) == b"OK"
            assert shown(anax) == shown(redis), template
            assert anax.cmd("CONFIG", "GET", "proc-title-template") == [b"proc-title-template", template.encode()]
        before = title(anax)
        for template in BAD_TEMPLATES:
            replies = [server.cmd("CONFIG", "SET", "proc-title-template", template) for server in (redis, anax)]
            assert isinstance(replies[0], Error) and replies[0] == replies[1]
            assert title(anax) == before


def test_title_names_file_and_socket(tmp_path):
    path = tmp_path / "anax.conf"
    path.write_text('proc-title-template "{title} {config-file} {unixsocket}"\nunixsocket %s/s\n' % tmp_path)
    process = subprocess.Popen([harness.ANAX, str(path), "--port", "0", "--shards", "1"], stdout=subprocess.DEVNULL,
                               cwd=tmp_path)
    try:
        wait_until(lambda: answers("%s/s" % tmp_path), "answers")
        shown = read("/proc/%d/cmdline" % process.pid).rstrip("\0")
        assert shown == "%s %s %s/s" % (harness.ANAX, path, tmp_path)
    finally:
        process.terminate()
        assert process.wait(harness.DEADLINE_S) == 0


def test_title_off():
    with Server(shards=1, options={"set-proc-title": "no"}) as server:
        assert title(server).split("\0") == server.args
        server.cmd("CONFIG", "SET", "proc-title-template", "{title}")
        assert title(server).split("\0") == server.args


def test_title_malformed_at_start():
    done = run("--proc-title-template", "{nonsense}")
    assert done.returncode == 1 and "proc-title-template" in done.stderr, done


def test_thread_names():
    with Server(shards=3) as server:
        base = "/proc/%d/task" % server.process.pid

        def named():  # the first shard answers before the last thread has its name
            names = {read("%s/%s/comm" % (base, tid)).strip() for tid in os.listdir(base)}
            return {"anax", "shard-0", "shard-1", "shard-2", "signals"} <= names

        wait_until(named, "all threads have their names")
        assert read("%s/%d/comm" % (base, server.process.pid)) == "anax\n"


# --- starts that fail, and what a start says ---


def test_exit_codes(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = str(taken.getsockname()[1])
        for args, what in [(["--port", "65536"], "from 0 to 65535"), (["--port", busy], "Address already in use"),
                           (["--nonsense", "1"], "nonsense"), (["/nonexistent/anax.conf"], "No such file"),
                           (["--logfile", str(tmp_path / "no" / "log")], "No such file"),
                           (["--logfile", str(tmp_path)], "Is a directory"),
                           (["--port", "0"], "nothing to listen on"),
                           (["--supervised", "launchd"], "supervised")]:
            done = run(*args)
            assert done.returncode == 1, (args, done)
            assert what in done.stdout + done.stderr, (args, done)


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"anax \d+\.\d+\.\d+ malloc=\S+ bits=64 build=[0-9a-f]{16,}\n", done.stdout), done.stdout


def test_backlog_beyond_the_system():
    """The other checks are told by files of their own: tests/unit/checks_test.c."""
    allowed = read("/proc/sys/net/core/somaxconn").strip()
    with Server(shards=1, options={"tcp-backlog": 1000000}) as server:
        lines = [line for line in server.log().splitlines() if "somaxconn" in line]
        assert len(lines) == 1 and "allows " + allowed in lines[0], server.log()
        assert "sysctl -w net.core.somaxconn=1000000" in lines[0]
    with Server(shards=1, options={"tcp-backlog": 1}) as server:
        assert "somaxconn" not in server.log()


def test_io_uring_remedy():
    launcher = ["/usr/bin/python3", os.path.join(os.path.dirname(__file__), "no_uring.py")]
    with Server(shards=1, launcher=launcher) as server:
        line = next(line for line in server.log().splitlines() if "epoll takes over" in line)
        assert "seccomp profile" in line or "kernel.io_uring_disabled=0" in line


def test_started_and_stopped_again_and_again(tmp_path):
    """A signal may come at any moment of a start: it ends the server, orderly when its shards were there."""
    for delay_ms in range(0, 60, 6):
        process = subprocess.Popen([harness.ANAX, "--port", str(harness.free_port()), "--shards", "3"],
                                   stdout=subprocess.DEVNULL, cwd=tmp_path)
        time.sleep(delay_ms / 1000)
        process.terminate()
        assert process.wait(harness.DEADLINE_S) in (0, -signal.SIGTERM)
