"""What `analysis` relies on in other libraries without a documented guarantee.

If a test fails after an update, the library changed the symbol or file format that the test names; the test's docstring
says which module of `analysis` uses it. W&B's CSV export (`analysis/readers/wandb_csv.py`) cannot be tested here: its
columns come from W&B's web page. tests/analysis/readers/test_tune_real.py reads an experiment of a real Ray Tune run,
and tests/analysis/report/test_browser.py covers the parts of plotly.js.
"""

import base64
import importlib
import inspect
import io
import json
import math
import re
import sqlite3
from types import SimpleNamespace

import numpy as np
import optuna
import plotly.graph_objects as go
import pytest
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from analysis.early_stopping.replay import AshaRungs
from analysis.figures.style import INK, new_figure, styled
from analysis.readers import optuna_files, ray_tune, ray_tune_files


@pytest.fixture
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@pytest.mark.parametrize("evaluator", [FanovaImportanceEvaluator(seed=0), PedAnovaImportanceEvaluator()])
def test_optuna_evaluate(evaluator, quiet_optuna):
    """``BaseImportanceEvaluator.evaluate(study, params, *, target)``: "not meant to be called by library users".

    Used in analysis/stats/optuna_importance.py. Returns an importance, not normalised, for each of ``params``; repeated
    trials are allowed.
    """
    parameters = inspect.signature(evaluator.evaluate).parameters
    assert list(parameters)[:2] == ["study", "params"]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + 0 * trial.suggest_float("y", 0, 1), 20)
    study.add_trials(study.trials)
    found = evaluator.evaluate(study, params=["x", "y"])
    assert set(found) == {"x", "y"}
    assert found["x"] > found["y"] >= 0


def test_optuna_sqlite_schema(tmp_path, quiet_optuna):
    """Tables and columns of Optuna's RDBStorage, and how it stores infinite and missing values.

    Used in analysis/readers/optuna_files.py, which reads the file with sqlite3 because RDBStorage is 26 times slower.
    """
    file = tmp_path / "optuna.db"
    study = optuna.create_study(storage=f"sqlite:///{file}", study_name="s", direction="minimize")
    trial = study.ask({"act": optuna.distributions.CategoricalDistribution(["relu", "gelu"])})
    trial.set_user_attr("epochs", 3)
    for step, value in enumerate([0.5, math.inf, -math.inf, math.nan]):
        trial.report(value, step)
    study.tell(trial, math.inf)
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT study_name, study_id FROM studies").fetchall() == [("s", 1)]
        assert database.execute("SELECT direction, study_id FROM study_directions").fetchall() == [("MINIMIZE", 1)]
        columns = "trial_id, number, study_id, state, datetime_start, datetime_complete"
        row = database.execute(f"SELECT {columns} FROM trials").fetchone()
        assert row[:4] == (1, 0, 1, "COMPLETE")
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", date) for date in row[4:])
        columns = "trial_id, param_name, param_value, distribution_json"
        key, name, value, distribution = database.execute(f"SELECT {columns} FROM trial_params").fetchone()
        parsed = optuna.distributions.json_to_distribution(distribution)
        assert (key, name, parsed.to_external_repr(value)) == (1, "act", trial.params["act"])
        columns = 'trial_id, "key", value_json'
        assert database.execute(f"SELECT {columns} FROM trial_user_attributes").fetchall() == [(1, "epochs", "3")]
        columns = "trial_id, value, value_type"
        assert database.execute(f"SELECT {columns} FROM trial_values").fetchall() == [(1, None, "INF_POS")]
        columns = "step, intermediate_value, intermediate_value_type"
        rows = database.execute(f"SELECT {columns} FROM trial_intermediate_values ORDER BY step").fetchall()
        assert rows == [(0, 0.5, "FINITE"), (1, None, "INF_POS"), (2, None, "INF_NEG"), (3, None, "NAN")]
    assert set(optuna_files.INFINITE_VALUES) == {"INF_POS", "INF_NEG"}
    database.close()


def test_optuna_journal_format(tmp_path, quiet_optuna):
    """The journal file has one JSON object per line, and the first line begins with ``optuna_files.JOURNAL``.

    Used in analysis/readers/optuna_files.py, whose BaseJournalBackend implements read_logs(log_number_from) and
    append_logs(logs).
    """
    file = tmp_path / "journal"
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    optuna.create_study(storage=storage, study_name="s")
    lines = file.read_bytes().split(b"\n")
    assert lines[0].startswith(optuna_files.JOURNAL)
    assert all(isinstance(json.loads(line), dict) for line in lines[:-1])
    assert BaseJournalBackend.__abstractmethods__ == {"read_logs", "append_logs"}
    assert list(inspect.signature(BaseJournalBackend.read_logs).parameters) == ["self", "log_number_from"]


def test_ray_tune_file_names_and_result_keys():
    """Names of the files and of Tune's own keys in results: ``ray.tune.result`` and ``TuneController``.

    Used in analysis/readers/ray_tune.py and ray_tune_files.py, which read experiments without Ray.
    """
    result = importlib.import_module("ray.tune.result")
    from ray.tune.execution.tune_controller import TuneController

    names = (result.EXPR_PARAM_FILE, result.EXPR_RESULT_FILE, result.EXPR_PROGRESS_FILE, result.EXPR_ERROR_FILE)
    assert names == ray_tune_files.TRIAL_FILES
    assert TuneController.CKPT_FILE_TMPL.format("*") == ray_tune_files.STATES
    assert (result.TRAINING_ITERATION, result.TIME_THIS_ITER_S) == (ray_tune.ITERATION, ray_tune.DURATION)
    assert (result.DONE, result.HOSTNAME, result.TIMESTAMP, result.TRIAL_ID) == (
        "done", "hostname", "timestamp", "trial_id",
    )  # fmt: skip


def test_ray_tune_trial_state():
    """``Trial.get_json_state() -> (state, run metadata)``: the JSON that an experiment state has for each trial.

    Used in analysis/readers/ray_tune_files.py: the keys relative_logdir, status, stopping_criterion, config, trial_id
    and experiment_tag of the state, and start_time and last_result of the metadata.
    """
    trial_module = importlib.import_module("ray.tune.experiment.trial")
    trial = trial_module.Trial("f", stub=True, config={"x": 1}, stopping_criterion={"val_acc": 0.9})
    state, metadata = map(json.loads, trial.get_json_state())
    assert {"relative_logdir", "status", "stopping_criterion", "config", "trial_id", "experiment_tag"} <= set(state)
    assert (state["config"], state["stopping_criterion"]) == ({"x": 1}, {"val_acc": 0.9})
    assert {"start_time", "last_result"} <= set(metadata)
    assert (trial.TERMINATED, trial.ERROR) == (ray_tune.TERMINATED, ray_tune.ERRORED)


def test_ray_tune_error_file():
    """``Trial.handle_error`` starts each failure in error.txt with "Failure # ".

    Used in analysis/readers/ray_tune_files.py to find the last failure.
    """
    trial_module = importlib.import_module("ray.tune.experiment.trial")
    assert '"Failure # {} (occurred at {})\\n"' in inspect.getsource(trial_module.Trial.handle_error)


def test_ray_asha_decisions():
    """``async_hyperband._Bracket(min_t, max_t, reduction_factor, s).on_result(trial, cur_iter, cur_rew)``.

    analysis/early_stopping/replay.py replays its decisions: a percentile of the earlier results at the same rung.
    """
    hyperband = importlib.import_module("ray.tune.schedulers.async_hyperband")
    replayed, bracket = AshaRungs([1, 3], 3), hyperband._Bracket(1, 9, 3, 0)
    values = np.random.default_rng(0).random((200, 3)).cumsum(axis=1)
    stops = 0
    for i, curve in enumerate(values):
        for epoch, value in enumerate(curve, start=1):
            stop = bracket.on_result(SimpleNamespace(trial_id=str(i)), epoch, value) == "STOP"
            assert replayed.should_stop(epoch, value) == stop
            stops += stop
            if stop:
                break
    assert 0 < stops < 200


def test_matplotlib_svg_text():
    """The text of matplotlib's SVG files.

    analysis/figures/style.py edits it with regular expressions: width and height in points before viewBox, a metadata
    element, ids that are used as url(#id) and href="#id", and colours written as they were given.
    """

    @styled
    def draw():
        figure = new_figure()
        figure.add_subplot().plot([1, 2], label="line")
        return figure

    buffer = io.StringIO()
    draw().savefig(buffer, format="svg")
    svg = buffer.getvalue()
    assert re.search(r'<svg [^>]*?\bheight="[\d.]+pt"', svg)
    assert re.search(r'<svg [^>]*?\bwidth="[\d.]+pt"', svg)
    assert "viewBox" in svg
    assert "<metadata>" in svg
    assert re.search(r"url\(#\w+\)", svg)
    assert re.search(r'href="#\w+"', svg)
    assert INK in svg


def test_plotly_json_of_float32_arrays():
    """``Figure.to_json`` writes a float32 array as {"dtype": "f4", "bdata": base64}.

    analysis/report/page.js decodes it to count the selected trials.
    """
    values = np.array([0.25, 1.5], dtype=np.float32)
    trace = json.loads(go.Figure(go.Parcoords(dimensions=[{"values": values}])).to_json())["data"][0]
    array = trace["dimensions"][0]["values"]
    assert array["dtype"] == "f4"
    assert np.frombuffer(base64.b64decode(array["bdata"]), dtype="<f4").tolist() == [0.25, 1.5]
