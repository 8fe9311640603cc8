import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from analysis.terminal import PlainConsole

SCRIPT = r"""
from analysis.terminal import PlainConsole, prepare_output
prepare_output()
print("V\u00f6gel \u65e5 \udcff")
"""


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", "Vögel 日 ".encode() + b"\xff\n"), ("ascii", rb"V\xf6gel \u65e5 " + b"\xff\n")],
)
def test_any_text_can_be_printed_in_any_encoding(encoding, printed):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout == printed


def test_a_table_that_is_too_wide_keeps_its_cells():
    table = Table("name", "time", box=None)
    table.add_row("a" * 70, "21 min 29 s")
    output = io.StringIO()
    PlainConsole(file=output, width=60).print_whole(table)
    assert f"{'a' * 70} " in output.getvalue()
    assert "21 min 29 s" in output.getvalue()
    narrow = Table("name", box=None)
    narrow.add_row("b")
    PlainConsole(file=output, width=60).print_whole(narrow)
    assert output.getvalue().endswith(" b    \n")
