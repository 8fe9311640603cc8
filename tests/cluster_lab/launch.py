"""The project's cluster.yaml, edited as a user would for the hosts of a lab."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster_lab.lab import Lab

ROOT = Path(__file__).parent.parent.parent
PLACES = {  # values in the file that a user edits
    "head_ip": "192.168.1.10",
    "worker_ips": "[192.168.1.11, 192.168.1.12]",
    "user": "ssh_user: ubuntu",
    "key": "~/.ssh/id_ed25519",
    "shared": "/mnt/shared/inat-results",
    "data": "data: /data/inaturalist_12K",
}


def edited(lab: Lab, shared: Path, workers: Sequence[int]) -> str:
    """cluster.yaml with the lab's hosts, key and shared folder: host 1 is the head.

    Hosts cannot download packages, so the environment of the tests replaces `make setup`. Each host offers one core,
    since all share this machine's cores.
    """
    text = (ROOT / "cluster.yaml").read_text()
    changes = {
        PLACES["head_ip"]: lab.address(1),
        PLACES["worker_ips"]: str([lab.address(host) for host in workers]),
        PLACES["user"]: "ssh_user: root",
        PLACES["key"]: str(lab.key),
        PLACES["shared"]: str(shared),
        PLACES["data"]: "data: digits",
        "make --silent setup": f"ln -sfnT {sys.prefix} .venv",
        "export PATH=": "export PYTHONPATH=$HOME/inat-search PATH=",
        "ray start --": "ray start --num-cpus=1 --",
    }
    for old, new in changes.items():
        assert old in text, f"cluster.yaml has no {old!r} any more"
        text = text.replace(old, new)
    return text
