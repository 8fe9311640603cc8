"""Report the facts of a host. `check` sends this file over ssh, and the host runs it with the Python that it has.

So it is one file, uses the standard library only, and runs on Python 3.7.

Requests are lines of JSON on standard input: ``{"clock": true}`` any number of times, ``{"task": {...}}``, then
``{"look": {...}}``. Each answer is one line, ``MARK`` + JSON. Before the facts, ``{"doing": text}`` lines report the
progress. The probe writes one file, to the shared path, and removes it when it ends, also after an error.
"""

from __future__ import annotations  # for annotations such as ``str | None`` on Python 3.7

import contextlib
import errno
import glob
import hashlib
import hmac
import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

MARK = "inat-probe "
TOKEN_FILE = "~/.ray/auth_token"
CODE = ("inat/**/*.py", "tune_*.py", "requirements.lock")
SPLITS = ("train", "val", "test")
COMMAND_SECONDS = 6
LISTEN = "0A"  # state of a listening socket in /proc/net/tcp
NVIDIA = "0x10de"
DISPLAY_CLASSES = ("0x0300", "0x0302")  # PCI classes: VGA and 3D controllers


def send(answer: dict[str, Any]) -> None:
    """Print one answer."""
    print(MARK + json.dumps(answer), flush=True)


def reason(error: OSError) -> str:
    """The system's text for an error."""
    return error.strerror or str(error)


def run(*command: str) -> str:
    """The output of a command; raises OSError if it cannot be run, fails or takes more than COMMAND_SECONDS."""
    pipe = subprocess.PIPE
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} did not answer within {COMMAND_SECONDS} s") from error
    if done.returncode:
        lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise OSError(lines[0] if lines else f"{command[0]} ended with code {done.returncode}")
    return done.stdout.decode(errors="replace")


def python_facts() -> dict[str, Any]:
    """Versions of this Python and of ray and torch; None for a package that is not installed."""
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        return {"python": platform.python_version(), "ray": None, "torch": None}
    versions = {"python": platform.python_version()}  # type: dict[str, Any]
    for name in ("ray", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def torch_cuda() -> str | None:
    """The CUDA version that torch was built for, from its version.py, since importing torch takes seconds; or None."""
    try:
        found = importlib.util.find_spec("torch")
        folder = os.path.dirname(found.origin) if found and found.origin else ""
        with open(os.path.join(folder, "version.py"), encoding="utf-8") as file:
            match = re.search(r"^cuda\b[^=]*= *'([\d.]+)'", file.read(), re.MULTILINE)
    except (OSError, ImportError, ValueError):
        return None
    return match.group(1) if match else None


def code_facts(folder: str | None = None) -> dict[str, Any]:
    """Folder, commit (with "+" if changed) and digest of this project's code: the files that decide how trials run.

    Without ``folder``, the code is the package that this Python imports.
    """
    if folder is None:
        found = importlib.util.find_spec("inat")
        if found is None or not found.origin:
            return {"folder": None, "commit": None, "digest": None}
        folder = os.path.dirname(os.path.dirname(os.path.abspath(found.origin)))
    digest = hashlib.sha256()
    files = {path for pattern in CODE for path in glob.glob(os.path.join(folder, pattern), recursive=True)}
    for path in sorted(files):
        try:
            with open(path, "rb") as file:
                digest.update(os.path.relpath(path, folder).encode() + b"\0" + file.read() + b"\0")
        except OSError as error:
            why = f"{path}: {reason(error)}"
            return {"folder": folder, "commit": commit_of(folder), "digest": None, "error": why}
    return {"folder": folder, "commit": commit_of(folder), "digest": digest.hexdigest()}


def commit_of(folder: str) -> str | None:
    """The commit of a checkout, with "+" if it has changes; None outside a checkout, or without git."""
    git = ("git", "-c", "safe.directory=*", "-C", folder)  # on a share, another user may own the folder
    try:
        changed = run(*git, "status", "--porcelain", "-uno").strip()
        return run(*git, "rev-parse", "--short=10", "HEAD").strip() + ("+" if changed else "")
    except OSError:
        return None


def tool_facts() -> dict[str, bool]:
    """Whether the host has what `ray up` and `make setup` need: rsync, make and Python's venv."""
    facts = {name: shutil.which(name) is not None for name in ("rsync", "make")}
    facts["venv"] = all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip"))
    return facts


def gpu_facts() -> dict[str, Any]:
    """NVIDIA GPUs on the PCI bus and in the driver, the driver's version and its newest CUDA version."""
    facts = {"bus": gpus_on_bus(), "names": [], "driver": None, "cuda": None, "error": None}  # type: dict[str, Any]
    if not shutil.which("nvidia-smi"):
        facts["error"] = "no nvidia-smi" if facts["bus"] else None
        return facts
    try:
        rows = run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").strip().splitlines()
        facts["names"] = [row.rsplit(",", 1)[0].strip() for row in rows]
        facts["driver"] = rows[0].rsplit(",", 1)[1].strip() if rows else None
        match = re.search(r"CUDA (?:UMD )?Version *: *([\d.]+)", run("nvidia-smi"))
        facts["cuda"] = match.group(1) if match else None
    except OSError as error:
        facts["error"] = reason(error)
    return facts


def gpus_on_bus() -> int:
    """Number of NVIDIA GPUs on the PCI bus; needs no driver."""
    found = 0
    for device in glob.glob("/sys/bus/pci/devices/*"):
        try:
            with open(device + "/vendor") as vendor, open(device + "/class") as kind:
                found += vendor.read().strip() == NVIDIA and kind.read()[:6] in DISPLAY_CLASSES
        except OSError:
            continue
    return found


def disk_facts(paths: list[str]) -> dict[str, Any]:
    """For each path the free and total bytes of its disk, or the text of an error; a path need not exist yet."""
    return {path: disk_of(os.path.expandvars(os.path.expanduser(path))) for path in paths}


def disk_of(path: str) -> Any:
    """Free and total bytes of the disk of a path, or of its first existing parent; or the text of an error."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    try:
        usage = shutil.disk_usage(path)
        return {"free": usage.free, "total": usage.total}
    except OSError as error:
        return reason(error)


def data_facts(folder: str) -> dict[str, Any]:
    """For each split of a class-folder tree: the number of classes and of files."""
    splits = {}
    try:
        os.listdir(folder)
        for split in SPLITS:
            path = os.path.join(folder, split)
            if os.path.isdir(path):
                classes = [entry.path for entry in os.scandir(path) if entry.is_dir()]
                splits[split] = [len(classes), sum(len(os.listdir(name)) for name in classes)]
    except OSError as error:
        return {"error": reason(error), "splits": splits}
    return {"error": None, "splits": splits}


def port_facts(ports: list[int]) -> dict[str, Any]:
    """For each port None if it is free, otherwise the process that listens on it."""
    return {str(port): None if is_free(port) else port_holder(port) for port in ports}


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def port_holder(port: int) -> dict[str, Any]:
    """Name and pid of the process that listens on ``port``, and whether it is Ray; both None for another user's."""
    wanted = {f"socket:[{inode}]" for inode in listening_inodes(port)}
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(path) in wanted:
                pid = path.split("/")[2]
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
                name = os.path.basename(words[0])
                return {"name": name, "pid": int(pid), "ray": "/ray/" in words[0] or "ray::" in words[0]}
        except OSError:
            continue
    return {"name": None, "pid": None, "ray": False}


def listening_inodes(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on ``port``."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            if row[3] == LISTEN and int(row[1].rsplit(":", 1)[1], 16) == port:
                yield row[9]


def token_facts(key: str, path: str = TOKEN_FILE) -> dict[str, Any]:
    """Mode of Ray's token file and a digest of the token with this run's ``key``; the token stays on the host."""
    path = os.path.expanduser(path)
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        with open(path, "rb") as file:
            digest = hmac.new(key.encode(), file.read().strip(), "sha256").hexdigest()
        return {"error": None, "mode": f"{mode:03o}", "digest": digest}
    except FileNotFoundError:
        return {"error": "missing", "mode": None, "digest": None}
    except OSError as error:
        return {"error": reason(error), "mode": None, "digest": None}


def mount_of(path: str) -> str:
    """The mount that contains ``path``, as "source (type)"."""
    best, path = ("", "unknown"), os.path.realpath(path)
    try:
        with open("/proc/self/mounts") as file:
            for line in file:
                source, point, kind = line.split(" ")[:3]
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best[0]):
                    best = (point, f"{source} ({kind})")
    except OSError:
        pass
    return best[1]


def write_shared(folder: str, name: str, content: str) -> dict[str, Any]:
    """Write a file to the shared path for the other hosts to see."""
    facts = {"error": None, "name": name, "mount": mount_of(folder)}  # type: dict[str, Any]
    try:
        with open(os.path.join(folder, name), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        facts["error"] = reason(error)
    return facts


def see_shared(folder: str, files: dict[str, str]) -> list[str]:
    """Names of the ``files`` (name to content) that this host sees within 1 s; network shares may show them late."""
    until = time.monotonic() + 1
    while True:
        seen = [name for name, content in files.items() if read_text(os.path.join(folder, name)) == content]
        if len(seen) == len(files) or time.monotonic() > until:
            return seen
        time.sleep(0.1)


def read_text(path: str) -> str | None:
    """The text of a file; None if it cannot be read."""
    try:
        with open(path) as file:
            return file.read()
    except (OSError, ValueError):
        return None


def fact_steps(task: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (description, key in the facts, function) in order; steps that may hang on a network share come last."""
    yield "its Python", "versions", python_facts
    yield "torch's files", "torch_cuda", torch_cuda
    yield "its programs", "tools", tool_facts
    yield "its GPUs", "gpu", gpu_facts
    yield "its ports", "ports", lambda: port_facts(task["ports"])
    yield "its token", "token", lambda: token_facts(task["key"])
    yield "its code", "code", lambda: code_facts(task["code"])
    yield "its disks", "disks", lambda: disk_facts(task["disks"])
    if task["shared"]:
        yield task["shared"], "shared", lambda: write_shared(task["shared"], task["name"], task["content"])
        yield task["shared"], "shared_disk", lambda: disk_of(task["shared"])
    if task["data"]:
        yield task["data"], "data", lambda: data_facts(task["data"])


def serve() -> None:
    """Answer requests until standard input ends."""
    task = {}  # type: dict[str, Any]
    try:
        for line in iter(sys.stdin.buffer.readline, b""):
            request = json.loads(line.decode())
            if "clock" in request:
                send({"clock": time.time()})
            elif "task" in request:
                task = request["task"]
                facts = {"host": platform.node(), "home": os.path.expanduser("~")}  # type: dict[str, Any]
                for what, name, look in fact_steps(task):
                    send({"doing": what})
                    facts[name] = look()
                send({"facts": facts})
            elif "look" in request:
                send({"seen": see_shared(task["shared"], request["look"])})
    finally:
        if task.get("shared"):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(task["shared"], task["name"]))


if __name__ == "__main__":
    serve()
