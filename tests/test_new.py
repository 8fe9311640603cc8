from pathlib import Path

import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.run_file import read_run_file
from inat.errors import ConfigError
from inat.new import NewCommand, write_example


def test_it_writes_an_example_and_says_what_runs_it(tmp_path, capsys):
    write_example(NewCommand(file=tmp_path / "run.yaml", kind="finetune"))
    assert "# backbones: [mobilenet_v2, resnet50, efficientnet_v2_s]" in (tmp_path / "run.yaml").read_text()
    assert read_run_file(tmp_path / "run.yaml", FinetuneConfig).values == {"data": "digits"}
    assert capsys.readouterr().out.splitlines()[-1] == f"next: inat tune-finetune --config {tmp_path / 'run.yaml'}"


def test_it_replaces_no_file_and_makes_no_folder(tmp_path):
    (tmp_path / "run.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"run\.yaml exists already; name another file"):
        write_example(NewCommand(file=tmp_path / "run.yaml"))
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        write_example(NewCommand(file=Path(tmp_path / "nowhere" / "run.yaml")))
