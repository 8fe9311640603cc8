"""Errors in a launcher file, as messages that name the field and the cure."""

import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inat.config.validation import expanded

KEYGEN_SECONDS = 5
SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
COMMANDS = (*SETUP, "head_start_ray_commands", "worker_start_ray_commands")
MAPPINGS = ("provider", "auth", "metadata", "file_mounts")
METADATA_TEXTS = ("shared_path", "data", "environment", "code")
AUTH_TEXTS = ("ssh_user", "ssh_private_key", "ssh_proxy_command")


def mapping(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The mapping under ``name``; {} if it is missing or not a mapping."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def launcher_errors(content: Mapping[str, Any]) -> list[str]:
    """One message per error in the content of an on-premise launcher file."""
    provider, auth = mapping(content, "provider"), mapping(content, "auth")
    return [*_address_errors(provider), *_auth_errors(auth), *_type_errors(content)]


def _type_errors(content: Mapping[str, Any]) -> list[str]:
    """Values of a wrong type: commands must be lists of texts; paths, names and addresses must be texts."""
    errors = []
    for name in COMMANDS:
        commands = content.get(name)
        if commands is not None and not (isinstance(commands, list) and all(isinstance(c, str) for c in commands)):
            errors.append(f"{name} is {commands!r}; write a list of shell commands")
    for name in MAPPINGS:
        entries = content.get(name)
        if entries is not None and not isinstance(entries, dict):
            errors.append(f"{name} is {entries!r}; write lines NAME: VALUE below it")
    mounts = mapping(content, "file_mounts").items()
    texts = {f"file_mounts.{remote}": local if isinstance(remote, str) else remote for remote, local in mounts}
    texts |= {f"metadata.{name}": mapping(content, "metadata").get(name) or "" for name in METADATA_TEXTS}
    texts |= {f"auth.{name}": mapping(content, "auth").get(name) or "" for name in AUTH_TEXTS}
    texts["provider.external_head_ip"] = mapping(content, "provider").get("external_head_ip") or ""
    return [
        *errors,
        *(f"{name} is {text!r}; write a text" for name, text in texts.items() if not isinstance(text, str)),
    ]


def _address_errors(provider: Mapping[str, Any]) -> list[str]:
    head, workers = provider.get("head_ip"), provider.get("worker_ips")
    errors = [] if isinstance(head, str) and head else ["provider.head_ip is missing; write the head's address"]
    if not isinstance(workers, list) or not workers or not all(isinstance(ip, str) and ip for ip in workers):
        return [*errors, f"provider.worker_ips is {workers!r}; list the address of at least one worker"]
    twice = sorted({ip for ip in (head, *workers) if (head, *workers).count(ip) > 1 and ip})
    return [*errors, *(f"{ip} is listed twice; remove one from worker_ips" for ip in twice)]


def _auth_errors(auth: Mapping[str, Any]) -> list[str]:
    errors = [] if auth.get("ssh_user") else ["auth.ssh_user is missing; write the user to log in as"]
    if not auth.get("ssh_private_key"):
        return errors
    key = expanded(str(auth["ssh_private_key"]))
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        make = f"make one with `ssh-keygen -t ed25519 -f {key}` and copy it to every host with `ssh-copy-id -i {key}`"
        return [*errors, f"auth.ssh_private_key {key} cannot be read ({error.strerror}); name another key, or {make}"]
    if mode & 0o077:
        errors.append(f"auth.ssh_private_key {key} has mode {mode:03o}, which ssh refuses; `chmod 600 {key}`")
    elif needs_passphrase(key):
        what = "asks for a passphrase, but Ray uses a copy of it on the head, where nobody can type one"
        cure = "name a key without one (`ssh-keygen -t ed25519 -N '' -f FILE`), copied to every host with `ssh-copy-id`"
        errors.append(f"auth.ssh_private_key {key} {what}; {cure}")
    return errors


def needs_passphrase(key: Path) -> bool:
    """Whether ssh-keygen reports that a private key is encrypted; ssh itself may not show it, if an agent runs."""
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(key)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=KEYGEN_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode != 0 and b"passphrase" in done.stderr
