import threading

import pytest

from inat.files import atomic_write, csv_lines


def test_readers_never_meet_a_half_written_table(tmp_path):
    path = tmp_path / "table"
    atomic_write(path, "0" * 100_000)
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(100):
        atomic_write(path, str(i % 10) * 100_000)
    done.set()
    reader.join()
    assert all(len(text) == 100_000 and len(set(text)) == 1 for text in seen)
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_a_failing_write_leaves_the_old_text_and_no_litter(tmp_path):
    path = tmp_path / "table"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "new \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_rows_become_csv_with_quotes_where_needed():
    text = csv_lines([{"a": 'x,"y"', "b": None, "other": 1}, {"a": 2}], ["a", "b"], header=True)
    assert text == 'a,b\n"x,""y""",\n2,\n'
