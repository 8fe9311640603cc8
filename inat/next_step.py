"""The command that follows a finished step, in the words of the caller: a command line, or a call in Python."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.run_card import program
from inat.caller import is_python

SCRIPTS = {"tune-scratch": "tune_scratch.py", "tune-finetune": "tune_finetune.py"}


def next_command(name: str, *words: object, **options: Any) -> str:
    """The command ``inat name words --option value``, started as this program was; quoted, to be copied.

    >>> next_command("finalize", "results/my study", cache_dir="/fast")
    "python -m inat.finalize 'results/my study' --cache-dir /fast"
    """
    if is_python():
        arguments = [*(repr(str(word)) for word in words), *(f"{n}={value!r}" for n, value in options.items())]
        return f"inat.{name.replace('-', '_')}({', '.join(arguments)})"
    return " ".join(filter(None, [shlex.join([*_start(name), *map(str, words)]), as_arguments(options)]))


def _start(name: str) -> Sequence[str]:
    if program().partition(" ")[0] == "inat":
        return ("inat", name)
    return ("python", SCRIPTS[name]) if name in SCRIPTS else ("python", "-m", f"inat.{name}")


def as_arguments(options: Mapping[str, Any]) -> str:
    """Options as the user types them: ``--cache-dir /fast``; a switch has the value True.

    >>> as_arguments({"cache_dir": "/my cache", "num_samples": 9, "retry_failed": True})
    "--cache-dir '/my cache' --num-samples 9 --retry-failed"
    """
    words = ((f"--{n.replace('_', '-')}", *(() if value is True else (str(value),))) for n, value in options.items())
    return shlex.join(word for option in words for word in option)
