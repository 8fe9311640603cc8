"""The settings of Ray's environment in the launcher files."""

import re
from pathlib import Path

import pytest
import ray
import yaml
from ray.autoscaler._private import constants

from tests.paths import ROOT

FILES = ["cluster.yaml", "clusters/aws.yaml", "clusters/gcp.yaml", "clusters/azure.yaml"]
SERVER = Path(ray.__file__).parent / "core" / "src" / "ray" / "gcs" / "gcs_server"


@pytest.mark.parametrize("file", FILES)
def test_ray_reads_the_settings_of_health_checks_and_autoscaler(file):
    """Ray silently ignores a name that it does not know and keeps its default."""
    text = (ROOT / file).read_text()
    health, autoscaler = (set(re.findall(rf"\b({name}_\w+)=", text)) for name in ("RAY_health_check", "AUTOSCALER"))
    assert len(health) == 3
    server = SERVER.read_bytes()
    assert [name for name in health if name.encode() not in server] == []
    assert [name for name in autoscaler if not hasattr(constants, name)] == []


@pytest.mark.parametrize("file", FILES)
def test_the_head_sends_no_usage_statistics(file):
    """`ray up` exports RAY_USAGE_STATS_ENABLED=1 before the head's commands, so each start must set it to 0 again."""
    starts = [c for c in yaml.safe_load((ROOT / file).read_text())["head_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 1
    assert re.search(r"; RAY_USAGE_STATS_ENABLED=0 [^;]*ray start --head", starts[0])
