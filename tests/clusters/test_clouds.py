"""clusters/gcp.yaml and clusters/azure.yaml against Ray's schema, defaults and templates."""

import json
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.providers import _NODE_PROVIDERS
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.paths import ROOT

CLOUDS = ("aws", "gcp", "azure")
AUTOSCALER = Path(ray.__file__).parent / "autoscaler"


def config_of(cloud: str) -> dict:
    return yaml.safe_load((ROOT / "clusters" / f"{cloud}.yaml").read_text())


@pytest.fixture(params=CLOUDS)
def config(request) -> dict:
    return config_of(request.param)


def test_the_file_matches_rays_schema(config):
    schema = json.loads((AUTOSCALER / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"max_worker": 8}, schema)
    assert config["provider"]["type"] in _NODE_PROVIDERS


def test_ray_completes_the_file_with_nothing_of_its_own_set_up(config):
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    assert prepared["available_node_types"]["worker"]["max_workers"] == config["max_workers"]
    assert not prepared["docker"]
    # Ray's defaults would install Ray with conda.
    assert not [command for command in prepared["worker_setup_commands"] if "conda" in command]


def test_all_files_set_up_the_machines_in_the_same_way(config):
    on_premise, aws = yaml.safe_load((ROOT / "cluster.yaml").read_text()), config_of("aws")
    assert config["file_mounts"] == on_premise["file_mounts"]
    for name in ("head_start_ray_commands", "worker_start_ray_commands", "worker_setup_commands", "max_workers"):
        assert config[name] == aws[name]
    assert {node["max_workers"] for node in config["available_node_types"].values() if "max_workers" in node} == {8}


def test_every_parameter_of_an_azure_machine_is_one_of_rays_template():
    template = json.loads((AUTOSCALER / "_private" / "_azure" / "azure-vm-template.json").read_text())
    for node in config_of("azure")["available_node_types"].values():
        assert node["node_config"]["azure_arm_parameters"].keys() <= template["parameters"].keys()


def test_the_port_that_azures_comment_closes_is_the_one_that_ray_opens():
    template = (AUTOSCALER / "_private" / "_azure" / "azure-config-template.json").read_text()
    rules = [
        rule
        for resource in json.loads(template)["resources"]
        for rule in resource.get("properties", {}).get("securityRules", [])
    ]
    assert [(rule["name"], rule["properties"]["destinationPortRange"]) for rule in rules] == [("SSH", "22")]
    assert "--name SSH" in (ROOT / "clusters" / "azure.yaml").read_text()


def test_workers_are_spot_machines_and_the_head_is_not():
    head, worker = (config_of("gcp")["available_node_types"][kind]["node_config"] for kind in ("head", "worker"))
    assert worker["scheduling"]["provisioningModel"] == "SPOT"
    assert "scheduling" not in head
    head, worker = (config_of("azure")["available_node_types"][kind]["node_config"] for kind in ("head", "worker"))
    assert worker["azure_arm_parameters"]["priority"] == "Spot"
    assert "priority" not in head["azure_arm_parameters"]
