"""The commands on hosts of their own; `make test-cluster` runs this."""

import subprocess

import pytest

pytestmark = pytest.mark.slow
ROOM = "--min-free-gb 0.01"  # the lab's disks are small


def checked(cluster, options: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of the check, from the user's laptop."""
    said = cluster.laptop(f"python -m inat.cluster check {cluster.yaml} {ROOM} {options}; echo code=$?").splitlines()
    return int(next(line for line in said if line.startswith("code="))[5:]), said


def test_a_healthy_cluster_passes_joins_and_tells_its_nodes(cluster):
    code, said = checked(cluster)
    assert code == 0, said
    assert any("3 of 3 hosts are ready" in line for line in said)
    assert "joined   3 of 3" in cluster.laptop(f"python -m inat.cluster wait {cluster.yaml} --timeout 60")
    done: subprocess.CompletedProcess[str] = cluster.shell(1, f"python -m inat.cluster status {cluster.results}/none")
    assert "no study in" in done.stderr


def test_four_things_wrong_are_four_lines(cluster):
    lab = cluster.lab
    lab.run(2, "chmod", "644", "/root/.ray/auth_token")
    lab.do("ro", "2")
    lab.do("cut", "3")
    try:
        code, said = checked(cluster, "--data /nowhere")
    finally:
        lab.do("heal", "3")
        lab.do("rw", "2")
        lab.run(2, "chmod", "600", "/root/.ray/auth_token")
    assert code == 1
    wrong = [line for line in said if line.startswith("wrong")]
    expected = [(1, "no photographs in /nowhere"), (2, "Read-only file system"), (2, "no photographs in /nowhere"),
                (2, "has mode 644"), (3, "does not answer")]  # fmt: skip
    assert [lab.address(host) in line and what in line for line, (host, what) in zip(wrong, expected, strict=True)] == (
        [True] * len(expected)
    ), wrong
