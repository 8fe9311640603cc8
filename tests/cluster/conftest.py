"""A cluster in the lab, started from the project's cluster.yaml as a user would."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster_lab.lab import REQUIRED, Lab, missing_requirement
from tests.cluster_lab.launch import ROOT, edited

WORKERS = (2, 3)
STRANGER = 4  # a host in the same network, without the token


class Cluster:
    """The head is host 1, the workers are hosts 2 and 3; ``results`` is their shared folder."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.python, self.root = sys.executable, ROOT
        self.results = lab.shared / "results"
        self.yaml = lab.shared / "cluster.yaml"
        self.results.mkdir()
        self.yaml.write_text(edited(lab, self.results, WORKERS))
        self.laptop("umask 077; ray get-auth-token --generate >/dev/null")

    def laptop(self, command: str) -> str:
        """Run a shell command in the checkout on the user's laptop; returns its output, fails if the command fails."""
        ready = f"cd {shlex.quote(str(ROOT))}; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
        done = self.lab.run(0, "bash", "-c", ready + command, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def up(self) -> None:
        """Run `ray up` and wait until all hosts have joined."""
        self.laptop(f"ray up -y {self.yaml}")
        wait_until(lambda: len(self.nodes()) == 1 + len(WORKERS), 120, "all hosts have joined")

    def shell(self, host: int, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command in a user's login shell on a host, as `ray exec` does."""
        return self.lab.run(host, "bash", "--login", "-ic", command, timeout=timeout)

    def nodes(self) -> list[str]:
        """Names of the nodes that the head lists as alive; none while the head does not answer."""
        code = "import ray; ray.init('auto', logging_level=50); " \
               "print('up', *[n['NodeManagerHostname'] for n in ray.nodes() if n['Alive']])"  # fmt: skip
        printed = self.shell(1, f"python -c {shlex.quote(code)}").stdout.splitlines()
        return next((line.split()[1:] for line in printed if line.startswith("up ")), [])

    def search(self, *options: str, slow: float = 1.0, output: str = "output.txt") -> subprocess.Popen[bytes]:
        """Start a search on the head, with epochs of at least ``slow`` seconds."""
        script = Path(__file__).parent.parent / "cluster_lab" / "slow_search.py"
        command = shlex.join(["python", str(script), str(slow), *options, "--address", "auto"])
        return self.lab.start(
            1, "bash", "--login", "-ic", f"cd inat-search && exec {command}", output=self.lab.state / output
        )


def wait_until(reached: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until ``reached`` is true; returns the seconds it took, fails after ``seconds``."""
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - started


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if reason := missing_requirement():
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    if not os.environ.get(REQUIRED):
        pytest.skip("the cluster lab takes half an hour; run `make test-cluster`")
    with Lab(STRANGER) as lab:
        started = Cluster(lab)
        started.up()
        yield started
