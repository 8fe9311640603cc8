"""Measure how long `inat data` takes on a folder of many photographs, before and after its store exists.

    python benchmarks/inspect_data.py --data PHOTOS MORE_PHOTOS --count 10000

The folders are searched for JPEG files, of which the first folder's are taken first; the name of the folder that
contains a file is its class. They are linked into a temporary folder <class>/<number>.jpg. The first run decodes them;
the next ones are measured, each in a fresh process: seconds of wall time, and of processor time, which other work on
the machine hardly changes.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import tyro
from measure import hardware, print_report


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the inspection of a data set."""

    data: tuple[Path, ...]
    """Folders with JPEG photographs in folders of classes, at any depth."""
    count: int = 10_000
    image_size: int = 64
    rounds: int = 3


def photographs(folders: Sequence[Path]) -> Iterator[Path]:
    """The JPEG files of the folders; those of one folder in turn from its classes, so that any number is a mixture."""
    for folder in folders:
        by_class: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*.jpg")):
            by_class.setdefault(path.parent.name, []).append(path)
        longest = max(map(len, by_class.values()), default=0)
        yield from (paths[i] for i in range(longest) for paths in by_class.values() if i < len(paths))


def link(options: Options, target: Path) -> int:
    """Link the photographs into folders of classes; returns their number."""
    number = -1
    for number, path in enumerate(islice(photographs(options.data), options.count)):
        place = target / path.parent.name
        place.mkdir(exist_ok=True)
        (place / f"{number}.jpg").symlink_to(path.resolve())
    return number + 1


def inspect(photos: Path, cache: Path, options: Options) -> tuple[float, float]:
    """Run the command; returns seconds of wall time and of processor time."""
    command = [sys.executable, "-m", "inat.data.inspect", str(photos), "--cache-dir", str(cache), "--image-size",
               str(options.image_size), "--output", str(cache / "page.html")]  # fmt: skip
    before, started = _processor_seconds(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    print(done.stdout)
    return time.perf_counter() - started, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the times of each run, then the result line."""
    options = tyro.cli(Options)
    print(options, hardware(), sep="\n")
    parts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photos, cache = Path(folder, "photos"), Path(folder, "cache")
        photos.mkdir()
        cache.mkdir(mode=0o700)
        parts["photos"] = [link(options, photos)]
        for number in range(1 + options.rounds):
            wall, processor = inspect(photos, cache, options)
            suffix = "" if number else "_with_decoding"
            parts.setdefault(f"seconds{suffix}", []).append(wall)
            parts.setdefault(f"cpu_seconds{suffix}", []).append(processor)
            print(
                f"run {number}: {wall:.1f} s, {processor:.1f} s of processor; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        parts["page_megabytes"] = [(cache / "page.html").stat().st_size / 1e6]
    print_report(parts)


if __name__ == "__main__":
    main()
