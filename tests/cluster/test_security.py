"""What a stranger in the same network, without the token, can do to the cluster; and where its secrets are."""

import re
import shlex

import pytest

from tests.cluster.conftest import STRANGER, WORKERS, wait_until

pytestmark = pytest.mark.slow
HEAD = 1
NODES = (HEAD, *WORKERS)
TOKEN_WANTED = re.compile(r"UNAUTHENTICATED|Unauthenticated|[Aa]uthentication|401|403")
# The ports in cluster.yaml, with the range of worker processes, and SSH.
PORTS = {22, 6379, 6380, 6381, 6382, 6383, 6384, 6385} | set(range(10010, 11000))


def run_python(cluster, code: str, host: int = STRANGER, **env: str) -> str:
    """Output of ``code`` in the project's Python on a host, without the environment that cluster.yaml sets up."""
    setting = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    python = shlex.quote(cluster.python)
    done = cluster.lab.run(host, "bash", "-c", f"cd /tmp; {setting} timeout 60 {python} -c {shlex.quote(code)}")
    return done.stdout + done.stderr


def listening(cluster, host: int) -> dict[int, str]:
    """TCP ports that a host listens on, with the address, except those on the loopback device."""
    lines = cluster.lab.run(host, "ss", "-Hltn").stdout.splitlines()
    found = {int(port): address for address, _, port in (line.split()[3].rpartition(":") for line in lines)}
    return {port: address for port, address in found.items() if not address.startswith(("127.", "[::1]"))}


def join_code(address: str) -> str:
    return f"import ray; ray.init('{address}', logging_level=50); print('JOINED', ray.nodes())"


def gcs_code(address: str) -> str:
    return ("from ray._raylet import GcsClient; "
            f"print('READ', GcsClient(address='{address}').internal_kv_keys(b'', None))")  # fmt: skip


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_the_gcs_refuses_a_stranger(cluster, token):
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    for code in (gcs_code, join_code):
        output = run_python(cluster, code(f"{cluster.lab.address(HEAD)}:6379"), **env)
        assert TOKEN_WANTED.search(output), output
        assert "READ" not in output
        assert "JOINED" not in output


def test_the_gcs_accepts_the_token(cluster):
    """Without this test, the refusals would prove nothing."""
    token = cluster.lab.run(HEAD, "cat", "/root/.ray/auth_token").stdout
    output = run_python(
        cluster, gcs_code(f"{cluster.lab.address(HEAD)}:6379"), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token
    )
    assert "READ" in output, output


def grpc_status(cluster, address: str, method: str, **headers: str) -> str:
    """The gRPC status of a call with an empty message from the stranger's host, made with curl."""
    more = "".join(f" -H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items())
    call = (
        "head -c 5 /dev/zero | curl -sSv -m 20 --http2-prior-knowledge -o /dev/null --data-binary @- -H 'te: trailers'"
    )
    done = cluster.lab.run(
        STRANGER, "bash", "-c", f"{call} -H 'content-type: application/grpc'{more} http://{address}/ray.rpc.{method}"
    )
    lines = [line[2:].strip() for line in done.stderr.splitlines() if line.lower().startswith("< grpc-")]
    return "; ".join(lines) or done.stderr


@pytest.mark.parametrize("host", NODES)
@pytest.mark.parametrize(
    ("port", "method"),
    [(6380, "NodeManagerService/GetNodeStats"), (6380, "NodeManagerService/ShutdownRaylet"),
     (6381, "ObjectManagerService/Push"), (6381, "ObjectManagerService/Pull")],
)  # fmt: skip
def test_raylet_and_object_manager_refuse_a_stranger(cluster, host, port, method):
    output = grpc_status(cluster, f"{cluster.lab.address(host)}:{port}", method)
    assert "grpc-status: 16" in output, output  # UNAUTHENTICATED


def test_the_raylet_answers_a_call_with_the_token(cluster):
    """Without this test, the refusals would prove nothing."""
    token = cluster.lab.run(HEAD, "cat", "/root/.ray/auth_token").stdout
    address = f"{cluster.lab.address(HEAD)}:6380"
    output = grpc_status(cluster, address, "NodeManagerService/GetNodeStats", authorization=f"Bearer {token}")
    assert "grpc-status: 16" not in output


def test_trial_processes_refuse_a_strangers_task(cluster):
    search = cluster.search("--data", "digits", "--image-size", "16", "--num-samples", "3", "--max-epochs", "9",
                            "--name", "ports", output="ports.txt")  # fmt: skip
    wait_until(lambda: "[1/3]" in (cluster.lab.state / "ports.txt").read_text(), 120, "the first trial's end")
    ports = [port for port in listening(cluster, HEAD) if port >= 10010]
    assert ports  # of the driver and of a trial's process
    for port in ports:
        output = grpc_status(cluster, f"{cluster.lab.address(HEAD)}:{port}", "CoreWorkerService/PushTask")
        assert "grpc-status: 16" in output, output
    assert search.wait(timeout=200) == 0


@pytest.mark.parametrize("host", NODES)
def test_the_agent_that_starts_processes_refuses_a_stranger(cluster, host):
    url = f"http://{cluster.lab.address(host)}:6382/get_or_create_runtime_env"
    curl = ("curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST")
    output = cluster.lab.run(STRANGER, *curl, url)
    assert output.stdout == "401"


def test_only_ports_in_cluster_yaml_are_open(cluster):
    for host in NODES:
        assert listening(cluster, host).keys() <= PORTS


@pytest.mark.parametrize("port", [8265, 10001])
def test_dashboard_job_api_and_client_cannot_be_reached(cluster, port):
    code = f"import socket; socket.create_connection(('{cluster.lab.address(HEAD)}', {port}), 5); print('OPEN')"
    assert "ConnectionRefusedError" in run_python(cluster, code)


def test_the_documented_firewall_blocks_strangers_only(cluster):
    page = cluster.root / "docs" / "clusters" / "security.md"
    lines = [line for line in page.read_text().splitlines() if line.startswith("nft ")]
    cluster_range = f"{cluster.lab.address(HEAD)}-{cluster.lab.address(WORKERS[-1])}"
    rules = "; ".join(lines).replace("192.168.1.10-192.168.1.12", cluster_range)
    assert cluster_range in rules
    try:
        assert cluster.lab.run(HEAD, "bash", "-c", rules).returncode == 0
        for port in (6379, 6380, 6381, 6382):
            code = f"import socket; socket.create_connection(('{cluster.lab.address(HEAD)}', {port}), 3); print('OPEN')"
            assert "TimeoutError" in run_python(cluster, code)
            for host in NODES:
                assert "OPEN" in run_python(cluster, code, host)
        assert len(cluster.nodes()) == len(NODES)
    finally:
        cluster.lab.run(HEAD, "nft", "delete", "table", "inet", "inat")


def test_only_their_owner_can_read_secrets(cluster):
    assert cluster.lab.run(HEAD, "stat", "-c", "%a", "/root/ray_bootstrap_key.pem").stdout == "600\n"
    for host in NODES:
        modes = cluster.lab.run(host, "stat", "-c", "%a", "/root/.ray", "/root/.ray/auth_token").stdout
        assert modes == "700\n600\n"


def test_the_token_is_in_no_log_result_or_process_list(cluster):
    token = cluster.lab.run(HEAD, "cat", "/root/.ray/auth_token").stdout
    assert len(token) == 64
    search = cluster.search("--data", "digits", "--image-size", "16", "--num-samples", "3", "--max-epochs", "3",
                            "--name", "secret", slow=0.0)  # fmt: skip
    for host in NODES:
        processes = cluster.lab.run(host, "ps", "-eo", "args").stdout
        assert "raylet" in processes
        assert token not in processes
    assert search.wait(timeout=200) == 0
    for host in NODES:
        found = cluster.lab.run(host, "grep", "-rlF", token, "/tmp", "/root", str(cluster.results)).stdout
        assert found.split() == ["/root/.ray/auth_token"]
    assert token not in cluster.yaml.read_text()
