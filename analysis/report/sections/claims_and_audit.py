"""Claims checked, early stopping audited, failures, and how the study was made."""

import pandas as pd

from analysis.claims.check import check, takeaways
from analysis.comparable import metric_name
from analysis.early_stopping.audit import NOTES, audit_tables
from analysis.early_stopping.timeline import best_against_epochs, utilisation
from analysis.figures import audit
from analysis.figures.effects import plot_claims
from analysis.report.model import Item, Picture, Section, Table, section
from analysis.study import Study

ESTIMATES = (
    "What stopped trials would have come to is not known; it is estimated from the completed ones, which looked good "
    "early. Trials that start slowly and end well are missing from them, so missed winners are rather more than "
    "estimated: on 30 simulated searches less than 0.01 a search were expected, and 3 were missed."
)


def verdicts(study: Study, epochs: int | None = None) -> pd.DataFrame | str:
    """The predecessor's ten takeaways, checked, or why no trial can be compared."""
    try:
        return check(study, takeaways(study), epochs, lenient=True)
    except ValueError as error:
        return str(error)


def tally(table: pd.DataFrame) -> str:
    """How many claims came out how."""
    return ", ".join(f"{count} {verdict}" for verdict, count in table["verdict"].value_counts().items())


def claims(table: pd.DataFrame | str) -> Section:
    """The section about what ``verdicts`` found."""
    if isinstance(table, str):
        return Section("claims", "Claims", [f"Not to be had from this study: {table}."])
    items: list[Item] = [
        f"The ten takeaways that were published for nature_12K, on the trials of this study: {tally(table)}. Undecided "
        "means that this study cannot tell. The verdicts are corrected for ten claims "
        "(p_holm); each interval is of its claim alone, and may leave 0 out where the verdict does not."
    ]
    if table["effect"].notna().any():
        alt = f"Effects of the ten claims with 95 % intervals: {tally(table)}."
        items.append(Picture("claims", alt, plot_claims(table)))
    return Section("claims", "Claims", [*items, Table("claims", "Claims and verdicts", table)])


def stopping(study: Study) -> Section:
    """The audit of early stopping, and failures."""
    return section("stopping", "Early stopping", lambda: [ESTIMATES, *_pictures(study), *_tables(study)])


def _pictures(study: Study) -> list[Item]:
    if not len(study.trials):
        raise ValueError("it has no trial yet")
    spent, busy, rungs = best_against_epochs(study), utilisation(study), audit.rung_points(study)
    found: list[Item] = []
    if len(spent):
        alt = f"Best so far ({metric_name(study.metric, study.mode)}) against epochs spent, {len(spent):,} in all."
        found.append(Picture("best_so_far", alt, audit.plot_best_so_far(spent)))
    if len(rungs) > 1 and rungs["first"].iloc[0] < rungs["last"].iloc[0]:
        alt = f"Best at the first rung against best in the end of {len(rungs)} trials that were not stopped."
        found.append(Picture("rungs", alt, audit.plot_rungs(rungs)))
    if len(busy):
        alt = f"Trials at once over time; {busy['utilisation'].mean():.0%} of the slots were busy on average."
        found.append(Picture("slots", alt, audit.plot_utilisation(busy)))
    return found


def _tables(study: Study) -> list[Item]:
    return [
        Table(_file_name(title), title, frame, NOTES.get(title, "")) for title, frame in audit_tables(study).items()
    ]


def _file_name(title: str) -> str:
    return "_".join(title.partition(",")[0].partition(":")[0].lower().split())


def making(study: Study) -> Section:
    """What could not be read, and what the study says of itself."""
    rows = [(name, str(value)) for name, value in _flat(study.info).items()]
    said = Table("study", "What the study says of itself", pd.DataFrame(rows, columns=["name", "value"]), folded=True)
    broken = Table("broken", "What could not be read", study.broken, f"{len(study.broken)} places")
    return Section("making", "The study", [broken if len(study.broken) else "Everything could be read.", said])


def _flat(info: dict[str, object], before: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in info.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat
