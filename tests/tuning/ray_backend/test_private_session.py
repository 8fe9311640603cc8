"""What another user of this machine can do to a search: the attacks run as the user "nobody" against a real session."""

import logging
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import ray
from filelock import FileLock

from inat.tuning.ray_backend import private_session
from inat.tuning.ray_backend.private_session import private_ray

NOBODY = 65534
METHODS = {  # one for each port on which the processes of this name listen
    "gcs_server": ("NodeInfoGcsService/GetAllNodeInfo",),
    "raylet": ("NodeManagerService/GetNodeStats", "ObjectManagerService/Push"),
    "ray::": ("CoreWorkerService/PushTask",),
    "python": ("CoreWorkerService/PushTask",),
}
UNAUTHENTICATED = "grpc-status: 16"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("RAY_AUTH_TOKEN", "a token of the user, for a cluster")
        with private_ray(logging.ERROR):
            yield home


def listening() -> dict[int, str]:
    """TCP ports on which this process and its children listen, and the names of the processes."""
    this = psutil.Process()
    return {
        connection.laddr.port: process.name()
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def as_nobody(code: str, **environment: str) -> str:
    """The output of Python code that gives up its rights first; it has loaded Ray by then, from wherever that is."""
    head = f"import os\nfrom ray._raylet import GcsClient\nos.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run([sys.executable, "-c", head + textwrap.dedent(code)], env=own | environment, timeout=120,
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout + done.stderr


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.mark.slow
@needs_root
def test_another_user_can_neither_read_the_token_nor_enter_the_folder(session):
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    output = as_nobody(f"""
        for attempt in (lambda: open({str(token)!r}).read(), lambda: os.listdir({str(token.parent)!r})):
            try: print("READ", attempt())
            except PermissionError: print("refused")
    """)
    assert output.splitlines() == ["refused", "refused"]


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("environment", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}])
def test_the_gcs_refuses_another_user(session, environment):
    read = f"print('READ', GcsClient(address={ray.get_runtime_context().gcs_address!r}).internal_kv_keys(b'', None))"
    output = as_nobody(read, **environment)
    assert "InvalidAuthToken" in output
    assert "READ" not in output
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text()}
    assert "READ" in as_nobody(read, **with_token)  # otherwise the refusals would prove nothing


@pytest.mark.slow
@needs_curl
def test_every_port_is_on_the_loopback_device_and_refuses_calls_without_the_token(session):
    ray.get(ray.remote(lambda: os.getpid()).remote())  # a worker listens, too
    ports = listening()
    assert len(ports) >= 5
    for port, name in ports.items():
        assert b"refused" in curl("-m", "5", f"http://{own_address()}:{port}").stderr.lower(), name
        if name.startswith("ray::") and (status := http_status(port)) != "000":
            assert status == "401", name
            continue
        methods = next(methods for start, methods in METHODS.items() if name.startswith(start))
        answers = [call(port, method) for method in methods]
        assert any(UNAUTHENTICATED in answer for answer in answers), (name, answers)


def own_address() -> str:
    """An address of this machine that is not the loopback device's."""
    found = [a.address for addresses in psutil.net_if_addrs().values() for a in addresses if a.family.name == "AF_INET"]
    outer = [address for address in found if not address.startswith("127.")]
    return outer[0] if outer else pytest.skip("this machine has no network")


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["curl", "-sSv", *arguments], capture_output=True, check=False)


def http_status(port: int) -> str:
    """The status that the HTTP server of Ray's agent answers with, 000 if a gRPC server listens at the port."""
    url = f"http://127.0.0.1:{port}/get_or_create_runtime_env"
    return curl("-m", "20", "-o", os.devnull, "-w", "%{http_code}", "-X", "POST", url).stdout.decode()


def call(port: int, method: str) -> str:
    """What curl says about a gRPC call with an empty message."""
    done = subprocess.run(
        ["curl", "-sSv", "-m", "20", "--http2-prior-knowledge", "-o", os.devnull, "--data-binary", "@-",
         "-H", "te: trailers", "-H", "content-type: application/grpc", f"http://127.0.0.1:{port}/ray.rpc.{method}"],
        input=bytes(5), capture_output=True, check=False,
    )  # fmt: skip
    return done.stderr.decode(errors="replace")


@pytest.mark.slow
def test_nothing_is_written_below_home_and_the_token_of_the_user_is_not_used(session):
    assert list(session.iterdir()) == []
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_the_folder_is_private_and_goes_with_the_session(monkeypatch, tmp_path):
    monkeypatch.setattr(private_session, "temporary_place", lambda size: tmp_path)
    seen = []

    def init(**options):
        folder = Path(options["_temp_dir"]).parent
        seen.append((stat.S_IMODE(folder.stat().st_mode), os.environ["RAY_AUTH_TOKEN_PATH"]))

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    for _ in range(2):
        with private_ray(logging.ERROR):
            assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    assert [mode for mode, _ in seen] == [0o700, 0o700]
    assert len({path for _, path in seen}) == 2
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_folders_of_killed_searches_are_removed_and_those_of_running_ones_stay(monkeypatch, tmp_path):
    monkeypatch.setattr(private_session, "temporary_place", lambda size: tmp_path)
    monkeypatch.setattr(ray, "init", lambda **options: None)
    abandoned, running, foreign, other = (tmp_path / name for name in ("inat-ray-a", "inat-ray-r", "inat-ray-f", "x"))
    for folder in (abandoned, running, foreign, other):
        folder.mkdir()
        (folder / "lock").touch()
    (foreign / "lock").unlink()
    with FileLock(running / "lock"), private_ray(logging.ERROR):
        assert not abandoned.exists()
        assert all(folder.exists() for folder in (running, foreign, other))


def test_a_folder_of_another_user_is_not_touched(monkeypatch, tmp_path):
    monkeypatch.setattr(private_session, "temporary_place", lambda size: tmp_path)
    monkeypatch.setattr(ray, "init", lambda **options: None)
    precious, planted = tmp_path / "precious", tmp_path / "inat-ray-planted"
    precious.write_text("content")
    planted.mkdir()
    (planted / "lock").symlink_to(precious)
    me = os.getuid()
    monkeypatch.setattr(private_session.os, "getuid", lambda: me + 1)
    with private_ray(logging.ERROR):
        assert precious.read_text() == "content"
        assert planted.exists()
