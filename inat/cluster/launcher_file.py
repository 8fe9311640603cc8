"""Read an on-premise launcher file: its hosts, how to reach them, and what `ray up` does on them."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inat.cluster.launcher_validation import SETUP, launcher_errors, mapping
from inat.config.validation import expanded, raise_if_any
from inat.constants import CACHE_BELOW_HOME, DIGITS
from inat.errors import ConfigError

CLOUDS = ("aws", "azure", "gcp", "aliyun", "vsphere", "external")
GCS_PORT = 6379
PORT = re.compile(r"--((?!min-|max-)[a-z-]*port)[= ](\d+)")
DIRECTORY = re.compile(r"--(temp-dir|object-spilling-directory)[= ](\S+)")
RESULTS_LINK = re.compile(r"\bln -s\w* (\S+) \S*/results\b")  # the command of cluster.yaml that links the shared folder
TEMP_DIR = "/tmp/ray"
_TEMP = os.environ.get("TMPDIR", "/tmp") if sys.platform == "linux" else "/tmp"  # the same choice as Ray's
STATE_FOLDER = Path(os.environ.get("RAY_TMPDIR", _TEMP), "ray")  # where `ray up` keeps its notes on this machine
SET_UP = "ray-runtime-config"  # Ray's tag of a node whose files are copied and setup_commands done
TOKEN_MOUNT = "~/.ray/auth_token"


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the launcher file; ``external_address`` is its address on this machine if that differs."""

    address: str
    head: bool
    external_address: str | None = None

    @property
    def ssh_address(self) -> str:
        """The address for ssh from this machine."""
        return self.external_address or self.address


@dataclass(frozen=True, slots=True)
class Cluster:
    """The content of an on-premise launcher file.

    ``mounts`` maps remote to local paths (file_mounts). Ray ignores the file's metadata; this package reads from it, as
    paths on the hosts or None: ``shared``, ``data``, the virtual ``environment`` and the folder of the ``code``.
    ``head_set_up``: `ray up` on this machine has set up the head, and no `ray down` followed.
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
        """The head."""
        return self.hosts[0]

    def start_commands(self, host: Host) -> str:
        """The commands that start Ray on a host, one per line."""
        commands = self.head_commands if host.head else self.worker_commands
        return "\n".join(command for command in commands if "ray start" in command)

    def ports(self, host: Host) -> list[int]:
        """The ports that `ray start` opens on a host, sorted."""
        named = {int(port) for _, port in PORT.findall(self.start_commands(host))} - {0}
        return sorted(named | ({self.gcs_port} if host.head else set()))

    @property
    def calls_make(self) -> bool:
        """Whether setup_commands call make, as cluster.yaml does to create the virtual environment."""
        return any(re.search(r"\bmake\b", command) for command in self.setup_commands)

    @property
    def gcs_port(self) -> int:
        """The head's port that nodes connect to."""
        return int(dict(PORT.findall(self.start_commands(self.head))).get("port", GCS_PORT))

    def temp_dir(self, host: Host) -> str:
        """Ray's folder for sessions and logs on a host."""
        named: dict[str, str] = dict(DIRECTORY.findall(self.start_commands(host)))
        return named.get("temp-dir", TEMP_DIR)

    def disks(self, host: Host) -> list[str]:
        """Directories on the host's own disks that Ray or trials write to."""
        named = [path for _, path in DIRECTORY.findall(self.start_commands(host))]
        cache = f"~/{CACHE_BELOW_HOME}"
        return list(dict.fromkeys([self.temp_dir(host), *named, cache]))

    def copies(self, path: str, home: str) -> bool:
        """Whether `ray up` copies the remote ``path``; ``home`` is the remote home folder."""
        targets = [remote.replace("~", home, 1).rstrip("/") for remote in self.mounts]
        path = path.replace("~", home, 1)
        return any(path == target or path.startswith(f"{target}/") for target in targets)

    @property
    def token_source(self) -> Path | None:
        """The local file that `ray up` copies to the hosts as Ray's token; None if it copies none."""
        local = self.mounts.get(TOKEN_MOUNT)
        return expanded(local) if local else None


def read_cluster(path: Path, shared: str | None = None, data: str | None = None) -> Cluster:
    """Read an on-premise launcher file; ``shared`` and ``data`` replace its shared path and its data folder.

    Raises ConfigError with all errors of the file, or if it describes machines of a cloud.
    """
    content = read_yaml(path)
    provider = mapping(content, "provider")
    kind = provider.get("type")
    if kind in CLOUDS:
        raise ConfigError(
            f"{path} rents machines of {kind}, which do not exist before `ray up`; this command needs provider type "
            "local. After `ray up`, see `ray status` on the head"
        )
    if kind != "local":
        raise ConfigError(f"{path}: unknown provider type {kind!r}; choose from local, {', '.join(CLOUDS)}")
    raise_if_any([f"{path}: {error}" for error in launcher_errors(content)])
    auth, known = mapping(content, "auth"), mapping(content, "metadata")
    folder = data or known.get("data")
    head = Host(provider["head_ip"], head=True, external_address=provider.get("external_head_ip"))
    hosts = [head, *(Host(ip, head=False) for ip in provider["worker_ips"])]
    return Cluster(
        path=path,
        hosts=tuple(hosts),
        user=auth["ssh_user"],
        key=expanded(auth["ssh_private_key"]) if auth.get("ssh_private_key") else None,
        proxy=auth.get("ssh_proxy_command"),
        shared=shared or known.get("shared_path") or results_link_target(content.get("setup_commands")),
        data=None if folder == DIGITS else folder,
        environment=known.get("environment"),
        code=known.get("code"),
        mounts=mapping(content, "file_mounts"),
        setup_commands=tuple(command for name in SETUP for command in content.get(name) or ()),
        head_set_up=head_is_set_up(content.get("cluster_name"), provider["head_ip"]),
        head_commands=tuple(content.get("head_start_ray_commands") or ()),
        worker_commands=tuple(content.get("worker_start_ray_commands") or ()),
    )


def results_link_target(commands: Sequence[str] | None) -> str | None:
    """The folder that setup_commands link results/ to; None if they link none."""
    found = (RESULTS_LINK.search(command) for command in commands or ())
    return next((match.group(1) for match in found if match), None)


def head_is_set_up(name: Any, head: str) -> bool:
    """Whether Ray's notes say that cluster ``name`` is up and the setup of its head is done."""
    try:
        node = json.loads((STATE_FOLDER / f"cluster-{name}.state").read_text(encoding="utf-8"))[head]
        return node["state"] == "running" and SET_UP in node["tags"]
    except (OSError, ValueError, LookupError, TypeError):  # the cluster was never up, or another Ray wrote the file
        return False


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises ConfigError if the file cannot be read or holds no mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; pass the file that you pass to `ray up`") from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path} is not YAML{place}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings; it should begin with cluster_name and provider")
    return content
