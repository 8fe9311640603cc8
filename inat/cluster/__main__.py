"""Check, await and watch a Ray cluster.

python -m inat.cluster check cluster.yaml    # before `ray up`, on your machine: all hosts at once, in under 10 s
python -m inat.cluster wait cluster.yaml     # after `ray up`: returns once all nodes have joined
ray exec cluster.yaml "python -m inat.cluster status"    # during a search: nodes, slots, trials, best trial so far
"""

import math
import sys
import time
from pathlib import Path

import tyro

from inat.cli import guard
from inat.errors import ConfigError

DEFAULT = Path("cluster.yaml")
app = tyro.extras.SubcommandApp()


@app.command
def check(
    file: tyro.conf.Positional[Path] = DEFAULT,
    shared_path: str | None = None,
    data: str | None = None,
    min_free_gb: float = 10.0,
    max_skew: float = 1.0,
) -> None:
    """Check all hosts of an on-premise cluster before it starts.

    Prints one line with a cure per problem. Exit code 1: solve a problem first.

    Args:
        file: Launcher file, as passed to `ray up`.
        shared_path: Folder that all hosts share. Default: metadata.shared_path, or the target of the results/ link.
        data: Folder of photos on each host. Default: metadata.data; photos are not checked if neither is given.
        min_free_gb: Free space required on each disk that Ray or trials write to, in GB.
        max_skew: Largest allowed difference between clocks, in seconds.
    """
    from inat.cluster.check import check_cluster, print_check
    from inat.cluster.launcher_file import read_cluster

    for option, value in (("--min-free-gb", min_free_gb), ("--max-skew", max_skew)):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{option} must be a finite number of at least 0, got {value:g}")
    started = time.monotonic()
    answers, problems = check_cluster(read_cluster(file, shared_path, data), min_free_gb * 1e9, max_skew)
    print_check(answers, problems, time.monotonic() - started)
    if not all(problem.pending for problem in problems):
        sys.exit(1)


@app.command
def wait(file: tyro.conf.Positional[Path] = DEFAULT, timeout: float = 180.0) -> None:
    """Return once all hosts have joined, or print the logs of the missing ones.

    Args:
        file: Launcher file, as passed to `ray up`.
        timeout: Seconds to wait.
    """
    from inat.cluster.launcher_file import read_cluster
    from inat.cluster.wait import wait_for_nodes

    if not 0 < timeout < math.inf:
        raise ConfigError(f"--timeout must be positive and finite, got {timeout:g}")
    wait_for_nodes(read_cluster(file), timeout)


@app.command
def status(study: tyro.conf.Positional[Path | None] = None, storage_path: Path = Path("results")) -> None:
    """Print the best trial so far, and the nodes with their slots and trials.

    Args:
        study: Study directory. Default: the study in --storage-path that was written to last.
        storage_path: Folder that holds studies.
    """
    from inat.cluster.status import show_status
    from inat.study.metadata import newest_study

    show_status((study or newest_study(storage_path)).expanduser())


def main() -> None:
    """Run one command; an InatError becomes one line on stderr and its exit code."""
    guard(lambda: app.cli(prog="python -m inat.cluster", description="Check, await and watch a Ray cluster."))


if __name__ == "__main__":
    main()
