"""A small Slurm on the loopback device: two nodes of four cores each, both on this machine."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "srun")  # Debian: slurmctld, slurmd, munge
CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def which(command: str) -> str | None:
    """The path of a command, which Debian may keep in /usr/sbin."""
    return shutil.which(command, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def missing_commands() -> list[str]:
    return [command for command in COMMANDS if which(command) is None]


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start the servers; yields the environment for Slurm's commands. All servers have ended afterwards."""
    folder.mkdir()
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    conf = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    conf.write_text(CONF.format(folder=folder, host=host, user=getpass.getuser(), ports=_free_ports(3)))
    environment = os.environ | {"SLURM_CONF": str(conf)}
    files = {"key-file": key} | {f"{name}-file": folder / f"munge.{name}" for name in ("pid", "log", "seed")}
    munged = [f"--{name}={path}" for name, path in files.items()]
    with ExitStack() as stack:

        def start(*command: str) -> None:
            log = stack.enter_context((folder / "servers.log").open("a"))
            stack.enter_context(_ended([which(command[0]), *command[1:]], environment, log))

        start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munged)
        wait_for(lambda: (folder / "munge.socket").exists(), 10)
        start("slurmctld", "-D", "-f", str(conf))
        for node in ("node1", "node2"):
            start("slurmd", "-D", "-N", node, "-f", str(conf))
        wait_for(lambda: _idle_nodes(environment) == 2, 30)
        yield environment


@contextmanager
def _ended(command: list[str], environment: dict[str, str], log) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _idle_nodes(environment: dict[str, str]) -> int:
    listed = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%T"], env=environment, capture_output=True)
    return listed.stdout.split().count(b"idle")


def wait_for(condition, seconds: float) -> None:
    """Return once ``condition()`` is true; AssertionError after ``seconds``."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds:g} s"
        time.sleep(0.2)
