"""What workers print, in the terminal of the search: a line that several workers print appears once."""

from collections.abc import Callable, Mapping
from typing import Any

from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

HANDLER = "ray_print_logs"  # Ray's name of what prints the lines; it is removed by this name when Ray ends
REMEMBERED = 10_000  # lines; more are the output of the user's own code

Batch = Mapping[str, Any]


class EachOnce:
    """Hands batches of lines to ``print_batch`` without the lines that another process has printed before.

    A warning of a library would else appear once per worker. A process may repeat its own lines. Ray leaves out equal
    lines only within 5 seconds, and then prints a line about it.
    """

    def __init__(self, print_batch: Callable[[Batch], object]) -> None:
        self._print = print_batch
        self._first: dict[str, Any] = {}

    def __call__(self, batch: Batch) -> None:
        """Print the new lines of one process."""
        pid = batch.get("pid")
        lines = [line for line in batch.get("lines", ()) if self._is_of(pid, line)]
        if lines:
            self._print({**batch, "lines": lines})

    def _is_of(self, pid: Any, line: str) -> bool:
        if not line.strip() or len(self._first) >= REMEMBERED:
            return True
        return bool(self._first.setdefault(line, pid) == pid)


def print_each_once() -> None:
    """Put EachOnce before Ray's printing of workers' lines; call it after ``ray.init``."""
    for name, print_batch in list(dispatcher.handlers):
        if name == HANDLER:
            dispatcher.remove_handler(HANDLER)
            dispatcher.add_handler(HANDLER, EachOnce(print_batch))
