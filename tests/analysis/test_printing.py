"""What a terminal shows: claims and names as they are, and no messages of libraries."""

import subprocess
import sys

import pandas as pd

from analysis.escaping import escape_markdown
from analysis.printing import show


def test_a_terminal_shows_claims_without_escapes_of_markdown(capsys):
    show({"Claims": pd.DataFrame({"claim": ["a=True < a=False", "<b>*x*|y\x1b[31m"], "effect": [0.5, -0.5]})}, None)
    text = capsys.readouterr().out
    assert "a=True < a=False" in text
    assert "<b>*x*|y\\x1b[31m" in text
    assert "&lt;" not in text


def test_only_what_could_begin_a_tag_is_escaped_in_markdown():
    assert escape_markdown("a < b") == "a < b"
    for text in ("<b>", "</b>", "<!-- x", "<?php"):
        assert escape_markdown(text).startswith("&lt;")


def test_a_notebook_shows_no_warning_about_progress_bars():
    code = "import warnings, analysis.study; warnings.warn('IProgress not found. Please update jupyter', UserWarning)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
