"""Watch a search from another terminal: its best trial, the running ones and their curves, and the time left.

    inat watch results/STUDY    # reads the study as it grows; also one that has ended, or a copy
    inat watch                  # the newest study in results/

Keys: arrows choose a trial, d shows its curve and its hyperparameters, s sorts, q leaves; the search goes on. Into a
file or a pipe, the page is printed once. A search on a cluster is watched on the machine where its study is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inat.cli import run_command
from inat.config.validation import expanded


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchCommand:
    """Show a study while its search runs."""

    study: Annotated[tyro.conf.Positional[Path | None], "STUDY"] = None
    """Study directory. Default: the newest study in --storage-path."""
    storage_path: Annotated[Path, "FOLDER"] = Path("results")
    """Folder of the studies."""
    debug: bool = False
    """Show tracebacks."""


def main(command: WatchCommand) -> None:
    """Run the command; what it needs loads only after the options have been checked."""
    from inat.study.metadata import newest_study
    from inat.tuning.live.watching import watch

    study = command.study
    watch(newest_study(expanded(command.storage_path)) if study is None else expanded(study))


if __name__ == "__main__":
    run_command(WatchCommand, main, description=__doc__)
