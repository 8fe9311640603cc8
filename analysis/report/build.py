"""Put a report together from a study."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparable import checked_epochs, metric_name
from analysis.figures.parallel import parallel_lines
from analysis.report.headline import headline
from analysis.report.key_findings import sentences
from analysis.report.model import Report
from analysis.report.sections.claims_and_audit import claims, making, stopping, verdicts
from analysis.report.sections.equal_budget import equal_budget
from analysis.report.sections.final import final_fact, final_section, read_final
from analysis.report.sections.trials import panels
from analysis.report.shared import Findings, find
from analysis.schema import BEST_VAL_ACC, EPOCHS, NAME, STATE, TRIAL_ID
from analysis.study import Study


def build(study: Study, path: Path, epochs: int | None = None) -> Report:
    """The report of the study that was read from ``path``, compared within ``epochs``, by default ``common_epoch``.

    What a study is too small or too odd for is told in its section. ValueError if ``epochs`` is longer than any trial
    trained.
    """
    checked_epochs(study, epochs)
    found = findings(study, epochs)
    checked = verdicts(study, epochs)
    final = read_final(path)
    sections = [
        *final_section(final), *panels(study, found), *equal_budget(found), claims(checked), stopping(study),
        making(study),
    ]  # fmt: skip
    head = headline(study, path, sentences(study, found, checked))
    head.facts[2:2] = final_fact(final)
    return Report(head, sections, page_data(study))


def findings(study: Study, epochs: int | None) -> Findings | str:
    """What sections share, or why it cannot be had."""
    try:
        return find(study, epochs)
    except ValueError as error:
        return str(error)


def page_data(study: Study) -> dict[str, Any]:
    """The trials of the parallel coordinates in the order of their lines, as the page's script shows them."""
    trials = study.trials.set_index(TRIAL_ID).loc[parallel_lines(study)[0].index]
    rows = [
        {"id": str(i), "name": str(row[NAME]), "result": float(row[BEST_VAL_ACC]), "state": str(row[STATE]),
         "epochs": None if pd.isna(row[EPOCHS]) else int(row[EPOCHS])}
        for i, row in trials.iterrows()
    ]  # fmt: skip
    return {"trials": rows, "total": len(study.trials), "metric": metric_name(study.metric, study.mode)}
