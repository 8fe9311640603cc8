"""A finished search, and a stand-in for Ray that trains its runs one after the other in this process."""

import json
from pathlib import Path

import pytest

from inat.config import resume
from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.constants import CHECKPOINTS_DIR, COMPLETED, FAILED
from inat.data.datamodule import ImageDataModule
from inat.data.splits import inspect_data
from inat.finalize import command as commands
from inat.finalize import retrain as retraining
from inat.study.study import Study
from inat.training.fit import fit
from inat.training.validation_answers import ValidationAnswers
from inat.tuning.ray_backend.slots import Slots
from inat.tuning.runner import RunResult, RunSpec
from inat.tuning.worker.callbacks import TrialCheckpoints
from tests.conftest import Rows
from tests.helpers import run_epochs

PARAMS = {
    "first_layer_filters": 8, "filter_org": 1, "conv_layers": 2, "activation": "relu", "dropout": 0.2,
    "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 3e-3, "batch_size": 64, "use_augmentation": False,
}  # fmt: skip


def make_study(
    directory: Path, config: SearchConfig, *trials: tuple[dict, float, str], fingerprint: str | None = None
) -> Path:
    """A finished search with one trial per (parameters, best validation accuracy, state)."""
    data = fingerprint or inspect_data(config.data_config()).fingerprint
    info = {"config": config.to_json(), "data": {"source": config.data, "fingerprint": data, "classes": []}}
    study = Study.create(directory, info)
    for params, accuracy, state in trials:
        trial_id = study.add_trial(params).trial_id
        run_epochs(study, trial_id, [accuracy / 2, accuracy])
        study.end_trial(trial_id, state)
    study.close()
    return directory


@pytest.fixture
def digits_config(tmp_path, monkeypatch) -> SearchConfig:
    monkeypatch.setitem(resume.NAMED, "cache_dir", str(tmp_path / "cache"))  # as if it were the default
    return SearchConfig(data="digits", image_size=16, max_epochs=3, grace_period=1, cache_dir=tmp_path / "cache",
                        precision="32-true", num_samples=3)  # fmt: skip


@pytest.fixture
def digits_study(tmp_path, digits_config) -> Path:
    """Three configurations and a repetition of the best; retrained, mish scores better than in this search."""
    best, other, poor = PARAMS, PARAMS | {"activation": "mish"}, PARAMS | {"learning_rate": 1e-4}
    trials = [(other, 0.5, "stopped"), (best, 0.99, COMPLETED), (best, 0.98, COMPLETED), (poor, 0.3, COMPLETED)]
    return make_study(tmp_path / "study", digits_config, *trials)


def metrics_of(study: Path) -> dict:
    """The metrics.json that finalize wrote for a study."""
    return json.loads((study / "final" / "metrics.json").read_text())


class InProcess:
    """Stands in for ``run_trials``: trains what the source hands out. Can interrupt, and make seeds fail."""

    def __init__(self) -> None:
        self.trained: list[dict] = []
        self.interrupt_after: int | None = None
        self.fail_seeds: set[int] = set()

    def __call__(self, spec: RunSpec, limits, *, print_line=None, on_forced_exit=None) -> RunResult:
        source = spec.source.requeue_unfinished()
        while spec.missing > 0:
            if self.interrupt_after is not None and len(self.trained) == self.interrupt_after:
                return RunResult(True, 0.0, Slots(1, 1, 0))
            self._run(spec, source.suggest(source.next_trial_id()))
        return RunResult(False, 0.0, Slots(1, 1, 0))

    def _run(self, spec: RunSpec, settings: dict) -> None:
        trial_id, *_ = (settings.pop(name) for name in ("trial_id", "threshold", "known_epochs", "length"))
        self.trained.append(settings)
        if settings["seed"] in self.fail_seeds:
            spec.study.end_trial(trial_id, FAILED, "out of luck")
            return
        rows, answers = Rows(), ValidationAnswers()
        checkpoints = TrialCheckpoints(spec.study.directory / CHECKPOINTS_DIR / trial_id, None, answers)
        fit(TrialConfig.from_params(spec.config.trial_settings() | settings), [rows, answers, checkpoints])
        for row in rows.rows:
            spec.study.add_epoch(trial_id, row)
        spec.study.end_trial(trial_id, COMPLETED)


@pytest.fixture
def trainer(monkeypatch, one_thread) -> InProcess:
    double = InProcess()
    monkeypatch.setattr(retraining, "run_trials", double)
    return double


@pytest.fixture
def test_loads(monkeypatch) -> list[str]:
    """One entry per call that asks for a loader of the test split."""
    asked, real = [], ImageDataModule.test_dataloader

    def test_dataloader(self):
        asked.append(self.config.data)
        return real(self)

    monkeypatch.setattr(ImageDataModule, "test_dataloader", test_dataloader)
    return asked


@pytest.fixture
def no_export(monkeypatch) -> list[str]:
    """Replaces the export, which takes seconds and has its own tests."""
    made = []

    def export(checkpoint, data):
        made.append(checkpoint.name)
        for suffix in (".onnx", ".pt2"):
            checkpoint.with_suffix(suffix).touch()
        return {"files": [], "input": "", "output": "", "compared_images": 1, "tolerance": 1e-4,
                "largest_difference": {"onnx": 1e-7}}  # fmt: skip

    monkeypatch.setattr(commands, "export", export)
    return made
