"""A program with a live page, for the tests that run it in a terminal: its mode is the first argument."""

import sys
import time

from inat.signals import end_process
from inat.tuning.live.keys import Action
from inat.tuning.live.page import LivePage
from inat.tuning.live.printed import Printed
from inat.tuning.live.screen import Screen, keys_of_terminal
from inat.tuning.live.snapshot import Snapshot, TrialView


def main(mode: str) -> None:
    printed = Printed()

    def source() -> Snapshot:
        if mode == "broken page":
            raise ValueError("no page")
        return Snapshot(
            "first", running=(TrialView("t0000", 0, "name"),), can_end=True, messages=tuple(printed.lines())
        )

    def act(action: Action) -> str | None:
        print("told to", action.kind)
        return "leave" if action.kind == "quit" else None

    page = LivePage(Screen(sys.stdout, keys_of_terminal()), source, act, printed)
    with page:
        print("printed meanwhile")
        if mode == "crash":
            raise RuntimeError("a bug")
        if mode == "forced end":
            page.start()
            time.sleep(0.5)
            end_process(7)
        if mode == "broken page":
            page.start()
            time.sleep(0.5)
        else:
            page.run()
    print("the program ends")


if __name__ == "__main__":
    main(sys.argv[1])
