import subprocess
import sys

import pytest

import analysis


def test_load_study_is_exported_and_pandas_is_loaded_on_first_use():
    code = (
        "import sys, analysis; assert 'pandas' not in sys.modules; from analysis import StudyData, load_study; "
        "assert 'pandas' in sys.modules; print(load_study.__module__, StudyData.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "analysis.study analysis.study\n"


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="module 'analysis' has no attribute 'nothing'"):
        analysis.nothing  # noqa: B018
