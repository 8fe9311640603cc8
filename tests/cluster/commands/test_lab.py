"""The commands on the hosts of the cluster lab; `make test-cluster` runs these tests."""

import subprocess

import pytest

pytestmark = pytest.mark.slow
ROOM = "--min-free-gb 0.01"  # the lab's disks are small


def checked(cluster, options: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of the check, from the user's laptop."""
    command = f"python -m inat.cluster check {cluster.yaml} {ROOM} {options}; echo code=$?"
    printed = cluster.laptop(command).splitlines()
    return int(next(line for line in printed if line.startswith("code="))[5:]), printed


def test_a_healthy_cluster_passes_check_joins_and_answers_status(cluster):
    code, printed = checked(cluster)
    assert code == 0, printed
    assert any("3 of 3 hosts are ready" in line for line in printed)
    assert "joined   3 of 3" in cluster.laptop(f"python -m inat.cluster wait {cluster.yaml} --timeout 60")
    done: subprocess.CompletedProcess[str] = cluster.shell(1, f"python -m inat.cluster status {cluster.results}/none")
    assert "no study in" in done.stderr


def test_each_problem_of_each_host_is_one_line(cluster):
    lab = cluster.lab
    lab.run(2, "chmod", "644", "/root/.ray/auth_token")
    lab.do("ro", "2")
    lab.do("cut", "3")
    try:
        code, printed = checked(cluster, "--data /nowhere")
    finally:
        lab.do("heal", "3")
        lab.do("rw", "2")
        lab.run(2, "chmod", "600", "/root/.ray/auth_token")
    assert code == 1
    wrong = [line for line in printed if line.startswith("wrong")]
    expected = [(1, "no photos in /nowhere"), (2, "Read-only file system"), (2, "no photos in /nowhere"),
                (2, "has mode 644"), (3, "does not answer")]  # fmt: skip
    assert [lab.address(host) in line and what in line for line, (host, what) in zip(wrong, expected, strict=True)] == (
        [True] * len(expected)
    ), wrong
