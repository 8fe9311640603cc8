"""The ensemble of a study whose configurations differ in the size of images: chosen, kept, tested once, and used."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis.terminal import PlainConsole
from inat.config.trial import DataConfig
from inat.constants import COMPLETED, TEST
from inat.data.splits import load_splits
from inat.errors import SearchError, StudyError
from inat.finalize import command as commands
from inat.finalize import ensemble as ensembles
from inat.finalize import ensemble_pool as pools
from inat.finalize import task as tasks
from inat.finalize.candidates import Candidate
from inat.finalize.command import finalize
from inat.finalize.options import FinalizeCommand
from inat.finalize.selection import Selection
from inat.models import own_code
from inat.study.study import Study
from inat.training.ensemble import open_ensemble
from inat.training.inference import open_model
from inat.tuning.own_model import model_info
from tests.finalize.conftest import PARAMS, make_study, metrics_of
from tests.helpers import change_info
from tests.own_networks import PLAIN, write_net


@pytest.fixture
def sizes_study(tmp_path, digits_config, monkeypatch) -> Path:
    """Two configurations, of 8 and of 16 px, that train for one epoch."""
    for name in ("write_report", "write_confusion", "write_reliability"):
        monkeypatch.setattr(commands, name, lambda *_: "drawn elsewhere")
    # As if the size were a hyperparameter; in a real study, it follows from the backbone.
    monkeypatch.setattr(tasks, "hyperparameters", lambda space, config: frozenset({*PARAMS, "image_size"}))
    config = dataclasses.replace(digits_config, max_epochs=1)
    small = PARAMS | {"image_size": 8, "activation": "mish"}
    return make_study(tmp_path / "study", config, (PARAMS, 0.9, COMPLETED), (small, 0.8, COMPLETED))


@pytest.fixture
def choice(monkeypatch) -> list[tuple[int, ...]]:
    """What is chosen: first two runs of the first configuration and one of the second, with a weight of 2."""
    picks = [(0, 1, 3, 3)]
    monkeypatch.setattr(ensembles, "select_greedily", lambda *_: Selection(picks[-1]))
    return picks


def command(study: Path, **changes) -> FinalizeCommand:
    return FinalizeCommand(study=study, top=2, seeds=2, **changes)


def test_the_ensemble_is_kept_and_tested_once(sizes_study, trainer, no_export, test_loads, choice, capsys):
    finalize(command(sizes_study))
    section, final = metrics_of(sizes_study)["ensemble"], sizes_study / "final"
    members = section["members"]
    assert json.loads((final / "ensemble/ensemble.json").read_text())["members"] == members
    assert [member["weight"] for member in members] == [0.25, 0.25, 0.5]
    assert {member["image_size"] for member in members} == {8, 16}
    assert len(test_loads) == 1 + 3
    assert section["cost"]["forward_passes"] == 3
    assert section["cost"]["parameters"] > 2 * section["model_cost"]["parameters"]
    assert "chosen on the validation images, so the validation score of the ensemble is optimistic" in (
        capsys.readouterr().out
    )

    # What inat.predict loads gives the recorded accuracies, without the retrainings.
    shutil.move(final / "retraining", final / "moved")
    ensemble = open_ensemble(sizes_study)
    assert sorted({form.size for form in ensemble.forms}) == [8, 16]
    for split, score in (("val", section["validation"]["ensemble"]), ("test", section["test"])):
        splits = [
            getattr(load_splits(DataConfig(data="digits", image_size=form.size)), split) for form in ensemble.forms
        ]
        images = {form: part.images[part.rows] for form, part in zip(ensemble.forms, splits, strict=True)}
        found = ensemble.classify(images)
        labels = splits[0].labels[splits[0].rows]
        assert (found.argmax(1) == labels).mean() == pytest.approx(score["accuracy"])
    alone = [open_model(final / "ensemble" / member["file"]).classify(images) for member in members]
    np.testing.assert_allclose(found, np.average(alone, axis=0, weights=[1, 1, 2]), rtol=1e-5)
    single = (open_model(final).classify(images).argmax(1) == labels).mean()
    assert section["test"]["difference"] == pytest.approx(section["test"]["accuracy"] - single)
    shutil.move(final / "moved", final / "retraining")

    # A second call evaluates and writes nothing.
    times = {path: path.stat().st_mtime_ns for path in final.glob("ensemble/*")}
    del test_loads[:]
    finalize(command(sizes_study))
    assert not test_loads
    assert metrics_of(sizes_study)["ensemble"] == section
    assert {path: path.stat().st_mtime_ns for path in final.glob("ensemble/*")} == times
    card = (final / "MODEL_CARD.md").read_text()
    assert f"| {members[2]['file']} |" in card
    assert "0.5000 | 8 px |" in card

    # Another choice replaces the members, and its test is counted.
    choice.append((0, 2))
    finalize(command(sizes_study))
    changed = metrics_of(sizes_study)["ensemble"]
    assert changed["test"]["evaluations"] == 2
    assert {path.name for path in final.glob("ensemble/*")} == {
        "ensemble.json", *(member["file"] for member in changed["members"]),
    }  # fmt: skip
    assert "one of 2 ensembles" in (final / "MODEL_CARD.md").read_text()

    # Without a gain there is no ensemble; without the option, an earlier record of the same model stays.
    choice.append((2, 2))
    finalize(command(sizes_study, ensemble=False))
    assert metrics_of(sizes_study)["ensemble"] == changed
    finalize(command(sizes_study))
    none = metrics_of(sizes_study)["ensemble"]
    assert none["test"] is None
    assert none["in_words"][0].startswith("No ensemble: of the 4 runs, none improves the validation score")
    with pytest.raises(StudyError, match="has no ensemble; pass a study directory or its final/ directory"):
        open_ensemble(sizes_study)
    assert "No ensemble" in (final / "MODEL_CARD.md").read_text()


def test_runs_without_a_usable_checkpoint_are_left_out(sizes_study, trainer, no_export, capsys):
    finalize(command(sizes_study, ensemble=False))
    assert metrics_of(sizes_study)["ensemble"] is None
    final = sizes_study / "final"
    used = metrics_of(sizes_study)["model"]["run"]
    missing, damaged, *_ = (run for run in ("t0000", "t0001", "t0002", "t0003") if run != used)
    (final / "retraining/checkpoints" / missing / "best.ckpt").unlink()
    (final / "retraining/checkpoints" / damaged / "best.ckpt").write_bytes(b"no checkpoint")
    capsys.readouterr()
    finalize(command(sizes_study))
    printed = " ".join(capsys.readouterr().out.split())
    assert f"run {damaged} is left out of the ensemble: " in printed
    assert f"run {missing} is left out of the ensemble: " in printed
    assert metrics_of(sizes_study)["ensemble"]["pool"] == 2


def test_an_ensemble_that_cannot_be_tested_costs_nothing_else(
    sizes_study, trainer, no_export, choice, monkeypatch, capsys
):
    def ship(*_):
        shipped.append(True)
        return {"file": "shipped.ckpt"}

    def split_logits(checkpoint, split, data):
        if split == TEST:
            raise SearchError("the ensemble has no score")
        return real(checkpoint, split, data)

    shipped, real = [], pools.split_logits
    monkeypatch.setattr(commands, "ship", ship)
    monkeypatch.setattr(commands, "model_card", lambda metrics: "")
    monkeypatch.setattr(ensembles, "split_logits", split_logits)
    finalize(command(sizes_study, ship=True))
    assert shipped
    assert metrics_of(sizes_study)["ensemble"] is None
    assert not list((sizes_study / "final").glob("ensemble/*"))  # nothing for inat.predict
    assert "none: the ensemble has no score" in capsys.readouterr().out

    # The same command tries again. Without the option, the ensemble of another model goes.
    monkeypatch.setattr(ensembles, "split_logits", real)
    finalize(command(sizes_study))
    final, metrics = sizes_study / "final", metrics_of(sizes_study)
    assert metrics["ensemble"]["test"]
    (final / "metrics.json").write_text(json.dumps(metrics | {"model": metrics["model"] | {"trained_sha256": "0"}}))
    finalize(command(sizes_study, ensemble=False))
    assert metrics_of(sizes_study)["ensemble"] is None
    assert "removed the ensemble: it was chosen beside another model" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(StudyError, match="has no ensemble"):
        open_ensemble(sizes_study)


def test_outputs_of_runs_that_are_gone_are_removed(tmp_path, monkeypatch):
    def split_logits(checkpoint, split, data):
        return SimpleNamespace(logits=torch.zeros(4, 2), labels=torch.zeros(4, dtype=torch.long), arithmetic="")

    def scored(*chosen) -> int:
        candidates = [Candidate(run, (run,), 1) for run in chosen]
        return len(pools.score_runs(task, candidates, runs, tmp_path, PlainConsole()))

    monkeypatch.setattr(pools, "split_logits", split_logits)
    task = SimpleNamespace(test_data=lambda trial: None)
    runs = Study.create(tmp_path / "retraining", {"config": {}})
    first, second, third = (runs.add_trial({"number": number}) for number in range(3))
    for run in (first, second, third):
        checkpoint = runs.checkpoint_dir(run.trial_id) / "best.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text(run.trial_id)
    folder = tmp_path / "validation"
    assert scored(first, second, third) == len(list(folder.iterdir())) == 3
    (folder / "mine.npz").touch()
    assert scored(first, second) == 2
    assert len(list(folder.iterdir())) == 4  # the third run still exists
    shutil.rmtree(runs.checkpoint_dir(third.trial_id))
    assert scored(first, second) == 2
    assert len(list(folder.iterdir())) == 3
    assert (folder / "mine.npz").exists()
    runs.close()


def test_networks_of_the_user_can_be_members(tmp_path, digits_config, trainer, no_export, choice, monkeypatch):
    monkeypatch.setattr(own_code, "_named", {})
    monkeypatch.setattr(commands, "write_report", lambda directory: "report")
    file = write_net(tmp_path, PLAIN)
    config = dataclasses.replace(digits_config, model=str(file), max_epochs=1)
    params = {"width": 4, "learning_rate": 1e-2, "batch_size": 64, "use_augmentation": False}
    study = make_study(tmp_path / "study", config, (params, 0.9, COMPLETED))
    change_info(study, lambda info: info.update(model_info(config)))
    choice.append((0, 1))
    finalize(FinalizeCommand(study=study, top=1, seeds=2, model=str(file), cache_dir=config.cache_dir))
    assert "--ensemble --model my_net.py`" in (study / "final/MODEL_CARD.md").read_text()
    assert open_ensemble(study).weights == (0.5, 0.5)
    monkeypatch.setattr(own_code, "_named", {})  # as in a process that has not been told to run the file
    with pytest.raises(StudyError, match=r"t0000.ckpt cannot be loaded: .*add --model my_net.py"):
        open_ensemble(study)


def test_a_single_run_makes_no_ensemble(sizes_study, trainer, no_export, test_loads):
    finalize(FinalizeCommand(study=sizes_study, top=1, seeds=1))
    assert metrics_of(sizes_study)["ensemble"] is None
    assert len(test_loads) == 1
    assert not (sizes_study / "final" / "ensemble").exists()
