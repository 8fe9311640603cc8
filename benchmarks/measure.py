"""Helpers of all benchmarks: runs in fresh processes, medians with their range, the result line."""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")
Numbers = dict[str, float]
READY = "ready for the others"  # printed by ``wait_for_others``


class CrashError(Exception):
    """A benchmark process ended with an error; the text is its output."""


def in_fresh_process(script: str, *arguments: str) -> str:
    """Run ``script`` in a new interpreter, so no state passes between rounds; returns its last line of output."""
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout.splitlines()[-1]


def measured(script: str, options: Any, **changes: Any) -> dict[str, Any]:
    """Run ``script`` in a new interpreter with ``options`` and ``changes`` to them; returns the JSON that it prints."""
    numbers: dict[str, Any] = json.loads(in_fresh_process(script, *as_arguments(options, **changes)))
    return numbers


def alternate(
    script: str, options: Any, rounds: int, variants: Sequence[tuple[str, Mapping[str, Any]]]
) -> dict[str, list[float]]:
    """Run ``measured`` for each variant in turn, ``rounds`` times; returns all values by name.

    A variant is (suffix of the names, changes to the options).
    """
    parts: dict[str, list[float]] = {}
    for number in range(rounds):
        for suffix, changes in variants:
            found = {f"{name}{suffix}": value for name, value in measured(script, options, **changes).items()}
            print(f"round {number + 1}:", *(f"{name}={value:.4g}" for name, value in found.items()), flush=True)
            for name, value in found.items():
                parts.setdefault(name, []).append(value)
    return parts


def as_arguments(options: Any, **changes: Any) -> list[str]:
    """The command line for a dataclass of options with ``changes``; fields with value None are left out."""
    arguments: list[str] = []
    for name in (field.name for field in dataclasses.fields(options)):
        value, flag = changes.get(name, getattr(options, name)), name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            arguments += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return arguments


def side_by_side(
    script: str, arguments: Sequence[str], count: int, meanwhile: Callable[[list[int]], Result]
) -> tuple[Result, list[Numbers]]:
    """Run ``count`` processes at once and call ``meanwhile`` with their ids while all of them wait for each other.

    Then the processes continue. Returns the result of ``meanwhile`` and the JSON of each process. Raises CrashError if
    a process fails.
    """
    command = [sys.executable, script, *arguments]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) for _ in range(count)
    ]
    try:
        for process in started:
            _read_until_ready(process)
        result = meanwhile([process.pid for process in started])
        for process in started:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        return result, [_read_numbers(process) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def wait_for_others() -> None:
    """In a process started by ``side_by_side``: wait until all processes have called this function."""
    print(READY, flush=True)
    sys.stdin.readline()


def _read_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    before: list[str] = []
    for line in process.stdout:
        if line.strip() == READY:
            return
        before.append(line)
    raise CrashError("".join(before))


def _read_numbers(process: subprocess.Popen[str]) -> Numbers:
    assert process.stdout
    output = process.stdout.read()
    numbers = [line for line in output.splitlines() if line.startswith("{")]
    if process.wait() or not numbers:
        raise CrashError(output)
    found: Numbers = json.loads(numbers[-1])
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients of the pairs measured in the same round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median and range as text."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def print_report(parts: Mapping[str, Sequence[float]]) -> None:
    """Print a table of all parts, then the result line."""
    width = max(map(len, parts))
    for name, values in parts.items():
        print(f"{name:{width}}  {spread(values)}")
    print(result_line(parts))


def result_line(parts: Mapping[str, Sequence[float]]) -> str:
    """The last line of a benchmark: median, minimum and maximum of each part."""
    fields = (
        f"{name}={statistics.median(values):.4g} {name}_min={min(values):.4g} {name}_max={max(values):.4g}"
        for name, values in parts.items()
    )
    return "result: " + " ".join(fields)


def hardware() -> str:
    """Processor, cores, GPU and versions, in one line."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {_processor()}, {gpu}; {versions}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
