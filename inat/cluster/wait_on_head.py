"""Which nodes have joined: sent over ssh and run on the head, by the Python that has Ray.

One line of standard input: ``{"address": "HOST:PORT", "expected": [...], "seconds": n}``. A line ``MARK`` + JSON
whenever the nodes change, and one with ``missing`` in the end: when all expected have joined, or after ``seconds``.
"""

import json
import socket
import sys
import time
from typing import Any

MARK = "inat-joined "
POLL_SECONDS = 0.5


def say(**answer: Any) -> None:
    """Send one answer."""
    print(MARK + json.dumps(answer), flush=True)


def address_of(host: str) -> str:
    """A host's address as Ray knows it, also where the launcher file names it."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


def connect(address: str, until: float) -> bool:
    """Join the cluster to be able to ask, with at least one try; False if nothing answers before ``until``."""
    import ray

    host, port = address.rsplit(":", 1)
    while True:
        try:
            # Ray itself would go on trying for minutes.
            socket.create_connection((host, int(port)), timeout=2).close()
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            return True
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:  # the last: a wrong token
            say(waiting=str(error).splitlines()[0])
        if time.monotonic() + POLL_SECONDS > until:
            return False
        time.sleep(POLL_SECONDS)


def watch(address: str, expected: list[str], seconds: float) -> None:
    """Tell who has joined until all have, or ``seconds`` have passed."""
    until = time.monotonic() + seconds
    if not connect(address, until):
        say(missing=expected, answers=False)
        return
    import ray

    known = {host: address_of(host) for host in expected}
    before: list[str] = []
    while True:
        alive = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        joined = [host for host in expected if known[host] in alive]
        if joined != before:
            say(joined=joined)
            before = joined
        if len(joined) == len(expected) or time.monotonic() > until:
            say(missing=[host for host in expected if host not in joined], answers=True)
            return
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    request = json.loads(sys.stdin.buffer.readline())
    watch(request["address"], request["expected"], request["seconds"])
