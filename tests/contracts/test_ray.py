"""Each symbol and phrase of Ray that is private or undocumented and that inat relies on (inat/tuning/ray_backend).

A failure here says what a new version of Ray has moved, and which module has to follow.
"""

import ast
import inspect
from datetime import datetime
from pathlib import Path

import pytest
import ray
from ray._private import accelerators, ray_constants, services, state
from ray._raylet import AuthenticationTokenLoader, Config
from ray.tune import PlacementGroupFactory
from ray.tune.execution import experiment_state
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Experiment, Trial
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search.search_algorithm import SearchAlgorithm

from inat.tuning.ray_backend import error_texts, tokens
from inat.tuning.ray_backend.private_session import LOOPBACK_SWITCH, PREFIX_SWITCH
from inat.tuning.ray_backend.session import ENVIRONMENT
from inat.tuning.ray_backend.temporary_directory import SOCKET
from inat.tuning.ray_backend.worker_lines import HANDLER
from tests.paths import ROOT

RAY = Path(ray.__file__).parent


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def source_of(*folders: str) -> str:
    files = [path for folder in folders for path in sorted((RAY / folder).rglob("*.py"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_the_switch_that_keeps_a_private_session_on_the_loopback_device():
    # private_session.private_ray sets it to False before ray.init, which reads it from the module at that moment.
    assert isinstance(ray_constants.ENABLE_RAY_CLUSTER, bool), "private_session.private_ray: it has moved"
    assert LOOPBACK_SWITCH in inspect.getsource(ray_constants)
    assert "ENABLE_RAY_CLUSTER" in inspect.getsource(services)


def test_the_switch_of_the_prefix_of_what_workers_print():
    # private_session.private_ray sets it before ray.init, which reads it from the module at that moment.
    assert isinstance(ray_constants.RAY_DISABLE_WORKER_LOG_PREFIX, bool), "private_session.private_ray: it has moved"
    assert "ray_constants.RAY_DISABLE_WORKER_LOG_PREFIX" in inspect.getsource(ray._private.worker)
    assert PREFIX_SWITCH in inspect.getsource(ray_constants)
    assert f'add_handler(\n                "{HANDLER}"' in inspect.getsource(ray._private.worker), (
        "worker_lines: it has moved"
    )


def test_the_token_that_ray_keeps_can_be_read_again():
    # tokens.read_environment_again; Ray reads the variables when it is imported, before the session has its token.
    assert callable(AuthenticationTokenLoader.instance().reset_cache), "tokens.read_environment_again"
    Config.initialize("")  # raises if it wants another argument
    assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} == {tokens.MODE, tokens.TOKEN, tokens.TOKEN_PATH}


def test_the_folder_of_a_session_can_be_chosen():
    assert 'kwargs.pop("_temp_dir"' in inspect.getsource(inspect.unwrap(ray.init)), "private_session.private_ray"


def test_the_address_that_auto_stands_for():
    # session._locate calls it with ("auto", None); it returns host:port, or raises ConnectionError if there is none.
    assert parameters(services.get_ray_address_from_environment) == ["addr", "temp_dir"], "session._locate"


def test_the_free_resources_of_each_node():
    # session.free_resources calls it without arguments; it returns {node id: {"CPU": 1.0, ...}}.
    assert parameters(state.available_resources_per_node) == [], "session.free_resources"


def private_imports(path: Path) -> set[str]:
    """Modules and names with a leading underscore that a file imports from a library."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    libraries = {"ray", "optuna", "pytorch_lightning", "torch", "torchvision"}
    return {name for name in found if name.split(".")[0] in libraries and "._" in name}


def test_only_the_ray_backend_imports_private_names_of_libraries():
    files = [path for folder in ("inat", "analysis") for path in (ROOT / folder).rglob("*.py")]
    importing = {str(path.relative_to(ROOT)): names for path in files if (names := private_imports(path))}
    folder = "inat/tuning/ray_backend"
    assert importing.keys() == {
        f"{folder}/{name}.py" for name in ("session", "private_session", "tokens", "local_gpus", "worker_lines")
    }, importing


def test_what_a_trial_of_tune_is_made_of():
    # trials.StudyTrials.next_trial makes trials; placement_group_factory must reach the controller as the same object.
    needed = {"trainable_name", "config", "trial_id", "storage", "evaluated_params", "experiment_tag",
              "placement_group_factory", "checkpoint_config", "trial_dirname_creator", "max_failures"}  # fmt: skip
    assert needed <= set(parameters(Trial.__init__)), "trials.StudyTrials.next_trial, retries.StudyTrial"


def test_the_settings_of_an_experiment(tmp_path):
    # trials.StudyTrials.next_trial reads these four.
    spec = Experiment("any", lambda config: None, config={"x": 1}, storage_path=str(tmp_path)).spec
    assert {"run", "config", "storage", "checkpoint_config"} <= spec.keys(), "trials.StudyTrials.next_trial"


def test_how_tune_handles_the_failure_of_a_trial():
    # retries.StudyTrial overrides both; handle_error adds 1 to run_metadata.num_failures, should_recover reads it.
    assert parameters(Trial.handle_error) == ["exc"], "retries.StudyTrial.handle_error"
    assert parameters(Trial.should_recover) == [], "retries.StudyTrial.should_recover"
    assert "self.run_metadata.num_failures" in inspect.getsource(Trial.should_recover)
    source = inspect.getsource(TuneController)
    assert "trial.handle_error(" in source
    assert "trial.should_recover()" in source


def test_where_the_process_of_a_trial_is():
    # hang_monitor.HangMonitor kills the actor that it finds there.
    trial = Trial("any", stub=True)
    assert trial.temporary_state.ray_actor is None, "hang_monitor.HangMonitor.on_step_end"
    assert "temporary_state.ray_actor" in inspect.getsource(Trial) + source_of("tune/execution")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("add_configurations", ["experiments"]),
        ("next_trial", []),
        ("is_finished", []),
        ("set_finished", []),
        ("on_trial_complete", ["trial_id", "result", "error"]),
    ],
)
def test_what_tune_calls_on_a_search_algorithm(method, expected):
    # trials.StudyTrials implements them; set_finished comes from the base class.
    assert parameters(getattr(SearchAlgorithm, method)) == expected, f"trials.StudyTrials.{method}"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("on_trial_add", ["tune_controller", "trial"]),
        ("on_trial_result", ["tune_controller", "trial", "result"]),
        ("on_trial_complete", ["tune_controller", "trial", "result"]),
        ("on_trial_remove", ["tune_controller", "trial"]),
        ("choose_trial_to_run", ["tune_controller"]),
    ],
)
def test_what_tune_calls_on_a_scheduler(method, expected):
    # asha.StudyASHA.replay calls the first four without a controller, with a trial that has only its id.
    assert parameters(getattr(AsyncHyperBandScheduler, method)) == expected, f"asha.StudyASHA: {method}"
    if method != "choose_trial_to_run":
        body = inspect.getsource(getattr(AsyncHyperBandScheduler, method)).partition(":\n")[2]
        assert "tune_controller." not in body, f"asha.StudyASHA.replay has no controller for {method}"


def test_how_asha_finds_trials_that_wait_for_a_process():
    # asha.StudyASHA.choose_trial_to_run asks for them by this name.
    assert parameters(TuneController.get_live_trials) == [], "asha.StudyASHA.choose_trial_to_run"


def test_how_tune_asks_for_the_place_of_a_trial():
    # placement.UsableNodes overrides to_placement_group and reads bundles and strategy.
    factory = PlacementGroupFactory([{"CPU": 1.0}])
    assert parameters(factory.to_placement_group) == [], "placement.UsableNodes.to_placement_group"
    assert (factory.bundles, factory.strategy) == ([{"CPU": 1.0}], "PACK"), "placement.UsableNodes"
    assert isinstance(factory.__getstate__(), dict), "placement.UsableNodes.__getstate__"


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name.startswith(("RAY_", "TUNE_"))])
def test_variables_of_the_environment_that_ray_reads(name):
    # session.ENVIRONMENT: a variable that Ray no longer reads silences, or moves, nothing any more.
    text = source_of("tune", "train", "air", "_private", "_common")
    short = name.removeprefix("RAY_")
    assert name in text or short in text, f"session.ENVIRONMENT: Ray no longer reads {name}"


def test_the_phrases_for_the_death_of_a_node():
    # error_texts.is_node_failure looks for them; the C++ part of Ray writes them.
    binaries = b"".join(
        (RAY / "core" / "src" / "ray" / name).read_bytes() for name in ("gcs/gcs_server", "raylet/raylet")
    )
    binaries += b"".join(path.read_bytes() for path in RAY.glob("_raylet*.so"))
    found = [phrase for phrase in error_texts.NODE_DEATHS if phrase.encode() in binaries]
    assert {"node has died", "NODE_DIED"} <= set(found), f"error_texts.NODE_DEATHS: Ray only writes {found}"


@pytest.mark.parametrize("name", ["NodeDiedError", "ActorUnavailableError", "LocalRayletDiedError"])
def test_the_exceptions_of_a_node_failure(name):
    # error_texts.is_node_failure finds them at the beginning of a line of a traceback.
    assert issubclass(getattr(ray.exceptions, name), ray.exceptions.RayError), f"error_texts: {name} has moved"


def test_the_phrases_for_an_unavailable_actor_and_a_dead_process():
    # error_texts.is_node_failure and error_texts.is_process_death match the beginnings of these texts.
    unavailable = str(ray.exceptions.ActorUnavailableError("RpcError", None))
    assert error_texts.is_node_failure(unavailable), f"error_texts.is_node_failure: {unavailable}"
    assert str(ray.exceptions.ActorDiedError()).startswith("The actor died"), "error_texts.is_process_death"
    assert str(ray.exceptions.LocalRayletDiedError()).startswith("The task's local raylet died"), (
        "error_texts.is_process_death"
    )


def test_the_line_about_trials_that_did_not_complete():
    # session._is_news drops it: each failed trial has printed its own line.
    assert "Trials did not complete" in source_of("tune"), "session._is_news"


def test_where_a_session_puts_its_sockets():
    # temporary_directory.SOCKET is the longest path that Ray makes below the folder that ray.init(_temp_dir=...) gets.
    assert "_temp_dir" in inspect.getsource(ray.init), "session._start_private: _temp_dir"
    text = source_of("_private")
    for part in ('f"session_{', '"%Y-%m-%d_%H-%M-%S_%f"', '"sockets"', '"plasma_store"'):
        assert part in text, f"temporary_directory.SOCKET: {part}"
    assert datetime(2026, 11, 29, 12, 55, 55, 132123).strftime("%Y-%m-%d_%H-%M-%S_%f") in SOCKET


def test_who_tells_that_a_snapshot_could_not_be_written():
    # session.ray_session silences it.
    assert "Saving experiment state to storage" in inspect.getsource(experiment_state), "session.ray_session"
    assert experiment_state.logger.name == "ray.tune.execution.experiment_state", "session.ray_session"


def test_the_rungs_of_a_scheduler_can_be_replaced():
    # asha.StudyASHA with folds; Ray's own rungs are powers of the factor, in descending order, each with its records.
    (bracket,) = AsyncHyperBandScheduler(metric="m", mode="max", max_t=9, grace_period=1)._brackets
    assert [rung for rung, _ in bracket._rungs] == sorted((rung for rung, _ in bracket._rungs), reverse=True)
    bracket._rungs = [(5, {}), (2, {})]
    trials = [Trial("t", stub=True) for _ in range(2)]
    assert [bracket.on_result(trial, 5, value) for trial, value in zip(trials, (1.0, 0.0), strict=True)] == [
        "CONTINUE", "STOP",
    ]  # fmt: skip


def test_the_gpus_that_ray_finds_can_be_counted_before_it_starts():
    # local_gpus.ray_gpus asks as ResourceAndLabelSpec does when Ray starts.
    manager = accelerators.get_accelerator_manager_for_resource("GPU")
    assert manager.get_current_node_num_accelerators() >= 0
    assert isinstance(manager.get_current_process_visible_accelerator_ids(), list | None)
