import base64
import csv
import gzip
import hashlib
import json
import os
import re
import stat

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.report.build import build
from analysis.report.document import Headline, Report, Section, Table
from analysis.report.page import MAX_ROWS, render
from analysis.report.write import folder_for, summary, write
from tests.analysis.report.conftest import HOSTILE
from tests.analysis.studies import early_stopped_study

pytestmark = pytest.mark.slow
MOST_BYTES = 8e6
SMALL = Report(Headline("a", "b", {}, [], []), [Section("s", "S", [Table("t", "T", pd.DataFrame({"a": [1]}))])])
NAME = "<script>alert(1)</script>|`x`[link](http://host)*b*\x1b[31m\x07\u202e"


def test_page_figures_tables_and_summary_are_written(folder):
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"parallel", "panel", "created", "curves", "claims"} <= figures
    tables = {path.stem for path in (folder / "tables").glob("*.csv")}
    assert {"best", "columns", "importance", "values", "pairs", "claims", "failures"} <= tables
    assert pd.read_csv(folder / "tables" / "best.csv").shape[0] == 10
    assert (folder / "report.html").stat().st_size < MOST_BYTES


def test_no_partial_file_is_left(folder):
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_page_refers_to_nothing_outside_itself(folder):
    text = (folder / "report.html").read_text()
    page = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']*)""", page) == []
    assert "default-src 'none'" in page


def test_text_of_a_study_cannot_become_a_script(folder):
    text = (folder / "report.html").read_text()
    assert HOSTILE not in text
    assert "&lt;/script&gt;&lt;script&gt;document.title" in text


def test_the_summary_links_its_figures(folder):
    text = (folder / "summary.md").read_text()
    links = re.findall(r"\]\((figures/[a-z_]+\.png)\)", text)
    assert len(links) >= 10
    assert len(re.findall(r"### [^\n]+\n\n!\[", text)) == len(links)  # each has a title
    assert all((folder / link).is_file() for link in links)
    assert "- trials: **60** 29 completed, 30 stopped, 1 failed" in text


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_get_the_permissions_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        files = write(SMALL, tmp_path / "new", csv=True)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_a_link_of_a_strangers_study_is_replaced_and_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "study"
    outside.mkdir()
    folder.mkdir()
    (outside / "mine").write_text("mine")
    for name in ("report.html", "summary.md"):
        (folder / name).symlink_to(outside / "mine")
    write(SMALL, folder)
    assert (outside / "mine").read_text() == "mine"
    assert not (folder / "summary.md").is_symlink()
    (folder / "tables").symlink_to(outside)
    with pytest.raises(OSError, match="a link that leads out of its folder; remove it, or pass --output"):
        write(SMALL, folder, csv=True)
    assert [path.name for path in outside.iterdir()] == ["mine"]


def test_names_of_trials_are_no_markup_in_any_file(tmp_path):
    study = early_stopped_study()
    study.trials["name"] = study.trials["trial_id"] + f" {NAME}"
    study.trials.loc[0, ["state", "error"]] = ["failed", f"=1+1 {NAME}"]
    write(build(study, tmp_path / NAME.replace("/", "")), tmp_path, csv=True)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "summary.md").read_text()
    for content in (page, text):
        assert not {"\x1b", "\u202e", "\x07"} & set(re.sub(r"<script>.*?</script>", "", content, flags=re.DOTALL))
    assert page.count("<script") == text.count("<script") + 4  # plotly, two of data, the page's own
    assert "[link](http" not in text
    for path in (tmp_path / "tables").glob("*.csv"):
        for row in csv.reader(path.read_text().splitlines()):
            assert not [cell for cell in row if cell[:1] in "=@" and cell]


def test_the_page_runs_only_its_own_scripts(folder):
    text = (folder / "report.html").read_text()
    policy = re.search(r"script-src ([^;]*);", text)[1]
    assert "unsafe-inline" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    packed = re.search(r'<script id="plotly" type="text/plain">(.*?)</script>', text, flags=re.DOTALL)[1]
    library = gzip.decompress(base64.b64decode(packed)).decode()  # page.js inserts it as a script
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in (library, *scripts)]
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == set(hashes)


def test_a_page_with_interactive_figures_has_less_than_three_megabytes(folder):
    assert 1_000_000 < (folder / "report.html").stat().st_size < 3_000_000


def test_long_tables_are_cut_in_the_page_but_not_in_the_csv(tmp_path):
    frame = pd.DataFrame({"row": range(MAX_ROWS + 7)})
    report = Report(Headline("a", "b", {}, [], []), [Section("s", "S", [Table("t", "T", frame)])])
    assert "7 more rows" in render(report)
    write(report, tmp_path, csv=True)
    assert len(pd.read_csv(tmp_path / "tables" / "t.csv")) == MAX_ROWS + 7
    assert len(render(report)) < 100_000  # without figures the page does not contain plotly


def test_a_report_is_written_into_a_study_and_beside_a_file(tmp_path):
    assert folder_for(tmp_path) == tmp_path
    (tmp_path / "study.db").touch()
    assert folder_for(tmp_path / "study.db#name") == tmp_path / "study.db-name-report"


def test_an_output_that_is_a_file_is_a_one_line_error(tmp_path, monkeypatch, capsys):
    study, blocked = tmp_path / "study", tmp_path / "file"
    study.mkdir()
    blocked.write_text("")
    (study / "study.json").write_text(json.dumps({"config": {}}))
    columns = "trial_id,name,state,a,best_val_acc,trainable_parameters,epochs,seconds,created,node,error"
    (study / "trials.csv").write_text(f"{columns}\nt0,n,completed,1,0.5,9,1,2.0,2026-01-01T00:00:00+00:00,x,\n")
    (study / "history.csv").write_text(
        "trial_id,epoch,train_loss,train_acc,val_loss,val_acc,seconds\nt0,1,1,0,1,0.5,2\n"
    )
    monkeypatch.setattr("sys.argv", ["analysis", "report", str(study), "--output", str(blocked)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert str(blocked) in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["analysis", "report", str(study)])
    main()
    assert (study / "report.html").is_file()
    assert str(study / "report.html") in capsys.readouterr().out
    assert not (study / "tables").exists()


def test_the_summary_has_no_folded_tables(study, tmp_path):
    text = summary(build(study, tmp_path))
    assert "### All pairs of values" not in text
    assert "### Claims and verdicts" in text
