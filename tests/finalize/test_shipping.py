"""The files of a shipped model, and their removal when another model is chosen."""

import shutil

import pytest
import torch

from inat.config.finetune import FinetuneConfig
from inat.finalize import command as commands
from inat.finalize.command import finalize
from inat.finalize.options import FinalizeCommand
from inat.training.checkpoint import load_checkpoint
from inat.training.evaluation import evaluate
from tests.finalize.conftest import make_study, metrics_of
from tests.helpers import change_info


@pytest.mark.slow
def test_shipping_trains_on_validation_images_for_the_same_number_of_epochs(
    digits_study, trainer, test_loads, no_export
):
    finalize(FinalizeCommand(study=digits_study, top=1, seeds=1, ship=True))
    metrics = metrics_of(digits_study)
    shipped, settings = metrics["shipped"], trainer.trained[-1]
    assert settings["train_on_val"] is True
    assert settings["stop_epoch"] == shipped["epochs"] == metrics["model"]["best_epoch"]
    assert settings["seed"] == metrics["model"]["seed"]
    assert shipped["photos"] == 1149 + 288
    assert shipped["accuracy"] is None
    assert len(test_loads) == 1  # of model.ckpt; shipped.ckpt is not evaluated
    final = digits_study / "final"
    assert load_checkpoint(final / "shipped.ckpt").config.data.train_on_val
    states = [torch.load(final / name, weights_only=True)["state_dict"] for name in ("model.ckpt", "shipped.ckpt")]
    assert not torch.equal(states[0]["net.dense.weight"], states[1]["net.dense.weight"])
    card = (final / "MODEL_CARD.md").read_text()
    assert "Its accuracy was not measured." in card
    trained = len(trainer.trained)
    finalize(FinalizeCommand(study=digits_study, top=1, seeds=1, ship=True))
    assert len(trainer.trained) == trained
    assert no_export == ["model.ckpt", "shipped.ckpt"]


@pytest.mark.slow
def test_another_model_removes_the_files_of_the_previous_model(
    digits_study, trainer, no_export, test_loads, monkeypatch, capsys
):
    command = FinalizeCommand(study=digits_study, top=1, seeds=2, ship=True, ensemble=False)
    finalize(command)
    before = metrics_of(digits_study)
    final = digits_study / "final"
    assert (final / "shipped.ckpt").exists()
    monkeypatch.setattr(commands, "median_run", lambda candidate: max(candidate.runs, key=lambda run: run.best_value))
    capsys.readouterr()
    finalize(FinalizeCommand(study=digits_study, top=1, seeds=2, ensemble=False))
    after = metrics_of(digits_study)
    assert after["model"]["seed"] != before["model"]["seed"]
    assert after["model"]["sha256"] != before["model"]["sha256"]
    assert (after["test"]["evaluations"], len(test_loads)) == (2, 2)
    assert after["shipped"] is None
    assert not (final / "shipped.ckpt").exists()
    output = capsys.readouterr().out
    assert "evaluated once; 1 other model of this study was evaluated too\n" in output
    assert (
        "removed shipped.ckpt, shipped.onnx, shipped.pt2: they belong to the model that was chosen before, and now "
        "another model is chosen; pass --ship to train a new one\n" in output
    )
    assert "It is one of 2 models of this study" in (final / "MODEL_CARD.md").read_text()


def test_the_removal_of_shipped_files_of_an_unknown_model_is_printed(digits_study, trainer, no_export, capsys):
    command = FinalizeCommand(study=digits_study, top=1, seeds=1)
    finalize(command)
    assert "removed" not in capsys.readouterr().out
    final = digits_study / "final"
    (final / "shipped.ckpt").touch()
    (final / "metrics.json").unlink()
    finalize(command)
    assert not (final / "shipped.ckpt").exists()
    assert "removed shipped.ckpt: metrics.json and model.ckpt do not show which" in capsys.readouterr().out


@pytest.mark.slow
def test_a_fine_tuning_study_with_stored_features(tmp_path, image_tree, weights_dir, trainer, no_export):
    config = FinetuneConfig(data=str(image_tree(train=20)), image_size=32, backbones=("mobilenet_v2",), max_epochs=3,
                            weights_dir=weights_dir, cache_dir=tmp_path / "cache", grace_period=1,
                            precision="32-true")  # fmt: skip
    params = {"backbone": "mobilenet_v2", "strategy": "freeze_all", "k_layers": 1, "use_augmentation": False,
              "batch_size": 8, "learning_rate": 1e-2}  # fmt: skip
    study = make_study(tmp_path / "study", config, (params, 0.5, "completed"))
    change_info(study, lambda info: info.update(search="finetune"))
    folders = {"cache_dir": config.cache_dir, "weights_dir": weights_dir}
    finalize(FinalizeCommand(study=study, top=1, seeds=2, ship=True, **folders))
    assert (
        len(list((tmp_path / "cache").glob("features-mobilenet_v2-train-*"))) == 2 * 2
    )  # each with a lock file; the second pair is for --ship
    model = load_checkpoint(study / "final" / "model.ckpt")
    shutil.rmtree(tmp_path / "cache")
    assert evaluate(study / "final" / "model.ckpt", "test")["images"] == 6
    assert model.classes == ("bird", "fish")
    assert metrics_of(study)["model"]["config"]["backbone"] == "mobilenet_v2"
    assert (
        "ImageNet weights of mobilenet_v2; their licence applies too" in (study / "final" / "MODEL_CARD.md").read_text()
    )
