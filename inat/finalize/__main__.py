"""Make a model that can be trusted out of a study.

    python -m inat.finalize results/STUDY                     # top 3 configurations, 5 seeds each; test the winner once
    python -m inat.finalize results/STUDY --top 5 --seeds 10  # trainings that have ended are not repeated
    python -m inat.finalize results/STUDY --ship              # and a model that has also seen the validation photos

Writes results/STUDY/final: model.ckpt, model.onnx, model.pt2, metrics.json, MODEL_CARD.md, tables and pictures.
"""

from inat.cli import run_command
from inat.finalize.options import FinalizeCommand


def main(command: FinalizeCommand) -> None:
    """Do what the options say."""
    from inat.finalize.command import finalize  # torch and Ray load only once the options are known to be right

    finalize(command)


if __name__ == "__main__":
    run_command(FinalizeCommand, main, description=__doc__)
