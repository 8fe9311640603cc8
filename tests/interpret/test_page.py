import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from inat.errors import DataError
from inat.interpret.images import Picture
from inat.interpret.page import Section, embedded, render, write_page

HOSTILE = '"><script>alert(1)</script>\x1b[31m'


@pytest.fixture
def noise(tmp_path):
    """A picture that no format makes small."""
    path = tmp_path / "below" / "a b.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)).save(path)
    return path


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_the_page_holds_each_picture_with_its_words_and_a_link_to_its_file(noise, tmp_path):
    picture = Picture(noise, "Three photos", "Photos in a row.")
    page = render([Section("Predictions", "What they are.", [picture])], tmp_path, "My model", "2 classes", "inat x")
    (source,) = re.findall(r'<img src="([^"]+)" width="300" height="200" alt="Photos in a row.">', page)
    assert decoded(source).size == (300, 200)
    assert '<a href="below/a%20b.png">below/a b.png</a>: Three photos' in page
    for text in (
        "<title>My model</title>",
        "What they are.",
        "2 classes",
        "<code>inat x</code>",
        "prefers-color-scheme",
    ):
        assert text in page
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)


def test_names_of_strangers_stay_text(noise, tmp_path):
    picture = Picture(noise, HOSTILE, HOSTILE)
    page = render([Section("s", HOSTILE, [picture, picture])], tmp_path, HOSTILE, HOSTILE, HOSTILE)
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") >= 7


def test_pictures_shrink_until_they_fit(noise):
    (whole,) = embedded([noise])
    (small,) = embedded([noise], max_bytes=20_000)
    assert len(whole.uri) > 20_000 >= len(small.uri)
    assert (small.width, small.height) == (300, 200)  # of the file, so that the page does not change its layout
    width, height = decoded(small.uri).size
    assert width < 300
    assert width / height == pytest.approx(1.5, rel=0.05)


def test_drawings_are_embedded_without_loss(tmp_path):
    Image.new("RGB", (400, 300), "white").save(tmp_path / "x.png")
    (drawing,) = embedded([tmp_path / "x.png"])
    assert drawing.uri.startswith("data:image/png;")


def test_a_page_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*index.html \(Not a directory\); choose another --output"):
        write_page([], tmp_path / "file" / "index.html", "t", "s", "c")
