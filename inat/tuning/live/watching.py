"""The page of a study that another process writes: on a terminal until the user leaves, else printed once."""

import sys
from contextlib import suppress
from pathlib import Path

from analysis.terminal import PlainConsole
from inat.tuning.live.keys import Action, ViewState
from inat.tuning.live.layout import as_text
from inat.tuning.live.page import LivePage
from inat.tuning.live.printed import Printed
from inat.tuning.live.screen import Screen, can_show_page, keys_of_terminal
from inat.tuning.live.watch_source import WatchSource

LINES = 24  # of the page in a file, or more for all running trials


def watch(directory: Path) -> None:
    """Show the study in ``directory``; StudyError if it is none, or damaged."""
    source = WatchSource(directory)
    console = PlainConsole(soft_wrap=False)
    if not can_show_page(console):
        snapshot = source()
        lines = as_text(snapshot, ViewState(), console.width, LINES + len(snapshot.running))
        print("\n".join(lines[:-1]).rstrip())  # without the keys
        return
    page = LivePage(Screen(sys.stdout, keys_of_terminal()), source, _leave, Printed())
    with suppress(KeyboardInterrupt), page:
        page.run()


def _leave(action: Action) -> str | None:
    return "leave" if action.kind == "quit" else None
