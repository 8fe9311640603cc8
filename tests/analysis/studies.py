"""Studies made from arrays, whose true effects are known."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparable import ACCURACY, Sample
from analysis.schema import EARLIER_HISTORY_COLUMNS, HISTORY_CSV, STUDY_JSON, TRIALS_CSV
from analysis.study import StudyData
from tests.paths import ROOT

CURVES = ROOT / "benchmarks" / "data" / "digits16_curves.csv"


def study_of(params: list[dict[str, Any]], curves: list[list[float]], states: list[str] | None = None, **config: int):
    """One trial per curve of validation accuracies; trials are created 1 s apart, and an epoch takes 2 s."""
    ids = [f"t{i:04d}" for i in range(len(curves))]
    trials = pd.DataFrame(
        {
            "trial_id": ids,
            "name": ids,
            "state": states or ["completed"] * len(ids),
            **pd.DataFrame(params).to_dict("series"),
            "best_val_acc": [np.nanmax(c) if len(c) and not np.isnan(c).all() else np.nan for c in curves],
            "epochs": [len(c) for c in curves],
            "seconds": [2.0 * len(c) for c in curves],
            "created": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(range(len(ids)), unit="s"),
            "node": "a",
            "error": "",
        }
    )
    rows = [(i, e, 0.0, 0.0, 1 - a, a, 2.0) for i, c in zip(ids, curves, strict=True) for e, a in enumerate(c, start=1)]
    history = pd.DataFrame(rows, columns=EARLIER_HISTORY_COLUMNS).astype(
        dict.fromkeys(EARLIER_HISTORY_COLUMNS[2:], float)
    )
    return StudyData(trials, history, {"config": config}, list(pd.DataFrame(params)))


def sample_of(accuracy: Any, **columns: Any) -> Sample:
    trials = pd.DataFrame({**columns, ACCURACY: np.asarray(accuracy, dtype=float)})
    return Sample(trials, list(columns), 3, len(trials))


def confounded(n: int, seed: int, effect: float = 0.1) -> Sample:
    """``good`` raises the accuracy by ``effect``; ``rider`` has no effect but correlates with it; ``idle`` has none."""
    rng = np.random.default_rng(seed)
    good = rng.random(n) < 0.5
    rider = np.where(rng.random(n) < 0.85, good, ~good)
    accuracy = 0.5 + effect * good + rng.normal(scale=0.05, size=n)
    return sample_of(accuracy, good=good, rider=rider, idle=rng.choice(["a", "b", "c"], n))


def factorial() -> pd.DataFrame:
    """The 648 networks with recorded curves: six hyperparameters, then the best accuracy up to each epoch."""
    table = pd.read_csv(CURVES)
    best = table[[str(e) for e in range(1, 28)]].ffill(axis=1).cummax(axis=1)
    return pd.concat([table.iloc[:, :6], best], axis=1)


def known_study(rows: pd.DataFrame, epochs: int = 9) -> StudyData:
    """A study that trained the networks ``rows`` of ``factorial`` for ``epochs`` epochs each."""
    params = rows.iloc[:, :6].to_dict("records")
    return study_of(params, rows[[str(e) for e in range(1, epochs + 1)]].to_numpy().tolist())


def grid(**values: list[Any]) -> dict[str, list[Any]]:
    """All combinations of the values, as columns."""
    return dict(zip(values, map(list, zip(*itertools.product(*values.values()), strict=True)), strict=True))


def early_stopped_study(trials: int = 60) -> StudyData:
    """Some networks of ``factorial``; every second one was stopped at the first rung, after 3 of 9 epochs."""
    study = known_study(factorial().sample(trials, random_state=3))
    table, history = study.trials.copy(), study.history
    stopped = table.index[np.arange(len(table)) % 2 == 1]
    table.loc[stopped, ["state", "epochs", "seconds"]] = ["stopped", 3, 6.0]
    history = history[~(history["trial_id"].isin(table.loc[stopped, "trial_id"]) & history["epoch"].gt(3))]
    table["best_val_acc"] = table["trial_id"].map(history.groupby("trial_id")["val_acc"].max())
    info = {"config": {"grace_period": 3, "reduction_factor": 3, "max_epochs": 9}}
    return replace(study, trials=table, history=history, info=info)


def write_study_dir(study: StudyData, directory: Path) -> Path:
    """Write the study as a study directory."""
    directory.mkdir(parents=True)
    created = study.trials["created"].map(lambda time: time.isoformat())
    trials = study.trials.assign(created=created, trainable_parameters=1000)
    trials.to_csv(directory / TRIALS_CSV, index=False)
    study.history.to_csv(directory / HISTORY_CSV, index=False)
    (directory / STUDY_JSON).write_text(json.dumps(study.info))
    return directory
