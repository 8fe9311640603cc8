"""The section about the published takeaways, checked on this study."""

import pandas as pd

from analysis.claims.check import (
    COLUMNS,
    CONTRADICTED,
    NOT_TESTABLE,
    PUBLISHED,
    SUPPORTED,
    UNDECIDED,
    check_claims,
    published_takeaways,
    verdict_counts,
)
from analysis.early_stopping.late_effects import CHANGES
from analysis.figures.effects import plot_claims
from analysis.report.document import Item, ReportFigure, Section, Table, section
from analysis.study import StudyData
from analysis.wording import counted

HOW_TO_READ = (
    '"Undecided" means that this study cannot tell. The verdicts are corrected for the number of claims (p_holm). Each '
    "interval is for its claim alone, so it may exclude 0 although the verdict is undecided. Beside such a verdict, "
    '"detectable" is the smallest effect that a study like this finds in 80 % of cases.'
)


def check_takeaways(study: StudyData, epochs: int | None = None) -> pd.DataFrame | str:
    """Check the takeaways published for nature_12K that are about hyperparameters of this study.

    The table is empty if there are none. Returns the reason as text if no trials can be compared.
    """
    takeaways = published_takeaways(study)
    if not takeaways:
        return pd.DataFrame(columns=COLUMNS)
    try:
        return check_claims(study, takeaways, epochs, lenient=True)
    except ValueError as error:
        return str(error)


def claims_finding(table: pd.DataFrame, unit: str = "epoch") -> str:
    """How many of the takeaways the study supports, contradicts and leaves undecided, and at which budget."""
    counts = {v: int(table["verdict"].eq(v).sum()) for v in (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE)}
    untestable = f" ({counts[NOT_TESTABLE]} not testable)" if counts[NOT_TESTABLE] else ""
    some = "the ten takeaways published for nature_12K"
    if len(table) < PUBLISHED:
        some = f"{counted(len(table), 'takeaway')} published for nature_12K about its hyperparameters"
    return (
        f"Of {some}, this study supports {counts[SUPPORTED]}, contradicts "
        f"{counts[CONTRADICTED]} and leaves {counts[UNDECIDED]} undecided{_budgets(table, unit)}{untestable}."
    )


def _budgets(table: pd.DataFrame, unit: str) -> str:
    """The budgets of the verdicts; claims about the stability of the loss need a longer one than others."""
    budgets = sorted(int(epochs) for epochs in table["epochs"].dropna().unique())
    if not budgets:
        return ""
    *others, last = budgets
    return f" at {' or '.join([*map(str, others), counted(last, unit)])}"


def decided_claims(table: pd.DataFrame, unit: str = "epoch") -> list[str]:
    """One sentence for the supported claims and one for the contradicted ones, each with its evidence."""
    sentences = []
    for verdict in (SUPPORTED, CONTRADICTED):
        claims = [_with_evidence(row, unit) for _, row in table[table["verdict"].eq(verdict)].iterrows()]
        sentences += [f"{verdict.capitalize()}: {'; '.join(claims)}."] if claims else []
    return sentences


def _with_evidence(row: pd.Series, unit: str) -> str:
    budget = f"at {counted(row['epochs'], unit)}" if pd.notna(row["epochs"]) else "at unequal budgets"
    note = f"; {row['note']}" if row["note"] else ""
    if pd.notna(row.get("late")):
        flag = ": the sign changes" if row["sign"] == CHANGES else ""
        interval = f"{row['late_low']:.3f} to {row['late_high']:.3f}"
        note += f"; {row['late']:+.3f} at {unit} {row['late_epochs']}, {interval}{flag}"
    return (
        f"{row['claim']} ({row['effect']:+.3f}, 95 % interval {row['low']:.3f} to {row['high']:.3f}, {budget}, "
        f"{row['trials'] + row['rival_trials']} trials{note})"
    )


def claims_section(table: pd.DataFrame | str, unit: str = "epoch", at_end: str = "") -> list[Section]:
    """The section about the result of ``check_takeaways``; none if no takeaway is about this study.

    ``at_end``: one line on whether the verdicts hold at the last epoch.
    """
    if isinstance(table, str):
        return [Section("claims", "Claims", [f"Not available for this study: {table}."])]
    return [section("claims", "Claims", lambda: _items(table, unit, at_end))] if len(table) else []


def _items(table: pd.DataFrame, unit: str, at_end: str) -> list[Item]:
    found = [claims_finding(table, unit), *decided_claims(table, unit)]
    items: list[Item] = [" ".join(found), *([at_end] if at_end else []), HOW_TO_READ]
    if table["effect"].notna().any():
        alt = f"Effects of the takeaways with 95 % intervals: {verdict_counts(table)}."
        caption = (
            f"Effect of each claim{_budgets(table, unit)} with its 95 % interval; effects above 0 support the claim."
        )
        items.append(ReportFigure("claims", "Effect of each claim", alt, plot_claims(table), caption, data=table))
    return [*items, Table("claims", "Claims and verdicts", table)]
