"""Search from Python: begin a study, open one that exists."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inat.api.run import Seams, run
from inat.api.study import SearchedStudy
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.validation import expanded
from inat.errors import ConfigError
from inat.study.metadata import read_info

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from inat.study.trial import Trial


def search(
    config: SearchConfig,
    *,
    objective: Callable[[dict[str, Any]], Any] | None = None,
    callbacks: "Sequence[pl.Callback | Callable[[Trial], object]]" = (),
    verbose: bool = True,
) -> SearchedStudy:
    """Run a search and return its study; the same as `inat tune-scratch`, or `inat tune-finetune` for a FinetuneConfig.

    Args:
        config: The options. They are checked when they are made.
        objective: A function that takes the place of the training. It gets a dict with the trial's hyperparameters and
            the settings that all trials share, and returns the value of `config.metric`, or yields one value per
            epoch, so that ASHA can stop the trial. Default: train the network.
        callbacks: A Lightning callback runs in the training of each trial, as a pickled copy per trial. Any other
            function is called here with the trial, after each of its epochs and at its end; if it raises, the search
            ends with that error and can be resumed.
        verbose: Print what the command prints: in a notebook a line per ended trial, on a terminal a live view.

    Raises:
        InatError: Options, images or study are wrong, or no trial has a result.
        KeyboardInterrupt: After Ctrl-C. The trials have been stopped; `open_study(...).resume()` continues them.
    """
    given = [name for name in ("resume", "plan", "augment_preview", "config", "save_config") if getattr(config, name)]
    if given:
        raise ConfigError(
            f"{', '.join(given)} is for the command line; call inat.open_study(...).resume() to continue a study, and "
            "SearchConfig.from_file(...) for a file with options"
        )
    seams = Seams.of(objective, callbacks)
    directory = run(config, seams, verbose=verbose)
    return SearchedStudy(directory, config, seams)


def finetune(
    config: FinetuneConfig | None = None,
    *,
    callbacks: "Sequence[pl.Callback | Callable[[Trial], object]]" = (),
    verbose: bool = True,
) -> SearchedStudy:
    """Search how to fine-tune pretrained backbones, and return the study; the same as `inat tune-finetune`.

    The arguments and errors are those of ``search``.
    """
    config = FinetuneConfig() if config is None else config
    if not isinstance(config, FinetuneConfig):
        raise ConfigError(f"finetune needs a FinetuneConfig, got {type(config).__name__}; make one, or call search")
    return search(config, callbacks=callbacks, verbose=verbose)


def open_study(path: str | PathLike[str]) -> SearchedStudy:
    """Open a study directory: one that a search has ended, interrupted or is still writing.

    Raises StudyError if there is no study.
    """
    directory = expanded(Path(path))
    read_info(directory)
    return SearchedStudy(directory)
