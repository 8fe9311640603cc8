"""The page of a search: a pure function from a snapshot, what the user has chosen, and the size of the terminal."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from analysis.escaping import printable
from analysis.markdown import format_duration
from analysis.wording import counted
from inat.constants import RUNNING, STATES
from inat.tuning.live.details import detail_lines
from inat.tuning.live.keys import ViewState, sorted_trials
from inat.tuning.live.snapshot import NOT_RUNNING, PAUSED, Snapshot
from inat.tuning.live.table import header, row, widths_for

BAR_WIDTH = 30
LEAST_ENDED = 4  # rows that ended trials have if there are so many and the terminal has room
MOST_MESSAGES = 3


def render(snapshot: Snapshot, state: ViewState, width: int, height: int, *, ascii_only: bool = False) -> Group:
    """The page as ``height`` lines of at most ``width`` columns."""
    chosen = snapshot.find(state.chosen) if state.details else None
    top = head_lines(snapshot, width, ascii_only)
    messages = [Text(f"  {line}", style="yellow") for line in snapshot.messages[-min(MOST_MESSAGES, height // 10) :]]
    room = height - len(top) - len(messages) - 2
    if chosen is not None:
        body = detail_lines(snapshot, chosen, width, room, ascii_only=ascii_only)
    else:
        body = table_lines(snapshot, state, width, room, ascii_only)
    lines = [*top, Text(), *body[: max(room, 0)]]
    lines += [Text()] * max(0, room - len(body)) + messages
    lines = [*lines[: max(0, height - 1)], foot_line(snapshot, state, width)]
    return Group(*(_fit(line, width, ascii_only) for line in lines[-height:]))


def head_lines(snapshot: Snapshot, width: int, ascii_only: bool) -> list[Text]:
    """The study, its best trial, its trials, its time, what a constant answer scores, and what was tested."""
    title = Text.assemble((snapshot.study, "bold"), "  ", (snapshot.status, _status_style(snapshot.status)))
    known = [Text(snapshot.result)] if snapshot.result else []
    known += [Text(snapshot.constant, style="dim")] if snapshot.constant else []
    return [title, best_line(snapshot), count_line(snapshot, width, ascii_only), time_line(snapshot), *known]


def best_line(snapshot: Snapshot) -> Text:
    """The best value so far, with the trial that has it."""
    best, name = snapshot.best, snapshot.objective.short
    if best is None or best.best is None:
        return Text(f"best {name} -")
    epoch = f" epoch {best.epoch}, {snapshot.state_of(best)}" if best.state == RUNNING else ""
    return Text.assemble(
        f"best {name} ", (f"{best.best:.4f}", "bold green"), f"  {best.trial_id}{epoch}  ", (best.name, "dim")
    )


def count_line(snapshot: Snapshot, width: int, ascii_only: bool) -> Text:
    """How many of the wanted trials have ended, as a bar, and how many are in each state."""
    ended, wanted = len(snapshot.ended), snapshot.wanted
    states = [trial.state for trial in snapshot.trials]
    paused = {RUNNING: PAUSED} if snapshot.status == NOT_RUNNING else {}
    counts = ", ".join(f"{states.count(state)} {paused.get(state, state)}" for state in STATES)
    if not wanted:
        return Text(f"{counted(ended, 'trial')} ended: {counts}")
    size = min(BAR_WIDTH, max(0, width - cell_len(counts) - 24))
    full = min(size, size * ended // wanted)
    bar, rest = ("#", ".") if ascii_only else ("━", "─")
    return Text.assemble(
        (bar * full, "green"), (rest * (size - full), "dim"), f"{' ' * bool(size)}{ended}/{wanted} trials  {counts}"
    )


def time_line(snapshot: Snapshot) -> Text:
    """The time gone, how much of the budget that is, and the time left."""
    parts = []
    if snapshot.elapsed is not None:
        of = f" of {format_duration(snapshot.budget)}" if snapshot.budget else ""
        share = f" ({snapshot.elapsed / snapshot.budget:.0%} of the time budget)" if snapshot.budget else ""
        parts.append(f"{format_duration(snapshot.elapsed)}{of} gone{snapshot.during}{share}")
    if snapshot.left is not None:
        parts.append(f"about {format_rough(snapshot.left)} left")
    return Text(", ".join(parts) or "time left is known after the first epoch")


def table_lines(snapshot: Snapshot, state: ViewState, width: int, room: int, ascii_only: bool) -> list[Text]:
    """The running trials and below them the ended ones, in the order of the user, around the chosen one."""
    running, ended = sorted_trials(snapshot, state.order)
    places = {trial.place for trial in snapshot.trials[:1000] if trial.place}
    widths = widths_for(width, snapshot, several_nodes=len(places) > 1)
    free = room - 1 - bool(ended)
    top = min(len(running), max(free - min(len(ended), LEAST_ENDED), 0)) if ended else min(len(running), free)
    lines = [header(widths, snapshot.max_epochs)]
    for title, trials, count in (("", running, top), ("last ended", ended, free - top)):
        ids = [trial.trial_id for trial in trials]
        start = _window(ids.index(state.chosen) if state.chosen in ids else 0, len(ids), max(count, 0))
        shown = trials[start : start + max(count, 0)]
        if title and trials:
            lines.append(Text(_more(title, start, len(shown), len(trials), state), style="dim"))
        elif len(shown) < len(trials):
            lines[0].append(f"  {len(shown)} of {len(trials)}", style="dim")
        lines += [row(trial, snapshot, widths, state.chosen, ascii_only) for trial in shown]
    return lines


def _more(title: str, start: int, shown: int, whole: int, state: ViewState) -> str:
    order = "" if state.order == "trial" else f", by {state.order}"
    name = title if state.order == "trial" else "ended"
    return f"{name}{order}: {start + 1}-{start + shown} of {whole}" if shown < whole else f"{name}{order}"


def _window(chosen: int, whole: int, size: int) -> int:
    """Where a window of ``size`` rows starts that shows the row ``chosen``."""
    return max(0, min(chosen - size // 2, whole - size)) if chosen >= size else 0


def foot_line(snapshot: Snapshot, state: ViewState, width: int) -> Text:
    """The keys, or what the user is asked."""
    if state.asked:
        return Text(f"end {state.asked} after its current epoch? y: yes, any other key: no", style="bold yellow")
    keys = [("q", snapshot.on_quit), ("s", f"sort: {state.order}"), ("d", "back" if state.details else "details")]
    keys += [("k", "end trial")] if snapshot.can_end else []
    keys.append(("arrows", "choose"))
    line = Text("  ").join([Text.assemble((key, "bold reverse"), f" {what}") for key, what in keys])
    notice = Text(f"  {state.notice}", style="yellow") if state.notice else Text()
    line.truncate(max(0, width - cell_len(notice.plain)))
    return line.append_text(notice)


def format_rough(seconds: float) -> str:
    """Write a time that is an estimate, without digits that it does not have.

    >>> format_rough(7), format_rough(100), format_rough(3000), format_rough(9000)
    ('10 s', '1 min 40 s', '50 min', '2 h 30 min')
    """
    step = 10 if seconds < 600 else 60 if seconds < 7200 else 600
    return format_duration(max(step, round(seconds / step) * step)).removesuffix(" 0 s")


def _status_style(status: str) -> str:
    return "green" if status == "running" else "yellow"


def _fit(line: Text, width: int, ascii_only: bool) -> Text:
    """The line cut off at ``width``, without control characters of names."""
    clean = printable(line.plain)
    if clean != line.plain:
        line = Text(clean, style=line.style)
    line.no_wrap, line.overflow = True, "crop"
    line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return line


def as_text(snapshot: Snapshot, state: ViewState, width: int, height: int) -> Sequence[str]:
    """The lines of the page without colours, as for tests and files."""
    lines = render(snapshot, state, width, height).renderables
    return [line.plain.rstrip() for line in lines if isinstance(line, Text)]
