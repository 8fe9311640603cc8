"""The files of a study that are made from its journal and its checkpoints: tables, best.json, best.ckpt, study.db."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from analysis.files import parse_json
from inat.config.finetune import FinetuneConfig
from inat.config.objective import Objective
from inat.config.search import MODERN_SPACE, SearchConfig
from inat.constants import (
    BEST_CKPT,
    BEST_JSON,
    EARLIER_HISTORY_COLUMNS,
    EPOCHS,
    HISTORY_CSV,
    REFIT,
    SEARCH_KIND,
    STUDY_DB,
    TRIAL_ID,
    TRIALS_CSV,
)
from inat.errors import StudyError
from inat.study.journal import Journal
from inat.study.metadata import require
from inat.study.study import Study, history_table, trials_table
from inat.study_check.problems import Problem, Removed
from inat.tuning.best import best_model, write_best
from inat.tuning.best_json import SHA256, best_or_nothing, is_as_written, read_best
from inat.tuning.loggers.optuna_db import OptunaDbWriter, check_schema
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from inat.tuning.searcher_options import searcher_options
from inat.tuning.space import presets


def check_tables(directory: Path, journal: Journal) -> Iterator[Problem]:
    """Tables that say something else than the journal."""
    # Of two texts, the second is the file of earlier versions.
    histories = [history_table(journal), history_table(journal, EARLIER_HISTORY_COLUMNS)]
    for name, texts in ((TRIALS_CSV, [trials_table(journal)]), (HISTORY_CSV, histories)):
        path = directory / name
        # A running search appends to history.csv, so its order is another one.
        if not path.exists() or _lines(path.read_bytes()) not in [_lines(text.encode()) for text in texts]:
            fault = "differs from the journal" if path.exists() else "is missing"
            yield Problem(f"{name} {fault}", lambda n=name: _write_tables(directory, n))  # type: ignore[misc]


def _lines(text: bytes) -> list[bytes]:
    return sorted(text.split(b"\n"))


def _write_tables(directory: Path, name: str) -> str:
    Study.open(directory).close()  # writes both
    return f"{name} made again from the journal"


def check_best(directory: Path, journal: Journal, removed: Removed) -> Iterator[Problem]:
    """best.json and best.ckpt that are damaged, or not those of the best trial with weights."""
    json_path, weights = directory / BEST_JSON, directory / BEST_CKPT
    try:
        written = read_best(directory)
    except StudyError:
        yield Problem(f"{BEST_JSON} is damaged", lambda: _write_best(directory, removed, json_path))
        return
    best = best_model(journal, directory)
    if best is None or not (written or weights.exists()):
        return  # the search has not ended for the first time
    column = journal.objective.best_column
    refit = None if best.refit is None else best.refit.epochs
    of_refit = (written.get(REFIT) or {}).get(EPOCHS)
    if (written.get(TRIAL_ID), written.get(column), of_refit) != (best.trial_id, best.trial.best_value, refit):
        text = f"{BEST_JSON} is about trial {written.get(TRIAL_ID)}, the best trial is {best.trial_id}"
        if of_refit != refit:
            text = f"{BEST_JSON} does not fit the last training on all photos"
        yield Problem(text, lambda: _write_best(directory, removed, json_path, keep=True))
        written = best_or_nothing(directory)  # which may have been written again
    lost = SHA256 in written and not weights.exists()
    if lost or (weights.exists() and not is_as_written(weights, written)):
        text = f"{BEST_CKPT} is {'missing' if lost else 'damaged, or another file than the search wrote'}"
        yield Problem(text, lambda: _write_best(directory, removed, weights))


def _write_best(directory: Path, removed: Removed, path: Path, *, keep: bool = False) -> str:
    """Write best.json and best.ckpt; ``keep``: best.json is well-formed, so what still holds of it is taken over."""
    if keep:
        moved = f"copied to {shutil.copyfile(path, removed.path_for(path)).relative_to(directory)}"
    else:
        moved = removed.move(path) if path.exists() else "missing"
    study = Study.open(directory)
    try:
        write_best(study, named=False)  # somebody else may have written study.json
    except StudyError as error:
        folder = study.info.get("config", {}).get("weights_dir")
        hint = f"; or resume the study with --weights-dir {folder}" if folder else ""
        raise StudyError(f"{error}{hint}") from error
    finally:
        study.close()
    return f"{moved}; {'written again' if path.exists() else 'nothing to write it from'}"


def check_database(directory: Path, journal: Journal, removed: Removed) -> Iterator[Problem]:
    """A study.db that cannot be read or lacks trials."""
    path, ended = directory / STUDY_DB, {trial.trial_id for trial in journal.ended()}
    if not path.exists():
        return
    try:
        known = _trials_in(path, journal.objective)
    except (sqlite3.Error, ValueError, TypeError) as error:
        text = f"{STUDY_DB} cannot be read ({error})"
        yield Problem(text, lambda: f"{removed.move(path)}; {_write_database(directory)}")
        return
    if missing := ended - known:
        yield Problem(
            f"{STUDY_DB} lacks {len(missing)} of {len(ended)} trials", lambda: _complete_database(directory, removed)
        )
    if known - ended:
        text = f"{STUDY_DB} has {len(known - ended)} trials that the journal does not have"
        yield Problem(text, lambda: f"{removed.move(path)}; {_write_database(directory)}")


def _trials_in(path: Path, objective: Objective) -> set[str]:
    query = "SELECT value_json FROM trial_user_attributes WHERE key = ?"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        check_schema(database, objective)
        ids = [parse_json(value) for (value,) in database.execute(query, (TRIAL_ID,))]
    if not all(isinstance(trial_id, str) for trial_id in ids):
        raise ValueError(f"a {TRIAL_ID} in it is no text")
    return set(ids)


def _complete_database(directory: Path, removed: Removed) -> str:
    try:
        return _write_database(directory)
    except StudyError:  # what is there cannot be completed
        return f"{removed.move(directory / STUDY_DB)}; {_write_database(directory)}"


def _write_database(directory: Path) -> str:
    study = Study.open(directory)
    try:
        kind = FinetuneConfig if study.info.get(SEARCH_KIND) == FinetuneConfig.KIND else SearchConfig
        config = kind.from_json(study.info["config"])
        if config.space.endswith(".py"):  # somebody else may have written the file, or its name
            raise StudyError(f"{STUDY_DB} needs the search space in {config.space}; --resume STUDY writes it again")
        if config.model is not None:  # and so is this one
            raise StudyError(f"{STUDY_DB} needs the space of the network in {config.model}; --resume STUDY writes it")
        if config.space == MODERN_SPACE:  # which today's rules would make differently
            require(study.info, directory, "space")
        searcher = BudgetAwareOptunaSearch(
            study, presets.space_of(config, stored=study.info.get("space")), searcher_options(config, study)
        )
        with OptunaDbWriter(study, searcher) as writer:
            pass
    finally:
        study.close()
    if writer.error:
        raise StudyError(f"{STUDY_DB} cannot be written ({writer.error}); remove it, then resume the study")
    return "trials written from the journal"
