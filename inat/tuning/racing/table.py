"""Probes as a table for the terminal, and as a CSV file."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from inat.config.objective import Objective
from inat.constants import PROBE_COLUMNS
from inat.study.atomic_io import atomic_write, csv_lines
from inat.tuning.racing.probes import Probe

CAVEAT = (
    "A probe judges features as they are. Once stages of a network train, the order may differ: train the first few."
)


def ranked(probes: Sequence[Probe], objective: Objective) -> list[Probe]:
    """The probes by the value of the linear probe, the best first; among equals, in their order."""
    return sorted(probes, key=lambda probe: -objective.sign * probe.linear_probe)


def probe_table(probes: Sequence[Probe], objective: Objective) -> Table:
    """One row per probe, the best first; k-NN and probe are values of the metric."""
    names = ("px", "params", "k-NN", "probe", "95 % interval", "features", "solved")
    columns = [Column(name, justify="right", no_wrap=True) for name in names]
    title = f"{objective.label} of 20 nearest neighbours (k-NN) and of a linear probe"
    table = Table(
        Column("backbone", no_wrap=True), *columns, box=None, padding=(0, 1), title=title, title_justify="left"
    )
    for probe in ranked(probes, objective):
        table.add_row(
            probe.backbone,
            str(probe.image_size),
            f"{probe.parameters / 1e6:.1f} M",
            f"{probe.nearest_neighbours:.3f}",
            f"{probe.linear_probe:.3f}",
            f"{probe.probe_low:.3f}-{probe.probe_high:.3f}",
            "kept" if probe.feature_seconds is None else f"{probe.feature_seconds:.1f} s",
            f"{probe.solve_seconds:.1f} s",
        )
    return table


def write_probes(path: Path, probes: Sequence[Probe], objective: Objective) -> None:
    """Write the probes as CSV, the best first; OSError if that fails."""
    rows = [
        {name: round(value, 6) if isinstance(value, float) else "" if value is None else value
         for name, value in probe.row().items()}
        for probe in ranked(probes, objective)
    ]  # fmt: skip
    atomic_write(path, csv_lines(rows, PROBE_COLUMNS, header=True))
