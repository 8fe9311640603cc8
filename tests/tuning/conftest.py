from pathlib import Path

import pytest

from inat.results import Study

SPACE = {"x": (0.0, 1.0)}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study", {"config": {}})


def run_epochs(study: Study, trial_id: str, values: list[float], **last) -> None:
    """Report ``values`` as the trial's epochs 1, 2, ...; ``last`` goes into the last row."""
    for epoch, value in enumerate(values, start=1):
        extra = last if epoch == len(values) else {}
        study.add_epoch(trial_id, {"epoch": epoch, "best_val_acc": value} | extra)
