"""The section about the study itself: its recorded information, and what could not be read."""

import pandas as pd

from analysis.readers.frames import flatten
from analysis.report.document import Section, Table
from analysis.study import StudyData

# A report is shown to others: where its files are on this machine helps nobody, nor do the digests of its settings.
LEFT_OUT = ("config.storage_path", "config.cache_dir", "config.weights_dir", "digests.")


def study_record_section(study: StudyData) -> Section:
    """The rows and files that could not be read, and the content of study.json without LEFT_OUT."""
    named = {name.replace("/", "."): str(value) for name, value in flatten(study.info).items()}
    rows = [(name, value) for name, value in named.items() if not name.startswith(LEFT_OUT)]
    record = Table("study", "Recorded information", pd.DataFrame(rows, columns=["name", "value"]), folded=True)
    count = f"{len(study.read_errors)} rows or files are left out of this report."
    errors = Table("broken", "Rows and files that could not be read", study.read_errors, count)
    return Section("record", "Study record", [errors if len(study.read_errors) else "All files could be read.", record])
