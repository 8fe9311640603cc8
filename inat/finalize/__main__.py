"""Retrain a study's best configurations, choose one by validation accuracy and test it once.

    python -m inat.finalize results/STUDY                     # the 3 best configurations, 5 seeds each
    python -m inat.finalize results/STUDY --top 5 --seeds 10  # adds to the runs that have already ended
    python -m inat.finalize results/STUDY --ship              # also train a model on training + validation images

Writes to results/STUDY/final: model.ckpt, model.onnx, model.pt2, metrics.json, MODEL_CARD.md, tables and figures.
"""

from inat.cli import run_command
from inat.finalize.options import FinalizeCommand


def main(command: FinalizeCommand) -> None:
    """Run the command; torch and Ray load only after the options have been checked."""
    from inat.finalize.command import finalize

    finalize(command)


if __name__ == "__main__":
    run_command(FinalizeCommand, main, description=__doc__)
