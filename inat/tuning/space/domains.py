"""Tune's domains as Optuna samples them: which values they have, which they cannot have, how they are written down."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Sampler


def plain_domain(value: Any) -> Any:
    """A domain of Python's own numbers in place of numpy's, which no file of a study can hold; a value as a choice."""
    if isinstance(value, Categorical):
        return tune.choice([_plain(choice) for choice in value.categories])
    if isinstance(value, Float | Integer):
        domain = copy.copy(value)
        domain.lower, domain.upper = _plain(value.lower), _plain(value.upper)
        return domain
    return value if isinstance(value, Domain) else tune.choice([_plain(value)])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def impossible_range(name: str, domain: Any) -> list[str]:
    """A message if a hyperparameter has no values, or none that Optuna can choose from."""
    if isinstance(domain, Categorical):
        return _impossible_choices(name, domain.categories)
    if not isinstance(domain, Float | Integer):
        return [f"{name} must be tune.choice, uniform, loguniform, randint or the like, got {type(domain).__name__}"]
    kind, word = (int, "whole") if isinstance(domain, Integer) else (int | float, "finite")
    if not all(isinstance(end, kind) and -math.inf < end < math.inf for end in (domain.lower, domain.upper)):
        return [f"{name} needs {word} numbers as its ends, got {domain.lower!r} and {domain.upper!r}"]
    if not domain.lower < domain.upper:
        return [f"{name} needs a lower end below its upper one, got {domain.lower} and {domain.upper}"]
    quantum, sampler = _quantum(domain)
    if quantum is not None and isinstance(sampler, LogUniform):
        return [f"{name} has steps of {quantum} on a log scale, which Optuna cannot sample; list its values instead"]
    try:
        distribution(domain)
    except (TypeError, ValueError, OverflowError) as error:
        return [f"{name} cannot be sampled by Optuna ({error})"]
    return []


def _impossible_choices(name: str, choices: Sequence[Any]) -> list[str]:
    if not choices:
        return [f"{name} has no choices"]
    if any(isinstance(choice, Mapping) and "grid_search" in choice for choice in choices):
        return [f"{name} is a tune.grid_search; write tune.choice, of which --searcher grid tries all"]
    several = [
        choice for choice in choices if isinstance(choice, Sequence | np.ndarray) and not isinstance(choice, str)
    ]
    return [f"{name} has {several[0]!r} as one value; write tune.choice([...]) with single ones"] if several else []


def distribution(domain: Domain) -> BaseDistribution:
    """What Optuna samples from; ValueError or TypeError if it cannot."""
    return OptunaSearch.convert_search_space({"value": domain})["value"]


def ends(domain: Domain) -> Sequence[Any]:
    """All choices, or the least and the greatest value that Optuna takes from a range."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    found = distribution(domain)
    return found.low, found.high


def values(domain: Domain) -> Sequence[Any]:
    """All values of a choice or a range of integers."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    found = distribution(domain)
    return range(found.low, found.high + 1, found.step)


def known_value(domain: Domain, value: Any) -> Any:
    """``value`` as the domain has it, 3 for 3.0 in a range of integers; ValueError if it is not in there."""
    found = distribution(domain)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number and not isinstance(domain, Categorical):
        raise ValueError(f"{value!r} is no number")  # Optuna takes "0.2" and True for numbers
    internal = found.to_internal_repr(value)
    if not found._contains(internal):
        raise ValueError(f"{value} is not in {found}")
    return found.to_external_repr(internal)


def range_text(domain: Domain) -> str:
    """The values for the user: a list, or both ends, which belong to it, and the steps between them."""
    if isinstance(domain, Categorical):
        return f"{domain.categories}"
    low, high = ends(domain)
    quantum, _ = _quantum(domain)
    return f"({low}, {high})" + ("" if quantum is None else f" in steps of {quantum}")


def described(domain: Domain) -> Any:
    """The domain as JSON values: a list of choices, or a range."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    quantum, sampler = _quantum(domain)
    scale = type(sampler).__name__.strip("_").lower()  # uniform or loguniform
    ends_and_scale = {"low": domain.lower, "high": domain.upper, "scale": scale}
    return ends_and_scale if quantum is None else ends_and_scale | {"quantum": quantum}


def _quantum(domain: Domain) -> tuple[Any, Sampler]:
    """The steps of a quantized domain, None for others; and how it is sampled but for them."""
    sampler = domain.get_sampler()
    return (_plain(sampler.q), sampler.sampler) if isinstance(sampler, Quantized) else (None, sampler)
