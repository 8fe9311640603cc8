"""Run a search for a call from Python, with what the caller adds to it."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from inat.api.calls import call
from inat.config.search import SearchConfig
from inat.device import gpu_share
from inat.errors import ConfigError
from inat.tuning.budget.asked import asks_for_plan


@dataclass(frozen=True, slots=True)
class Seams:
    """What a caller adds to a search: an ``objective``, pickled ``lightning`` callbacks, ``functions`` of trials."""

    objective: Callable[[dict[str, Any]], Any] | None = None
    lightning: bytes = b""
    functions: tuple[Callable[[Any], object], ...] = ()

    @classmethod
    def of(cls, objective: Callable[[dict[str, Any]], Any] | None, callbacks: Sequence[Any]) -> Self:
        """Tell the kinds of ``callbacks`` apart; ConfigError for anything else, and for what cannot be pickled."""
        if objective is not None and not callable(objective):
            raise ConfigError(f"objective must be a function of the trial's parameters, got {objective!r:.60}")
        # Only with Lightning loaded can the caller have made such a callback.
        kind = getattr(sys.modules.get("pytorch_lightning"), "Callback", ())
        lightning = [callback for callback in callbacks if isinstance(callback, kind)]
        functions = tuple(callback for callback in callbacks if not isinstance(callback, kind))
        if others := [callback for callback in functions if not callable(callback)]:
            raise ConfigError(
                f"callbacks has {others[0]!r:.60}, which is neither a function of a trial nor a Callback of "
                "pytorch_lightning; pass one of these"
            )
        if lightning and objective is not None:
            raise ConfigError(
                "callbacks of Lightning have no Trainer in an objective of your own; leave one of them out"
            )
        return cls(objective, _dumped(lightning), functions)


def _dumped(lightning: Sequence[Any]) -> bytes:
    if not lightning:
        return b""
    from inat.tuning.worker.own_callbacks import dump  # loads Lightning

    return dump(lightning)


def run(config: SearchConfig, seams: Seams, *, verbose: bool) -> Path:
    """Run the search of ``config``, or continue that of ``config.resume``; returns the study directory."""
    started = time.monotonic()
    with call(verbose=verbose), gpu_share(0 if config.gpus_per_trial == 0 else None):
        from inat.tuning.command import search_and_report
        from inat.tuning.own_objective import as_trainable
        from inat.tuning.ray_backend.local_gpus import check_gpus_here
        from inat.tuning.worker.trainable import run_trial

        check_gpus_here(config)
        if seams.objective is not None:
            trainable = as_trainable(seams.objective, config.metric)
        else:
            trainable = partial(run_trial, own_callbacks=seams.lightning) if seams.lightning else run_trial
        planned = seams.objective is None and asks_for_plan(config, _chosen(config))
        return search_and_report(
            config, planned_from=started if planned else None, objective=trainable, callbacks=seams.functions
        )


def _chosen(config: SearchConfig) -> set[str]:
    """The options that differ from their defaults: these the user has chosen."""
    default = type(config)()
    return {name for name in config.to_json() if getattr(config, name) != getattr(default, name)}
