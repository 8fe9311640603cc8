from pathlib import Path

import pytest
import torch

from inat.checkpoint import load_checkpoint
from inat.errors import StudyError


@pytest.mark.parametrize("content", [None, b"no checkpoint", b""])
def test_what_is_no_checkpoint_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=r"x\.ckpt"):
        load_checkpoint(path)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"trial_params": Trap()}, tmp_path / "x.ckpt")
    with pytest.raises(StudyError, match=r"not a checkpoint of this program"):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "sprung").exists()
