import doctest

import pytest

from inat.models import probe
from inat.tuning.racing import budget, rank, waves


@pytest.mark.parametrize("module", [budget, rank, waves, probe], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed
