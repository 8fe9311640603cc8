"""A stand-in for ssh: runs the command on this machine with the host's home folder, and alters answers as configured.

fake_ssh.py CONFIG.json [ssh's options] USER@ADDRESS COMMAND
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

MARK = "inat-probe "


def altered(line: str, host: dict) -> str:
    if not line.startswith(MARK):
        return line
    try:
        answer = json.loads(line[len(MARK) :])
    except ValueError:
        return line
    if "clock" in answer:
        answer["clock"] += host.get("clock", 0)
    for path, value in host.get("facts", {}).items() if "facts" in answer else ():
        *parents, name = path.split("/")
        place = answer["facts"]
        for parent in parents:
            place = place[parent]
        place[name] = value
    if "seen" in answer and "seen" in host:
        answer["seen"] = host["seen"]
    if answer.get("doing") == host.get("hangs_at", ""):
        print(line, end="", flush=True)
        time.sleep(60)
    return MARK + json.dumps(answer) + "\n"


def main() -> None:
    with open(sys.argv[1]) as file:
        config = json.load(file)
    target, command = sys.argv[-2:]
    host = config[target.split("@")[1]]
    if "error" in host:
        print(host["error"], file=sys.stderr)
        sys.exit(host.get("code", 255))
    if "prints" in host and "sys.stdin" in command:
        print("noise of a .bashrc", *host["prints"], sep="\n", flush=True)
        time.sleep(host.get("hangs", 0))
        return
    # In its own session: an interactive shell would take over the terminal that runs the tests.
    run = subprocess.Popen(
        ["setsid", "bash", "-c", command], env={"HOME": host["home"], "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def pass_on() -> None:
        with contextlib.suppress(BrokenPipeError):
            while chunk := os.read(0, 65536):  # not sys.stdin, whose lock would still be held at exit
                run.stdin.buffer.write(chunk)
                run.stdin.flush()
            run.stdin.close()

    threading.Thread(target=pass_on, daemon=True).start()
    for line in run.stdout:
        print(altered(line, host), end="", flush=True)
    sys.exit(run.wait())


if __name__ == "__main__":
    main()
