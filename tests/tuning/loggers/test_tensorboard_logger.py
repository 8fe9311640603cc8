import struct
import time

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from inat.study.study import Study
from inat.tuning.loggers.tensorboard_logger import TensorboardLogger
from tests.helpers import run_epochs


def records(path) -> list[bytes]:
    """The records of an event file: length, checksum, data, checksum."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(content[12 : 12 + length])
        content = content[16 + length :]
    return found


def test_one_run_a_trial_with_the_names_of_the_history(study):
    with TensorboardLogger(study) as tracker:
        for number in range(2):
            trial = study.add_trial({"activation": "relu", "dropout": 0.1 * number})
            for epoch in (1, 2):
                row = {"epoch": epoch, "best_val_acc": 0.5, "val_acc": 0.5, "train_loss": 1.0, "note": "said"}
                study.add_epoch(trial.trial_id, row)
                tracker(trial)
            study.end_trial(trial.trial_id, "completed")
            tracker(trial)
    assert tracker.error is None
    runs = sorted((study.directory / "tensorboard").iterdir())
    assert [run.name for run in runs] == ["t0000-relu-d0", "t0001-relu-d0.1"]
    for run in runs:
        (events,) = run.iterdir()
        for name in (b"val_acc", b"train_loss", b"best_val_acc"):
            assert sum(name in record for record in records(events)) >= 2
        assert not any(b"finished" in record or b"note" in record for record in records(events))


def test_a_trial_that_ends_without_an_epoch_writes_nothing(study):
    with TensorboardLogger(study) as tracker:
        trial = study.add_trial({"activation": "relu"})
        study.end_trial(trial.trial_id, "failed", "boom")
        tracker(trial)
        other = study.add_trial({"activation": "mish"})
        run_epochs(study, other.trial_id, [0.5])
        tracker(other)  # left running: closed with the tracker
    assert tracker.error is None
    assert [run.name for run in (study.directory / "tensorboard").iterdir()] == ["t0001-mish"]


def test_the_value_of_a_hyperparameter_cannot_lead_out_of_the_folder(study):
    with TensorboardLogger(study) as tracker:
        trial = study.add_trial({"x": "../../../outside/" + "a" * 300})
        run_epochs(study, trial.trial_id, [0.5])
        tracker(trial)
    assert tracker.error is None
    (run,) = (study.directory / "tensorboard").iterdir()
    assert run.name.startswith("t0000-x=.._.._.._outside_aaa")


def hparams_of(run) -> dict[str, list[HParamsPluginData]]:
    """What the tab HPARAMS reads from all event files of a run, by its tag, in order."""
    found: dict[str, list[HParamsPluginData]] = {}
    for path in sorted(run.iterdir()):
        values = [value for record in records(path) for value in Event.FromString(record).summary.value]
        for value in values:
            if value.metadata.plugin_data.plugin_name == "hparams":
                content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                found.setdefault(value.tag.removeprefix("_hparams_/"), []).append(content)
    return found


def test_the_tab_hparams_has_one_row_per_trial_with_its_parameters_also_after_a_resume(tmp_path):
    space = {"strategy": ["freeze_all", "freeze_partial"], "k_layers": [1, 2], "learning_rate": {"low": 0.1},
             "batch_norm": [True, False]}  # fmt: skip
    study = Study.create(tmp_path / "study", {"config": {}, "space": space})
    params = {"strategy": "freeze_all", "k_layers": 2, "learning_rate": 0.5, "batch_norm": False}
    good, bad = study.add_trial(params), study.add_trial(params | {"strategy": "freeze_partial"})
    for last in (False, True):  # interrupted after the first epoch of each
        time.sleep(1.1 * last)  # tensorboardX names a file by the second
        with TensorboardLogger(study) as tracker:
            for trial, state in ((good, "completed"), (bad, "failed")):
                epoch = trial.epochs + 1
                study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.5, "val_acc": 0.4, "val_loss": 1.0})
                tracker(trial)
                if last:
                    study.end_trial(trial.trial_id, state)
                    tracker(trial)
        assert tracker.error is None
    first, second = (hparams_of(run) for run in sorted((study.directory / "tensorboard").iterdir()))
    for run, status in ((first, 1), (second, 2)):
        experiments = [content.experiment for content in run["experiment"]]
        assert {info.name for info in experiments[0].hparam_infos} == space.keys()
        assert [info.name.tag for info in experiments[0].metric_infos] == ["best_val_acc", "val_acc", "val_loss"]
        assert [content.session_end_info.status for content in run["session_end_info"]] == [status]
        starts = [content.session_start_info for content in run["session_start_info"]]
        assert starts == [starts[0]] * 2
    started = first["session_start_info"][0].session_start_info.hparams
    assert started.keys() == {"strategy", "learning_rate", "batch_norm"}  # k_layers has no effect
    assert (started["strategy"].string_value, started["learning_rate"].number_value) == ("freeze_all", 0.5)
    assert started["batch_norm"].WhichOneof("kind") == "bool_value"
    assert second["session_start_info"][0].session_start_info.hparams["k_layers"].number_value == 2
