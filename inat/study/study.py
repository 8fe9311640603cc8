"""The study directory: written while a search runs, and read back to resume the search.

``journal.jsonl`` is the only source of truth. It has one line per event and is only appended to, so a study stays
readable if its process is killed at any moment. A power cut may take its last lines (``journal_file``); the trials of
these lines then go on from what their checkpoints know, or begin again. ``trials.csv`` and ``history.csv`` are made
from the journal.
"""

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TextIO

from filelock import FileLock

from inat.config.objective import objective_of
from inat.constants import (
    BEST_VAL_ACC,
    CHECKPOINTS_DIR,
    CONTROL,
    CONTROL_TRIAL_COLUMNS,
    END_CKPT,
    EPOCH,
    EPOCH_COST,
    ERRORS_DIR,
    FINISHED,
    FOLD,
    FOLD_BEST,
    FOLD_HISTORY_COLUMNS,
    FOLD_TRIAL_COLUMNS,
    FOLDS_DONE,
    HISTORY_COLUMNS,
    HISTORY_CSV,
    JOURNAL,
    LAST_CKPT,
    MICRO_BATCH,
    NOTE,
    PREPARATION,
    RUNNING,
    STUDY_JSON,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    TRIALS_CSV,
    WOULD_STOP,
)
from inat.errors import DiskFullError, StudyError
from inat.study.atomic_io import as_disk_full_error, atomic_write, csv_lines, drop_partial_line
from inat.study.digests import DIGESTS, digests_of
from inat.study.journal import Journal
from inat.study.journal_file import JournalFile
from inat.study.metadata import acquire_lock, check_journal, read_info
from inat.study.strange_files import check_files
from inat.study.trial import Trial

# Columns of an epoch that the journal keeps, beside those of history.csv and the best value of the study's objective.
JOURNALED = (FOLD, FOLD_BEST, FOLDS_DONE, FINISHED, MICRO_BATCH, NOTE, TRAINABLE, PREPARATION, WOULD_STOP)
# While epochs arrive, trials.csv is rewritten at most once per TABLE_SECONDS. If a write takes longer than
# CHEAP_SECONDS, at most TABLE_SHARE of the time is spent on writing.
TABLE_SECONDS = 1.0
CHEAP_SECONDS = 0.02
SYNC_END_SECONDS = 1.0  # the end of a trial that took longer waits for the disk before its checkpoints are removed
TABLE_SHARE = 0.05


def cannot_create(directory: Path, error: OSError) -> StudyError:
    """Make the error for a study directory that the system refuses to create."""
    return StudyError(f"cannot create {directory} ({error.strerror}); choose another --storage-path")


class Study(Journal):
    """A study directory and its trials, open for writing; made by ``create`` or ``open``.

    Only one process at a time can have a study open. Call ``close`` at the end. Methods that write raise DiskFullError
    if the disk is full.

        study = Study.create(Path("results/try"), {"config": {}})
        trial = study.add_trial({"learning_rate": 0.01})
        study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5})
        study.end_trial(trial.trial_id, "completed")
        study.close()
    """

    def __init__(self, directory: Path, info: dict[str, Any], lock: FileLock) -> None:
        self.directory = directory
        self.info = info
        super().__init__(objective_of(info))
        self._lock = lock
        self._replay()
        self._journal = JournalFile(directory / JOURNAL)  # both closed in close()
        self._history: TextIO | None = None
        self._rewrite_history()
        self._table_written = self._table_cost = 0.0
        self.write_trials()

    @classmethod
    def create(cls, directory: Path, info: Mapping[str, Any]) -> Self:
        """Create a study directory with ``info`` as its study.json.

        Raises StudyError if the directory exists and is not empty, or cannot be created.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                known, path = (directory / STUDY_JSON).exists(), shlex.quote(str(directory))
                hint = f"continue it with --resume {path}" if known else "empty it"
                raise StudyError(f"{directory} exists already; {hint} or choose another --name")
        except OSError as error:
            raise cannot_create(directory, error) from error
        lock = acquire_lock(directory)
        content = {**info, DIGESTS: digests_of(info)}
        atomic_write(directory / STUDY_JSON, json.dumps(content, indent=2) + "\n")
        return cls(directory, content, lock)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open an existing study to continue it.

        Raises StudyError if there is no study, its journal is missing, empty or damaged, its study.json was edited, or
        another process has it open.
        """
        info = read_info(directory)
        check_files(directory)
        check_journal(directory)
        return cls(directory, info, acquire_lock(directory))

    # The events of a trial, in order.

    def add_trial(self, params: dict[str, Any], control: bool = False, epoch_cost: float = 1.0) -> Trial:
        """Record a new trial with its hyperparameters; it gets the next number and counts as running.

        ``control``: ASHA does not stop it. ``epoch_cost``: see Trial.
        """
        number = len(self.trials)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        trial = self.new_trial(self.next_trial_id, number, dict(params), created, control, epoch_cost)
        self.trials[trial.trial_id] = trial
        begun: dict[str, Any] = {"number": number, "params": trial.params, "created": created}
        begun |= {CONTROL: 1} if control else {}
        begun |= {EPOCH_COST: epoch_cost} if epoch_cost != 1 else {}
        self._log("trial", trial.trial_id, **begun)
        self._write_trials_soon()
        return trial

    def add_epoch(self, trial_id: str, row: Mapping[str, Any], node: str = "") -> bool:
        """Record one epoch of a trial: a row with ``epoch`` and the objective's best value, and the node it ran on.

        An epoch that the trial already has replaces that one and all after it: the trial went back to a checkpoint.
        Returns False for the very row that the trial already has, which a resumed trial reports again; it is ignored.
        """
        trial = self.trials[trial_id]
        kept = (*HISTORY_COLUMNS[1:], self.objective.best_column, *JOURNALED)
        row = {name: row[name] for name in kept if name in row}
        if trial.has_row(row):
            return False
        rewrite = row[EPOCH] <= trial.epochs or (FOLD in row and not self.folded)  # which adds a column
        self._add_epoch(trial, row, node)
        self._log("epoch", trial_id, node=node, row=row)
        if rewrite:
            self._rewrite_history()
        elif self._history is not None:
            with as_disk_full_error(self.directory):
                self._history.write(csv_lines([{TRIAL_ID: trial_id} | row], history_columns(self)))
                self._history.flush()
        self._write_trials_soon()
        return True

    def end_trial(self, trial_id: str, state: str, error: str = "") -> None:
        """Record the final state of a trial (completed, stopped or failed) and, if any, its error or a note."""
        trial = self.trials[trial_id]
        self._end(trial, state, error)
        # Checkpoints are removed next: after a power cut, a long trial must not begin again.
        self._log("end", trial_id, urgent=trial.seconds > SYNC_END_SECONDS, state=state, error=error)
        self._write_trials_soon(min_seconds=0.0)

    def retry_trial(self, trial_id: str) -> None:
        """Begin a failed trial again from its first epoch, under its id; the files of its failure get other names."""
        trial = self.trials[trial_id]
        for path in (self.directory / ERRORS_DIR).glob(f"{trial_id}.*"):
            path.rename(path.with_name(f"{trial_id}-attempt-{trial.attempt}{path.name.removeprefix(trial_id)}"))
        shutil.rmtree(self.checkpoint_dir(trial_id), ignore_errors=True)
        attempt, created = trial.attempt + 1, datetime.now(UTC).isoformat(timespec="seconds")
        has_rows = bool(trial.history)
        self._retry(trial, attempt, created)
        self._log("retry", trial_id, urgent=True, attempt=attempt, created=created)
        if has_rows:
            self._rewrite_history()
        self._write_trials_soon()

    def raise_trial(self, trial_id: str, max_epochs: int, state: str, would_stop: bool = False) -> None:
        """Record that trials may now have ``max_epochs``, of one that stands at the former maximum.

        With the state "running" it goes on, from its last state if its checkpoint is there, else from its first epoch;
        ``would_stop`` is for a control trial that ASHA would stop where it stands. With "stopped", ASHA stops it there.
        """
        trial = self.trials[trial_id]
        epoch = trial.epochs
        if state == RUNNING:  # before its line: without the file, the trial would begin again
            with suppress(FileNotFoundError):
                (self.checkpoint_dir(trial_id) / END_CKPT).replace(self.checkpoint_dir(trial_id) / LAST_CKPT)
        self._raise(trial, epoch, max_epochs, state, would_stop)
        mark: dict[str, Any] = {WOULD_STOP: 1} if would_stop else {}
        self._log("raised", trial_id, epoch=epoch, max_epochs=max_epochs, state=state, **mark)
        self._write_trials_soon()

    def write_failure(self, trial_id: str, text: str) -> None:
        """Write the traceback of a failed trial to errors/<trial_id>.txt."""
        path = self.directory / ERRORS_DIR / f"{trial_id}.txt"
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, text)

    def checkpoint_dir(self, trial_id: str) -> Path:
        """Return the folder of the trial's checkpoints, which may not exist yet."""
        return self.directory / CHECKPOINTS_DIR / trial_id

    # Files.

    def write_trials(self) -> None:
        """Write trials.csv, one row per trial."""
        started = time.monotonic()
        with as_disk_full_error(self.directory):
            atomic_write(self.directory / TRIALS_CSV, trials_table(self), sync=False)
        self._table_written = time.monotonic()
        self._table_cost = self._table_written - started

    def _write_trials_soon(self, min_seconds: float = TABLE_SECONDS) -> None:
        """Write trials.csv unless it was written less than ``min_seconds`` ago; a large table is written less often."""
        if self._table_cost > CHEAP_SECONDS:
            min_seconds = max(min_seconds, self._table_cost / TABLE_SHARE)
        if time.monotonic() - self._table_written >= min_seconds:
            self.write_trials()

    def _rewrite_history(self) -> None:
        path = self.directory / HISTORY_CSV
        with as_disk_full_error(self.directory):
            atomic_write(path, history_table(self), sync=False)
        if self._history is not None:
            self._history.close()
        self._history = path.open("a", newline="", encoding="utf-8")

    def update_config(self, config: Mapping[str, Any], **others: Any) -> None:
        """Replace the configuration and ``others`` in study.json; a resumed search may change some settings."""
        self.info |= {**others, "config": dict(config)}
        self.info[DIGESTS] = digests_of(self.info)
        atomic_write(self.directory / STUDY_JSON, json.dumps(self.info, indent=2) + "\n")

    def discard(self) -> None:
        """Remove the directory of a study without trials; call ``close`` first."""
        assert not self.trials
        shutil.rmtree(self.directory, ignore_errors=True)

    def close(self) -> None:
        """Write trials.csv, close the files and release the lock."""
        # A full disk has been reported by the event that met it; ``open`` makes the tables again from the journal.
        with suppress(OSError, DiskFullError):
            self.write_trials()
        for file in (self._journal, self._history):
            if file is not None:
                with suppress(OSError):
                    file.close()
        self._lock.release()

    def _log(self, event: str, trial_id: str, *, urgent: bool = False, **values: Any) -> None:
        with as_disk_full_error(self.directory):
            self._journal.append({"event": event, TRIAL_ID: trial_id} | values, urgent=urgent)

    def _replay(self) -> None:
        path = self.directory / JOURNAL
        if path.exists():
            drop_partial_line(path)
            self.replay(path)


def trials_table(journal: Journal) -> str:
    """The text of trials.csv, one row per trial."""
    after = (journal.objective.best_column if name == BEST_VAL_ACC else name for name in TRIAL_COLUMNS_AFTER)
    columns = (*TRIAL_COLUMNS_BEFORE, *journal.parameters, *after, *(FOLD_TRIAL_COLUMNS if journal.folded else ()))
    columns += CONTROL_TRIAL_COLUMNS if any(trial.control for trial in journal.trials.values()) else ()
    columns += (EPOCH_COST,) if any(trial.epoch_cost != 1 for trial in journal.trials.values()) else ()
    return csv_lines((trial.table_row() for trial in journal.trials.values()), columns, header=True)


def history_table(journal: Journal, columns: Sequence[str] = ()) -> str:
    """The text of history.csv, one row per trial and epoch; ``columns`` are by default those of this version."""
    rows = ({TRIAL_ID: trial.trial_id} | row for trial in journal.trials.values() for row in trial.history)
    return csv_lines(rows, columns or history_columns(journal), header=True)


def history_columns(journal: Journal) -> tuple[str, ...]:
    """The columns of history.csv."""
    return HISTORY_COLUMNS + (FOLD_HISTORY_COLUMNS if journal.folded else ())
