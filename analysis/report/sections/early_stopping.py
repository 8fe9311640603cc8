"""The section about early stopping: what it saved, what it may have missed, busy slots, and failed trials."""

from analysis.budgets import trainings_of
from analysis.comparable import describe_metric
from analysis.early_stopping.audit import NOTES, audit_tables, savings
from analysis.early_stopping.late_effects import control_findings
from analysis.early_stopping.timeline import best_against_epochs, utilisation
from analysis.figures import audit
from analysis.report.document import Item, ReportFigure, Section, Table, first_columns, section
from analysis.schema import EPOCH
from analysis.study import StudyData
from analysis.wording import counted

ESTIMATES = (
    "How a stopped trial would have ended is unknown, and completed trials, which looked good early, do not show it. "
    "Control trials do: they are chosen at random before they start, and train to their end whatever ASHA says."
)


def early_stopping_findings(study: StudyData) -> list[str]:
    """What early stopping saved and may have missed; nothing if no trial was stopped."""
    table = savings(study)
    to_last_epoch, as_completed = table.iloc[0], table.iloc[1]
    if not to_last_epoch["stopped"]:
        return []
    spent = to_last_epoch["epochs_spent"]
    stopped = counted(to_last_epoch["stopped"], "stopped trial")
    trainings = trainings_of(study)
    of_each = f" of all {trainings} trainings" if trainings > 1 else ""
    alternatives = (
        f"{spent + to_last_epoch['epochs_saved']:,.0f} if the {stopped} had trained to "
        f"{study.unit} {to_last_epoch['epochs_per_trial'] / trainings:.0f}{of_each}"
    )
    known = as_completed["epochs_saved"] == as_completed["epochs_saved"]
    if known and as_completed["epochs_saved"] != to_last_epoch["epochs_saved"]:
        alternatives += f", {spent + as_completed['epochs_saved']:,.0f} if as long as completed trials on average"
    gained = counted(to_last_epoch["epochs_saved"], study.unit)
    saved = f"Early stopping saved {gained} ({spent:,.0f} trained; {alternatives})."
    return [saved, *control_findings(study)]


def early_stopping_section(study: StudyData, findings: list[str]) -> Section:
    """The audit of early stopping, and the failed trials."""
    found = [" ".join(findings)] if findings else ["Early stopping stopped no trial."]
    return section("stopping", "Early stopping", lambda: [*found, ESTIMATES, *_figures(study), *_tables(study)])


def _figures(study: StudyData) -> list[Item]:
    if not len(study.trials):
        raise ValueError("it has no trial yet")
    spent, busy, rungs = best_against_epochs(study), utilisation(study), audit.rung_points(study)
    figures: list[Item] = []
    if len(spent):
        metric = describe_metric(study.metric, study.mode)
        axis = "epochs trained by" if study.step == EPOCH else "results of"
        alt = f"The best result so far ({metric}) against the {axis} all trials, {len(spent):,} in total."
        figures.append(
            ReportFigure(
                "best_so_far",
                f"Best result against {study.unit}s of all trials",
                alt,
                audit.plot_best_so_far(spent, None, study.unit),
                f"{metric.capitalize()} so far.",
                data=spent,
            )
        )
    if len(rungs) > 1 and rungs["first"].iloc[0] < rungs["last"].iloc[0]:
        alt = f"Result at the first rung against the final result of {len(rungs)} trials that were not stopped."
        caption = "One dot per trial that was not stopped: does the first rung predict the best trial?"
        figures.append(
            ReportFigure(
                "rungs",
                "First rung against final result",
                alt,
                audit.plot_rungs(rungs, None, study.unit),
                caption,
                data=first_columns(rungs),
            )
        )
    if len(busy):
        share = f"{busy['utilisation'].mean():.0%} of the slots were busy on average."
        caption = f"{share} The dashed line is the number of slots."
        figures.append(
            ReportFigure(
                "slots",
                "Busy slots over time",
                f"Busy slots over time. {share}",
                audit.plot_utilisation(busy),
                caption,
                data=busy,
            )
        )
    return figures


def _tables(study: StudyData) -> list[Item]:
    return [
        Table(_file_name(title), title, frame, NOTES.get(title, "")) for title, frame in audit_tables(study).items()
    ]


def _file_name(title: str) -> str:
    return "_".join(title.partition(",")[0].partition(":")[0].lower().split())
