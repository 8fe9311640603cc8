"""What goes wrong while Ray starts, as a sentence for the user."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inat.errors import ConfigError, InatError, SearchError


@contextmanager
def as_start_error(place: Path) -> Iterator[None]:
    """Convert whatever Ray raises while it starts with its files in ``place`` into a SearchError."""
    try:
        yield
    except InatError:
        raise
    except UnicodeEncodeError as error:
        words = (word for word in error.object.split() if "\udc80" <= max(word) <= "\udcff")
        raise ConfigError(
            f"Ray takes only UTF-8, and {next(words, error.object)!a} is in another encoding; rename the folder, or "
            "unset PYTHONUTF8 and choose a UTF-8 locale such as LC_ALL=C.UTF-8"
        ) from error
    except Exception as error:  # Ray raises OSError, ValueError, RuntimeError, and a plain Exception for a time-out
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise SearchError(
            f"Ray cannot start on this machine ({reason}); check the memory, the processes (`ulimit -u`) and the disk "
            f"of {place}, or pass --debug to see Ray's own messages"
        ) from error
