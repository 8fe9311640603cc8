import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.report.page import render
from inat.data.inspect import examples
from inat.data.inspect.examples import contrasting, copy_gallery, example_gallery, extreme_gallery
from inat.data.inspect.page import make_page
from inat.data.inspect.search_time import SearchTime


class Images(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))


def test_the_page_is_one_file_whose_pictures_have_words(found):
    html = render(
        make_page(found, "photos", "python tune_scratch.py --data photos", SearchTime(7200, 480, 2, "2 cores"))
    )
    page = Images(html)
    assert len(page.images) > 20
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") and image["alt"] for image in page.images)
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html)
    assert not page.tags & {"iframe", "object", "link"}
    assert "default-src 'none'" in html
    assert "Next: python tune_scratch.py --data photos" in html


def test_hostile_names_are_text(found):
    evil = "<img src=x onerror=alert(1)>\u202e"
    hostile = replace(
        found, classes=(evil, "fish"), names=[f"{evil}{name}" for name in found.names],
        splits=found.splits.assign(**{"class": found.splits["class"].replace("bird", evil), "group": evil}),
        copies=found.copies.assign(**{"class": evil}), skipped=found.skipped.assign(path=evil), problem=evil,
    )  # fmt: skip
    html = render(make_page(hostile, evil, evil, None))
    assert "\u202e" not in html
    assert not any("onerror" in image for image in Images(html).images)


def test_examples_are_of_each_class_and_spread_over_its_files(found):
    gallery = example_gallery(found)
    assert gallery is not None
    assert [caption for caption, _ in gallery.rows] == ["bird: 36 photos", "fish: 22 photos"]
    assert all(len(pictures) == 10 for _, pictures in gallery.rows)
    assert len({picture.alt for picture in gallery.rows[0][1]}) == 10


def test_examples_of_many_classes_stay_below_the_limit(found, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    count = 2000
    many = replace(
        found, classes=tuple(f"class {i}" for i in range(200)), labels=np.arange(count) % 200,
        usable=np.ones(count, bool), names=[f"{i}.jpg" for i in range(count)], image=lambda row: noise,
    )  # fmt: skip
    monkeypatch.setattr(examples, "EXAMPLE_BYTES", 300_000)
    gallery = example_gallery(many)
    assert gallery is not None
    size = sum(len(picture.content) for _, pictures in gallery.rows for picture in pictures)
    assert size < 310_000
    assert gallery.narrow
    lengths = {len(pictures) for _, pictures in gallery.rows}
    assert max(lengths) - min(lengths) <= 1


def test_copies_stand_side_by_side_with_their_classes(found):
    gallery = copy_gallery(found)
    assert gallery is not None
    captions = [caption for caption, _ in gallery.rows]
    assert captions[0].startswith("same file, bird and fish: ")
    assert captions[1] == "same file, bird: left out and test; train/bird/copy_of_val.jpg and val/bird/0.jpg"
    first, second = (np.asarray(Image.open(io.BytesIO(p.content))).astype(int) for p in gallery.rows[0][1])
    assert np.abs(first - second).max() <= 2


def test_the_copy_in_another_class_is_shown_beside_the_first():
    table = pd.DataFrame({"class": ["a", "a", "b"], "split": ["train", "test", "train"]})
    assert contrasting(table) == 2
    assert contrasting(table.iloc[:2]) == 1
    assert contrasting(table.assign(**{"class": "a"})) == 1


def test_the_brightest_photo_is_the_white_one(found):
    gallery = extreme_gallery(found)
    assert gallery is not None
    darkest, brightest = gallery.rows
    assert brightest[1][0].alt.endswith("white.png")
    assert len(darkest[1]) == 8


@pytest.mark.parametrize("lost", ["copies", "skipped"])
def test_nothing_found_is_said(found, lost):
    page = make_page(replace(found, **{lost: getattr(found, lost).iloc[:0]}), "photos", "", None)
    texts = [item for section in page.sections for item in section.items if isinstance(item, str)]
    assert {"copies": "Copies: none found.", "skipped": "Every file is used."}[lost] in texts


def test_no_readable_photo_at_all_makes_a_page(found):
    none = replace(
        found, usable=np.zeros_like(found.usable), splits=found.splits.iloc[:0], copies=found.copies.iloc[:0],
        copy_rows=(), sizes=np.zeros_like(found.sizes), split=np.full(len(found.names), ""), problem="all broken",
    )  # fmt: skip
    assert "No photo could be read." in render(make_page(none, "photos", "", None))
