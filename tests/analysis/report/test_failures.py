"""A section that fails costs neither the other sections nor the page."""

import sys

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.report import build as build_module
from analysis.report.build import build
from analysis.report.document import Section, Table
from analysis.report.sections import equal_budget
from analysis.report.write import write
from tests.analysis.studies import early_stopped_study, write_study_dir

pytestmark = pytest.mark.slow
HOSTILE = "boolean value of <b>NA</b>\n is ambiguous"


def fail(*_, **__):
    raise TypeError(HOSTILE)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_study_dir(early_stopped_study(20), tmp_path_factory.mktemp("studies") / "study")


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, words)])
    main()


def test_a_section_that_fails_says_so_and_the_rest_is_written(directory, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(equal_budget, "value_effects", fail)
    run(monkeypatch, "report", directory, "--output", tmp_path)
    printed = capsys.readouterr()
    assert printed.out.startswith(f"report  {tmp_path / 'report.html'}")
    assert printed.err == (
        "warning: section 'Effects' failed (TypeError: boolean value of <b>NA</b> is ambiguous); "
        "--debug shows the traceback\n"
    )
    page, summary = (tmp_path / "report.html").read_text(), (tmp_path / "summary.md").read_text()
    assert "This section failed: TypeError: boolean value of &lt;b&gt;NA&lt;/b&gt; is ambiguous." in page
    assert "<b>NA</b>" not in page
    assert "This section failed: TypeError: boolean value of &lt;b>NA&lt;/b> is ambiguous." in summary
    assert "## Importance" in summary
    assert (tmp_path / "figures" / "importance.png").exists()
    run(monkeypatch, "report", directory, "--output", tmp_path, "--debug")
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "in fail" in error


PARTS = {
    "compare_at_budget": "the comparison at one budget",
    "check_takeaways": "the check of the claims",
    "early_stopping_findings": "the finding about early stopping",
    "key_findings": "the key findings",
    "headline": "the first screen",
    "page_data": "the table of selected trials",
}


@pytest.mark.parametrize("name", PARTS)
def test_a_failing_part_outside_of_the_sections_costs_only_itself(name, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, name, fail)
    report = build(early_stopped_study(12), tmp_path)
    page = write(report, tmp_path)[0]
    assert [failure.part for failure in report.failures] == [PARTS[name]]
    assert "Over time" in page.read_text()


def test_a_figure_that_cannot_be_drawn_costs_only_its_section(tmp_path, monkeypatch):
    class Unprintable:
        def __str__(self):
            return fail()

    report = build(early_stopped_study(12), tmp_path)
    place = next(i for i, section in enumerate(report.sections) if section.name == "time")
    report.sections[place].items.append(Table("odd", "Odd", pd.DataFrame({"a": [Unprintable()]}, dtype=object)))
    figure = next(figure for figure in report.figures if figure.name == "importance").figure
    monkeypatch.setattr(figure, "savefig", fail)
    files = {path.name for path in write(report, tmp_path)}
    assert sorted(failure.part for failure in report.failures) == ["section 'Importance'", "section 'Over time'"]
    assert "importance.png" not in files
    assert {"report.html", "panel.png"} <= files
    assert "This section failed: TypeError" in (tmp_path / "summary.md").read_text()


def test_a_page_that_cannot_be_written_is_an_error(directory, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as raised:
        run(monkeypatch, "report", directory, "--output", tmp_path / "file")
    assert raised.value.code == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_table_of_the_audit_that_fails_costs_only_itself(directory, monkeypatch, capsys):
    monkeypatch.setattr("analysis.early_stopping.audit.utilisation", fail)
    run(monkeypatch, "audit", directory)
    printed = capsys.readouterr()
    assert "Epochs and seconds saved" in printed.out
    assert "warning: table 'Slots busy over time' failed (TypeError" in printed.err
    assert "Traceback" not in printed.err


def test_a_section_with_a_reason_is_no_failure():
    assert Section("a", "A", ["Not available for this study: no trial."]).failure is None
