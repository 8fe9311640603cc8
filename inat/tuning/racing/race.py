"""--preset: choose the backbones of a search by a race within its time budget, before the search begins.

The race probes all candidates from small to large, times the training of the leaders, and cuts the search's space to
what fits the budget. The study then runs the waves of ``inat.tuning.racing.waves``; a resumed study has the chosen
backbones in its options and races no more.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from analysis.markdown import format_duration
from analysis.wording import counted
from inat.config.backbones import FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL, WHOLE
from inat.config.durations import seconds_of
from inat.config.finetune import FinetuneConfig
from inat.config.race import RACES, RacePreset
from inat.constants import BACKBONES_CSV
from inat.data.splits import Splits
from inat.device import free_cached, this_device
from inat.models.backbones import frozen_stage_count
from inat.study.atomic_io import as_disk_full_error
from inat.tuning.backbone_timing import measure_backbone
from inat.tuning.racing.budget import choose_full, choose_partial, choose_probes, from_small_to_large
from inat.tuning.racing.forecast import Expected, Forecast
from inat.tuning.racing.probes import Candidate, Probe
from inat.tuning.racing.probing import PrintLine, first_splits, probe_all, time_candidates
from inat.tuning.racing.table import CAVEAT, probe_table, ranked, write_probes
from inat.tuning.racing.timm_candidates import with_timm_candidates
from inat.tuning.racing.waves import WAVES, Choice, Waves
from inat.tuning.task import check_task
from inat.tuning.trial_cost import ImageCounts, trial_cost

Costs = Mapping[str, Mapping[Choice, float]]


@dataclass(frozen=True, slots=True)
class Race:
    """How a race ended: the search that follows, its probes, the record for study.json, and the ``seconds`` it took."""

    config: FinetuneConfig
    probes: Sequence[Probe]
    record: Mapping[str, Any]
    seconds: float

    def keep_probes(self, study: Path) -> None:
        """Write backbones.csv into the directory of the study that follows."""
        with as_disk_full_error(study):
            write_probes(study / BACKBONES_CSV, self.probes, self.config.objective)


def run_race(config: FinetuneConfig, print_line: PrintLine) -> Race:
    """Race the backbones of ``config``; images are decoded and features computed into the cache, and no study is made.

    Raises ConfigError or DataError for everything that a search would refuse, for a time budget that no probe fits, and
    if no backbone can be probed.
    """
    started = time.monotonic()
    preset, budget = RACES[config.preset or ""], seconds_of(config.time_budget) or 0.0
    config, candidates, splits, skipped = _candidates(config, print_line)
    chosen = choose_probes(candidates, budget, preset.probe_share)
    print_line(describe_budget(preset, budget, candidates, chosen))
    left = preset.probe_share * budget - (time.monotonic() - started)
    # Decoding and timing have taken a part of the time; the first probe is made in any case.
    probing = probe_all(config, candidates, max(left, chosen[0].seconds), print_line, skipped)
    print_line(probe_table(probing.probes, config.objective))
    print_line(CAVEAT)
    leaders = ranked(probing.probes, config.objective)[: preset.partial]
    costs = {probe.backbone: _costs(config, probe, splits) for probe in leaders}
    left = max(0.0, budget - (time.monotonic() - started))
    epochs = config.max_epochs * config.trainings
    waves, spent = plan_waves(preset, [probe.backbone for probe in leaders], costs, left, epochs)
    print_line(describe_waves(waves, spent, costs))
    search = limited_to(config, waves)
    record = {
        "preset": config.preset, "candidates": list(dict.fromkeys([*config.backbones, *skipped])),
        "skipped": dict(probing.skipped), "chosen": list(search.backbones), WAVES: waves.to_json(),
        "planned_seconds": spent, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    free_cached(this_device())  # for the trials
    return Race(search, probing.probes, record, time.monotonic() - started)


def print_race_plan(config: FinetuneConfig, print_line: PrintLine) -> None:
    """Print how a race would spend its budget, without probing; images are decoded into the cache."""
    preset, budget = RACES[config.preset or ""], seconds_of(config.time_budget) or 0.0
    config, candidates, _, _ = _candidates(config, print_line)
    print_line(describe_budget(preset, budget, candidates, choose_probes(candidates, budget, preset.probe_share)))


def _candidates(
    config: FinetuneConfig, print_line: PrintLine
) -> tuple[FinetuneConfig, list[Candidate], Splits, dict[str, str]]:
    """``config`` with all backbones that race, those that can be probed, the images, and why others cannot."""
    check_task(config)
    splits, skipped = first_splits(config), dict[str, str]()
    config = with_timm_candidates(config, print_line, skipped)
    return config, time_candidates(config, print_line, skipped), splits, skipped


def _costs(config: FinetuneConfig, probe: Probe, splits: Splits) -> dict[Choice, float]:
    """Predicted seconds of a trial of a backbone that nothing stops, for each way to train it, in ascending order."""
    threads = torch.get_num_threads()
    network = measure_backbone(probe.backbone, probe.image_size, len(splits.classes), config)
    torch.set_num_threads(threads)  # it has measured with those of one trial
    counts, epochs = ImageCounts(len(splits.train), len(splits.val)), config.max_epochs * config.trainings
    costs = {}
    for choice in choices_of(config):
        frozen = frozen_stage_count(probe.backbone, choice.strategy, choice.k_layers)
        views = 1 if config.views else 0
        cost = trial_cost(network, frozen, counts, epochs, views, config.max_feature_gb * 1e9, shared=config.folds > 1)
        # The probe has computed the features of freeze_all.
        features = 0.0 if choice.strategy == FREEZE_ALL else cost.feature_seconds
        costs[choice] = cost.seconds + features
    return dict(sorted(costs.items(), key=lambda item: item[1]))


def choices_of(config: FinetuneConfig) -> list[Choice]:
    """The ways to train a backbone that the options allow."""
    return [
        Choice(strategy, k)
        for strategy in config.strategies
        for k in (config.k_layers if strategy == FREEZE_PARTIAL else (None,))
    ]


def plan_waves(
    preset: RacePreset, leaders: Sequence[str], costs: Costs, left: float, epochs: int
) -> tuple[Waves, dict[str, float]]:
    """The waves of a race within the ``left`` seconds, and the predicted seconds of each.

    A trial that nothing stops trains ``epochs``.
    """
    partial, partial_seconds = choose_partial(leaders, costs, preset.partial_of(left))
    full_seconds = preset.full_of(max(0.0, left - partial_seconds))
    whole, full = choose_full(leaders, costs, preset.full, full_seconds)
    if not partial and not whole:  # only unfreeze_all is allowed, and it is too slow: the study needs a trial
        whole, full = [min(leaders, key=lambda leader: min(costs[leader].values()))], 1
    expected = [
        Expected({"backbone": leader} | choice.params(), round(seconds, 3))
        for leader in leaders
        for choice, seconds in costs[leader].items()
    ]
    forecast = Forecast(expected, preset.partial_of(left), full_seconds, preset.full, epochs)
    waves = Waves([{"backbone": leader} | choice.params() for leader, choice in partial], whole, full, forecast)
    slowest = sorted((costs[name][Choice(UNFREEZE_ALL)] for name in whole), reverse=True)[:full]
    return waves, {"partial": round(partial_seconds, 1), "full": round(sum(slowest), 1)}


def limited_to(config: FinetuneConfig, waves: Waves) -> FinetuneConfig:
    """The search over what the waves contain or may grow by: its backbones, strategies and numbers of stages."""
    possible = [one.params for one in waves.forecast.possible()] if waves.forecast else []
    partial = [*waves.partial, *(params for params in possible if params["strategy"] not in WHOLE)]
    whole = [*waves.whole, *(str(params["backbone"]) for params in possible if params["strategy"] == UNFREEZE_ALL)]
    backbones = tuple(dict.fromkeys([*(str(params["backbone"]) for params in partial), *whole]))
    # Where a whole network fits, the last trials may also be those of other strategies that train every stage.
    used = {str(params["strategy"]) for params in partial} | (set(WHOLE) if whole else set())
    k_layers = tuple(k for k in config.k_layers if k in {params.get("k_layers") for params in partial})
    return replace(
        config,
        backbones=backbones,
        strategies=tuple(strategy for strategy in config.strategies if strategy in used),
        k_layers=k_layers or config.k_layers,
    )


def describe_budget(
    preset: RacePreset, budget: float, candidates: Sequence[Candidate], chosen: Sequence[Candidate]
) -> str:
    """Say how the budget is split, and how long each probe takes, from small to large."""
    probes = ", ".join(
        f"{one.backbone} {format_duration(max(1, one.seconds))}" for one in from_small_to_large(candidates)
    )
    seconds = sum(one.seconds for one in chosen)
    shares = (preset.probe_share, preset.partial_share, preset.full_share)
    parts = [format_duration(share * budget) for share in shares]
    return (
        f"race    {format_duration(budget)}: at most {parts[0]} for probes, {parts[1]} for frozen or partly frozen "
        f"trials, {parts[2]} for whole networks; the rest for more trials of the best backbone\n"
        f"probes  {len(chosen)} of {len(candidates)} fit, about {format_duration(max(1, seconds))}: {probes}"
    )


def describe_waves(waves: Waves, seconds: Mapping[str, float], costs: Costs) -> str:
    """Say what the search does with the leaders, and how many of their trials do not fit."""
    names = list(dict.fromkeys(str(params["backbone"]) for params in waves.partial))
    lines = []
    if waves.partial:
        duration = format_duration(max(1, seconds["partial"]))
        trials = counted(len(waves.partial), "frozen or partly frozen trial")
        missing = sum(not choice.trains_all for leader in costs.values() for choice in leader) - len(waves.partial)
        possible = waves.forecast.possible() if waves.forecast else []
        later = sum(one.strategy not in WHOLE and one.params not in waves.partial for one in possible)
        more = f"; {later} more if trials turn out faster" if later else ""
        more += f"; {missing - later} more would take too long" if missing > later else ""
        lines.append(f"leaders {', '.join(names)}: {trials}, {duration}{more}")
    if waves.full:
        duration = format_duration(max(1, seconds["full"]))
        lines.append(f"then    whole network of the best {waves.full} of {', '.join(waves.whole)}, at most {duration}")
    else:
        possible = waves.forecast.possible() if waves.forecast else []
        unless = ", unless trials turn out faster" if any(one.strategy == UNFREEZE_ALL for one in possible) else ""
        lines.append(f"then    no whole network: none of the leaders trains within its share of the budget{unless}")
    return "\n".join([*lines, "then    more trials of the best backbone until the budget or --num-samples ends"])
