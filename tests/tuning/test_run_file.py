from pathlib import Path

import pytest

from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.study.study import Study
from inat.tuning import launch
from inat.tuning.run_file import keep_options, save_options

CONFIG = SearchConfig(data="digits", num_samples=4)


def test_a_study_keeps_the_options_it_began_with(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    keep_options(study, CONFIG)
    assert SearchConfig.from_file(study.directory / "run.yaml") == CONFIG


def test_saving_options_names_what_runs_them(tmp_path, capsys):
    save_options(CONFIG, tmp_path / "run.yaml")
    assert SearchConfig.from_file(tmp_path / "run.yaml") == CONFIG
    assert capsys.readouterr().out.endswith(f"next: inat tune-scratch --config {tmp_path / 'run.yaml'}\n")
    with pytest.raises(ConfigError, match=r"cannot write .*/no/run\.yaml \(No such file"):
        save_options(CONFIG, tmp_path / "no" / "run.yaml")


@pytest.mark.parametrize(("text", "planned"), [("time_budget: 9m", True), ("time_budget: 9m\nmax_epochs: 9", False)])
def test_options_of_a_file_count_as_typed(tmp_path, monkeypatch, text, planned):
    (tmp_path / "run.yaml").write_text(f"data: digits\n{text}\n")
    monkeypatch.setattr("sys.argv", ["tune_scratch.py", "--config", str(tmp_path / "run.yaml")])
    runs = []
    monkeypatch.setattr(launch, "_run", lambda config, planned_from: runs.append(planned_from is not None))
    launch.run_search(SearchConfig, "")
    assert runs == [planned]


def test_saving_the_options_runs_nothing(tmp_path, monkeypatch):
    path = Path(tmp_path / "saved.yaml")
    monkeypatch.setattr("sys.argv", ["tune_scratch.py", "--data", "digits", "--save-config", str(path)])
    monkeypatch.setattr(launch, "_run", lambda *_: pytest.fail("a search began"))
    launch.run_search(SearchConfig, "")
    assert SearchConfig.from_file(path) == SearchConfig(data="digits")
