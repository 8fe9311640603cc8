import pytest

from analysis.comparison_report import comparison_report
from analysis.comparison_text import compare_studies
from analysis.report.page import page_parts
from tests.analysis.studies import early_stopped_study

pytestmark = pytest.mark.slow


def test_it_has_the_tables_and_figures_of_the_command():
    studies = {"first": early_stopped_study(30), "<b>second": early_stopped_study(40)}
    report = comparison_report(studies)
    tables = compare_studies(studies)
    assert report.tables[0].frame.equals(tables.main)
    assert [table.title for table in report.tables[1:]] == [
        title for title, table in tables.titles.items() if len(table)
    ]
    assert [figure.name for figure in report.figures] == ["accuracy-seconds", "convergence", "learning-rates"]
    parts = page_parts(report)
    assert "&lt;b&gt;second" in parts.main
    assert "<b>second" not in parts.main


def test_studies_without_results_cannot_be_compared():
    study = early_stopped_study(10)
    study.trials["best_val_acc"] = float("nan")
    with pytest.raises(ValueError, match="no study can be compared"):
        comparison_report({"a": study, "b": study})
