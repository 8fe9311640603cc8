"""Ends a search whose Ray servers have died: Tune would wait for a raylet for ever, and for the GCS for a minute."""

import errno
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

import psutil
import ray

Address = tuple[str, int]

INTERVAL = 1.0  # seconds between two attempts to connect
REFUSED_SECONDS = 5.0  # the machine answers, but no process listens
DYING_SECONDS = 2.0  # from the first death of a worker until its raylet, which ends itself, is gone
SILENT_SECONDS = 45.0  # nothing answers, perhaps for a moment; Ray itself ends the process after 60 s


def servers_of_session() -> dict[str, Address]:
    """The addresses of the servers that the driver needs: the GCS of the session, and the raylet of this node."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    (node,) = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    return {
        "GCS server": (host.strip("[]"), int(port)),
        "raylet on this machine": (node["NodeManagerAddress"], node["NodeManagerPort"]),
    }


class ServerWatch:
    """While used as a context manager, calls ``on_death`` with the name of the first server that has died.

    A thread connects to the address of each server again and again. ``on_death`` runs in that thread and has to end the
    process: the main thread waits inside of Ray and cannot raise anything.
    """

    def __init__(self, servers: Mapping[str, Address], on_death: Callable[[str], object]) -> None:
        self._servers = servers
        self._on_death = on_death
        self._stopped, self._died = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ray-server-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def wait_for_death(self) -> bool:
        """Wait whether a server dies now, as the death of a process may be its consequence; returns True if one did.

        ``on_death`` has then been called, which in a search ends the process.
        """
        ends = time.monotonic() + DYING_SECONDS
        while time.monotonic() < ends and not self._is_any_down():
            time.sleep(DYING_SECONDS / 20)
        while self._is_any_down() and not self._died.is_set():
            self._died.wait(INTERVAL)
        return self._died.is_set()

    def _is_any_down(self) -> bool:
        return any(seconds_allowed(address) is not None for address in self._servers.values())

    def _watch(self) -> None:
        down_since: dict[str, float] = {}
        while not self._stopped.wait(INTERVAL):
            for name, address in self._servers.items():
                allowed = seconds_allowed(address)
                if allowed is None:
                    down_since.pop(name, None)
                elif time.monotonic() - down_since.setdefault(name, time.monotonic()) >= allowed:
                    if not self._stopped.is_set():
                        self._on_death(name)
                        self._died.set()
                    return


def kill_servers() -> None:
    """Kill those processes of Ray that this process has started, and the processes that they have started."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith(("ray", "gcs_server")):
                process.kill()


def seconds_allowed(address: Address) -> float | None:
    """For how long the state of a server at ``address`` may last: None if it answers."""
    try:
        socket.create_connection(address, timeout=INTERVAL).close()
    except ConnectionRefusedError:
        return REFUSED_SECONDS
    except OSError as error:
        # Without a free descriptor or port, this process cannot know how the server is.
        return None if error.errno in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL) else SILENT_SECONDS
    return None
