"""One file for a run: the options of a search in YAML, for --config, and as every study keeps them."""

import dataclasses
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from inat.config.validation import expanded, has_type, type_errors
from inat.errors import ConfigError

Options = TypeVar("Options")
# Options that files and study.json have as text.
PATHS = (
    "storage_path", "cache_dir", "resume", "start_from", "augment_preview", "weights_dir", "labels", "root", "config",
    "save_config",
)  # fmt: skip
# What a command does instead of searching, or about files like this one: for the command line only.
LEFT_OUT = frozenset({"config", "save_config", "resume", "retry_failed", "augment_preview", "plan", "debug"})
_ABOUT = re.compile(r"(?:unknown )?(?:--)?(\w[\w-]*)")  # the beginning of a message about an option


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: `off` is a text, 1e-3 a number, and 12:30 no number."""

    # PyYAML follows YAML 1.1, and would make False of `wandb: off`, and a text of `1e-3`.
    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


@dataclass(frozen=True, slots=True)
class RunFile:
    """The options in a file, by their field, and the number of the line of each."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, name: str) -> str:
        """Where the file says something about an option."""
        return f"{self.path}, line {self.lines[name]}"

    @contextmanager
    def places_in_messages(self, typed: Collection[str] = ()) -> Iterator[None]:
        """Begin the messages of a ConfigError about options of the file with their place; not those ``typed``."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(*(self._placed(problem, typed) for problem in error.problems)) from error

    def _placed(self, problem: str, typed: Collection[str]) -> str:
        found = _ABOUT.match(problem)
        name = found[1].replace("-", "_") if found else ""
        return f"{self.place(name)}: {problem}" if name in self.lines and name not in typed else problem

    def over(self, options: Options) -> Options:
        """``options`` with the values of the file, not yet checked together: an option of the command may follow."""
        merged = object.__new__(type(options))
        for field in dataclasses.fields(type(options)):  # type: ignore[arg-type]
            object.__setattr__(merged, field.name, self.values.get(field.name, getattr(options, field.name)))
        return merged


def read_run_file(path: Path, kind: type[Any]) -> RunFile:
    """Read the options of a search of this ``kind``, a SearchConfig or a class below it.

    Raises ConfigError, with every mistake and its line, for a file that cannot be read, for unknown options, and for
    values of another type.
    """
    entries = _entries(expanded(path), path)
    known = {field.name for field in dataclasses.fields(kind)} - LEFT_OUT
    lines = {str(name): line for name, line, _ in entries}
    problems, seen = [], dict[str, int]()
    for name, line, _ in entries:
        if name not in known:
            problems.append(f"{path}, line {line}: {_unknown_errors(name, known, kind)}")
        elif name in seen:
            problems.append(f"{path}, line {line}: {name} is in line {seen[name]} already; remove one of them")
        seen[name] = line
    if problems:
        raise ConfigError(*problems)
    file = RunFile(path, {name: _plain(name, value) for name, _, value in entries}, lines)
    checked = file.over(kind())
    with file.places_in_messages():
        if not all(has_type(checked, name) for name in file.values):
            raise ConfigError(*(m for m in type_errors(checked) if file._placed(m, ()) != m))
    return file


def _entries(place: Path, path: Path) -> list[tuple[Any, int, Any]]:
    """Name, line and value of each option."""
    loader = None
    try:
        loader = _Loader(place.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:  # nothing but comments
            return []
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path} holds no options; write one per line, such as `data: photos`")
        pairs = [(key, key.start_mark.line + 1, value) for key, value in node.value]
        build = loader.construct_object
        return [(build(key, deep=True), line, build(value, deep=True)) for key, line, value in pairs]
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; `inat new {path}` writes an example") from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); name a file with options") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{line}: this is not YAML ({reason}); write `name: value`") from error
    finally:
        if loader is not None:
            loader.dispose()


def _unknown_errors(name: Any, known: set[str], kind: type[Any]) -> str:
    text = str(name)
    if text.replace("-", "_") in LEFT_OUT:
        return f"{text} is an option of the command line only; leave it out here"
    close = difflib.get_close_matches(text.replace("-", "_"), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"`inat tune-{kind.KIND} --help` lists the options"
    return f"unknown option {text!r:.60}; {hint}"


def _plain(name: str, value: Any) -> Any:
    """A value of YAML as the field has it."""
    if name in PATHS and isinstance(value, str):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
