import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from inat.config.optim import OptimConfig
from inat.data import mixup
from inat.data.mixup import BatchMixing, erase, random_rectangles

CPU = torch.device("cpu")


def mixed(images, labels, classes: int = 3, **settings):
    return BatchMixing(OptimConfig(learning_rate=1, batch_size=4, **settings), classes)(images, labels)


def batch(count: int = 6, side: int = 8):
    """Images of one value each, 1 to ``count``, so that a pixel identifies its image."""
    return torch.arange(1.0, count + 1).view(-1, 1, 1, 1).expand(-1, 3, side, side).clone(), torch.arange(count) % 3


def test_without_settings_batches_stay_as_they_are_and_nothing_is_drawn():
    images, labels = batch()
    before = torch.get_rng_state()
    same, same_labels = mixed(images, labels)
    assert same is images
    assert same_labels is labels
    assert torch.equal(torch.get_rng_state(), before)


def test_mixup_mixes_labels_as_it_mixes_images():
    torch.manual_seed(0)
    images, labels = batch()
    out, targets = mixed(images, labels, mixup_alpha=1.0)
    share = (targets[1, 1]).item()  # of its own label 1; the image before it, its partner, has label 0
    assert 0 < share < 1
    assert torch.allclose(targets.sum(1), torch.ones(6))
    assert torch.allclose(out[1], share * images[1] + (1 - share) * images[0])


def test_cutmix_pastes_the_share_that_is_in_the_labels():
    images, labels = batch()
    shares = []
    for seed in range(8):
        torch.manual_seed(seed)
        out, targets = mixed(images, labels, cutmix_alpha=1.0)
        pasted = (out[1, 0] == images[0, 0]).float().mean().item()
        assert targets[1, 0].item() == pytest.approx(pasted, abs=1e-6)
        assert (out[1, 0] == images[1, 0]).float().mean().item() == pytest.approx(1 - pasted, abs=1e-6)
        shares.append(pasted)
    assert len(set(shares)) > 3


def test_with_both_settings_each_batch_gets_one_of_them():
    images, labels = batch()
    kinds = set()
    for seed in range(12):
        torch.manual_seed(seed)
        out, _ = mixed(images, labels, mixup_alpha=1.0, cutmix_alpha=1.0)
        kinds.add(len(out[1].unique()))  # mixup gives one new value, CutMix both old values
        assert out.shape == images.shape
    assert kinds == {1, 2}


def test_input_images_are_unchanged_and_the_same_seed_gives_the_same_batch():
    images, labels = batch()
    before, results = images.clone(), []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(mixed(images, labels, mixup_alpha=0.2, cutmix_alpha=1.0, random_erasing=0.5))
    assert torch.equal(images, before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_erasing_removes_one_rectangle_of_the_given_share_of_images():
    torch.manual_seed(0)
    out = erase(torch.ones(2000, 3, 16, 20), 0.25)
    erased = out == 0
    assert torch.equal(erased[:, 0], erased[:, 1])
    touched = erased[:, 0].flatten(1).any(1)
    assert 0.2 < touched.float().mean() < 0.3
    for image in erased[touched, 0][:200]:
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows.view(-1, 1) & columns)  # a full rectangle
        assert len(rows.nonzero()) == rows.nonzero().max() - rows.nonzero().min() + 1
        assert len(columns.nonzero()) == columns.nonzero().max() - columns.nonzero().min() + 1
    assert len({tuple(image.flatten().tolist()) for image in erased[touched, 0]}) > 100  # different rectangles


def test_rectangles_are_uniform_over_all_positions(monkeypatch):
    sides = torch.tensor([[2.0, 3.0]]).expand(4000, 2)
    monkeypatch.setattr(mixup, "random_rectangles", lambda n, *_: (sides, torch.ones(n, dtype=torch.bool)))
    torch.manual_seed(0)
    erased = (erase(torch.ones(4000, 3, 5, 4), 0.999) == 0)[:, 0]
    tops, lefts = erased.any(2).to(torch.uint8).argmax(1), erased.any(1).to(torch.uint8).argmax(1)
    assert tops.bincount().tolist() == pytest.approx([1000] * 4, rel=0.15)
    assert lefts.bincount().tolist() == pytest.approx([2000] * 2, rel=0.15)


def test_rectangles_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    transform, image = v2.RandomErasing(p=1), torch.zeros(3, 32, 48)
    expected = np.array([[p["h"], p["w"]] for p in (transform.make_params([image]) for _ in range(4000))])
    actual, found = random_rectangles(4000, 32, 48, CPU)
    assert found.all()
    for quantile in (0.1, 0.5, 0.9):
        assert np.quantile(actual.numpy(), quantile, axis=0) == pytest.approx(
            np.quantile(expected, quantile, axis=0), abs=1
        )


def test_soft_labels_train():
    images, labels = batch()
    torch.manual_seed(0)
    out, targets = mixed(images, labels, mixup_alpha=0.4)
    layer = nn.Linear(3, 3)
    nn.functional.cross_entropy(layer(out.mean((2, 3))), targets).backward()
    assert layer.weight.grad.abs().sum() > 0


def test_mixup_of_features_mixes_them_as_it_mixes_their_labels():
    torch.manual_seed(0)
    features = torch.eye(6)
    out, targets = mixed(features.clone(), torch.arange(6), classes=6, mixup_alpha=1.0)
    assert out.shape == (6, 6)
    assert torch.allclose(out, targets)  # feature i is that of class i alone
    assert torch.allclose(out.sum(1), torch.ones(6))
    assert 0 < out[0, 0] < 1
