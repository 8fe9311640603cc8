"""What this process may use of its machine: fewer cores and less memory in a container, a batch job or a cgroup."""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """CPU cores that this process may use: those of its affinity, at most the whole cores of its CPU quota."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([available, *_limits("cpu", "cpu.max", _quota, "cpu.cfs_quota_us", _quota_v1)])))


def usable_memory() -> int:
    """Bytes of memory that this process and its children may use together."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = _limits("memory", "memory.max", _number, "memory.limit_in_bytes", _number)
    return int(min([installed, *limits]))


def _limits(
    controller: str, name: str, read: Callable[[Path], float], name_v1: str, read_v1: Callable[[Path], float]
) -> Iterator[float]:
    """The limits of all control groups that this process is in, for version 2 and version 1 of the controller."""
    for directory, is_v1 in _directories(controller):
        try:
            yield read_v1(directory / name_v1) if is_v1 else read(directory / name)
        except (OSError, ValueError, ZeroDivisionError):  # no such limit in this group
            continue


def _directories(controller: str) -> Iterator[tuple[Path, bool]]:
    """The directories of the control groups of this process, from its own one up to the root, and whether version 1.

    In a container, the root itself is the container's group, and the path in /proc may not exist.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # macOS
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 1 mounts each controller in a folder of its own; version 2 beside it, if both are in use.
        root = CGROUPS / (controllers or ("unified" if (CGROUPS / "unified").is_dir() else ""))
        own = root / path.lstrip("/")
        for directory in (own, *own.parents):
            if not directory.is_relative_to(root):
                break
            yield directory, bool(controllers)


def _number(path: Path) -> float:
    text = path.read_text().strip()
    return math.inf if text == "max" else float(text)


def _quota(path: Path) -> float:
    quota, period = path.read_text().split()
    return math.inf if quota == "max" else float(quota) / float(period)


def _quota_v1(path: Path) -> float:
    quota = _number(path)
    return math.inf if quota < 0 else quota / _number(path.with_name("cpu.cfs_period_us"))
