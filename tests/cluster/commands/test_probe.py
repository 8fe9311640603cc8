import ast
import json
import subprocess
import sys
from pathlib import Path

from inat.cluster import probe
from tests.cluster.commands.conftest import ROOMY, lines


def test_the_probe_runs_on_an_old_python():
    ast.parse(Path(probe.__file__).read_text(), feature_version=(3, 7))


def test_unreadable_code_is_reported(tmp_path, fake_cluster, run, monkeypatch):
    (tmp_path / "code" / "inat" / "folder.py").mkdir(parents=True)
    facts = probe.code_facts(str(tmp_path / "code"))
    assert facts["error"] == f"{tmp_path}/code/inat/folder.py: Is a directory"
    monkeypatch.setattr(probe, "code_facts", lambda folder: facts)
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (code, len(lines(text, "wrong"))) == (1, 1)
    assert f"this machine: the project's code cannot be read ({facts['error']})" in text


def test_the_probe_reads_gpus_from_nvidia_smi(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    rows = "NVIDIA A100-SXM4-80GB, 550.54.15\\nNVIDIA A100-SXM4-80GB, 550.54.15\\n"
    banner = "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |"
    smi.write_text(f"#!/bin/sh\ncase $1 in --query*) printf '{rows}';; *) echo '{banner}';; esac\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    facts = probe.gpu_facts()
    assert facts["names"] == ["NVIDIA A100-SXM4-80GB"] * 2
    assert (facts["driver"], facts["cuda"], facts["error"]) == ("550.54.15", "12.4", None)
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert probe.gpu_facts()["error"] == "NVIDIA-SMI has failed"


def test_the_probe_answers_in_lines_of_json(tmp_path):
    task = {"key": "k", "name": "n", "content": "c", "ports": [], "disks": ["~/x"], "shared": str(tmp_path)}
    task |= {"data": None, "code": None}
    requests = [{"clock": True}, {"task": task}, {"look": {"n": "c", "m": "c"}}]
    text = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([sys.executable, probe.__file__], input=text, capture_output=True, text=True, check=True)
    answers = [json.loads(line.removeprefix(probe.MARK)) for line in done.stdout.splitlines()]
    assert answers[-1] == {"seen": ["n"]}
    assert not list(tmp_path.iterdir())
