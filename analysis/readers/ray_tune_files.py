"""The files that Ray Tune writes: experiment_state-*.json on top, and those of one trial's folder.

Written by Tune 2.60's JSON and CSV loggers. Pickled files and the pickled strings inside the experiment state are never
opened.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.readers.frames import Broken, flatten
from analysis.readers.tables import read_table

STATES = "experiment_state-*.json"
PARAMS, RESULTS, PROGRESS, ERROR_TXT = "params.json", "result.json", "progress.csv", "error.txt"
MARKS = (PARAMS, RESULTS, PROGRESS, ERROR_TXT)

# "ValueError: ..." or "torch.OutOfMemoryError: ..." at the start of a line.
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ERROR_TAIL = 65536  # bytes; each failure of a trial is appended to the file


@dataclass(slots=True)
class TuneTrial:
    """What is known of a trial: from the experiment state, and from its folder."""

    folder: str
    state: dict[str, Any] = field(default_factory=dict)  # as Tune pickles a Trial: status, config, ...
    runtime: dict[str, Any] = field(default_factory=dict)  # its metadata: start_time, last_result, ...
    params: dict[str, Any] | None = None
    rows: list[tuple[Any, ...]] = field(default_factory=list)  # the wanted values of each result
    last: dict[str, Any] = field(default_factory=dict)  # the last result, flat
    first_time: float | None = None
    error: str | None = None


def trial_folders(directory: Path) -> list[Path]:
    """Folders that Tune made for a trial."""
    return sorted(path for path in directory.iterdir() if any((path / name).is_file() for name in MARKS))


def read_states(directory: Path, broken: Broken) -> dict[str, TuneTrial]:
    """The trials of the experiment state, by folder. A restored experiment has several; the newest one counts."""
    trials: dict[str, TuneTrial] = {}
    for path in sorted(directory.glob(STATES)):
        content = _read_json(path, path.name, broken)
        entries = content.get("trial_data") if content else None
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            try:
                trial = _trial_of_state(*map(json.loads, entry))
                trials[trial.folder] = trial
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                broken.append((f"{path.name} trial {number}", f"{type(error).__name__}: {error}"))
    return trials


def _trial_of_state(state: dict[str, Any], runtime: dict[str, Any]) -> TuneTrial:
    folder = state["relative_logdir"]
    if not isinstance(folder, str) or not isinstance(runtime, dict):
        raise TypeError("its folder or its results are not of the right type")
    for content, name in ((state, "stopping_criterion"), (runtime, "last_result")):
        content[name] = content.get(name) if isinstance(content.get(name), dict) else {}
    return TuneTrial(folder, state, runtime)


def read_folder(trial: TuneTrial, path: Path, wanted: tuple[str, ...], broken: Broken) -> None:
    """Add what the trial's folder has; ``wanted`` are the values to keep of each result."""
    names = {entry.name for entry in path.iterdir()}
    if PARAMS in names:
        trial.params = _read_json(path / PARAMS, f"{path.name}/{PARAMS}", broken)
    if RESULTS in names:
        take_results(trial, _json_lines(path / RESULTS, f"{path.name}/{RESULTS}", broken), wanted)
    if not trial.rows and PROGRESS in names:
        take_results(trial, _progress(path / PROGRESS, f"{path.name}/{PROGRESS}", broken), wanted)
    if ERROR_TXT in names:
        trial.error = _error_line(path / ERROR_TXT, f"{path.name}/{ERROR_TXT}", broken)


def take_results(trial: TuneTrial, results: Iterable[dict[str, Any]], wanted: tuple[str, ...]) -> None:
    """Keep the ``wanted`` values of each result, and the last one whole."""
    result: dict[str, Any] = {}
    for result in results:
        if trial.first_time is None:
            trial.first_time = result.get("timestamp")
        trial.rows.append(tuple(_value(result, name) for name in wanted))
    trial.last = flatten(result)
    if trial.params is None and isinstance(result.get("config"), dict):
        trial.params = result["config"]


def _value(result: dict[str, Any], name: str) -> Any:
    """``result[name]``, or what is at that place in nested dictionaries: "val/acc" may be either."""
    if name in result or "/" not in name:
        return result.get(name)
    value: Any = result
    for key in name.split("/"):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _json_lines(path: Path, place: str, broken: Broken) -> Iterable[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        broken.append((place, error.strerror or str(error)))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "half-written" if number == len(lines) else f"{error}"
            broken.append((f"{place} line {number}", reason))
            continue
        if isinstance(result, dict):
            yield result
        else:
            broken.append((f"{place} line {number}", "is no JSON object"))


def _progress(path: Path, place: str, broken: Broken) -> Iterable[dict[str, Any]]:
    try:
        table = read_table(path, place, broken)
    except (OSError, ValueError) as error:
        broken.append((place, str(error)))
        return []
    return table.to_dict("records")  # type: ignore[no-any-return]


def _read_json(path: Path, place: str, broken: Broken) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        broken.append((place, getattr(error, "strerror", None) or str(error)))
        return None
    if isinstance(content, dict):
        return content
    broken.append((place, "is no JSON object"))
    return None


def _error_line(path: Path, place: str, broken: Broken) -> str:
    """The line of error.txt that says what went wrong with the last failure."""
    try:
        text = path.read_bytes()[-ERROR_TAIL:].decode("utf-8", errors="replace")
    except OSError as error:
        broken.append((place, error.strerror or str(error)))
        return ""
    failure = COLOURS.sub("", text).rpartition("Failure # ")[2]
    lines = [line.strip() for line in failure.split("\n")[1:] if line.strip()]
    raised = [line for line in lines if EXCEPTION.match(line)]
    return raised[-1] if raised else next(iter(lines), "")
