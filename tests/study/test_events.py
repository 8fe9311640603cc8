import json

import pytest

from inat.config.objective import ACCURACY
from inat.errors import StudyError
from inat.study.events import check_event
from inat.study.study import Study

TRIAL = {"event": "trial", "trial_id": "t0000", "number": 0, "params": {"x": 1}, "created": "2026-01-01T00:00:00+00:00"}
EPOCH = {"event": "epoch", "trial_id": "t0000", "node": "", "row": {"epoch": 1, "best_val_acc": 0.5}}
END = {"event": "end", "trial_id": "t0000", "state": "completed", "error": ""}

RETRY = {"event": "retry", "trial_id": "t0000", "attempt": 2, "created": "2026-01-02T00:00:00+00:00"}


@pytest.mark.parametrize("event", [TRIAL, EPOCH, END, RETRY])
def test_the_events_of_a_search_are_accepted(event):
    check_event(event, ACCURACY)


@pytest.mark.parametrize(
    "event",
    [
        TRIAL | {"trial_id": "../../../home"},
        TRIAL | {"trial_id": "t0000/../x"},
        TRIAL | {"trial_id": 3},
        TRIAL | {"params": [1]},
        TRIAL | {"number": "0"},
        TRIAL | {"created": None},
        TRIAL | {"event": "other"},
        EPOCH | {"row": {"epoch": 1.5, "best_val_acc": 0.5}},
        EPOCH | {"row": {"epoch": 1, "best_val_acc": "0.5"}},
        EPOCH | {"row": {}},
        EPOCH | {"node": 1},
        END | {"error": ["a"]},
    ],
    ids=str,
)
def test_another_event_is_damage_and_reaches_no_path_or_sum(tmp_path, event):
    study = Study.create(tmp_path / "study", {"config": {}})
    study.close()
    lines = [TRIAL, event] if event["event"] in ("epoch", "end") else [event]
    (study.directory / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(StudyError, match=rf"journal.jsonl is damaged: line {len(lines)} does not fit"):
        Study.open(study.directory)


def test_a_line_nested_too_deeply_is_damage(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    study.close()
    (study.directory / "journal.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(StudyError, match="journal.jsonl is damaged at line 1"):
        Study.open(study.directory)
