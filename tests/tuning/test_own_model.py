"""A study of the user's own network: its file is recorded, kept, compared, and runs only if the user names it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.study import load_study
from inat.cli import parse_search
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError, StudyError
from inat.finalize.options import FinalizeCommand, retraining_config
from inat.models import own_code
from inat.study.metadata import read_info
from inat.study_check.derived import check_database
from inat.study_check.journal_lines import read_lines
from inat.study_check.problems import Removed
from inat.tuning import search
from inat.tuning.own_model import check_model, describe_own_model, model_settings
from tests.own_networks import PLAIN, STAGED, write_net
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(own_code, "_named", {})


def new_study(tmp_path: Path, text: str = PLAIN, **options) -> Path:
    """A study without trials, as a search leaves it that was killed early."""
    config = SearchConfig(data="digits", image_size=8, model=str(write_net(tmp_path, text)), name="study",
                          storage_path=tmp_path, cache_dir=tmp_path / "cache", num_samples=2, **options)  # fmt: skip
    study, _ = search.open_study(config)
    study.close()
    return study.directory


def resumed(directory: Path, *options: str) -> SearchConfig:
    config = parse_search(SearchConfig, "", ["--resume", str(directory), *options])
    study, _ = search.open_study(config)
    study.close()
    return config


def options(tmp_path: Path) -> list[str]:
    return ["--cache-dir", str(tmp_path / "cache")]


def test_a_study_has_the_hash_and_a_copy_of_the_file(tmp_path):
    directory = new_study(tmp_path)
    info = read_info(directory)
    assert info["model"]["file"] == "my_net.py"
    assert info["model"]["function"] == "build"
    assert (directory / "model" / "my_net.py").read_text() == PLAIN
    assert info["space"]["width"] == [4, 8]


def test_trials_build_the_network_from_the_copy(tmp_path):
    config = SearchConfig(data="digits", image_size=8, model=str(write_net(tmp_path, PLAIN)), name="study",
                          storage_path=tmp_path, cache_dir=tmp_path / "cache")  # fmt: skip
    study, _ = search.open_study(config)
    study.close()
    before = model_settings(study, config)
    write_net(tmp_path, PLAIN + "# edited while the search runs\n")
    assert model_settings(study, config) == before
    assert before["model_file"] == str(study.directory / "model" / "my_net.py")
    assert before["model_sha256"] == study.info["model"]["sha256"]


def test_a_study_of_other_networks_has_neither(tmp_path):
    config = SearchConfig(data="digits", image_size=8, name="study", storage_path=tmp_path,
                          cache_dir=tmp_path / "cache")  # fmt: skip
    study, _ = search.open_study(config)
    study.close()
    assert "model" not in study.info
    assert not (study.directory / "model").exists()
    assert model_settings(study, config) == {}
    # Not even if somebody has written one into study.json.
    study.info["model"] = {"file": "net.py", "function": "build", "sha256": "0" * 64}
    assert model_settings(study, config) == {}
    del study.info["model"]
    with pytest.raises(StudyError, match="is a study of other networks than that of --model .*; leave it out"):
        resumed(study.directory, *options(tmp_path), "--model", str(write_net(tmp_path, PLAIN)))


def test_a_network_that_cannot_be_trained_leaves_no_study_behind(tmp_path):
    with pytest.raises(ConfigError, match="has no function build"):
        new_study(tmp_path, "x = 1")
    assert not (tmp_path / "study").exists()


def test_a_search_is_resumed_only_with_the_file_named(tmp_path):
    directory = new_study(tmp_path)
    with pytest.raises(StudyError, match=f"used only if you name them, too; add .*--model {tmp_path / 'my_net.py'}"):
        resumed(directory, *options(tmp_path))
    resumed(directory, *options(tmp_path), "--model", str(tmp_path / "my_net.py"))
    resumed(directory, *options(tmp_path), "--model", str(directory / "model" / "my_net.py"))


def test_a_modern_search_is_resumed_although_the_network_has_a_range_with_steps(tmp_path):
    text = PLAIN.replace("tune.choice([4, 8])", "tune.qrandint(8, 64, 8)")
    assert text != PLAIN
    directory = new_study(tmp_path, text, space="modern")
    before = read_info(directory)["space"]
    assert before["width"] == {"low": 8, "high": 64, "scale": "uniform", "quantum": 8}
    resumed(directory, *options(tmp_path), "--model", str(tmp_path / "my_net.py"))
    assert read_info(directory)["space"] == before


def test_the_code_of_a_study_does_not_run_by_itself(tmp_path):
    directory, trace = new_study(tmp_path), tmp_path / "trace"
    hostile = f"open({str(trace)!r}, 'w').close()\n{PLAIN}"
    write_net(directory / "model", hostile)
    write_net(tmp_path, hostile)
    with pytest.raises(StudyError):
        resumed(directory, *options(tmp_path))
    command = FinalizeCommand(study=directory, cache_dir=tmp_path / "cache")
    with pytest.raises(StudyError, match="add .*--model"):
        retraining_config(read_info(directory), command)
    (directory / "study.db").write_bytes(b"no database")
    problems = list(check_database(directory, read_lines(directory)[1], Removed(directory)))
    with pytest.raises(StudyError, match="study.db needs the space of the network in .*; --resume STUDY writes it"):
        problems[0].mend()
    assert not trace.exists()


def test_a_changed_file_does_not_go_on_with_a_study(tmp_path):
    directory = new_study(tmp_path)
    write_net(tmp_path, PLAIN.replace("ReLU", "GELU"))
    with pytest.raises(StudyError, match=r"differs from the my_net.py with which .* began; restore it, pass --model"):
        resumed(directory, *options(tmp_path), "--model", str(tmp_path / "my_net.py"))
    assert (directory / "model" / "my_net.py").read_text() == PLAIN


def test_another_function_of_the_file_does_not_go_on_with_a_study(tmp_path):
    directory = new_study(tmp_path, PLAIN + "\n\nother = build\n")
    with pytest.raises(StudyError, match=r"is a study of build\(\) in my_net.py; add :build to --model"):
        resumed(directory, *options(tmp_path), "--model", f"{tmp_path / 'my_net.py'}:other")


def test_the_hash_in_study_json_cannot_be_edited(tmp_path):
    directory = new_study(tmp_path)
    info = json.loads((directory / "study.json").read_text())
    info["model"]["sha256"] = "0" * 64
    (directory / "study.json").write_text(json.dumps(info))
    with pytest.raises(StudyError, match="was edited: model differ"):
        read_info(directory)


def test_a_name_in_study_json_leads_nowhere_else(tmp_path):
    directory = new_study(tmp_path)
    for name in ("..", "../../my_net.py", "my_net.txt", 3):
        info = json.loads((directory / "study.json").read_text())
        info["model"]["file"] = name
        with pytest.raises(StudyError, match="does not say which file its network is in"):
            check_model(directory, info, SearchConfig(data="digits", model=str(tmp_path / "my_net.py")))


def test_fine_tuning_says_that_a_network_without_stages_trains_whole(tmp_path):
    for text, whole in ((PLAIN, True), (STAGED, False)):
        name = f"whole-{whole}"
        config = FinetuneConfig(data="digits", image_size=8, model=str(write_net(tmp_path, text)), name=name,
                                storage_path=tmp_path, cache_dir=tmp_path / "cache", k_layers=(1,),
                                searcher="tpe")  # fmt: skip
        study, _ = search.open_study(config)
        study.close()
        assert ("no stages(model), so the whole network trains" in describe_own_model(study)) == whole


def test_the_copy_is_not_written_through_a_link(tmp_path):
    directory, victim = new_study(tmp_path), tmp_path / "victim.py"
    victim.write_text("thesis")
    (directory / "model" / "my_net.py").unlink()
    (directory / "model" / "my_net.py").symlink_to(victim)
    with pytest.raises(StudyError, match="is a link to"):
        resumed(directory, *options(tmp_path), "--model", str(tmp_path / "my_net.py"))
    assert victim.read_text() == "thesis"


def test_a_retraining_has_the_same_network(tmp_path):
    directory = new_study(tmp_path)
    command = FinalizeCommand(study=directory, cache_dir=tmp_path / "cache", model=str(tmp_path / "my_net.py"))
    config = retraining_config(read_info(directory), command)
    assert config.trial_settings()["model_sha256"] == read_info(directory)["model"]["sha256"]
    assert replace(config, resume=None).model == str(tmp_path / "my_net.py")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HOME": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300, check=False, cwd=folder,
        env=environment,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
def test_from_the_search_to_a_prediction(tmp_path, image_tree):
    write_net(tmp_path, PLAIN)
    photos = str(image_tree(train=20, val=4))
    started = [str(ROOT / "tune_scratch.py"), "--data", photos, "--image-size", "16", "--model", "my_net.py", "--name",
               "own", "--num-samples", "2", "--max-epochs", "2"]  # fmt: skip
    done = run(tmp_path, *started)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model   build() of results/own/model/my_net.py, the study's copy" in done.stdout
    trials = load_study(tmp_path / "results" / "own").trials
    assert set(trials["width"]) <= {4, 8}
    assert set(trials["state"]) <= {"completed", "stopped"}
    (tmp_path / "my_net.py").unlink()  # what follows happens on another machine
    copy = "results/own/model/my_net.py"
    done = run(tmp_path, "-m", "inat.finalize", "results/own", "--top", "1", "--seeds", "1", "--model", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--model my_net.py" in (tmp_path / "results/own/final/MODEL_CARD.md").read_text()
    final = ["-m", "inat.predict", "results/own/final", "photos/val"]
    done = run(tmp_path, *final)
    assert done.returncode == 2
    assert "runs only if you name it; add --model my_net.py" in done.stderr
    done = run(tmp_path, *final, "--model", "results/own/final/my_net.py")
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = run(tmp_path, "-m", "inat.interpret", "predictions", "results/own", "--model", copy)
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    again = run(tmp_path, *started[:1], "--resume", "results/own", "--num-samples", "3", "--model", copy)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 of them already ended" in again.stdout


@pytest.mark.long
@pytest.mark.slow
def test_stages_are_searched_with_kept_features(tmp_path):
    write_net(tmp_path, STAGED)
    done = run(
        tmp_path, str(ROOT / "tune_finetune.py"), "--data", "digits", "--image-size", "16", "--model", "my_net.py",
        "--searcher", "grid", "--k-layers", "1", "--learning-rates", "1e-2", "--batch-sizes", "64", "--augmentation",
        "off", "--max-epochs", "2", "--name", "own", "--cache-dir", "cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "search  3 trials" in done.stdout
    trials = load_study(tmp_path / "results" / "own").trials
    assert sorted(trials["strategy"]) == ["freeze_all", "freeze_partial", "unfreeze_all"]
    assert trials["trainable_parameters"].is_unique
    kept = [path for path in (tmp_path / "cache").glob("features-my_net-train-*") if path.is_dir()]
    assert len(kept) == 2  # of freeze_all and freeze_partial


IMPORTING = f"from blocks.act import act\n{PLAIN.replace('nn.ReLU()', 'act()')}"


def write_blocks(folder: Path, activation: str = "ReLU") -> None:
    (folder / "blocks").mkdir(exist_ok=True)
    (folder / "blocks" / "act.py").write_text(f"from torch import nn\ndef act():\n    return nn.{activation}()\n")


def test_files_beside_the_network_belong_to_the_study(tmp_path):
    write_blocks(tmp_path)
    directory = new_study(tmp_path, IMPORTING)
    copy = directory / "model" / "my_net.py"
    assert (directory / "model" / "blocks" / "act.py").read_text() == (tmp_path / "blocks" / "act.py").read_text()
    assert [line.split()[1] for line in read_info(directory)["model"]["imports"]] == ["blocks/act.py"]
    write_blocks(tmp_path, "GELU")
    differs = f"blocks/act.py, which {tmp_path}/my_net.py imports, differs from the blocks/act.py with which .* began; "
    with pytest.raises(StudyError, match=f"{differs}restore it, pass --model .*/model/my_net.py, which"):
        resumed(directory, *options(tmp_path), "--model", str(tmp_path / "my_net.py"))
    resumed(directory, *options(tmp_path), "--model", str(copy))
    write_blocks(copy.parent, "GELU")
    with pytest.raises(StudyError, match="blocks/act.py, which .* differs"):
        resumed(directory, *options(tmp_path), "--model", str(copy))


def test_a_study_of_the_default_numbers_of_stages_is_resumed(tmp_path):
    path = write_net(tmp_path, STAGED)
    config = FinetuneConfig(data="digits", image_size=8, model=str(path), name="study", storage_path=tmp_path,
                            cache_dir=tmp_path / "cache", num_samples=2)  # fmt: skip
    study, _ = search.open_study(config)
    study.close()
    assert list(study.info["config"]["k_layers"]) == [1]
    assert "it has 2 stages before the head: --k-layers 1\n" in describe_own_model(study)
    again = parse_search(FinetuneConfig, "", ["--resume", str(study.directory), "--model", str(path),
                                                *options(tmp_path)])  # fmt: skip
    study, _ = search.open_study(again)
    study.close()
