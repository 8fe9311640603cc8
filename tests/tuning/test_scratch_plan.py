import sys
from dataclasses import replace

import pytest

from inat import tune_scratch
from inat.config.search import SearchConfig
from inat.data.splits import assignment, load_splits
from inat.errors import ConfigError, DataError, StudyError
from inat.study.study import Study
from inat.tuning import scratch_plan, search
from inat.tuning.network_timing import NetworkSpeed
from inat.tuning.progress import progress_of
from inat.tuning.task import check_task
from tests.conftest import write_image


@pytest.fixture
def measured(monkeypatch):
    asked = []

    def measure_speeds(configs, num_classes, seconds):
        asked.extend(configs)
        return [NetworkSpeed(0.001 * (number + 1), 0.0, 1.0) for number in range(len(configs))]

    monkeypatch.setattr(scratch_plan, "measure_speeds", measure_speeds)
    monkeypatch.setattr(scratch_plan, "DRAWS", 20)
    return asked


def cost_of(config: SearchConfig) -> scratch_plan.SearchCost:
    task = check_task(config)
    return scratch_plan.estimate_cost(task, task.load(), progress_of(task))


def test_the_timed_configurations_are_the_same_each_time_and_rise_in_size(measured):
    config = SearchConfig(data="digits", num_samples=12)
    cost = cost_of(config)
    sizes = [each.size.operations for each in cost.timed]
    assert sizes == sorted(sizes)
    first = list(measured)
    cost_of(config)
    assert measured[len(first) :] == first


def test_networks_are_timed_in_the_arithmetic_that_was_measured_for_them(measured, monkeypatch):
    def settle(trial, record):
        assert record is None
        return replace(trial, precision="bf16-mixed")

    monkeypatch.setattr(scratch_plan, "settle_precision", settle)
    cost_of(SearchConfig(data="digits", num_samples=12))
    assert {config.precision for config in measured} == {"bf16-mixed"}


def test_the_time_is_that_of_all_epochs_over_the_slots(measured):
    cost = cost_of(SearchConfig(data="digits", num_samples=12, max_epochs=9, max_concurrent=1))
    assert (cost.trials, cost.epochs, cost.train, cost.val, cost.slots.count) == (
        12,
        108,
        1149,
        288,
        1,
    )  # 360 more are held out
    mean_epoch = 0.004 * 1149  # the median of 0.001 ... 0.007 per image
    assert cost.seconds(108) == pytest.approx(12 * 1.0 + 108 * mean_epoch)
    assert 12 * 3 < cost.expected_epochs < 108


def test_a_grid_has_its_own_number_of_trials(measured, tmp_path):
    space = tmp_path / "space.py"
    space.write_text(
        "def space():\n"
        "    return dict(first_layer_filters=[8, 16], filter_org=1, conv_layers=2, activation='relu', dropout=0.2,\n"
        "                batch_norm=True, batch_size=64, learning_rate=0.01, num_neurons_dense=32)\n".replace(
            "[8, 16]", "__import__('ray').tune.choice([8, 16])"
        )
    )
    cost = cost_of(SearchConfig(data="digits", searcher="grid", num_samples=None, space=str(space)))
    assert cost.trials == 2


def test_folds_and_repeats_multiply_the_epochs_and_change_the_split(measured):
    config = SearchConfig(data="digits", num_samples=12, folds=3, repeats=2, max_concurrent=1)
    cost = cost_of(config)
    assert (cost.trainings, cost.epochs, cost.train, cost.val) == (6, 12 * 27 * 6, 958, 479)
    text = scratch_plan.describe_epochs(config, cost)
    assert text.startswith("12 trials of up to 27 epochs x 3 folds x 2 repeats: 1,944 epochs, about ")
    assert text.endswith("with ASHA, which compares trials at epochs 3 and 9 and at the end of each training")
    assert cost.seconds(cost.epochs) == pytest.approx(12 * 6 * 1.0 + cost.epochs * 0.004 * 958)
    once = cost_of(SearchConfig(data="digits", num_samples=12, max_concurrent=1))
    assert once.expected_epochs < cost.expected_epochs < 6 * once.expected_epochs


def test_without_rungs_there_is_one_time(measured):
    config = SearchConfig(data="digits", num_samples=2, max_epochs=3)
    cost = cost_of(config)
    assert scratch_plan.describe_epochs(config, cost).endswith("6 epochs; ASHA stops no trial before epoch 3")
    assert " if every trial reaches epoch 3\n" in scratch_plan.describe_time(config, cost)


def test_checkpoints_take_the_disk_of_the_largest_network(measured):
    config = SearchConfig(data="digits", num_samples=3, max_concurrent=1)
    cost = cost_of(config)
    text = scratch_plan.describe_disk(config, load_splits(config.data_config()), cost)
    largest = cost.most_parameters * 4
    assert text.startswith("up to ")
    # best.ckpt, last.ckpt or end.ckpt of each: a trial with a step schedule could train longer.
    assert f"{largest * (3 * (1 + 3) + 1 + 4) / 1e6:.1f} MB" in text


def test_a_slot_that_does_not_fit_is_refused(measured):
    with pytest.raises(ConfigError, match="lower --cpus-per-trial"):
        cost_of(SearchConfig(data="digits", num_samples=3, cpus_per_trial=1000))


@pytest.fixture
def photos(tmp_path):
    """A folder without splits; one photo has a copy in the same class."""
    for index, name in enumerate(("owl", "wren")):
        for number in range(20):
            write_image(tmp_path / "photos" / name / f"{number}.png", 100 * index + number)
    first = tmp_path / "photos" / "owl" / "0.png"
    (first.parent / "again.png").write_bytes(first.read_bytes())
    return {"data": str(tmp_path / "photos"), "image_size": 16, "cache_dir": tmp_path / "cache", "num_samples": 2,
            "max_epochs": 3, "max_concurrent": 1, "storage_path": tmp_path / "results"}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"folds": 3}, {"folds": 3, "repeats": 2}, {"keep_duplicates": True}])
def test_the_photos_are_counted_in_the_splits_of_the_search(measured, photos, capsys, tmp_path, changes):
    config = SearchConfig(**photos | changes)
    scratch_plan.print_scratch_plan(config)
    splits = load_splits(config.data_config())
    line = f"images  {len(splits.train)} train, {len(splits.val)} validation, {len(splits.test)} held-out test"
    assert line in capsys.readouterr().out
    cost = cost_of(config)
    assert (cost.train, cost.val) == (len(splits.train), len(splits.val))
    assert cost.train + cost.val + len(splits.test) == 41
    assert len(splits.test) >= 8
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("changes", [{"folds": 19}, {"group_by": "[a-z]+"}, {"metric": "top2"}])
def test_a_plan_is_refused_in_the_words_of_the_search(photos, tmp_path, changes):
    config = SearchConfig(**photos | changes)
    with pytest.raises((ConfigError, DataError)) as refused:
        search.open_study(config)
    with pytest.raises(type(refused.value)) as planned:
        scratch_plan.print_scratch_plan(config)
    assert str(planned.value) == str(refused.value)


def test_the_disk_has_the_decoded_photos_once(measured, photos):
    config = SearchConfig(**photos)
    data = config.data_config()
    text = scratch_plan.describe_disk(config, load_splits(data), cost_of(config))
    decoded = 41 * 3 * (data.image_size**2 + data.crop_size**2)
    assert len(assignment(data).listing.names) == 41
    assert f"; {decoded / 1000:.1f} kB of decoded photos are in {config.cache_dir}" in text


def test_a_plan_of_a_study_is_of_what_is_left(measured, tmp_path, capsys):
    settings = {"data": "digits", "num_samples": 12, "max_epochs": 9, "max_concurrent": 1}
    study, _ = search.open_study(SearchConfig(**settings, storage_path=tmp_path, name="study"))
    for state in ("completed", "stopped", "failed"):
        study.end_trial(study.add_trial({"x": 1}).trial_id, state)
    study.add_trial({"x": 1})  # unfinished
    resumed = SearchConfig(**settings, resume=study.directory)
    cost = cost_of(resumed)  # while the study is open
    assert (cost.trials, cost.epochs) == (9, 81)
    assert cost.expected_epochs < cost_of(SearchConfig(**settings)).expected_epochs
    text = scratch_plan.describe_epochs(resumed, cost)
    assert text.startswith("9 of 12 trials are left, of up to 9 epochs: 81 epochs, about ")
    assert cost_of(SearchConfig(**settings, resume=study.directory, retry_failed=True)).trials == 10
    for _ in range(9):
        study.end_trial(study.add_trial({"x": 1}).trial_id, "completed")
    measured.clear()
    scratch_plan.print_scratch_plan(resumed)
    assert "search  all 12 trials have ended, so nothing is left to run" in capsys.readouterr().out
    assert measured == []
    study.close()


@pytest.mark.parametrize(("metric", "value"), [("accuracy", 0.9), ("val_loss", 0.2)])
def test_a_plan_of_a_study_that_has_reached_its_target_has_nothing_left(measured, tmp_path, capsys, metric, value):
    settings = {"data": "digits", "num_samples": 12, "metric": metric, "folds": 2}
    study, _ = search.open_study(SearchConfig(**settings, storage_path=tmp_path, name="study"))
    trial_id = study.add_trial({"x": 1}).trial_id
    column = study.objective.best_column
    rows = ({column: value, "fold": fold, "fold_best": value, "folds_done": fold} for fold in (1, 2))
    for epoch, row in enumerate(rows, start=1):
        study.add_epoch(trial_id, {"epoch": epoch, **row}, node="")
    study.end_trial(trial_id, "completed")
    study.close()
    resumed = SearchConfig(**settings, resume=study.directory, target=value)
    scratch_plan.print_scratch_plan(resumed)
    words = f"search  t0000 reached the target {study.objective.short} of {value}, so nothing is left to run; --target"
    assert words in " ".join(capsys.readouterr().out.split()).replace("search t0", "search  t0")
    assert measured == []
    missed = value + 0.05 if metric == "accuracy" else value - 0.05
    assert cost_of(SearchConfig(**settings, resume=study.directory, target=missed)).trials == 11


def test_a_plan_names_the_options_that_it_does_not_count(measured, capsys, monkeypatch):
    monkeypatch.setattr("inat.training.compiling.check_compiler", lambda: None)
    settings = {"data": "digits", "num_samples": 12}
    scratch_plan.print_scratch_plan(SearchConfig(**settings))
    assert not {"limits", "compile"} & set(capsys.readouterr().out.split())
    scratch_plan.print_scratch_plan(SearchConfig(**settings, compile=True, target=0.9, time_budget="2h"))
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "limits the search may end earlier, with --time-budget 2h: it stops after that time and --target 0.9: " in text
    )
    assert "compile not in the estimate: --compile takes about half a minute more for each network" in text


def test_a_plan_of_a_study_with_other_photos_is_refused(photos, tmp_path):
    study, _ = search.open_study(SearchConfig(**photos, name="study"))
    study.close()
    write_image(tmp_path / "photos" / "owl" / "new.png", 999)
    with pytest.raises(StudyError, match="photos have changed since"):
        scratch_plan.print_scratch_plan(SearchConfig(**photos, resume=study.directory))
    Study.open(study.directory).close()


@pytest.mark.slow
def test_plan_prints_the_plan_and_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scratch_plan, "SECONDS", 2.0)
    monkeypatch.setattr(sys, "argv", ["tune_scratch.py", "--data", "digits", "--num-samples", "48", "--plan"])
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.chdir(tmp_path)
    tune_scratch.main()
    printed = capsys.readouterr().out
    assert "…" not in printed  # no number of the table is cut off, however narrow the terminal
    assert "48 trials of up to 27 epochs: 1,296 epochs, about 380 with ASHA" in printed
    assert "at epochs 3 and 9" in printed
    assert all(word in printed for word in ("cheap", "median", "expensive", "time ", "disk "))
    assert not list(tmp_path.iterdir())
