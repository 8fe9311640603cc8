import io
from dataclasses import replace

import pandas as pd
import pytest

from analysis.terminal import PlainConsole
from inat.data.inspect.search_time import SearchTime
from inat.data.inspect.text import class_table, describe, rough_duration, shown_rows


def printed(parts) -> str:
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=200)
    for part in parts:
        console.print(part)
    return stream.getvalue()


def test_the_text_has_all_facts_in_some_25_lines(found):
    text = printed(describe(found, "photos", SearchTime(7200, 480, 2, "2 cores", "small")))
    assert len(text.splitlines()) <= 25
    labels = ("data", "splits", "constant", "sizes", "shapes", "files", "brightness", "copies", "not used", "store",
              "search")  # fmt: skip
    for label in labels:
        assert any(line.startswith(f"{label} ") for line in text.splitlines()), label
    assert (
        "about 2 h for 480 trials on 2 cores, a rough guess from a few training steps of a middle-sized network of the "
        "space small; add --plan to the command below" in text
    )


def test_the_photos_of_the_first_line_are_those_of_the_classes(found):
    usable = found.usable.copy()
    usable[0] = False
    text = printed(describe(replace(found, usable=usable), "photos", None))
    assert f"photos: {len(usable) - 1} photos (and 1 unreadable), 2 classes" in text
    assert f"photos: {len(usable)} photos, 2 classes" in printed(describe(found, "photos", None))


def test_many_classes_are_cut_in_the_middle():
    counts = pd.DataFrame({"train": range(300, 100, -1)}, index=[f"class {i}" for i in range(200)])
    text = printed([class_table(counts)])
    assert len(text.splitlines()) == 13
    assert "class 0 " in text
    assert "... and 189 more" in text
    assert "class 199 " in text


def test_few_classes_are_all_shown():
    assert list(shown_rows(12)) == list(range(12))


def test_a_name_is_text(found):
    counts = pd.DataFrame({"train": [2, 1]}, index=["[red]\x1b[31m", "b"])
    assert "[red]\\x1b[31m" in printed([class_table(counts)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42, "42 s"), (130, "2 min"), (7300, "2 h"), (900_000, "10 days"), (123_456_789, "1,400 days")],
)
def test_a_duration_claims_no_more_than_is_known(seconds, text):
    assert rough_duration(seconds) == text


def test_notes_about_the_folder_are_printed(found):
    text = printed(describe(replace(found, notes=("no photos are used of extra",)), "photos", None))
    assert "note        no photos are used of extra\n" in text
