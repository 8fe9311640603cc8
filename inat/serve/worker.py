"""The process that makes reports, so that the server answers meanwhile; it ends when nobody needs it."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

IDLE_SECONDS = 120.0  # after which the process ends; its libraries take 200 MB
HEADER_BYTES = 8  # before each answer: its length
SOURCES = Path(__file__).parents[2]  # the folder of the package inat


class WorkerError(Exception):
    """The process could not make a report; the text is a sentence without its end."""


class Worker:
    """Asks ``inat.serve.build``, in a process of its own, for one report after the other."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._end: asyncio.TimerHandle | None = None

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The parts of a report; WorkerError if it cannot be made."""
        async with self._turn:
            if self._end is not None:
                self._end.cancel()
            answer = await self._answer(request)
            self._end = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await _start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            length = int.from_bytes(await process.stdout.readexactly(HEADER_BYTES), "big")
            answer: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise WorkerError(
                "the process that makes it ended early; the machine may have too little memory"
            ) from error
        return answer

    async def end(self) -> None:
        """Call ``close``, and wait until the process has ended."""
        if self._end is not None:
            self._end.cancel()
        process = self._process
        self.close()
        if process is not None:
            await process.wait()

    def close(self) -> None:
        """End the process, also in the middle of a report."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()


async def _start() -> asyncio.subprocess.Process:
    paths = [str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "inat.serve.build",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C on the terminal is for the server, which ends this process
    )  # fmt: skip
