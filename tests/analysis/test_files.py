import json
import os
from pathlib import Path

import pytest

from analysis.files import MAX_JSON_BYTES, check_regular, is_inside, parse_json, read_bytes, read_json


def test_a_file_is_read(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    assert read_json(tmp_path / "a.json", inside=tmp_path) == [1]


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(OSError, match="not a regular file"):
        read_json(tmp_path / "a.json")


def test_a_device_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(Path("/dev/zero"))
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "missing")


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(10 << 30)  # sparse: takes no space
    with pytest.raises(OSError, match=f"larger than the allowed {MAX_JSON_BYTES:,} bytes"):
        read_json(tmp_path / "a.json")


def test_a_link_may_lead_to_a_file_of_its_folder_only(tmp_path):
    folder, outside = tmp_path / "study", tmp_path / "outside"
    folder.mkdir()
    for path in (outside, folder / "own"):
        path.write_text("1")
    (folder / "in").symlink_to("own")
    (folder / "out").symlink_to(outside)
    assert read_json(folder / "in", inside=folder) == 1
    with pytest.raises(OSError, match="a link that leads out of its folder"):
        check_regular(folder / "out", inside=folder)
    check_regular(folder / "out")  # a path that the user named may be a link to anywhere


def test_a_folder_that_is_itself_reached_by_a_link_is_inside(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "a").touch()
    assert is_inside(tmp_path / "link" / "a", tmp_path / "link")
    assert not is_inside(tmp_path / "realistic", tmp_path / "real")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "{", b"\xff"], ids=["list", "object", "int", "cut", "bytes"]
)
def test_a_text_that_is_no_usable_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)


def test_other_json_is_parsed():
    assert parse_json(json.dumps({"a": [1, None]})) == {"a": [1, None]}
