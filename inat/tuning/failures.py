"""What is known of a trial's failure: Tune's notes, the line that matters, and whether trying again can help."""

import re
from pathlib import Path

from ray.tune.experiment import Trial as TuneTrial
from rich.text import Text

from inat import errors

_OURS = "|".join(name for name, kind in vars(errors).items() if isinstance(kind, type))
_SAID_BY_US = re.compile(rf"^(?:inat\.errors\.)?(?:{_OURS}): ", re.MULTILINE)


class StudyTrial(TuneTrial):
    """Tune's trial, but not tried again where that cannot help."""

    def should_recover(self) -> bool:
        """Asked by Tune behind every failure, once it has written it down."""
        return bool(super().should_recover()) and not hopeless(last_failure(self))


def hopeless(failure: str) -> bool:
    """Whether the trial would fail again: it ended with an error that is written for the user to act on."""
    return _SAID_BY_US.search(failure) is not None


def last_failure(trial: TuneTrial) -> str:
    """What Tune wrote down about the trial's last failure: a traceback, or why its process died."""
    # Not trial.get_error(): it looks in the storage, where Tune copies the file only when the search has ended.
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path and Path(path).exists() else ""
    plain = Text.from_ansi(text).plain  # Ray colours its tracebacks
    return plain.rpartition("Failure # ")[2].partition("\n")[2]  # later attempts are appended behind such a line


def reason_of(failure: str) -> str:
    """One line of a failure: the exception behind a traceback, else the first sentence about the dead process."""
    lines = [line.strip() for line in failure.splitlines() if line.strip()]
    if not lines:
        return "no reason known"
    return lines[-1] if any("Traceback" in line or line.startswith("ray::") for line in lines) else lines[0]
