import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl

from analysis.terminal import PlainConsole
from inat import SearchConfig, search
from inat.api.run import Seams, run
from inat.caller import is_python
from inat.errors import ConfigError, InatError
from inat.tuning import command
from inat.tuning.own_objective import name_of
from inat.tuning.worker import own_callbacks
from inat.tuning.worker.trainable import run_trial

CONFIG = SearchConfig(data="digits")


class Count(pl.Callback):
    epochs = 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1


@pytest.fixture
def searched(monkeypatch) -> list:
    """The calls of the search, which prints."""
    found = []

    def search_and_report(config, **options):
        PlainConsole().print("a line")
        found.append(options | {"python": is_python()})
        return Path("results/study")

    monkeypatch.setattr(command, "search_and_report", search_and_report)
    return found


def test_the_kinds_of_callbacks_go_where_they_belong(searched):
    search(CONFIG, callbacks=[print, Count()])
    assert searched[0]["callbacks"] == (print,)
    objective = searched[0]["objective"]
    assert objective.func is run_trial
    first, second = (own_callbacks.load(objective.keywords["own_callbacks"]) for _ in range(2))
    assert [type(callback) for callback in first] == [Count]
    assert first[0] is not second[0]


def test_without_callbacks_the_search_is_that_of_the_command(searched, capsys):
    search(CONFIG)
    assert searched[0]["objective"] is run_trial
    assert (searched[0]["callbacks"], searched[0]["planned_from"], searched[0]["python"]) == ((), None, True)
    assert capsys.readouterr().out == "a line\n"
    assert not is_python()


def test_quiet_searches_print_nothing(searched, capsys):
    search(CONFIG, verbose=False)
    assert capsys.readouterr().out == ""
    PlainConsole().print("afterwards")
    assert capsys.readouterr().out == "afterwards\n"


def test_an_objective_takes_the_place_of_the_training(searched):
    search(CONFIG, objective=max)
    assert name_of(searched[0]["objective"]) == "max"
    assert name_of(run_trial) == name_of(partial(run_trial, own_callbacks=b"x")) == ""


@pytest.mark.parametrize(
    ("options", "planned"),
    [({"time_budget": "30m"}, True), ({"time_budget": "30m", "max_epochs": 9}, False), ({}, False)],
)
def test_a_time_budget_alone_is_planned_as_on_the_command_line(searched, options, planned):
    search(SearchConfig(data="digits", **options))
    assert (searched[0]["planned_from"] is not None) == planned
    search(SearchConfig(data="digits", **options), objective=max)
    assert searched[1]["planned_from"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"callbacks": ["x"]}, "callbacks has 'x', which is neither a function of a trial nor a Callback"),
     ({"objective": 0.5}, "objective must be a function of the trial's parameters, got 0.5"),
     ({"objective": max, "callbacks": [Count()]}, "callbacks of Lightning have no Trainer in an objective")],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_anything_runs(searched, arguments, message):
    with pytest.raises(ConfigError) as error:
        search(CONFIG, **arguments)
    assert str(error.value).startswith(message)
    assert searched == []


def test_a_callback_that_cannot_be_pickled_is_refused():
    callback = Count()
    callback.lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"a Lightning callback cannot be pickled for the trials \(TypeError: .*lock"):
        Seams.of(None, [callback])


def test_a_running_session_of_ray_is_refused(searched, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with pytest.raises(ConfigError, match=r"Ray runs in this process already.*call ray.shutdown\(\)"):
        search(CONFIG)


def test_another_thread_is_refused(searched):
    errors = []

    def call():
        try:
            search(CONFIG)
        except ConfigError as error:
            errors.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert errors == ["a search handles Ctrl-C, which only the main thread may; call it there"]


def test_errors_of_the_system_are_errors_of_the_program(monkeypatch):
    def refuse(config, **_):
        raise PermissionError(13, "Permission denied", "/data")

    monkeypatch.setattr(command, "search_and_report", refuse)
    with pytest.raises(InatError, match=r"/data cannot be used \(Permission denied\)"):
        run(CONFIG, Seams(), verbose=False)
