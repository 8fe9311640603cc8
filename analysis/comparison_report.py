"""A comparison of studies as a report: the tables that `python -m analysis compare` prints, and its figures."""

from collections.abc import Mapping

from analysis.comparison_text import ComparisonTables, compare_studies
from analysis.figures.side_by_side import (
    looks_of,
    plot_accuracy_seconds,
    plot_class_gains,
    plot_convergence,
    plot_learning_rates,
)
from analysis.report.document import Fact, Headline, Item, Report, ReportFigure, Section, Table, section
from analysis.study import StudyData
from analysis.wording import join_words


def comparison_report(studies: Mapping[str, StudyData], *, different_data: bool = False) -> Report:
    """The comparison of ``studies`` as a report; ValueError as in ``analysis.compare.comparison``.

    >>> comparison_report({"digits": study}).headline.title
    'digits'
    """
    tables = compare_studies(studies, different_data=different_data)
    best = tables.main.iloc[0]
    facts = [
        Fact(
            f"best {tables.metric}", f"{best['best']:.4f}", f"{best['study']}, {best['network']}, {best['best_trial']}"
        ),
        Fact("trials with a result", f"{int(tables.main['trials'].sum()):,}", f"of {len(studies)} studies"),
    ]
    notes = [text for text in (tables.about_data, tables.about_seconds) if text]
    head = Headline(join_words(list(studies)), "side by side", {}, facts, [])
    sections = [
        Section("side-by-side", "Side by side", [*notes, Table("comparison", "Networks of the studies", tables.main)]),
        section("figures", "Figures", lambda: _figures(tables)),
        Section("tables", "Tables", _tables(tables)),
    ]
    command = f"python -m analysis compare {' '.join(studies)}"
    return Report(head, sections, kind="comparison", command=command)


def _figures(tables: ComparisonTables) -> list[Item]:
    looks, name = looks_of(tables.main), tables.metric
    items: list[Item] = [
        ReportFigure(
            "accuracy-seconds", f"The expected best {name} of equally many trials, against seconds",
            f"Expected best {name} of each group with its interval, against the seconds of its best trial.",
            plot_accuracy_seconds(tables.main, tables.equal, name=name),
            "Dots: the expected best of equally many trials, with 95 % intervals. Crosses: the best of all trials.",
            data=tables.equal,
        ),
        ReportFigure(
            "convergence", "Convergence of the best trials",
            f"The best {name} so far of the best trial of each group, against its epochs.",
            plot_convergence(tables.curves, name=name, looks=looks), data=tables.curves,
        ),
        ReportFigure(
            "learning-rates", "How much the learning rate matters",
            f"The mean {name} of each group at each learning rate, with intervals.",
            plot_learning_rates(tables.rate_curve, name=name, looks=looks), data=tables.rate_curve,
        ),
    ]  # fmt: skip
    if len(tables.gains):
        alt = "The gain in recall of each class on the test photos, with its interval."
        items.append(
            ReportFigure("class-gains", "Gain of each class", alt, plot_class_gains(tables.gains), data=tables.gains)
        )
    return items


def _tables(tables: ComparisonTables) -> list[Item]:
    filled = [(title, table) for title, table in tables.titles.items() if len(table)]
    return [Table(f"table-{number}", title, table) for number, (title, table) in enumerate(filled, start=1)]
