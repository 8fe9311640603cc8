import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from inat.data.decode import Resize, read_image
from inat.data.file_kinds import image_suffixes, register_plugins

# A build silences the warnings of Pillow and lists the files that it cannot read.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Image size")

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SIZE = (8, 6)


def plain(path: Path) -> None:
    Image.new("RGB", SIZE, RED).save(path)


def cmyk(path: Path) -> None:
    Image.new("CMYK", SIZE, (0, 255, 255, 0)).save(path, quality=95)


def grey(path: Path) -> None:
    Image.new("L", SIZE, 77).save(path)


def grey_of_16_bits(path: Path) -> None:
    Image.fromarray(np.full(SIZE[::-1], 128 * 257, np.uint16)).save(path)


def palette_with_transparency(path: Path) -> None:
    image = Image.new("P", SIZE, 1)
    image.putpalette([*GREEN, *RED])
    image.save(path, transparency=0)


def transparent(path: Path) -> None:
    Image.new("RGBA", SIZE, (*RED, 10)).save(path)


def animation(path: Path) -> None:
    first, second = (Image.new("RGB", SIZE, colour) for colour in (RED, BLUE))
    first.save(path, save_all=True, append_images=[second])


def one_pixel(path: Path) -> None:
    Image.new("RGB", (1, 1), RED).save(path)


def broken_exif(path: Path) -> None:
    Image.new("RGB", SIZE, RED).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff nonsense")


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def bomb(path: Path) -> None:
    """Only the header of a PNG of 20,000 x 20,000 pixels, which must be refused before decoding."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def large(path: Path) -> None:
    bomb(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 10_000, 10_000)  # for which Pillow itself only warns
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def floating_point(path: Path) -> None:
    Image.new("F", SIZE, 0.5).save(path)


def wide_integers(path: Path) -> None:
    Image.fromarray(np.full(SIZE[::-1], 70_000, np.int32)).save(path)


@pytest.mark.parametrize(
    ("name", "make", "colour"),
    [
        ("plain.jpg", plain, RED),
        ("cmyk.jpg", cmyk, RED),
        ("grey.jpeg", grey, (77, 77, 77)),
        ("grey16.png", grey_of_16_bits, (128, 128, 128)),
        ("grey16.tif", grey_of_16_bits, (128, 128, 128)),
        ("palette.png", palette_with_transparency, RED),
        ("transparent.webp", transparent, RED),
        ("animated.gif", animation, RED),
        ("animated.webp", animation, RED),
        ("one pixel.png", one_pixel, RED),
        ("broken exif.jpg", broken_exif, RED),
        ("with space é 日本.JPG", plain, RED),
    ],
)
def test_unusual_images_are_read_as_rgb(tmp_path, name, make, colour):
    make(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.mode == "RGB"
    small = Resize(4)(image)
    assert small.shape == (4, 4, 3)
    assert np.abs(small.astype(int) - colour).max() <= 3  # JPEG and WebP are lossy


# Position in the file of the white row that is shown at the top, for each value of the EXIF tag.
@pytest.mark.parametrize(
    ("orientation", "row", "column"),
    [
        (1, 0, None),
        (2, 0, None),
        (3, -1, None),
        (4, -1, None),
        (5, None, 0),
        (6, None, 0),
        (7, None, -1),
        (8, None, -1),
    ],
)
def test_images_are_turned_upright(tmp_path, orientation, row, column):
    stored = np.zeros((6, 6, 3), np.uint8)
    stored[row if row is not None else slice(None), column if column is not None else slice(None)] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    shown = np.asarray(read_image(tmp_path / "turned.png"))
    assert shown[0].min() == 255
    assert shown[1:].max() == 0


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("truncated.jpg", truncated, "truncated"),
        ("empty.jpg", lambda path: path.touch(), "cannot identify image file"),
        ("text.jpg", lambda path: path.write_text("no image"), "cannot identify image file"),
        ("bomb.png", bomb, "400000000 pixels.* exceeds limit"),
        ("large.png", large, "10000 x 10000 pixels, more than the allowed 89,478,485"),
        ("gone.jpg", lambda path: path.symlink_to("nowhere.jpg"), "No such file"),
        ("pipe.jpg", os.mkfifo, "not a regular file"),
        ("float.tif", floating_point, "floating-point pixels"),
        ("wide.tif", wide_integers, r"grey values 70000\.\.70000 are outside 16 bits"),
    ],
)
def test_unusable_files_are_refused_with_a_reason(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(Exception, match=reason):
        read_image(tmp_path / name)


def heic(path: Path) -> None:
    register_plugins()
    Image.new("RGB", (64, 48), RED).save(path, format="HEIF", quality=95)


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "renamed.jpg"])
def test_heic_photos_are_read_whatever_their_name(tmp_path, name):
    heic(tmp_path / name)
    assert read_image(tmp_path / name).size == (64, 48)


@pytest.mark.parametrize("name", ["photo.heic", "renamed.jpg"])
def test_without_the_package_a_heic_photo_names_it(tmp_path, monkeypatch, name):
    heic(tmp_path / name)
    monkeypatch.setattr("inat.data.file_kinds.image_suffixes", lambda: frozenset({".jpg"}))
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])  # as without the package
    with pytest.raises(ValueError, match="a HEIC photo; to read it: pip install pillow-heif"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["photo.NEF", "photo.dng", "photo.cr2"])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photo(tmp_path, name):
    Image.new("RGB", (16, 12), RED).save(tmp_path / name, format="TIFF")
    with pytest.raises(ValueError, match="a RAW file of a camera; export it as JPEG"):
        read_image(tmp_path / name)


@pytest.mark.skipif(".avif" not in image_suffixes(), reason="Pillow before 11.3 does not read AVIF")
def test_avif_photos_are_read(tmp_path):
    Image.new("RGB", (64, 48), RED).save(tmp_path / "photo.avif")
    assert read_image(tmp_path / "photo.avif").size == (64, 48)


def test_a_program_that_draws_is_not_run_whatever_its_name(tmp_path, monkeypatch):
    ghostscript, ran = tmp_path / "bin" / "gs", tmp_path / "ran"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {ran}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match="EPS is a program that draws, which is not run"):
        read_image(photo)
    assert not ran.exists()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


METHODS = {name: transforms.InterpolationMode(name) for name in ("bilinear", "bicubic")}


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 15), st.sampled_from(sorted(METHODS)))
def test_resized_images_have_the_bits_of_torchvision(width, height, size, margin, interpolation):
    image, method = noise(width, height), METHODS[interpolation]
    squashed = transforms.Resize((size, size), method)(image)
    assert np.array_equal(Resize(size, 0, interpolation)(image), np.asarray(squashed))
    if max(width, height) <= 8 * min(width, height):
        cut = transforms.CenterCrop(size)(transforms.Resize(size + margin, method)(image))
        assert np.array_equal(Resize(size, size + margin, interpolation)(image), np.asarray(cut))


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1)])
def test_the_centre_of_a_panorama_is_cut_out_without_enlarging_all_of_it(shape):
    image = Image.new("RGB", shape, RED)
    image.putpixel((shape[0] // 2, shape[1] // 2), BLUE)
    square = Resize(8, 10)(image)
    assert square.shape == (8, 8, 3)
    assert square[..., 2].max() > 100
    assert Resize(8, 1000, "bicubic")(image).shape == (8, 8, 3)


def test_each_form_has_a_name_of_its_own_and_says_how_to_prepare_photos():
    forms = [Resize(8), Resize(8, 8), Resize(8, 9), Resize(8, 9, "bicubic"), Resize(8, 0, "bicubic"), Resize(9)]
    assert forms[0].suffix == "8px"  # the stores of earlier versions
    assert len({form.suffix for form in forms}) == len(forms)
    assert not any("-" in form.suffix for form in forms)
    assert forms[0].recipe == "resize photos to 8 x 8 px, bilinear"
    assert forms[3].recipe == "resize the shorter side of photos to 9 px, bicubic, and cut out the central 8 x 8 px"
