"""From which checkpoints a training goes on."""

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.training.epoch_recorder import identity_of, is_identity_of
from inat.training.fit import fit
from inat.training.resume import checkpoint_row, discard_unusable, recorder_state
from tests.conftest import Rows


@pytest.fixture
def last(cnn_params, tmp_path):
    """The checkpoint after two epochs."""
    path = tmp_path / "last.ckpt"
    with pytest.raises(SystemExit):
        fit(TrialConfig.from_params(cnn_params), [Rows(stop_after=2, save_to=path)])
    return path


def edit(path, **changes):
    """Change values in the recorder's state; None removes one."""
    content = torch.load(path, weights_only=True)
    state = content["callbacks"]["EpochRecorder"] | changes
    content["callbacks"]["EpochRecorder"] = {name: value for name, value in state.items() if value is not None}
    torch.save(content, path)


def test_a_checkpoint_has_the_rows_of_all_its_epochs(last, cnn_params):
    state = recorder_state(last)
    assert [row["epoch"] for row in state["history"]] == [1, 2]
    assert discard_unusable(last, TrialConfig.from_params(cnn_params), known_epochs=0) == ""
    assert last.exists()


def test_a_checkpoint_of_another_configuration_is_not_used(last, cnn_params):
    config = TrialConfig.from_params(cnn_params | {"dropout": 0.3})
    rows = Rows()
    metrics = fit(config, [rows], resume_from=last)
    assert [row["epoch"] for row in rows.rows] == [1, 2, 3]
    assert metrics["note"] == "last.ckpt was written by another configuration: started again from the first epoch"
    assert not last.exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 0.5}, {"fingerprint": "f"}])
def test_what_changes_the_result_is_another_configuration(last, cnn_params, change):
    assert discard_unusable(last, TrialConfig.from_params(cnn_params | change))


@pytest.mark.parametrize("schedule", [{"schedule": "cosine"}, {"schedule": "trapezoid"}, {"folds": 2}], ids=str)
def test_another_number_of_epochs_is_another_configuration_unless_the_epochs_so_far_are_the_same(cnn_params, schedule):
    shorter, longer = (TrialConfig.from_params(cnn_params | {"max_epochs": n}) for n in (3, 9))
    assert is_identity_of(identity_of(shorter), longer)
    assert not is_identity_of(identity_of(shorter) | {"dropout": 0.5}, longer)
    changed = TrialConfig.from_params(cnn_params | schedule)
    assert is_identity_of(identity_of(changed), changed)
    assert not is_identity_of(identity_of(changed), TrialConfig.from_params(cnn_params | schedule | {"max_epochs": 9}))


@pytest.mark.parametrize("change", [{"cache_dir": "/elsewhere"}, {"max_bad_fraction": 0.5}, {"compile": True}])
def test_where_and_how_it_is_computed_may_change(last, cnn_params, change):
    assert discard_unusable(last, TrialConfig.from_params(cnn_params | change)) == ""


@pytest.mark.parametrize(("known_epochs", "used"), [(0, False), (1, True), (2, True)])
def test_a_checkpoint_of_an_earlier_version_is_used_if_the_journal_is_not_behind(last, cnn_params, known_epochs, used):
    row = recorder_state(last)["row"]
    edit(last, history=None, identity=None, saved_epoch=None, unreported=[row])
    note = discard_unusable(last, TrialConfig.from_params(cnn_params), known_epochs)
    assert note == ("" if used else "last.ckpt was ahead of the journal: started again from the first epoch")
    if used:
        assert fit(TrialConfig.from_params(cnn_params), resume_from=last, known_epochs=known_epochs)["epochs"] == 3


@pytest.mark.parametrize("damage", ["missing", "torn", "older"])
def test_a_checkpoint_whose_best_weights_are_lost_is_not_used(last, cnn_params, tmp_path, damage):
    best = tmp_path / "best.ckpt"
    torch.save({"row": {"epoch": 2 if damage != "older" else 1}}, best)
    edit(last, saved_epoch=2)
    config = TrialConfig.from_params(cnn_params)
    if damage != "older":
        assert discard_unusable(last, config) == ""
    if damage == "missing":
        best.unlink()
    if damage == "torn":
        best.write_bytes(best.read_bytes()[:-30])
    assert discard_unusable(last, config) == "last.ckpt had lost its best.ckpt: started again from the first epoch"


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_a_file_of_another_kind_has_neither_state_nor_row(tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    assert recorder_state(path) is None
    assert checkpoint_row(path) == {}
    torch.save([1, 2], path)
    assert recorder_state(path) is None
    assert checkpoint_row(path) == {}
