"""Retrain a study's best configurations, choose one, and test it once.

    python -m inat.finalize results/STUDY             # top 3, 5 seeds each
    python -m inat.finalize results/STUDY --seeds 10  # adds 5 seeds to them
    python -m inat.finalize results/STUDY --ship      # + model on train and val

Writes model, ensemble, scores, model card, tables and figures to results/STUDY/final.
"""

from inat.cli import check_interpreter, run_command
from inat.finalize.options import FinalizeCommand
from inat.output import expendable_output


def main(command: FinalizeCommand) -> None:
    """Run the command; torch and Ray load only after the options have been checked."""
    check_interpreter()
    from inat.finalize.command import finalize

    with expendable_output():
        finalize(command)


if __name__ == "__main__":
    run_command(FinalizeCommand, main, description=__doc__)
