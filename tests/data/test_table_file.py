import pandas as pd
import pytest

from inat.data.table_file import as_texts, read_table
from inat.errors import DataError


def read(path, content: str | bytes) -> pd.DataFrame:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, ("path",))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_of_excel_is_read_in_each_encoding(tmp_path, encoding):
    frame = read(tmp_path / "t.csv", "path;label\n0.jpg;Bär\n".encode(encoding))
    assert frame.to_dict("list") == {"path": ["0.jpg"], "label": ["Bär"]}


def test_another_encoding_is_named(tmp_path):
    with pytest.raises(DataError, match=r"t.csv is no text in UTF-8 \(.*\); save it as CSV in UTF-8"):
        read(tmp_path / "t.csv", "path,label\n0.jpg,Bär\n".encode("latin-1"))


def test_commas_at_the_ends_of_lines_are_no_cells(tmp_path):
    frame = read(tmp_path / "t.csv", "path,label\n0.jpg,bird,\n1.jpg,fish, ,\n2.jpg\n\n")
    assert frame.to_dict("list") == {"path": ["0.jpg", "1.jpg", "2.jpg"], "label": ["bird", "fish", ""]}


def test_a_cell_too_many_is_refused_with_its_line(tmp_path):
    with pytest.raises(DataError, match=r"has 3 cells in line 3 and 2 columns; put a text that contains ',' into doub"):
        read(tmp_path / "t.csv", "path,label\n0.jpg,bird\n1.jpg,wolf, grey\n")


def test_a_known_column_tells_the_separator(tmp_path):
    frame = read(tmp_path / "t.csv", "path|label\n0.jpg|a, b, c\n1.jpg|d, e, f\n")
    assert frame.columns.tolist() == ["path", "label"]


def test_quotes_may_hold_line_breaks(tmp_path):
    assert read(tmp_path / "t.csv", 'path,label\n0.jpg,"a\nb"\n')["label"].tolist() == ["a\nb"]


@pytest.mark.parametrize(("line", "reason"), [("{broken", "Expecting property name"), ("3", "no braces"),
                                              ("[" * 100_000, "nested too deeply")])  # fmt: skip
def test_a_broken_json_line_is_named(tmp_path, line, reason):
    with pytest.raises(DataError, match=rf"t.jsonl has no JSON object in line 2 \({reason}"):
        read(tmp_path / "t.jsonl", '{"path": "0.jpg", "label": "a"}\n' + line)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.array([1, None], dtype="Int64"), ["1", ""]),
        (pd.array(["a", None], dtype="string"), ["a", ""]),
        (pd.array([True, None], dtype="boolean"), ["True", ""]),
        (pd.Categorical(["a", None]), ["a", ""]),
        ([1.0, None], ["1", ""]),
        (pd.to_datetime(["2026-01-02", None]), ["2026-01-02 00:00:00", ""]),
        (["nan", "None"], ["nan", "None"]),
    ],
)
def test_a_missing_value_of_each_type_of_parquet_is_empty(tmp_path, values, texts):
    pd.DataFrame({"label": values}).to_parquet(tmp_path / "t.parquet")
    assert as_texts(read_table(tmp_path / "t.parquet", ())["label"], "label", tmp_path) == texts


@pytest.mark.parametrize("value", [["a", "b"], {"path": "a"}, b"a"])
def test_a_cell_of_several_values_is_refused(tmp_path, value):
    pd.DataFrame({"label": [value, value]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"as label, which is no single value; each image needs one label"):
        as_texts(read_table(tmp_path / "t.parquet", ())["label"], "label", tmp_path)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_text_that_no_file_can_have_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"as group, which contains no proper text; correct it"):
        as_texts(pd.Series([text], dtype=object), "group", tmp_path)
