import pytest

from inat.config.search import SearchConfig
from inat.gpus import Gpu, Survey
from inat.tuning import gpu_sharing
from inat.tuning.demand import Demand, SpaceDemand
from inat.tuning.gpu_sharing import busy_share, choose_sharing, sharing
from inat.tuning.ray_backend.slots import Node, plan_slots

H100 = Gpu("NVIDIA H100", (9, 0), 80 * 10**9, 79 * 10**9, 132)
T4 = Gpu("Tesla T4", (7, 5), 16 * 10**9, 15 * 10**9, 40)
SMALL = Demand(parameters=10**5, image_bytes=10**5, operations=10**7, calls=20, images=64)
LARGE = Demand(parameters=2 * 10**7, image_bytes=10**8, operations=10**10, calls=200, images=128)
SEARCH = SearchConfig(data="digits")


@pytest.fixture
def machine(monkeypatch):
    """A machine with these GPUs, and a space of these networks."""

    def make(*gpus: Gpu, networks: tuple[Demand, ...] = (SMALL,), pictures: int = 10**8, **facts) -> None:
        monkeypatch.setattr(gpu_sharing, "survey_here", lambda: Survey(gpus, **facts))
        monkeypatch.setattr(gpu_sharing, "in_new_process", lambda *_: SpaceDemand(networks, pictures))

    return make


def test_small_networks_share_a_gpu_and_the_line_says_why_and_how_to_change_it(machine):
    machine(H100)
    chosen = choose_sharing(SEARCH, [Node(32, 1)], 100)
    assert chosen.trials == 4
    assert chosen.line == (
        "4 share each GPU, as one keeps it busy for about 1% of its time and needs up to 11.6 MB of its memory; "
        "--gpus-per-trial 1 gives each a whole one; start NVIDIA MPS before the search (`nvidia-cuda-mps-control -d`) "
        "to let their kernels run side by side"
    )
    assert plan_slots([Node(32, 1)], SEARCH, chosen.share).count == 4
    machine(H100, mps=True)
    assert choose_sharing(SEARCH, [Node(32, 1)], 100).line.endswith("--gpus-per-trial 1 gives each a whole one")


def test_networks_that_fill_the_gpu_have_it_alone(machine):
    machine(H100, networks=(LARGE,))
    chosen = choose_sharing(SEARCH, [Node(32, 1)], 100)
    assert (chosen.trials, chosen.share) == (1, 1.0)
    assert chosen.line.startswith("each has a GPU alone: one keeps it busy for about 100% of its time")


def test_one_network_that_needs_the_gpu_alone_gets_it(machine):
    wide = Demand(parameters=10**5, image_bytes=10**8, operations=10**7, calls=20, images=64)
    narrow = (SMALL,) * 50
    machine(H100, networks=(*narrow, wide))
    assert choose_sharing(SEARCH, [Node(32, 1)], 100).trials == 4  # 9.6 GB of 79 GB
    machine(T4, networks=(*narrow, wide))
    assert choose_sharing(SEARCH, [Node(32, 1)], 100).trials == 1  # of 15 GB


@pytest.mark.parametrize(("pictures", "trials"), [(10**8, 4), (5 * 10**9, 2), (10**12, 4)])
def test_images_on_the_gpu_count_if_they_fit_there_at_all(machine, pictures, trials):
    machine(T4, pictures=pictures)
    assert choose_sharing(SEARCH, [Node(32, 1)], 100).trials == trials


@pytest.mark.parametrize(
    ("nodes", "settings", "trials", "chosen"),
    [
        ([Node(4, 1)], {}, 100, 2),  # two cores for each trial
        ([Node(1, 1)], {}, 100, 1),
        ([Node(16, 1)], {"cpus_per_trial": 5}, 100, 3),
        ([Node(64, 8)], {}, 16, 2),  # Ray would fill four of the eight GPUs
        ([Node(64, 8)], {"max_concurrent": 8}, 100, 1),
        ([Node(64, 8), Node(4, 1)], {}, 100, 2),
        ([Node(32, 1)], {"gpus_per_trial": 1.0}, 100, 1),  # the user has chosen
        ([Node(32, 1)], {"gpus_per_trial": 0.5}, 100, 1),
        ([Node(32)], {}, 100, 1),
    ],
)
def test_cores_trials_and_the_user_limit_the_sharing(machine, nodes, settings, trials, chosen):
    machine(H100)
    assert choose_sharing(SearchConfig(data="digits", **settings), nodes, trials).trials == chosen


def test_a_driver_that_allows_one_process_on_a_gpu_needs_mps(machine):
    machine(H100, exclusive=True)
    chosen = choose_sharing(SEARCH, [Node(32, 1)], 100)
    assert chosen.trials == 1
    assert "the driver allows one process on it; start NVIDIA MPS" in chosen.line
    machine(H100, exclusive=True, mps=True)
    assert choose_sharing(SEARCH, [Node(32, 1)], 100).trials == 4


def test_the_weakest_gpu_decides():
    demand = SpaceDemand((SMALL,), 5 * 10**9)
    assert sharing([Survey((H100,)), Survey((T4,))], demand, 4).trials == 2
    assert sharing([Survey((H100, H100))], demand, 4).trials == 4


def test_a_search_starts_without_a_prediction(machine, monkeypatch):
    machine(H100)

    def fail(*_):
        raise MemoryError("too large")

    monkeypatch.setattr(gpu_sharing, "in_new_process", fail)
    chosen = choose_sharing(SEARCH, [Node(32, 1)], 100)
    assert chosen.trials == 1
    assert chosen.line == "each has a GPU alone, as its demand is not known (MemoryError: too large)"
    machine()  # of Apple
    assert choose_sharing(SEARCH, [Node(8, 1)], 100).line == ""


def test_a_gpu_is_busier_with_larger_networks_and_if_it_is_slower():
    shares = [busy_share([network], gpu) for gpu in (H100, T4) for network in (SMALL, LARGE)]
    assert 0 < shares[0] < shares[2] < 1 == shares[1] == shares[3]
    assert shares[0] < busy_share([SMALL, LARGE], H100) < 1
