import errno
from types import SimpleNamespace

import pytest
from ray import tune

from inat.config.search import SearchConfig
from inat.errors import DiskFullError, StudyError
from inat.study.study import Study
from inat.tuning import runner
from inat.tuning.lifecycle import TrialLifecycle
from inat.tuning.ray_backend.retries import RetryPolicy
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from inat.tuning.searcher_options import searcher_options
from inat.tuning.stoppers import StopAtWriteError


def tuner_that_raises(error: Exception) -> SimpleNamespace:
    def fit():
        raise error

    return SimpleNamespace(fit=fit)


def test_an_error_of_tune_is_raised(study):
    with pytest.raises(EOFError):
        runner._fit(tuner_that_raises(EOFError("Ran out of input")), SimpleNamespace(study=study, error=None))


def test_what_tune_raises_after_a_write_error_is_dropped(study):
    # Its file with the error of a trial is empty, as the disk is full.
    kept = SimpleNamespace(study=study, error=StudyError("cannot be written"))
    runner._fit(tuner_that_raises(EOFError("Ran out of input")), kept)


def test_a_full_disk_that_tune_meets_first_is_told_as_such(study):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFullError, match=f"the disk of {study.directory} is full; everything up to here is kept"):
        runner._fit(tuner_that_raises(full), SimpleNamespace(study=study, error=None))


def test_tune_can_write_what_it_gets_of_a_search(tmp_path, monkeypatch):
    # Tune pickles scheduler, searcher, stopper and callbacks before the first trial: one function of the driver among
    # them ends every search.
    made = []
    monkeypatch.setattr(runner, "_fit", lambda tuner, lifecycle: made.append(tuner))
    monkeypatch.setattr(runner.session, "this_node_id", lambda: "node")
    config, space = SearchConfig(data="digits", control_fraction=0.5), {"x": tune.uniform(0.0, 1.0)}
    study = Study.create(tmp_path / "study", {"config": config.to_json(), "data": {"fingerprint": "f"}})
    searcher = BudgetAwareOptunaSearch(study, space, searcher_options(config, study))
    scheduler = runner.restored_scheduler(config, study)
    spec = runner.RunSpec(config, study, searcher, scheduler, 2, print, space.keys())
    lifecycle = TrialLifecycle(study, scheduler, 1, [searcher.on_trial_update])
    watch, slots = SimpleNamespace(wait_for_death=lambda: False), SimpleNamespace(cpus=1, gpus=0)
    backend = SimpleNamespace(slots=slots, nodes=None, retries=RetryPolicy(0), watch=watch)
    runner._run_tuner(spec, backend, lifecycle, StopAtWriteError(lifecycle))
    assert len(made) == 1
    assert list((study.directory / "ray").glob("*/tuner.pkl"))
