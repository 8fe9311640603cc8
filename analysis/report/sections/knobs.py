"""The section about what each hyperparameter gave around the recipe."""

import pandas as pd

from analysis.figures.effects import plot_effects
from analysis.recipe import recipe_of
from analysis.report.budget_results import BudgetResults, require_results
from analysis.report.document import Item, ReportFigure, Section, Table, section
from analysis.stats.knobs import BETTER, NOT_FIXED, TOO_FEW, UNDECIDED, best_of_each_knob, gains_around
from analysis.study import StudyData
from analysis.wording import counted

SHOWN = {
    "knob": "knob", "recipe_value": "recipe_value", "value": "best_other_value", "gain": "gain", "low": "low",
    "high": "high", "trials": "trials", "recipe_trials": "recipe_trials", "verdict": "verdict",
    "detectable": "detectable", "epochs": "epochs",
}  # fmt: skip
HOW_TO_READ = (
    "Gain: the result with the best other value minus the result with the recipe's, at an equal budget, the other "
    "hyperparameters held fixed; above 0 is better. It is an average over the settings that the search tried, not the "
    "recipe with one value changed. Of a number with many values, the third of the trials nearest to the recipe counts "
    "as the recipe's value. Each interval is for its row alone; verdicts are corrected for all comparisons (Holm), "
    "also those of other values. Beside an undecided one, detectable is the smallest gain that a study like this finds "
    "in 80 % of cases. What is better within few epochs need not be better at the end. "
    "Importance, where it is shown, is the R² lost when the hyperparameter is shuffled."
)


def knobs_section(study: StudyData, results: BudgetResults | str) -> list[Section]:
    """What moving away from the recipe gave; no section for a study without a recipe."""
    recipe = {name: value for name, value in recipe_of(study.info).items() if name in study.parameters}
    if not recipe:
        return []
    return [section("knobs", "Around the recipe", lambda: _items(require_results(results), recipe))]


def _items(results: BudgetResults, recipe: dict[str, object]) -> list[Item]:
    table = gains_around(results.sample, recipe)
    if not len(table):
        raise ValueError("the search moved no hyperparameter of the recipe")
    best = best_of_each_knob(table)
    fixed = [name for name in recipe if name not in set(table["knob"])]
    notes = [f"No trial changed {', '.join(fixed)}."] if fixed else []
    if best["note"].eq(NOT_FIXED).any():
        notes.append(
            "Where the trials are too few to hold the other hyperparameters fixed, the gain is the plain difference, "
            "which mixes in what else differed, and the verdict stays undecided."
        )
    return [
        f"{knobs_finding(table, best)} Compared at an equal budget: {results.sample.budget_text}.",
        Table("knobs", "What each knob gave", _shown(best, results), " ".join(notes)),
        *([HOW_TO_READ] if best["gain"].notna().any() else []),
        *_figure(table, results),
        Table("knob_values", "Every value against the recipe's", table, folded=True),
    ]


def _shown(best: pd.DataFrame, results: BudgetResults) -> pd.DataFrame:
    """The columns of the page, and the permutation importance where the ranking can be relied on."""
    shown = best[list(SHOWN)].rename(columns=SHOWN)
    if best["note"].eq(NOT_FIXED).any():
        fixed = best["note"].map({"": "yes", NOT_FIXED: "no"})  # neither where there is no gain
        shown.insert(shown.columns.get_loc("trials"), "others_held_fixed", fixed)
    if not len(results.importance) or not results.reliable:
        return shown
    permutation = results.importance[results.importance["method"].eq("permutation")]
    importance = permutation.set_index("parameter")["importance"]
    return shown.assign(importance=shown["knob"].map(importance).astype(float))


def knobs_finding(table: pd.DataFrame, best: pd.DataFrame) -> str:
    """Which hyperparameters gained something by moving away from the recipe."""
    knobs = counted(len(best), "hyperparameter")
    if best["verdict"].eq(TOO_FEW).all():
        return f"What moving away from the recipe gave is unknown (too few trials for each value; {knobs})."
    gained = best[best["verdict"].eq(BETTER)]
    undecided = int(best["verdict"].isin([UNDECIDED, TOO_FEW]).sum())
    open_ones = "all of them undecided" if undecided == len(best) else f"{undecided} of them undecided"
    if not len(gained):
        return (
            f"No value is significantly better than the recipe's ({knobs}, {open_ones}; "
            f"{counted(len(table), 'comparison')})."
        )
    named = ", ".join(
        f"{row['knob']} {row['value']} instead of {row['recipe_value']}: {row['gain']:+.3f}, 95 % interval "
        f"{row['low']:.3f} to {row['high']:.3f}"
        for row in gained.to_dict("records")
    )
    return f"{len(gained)} of {knobs} did better away from the recipe ({named}; {undecided} undecided)."


def _figure(table: pd.DataFrame, results: BudgetResults) -> list[Item]:
    """Every gain with its interval; nothing if there is none with the other hyperparameters held fixed."""
    adjusted = table["gain"].where(table["note"].eq(""))
    if not adjusted.notna().any():
        return []
    drawn = table.assign(
        parameter=table["knob"], adjusted=adjusted, adjusted_low=table["low"], adjusted_high=table["high"]
    )
    order = best_of_each_knob(table)["knob"].tolist()
    drawn = drawn.sort_values("knob", key=lambda names: names.map(order.index), kind="stable")
    figure = plot_effects(drawn, None, results.metric_name, 1, "the recipe's value (above 0: better)")
    alt = f"Gains of {int(adjusted.notna().sum())} values over the recipe's, with 95 % intervals."
    return [
        ReportFigure(
            "knobs",
            "Gain of each value over the recipe's",
            alt,
            figure,
            "Gain of each value over the recipe's with its 95 % interval; n: trials.",
            data=table,
        )
    ]
