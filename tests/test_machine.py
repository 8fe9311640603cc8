import os
from pathlib import Path

import pytest

from inat import machine
from inat.machine import usable_cores, usable_memory

GIB = 2**30


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Makes the files of a machine with 16 cores and 64 GiB of memory."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.get)

    def make(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    return make


def test_without_cgroups_the_machine_counts(cgroups):
    assert (usable_cores(), usable_memory()) == (16, 64 * GIB)


@pytest.mark.parametrize(
    ("own", "files"),
    [
        # A container of version 2 sees its own group as the root.
        ("0::/\n", {"cpu.max": "400000 100000", "memory.max": str(8 * GIB)}),
        # A unit of systemd or a job of Slurm: the limit is that of a group above.
        ("0::/slurm/job7/step0\n", {"slurm/job7/cpu.max": "400000 100000", "slurm/job7/memory.max": str(8 * GIB),
                                    "slurm/job7/step0/cpu.max": "max 100000", "slurm/job7/step0/memory.max": "max"}),
        # Version 1 in a container: the path is the host's, and does not exist here.
        ("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
         {"cpu,cpuacct/cpu.cfs_quota_us": "400000", "cpu,cpuacct/cpu.cfs_period_us": "100000",
          "memory/memory.limit_in_bytes": str(8 * GIB)}),
        ("3:cpu:/a/b\n4:memory:/a/b\n0::/a/b\n",
         {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000", "cpu/a/cpu.cfs_quota_us": "400000",
          "cpu/a/cpu.cfs_period_us": "100000", "memory/a/b/memory.limit_in_bytes": str(8 * GIB),
          "memory/memory.limit_in_bytes": "9223372036854771712", "unified/a/b/cgroup.procs": "1"}),
    ],
    ids=["container", "nested", "version 1 in a container", "version 1 nested"],
)  # fmt: skip
def test_limits_of_all_groups_count(cgroups, own, files):
    cgroups(own, files)
    assert (usable_cores(), usable_memory()) == (4, 8 * GIB)


@pytest.mark.parametrize(("quota", "cores"), [("50000 100000", 1), ("250000 100000", 2), ("max 100000", 16)])
def test_parts_of_cores_are_cut_off_but_one_remains(cgroups, quota, cores):
    cgroups("0::/\n", {"cpu.max": quota})
    assert usable_cores() == cores


def test_the_affinity_counts_too(cgroups, monkeypatch):
    cgroups("0::/\n", {"cpu.max": "400000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores() == 2


def test_odd_files_are_passed_over(cgroups):
    cgroups("0::/\n", {"cpu.max": "what is this", "memory.max": ""})
    assert (usable_cores(), usable_memory()) == (16, 64 * GIB)


def test_this_machine_has_cores_and_memory():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert usable_memory() > 100_000_000
    assert Path(machine.CGROUPS) == Path("/sys/fs/cgroup")
