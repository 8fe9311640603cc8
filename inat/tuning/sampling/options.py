"""How a searcher searches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inat.tuning.equal_cost import EqualCost
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.feedback import StoppedPolicy
from inat.tuning.sampling.samplers import SamplerName


@dataclass(frozen=True, kw_only=True, slots=True)
class SearcherOptions:
    """How to search."""

    rungs: Rungs
    seed: int = 0
    control_fraction: float = 0.0
    """Share of the trials that ASHA does not stop; see ``sampling.control``."""
    sampler: SamplerName = "auto"
    stopped: StoppedPolicy = "chain"
    """What the sampler learns from a trial that ASHA stopped; see ``feedback_for``."""
    keep_checkpoints: int = 5
    """Number of best trials whose checkpoints are kept."""
    start_from: Sequence[Mapping[str, Any]] = ()
    """Configurations to try first, complete or partial; the sampler fills in what is missing."""
    grid: Sequence[Mapping[str, Any]] = ()
    """All configurations to try; if there are any, the sampler is not asked."""
    race: Mapping[str, Any] | None = None
    """The record of a race of backbones: its waves come first, then the sampler completes what they suggest."""
    earlier: Sequence[Mapping[str, Any]] = ()
    """Trials of earlier studies that are a prior for TPE, as ``prior.Prior.of`` takes them."""
    affordable: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether a trial would end within the time of the search; suggestions that would not are not tried."""
    equal_cost: EqualCost | None = None
    """How long each trial trains, where trials are compared at equal cost."""
