from pathlib import Path

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.errors import StudyError
from inat.models import factory
from inat.training.checkpoint import complete_checkpoint, load_checkpoint
from inat.training.fit import fit
from tests.conftest import Rows
from tests.models.published import published


@pytest.fixture
def trained(backbone_params, tmp_path):
    """Train a backbone with some changed parameters; returns its checkpoint."""

    def train(**changes) -> Path:
        path = tmp_path / "trained.ckpt"
        fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1} | changes), [Rows(weights=path)])
        factory._load.cache_clear()  # as in a new process
        return path

    return train


@pytest.fixture
def own_weights(tmp_path) -> Path:
    """A folder with weights that a test may change or remove."""
    torch.save(published("mobilenet_v2"), tmp_path / "mobilenet_v2.pth")
    return tmp_path


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).classifier.state_dict()


@pytest.mark.parametrize("views", [4, 0])
def test_frozen_stages_are_left_out_and_restored(trained, views):
    path = trained(strategy="freeze_partial", k_layers=1, views=views)
    kept = torch.load(path, weights_only=True)["state_dict"]
    assert {key.split(".")[1] for key in kept} == {"features18", "head"}
    state, body = state_of(path), published("mobilenet_v2")
    assert torch.equal(state["net.features0.0.weight"], body["features.0.0.weight"])
    assert all(torch.equal(state[key], tensor) for key, tensor in kept.items())
    assert not torch.equal(state["net.features18.block.0.weight"], body["features.18.0.weight"])
    loaded = load_checkpoint(path)
    assert loaded.classes == ("bird", "fish")
    assert not any(module.training for module in loaded.classifier.modules())


@pytest.mark.parametrize("views", [4, 0])
def test_an_averaged_backbone_keeps_the_average_without_its_frozen_stages(trained, views):
    path = trained(strategy="freeze_partial", k_layers=1, views=views, ema_decay=0.9)
    kept = torch.load(path, weights_only=True)["state_dict"]
    assert {key.split(".")[1] for key in kept} == {"features18", "head"}
    assert all(torch.equal(state_of(path)[key], tensor) for key, tensor in kept.items())


@pytest.mark.parametrize(("first", "then"), [(4, 0), (0, 4)])
def test_an_averaged_backbone_resumes_on_features_or_on_the_whole_network(backbone_params, tmp_path, first, then):
    params = backbone_params | {"strategy": "freeze_partial", "k_layers": 1, "ema_decay": 0.9, "max_epochs": 2}
    last = tmp_path / "last.ckpt"
    with pytest.raises(SystemExit):
        fit(TrialConfig.from_params(params | {"views": first}), [Rows(stop_after=1, save_to=last)])
    assert fit(TrialConfig.from_params(params | {"views": then}), resume_from=last)["epochs"] == 2


def test_other_weights_than_those_of_the_training_are_refused(trained, own_weights):
    path = trained(weights_dir=str(own_weights))
    before = factory.find_weights("mobilenet_v2", own_weights).sha256
    torch.save({key: tensor + 1 for key, tensor in published("mobilenet_v2").items()}, own_weights / "mobilenet_v2.pth")
    after = factory.find_weights("mobilenet_v2", own_weights).sha256
    with pytest.raises(StudyError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == (
        f"{path} lacks the frozen stages of mobilenet_v2, which came from weights with SHA-256 {before}, but the "
        f"weights in --weights-dir have {after}; restore the former weights, or pass the best.ckpt of the study, "
        "which is complete"
    )


def test_without_weights_the_error_says_which_file_to_bring(trained, own_weights, monkeypatch):
    path = trained(weights_dir=str(own_weights))
    (own_weights / "mobilenet_v2.pth").unlink()
    monkeypatch.setenv("TORCH_HOME", str(own_weights / "nothing"))
    monkeypatch.setattr("inat.models.weights._download", lambda url, cached: "no network")
    with pytest.raises(StudyError, match=r"ckpt lacks the frozen stages of mobilenet_v2: no weights of .*; download"):
        load_checkpoint(path)


@pytest.mark.parametrize("strategy", ["freeze_all", "unfreeze_all"])
def test_a_complete_checkpoint_needs_no_weights(trained, own_weights, tmp_path, strategy):
    path, whole = trained(weights_dir=str(own_weights), strategy=strategy), tmp_path / "best.ckpt"
    expected = {key: tensor.clone() for key, tensor in state_of(path).items()}
    complete_checkpoint(path, whole)
    (own_weights / "mobilenet_v2.pth").unlink()
    factory._load.cache_clear()
    state = state_of(whole)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())
    assert load_checkpoint(whole).classifier.net.frozen == (19 if strategy == "freeze_all" else 0)
    complete_checkpoint(whole, path)  # of a complete checkpoint
    assert torch.load(path, weights_only=True)["state_dict"].keys() == expected.keys()


def test_a_checkpoint_is_completed_with_weights_that_were_moved(trained, own_weights, tmp_path):
    path, moved = trained(weights_dir=str(own_weights)), tmp_path / "moved"
    moved.mkdir()
    (own_weights / "mobilenet_v2.pth").rename(moved / "mobilenet_v2.pth")
    complete_checkpoint(path, tmp_path / "best.ckpt", weights_dir=str(moved))
    assert load_checkpoint(tmp_path / "best.ckpt").config.model.weights_dir == str(moved)


def test_loading_a_complete_checkpoint_changes_no_network_that_trials_share(trained, tmp_path, backbone_params):
    path = trained()
    complete_checkpoint(path, tmp_path / "best.ckpt")
    shared = factory.load_pretrained(TrialConfig.from_params(backbone_params).model, 32, 2)
    first = shared.features0[0].weight
    loaded = load_checkpoint(tmp_path / "best.ckpt").classifier.net.features0[0].weight
    assert torch.equal(first, loaded)
    assert first.data_ptr() != loaded.data_ptr()


def test_a_checkpoint_with_other_stages_is_refused(trained):
    path = trained()
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"].pop("net.head.linear.bias")
    torch.save(checkpoint, path)
    with pytest.raises(StudyError, match=r"trained.ckpt is not a checkpoint of this program"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [None, b"no checkpoint", b""])
def test_files_that_are_no_checkpoint_are_refused_with_their_path(tmp_path, content):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=r"x\.ckpt"):
        load_checkpoint(path)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"trial_params": Trap()}, tmp_path / "x.ckpt")
    with pytest.raises(StudyError, match=r"not a checkpoint of this program"):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "sprung").exists()
