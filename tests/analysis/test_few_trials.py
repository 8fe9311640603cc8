"""Studies of one trial, of failed trials only, and of too few trials: one clear sentence from every command."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis import __main__ as command
from analysis.claims.check import left_out_takeaways, published_takeaways
from analysis.comparable import sample_at
from analysis.nothing_to_compare import no_result
from analysis.report.build import build
from analysis.report.write import summary
from analysis.study import StudyData
from tests.analysis.studies import early_stopped_study, study_of, write_study_dir


def failed_study(count: int) -> StudyData:
    study = study_of([{"a": i} for i in range(count)], [[]] * count, ["failed"] * count)
    return replace(study, trials=study.trials.assign(error="RuntimeError: the moon\nin the way"))


def directory(tmp_path: Path, study: StudyData) -> str:
    return str(write_study_dir(study, tmp_path / "study"))


def run(monkeypatch, capsys, *words: str) -> tuple[str, str, int]:
    monkeypatch.setattr("sys.argv", ["analysis", *words])
    code = 0
    try:
        command.main()
    except SystemExit as error:
        code = int(error.code or 0)
    printed = capsys.readouterr()
    return printed.out, printed.err, code


@pytest.mark.parametrize(("count", "sentence"), [
    (1, "the only trial failed (RuntimeError: the moon); mend the cause and run it again"),
    (3, "all 3 trials failed (RuntimeError: the moon); mend the cause and run them again"),
])  # fmt: skip
def test_a_study_of_failed_trials(tmp_path, monkeypatch, capsys, count, sentence):
    path = directory(tmp_path, failed_study(count))
    for words in (["importance", path], ["claims", path], ["compare", path]):
        out, err, code = run(monkeypatch, capsys, *words)
        assert (code, sentence in err) == (2, True), (out, err)
    out, err, code = run(monkeypatch, capsys, "audit", path)
    assert (code, err) == (0, "")
    assert f"{sentence[:1].upper()}{sentence[1:]}." in out
    assert "the moon" in out
    assert "1 trials" not in out


@pytest.mark.slow
def test_the_report_of_failed_trials(tmp_path):
    report = build(failed_study(3), tmp_path)
    assert report.failures == []
    assert report.headline.subtitle.startswith("all 3 trials failed (RuntimeError: the moon)")
    assert "Not available for this study: all 3 trials failed" in summary(report)


def test_why_there_is_no_result():
    whole = study_of([{"a": 1}, {"a": 2}], [[0.5], [0.6]])
    assert str(no_result(replace(whole, trials=whole.trials.head(0)))) == "the study has no trial yet; start the search"
    running = replace(whole, trials=whole.trials.assign(state="running", best_val_acc=float("nan")))
    assert str(no_result(running)) == "no trial has a result yet; wait for the first results of the search"
    ended = replace(whole, trials=whole.trials.assign(best_val_acc=float("nan")))
    assert str(no_result(ended)) == "no trial has a finite value of best_val_acc; choose another metric with --metric"


@pytest.mark.parametrize("words", [["importance"], ["claims"], ["compare"], ["audit"]])
def test_a_study_of_one_trial(tmp_path, monkeypatch, capsys, words):
    path = directory(tmp_path, study_of([{"a": 1}], [[0.4, 0.5]]))
    out, err, code = run(monkeypatch, capsys, words[0], path)
    assert (code, err) == (0, "")
    assert "1 trials" not in out
    if words == ["importance"]:
        assert out.startswith("No importance: only one trial can be compared (best validation accuracy within 2 epochs")
        assert "|" not in out
    if words == ["audit"]:
        assert out.startswith("The study has one trial, so there is nothing to compare it with.")


@pytest.mark.slow
def test_the_report_of_one_trial(tmp_path):
    report = build(study_of([{"a": 1}], [[0.5]]), tmp_path)
    text = summary(report)
    assert not {"parallel", "panel", "importance"} & {figure.name for figure in report.figures}
    assert "1 trials" not in text
    assert "1 epochs" not in text
    assert "The only result is 0.5" in text
    assert "Not available for this study: only one trial can be compared. This concerns W&B panel, " in text
    assert text.count("only one trial can be compared") == 1


@pytest.mark.slow
def test_the_report_of_two_trials_has_no_figure_of_what_is_unknown(tmp_path):
    report = build(study_of([{"a": 1}, {"a": 2}], [[0.5], [0.6]]), tmp_path)
    assert report.failures == []
    assert not {"panel", "importance", "effects"} & {figure.name for figure in report.figures}
    assert "Importance and correlation are unknown (" in summary(report)


def test_the_importance_of_too_few_trials_is_one_sentence(tmp_path, monkeypatch, capsys):
    study = study_of([{"a": i % 2, "b": i} for i in range(8)], [[0.1 * i] for i in range(8)])
    csv = tmp_path / "importance.csv"
    out, err, code = run(monkeypatch, capsys, "importance", directory(tmp_path, study), "--csv", str(csv))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == (
        "The ranking of the hyperparameters is unknown (8 trials; a random forest needs 10 with different results)."
    )
    assert out.splitlines()[1] == sample_at(study).budget_text
    assert "|" not in out
    assert f"There is no table, so {csv} is not written" in out
    assert not csv.exists()


def test_published_claims_are_left_out_where_the_study_has_other_hyperparameters(tmp_path, monkeypatch, capsys):
    other = study_of([{"depth": i % 3} for i in range(12)], [[0.1 * (i % 5)] for i in range(12)])
    assert published_takeaways(other) == []
    constant = study_of([{"depth": i % 3, "use_augmentation": True} for i in range(12)], [[0.1]] * 12)
    assert published_takeaways(constant) == []
    assert left_out_takeaways(other).startswith("None of the ten claims published for nature_12K is about the hyperp")
    out, err, code = run(monkeypatch, capsys, "claims", directory(tmp_path, other))
    assert (code, err) == (0, "")
    assert out.strip() == left_out_takeaways(other)
    some = early_stopped_study()
    table = [claim.text for claim in published_takeaways(some)]
    assert not any("dropout" in text or "use_augmentation" in text for text in table)
    assert any("unsteady_val_loss" in text for text in table)
    without = replace(some, history=some.history.assign(val_loss=float("nan")))
    assert not any("unsteady_val_loss" in claim.text for claim in published_takeaways(without))
    assert left_out_takeaways(some) == (
        "3 of the ten claims published for nature_12K are left out: their hyperparameters do not vary in this study."
    )


@pytest.mark.slow
def test_the_report_of_another_space_has_no_section_of_the_published_claims(tmp_path):
    other = study_of([{"depth": i % 3} for i in range(12)], [[0.1 * (i % 5)] for i in range(12)])
    report = build(other, tmp_path)
    assert "claims" not in {section.name for section in report.sections}
    assert not any("nature_12K" in finding for finding in report.headline.findings)
    assert report.failures == []


def test_a_named_claim_is_checked_whatever_the_published_ones_are(tmp_path, monkeypatch, capsys):
    other = study_of([{"depth": i % 3} for i in range(12)], [[0.1 * (i % 5)] for i in range(12)])
    out, _, code = run(monkeypatch, capsys, "claims", directory(tmp_path, other), "depth=1 best")
    assert code == 0
    assert "nature_12K" not in out
    assert "depth=1 best" in out
