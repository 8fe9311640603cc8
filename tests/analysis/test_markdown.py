import csv
import io

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from analysis.escaping import unescape_csv_cell
from analysis.markdown import csv_text, markdown_table


@given(st.lists(st.text(st.sampled_from("=+-@'\";,\n\r\tab1. \x1b"), min_size=1), min_size=1, max_size=5))
def test_a_table_as_csv_holds_no_formula_and_gives_its_texts_back(names):
    table = pd.DataFrame({"name": pd.Series(names, dtype=object), "lr": [-0.5] * len(names)})
    header, *rows = csv.reader(io.StringIO(csv_text(table), newline=""))
    assert header == ["name", "lr"]
    assert [unescape_csv_cell(name) for name, _ in rows] == names
    assert {number for _, number in rows} == {"-0.5"}


def test_names_of_columns_and_categories_are_escaped_too():
    table = pd.DataFrame({"=1+1": pd.Categorical(["@a", "b"]), "n": pd.array([1, None], dtype="Int64")})
    assert csv_text(table) == "'=1+1,n\n'@a,1\nb,\n"


def test_names_of_columns_cannot_break_a_markdown_table():
    assert "a \\| b" in markdown_table(pd.DataFrame({"a | b": [1]}))
