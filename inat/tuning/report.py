"""A study's report, written where a command has added to the study."""

import shlex
from pathlib import Path


def write_report(directory: Path) -> str:
    """Write the report, and say where it is or why there is none: it must not cost the user what has been done."""
    from analysis.report.build import build  # loads scikit-learn and plotly, which the search itself does without
    from analysis.report.write import write
    from analysis.study import load_study

    command = shlex.join(["python", "-m", "analysis", "report", str(directory)])
    try:
        page = write(build(load_study(directory), directory), directory)[0]
    except Exception as error:
        return f"report  not written ({type(error).__name__}: {error}); try again with: {command}"
    return f"report  {page}"
