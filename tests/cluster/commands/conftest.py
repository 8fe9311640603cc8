"""A fake cluster: three folders of this machine act as hosts, behind a stand-in for ssh."""

import json
import os
import socket
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from inat.cluster import __main__ as command
from inat.cluster import check, launcher_file
from tests.paths import ROOT

FAKE_SSH = Path(__file__).parent / "fake_ssh.py"
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
ROOMY = ("--min-free-gb", "0.001")  # options of check for a test machine with little free space
TOKEN = "a-token-that-is-to-be-printed-nowhere"


class FakeCluster:
    """Launcher file and hosts; a test changes ``hosts`` and ``launcher`` before it calls ``write``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self.photos = folder / "photos"
        for place in (self.shared, *(self.photos / split / "bird" for split in ("train", "val"))):
            place.mkdir(parents=True)
        (self.photos / "train" / "bird" / "1.jpg").touch()
        self.hosts: dict[str, dict[str, Any]] = {address: {"home": str(self._home(address))} for address in ADDRESSES}
        key = folder / "key"
        key.touch(mode=0o600)
        self.launcher: dict[str, Any] = {
            "cluster_name": "test",
            "provider": {"type": "local", "head_ip": ADDRESSES[0], "worker_ips": list(ADDRESSES[1:])},
            "auth": {"ssh_user": "user", "ssh_private_key": str(key)},
            "metadata": {"shared_path": str(self.shared), "data": str(self.photos)},
            "head_start_ray_commands": ["ray stop", f"ray start --head --port={free_port()} --min-worker-port=10000"],
            "worker_start_ray_commands": [f"ray start --address=x:6379 --node-manager-port={free_port()}"],
        }

    def _home(self, address: str) -> Path:
        home = self.folder / address
        (home / ".ray").mkdir(parents=True)
        self.token(home).write_text(TOKEN)
        self.token(home).chmod(0o600)
        paths = f"PATH={home}/bin:{Path(sys.executable).parent}:/usr/bin:/bin PYTHONPATH={ROOT}"
        (home / ".bashrc").write_text(f"echo welcome to {address}\nexport {paths}\n")
        (home / "bin").mkdir()
        (home / "bin" / "rsync").write_text("#!/bin/sh\n")
        (home / "bin" / "rsync").chmod(0o755)
        (home / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")  # not executable, so the host has no GPUs
        return home

    def token(self, home: Path) -> Path:
        return home / ".ray" / "auth_token"

    def note(self, state: str, **tags: str) -> None:
        """Write the note about the head that `ray up` and `ray down` leave on the user's machine."""
        (self.folder / "state").mkdir(exist_ok=True)
        nodes = {ADDRESSES[0]: {"state": state, "tags": tags}}
        (self.folder / "state" / "cluster-test.state").write_text(json.dumps(nodes))

    def write(self) -> Path:
        """Write the configuration of the hosts and the launcher file; returns the launcher file."""
        (self.folder / "hosts.json").write_text(json.dumps(self.hosts))
        file = self.folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(self.launcher))
        return file


@pytest.fixture
def fake_cluster(tmp_path, monkeypatch) -> FakeCluster:
    """A cluster of three healthy hosts."""
    binaries = tmp_path / "laptop"
    binaries.mkdir()
    (binaries / "ssh").write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_SSH} {tmp_path}/hosts.json "$@"\n')
    (binaries / "rsync").write_text("#!/bin/sh\n")
    for file in binaries.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(launcher_file, "STATE_FOLDER", tmp_path / "state")
    # The hosts run in the environment of the tests, which may differ from requirements.txt (make test-oldest).
    monkeypatch.setattr(check, "required_versions", lambda: {name: metadata.version(name) for name in check.PINNED})
    return FakeCluster(tmp_path)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command; returns its exit code and its output."""

    def run_command(*args: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["inat.cluster", *map(str, args)])
        code = 0
        try:
            command.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run_command


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def lines(text: str, kind: str) -> list[str]:
    """Lines of the output of check that begin with ``kind``."""
    return [line for line in text.splitlines() if line.startswith(kind)]
