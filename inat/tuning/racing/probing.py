"""Probe many backbones from small to large, as far as a time budget allows; the first table of "which backbone?"."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import RenderableType

from analysis.markdown import format_duration
from inat.config.finetune import FinetuneConfig
from inat.data.splits import Splits, load_splits
from inat.errors import CacheFullError, ConfigError, DataError
from inat.tuning.racing.budget import choose_probes, from_small_to_large
from inat.tuning.racing.forecast import SLACK
from inat.tuning.racing.probes import Candidate, Probe, check_classes, probe, probe_config, time_candidate

PrintLine = Callable[[RenderableType], object]


@dataclass(frozen=True, slots=True)
class Probing:
    """The probes of a study's candidates, and why others were ``skipped``."""

    probes: Sequence[Probe]
    skipped: Mapping[str, str] = field(default_factory=dict)


def first_splits(config: FinetuneConfig) -> Splits:
    """The images that every candidate is judged on; DataError if they cannot tell backbones apart."""
    splits = load_splits(probe_config(config, config.backbones[0]).data)
    check_classes(splits)
    return splits


def time_candidates(config: FinetuneConfig, print_line: PrintLine, skipped: dict[str, str]) -> list[Candidate]:
    """Load and time each backbone of ``config``; those that cannot be used are printed and added to ``skipped``.

    Raises ConfigError with all reasons if no backbone is left.
    """
    candidates = []
    for backbone in dict.fromkeys(config.backbones):
        try:
            candidates.append(time_candidate(config, backbone))
        except ConfigError as error:
            _skip(backbone, str(error), print_line, skipped)
    if not candidates:
        raise ConfigError(f"no backbone can be probed: {'; '.join(skipped.values())}")
    return candidates


def probe_all(
    config: FinetuneConfig,
    candidates: Sequence[Candidate],
    seconds: float | None,
    print_line: PrintLine,
    skipped: dict[str, str],
) -> Probing:
    """Probe the ``candidates``, from small to large, that fit into ``seconds`` from now on; None: no limit.

    Features that are too large for the disk, or a probe that fails in another way, skip that backbone. Raises
    ConfigError with the reasons if no probe is left.
    """
    limit = float("inf") if seconds is None else seconds
    # One that seems too long may fit at the real speed, which the first probe shows.
    wanted = [one for one in from_small_to_large(candidates) if one.seconds <= SLACK * limit]
    wanted = wanted or choose_probes(candidates, limit, 1.0)
    for candidate in candidates:
        if candidate not in wanted:
            _skip(
                candidate.backbone,
                f"its features take about {_duration(candidate)}, which does not fit",
                print_line,
                skipped,
            )
    probes: list[Probe] = []
    ends, expected, real = time.monotonic() + limit, 0.0, 0.0
    for number, candidate in enumerate(wanted, 1):
        slowness = real / expected if expected else 1.0
        if probes and time.monotonic() + slowness * candidate.seconds > ends:
            _skip(candidate.backbone, "the time for probes is used up", print_line, skipped)
            continue
        size = f"{candidate.image_size} px"
        print_line(f"probe   {number} of {len(wanted)}: {candidate.backbone}, {size}, about {_duration(candidate)}")
        try:
            probes.append(probe(config, candidate))
            expected, real = expected + candidate.seconds, real + (probes[-1].feature_seconds or 0.0)
        except (ConfigError, DataError, CacheFullError) as error:
            _skip(candidate.backbone, str(error), print_line, skipped)
    if not probes:
        raise ConfigError(f"no backbone could be probed: {'; '.join(skipped.values())}")
    return Probing(probes, skipped)


def _skip(backbone: str, reason: str, print_line: PrintLine, skipped: dict[str, str]) -> None:
    skipped[backbone] = reason
    print_line(f"skipped {backbone}: {reason}")


def _duration(candidate: Candidate) -> str:
    return format_duration(max(1.0, candidate.seconds))
