"""`wait`: until all nodes have joined, or with what those say that have not."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer
from typing import Any

from rich.console import Console

from inat.cluster import wait_on_head
from inat.cluster.launcher_file import Cluster, Host
from inat.cluster.ssh import SSH_FAILED, explain, python_over_stdin, ssh_command
from inat.errors import SearchError

GRACE_SECONDS = 30.0  # for ssh, and for the head's Python to load Ray and to try to connect one last time
LOG_LINES = 12
LOG_SECONDS = 10
WARNINGS = r" [WEF] [0-9]+ [0-9]+\]"  # of Ray's C++ logs: warnings and worse
ALWAYS = "memory_monitor_utils"  # said every 5 s by healthy nodes, too
# Of the autoscaler's output: its own commands and tracebacks, and what it says of hosts that do not answer at all.
NOISE = (
    r"VINFO|VERR|^ |^$|Traceback|cannot set terminal|no job control|Permanently added|!!!|Error message"
    r"|SSH still not available|^ssh: connect"
)


def wait_for_nodes(cluster: Cluster, seconds: float) -> None:
    """Return once all hosts of the launcher file are nodes; SearchError, with logs printed, after ``seconds``."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
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
    if answers:  # `ray up` would restart the head's Ray, and end what runs on it
        cure = "mend what is said above: the head goes on trying to start them; then run `wait` again"
        raise SearchError(f"{which} did not join within {seconds:g} s; {cure}")
    address = cluster.head.address
    raise SearchError(f"no Ray answers on the head, {address}, within {seconds:g} s; see above, and `ray up` again")


def ask_head(cluster: Cluster, seconds: float) -> Iterator[dict[str, Any]]:
    """What joined.py on the head says, as it says it; SearchError if the head cannot be asked."""
    text = Path(wait_on_head.__file__).read_bytes()
    request = {
        "address": f"{cluster.head.address}:{cluster.gcs_port}",
        "expected": [host.address for host in cluster.hosts],
        "seconds": seconds,
    }
    pipe = subprocess.PIPE
    overdue = seconds + GRACE_SECONDS
    command = ssh_command(cluster, cluster.head, python_over_stdin(cluster, len(text)))
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process,
        ended_after(process, overdue) as late,
    ):
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            process.stdin.write(text + json.dumps(request).encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # ssh failed; it says why below
        ended = False
        for line in process.stdout:
            if line.startswith(wait_on_head.MARK.encode()):
                answer = json.loads(line[len(wait_on_head.MARK) :])
                ended = "missing" in answer
                yield answer
        # Not of a process that was ended: a child of it may hold the pipe open.
        errors = "" if late.is_set() else process.stderr.read().decode(errors="replace")
    if late.is_set() and not ended:
        raise SearchError(
            f"the head, {cluster.head.address}, did not say within {overdue:g} s which nodes have joined; see there "
            "whether it is overloaded, or whether `ray status` hangs"
        )
    if not ended:
        problem = explain(cluster, cluster.head, process.returncode, errors)
        raise SearchError(f"the head cannot be asked which nodes have joined: {problem}")


@contextmanager
def ended_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[Event]:
    """Kill the process if it is still there after ``seconds``; the event says whether it came to that."""
    late = Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = Timer(seconds, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def logs_of(cluster: Cluster, hosts: Sequence[Host]) -> Iterator[str]:
    """The end of what each host's Ray logged, and of what the head logged of starting them, line by line."""
    for host in hosts:
        yield f"missing  {host.address}"
        process, file = ("gcs_server", "gcs_server.out") if host.head else ("raylet", "raylet.out")
        running = f"pgrep -x {process} > /dev/null || echo 'no {process} is running; its last log:'"
        last = f"grep -hE '{WARNINGS}' {file} | grep -v {ALWAYS} | tail -n {LOG_LINES}"
        yield from in_logs(cluster, host, f"{running}; {last}")
    if not all(host.head for host in hosts):
        yield f"head     {cluster.head.address}, of starting them"
        last = f"grep -hvE '{NOISE}' monitor.out | tail -n {LOG_LINES}"
        yield from in_logs(cluster, cluster.head, last)


def in_logs(cluster: Cluster, host: Host, command: str) -> list[str]:
    """What a shell command prints in a host's folder of Ray's logs; or why there is nothing."""
    folder = f"{cluster.temp_dir(host)}/session_latest/logs"
    none = f"echo no Ray has been started here: {folder} is missing; exit"
    remote = ssh_command(cluster, host, f"cd {folder} 2> /dev/null || {{ {none}; }}; {{ {command}; }} 2> /dev/null")
    try:
        pipe = subprocess.PIPE
        done = subprocess.run(
            remote, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, timeout=LOG_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [f"         gives no answer within {LOG_SECONDS} s"]
    if done.returncode == SSH_FAILED:
        problem = explain(cluster, host, done.returncode, done.stderr)
        return [f"         {problem.what}; {problem.cure}"]
    return [f"         {line}" for line in done.stdout.splitlines() or [f"nothing in {folder}"]]
