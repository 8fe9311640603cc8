"""Write the options of a search as a file for --config: those that somebody chose, or all of them as an example."""

import dataclasses
import os
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from analysis.option_help import field_docs
from inat.config.run_file import LEFT_OUT
from inat.config.search import SearchConfig
from inat.constants import DIGITS
from inat.errors import ConfigError

WIDTH = 100


def chosen_values(config: SearchConfig) -> dict[str, Any]:
    """The options that make ``config``, without those that follow from the others or from the defaults."""
    kind, names = type(config), [f.name for f in dataclasses.fields(config) if f.name not in LEFT_OUT]
    default = kind()
    wanted = {name: getattr(config, name) for name in names}
    chosen = {name: value for name, value in wanted.items() if value != getattr(default, name)}
    for name in list(chosen):
        fewer = {other: value for other, value in chosen.items() if other != name}
        with suppress(ConfigError):
            made = kind(**fewer)
            if {other: getattr(made, other) for other in names} == wanted:
                chosen = fewer
    return chosen


def run_text(config: SearchConfig) -> str:
    """The file with the options that make ``config``."""
    lines = [f"# Options of a search: inat tune-{config.KIND} --config FILE"]
    chosen = chosen_values(config)
    return "\n".join([*lines, *(_line(name, chosen[name]) for name in _in_order(type(config)) if name in chosen), ""])


def example_text(kind: type[SearchConfig], file: Path) -> str:
    """A file with all options and what they mean; all but the data are commented out, with their defaults."""
    default, docs = kind(), field_docs(kind)
    lines = [
        f"# Options of a search: inat tune-{kind.KIND} --config {file}",
        "# Remove the # before an option and change its value. What you type after --config wins over this file.",
    ]
    for title, names in kind.OPTION_GROUPS.items():
        shown = [name for name in names if name not in LEFT_OUT]
        lines += ["", f"# --- {title} ---"] if shown else []
        for name in shown:
            text = textwrap.wrap(docs.get(name, ""), WIDTH, break_on_hyphens=False, break_long_words=False)
            line = _line(name, DIGITS) if name == "data" else f"# {_line(name, getattr(default, name))}"
            lines += ["", *(f"## {part}" for part in text), line]
    return "\n".join([*lines, ""])


def _in_order(kind: type[SearchConfig]) -> list[str]:
    return [name for names in kind.OPTION_GROUPS.values() for name in names]


def _line(name: str, value: Any) -> str:
    if isinstance(value, Path):
        value = str(value).replace(f"{os.path.expanduser('~')}/", "~/", 1)
    if isinstance(value, tuple):
        return (
            f"{name}: {yaml.safe_dump(list(value), default_flow_style=True, width=10_000, allow_unicode=True).strip()}"
        )
    return yaml.safe_dump({name: value}, width=10_000, allow_unicode=True).strip()
