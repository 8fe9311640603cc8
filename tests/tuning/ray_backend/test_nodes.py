import errno
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import ray

from inat.config.trial import DataConfig
from inat.data.splits import inspect_data
from inat.errors import DataError, DiskFullError, NodeError, SearchError
from inat.study.study import Study
from inat.tuning.ray_backend import nodes
from inat.tuning.ray_backend.nodes import ClusterNodes, as_node_error, parse_node_error, why_unusable
from inat.tuning.ray_backend.slots import Node

HEAD, B, C = (Node(2, name=name, node_id=name[-1].lower() * 8) for name in ("hostA", "hostB", "hostC"))


class FakeCluster:
    """Machines that answer at once, or not yet where the answer is None; the clock is the test's."""

    def __init__(self, monkeypatch):
        self.up, self.answers, self.now, self.said, self.asked = [HEAD, B], {B.node_id: ""}, 1000.0, [], []
        monkeypatch.setattr(nodes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(nodes.time, "sleep", self.sleep)
        monkeypatch.setattr(ray, "wait", lambda refs, timeout: (refs if self.answers[refs[0]] is not None else [], []))
        monkeypatch.setattr(ray, "get", self.answer)
        self.pending: list[str] = []
        monkeypatch.setattr(ray, "cancel", lambda ref, force: self.pending.remove(ref) if force else None)
        self.machines = ClusterNodes(lambda: self.up, self.ask, HEAD.node_id, self.said.append)

    def ask(self, node_id):
        self.asked.append(node_id)
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
        self.machines.update()
        self.machines.update()  # what was asked now is heard


@pytest.fixture
def cluster(monkeypatch):
    return FakeCluster(monkeypatch)


def test_all_but_the_drivers_own_machine_are_asked(cluster):
    assert cluster.machines.wait() == [HEAD, B]
    assert cluster.asked == [B.node_id]
    assert cluster.machines.excluded() == []


def test_a_machine_without_data_gets_no_trials_and_that_is_said_once(cluster):
    cluster.answers[B.node_id] = "/data is not there"
    assert cluster.machines.wait() == [HEAD]
    assert cluster.machines.excluded() == [B.node_id]
    cluster.later(100)
    assert cluster.said == ["machine hostB takes no trials: /data is not there"]


def test_a_machine_that_was_mended_gets_trials_again(cluster):
    cluster.answers[B.node_id] = "/data is not there"
    cluster.machines.wait()
    cluster.answers[B.node_id] = ""
    cluster.later(nodes.ASK_AGAIN_SECONDS + 1)
    assert cluster.machines.excluded() == []
    assert cluster.said[-1] == "machine hostB takes trials again"


def test_no_machine_that_can_is_an_error_with_every_reason(cluster):
    cluster.up, cluster.answers = [B, C], {B.node_id: "/data is not there", C.node_id: None}
    with pytest.raises(SearchError, match=r"\(hostB: /data is not there; hostC: no answer within 90 s\)"):
        cluster.machines.wait()


def test_a_question_that_is_not_answered_is_withdrawn_before_it_is_put_again(cluster):
    cluster.answers[B.node_id] = None
    cluster.machines.wait()
    assert cluster.pending == []
    cluster.later(nodes.ASK_AGAIN_SECONDS + 1)
    assert cluster.pending == [B.node_id]
    cluster.later(nodes.ANSWER_SECONDS + 1)
    assert (cluster.asked, cluster.pending) == ([B.node_id] * 3, [B.node_id])


def test_a_machine_that_joins_gets_trials_only_once_it_has_answered(cluster):
    cluster.machines.wait()
    counts = []
    cluster.machines.keep_informed(lambda node: int(node.cpus), counts.append)
    cluster.later(5)
    cluster.up, cluster.answers[C.node_id] = [HEAD, B, C], None
    cluster.later(5)
    assert cluster.machines.excluded() == [C.node_id]
    cluster.answers[C.node_id] = ""
    cluster.later(1)
    assert cluster.machines.excluded() == []
    cluster.up = [HEAD, C]
    cluster.later(5)
    assert counts == [4, 6, 4]
    assert cluster.said == ["machine hostC has joined", "machine hostB has left; its trials go on elsewhere"]


def test_a_machine_is_excluded_from_the_moment_it_joins(cluster):
    cluster.machines.wait()
    cluster.up, cluster.answers[C.node_id] = [HEAD, B, C], None
    assert cluster.machines.excluded() == [C.node_id]


def test_a_machine_that_cannot_be_asked_gets_no_trials(cluster):
    cluster.answers[B.node_id] = ray.exceptions.RaySystemError("No module named 'inat'")
    assert cluster.machines.wait() == [HEAD]
    assert cluster.said == ["machine hostB takes no trials: System error: No module named 'inat'"]


def test_a_trial_that_says_what_its_machine_lacks_is_believed_until_the_machine_answers(cluster, tmp_path):
    cluster.machines.wait()
    error = tmp_path / "error.txt"
    error.write_text(f"Failure # 1 (at)\nx\ninat.errors.NodeError: OSError: read-only [node {B.node_id}]\n")
    trial = SimpleNamespace(error_file=str(error))
    cluster.answers[B.node_id] = "cannot be written"
    cluster.machines.on_trial_recover(0, [], trial)
    assert cluster.machines.excluded() == [B.node_id]
    assert cluster.said == ["machine hostB takes no trials: OSError: read-only"]
    cluster.answers[B.node_id] = ""
    cluster.later(nodes.ASK_AGAIN_SECONDS + 1)
    assert cluster.machines.excluded() == []


HERE, THERE = "a1", "b2"


@pytest.fixture
def question(image_tree, tmp_path):
    data = DataConfig(data=str(image_tree()), image_size=32, cache_dir=str(tmp_path / "cache"))
    study = Study.create(tmp_path / "study", {"config": {}})
    study.close()
    text = (study.directory / "study.json").read_text()
    return [study.directory, text, asdict(data), inspect_data(data).fingerprint]


def test_a_machine_with_the_study_and_the_photos_is_fit_and_nothing_is_left_behind(question):
    assert why_unusable(*question) == ""
    assert list((question[0] / "checkpoints").iterdir()) == []


def test_no_photos(question, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert why_unusable(*question).startswith(f"{tmp_path / 'photos'} does not exist; pass --data FOLDER")


def test_other_photos(question, tmp_path):
    next((tmp_path / "photos" / "train" / "bird").iterdir()).unlink()
    assert why_unusable(*question) == f"the photos in {tmp_path / 'photos'} are not those of the study"


@pytest.mark.parametrize("there", [None, '{"another": "study"}'])
def test_a_folder_that_is_not_shared(question, there):
    path = question[0] / "study.json"
    path.unlink() if there is None else path.write_text(there)
    assert "--storage-path must be a folder that all machines share" in why_unusable(*question)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EROFS, "Read-only file system"), (errno.ENOSPC, ""), (errno.EACCES, "Permission denied")],
)
def test_a_folder_that_cannot_be_written_is_the_machines_and_a_full_disk_is_not(question, monkeypatch, number, reason):
    def touch(path):
        raise OSError(number, "Read-only file system" if number == errno.EROFS else "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.touch", touch)
    assert why_unusable(*question).endswith(reason)
    assert bool(why_unusable(*question)) == bool(reason)


@pytest.mark.parametrize("error", [DataError("no photos"), OSError(errno.EROFS, "Read-only file system")])
def test_what_only_this_machine_can_lack_is_its_fault(error):
    with pytest.raises(NodeError) as told:
        with as_node_error(THERE, HERE):
            raise error
    node, reason = parse_node_error(f"Traceback\ninat.errors.NodeError: {told.value}\n")
    assert node == THERE
    assert str(error) in reason


@pytest.mark.parametrize(
    ("error", "node"),
    [(DataError("no photos"), HERE), (DiskFullError("full"), THERE), (ValueError("bug"), THERE), (SystemExit(), THERE)],
)
def test_everything_else_is_not(error, node):
    with pytest.raises(type(error)) as raised:
        with as_node_error(node, HERE):
            raise error
    assert raised.value is error


def test_a_failure_of_another_kind_accuses_nobody():
    assert parse_node_error("ValueError: NodeError") is None
