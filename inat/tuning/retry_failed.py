"""Runs the failed trials of a study again (--resume STUDY --retry-failed), once what made them fail is mended."""

from inat.constants import FAILED, STUDY_DB
from inat.study.study import Study
from inat.study.trial import Trial

SHOWN = 8  # ids of trials that are listed


def retry_failed_trials(study: Study) -> list[Trial]:
    """Make the failed trials of ``study`` unfinished again, under their ids; a search runs them before new ones.

    The journal keeps the former attempts, and so does ``errors/``. Nothing else counts them any more: neither tables,
    sampler nor rungs. study.db, in which no trial can be replaced, is removed; the search writes it again.
    """
    failed = [trial for trial in study.ended() if trial.state == FAILED]
    if failed:
        (study.directory / STUDY_DB).unlink(missing_ok=True)
    for trial in failed:
        study.retry_trial(trial.trial_id)
    return failed


def describe_retries(study: Study) -> str:
    """Say which trials run again because of --retry-failed."""
    again = [trial.trial_id for trial in study.unfinished() if trial.attempt > 1]
    if not again:
        return f"retry   no trial in {study.directory} has failed, so none runs again"
    more = f" and {len(again) - SHOWN} more" if len(again) > SHOWN else ""
    trials = "1 failed trial runs" if len(again) == 1 else f"{len(again)} failed trials run"
    return f"retry   {trials} again: {', '.join(again[:SHOWN])}{more}"
