import pytest

from analysis.report.build import build
from analysis.report.write import write
from analysis.study import StudyData
from tests.analysis.studies import early_stopped_study

HOSTILE = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="session")
def study() -> StudyData:
    """60 networks with recorded curves; half of them were stopped at the first rung, one failed with a hostile text."""
    study = early_stopped_study()
    study.trials.loc[0, ["state", "error"]] = ["failed", HOSTILE]
    return study


@pytest.fixture(scope="session")
def folder(study, tmp_path_factory):
    """The folder with the report and the tables of the study."""
    place = tmp_path_factory.mktemp("reports") / "a_study"
    write(build(study, place), place, csv=True)
    return place
