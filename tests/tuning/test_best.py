import errno
import json
import shutil

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.constants import BEST_CKPT, LAST_OF
from inat.errors import DiskFullError, StudyError
from inat.study.study import Study
from inat.training.fit import fit
from inat.tuning.best import evaluate_best_on_test, write_best
from inat.tuning.best_json import read_best
from tests.conftest import Rows
from tests.helpers import run_epochs


def end(study, best: float, weights: bool) -> str:
    trial_id = study.add_trial({"x": best}).trial_id
    run_epochs(study, trial_id, [best])
    study.end_trial(trial_id, "completed")
    if weights:
        path = study.checkpoint_dir(trial_id) / BEST_CKPT
        path.parent.mkdir(parents=True)
        torch.save({"weights": f"of {trial_id}"}, path)
    return trial_id


def weights_in(study) -> str:
    return torch.load(study.directory / BEST_CKPT, weights_only=True)["weights"]


def test_configuration_and_weights_are_of_the_same_trial(study):
    assert write_best(study) is None
    end(study, 0.5, weights=True)
    without, tied = end(study, 0.9, weights=False), end(study, 0.9, weights=True)
    assert study.best().trial_id == without
    assert write_best(study).trial_id == tied
    assert json.loads((study.directory / "best.json").read_text())["trial_id"] == tied
    assert weights_in(study) == f"of {tied}"


def test_the_test_score_is_kept_as_long_as_the_best_trial_is_the_same(study):
    end(study, 0.5, weights=True)
    write_best(study)
    path = study.directory / "best.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test": {"test_acc": 0.4}}))
    write_best(study)
    assert json.loads(path.read_text())["test"] == {"test_acc": 0.4}
    better = end(study, 0.6, weights=True)
    write_best(study)
    assert "test" not in json.loads(path.read_text())
    assert weights_in(study) == f"of {better}"


@pytest.mark.parametrize("damage", ["torn", "missing", "foreign"])
@pytest.mark.parametrize("checksum", [True, False])
def test_a_damaged_best_ckpt_is_written_again_from_the_trials_own(study, damage, checksum):
    best = end(study, 0.5, weights=True)
    write_best(study)
    path, record = study.directory / BEST_CKPT, study.directory / "best.json"
    content = json.loads(record.read_text()) | {"test": {"test_acc": 0.4}}
    if not checksum:
        content.pop("sha256")  # as earlier versions wrote it
    record.write_text(json.dumps(content))
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "missing":
        path.unlink()
    elif checksum:
        torch.save({"weights": "another"}, path)
    write_best(study)
    assert weights_in(study) == f"of {best}"
    assert ("test" in json.loads(record.read_text())) == (checksum or damage == "foreign")


def test_a_trial_with_damaged_weights_gives_way_to_the_next_one(study):
    next_one, best = end(study, 0.5, weights=True), end(study, 0.9, weights=True)
    torn = study.checkpoint_dir(best) / BEST_CKPT
    torn.write_bytes(torn.read_bytes()[:-40])
    assert write_best(study).trial_id == next_one


def test_a_damaged_best_ckpt_without_a_copy_is_an_error(study):
    best = end(study, 0.5, weights=True)
    write_best(study)
    for path in (study.directory / BEST_CKPT, study.checkpoint_dir(best) / BEST_CKPT):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StudyError, match=r"best.ckpt is damaged, and so is or gone .*t0000.*; restore one of them"):
        write_best(study)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"test": 1}', "\0\0", "[" * 100_000])
def test_a_damaged_best_json_is_named(study, text):
    (study.directory / "best.json").write_text(text)
    with pytest.raises(StudyError, match=r"best.json is damaged; remove it, and the search writes it again"):
        read_best(study.directory)


def test_an_objective_without_weights_has_a_best_trial_too(study):
    best = end(study, 0.5, weights=False)
    assert write_best(study).trial_id == best
    assert not (study.directory / BEST_CKPT).exists()


def test_a_full_disk_is_reported_and_leaves_no_incomplete_file(study, monkeypatch):
    end(study, 0.5, weights=True)

    def no_space(source, target):
        target.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_space)
    with pytest.raises(DiskFullError, match=f"the disk of {study.directory} is full; .* --resume {study.directory}"):
        write_best(study)
    assert not {path.name for path in study.directory.iterdir()} & {BEST_CKPT, f".{BEST_CKPT}", "best.json"}


def test_best_ckpt_of_a_backbone_needs_no_other_weights(study, backbone_params, tmp_path, monkeypatch):
    config = TrialConfig.from_params(backbone_params | {"max_epochs": 1})
    trial_id = study.add_trial({"backbone": "mobilenet_v2", "learning_rate": 1e-2}).trial_id
    path = study.checkpoint_dir(trial_id) / BEST_CKPT
    path.parent.mkdir(parents=True)
    fit(config, [Rows(weights=path)])
    run_epochs(study, trial_id, [0.5])
    study.end_trial(trial_id, "completed")
    assert write_best(study).trial_id == trial_id
    monkeypatch.setattr(
        "inat.models.factory.find_weights", lambda *_: pytest.fail("best.ckpt needed the pretrained weights")
    )
    assert evaluate_best_on_test(study, config.data)["images"] == 6


def last_training(study, value: float, weights: bool = True) -> None:
    last = Study.create(study.directory / "last", {LAST_OF: "t0000", "config": {}})
    end(last, value, weights)
    last.close()


@pytest.mark.parametrize(("value", "chosen"), [(0.8, "the last training"), (0.7, "the last training"), (0.6, "t0000")])
def test_the_better_of_the_search_and_its_last_training_is_kept(study, value, chosen):
    best = end(study, 0.7, weights=True)
    last_training(study, value)
    assert write_best(study).trial_id == best
    written = read_best(study.directory)
    assert written["trial_id"] == best
    assert written["best_val_acc"] == max(value, 0.7)
    assert written.get("last_training", False) is (chosen == "the last training")
    assert written["params"] == {"x": value if chosen == "the last training" else 0.7}
    assert write_best(study).trial_id == best  # nothing is written again
    assert read_best(study.directory) == written


def test_a_last_training_without_weights_is_left_out(study):
    end(study, 0.7, weights=True)
    last_training(study, 0.9, weights=False)
    write_best(study)
    assert read_best(study.directory)["best_val_acc"] == 0.7


def test_the_model_that_was_written_is_returned(study):
    end(study, 0.7, weights=True)
    assert write_best(study).trial.best_value == 0.7
    last_training(study, 0.8)
    for _ in range(2):  # written, and as written
        model = write_best(study)
        assert (model.trial_id, model.name, model.trial.params) == ("t0000", study.trials["t0000"].name, {"x": 0.8})
        assert model.last


def refit(study, at_the_end: float, finished: str = "max_epochs", of: str = "t0000"):
    """A last training on the validation images, too; its results on them are no measure. Returns its weights' path."""
    last = Study.create(study.directory / "last", {LAST_OF: of, "config": {}, "refit": True})
    again = last.add_trial({"x": 0.9})
    last.add_epoch(again.trial_id, {"epoch": 1, "val_acc": 0.99, "best_val_acc": 0.99, "seconds": 1.0})
    row = {"epoch": 2, "val_acc": at_the_end, "best_val_acc": 0.99, "seconds": 1.0, "finished": finished}
    last.add_epoch(again.trial_id, row)
    last.end_trial(again.trial_id, "completed")
    path = last.checkpoint_dir(again.trial_id) / BEST_CKPT
    path.parent.mkdir(parents=True)
    torch.save({"weights": "of the refit"}, path)
    last.close()
    return path


def test_a_refit_gives_its_weights_and_the_search_its_values(study):
    best = end(study, 0.7, weights=True)
    refit(study, 0.95)
    model = write_best(study)
    assert (model.trial_id, model.trial, model.refit.epochs, model.last) == (best, study.trials[best], 2, False)
    written = read_best(study.directory)
    assert {name: written[name] for name in ("trial_id", "best_val_acc", "epochs", "params", "refit")} == {
        "trial_id": best, "best_val_acc": 0.7, "epochs": 1, "params": {"x": 0.7},
        "refit": {"epochs": 2, "params": {"x": 0.9}},
    }  # fmt: skip
    assert "last_training" not in written
    assert weights_in(study) == "of the refit"
    assert write_best(study).refit.epochs == 2  # nothing is written again
    assert read_best(study.directory) == written


@pytest.mark.parametrize(
    "wrong", [{"at_the_end": 0.6}, {"at_the_end": 0.95, "finished": "diverged"}, {"at_the_end": 0.95, "of": "t0001"}],
    ids=["worse on images it has seen", "diverged", "of another trial"],
)  # fmt: skip
def test_a_refit_that_went_wrong_leaves_the_weights_of_the_search(study, wrong):
    best = end(study, 0.7, weights=True)
    end(study, 0.5, weights=True)
    refit(study, **wrong)
    assert write_best(study).refit is None
    assert "refit" not in read_best(study.directory)
    assert weights_in(study) == f"of {best}"


def test_a_cheaper_trial_is_refit_in_the_place_of_the_best(study):
    study.info["config"] = {"prefer_cheaper": 0.05}
    cheap = end(study, 0.68, weights=True)
    study.trials[cheap].history[-1]["trainable_parameters"] = 10
    dear = end(study, 0.7, weights=True)
    study.trials[dear].history[-1]["trainable_parameters"] = 1000
    refit(study, 0.95, of=cheap)
    model = write_best(study)
    assert (model.trial_id, model.better.trial_id, model.refit is not None) == (cheap, dear, True)
    assert weights_in(study) == "of the refit"


def test_a_refit_needs_no_weights_of_the_search(study):
    lost = end(study, 0.7, weights=False)
    end(study, 0.5, weights=True)
    refit(study, 0.95, of=lost)
    assert write_best(study).trial_id == lost
    assert weights_in(study) == "of the refit"


def test_a_refit_may_miss_a_few_of_the_photos_that_a_lucky_trial_had_right(study):
    end(study, 1.0, weights=True)
    refit(study, 0.96)
    assert write_best(study).refit is not None


def with_test_score(study) -> dict:
    """A refit that has been written and tested; returns best.json."""
    end(study, 0.7, weights=True)
    path = refit(study, 0.95)
    write_best(study)
    record = study.directory / "best.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"test": {"test_acc": 0.8}, "models_tested": 1}))
    return {"json": record.read_text(), "weights": path, "record": record}


def test_weights_of_a_refit_that_only_best_ckpt_has_are_kept(study):
    was = with_test_score(study)
    was["weights"].write_bytes(was["weights"].read_bytes()[:-40])
    assert write_best(study).refit.epochs == 2
    assert weights_in(study) == "of the refit"
    assert was["record"].read_text() == was["json"]


@pytest.mark.parametrize("damage", ["missing", "torn"])
def test_the_only_copy_of_a_last_training_is_not_replaced(study, damage):
    was = with_test_score(study)
    path = study.directory / "last" / "study.json"
    if damage == "torn":
        path.write_text(path.read_text()[:20])
    else:
        path.unlink()
    with pytest.raises(StudyError, match=r"last is damaged or gone, and .*best.ckpt has the only copy of its weights"):
        write_best(study)
    assert weights_in(study) == "of the refit"
    assert was["record"].read_text() == was["json"]


def test_best_json_of_a_refit_that_is_not_used_any_more_is_written_again(study):
    was = with_test_score(study)
    shutil.rmtree(was["weights"].parent)
    (study.directory / BEST_CKPT).unlink()
    assert write_best(study).refit is None
    written = read_best(study.directory)
    assert ("refit" in written, "test" in written, written["models_tested"]) == (False, False, 1)
    assert weights_in(study) == "of t0000"


@pytest.mark.parametrize(("at_the_end", "used"), [(1.06, True), (1.376, False)])
def test_a_refit_that_learnt_next_to_nothing_is_not_used(tmp_path, at_the_end, used):
    counts = {split: [25, 25, 25, 25] for split in ("train", "val", "test")}
    study = Study.create(tmp_path / "loss", {"config": {"metric": "val_loss"}, "class_counts": counts})
    trial = study.add_trial({"x": 0.7})
    study.add_epoch(trial.trial_id, {"epoch": 1, "val_loss": 1.08, "best_val_loss": 1.08})
    study.end_trial(trial.trial_id, "completed")
    last = Study.create(study.directory / "last", {LAST_OF: "t0000", "config": {"metric": "val_loss"}, "refit": True})
    again = last.add_trial({"x": 0.7})
    last.add_epoch(again.trial_id, {"epoch": 1, "val_loss": at_the_end, "best_val_loss": at_the_end})
    last.end_trial(again.trial_id, "completed")
    path = last.checkpoint_dir(again.trial_id) / BEST_CKPT
    path.parent.mkdir(parents=True)
    torch.save({"weights": "of the refit"}, path)
    last.close()
    assert (write_best(study).refit is not None) is used  # a constant answer has log 4 = 1.386
    study.close()


def test_best_json_of_a_refit_is_not_taken_for_that_of_the_trial_that_it_repeated(study):
    with_test_score(study)
    shutil.rmtree(study.directory / "last")
    refit(study, 0.6)  # begun again, and not used
    assert write_best(study).refit is None
    assert not {"refit", "test"} & read_best(study.directory).keys()
    assert weights_in(study) == "of t0000"
