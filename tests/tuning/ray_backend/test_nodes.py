from types import SimpleNamespace

import pytest
import ray

from inat.config.trial import DataConfig
from inat.errors import SearchError
from inat.tuning.ray_backend import nodes
from inat.tuning.ray_backend.nodes import ClusterNodes
from inat.tuning.ray_backend.slots import Node, Slots

SLOTS = Slots(4, cpus=1, gpus=0)
HEAD, B, C = (Node(2, name=name, node_id=name[-1].lower() * 8) for name in ("hostA", "hostB", "hostC"))


class FakeCluster:
    """Nodes that answer a check at once, or not yet if the answer is None; the clock is the test's."""

    def __init__(self, monkeypatch):
        self.up, self.answers, self.now, self.lines, self.checked = [HEAD, B], {B.node_id: ""}, 1000.0, [], []
        monkeypatch.setattr(nodes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(nodes.time, "sleep", self.sleep)
        monkeypatch.setattr(ray, "wait", lambda refs, timeout: (refs if self.answers[refs[0]] is not None else [], []))
        monkeypatch.setattr(ray, "get", self.answer)
        self.pending: list[str] = []
        monkeypatch.setattr(ray, "cancel", lambda ref, force: self.pending.remove(ref) if force else None)
        self.nodes = ClusterNodes(lambda: self.up, self.start_check, HEAD.node_id, self.lines.append)

    def start_check(self, node_id):
        self.checked.append(node_id)
        self.pending.append(node_id)
        return node_id

    def answer(self, node_id):
        if isinstance(self.answers[node_id], Exception):
            raise self.answers[node_id]
        return self.answers[node_id]

    def sleep(self, seconds):
        self.now += seconds

    def later(self, seconds):
        self.now += seconds
        self.nodes.update()
        self.nodes.update()  # reads the result of a check that has just started


@pytest.fixture
def cluster(monkeypatch):
    return FakeCluster(monkeypatch)


def test_all_nodes_but_the_drivers_own_are_checked(cluster):
    assert cluster.nodes.wait_until_checked() == [HEAD, B]
    assert cluster.checked == [B.node_id]
    assert cluster.nodes.excluded_ids() == []


def test_a_node_without_data_gets_no_trials_and_one_line_says_so(cluster):
    cluster.answers[B.node_id] = "/data is not there"
    assert cluster.nodes.wait_until_checked() == [HEAD]
    assert cluster.nodes.excluded_ids() == [B.node_id]
    cluster.later(100)
    assert cluster.lines == ["node hostB takes no trials: /data is not there"]


def test_a_node_that_was_repaired_gets_trials_again(cluster):
    cluster.answers[B.node_id] = "/data is not there"
    cluster.nodes.wait_until_checked()
    cluster.answers[B.node_id] = ""
    cluster.later(nodes.CHECK_AGAIN_SECONDS + 1)
    assert cluster.nodes.excluded_ids() == []
    assert cluster.lines[-1] == "node hostB takes trials again"


def test_no_usable_node_is_an_error_with_every_reason(cluster):
    cluster.up, cluster.answers = [B, C], {B.node_id: "/data is not there", C.node_id: None}
    with pytest.raises(SearchError, match=r"\(hostB: /data is not there; hostC: no answer within 90 s\)"):
        cluster.nodes.wait_until_checked()


def test_a_check_without_an_answer_is_cancelled_before_the_next_one(cluster):
    cluster.answers[B.node_id] = None
    cluster.nodes.wait_until_checked()
    assert cluster.pending == []
    cluster.later(nodes.CHECK_AGAIN_SECONDS + 1)
    assert cluster.pending == [B.node_id]
    cluster.later(nodes.ANSWER_SECONDS + 1)
    assert (cluster.checked, cluster.pending) == ([B.node_id] * 3, [B.node_id])


def test_a_node_that_joins_gets_trials_only_after_its_check(cluster):
    cluster.nodes.wait_until_checked()
    cluster.later(5)
    counts = [cluster.nodes.capacity(SLOTS)]
    cluster.up, cluster.answers[C.node_id] = [HEAD, B, C], None
    cluster.later(5)
    assert cluster.nodes.excluded_ids() == [C.node_id]
    cluster.answers[C.node_id] = ""
    cluster.later(1)
    assert cluster.nodes.excluded_ids() == []
    counts.append(cluster.nodes.capacity(SLOTS))
    cluster.up = [HEAD, C]
    cluster.later(5)
    counts.append(cluster.nodes.capacity(SLOTS))
    assert counts == [4, 6, 4]
    assert cluster.nodes.ids_with_room(SLOTS) == [HEAD.node_id, C.node_id]
    assert cluster.nodes.ids_with_room(Slots(1, cpus=3, gpus=0)) == []
    assert cluster.lines == ["node hostC has joined", "node hostB has left; its trials go on elsewhere"]


def test_a_node_is_excluded_from_the_moment_it_joins(cluster):
    cluster.nodes.wait_until_checked()
    cluster.up, cluster.answers[C.node_id] = [HEAD, B, C], None
    assert cluster.nodes.excluded_ids() == [C.node_id]


def test_a_node_that_cannot_be_checked_gets_no_trials(cluster):
    cluster.answers[B.node_id] = ray.exceptions.RaySystemError("No module named 'inat'")
    assert cluster.nodes.wait_until_checked() == [HEAD]
    assert cluster.lines == ["node hostB takes no trials: System error: No module named 'inat'"]


def test_a_node_error_of_a_trial_excludes_the_node_until_its_next_check(cluster):
    cluster.nodes.wait_until_checked()
    trial = SimpleNamespace(last_failure=f"x\ninat.errors.NodeError: OSError: read-only [node {B.node_id}]\n")
    cluster.answers[B.node_id] = "cannot be written"
    cluster.nodes.on_trial_recover(0, [], trial)
    assert cluster.nodes.excluded_ids() == [B.node_id]
    assert cluster.lines == ["node hostB takes no trials: OSError: read-only"]
    cluster.answers[B.node_id] = ""
    cluster.later(nodes.CHECK_AGAIN_SECONDS + 1)
    assert cluster.nodes.excluded_ids() == []


@pytest.mark.parametrize(("on_gpus", "asked"), [(True, {"aaaa": True, "bbbb": False}), (False, {"bbbb": False})])
def test_the_drivers_node_is_asked_about_its_gpu_if_trials_may_run_there(study, monkeypatch, on_gpus, asked):
    study.info["data"] = {"fingerprint": ""}
    up = [Node(8, 1, "head", "aaaa"), Node(8, 0, "old", "bbbb")]
    questions = {}
    monkeypatch.setattr(nodes.session, "nodes", lambda: up)
    monkeypatch.setattr(nodes.session, "this_node_id", lambda: "aaaa")
    monkeypatch.setattr(nodes.session, "call_on_node", lambda node, why, *given: questions.update({node: given[-1]}))
    nodes.cluster_nodes_for(study, DataConfig(data="digits", image_size=8), print, on_gpus=on_gpus).update()
    assert questions == asked
