"""Studies in which any value is missing: every command says what it can, and none ends in a traceback."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import __main__ as command
from analysis.claims.check import check_claims, left_out_takeaways, published_takeaways
from analysis.claims.grammar import parse
from analysis.comparable import best_trials, sample_at
from analysis.compare import comparison
from analysis.early_stopping.audit import audit_tables
from analysis.markdown import csv_text, markdown_table
from analysis.printing import as_markdown
from analysis.readers.frames import build_frames
from analysis.report.build import build
from analysis.report.write import write
from analysis.schema import TRIAL_COLUMNS_AFTER, TRIAL_COLUMNS_BEFORE
from analysis.study import StudyData, load_study
from tests.analysis.studies import study_of

COLUMNS = ["name", "state", "lr", "norm", "width", "kind", "best_val_acc", "trainable_parameters", "epochs",
           "seconds", "created", "node", "error"]  # fmt: skip
HISTORY = ["train_loss", "train_acc", "val_loss", "val_acc", "seconds"]
STATES = ["completed", "stopped", "failed", "running"]


def whole_study(count: int) -> StudyData:
    rng = np.random.default_rng(count)
    params = [
        {"lr": float(10.0 ** -(1 + i % 3)), "norm": bool(i % 2), "width": [32, 64, 128][i % 3], "kind": "ab"[i % 2]}
        for i in range(count)
    ]
    curves = rng.random((count, 4)).round(3).tolist()
    return study_of(
        params, [curve[: 1 + i % 4] for i, curve in enumerate(curves)], [STATES[i % 4] for i in range(count)]
    )


def with_gaps(study: StudyData, trials: list[tuple[int, str]], rows: list[tuple[int, str]]) -> StudyData:
    """The study without the values in these cells, in the types in which readers return it."""
    table, history = study.trials.astype(object), study.history.astype(object)
    for row, name in trials:
        if name in table and len(table):
            table.loc[table.index[row % len(table)], name] = None
    for row, name in rows:
        if len(history):
            history.loc[history.index[row % len(history)], name] = None
    between = [name for name in table if name not in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)]
    frames = build_frames(table, history, study.info, between, between)
    return replace(study, trials=frames.trials, history=frames.history)


def run_tables(study: StudyData) -> None:
    """Everything that the commands print, apart from the report."""
    for table in audit_tables(study).values():
        markdown_table(table)
        csv_text(table)
    left_out_takeaways(study)
    markdown_table(best_trials(study))
    usable = study.trials[study.trials["state"].ne("failed") & study.trials["best_val_acc"].notna()]
    if not len(usable) and not len(study.history):
        with pytest.raises(ValueError, match="failed|no trial"):
            sample_at(study)
        return
    try:
        sample = sample_at(study)
    except ValueError:
        assert len(study.history)  # each result that is left was reached in an epoch that is missing
        return
    assert len(sample) <= int(sample.budget_text.split(" of ")[1].split()[0])
    if not len(usable):
        return  # the curves have results that the table of trials lacks
    as_markdown(comparison({"a": study, "b": study}))
    assert "nan" not in sample.budget_text
    claims = [*published_takeaways(study), parse("norm=True > False"), parse("width=32 best")]
    markdown_table(check_claims(study, claims, lenient=True))


cells = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(COLUMNS)), max_size=25)
gaps = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(HISTORY)), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 9), trials=cells, rows=gaps, curves=st.booleans())
def test_the_tables_of_a_study_with_any_value_missing(count, trials, rows, curves):
    study = with_gaps(whole_study(count), trials, rows)
    run_tables(study if curves else replace(study, history=study.history.head(0)))


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("curves", [True, False])
def test_a_column_without_any_value(column, curves):
    study = with_gaps(whole_study(8), [(row, column) for row in range(8)], [])
    run_tables(study if curves else replace(study, history=study.history.head(0)))


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 9), trials=cells, rows=gaps, curves=st.booleans())
def test_no_section_of_a_report_fails_with_any_value_missing(tmp_path_factory, count, trials, rows, curves):
    study = with_gaps(whole_study(count), trials, rows)
    study = study if curves else replace(study, history=study.history.head(0))
    folder = tmp_path_factory.mktemp("report")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = build(study, folder)
        write(report, folder, csv=True)
    assert [(failure.part, failure.error) for failure in report.failures] == []


@pytest.mark.slow
@pytest.mark.parametrize("column", ["state", "width", "epochs", "seconds", "created"])
def test_a_report_with_a_forest_and_a_value_missing_in_every_column(tmp_path, column):
    study = with_gaps(
        whole_study(24), [(row, column) for row in range(0, 24, 5)], [(row, "val_acc") for row in range(9)]
    )
    report = build(study, tmp_path)
    write(report, tmp_path)
    assert report.failures == []


def crashed_runs(path: Path) -> Path:
    """A W&B export of which some runs crashed before their first epoch."""
    rows = ["Name,State,Created,Runtime,lr,width,val_acc,epoch"]
    for i in range(12):
        crashed = i % 4 == 3
        state = "crashed" if crashed else ["finished", "killed"][i % 2]
        ended = "," if crashed else f"{0.3 + i / 50:.2f},{1 + i % 5}"
        rows.append(f"run{i},{state},2026-01-01T00:00:{i:02d}Z,{'' if crashed else 60 + i},{10.0 ** -(1 + i % 3)},"
                    f"{[32, 64, 128][i % 3]},{ended}")  # fmt: skip
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("words", [["audit"], ["report"], ["importance"], ["claims"], ["compare"]])
def test_an_export_of_runs_that_crashed_before_an_epoch(tmp_path, monkeypatch, capsys, words):
    path = crashed_runs(tmp_path / "runs.csv")
    assert load_study(path).trials["epochs"].isna().sum() == 3
    monkeypatch.setattr("sys.argv", ["analysis", *words, str(path)])
    command.main()
    printed = capsys.readouterr()
    assert "failed (" not in printed.err
    if words == ["audit"]:
        assert "no reason recorded" in printed.out


def test_missing_epochs_do_not_count_as_reached():
    study = with_gaps(whole_study(8), [(0, "epochs"), (3, "epochs")], [])
    assert study.trials["epochs"].dtype == "Int64"
    known = study.trials["epochs"].fillna(0)
    assert len(sample_at(study, epochs=2)) == int((known.ge(2) | study.trials["state"].eq("completed")).sum())
    assert pd.isna(study.trials["epochs"][0])
