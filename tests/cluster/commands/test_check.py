import os
import re
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from inat.cluster import check, host_session
from tests.cluster.commands.conftest import ADDRESSES, ROOMY, ROOT, TOKEN, lines

HEAD, SECOND, THIRD = ADDRESSES
GPU = {"bus": 2, "names": ["A100", "A100"], "driver": "580.1", "cuda": "13.0", "error": None}
RAY = {"name": "gcs_server", "pid": 7, "ray": True}


def test_a_healthy_cluster_gives_a_table_and_no_file_stays_on_the_hosts(fake_cluster, run):
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (code, lines(text, "wrong"), lines(text, "pending")) == (0, [], []), text
    assert "nothing wrong; 3 of 3 hosts are ready" in text
    assert all(any(address in line for line in text.splitlines()) for address in ADDRESSES)
    assert "1 in train, 0 in val" in text
    assert list(fake_cluster.shared.iterdir()) == []


def test_the_required_versions_are_the_pins_of_the_requirements():
    versions = check.required_versions()
    assert versions.keys() == {"ray", "torch"}
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    assert {f"ray[tune]=={versions['ray']}", f"torch=={versions['torch']}"} <= set(pins)


def test_all_problems_are_printed_at_once(fake_cluster, run):
    fake_cluster.hosts[SECOND]["clock"] = -90
    fake_cluster.token(fake_cluster.folder / SECOND).chmod(0o644)
    fake_cluster.hosts[THIRD]["error"] = "ssh: connect to host 10.0.0.3 port 22: No route to host"
    fake_cluster.launcher["auth"]["ssh_private_key"] = None
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert code == 1
    wrong = lines(text, "wrong")
    assert [line.split()[1] for line in wrong] == [f"{SECOND}:", f"{SECOND}:", f"{THIRD}:"]
    assert "its clock is 90.0 s behind" in wrong[0]
    assert "mode 644" in wrong[1]
    assert "does not answer; switch it on" in wrong[2]
    assert "3 wrong; 1 of 3 hosts are ready" in text
    assert HEAD in text


@pytest.mark.parametrize(
    ("facts", "kind", "message"),
    [
        ({"versions/python": "3.11.99"}, "wrong", "has Python 3.11.99, but 10.0.0.1 has"),
        ({"versions/python": "3.9.2"}, "wrong", "has Python 3.9.2; install Python 3.11, 3.12 or 3.13"),
        ({"versions/ray": "2.9.0"}, "wrong", "has ray 2.9.0, expected"),
        ({"versions/torch": "2.0.0+cpu"}, "wrong", "has torch 2.0.0+cpu, expected"),
        ({"versions/torch": None, "versions/ray": None}, "wrong", "ray and torch not installed"),
        (
            {"code": {"folder": "/other", "commit": "abc", "digest": "1"}},
            "wrong",
            "has different code in /other: abc, this machine has",
        ),
        (
            {"code": {"folder": "/other", "commit": None, "digest": None, "error": "x.py: Permission denied"}},
            "wrong",
            "its code cannot be read (x.py: Permission denied); `chown -R user`",
        ),
        ({"code": {"folder": None, "commit": None, "digest": None}}, "wrong", "does not have the project's code"),
        ({"tools/rsync": False}, "wrong", "has no rsync, which `ray up` needs to copy files; `apt-get install rsync`"),
        ({"gpu": GPU | {"error": "driver mismatch"}}, "wrong", "the GPU driver does not work (driver mismatch)"),
        ({"gpu": GPU | {"names": ["A100"]}}, "wrong", "has 2 GPUs on the bus, but the driver shows 1"),
        ({"gpu": GPU | {"cuda": "12.2"}, "torch_cuda": "13.0"}, "wrong", "driver 580.1 supports CUDA up to 12.2"),
        ({"gpu": GPU, "torch_cuda": None}, "wrong", "has 2 GPUs, but torch without CUDA"),
        ({"disks": {"/tmp/ray": {"free": 5e5, "total": 1e6}}}, "wrong", "500.0 kB free for /tmp/ray, required"),
        ({"disks": {"/tmp/ray": {"free": 3e9, "total": 1e12}}}, "wrong", "more than 95% full"),
        ({"disks": {"/tmp/ray": "Input/output error"}}, "wrong", "cannot be read (Input/output error)"),
        ({"shared/error": "Read-only file system"}, "wrong", "cannot write to the shared path"),
        ({"shared/error": "No such file or directory"}, "wrong", "does not exist; mount the share there, or correct"),
        ({"data": {"error": "No such file or directory", "splits": {}}}, "wrong", "no photos in"),
        (
            {"data": {"error": None, "splits": {"train": [1, 7]}}},
            "wrong",
            "different photos: 7 in train; 10.0.0.1",
        ),
        ({"ports": {"6379": {"name": "nginx", "pid": 3, "ray": False}}}, "wrong", "port 6379 is taken by nginx, pid 3"),
        ({"ports": {"6379": {"name": None, "pid": None, "ray": False}}}, "wrong", "another user's process"),
        ({"ports": {"6379": RAY, "6380": RAY}}, "pending", "Ray is already running there (gcs_server, pid 7)"),
        ({"token/digest": "other"}, "wrong", "Ray's token differs from the cluster's token"),
        (
            {"token": {"error": "missing", "mode": None, "digest": None}},
            "wrong",
            "Ray's token ~/.ray/auth_token: missing",
        ),
    ],
)
def test_each_problem_is_one_line_with_its_cure(facts, kind, message, fake_cluster, run):
    fake_cluster.hosts[SECOND]["facts"] = facts
    code, text = run("check", fake_cluster.write(), *ROOMY)
    found = lines(text, kind)
    assert len(found) == len(lines(text, "wrong") + lines(text, "pending")) == 1, text
    assert found[0].split()[1] == f"{SECOND}:"
    assert message in found[0]
    assert len(found[0].split("; ", 1)[1]) > 10
    assert code == (1 if kind == "wrong" else 0)


def test_a_head_with_an_external_address_is_reached_at_that_address(fake_cluster, run):
    fake_cluster.launcher["provider"]["external_head_ip"] = "192.0.2.7"
    fake_cluster.hosts["192.0.2.7"] = fake_cluster.hosts.pop(HEAD)
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (code, HEAD in text) == (0, True), text
    fake_cluster.hosts["192.0.2.7"]["error"] = "user@192.0.2.7: Permission denied (publickey)."
    _, text = run("check", fake_cluster.write(), *ROOMY)
    assert f"wrong    {HEAD}: refuses the key" in text
    assert "user@192.0.2.7`" in text


def test_make_and_venv_are_required_only_if_setup_commands_call_make(fake_cluster, run):
    fake_cluster.hosts[SECOND]["facts"] = {"tools/make": False, "tools/venv": False, "versions/python": "3.12.1"}
    without = lines(run("check", fake_cluster.write(), *ROOMY)[1], "wrong")
    fake_cluster.launcher["head_setup_commands"] = ["cd ~/inat-search && make --silent setup"]
    fake_cluster.hosts[HEAD]["facts"] = fake_cluster.hosts[THIRD]["facts"] = {"tools/make": True, "tools/venv": True}
    found = [line for line in lines(run("check", fake_cluster.write(), *ROOMY)[1], "wrong") if line not in without]
    assert found == [
        f"wrong    {SECOND}: has no make, which setup_commands call; `apt-get install make` there",
        f"wrong    {SECOND}: its Python 3.12 has no venv; `apt-get install python3.12-venv` there",
    ]


def remove_what_ray_up_copies(fake_cluster, address: str) -> None:
    code = {"folder": "/home/user/inat-search", "commit": None, "digest": "1"}
    token = {"error": "missing", "mode": None, "digest": None}
    versions = {"versions/ray": None, "versions/torch": None}
    fake_cluster.hosts[address]["facts"] = {"token": token, "code": code, "home": "/home/user"} | versions
    source = fake_cluster.token(fake_cluster.folder / THIRD)
    fake_cluster.launcher["file_mounts"] = {"~/.ray/auth_token": str(source), "~/inat-search/inat": "inat"}
    fake_cluster.launcher["setup_commands"] = ["~/install"]


def test_problems_of_a_head_that_is_set_up_are_not_pending(fake_cluster, run):
    remove_what_ray_up_copies(fake_cluster, HEAD)
    fake_cluster.note("running", **{"ray-runtime-config": "hash"})
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (code, lines(text, "pending")) == (1, [])
    assert [f"{HEAD}: " in line and "; `ray down`, then `ray up`" in line for line in lines(text, "wrong")] == [
        True
    ] * 3


@pytest.mark.parametrize("note", [("terminated", {"ray-runtime-config": "hash"}), ("running", {}), (None, None)])
def test_problems_of_a_head_that_is_not_set_up_are_pending(note, fake_cluster, run):
    remove_what_ray_up_copies(fake_cluster, HEAD)
    fake_cluster.note(note[0], **(note[1] or {}))
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (code, lines(text, "wrong"), len(lines(text, "pending"))) == (0, [], 3)


@pytest.mark.parametrize("up", [False, True])
def test_what_ray_up_copies_is_pending(up, fake_cluster, run):
    remove_what_ray_up_copies(fake_cluster, SECOND)
    if up:
        fake_cluster.note("running", **{"ray-runtime-config": "hash"})
    exit_code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (exit_code, lines(text, "wrong")) == (0, [])
    assert len(lines(text, "pending")) == 3
    assert all("`ray up`" in line for line in lines(text, "pending"))


def test_a_host_with_another_folder_at_the_shared_path_is_reported(fake_cluster, run):
    fake_cluster.hosts[THIRD]["seen"] = []
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert code == 1
    assert f"wrong    {THIRD}: does not see in {fake_cluster.shared} the file that {HEAD} wrote" in text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("user@10.0.0.2: Permission denied (publickey).", "refuses the key for user user; `ssh-copy-id -i"),
        ("ssh: connect to host 10.0.0.2 port 22: Connection refused", "is up, but its ssh port refuses connections"),
        ("ssh: connect to host 10.0.0.2 port 22: Connection timed out", "does not answer"),
        ("ssh: Could not resolve hostname b: Name or service not known", "its name is unknown on this machine"),
        ("kex_exchange_identification: Connection closed", "ssh ended with code 255 (kex_exchange_identification"),
    ],
)
def test_each_ssh_error_has_a_cure(error, message, fake_cluster, run):
    fake_cluster.hosts[SECOND]["error"] = error
    _, text = run("check", fake_cluster.write(), *ROOMY)
    assert message in lines(text, "wrong")[0]


def test_a_host_that_hangs_is_reported_with_the_step_and_does_not_delay_the_others(fake_cluster, run, monkeypatch):
    monkeypatch.setattr(host_session, "FACTS_SECONDS", 3.0)
    fake_cluster.hosts[SECOND]["hangs_at"] = str(fake_cluster.shared)
    _, text = run("check", fake_cluster.write(), *ROOMY)
    assert [f"it was looking at {fake_cluster.shared};" in line for line in lines(text, "wrong")] == [True]
    assert "2 of 3 hosts are ready" in text


def test_a_host_without_python_is_reported(fake_cluster, run):
    (fake_cluster.folder / SECOND / ".bashrc").write_text(f"PATH={fake_cluster.folder}\n")
    _, text = run("check", fake_cluster.write(), *ROOMY)
    assert f"{SECOND}: has no python on the PATH of a login shell" in text


def test_a_taken_port_of_ray_start_is_reported(fake_cluster, run):
    with closing(socket.create_server(("", 0))) as server:
        port = server.getsockname()[1]
        fake_cluster.launcher["head_start_ray_commands"] = [f"ray start --head --port {port}"]
        _, text = run("check", fake_cluster.write(), *ROOMY)
    assert re.search(rf"wrong    {HEAD}: port {port} is taken by .*pid {os.getpid()}", text)


def test_the_token_is_never_printed(fake_cluster, run):
    fake_cluster.token(fake_cluster.folder / THIRD).write_text(TOKEN + "x")
    _, text = run("check", fake_cluster.write(), *ROOMY)
    assert "differs from the cluster's token" in text
    assert TOKEN not in text


def test_the_token_on_this_machine_is_checked(fake_cluster, run):
    source = fake_cluster.folder / "token"
    fake_cluster.launcher["file_mounts"] = {"~/.ray/auth_token": str(source)}
    assert f"this machine: Ray's token {source} cannot be read" in run("check", fake_cluster.write(), *ROOMY)[1]
    source.write_text(TOKEN)
    source.chmod(0o644)
    assert f"this machine: Ray's token {source} has mode 644" in run("check", fake_cluster.write(), *ROOMY)[1]


def test_check_loads_no_heavy_library_on_the_users_machine(fake_cluster):
    program = (
        "import sys\nfrom importlib import metadata\n"
        "from inat.cluster import check\nfrom inat.cluster.__main__ import main\n"
        "check.required_versions = lambda: {name: metadata.version(name) for name in check.PINNED}\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print([n for n in ('ray', 'torch', 'pandas', 'optuna') if n in sys.modules])"
    )
    command = [sys.executable, "-c", program, "check", str(fake_cluster.write()), *ROOMY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "3 of 3 hosts are ready" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_very_long_line_from_a_login_shell_is_skipped(fake_cluster, run):
    with (fake_cluster.folder / SECOND / ".bashrc").open("a") as file:
        file.write("head -c 3000000 /dev/zero | tr '\\0' x; echo\n")
    assert run("check", fake_cluster.write())[0] == 0


def test_an_answer_that_is_not_json_is_reported_in_one_line(fake_cluster, run):
    with (fake_cluster.folder / SECOND / ".bashrc").open("a") as file:
        file.write("echo 'inat-probe {oops'\n")
    code, text = run("check", fake_cluster.write())
    assert code == 1
    assert f"{SECOND}: sent an unreadable answer: 'inat-probe {{oops'; check what" in " ".join(text.split())


@pytest.mark.parametrize("option", ["--min-free-gb", "--max-skew"])
@pytest.mark.parametrize("value", ["nan", "-1", "inf"])
def test_an_invalid_limit_is_refused(option, value, fake_cluster, run):
    code, text = run("check", fake_cluster.write(), option, value)
    assert (code, f"{option} must be a finite number of at least 0, got {value}" in text) == (2, True)
