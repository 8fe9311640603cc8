"""Report which nodes have joined. `wait` sends this file over ssh; the head runs it with the Python that has Ray.

Input: one line ``{"address": "HOST:PORT", "expected": [...], "seconds": n}`` on standard input. Output: lines of
``MARK`` + JSON. A line with ``joined`` follows each change of the nodes; the last line has ``missing`` and comes when
all expected nodes have joined or after ``seconds``.
"""

import json
import socket
import sys
import time
from typing import Any

MARK = "inat-joined "
POLL_SECONDS = 0.5


def send(**answer: Any) -> None:
    """Print one answer."""
    print(MARK + json.dumps(answer), flush=True)


def resolve(host: str) -> str:
    """The IP address of ``host``, as Ray names its node; ``host`` itself if it has none."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


def connect(address: str, until: float) -> bool:
    """Connect to Ray at ``address``, trying at least once; False if that fails until ``until`` (monotonic seconds)."""
    import ray

    host, port = address.rsplit(":", 1)
    while True:
        try:
            # Without this test ray.init would keep trying for minutes.
            socket.create_connection((host, int(port)), timeout=2).close()
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            return True
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:  # RayError: a wrong token
            send(waiting=str(error).splitlines()[0])
        if time.monotonic() + POLL_SECONDS > until:
            return False
        time.sleep(POLL_SECONDS)


def watch(address: str, expected: list[str], seconds: float) -> None:
    """Send which of the ``expected`` hosts have joined, until all have or ``seconds`` have passed."""
    until = time.monotonic() + seconds
    if not connect(address, until):
        send(missing=expected, answers=False)
        return
    import ray

    known = {host: resolve(host) for host in expected}
    before: list[str] = []
    while True:
        alive = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        joined = [host for host in expected if known[host] in alive]
        if joined != before:
            send(joined=joined)
            before = joined
        if len(joined) == len(expected) or time.monotonic() > until:
            send(missing=[host for host in expected if host not in joined], answers=True)
            return
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    request = json.loads(sys.stdin.buffer.readline())
    watch(request["address"], request["expected"], request["seconds"])
