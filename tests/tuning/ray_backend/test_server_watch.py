import errno
import socket
import subprocess
import threading

import psutil
import pytest

from inat.tuning.ray_backend import server_watch
from inat.tuning.ray_backend.server_watch import REFUSED_SECONDS, SILENT_SECONDS, ServerWatch, seconds_allowed


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(server_watch, "INTERVAL", 0.01)
    monkeypatch.setattr(server_watch, "REFUSED_SECONDS", 0.05)


def test_a_server_that_dies_is_named_once(server, fast):
    deaths, died = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        servers = {"raylet": server.getsockname(), "GCS server": other.getsockname()}
        with ServerWatch(servers, lambda name: (deaths.append(name), died.set())):
            assert not died.wait(0.3)
            server.close()
            assert died.wait(10)
    assert deaths == ["raylet"]


def test_a_server_that_comes_back_in_time_is_not_dead(server, fast, monkeypatch):
    states = iter([None, 30.0, 30.0, None, 30.0] + 1000 * [None])
    now = iter(range(0, 10_000, 20))
    monkeypatch.setattr(server_watch, "seconds_allowed", lambda address: next(states))
    monkeypatch.setattr(server_watch.time, "monotonic", lambda: float(next(now)))
    died = threading.Event()
    with ServerWatch({"raylet": server.getsockname()}, lambda name: died.set()):
        assert not died.wait(0.3)


def test_nothing_is_watched_after_the_session(server, fast):
    died = threading.Event()
    with ServerWatch({"raylet": server.getsockname()}, lambda name: died.set()):
        pass
    server.close()
    assert not died.wait(0.2)


def test_a_server_that_listens_is_alive_and_a_closed_port_is_not(server):
    assert seconds_allowed(server.getsockname()) is None
    address = server.getsockname()
    server.close()
    assert seconds_allowed(address) == REFUSED_SECONDS


@pytest.mark.parametrize(
    ("error", "allowed"),
    [(TimeoutError(), SILENT_SECONDS), (OSError(errno.EHOSTUNREACH, "no route"), SILENT_SECONDS),
     (OSError(errno.EMFILE, "too many files"), None), (OSError(errno.EADDRNOTAVAIL, "no port"), None)],
)  # fmt: skip
def test_a_silent_server_has_more_time_and_a_fault_of_this_process_is_none_of_it(error, allowed, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    assert seconds_allowed(("127.0.0.1", 1)) == allowed


def test_only_processes_of_ray_are_killed(tmp_path):
    (tmp_path / "raylet").symlink_to("/bin/sleep")
    processes = [subprocess.Popen([command, "60"]) for command in (str(tmp_path / "raylet"), "/bin/sleep")]
    try:
        server_watch.kill_servers()
        assert processes[0].wait(10) == -9
        assert psutil.Process(processes[1].pid).status() != psutil.STATUS_ZOMBIE
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_death_of_a_process_that_a_server_caused_waits_for_the_server(server, fast, monkeypatch):
    monkeypatch.setattr(server_watch, "DYING_SECONDS", 5.0)
    with ServerWatch({"raylet": server.getsockname()}, lambda name: None) as watch:
        threading.Timer(0.2, server.close).start()
        assert watch.wait_for_death()


def test_a_process_that_dies_alone_is_not_waited_for(server, fast, monkeypatch):
    monkeypatch.setattr(server_watch, "DYING_SECONDS", 0.1)
    with ServerWatch({"raylet": server.getsockname()}, lambda name: None) as watch:
        assert not watch.wait_for_death()
