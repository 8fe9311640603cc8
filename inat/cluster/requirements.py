"""What must hold on the hosts of a cluster, and what to do where it does not."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high, median_low
from typing import Any

from rich.filesize import decimal

from inat.cluster.host_session import Answer
from inat.cluster.launcher_file import TOKEN_MOUNT, Cluster
from inat.cluster.ssh import Problem

FULL = 0.95  # of a disk: Ray refuses to store objects beyond it
PYTHONS = ("3.11", "3.12")
PRIVATE = "600"
# Ray compares its own notes, not the machine: on a head that was set up, only files that changed here are copied again.
ANEW = "`ray down`, then `ray up`: while the cluster is up, `ray up` skips what it has done on the head"


@dataclass(frozen=True, slots=True)
class Expected:
    """What this checkout wants: versions of its requirements, its own code, and limits in bytes and seconds."""

    versions: Mapping[str, str]
    code: Mapping[str, Any]
    token: Mapping[str, Any] | None
    min_free: float
    max_skew: float


@dataclass(frozen=True, slots=True)
class Case:
    """One host that answered, beside the head and all others that did."""

    cluster: Cluster
    expected: Expected
    answer: Answer
    others: Sequence[Answer]

    @property
    def facts(self) -> dict[str, Any]:
        """What the host said."""
        assert self.answer.facts is not None
        return self.answer.facts

    @property
    def reference(self) -> Answer:
        """The host that others are compared with: the head, or the first that answered."""
        return self.others[0]

    def problem(self, what: str, cure: str, pending: bool = False) -> Problem:
        """A problem of this host."""
        return Problem(self.answer.host.address, what, cure, pending)

    def left_to_ray_up(self, what: str, cure: str) -> Problem:
        """A problem that `ray up` puts right by itself, unless it has set up this host, the head, already.

        Workers are different: Ray does not start on one that lacks something, and is then set up anew.
        """
        if self.answer.host.head and self.cluster.head_set_up:
            return self.problem(what, ANEW)
        return self.problem(what, cure, pending=True)


Rule = Callable[[Case], Iterator[Problem]]


def judge(cluster: Cluster, expected: Expected, answers: Sequence[Answer]) -> list[Problem]:
    """Everything that is wrong, host by host in the file's order."""
    answered = [answer for answer in answers if answer.facts]
    found: list[Problem] = []
    for answer in answers:
        if answer.problem:
            found.append(answer.problem)
        elif answer.facts:
            case = Case(cluster, expected, answer, answered)
            found += [problem for rule in RULES for problem in rule(case)]
    return found


def environment(case: Case) -> Iterator[Problem]:
    """Python of one version everywhere, Ray and torch as required."""
    versions, theirs = case.facts["versions"], (case.reference.facts or {})["versions"]
    python = versions["python"]
    missing = [name for name in case.expected.versions if versions[name] is None]
    if not python.startswith(tuple(f"{known}." for known in PYTHONS)):
        yield case.problem(f"has Python {python}", f"install Python {' or '.join(PYTHONS)} there, first on the PATH")
    elif python != theirs["python"] and not missing:
        other = case.reference.host.address
        what = f"has Python {python}, {other} has {theirs['python']}"
        yield case.problem(what, "install one of the two on both: Ray wants the same to the last digit")
    if missing:
        what = f"{' and '.join(missing)} not installed"
        by_hand = f"install requirements.lock there, or name the folder in metadata.environment of {case.cluster.path}"
        setup = case.left_to_ray_up(what, "`ray up` runs setup_commands")
        yield setup if case.cluster.setup_commands else case.problem(what, by_hand)
    for name, wanted in case.expected.versions.items():
        have = versions[name]
        if have is not None and have.split("+")[0] != wanted:
            yield case.problem(f"has {name} {have}, wanted is {wanted}", f"`pip install {name}=={wanted}` there")


def tools(case: Case) -> Iterator[Problem]:
    """The programs that `ray up` and setup_commands use there."""
    have = case.facts["tools"]
    if not have["rsync"]:
        yield case.problem("has no rsync, with which `ray up` copies files", "`apt-get install rsync` there")
    if case.cluster.makes and not have["make"]:
        yield case.problem("has no make, which setup_commands call", "`apt-get install make` there")
    if case.cluster.makes and not have["venv"]:
        python = ".".join(case.facts["versions"]["python"].split(".")[:2])
        yield case.problem(f"its Python {python} has no venv", f"`apt-get install python{python}-venv` there")


def code(case: Case) -> Iterator[Problem]:
    """The same code as here, uncommitted changes included."""
    theirs, ours = case.facts["code"], case.expected.code
    if theirs.get("error"):
        yield case.problem(f"its code cannot be read ({theirs['error']})", f"`chown -R {case.cluster.user}` it there")
        return
    if theirs["digest"] == ours["digest"] or ours.get("error"):
        return
    if theirs["folder"] is None:
        what, by_hand = "has none of our code", "clone the repository there and `pip install -e .` it"
        brought = bool(case.cluster.setup_commands) or bool(case.cluster.mounts)
        yield case.left_to_ray_up(what, "`ray up` brings it") if brought else case.problem(what, by_hand)
        return
    brought = case.cluster.brings(f"{theirs['folder']}/inat", case.facts["home"])
    have, here = theirs["commit"] or "no commit", ours["commit"] or "no commit"
    differ = f"has other code in {theirs['folder']}: {have}, here is {here}"
    pull = f"bring both to one commit: `git -C {theirs['folder']} checkout {here.rstrip('+')}` there"
    yield case.left_to_ray_up(differ, "`ray up` copies it") if brought else case.problem(differ, pull)


def gpus(case: Case) -> Iterator[Problem]:
    """A driver that shows all GPUs that are built in, and is new enough for torch."""
    gpu, cuda = case.facts["gpu"], case.facts["torch_cuda"]
    if gpu["error"]:
        yield case.problem(
            f"the GPU driver does not work ({gpu['error']})", "install or reload it; see `nvidia-smi` there"
        )
    elif gpu["bus"] > len(gpu["names"]):
        what = f"has {gpu['bus']} GPUs on the bus, but the driver shows {len(gpu['names'])}"
        yield case.problem(what, "see `dmesg | grep -i nvrm` there; a restart often brings it back")
    if gpu["cuda"] and cuda and int(gpu["cuda"].split(".")[0]) < int(cuda.split(".")[0]):
        what = f"driver {gpu['driver']} goes up to CUDA {gpu['cuda']}, torch wants {cuda}"
        yield case.problem(what, "update the driver, or install torch for an older CUDA")
    if gpu["names"] and not cuda and case.facts["versions"]["torch"]:
        yield case.problem(f"has {len(gpu['names'])} GPUs, but torch without CUDA", "install requirements.lock there")


def disks(case: Case) -> Iterator[Problem]:
    """Room on the host's own disks and on the shared path."""
    shared = {case.cluster.shared: case.facts["shared_disk"]} if "shared_disk" in case.facts else {}
    for path, disk in (case.facts["disks"] | shared).items():
        if isinstance(disk, str):
            yield case.problem(f"the disk of {path} cannot be read ({disk})", "see `df -h` there")
        elif disk["free"] < case.expected.min_free:
            what = f"{decimal(disk['free'])} free for {path}, wanted are {decimal(int(case.expected.min_free))}"
            yield case.problem(what, "free some space, or pass --min-free-gb")
        elif disk["free"] < (1 - FULL) * disk["total"]:
            what = f"the disk of {path} is more than {FULL:.0%} full, where Ray stops storing objects"
            yield case.problem(what, "free some space, or name another --temp-dir in `ray start`")


def clock(case: Case) -> Iterator[Problem]:
    """A clock that agrees with most of the others, and ours."""
    off = case.answer.skew - usual_skew(case.others)
    if abs(off) - case.answer.skew_error > case.expected.max_skew:
        what = f"its clock is {abs(off):.1f} s {'ahead' if off > 0 else 'behind'} (+-{case.answer.skew_error:.2f})"
        yield case.problem(what, "switch time synchronisation on: `timedatectl set-ntp true` there")


def usual_skew(answers: Sequence[Answer]) -> float:
    """The median of all clocks against ours, ours among them; of two middle ones, the one that is closer to ours."""
    clocks = [0.0, *(answer.skew for answer in answers)]
    return min(median_low(clocks), median_high(clocks), key=abs)


def shared_path(case: Case) -> Iterator[Problem]:
    """Writable from here, and the same folder as everywhere."""
    path, shared = case.cluster.shared, case.facts.get("shared")
    if path is None or shared is None:
        return
    if shared["error"] == os.strerror(errno.ENOENT):
        cure = f"mount the share there, or correct the path in {case.cluster.path}"
        yield case.problem(f"the shared path {path} does not exist", cure)
        return
    if shared["error"]:
        what = f"cannot write into the shared path {path} ({shared['error']}); mounted there: {shared['mount']}"
        yield case.problem(what, f"mount it writable for {case.cluster.user}: `findmnt -T {path}` there")
        return
    other = next((a for a in case.others if a.facts and not a.facts["shared"]["error"]), case.answer)
    if other is not case.answer and name_of(other) not in case.answer.seen:
        theirs = (other.facts or {})["shared"]["mount"]
        what = (
            f"does not see in {path} what {other.host.address} wrote there; mounted: {shared['mount']}, there {theirs}"
        )
        yield case.problem(what, "mount the same share on both")


def name_of(answer: Answer) -> str:
    """The file that the host wrote into the shared path."""
    return str((answer.facts or {})["shared"]["name"])


def data(case: Case) -> Iterator[Problem]:
    """The photographs, as many as elsewhere."""
    path, found = case.cluster.data, case.facts.get("data")
    if path is None or found is None:
        return
    if found["error"] or "train" not in found["splits"]:
        what = f"no photographs in {path} ({found['error'] or 'no train folder'})"
        yield case.problem(what, f"`python -m inat.data.download` there, or copy them; trials need them at {path}")
        return
    other = next((a for a in case.others if a.facts and "train" in a.facts["data"]["splits"]), case.answer)
    theirs = (other.facts or {})["data"]["splits"]
    if found["splits"] != theirs:
        what = f"has other photographs: {counts(found['splits'])}; {other.host.address} has {counts(theirs)}"
        yield case.problem(what, f"copy them again: `rsync -a --delete {other.host.address}:{path}/ {path}/` there")


def counts(splits: Mapping[str, Sequence[int]]) -> str:
    """Files of each split, for people."""
    return ", ".join(f"{files:,} in {split}" for split, (_, files) in splits.items())


def ports(case: Case) -> Iterator[Problem]:
    """Nobody else on the ports of `ray start`."""
    taken = {port: holder for port, holder in case.facts["ports"].items() if holder}
    rays = [f"{holder['name']}, pid {holder['pid']}" for holder in taken.values() if holder["ray"]]
    if rays:
        what = f"Ray is running there already ({rays[0]})"
        yield case.problem(what, "`ray up` starts it anew, which ends what runs on it", pending=True)
    for port, holder in taken.items():
        if not holder["ray"]:
            who = f"{holder['name']}, pid {holder['pid']}" if holder["name"] else "another user's process"
            cure = f"end that (`ss -ltnp 'sport = :{port}'` there), or change the port in {case.cluster.path}"
            yield case.problem(f"port {port} is taken by {who}", cure)


def token(case: Case) -> Iterator[Problem]:
    """Ray's token, the same everywhere, and nobody else may read it."""
    found, source = case.facts["token"], case.expected.token
    brought = case.cluster.brings(TOKEN_MOUNT, case.facts["home"])
    if found["error"]:
        what, by_hand = f"Ray's token {TOKEN_MOUNT}: {found['error']}", f"copy {TOKEN_MOUNT} there, with mode {PRIVATE}"
        brought = brought and found["error"] == "missing"
        yield case.left_to_ray_up(what, "`ray up` copies it") if brought else case.problem(what, by_hand)
        return
    if found["mode"] != PRIVATE:
        what = f"Ray's token {TOKEN_MOUNT} has mode {found['mode']}, so others may read it"
        yield case.problem(what, f"`chmod {PRIVATE} {TOKEN_MOUNT}` there")
    digests = [(a.facts or {})["token"]["digest"] for a in case.others]
    wanted = source["digest"] if source and source["digest"] else next(filter(None, digests))
    if found["digest"] != wanted:
        yield case.problem(
            "Ray's token is another than elsewhere", f"copy {TOKEN_MOUNT} there anew, with mode {PRIVATE}"
        )


RULES: tuple[Rule, ...] = (environment, tools, code, gpus, disks, clock, shared_path, data, ports, token)
