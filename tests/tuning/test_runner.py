import errno
from types import SimpleNamespace

import pytest

from inat.errors import DiskFullError, StudyError
from inat.tuning import runner


def tuner_that_raises(error: Exception) -> SimpleNamespace:
    def fit():
        raise error

    return SimpleNamespace(fit=fit)


def test_an_error_of_tune_is_raised(study):
    with pytest.raises(EOFError):
        runner._fit(tuner_that_raises(EOFError("Ran out of input")), SimpleNamespace(study=study, error=None))


def test_what_tune_raises_after_a_write_error_is_dropped(study):
    # Its file with the error of a trial is empty, as the disk is full.
    kept = SimpleNamespace(study=study, error=StudyError("cannot be written"))
    runner._fit(tuner_that_raises(EOFError("Ran out of input")), kept)


def test_a_full_disk_that_tune_meets_first_is_told_as_such(study):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFullError, match=f"the disk of {study.directory} is full; everything up to here is kept"):
        runner._fit(tuner_that_raises(full), SimpleNamespace(study=study, error=None))
