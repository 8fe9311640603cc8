"""Keys of the live view: from bytes of a terminal to names, and what each of them changes."""

import math
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from inat.constants import FAILED
from inat.tuning.live.snapshot import Snapshot, TrialView

ORDERS = ("trial", "best", "now", "epoch")
PAGE = 10  # rows of a page up or down
SEQUENCES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[C": "down", "\x1bOC": "down",
    "\x1b[D": "up", "\x1bOD": "up", "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b[H": "home", "\x1bOH": "home",
    "\x1b[1~": "home", "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "\x1b": "back", "\x7f": "back",
    "\x0c": "redraw", "\r": "d", "\n": "d",
}  # fmt: skip
_KEY = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.)?|.", re.DOTALL)
STEPS = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}


class Action(NamedTuple):
    """What the program does after a key: "quit", "redraw", or "end" with the trial that is to end."""

    kind: str
    trial_id: str = ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """What the user has chosen: the order of the table, a trial, its details; ``asked`` waits for the key y."""

    order: str = ORDERS[0]
    chosen: str = ""
    details: bool = False
    asked: str = ""
    notice: str = ""


def decode_keys(data: bytes) -> list[str]:
    r"""The names of the keys in what a terminal sent; unknown sequences are left out.

    >>> decode_keys(b"s\x1b[Bq")
    ['s', 'down', 'q']
    """
    found = (match[0] for match in _KEY.finditer(data.decode(errors="replace")))
    return [SEQUENCES.get(key, key.lower()) for key in found if key in SEQUENCES or len(key) == 1]


def press(state: ViewState, key: str, snapshot: Snapshot) -> tuple[ViewState, Action | None]:
    """The state after a key, and what the program has to do."""
    if state.asked:
        action = Action("end", state.asked) if key == "y" else None
        return replace(state, asked="", notice="" if action else f"{state.asked} goes on"), action
    state = replace(state, notice="")
    if key in STEPS or key in ("home", "end"):
        return replace(state, chosen=_moved(state, key, snapshot)), None
    match key:
        case "q":
            return state, Action("quit")
        case "redraw":
            return state, Action("redraw")
        case "s":
            order = ORDERS[(ORDERS.index(state.order) + 1) % len(ORDERS)]
            return replace(state, order=order, notice=f"sorted by {order}"), None
        case "d":
            chosen = _chosen(state, snapshot)
            return replace(state, chosen=chosen, details=bool(chosen) and not state.details), None
        case "back":
            return replace(state, chosen=state.chosen if state.details else "", details=False), None
        case "k" if snapshot.can_end:
            return _ask(state, snapshot), None
    return state, None


def sorted_trials(snapshot: Snapshot, order: str) -> tuple[list[TrialView], list[TrialView]]:
    """The running and the ended trials in the order of the table; at first as they began, and as they last ended."""
    if order == ORDERS[0]:
        return list(snapshot.running), list(snapshot.ended)

    sign = snapshot.objective.sign

    def key(trial: TrialView) -> tuple[bool, float]:
        values = {"best": trial.best, "now": trial.now, "epoch": sign * float(trial.epoch)}
        value = values[order]
        if value is None or math.isnan(value) or trial.state == FAILED:
            return True, 0.0
        return False, -sign * value

    return sorted(snapshot.running, key=key), sorted(snapshot.ended, key=key)


def _moved(state: ViewState, key: str, snapshot: Snapshot) -> str:
    running, ended = sorted_trials(snapshot, state.order)
    ids = [trial.trial_id for trial in running + ended]
    if not ids:
        return ""
    if key in ("home", "end"):
        return ids[0 if key == "home" else -1]
    if state.chosen not in ids:
        return ids[0]
    return ids[max(0, min(len(ids) - 1, ids.index(state.chosen) + STEPS[key]))]


def _chosen(state: ViewState, snapshot: Snapshot) -> str:
    """The chosen trial; before one is chosen, the first of the table."""
    return state.chosen if snapshot.find(state.chosen) else _moved(state, "home", snapshot)


def _ask(state: ViewState, snapshot: Snapshot) -> ViewState:
    chosen = _chosen(state, snapshot)
    running = {trial.trial_id for trial in snapshot.running}
    if chosen in running and chosen not in snapshot.ending:
        return replace(state, chosen=chosen, asked=chosen)
    notice = f"{chosen} {'is ending' if chosen in running else 'has ended'}" if chosen else "no trial runs"
    return replace(state, chosen=chosen, notice=notice)
