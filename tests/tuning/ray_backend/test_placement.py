import pickle
from types import SimpleNamespace

import pytest

from inat.tuning.ray_backend import placement
from inat.tuning.ray_backend.placement import ResourceRefresh, UsableNodes


def test_trials_share_processes_whatever_is_excluded_and_are_placed_on_the_others(monkeypatch):
    placed = []
    monkeypatch.setattr(
        placement, "placement_group", lambda bundles, **how: placed.append(how["bundle_label_selector"])
    )
    excluded = []
    first, second = (UsableNodes({"CPU": 1, "GPU": 0}, lambda: excluded) for _ in range(2))
    first.to_placement_group()
    excluded += ["b" * 8, "c" * 8]
    second.to_placement_group()
    assert placed == [None, [{"ray.io/node-id": f"!in({'b' * 8},{'c' * 8})"}]]
    assert first == second
    assert hash(first) == hash(second)


class Head:
    """What Ray's head says of the placement groups, and which machines are told to report; its clock."""

    def __init__(self, monkeypatch):
        self.now, self.states, self.refreshed = 100.0, {}, []
        monkeypatch.setattr(placement.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(
            placement, "placement_group_table", lambda: {name: {"state": state} for name, state in self.states.items()}
        )
        self.callback = ResourceRefresh(lambda: ["a", "b"], self.refreshed.append)

    def asked_for(self, name):
        self.states[name] = "PENDING"
        self.callback.requested(SimpleNamespace(id=SimpleNamespace(hex=lambda: name)))

    def later(self, seconds):
        """Go through so many seconds; the number of times that the machines were told to report."""
        before = len(self.refreshed)
        for _ in range(seconds):
            self.now += 1
            self.callback.on_step_begin(0, [])
        assert self.refreshed == ["a", "b"] * (len(self.refreshed) // 2)
        return (len(self.refreshed) - before) // 2


@pytest.fixture
def head(monkeypatch):
    return Head(monkeypatch)


@pytest.mark.parametrize("state", ["PENDING", "PREPARED", "RESCHEDULING"])
def test_machines_report_while_a_trial_waits_less_and_less_often(head, state):
    head.asked_for("g1")
    head.states["g1"] = state
    assert head.later(2) == 0
    assert head.later(1) == 1
    assert head.later(5) == 0
    assert head.later(1) == 1
    head.later(120)
    assert head.later(600) == 10


def test_a_trial_that_begins_to_wait_is_helped_soon_also_where_another_waits_for_long(head):
    head.asked_for("g1")
    head.later(300)
    head.asked_for("g2")
    assert head.later(3) == 1
    head.states["g2"] = "CREATED"
    assert head.later(60) >= 1


def test_nobody_reports_where_all_trials_have_their_places(head):
    assert head.later(60) == 0
    for name, state in (("g1", "CREATED"), ("g2", "REMOVED")):
        head.asked_for(name)
        head.states[name] = state
    head.asked_for("forgotten")
    del head.states["forgotten"]
    assert head.later(60) == 0


def test_a_snapshot_of_tune_knows_no_machines():
    needs = UsableNodes({"CPU": 1}, lambda: ["b"], lambda group: None)
    assert pickle.loads(pickle.dumps(needs)) == needs
    assert pickle.loads(pickle.dumps(ResourceRefresh(list, list)))
