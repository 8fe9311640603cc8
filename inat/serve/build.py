"""Make reports for the server: one request per line of stdin, one answer with its length before it on stdout."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from analysis.comparison_report import comparison_report
from analysis.report.build import build
from analysis.report.page import page_parts
from analysis.study import load_study
from analysis.terminal import prepare_output
from analysis.wording import sentence_of
from inat.serve.worker import HEADER_BYTES

NICENESS = 10  # searches on the same machine come first


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The parts of the report of one study, or of a comparison of several; an entry ``error`` if there is none.

    ``request`` has ``studies``, the paths by name, and ``different_data``, for studies of different photos.
    """
    paths = {name: Path(path) for name, path in request["studies"].items()}
    try:
        if len(paths) == 1:
            (path,) = paths.values()
            report = build(load_study(path), path)
        else:
            studies = {name: load_study(path) for name, path in paths.items()}
            report = comparison_report(studies, different_data=bool(request.get("different_data")))
        return asdict(page_parts(report))
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": sentence_of(error)}


def main() -> None:
    """Answer until stdin is closed."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not stand between the answers
    prepare_output()
    with suppress(OSError):
        os.nice(NICENESS)
    with suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            _reply(replies, answer(json.loads(line)))


def _reply(replies: BinaryIO, content: dict[str, Any]) -> None:
    text = json.dumps(content).encode()
    replies.write(len(text).to_bytes(HEADER_BYTES, "big") + text)
    replies.flush()


if __name__ == "__main__":
    main()
