"""W&B's panels: parallel coordinates, importance and correlation, accuracy over time, curves."""

from analysis.comparable import best_trials
from analysis.figures import curves, parallel
from analysis.figures.importance import plot_panel
from analysis.report.model import Item, Picture, Section, Table, section
from analysis.report.shared import Findings, needed
from analysis.schema import BEST_VAL_ACC, NAME, TRIAL_ID
from analysis.stats.importance import panel
from analysis.study import Study

BEST_ROWS = 10


def panels(study: Study, found: Findings | str) -> list[Section]:
    """The sections in the order of W&B's report."""
    return [
        section("trials", "All trials", lambda: _trials(study)),
        section("panel", "Importance and correlation", lambda: _panel(needed(found))),
        section("time", "Over time", lambda: _time(study)),
    ]


def _trials(study: Study) -> list[Item]:
    lines, ticks = parallel.parallel_lines(study)
    if not len(lines):
        raise ValueError("no trial has an accuracy yet")
    ranked = int(study.trials[BEST_VAL_ACC].notna().sum())
    names, accuracy = ", ".join(lines.columns[:-2]), lines.iloc[:, -1]
    alt = (
        f"Parallel coordinates: a line for each of {len(lines)} trials through {names}, epochs and {accuracy.name}, "
        f"which lies between {accuracy.min():.3g} and {accuracy.max():.3g}."
    )
    few = f"The best {len(lines):,} of {ranked:,} trials. " if len(lines) < ranked else ""
    best = best_trials(study, BEST_ROWS).drop(columns=NAME)  # which repeats the hyperparameters
    best = best.rename(columns={BEST_VAL_ACC: accuracy.name})
    return [
        f"{few}Each line is a trial, coloured by its best result. Those of stopped trials are of fewer "
        "epochs: choose a range of epochs to compare like with like.",
        Picture(
            "parallel",
            alt,
            parallel.plot_parallel(lines, ticks),
            interactive=parallel.interactive_parallel(lines, ticks),
        ),
        Table("best", f"The best {len(best)}", best),
    ]


def _panel(found: Findings) -> list[Item]:
    table = panel(found.sample, found.forest)
    first = table.iloc[0]["column"] if len(table) else "none"
    alt = f"Bars of importance and of Pearson's correlation for {len(table)} columns; the most important is {first}."
    return [
        "As in W&B's panel: impurity importance of a random forest and Pearson's correlation, categories one-hot; but "
        f"at equal budget ({found.sample.budget}) and with intervals. Neither shows what causes what.",
        Picture("panel", alt, plot_panel(table)[0]),
        Table("columns", "Importance, Pearson's and Spearman's correlation of each column", table, folded=True),
    ]


def _time(study: Study) -> list[Item]:
    points, lines = curves.created_points(study), curves.epoch_curves(study)
    if not len(points):
        raise ValueError("no trial has an accuracy yet")
    best = points["best_so_far"].iloc[-1]
    alt = f"Results of {len(points)} trials by the time of their creation; the best so far comes to {best:.4f}."
    drawing, interactive = curves.plot_created(points), curves.interactive_created(points)
    items: list[Item] = [Picture("created", alt, drawing, interactive=interactive)]
    metrics = ", ".join(curves.TITLES.get(metric, metric) for metric in curves.known_metrics(lines))
    if not metrics:
        return [*items, "The study has no curves."]
    trials = lines[TRIAL_ID].nunique()
    best_id = lines.loc[lines["best"], TRIAL_ID].iloc[0]
    alt = f"Curves of {metrics} against epochs for {trials} trials; {best_id}, the best one, is highlighted."
    few = f"{trials:,} of {len(points):,} trials, spread evenly over the ranking." if trials < len(points) else ""
    drawn, interactive = curves.plot_curves(lines)[0], curves.interactive_curves(lines)
    return [*items, Picture("curves", alt, drawn, few, interactive)]
