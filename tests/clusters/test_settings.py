"""What the launcher files set in Ray's environment."""

import re
from pathlib import Path

import pytest
import ray
from ray.autoscaler._private import constants

ROOT = Path(__file__).parent.parent.parent
SERVER = Path(ray.__file__).parent / "core" / "src" / "ray" / "gcs" / "gcs_server"


@pytest.mark.parametrize("file", ["cluster.yaml", "clusters/aws.yaml"])
def test_settings_of_health_checks_and_autoscaler_are_ones_that_ray_reads(file):
    """Ray says nothing of a name that it does not know, and goes on with its own value."""
    text = (ROOT / file).read_text()
    health, autoscaler = (set(re.findall(rf"\b({name}_\w+)=", text)) for name in ("RAY_health_check", "AUTOSCALER"))
    assert len(health) == 3
    server = SERVER.read_bytes()
    assert [name for name in health if name.encode() not in server] == []
    assert [name for name in autoscaler if not hasattr(constants, name)] == []
