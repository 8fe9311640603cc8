"""Write a file with all options of a search, to change and to run with --config.

inat new run.yaml                  # of tune-scratch
inat new run.yaml --kind finetune  # of tune-finetune
inat tune-scratch --config run.yaml --num-samples 48
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from analysis.terminal import PlainConsole
from inat.cli import run_command
from inat.config.finetune import FinetuneConfig
from inat.config.run_text import example_text
from inat.config.search import SearchConfig
from inat.config.validation import expanded
from inat.errors import ConfigError
from inat.study.atomic_io import atomic_write

KINDS = {kind.KIND: kind for kind in (SearchConfig, FinetuneConfig)}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCommand:
    """Write a file with the options of a search."""

    file: tyro.conf.Positional[Path] = Path("run.yaml")
    """File to write; it must not exist."""
    kind: Literal["scratch", "finetune"] = "scratch"
    """Whose options: scratch (of tune-scratch), or finetune (of tune-finetune)."""


def write_example(command: NewCommand) -> None:
    """Write the file and print what runs it; ConfigError if the file exists or its folder does not."""
    path = expanded(command.file)
    if path.exists():
        raise ConfigError(f"{path} exists already; name another file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder; make it first, or name a file elsewhere")
    atomic_write(path, example_text(KINDS[command.kind], command.file))
    PlainConsole().print(f"written {path}\nnext: inat tune-{command.kind} --config {path}")


if __name__ == "__main__":
    run_command(NewCommand, write_example)
