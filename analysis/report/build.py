"""Build a report from a study."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparable import check_budget, describe_metric
from analysis.escaping import printable
from analysis.figures.parallel import parallel_lines
from analysis.report.budget_results import compare_at_budget
from analysis.report.document import Report
from analysis.report.headline import headline
from analysis.report.key_findings import key_findings
from analysis.report.sections.claims import check_takeaways, claims_section
from analysis.report.sections.data import data_section
from analysis.report.sections.early_stopping import early_stopping_findings, early_stopping_section
from analysis.report.sections.equal_budget import equal_budget_sections
from analysis.report.sections.final import final_fact, final_section, read_final
from analysis.report.sections.study_record import study_record_section
from analysis.report.sections.wandb_panels import wandb_panel_sections
from analysis.schema import BEST_VAL_ACC, EPOCHS, NAME, STATE, TRIAL_ID
from analysis.study import StudyData


def build(study: StudyData, path: Path, epochs: int | None = None) -> Report:
    """Build the report of ``study``, which was loaded from ``path``.

    ``epochs``: the budget at which trials are compared, by default the epochs that all trials trained for. A section
    that the study is too small for contains the reason instead. Raises ValueError if no trial trained for ``epochs``.

    >>> report = build(study, path)
    >>> report.headline.subtitle
    'best trial t0008'
    """
    check_budget(study, epochs)
    results = compare_at_budget(study, epochs)
    takeaways = check_takeaways(study, epochs)
    stopping = early_stopping_findings(study)
    final = read_final(path)
    sections = [
        *final_section(final), *wandb_panel_sections(study, results), *equal_budget_sections(results),
        claims_section(takeaways), early_stopping_section(study, stopping), *data_section(path),
        study_record_section(study),
    ]  # fmt: skip
    head = headline(study, path, key_findings(study, results, takeaways, stopping))
    head.facts[2:2] = final_fact(final)
    return Report(head, sections, page_data(study))


def page_data(study: StudyData) -> dict[str, Any]:
    """The trials of the parallel coordinates, in the order of their lines, for the page's script."""
    trials = study.trials.set_index(TRIAL_ID).loc[parallel_lines(study)[0].index]
    rows = [
        {"id": printable(str(i)), "name": printable(str(row[NAME])), "state": printable(str(row[STATE])),
         "result": float(row[BEST_VAL_ACC]), "epochs": None if pd.isna(row[EPOCHS]) else int(row[EPOCHS])}
        for i, row in trials.iterrows()
    ]  # fmt: skip
    return {"trials": rows, "total": len(study.trials), "metric": describe_metric(study.metric, study.mode)}
