"""Whether --time-budget is all that decides about a search, so that the program plans it; torch loads only then."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from inat.config.search import REFIT_ALL, SearchConfig
from inat.errors import ConfigError

if TYPE_CHECKING:
    from inat.tuning.budget.begin import Beginning

# With one of these, the user says how to search: the time is then only a limit. So it is on a cluster, whose nodes are
# not known before Ray has started.
OWN_CHOICES: Final = (
    "space", "num_samples", "max_epochs", "grace_period", "model", "resume", "start_from", "learn_from", "folds",
    "repeats", "target", "target_accuracy", "address", "control_fraction",
)  # fmt: skip


def asks_for_plan(config: SearchConfig, typed: Collection[str]) -> bool:
    """Whether to plan the time budget of ``config``; ``typed`` are the fields of the options that the user typed.

    ConfigError if one of them is for planned searches alone.

    >>> asks_for_plan(SearchConfig(time_budget="30m"), {"data", "time_budget", "image_size"})
    True
    >>> asks_for_plan(SearchConfig(time_budget="30m", max_epochs=9), {"time_budget", "max_epochs"})
    False
    """
    scratch = config.KIND == SearchConfig.KIND and config.searcher != "grid"
    planned = scratch and config.time_budget is not None and not any(name in typed for name in OWN_CHOICES)
    if not planned and "refit" in typed and config.refit != REFIT_ALL and config.resume is None:
        raise ConfigError(
            f"refit {config.refit} is for the last training of a search that time_budget plans, and this one has none; "
            "leave out --refit"
        )
    return planned


def begin_if_asked(
    config: SearchConfig, planned_from: float | None, print_line: Callable[[str], object]
) -> "Beginning | None":
    """Plan the time budget of ``config``, which began at ``planned_from``; None if it is no more than a limit."""
    if planned_from is None:
        return None
    from inat.tuning.budget.begin import begin

    return begin(config, planned_from, print_line)
