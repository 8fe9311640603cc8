"""What the commands of `python -m analysis` print: tables, and sentences about a study."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from analysis.comparable import mask_infinite
from analysis.escaping import escape_markdown
from analysis.markdown import csv_text, terminal_table
from analysis.nothing_to_compare import no_result
from analysis.schema import BEST_VAL_ACC, CONSTANT_ACC, FAILED, STATE, TEST, TRIAL_ID
from analysis.side_by_side.evaluations import read_best_json, tested
from analysis.stats.encode import is_number
from analysis.stats.shares import share_interval
from analysis.study import StudyData
from analysis.terminal import PlainConsole
from analysis.wording import unit_columns

FORMATS = {
    "worst": ".4f", "median": ".4f", "best": ".4f", "seconds": ".1f", "total_seconds": ".0f",
    "preparation_seconds": ".1f", "cost": ".3g", "total_cost": ".3g",
}  # fmt: skip


def columns_in_unit(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """The table with ``unit`` in the place of "epoch" in the names of its columns."""
    return table.rename(columns=unit_columns(table, unit))


def what_happened(study: StudyData) -> str:
    """One sentence about a study that has nothing or one trial to compare; empty for any other."""
    if not mask_infinite(study.trials.loc[study.trials[STATE].ne(FAILED), BEST_VAL_ACC]).notna().any():
        reason = str(no_result(study))
        return f"{reason[:1].upper()}{reason[1:]}."
    return "The study has one trial, so there is nothing to compare it with." if len(study.trials) == 1 else ""


def show(
    tables: dict[str, pd.DataFrame], csv: Path | None, above: str = "", notes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Print tables with titles and notes; write them to one CSV file with the title in the first column."""
    console = PlainConsole()
    if above:
        console.print(above)
    for title, table in tables.items():
        note = f"\n{notes[title]}" if title in notes else ""
        console.print(f"\n{title}{note}\n\n{terminal_table(table)}")
    if csv and not any(map(len, tables.values())):
        console.print(f"\nThere is no table, so {csv} is not written")
    elif csv:
        titled = [table.assign(table=title)[["table", *table]] for title, table in tables.items() if len(table)]
        csv.parent.mkdir(parents=True, exist_ok=True)
        csv.write_text(csv_text(pd.concat(titled, ignore_index=True)), encoding="utf-8", newline="")
        console.print(f"\nWritten to {csv}")


def show_noise(study: StudyData, path: Path, csv: Path | None) -> None:
    """Print which trials of the study at ``path`` cannot be told from the best one."""
    from analysis.report.headline import best_trial  # here, as the other commands do without
    from analysis.report.sections.noise import how_to_read, nearest
    from analysis.study_noise import noise_of, why_not_compared

    best_json = read_best_json(path)
    noise = noise_of(study, best_json, best_trial(study, best_json))
    if noise is None:
        needs = "It needs two trials, their results on the validation photos and the number of validation photos."
        reason = what_happened(study) or why_not_compared(study) or needs
        show({}, csv, f"No trial is compared with the best one. {reason}")
        return
    text = noise.describe()
    tables = {f"{noise.best} against the others": nearest(noise, len(noise.table))}
    show(tables, csv, f"{text[:1].upper()}{text[1:]}.\n{how_to_read(noise)}")


def describe_test(name: str, path: Path) -> str:
    """The result of evaluating a study's best model on its held-out photos, if it was evaluated."""
    best = read_best_json(path)
    accuracy, images = tested(best)
    if accuracy is None:
        return f"{name}: not evaluated on test photos"
    share = best[TEST].get(CONSTANT_ACC)
    constant = f"; a constant answer scores {share:.4f}" if isinstance(share, float) else ""
    low, high = share_interval(accuracy, images)
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    trial = best.get(TRIAL_ID)
    return f"{name}: test accuracy {accuracy:.4f} of {trial} on {images} held-out images ({interval}){constant}"


def as_markdown(table: pd.DataFrame) -> str:
    """Format the table of ``comparison`` as Markdown: four digits for accuracies, separators for thousands."""
    formats = [FORMATS.get(name, "") for name in table]
    named = table.rename(columns=lambda name: name.replace("_", " "))
    named = named.apply(lambda column: column if is_number(column) else column.map(escape_markdown))
    named = named.astype(object).where(named.notna(), None)  # NaN would be printed as a number
    return str(named.to_markdown(index=False, floatfmt=formats, intfmt=",", missingval="-"))
