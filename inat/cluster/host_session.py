"""Ask all hosts for their facts at once, each over one ssh connection that runs the probe."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inat.cluster import probe
from inat.cluster.launcher_file import Cluster, Host
from inat.cluster.ssh import Problem, explain_failure, remote_python_command, ssh_command

FACTS_SECONDS = 8.0  # until all facts are there; with the shared path below, a check ends within 10 s
SHARED_SECONDS = 1.5  # until a host has listed the files in the shared path
CLOCK_READINGS = 3
LONGEST_LINE = 2**20  # bytes per line of an answer; longer lines, from a .bashrc, are skipped


class _UnreadableError(Exception):
    """An answer that is not JSON; the text is its beginning."""


@dataclass(slots=True)
class Answer:
    """What one host reported: its facts, or the problem that prevented them.

    ``skew`` is the host's clock minus this machine's, accurate to ``skew_error``, both in seconds. ``seen`` are the
    names of the hosts' files that it sees in the shared path.
    """

    host: Host
    facts: dict[str, Any] | None = None
    problem: Problem | None = None
    skew: float = 0.0
    skew_error: float = 0.0
    seen: list[str] = field(default_factory=list)


class HostSession:
    """The connection to one host and the requests sent over it; ``deadline`` is in seconds of ``time.monotonic``."""

    def __init__(self, cluster: Cluster, host: Host, deadline: float) -> None:
        self.answer = Answer(host)
        self._cluster = cluster
        self._deadline = deadline
        self._step = "ssh"  # what the host is looking at, for the message of a timeout
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, task: dict[str, Any]) -> None:
        """Connect, compare clocks and fetch the facts; on failure record the problem in ``answer``."""
        text = Path(probe.__file__).read_bytes()
        address = self.answer.host.address
        command = ssh_command(self._cluster, self.answer.host, remote_python_command(self._cluster, len(text)))
        pipe = asyncio.subprocess.PIPE
        try:
            async with asyncio.timeout_at(self._deadline):
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=pipe, stdout=pipe, stderr=pipe, limit=LONGEST_LINE
                )
                self._send(text)
                await self._compare_clocks()
                self._send_line({"task": task})
                self.answer.facts = (await self._next("facts"))["facts"]
        except TimeoutError:
            what = f"did not answer within {FACTS_SECONDS:.0f} s; it was looking at {self._step}"
            cure = (
                "check there whether that hangs (as a network share without its server does) or the host is overloaded"
            )
            self.answer.problem = Problem(address, what, cure)
        except (EOFError, ConnectionError):
            await self._record_failure()
        except _UnreadableError as error:
            cure = "check what `python` and ~/.bashrc print there in a login shell"
            self.answer.problem = Problem(address, f"sent an unreadable answer: {error}", cure)

    async def look(self, files: dict[str, str]) -> None:
        """Fetch which of ``files`` (name to content) the host sees in the shared path."""
        with suppress(TimeoutError, EOFError, ConnectionError, _UnreadableError):
            async with asyncio.timeout(SHARED_SECONDS):
                self._send_line({"look": files})
                self.answer.seen = (await self._next("seen"))["seen"]

    async def close(self) -> None:
        """Close the connection; the probe then removes the file that it wrote."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def _send(self, data: bytes) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(data)

    def _send_line(self, request: dict[str, Any]) -> None:
        self._send(json.dumps(request).encode() + b"\n")

    async def _next(self, name: str) -> dict[str, Any]:
        """The next answer with key ``name``; EOFError if the host ends first, _UnreadableError if it is not JSON."""
        while line := await self._line():
            if not line.startswith(probe.MARK.encode()):
                continue  # printed by the host's .bashrc
            try:
                answer: dict[str, Any] = json.loads(line[len(probe.MARK) :])
            except ValueError as error:
                raise _UnreadableError(repr(line[:80].decode(errors="replace").strip())) from error
            self._step = answer.get("doing", self._step)
            if name in answer:
                return answer
        raise EOFError

    async def _line(self) -> bytes:
        """The next line, b"" at the end; of a line longer than LONGEST_LINE only the rest."""
        assert self._process
        assert self._process.stdout
        while True:
            with suppress(ValueError):  # raised by asyncio for a line that is too long, after discarding it
                return await self._process.stdout.readline()

    async def _compare_clocks(self) -> None:
        readings = []
        for number in range(CLOCK_READINGS + 1):
            before = time.time(), time.monotonic()
            self._send_line({"clock": True})
            remote = float((await self._next("clock"))["clock"])
            trip = time.monotonic() - before[1]
            if number:  # the first reading waited until Python had started
                readings.append((trip / 2, remote - before[0] - trip / 2))
        # The quickest reading is the most accurate.
        self.answer.skew_error, self.answer.skew = min(readings)

    async def _record_failure(self) -> None:
        assert self._process
        assert self._process.stderr
        errors = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                errors = (await self._process.stderr.read()).decode(errors="replace")
                await self._process.wait()
        self.answer.problem = explain_failure(self._cluster, self.answer.host, self._process.returncode, errors)


async def ask_all(cluster: Cluster, tasks: Sequence[dict[str, Any]]) -> list[Answer]:
    """The answer of each host to its task, in order; takes at most about 10 s.

    Each host writes a file to the shared path. Once all have written, each reports which of these files it sees.
    """
    deadline = asyncio.get_running_loop().time() + FACTS_SECONDS
    sessions = [HostSession(cluster, host, deadline) for host in cluster.hosts]
    try:
        await asyncio.gather(*(session.ask(task) for session, task in zip(sessions, tasks, strict=True)))
        answered = [(session, task) for session, task in zip(sessions, tasks, strict=True) if session.answer.facts]
        written = {task["name"]: task["content"] for session, task in answered if has_written(session.answer)}
        if cluster.shared:
            await asyncio.gather(*(session.look(written) for session, _ in answered))
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    return [session.answer for session in sessions]


def has_written(answer: Answer) -> bool:
    """Whether the host could write to the shared path."""
    return answer.facts is not None and "shared" in answer.facts and answer.facts["shared"]["error"] is None
