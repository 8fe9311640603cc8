import re

import pandas as pd
import pytest
from PIL import Image

from analysis.report.build import build
from analysis.report.document import Gallery, Headline, Report, Section, Table
from analysis.report.page import render
from analysis.report.sections.data import (
    class_counts,
    class_items,
    copies_gallery,
    copy_items,
    data_section,
    describe_constant,
    group_items,
    skipped_items,
)
from analysis.report.write import write
from analysis.study import load_study
from tests.analysis.studies import early_stopped_study, write_study_dir

EVIL = "<script>alert(1)</script>[x](http://h)\u202e"


@pytest.fixture
def splits():
    rows = [("a", "train")] * 6 + [("a", "val")] * 2 + [("a", "test")] * 3 + [("b", "train")] * 2 + [("b", "test")]
    table = pd.DataFrame(rows, columns=["class", "split"])
    return table.assign(path=[f"{i}.jpg" for i in range(len(rows))], group="")


@pytest.fixture
def study(tmp_path):
    """A study directory whose records have hostile names."""
    directory = write_study_dir(early_stopped_study(20), tmp_path / "study")
    data = directory / "data"
    data.mkdir()
    rows = "".join(
        f"{i}.jpg,{EVIL},{split},g{i}\n" for i, split in enumerate(["train"] * 5 + ["test", EVIL, "left out"])
    )
    (data / "splits.csv").write_text(f"path,class,split,group\n{rows}z.jpg,b,train,\n")
    (data / "skipped.csv").write_text(f"path,reason\n{EVIL},{EVIL}\n{'x' * 100_000},long\n")
    (data / "duplicates.csv").write_text(f"set,kind,path,class,split\n1,{EVIL},1.jpg,{EVIL},train\n1,a,2.jpg,b,test\n")
    Image.new("RGB", (200, 100), "red").save(data / "duplicates.jpg")
    return directory


def test_classes_are_counted_per_split_the_largest_first(splits):
    counts = class_counts(splits.iloc[::-1])
    assert counts.index.tolist() == ["a", "b"]
    assert counts.to_dict("list") == {"train": [6, 2], "val": [2, 0], "test": [3, 1]}


def test_the_constant_answer_is_the_largest_training_class_on_the_test_split(splits):
    assert describe_constant(class_counts(splits)) == "Always answering a scores 0.75 on the test photos."


def test_of_equal_training_classes_the_first_one_is_the_constant_answer():
    rows = [("z", "train"), ("a", "train"), ("a", "test"), ("a", "test"), ("z", "test")]
    counts = class_counts(pd.DataFrame(rows, columns=["class", "split"]))
    assert describe_constant(counts, ["z", "a"]) == "Always answering z scores 0.33 on the test photos."
    assert describe_constant(counts) == "Always answering a scores 0.67 on the test photos."


def test_the_names_below_the_picture_are_of_two_classes_if_a_set_has_them():
    rows = [("1", "a.jpg", "ant"), ("1", "b.jpg", "ant"), ("1", "c.jpg", "bee"), ("2", f"{'d' * 100}1.jpg", "ant"),
            ("2", "e.jpg", "ant")]  # fmt: skip
    rows += [(str(number), f"{number}.jpg", "ant") for number in range(3, 40) for _ in range(2)]
    copies = pd.DataFrame(rows, columns=["set", "path", "class"])
    ((caption, _),) = copies_gallery(Image.new("RGB", (9, 9)), copies).rows
    assert caption.startswith(f"1. a.jpg (ant) and c.jpg (bee); 2. …{'d' * 54}1.jpg and e.jpg; 3. 3.jpg")
    assert caption.count(";") == 11


def test_no_image_has_no_classes(splits):
    assert class_items(splits.iloc[:0]) == []


def test_groups_on_two_sides_are_counted(splits):
    assert group_items(splits) == []
    splits["group"] = ["g"] * 6 + ["h"] * 2 + ["g"] * 3 + ["i"] * 3
    (text,) = group_items(splits)
    assert text == "The photos belong to 3 groups (2 in train, 1 in val, 2 in test); 2 groups are on two sides."
    splits["group"] = ["g"] * 6 + [""] * (len(splits) - 6)
    splits.loc[len(splits) - 1, "split"] = "left out"  # not counted, as a search does not
    (text,) = group_items(splits)
    assert text == (
        "The photos belong to 1 group (1 in train); none is on two sides; 7 photos match no group and count alone."
    )


def test_copies_in_two_classes_and_splits_are_named():
    copies = pd.DataFrame(
        [("1", "same file", "a.jpg", "a", "train"), ("1", "same file", "b.jpg", "b", "train"),
         ("2", "near copy", "c.jpg", "a", "left out"), ("2", "near copy", "d.jpg", "a", "test"),
         ("3", "near copy", "e.jpg", "a", "train"), ("3", "near copy", "f.jpg", "a", "test")],
        columns=["set", "kind", "path", "class", "split"],
    )  # fmt: skip
    text, table = copy_items(copies)
    assert "6 photos are copies of each other, in 3 sets (4 near copy, 2 same file)" in text
    assert "1 of them is left out" in text
    assert "1 set has photos in two splits" in text
    assert "1 set has photos in two classes" in text
    assert isinstance(table, Table)
    assert table.folded


def test_skipped_files_are_counted_by_reason():
    skipped = pd.DataFrame({"path": ["a", "b", "c"], "reason": ["video", "text", "text"]})
    text, reasons, _ = skipped_items(skipped)
    assert text == "3 files are not used: text (2); video (1)."
    many = pd.DataFrame({"path": list("abcdefg"), "reason": list("tuvwxyz")})
    assert skipped_items(many)[0] == "7 files are not used: t (1); u (1); v (1); w (1); x (1); other reasons (2)."
    assert reasons.frame.to_dict("records")[0] == {"reason": "text", "files": 2, "example": "b"}


def test_a_study_without_records_has_no_section(tmp_path):
    assert data_section(tmp_path) == []


def test_the_report_of_a_strangers_study_has_the_section_and_stays_harmless(study):
    files = write(build(load_study(study), study), study)
    html, summary = (study / "report.html").read_text(), (study / "summary.md").read_text()
    assert '<section id="images">' in html
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))  # the page's script finds its data by an id
    assert "<script>alert" not in html
    assert "\u202e" not in html + summary
    assert "x" * 1000 not in html
    assert "<script>" not in summary
    assert "](http://" not in summary
    assert "## Data" in summary
    assert "(figures/copies.jpg)" in summary
    with Image.open(study / "figures" / "copies.jpg") as picture:
        assert picture.size == (200, 100)
    assert study / "figures" / "copies.jpg" in files


def test_what_cannot_be_read_is_said(study):
    (study / "data" / "duplicates.jpg").write_bytes(b"no image")
    (section,) = data_section(study)
    assert any("Not shown: data/duplicates.jpg cannot be read" in str(item) for item in section.items)
    assert not any(isinstance(item, Gallery) for item in section.items)


def test_the_page_of_a_hundred_thousand_copies_is_small():
    copies = pd.DataFrame({"set": [str(i // 2) for i in range(100_000)], "kind": "near copy", "path": "p" * 500,
                           "class": "a", "split": "train"})  # fmt: skip
    html = render(Report(Headline("x", "", {}, [], []), [Section("data", "Data", copy_items(copies))]))
    assert "100,000 photos are copies of each other, in 50,000 sets" in html
    assert "the first 2,000 of 100,000 rows" in html
    assert len(html) < 500_000
