import pickle
from types import SimpleNamespace

import pytest

from inat.tuning import placement
from inat.tuning.placement import FitMachines, StirWhoIdles


def test_trials_share_processes_whatever_is_excluded_and_are_placed_on_the_others(monkeypatch):
    placed = []
    monkeypatch.setattr(
        placement, "placement_group", lambda bundles, **how: placed.append(how["bundle_label_selector"])
    )
    excluded = []
    first, second = (FitMachines({"CPU": 1, "GPU": 0}, lambda: excluded) for _ in range(2))
    first.to_placement_group()
    excluded += ["b" * 8, "c" * 8]
    second.to_placement_group()
    assert placed == [None, [{"ray.io/node-id": f"!in({'b' * 8},{'c' * 8})"}]]
    assert first == second
    assert hash(first) == hash(second)


class Head:
    """What Ray's head says of the places that were asked for, and which machines are told to report; its clock."""

    def __init__(self, monkeypatch):
        self.now, self.states, self.stirred = 100.0, {}, []
        monkeypatch.setattr(placement.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(
            placement, "placement_group_table", lambda: {g: {"state": s} for g, s in self.states.items()}
        )
        self.callback = StirWhoIdles(lambda: ["a", "b"], self.stirred.append)

    def asked_for(self, name):
        self.states[name] = "PENDING"
        self.callback.wants(SimpleNamespace(id=SimpleNamespace(hex=lambda: name)))

    def later(self, seconds):
        self.now += seconds
        self.callback.on_step_begin(0, [])


@pytest.fixture
def head(monkeypatch):
    return Head(monkeypatch)


def test_machines_report_again_and_again_while_a_trial_waits_for_a_place(head):
    head.asked_for("g1")
    head.later(1)
    assert head.stirred == []
    head.later(2)
    assert head.stirred == ["a", "b"]
    head.later(1)
    assert head.stirred == ["a", "b"]
    head.later(2)
    assert head.stirred == ["a", "b"] * 2


def test_nobody_is_stirred_where_all_trials_have_their_places(head):
    head.later(60)
    for name, state in (("g1", "CREATED"), ("g2", "REMOVED")):
        head.asked_for(name)
        head.states[name] = state
    head.asked_for("forgotten")
    del head.states["forgotten"]
    head.later(60)
    assert head.stirred == []


def test_a_snapshot_of_tune_knows_no_machines():
    needs = FitMachines({"CPU": 1}, lambda: ["b"], lambda group: None)
    assert pickle.loads(pickle.dumps(needs)) == needs
    assert pickle.loads(pickle.dumps(StirWhoIdles(list, list)))
