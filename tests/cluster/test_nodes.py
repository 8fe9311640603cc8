"""Nodes that lack something, differ from the others or join late, in a search on a cluster."""

import json
import shlex
import time

import pytest

from tests.cluster.conftest import STRANGER, wait_until
from tests.conftest import write_image

pytestmark = pytest.mark.slow
OPTIONS = ("--max-epochs", "3", "--grace-period", "3", "--image-size", "16")


def nodes_in_journal(study) -> set[str]:
    journal = study / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return {event["node"] for event in events if event["event"] == "epoch"}


def test_a_node_without_photos_is_reported_and_takes_no_trials_until_it_has_them(cluster):
    photos = cluster.lab.shared / "photos-of-one"
    for c, name in enumerate(("bird", "fish")):
        for split, count in (("train", 20), ("val", 4)):
            for i in range(count):
                write_image(photos / split / name / f"{i}.jpg", seed=1000 * c + i + (500 if split == "val" else 0))
    copy = f"cp -r {photos} /root/photos"  # each host has its own /root
    for host in (1, 2):
        assert cluster.lab.run(host, "bash", "-c", copy).returncode == 0
    study = cluster.results / "photos"
    search = cluster.search("--data", "/root/photos", "--num-samples", "60", "--name", "photos", *OPTIONS)
    wait_until(lambda: len(nodes_in_journal(study)) == 2, 120, "trials on the two nodes that have the photos")
    time.sleep(5)
    assert nodes_in_journal(study) == {cluster.lab.name(1), cluster.lab.name(2)}
    printed = (cluster.lab.state / "output.txt").read_text()
    assert f"machine {cluster.lab.name(3)} takes no trials: /root/photos does not exist" in printed
    assert cluster.lab.run(3, "bash", "-c", copy).returncode == 0
    wait_until(lambda: cluster.lab.name(3) in nodes_in_journal(study), 60, "trials on the node that got the photos")
    assert search.wait(timeout=300) == 0
    for host in (1, 2, 3):  # each node decoded the photos once
        stores = cluster.lab.run(host, "bash", "-c", "ls -d /root/.cache/inat/photos-train-*16px").stdout.split()
        assert len(stores) == 1


def test_a_gpu_node_that_joins_by_hand_gets_the_trials_and_the_other_nodes_are_named(cluster):
    """Ray counts a GPU that does not exist; the test checks only where trials run."""
    token = cluster.lab.run(1, "cat", "/root/.ray/auth_token").stdout
    address = cluster.lab.address(1)
    ray = shlex.quote(cluster.python.replace("bin/python", "bin/ray"))
    folder = "/root/inat-search"
    checkout = f"mkdir -p {folder} && cp -r {cluster.root}/inat {folder} && ln -sfnT {cluster.results} {folder}/results"
    environment = f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={token} PYTHONPATH={folder}"
    start = f"{ray} start --address={address}:6379 --num-cpus=2 --num-gpus=1 --object-store-memory=100000000"
    command = f"{checkout}; {environment}; {start}"
    assert cluster.lab.run(STRANGER, "bash", "-c", command).returncode == 0
    try:
        wait_until(lambda: cluster.lab.name(STRANGER) in cluster.nodes(), 60, "the GPU node has joined")
        search = cluster.search("--data", "digits", "--num-samples", "3", "--name", "gpu", *OPTIONS, slow=0.0)
        assert search.wait(timeout=200) == 0
        assert nodes_in_journal(cluster.results / "gpu") == {cluster.lab.name(STRANGER)}
        printed = (cluster.lab.state / "output.txt").read_text()
        others = ", ".join(map(cluster.lab.name, (1, 2, 3)))
        assert f"{others} have no GPU for a trial; --gpus-per-trial 0 would use the CPUs of all" in printed
    finally:
        cluster.lab.run(STRANGER, ray, "stop", "--force")
