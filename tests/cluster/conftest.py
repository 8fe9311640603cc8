"""A cluster of the project's cluster.yaml in the lab, brought up as a user does it."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster_lab.lab import REQUIRED, Lab, hindrance
from tests.cluster_lab.launch import ROOT, edited

WORKERS = (2, 3)
STRANGER = 4  # in the same network, without the token


class Cluster:
    """Head on host 1, workers on hosts 2 and 3; ``results`` is the folder that all share."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.python, self.root = sys.executable, ROOT
        self.results = lab.shared / "results"
        self.yaml = lab.shared / "cluster.yaml"
        self.results.mkdir()
        self.yaml.write_text(edited(lab, self.results, WORKERS))
        self.laptop("umask 077; ray get-auth-token --generate >/dev/null")

    def laptop(self, command: str) -> str:
        """Run a shell command on the user's laptop, in the checkout; its output. Fails if the command does."""
        ready = f"cd {shlex.quote(str(ROOT))}; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
        done = self.lab.run(0, "bash", "-c", ready + command, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def up(self) -> None:
        """`ray up`, then wait until all have joined."""
        self.laptop(f"ray up -y {self.yaml}")
        wait_until(lambda: len(self.nodes()) == 1 + len(WORKERS), 120, "all machines have joined")

    def shell(self, host: int, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A command in a user's login shell on a host, as `ray exec` runs it."""
        return self.lab.run(host, "bash", "--login", "-ic", command, timeout=timeout)

    def nodes(self) -> list[str]:
        """Names of the hosts whose Ray is up, as the head knows them; none while it does not answer."""
        code = "import ray; ray.init('auto', logging_level=50); " \
               "print('up', *[n['NodeManagerHostname'] for n in ray.nodes() if n['Alive']])"  # fmt: skip
        said = self.shell(1, f"python -c {shlex.quote(code)}").stdout.splitlines()
        return next((line.split()[1:] for line in said if line.startswith("up ")), [])

    def search(self, *options: str, slow: float = 1.0, output: str = "output.txt") -> subprocess.Popen[bytes]:
        """Start a search on the head whose epochs take at least ``slow`` seconds."""
        script = Path(__file__).parent.parent / "cluster_lab" / "slow_search.py"
        command = shlex.join(["python", str(script), str(slow), *options, "--address", "auto"])
        return self.lab.start(
            1, "bash", "--login", "-ic", f"cd inat-search && exec {command}", output=self.lab.state / output
        )


def wait_until(reached: Callable[[], object], seconds: float, what: str) -> float:
    """Seconds until ``reached`` is true; fails after ``seconds``."""
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - started


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if reason := hindrance():
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    if not os.environ.get(REQUIRED):
        pytest.skip("the cluster lab takes half an hour; run `make test-cluster`")
    with Lab(STRANGER) as lab:
        made = Cluster(lab)
        made.up()
        yield made
