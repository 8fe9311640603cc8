"""The lines of a journal: which of them fit, and a journal without the others but with the trials that these began."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inat.config.objective import ACCURACY, Objective, objective_of
from inat.constants import EPOCH, JOURNAL, TRIAL_ID
from inat.errors import StudyError
from inat.study.atomic_io import atomic_replace, parse_json_object
from inat.study.events import check_event, trial_id_of
from inat.study.journal import UNFIT, Journal
from inat.study.metadata import acquire_lock, check_journal, read_info
from inat.study.trial import Trial
from inat.study_check.lost_trials import LOST, LostTrials
from inat.study_check.problems import Problem, Removed

REPEATED = "repeats an earlier line"
MOST_LOST = 100  # trials in a row whose lines a damaged journal may lack
SHOWN = 5  # problems of one kind that are listed one by one


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a journal: its bytes, its event (None if it is none), and why it does not fit ("" if it does)."""

    number: int
    text: bytes
    event: dict[str, Any] | None
    fault: str

    @property
    def is_restored(self) -> bool:
        """Whether the journal lacks this line, which begins a trial; the trial's other lines need it."""
        return self.number == 0 and self.event is not None and self.event["event"] == "trial"

    @property
    def trial_id(self) -> str:
        """The trial of an event that fits."""
        return str((self.event or {}).get(TRIAL_ID, ""))


def read_lines(directory: Path) -> tuple[list[Line], Journal]:
    """Read the lines of a journal, and the journal that those make that fit; lines that it lacks have the number 0."""
    journal, seen = Journal(_objective(directory)), defaultdict[str, set[bytes]](set)
    lines: list[Line] = []
    path = directory / JOURNAL
    if not path.exists():
        return lines, journal
    lost: LostTrials | None = None
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            event = parse_json_object(text)
            for trial_id in _missing_before(event, journal):
                lost = lost or LostTrials(directory)
                if not (trial_id in lost or any(line.fault for line in lines)):
                    break  # no line of that trial was ever there
                lines += _restored(journal, lost.events(trial_id, journal))
            lines.append(Line(number, text, event, _fault(journal, text, event, seen)))
    return lines, journal


def _objective(directory: Path) -> Objective:
    with suppress(StudyError):  # `inat study check` has said what is wrong with study.json
        return objective_of(read_info(directory))
    return ACCURACY


def _missing_before(event: dict[str, Any] | None, journal: Journal) -> Iterator[str]:
    """The trials that the journal needs before this event, which comes from a study with a damaged journal."""
    if event is None:
        return
    try:
        check_event(event, journal.objective)
    except UNFIT:
        return
    known, needed = len(journal.trials), int(event[TRIAL_ID][1:]) + (event["event"] != "trial")
    # As many as a journal can lack that has so many trials; an id with a flipped bit is not followed.
    yield from map(trial_id_of, range(known, needed if needed - known <= max(MOST_LOST, known) else known))


def _restored(journal: Journal, events: list[dict[str, Any]]) -> Iterator[Line]:
    for event in events:
        journal.apply(event)
        yield Line(0, json.dumps(event).encode() + b"\n", event, "")


def _fault(journal: Journal, text: bytes, event: dict[str, Any] | None, seen: dict[str, set[bytes]]) -> str:
    """Why a line does not fit, "" if it does; ``seen`` has the earlier lines about the latest attempt of each trial."""
    if not text.endswith(b"\n"):
        return "is half-written"
    if event is None:
        return "is no event"
    trial_id = str(event.get(TRIAL_ID))
    if text in seen[trial_id]:
        return REPEATED
    if event.get("event") in ("retry", "raised"):
        seen[trial_id].clear()  # another attempt may report the very epochs of the one before
    seen[trial_id].add(text)
    try:
        journal.apply(event)
    except UNFIT:
        return "does not fit the lines before it"
    return ""


def check_lines(directory: Path, removed: Removed) -> list[Problem]:
    """Problems of the journal; all of them are mended at once, by the first one."""
    try:
        check_journal(directory)
    except StudyError as error:
        return [Problem(str(error))]
    lines, journal = read_lines(directory)
    if _is_mostly_damaged(lines):
        gone, there = _gone(lines), _there(lines)
        return [Problem(f"{JOURNAL}: {gone} of {there} lines do not fit, too many to remove; restore it from a copy")]
    texts = [f"{JOURNAL} lacks the line of trial {line.trial_id}" for line in lines if line.is_restored]
    texts += [f"{JOURNAL} line {line.number} {line.fault}" for line in lines if line.fault]
    if len(texts) > SHOWN:
        texts[SHOWN:] = [f"{JOURNAL} has {len(texts) - SHOWN} more lines that do not fit"]
    texts += [_gap(trial) for trial in journal.trials.values() if trial.known_epochs < len(trial.history)]
    if not texts:
        return []
    first = Problem(texts[0], lambda: mend_lines(directory, removed))
    return [first, *(Problem(text, lambda: "mended with the first line") for text in texts[1:])]


def beyond_repair(directory: Path) -> bool:
    """Whether most lines of the journal do not fit, so that what else is in the study cannot be judged by it."""
    return _is_mostly_damaged(read_lines(directory)[0])


def _is_mostly_damaged(lines: list[Line]) -> bool:
    return _gone(lines) > _there(lines) / 2


def _there(lines: list[Line]) -> int:
    return sum(line.number > 0 for line in lines)


def _gone(lines: list[Line]) -> int:
    return sum(line.fault not in ("", REPEATED) for line in lines)


def _gap(trial: Trial) -> str:
    after, known = trial.history[trial.known_epochs][EPOCH], trial.known_epochs
    return f"{JOURNAL}: trial {trial.trial_id} has no epoch {known + 1}, but epoch {after}"


def mend_lines(directory: Path, removed: Removed) -> str:
    """Keep the lines that fit; a trial with a gap keeps its epochs before the gap and runs again."""
    path = directory / JOURNAL
    lock = acquire_lock(directory)
    try:
        lines, journal = read_lines(directory)
        kept = list(_without_gaps([line for line in lines if not line.fault], journal))
        copy = removed.path_for(path)
        shutil.copyfile(path, copy)
        with atomic_replace(path) as partial:
            partial.write_bytes(b"".join(line.text for line in kept))
    finally:
        lock.release()
    gone = _there(lines) - _there(kept)
    lines_gone = f"{gone} {'line' if gone == 1 else 'lines'} removed"
    restored = "".join(f", {line.trial_id} {_how(line, journal)}" for line in kept if line.is_restored)
    return f"{lines_gone}{restored}; the whole journal is kept in {copy.relative_to(directory)}"


def _how(line: Line, journal: Journal) -> str:
    return "failed" if journal.trials[line.trial_id].error == LOST else "restored"


def _without_gaps(lines: list[Line], journal: Journal) -> Iterator[Line]:
    broken = {t.trial_id: t.history[: t.known_epochs] for t in journal.trials.values()
              if t.known_epochs < len(t.history)}  # fmt: skip
    for line in lines:
        assert line.event is not None
        kept = broken.get(line.event[TRIAL_ID])
        if kept is None or line.event["event"] == "trial" or line.event.get("row") in kept:
            yield line
