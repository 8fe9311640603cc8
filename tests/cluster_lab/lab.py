"""The cluster lab of ``lab.sh`` for tests: several hosts on one machine that can be killed, cut off and healed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "lab.sh"
TOOLS = ("ip", "nsenter", "unshare", "rsync", "ssh", "/usr/sbin/sshd", "curl", "nft")
REQUIRED = "INAT_CLUSTER_LAB"  # set by `make test-cluster`: without a lab the tests fail instead of being skipped


def missing_requirement() -> str:
    """Why this machine cannot run a lab; "" if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the cluster lab needs root on Linux"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        packages = "openssh-server rsync iproute2 curl nftables"
        return f"{', '.join(missing)} missing for the cluster lab (apt-get install {packages})"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this machine does not let root create namespaces"


class Lab:
    """Hosts 1..N and host 0, the user's laptop. A context manager that removes them at the end."""

    def __init__(self, hosts: int) -> None:
        self.hosts = range(1, hosts + 1)
        self.net = os.environ.get("LAB_NET", "10.99.0")
        self.tag = os.environ.get("LAB_TAG", "lab")
        self.state = Path(os.environ.get("LAB_STATE", "/var/tmp/cluster_lab"))
        self.shared = self.state / "shared"
        self.key = self.state / "keys" / "id"

    def __enter__(self) -> "Lab":
        self.do("down")
        self.do("up", str(len(self.hosts)))
        return self

    def __exit__(self, *error: object) -> None:
        self.do("down")

    def address(self, host: int) -> str:
        """The IP address of a host; host 0 is the laptop."""
        return f"{self.net}.{10 + host if host else 1}"

    def name(self, host: int) -> str:
        """The name of a host."""
        return f"{self.tag}{host}"

    def do(self, *verb: str) -> str:
        """Run a verb of lab.sh; returns its output, raises RuntimeError with the output if it fails."""
        done = subprocess.run([str(SCRIPT), *verb], capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            raise RuntimeError(f"lab.sh {' '.join(verb)}: {done.stdout}{done.stderr}")
        return done.stdout

    def run(self, host: int, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on a host and wait for its end."""
        argv = [str(SCRIPT), "exec", str(host), *command]
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=timeout, env=environment(),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, host: int, *command: str, output: Path) -> subprocess.Popen[bytes]:
        """Start a command on a host; its output is appended to ``output``."""
        with output.open("ab") as file:
            argv = [str(SCRIPT), "exec", str(host), *command]
            return subprocess.Popen(argv, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment())


def environment() -> dict[str, str]:
    """Variables for lab.sh: all hosts see the Python of the tests and run at normal priority."""
    return {"LAB_SHARE": sys.base_prefix, "LAB_NICE": "0"} | dict(os.environ)
