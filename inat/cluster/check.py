"""`check`: find what keeps a cluster from starting, from the user's machine and before `ray up`."""

import asyncio
import secrets
import shutil
import stat
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.measure import Measurement
from rich.table import Table

from analysis.terminal import PlainConsole
from inat.cluster import probe
from inat.cluster.checked_host import Expected
from inat.cluster.host_session import Answer, ask_all
from inat.cluster.launcher_file import Cluster
from inat.cluster.requirements import PRIVATE, describe_splits, find_problems, median_skew
from inat.cluster.ssh import Problem

ROOT = Path(__file__).parent.parent.parent
HERE = "this machine"
PINNED = ("ray", "torch")
WIDE = Console(width=1000)


def check_cluster(cluster: Cluster, min_free: float, max_skew: float) -> tuple[list[Answer], list[Problem]]:
    """Ask all hosts at once; return their answers and the problems of this machine and of each host.

    ``min_free`` is in bytes, ``max_skew`` in seconds. Raises ConfigError if this machine has no ssh.
    """
    run = secrets.token_hex(8)
    source = cluster.token_source
    expected = Expected(
        versions=required_versions(),
        code=probe.code_facts(str(ROOT)),
        token=probe.token_facts(run, str(source)) if source else None,
        min_free=min_free,
        max_skew=max_skew,
    )
    answers = asyncio.run(ask_all(cluster, tasks_for(cluster, run)))
    problems = [*local_problems(cluster, expected), *find_problems(cluster, expected, answers)]
    return answers, problems


def tasks_for(cluster: Cluster, run: str) -> list[dict[str, Any]]:
    """The task of each host; the random text ``run`` makes file names and token digests unique to this run."""
    return [
        {
            "key": run,
            "name": f".inat-check-{run}-{number}",
            "content": f"{run} {host.address}",
            "ports": cluster.ports(host),
            "disks": cluster.disks(host),
            "shared": cluster.shared,
            "data": cluster.data,
            "code": cluster.code,
        }
        for number, host in enumerate(cluster.hosts)
    ]


def required_versions() -> dict[str, str]:
    """The versions of Ray and torch that requirements.txt pins."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("#")[0].strip().split("==") for line in lines if "==" in line)
    bare = {name.split("[")[0]: version for name, version in pinned.items()}
    return {name: bare[name] for name in PINNED}


def local_problems(cluster: Cluster, expected: Expected) -> list[Problem]:
    """What keeps `ray up` from working on this machine."""
    found = []
    try:
        ray = metadata.version("ray")  # importing ray would take a second
    except metadata.PackageNotFoundError:
        ray = "none"
    if ray != (wanted := expected.versions["ray"]):
        found.append(Problem(HERE, f"has ray {ray}, expected {wanted}", f"`pip install ray=={wanted}`"))
    if shutil.which("rsync") is None:
        found.append(Problem(HERE, "has no rsync, which `ray up` needs to copy files", "install rsync"))
    if why := expected.code.get("error"):
        found.append(Problem(HERE, f"the project's code cannot be read ({why})", "make it readable for you"))
    if cluster.shared is None:
        path = cluster.path
        found.append(
            Problem(str(path), "names no shared path", "add metadata: {shared_path: FOLDER}, or pass --shared-path")
        )
    if source := cluster.token_source:
        found += token_problems(source)
    return found


def token_problems(source: Path) -> list[Problem]:
    """What is wrong with the token file that `ray up` copies to the hosts."""
    try:
        mode = stat.S_IMODE(source.stat().st_mode)
    except OSError as error:
        make = "make one with `(umask 077; ray get-auth-token --generate > /dev/null)`"
        return [Problem(HERE, f"Ray's token {source} cannot be read ({error.strerror})", make)]
    if f"{mode:03o}" != PRIVATE:
        what = f"Ray's token {source} has mode {mode:03o}, so other users can read it"
        return [Problem(HERE, what, f"`chmod {PRIVATE} {source}`")]
    return []


def print_check(answers: Sequence[Answer], problems: Sequence[Problem], seconds: float) -> None:
    """Print one line per problem, a table of the hosts without one, and a summary line."""
    console = PlainConsole()
    failures = [problem for problem in problems if not problem.pending]
    for problem in failures:
        console.print(f"wrong    {problem}")
    for problem in problems:
        if problem.pending:
            console.print(f"pending  {problem}")
    bad = {problem.host for problem in failures}
    fine = [answer for answer in answers if answer.host.address not in bad and answer.facts]
    if fine:
        table = host_table(fine, median_skew(fine))
        # In a file or pipe each row stays on one line; a terminal folds rows that are too wide.
        width = None if console.is_terminal else Measurement.get(WIDE, WIDE.options, table).maximum
        PlainConsole(width=width, soft_wrap=False).print(table)
    what = f"{len(failures)} wrong" if failures else "nothing wrong"
    console.print(f"{what}; {len(fine)} of {len(answers)} hosts are ready ({seconds:.1f} s)")


def host_table(answers: Sequence[Answer], usual_skew: float) -> Table:
    """One row per host; clocks are shown relative to ``usual_skew``, in seconds relative to this machine's clock."""
    table = Table("host", "Python, Ray, torch", "commit", "GPUs", "free", "shared", "clock", "photos")
    for column in table.columns:
        column.overflow = "fold"
    here = probe.code_facts(str(ROOT))
    for answer in answers:
        facts = answer.facts or {}
        versions, code = facts["versions"], facts["code"]
        copied = here["commit"] if code["digest"] == here["digest"] else None  # a copy has no git history of its own
        table.add_row(
            f"{answer.host.address} {facts['host']}{' (head)' if answer.host.head else ''}",
            ", ".join(versions[name] or "-" for name in ("python", *PINNED)),
            code["commit"] or copied or "-",
            describe_gpus(facts["gpu"]),
            decimal(min(disk["free"] for disk in facts["disks"].values())),
            decimal(facts["shared_disk"]["free"]) if "shared_disk" in facts else "-",
            f"{answer.skew - usual_skew:+.3f} s",
            describe_splits(facts["data"]["splits"]) if "data" in facts else "-",
        )
    return table


def describe_gpus(gpu: dict[str, Any]) -> str:
    """Number and model of the GPUs, and the driver version."""
    kinds = [f"{gpu['names'].count(name)} x {name}" for name in dict.fromkeys(gpu["names"])]
    return f"{', '.join(kinds)}, driver {gpu['driver']}" if kinds else "none"
