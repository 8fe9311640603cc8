"""Tune's domains: conversion to Optuna's distributions, their values, their mistakes, and their form in study.json."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Sampler, Uniform

from inat.errors import StudyError

# Ray's ranges: whether they are of integers, their scale, whether they have steps.
RANGES: dict[tuple[bool, str, bool], Callable[..., Domain]] = {
    (False, "uniform", False): tune.uniform,
    (False, "loguniform", False): tune.loguniform,
    (False, "uniform", True): tune.quniform,
    (True, "uniform", False): tune.randint,
    (True, "loguniform", False): tune.lograndint,
    (True, "uniform", True): tune.qrandint,
}

HUGE = 1e15  # no hyperparameter is as large, but a file that somebody else has written may have any number


def as_domain(value: Any) -> Any:
    """Convert a plain value into a choice of one, and a domain's numpy numbers into Python's, which JSON can hold."""
    if isinstance(value, Categorical):
        return tune.choice([_as_python(choice) for choice in value.categories])
    if isinstance(value, Float | Integer):
        domain = copy.copy(value)
        domain.lower, domain.upper = _as_python(value.lower), _as_python(value.upper)
        return domain
    return value if isinstance(value, Domain) else tune.choice([_as_python(value)])


def _as_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def domain_errors(name: str, domain: Any) -> list[str]:
    """Return a message if the hyperparameter ``name`` has no values, or none that Optuna can sample."""
    if isinstance(domain, Categorical):
        return _choice_errors(name, domain.categories)
    if not isinstance(domain, Float | Integer):
        return [f"{name} must be tune.choice, uniform, loguniform, randint or the like, got {type(domain).__name__}"]
    kind, word = (int, "whole") if isinstance(domain, Integer) else (int | float, "finite")
    if not all(isinstance(bound, kind) and -math.inf < bound < math.inf for bound in (domain.lower, domain.upper)):
        return [f"{name} needs {word} numbers as its bounds, got {domain.lower!r} and {domain.upper!r}"]
    if not domain.lower < domain.upper:
        return [f"{name} needs a lower bound below its upper bound, got {domain.lower} and {domain.upper}"]
    step, sampler = _step_and_sampler(domain)
    if step is not None and isinstance(sampler, LogUniform):
        return [f"{name} has steps of {step} on a log scale, which Optuna cannot sample; list its values instead"]
    try:
        optuna_distribution(domain)
    except (TypeError, ValueError, OverflowError) as error:
        return [f"{name} cannot be sampled by Optuna ({error})"]
    return []


def _choice_errors(name: str, choices: Sequence[Any]) -> list[str]:
    if not choices:
        return [f"{name} has no choices"]
    if any(isinstance(choice, Mapping) and "grid_search" in choice for choice in choices):
        return [f"{name} is a tune.grid_search; write tune.choice, and --searcher grid tries all of its values"]
    sequences = [
        choice for choice in choices if isinstance(choice, Sequence | np.ndarray) and not isinstance(choice, str)
    ]
    if sequences:
        return [f"{name} has {sequences[0]!r} as one value; write tune.choice([...]) with single values"]
    return []


def optuna_space(space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Convert every domain of a search space; see ``optuna_distribution``."""
    return {name: optuna_distribution(domain) for name, domain in space.items()}


def optuna_distribution(domain: Domain) -> BaseDistribution:
    """Convert a domain as Ray's OptunaSearch does.

    Raises ValueError for a domain that Optuna does not have, such as ``tune.randn``; ValueError or TypeError, from
    Optuna, for bounds or steps that it refuses.
    """
    step, sampler = _step_and_sampler(domain)
    if isinstance(domain, Categorical) and isinstance(sampler, Uniform):
        return CategoricalDistribution(domain.categories)
    if isinstance(domain, Float) and isinstance(sampler, Uniform):
        return FloatDistribution(domain.lower, domain.upper, step=step or None)
    if isinstance(domain, Float) and isinstance(sampler, LogUniform):
        return FloatDistribution(domain.lower, domain.upper, log=True)
    if isinstance(domain, Integer) and isinstance(sampler, Uniform):
        # Tune's upper bound is exclusive in randint, but inclusive in qrandint.
        return IntDistribution(domain.lower, domain.upper if step else domain.upper - 1, step=step or 1)
    if isinstance(domain, Integer) and isinstance(sampler, LogUniform):
        return IntDistribution(domain.lower, domain.upper - 1, step=step or 1, log=True)
    raise ValueError(f"Optuna has no distribution for {type(domain).__name__} with {type(sampler).__name__}")


def _step_and_sampler(domain: Domain) -> tuple[Any, Sampler]:
    """Return the step of a quantized domain, None for others, and the sampler without the quantization."""
    sampler = domain.get_sampler()
    return (_as_python(sampler.q), sampler.sampler) if isinstance(sampler, Quantized) else (None, sampler)


def boundary_values(domain: Domain) -> Sequence[Any]:
    """All choices of a categorical domain; the lowest and the highest value that Optuna samples from a range."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    distribution = optuna_distribution(domain)
    return distribution.low, distribution.high


def all_values(domain: Domain) -> Sequence[Any]:
    """All values of a categorical domain or of a range of integers."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    distribution = optuna_distribution(domain)
    return range(distribution.low, distribution.high + 1, distribution.step)


def to_domain_value(domain: Domain, value: Any) -> Any:
    """Convert ``value`` to the type that the domain has: 3.0 to 3 in a range of integers.

    Raises ValueError, TypeError or OverflowError if the domain does not contain ``value``.
    """
    if not _is_number(value) and not isinstance(domain, Categorical):
        raise ValueError(f"{value!r} is not a number")  # Optuna would accept "0.2" and True as numbers
    distribution = optuna_distribution(domain)
    optuna.create_trial(params={"value": value}, distributions={"value": distribution}, value=0.0)  # checks the value
    return distribution.to_external_repr(distribution.to_internal_repr(value))


def nearest_value(domain: Domain, value: Any) -> Any:
    """The number of the domain that is nearest to a number; any other ``value`` as it is."""
    if not _is_number(value) or not abs(value) < HUGE:
        return value
    if isinstance(domain, Categorical):
        return min(filter(_is_number, domain.categories), key=lambda choice: abs(choice - value), default=value)
    low, high = boundary_values(domain)
    return min(max(value, low), high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def domain_to_text(domain: Domain) -> str:
    """Describe the values for the user: the list of choices, or both bounds (inclusive) and the step between values."""
    if isinstance(domain, Categorical):
        return f"{domain.categories}"
    low, high = boundary_values(domain)
    step, _ = _step_and_sampler(domain)
    return f"({low}, {high})" + ("" if step is None else f" in steps of {step}")


def domain_from_json(described: Any) -> Domain:
    """The domain that ``domain_to_json`` described; StudyError for anything else, as somebody may have edited the file.

    Bounds, and steps if there are any, that are all whole numbers make a domain of integers.
    """
    try:
        domain = tune.choice(described) if isinstance(described, list) else _range_from_json(**described)
        problems = domain_errors("", domain)
    except (TypeError, ValueError, ArithmeticError, KeyError) as error:  # of Ray, and of names that no range has
        raise unusable_space(described) from error
    if problems:
        raise unusable_space(described)
    return domain


def unusable_space(described: Any) -> StudyError:
    """The error about a space, or a part of one, that was not described by ``domain_to_json``."""
    return StudyError(
        f"the space in study.json cannot be used: {described!r:.60} describes no values; restore the file from a copy"
    )


def _range_from_json(*, low: float, high: float, scale: str, quantum: float | None = None) -> Domain:
    numbers = [number for number in (low, high, quantum) if number is not None]
    no_numbers = any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers)
    if no_numbers or (quantum is not None and not quantum > 0):
        raise ValueError(numbers)
    return RANGES[all(isinstance(number, int) for number in numbers), scale, len(numbers) == 3](*numbers)


def domain_to_json(domain: Domain) -> Any:
    """Describe the domain for study.json: a list of choices, or a dict with low, high, scale and, if any, quantum."""
    if isinstance(domain, Categorical):
        return list(domain.categories)
    step, sampler = _step_and_sampler(domain)
    scale = "loguniform" if isinstance(sampler, LogUniform) else "uniform"
    bounds_and_scale = {"low": domain.lower, "high": domain.upper, "scale": scale}
    return bounds_and_scale if step is None else bounds_and_scale | {"quantum": step}
