import os

import pytest
from PIL import Image

from inat.data.file_kinds import why_unused
from inat.data.image_folder import list_files
from tests.conftest import write_image


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.JPG", ""),
        ("a.heic", ""),
        ("a.NEF", ""),
        ("clip.MOV", "a video, not an image"),
        ("all.zip", "an archive, not an image"),
        ("paper.pdf", "a document, not an image"),
        ("notes.txt", "a text file, not an image"),
        ("._a.jpg", "metadata of macOS, not an image"),
        (".DS_Store", "a hidden file"),
        ("Thumbs.db", "thumbnails of Windows"),
        ("unknown.xyz", "not an image"),
        ("noending", "not an image"),
    ],
)
def test_each_file_is_an_image_or_has_a_reason(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"nothing")
    assert why_unused(name, str(tmp_path / name)) == reason


@pytest.mark.parametrize("name", ["IMG_0001", "photo.jpg_large", "photo.jpg?size=large", "x.2024"])
def test_a_file_without_a_known_ending_is_looked_at(tmp_path, name):
    write_image(tmp_path / "real.jpg")
    (tmp_path / name).write_bytes((tmp_path / "real.jpg").read_bytes())
    assert why_unused(name, str(tmp_path / name)) == ""


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"", b"\0" * 99]
)
def test_content_that_pillow_would_run_or_that_is_no_image_is_unused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert why_unused("file", str(tmp_path / "file")) == "not an image"


def test_files_in_folders_of_systems_are_listed_with_the_folder(tmp_path):
    for folder in ("@eaDir", ".ipynb_checkpoints", "more/__MACOSX/deep"):
        write_image(tmp_path / folder / "x.jpg")
    write_image(tmp_path / "more" / "y.jpg")
    images, unused = list_files(tmp_path)
    assert images == ["more/y.jpg"]
    assert [tuple(file) for file in unused] == [
        (".ipynb_checkpoints/x.jpg", "in .ipynb_checkpoints, a hidden folder"),
        ("@eaDir/x.jpg", "in @eaDir, thumbnails of a Synology disk"),
        ("more/__MACOSX/deep/x.jpg", "in __MACOSX, metadata of a macOS archive"),
    ]


def test_a_pipe_without_ending_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert why_unused("pipe", str(tmp_path / "pipe")) == "not an image"


def test_the_looked_at_formats_are_registered_or_left_out(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x", format="WEBP")
    assert why_unused("x", str(tmp_path / "x")) == ""
