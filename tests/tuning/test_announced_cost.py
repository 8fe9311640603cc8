"""What a fine-tuning search says about its cost before it starts."""

from inat.config.finetune import FinetuneConfig
from inat.tuning.announced_cost import estimate
from tests.own_networks import STAGED, write_net


def test_the_cost_of_a_users_network_is_estimated(tmp_path):
    path = write_net(tmp_path, STAGED)
    config = FinetuneConfig(
        data="digits", image_size=8, model=str(path), k_layers=(1,), num_samples=2, max_epochs=1,
        cache_dir=tmp_path / "cache",
    )  # fmt: skip
    assert estimate(config).startswith("about ")
