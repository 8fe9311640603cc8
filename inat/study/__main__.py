"""Check a study directory, as after a power cut or a full disk, and mend it.

    python -m inat.study check results/STUDY           # says what is wrong; changes nothing
    python -m inat.study check results/STUDY --repair  # mends it; what is removed stays in results/STUDY/removed-*/

The exit code is 1 if something is wrong that was not mended.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from inat.cli import run_command
from inat.config.validation import expanded


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCommand:
    """Check journal, tables, checkpoints, best.json, best.ckpt and study.db of a study."""

    action: tyro.conf.Positional[Literal["check"]]
    """What to do with the study."""
    study: Annotated[tyro.conf.Positional[Path], "STUDY"]
    """Study directory."""
    repair: bool = False
    """Mend what can be mended. Lines and files that are taken out are kept in the study, in removed-DATE/."""
    debug: bool = False
    """Show tracebacks."""


def run(command: StudyCommand) -> None:
    """Check one study; exits with 1 if something is wrong and stays wrong."""
    from inat.study_check.command import check_study, describe_state

    directory = expanded(command.study)
    found, left = check_study(directory, command.repair, print)
    print("\n".join(describe_state(directory)))
    if left:
        hint = "" if command.repair else f"; mend with: inat study check {shlex.quote(str(command.study))} --repair"
        print(f"{left} {'problem' if left == 1 else 'problems'}{hint}")
        sys.exit(1)
    print("all problems are mended" if found else "nothing is wrong")


if __name__ == "__main__":
    run_command(StudyCommand, run)
