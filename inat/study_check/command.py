"""`inat study check`: every check of a study, of its last training and of its retrainings, and what to print."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from analysis.wording import counted
from inat.constants import FINAL_DIR, JOURNAL, LAST_DIR, RETRAINING_DIR, SHIPPING_DIR, STUDY_JSON
from inat.errors import InatError, StudyError
from inat.study.metadata import is_running, read_info
from inat.study.strange_files import check_files
from inat.study_check.checkpoints import check_checkpoints, check_leftovers, rows_to_restore
from inat.study_check.derived import check_best, check_database, check_tables
from inat.study_check.journal_lines import beyond_repair, check_lines, read_lines
from inat.study_check.problems import Problem, Removed

Print = Callable[[str], object]


def check_study(study: Path, repair: bool, print_line: Print) -> tuple[int, int]:
    """Print what is wrong with a study and with its retrainings; mend it with ``repair``.

    Returns the number of problems, and of those that were not mended. Raises StudyError if there is no study, if it is
    to be repaired while its search runs, or if a file in it leads out of it.
    """
    parts = [study, study / LAST_DIR, *(study / FINAL_DIR / name for name in (RETRAINING_DIR, SHIPPING_DIR))]
    for directory in parts:
        check_files(directory)  # what leads out of the study is neither read nor mended
    running = is_running(study)
    if repair and running:
        raise StudyError(f"{study} is being run by another process; repair it when the search has ended")
    if not (study / STUDY_JSON).exists():
        read_info(study)
    found = left = 0
    for directory in (part for part in parts if (part / STUDY_JSON).exists()):
        where = "" if directory == study else f"{directory.relative_to(study)}: "
        for problem in _problems(directory, running, Removed(directory)):
            print_line(f"{where}{problem.text}")
            mended = _mend(problem, print_line) if repair else False
            found += 1
            left += not mended
    return found, left


def _mend(problem: Problem, print_line: Print) -> bool:
    if problem.mend is None:
        print_line("    cannot be mended here")
        return False
    try:
        print_line(f"    {problem.mend()}")
    except (InatError, OSError, shutil.Error) as error:
        print_line(f"    not mended: {error}")
        return False
    return True


def _problems(directory: Path, running: bool, removed: Removed) -> Iterator[Problem]:
    """Problems in the order in which they are mended; each check sees what was mended before it."""
    try:
        read_info(directory)
    except StudyError as error:
        yield Problem(str(error))
        return  # what the trials measured is unknown
    if running:  # the last line and some files may be incomplete at any moment
        yield from (problem for problem in check_lines(directory, removed) if "half-written" not in problem.text)
        return
    yield from check_lines(directory, removed)
    if not (directory / JOURNAL).exists() or beyond_repair(directory):
        return
    yield from check_leftovers(directory, removed)
    yield from _with_journal(directory, check_tables)
    yield from _with_journal(directory, lambda folder, journal: check_checkpoints(folder, journal, removed))
    yield from _with_journal(directory, lambda folder, journal: check_best(folder, journal, removed))
    yield from _with_journal(directory, lambda folder, journal: check_database(folder, journal, removed))


def _with_journal(directory: Path, check: Callable[..., Iterable[Problem]]) -> Iterator[Problem]:
    yield from check(directory, read_lines(directory)[1])


def describe_state(study: Path) -> list[str]:
    """What is in the study, and what a resumed search restores by itself."""
    journal = read_lines(study)[1]
    lines = [f"{counted(len(journal.trials), 'trial')}, {len(journal.ended())} of them ended"]
    for trial_id, count in rows_to_restore(study, journal).items():
        them = "it" if count == 1 else "them"
        lines.append(
            f"{trial_id} has a checkpoint {counted(count, 'epoch')} ahead of the journal; --resume adds {them}"
        )
    return lines
