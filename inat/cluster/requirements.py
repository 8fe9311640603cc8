"""What must hold on each host of a cluster. Each requirement is one function that yields problems with a cure."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median_high, median_low

from rich.filesize import decimal

from inat.cluster.checked_host import CheckedHost, Expected
from inat.cluster.host_session import Answer
from inat.cluster.launcher_file import TOKEN_MOUNT, Cluster
from inat.cluster.ssh import Problem

FULL = 0.95  # share of a disk above which Ray refuses to store objects
PYTHONS = ("3.11", "3.12", "3.13")
PRIVATE = "600"
Requirement = Callable[[CheckedHost], Iterator[Problem]]


def find_problems(cluster: Cluster, expected: Expected, answers: Sequence[Answer]) -> list[Problem]:
    """The problems of all hosts, host by host in the file's order."""
    answered = [answer for answer in answers if answer.facts]
    found: list[Problem] = []
    for answer in answers:
        if answer.problem:
            found.append(answer.problem)
        elif answer.facts:
            host = CheckedHost(cluster, expected, answer, answered)
            found += [problem for requirement in REQUIREMENTS for problem in requirement(host)]
    return found


def environment(host: CheckedHost) -> Iterator[Problem]:
    """The same Python on all hosts; Ray and torch in the required versions."""
    versions, reference = host.facts["versions"], (host.reference.facts or {})["versions"]
    python = versions["python"]
    missing = [name for name in host.expected.versions if versions[name] is None]
    if not python.startswith(tuple(f"{known}." for known in PYTHONS)):
        yield host.problem(
            f"has Python {python}",
            f"install Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]} there, first on the PATH",
        )
    elif python != reference["python"] and not missing:
        other = host.reference.host.address
        what = f"has Python {python}, but {other} has {reference['python']}"
        yield host.problem(what, "install one of the two on both: Ray requires the same patch version")
    if missing:
        what = f"{' and '.join(missing)} not installed"
        by_hand = f"install requirements.lock there, or name the folder in metadata.environment of {host.cluster.path}"
        setup = host.solved_by_ray_up(what, "`ray up` runs setup_commands")
        yield setup if host.cluster.setup_commands else host.problem(what, by_hand)
    for name, expected in host.expected.versions.items():
        installed = versions[name]
        if installed is not None and installed.split("+")[0] != expected:
            yield host.problem(
                f"has {name} {installed}, expected {expected}", f"`pip install {name}=={expected}` there"
            )


def tools(host: CheckedHost) -> Iterator[Problem]:
    """The programs that `ray up` and setup_commands run on the host."""
    have = host.facts["tools"]
    if not have["rsync"]:
        yield host.problem("has no rsync, which `ray up` needs to copy files", "`apt-get install rsync` there")
    if host.cluster.calls_make and not have["make"]:
        yield host.problem("has no make, which setup_commands call", "`apt-get install make` there")
    if host.cluster.calls_make and not have["venv"]:
        python = ".".join(host.facts["versions"]["python"].split(".")[:2])
        yield host.problem(f"its Python {python} has no venv", f"`apt-get install python{python}-venv` there")


def code(host: CheckedHost) -> Iterator[Problem]:
    """The same code as on this machine, including uncommitted changes."""
    remote, local = host.facts["code"], host.expected.code
    if remote.get("error"):
        cure = f"`chown -R {host.cluster.user}` that folder there"
        yield host.problem(f"its code cannot be read ({remote['error']})", cure)
        return
    if remote["digest"] == local["digest"] or local.get("error"):
        return
    if remote["folder"] is None:
        what, by_hand = "does not have the project's code", "clone the repository there and `pip install -e .` it"
        copied = bool(host.cluster.setup_commands) or bool(host.cluster.mounts)
        yield host.solved_by_ray_up(what, "`ray up` copies it") if copied else host.problem(what, by_hand)
        return
    copied = host.cluster.copies(f"{remote['folder']}/inat", host.facts["home"])
    there, here = remote["commit"] or "no commit", local["commit"] or "no commit"
    differ = f"has different code in {remote['folder']}: {there}, this machine has {here}"
    pull = f"use the same commit on both: `git -C {remote['folder']} checkout {here.rstrip('+')}` there"
    yield host.solved_by_ray_up(differ, "`ray up` copies it") if copied else host.problem(differ, pull)


def gpus(host: CheckedHost) -> Iterator[Problem]:
    """A driver that shows all installed GPUs and is recent enough for torch."""
    gpu, cuda = host.facts["gpu"], host.facts["torch_cuda"]
    if gpu["error"]:
        cure = "install or reload it; see `nvidia-smi` there"
        yield host.problem(f"the GPU driver does not work ({gpu['error']})", cure)
    elif gpu["bus"] > len(gpu["names"]):
        what = f"has {gpu['bus']} GPUs on the bus, but the driver shows {len(gpu['names'])}"
        yield host.problem(what, "see `dmesg | grep -i nvrm` there; a reboot often brings the GPU back")
    if gpu["cuda"] and cuda and int(gpu["cuda"].split(".")[0]) < int(cuda.split(".")[0]):
        what = f"driver {gpu['driver']} supports CUDA up to {gpu['cuda']}, but torch needs {cuda}"
        yield host.problem(what, "update the driver, or install torch for an older CUDA")
    if gpu["names"] and not cuda and host.facts["versions"]["torch"]:
        what = f"has {len(gpu['names'])} GPUs, but torch without CUDA"
        yield host.problem(what, "install requirements.lock there")


def disks(host: CheckedHost) -> Iterator[Problem]:
    """Free space on the host's own disks and on the shared path."""
    shared = {host.cluster.shared: host.facts["shared_disk"]} if "shared_disk" in host.facts else {}
    for path, disk in (host.facts["disks"] | shared).items():
        if isinstance(disk, str):
            yield host.problem(f"the disk of {path} cannot be read ({disk})", "see `df -h` there")
        elif disk["free"] < host.expected.min_free:
            what = f"{decimal(disk['free'])} free for {path}, required {decimal(int(host.expected.min_free))}"
            yield host.problem(what, "free some space, or pass a smaller --min-free-gb")
        elif disk["free"] < (1 - FULL) * disk["total"]:
            what = f"the disk of {path} is more than {FULL:.0%} full, so Ray stores no objects on it"
            yield host.problem(what, "free some space, or name another --temp-dir in `ray start`")


def clock(host: CheckedHost) -> Iterator[Problem]:
    """A clock that agrees with most clocks, this machine's included."""
    off = host.answer.skew - median_skew(host.answered)
    if abs(off) - host.answer.skew_error > host.expected.max_skew:
        what = f"its clock is {abs(off):.1f} s {'ahead' if off > 0 else 'behind'} (+-{host.answer.skew_error:.2f})"
        yield host.problem(what, "enable time synchronisation: `timedatectl set-ntp true` there")


def median_skew(answers: Sequence[Answer]) -> float:
    """Median of all clocks in seconds relative to this machine's clock, which counts as 0.

    For an even number of clocks it is the middle value closer to 0.
    """
    clocks = [0.0, *(answer.skew for answer in answers)]
    return min(median_low(clocks), median_high(clocks), key=abs)


def shared_path(host: CheckedHost) -> Iterator[Problem]:
    """A shared path that is writable and is the same folder on all hosts."""
    path, shared = host.cluster.shared, host.facts.get("shared")
    if path is None or shared is None:
        return
    if shared["error"] == os.strerror(errno.ENOENT):
        cure = f"mount the share there, or correct the path in {host.cluster.path}"
        yield host.problem(f"the shared path {path} does not exist", cure)
        return
    if shared["error"]:
        what = f"cannot write to the shared path {path} ({shared['error']}); mounted there: {shared['mount']}"
        yield host.problem(what, f"mount it writable for {host.cluster.user}: `findmnt -T {path}` there")
        return
    other = next((a for a in host.answered if a.facts and not a.facts["shared"]["error"]), host.answer)
    if other is not host.answer and _written_file(other) not in host.answer.seen:
        mount = (other.facts or {})["shared"]["mount"]
        writer = other.host.address
        what = f"does not see in {path} the file that {writer} wrote; mounted: {shared['mount']}, on {writer}: {mount}"
        yield host.problem(what, "mount the same share on both")


def _written_file(answer: Answer) -> str:
    return str((answer.facts or {})["shared"]["name"])


def data(host: CheckedHost) -> Iterator[Problem]:
    """Photos in the data folder, as many as on the other hosts."""
    path, found = host.cluster.data, host.facts.get("data")
    if path is None or found is None:
        return
    if found["error"] or "train" not in found["splits"]:
        what = f"no photos in {path} ({found['error'] or 'no train folder'})"
        yield host.problem(what, f"`python -m inat.data.download` there, or copy them; trials need them at {path}")
        return
    other = next((a for a in host.answered if a.facts and "train" in a.facts["data"]["splits"]), host.answer)
    splits = (other.facts or {})["data"]["splits"]
    if found["splits"] != splits:
        address = other.host.address
        what = f"has different photos: {describe_splits(found['splits'])}; {address} has {describe_splits(splits)}"
        yield host.problem(what, f"copy them again: `rsync -a --delete {address}:{path}/ {path}/` there")


def describe_splits(splits: Mapping[str, Sequence[int]]) -> str:
    """The number of files in each split, as text; ``splits`` maps a split to its numbers of classes and files."""
    return ", ".join(f"{files:,} in {split}" for split, (_, files) in splits.items())


def ports(host: CheckedHost) -> Iterator[Problem]:
    """Free ports for `ray start`; a running Ray is only pending, because `ray up` restarts it."""
    taken = {port: holder for port, holder in host.facts["ports"].items() if holder}
    rays = [f"{holder['name']}, pid {holder['pid']}" for holder in taken.values() if holder["ray"]]
    if rays:
        what = f"Ray is already running there ({rays[0]})"
        yield host.problem(what, "`ray up` restarts it, which ends what runs on it", pending=True)
    for port, holder in taken.items():
        if not holder["ray"]:
            who = f"{holder['name']}, pid {holder['pid']}" if holder["name"] else "another user's process"
            cure = f"end it (`ss -ltnp 'sport = :{port}'` there), or change the port in {host.cluster.path}"
            yield host.problem(f"port {port} is taken by {who}", cure)


def token(host: CheckedHost) -> Iterator[Problem]:
    """Ray's token: the same on all hosts, and readable by its owner only."""
    found, source = host.facts["token"], host.expected.token
    copied = host.cluster.copies(TOKEN_MOUNT, host.facts["home"])
    if found["error"]:
        what, by_hand = f"Ray's token {TOKEN_MOUNT}: {found['error']}", f"copy {TOKEN_MOUNT} there, with mode {PRIVATE}"
        copied = copied and found["error"] == "missing"
        yield host.solved_by_ray_up(what, "`ray up` copies it") if copied else host.problem(what, by_hand)
        return
    if found["mode"] != PRIVATE:
        what = f"Ray's token {TOKEN_MOUNT} has mode {found['mode']}, so other users can read it"
        yield host.problem(what, f"`chmod {PRIVATE} {TOKEN_MOUNT}` there")
    digests = [(a.facts or {})["token"]["digest"] for a in host.answered]
    expected = source["digest"] if source and source["digest"] else next(filter(None, digests))
    if found["digest"] != expected:
        what = "Ray's token differs from the cluster's token"
        yield host.problem(what, f"copy {TOKEN_MOUNT} there again, with mode {PRIVATE}")


REQUIREMENTS: tuple[Requirement, ...] = (
    environment, tools, code, gpus, disks, clock, shared_path, data, ports, token,
)  # fmt: skip
