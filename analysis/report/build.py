"""Put a report together from a study."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.audit import failures, missed_summary, savings
from analysis.budget import outcome_name
from analysis.figures.parallel import parallel_lines
from analysis.importance import CANNOT_SAY
from analysis.report.checks import claims, making, stopping, tally, verdicts
from analysis.report.content import Report
from analysis.report.equal_budget import equal_budget
from analysis.report.findings import Findings, find
from analysis.report.headline import headline
from analysis.report.panels import panels
from analysis.study import Study
from inat.constants import BEST_VAL_ACC, EPOCHS, NAME, RUNNING, STATE, STOPPED, TRIAL_ID

CLOSE = 0.005  # of accuracy: trials this near to the best may change places with it on other images


def build(study: Study, path: Path, epochs: int | None = None) -> Report:
    """The report of the study that was read from ``path``, compared within ``epochs``, by default ``common_epoch``.

    ValueError if ``epochs`` is longer than any trial trained.
    """
    found = find(study, epochs) if study.trials[BEST_VAL_ACC].notna().any() else None
    checked = verdicts(study, epochs)
    sections = [*panels(study, found), *equal_budget(found), claims(checked), stopping(study), making(study)]
    said = [*_unfinished(study), *_close(study), *_mattered(found), *_claimed(checked), *_saved(study), *_failed(study)]
    return Report(headline(study, path, said), sections, {"trials": line_trials(study)})


def line_trials(study: Study) -> list[dict[str, Any]]:
    """The trials of the parallel coordinates in the order of their lines, as the page's script shows them."""
    trials = study.trials.set_index(TRIAL_ID).loc[parallel_lines(study)[0].index]
    return [
        {"id": str(i), "name": str(row[NAME]), "accuracy": float(row[BEST_VAL_ACC]), "state": str(row[STATE]),
         "epochs": None if pd.isna(row[EPOCHS]) else int(row[EPOCHS])}
        for i, row in trials.iterrows()
    ]  # fmt: skip


def _close(study: Study) -> list[str]:
    accuracies = study.trials[BEST_VAL_ACC].dropna()
    if outcome_name(study.metric) != "accuracy":
        return []
    near = int(accuracies.ge(accuracies.max() - CLOSE).sum()) - 1
    if near < 1:
        return []
    trials = "1 other trial came" if near == 1 else f"{near} other trials came"
    ties = int(accuracies.eq(accuracies.max()).sum()) - 1
    equal = f" ({ties} of them just as high; of equal ones the first counts as the best)" if ties else ""
    return [f"{trials} within {CLOSE} of the best validation accuracy{equal}: which is best is a matter of luck."]


def _unfinished(study: Study) -> list[str]:
    running = int(study.trials[STATE].eq(RUNNING).sum())
    wanted = (study.info.get("config") or {}).get("num_samples")
    missing = wanted - len(study.trials) if isinstance(wanted, int) and not study.info.get("grid") else 0
    if running or missing > 0:
        ended = f"{len(study.trials) - running} of {wanted}" if missing > 0 else f"{len(study.trials) - running}"
        return [f"The search is not at its end: {ended} trials have ended; it runs or was interrupted."]
    return []


def _mattered(found: Findings | None) -> list[str]:
    if found is None:
        return []
    if found.verdict.startswith(CANNOT_SAY):
        return [f"Which hyperparameters mattered: {found.verdict}."]
    return [f"Mattered most, by permutation: {', '.join(found.top)}; {found.verdict}; {found.sample.budget}."]


def _claimed(checked: pd.DataFrame) -> list[str]:
    return [f"Of the ten takeaways published for nature_12K: {tally(checked)}."] if len(checked) else []


def _saved(study: Study) -> list[str]:
    stopped = study.trials[STATE].eq(STOPPED).sum()
    if not stopped:
        return []
    whole, missed = savings(study).iloc[0], missed_summary(study).iloc[0]
    text = (
        f"Early stopping saved {whole['share_saved']:.0%} of the epochs that {whole['of']} trials of "
        f"{whole['epochs_a_trial']:.0f} epochs would have taken"
    )
    if missed["expected"] == missed["expected"]:
        number = f"{missed['expected']:.1f}" if missed["expected"] >= 0.05 else "none"
        text += (
            f"; of {stopped} stopped trials {number} are expected to have become the best "
            f"(between {missed['low']:.1f} and {missed['high']:.1f})"
        )
    return [f"{text}."]


def _failed(study: Study) -> list[str]:
    table = failures(study)
    if not len(table):
        return []
    first = table.iloc[0]
    return [f"{table['trials'].sum()} trials failed, {first['trials']} of them with: {first['reason']}"]
