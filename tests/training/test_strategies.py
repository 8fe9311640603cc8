"""The strategies of fine-tuning in whole trainings: what trains, from which epoch on, and what a checkpoint holds."""

import pytest
import pytorch_lightning as pl
import torch

from inat.config.trial import TrialConfig
from inat.models.adapters import LowRankUpdate
from inat.training.checkpoint import load_checkpoint
from inat.training.fit import fit
from inat.training.inference import open_model
from tests.conftest import Rows

LP_FT = {"strategy": "lp_ft", "probe_share": 0.5, "max_epochs": 4, "schedule": "cosine", "weights": "none"}
SAME = {"max_epochs": 2, "weights": "none", "strategy": "unfreeze_all"}


class Watch(pl.Callback):
    """Notes after each epoch whether the body has changed in it, and the learning rates at its start."""

    def __init__(self):
        self.moved, self.rates, self._before = [], [], {}

    def on_train_epoch_start(self, trainer, pl_module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self._before = {name: tensor.clone() for name, tensor in self._body(pl_module).items()}

    def on_train_epoch_end(self, trainer, pl_module):
        self.moved.append(any(not torch.equal(t, self._before[name]) for name, t in self._body(pl_module).items()))

    def _body(self, module):
        return {name: t for name, t in module.net.state_dict().items() if not name.startswith("head")}


def test_lp_ft_trains_the_head_first_and_then_all_with_a_warm_up_of_its_own(backbone_params):
    watch = Watch()
    row = fit(TrialConfig.from_params(backbone_params | LP_FT), [watch])
    assert watch.moved == [False, False, True, True]
    assert watch.rates[2] < watch.rates[3]  # 5 steps per epoch: the second curve begins with half a step of warm-up
    assert row["trainable_parameters"] == 2_223_872 + 2562


def test_lp_ft_goes_on_after_the_switch_and_before_it(backbone_params, tmp_path):
    config = TrialConfig.from_params(backbone_params | LP_FT)
    whole = Rows()
    fit(config, [whole])
    for epoch in (1, 3):
        first, checkpoint, watch = Rows(epoch, tmp_path / "last.ckpt"), tmp_path / "last.ckpt", Watch()
        with pytest.raises(SystemExit):
            fit(config, [first])
        rest = Rows()
        fit(config, [rest, watch], resume_from=checkpoint)
        assert first.rows + rest.rows == whole.rows
        assert watch.moved == [False, False, True, True][epoch:]


def test_patience_waits_for_the_whole_network(backbone_params):
    never = {"learning_rate": 1e-12, "patience": 1, "max_epochs": 6}
    row = fit(TrialConfig.from_params(backbone_params | LP_FT | never))
    assert row["epochs"] == 4  # 3 epochs of the head, and one of the whole network


@pytest.mark.parametrize("strategy", ["lora", "bitfit", "norm_only", "lp_ft"])
def test_a_checkpoint_of_each_strategy_gives_the_outputs_of_its_training(backbone_params, tmp_path, strategy):
    class Outputs(Rows):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            modes = {module: module.training for module in pl_module.modules()}
            with torch.no_grad():
                self.logits = pl_module.eval()(images)
            for module, mode in modes.items():
                module.training = mode

    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = Outputs(weights=tmp_path / "best.ckpt")
    changes = {"strategy": strategy, "max_epochs": 1, "weights": "none"}
    row = fit(TrialConfig.from_params(backbone_params | changes), [outputs])
    loaded = load_checkpoint(tmp_path / "best.ckpt").classifier
    assert torch.allclose(loaded(images), outputs.logits, atol=1e-4)  # of another memory layout
    assert not any(isinstance(module, LowRankUpdate) for module in loaded.modules())
    assert (row["trainable_parameters"] < 300_000) == (strategy != "lp_ft")


def test_lora_with_an_average_of_its_weights_resumes_as_if_it_had_not_stopped(backbone_params, tmp_path):
    config = TrialConfig.from_params(
        backbone_params | {"strategy": "lora", "max_epochs": 2, "weights": "none", "ema_decay": 0.9}
    )
    whole, first, rest = Rows(weights=tmp_path / "best.ckpt"), Rows(1, tmp_path / "last.ckpt"), Rows()
    fit(config, [whole])
    with pytest.raises(SystemExit):
        fit(config, [first])
    fit(config, [rest], resume_from=tmp_path / "last.ckpt")
    assert first.rows + rest.rows == whole.rows
    assert load_checkpoint(tmp_path / "best.ckpt").config == config


def weights_after(params, tmp_path, **changes) -> dict[str, torch.Tensor]:
    path = tmp_path / "best.ckpt"
    config = TrialConfig.from_params(params | {"train_on_val": True} | changes)
    fit(config, [Rows(weights=path)])
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("grad_clip", [0.0, 0.5])
def test_accumulated_batches_train_like_one_large_batch(cnn_params, tmp_path, grad_clip):
    plain = cnn_params | {"batch_norm": False, "dropout": 0.0, "max_epochs": 1, "precision": "32-true",
                          "grad_clip": grad_clip, "learning_rate": 1e-2, "cache_dir": str(tmp_path)}  # fmt: skip
    large = weights_after(plain, tmp_path, batch_size=96)
    parts = weights_after(plain, tmp_path, batch_size=32, accumulate=3)
    assert all(torch.allclose(large[name], parts[name], atol=2e-4) for name in large if name.startswith("net."))
    small = weights_after(plain, tmp_path, batch_size=32)
    assert not all(torch.allclose(large[name], small[name], atol=2e-4) for name in large if name.startswith("net."))


def test_activation_checkpoints_change_no_bit_of_a_training(backbone_params, tmp_path):
    plain, checkpointed = (weights_after(backbone_params | SAME, tmp_path, grad_checkpointing=on, max_epochs=1)
                           for on in (False, True))  # fmt: skip
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_a_clipped_gradient_has_at_most_the_given_norm(backbone_params):
    class Norms(pl.Callback):
        def __init__(self):
            self.found = []

        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if grads:
                self.found.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))))

    free, clipped = Norms(), Norms()
    for norms, grad_clip in ((free, 0.0), (clipped, 0.05)):
        fit(TrialConfig.from_params(backbone_params | SAME | {"grad_clip": grad_clip, "max_epochs": 2}), [norms])
    assert max(free.found) > 0.06
    assert max(clipped.found) <= 0.0501


@pytest.mark.parametrize(("optimizer", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_the_named_optimizer_trains(backbone_params, optimizer, kind):
    class Kind(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            self.kind = type(trainer.optimizers[0])
            self.decays = {group["weight_decay"] for group in trainer.optimizers[0].param_groups}

    seen = Kind()
    fit(TrialConfig.from_params(backbone_params | {"optimizer": optimizer, "max_epochs": 1}), [seen])
    assert (seen.kind, seen.decays) == (kind, {0.0})


@pytest.mark.parametrize(("rule", "rate"), [("unfreeze_all", 1e-2), ("all", 1e-3)])
def test_the_rate_of_partly_frozen_bodies_follows_the_rule_of_the_study(backbone_params, rule, rate):
    class Rates(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            self.rates = [group["lr"] for group in trainer.optimizers[0].param_groups]

    rates = Rates()
    partial = {"strategy": "freeze_partial", "k_layers": 1, "max_epochs": 1, "body_lr_rule": rule}
    fit(TrialConfig.from_params(backbone_params | partial), [rates])
    assert max(rates.rates) == 1e-2
    assert min(rates.rates) == pytest.approx(rate)


def test_flipped_predictions_are_the_mean_of_both_and_the_same_for_mirrored_images(backbone_params, tmp_path):
    plain, flipped = tmp_path / "plain.ckpt", tmp_path / "flipped.ckpt"
    for path, flip in ((plain, False), (flipped, True)):
        config = TrialConfig.from_params(backbone_params | {"max_epochs": 1, "test_time_flip": flip})
        fit(config, [Rows(weights=path)])
    images = torch.randint(
        0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ).numpy()
    mirrored = images[:, :, ::-1].copy()
    model = open_model(plain)
    expected = (model.confidences(images) + model.confidences(mirrored)) / 2
    both = open_model(flipped)
    assert both.confidences(images) == pytest.approx(expected, abs=1e-6)
    assert both.confidences(mirrored) == pytest.approx(both.confidences(images), abs=1e-6)
    assert model.confidences(images) != pytest.approx(expected, abs=1e-6)
