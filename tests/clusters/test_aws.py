"""clusters/aws.yaml, started by Ray's launcher and autoscaler on moto's simulated AWS.

No machine exists: a stand-in for ssh and rsync logs each command and reports success.
"""

import json
import os
import stat
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import boto3
import jsonschema
import pytest
import ray
import yaml
from moto import mock_aws
from ray.autoscaler import sdk
from ray.autoscaler._private.autoscaler import StandardAutoscaler
from ray.autoscaler._private.load_metrics import LoadMetrics

from tests.paths import ROOT

FILE = ROOT / "clusters" / "aws.yaml"
GPUS_WANTED = [{"GPU": 1}]


@pytest.fixture
def config() -> dict:
    return yaml.safe_load(FILE.read_text())


@pytest.fixture
def edited(cloud, tmp_path) -> Path:
    """The file as a user edits it, with the firewall that its comment describes."""
    group = cloud.create_security_group(GroupName="inat-search", Description="inat search")["GroupId"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}
    each_other = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    cloud.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh, each_other])
    file = tmp_path / "aws.yaml"
    file.write_text(FILE.read_text().replace("sg-0123456789abcdef0", group))
    return file


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """An empty simulated account, a home folder with the token, and ssh and rsync that only log."""
    home, binaries = tmp_path / "home", tmp_path / "bin"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("token-for-tests")
    binaries.mkdir()
    for name in ("ssh", "rsync"):
        (binaries / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/commands.log\n')
        (binaries / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "imaginary")
    monkeypatch.chdir(ROOT)  # file_mounts are relative to it
    # Ray waits 15 s for a new role to become visible; in moto it is visible at once.
    monkeypatch.setattr("ray.autoscaler._private.aws.config.time", SimpleNamespace(sleep=lambda seconds: None))
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield boto3.client("ec2", region_name="us-west-2")


def instances(cloud, kind: str) -> list[dict]:
    """Running instances of one node type."""
    filters = [
        {"Name": "tag:ray-user-node-type", "Values": [kind]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = cloud.describe_instances(Filters=filters)["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def test_the_file_matches_rays_schema(config):
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"max_worker": 8}, schema)


def test_it_copies_what_the_on_premise_file_copies(config):
    on_premise = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert config["file_mounts"] == on_premise["file_mounts"]
    assert all((ROOT / local).exists() for local in config["file_mounts"].values() if not local.startswith("~"))


@pytest.mark.slow
def test_ray_up_rents_a_head_on_demand_behind_a_firewall(cloud, edited, tmp_path):
    sdk.create_or_update_cluster(str(edited), no_restart=False, restart_only=False, no_config_cache=True)
    (head,) = instances(cloud, "head")
    assert head["InstanceType"] == "m7i.xlarge"
    assert "InstanceLifecycle" not in head  # on demand
    assert instances(cloud, "worker") == []
    names = [group["GroupId"] for group in head["SecurityGroups"]]
    (group,) = cloud.describe_security_groups(GroupIds=names)["SecurityGroups"]
    open_to = {r["CidrIp"] for rule in group["IpPermissions"] for r in rule["IpRanges"]}
    assert open_to == {"203.0.113.7/32"}  # beside the instances themselves
    (key,) = (tmp_path / "home" / ".ssh").glob("ray-autoscaler_*.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    commands = (tmp_path / "commands.log").read_text()
    assert commands.index("make --silent setup") < commands.index("ray start --head")
    assert "rsync" in commands
    assert "token-for-tests" not in commands


@pytest.mark.slow
def test_spot_workers_start_on_request_and_are_replaced_when_aws_reclaims_them(cloud, edited, tmp_path, monkeypatch):
    started = sdk.bootstrap_config(yaml.safe_load(edited.read_text()), no_config_cache=True)
    monkeypatch.setattr("ray._private.services.get_node_ip_address", lambda *_: "10.0.0.1")
    sdk.create_or_update_cluster(str(edited), no_restart=False, restart_only=False, no_config_cache=True)
    load = LoadMetrics()
    file = tmp_path / "ray_bootstrap_config.yaml"  # the file that `ray up` writes on the head
    file.write_text(yaml.safe_dump(started))
    autoscaler = StandardAutoscaler(str(file), load, MagicMock(), max_failures=0, update_interval_s=0)

    def wait_for_workers(count: int) -> list[dict]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            autoscaler.update()
            if len(instances(cloud, "worker")) == count:
                return instances(cloud, "worker")
            time.sleep(0.2)
        raise AssertionError(f"{len(instances(cloud, 'worker'))} workers instead of {count}")

    assert wait_for_workers(0) == []
    load.set_resource_requests(GPUS_WANTED * 3)
    before = wait_for_workers(3)
    assert all(instance["InstanceLifecycle"] == "spot" for instance in before)
    assert {instance["InstanceType"] for instance in before} == {"g6.xlarge"}

    taken = [instance["InstanceId"] for instance in before[:2]]
    cloud.terminate_instances(InstanceIds=taken)
    after = wait_for_workers(3)
    assert len({instance["InstanceId"] for instance in after} & set(taken)) == 0

    load.set_resource_requests(GPUS_WANTED * 20)
    assert len(wait_for_workers(8)) == 8  # never more than max_workers
    autoscaler.update()
    assert len(instances(cloud, "worker")) == 8
