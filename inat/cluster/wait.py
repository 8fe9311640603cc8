"""`wait`: return once all nodes have joined, or print the logs of the missing ones."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer
from typing import Any

from analysis.terminal import PlainConsole
from inat.cluster import wait_on_head
from inat.cluster.launcher_file import Cluster, Host
from inat.cluster.ssh import SSH_FAILED, explain_failure, remote_python_command, ssh_command
from inat.errors import SearchError

GRACE_SECONDS = 30.0  # for ssh, for loading Ray on the head and for its last attempt to connect
LOG_LINES = 12
LOG_SECONDS = 10
WARNINGS = r" [WEF] [0-9]+ [0-9]+\]"  # warnings, errors and fatal errors in Ray's C++ logs
HARMLESS = "memory_monitor_utils"  # healthy nodes log this warning every 5 s
# Lines of the autoscaler's log that do not help: its own commands and tracebacks, and hosts that do not answer at all.
NOISE = (
    r"VINFO|VERR|^ |^$|Traceback|cannot set terminal|no job control|Permanently added|!!!|Error message"
    r"|SSH still not available|^ssh: connect"
)


def wait_for_nodes(cluster: Cluster, seconds: float) -> None:
    """Return once all hosts of the launcher file are nodes.

    Raises SearchError after ``seconds``, with the logs of the missing hosts printed before.
    """
    console = PlainConsole()
    missing, answers, waiting = [host.address for host in cluster.hosts], False, ""
    for answer in ask_head(cluster, seconds):
        if answer.get("waiting", waiting) != waiting:
            waiting = answer["waiting"]
            console.print(f"waiting  {waiting}")
        if "joined" in answer:
            console.print(f"joined   {len(answer['joined'])} of {len(cluster.hosts)}: {', '.join(answer['joined'])}")
        if "missing" in answer:
            missing, answers = answer["missing"], answer["answers"]
    if not missing:
        return
    hosts = [host for host in cluster.hosts if host.address in missing] if answers else [cluster.head]
    for line in logs_of(cluster, hosts):
        console.print(line)
    which = ", ".join(missing)
    if answers:  # the cure is not `ray up`: it would restart Ray on the head and end a running search
        cure = "solve the problems above, then run `wait` again; meanwhile the head keeps trying to start these hosts"
        raise SearchError(f"{which} did not join within {seconds:g} s; {cure}")
    address = cluster.head.address
    raise SearchError(
        f"Ray on the head, {address}, did not answer within {seconds:g} s; solve the problems above, then run `ray up` "
        "again"
    )


def ask_head(cluster: Cluster, seconds: float) -> Iterator[dict[str, Any]]:
    """Run wait_on_head.py on the head and yield its answers as they come.

    Raises SearchError if the head cannot be reached or does not send its last answer in time.
    """
    text = Path(wait_on_head.__file__).read_bytes()
    request = {
        "address": f"{cluster.head.address}:{cluster.gcs_port}",
        "expected": [host.address for host in cluster.hosts],
        "seconds": seconds,
    }
    pipe = subprocess.PIPE
    limit = seconds + GRACE_SECONDS
    command = ssh_command(cluster, cluster.head, remote_python_command(cluster, len(text)))
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process,
        kill_after(process, limit) as killed,
    ):
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            process.stdin.write(text + json.dumps(request).encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # ssh failed; explain_failure below says why
        complete = False
        for line in process.stdout:
            if line.startswith(wait_on_head.MARK.encode()):
                answer = json.loads(line[len(wait_on_head.MARK) :])
                complete = "missing" in answer
                yield answer
        # After a kill, reading could block: a child of the process may hold the pipe open.
        errors = "" if killed.is_set() else process.stderr.read().decode(errors="replace")
    if killed.is_set() and not complete:
        raise SearchError(
            f"the head, {cluster.head.address}, did not report within {limit:g} s which nodes have joined; check there "
            "whether it is overloaded or `ray status` hangs"
        )
    if not complete:
        problem = explain_failure(cluster, cluster.head, process.returncode, errors)
        raise SearchError(f"the head cannot report which nodes have joined: {problem}")


@contextmanager
def kill_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[Event]:
    """Kill the process if it still runs after ``seconds``; the event is set if it was killed."""
    killed = Event()

    def kill() -> None:
        killed.set()
        process.kill()

    timer = Timer(seconds, kill)
    timer.start()
    try:
        yield killed
    finally:
        timer.cancel()


def logs_of(cluster: Cluster, hosts: Sequence[Host]) -> Iterator[str]:
    """Lines for the user: the last warnings of Ray on each host, and the head's log of starting the workers."""
    for host in hosts:
        yield f"missing  {host.address}"
        process, file = ("gcs_server", "gcs_server.out") if host.head else ("raylet", "raylet.out")
        running = f"pgrep -x {process} > /dev/null || echo 'no {process} is running; its last log:'"
        last = f"grep -hE '{WARNINGS}' {file} | grep -v {HARMLESS} | tail -n {LOG_LINES}"
        yield from in_logs(cluster, host, f"{running}; {last}")
    if not all(host.head for host in hosts):
        yield f"head     {cluster.head.address}, log of starting the workers"
        last = f"grep -hvE '{NOISE}' monitor.out | tail -n {LOG_LINES}"
        yield from in_logs(cluster, cluster.head, last)


def in_logs(cluster: Cluster, host: Host, command: str) -> list[str]:
    """The output lines of a shell command run in a host's folder of Ray's logs, or one line that says why none."""
    folder = f"{cluster.temp_dir(host)}/session_latest/logs"
    none = f"echo Ray was never started here: {folder} is missing; exit"
    remote = ssh_command(cluster, host, f"cd {folder} 2> /dev/null || {{ {none}; }}; {{ {command}; }} 2> /dev/null")
    try:
        pipe = subprocess.PIPE
        done = subprocess.run(
            remote, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, timeout=LOG_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [f"         did not answer within {LOG_SECONDS} s"]
    if done.returncode == SSH_FAILED:
        problem = explain_failure(cluster, host, done.returncode, done.stderr)
        return [f"         {problem.what}; {problem.cure}"]
    return [f"         {line}" for line in done.stdout.splitlines() or [f"nothing in {folder}"]]
