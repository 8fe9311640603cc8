import os
import zipfile

import numpy as np
import pytest
import torch

from inat.study.archive import check_archive


def test_files_of_torch_and_numpy_are_accepted(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.ckpt")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    check_archive(tmp_path / "a.ckpt")
    check_archive(tmp_path / "a.npz")


def test_a_compressed_archive_is_refused_before_it_fills_the_memory(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1_000_000))
    with pytest.raises(ValueError, match="compressed"):
        check_archive(tmp_path / "a.npz")


def test_members_that_overlap_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", bytes(1000))
        archive.filelist *= 3  # three entries of the directory with the same bytes
    with pytest.raises(ValueError, match="overlap"):
        check_archive(path)


def test_anything_else_is_refused(tmp_path):
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="no zip archive"):
        check_archive(tmp_path / "text")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        check_archive(tmp_path / "pipe")
