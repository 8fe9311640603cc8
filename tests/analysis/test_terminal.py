import os
import subprocess
import sys

import pytest

SCRIPT = r"""
from analysis.terminal import prepare_output
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
