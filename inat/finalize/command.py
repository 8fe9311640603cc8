"""The steps of inat.finalize: retrain, choose, test once, export, write the files in final/."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.files import MAX_TABLE_BYTES, read_bytes
from analysis.terminal import PlainConsole
from inat.config.trial import DataConfig
from inat.config.validation import expanded
from inat.constants import (
    BEST_CKPT,
    CONFUSION_PNG,
    DIVERGED,
    FINAL_DIR,
    METRICS_JSON,
    MODEL_CARD,
    MODEL_CKPT,
    PRECISION_JSONL,
    RELIABILITY_PNG,
    RETRAINING_DIR,
    SHIPPED_CKPT,
    SHIPPING_DIR,
    TRAIN,
)
from inat.data.class_balance import class_counts
from inat.device import gpu_share
from inat.errors import Interruption, SearchError, StudyError
from inat.finalize.artifacts import write_confusion, write_reliability, write_tables
from inat.finalize.candidates import (
    Candidate,
    best_epoch,
    collect_candidates,
    find_run,
    median_run,
    rank_candidates,
    run_params,
)
from inat.finalize.checkpoints import sha256_of, write_checkpoint
from inat.finalize.ensemble import update_ensemble
from inat.finalize.evaluation_file import Evaluation
from inat.finalize.export import ONNX, PT2, export
from inat.finalize.forecast import describe_forecast
from inat.finalize.messages import (
    candidate_table,
    describe_choice,
    describe_exports,
    describe_failures,
    describe_files,
    describe_interruption,
    describe_next,
    describe_removal,
    describe_shipping,
    describe_task,
    describe_test,
    describe_which,
)
from inat.finalize.metrics import compute_scores
from inat.finalize.metrics_json import (
    choice_sections,
    describe_evaluations,
    read_metrics,
    shipped_section,
    to_json_text,
)
from inat.finalize.model_card import model_card
from inat.finalize.options import FinalizeCommand
from inat.finalize.retrain import open_runs, retrain
from inat.finalize.task import Task, plan
from inat.finalize.test_evaluation import evaluate_best_on_test
from inat.study.atomic_io import atomic_write
from inat.study.study import Study
from inat.tuning.command import write_report
from inat.tuning.own_model import copy_into, keep_copy
from inat.tuning.ray_backend.local_gpus import check_gpus_here
from inat.tuning.worker.trainable import SEED


def finalize(command: FinalizeCommand) -> None:
    """Retrain, choose, test once and write the files in final/; a second call repeats no finished step.

    Raises InatError if something is wrong; its message is one sentence with a cure. Raises Interruption after Ctrl-C
    and keeps everything done so far.
    """
    console = PlainConsole()
    study = Study.open(expanded(command.study))
    try:
        task = plan(command, study)
        check_gpus_here(task.config)
        directory = _create_directory(study.directory / FINAL_DIR)
        copy_into(directory, task.config)
        on_cpu = task.config.gpus_per_trial == 0
        with gpu_share(0 if on_cpu else None), _opened_runs(directory / RETRAINING_DIR, task) as runs:
            console.print(describe_task(task, runs))
            if forecast := describe_forecast(task, runs):
                console.print(forecast)
            _train(task, runs, task.wanted, console)
            candidates = rank_candidates(collect_candidates(runs, task.trials, command.seeds), task.rule)
            metrics = write_model(task, candidates, runs, directory, console)
            metrics["ensemble"] = update_ensemble(task, candidates, runs, directory, metrics, console)
            _write_record(directory, metrics)
        if command.ship:
            metrics["shipped"] = ship(task, metrics, candidates[0], directory, console)
        _write_record(directory, metrics)
        with console.status("writing the report"):
            report_line = write_report(study.directory)
        console.print(f"\n{report_line}")
        shipped = [] if command.ship else _shipped_files(directory)
        console.print(describe_files(directory, [path.name for path in shipped]))
        if which := describe_which(metrics, directory):
            console.print(which)
        console.print(describe_next(directory, task.config.data, bool(metrics.get("shipped"))))
    except Interruption:
        raise
    except KeyboardInterrupt as interruption:
        console.print(describe_interruption())
        raise Interruption from interruption
    finally:
        study.close()


@contextmanager
def _opened_runs(directory: Path, task: Task) -> Iterator[Study]:
    runs = open_runs(directory, task.info)
    _carry_choices(task.study.directory / PRECISION_JSONL, directory / PRECISION_JSONL)
    try:
        keep_copy(runs, task.config)
        yield runs
    finally:
        runs.close()


def _carry_choices(source: Path, target: Path) -> None:
    """Let the runs compute as the trials of the study did: each network in the arithmetic that was chosen there."""
    if source.exists() and not target.exists():
        atomic_write(target, read_bytes(source, MAX_TABLE_BYTES).decode(errors="replace"))


def _create_directory(directory: Path) -> Path:
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StudyError(f"cannot create {directory} ({error.strerror}); remove the cause and try again") from error
    return directory


def _train(task: Task, runs: Study, wanted: Sequence[dict[str, Any]], console: PlainConsole) -> None:
    finished = retrain(
        task.config,
        runs,
        wanted,
        epoch_cost=task.epoch_cost,
        print_line=console.print,
        on_forced_exit=lambda cause: console.print(describe_interruption(runs, cause)),
    )
    if not finished:
        console.print(describe_interruption(runs))
        raise Interruption


def write_model(
    task: Task, candidates: Sequence[Candidate], runs: Study, directory: Path, console: PlainConsole
) -> dict[str, Any]:
    """Write the winner's checkpoint, its one test, tables, figures and exports; return the content of metrics.json.

    ``candidates`` are ranked, the winner first. Raises SearchError if no candidate has a result with every seed.
    """
    winner = candidates[0]
    if not winner.complete:
        raise SearchError(describe_failures(runs))
    run, data = median_run(winner), task.test_data(winner.trial)
    metrics = choice_sections(task, candidates, winner, run)
    console.print(candidate_table(candidates))
    console.print(describe_choice(metrics))
    source, target = runs.checkpoint_dir(run.trial_id) / BEST_CKPT, directory / MODEL_CKPT
    evaluation = evaluate_best_on_test(source, directory, data)
    known = _metrics_of_same_model(directory, evaluation.model, console, task.command.ship)
    if not known:
        write_checkpoint(task, source, target)
    metrics["model"] |= {"sha256": sha256_of(target), "trained_sha256": evaluation.model}
    train = class_counts(task.splits_of(winner.trial))[TRAIN]
    _write_scores(metrics, evaluation, directory, train)
    console.print(describe_test(metrics["test"]))
    metrics["exports"] = _exports(known, target, data)
    metrics |= {name: known.get(name) for name in ("shipped", "ensemble")}
    console.print(describe_exports(metrics["exports"]))
    _write_record(directory, metrics)
    return metrics


def _metrics_of_same_model(directory: Path, trained_sha256: str, console: PlainConsole, ship: bool) -> dict[str, Any]:
    """The existing metrics.json if it and the files beside it belong to the model with this checkpoint hash, else {}.

    Files of another model are removed, shipped files included. The removal of shipped files is printed, since this call
    may not write them again.
    """
    known, checkpoint = read_metrics(directory), directory / MODEL_CKPT
    model = known.get("model", {})
    same = model.get("trained_sha256") == trained_sha256
    if same and checkpoint.exists() and sha256_of(checkpoint) == model.get("sha256"):
        return known
    lost = _shipped_files(directory)
    if lost:
        console.print(describe_removal([path.name for path in lost], replaced=bool(model) and not same, ship=ship))
    for path in (directory / METRICS_JSON, directory / MODEL_CARD, *lost):
        path.unlink(missing_ok=True)
    return {}


def _shipped_files(directory: Path) -> list[Path]:
    shipped = directory / SHIPPED_CKPT
    return [path for path in (shipped, *map(shipped.with_suffix, (ONNX, PT2))) if path.exists()]


def _write_scores(metrics: dict[str, Any], evaluation: Evaluation, directory: Path, train: Sequence[int]) -> None:
    """Add the scores to ``metrics``; write their tables and figures. ``train`` are the training images per class."""
    classes = metrics["data"]["classes"]
    scores = compute_scores(evaluation.logits, evaluation.labels, classes, train)
    metrics["test"] = scores.to_json() | {
        "evaluations": evaluation.evaluations,
        "arithmetic": evaluation.arithmetic,
    }
    metrics["evaluations_in_words"] = describe_evaluations(metrics)
    write_tables(directory, evaluation, scores.confusion, classes)
    write_confusion(directory / CONFUSION_PNG, scores.confusion, classes)
    write_reliability(directory / RELIABILITY_PNG, scores)


def _exports(known: dict[str, Any], checkpoint: Path, data: DataConfig) -> dict[str, Any]:
    """Export ``checkpoint``, unless ``known`` describes exports of it that still exist."""
    exist = all(checkpoint.with_suffix(suffix).exists() for suffix in (ONNX, PT2))
    found: dict[str, Any] | None = known.get("exports")
    return found if exist and found else export(checkpoint, data)


def _write_record(directory: Path, metrics: dict[str, Any]) -> None:
    atomic_write(directory / METRICS_JSON, to_json_text(metrics))
    atomic_write(directory / MODEL_CARD, model_card(metrics))


def ship(
    task: Task, metrics: dict[str, Any], winner: Candidate, directory: Path, console: PlainConsole
) -> dict[str, Any]:
    """Train the winner on training and validation images together, up to the best epoch of model.ckpt.

    Returns the "shipped" section of metrics.json. Raises SearchError if the training failed or diverged.
    """
    chosen = median_run(winner)
    params = run_params(winner.trial, chosen.params[SEED]) | {"train_on_val": True, "stop_epoch": best_epoch(chosen)}
    console.print(describe_shipping(params["stop_epoch"]))
    with _opened_runs(directory / SHIPPING_DIR, task) as runs:
        _train(task, runs, [params], console)
        run = find_run(runs, params)
        if run is None or run.finished == DIVERGED:
            reason = describe_failures(runs) if run is None else f"the training diverged at epoch {run.epochs}"
            raise SearchError(f"no model to ship: {reason}; {MODEL_CKPT} and its scores are written")
        source = runs.checkpoint_dir(run.trial_id) / BEST_CKPT
        trained, target, known = sha256_of(source), directory / SHIPPED_CKPT, metrics.get("shipped") or {}
        if known.get("trained_sha256") != trained or not target.exists():
            known = {}
            write_checkpoint(task, source, target)
        exports = _exports(known, target, task.test_data(winner.trial))
    section = shipped_section(metrics, run, exports) | {"sha256": sha256_of(target), "trained_sha256": trained}
    console.print(f"shipped {target.name}: {section['in_words']}")
    return section
