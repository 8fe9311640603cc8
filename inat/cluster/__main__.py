"""Commands about the machines of a Ray cluster.

python -m inat.cluster check cluster.yaml    # before `ray up`, from your machine: all hosts at once, in under 10 s
python -m inat.cluster wait cluster.yaml     # after it: until all nodes have joined
ray exec cluster.yaml "python -m inat.cluster status"    # while a search runs: nodes, slots, trials, best so far
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
    """Look at all hosts of an on-premise cluster before it starts: one line for each thing that is wrong, and its cure.

    Args:
        file: Launcher file, as given to `ray up`.
        shared_path: Folder that all hosts share. Default: metadata.shared_path of the file, or what results/ links to.
        data: Folder of photographs on each host. Default: metadata.data of the file; without it they are not looked at.
        min_free_gb: Free space wanted on each disk that Ray or trials fill, in GB.
        max_skew: Seconds that clocks may differ.
    """
    from inat.cluster.check import check_cluster, print_check
    from inat.cluster.launcher_file import read_cluster

    for option, value in (("--min-free-gb", min_free_gb), ("--max-skew", max_skew)):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{option} must be a number from 0 on, got {value:g}")
    started = time.monotonic()
    answers, problems = check_cluster(read_cluster(file, shared_path, data), min_free_gb * 1e9, max_skew)
    print_check(answers, problems, time.monotonic() - started)
    if not all(problem.pending for problem in problems):
        sys.exit(1)


@app.command
def wait(file: tyro.conf.Positional[Path] = DEFAULT, timeout: float = 180.0) -> None:
    """Return once all hosts of an on-premise cluster have joined; else say which have not, with the end of their logs.

    Args:
        file: Launcher file, as given to `ray up`.
        timeout: Seconds to wait.
    """
    from inat.cluster.launcher_file import read_cluster
    from inat.cluster.wait import wait_for_nodes

    if not 0 < timeout < math.inf:
        raise ConfigError(f"--timeout must be positive and finite, got {timeout:g}")
    wait_for_nodes(read_cluster(file), timeout)


@app.command
def status(study: tyro.conf.Positional[Path | None] = None, storage_path: Path = Path("results")) -> None:
    """Print the nodes of the cluster that this machine is one of, busy slots, where trials run, and the best so far.

    Args:
        study: Study directory. Default: the one in --storage-path that was written to last.
        storage_path: Folder of studies.
    """
    from inat.cluster.status import show_status
    from inat.study.metadata import newest_study

    show_status((study or newest_study(storage_path)).expanduser())


def main() -> None:
    """Run one command; an InatError becomes one line and its exit code."""
    guard(lambda: app.cli(prog="python -m inat.cluster", description="Commands about the machines of a Ray cluster."))


if __name__ == "__main__":
    main()
