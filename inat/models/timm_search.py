"""The table of timm's models whose names contain a word."""

from collections.abc import Sequence

import timm
import torch
from rich.table import Column, Table

from analysis.terminal import PlainConsole
from inat.config.timm_names import TIMM, timm_settings
from inat.errors import ConfigError
from inat.models.timm_facts import parameters_of_timm

MOST = 60  # rows: each model is built to count its parameters


def search_timm(word: str, console: PlainConsole) -> None:
    """Print the pretrained models whose name contains ``word``; ConfigError if there are none."""
    found = matching(word)
    if not found:
        raise ConfigError(f"timm has no pretrained model whose name contains {word!r}; try a shorter word")
    console.print_whole(model_table(found[:MOST]))  # names and licences are long
    more = f"; {len(found) - MOST} more are not shown, name a longer word" if len(found) > MOST else ""
    console.print(
        f"{len(found)} of timm's pretrained models{more}. timm's package has no table of accuracies; see "
        "https://huggingface.co/timm. For the stages of one: inat backbones timm:NAME"
    )


def matching(word: str) -> list[str]:
    """Names of timm's pretrained models that contain ``word``, in any case; each with the tag of its weights.

    >>> matching("test_vit3")
    ['test_vit3.r160_in1k']
    """
    return [name for name in timm.list_models(pretrained=True) if word.lower() in name.lower()]


def model_table(names: Sequence[str]) -> Table:
    """One row per model: parameters with the published classes, size of its images, classes and licence."""
    right = (Column(name, justify="right", no_wrap=True) for name in ("parameters", "images", "classes"))
    table = Table(Column("name", no_wrap=True), *right, Column("licence", no_wrap=True), box=None, padding=(0, 1))
    counts: dict[str, str] = {}
    for name in names:
        settings = timm_settings(f"{TIMM}{name}")
        key = f"{name.partition('.')[0]} {settings.input_size} {settings.num_classes}"
        if key not in counts:
            counts[key] = _parameters(name)
        size, classes = f"{settings.input_size[-1]} px", f"{settings.num_classes or '-'}"
        table.add_row(f"{TIMM}{name}", counts[key], size, classes, settings.license or "unknown")
    return table


def _parameters(name: str) -> str:
    count = parameters_of_timm(name, lambda: _count(name))
    return "unknown" if count is None else f"{count:,}"


def _count(name: str) -> int | None:
    try:
        with torch.device("meta"):  # to count parameters, no memory is needed
            model = timm.create_model(name)
    except Exception:  # some models compute with their own values while they are built
        return None
    return sum(parameter.numel() for parameter in model.parameters())
