"""The rows of the table of trials, in columns that fit the width of the terminal."""

from collections.abc import Mapping

from rich.cells import set_cell_size
from rich.text import Text

from analysis.escaping import printable
from inat.constants import COMPLETED, FAILED, RUNNING, STOPPED
from inat.tuning.live.curves import label, sparkline
from inat.tuning.live.snapshot import PAUSED, Snapshot, TrialView

STYLES = {RUNNING: "", COMPLETED: "green", STOPPED: "dim", FAILED: "red", "ending": "yellow", PAUSED: "yellow"}
RIGHT = ("epoch", "now", "best", "s/epoch")
LEAST_NAME = 20  # columns for the name of a trial before a column is added


def widths_for(width: int, snapshot: Snapshot, *, several_nodes: bool) -> dict[str, int]:
    """The width of each column, in order; narrow terminals have a shorter curve, or none, and no node."""
    ids = max((len(trial.trial_id) for trial in snapshot.trials[:1000]), default=5)
    longest = max((snapshot.most_epochs(trial) or 0 for trial in snapshot.trials[:1000]), default=0)
    epochs = 2 * len(str(max(longest, snapshot.max_epochs))) + 1 if snapshot.max_epochs else 5
    columns = {"trial": max(5, ids), "state": 9, "epoch": max(5, epochs), "now": 8, "best": 8, "curve": 0, "s/epoch": 7}
    columns |= {"node": 14} if several_nodes and width >= 100 else {}
    free = width - sum(columns.values()) - len(columns) - LEAST_NAME
    columns["curve"] = max(0, min(30, free)) if free >= 5 else 0
    if not columns["curve"]:
        del columns["curve"]
    left = width - sum(columns.values()) - len(columns)
    return columns | ({"name": left} if left > 0 else {})


def header(widths: Mapping[str, int], max_epochs: int | None) -> Text:
    """The names of the columns."""
    return Text(" ".join(_cell(name, name, size) for name, size in widths.items()).rstrip(), style="bold")


def row(trial: TrialView, snapshot: Snapshot, widths: Mapping[str, int], chosen: str, ascii_only: bool) -> Text:
    """One trial; the chosen one is reversed."""
    state = snapshot.state_of(trial)
    most = f"/{epochs}" if (epochs := snapshot.most_epochs(trial)) else ""
    is_best = snapshot.best is not None and snapshot.best.trial_id == trial.trial_id
    cells = {
        "trial": (trial.trial_id, ""),
        "state": (state, STYLES[state]),
        "epoch": (f"{trial.epoch}{most}" if trial.epoch else "-", ""),
        "now": (_number(trial.now), ""),
        "best": (_number(trial.best), "bold green" if is_best else ""),
        "curve": (sparkline(trial.curve, widths.get("curve", 0), ascii_only=ascii_only), "cyan"),
        "s/epoch": (_seconds(trial.seconds_per_epoch), ""),
        "node": (trial.place, "dim"),
        "name": (trial.note if trial.state == FAILED else trial.name, STYLES[trial.state]),
    }
    line = Text(style="reverse" if trial.trial_id == chosen else "")
    for name, size in widths.items():
        text, style = cells[name]
        line.append(_cell(name, printable(text), size, "" if ascii_only else "…") + " ", style=style)
    line.rstrip()
    return line


def _cell(name: str, text: str, size: int, cut: str = "") -> str:
    if len(text) < size and name in RIGHT:
        return text.rjust(size)
    fitted = set_cell_size(text, size)
    return fitted if fitted.startswith(text) or size < 2 or not cut else set_cell_size(text, size - 1) + cut


def _number(value: float | None) -> str:
    return "-" if value is None else label(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
