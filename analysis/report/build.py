"""Build a report from a study."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.budgets import check_budget
from analysis.comparable import describe_metric
from analysis.early_stopping.late_effects import describe_budgets
from analysis.escaping import printable
from analysis.failures import Failure, attempt
from analysis.figures.parallel import parallel_lines
from analysis.report.budget_results import BudgetResults, compare_at_budget
from analysis.report.document import Headline, Item, Report, Section, Table, merge_missing
from analysis.report.headline import headline
from analysis.report.key_findings import key_findings
from analysis.report.sections.backbones import backbones_section
from analysis.report.sections.claims import check_takeaways, claims_section
from analysis.report.sections.costs import costs_section
from analysis.report.sections.data import data_section
from analysis.report.sections.early_stopping import early_stopping_findings, early_stopping_section
from analysis.report.sections.equal_budget import equal_budget_sections
from analysis.report.sections.final import final_fact, final_section
from analysis.report.sections.finetuning import finetuning_section
from analysis.report.sections.knobs import knobs_section
from analysis.report.sections.noise import noise_section
from analysis.report.sections.predictions import predictions_section
from analysis.report.sections.slices import slices_section
from analysis.report.sections.study_record import study_record_section
from analysis.report.sections.time_plan import time_plan_section
from analysis.report.sections.wandb_panels import wandb_panel_sections
from analysis.schema import BEST_VAL_ACC, EPOCHS, NAME, STATE, TRIAL_ID
from analysis.side_by_side.evaluations import read_best_json, read_final
from analysis.stats.encode import label_of
from analysis.study import StudyData
from analysis.wording import in_unit, unit_columns

USER_TABLES = ("study", "broken", "classes", "candidates", "confusions")  # whose titles and columns name no budget


def build(study: StudyData, path: Path, epochs: int | None = None) -> Report:
    """Build the report of ``study``, which was loaded from ``path``.

    ``epochs``: the budget at which trials are compared, by default the epochs that all trials trained for. A section
    that the study is too small for contains the reason instead. Raises ValueError if no trial trained for ``epochs``.

    Any other error in a part of the report costs only that part; ``failures`` of the report lists these errors.

    >>> report = build(study, path)
    >>> report.headline.subtitle
    'best trial t0008'
    """
    check_budget(study, epochs)
    failures: list[Failure] = []
    results = attempt("the comparison at one budget", lambda: compare_at_budget(study, epochs), failures)
    results = results or "the comparison at one budget failed"
    takeaways = attempt("the check of the claims", lambda: check_takeaways(study, epochs), failures)
    takeaways = "the check of the claims failed" if takeaways is None else takeaways
    at_end = describe_budgets(study, results.sample.epochs) if isinstance(results, BudgetResults) else ""
    stopping = attempt("the finding about early stopping", lambda: early_stopping_findings(study), failures) or []
    noise = attempt("the comparison with the best trial", lambda: noise_section(study, path), failures) or []
    final = read_final(path)
    sections = [
        *final_section(final), *predictions_section(path, read_best_json(path)), *time_plan_section(study, path),
        *noise, *finetuning_section(study, epochs), *wandb_panel_sections(study, results),
        costs_section(study, results), *knobs_section(study, results), slices_section(study, results),
        *equal_budget_sections(study, results), *claims_section(takeaways, study.unit, at_end),
        early_stopping_section(study, stopping), *backbones_section(path, study), *data_section(path, study.info),
        study_record_section(study),
    ]  # fmt: skip
    sections = [_in_unit(section, study.unit) for section in merge_missing(sections)]
    best = read_best_json(path)
    found = attempt("the key findings", lambda: key_findings(study, results, takeaways, stopping, best), failures)
    findings = found or []
    head = attempt("the first screen", lambda: headline(study, path, findings), failures)
    head = head or Headline(path.name, "the first screen failed", {}, [], findings)
    head.facts[2:2] = final_fact(final)
    data = attempt("the table of selected trials", lambda: page_data(study), failures) or {"trials": [], "total": 0}
    return Report(head, sections, data, other_failures=failures)


def _in_unit(section: Section, unit: str) -> Section:
    """The section with titles, notes and columns of its tables in the unit of the study, which may count steps."""
    return replace(section, items=[_table_in_unit(item, unit) for item in section.items])


def _table_in_unit(item: Item, unit: str) -> Item:
    if not isinstance(item, Table) or item.name in USER_TABLES:
        return item
    columns = unit_columns(item.frame, unit)
    title, note = in_unit(item.title, unit), in_unit(item.note, unit)
    return replace(item, title=title, note=note, frame=item.frame.rename(columns=columns))


def page_data(study: StudyData) -> dict[str, Any]:
    """The trials of the parallel coordinates, in the order of their lines, for the page's script."""
    lines = parallel_lines(study)[0]
    trials = study.trials.set_index(TRIAL_ID).loc[lines.index]
    rows = [
        {"id": printable(str(i)), "name": printable(str(row[NAME])), "state": printable(str(row[STATE])),
         "result": float(row[BEST_VAL_ACC]), "epochs": None if pd.isna(row[EPOCHS]) else int(row[EPOCHS])}
        for i, row in trials.iterrows()
    ]  # fmt: skip
    return {
        "trials": rows,
        "parameters": [_labels(trials[name], name) for name in lines.columns[:-2]],
        "total": len(study.trials),
        "metric": describe_metric(study.metric, study.mode),
        "unit": study.unit,
    }


def _labels(column: pd.Series, name: str) -> dict[str, Any]:
    """The values of a hyperparameter as texts, each of them once, and the code of each trial's one."""
    codes, labels = pd.factorize(column.map(lambda value: "-" if pd.isna(value) else label_of(value)))
    return {"name": printable(name), "labels": [printable(label) for label in labels], "codes": codes.tolist()}
