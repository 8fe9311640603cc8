import os

import pytest
import torch

from inat.training.gpu_checks import VARIABLE, skip_gpu_checks


@pytest.mark.parametrize(("gpus", "before", "after"), [(False, "1", "0"), (True, "1", "1"), (False, "2", "2")])
def test_only_without_a_gpu_the_search_for_one_is_skipped(monkeypatch, gpus, before, after):
    monkeypatch.setenv(VARIABLE, before)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    skip_gpu_checks()
    assert os.environ[VARIABLE] == after
