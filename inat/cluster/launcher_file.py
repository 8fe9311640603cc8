"""The hosts that a launcher file names, and what it says of them."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inat.config.validation import raise_if_any
from inat.constants import CACHE_DIR, DIGITS
from inat.errors import ConfigError

CLOUDS = ("aws", "azure", "gcp", "aliyun", "vsphere", "external")
GCS_PORT = 6379
KEY_SECONDS = 5
SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
COMMANDS = (*SETUP, "head_start_ray_commands", "worker_start_ray_commands")
MAPPINGS = ("provider", "auth", "metadata", "file_mounts")
OUR_METADATA = ("shared_path", "data", "environment", "code")
OUR_AUTH = ("ssh_user", "ssh_private_key", "ssh_proxy_command")
PORT = re.compile(r"--((?!min-|max-)[a-z-]*port)[= ](\d+)")
DIRECTORY = re.compile(r"--(temp-dir|object-spilling-directory)[= ](\S+)")
RESULTS_LINK = re.compile(r"\bln -s\w* (\S+) \S*/results\b")  # the line of cluster.yaml that names the shared folder
TEMP_DIR = "/tmp/ray"
_TEMP = os.environ.get("TMPDIR", "/tmp") if sys.platform == "linux" else "/tmp"  # Ray's own choice
STATE_FOLDER = Path(os.environ.get("RAY_TMPDIR", _TEMP), "ray")  # on this machine: what `ray up` has done
SET_UP = "ray-runtime-config"  # Ray's tag of a node whose files and setup_commands are done
TOKEN_MOUNT = "~/.ray/auth_token"


@dataclass(frozen=True, slots=True)
class Host:
    """One machine, by the address that the launcher file gives it; ``outside`` is the one it has here, if another."""

    address: str
    head: bool
    outside: str | None = None

    @property
    def reached_at(self) -> str:
        """Its address for ssh from this machine."""
        return self.outside or self.address


@dataclass(frozen=True, slots=True)
class Cluster:
    """An on-premise launcher file, read.

    ``mounts`` are its file_mounts, remote path to local path. Its metadata, which Ray leaves to us, names ``shared``,
    ``data``, the virtual ``environment`` and the folder of our ``code``, all as paths on the hosts, each may be None.
    ``head_set_up``: `ray up` from this machine has set up the head, with no `ray down` since.
    """

    path: Path
    hosts: tuple[Host, ...]
    user: str
    key: Path | None
    proxy: str | None
    shared: str | None
    data: str | None
    environment: str | None
    code: str | None
    mounts: Mapping[str, str]
    setup_commands: tuple[str, ...]
    head_set_up: bool
    head_commands: tuple[str, ...]
    worker_commands: tuple[str, ...]

    @property
    def head(self) -> Host:
        """The head node."""
        return self.hosts[0]

    def starts(self, host: Host) -> str:
        """The commands that start Ray there, in one text."""
        commands = self.head_commands if host.head else self.worker_commands
        return "\n".join(command for command in commands if "ray start" in command)

    def ports(self, host: Host) -> list[int]:
        """Ports that `ray start` is told to listen on there."""
        named = {int(port) for _, port in PORT.findall(self.starts(host))} - {0}
        return sorted(named | ({self.gcs_port} if host.head else set()))

    @property
    def makes(self) -> bool:
        """Whether setup_commands call make, as ours do to make the virtual environment."""
        return any(re.search(r"\bmake\b", command) for command in self.setup_commands)

    @property
    def gcs_port(self) -> int:
        """The head's port that nodes join at."""
        return int(dict(PORT.findall(self.starts(self.head))).get("port", GCS_PORT))

    def temp_dir(self, host: Host) -> str:
        """Where Ray keeps sessions and logs there."""
        named: dict[str, str] = dict(DIRECTORY.findall(self.starts(host)))
        return named.get("temp-dir", TEMP_DIR)

    def disks(self, host: Host) -> list[str]:
        """Directories on the host's own disk that Ray, and the trials, fill."""
        named = [path for _, path in DIRECTORY.findall(self.starts(host))]
        cache = f"~/{CACHE_DIR.relative_to(Path.home())}"
        return list(dict.fromkeys([self.temp_dir(host), *named, cache]))

    def brings(self, path: str, home: str) -> bool:
        """Whether `ray up` copies ``path`` of a host there."""
        targets = [remote.replace("~", home, 1).rstrip("/") for remote in self.mounts]
        path = path.replace("~", home, 1)
        return any(path == target or path.startswith(f"{target}/") for target in targets)

    @property
    def token_source(self) -> Path | None:
        """The file of this machine that `ray up` copies to the hosts as Ray's token."""
        local = self.mounts.get(TOKEN_MOUNT)
        return Path(local).expanduser() if local else None


def read_cluster(path: Path, shared: str | None = None, data: str | None = None) -> Cluster:
    """Read an on-premise launcher file; ConfigError with everything that is wrong in it.

    ``shared`` and ``data`` replace what it says of the shared path and the photographs.
    """
    content = read_yaml(path)
    provider = _mapping(content, "provider")
    kind = provider.get("type")
    if kind in CLOUDS:
        raise ConfigError(
            f"{path} has machines of {kind}, which are made by `ray up`; this command looks at machines that are there "
            "already (provider type local): once up, see `ray status` there"
        )
    if kind != "local":
        raise ConfigError(f"{path}: unknown provider type {kind!r}; choose from local, {', '.join(CLOUDS)}")
    auth, known = _mapping(content, "auth"), _mapping(content, "metadata")
    problems = [*_address_problems(provider), *_auth_problems(auth), *_type_problems(content)]
    raise_if_any([f"{path}: {problem}" for problem in problems])
    photos = data or known.get("data")
    head = Host(provider["head_ip"], head=True, outside=provider.get("external_head_ip"))
    hosts = [head, *(Host(ip, head=False) for ip in provider["worker_ips"])]
    return Cluster(
        path=path,
        hosts=tuple(hosts),
        user=auth["ssh_user"],
        key=Path(auth["ssh_private_key"]).expanduser() if auth.get("ssh_private_key") else None,
        proxy=auth.get("ssh_proxy_command"),
        shared=shared or known.get("shared_path") or linked_results(content.get("setup_commands")),
        data=None if photos == DIGITS else photos,
        environment=known.get("environment"),
        code=known.get("code"),
        mounts=_mapping(content, "file_mounts"),
        setup_commands=tuple(command for name in SETUP for command in content.get(name) or ()),
        head_set_up=is_set_up(content.get("cluster_name"), provider["head_ip"]),
        head_commands=tuple(content.get("head_start_ray_commands") or ()),
        worker_commands=tuple(content.get("worker_start_ray_commands") or ()),
    )


def linked_results(commands: Sequence[str] | None) -> str | None:
    """The folder that setup_commands make results/ a link to, if they do."""
    found = (RESULTS_LINK.search(command) for command in commands or ())
    return next((match.group(1) for match in found if match), None)


def is_set_up(name: Any, head: str) -> bool:
    """Whether Ray has it that cluster ``name`` is up, and the setup of its head is done."""
    try:
        node = json.loads((STATE_FOLDER / f"cluster-{name}.state").read_text(encoding="utf-8"))[head]
        return node["state"] == "running" and SET_UP in node["tags"]
    except (OSError, ValueError, LookupError, TypeError):  # never up, or not a file of this Ray's
        return False


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; ConfigError if there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; pass the file that you give to `ray up`") from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path} is not YAML{place}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings; it should begin with cluster_name and provider")
    return content


def _mapping(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _type_problems(content: Mapping[str, Any]) -> list[str]:
    """What is of another type than `ray up`, or we, want: each command, path and name a text."""
    problems = []
    for name in COMMANDS:
        commands = content.get(name)
        if commands is not None and not (isinstance(commands, list) and all(isinstance(c, str) for c in commands)):
            problems.append(f"{name} is {commands!r}; write a list of shell commands")
    for name in MAPPINGS:
        entries = content.get(name)
        if entries is not None and not isinstance(entries, dict):
            problems.append(f"{name} is {entries!r}; write lines NAME: VALUE below it")
    mounts = _mapping(content, "file_mounts").items()
    texts = {f"file_mounts.{remote}": local if isinstance(remote, str) else remote for remote, local in mounts}
    texts |= {f"metadata.{name}": _mapping(content, "metadata").get(name) or "" for name in OUR_METADATA}
    texts |= {f"auth.{name}": _mapping(content, "auth").get(name) or "" for name in OUR_AUTH}
    texts["provider.external_head_ip"] = _mapping(content, "provider").get("external_head_ip") or ""
    problems += [f"{name} is {value!r}; write a text" for name, value in texts.items() if not isinstance(value, str)]
    return problems


def _address_problems(provider: Mapping[str, Any]) -> list[str]:
    head, workers = provider.get("head_ip"), provider.get("worker_ips")
    problems = [] if isinstance(head, str) and head else ["provider.head_ip is missing; write the head's address"]
    if not isinstance(workers, list) or not workers or not all(isinstance(ip, str) and ip for ip in workers):
        return [*problems, f"provider.worker_ips is {workers!r}; list the address of at least one worker"]
    twice = sorted({ip for ip in (head, *workers) if (head, *workers).count(ip) > 1 and ip})
    return [*problems, *(f"{ip} is listed twice; leave it out of worker_ips once" for ip in twice)]


def _auth_problems(auth: Mapping[str, Any]) -> list[str]:
    problems = [] if auth.get("ssh_user") else ["auth.ssh_user is missing; write the user to log in as"]
    if not auth.get("ssh_private_key"):
        return problems
    key = Path(str(auth["ssh_private_key"])).expanduser()
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        make = f"make one with `ssh-keygen -t ed25519 -f {key}` and `ssh-copy-id -i {key}` it to every host"
        return [*problems, f"auth.ssh_private_key {key} cannot be read ({error.strerror}); name another or {make}"]
    if mode & 0o077:
        problems.append(f"auth.ssh_private_key {key} has mode {mode:03o}, which ssh refuses; `chmod 600 {key}`")
    elif needs_passphrase(key):
        what = "asks for a passphrase, which nobody types on the head, where Ray puts a copy to start the workers"
        cure = "name a key without (`ssh-keygen -t ed25519 -N '' -f FILE`), and `ssh-copy-id -i FILE` it to every host"
        problems.append(f"auth.ssh_private_key {key} {what}; {cure}")
    return problems


def needs_passphrase(key: Path) -> bool:
    """Whether a private key is encrypted, as far as ssh-keygen can tell; an agent may hide that from ssh itself."""
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(key)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=KEY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode != 0 and b"passphrase" in done.stderr
