import pytest
import torch

from inat.config.trial import DataConfig
from inat.data.augment import augment
from inat.data.datamodule import network_input
from inat.data.loader import Batch
from inat.data.random_operations import GROUP, POLICIES, random_operations


def photos(count: int = 40) -> torch.Tensor:
    return torch.rand(count, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("policy", POLICIES)
def test_images_keep_shape_and_range_and_most_of_them_change(policy):
    torch.manual_seed(0)
    before = photos()
    after = random_operations(before, policy)
    assert (after.shape, after.dtype) == (before.shape, torch.float32)
    assert 0 <= after.min() <= after.max() <= 1
    changed = (after != before).flatten(1).any(1).float().mean()
    assert changed > 0.5


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_images_and_another_one_others(policy):
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        runs.append(random_operations(photos(), policy))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_each_group_of_images_gets_operations_of_its_own():
    torch.manual_seed(0)
    same = photos(1).expand(10 * GROUP, -1, -1, -1)
    groups = random_operations(same, "trivial").split(GROUP)
    assert all(torch.equal(group, group[:1].expand_as(group)) for group in groups)
    assert len({float(group[0].sum()) for group in groups}) > 5


@pytest.mark.parametrize(("name", "values"), [
    ("light", {"light_augmentation": True}), ("light", {"augmentation_policy": "light"}),
    ("trivial", {"augmentation_policy": "trivial"}), ("trivial", {"augmentation_policy": "trivial",
                                                                  "light_augmentation": True}),
    ("published", {}),
])  # fmt: skip
def test_training_images_are_altered_as_the_policy_says(name, values):
    config = DataConfig(data="photos", image_size=16, use_augmentation=True, **values)
    images = (photos(9) * 255).to(torch.uint8)
    torch.manual_seed(5)
    found = network_input(Batch(images, torch.zeros(9), torch.ones(9)), config)
    torch.manual_seed(5)
    assert config.policy == name
    expected = augment(images, torch.ones(9), 16, policy=name)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(found, (expected - mean.view(3, 1, 1)) / std.view(3, 1, 1), atol=1e-5)
