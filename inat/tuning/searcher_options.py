"""How the searcher of a study searches: its options from those of the user, and from what the study keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

from inat.config.search import SearchConfig
from inat.constants import GRID, RACE, RECIPE_PARAMS, TIME_PLAN
from inat.study.study import Study
from inat.tuning.budget.clock import Clock
from inat.tuning.earlier.lessons import LEARNED_FROM, TRIALS
from inat.tuning.equal_cost import LEAST, LEAST_ON_PROCESSOR, EqualCost, compares_at_equal_cost
from inat.tuning.runner import rungs_of
from inat.tuning.sampling.options import SearcherOptions

START_FROM = "start_from"  # in study.json: the configurations that are tried first


def searcher_options(config: SearchConfig, study: Study, clock: Clock | None = None) -> SearcherOptions:
    """Return the options of the searcher of ``study``, which keeps to the time of ``clock``."""
    planned = {} if clock is None else planned_options(config, study, clock)
    return SearcherOptions(
        rungs=rungs_of(config),
        seed=config.seed,
        control_fraction=config.control_fraction or 0.0,
        sampler=config.searcher,
        stopped=config.stopped_trials,
        keep_checkpoints=config.keep_checkpoints,
        start_from=study.info.get(START_FROM, ()),
        grid=study.info.get(GRID, ()),
        race=study.info.get(RACE),
        earlier=earlier_trials(study),
        **planned,
    )


def earlier_trials(study: Study) -> Sequence[Mapping[str, Any]]:
    """The trials of earlier studies that a search learns from; none without --learn-from."""
    found: Sequence[Mapping[str, Any]] = study.info.get(LEARNED_FROM, {}).get(TRIALS, ())
    return found


def planned_options(config: SearchConfig, study: Study, clock: Clock) -> dict[str, Any]:
    """The options by which a searcher keeps to the time of ``clock``."""
    # These load torch, which other searches do without.
    from inat.tuning.budget.affordable import Affordable, operations_of

    operations = operations_of(config, len(study.info["data"]["classes"]))
    equal_cost = None
    if compares_at_equal_cost(study.info):
        least = float(study.info[TIME_PLAN].get(LEAST, LEAST_ON_PROCESSOR))
        endless = config.patience >= config.max_epochs
        of_recipe = operations(study.info.get(RECIPE_PARAMS, {})) or clock.plan.operations
        equal_cost = EqualCost(rungs_of(config), operations, of_recipe, least, endless)
    return {"affordable": Affordable(study, clock, config.max_epochs, operations, equal_cost), "equal_cost": equal_cost}
