"""What commands print: any file name in any encoding of the terminal, and no notes of libraries."""

import codecs
import logging
import sys


def prepare_output() -> None:
    """Make stdout and stderr print every text: a file name that is not UTF-8 as its bytes, other signs as escapes."""
    codecs.register_error(_encode.__name__, _encode)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors=_encode.__name__)
    # Without a home to write to, Matplotlib works with a temporary folder, and says so in two long lines.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _encode(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    try:
        return signs.encode(error.encoding, "surrogateescape"), error.end
    except UnicodeEncodeError:
        return signs.encode(error.encoding, "backslashreplace"), error.end
