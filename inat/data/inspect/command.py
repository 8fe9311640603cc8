"""The steps of inat.data.inspect: collect, print, write the page."""

from collections import Counter

from analysis.report.page import render
from analysis.terminal import PlainConsole
from inat.constants import TRAIN, VAL
from inat.data.inspect.collect import Collected, collect
from inat.data.inspect.options import InspectCommand
from inat.data.inspect.page import make_page
from inat.data.inspect.search_time import SearchTime, estimate_search_time
from inat.data.inspect.text import describe
from inat.data.listing import download
from inat.errors import DataError
from inat.study.atomic_io import atomic_replace


def inspect(command: InspectCommand) -> None:
    """Print what the images are like and write the page; DataError at the end if they cannot be trained on."""
    console = PlainConsole()
    config = command.search().data_config(use_augmentation=False)
    if command.download:
        download(config)
    found = collect(config)
    time = None if found.problem else _estimate(command, found)
    for part in describe(found, command.photos, time):
        console.print(part)
    text = render(make_page(found, command.name, command.search_command(), time))
    write_page(command, text)
    console.print(f"page        {command.page}")
    if found.problem:
        raise DataError(found.problem)
    console.print(f"next        {command.search_command()} --time-budget 30m\nor          {command.search_command()}")


def _estimate(command: InspectCommand, found: Collected) -> SearchTime:
    counts = Counter(found.split.tolist())
    return estimate_search_time(command.search(), len(found.classes), counts[TRAIN], counts[VAL])


def write_page(command: InspectCommand, text: str) -> None:
    """Write the page; DataError if the system refuses it."""
    try:
        with atomic_replace(command.page) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {command.page} ({error.strerror}); pass --output FILE.html") from error
