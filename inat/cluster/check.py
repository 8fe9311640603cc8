"""`check`: whether a cluster can be started, told from this machine before anything is."""

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

from inat.cluster import probe
from inat.cluster.host_session import Answer, ask_all
from inat.cluster.launcher_file import Cluster
from inat.cluster.requirements import PRIVATE, Expected, counts, judge, usual_skew
from inat.cluster.ssh import Problem

ROOT = Path(__file__).parent.parent.parent
HERE = "this machine"
PINNED = ("ray", "torch")
WIDE = Console(width=1000)


def check_cluster(cluster: Cluster, min_free: float, max_skew: float) -> tuple[list[Answer], list[Problem]]:
    """Ask all hosts at once; the answers, and what is wrong here and there.

    ``min_free`` is in bytes, ``max_skew`` in seconds.
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
    answers = asyncio.run(ask_all(cluster, tasks_of(cluster, run)))
    problems = [*problems_here(cluster, expected), *judge(cluster, expected, answers)]
    return answers, problems


def tasks_of(cluster: Cluster, run: str) -> list[dict[str, Any]]:
    """What each host is to look at; ``run`` makes the names of this run's files, and its digests, its own."""
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
    """Ray's and torch's versions: those that requirements.txt pins."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("#")[0].strip().split("==") for line in lines if "==" in line)
    bare = {name.split("[")[0]: version for name, version in pinned.items()}
    return {name: bare[name] for name in PINNED}


def problems_here(cluster: Cluster, expected: Expected) -> list[Problem]:
    """What `ray up` lacks on this machine."""
    found = []
    try:
        ray = metadata.version("ray")  # its metadata only: importing it takes a second
    except metadata.PackageNotFoundError:
        ray = "none"
    if ray != (wanted := expected.versions["ray"]):
        found.append(Problem(HERE, f"has ray {ray}, wanted is {wanted}", f"`pip install ray=={wanted}`"))
    if shutil.which("rsync") is None:
        found.append(Problem(HERE, "has no rsync, with which `ray up` copies files", "install it"))
    if why := expected.code.get("error"):
        found.append(Problem(HERE, f"our code cannot be read ({why})", "make it readable for you"))
    if cluster.shared is None:
        path = cluster.path
        found.append(
            Problem(str(path), "names no shared path", "add metadata: {shared_path: FOLDER}, or pass --shared-path")
        )
    if source := cluster.token_source:
        found += token_problems(source)
    return found


def token_problems(source: Path) -> list[Problem]:
    """What is wrong with the token that `ray up` is to copy."""
    try:
        mode = stat.S_IMODE(source.stat().st_mode)
    except OSError as error:
        make = "make one with `(umask 077; ray get-auth-token --generate > /dev/null)`"
        return [Problem(HERE, f"Ray's token {source} cannot be read ({error.strerror})", make)]
    if f"{mode:03o}" != PRIVATE:
        what = f"Ray's token {source} has mode {mode:03o}, so others may read it"
        return [Problem(HERE, what, f"`chmod {PRIVATE} {source}`")]
    return []


def print_check(answers: Sequence[Answer], problems: Sequence[Problem], seconds: float) -> None:
    """One line a problem; the table of the hosts that have none; one line in the end."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    failures = [problem for problem in problems if not problem.pending]
    for problem in failures:
        console.print(f"wrong    {problem}")
    for problem in problems:
        if problem.pending:
            console.print(f"pending  {problem}")
    bad = {problem.host for problem in failures}
    fine = [answer for answer in answers if answer.host.address not in bad and answer.facts]
    if fine:
        table = host_table(fine, usual_skew(fine))
        # Into a file or pipe a row stays one line; on a terminal it is folded where that is too narrow.
        width = None if console.is_terminal else Measurement.get(WIDE, WIDE.options, table).maximum
        Console(highlight=False, width=width).print(table)
    what = f"{len(failures)} wrong" if failures else "nothing wrong"
    console.print(f"{what}; {len(fine)} of {len(answers)} hosts are ready ({seconds:.1f} s)")


def host_table(answers: Sequence[Answer], usual: float) -> Table:
    """One row a host; ``usual`` is the clock to compare with, in seconds against ours."""
    table = Table("host", "Python, Ray, torch", "commit", "GPUs", "free", "shared", "clock", "photographs")
    for column in table.columns:
        column.overflow = "fold"
    here = probe.code_facts(str(ROOT))
    for answer in answers:
        facts = answer.facts or {}
        versions, code = facts["versions"], facts["code"]
        copied = here["commit"] if code["digest"] == here["digest"] else None  # without a commit of its own
        table.add_row(
            f"{answer.host.address} {facts['host']}{' (head)' if answer.host.head else ''}",
            ", ".join(versions[name] or "-" for name in ("python", *PINNED)),
            code["commit"] or copied or "-",
            describe_gpus(facts["gpu"]),
            decimal(min(disk["free"] for disk in facts["disks"].values())),
            decimal(facts["shared_disk"]["free"]) if "shared_disk" in facts else "-",
            f"{answer.skew - usual:+.3f} s",
            counts(facts["data"]["splits"]) if "data" in facts else "-",
        )
    return table


def describe_gpus(gpu: dict[str, Any]) -> str:
    """How many GPUs of which kind, and the driver."""
    kinds = [f"{gpu['names'].count(name)} x {name}" for name in dict.fromkeys(gpu["names"])]
    return f"{', '.join(kinds)}, driver {gpu['driver']}" if kinds else "none"
