import pytest

from analysis.readers.tables import read_table


def table(tmp_path, content: str | bytes, **options):
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    read_errors = []
    return read_table(path, "table.csv", read_errors, **options), read_errors


def test_the_index_is_the_line_number(tmp_path):
    found, read_errors = table(tmp_path, "a,b\n1,x\n\n2,y\n")
    assert found.to_dict("index") == {2: {"a": 1, "b": "x"}, 4: {"a": 2, "b": "y"}}
    assert read_errors == []


def test_floats_are_read_exactly(tmp_path):
    values = [0.1 + 0.2, 1e-4, 5.551115123125783e-17, 123456789.12345679]
    found, _ = table(tmp_path, "a\n" + "".join(f"{value!r}\n" for value in values))
    assert found["a"].tolist() == values


def test_none_and_na_are_categories_unless_the_column_is_numeric(tmp_path):
    found, read_errors = table(tmp_path, "a,b\nNone,nan\nNA,0.5\nnull,\n", numeric=("b",))
    assert found["a"].tolist() == ["None", "NA", "null"]
    assert found["b"].isna().tolist() == [True, False, True]
    assert read_errors == []


def test_windows_line_ends_a_byte_order_mark_and_invalid_utf8(tmp_path):
    found, read_errors = table(tmp_path, b"\xef\xbb\xbfa,b\r\n1,\xff\r\n2,y\rz\r\n")
    assert list(found) == ["a", "b"]
    assert found["a"].tolist() == [1, 2]
    assert found["b"].tolist() == ["\ufffd", "y\rz"]
    assert read_errors == []


def test_line_ends_inside_quotes(tmp_path):
    found, read_errors = table(tmp_path, 'a,b\n1,"two\nlines, one field"\n2,"say ""no"""\n')
    assert found["b"].tolist() == ["two\nlines, one field", 'say "no"']
    assert read_errors == []


def test_an_empty_file_and_a_half_written_header(tmp_path):
    assert table(tmp_path, "")[0].empty
    found, read_errors = table(tmp_path, "trial_id,na")
    assert found.empty
    assert read_errors == [("table.csv line 1", "half-written: trial_id,na")]


def test_a_table_with_too_many_columns_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"{','.join(f'c{i}' for i in range(20_000))}\n{','.join('1' * 20_000)}\n")
    with pytest.raises(ValueError, match=r"t.csv has 20,000 columns, more than the allowed 10,000; pass another file"):
        read_table(path, "t.csv", [])


def test_a_long_text_in_quotes_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f'a,b\n"{"x" * 200_000}",1\n')
    assert len(read_table(path, "t.csv", [])["a"].iloc[0]) == 200_000
