"""The page of a study that another process writes: on a terminal until the user leaves, else printed once."""

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from analysis.escaping import printable
from analysis.terminal import PlainConsole
from inat.output import quiet_about_closed_pipe
from inat.tuning.live.keys import Action, ViewState
from inat.tuning.live.layout import as_text
from inat.tuning.live.page import LivePage
from inat.tuning.live.printed import Printed
from inat.tuning.live.screen import Screen, can_show_page, keys_of_terminal
from inat.tuning.live.snapshot import Snapshot
from inat.tuning.live.watch_source import WatchSource

LINES = 24  # of the page in a file, or more for all running trials


def watch(directory: Path) -> None:
    """Show the study in ``directory``; StudyError if it is none, or damaged."""
    source = WatchSource(directory)
    console = PlainConsole(soft_wrap=False)
    if not can_show_page(console):
        with quiet_about_closed_pipe():
            # In one piece: a reader such as `| head -4` may leave after the first one.
            sys.stdout.write("\n".join([*printed_lines(source(), console.width), ""]))
        return
    page = LivePage(Screen(sys.stdout, keys_of_terminal()), source, _leave, Printed())
    with suppress(KeyboardInterrupt), page:
        page.run()


def printed_lines(snapshot: Snapshot, width: int) -> list[str]:
    """The page for a file: without the keys and empty lines at its end, with whole messages, which name commands."""
    page = as_text(replace(snapshot, messages=()), ViewState(), width, LINES + len(snapshot.running))[:-1]
    return ["\n".join(page).rstrip(), *(printable(line) for line in snapshot.messages)]


def _leave(action: Action) -> str | None:
    return "leave" if action.kind == "quit" else None
