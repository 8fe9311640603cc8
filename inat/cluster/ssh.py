"""Run commands on the hosts of a cluster with the ssh options of `ray up`; turn ssh's errors into problems."""

import re
import shlex
import shutil
from dataclasses import dataclass

from inat.cluster.launcher_file import Cluster, Host
from inat.errors import ConfigError

CONNECT_SECONDS = 4
SSH_FAILED = 255  # ssh's own exit code; other codes are those of the remote command
OPTIONS = {
    "BatchMode": "yes",  # never ask for a password, since nobody may be there to type it
    "ConnectTimeout": str(CONNECT_SECONDS),
    "StrictHostKeyChecking": "no",  # this and the next two are options of `ray up`, so both succeed or fail alike
    "UserKnownHostsFile": "/dev/null",
    "IdentitiesOnly": "yes",
    "ServerAliveInterval": "3",
    "ServerAliveCountMax": "2",
    "LogLevel": "ERROR",
}
NO_PYTHON = 127  # the shell's code for a command that does not exist


@dataclass(frozen=True, slots=True)
class Problem:
    """One line for the user: the host, what is wrong, and what to do.

    ``pending`` marks what the next `ray up` solves by itself; it does not stop the user.
    """

    host: str
    what: str
    cure: str
    pending: bool = False

    def __str__(self) -> str:
        return f"{self.host}: {self.what}; {self.cure}"


def ssh_command(cluster: Cluster, host: Host, remote: str) -> list[str]:
    """The arguments that run the shell command ``remote`` on ``host``; raises ConfigError if ssh is not installed."""
    if shutil.which("ssh") is None:
        raise ConfigError("there is no ssh on this machine; install it (Debian: apt-get install openssh-client)")
    options = [part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}")]
    options += ["-i", str(cluster.key)] if cluster.key else []
    options += ["-o", f"ProxyCommand={cluster.proxy}"] if cluster.proxy else []
    return ["ssh", *options, f"{cluster.user}@{host.ssh_address}", remote]


def remote_python_command(cluster: Cluster, length: int) -> str:
    """The shell command that runs the first ``length`` bytes of its standard input as a Python program.

    The program reads the rest of standard input. The Python is the one that Ray finds: the first on the PATH of an
    interactive login shell, as setup_commands leave it.
    """
    own = [f"{cluster.environment}/bin/python"] if cluster.environment else []
    found = " || ".join(f"command -v {shlex.quote(name)}" for name in (*own, "python", "python3"))
    program = f"import sys; exec(compile(sys.stdin.buffer.read({length}), 'inat', 'exec'))"
    script = f'p=$({found}) || exit {NO_PYTHON}; exec "$p" -u -c {shlex.quote(program)}'
    return f"exec bash --login -c -i {shlex.quote(f'source ~/.bashrc; {script}')}"


def explain_failure(cluster: Cluster, host: Host, code: int | None, errors: str) -> Problem:
    """The problem behind the exit ``code`` and the standard error of ssh or of its remote command."""
    target = f"{cluster.user}@{host.ssh_address}"
    last = next((line for line in reversed(errors.strip().splitlines()) if line.strip()), "").strip()
    with_key = f" -i {cluster.key}" if cluster.key else ""
    for pattern, what, cure in (
        ("Permission denied|Too many authentication", f"refuses the key for user {cluster.user}",
         f"`ssh-copy-id{with_key} {target}`, or correct auth in {cluster.path}"),
        ("Connection refused", "is up, but its ssh port refuses connections", "start sshd there"),
        ("Could not resolve", "its name is unknown on this machine",
         f"correct it in {cluster.path}, or add it to /etc/hosts"),
        ("timed out|No route|unreachable|Host is down", "does not answer",
         f"switch it on, check its address, cable and firewall, or remove it from {cluster.path}"),
    ):  # fmt: skip
        if code == SSH_FAILED and re.search(pattern, errors):
            return Problem(host.address, what, cure)
    if code == NO_PYTHON:
        return Problem(
            host.address, "has no python on the PATH of a login shell", "install Python 3.11, 3.12 or 3.13 there"
        )
    if "No module named 'ray'" in last:
        return Problem(host.address, "has no Ray yet", f"run `ray up {cluster.path}` first")
    message = f" ({last})" if last else ""
    return Problem(host.address, f"ssh ended with code {code}{message}", f"see `ssh -v{with_key} {target}`")
