import json

import pytest

from inat.study.study import Study
from tests.analysis.studies import factorial

HOSTILE = "<script>document.title='broken'</script>"


class GrowingStudy:
    """A study with recorded curves that a search writes trial by trial; open, so that it counts as running."""

    def __init__(self, directory, planned=40):
        self.rows = factorial().sample(planned, random_state=3)
        self.study = Study.create(directory, {"config": {"num_samples": planned, "max_epochs": 9}})

    def begin(self) -> str:
        params = self.rows.iloc[len(self.study.trials), :6].to_dict()
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in params.items()}
        return self.study.add_trial(plain).trial_id

    def train(self, trial_id: str, epochs: int = 9) -> None:
        curve = self.rows.iloc[int(trial_id[1:])][[str(epoch) for epoch in range(1, epochs + 1)]]
        for epoch, value in enumerate(map(float, curve), start=1):
            row = {"epoch": epoch, "train_loss": 1 - value, "train_acc": value, "val_loss": 1 - value, "val_acc": value}
            self.study.add_epoch(trial_id, row | {"best_val_acc": max(curve[:epoch]), "seconds": 2.0})

    def add(self, count: int = 1, state: str = "completed", error: str = "") -> list[str]:
        added = []
        for _ in range(count):
            added.append(self.begin())
            self.train(added[-1])
            self.study.end_trial(added[-1], state, error)
        self.study.write_trials()
        return added


@pytest.fixture
def folder(tmp_path):
    """Two studies: "first" has ended with a failed trial among ten; "second" runs, and has no trial yet."""
    first = GrowingStudy(tmp_path / "first", planned=10)
    first.add(9)
    (failed,) = first.add(1, "failed", HOSTILE)
    first.study.write_failure(failed, f"Traceback\n  {HOSTILE}\n")
    first.study.close()
    return tmp_path


@pytest.fixture
def second(folder):
    """The study that runs."""
    growing = GrowingStudy(folder / "second")
    yield growing
    growing.study.close()


def set_best(directory, trial_id, test):
    (directory / "best.json").write_text(json.dumps({"trial_id": trial_id, "test": {"test_acc": test, "images": 360}}))
