"""The results of trainings in a file of JSON lines, so that a benchmark that was interrupted continues."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class KeptRows:
    """Results by case, in memory and in ``path``; without a path, in memory only.

    A case is a mapping of JSON values that describes a training completely. The last line of a benchmark that was
    killed may be cut off; it is skipped.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._rows: dict[str, Row] = {}
        text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
        for line in text.splitlines():
            with suppress(ValueError, KeyError):
                content = json.loads(line)
                self._rows[_key(content["case"])] = content["row"]
        self._line_break = "" if text.endswith("\n") or not text else "\n"

    def get(self, case: Mapping[str, Any]) -> Row | None:
        """The result of a case; None if it has not been trained yet."""
        return self._rows.get(_key(case))

    def get_or_run(self, case: Mapping[str, Any], run: Callable[[], Row]) -> Row:
        """The result of a case; ``run`` makes the one that is not known yet, which is kept."""
        row = self.get(case)
        if row is None:
            row = run()
            self.add(case, row)
        return row

    def add(self, case: Mapping[str, Any], row: Row) -> None:
        """Keep the result of a case; threads may call this at the same time."""
        with self._lock:
            self._rows[_key(case)] = row
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(f"{self._line_break}{json.dumps({'case': case, 'row': row})}\n")
                self._line_break = ""


def _key(case: Mapping[str, Any]) -> str:
    return json.dumps(case, sort_keys=True)
