"""clusters/kuberay.yaml against the schema of KubeRay 1.7, and what its containers run."""

import copy
import json
import os
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.clusters.kuberay_schema import FILE, SCHEMA
from tests.paths import ROOT
from tests.test_package import pins_of

JOB = yaml.safe_load(FILE.read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
PODS = [CLUSTER["headGroupSpec"]["template"]["spec"], CLUSTER["workerGroupSpecs"][0]["template"]["spec"],
        JOB["spec"]["submitterPodTemplate"]["spec"]]  # fmt: skip


def test_the_file_matches_the_schema_of_kuberay():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(JOB, schema)
    for path, value in ((("spec", "backoffLimits"), 3), (("spec", "rayClusterSpec", "rayVersion"), 2.6)):
        wrong = copy.deepcopy(JOB)
        place = wrong
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_image_has_the_version_of_ray_that_the_file_names():
    assert CLUSTER["rayVersion"] == pins_of("requirements.lock")["ray"]
    extra, lock = pins_of("clusters/requirements-kubernetes.txt"), pins_of("requirements.lock")
    assert {name: version for name, version in extra.items() if lock.get(name, version) != version} == {}
    assert "aiohttp-cors" in extra  # of ray[default], for the job API


def test_containers_run_without_rights_and_on_a_read_only_file_system():
    for pod in PODS:
        assert pod["securityContext"]["runAsNonRoot"]
        assert "tmp" in [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]
        assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in pod["containers"])
        mounted = {mount["name"] for each in pod["containers"] for mount in each["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert CLUSTER["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_second_run_continues_the_study_of_the_first(tmp_path, exists):
    for name in ("python", "inat"):
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {tmp_path}/commands.log\n')
        (tmp_path / name).chmod(0o755)
    study = tmp_path / "shared" / "results" / "kuberay"
    study.mkdir(parents=True)
    if exists:
        (study / "study.json").touch()
    command = shlex.split(JOB["spec"]["entrypoint"].replace("/shared", f"{tmp_path}/shared"))
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, env=environment, check=True)
    request, search = (tmp_path / "commands.log").read_text().splitlines()
    compile(request.removeprefix("python -c "), "request", "exec")
    maximum = CLUSTER["workerGroupSpecs"][0]["maxReplicas"]
    assert f'[{{"GPU": 1}}] * {maximum}' in request
    assert ("--resume" in search, "--name kuberay" in search) == (exists, not exists)
    assert search.startswith("inat tune-scratch --address auto ")


def test_the_dockerfile_copies_only_what_dockerignore_lets_through():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert sorted(copied) == sorted(allowed)
    assert all(Path(ROOT, source).exists() for source in copied)
