"""clusters/slurm.sbatch on a real Slurm of two nodes, both on this machine."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.study import load_study
from tests.clusters.slurm_lab import missing_commands, slurm, wait_for
from tests.paths import ROOT

FILE = ROOT / "clusters" / "slurm.sbatch"
TRIALS = 10
OPTIONS = ["--data", "digits", "--image-size", "16", "--num-samples", str(TRIALS), "--max-epochs", "4"]
START_SECONDS = 180  # two nodes of Ray, and the first trial, on few cores
REQUEUE_SECONDS = 120  # Slurm waits for the old run's credentials to expire


@pytest.fixture
def cluster(tmp_path):
    if missing := missing_commands():
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)} (Debian: slurmctld, slurmd, slurm-client, munge)")
    with slurm(tmp_path / "slurm") as environment:
        yield Jobs(environment, tmp_path / "project")


class Jobs:
    """Slurm's commands, and a project's folder with the files that a job needs."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        paths = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        packages = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]).strip(os.pathsep)
        self._environment = environment | {"PATH": paths, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}
        self.folder = folder
        folder.mkdir()
        (folder / "tune_scratch.py").symlink_to(ROOT / "tune_scratch.py")

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(self) -> str:
        size = ["--cpus-per-task=1", "--time=30"]
        return self.run("sbatch", "--parsable", *size, str(FILE), "tune_scratch.py", *OPTIONS)

    def state(self, job: str) -> str:
        return self.run("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")

    def log(self, job: str) -> str:
        log = self.folder / f"slurm-{job}.out"
        return log.read_text() if log.exists() else ""


def ray_processes(token: Path) -> list[int]:
    """Processes that have the job's token in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(token).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or of another user
    return found


@pytest.mark.slow
def test_a_job_near_its_limit_stops_and_its_requeued_run_ends_the_search(cluster):
    job = cluster.submit()
    token = cluster.folder / f".slurm-{job}.token"
    wait_for(lambda: f"[2/{TRIALS}]" in cluster.log(job), START_SECONDS)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    cluster.run("scancel", "--batch", "--signal=TERM", job)  # what --signal=B:TERM@300 does
    wait_for(lambda: cluster.state(job) == "PENDING", 90)
    assert "everything is kept" in cluster.log(job)
    assert not token.exists()
    wait_for(lambda: not ray_processes(token), 30)

    wait_for(lambda: cluster.state(job) == "COMPLETED", REQUEUE_SECONDS + 2 * START_SECONDS)
    study = load_study(cluster.folder / "results" / f"slurm-{job}")
    assert list(study.trials["state"].isin(["completed", "stopped"])) == [True] * TRIALS
    assert f"search  {TRIALS} trials, " in cluster.log(job)
    assert "of them already ended" in cluster.log(job)
    assert re.search("node .* has joined|trials  2 at a time", cluster.log(job))  # the second node takes part
    assert not token.exists()
    wait_for(lambda: not ray_processes(token), 30)


@pytest.mark.slow
def test_a_cancelled_job_stops_cleanly_and_is_not_requeued(cluster):
    job = cluster.submit()
    wait_for(lambda: f"[1/{TRIALS}]" in cluster.log(job), START_SECONDS)
    cluster.run("scancel", job)
    wait_for(lambda: cluster.state(job) == "CANCELLED", 90)
    assert "requeueing" not in cluster.log(job)
    wait_for(lambda: not ray_processes(cluster.folder / f".slurm-{job}.token"), 30)
    assert len(load_study(cluster.folder / "results" / f"slurm-{job}").trials) > 0


def test_the_script_is_valid_bash():
    subprocess.run(["bash", "-n", FILE], check=True)


def test_the_job_is_signalled_before_its_limit_and_may_be_requeued():
    directives = [line.split()[1] for line in FILE.read_text().splitlines() if line.startswith("#SBATCH ")]
    assert {"--signal=B:TERM@300", "--requeue", "--open-mode=append", "--ntasks-per-node=1"} <= set(directives)
