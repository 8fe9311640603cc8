"""A study as Python code holds it: its tables, its best trial, its report, and what continues it."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from inat.api.calls import check_names, errors
from inat.api.run import Seams, run
from inat.config.resume import NEEDED, check_named, check_resumable, trusted
from inat.config.search import SearchConfig
from inat.config.trial import active_params
from inat.constants import SEARCH_KIND, TEST
from inat.errors import StudyError
from inat.finalize.options import KINDS
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.tuning.best import best_model
from inat.tuning.best_json import read_best

if TYPE_CHECKING:
    import pandas as pd
    import pytorch_lightning as pl

    from analysis.study import StudyData
    from inat.study.trial import Trial


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best trial of a study, which best.ckpt is of.

    ``value`` is its best validation value of the study's metric. ``test`` has the scores on the test split, once the
    search has ended; None before, and for an objective of your own. ``cheaper_than``: the trial with the best value, if
    this one was chosen in its place because it costs less (``prefer_cheaper``); else "". ``refit_epochs``: best.ckpt is
    of another training of so many epochs, from new weights, on the training and validation images together, and
    ``params``, ``value`` and ``epochs`` are those of the search; else 0. ``refit_params`` are the hyperparameters of
    that training: the recipe has another learning rate and batch size for other epochs and photos. Else {}.
    """

    trial_id: str
    name: str
    params: dict[str, Any]
    value: float
    epochs: int
    test: dict[str, float] | None
    cheaper_than: str = ""
    refit_epochs: int = 0
    refit_params: dict[str, Any] = field(default_factory=dict)


class SearchedStudy:
    """A study directory, as ``search``, ``finetune`` and ``open_study`` return it.

    It is read whenever you ask, so a search that still runs in another process shows its progress. It can be passed
    wherever a path is expected: ``finalize(study)``, ``load_model(study)``, ``Path(study)``.
    """

    def __init__(self, directory: Path, config: SearchConfig | None = None, seams: Seams | None = None) -> None:
        self.directory = directory
        # What the caller has named in this process need not be named again.
        self._named = {} if config is None else {n: getattr(config, n) for n in NEEDED if hasattr(config, n)}
        self._seams = seams or Seams()

    def __fspath__(self) -> str:
        return str(self.directory)

    def __repr__(self) -> str:
        best = self.best
        shown = "no result yet" if best is None else f"best {best.value:.4f} of {best.trial_id}"
        return f"<SearchedStudy {self.directory}: {len(Journal.read(self.directory).trials)} trials, {shown}>"

    @property
    def named_options(self) -> dict[str, Any]:
        """The places outside of the study that the call named which made this object, as options of ``finalize``."""
        defaults = SearchConfig()
        names = ("cache_dir", "weights_dir", "model")
        return {n: v for n, v in self._named.items() if n in names and v != getattr(defaults, n, None)}

    @property
    def data(self) -> "StudyData":
        """All of the study as `analysis` reads it, for its figures and statistics."""
        from analysis.study import load_study

        with errors():
            return load_study(self.directory)

    @property
    def trials(self) -> "pd.DataFrame":
        """One row per trial: trial_id, name, state, the hyperparameters, best_val_acc, epochs, seconds, error, ..."""
        return self.data.trials

    @property
    def history(self) -> "pd.DataFrame":
        """One row per trial and epoch."""
        return self.data.history

    @property
    def best(self) -> BestTrial | None:
        """The best trial; None before the first result."""
        journal = Journal.read(self.directory)
        model = best_model(journal, self.directory)
        if model is None:
            return None
        trial, written = model.trial, read_best(self.directory)
        params, value = active_params(trial.params), trial.best_value
        assert value is not None
        test = written.get(TEST) if written.get("trial_id") == model.trial_id else None
        cheaper_than = "" if model.better is None else model.better.trial_id
        refit = {} if model.refit is None else active_params(model.refit.params)
        epochs = 0 if model.refit is None else model.refit.epochs
        return BestTrial(model.trial_id, model.name, params, value, trial.epochs, test, cheaper_than, epochs, refit)

    @property
    def pareto_front(self) -> "pd.DataFrame":
        """The trials of which no cheaper one is as good, the best one first: trial_id, state, value, cost, name.

        ``cost`` is the study's: trained parameters, or with ``cost="epoch-seconds"`` the median seconds of an epoch.
        """
        import pandas as pd

        from inat.tuning.pareto import front_of

        info, journal = read_info(self.directory), Journal.read(self.directory)
        rows = [
            (point.trial.trial_id, point.trial.state, point.trial.best_value, point.cost, point.trial.name)
            for point in front_of(journal, info)
        ]
        return pd.DataFrame(rows, columns=["trial_id", "state", "value", "cost", "name"])

    def report(self) -> Path:
        """Write report.html and its figures into the study, and return the path of the page.

        Parts that fail are named on the page.
        """
        from analysis.report.build import build
        from analysis.report.write import write

        with errors():
            return write(build(self.data, self.directory), self.directory)[0]

    def resume(
        self,
        *,
        objective: Callable[[dict[str, Any]], Any] | None = None,
        callbacks: "Sequence[pl.Callback | Callable[[Trial], object]] | None" = None,
        verbose: bool = True,
        **changes: Any,
    ) -> Self:
        """Continue the search with the study's own options and those ``changes`` that keep its trials comparable.

        ``resume(num_samples=48)`` adds trials; ``resume(max_epochs=27)`` trains the best ones longer;
        ``resume(retry_failed=True)`` runs the failed ones again. Objective and callbacks are by default those of the
        call that made this object. Returns the object itself.

        Raises ConfigError for a change that would make trials incomparable, and what ``search`` raises.
        """
        info = read_info(self.directory)
        kind = KINDS.get(info.get(SEARCH_KIND, SearchConfig.KIND))
        if kind is None:
            raise StudyError(
                f"{self.directory} is a study of unknown kind {info[SEARCH_KIND]!r}; a newer version of this program "
                "wrote it, so update this one"
            )
        check_names(kind, changes)
        stored, given = kind.from_json(info["config"]), self._named | changes
        check_named(self.directory, info["config"], given, NEEDED)
        wanted = dataclasses.replace(trusted(stored), **given, resume=self.directory)
        check_resumable(stored, wanted)
        seams = self._seams if objective is None and callbacks is None else Seams.of(objective, callbacks or ())
        self._named = {name: getattr(wanted, name) for name in given if name in NEEDED}  # also for the next call
        self._seams = seams
        run(wanted, seams, verbose=verbose)
        return self
