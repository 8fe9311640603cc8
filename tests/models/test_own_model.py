from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from inat.config.own_model import OwnModelConfig
from inat.config.trial import TrialConfig
from inat.errors import ConfigError, StudyError
from inat.models import own_code
from inat.models.factory import build_classifier, build_network
from inat.models.own_model import build_own, own_stages
from inat.models.own_training import OwnTraining
from inat.models.stages import StagedNetwork
from inat.training.checkpoint import complete_checkpoint, load_checkpoint
from inat.training.fit import fit
from tests.conftest import Rows
from tests.own_networks import MODULE, PLAIN, STAGED, TRAINING, allowed, write_net

FINETUNING = {"strategy": "freeze_all", "body_lr_factor": 0.1, "views": 1, "max_feature_gb": 1.0}


def config_of(folder: Path, text: str, function: str = "build", **params) -> TrialConfig:
    file = allowed(write_net(folder, text), function)
    return TrialConfig.from_params({**TRAINING, **file.settings(), "cache_dir": str(folder / "cache"), **params})


def stages_of(config: TrialConfig, size: int = 8) -> StagedNetwork:
    assert isinstance(config.model, OwnModelConfig)
    return own_stages(config.model, size, 10)


def test_arguments_reach_the_function(tmp_path):
    network = build_network(config_of(tmp_path, PLAIN, width=8, dropout=0.5), 3)
    assert (network[0].out_channels, network[5].p, network[6].out_features) == (8, 0.5, 3)


def test_a_lazy_network_gets_its_shapes(tmp_path):
    text = (
        "from torch import nn\ndef build(num_classes, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))"
    )
    network = build_network(config_of(tmp_path, text), 10)
    assert network[1].weight.shape == (10, 3 * 8 * 8)
    assert network.training


@pytest.mark.parametrize(("body", "message"), [
    ("return None", r"build\(\) of my_net.py must return a torch.nn.Module, got NoneType; return the network"),
    ("return num_classes", "must return a torch.nn.Module, got int"),
    ("raise ValueError('too wide')", r"line 2: build\(num_classes=10, image_size=8\) raised ValueError .too wide."),
    ("import sys; sys.exit()", "raised SystemExit"),
])  # fmt: skip
def test_a_function_that_returns_no_network_is_one_sentence(tmp_path, body, message):
    config = config_of(tmp_path, f"def build(num_classes, image_size):\n    {body}")
    with pytest.raises(ConfigError, match=message):
        build_network(config, 10)


def test_the_seed_of_a_trial_decides_its_weights(tmp_path):
    config = config_of(tmp_path, PLAIN)
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(build_network(config, 10)[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_trials_share_their_frozen_stages_and_differ_in_their_heads(tmp_path):
    config = config_of(tmp_path, STAGED, **FINETUNING)
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        networks.append(build_network(config, 10))
    one, other = networks
    assert [name for name, _ in one.named_children()] == ["stem", "block", "head"]
    assert one.frozen == 2
    assert torch.equal(one.stem[0].weight, other.stem[0].weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert not any(parameter.requires_grad for parameter in one.stem.parameters())


def test_the_key_of_kept_features_follows_file_arguments_and_values(tmp_path):
    base = config_of(tmp_path, STAGED)
    keys = [stages_of(base).weights, stages_of(config_of(tmp_path, STAGED, width=5)).weights]
    # The same values in a network that computes something else.
    keys += [stages_of(config_of(tmp_path, STAGED.replace("nn.ReLU", "nn.GELU"))).weights]
    keys += [stages_of(base, size=16).weights]
    assert len(set(keys)) == len(keys)
    assert stages_of(base).weights == keys[0]


@pytest.mark.parametrize(("stages", "message"), [
    ("return 3", "must return at least two modules, the last of which is the head, got int of 0"),
    ("return [model]", "got list of 1"),
    ("return [model.stem, 'head']", "must return at least two modules"),
    ("return {'head': model.stem, 'out': model.out}", "calls a stage head that is not the last; rename it"),
    ("return model.no_such", r"stages\(\) raised AttributeError"),
])  # fmt: skip
def test_wrong_stages_are_one_sentence(tmp_path, stages, message):
    text = STAGED[: STAGED.index("def stages")] + f"def stages(model):\n    {stages}\n"
    with pytest.raises(ConfigError, match=message):
        stages_of(config_of(tmp_path, text))


def test_a_strategy_needs_stages(tmp_path):
    with pytest.raises(ConfigError, match=r"has no function stages\(model\), which strategies need; define it"):
        build_network(config_of(tmp_path, PLAIN, **FINETUNING), 10)


@pytest.mark.parametrize("strategy", ["freeze_all", "freeze_partial", "unfreeze_all"])
def test_kept_features_train_like_the_whole_network(tmp_path, one_thread, strategy):
    params = FINETUNING | {"strategy": strategy, "k_layers": 1}
    kept, classic = (
        fit(config_of(tmp_path, STAGED, **params | {"views": views}), [rows := Rows()]) | {"rows": rows.rows}
        for views in (1, 0)
    )
    assert kept["train_loss"] == pytest.approx(classic["train_loss"], rel=1e-4)
    assert kept["val_acc"] == pytest.approx(classic["val_acc"], abs=0.01)
    assert (list(tmp_path.glob("cache/features-my_net-*")) != []) == (strategy != "unfreeze_all")


def test_a_checkpoint_is_read_again_if_the_file_is_named(tmp_path, one_thread, monkeypatch):
    config, path = config_of(tmp_path, PLAIN), tmp_path / "best.ckpt"
    metrics = fit(config, [Rows(weights=path)])
    assert metrics["val_acc"] > 0.2
    loaded = load_checkpoint(path)
    assert loaded.config == config
    assert not loaded.classifier.training
    monkeypatch.setattr(own_code, "_named", {})
    with pytest.raises(StudyError, match="best.ckpt cannot be loaded: .*my_net.py, a Python file that runs only"):
        load_checkpoint(path)


def test_a_checkpoint_with_frozen_stages_is_completed(tmp_path, one_thread):
    config, path = config_of(tmp_path, STAGED, **FINETUNING), tmp_path / "best.ckpt"
    fit(config, [Rows(weights=path)])
    complete_checkpoint(path, tmp_path / "complete.ckpt")
    states = [load_checkpoint(p).classifier.state_dict() for p in (path, tmp_path / "complete.ckpt")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert len(torch.load(path)["state_dict"]) < len(torch.load(tmp_path / "complete.ckpt")["state_dict"])


def test_tied_parameters_can_be_saved_and_read(tmp_path, one_thread):
    text = (
        "from torch import nn\ndef build(num_classes, image_size):\n    a = nn.Linear(192, 192)\n"
        "    return nn.Sequential(nn.Flatten(), a, nn.ReLU(), a, nn.ReLU(), nn.Linear(192, num_classes))"
    )
    fit(config_of(tmp_path, text, max_epochs=1), [Rows(weights=tmp_path / "best.ckpt")])
    network = load_checkpoint(tmp_path / "best.ckpt").classifier.net
    assert network[1] is network[3]


def test_a_lightning_module_trains_itself_and_has_the_metrics_of_every_trial(tmp_path, one_thread):
    config = config_of(tmp_path, MODULE, "MyModule", width=8, max_epochs=4, learning_rate=0.05)
    path = tmp_path / "best.ckpt"
    metrics = fit(config, [Rows(weights=path)])
    assert 0.3 < metrics["best_val_acc"] <= 1  # not the 7 that the module logs under this name
    assert metrics["train_acc"] > 0.3
    classifier = load_checkpoint(path).classifier
    assert isinstance(classifier, OwnTraining)
    assert classifier.module.hparams.learning_rate == 0.05


def test_the_hooks_of_a_lightning_module_run(tmp_path, one_thread):
    config = config_of(tmp_path, MODULE, "MyModule")
    seen = []

    class Look(Rows):
        def on_fit_end(self, trainer, pl_module):
            seen.append(pl_module.module.epochs)

    fit(config, [Look()])
    assert seen == [2]


def test_an_accuracy_is_known_if_the_step_does_not_call_the_module_itself(tmp_path, one_thread):
    text = MODULE.replace("functional.cross_entropy(self(images)", "functional.cross_entropy(self.net(images)")
    one, other = (fit(config_of(tmp_path, module, "MyModule")) for module in (MODULE, text))
    assert one["train_loss"] == other["train_loss"]
    assert other["train_acc"] > 0.05


def test_a_lightning_module_that_is_too_large_is_not_cut_into_parts(tmp_path):
    config = config_of(tmp_path, MODULE, "MyModule")
    with pytest.raises(ConfigError, match="batches of 64 images are too large .* choose a smaller batch_size"):
        build_classifier(config, 10, micro_batch=32)


def test_a_network_without_stages_has_one_learning_rate(tmp_path):
    config = config_of(tmp_path, PLAIN, body_lr_factor=0.1)
    assert build_classifier(config, 10).body_lr_factor == 1
    staged = config_of(tmp_path, STAGED, **FINETUNING | {"strategy": "unfreeze_all"})
    assert build_classifier(staged, 10).body_lr_factor == 0.1


def test_the_network_is_the_users_own_class(tmp_path):
    config = config_of(tmp_path, STAGED)
    assert isinstance(config.model, OwnModelConfig)
    network = build_own(replace(config.model, arguments=(("width", 3),)), 8, 10)
    assert isinstance(network, nn.Module)
    assert type(network).__name__ == "Net"
