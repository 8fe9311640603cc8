import inspect
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import ray.tune
from ray._private import services

from inat.config.search import SearchConfig
from inat.errors import ConfigError, SearchError
from inat.tuning.ray_backend import private_session, session
from inat.tuning.ray_backend.session import private_nodes, ray_session
from inat.tuning.ray_backend.slots import Node

NOBODY = "127.0.0.1:1"  # where nothing listens


@pytest.fixture
def search_for_ray(monkeypatch):
    """Joining as `--address auto` does; Ray itself, which would try for minutes, must not be reached."""

    def init(**options):
        pytest.fail(f"ray.init({options})")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def join():
        with ray_session(SearchConfig(address="auto")):
            pass

    return join


def test_a_cluster_whose_head_has_died_is_told_at_once(search_for_ray, monkeypatch):
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: NOBODY)  # left by `ray start`
    with pytest.raises(SearchError, match=r"no Ray cluster answers at --address auto \(.*Connection refused"):
        search_for_ray()


def test_so_is_one_that_the_environment_names(search_for_ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", NOBODY)
    with pytest.raises(SearchError, match="no Ray cluster answers at --address auto"):
        search_for_ray()


def test_a_client_address_is_refused_wherever_it_stands(search_for_ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(ConfigError, match="ray://127.0.0.1:10001 is a Ray client address"):
        search_for_ray()


def test_a_machine_without_any_cluster_is_told(search_for_ray, monkeypatch):
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: None)
    with pytest.raises(SearchError, match="Could not find any running Ray instance"):
        search_for_ray()


def test_a_private_session_gets_the_cores_of_this_process_and_a_folder_of_its_own(monkeypatch):
    given = {}
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    monkeypatch.setattr(private_session, "usable_cores", lambda: 3)
    with ray_session(SearchConfig()):
        assert given["num_cpus"] == 3
        folder = Path(given["_temp_dir"]).parent
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_session_that_does_not_start_leaves_nothing_and_says_why(monkeypatch):
    folders = []

    def fail(**options):
        folders.append(Path(options["_temp_dir"]).parent)
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(SearchError, match="Ray cannot start on this machine .The current node timed out"):
        with ray_session(SearchConfig()):
            pass
    assert not folders[0].exists()


def test_the_node_of_a_private_session_has_the_memory_of_this_process(monkeypatch):
    monkeypatch.setattr(session, "nodes", lambda: [Node(4, 0, "here")])
    monkeypatch.setattr(session, "usable_memory", lambda: 5_000_000_000)
    assert private_nodes() == [Node(4, 0, "here", memory=5_000_000_000)]


def test_variables_that_make_tune_raise_are_ignored(monkeypatch):
    monkeypatch.setattr(session, "private_ray", lambda level: nullcontext())
    for name in ("TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR", "RAY_TUNE_CALLBACKS", "TUNE_STATE_REFRESH_PERIOD"):
        monkeypatch.setenv(name, "/tmp/x")
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "3")
    with ray_session(SearchConfig()):
        _report_deprecated()
        assert "RAY_TUNE_CALLBACKS" not in os.environ
        assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == "3"  # the user's value for what inat sets itself


def _report_deprecated() -> None:
    """What Tune does at its start: raise for the names that it no longer reads."""
    for name in re.findall(
        r'environ.get\("(\w+)"\):\n\s+raise DeprecationWarning', inspect.getsource(sys.modules["ray.tune.tune"])
    ):
        assert name not in os.environ


@pytest.mark.parametrize(("terminal", "coloured"), [(True, True), (False, False)])
def test_lines_of_workers_have_no_colours_in_a_pipe(terminal, coloured, monkeypatch):
    stream = SimpleNamespace(isatty=lambda: terminal)
    monkeypatch.setattr(session.sys, "stdout", stream)
    monkeypatch.setattr(session.sys, "stderr", stream)
    assert ("RAY_COLOR_PREFIX" not in session.environment()) == coloured
