"""The part of KubeRay's schema that clusters/kuberay.yaml uses, in kuberay-schema.json.

Make it again from the CRD of a newer KubeRay:

python -m tests.clusters.kuberay_schema ray.io_rayjobs.yaml   # helm-chart/kuberay-operator/crds/ in its repository
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

FILE = ROOT / "clusters" / "kuberay.yaml"
SCHEMA = Path(__file__).with_name("kuberay-schema.json")


def used_part(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """The schema of ``value``, without texts, and without the schemas of fields that it does not have.

    Unknown fields are errors, as `kubectl apply` reports them.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    part = {key: schema[key] for key in ("type", "enum", "required", "minimum", "maximum") if key in schema}
    if isinstance(value, dict) and "properties" in schema:
        names = {
            name: used_part(sub, value[name]) if name in value else {} for name, sub in schema["properties"].items()
        }
        return part | {"properties": names, "additionalProperties": False}
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict) and value:
        return part | {"additionalProperties": used_part(schema["additionalProperties"], next(iter(value.values())))}
    if isinstance(value, list) and value:
        parts = [used_part(schema["items"], each) for each in value]
        return part | {"items": parts[0] if all(each == parts[0] for each in parts) else {"anyOf": parts}}
    return part


def main(crd: Path) -> None:
    versions = yaml.safe_load(crd.read_text())["spec"]["versions"]
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1"]
    used = used_part(schema, yaml.safe_load(FILE.read_text()))
    SCHEMA.write_text(json.dumps(used, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
