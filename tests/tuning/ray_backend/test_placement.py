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
    """States of the placement groups at Ray's head, the nodes that were made to report, and the clock."""

    def __init__(self, monkeypatch):
        self.now, self.states, self.refreshed = 100.0, {}, []
        monkeypatch.setattr(placement.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(
            placement, "placement_group_table", lambda: {name: {"state": state} for name, state in self.states.items()}
        )
        self.callback = ResourceRefresh(lambda: ["a", "b"], self.refreshed.append)

    def request(self, name):
        self.states[name] = "PENDING"
        self.callback.on_request(SimpleNamespace(id=SimpleNamespace(hex=lambda: name)))

    def later(self, seconds):
        """Let seconds pass; returns how many times the nodes were made to report."""
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
def test_nodes_report_less_and_less_often_while_a_trial_waits(head, state):
    head.request("g1")
    head.states["g1"] = state
    assert head.later(2) == 0
    assert head.later(1) == 1
    assert head.later(5) == 0
    assert head.later(1) == 1
    head.later(120)
    assert head.later(600) == 10


def test_a_trial_that_begins_to_wait_makes_nodes_report_soon_even_if_another_waits_for_long(head):
    head.request("g1")
    head.later(300)
    head.request("g2")
    assert head.later(3) == 1
    head.states["g2"] = "CREATED"
    assert head.later(60) >= 1


def test_no_node_reports_if_all_trials_are_placed(head):
    assert head.later(60) == 0
    for name, state in (("g1", "CREATED"), ("g2", "REMOVED")):
        head.request(name)
        head.states[name] = state
    head.request("forgotten")
    del head.states["forgotten"]
    assert head.later(60) == 0


def test_a_snapshot_of_tune_holds_no_functions():
    needs = UsableNodes({"CPU": 1}, lambda: ["b"], lambda group: None)
    assert pickle.loads(pickle.dumps(needs)) == needs
    assert pickle.loads(pickle.dumps(ResourceRefresh(list, list)))
