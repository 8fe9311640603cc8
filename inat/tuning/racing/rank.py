"""The steps of `inat rank`: time the backbones, probe them from small to large, print the table."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from analysis.markdown import format_duration
from analysis.terminal import PlainConsole
from inat.config.durations import seconds_of
from inat.config.finetune import FinetuneConfig
from inat.data.listing import download
from inat.data.splits import inspect_data
from inat.errors import DataError
from inat.tuning.describe_data import describe_sizes
from inat.tuning.racing.budget import choose_probes
from inat.tuning.racing.probing import first_splits, probe_all, time_candidates
from inat.tuning.racing.table import CAVEAT, probe_table, ranked, write_probes
from inat.tuning.task import check_metric

FIRST = 3  # backbones in the command that is shown at the end
# Options that the search needs, too, with the values that it has without them.
NEUTRAL = {
    "labels": None, "root": None, "test_fraction": 0.2, "group_by": None, "keep_duplicates": False, "image_size": None,
    "metric": "accuracy", "class_weights": "none", "weights": "imagenet", "weights_dir": None,
}  # fmt: skip


def rank(config: FinetuneConfig, csv: Path | None = None) -> None:
    """Print the backbones of ``config`` by their probes, and write them to ``csv``; its time budget is for all of it.

    Raises ConfigError or DataError for images or backbones that cannot be judged.
    """
    started, console = time.monotonic(), PlainConsole()
    if config.download:
        download(config.data_config())
    check_metric(config, inspect_data(config.data_config()))
    splits, skipped = first_splits(config), dict[str, str]()
    console.print(f"data    {config.data}: {len(splits.classes)} classes\nimages  {describe_sizes(splits)}")
    candidates = time_candidates(config, console.print, skipped)
    budget = seconds_of(config.time_budget)
    if budget is not None:
        choose_probes(candidates, budget, 1.0)
        budget = max(budget - (time.monotonic() - started), min(one.seconds for one in candidates))
    probing = probe_all(config, candidates, budget, console.print, skipped)
    console.print()
    console.print_whole(probe_table(probing.probes, config.objective))
    console.print(f"{format_duration(max(1, time.monotonic() - started))} in all. {CAVEAT}")
    if csv is not None:
        try:
            write_probes(csv, probing.probes, config.objective)
        except OSError as error:
            raise DataError(f"cannot write {csv} ({error.strerror}); pass --csv FILE in another folder") from error
    best = ranked(probing.probes, config.objective)[:FIRST]
    console.print(f"next    {search_command(config, [probe.backbone for probe in best])}")


def search_command(config: FinetuneConfig, backbones: Sequence[str]) -> str:
    """The command that searches these backbones on the same images.

    >>> config = FinetuneConfig(data="my photos", image_size=64, backbones=("resnet50", "vgg16"))
    >>> search_command(config, ["resnet50"])
    "python tune_finetune.py --data 'my photos' --image-size 64 --backbones resnet50"
    """
    words = ["--data", config.data]
    for name, neutral in NEUTRAL.items():
        value = getattr(config, name)
        if value != neutral:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return f"python tune_finetune.py {shlex.join([*words, '--backbones', *backbones])}"
