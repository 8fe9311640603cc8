"""The trials of a race: frozen and partly frozen ones of the leaders, whole networks of the best, then the very best.

What comes next depends only on the waves, which study.json keeps, and on the trials of the study, so a resumed race
goes on as the uninterrupted one would have. A wave begins as soon as a slot is free: with several slots, it may begin
before the last trials of the wave before have ended, and then goes by the values that these have so far.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ray.tune.search.sample import Categorical, Domain, Float, LogUniform

from inat.config.backbones import FREEZE_PARTIAL, UNFREEZE_ALL, WHOLE
from inat.config.objective import Objective
from inat.config.trial import active_params
from inat.study.trial import Trial
from inat.tuning.racing.forecast import CHOSEN, Forecast, chosen
from inat.tuning.space.domains import all_values

WAVES = "waves"  # in the record of a race


@dataclass(frozen=True, slots=True, order=True)
class Choice:
    """A way to train a backbone."""

    strategy: str
    k_layers: int | None = None

    @property
    def trains_all(self) -> bool:
        """Whether no stage is frozen."""
        return self.strategy in WHOLE

    def params(self) -> dict[str, Any]:
        """As hyperparameters of a trial."""
        return {"strategy": self.strategy} | ({"k_layers": self.k_layers} if self.strategy == FREEZE_PARTIAL else {})


@dataclass(frozen=True, slots=True)
class Waves:
    """The waves of a race.

    ``partial`` are the trials that come first. Then ``full`` of the backbones in ``whole`` train without frozen stages,
    the best ones so far. Then the best backbone goes on with hyperparameters of the sampler. With a ``forecast``, the
    first two waves grow if trials turn out faster than expected; races of earlier versions have none.
    """

    partial: Sequence[Mapping[str, Any]]
    whole: Sequence[str]
    full: int
    forecast: Forecast | None = None

    def to_json(self) -> dict[str, Any]:
        """As a part of study.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What ``to_json`` made."""
        forecast = None if values.get("forecast") is None else Forecast.from_json(values["forecast"])
        partial = [dict(params) for params in values["partial"]]
        return cls(partial, list(values["whole"]), int(values["full"]), forecast)

    def planned_again(self, trials: Iterable[Trial]) -> "Waves":
        """The waves that fit at the speed of ``trials``: what was planned stays, and more may come."""
        slowness = None if self.forecast is None else self.forecast.slowness(trials)
        if self.forecast is None or slowness is None:
            return self
        whole, full = self.forecast.whole(slowness)
        return replace(
            self,
            partial=[*self.partial, *self.forecast.more_partial(self.partial, slowness)],
            whole=list(dict.fromkeys([*self.whole, *whole])),
            full=max(self.full, full),
        )


def next_params(
    waves: Waves, space: Mapping[str, Domain], trials: Sequence[Trial], objective: Objective
) -> dict[str, Any]:
    """The hyperparameters of the next trial of a race; the sampler draws those that are left out.

    The trials of the waves have the same middle values of everything else, so that they differ in what they compare.
    """
    waves = waves.planned_again(trials)
    tried = {chosen(trial.params) for trial in trials}
    middle = {name: middle_of(domain) for name, domain in space.items() if name not in CHOSEN}
    for params in waves.partial:
        if chosen(params) not in tried:
            return middle | dict(params)
    ranking = rank_backbones(trials, objective)
    begun = {trial.params["backbone"] for trial in trials if trial.params.get("strategy") == UNFREEZE_ALL}
    waiting = [name for name in ranking if name in waves.whole and name not in begun]
    if waiting and len(begun) < waves.full:
        return middle | {"backbone": waiting[0], "strategy": UNFREEZE_ALL}
    return _refine(waves, space, trials, objective, ranking)


def _refine(
    waves: Waves, space: Mapping[str, Domain], trials: Sequence[Trial], objective: Objective, ranking: Sequence[str]
) -> dict[str, Any]:
    """The best backbone; its strategy is left to the sampler unless the whole network takes too long to train."""
    if not ranking:
        return {}  # no trial has a value, and the sampler may find a better one
    best = ranking[0]
    if best in waves.whole or UNFREEZE_ALL not in all_values(space["strategy"]):
        return {"backbone": best}
    own = [trial for trial in trials if trial.params.get("backbone") == best and trial.best_value is not None]
    leader = max(own, key=lambda trial: objective.sign * (trial.best_value or 0.0))
    return {name: value for name, value in active_params(leader.params).items() if name in CHOSEN}


def rank_backbones(trials: Iterable[Trial], objective: Objective) -> list[str]:
    """The backbones of trials that have a value, the best first."""
    best: dict[str, float] = {}
    for trial in trials:
        if trial.best_value is not None:
            value, name = objective.sign * trial.best_value, str(trial.params.get("backbone"))
            best[name] = max(value, best.get(name, value))
    return sorted(best, key=lambda name: -best[name])


def middle_of(domain: Domain) -> Any:
    """The middle of a hyperparameter: of sorted numbers and of a range the middle, of other choices the first.

    >>> from ray import tune
    >>> round(middle_of(tune.loguniform(1e-4, 1e-2)), 6), middle_of(tune.choice([32, 64])), middle_of(tune.choice("ab"))
    (0.001, 32, 'a')
    """
    if isinstance(domain, Categorical):
        values = list(domain.categories)
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        return sorted(values)[(len(values) - 1) // 2] if numbers else values[0]
    lower, upper = domain.lower, domain.upper
    if isinstance(domain.get_sampler(), LogUniform) and lower > 0:
        middle = (lower * upper) ** 0.5
    else:
        middle = (lower + upper) / 2
    return float(middle) if isinstance(domain, Float) else int(middle)
