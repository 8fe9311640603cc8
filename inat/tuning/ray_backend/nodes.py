"""The machines of a cluster while a search runs: who joins, who leaves, and who can run its trials."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from inat.config.trial import DataConfig
from inat.constants import CHECKPOINTS_DIR, STUDY_JSON
from inat.errors import DiskFullError, InatError, NodeError, SearchError
from inat.study.atomic_io import NO_SPACE_ERRNOS
from inat.study.study import Study
from inat.tuning.ray_backend import session
from inat.tuning.ray_backend.slots import Node
from inat.tuning.ray_backend.trials import last_failure

LOOK_EVERY_SECONDS = 2.0
ASK_AGAIN_SECONDS = 15.0  # a machine that lacked something may have got it
ANSWER_SECONDS = 90.0  # the first answer includes starting Python and loading libraries, maybe from a shared folder

Ask = Callable[[str], Any]  # a node's id -> reference to the answer of fitness.unfit_because there


@dataclass(slots=True)
class Machine:
    """A machine that is up; ``unfit`` says why it gets no trials, "" if it may, None if it has not answered yet."""

    node: Node
    unfit: str | None = None
    question: Any = None
    asked: float = 0.0


class ClusterNodes(Callback):
    """Asks every machine whether it can run trials before it gets any; use as one of Tune's callbacks.

    ``say`` gets lines for the user. The machine of the driver, which has checked everything already, is not asked.
    """

    def __init__(
        self, look: Callable[[], Sequence[Node]], ask: Ask, driver_node: str, say: Callable[[str], object]
    ) -> None:
        self._look, self._ask, self._driver, self.say = look, ask, driver_node, say
        self._machines: dict[str, Machine] = {}
        self._looked = -LOOK_EVERY_SECONDS
        self._count: Callable[[Node], int] = lambda node: 0
        self._resize: Callable[[int], object] = lambda count: None
        self._told: int | None = None

    def wait(self) -> list[Node]:
        """Those that can run trials, once all that are up have answered; SearchError if there are none."""
        ends = time.monotonic() + ANSWER_SECONDS
        self.update()
        while any(m.unfit is None for m in self._machines.values()) and time.monotonic() < ends:
            time.sleep(0.1)
            self.update()
        if not (fit := self._fit()):
            reasons = "; ".join(f"{m.node.name}: {m.unfit or 'no answer'}" for m in self._machines.values())
            raise SearchError(f"no machine of the cluster can run trials ({reasons})")
        return fit

    def keep_informed(self, count: Callable[[Node], int], resize: Callable[[int], object]) -> None:
        """Call ``resize`` with the number of trials, ``count`` a machine, that fit on the fit ones, when it changes."""
        self._count, self._resize, self._told = count, resize, None

    def excluded(self) -> list[str]:
        """Ids of the machines that are up at this moment and get no trials."""
        self._look_around()  # one that has just joined has not answered
        return sorted(node_id for node_id, machine in self._machines.items() if machine.unfit != "")

    def with_room(self) -> list[str]:
        """Ids of the machines that get trials, and are large enough for one."""
        return [node.node_id for node in self._fit() if self._count(node)]

    def _fit(self) -> list[Node]:
        return [machine.node for machine in self._machines.values() if machine.unfit == ""]

    def update(self) -> None:
        """Look who is up, put questions, hear answers. Does its work at most every LOOK_EVERY_SECONDS."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_SECONDS:
            self._looked = now
            self._look_around()
        for machine in self._machines.values():
            self._talk(machine, now)
        if (count := sum(map(self._count, self._fit()))) != self._told:
            self._told = count
            self._resize(count)

    def _look_around(self) -> None:
        up = {node.node_id: node for node in self._look()}
        for node_id in [known for known in self._machines if known not in up]:
            self.say(f"machine {self._machines.pop(node_id).node.name} has left; its trials go on elsewhere")
        started = not self._machines
        for node_id in [new for new in up if new not in self._machines]:
            self._machines[node_id] = Machine(up[node_id], "" if node_id == self._driver else None)
            if not started:
                self.say(f"machine {up[node_id].name} has joined")

    def _talk(self, machine: Machine, now: float) -> None:
        if machine.question is None:
            if machine.unfit is None or (machine.unfit and now - machine.asked > ASK_AGAIN_SECONDS):
                machine.question, machine.asked = self._ask(machine.node.node_id), now
            return
        answered, _ = ray.wait([machine.question], timeout=0)
        if answered:
            self._hear(machine, answered[0])
        elif now - machine.asked > ANSWER_SECONDS:
            # It will be asked again; each question that hangs there would keep a process of its own.
            ray.cancel(machine.question, force=True)
            machine.question = None
            self._judge(machine, f"no answer within {ANSWER_SECONDS:g} s")

    def _hear(self, machine: Machine, answer: Any) -> None:
        machine.question = None
        try:
            self._judge(machine, ray.get(answer))
        except ray.exceptions.RayError as error:  # it may just be leaving, which the next look shows
            self._judge(machine, str(error).strip().splitlines()[-1])

    def _judge(self, machine: Machine, reason: str) -> None:
        if reason and reason != machine.unfit:
            self.say(f"machine {machine.node.name} takes no trials: {reason}")
        elif machine.unfit and not reason:
            self.say(f"machine {machine.node.name} takes trials again")
        machine.unfit = reason

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.update()

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._accuse(last_failure(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._accuse(last_failure(trial))

    def _accuse(self, failure: str) -> None:
        """Believe a trial that says what its machine lacks, until the machine itself says otherwise."""
        node_id, reason = parse_node_error(failure) or ("", "")
        if machine := self._machines.get(node_id):
            machine.asked = time.monotonic()
            self._judge(machine, reason)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks into a snapshot that we never read


def cluster_nodes_for(study: Study, data: DataConfig, say: Callable[[str], object]) -> ClusterNodes:
    """Those of the cluster this process has joined, asked whether they can run trials of ``study``."""
    text = (study.directory / STUDY_JSON).read_text(encoding="utf-8")
    question = (why_unusable, study.directory.absolute(), text, asdict(data), study.info["data"]["fingerprint"])
    return ClusterNodes(session.nodes, lambda node_id: session.ask(node_id, *question), session.this_node(), say)


_NODE = re.compile(r"NodeError: (?P<reason>.*) \[node (?P<node>[0-9a-f]+)\]")


def why_unusable(study_dir: Path, study_json: str, settings: Mapping[str, Any], fingerprint: str) -> str:
    """Why this machine cannot run trials of a study; "" if it can.

    ``study_json`` is the text of the file as the driver sees it, by which the shared folder is known to be the same;
    ``settings`` are the fields of the study's DataConfig.
    """
    from inat.config.trial import DataConfig
    from inat.data.splits import inspect_data

    try:
        if not _has(study_dir / STUDY_JSON, study_json):
            return f"{study_dir} is not the study there; --storage-path must be a folder that all machines share"
        _check_writable(study_dir / CHECKPOINTS_DIR)
        found = inspect_data(DataConfig(**settings)).fingerprint
    except InatError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or study_dir}: {error.strerror or error}"
    return "" if found == fingerprint else f"the photos in {settings['data']} are not those of the study"


def _has(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(exist_ok=True)
        probe = directory / f".probe-{socket.gethostname()}-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:  # a full disk is full for all
            raise


@contextmanager
def as_node_error(node: str, driver_node: str) -> Iterator[None]:
    """Turn errors that this machine alone can have into a NodeError, so that the trial goes on elsewhere.

    The driver has checked settings, data and weights where it runs: who finds them wrong somewhere else lacks files.
    """
    try:
        yield
    except (InatError, OSError) as error:
        if node == driver_node or isinstance(error, DiskFullError):
            raise
        told = str(error) if isinstance(error, InatError) else f"{type(error).__name__}: {error}"
        raise NodeError(f"{told} [node {node}]") from error


def parse_node_error(failure: str) -> tuple[str, str] | None:
    """(node id, reason) if a trial's failure, as Tune wrote it down, is a NodeError."""
    found = list(_NODE.finditer(failure))
    return (found[-1]["node"], found[-1]["reason"]) if found else None
