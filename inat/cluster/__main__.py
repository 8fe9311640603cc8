"""Check, await and show the nodes of a Ray cluster.

    python -m inat.cluster check cluster.yaml  # before `ray up`, on your machine: all hosts at once, in under 10 s
    python -m inat.cluster wait cluster.yaml   # after `ray up`: until all nodes have joined

While a search runs, this shows nodes, slots, trials and the best trial so far: ray exec cluster.yaml "python -m
inat.cluster status".
"""

import math
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro

from inat.cli import run_app
from inat.config.validation import expanded
from inat.errors import ConfigError

LauncherFile = Annotated[tyro.conf.Positional[Path], "FILE"]
DEFAULT = Path("cluster.yaml")
app = tyro.extras.SubcommandApp()


@app.command
def check(
    file: LauncherFile = DEFAULT,
    shared_path: Annotated[str | None, "FOLDER"] = None,
    data: Annotated[str | None, "FOLDER"] = None,
    min_free_gb: float = 10.0,
    max_skew: float = 1.0,
) -> None:
    """Check all hosts of an on-premise cluster before it starts.

    Args:
        file: Launcher file of `ray up`.
        shared_path: Folder that all hosts share. Default: metadata.shared_path of the file, or the target of the link
            results/.
        data: Folder with the photos on each host. Default: metadata.data of the file; without either, photos are not
            checked.
        min_free_gb: Free space that each disk must have for Ray and the trials, in GB.
        max_skew: Largest difference between the clocks of the hosts, in seconds.
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
def wait(file: LauncherFile = DEFAULT, timeout: Annotated[float, "SECONDS"] = 180.0) -> None:
    """Wait until all hosts have joined; else print the missing ones with their logs.

    Args:
        file: Launcher file of `ray up`.
        timeout: Longest time to wait, in seconds.
    """
    from inat.cluster.launcher_file import read_cluster
    from inat.cluster.wait import wait_for_nodes

    if not 0 < timeout < math.inf:
        raise ConfigError(f"--timeout must be positive and finite, got {timeout:g}")
    wait_for_nodes(read_cluster(file), timeout)


@app.command
def status(
    study: tyro.conf.Positional[Path | None] = None, storage_path: Annotated[Path, "FOLDER"] = Path("results")
) -> None:
    """Print nodes, busy slots, running trials and the best trial; run it on a node.

    Args:
        study: Study directory. Default: the study in --storage-path that was written to last.
        storage_path: Folder of all studies.
    """
    from inat.cluster.status import show_status
    from inat.study.metadata import newest_study

    show_status(expanded(study or newest_study(storage_path)))


def main() -> None:
    """Run one command; an InatError becomes one line and its exit code."""
    run_app(app, __doc__ or "")


if __name__ == "__main__":
    main()
