from dataclasses import replace

import numpy as np
import pandas as pd

from inat.data.inspect import facts


def test_copies_count_sets_splits_and_classes(found):
    assert facts.copies(found).startswith("4 photos in 2 sets; 1 set across splits (1 photo left out), 1 in two")
    assert facts.conflicts(found) == 1


def test_without_copies_it_says_why(found):
    none = replace(found, copies=found.copies.iloc[:0])
    assert facts.copies(none) == "none found"
    assert "--keep-duplicates" in facts.copies(replace(none, config=replace(found.config, keep_duplicates=True)))


def test_brightness_counts_nearly_black_and_white(found):
    values = np.full(len(found.names), 0.5, np.float32)
    values[:3], values[3:5] = 0.01, 0.99
    assert facts.brightness(replace(found, brightness=values)).endswith("3 nearly black, 2 nearly white")


def test_sizes_name_the_range_and_the_share_of_small_photos(found):
    sizes = np.array([[100, 50], [200, 80], [40, 20]])
    text = facts.sizes(replace(found, sizes=sizes))
    assert text == "median 100 x 50 px, from 40 to 200 wide and 20 to 80 high; 33% smaller than 32 px"


def test_the_store_is_as_large_as_its_files(found, tmp_path):
    plain, augmented = facts.store_sizes(found)
    on_disk = sum(file.stat().st_size for file in (tmp_path / "cache").glob("*-32px/*.npy"))
    assert abs(plain - on_disk) < 5000
    assert augmented > 3 * plain


def test_warnings_name_what_to_look_at(found):
    texts = "\n".join(facts.warnings(found))
    assert "1 set of copies is in two classes" in texts
    assert "the smallest, fish" in texts
    assert "1 photo is nearly black or white" in texts
    assert "smaller than 32 px" in texts


def test_groups_are_counted(found):
    grouped = found.splits.assign(group=["a", "b", *[""] * (len(found.splits) - 2)])
    assert facts.groups(replace(found, splits=grouped)).startswith("2 groups of 1 to 1 photo, none")
    assert facts.groups(found) == ""


def test_skipped_files_have_a_reason_and_an_example(found):
    table = pd.DataFrame({"path": [f"{i}.mp4" for i in range(8)], "reason": list("abbcdefg")})
    text = facts.skipped(replace(found, skipped=table))
    assert text.startswith("b (2), such as 1.mp4; ")
    assert text.endswith("; other reasons (2)")
