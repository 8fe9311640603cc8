import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import compare, main
from analysis.compare import comparison
from analysis.study import StudyData, load_study
from inat.study.study import Study
from tests.paths import ROOT


def finetune_study(directory: Path) -> Path:
    study = Study.create(directory, {"config": {}})
    runs = [
        ({"strategy": "freeze_all", "k_layers": 1}, [0.5, 0.8, 0.7], "completed"),
        ({"strategy": "freeze_all", "k_layers": 1}, [0.3], "stopped"),
        ({"strategy": "freeze_partial", "k_layers": 2}, [0.6, 0.9], "completed"),
        ({"strategy": "freeze_partial", "k_layers": 2}, [], "failed"),
    ]
    for params, accuracies, state in runs:
        trial = study.add_trial({"backbone": "resnet50", **params})
        for epoch, accuracy in enumerate(accuracies, start=1):
            best = max(accuracies[:epoch])
            row = {"epoch": epoch, "val_acc": accuracy, "best_val_acc": best, "seconds": 2.0, "trainable_parameters": 7}
            study.add_epoch(trial.trial_id, row)
        study.end_trial(trial.trial_id, state)
    study.close()
    return directory


def scratch_study(directory: Path) -> Path:
    study = Study.create(directory, {"config": {}})
    trial = study.add_trial({"conv_layers": 3})
    study.add_epoch(trial.trial_id, {"epoch": 1, "val_acc": 0.4, "best_val_acc": 0.4, "seconds": 5.0})
    study.end_trial(trial.trial_id, "completed")
    study.close()
    return directory


def test_one_row_per_network_and_strategy_best_first(tmp_path):
    studies = {name: load_study(make(tmp_path / name)) for name, make in
               (("scratch", scratch_study), ("tuned", finetune_study))}  # fmt: skip
    table = comparison(studies)
    assert list(table["network"]) == ["resnet50", "resnet50", "scratch CNN"]
    assert list(table["strategy"]) == ["freeze_partial k=2", "freeze_all", "-"]
    frozen = table.loc[1]
    assert (frozen["trials"], frozen["completed"]) == (2, 1)
    assert (frozen["worst"], frozen["best"], frozen["epochs_to_best"]) == (0.3, 0.8, 2)
    assert frozen["median"] == pytest.approx(0.55)
    assert (frozen["seconds"], frozen["total_seconds"], frozen["trainable_parameters"]) == (6.0, 8.0, 7)
    assert table.loc[0, "trials"] == 1  # the failed one has no result


def test_a_study_without_results_is_refused():
    empty = StudyData(pd.DataFrame({"trial_id": [], "state": [], "best_val_acc": []}), pd.DataFrame(), {})
    with pytest.raises(ValueError, match="no study can be compared .a: the study has no trial yet; start"):
        comparison({"a": empty})


def test_the_command_prints_and_writes_the_table(tmp_path):
    studies = [str(scratch_study(tmp_path / "scratch")), str(finetune_study(tmp_path / "tuned"))]
    command = [sys.executable, "-m", "analysis", "compare", *studies]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "| resnet50" in done.stdout
    assert "0.9000" in done.stdout
    assert (tmp_path / "comparison.md").read_text().strip() in done.stdout
    assert "scratch: not evaluated on test photos" in done.stdout
    assert len(pd.read_csv(tmp_path / "comparison.csv")) == 3


def test_the_test_accuracy_of_each_study_is_printed_below_the_table(tmp_path):
    study = scratch_study(tmp_path / "scratch")
    best = {"trial_id": "t0000", "test": {"test_acc": 0.375, "test_loss": 1.0, "images": 8}}
    (study / "best.json").write_text(json.dumps(best))
    command = [sys.executable, "-m", "analysis", "compare", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "scratch: test accuracy 0.3750 of t0000 on 8 held-out images" in done.stdout


def test_studies_with_the_same_name_are_listed_by_path(tmp_path):
    studies = [str(scratch_study(tmp_path / "a" / "same")), str(finetune_study(tmp_path / "b" / "same"))]
    command = [sys.executable, "-m", "analysis", "compare", *studies, "--output", str(tmp_path)]
    subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert set(pd.read_csv(tmp_path / "comparison.csv")["study"]) == set(studies)


def test_a_folder_that_is_not_a_study_is_a_one_line_error(tmp_path):
    command = [sys.executable, "-m", "analysis", "compare", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} is not a study directory: it has no study.json, trials.csv,")
    assert done.stderr.count("\n") == 1


def test_studies_with_different_objectives_are_refused_unless_a_metric_is_named(tmp_path):
    paths = {}
    for metric in ("accuracy", "macro_f1"):
        study = Study.create(tmp_path / metric, {"config": {"metric": metric}})
        trial = study.add_trial({"x": 1})
        row = {"epoch": 1, "val_acc": 0.5, "val_macro_f1": 0.4, study.objective.best_column: 0.4}
        study.add_epoch(trial.trial_id, row)
        study.end_trial(trial.trial_id, "completed")
        study.close()
        paths[metric] = study.directory
    with pytest.raises(ValueError, match=r"different metrics \(accuracy: best_val_acc, macro_f1: best_val_macro_f1\)"):
        comparison({name: load_study(path) for name, path in paths.items()})
    table = comparison({name: load_study(path, metric="val_acc") for name, path in paths.items()})
    assert table["best"].tolist() == [0.5, 0.5]


def photos_study(directory: Path, fingerprint: str) -> Path:
    data = {"source": f"/photos/{fingerprint}", "fingerprint": fingerprint * 64, "classes": ["a"]}
    study = Study.create(directory, {"config": {}, "data": data})
    for number, accuracy in enumerate([0.2, 0.3, 0.5, 0.4, 0.35, 0.45]):
        trial = study.add_trial({"backbone": "vit", "strategy": "lora", "learning_rate": 10.0**-number})
        for epoch in (1, 2):
            value = accuracy * epoch / 2
            study.add_epoch(trial.trial_id, {"epoch": epoch, "val_acc": value, "best_val_acc": value, "seconds": 30.0})
        study.end_trial(trial.trial_id, "completed")
    study.close()
    return directory


def test_the_command_refuses_other_photos_in_one_line_and_names_the_option(tmp_path, capsys, monkeypatch):
    paths = [photos_study(tmp_path / "here", "a"), photos_study(tmp_path / "there", "b")]
    monkeypatch.setattr(sys, "argv", ["analysis", "compare", *map(str, paths)])
    with pytest.raises(SystemExit) as caught:
        main()
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("error: the studies cannot be compared: here and there have different photos (/photos/a")
    assert error.endswith("pass --different-data to see them anyway\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "comparison.csv").exists()


def test_with_the_option_the_difference_stands_above_the_table(tmp_path, capsys):
    paths = (photos_study(tmp_path / "here", "a"), photos_study(tmp_path / "there", "b"))
    compare(paths, different_data=True, price_per_hour=6.0)
    printed = capsys.readouterr().out
    assert printed.startswith("Different data: here and there have different photos")
    assert printed.index("Different data") < printed.index("| study")
    table = pd.read_csv(tmp_path / "comparison.csv").set_index("study")
    assert table.at["here", "equal_trials"] == 6
    assert table.at["here", "expected_best"] == 0.5
    assert table.at["here", "cost"] == pytest.approx(0.1)  # a minute
    assert table.at["here", "total_cost"] == pytest.approx(0.6)
    assert table.at["there", "epochs_to_95"] == 2
    assert table.at["there", "spread"] == pytest.approx(0.3)
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_price_that_is_none_is_refused(tmp_path):
    study = photos_study(tmp_path / "here", "a")
    for price in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"--price-per-hour must be positive, got "):
            compare((study,), price_per_hour=price)


def test_gains_of_classes_are_drawn_if_two_studies_have_a_final_model(tmp_path, capsys):
    paths = (photos_study(tmp_path / "here", "a"), photos_study(tmp_path / "there", "a"))
    for path, recall in zip(paths, (0.2, 0.8), strict=True):
        (path / "final").mkdir()
        rows = [{"class": "bird", "recall": recall, "support": 50}]
        test = {"accuracy": recall, "images": 50, "per_class": rows}
        (path / "final" / "metrics.json").write_text(json.dumps({"format": 1, "winner": {}, "test": test}))
    compare(paths)
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("| bird"))
    assert [cell.strip() for cell in row.split("|")[1:8]] == ["bird", "there", "here", "50", "0.8", "0.2", "0.6"]
    assert (tmp_path / "comparison-classes.png").exists()


def test_a_strange_source_cannot_add_markup(tmp_path, capsys):
    study = photos_study(tmp_path / "here", "a")
    info = json.loads((study / "study.json").read_text())
    info["data"]["source"] = "<img src=x>\n# big\x1b[31m"
    (study / "study.json").write_text(json.dumps(info))
    compare((study,))
    for text in (capsys.readouterr().out, (tmp_path / "comparison.md").read_text()):
        assert "<img" not in text
        assert "\n# big" not in text
        assert "\x1b" not in text
