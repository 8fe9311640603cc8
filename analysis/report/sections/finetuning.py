"""The section of a fine-tuning study about its strategies: accuracy, seconds, convergence, learning rates, claims."""

import pandas as pd

from analysis.claims.finetuning import check_finetuning_claims
from analysis.comparable import axis_name
from analysis.compare import comparison
from analysis.early_stopping.late_effects import describe_budgets
from analysis.figures.effects import plot_claims
from analysis.figures.side_by_side import (
    Key,
    Look,
    looks_of,
    plot_accuracy_seconds,
    plot_convergence,
    plot_learning_rates,
)
from analysis.report.document import Item, ReportFigure, Section, Table, section
from analysis.side_by_side.convergence import convergence, convergence_curves
from analysis.side_by_side.equal_budgets import equal_budgets
from analysis.side_by_side.groups import group_labels
from analysis.side_by_side.learning_rates import learning_rate_curve, learning_rate_sensitivity
from analysis.side_by_side.trial_costs import describe_unknown
from analysis.study import StudyData

STRATEGY = "strategy"
NAME = "this study"
STUDY = "study"  # column, the same in all rows


def finetuning_section(study: StudyData, epochs: int | None = None) -> list[Section]:
    """The section for a study that fine-tuned networks; none for any other study."""
    if STRATEGY not in study.trials or not study.trials[STRATEGY].notna().any():
        return []
    return [section("finetuning", "Fine-tuning strategies", lambda: _items(study, epochs))]


def _items(study: StudyData, epochs: int | None) -> list[Item]:
    studies = {NAME: study}
    table, equal = comparison(studies), equal_budgets(studies)
    name, looks = axis_name(study.metric), looks_of(table)
    seconds = f"{name} against the seconds of the best trial for {len(table)} combinations of network and strategy"
    claims = check_finetuning_claims(studies, epochs)
    return [
        _finding(table, equal, name),
        f"The best of more trials is better by their number alone, so the figure shows the expected best of equally "
        f"many trials. {describe_unknown(studies) or 'Seconds include computing features.'}",
        ReportFigure(
            "strategies", "Expected best against time", f"Expected best {seconds}.",
            plot_accuracy_seconds(table, equal, None, name),
            "Dots: expected best of an equal number of trials, with its interval over trials; crosses: best of all.",
            data=equal.drop(columns=STUDY),
        ),
        Table("strategies", "Network and strategy, best first", table.drop(columns=STUDY)),
        Table("equal", "At an equal number of trials, and in equal time", equal.drop(columns=STUDY), folded=True),
        *_convergence(studies, name, study.unit, looks),
        *_learning_rates(studies, name, epochs, looks),
        *_claims(study, claims),
    ]  # fmt: skip


def _finding(table: pd.DataFrame, equal: pd.DataFrame, name: str) -> str:
    """The best group at an equal number of trials, with its interval, and how much training it takes."""
    first = equal.iloc[0]
    label = f"{first['network']} {first['strategy']}"
    keys = ["network", "strategy"]
    row = table.merge(equal.head(1)[keys], on=keys).iloc[0]
    trained = f"{row['trainable_parameters']:,.0f} parameters, " if pd.notna(row["trainable_parameters"]) else ""
    cost = f"{trained}{row['seconds']:,.1f} s for its best trial"
    n = f"{first['equal_trials']:.0f}"
    if pd.isna(first["low"]):
        interval = "too few trials for an interval"
    else:
        interval = f"95 % interval {first['low']:.3f} to {first['high']:.3f}"
    return (
        f"{label} reaches the best expected {name} of {n} of its trials ({first['expected_best']:.3f}, {interval}; "
        f"{cost}; {len(table)} combinations of network and strategy)."
    )


def _convergence(studies: dict[str, StudyData], name: str, unit: str, looks: dict[Key, Look]) -> list[Item]:
    table, curves = convergence(studies), convergence_curves(studies)
    known = table.dropna(subset=["epochs_to_95"]).reset_index(drop=True)
    if not len(known):
        return ["No trial completed, so convergence is unknown."]
    ordered = known.sort_values("epochs_to_95", kind="stable")
    labels = group_labels(known)[ordered.index]
    fastest, slowest = ordered.iloc[0], ordered.iloc[-1]
    few, many = fastest["epochs_to_95"], slowest["epochs_to_95"]
    evidence = f"median {unit}s to 95 % of the best, {known['completed'].sum()} completed trials"
    if few == many:
        text = f"All combinations converge within {_steps(few, unit)} ({evidence})."
    else:
        text = (
            f"{labels.iloc[0]} converges fastest, in {_steps(few, unit)}, and {labels.iloc[-1]} slowest, in "
            f"{_steps(many, unit)} ({evidence})."
        )
    return [
        text,
        ReportFigure(
            "convergence", "Convergence of the best trials",
            f"Best {name} so far of the best trial of each group against {unit}s.",
            plot_convergence(curves, None, name, unit, looks), f"Best {name} so far of the best trial of each group.",
            data=curves.drop(columns=STUDY),
        ),
        Table("convergence", "Epochs to 95 % of the best", table.drop(columns=STUDY), folded=True),
    ]  # fmt: skip


def _steps(number: float, unit: str) -> str:
    """A median of whole numbers with its noun: "2.5 epochs"."""
    return f"{number:g} {unit if number == 1 else f'{unit}s'}"


def _learning_rates(studies: dict[str, StudyData], name: str, epochs: int | None, looks: dict[Key, Look]) -> list[Item]:
    table, curve = learning_rate_sensitivity(studies, epochs), learning_rate_curve(studies, epochs)
    if not len(table):
        return []
    table = table.reset_index(drop=True)
    spreads = table["spread"].fillna(table["spread_of_means"])
    most, least = spreads.idxmax(), spreads.idxmin()
    labels = group_labels(table)
    best = table.at[most, "best_rate"]
    text = f"{labels[most]} depends most on the learning rate (spread {spreads[most]:.3f}, best at {best}"
    other = f"; {labels[least]} least, {spreads[least]:.3f}" if len(table) > 1 else ""
    return [
        f"{text}{other}; {table['epochs'].iloc[0]:.0f} epochs).",
        ReportFigure(
            "rates", "Result at each learning rate", f"Mean {name} at each learning rate for {len(table)} groups.",
            plot_learning_rates(curve, None, name, looks),
            f"Mean {name} at each learning rate, with its interval where five trials or more have the rate.",
            data=curve.drop(columns=STUDY),
        ),
        Table("rates", "How much the learning rate matters", table.drop(columns=STUDY), folded=True),
        Table("rate-curve", "Each learning rate", curve.drop(columns=STUDY), folded=True),
    ]  # fmt: skip


def _claims(study: StudyData, table: pd.DataFrame) -> list[Item]:
    if not len(table):
        return []
    budgets = table["epochs"].dropna()
    at_end = describe_budgets(study, int(budgets.iloc[0])) if len(budgets) else ""
    items: list[Item] = [at_end] if at_end else []
    if table["effect"].notna().any():
        alt = f"Effects of {len(table)} claims about fine-tuning with 95 % intervals."
        caption = "What was published about fine-tuning on nature_12K; effects above 0 support the claim."
        items.append(
            ReportFigure(
                "finetuning-claims",
                "Effect of each claim about fine-tuning",
                alt,
                plot_claims(table),
                caption,
                data=table.drop(columns=STUDY),
            )
        )
    return [*items, Table("finetuning-claims", "Claims published for fine-tuning", table.drop(columns=STUDY))]
