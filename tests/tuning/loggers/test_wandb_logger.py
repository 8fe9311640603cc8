import pytest
import wandb

from inat.errors import ConfigError
from inat.tuning.loggers import wandb_logger
from inat.tuning.loggers.wandb_logger import WandbLogger
from tests.helpers import run_epochs


class FakeRun:
    """Records the calls of a W&B run."""

    def __init__(self, settings):
        self.settings, self.logged, self.summary, self.exit_code = settings, [], {}, None

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self, exit_code=None):
        self.exit_code = exit_code if exit_code is not None else "interrupted"


@pytest.fixture
def runs(monkeypatch):
    started = {}

    def init(**settings):
        started[settings["id"]] = FakeRun(settings)
        return started[settings["id"]]

    monkeypatch.setattr(wandb, "init", init)
    return started


def test_one_run_a_trial_with_every_epoch_and_its_end(study, runs):
    with WandbLogger(study, "offline") as tracker:
        for value, state in [(0.5, "completed"), (0.4, "failed"), (0.3, None)]:
            trial = study.add_trial({"activation": "gelu", "dropout": 0.2})
            for epoch in (1, 2):
                study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": value, "val_loss": 1.0 / epoch})
                tracker(trial)
            if state:
                study.end_trial(trial.trial_id, state)
                tracker(trial)
    assert tracker.error is None
    assert list(runs) == ["study-t0000", "study-t0001", "study-t0002"]
    first = runs["study-t0000"]
    assert first.settings["name"] == "gelu-d0.2"
    assert first.settings["group"] == "study"
    assert first.settings["mode"] == "offline"
    assert first.settings["config"] == {"activation": "gelu", "dropout": 0.2}
    assert first.logged == [(1, {"best_val_acc": 0.5, "val_loss": 1.0}), (2, {"best_val_acc": 0.5, "val_loss": 0.5})]
    assert first.summary == {"state": "completed", "best_val_acc": 0.5, "epochs": 2}
    assert [run.exit_code for run in runs.values()] == [0, 1, "interrupted"]


def test_only_what_is_in_use_and_only_numbers_are_told(study, runs):
    trial = study.add_trial({"strategy": "freeze_all", "k_layers": 3, "learning_rate": 0.1})
    row = {"epoch": 1, "best_val_acc": 0.5, "note": "features are not kept", "finished": "patience", "micro_batch": 16}
    study.add_epoch(trial.trial_id, row)
    with WandbLogger(study, "offline") as tracker:
        tracker(trial)
    (run,) = runs.values()
    assert run.settings["config"] == {"strategy": "freeze_all", "learning_rate": 0.1}
    assert run.logged == [(1, {"best_val_acc": 0.5, "micro_batch": 16})]


def test_a_service_that_fails_does_not_stop_the_search(study, monkeypatch):
    def no_service(**settings):
        raise wandb.errors.CommError("no service")

    monkeypatch.setattr(wandb, "init", no_service)
    trial = study.add_trial({"x": 1})
    run_epochs(study, trial.trial_id, [0.1])
    with WandbLogger(study, "online") as tracker:
        tracker(trial)
    assert "no service" in str(tracker.error)


def test_online_without_a_key_is_refused_before_the_search(monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda prompt: False)
    with pytest.raises(ConfigError, match="needs an API key: run `wandb login` or set WANDB_API_KEY"):
        wandb_logger.check_login("online")
    wandb_logger.check_login("offline")
    wandb_logger.check_login("off")
