"""The section about the study itself: its recorded information, and what could not be read."""

import pandas as pd

from analysis.readers.frames import flatten
from analysis.report.document import Section, Table
from analysis.study import StudyData


def study_record_section(study: StudyData) -> Section:
    """The rows and files that could not be read, and the content of study.json."""
    rows = [(name.replace("/", "."), str(value)) for name, value in flatten(study.info).items()]
    record = Table("study", "Recorded information", pd.DataFrame(rows, columns=["name", "value"]), folded=True)
    count = f"{len(study.read_errors)} rows or files are left out of this report."
    errors = Table("broken", "Rows and files that could not be read", study.read_errors, count)
    return Section("record", "Study record", [errors if len(study.read_errors) else "All files could be read.", record])
