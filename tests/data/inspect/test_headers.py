import os

import numpy as np
from PIL import Image

from inat.data.inspect.headers import Header, read_header, read_headers, upright_sizes


def test_a_header_has_size_format_and_mode(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "grey.png")
    assert read_header(tmp_path / "grey.png") == Header(30, 20, "PNG", "L")


def test_what_is_no_image_has_no_header(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    os.mkfifo(tmp_path / "pipe.jpg")
    names = ["text.jpg", "pipe.jpg", "missing.jpg"]
    assert read_headers([tmp_path / name for name in names]) == [None, None, None]


def test_headers_are_in_the_order_of_the_paths(tmp_path):
    for width in range(1, 41):
        Image.new("RGB", (width, 2)).save(tmp_path / f"{width}.png")
    headers = read_headers([tmp_path / f"{width}.png" for width in range(1, 41)])
    assert [header.width for header in headers if header] == list(range(1, 41))


def test_a_photo_stored_on_its_side_counts_as_it_is_seen():
    headers = [Header(300, 200, "JPEG", "RGB"), Header(300, 200, "JPEG", "RGB"), None]
    aspects = np.array([1.5, 200 / 300, 0], np.float32)
    assert upright_sizes(headers, aspects).tolist() == [[300, 200], [200, 300], [0, 0]]
