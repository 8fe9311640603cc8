"""One host under `check`: its answer, what is expected of it, and the other hosts to compare it with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inat.cluster.host_session import Answer
from inat.cluster.launcher_file import Cluster
from inat.cluster.ssh import Problem

# `ray up` compares its own notes, not the host: on a head that is set up, it copies only files that changed since.
SET_UP_AGAIN = "`ray down`, then `ray up`: while the cluster is up, `ray up` repeats no setup on the head"


@dataclass(frozen=True, slots=True)
class Expected:
    """What this checkout expects of a host.

    ``versions`` of packages, ``code`` and ``token`` as the probe reports them, ``min_free`` bytes per disk and at most
    ``max_skew`` seconds between clocks.
    """

    versions: Mapping[str, str]
    code: Mapping[str, Any]
    token: Mapping[str, Any] | None
    min_free: float
    max_skew: float


@dataclass(frozen=True, slots=True)
class CheckedHost:
    """A host that answered; ``answered`` are the answers of all such hosts, in the file's order."""

    cluster: Cluster
    expected: Expected
    answer: Answer
    answered: Sequence[Answer]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that the probe reported."""
        assert self.answer.facts is not None
        return self.answer.facts

    @property
    def reference(self) -> Answer:
        """The host that all others are compared with: the head, or the first host that answered."""
        return self.answered[0]

    def problem(self, what: str, cure: str, pending: bool = False) -> Problem:
        """A problem of this host."""
        return Problem(self.answer.host.address, what, cure, pending)

    def solved_by_ray_up(self, what: str, cure: str) -> Problem:
        """A problem that the next `ray up` solves, so it is pending; not so on a head that is already set up.

        On a worker that lacks something, Ray fails to start, and then `ray up` sets the worker up again.
        """
        if self.answer.host.head and self.cluster.head_set_up:
            return self.problem(what, SET_UP_AGAIN)
        return self.problem(what, cure, pending=True)
