import time

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from ray.util.placement_group import placement_group

from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.tuning.ray_backend.slots import Node, Slots, describe_little_memory, describe_too_small, plan_slots


@pytest.mark.parametrize(
    ("nodes", "settings", "expected"),
    [
        ([Node(8)], {}, Slots(8, 1, 0)),  # a laptop
        ([Node(2)], {"cpus_per_trial": 2}, Slots(1, 2, 0)),
        ([Node(16, 1)], {}, Slots(1, 8, 1)),  # one GPU
        ([Node(4, 1)], {}, Slots(1, 4, 1)),
        ([Node(96, 8)], {}, Slots(8, 8, 1)),  # eight GPUs
        ([Node(16, 8)], {}, Slots(8, 2, 1)),
        ([Node(16, 1)], {"gpus_per_trial": 0.25}, Slots(4, 4, 0.25)),
        ([Node(16, 1)], {"gpus_per_trial": 0.3333}, Slots(3, 5, 0.3333)),
        ([Node(64, 8)], {"gpus_per_trial": 0.4}, Slots(16, 4, 0.4)),  # two on each: a share never spans two GPUs
        ([Node(16, 2)], {"gpus_per_trial": 0.6}, Slots(2, 8, 0.6)),
        ([Node(16, 1)], {"gpus_per_trial": 1 / 3}, Slots(3, 5, 0.3333)),  # Ray counts in 1/10,000
        ([Node(16, 2), Node(16, 1), Node(16)], {"gpus_per_trial": 0.4, "cpus_per_trial": 2}, Slots(6, 2, 0.4)),
        ([Node(3, 2)], {"gpus_per_trial": 0.4, "cpus_per_trial": 1}, Slots(3, 1, 0.4)),
        ([Node(16, 1)], {"gpus_per_trial": 0}, Slots(16, 1, 0)),
        ([Node(8, 2), Node(8)], {}, Slots(2, 4, 1)),  # a node without GPU takes no GPU trials
        ([Node(3), Node(3)], {"cpus_per_trial": 2}, Slots(2, 2, 0)),  # no trial is spread over machines
        ([Node(8)], {"max_concurrent": 3}, Slots(3, 1, 0)),
    ],
)
def test_automatic_and_given_shares(nodes, settings, expected):
    assert plan_slots(nodes, SearchConfig(**settings)) == expected


@pytest.mark.parametrize(
    ("nodes", "settings", "message"),
    [
        ([Node(2)], {"cpus_per_trial": 4}, "needs 4 CPU and 0 GPU, but the largest node has 2 CPU and 0 GPU"),
        ([Node(2)], {"gpus_per_trial": 1}, "needs 1 CPU and 1 GPU, but the largest node has 2 CPU and 0 GPU"),
    ],
)
def test_a_trial_that_fits_nowhere_is_refused_with_the_numbers(nodes, settings, message):
    with pytest.raises(ConfigError, match=message):
        plan_slots(nodes, SearchConfig(**settings))


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 8)), min_size=1, max_size=4))
def test_automatic_slots_never_ask_for_more_than_there_is(machines):
    nodes = [Node(cpus, gpus) for cpus, gpus in machines]
    try:
        slots = plan_slots(nodes, SearchConfig())
    except ConfigError:
        # More GPUs than cores: not even one core for a GPU trial.
        assert all(node.cpus < 1 or node.gpus < 1 for node in nodes)
        return
    assert slots.count >= 1
    assert slots.cpus * slots.count <= sum(node.cpus for node in nodes) + 1e-6
    assert slots.gpus * slots.count <= sum(node.gpus for node in nodes) + 1e-6


def test_float16_needs_a_gpu():
    config = SearchConfig(data="digits", precision="16-mixed")
    with pytest.raises(ConfigError, match="--precision 16-mixed needs a GPU and there is none; take bf16-mixed"):
        plan_slots([Node(cpus=4)], config)
    assert plan_slots([Node(cpus=4, gpus=1)], config).count == 1


def test_machines_too_small_for_a_trial_are_named_with_what_would_use_them():
    nodes = [Node(8, 1, "gpubox"), Node(8, 0, "old1"), Node(8, 0, "old2")]
    assert describe_too_small(nodes, Slots(1, 4, 1)) == (
        "old1, old2 have no GPU for a trial; --gpus-per-trial 0 would use the CPUs of all"
    )
    assert describe_too_small([Node(8, 0, "big"), Node(2, 0, "small")], Slots(2, 4, 0)) == (
        "small has no room for a trial; lower --cpus-per-trial"
    )
    assert describe_too_small(nodes, Slots(3, 1, 0)) == ""


def test_little_memory_runs_fewer_trials_and_says_so():
    nodes = [Node(16, memory=5e9)]
    slots = plan_slots(nodes, SearchConfig())
    assert slots == Slots(5, 1, 0)
    assert describe_little_memory(nodes, slots) == (
        "the memory of 5.0 GB is enough for 5 at a time, the cores for 16; --max-concurrent N overrides this estimate"
    )


@pytest.mark.parametrize(
    ("memory", "settings", "count"), [(64e9, {}, 16), (1e9, {}, 1), (5e9, {"max_concurrent": 9}, 9)]
)
def test_enough_memory_a_single_trial_and_the_users_number_are_kept(memory, settings, count):
    nodes = [Node(16, memory=memory)]
    slots = plan_slots(nodes, SearchConfig(**settings))
    assert slots.count == count
    assert bool(describe_little_memory(nodes, slots)) == (count == 1)


@pytest.mark.long
@pytest.mark.parametrize(("gpus", "share", "fitting"), [(3, 0.4, 6), (2, 0.6, 2)])
def test_ray_places_as_many_trials_as_were_counted(gpus, share, fitting):
    slots = plan_slots([Node(16, gpus)], SearchConfig(gpus_per_trial=share, cpus_per_trial=1))
    assert slots.count == fitting
    ray.init(address="local", num_cpus=16, num_gpus=gpus, include_dashboard=False, object_store_memory=80_000_000)
    try:
        groups = [placement_group([{"CPU": 1, "GPU": slots.gpus}]) for _ in range(fitting + 1)]
        ends = time.monotonic() + 60
        while sum(group.wait(0.1) for group in groups) < fitting and time.monotonic() < ends:
            pass
        assert sum(group.wait(1) for group in groups) == fitting
    finally:
        ray.shutdown()
