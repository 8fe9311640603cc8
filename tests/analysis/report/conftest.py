import numpy as np
import pytest

from analysis.report.build import build
from analysis.report.write import write
from analysis.study import StudyData
from tests.analysis.studies import factorial, known_study

HOSTILE = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="session")
def study() -> StudyData:
    """60 networks with recorded curves; half of them were stopped at the first rung, one failed with a hostile text."""
    rows = factorial().sample(60, random_state=3)
    known = known_study(rows)
    trials, history = known.trials.copy(), known.history
    stopped = trials.index[np.arange(len(trials)) % 2 == 1]
    trials.loc[stopped, ["state", "epochs", "seconds"]] = ["stopped", 3, 6.0]
    history = history[~(history["trial_id"].isin(trials.loc[stopped, "trial_id"]) & history["epoch"].gt(3))]
    trials["best_val_acc"] = trials["trial_id"].map(history.groupby("trial_id")["val_acc"].max())
    trials.loc[0, ["state", "error"]] = ["failed", HOSTILE]
    info = {"config": {"grace_period": 3, "reduction_factor": 3, "max_epochs": 9}}
    return StudyData(trials, history, info, known.parameters)


@pytest.fixture(scope="session")
def folder(study, tmp_path_factory):
    """The folder with the report and the tables of the study."""
    place = tmp_path_factory.mktemp("reports") / "a_study"
    write(build(study, place), place, csv=True)
    return place
