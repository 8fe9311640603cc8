import pytest
import ray
from ray._private import accelerators

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.gpus import Gpu, Survey
from inat.tuning import launch
from inat.tuning.ray_backend import local_gpus
from inat.tuning.ray_backend.local_gpus import check_gpus_here, in_new_process, missed_gpus, ray_gpus

OLD = "torch cannot use the GPU of this machine; update the driver"
GPU = Gpu("NVIDIA Test", (9, 0), 80 * 10**9, 79 * 10**9, 132)


@pytest.fixture
def machine(monkeypatch):
    """A machine as Ray, its files and torch see it."""

    def make(found_by_ray: int, files: bool, torch_says: Survey) -> None:
        monkeypatch.setattr(local_gpus, "ray_gpus", lambda: found_by_ray)
        monkeypatch.setattr(local_gpus, "may_have_gpu", lambda: files)
        monkeypatch.setattr(local_gpus, "survey_here", lambda: torch_says)

    return make


@pytest.mark.parametrize(("found_by_ray", "files"), [(1, True), (0, True), (2, False)])
def test_a_gpu_that_torch_cannot_use_is_refused_before_the_search(machine, found_by_ray, files):
    machine(found_by_ray, files, Survey(problem=OLD))
    with pytest.raises(ConfigError, match=OLD):
        check_gpus_here(SearchConfig(data="digits"))
    with pytest.raises(ConfigError, match=OLD):
        check_gpus_here(SearchConfig(data="digits", gpus_per_trial=0.5))


@pytest.mark.parametrize("settings", [{"gpus_per_trial": 0.0}, {"address": "auto"}])
def test_it_may_be_there_if_trials_train_on_the_cpus_or_on_a_cluster(machine, settings):
    machine(1, True, Survey(problem=OLD))
    check_gpus_here(SearchConfig(data="digits", **settings))


@pytest.mark.parametrize("options", [{"mps": True}, {"exclusive": False}, {"preset": None}])
def test_a_race_needs_a_gpu_that_takes_two_processes(machine, options):
    """The process of the search, which measures the backbones, keeps its place on the GPU while trials run."""
    given = {"mps": False, "exclusive": True, "preset": "fast"} | options

    def check(mps: bool, exclusive: bool, preset: str | None) -> None:
        machine(1, True, Survey((GPU,), exclusive=exclusive, mps=mps))
        check_gpus_here(FinetuneConfig(data="digits", time_budget="5m" if preset else None, preset=preset))

    check(**given)
    with pytest.raises(ConfigError, match="compute mode allows one; start NVIDIA MPS"):
        check(mps=False, exclusive=True, preset="fast")


def test_a_machine_without_a_gpu_is_not_asked(machine, monkeypatch):
    machine(0, False, Survey(problem=OLD))
    check_gpus_here(SearchConfig(data="digits"))
    monkeypatch.setattr(local_gpus, "in_new_process", lambda *_: pytest.fail("torch was loaded for nothing"))
    assert missed_gpus() == 0


def test_a_share_of_a_gpu_needs_a_gpu(machine):
    machine(0, False, Survey())
    with pytest.raises(ConfigError, match=r"--gpus-per-trial 0.5: this machine has no GPU; leave the option out"):
        check_gpus_here(SearchConfig(data="digits", gpus_per_trial=0.5))
    check_gpus_here(SearchConfig(data="digits", gpus_per_trial=0.5, address="auto"))  # a node may have one


def test_the_command_says_so_in_one_sentence_and_starts_nothing(machine, monkeypatch, capsys, tmp_path):
    machine(1, True, Survey(problem=OLD))
    for plan in ([], ["--plan"]):
        monkeypatch.setattr("sys.argv", ["tune_scratch.py", "--data", "digits", "--storage-path", str(tmp_path), *plan])
        with pytest.raises(SystemExit):
            launch.run_search(SearchConfig, "")
        assert OLD in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_only_torch_finds_is_one_of_the_session(machine):
    machine(0, True, Survey(gpus=(GPU, GPU)))
    assert missed_gpus() == 2
    machine(0, True, Survey(apple=True))
    assert missed_gpus() == 1
    machine(2, True, Survey(gpus=(GPU, GPU)))
    assert missed_gpus() == 0  # Ray finds them itself


@pytest.mark.parametrize(
    ("installed", "visible", "count"), [(4, None, 4), (4, ["1", "2"], 2), (4, [], 0), (0, None, 0)]
)
def test_gpus_are_counted_as_ray_counts_them(monkeypatch, installed, visible, count):
    manager = accelerators.NvidiaGPUAcceleratorManager
    monkeypatch.setattr(accelerators, "get_accelerator_manager_for_resource", lambda name: manager)
    monkeypatch.setattr(manager, "get_current_node_num_accelerators", staticmethod(lambda: installed))
    monkeypatch.setattr(manager, "get_current_process_visible_accelerator_ids", staticmethod(lambda: visible))
    assert ray_gpus() == count


def test_another_process_is_asked():
    assert in_new_process(ray.is_initialized) is False
