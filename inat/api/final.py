"""Choose a final model from Python."""

from os import PathLike
from pathlib import Path
from typing import Any

from analysis.files import read_json
from inat.api.calls import call, check_names
from inat.api.study import SearchedStudy
from inat.config.validation import expanded
from inat.constants import FINAL_DIR, METRICS_JSON
from inat.finalize.options import FinalizeCommand


class FinalModel:
    """The folder final/ of a study: the model, its scores, its files. It can be passed wherever a path is expected."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __fspath__(self) -> str:
        return str(self.directory)

    def __repr__(self) -> str:
        return f"<FinalModel {self.directory}: test accuracy {self.test['accuracy']:.4f}>"

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: candidates, winner, model, test, exports, ensemble."""
        content: dict[str, Any] = read_json(self.directory / METRICS_JSON)
        return content

    @property
    def test(self) -> dict[str, Any]:
        """The scores of the one test of the model."""
        scores: dict[str, Any] = self.metrics["test"]
        return scores


def finalize(study: str | PathLike[str], *, verbose: bool = True, **options: Any) -> FinalModel:
    """Retrain the best configurations of a study, choose one, test it once; the same as `inat finalize`.

    ``options`` are those of the command: ``top=3``, ``seeds=5``, ``ship=True``, ``ensemble=False``, ...

    Raises InatError if something is wrong, and KeyboardInterrupt after Ctrl-C; the same call then goes on.
    """
    check_names(FinalizeCommand, options)
    known = study.named_options if isinstance(study, SearchedStudy) else {}
    command = FinalizeCommand(study=expanded(Path(study)), **(known | options))
    with call(verbose=verbose):
        from inat.finalize.command import finalize as run

        run(command)
    return FinalModel(command.study / FINAL_DIR)
