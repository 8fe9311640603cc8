"""The last training of a planned search as a model: its weights, wherever they are intact."""

from pathlib import Path

from inat.constants import BEST_CKPT, CHECKPOINTS_DIR, LAST_DIR, LAST_OF, REFIT
from inat.errors import StudyError
from inat.study.checkpoint_file import is_intact
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.tuning.best_json import SHA256, best_or_nothing, is_as_written, is_of_last_training
from inat.tuning.chosen_model import Model


def last_training(directory: Path) -> Model | None:
    """The last training of a study with a time plan; None before it has a result and intact weights.

    Its weights may be in best.ckpt alone. None, too, if its study.json is damaged, of which --resume tells.
    """
    folder = directory / LAST_DIR
    try:
        info = read_info(folder)
    except StudyError:
        return None
    trial, repeated = Journal.read(folder).best(), info.get(LAST_OF)
    if trial is None or not isinstance(repeated, str):
        return None
    weights = folder / CHECKPOINTS_DIR / trial.trial_id / BEST_CKPT
    if not is_intact(weights):
        weights = directory / BEST_CKPT
        written = best_or_nothing(directory)
        same = trial.params in (written.get("params"), written.get(REFIT, {}).get("params"))
        if not same or not is_of_last_training(written) or not is_as_written(weights, written):
            return None
    return Model(repeated, trial.name, trial, weights, last=True, refit=trial if info.get(REFIT) is True else None)


def only_copy_of_last_training(directory: Path) -> bool:
    """Whether best.ckpt has the weights of a last training that ``last/`` no longer shows, as it is damaged or gone."""
    written = best_or_nothing(directory)
    kept = is_of_last_training(written) and SHA256 in written and is_as_written(directory / BEST_CKPT, written)
    return kept and last_training(directory) is None
