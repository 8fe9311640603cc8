"""Commands of the launcher files, run on this machine with a temporary home folder."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from inat.cluster.launcher_file import results_link_target
from tests.paths import ROOT

FILES = ("cluster.yaml", "clusters/aws.yaml", "clusters/gcp.yaml", "clusters/azure.yaml")
LINE = ". ~/inat-search/shell.env"


def test_check_reads_data_and_shared_folder_from_the_file():
    content = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert content["metadata"]["data"] == "/data/inaturalist_12K"
    assert results_link_target(content["setup_commands"]) == "/mnt/shared/inat-results"


def command_of(file: str, section: str, part: str) -> str:
    (command,) = [command for command in yaml.safe_load((ROOT / file).read_text())[section] if part in command]
    return command


def run(command: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]} | variables
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("before", [None, "", "case $- in *i*) ;; *) return;; esac\necho 'it is 100 %'\n"])
def test_bashrc_begins_with_the_line_for_shells_exactly_once(before, file, tmp_path):
    if before is not None:
        (tmp_path / ".bashrc").write_text(before)
    for _ in range(2):
        done = run(command_of(file, "setup_commands", "~/.bashrc"), tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / ".bashrc").read_text().rstrip("\n") == f"{LINE}\n{before or ''}".rstrip("\n")
    assert [path.name for path in tmp_path.iterdir()] == [".bashrc"]


@pytest.mark.parametrize("variables", [{"RAY_CLOUD_INSTANCE_ID": "10.0.0.1"}, {}])
def test_the_head_starts_with_and_without_an_address_from_ray(variables, tmp_path):
    (tmp_path / "ray").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "ray").chmod(0o755)
    command = command_of("cluster.yaml", "head_start_ray_commands", "ray start")
    output = run(command, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", **variables).stdout
    assert ("--node-ip-address=10.0.0.1 " in output) == bool(variables)
    assert ("--node-ip-address" in output) == bool(variables)
    assert "start --head --port=6379 --" in output


def fake_aws(folder: Path) -> dict[str, str]:
    """Environment with stand-ins for aws, which logs its arguments, and for crontab, which uses ``folder/tab``."""
    (folder / "aws").write_text(f'#!/bin/sh\necho "$@" >> {folder}/aws.log\n')
    (folder / "crontab").write_text(f'#!/bin/sh\n[ "$1" = -l ] && cat {folder}/tab || cat > {folder}/tab\n')
    for name in ("aws", "crontab"):
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_results_are_fetched_once_per_head(tmp_path):
    command = command_of("clusters/aws.yaml", "head_setup_commands", "s3://BUCKET/results /shared")
    command = command.replace("/shared/", f"{tmp_path}/shared/")
    (tmp_path / "shared").mkdir()
    for _ in range(2):
        assert run(command, tmp_path, **fake_aws(tmp_path)).returncode == 0
    assert (tmp_path / "aws.log").read_text().count("sync") == 1


def test_results_are_fetched_again_after_a_failure(tmp_path):
    command = command_of("clusters/aws.yaml", "head_setup_commands", "s3://BUCKET/results /shared")
    command = command.replace("/shared/", f"{tmp_path}/shared/")
    (tmp_path / "shared").mkdir()
    variables = fake_aws(tmp_path)
    (tmp_path / "aws").write_text("#!/bin/sh\nexit 1\n")
    assert run(command, tmp_path, **variables).returncode == 1
    assert run(command, tmp_path, **fake_aws(tmp_path)).returncode == 0
    assert (tmp_path / "aws.log").read_text().count("sync") == 1


def test_the_crontab_gets_exactly_one_line_that_finds_aws(tmp_path):
    command = command_of("clusters/aws.yaml", "head_setup_commands", "crontab")
    for _ in range(2):
        done = run(command, tmp_path, **fake_aws(tmp_path))
        assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "tab").read_text().splitlines()
    assert line.startswith("* * * * * PATH=/usr/local/bin:$PATH flock -n /tmp/sync.lock aws s3 sync ")
    assert "%" not in line  # cron treats % as the end of the line
