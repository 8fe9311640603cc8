"""The details of one trial: its curve, its hyperparameters, and the metrics of its last epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from analysis.escaping import printable
from inat.constants import EPOCH
from inat.tuning.live.curves import chart, label
from inat.tuning.live.snapshot import Snapshot, TrialView

GAP = 3  # columns between two hyperparameters
MOST_CHART_HEIGHT = 24


def detail_lines(snapshot: Snapshot, trial: TrialView, width: int, room: int, *, ascii_only: bool) -> list[Text]:
    """At most ``room`` lines about a trial; what does not fit is left out, the curve first."""
    most = f" of {epochs}" if (epochs := snapshot.most_epochs(trial)) else ""
    state = snapshot.state_of(trial)
    place = f" on {trial.place}" if trial.place else ""
    where = f"  {state}{place}, epoch {trial.epoch}{most}  "
    title = Text.assemble((trial.trial_id, "bold"), where, (trial.name, "dim"))
    note = [Text(trial.note, style="red" if trial.state == "failed" else "yellow")] if trial.note else []
    facts = [Text()] + [Text(line) for line in in_columns(trial.params, width)]
    facts += [Text(line, style="dim") for line in in_columns(metrics_of(trial), width)]
    head = [title, *note]
    height = min(MOST_CHART_HEIGHT, room - len(head) - len(facts) - 1)
    curve = chart(trial.curve, width, height, ascii_only=ascii_only)
    if curve:
        head.append(Text(f"{snapshot.objective.label} by epoch", style="bold"))
    return [*head, *(Text(line, style="cyan") for line in curve), *facts][:room]


def metrics_of(trial: TrialView) -> dict[str, Any]:
    """The numbers of the last epoch, and the best value."""
    return {name: value for name, value in trial.last_row.items() if isinstance(value, int | float) and name != EPOCH}


def in_columns(values: Mapping[str, Any], width: int) -> list[str]:
    """``name value`` in as many columns as fit, filled row by row.

    >>> in_columns({"a": 1, "b": 0.5, "c": "x"}, 20)
    ['a 1        b 0.5000', 'c x']
    """
    cells = [printable(f"{name} {_text(value)}") for name, value in values.items()]
    if not cells:
        return []
    size = max(map(cell_len, cells))
    count = max(1, (width + GAP) // (size + GAP))
    size = max(size, (width + GAP) // count - GAP) if count > 1 else size
    return [_joined(cells[i : i + count], size) for i in range(0, len(cells), count)]


def _joined(cells: Sequence[str], size: int) -> str:
    return (" " * GAP).join(set_cell_size(cell, size) for cell in cells).rstrip()


def _text(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer() and abs(value) >= 0.001:
        return label(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
