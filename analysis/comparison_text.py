"""What `python -m analysis compare` prints and writes: sentences, tables, one CSV file and one figure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.claims.finetuning import check_finetuning_claims
from analysis.comparable import axis_name
from analysis.compare import comparison
from analysis.escaping import escape_markdown
from analysis.figures.side_by_side import plot_class_gains, plot_comparison
from analysis.figures.style import png_bytes
from analysis.markdown import csv_text, markdown_table
from analysis.printing import as_markdown
from analysis.side_by_side.class_gains import class_gains
from analysis.side_by_side.convergence import convergence, convergence_curves
from analysis.side_by_side.equal_budgets import equal_budgets
from analysis.side_by_side.evaluations import evaluations
from analysis.side_by_side.groups import GROUP_COLUMNS
from analysis.side_by_side.learning_rates import learning_rate_curve, learning_rate_sensitivity
from analysis.side_by_side.same_data import describe_data
from analysis.side_by_side.trial_costs import describe_unknown
from analysis.side_by_side.units import describe_units
from analysis.study import StudyData

RATES_TITLE = "How much the learning rate matters, with the rest fixed and within the same epochs of each study"


@dataclass(frozen=True, slots=True)
class ComparisonTables:
    """The tables of a comparison; ``text`` and ``csv`` are made from them."""

    about_data: str
    main: pd.DataFrame
    equal: pd.DataFrame
    converged: pd.DataFrame
    curves: pd.DataFrame
    rates: pd.DataFrame
    rate_curve: pd.DataFrame
    tests: pd.DataFrame
    gains: pd.DataFrame
    claims: pd.DataFrame
    about_seconds: str = ""
    metric: str = "accuracy"
    titles: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Everything as Markdown: the data, the main table, then the tables that are not empty."""
        # The name of a folder, which is in study.json, may be anything.
        parts = [*map(escape_markdown, (self.about_data, self.about_seconds)), as_markdown(self.main)]
        parts += [f"{title}\n\n{markdown_table(table)}" for title, table in self.titles.items() if len(table)]
        return "\n\n".join(part for part in parts if part)

    @property
    def csv(self) -> pd.DataFrame:
        """One row per group with all that is known about it."""
        table = self.main
        for other, names in (
            (self.equal, ("equal_trials", "expected_best", "low", "high", "equal_seconds", "best_within",
                          "within_low", "within_high")),
            (self.converged, ("epochs_to_95", "epochs_low", "epochs_high", "seconds_to_95", "level",
                              "epochs_to_level")),
            (self.rates, ("spread", "spread_of_means", "best_rate")),
        ):  # fmt: skip
            table = table.merge(other[[*GROUP_COLUMNS, *names]], on=GROUP_COLUMNS, how="left")
        return table

    def figure(self) -> Figure:
        """Accuracy against seconds, convergence and learning rates."""
        return _figure_of(plot_comparison(self.main, self.equal, self.curves, self.rate_curve, self.metric)[0])

    def write(self, folder: Path) -> None:
        """Write comparison.csv, comparison.md and comparison.png to ``folder``, and comparison-classes.png of gains."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comparison.csv").write_text(csv_text(self.csv), encoding="utf-8", newline="")
        (folder / "comparison.md").write_text(f"{self.text}\n", encoding="utf-8")
        (folder / "comparison.png").write_bytes(png_bytes(self.figure()))
        if len(self.gains):
            (folder / "comparison-classes.png").write_bytes(png_bytes(_figure_of(plot_class_gains(self.gains))))


def compare_studies(
    studies: Mapping[str, StudyData], *, different_data: bool = False, price_per_hour: float | None = None
) -> ComparisonTables:
    """Make all tables of a comparison; ValueError as in ``comparison``."""
    main = comparison(studies, different_data=different_data, price_per_hour=price_per_hour)
    equal, converged = equal_budgets(studies), convergence(studies)
    rates, tests, gains = learning_rate_sensitivity(studies), evaluations(studies), class_gains(studies)
    claims = check_finetuning_claims(studies)
    about = " ".join(filter(None, (describe_data(studies), describe_units(studies))))
    titles = {
        _equal_title(equal): equal.drop(columns=["equal_trials", "equal_seconds"]),
        "Convergence: epochs of the completed trials to 95 % of their best (median and quartiles), and of each best "
        "trial to a level that all rows reach": converged,
        RATES_TITLE: rates,
        "Test photos, with Wilson's intervals": tests,
        "Gain in recall of each class on the test photos": gains,
        "Claims published for fine-tuning": claims,
    }
    return ComparisonTables(
        about, main, equal, converged, convergence_curves(studies), rates,
        learning_rate_curve(studies), tests, gains, claims, describe_unknown(studies), _metric(studies), titles,
    )  # fmt: skip


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _equal_title(equal: pd.DataFrame) -> str:
    n, seconds = int(equal["equal_trials"].iloc[0]), float(equal["equal_seconds"].iloc[0])
    within = f", and the best of those that end within {seconds:,.0f} s" if seconds == seconds else ""
    trials = "1 trial" if n == 1 else f"{n} trials"
    return f"At an equal budget: the expected best of {trials} of each row{within}, with 95 % intervals over trials"


def _metric(studies: Mapping[str, StudyData]) -> str:
    return axis_name(next(iter(studies.values())).metric)
