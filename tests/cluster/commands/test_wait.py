import json
import socket
import subprocess
import sys

import pytest
import ray

from inat.cluster import wait, wait_on_head
from tests.cluster.commands.conftest import ADDRESSES

HEAD, SECOND, THIRD = ADDRESSES


def answer_lines(*answers: dict) -> list[str]:
    return [wait_on_head.MARK + json.dumps(answer) for answer in answers]


def test_wait_returns_once_all_have_joined(fake_cluster, run):
    everyone = {"joined": list(ADDRESSES)}
    fake_cluster.hosts[HEAD]["prints"] = answer_lines({"joined": [HEAD]}, everyone, {"missing": [], "answers": True})
    code, text = run("wait", fake_cluster.write())
    assert code == 0
    assert text.splitlines() == [f"joined   1 of 3: {HEAD}", f"joined   3 of 3: {', '.join(ADDRESSES)}"]


def test_hosts_that_did_not_join_are_reported_with_the_end_of_their_logs(fake_cluster, run):
    logs = fake_cluster.folder / "ray" / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text(
        "[2026-11-24 1,2 I 12 34] (raylet) all is well\n"
        "[2026-11-24 1,2 E 12 34] (raylet) the token is refused\n"
        "[2026-11-24 1,2 W 12 34] (raylet) memory_monitor_utils.cc:437: logged by every healthy node\n"
    )
    (logs / "monitor.out").write_text("VVINFO Full command is ssh\nbash: ray: command not found\n  File x.py, line 1\n")
    start = f"ray start --address=x:6379 --temp-dir={fake_cluster.folder}/ray"
    fake_cluster.launcher["worker_start_ray_commands"] = [start]
    fake_cluster.launcher["head_start_ray_commands"] = [start.replace("--address=x:6379", "--head")]
    fake_cluster.hosts[HEAD]["prints"] = answer_lines({"joined": [HEAD]}, {"missing": [SECOND, THIRD], "answers": True})
    fake_cluster.hosts[THIRD]["error"] = "ssh: connect to host 10.0.0.3 port 22: Connection timed out"
    code, text = run("wait", fake_cluster.write(), "--timeout", "7")
    assert code == 1
    assert "the token is refused" in text
    assert "all is well" not in text
    assert "logged by every healthy node" not in text
    assert f"missing  {THIRD}\n         does not answer; switch it on" in text
    assert text.index(f"head     {HEAD}") < text.index("bash: ray: command not found")
    assert "Full command" not in text
    assert f"error: {SECOND}, {THIRD} did not join within 7 s" in text
    assert "`ray up`" not in text  # `ray up` would end a running search


def test_a_host_where_ray_never_started_is_reported(fake_cluster, run):
    folder = fake_cluster.folder / "nowhere"
    fake_cluster.launcher["worker_start_ray_commands"] = [f"ray start --address=x:6379 --temp-dir={folder}"]
    fake_cluster.hosts[HEAD]["prints"] = answer_lines({"missing": [SECOND], "answers": True})
    _, text = run("wait", fake_cluster.write())
    assert f"Ray was never started here: {folder}/session_latest/logs is missing" in text


def test_a_head_without_a_running_ray_is_reported(fake_cluster, run):
    fake_cluster.hosts[HEAD]["prints"] = answer_lines({"missing": list(ADDRESSES), "answers": False})
    code, text = run("wait", fake_cluster.write(), "--timeout", "5")
    assert code == 1
    assert f"Ray on the head, {HEAD}, did not answer within 5 s" in text
    assert f"missing  {SECOND}" not in text


def test_a_head_that_cannot_be_reached_is_reported(fake_cluster, run):
    fake_cluster.hosts[HEAD]["error"] = "user@10.0.0.1: Permission denied (publickey)."
    code, text = run("wait", fake_cluster.write())
    assert code == 1
    assert f"the head cannot report which nodes have joined: {HEAD}: refuses the key" in text


def test_a_head_that_was_never_set_up_is_reported(fake_cluster, run):
    fake_cluster.hosts[HEAD]["error"] = "Traceback\nModuleNotFoundError: No module named 'ray'"
    file = fake_cluster.write()
    assert f"{HEAD}: has no Ray yet; run `ray up {file}` first" in run("wait", file)[1]


def test_what_the_head_waits_for_is_printed_once(fake_cluster, run):
    refused = {"waiting": "[Errno 111] Connection refused"}
    fake_cluster.hosts[HEAD]["prints"] = answer_lines(refused, refused, {"missing": [], "answers": True})
    code, text = run("wait", fake_cluster.write())
    assert (code, text.splitlines()) == (0, ["waiting  [Errno 111] Connection refused"])


def test_a_head_that_stops_answering_is_reported(fake_cluster, run, monkeypatch):
    monkeypatch.setattr(wait, "GRACE_SECONDS", 1.0)
    fake_cluster.hosts[HEAD] |= {"prints": answer_lines({"joined": [HEAD]}), "hangs": 20}
    code, text = run("wait", fake_cluster.write(), "--timeout", "1")
    assert code == 1
    assert f"the head, {HEAD}, did not report within 2 s which nodes have joined" in text


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf"])
def test_an_invalid_timeout_is_refused(seconds, fake_cluster, run):
    code, text = run("wait", fake_cluster.write(), "--timeout", seconds)
    assert (code, "--timeout must be positive" in text) == (2, True)


def test_wait_on_head_reports_that_no_ray_listens():
    """Runs the head's program on this machine, where no Ray listens on port 1."""
    request = {"address": "127.0.0.1:1", "expected": ["127.0.0.1"], "seconds": 0.2}
    command = [sys.executable, wait_on_head.__file__]
    done = subprocess.run(command, input=json.dumps(request) + "\n", capture_output=True, text=True, check=True)
    answers = [json.loads(line.removeprefix(wait_on_head.MARK)) for line in done.stdout.splitlines()]
    assert "Connection refused" in answers[0]["waiting"]
    assert answers[-1] == {"missing": ["127.0.0.1"], "answers": False}


def test_a_token_that_ray_refuses_is_reported(monkeypatch, capsys):
    def init(**options):
        raise ray.exceptions.AuthenticationError("the token is wrong")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        wait_on_head.watch(f"127.0.0.1:{server.getsockname()[1]}", ["127.0.0.1"], 0.1)
    first, *_, last = (
        json.loads(line.removeprefix(wait_on_head.MARK)) for line in capsys.readouterr().out.splitlines()
    )
    assert "the token is wrong" in first["waiting"]
    assert last == {"missing": ["127.0.0.1"], "answers": False}
