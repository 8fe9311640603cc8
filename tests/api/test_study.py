from pathlib import Path

import pytest

from inat import SearchConfig, finalize, finetune, open_study, search
from inat.api import final, run, study
from inat.errors import ConfigError, InatError, StudyError
from inat.study.study import Study
from tests.helpers import change_info, run_epochs


@pytest.fixture
def directory(tmp_path) -> Path:
    made = Study.create(tmp_path / "study", {"search": "scratch", "config": SearchConfig(data="digits").to_json()})
    for value in (0.5, 0.75):
        trial = made.add_trial({"dropout": 0.2})
        run_epochs(made, trial.trial_id, [0.25, value])
        made.end_trial(trial.trial_id, "completed")
    made.close()
    return tmp_path / "study"


@pytest.fixture
def runs(monkeypatch) -> list:
    """The configurations and seams of the searches that would run."""
    found = []
    monkeypatch.setattr(study, "run", lambda config, seams, verbose: found.append((config, seams, verbose)))
    return found


def test_a_study_has_its_tables_and_its_best_trial(directory):
    opened = open_study(str(directory))
    assert opened.trials["best_val_acc"].tolist() == [0.5, 0.75]
    assert opened.history["epoch"].tolist() == [1, 2, 1, 2]
    best = opened.best
    assert (best.trial_id, best.value, best.epochs, best.params, best.test) == (
        "t0001",
        0.75,
        2,
        {"dropout": 0.2},
        None,
    )
    assert repr(opened) == f"<SearchedStudy {directory}: 2 trials, best 0.7500 of t0001>"
    assert Path(opened) == directory


def test_a_study_without_results_has_no_best_trial(tmp_path):
    Study.create(tmp_path / "study", {"config": {}}).close()
    opened = open_study(tmp_path / "study")
    assert opened.best is None
    assert "no result yet" in repr(opened)


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(StudyError, match="no study in"):
        open_study(tmp_path)


def test_resuming_takes_the_options_of_the_study_and_the_changes(directory, runs):
    opened = open_study(directory)
    assert opened.resume(num_samples=500, cache_dir="cache", verbose=False) is opened
    ((config, seams, verbose),) = runs
    assert (config.resume, config.num_samples, config.cache_dir) == (directory, 500, Path("cache"))
    assert (config.data, seams, verbose) == ("digits", run.Seams(), False)


def test_what_a_call_named_need_not_be_named_again(directory, runs):
    config = SearchConfig(data="digits", cache_dir="/fast")
    change_info(directory, lambda info: info.update(config=config.to_json()))
    with pytest.raises(StudyError, match="add --cache-dir /fast"):
        open_study(directory).resume()
    own = study.SearchedStudy(directory, config, run.Seams(functions=(print,)))
    own.resume()
    assert (runs[0][0].cache_dir, runs[0][1].functions) == (Path("/fast"), (print,))
    assert own.named_options == {"cache_dir": Path("/fast")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_sample": 9}, "unknown option 'num_sample'; did you mean 'num_samples'?"),
     ({"max_epochs": 9}, "--max-epochs 9 differs from the study's 27"),
     ({"num_samples": "many"}, "num_samples must be a whole number or None, got 'many'")],
)  # fmt: skip
def test_changes_that_cannot_be_are_refused(directory, runs, changes, message):
    with pytest.raises(ConfigError) as error:
        open_study(directory).resume(**changes)
    assert str(error.value).startswith(message)
    assert runs == []


def test_a_study_of_a_later_version_is_refused(directory):
    change_info(directory, lambda info: info.update(search="other"))
    with pytest.raises(StudyError, match="is a study of unknown kind 'other'; a newer version"):
        open_study(directory).resume()


@pytest.mark.parametrize("options", [{"plan": True}, {"resume": "x"}, {"augment_preview": "x.png"}])
def test_a_search_refuses_options_of_the_command_line(options):
    with pytest.raises(ConfigError, match="is for the command line; call"):
        search(SearchConfig(data="digits", **options))


def test_finetuning_refuses_the_options_of_another_search():
    with pytest.raises(ConfigError, match="finetune needs a FinetuneConfig, got SearchConfig"):
        finetune(SearchConfig(data="digits"))


def test_finalize_passes_the_options_and_what_the_search_named(directory, monkeypatch):
    commands = []
    monkeypatch.setattr("inat.finalize.command.finalize", commands.append)
    own = study.SearchedStudy(directory, SearchConfig(data="digits", cache_dir="/fast"))
    made = finalize(own, seeds=2, verbose=False)
    assert (commands[0].study, commands[0].seeds, commands[0].cache_dir) == (directory, 2, Path("/fast"))
    assert Path(made) == directory / "final"
    with pytest.raises(ConfigError, match="unknown option 'seed'; did you mean 'seeds'"):
        final.finalize(directory, seed=2)


def test_finalize_refuses_a_study_of_an_own_objective(directory):
    change_info(directory, lambda info: info.update(own_objective="mine"))
    with pytest.raises(InatError, match="is a study of the Python function mine; only networks"):
        finalize(directory)
