"""Compare the stages of timm's models with the whole models, and count what each strategy trains.

    python benchmarks/timm_splits.py                              # prints a table in Markdown
    python benchmarks/timm_splits.py --report benchmarks/reports/2026-11-29-timm-splits.md

The bits are those of models with random weights, 5 classes and small images, vision transformers with 3 blocks (the
table of tests/models/timm_table.py); training mode has dropout, drop path and batch norm, with the same random numbers.
The parameters are those of the models in full, with 10 classes.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import tyro
from measure import hardware

from inat.models.backbones import frozen_stage_count
from inat.models.stages import StagedNetwork
from inat.models.timm_stages import timm_stages

sys.path.insert(0, str(Path(__file__).parents[1]))
STRATEGIES = (("freeze_all", None), ("freeze_partial", 1), ("freeze_partial", 2), ("unfreeze_all", None))
HEADER = (
    "kind", "model", "stages", "same bits, evaluation", "training", "freeze_all trains", "k=1", "k=2", "unfreeze_all",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare the stages of timm's models with the whole models."""

    report: Path | None = None
    """Markdown file to write."""


def main(options: Options) -> None:
    """Print the table, and write it if a file is named."""
    lines = []
    for line in table():
        print(line, flush=True)
        lines.append(line)
    if options.report:
        title = "# Stages of timm's models, compared with the whole models"
        method = f"`python benchmarks/timm_splits.py`, which states its method; {hardware()}, timm {timm.__version__}."
        options.report.write_text("\n".join([title, "", method, "", *lines]) + "\n")


def table() -> Iterator[str]:
    """The lines of the table in Markdown, one row per model."""
    from tests.models.timm_table import MODELS, compare

    torch.set_num_threads(1)
    yield f"| {' | '.join(HEADER)} |"
    yield f"|{'---|' * len(HEADER)}"
    for kind, entry in MODELS.items():
        found = compare(entry)
        bits = ["yes" if same else "no" for same in (found.evaluation, found.training and found.statistics)]
        size = {"img_size": entry.options["img_size"]} if "img_size" in entry.options else {}
        network = staged(entry.name, entry.side, size)
        counts = [trained(network, strategy, k) for strategy, k in STRATEGIES]
        yield f"| {' | '.join([kind, f'`{entry.name}`', str(len(network)), *bits, *counts])} |"


def staged(name: str, side: int, size: dict[str, Any]) -> StagedNetwork:
    """The whole model with 10 classes as stages."""
    cut = timm_stages(timm.create_model(name, num_classes=10, **size), side)
    return StagedNetwork(cut.stages, name, outputs=cut.outputs)


def trained(network: StagedNetwork, strategy: str, k_layers: int | None) -> str:
    """Number of parameters that a strategy trains, or "-" if the network has too few stages for it."""
    if len(network) - 1 < (k_layers or 1) and strategy != "unfreeze_all":
        return "-"
    network.freeze(frozen_stage_count(network, strategy, k_layers))
    return f"{sum(p.numel() for p in network.parameters() if p.requires_grad):,}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
