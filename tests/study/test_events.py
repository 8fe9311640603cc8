import json
import math
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inat.config.objective import ACCURACY
from inat.errors import StudyError
from inat.study.events import UnfitEventError, check_event
from inat.study.journal import UNFIT, Journal
from inat.study.study import JOURNALED, Study, history_table, trials_table
from inat.study.trial import _SHORT_FORMS

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
        TRIAL | {"epoch_cost": "2"},
        TRIAL | {"epoch_cost": 0},
        TRIAL | {"epoch_cost": math.nan},
        TRIAL | {"epoch_cost": 1e6},
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


numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 2**63, -(2**63)]))
values = st.one_of(
    st.none(), st.booleans(), numbers, st.sampled_from(["gelu", "residual", "=1", "", "\x00", [1], [], {}, {"a": [1]}])
)
names = st.sampled_from([*_SHORT_FORMS, "depth", "trial_id", "best_val_acc", ""])
columns = st.sampled_from([*JOURNALED, "another"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(params=st.dictionaries(names, values, max_size=4), row=st.dictionaries(columns, values, max_size=4))
def test_whatever_a_journal_holds_is_a_trial_or_damage(params, row):
    journal = Journal()
    events = [TRIAL | {"params": params}, EPOCH | {"row": EPOCH["row"] | row}, END]
    with suppress(*UNFIT):
        for event in events:
            journal.apply(json.loads(json.dumps(event)))
    trials_table(journal)
    history_table(journal)
    for trial in journal.trials.values():
        assert isinstance(trial.name, str)
        assert isinstance(trial.seconds, float | int)


@pytest.mark.parametrize("value", [[1], {}, float("nan"), float("inf"), 10**400])
def test_hyperparameters_are_primitive_and_finite(value):
    with pytest.raises(UnfitEventError, match="x is"):
        check_event(TRIAL | {"params": {"x": value}}, ACCURACY)


@pytest.mark.parametrize(
    ("name", "value"),
    [("best_val_acc", float("inf")), ("best_val_acc", 10**400), ("seconds", 10**400), ("val_acc", "x"),
     ("val_loss", [1]), ("finished", {"a": 1}), ("note", 5), ("micro_batch", "x"), ("trainable_parameters", 10**400),
     ("epoch", 0), ("epoch", -5), ("seconds", None)],
)  # fmt: skip
def test_values_of_epochs_that_no_search_measures_are_damage(name, value):
    with pytest.raises(UnfitEventError):
        check_event(EPOCH | {"row": EPOCH["row"] | {name: value}}, ACCURACY)


def test_a_diverged_epoch_is_no_damage():
    check_event(
        EPOCH | {"row": {"epoch": 1, "best_val_acc": 0.1, "train_loss": math.inf, "val_loss": math.nan}}, ACCURACY
    )
    check_event(EPOCH | {"row": {"epoch": 1, "best_val_acc": math.nan, "finished": "diverged", "note": None}}, ACCURACY)
