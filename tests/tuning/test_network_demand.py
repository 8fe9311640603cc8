import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.tuning.demand import Demand, SpaceDemand
from inat.tuning.network_demand import demand_of, demand_of_space

PLAIN = {
    "data": "digits", "image_size": 32, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    "activation": "relu", "dropout": 0.0, "batch_norm": False, "num_neurons_dense": 32,
    "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2,
}  # fmt: skip


def demand(**changes) -> Demand:
    return demand_of(TrialConfig.from_params(PLAIN | changes), 10)


def test_operations_and_parameters_are_counted_by_hand():
    counted = demand()
    convolutions = 32 * 32 * 9 * 3 * 4 + 16 * 16 * 9 * 4 * 4
    dense = 8 * 8 * 4 * 32 + 32 * 10
    assert counted.operations == 2 * (convolutions + dense)
    assert counted.parameters == (3 * 9 * 4 + 4) + (4 * 9 * 4 + 4) + (8 * 8 * 4 * 32 + 32) + (32 * 10 + 10)
    assert counted.images == 64


def test_saved_activations_are_counted_once_and_weights_are_not_among_them():
    image, first, second = 3 * 32 * 32 * 4, 4 * 32 * 32 * 4, 4 * 16 * 16 * 4
    least = image + first + second + (8 * 8 * 4 + 32) * 4  # inputs of the layers, in float32
    assert least <= demand().image_bytes <= 3 * least
    assert demand(num_neurons_dense=4096).image_bytes < 4 * least  # of 4 MB of weights


def test_wider_networks_larger_images_and_more_layers_demand_more():
    small = demand()
    assert demand(first_layer_filters=8).image_bytes > small.image_bytes
    assert demand(image_size=64).operations > small.operations
    assert demand(conv_layers=3).calls > small.calls
    assert demand(batch_size=128).memory(128) > small.memory(64)


@pytest.mark.parametrize("strategy", ["freeze_all", "unfreeze_all"])
def test_frozen_stages_save_nothing(backbone_params, strategy):
    counted = demand_of(TrialConfig.from_params(backbone_params | {"strategy": strategy}), 2)
    assert (counted.image_bytes > 10**5) == (strategy == "unfreeze_all")


def test_frozen_stages_run_forward_only_or_not_at_all_where_their_outputs_are_kept(backbone_params):
    def operations(**options) -> int:
        return demand_of(TrialConfig.from_params(backbone_params | options), 2).operations

    kept, run = (operations(strategy="freeze_all", views=views) for views in (1, 0))
    assert kept < 10**5 < run
    assert run < operations(strategy="unfreeze_all") / 2
    assert operations(strategy="freeze_all", views=1, random_erasing=0.2) == run  # which rules out kept features


def test_the_largest_network_with_the_largest_batch_decides_about_the_memory():
    few, many = Demand(10, 1000, 1, 1, images=8), Demand(10, 100, 1, 1, images=64)
    assert SpaceDemand((few, many), 0).memory == few.memory(64)


def test_a_space_is_counted_with_the_images_of_its_trials():
    counted = demand_of_space(SearchConfig(data="digits", image_size=8))
    assert len({network.parameters for network in counted.networks}) > 5
    assert counted.pictures % (8 * 8 * 3) == 0 < counted.pictures


def test_a_grid_is_counted_once_for_each_network():
    grid = FinetuneConfig(
        data="digits", image_size=32, weights="none", backbones=("mobilenet_v2",), strategies=("freeze_all",),
        batch_sizes=(16, 32), recipe="published", searcher="grid",
    )  # fmt: skip
    assert sorted(network.images for network in demand_of_space(grid).networks) == [16, 32]


def test_the_images_of_a_folder_are_counted_without_decoding_them(image_tree, tmp_path):
    cache, data = tmp_path / "cache", str(image_tree(train=20, val=4))
    config = SearchConfig(data=data, space="modern", image_size=32, cache_dir=cache)
    assert demand_of_space(config).pictures == 40 * 3 * 64**2 + 8 * 3 * 32**2  # crops are cut from larger copies
    assert not cache.exists()
