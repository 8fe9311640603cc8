"""Ask all hosts at once what they are like, each over one ssh connection."""

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
from inat.cluster.ssh import Problem, explain, python_over_stdin, ssh_command

SECONDS = 8.0  # for the facts: with the look at the shared path, all is over within ten
LOOK_SECONDS = 1.5
CLOCK_READINGS = 3
LONGEST_LINE = 2**20  # bytes; of the host's answers, and longer ones of its .bashrc are skipped


class _UnreadableError(Exception):
    """An answer that is no JSON; the text is its beginning."""


@dataclass(slots=True)
class Answer:
    """What one host said. ``skew`` is its clock minus ours, known to within ``skew_error``, both in seconds."""

    host: Host
    facts: dict[str, Any] | None = None
    problem: Problem | None = None
    skew: float = 0.0
    skew_error: float = 0.0
    seen: list[str] = field(default_factory=list)


class Conversation:
    """The exchange with one host."""

    def __init__(self, cluster: Cluster, host: Host, deadline: float) -> None:
        self.answer = Answer(host)
        self._cluster = cluster
        self._deadline = deadline  # of asyncio's clock, which is time.monotonic
        self._doing = "ssh"
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, task: dict[str, Any]) -> None:
        """Connect, compare clocks, and have the facts; or note why not."""
        text = Path(probe.__file__).read_bytes()
        command = ssh_command(self._cluster, self.answer.host, python_over_stdin(self._cluster, len(text)))
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
            what = f"gives no answer within {SECONDS:.0f} s; it was looking at {self._doing}"
            cure = "see there whether that hangs (a network share whose server is gone does) or the host is overloaded"
            self.answer.problem = Problem(self.answer.host.address, what, cure)
        except (EOFError, ConnectionError):
            await self._note_end()
        except _UnreadableError as error:
            cure = "see what `python` and ~/.bashrc print there in a login shell"
            self.answer.problem = Problem(
                self.answer.host.address, f"gives an answer that cannot be read: {error}", cure
            )

    async def look(self, files: dict[str, str]) -> None:
        """Have the host say which of ``files`` (name to content) it sees in the shared path."""
        with suppress(TimeoutError, EOFError, ConnectionError, _UnreadableError):
            async with asyncio.timeout(LOOK_SECONDS):
                self._send_line({"look": files})
                self.answer.seen = (await self._next("seen"))["seen"]

    async def close(self) -> None:
        """End the connection; the host removes what it wrote."""
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
        """The next answer with this name; EOFError if the host says no more, _UnreadableError if it is no JSON."""
        while line := await self._line():
            if not line.startswith(probe.MARK.encode()):
                continue  # what the host's .bashrc prints
            try:
                answer: dict[str, Any] = json.loads(line[len(probe.MARK) :])
            except ValueError as error:
                raise _UnreadableError(repr(line[:80].decode(errors="replace").strip())) from error
            self._doing = answer.get("doing", self._doing)
            if name in answer:
                return answer
        raise EOFError

    async def _line(self) -> bytes:
        """The next line, b"" at the end; of one longer than LONGEST_LINE, only what is behind that."""
        assert self._process
        assert self._process.stdout
        while True:
            with suppress(ValueError):  # asyncio's word for a line that is too long, which it has thrown away
                return await self._process.stdout.readline()

    async def _compare_clocks(self) -> None:
        readings = []
        for number in range(CLOCK_READINGS + 1):
            before = time.time(), time.monotonic()
            self._send_line({"clock": True})
            theirs = float((await self._next("clock"))["clock"])
            trip = time.monotonic() - before[1]
            if number:  # the first waited for Python to start
                readings.append((trip / 2, theirs - before[0] - trip / 2))
        # Of several readings, the quickest is the one least spoilt by waiting.
        self.answer.skew_error, self.answer.skew = min(readings)

    async def _note_end(self) -> None:
        assert self._process
        assert self._process.stderr
        errors = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                errors = (await self._process.stderr.read()).decode(errors="replace")
                await self._process.wait()
        self.answer.problem = explain(self._cluster, self.answer.host, self._process.returncode, errors)


async def ask_all(cluster: Cluster, tasks: Sequence[dict[str, Any]]) -> list[Answer]:
    """Each host's answer to its task; then, once all have written to the shared path, what each sees of it."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    talks = [Conversation(cluster, host, deadline) for host in cluster.hosts]
    try:
        await asyncio.gather(*(talk.ask(task) for talk, task in zip(talks, tasks, strict=True)))
        answered = [(talk, task) for talk, task in zip(talks, tasks, strict=True) if talk.answer.facts]
        written = {task["name"]: task["content"] for talk, task in answered if has_written(talk.answer)}
        if cluster.shared:
            await asyncio.gather(*(talk.look(written) for talk, _ in answered))
    finally:
        await asyncio.gather(*(talk.close() for talk in talks))
    return [talk.answer for talk in talks]


def has_written(answer: Answer) -> bool:
    """Whether the host could write into the shared path."""
    return answer.facts is not None and "shared" in answer.facts and answer.facts["shared"]["error"] is None
