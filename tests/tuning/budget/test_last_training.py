import json
from dataclasses import replace

import pytest
import torch

from inat.config.search import SearchConfig
from inat.constants import BEST_CKPT, LAST_DIR, LAST_OF, TIME_PLAN
from inat.data.splits import inspect_data
from inat.errors import StudyError
from inat.study.journal import Journal
from inat.study.study import Study
from inat.tuning.best import write_best
from inat.tuning.budget import last_training as module
from inat.tuning.budget.clock import Clock, last_has_begun, last_is_left
from inat.tuning.budget.last_training import OneTraining, choose, train_last
from inat.tuning.budget.plan import make_plan
from inat.tuning.runner import RunResult
from inat.tuning.space.scratch_recipe import scratch_recipe
from tests.conftest import write_image
from tests.tuning.budget.test_plan import facts, size_cost

PLAN = make_plan(facts(cores=2), [size_cost(epoch=10.0, alone=5.0)])
CONFIG = SearchConfig(data="digits", image_size=8, max_epochs=PLAN.max_epochs, grace_period=PLAN.grace_period,
                      num_samples=PLAN.trials, gpus_per_trial=0)  # fmt: skip
ON_TRAIN = replace(CONFIG, refit="train")
SPACE = {"learning_rate": {"low": 0.0, "high": 1.0, "scale": "uniform"}, "batch_size": [32]}


@pytest.fixture
def planned(tmp_path):
    info = {TIME_PLAN: PLAN.to_json(), "config": CONFIG.to_json(), "data": {"fingerprint": "f", "classes": ["a", "b"]},
            "space": SPACE}  # fmt: skip
    study = Study.create(tmp_path / "planned", info)
    yield study
    study.close()


def add(study: Study, value: float, seconds: float, epochs: int = 2, epoch_cost: float = 1.0) -> str:
    trial = study.add_trial({"learning_rate": value, "batch_size": 32}, epoch_cost=epoch_cost)
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "best_val_acc": value * epoch / epochs, "seconds": seconds}
        study.add_epoch(trial.trial_id, row)
    study.end_trial(trial.trial_id, "completed")
    return trial.trial_id


def with_weights(study: Study, trial_id: str) -> str:
    path = study.checkpoint_dir(trial_id) / BEST_CKPT
    path.parent.mkdir(parents=True)
    torch.save({"weights": f"{study.directory.name}/{trial_id}"}, path)
    return trial_id


def test_the_best_trial_is_trained_for_the_epochs_that_fit_at_its_own_speed(planned):
    add(planned, 0.5, seconds=10.0)
    best = add(planned, 0.7, seconds=20.0)
    clock = Clock(PLAN, 2000.0)
    now = clock.last_ends - PLAN.restart_seconds - 0.001 - 1.15 * 10.0 * 40  # seconds of 40 epochs of the best trial
    chosen = choose(planned, clock, now - 1)
    assert (chosen.trial.trial_id, chosen.epochs) == (best, 40)
    assert choose(planned, clock, now - 1e6).epochs == PLAN.most_epochs


def test_a_trial_too_slow_for_a_longer_training_gives_way_to_the_next_best(planned):
    slow, fast = add(planned, 0.7, seconds=2000.0), add(planned, 0.6, seconds=10.0)
    clock = Clock(PLAN, 2000.0)
    assert choose(planned, clock, clock.search_ends).trial.trial_id == fast != slow
    assert choose(planned, clock, clock.last_ends - 10) is None


def test_a_costly_trial_needs_no_more_epochs_than_it_had_in_the_search(planned):
    costly = add(planned, 0.7, seconds=20.0, epoch_cost=2.0)
    clock = Clock(PLAN, 2000.0)
    epochs = PLAN.max_epochs // 2 + 1
    now = clock.last_ends - PLAN.restart_seconds - 0.001 - 1.15 * 10.0 * epochs
    assert choose(planned, clock, now).trial.trial_id == costly
    assert choose(planned, clock, now).epochs == epochs < PLAN.max_epochs


def test_a_cheap_trial_can_be_trained_for_as_long_as_the_recipe(planned):
    cheap = add(planned, 0.9, seconds=4.0, epoch_cost=0.4)
    chosen = choose(planned, Clock(PLAN, 3000.0), 0.0)
    assert chosen.trial.trial_id == cheap
    assert chosen.epochs == 150 > PLAN.most_epochs  # 60 / 0.4


def test_a_single_configuration_is_handed_out_and_continued(study):
    source = OneTraining(study, {"x": 1}, seed=7)
    first = source.suggest(source.next_trial_id())
    assert first == {"trial_id": "t0000", "x": 1, "seed": 7, "known_epochs": 0, "threshold": None, "length": {}}
    assert study.trials["t0000"].params == {"x": 1}  # the seed is none of the hyperparameters
    study.add_epoch("t0000", {"epoch": 1, "best_val_acc": 0.5})
    again = OneTraining(study, {"x": 1}, seed=7).requeue_unfinished()
    assert again.suggest(again.next_trial_id())["known_epochs"] == 1
    assert len(study.trials) == 1


@pytest.fixture
def runs(monkeypatch):
    """Instead of Ray: each run trains the given epochs; fewer than the option says are an interruption."""
    done: list[dict] = []
    script: list[tuple[int, bool]] = []

    def run_trials(spec, limits, **_):
        epochs, interrupted = script.pop(0)
        settings = spec.source.suggest(spec.source.next_trial_id())
        done.append(settings | {"options": spec.config})
        before = spec.study.trials[settings["trial_id"]].epochs
        for epoch in range(before + 1, before + epochs + 1):
            spec.study.add_epoch(settings["trial_id"], {"epoch": epoch, "best_val_acc": 0.8, "seconds": 1.0})
        if before == 0:
            with_weights(spec.study, settings["trial_id"])
        if not interrupted and not limits.stop_all():
            spec.study.end_trial(settings["trial_id"], "completed")
        return RunResult(interrupted, 1.0, None)

    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    monkeypatch.setattr(module, "run_trials", run_trials)
    return done, script


def test_the_last_training_is_a_study_of_its_own_and_survives_an_interruption(planned, runs):
    done, script = runs
    best = with_weights(planned, add(planned, 0.7, seconds=10.0))
    clock, lines = Clock(PLAN, module.time.monotonic() + PLAN.seconds), []
    script += [(3, True), (4, False)]
    assert not train_last(CONFIG, planned, clock, print_line=lines.append)
    assert lines[0].startswith(f"last    {best} again for ")
    epochs = done[0]["options"].max_epochs
    assert epochs >= PLAN.max_epochs
    write_best(planned)
    assert weights_in(planned) == f"planned/{best}"  # it has not ended
    assert train_last(CONFIG, planned, clock)
    assert [run["known_epochs"] for run in done] == [0, 3]
    options = done[1]["options"]
    assert (options.max_epochs, options.grace_period, options.max_concurrent) == (epochs, epochs, 1)
    assert options.cpus_per_trial == 2
    assert train_last(CONFIG, planned, clock)  # it has ended: nothing is trained again
    assert len(done) == 2
    assert len(planned.trials) == 1
    assert Study.open(planned.directory / LAST_DIR).close() is None


def test_the_recipe_is_that_for_the_epochs_that_fit(planned, runs):
    done, script = runs
    best = with_weights(planned, add(planned, 0.7, seconds=10.0))
    planned.info["recipe_params"] = planned.trials[best].params
    clock = Clock(PLAN, module.time.monotonic() + PLAN.end_seconds + PLAN.restart_seconds + 45 * 1.15 * 5.0)
    chosen = choose(planned, clock, module.time.monotonic())
    assert PLAN.max_epochs < chosen.epochs < PLAN.most_epochs
    script += [(3, False)]
    assert train_last(ON_TRAIN, planned, clock)
    images = inspect_data(CONFIG.data_config()).training
    expected = scratch_recipe(image_size=8, images=images, classes=10, epochs=chosen.epochs)
    assert {name: done[0].get(name) for name in expected} == expected


def weights_in(study: Study) -> str:
    return torch.load(study.directory / BEST_CKPT, weights_only=True)["weights"]


def test_a_training_whose_time_is_over_counts_with_its_best_epoch(planned, runs):
    _, script = runs
    best = with_weights(planned, add(planned, 0.7, seconds=0.001))
    clock, lines = Clock(PLAN, module.time.monotonic() + PLAN.seconds), []
    script += [(3, True), (2, False)]
    train_last(ON_TRAIN, planned, clock)
    over = replace(clock, ends=0.0)
    assert train_last(ON_TRAIN, planned, over, print_line=lines.append)
    assert lines == ["last    stopped after 5 epochs: its time is over; its best epoch counts"]
    assert write_best(planned).trial_id == best
    written = json.loads((planned.directory / "best.json").read_text())
    assert (written["trial_id"], written["best_val_acc"], written["epochs"]) == (best, 0.8, 5)
    assert written["last_training"] is True
    assert weights_in(planned) == f"{LAST_DIR}/t0000"


def test_without_time_nothing_is_trained(planned):
    add(planned, 0.7, seconds=10.0)
    lines: list[str] = []
    assert train_last(CONFIG, planned, Clock(PLAN, 0.0), print_line=lines.append)
    assert lines == ["last    not trained: the time that is left is too short for it"]
    assert not (planned.directory / LAST_DIR).exists()


@pytest.fixture
def begun(planned):
    """What study.json and the only trial of a last training have that has begun; with these, it goes on."""
    best = with_weights(planned, add(planned, 0.7, seconds=10.0))
    info = {"config": {"max_epochs": 3}, "data": {"fingerprint": "f"}, LAST_OF: best}

    def create(params: dict | None = None, **changes) -> None:
        last = Study.create(planned.directory / LAST_DIR, info | changes)
        if params is not None:
            last.add_trial(params)
        last.close()

    return create


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {}},
        {"config": {"max_epochs": True}},
        {"data": {}},
        {"data": {"fingerprint": "of other photos"}},
        {LAST_OF: "t0099"},
        {LAST_OF: ["t0000"]},
        {"params": {"learning_rate": 0.7, "model": "net.py:build", "model_file": "/elsewhere/net.py"}},
        {"params": {"learning_rate": 0.7, "study_dir": "/elsewhere"}},
    ],
)
def test_a_damaged_last_training_is_refused_before_anything_runs(planned, runs, begun, changes):
    begun(**changes)
    with pytest.raises(StudyError, match=r"last is damaged; remove it, and --resume of its study trains it again"):
        train_last(CONFIG, planned, Clock(PLAN, 1e12))


def test_the_hyperparameters_are_those_of_the_search_whatever_the_folder_says(planned, runs, begun):
    done, script = runs
    begun()
    path = planned.directory / LAST_DIR / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"params": {"model": "net.py", "model_file": "net.py"}}))
    script += [(3, False)]
    train_last(CONFIG, planned, Clock(PLAN, module.time.monotonic() + PLAN.seconds))
    assert {name: done[0][name] for name in SPACE} == {"learning_rate": 0.7, "batch_size": 32}
    assert "model_file" not in done[0]
    assert done[0]["seed"] == CONFIG.seed
    write_best(planned)
    assert json.loads((planned.directory / "best.json").read_text())["params"].keys() == SPACE.keys()


def test_a_failed_last_training_is_named_and_trained_again(planned, runs, begun, monkeypatch):
    _, script = runs
    begun({"learning_rate": 0.7, "batch_size": 32})
    clock, lines = Clock(PLAN, module.time.monotonic() + PLAN.seconds), []

    def fail(spec, limits, **_):
        assert spec.missing == 1
        spec.study.end_trial(spec.source.suggest(spec.source.next_trial_id())["trial_id"], "failed", "ValueError: odd")
        return RunResult(False, 1.0, None)

    with monkeypatch.context() as patched:
        patched.setattr(module, "run_trials", fail)
        assert train_last(CONFIG, planned, clock, print_line=lines.append)
        assert train_last(CONFIG, planned, clock, print_line=lines.append)
    errors = planned.directory / LAST_DIR / "errors"
    assert lines == [f"last    failed: ValueError: odd; see {errors}, --resume trains it again"] * 2
    assert last_is_left(clock, planned)
    lines.clear()
    assert train_last(CONFIG, planned, replace(clock, ends=0.0), print_line=lines.append)
    assert lines == ["last    not trained: its time is over"]
    script += [(3, False)]
    assert train_last(CONFIG, planned, clock)
    assert not last_is_left(clock, planned)
    assert [trial.state for trial in Journal.read(planned.directory / LAST_DIR).ended()] == ["failed"] * 2 + [
        "completed"
    ]


def test_a_last_training_without_an_epoch_does_not_count(planned, runs, begun):
    _, script = runs
    begun({"learning_rate": 0.7, "batch_size": 32})
    script += [(0, False)]
    lines: list[str] = []
    assert train_last(CONFIG, planned, Clock(PLAN, 0.0), print_line=lines.append)
    assert lines == ["last    stopped before its first epoch: its time is over"]
    assert last_is_left(Clock(PLAN, 0.0), planned)


def test_the_best_trial_is_trained_on_the_validation_images_too(planned, runs):
    done, script = runs
    best = with_weights(planned, add(planned, 0.7, seconds=10.0))
    clock, lines = Clock(PLAN, module.time.monotonic() + PLAN.seconds), []
    script += [(3, True), (2, False)]
    assert not train_last(CONFIG, planned, clock, print_line=lines.append)
    assert "on the training and validation photos together" in lines[0]
    assert train_last(ON_TRAIN, planned, clock)  # it goes on as it began
    assert [run["train_on_val"] for run in done] == [True, True]
    assert write_best(planned).refit.epochs == 5
    written = json.loads((planned.directory / "best.json").read_text())
    assert (written["trial_id"], written["best_val_acc"], written["epochs"]) == (best, 0.7, 2)
    assert written["params"] == planned.trials[best].params
    assert weights_in(planned) == f"{LAST_DIR}/t0000"


def test_more_images_make_its_epochs_longer(planned):
    add(planned, 0.7, seconds=20.0)
    clock = Clock(PLAN, 2000.0)
    now = clock.last_ends - PLAN.restart_seconds - 0.001 - 1.15 * 10.0 * 40  # seconds of 40 epochs on training images
    assert (choose(planned, clock, now, 1.0).epochs, choose(planned, clock, now, 1.0).refit) == (40, False)
    assert (choose(planned, clock, now, 1.25).epochs, choose(planned, clock, now, 1.25).refit) == (32, True)


def test_a_trial_that_is_not_the_best_stays_comparable(planned):
    add(planned, 0.7, seconds=2000.0)  # too slow to be trained again
    second = add(planned, 0.6, seconds=10.0)
    clock = Clock(PLAN, 2000.0)
    chosen = choose(planned, clock, clock.search_ends, 1.25)
    assert (chosen.trial.trial_id, chosen.refit) == (second, False)


def test_a_refit_whose_time_is_over_counts_with_its_last_epoch(planned, runs):
    _, script = runs
    with_weights(planned, add(planned, 0.7, seconds=0.001))
    clock, lines = Clock(PLAN, module.time.monotonic() + PLAN.seconds), []
    script += [(3, True), (2, False)]
    train_last(CONFIG, planned, clock)
    assert train_last(CONFIG, planned, replace(clock, ends=0.0), print_line=lines.append)
    assert lines == ["last    stopped after 5 epochs: its time is over; its last epoch counts"]


def test_photos_of_a_cut_test_split_are_not_counted(tmp_path):
    folder = tmp_path / "photos"
    for name in ("bird", "fish"):
        (folder / name).mkdir(parents=True)
        for number in range(50):
            write_image(folder / name / f"{number}.jpg", seed=number + 100 * (name == "fish"))
    config = replace(CONFIG, data=str(folder), cache_dir=tmp_path / "cache", test_fraction=0.5)
    assert module.refit_of(config) == pytest.approx(1.25, abs=0.02)
    assert module.refit_of(replace(config, refit="train")) == 1


def test_the_best_trial_without_time_for_all_photos_is_trained_on_its_own(planned):
    best = add(planned, 0.9, seconds=20.0)
    add(planned, 0.6, seconds=10.0)
    clock = Clock(PLAN, 2000.0)
    now = clock.last_ends - PLAN.restart_seconds - 0.001 - 1.15 * 10.0 * PLAN.max_epochs
    chosen = choose(planned, clock, now, 1.25)
    assert (chosen.trial.trial_id, chosen.epochs, chosen.refit) == (best, PLAN.max_epochs, False)


def test_no_other_trial_is_trained_than_the_one_that_costs_less(planned):
    planned.info["config"] = planned.info["config"] | {"prefer_cheaper": 0.1}
    cheap, dear = add(planned, 0.68, seconds=2000.0), add(planned, 0.7, seconds=10.0)
    for trial_id, parameters in ((cheap, 10), (dear, 1000)):
        planned.trials[trial_id].history[-1]["trainable_parameters"] = parameters
    clock = Clock(PLAN, 2000.0)
    assert choose(planned, clock, clock.search_ends) is None
    assert choose(planned, clock, clock.search_ends - 1e6).trial.trial_id == cheap


def test_a_last_training_without_its_study_json_is_refused_and_kept(planned, runs):
    _, script = runs
    with_weights(planned, add(planned, 0.7, seconds=10.0))
    clock = Clock(PLAN, module.time.monotonic() + PLAN.seconds)
    script += [(3, True)]
    train_last(CONFIG, planned, clock)
    path = planned.directory / LAST_DIR / "study.json"
    path.unlink()
    assert last_has_begun(planned)
    with pytest.raises(StudyError, match=r"last/study.json is missing; restore it from a copy, or remove .*/last"):
        train_last(CONFIG, planned, clock)
    path.write_text("{")
    with pytest.raises(StudyError, match=r"or remove .*/last, and --resume of its study trains it again"):
        train_last(CONFIG, planned, clock)
    assert (path.parent / "journal.jsonl").exists()
