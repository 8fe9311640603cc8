"""Parse the files of a Ray Tune experiment: experiment_state-*.json, and the files in each trial's folder.

Follows the JSON and CSV loggers of Tune 2.60. Neither pickled files nor the pickled strings in the experiment state are
ever unpickled.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.files import parse_json, read_bytes, read_json
from analysis.readers.frames import ReadErrors, flatten
from analysis.readers.tables import read_table

STATES = "experiment_state-*.json"
PARAMS, RESULTS, PROGRESS, ERROR_TXT = "params.json", "result.json", "progress.csv", "error.txt"
TRIAL_FILES = (PARAMS, RESULTS, PROGRESS, ERROR_TXT)

# "ValueError: ..." or "torch.OutOfMemoryError: ..." at the start of a line.
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*")
COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
ERROR_TAIL = 65536  # bytes; Tune appends each failure of a trial to error.txt


@dataclass(slots=True)
class TuneTrial:
    """One trial, combined from the experiment state and the trial's folder."""

    folder: str
    state: dict[str, Any] = field(default_factory=dict)  # Tune's Trial object: status, config, ...
    runtime: dict[str, Any] = field(default_factory=dict)  # Tune's run metadata: start_time, last_result, ...
    params: dict[str, Any] | None = None
    rows: list[tuple[Any, ...]] = field(default_factory=list)  # the requested values of each result
    last: dict[str, Any] = field(default_factory=dict)  # the last result, flattened
    first_time: float | None = None  # timestamp of the first result
    error: str | None = None


def trial_folders(directory: Path) -> list[Path]:
    """The folders that Tune created for trials."""
    return sorted(path for path in directory.iterdir() if any((path / name).is_file() for name in TRIAL_FILES))


def read_states(directory: Path, read_errors: ReadErrors) -> dict[str, TuneTrial]:
    """The trials of the experiment state, by folder; a restored experiment has several states, and the newest wins."""
    trials: dict[str, TuneTrial] = {}
    for path in sorted(directory.glob(STATES)):
        content = _read_json(path, path.name, read_errors)
        entries = content.get("trial_data") if content else None
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            try:
                trial = _trial_from_state(*map(parse_json, entry))
                trials[trial.folder] = trial
            except (ValueError, TypeError, KeyError) as error:
                read_errors.append((f"{path.name} trial {number}", f"{type(error).__name__}: {error}"))
    return trials


def _trial_from_state(state: dict[str, Any], runtime: dict[str, Any]) -> TuneTrial:
    folder = state["relative_logdir"]
    if not isinstance(folder, str) or not isinstance(runtime, dict):
        raise TypeError("relative_logdir is not a string, or the run metadata is not an object")
    for content, name in ((state, "stopping_criterion"), (runtime, "last_result")):
        content[name] = content.get(name) if isinstance(content.get(name), dict) else {}
    return TuneTrial(folder, state, runtime)


def read_folder(trial: TuneTrial, path: Path, keys: tuple[str, ...], read_errors: ReadErrors) -> None:
    """Add the content of the trial's folder to ``trial``; of each result keep the values at ``keys``."""
    names = {entry.name for entry in path.iterdir()}
    if PARAMS in names:
        trial.params = _read_json(path / PARAMS, f"{path.name}/{PARAMS}", read_errors)
    if RESULTS in names:
        store_results(trial, _json_lines(path / RESULTS, f"{path.name}/{RESULTS}", read_errors), keys)
    if not trial.rows and PROGRESS in names:
        store_results(trial, _progress(path / PROGRESS, f"{path.name}/{PROGRESS}", read_errors), keys)
    if ERROR_TXT in names:
        trial.error = _error_line(path / ERROR_TXT, f"{path.name}/{ERROR_TXT}", read_errors)


def store_results(trial: TuneTrial, results: Iterable[dict[str, Any]], keys: tuple[str, ...]) -> None:
    """Store in ``trial`` the values at ``keys`` of each result, and all values of the last result."""
    result: dict[str, Any] = {}
    for result in results:
        if trial.first_time is None:
            trial.first_time = result.get("timestamp")
        trial.rows.append(tuple(_value(result, key) for key in keys))
    trial.last = flatten(result)
    if trial.params is None and isinstance(result.get("config"), dict):
        trial.params = result["config"]


def _value(result: dict[str, Any], name: str) -> Any:
    """The value at "val/acc": a key of that name, or the key "acc" of a nested dictionary "val"."""
    if name in result or "/" not in name:
        return result.get(name)
    value: Any = result
    for part in name.split("/"):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _json_lines(path: Path, place: str, read_errors: ReadErrors) -> Iterable[dict[str, Any]]:
    try:
        lines = read_bytes(path, inside=path.parent.parent).split(b"\n")
    except OSError as error:
        read_errors.append((place, error.strerror or str(error)))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = parse_json(line)
        except ValueError as error:
            reason = "half-written" if number == len(lines) else f"{error}"
            read_errors.append((f"{place} line {number}", reason))
            continue
        if isinstance(result, dict):
            yield result
        else:
            read_errors.append((f"{place} line {number}", "not a JSON object"))


def _progress(path: Path, place: str, read_errors: ReadErrors) -> Iterable[dict[str, Any]]:
    try:
        table = read_table(path, place, read_errors, inside=path.parent.parent)
    except (OSError, ValueError) as error:
        read_errors.append((place, str(error)))
        return []
    return table.to_dict("records")  # type: ignore[no-any-return]


def _read_json(path: Path, place: str, read_errors: ReadErrors) -> dict[str, Any] | None:
    try:
        content = read_json(path, inside=path.parent.parent if path.name == PARAMS else path.parent)
    except (OSError, ValueError) as error:
        read_errors.append((place, getattr(error, "strerror", None) or str(error)))
        return None
    if isinstance(content, dict):
        return content
    read_errors.append((place, "not a JSON object"))
    return None


def _error_line(path: Path, place: str, read_errors: ReadErrors) -> str:
    """The line of error.txt that names the exception of the last failure."""
    try:
        text = read_bytes(path, inside=path.parent.parent)[-ERROR_TAIL:].decode("utf-8", errors="replace")
    except OSError as error:
        read_errors.append((place, error.strerror or str(error)))
        return ""
    failure = COLOUR_CODES.sub("", text).rpartition("Failure # ")[2]
    lines = [line.strip() for line in failure.split("\n")[1:] if line.strip()]
    exceptions = [line for line in lines if EXCEPTION.match(line)]
    return exceptions[-1] if exceptions else next(iter(lines), "")
